"""Each kind of vector index over three segments: recall, exact scores, filters, and the same result for any threads."""

import numpy as np
import pytest
from toy_vectors import KINDS, clustered, found, make_segments, make_trained, recall, sort_all, toy

from indexing.vectors.search import NOT_COUNTED, Effort, search_segments

pytest.importorskip("faiss")

LISTED = ("ivf", "ivf-pq", "sq8", "rabitq")
STORED = [(kind, "float32") for kind in KINDS] + [(kind, "float16") for kind in ("flat", "ivf", "sq8", "hnsw")]


def allow(ratio, rows=2400, seed=5):
    return np.random.default_rng(seed).random(rows) < ratio


@pytest.mark.parametrize(("kind", "stored"), STORED)
def test_most_of_the_nearest_are_found(kind, stored):
    made = toy(kind, stored)
    assert recall(found(made.segments, made.queries, 10), sort_all(made.queries, made.vectors, 10)) >= 0.9


@pytest.mark.parametrize(("kind", "stored"), STORED)
def test_scores_are_the_exact_ones_of_the_stored_vectors(kind, stored):
    made = toy(kind, stored)
    hits = search_segments(made.segments, made.queries, 10)
    assert hits.exact_scores
    for query, scores, numbers, rows in zip(made.queries, hits.scores, hits.segments, hits.rows, strict=True):
        vectors = np.stack([made.segments[n].vectors([row])[0] for n, row in zip(numbers, rows, strict=True)])
        np.testing.assert_allclose(scores, vectors.astype(np.float64) @ query, rtol=1e-6)


@pytest.mark.parametrize(("kind", "stored"), STORED)
def test_vectors_come_back_as_they_were_stored(kind, stored):
    made = toy(kind, stored)
    rows = [59, 0, 17]
    expected = made.vectors[900:960][rows].astype(stored).astype(np.float32)
    np.testing.assert_array_equal(made.segments[1].vectors(rows), expected)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("filtered", [False, True])
def test_result_does_not_depend_on_threads_or_on_other_queries(kind, filtered):
    made = toy(kind)
    allowed = allow(0.8) if filtered else None
    expected = found(made.segments, made.queries, 20, allowed, num_threads=1)
    for num_threads in (2, 5, 16):
        np.testing.assert_array_equal(
            found(made.segments, made.queries, 20, allowed, num_threads=num_threads), expected
        )
    for query in range(3):
        alone = found(made.segments, made.queries[query : query + 1], 20, allowed, num_threads=4)
        np.testing.assert_array_equal(alone[0], expected[query])


@pytest.mark.parametrize("kind", KINDS)
def test_equal_vectors_come_in_the_order_of_segment_and_row(kind):
    made = toy(kind)
    assert found(made.segments, made.vectors[5:6], 7)[0].tolist() == [5, *range(1200, 1206)]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("ratio", [0.9, 0.5, 0.1])
def test_filter_is_kept_and_costs_little_recall(kind, ratio):
    made, allowed = toy(kind), allow(ratio)
    rows = found(made.segments, made.queries, 10, allowed)
    assert allowed[rows].all()
    assert recall(rows, sort_all(made.queries, made.vectors, 10, allowed)) >= 0.85


@pytest.mark.parametrize("kind", KINDS)
def test_very_narrow_filter_finds_all_it_allows(kind):
    made, allowed = toy(kind), allow(0.01)
    expected = sort_all(made.queries, made.vectors, 30, allowed)
    np.testing.assert_array_equal(found(made.segments, made.queries, 30, allowed), expected)


@pytest.mark.parametrize("kind", LISTED)
def test_lists_with_too_few_rows_are_followed_by_more(kind):
    made = toy(kind)
    rows = found(made.segments, made.queries, 1500, effort=Effort(probes=1))
    assert (rows >= 0).all()
    assert all(len(set(line)) == 1500 for line in rows.tolist())


@pytest.mark.parametrize("stored", ["float32", "float16"])
def test_ivf_that_looks_into_all_lists_equals_flat(stored):
    made = toy("ivf", stored)
    hits = search_segments(made.segments, made.queries, 40, effort=Effort(probes=10_000))
    expected = search_segments(toy("flat", stored).segments, made.queries, 40)
    np.testing.assert_array_equal(hits.rows, expected.rows)
    np.testing.assert_array_equal(hits.scores, expected.scores)
    assert not hits.cut_off.any()


