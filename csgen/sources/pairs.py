"""Training pairs from local files and URIs: which files, which shards of them, and the rows of a shard.

A shard is the unit of restart: the same files and the same `rows_per_shard` always give the same shards.
"""

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import pairwise

import pyarrow as pa

from csgen.errors import CsgenError, InputError
from csgen.files import COMPRESSIONS, exists, is_folder, list_files
from csgen.schema import PAIR_COLUMNS, REQUIRED_COLUMNS, pair_schema
from csgen.sources.joins import find_joined, join_pairs, joined_form
from csgen.sources.parquet import open_parquet, read_rows
from csgen.sources.rows import PAIR_KINDS, Kinds, OnBadRow, accepts, refuse
from csgen.sources.text import Tsv, json_head, json_lines, read_lines, tsv_header
from csgen.sources.triples import PREFIX, find_triples, read_text_triples

FORMATS = {".parquet": "parquet", ".jsonl": "jsonl", ".json": "jsonl", ".ndjson": "jsonl", ".tsv": "tsv"}
NOT_PAIRS = {"manifest.json", "collection.json", "rejects.jsonl"}  # what csgen itself lays beside pairs
LANGUAGE_COLUMNS = ("query_language", "passage_language")
NO_END = -1
MAX_ROWS = 1 << 62
BATCH_ROWS = 1 << 16  # where all rows are read at once


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
    ignored_columns: tuple[str, ...] = ()
    ignored_files: tuple[str, ...] = ()


def describe_input(path: str, split: str = "train", language: str = "en") -> PairsInput:
    """What stands at `path` (a file, a folder or a URI), from metadata and the first lines alone.

    A missing column, a column of a wrong type and files that disagree on their columns are refused. The columns of JSON
    lines are those of the first 100 rows. `split` and `language` choose among a BEIR folder's or a collection's texts.
    """
    if joined := find_joined(path, split, language):
        columns = LANGUAGE_COLUMNS if joined.form == "collection" else ()
        return PairsInput(joined.files, (joined.form,), (*REQUIRED_COLUMNS, *columns))
    whole, ignored_files = find_files(path)
    found = {shard.path: read_columns(shard) for shard in whole}
    first = found[whole[0].path]
    for file, columns_found in found.items():
        if differing := sorted(set(columns_found.present) ^ set(first.present)):
            message = f"files of one input must have the same columns, but {whole[0].path} differs: "
            raise InputError.at(file, None, message + ", ".join(differing))
    ignored = sorted({name for columns_found in found.values() for name in columns_found.ignored})
    formats = tuple(sorted({shard.format for shard in whole}))
    return PairsInput(tuple(found), formats, first.present, tuple(ignored), tuple(ignored_files))


def normalise(path: str, output_folder: str, on_bad_row: OnBadRow, split: str = "train", language: str = "en") -> str:
    """A path that `list_shards` takes: `path` itself, or where its pairs stand in several files, those joined.

    Id triples, BEIR folders and parallel collections become `output_folder`/pairs.parquet.
    """
    joined = find_joined(path, split, language)
    return join_pairs(joined, output_folder, language, on_bad_row) if joined else path


def list_shards(path: str, rows_per_shard: int) -> list[Shard]:
    """The shards of the file or folder at `path`, in the order of file names and rows.

    Parquet is cut by row numbers, from metadata alone: between row groups where they are small, since rows before a
    shard in its first group must be decoded in vain, and within those of over twice `rows_per_shard`. A text file is
    one shard. An input without rows is refused.
    """
    shards: list[Shard] = []
    for whole in find_files(path)[0]:
        if whole.format != "parquet":
            shards.append(whole)
            continue
        with open_parquet(whole.path) as file:
            groups = [file.metadata.row_group(g).num_rows for g in range(file.metadata.num_row_groups)]
        cuts = _cut(groups, rows_per_shard)
        shards += [replace(whole, first_row=a, num_rows=b - a) for a, b in pairwise(cuts)]
    if not shards:
        raise InputError.at(path, None, "holds no rows")
    return shards


def _cut(groups: list[int], rows_per_shard: int) -> list[int]:
    """Where a file is cut: row numbers from 0 to its end, given the rows of its row groups."""
    cuts, row = [0], 0
    for num_rows in groups:
        if num_rows > 2 * rows_per_shard:
            cuts += [row] * (row > cuts[-1])
            cuts += range(row + rows_per_shard, row + num_rows, rows_per_shard)
        row += num_rows
        cuts += [row] * (row - cuts[-1] >= rows_per_shard or num_rows > 2 * rows_per_shard)
    return cuts if cuts[-1] == row else [*cuts, row]


