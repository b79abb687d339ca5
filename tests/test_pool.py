"""The pool of scores: what is kept, shared between processes, merged and bounded."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from csgen.errors import InputError
from eval import pool as pool_module
from eval.pool import SCHEMA, ScorePool

LARGE = 1 << 30
PAIR = {"query": pl.UInt64, "passage": pl.UInt64}


def scores_of(first, last, value=0.5):
    numbers = list(range(first, last))
    return pl.DataFrame({"query": numbers, "passage": numbers, "score": [value + n for n in numbers]}, SCHEMA)


def files_of(folder, key="model"):
    return sorted(path.name for path in (Path(folder) / key).glob("*.parquet"))


def test_what_was_added_is_found_in_the_order_asked_and_the_rest_is_nan(tmp_path):
    pool = ScorePool(str(tmp_path), LARGE)
    pool.add("model", scores_of(0, 3))
    found = pool.find("model", pl.DataFrame({"query": [2, 9, 0], "passage": [2, 9, 0]}, PAIR))
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, np.array([2.5, np.nan, 0.5], np.float32))


def test_both_hashes_must_fit(tmp_path):
    pool = ScorePool(str(tmp_path), LARGE)
    pool.add("model", scores_of(0, 2))
    assert np.isnan(pool.find("model", pl.DataFrame({"query": [0], "passage": [1]}, PAIR))).all()


def test_another_system_has_scores_of_its_own(tmp_path):
    pool = ScorePool(str(tmp_path), LARGE)
    pool.add("model", scores_of(0, 2))
    assert np.isnan(pool.find("other", scores_of(0, 2).drop("score"))).all()


def test_scores_outlive_the_process(tmp_path):
    ScorePool(str(tmp_path), LARGE).add("model", scores_of(0, 2))
    assert ScorePool(str(tmp_path), LARGE).find("model", scores_of(0, 2).drop("score")).tolist() == [0.5, 1.5]


def test_many_files_become_one_with_all_scores(tmp_path, monkeypatch):
    monkeypatch.setattr(pool_module, "MOST_FILES", 3)
    pool = ScorePool(str(tmp_path), LARGE)
    for first in range(0, 40, 10):
        pool.add("model", scores_of(first, first + 10))
    assert len(files_of(tmp_path)) == 1
    found = ScorePool(str(tmp_path), LARGE).find("model", scores_of(0, 40).drop("score"))
    assert found.tolist() == scores_of(0, 40)["score"].to_list()


def test_the_oldest_files_go_beyond_the_bound_and_the_newest_stays(tmp_path):
    pool = ScorePool(str(tmp_path), max_bytes=1)
    for first in (0, 10):
        pool.add("model", scores_of(first, first + 10))
    kept = ScorePool(str(tmp_path), LARGE).find("model", scores_of(0, 20).drop("score"))
    assert np.isnan(kept[:10]).all()
    assert not np.isnan(kept[10:]).any()


def test_a_file_that_vanishes_only_means_scoring_again(tmp_path, monkeypatch):
    pool = ScorePool(str(tmp_path), LARGE)
    pool.add("model", scores_of(0, 2))
    other = ScorePool(str(tmp_path), LARGE)
    listed = files_of(tmp_path)
    monkeypatch.setattr(other, "_files", lambda key: listed)
    (tmp_path / "model" / listed[0]).unlink()
    assert np.isnan(other.find("model", scores_of(0, 2).drop("score"))).all()


def test_a_damaged_file_is_named_with_the_remedy(tmp_path):
    ScorePool(str(tmp_path), LARGE).add("model", scores_of(0, 2))
    path = tmp_path / "model" / files_of(tmp_path)[0]
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(InputError, match=f"{path.name}: damaged: .*; delete it, and its pairs are scored again"):
        ScorePool(str(tmp_path), LARGE).find("model", scores_of(0, 2).drop("score"))


WRITER = """
import sys
import polars as pl
from eval import pool
pool.MOST_FILES = 4
first = int(sys.argv[2])
kept = pool.ScorePool(sys.argv[1], 1 << 30)
for start in range(first, first + 200, 10):
    numbers = list(range(start, start + 10))
    kept.add("model", pl.DataFrame({"query": numbers, "passage": numbers, "score": numbers}, pool.SCHEMA))
"""


def test_writers_in_several_processes_lose_nothing_of_each_other(tmp_path):
    # Each writes 20 times, the parts overlap by half, and files are merged all the while.
    commands = [[sys.executable, "-c", WRITER, str(tmp_path), str(first)] for first in (0, 100, 200)]
    processes = [subprocess.Popen(command, cwd=Path(__file__).parents[1]) for command in commands]
    assert [process.wait(60) for process in processes] == [0, 0, 0]
    numbers = list(range(400))
    wanted = pl.DataFrame({"query": numbers, "passage": numbers}, PAIR)
    assert ScorePool(str(tmp_path), LARGE).find("model", wanted).tolist() == numbers


@settings(max_examples=20)
@given(st.lists(st.tuples(st.integers(0, 2**64 - 1), st.integers(0, 2**64 - 1)), unique=True, min_size=1, max_size=50))
def test_any_hashes_come_back(tmp_path_factory, pairs):
    pool = ScorePool(str(tmp_path_factory.mktemp("pool")), LARGE)
    queries, passages = map(list, zip(*pairs, strict=True))
    added = pl.DataFrame({"query": queries, "passage": passages, "score": list(range(len(pairs)))}, SCHEMA)
    pool.add("model", added)
    assert pool.find("model", added.drop("score").reverse()).tolist() == list(range(len(pairs)))[::-1]
