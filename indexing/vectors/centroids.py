"""Coarse centroids: the lists nearest to a vector, exactly, and the k-means that finds them.

Assignments are exact and sums have a fixed order, so the centroids are the same for any number of threads; FAISS's
own k-means rests on matrix products whose last bits, and thus some assignments, follow threads and BLAS.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from csgen.neighbours import search
from indexing.vectors.kernels import scan, sum_by_list
from indexing.vectors.scoring import Ranked, bound_slacks, order
from indexing.vectors.stored import Matrix, Numbers, freeze, measure_lengths, read_blocks

Assign = Callable[[Any, Matrix], Numbers]  # vectors and centroids -> the nearest centroid of each vector

_ITERATIONS = 10  # FAISS's default for coarse centroids
_SPLIT = 2.0**-10  # by which two centroids part that share a list, as FAISS does it


@dataclass(frozen=True)
class Centroids:
    """matrix: (lists, dimensions) float32; numbers: the same, flat; places: where in them a list's begins; longest: no
    centroid is longer."""

    matrix: Matrix
    numbers: Matrix
    places: Numbers
    longest: float

    @classmethod
    def of(cls, matrix: Matrix) -> "Centroids":
        places = np.arange(len(matrix)) * matrix.shape[1]
        return cls(matrix, freeze(matrix.reshape(-1)), places, float(measure_lengths(matrix).max()))

    def __len__(self) -> int:
        return len(self.matrix)

    def find(self, queries: Matrix, top_k: int) -> Ranked:
        """The lists, as ids, with the largest inner products; ties by the lower list."""
        best = Ranked.empty(len(queries), top_k)
        slacks = bound_slacks(queries, self.longest)
        scan(queries, slacks, self.numbers, self.places, np.arange(len(self)), best.scores, best.ids)
        return order(best.ids, best.scores, top_k)


def assign_exactly(vectors: Any, centroids: Matrix, *, num_threads: int) -> Numbers:
    """The nearest centroid of each vector, (vectors,), ties to the lower, for any `num_threads`."""
    blocks = [search(block, centroids, 1, num_threads=num_threads)[1][:, 0] for _, block in read_blocks(vectors)]
    return np.concatenate(blocks)


def find_centroids(sample: Matrix, num_lists: int, seed: int, assign: Assign) -> Matrix:
    """(lists, dimensions) float32 by spherical k-means of (vectors, dimensions), as many as lists or more.

    All have one length, the mean of the sample's: a list is chosen by inner product, so that lengths must say nothing,
    but residuals, which codes are made of, are short where vectors and centroids are about as long.
    """
    length = float(measure_lengths(sample).mean())
    drawn = np.sort(np.random.default_rng(seed).permutation(len(sample))[:num_lists])
    centroids = _set_length(sample[drawn].astype(np.float64), length)
    for _ in range(_ITERATIONS):
        sums, counts = np.zeros(centroids.shape), np.zeros(num_lists, np.int64)
        sum_by_list(sample, assign(sample, centroids), sums, counts)
        _split_largest(sums, counts)
        centroids = _set_length(sums, length)
    return centroids


def _split_largest(sums: NDArray[np.float64], counts: Numbers) -> None:
    """Give each empty list half of what is then the largest: the same centroid, moved a little."""
    signs = np.where(np.arange(sums.shape[1]) % 2, 1 + _SPLIT, 1 - _SPLIT)
    for empty in np.flatnonzero(counts == 0):
        largest = int(counts.argmax())
        sums[empty], sums[largest] = sums[largest] * signs, sums[largest] * (2 - signs)
        counts[empty] = counts[largest] // 2
        counts[largest] -= counts[empty]


def _set_length(vectors: NDArray[np.float64], length: float) -> Matrix:
    lengths = np.sqrt(np.einsum("ij,ij->i", vectors, vectors))[:, None]
    scaled: Matrix = (vectors * (length / np.where(lengths > 0, lengths, 1))).astype(np.float32)
    return scaled
