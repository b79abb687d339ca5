"""csgen evaluate from end to end: what is written, reused, refused, and the same whatever happens on the way."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import polars as pl
import pytest
import yaml
from toy_collection import write_collection

from cluster.cli import main
from csgen.sources.sample import SAMPLE_FOLDER
from eval.trec import read_run

EXPERIMENT = {
    "name": "toy",
    "benchmarks": [{"name": "toy", "path": "TOY"}],
    "settings": {
        "moir": "all",
        "clir": "all",
        "mlir": [{"languages": ["de", "en", "it"], "sides": ["xx-en", "en-xx", "xx-xx", "en-all"]}],
    },
    "systems": [
        {"name": "BM25", "kind": "bm25"},
        {"name": "oracle", "kind": "oracle"},
        {"name": "random", "kind": "random", "seeds": [1, 2]},
    ],
    "candidates": {"system": "BM25", "pivot": "en"},
    "baseline": "BM25",
}
NUM_CELLS, RUNS_A_CELL = 13, 4


@pytest.fixture
def experiment(tmp_path):
    """Writes an experiment with some keys changed; the path of its file."""

    def write(**changes):
        content = EXPERIMENT | {"benchmarks": [{"name": "toy", "path": str(tmp_path / "toy")}]} | changes
        path = tmp_path / "experiment.yaml"
        path.write_text(yaml.safe_dump(content, sort_keys=False))
        return str(path)

    write_collection(tmp_path / "toy")
    return write


@pytest.fixture
def evaluate(capsys, tmp_path):
    """Runs the command in this process; gives its exit code, standard output and standard error."""

    def run(path, *arguments, output=tmp_path / "out"):
        code = main(["evaluate", path, "--output", str(output), *arguments])
        return code, *capsys.readouterr()

    return run


def summary_of(found):
    code, output, errors = found
    assert (code, errors) == (0, "")
    return json.loads(output)


def values_of(summary, system, measure="RR@10"):
    rows = [row for row in summary["summary"] if row["system"] == system and row["measure"] == measure]
    return {row["setting"]: row["value"] for row in rows}


def files_of(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_every_setting_is_measured(evaluate, experiment):
    summary = summary_of(evaluate(experiment(), "--format", "json"))
    assert (summary["cells"], summary["runs"]) == (NUM_CELLS, NUM_CELLS * RUNS_A_CELL)
    assert values_of(summary, "BM25")["MoIR"] == 1.0, "each toy query has a word of its passage alone"
    assert values_of(summary, "BM25")["CLIR"] == 0.0, "and none in another language"
    assert values_of(summary, "oracle") == {"MoIR": 1.0, "CLIR": 1.0, "MLIR": 1.0}


def test_the_output_holds_runs_tables_plots_report_and_a_manifest_of_them(evaluate, experiment, tmp_path):
    evaluate(experiment())
    files = set(files_of(tmp_path / "out"))
    assert {"report.html", "tables/tables.md", "results.json", "experiment.yaml", "manifest.json"} <= files
    assert "runs/toy/BM25/de-en.run.gz" in files
    assert any(name.startswith("plots/") and name.endswith(".png") for name in files)
    manifest = json.loads((tmp_path / "out/manifest.json").read_text())
    assert set(manifest["files"]) == files - {"manifest.json"}


def test_a_run_is_a_trec_run_of_the_cell(evaluate, experiment, tmp_path):
    evaluate(experiment())
    run = read_run(str(tmp_path / "out/runs/toy/BM25/it-it.run.gz"))
    assert run.select("query_id", "passage_id").rows() == [(f"q{n}", f"p{n}") for n in range(4)]


def test_a_pooled_cell_names_passages_by_language(evaluate, experiment, tmp_path):
    evaluate(experiment())
    run = read_run(str(tmp_path / "out/runs/toy/oracle/en-all.3.run.gz"))
    assert set(run.filter(query_id="q0")["passage_id"]) == {"de/p0", "en/p0", "it/p0"}


def test_what_is_there_is_not_made_again(evaluate, experiment, tmp_path):
    evaluate(experiment())
    before = files_of(tmp_path / "out")
    assert summary_of(evaluate(experiment(), "--format", "json"))["new_runs"] == 0
    assert files_of(tmp_path / "out") == before


def test_a_system_that_joins_is_all_that_is_made(evaluate, experiment):
    evaluate(experiment())
    joined = experiment(systems=[*EXPERIMENT["systems"], {"name": "BM25 k3", "kind": "bm25", "k1": 3}])
    assert summary_of(evaluate(joined, "--format", "json"))["new_runs"] == NUM_CELLS


def test_a_system_reorders_its_own_candidates(evaluate, experiment):
    own = {"name": "of its own", "kind": "oracle", "candidates": {"system": "BM25"}}
    path = experiment(systems=[*EXPERIMENT["systems"], own])
    summary = summary_of(evaluate(path, "--format", "json"))
    assert values_of(summary, "oracle")["CLIR"] == 1.0, "the pivot's candidates have the answers"
    assert values_of(summary, "of its own")["CLIR"] == 0.0, "the cell's do not"


def test_another_measure_needs_no_run_again(evaluate, experiment, tmp_path):
    evaluate(experiment())
    run = tmp_path / "out/runs/toy/BM25/de-en.run.gz"
    mark = run.stat().st_mtime_ns
    summary = summary_of(evaluate(experiment(measures=["P@1"]), "--format", "json"))
    assert values_of(summary, "oracle", "P@1")["CLIR"] == 1.0
    assert run.stat().st_mtime_ns == mark


def test_a_changed_input_is_seen(evaluate, experiment, tmp_path):
    evaluate(experiment())
    passages = tmp_path / "toy/it/passages.jsonl"
    passages.write_text(passages.read_text().replace("rossa", "blu"))
    summary = summary_of(evaluate(experiment(), "--format", "json"))
    assert 0 < summary["new_runs"] < NUM_CELLS * RUNS_A_CELL, "those with Italian passages alone"


def test_another_number_of_queries_makes_the_runs_that_it_changes(evaluate, experiment, tmp_path):
    def new_runs(number):
        benchmark = {"name": "toy", "path": str(tmp_path / "toy"), "queries": number}
        return summary_of(evaluate(experiment(benchmarks=[benchmark]), "--format", "json"))["new_runs"]

    assert [new_runs(number) for number in (2, 2, 3)] == [52, 0, 52]
    for system in ("BM25", "oracle"):  # in en-en candidates come from the pivot, which has the same queries
        run = read_run(str(tmp_path / f"out/runs/toy/{system}/en-en.run.gz"))
        assert run["query_id"].n_unique() == 3


def test_fewer_queries_than_asked_for_are_all_of_them_and_are_told_once(evaluate, experiment, tmp_path):
    benchmark = {"name": "toy", "path": str(tmp_path / "toy")}
    evaluate(experiment(benchmarks=[benchmark | {"queries": 4}]))
    code, output, errors = evaluate(experiment(benchmarks=[benchmark | {"queries": 300}]), "--format", "json")
    assert (code, json.loads(output)["new_runs"]) == (0, 0)
    assert errors == "toy: there are only 4 of the 300 queries asked for\n"


def test_a_missing_run_file_of_the_output_is_made_again(evaluate, experiment, tmp_path):
    evaluate(experiment())
    before = files_of(tmp_path / "out")
    (tmp_path / "out/values/toy/oracle/de-en.parquet").unlink()
    (tmp_path / "out/manifest.json").unlink()
    assert summary_of(evaluate(experiment(), "--format", "json"))["new_runs"] == 1
    assert files_of(tmp_path / "out") == before


def test_two_workers_on_ray_write_the_same_bytes_as_one_process(
    evaluate, experiment, tmp_path, ray_session, monkeypatch
):
    path = experiment()
    evaluate(path, "--workers", "1", output=tmp_path / "one")
    monkeypatch.setattr("cluster.commands.evaluate.SMALL_UNITS", 1)
    assert evaluate(path, "--workers", "2", output=tmp_path / "two")[0] == 0
    assert files_of(tmp_path / "one") == files_of(tmp_path / "two")


SLOW = """
import sys, time
from eval.units import UnitStore
write = UnitStore.write_values
def slowly(store, *arguments):
    write(store, *arguments)
    time.sleep(0.05)
