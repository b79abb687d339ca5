"""Measures by query: hand-computed, and in parity with pytrec_eval called directly."""

import struct
import sys

import polars as pl
import pytest
import pytrec_eval
from hypothesis import given, settings
from hypothesis import strategies as st

from csgen.errors import InputError
from eval.measuring.measures import Measurer, measure_run, parse_measures

Grades = dict[str, dict[str, int]]
Scores = dict[str, dict[str, float]]

MEASURES = ("RR@10", "nDCG@10", "R@100", "AP")
# ir_measures' name, pytrec_eval's, the least grade that is relevant, and whether only judged passages are looked at
DIRECT = (
    ("RR", "recip_rank", 1, False),
    ("nDCG@3", "ndcg_cut_3", 1, False),
    ("nDCG", "ndcg", 1, False),
    ("R@2", "recall_2", 1, False),
    ("R@100", "recall_100", 1, False),
    ("AP", "map", 1, False),
    ("AP@2", "map_cut_2", 1, False),
    ("AP(rel=2)", "map", 2, False),
    ("P@3", "P_3", 1, False),
    ("P(judged_only=True)@2", "P_2", 1, True),
    ("Success@1", "success_1", 1, False),
    ("Rprec", "Rprec", 1, False),
    ("Bpref", "bpref", 1, False),
    ("infAP", "infAP", 1, False),
    ("IPrec@0.5", "iprec_at_recall_0.50", 1, False),
    ("SetP", "set_P", 1, False),
    ("SetF", "set_F", 1, False),
    ("SetAP", "set_map", 1, False),
)
OF_RANKS = tuple(row for row in DIRECT if not row[0].startswith("Set"))


def run_frame(scores: Scores) -> pl.DataFrame:
    rows = [(query, passage, score) for query, found in scores.items() for passage, score in found.items()]
    return pl.DataFrame(
        rows, schema={"query_id": pl.String, "passage_id": pl.String, "score": pl.Float64}, orient="row"
    )


def qrels_frame(grades: Grades) -> pl.DataFrame:
    rows = [(query, passage, grade) for query, judged in grades.items() for passage, grade in judged.items()]
    return pl.DataFrame(rows, schema={"query_id": pl.String, "passage_id": pl.String, "score": pl.Int64}, orient="row")


TOY_RUN = run_frame(
    {
        "q1": {"p1": 3.0, "p2": 2.0, "p3": 1.0},
        "q2": {"p4": 9.0, "p5": 8.0},
        "q9": {"p1": 1.0},
    }
)
TOY_QRELS = qrels_frame({"q3": {"p1": 1}, "q1": {"p2": 1, "p3": 2, "p7": 0}, "q2": {"p1": 1, "p5": 0}, "q4": {"p1": 0}})


def test_a_toy_run_gets_the_values_computed_by_hand() -> None:
    values = measure_run(TOY_RUN, TOY_QRELS, ("RR@10", "nDCG@10", "R@100", "AP", "P@2", "Success@1"))
    # q1 has its relevant passages, of grades 1 and 2, at ranks 2 and 3; 0.6309 = 1 / log2 3.
    ndcg = (1 * 0.6309297535714575 + 2 * 0.5) / (2 * 1 + 1 * 0.6309297535714575)
    expected = {
        "RR@10": 1 / 2,
        "nDCG@10": ndcg,
        "R@100": 1.0,
        "AP": (1 / 2 + 2 / 3) / 2,
        "P@2": 1 / 2,
        "Success@1": 0.0,
    }
    assert values.row(0, named=True) == pytest.approx({"query_id": "q1"} | expected)


def test_each_query_with_a_relevant_passage_has_a_row_in_order_of_ids() -> None:
    values = measure_run(TOY_RUN, TOY_QRELS, MEASURES)
    assert values["query_id"].to_list() == ["q1", "q2", "q3"]
    assert values.columns == ["query_id", *MEASURES]
    assert set(values.dtypes[1:]) == {pl.Float64}


