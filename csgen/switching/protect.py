"""What is never switched, and the case of words: numbers, URLs, code, names; knows no lexicon."""

from typing import Any

import numpy as np

from csgen.characters import DIGIT, LOWER, SPACE, UPPER, WORD
from csgen.switching.lookup import Folding, fold_bytes
from csgen.switching.primitives import class_at, compiled, inlined, load_u64, natural, sequence_length

PROTECT_NUMBERS, PROTECT_URLS, PROTECT_CODE, PROTECT_NAMES = 1, 2, 4, 8

_BLANKS = np.uint64(1 << 32 | 0x1F << 9)  # bit b is set where byte b is ASCII white space

# The four writings of a translation.
AS_LISTED, TITLE, UPPER_CASE, LOWER_CASE = 0, 1, 2, 3


@inlined
def case_of(data: Any, start: int, end: int, folding: Folding) -> tuple[int, bool]:
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
def _is_blank(byte: int) -> bool:
    """ASCII white space."""
    return byte == 32 or 9 <= byte <= 13


@inlined
def _is_blank_bit(byte: int) -> bool:
    """The same as _is_blank, without branches."""
    return (byte < 64) & ((_BLANKS >> np.uint64(byte & 63)) & np.uint64(1) != np.uint64(0))


@inlined
def _is_plain(byte: int) -> bool:
    """An ASCII letter or digit."""
    return 48 <= byte <= 57 or 65 <= byte <= 90 or 97 <= byte <= 122


@inlined
def is_bare(data: Any, first: int, length: int, start: int, end: int) -> bool:
    """Whether blanks or the text's edge stand around a token, but for one comma or full stop: the quick common case.

    Without branches, since what follows a word cannot be predicted.
    """
    two = load_u64(data, first + end)
    following = np.int64(two & np.uint64(0xFF))
    stopped = (following == 44) | (following == 46)
    following = np.int64((two >> np.uint64(8)) & np.uint64(0xFF)) if stopped else following
    closed = (end + stopped >= length) | _is_blank_bit(following)
    return closed & (start == 0 or _is_blank_bit(np.int64(data[natural(first + start - 1)])))


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
def chunk_around(data: Any, first: int, length: int, start: int, end: int, folding: Folding) -> tuple[int, int]:
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
def is_protected(
    data: Any, first: int, start: int, chunk_kind: int, mixed: bool, protect: int, folding: Folding
) -> bool:
    """Whether `protect` keeps the words that begin at `start` as they are."""
    if chunk_kind & protect or (mixed and protect & PROTECT_CODE):
        return True
    if protect & PROTECT_NAMES and not _opens_sentence(data, first, start):
        return class_at(data, first + start, folding.class_pages, folding.class_values) & UPPER != 0
    return False


@inlined
def _has_digit(data: Any, start: int, end: int, folding: Folding) -> bool:
    at = start
    while at < end:
        if class_at(data, at, folding.class_pages, folding.class_values) & DIGIT:
            return True
        at += sequence_length(np.int64(data[at]))
    return False


@compiled
def list_tokens(
    data: Any, offsets: Any, bounds: Any, bound_offsets: Any, protect: int, folding: Folding,
    tokens: Any, token_offsets: Any, protected: Any,
) -> None:  # fmt: skip
    """Write the folded form of every token one behind the other, and whether the protection covers it as a single word.

    `tokens` needs room for twice the texts' bytes and SLACK, `token_offsets` for one number more than `protected`.
    """
    filled, t = 0, 0
    token_offsets[0] = 0
    for i in range(len(offsets) - 1):
        first, chunk_end, chunk_kind = np.int64(offsets[i]), 0, 0
        length = np.int64(offsets[i + 1]) - first
        for at in range(bound_offsets[i], bound_offsets[i + 1], 2):
            start, stop = np.int64(bounds[at]), np.int64(bounds[at + 1])
            written = fold_bytes(data, first + start, first + stop, tokens[filled:], folding)
            bare = is_bare(data, first, length, start, stop)
            if not bare and start >= chunk_end:
                chunk_end, chunk_kind = chunk_around(data, first, length, start, stop, folding)
            mixed = case_of(data, first + start, first + stop, folding)[1]
            guarded = is_protected(data, first, start, 0 if bare else chunk_kind, mixed, protect, folding)
            if protect & PROTECT_NUMBERS and not guarded:
                guarded = _has_digit(data, first + start, first + stop, folding)
            protected[t] = guarded
            filled += written
            t += 1
            token_offsets[t] = filled
