"""The benchmarks of the index, on few vectors: they run, and find what raw FAISS finds."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("faiss")

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
SMALL = ("--dim", "16", "--rounds", "1", "--queries", "16", "--threads", "1")


def run(name, *arguments):
    command = [sys.executable, str(BENCHMARKS / name), *arguments, *SMALL]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


def test_vectors_of_a_kind_are_measured_and_plotted(tmp_path):
    printed = run("index_vectors.py", "--vectors", "3000", "--kinds", "ivf", "--output", str(tmp_path / "out"))
    assert "| ivf | 32 |" in printed
    (figures,) = json.loads((tmp_path / "out/index-vectors.json").read_text())
    assert figures["ours_recall"] == pytest.approx(figures["raw_recall"], abs=0.001)
    assert {path.suffix for path in (tmp_path / "out").iterdir()} == {".json", ".csv", ".png", ".svg"}


def test_a_whole_index_is_measured():
    printed = run("index.py", "--passages", "3000", "--kinds", "flat")
    row = next(line.split("|")[1:-1] for line in printed.splitlines() if line.startswith("| flat | 32 |"))
    assert [float(one) for one in row[-2:]] == [1, 1], "recall of both"
    assert "| add_s |" in printed
