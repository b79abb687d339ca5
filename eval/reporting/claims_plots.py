"""The plots of the report of claims: rows with a mark and an interval for each series, in panels. Needs matplotlib."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import polars as pl

from eval.claims.evidence import Evidence, Figure
from eval.claims.judging import Judgement
from eval.claims.research import CLIR_GAIN, MLIR_GAIN, Comparison
from eval.measuring.distance import DISTANCES
from eval.reporting.plots import Plot
from eval.reporting.style import (
    STYLE,
    Look,
    add_legend,
    interval_lengths,
    legend_inches,
    list_looks,
    new_figure,
    settle_layout,
    show_signs,
    title_inches,
)
from eval.results import SETTINGS

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Drawing

_PANEL_INCHES, _NAME_INCHES, _MARGIN_INCHES = 2.6, 0.062, 0.9  # a panel, a character of a row's name, title and axis
_DOT_INCHES, _GAP_INCHES = 0.09, 0.12  # a series' part of a row, and what stands between rows
_BAND, _GRID = "#F3F3F3", "#E4E4E4"


@dataclass(frozen=True)
class Panel:
    """What stands side by side: a mark for each row and series; `strokes` are other people's figures."""

    heading: str
    marks: Mapping[tuple[str, str], Figure]  # by row and series
    strokes: Mapping[str, float]  # by row
    signed: bool = True


def draw_gains(outputs: Sequence[Evidence], gains: Mapping[str, Mapping[str, Figure]]) -> Plot | None:
    """ML-CS less zero-shot of each experiment by setting, beside the paper's."""
    paper = {"CLIR": CLIR_GAIN, "MLIR": MLIR_GAIN}
    names = [one.name for one in outputs if gains[one.name]]
    panels = [
        Panel(
            setting,
            {(name, "ML-CS − zero-shot"): gains[name][setting] for name in names if setting in gains[name]},
            dict.fromkeys(names, paper[setting]) if setting in paper else {},
        )
        for setting in SETTINGS
    ]
    return _plot("gains", "Gain of ML-CS over zero-shot, MRR@10 × 100 (stroke: the paper's)", names, panels)


def draw_gap(outputs: Sequence[Evidence], levels: Mapping[str, Mapping[tuple[str, str], Figure]]) -> Plot | None:
    """How far zero-shot, ML-CS, the best and translated are from each other, by setting."""
    roles = {"zero_shot": "zero-shot", "ml_cs": "ML-CS", "best": "best", "translated": "translated"}
    names = [one.name for one in outputs if levels[one.name]]
    panels = []
    for setting in SETTINGS:
        marks = {
            (one.name, label): levels[one.name][system, setting]
            for one in outputs
            for role, label in roles.items()
            if (system := getattr(one.roles, role)) and (system, setting) in levels[one.name]
        }
        panels.append(Panel(setting, marks, {}, signed=False))
    return _plot("gap", "From zero-shot to translated: MRR@10 × 100", names, panels)


def draw_distance(judged: Mapping[str, Judgement]) -> Plot | None:
    """Zero-shot's drop and ML-CS's gain by the distance of the languages."""
    parts = {"drop of zero-shot from MoIR": {}, "gain of ML-CS over zero-shot": {}}  # type: dict[str, dict[tuple[str, str], Figure]]
    for name, judgement in judged.items():
        for finding in judgement.findings:
            what, _, rest = finding.label.partition(", ")
            distance = rest.rpartition(" (")[0]
            if what in parts and distance in DISTANCES:
                parts[what][distance, name] = finding.figure
    rows = [
        distance
        for distance in DISTANCES
        if any((distance, name) in part for part in parts.values() for name in judged)
    ]
    panels = [Panel(what, marks, {}) for what, marks in parts.items()]
    return _plot("distance", "Drop and gain by distance of the languages, MRR@10 × 100", rows, panels)


