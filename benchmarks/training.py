"""Pairs a second of training a reranker, against sentence-transformers' trainer, and of two workers against one.

    python benchmarks/training.py

The models have random weights, a vocabulary of 8,000 and dropout: mMiniLM-L6-H384's shape, and 4 layers of width 192.
Both sides have the same drawn pairs of 20 to 256 tokens, batches of 64, binary cross-entropy and AdamW. The library's
trainer runs as it comes, in an order of its own, and on the very batches that csgen makes, whose pairs have like
lengths; on these and without dropout, the losses must be the same. A run is an epoch; loading the model and writing a
checkpoint do not count. On Ray, speed is that of the last 50 steps, and waiting that of the whole run.
"""

import argparse
import os
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import datasets
import numpy as np
import pyarrow as pa
import ray
import torch
import transformers
from measure import Rates, print_table, ratio
from scoring import LIBRARY, Workload, draw_pairs, make_model, read_sample
from sentence_transformers import CrossEncoder, CrossEncoderTrainer, CrossEncoderTrainingArguments, __version__
from sentence_transformers.base.sampler import DefaultBatchSampler
from sentence_transformers.cross_encoder.losses import BinaryCrossEntropyLoss
from torch.utils.data import SequentialSampler
from workload import describe_machine

from cluster.connection import connect
from cluster.training.batches import make_source
from cluster.training.config import RerankerConfig
from cluster.training.examples import Pairs, load_pairs
from cluster.training.layouts import PairLayout
from cluster.training.loop import WINDOW_STEPS, Progress, Run, train
from cluster.training.models import make_scorer
from cluster.training.objectives import RerankerObjective
from cluster.training_models import make_tokeniser, start_model
from cluster.training_options import Dev, Place, Switching, Teacher, TrainingOptions
from cluster.training_ray import run_on_ray
from cluster.training_report import read_history
from csgen.sources.parquet import write_pairs

BATCH, RATE = 64, 2e-5
SHAPES: dict[str, dict[str, int]] = {  # a model, and in what it differs from mMiniLM-L6-H384
    "6x384": {},
    "4x192": {"num_hidden_layers": 4, "hidden_size": 192, "num_attention_heads": 6, "intermediate_size": 768},
}
NO_DROPOUT = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
OWN, SAME, SHUFFLED = "csgen", f"{LIBRARY}, the same batches", f"{LIBRARY}, its own order"
PRECISIONS = ("fp32", "bf16")
TARGET, WORKER_TARGET = 1.5, 1.7  # of fp32 against the library; of two workers against one
PARTS = ("trainers", "workers")


@dataclass(frozen=True)
class Measured:
    """A run of one trainer."""

    pairs_per_s: float
    losses: list[float]  # of each step
    waiting_ratio: float = 0.0


def table_of(work: Workload) -> pa.Table:
    """The pairs in csgen's form; every fifth is relevant."""
    rows = np.arange(len(work.queries))
    ids = pa.array(rows).cast(pa.string())
    labels = pa.array((rows % 5 == 0).astype(np.int8))
    return pa.table(
        {"query_id": ids, "query": work.queries, "passage_id": ids, "passage": work.passages, "label": labels}
    )


def configure(num_pairs: int, precision: str) -> RerankerConfig:
    return RerankerConfig.from_options({
        "negatives": 0, "pointwise": 1, "listwise": 0, "batch_size": BATCH, "steps": num_pairs // BATCH,
        "warmup_steps": 0, "learning_rate": RATE, "precision": precision, "checkpoint_every": num_pairs // BATCH,
    })  # fmt: skip


def make_run(folder: str, pairs: Pairs, config: RerankerConfig, output: str) -> Run:
    checkpoint = start_model("reranker", folder, config.seed)
    layout = PairLayout(make_tokeniser(checkpoint, config.max_tokens))
    source = make_source(config, pairs, layout, None)
    return Run(config, RerankerObjective(make_scorer(checkpoint), config), source, output)


def train_own(folder: str, pairs: Pairs, config: RerankerConfig) -> Measured:
    """At most WINDOW_STEPS steps, over all of which the loop's own rates then are."""
    seen: list[Progress] = []
    with tempfile.TemporaryDirectory() as output:
        run = make_run(folder, pairs, config, output)
        train(replace(run, on_step=seen.append))
    return Measured(seen[-1].pairs_per_s, [step.losses["loss"] for step in seen], seen[-1].waiting_ratio)


