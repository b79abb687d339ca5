"""How commands speak: results on standard output, logs and the progress bar on standard error; knows no stage."""

import contextlib
import json
import logging
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import Field
from rich.console import Console, RenderableType

from csgen.config import StageConfig

PLAIN_WIDTH = 160  # where standard output is no terminal: rich would cut tables at 80


@dataclass(frozen=True)
class Report:
    """What a command has to say when it is done: the same for programs (what JSON can hold) and for people."""

    summary: Any
    view: RenderableType


class Terminal(StageConfig):
    """Options that every command has."""

    format: Literal["table", "json"] = Field("table", description="form of the result on standard output")
    quiet: bool = Field(False, description="no progress bar, and of the log the warnings alone")

    def start_log(self) -> None:
        logging.basicConfig(stream=sys.stderr, format="%(message)s", level=logging.WARNING, force=True)
        for package in ("csgen", "indexing", "eval", "cluster"):
            logging.getLogger(package).setLevel(logging.WARNING if self.quiet else logging.INFO)

    def show(self, report: Report) -> None:
        if self.format == "json":
            sys.stdout.write(json.dumps(report.summary, ensure_ascii=False, indent=1) + "\n")
        else:
            console = Console(file=sys.stdout)
            if not console.is_terminal:
                console.width = PLAIN_WIDTH
            console.print(report.view, soft_wrap=isinstance(report.view, str))
        sys.stdout.flush()

    @contextlib.contextmanager
    def progress(self, what: str, total: int | None) -> Iterator[Callable[[int], None]]:
        """A progress bar of `total` units called `what` (None: not known), with its rate; call what it gives.

        There is none where standard error is no terminal, or with --quiet. What libraries print meanwhile goes to
        standard error: Ray prints to standard output when a worker dies.
        """
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            Progress,
            ProgressColumn,
            SpinnerColumn,
            Task,
            TextColumn,
            TimeElapsedColumn,
            TimeRemainingColumn,
        )
        from rich.text import Text

        class Rate(ProgressColumn):
            def render(self, task: Task) -> Text:
                rate = task.finished_speed or task.speed
                return Text(f"{rate:,.0f} {what}/s" if rate else f"- {what}/s")

        console = Console(stderr=True)
        columns = [SpinnerColumn(), BarColumn(), MofNCompleteColumn(), Rate(), TimeElapsedColumn()]
        columns += [TimeRemainingColumn(), TextColumn("left")]
        bar = Progress(*columns, console=console, disable=self.quiet or not console.is_terminal)
        with contextlib.redirect_stdout(sys.stderr), bar:
            task = bar.add_task(what, total=total)
            yield lambda count: bar.update(task, advance=count)
