"""Merging: the pairs of any number of sources become one entry for each word, language and translation.

Knows no files. A source's weights are normalised within a word and a pair of languages; an entry's weight is the mean
over the sources that have the word, so that a source that repeats itself counts no more than another.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from csgen.lexicon.entries import fold_column

PAIR = ["source_language", "target_language"]
# What a source brings: cleaned pairs in the order in which it lists them, `key` being the folded source.
PART_COLUMNS = ["key", "source", *PAIR, "target", "weight", "origin", "licence"]
MERGED_COLUMNS = ["key", "source", *PAIR, "target", "weight", "rank", "origin", "licence"]
JOINT = "; "  # between the origins of an entry, and between their licences
NUM_EXAMPLES = 3

_NAMES = [*PAIR, "origin", "licence"]  # columns of few distinct values


@dataclass(frozen=True)
class Merged:
    """What merging gives."""

    entries: pl.DataFrame  # MERGED_COLUMNS, those of few values as Enum; by languages, key and rank
    joined: int  # entries that another source had given before
    conflicts: dict[str, int]  # words whose translations two sources do not share, by pair of languages
    examples: dict[str, list[str]]  # some of them, by pair of languages


def join_duplicates(pairs: pl.DataFrame) -> pl.DataFrame:
    """The pairs of one source with those of equal key, target and languages joined into the first, weights added."""
    pair = [name for name in ("key", "target", "target_language") if name in pairs.columns]
    return pairs.with_columns(pl.col("weight").sum().over(pair)).unique(pair, keep="first", maintain_order=True)


def merge_parts(parts: Sequence[tuple[str, pl.DataFrame]]) -> Merged:
    """Merge the sources, each a name and its pairs (PART_COLUMNS) without duplicates; one at least.

    The order in which sources are given does not matter: they count as listed by name. The first listing of an entry
    gives its source's letter case. `rank` counts a word's translations from 1, by weight, then by first listing.
    """
    named = sorted(parts, key=lambda part: part[0])
    rows = _stack([frame for _, frame in named])
    word, share = _words(rows), _shares(rows)
    rows = rows.with_columns(word=word, row=pl.int_range(pl.len()))
    first = rows.select(pl.col("row").min().over("word", "target")).to_series().to_numpy()
    is_first = first == np.arange(len(first))
    weight = np.bincount(first, weights=share, minlength=len(first))[is_first]
    entries = rows.filter(pl.Series(is_first)).with_columns(weight=weight)
    if len(entries) < len(rows):
        origins = _join_origins(rows, first)
        entries = entries.with_columns(first=first[is_first]).drop("origin", "licence").join(
            origins, on="first", how="left", maintain_order="left"
        )  # fmt: skip
    conflicts, examples = _count_conflicts(rows, [name for name, _ in named])
    return Merged(_rank(entries), len(rows) - len(entries), conflicts, examples)


def _stack(frames: Sequence[pl.DataFrame]) -> pl.DataFrame:
    """All rows with `part`, the number of their source, ordered by languages, key and part; in a part as listed."""
    enums = {name: _enum(frames, name) for name in _NAMES}
    stacked = pl.concat(
        [
            frame.select(PART_COLUMNS).with_columns(
                *(pl.col(name).cast(pl.String).cast(enum) for name, enum in enums.items()), part=pl.lit(k, pl.UInt16)
            )
            for k, frame in enumerate(frames)
        ]
    )
    return stacked.sort(*PAIR, "key", maintain_order=True)


def _enum(frames: Iterable[pl.DataFrame], name: str) -> pl.Enum:
    found = {value for frame in frames for value in frame[name].cast(pl.String).unique()}
    return pl.Enum(sorted(found))


def _changes(rows: pl.DataFrame, columns: Sequence[str]) -> NDArray[np.bool_]:
    """Whether a row differs from the one before it; the first does."""
    differs = pl.any_horizontal(pl.col(name) != pl.col(name).shift(1) for name in columns)
    changed: NDArray[np.bool_] = rows.select(differs.fill_null(True)).to_series().to_numpy()
    return changed


def _words(rows: pl.DataFrame) -> NDArray[np.uint32]:
    """The number of each row's word, the languages being part of what a word is."""
    return (np.cumsum(_changes(rows, [*PAIR, "key"])) - 1).astype(np.uint32)


