"""The switching kernel: selects tokens, finds their translations, writes the new texts.

It works on Arrow's offsets and data buffers, one side of a batch at a time, and knows neither Arrow nor policies by
name. `reference.py` of the tests says the same in plain Python, and the two must agree byte for byte.
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from csgen.characters import SPACE, UNSPACED, WORD
from csgen.switching.draws import (
    BEST,
    SideRule,
    draw_again,
    draw_language,
    draw_target,
    is_usable,
)
from csgen.switching.lookup import (
    FIRST_MASKS,
    HALF,
    HAS_CHILDREN,
    HAS_DIGIT,
    HIGH_BITS,
    INLINE_KEY_BYTES,
    LOW,
    NO_NODE,
    SECOND_MASKS,
    ZERO,
    Folding,
    TableArrays,
    find_child,
    find_short,
    has,
    has_flag,
    home_of,
    look_up,
    lower_ascii,
    place_writing,
    targets_of,
)
from csgen.switching.primitives import (
    GOLDEN,
    SLACK,
    class_at,
    compiled,
    copy_bytes,
    copy_short,
    inlined,
    load_u64,
    mix,
    natural,
    prefetch,
    sequence_length,
)
from csgen.switching.protect import (
    AS_LISTED,
    LOWER_CASE,
    PROTECT_NUMBERS,
    TITLE,
    case_of,
    chunk_around,
    is_bare,
    is_protected,
)

# What Workspace.counts holds; then come, by the side's language, the switched tokens and the lacking ones.
NUM_TOKENS, NUM_SELECTED, NUM_UNKNOWN, NUM_PROTECTED, NUM_KEPT, NUM_COUNTS = 0, 1, 2, 3, 4, 5

# Rows go through the passes together until they have this many tokens: short texts alone would leave each pass
# with a token or two, a loop that ends unforeseen and memory waited for one line at a time.
GROUP_TOKENS = 512
NO_PLACE = np.uint32(0xFFFFFFFF)
# UNCHANGED and FIRST_LETTER are the writings of translations too; only for OTHERWISE must the word be looked through.
UNCHANGED, FIRST_LETTER, OTHERWISE = AS_LISTED, TITLE, 4
_CASE_BIT = np.uint64(0x20)


class Texts(NamedTuple):
    """Many texts and their words.

    Text i is data[offsets[i]:offsets[i + 1]], with SLACK readable bytes behind the last one; its words are
    bounds[bound_offsets[i]:bound_offsets[i + 1]], start and end in turn, counted from the text's first byte.
    Numbers are unsigned here and in the workspace: the compiler then knows that no index made of them is negative.
    """

    data: NDArray[np.uint8]
    offsets: NDArray[np.uint32]
    bounds: NDArray[np.uint32]
    bound_offsets: NDArray[np.int64]
    keys: NDArray[np.uint64]


class Workspace(NamedTuple):
    """Arrays that one group of rows needs and the next one uses again."""

    hashes: NDArray[np.uint64]  # of a row's tokens
    draws: NDArray[np.uint64]  # of the selected tokens, as all that follow
    selected: NDArray[np.uint32]  # where in `bounds` the token stands
    rows: NDArray[np.uint32]
    firsts: NDArray[np.uint64]
    seconds: NDArray[np.uint64]
    places: NDArray[np.uint32]
    nodes: NDArray[np.uint32]
    drawn: NDArray[np.uint32]
    changed: NDArray[np.uint8]  # what folding changed in the word: UNCHANGED and so on
    found_rows: NDArray[np.uint32]  # of the replacements, as all that follow
    starts: NDArray[np.uint32]
    ends: NDArray[np.uint32]
    offsets: NDArray[np.uint32]
    lengths: NDArray[np.uint32]
    languages: NDArray[np.uint32]
    folded: NDArray[np.uint8]
    counts: NDArray[np.int64]  # of the side, added up over all calls
    saved: NDArray[np.int64]  # the same before a row that may not fit into the output


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
def _select(texts: Texts, begin: int, end: int, rule: SideRule, work: Workspace) -> int:
    """Draw every token's number in rows [begin, end), and list those below the threshold; returns how many."""
    count = 0
    for row in range(begin, end):
        key = mix(texts.keys[row] ^ rule.salt)
        start, before = texts.bound_offsets[row], natural(count)
        num_tokens = (texts.bound_offsets[row + 1] - start) >> 1
        for t in range(num_tokens):
            work.hashes[t] = mix(key + np.uint64(t + 1) * GOLDEN)
        for t in range(num_tokens):
            work.selected[natural(count)] = t
            count += (work.hashes[t] >> HALF) < rule.threshold
        for s in range(before, count):
            t = np.int64(work.selected[s])
            work.selected[s], work.rows[s], work.draws[s] = start + 2 * t, row, work.hashes[t]
    work.counts[NUM_TOKENS] += (texts.bound_offsets[end] - texts.bound_offsets[begin]) >> 1
    work.counts[NUM_SELECTED] += count
    return count


