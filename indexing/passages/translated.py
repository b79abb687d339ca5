"""BM25 over the passages of one language in several segments, for queries in another; knows no file."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa

from indexing.analysis import Analyser, Terms, bound_rows, gather_rows
from indexing.lexical import DEFAULT, Bm25
from indexing.passages.mapped import damaged
from indexing.passages.segments import Allowed, LanguageSegments
from indexing.passages.strings import Numbers, as_strings
from indexing.passages.terms import LanguageTerms, LexicalPart
from indexing.passages.ties import SegmentHits
from indexing.structured import SourceTerms, cut_queries, import_sparse, lay_out_lists, weigh_frequencies
from indexing.translation import Translations, look_up


class TranslatedSearch:
    """Searches the passages of one language in some segments, for queries in another, by `indexing.structured`.

    It opens the language's files and lays out the translations once, so it is worth keeping.
    """

    def __init__(self, parts: Sequence[LexicalPart], translations: Translations, parameters: Bm25 = DEFAULT) -> None:
        """Of the passages of the language, by the segments' name for it, into which the translations lead."""
        self._analyser = Analyser(translations.passage_language)
        self._translations = translations
        self._parameters = parameters
        self._segments = LanguageSegments(parts, translations.passage_language)
        self._sources = SourceTerms.of(translations, self._analyser)

    def search(self, queries: pl.Series, top_k: int, allowed: Allowed = None) -> SegmentHits:
        """As `LexicalSearch.search`, with the scores of a `TranslatedIndex` but for the rounding of float32."""
        segments = self._segments
        picked = segments.pick(top_k, allowed)
        matches = self._translations.match(queries)
        unmatched = self._analyser.find_terms(matches.unmatched)
        offsets, lists = lay_out_lists(matches, unmatched, len(self._sources))
        distinct, words = np.unique(lists, return_inverse=True)
        terms, probabilities = self._spell_out(distinct, unmatched)
        found = segments.find(terms)
        idf = self._parameters.idf(probabilities @ found.frequencies, segments.num_passages)
        num_postings = (probabilities > 0) @ found.frequencies
        cuts = np.union1d(cut_queries(offsets, num_postings[words]), segments.cut(len(queries), top_k))
        hits = []
        for start, stop in pairwise(cuts):
            bounds = offsets[start : stop + 1]
            asked, numbers = np.unique(words[bounds[0] : bounds[-1]], return_inverse=True)
            needed = np.unique(probabilities[asked].indices)
            mixture = probabilities[asked][:, needed]
            ranked = []
            for segment, own, (starts, stops) in zip(segments.terms, picked, found.places, strict=True):
                frequencies = mixture @ _read_frequencies(segment, starts[needed], stops[needed])
                postings = weigh_frequencies(frequencies, self._damp(segment, frequencies.indices), idf[asked])
                ranked.append(postings.rank(bounds - bounds[0], numbers.astype(np.int32), top_k, own))
            hits.append(segments.merge(ranked, stop - start, top_k))
        return segments.join(hits, top_k)

    def _damp(self, segment: LanguageTerms, passages: Numbers) -> Any:
        return self._parameters.damping(segment.counts.passage_lengths[passages], self._segments.mean_length)

    def _spell_out(self, lists: Numbers, unmatched: Terms) -> tuple[pa.Array, Any]:
        """The terms that lists of `lay_out_lists` (ascending) may be, and p(term | list), CSR of (lists, terms).

        Terms are sorted, so that sums over them do not depend on the segments.
        """
        sparse, own = import_sparse(), self._sources.terms
        used, standing = lists[lists < len(own)], lists[lists >= len(own)] - len(own)
        ids = np.unique(own.ids[gather_rows(own.offsets, used)[1]])
        translations, themselves = own.vocabulary.gather(ids), unmatched.vocabulary.gather(standing)
        terms = pl.concat([translations, themselves]).unique().sort()
        columns = np.full(len(own.vocabulary), -1, np.int64)
        columns[ids] = look_up(translations, terms)
        ones = (np.ones(len(standing), np.float32), look_up(themselves, terms), np.arange(len(standing) + 1))
        identity = sparse.csr_matrix(ones, shape=(len(standing), len(terms)))
        return as_strings(terms), sparse.vstack([self._sources.lay_out(used, columns, len(terms)), identity], "csr")


def _read_frequencies(segment: LanguageTerms, starts: Numbers, stops: Numbers) -> Any:
    """How often terms stand in a segment's passages, by where their postings lie: CSR, (terms, passages), float32."""
    counts, offsets = segment.counts, bound_rows(stops - starts)
    places = np.repeat(starts - offsets[:-1], stops - starts) + np.arange(offsets[-1])
    passages, pairs = counts.passages[places], counts.pairs[places]
    if len(places) and (passages.max() >= counts.num_passages or pairs.max() >= len(counts.frequencies)):
        raise damaged(segment.path, "a posting names what is not there")
    parts = (counts.frequencies[pairs].astype(np.float32), passages, offsets)
    return import_sparse().csr_matrix(parts, shape=(len(starts), counts.num_passages))
