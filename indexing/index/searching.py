"""One search: the lists that each way gives for queries and their expansions, fused, cut to what is asked for.

Knows opened segments; where vectors of texts come from is told by a function.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from indexing.index.dense import DenseSearch, Work
from indexing.index.fusion import Fused, Numbers, Ranking, choose_hits, fuse, merge, rank_alone
from indexing.index.lexical import LexicalSearches, as_series
from indexing.index.opened import Allowed, OpenSegments
from indexing.index.query import SearchOptions, SearchRequest, Way
from indexing.index.score_offsets import ScoreOffsets

Encode = Callable[[Sequence[str]], tuple[NDArray[np.float32], int]]
"""(texts, dimensions), and how many texts lost their end."""


@dataclass(frozen=True)
class Form:
    """A form of the queries: they themselves, or their expansions. queries: the numbers of those that have it."""

    name: str
    queries: Numbers
    texts: Sequence[str] | None
    vectors: NDArray[np.floating] | None
    weight: float


@dataclass
class Search:
    """A search of some segments, and what it did."""

    opened: OpenSegments
    lexical: LexicalSearches
    encode: Encode
    request: SearchRequest
    offsets: ScoreOffsets | None
    num_threads: int | None
    work: Work = field(init=False)
    truncated_texts: int = 0

    def __post_init__(self) -> None:
        self.work = Work.none(len(self.request))

    @property
    def options(self) -> SearchOptions:
        return self.request.options

    @cached_property
    def allowed(self) -> Allowed:
        return self.opened.allow(self.request.filter)

    @cached_property
    def languages(self) -> tuple[str, ...]:
        """Those that are searched."""
        wanted = self.request.filter.languages
        return tuple(one for one in self.opened.languages if wanted is None or one in wanted)

    @cached_property
    def untranslated(self) -> tuple[str, ...]:
        """Languages in which translated search takes the queries as they are."""
        if "translated" not in self.options.all_ways:
            return ()
        return tuple(one for one in self.languages if not self.lexical.is_translated(one, self._translation))

    def run(self) -> tuple[tuple[str, ...], Fused]:
        """The names of the lists, and the hits, as many as asked for."""
        least = self._count_least()  # before the search, which it may refuse
        kinds = [(form, way) for form in list_forms(self.request) for way in self.options.all_ways]
        names = tuple(f"{way}{form.name}" for form, way in kinds)
        depth = self.options.top_k if len(kinds) == 1 else max(self.options.top_k, self.options.candidates)
        lists = [self._rank(form, way, depth) for form, way in kinds]
        weights = [form.weight * self.options.weights.get(way, 1.0) for form, way in kinds]
        width = sum(one.numbers.shape[1] for one in lists) if self._has_least else self.options.top_k
        fused = (
            rank_alone(lists[0]) if len(lists) == 1 else fuse(lists, weights, self.options.fusion_k, self.opened, width)
        )
        chosen = self._choose(fused, least) if self._has_least else fused
        return names, chosen.cut(min(self.options.top_k, self.allowed.count))

    @property
    def _has_least(self) -> bool:
        return bool(self.options.least_hits or self.options.least_shares)

    @property
    def _translation(self) -> tuple[str, str]:
        return self.options.lexicon, self.options.query_language

    @cached_property
    def _by_language(self) -> list[tuple[str, Allowed]]:
        return [(language, self.opened.only(self.allowed, language)) for language in self.languages]

    def _rank(self, form: Form, way: Way, depth: int) -> Ranking:
        """The list of a form and a way: of each query the best `depth`, or of each of its languages so many."""
        rank = {"dense": self._rank_dense, "lexical": self._rank_lexical, "translated": self._rank_translated}[way]
        found = rank(form, depth)
        if len(form.queries) == len(self.request):
            return found
        ranking = Ranking.none(len(self.request), found.numbers.shape[1])
        ranking.put(form.queries, found)
        return ranking

    def _rank_dense(self, form: Form, depth: int) -> Ranking:
        vectors, dense = self._read_vectors(form), DenseSearch(self.opened, self.options.effort, self.num_threads)
        if self.offsets is None and not self._has_least:
            return dense.search(vectors, form.queries, depth, self.allowed, self.work)
        parts = []
        for language, allowed in self._by_language:
            found = dense.search(vectors, form.queries, depth, allowed, self.work)
            if self.offsets:
                found = Ranking(found.numbers, self.offsets.apply(language, found.scores))
            parts.append(found)
        return self._merge(parts, len(form.queries), depth)

    def _rank_lexical(self, form: Form, depth: int) -> Ranking:
        texts = as_series(form.texts or ())
        parts = [self.lexical.search(one, texts, depth, self.allowed, self.options.bm25) for one in self.languages]
        return self._merge(parts, len(form.queries), depth)

    def _rank_translated(self, form: Form, depth: int) -> Ranking:
        texts, search = as_series(form.texts or ()), self.lexical.search_translated
        parts = [
            search(one, texts, depth, self.allowed, self.options.bm25, self._translation) for one in self.languages
        ]
        return self._merge(parts, len(form.queries), depth)

    def _merge(self, parts: Sequence[Ranking], num_queries: int, depth: int) -> Ranking:
        """One list of the languages' lists, which keeps all of them where each is to have hits."""
        total = sum(part.numbers.shape[1] for part in parts)
        if not total:
            return Ranking.none(num_queries, 0)
        return merge(parts, self.opened, total if self._has_least else min(depth, total))

    def _count_least(self) -> Numbers:
        """How many hits each of all languages gets at least."""
        least = np.zeros(len(self.opened.languages), np.int64)
        places = [self.opened.languages.index(language) for language in self.languages]
        least[places] = self.options.count_least(self.languages)
        return least

    def _choose(self, fused: Fused, least: Numbers) -> Fused:
        places = choose_hits(self.opened.find_languages(fused.ranking.numbers), least, self.options.top_k)
        ranks = np.take_along_axis(fused.ranks, np.maximum(places, 0)[None], 2)
        return Fused(fused.ranking.take(places), np.where(places < 0, np.int32(0), ranks))

    def _read_vectors(self, form: Form) -> NDArray[np.floating]:
        if form.vectors is not None:
            return form.vectors
        vectors, truncated = self.encode(form.texts or ())
        self.truncated_texts += truncated
        return vectors


def list_forms(request: SearchRequest) -> Sequence[Form]:
    """The forms that are searched: the queries, and their expansions if any query has one."""
    everyone = np.arange(len(request))
    forms = [Form("", everyone, request.texts, request.vectors, 1.0)]
    texts, vectors = request.expansions, request.expansion_vectors
    if texts is None and vectors is None:
        return forms
    having = everyone if texts is None else np.array([q for q, text in enumerate(texts) if text.strip()], np.int64)
    if len(having):
        own_texts = None if texts is None else [texts[q] for q in having]
        own_vectors = None if vectors is None else vectors[having]
        forms.append(Form(" of expansions", having, own_texts, own_vectors, request.options.expansion_weight))
    return forms
