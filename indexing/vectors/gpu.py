"""Vectors on a GPU: the same candidates from FAISS's GPU indexes, scored and ranked like those of a CPU.

FAISS's GPU indexes take no filter, and give some thousand candidates at most. So a query gets candidates beyond those
wanted, rows not allowed are dropped, and a query for which that may not do is left to the CPU. Flat results are the
same as the CPU's; those of lists may differ in lists whose centroids are equally near.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from csgen.errors import InputError
from indexing.vectors.kernels import ROW_BITS
from indexing.vectors.library import gpu_resources, load_faiss
from indexing.vectors.scoring import MARGIN, NO_ID, Bitmap, Bounds, Ranked, Ranker
from indexing.vectors.stored import Matrix, Numbers, StoredVectors, read_blocks

_MOST_CANDIDATES = 1023  # of 8-bit codes; 2,048 elsewhere: https://github.com/facebookresearch/faiss/issues/3207
_MOST_PROBES = 2048
_WIDE_CODES = 48  # bytes of ivf-pq, beyond which FAISS's tables must be of float16 to fit: issue 1178
_ROWS_A_BLOCK = 1 << 16
_ON_GPU = ("flat", "ivf", "ivf-pq", "sq8")


@dataclass(frozen=True)
class GpuPart:
    """What to search of a segment: `number` is its place among the ranker's; allowed None: all rows."""

    number: int
    index: Any
    allowed: Bitmap | None
    allowed_ratio: float


def move_flat(vectors: StoredVectors) -> Any:
    """A flat index of the vectors in the memory of the GPU."""
    resources = gpu_resources()
    index = load_faiss().GpuIndexFlatIP(resources, vectors.dim)
    for first in range(0, len(vectors), _ROWS_A_BLOCK):
        index.add(vectors.take(np.arange(first, min(first + _ROWS_A_BLOCK, len(vectors)))))
    return index


def move_lists(index: Any) -> Any:
    """A copy of an index with lists in the memory of the GPU."""
    resources, faiss = gpu_resources(), load_faiss()
    options = faiss.GpuClonerOptions()
    options.useFloat16 = isinstance(index, faiss.IndexIVFPQ) and index.code_size > _WIDE_CODES
    try:
        return faiss.index_cpu_to_gpu(resources, 0, index, options)
    except RuntimeError as error:
        detail = str(error).splitlines()[0]
        raise InputError(f"FAISS cannot hold these lists on a GPU: choose the device cpu ({detail})") from error


def check_kind(kind: str) -> None:
    if kind not in _ON_GPU:
        raise InputError(f"FAISS has no {kind} on a GPU: choose one of {', '.join(_ON_GPU)}, or the device cpu")
    gpu_resources()


def assign_on_gpu(vectors: Any, centroids: Matrix) -> Numbers:
    """The nearest of the centroids to each vector, by inner product in float32."""
    resources = gpu_resources()
    index = load_faiss().GpuIndexFlatIP(resources, centroids.shape[1])
    index.add(centroids)
    return np.concatenate([index.search(block, 1)[1][:, 0] for _, block in read_blocks(vectors)])


def search_on_gpu(
    queries: Matrix, parts: Sequence[GpuPart], ranker: Ranker, wanted: int, slacks: Bounds, probes: int
) -> tuple[Ranked, Numbers]:
    """The hits of each query by exact scores, and the queries that are left to the CPU.

    wanted, slacks (queries,): as in `Ranker.settle`. probes: lists that a query looks into; 0 for flat.
    """
    if probes > _MOST_PROBES:
        return Ranked.empty(len(queries), ranker.top_k), np.arange(len(queries))

    def find(pending: Numbers, width: int) -> tuple[Matrix, Numbers, Matrix]:
        found = [_search_part(part, queries[pending], width, probes) for part in parts]
        scores, ids, floors = zip(*found, strict=True)
        return np.concatenate(scores, axis=1), np.concatenate(ids, axis=1), np.max(floors, axis=0)

    width = int((wanted + MARGIN) / min(part.allowed_ratio for part in parts))
    return ranker.settle(queries, find, wanted, slacks, exactly=True, width=width, widest=_MOST_CANDIDATES)


def _search_part(part: GpuPart, queries: Matrix, width: int, probes: int) -> tuple[Matrix, Numbers, Matrix]:
    """As scoring.Find."""
    parameters = load_faiss().SearchParametersIVF(nprobe=probes) if probes else None
    scores, rows = part.index.search(queries, width, params=parameters)
    floors = np.where(rows[:, -1] >= 0, scores[:, -1], -np.inf)
    found = rows >= 0
    if part.allowed is not None:
        found &= (part.allowed[rows >> 3] >> (rows & 7) & 1).astype(np.bool_)
    return scores, np.where(found, rows + (part.number << ROW_BITS), NO_ID), floors
