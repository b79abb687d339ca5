"""Vectors on a GPU: the code around FAISS's GPU indexes, with indexes of a CPU in their places, and on a real GPU."""

from dataclasses import dataclass

import numpy as np
import pytest
from toy_vectors import clustered, found, make_segments, make_trained, sort_all, toy

from csgen.errors import InputError
from indexing.vectors import gpu, library, segment
from indexing.vectors.search import NOT_COUNTED, Effort, search_segments
from indexing.vectors.segment import VectorSegment

faiss = pytest.importorskip("faiss")

HAS_SUPPORT = hasattr(faiss, "StandardGpuResources")
HAS_GPU = HAS_SUPPORT and faiss.get_num_gpus() > 0
needs_gpu = pytest.mark.skipif(not HAS_GPU, reason="needs faiss-gpu and a GPU")
without_support = pytest.mark.skipif(HAS_SUPPORT, reason="this FAISS has GPU support")
ON_GPU = ("flat", "ivf", "sq8", "ivf-pq")


@dataclass(frozen=True)
class OwnHeaps:
    """An index with lists that is searched by itself, as one on a GPU is."""

    index: object

    def search(self, queries, width, params):
        shared, self.index.parallel_mode = self.index.parallel_mode, 0
        found = self.index.search(queries, width, params=params)
        self.index.parallel_mode = shared
        return found


def on_stand_in(monkeypatch, kind):
    """Segments opened as on a GPU, with FAISS's indexes for a CPU in their places."""

    def move_flat(vectors):
        index = faiss.IndexFlatIP(vectors.dim)
        index.add(vectors.take(np.arange(len(vectors))))
        return index

    monkeypatch.setattr(segment, "check_kind", lambda kind: None)
    monkeypatch.setattr(segment, "move_flat", move_flat)
    monkeypatch.setattr(segment, "move_lists", OwnHeaps)
    return [VectorSegment.open(part.folder, part.trained, device="gpu") for part in toy(kind).segments]


def some_allowed(segments, ratio):
    return [np.packbits(np.random.default_rng(1).random(len(s)) < ratio, bitorder="little") for s in segments]


@pytest.mark.parametrize("kind", ON_GPU)
@pytest.mark.parametrize("ratio", [1.0, 0.9, 0.4])
def test_candidates_of_other_indexes_are_ranked_to_the_same_hits(kind, ratio, monkeypatch):
    made = toy(kind)
    bitmaps = some_allowed(made.segments, ratio)
    expected = search_segments(made.segments, made.queries, 10, bitmaps)
    hits = search_segments(on_stand_in(monkeypatch, kind), made.queries, 10, bitmaps)
    np.testing.assert_array_equal(hits.rows, expected.rows)
    np.testing.assert_array_equal(hits.scores, expected.scores)


def test_queries_that_need_more_candidates_than_a_gpu_gives_are_left_to_the_cpu(monkeypatch):
    monkeypatch.setattr(gpu, "_MOST_CANDIDATES", 10)
    made = toy("flat")
    queries = np.concatenate([made.vectors[5:6], made.queries])  # with seven equal vectors
    expected = search_segments(made.segments, queries, 6)
    hits = search_segments(on_stand_in(monkeypatch, "flat"), queries, 6)
    np.testing.assert_array_equal(hits.rows, expected.rows)


def test_more_lists_than_a_gpu_looks_into_are_left_to_the_cpu(monkeypatch):
    monkeypatch.setattr(gpu, "_MOST_PROBES", 5)
    made, effort = toy("ivf"), Effort(probes=6)
    expected = search_segments(made.segments, made.queries, 6, effort=effort)
    hits = search_segments(on_stand_in(monkeypatch, "ivf"), made.queries, 6, effort=effort)
    np.testing.assert_array_equal(hits.rows, expected.rows)
    np.testing.assert_array_equal(hits.examined, expected.examined)


def test_lists_with_too_few_rows_are_followed_by_more(monkeypatch):
    rows = found(on_stand_in(monkeypatch, "ivf"), toy("ivf").queries, 700, effort=Effort(probes=1))
    assert (rows >= 0).all()


def test_rows_that_a_gpu_examines_are_not_counted(monkeypatch):
    hits = search_segments(on_stand_in(monkeypatch, "sq8"), toy("sq8").queries, 5)
    assert (hits.examined == NOT_COUNTED).all()
    assert hits.cut_off.all()
    assert hits.refined


@without_support
def test_training_on_a_gpu_needs_gpu_support(tmp_path):
    with pytest.raises(InputError, match="no GPU support"):
        make_trained(tmp_path, clustered(1, 500), kind="ivf", device="gpu")


@without_support
@pytest.mark.parametrize("kind", ON_GPU)
def test_without_gpu_support_the_error_says_what_to_install(kind):
    opened = toy(kind).segments[0]
    with pytest.raises(InputError, match="no GPU support: put the extra `gpu` in its place"):
        VectorSegment.open(opened.folder, opened.trained, device="gpu")
    library.gpu_resources.cache_clear()


@pytest.mark.parametrize("kind", ["hnsw", "rabitq"])
def test_kind_that_faiss_has_not_on_a_gpu_is_refused(kind):
    opened = toy(kind).segments[0]
    with pytest.raises(InputError, match=f"FAISS has no {kind} on a GPU: choose one of flat, ivf, ivf-pq, sq8"):
        VectorSegment.open(opened.folder, opened.trained, device="gpu")


@needs_gpu
@pytest.mark.parametrize("kind", ON_GPU)
@pytest.mark.parametrize("stored", ["float32", "float16"])
@pytest.mark.parametrize("ratio", [1.0, 0.9])
def test_a_gpu_finds_what_a_cpu_finds(kind, stored, ratio):
    made = toy(kind, stored)
    bitmaps = some_allowed(made.segments, ratio)
    opened = [VectorSegment.open(part.folder, part.trained, device="gpu") for part in made.segments]
    expected = search_segments(made.segments, made.queries, 10, bitmaps)
    hits = search_segments(opened, made.queries, 10, bitmaps)
    same = (hits.rows == expected.rows) & (hits.segments == expected.segments)
    assert same.all() if kind == "flat" else same.mean() >= 0.95
    np.testing.assert_array_equal(hits.scores[same], expected.scores[same])


@needs_gpu
@pytest.mark.parametrize("kind", ["ivf", "sq8", "ivf-pq", "rabitq"])
def test_what_is_built_on_a_gpu_is_searched_on_a_cpu(kind, tmp_path):
    vectors, queries = clustered(1, 3000), clustered(2, 12)
    trained = make_trained(tmp_path / "trained", vectors, kind=kind, device="gpu")
    rows = found(make_segments(tmp_path, trained, vectors, (1000,)), queries, 10)
    expected = sort_all(queries, vectors, 10)
    assert np.mean([len(set(a) & set(b)) / 10 for a, b in zip(rows.tolist(), expected.tolist(), strict=True)]) >= 0.9