@pytest.mark.parametrize("stored", ["float32", "float16"])
def test_ivf_finds_the_best_of_the_rows_that_are_allowed_and_in_the_lists_nearest(stored):
    made, allowed = toy("ivf", stored), allow(0.9)
    vectors = made.vectors.astype(stored).astype(np.float32)
    centroids = made.segments[0].trained.lists.centroids.matrix
    lists = sort_all(made.vectors, centroids, 1)[:, 0]
    rows = found(made.segments, made.queries, 10, allowed, effort=Effort(probes=20))
    for query, row in zip(made.queries, rows, strict=True):
        within = np.isin(lists, sort_all(query[None], centroids, 20)[0])
        np.testing.assert_array_equal(row, sort_all(query[None], vectors, 10, allowed & within)[0])


def test_ivf_does_not_depend_on_the_cut_into_segments(tmp_path):
    made = toy("ivf")
    other = make_segments(tmp_path, made.segments[0].trained, made.vectors, (17, 1000, 1001, 2000))
    np.testing.assert_array_equal(found(other, made.queries, 25), found(made.segments, made.queries, 25))


@pytest.mark.parametrize("kind", LISTED)
def test_examined_are_the_rows_in_the_lists_nearest_to_the_query(kind):
    made = toy(kind)
    hits = search_segments(made.segments, made.queries, 5, effort=Effort(probes=9))
    centroids = made.segments[0].trained.lists.centroids.matrix
    lists = np.argmax(made.vectors.astype(np.float64) @ centroids.T, axis=1)
    probed = np.argsort(-(made.queries.astype(np.float64) @ centroids.T), axis=1)[:, :9]
    np.testing.assert_array_equal(hits.examined, [np.isin(lists, nearest).sum() for nearest in probed])
    assert hits.cut_off.all()


def test_rows_that_a_graph_meets_are_not_counted():
    hits = search_segments(toy("hnsw").segments, toy("hnsw").queries, 5)
    assert (hits.examined == NOT_COUNTED).all()


@pytest.mark.parametrize("kind", ["ivf-pq", "sq8", "rabitq"])
def test_without_refinement_scores_are_those_of_the_codes_and_the_result_says_so(kind):
    made = toy(kind)
    plain = search_segments(made.segments, made.queries, 10, effort=Effort(refine_factor=0))
    refined = search_segments(made.segments, made.queries, 10)
    assert (plain.exact_scores, plain.refined, refined.refined) == (False, False, True)
    np.testing.assert_allclose(plain.scores[:, 0], refined.scores[:, 0], atol=0.3)
    assert not np.array_equal(plain.scores, refined.scores)


def test_refinement_of_more_candidates_loses_less():
    made = toy("rabitq")
    expected = sort_all(made.queries, made.vectors, 20)
    few, many = (
        recall(found(made.segments, made.queries, 20, effort=Effort(probes=100, refine_factor=factor)), expected)
        for factor in (1, 10)
    )
    assert few < many
    assert many >= 0.99


def test_segments_of_several_kinds_are_searched_together():
    flat, ivf, graph = toy("flat"), toy("ivf"), toy("hnsw")
    mixed = [flat.segments[0], graph.segments[1], ivf.segments[2]]
    assert recall(found(mixed, flat.queries, 10), sort_all(flat.queries, flat.vectors, 10)) >= 0.9
    hits = search_segments(mixed, flat.vectors[5:6], 7)
    assert hits.segments.tolist() == [[0, *[2] * 6]]  # equal vectors, in segments of different kinds
    assert hits.rows.tolist() == [[5, *range(240, 246)]]
    assert (hits.examined == NOT_COUNTED).all()
    assert hits.cut_off.all()


def test_vectors_of_other_lengths_are_found_by_inner_product(tmp_path):
    vectors = clustered(4, 2000) * np.random.default_rng(4).uniform(0.5, 8, (2000, 1)).astype(np.float32)
    queries = clustered(6, 20) * 3
    for kind in ("ivf", "sq8", "ivf-pq", "rabitq", "hnsw"):
        trained = make_trained(tmp_path / kind / "trained", vectors, kind=kind, refine_factor=None)
        segments = make_segments(tmp_path / kind, trained, vectors, (1200,))
        assert recall(found(segments, queries, 10), sort_all(queries, vectors, 10)) >= 0.8, kind
