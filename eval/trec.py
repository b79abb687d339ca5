"""Runs and qrels in TREC's format, and the one order of a run: score, then passage id, both descending, as trec_eval.

Knows ids, scores and grades; no texts, no measures.
"""

import io
import math
import re
from dataclasses import dataclass
from typing import NoReturn

import polars as pl
from isal import igzip

from csgen.errors import InputError
from csgen.files import READ_ERRORS, exists, open_input, replace_file
from csgen.sources.documents import QREL_KINDS, load_qrels, require_file
from csgen.sources.rows import decode
from csgen.sources.text import BYTE_ORDER_MARK, head_lines, tsv_header

_DECIMAL = re.compile(r"[-+]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][-+]?[0-9]+)?", re.ASCII)
_WHOLE = re.compile(r"[-+]?[0-9]{1,18}", re.ASCII)
_GZIP_LEVEL = 1  # of igzip, 0 to 3: adds 0.1 s to writing a million lines


@dataclass(frozen=True)
class _Form:
    """The fields of a line: between white space (separator None) or between tabs, which may then hold spaces."""

    fields: tuple[str, ...]
    score: type[pl.DataType]
    meaning: str
    separator: bytes | None = None

    @property
    def remedy(self) -> str:
        return f"a line of {self.meaning} is: {' '.join(self.fields)}"


_RUN = _Form(("query_id", "Q0", "passage_id", "rank", "score", "tag"), pl.Float64, "a run")
_QRELS = _Form(("query_id", "0", "passage_id", "score"), pl.Int64, "TREC's qrels")
_BEIR_NAMES = {"query-id": "query_id", "corpus-id": "passage_id"}


def read_run(path: str) -> pl.DataFrame:
    """`query_id, passage_id, score` of a TREC run, in the file's order; the rank column is not looked at.

    A line with another number of fields, a score that is not a finite number and a passage that stands twice for a
    query are refused with their line; blank lines are passed over.
    """
    return _read(require_file(path), _RUN)


def read_trec_qrels(path: str) -> pl.DataFrame:
    """`query_id, passage_id, score` of `query 0 passage grade` lines, in the file's order; no pair may stand twice.

    Grades are whole numbers, also negative ones, as some tracks have them.
    """
    return _read(require_file(path), _QRELS)


def read_qrels(path: str) -> pl.DataFrame:
    """`query_id, passage_id, score` of qrels in BEIR's format, which its header tells, or in TREC's; file's order."""
    path = require_file(path)
    form = _qrels_form(path)
    if form is _QRELS:
        return _read(path, _QRELS)
    qrels = load_qrels(path).with_columns(pl.col("score").cast(pl.Int64))
    _refuse_double(qrels, path, form)
    return qrels


def write_run(run: pl.DataFrame, path: str, tag: str) -> None:
    """Write a run's lines in order of query id and rank, atomically, and gzipped where the name ends in .gz.

    The same rows in any order give the same bytes; scores are written so that they read back as they are.
    """
    if len(tag.split()) != 1:
        raise InputError(f"{path}: the tag of a run must be one word, got {tag!r}")
    ranked = rank_run(run)
    lines = ranked.select("query_id", pl.lit("Q0").alias("Q0"), "passage_id", "rank", "score", pl.lit(tag).alias("tag"))
    _write(lines, path)


def write_trec_qrels(qrels: pl.DataFrame, path: str) -> None:
    """Write `query 0 passage grade` lines in order of ids, atomically, and gzipped where the name ends in .gz."""
    ordered = qrels.sort("query_id", "passage_id")
    _write(ordered.select("query_id", pl.lit("0").alias("0"), "passage_id", "score"), path)


def rank_run(run: pl.DataFrame) -> pl.DataFrame:
    """The run in order of query id and `rank` (UInt32, from 1, the best), which is added as a column.

    Higher scores come first, compared as 32-bit floats; of equal ones the passage id that is later in byte order:
    trec_eval's rule, in whose C structure a score is a float. A score that is not finite is refused.
    """
    check_scores(run)
    order = ("query_id", pl.col("score").cast(pl.Float32), "passage_id")
    ranked = run.sort(*order, descending=[False, True, True])
    return ranked.with_columns(rank=pl.int_range(1, pl.len() + 1, dtype=pl.UInt32).over("query_id"))


