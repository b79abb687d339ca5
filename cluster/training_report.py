"""What people see of a run: its history, a line a step, its learning curves, and how it ended."""

import importlib.util
import json
import math
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import IO, TYPE_CHECKING, Any, Self

import polars as pl
from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from csgen.errors import InputError
from csgen.files import join, replace_file
from csgen.manifest import Manifest
from csgen.plots import write_plots

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from cluster.training.checkpoints import State
    from cluster.training.loop import Progress

HISTORY = "history.jsonl"
TENSORBOARD = "tensorboard"
PLOTS = "plots"
_MODULES = {"plots": ("matplotlib", "plot"), "tensorboard": ("tensorboard", "train")}  # what a curve needs, the extra
_SMOOTHING = 50  # parts of a run over which the drawn loss is averaged
_NO_LOSSES = {  # of a line of the history
    "step", "num_steps", "learning_rate", "gradient_norm", "pairs_per_s", "tokens_per_s", "waiting_ratio", "left_s",
    "truncated", "evaluation",
}  # fmt: skip
_COLOURS = ["#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00"]  # Okabe and Ito's


def check_curves(curves: tuple[str, ...]) -> None:
    """Refuse curves whose library is not installed."""
    for curve in curves:
        module, extra = _MODULES[curve]
        if importlib.util.find_spec(module) is None:
            raise InputError(
                f"--curves {curve} needs {module}: pip install 'csgen[{extra}]', or leave it out, e.g. --curves none"
            )


class History:
    """The file HISTORY of a run, to which a line a step is added, and TensorBoard's event files."""

    def __init__(self, folder: str, stream: IO[str], writer: Any, known: dict[int, int]) -> None:
        self._folder, self._stream, self._writer = folder, stream, writer
        self._steps = set(known)
        self._truncated_before = max(known.values(), default=0)
        self.num_truncated = self._truncated_before

    @classmethod
    def resume(cls, folder: str, step: int, tensorboard: bool) -> Self:
        """The history of the steps up to `step`; lines of later ones, which will be gone through again, are dropped."""
        path = Path(folder, HISTORY)
        kept = [line for line in read_history(folder) if line["step"] <= step]
        with replace_file(str(path)) as stream:
            stream.write("".join(json.dumps(line) + "\n" for line in kept).encode())
        writer = None
        if tensorboard:
            from torch.utils.tensorboard import SummaryWriter

            writer = SummaryWriter(join(folder, TENSORBOARD), purge_step=step + 1 if step else None)
        known = {line["step"]: line.get("truncated", 0) for line in kept}
        return cls(folder, path.open("a", encoding="utf-8"), writer, known)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stream.close()
        if self._writer is not None:
            self._writer.close()

    def add(self, progress: "Progress") -> dict[str, Any]:
        """Write a step's line, and return it."""
        self.num_truncated = self._truncated_before + progress.num_truncated
        line: dict[str, Any] = {
            "step": progress.step,
            "num_steps": progress.num_steps,
            **progress.losses,
            "learning_rate": progress.learning_rate,
            "gradient_norm": progress.gradient_norm,
            "pairs_per_s": round(progress.pairs_per_s, 3),
            "tokens_per_s": round(progress.tokens_per_s, 1),
            "waiting_ratio": round(progress.waiting_ratio, 5),
            "left_s": round(progress.left_s, 1),
            "truncated": self.num_truncated,
        }
        if progress.evaluation:
            line["evaluation"] = dict(progress.evaluation)
        self._stream.write(json.dumps(line) + "\n")
        self._stream.flush()
        self._steps.add(progress.step)
        if self._writer is not None:
            self._draw(progress)
        return line

    def _draw(self, progress: "Progress") -> None:
        for name, value in progress.losses.items():
            self._writer.add_scalar(f"loss/{name}", value, progress.step)
        for name, value in progress.evaluation.items():
            self._writer.add_scalar(f"dev/{name}", value, progress.step)
        for name in ("learning_rate", "gradient_norm", "pairs_per_s", "tokens_per_s", "waiting_ratio"):
            self._writer.add_scalar(f"run/{name}", getattr(progress, name), progress.step)

    def fill(self, state: "State") -> None:
        """Add what a run that was killed between a checkpoint and its line has lost: the loss, and evaluations."""
        figures = {evaluation.step: evaluation.figures for evaluation in state.evaluations}
        for step, loss in enumerate(state.losses, 1):
            if step not in self._steps:
                line: dict[str, Any] = {"step": step, "loss": loss}
                line |= {"evaluation": figures[step]} if step in figures else {}
                self._stream.write(json.dumps(line) + "\n")


