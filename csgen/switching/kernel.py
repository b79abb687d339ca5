"""The switching kernel: selects tokens by a counter-based hash, looks them up, writes the new texts.

It works on Arrow's offsets and data buffers, one side of a batch at a time, and knows neither Arrow nor policies by
name. `reference.py` of the tests says the same in plain Python, and the two must agree byte for byte.
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from csgen.characters import DIGIT, LOWER, SPACE, UNSPACED, UPPER, WORD
from csgen.switching.primitives import (
    GOLDEN,
    SLACK,
    class_at,
    compiled,
    copy_bytes,
    decode,
    inlined,
    load_u64,
    mix,
    prefetch,
    sequence_length,
)

# Bits of a slot's flags and of a child's value.
HAS_CHILDREN = 1
HAS_DIGIT = 2
EMPTY = np.uint64(0xFFFFFFFFFFFFFFFF)
NO_NODE = -1
INLINE_KEY_BYTES = 16

# Which spans stay as they are (SideRule.protect).
PROTECT_NUMBERS, PROTECT_URLS, PROTECT_CODE, PROTECT_NAMES = 1, 2, 4, 8

# How a translation is drawn (SideRule.translation).
BEST, WEIGHTED, UNIFORM, UNIFORM_WITH_SELF = 0, 1, 2, 3

# The four writings of a translation; targets[t] holds an offset and a length for each.
AS_LISTED, TITLE, UPPER_CASE, LOWER_CASE = 0, 1, 2, 3

# What counts[...] of a side holds; then come, by the side's language, the switched tokens and the lacking ones.
NUM_TOKENS, NUM_SELECTED, NUM_UNKNOWN, NUM_PROTECTED, NUM_KEPT, NUM_COUNTS = 0, 1, 2, 3, 4, 5

_LOW = np.uint64(0xFFFFFFFF)
_HALF = np.uint64(32)
_HIGH_BITS = np.uint64(0x8080808080808080)
_ONES = np.uint64(0x0101010101010101)
_ZERO = np.uint64(0)


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


class SideRule(NamedTuple):
    """What happens to one side of every pair."""

    languages: NDArray[np.int64]  # index in the table, or -1 for the source language (the text stays)
    cumulative: NDArray[np.uint64]  # the language draw's upper bounds, out of 2**32
    threshold: np.uint64  # probability * 2**32
    salt: np.uint64
    per_text: int  # 1: one language drawn for the whole text; 0: one a token
    redraw: int  # 1: a word that the drawn language lacks draws again among those that have it
    translation: int
    lower: int  # 1: translations in lower case; 0: the token's case is carried over
    protect: int
    max_words: int
    separate: int  # 1: put a space where a translation would touch a word (tokens that abut)


class Folding(NamedTuple):
    """The tables of csgen.characters."""

    class_pages: NDArray[np.uint16]
    class_values: NDArray[np.uint8]
    fold_pages: NDArray[np.uint16]
    fold_values: NDArray[np.int32]


class Workspace(NamedTuple):
    """Arrays that one row needs and the next one uses again; `tokens` long each, but for `folded`."""

    draws: NDArray[np.uint64]
    selected: NDArray[np.int32]
    firsts: NDArray[np.uint64]
    seconds: NDArray[np.uint64]
    places: NDArray[np.int64]
    slots: NDArray[np.int64]
    drawn: NDArray[np.int32]
    changed: NDArray[np.bool_]
    starts: NDArray[np.int32]
    ends: NDArray[np.int32]
    offsets: NDArray[np.uint32]
    lengths: NDArray[np.uint32]
    languages: NDArray[np.int32]
    folded: NDArray[np.uint8]
    counts: NDArray[np.int64]  # of the row: its numbers count only once it is written


class Output(NamedTuple):
    """Where the new texts go."""

    data: NDArray[np.uint8]
    offsets: NDArray[np.int32]  # (num_rows + 1,)


class Spans(NamedTuple):
    """Where the switches are noted; arrays of length 0 if they are not wanted."""

    row_offsets: NDArray[np.int32]  # (num_rows + 1,)
    starts: NDArray[np.int32]
    ends: NDArray[np.int32]
    languages: NDArray[np.int8]
    source_offsets: NDArray[np.int32]
    source_data: NDArray[np.uint8]


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


@compiled
def pair_keys(
    query_ids: Any, query_offsets: Any, passage_ids: Any, passage_offsets: Any, seed: np.uint64, keys: Any
) -> None:
    """The key of each pair, from which all its draws come: a hash of the seed and both ids."""
    for i in range(len(keys)):
        start = np.int64(query_offsets[i])
        state = hash_bytes(query_ids, start, np.int64(query_offsets[i + 1]) - start, seed)
        start = np.int64(passage_offsets[i])
        keys[i] = hash_bytes(passage_ids, start, np.int64(passage_offsets[i + 1]) - start, state)


@inlined
def _lower_ascii(word: np.uint64) -> np.uint64:
    """Eight bytes with A-Z put into lower case; other bytes stay."""
    low = word & ~_HIGH_BITS
    above = low + np.uint64(0x80 - 0x41) * _ONES
    beyond = low + np.uint64(0x7F - 0x5A) * _ONES
    return word | (((above ^ beyond) & ~word & _HIGH_BITS) >> np.uint64(2))


@inlined
def _fold_bytes(data: Any, start: int, end: int, folded: Any, folding: Folding) -> int:
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
def _key_mask(length: int) -> np.uint64:
    """A mask of the low `length` bytes, 0 to 8."""
    return _ZERO if length == 0 else EMPTY >> np.uint64(64 - 8 * length)


@inlined
def _home(table: TableArrays, first: np.uint64, second: np.uint64, length: int) -> int:
    """The slot at which the search for a key begins."""
    return np.int64(mix(first + second * GOLDEN + np.uint64(length)) >> np.uint64(table.slot_shift))


@inlined
def _find_slot(
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
        if table.slots[at, 0] == first and node >> _HALF == wanted:
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
def _look_up(data: Any, start: int, end: int, table: TableArrays, folding: Folding, folded: Any) -> int:
    """The slot of the word data[start:end], folded, or NO_NODE."""
    length = end - start
    if length > 2 * table.max_key_bytes:
        return NO_NODE
    length = _fold_bytes(data, start, end, folded, folding)
    one, two = load_u64(folded, 0), load_u64(folded, 8)
    if length > INLINE_KEY_BYTES:
        one, two = hash_bytes(folded, 0, length, _ZERO), _ZERO
    return _find_slot(table, _home(table, one, two, length), one, two, length, folded, 0)


@inlined
def _child(table: TableArrays, node: int, word: int) -> int:
    """The child value (node << 1 | HAS_CHILDREN) of a phrase's beginning and its next word, or NO_NODE."""
    key = (np.uint64(node) << _HALF) | np.uint64(word)
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
    one, two = load_u64(word, 0) & _key_mask(min(length, 8)), load_u64(word, 8) & _key_mask(max(min(length, 16) - 8, 0))
    if length > INLINE_KEY_BYTES:
        one, two = hash_bytes(word, 0, length, _ZERO), _ZERO
    slot = _find_slot(table, _home(table, one, two, length), one, two, length, word, 0)
    if slot == NO_NODE:
        return NO_NODE
    node = np.int64(table.slots[slot, 2] & _LOW)
    if parent == NO_NODE:
        return node
    value = _child(table, parent, node)
    return value >> 1 if value != NO_NODE else NO_NODE


