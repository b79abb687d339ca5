"""The draws: which language, which translation; all from counter-based hashes, so that nothing depends on order."""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from csgen.switching.lookup import HALF, NO_NODE, ZERO, TableArrays, bound_of, has, hash_bytes
from csgen.switching.primitives import compiled, inlined

_DRAWN_TOGETHER = 4  # bounds compared without a branch between; few words have more translations into one language

# How a translation is drawn.
BEST, WEIGHTED, UNIFORM, UNIFORM_WITH_SELF = 0, 1, 2, 3


class SideRule(NamedTuple):
    """What happens to one side of every pair."""

    languages: NDArray[np.int64]  # index in the table, or -1 for the source language (the text stays)
    cumulative: NDArray[np.uint64]  # the language draw's upper bounds, out of 2**32
    first_guess: NDArray[np.uint8]  # (256,): the language drawn by the lowest draw with these upper 8 of 32 bits
    threshold: np.uint64  # probability * 2**32
    salt: np.uint64
    per_text: int  # 1: one language drawn for the whole text; 0: one a token
    redraw: int  # 1: a word that the drawn language lacks draws again among those that have it
    translation: int
    lower: int  # 1: translations in lower case; 0: the token's case is carried over
    protect: int
    max_words: int
    separate: int  # 1: put a space where a translation would touch a word (tokens that abut)


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
def draw_language(rule: SideRule, draw: np.uint64) -> int:
    """The index of the drawn language among the side's; `draw` is uniform below 2**32."""
    chosen = np.int64(rule.first_guess[draw >> np.uint64(24)])
    while chosen < len(rule.cumulative) - 1 and draw >= rule.cumulative[chosen]:
        chosen += 1
    return chosen


@inlined
def draw_again(rule: SideRule, table: TableArrays, node: int, draw: np.uint64) -> int:
    """Draw among those of the side's languages that have the node; NO_NODE if none does.

    Without branches but for the loops, which take all languages: which have the node cannot be predicted.
    """
    total, below = ZERO, ZERO
    for k in range(len(rule.languages)):
        total += (rule.cumulative[k] - below) * _can_draw(rule, table, node, k)
        below = rule.cumulative[k]
    mark = (draw * total) >> HALF
    reached, below, chosen = ZERO, ZERO, 0
    for k in range(len(rule.languages)):
        reached += (rule.cumulative[k] - below) * _can_draw(rule, table, node, k)
        below = rule.cumulative[k]
        chosen += reached <= mark
    return chosen if total != ZERO else NO_NODE


@inlined
def _can_draw(rule: SideRule, table: TableArrays, node: int, k: int) -> np.uint64:
    """1 if the node has a translation into the side's k-th language, else 0."""
    language = rule.languages[k]
    return np.uint64((language >= 0) & has(table, node, max(language, 0)))


@inlined
def is_usable(rule: SideRule, table: TableArrays, node: int, language: int) -> bool:
    """Whether the node has a translation into the drawn language, or into any where a lacking one draws again."""
    if has(table, node, rule.languages[language]):
        return True
    if rule.redraw:
        for k in range(len(rule.languages)):
            if rule.languages[k] >= 0 and has(table, node, rule.languages[k]):
                return True
    return False


@inlined
def draw_target(rule: SideRule, table: TableArrays, first: int, last: int, draw: np.uint64) -> int:
    """The index of the drawn translation among targets[first:last]; NO_NODE: the word itself was drawn."""
    if rule.translation == BEST:
        return first
    if rule.translation == WEIGHTED:
        picked = first
        for begin in range(first, max(last - 1, first + 1), _DRAWN_TOGETHER):
            for target in range(begin, begin + _DRAWN_TOGETHER):
                bound = bound_of(table, min(target, last - 1))
                picked += (target < last - 1) & (draw >= bound)
        return picked
    count = last - first
    if rule.translation == UNIFORM:
        return first + np.int64((draw * np.uint64(count)) >> HALF)
    picked = np.int64((draw * np.uint64(count + 1)) >> HALF)
    return first + picked - 1 if picked else NO_NODE