def _shares(rows: pl.DataFrame) -> NDArray[np.float64]:
    """Each row's share in its word: of its source's weights, then of the sources that have the word."""
    new_word = _changes(rows, [*PAIR, "key"])
    new_run = new_word | _changes(rows, ["part"])
    starts, run = np.flatnonzero(new_run), np.cumsum(new_run) - 1
    weights = rows["weight"].to_numpy()
    sums = np.add.reduceat(weights, starts) if len(weights) else weights
    runs_in_word = np.bincount(np.cumsum(new_word)[starts] - 1)
    share: NDArray[np.float64] = weights / sums[run] / runs_in_word[np.cumsum(new_word) - 1]
    return share


def _join_origins(rows: pl.DataFrame, first: NDArray[np.int64]) -> pl.DataFrame:
    """`origin` and `licence` of each `first`: those of all its rows, each origin once, in the order of their names."""
    units = rows.select("origin", "licence").with_columns(first=first).unique().sort("first", "origin", "licence")
    names = pl.col("origin", "licence").cast(pl.String)
    several = pl.len().over("first") > 1
    joined = units.filter(several).group_by("first", maintain_order=True).agg(names.str.join(JOINT))
    merged = pl.concat([units.filter(~several).select("first", names), joined])
    combinations = merged.select("origin", "licence").unique()
    ordered = pl.DataFrame(
        [(*pair, *_order_origins(*pair)) for pair in combinations.iter_rows()],
        schema=dict.fromkeys(["origin", "licence", "origins", "licences"], pl.String),
        orient="row",
    )
    kinds = [pl.col(name).cast(pl.Enum(ordered[name].unique().sort())) for name in ("origins", "licences")]
    found = merged.join(ordered.with_columns(kinds), on=["origin", "licence"], how="left")
    return found.select("first", origin="origins", licence="licences")


def _order_origins(origin: str, licence: str) -> tuple[str, str]:
    """Joined origins and licences, where some are joined ones themselves, each once and in order."""
    each = sorted({*zip(origin.split(JOINT), licence.split(JOINT), strict=True)})
    return JOINT.join(name for name, _ in each), JOINT.join(name for _, name in each)


def _rank(entries: pl.DataFrame) -> pl.DataFrame:
    """A word's entries by falling weight, else as they stand, with `rank`."""
    word = entries["word"].to_numpy()
    order = np.lexsort((-entries["weight"].to_numpy(), word))
    starts = np.flatnonzero(np.diff(word, prepend=word[:1] + 1)) if len(word) else word
    rank = np.arange(len(word)) - np.repeat(starts, np.diff(starts, append=len(word))) + 1
    return entries[order].with_columns(rank=pl.Series(rank, dtype=pl.Int32)).select(MERGED_COLUMNS)


def _count_conflicts(rows: pl.DataFrame, names: Sequence[str]) -> tuple[dict[str, int], dict[str, list[str]]]:
    """Words of which two sources share no translation, letter case aside: number and examples by pair of languages."""
    shared = rows.filter((pl.col("part").min() != pl.col("part").max()).over("word"))
    if shared.is_empty():
        return {}, {}
    shared = shared.with_columns(target_key=fold_column(shared["target"]))
    given = shared.select("word", "part", "target_key").unique()
    met = given.join(given, on=["word", "target_key"]).filter(pl.col("part") < pl.col("part_right"))
    agreeing = met.select("word", "part", "part_right").unique().group_by("word").agg(agreeing=pl.len())
    sources = given.group_by("word").agg(sources=pl.col("part").n_unique().cast(pl.Int64))
    counted = sources.join(agreeing, on="word", how="left").with_columns(pl.col("agreeing").fill_null(0))
    most = pl.col("sources") * (pl.col("sources") - 1) // 2
    split = counted.filter(pl.col("agreeing") < most).select("word").sort("word")
    words = shared.select("word", *PAIR).unique().join(split, on="word").sort("word")
    counts, examples = {}, {}
    for (source, target), part in words.group_by(PAIR, maintain_order=True):
        pair = f"{source}-{target}"
        counts[pair] = len(part)
        chosen = part["word"].gather(np.arange(min(NUM_EXAMPLES, len(part))) * len(part) // NUM_EXAMPLES)
        examples[pair] = [
            _show_conflict(shared.filter(pl.col("word") == word), names) for word in chosen.unique().sort()
        ]
    return counts, examples


def _show_conflict(rows: pl.DataFrame, names: Sequence[str]) -> str:
    given = rows.group_by("part", maintain_order=True).agg(pl.col("target"))
    told = [f"{', '.join(targets[:NUM_EXAMPLES])} ({names[part]})" for part, targets in given.iter_rows()]
    return f"{rows['source'][0]}: {' | '.join(told)}"
