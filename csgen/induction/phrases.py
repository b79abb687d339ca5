"""Lexicons from links of both directions: the links made one, phrases consistent with them, probabilities, filters.

Phrase extraction after Koehn, Och and Marcu 2003 (https://aclanthology.org/N03-1017), except that phrases begin and
end with linked words. Knows no aligner.
"""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray

from csgen.errors import InputError
from csgen.induction.aligner import Links
from csgen.induction.kernels import compiled
from csgen.induction.parallel import ELIDING_LANGUAGES, Bitext, Side
from csgen.segment import UNSPACED_LANGUAGES

MAX_WORDS = 3

Symmetrisation = Literal["intersection", "grow-diag-final-and"]

_SOURCE = ["s0", "s1", "s2"]
_TARGET = ["t0", "t1", "t2"]
_BLOCK_TOKENS = 4_000_000  # source words whose phrases are collected before they are counted


@dataclass(frozen=True)
class LexiconOptions:
    """What becomes an entry. Counts are of sentence-pair occurrences whose links are consistent."""

    symmetrisation: Symmetrisation = "grow-diag-final-and"
    max_words: int = MAX_WORDS  # of a phrase, on either side, 1 to 3
    min_count: int = 1  # of a word and its translation
    min_phrase_count: int = 2  # of a phrase of several words and its translation
    min_probability: float = 0.05  # of the translation, after the discount
    discount: float = 0.5  # taken off every count: seen once in two is worth less than fifty times in a hundred
    max_translations: int = 10  # of a word or phrase, the likeliest first

    def __post_init__(self) -> None:
        if not 1 <= self.max_words <= MAX_WORDS:
            raise InputError(f"max_words must be 1 to {MAX_WORDS}, got {self.max_words}")
        if not 0 <= self.discount < 1:
            raise InputError(f"discount must be in [0, 1), got {self.discount}")


def extract_lexicon(bitext: Bitext, links: Links, options: LexiconOptions | None = None) -> pl.DataFrame:
    """Words and phrases with their translations: `line, source, target, weight, count`, sources in order of frequency.

    `weight` is p(target | source), the greatest first; `line` numbers the rows from 1.
    """
    options = options or LexiconOptions()
    counted = _count_phrases(bitext, links, options)
    kept = _choose(counted, options)
    frame = kept.with_columns(
        source=_join_words(kept.select(_SOURCE), bitext.source), target=_join_words(kept.select(_TARGET), bitext.target)
    )
    cut_off = (pl.col("t1") >= 0) & pl.col("target").str.contains(r"['\u2019]$")  # "image d'"
    ordered = frame.filter(~cut_off).sort(
        "source_count", "source", "weight", "count", "target", descending=[True, False, True, True, False]
    )
    lines = pl.int_range(1, pl.len() + 1, dtype=pl.Int64)
    return ordered.select(lines.alias("line"), "source", "target", "weight", "count")


def _count_phrases(bitext: Bitext, links: Links, options: LexiconOptions) -> pl.DataFrame:
    """`count` of each pair of phrases (numbers of words, -1 behind the last)."""
    source, target = bitext.source, bitext.target
    columns = [*_SOURCE, *_TARGET]
    parts = [pl.DataFrame(schema=dict.fromkeys(columns, pl.Int32) | {"count": pl.Int64})]
    for start, end in _blocks(source.offsets):
        room = np.full((options.max_words * int(source.offsets[end] - source.offsets[start]), 6), -1, np.int32)
        grow = options.symmetrisation == "grow-diag-final-and"
        filled = _extract(
            *(source.tokens, source.offsets, target.tokens, target.offsets, links.forward, links.backward),
            *(start, end, grow, options.max_words, room),
        )
        phrases = pl.DataFrame(room[:filled], schema=columns)
        parts.append(phrases.group_by(columns).agg(pl.len().cast(pl.Int64).alias("count")))
    return pl.concat(parts).group_by(columns).agg(pl.col("count").sum())


def _blocks(offsets: NDArray[np.int64]) -> list[tuple[int, int]]:
    if len(offsets) == 1:
        return []
    numbers = offsets[:-1] // _BLOCK_TOKENS
    starts = np.flatnonzero(np.diff(numbers, prepend=-1)).tolist()
    return list(zip(starts, [*starts[1:], len(offsets) - 1], strict=True))


