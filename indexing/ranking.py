"""Sums of weights over inverted lists, and the best passages by them, exactly; knows nothing of texts or formulas.

bm25s sums as fast, but which of equal scores it keeps at the last place depends on its heap.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from numba import get_num_threads, njit
from numpy.typing import NDArray

from csgen.errors import InputError

Hits = tuple[NDArray[np.int64], NDArray[np.float32]]
Bitmap = NDArray[np.uint8]  # bit i & 7 of byte i >> 3 is row i's

NO_HIT = -1  # the row where a query has no further hit; its score is 0
_BLOCK_BITS = 8  # passages are looked through in blocks, but for those of which no list has any
_BLOCK_ROWS = 1 << _BLOCK_BITS
_LAST_ROW = (1 << 32) - 1
_SLICE_QUERIES = 64  # that one thread ranks at a time

_Function = TypeVar("_Function", bound=Callable[..., Any])
_compiled: Callable[[_Function], _Function] = njit(cache=True, nogil=True)


@dataclass(frozen=True)
class Asked:
    """What each of some queries asks for: query q for the lists from `bounds[q]` to `bounds[q + 1]`, in that order.

    A list is given by where it lies among the postings, `starts` and `stops`, and a factor of its weights.
    """

    bounds: NDArray[np.int64]
    starts: NDArray[np.int64]
    stops: NDArray[np.int64]
    factors: NDArray[np.float32]


@dataclass(frozen=True)
class Source:
    """Postings and what is asked of them. A posting names a passage and has a weight, which its list's factor scales.

    `values` are the weights (float32, where factors do not count), or numbers of weights in `table`.
    """

    asked: Asked
    num_passages: int
    passages: NDArray[np.uint32]
    values: NDArray[Any]
    table: NDArray[np.float64] | None = None
    allowed: NDArray[np.bool_] | None = None  # of each passage whether it may be a hit; None: all
    name: str = "postings"  # for messages

    def __post_init__(self) -> None:
        if self.allowed is not None and self.allowed.shape != (self.num_passages,):
            raise ValueError(f"allowed must be of shape ({self.num_passages},), got {self.allowed.shape}")


@dataclass(frozen=True)
class Postings:
    """Inverted lists: list t has the passages `rows[offsets[t]:offsets[t + 1]]`, each once, with positive weights."""

    num_passages: int
    offsets: NDArray[np.int64]
    rows: NDArray[np.int32]
    weights: NDArray[np.float32]

    def rank(
        self,
        offsets: NDArray[np.int64],
        lists: NDArray[np.int32],
        top_k: int,
        allowed: NDArray[np.bool_] | None,
        *,
        num_threads: int | None = None,
    ) -> Hits:
        """The hits of `rank` where query q asks for `lists[offsets[q]:offsets[q + 1]]`; `allowed`: one a passage."""
        asked = Asked(offsets, self.offsets[lists], self.offsets[1:][lists], np.ones(len(lists), np.float32))
        source = Source(asked, self.num_passages, self.rows.view(np.uint32), self.weights, None, allowed)
        return rank([source], top_k, num_threads=num_threads)[0]


def rank(sources: Sequence[Source], top_k: int, *, num_threads: int | None = None) -> list[Hits]:
    """Of each source the passages with the largest sums of weights over a query's lists, best first, ties by the lower.

    Rows int64 and scores float32, (queries, the smaller of top_k and the number of passages). Behind a query's last hit
    stand NO_HIT and score 0. The sums are taken in the order of the lists, so a query's hits do not depend on the
    others or on `num_threads` (None: as Numba is set). InputError where postings name what is not there.
    """
    if top_k < 1:
        raise ValueError(f"top_k must be 1 or more, got {top_k}")
    found, slices = [], []
    for source in sources:
        shape = (len(source.asked.bounds) - 1, min(top_k, source.num_passages))
        hits = np.full(shape, NO_HIT, np.int64), np.zeros(shape, np.float32)
        found.append(hits)
        if hits[0].size:
            allowed = np.ones(source.num_passages, np.bool_) if source.allowed is None else source.allowed
            slices += [(source, allowed, hits, start) for start in range(0, shape[0], _SLICE_QUERIES)]
    with ThreadPoolExecutor(num_threads or get_num_threads()) as threads:
        list(threads.map(_rank_slice, slices))
    return found


def _rank_slice(task: tuple[Source, NDArray[np.bool_], Hits, int]) -> None:
    source, allowed, (rows, scores), start = task
    asked, part = source.asked, slice(start, start + _SLICE_QUERIES)
    whole = _rank(
        plain(source.passages),
        plain(source.values),
        None if source.table is None else plain(source.table),
        (plain(asked.starts), plain(asked.stops), plain(asked.factors)),
        plain(asked.bounds[start : start + _SLICE_QUERIES + 1]),
        plain(allowed),
        rows[part],
        scores[part],
    )
    if not whole:
        raise InputError.at(source.name, None, "names a passage or a weight that is not there: damaged or altered")


def plain(array: NDArray[Any]) -> NDArray[Any]:
    """The same array, read-only, so that Numba compiles one kernel for mapped and built ones."""
    view = array.view(np.ndarray)
    view.flags.writeable = False
    return view


@_compiled
def _add(passages: Any, values: Any, table: Any, factor: Any, sums: Any, seen: Any) -> Any:
    """Add a list's weights to the sums and mark the blocks where they stand; False where a posting is none."""
    for at in range(len(passages)):
        passage = passages[at]
        if passage >= len(sums):
            return False
        if table is None:
            sums[passage] += values[at]
        else:
            number = values[at]
            if number >= len(table):
                return False
            sums[passage] += np.float32(factor * table[number])
        seen[passage >> _BLOCK_BITS] = True
    return True


