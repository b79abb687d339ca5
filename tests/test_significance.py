"""Tests, corrections, intervals, seeds and sample sizes: hand-computed, and against scipy."""

import math
import sys
import warnings

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from csgen.errors import InputError
from csgen.sources.draws import counter, mix
from eval.measuring.significance import (
    bonferroni,
    bootstrap_interval,
    compare_seeds,
    detectable_difference,
    holm,
    minimum_sample_warning,
    paired_t,
    randomisation,
)


def make_values(num_rows: int, num_columns: int, seed: int = 1) -> np.ndarray:
    """Numbers in [-0.4, 0.6), from the project's own draws."""
    words = mix(np.arange(1, num_rows * num_columns + 1, dtype=np.uint64) * counter(seed))
    return (words / 2.0**64 - 0.4).reshape(num_rows, num_columns)


SAMPLES = st.lists(st.floats(-1, 1).map(lambda x: round(x, 3)), min_size=2, max_size=30)


def test_a_t_test_computed_by_hand() -> None:
    # mean 2, standard deviation 1, t = 2 / (1 / sqrt 3) = 3.4641; with 2 degrees of freedom p = 1 - t / sqrt(t^2 + 2)
    assert paired_t([1.0, 2.0, 3.0]) == pytest.approx(1 - math.sqrt(12 / 14))


@settings(deadline=None)
@given(SAMPLES)
def test_the_t_test_is_scipys(sample: list[float]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # scipy's, of values that are all alike
        expected = scipy.stats.ttest_rel(sample, np.zeros(len(sample))).pvalue
    if np.ptp(sample) > 0:
        assert paired_t(sample) == pytest.approx(expected, abs=1e-12)


def test_columns_are_tested_each_for_itself() -> None:
    values = make_values(20, 6)
    expected = [paired_t(column) for column in values.T]
    assert paired_t(values.reshape(20, 2, 3)) == pytest.approx(np.reshape(expected, (2, 3)))
    by_column = [randomisation(column, seed=3, rounds=500) for column in values.T]
    assert randomisation(values, seed=3, rounds=500) == pytest.approx(by_column)


def test_no_difference_at_all_has_p_1() -> None:
    zeros = np.zeros(10)
    assert (paired_t(zeros), randomisation(zeros, seed=1), compare_seeds(np.zeros((3, 10))).p) == (1, 1, 1)


def test_differences_that_come_of_rounding_are_none() -> None:
    rounding = np.full(10, 0.1 + 0.2 - 0.3)
    assert (paired_t(rounding), randomisation(rounding, seed=1), compare_seeds(rounding[None]).p) == (1, 1, 1)


def test_the_same_difference_everywhere_has_p_0_by_t_and_the_least_p_by_signs() -> None:
    assert paired_t(np.full(20, 0.5)) == 0
    assert randomisation(np.full(20, 0.5), seed=1, rounds=99) == 1 / 100


@pytest.mark.parametrize("sample", [[], [0.3]])
def test_fewer_than_two_queries_have_no_p(sample: list[float]) -> None:
    assert math.isnan(paired_t(sample))
    assert math.isnan(randomisation(sample, seed=1))
    assert math.isnan(compare_seeds([sample, sample]).p)


def test_the_extra_is_named_where_scipy_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "scipy.special", None)
    with pytest.raises(InputError, match=r"significance tests need scipy: pip install 'csgen\[eval\]'"):
        paired_t([0.1, 0.3])


def test_a_missing_value_has_no_p() -> None:
    assert np.isnan(randomisation([[0.1, np.nan], [0.2, 0.3]], seed=1)).tolist() == [False, True]


@pytest.mark.parametrize("seed", [1, 2])
def test_the_randomisation_test_nears_the_exact_one(seed: int) -> None:
    sample = make_values(9, 1, seed)[:, 0]
    exact = scipy.stats.permutation_test((sample,), np.mean, permutation_type="samples", n_resamples=np.inf).pvalue
    assert randomisation(sample, seed=7, rounds=100_000) == pytest.approx(exact, abs=0.006)


