"""The training loop: steps of AdamW over a source's batches, with checkpoints, evaluations and figures of progress.

One process with torch alone can run it; where torch.distributed is initialised, every worker runs it alike. Knows
neither Ray nor the command line.
"""

import json
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
import xxhash
from torch import nn

from cluster.training.batches import Batch, BatchSource, Chunk, Prefetch
from cluster.training.checkpoints import Checkpoints, Evaluation, State
from cluster.training.config import TrainingConfig
from cluster.training.gradients import Backward, Robustness
from cluster.training.memory import TRIM_STEPS, give_back_memory
from cluster.training.objectives import Objective
from cluster.training.schedules import learning_rate_factor
from cluster.training.workers import Workers
from csgen.errors import CsgenError, InputError

WINDOW_STEPS = 50  # over which rates are taken
MAX_NAMES = 8  # pairs that a message shows
CHECKPOINTS_A_RUN = 20  # where nothing is said

Evaluate = Callable[[], Mapping[str, float]]


@dataclass(frozen=True)
class Progress:
    """What is to be said after a step; rates are over the last steps of this process and over all workers."""

    step: int  # steps done
    num_steps: int
    losses: Mapping[str, float]  # of this step's batch, by name; "loss" is their weighted sum
    learning_rate: float
    gradient_norm: float  # before it was cut
    pairs_per_s: float
    tokens_per_s: float
    waiting_ratio: float  # share of time that this worker waited for data
    left_s: float
    num_truncated: int  # sequences cut to the limit, in all steps of this process
    evaluation: Mapping[str, float] = field(default_factory=dict)  # where there was one


@dataclass(frozen=True)
class Outcome:
    """How a run ended. The module's weights are those that `weights_of` names: steps whose mean they are."""

    state: State
    weights_of: tuple[int, ...]
    stopped_early: bool


@dataclass(frozen=True)
class Run:
    """All that a run needs. `identity`: what must be the same for it to be resumed, beside the configuration and data.

    `evaluate` sees the module in eval mode and without gradients, on the first worker alone.
    """

    config: TrainingConfig
    objective: Objective
    source: BatchSource
    folder: str  # of checkpoints; may be a URI, and must be the same for all workers
    identity: Mapping[str, Any] = field(default_factory=dict)
    evaluate: Evaluate | None = None
    on_step: Callable[[Progress], None] | None = None
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))

    def checkpoints(self) -> Checkpoints:
        keep = max(self.config.keep_checkpoints, self.config.average_checkpoints)
        return Checkpoints(self.folder, describe_run(self), keep)


def describe_run(run: Run) -> dict[str, Any]:
    """What must be the same for a run to be resumed: options, pairs, policy, tokenizer, shapes of the model.

    Whoever begins the run adds what else decides what comes out: lexicon, teacher, first weights. The number of workers
    is not among it.
    """
    maker, tokeniser = run.source.twin_maker, run.source.layout.tokeniser
    shapes = {name: list(value.shape) for name, value in run.objective.module.state_dict().items()}
    return {
        **{f"--{name.replace('_', '-')}": value for name, value in run.config.identity().items()},
        "pairs": run.source.examples.pairs.content,
        "policy": None if maker is None else maker.policy.model_dump(mode="json"),
        "tokenizer": tokeniser.identity,
        "shapes of the model": xxhash.xxh3_64_hexdigest(json.dumps(shapes).encode()),
        **run.identity,
    }


def train(run: Run) -> Outcome:
    """Train to the end, going on from the newest checkpoint in the run's folder; every worker gets the same outcome.

    A loss that is not finite stops the run with a CsgenError that names the pairs; the last good checkpoint stays. A
    resume with other data or options, and a checkpoint cut short, are InputErrors.
    """
    return _Loop(run).run()


