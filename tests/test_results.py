"""Results of an experiment: written, read and checked."""

import json
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from toy_results import frame, rich_results, small_results

from csgen.errors import InputError
from eval.results import SCHEMAS, Results, empty_frame

NAMES = ("name", "measures", "systems", "baseline", "warnings")
PLACE = ("debian", "en-en", "bm25", "PEER@20")


def test_results_read_back_as_they_were_written(tmp_path):
    results = rich_results()
    results.write(str(tmp_path))
    found = Results.read(str(tmp_path))
    assert [getattr(found, name) for name in NAMES] == [getattr(results, name) for name in NAMES]
    assert all(getattr(found, name).equals(getattr(results, name)) for name in SCHEMAS)
    assert all(getattr(found, name).schema == schema for name, schema in SCHEMAS.items())


def test_equal_results_give_equal_bytes_also_after_reading(tmp_path):
    first, second, third = (str(tmp_path / name) for name in ("1", "2", "3"))
    rich_results().write(first)
    rich_results().write(second)
    Results.read(first).write(third)
    one, *others = (Path(folder, "results.json").read_bytes() for folder in (first, second, third))
    assert others == [one, one]


def test_the_file_is_plain_json_with_a_row_a_line(tmp_path):
    path = small_results().write(str(tmp_path))
    text = Path(path).read_text()
    assert json.loads(text)["values"][1]["value"] == 0.4996
    assert sum(line.startswith("  {") for line in text.splitlines()) == 2 + 4 + 4 + 4


def test_empty_frames_keep_their_columns(tmp_path):
    small_results().write(str(tmp_path))
    found = Results.read(str(tmp_path))
    assert found.bins.equals(empty_frame("bins"))
    assert found.bins.schema == SCHEMAS["bins"]


def test_figures_that_are_not_finite_become_null():
    rows = [(*PLACE, value, 40) for value in (float("nan"), float("inf"), 0.25)]
    assert small_results(fairness=frame("fairness", rows)).fairness["value"].to_list() == [None, None, 0.25]


def test_columns_are_put_in_order_and_cast_and_others_dropped():
    odd = frame("fairness", [(*PLACE, 1.0, 40)]).with_columns(pl.col("num_queries").cast(pl.UInt32), more=1)
    odd = odd.select(reversed(odd.columns))
    assert small_results(fairness=odd).fairness.rows() == [(*PLACE, 1.0, 40)]


def test_a_frame_that_lacks_a_column_is_refused():
    with pytest.raises(ValueError, match="fairness lacks the columns cell, value"):
        small_results(fairness=empty_frame("fairness").drop("cell", "value"))


def test_benchmarks_and_systems_beside_the_baseline_stand_in_their_order():
    assert rich_results().benchmarks == ("xquad-r", "legal-gdpr")
    assert rich_results().others == ("bm25", "psq", "ml-cs")
    assert replace(rich_results(), baseline="").others == ()


def test_a_folder_without_results_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"results\.json: no such file"):
        Results.read(str(tmp_path))


@pytest.mark.parametrize("text", ["{", "[]", '{"name": "toy"}', '{"name": "toy", "values": [{"value": "x"}]}'])
def test_a_file_that_holds_no_results_is_refused_with_its_path(tmp_path, text):
    (tmp_path / "results.json").write_text(text)
    with pytest.raises(
        InputError, match=r"results\.json: not the results of an experiment: .*run csgen evaluate again"
    ):
        Results.read(str(tmp_path))


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.floats(allow_nan=False, allow_infinity=False)), st.text(st.characters(exclude_categories=["Cs"])))
def test_any_figures_and_names_read_back_exactly(tmp_path, values, name):
    rows = [("debian", name, "bm25", "PEER@20", value, 40) for value in values]
    results = small_results(fairness=frame("fairness", rows), name=name, warnings=(name,))
    results.write(str(tmp_path))
    found = Results.read(str(tmp_path))
    assert (found.name, found.warnings) == (name, (name,))
    assert found.fairness.rows() == rows
