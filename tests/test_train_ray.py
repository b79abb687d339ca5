"""`csgen train` on a real Ray of two workers: the losses of one process, also where a worker is killed."""

import contextlib
import json
import os
import shutil
import signal
import threading
import time
from pathlib import Path

import psutil
import pytest
from safetensors.torch import load_file, save_file
from toy_training import sample_table

from cluster.cli import main
from cluster.reranker import Reranker
from cluster.training_ray import raise_failure
from cluster.training_report import read_history
from csgen.errors import CsgenError, InputError
from csgen.manifest import Manifest
from csgen.sources.parquet import write_pairs

pytest_plugins = ["toy_models"]
pytestmark = pytest.mark.usefixtures("ray_session")

OPTIONS = {
    "steps": 30, "batch_size": 8, "micro_batch_size": 2, "negatives": 2, "learning_rate": 1e-3, "checkpoint_every": 5,
    "languages": "de,it", "align_scores": 1,
}  # fmt: skip


@pytest.fixture(scope="module")
def pairs(tmp_path_factory):
    """A folder of two files: each is a task of its own when the pairs are laid out."""
    folder, table = tmp_path_factory.mktemp("pairs"), sample_table(negatives=2, num_queries=30)
    write_pairs(table.slice(0, 40), str(folder / "0.parquet"))
    write_pairs(table.slice(40), str(folder / "1.parquet"))
    return str(folder)


def run(pairs, model, output, **options):
    flags = [f"--{name.replace('_', '-')}={value}" for name, value in (OPTIONS | options).items()]
    return main(["train", "reranker", pairs, "--model", model, "--output", str(output), "--quiet", *flags])


def losses_of(folder):
    return [line["loss"] for line in read_history(str(folder))]


@pytest.fixture(scope="module")
def alone(pairs, toys, sample_lexicon, tmp_path_factory):
    """The output of one process."""
    folder = tmp_path_factory.mktemp("alone") / "out"
    assert run(pairs, toys.reranker("bert"), folder, lexicon=sample_lexicon) == 0
    return folder


@pytest.fixture(scope="module")
def shared(pairs, toys, sample_lexicon, tmp_path_factory):
    """The output of two workers."""
    folder = tmp_path_factory.mktemp("shared") / "out"
    assert run(pairs, toys.reranker("bert"), folder, lexicon=sample_lexicon, workers=2) == 0
    return folder


def test_two_workers_have_the_losses_of_one_process(alone, shared):
    assert losses_of(shared) == pytest.approx(losses_of(alone), rel=1e-5)


def test_two_workers_leave_a_whole_output(alone, shared):
    manifests = [Manifest.read(str(folder)) for folder in (alone, shared)]
    assert manifests[0].config == manifests[1].config
    assert set(manifests[0].files) == set(manifests[1].files)
    assert manifests[0].counts["truncated"] == manifests[1].counts["truncated"]
    assert Reranker.load(str(shared)).max_length == 64


def test_workers_map_pairs_that_are_removed_at_the_end(pairs, toys, sample_lexicon, tmp_path):
    mapped, ended = set(), threading.Event()

    def look():
        while not ended.wait(0.05):
            for process in workers_of_train():
                with contextlib.suppress(psutil.Error):
                    mapped.update(entry.path for entry in process.memory_maps() if "/_pairs/" in entry.path)

    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    assert run(pairs, toys.reranker("bert"), tmp_path / "out", lexicon=sample_lexicon, workers=2) == 0
    ended.set()
    thread.join()
    names = {Path(path).name for path in mapped}
    assert {"part-00000.arrow", "part-00001.arrow", "keys.npy"} <= names
    assert not (tmp_path / "out/_pairs").exists()


