"""Compiled inner products, and the best rows by them; knows arrays alone, no files, kinds or threads.

Why not FAISS's own: FAISS 1.15 compares a batch of some hundred queries or less with all vectors query by query, on
one thread for one query, in float32, whose last bits differ between its ways. `scan` reads a row once for all queries
and adds in float64, so that a score depends on the two vectors alone and equal vectors are tied. 16,384 x 384 in the
third cache, top 100, one thread: 0.7 ms for one query (FAISS 0.8) and 12 ms for 32 (FAISS 24). `scan_lists` does so in
lists, where the scores of FAISS would have to be made exact after it. The rest serves what FAISS has found in codes
and graphs: it drops what cannot be among the best, scores exactly, and orders.

A score is the inner product in float64, in the order of sums that the compiler chose, rounded to float32. Equal scores
are ordered by id. Numba's disk cache watches only the file of a cached function, so all that is compiled
here stands in one file.
"""

from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np
from numba import njit

_STRIP_ROWS = 16  # 24 KB at 384 dimensions, which stay in the first cache while all queries pass
ROW_BITS = 32
_ROW_MASK = (1 << ROW_BITS) - 1
_SIGN = np.uint32(1 << 31)
NO_KEY = np.uint64(2**64 - 1)

_Function = TypeVar("_Function", bound=Callable[..., Any])
_compiled: Callable[[_Function], _Function] = njit(cache=True, nogil=True, error_model="numpy")
# Sums in any order, so that they share a register.
_reordered: Callable[[_Function], _Function] = njit(
    cache=True, nogil=True, error_model="numpy", fastmath={"reassoc", "contract", "nsz"}
)


@_reordered
def _score(query: Any, row: Any) -> Any:
    """The inner product of two float32 vectors, of which each product is exact in float64."""
    total = 0.0
    for j in range(len(query)):
        total += np.float64(query[j]) * np.float64(row[j])
    return np.float32(total)


@_reordered
def _guess(query: Any, row: Any) -> Any:
    """The same in float32, in half the time."""
    total = np.float32(0)
    for j in range(len(query)):
        total += query[j] * row[j]
    return total


@_compiled
def multiply(vectors: Any, matrix: Any, products: Any) -> None:
    """Fill `products` with vectors @ matrix.T; each product depends on its two vectors alone."""
    for v in range(len(vectors)):
        for r in range(len(matrix)):
            products[v, r] = _score(vectors[v], matrix[r])


@_compiled
def widen(halves: Any, places: Any, singles: Any) -> None:
    """Fill `singles`, (places, dimensions) float32, with the rows of float16, given as uint16, that begin at `places`.

    All lie within. Numba has no float16; the exponents' offsets of the two formats differ by 112.
    """
    dim = singles.shape[1]
    for i in range(len(places)):
        _widen_row(halves[places[i] : places[i] + dim], singles[i])


@_compiled
def _widen_row(halves: Any, single: Any) -> None:
    bits = single.view(np.uint32)
    for j in range(len(halves)):
        half = np.uint32(halves[j])
        bits[j] = (half & np.uint32(0x8000)) << np.uint32(16) | (half & np.uint32(0x7FFF)) << np.uint32(13)
    for j in range(len(halves)):
        single[j] *= np.float32(2.0**112)


@_compiled
def sum_by_list(vectors: Any, lists: Any, sums: Any, counts: Any) -> None:
    """Add each vector to the row of `sums`, (lists, dimensions) float64, that `lists` names, in order; and count."""
    for v in range(len(vectors)):
        total, vector = sums[lists[v]], vectors[v]
        for j in range(len(vector)):
            total[j] += vector[j]
        counts[lists[v]] += 1


@_compiled
def scan(queries: Any, slacks: Any, numbers: Any, places: Any, ids: Any, best_scores: Any, best_ids: Any) -> Any:
    """Put rows in place of worse ones among the best of each query, (queries, top k), heaps with the worst in front.

    Row i begins at `numbers[places[i]]` (flat float32) and has the id `ids[i]`, -1 to be passed over. Score -inf and
    id -1 stand for room. slacks (queries,): a row whose product in float32 is more than this below the worst is worse.
    False where a row lies outside.
    """
    dim = queries.shape[1]
    for i in range(len(places)):
        if places[i] < 0 or places[i] > len(numbers) - dim:
            return False
    for start in range(0, len(places), _STRIP_ROWS):
        end = min(start + _STRIP_ROWS, len(places))
        for q in range(len(queries)):
            query, scores, own = queries[q], best_scores[q], best_ids[q]
            for i in range(start, end):
                row = numbers[places[i] : places[i] + dim]
                if _guess(query, row) >= scores[0] - slacks[q] and ids[i] >= 0:
                    score = _score(query, row)
                    if _is_worse(scores[0], own[0], score, ids[i]):
                        _replace_worst(scores, own, score, ids[i])
    return True


@_compiled
def _is_worse(score: Any, row: Any, other_score: Any, other_row: Any) -> Any:
    return score < other_score or (score == other_score and row > other_row)


@_compiled
def _replace_worst(scores: Any, ids: Any, score: Any, row: Any) -> None:
    """Put a row in place of the worst of a heap."""
    place, child = 0, 1
    while child < len(scores):
        if child + 1 < len(scores) and _is_worse(scores[child + 1], ids[child + 1], scores[child], ids[child]):
            child += 1
        if not _is_worse(scores[child], ids[child], score, row):
            break
        scores[place], ids[place] = scores[child], ids[child]
        place, child = child, 2 * child + 1
    scores[place], ids[place] = score, row


