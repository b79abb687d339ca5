"""Merging: the pairs of any number of sources become one entry for each word, language and translation.

Knows no files. A source's weights are normalised within a word and a pair of languages; an entry's weight is the mean
over the sources that have the word, so that a source that repeats itself counts no more than another.
"""

from collections.abc import Iterable, Iterator, Sequence
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

_SLICE_ROWS = 1 << 20
_MASK = (1 << 64) - 1
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
    pair = [name for name in ("key", "target", *PAIR) if name in pairs.columns]
    return pairs.with_columns(pl.col("weight").sum().over(pair)).unique(pair, keep="first", maintain_order=True)


def merge_parts(parts: Sequence[tuple[str, pl.DataFrame]]) -> Merged:
    """Merge the sources, each a name and its pairs (PART_COLUMNS); one at least.

    What a source lists twice is joined as what two of them give, with all its origins, and its weights are added.

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
    entries = entries.with_columns(_join_origins(rows, entries, first))
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


def _join_origins(rows: pl.DataFrame, entries: pl.DataFrame, first: NDArray[np.int64]) -> list[pl.Series]:
    """`origin` and `licence` of the entries: those of all rows that have it, each origin once, ordered by name.

    `first`: for each row the row that became its entry.
    """
    several = pl.Series(np.bincount(first, minlength=len(first))[first] > 1)
    kinds, units = _mark_origins(rows)
    marks = [name for name in kinds.columns if name not in ("origin", "licence")]
    given = rows.select("origin", "licence").with_columns(row=first).filter(several)
    joined = given.join(kinds, on=["origin", "licence"]).group_by("row").agg(pl.col(marks).bitwise_or())
    sets = joined.select(marks).unique()
    named = [_name_origins(bits, units) for bits in sets.iter_rows()]
    ordered = sets.with_columns(
        joined_origin=pl.Series([origin for origin, _ in named], dtype=pl.String),
        joined_licence=pl.Series([licence for _, licence in named], dtype=pl.String),
    )
    found = joined.join(ordered, on=marks).drop(marks)
    columns = []
    for name in ("origin", "licence"):
        names = pl.Enum(sorted({*ordered[f"joined_{name}"], *rows[name].unique().cast(pl.String)}))
        own = entries.select("row", pl.col(name).cast(names))
        patch = found.select("row", pl.col(f"joined_{name}").cast(names))
        both = own.join(patch, on="row", how="left", maintain_order="left")
        columns.append(both.select(pl.coalesce(f"joined_{name}", name).alias(name)).to_series())
    return columns


def _mark_origins(rows: pl.DataFrame) -> tuple[pl.DataFrame, list[tuple[str, str]]]:
    """A bit for each origin and its licence: `origin`, `licence` and their bits in columns of 64; what each bit means.

    Those that were joined by an earlier merge have a bit for each of their origins.
    """
    kinds = rows.select("origin", "licence").unique()
    parts = [split_origins(*kind) for kind in kinds.iter_rows()]
    units = sorted({unit for units in parts for unit in units})
    places = {unit: place for place, unit in enumerate(units)}
    marks = [sum(1 << places[unit] for unit in {*units}) for units in parts]
    columns = [
        pl.Series(f"bits{low}", [mark >> low & _MASK for mark in marks], dtype=pl.UInt64)
        for low in range(0, len(units), 64)
    ]
    return kinds.with_columns(columns), units


def split_origins(origin: str, licence: str) -> list[tuple[str, str]]:
    """The joined origins of an entry, each with its licence; as one where the licences do not go with the origins."""
    origins, licences = origin.split(JOINT), licence.split(JOINT)
    if len(origins) != len(licences):
        return [(origin.replace(JOINT, ", "), licence.replace(JOINT, ", "))]
    return list(zip(origins, licences, strict=True))


def _name_origins(bits: tuple[int, ...], units: list[tuple[str, str]]) -> tuple[str, str]:
    """The joined origins and licences that a set of bits stands for."""
    chosen = [unit for place, unit in enumerate(units) if bits[place // 64] >> place % 64 & 1]
    return JOINT.join(origin for origin, _ in chosen), JOINT.join(licence for _, licence in chosen)


def _rank(entries: pl.DataFrame) -> pl.DataFrame:
    """A word's entries by falling weight, else as they stand, with `rank`."""
    word = entries["word"].to_numpy()
    order = np.lexsort((-entries["weight"].to_numpy(), word))
    starts = np.flatnonzero(np.diff(word, prepend=word[:1] + 1)) if len(word) else word
    rank = np.arange(len(word)) - np.repeat(starts, np.diff(starts, append=len(word))) + 1
    return entries[order].with_columns(rank=pl.Series(rank, dtype=pl.Int32)).select(MERGED_COLUMNS)


def _count_conflicts(rows: pl.DataFrame, names: Sequence[str]) -> tuple[dict[str, int], dict[str, list[str]]]:
    """Words of which two sources share no translation, letter case aside: number and examples by pair of languages."""
    word = rows["word"].to_numpy()
    found = np.concatenate([_conflicting_words(part) for part in _slices(rows, word)])
    starts, ends = np.searchsorted(word, found), np.searchsorted(word, found, side="right")
    where = rows[starts].select(PAIR).with_columns(start=starts, end=ends)
    counts, examples = {}, {}
    for (source, target), part in where.group_by(PAIR, maintain_order=True):
        pair = f"{source}-{target}"
        counts[pair] = len(part)
        chosen = part.gather_every(-(-len(part) // NUM_EXAMPLES))
        examples[pair] = [
            _show_conflict(rows[start:end], names) for start, end in chosen.select("start", "end").iter_rows()
        ]
    return counts, examples


def _slices(rows: pl.DataFrame, word: NDArray[np.uint32]) -> Iterator[pl.DataFrame]:
    """The rows in slices of about _SLICE_ROWS, words whole, to bound the memory for what is derived from them."""
    start = 0
    while start < len(rows):
        last = min(start + _SLICE_ROWS, len(rows)) - 1
        end = int(np.searchsorted(word, word[last], side="right"))
        yield rows[start:end]
        start = end


def _conflicting_words(rows: pl.DataFrame) -> NDArray[np.uint32]:
    """The numbers, growing, of the words of which two sources share no translation."""
    shared = rows.filter((pl.col("part").min() != pl.col("part").max()).over("word"))
    shared = shared.select("word", "part", target_key=fold_column(shared["target"]))
    given = shared.unique()
    met = given.join(given, on=["word", "target_key"]).filter(pl.col("part") < pl.col("part_right"))
    agreeing = met.select("word", "part", "part_right").unique().group_by("word").agg(agreeing=pl.len())
    sources = given.group_by("word").agg(sources=pl.col("part").n_unique().cast(pl.Int64))
    counted = sources.join(agreeing, on="word", how="left").with_columns(pl.col("agreeing").fill_null(0))
    most = pl.col("sources") * (pl.col("sources") - 1) // 2
    found: NDArray[np.uint32] = counted.filter(pl.col("agreeing") < most)["word"].sort().to_numpy()
    return found


def _show_conflict(rows: pl.DataFrame, names: Sequence[str]) -> str:
    given = rows.group_by("part", maintain_order=True).agg(pl.col("target"))
    told = [f"{', '.join(targets[:NUM_EXAMPLES])} ({names[part]})" for part, targets in given.iter_rows()]
    return f"{rows['source'][0]}: {' | '.join(told)}"
