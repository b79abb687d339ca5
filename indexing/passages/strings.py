"""Strings in Arrow's layout: read out of files that may be damaged, hashed, found by their hashes.

Knows nothing of what the strings mean. A hash is XXH64, which the library xxhash computes as xxh64; here over whole
columns, without a Python object a string.
"""

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import numpy as np
import polars as pl
import pyarrow as pa
from numba import njit
from numpy.typing import NDArray

from indexing.ranking import plain

Words = NDArray[np.uint64]
Numbers = NDArray[np.int64]

_PRIME_1 = np.uint64(0x9E3779B185EBCA87)
_PRIME_2 = np.uint64(0xC2B2AE3D27D4EB4F)
_PRIME_3 = np.uint64(0x165667B19E3779F9)
_PRIME_4 = np.uint64(0x85EBCA77C2B2AE63)
_PRIME_5 = np.uint64(0x27D4EB2F165667C5)
_ZERO, _HALF, _WORD = np.uint64(0), np.uint64(32), np.uint64(64)
_STRIDE = 32  # of the first step away from where a hash is expected, in elements

_Function = TypeVar("_Function", bound=Callable[..., Any])
_compiled: Callable[[_Function], _Function] = njit(cache=True, nogil=True)


def as_strings(values: pa.Array | pa.ChunkedArray | pl.Series | Sequence[str]) -> pa.Array:
    """Strings of any form as one array of large_string."""
    if isinstance(values, pl.Series):
        values = values.to_arrow()
    if isinstance(values, pa.ChunkedArray):
        values = pa.concat_arrays(values.chunks) if values.num_chunks else pa.array([], values.type)
    if not isinstance(values, pa.Array):
        values = pa.array(values, pa.large_string())
    return values.cast(pa.large_string())


def buffers_of(strings: pa.Array) -> tuple[NDArray[np.uint8], Numbers]:
    """The bytes and the offsets behind an array of large_string, without a copy, read-only."""
    _, offsets, data = strings.buffers()
    if offsets is None or len(strings) == 0:
        return plain(np.zeros(0, np.uint8)), plain(np.zeros(1, np.int64))
    window = np.frombuffer(offsets, np.int64, len(strings) + 1, strings.offset * 8)
    return plain(np.zeros(0, np.uint8) if data is None else np.frombuffer(data, np.uint8)), plain(window)


def take_strings(strings: pa.Array, places: Numbers) -> pa.Array:
    """Some strings of an array that may be damaged, by valid places; a ValueError where they are no strings."""
    data, offsets = buffers_of(strings)
    if len(places):
        starts, stops = offsets[places], offsets[places + 1]
        if not ((starts >= 0) & (starts <= stops) & (stops <= len(data))).all():
            raise ValueError("a string lies outside its column")
    taken = strings.take(pa.array(places))
    taken.validate(full=True)  # its UTF-8
    return taken


def check_offsets(strings: pa.Array) -> None:
    """A ValueError where some string of an array that may be damaged lies outside it."""
    data, offsets = buffers_of(strings)
    if offsets[0] < 0 or offsets[-1] > len(data) or (offsets[1:] < offsets[:-1]).any():
        raise ValueError("a string lies outside its column")


def hash_strings(strings: pa.Array) -> Words:
    """XXH64 of each string's UTF-8 bytes (large_string); a null is hashed as the empty string."""
    hashes = np.empty(len(strings), np.uint64)
    _hash(*buffers_of(strings), hashes)
    return hashes


def read_first_bytes(strings: pa.Array) -> Words:
    """The first eight bytes of each string (large_string), zeros behind shorter ones, as big-endian numbers.

    Where these differ, they are in the order of the strings' bytes, which is that of their code points.
    """
    keys = np.empty(len(strings), np.uint64)
    _read_first_bytes(*buffers_of(strings), keys)
    return keys


def find_hashes(hashes: Words, wanted: Words) -> Numbers:
    """For each wanted hash the first place of a sorted array that is not below it."""
    places = np.empty(len(wanted), np.int64)
    _find_hashes(plain(hashes), plain(wanted), places)
    return places


def find_strings(hashes: Words, strings: pa.Array, wanted: pa.Array) -> Numbers:
    """Where strings stand among others that are sorted by their hashes, -1 where they do not; none is null.

    `strings` and `hashes` may be damaged: a ValueError where a string that is looked at lies outside the array.
    """
    places = np.empty(len(wanted), np.int64)
    data, offsets = buffers_of(strings)
    if not _find_strings(plain(hashes), data, offsets, plain(hash_strings(wanted)), *buffers_of(wanted), places):
        raise ValueError("a string lies outside its column")
    return places


@_compiled
def _turn(word: Any, bits: Any) -> Any:
    return (word << bits) | (word >> (_WORD - bits))


