"""Lexicons learnt from word vectors, against NumPy, and the alignment of two spaces."""

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from csgen.errors import InputError
from csgen.induction.embeddings import EmbeddingOptions, induce_from_vectors, match, softmax
from csgen.induction.procrustes import MIN_SEED_PAIRS, AlignOptions, align, fit_rotation
from csgen.induction.vectors import Vectors

pytest.importorskip("faiss")

shapes = {
    "seed": st.integers(0, 2**32),
    "sources": st.integers(1, 60),
    "targets": st.integers(1, 60),
    "dimensions": st.integers(2, 20),
}


def random_matrix(rng, rows, dimensions):
    matrix = rng.standard_normal((rows, dimensions))
    return (matrix / np.linalg.norm(matrix, axis=1)[:, None]).astype(np.float32)


def random_vectors(rng, prefix, rows, dimensions):
    return as_vectors([f"{prefix}{i}" for i in range(rows)], random_matrix(rng, rows, dimensions))


def as_vectors(words, matrix):
    nothing = pl.DataFrame(schema={"line": pl.Int64, "reason": pl.String})
    return Vectors(pl.Series(words, dtype=pl.String), np.array(matrix, np.float32), nothing)


def options(**changes):
    return EmbeddingOptions.from_options(changes)


def csls_scores(source, target, neighbours):
    """Equation 3 of Conneau et al. 2018, the plain way; means of 32 bits, else near scores would change places."""
    cosines = source.astype(np.float64) @ target.astype(np.float64).T
    r_source, r_target = (
        -np.sort(-c, axis=1)[:, :neighbours].astype(np.float32).mean(axis=1, dtype=np.float64).astype(np.float32)
        for c in (cosines, cosines.T)
    )
    return 2 * cosines - r_source[:, None] - r_target[None, :]


def best_of_each_row(scores, top_k):
    return [set(row) for row in np.argsort(-scores, axis=1)[:, :top_k]]


# --- the paper's way ---


@settings(deadline=None, max_examples=30)
@given(**shapes)
def test_nearest_is_the_one_target_of_highest_cosine(seed, sources, targets, dimensions):
    rng = np.random.default_rng(seed)
    source, target = random_vectors(rng, "s", sources, dimensions), random_vectors(rng, "t", targets, dimensions)
    expected = (source.matrix.astype(np.float64) @ target.matrix.astype(np.float64).T).argmax(axis=1)
    pairs = induce_from_vectors(source, target, options(method="nearest"))
    assert pairs.rows() == [(i + 1, f"s{i}", f"t{j}", 1.0) for i, j in enumerate(expected)]


def test_nearest_leaves_out_words_that_a_lower_cased_token_never_finds():
    source = as_vectors(["House", "house", "ÉTÉ", "été", "1990"], np.eye(5))
    target = as_vectors(["a", "Haus", "b", "C", "d"], np.eye(5))
    pairs = induce_from_vectors(source, target, options(method="nearest"))
    assert pairs.rows() == [(2, "house", "Haus", 1.0), (4, "été", "C", 1.0), (5, "1990", "d", 1.0)]


def test_nearest_has_no_threshold():
    pairs = induce_from_vectors(as_vectors(["a"], [[1, 0]]), as_vectors(["b"], [[-1, 0]]), options(method="nearest"))
    assert pairs.rows() == [(1, "a", "b", 1.0)]


# --- CSLS ---


@settings(deadline=None, max_examples=50)
@given(**shapes, neighbours=st.integers(1, 12), top_k=st.integers(1, 4))
def test_csls_finds_what_sorting_all_scores_finds(seed, sources, targets, dimensions, neighbours, top_k):
    rng = np.random.default_rng(seed)
    source, target = random_matrix(rng, sources, dimensions), random_matrix(rng, targets, dimensions)
    expected = csls_scores(source, target, neighbours)
    chosen = options(csls_neighbours=neighbours, max_translations=top_k, mutual=False, min_score=-4)
    rows, columns, scores = match(source, target, chosen)
    order = np.argsort(-expected, axis=1)[:, :top_k]
    np.testing.assert_array_equal(rows, np.repeat(np.arange(sources), order.shape[1]))
    np.testing.assert_array_equal(columns, order.ravel())
    np.testing.assert_allclose(scores, expected[rows, columns], atol=1e-6)


