"""BM25 over the passages of one language, by bm25s; knows nothing of ids, collections or files."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import polars as pl
import pyarrow as pa
from numpy.typing import NDArray

from indexing.analysis import Analyser, Terms, import_bm25s
from indexing.ranking import Hits, Postings


class Index(Protocol):
    """Passages, numbered from 0 on, that can be searched by text."""

    def search(self, queries: pl.Series, top_k: int, allowed: NDArray[np.bool_] | None = None) -> Hits:
        """Rows (int64) and scores (float32) of each query's best passages, best first, ties by the lower row.

        Both are (queries, the smaller of top_k and the number of passages). `allowed`, one a passage, tells which may
        be hits; None: all. Behind a query's last passage with a term in common stand row -1 and score 0. A query's
        hits do not depend on what else is asked.
        """


@dataclass(frozen=True)
class Bm25:
    """The parameters of BM25 in Lucene's form, in which a passage's score is the sum over the query's terms of

    ln(1 + (N - df + 0.5) / (df + 0.5)) * tf / (tf + k1 * (1 - b + b * length / mean length))

    https://doi.org/10.1007/978-3-030-45442-5_4 compares the forms. If not given, k1 and b are Anserini's, which found
    more in Debian's descriptions than Lucene's 1.2 and 0.75, in nine of ten languages.
    """

    k1: float = 0.9  # how slowly further occurrences of a term lose worth, 0 or more
    b: float = 0.4  # how far the passage's length counts, in [0, 1]

    def __post_init__(self) -> None:
        if self.k1 < 0 or not 0 <= self.b <= 1:
            raise ValueError(f"BM25 needs k1 of 0 or more and b in [0, 1], got {self.k1} and {self.b}")

    def idf(self, frequencies: NDArray[np.float64], num_passages: int) -> NDArray[np.float32]:
        """The weights of terms by the number of passages that have them, which may be fractions."""
        return np.log1p((num_passages - frequencies + 0.5) / (frequencies + 0.5)).astype(np.float32)

    def damping(self, lengths: NDArray[np.int64]) -> NDArray[np.float32]:
        """What is added to tf in the denominator, by passage."""
        relative = lengths / (lengths.sum() / len(lengths)) if lengths.any() else lengths
        return (self.k1 * (1 - self.b + self.b * relative)).astype(np.float32)


DEFAULT = Bm25()


class LexicalIndex:
    """Passages of one language under BM25. Queries are analysed as the passages are, whatever their language."""

    def __init__(self, analyser: Analyser, passages: Terms, parameters: Bm25) -> None:
        """Of passages given by their terms, as `analyser` finds them."""
        self._analyser = analyser
        self._vocabulary = passages.vocabulary
        self._postings = _weigh(passages, parameters)

    @classmethod
    def build(cls, passages: pl.Series, language: str, parameters: Bm25 = DEFAULT) -> "LexicalIndex":
        """Of texts (String, no nulls); a text without terms is never a hit."""
        analyser = Analyser(language)
        return cls(analyser, analyser.find_terms(passages), parameters)

    def search(self, queries: pl.Series, top_k: int, allowed: NDArray[np.bool_] | None = None) -> Hits:
        """As `Index` says; a term that stands twice in a query counts twice."""
        terms = self._analyser.find_terms(queries).number_in(self._vocabulary)
        return self._postings.rank(terms.offsets, terms.ids, top_k, allowed)


def _weigh(passages: Terms, parameters: Bm25) -> Postings:
    """Each term's passages with its share of their scores."""
    if not len(passages.ids):  # bm25s cannot index them
        no_lists = np.zeros(len(passages.vocabulary) + 1, np.int64)
        return Postings(len(passages), no_lists, np.zeros(0, np.int32), np.zeros(0, np.float32))
    # Its backend "numba", which only searching would need, compiles anew for each index.
    index = import_bm25s().BM25(k1=parameters.k1, b=parameters.b, method="lucene", backend="numpy")
    numbers = pl.Series(pa.LargeListArray.from_arrays(passages.offsets, passages.ids)).to_list()
    vocabulary = {number: number for number in range(len(passages.vocabulary))}
    index.index((numbers, vocabulary), create_empty_token=False, show_progress=False)
    scores = index.scores
    return Postings(len(passages), scores["indptr"], scores["indices"], scores["data"])
