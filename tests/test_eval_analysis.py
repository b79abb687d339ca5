"""Means over cells brought to one value a query, and what tables are made of them."""

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from eval.analysis import Sample, spread, stack_samples


def rows_of(*rows):
    return pl.DataFrame(rows, ["cell", "query_id", "v"], orient="row").with_columns(group=pl.lit("g"))


def values_of(rows):
    return dict(spread(rows, ["group"], ["v"]).select("query_id", "v").iter_rows())


def test_in_one_cell_a_querys_value_is_its_own():
    assert values_of(rows_of(("c", "q1", 0.25), ("c", "q2", 1.0))) == {"q1": 0.25, "q2": 1.0}


def test_over_cells_with_the_same_queries_it_is_the_querys_mean():
    rows = rows_of(("c", "q1", 0.0), ("c", "q2", 1.0), ("d", "q1", 0.5), ("d", "q2", 0.5))
    assert values_of(rows) == {"q1": 0.25, "q2": 0.75}


def test_each_cell_counts_alike_however_many_queries_it_has():
    # Cell c has the mean (0 + 1) / 2, d has 1: in all .75. q1: .75 + 2 (0 - .5) / 4 = .5; q2: .75 + 2 (.5 / 4 + 0) = 1.
    assert values_of(rows_of(("c", "q1", 0.0), ("c", "q2", 1.0), ("d", "q2", 1.0))) == {"q1": 0.5, "q2": 1.0}


def test_equal_values_have_no_spread_however_many_rows_a_query_has():
    rows = rows_of(*(("c", "q1", 0.5) for _ in range(9)), ("c", "q2", 0.5))
    assert values_of(rows) == {"q1": 0.5, "q2": 0.5}


ROWS = st.lists(st.tuples(st.sampled_from("cde"), st.sampled_from("pqrs"), st.floats(0, 1)), min_size=1, max_size=40)


@given(ROWS)
def test_the_mean_over_queries_is_the_mean_of_the_cells_means(rows):
    frame = rows_of(*rows)
    wanted = frame.group_by("cell").agg(pl.col("v").mean())["v"].mean()
    assert np.mean(list(values_of(frame).values())) == pytest.approx(wanted, abs=1e-12)


@given(ROWS, st.randoms(use_true_random=False))
def test_the_order_of_rows_makes_no_difference(rows, random):
    shuffled = rows.copy()
    random.shuffle(shuffled)
    assert values_of(rows_of(*shuffled)) == pytest.approx(values_of(rows_of(*rows)), abs=1e-12)


def test_samples_of_the_same_queries_stand_side_by_side():
    def sample(ids, values):
        return Sample.of(pl.DataFrame({"query_id": ids, "v": values}), ["v"])

    samples = {"a": sample(["q", "r"], [1, 2]), "b": sample(["q", "s"], [3, 4]), "c": sample(["q", "r"], [5, 6])}
    stacked = [(keys, values.tolist()) for keys, values in stack_samples(samples)]
    assert stacked == [(["a", "c"], [[1, 5], [2, 6]]), (["b"], [[3], [4]])]
