"""Line plots over ordered bins of queries: a panel a setting, a line a system. Needs matplotlib."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import polars as pl

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

_HEIGHT_INCHES, _MARGIN_INCHES = 2.8, 0.7
_BIN_INCHES, _CHARACTER_INCHES = 0.4, 0.062  # the least for a bin, and what a character of its name takes
_DODGE = 0.07  # of a bin, between the systems' marks


def plot_trends(results: Results, settings: Mapping[str, pl.DataFrame], title: str) -> "Figure":
    """Values with intervals, bins from left to right, each with its number of queries below.

    `settings` are rows of Results.bins by setting, sorted by `order`.
    """
    figure = _plot_panels(results, settings, title)
    figure.axes[0].set_ylim(bottom=-1.5)  # so that marks at nothing are whole
    return figure


def plot_gain_trends(results: Results, settings: Mapping[str, pl.DataFrame], title: str) -> "Figure":
    """The same for differences (bin_gains), which have signs and a line at nothing."""
    figure = _plot_panels(results, settings, title)
    for axes in figure.axes:
        axes.axhline(0, color="black", linewidth=0.8, zorder=1)
        show_signs(axes.yaxis)
    return figure


def bin_gains(bins: pl.DataFrame, baseline: str) -> pl.DataFrame:
    """The other systems' rows of Results.bins with what they gain over the baseline's as `value`; no intervals.

    Settings with a single bin show no trend and are left out.
    """
    keys = ["setting", "kind", "bin"]
    of_baseline = bins.filter(system=baseline).select(*keys, of_baseline="value")
    gains = bins.filter(pl.col("system") != baseline).join(of_baseline, on=keys, maintain_order="left")
    several = gains.filter(pl.col("bin").n_unique().over("setting") > 1)
    nothing = pl.lit(None, pl.Float64)
    return several.with_columns(value=pl.col("value") - pl.col("of_baseline"), low=nothing, high=nothing)


def _plot_panels(results: Results, settings: Mapping[str, pl.DataFrame], title: str) -> "Figure":
    present = {system for bins in settings.values() for system in bins["system"]}
    looks = {system: look for system, look in system_looks(results).items() if system in present}
    widths = [_panel_inches(bins) for bins in settings.values()]
    width = max(sum(widths) + _MARGIN_INCHES, title_inches(title))
    figure = new_figure(width, _HEIGHT_INCHES + legend_inches(width, looks))
    from matplotlib import rc_context

    with rc_context(STYLE):
        panels = figure.subplots(1, len(settings), sharey=True, squeeze=False, width_ratios=widths)[0]
        for axes, (setting, bins) in zip(panels, settings.items(), strict=True):
            _draw_lines(axes, bins, looks)
            axes.set_title(setting, fontsize=8.5, loc="left")
        panels[0].set_xlabel("below each bin: number of queries", fontsize=8, color=SOFT, loc="left")
        add_legend(figure, title, looks)
    return figure


def _panel_inches(bins: pl.DataFrame) -> float:
    longest = max(map(len, bins["bin"]), default=0)
    return max(bins["bin"].n_unique(), 2) * max(_BIN_INCHES, longest * _CHARACTER_INCHES + 0.08)


def _draw_lines(axes: "Axes", bins: pl.DataFrame, looks: Mapping[str, Look]) -> None:
    sizes = dict(bins.select("bin", "num_queries").iter_rows())
    places = pl.col("bin").replace_strict(list(sizes), range(len(sizes)), return_dtype=pl.Float64)
    points = bins.with_columns(pl.col("value", "low", "high") * 100, place=places)
    for k, (system, look) in enumerate(looks.items()):
        own = points.filter(system=system).drop_nulls("value")
        x = own["place"] + (k - (len(looks) - 1) / 2) * _DODGE
        options = {"linestyle": look.line, "linewidth": 1.2, "elinewidth": 0.8, **look.marks()}
        axes.errorbar(x, own["value"], yerr=interval_lengths(own), **options)
    names = [f"{name.replace('-', '–')}\n{size:,}" for name, size in sizes.items()]
    axes.set_xticks(range(len(names)), names, fontsize=7)
    axes.set_xlim(-0.5, max(len(names), 2) - 0.5)
    axes.grid(axis="y", color="#E4E4E4", linewidth=0.6)
    axes.set_axisbelow(True)
