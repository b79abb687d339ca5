"""csgen rerank, and models as systems of csgen evaluate, with small models of random weights."""

import json
from itertools import pairwise

import numpy as np
import polars as pl
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from cluster.cli import main
from cluster.reranking import _cut
from csgen.sources.sample import SAMPLE_FOLDER
from eval.trec import read_run, write_run

pytest.importorskip("torch")
pytest_plugins = ["toy_models"]


@pytest.fixture(scope="module")
def candidates(tmp_path_factory):
    """Ten passages of the carried sample for each of 20 queries, the best by their numbers."""
    numbers = range(1, 21)
    rows = [(f"q{q:02}", f"p{(q + k) % 60 + 1:02}", float(-k)) for q in numbers for k in range(10)]
    path = str(tmp_path_factory.mktemp("candidates") / "bm25.run")
    write_run(pl.DataFrame(rows, ["query_id", "passage_id", "score"], orient="row"), path, "bm25")
    return path


@pytest.fixture
def rerank(capsys, toys, candidates, tmp_path):
    """Runs the command in this process; gives its exit code, standard output and standard error."""

    def run(*arguments, model=None, output=tmp_path / "out.run", path=candidates):
        given = ["--model", model or toys.reranker("xlm-roberta"), "--collection", str(SAMPLE_FOLDER)]
        given += ["--candidates", path, "--query-language", "de", "--passage-language", "en", "--output", str(output)]
        code = main(["rerank", *given, *map(str, arguments)])
        return code, *capsys.readouterr()

    return run


def test_a_run_has_the_models_scores(rerank, toys, candidates, tmp_path):
    import pyarrow as pa

    from cluster.reranker import Reranker
    from csgen.sources.collection import read_collection

    assert rerank()[0] == 0
    run = read_run(str(tmp_path / "out.run"))
    sample = read_collection(str(SAMPLE_FOLDER))
    queries, passages = (dict(rows.iter_rows()) for rows in (sample.queries("de"), sample.passages("en")))
    pairs = pa.table({
        "query": [queries[one] for one in run["query_id"]], "passage": [passages[one] for one in run["passage_id"]]
    })  # fmt: skip
    wanted = Reranker.load(toys.reranker("xlm-roberta")).score(pairs)
    np.testing.assert_allclose(run["score"].to_numpy(), wanted, atol=1e-5)
    assert len(run) == len(read_run(candidates))


def test_the_best_candidates_alone_are_scored_on_demand(rerank, tmp_path):
    assert json.loads(rerank("--top-k", "3", "--format", "json")[1]) == {
        "queries": 20, "pairs": 60, "output": str(tmp_path / "out.run")
    }  # fmt: skip
    assert set(read_run(str(tmp_path / "out.run")).filter(query_id="q01")["passage_id"]) == {"p02", "p03", "p04"}


def test_an_encoder_scores_by_inner_products(rerank, toys, tmp_path):
    assert rerank("--kind", "encoder", model=toys.encoder("bert"))[0] == 0
    assert read_run(str(tmp_path / "out.run"))["score"].is_between(-1, 1).all()


def test_shards_on_ray_give_the_scores_of_one_process(rerank, tmp_path, ray_session):
    assert rerank("--workers", "1", output=tmp_path / "one.run")[0] == 0
    code, _, errors = rerank("--workers", "2", "--pairs-per-shard", "50", output=tmp_path / "two.run")
    assert (code, errors) == (0, "")
    one, two = (read_run(str(tmp_path / name)).sort("query_id", "passage_id") for name in ("one.run", "two.run"))
    assert one.drop("score").equals(two.drop("score"))
    np.testing.assert_allclose(one["score"], two["score"], atol=1e-5)


def test_a_pool_keeps_the_scores_of_shards_that_are_done(rerank, tmp_path, monkeypatch):
    from cluster.reranker import Reranker

    assert rerank("--scores", tmp_path / "scores", "--top-k", "4")[0] == 0
    asked = []
    score = Reranker.score
    monkeypatch.setattr(Reranker, "score", lambda self, pairs: asked.append(pairs.num_rows) or score(self, pairs))
    assert rerank("--scores", tmp_path / "scores", output=tmp_path / "whole.run")[0] == 0
    assert sum(asked) == 20 * 6, "four of ten were there"


def test_an_output_that_exists_is_not_overwritten(rerank, tmp_path):
    (tmp_path / "out.run").write_text("mine")
    code, _, errors = rerank()
    assert (code, "out.run: exists already; remove it first" in errors) == (2, True)
    assert (tmp_path / "out.run").read_text() == "mine"


def test_an_unknown_passage_is_named_with_its_line(rerank, tmp_path):
    (tmp_path / "bad.run").write_text("q01 Q0 p01 1 2 x\nq01 Q0 p99 2 1 x\n")
    code, _, errors = rerank(path=str(tmp_path / "bad.run"))
    assert (code, "bad.run:2: the passage 'p99' is not among" in errors) == (2, True)
    assert not (tmp_path / "out.run").exists()


def test_a_folder_without_a_model_is_named(rerank, tmp_path):
    code, _, errors = rerank(model=str(tmp_path))
    assert (code, errors.startswith(f"csgen: {tmp_path}")) == (2, True)


@given(st.lists(st.integers(1, 9), min_size=1, max_size=30), st.integers(1, 20))
def test_shards_are_whole_queries_and_all_rows(lengths, pairs_per_shard):
    queries = pl.Series([f"q{n:02}" for n, length in enumerate(lengths) for _ in range(length)])
    bounds = _cut(queries, pairs_per_shard)
    ends = {sum(lengths[: n + 1]) for n in range(len(lengths))}
    assert (bounds[0], bounds[-1]) == (0, len(queries))
    assert set(bounds[1:]) <= ends
    assert all(end > start for start, end in pairwise(bounds))


def test_models_are_systems_of_an_evaluation(toys, tmp_path, capsys):
    experiment = {
        "name": "models",
        "benchmarks": [{"name": "sample", "path": str(SAMPLE_FOLDER)}],
        "settings": {"moir": ["en"], "clir": ["de-en"]},
        "systems": [
            {"name": "BM25", "kind": "bm25"},
            {"name": "reranker", "kind": "reranker", "model": toys.reranker("bert")},
            {"name": "encoder", "kind": "encoder", "model": toys.encoder("xlm-roberta"), "precision": "fp32"},
            {"name": "dense", "kind": "dense", "model": toys.encoder("xlm-roberta")},
        ],
        "candidates": {"system": "BM25", "pivot": "en"},
        "baseline": "BM25",
    }
    (tmp_path / "x.yaml").write_text(yaml.safe_dump(experiment))
    command = ["evaluate", str(tmp_path / "x.yaml"), "--output", str(tmp_path / "out"), "--format", "json"]
    assert main(command) == 0
    summary = json.loads(capsys.readouterr().out)
    found = {(row["system"], row["setting"]) for row in summary["summary"]}
    assert {("reranker", "CLIR"), ("encoder", "MoIR"), ("dense", "CLIR")} <= found
    assert main(command) == 0
    assert json.loads(capsys.readouterr().out)["new_runs"] == 0
