"""Small vector segments for tests: clustered vectors, each kind built from them once, and search by plain sorting."""

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from tempfile import mkdtemp

import numpy as np

from indexing.vectors.building import build_segment
from indexing.vectors.choice import choose
from indexing.vectors.config import VectorConfig
from indexing.vectors.search import search_segments
from indexing.vectors.segment import VectorSegment
from indexing.vectors.training import train

ROWS, DIM, CUTS = 2400, 24, (900, 960)
KINDS = ("flat", "ivf", "ivf-pq", "sq8", "rabitq", "hnsw")


def clustered(seed, rows, dim=DIM, clusters=40):
    """Vectors of unit length around common centres, float32."""
    centres = np.random.default_rng(99).standard_normal((clusters, dim))
    rng = np.random.default_rng(seed)
    vectors = centres[rng.integers(0, clusters, rows)] + 0.7 * rng.standard_normal((rows, dim))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def make_trained(folder, sample, **options):
    """Training of a kind for vectors like the sample."""
    choice = choose(len(sample), sample.shape[1], VectorConfig.from_options(options))
    return train(sample, choice, str(folder), num_threads=1)


def make_segments(folder, trained, vectors, cuts=()):
    """Segments of the vectors, cut before the rows named, in folders `folder/0`, `folder/1` and so on."""
    segments = []
    for number, part in enumerate(np.split(vectors, list(cuts))):
        build_segment(part, trained, str(Path(folder, str(number))), num_threads=1)
        segments.append(VectorSegment.open(str(Path(folder, str(number))), trained))
    return segments


@dataclass(frozen=True)
class Toy:
    """A kind over ROWS vectors in three segments, and queries."""

    folder: Path
    vectors: np.ndarray
    queries: np.ndarray
    segments: list


@lru_cache
def toy(kind, stored="float32", **options):
    """Built once a session."""
    folder = Path(mkdtemp(prefix="csgen-vectors-"))
    vectors = clustered(1, ROWS)
    vectors[1200:1206] = vectors[5]  # equal vectors, in different segments
    trained = make_trained(folder / "trained", vectors, kind=kind, stored=stored, **options)
    return Toy(folder, vectors, clustered(2, 12), make_segments(folder, trained, vectors, CUTS))


def global_rows(hits, segments):
    """(queries, top k): the row of each hit among the rows of all segments in order; -1 for none."""
    starts = np.cumsum([0, *map(len, segments)])
    return np.where(hits.rows < 0, -1, starts[hits.segments] + hits.rows)


def found(segments, queries, top_k, allowed=None, **options):
    """The rows found, as `global_rows`. `allowed`: a boolean for each row of all segments."""
    starts = np.cumsum([0, *map(len, segments)])
    bitmaps = None
    if allowed is not None:
        bitmaps = [np.packbits(part, bitorder="little") for part in np.split(allowed, starts[1:-1])]
    return global_rows(search_segments(segments, queries, top_k, bitmaps, **options), segments)


def sort_all(queries, vectors, top_k, allowed=None):
    """The plain way: all inner products, rounded to float32, sorted; ties by the lower row; -1 behind the last."""
    scores = (queries.astype(np.float64) @ vectors.astype(np.float64).T).astype(np.float32)
    if allowed is not None:
        scores[:, ~allowed] = -np.inf
    rows = np.argsort(-scores, axis=1, kind="stable")[:, :top_k]
    rows = np.where(np.take_along_axis(scores, rows, 1) == -np.inf, -1, rows)
    return np.pad(rows, ((0, 0), (0, top_k - rows.shape[1])), constant_values=-1)


def recall(rows, expected):
    """The share of the expected rows that were found."""
    return np.mean([len(set(a) & set(b)) / len(b) for a, b in zip(rows.tolist(), expected.tolist(), strict=True)])
