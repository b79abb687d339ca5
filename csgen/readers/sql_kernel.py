"""Compiled loops over the tuples of SQL's INSERT statements: where the values lie, and what they are.

They know no table and raise nothing: each returns how far it came, and csgen.readers.sql says what that means.
"""

from functools import reduce
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types

from csgen.switching.primitives import (
    BLOCK,
    _pointer,
    compiled,
    copy_short,
    count_ones,
    emitted,
    inlined,
    trailing_zeros,
)

# What find_tuples stopped at.
MORE, FULL, END, BAD_TUPLE, BAD_VALUE, BAD_LENGTH = range(6)

NULL = -1  # the start of a value that is NULL

_QUOTE, _BACKSLASH, _OPEN, _CLOSE, _COMMA, _SEMICOLON = b"'\\(),;"
_UNDERSCORE, _MINUS, _ZERO, _NINE, _N = b"_-09N"
_MAX_DIGITS = 18  # so that it fits an int64

_ESCAPED = np.arange(256, dtype=np.uint8)  # what a character behind a backslash stands for
_ESCAPED[list(b"0bnrtZ")] = list(b"\0\b\n\r\t\x1a")


def _searcher(wanted: bytes) -> Any:
    """A function that tells which of the BLOCK bytes at an index are any of `wanted`: bit i for byte i."""

    @emitted
    def search(typingctx: Any, array: Any, index: Any) -> Any:
        def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            vector = ir.VectorType(ir.IntType(8), BLOCK)
            pointer = _pointer(context, builder, signature.args[0], arguments[0], arguments[1], vector)
            block = builder.load(pointer, align=1, typ=vector)
            equal = [builder.icmp_unsigned("==", block, ir.Constant(vector, [byte] * BLOCK)) for byte in wanted]
            return builder.bitcast(reduce(builder.or_, equal), ir.IntType(BLOCK))

        return types.uint64(array, types.int64), codegen

    return search


_search_text_end = _searcher(b"'\\")
_search_value_end = _searcher(b",)'")
_search_line_end = _searcher(b"\n")


@inlined
def _find_quote(data: Any, at: int, end: int) -> int:
    """The place of the quote that ends a text whose content begins at `at`; `end`: it is not there."""
    while at < end:
        found = _search_text_end(data, at)
        if found == 0:
            at += BLOCK
            continue
        at += trailing_zeros(found)
        if at + 1 >= end:
            return end
        if data[at] == _QUOTE and data[at + 1] != _QUOTE:
            return at
        at += 2  # an escape, or a doubled quote
    return end


@inlined
def _find_value_end(data: Any, at: int, end: int) -> int:
    """The place of the comma, closing bracket or quote that comes first from `at` on; `end`: there is none."""
    while at < end:
        found = _search_value_end(data, at)
        if found != 0:
            at += trailing_zeros(found)
            return at if at < end else end
        at += BLOCK
    return end


@inlined
def _skip_blanks(data: Any, at: int, end: int) -> int:
    while at < end and data[at] <= 32:
        at += 1
    return at


