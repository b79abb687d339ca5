"""Penn Treebank tokens as byte bounds: those of NLTK 3.10's TreebankWordTokenizer; knows nothing of lexicons.

NLTK (https://www.nltk.org, Apache-2.0) pads tokens with spaces by one regular expression after another. Here a flag per
byte says "a space was put before this byte", and each rule is a pass over the few bytes that any rule looks at.
All compiled functions stand in this file, because Numba's disk cache watches only the file of the cached function.
"""

from collections.abc import Callable
from typing import Any, TypeAlias, TypeVar

import numpy as np
from numba import njit
from numpy.typing import NDArray

from csgen.characters import ALNUM, CLASS_PAGES, CLASS_VALUES, DIGIT, PAGE_BITS
from csgen.characters import SPACE as SPACE_CLASS

_Text: TypeAlias = NDArray[np.uint8]
_Marks: TypeAlias = NDArray[np.int32]
_Classes: TypeAlias = tuple[NDArray[np.uint16], NDArray[np.uint8]]
_Function = TypeVar("_Function", bound=Callable[..., Any])
_compiled: Callable[[_Function], _Function] = njit(nogil=True)
_compiled_and_cached: Callable[[_Function], _Function] = njit(cache=True, nogil=True)

# What is known of a position: the flags.
_SPACE = 1  # the byte belongs to a white-space character
_CUT = 2  # a rule has put a space before the byte

# What a byte may start or end: which rules are interested in it.
_BACKTICK, _QUOTE, _APOSTROPHE, _COMMA, _DOT, _PAD, _BRACKET, _DASH, _LETTER, _LEAD = (1 << k for k in range(1, 11))
_ALONE = _QUOTE | _APOSTROPHE | _COMMA | _PAD | _BRACKET | _LEAD  # wherever it stands
_TWIN = _BACKTICK | _DOT | _DASH | _LETTER  # only where it doubles the byte before it

_LF, _BLANK, _DOUBLE, _SINGLE, _PERIOD, _HYPHEN, _GRAVE = (ord(c) for c in "\n \"'.-`")
_A, _D, _I, _M, _N, _S, _T, _W = (ord(c) for c in "adimnstw")
_OPENERS = tuple(b" ([{<")
_CLOSERS = tuple(b"])}>\"'")
_DOTTED_I, _DOTLESS_I, _LONG_S = 0x130, 0x131, 0x17F  # with (?i), i and s match them


def _pack(word: bytes) -> int:
    """The word as a number, first letter lowest: Numba handles bytes slowly."""
    return int.from_bytes(word, "little")


_LL, _RE, _VE = (_pack(word) for word in (b"ll", b"re", b"ve"))
_WANNA, _D_YE, _MORE_N, _TIS, _TWAS = (_pack(word) for word in (b"wanna", b"d'ye", b"more'n", b"'tis", b"'twas"))
_TWINNED = (*(_pack(word) for word in (b"cannot", b"gimme", b"gonna", b"gotta", b"lemme")), _WANNA)  # can-not, gim-me


def _kinds() -> NDArray[np.uint16]:
    table = np.zeros(256, np.uint16)
    for kind, members in (
        (_SPACE, b"\t\n\v\f\r\x1c\x1d\x1e\x1f "),
        (_BACKTICK, b"`"),
        (_QUOTE, b'"'),
        (_APOSTROPHE, b"'"),
        (_COMMA, b":,"),
        (_DOT, b"."),
        (_PAD, b";@#$%&?!"),
        (_BRACKET, b"[](){}<>"),
        (_DASH, b"-"),
        (_LETTER, b"nmtNMT"),  # ca-nn-ot, gi-mm-e, go-tt-a
        (_LEAD, b"\xc2\xe1\xe2\xe3"),  # first bytes of all white space beyond ASCII
    ):
        table[list(members)] = kind
    return table


_KINDS = _kinds()  # 256 entries, compiled in as a constant


# --- looking at characters ---------------------------------------------------------------------------------------