@inlined
def _has(table: TableArrays, node: int, language: int) -> bool:
    return table.ranges[node, language + 1] > table.ranges[node, language]


@inlined
def _draw_language(rule: SideRule, draw: np.uint64) -> int:
    """The index of the drawn language among the side's; `draw` is uniform below 2**32."""
    chosen = 0
    for k in range(len(rule.cumulative) - 1):
        chosen += draw >= rule.cumulative[k]
    return chosen


@inlined
def _draw_again(rule: SideRule, table: TableArrays, node: int, draw: np.uint64) -> int:
    """Draw among those of the side's languages that have the node; NO_NODE if none does."""
    total, below = _ZERO, _ZERO
    for k in range(len(rule.languages)):
        if rule.languages[k] >= 0 and _has(table, node, rule.languages[k]):
            total += rule.cumulative[k] - below
        below = rule.cumulative[k]
    if total == _ZERO:
        return NO_NODE
    mark = (draw * total) >> _HALF
    below = _ZERO
    for k in range(len(rule.languages)):
        weight = rule.cumulative[k] - below
        below = rule.cumulative[k]
        if rule.languages[k] >= 0 and _has(table, node, rule.languages[k]):
            if mark < weight:
                return k
            mark -= weight
    return NO_NODE


@inlined
def _usable(rule: SideRule, table: TableArrays, node: int, language: int) -> bool:
    """Whether the node has a translation into the drawn language, or into any where a lacking one draws again."""
    if _has(table, node, rule.languages[language]):
        return True
    if rule.redraw:
        for k in range(len(rule.languages)):
            if rule.languages[k] >= 0 and _has(table, node, rule.languages[k]):
                return True
    return False