class Clock(transformers.TrainerCallback):
    """When the library's training begins, and when its last step ended."""

    def on_train_begin(self, *given: Any, **more: Any) -> None:
        self.begun = time.perf_counter()

    def on_step_end(self, *given: Any, **more: Any) -> None:
        self.ended = time.perf_counter()


def train_library(folder: str, rows: pa.Table, config: RerankerConfig, shuffled: bool) -> Measured:
    """The library's trainer on the rows in their order, or in one of its own."""

    def in_order(dataset: Any, batch_size: int, drop_last: bool, **more: Any) -> DefaultBatchSampler:
        return DefaultBatchSampler(SequentialSampler(dataset), batch_size=batch_size, drop_last=drop_last)

    clock = Clock()
    order: dict[str, Any] = {} if shuffled else {"batch_sampler": in_order}
    with tempfile.TemporaryDirectory() as output:
        options = CrossEncoderTrainingArguments(
            output_dir=output, num_train_epochs=1, per_device_train_batch_size=BATCH, learning_rate=RATE,
            weight_decay=config.weight_decay, max_grad_norm=config.max_gradient_norm, warmup_steps=0, use_cpu=True,
            bf16=config.precision == "bf16", save_strategy="no", report_to="none", logging_steps=1,
            logging_strategy="steps", disable_tqdm=True, **order,
        )  # fmt: skip
        model = CrossEncoder(folder, device="cpu", max_length=config.max_tokens)
        names = {"query": "query", "passage": "passage", "label": "label"}
        data = datasets.Dataset(rows.select(list(names)))
        trainer = CrossEncoderTrainer(
            model, options, train_dataset=data, loss=BinaryCrossEntropyLoss(model), callbacks=[clock]
        )
        trainer.remove_callback(transformers.trainer_callback.PrinterCallback)
        trainer.train()
    losses = [line["loss"] for line in trainer.state.log_history if "loss" in line]
    return Measured(len(rows) / (clock.ended - clock.begun), losses)


def train_workers(folder: str, pairs: str, config: RerankerConfig, num_workers: int) -> Measured:
    """`csgen train` on Ray, a thread each worker: the speed over the last WINDOW_STEPS steps, the waiting over all."""
    connect(num_workers)
    try:
        with tempfile.TemporaryDirectory() as output:
            place = Place.from_options({
                "pairs": pairs, "model": folder, "output": output, "workers": num_workers, "curves": (),
            })  # fmt: skip
            rest = Switching.from_options({}), place, Dev.from_options({}), Teacher.from_options({})
            run_on_ray(TrainingOptions("reranker", config, *rest), lambda line: None)
            lines = read_history(output)
    finally:
        ray.shutdown()
    return Measured(lines[-1]["pairs_per_s"], [line["loss"] for line in lines], waiting_of(lines))


def waiting_of(lines: Sequence[dict[str, Any]]) -> float:
    """The share of a whole run's time that its first worker waited for data, from its history; whole windows alone."""
    marks = lines[WINDOW_STEPS - 1 :: WINDOW_STEPS]
    seconds = [1 / float(line["pairs_per_s"]) for line in marks]
    waited = sum(s * float(line["waiting_ratio"]) for s, line in zip(seconds, marks, strict=True))
    return waited / sum(seconds)


@dataclass(frozen=True)
class Setup:
    """A model's folder and pairs to train it on, as csgen reads them and as a table."""

    folder: str
    pairs_path: str
    rows: pa.Table
    lengths: np.ndarray

    @classmethod
    def make(cls, folder: str, num_pairs: int, sizes: dict[str, Any]) -> "Setup":
        texts = read_sample()
        make_model(folder, texts, **sizes)
        work = draw_pairs(folder, texts, num_pairs)
        path = str(Path(folder, "pairs.parquet"))
        write_pairs(table_of(work), path)
        return cls(folder, path, table_of(work), work.lengths)

    def trainers(self, precision: str) -> dict[str, Callable[[], Measured]]:
        config, pairs = configure(len(self.rows), precision), load_pairs(self.pairs_path)
        source = make_run(self.folder, pairs, config, self.folder).source
        order = np.concatenate([source.batch(step).rows.ravel() for step in range(source.num_steps)])
        return {
            OWN: partial(train_own, self.folder, pairs, config),
            SAME: partial(train_library, self.folder, self.rows.take(pa.array(order)), config, False),
            SHUFFLED: partial(train_library, self.folder, self.rows, config, True),
        }