@_compiled
def scan_lists(
    queries: Any, slacks: Any, lists: Any, content: Any, number: Any, allowed: Any, best_scores: Any, best_ids: Any
) -> Any:
    """The same for the rows of the lists that each query looks into, (queries, lists), in segment `number`.

    content: a file of lists as uint16, and as float32 if its vectors are, else nothing; the places in the latter, or
    in uint16, where the lists begin, each with its vectors before its rows of 64 bits; the lists' sizes; rows in all.
    allowed: a bitmap, or nothing for all rows. False where a row is none of the segment's.
    """
    words, singles, starts, sizes, num_rows = content
    dim, is_half, single = queries.shape[1], len(singles) == 0, np.empty(queries.shape[1], np.float32)
    for q in range(len(queries)):
        query, scores, ids = queries[q], best_scores[q], best_ids[q]
        for p in range(lists.shape[1]):
            start, size = starts[lists[q, p]], sizes[lists[q, p]]
            rows = (start + size * dim) * (1 if is_half else 2)
            for i in range(size):
                place = start + i * dim
                if is_half:
                    _widen_row(words[place : place + dim], single)
                vector = single if is_half else singles[place : place + dim]
                if _guess(query, vector) >= scores[0] - slacks[q]:
                    score = _score(query, vector)
                    row = np.int64(words[rows + 4 * i]) | np.int64(words[rows + 4 * i + 1]) << 16
                    if row >= num_rows:
                        return False
                    is_allowed = len(allowed) == 0 or allowed[row >> 3] >> (row & 7) & 1
                    row_id = row | number << ROW_BITS
                    if is_allowed and _is_worse(scores[0], ids[0], score, row_id):
                        _replace_worst(scores, ids, score, row_id)
    return True


@_compiled
def pick(ids: Any, number: Any, targets: Any, rows: Any) -> Any:
    """Fill `targets` and `rows` with the flat places and the rows of those ids that belong to segment `number`; returns
    how many."""
    count = 0
    for i in range(len(ids)):
        if ids[i] >> ROW_BITS == number:
            targets[count], rows[count] = i, ids[i] & _ROW_MASK
            count += 1
    return count


@_compiled
def score_each(queries: Any, targets: Any, numbers: Any, places: Any, scores: Any) -> Any:
    """Set the flat places `targets` of `scores`, (queries, candidates), each to that of its query and the row that
    begins at `numbers[places[i]]`. False where a row lies outside."""
    dim, width = queries.shape[1], scores.shape[1]
    for i in range(len(places)):
        if places[i] < 0 or places[i] > len(numbers) - dim:
            return False
        q, c = targets[i] // width, targets[i] % width
        scores[q, c] = _score(queries[q], numbers[places[i] : places[i] + dim])
    return True


@_compiled
def drop_worse(ids: Any, scores: Any, wanted: Any, slacks: Any) -> Any:
    """Set to -1 the ids, (queries, candidates), of those more than `slacks` (queries,) below the `wanted`-th best.

    Returns the score by query that the others have at least; -inf where all stay.
    """
    thresholds = np.full(len(ids), -np.inf)
    found = np.empty(ids.shape[1], np.float32)
    for q in range(len(ids)):
        count = 0
        for i in range(ids.shape[1]):
            if ids[q, i] >= 0:
                found[count] = scores[q, i]
                count += 1
        if count >= wanted:
            thresholds[q] = np.float64(np.partition(found[:count], count - wanted)[count - wanted]) - slacks[q]
        for i in range(ids.shape[1]):
            if scores[q, i] < thresholds[q]:
                ids[q, i] = -1
    return thresholds


@_compiled
def make_keys(ids: Any, scores: Any, keys: Any) -> None:
    """Fill `keys`, uint64, for candidates, (queries, candidates): a falling score above a place; id -1: NO_KEY, the
    largest."""
    bits = scores.view(np.uint32)
    for q in range(len(ids)):
        for i in range(ids.shape[1]):
            rising = bits[q, i]
            if rising == _SIGN:
                rising = np.uint32(0)  # -0 is tied with 0
            falling = rising if rising & _SIGN else rising ^ (_SIGN - np.uint32(1))
            keys[q, i] = np.uint64(falling) << np.uint64(32) | np.uint64(i) if ids[q, i] >= 0 else NO_KEY


@_compiled
def take_best(keys: Any, ids: Any, scores: Any, best_ids: Any, best_scores: Any) -> None:
    """Fill `best_ids` and `best_scores`, (queries, top k), with the candidates of sorted keys, equal scores by id.

    What a query lacks to `top_k` stays as it was.
    """
    top_k, ordered = best_ids.shape[1], np.empty(keys.shape[1], np.int64)
    for q in range(len(keys)):
        count = first = 0  # ordered[first:count] have one score
        last = NO_KEY
        for key in keys[q]:
            if key == NO_KEY:
                break
            if key >> np.uint64(32) != last:
                if count > first + 1:  # a call costs more than all else here
                    ordered[first:count].sort()
                if count >= top_k:
                    break
                first, last = count, key >> np.uint64(32)
            place = np.int64(key & np.uint64(_ROW_MASK))
            ordered[count] = ids[q, place]
            if count < top_k:
                best_scores[q, count] = scores[q, place]
            count += 1
        ordered[first:count].sort()
        best_ids[q, : min(top_k, count)] = ordered[: min(top_k, count)]


@_compiled
def mark_segment(labels: Any, number: Any) -> None:
    """Turn plain rows among the labels, (queries, candidates), into ids of rows of segment `number`, plus a segment.

    So plain rows and ids are told apart, and a heap can go on collecting from the next segment.
    """
    for q in range(len(labels)):
        for i in range(labels.shape[1]):
            if 0 <= labels[q, i] <= _ROW_MASK:
                labels[q, i] += (number + 1) << ROW_BITS
