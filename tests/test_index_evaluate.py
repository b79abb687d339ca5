"""An index as a system of csgen evaluate: what it finds in cells, what it refuses, and when its runs are made anew."""

import json
import tempfile
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import yaml
from toy_collection import QUERIES, TEXTS, write_collection
from toy_index import Toy, WordEncoder, batch_of, delete, identify, make_index

from cluster.cli import main
from cluster.dense import open_dense
from cluster.index_ranker import open_index
from cluster.lexical import open_lexical
from cluster.models import hash_model, open_model
from csgen.errors import InputError
from eval.benchmark import Benchmark
from eval.evaluate import EvaluateConfig, plan_job, run_group
from eval.experiment import IndexSpec, read_experiment
from eval.settings import bilingual_cell, multilingual_cell
from eval.workshop import Makers
from indexing.index import index as index_module
from indexing.store import Store

pytest.importorskip("faiss")

LANGUAGES = ("de", "en", "it")
# The queries of a number mean the same in all languages.
MEANINGS = {one: f"meaning {n}" for n in range(4) for one in (QUERIES[language][n] for language in LANGUAGES)}


def passages(lacking=()):
    rows = [(f"{one}/p{n}", text) for one in LANGUAGES for n, text in enumerate(TEXTS[one]) if (one, n) not in lacking]
    return [*rows, ("fr/p0", "une maison"), ("fr/p1", "un jardin")]


def build(folder, rows, encoder):
    toy = Toy(batch_of(rows), encoder.encode([row[1] for row in rows]))
    return str(make_index(folder, toy, np.arange(len(rows)) % 3, num_shards=2, encoder=identify(encoder).identity))


@pytest.fixture(autouse=True)
def encoder(monkeypatch):
    """What the name `toy` stands for."""
    made = WordEncoder(64, meanings=MEANINGS)
    monkeypatch.setattr(index_module, "load_encoder", lambda path, **options: identify(made, path))
    return made


@pytest.fixture(scope="module")
def folder():
    with tempfile.TemporaryDirectory() as name:
        yield build(f"{name}/index", passages(), WordEncoder(64, meanings=MEANINGS))


@pytest.fixture(scope="module")
def benchmark(tmp_path_factory):
    return Benchmark("toy", write_collection(tmp_path_factory.mktemp("toy") / "toy"), "test")


def ranker(folder, **fields):
    return open_index(IndexSpec.model_validate({"name": "index", "kind": "index", "index": folder} | fields))


def best(run):
    """The first passage of each query."""
    first = run.sort("query_id", "score", "passage_id", descending=[False, True, True]).unique("query_id", keep="first")
    return dict(first.select("query_id", "passage_id").iter_rows())


ANSWERS = {f"q{n}": f"p{n}" for n in range(4)}


def test_dense_search_finds_passages_of_the_cells_language(folder, benchmark):
    run = ranker(folder).rank(benchmark.read(bilingual_cell("de", "it")), 3)
    assert best(run) == ANSWERS
    assert run.schema == {"query_id": pl.String, "passage_id": pl.String, "score": pl.Float64}
    assert run.group_by("query_id").len()["len"].to_list() == [3] * 4


def test_lexical_search_finds_words_as_they_are(folder, benchmark):
    system = ranker(folder, options={"mode": "lexical"})
    assert best(system.rank(benchmark.read(bilingual_cell("it", "it")), 3)) == ANSWERS
    assert system.rank(benchmark.read(bilingual_cell("en", "it")), 3).is_empty()


def test_translated_search_knows_the_queries_language(folder, benchmark, sample_lexicon):
    system = ranker(folder, options={"mode": "translated"}, lexicon=sample_lexicon)
    assert best(system.rank(benchmark.read(bilingual_cell("en", "de")), 3))["q0"] == "p0"


def test_a_pooled_cell_names_passages_by_language(folder, benchmark):
    cell = multilingual_cell("en-all", LANGUAGES, "3", "en", seed=1)
    run = ranker(folder, options={"least_hits": {"each": 1}}).rank(benchmark.read(cell), 3)
    for query_id, found in run.group_by("query_id"):
        assert {one.partition("/")[0] for one in found["passage_id"]} == set(LANGUAGES), query_id


def test_a_cell_that_draws_its_passages_finds_no_others(folder, benchmark):
    reading = benchmark.read(multilingual_cell("en-xx", LANGUAGES, "3", "en", seed=1))
    run = ranker(folder).rank(reading, 10)
    assert run.group_by("query_id").len()["len"].to_list() == [4] * 4, "each passage in one language"
    assert best(run) == ANSWERS


