"""What a lexicon holds, in numbers: words and entries by language and origin, ambiguity, licences, coverage."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import polars as pl
import pyarrow as pa

from csgen.files import exists, join
from csgen.lexicon.coverage import coverage
from csgen.lexicon.entries import fold_column, read_entries
from csgen.lexicon.filters import judge_licence
from csgen.lexicon.lemmas import INFLECTED_NAME
from csgen.lexicon.merge import JOINT, PAIR
from csgen.lexicon.table import read_table
from csgen.planning import count_tokens
from csgen.switching.policy import Policy
from csgen.switching.switcher import Switcher

AMBIGUITY = {"1": 1, "2": 2, "3-5": 5, "6+": None}  # translations of a word, up to and including
LISTED, INFLECTED = "entries", "with inflected forms"


@dataclass(frozen=True)
class LexiconStats:
    """All are frames in a fixed order; those by language have source_language and target_language first."""

    languages: pl.DataFrame  # words, entries, mean_translations, and inflected: forms added, null where there are none
    ambiguity: pl.DataFrame  # translations (a bin of AMBIGUITY), words
    phrases: pl.DataFrame  # num_words, words: sources of so many words
    origins: pl.DataFrame  # origin, entries; an entry of two origins counts for each
    licences: pl.DataFrame  # licence, entries, commercial
    commercial_entries: int  # that at least one licence allows to be used commercially
    coverage: pl.DataFrame | None  # forms (LISTED or INFLECTED) and csgen.lexicon.coverage.coverage's columns

    def to_json(self) -> dict[str, Any]:
        frames = {name: value.to_dicts() for name, value in vars(self).items() if isinstance(value, pl.DataFrame)}
        return frames | {"commercial_entries": self.commercial_entries}


def measure_lexicon(folder: str, batches: list[pa.RecordBatch] | None, source_language: str) -> LexiconStats:
    """The statistics of a lexicon, with its coverage of these pairs' words if there are any."""
    entries = read_entries(folder)
    has_forms = exists(join(folder, INFLECTED_NAME))
    forms = read_entries(folder, INFLECTED_NAME) if has_forms else None
    words = _count_words(entries)
    licences, commercial = _count_licences(entries)
    return LexiconStats(
        _count_languages(words, forms),
        _count_ambiguity(words),
        words.group_by(*PAIR, "num_words").agg(words=pl.len()).sort(*PAIR, "num_words"),
        _count_origins(entries),
        licences,
        commercial,
        None if batches is None else _cover_pairs(folder, batches, source_language, entries, forms),
    )


def _cover_pairs(
    folder: str, batches: list[pa.RecordBatch], language: str, entries: pl.DataFrame, forms: pl.DataFrame | None
) -> pl.DataFrame:
    of_language = pl.col("source_language") == language
    counts = count_words(folder, batches, language)
    return cover(entries.filter(of_language), None if forms is None else forms.filter(of_language), counts)


def count_words(folder: str, batches: Iterable[pa.RecordBatch], source_language: str) -> pl.DataFrame:
    """The token histogram (csgen.planning.count_tokens) of pairs that the lexicon may switch."""
    table = read_table(folder, source_language)
    policy = Policy.from_options({"languages": table.languages, "source_language": source_language})
    return count_tokens(batches, Switcher(policy, table))


def cover(entries: pl.DataFrame, forms: pl.DataFrame | None, token_counts: pl.DataFrame) -> pl.DataFrame:
    """Coverage without and, where there are `forms`, with them: column `forms`, then those of `coverage`."""
    listed = coverage(entries, token_counts).select(pl.lit(LISTED).alias("forms"), pl.all())
    if forms is None:
        return listed
    both = pl.concat([part.select("source", *PAIR) for part in (entries, forms)])
    return pl.concat([listed, coverage(both, token_counts).select(pl.lit(INFLECTED).alias("forms"), pl.all())])


def _count_words(entries: pl.DataFrame) -> pl.DataFrame:
    """A row for each folded source and pair of languages: number of translations, and of words in the source."""
    keys = entries.select(*PAIR).with_columns(key=fold_column(entries["source"]))
    return (
        keys.group_by(*PAIR, "key")
        .agg(translations=pl.len())
        .with_columns(num_words=pl.col("key").str.count_matches(" ", literal=True) + 1)
    )


def _count_languages(words: pl.DataFrame, forms: pl.DataFrame | None) -> pl.DataFrame:
    translations = pl.col("translations")
    counts = words.group_by(PAIR).agg(words=pl.len(), entries=translations.sum(), mean_translations=translations.mean())
    if forms is None:
        return counts.with_columns(inflected=pl.lit(None, pl.UInt32)).sort(PAIR)
    added = forms.group_by(PAIR).agg(inflected=pl.col("source").n_unique())
    return counts.join(added, on=PAIR, how="left").with_columns(pl.col("inflected").fill_null(0)).sort(PAIR)


def _count_ambiguity(words: pl.DataFrame) -> pl.DataFrame:
    number = pl.col("translations")
    names = pl.coalesce([pl.when(number <= last).then(pl.lit(name)) for name, last in AMBIGUITY.items() if last])
    bins = names.fill_null(list(AMBIGUITY)[-1]).cast(pl.Enum(list(AMBIGUITY)))
    counts = words.group_by(*PAIR, bins.alias("translations")).agg(words=pl.len())
    return counts.sort(*PAIR, "translations").with_columns(pl.col("translations").cast(pl.String))


def _count_origins(entries: pl.DataFrame) -> pl.DataFrame:
    joined = entries.group_by(*PAIR, "origin").agg(entries=pl.len())
    each = joined.with_columns(pl.col("origin").str.split(JOINT)).explode("origin")
    return each.group_by(*PAIR, "origin").agg(pl.col("entries").sum()).sort(*PAIR, "origin")


def _count_licences(entries: pl.DataFrame) -> tuple[pl.DataFrame, int]:
    joined = entries.group_by("licence").agg(entries=pl.len())
    each = joined.with_columns(licences=pl.col("licence").str.split(JOINT).list.unique()).explode("licences")
    judged = _map_names(each["licences"], lambda name: judge_licence(name) is None)
    each = each.with_columns(commercial=judged)
    free = each.group_by("licence").agg(pl.col("entries").first(), free=pl.col("commercial").any())
    counts = each.group_by(licence="licences").agg(pl.col("entries").sum(), pl.col("commercial").first())
    return counts.sort("licence"), int(free.filter("free")["entries"].sum())


def _map_names(names: pl.Series, judge: Callable[[str], bool]) -> pl.Series:
    """A function of each distinct name, in the names' places."""
    distinct = names.unique()
    return names.replace_strict(distinct, pl.Series([judge(name) for name in distinct]), return_dtype=pl.Boolean)
