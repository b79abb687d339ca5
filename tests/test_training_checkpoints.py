"""Checkpoints: a run that is killed ends as one that is not, and what is refused."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
import toy_training
from toy_training import killed_run, sample_table

from cluster.training.checkpoints import Checkpoints, Evaluation, State
from cluster.training.loop import train
from csgen.errors import InputError
from csgen.files import TEMPORARY_SUFFIX
from csgen.sources.parquet import write_pairs


@pytest.fixture(scope="module", autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def pairs(tmp_path_factory):
    path = str(tmp_path_factory.mktemp("pairs") / "pairs.parquet")
    write_pairs(sample_table(), path)
    return path


@pytest.fixture(scope="module")
def unbroken(pairs, sample_lexicon, tmp_path_factory):
    """The outcome and the weights of a run that nothing disturbs."""
    run = killed_run(str(tmp_path_factory.mktemp("unbroken")), pairs, sample_lexicon)
    return train(run), run.objective.module.state_dict()


class StopError(Exception):
    pass


def stop_after(step):
    def on_step(progress):
        if progress.step == step:
            raise StopError

    return on_step


def stopped_run(folder, pairs, lexicon, step, **options):
    """A run that ended in an error after a step; its checkpoints."""
    run = killed_run(str(folder), pairs, lexicon, stop_after(step), **options)
    with pytest.raises(StopError):
        train(run)
    return run.checkpoints()


def start(arguments, log):
    return subprocess.Popen([sys.executable, toy_training.__file__, *arguments, str(log)], start_new_session=True)


def test_a_run_killed_with_sigkill_ends_with_the_losses_of_the_unbroken_one(pairs, sample_lexicon, unbroken, tmp_path):
    log = tmp_path / "log"
    log.touch()
    arguments = [str(tmp_path / "run"), pairs, sample_lexicon]
    for lines in (7, 11):  # steps said by all processes together, so that it dies between and behind checkpoints
        process = start(arguments, log)
        while len(log.read_text().splitlines()) < lines and process.poll() is None:
            time.sleep(0.002)
        os.killpg(process.pid, signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
    assert start(arguments, log).wait() == 0
    said = [line.split() for line in log.read_text().splitlines() if len(line.split()) == 2]
    losses = dict(enumerate(unbroken[0].state.losses, 1))
    assert {int(step) for step, _ in said} == set(range(1, 17))
    assert [(int(step), float(loss)) for step, loss in said] == [(int(step), losses[int(step)]) for step, _ in said]


@pytest.mark.parametrize("step", [1, 6, 11])
def test_a_run_resumed_after_any_step_equals_the_unbroken_one(step, pairs, sample_lexicon, unbroken, tmp_path):
    stopped_run(tmp_path, pairs, sample_lexicon, step)
    run = killed_run(str(tmp_path), pairs, sample_lexicon)
    outcome = train(run)
    assert outcome == unbroken[0]
    assert all(torch.equal(run.objective.module.state_dict()[name], w) for name, w in unbroken[1].items())


def test_a_finished_run_is_not_trained_again(pairs, sample_lexicon, unbroken, tmp_path):
    train(killed_run(str(tmp_path), pairs, sample_lexicon))
    seen = []
    assert train(killed_run(str(tmp_path), pairs, sample_lexicon, seen.append)) == unbroken[0]
    assert seen == []


def test_a_resume_with_other_options_is_refused_and_says_which(pairs, sample_lexicon, tmp_path):
    stopped_run(tmp_path, pairs, sample_lexicon, 5)
    with pytest.raises(InputError, match=r"--learning-rate was 0\.001, is 0\.002; set it back, remove the folder"):
        train(killed_run(str(tmp_path), pairs, sample_lexicon, learning_rate=2e-3))


def test_how_often_checkpoints_are_written_may_change(pairs, sample_lexicon, unbroken, tmp_path):
    stopped_run(tmp_path, pairs, sample_lexicon, 5)
    outcome = train(killed_run(str(tmp_path), pairs, sample_lexicon, checkpoint_every=3, keep_checkpoints=5))
    assert outcome.state == unbroken[0].state


def test_a_resume_with_other_pairs_is_refused(pairs, sample_lexicon, tmp_path):
    stopped_run(tmp_path / "run", pairs, sample_lexicon, 5)
    other = str(tmp_path / "other.parquet")
    write_pairs(sample_table(num_queries=59), other)
    with pytest.raises(InputError, match="holds a run that differs: pairs was '"):
        train(killed_run(str(tmp_path / "run"), other, sample_lexicon))


def test_the_same_pairs_in_another_file_are_the_same_pairs(pairs, sample_lexicon, unbroken, tmp_path):
    stopped_run(tmp_path / "run", pairs, sample_lexicon, 5)
    write_pairs(sample_table(), str(tmp_path / "copy.parquet"))
    assert train(killed_run(str(tmp_path / "run"), str(tmp_path / "copy.parquet"), sample_lexicon)) == unbroken[0]


def test_a_resume_with_a_model_of_another_shape_is_refused(pairs, sample_lexicon, tmp_path):
    stopped_run(tmp_path, pairs, sample_lexicon, 5)
    run = killed_run(str(tmp_path), pairs, sample_lexicon)
    run.objective.module.classifier = torch.nn.Linear(32, 2)
    with pytest.raises(InputError, match="shapes of the model was"):
        train(run)


def test_a_checkpoint_cut_short_is_named_with_what_to_go_on_from(pairs, sample_lexicon, tmp_path):
    stopped_run(tmp_path, pairs, sample_lexicon, 11)
    path = tmp_path / "step-00000008" / "model.pt"
    path.write_bytes(path.read_bytes()[:-100])
    message = (
        r"step-00000008/model.pt: checkpoint cut short: \d+ bytes, expected \d+; remove it .* to go on from step 6"
    )
    with pytest.raises(InputError, match=message):
        train(killed_run(str(tmp_path), pairs, sample_lexicon))


def test_a_damaged_checkpoint_and_a_missing_file_are_named(pairs, sample_lexicon, tmp_path):
    stopped_run(tmp_path, pairs, sample_lexicon, 5)
    path = tmp_path / "step-00000004" / "optimiser.pt"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"optimiser\.pt: damaged checkpoint: .* to begin anew"):
        train(killed_run(str(tmp_path), pairs, sample_lexicon))
    path.unlink()
    with pytest.raises(InputError, match=r"optimiser\.pt: missing from the checkpoint"):
        train(killed_run(str(tmp_path), pairs, sample_lexicon))


def test_a_checkpoint_that_was_being_written_is_passed_over_and_removed(pairs, sample_lexicon, unbroken, tmp_path):
    stopped_run(tmp_path, pairs, sample_lexicon, 5)
    (tmp_path / "step-00000006").mkdir()
    (tmp_path / "step-00000006" / f"model.pt.1{TEMPORARY_SUFFIX}").write_bytes(b"half")
    assert train(killed_run(str(tmp_path), pairs, sample_lexicon)) == unbroken[0]
    assert not list(Path(tmp_path).glob(f"*/*{TEMPORARY_SUFFIX}"))


def test_the_newest_checkpoints_stay_and_the_one_that_is_spared(tmp_path):
    module = torch.nn.Linear(2, 2)
    optimiser = torch.optim.AdamW(module.parameters())
    checkpoints = Checkpoints(str(tmp_path), keep=2)
    for step in range(1, 7):
        checkpoints.save(State(step), module, optimiser, spare=[3])
    assert checkpoints.steps() == [3, 5, 6]


def test_a_state_comes_back_as_it_was():
    state = State(3, (0.1, 1 / 3, 2.0), (Evaluation(2, {"RR@10": 0.25}),))
    assert State.from_json(state.to_json()) == state


def test_the_mean_of_weights_leaves_whole_numbers_alone(tmp_path):
    module = torch.nn.BatchNorm1d(1)
    optimiser = torch.optim.AdamW(module.parameters())
    checkpoints = Checkpoints(str(tmp_path), keep=9)
    for step in (1, 2):
        with torch.no_grad():
            module.weight.fill_(step)
            module.num_batches_tracked.fill_(step)
        checkpoints.save(State(step), module, optimiser)
    mean = checkpoints.weights([1, 2])
    assert mean["weight"].item() == 1.5
    assert mean["num_batches_tracked"].item() == 2


def test_random_state_is_part_of_a_checkpoint(tmp_path):
    module = torch.nn.Linear(2, 2)
    optimiser = torch.optim.AdamW(module.parameters())
    checkpoints = Checkpoints(str(tmp_path))
    checkpoints.save(State(1), module, optimiser)
    drawn = torch.rand(3)
    checkpoints.load(1, module, optimiser)
    assert torch.equal(torch.rand(3), drawn)


def test_checkpoints_live_behind_a_uri_too():
    module = torch.nn.Linear(2, 2)
    optimiser = torch.optim.AdamW(module.parameters())
    checkpoints = Checkpoints("memory://training/run")
    checkpoints.save(State(1, (0.5,)), module, optimiser)
    assert checkpoints.steps() == [1]
    assert checkpoints.load(1, module, optimiser) == State(1, (0.5,))
