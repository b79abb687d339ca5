"""What finds candidates: BM25 or embeddings, over queries and passages known by their rows. Exact and deterministic."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Protocol

import numpy as np
import polars as pl
import pyarrow as pa
from numpy.typing import NDArray

from cluster.mining.choosing import Flags, Rows, Scores
from cluster.models import TextEncoder
from indexing.lexical import LexicalIndex
from indexing.ranking import NO_HIT, Hits

BLOCK_TEXTS = 4096  # encoded together, always the same ones, since a batch's other texts move a vector's last bits
_BLOCK_NUMBERS = 1 << 23  # products that are held at a time
_BLOCK_PAIRS = 1 << 14  # whose products are computed exactly at a time
_SCORED_TOGETHER = 256  # pairs that BM25 scores: each query's search is told to look at these passages alone
_ROUNDING = np.float32(1e-5)  # more than a float32 product of unit vectors is off by


class Retriever(Protocol):
    """Queries and passages, both numbered from 0 on, and a score for any two of them."""

    def search(self, queries: Rows, top_k: int) -> Hits:
        """Rows (int64) and scores (float32) of each query's best candidates, (queries, at most top_k), best first.

        Ties by the lower row; NO_HIT behind a query's last. What a query finds does not depend on the others, and its
        first hits not on `top_k`.
        """

    def score(self, queries: Rows, passages: Rows) -> Scores:
        """The score of each pair, to the bit as `search` gives it."""


@dataclass(frozen=True)
class Bm25Retriever:
    """BM25; a passage without a term in common is no hit and scores 0."""

    queries: pl.Series
    index: LexicalIndex
    candidates: Flags  # which passages may be hits

    def search(self, queries: Rows, top_k: int) -> Hits:
        return self.index.search(self.queries.gather(queries), top_k, self.candidates)

    def score(self, queries: Rows, passages: Rows) -> Scores:
        scores = np.zeros(len(queries), np.float32)
        for first in range(0, len(queries), _SCORED_TOGETHER):
            part = slice(first, first + _SCORED_TOGETHER)
            asked, query_places = np.unique(queries[part], return_inverse=True)
            wanted, passage_places = np.unique(passages[part], return_inverse=True)
            allowed = np.zeros(len(self.candidates), np.bool_)
            allowed[wanted] = True
            rows, found = self.index.search(self.queries.gather(asked), len(wanted), allowed)
            places, columns = np.nonzero(rows != NO_HIT)
            table = np.zeros((len(asked), len(wanted)), np.float32)
            table[places, np.searchsorted(wanted, rows[places, columns])] = found[places, columns]
            scores[part] = table[query_places, passage_places]
        return scores


@dataclass(frozen=True)
class EncoderRetriever:
    """Inner products of embeddings, (queries, dim) and (passages, dim) float32 of unit length."""

    queries: NDArray[np.float32]
    passages: NDArray[np.float32]
    candidates: Flags  # which passages may be hits

    def search(self, queries: Rows, top_k: int) -> Hits:
        top_k = min(top_k, len(self.passages))
        rows = np.full((len(queries), top_k), NO_HIT, np.int64)
        scores = np.zeros((len(queries), top_k), np.float32)
        step = max(1, _BLOCK_NUMBERS // max(1, len(self.passages)))
        for first in range(0, len(queries), step):
            part = slice(first, first + step)
            self._search_block(queries[part], rows[part], scores[part])
        return rows, scores

    def score(self, queries: Rows, passages: Rows) -> Scores:
        scores = np.empty(len(queries), np.float32)
        for first in range(0, len(queries), _BLOCK_PAIRS):
            part = slice(first, first + _BLOCK_PAIRS)
            # In float64 and row by row: a matrix product's last bits depend on what else is in it.
            products = self.queries[queries[part]].astype(np.float64) * self.passages[passages[part]]
            scores[part] = products.sum(axis=1)
        return scores

    def _search_block(self, queries: Rows, best_rows: Rows, best_scores: Scores) -> None:
        top_k = best_rows.shape[1]
        products = self.queries[queries] @ self.passages.T
        products[:, ~self.candidates] = -np.inf
        least = np.partition(products, -top_k, axis=1)[:, -top_k, None] - _ROUNDING
        places, rows = np.nonzero((products >= least) & self.candidates)
        scores = self.score(queries[places], rows)
        order = np.lexsort((rows, -scores, places))
        ranks = np.arange(len(places)) - np.searchsorted(places, places)  # of the sorted: places are in order already
        kept = ranks < top_k
        best_rows[places[kept], ranks[kept]] = rows[order][kept]
        best_scores[places[kept], ranks[kept]] = scores[order][kept]


@dataclass(frozen=True)
class EncodeJob:
    """Texts to encode, in shards of BLOCK_TEXTS."""

    model: str
    precision: str
    max_tokens: int
    texts: pa.Array = field(repr=False)

    @property
    def num_shards(self) -> int:
        return -(-len(self.texts) // BLOCK_TEXTS)


def encode_shard(job: EncodeJob, index: int) -> tuple[int, NDArray[np.float32]]:
    """The shard's index and the vectors of its texts."""
    texts = job.texts.slice(index * BLOCK_TEXTS, BLOCK_TEXTS).to_pylist()
    with one_thread():
        return index, _open_encoder(job.model, job.precision, job.max_tokens).encode(texts)


@lru_cache(maxsize=1)
def _open_encoder(model: str, precision: str, max_tokens: int) -> TextEncoder:
    """The encoder, loaded once a process."""
    from indexing.encoder import Encoder

    return Encoder.load(model, precision=precision, max_tokens=max_tokens)


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """Torch on one thread, as in a worker of Ray: the number of threads moves a score's last bits."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
