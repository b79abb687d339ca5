"""Looking words and phrases up in a compiled lexicon, from UTF-8 bytes; knows nothing of draws."""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from csgen.switching.primitives import GOLDEN, compiled, decode, inlined, load_u64, mix, sequence_length

HAS_CHILDREN = 1  # bits of a slot's flags; HAS_CHILDREN is also the low bit of a child's value
HAS_DIGIT = 2
EMPTY = np.uint64(0xFFFFFFFFFFFFFFFF)
NO_NODE = -1
INLINE_KEY_BYTES = 16

LOW = np.uint64(0xFFFFFFFF)
HALF = np.uint64(32)
ZERO = np.uint64(0)
HIGH_BITS = np.uint64(0x8080808080808080)
_ONES = np.uint64(0x0101010101010101)


class TableArrays(NamedTuple):
    """A compiled lexicon: words and phrases to nodes, nodes to translations. All arrays are read-only."""

    slots: NDArray[np.uint64]  # (num_slots, 4): key, key, length << 32 | node, flags; EMPTY in [2] = free
    slot_shift: int  # 64 - log2(num_slots)
    child_keys: NDArray[np.uint64]  # node << 32 | next word's node; EMPTY = free
    child_values: NDArray[np.uint32]  # node << 1 | HAS_CHILDREN
    child_shift: int
    ranges: NDArray[
        np.uint32
    ]  # (num_nodes, num_languages + 1): translations into l are targets[ranges[n, l]:ranges[n, l + 1]]
    targets: NDArray[np.uint32]  # (num_targets, 8): four offsets into pool, four lengths
    cumulative: NDArray[np.uint32]  # (num_targets,): the draw's upper bound of each, within its node and language
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
def key_mask(length: int) -> np.uint64:
    """A mask of the low `length` bytes, 0 to 8."""
    return ZERO if length == 0 else EMPTY >> np.uint64(64 - 8 * length)


@inlined
def home_of(table: TableArrays, first: np.uint64, second: np.uint64, length: int) -> int:
    """The slot at which the search for a key begins."""
    return np.int64(mix(first + second * GOLDEN + np.uint64(length)) >> np.uint64(table.slot_shift))


@inlined
def find_slot(
    table: TableArrays, at: int, first: np.uint64, second: np.uint64, length: int, key: Any, key_start: int
) -> int:
    """The slot of a key, or NO_NODE, from its home on.

    Keys of up to 16 bytes are `first` and `second`; longer ones also stand in `key`.
    """
    wanted = np.uint64(length)
    last = len(table.slots) - 1
    while True:
        node = table.slots[at, 2]
        if node == EMPTY:
            return NO_NODE
        if table.slots[at, 0] == first and node >> HALF == wanted:
            if length > INLINE_KEY_BYTES:
                stored = np.int64(table.slots[at, 1])
                same = True
                for k in range(length):
                    same &= table.pool[stored + k] == key[key_start + k]
                if same:
                    return at
            elif table.slots[at, 1] == second:
                return at
        at = (at + 1) & last


@inlined
def look_up(data: Any, start: int, end: int, table: TableArrays, folding: Folding, folded: Any) -> int:
    """The slot of the word data[start:end], folded, or NO_NODE."""
    length = end - start
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
    one, two = load_u64(word, 0) & key_mask(min(length, 8)), load_u64(word, 8) & key_mask(max(min(length, 16) - 8, 0))
    if length > INLINE_KEY_BYTES:
        one, two = hash_bytes(word, 0, length, ZERO), ZERO
    slot = find_slot(table, home_of(table, one, two, length), one, two, length, word, 0)
    if slot == NO_NODE:
        return NO_NODE
    node = np.int64(table.slots[slot, 2] & LOW)
    if parent == NO_NODE:
        return node
    value = find_child(table, parent, node)
    return value >> 1 if value != NO_NODE else NO_NODE


@inlined
def has(table: TableArrays, node: int, language: int) -> bool:
    return table.ranges[node, language + 1] > table.ranges[node, language]