class _Loop:
    """A run under way on one worker."""

    def __init__(self, run: Run) -> None:
        self._run, self._config, self._module = run, run.config, run.objective.module
        self._workers = Workers.current()
        if run.source.num_chunks < self._workers.size:
            raise InputError(
                f"a batch of {run.config.batch_size} makes {run.source.num_chunks} chunks of "
                f"{run.source.micro_batch_size}, too few for {self._workers.size} workers: "
                "give a smaller --micro-batch-size"
            )
        self._module.to(run.device)
        self._optimiser = make_optimiser(self._module, run.config)
        self._checkpoints = run.checkpoints()
        self._backward = Backward(
            run.objective,
            run.source,
            self._workers,
            run.device,
            torch.bfloat16 if run.config.precision == "bf16" else None,
            Robustness(run.config.noise, run.config.adversarial_epsilon, run.config.adversarial),
        )
        self._num_steps = run.source.num_steps
        self._warmup = self._num_steps // 10 if run.config.warmup_steps is None else run.config.warmup_steps
        self._checkpoint_every = run.config.checkpoint_every or max(1, self._num_steps // CHECKPOINTS_A_RUN)
        self._rates = Rates()
        self._truncated = 0

    def run(self) -> Outcome:
        state = self._begin()
        stopped = self._is_enough(state)
        steps = self._run.source.steps(state.step, self._num_steps, self._workers.rank, self._workers.size)
        prefetch = Prefetch(steps)
        try:
            if not stopped:
                for batch, chunks in prefetch:
                    state = self._step(state, batch, chunks, prefetch)
                    if stopped := self._is_enough(state):
                        break
        except RuntimeError as error:
            if not _is_out_of_memory(error):
                raise
            raise CsgenError(
                f"out of memory at step {state.step + 1}: lower --micro-batch-size, now "
                f"{self._run.source.micro_batch_size}, or --max-tokens, now {self._config.max_tokens}"
            ) from error
        finally:
            prefetch.close()
        return self._finish(state, stopped)

    def _begin(self) -> State:
        """The newest checkpoint's state, or the beginning; the same on every worker."""
        steps = self._workers.agree(self._checkpoints.steps())
        state = State()
        if steps:
            state = self._checkpoints.load(steps[-1], self._module, self._optimiser)
        self._workers.copy_from_first([*self._module.parameters(), *self._module.buffers()])
        return state

    def _step(self, state: State, batch: Batch, chunks: Sequence[Chunk], prefetch: Prefetch) -> State:
        self._module.train()
        rate = self._config.learning_rate * learning_rate_factor(batch.step, self._num_steps, self._warmup)
        for group in self._optimiser.param_groups:
            group["lr"] = rate
        self._optimiser.zero_grad(set_to_none=True)
        chunks = [chunk.to(self._run.device) for chunk in chunks]
        found = self._backward.run(batch, chunks)
        losses = {name: float(value) for name, value in found.items()}
        norm = float(nn.utils.clip_grad_norm_(self._module.parameters(), self._config.max_gradient_norm))
        if not all(map(_is_finite, (*losses.values(), norm))):
            self._stop_at_bad_loss(batch.step, losses["loss"], norm, chunks)
        self._optimiser.step()
        state = replace(state, step=batch.step + 1, losses=(*state.losses, losses["loss"]))
        self._count(chunks, prefetch)
        if self._run.device.type == "cpu" and state.step % TRIM_STEPS == 0:
            give_back_memory()
        state, figures = self._evaluate(state)
        if figures or state.step % self._checkpoint_every == 0 or state.step == self._num_steps:
            self._save(state)
        if self._run.on_step is not None:
            self._run.on_step(self._progress(state.step, losses, rate, norm, figures))
        return state

    def _stop_at_bad_loss(self, step: int, loss: float, norm: float, chunks: Sequence[Chunk]) -> None:
        """Say which pairs are to blame, of whichever worker has them."""
        names = self._workers.join(self._backward.culprits(chunks))
        shown = ", ".join(names[:MAX_NAMES]) + (f" and {len(names) - MAX_NAMES} more" if len(names) > MAX_NAMES else "")
        kept = self._checkpoints.steps()
        last = (
            f"the checkpoint of step {kept[-1]} is kept in {self._run.folder}" if kept else "there is no checkpoint yet"
        )
        raise CsgenError(
            f"step {step + 1}: loss {loss:g}, length of the gradient {norm:g}, at the pairs (query/passage) {shown}; "
            f"{last}; look at these pairs, or lower --learning-rate and begin anew"
        )

    def _evaluate(self, state: State) -> tuple[State, Mapping[str, float]]:
        """The state with an evaluation, and its figures, where one is due."""
        every = self._config.evaluate_every or self._num_steps
        if self._run.evaluate is None or (state.step % every and state.step != self._num_steps):
            return state, {}
        figures = self._figures(self._run.evaluate)
        return replace(state, evaluations=(*state.evaluations, Evaluation(state.step, figures))), figures

    def _figures(self, evaluate: Evaluate) -> dict[str, float]:
        figures: dict[str, float] = {}
        if self._workers.rank == 0:
            self._module.eval()
            with torch.no_grad():
                figures = dict(evaluate())
        figures = self._workers.agree(figures)
        if self._config.select and self._config.select not in figures:
            raise InputError(
                f"--select {self._config.select}: the evaluation gives {', '.join(sorted(figures)) or 'no figures'}"
            )
        return figures

    def _save(self, state: State) -> None:
        if self._workers.rank == 0:
            best = _best(state, self._config.select)
            self._checkpoints.save(state, self._module, self._optimiser, spare=[best] if best else [])
        self._workers.agree(None)  # no worker is to look for a checkpoint that is still being written

    def _is_enough(self, state: State) -> bool:
        """Whether the figure has not grown for as many evaluations as patience allows."""
        best = _best(state, self._config.select)
        since = [evaluation for evaluation in state.evaluations if best is not None and evaluation.step > best]
        return bool(self._config.patience) and len(since) >= self._config.patience

    def _finish(self, state: State, stopped: bool) -> Outcome:
        """Take the best, the averaged or the last weights: averaged ones only where they are no worse than the best."""
        steps = self._workers.agree(self._checkpoints.steps())
        best = _best(state, self._config.select)
        chosen = (best or state.step,)
        averaged = tuple(steps[-self._config.average_checkpoints :])
        if len(averaged) > 1:
            self._module.load_state_dict(self._checkpoints.weights(averaged))
            if self._run.evaluate is None or not self._config.select:
                chosen = averaged
            else:
                figures = self._figures(self._run.evaluate)
                top = max(e.figures[self._config.select] for e in state.evaluations)
                chosen = averaged if figures[self._config.select] >= top else chosen
        self._module.load_state_dict(self._checkpoints.weights(chosen))
        self._module.eval()
        return Outcome(state, chosen, stopped)

    def _count(self, chunks: Sequence[Chunk], prefetch: Prefetch) -> None:
        pairs = sum(chunk.counts["pairs"] for chunk in chunks)
        tokens = sum(len(chunk.tokens.ids) for chunk in chunks)
        self._truncated += sum(chunk.num_truncated for chunk in chunks)
        self._rates.add(pairs * self._workers.size, tokens * self._workers.size, prefetch.waited_s)

    def _progress(
        self, step: int, losses: Mapping[str, float], rate: float, norm: float, figures: Mapping[str, float]
    ) -> Progress:
        rates = self._rates
        left = (self._num_steps - step) * rates.step_s
        return Progress(
            step, self._num_steps, losses, rate, norm, rates.pairs_per_s, rates.tokens_per_s, rates.waiting_ratio, left,
            self._truncated, figures,
        )  # fmt: skip


class Rates:
    """Rates over the last WINDOW_STEPS steps."""

    def __init__(self) -> None:
        self._marks: deque[tuple[float, int, int, float]] = deque([(time.perf_counter(), 0, 0, 0.0)], WINDOW_STEPS + 1)

    def add(self, pairs: int, tokens: int, waited_s: float) -> None:
        """A step with so many pairs and tokens; `waited_s` since the beginning."""
        _, pairs_before, tokens_before, _ = self._marks[-1]
        self._marks.append((time.perf_counter(), pairs_before + pairs, tokens_before + tokens, waited_s))

    @property
    def step_s(self) -> float:
        return self._passed(0) / max(1, len(self._marks) - 1)

    @property
    def pairs_per_s(self) -> float:
        return self._passed(1) / max(self._passed(0), 1e-9)

    @property
    def tokens_per_s(self) -> float:
        return self._passed(2) / max(self._passed(0), 1e-9)

    @property
    def waiting_ratio(self) -> float:
        return self._passed(3) / max(self._passed(0), 1e-9)

    def _passed(self, column: int) -> float:
        return float(self._marks[-1][column] - self._marks[0][column])


def make_optimiser(module: nn.Module, config: TrainingConfig) -> torch.optim.AdamW:
    """AdamW (arXiv 1711.05101) that decays matrices alone, as BERT's training does: no biases and no norms."""
    parameters = [p for p in module.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in parameters if p.ndim > 1], "weight_decay": config.weight_decay},
        {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=config.learning_rate, fused=True)


def _best(state: State, select: str) -> int | None:
    """The step with the highest figure, the first of equal ones; None where nothing is selected by."""
    if not select or not state.evaluations:
        return None
    return max(state.evaluations, key=lambda e: (e.figures[select], -e.step)).step


def _is_out_of_memory(error: RuntimeError) -> bool:
    """On a CPU torch says so in words alone (c10/core/impl/alloc_cpu.cpp)."""
    return isinstance(error, torch.OutOfMemoryError) or "can't allocate memory" in str(error)


def _is_finite(value: float) -> bool:
    return value - value == 0
