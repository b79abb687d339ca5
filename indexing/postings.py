"""Inverted lists of how often terms stand in passages; knows no formula, no text and no file.

A posting names its passage and a pair: the term's frequency there and the passage's length. Pairs are few, some
thousands among a million passages, so a formula is worked out once a pair and not once a posting, and a posting of six
bytes brings all that its score needs.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa
from numba import njit
from numpy.typing import NDArray

from indexing.analysis import Terms, bound_rows
from indexing.ranking import Asked, Source

_Function = TypeVar("_Function", bound=Callable[..., Any])
_compiled: Callable[[_Function], _Function] = njit(cache=True, nogil=True)


@dataclass(frozen=True)
class Counts:
    """Term t stands in the passages `passages[offsets[t]:offsets[t + 1]]`, ascending, each once."""

    offsets: NDArray[np.int64]
    passages: NDArray[np.uint32]
    pairs: NDArray[Any]  # uint16 or uint32: the number of each posting's pair
    frequencies: NDArray[np.uint32]  # by pair
    lengths: NDArray[np.uint32]  # by pair
    passage_lengths: NDArray[np.uint32]  # in terms, 0 where a passage has none
    total_length: int  # of all passages

    @property
    def num_passages(self) -> int:
        return len(self.passage_lengths)

    def ask(
        self,
        asked: Asked,
        weights: NDArray[np.float64],
        allowed: NDArray[np.bool_] | None = None,
        name: str = "postings",
    ) -> Source:
        """What queries ask of the postings, where `weights` has one weight a pair."""
        return Source(asked, self.num_passages, self.passages, self.pairs, weights, allowed, name)


@dataclass(frozen=True)
class Counted:
    """The postings of some passages in the order of the passages: the i-th has those from `bounds[i]` to `[i + 1]`."""

    bounds: NDArray[np.int64]
    terms: NDArray[np.int32]
    frequencies: NDArray[np.uint32]
    lengths: NDArray[np.int64]  # of the passages


def count_terms(passages: Terms) -> Counted:
    """How often each passage has each of its terms."""
    size, num_terms = len(passages.ids), len(passages.vocabulary)
    terms, frequencies = np.empty(size, np.int32), np.empty(size, np.uint32)
    bounds = np.zeros(len(passages.offsets), np.int64)
    _count(passages.offsets, passages.ids, np.full(num_terms, -1), np.zeros(num_terms, np.int64), terms, frequencies,
           bounds)  # fmt: skip
    found = slice(bounds[-1])
    return Counted(bounds, terms[found].copy(), frequencies[found].copy(), np.diff(passages.offsets))


def invert(chunks: Sequence[Counted], num_terms: int) -> Counts:
    """The inverted lists of passages that come in chunks, whose terms have numbers below `num_terms` in common."""
    frequencies = np.zeros(num_terms, np.int64)
    for chunk in chunks:
        frequencies += np.bincount(chunk.terms, minlength=num_terms)
    offsets = bound_rows(frequencies)
    numbers, distinct = _number_pairs(chunks)
    passages = np.empty(offsets[-1], np.uint32)
    pairs = np.empty(offsets[-1], np.uint16 if len(distinct) <= 1 << 16 else np.uint32)
    ends, first = offsets[:-1].copy(), 0
    for chunk, codes in zip(chunks, numbers, strict=True):
        _scatter(chunk.bounds, chunk.terms, codes, first, ends, passages, pairs)
        first += len(chunk.lengths)
    lengths = np.concatenate([np.zeros(0, np.int64), *(chunk.lengths for chunk in chunks)])
    by_pair = ((distinct & 0xFFFFFFFF).astype(np.uint32), (distinct >> 32).astype(np.uint32))
    return Counts(offsets, passages, pairs, *by_pair, lengths.astype(np.uint32), int(lengths.sum()))


def _number_pairs(chunks: Sequence[Counted]) -> tuple[list[NDArray[np.int32]], NDArray[np.int64]]:
    """The number of each posting's pair, by chunk, and the pairs, length << 32 | frequency, as they first appear."""
    encoded = []
    for chunk in chunks:
        lengths = np.repeat(chunk.lengths, np.diff(chunk.bounds))
        encoded.append(pa.array(lengths << 32 | chunk.frequencies).dictionary_encode())
    seen = [np.zeros(0, np.int64), *(part.dictionary.to_numpy() for part in encoded)]
    joined = pa.array(np.concatenate(seen)).dictionary_encode()
    starts = bound_rows(np.array([len(part.dictionary) for part in encoded], np.int64))
    numbers = joined.indices.to_numpy()
    codes = [numbers[start:][part.indices.to_numpy()] for start, part in zip(starts[:-1], encoded, strict=True)]
    return codes, joined.dictionary.to_numpy()


@_compiled
def _count(offsets: Any, ids: Any, last: Any, places: Any, terms: Any, frequencies: Any, bounds: Any) -> None:
    """`last` holds the passage in which each term was last seen, and `places` the posting that counts it there."""
    size = 0
    for i in range(len(offsets) - 1):
        for at in range(offsets[i], offsets[i + 1]):
            term = ids[at]
            if last[term] != i:
                last[term], places[term] = i, size
                terms[size], frequencies[size] = term, 1
                size += 1
            else:
                frequencies[places[term]] += 1
        bounds[i + 1] = size


@_compiled
def _scatter(bounds: Any, terms: Any, codes: Any, first: Any, ends: Any, passages: Any, pairs: Any) -> None:
    """Append the postings of passages, the first of which is `first`, to the lists that end at `ends`."""
    for i in range(len(bounds) - 1):
        for at in range(bounds[i], bounds[i + 1]):
            term = terms[at]
            passages[ends[term]], pairs[ends[term]] = first + i, codes[at]
            ends[term] += 1