@inlined
def _draw_target(rule: SideRule, table: TableArrays, first: int, last: int, draw: np.uint64) -> int:
    """The index of the drawn translation among targets[first:last]; NO_NODE: the word itself was drawn."""
    if rule.translation == BEST:
        return first
    if rule.translation == WEIGHTED:
        while first < last - 1 and draw >= np.uint64(table.cumulative[first]):
            first += 1
        return first
    count = last - first
    if rule.translation == UNIFORM:
        return first + np.int64((draw * np.uint64(count)) >> _HALF)
    picked = np.int64((draw * np.uint64(count + 1)) >> _HALF)
    return first + picked - 1 if picked else NO_NODE


@inlined
def _is_blank(byte: int) -> bool:
    """ASCII white space."""
    return byte == 32 or 9 <= byte <= 13


@inlined
def _case_of(data: Any, start: int, end: int, folding: Folding) -> tuple[int, bool]:
    """The writing that carries over the case of data[start:end], and whether a word has upper behind lower case."""
    uppers, lowers, first, mixed, after_lower = 0, 0, False, False, False
    at = start
    while at < end:
        kind = class_at(data, at, folding.class_pages, folding.class_values)
        if kind & UPPER:
            uppers += 1
            mixed |= after_lower
            first |= at == start
        elif kind & LOWER:
            lowers += 1
            after_lower = True
        elif not kind & WORD:
            after_lower = False
        at += sequence_length(np.int64(data[at]))
    if uppers > 1 and lowers == 0:
        return UPPER_CASE, False
    return (TITLE if first else AS_LISTED), mixed


@inlined
def _is_bare(data: Any, first: int, length: int, start: int, end: int) -> bool:
    """Whether blanks or the text's edge stand around a token, but for one comma or full stop: the quick common case."""
    if start > 0 and not _is_blank(data[first + start - 1]):
        return False
    if end < length and (data[first + end] == 44 or data[first + end] == 46):
        end += 1
    return end >= length or _is_blank(data[first + end])


@inlined
def _chunk_kind(data: Any, start: int, end: int) -> int:
    """PROTECT_URLS and PROTECT_CODE, as they hold for data[start:end], a run without white space.

    URL: has `://`, `@`, or a full stop between two ASCII letters or digits (host and file names, `e.g.`). Code: has one
    of _ \\ ` { } < > = | ~ ^ or `()`, `::`, `->`, or begins with `/` or `-`.
    """
    kind = PROTECT_CODE if data[start] == 47 or data[start] == 45 else 0
    for k in range(start, end):
        byte = data[k]
        before = data[k - 1] if k > start else np.uint8(32)
        after = data[k + 1] if k + 1 < end else np.uint8(32)
        if (
            byte == 64
            or (byte == 58 and after == 47 and k + 2 < end and data[k + 2] == 47)
            or (byte == 46 and _is_plain(before) and _is_plain(after))
        ):
            kind |= PROTECT_URLS
        elif (
            byte == 95
            or byte == 92
            or byte == 96
            or byte == 94  # _ \ ` ^
            or 123 <= byte <= 126  # { | } ~
            or 60 <= byte <= 62  # < = >
            or (byte == 41 and before == 40)
            or (byte == 58 and before == 58)
        ):
            kind |= PROTECT_CODE
    return kind


