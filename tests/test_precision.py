"""The measures of benchmarks/precision.py by hand-computed numbers."""

import importlib.util
import sys
from pathlib import Path

import polars as pl
import pytest

PATH = Path(__file__).parents[1] / "benchmarks" / "precision.py"


@pytest.fixture(scope="module")
def precision():
    spec = importlib.util.spec_from_file_location("precision", PATH)
    module = importlib.util.module_from_spec(spec)
    sys.modules["precision"] = module
    spec.loader.exec_module(module)
    return module


def pairs(rows):
    return pl.DataFrame(rows, schema=["source", "target", "rank"], orient="row")


@pytest.fixture
def gold(precision):
    rows = [("house", "Haus"), ("house", "Heim"), ("tree", "Baum"), ("dog", "Hund"), ("berlin", "Berlin")]
    return precision.fold_pairs(pl.DataFrame(rows, schema=["source", "target"], orient="row"), spaced=True)


@pytest.fixture
def lexicon(precision):
    rows = [
        ("House", "Bau", 1),
        ("House", "heim", 2),
        ("tree", "Baum", 1),
        ("berlin", "BERLIN", 1),
        ("cat", "Katze", 1),
    ]
    return precision.fold_pairs(pairs(rows), spaced=True)


def test_precision_is_over_the_words_that_both_have(precision, lexicon, gold):
    found = precision.score(precision.judge(lexicon, gold), gold)
    assert (found.words, found.coverage, found.precision_1, found.precision_5) == (3, 3 / 4, 2 / 3, 1.0)


def test_identical_pairs_count_on_neither_side_when_left_out(precision, lexicon, gold):
    gold = precision.without_identical(gold)
    found = precision.score(precision.judge(precision.without_identical(lexicon), gold), gold)
    assert (found.words, found.coverage, found.precision_1) == (2, 2 / 3, 1 / 2)


def test_only_the_first_five_translations_count(precision, gold):
    rows = [("dog", f"x{k}", k) for k in range(1, 6)] + [("dog", "Hund", 6)]
    judged = precision.judge(precision.fold_pairs(pairs(rows), spaced=True), gold)
    assert judged.row(0) == ("dog", False, False)


def test_forms_that_differ_in_case_take_one_place(precision, gold):
    rows = [("dog", x, k) for k, x in enumerate(["A", "a", "B", "b", "c", "d", "Hund"], 1)]
    judged = precision.judge(precision.fold_pairs(pairs(rows), spaced=True), gold)
    assert judged.row(0) == ("dog", False, True)


def test_blanks_do_not_count_where_the_script_has_none(precision):
    assert precision.fold_pairs(pairs([("x", "東 京", 1)]), spaced=False)["target_key"].to_list() == ["東京"]


def test_shared_words_are_compared_in_pairs(precision, gold):
    one, other = (
        pl.DataFrame({"key": ["dog", "house", only], "hit_1": hits, "hit_5": hits})
        for only, hits in (("a", [True, True, True]), ("b", [True, False, False]))
    )
    found = precision.compare_shared(one, other, gold)
    assert (found.words, found.one.precision_1, found.other.precision_1) == (2, 1.0, 0.5)
    assert found.error == pytest.approx(0.5)


def test_each_is_cut_to_its_own_surest_words(precision, gold):
    one = pl.DataFrame({"key": ["a", "b", "c"], "hit_1": [True, False, False], "hit_5": [True, False, False]})
    sure = pl.DataFrame({"key": ["a", "b", "c"], "confidence": [3.0, 2.0, 1.0]})
    unsure = pl.DataFrame({"key": ["a", "b", "c"], "confidence": [1.0, 2.0, 3.0]})
    found = precision.compare_best(one, one, gold, 0.5, (sure, unsure))
    assert (found.words, found.one.precision_1, found.other.precision_1) == (1, 1.0, 0.0)