@inlined
def _hash_selected(texts: Texts, count: int, table: TableArrays, work: Workspace) -> None:
    """Fold short ASCII words in registers, and ask for their rows; the others get NO_PLACE."""
    for s in range(count):
        at, row = np.int64(work.selected[s]), np.int64(work.rows[s])
        start = np.int64(texts.offsets[row] + texts.bounds[at])
        length = np.int64(texts.bounds[at + 1] - texts.bounds[at])
        inline = min(length, INLINE_KEY_BYTES)
        one = load_u64(texts.data, start) & FIRST_MASKS[inline]
        two = load_u64(texts.data, start + 8) & SECOND_MASKS[inline]
        first, second = lower_ascii(one), lower_ascii(two)
        place = home_of(table, first, second, length)
        prefetch(table.rows, table.stride * place)
        case_bits = (first ^ one) | ((second ^ two) << np.uint64(1))
        work.changed[s] = OTHERWISE if case_bits & ~_CASE_BIT else (FIRST_LETTER if case_bits else UNCHANGED)
        work.firsts[s], work.seconds[s] = first, second
        work.places[s] = NO_PLACE if length > INLINE_KEY_BYTES or (one | two) & HIGH_BITS != ZERO else place


@inlined
def _resolve_selected(
    texts: Texts, count: int, rule: SideRule, table: TableArrays, folding: Folding, work: Workspace
) -> int:
    """Draw the languages and find the nodes.

    Keeps the tokens that are in the table and did not draw the source language, and returns their number. Appended
    without a branch, here and in the passes that follow, since none could be predicted.
    """
    kept, staying = 0, 0
    for s in range(count):
        at, row, draw = np.int64(work.selected[s]), np.int64(work.rows[s]), work.draws[s]
        changed = np.int64(work.changed[s])
        start = np.int64(texts.offsets[row] + texts.bounds[at])
        stop = np.int64(texts.offsets[row] + texts.bounds[at + 1])
        if work.places[s] == NO_PLACE:
            node, changed = look_up(texts.data, start, stop, table, folding, work.folded), OTHERWISE
        else:
            node = find_short(table, np.int64(work.places[s]), work.firsts[s], work.seconds[s], stop - start)
        low = mix(mix(texts.keys[row] ^ rule.salt)) >> HALF if rule.per_text else draw & LOW
        language = draw_language(rule, low)
        stays = rule.languages[language] < 0
        here = natural(kept)
        work.selected[here], work.rows[here], work.draws[here] = at, row, draw
        work.nodes[here], work.drawn[here], work.changed[here] = node, language, changed
        staying += stays
        kept += (not stays) & (node != NO_NODE)
    work.counts[NUM_KEPT] += staying
    work.counts[NUM_UNKNOWN] += count - staying - kept
    return kept


@inlined
def _is_number(rule: SideRule, table: TableArrays, node: int) -> bool:
    """Whether a word has a digit and such words are protected."""
    return rule.protect & PROTECT_NUMBERS != 0 and has_flag(table, node, HAS_DIGIT)


