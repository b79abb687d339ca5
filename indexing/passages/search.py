"""BM25 over the passages of one language in several segments, as if they lay in one index; knows no file."""

from collections.abc import Sequence
from itertools import pairwise

import polars as pl

from indexing.analysis import Analyser
from indexing.lexical import DEFAULT, Bm25
from indexing.passages.segments import Allowed, LanguageSegments
from indexing.passages.strings import as_strings
from indexing.passages.terms import LexicalPart
from indexing.passages.ties import SegmentHits
from indexing.ranking import Asked, rank


class LexicalSearch:
    """Searches the passages of one language in some segments. Queries are analysed as the passages are.

    It opens the language's files and sums up their statistics once, so it is worth keeping for a set of segments.
    """

    def __init__(self, parts: Sequence[LexicalPart], language: str, parameters: Bm25 = DEFAULT) -> None:
        self._analyser = Analyser(language)
        self._parameters = parameters
        self._segments = segments = LanguageSegments(parts, language)
        self._weights = [
            parameters.saturation(terms.counts.frequencies, terms.counts.lengths, segments.mean_length)
            for terms in segments.terms
        ]

    def search(self, queries: pl.Series, top_k: int, allowed: Allowed = None) -> SegmentHits:
        """Each query's best passages, as wide as the smaller of top_k and the language's number of passages.

        Equal scores are ordered by address. Scores are those of a `LexicalIndex` over all the passages, and hits and
        their order too where its passages come by their addresses. A query's hits do not depend on the others.
        `allowed`: for each segment a bitmap of its table's rows that may be hits, or None for all.
        """
        segments = self._segments
        picked = segments.pick(top_k, allowed)
        terms = self._analyser.find_terms(queries)
        found = segments.find(as_strings(terms.vocabulary))
        idf = self._parameters.idf(found.frequencies, segments.num_passages)
        hits = []
        for start, stop in pairwise(segments.cut(len(queries), top_k)):
            bounds = terms.offsets[start : stop + 1]
            ids = terms.ids[bounds[0] : bounds[-1]]
            sources = [
                segment.counts.ask(
                    Asked(bounds - bounds[0], starts[ids], stops[ids], idf[ids]), weights, own, str(segment.path)
                )
                for segment, weights, own, (starts, stops) in zip(
                    segments.terms, self._weights, picked, found.places, strict=True
                )
            ]
            hits.append(segments.merge(rank(sources, top_k), stop - start, top_k))
        return segments.join(hits, top_k)
