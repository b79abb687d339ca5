"""The tables of data sets of the hub: Parquet, JSON lines, CSV and TSV files, by the column names in use there.

MTEB's retrieval form: passages of `id` or `_id`, `text`, perhaps `title`; queries of `id` or `_id`, `text`; qrels of
`query-id`, `corpus-id`, `score`. BSARD's form: passages of `id`, `article`; queries of `id`, `question`, `article_ids`,
the ids of the relevant passages between commas. Knows files, not what a data set is made of.
"""

import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import polars as pl
import pyarrow as pa

from csgen.errors import InputError
from csgen.files import READ_ERRORS, open_input
from csgen.sources.documents import BATCH_ROWS, refuse_line
from csgen.sources.hub_layout import data_ending
from csgen.sources.parquet import open_parquet, read_rows
from csgen.sources.rows import Kind, Kinds, accepts, check_row, clean, make_batch
from csgen.sources.streams import QRELS_SCHEMA
from csgen.sources.text import Tsv, json_head, json_lines, read_lines, tsv_header

ID_COLUMNS = ("_id", "id")
PASSAGE_COLUMNS = ("text", "article", "content")
QUERY_COLUMNS = ("text", "question", "query")
JUDGED_COLUMNS = ("article_ids", "chunk_id")
QRELS_COLUMNS = ("query-id", "corpus-id")


@dataclass(frozen=True)
class Columns:
    """Those of a file's columns that tell what it holds."""

    path: str
    names: tuple[str, ...]

    @property
    def are_qrels(self) -> bool:
        return set(QRELS_COLUMNS) <= set(self.names)

    @property
    def are_judged_queries(self) -> bool:
        """Whether each query stands with the ids of its relevant passages."""
        wanted = (ID_COLUMNS, QUERY_COLUMNS, JUDGED_COLUMNS)
        return all(any(name in self.names for name in names) for names in wanted)

    def pick(self, known: Sequence[str], what: str) -> str:
        """The first of the known names that there is."""
        name = next((name for name in known if name in self.names), None)
        if name is None:
            wanted, found = " or ".join(known), ", ".join(self.names)
            raise InputError.at(self.path, None, f"no column {wanted} for the {what}; found {found}")
        return name


def read_columns(path: str) -> Columns:
    """The columns of a file, from its metadata or its first lines alone. One of nothing but nulls counts as missing."""
    ending = data_ending(path)
    if ending == ".parquet":
        with open_parquet(path) as file:
            names = tuple(column.name for column in file.schema_arrow if not pa.types.is_null(column.type))
    elif ending == ".jsonl":
        names = tuple(json_head(path))
    elif ending == ".tsv":
        names = tsv_header(path)[1]
    else:
        names = tuple(_read_csv(path, num_rows=0).columns)
    return Columns(path, names)


def read_texts(path: str, text_columns: Sequence[str]) -> Iterator[pl.DataFrame]:
    """Batches of `_id, text`, and `title` where there is such a column."""
    columns = read_columns(path)
    names = {columns.pick(ID_COLUMNS, "id"): "_id", columns.pick(text_columns, "text"): "text"}
    kinds: dict[str, Kind] = dict(zip(names, ("id", "text"), strict=True))
    if "title" in columns.names:
        kinds["title"] = "title"
    for batch in _read_batches(path, kinds):
        yield _frame(batch).rename(names)


def read_qrels(path: str) -> pl.DataFrame:
    """`query_id, passage_id, score`; 1 where there is no column of scores."""
    columns = read_columns(path)
    query, passage = (columns.pick([name], "qrels") for name in QRELS_COLUMNS)
    kinds: dict[str, Kind] = {query: "id", passage: "id"}
    if "score" in columns.names:
        kinds["score"] = "label"
    parts = [_frame(batch) for batch in _read_batches(path, kinds)]
    if not parts:
        raise InputError.at(path, None, "holds no judgements")
    qrels = pl.concat(parts).rename({query: "query_id", passage: "passage_id"})
    if "score" not in qrels.columns:
        qrels = qrels.with_columns(score=pl.lit(1))
    return qrels.cast(QRELS_SCHEMA).select(*QRELS_SCHEMA)


