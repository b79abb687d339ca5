"""Exact search for the nearest vectors by inner product. The only module that imports faiss.

FAISS finds candidates by a matrix product in float32, whose last bits depend on blocks and threads. So a few more than
asked are taken and scored again in a fixed order of sums; a query whose candidates could still miss one is searched
wider. The result depends on the vectors alone.
"""

import contextlib
from collections.abc import Iterator
from types import ModuleType

import numpy as np
from numba import njit
from numpy.typing import NDArray

from csgen.errors import InputError

Matrix = NDArray[np.float32]

_BLOCK_ROWS = 1 << 14  # queries a call: FAISS cuts them into 4,096 itself, and Ctrl-C waits for the end of a call
_MARGIN = 4  # candidates beyond the ones asked for; each costs FAISS some 0.4 % at 20,000 x 20,000 x 300
_WIDENING = 8  # how many times as many candidates, where so few do not settle a query
_MAX_CANDIDATES = 1 << 22  # scored at a time: bounds their memory to 100 MB
_ROUNDOFF = 2.0**-24  # of float32


def search(
    queries: Matrix, base: Matrix, top_k: int, *, num_threads: int | None = None, block_rows: int = _BLOCK_ROWS
) -> tuple[Matrix, NDArray[np.int64]]:
    """Scores (num_queries, top_k) float32 and rows of `base`, int64: the largest inner products, best first.

    Ties go to the lower row. Both matrices are (rows, dimensions) and finite. A base of fewer than `top_k` rows gives
    as many columns as it has rows. Exact, whatever `num_threads` (None: as FAISS is set) and `block_rows`.
    """
    if queries.shape[1] != base.shape[1]:
        raise ValueError(f"queries have {queries.shape[1]} dimensions and the base has {base.shape[1]}")
    if top_k < 1 or block_rows < 1:
        raise ValueError(f"top_k and block_rows must be 1 or more, got {top_k} and {block_rows}")
    top_k = min(top_k, len(base))
    scores = np.empty((len(queries), top_k), np.float32)
    rows = np.empty((len(queries), top_k), np.int64)
    if scores.size == 0:
        return scores, rows
    base = np.ascontiguousarray(base, np.float32)
    longest = float(_lengths(base).max())
    with _faiss_threads(num_threads) as faiss:
        for start in range(0, len(queries), block_rows):
            part = slice(start, start + block_rows)
            block = np.ascontiguousarray(queries[part], np.float32)
            # Of a float32 sum of products in any order: Higham, Accuracy and Stability of Numerical Algorithms, 3.5
            errors = _lengths(block) * (longest * (base.shape[1] + 1) * _ROUNDOFF)
            _search_block(faiss, block, base, errors, scores[part], rows[part])
    return scores, rows


def mean_similarity(queries: Matrix, base: Matrix, num_neighbours: int, *, num_threads: int | None = None) -> Matrix:
    """The mean inner product of each query with its nearest of the base, (num_queries,) float32."""
    scores, _ = search(queries, base, num_neighbours, num_threads=num_threads)
    means: Matrix = scores.mean(axis=1, dtype=np.float64).astype(np.float32)
    return means


def _search_block(
    faiss: ModuleType,
    queries: Matrix,
    base: Matrix,
    errors: NDArray[np.float64],
    scores: Matrix,
    rows: NDArray[np.int64],
) -> None:
    """Fill `scores` and `rows`; `errors` bound those of FAISS's inner products, by query."""
    top_k = scores.shape[1]
    pending, width = np.arange(len(queries)), top_k + _MARGIN
    while len(pending):
        width = min(width, len(base))
        step = max(1, _MAX_CANDIDATES // width)
        missing = []
        for chunk in (pending[start : start + step] for start in range(0, len(pending), step)):
            found, candidates = faiss.knn(queries[chunk], base, width, metric=faiss.METRIC_INNER_PRODUCT)
            exact = np.empty(candidates.shape, np.float64)
            _score(queries[chunk], base, candidates, exact)
            order = np.lexsort((candidates, -exact))[:, :top_k]
            best = np.take_along_axis(exact, order, 1)
            scores[chunk], rows[chunk] = best, np.take_along_axis(candidates, order, 1)
            settled = best[:, -1] > found[:, -1] + errors[chunk]  # then nothing that FAISS left out comes near
            missing.append(chunk[~settled])
        pending = np.concatenate(missing) if width < len(base) else pending[:0]
        width *= _WIDENING


@contextlib.contextmanager
def _faiss_threads(num_threads: int | None) -> Iterator[ModuleType]:
    """faiss, set to so many threads within the block."""
    try:
        import faiss
    except ImportError as error:
        raise InputError("the search for nearest vectors needs FAISS: pip install 'csgen[embeddings]'") from error
    before = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(num_threads or before)
    try:
        yield faiss
    finally:
        faiss.omp_set_num_threads(before)


def _lengths(matrix: Matrix) -> NDArray[np.float64]:
    lengths: NDArray[np.float64] = np.sqrt(np.einsum("ij,ij->i", matrix, matrix, dtype=np.float64))
    if not np.isfinite(lengths).all():
        raise ValueError(f"row {int(np.flatnonzero(~np.isfinite(lengths))[0])} of the vectors is not finite")
    return lengths


@njit(cache=True, nogil=True)
def _score(queries, base, candidates, scores):  # type: ignore[no-untyped-def]
    """Inner products of each query with its candidates. A product of two float32 is exact in float64; eight sums in
    a fixed order, so that they can share a register."""
    num_dimensions = queries.shape[1]
    rest = num_dimensions - num_dimensions % 8
    for q in range(candidates.shape[0]):
        query = queries[q]
        for c in range(candidates.shape[1]):
            row = base[candidates[q, c]]
            s0 = s1 = s2 = s3 = s4 = s5 = s6 = s7 = 0.0
            for j in range(0, rest, 8):
                s0 += np.float64(query[j]) * np.float64(row[j])
                s1 += np.float64(query[j + 1]) * np.float64(row[j + 1])
                s2 += np.float64(query[j + 2]) * np.float64(row[j + 2])
                s3 += np.float64(query[j + 3]) * np.float64(row[j + 3])
                s4 += np.float64(query[j + 4]) * np.float64(row[j + 4])
                s5 += np.float64(query[j + 5]) * np.float64(row[j + 5])
                s6 += np.float64(query[j + 6]) * np.float64(row[j + 6])
                s7 += np.float64(query[j + 7]) * np.float64(row[j + 7])
            for j in range(rest, num_dimensions):
                s0 += np.float64(query[j]) * np.float64(row[j])
            scores[q, c] = ((s0 + s4) + (s2 + s6)) + ((s1 + s5) + (s3 + s7))
