"""Candidates to hits: exact scores of what a first search has found, and their order, ties included."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from indexing.vectors.kernels import ROW_BITS, drop_worse, make_keys, pick, score_each, take_best
from indexing.vectors.stored import Matrix, Numbers, StoredVectors, measure_lengths

Bounds = NDArray[np.float64]
Bitmap = NDArray[np.uint8]  # a bit a row, the lowest of a byte first

NO_ID = -1
MARGIN = 4  # candidates beyond those asked for, so that few queries need a second search
_WIDENING = 8  # times as many candidates for a query that needs one
_ROW_MASK = (1 << ROW_BITS) - 1
_ROUNDING = 2.0**-24  # of float32
_SMALLEST = 2.0**-149

# Queries by their numbers, and how many candidates each is to have -> scores and ids, (queries, candidates), id -1 for
# none, and what no row left out exceeds, (queries,), -inf where none is.
Find = Callable[[Numbers, int], tuple[Matrix, Numbers, Matrix]]


@dataclass(frozen=True)
class Ranked:
    """(queries, top k): scores float32, the best first, and ids, segment << 32 | row; NO_ID and -inf behind a query's
    last hit."""

    scores: Matrix
    ids: Numbers

    @classmethod
    def empty(cls, num_queries: int, top_k: int) -> "Ranked":
        return cls(np.full((num_queries, top_k), -np.inf, np.float32), np.full((num_queries, top_k), NO_ID, np.int64))

    def put(self, queries: Numbers, hits: "Ranked") -> None:
        """Set the hits of the queries numbered so."""
        self.scores[queries], self.ids[queries] = hits.scores, hits.ids

    def count(self) -> Numbers:
        """How many hits each query has."""
        counts: Numbers = (self.ids != NO_ID).sum(axis=1)
        return counts


@dataclass(frozen=True)
class Ranker:
    """Scores and orders candidates of some segments, given by their exact vectors, in the order of their numbers."""

    stored: Sequence[StoredVectors]
    top_k: int

    def rank(self, queries: Matrix, ids: Numbers) -> Ranked:
        """The best of the ids, (queries, candidates), NO_ID for none, by exact scores."""
        scores = np.empty(ids.shape, np.float32)
        targets, rows = np.empty(ids.size, np.int64), np.empty(ids.size, np.int64)
        for number, stored in enumerate(self.stored):
            count = pick(ids.reshape(-1), number, targets, rows)
            numbers, places = stored.load(rows[:count])
            if not score_each(queries, targets[:count], numbers, places, scores):
                stored.refuse_places()
        return order(ids, scores, self.top_k)

    def settle(
        self, queries: Matrix, find: Find, wanted: int, slacks: Bounds, *, exactly: bool, width: int, widest: int
    ) -> tuple[Ranked, Numbers]:
        """The hits of each query among what `find` finds, and the queries that `widest` candidates are too few for.

        Ranked are those within `slacks` (queries,) of the `wanted`-th best, by exact scores or by those they came with.
        Where one more might be among them, more candidates are found, `width` at first. So neither the cut into
        segments nor which of equal candidates were found first changes anything.
        """
        hits, pending = None, np.arange(len(queries))
        while len(pending) and width <= widest:
            scores, ids, floors = find(pending, width)
            thresholds = drop_worse(ids, scores, wanted, slacks[pending])
            found = self.rank(queries[pending], ids) if exactly else order(ids, scores, self.top_k)
            if hits is None:
                hits = found
            else:
                hits.put(pending, found)
            pending = pending[(floors >= thresholds) & (floors > -np.inf)]
            width *= _WIDENING
        return hits or Ranked.empty(len(queries), self.top_k), pending


def join(parts: Sequence[Ranked], axis: int) -> Ranked:
    """The hits of several queries (axis 0), or candidates of the same ones (axis 1)."""
    if len(parts) == 1:
        return parts[0]
    scores = np.concatenate([part.scores for part in parts], axis=axis)
    return Ranked(scores, np.concatenate([part.ids for part in parts], axis=axis))


def order(ids: Numbers, scores: Matrix, top_k: int) -> Ranked:
    """The best of the ids by scores, both (queries, candidates).

    NumPy sorts integers with vector instructions: of 100 candidates in .1 us, which took a compiled sort 7.
    """
    hits, keys = Ranked.empty(len(ids), top_k), np.empty(ids.shape, np.uint64)
    make_keys(ids, scores, keys)
    keys.sort(axis=1)
    take_best(keys, ids, scores, hits.ids, hits.scores)
    return hits


def split_ids(ids: Numbers) -> tuple[NDArray[np.int32], Numbers]:
    """The segments and rows of ids; -1 and -1 of NO_ID."""
    return (ids >> ROW_BITS).astype(np.int32), np.where(ids == NO_ID, NO_ID, ids & _ROW_MASK)


def bound_slacks(queries: Matrix, longest: float) -> Bounds:
    """By how much two float32 inner products of a query and vectors no longer than `longest` can be off together,
    (queries,).

    Of sums in any order: Higham, Accuracy and Stability of Numerical Algorithms, section 3.1.
    """
    rounding = (queries.shape[1] + 1) * _ROUNDING
    errors: Bounds = measure_lengths(queries) * (longest * rounding / (1 - rounding)) + queries.shape[1] * _SMALLEST
    return 2 * errors


def count_allowed(allowed: Bitmap, num_rows: int) -> int:
    """How many of a segment's rows a bitmap allows; bits behind the last row count for nothing."""
    whole, rest = divmod(num_rows, 8)
    last = int(allowed[whole]) & ((1 << rest) - 1) if rest else 0
    return int(np.bitwise_count(allowed[:whole]).sum()) + last.bit_count()


def unpack(allowed: Bitmap, num_rows: int) -> NDArray[np.bool_]:
    """For each row whether a bitmap allows it."""
    return np.unpackbits(allowed, count=num_rows, bitorder="little").view(np.bool_)
