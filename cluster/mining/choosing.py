"""Which of a query's candidates become its negatives: bounds on scores, ranks, and draws. Knows numbers alone.

The rules are those of sentence-transformers' mine_hard_negatives (6.2), and so are their names.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from csgen.sources.draws import Words, counter, mix

Rows = NDArray[np.int64]
Scores = NDArray[np.float32]
Flags = NDArray[np.bool_]
Codes = NDArray[np.int8]

UNFILLED = -1
KEPT = 0
REASONS = ("positive", "near_duplicate", "absolute_margin", "relative_margin", "max_score", "min_score")
POSITIVE, NEAR_DUPLICATE, ABSOLUTE_MARGIN, RELATIVE_MARGIN, MAX_SCORE, MIN_SCORE = range(1, len(REASONS) + 1)
NO_CANDIDATE = len(REASONS) + 1
_TRIED = 256  # random passages that are tried for a query, or twice the negatives; a smaller collection whole
_TURN = 8  # of them are tried together


@dataclass(frozen=True)
class Limits:
    """What a candidate must keep to; None: no such bound. The margins count from the query's lowest positive score."""

    absolute_margin: float | None = None
    relative_margin: float | None = None  # of the positive score's magnitude
    max_score: float | None = None
    min_score: float | None = None
    range_min: int = 0  # of what passes, ranks [range_min, range_max) by score serve
    range_max: int = 100

    def judge(self, scores: Scores, floors: Scores) -> Codes:
        """KEPT or the first bound that each score breaks; `floors` are the lowest positive scores, of scores' shape."""
        broken = np.full(scores.shape, KEPT, np.int8)
        # The last to be set is the first to hold. In float32, as the scores are.
        if self.min_score is not None:
            broken[scores < np.float32(self.min_score)] = MIN_SCORE
        if self.max_score is not None:
            broken[scores > np.float32(self.max_score)] = MAX_SCORE
        if self.relative_margin is not None:
            broken[scores > floors - np.abs(floors) * np.float32(self.relative_margin)] = RELATIVE_MARGIN
        if self.absolute_margin is not None:
            broken[scores + np.float32(self.absolute_margin) > floors] = ABSOLUTE_MARGIN
        return broken


def pick(scores: Scores, codes: Codes, limits: Limits, number: int, draws: Words | None) -> Rows:
    """(queries, number) columns of the candidates chosen, best score first, then UNFILLED.

    Of a query's candidates that are KEPT, ranked by score (ties: by column), those in the limits' range serve: the
    best of them, or with `draws` (one a candidate) those with the lowest draws.
    """
    kept = codes == KEPT
    order = np.lexsort((-scores, ~kept), axis=1)
    serves = np.take_along_axis(kept, order, axis=1)
    serves[:, : limits.range_min] = False
    serves[:, limits.range_max :] = False
    keys = np.broadcast_to(np.arange(order.shape[1], dtype=np.uint64), order.shape)
    if draws is not None:
        keys = np.take_along_axis(draws, order, axis=1)
    chosen = np.lexsort((keys, ~serves), axis=1)[:, :number]
    places = np.sort(np.where(np.take_along_axis(serves, chosen, axis=1), chosen, order.shape[1]), axis=1)
    found = places < order.shape[1]
    columns = np.where(found, np.take_along_axis(order, np.where(found, places, 0), axis=1), UNFILLED)
    missing = np.full((len(scores), number - columns.shape[1]), UNFILLED)
    return np.concatenate([columns, missing], axis=1)


@dataclass(frozen=True)
class Filler:
    """What random negatives must be. `admits` and `score` take flat arrays of queries and of passages for each.

    `admits` tells which passages may be the queries'; their scores are judged by `limits`, but for the lowest score.
    """

    num_passages: int
    limits: Limits
    admits: Callable[[Rows, Rows], Flags]
    score: Callable[[Rows, Rows], Scores]

    def fill(self, rows: Rows, scores: Scores, floors: Scores, keys: Words) -> None:
        """Put random passages where `rows` (queries, negatives) is UNFILLED, behind the others, and their scores.

        A query's draws depend on its key alone, and none comes twice; what is left after _TRIED stays UNFILLED.
        """
        width = rows.shape[1]
        filled = (rows != UNFILLED).sum(axis=1)
        for first in range(0, min(max(_TRIED, 2 * width), _next_prime(self.num_passages)), _TURN):
            open_queries = np.flatnonzero(filled < width)
            if not len(open_queries):
                return
            drawn = _draw(keys[open_queries], np.arange(first, first + _TURN), self.num_passages)
            queries, drawn = np.repeat(open_queries, _TURN), drawn.ravel()
            tried = drawn != UNFILLED
            tried[tried] = self.admits(queries[tried], drawn[tried])
            queries, drawn = queries[tried], drawn[tried]
            found = self.score(queries, drawn)
            fits = ~np.isin(self.limits.judge(found, floors[queries]), (ABSOLUTE_MARGIN, RELATIVE_MARGIN, MAX_SCORE))
            queries, drawn, found = queries[fits], drawn[fits], found[fits]
            places = filled[queries] + np.arange(len(queries)) - np.searchsorted(queries, queries)
            room = places < width
            rows[queries[room], places[room]] = drawn[room]
            scores[queries[room], places[room]] = found[room]
            filled += np.bincount(queries[room], minlength=len(rows))


def _draw(keys: Words, turns: Rows, num_passages: int) -> Rows:
    """(keys, turns) row numbers, or UNFILLED; over as many turns as the next prime, each row comes once."""
    prime = np.uint64(_next_prime(num_passages))
    starts, steps = mix(keys + counter(1)) % prime, mix(keys + counter(2)) % (prime - np.uint64(1)) + np.uint64(1)
    drawn = ((starts[:, None] + steps[:, None] * turns.astype(np.uint64)) % prime).astype(np.int64)
    drawn[:, turns >= int(prime)] = UNFILLED
    return np.where(drawn < num_passages, drawn, UNFILLED)


def _next_prime(number: int) -> int:
    """The least prime of at least `number`, and at least 2."""
    number = max(number, 2)
    while any(number % factor == 0 for factor in range(2, int(number**0.5) + 1)):
        number += 1
    return number