@inlined
def _translate_words(count: int, rule: SideRule, table: TableArrays, work: Workspace) -> int:
    """Keep the single words that have a translation into the language they drew; returns their number.

    With `redraw`, the others draw again. `drawn` holds the languages from here on. The first translation is asked for,
    near which all into the language stand.
    """
    kept = 0
    for s in range(count):
        node, language = np.int64(work.nodes[s]), np.int64(work.drawn[s])
        first, last = targets_of(table, node, rule.languages[language])
        known = first != last
        prefetch(table.targets, 2 * first)
        number = _is_number(rule, table, node)
        work.counts[NUM_PROTECTED] += number
        work.counts[NUM_COUNTS + len(rule.languages) + language] += (not known) & (not number)
        if rule.redraw and not known:
            language = draw_again(rule, table, node, mix(work.draws[s]) & LOW)
            known = language != NO_NODE
        here = natural(kept)
        work.selected[here], work.rows[here], work.draws[here] = work.selected[s], work.rows[s], work.draws[s]
        work.nodes[here], work.drawn[here], work.changed[here] = node, language, work.changed[s]
        kept += known & (not number)
    return kept


@inlined
def _plan_words(texts: Texts, count: int, rule: SideRule, table: TableArrays, folding: Folding, work: Workspace) -> int:
    """Find the replacements word by word; returns how many stand in the workspace."""
    count = _translate_words(count, rule, table, work)
    found, chunk_row, chunk_end, chunk_kind = 0, -1, 0, 0
    for s in range(count):
        at, row = np.int64(work.selected[s]), np.int64(work.rows[s])
        first, start, stop = np.int64(texts.offsets[row]), np.int64(texts.bounds[at]), np.int64(texts.bounds[at + 1])
        writing, mixed = np.int64(work.changed[s]), False
        if writing == OTHERWISE and (rule.protect or not rule.lower):
            writing, mixed = case_of(texts.data, first + start, first + stop, folding)
        if rule.protect:
            length, kind = np.int64(texts.offsets[row + 1]) - first, 0
            if not is_bare(texts.data, first, length, start, stop):
                if row != chunk_row or start >= chunk_end:
                    chunk_end, chunk_kind = chunk_around(texts.data, first, length, start, stop, folding)
                    chunk_row = row
                kind = chunk_kind
            if is_protected(texts.data, first, start, kind, mixed, rule.protect, folding):
                work.counts[NUM_PROTECTED] += 1
                continue
        node, language = np.int64(work.nodes[s]), np.int64(work.drawn[s])
        found += _take(found, row, work.draws[s], node, language, start, stop, writing, 1, rule, table, work)
    return found


@inlined
def _longest(
    texts: Texts, row: int, at: int, word: int, language: int,
    rule: SideRule, table: TableArrays, folding: Folding, folded: Any,
) -> tuple[int, int]:  # fmt: skip
    """The longest usable phrase that begins with the word of node `word` at bounds[at]: its node and number of words.

    Words of a phrase are parted by white space alone. The node is NO_NODE where nothing is usable.
    """
    data, bounds, first, end = texts.data, texts.bounds, np.int64(texts.offsets[row]), texts.bound_offsets[row + 1]
    node = word
    best, words = (node if is_usable(rule, table, node, language) else NO_NODE), 1
    more, length = has_flag(table, word, HAS_CHILDREN), 1
    while more and length < rule.max_words and at + 2 < end:
        gap = first + bounds[at + 1]
        at += 2
        if gap == first + bounds[at]:
            break
        if gap + 1 != first + bounds[at] or data[gap] != 32:  # not the one blank that nearly all words are parted by
            while gap < first + bounds[at] and class_at(data, gap, folding.class_pages, folding.class_values) & SPACE:
                gap += sequence_length(np.int64(data[gap]))
            if gap < first + bounds[at]:
                break
        word = look_up(data, first + bounds[at], first + bounds[at + 1], table, folding, folded)
        if word == NO_NODE or _is_number(rule, table, word):
            break
        value = find_child(table, node, word)
        if value == NO_NODE:
            break
        length += 1
        node, more = value >> 1, (value & 1) != 0
        if is_usable(rule, table, node, language):
            best, words = node, length
    return best, words