def check_scores(run: pl.DataFrame) -> None:
    """Refuse a run with a score that is not a finite number."""
    if (odd := run.filter(~pl.col("score").is_finite())).height:
        raise InputError(
            f"the passage {odd['passage_id'][0]!r} has the score {odd['score'][0]} for the query "
            f"{odd['query_id'][0]!r}; scores must be finite numbers, or the passages have no order"
        )


def find_double(pairs: pl.DataFrame) -> tuple[str, str] | None:
    """The first query and passage that stand together more than once in a run or in qrels; None: there are none."""
    # Distinct 64-bit hashes show that all is well in a tenth of the time that comparing the pairs takes.
    hashes = pairs.select(pl.col("query_id").hash(1) * 3 + pl.col("passage_id").hash(2)).to_series()
    if hashes.n_unique() == pairs.height:
        return None
    ids = pairs.select("query_id", "passage_id")
    doubles = ids.filter(ids.is_duplicated())
    return doubles.row(0) if doubles.height else None


def check_run(run: pl.DataFrame, path: str, query_ids: pl.Series, passage_ids: pl.Series) -> None:
    """Refuse a run that names a query or a passage that is not among these; with its line, where `path` is a file."""
    for kind, known in (("query", query_ids), ("passage", passage_ids)):
        column = f"{kind}_id"
        unknown = run.filter(~pl.col(column).is_in(known.implode()))
        if unknown.height:
            message = (
                f"the {kind} {unknown[column][0]!r} is not among the {known.n_unique()} of the collection"
                f"{_more('are', unknown[column])}; give the run of this collection and split, or take such lines out"
            )
            line = _first_line(path, _RUN, unknown["query_id"][0], unknown["passage_id"][0])
            raise InputError.at(path, line, message)


def refuse_other_split(run: pl.DataFrame, path: str, qrels: pl.DataFrame, qrels_path: str) -> None:
    """Refuse a run that shares no query with the qrels: every value would be 0, and none would mean anything."""
    asked, judged = run["query_id"].unique().sort(), qrels["query_id"].unique().sort()
    if asked.is_empty() or asked.is_in(judged.implode()).any():
        return
    raise InputError(
        f"{path}: none of its {len(asked)} queries (the first {asked.first()!r}) is among the {len(judged)} of "
        f"{qrels_path} (the first {judged.first()!r}): they are of different splits or collections; give the qrels of "
        "the split that was searched, or the run of this one"
    )


def refuse_without_relevant(qrels: pl.DataFrame, path: str) -> None:
    """Refuse qrels in which a query has no passage with a grade above 0: no measure is defined for it."""
    without = qrels.filter((pl.col("score").max() <= 0).over("query_id"))
    if without.is_empty():
        return
    query_id = without["query_id"][0]
    message = (
        f"the query {query_id!r} has no relevant passage (a grade above 0){_more('have', without['query_id'])}; "
        "judge a passage relevant to it, or take its lines out"
    )
    line = _first_line(path, _qrels_form(path), query_id) if exists(path) else None
    raise InputError.at(path, line, message)


def _more(verb: str, ids: pl.Series) -> str:
    """How many other ids the same is true of."""
    number = ids.n_unique() - 1
    return f", nor {verb} {number} more" if number else ""


# Reading: all lines at once; one by one only to say which of them is bad.


def _read(path: str, form: _Form) -> pl.DataFrame:
    data = _read_bytes(path)
    if not data or data.isspace():
        raise InputError.at(path, None, f"empty file; {form.remedy}")
    lines = _parse(data, form)
    if lines is None:
        _refuse_bad_line(path, data, form)
    _refuse_double(lines, path, form)
    return lines


def _read_bytes(path: str) -> bytes:
    try:
        with open_input(path) as stream:
            return stream.read().removeprefix(BYTE_ORDER_MARK)
    except READ_ERRORS as error:
        raise InputError.at(path, None, f"cannot be read, damaged or cut short: {error}") from error


def _parse(data: bytes, form: _Form) -> pl.DataFrame | None:
    """The three columns; None where a line may be bad."""
    spaced = data.replace(b"\t", b" ") if b"\t" in data else data
    lines = _parse_spaced(spaced, form)
    return _parse_spaced(_squeeze(spaced), form) if lines is None else lines


def _squeeze(data: bytes) -> bytes:
    """The lines without blank ones and with one space between fields, as columns set in line need it."""
    for old, new in ((b"\r\n", b"\n"), (b"  ", b" "), (b" \n", b"\n"), (b"\n ", b"\n"), (b"\n\n", b"\n")):
        while old in data:  # halves a run of them each time; ten times as fast as a regular expression
            data = data.replace(old, new)
    return data.strip()


