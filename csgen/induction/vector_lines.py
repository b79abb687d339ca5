"""Parses lines of word vectors (`word v1 .. vd`) into a matrix, compiled. Knows no files."""

import numpy as np
from numba import njit
from numpy.typing import NDArray

# What is wrong with a line; 0: nothing.
GOOD, FEW_NUMBERS, MANY_NUMBERS, NO_NUMBER, NOT_FINITE, ZERO, NO_WORD, LONG_WORD = range(8)

MAX_WORD_BYTES = 1000

_MAX_DIGITS = 18  # of a mantissa that surely fits an int64; further ones do not reach a float32
_POWERS = 10.0 ** np.arange(23)  # exact in float64
_FLOAT32_BOUND = 2.0**128 - 2.0**103  # from here on a float32 rounds to infinity


def parse_lines(
    data: NDArray[np.uint8], bounds: NDArray[np.int64], num_dimensions: int
) -> tuple[NDArray[np.uint8], NDArray[np.float32], NDArray[np.uint8], NDArray[np.int64]]:
    """Parse the lines `data[bounds[i]:bounds[i + 1]]`, each with its end.

    Returns what is wrong with each line; of the good ones the vectors, scaled to unit length, the words' bytes, and
    the bounds of the words in these. Fields are parted by blanks or tabs; the last `num_dimensions` are the vector, and
    what stands before them is the word.
    """
    num_lines = len(bounds) - 1
    flaws = np.empty(num_lines, np.uint8)
    matrix = np.empty((num_lines, num_dimensions), np.float32)
    words = np.empty(len(data), np.uint8)
    word_bounds = np.zeros(num_lines + 1, np.int64)
    num_good = _parse_lines(data, bounds, np.empty(num_dimensions), flaws, matrix, words, word_bounds)
    return flaws, matrix[:num_good], words[: word_bounds[num_good]], word_bounds[: num_good + 1]


def count_fields(line: bytes) -> int:
    """How many fields a line has, by the same blanks."""
    return len(line.replace(b"\t", b" ").strip(b" \r\n").split())


@njit(nogil=True)
def _is_blank(byte):  # type: ignore[no-untyped-def]
    return byte == 32 or byte == 9 or byte == 13 or byte == 10


@njit(nogil=True)
def _parse_number(data, start, end):  # type: ignore[no-untyped-def]
    """The number in the bytes, and GOOD, NO_NUMBER or NOT_FINITE. Correctly rounded to float64 for up to 15 digits and
    exponents up to 22, which is what float32 vectors are written with; else within 2 units in the last place."""
    i = start
    negative = data[i] == 45
    if data[i] == 45 or data[i] == 43:
        i += 1
    mantissa, num_digits, exponent = 0, 0, 0
    seen_digit, seen_point = False, False
    while i < end:
        byte = data[i]
        if 48 <= byte <= 57:
            seen_digit = True
            if num_digits < _MAX_DIGITS:
                mantissa = mantissa * 10 + (byte - 48)
                num_digits += mantissa > 0
                exponent -= seen_point
            else:
                exponent += not seen_point
        elif byte == 46 and not seen_point:
            seen_point = True
        else:
            break
        i += 1
    if not seen_digit:
        return 0.0, _name_of_no_number(data, i, end)
    if i < end:
        written, good = _parse_exponent(data, i, end)
        if not good:
            return 0.0, NO_NUMBER
        exponent += written
    value = _scale(np.float64(mantissa), exponent)
    if value >= _FLOAT32_BOUND:
        return 0.0, NOT_FINITE
    return -value if negative else value, GOOD


@njit(nogil=True)
def _parse_exponent(data, start, end):  # type: ignore[no-untyped-def]
    """The exponent after `e`, bounded, and whether it is one."""
    i = start + 1
    if data[start] | 32 != 101 or i == end:
        return 0, False
    sign = -1 if data[i] == 45 else 1
    i += data[i] == 45 or data[i] == 43
    exponent = 0
    for j in range(i, end):
        if not 48 <= data[j] <= 57:
            return 0, False
        exponent = min(exponent * 10 + (data[j] - 48), 9999)
    return sign * exponent, i < end


@njit(nogil=True)
def _scale(mantissa, exponent):  # type: ignore[no-untyped-def]
    if mantissa == 0.0 or exponent < -90:  # below what a float32 holds
        return 0.0
    if exponent > 60:
        return np.inf
    while exponent < 0:
        step = min(-exponent, 22)
        mantissa /= _POWERS[step]
        exponent += step
    while exponent > 0:
        step = min(exponent, 22)
        mantissa *= _POWERS[step]
        exponent -= step
    return mantissa


@njit(nogil=True)
def _name_of_no_number(data, start, end):  # type: ignore[no-untyped-def]
    """NOT_FINITE for nan, inf and infinity in any case, else NO_NUMBER."""
    if end - start == 3 or end - start == 8:
        first, second, third = data[start] | 32, data[start + 1] | 32, data[start + 2] | 32
        if first == 110 and second == 97 and third == 110 and end - start == 3:
            return NOT_FINITE
        if first == 105 and second == 110 and third == 102:
            return NOT_FINITE
    return NO_NUMBER


@njit(nogil=True)
def _parse_line(data, start, end, values):  # type: ignore[no-untyped-def]
    """The end of the word in `data[start:end]`, and what is wrong; fills `values`, the last fields."""
    at = end
    for column in range(len(values) - 1, -1, -1):
        while at > start and _is_blank(data[at - 1]):
            at -= 1
        field_end = at
        while at > start and not _is_blank(data[at - 1]):
            at -= 1
        if at == field_end or (at == start and not _is_blank(data[start])):
            return at, FEW_NUMBERS
        values[column], flaw = _parse_number(data, at, field_end)
        if flaw != GOOD:
            return at, flaw
    while at > start and _is_blank(data[at - 1]):
        at -= 1
    return at, GOOD if at > start and not _is_blank(data[start]) else NO_WORD


@njit(nogil=True)
def _ends_in_number(data, start, end):  # type: ignore[no-untyped-def]
    """Whether a word of several parts ends in a number with a point: then the vector is wider than it should be."""
    at = end
    has_point = False
    while at > start and not _is_blank(data[at - 1]):
        at -= 1
        has_point |= data[at] == 46
    return at > start and has_point and _parse_number(data, at, end)[1] == GOOD


@njit(cache=True, nogil=True)
def _parse_lines(data, bounds, values, flaws, matrix, words, word_bounds):  # type: ignore[no-untyped-def]
    num_good = 0
    for line in range(len(bounds) - 1):
        start = bounds[line]
        word_end, flaw = _parse_line(data, start, bounds[line + 1], values)
        if flaw == GOOD and _ends_in_number(data, start, word_end):
            flaw = MANY_NUMBERS
        if flaw == GOOD and word_end - start > MAX_WORD_BYTES:
            flaw = LONG_WORD
        squares = 0.0
        if flaw == GOOD:
            for value in values:
                squares += value * value
            if squares == 0.0:
                flaw = ZERO
        flaws[line] = flaw
        if flaw != GOOD:
            continue
        length = np.sqrt(squares)
        for column in range(len(values)):
            matrix[num_good, column] = np.float32(values[column] / length)
        size = word_end - start
        at = word_bounds[num_good]
        words[at : at + size] = data[start:word_end]
        num_good += 1
        word_bounds[num_good] = at + size
    return num_good