def test_sums_that_are_equal_but_for_rounding_are_equal() -> None:
    # Of 16 sign patterns the 6 with as many + as - give 0, all others at least the 0.2 that was seen.
    assert randomisation([0.1, 0.1, 0.1, -0.1], seed=1, rounds=50_000) == pytest.approx(10 / 16, abs=0.01)


def test_the_randomisation_test_depends_on_the_seed_alone() -> None:
    sample = make_values(100, 1)[:, 0]
    assert randomisation(sample, seed=5) == randomisation(sample, seed=5)
    assert len({float(randomisation(sample, seed=seed)) for seed in range(5)}) > 1


def test_a_large_randomisation_test_counts_every_round_once() -> None:
    """Blocks of rounds, whatever their number, make no difference: with all differences alike none but +++ counts."""
    assert randomisation(np.full(70, 1.0), seed=1, rounds=20_000) == 1 / 20_001


def test_holm_and_bonferroni_by_hand() -> None:
    p = [0.01, 0.04, 0.03, 0.005]
    assert holm(p) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert bonferroni(p) == pytest.approx([0.04, 0.16, 0.12, 0.02])
    assert holm([0.4, 0.9, 0.6]) == pytest.approx([1, 1, 1])


def test_a_p_that_is_missing_stays_out_of_the_family() -> None:
    p = [[0.01, np.nan], [0.04, 0.03]]
    assert holm(p) == pytest.approx(np.array([[0.03, np.nan], [0.06, 0.06]]), nan_ok=True)
    assert bonferroni(p) == pytest.approx(np.array([[0.03, np.nan], [0.12, 0.09]]), nan_ok=True)


def test_an_empty_family_stays_empty() -> None:
    assert len(holm([])) == len(bonferroni([])) == 0


@given(st.lists(st.floats(0, 1), min_size=1, max_size=20))
def test_holm_lies_between_p_and_bonferroni_and_keeps_the_order(p: list[float]) -> None:
    corrected = holm(p)
    assert (corrected >= p).all()
    assert (corrected <= bonferroni(p) + 1e-12).all()
    assert (np.diff(corrected[np.argsort(p)]) >= 0).all()


def test_the_interval_is_near_scipys() -> None:
    values = make_values(200, 1)[:, 0]
    expected = scipy.stats.bootstrap((values,), np.mean, method="percentile", n_resamples=20_000, rng=1)
    low, high = bootstrap_interval(values, seed=1, rounds=20_000)
    assert (low, high) == pytest.approx(tuple(expected.confidence_interval), abs=0.002)
    assert low < values.mean() < high


def test_an_interval_of_a_lower_level_is_narrower() -> None:
    values = make_values(50, 1)[:, 0]
    wide, narrow = bootstrap_interval(values, seed=1), bootstrap_interval(values, seed=1, level=0.5)
    assert wide[0] < narrow[0] < narrow[1] < wide[1]


def test_columns_share_their_draws() -> None:
    values = make_values(30, 1)
    low, high = bootstrap_interval(np.hstack([values, values + 1]), seed=1)
    assert (low[1] - low[0], high[1] - high[0]) == pytest.approx((1, 1))
    assert (low[0], high[0]) == pytest.approx(bootstrap_interval(values[:, 0], seed=1))


def test_every_query_is_drawn_as_often_as_another() -> None:
    identity = np.eye(5)  # a column's mean is the share of draws that fell on its query
    low, high = bootstrap_interval(identity, seed=1, rounds=5000, level=0.0)
    assert low == pytest.approx(np.full(5, 0.2))
    assert high == pytest.approx(np.full(5, 0.2))


def test_an_interval_of_equal_values_has_no_width() -> None:
    assert bootstrap_interval([0.1] * 7, seed=1) == (0.1, 0.1)
    assert bootstrap_interval([0.3], seed=1) == (0.3, 0.3)


def test_no_values_have_no_interval() -> None:
    assert [math.isnan(end) for end in bootstrap_interval([], seed=1)] == [True, True]


