"""The segments of one version, opened when they are first needed: tables, vectors, terms, live rows, languages.

Rows of all segments have one number each here: the segment's place in the version << 32 | its row. Knows no query.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from threading import RLock
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from csgen.errors import InputError
from indexing.index.settings import IndexSettings
from indexing.passages import Filter, LexicalPart, PassageTable
from indexing.passages.rows import LANGUAGE, OWN
from indexing.passages.strings import as_strings
from indexing.ranking import Bitmap
from indexing.store import SegmentEntry, Store, Version
from indexing.store.version import SEGMENTS, TRAINED
from indexing.vectors.config import Device
from indexing.vectors.scoring import count_allowed
from indexing.vectors.segment import VectorSegment
from indexing.vectors.training import Trained, load_trained

ROW_BITS = 32
NO_ROW = -1

Numbers = NDArray[np.int64]


@dataclass(frozen=True)
class Allowed:
    """The rows that a search may find: by segment a bitmap, or None for all. count: rows in all."""

    bitmaps: tuple[Bitmap | None, ...]
    count: int

    @property
    def num_segments(self) -> int:
        """Segments with any such row."""
        return sum(bitmap is None or bool(bitmap.any()) for bitmap in self.bitmaps)


@dataclass(frozen=True)
class OpenSegments:
    """The segments of a version. What was opened stays open, whatever becomes of the files; threads may share it."""

    store: Store
    version: Version
    settings: IndexSettings
    device: Device
    _lock: Any = field(default_factory=RLock)
    _languages: dict[tuple[int, str], Bitmap] = field(default_factory=dict)

    @property
    def entries(self) -> tuple[SegmentEntry, ...]:
        return self.version.segments

    @cached_property
    def tables(self) -> tuple[PassageTable, ...]:
        with self._lock:
            return tuple(self._open_table(entry) for entry in self.entries)

    @cached_property
    def vectors(self) -> tuple[VectorSegment, ...]:
        with self._lock:
            return tuple(self._open_vectors(entry) for entry in self.entries)

    @cached_property
    def parts(self) -> tuple[LexicalPart, ...]:
        """The lexical parts; an InputError where the index was built without."""
        if not self.settings.lexical:
            raise InputError.at(
                str(self.store.folder), None, "was built without a lexical part: search by --mode dense, or build it "
                "with --lexical"
            )  # fmt: skip
        with self._lock:
            return tuple(
                LexicalPart.open(self.folder_of(entry), table)
                for entry, table in zip(self.entries, self.tables, strict=True)
            )

    @cached_property
    def live(self) -> Allowed:
        """The rows that are not deleted."""
        with self._lock:
            bitmaps = tuple(self.store.read_live(self.version, entry.name) for entry in self.entries)
        return Allowed(bitmaps, sum(entry.live for entry in self.entries))

    @cached_property
    def languages(self) -> tuple[str, ...]:
        """Of the passages, deleted ones too, sorted."""
        return tuple(sorted({language for table in self.tables for language in table.languages}))

    @cached_property
    def fields(self) -> dict[str, pa.DataType]:
        """The metadata of any segment. What segments keep in different types comes as strings."""
        kinds: dict[str, set[pa.DataType]] = {}
        for table in self.tables:
            for name, kind in table.fields.items():
                kinds.setdefault(name, set()).add(kind)
        return {name: found.pop() if len(found) == 1 else pa.large_string() for name, found in kinds.items()}

    def folder_of(self, entry: SegmentEntry) -> Path:
        return self.store.folder / SEGMENTS / entry.name

    def open_all(self, entry: SegmentEntry) -> None:
        """Open a segment's files once, to see that they can be; an InputError says which cannot."""
        table = self._open_table(entry)
        self._open_vectors(entry)
        self.store.read_live(self.version, entry.name)
        if self.settings.lexical:
            part = LexicalPart.open(self.folder_of(entry), table)
            for language in table.languages:
                part.open_language(language)

    def open_trained(self) -> None:
        """Open what all segments share; an InputError where that cannot be."""
        if self.entries:
            _ = self._trained

    # Rows that may be found.

    def allow(self, wanted: Filter) -> Allowed:
        """The live rows that a filter allows."""
        rest = wanted.model_copy(update={"languages": None})
        bitmaps = []
        for place, (table, live) in enumerate(zip(self.tables, self.live.bitmaps, strict=True)):
            bitmap = live
            if wanted.languages is not None and not {*table.languages} <= {*wanted.languages}:
                marks = [self._mark_language(place, one) for one in wanted.languages if one in table.languages]
                bitmap = _intersect(bitmap, np.bitwise_or.reduce([_mark_none(table), *marks]))
            if bitmap is None or bitmap.any():
                bitmap = _intersect(bitmap, rest.to_bitmap(table, self.fields))
            bitmaps.append(bitmap)
        return self._count(bitmaps)

    def only(self, allowed: Allowed, language: str) -> Allowed:
        """Those of the rows that are in a language."""
        bitmaps = []
        for place, (table, bitmap) in enumerate(zip(self.tables, allowed.bitmaps, strict=True)):
            whole = list(table.languages) == [language]
            bitmaps.append(bitmap if whole else _intersect(bitmap, self._mark_language(place, language)))
        return self._count(bitmaps)

    def find(self, addresses: pa.Array) -> Numbers:
        """The numbers of the live rows of addresses (large_string), NO_ROW where there is none."""
        found = np.full(len(addresses), NO_ROW, np.int64)
        for place, (table, live) in enumerate(zip(self.tables, self.live.bitmaps, strict=True)):
            rows = table.find(addresses)
            there = rows >= 0
            if live is not None:
                there &= (live[np.maximum(rows, 0) >> 3] >> (rows & 7).astype(np.uint8) & 1).astype(np.bool_)
            found[there] = place << ROW_BITS | rows[there]
        return found

    def _mark_language(self, place: int, language: str) -> Bitmap:
        """The rows in a language; kept, an eighth of a byte a row."""
        if (place, language) not in self._languages:
            table = self.tables[place]
            bitmap = _mark_none(table)
            if language in table.languages:
                code = list(table.languages).index(language)
                bitmap = np.packbits(table.codes == code, bitorder="little")
            self._languages[place, language] = bitmap
        return self._languages[place, language]

    def _count(self, bitmaps: Sequence[Bitmap | None]) -> Allowed:
        counts = [
            len(table) if bitmap is None else count_allowed(bitmap, len(table))
            for table, bitmap in zip(self.tables, bitmaps, strict=True)
        ]
        return Allowed(tuple(bitmaps), sum(counts))

    # Rows by their numbers.

    def read_keys(self, numbers: Numbers) -> NDArray[np.uint64]:
        """The order keys of rows; see PassageTable."""
        keys = np.empty(len(numbers), np.uint64)
        for place, targets, rows in split_rows(numbers):
            keys[targets] = self.tables[place].order_keys[rows]
        return keys

    def addresses(self, numbers: Numbers) -> pa.Array:
        """LANGUAGE/PASSAGE_ID of rows, large_string."""
        found, order = [pa.array([], pa.large_string())], [np.zeros(0, np.int64)]
        for place, targets, rows in split_rows(numbers):
            found.append(self.tables[place].addresses(rows))
            order.append(targets)
        return as_strings(pa.concat_arrays(found).take(pa.array(np.argsort(np.concatenate(order)))))

    def find_languages(self, numbers: Numbers) -> NDArray[np.int64]:
        """The place of each row's language in `languages`; of NO_ROW -1."""
        found = np.full(numbers.shape, -1, np.int64)
        for place, targets, rows in split_rows(numbers.ravel()):
            table = self.tables[place]
            own = np.array([self.languages.index(language) for language in table.languages], np.int64)
            found.ravel()[targets] = own[table.codes[rows]]
        return found

    def take(self, numbers: Numbers, columns: Sequence[str]) -> pa.Table:
        """Columns of rows, in their order; a field that a segment lacks is null there."""
        kinds = {name: self.fields.get(name, pa.large_string()) for name in columns}
        if unknown := [name for name in columns if name not in OWN and name not in self.fields]:
            raise InputError(f"no field {unknown[0]!r}; there are {', '.join([*OWN, *sorted(self.fields)])}")
        parts, order = [pa.table({name: pa.array([], kind) for name, kind in kinds.items()})], [np.zeros(0, np.int64)]
        for place, targets, rows in split_rows(numbers):
            table = self.tables[place]
            has = [name for name in columns if name in OWN or name in table.fields]
            # A table of no column would have no rows.
            taken = table.take(rows, has or [LANGUAGE])
            arrays = {
                name: taken.column(name).cast(kind) if name in has else pa.nulls(len(rows), kind)
                for name, kind in kinds.items()
            }
            parts.append(pa.table(arrays))
            order.append(targets)
        joined = pa.concat_tables(parts).combine_chunks()
        return joined.take(pa.array(np.argsort(np.concatenate(order))))

    def take_vectors(self, numbers: Numbers) -> NDArray[np.float32]:
        """(rows, dimensions), as they are stored."""
        taken = np.empty((len(numbers), self.settings.dim), np.float32)
        for place, targets, rows in split_rows(numbers):
            taken[targets] = self.vectors[place].vectors(rows)
        return taken

    # Opening.

    @cached_property
    def _trained(self) -> Trained:
        if self.version.trained is None:
            raise InputError.at(str(self.store.folder), None, "names no training: restore the index from a snapshot")
        self.store.open_trained_paths(self.version)
        return load_trained(str(self.store.folder / TRAINED / self.version.trained.name))

    def _open_table(self, entry: SegmentEntry) -> PassageTable:
        self.store.open_segment_paths(self.version, entry.name)
        table = PassageTable.open(self.folder_of(entry))
        self._require_passages(entry, len(table), "passages")
        return table

    def _open_vectors(self, entry: SegmentEntry) -> VectorSegment:
        self.store.open_segment_paths(self.version, entry.name)
        vectors = VectorSegment.open(str(self.folder_of(entry)), self._trained, device=self.device)
        self._require_passages(entry, len(vectors), "vectors")
        return vectors

    def _require_passages(self, entry: SegmentEntry, found: int, what: str) -> None:
        if found != entry.passages:
            raise InputError.at(
                str(self.folder_of(entry)), None, f"has {found:,} {what} in place of {entry.passages:,}: restore the "
                "index from a snapshot, or repair it"
            )  # fmt: skip


def split_rows(numbers: Numbers) -> Iterator[tuple[int, Numbers, Numbers]]:
    """By segment: its place, where its numbers stand, and their rows; NO_ROW is passed over."""
    if not len(numbers):
        return
    places = numbers >> ROW_BITS
    order = np.argsort(places, kind="stable")
    found, starts = np.unique(places[order], return_index=True)
    for place, targets in zip(found.tolist(), np.split(order, starts[1:]), strict=True):
        if place >= 0:
            yield place, targets, numbers[targets] & ((1 << ROW_BITS) - 1)


def _mark_none(table: PassageTable) -> Bitmap:
    return np.zeros(-(-len(table) // 8), np.uint8)


def _intersect(one: Bitmap | None, other: Bitmap | None) -> Bitmap | None:
    if one is None or other is None:
        return other if one is None else one
    return one & other
