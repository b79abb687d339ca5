"""The lexical systems of the evaluation: indexing's BM25, plain and dictionary-translated, as rankers of cells."""

from dataclasses import dataclass, field
from functools import cached_property

import polars as pl

from cluster.cell_ranker import CellRanker
from csgen.lexicon.entries import read_entries
from csgen.lexicon.ways import PIVOT, has_way
from eval.benchmark import Benchmark
from eval.experiment import Bm25Spec, TranslatedBm25Spec
from eval.systems import Ranker
from indexing.analysis import Analyser, Terms
from indexing.lexical import Bm25, Index, LexicalIndex
from indexing.structured import TranslatedIndex
from indexing.translation import Translations


def open_lexical(spec: Bm25Spec | TranslatedBm25Spec) -> Ranker:
    """The ranker of a specification. A language's passages are indexed when a cell first asks for them, and once."""
    plain = PlainIndexes(Bm25(spec.k1, spec.b))
    if isinstance(spec, TranslatedBm25Spec):
        return CellRanker(TranslatedIndexes(plain, spec.lexicon))
    return CellRanker(plain)


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
