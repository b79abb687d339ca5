"""How an experiment's plots look: one style, and for each system its colour, marker and line. Needs matplotlib.

Systems differ in marker and line as well as in colour, so that print in grey reads alike.
"""

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import polars as pl

from csgen.errors import InputError
from eval.results import Results

if TYPE_CHECKING:
    from matplotlib.axis import Axis
    from matplotlib.figure import Figure

# From Okabe and Ito's palette, which colour-blind people tell apart: https://jfly.uni-koeln.de/color/
_COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#D55E00", "#56B4E9")
_BASELINE_COLOUR = "#4D4D4D"
_MARKERS = "os^DvPX*"
_LINES: tuple[Any, ...] = ("-", "--", "-.", (0, (1, 1)), (0, (6, 1, 1, 1, 1, 1)))
# A salt in place of random ids, so that equal figures give equal bytes.
STYLE = {"svg.hashsalt": "csgen", "font.size": 9, "axes.spines.top": False, "axes.spines.right": False}
SOFT = "#555555"  # what stands back: names of axes, notes


class Look(NamedTuple):
    """How one system is drawn."""

    colour: str
    fill: str  # of its markers
    marker: str
    line: Any  # a line style of matplotlib

    def marks(self) -> dict[str, Any]:
        """Options of matplotlib for its markers."""
        return {"color": self.colour, "markerfacecolor": self.fill, "marker": self.marker, "markersize": 4}


def new_figure(width: float, height: float) -> "Figure":
    """An empty figure of so many inches, whose parts make room for each other."""
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise InputError("plots need matplotlib: pip install 'csgen[eval]'") from error
    return Figure(figsize=(width, height), layout="constrained")


def system_looks(results: Results) -> dict[str, Look]:
    """How each system is drawn, in every plot alike: the baseline in grey, every other marker hollow."""
    return list_looks(results.systems, results.baseline)


def list_looks(systems: Sequence[str], baseline: str = "") -> dict[str, Look]:
    """The same for any names."""
    coloured = [system for system in systems if system != baseline]
    looks = {}
    for k, system in enumerate(systems):
        own = system in coloured
        colour = _COLOURS[coloured.index(system) % len(_COLOURS)] if own else _BASELINE_COLOUR
        fill = "white" if k % 2 else colour
        looks[system] = Look(colour, fill, _MARKERS[k % len(_MARKERS)], _LINES[k % len(_LINES)])
    return looks


def title_inches(title: str) -> float:
    """The width that a title takes, about."""
    return len(title) * 0.085


def interval_lengths(rows: pl.DataFrame) -> list[pl.Series]:
    """How far `low` and `high` lie from `value`, as matplotlib takes it; nothing where they are missing."""
    value = rows["value"]
    return [(value - rows["low"]).fill_null(0).clip(0), (rows["high"] - value).fill_null(0).clip(0)]


def show_signs(axis: "Axis") -> None:
    """Give the numbers of an axis of differences their signs."""
    axis.set_major_formatter(lambda value, _: f"{value:+g}".replace("-", "−") if value else "0")


def settle_layout(figure: "Figure") -> None:
    """Make room for all parts once, in place of once for each file that is written: a third less time."""
    from matplotlib import rc_context

    with rc_context(STYLE):
        figure.draw_without_rendering()
    figure.set_layout_engine("none")


def legend_inches(width: float, looks: Mapping[str, Look]) -> float:
    """The height that the legend of a figure of that width takes, without the title."""
    return math.ceil(len(looks) / _legend_columns(width, looks)) * 0.17


def _legend_columns(width: float, looks: Mapping[str, Look]) -> int:
    widest = max(map(len, looks), default=1) * 0.06 + 0.55  # inches of a character, of the mark and the gap
    return max(1, min(len(looks), int(width / widest)))


def add_legend(figure: "Figure", title: str, looks: Mapping[str, Look]) -> None:
    """The title above everything and under it, in as few lines as they fit, the systems' marks."""
    from matplotlib.lines import Line2D

    handles = [Line2D([], [], linestyle=look.line, **look.marks(), label=name) for name, look in looks.items()]
    columns = _legend_columns(figure.get_figwidth(), looks)
    figure.legend(
        handles=handles, title=title, loc="outside upper left", ncols=columns, frameon=False, fontsize=8,
        title_fontproperties={"size": 9, "weight": "bold"}, alignment="left", borderaxespad=0.1,
    )  # fmt: skip