def read_judged(path: str) -> pl.DataFrame:
    """`query_id, passage_id, score` of queries that stand with the ids of their relevant passages; the score is 1."""
    columns = read_columns(path)
    query, judged = columns.pick(ID_COLUMNS, "id"), columns.pick(JUDGED_COLUMNS, "ids of relevant passages")
    table = _read_whole(path, [query, judged])
    ids = pl.col(judged)
    if not isinstance(table.schema[judged], pl.List):
        ids = ids.cast(pl.String).str.split(",")
    rows = table.select(query_id=pl.col(query).cast(pl.String), passage_id=ids.cast(pl.List(pl.String))).explode(
        "passage_id"
    )
    rows = rows.with_columns(pl.col("passage_id").str.strip_chars()).filter(pl.col("passage_id") != "")
    return rows.with_columns(score=pl.lit(1)).cast(QRELS_SCHEMA).unique(maintain_order=True)


def _read_batches(path: str, kinds: Kinds) -> Iterator[pa.RecordBatch]:
    """The checked rows of these columns; the first bad row is refused."""
    ending = data_ending(path)
    if ending == ".parquet":
        yield from _read_parquet(path, kinds)
    elif ending == ".jsonl":
        yield from read_lines(path, json_lines(kinds, json_head(path)), 1, BATCH_ROWS, refuse_line)
    elif ending == ".tsv":
        line, fields = tsv_header(path)
        yield from read_lines(path, Tsv(fields, kinds), line + 1, BATCH_ROWS, refuse_line)
    else:
        yield _check(path, _read_csv(path).select(*kinds), kinds)


def _read_parquet(path: str, kinds: Kinds) -> Iterator[pa.RecordBatch]:
    with open_parquet(path) as file:
        schema, num_rows = file.schema_arrow, file.metadata.num_rows
    for name, kind in kinds.items():
        if not accepts(kind, schema.field(name).type):
            raise InputError.at(
                path, None, f"the column {name} cannot be read as {kind}: it is {schema.field(name).type}"
            )
    yield from read_rows(path, range(num_rows), kinds, BATCH_ROWS, refuse_line)


def _read_whole(path: str, names: list[str]) -> pl.DataFrame:
    ending = data_ending(path)
    if ending == ".parquet":
        with open_parquet(path) as file:
            return _frame(file.read(columns=names))
    if ending == ".jsonl":
        with _explain(path, "JSON lines"):
            return pl.read_ndjson(_read_bytes(path)).select(names)
    return _read_csv(path).select(names)


def _read_csv(path: str, num_rows: int | None = None) -> pl.DataFrame:
    """A CSV file with a header, as text; a missing value is ""."""
    with _explain(path, "CSV with a header"):
        return pl.read_csv(
            _read_bytes(path),
            separator="\t" if data_ending(path) == ".tsv" else ",",
            infer_schema=False,
            empty_string_is_null=False,
            n_rows=num_rows,
        )


@contextmanager
def _explain(path: str, form: str) -> Iterator[None]:
    try:
        yield
    except pl.exceptions.PolarsError as error:
        raise InputError.at(path, None, f"cannot be read as {form}: {error}") from error


def _read_bytes(path: str) -> io.BytesIO:
    try:
        with open_input(path) as stream:
            return io.BytesIO(stream.read())
    except READ_ERRORS as error:
        raise InputError.at(path, None, f"cannot be read, damaged or cut short: {error}") from error


def _check(path: str, table: pl.DataFrame, kinds: Kinds) -> pa.RecordBatch:
    """The table's rows as one checked batch. Rows are counted from the header, 1, on."""
    numbers = [name for name, kind in kinds.items() if kind == "label"]
    table = table.with_columns(pl.col(numbers).cast(pl.Float64, strict=False))
    batch = table.to_arrow().combine_chunks().to_batches()
    good = clean(batch[0], kinds) if batch else make_batch([], kinds)
    if good is not None:
        return good
    for number, row in enumerate(table.iter_rows(named=True), 2):
        try:
            check_row(row, kinds)
        except ValueError as error:
            raise InputError.at(path, number, str(error)) from error
    raise InputError.at(path, None, "cannot be read")


def _frame(rows: pa.RecordBatch | pa.Table) -> pl.DataFrame:
    frame = pl.from_arrow(rows)
    assert isinstance(frame, pl.DataFrame)
    return frame
