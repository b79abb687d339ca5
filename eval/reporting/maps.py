"""Heat maps of language grids: a system's values, and its gains over the baseline. Needs matplotlib.

Every cell holds its number, with the sign of a gain: what colour says is never said by colour alone.
"""

from itertools import pairwise
from typing import TYPE_CHECKING, Any

from eval.reporting.grids import Grid, label, script
from eval.reporting.notation import show_difference, show_value
from eval.reporting.style import SOFT, STYLE, new_figure, title_inches

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_MANY = 16  # languages; with more, cells and numbers are smaller
_SIDE_INCHES, _TOP_INCHES = 0.35, 0.85
_CHARACTER_INCHES = 0.068  # of a language's name, on average


def plot_values(grid: Grid, highest: float, title: str) -> "Figure":
    """Query languages (rows) by passage languages: the higher, the darker, from 0 to `highest`.

    Maps to be compared must share `highest`, or a weak system looks like a strong one.
    """
    return _plot_map(grid, title, {"cmap": "Blues", "vmin": 0, "vmax": 1.4 * (highest or 1)})


def plot_gains(grid: Grid, title: str) -> "Figure":
    """Differences to the baseline: gains blue, losses red; bold where p < .05 after Holm.

    The larger, the darker, up to the grid's own largest: small gains would be lost beside those of an oracle.
    """
    largest = max(map(abs, grid.values.values()), default=0) or 0.01
    return _plot_map(grid, title, {"cmap": "RdBu", "vmin": -1.5 * largest, "vmax": 1.5 * largest})


def _plot_map(grid: Grid, title: str, colours: dict[str, Any]) -> "Figure":
    rows, columns = grid.query_languages, grid.passage_languages
    many = max(len(rows), len(columns)) > _MANY
    width, height, size = (0.36, 0.22, 6.3) if many else (0.44, 0.27, 7.5)
    names = max(map(len, map(label, rows)), default=0) * _CHARACTER_INCHES
    inches = (names + len(columns) * width + _SIDE_INCHES, len(rows) * height + _TOP_INCHES)
    figure = new_figure(max(inches[0], title_inches(title)), inches[1])
    from matplotlib import rc_context

    with rc_context(STYLE):
        axes = figure.subplots()
        values = [[grid.values.get((q, p), float("nan")) for p in columns] for q in rows]
        image = axes.imshow(values, aspect=height / width, **colours)
        _divide_scripts(axes, grid)
        _frame_diagonal(axes, grid)
        _write_numbers(axes, grid, image, size, colours["vmin"] < 0)
        axes.xaxis.tick_top()
        axes.set_xticks(range(len(columns)), columns)
        axes.set_yticks(range(len(rows)), [label(language) for language in rows])
        axes.tick_params(length=0, labelsize=8)
        axes.set_xlabel("passage language", fontsize=8, labelpad=5, color=SOFT)
        axes.xaxis.set_label_position("top")
        axes.set_ylabel("query language", fontsize=8, labelpad=5, color=SOFT)
        figure.suptitle(title, fontsize=9, fontweight="bold", x=0.01, ha="left")
        for spine in axes.spines.values():
            spine.set_visible(False)
    return figure


def _write_numbers(axes: "Axes", grid: Grid, image: Any, size: float, signed: bool) -> None:
    for row, query in enumerate(grid.query_languages):
        for column, passage in enumerate(grid.passage_languages):
            value = grid.values.get((query, passage))
            if value is None:
                axes.text(column, row, "–", ha="center", va="center", color=SOFT, fontsize=size)
                continue
            red, green, blue, _ = image.cmap(image.norm(value))
            ink = "black" if 0.3 * red + 0.59 * green + 0.11 * blue > 0.47 else "white"
            weight = "bold" if (query, passage) in grid.significant else "normal"
            text = show_difference(value) if signed else show_value(value)
            options: dict[str, Any] = {"color": ink, "fontsize": size, "fontweight": weight}
            # Inside a cell by its size: the layout need not measure it.
            axes.text(column, row, text, ha="center", va="center", **options).set_in_layout(False)


def _frame_diagonal(axes: "Axes", grid: Grid) -> None:
    """A thin frame around the cells of MoIR, a little inside them."""
    from matplotlib.patches import Rectangle

    for row, query in enumerate(grid.query_languages):
        if (query, query) in grid.values:
            corner = (grid.passage_languages.index(query) - 0.44, row - 0.42)
            axes.add_patch(Rectangle(corner, 0.88, 0.84, fill=False, color="black", linewidth=0.7))


def _divide_scripts(axes: "Axes", grid: Grid) -> None:
    """White lines between languages of different scripts."""
    for draw, languages in ((axes.axhline, grid.query_languages), (axes.axvline, grid.passage_languages)):
        for k, (one, other) in enumerate(pairwise(languages)):
            if script(one) != script(other):
                draw(k + 0.5, color="white", linewidth=2.5)
