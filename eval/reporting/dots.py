"""Dot plots with a row a language or bin and a mark a system: for long names, and where no order says more.

Needs matplotlib.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

import polars as pl

from eval.reporting.grids import label, order_by_script, single_cells
from eval.reporting.style import (
    SOFT,
    STYLE,
    Look,
    add_legend,
    interval_lengths,
    legend_inches,
    new_figure,
    show_signs,
    system_looks,
    title_inches,
)
from eval.results import Results

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_WIDTH_INCHES, _MARGIN_INCHES, _HEADING_INCHES = 6.4, 0.7, 0.3  # the margin holds title and axis
_DOT_INCHES, _GAP_INCHES = 0.08, 0.1  # a system's part of a row, and what stands between rows
_BAND = "#F3F3F3"
_LEAST = -1.5  # %, so that marks at nothing are whole


class _Panel(NamedTuple):
    heading: str
    names: Sequence[str]  # of its rows, from the top
    rows: pl.DataFrame  # `row` (from the top, 0-based), `system`, `value`, `low`, `high` in the units shown


def plot_languages(results: Results, benchmark: str, measure: str, title: str) -> "Figure":
    """Every system's value with its interval by language; for benchmarks with one query or one passage language."""
    cells = single_cells(results, benchmark)
    sides = ["query", "passage"] if cells["query_language"].n_unique() > 1 else ["passage", "query"]
    own, shared = (f"{side}_language" for side in sides)
    values = results.values.filter(benchmark=benchmark, measure=measure).join(cells, on=["setting", "cell"])
    languages = order_by_script(cells[own])
    heading = f"{sides[0]} language ({sides[1]} language: {label(cells[shared][0])})"
    panel = _Panel(heading, [label(x) for x in languages], _percent(_number_rows(values, own, languages)))
    figure = _plot_panels(results, [panel], (1, 1), title)
    figure.axes[0].set_xlim(left=_LEAST)
    return figure


def plot_bin_rows(results: Results, settings: Mapping[str, pl.DataFrame], title: str) -> "Figure":
    """A row a bin with its number of queries, the settings one below the other.

    `settings` are rows of Results.bins by setting, sorted by `order`.
    """
    figure = _plot_bins(results, settings, title)
    figure.axes[-1].set_xlim(left=_LEAST)
    return figure


def plot_gain_rows(results: Results, settings: Mapping[str, pl.DataFrame], title: str) -> "Figure":
    """The same for differences (bin_gains), which have signs and a line at nothing."""
    figure = _plot_bins(results, settings, title)
    for axes in figure.axes:
        axes.axvline(0, color="black", linewidth=0.8, zorder=1)
        show_signs(axes.xaxis)
    return figure


def _plot_bins(results: Results, settings: Mapping[str, pl.DataFrame], title: str) -> "Figure":
    panels = []
    for setting, bins in settings.items():
        sizes = dict(bins.select("bin", "num_queries").iter_rows())
        names = [f"{name.replace('-', '–')} ({size:,})" for name, size in sizes.items()]
        panels.append(_Panel(setting, names, _percent(_number_rows(bins, "bin", list(sizes)))))
    figure = _plot_panels(results, panels, (len(panels), 1), title)
    figure.axes[-1].set_xlabel("(n): number of queries", fontsize=8, color=SOFT, loc="left")
    return figure


def plot_ranks(results: Results, ranks: pl.DataFrame, title: str) -> "Figure":
    """Ranks of the relevant answers by language, median and quartiles, beside the language's share of the top ranks.

    `ranks` are the rows of Results.language_ranks of one cell. A black stroke is the share of the collection.
    """
    languages = order_by_script(ranks["language"])
    names, rows = [label(x) for x in languages], _number_rows(ranks, "language", languages)
    shares = rows.with_columns(value=pl.col("share_top") * 100, low=None, high=None)
    panels = [
        _Panel("rank: median and quartiles", names, rows.rename({"median": "value", "q25": "low", "q75": "high"})),
        _Panel("share of the top ranks (%)", names, shares),
    ]
    figure = _plot_panels(results, panels, (1, 2), title)
    left, right = figure.axes
    left.set_xscale("log")
    left.xaxis.set_major_formatter(lambda value, _: f"{value:,g}")
    right.set_xlim(left=_LEAST)
    right.set_xlabel("stroke: share of the collection", fontsize=8, color=SOFT, loc="left")
    expected = rows.group_by("row").agg(pl.col("share_collection").max() * 100).drop_nulls().sort("row")
    for row, share in expected.iter_rows():
        right.vlines(share, row - 0.42, row + 0.42, color="black", linewidth=1.4)
    return figure


def _number_rows(frame: pl.DataFrame, column: str, names: Sequence[str]) -> pl.DataFrame:
    return frame.with_columns(row=pl.col(column).replace_strict(names, range(len(names)), return_dtype=pl.Int64))


def _percent(rows: pl.DataFrame) -> pl.DataFrame:
    return rows.with_columns(pl.col("value", "low", "high") * 100)


def _plot_panels(results: Results, panels: Sequence[_Panel], shape: tuple[int, int], title: str) -> "Figure":
    """Panels in rows and columns, as `shape` says; those beside each other have the same rows."""
    present = {system for panel in panels for system in panel.rows["system"]}
    looks = {system: look for system, look in system_looks(results).items() if system in present}
    row_inches = len(looks) * _DOT_INCHES + _GAP_INCHES
    heights = [len(panel.names) * row_inches for panel in panels[:: shape[1]]]
    width = max(_WIDTH_INCHES, title_inches(title))
    height = sum(heights) + len(heights) * _HEADING_INCHES + _MARGIN_INCHES + legend_inches(width, looks)
    figure = new_figure(width, height)
    from matplotlib import rc_context

    with rc_context(STYLE):
        grid = figure.subplots(*shape, sharex="col", sharey="row", squeeze=False, height_ratios=heights)
        for axes, panel in zip(grid.ravel(), panels, strict=True):
            _draw_rows(axes, panel.rows, looks, _DOT_INCHES / row_inches)
            axes.set_yticks(range(len(panel.names)), panel.names, fontsize=8)
            axes.set_ylim(len(panel.names) - 0.5, -0.5)
            axes.set_title(panel.heading, fontsize=8.5, loc="left")
            axes.tick_params(labelbottom=True)
        add_legend(figure, title, looks)
    return figure


def _draw_rows(axes: "Axes", rows: pl.DataFrame, looks: Mapping[str, Look], step: float) -> None:
    """Marks with intervals, a system below the other within its row; every other row on grey."""
    for row in rows["row"].unique().filter(rows["row"].unique() % 2 == 1):
        axes.axhspan(row - 0.5, row + 0.5, color=_BAND, zorder=0, linewidth=0)
    for k, (system, look) in enumerate(looks.items()):
        own = rows.filter(system=system).drop_nulls("value")
        y = own["row"] + (k - (len(looks) - 1) / 2) * step
        options = {"linestyle": "none", "elinewidth": 1, **look.marks()}
        axes.errorbar(own["value"], y, xerr=interval_lengths(own), **options)
    axes.tick_params(axis="y", length=0)
