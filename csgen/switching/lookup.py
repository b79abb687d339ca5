"""Looking words and phrases up in a compiled lexicon, from UTF-8 bytes; knows nothing of draws."""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from csgen.switching.primitives import GOLDEN, compiled, decode, inlined, load_u64, mix, sequence_length

HAS_CHILDREN = 1  # bits of a node's flags; HAS_CHILDREN is also the low bit of a child's value
HAS_DIGIT = 2
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


# Of a word's row: where its node begins, behind the key, in words of 8 bytes.
NODE_IN_ROW = 2
_LENGTH_SHIFT, _LENGTH_MASK = np.uint64(16), np.uint64(0xFFFF)
# A translation's four writings (csgen.switching.protect) lie behind one another in the pool, in the order of these
# lanes; UNCASED ones are one and the same text. The top bits of their lengths tell which of the lanes is the listed.
LANE_BITS, LISTED_SHIFT = 16, 62
UNCASED = np.uint64(1 << 61)
MAX_WRITING_BYTES = (1 << 13) - 1
_SUM_BEFORE = np.uint64(0x0001000100010000)  # times four lanes: in each lane the sum of those before it


class TableArrays(NamedTuple):
    """A compiled lexicon: words and phrases to nodes, nodes to translations. All arrays are read-only."""

    # The hash table's rows of `stride` words: the key (16 bytes), then the node; behind them the phrases' nodes. A node
    # is one word of flags (16 bits), key length (16 bits) and the number of its first translation (32 bits), then, in 8
    # or 16 bits a language, how many of its translations stand before that language's. A node's name is the number of
    # its first word. Half a cache line a word for up to 7 languages, so that one wait brings it all.
    rows: NDArray[np.uint64]
    stride: int
    num_slots: int  # rows of the hash table; those whose first node word is EMPTY are free
    count_shift: int  # 0: counts have 8 bits, 1: 16
    child_keys: NDArray[np.uint64]  # node << 32 | next word's node; EMPTY = free
    child_values: NDArray[np.uint32]  # node << 1 | HAS_CHILDREN
    # (num_targets, 2): in the first word the place in the pool (32 bits) and the upper bound of the draw among a node's
    # translations into one language (32 bits), in the second the lengths of its writings, 16 bits a lane.
    targets: NDArray[np.uint64]
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
def scale(hashed: np.uint64, size: int) -> int:
    """A number below `size` from a hash's upper half, without a division."""
    return np.int64(((hashed >> HALF) * np.uint64(size)) >> HALF)


@inlined
def home_of(table: TableArrays, first: np.uint64, second: np.uint64, length: int) -> int:
    """The slot at which the search for a key begins."""
    return scale(mix(first + second * GOLDEN + np.uint64(length)), table.num_slots)


@inlined
def _after(table: TableArrays, slot: int) -> int:
    slot += 1
    return slot if slot < table.num_slots else np.int64(0)


@inlined
def word_at(words: Any, index: int) -> np.uint64:
    """Element `index` of an array of uint64, flat; no bounds check."""
    return load_u64(words, 8 * index)


@inlined
def find_short(table: TableArrays, slot: int, first: np.uint64, second: np.uint64, length: int) -> int:
    """The node of a key of up to 16 bytes, or NO_NODE, from its home `slot` on."""
    wanted = np.uint64(length)
    while True:
        at = slot * table.stride
        state = word_at(table.rows, at + NODE_IN_ROW)
        differing = (word_at(table.rows, at) ^ first) | (word_at(table.rows, at + 1) ^ second)
        if differing | (((state >> _LENGTH_SHIFT) & _LENGTH_MASK) ^ wanted) == ZERO:
            return at + NODE_IN_ROW
        if state == EMPTY:
            return NO_NODE
        slot = _after(table, slot)


@inlined
def find_word(
    table: TableArrays, slot: int, first: np.uint64, second: np.uint64, length: int, key: Any, key_start: int
) -> int:
    """The node of a key, or NO_NODE, from its home on.

    Keys of up to 16 bytes are `first` and `second`; longer ones also stand in `key`.
    """
    if length <= INLINE_KEY_BYTES:
        return find_short(table, slot, first, second, length)
    while True:
        at = slot * table.stride
        state = word_at(table.rows, at + NODE_IN_ROW)
        if state == EMPTY:
            return NO_NODE
        if word_at(table.rows, at) == first and (state >> _LENGTH_SHIFT) & _LENGTH_MASK == np.uint64(length):
            place, same = np.int64(word_at(table.rows, at + 1)), True
            for k in range(length):
                same &= table.pool[place + k] == key[key_start + k]
            if same:
                return at + NODE_IN_ROW
        slot = _after(table, slot)


