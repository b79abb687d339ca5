"""CSV word lists: quoted fields, commas, semicolons or tabs, with a header or without. Knows nothing of what they mean.

Arrow parses; a field may hold separators and line ends.
"""

import csv
from collections.abc import Sequence

import polars as pl
import pyarrow as pa
import pyarrow.csv as pa_csv

from csgen.errors import InputError
from csgen.languages import parse_language
from csgen.readers.columns import NOT_UTF8, Reading, first_reason, part_malformed
from csgen.readers.lines import read_bytes, refuse_binary, weight_rules

_SEPARATORS = ",;\t"
_PROBE_BYTES = 1 << 16
_UNDECODABLE = "\ufffd"
_MAX_RECORD_BYTES = 1 << 24  # a quote that is never closed makes one record of all that follows

_NAMES = {
    "source": ("source", "src", "word", "headword"),
    "target": ("target", "tgt", "trg", "translation"),
    "weight": ("weight", "score", "probability"),
}


def read_csv(path: str, source: str, targets: tuple[str, ...]) -> Reading:
    """Columns named source, target and weight (or by the two languages) in a header; else the first two or three.

    `line` counts records from 1, the header and blank ones included: a quoted field may go over several lines.
    """
    data = _mark_undecodable(read_bytes(path).removeprefix(b"\xef\xbb\xbf"))
    refuse_binary(path, data)
    separator, first = _probe(path, data)
    columns = _name_columns(first, source, targets[0])
    has_header = columns is not None
    columns = columns or dict(zip(("source", "target", "weight"), range(len(first)), strict=False))
    if len(columns) < 2:
        message = f"expected two columns or more, separated by commas, semicolons or tabs, got {', '.join(first)!r}"
        raise InputError.at(path, 1, message)
    records, bad = _parse(path, data, separator, len(first))
    filled = records.filter(~pl.all_horizontal(pl.exclude("line") == ""))
    parsed = _judge(filled.slice(int(has_header)), columns)
    pairs, malformed = part_malformed(parsed)
    width = f"expected {len(first)} fields, as in the first record"
    wrong = pl.DataFrame([(line, width) for line in bad], malformed.schema, orient="row")
    blank = len(records) - len(filled)
    counts = {"lines": len(records) + len(bad), "blank": blank, "header": int(has_header)}
    return Reading(pairs, pl.concat([malformed, wrong]).sort("line"), counts)


def _mark_undecodable(data: bytes) -> bytes:
    """UTF-8, with U+FFFD for what was none: Arrow loses records of the wrong width that are not UTF-8."""
    try:
        data.decode()
    except UnicodeDecodeError:
        return data.decode(errors="replace").encode()
    return data


def _probe(path: str, data: bytes) -> tuple[str, list[str]]:
    """The separator, and the fields of the first record that is not blank."""
    text = data[:_PROBE_BYTES].decode(errors="replace").lstrip("\r\n")
    if not text.strip():
        raise InputError.at(path, None, "is empty; expected records of a word and its translation")
    rows = {separator: _first_row(text, separator) for separator in _SEPARATORS}
    separator = max(_SEPARATORS, key=lambda one: len(rows[one]))  # the first of several that part it equally
    return separator, rows[separator]


def _first_row(text: str, separator: str) -> list[str]:
    try:
        return next(csv.reader(text.splitlines(keepends=True), delimiter=separator), [])
    except csv.Error:  # a field of more than 128 KiB
        return []


def _name_columns(fields: Sequence[str], source: str, target: str) -> dict[str, int] | None:
    """Where the columns stand, if the first record names a source and a target."""
    names = [field.strip().lower() for field in fields]
    found = {
        column: place
        for column, known in _NAMES.items()
        if (place := next((names.index(name) for name in known if name in names), None)) is not None
    }
    for column, language in (("source", source), ("target", target)):
        for place, name in enumerate(names):
            if column not in found and _is_language(name, language):
                found[column] = place
    return found if "source" in found and "target" in found else None


def _is_language(name: str, language: str) -> bool:
    try:
        return parse_language(name) == language
    except InputError:
        return False


def _parse(path: str, data: bytes, separator: str, width: int) -> tuple[pl.DataFrame, list[int]]:
    """Records by number, as columns of texts, and the numbers of those of another width."""
    bad: list[int] = []
    open_quotes: list[int] = []

    def keep_bad(row: pa_csv.InvalidRow) -> str:
        bad.append(row.number)
        if "\n" in row.text.rstrip("\r\n"):
            open_quotes.append(row.number)
        return "skip"

    names = [str(column) for column in range(width)]
    try:
        table = pa_csv.read_csv(
            pa.BufferReader(data),
            pa_csv.ReadOptions(use_threads=False, block_size=_MAX_RECORD_BYTES, column_names=names),
            pa_csv.ParseOptions(
                delimiter=separator, newlines_in_values=True, invalid_row_handler=keep_bad, ignore_empty_lines=False
            ),
            pa_csv.ConvertOptions(column_types=dict.fromkeys(names, pa.large_string()), strings_can_be_null=False),
        )
    except pa.ArrowInvalid as error:
        message = f"cannot be parsed as CSV ({error}); is a quote left open?"
        raise InputError.at(path, None, message) from error
    if open_quotes:
        message = f"expected {width} fields, got a record of several lines; is a quote left open?"
        raise InputError.at(path, open_quotes[0], message)
    numbers = _number(len(table) + len(bad), bad)
    return pl.DataFrame(table).insert_column(0, numbers), bad


def _number(total: int, bad: Sequence[int]) -> pl.Series:
    """The numbers from 1 to `total` that are not bad."""
    numbers = pl.int_range(1, total + 1, eager=True).alias("line")
    return numbers.filter(~numbers.is_in(pl.Series(bad, dtype=pl.Int64).implode()))


def _judge(records: pl.DataFrame, columns: dict[str, int]) -> pl.DataFrame:
    """`line`, `source`, `target`, `weight`, and `reason`, which is null for a good record."""
    source, target = (pl.col(str(columns[name])) for name in ("source", "target"))
    written = pl.col(str(columns["weight"])).str.strip_chars() if "weight" in columns else pl.lit(None, pl.String)
    weight = pl.coalesce(written.cast(pl.Float64, strict=False), pl.lit(1.0))
    rules = {
        NOT_UTF8: source.str.contains(_UNDECODABLE, literal=True) | target.str.contains(_UNDECODABLE, literal=True),
        "empty field": (source.str.strip_chars() == "") | (target.str.strip_chars() == ""),
        **weight_rules(written, weight),
    }
    return records.select("line", source=source, target=target, weight=weight, reason=first_reason(rules))
