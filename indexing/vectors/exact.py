"""Exact search: all vectors of some segments, or those that a filter leaves, against all queries.

Each thread reads a run of rows once for a block of queries. So one query is bound by memory (1.5 GB for 1 million x
384), thirty-two by multiplications, and all threads work in either case. Of rows that a filter leaves out, single ones
are read, since skipping them costs more, and many are not.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, partial

import numpy as np
from numpy.typing import NDArray

from indexing.vectors.kernels import ROW_BITS, scan
from indexing.vectors.scoring import NO_ID, Bitmap, Bounds, Ranked, bound_slacks, join, order, unpack
from indexing.vectors.stored import Matrix, Numbers, StoredVectors
from indexing.vectors.threads import run_tasks

_BLOCK_QUERIES = 64  # that share a reading of the rows
_UNIT_ROWS = 1 << 13  # that a thread takes at a time, at most
_MIN_UNIT_ROWS = 1 << 10
_UNITS_A_THREAD = 4
_DENSE = 0.5  # share of allowed rows from which on all are read, in the order in which they lie


@dataclass(frozen=True)
class ExactPart:
    """What to search of a segment: `number` is its place among all; allowed None: all rows."""

    number: int
    vectors: StoredVectors
    allowed: Bitmap | None

    @cached_property
    def _mask(self) -> NDArray[np.bool_] | None:
        return None if self.allowed is None else unpack(self.allowed, len(self.vectors))

    @cached_property
    def _few(self) -> Numbers | None:
        """The allowed rows, where no others are read."""
        if self._mask is None or np.count_nonzero(self._mask) >= _DENSE * len(self._mask):
            return None
        return np.flatnonzero(self._mask)

    def __len__(self) -> int:
        """How many rows are read."""
        return len(self.vectors) if self._few is None else len(self._few)

    def read(self, first: int, last: int) -> tuple[Numbers, Numbers]:
        """Some of the rows to read, ascending, and their ids; NO_ID for those not allowed."""
        rows = np.arange(first, last) if self._few is None else self._few[first:last]
        ids = rows + (self.number << ROW_BITS)
        if self._few is None and self._mask is not None:
            ids[~self._mask[first:last]] = NO_ID
        return rows, ids


Unit = tuple[ExactPart, int, int]


def search_exact(queries: Matrix, parts: Sequence[ExactPart], top_k: int, num_threads: int) -> Ranked:
    """The hits of each query among the parts, whatever `num_threads`, the other queries and the cut into segments."""
    hits = Ranked.empty(len(queries), top_k)
    units = list(_cut(parts, num_threads))
    width = min(top_k, sum(map(len, parts)))
    slacks = bound_slacks(queries, max((part.vectors.longest for part in parts), default=0.0))
    for start in range(0, len(queries) if units else 0, _BLOCK_QUERIES):
        block = slice(start, start + _BLOCK_QUERIES)
        waiting = iter(units)  # shared by the threads
        tasks = [partial(_collect, queries[block], slacks[block], waiting, width)] * min(num_threads, len(units))
        found = run_tasks(tasks, num_threads)
        candidates = join(found, axis=1)
        best = order(candidates.ids, candidates.scores, top_k)
        hits.scores[block], hits.ids[block] = best.scores, best.ids
    return hits


def _cut(parts: Sequence[ExactPart], num_threads: int) -> Iterator[Unit]:
    """Runs of rows, a few for each thread."""
    total = sum(map(len, parts))
    size = min(max(total // (_UNITS_A_THREAD * num_threads), _MIN_UNIT_ROWS), _UNIT_ROWS)
    for part in parts:
        for first in range(0, len(part), size):
            yield part, first, min(first + size, len(part))


def _collect(queries: Matrix, slacks: Bounds, units: Iterator[Unit], width: int) -> Ranked:
    """The best `width` among the units that are left when one's turn comes, in no order."""
    best = Ranked.empty(len(queries), width)
    for part, first, last in units:
        rows, ids = part.read(first, last)
        if not scan(queries, slacks, *part.vectors.load(rows), ids, best.scores, best.ids):
            part.vectors.refuse_places()
    return best
