"""Passages out of files, in batches of known columns, each with its number in the file; bad rows are told of.

Knows the columns of passages; nothing of shards, vectors or indexes.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from csgen.errors import InputError
from csgen.sources.parquet import open_parquet
from csgen.sources.rows import BadRow, Kinds, OnBadRow, decode, plain
from csgen.sources.text import BLOCK_BYTES, JsonLines, read_blocks
from indexing.index.inputs import PassageFile
from indexing.passages.rows import LANGUAGE, PASSAGE_ID, find_faults

Numbers = NDArray[np.int64]

_BATCH_ROWS = 1 << 13


@dataclass(frozen=True)
class Passages:
    """Good passages of a file. numbers: (rows,) each one's place among all that the file has, from 0, bad ones too.

    num_read: rows that were read for them, bad ones too.
    """

    batch: pa.RecordBatch
    numbers: Numbers
    num_read: int


@dataclass(frozen=True)
class _Raw:
    """Rows before they are judged. lines: where each stands, from 1; for messages."""

    batch: pa.RecordBatch
    numbers: Numbers
    lines: Numbers
    num_read: int  # those included of which no row could be made


def read_passages(
    file: PassageFile, schema: pa.Schema, languages: tuple[str, ...], on_bad_row: OnBadRow
) -> Iterator[Passages]:
    """The passages of a file in order, in batches of `schema`.

    Those in other languages than `languages` (none: all) are left out. A row without language, id or text, or with a
    value of a wrong type, is given to `on_bad_row`.
    """
    read = _read_parquet if file.format == "parquet" else _read_json
    for raw in read(file, schema, on_bad_row):
        good, faults = find_faults(raw.batch, 0, file.path)
        for fault in faults:
            on_bad_row(replace(fault, row=int(raw.lines[fault.row])))
        if languages:
            good &= pc.is_in(raw.batch.column(LANGUAGE), value_set=pa.array(languages, pa.large_string())).to_numpy(
                zero_copy_only=False
            )
        kept = raw.batch if good.all() else raw.batch.filter(pa.array(good))
        yield Passages(kept, raw.numbers[good], raw.num_read)


def _read_parquet(file: PassageFile, schema: pa.Schema, on_bad_row: OnBadRow) -> Iterator[_Raw]:
    with open_parquet(file.path) as opened:
        present = opened.schema_arrow.names
        columns = [name for name in (_source_name(name, file) for name in schema.names) if name in present]
        first = 0
        try:
            for batch in opened.iter_batches(_BATCH_ROWS, columns=columns, use_threads=False):
                numbers = np.arange(first, first + batch.num_rows)
                yield _Raw(_conform(batch, file, schema), numbers, numbers + 1, batch.num_rows)
                first += batch.num_rows
        except (pa.ArrowInvalid, OSError) as error:
            raise InputError.at(file.path, first + 1, f"from here on cannot be read: {error}") from error


def _read_json(file: PassageFile, schema: pa.Schema, on_bad_row: OnBadRow) -> Iterator[_Raw]:
    form = _json_form(file, schema)
    first = 0
    for line, block in read_blocks(file.path, BLOCK_BYTES):
        raw = _parse_block(block, form, file, schema, first, line)
        if raw is None:
            raw = _parse_lines(block, form, file, schema, first, line, on_bad_row)
        first += raw.num_read
        yield raw


def _json_form(file: PassageFile, schema: pa.Schema) -> JsonLines:
    """How Arrow reads the lines; ids may be numbers."""
    names = {_source_name(name, file): name for name in schema.names if name != LANGUAGE or file.language is None}
    types = {given: schema.field(name).type for given, name in names.items()}
    if file.whole_ids:
        types[file.id_column] = pa.int64()
    kinds: Kinds = dict.fromkeys(names, "text")
    return JsonLines(kinds, pa.schema(list(types.items())))


def _parse_block(
    block: bytes, form: JsonLines, file: PassageFile, schema: pa.Schema, first: int, line: int
) -> _Raw | None:
    """The rows of a block of lines; None where a line may be malformed or blank."""
    lines = block.rstrip(b"\r\n")
    if not lines:
        return None
    try:
        batch = _conform(form.parse_block(lines), file, schema)
        for column in batch.columns:
            column.validate(full=True)
    except pa.ArrowInvalid:
        return None
    places = np.arange(batch.num_rows)
    return _Raw(batch, first + places, line + places, batch.num_rows)


def _parse_lines(
    block: bytes, form: JsonLines, file: PassageFile, schema: pa.Schema, first: int, line: int, on_bad_row: OnBadRow
) -> _Raw:
    """The same line by line, which finds what is wrong. Blank lines are passed over."""
    rows, numbers, lines, num_read = [], [], [], 0
    for number, content in enumerate(block.split(b"\n"), line):
        if not content.strip():
            continue
        try:
            rows.append(_read_row(form.parse_line(decode(content)), file, schema))
            numbers.append(first + num_read)
            lines.append(number)
        except ValueError as error:
            on_bad_row(BadRow(file.path, number, str(error), content.decode(errors="backslashreplace").strip()))
        num_read += 1
    columns = list(zip(*rows, strict=True)) or [()] * len(schema)
    arrays = [pa.array(column, field.type) for column, field in zip(columns, schema, strict=True)]
    batch = pa.record_batch(arrays, schema=schema)
    return _Raw(batch, np.array(numbers, np.int64), np.array(lines, np.int64), num_read)


def _read_row(fields: dict[str, Any], file: PassageFile, schema: pa.Schema) -> list[Any]:
    """A line's values in the order of the schema; a ValueError says which is wrong."""
    values: list[Any] = []
    for field in schema:
        if field.name == LANGUAGE and file.language is not None:
            values.append(file.language)
            continue
        name = _source_name(field.name, file)
        value = fields.get(name)
        if field.name == PASSAGE_ID and isinstance(value, int) and not isinstance(value, bool):
            value = str(value)
        values.append(None if value is None else _check_value(name, value, field.type))
    return values