@inlined
def _is_plain(byte: int) -> bool:
    """An ASCII letter or digit."""
    return 48 <= byte <= 57 or 65 <= byte <= 90 or 97 <= byte <= 122


@inlined
def _opens_sentence(data: Any, first: int, start: int) -> bool:
    """Whether a sentence begins at `start`: before blanks and opening marks there stand . ! ? : or nothing."""
    at = first + start - 1
    while at >= first:
        byte = data[at]
        if not (_is_blank(byte) or byte == 34 or byte == 39 or byte == 40 or byte == 91):
            return byte == 46 or byte == 33 or byte == 63 or byte == 58
        if byte == 10:
            return True
        at -= 1
    return True


@inlined
def _select(key: np.uint64, num_tokens: int, rule: SideRule, work: Workspace) -> int:
    """Draw every token's number, and list the tokens below the threshold; returns how many."""
    for t in range(num_tokens):
        work.draws[t] = mix(key + np.uint64(t + 1) * GOLDEN)
    count = 0
    for t in range(num_tokens):
        work.selected[count] = t
        count += (work.draws[t] >> _HALF) < rule.threshold
    return count


@inlined
def _longest(
    data: Any, first: int, bounds: Any, begin: int, end: int, slot: int, language: int,
    rule: SideRule, table: TableArrays, folding: Folding, folded: Any,
) -> tuple[int, int]:  # fmt: skip
    """The longest usable phrase that begins with the word of `slot` at bounds[begin]: its node and number of words.

    Words of a phrase are parted by white space alone.
    """
    node, flags = np.int64(table.slots[slot, 2] & _LOW), table.slots[slot, 3]
    best, words = (node, 1) if _usable(rule, table, node, language) else (NO_NODE, 1)
    more, length, at = flags & np.uint64(HAS_CHILDREN) != _ZERO, 1, begin
    while more and length < rule.max_words and at + 2 < end:
        gap = first + bounds[at + 1]
        at += 2
        if gap == first + bounds[at]:
            break
        while gap < first + bounds[at] and class_at(data, gap, folding.class_pages, folding.class_values) & SPACE:
            gap += sequence_length(np.int64(data[gap]))
        if gap < first + bounds[at]:
            break
        slot = _look_up(data, first + bounds[at], first + bounds[at + 1], table, folding, folded)
        if slot == NO_NODE or _is_number(rule, table, slot):
            break
        value = _child(table, node, np.int64(table.slots[slot, 2] & _LOW))
        if value == NO_NODE:
            break
        length += 1
        node, more = value >> 1, (value & 1) != 0
        if _usable(rule, table, node, language):
            best, words = node, length
    return best, words


@inlined
def _is_number(rule: SideRule, table: TableArrays, slot: int) -> bool:
    """Whether a word has a digit and such words are protected."""
    return rule.protect & PROTECT_NUMBERS != 0 and table.slots[slot, 3] & np.uint64(HAS_DIGIT) != _ZERO


@inlined
def _chunk_around(data: Any, first: int, length: int, start: int, end: int, folding: Folding) -> tuple[int, int]:
    """The end of the run without white space around a token, and its kind."""
    while start > 0:
        before = first + start - 1
        while data[before] & 0xC0 == 0x80:
            before -= 1
        if class_at(data, before, folding.class_pages, folding.class_values) & SPACE:
            break
        start = before - first
    while end < length and not class_at(data, first + end, folding.class_pages, folding.class_values) & SPACE:
        end += sequence_length(np.int64(data[first + end]))
    return end, _chunk_kind(data, first + start, first + end)


