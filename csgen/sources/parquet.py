"""Tables of pairs in Parquet: row ranges read in bounded memory, and written whole or not at all."""

from collections.abc import Iterable, Iterator
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from csgen.errors import InputError
from csgen.files import filesystem, replace_file
from csgen.sources.rows import BadRow, Kinds, OnBadRow, check_row, clean, is_text, make_batch, plain, render

BATCH_BYTES = 64 << 20  # rows of long passages come in smaller batches
ROW_GROUP_ROWS = 1 << 17
ROW_GROUP_BYTES = 256 << 20


def open_parquet(path: str) -> pq.ParquetFile:
    """Open a Parquet file by path or URI. Not memory-mapped: a file cut short under a map kills the process."""
    fs, inner = filesystem(path)
    try:
        size = fs.info(inner)["size"]
        if size == 0:
            raise InputError.at(path, None, "empty file; expected a Parquet file")
        return pq.ParquetFile(fs.open(inner, "rb"))
    except FileNotFoundError as error:
        raise InputError.at(path, None, "no such file") from error
    except (IsADirectoryError, PermissionError) as error:
        raise InputError.at(path, None, f"cannot be read: {error.strerror or error}") from error
    except (pa.ArrowInvalid, OSError) as error:
        raise InputError.at(path, None, f"not a Parquet file, or cut short: {error}") from error


def read_rows(path: str, rows: range, kinds: Kinds, batch_rows: int, on_bad_row: OnBadRow) -> Iterator[pa.RecordBatch]:
    """The checked rows of a range, in order, in batches of at most `batch_rows` rows.

    Only the row groups that hold the range are read; rows before it in its first group are decoded and dropped, as
    Parquet offers no cheaper way in.
    """
    with open_parquet(path) as file:
        groups, skip = _groups_of(file.metadata, rows)
        size = min(batch_rows, _rows_within(file.metadata, groups, BATCH_BYTES))
        row = rows.start - skip
        try:
            for batch in file.iter_batches(size, row_groups=groups, columns=list(kinds), use_threads=False):
                part = _overlap(batch, row, rows)
                if part.num_rows:
                    good = clean(part, kinds)
                    start = max(row, rows.start)
                    yield good if good is not None else _sift(part, start, path, kinds, on_bad_row)
                row += batch.num_rows
        except (pa.ArrowInvalid, OSError) as error:
            raise InputError.at(path, None, f"damaged Parquet file: {error}") from error


def write_pairs(pairs: pa.Table | Iterable[pa.RecordBatch], path: str) -> int:
    """Write pairs as Parquet (lz4), atomically, and return their number. No pairs at all are refused."""
    batches = iter(pairs.to_batches() if isinstance(pairs, pa.Table) else pairs)
    first = next(batches, None)
    if first is None:
        raise InputError(f"{path}: no pairs to write")
    languages = [name for name in first.schema.names if name.endswith("_language")]
    num_rows = 0
    with (
        replace_file(path) as stream,
        pq.ParquetWriter(stream, first.schema, compression="lz4", use_dictionary=languages) as writer,
    ):
        for table in _row_groups(first, batches):
            writer.write_table(table, row_group_size=max(1, table.num_rows))
            num_rows += table.num_rows
    return num_rows


def _row_groups(first: pa.RecordBatch, rest: Iterator[pa.RecordBatch]) -> Iterator[pa.Table]:
    held, num_rows, num_bytes = [first], first.num_rows, first.nbytes
    for batch in rest:
        if num_rows >= ROW_GROUP_ROWS or num_bytes >= ROW_GROUP_BYTES:
            yield pa.Table.from_batches(held)
            held, num_rows, num_bytes = [], 0, 0
        held.append(batch)
        num_rows += batch.num_rows
        num_bytes += batch.nbytes
    yield pa.Table.from_batches(held)


def _groups_of(metadata: pq.FileMetaData, rows: range) -> tuple[list[int], int]:
    """The row groups that overlap `rows`, and how many rows stand before the range in the first of them."""
    groups: list[int] = []
    skip = start = 0
    for group in range(metadata.num_row_groups):
        end = start + metadata.row_group(group).num_rows
        if start < rows.stop and end > rows.start:
            skip = skip if groups else max(0, rows.start - start)
            groups.append(group)
        start = end
    return groups, skip


def _rows_within(metadata: pq.FileMetaData, groups: list[int], num_bytes: int) -> int:
    """How many rows of these groups make about `num_bytes`, by the average of the longest group; at least 1."""
    infos = [metadata.row_group(g) for g in groups]
    row_bytes = max((i.total_byte_size / max(1, i.num_rows) for i in infos), default=1.0)
    return max(1, int(num_bytes / max(1.0, row_bytes)))


def _overlap(batch: pa.RecordBatch, first_row: int, rows: range) -> pa.RecordBatch:
    start = min(batch.num_rows, max(0, rows.start - first_row))
    return batch.slice(start, max(0, rows.stop - first_row - start))


def _sift(batch: pa.RecordBatch, first_row: int, path: str, kinds: Kinds, on_bad_row: OnBadRow) -> pa.RecordBatch:
    """The good rows of a batch that has bad ones."""
    columns = [_to_python(batch.column(name)) for name in kinds]
    good = []
    for offset, values in enumerate(zip(*columns, strict=True)):
        row = dict(zip(kinds, values, strict=True))
        try:
            good.append(check_row(row, kinds))
        except ValueError as error:
            on_bad_row(BadRow(path, first_row + offset + 1, str(error), render(row)))
    return make_batch(good, kinds)


def _to_python(array: pa.Array) -> list[Any]:
    """Python values; text as bytes, since it may not be text."""
    array = plain(array)
    return list(array.cast(pa.large_binary()).to_pylist() if is_text(array.type) else array.to_pylist())