@_compiled
def _byte(text: _Text, i: int) -> int:
    """The byte at i; NUL, which no rule asks for, outside of the text."""
    return int(np.int64(text[i])) if 0 <= i < len(text) else 0  # int(uint8) is a uint64, of which int64 makes floats


@_compiled
def _letter(text: _Text, i: int) -> int:
    """As `_byte`, A to Z as a to z. Other bytes may change too, but none becomes a letter."""
    return _byte(text, i) | 0x20


@_compiled
def _size(text: _Text, i: int) -> int:
    """Number of bytes of the character that starts at i."""
    lead = _byte(text, i)
    return 1 if lead < 0xC0 else 2 if lead < 0xE0 else 3 if lead < 0xF0 else 4


@_compiled
def _code_point(text: _Text, i: int) -> int:
    """The character that starts at i; invalid UTF-8 gives some code point."""
    size, value = _size(text, i), _byte(text, i)
    if size > 1:
        value &= 0x7F >> size
        for k in range(1, size):
            value = value << 6 | (_byte(text, i + k) & 0x3F)
    return min(value, 0x10FFFF)


@_compiled
def _start_before(text: _Text, i: int) -> int:
    """Where the character that ends before i starts."""
    i -= 1
    while _byte(text, i) & 0xC0 == 0x80:
        i -= 1
    return i


@_compiled
def _class(text: _Text, i: int, classes: _Classes) -> int:
    c = _code_point(text, i)
    return int(np.int64(classes[1][classes[0][c >> PAGE_BITS], c & ((1 << PAGE_BITS) - 1)]))


@_compiled
def _blank(text: _Text, flags: _Text, i: int) -> bool:
    """A space, not any other white space, stands at i or was put there."""
    return _byte(text, i) == _BLANK or (i <= len(text) and flags[i] & _CUT != 0)


@_compiled
def _boundary_before(text: _Text, flags: _Text, i: int, classes: _Classes) -> bool:
    r"""`\b`, where a letter stands at i."""
    return i == 0 or flags[i] & _CUT != 0 or _class(text, _start_before(text, i), classes) & ALNUM == 0


@_compiled
def _boundary_after(text: _Text, flags: _Text, i: int, classes: _Classes) -> bool:
    r"""`\b`, where a letter ends at i."""
    return i == len(text) or flags[i] & _CUT != 0 or _class(text, i, classes) & ALNUM == 0


# --- the rules, in NLTK's order; each is headed by its regular expression ----------------------------------------


@_compiled
def _pad_kind(text: _Text, flags: _Text, marks: _Marks, kind: int) -> None:
    """`[...]` to ` [...] ` for all bytes of one kind."""
    for p in marks:
        if _KINDS[text[p]] == kind:
            flags[p] |= _CUT
            flags[p + 1] |= _CUT


@_compiled
def _pad_run(text: _Text, flags: _Text, marks: _Marks, byte: int, length: int) -> None:
    """`cc` or `ccc` of one byte c, padded."""
    done = 0
    for p in marks:
        start = p - length + 1
        if start >= done and text[p] == byte and text[p - 1] == byte and text[start] == byte:
            done = p + 1
            flags[start] |= _CUT
            flags[done] |= _CUT


@_compiled
def _pad_double_apostrophe(text: _Text, flags: _Text, marks: _Marks) -> None:
    """`''`, padded; a pair whose halves an earlier rule parted is none."""
    done = 0
    for p in marks:
        if p >= done and text[p] == _SINGLE and _byte(text, p + 1) == _SINGLE and not flags[p + 1] & _CUT:
            done = p + 2
            flags[p] |= _CUT
            flags[done] |= _CUT


