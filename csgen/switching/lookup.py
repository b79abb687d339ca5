"""Looking words and phrases up in a compiled lexicon, from UTF-8 bytes; knows nothing of draws."""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from csgen.switching.primitives import GOLDEN, compiled, decode, inlined, load_u64, mix, sequence_length

HAS_CHILDREN = 1  # bits of a slot's flags; HAS_CHILDREN is also the low bit of a child's value
HAS_DIGIT = 2
FLAGS, FIRST_RANGE = 4, 6  # columns of TableArrays.slots
BOUND = 6  # of TableArrays.targets
EMPTY = np.uint64(0xFFFFFFFFFFFFFFFF)
NO_NODE = -1
INLINE_KEY_BYTES = 16

LOW = np.uint64(0xFFFFFFFF)
HALF = np.uint64(32)
ZERO = np.uint64(0)
HIGH_BITS = np.uint64(0x8080808080808080)
_ONES = np.uint64(0x0101010101010101)
# By a key's length: the masks of its bytes among its first eight and its second eight.
FIRST_MASKS = np.array([(1 << 8 * min(n, 8)) - 1 for n in range(17)], np.uint64)
SECOND_MASKS = np.array([(1 << 8 * max(n - 8, 0)) - 1 for n in range(17)], np.uint64)


class TableArrays(NamedTuple):
    """A compiled lexicon: words and phrases to nodes, nodes to translations. All arrays are read-only."""

    # A row a node: first the hash table's slots, whose numbers are the words' nodes, then the phrases. A row is the key
    # (16 bytes), flags, length, and from FIRST_RANGE on the ranges: translations into language l are
    # targets[row[FIRST_RANGE + l]:row[FIRST_RANGE + l + 1]]. One cache line for all that: one wait a word.
    slots: NDArray[np.uint32]  # (num_nodes, a multiple of 16); flags and length EMPTY = free
    slot_shift: int  # 64 - log2(number of the hash table's slots)
    child_keys: NDArray[np.uint64]  # node << 32 | next word's node; EMPTY = free
    child_values: NDArray[np.uint32]  # node << 1 | HAS_CHILDREN
    child_shift: int
    # (num_targets, 8): offsets of the four writings in the pool, their lengths (16 bits each), and in BOUND the upper
    # bound of the draw among a node's translations into one language.
    targets: NDArray[np.uint32]
    pool: NDArray[np.uint8]  # UTF-8 of translations and of keys over 16 bytes
    max_key_bytes: int
    max_target_bytes: int


class Folding(NamedTuple):
    """The tables of csgen.characters."""

    class_pages: NDArray[np.uint16]
    class_values: NDArray[np.uint8]
    fold_pages: NDArray[np.uint16]
    fold_values: NDArray[np.int32]


@inlined
def hash_bytes(data: Any, start: int, length: int, seed: np.uint64) -> np.uint64:
    """A hash of bytes, whatever stands behind them: eight a step, the last ones zero-padded, the length first."""
    state = mix(seed + np.uint64(length))
    done = 0
    while length - done >= 8:
        state = mix(state ^ load_u64(data, start + done))
        done += 8
    if done < length:
        rest = np.uint64(0)
        for k in range(length - done):
            rest |= np.uint64(data[start + done + k]) << np.uint64(8 * k)
        state = mix(state ^ rest)
    return state


@inlined
def lower_ascii(word: np.uint64) -> np.uint64:
    """Eight bytes with A-Z put into lower case; other bytes stay."""
    low = word & ~HIGH_BITS
    above = low + np.uint64(0x80 - 0x41) * _ONES
    beyond = low + np.uint64(0x7F - 0x5A) * _ONES
    return word | (((above ^ beyond) & ~word & HIGH_BITS) >> np.uint64(2))


@inlined
def fold_bytes(data: Any, start: int, end: int, folded: Any, folding: Folding) -> int:
    """Write the folded form of data[start:end] to `folded`, zero bytes behind it; returns its length."""
    filled = 0
    while start < end:
        code_point = decode(data, start)
        start += sequence_length(np.int64(data[start]))
        code_point += np.int64(folding.fold_values[folding.fold_pages[code_point >> 7], code_point & 127])
        if code_point < 0x80:
            folded[filled] = code_point
            filled += 1
        elif code_point < 0x800:
            folded[filled] = 0xC0 | (code_point >> 6)
            folded[filled + 1] = 0x80 | (code_point & 0x3F)
            filled += 2
        elif code_point < 0x10000:
            folded[filled] = 0xE0 | (code_point >> 12)
            folded[filled + 1] = 0x80 | ((code_point >> 6) & 0x3F)
            folded[filled + 2] = 0x80 | (code_point & 0x3F)
            filled += 3
        else:
            folded[filled] = 0xF0 | (code_point >> 18)
            folded[filled + 1] = 0x80 | ((code_point >> 12) & 0x3F)
            folded[filled + 2] = 0x80 | ((code_point >> 6) & 0x3F)
            folded[filled + 3] = 0x80 | (code_point & 0x3F)
            filled += 4
    for k in range(INLINE_KEY_BYTES):
        folded[filled + k] = 0
    return filled


