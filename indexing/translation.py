"""Translations of the words of queries out of a lexicon, with probabilities; knows no passages.

Texts are taken apart into tokens here: words, but characters in scripts without spaces and in Hangul. The lexicon's
sources are found in queries by longest match, in folded form.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import polars as pl
import pyarrow.compute as pc
from numpy.typing import NDArray

from csgen.errors import InputError
from csgen.languages import language_name
from csgen.lexicon.ways import PIVOT
from indexing.analysis import CHARACTERS, Analyser, Terms, is_paired, number_lists

NO_SOURCE = -1
MAX_TOKENS = 8  # of a source: more than a phrase of three words has, and than most words in characters
# What is kept of a source's translations: the heaviest, until they have so much of the probability.
MAX_TRANSLATIONS = 10
MASS = 0.97
# How far a source may stay as it is, by the weight of its translations: lexicons mostly leave out words that are the
# same in both languages. On XQuAD-R with MUSE's lexicons, 17 pairs of languages, 0.05 to 0.4 did about as well.
SELF = 0.2
_WHOLE = 1 << 40

_SCHEMA = {"source": pl.String, "target": pl.String, "weight": pl.Float64}

Numbers = NDArray[np.int64]


@dataclass(frozen=True)
class Matches:
    """What stands in queries, in order: query q has the items from `offsets[q]` to `offsets[q + 1]`."""

    offsets: Numbers
    sources: Numbers  # of each item the number of its source, or NO_SOURCE
    unmatched: pl.Series  # the items without a source, as text


@dataclass(frozen=True)
class Translations:
    """What words of one language may mean in another. Sources are numbered: those of `table` and those of `stems`."""

    query_language: str
    passage_language: str
    table: pl.DataFrame  # source: tokens between spaces; target; weight: heaviest first, sums to 1 for a source

    @classmethod
    def between(cls, entries: pl.DataFrame, query_language: str, passage_language: str) -> "Translations":
        """Out of a lexicon's entries: in their direction, else the other way round, else so through English.

        Weights are scaled to p(target | source). Regions make no difference. Words of the passages' own language are
        not translated. Raises InputError where the lexicon has no way.
        """
        query, passage = Analyser(query_language), Analyser(passage_language)
        table = pl.DataFrame(schema=_SCHEMA)
        if query.language != passage.language:
            table = _directed(entries, query, passage)
            if table.is_empty():
                table = _compose(entries, query, passage)
            if table.is_empty():
                raise InputError(_describe_lack(entries, query.language, passage.language))
        return cls(query_language, passage_language, prune(table))

    @cached_property
    def stems(self) -> pl.DataFrame:
        """The same as `table` for the stems of single words: the mean of the words that have the stem."""
        single = ~pl.col("source").str.contains(" ", literal=True) & ~is_paired(pl.col("source"))
        words = self.table.filter(single)
        return prune(words.with_columns(source=self._analyser.stem(words["source"])))

    def list_targets(self) -> pl.DataFrame:
        """`source` (its number), `target`, `weight` of all sources, in the order of their numbers."""
        sources = self._sources["source"].to_frame().with_row_index("number")
        stems = self._stems.to_frame("source").with_row_index("number", offset=len(sources))
        parts = [
            numbered.join(table, on="source", maintain_order="left_right")
            for numbered, table in ((sources, self.table), (stems, self.stems))
        ]
        return pl.concat(parts).select(pl.col("number").cast(pl.Int64).alias("source"), "target", "weight")

    def match(self, queries: pl.Series) -> Matches:
        """The sources in texts: the longest first, then from left to right; a word of none by its stem.

        Stop words of the query language count only within phrases. Neighbouring characters without a source stay one
        item.
        """
        tokens, words = find_tokens(self._analyser, queries)
        spelling = tokens.vocabulary.gather(tokens.ids)
        texts = np.repeat(np.arange(len(tokens)), np.diff(tokens.offsets))
        sources, free = np.full(len(texts), NO_SOURCE, np.int64), np.ones(len(texts), np.bool_)
        stop_words = self._analyser.is_stop_word(tokens.vocabulary)
        for length in range(MAX_TOKENS, 0, -1):
            known = self._sources.filter(num_tokens=length)
            if known.is_empty():
                continue
            starts = _find_windows(free if length > 1 else free & ~stop_words[tokens.ids], texts, length)
            phrases = pl.select(pl.concat_str([spelling.gather(starts + k) for k in range(length)], separator=" "))
            found = look_up(phrases.to_series(), known["source"])
            starts, found = starts[found >= 0], found[found >= 0]
            chosen = _choose_leftmost(starts, length)
            sources[starts[chosen]] = known["number"].to_numpy()[found[chosen]]
            free[(starts[chosen, None] + np.arange(length)).ravel()] = False
        free &= ~(stop_words & ~is_paired(tokens.vocabulary).to_numpy())[tokens.ids]  # a character may be of a word
        by_stem = look_up(self._analyser.stem(tokens.vocabulary), self._stems)[tokens.ids]
        stemmed = free & (by_stem >= 0)
        sources[stemmed] = len(self._sources) + by_stem[stemmed]
        return _lay_out(tokens, words, sources, free & ~stemmed)

    @cached_property
    def _analyser(self) -> Analyser:
        return Analyser(self.query_language)

    @cached_property
    def _sources(self) -> pl.DataFrame:
        sources = self.table["source"].unique().sort().to_frame().with_row_index("number")
        return sources.with_columns(num_tokens=pl.col("source").str.count_matches(" ", literal=True) + 1)

    @cached_property
    def _stems(self) -> pl.Series:
        return self.stems["source"].unique().sort()


def find_tokens(analyser: Analyser, texts: pl.Series) -> tuple[Terms, Numbers]:
    """The tokens of texts, and for each the number of the word that it is of, counted through all texts."""
    words = analyser.find_words(texts)
    tokens = (
        pl.when(is_paired(pl.col("word")))
        .then(pl.col("word").str.extract_all(CHARACTERS))
        .otherwise(pl.concat_list("word"))
    )
    split = number_lists(words.vocabulary.to_frame("word").select(tokens).to_series())
    return words.replace(split), np.repeat(np.arange(len(words.ids)), np.diff(split.offsets)[words.ids])


def prune(table: pl.DataFrame) -> pl.DataFrame:
    """Equal translations added up, weights scaled to sum to 1 for a source, the lightest cut off, and scaled again."""
    weight = pl.col("weight")
    # Sums of whole numbers are the same in any order of rows.
    whole = table.with_columns((weight * _WHOLE).ceil().cast(pl.Int64))
    summed = whole.group_by("source", "target").agg(weight.sum())
    ordered = summed.sort("source", "weight", "target", descending=[False, True, False])
    heaviest = pl.int_range(pl.len()).over("source") < MAX_TRANSLATIONS
    needed = (weight.cum_sum() - weight).over("source") < MASS * weight.sum().over("source")
    return ordered.filter(heaviest & needed).with_columns(weight / weight.sum().over("source"))


def _directed(entries: pl.DataFrame, source: Analyser, target: Analyser) -> pl.DataFrame:
    """The entries from one language into another, else those from the other turned round, and each source as such."""
    for one, other in (("source", "target"), ("target", "source")):
        found = entries.filter(_is_of(f"{one}_language", source.language), _is_of(f"{other}_language", target.language))
        if found.height:
            tokens, _ = find_tokens(source, found[one])
            weight = pl.col("weight").cast(pl.Float64)
            itself = found.select(source=tokens.join(" "), target=one, weight=SELF * weight)
            translated = found.select(source=tokens.join(" "), target=other, weight=weight)
            fitting = pl.Series(np.diff(tokens.offsets)).is_between(1, MAX_TOKENS)
            return pl.concat([translated.filter(fitting), itself.filter(fitting)])
    return pl.DataFrame(schema=_SCHEMA)


def _compose(entries: pl.DataFrame, source: Analyser, target: Analyser) -> pl.DataFrame:
    """p(target | source) as the sum over English words of p(target | English) p(English | source).

    A source that has no English word may be one itself, as names and loanwords are.
    """
    pivot = Analyser(PIVOT)
    first, second = prune(_directed(entries, source, pivot)), prune(_directed(entries, pivot, target))
    if first.is_empty():
        return first
    tokens, _ = find_tokens(pivot, first["target"])
    first = first.select("source", "weight", pivot=tokens.join(" "))
    english = second.select("source", pivot="source", weight=pl.lit(1.0)).unique().join(first, on="source", how="anti")
    through = second.rename({"source": "pivot", "weight": "second"})
    joined = pl.concat([first, english.select(first.columns)]).join(through, on="pivot")
    return joined.select("source", "target", pl.col("weight") * pl.col("second"))


def _is_of(column: str, language: str) -> pl.Expr:
    """Whether a column of language codes names a language, of whatever region or script."""
    return (pl.col(column) == language) | pl.col(column).str.starts_with(f"{language}-")


def _describe_lack(entries: pl.DataFrame, query_language: str, passage_language: str) -> str:
    has = entries.select(pl.format("{}-{}", "source_language", "target_language")).to_series().unique().sort()
    return (
        f"the lexicon leads from {language_name(query_language)} to {language_name(passage_language)} neither directly "
        f"nor through English; it has {', '.join(has) or 'no entries'}: give csgen lexicon build more sources"
    )


def look_up(strings: pl.Series, known: pl.Series) -> Numbers:
    """Where each string stands in `known`, or -1."""
    found = pc.index_in(strings.to_arrow(), known.to_arrow())
    places: Numbers = found.fill_null(-1).to_numpy(zero_copy_only=False).astype(np.int64)
    return places


def _find_windows(free: NDArray[np.bool_], texts: Numbers, length: int) -> Numbers:
    """Where so many free tokens of one text stand."""
    num_free = np.concatenate([[0], np.cumsum(free)])
    starts = np.arange(max(len(free) - length + 1, 0))
    all_free = num_free[starts + length] - num_free[starts] == length
    within: Numbers = starts[all_free & (texts[starts] == texts[starts + length - 1])]
    return within


def _choose_leftmost(starts: Numbers, length: int) -> Numbers:
    """Of windows in order some that do not overlap, each as far to the left as can be: their indices."""
    chosen, left = [np.zeros(0, np.int64)], np.arange(len(starts))
    while len(left):
        apart = np.diff(starts[left], prepend=-length) >= length
        leaders = left[apart]
        chosen.append(leaders)
        left = left[starts[left] >= starts[leaders[np.cumsum(apart) - 1]] + length]
    return np.sort(np.concatenate(chosen))


def _lay_out(tokens: Terms, words: Numbers, sources: Numbers, unmatched: NDArray[np.bool_]) -> Matches:
    """The matches, given by their first tokens, and the unmatched tokens, those of one word that touch as one."""
    places = np.flatnonzero(unmatched)
    opens = (np.diff(places, prepend=-2) != 1) | (np.diff(words[places], prepend=-1) != 0)
    bounds = np.append(np.flatnonzero(opens), len(places))
    texts = Terms(tokens.vocabulary, bounds, tokens.ids[places]).join("")
    items = np.sort(np.concatenate([np.flatnonzero(sources != NO_SOURCE), places[opens]]))
    return Matches(np.searchsorted(items, tokens.offsets), sources[items], texts)
