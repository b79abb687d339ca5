"""BM25 across languages by probabilistic structured queries; knows no lexicon's format.

A word f of the query has in passage d the frequency tf(f, d) = sum over terms e of p(e | f) tf(e, d), and likewise
df(f) = sum over e of p(e | f) df(e). BM25 of these is the score (Darwish and Oard 2003,
https://doi.org/10.1145/860435.860497).
"""

from itertools import pairwise
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from csgen.errors import InputError
from indexing.analysis import Analyser, Terms, bound_rows
from indexing.lexical import DEFAULT, Bm25
from indexing.ranking import Hits, Postings
from indexing.translation import NO_SOURCE, Numbers, Translations

_CHUNK_POSTINGS = 1 << 23  # of translated words at a time: bounds their memory to some 200 MB


class TranslatedIndex:
    """Passages of one language under BM25, for queries in another.

    A word of which the lexicon has no form stands for itself, as names and numbers do. A translation of several terms
    shares its probability out among them.
    """

    def __init__(self, analyser: Analyser, passages: Terms, translations: Translations, parameters: Bm25) -> None:
        """Of passages given by their terms, as `analyser` finds them in their language."""
        self._analyser = analyser
        self._translations = translations
        self._vocabulary = passages.vocabulary
        self._damping = parameters.damping(np.diff(passages.offsets))
        self._counts = _count_terms(passages)
        # A row for each source and, behind them, one for each term, which stands for itself.
        self._probabilities, self._num_sources = self._lay_out_probabilities()
        frequencies = np.diff(self._counts.indptr).astype(np.float64)
        self._idf = parameters.idf(self._probabilities @ frequencies, len(passages))
        self._num_postings = (self._probabilities > 0) @ frequencies

    @classmethod
    def build(cls, passages: pl.Series, translations: Translations, parameters: Bm25 = DEFAULT) -> "TranslatedIndex":
        """Of texts (String, no nulls) in the language into which is translated."""
        analyser = Analyser(translations.passage_language)
        return cls(analyser, analyser.find_terms(passages), translations, parameters)

    def search(self, queries: pl.Series, top_k: int, allowed: NDArray[np.bool_] | None = None) -> Hits:
        """As `indexing.lexical.Index` says; a word that stands twice in a query counts twice."""
        offsets, lists = self._find_lists(queries)
        shape = (len(queries), min(top_k, self._counts.shape[1]))
        rows, scores = np.empty(shape, np.int64), np.empty(shape, np.float32)
        for start, stop in pairwise(self._cut(offsets, lists)):
            bounds = offsets[start : stop + 1]
            distinct, numbers = np.unique(lists[bounds[0] : bounds[-1]], return_inverse=True)
            postings = self._translate(distinct)
            hits = postings.rank(bounds - bounds[0], numbers.astype(np.int32), top_k, allowed)
            rows[start:stop], scores[start:stop] = hits
        return rows, scores

    def _find_lists(self, queries: pl.Series) -> tuple[Numbers, Numbers]:
        """The rows of `_probabilities` that each query asks for, ragged: offsets and rows."""
        matches = self._translations.match(queries)
        terms = self._analyser.find_terms(matches.unmatched).number_in(self._vocabulary)
        unmatched = matches.sources == NO_SOURCE
        lengths = np.ones(len(unmatched), np.int64)
        lengths[unmatched] = np.diff(terms.offsets)
        lists = np.repeat(matches.sources, lengths)
        lists[np.repeat(unmatched, lengths)] = self._num_sources + terms.ids
        return bound_rows(lengths)[matches.offsets], lists

    def _cut(self, offsets: Numbers, lists: Numbers) -> Numbers:
        """Where to cut the queries so that between two cuts there are some _CHUNK_POSTINGS or a single query."""
        chunks = bound_rows(self._num_postings[lists])[offsets[1:]] // _CHUNK_POSTINGS
        return np.unique([0, *(np.flatnonzero(np.diff(chunks)) + 1), len(chunks)])

    def _translate(self, lists: Numbers) -> Postings:
        """The passages of rows of `_probabilities`, with their shares of the score."""
        frequencies = self._probabilities[lists] @ self._counts
        weights = frequencies.data
        weights /= weights + self._damping[frequencies.indices]
        weights *= np.repeat(self._idf[lists], np.diff(frequencies.indptr))
        indices = frequencies.indices.astype(np.int32, copy=False)
        return Postings(frequencies.shape[1], frequencies.indptr.astype(np.int64), indices, weights)

    def _lay_out_probabilities(self) -> tuple[Any, int]:
        """p(term | source) as a CSR matrix with the identity below it, and the number of sources."""
        sparse = _import_sparse()
        targets = self._translations.list_targets()
        terms = self._analyser.find_terms(targets["target"])
        known = terms.number_in(self._vocabulary)
        shares = targets["weight"].to_numpy() / np.maximum(np.diff(terms.offsets), 1)
        shares = np.repeat(shares, np.diff(known.offsets)).astype(np.float32)
        num_sources = targets["source"].n_unique()
        bounds = known.offsets[np.searchsorted(targets["source"].to_numpy(), np.arange(num_sources + 1))]
        matrix = sparse.csr_matrix((shares, known.ids, bounds), shape=(num_sources, len(self._vocabulary)))
        matrix.sum_duplicates()
        identity = sparse.identity(len(self._vocabulary), np.float32, "csr")
        return sparse.vstack([matrix, identity], "csr"), num_sources


def _count_terms(passages: Terms) -> Any:
    """How often each term stands in each passage: CSR, (terms, passages), float32."""
    owners = np.repeat(np.arange(len(passages), dtype=np.int32), np.diff(passages.offsets))
    ones = np.ones(len(owners), np.float32)
    shape = (len(passages.vocabulary), len(passages))
    return _import_sparse().csr_matrix((ones, (passages.ids, owners)), shape=shape)


def _import_sparse() -> Any:
    try:
        from scipy import sparse
    except ImportError as error:
        raise InputError("search across languages needs SciPy: pip install 'csgen[eval]'") from error
    return sparse
