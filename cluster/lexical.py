"""The lexical systems of the evaluation: indexing's BM25, plain and dictionary-translated, as rankers of cells."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import polars as pl

from csgen.lexicon.entries import read_entries
from csgen.lexicon.ways import PIVOT, has_way
from eval.benchmark import Benchmark, Reading
from eval.experiment import Bm25Spec, TranslatedBm25Spec
from eval.systems import Ranker
from indexing.analysis import Analyser, Terms
from indexing.lexical import Bm25, Index, LexicalIndex
from indexing.structured import TranslatedIndex
from indexing.translation import Translations

OpenIndex = Callable[[Benchmark, str, str], Index]  # of the queries' and the passages' language

_RUN = {"query_id": pl.String, "passage_id": pl.String, "score": pl.Float64}


def open_lexical(spec: Bm25Spec | TranslatedBm25Spec) -> Ranker:
    """The ranker of a specification. A language's passages are indexed when a cell first asks for them, and once."""
    plain = PlainIndexes(Bm25(spec.k1, spec.b))
    if isinstance(spec, TranslatedBm25Spec):
        return LexicalRanker(TranslatedIndexes(plain, spec.lexicon))
    return LexicalRanker(plain)


@dataclass
class PlainIndexes:
    """BM25 by the passages' language, whatever the queries' is."""

    parameters: Bm25
    _terms: dict[tuple[str, str], Terms] = field(default_factory=dict)
    _opened: dict[tuple[str, str], Index] = field(default_factory=dict)

    def __call__(self, benchmark: Benchmark, query_language: str, passage_language: str) -> Index:
        key = (benchmark.name, passage_language)
        if key not in self._opened:
            terms = self.find_terms(benchmark, passage_language)
            self._opened[key] = LexicalIndex(Analyser(passage_language), terms, self.parameters)
        return self._opened[key]

    def find_terms(self, benchmark: Benchmark, language: str) -> Terms:
        """The terms of a benchmark's passages, found once."""
        key = (benchmark.name, language)
        if key not in self._terms:
            self._terms[key] = Analyser(language).find_terms(benchmark.passages(language)["text"])
        return self._terms[key]


@dataclass
class TranslatedIndexes:
    """BM25 of queries translated by a lexicon; plain BM25 within a language, and where the lexicon leads nowhere."""

    plain: PlainIndexes
    lexicon: str
    _opened: dict[tuple[str, str, str], Index] = field(default_factory=dict)

    @cached_property
    def _entries(self) -> dict[tuple[str, str], pl.DataFrame]:
        """The lexicon's entries by their two languages."""
        entries = read_entries(self.lexicon)
        parts = entries.partition_by("source_language", "target_language", as_dict=True, maintain_order=True)
        return {(str(source), str(target)): part for (source, target), part in parts.items()}

    def __call__(self, benchmark: Benchmark, query_language: str, passage_language: str) -> Index:
        key = (benchmark.name, query_language, passage_language)
        if key not in self._opened:
            self._opened[key] = self._open(benchmark, query_language, passage_language)
        return self._opened[key]

    def _open(self, benchmark: Benchmark, query_language: str, passage_language: str) -> Index:
        if query_language == passage_language or not has_way(self._entries, query_language, passage_language):
            return self.plain(benchmark, query_language, passage_language)
        ends = {language.partition("-")[0] for language in (query_language, passage_language, PIVOT)}
        of_ends = [part for pair, part in self._entries.items() if {one.partition("-")[0] for one in pair} <= ends]
        translations = Translations.between(pl.concat(of_ends), query_language, passage_language)
        terms = self.plain.find_terms(benchmark, passage_language)
        return TranslatedIndex(Analyser(passage_language), terms, translations, self.plain.parameters)


class LexicalRanker:
    """Ranks a cell's passages language by language; scores of several languages are merged as they are."""

    def __init__(self, open_index: OpenIndex) -> None:
        self._open_index = open_index

    def rank(self, reading: Reading, top_k: int) -> pl.DataFrame:
        parts = [
            self._search(reading.benchmark, queries, passages, top_k)
            for passages in reading.passages.partition_by("language", maintain_order=True)
            for queries in reading.queries.partition_by("language", maintain_order=True)
        ]
        return pl.concat([pl.DataFrame(schema=_RUN), *parts])

    def _search(self, benchmark: Benchmark, queries: pl.DataFrame, passages: pl.DataFrame, top_k: int) -> pl.DataFrame:
        """The best of one language's passages for queries of one language."""
        language = passages["language"][0]
        index = self._open_index(benchmark, queries["language"][0], language)
        num_passages = len(benchmark.passages(language))
        place = np.full(num_passages, -1, np.int64)  # of each of the language's passages among the cell's
        place[passages["row"].to_numpy()] = np.arange(len(passages))
        allowed = None if len(passages) == num_passages else place >= 0
        rows, scores = index.search(queries["text"], top_k, allowed)
        found = rows >= 0
        return pl.DataFrame(
            {
                "query_id": queries["query_id"].gather(np.nonzero(found)[0]),
                "passage_id": passages["passage_id"].gather(place[rows[found]]),
                "score": scores[found].astype(np.float64),
            },
            schema=_RUN,
        )