@_compiled
def _pad_opening_quote(text: _Text, flags: _Text, marks: _Marks) -> None:
    r"""`([ \(\[{<])(\"|\'{2})`. What matches is `` from here on, which its two cuts hide from the rules to come."""
    done = 0
    for p in marks:
        size = 1 if text[p] == _DOUBLE else 2 if text[p] == _SINGLE and _byte(text, p + 1) == _SINGLE else 0
        if size == 0 or p in (0, done):  # at p == done, the space is this rule's own
            continue
        before = text[p - 1]
        if flags[p] & _CUT or before in _OPENERS:
            done = p + size
            flags[p] |= _CUT
            flags[done] |= _CUT


@_compiled
def _split_commas(text: _Text, flags: _Text, marks: _Marks, classes: _Classes) -> None:
    r"""`([:,])([^\d])`, which consumes the character behind, then `([:,])$`."""
    done = 0
    for p in marks:
        if p < done or _KINDS[text[p]] != _COMMA:
            continue
        if flags[p + 1] & _CUT:
            flags[p] |= _CUT
        elif p + 1 < len(text) and not _class(text, p + 1, classes) & DIGIT:
            done = p + 2
            flags[p] |= _CUT
            flags[p + 1] |= _CUT
    last = len(text) - 1
    if text[last] == _LF:
        last -= 1
    if _KINDS[_byte(text, last)] == _COMMA:
        flags[last] |= _CUT
        flags[last + 1] |= _CUT


@_compiled
def _split_final_period(text: _Text, flags: _Text) -> None:
    r"""`([^\.])(\.)([\]\)}>"\']*)\s*$`; the space put behind replaces the white space at the end of the text."""
    end = len(text)
    while end > 0 and flags[end - 1] & _SPACE and not 0x1C <= text[end - 1] <= 0x1F:  # \s of the `regex` package
        end -= 1
    p = end - 1
    while _byte(text, p) in _CLOSERS:
        p -= 1
    if p > 0 and text[p] == _PERIOD and (text[p - 1] != _PERIOD or flags[p] & _CUT):
        flags[p] |= _CUT
        flags[end] |= _CUT


@_compiled
def _split_spaced_apostrophe(text: _Text, flags: _Text, marks: _Marks) -> None:
    """`([^'])' `"""
    for p in marks:
        if text[p] == _SINGLE and p > 0 and text[p - 1] != _SINGLE and _blank(text, flags, p + 1):
            flags[p] |= _CUT


@_compiled
def _split_clitics(text: _Text, flags: _Text, marks: _Marks) -> None:
    """`([^' ])('[sS]|'[mM]|'[dD]|') `"""
    for p in marks:
        if text[p] == _SINGLE and p > 0 and text[p - 1] != _SINGLE:
            short = _letter(text, p + 1) in (_S, _M, _D) and _blank(text, flags, p + 2)
            if short or _blank(text, flags, p + 1):
                flags[p] |= _CUT


@_compiled
def _split_long_clitics(text: _Text, flags: _Text, marks: _Marks) -> None:
    """`([^' ])('ll|'LL|'re|'RE|'ve|'VE|n't|N'T) `"""
    for p in marks:
        if text[p] != _SINGLE:
            continue
        before, behind, second = _byte(text, p - 1), _byte(text, p + 1), _byte(text, p + 2)
        if before in (_N, _N - 32) and behind == before + _T - _N:
            if p > 1 and text[p - 2] != _SINGLE and _blank(text, flags, p + 2):
                flags[p - 1] |= _CUT
        elif p > 0 and before != _SINGLE and (behind ^ second) & 0x20 == 0:
            pair = (second | 0x20) << 8 | behind | 0x20
            if pair in (_LL, _RE, _VE) and _blank(text, flags, p + 3):
                flags[p] |= _CUT


@_compiled
def _match(text: _Text, i: int, word: int) -> int:
    """Where `word` ends if it stands at i, with (?i), else -1."""
    while word:
        letter, word, c = word & 0xFF, word >> 8, _code_point(text, i)
        if not (
            c == letter
            or (c == letter - 32 and letter >= _A)
            or (letter == _I and c in (_DOTTED_I, _DOTLESS_I))
            or (letter == _S and c == _LONG_S)
        ):
            return -1
        i += _size(text, i)
    return i