def read_history(folder: str) -> list[dict[str, Any]]:
    """The lines of a history, in the order of their steps; a last one that was cut short is left out."""
    path = Path(folder, HISTORY)
    if not path.exists():
        return []
    lines = []
    for text in path.read_text(encoding="utf-8").splitlines():
        try:
            lines.append(json.loads(text))
        except ValueError:
            continue
    return sorted(lines, key=lambda line: line["step"])


def draw_curves(folder: str) -> list[str]:
    """Write the learning curves as PNG and SVG; returns the paths."""
    lines = read_history(folder)
    return write_plots({"learning-curves": plot_history(lines)}, join(folder, PLOTS)) if lines else []


def plot_history(lines: list[dict[str, Any]]) -> "Figure":
    """The losses by step, averaged over fiftieths of the run, and under them the figures of the dev set, if any."""
    from matplotlib.figure import Figure

    measured = [line for line in lines if line.get("evaluation")]
    figure = Figure(figsize=(5.5, 4.6 if measured else 2.6), layout="constrained")
    panels = figure.subplots(2 if measured else 1, 1, sharex=True, squeeze=False)[:, 0]
    names = [name for name in dict.fromkeys(key for line in lines for key in line) if name not in _NO_LOSSES]
    width = max(1, len(lines) // _SMOOTHING)
    shown = [name for name in names if name != "loss" or len(names) != 2]
    for k, name in enumerate(shown):
        points = pl.DataFrame({"step": [x["step"] for x in lines], "value": [x.get(name) for x in lines]}).drop_nulls()
        means = points.group_by((pl.int_range(pl.len()) // width).alias("part"), maintain_order=True).mean()
        strong = {"linewidth": 1.8, "color": "black"} if name == "loss" else {"color": _COLOURS[k % len(_COLOURS)]}
        panels[0].plot(means["step"], means["value"], label=name.replace("_", " "), **strong)
    panels[0].set_ylabel("loss")
    panels[0].legend(frameon=False, fontsize=8)
    panels[-1].set_xlabel("steps")
    if measured:
        for k, name in enumerate(measured[0]["evaluation"]):
            values = [line["evaluation"].get(name) for line in measured]
            style = {"linewidth": 1.8, "color": "black"} if name == "mean" else {"color": _COLOURS[k % len(_COLOURS)]}
            panels[1].plot([line["step"] for line in measured], values, marker="o", markersize=3, label=name, **style)
        panels[1].set_ylabel("RR@10 on the dev set")
        panels[1].legend(frameon=False, fontsize=8)
    for axes in panels:
        axes.spines[["top", "right"]].set_visible(False)
    return figure


def training_summary(manifest: Manifest, seconds: float | None) -> dict[str, Any]:
    """What a finished run has to say to programs."""
    lines = {"kind": manifest.config["kind"], "model": manifest.config["model"]} | manifest.counts
    return lines | {"seconds": None if seconds is None else round(seconds, 2)}


def show_training(output: str, manifest: Manifest, seconds: float | None) -> RenderableType:
    """The same for people."""
    counts = manifest.counts
    took = "" if seconds is None else f" in {seconds:,.1f} s"
    loss = counts["last_loss"]
    line = f"{manifest.config['kind']}: {counts['steps']:,} of {counts['planned_steps']:,} steps{took}"
    line += f", {counts['pairs']:,} pairs, last loss {loss:.4g}" if math.isfinite(loss) else ""
    line += f", {counts['truncated']:,} inputs cut to {manifest.config['max_tokens']} tokens"
    parts: list[RenderableType] = [Text(line)]
    if counts["figures"]:
        parts.append(_show_figures(counts["figures"]))
    weights = counts["weights_of"]
    kept = f"mean of steps {', '.join(map(str, weights))}" if len(weights) > 1 else f"step {weights[0]}"
    stopped = ", stopped early" if counts["stopped_early"] else ""
    return Group(*parts, Text(f"weights: {kept}{stopped}; model: {output}"))


def _show_figures(figures: Mapping[str, float]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.add_column("RR@10 on the dev set")
    for name in figures:
        table.add_column(name, justify="right")
    table.add_row("", *(f"{value:.4f}" for value in figures.values()))
    return table
