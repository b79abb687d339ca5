"""The plots of an experiment's results: which there are, and what each shows.

Needs matplotlib, without pyplot: nothing here depends on a display or on what was plotted before.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import polars as pl

from csgen.files import join, open_input
from eval.reporting.dots import plot_bin_rows, plot_gain_rows, plot_languages, plot_ranks
from eval.reporting.formats import file_name
from eval.reporting.grids import Grid, gain_grid, value_grid
from eval.reporting.maps import plot_gains, plot_values
from eval.reporting.style import settle_layout
from eval.reporting.trends import bin_gains, plot_gain_trends, plot_trends
from eval.results import SETTINGS, Results

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_KINDS = {
    "overlap": "token overlap of query and passage",
    "script": "scripts of query and passage",
    "length": "length of the query in words",
    "distance": "distance of the languages",
    "seen": "languages seen in training",
}
_LONG_BIN = 10  # characters of a bin's name


@dataclass(frozen=True)
class Plot:
    """A figure with its place: `kind` is "grid", "gain", "distance", "bins" or "ranks", or "claims" of many outputs."""

    name: str  # of its files, without an ending
    kind: Literal["grid", "gain", "distance", "bins", "ranks", "claims"]
    benchmark: str
    title: str
    figure: "Figure"


def draw_plots(results: Results) -> list[Plot]:
    """Every plot of the main measure that has something to show, by benchmark."""
    plots = [plot for benchmark in results.benchmarks for plot in _draw_benchmark(results, benchmark)]
    for plot in plots:
        settle_layout(plot.figure)
    return plots


def read_images(plots: Iterable[Plot], folder: str) -> dict[str, bytes]:
    """The SVG of each plot by its name, as csgen.plots.write_plots wrote it into a folder."""
    images = {}
    for plot in plots:
        with open_input(join(folder, f"{plot.name}.svg")) as stream:
            images[plot.name] = stream.read()
    return images


def _draw_benchmark(results: Results, benchmark: str) -> Iterator[Plot]:
    yield from _draw_grids(results, benchmark)
    yield from _draw_bins(results, benchmark)
    ranks = results.language_ranks.filter(benchmark=benchmark)
    for cell in ranks["cell"].unique(maintain_order=True):
        title = f"{benchmark}, {cell}: ranks of relevant answers by language"
        figure = plot_ranks(results, ranks.filter(cell=cell), title)
        yield Plot(file_name("ranks", benchmark, cell), "ranks", benchmark, title, figure)


def _draw_grids(results: Results, benchmark: str) -> Iterator[Plot]:
    """Maps where both sides have several languages; where one side has, one plot of all systems."""
    measure = results.measures[0]
    grids = {system: value_grid(results, benchmark, system, measure) for system in results.systems}
    highest = max((value for grid in grids.values() for value in grid.values.values()), default=0.0)
    wide = {system: grid for system, grid in grids.items() if _is_wide(grid)}
    for system, grid in wide.items():
        title = f"{system} on {benchmark}: {measure} × 100 (framed: MoIR)"
        yield Plot(file_name("grid", benchmark, system), "grid", benchmark, title, plot_values(grid, highest, title))
        gains = gain_grid(results, benchmark, system, measure)
        if gains.values:
            title = f"{system} less {results.baseline} on {benchmark}: {measure} × 100 (bold: p < .05 after Holm)"
            yield Plot(file_name("gain", benchmark, system), "gain", benchmark, title, plot_gains(gains, title))
    if not wide and any(len(grid.values) > 1 for grid in grids.values()):
        title = f"{measure} × 100 on {benchmark} by language, with 95 % intervals"
        figure = plot_languages(results, benchmark, measure, title)
        yield Plot(file_name("grid", benchmark), "grid", benchmark, title, figure)


def _is_wide(grid: Grid) -> bool:
    return min(len(grid.query_languages), len(grid.passage_languages)) > 1


def _draw_bins(results: Results, benchmark: str) -> Iterator[Plot]:
    measure = results.measures[0]
    bins = results.bins.filter(benchmark=benchmark, measure=measure)
    for kind in bins["kind"].unique(maintain_order=True):
        of_kind = bins.filter(kind=kind)
        title = f"{measure} × 100 on {benchmark} by {_KINDS.get(kind, kind)}, with 95 % intervals"
        figure = (plot_bin_rows if _needs_rows(of_kind) else plot_trends)(results, _by_setting(of_kind), title)
        yield Plot(file_name("bins", benchmark, kind), "bins", benchmark, title, figure)
    gains = bin_gains(bins.filter(kind="distance"), results.baseline)
    if gains.height:
        title = f"Gain over {results.baseline} on {benchmark} by {_KINDS['distance']}: {measure} × 100"
        figure = (plot_gain_rows if _needs_rows(gains) else plot_gain_trends)(results, _by_setting(gains), title)
        yield Plot(file_name("distance", benchmark), "distance", benchmark, title, figure)


def _needs_rows(bins: pl.DataFrame) -> bool:
    """Whether bins stand one below the other: scripts, which have no order, and names too long to stand in a line."""
    return bins["kind"][0] == "script" or max(map(len, bins["bin"])) > _LONG_BIN


def _by_setting(bins: pl.DataFrame) -> dict[str, pl.DataFrame]:
    """The bins of each setting, in order."""
    sorted_bins = bins.sort("order", maintain_order=True)
    return {setting: sorted_bins.filter(setting=setting) for setting in SETTINGS if setting in bins["setting"]}