def test_a_query_without_results_counts_as_0() -> None:
    assert measure_run(TOY_RUN, TOY_QRELS, MEASURES).row(2) == ("q3", 0.0, 0.0, 0.0, 0.0)


def test_an_empty_run_gets_0_everywhere() -> None:
    values = measure_run(TOY_RUN.clear(), TOY_QRELS, ("RR@10", "AP"))
    assert values.rows() == [("q1", 0.0, 0.0), ("q2", 0.0, 0.0), ("q3", 0.0, 0.0)]


def test_qrels_without_a_relevant_passage_give_no_rows() -> None:
    values = measure_run(TOY_RUN, qrels_frame({"q1": {"p1": 0}}), MEASURES)
    assert values.is_empty()
    assert values.columns == ["query_id", *MEASURES]


def test_a_query_with_negative_grades_alone_is_left_out() -> None:
    """pytrec_eval's nDCG would never end."""
    values = measure_run(TOY_RUN, qrels_frame({"q1": {"p1": -1, "p2": -1}, "q2": {"p4": 1}}), ("nDCG", "nDCG@10"))
    assert values.rows() == [("q2", 1.0, 1.0)]


def test_the_order_of_rows_means_nothing() -> None:
    expected = measure_run(TOY_RUN, TOY_QRELS, MEASURES)
    assert measure_run(TOY_RUN.reverse(), TOY_QRELS.reverse(), MEASURES).equals(expected)


def test_rr_is_0_from_just_after_the_cutoff() -> None:
    run = run_frame({"q": {f"p{i:02}": 100.0 - i for i in range(1, 21)}})
    for rank in range(1, 21):
        values = measure_run(run, qrels_frame({"q": {f"p{rank:02}": 1}}), ("RR@10", "RR"))
        assert values.row(0) == ("q", 1 / rank if rank <= 10 else 0.0, 1 / rank)


def test_columns_are_named_as_the_measures_were_asked_for() -> None:
    values = measure_run(TOY_RUN, TOY_QRELS, ("MRR@10", "MAP", "NDCG@10"))
    assert values.columns == ["query_id", "MRR@10", "MAP", "NDCG@10"]
    assert (
        values.drop("query_id").rows()
        == measure_run(TOY_RUN, TOY_QRELS, ("RR@10", "AP", "nDCG@10")).drop("query_id").rows()
    )


def test_a_measurer_measures_any_number_of_runs() -> None:
    measurer = Measurer(TOY_QRELS, ("nDCG@10", "R@1"))
    first = measurer.measure(TOY_RUN)
    Measurer(TOY_QRELS, ("nDCG@2", "R@3")).measure(TOY_RUN)  # pytrec_eval keeps cutoffs in globals
    measurer.measure(TOY_RUN.clear())
    assert measurer.measure(TOY_RUN).equals(first)


def test_the_extra_is_named_where_ir_measures_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ir_measures", None)
    with pytest.raises(InputError, match=r"measures need ir_measures: pip install 'csgen\[eval\]'"):
        Measurer(TOY_QRELS, MEASURES)


