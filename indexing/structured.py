"""BM25 across languages by probabilistic structured queries; knows no lexicon's format.

A word f of the query has in passage d the frequency tf(f, d) = sum over terms e of p(e | f) tf(e, d), and likewise
df(f) = sum over e of p(e | f) df(e). BM25 of these is the score (Darwish and Oard 2003,
https://doi.org/10.1145/860435.860497).
"""

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from csgen.errors import InputError
from indexing.analysis import Analyser, Terms, bound_rows, gather_rows
from indexing.lexical import DEFAULT, Bm25, find_mean_length
from indexing.postings import Counts, count_terms, invert
from indexing.ranking import Hits, Postings
from indexing.translation import NO_SOURCE, Matches, Numbers, Translations, look_up

_CHUNK_POSTINGS = 1 << 23  # of translated words at a time: bounds their memory to some 200 MB


@dataclass(frozen=True)
class SourceTerms:
    """What the sources of a lexicon may be in the terms of the passages' language: a row a source."""

    terms: Terms  # a term may stand twice in a row
    shares: NDArray[np.float32]  # of each of `terms.ids` its part of p(term | source)

    @classmethod
    def of(cls, translations: Translations, analyser: Analyser) -> "SourceTerms":
        """A translation of several terms shares its probability out among them."""
        targets = translations.list_targets()
        terms = analyser.find_terms(targets["target"])
        lengths = np.diff(terms.offsets)
        shares = np.repeat(targets["weight"].to_numpy() / np.maximum(lengths, 1), lengths).astype(np.float32)
        first_targets = np.searchsorted(targets["source"].to_numpy(), np.arange(targets["source"].n_unique() + 1))
        return cls(Terms(terms.vocabulary, terms.offsets[first_targets], terms.ids), shares)

    def __len__(self) -> int:
        return len(self.terms)

    def lay_out(self, sources: Numbers, columns: Numbers, num_columns: int) -> Any:
        """p(term | source) of some sources: CSR, (sources, num_columns), float32.

        `columns` has the column of each term of the vocabulary, or -1 where it is left out.
        """
        offsets, places = gather_rows(self.terms.offsets, sources)
        found = columns[self.terms.ids[places]]
        known = found >= 0
        parts = (self.shares[places][known], found[known], bound_rows(known)[offsets])
        matrix = import_sparse().csr_matrix(parts, shape=(len(sources), num_columns))
        matrix.sum_duplicates()
        return matrix