@inlined
def home_of(table: TableArrays, first: np.uint64, second: np.uint64, length: int) -> int:
    """The slot at which the search for a key begins."""
    return np.int64(mix(first + second * GOLDEN + np.uint64(length)) >> np.uint64(table.slot_shift))


@inlined
def last_slot(table: TableArrays) -> int:
    """The number of the hash table's last slot, also the mask of slot numbers."""
    return np.int64(EMPTY >> np.uint64(table.slot_shift))


@inlined
def _key_at(table: TableArrays, slot: int) -> tuple[np.uint64, np.uint64, np.uint64]:
    """A slot's key, and its length << 32 | flags."""
    byte = 4 * table.slots.shape[1] * slot
    return load_u64(table.slots, byte), load_u64(table.slots, byte + 8), load_u64(table.slots, byte + 16)


@inlined
def find_short(table: TableArrays, at: int, first: np.uint64, second: np.uint64, length: int) -> int:
    """The slot of a key of up to 16 bytes, or NO_NODE, from its home `at` on."""
    wanted, last = np.uint64(length), last_slot(table)
    while True:
        stored, more, state = _key_at(table, at)
        if (stored ^ first) | (more ^ second) | ((state >> HALF) ^ wanted) == ZERO:
            return at
        if state == EMPTY:
            return NO_NODE
        at = (at + 1) & last


@inlined
def find_slot(
    table: TableArrays, at: int, first: np.uint64, second: np.uint64, length: int, key: Any, key_start: int
) -> int:
    """The slot of a key, or NO_NODE, from its home on.

    Keys of up to 16 bytes are `first` and `second`; longer ones also stand in `key`.
    """
    if length <= INLINE_KEY_BYTES:
        return find_short(table, at, first, second, length)
    while True:
        stored, place, state = _key_at(table, at)
        if state == EMPTY:
            return NO_NODE
        if stored == first and state >> HALF == np.uint64(length):
            same = True
            for k in range(length):
                same &= table.pool[np.int64(place) + k] == key[key_start + k]
            if same:
                return at
        at = (at + 1) & last_slot(table)


@inlined
def look_up(data: Any, start: int, end: int, table: TableArrays, folding: Folding, folded: Any) -> int:
    """The slot of the word data[start:end], folded, or NO_NODE."""
    length = end - start
    if length <= INLINE_KEY_BYTES:
        one, two = load_u64(data, start) & FIRST_MASKS[length], load_u64(data, start + 8) & SECOND_MASKS[length]
        if (one | two) & HIGH_BITS == ZERO:
            one, two = lower_ascii(one), lower_ascii(two)
            return find_short(table, home_of(table, one, two, length), one, two, length)
    if length > 2 * table.max_key_bytes:
        return NO_NODE
    length = fold_bytes(data, start, end, folded, folding)
    one, two = load_u64(folded, 0), load_u64(folded, 8)
    if length > INLINE_KEY_BYTES:
        one, two = hash_bytes(folded, 0, length, ZERO), ZERO
    return find_slot(table, home_of(table, one, two, length), one, two, length, folded, 0)


@inlined
def find_child(table: TableArrays, node: int, word: int) -> int:
    """The child value (node << 1 | HAS_CHILDREN) of a phrase's beginning and its next word, or NO_NODE."""
    key = (np.uint64(node) << HALF) | np.uint64(word)
    at = np.int64(mix(key) >> np.uint64(table.child_shift))
    last = len(table.child_keys) - 1
    while table.child_keys[at] != EMPTY:
        if table.child_keys[at] == key:
            return np.int64(table.child_values[at])
        at = (at + 1) & last
    return NO_NODE


@compiled
def find_node(table: TableArrays, word: Any, length: int, parent: int) -> int:
    """The node of a folded word (word[:length]), or of the phrase `parent` with that word behind it, or NO_NODE."""
    inline = min(length, INLINE_KEY_BYTES)
    one, two = load_u64(word, 0) & FIRST_MASKS[inline], load_u64(word, 8) & SECOND_MASKS[inline]
    if length > INLINE_KEY_BYTES:
        one, two = hash_bytes(word, 0, length, ZERO), ZERO
    slot = find_slot(table, home_of(table, one, two, length), one, two, length, word, 0)
    if slot == NO_NODE:
        return NO_NODE
    if parent == NO_NODE:
        return slot
    value = find_child(table, parent, slot)
    return value >> 1 if value != NO_NODE else NO_NODE


@inlined
def has(table: TableArrays, node: int, language: int) -> bool:
    return table.slots[node, FIRST_RANGE + language + 1] > table.slots[node, FIRST_RANGE + language]