def test_one_seed_is_the_paired_t_test() -> None:
    sample = make_values(25, 1)[:, 0]
    one = compare_seeds(sample[None])
    expected = scipy.stats.ttest_1samp(sample, 0)
    assert (one.mean, one.degrees_of_freedom) == (pytest.approx(sample.mean()), 24)
    assert (one.p, one.standard_error) == pytest.approx((expected.pvalue, scipy.stats.sem(sample)))


def test_seeds_and_queries_as_random_effects_by_hand() -> None:
    # Means of seeds 1, 3, of queries 0, 2, 4, of all 2. Residuals: +1, -1, 0 and -1, +1, 0.
    # MS_seed = 3 * 2 = 6 (1 df), MS_query = 2 * 4 = 8 (2 df), MS_residual = 4 / 2 = 2 (2 df).
    # Var(mean) = (6 + 8 - 2) / 6 = 2; df = 12^2 / (6^2 / 1 + 8^2 / 2 + 2^2 / 2) = 144 / 70.
    result = compare_seeds([[0.0, 0.0, 3.0], [0.0, 4.0, 5.0]])
    assert (result.mean, result.standard_error) == pytest.approx((2, math.sqrt(2)))
    assert result.degrees_of_freedom == pytest.approx(144 / 70)
    assert result.p == pytest.approx(2 * scipy.stats.t.sf(math.sqrt(2), 144 / 70))


def test_seeds_that_differ_less_than_the_residual_leave_the_t_test_of_their_means() -> None:
    values = np.array([[0.0, 4.0, 5.0], [2.0, 2.0, 5.0]])  # both seeds have the mean 3
    result = compare_seeds(values)
    assert result.p == pytest.approx(paired_t(values.mean(axis=0)))
    assert result.degrees_of_freedom == 2


def test_queries_that_differ_less_than_the_residual_leave_the_t_test_of_the_seeds() -> None:
    values = np.array([[0.0, 4.0, 5.0], [2.0, 2.0, 5.0]]).T  # three seeds, two queries
    assert compare_seeds(values).p == pytest.approx(paired_t(values.mean(axis=1)))


def test_where_neither_differs_the_residual_alone_counts() -> None:
    result = compare_seeds([[1.0, -1.0, 1.0, 3.0], [1.0, 3.0, 1.0, -1.0]])  # all means are 1
    # MS_residual = (0 + 4 + 0 + 4) * 2 / 3 with 3 df, so Var(mean) = 16 / 3 / 8.
    assert (result.standard_error, result.degrees_of_freedom) == pytest.approx((math.sqrt(2 / 3), 3))


def test_seeds_that_vary_make_a_difference_less_certain() -> None:
    sample = make_values(100, 1)[:, 0]
    alike, apart = np.stack([sample] * 3), np.stack([sample - 0.2, sample, sample + 0.2])
    assert compare_seeds(alike).p < 0.01
    assert compare_seeds(apart).p > 0.3


def test_the_detectable_difference_has_the_power_asked_for() -> None:
    for num_queries in (10, 25, 100):
        difference = detectable_difference(0.3, num_queries)
        shift, bound = difference / 0.3 * num_queries**0.5, scipy.stats.t.ppf(0.975, num_queries - 1)
        assert scipy.stats.nct.sf(bound, num_queries - 1, shift) == pytest.approx(0.8, abs=0.005)


def test_few_queries_are_warned_of() -> None:
    assert minimum_sample_warning(50, 0.3) is None
    assert minimum_sample_warning(30) == (
        "30 judged queries: a stable comparison needs at least 25, and 50 are better (Buckley and Voorhees 2000)"
    )


def test_the_warning_tells_what_so_few_queries_can_show() -> None:
    # 0.3 / sqrt 25 * (2.0639 + 0.8569) = 0.175, by a table of t with 24 degrees of freedom.
    assert str(minimum_sample_warning(25, 0.3)).endswith(
        "; a difference under 0.175 would be missed in more than one of five such samples"
    )


def test_one_query_is_warned_of_without_a_difference() -> None:
    assert str(minimum_sample_warning(1, 0.3)).startswith("1 judged query: ")
    assert "difference" not in str(minimum_sample_warning(1, 0.3))
