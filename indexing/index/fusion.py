"""Ranked lists made one: merged by score, fused by rank, with a least number of hits for each language.

Knows arrays of row numbers and scores; where rows lie and what scores mean is for others to know. Equal scores, as
float32, are ordered by address.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
from numpy.typing import ArrayLike, NDArray

from indexing.passages import merge_hits
from indexing.ranking import NO_HIT

Numbers = NDArray[np.int64]
Scores = NDArray[np.float32]


class Addressed(Protocol):
    """Rows of any segments, by their numbers."""

    def read_keys(self, numbers: Numbers) -> NDArray[np.uint64]:
        """The first eight bytes of addresses; see `PassageTable.order_keys`."""

    def addresses(self, numbers: Numbers) -> pa.Array:
        """LANGUAGE/PASSAGE_ID."""


@dataclass(frozen=True)
class Ranking:
    """Each query's hits, best first: (queries, width); behind the last NO_HIT with score 0."""

    numbers: Numbers
    scores: Scores

    @classmethod
    def none(cls, num_queries: int, width: int) -> "Ranking":
        return cls(np.full((num_queries, width), NO_HIT, np.int64), np.zeros((num_queries, width), np.float32))

    def take(self, places: Numbers) -> "Ranking":
        """The hits at some places of each query's, (queries, any width), -1 for none."""
        numbers, scores = (np.take_along_axis(a, np.maximum(places, 0), 1) for a in (self.numbers, self.scores))
        return Ranking(np.where(places < 0, NO_HIT, numbers), np.where(places < 0, np.float32(0), scores))

    def cut(self, width: int) -> "Ranking":
        """The best of them."""
        return Ranking(self.numbers[:, :width], self.scores[:, :width])

    def put(self, queries: Numbers, hits: "Ranking") -> None:
        """Set the hits of the queries numbered so, none of which has any, to at most as many as there is room for."""
        self.numbers[queries, : hits.numbers.shape[1]] = hits.numbers
        self.scores[queries, : hits.scores.shape[1]] = hits.scores


def order_hits(hits: Ranking, rows: Addressed, width: int) -> Numbers:
    """The places of the best of each query's hits, which come in any order: (queries, width), -1 behind the last."""
    shape = hits.numbers.shape
    places = np.where(hits.numbers == NO_HIT, NO_HIT, np.arange(hits.numbers.size).reshape(shape))
    ordered = merge_hits([(places, hits.scores)], [_Places(hits.numbers.ravel(), rows)], width).rows
    return np.where(ordered == NO_HIT, -1, ordered % max(shape[1], 1))


def merge(rankings: Sequence[Ranking], rows: Addressed, width: int) -> Ranking:
    """The best of several lists of the same queries, which have no hit in common."""
    joined = Ranking(
        np.concatenate([ranking.numbers for ranking in rankings], axis=1),
        np.concatenate([ranking.scores for ranking in rankings], axis=1),
    )
    return joined.take(order_hits(joined, rows, width))


@dataclass(frozen=True)
class Fused:
    """ranks: (lists, queries, width) int32, of each hit its rank in each list, from 1; 0 where it is not in it."""

    ranking: Ranking
    ranks: NDArray[np.int32]

    def cut(self, width: int) -> "Fused":
        """The best of them."""
        return Fused(self.ranking.cut(width), self.ranks[:, :, :width])


def fuse(lists: Sequence[Ranking], weights: Sequence[float], fusion_k: int, rows: Addressed, width: int) -> Fused:
    """The best hits of some lists by the sum over lists of weight / (fusion_k + rank): reciprocal rank fusion.

    https://doi.org/10.1145/1571941.1572114, where fusion_k is 60. A list in which a hit does not stand adds nothing.
    """
    numbers = np.concatenate([one.numbers for one in lists], axis=1)
    widths = [one.numbers.shape[1] for one in lists]
    owners = np.repeat(np.arange(len(lists)), widths)
    ranks = np.concatenate([np.arange(1, width + 1) for width in widths])
    worth = np.asarray(weights)[owners] / (fusion_k + ranks)
    by_number = np.argsort(numbers, axis=1, kind="stable")  # of one hit, in the order of the lists
    ordered = np.take_along_axis(numbers, by_number, 1)
    first = np.ones(ordered.shape, np.bool_)
    first[:, 1:] = ordered[:, 1:] != ordered[:, :-1]
    groups = np.cumsum(first).reshape(first.shape) - 1
    starts = np.flatnonzero(first)
    sums = np.add.reduceat(worth[by_number].ravel(), starts) if len(starts) else np.zeros(0)
    standing = np.zeros((len(lists), len(starts)), np.int32)
    standing[owners[by_number], groups] = ranks[by_number]
    distinct = Ranking(np.where(first, ordered, NO_HIT), sums[groups].astype(np.float32))
    places = order_hits(distinct, rows, min(width, numbers.shape[1]))
    found = standing[:, np.take_along_axis(groups, np.maximum(places, 0), 1)]
    return Fused(distinct.take(places), np.where(places < 0, np.int32(0), found))


def rank_alone(ranking: Ranking) -> Fused:
    """A single list, whose scores stay what they are."""
    ranks = np.where(ranking.numbers == NO_HIT, 0, np.arange(1, ranking.numbers.shape[1] + 1)).astype(np.int32)
    return Fused(ranking, ranks[None])


def choose_hits(languages: Numbers, least: Numbers, top_k: int) -> Numbers:
    """The places of the hits to keep of each query, in their order: (queries, top_k), -1 behind the last.

    languages: (queries, width), the number of each hit's language in the order of the hits; -1 behind the last. least:
    hits of each language that are kept whatever others there are: its best; of a language with fewer, all. The best
    hits of all languages that are left take what is left of the top_k.
    """
    found, kept = languages >= 0, np.zeros(languages.shape, np.bool_)
    for language in np.flatnonzero(least):
        own = languages == language
        kept |= own & (np.cumsum(own, axis=1) <= least[language])
    free = found & ~kept
    kept |= free & (np.cumsum(free, axis=1) <= top_k - kept.sum(axis=1, keepdims=True))
    places = np.argsort(~kept, axis=1, kind="stable")[:, :top_k]
    return np.where(np.take_along_axis(kept, places, 1), places, -1)


class _Places:
    """Hits by their places in a flat array, as `merge_hits` asks of a table's rows."""

    def __init__(self, numbers: Numbers, rows: Addressed) -> None:
        self.order_keys: Any = _Keys(numbers, rows)
        self._numbers, self._rows = numbers, rows

    def addresses(self, rows: ArrayLike) -> pa.Array:
        return self._rows.addresses(self._numbers[np.asarray(rows, np.int64)])


@dataclass(frozen=True)
class _Keys:
    """Read by places, as an array is."""

    numbers: Numbers
    rows: Addressed

    def __getitem__(self, places: Numbers) -> NDArray[np.uint64]:
        return self.rows.read_keys(self.numbers[places])
