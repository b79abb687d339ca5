"""BM25 over the passages of one language; knows nothing of ids, collections or files."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import polars as pl
from numpy.typing import NDArray

from indexing.analysis import Analyser, Terms
from indexing.postings import count_terms, invert
from indexing.ranking import Asked, Hits, rank


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

    def saturation(
        self, frequencies: NDArray[np.uint32], lengths: NDArray[np.uint32], mean_length: float
    ) -> NDArray[np.float64]:
        """What is multiplied with idf, by a term's frequency in a passage of some length."""
        return frequencies / (self.k1 * ((1 - self.b) + self.b * lengths / mean_length) + frequencies)

    def damping(self, lengths: NDArray[np.uint32], mean_length: float) -> NDArray[np.float32]:
        """What is added to tf in the denominator, by the passage's length."""
        return (self.k1 * (1 - self.b + self.b * (lengths / mean_length))).astype(np.float32)


DEFAULT = Bm25()


def find_mean_length(total_length: int, num_passages: int) -> float:
    """The mean length of passages; 1 where they have no term, so that it can divide."""
    return total_length / num_passages if total_length else 1.0


class LexicalIndex:
    """Passages of one language under BM25. Queries are analysed as the passages are, whatever their language."""

    def __init__(self, analyser: Analyser, passages: Terms, parameters: Bm25) -> None:
        """Of passages given by their terms, as `analyser` finds them."""
        self._analyser = analyser
        self._vocabulary = passages.vocabulary
        self._counts = counts = invert([count_terms(passages)], len(passages.vocabulary))
        self._idf = parameters.idf(np.diff(counts.offsets).astype(np.float64), len(passages))
        mean_length = find_mean_length(counts.total_length, len(passages))
        self._weights = parameters.saturation(counts.frequencies, counts.lengths, mean_length)

    @classmethod
    def build(cls, passages: pl.Series, language: str, parameters: Bm25 = DEFAULT) -> "LexicalIndex":
        """Of texts (String, no nulls); a text without terms is never a hit."""
        analyser = Analyser(language)
        return cls(analyser, analyser.find_terms(passages), parameters)

    def search(self, queries: pl.Series, top_k: int, allowed: NDArray[np.bool_] | None = None) -> Hits:
        """As `Index` says; a term that stands twice in a query counts twice."""
        terms = self._analyser.find_terms(queries).number_in(self._vocabulary)
        offsets, ids = self._counts.offsets, terms.ids
        asked = Asked(terms.offsets, offsets[ids], offsets[1:][ids], self._idf[ids])
        return rank([self._counts.ask(asked, self._weights, allowed)], top_k)[0]