UnitStore.write_values = slowly
from cluster.cli import main
sys.exit(main(sys.argv[1:]))
"""


def test_a_killed_evaluation_goes_on_and_ends_with_the_same_bytes(evaluate, experiment, tmp_path):
    path = experiment()
    evaluate(path, output=tmp_path / "whole")
    command = [sys.executable, "-c", SLOW, "evaluate", path, "--output", str(tmp_path / "out"), "--workers", "1"]
    with subprocess.Popen(command, cwd=Path(__file__).parents[1]) as process:
        limit = time.monotonic() + 60
        while len(list((tmp_path / "out").rglob("values/**/*.parquet"))) < 10:
            assert time.monotonic() < limit
            time.sleep(0.01)
        os.kill(process.pid, signal.SIGKILL)
    assert not (tmp_path / "out/manifest.json").exists()
    summary = summary_of(evaluate(path, "--format", "json"))
    assert summary["new_runs"] <= NUM_CELLS * RUNS_A_CELL - 10
    leftovers = {name for name in files_of(tmp_path / "out") if name.endswith(".partial")}
    assert {k: v for k, v in files_of(tmp_path / "out").items() if k not in leftovers} == files_of(tmp_path / "whole")


def test_the_output_of_another_experiment_is_refused(evaluate, experiment):
    evaluate(experiment())
    code, _, errors = evaluate(experiment(name="other"))
    assert code == 2
    assert "holds the results of the experiment 'toy', this one is 'other'; remove it first (rm -r " in errors


def test_run_files_are_a_system(evaluate, experiment, tmp_path):
    evaluate(experiment())
    systems = [{"name": "mine", "kind": "run", "path": str(tmp_path / "out/runs/{benchmark}/oracle/{cell}.run")}]
    path = experiment(systems=systems, candidates=None, baseline="")
    summary = summary_of(evaluate(path, "--format", "json", output=tmp_path / "second"))
    assert values_of(summary, "mine") == {"MoIR": 1.0, "CLIR": 1.0, "MLIR": 1.0}


def test_anything_that_scores_pairs_is_a_system_and_scores_each_pair_once(evaluate, experiment, tmp_path):
    systems = [EXPERIMENT["systems"][0], {"name": "lengths", "kind": "scorer", "make": "toy_scorer:make",
                                          "options": {"log": str(tmp_path / "asked")}}]  # fmt: skip
    path = experiment(systems=systems)
    assert evaluate(path)[0] == 0
    asked = (tmp_path / "asked").read_text().splitlines()
    assert len(asked) == len(set(asked)) > 0
    wider = experiment(systems=systems, settings=EXPERIMENT["settings"] | {"mlir": [{"languages": ["de", "it"]}]})
    assert evaluate(wider)[0] == 0
    assert (tmp_path / "asked").read_text().splitlines() == asked, "other draws read the same scores"


def test_a_variant_is_measured_beside_its_system(evaluate, experiment):
    path = experiment(variants=[{"kind": "misspelt", "rate": 1.0}])
    found = values_of(summary_of(evaluate(path, "--format", "json")), "BM25+misspelt")
    assert found["MoIR"] < 1.0


def test_a_variant_that_cannot_be_made_of_some_queries_says_so(evaluate, experiment, sample_lexicon):
    variant = {"kind": "code-switched", "lexicon": sample_lexicon, "languages": ["de"], "probability": 1.0}
    summary = summary_of(evaluate(experiment(variants=[variant]), "--format", "json"))
    assert any("BM25+code-switched" in warning and "fewer queries" in warning for warning in summary["warnings"])


def test_small_samples_and_queries_left_out_are_told(evaluate, experiment, tmp_path):
    passages = tmp_path / "toy/it/passages.jsonl"
    passages.write_text("".join(passages.read_text().splitlines(keepends=True)[:3]))
    warnings = summary_of(evaluate(experiment(), "--format", "json"))["warnings"]
    assert any("13 of 13 cells are small" in warning for warning in warnings)
    assert any("leave out queries" in warning for warning in warnings)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"settings": {"moir": ["fr"]}}, "no pair of languages 'fr-fr': expected QUERY-PASSAGE with queries in en, de"),
        ({"settings": {"mlir": [{"languages": ["de", "fr"]}]}}, "there are no queries in fr; there are en, de, it"),
        ({"measures": ["RR@10", "nDGC@10"]}, "nDGC@10"),
        ({"benchmarks": [{"name": "toy", "path": "toy", "queries": 0}]}, "benchmarks.queries: input should be greater"),
        ({"benchmarks": [{"name": "toy", "path": "nowhere"}]}, "nowhere: no collection.json"),
    ],
)
def test_what_is_wrong_with_an_experiment_is_said_with_its_line_before_anything_is_written(
    evaluate, experiment, tmp_path, changes, message
):
    code, output, errors = evaluate(experiment(**changes))
    assert (code, output) == (2, "")
    assert errors.startswith(f"csgen: {tmp_path}/experiment.yaml:")
    assert message in errors
    assert not (tmp_path / "out").exists()


def test_a_run_of_another_split_is_refused(evaluate, experiment, tmp_path):
    (tmp_path / "de-de.run").write_text("other1 Q0 p0 1 1.0 x\n")
    systems = [{"name": "mine", "kind": "run", "path": str(tmp_path / "{cell}.run")}]
    path = experiment(systems=systems, candidates=None, baseline="", settings={"moir": ["de"]})
    code, _, errors = evaluate(path)
    assert (code, "none of its 1 queries" in errors) == (2, True)


def test_a_pool_of_scores_can_be_shared_by_experiments(evaluate, experiment, tmp_path):
    systems = [EXPERIMENT["systems"][0], {"name": "lengths", "kind": "scorer", "make": "toy_scorer:make",
                                          "options": {"log": str(tmp_path / "asked")}}]  # fmt: skip
    path = experiment(systems=systems)
    for name in ("one", "two"):
        assert evaluate(path, "--scores", str(tmp_path / "scores"), output=tmp_path / name)[0] == 0
    asked = (tmp_path / "asked").read_text().splitlines()
    assert len(asked) == len(set(asked))


def test_the_carried_sample_is_a_benchmark(evaluate, experiment):
    path = experiment(
        benchmarks=[{"name": "sample", "path": str(SAMPLE_FOLDER)}],
        settings={"moir": "all", "clir": ["de-en", "ja-en"]},
    )
    summary = summary_of(evaluate(path, "--format", "json"))
    assert pl.DataFrame(summary["summary"]).filter(setting="MoIR")["num_cells"].unique().to_list() == [7]


def test_translated_queries_find_what_words_do_not(evaluate, experiment, sample_lexicon):
    systems = [EXPERIMENT["systems"][0], {"name": "translated", "kind": "translated-bm25", "lexicon": sample_lexicon}]
    settings = {"moir": ["en"], "clir": ["de-en", "it-de"]}
    path = experiment(systems=systems, candidates=None, settings=settings)
    summary = summary_of(evaluate(path, "--format", "json"))
    assert values_of(summary, "translated")["CLIR"] > values_of(summary, "BM25")["CLIR"] == 0
    assert values_of(summary, "translated")["MoIR"] == values_of(summary, "BM25")["MoIR"]


def test_languages_that_the_lexicon_does_not_reach_are_told(evaluate, experiment, tmp_path):
    (tmp_path / "en-de.tsv").write_text("house\tHaus\n")
    main(["lexicon", "build", f"tsv:en-de:{tmp_path}/en-de.tsv", "--output", str(tmp_path / "lexicon"), "--quiet"])
    systems = [{"name": "translated", "kind": "translated-bm25", "lexicon": str(tmp_path / "lexicon")}]
    path = experiment(systems=systems, candidates=None, baseline="", settings={"clir": ["de-en", "it-en", "de-it"]})
    code, output, _ = evaluate(path)
    assert code == 0
    assert "for 2 of 3 pairs of languages the lexicon has no translations" in " ".join(output.split())
    assert "it-en, de-it" in " ".join(output.split())


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["q0 Q0 p0 1 2.0 x", "q1 Q0 p9 1 1.0 x"], "de-de.run:2: the passage 'p9' is not among the 4"),
        (["q0 Q0 p0 1 2.0 x", "q0 Q0 p0 2 1.0 x"], "de-de.run:2: the passage 'p0' stands twice for the query 'q0'"),
        (["q0 Q0 p0 1 nan x"], "de-de.run:1: expected a finite number as score, got 'nan'"),
        (["q0 Q0 p0 1 high x"], "de-de.run:1: expected a finite number as score, got 'high'"),
        (["q0 Q0 p0 1 2.0 x", "q0 p0 2.0"], "de-de.run:2: expected 6 fields, got 3"),
        (["z9 Q0 p0 1 2.0 x"], "de-de.run: none of its 1 queries (the first 'z9') is among the 4 of"),
    ],
)  # fmt: skip
def test_a_bad_run_is_named_with_its_line_and_nothing_is_measured(evaluate, experiment, tmp_path, lines, message):
    (tmp_path / "de-de.run").write_text("\n".join(lines) + "\n")
    systems = [{"name": "mine", "kind": "run", "path": str(tmp_path / "{cell}.run")}]
    path = experiment(systems=systems, candidates=None, baseline="", settings={"moir": ["de"]})
    code, output, errors = evaluate(path)
    assert (code, output) == (2, "")
    assert message in errors
    assert not (tmp_path / "out/manifest.json").exists()


def test_a_query_that_nothing_is_relevant_to_is_named_with_its_line(evaluate, experiment, tmp_path):
    path = experiment()
    (tmp_path / "toy/qrels/test.tsv").write_text("query-id\tcorpus-id\tscore\nq0\tp0\t1\nq1\tp1\t0\n")
    code, _, errors = evaluate(path)
    assert (code, "qrels/test.tsv:3: the query 'q1' has no relevant passage" in errors) == (2, True)
