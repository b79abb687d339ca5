"""benchmarks/training.py: what it takes from a history, and that both trainers do the same work."""

import importlib
import sys
from pathlib import Path

import pytest

SIZES = {"num_hidden_layers": 1, "hidden_size": 24, "intermediate_size": 24}


@pytest.fixture(scope="module")
def training():
    sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))
    yield importlib.import_module("training")
    sys.path.pop(0)


def test_waiting_is_a_share_of_the_time_of_whole_windows(training):
    window = training.WINDOW_STEPS
    lines = [{"pairs_per_s": 1e9, "waiting_ratio": 1.0} for _ in range(2 * window + 9)]
    lines[window - 1] = {"pairs_per_s": 10.0, "waiting_ratio": 0.3}  # 3 times as long as the next
    lines[2 * window - 1] = {"pairs_per_s": 30.0, "waiting_ratio": 0.1}
    assert training.waiting_of(lines) == pytest.approx(0.25)


def test_both_trainers_have_the_same_losses(training, tmp_path):
    setup = training.Setup.make(str(tmp_path), 2 * training.BATCH, SIZES | training.NO_DROPOUT)
    trainers = setup.trainers("fp32")
    losses = [trainers[name]().losses for name in (training.OWN, training.SAME)]
    assert len(losses[0]) == 2
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)
