"""Precomputed expansions of queries, such as pseudo-documents by a language model (https://arxiv.org/abs/2511.19325).

Reads them from a file and puts them behind the queries or in their place; knows nothing of how they were made.
"""

from dataclasses import dataclass
from typing import Literal

import polars as pl
import pyarrow as pa

from csgen.errors import InputError
from csgen.languages import parse_language
from csgen.sources.documents import BATCH_ROWS, refuse_line
from csgen.sources.pairs import format_of
from csgen.sources.rows import Kinds, schema_of
from csgen.sources.text import BLOCK_BYTES, JsonLines, Tsv, json_head, json_lines, read_blocks, read_lines, tsv_header

Mode = Literal["concatenate", "replace"]

EXPANSION_KINDS: Kinds = {"query_id": "id", "language": "title", "text": "text"}
QUERY2DOC_REPEAT = (
    5  # times the query stands before its expansion for BM25, https://arxiv.org/abs/2303.07678, section 2
)


@dataclass(frozen=True)
class Expansions:
    """The expansions of a file: `query_id, language, text`, a row for each of its lines, in their order.

    An expansion in language "" is for the query in whatever language.
    """

    path: str
    first_line: int  # of the first expansion or of blank lines before it
    texts: pl.DataFrame

    def line_of(self, row: int) -> int:
        """The line of the file, from 1, that a row of `texts` stands on. Reads the file again: it is for errors."""
        remaining = row
        for first, block in read_blocks(self.path, BLOCK_BYTES, self.first_line):
            lines = block.split(b"\n")
            filled = [
                first + k for k, line in enumerate(lines) if line.strip(b" \r")
            ]  # as read_lines passes blank ones
            if remaining < len(filled):
                return filled[remaining]
            remaining -= len(filled)
        raise IndexError(row)


def read_expansions(path: str) -> Expansions:
    """Read JSON lines, or TSV with a header, of `query_id, text` and perhaps `language`, plain or compressed.

    Languages come as ISO 639-1 codes. A bad line, an empty text and a file without expansions are refused.
    """
    form, first_line = _open_form(path)
    batches = list(read_lines(path, form, first_line, BATCH_ROWS, refuse_line))
    texts = pl.DataFrame(pa.Table.from_batches(batches, schema_of(form.kinds)))
    if texts.is_empty():
        raise InputError.at(path, None, "holds no expansions")
    if "language" not in texts.columns:
        texts = texts.with_columns(language=pl.lit(""))
    expansions = Expansions(path, first_line, texts.select(*EXPANSION_KINDS))
    empty = texts["text"].str.strip_chars() == ""
    if (row := empty.arg_max()) is not None and empty[row]:
        raise InputError.at(path, expansions.line_of(row), "text: is empty; leave out the line of a query without one")
    return Expansions(path, first_line, expansions.texts.with_columns(language=_languages(expansions)))


def _open_form(path: str) -> tuple[JsonLines | Tsv, int]:
    """How to read the file, and the line on which expansions begin."""
    form = format_of(path)
    if form not in ("jsonl", "tsv"):
        raise InputError.at(path, None, "expansions are read from .jsonl and .tsv, plain or compressed")
    head = json_head(path) if form == "jsonl" else {}
    line, fields = (0, tuple(head)) if form == "jsonl" else tsv_header(path)
    if missing := [name for name in ("query_id", "text") if name not in fields]:
        wanted = "query_id, text and perhaps language"
        kind = "a field" if form == "jsonl" else "a column in the header"
        message = f"expected {kind} {missing[0]}: expansions have {wanted}; found {', '.join(fields)[:80]}"
        raise InputError.at(path, line or None, message)
    if form == "jsonl":
        return json_lines(EXPANSION_KINDS, head), 1
    return Tsv(fields, {name: kind for name, kind in EXPANSION_KINDS.items() if name in fields}), line + 1


def _languages(expansions: Expansions) -> pl.Series:
    """The languages as codes; one that is unknown is refused with its line."""
    given = expansions.texts["language"]
    codes = {"": ""}
    for name in given.unique(maintain_order=True):
        try:
            codes[name] = codes.get(name) or (name and parse_language(name))
        except InputError as error:
            line = expansions.line_of(int((given == name).arg_max() or 0))
            raise InputError.at(expansions.path, line, f"language: {error}") from error
    return given.replace_strict(codes, return_dtype=pl.String)


def refuse_unknown(expansions: Expansions, queries: pl.DataFrame) -> None:
    """Refuse expansions of queries that there are not, and a file that expands none of them.

    `queries` (`query_id, language`) are all that the expansions may be of; those in other languages are passed over.
    """
    languages = queries["language"].unique().sort().to_list()
    matched = _match(expansions, queries)["line"].unique()
    here = expansions.texts.with_row_index("line").filter(pl.col("language").is_in(["", *languages]))
    unknown = here.filter(~pl.col("line").is_in(matched.implode()))
    if unknown.height:
        row, query_id, language, _ = unknown.row(0)
        name = f"{query_id!r} in {language}" if language else f"{query_id!r}"
        line = expansions.line_of(row)
        raise InputError.at(expansions.path, line, f"expands the query {name}, which is not there; remove the line")
    if matched.is_empty():
        count, there = queries.height, ", ".join(languages)
        raise InputError.at(expansions.path, None, f"expands none of the {count} queries, which are in {there}")


def expand(
    queries: pl.DataFrame, expansions: Expansions, mode: Mode = "concatenate", repeat: int = QUERY2DOC_REPEAT
) -> tuple[pl.DataFrame, int]:
    """The queries with their expansions, in their order, and how many have none and stay as they are.

    A query's expansions are joined in the file's order, all with a space between. `replace`: they alone; `concatenate`:
    behind the query `repeat` times, so that BM25 does not drown it in them; 1 is for systems that do not count words.
    Expansions of other queries are passed over.
    """
    joined = _match(expansions, queries).group_by("row", maintain_order=True).agg(pl.col("text").str.join(" "))
    rows = queries.with_row_index("row").join(
        joined.rename({"text": "expansion"}), on="row", how="left", maintain_order="left"
    )
    parts = [pl.col("text")] * (repeat if mode == "concatenate" else 0)
    text = pl.concat_str(*parts, "expansion", separator=" ")  # null where there is no expansion
    expanded = rows.with_columns(text=pl.coalesce(text, "text")).select(queries.columns)
    return expanded, rows["expansion"].null_count()


def _match(expansions: Expansions, queries: pl.DataFrame) -> pl.DataFrame:
    """`line, row, text`: which rows of the expansions are for which rows of the queries, in the former's order."""
    asked = queries.select("query_id", pl.col("language").alias("query_language")).with_row_index("row")
    matched = expansions.texts.with_row_index("line").join(asked, on="query_id", maintain_order="left_right")
    fits = (pl.col("language") == "") | (pl.col("language") == pl.col("query_language"))
    return matched.filter(fits).select("line", "row", "text")
