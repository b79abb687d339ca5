"""Precision and coverage of lexicons against a gold dictionary. Words meet letter case aside; knows no files.

A gold dictionary is a frame of `key, target_key`; a lexicon has `rank` besides: 1 for a word's first translation.
"""

from dataclasses import dataclass
from math import sqrt

import polars as pl

from csgen.lexicon.entries import fold_column

PAIR = ["key", "target_key"]


@dataclass(frozen=True)
class Score:
    """Shares in [0, 1]."""

    words: int  # that lexicon and gold share
    coverage: float  # of the gold's words
    precision_1: float  # words whose first translation is one of the gold's
    precision_5: float  # words of whose first five one is


def fold_pairs(pairs: pl.DataFrame, *, spaced: bool) -> pl.DataFrame:
    """`key, target_key` besides the other columns; blanks in targets do not count where the script has none."""
    targets = pairs["target"] if spaced else pairs["target"].str.replace_all(r"\s", "")
    return pairs.with_columns(key=fold_column(pairs["source"]), target_key=fold_column(targets))


def rank_targets(lexicon: pl.DataFrame) -> pl.DataFrame:
    """Translations that differ in letter case alone are one, in the place of the first."""
    ordered = lexicon.sort("key", "rank").unique(PAIR, keep="first", maintain_order=True)
    return ordered.with_columns(rank=pl.int_range(1, pl.len() + 1).over("key"))


def without_identical(pairs: pl.DataFrame) -> pl.DataFrame:
    return pairs.filter(pl.col("key") != pl.col("target_key"))


def judge(lexicon: pl.DataFrame, gold: pl.DataFrame) -> pl.DataFrame:
    """`key, hit_1, hit_5` of each word that both have."""
    known = gold.select(PAIR).unique().with_columns(right=pl.lit(True))
    shared = rank_targets(lexicon).join(gold.select("key").unique(), on="key", how="semi")
    judged = shared.join(known, on=PAIR, how="left").with_columns(pl.col("right").fill_null(False))
    hits = [(pl.col("right") & (pl.col("rank") <= k)).any().alias(f"hit_{k}") for k in (1, 5)]
    return judged.group_by("key").agg(hits).sort("key")


def score(judged: pl.DataFrame, gold: pl.DataFrame) -> Score:
    words = len(judged)
    hits = (judged["hit_1"].sum(), judged["hit_5"].sum())
    return Score(words, words / gold["key"].n_unique(), *(number / max(1, words) for number in hits))


@dataclass(frozen=True)
class Difference:
    """Two lexicons over the same number of words; shares in [0, 1], the difference with its standard error."""

    words: int
    one: Score
    other: Score
    error: float  # of the difference in precision_1: paired where the words are the same, else as of two samples


def compare_shared(one: pl.DataFrame, other: pl.DataFrame, gold: pl.DataFrame) -> Difference:
    """Over the words that both judged lexicons have."""
    both = one.join(other, on="key", suffix="_other").sort("key")
    sides = both.select("key", "hit_1", "hit_5"), both.select("key", hit_1="hit_1_other", hit_5="hit_5_other")
    difference = both["hit_1"].cast(pl.Float64) - both["hit_1_other"].cast(pl.Float64)
    deviation = difference.std()
    error = (deviation if isinstance(deviation, float) else 0.0) / sqrt(max(1, len(both)))
    return Difference(len(both), score(sides[0], gold), score(sides[1], gold), error)


def compare_best(
    one: pl.DataFrame, other: pl.DataFrame, gold: pl.DataFrame, share: float, confidences: tuple[pl.DataFrame, ...]
) -> Difference:
    """Each cut to the same number of its own words, a share of the smaller's: those of most `confidence` by `key`."""
    number = int(share * min(len(one), len(other)))
    sides = [
        judged.join(confidence, on="key").sort("confidence", "key", descending=[True, False]).head(number)
        for judged, confidence in zip((one, other), confidences, strict=True)
    ]
    scores = [score(side, gold) for side in sides]
    variance = sum(s.precision_1 * (1 - s.precision_1) / max(1, number) for s in scores)
    return Difference(number, scores[0], scores[1], sqrt(variance))