@inlined
def look_up(data: Any, start: int, end: int, table: TableArrays, folding: Folding, folded: Any) -> int:
    """The node of the word data[start:end], folded, or NO_NODE."""
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
    return find_word(table, home_of(table, one, two, length), one, two, length, folded, 0)


@inlined
def find_child(table: TableArrays, node: int, word: int) -> int:
    """The child value (node << 1 | HAS_CHILDREN) of a phrase's beginning and its next word, or NO_NODE."""
    key = (np.uint64(node) << HALF) | np.uint64(word)
    num_children = len(table.child_keys)
    at = scale(mix(key), num_children)
    while table.child_keys[at] != EMPTY:
        if table.child_keys[at] == key:
            return np.int64(table.child_values[at])
        at += 1
        if at == num_children:
            at = np.int64(0)
    return NO_NODE


@compiled
def find_node(table: TableArrays, word: Any, length: int, parent: int) -> int:
    """The node of a folded word (word[:length]), or of the phrase `parent` with that word behind it, or NO_NODE."""
    inline = min(length, INLINE_KEY_BYTES)
    one, two = load_u64(word, 0) & FIRST_MASKS[inline], load_u64(word, 8) & SECOND_MASKS[inline]
    if length > INLINE_KEY_BYTES:
        one, two = hash_bytes(word, 0, length, ZERO), ZERO
    node = find_word(table, home_of(table, one, two, length), one, two, length, word, 0)
    if node == NO_NODE:
        return NO_NODE
    if parent == NO_NODE:
        return node
    value = find_child(table, parent, node)
    return value >> 1 if value != NO_NODE else NO_NODE


@inlined
def has_flag(table: TableArrays, node: int, flag: int) -> bool:
    return word_at(table.rows, node) & np.uint64(flag) != ZERO


@inlined
def _counts_before(table: TableArrays, node: int, language: int) -> tuple[np.uint64, np.uint64]:
    """How many of a node's translations stand before a language's, and before the next one's."""
    counts = load_u64(table.rows, 8 * node + 8 + (np.int64(language) << table.count_shift))
    bits = np.uint64(8) << np.uint64(table.count_shift)
    mask = (np.uint64(1) << bits) - np.uint64(1)
    return counts & mask, (counts >> bits) & mask


@inlined
def has(table: TableArrays, node: int, language: int) -> bool:
    before, behind = _counts_before(table, node, language)
    return before != behind


@inlined
def targets_of(table: TableArrays, node: int, language: int) -> tuple[int, int]:
    """The first of a node's translations into a language, and the one behind the last."""
    before, behind = _counts_before(table, node, language)
    first = word_at(table.rows, node) >> HALF
    return np.int64(first + before), np.int64(first + behind)


@inlined
def bound_of(table: TableArrays, target: int) -> np.uint64:
    """The upper bound of the draw for a translation."""
    return word_at(table.targets, 2 * target) >> HALF


@inlined
def place_writing(table: TableArrays, target: int, writing: int) -> tuple[int, int]:
    """Place in the pool and length of a translation in one of its writings (csgen.switching.protect)."""
    lengths = word_at(table.targets, 2 * target + 1)
    # AS_LISTED is 0, and then the lane of the listed; TITLE and UPPER_CASE are their lanes' numbers; LOWER_CASE is 3
    lane = np.uint64(writing) % np.uint64(3) if writing else lengths >> np.uint64(LISTED_SHIFT)
    shift = lane << np.uint64(4)
    before = lengths * (_SUM_BEFORE & (((lengths & UNCASED) >> np.uint64(61)) - np.uint64(1)))
    place = (word_at(table.targets, 2 * target) & LOW) + ((before >> shift) & _LENGTH_MASK)
    own = np.uint64(MAX_WRITING_BYTES)
    return np.int64(place), np.int64((lengths >> shift) & own)
