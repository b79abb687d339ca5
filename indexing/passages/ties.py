"""Hits of several segments in one order: best score first, equal scores by address. Knows no score's meaning."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import ArrayLike, NDArray

from indexing.passages.strings import Numbers, Words
from indexing.ranking import NO_HIT, Hits


class Addressed(Protocol):
    """Rows with addresses, as a `PassageTable` has them."""

    order_keys: Words

    def addresses(self, rows: ArrayLike) -> pa.Array:
        """The addresses of some rows."""


@dataclass(frozen=True)
class SegmentHits:
    """Each query's best passages, best first: three arrays (queries, width); behind the last hit NO_HIT, NO_HIT, 0."""

    segments: NDArray[np.int32]  # places in the sequence of segments that were searched
    rows: NDArray[np.int64]  # of the segment
    scores: NDArray[np.float32]

    @classmethod
    def none(cls, num_queries: int, width: int) -> "SegmentHits":
        shape = (num_queries, width)
        return cls(np.full(shape, NO_HIT, np.int32), np.full(shape, NO_HIT, np.int64), np.zeros(shape, np.float32))


def merge_hits(hits: Sequence[Hits], tables: Sequence[Addressed], width: int) -> SegmentHits:
    """The best of the hits that segments found, one pair of rows and scores (queries, any width) a segment.

    A segment's own hits may stand in any order; of those with the score of its last one it must have kept the first by
    address. Equal scores are ordered by `order_keys`; where these are equal too, by the addresses' bytes, which are
    read for those hits alone.
    """
    num_queries = len(hits[0][0]) if hits else 0
    merged = SegmentHits.none(num_queries, width)
    rows = np.concatenate([np.zeros((num_queries, 0), np.int64), *(found for found, _ in hits)], axis=1)
    scores = np.concatenate([np.zeros((num_queries, 0), np.float32), *(found for _, found in hits)], axis=1)
    if rows.size == 0 or width == 0:
        return merged
    owners = np.repeat(np.arange(len(hits), dtype=np.int32), [found.shape[1] for found, _ in hits])
    ranked = np.where(rows == NO_HIT, -np.inf, scores).astype(np.float32)
    last = min(width, rows.shape[1])
    floor = -np.partition(-ranked, last - 1, axis=1)[:, last - 1 : last]
    queries, columns = np.nonzero((ranked >= floor) & (rows != NO_HIT))
    found = _Candidates(queries, owners[columns], rows[queries, columns], ranked[queries, columns])
    order = found.sort(tables)
    ordered = queries[order]
    places = np.arange(len(order)) - np.searchsorted(ordered, ordered)
    kept = places < width
    at, order = (ordered[kept], places[kept]), order[kept]
    merged.segments[at], merged.rows[at], merged.scores[at] = (
        found.segments[order], found.rows[order], found.scores[order],
    )  # fmt: skip
    return merged


@dataclass(frozen=True)
class _Candidates:
    """Hits of any queries and segments."""

    queries: Numbers
    segments: NDArray[np.int32]
    rows: Numbers
    scores: NDArray[np.float32]

    def sort(self, tables: Sequence[Addressed]) -> Numbers:
        """Their order: by query, best score first, equal scores by address."""
        columns: list[NDArray[np.float32] | NDArray[np.int64] | Words] = [self.queries, -self.scores]
        order = np.lexsort(tuple(columns[::-1]))
        for read in (self._read_keys, self._rank_addresses):
            tied = _find_runs([column[order] for column in columns])
            if not tied.any():
                break
            columns.append(read(tables, np.sort(order[tied])))
            order = np.lexsort(tuple(columns[::-1]))
        return order

    def _read_keys(self, tables: Sequence[Addressed], wanted: Numbers) -> Words:
        keys = np.zeros(len(self.rows), np.uint64)
        for segment in np.unique(self.segments[wanted]).tolist():
            own = wanted[self.segments[wanted] == segment]
            keys[own] = tables[segment].order_keys[self.rows[own]]
        return keys

    def _rank_addresses(self, tables: Sequence[Addressed], wanted: Numbers) -> Numbers:
        places, addresses = [], []
        for segment in np.unique(self.segments[wanted]).tolist():
            own = wanted[self.segments[wanted] == segment]
            places.append(own)
            addresses.append(tables[segment].addresses(self.rows[own]))
        ranks = np.zeros(len(self.rows), np.int64)
        ranks[np.concatenate(places)] = pc.rank(pa.concat_arrays(addresses), tiebreaker="dense").to_numpy()
        return ranks


def _find_runs(columns: Sequence[NDArray[np.float32] | NDArray[np.int64] | Words]) -> NDArray[np.bool_]:
    """Which rows of sorted columns are equal to a neighbour."""
    same = np.logical_and.reduce([column[1:] == column[:-1] for column in columns])
    tied: NDArray[np.bool_] = np.append(same, False) | np.append(False, same)
    return tied
