"""Pairs of words that may translate each other, with first probabilities of both directions (IBM Model 1).

Brown et al. 1993, https://aclanthology.org/J93-2003. Knows neither the order of words nor their texts.
"""

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from csgen.induction.kernels import compiled
from csgen.induction.parallel import Bitext
from csgen.switching.primitives import mix

ITERATIONS = 2  # more of them make rare words gather the unlikeliest translations (seen for Russian)
IDENTICAL = 10.0  # how much likelier equal words (names, numbers) are at first
FIRST = 0.01  # probability of any translation before the text is seen
NULL = 0.2  # probability that a word translates none, as in eflomal
COMMON = 20  # words over this frequency are no candidates where they meet but once
MIN_PROBABILITY = 1e-3  # in its likeliest sentence and direction, of a pair to be kept

_TINY = np.float32(1e-12)
_HALF = np.uint64(32)
_LOW = np.uint64(0xFFFFFFFF)
_FULL = 0.6  # of a table's places


class Text(NamedTuple):
    """Sentence pairs as Numba takes them: words by number, sentences by their offsets."""

    source: Any
    source_offsets: Any
    target: Any
    target_offsets: Any


@dataclass(frozen=True)
class Candidates:
    """An open-addressing table of word pairs. `values` and `identical` lie beside `keys`."""

    keys: NDArray[np.uint64]  # (source number + 1) << 32 | target number + 1; 0: empty. A power of two of them
    values: NDArray[np.float32]  # (places, 2): p(target | source), p(source | target)
    identical: NDArray[np.bool_]  # both words are the same string
    nulls: tuple[NDArray[np.float32], NDArray[np.float32]]  # p(target | none), p(source | none), by number


def find_candidates(bitext: Bitext) -> Candidates:
    """Pairs that meet in a sentence pair and are not all too unlikely there. Memory grows with their number."""
    source, target = bitext.source, bitext.target
    text = Text(source.tokens, source.offsets, target.tokens, target.offsets)
    keys = _meeting_pairs(text, source.frequencies, target.frequencies)
    identical = _mark_identical(keys, _same_words(bitext))
    values = np.zeros((len(keys), 4), np.float32)  # probabilities of both directions, and their expected counts
    values[:, :2] = np.where(identical, IDENTICAL, 1.0)[:, None] * FIRST
    nulls = [(side.frequencies / max(1, side.frequencies.sum())).astype(np.float32) for side in (target, source)]
    for _ in range(ITERATIONS):
        values[:, 2:] = 0
        counts = [np.zeros(len(probabilities)) for probabilities in nulls]
        _expect(text, keys, values, *nulls, *counts)
        _maximise(keys, values, identical, *counts)
        nulls = [(count / max(1.0, count.sum())).astype(np.float32) for count in counts]
    values[:, 2:] = 0
    _keep_highest(text, keys, values, *nulls)
    keys, values, identical = _prune(keys, values, identical)
    return Candidates(keys, values, identical, (nulls[0], nulls[1]))


def _same_words(bitext: Bitext) -> NDArray[np.int32]:
    """By number of a source word: the number of the same target word of two characters or more, or -1."""
    sides = [
        pl.DataFrame({"word": side.words}).with_row_index(name)
        for side, name in zip((bitext.source, bitext.target), "st", strict=True)
    ]
    both = sides[0].join(sides[1], on="word").filter(pl.col("word").str.len_chars() > 1)
    same = np.full(len(bitext.source.words), -1, np.int32)
    same[both["s"].to_numpy()] = both["t"].to_numpy()
    return same


@compiled
def find_place(keys: Any, source: int, target: int) -> Any:
    """Where the pair is, or the empty place where it would be."""
    key = (np.uint64(source + 1) << _HALF) | np.uint64(target + 1)
    mask = np.uint64(len(keys) - 1)
    at = mix(key) & mask
    while keys[at] != np.uint64(0) and keys[at] != key:
        at = (at + np.uint64(1)) & mask
    return np.int64(at)


@compiled
def split_key(key: Any) -> Any:
    return np.int64(key >> _HALF) - 1, np.int64(key & _LOW) - 1


@compiled
def longest_sentence(text: Any) -> int:
    longest = 1
    for k in range(len(text.source_offsets) - 1):
        longest = max(longest, text.source_offsets[k + 1] - text.source_offsets[k])
        longest = max(longest, text.target_offsets[k + 1] - text.target_offsets[k])
    return longest


@compiled
def _places(number: int) -> int:
    places = 1024
    while places * _FULL < number:
        places *= 2
    return places


@compiled
def _meeting_pairs(text: Any, source_frequencies: Any, target_frequencies: Any) -> Any:
    keys, counts, used = np.zeros(1 << 16, np.uint64), np.zeros(1 << 16, np.uint8), 0
    for k in range(len(text.source_offsets) - 1):
        for i in range(text.source_offsets[k], text.source_offsets[k + 1]):
            for j in range(text.target_offsets[k], text.target_offsets[k + 1]):
                s, t = text.source[i], text.target[j]
                at = find_place(keys, s, t)
                if keys[at] == 0:
                    keys[at] = (np.uint64(s + 1) << _HALF) | np.uint64(t + 1)
                    used += 1
                counts[at] = min(counts[at] + 1, 2)
            if used > _FULL * len(keys):
                keys, counts = _move(keys, counts, 2 * len(keys))
    kept = 0
    for x in range(len(keys)):
        s, t = split_key(keys[x])
        if keys[x] != 0 and counts[x] < 2 and source_frequencies[s] > COMMON and target_frequencies[t] > COMMON:
            counts[x] = 0
        kept += counts[x] > 0
    return _move(keys, counts, _places(kept))[0]


