"""The exact search for nearest vectors, against NumPy."""

import builtins

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from csgen import neighbours
from csgen.errors import InputError
from csgen.neighbours import mean_similarity, search

pytest.importorskip("faiss")


def normal(seed, rows, dimensions):
    return np.random.default_rng(seed).standard_normal((rows, dimensions)).astype(np.float32)


def sort_all(queries, base, top_k):
    """The plain way: all inner products, sorted; ties by the lower row."""
    scores = queries.astype(np.float64) @ base.astype(np.float64).T
    rows = np.argsort(-scores, axis=1, kind="stable")[:, :top_k]
    return np.take_along_axis(scores, rows, 1).astype(np.float32), rows


@settings(deadline=None, max_examples=50)
@given(
    seed=st.integers(0, 2**32),
    queries=st.integers(1, 60),
    base=st.integers(1, 300),
    dimensions=st.integers(1, 20),
    top_k=st.integers(1, 12),
    values=st.integers(1, 4),
)
def test_search_finds_what_sorting_all_finds_ties_by_the_lower_row(seed, queries, base, dimensions, top_k, values):
    rng = np.random.default_rng(seed)  # small integers: sums are exact, and ties are many
    queries = rng.integers(-values, values + 1, (queries, dimensions)).astype(np.float32)
    base = rng.integers(-values, values + 1, (base, dimensions)).astype(np.float32)
    scores, rows = search(queries, base, top_k)
    expected_scores, expected_rows = sort_all(queries, base, top_k)
    np.testing.assert_array_equal(rows, expected_rows)
    np.testing.assert_array_equal(scores, expected_scores)


def test_scores_are_float32_and_rows_int64():
    scores, rows = search(normal(0, 3, 4), normal(1, 9, 4), 2)
    assert (scores.dtype, rows.dtype, scores.shape, rows.shape) == (np.float32, np.int64, (3, 2), (3, 2))


def test_result_is_the_same_for_any_blocks_and_threads():
    base = normal(1, 3000, 64)
    base[1000:2000] = base[:1000] + normal(2, 1000, 64) * 1e-7  # nearer to each other than float32 sums can tell
    queries = normal(0, 500, 64)
    expected = search(queries, base, 5)
    np.testing.assert_array_equal(expected[1], sort_all(queries, base, 5)[1])
    for num_threads, block_rows in ((1, 1), (1, 33), (2, 170), (2, 10_000)):
        scores, rows = search(queries, base, 5, num_threads=num_threads, block_rows=block_rows)
        np.testing.assert_array_equal(rows, expected[1])
        np.testing.assert_array_equal(scores, expected[0])


def test_more_equal_vectors_than_candidates_still_give_the_lowest_rows():
    base = np.tile(normal(0, 1, 8), (500, 1))
    _, rows = search(normal(1, 30, 8), base, 3)
    np.testing.assert_array_equal(rows, np.tile([0, 1, 2], (30, 1)))


def test_candidates_are_searched_in_bounded_parts(monkeypatch):
    base, queries = np.tile(normal(0, 1, 8), (50, 1)), normal(1, 30, 8)
    monkeypatch.setattr(neighbours, "_MAX_CANDIDATES", 60)
    np.testing.assert_array_equal(search(queries, base, 3)[1], np.tile([0, 1, 2], (30, 1)))


def test_base_of_fewer_rows_gives_fewer_columns():
    assert search(normal(0, 4, 3), normal(1, 2, 3), 10)[1].shape == (4, 2)


@pytest.mark.parametrize(("queries", "base", "shape"), [(0, 5, (0, 2)), (5, 0, (5, 0))])
def test_no_queries_or_no_base_give_an_empty_result(queries, base, shape):
    assert search(normal(0, queries, 3), normal(1, base, 3), 2)[1].shape == shape


def test_mean_similarity_is_the_mean_of_the_nearest():
    queries, base = normal(0, 40, 5), normal(1, 90, 5)
    expected = sort_all(queries, base, 10)[0].mean(axis=1)
    np.testing.assert_allclose(mean_similarity(queries, base, 10), expected, rtol=1e-6)


def test_threads_are_set_back():
    import faiss

    before = faiss.omp_get_max_threads()
    search(normal(0, 2, 3), normal(1, 2, 3), 1, num_threads=before + 1)
    assert faiss.omp_get_max_threads() == before


@pytest.mark.parametrize("row", [0, 3])
def test_vector_that_is_not_finite_is_refused(row):
    base = normal(1, 5, 3)
    base[row, 1] = np.nan
    with pytest.raises(ValueError, match=f"row {row} of the vectors is not finite"):
        search(normal(0, 2, 3), base, 1)


def test_different_dimensions_are_refused():
    with pytest.raises(ValueError, match="3 dimensions and the base has 4"):
        search(normal(0, 2, 3), normal(1, 2, 4), 1)


def test_without_faiss_the_error_names_the_extra(monkeypatch):
    real = builtins.__import__

    def refuse(name, *args, **kwargs):
        if name == "faiss":
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", refuse)
    with pytest.raises(InputError, match=r"csgen\[embeddings\]"):
        search(normal(0, 2, 3), normal(1, 2, 3), 1)