@compiled
def find_tuples(  # noqa: PLR0911, PLR0912
    data: Any, at: int, end: int, slots: Any, width: int, starts: Any, ends: Any
) -> Any:
    """Bounds of the values of tuples from byte `at`, which must be at a tuple's begin, to `end` of `data`.

    slots: int64, for each value of a tuple its column in `starts` and `ends`, or -1. width: values a tuple must have,
    or -1. Returns why it stopped, where, how many tuples are complete with what separates them from the next (for MORE
    and FULL: up to there), and how many values the last tuple has.
    """
    row, field = 0, 0
    while row < len(starts):
        begin = at
        at = _skip_blanks(data, at, end)
        if at >= end:
            return MORE, begin, row, field
        if data[at] != _OPEN:
            return BAD_TUPLE, at, row, field
        field = 0
        while True:
            at = _skip_blanks(data, at + 1, end)
            if at >= end:
                return MORE, begin, row, field
            if data[at] == _UNDERSCORE:  # _binary 'text'
                while at < end and data[at] > 32 and data[at] != _QUOTE:
                    at += 1
                at = _skip_blanks(data, at, end)
                if at >= end:
                    return MORE, begin, row, field
            start = at
            if data[at] == _QUOTE:
                start = at + 1
                stop = _find_quote(data, start, end)
                at = stop + 1
            else:
                stop = _find_value_end(data, at, end)
                at = stop
                if stop == start:
                    return BAD_VALUE, at, row, field
                if data[start] == _N:
                    start = NULL
                    stop = NULL
            if at >= end:
                return MORE, begin, row, field
            if field < len(slots) and slots[field] >= 0:
                starts[row, slots[field]] = start
                ends[row, slots[field]] = stop
            field += 1
            if data[at] == _CLOSE:
                break
            if data[at] != _COMMA:
                return BAD_VALUE, at, row, field
        at = _skip_blanks(data, at + 1, end)
        if at >= end:
            return MORE, begin, row, field
        if width >= 0 and field != width:
            return BAD_LENGTH, begin, row, field
        if data[at] == _SEMICOLON:
            return END, at + 1, row + 1, field
        if data[at] != _COMMA:
            return BAD_TUPLE, at, row, field
        at += 1
        row += 1
    return FULL, at, row, field


@compiled
def count_lines(data: Any, at: int, end: int) -> int:
    """The number of line ends from `at` to `end`."""
    lines: Any = 0
    while at < end:
        found = _search_line_end(data, at)
        if end - at < BLOCK:
            found &= (np.uint64(1) << np.uint64(end - at)) - np.uint64(1)
        lines += count_ones(found)
        at += BLOCK
    return lines  # type: ignore[no-any-return]


@compiled
def read_numbers(data: Any, starts: Any, ends: Any, numbers: Any) -> int:
    """Write the integers that stand at the bounds; returns the first row that has none, or -1."""
    for row in range(len(starts)):
        at, end = starts[row], ends[row]
        if at == NULL:
            return row
        is_negative = data[at] == _MINUS
        at += is_negative
        if at >= end or end - at > _MAX_DIGITS:
            return row
        number: Any = 0
        while at < end:
            if data[at] < _ZERO or data[at] > _NINE:
                return row
            number = number * 10 + (np.int64(data[at]) - _ZERO)
            at += 1
        numbers[row] = -number if is_negative else number
    return -1


@compiled
def copy_texts(data: Any, starts: Any, ends: Any, out: Any, offsets: Any) -> int:
    """Write the texts at the bounds one after the other, escapes undone, and their bounds to `offsets` (rows + 1).

    Returns the first row that has a value without quotes, or -1. A NULL is written as an empty text. SLACK bytes behind
    the data must be readable, and behind the texts in `out` writable.
    """
    written = 0
    offsets[0] = 0
    for row in range(len(starts)):
        at, end = starts[row], ends[row]
        if at > 0 and data[at - 1] != _QUOTE:
            return row
        if end - at <= BLOCK and _search_text_end(data, at) << np.uint64(BLOCK - (end - at)) == 0:
            copy_short(out, written, data, at, end - at)
            written += end - at
            at = end
        while at < end:
            byte = data[at]
            if byte == _BACKSLASH:
                at += 1
                byte = _ESCAPED[data[at]]
            elif byte == _QUOTE:  # doubled
                at += 1
            out[written] = byte
            written += 1
            at += 1
        offsets[row + 1] = written
    return -1


@compiled
def match_texts(data: Any, starts: Any, ends: Any, wanted: Any, bounds: Any, places: Any) -> None:
    """For each text the place of its equal among the texts of `wanted`, whose bounds are `bounds`; -1: there is none.

    Escapes are not undone, so no wanted text may have a character that is escaped.
    """
    for row in range(len(starts)):
        places[row] = -1
        length = ends[row] - starts[row]
        for place in range(len(bounds) - 1):
            begin = bounds[place]
            if bounds[place + 1] - begin != length:
                continue
            same = 0
            while same < length and data[starts[row] + same] == wanted[begin + same]:
                same += 1
            if same == length:
                places[row] = place
                break
