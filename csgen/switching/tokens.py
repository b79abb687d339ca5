"""Words of a text as byte bounds, 64 bytes at a time; knows nothing of lexicons.

A word is a maximal run of letters, marks and numbers; apostrophes, joiners, soft hyphens and middle dots that stand
between two of them belong to it (`don't`, `aujourd'hui`). Everything else separates words.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from csgen.characters import CLASS_PAGES, CLASS_VALUES, GLUE, WORD
from csgen.switching.primitives import (
    BLOCK,
    class_at,
    compiled,
    count_ones,
    inlined,
    scan_block,
    sequence_length,
    trailing_zeros,
)

_UNROLLED = 8  # edges written at a time, some of them in vain: cheaper than a branch that cannot be predicted
_ONE = np.uint64(1)
_ALL = np.uint64(0xFFFFFFFFFFFFFFFF)


@inlined
def _classify_high(data: Any, base: int, high: np.uint64, pages: Any, values: Any) -> tuple[Any, Any, bool]:
    """Word bits of a block's non-ASCII characters, those that spill into the next block, and whether glue was seen.

    Only characters that begin in the block count; the bits of one that began earlier come with the spill.
    """
    word, spill, glued = np.uint64(0), np.uint64(0), False
    while high:
        position = trailing_zeros(high)
        high &= high - _ONE
        lead = np.int64(data[base + position])
        if lead < 0xC0:
            continue
        kind = class_at(data, base + position, pages, values)
        glued |= (kind & GLUE) != 0
        if kind & WORD:
            run = (_ONE << np.uint64(sequence_length(lead))) - _ONE
            word |= run << np.uint64(position)
            if position > BLOCK - 4:
                spill |= run >> np.uint64(BLOCK - position)
    return word, spill, glued


@inlined
def _join_glued(data: Any, first: int, bounds: Any, begin: int, end: int, pages: Any, values: Any) -> int:
    """Merge words between which a single glue character stands; returns the new end of `bounds`."""
    kept = begin
    for t in range(begin + 2, end, 2):
        gap_start, gap = first + bounds[kept + 1], bounds[t] - bounds[kept + 1]
        if (
            gap <= 3
            and sequence_length(np.int64(data[gap_start])) == gap
            and class_at(data, gap_start, pages, values) & GLUE
        ):
            bounds[kept + 1] = bounds[t + 1]
        else:
            kept += 2
            bounds[kept], bounds[kept + 1] = bounds[t], bounds[t + 1]
    return kept + 2


@inlined
def _scan_text(data: Any, first: int, length: int, bounds: Any, begin: int, pages: Any, values: Any) -> int:
    """Write the edges of the text's words to `bounds` from `begin` on; returns where they end."""
    filled, carry, spill, glued = begin, np.uint64(0), np.uint64(0), False
    for base in range(0, length, BLOCK):
        word, high, apostrophes = scan_block(data, first + base)
        rest = length - base
        if rest < BLOCK:
            inside = _ALL >> np.uint64(BLOCK - rest)
            word, high, apostrophes = word & inside, high & inside, apostrophes & inside
        glued |= apostrophes != np.uint64(0)
        if high | spill:
            more, next_spill, seen = _classify_high(data, first + base, high, pages, values)
            word |= more | spill
            spill = next_spill
            glued |= seen
        edges = word ^ ((word << _ONE) | carry)
        carry = word >> np.uint64(BLOCK - 1)
        count = count_ones(edges)
        for k in range(0, count, _UNROLLED):
            for step in range(_UNROLLED):
                bounds[filled + k + step] = np.int32(base + trailing_zeros(edges))
                edges &= edges - _ONE
        filled += count
    if carry:  # the last block was full and ended in a word
        bounds[filled] = np.int32(length)
        filled += 1
    if glued and filled > begin + 2:
        filled = _join_glued(data, first, bounds, begin, filled, pages, values)
    return filled


@compiled
def _word_bounds(data: Any, offsets: Any, bounds: Any, bound_offsets: Any, pages: Any, values: Any) -> None:
    filled = 0
    bound_offsets[0] = 0
    for i in range(len(offsets) - 1):
        first = np.int64(offsets[i])
        filled = _scan_text(data, first, np.int64(offsets[i + 1]) - first, bounds, filled, pages, values)
        bound_offsets[i + 1] = filled


def word_bounds(
    data: NDArray[np.uint8], offsets: NDArray[np.int32], bounds: NDArray[np.int32], bound_offsets: NDArray[np.int64]
) -> None:
    """Find the words of many texts.

    Text i is data[offsets[i]:offsets[i + 1]], valid UTF-8; SLACK bytes behind the last text must be readable. Its word
    t is bytes [bounds[b + 2 t], bounds[b + 2 t + 1]) of it, with b = bound_offsets[i]. `bounds` needs room for
    offsets[-1] - offsets[0] + 2 per text + 8 numbers, `bound_offsets` for len(offsets).
    """
    _word_bounds(data, offsets, bounds, bound_offsets, CLASS_PAGES, CLASS_VALUES)
