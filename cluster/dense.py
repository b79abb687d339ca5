"""Dense search of the evaluation: an encoder over all passages of a cell, exactly, as a ranker of cells."""

from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np
import polars as pl
from numpy.typing import NDArray

from cluster.cell_ranker import CellRanker
from cluster.models import load_encoder
from eval.benchmark import Benchmark
from eval.experiment import DenseSpec
from eval.systems import Ranker
from indexing.encoder import Encoder
from indexing.lexical import Index
from indexing.ranking import Hits

_KEPT_ENCODERS = 8  # with their vectors: 150 MB each with 200,000 passages of 192 numbers
_BLOCK_QUERIES = 256  # scored at a time: 64 MB with 62,000 passages


def open_dense(spec: DenseSpec, path: str) -> Ranker:
    """The ranker of a specification. A language's passages are encoded when a cell first asks for them, and kept."""
    return CellRanker(_open_indexes(path, spec.precision, spec.max_tokens))


@lru_cache(_KEPT_ENCODERS)
def _open_indexes(path: str, precision: str, max_tokens: int) -> "DenseIndexes":
    """One for all groups of cells that a process makes: encoding takes far longer than searching."""
    return DenseIndexes(load_encoder(path, precision, max_tokens))


@dataclass
class DenseIndexes:
    """Indexes by the passages' language, whatever the queries' is."""

    encoder: Encoder
    _opened: dict[tuple[str, str], Index] = field(default_factory=dict)

    def __call__(self, benchmark: Benchmark, query_language: str, passage_language: str) -> Index:
        key = (benchmark.folder, passage_language)
        if key not in self._opened:
            texts = benchmark.passages(passage_language)["text"].to_list()
            self._opened[key] = DenseIndex(self.encoder, self.encoder.encode(texts))
        return self._opened[key]


@dataclass(frozen=True)
class DenseIndex:
    """Passages by their vectors, (passages, dim) float32."""

    encoder: Encoder
    vectors: NDArray[np.float32]

    def search(self, queries: pl.Series, top_k: int, allowed: NDArray[np.bool_] | None = None) -> Hits:
        """As `indexing.lexical.Index` says, by inner products; every allowed passage can be a hit."""
        vectors = self.encoder.encode(queries.to_list())
        rows = np.arange(len(self.vectors)) if allowed is None else np.nonzero(allowed)[0]
        passages = self.vectors if allowed is None else self.vectors[rows]
        shape = (len(queries), min(top_k, len(self.vectors)))
        found, scores = np.full(shape, -1, np.int64), np.zeros(shape, np.float32)
        num_hits = min(top_k, len(rows))
        for first in range(0, len(queries) if num_hits else 0, _BLOCK_QUERIES):
            products = vectors[first : first + _BLOCK_QUERIES] @ passages.T
            least = np.partition(products, -num_hits, axis=1)[:, -num_hits]
            for query, one in enumerate(products, first):
                reached = np.nonzero(one >= least[query - first])[0]  # more than num_hits where scores are equal
                best = reached[np.argsort(-one[reached], kind="stable")[:num_hits]]
                found[query, :num_hits], scores[query, :num_hits] = rows[best], one[best]
        return found, scores
