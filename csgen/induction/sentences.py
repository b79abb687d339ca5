"""Sentences of texts, and which of them translate each other, by their lengths (Gale and Church 1993).

https://aclanthology.org/J93-1004. Knows nothing of words: lengths are in characters.
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from csgen.induction.kernels import compiled
from csgen.segment import UNSPACED_LANGUAGES

_MAX_CELLS = 4_000_000  # of one text's table of sentence pairs; a larger text is left out
_VARIANCE = 6.8  # of a translation's length, per character of the original
_BREAK = "\x1e"
# (source sentences, target sentences, frequency)
_BEADS = np.array(
    [
        (1, 1, 0.89),
        (2, 1, 0.045),
        (1, 2, 0.045),
        (2, 2, 0.01),
        (1, 0, 0.005),
        (0, 1, 0.005),
        (3, 1, 0.002),
        (1, 3, 0.002),
    ]
)


@dataclass(frozen=True)
class Sentences:
    """The sentences of a column of texts, in order."""

    sentences: pl.Series
    text: NDArray[np.int64]  # row number of each sentence's text
    line: NDArray[np.int64]  # number of its line among the text's lines that are not blank
    length: NDArray[np.int64]  # in characters

    @classmethod
    def split(cls, texts: pl.Series, language: str) -> "Sentences":
        """Split texts at line ends, and behind full stops, question and exclamation marks."""
        frame = pl.DataFrame({"sentence": texts.cast(pl.String)}).with_row_index("text")
        frame = frame.with_columns(pl.col("sentence").str.replace_all(_BREAK, " ", literal=True).str.split("\n"))
        frame = _explode(frame).with_columns(line=pl.int_range(pl.len()).over("text"))
        if language in UNSPACED_LANGUAGES:
            broken = pl.col("sentence").str.replace_all(r"([。！？]+[」』）]*)", f"${{1}}{_BREAK}")
        else:  # behind two letters at least: there is no end after "e.g." or an initial
            end = r"""([\p{L}\p{N})\]"'»”]{2}[.!?…]+["')\]»”]*)\s+"""
            broken = pl.col("sentence").str.replace_all(end, f"${{1}}{_BREAK}")
        frame = _explode(frame.with_columns(broken.str.split(_BREAK)))
        lengths = frame["sentence"].str.len_chars()
        text, line, length = (column.cast(pl.Int64).to_numpy() for column in (frame["text"], frame["line"], lengths))
        return cls(frame["sentence"], text, line, length)


def _explode(frame: pl.DataFrame) -> pl.DataFrame:
    exploded = frame.explode("sentence").with_columns(pl.col("sentence").str.strip_chars())
    return exploded.filter(pl.col("sentence") != "")


def pair_sentences(source: Sentences, target: Sentences) -> NDArray[np.int64]:
    """Sentence ranges that translate each other, (pairs, 4): source start, source end, target start, target end.

    Lines are paired one by one in texts that have as many on both sides. Sentences without a counterpart are left out.
    """
    groups = _group(source, target)
    ratio = max(1, int(target.length.sum())) / max(1, int(source.length.sum()))
    costs = -np.log(_BEADS[:, 2])
    room = np.zeros((min(len(source.text), len(target.text)) + 1, 4), np.int64)
    filled = _pair_groups(groups, source.length, target.length, ratio, _BEADS[:, :2].astype(np.int64), costs, room)
    return room[:filled]


def _group(source: Sentences, target: Sentences) -> NDArray[np.int64]:
    """Sentence ranges within which pairs are sought, (groups, 4): lines where both texts have as many, else texts."""
    rows = int(max(source.text.max(initial=-1), target.text.max(initial=-1))) + 1
    numbers = [np.zeros(rows, np.int64), np.zeros(rows, np.int64)]
    for side, lines in zip((source, target), numbers, strict=True):
        np.maximum.at(lines, side.text, side.line + 1)
    anchored = numbers[0] == numbers[1]
    width = int(max(numbers[0].max(initial=0), 1))
    starts, ends, keys = [], [], []
    for side in (source, target):
        key, start, size = np.unique(
            side.text * width + np.where(anchored[side.text], side.line, 0), return_index=True, return_counts=True
        )
        keys.append(key)
        starts.append(start)
        ends.append(start + size)
    _, left, right = np.intersect1d(keys[0], keys[1], assume_unique=True, return_indices=True)
    return np.stack([starts[0][left], ends[0][left], starts[1][right], ends[1][right]], axis=1).astype(np.int64)


@compiled
def _length_cost(source: float, target: float, ratio: float) -> float:
    """-log of the probability that lengths differ as much, were one the other's translation."""
    mean = (source + target / ratio) / 2.0
    distance = abs(target - source * ratio) / math.sqrt(max(1.0, mean) * _VARIANCE)
    return -math.log(max(1e-30, math.erfc(distance / math.sqrt(2.0))))


@compiled
def _pair_groups(groups: Any, source: Any, target: Any, ratio: float, beads: Any, costs: Any, pairs: Any) -> int:
    filled = 0
    for g in range(len(groups)):
        a, b, c, d = groups[g]
        n, m = b - a, d - c
        if n == 1 and m == 1:
            pairs[filled] = groups[g]
            filled += 1
            continue
        if (n + 1) * (m + 1) > _MAX_CELLS:
            continue
        best, step = np.full((n + 1, m + 1), np.inf), np.zeros((n + 1, m + 1), np.int8)
        best[0, 0] = 0.0
        for i in range(n + 1):
            for j in range(m + 1):
                for k in range(len(beads)):
                    p, q = beads[k]
                    if i < p or j < q or best[i - p, j - q] == np.inf:
                        continue
                    x = source[a + i - p : a + i].sum()
                    y = target[c + j - q : c + j].sum()
                    cost = best[i - p, j - q] + costs[k] + _length_cost(x, y, ratio)
                    if cost < best[i, j]:
                        best[i, j], step[i, j] = cost, k
        i, j, first = n, m, filled
        while i > 0 or j > 0:
            p, q = beads[step[i, j]]
            if p > 0 and q > 0:
                pairs[filled, 0], pairs[filled, 1], pairs[filled, 2], pairs[filled, 3] = (
                    a + i - p,
                    a + i,
                    c + j - q,
                    c + j,
                )
                filled += 1
            i, j = i - p, j - q
        pairs[first:filled] = pairs[first:filled][::-1].copy()
    return filled