def _parse_spaced(data: bytes, form: _Form) -> pl.DataFrame | None:
    """The three columns of lines with one space between fields; None where a line is not like that."""
    schema = dict.fromkeys(form.fields, pl.String) | {"score": form.score}
    try:
        lines = pl.read_csv(data, separator=" ", has_header=False, quote_char=None, schema=schema)
    except pl.exceptions.PolarsError:
        return None
    if any(lines.null_count().row(0)) or not lines["score"].is_finite().all():  # too few fields leave nulls
        return None
    return lines.select("query_id", "passage_id", "score")


def _refuse_bad_line(path: str, data: bytes, form: _Form) -> NoReturn:
    for number, line in enumerate(data.split(b"\n"), 1):
        try:
            fields = dict(zip(form.fields, _split(line, form), strict=False))
            if fields:
                _check_score(fields["score"], form)
        except ValueError as error:
            raise InputError.at(path, number, str(error)) from error
    raise InputError.at(path, None, f"cannot be read as lines of text; {form.remedy}")


def _split(line: bytes, form: _Form) -> list[str]:
    fields = [decode(field) for field in line.split()]
    if fields and len(fields) != len(form.fields):
        raise ValueError(f"expected {len(form.fields)} fields, got {len(fields)}; {form.remedy}")
    return fields


def _check_score(text: str, form: _Form) -> None:
    if form.score is pl.Int64:
        if not _WHOLE.fullmatch(text):
            raise ValueError(f"expected a whole number as grade, got {text!r}; {form.remedy}")
    elif not (_DECIMAL.fullmatch(text) and math.isfinite(float(text))):
        raise ValueError(f"expected a finite number as score, got {text!r}; mend the line or take it out")


def _refuse_double(pairs: pl.DataFrame, path: str, form: _Form) -> None:
    double = find_double(pairs)
    if double is None:
        return
    first, second, *_ = [*_find_lines(path, form, *double), None, None]
    where = f" (first on line {first})" if first else ""
    message = f"the passage {double[1]!r} stands twice for the query {double[0]!r}{where}; keep one of its lines"
    raise InputError.at(path, second, message)


# Finding a line again, for messages.


def _qrels_form(path: str) -> _Form:
    """TREC's format, or BEIR's with the fields that its header names."""
    if not set(QREL_KINDS) <= set(head_lines(path)[0][1].decode(errors="replace").split()):
        return _QRELS
    fields = tuple(_BEIR_NAMES.get(name, name) for name in tsv_header(path)[1])
    return _Form(fields, pl.Int64, "BEIR's qrels", b"\t")


def _first_line(path: str, form: _Form, query_id: str, passage_id: str | None = None) -> int | None:
    lines = _find_lines(path, form, query_id, passage_id)
    return lines[0] if lines else None


def _find_lines(path: str, form: _Form, query_id: str, passage_id: str | None = None) -> list[int]:
    """The numbers of the lines of a query, and of a passage where one is given; none where there is no such file."""
    if not exists(path):
        return []
    wanted = {form.fields.index("query_id"): query_id.encode()}
    if passage_id is not None:
        wanted[form.fields.index("passage_id")] = passage_id.encode()
    found = []
    for number, line in enumerate(_read_bytes(path).split(b"\n"), 1):
        fields = line.rstrip(b"\r").split(form.separator)
        if len(fields) == len(form.fields) and all(fields[i] == text for i, text in wanted.items()):
            found.append(number)
    return found


def _write(lines: pl.DataFrame, path: str) -> None:
    for column in ("query_id", "passage_id"):
        odd = lines.filter(pl.col(column).str.contains(r"[ \t-\r]") | (pl.col(column) == ""))
        if odd.height:
            raise InputError(
                f"{path}: no id in TREC's files may be empty or have white space, got {odd[column][0]!r}; rename it"
            )
    if path.endswith((".zst", ".xz", ".bz2")):
        raise InputError(f"{path}: TREC files are written plain or as .gz; name it so")
    text = io.BytesIO()
    lines.write_csv(text, include_header=False, separator=" ", quote_style="never")
    with replace_file(path) as stream:
        data = text.getvalue()
        stream.write(igzip.compress(data, _GZIP_LEVEL, mtime=0) if path.endswith(".gz") else data)