def test_a_bad_row_is_refused_before_any_worker_is_started(toys, sample_lexicon, tmp_path, capsys):
    lines = ["query_id\tquery\tpassage_id\tpassage\tlabel", "q\ta\tp\tb\tone", ""]
    (tmp_path / "pairs.tsv").write_text("\n".join(lines))
    pairs = str(tmp_path / "pairs.tsv")
    assert run(pairs, toys.reranker("bert"), tmp_path / "out", lexicon=sample_lexicon, workers=2) == 2
    assert "pairs.tsv:2: label: " in capsys.readouterr().err


def workers_of_train():
    """The processes of Ray's training workers on this machine."""
    found = []
    for process in psutil.Process().children(recursive=True):
        try:
            if "RayTrainWorker" in "".join(process.cmdline()):
                found.append(process)
        except psutil.Error:
            continue
    return found


def test_a_run_of_which_a_worker_is_killed_ends_with_the_same_losses(alone, pairs, toys, sample_lexicon, tmp_path):
    killed = []

    def kill():
        history = tmp_path / "out/history.jsonl"
        while not history.exists() or len(history.read_text().splitlines()) < 12:
            time.sleep(0.01)
        victim = max(workers_of_train(), key=lambda process: process.pid)
        os.kill(victim.pid, signal.SIGKILL)
        killed.append(victim.pid)

    thread = threading.Thread(target=kill, daemon=True)
    thread.start()
    assert run(pairs, toys.reranker("bert"), tmp_path / "out", lexicon=sample_lexicon, workers=2, steps=30) == 0
    thread.join(1)
    assert killed
    assert len(list((tmp_path / "out/tensorboard").iterdir())) == 2  # one a group of workers
    assert losses_of(tmp_path / "out") == pytest.approx(losses_of(alone), rel=1e-5)


def test_a_run_begun_in_one_process_goes_on_with_two_workers(alone, pairs, toys, sample_lexicon, tmp_path):
    folder = tmp_path / "out"
    shutil.copytree(alone, folder)
    (folder / "manifest.json").unlink()
    shutil.rmtree(folder / "checkpoints/step-00000030")
    assert run(pairs, toys.reranker("bert"), folder, lexicon=sample_lexicon, workers=2) == 0
    assert losses_of(folder) == pytest.approx(losses_of(alone), rel=1e-5)


@pytest.mark.parametrize(("kind", "error"), [("input", InputError), ("failure", CsgenError)])
def test_a_workers_note_of_what_went_wrong_is_raised_as_it_was(kind, error, tmp_path):
    note = tmp_path / "_failure.json"
    note.write_text(json.dumps({"kind": kind, "message": "lower --learning-rate"}))
    with pytest.raises(CsgenError, match="lower --learning-rate") as caught:
        raise_failure(note)
    assert type(caught.value) is error
    assert not note.exists()


def test_a_loss_that_is_no_number_is_a_failure_that_names_the_pairs(pairs, toys, sample_lexicon, tmp_path, capsys):
    shutil.copytree(toys.reranker("bert"), tmp_path / "model")
    weights = load_file(tmp_path / "model/model.safetensors")
    weights["classifier.weight"][:] = float("nan")
    save_file(weights, tmp_path / "model/model.safetensors", metadata={"format": "pt"})
    assert run(pairs, str(tmp_path / "model"), tmp_path / "out", lexicon=sample_lexicon, workers=2) == 1
    assert "at the pairs (query/passage) en-q" in capsys.readouterr().err


def test_more_gpus_than_there_are_are_refused(pairs, toys, sample_lexicon, tmp_path, capsys):
    import ray

    if ray.cluster_resources().get("GPU", 0) >= 2:
        pytest.skip("there are GPUs")
    options = {"lexicon": sample_lexicon, "workers": 2, "gpus": 1}
    assert run(pairs, toys.reranker("bert"), tmp_path / "out", **options) == 2
    assert "--workers 2 --gpus 1: this machine has" in capsys.readouterr().err


def test_a_finished_output_is_refused(shared, pairs, toys, sample_lexicon, capsys):
    assert run(pairs, toys.reranker("bert"), shared, lexicon=sample_lexicon, workers=2) == 2
    assert "holds a finished output" in capsys.readouterr().err