@_compiled
def _mask(bits: Any, allowed: Any) -> Any:
    """Set to 0 what is not allowed, and return the largest of the rest."""
    largest = np.int32(0)
    for i in range(len(bits)):
        bits[i] *= allowed[i]
        largest = max(largest, bits[i])
    return largest


@_compiled
def _find_floor(largest: Any, top_k: int) -> Any:
    """What the bits of the best scores lie above: so many blocks have a passage with more."""
    kth = len(largest) - top_k
    return np.int64(max(np.partition(largest, kth)[kth] - 1, 0) if kth >= 0 else 0)


@_compiled
def _rank(
    passages: Any, values: Any, table: Any, lists: Any, bounds: Any, allowed: Any, best_rows: Any, best_scores: Any
) -> Any:
    """Fill `best_rows` and `best_scores`, a row a query; False where a posting is none.

    Of numbers that are not negative, float32 and its bits as int32 have the same order. So a passage's key, the bits
    of its score above what its row lacks to _LAST_ROW, is larger the better it ranks.
    """
    starts, stops, factors = lists
    top_k, sums = best_rows.shape[1], np.zeros(len(allowed), np.float32)
    bits = sums.view(np.int32)
    num_blocks = (len(sums) + _BLOCK_ROWS - 1) // _BLOCK_ROWS
    seen, largest = np.zeros(num_blocks, np.bool_), np.zeros(num_blocks, np.int32)
    keys = np.empty(2 * top_k + _BLOCK_ROWS, np.int64)
    for q in range(best_rows.shape[0]):
        for place in range(bounds[q], bounds[q + 1]):
            part = slice(starts[place], stops[place])
            if not _add(passages[part], values[part], table, np.float64(factors[place]), sums, seen):
                return False
        blocks = np.flatnonzero(seen)
        for block in blocks:
            part = slice(block * _BLOCK_ROWS, (block + 1) * _BLOCK_ROWS)
            largest[block] = _mask(bits[part], allowed[part])
        least, size = _find_floor(largest, top_k), 0
        for block in blocks:
            found = bits[block * _BLOCK_ROWS : (block + 1) * _BLOCK_ROWS]
            if largest[block] > least:
                for i in range(len(found)):
                    keys[size] = np.int64(found[i]) << 32 | (_LAST_ROW - block * _BLOCK_ROWS - i)
                    size += found[i] > least
                if size > 2 * top_k:
                    keys[:top_k] = np.partition(keys[:size], size - top_k)[size - top_k :]
                    size, least = top_k, keys[0] >> 32  # a later passage as good ranks lower
            found[:] = 0
            seen[block], largest[block] = False, 0
        best = np.sort(keys[:size])[::-1][:top_k]
        best_rows[q, : len(best)] = _LAST_ROW - (best & _LAST_ROW)
        best_scores.view(np.int32)[q, : len(best)] = best >> 32
    return True