class TranslatedIndex:
    """Passages of one language under BM25, for queries in another.

    A word of which the lexicon has no form stands for itself, as names and numbers do.
    """

    def __init__(self, analyser: Analyser, passages: Terms, translations: Translations, parameters: Bm25) -> None:
        """Of passages given by their terms, as `analyser` finds them in their language."""
        self._analyser = analyser
        self._translations = translations
        self._vocabulary = passages.vocabulary
        counts = invert([count_terms(passages)], len(passages.vocabulary))
        mean_length = find_mean_length(counts.total_length, len(passages))
        self._damping = parameters.damping(counts.passage_lengths, mean_length)
        self._counts = _lay_out_counts(counts)
        # A row for each source and, behind them, one for each term, which stands for itself.
        self._probabilities, self._num_sources = self._lay_out_probabilities()
        frequencies = np.diff(counts.offsets).astype(np.float64)
        self._idf = parameters.idf(self._probabilities @ frequencies, len(passages))
        self._num_postings = (self._probabilities > 0) @ frequencies

    @classmethod
    def build(cls, passages: pl.Series, translations: Translations, parameters: Bm25 = DEFAULT) -> "TranslatedIndex":
        """Of texts (String, no nulls) in the language into which is translated."""
        analyser = Analyser(translations.passage_language)
        return cls(analyser, analyser.find_terms(passages), translations, parameters)

    def search(self, queries: pl.Series, top_k: int, allowed: NDArray[np.bool_] | None = None) -> Hits:
        """As `indexing.lexical.Index` says; a word that stands twice in a query counts twice."""
        matches = self._translations.match(queries)
        terms = self._analyser.find_terms(matches.unmatched).number_in(self._vocabulary)
        offsets, lists = lay_out_lists(matches, terms, self._num_sources)
        shape = (len(queries), min(top_k, self._counts.shape[1]))
        rows, scores = np.empty(shape, np.int64), np.empty(shape, np.float32)
        for start, stop in pairwise(cut_queries(offsets, self._num_postings[lists])):
            bounds = offsets[start : stop + 1]
            distinct, numbers = np.unique(lists[bounds[0] : bounds[-1]], return_inverse=True)
            frequencies = self._probabilities[distinct] @ self._counts
            postings = weigh_frequencies(frequencies, self._damping[frequencies.indices], self._idf[distinct])
            hits = postings.rank(bounds - bounds[0], numbers.astype(np.int32), top_k, allowed)
            rows[start:stop], scores[start:stop] = hits
        return rows, scores

    def _lay_out_probabilities(self) -> tuple[Any, int]:
        """p(term | source) as a CSR matrix with the identity below it, and the number of sources."""
        sparse = import_sparse()
        sources = SourceTerms.of(self._translations, self._analyser)
        columns = look_up(sources.terms.vocabulary, self._vocabulary)
        matrix = sources.lay_out(np.arange(len(sources)), columns, len(self._vocabulary))
        identity = sparse.identity(len(self._vocabulary), np.float32, "csr")
        return sparse.vstack([matrix, identity], "csr"), len(sources)


def lay_out_lists(matches: Matches, unmatched: Terms, num_sources: int) -> tuple[Numbers, Numbers]:
    """The lists that each query asks for, ragged: offsets and numbers, first those of sources, behind them of terms.

    `unmatched` are the terms of what was not matched, item by item.
    """
    bare = matches.sources == NO_SOURCE
    lengths = np.ones(len(bare), np.int64)
    lengths[bare] = np.diff(unmatched.offsets)
    lists = np.repeat(matches.sources, lengths)
    lists[np.repeat(bare, lengths)] = num_sources + unmatched.ids
    return bound_rows(lengths)[matches.offsets], lists


def cut_queries(offsets: Numbers, num_postings: NDArray[np.float64]) -> Numbers:
    """Where to cut queries so that between two cuts there are some _CHUNK_POSTINGS or a single query.

    `num_postings` has the postings of each list that the queries ask for, which `offsets` bound.
    """
    chunks = bound_rows(num_postings)[offsets[1:]] // _CHUNK_POSTINGS
    return np.unique([0, *(np.flatnonzero(np.diff(chunks)) + 1), len(chunks)])


def weigh_frequencies(frequencies: Any, damping: NDArray[np.float32], idf: NDArray[np.float32]) -> Postings:
    """The postings of translated words, whose frequencies are a CSR matrix (words, passages), which is overwritten.

    `damping` has a value for each that the matrix holds, `idf` one a word.
    """
    weights = frequencies.data
    weights /= weights + damping
    weights *= np.repeat(idf, np.diff(frequencies.indptr))
    indices = frequencies.indices.astype(np.int32, copy=False)
    return Postings(frequencies.shape[1], frequencies.indptr.astype(np.int64), indices, weights)


def import_sparse() -> Any:
    """SciPy's sparse matrices."""
    try:
        from scipy import sparse
    except ImportError as error:
        raise InputError("search across languages needs SciPy: pip install 'csgen[lexical]'") from error
    return sparse


def _lay_out_counts(counts: Counts) -> Any:
    """How often each term stands in each passage: CSR, (terms, passages), float32."""
    parts = (counts.frequencies[counts.pairs].astype(np.float32), counts.passages, counts.offsets)
    return import_sparse().csr_matrix(parts, shape=(len(counts.offsets) - 1, counts.num_passages))
