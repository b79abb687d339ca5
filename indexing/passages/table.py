"""A segment's passages, memory-mapped: columns by row, rows by address. Knows nothing of vectors, terms or deletes."""

from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, Self

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import ArrayLike, NDArray
from pydantic import BaseModel, NonNegativeInt, ValidationError

from csgen.sources.collection import join_titles
from indexing.passages.mapped import UNREADABLE, MappedArrays, damaged, map_arrays, map_batches, read_batch
from indexing.passages.rows import (
    LANGUAGE,
    OWN,
    PASSAGE_ID,
    TEXT,
    TITLE,
    is_stored_schema,
    list_metadata,
    make_addresses,
)
from indexing.passages.strings import Numbers, Words, as_strings, check_offsets, find_hashes, hash_strings, take_strings
from indexing.passages.writing import (
    ADDRESSES,
    ADDRESSES_NOTES,
    BATCH_BITS,
    BATCH_ROWS,
    PASSAGES,
    PASSAGES_NOTES,
)


class _Notes(BaseModel):
    """What the address file says of the table."""

    languages: dict[str, NonNegativeInt]  # passages by language
    passages_bytes: int


class PassageTable:
    """Rows 0 to n - 1, each a passage. Opening reads a page or two of its files; rows are read when asked for."""

    def __init__(
        self, folder: Path, languages: dict[str, int], arrays: MappedArrays, reader: pa.ipc.RecordBatchFileReader
    ) -> None:
        """Of opened files, which `open` does."""
        self.folder = folder
        self.languages = languages  # passages by language, in the order of the codes
        self.codes: NDArray[Any] = arrays.numbers("codes", np.uint8, np.uint16)  # of each row's language
        # Of each row the first eight bytes of its address as a big-endian number, with zeros behind a shorter one:
        # addresses whose keys differ are in the order of their keys. Equal keys leave it to the addresses themselves.
        self.order_keys: Words = arrays.numbers("order_keys", np.uint64)
        self.fields: dict[str, pa.DataType] = {n: reader.schema.field(n).type for n in list_metadata(reader.schema)}
        self._hashes: Words = arrays.numbers("hashes", np.uint64)
        self._rows: NDArray[np.uint32] = arrays.numbers("rows", np.uint32)
        self._reader = reader
        self._columns = set(reader.schema.names)
        self._batches: dict[int, pa.RecordBatch] = {}
        self._checked: set[tuple[int, str]] = set()
        arrays.require_lengths(sum(self.languages.values()), "codes", "order_keys", "hashes", "rows")

    @classmethod
    def open(cls, folder: Path | str) -> Self:
        """The table in a segment's folder; InputError where a file is missing, cut short or of another kind."""
        folder = Path(folder)
        arrays = map_arrays(folder / ADDRESSES, ADDRESSES_NOTES)
        try:
            notes = _Notes.model_validate(arrays.notes)
        except ValidationError as error:
            raise damaged(arrays.path, error) from error
        path = folder / PASSAGES
        reader, _ = map_batches(path, PASSAGES_NOTES)
        if (size := path.stat().st_size) != notes.passages_bytes:
            raise damaged(path, f"{size:,} bytes in place of {notes.passages_bytes:,}")
        table = cls(folder, notes.languages, arrays, reader)
        if reader.num_record_batches != -(-len(table) // BATCH_ROWS) or not is_stored_schema(reader.schema):
            raise damaged(path, f"{reader.num_record_batches} batches of {reader.schema}")
        return table

    def __len__(self) -> int:
        return len(self.codes)

    def addresses(self, rows: ArrayLike) -> pa.Array:
        """LANGUAGE/PASSAGE_ID of some rows, large_string."""
        taken = self.take(rows, [LANGUAGE, PASSAGE_ID])
        return as_strings(make_addresses(taken.column(LANGUAGE), taken.column(PASSAGE_ID)))

    def take(self, rows: ArrayLike, columns: Sequence[str] | None = None) -> pa.Table:
        """Some rows, in the order given, with some columns (None: language, passage_id, title, text and metadata).

        Strings are large_string; titles are null where there are none. Only what is asked for is read. A ValueError
        for rows or columns that the table lacks.
        """
        rows = np.asarray(rows, np.int64)
        if len(rows) and (rows.min() < 0 or rows.max() >= len(self)):
            raise ValueError(f"rows must be from 0 to {len(self) - 1}, got {rows.min()} to {rows.max()}")
        columns = [*OWN, *self.fields] if columns is None else list(columns)
        if unknown := [name for name in columns if name not in OWN and name not in self.fields]:
            raise ValueError(f"no column {unknown[0]!r}; there are {', '.join([*OWN, *self.fields])}")
        order = np.argsort(rows >> BATCH_BITS, kind="stable")
        parts = [pa.table({name: pa.array([], self._type(name)) for name in columns})]
        for number, places in _split(rows[order] >> BATCH_BITS):
            parts.append(self._take_of_batch(number, rows[order[places]], columns))
        taken = pa.concat_tables(parts)
        if (np.diff(order) > 0).all():
            return taken
        back = np.empty(len(rows), np.int64)
        back[order] = np.arange(len(rows))
        return taken.combine_chunks().take(pa.array(back))

    def find(self, addresses: pa.Array | pa.ChunkedArray | pl.Series | Sequence[str]) -> Numbers:
        """The rows of addresses, int64, -1 where the table has none."""
        wanted = as_strings(addresses)
        hashes = hash_strings(wanted)
        places = find_hashes(self._hashes, hashes)
        rows, pending = np.full(len(wanted), -1, np.int64), np.arange(len(wanted))
        while len(pending):  # once, but where addresses have the same hash
            pending = pending[places[pending] < len(self)]
            pending = pending[self._hashes[places[pending]] == hashes[pending]]
            candidates = self._rows[places[pending]].astype(np.int64)
            if (candidates >= len(self)).any():
                raise damaged(self.folder / ADDRESSES, "a row beyond the last")
            same = pc.equal(self.addresses(candidates), wanted.take(pa.array(pending))).fill_null(False)
            found = same.to_numpy(zero_copy_only=False)
            rows[pending[found]] = candidates[found]
            pending = pending[~found]
            places[pending] += 1
        return rows

    def scan(self, field: str) -> Iterator[pa.Array]:
        """A metadata column whole, in parts of BATCH_ROWS rows, none copied."""
        for number in range(self._reader.num_record_batches):
            column = self._batch(number).column(field)
            if pa.types.is_large_string(column.type) and (number, field) not in self._checked:
                try:
                    check_offsets(column)
                except ValueError as error:
                    raise damaged(self.folder / PASSAGES, f"{field}: {error}") from error
                self._checked.add((number, field))
            yield column

    def _type(self, name: str) -> pa.DataType:
        return self.fields.get(name, pa.large_string())

    def _batch(self, number: int) -> pa.RecordBatch:
        if number not in self._batches:
            num_rows = min(BATCH_ROWS, len(self) - (number << BATCH_BITS))
            self._batches[number] = read_batch(self.folder / PASSAGES, self._reader, number, num_rows)
        return self._batches[number]

    def _take_of_batch(self, number: int, rows: Numbers, columns: Sequence[str]) -> pa.Table:
        taken, places = {}, rows - (number << BATCH_BITS)
        for name in columns:
            if name == LANGUAGE:
                taken[name] = self._take_languages(rows)
            elif name not in self._columns:  # a title where no passage has one
                taken[name] = pa.nulls(len(rows), self._type(name))
            else:
                taken[name] = self._take_column(number, name, places)
        return pa.table(taken)

    def _take_languages(self, rows: Numbers) -> pa.Array:
        try:
            return pa.array(list(self.languages), pa.large_string()).take(pa.array(self.codes[rows]))
        except IndexError as error:
            raise damaged(self.folder / ADDRESSES, error) from error

    def _take_column(self, number: int, name: str, places: Numbers) -> pa.Array:
        column = self._batch(number).column(name)
        try:
            if pa.types.is_large_string(column.type):
                return take_strings(column, places)
            return column.take(pa.array(places))
        except UNREADABLE as error:
            raise damaged(self.folder / PASSAGES, f"{name}: {error}") from error


def join_titles_of(passages: pa.Table) -> pl.Series:
    """What is searched and encoded of passages that `PassageTable.take` gave: the text, behind the title if any."""
    documents = pl.DataFrame(passages.select([PASSAGE_ID, TITLE, TEXT])).rename({PASSAGE_ID: "_id"})
    return join_titles(documents.with_columns(pl.col(TITLE).fill_null("")))["text"]


def _split(numbers: Numbers) -> Iterator[tuple[int, slice]]:
    """The runs of equal values in an array."""
    bounds = [0, *(np.flatnonzero(np.diff(numbers)) + 1).tolist(), len(numbers)]
    for start, stop in pairwise(bounds):
        if stop > start:
            yield int(numbers[start]), slice(start, stop)
