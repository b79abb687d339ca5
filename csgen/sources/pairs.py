"""Training pairs from local files and URIs: which files, which shards of them, and the rows of a shard.

A shard is the unit of restart: the same files and the same `rows_per_shard` always give the same shards.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import pyarrow as pa

from csgen.errors import InputError
from csgen.files import COMPRESSIONS, exists, is_folder, list_files
from csgen.schema import PAIR_COLUMNS, REQUIRED_COLUMNS, pair_schema
from csgen.sources.parquet import open_parquet, read_rows
from csgen.sources.rows import PAIR_KINDS, Kinds, OnBadRow, accepts
from csgen.sources.text import LineFormat, Tsv, json_head, json_lines, read_lines, tsv_header

FORMATS = {".parquet": "parquet", ".jsonl": "jsonl", ".json": "jsonl", ".ndjson": "jsonl", ".tsv": "tsv"}
NOT_PAIRS = {"manifest.json", "collection.json", "rejects.jsonl"}  # what csgen itself lays beside pairs
NO_END = -1
MAX_ROWS = 1 << 62


@dataclass(frozen=True)
class Shard:
    """Rows [first_row, first_row + num_rows) of a file; -1 rows: to the end, as in text, which cannot be cut."""

    path: str
    format: str
    first_row: int = 0
    num_rows: int = NO_END


@dataclass(frozen=True)
class Columns:
    """The columns of a file: those of pairs, in the format's order, and the others, which are not read."""

    present: tuple[str, ...]
    ignored: tuple[str, ...]

    @property
    def kinds(self) -> Kinds:
        return {name: PAIR_KINDS[name] for name in self.present}


@dataclass(frozen=True)
class PairsInput:
    """What an input of pairs holds, for the manifest and for people."""

    files: tuple[str, ...]
    formats: tuple[str, ...]
    columns: tuple[str, ...]
    ignored_columns: tuple[str, ...]
    ignored_files: tuple[str, ...]


def describe_input(path: str) -> PairsInput:
    """What stands at `path` (a file, a folder or a URI), from metadata and the first lines alone.

    A missing column, a column of a wrong type and files that disagree on their columns are refused. The columns of JSON
    lines are those of the first 100 rows.
    """
    files, ignored_files = find_files(path)
    columns = {file: read_columns(file) for file in files}
    first = columns[files[0]]
    for file, found in columns.items():
        if found.present != first.present:
            differing = ", ".join(sorted(set(found.present) ^ set(first.present)))
            raise InputError(
                f"{file}: files of one input must have the same columns, but {files[0]} differs: {differing}"
            )
    ignored = tuple(sorted({name for found in columns.values() for name in found.ignored}))
    formats = tuple(sorted({format_of(file) for file in files}))
    return PairsInput(tuple(files), formats, first.present, ignored, tuple(ignored_files))


def list_shards(path: str, rows_per_shard: int) -> list[Shard]:
    """The shards of the file or folder at `path`, in the order of file names and rows.

    Parquet is cut by row numbers, from metadata alone; a text file is one shard. An input without rows is refused.
    """
    shards: list[Shard] = []
    for file in find_files(path)[0]:
        if format_of(file) == "parquet":
            with open_parquet(file) as opened:
                num_rows = opened.metadata.num_rows
            starts = range(0, num_rows, rows_per_shard)
            shards += [Shard(file, "parquet", s, min(rows_per_shard, num_rows - s)) for s in starts]
        else:
            shards.append(Shard(file, format_of(file)))
    if not shards:
        raise InputError.at(path, None, "holds no rows")
    return shards


def read_shard(shard: Shard, batch_rows: int, on_bad_row: OnBadRow) -> Iterator[pa.RecordBatch]:
    """The shard's pairs in order, in batches of 1 to `batch_rows` rows with the columns of `csgen.schema` alone.

    Each bad row is given to `on_bad_row` (`rows.refuse` stops at the first) and left out. Memory is bounded by a few
    batches of some MiB, except that a row must fit as a whole.
    """
    kinds = read_columns(shard.path).kinds
    if shard.format == "parquet":
        stop = MAX_ROWS if shard.num_rows == NO_END else shard.first_row + shard.num_rows
        batches = read_rows(shard.path, range(shard.first_row, stop), kinds, batch_rows, on_bad_row)
    else:
        form, first_line = _line_format(shard, kinds)
        batches = read_lines(shard.path, form, first_line, batch_rows, on_bad_row)
    schema = pair_schema(list(kinds))
    for batch in batches:
        if batch.num_rows:
            yield batch.cast(schema) if batch.schema != schema else batch


def find_files(path: str) -> tuple[list[str], list[str]]:
    """The files of pairs at `path`, and those in the folder that are none, each sorted by name."""
    if not is_folder(path):
        if not exists(path):
            raise InputError.at(path, None, "no such file or folder")
        if format_of(path) == "":
            raise InputError.at(path, None, f"unknown kind of file; known are {known_endings()}")
        return [path], []
    found = list_files(path)
    pairs = [f for f in found if format_of(f) and f.rsplit("/", 1)[-1] not in NOT_PAIRS]
    if not pairs:
        raise InputError.at(path, None, f"the folder holds no file of pairs; known are {known_endings()}")
    return pairs, [f for f in found if f not in pairs]


def format_of(path: str) -> str:
    """The format by the name's ending; "" where it is unknown."""
    for ending, form in FORMATS.items():
        if path.endswith(ending) or (form != "parquet" and any(path.endswith(ending + c) for c in COMPRESSIONS)):
            return form
    return ""


def known_endings() -> str:
    return f"{', '.join(FORMATS)}, the text formats also with {', '.join(COMPRESSIONS)}"


def read_columns(path: str) -> Columns:
    """The columns of one file; one that misses a column of pairs or holds it in a wrong type is refused."""
    form = format_of(path)
    if form == "parquet":
        found = _parquet_columns(path)
    else:
        found = list(json_head(path)) if form == "jsonl" else list(tsv_header(path)[1])
    missing = [name for name in REQUIRED_COLUMNS if name not in found]
    if missing:
        raise InputError.at(
            path,
            None,
            f"missing column{'s' * (len(missing) > 1)} {', '.join(missing)}; found {', '.join(found)}; "
            f"pairs need {', '.join(REQUIRED_COLUMNS)}",
        )
    present = tuple(name for name in PAIR_COLUMNS if name in found)
    return Columns(present, tuple(name for name in found if name not in PAIR_COLUMNS))


def _parquet_columns(path: str) -> list[str]:
    with open_parquet(path) as file:
        schema = file.schema_arrow
    for field in schema:
        kind = PAIR_KINDS.get(field.name)
        if kind is None:
            continue
        if schema.names.count(field.name) > 1:
            raise InputError.at(path, None, f"two columns are named {field.name}")
        if not accepts(kind, field.type):
            wanted = {"label": "whole numbers", "score": "numbers"}.get(kind, "text")
            raise InputError.at(path, None, f"column {field.name}: expected {wanted}, got {field.type}")
    return list(schema.names)


def _line_format(shard: Shard, kinds: Kinds) -> tuple[LineFormat, int]:
    """How to read the shard's lines, and the number of the first line that holds a row."""
    if shard.format == "jsonl":
        return json_lines(kinds, json_head(shard.path)), 1
    header_line, fields = tsv_header(shard.path)
    return Tsv(fields, kinds), header_line + 1