def draw_ratios(outputs: Sequence[Evidence], levels: Mapping[str, Mapping[tuple[str, str], Figure]]) -> Plot | None:
    """MRR@10 by switching probability."""
    ratios = sorted({p for one in outputs for p in one.roles.ratios})
    panels = []
    for setting in SETTINGS:
        marks = {
            (f"p = {p:g}", one.name): levels[one.name][one.roles.ratios[p], setting]
            for one in outputs
            for p in ratios
            if p in one.roles.ratios and (one.roles.ratios[p], setting) in levels[one.name]
        }
        panels.append(Panel(setting, marks, {}, signed=False))
    return _plot("ratios", "By switching probability p: MRR@10 × 100", [f"p = {p:g}" for p in ratios], panels)


def draw_variants(comparisons: Mapping[str, Sequence[Comparison]]) -> Plot | None:
    """Every variant's difference to what it is held against, by setting."""
    shown = {name: [one for one in own if one.kind not in ("ratio", "control")] for name, own in comparisons.items()}
    rows = list(dict.fromkeys(one.system for own in shown.values() for one in own))
    panels = [
        Panel(
            setting,
            {(one.system, name): one.figure for name, own in shown.items() for one in own if one.setting == setting},
            {},
        )
        for setting in SETTINGS
    ]
    return _plot("variants", "Variants less ML-CS, MRR@10 × 100", rows, panels)


def _plot(name: str, title: str, rows: Sequence[str], panels: Sequence[Panel]) -> Plot | None:
    """The plot of the panels that have marks; None where none has."""
    shown = [panel for panel in panels if panel.marks]
    if not shown:
        return None
    title += ", 95 % intervals"
    figure = _draw_panels(title, rows, shown)
    settle_layout(figure)
    return Plot(f"claims-{name}", "claims", "", title, figure)


def _draw_panels(title: str, rows: Sequence[str], panels: Sequence[Panel]) -> "Drawing":
    from matplotlib import rc_context

    looks = list_looks(list(dict.fromkeys(series for panel in panels for _, series in panel.marks)))
    row_inches = len(looks) * _DOT_INCHES + _GAP_INCHES
    width = max(len(panels) * _PANEL_INCHES + max(map(len, rows)) * _NAME_INCHES, title_inches(title))
    figure = new_figure(width, len(rows) * row_inches + _MARGIN_INCHES + legend_inches(width, looks))
    with rc_context(STYLE):
        for axes, panel in zip(figure.subplots(1, len(panels), sharey=True, squeeze=False)[0], panels, strict=True):
            _draw_rows(axes, rows, panel, looks, _DOT_INCHES / row_inches)
            axes.set_yticks(range(len(rows)), [row.replace("-", "‑") for row in rows], fontsize=8)
            axes.set_ylim(len(rows) - 0.5, -0.5)
            axes.set_title(panel.heading, fontsize=8.5, loc="left")
        add_legend(figure, title, looks)
    return figure


def _draw_rows(axes: "Axes", rows: Sequence[str], panel: Panel, looks: Mapping[str, Look], step: float) -> None:
    for odd in range(1, len(rows), 2):
        axes.axhspan(odd - 0.5, odd + 0.5, color=_BAND, zorder=0, linewidth=0)
    for k, (series, look) in enumerate(looks.items()):
        points = pl.DataFrame(list(_points(rows, panel, series)), _POINT, orient="row")
        y = points["row"] + (k - (len(looks) - 1) / 2) * step
        axes.errorbar(
            points["value"], y, xerr=interval_lengths(points), linestyle="none", elinewidth=1, **look.marks()
        )  # fmt: skip
    for row, value in panel.strokes.items():
        place = rows.index(row)
        axes.vlines(100 * value, place - 0.4, place + 0.4, color="black", linewidth=1.4)
    axes.grid(axis="x", color=_GRID, linewidth=0.6)
    axes.set_axisbelow(True)
    axes.tick_params(axis="y", length=0)
    if panel.signed:
        axes.axvline(0, color="black", linewidth=0.8, zorder=1)
        show_signs(axes.xaxis)


_POINT = {"row": pl.Float64, "value": pl.Float64, "low": pl.Float64, "high": pl.Float64}


def _points(rows: Sequence[str], panel: Panel, series: str) -> Iterator[tuple[float | None, ...]]:
    for place, row in enumerate(rows):
        figure = panel.marks.get((row, series))
        if figure is not None and figure.value is not None:
            ends = (figure.low, figure.high)
            yield (float(place), *(None if x is None else 100 * x for x in (figure.value, *ends)))
