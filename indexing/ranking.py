"""Sums of weights over inverted lists, and the best passages by them, exactly; knows nothing of texts or formulas.

bm25s sums as fast, but which of equal scores it keeps at the last place depends on its heap.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from numba import get_num_threads, njit
from numpy.typing import NDArray

Hits = tuple[NDArray[np.int64], NDArray[np.float32]]

NO_HIT = -1  # the row where a query has no further hit; its score is 0
_BLOCK_BITS = 8  # passages are looked through in blocks, but for those of which no list has any
_BLOCK_ROWS = 1 << _BLOCK_BITS
_LAST_ROW = (1 << 32) - 1
_SLICE_QUERIES = 64  # that one thread ranks at a time

_Function = TypeVar("_Function", bound=Callable[..., Any])
_compiled: Callable[[_Function], _Function] = njit(cache=True, nogil=True)


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
        """The passages with the largest sums of weights over each query's lists, best first, ties by the lower row.

        Query q asks for `lists[offsets[q]:offsets[q + 1]]`; a list may stand more than once. Rows int64 and scores
        float32, (queries, the smaller of top_k and the number of passages). `allowed` (one a passage; None: all) tells
        which may be hits. Behind a query's last hit stand NO_HIT and score 0. The sums are taken in the order of the
        lists, so a query's hits do not depend on the others or on `num_threads` (None: as Numba is set).
        """
        if top_k < 1:
            raise ValueError(f"top_k must be 1 or more, got {top_k}")
        if allowed is None:
            allowed = np.ones(self.num_passages, np.bool_)
        elif allowed.shape != (self.num_passages,):
            raise ValueError(f"allowed must be of shape ({self.num_passages},), got {allowed.shape}")
        shape = (len(offsets) - 1, min(top_k, self.num_passages))
        rows, scores = np.full(shape, NO_HIT, np.int64), np.zeros(shape, np.float32)
        if rows.size == 0:
            return rows, scores

        postings = (self.offsets, self.rows.view(np.uint32), self.weights)

        def rank_slice(start: int) -> None:
            part = slice(start, start + _SLICE_QUERIES)
            bounds = offsets[start : start + _SLICE_QUERIES + 1]
            _rank(postings, bounds, lists, allowed, rows[part], scores[part])

        with ThreadPoolExecutor(num_threads or get_num_threads()) as threads:
            list(threads.map(rank_slice, range(0, len(rows), _SLICE_QUERIES)))
        return rows, scores


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
def _rank(postings: Any, bounds: Any, lists: Any, allowed: Any, best_rows: Any, best_scores: Any) -> None:
    """Fill `best_rows` and `best_scores`, a row a query.

    Of numbers that are not negative, float32 and its bits as int32 have the same order. So a passage's key, the bits
    of its score above what its row lacks to _LAST_ROW, is larger the better it ranks.
    """
    offsets, rows, weights = postings
    top_k, sums = best_rows.shape[1], np.zeros(len(allowed), np.float32)
    bits = sums.view(np.int32)
    num_blocks = (len(sums) + _BLOCK_ROWS - 1) // _BLOCK_ROWS
    seen, largest = np.zeros(num_blocks, np.bool_), np.zeros(num_blocks, np.int32)
    keys = np.empty(2 * top_k + _BLOCK_ROWS, np.int64)
    for q in range(best_rows.shape[0]):
        for place in range(bounds[q], bounds[q + 1]):
            for at in range(offsets[lists[place]], offsets[lists[place] + 1]):
                sums[rows[at]] += weights[at]
                seen[rows[at] >> _BLOCK_BITS] = True
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
