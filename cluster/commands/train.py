"""`csgen train reranker | encoder | base`: here or on Ray Train, with a line of progress and a summary."""

import contextlib
import logging
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from cluster.connection import connect
from cluster.terminal import Report, Terminal
from cluster.training.config import BaseConfig, EncoderConfig, RerankerConfig
from cluster.training_options import Dev, Gaps, Place, Switching, Teacher, TrainingOptions
from cluster.training_report import show_training, training_summary

log = logging.getLogger(__name__)

LOGGED_A_RUN = 20  # lines of progress where standard error is no terminal

ShowStep = Callable[[Mapping[str, Any]], None]  # takes a step's line of the history


def reranker(
    config: RerankerConfig,
    switching: Switching,
    place: Place,
    dev: Dev,
    teacher: Teacher,
    gaps: Gaps,
    terminal: Terminal,
) -> Report:
    return _train(TrainingOptions("reranker", config, switching, place, dev, teacher, gaps), terminal)


def encoder(
    config: EncoderConfig,
    switching: Switching,
    place: Place,
    dev: Dev,
    teacher: Teacher,
    gaps: Gaps,
    terminal: Terminal,
) -> Report:
    return _train(TrainingOptions("encoder", config, switching, place, dev, teacher, gaps), terminal)


def base(config: BaseConfig, switching: Switching, place: Place, gaps: Gaps, terminal: Terminal) -> Report:
    return _train(
        TrainingOptions("base", config, switching, place, Dev.from_options({}), Teacher.from_options({}), gaps),
        terminal,
    )


def _train(options: TrainingOptions, terminal: Terminal) -> Report:
    from transformers.utils import logging as hugging_face

    from cluster.training_gaps import weigh_by_gaps
    from cluster.training_job import run_training
    from cluster.training_output import CHECKPOINTS, check_output
    from csgen.files import exists, join

    hugging_face.disable_progress_bar()  # type: ignore[no-untyped-call]  # of weights being read and written, in a second
    hugging_face.set_verbosity_error()  # type: ignore[no-untyped-call]  # a new head is no news
    check_output(options)
    options = weigh_by_gaps(options)
    resumed = exists(join(options.place.output, CHECKPOINTS))
    begun = time.perf_counter()
    with show_progress(terminal) as show:
        if options.place.workers == 1 and "RAY_ADDRESS" not in os.environ:
            manifest = run_training(options, show)
        else:
            connect(max(options.place.workers, os.cpu_count() or 1))  # whose threads the workers share
            from cluster.training_ray import run_on_ray

            manifest = run_on_ray(options, show)
    seconds = None if resumed else time.perf_counter() - begun
    output = options.place.output
    return Report({"output": output} | training_summary(manifest, seconds), show_training(output, manifest, seconds))


@contextlib.contextmanager
def show_progress(terminal: Terminal) -> Iterator[ShowStep]:
    """A line of progress; where standard error is no terminal, a line of the log at every twentieth of the run."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    console = Console(stderr=True)
    if terminal.quiet or not console.is_terminal:
        with contextlib.redirect_stdout(sys.stderr):
            yield StepLog()
        return
    columns = [BarColumn(), MofNCompleteColumn(), TextColumn("steps  {task.description}")]
    with contextlib.redirect_stdout(sys.stderr), Progress(*columns, console=console) as bar:
        task = bar.add_task("", total=None)

        def show(line: Mapping[str, Any]) -> None:
            bar.update(task, completed=line["step"], total=line["num_steps"], description=describe_step(line))

        yield show


class StepLog:
    """Logs a step at each twentieth of a run, and those with figures; it may be told of some steps only."""

    def __init__(self) -> None:
        self._logged = 0

    def __call__(self, line: Mapping[str, Any]) -> None:
        part = line["step"] * LOGGED_A_RUN // line["num_steps"]
        if part != self._logged or line.get("evaluation"):
            self._logged = part
            log.info("step %d of %d: %s", line["step"], line["num_steps"], describe_step(line))


def describe_step(line: Mapping[str, Any]) -> str:
    """Loss, rates, time left and the share of time spent waiting for data; and figures where there are any."""
    hours, rest = divmod(int(line["left_s"]), 3600)
    left = f"{hours}:{rest // 60:02}:{rest % 60:02}"
    text = (
        f"loss {line['loss']:.4g}, {line['pairs_per_s']:,.0f} pairs/s, {line['tokens_per_s']:,.0f} tokens/s, "
        f"{left} left, {100 * line['waiting_ratio']:.1f} % waiting for data"
    )
    figures = ", ".join(f"{name} {value:.4f}" for name, value in line.get("evaluation", {}).items())
    return f"{text}; {figures}" if figures else text