def test_queries_of_several_languages_are_all_asked(folder, benchmark):
    reading = benchmark.read(multilingual_cell("xx-en", LANGUAGES, "3", "en", seed=1))
    assert best(ranker(folder).rank(reading, 3)) == ANSWERS


def test_a_query_is_encoded_once_for_all_cells(folder, benchmark, encoder):
    system = ranker(folder)
    for language in LANGUAGES:
        system.rank(benchmark.read(bilingual_cell("de", language)), 3)
    assert sorted(encoder.asked) == sorted(QUERIES["de"])


def test_expansions_are_fused_with_their_queries(folder, benchmark, tmp_path):
    (tmp_path / "toy.tsv").write_text("query_id\ttext\nq0\tgarden\n")
    options = {"mode": "lexical", "expansion_weight": 2}
    system = ranker(folder, options=options, expansions=str(tmp_path / "{benchmark}.tsv"))
    assert best(system.rank(benchmark.read(bilingual_cell("en", "en")), 3)) == ANSWERS | {"q0": "p1"}
    (tmp_path / "toy.tsv").write_text("query_id\ttext\nq9\tgarden\n")
    with pytest.raises(InputError, match=r"toy\.tsv:2: expands the query 'q9', which is not there"):
        ranker(folder, expansions=str(tmp_path / "toy.tsv")).rank(benchmark.read(bilingual_cell("en", "en")), 3)


def test_an_index_that_lacks_passages_is_refused(benchmark, tmp_path):
    lacking = build(tmp_path / "index", passages([("it", 2), ("it", 3)]), WordEncoder(64))
    with pytest.raises(InputError, match=r"lacks 2 of the 4 passages of the cell de-it, such as it/p2: build it from"):
        ranker(lacking).rank(benchmark.read(bilingual_cell("de", "it")), 3)


EXPERIMENT = {
    "name": "toy",
    "benchmarks": [{"name": "toy", "path": "TOY"}],
    "settings": {"clir": ["de-en"]},
    "systems": [
        {"name": "dense", "kind": "index", "index": "INDEX"},
        {"name": "hybrid", "kind": "index", "index": "INDEX", "options": {"mode": "hybrid"}},
        {"name": "oracle", "kind": "oracle"},
    ],
    "candidates": {"system": "dense"},
    "baseline": "dense",
}
NUM_RUNS = 3


@pytest.fixture
def experiment(tmp_path, encoder):
    """The path of an experiment with an index of its own."""
    content = EXPERIMENT | {"benchmarks": [{"name": "toy", "path": write_collection(tmp_path / "toy")}]}
    built = build(tmp_path / "index", passages(), encoder)
    for system in content["systems"][:2]:
        system["index"] = built
    path = tmp_path / "experiment.yaml"
    path.write_text(yaml.safe_dump(content, sort_keys=False))
    return path


def test_an_option_that_stands_elsewhere_is_refused_with_its_line(experiment):
    experiment.write_text(experiment.read_text().replace("mode: hybrid", "top_k: 5"))
    with pytest.raises(InputError, match=r"yaml:[0-9]+: options: top_k is told by depth; leave it out"):
        read_experiment(str(experiment))


def test_an_index_is_a_system_and_gives_candidates(experiment, capsys, tmp_path):
    assert main(["evaluate", str(experiment), "--output", str(tmp_path / "out"), "--format", "json"]) == 0
    summary = json.loads(capsys.readouterr().out)
    assert summary["runs"] == summary["new_runs"] == NUM_RUNS
    values = {(row["system"], row["measure"]): row["value"] for row in summary["summary"]}
    assert values["dense", "RR@10"] == values["oracle", "RR@10"] == values["hybrid", "RR@10"] == 1


def test_runs_are_made_anew_when_the_index_has_changed(experiment, tmp_path):
    config = EvaluateConfig.from_options({"experiment": str(experiment), "output": str(tmp_path / "out")})
    makers = Makers(open_lexical, open_dense, open_index, open_model, hash_model)
    made = []
    for _ in range(2):
        job = plan_job(config, makers)
        made.append(sum(run_group(job, index) for index in range(len(job.groups))))
    assert made == [NUM_RUNS, 0]
    delete(Store.open(tmp_path / "index"), ["fr/p1"])
    assert plan_job(config, makers).num_missing == NUM_RUNS


def test_an_option_that_search_does_not_have_is_refused(experiment, capsys, tmp_path):
    experiment.write_text(experiment.read_text().replace("mode: hybrid", "moed: hybrid"))
    assert main(["evaluate", str(experiment), "--output", str(tmp_path / "out")]) == 2
    assert "--moed: no such option" in capsys.readouterr().err
    assert not Path(tmp_path / "out/results.json").exists()