@inlined
def _plan_phrases(
    texts: Texts, count: int, rule: SideRule, table: TableArrays, folding: Folding, work: Workspace
) -> int:
    """Find the replacements, the longest phrase at each selected token; returns how many there are."""
    found, next_free = 0, np.int64(0)
    for s in range(count):
        at, row = np.int64(work.selected[s]), np.int64(work.rows[s])
        word, language = np.int64(work.nodes[s]), np.int64(work.drawn[s])
        if at < next_free:
            continue
        if _is_number(rule, table, word):
            work.counts[NUM_PROTECTED] += 1
            continue
        node, words = _longest(texts, row, at, word, language, rule, table, folding, work.folded)
        if node == NO_NODE or not has(table, node, rule.languages[language]):
            work.counts[NUM_COUNTS + len(rule.languages) + language] += 1
            if node == NO_NODE or not rule.redraw:
                continue
            language = draw_again(rule, table, node, mix(work.draws[s]) & LOW)
            if language == NO_NODE:
                continue
        first = np.int64(texts.offsets[row])
        length = np.int64(texts.offsets[row + 1]) - first
        start, stop = np.int64(texts.bounds[at]), np.int64(texts.bounds[at + 2 * words - 1])
        writing, mixed = AS_LISTED, False
        if rule.protect or not rule.lower:
            writing, mixed = case_of(texts.data, first + start, first + stop, folding)
        kind = 0
        if rule.protect and not is_bare(texts.data, first, length, start, stop):
            kind = chunk_around(texts.data, first, length, start, stop, folding)[1]
        if is_protected(texts.data, first, start, kind, mixed, rule.protect, folding):
            work.counts[NUM_PROTECTED] += words
        elif _take(found, row, work.draws[s], node, language, start, stop, writing, words, rule, table, work):
            found += 1
            next_free = at + 2 * words
    return found


@inlined
def _take(
    found: int, row: int, draw: np.uint64, node: int, language: int, start: int, stop: int, writing: int, words: int,
    rule: SideRule, table: TableArrays, work: Workspace,
) -> int:  # fmt: skip
    """Draw a translation and put it down as replacement `found`; returns 1, or 0 where the word itself was drawn."""
    low, high = targets_of(table, node, rule.languages[language])
    target = low if rule.translation == BEST else draw_target(rule, table, low, high, mix(draw) >> HALF)
    if target == NO_NODE:
        work.counts[NUM_KEPT] += words
        return 0
    work.counts[NUM_COUNTS + language] += words
    here = natural(found)
    work.found_rows[here], work.starts[here], work.ends[here], work.languages[here] = row, start, stop, language
    work.offsets[here], work.lengths[here] = target, LOWER_CASE if rule.lower else writing
    return 1


@inlined
def _place_targets(table: TableArrays, work: Workspace, found: int) -> None:
    """Turn the number and the writing of each translation into its offset and length, and ask for its text."""
    for r in range(found):
        target, writing = np.int64(work.offsets[r]), np.int64(work.lengths[r])
        place, length = place_writing(table, target, writing)
        work.offsets[r], work.lengths[r] = place, length
        prefetch(table.pool, place)


@inlined
def _plan_group(
    texts: Texts, begin: int, end: int, rule: SideRule, table: TableArrays, folding: Folding, work: Workspace
) -> int:
    """Find the replacements in rows [begin, end), in order; returns how many stand in the workspace.

    In passes over the selected tokens, each asking for the memory that the next one reads.
    """
    count = _select(texts, begin, end, rule, work)
    _hash_selected(texts, count, table, work)
    count = _resolve_selected(texts, count, rule, table, folding, work)
    if rule.max_words > 1:
        found = _plan_phrases(texts, count, rule, table, folding, work)
    else:
        found = _plan_words(texts, count, rule, table, folding, work)
    _place_targets(table, work, found)
    return found


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
def _space_follows(data: Any, start: int, out: Any, end: int, folding: Folding) -> bool:
    """Whether the text data[start:], put behind out[:end], would run into its last word."""
    right = class_at(data, start, folding.class_pages, folding.class_values)
    return _needs_space(_class_before(out, end, folding), right)


@inlined
def _note_span(spans: Spans, noted: int, data: Any, first: int, work: Workspace, r: int, start: int, end: int) -> None:
    source = np.int64(spans.source_offsets[noted])
    length = np.int64(work.ends[r] - work.starts[r])
    copy_bytes(spans.source_data, source, data, first + work.starts[r], length)
    spans.source_offsets[noted + 1] = source + length
    spans.starts[noted], spans.ends[noted], spans.languages[noted] = start, end, work.languages[r]


