"""Exact search of vectors in several segments: equal to sorting all, whatever threads, batches, cuts and filters."""

import tempfile

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from toy_vectors import found, global_rows, make_segments, make_trained, sort_all, toy

from indexing.vectors.search import Effort, search_segments

faiss = pytest.importorskip("faiss")

SETTINGS = settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.too_slow])


def flat_segments(folder, vectors, cuts=(), **options):
    return make_segments(folder, make_trained(f"{folder}/trained", vectors, kind="flat", **options), vectors, cuts)


@st.composite
def matrices(draw):
    """Queries and vectors of small integers, whose products are exact and often equal, and where to cut the rows."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    rows, dim, values = draw(st.integers(1, 400)), draw(st.integers(1, 70)), draw(st.integers(1, 3))
    queries = rng.integers(-values, values + 1, (draw(st.integers(1, 9)), dim)).astype(np.float32)
    vectors = rng.integers(-values, values + 1, (rows, dim)).astype(np.float32)
    cuts = sorted(set(draw(st.lists(st.integers(1, max(rows - 1, 1)), max_size=4))) - {rows})
    return queries, vectors, cuts, rng


@SETTINGS
@given(matrices(), st.integers(1, 12), st.integers(1, 3))
def test_segments_give_what_sorting_all_rows_gives_ties_by_segment_and_row(matrices, top_k, num_threads):
    queries, vectors, cuts, _ = matrices
    with tempfile.TemporaryDirectory() as folder:
        segments = flat_segments(folder, vectors, cuts)
        rows = found(segments, queries, top_k, num_threads=num_threads)
    np.testing.assert_array_equal(rows, sort_all(queries, vectors, top_k))


@SETTINGS
@given(matrices(), st.integers(1, 12), st.sampled_from([0.0, 0.02, 0.3, 0.5, 0.9]))
def test_filter_gives_the_best_of_the_rows_it_allows(matrices, top_k, ratio):
    queries, vectors, cuts, rng = matrices
    allowed = rng.random(len(vectors)) < ratio
    with tempfile.TemporaryDirectory() as folder:
        segments = flat_segments(folder, vectors, cuts)
        rows = found(segments, queries, top_k, allowed)
    np.testing.assert_array_equal(rows, sort_all(queries, vectors, top_k, allowed))


def close_vectors(rows=3000, dim=48):
    """Many rows nearer to each other than float32 sums can tell, and many that are equal."""
    rng = np.random.default_rng(3)
    vectors = rng.standard_normal((rows, dim)).astype(np.float32)
    vectors[1000:1400] = vectors[0] + 1e-7 * rng.standard_normal((400, dim)).astype(np.float32)
    vectors[2000:2600] = vectors[7]
    return vectors, np.concatenate([vectors[[0, 7, 1]], rng.standard_normal((70, dim)).astype(np.float32)])


@pytest.mark.parametrize("stored", ["float32", "float16"])
def test_result_is_the_same_bit_by_bit_for_any_threads_batch_and_cut(tmp_path, stored):
    vectors, queries = close_vectors()
    whole = flat_segments(tmp_path / "whole", vectors, stored=stored)
    expected = search_segments(whole, queries, 30, num_threads=1)
    cut = flat_segments(tmp_path / "cut", vectors, (1, 1100, 2300), stored=stored)
    np.testing.assert_array_equal(found(cut, queries, 30, num_threads=3), expected.rows)
    np.testing.assert_array_equal(search_segments(cut, queries, 30, num_threads=2).scores, expected.scores)
    for query in range(6):
        alone = search_segments(cut, queries[query : query + 1], 30, num_threads=2)
        np.testing.assert_array_equal(alone.scores[0], expected.scores[query])
        np.testing.assert_array_equal(found(cut, queries[query : query + 1], 30)[0], expected.rows[query])


def test_order_is_that_of_exact_products_rounded_once(tmp_path):
    vectors, queries = close_vectors()
    rows = found(flat_segments(tmp_path, vectors, (1200,)), queries, 30)
    np.testing.assert_array_equal(rows, sort_all(queries, vectors, 30))


@pytest.mark.parametrize("num_threads", [1, 3])
def test_of_more_ties_than_a_search_holds_at_a_time_the_first_are_found(tmp_path, num_threads):
    segments = flat_segments(tmp_path, np.ones((5000, 8), np.float32), (700,))
    rows = found(segments, np.ones((9, 8), np.float32), 3, num_threads=num_threads)
    np.testing.assert_array_equal(rows, np.tile([0, 1, 2], (9, 1)))


def test_ids_are_those_of_one_flat_index_of_faiss(tmp_path):
    vectors = np.random.default_rng(8).standard_normal((3000, 32)).astype(np.float32)
    index = faiss.IndexFlatIP(32)
    index.add(vectors)
    segments = flat_segments(tmp_path, vectors, (500, 1500, 2999))
    for batch in (1, 32):
        hits = search_segments(segments, vectors[:batch], 50)
        scores, rows = index.search(vectors[:batch], 50)
        apart = np.pad(-np.diff(scores) > 1e-4, ((0, 0), (1, 1)))  # nearer than that, FAISS's last bits decide
        clear = apart[:, 1:] & apart[:, :-1]
        assert clear.mean() > 0.8
        np.testing.assert_array_equal(global_rows(hits, segments)[clear], rows[clear])
        np.testing.assert_allclose(hits.scores, scores, rtol=1e-5)


def test_top_k_beyond_all_rows_takes_no_more_memory_than_they_do(tmp_path):
    segments = flat_segments(tmp_path, np.eye(40, dtype=np.float32), (7,))
    hits = search_segments(segments, np.eye(40, dtype=np.float32)[:1], 100_000)
    assert hits.rows.shape == (1, 100_000)
    assert (hits.rows >= 0).sum() == 40


def test_zero_and_minus_zero_are_equal_scores(tmp_path):
    vectors = np.array([[0, 1], [-0.0, -1], [1, 0], [-1, -0.0], [0, 0]], np.float32)
    rows = found(flat_segments(tmp_path, vectors, (2,)), np.array([[0, 0], [-0.0, 1]], np.float32), 5)
    assert rows.tolist() == [[0, 1, 2, 3, 4], [0, 2, 3, 4, 1]]


def test_tiny_and_huge_vectors_keep_their_order(tmp_path):
    vectors = np.random.default_rng(0).standard_normal((300, 5)).astype(np.float32)
    for scale in (1e-22, 1e15):
        rows = found(flat_segments(tmp_path / str(scale), vectors * np.float32(scale)), vectors[:4] * scale, 9)
        expected = sort_all((vectors[:4] * scale).astype(np.float32), vectors * np.float32(scale), 9)
        np.testing.assert_array_equal(rows, expected)


def test_result_says_what_was_done():
    segments = toy("flat").segments
    hits = search_segments(segments, toy("flat").queries, 5)
    assert (hits.exact_scores, hits.refined, hits.num_allowed, hits.over_size) == (True, False, 2400, False)
    assert hits.examined.tolist() == [2400] * 12
    assert not hits.cut_off.any()
    assert (hits.scores.dtype, hits.segments.dtype, hits.rows.dtype) == (np.float32, np.int32, np.int64)


def test_top_k_over_size_leaves_minus_one_behind_the_last_hit():
    segments = toy("flat").segments
    bitmaps = [np.packbits(np.arange(len(segment)) == 3, bitorder="little") for segment in segments]
    hits = search_segments(segments, toy("flat").queries, 5, bitmaps)
    assert hits.over_size
    assert hits.num_allowed == 3
    assert (hits.rows[:, :3] == 3).all()
    assert (hits.rows[:, 3:] == -1).all()
    assert (hits.segments[:, 3:] == -1).all()
    assert np.isneginf(hits.scores[:, 3:]).all()


def test_no_allowed_row_gives_no_hit():
    segments = toy("flat").segments
    hits = search_segments(segments, toy("flat").queries, 5, [np.zeros(-(-len(s) // 8), np.uint8) for s in segments])
    assert (hits.rows == -1).all()


def test_no_query_gives_an_empty_result():
    assert search_segments(toy("flat").segments, np.empty((0, 24), np.float32), 5).rows.shape == (0, 5)


@pytest.mark.parametrize("kind", ["flat", "ivf"])
def test_rows_that_float32_hardly_tells_apart_are_ordered_by_exact_scores(kind, tmp_path):
    rng = np.random.default_rng(5)
    base = rng.standard_normal((3, 96))
    noise = 10.0 ** -rng.integers(3, 8, (900, 1)) * rng.standard_normal((900, 96))
    vectors, queries = (base[rng.integers(0, 3, 900)] + noise).astype(np.float32), base.astype(np.float32)
    segments = make_segments(tmp_path, make_trained(tmp_path / "trained", vectors, kind=kind), vectors, (300, 310))
    hits = search_segments(segments, queries, 60, effort=Effort(probes=1000))
    exact = (queries.astype(np.float64) @ vectors.astype(np.float64).T).astype(np.float32)
    np.testing.assert_array_equal(hits.scores, -np.sort(-exact, axis=1)[:, :60])
