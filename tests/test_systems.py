"""Systems that need no model: oracle, random, run files, and anything that scores pairs."""

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from toy_collection import write_collection
from toy_scorer import TotalLengths

from csgen.errors import CsgenError, InputError
from eval.benchmark import Benchmark
from eval.pool import ScorePool
from eval.settings import bilingual_cell, multilingual_cell
from eval.systems import Oracle, PairReranker, PooledScorer, RandomOrder, RunFiles, take_over


@pytest.fixture(scope="module")
def benchmark(tmp_path_factory):
    return Benchmark("toy", write_collection(tmp_path_factory.mktemp("toy") / "toy"), "test")


@pytest.fixture
def reading(benchmark):
    return benchmark.read(bilingual_cell("de", "en"))


def run_of(*rows):
    return pl.DataFrame(rows, {"query_id": pl.String, "passage_id": pl.String, "score": pl.Float64}, orient="row")


def ranking(run, query_id):
    return run.filter(query_id=query_id).sort("score", descending=True)["passage_id"].to_list()


def reranker_of(scorer, folder, key):
    return PairReranker(PooledScorer(scorer, key, ScorePool(str(folder), 1 << 30)))


def test_the_oracle_puts_the_relevant_candidate_first_and_keeps_the_others_order(reading):
    candidates = run_of(("q0", "p2", 3), ("q0", "p1", 2), ("q0", "p0", 1))
    assert ranking(Oracle().rerank(reading, candidates), "q0") == ["p0", "p2", "p1"]


def test_the_oracle_prefers_no_language_among_equal_candidates(benchmark):
    pooled = benchmark.read(multilingual_cell("en-all", ("de", "it"), "2", "en", seed=1))
    candidates = run_of(*((f"q{n}", f"{language}/p{n}", 1.0) for n in range(4) for language in ("de", "it")))
    first = [ranking(Oracle().rerank(pooled, candidates), f"q{n}")[0][:2] for n in range(4)]
    assert set(first) == {"de", "it"}


def test_the_oracle_finds_nothing_that_is_no_candidate(reading):
    assert ranking(Oracle().rerank(reading, run_of(("q0", "p2", 3))), "q0") == ["p2"]


@given(st.permutations([("q0", "p0", 1.0), ("q0", "p1", 1.0), ("q1", "p0", 1.0)]))
def test_a_random_order_does_not_depend_on_the_order_of_rows(benchmark, rows):
    def drawn(some):
        found = RandomOrder(7).rerank(benchmark.read(bilingual_cell("de", "en")), run_of(*some))
        return found.sort("query_id", "passage_id")

    assert drawn(rows).equals(drawn(sorted(rows)))


def test_another_seed_gives_another_order(reading):
    candidates = run_of(*(("q0", f"p{n}", 1.0) for n in range(100)))
    assert ranking(RandomOrder(1).rerank(reading, candidates), "q0") != ranking(
        RandomOrder(2).rerank(reading, candidates), "q0"
    )


def test_a_run_file_is_found_by_its_cell_also_compressed(reading, tmp_path):
    import gzip

    with gzip.open(tmp_path / "toy-de-en.3.run.gz", "wt") as stream:
        stream.write("q0 Q0 p1 1 2.5 x\nq0 Q0 p0 2 1.5 x\n")
    run = RunFiles(str(tmp_path / "{benchmark}-{cell}.{seed}.run"), 3).rank(reading, 100)
    assert run.rows() == [("q0", "p1", 2.5), ("q0", "p0", 1.5)]


def test_a_missing_run_file_is_named_with_its_cell(reading, tmp_path):
    with pytest.raises(InputError, match=r"de-en\.run: no such run, plain or compressed; the cell de-en needs one"):
        RunFiles(str(tmp_path / "{cell}.run"), 0).rank(reading, 100)


def test_a_run_with_an_unknown_passage_is_refused_with_its_line(reading, tmp_path):
    (tmp_path / "de-en.run").write_text("q0 Q0 p0 1 2 x\nq0 Q0 p9 2 1 x\n")
    with pytest.raises(InputError, match=r"de-en\.run:2: .*p9"):
        RunFiles(str(tmp_path / "{cell}.run"), 0).rank(reading, 100)


def test_hits_of_another_language_become_candidates_by_their_ids(benchmark):
    pooled = benchmark.read(multilingual_cell("en-all", ("de", "it"), "2", "en", seed=1))
    taken = take_over(run_of(("q0", "p3", 2.0), ("q9", "p0", 1.0)), pooled)
    assert sorted(taken.rows()) == [("q0", "de/p3", 2.0), ("q0", "it/p3", 2.0)]


def test_a_scorer_sees_the_texts_of_the_cells_languages(reading, tmp_path):
    scorer = TotalLengths()
    run = reranker_of(scorer, tmp_path, "lengths").rerank(reading, run_of(("q0", "p1", 1.0)))
    assert scorer.asked == [("Haus", "a green garden")]
    assert run.rows() == [("q0", "p1", 18.0)]


def test_a_pair_of_texts_is_scored_once_for_all_settings(benchmark, tmp_path):
    scorer = TotalLengths()
    reranker = reranker_of(scorer, tmp_path, "lengths")
    candidates = run_of(*((f"q{q}", f"p{p}", 1.0) for q in range(4) for p in range(4)))
    languages = ("de", "en", "it")
    for query_language in languages:
        for passage_language in languages:
            reranker.rerank(benchmark.read(bilingual_cell(query_language, passage_language)), candidates)
    assert len(scorer.asked) == len(set(scorer.asked)) == 9 * 16
    for sides in ("xx-en", "en-xx", "xx-xx"):
        reranker.rerank(benchmark.read(multilingual_cell(sides, languages, "3", "en", seed=1)), candidates)
    assert len(scorer.asked) == 9 * 16, "MLIR reads what MoIR and CLIR have scored"


def test_scores_come_from_the_pool_in_another_process_too(reading, tmp_path):
    for _ in range(2):
        scorer = TotalLengths()
        run = reranker_of(scorer, tmp_path, "lengths").rerank(reading, run_of(("q0", "p1", 1.0)))
    assert scorer.asked == []
    assert run.rows() == [("q0", "p1", 18.0)]


@pytest.mark.parametrize(
    ("scores", "message"),
    [
        ([1.0, 2.0], "expected 1 scores, one a pair, got shape"),
        ([np.nan], "score nan for the query 'Haus', passage 'a "),
    ],
)
def test_a_scorer_that_gives_nonsense_is_named(reading, tmp_path, scores, message):
    class Broken:
        def score(self, pairs):
            return np.array(scores, np.float32)

    with pytest.raises(CsgenError, match=f"broken: {message}"):
        reranker_of(Broken(), tmp_path, "broken").rerank(reading, run_of(("q0", "p1", 1.0)))
    assert not list(tmp_path.rglob("*.parquet"))