@inlined
def _hash_selected(
    data: Any, first: int, bounds: Any, begin: int, count: int, table: TableArrays, work: Workspace
) -> None:
    """Fold short ASCII words in registers, and ask for their slots; the others get the place NO_NODE."""
    for s in range(count):
        at = begin + 2 * np.int64(work.selected[s])
        start, length = first + bounds[at], np.int64(bounds[at + 1] - bounds[at])
        one = load_u64(data, start) & _key_mask(min(length, 8))
        two = load_u64(data, start + 8) & _key_mask(max(min(length, INLINE_KEY_BYTES) - 8, 0))
        work.firsts[s], work.seconds[s] = _lower_ascii(one), _lower_ascii(two)
        work.changed[s] = work.firsts[s] != one or work.seconds[s] != two
        if length > INLINE_KEY_BYTES or (one | two) & _HIGH_BITS:
            work.places[s] = NO_NODE
        else:
            place = _home(table, work.firsts[s], work.seconds[s], length)
            prefetch(table.slots, 4 * place)
            work.places[s] = place


@inlined
def _resolve_selected(
    data: Any, first: int, bounds: Any, begin: int, count: int, key: np.uint64,
    rule: SideRule, table: TableArrays, folding: Folding, work: Workspace,
) -> None:  # fmt: skip
    """Draw the languages, find the slots, and ask for the ranges of the nodes."""
    text_language = _draw_language(rule, mix(key) >> _HALF)
    for s in range(count):
        t = np.int64(work.selected[s])
        start, stop = first + bounds[begin + 2 * t], first + bounds[begin + 2 * t + 1]
        if work.places[s] == NO_NODE:
            slot = _look_up(data, start, stop, table, folding, work.folded)
            work.changed[s] = True
        else:
            slot = _find_slot(table, work.places[s], work.firsts[s], work.seconds[s], stop - start, data, start)
        work.slots[s] = slot
        work.drawn[s] = text_language if rule.per_text else _draw_language(rule, work.draws[t] & _LOW)
        if slot != NO_NODE:
            prefetch(table.ranges, np.int64(table.slots[slot, 2] & _LOW) * table.ranges.shape[1])


@inlined
def _is_protected(
    data: Any, first: int, start: int, chunk_kind: int, mixed: bool, rule: SideRule, folding: Folding
) -> bool:
    """Whether the rule keeps the words that begin at `start` as they are."""
    if chunk_kind & rule.protect or (mixed and rule.protect & PROTECT_CODE):
        return True
    if rule.protect & PROTECT_NAMES and not _opens_sentence(data, first, start):
        return class_at(data, first + start, folding.class_pages, folding.class_values) & UPPER != 0
    return False


@inlined
def _plan_row(
    data: Any, first: int, length: int, bounds: Any, begin: int, end: int, key: np.uint64,
    rule: SideRule, table: TableArrays, folding: Folding, work: Workspace,
) -> int:  # fmt: skip
    """Find the replacements of one text, in order; returns how many stand in the workspace.

    In passes over the selected tokens, each asking for the memory that the next one reads.
    """
    count = _select(key, (end - begin) >> 1, rule, work)
    work.counts[NUM_TOKENS] += (end - begin) >> 1
    work.counts[NUM_SELECTED] += count
    _hash_selected(data, first, bounds, begin, count, table, work)
    _resolve_selected(data, first, bounds, begin, count, key, rule, table, folding, work)
    found, next_free, chunk_end, chunk_kind = 0, 0, -1, 0
    for s in range(count):
        t, language, slot = np.int64(work.selected[s]), np.int64(work.drawn[s]), np.int64(work.slots[s])
        if t < next_free:
            continue
        if rule.languages[language] < 0:
            work.counts[NUM_KEPT] += 1
            continue
        if slot == NO_NODE:
            work.counts[NUM_UNKNOWN] += 1
            continue
        if _is_number(rule, table, slot):
            work.counts[NUM_PROTECTED] += 1
            continue
        at = begin + 2 * t
        node, words = np.int64(table.slots[slot, 2] & _LOW), 1
        if rule.max_words > 1:
            node, words = _longest(data, first, bounds, at, end, slot, language, rule, table, folding, work.folded)
        start, stop = np.int64(bounds[at]), np.int64(bounds[at + 2 * words - 1])
        again = mix(work.draws[t])
        if node == NO_NODE or not _has(table, node, rule.languages[language]):
            work.counts[NUM_COUNTS + len(rule.languages) + language] += 1
            language = _draw_again(rule, table, node, again & _LOW) if rule.redraw and node != NO_NODE else NO_NODE
            if language == NO_NODE:
                continue
        writing, mixed = AS_LISTED, False
        if work.changed[s] or words > 1:
            writing, mixed = _case_of(data, first + start, first + stop, folding)
        if rule.protect:
            bare = _is_bare(data, first, length, start, stop)
            kind = 0
            if not bare and (start >= chunk_end or words > 1):
                chunk_end, chunk_kind = _chunk_around(data, first, length, start, stop, folding)
            if not bare:
                kind = chunk_kind
            if words > 1:
                chunk_end = 0  # what was seen spans several runs: it says nothing of a single word in them
            if _is_protected(data, first, start, kind, mixed, rule, folding):
                work.counts[NUM_PROTECTED] += words
                continue
        low = np.int64(table.ranges[node, rule.languages[language]])
        high = np.int64(table.ranges[node, rule.languages[language] + 1])
        target = _draw_target(rule, table, low, high, again >> _HALF)
        if target == NO_NODE:
            work.counts[NUM_KEPT] += words
            continue
        prefetch(table.targets, 8 * target)
        work.counts[NUM_COUNTS + language] += words
        work.starts[found], work.ends[found], work.languages[found] = start, stop, language
        work.offsets[found], work.lengths[found] = target, LOWER_CASE if rule.lower else writing
        next_free = t + words
        found += 1
    _place_targets(table, work, found)
    return found


