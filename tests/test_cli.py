"""The command line: exit codes, messages, what goes where, and switching from end to end, here and on Ray."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import polars as pl
import pytest

from cluster.cli import COMMANDS

CSGEN = Path(sys.executable).parent / "csgen"
REASON_FOR_SKIPPING = "the package is not installed, so there is no command csgen"


def run_process(*arguments, **environment):
    if not CSGEN.exists():
        pytest.skip(REASON_FOR_SKIPPING)
    return subprocess.run(
        [CSGEN, *arguments], capture_output=True, text=True, check=False, env=os.environ | environment, timeout=120
    )


@pytest.fixture
def switch(csgen, sample_pairs, sample_lexicon, tmp_path):
    """Runs `csgen switch` on the sample; later arguments win over the ones set here."""

    def run(*arguments, pairs=sample_pairs, output=tmp_path / "out"):
        given = ["--lexicon", sample_lexicon, "--languages", "de,it", "--seed", "1", "--output", output]
        return csgen("switch", pairs, *given, *arguments)

    return run


def write_pairs(path, rows):
    """JSON lines; a row may be a dict or the line itself."""
    path.write_text("".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows))
    return path


def read_rows(folder):
    return pl.read_parquet(f"{folder}/part-*.parquet")


def read_files(folder):
    return {file.name: file.read_bytes() for file in sorted(folder.iterdir())}


# The process


def test_help_is_quick_and_needs_no_heavy_package():
    begun = time.perf_counter()
    done = run_process("--help", PYTHONPROFILEIMPORTTIME="1")
    seconds = time.perf_counter() - begun
    assert done.returncode == 0
    assert seconds < 1.0, "0.06 s on an idle machine"
    assert not [name for name in ("pydantic", "pyarrow", "numba", "ray", "torch") if f" {name}\n" in done.stderr]
    assert all(name in done.stdout for name in COMMANDS)


def test_bad_input_ends_with_2_and_one_line(tmp_path):
    done = run_process("switch", "nowhere.parquet", "--lexicon", "l", "--languages", "de", "--output", str(tmp_path))
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "csgen: nowhere.parquet: no such file or folder\n"


def test_debugging_shows_where():
    done = run_process("switch", "--probability", "2", CSGEN_DEBUG="1")
    assert done.returncode == 2
    assert "Traceback" in done.stderr


def test_who_stops_reading_standard_output_is_no_error(sample_lexicon):
    if not CSGEN.exists():
        pytest.skip(REASON_FOR_SKIPPING)
    with subprocess.Popen([CSGEN, "lexicon", "show", sample_lexicon, "house"], stdout=-1, stderr=-1) as process:
        process.stdout.close()
        assert process.stderr.read() == b""


# Commands and options


def test_version(csgen):
    assert csgen("--version") == (0, "csgen 0.1.0\n", "")


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help(csgen, name):
    code, output, errors = csgen(*name.split(), "--help")
    assert (code, errors) == (0, "")
    assert f"usage: csgen {name} " in output
    assert "--config FILE.yaml" in output


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "expected a command, one of fetch, lexicon build"),
        (["lexicon"], "expected a command, one of lexicon build, lexicon show, lexicon stats"),
        (["lexicon", "shwo"], "unknown command 'lexicon shwo'; did you mean lexicon show?"),
        (["swich", "x"], "unknown command 'swich'; did you mean switch?"),
        (["switch", "x", "--langages", "de"], "unknown option --langages; did you mean --languages"),
        (["switch"], "PAIRS is required: pairs to switch"),
        (["switch", "x", "--languages", "de"], "--lexicon is required"),
        (["switch", "x", "--lexicon", "l", "--languages", "de"], "--output is required: the folder to write"),
        (["switch", "x", "--lexicon", "l"], "--languages is required"),
        (
            ["switch", "x", "--probability", "1.5"],
            "--probability: input should be less than or equal to 1, got 1.5; --lexicon",
        ),
        (["fetch", "nowhere", "--output", "x"], "source must be debian, sample, irds:ID or hub:NAME, got 'nowhere'"),
        (["verify", "nowhere"], "nowhere: no manifest.json: not a finished output of csgen"),
    ],
)
def test_what_is_wrong_with_the_arguments_is_said_in_one_line(csgen, arguments, message):
    code, output, errors = csgen(*arguments)
    assert (code, output) == (2, "")
    assert errors.startswith(f"csgen: {message}")
    assert errors.count("\n") == 1


def test_an_interruption_ends_with_130_and_one_line(csgen, monkeypatch):
    def interrupt(arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr("cluster.cli.run", interrupt)
    assert csgen("plan") == (130, "", "csgen: interrupted\n")


def test_an_unexpected_error_ends_with_1_and_one_line(csgen, monkeypatch):
    def fail(arguments):
        raise ZeroDivisionError("a tale of\nmany lines")

    monkeypatch.setattr("cluster.cli.run", fail)
    assert csgen("plan") == (1, "", "csgen: ZeroDivisionError: many lines; CSGEN_DEBUG=1 shows where\n")


def test_a_yaml_file_sets_options_and_a_flag_wins(switch, tmp_path):
    config = tmp_path / "options.yaml"
    config.write_text("probability: 0.0\nspans: true\nlanguages: [fr]\n")
    assert switch("--config", config, "--probability", "1")[0] == 0
    manifest = json.loads((tmp_path / "out/manifest.json").read_text())
    assert (manifest["config"]["probability"], manifest["config"]["languages"]) == (1.0, ["de", "it"])
    assert "query_switches" in read_rows(tmp_path / "out").columns


def test_a_wrong_key_in_a_yaml_file_is_refused(switch, tmp_path):
    config = tmp_path / "options.yaml"
    config.write_text("probabilty: 0.5\n")
    code, output, errors = switch("--config", config)
    assert (code, output) == (2, "")
    assert errors == f"csgen: {config}: probabilty: no such option; did you mean probability or query_probability?\n"


# The lexicon


def test_lexicon_build_tells_its_counts_as_json(csgen, tmp_path):
    (tmp_path / "en-de.tsv").write_text("house\tHaus\nhouse\tGebäude\n")
    code, output, _ = csgen(
        "lexicon", "build", f"tsv:en-de:{tmp_path}/en-de.tsv", "--output", tmp_path / "lexicon", "--format", "json"
    )
    assert code == 0
    assert json.loads(output)["languages"] == {"en-de": {"words": 1, "entries": 2}}


def test_lexicon_show_lists_translations_and_suggests_near_words(csgen, sample_lexicon):
    code, output, _ = csgen("lexicon", "show", sample_lexicon, "House", "--format", "json")
    assert (code, {"Haus", "maison"} <= {entry["target"] for entry in json.loads(output)}) == (0, True)
    assert "German (de)" in csgen("lexicon", "show", sample_lexicon, "house")[1]
    code, _, errors = csgen("lexicon", "show", sample_lexicon, "hause")
    assert (code, "did you mean house" in errors) == (2, True)


def test_lexicon_stats_counts_the_words_of_pairs(csgen, tmp_path, sample_rows):
    (tmp_path / "en-de.tsv").write_text("house\tHaus\n")
    csgen("lexicon", "build", f"tsv:en-de:{tmp_path}/en-de.tsv", "--output", tmp_path / "lexicon")
    pairs = write_pairs(tmp_path / "pairs.jsonl", [sample_rows[0] | {"query": "House house", "passage": "a garden"}])
    code, output, _ = csgen("lexicon", "stats", tmp_path / "lexicon", pairs, "--format", "json")
    assert code == 0
    assert json.loads(output)["coverage"][0] == {
        "forms": "entries", "source_language": "en", "target_language": "de", "band": "all", "distinct_tokens": 3,
        "distinct_ratio": pytest.approx(1 / 3), "running_tokens": 4, "running_ratio": 0.5,
    }  # fmt: skip


# Switching


def test_switch_writes_pairs_and_a_manifest_and_prints_its_summary(switch, tmp_path):
    code, output, errors = switch("--format", "json")
    assert (code, errors) == (0, "")
    assert sorted(read_files(tmp_path / "out")) == ["manifest.json", "part-00000.parquet"]
    summary = json.loads(output)
    assert (summary["pairs"], summary["output"]) == (60, str(tmp_path / "out"))
    assert summary["sides"]["query"]["realised_ratio"] > 0.2


def test_the_table_of_a_switch_goes_to_standard_output(switch):
    code, output, errors = switch()
    assert (code, errors) == (0, "")
    assert "German (de)" in output


def test_a_finished_output_is_never_overwritten(switch, tmp_path):
    switch()
    before = read_files(tmp_path / "out")
    code, _, errors = switch("--seed", "2")
    assert (code, "holds a finished output; remove it first (rm -r " in errors) == (2, True)
    assert read_files(tmp_path / "out") == before


def test_shards_of_any_size_hold_the_same_rows(switch, tmp_path, ray_session):
    switch("--spans", output=tmp_path / "one")
    switch("--spans", "--rows-per-shard", "25", output=tmp_path / "three")
    assert len(list((tmp_path / "three").glob("part-*"))) == 3
    assert read_rows(tmp_path / "one").equals(read_rows(tmp_path / "three"))


def test_outputs_of_one_and_two_workers_on_ray_are_equal_bytes(switch, tmp_path, ray_session):
    for workers in ("1", "2"):
        code, _, errors = switch("--rows-per-shard", "10", "--workers", workers, output=tmp_path / workers)
        assert (code, errors) == (0, "")
    one, two = (read_files(tmp_path / workers) for workers in ("1", "2"))
    assert len(one) == 7
    assert one == two


DYING_WORKER = """
import os, sys
from cluster.cli import main
from cluster.commands import switch
from csgen.switch_job import run_shard
switch.run_shard = lambda job, index: os._exit(9) if index == 0 else run_shard(job, index)
sys.exit(main(sys.argv[1:]))
"""


RAY_NOTICE = "\x1b[33m(raylet)"


def test_a_worker_that_dies_each_time_ends_the_job(sample_pairs, sample_lexicon, tmp_path):
    # In a process of its own: Ray 2.60 now and then aborts its driver some seconds after such a job ("Tried to complete
    # task that was not pending"), which would end the tests.
    options = ["--lexicon", sample_lexicon, "--languages", "de,it", "--rows-per-shard", "20", "--workers", "2"]
    command = [sys.executable, "-c", DYING_WORKER, "switch", sample_pairs, *options, "--output", tmp_path / "out"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 1
    assert "csgen: a worker died 4 times at the same shard" in done.stderr
    # Ray tells of the dead worker on standard output, however it is set; nothing else may stand there.
    assert [line for line in done.stdout.splitlines() if not line.startswith(RAY_NOTICE)] == []


def test_an_error_in_a_worker_is_told_in_one_line(switch, monkeypatch, ray_session):
    def fail(job, index):
        raise ZeroDivisionError("a slip")

    monkeypatch.setattr("cluster.commands.switch.run_shard", fail)
    assert switch("--rows-per-shard", "20") == (1, "", "csgen: a worker failed: ZeroDivisionError: a slip\n")


def test_ray_is_not_started_for_a_single_shard(switch, monkeypatch):
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setattr("cluster.commands.switch.connect", lambda workers: pytest.fail("connected to Ray"))
    assert switch()[0] == 0


def test_a_cluster_that_does_not_answer_is_named_and_nothing_is_written(switch, monkeypatch, tmp_path):
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:1")
    code, _, errors = switch()
    assert code == 1
    assert errors.startswith("csgen: RAY_ADDRESS is 127.0.0.1:1, where nothing answers: ")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("rows_per_shard", ["250000", "1"])
def test_a_language_that_the_lexicon_lacks_is_named(switch, tmp_path, rows_per_shard):
    code, _, errors = switch("--languages", "de,nl", "--rows-per-shard", rows_per_shard)
    assert code == 2
    assert errors.startswith("csgen: the lexicon has no translations from en into nl; it has ar, de, ")
    assert not (tmp_path / "out").exists()


def test_a_bad_row_is_named_and_nothing_is_written(switch, tmp_path, sample_rows):
    pairs = write_pairs(tmp_path / "pairs.jsonl", [sample_rows[0], sample_rows[1] | {"query": None}])
    code, output, errors = switch(pairs=pairs)
    assert (code, output) == (2, "")
    assert errors.startswith(f"csgen: {pairs}:2: query: ")
    assert not (tmp_path / "out").exists()


def test_a_bad_row_on_ray_is_named_and_nothing_is_written(switch, tmp_path, sample_rows, ray_session):
    pairs = tmp_path / "pairs.parquet"
    rows = [*sample_rows[:5], sample_rows[5] | {"passage": None}, *sample_rows[6:9]]
    pl.DataFrame(rows, schema_overrides={"label": pl.Int8}).write_parquet(pairs)
    code, _, errors = switch("--rows-per-shard", "2", pairs=pairs)
    assert code == 2
    assert errors.startswith(f"csgen: {pairs}:6: passage: ")
    assert not (tmp_path / "out").exists()


def test_skipped_rows_go_to_a_file_and_are_counted(switch, tmp_path, sample_rows):
    pairs = write_pairs(tmp_path / "pairs.jsonl", [sample_rows[0], "not json", sample_rows[2]])
    code, output, _ = switch("--on-error", "skip", "--format", "json", pairs=pairs)
    assert code == 0
    assert (json.loads(output)["pairs"], json.loads(output)["rejects"]) == (2, 1)
    rejects = [json.loads(line) for line in (tmp_path / "out/rejects.jsonl").read_text().splitlines()]
    assert [(reject["path"], reject["row"]) for reject in rejects] == [(str(pairs), 2)]
    assert json.loads((tmp_path / "out/manifest.json").read_text())["counts"]["rejects"] == 1


def test_more_bad_rows_than_allowed_are_refused_and_nothing_stays(switch, tmp_path, sample_rows):
    pairs = write_pairs(tmp_path / "pairs.jsonl", [sample_rows[0], "not json", "nor this"])
    code, _, errors = switch("--on-error", "skip", "--max-errors", "1", pairs=pairs)
    assert code == 2
    assert errors.startswith("csgen: more than 1 bad rows (--max-errors), the first: ")
    assert not (tmp_path / "out").exists()


def test_show_prints_pairs_and_writes_nothing(csgen, sample_pairs, sample_lexicon, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    arguments = ["switch", sample_pairs, "--lexicon", sample_lexicon, "--languages", "de", "--show", "2"]
    code, output, errors = csgen(*arguments)
    assert (code, errors, "[de:" in output) == (0, "", True)
    shown = json.loads(csgen(*arguments, "--format", "json")[1])
    assert [sorted(row) for row in shown] == 2 * [
        [
            "passage", "passage_id", "passage_switches", "query", "query_id", "query_switches", "switched_passage",
            "switched_query",
        ]
    ]  # fmt: skip
    assert list(tmp_path.iterdir()) == []


def test_show_shows_what_switch_writes(switch, csgen, tmp_path):
    shown = json.loads(switch("--show", "3", "--format", "json")[1])
    switch()
    written = read_rows(tmp_path / "out")
    assert [row["switched_query"] for row in shown] == written["query"][:3].to_list()


def test_plots_lie_beside_the_pairs(switch, tmp_path):
    pytest.importorskip("matplotlib")
    code, output, _ = switch("--plots")
    names = ["coverage.png", "coverage.svg", "realised-ratio.png", "realised-ratio.svg"]
    assert (code, sorted(read_files(tmp_path / "out/plots"))) == (0, names)
    assert all(str(tmp_path / "out/plots" / name) in output for name in names)


# Planning, undoing, verifying


def test_plan_solves_for_the_target_that_switch_then_reaches(csgen, switch, sample_pairs, sample_lexicon):
    target = ["--languages", "de,it", "--target-ratio", "0.3"]
    code, output, _ = csgen("plan", sample_pairs, "--lexicon", sample_lexicon, *target, "--format", "json")
    planned = json.loads(output)
    assert (code, planned["rows"]) == (0, 60)
    assert planned["sides"]["passage"]["realised_ratio"] == pytest.approx(0.3, abs=1e-3)
    switched = json.loads(switch(*target, "--format", "json")[1])
    assert switched["sides"]["passage"]["realised_ratio"] == pytest.approx(0.3, abs=0.03)


def test_plan_prints_tables_for_people(csgen, sample_pairs, sample_lexicon):
    code, output, _ = csgen("plan", sample_pairs, "--lexicon", sample_lexicon, "--languages", "de")
    assert code == 0
    assert "To switch all 60 pairs: about" in output


def test_unswitch_restores_the_pairs(csgen, switch, tmp_path, sample_pairs):
    switch("--spans")
    code, output, _ = csgen("unswitch", tmp_path / "out", "--output", tmp_path / "original.parquet", "--format", "json")
    assert (code, json.loads(output)["pairs"]) == (0, 60)
    assert pl.read_parquet(tmp_path / "original.parquet").equals(pl.read_parquet(sample_pairs))


def test_verify_names_the_file_that_differs_and_ends_with_1(csgen, switch, tmp_path):
    switch()
    assert csgen("verify", tmp_path / "out")[0] == 0
    part = tmp_path / "out/part-00000.parquet"
    part.write_bytes(part.read_bytes()[:-1] + b"?")
    code, output, errors = csgen("verify", tmp_path / "out")
    assert (code, output) == (1, "")
    assert "1 of its files differ: part-00000.parquet: " in errors
