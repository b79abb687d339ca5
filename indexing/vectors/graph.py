"""HNSW graphs: built, mapped and searched. The graph alone is kept; the vectors are those of the segment's own file.

FAISS maps the links and reads 12 bytes a vector (its level and offset). A graph is the same for any number of threads
(FAISS 1.15 builds it in rounds), and a query's walk through it does not depend on the others.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from csgen.errors import InputError
from csgen.files import replace_file
from indexing.vectors.choice import Choice
from indexing.vectors.kernels import ROW_BITS, drop_worse
from indexing.vectors.library import faiss_threads, load_faiss, reading
from indexing.vectors.scoring import MARGIN, NO_ID, Bitmap, Bounds, Ranked, Ranker
from indexing.vectors.stored import Matrix, Numbers, StoredVectors, read_blocks
from indexing.vectors.threads import cut_evenly, run_tasks

_TASKS_A_THREAD = 2


@dataclass(frozen=True)
class Graph:
    """A segment's graph, mapped. index: FAISS's, over `storage`, a view of the segment's vectors."""

    index: Any
    storage: Any


@dataclass(frozen=True)
class GraphPart:
    """What to search of a segment: `number` is its place among the ranker's; allowed None: all rows.

    ef_search: candidates of the walk, at least; with a filter more, since it passes through rows not allowed.
    """

    number: int
    graph: Graph
    allowed: Bitmap | None
    ef_search: int


def write_graph(path: str, vectors: Any, choice: Choice, num_threads: int) -> None:
    """Build the graph of (rows, dimensions) floats, which takes them into memory, and write it."""
    with faiss_threads(num_threads) as faiss:
        metric, half = faiss.METRIC_INNER_PRODUCT, faiss.ScalarQuantizer.QT_fp16
        if choice.stored == "float32":
            index = faiss.IndexHNSWFlat(choice.dim, choice.links, metric)
        else:
            index = faiss.IndexHNSWSQ(choice.dim, half, choice.links, metric)
        index.hnsw.efConstruction = choice.ef_construction
        index.add(np.concatenate([block for _, block in read_blocks(vectors)]))
        content = faiss.serialize_index(index, faiss.IO_FLAG_SKIP_STORAGE)
    with replace_file(path) as stream:
        stream.write(memoryview(content))


def open_graph(path: str, vectors: StoredVectors) -> Graph:
    """The graph of a file over its vectors. What is altered within the links is not seen: a hash of the file tells."""
    faiss = load_faiss()
    storage = _view(faiss, vectors)
    with reading(path):
        index = faiss.read_index(path, faiss.IO_FLAG_MMAP_IFC)
    kind = type(index).__name__
    if not isinstance(index, faiss.IndexHNSW) or (index.ntotal, index.d) != (len(vectors), vectors.dim):
        raise InputError.at(
            path, None, f"of another kind or altered: expected a graph of {len(vectors):,} x {vectors.dim}, got {kind} "
            f"of {index.ntotal:,} x {index.d}"
        )  # fmt: skip
    index.storage, index.own_fields = storage, False
    return Graph(index, storage)


def _view(faiss: Any, vectors: StoredVectors) -> Any:
    """FAISS's index of the vectors where they lie, without a copy; they must outlive it."""
    if vectors.numbers.dtype == np.float32:
        storage = faiss.IndexFlatIP(vectors.dim)
    else:
        half = faiss.ScalarQuantizer.QT_fp16
        storage = faiss.IndexScalarQuantizer(vectors.dim, half, faiss.METRIC_INNER_PRODUCT)
    content = vectors.numbers.view(np.uint8)
    storage.codes = faiss.MaybeOwnedVectorUInt8.create_view(faiss.swig_ptr(content), content.size, storage.codes.owner)
    storage.ntotal = len(vectors)
    return storage


def search_graphs(
    queries: Matrix, parts: Sequence[GraphPart], ranker: Ranker, slacks: Bounds, num_threads: int
) -> Ranked:
    """The hits of each query. `slacks` (queries,): by how much two float32 scores can be off together."""
    width = min(ranker.top_k + MARGIN, max(part.graph.index.ntotal for part in parts))
    scores = np.empty((len(queries), len(parts) * width), np.float32)
    ids = np.empty(scores.shape, np.int64)

    def fill(place: int, part: slice) -> None:
        columns = slice(place * width, (place + 1) * width)
        scores[part, columns], ids[part, columns] = _walk(parts[place], queries[part], width)

    slices = cut_evenly(len(queries), -(-_TASKS_A_THREAD * num_threads // len(parts)))
    run_tasks([partial(fill, place, part) for part in slices for place in range(len(parts))], num_threads)
    drop_worse(ids, scores, ranker.top_k, slacks)
    return ranker.rank(queries, ids)


def _walk(part: GraphPart, queries: Matrix, width: int) -> tuple[Matrix, Numbers]:
    """(queries, width) scores and ids of what a walk finds, id -1 for none."""
    with faiss_threads(1) as faiss:
        selector = None if part.allowed is None else faiss.IDSelectorBitmap(part.allowed)
        parameters = faiss.SearchParametersHNSW(sel=selector, efSearch=max(part.ef_search, width))
        scores, rows = part.graph.index.search(queries, width, params=parameters)
    return scores, np.where(rows >= 0, rows + (part.number << ROW_BITS), NO_ID)