@inlined
def _place_targets(table: TableArrays, work: Workspace, found: int) -> None:
    """Turn the number and the writing of each translation into its offset and length, and ask for its text."""
    for r in range(found):
        target, writing = np.int64(work.offsets[r]), np.int64(work.lengths[r])
        work.offsets[r] = table.targets[target, writing]
        work.lengths[r] = table.targets[target, 4 + writing]
        prefetch(table.pool, np.int64(work.offsets[r]))


@inlined
def _needs_space(left: int, right: int) -> bool:
    """Whether two characters that now touch belong to two words: both are of words, and one's script uses spaces."""
    return (left & right & WORD) != 0 and (left & right & UNSPACED) == 0


@inlined
def _class_before(data: Any, end: int, folding: Folding) -> int:
    """The class of the character that ends at `end`."""
    at = end - 1
    while data[at] & 0xC0 == 0x80:
        at -= 1
    return class_at(data, at, folding.class_pages, folding.class_values)


@inlined
def _note_span(spans: Spans, noted: int, data: Any, first: int, work: Workspace, r: int, start: int, end: int) -> None:
    source = np.int64(spans.source_offsets[noted])
    length = np.int64(work.ends[r] - work.starts[r])
    copy_bytes(spans.source_data, source, data, first + work.starts[r], length)
    spans.source_offsets[noted + 1] = source + length
    spans.starts[noted], spans.ends[noted], spans.languages[noted] = start, end, work.languages[r]


@inlined
def _write_row(
    data: Any, first: int, length: int, found: int, rule: SideRule, pool: Any, folding: Folding, work: Workspace,
    out: Any, begin: int, spans: Spans, noted: int,
) -> int:  # fmt: skip
    """Write the text with its replacements to out[begin:], and note them as spans `noted` and on; returns the end."""
    at, done = begin, np.int64(0)
    pending = False  # a translation was just written, and a word may follow it without a space
    for r in range(found):
        start, size = np.int64(work.starts[r]), np.int64(work.lengths[r])
        source = np.int64(work.offsets[r])
        gap = start - done
        if pending and gap > 0 and _space_follows(data, first + done, out, at, folding):
            out[at] = 32
            at += 1
            if len(spans.row_offsets):
                spans.ends[noted + r - 1] += 1
        copy_bytes(out, at, data, first + done, gap)
        at += gap
        span_start = at
        if rule.separate and at > begin and _space_follows(pool, source, out, at, folding):
            out[at] = 32
            at += 1
        copy_bytes(out, at, pool, source, size)
        at += size
        done = np.int64(work.ends[r])
        pending = rule.separate != 0
        if len(spans.row_offsets):
            _note_span(spans, noted + r, data, first, work, r, span_start - begin, at - begin)
    if pending and done < length and _space_follows(data, first + done, out, at, folding):
        out[at] = 32
        at += 1
        if len(spans.row_offsets):
            spans.ends[noted + found - 1] += 1
    copy_bytes(out, at, data, first + done, length - done)
    return at + length - done