@_compiled
def _split_word(text: _Text, flags: _Text, start: int, middle: int, word: int, classes: _Classes) -> int:
    r"""`(?i)\b(...)(...)\b` at start, the second group at middle; returns where it ends if it matches, else -1."""
    end = _match(text, start, word)
    if end < 0 or not _boundary_before(text, flags, start, classes) or not _boundary_after(text, flags, end, classes):
        return -1
    if word == _WANNA and end < len(text) and not flags[end] & (_CUT | _SPACE):  # (?=\s)
        return -1
    flags[start] |= _CUT
    flags[middle] |= _CUT
    flags[end] |= _CUT
    return end


@_compiled
def _split_contractions(text: _Text, flags: _Text, marks: _Marks, classes: _Classes) -> None:
    r"""`(?i)\b(can)(not)\b` and so on, `(?i)\b(wan)(na)(?=\s)`; one pass for all, as no two can touch."""
    for p in marks:
        if _KINDS[text[p]] == _LETTER:
            start = _start_before(text, p - 1) - 1  # the middle one of three letters may be one of two bytes
            for word in _TWINNED:
                if _letter(text, start) == word & 0xFF:  # a call costs more, for Numba counts references in each
                    _split_word(text, flags, start, p, word, classes)
        elif text[p] == _SINGLE:
            _split_word(text, flags, p - 1, p, _D_YE, classes)
            _split_word(text, flags, p - 4, p, _MORE_N, classes)


@_compiled
def _split_apostrophe_t(text: _Text, flags: _Text, marks: _Marks, word: int, classes: _Classes) -> None:
    r"""`(?i) ('t)(is)\b`, `(?i) ('t)(was)\b`"""
    done = -1
    for p in marks:
        if text[p] != _SINGLE or p == done:  # at p == done, the space is this rule's own
            continue
        if flags[p] & _CUT or _byte(text, p - 1) == _BLANK:
            done = _split_word(text, flags, p, p + 2, word, classes)


# --- a text, and many --------------------------------------------------------------------------------------------


@_compiled
def _scan(text: _Text, flags: _Text, marks: _Marks) -> tuple[int, int]:
    """Flag ASCII white space and mark the bytes that a rule may look at; the kinds seen, and the number of marks."""
    seen, count, previous = 0, 0, 0
    for i in range(len(text)):
        kind, folded = int(np.int64(_KINDS[text[i]])), int(np.int64(text[i])) | 0x20
        flags[i] = kind & _SPACE
        kind &= _ALONE | _TWIN if folded == previous else _ALONE
        seen |= kind
        marks[count] = i
        count += kind != 0
        previous = folded
    flags[len(text)] = 0
    return seen, count


@_compiled
def _flag_wide_spaces(text: _Text, flags: _Text, marks: _Marks, classes: _Classes) -> None:
    """Flag white space beyond ASCII."""
    for p in marks:
        if _KINDS[text[p]] == _LEAD and _class(text, p, classes) & SPACE_CLASS:
            flags[p : min(p + _size(text, p), len(text))] = _SPACE


@_compiled
def _cut_endings(text: _Text, flags: _Text, marks: _Marks, classes: _Classes, seen: int) -> None:
    """The rules that see the text between two spaces."""
    if seen & _APOSTROPHE:
        _pad_double_apostrophe(text, flags, marks)
    if seen & _QUOTE:
        _pad_kind(text, flags, marks, _QUOTE)
    if seen & _APOSTROPHE:
        _split_clitics(text, flags, marks)
        _split_long_clitics(text, flags, marks)
    if seen & (_APOSTROPHE | _LETTER):
        _split_contractions(text, flags, marks, classes)
    if seen & _APOSTROPHE:
        _split_apostrophe_t(text, flags, marks, _TIS, classes)
        _split_apostrophe_t(text, flags, marks, _TWAS, classes)