def test_a_passage_twice_for_a_query_is_refused() -> None:
    with pytest.raises(InputError, match="a run has the passage 'p1' twice for the query 'q1'"):
        measure_run(pl.concat([TOY_RUN, TOY_RUN[:1]]), TOY_QRELS, MEASURES)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "ndcg@10",
            r"the measure 'ndcg@10' is not known\. Did you mean nDCG@10\? Names are those of ir_measures: RR@10",
        ),
        ("recall_100", r"'recall_100' is not known\. Did you mean R@100\?"),
        ("mrr", r"'mrr' is not known\. Did you mean RR\?"),
        ("nDGC@10", r"'nDGC@10' is not known\. Did you mean nDCG@10\?"),
        ("RR10", r"'RR10' is not known\. Did you mean RR@10\?"),
        ("xyz", r"'xyz' is not known\. Names are those of ir_measures"),
        ("", r"the measure '' is not known\."),
        ("R", r"the measure 'R' needs a cutoff, as in R@10"),
        ("P@0", r"the cutoff of the measure 'P@0' must be a whole number from 1 on, as in P@10"),
        ("nDCG@2.5", r"the cutoff of the measure 'nDCG@2\.5' must be a whole number from 1 on"),
        ("RR(depth=3)", r"unsupported params found: \['depth'\]; it takes cutoff, rel, judged_only"),
        ("ERR@20", r"the measure 'ERR@20' is none that trec_eval averages over queries"),
        ("NumRet", r"the measure 'NumRet' is none that trec_eval averages over queries"),
    ],
)
def test_a_wrong_name_is_refused_with_what_may_have_been_meant(name: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        parse_measures((name,))


def test_one_measure_under_two_names_is_refused() -> None:
    with pytest.raises(InputError, match=r"the measures 'AP' and 'MAP' are the same \(AP\); name it once"):
        parse_measures(("AP", "RR@10", "MAP"))


passages = st.sampled_from([f"p{i}" for i in range(12)])
queries = st.sampled_from(["q1", "q2", "q3", "q4"])
scores = st.one_of(st.sampled_from([0.0, 1.0, 1.0 + 1e-9, 2.0]), st.floats(-3, 3))
runs = st.dictionaries(queries, st.dictionaries(passages, scores, min_size=1), max_size=4)
judgements = st.dictionaries(queries, st.dictionaries(passages, st.integers(-1, 3), min_size=1), min_size=1, max_size=4)


def evaluate_directly(run: Scores, grades: Grades, name: str, rel: int, judged_only: bool) -> dict[str, float]:
    judged = {query: grades[query] for query in with_relevant(grades)}
    evaluator = pytrec_eval.RelevanceEvaluator(judged, {name}, relevance_level=rel, judged_docs_only_flag=judged_only)
    return {query: next(iter(values.values())) for query, values in evaluator.evaluate(run).items()}


def with_relevant(grades: Grades) -> list[str]:
    return sorted(query for query, judged in grades.items() if max(judged.values()) > 0)


@pytest.mark.parametrize("rows", [DIRECT, OF_RANKS, *[(row,) for row in DIRECT]])
@settings(max_examples=40, deadline=None)
@given(run=runs, grades=judgements)
def test_values_are_pytrec_evals(rows: tuple[tuple[str, str, int, bool], ...], run: Scores, grades: Grades) -> None:
    values = measure_run(run_frame(run), qrels_frame(grades), [row[0] for row in rows])
    assert values["query_id"].to_list() == with_relevant(grades)
    for name, direct, rel, judged_only in rows:
        expected = evaluate_directly(run, grades, direct, rel, judged_only)
        got = dict(values.select("query_id", name).iter_rows())
        assert got == pytest.approx({query: expected.get(query, 0.0) for query in with_relevant(grades)}, abs=1e-6), (
            name
        )


@settings(deadline=None)
@given(run=runs, grades=judgements, cutoff=st.integers(1, 12))
def test_rr_with_a_cutoff_is_the_one_of_the_run_cut_there(run: Scores, grades: Grades, cutoff: int) -> None:
    def order(hit: tuple[str, float]) -> tuple[float, str]:
        return struct.unpack("f", struct.pack("f", hit[1]))[0], hit[0]

    cut = {query: dict(sorted(hits.items(), key=order, reverse=True)[:cutoff]) for query, hits in run.items()}
    expected = evaluate_directly(cut, grades, "recip_rank", 1, False)
    values = measure_run(run_frame(run), qrels_frame(grades), (f"RR@{cutoff}",))
    assert dict(values.iter_rows()) == {query: expected.get(query, 0.0) for query in with_relevant(grades)}