@inlined
def _write_row(
    texts: Texts, row: int, begin: int, found: int, rule: SideRule, pool: Any, folding: Folding, work: Workspace,
    output: Output, spans: Spans,
) -> int:  # fmt: skip
    """Write the text behind the row before it, with its replacements, and note them.

    They begin at `begin` in the workspace, which holds `found`; returns where the next row's begin.
    """
    data, out, text_begin = texts.data, output.data, np.int64(output.offsets[row])
    first, length = np.int64(texts.offsets[row]), np.int64(texts.offsets[row + 1] - texts.offsets[row])
    noting = len(spans.row_offsets) != 0
    noted = np.int64(spans.row_offsets[row]) - begin if noting else np.int64(0)
    at, done = text_begin, np.int64(0)
    r = begin
    while r < found and work.found_rows[r] == row:
        start, size, source = np.int64(work.starts[r]), np.int64(work.lengths[r]), np.int64(work.offsets[r])
        if rule.separate and r > begin and start > done and _space_follows(data, first + done, out, at, folding):
            at = _add_space(out, at, spans, noted + r - 1, noting)
        copy_bytes(out, at, data, first + done, start - done)
        at += start - done
        span_start = at
        if rule.separate and at > text_begin and _space_follows(pool, source, out, at, folding):
            out[at] = 32
            at += 1
        copy_short(out, at, pool, source, size)
        at += size
        done = np.int64(work.ends[r])
        if noting:
            _note_span(spans, noted + r, data, first, work, r, span_start - text_begin, at - text_begin)
        r += 1
    if rule.separate and r > begin and done < length and _space_follows(data, first + done, out, at, folding):
        at = _add_space(out, at, spans, noted + r - 1, noting)
    copy_bytes(out, at, data, first + done, length - done)
    output.offsets[row + 1] = at + length - done
    if noting:
        spans.row_offsets[row + 1] = noted + r
    return r


@inlined
def _add_space(out: Any, at: int, spans: Spans, span: int, noting: bool) -> int:
    """Put a space behind a switch, which belongs to it; returns the new end."""
    out[at] = 32
    if noting:
        spans.ends[span] += 1
    return at + 1


@inlined
def _growth(rule: SideRule, work: Workspace, found: int) -> int:
    """How many bytes the replacements may add."""
    size = 0
    for r in range(found):
        size += np.int64(work.lengths[r]) + 2 * rule.separate - np.int64(work.ends[r] - work.starts[r])
    return size


@compiled
def switch_rows(
    texts: Texts, first_row: int,
    rule: SideRule, table: TableArrays, folding: Folding, work: Workspace, output: Output, spans: Spans,
) -> int:  # fmt: skip
    """Switch texts `first_row` and on, until all are done or the output is full; returns the next row to do.

    Results go behind output.offsets[first_row].
    """
    begin, num_rows, room = first_row, len(texts.keys), len(output.data) - SLACK
    while begin < num_rows:
        end = begin + 1
        while end < num_rows and texts.bound_offsets[end + 1] - texts.bound_offsets[begin] <= 2 * GROUP_TOKENS:
            end += 1
        most = _most_bytes(texts, begin, end, table)
        if output.offsets[begin] + most > room:
            end = begin + 1
            most = _most_bytes(texts, begin, end, table)
        tight = output.offsets[begin] + most > room
        if tight:
            for k in range(len(work.counts)):
                work.saved[k] = work.counts[k]
        found = _plan_group(texts, begin, end, rule, table, folding, work)
        length = np.int64(texts.offsets[end] - texts.offsets[begin])
        if tight and output.offsets[begin] + length + _growth(rule, work, found) > room:
            for k in range(len(work.counts)):
                work.counts[k] = work.saved[k]
            return begin
        done = 0
        for row in range(begin, end):
            done = _write_row(texts, row, done, found, rule, table.pool, folding, work, output, spans)
        begin = end
    return begin


@inlined
def _most_bytes(texts: Texts, begin: int, end: int, table: TableArrays) -> int:
    """More bytes than rows [begin, end) can have when they are switched."""
    num_tokens = (texts.bound_offsets[end] - texts.bound_offsets[begin]) >> 1
    return np.int64(texts.offsets[end] - texts.offsets[begin]) + num_tokens * (table.max_target_bytes + 2)
