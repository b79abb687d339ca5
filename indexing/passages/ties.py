"""Hits of several segments in one order: best score first, equal scores by address. Knows no score's meaning."""

from collections.abc import Callable, Iterator, Sequence
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
        order = np.lexsort((-self.scores, self.queries))
        queries, scores = self.queries[order], self.scores[order]
        is_tied = (queries[1:] == queries[:-1]) & (scores[1:] == scores[:-1])
        if not is_tied.any():
            return order

        def read_keys(places: Numbers) -> Words:
            wanted = order[places]
            keys = np.empty(len(wanted), np.uint64)
            for segment, own in self._by_segment(wanted):
                keys[own] = tables[segment].order_keys[self.rows[wanted[own]]]
            return keys

        def read_addresses(places: Numbers) -> pa.Array:
            wanted = order[places]
            parts = list(self._by_segment(wanted))
            addresses = pa.concat_arrays([tables[segment].addresses(self.rows[wanted[own]]) for segment, own in parts])
            return addresses.take(pa.array(np.argsort(np.concatenate([own for _, own in parts]))))

        return order[order_ties(is_tied, read_keys, read_addresses)]

    def _by_segment(self, wanted: Numbers) -> Iterator[tuple[int, Numbers]]:
        """By segment, where its candidates stand among those wanted."""
        owners = self.segments[wanted]
        return ((segment, np.flatnonzero(owners == segment)) for segment in np.unique(owners).tolist())


def order_ties(
    is_tied: NDArray[np.bool_], read_keys: Callable[[Numbers], Words], read_addresses: Callable[[Numbers], pa.Array]
) -> Numbers:
    """The places of one hit or more, each run of ties ordered by address; all others stay.

    is_tied: (hits - 1,), whether a hit is tied with the next. Keys, which are addresses' first bytes, are read for the
    places of ties alone, and addresses for those of equal keys.
    """
    order = np.arange(len(is_tied) + 1)
    for read in (read_keys, lambda places: pc.rank(read_addresses(places), tiebreaker="dense").to_numpy()):
        if not is_tied.any():
            break
        in_run = np.append(is_tied, False) | np.append(False, is_tied)
        runs = np.cumsum(np.append(False, ~is_tied))[in_run]
        values = read(order[in_run])
        own = np.lexsort((values, runs))
        order[in_run] = order[in_run][own]
        is_tied = is_tied.copy()
        is_tied[np.flatnonzero(in_run)[1:][values[own][1:] != values[own][:-1]] - 1] = False
    return order