@settings(deadline=None, max_examples=50)
@given(**shapes, top_k=st.integers(1, 4))
def test_mutual_keeps_pairs_that_are_among_the_best_of_both(seed, sources, targets, dimensions, top_k):
    rng = np.random.default_rng(seed)
    source, target = random_matrix(rng, sources, dimensions), random_matrix(rng, targets, dimensions)
    expected = csls_scores(source, target, 10)
    forward, back = best_of_each_row(expected, top_k), best_of_each_row(expected.T, top_k)
    wanted = {(i, j) for i in range(sources) for j in forward[i] if i in back[j]}
    rows, columns, _ = match(source, target, options(max_translations=top_k, mutual=True, min_score=-4))
    assert set(zip(rows.tolist(), columns.tolist(), strict=True)) == wanted


@given(seed=st.integers(0, 2**32), least=st.floats(-1, 1))
@settings(deadline=None, max_examples=20)
def test_threshold_takes_away_the_lower_scores_and_no_more(seed, least):
    rng = np.random.default_rng(seed)
    source, target = random_matrix(rng, 30, 5), random_matrix(rng, 30, 5)
    rows, columns, scores = match(source, target, options(max_translations=3, min_score=-4))
    left = match(source, target, options(max_translations=3, min_score=least))
    for all_of_it, some in zip((rows, columns, scores), left, strict=True):
        np.testing.assert_array_equal(all_of_it[scores >= least], some)


def test_hub_is_no_translation_under_csls():
    own, hub, other = np.eye(7)[:5], np.eye(7)[5], np.eye(7)[6]
    source = as_vectors(list("abcde"), (own + hub) / np.sqrt(2))  # .71 from the hub, .67 from the own translation
    target = as_vectors(["hub", *"ABCDE"], np.vstack([hub, 0.95 * own + np.sqrt(1 - 0.95**2) * other]))
    assert set(induce_from_vectors(source, target, options(method="nearest"))["target"]) == {"hub"}
    found = induce_from_vectors(source, target, options(csls_neighbours=2, mutual=False))
    assert found["target"].to_list() == list("ABCDE")


def test_weights_sum_to_one_and_fall_with_the_score():
    rng = np.random.default_rng(0)
    source, target = random_vectors(rng, "s", 40, 4), random_vectors(rng, "t", 40, 4)
    pairs = induce_from_vectors(source, target, options(max_translations=3, mutual=False, min_score=-4))
    sums = pairs.group_by("line").agg(pl.col("weight").sum(), falls=(pl.col("weight").diff().drop_nulls() <= 0).all())
    np.testing.assert_allclose(sums["weight"], 1)
    assert sums["falls"].all()
    assert pairs["line"].is_sorted()


def test_softmax_divides_scores_by_the_temperature():
    weights = softmax(np.array([0, 0, 3]), np.array([0.2, 0.1, -1.0]), 0.1)
    np.testing.assert_allclose(weights, [np.e / (np.e + 1), 1 / (np.e + 1), 1])


def test_no_translation_above_the_threshold_gives_an_empty_table_of_the_same_columns():
    rng = np.random.default_rng(0)
    source, target = random_vectors(rng, "s", 5, 4), random_vectors(rng, "t", 5, 4)
    pairs = induce_from_vectors(source, target, options(min_score=2))
    assert pairs.schema == {"line": pl.Int64, "source": pl.String, "target": pl.String, "weight": pl.Float64}
    assert pairs.is_empty()


def test_different_dimensions_are_refused():
    rng = np.random.default_rng(0)
    with pytest.raises(InputError, match="have 3 and 4 dimensions; take vectors aligned"):
        induce_from_vectors(random_vectors(rng, "s", 5, 3), random_vectors(rng, "t", 5, 4))


@pytest.mark.parametrize(
    "wrong", [{"temperature": 0}, {"csls_neighbours": 0}, {"max_translations": 0}, {"method": "x"}]
)
def test_option_out_of_range_is_refused(wrong):
    with pytest.raises(InputError, match=f"--{next(iter(wrong)).replace('_', '-')}"):
        options(**wrong)


# --- alignment ---