@_compiled
def _cut(text: _Text, flags: _Text, scratch: _Marks, classes: _Classes) -> None:
    """Run the rules in NLTK's order, those of them whose bytes occur."""
    seen, count = _scan(text, flags, scratch)
    marks = scratch[:count]
    if seen & _LEAD:
        _flag_wide_spaces(text, flags, marks, classes)
    if text[0] == _DOUBLE:  # ^\", which becomes ``
        flags[0] |= _CUT
        flags[1] |= _CUT
    if seen & _BACKTICK:
        _pad_run(text, flags, marks, _GRAVE, 2)
    if seen & (_QUOTE | _APOSTROPHE):
        _pad_opening_quote(text, flags, marks)
    if seen & _COMMA:
        _split_commas(text, flags, marks, classes)
    if seen & _DOT:
        _pad_run(text, flags, marks, _PERIOD, 3)
    if seen & _PAD:
        _pad_kind(text, flags, marks, _PAD)  # NLTK pads ? and ! after the final period, which is the same
    _split_final_period(text, flags)
    if seen & _APOSTROPHE:
        _split_spaced_apostrophe(text, flags, marks)
    if seen & _BRACKET:
        _pad_kind(text, flags, marks, _BRACKET)
    if seen & _DASH:
        _pad_run(text, flags, marks, _HYPHEN, 2)
    flags[0] |= _CUT
    flags[len(text)] |= _CUT
    _cut_endings(text, flags, marks, classes, seen)


@_compiled
def _write_bounds(flags: _Text, length: int, starts: _Marks, ends: _Marks, filled: int) -> int:
    """Append the runs of bytes without white space, parted at the cuts; without a branch, as the runs are short."""
    started, ended, outside = filled, filled, True
    for i in range(length):
        space, cut = flags[i] & _SPACE != 0, flags[i] & _CUT != 0
        starts[started] = i
        started += (outside or cut) and not space
        ends[ended] = i
        ended += (space or cut) and not outside
        outside = space
    if not outside:
        ends[ended] = length
    return started


@_compiled_and_cached
def treebank_tokens(
    data: _Text,
    offsets: NDArray[np.int32] | NDArray[np.int64],
    starts: _Marks,
    ends: _Marks,
    token_offsets: NDArray[np.int64],
    classes: _Classes,
) -> int:
    """Find the tokens of many texts; returns their number.

    Text i is data[offsets[i]:offsets[i + 1]], valid UTF-8 shorter than 2 GiB. Its tokens, in order and not empty, are
    bytes starts[t] to ends[t] of it, for t from token_offsets[i] to token_offsets[i + 1]. `starts` and `ends` with room
    for offsets[-1] - offsets[0] + 1 numbers are always large enough; `token_offsets` has as many as `offsets`.
    `classes` is (CLASS_PAGES, CLASS_VALUES) of csgen.characters.

    Differs from NLTK after a colon or comma in the decimal digits that are newer than those tables (2022 and later).
    """
    longest = 0
    for i in range(len(offsets) - 1):
        longest = max(longest, offsets[i + 1] - offsets[i])
    flags, scratch = np.empty(longest + 1, np.uint8), np.empty(longest + 1, np.int32)
    filled = 0
    token_offsets[0] = 0
    for i in range(len(offsets) - 1):
        text = data[offsets[i] : offsets[i + 1]]
        if len(text) > 0:
            _cut(text, flags, scratch, classes)
            filled = _write_bounds(flags, len(text), starts, ends, filled)
        token_offsets[i + 1] = filled
    return filled


def treebank_bounds(data: _Text, offsets: NDArray[np.int32], bounds: _Marks, bound_offsets: NDArray[np.int64]) -> None:
    """Find the tokens of many texts, in the layout of csgen.switching.tokens.word_bounds, with the same room."""
    treebank_tokens(data, offsets, bounds[0::2], bounds[1::2], bound_offsets, (CLASS_PAGES, CLASS_VALUES))
    bound_offsets *= 2
