"""The lexical searches of some segments, by the passages' language, kept once opened; knows no vectors, no fusion."""

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import polars as pl

from csgen.lexicon.entries import read_entries
from csgen.lexicon.ways import PIVOT, has_way
from indexing.index.fusion import Ranking
from indexing.index.opened import ROW_BITS, Allowed, OpenSegments
from indexing.lexical import Bm25
from indexing.passages import LexicalSearch, SegmentHits, TranslatedSearch
from indexing.ranking import NO_HIT
from indexing.translation import Translations

_KEPT_SEARCHES, _KEPT_LEXICONS = 256, 2

Entries = dict[tuple[str, str], pl.DataFrame]


class LexicalSearches:
    """Searches of a version's segments. A lexicon is read once: open the index anew after it has changed."""

    def __init__(self, opened: OpenSegments) -> None:
        self._opened = opened
        self._plain = lru_cache(_KEPT_SEARCHES)(self._open_plain)
        self._translated = lru_cache(_KEPT_SEARCHES)(self._open_translated)
        self._entries = lru_cache(_KEPT_LEXICONS)(_read_lexicon)

    def search(self, language: str, texts: pl.Series, top_k: int, allowed: Allowed, parameters: Bm25) -> Ranking:
        """The best passages of a language, with queries as they are."""
        return _number(self._plain(language, parameters).search(texts, top_k, allowed.bitmaps))

    def search_translated(
        self, language: str, texts: pl.Series, top_k: int, allowed: Allowed, parameters: Bm25, way: tuple[str, str]
    ) -> Ranking:
        """The same with queries translated. way: lexicon and language of the queries.

        Where the lexicon does not lead into the language, and within it, queries stay as they are.
        """
        if not self.is_translated(language, way):
            return self.search(language, texts, top_k, allowed, parameters)
        return _number(self._translated(language, parameters, way).search(texts, top_k, allowed.bitmaps))

    def is_translated(self, language: str, way: tuple[str, str]) -> bool:
        """Whether queries are translated for passages of a language."""
        lexicon, query_language = way
        return query_language != language and has_way(self._entries(lexicon), query_language, language)

    def _open_plain(self, language: str, parameters: Bm25) -> LexicalSearch:
        return LexicalSearch(self._opened.parts, language, parameters)

    def _open_translated(self, language: str, parameters: Bm25, way: tuple[str, str]) -> TranslatedSearch:
        lexicon, query_language = way
        ends = {_primary(one) for one in (query_language, language, PIVOT)}
        found = [part for pair, part in self._entries(lexicon).items() if {_primary(one) for one in pair} <= ends]
        translations = Translations.between(pl.concat(found), query_language, language)
        return TranslatedSearch(self._opened.parts, translations, parameters)


def _read_lexicon(lexicon: str) -> Entries:
    """The lexicon's entries by their two languages."""
    parts = read_entries(lexicon).partition_by("source_language", "target_language", as_dict=True, maintain_order=True)
    return {(str(source), str(target)): part for (source, target), part in parts.items()}


def _primary(language: str) -> str:
    return language.partition("-")[0]


def _number(hits: SegmentHits) -> Ranking:
    numbers = np.where(hits.rows == NO_HIT, NO_HIT, hits.segments.astype(np.int64) << ROW_BITS | hits.rows)
    return Ranking(numbers, hits.scores)


def as_series(texts: Sequence[str]) -> pl.Series:
    return pl.Series(texts, dtype=pl.String)