def rotated_pair(num_words, dimensions, noise):
    """Vectors of two languages that differ by a rotation and some noise; s7 translates into t7."""
    rng = np.random.default_rng(3)
    matrix = random_matrix(rng, num_words, dimensions)
    rotation = np.linalg.qr(rng.standard_normal((dimensions, dimensions)))[0]
    moved = matrix @ rotation + noise * rng.standard_normal(matrix.shape) / np.sqrt(dimensions)
    target = moved / np.linalg.norm(moved, axis=1)[:, None]
    words = range(num_words)
    return as_vectors([f"s{i}" for i in words], matrix), as_vectors([f"t{i}" for i in words], target)


def seed_of(numbers):
    return pl.DataFrame({"source": [f"s{i}" for i in numbers], "target": [f"t{i}" for i in numbers]})


def share_right(alignment):
    pairs = induce_from_vectors(alignment.source, alignment.target, options(method="nearest"))
    return (pairs["source"].str.slice(1) == pairs["target"].str.slice(1)).mean()


def test_rotation_is_found_from_as_many_pairs_as_dimensions():
    source, target = rotated_pair(300, 40, 0)
    alignment = align(source, target, seed_of(range(40)), AlignOptions(iterations=0, centre=False))
    np.testing.assert_allclose(alignment.source.matrix, target.matrix, atol=1e-4)
    np.testing.assert_allclose(np.linalg.norm(alignment.source.matrix, axis=1), 1, atol=1e-6)
    assert alignment.target is not source
    assert (alignment.seed_pairs, alignment.seed_pairs_found) == (40, 40)


def test_refinement_mends_what_a_small_seed_leaves_open():
    source, target = rotated_pair(600, 40, 0.4)
    seed = seed_of(range(MIN_SEED_PAIRS))
    before = align(source, target, seed, AlignOptions(iterations=0))
    after = align(source, target, seed, AlignOptions(iterations=10))
    assert share_right(before) < 0.7
    assert share_right(after) > 0.95
    assert after.iterations["pairs"][0] == MIN_SEED_PAIRS
    assert after.iterations["pairs"][-1] > 500
    assert after.iterations["mean_cosine"].is_between(0, 1).all()


def test_refinement_ends_once_the_same_pairs_come_again():
    source, target = rotated_pair(200, 10, 0)
    alignment = align(source, target, seed_of(range(200)), AlignOptions(iterations=50))
    assert len(alignment.iterations) == 1


def test_alignment_is_the_same_again_and_for_any_order_of_the_seed():
    source, target = rotated_pair(400, 30, 0.3)
    one = align(source, target, seed_of(range(30)))
    other = align(source, target, seed_of([*range(29, -1, -1), 3, 3]))
    np.testing.assert_array_equal(one.source.matrix, other.source.matrix)


def test_rotation_is_orthogonal_also_for_fewer_pairs_than_dimensions():
    rng = np.random.default_rng(0)
    rotation = fit_rotation(random_matrix(rng, 3, 20), random_matrix(rng, 3, 20))
    np.testing.assert_allclose(rotation @ rotation.T, np.eye(20), atol=2e-5)


def test_seed_pairs_without_vectors_are_counted():
    source, target = rotated_pair(100, 10, 0)
    seed = pl.concat([seed_of(range(30)), pl.DataFrame({"source": ["s1", "none"], "target": ["none", "t1"]})])
    alignment = align(source, target, seed)
    assert (alignment.seed_pairs, alignment.seed_pairs_found) == (32, 30)


def test_too_few_seed_pairs_are_refused():
    source, target = rotated_pair(100, 10, 0)
    seed = pl.concat([seed_of(range(3)), pl.DataFrame({"source": ["s9", "S8"], "target": ["T9", "T8"]})])
    with pytest.raises(
        InputError, match=r"3 of 5 seed pairs have vectors on both sides \(4 sources, 3 targets\), and 25"
    ):
        align(source, target, seed)


def test_vectors_of_two_dimensions_cannot_be_aligned():
    rng = np.random.default_rng(0)
    with pytest.raises(InputError, match="have 3 and 4"):
        align(random_vectors(rng, "s", 50, 3), random_vectors(rng, "t", 50, 4), seed_of(range(50)))
