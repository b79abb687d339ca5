"""Files that open memory-mapped, in Arrow's IPC format, uncompressed; knows nothing of what stands in them.

A file of arrays has a single row, in which each array is a list, so that their lengths may differ. No file stays open:
a mapping needs no descriptor, of which a process has few. What the files promise is checked before it is used, since a
damaged file must end in a message and not in a signal.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from csgen.errors import InputError
from csgen.files import replace_file

_NOTES = b"csgen"
# What Arrow raises over bytes that are not what they should be.
UNREADABLE = (pa.ArrowException, OSError, ValueError, IndexError, MemoryError)


def damaged(path: Path, reason: object) -> InputError:
    """The error for a file that does not hold what was written."""
    detail = " ".join(str(reason).split())
    return InputError.at(
        str(path), None, f"damaged, altered or cut short ({detail}); restore the segment from a snapshot, or rebuild it"
    )


def map_batches(path: Path, notes: Mapping[str, Any]) -> tuple[pa.ipc.RecordBatchFileReader, dict[str, Any]]:
    """The batches of a file, mapped when they are asked for, and its notes, among which those of `notes` must be."""
    try:
        with pa.memory_map(str(path)) as source:
            content = source.read_buffer()
        reader = pa.ipc.open_file(pa.BufferReader(content))
        found = json.loads((reader.schema.metadata or {}).get(_NOTES, b"{}"))
        is_doubled = len(set(reader.schema.names)) != len(reader.schema.names)
    except FileNotFoundError as error:
        raise InputError.at(str(path), None, "no such file: the segment is not whole; restore it") from error
    except UNREADABLE as error:
        raise damaged(path, error) from error
    if is_doubled:
        raise damaged(path, "two columns of a name")
    if not isinstance(found, dict) or any(found.get(name) != value for name, value in notes.items()):
        raise InputError.at(str(path), None, f"of another kind or version of csgen: expected {dict(notes)}; rebuild it")
    return reader, found


def annotate(schema: pa.Schema, notes: Mapping[str, Any]) -> pa.Schema:
    """A schema that carries notes and no other metadata."""
    return schema.with_metadata({_NOTES: json.dumps(dict(notes), sort_keys=True)})


def read_batch(path: Path, reader: pa.ipc.RecordBatchFileReader, number: int, num_rows: int) -> pa.RecordBatch:
    """A batch whose buffers are as long as its columns need; values and string offsets are as the file has them."""
    try:
        batch = reader.get_batch(number)
        batch.validate()
    except UNREADABLE as error:
        raise damaged(path, error) from error
    if batch.num_rows != num_rows:
        raise damaged(path, f"batch {number} has {batch.num_rows} rows in place of {num_rows}")
    return batch


@dataclass(frozen=True)
class MappedArrays:
    """The arrays of a file, by name."""

    path: Path
    notes: dict[str, Any]
    columns: dict[str, pa.Array]

    def numbers(self, name: str, *types: type[np.generic]) -> NDArray[Any]:
        """An array of numbers of one of the types, read-only, without a copy."""
        column = self._find(name)
        if column.null_count or all(column.type != pa.from_numpy_dtype(kind) for kind in types):
            raise damaged(self.path, f"{name} is {column.type} with {column.null_count} nulls")
        return column.to_numpy()  # type: ignore[no-any-return]

    def strings(self, name: str) -> pa.Array:
        """An array of large_string without nulls."""
        column = self._find(name)
        if column.null_count or column.type != pa.large_string():
            raise damaged(self.path, f"{name} is {column.type} with {column.null_count} nulls")
        return column

    def read_note(self, name: str) -> int:
        """A whole number, 0 or more, among the notes."""
        value = self.notes.get(name)
        if not isinstance(value, int) or value < 0:
            raise damaged(self.path, f"{name} is {value!r}")
        return value

    def require_lengths(self, length: int, *names: str) -> None:
        """An InputError unless the arrays have this length."""
        for name in names:
            if len(self._find(name)) != length:
                raise damaged(self.path, f"{name} has {len(self._find(name))} values in place of {length}")

    def _find(self, name: str) -> pa.Array:
        if name not in self.columns:
            raise damaged(self.path, f"no {name}")
        return self.columns[name]


def write_arrays(path: Path, notes: Mapping[str, Any], arrays: Mapping[str, NDArray[Any] | pa.Array]) -> None:
    """Write arrays of numbers, and of large_string, as a file that `map_arrays` opens."""
    lists = []
    for values in map(pa.array, arrays.values()):
        lists.append(pa.LargeListArray.from_arrays(pa.array([0, len(values)], pa.int64()), values))
    row = pa.record_batch(lists, list(arrays))
    with replace_file(str(path)) as stream, pa.ipc.new_file(stream, annotate(row.schema, notes)) as writer:
        writer.write_batch(row)


def map_arrays(path: Path, notes: Mapping[str, Any]) -> MappedArrays:
    """Open a file of arrays; InputError where it is missing, damaged, or its notes are not these."""
    reader, found = map_batches(path, notes)
    if reader.num_record_batches != 1 or not all(pa.types.is_large_list(field.type) for field in reader.schema):
        raise damaged(path, "not a file of arrays")
    batch = read_batch(path, reader, 0, 1)
    return MappedArrays(path, found, {field.name: batch.column(field.name).values for field in batch.schema})
