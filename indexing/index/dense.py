"""Dense search of opened segments, exact about ties: equal scores by address, for any cut into segments.

A few more hits than asked for are taken. Where the last one's score is still that of the last one asked for, more are:
so all with that score are at hand, of which the first by address stay. Keys of addresses would have to be read for
every row compared, and would not tell ids apart that begin alike.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from indexing.index.fusion import Numbers, Ranking
from indexing.index.opened import NO_ROW, ROW_BITS, Allowed, OpenSegments
from indexing.passages import order_ties
from indexing.vectors.search import NOT_COUNTED, Effort, Hits, search_segments

_MARGIN = 4  # hits beyond those asked for, which tell whether the last one's score goes on behind it
_WIDENING = 8  # times as many hits for a query whose last score does


@dataclass
class Work:
    """What was done for each query, (queries,), and whether scores are inner products with the vectors as stored.

    examined: rows compared or passed over, in all searches together; NOT_COUNTED where a graph was walked. cut_off: a
    search ended before all allowed rows were compared exactly.
    """

    examined: Numbers
    cut_off: NDArray[np.bool_]
    exact_scores: bool = True

    @classmethod
    def none(cls, num_queries: int) -> "Work":
        return cls(np.zeros(num_queries, np.int64), np.zeros(num_queries, np.bool_))

    def add(self, queries: Numbers, hits: Hits) -> None:
        counted = (self.examined[queries] != NOT_COUNTED) & (hits.examined != NOT_COUNTED)
        self.examined[queries] = np.where(counted, self.examined[queries] + hits.examined, NOT_COUNTED)
        self.cut_off[queries] |= hits.cut_off
        self.exact_scores &= hits.exact_scores


@dataclass(frozen=True)
class DenseSearch:
    """A search of some segments. num_threads: None: as Numba is set."""

    opened: OpenSegments
    effort: Effort
    num_threads: int | None

    def search(
        self, vectors: NDArray[np.floating], queries: Numbers, top_k: int, allowed: Allowed, work: Work
    ) -> Ranking:
        """The best of the allowed rows: (queries, the smaller of top_k and their number).

        vectors: (queries, dimensions); `queries` are their numbers in `work`. Scores are compared as float32. The hits
        of flat segments are the best by score, then address, whatever the cut; others are so among what was examined.
        """
        width = min(top_k, allowed.count)
        ranking = Ranking.none(len(vectors), width)
        if not width:
            return ranking
        pending, room = np.arange(len(vectors)), width + _MARGIN
        while len(pending):
            room = min(room, allowed.count)
            hits = search_segments(
                self.opened.vectors, vectors[pending], room, allowed.bitmaps, effort=self.effort,
                num_threads=self.num_threads,
            )  # fmt: skip
            work.add(queries[pending], hits)
            is_whole = (hits.scores[:, -1] < hits.scores[:, width - 1]) | (hits.rows[:, -1] < 0)
            is_whole |= room == allowed.count
            ranking.put(pending[is_whole], self._order(_number(hits, is_whole), width))
            pending = pending[~is_whole]
            room *= _WIDENING
        return ranking

    def _order(self, hits: Ranking, width: int) -> Ranking:
        """Hits that come by score: those with equal ones by address."""
        numbers, scores = hits.numbers.ravel(), hits.scores.ravel()
        is_tied = (scores[1:] == scores[:-1]) & (numbers[1:] != NO_ROW)
        is_tied[hits.numbers.shape[1] - 1 :: hits.numbers.shape[1]] = (
            False  # the last of a query, the first of the next
        )
        if not is_tied.any():
            return hits.cut(width)
        order = order_ties(
            is_tied,
            lambda places: self.opened.read_keys(numbers[places]),
            lambda places: self.opened.addresses(numbers[places]),
        )
        return Ranking(numbers[order].reshape(hits.numbers.shape), hits.scores).cut(width)


def _number(hits: Hits, queries: NDArray[np.bool_]) -> Ranking:
    """The hits of some queries."""
    rows, scores = hits.rows[queries], hits.scores[queries]
    numbers = np.where(rows < 0, -1, hits.segments[queries].astype(np.int64) << ROW_BITS | rows)
    return Ranking(numbers, np.where(rows < 0, np.float32(0), scores))