def _check_value(name: str, value: Any, kind: pa.DataType) -> Any:
    is_bool = isinstance(value, bool)
    if pa.types.is_large_string(kind):
        if not isinstance(value, str):
            raise ValueError(f"{name}: expected text, got {value!r}")
        try:
            value.encode()
        except UnicodeEncodeError as error:
            raise ValueError(f"{name}: not valid Unicode: lone surrogate U+{ord(value[error.start]):04X}") from error
        return value
    if pa.types.is_boolean(kind):
        if not is_bool:
            raise ValueError(f"{name}: expected true or false, got {value!r}")
        return value
    if pa.types.is_int64(kind):
        if is_bool or not isinstance(value, int) or not -(1 << 63) <= value < 1 << 63:
            raise ValueError(f"{name}: expected a whole number of 64 bits, got {value!r}")
        return value
    if is_bool or not isinstance(value, int | float) or not np.isfinite(value):
        raise ValueError(f"{name}: expected a finite number, got {value!r}")
    return float(value)


def _source_name(name: str, file: PassageFile) -> str:
    """What a column is called in the file."""
    return file.id_column if name == PASSAGE_ID else name


def _conform(batch: pa.RecordBatch, file: PassageFile, schema: pa.Schema) -> pa.RecordBatch:
    """The columns and types of the schema; ArrowInvalid where a value does not fit."""
    columns = []
    for field in schema:
        name = _source_name(field.name, file)
        if field.name == LANGUAGE and file.language is not None:
            columns.append(pa.repeat(pa.scalar(file.language, field.type), batch.num_rows))
        elif name in batch.schema.names:
            columns.append(plain(batch.column(name)).cast(field.type))
        else:
            columns.append(pa.nulls(batch.num_rows, field.type))
    return pa.record_batch(columns, schema=schema)