def check_losses(num_pairs: int, sizes: dict[str, Any]) -> None:
    """Print how far the losses of both trainers lie apart on the same batches; warms both up, too."""
    with tempfile.TemporaryDirectory() as folder:
        setup = Setup.make(folder, num_pairs, sizes | NO_DROPOUT)
        for precision in PRECISIONS:
            trainers = setup.trainers(precision)
            own, library = (np.array(trainers[name]().losses) for name in (OWN, SAME))
            gaps = np.abs(own - library)
            print(f"{precision}, no dropout: losses differ by {gaps[0]:.1e} in the first step", end=", ")
            print(f"{gaps.max():.1e} at most in {len(gaps)}, in which they go from {own[0]:.3f} to {own[-1]:.3f}\n")


def compare_trainers(name: str, num_pairs: int, rounds: int) -> None:
    check_losses(num_pairs, SHAPES[name])
    rates: Rates = {}
    waiting = 0.0
    with tempfile.TemporaryDirectory() as folder:
        setup = Setup.make(folder, num_pairs, SHAPES[name])
        contenders = {(p, n): run for p in PRECISIONS for n, run in setup.trainers(p).items()}
        for _ in range(rounds):
            for (precision, trainer), run in contenders.items():
                measured = run()
                waiting = max(waiting, measured.waiting_ratio)
                rates.setdefault(f"{precision}, {trainer}", []).append(measured.pairs_per_s)
    rows = []
    for precision, trainer in contenders:
        own, key = f"{precision}, {OWN}", f"{precision}, {trainer}"
        times = "" if trainer == OWN else f"{ratio(rates, own, key):.2f}"
        aim = f"{TARGET}" if times and precision == "fp32" else ""
        rows.append((key, f"{median(rates[key]):.1f}", f"{max(rates[key]):.1f}", times, aim))
    print_table((f"{name}, pairs a second", "median", "best", "csgen, times as fast", "at least"), rows)
    print(f"csgen waited for data {waiting:.2%} of a whole run at most\n")


def compare_workers(name: str, num_steps: int, rounds: int) -> None:
    rates: Rates = {}
    waiting: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as folder:
        setup = Setup.make(folder, num_steps * BATCH, SHAPES[name])
        config = configure(num_steps * BATCH, "fp32")
        for _ in range(rounds):
            for workers, key in enumerate(("1 worker", "2 workers"), 1):
                measured = train_workers(setup.folder, setup.pairs_path, config, workers)
                rates.setdefault(key, []).append(measured.pairs_per_s)
                waiting[key] = max(waiting.get(key, 0.0), measured.waiting_ratio)
    rows = []
    for key, found in rates.items():
        times = f"{ratio(rates, key, '1 worker'):.2f}" if key != "1 worker" else ""
        aim = f"{WORKER_TARGET}" if times else ""
        rows.append((key, f"{median(found):.1f}", f"{max(found):.1f}", times, aim, f"{waiting[key]:.2%}"))
    head = (
        f"{name} on Ray, pairs a second",
        "median",
        "best",
        "times as fast",
        "at least",
        "waiting for data (max. 5%)",
    )
    print_table(head, rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument("--models", nargs="+", choices=SHAPES, default=list(SHAPES), help="layers and width")
    parser.add_argument("--pairs", type=int, default=512, help="of a run against the library, 64 to 3,200")
    parser.add_argument("--steps", type=int, default=100, help="of a run on Ray, 51 or more")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    # Ray's workers would be at 15 and give way to whatever else runs here.
    os.environ |= {"RAY_worker_niceness": "0", "TOKENIZERS_PARALLELISM": "false"}
    torch.set_num_threads(1)
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    print(f"{describe_machine()}, torch {torch.__version__}, {LIBRARY} {__version__}; one thread a process\n")
    for name in options.models:
        if "trainers" in options.parts:
            compare_trainers(name, options.pairs, options.rounds)
        if "workers" in options.parts:
            compare_workers(name, options.steps, options.rounds)


if __name__ == "__main__":
    main()