@_compiled
def _load(data: Any, at: Any, size: Any) -> Any:
    """So many bytes, 8 at most, as a little-endian number."""
    word = _ZERO
    for k in range(size):
        word |= np.uint64(data[at + k]) << np.uint64(8 * k)
    return word


@_compiled
def _fold(state: Any, lane: Any) -> Any:
    return _turn(state + lane * _PRIME_2, np.uint64(31)) * _PRIME_1


@_compiled
def _hash_one(data: Any, start: Any, stop: Any) -> Any:
    """https://github.com/Cyan4973/xxHash/blob/v0.8.3/doc/xxhash_spec.md, XXH64 with seed 0."""
    at = start
    if stop - start >= 32:
        a, b, c, d = _PRIME_1 + _PRIME_2, _PRIME_2, _ZERO, _ZERO - _PRIME_1
        while at + 32 <= stop:
            a, b = _fold(a, _load(data, at, 8)), _fold(b, _load(data, at + 8, 8))
            c, d = _fold(c, _load(data, at + 16, 8)), _fold(d, _load(data, at + 24, 8))
            at += 32
        state = _turn(a, np.uint64(1)) + _turn(b, np.uint64(7)) + _turn(c, np.uint64(12)) + _turn(d, np.uint64(18))
        for lane in (a, b, c, d):
            state = (state ^ _fold(_ZERO, lane)) * _PRIME_1 + _PRIME_4
    else:
        state = _PRIME_5
    state += np.uint64(stop - start)
    while at + 8 <= stop:
        state = _turn(state ^ _fold(_ZERO, _load(data, at, 8)), np.uint64(27)) * _PRIME_1 + _PRIME_4
        at += 8
    if at + 4 <= stop:
        state = _turn(state ^ _load(data, at, 4) * _PRIME_1, np.uint64(23)) * _PRIME_2 + _PRIME_3
        at += 4
    while at < stop:
        state = _turn(state ^ np.uint64(data[at]) * _PRIME_5, np.uint64(11)) * _PRIME_1
        at += 1
    state = (state ^ (state >> np.uint64(33))) * _PRIME_2
    state = (state ^ (state >> np.uint64(29))) * _PRIME_3
    return state ^ (state >> _HALF)


@_compiled
def _hash(data: Any, offsets: Any, hashes: Any) -> None:
    for i in range(len(hashes)):
        hashes[i] = _hash_one(data, offsets[i], offsets[i + 1])


@_compiled
def _read_first_bytes(data: Any, offsets: Any, keys: Any) -> None:
    for i in range(len(keys)):
        key = _ZERO
        for k in range(min(offsets[i + 1] - offsets[i], 8)):
            key |= np.uint64(data[offsets[i] + k]) << np.uint64(56 - 8 * k)
        keys[i] = key


@_compiled
def _find_first(hashes: Any, wanted: Any) -> Any:
    """The first place that is not below `wanted`.

    Hashes are spread evenly, so that the search begins near it: it touches a page or two of a mapped array, where
    halving from the middle on would touch one at each of its first steps.
    """
    num: Any = len(hashes)
    if num == 0:
        return np.int64(0)
    at: Any = np.int64((wanted >> _HALF) * np.uint64(num) >> _HALF)
    step: Any = np.int64(_STRIDE)
    if hashes[at] < wanted:
        low, high = at + 1, min(at + 1 + step, num)
        while high < num and hashes[high] < wanted:
            low, step = high + 1, step * 2
            high = min(low + step, num)
    else:
        low, high = max(at - step, 0), at
        while low > 0 and hashes[low - 1] >= wanted:
            high, step = low - 1, step * 2
            low = max(high - step, 0)
    while low < high:
        middle = (low + high) // 2
        if hashes[middle] < wanted:
            low = middle + 1
        else:
            high = middle
    return low


@_compiled
def _find_hashes(hashes: Any, wanted: Any, places: Any) -> None:
    for i in range(len(wanted)):
        places[i] = _find_first(hashes, wanted[i])


@_compiled
def _find_strings(
    hashes: Any, data: Any, offsets: Any, wanted_hashes: Any, wanted_data: Any, wanted_offsets: Any, places: Any
) -> Any:
    """Fill `places`; False where a string lies outside `data`."""
    for i in range(len(places)):
        places[i] = -1
        first, length = wanted_offsets[i], wanted_offsets[i + 1] - wanted_offsets[i]
        at = _find_first(hashes, wanted_hashes[i])
        while places[i] < 0 and at < len(hashes) and hashes[at] == wanted_hashes[i]:
            start, stop = offsets[at], offsets[at + 1]
            if start < 0 or stop < start or stop > len(data):
                return False
            same = stop - start == length
            k = 0
            while same and k < length:
                same = data[start + k] == wanted_data[first + k]
                k += 1
            if same:
                places[i] = at
            at += 1
    return True