@compiled
def _move(keys: Any, counts: Any, places: int) -> Any:
    """A table of as many places with the pairs whose count is not 0."""
    new_keys, new_counts = np.zeros(places, np.uint64), np.zeros(places, np.uint8)
    for x in range(len(keys)):
        if counts[x] > 0:
            s, t = split_key(keys[x])
            at = find_place(new_keys, s, t)
            new_keys[at], new_counts[at] = keys[x], counts[x]
    return new_keys, new_counts


@compiled
def _mark_identical(keys: Any, same: Any) -> Any:
    identical = np.zeros(len(keys), np.bool_)
    for x in range(len(keys)):
        if keys[x] != 0:
            s, t = split_key(keys[x])
            identical[x] = same[s] == t
    return identical


@compiled
def _posteriors(text: Any, k: int, keys: Any, values: Any, target_null: Any, source_null: Any, work: Any) -> None:
    """Probabilities of the links of sentence pair k, (source words, target words), for both directions."""
    places, forward, backward, totals = work
    a, c = text.source_offsets[k], text.target_offsets[k]
    n, m = text.source_offsets[k + 1] - a, text.target_offsets[k + 1] - c
    odds = np.float32(NULL / (1 - NULL))
    for j in range(m):
        totals[j] = odds * n * target_null[text.target[c + j]] + _TINY
    for i in range(n):
        total = odds * m * source_null[text.source[a + i]] + _TINY
        for j in range(m):
            at = find_place(keys, text.source[a + i], text.target[c + j])
            places[i, j] = at if keys[at] != 0 else -1
            forward[i, j], backward[i, j] = (values[at, 0], values[at, 1]) if keys[at] != 0 else (_TINY, _TINY)
            totals[j] += forward[i, j]
            total += backward[i, j]
        for j in range(m):
            backward[i, j] /= total
    for i in range(n):
        for j in range(m):
            forward[i, j] /= totals[j]


@compiled
def _make_work(text: Any) -> Any:
    size = longest_sentence(text)
    square = (size, size)
    return (
        np.empty(square, np.int64),
        np.empty(square, np.float32),
        np.empty(square, np.float32),
        np.empty(size, np.float32),
    )


@compiled
def _expect(
    text: Any, keys: Any, values: Any, target_null: Any, source_null: Any, target_counts: Any, source_counts: Any
) -> None:
    """Add the expected counts of pairs to values[:, 2:], those of words that translate none to the last arguments."""
    work = _make_work(text)
    places, forward, backward, rest = work
    for k in range(len(text.source_offsets) - 1):
        _posteriors(text, k, keys, values, target_null, source_null, work)
        a, c = text.source_offsets[k], text.target_offsets[k]
        n, m = text.source_offsets[k + 1] - a, text.target_offsets[k + 1] - c
        rest[:m] = 1
        for i in range(n):
            row = np.float32(1)
            for j in range(m):
                if places[i, j] >= 0:
                    values[places[i, j], 2] += forward[i, j]
                    values[places[i, j], 3] += backward[i, j]
                row -= backward[i, j]
                rest[j] -= forward[i, j]
            source_counts[text.source[a + i]] += max(row, _TINY)
        for j in range(m):
            target_counts[text.target[c + j]] += max(rest[j], _TINY)


@compiled
def _maximise(keys: Any, values: Any, identical: Any, target_counts: Any, source_counts: Any) -> None:
    """Probabilities from expected counts; identical words count once more."""
    by_source, by_target = np.full(len(source_counts), 1e-9), np.full(len(target_counts), 1e-9)
    for x in range(len(keys)):
        if keys[x] != 0:
            s, t = split_key(keys[x])
            values[x, 2] += identical[x]
            values[x, 3] += identical[x]
            by_source[s] += values[x, 2]
            by_target[t] += values[x, 3]
    for x in range(len(keys)):
        if keys[x] != 0:
            s, t = split_key(keys[x])
            values[x, 0] = values[x, 2] / by_source[s]
            values[x, 1] = values[x, 3] / by_target[t]


@compiled
def _keep_highest(text: Any, keys: Any, values: Any, target_null: Any, source_null: Any) -> None:
    """The highest probability of each pair in any sentence into values[:, 2:]."""
    work = _make_work(text)
    places, forward, backward, _ = work
    for k in range(len(text.source_offsets) - 1):
        _posteriors(text, k, keys, values, target_null, source_null, work)
        for i in range(text.source_offsets[k + 1] - text.source_offsets[k]):
            for j in range(text.target_offsets[k + 1] - text.target_offsets[k]):
                at = places[i, j]
                if at >= 0:
                    values[at, 2] = max(values[at, 2], forward[i, j])
                    values[at, 3] = max(values[at, 3], backward[i, j])


@compiled
def _prune(keys: Any, values: Any, identical: Any) -> Any:
    kept = 0
    for x in range(len(keys)):
        kept += max(values[x, 2], values[x, 3]) >= MIN_PROBABILITY
    places = _places(kept)
    new_keys, new_identical = np.zeros(places, np.uint64), np.zeros(places, np.bool_)
    new_values = np.zeros((places, 2), np.float32)
    for x in range(len(keys)):
        if max(values[x, 2], values[x, 3]) >= MIN_PROBABILITY:
            s, t = split_key(keys[x])
            at = find_place(new_keys, s, t)
            new_keys[at], new_identical[at] = keys[x], identical[x]
            new_values[at] = values[x, :2]
    return new_keys, new_values, new_identical