@inlined
def _space_follows(data: Any, start: int, out: Any, end: int, folding: Folding) -> bool:
    """Whether the text data[start:], put behind out[:end], would run into its last word."""
    right = class_at(data, start, folding.class_pages, folding.class_values)
    return _needs_space(_class_before(out, end, folding), right)


@compiled
def switch_rows(
    data: Any, offsets: Any, bounds: Any, bound_offsets: Any, keys: Any, first_row: int,
    rule: SideRule, table: TableArrays, folding: Folding, work: Workspace, output: Output, spans: Spans, counts: Any,
) -> int:  # fmt: skip
    """Switch texts `first_row` and on, until all are done or the output is full; returns the next row to do.

    Text i is data[offsets[i]:offsets[i + 1]] with SLACK readable bytes behind the last one; its words are
    bounds[bound_offsets[i]:bound_offsets[i + 1]], start and end in turn. Results go behind output.offsets[first_row].
    """
    for i in range(first_row, len(keys)):
        first = np.int64(offsets[i])
        length = np.int64(offsets[i + 1]) - first
        at = np.int64(output.offsets[i])
        key = mix(keys[i] ^ rule.salt)
        begin, end = np.int64(bound_offsets[i]), np.int64(bound_offsets[i + 1])
        for k in range(len(counts)):
            work.counts[k] = 0
        found = _plan_row(data, first, length, bounds, begin, end, key, rule, table, folding, work)
        size = length
        for r in range(found):
            size += np.int64(work.lengths[r]) + 2 * rule.separate - np.int64(work.ends[r] - work.starts[r])
        if at + size + SLACK > len(output.data):
            return i
        noted = 0
        if len(spans.row_offsets):
            noted = np.int64(spans.row_offsets[i])
            spans.row_offsets[i + 1] = noted + found
        for k in range(len(counts)):
            counts[k] += work.counts[k]
        output.offsets[i + 1] = _write_row(
            data, first, length, found, rule, table.pool, folding, work, output.data, at, spans, noted
        )
    return len(keys)


@compiled
def list_tokens(
    data: Any, offsets: Any, bounds: Any, bound_offsets: Any, rule: SideRule, folding: Folding,
    tokens: Any, token_offsets: Any, protected: Any,
) -> None:  # fmt: skip
    """Write the folded form of every token one behind the other, and whether the rule protects it as a single word.

    `tokens` needs room for twice the texts' bytes and SLACK, `token_offsets` for one number more than `protected`.
    """
    filled, t = 0, 0
    token_offsets[0] = 0
    for i in range(len(offsets) - 1):
        first, chunk_end, chunk_kind = np.int64(offsets[i]), 0, 0
        length = np.int64(offsets[i + 1]) - first
        for at in range(bound_offsets[i], bound_offsets[i + 1], 2):
            start, stop = np.int64(bounds[at]), np.int64(bounds[at + 1])
            written = _fold_bytes(data, first + start, first + stop, tokens[filled:], folding)
            bare = _is_bare(data, first, length, start, stop)
            if not bare and start >= chunk_end:
                chunk_end, chunk_kind = _chunk_around(data, first, length, start, stop, folding)
            mixed = _case_of(data, first + start, first + stop, folding)[1]
            guarded = _is_protected(data, first, start, 0 if bare else chunk_kind, mixed, rule, folding)
            if rule.protect & PROTECT_NUMBERS and not guarded:
                guarded = _has_digit(data, first + start, first + stop, folding)
            protected[t] = guarded
            filled += written
            t += 1
            token_offsets[t] = filled


@inlined
def _has_digit(data: Any, start: int, end: int, folding: Folding) -> bool:
    at = start
    while at < end:
        if class_at(data, at, folding.class_pages, folding.class_values) & DIGIT:
            return True
        at += sequence_length(np.int64(data[at]))
    return False