def count_rows(path: str) -> int | None:
    """The rows of the input, from Parquet's metadata; None where there are text files, which do not tell."""
    num_rows = 0
    for whole in find_files(path)[0]:
        if whole.format != "parquet":
            return None
        with open_parquet(whole.path) as opened:
            num_rows += opened.metadata.num_rows
    return num_rows


def stream_pairs(
    path: str, *, split: str = "train", language: str = "en", on_bad_row: OnBadRow = refuse
) -> Iterator[pa.RecordBatch]:
    """All rows at `path` in order, BATCH_ROWS at most at a time; `split` and `language` are `normalise`'s."""
    with tempfile.TemporaryDirectory() as folder:
        for shard in list_shards(normalise(path, folder, on_bad_row, split, language), BATCH_ROWS):
            yield from read_shard(shard, BATCH_ROWS, on_bad_row)


def read_shard(shard: Shard, batch_rows: int, on_bad_row: OnBadRow) -> Iterator[pa.RecordBatch]:
    """The shard's pairs in order, in batches of 1 to `batch_rows` rows with the columns of `csgen.schema` alone.

    Each bad row is given to `on_bad_row` (`rows.refuse` stops at the first) and left out. Memory is bounded by a few
    batches of some MiB, except that a row must fit as a whole. A line of triples gives two pairs, in one batch.
    """
    kinds = read_columns(shard).kinds
    schema = pair_schema(list(kinds))
    for batch in _read_batches(shard, kinds, batch_rows, on_bad_row):
        if batch.num_rows:
            yield batch.cast(schema) if batch.schema != schema else batch


def find_files(path: str) -> tuple[list[Shard], list[str]]:
    """The files of pairs at `path`, each as one shard, and the folder's other files, both sorted by name."""
    if form := joined_form(path):
        raise CsgenError(f"{path}: its pairs stand in several files ({form}) and must be joined first")
    if path.startswith(PREFIX):
        return [Shard(find_triples(path), "triples")], []
    if not is_folder(path):
        if not exists(path):
            raise InputError.at(path, None, "no such file or folder")
        if format_of(path) == "":
            raise InputError.at(path, None, f"unknown kind of file; known are {known_endings()}")
        return [Shard(path, format_of(path))], []
    found = list_files(path)
    pairs = [f for f in found if format_of(f) and f.rpartition("/")[2] not in NOT_PAIRS]
    if not pairs:
        raise InputError.at(path, None, f"the folder holds no file of pairs; known are {known_endings()}")
    return [Shard(f, format_of(f)) for f in pairs], [f for f in found if f not in pairs]


def format_of(path: str) -> str:
    """The format by the name's ending; "" where it is unknown."""
    for ending, form in FORMATS.items():
        if path.endswith(ending) or (form != "parquet" and any(path.endswith(ending + c) for c in COMPRESSIONS)):
            return form
    return ""


def known_endings() -> str:
    return f"{', '.join(FORMATS)}, the text formats also with {', '.join(COMPRESSIONS)}"


def read_columns(shard: Shard) -> Columns:
    """The columns of a shard's file; one that misses a column of pairs or holds it in a wrong type is refused."""
    if shard.format == "triples":
        return Columns(tuple(REQUIRED_COLUMNS), ())
    if shard.format == "parquet":
        found = _parquet_columns(shard.path)
    else:
        found = list(json_head(shard.path)) if shard.format == "jsonl" else list(tsv_header(shard.path)[1])
    if missing := [name for name in REQUIRED_COLUMNS if name not in found]:
        raise InputError.at(
            shard.path,
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


def _read_batches(shard: Shard, kinds: Kinds, batch_rows: int, on_bad_row: OnBadRow) -> Iterator[pa.RecordBatch]:
    if shard.format == "parquet":
        stop = MAX_ROWS if shard.num_rows == NO_END else shard.first_row + shard.num_rows
        return read_rows(shard.path, range(shard.first_row, stop), kinds, batch_rows, on_bad_row)
    if shard.format == "triples":
        return read_text_triples(shard.path, batch_rows, on_bad_row)
    if shard.format == "jsonl":
        return read_lines(shard.path, json_lines(kinds, json_head(shard.path)), 1, batch_rows, on_bad_row)
    header_line, fields = tsv_header(shard.path)
    return read_lines(shard.path, Tsv(fields, kinds), header_line + 1, batch_rows, on_bad_row)