def _choose(counted: pl.DataFrame, options: LexiconOptions) -> pl.DataFrame:
    single = (pl.col("s1") < 0) & (pl.col("t1") < 0)
    weighed = counted.with_columns(source_count=pl.col("count").sum().over(_SOURCE)).with_columns(
        weight=(pl.col("count") - options.discount) / pl.col("source_count")
    )
    enough = pl.col("count") >= pl.when(single).then(options.min_count).otherwise(options.min_phrase_count)
    likely = weighed.filter(enough & (pl.col("weight") >= options.min_probability))
    order = pl.struct(pl.col("count") * -1, *_TARGET).rank("ordinal").over(_SOURCE)
    return likely.filter(order <= options.max_translations)


def _join_words(numbers: pl.DataFrame, side: Side) -> pl.Series:
    """The phrases as texts."""
    surfaces = side.surfaces
    words = [surfaces.gather(numbers[name].replace(-1, None)).alias(name) for name in numbers.columns]
    separator = "" if side.language in UNSPACED_LANGUAGES else " "
    texts = pl.DataFrame(words).select(pl.concat_str(pl.all(), separator=separator, ignore_nulls=True)).to_series()
    if side.language in ELIDING_LANGUAGES:
        texts = texts.str.replace_all(r"(['\u2019]) ", "$1")
    return texts


@compiled
def _extract(
    source: Any,
    source_offsets: Any,
    target: Any,
    target_offsets: Any,
    forward: Any,
    backward: Any,
    start: int,
    end: int,
    grow: bool,
    max_words: int,
    phrases: Any,
) -> int:
    filled = 0
    for k in range(start, end):
        a, b, c, d = source_offsets[k], source_offsets[k + 1], target_offsets[k], target_offsets[k + 1]
        links = _symmetrise(forward[c:d], backward[a:b], grow)
        filled = _extract_pair(source[a:b], target[c:d], links, max_words, phrases, filled)
    return filled


@compiled
def _symmetrise(forward: Any, backward: Any, grow: bool) -> Any:
    """The links of a sentence pair as a table (source words, target words)."""
    n, m = len(backward), len(forward)
    links, union = np.zeros((n, m), np.bool_), np.zeros((n, m), np.bool_)
    rows, columns = np.zeros(n, np.bool_), np.zeros(m, np.bool_)
    for j in range(m):
        i = forward[j]
        if i >= 0:
            union[i, j] = True
            if backward[i] == j:
                links[i, j] = rows[i] = columns[j] = True
    if not grow:
        return links
    for i in range(n):
        if backward[i] >= 0:
            union[i, backward[i]] = True
    _grow(links, union, rows, columns)
    for j in range(m):  # final-and: words that neither side has linked so far
        i = forward[j]
        if i >= 0 and not rows[i] and not columns[j]:
            links[i, j] = rows[i] = columns[j] = True
    for i in range(n):
        j = backward[i]
        if j >= 0 and not rows[i] and not columns[j]:
            links[i, j] = rows[i] = columns[j] = True
    return links


@compiled
def _grow(links: Any, union: Any, rows: Any, columns: Any) -> None:
    """Add links of the union beside links, diagonally too, while one of their words has none."""
    n, m = links.shape
    added = True
    while added:
        added = False
        for i in range(n):
            for j in range(m):
                if not links[i, j]:
                    continue
                for x in range(max(0, i - 1), min(n, i + 2)):
                    for y in range(max(0, j - 1), min(m, j + 2)):
                        if union[x, y] and not links[x, y] and not (rows[x] and columns[y]):
                            links[x, y] = rows[x] = columns[y] = added = True


@compiled
def _extract_pair(source: Any, target: Any, links: Any, max_words: int, phrases: Any, filled: int) -> int:
    """Write each pair of phrases whose words are linked to each other alone; returns the new end of `phrases`."""
    n, m = links.shape
    low, high = np.full(n, m, np.int64), np.full(n, -1, np.int64)
    for i in range(n):
        for j in range(m):
            if links[i, j]:
                low[i], high[i] = min(low[i], j), j
    for i in range(n):
        first, last = m, -1
        for x in range(i, min(n, i + max_words)):
            first, last = min(first, low[x]), max(last, high[x])
            if high[i] < 0 or high[x] < 0 or last - first >= max_words:
                continue
            if links[:i, first : last + 1].any() or links[x + 1 :, first : last + 1].any():
                continue
            phrases[filled, : x - i + 1] = source[i : x + 1]
            phrases[filled, 3 : 4 + last - first] = target[first : last + 1]
            filled += 1
    return filled
