"""Plots for people and papers: realised ratios of a switching job; coverage, origins and ambiguity of a lexicon.

Needs matplotlib (the extra `plot`), without pyplot: nothing here depends on a display or on what was plotted before.
"""

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import polars as pl

from csgen.errors import InputError
from csgen.files import join, replace_file
from csgen.languages import language_name
from csgen.lexicon.coverage import ALL, BANDS
from csgen.manifest import Manifest
from csgen.report import SideSummary, summarise_sides
from csgen.switching.policy import SIDES, Side

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# From Okabe and Ito's palette, which colour-blind people tell apart: https://jfly.uni-koeln.de/color/
_SIDE_COLOURS: dict[Side, str] = {"query": "#0072B2", "passage": "#E69F00"}
_BAR_INCHES, _PART_INCHES, _WIDTH_INCHES = 0.19, 0.09, 5.5  # a bar, the space between groups, about a text's width
_PNG_DPI = 150
_KIND_COLOURS = ["#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#F0E442", "#999999"]  # the same
_BIN_COLOURS = ["#C9D7E8", "#8FB0D3", "#4C7FB5", "#123C6B"]  # the more translations, the darker
_LEGEND_COLUMNS = 4
_KEYS = ("source_language", "target_language", "band")
# A salt in place of random ids, so that equal figures give equal bytes.
_STYLE = {"svg.hashsalt": "csgen", "font.size": 9, "axes.spines.top": False, "axes.spines.right": False}

Bars = dict[Side, tuple[float, float]]  # one group: what was realised and what was asked for, as ratios


def _new_figure(width: float, height: float) -> "Figure":
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise InputError("plots need matplotlib: pip install 'csgen[plot]'") from error
    return Figure(figsize=(width, height), layout="constrained")


def plot_realised_ratios(manifest: Manifest) -> "Figure":
    """Share of tokens switched, by language (the largest first) and side, and in all.

    A black stroke on each bar is what the probability (or the target ratio) and the languages' weights ask for; what
    the bar lacks of it are words that the lexicon does not have or that are protected, what it has more came by
    drawing again. A side that stays as it is has no bars.
    """
    figure = _new_figure(1, 1)  # sized below
    from matplotlib import rc_context
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    summaries = summarise_sides(manifest)
    sides = [side for side in SIDES if summaries[side].languages]
    languages = _by_ratio(summaries)
    in_all: list[Bars] = [{s: (summaries[s].realised_ratio, summaries[s].asked_ratio) for s in sides}]
    by_language: list[Bars] = [
        {s: (one.switched_ratio, one.asked_ratio) for s in sides if (one := summaries[s].languages.get(language))}
        for language in languages
    ]
    heights = [_height(in_all), _height(by_language)]
    figure.set_size_inches(_WIDTH_INCHES, sum(heights) + 1.35)
    with rc_context(_STYLE):
        upper, lower = figure.subplots(2, height_ratios=heights)
        _draw_bars(upper, in_all, ["all"])
        _draw_bars(lower, by_language, [language_name(language) for language in languages])
        lower.set_xlabel("tokens switched (% of a side's tokens)")
        handles: list[Any] = [Patch(color=_SIDE_COLOURS[s], label=s) for s in sides]
        handles += [Line2D([], [], color="black", label="asked for")] if sides else []
        handles += [Patch(fill=False, linewidth=0, label=f"{s}: not switched") for s in SIDES if s not in sides]
        figure.legend(handles=handles, loc="outside upper center", ncols=len(handles), frameon=False)
    return figure


def _by_ratio(summaries: Mapping[Side, SideSummary]) -> list[str]:
    """All target languages, the most switched first."""
    languages = dict.fromkeys(x for summary in summaries.values() for x in summary.languages)

    def ratio(language: str) -> float:
        found = [s.languages[language].switched_ratio for s in summaries.values() if language in s.languages]
        return sum(found) / len(found)

    return sorted(languages, key=ratio, reverse=True)


def _height(groups: list[Bars]) -> float:
    """The inches that groups of bars take."""
    return max(len(groups), 1) * (max(map(len, groups), default=1) * _BAR_INCHES + _PART_INCHES)


def _draw_bars(axes: "Axes", groups: list[Bars], names: list[str]) -> None:
    """A group of horizontal bars for each name, from the top."""
    highest = max((value for group in groups for pair in group.values() for value in pair), default=0.0)
    limit = 100 * max(highest, 0.01) * 1.14  # room for the numbers behind the bars
    thickness = _BAR_INCHES * max(len(groups), 1) / _height(groups)  # a group is 1 high
    for row, group in enumerate(groups):
        top = row - thickness * (len(group) - 1) / 2
        for k, (side, (realised, asked)) in enumerate(group.items()):
            y = top + k * thickness
            axes.barh(y, 100 * realised, thickness * 0.92, color=_SIDE_COLOURS[side])
            axes.vlines(100 * asked, y - thickness * 0.46, y + thickness * 0.46, color="black", linewidth=1.4)
            end = 100 * max(realised, asked if asked - realised < 0.09 * limit / 100 else 0)
            axes.text(end + 0.012 * limit, y, f"{100 * realised:.1f}", va="center", fontsize=7.5)
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.45, -0.55)
    axes.set_xlim(0, limit)
    axes.tick_params(axis="y", length=0)


def plot_coverage(coverage: pl.DataFrame) -> "Figure":
    """Coverage by band of frequency ranks and language, of distinct words and of running words, the best first.

    `coverage` is what csgen.lexicon.coverage.coverage gives.
    """
    bands = [band for band in (ALL, *BANDS) if band in coverage["band"]]
    overall = coverage.filter(pl.col("band") == ALL).sort("running_ratio", descending=True, maintain_order=True)
    pairs = list(overall.select("source_language", "target_language").iter_rows())
    sources = {source for source, _ in pairs}
    names = [language_name(t) if len(sources) == 1 else f"{language_name(s)} to {language_name(t)}" for s, t in pairs]
    figure = _new_figure(_WIDTH_INCHES, 0.26 * len(pairs) + 1.25)
    from matplotlib import rc_context

    with rc_context(_STYLE):
        panels = figure.subplots(1, 2, sharey=True)
        for axes, (column, title) in zip(
            panels, (("distinct_ratio", "distinct words"), ("running_ratio", "running words")), strict=True
        ):
            values = {tuple(key): value for *key, value in coverage.select(*_KEYS, column).iter_rows()}
            cells = [[100 * values.get((*pair, band), float("nan")) for band in bands] for pair in pairs]
            image = _draw_cells(axes, cells, bands)
            axes.set_title(title, fontsize=9)
        panels[0].set_yticks(range(len(names)), names)
        figure.supxlabel("frequency rank of the word in the corpus", fontsize=9)
        bar = figure.colorbar(image, ax=panels, label="covered (%)", fraction=0.04, pad=0.02)
        bar.outline.set_visible(False)
    return figure


def _draw_cells(axes: "Axes", cells: list[list[float]], bands: list[str]) -> Any:
    """A cell for each language and band, in colour and with its number; a missing one stays empty."""
    image = axes.imshow(cells, cmap="cividis", vmin=0, vmax=100, aspect="auto")
    for row, values in enumerate(cells):
        for column, value in enumerate(values):
            if not math.isnan(value):
                ink = "black" if value > 55 else "white"
                axes.text(column, row, f"{value:.0f}", ha="center", va="center", color=ink, fontsize=8)
    axes.set_xticks(range(len(bands)), [band.replace("-", "–\n") for band in bands], fontsize=8)
    axes.tick_params(length=0)
    axes.axvline(0.5, color="white", linewidth=3)  # "all" stands apart from the bands
    for spine in axes.spines.values():
        spine.set_visible(False)
    return image


def plot_origins(origins: pl.DataFrame) -> "Figure":
    """Entries by pair of languages, stacked by the kind of their origin; `origins` is LexiconStats.origins.

    An entry of several origins counts for each of them.
    """
    kinds = origins.with_columns(kind=pl.col("origin").str.extract("^([^:]*)"))
    counts = kinds.group_by("source_language", "target_language", "kind").agg(pl.col("entries").sum())
    order = counts.group_by("kind").agg(pl.col("entries").sum()).sort("entries", "kind", descending=[True, False])
    names = _name_pairs(counts)
    shares = {
        kind: [entries for (*_, entries) in _fill(counts.filter(kind=kind).drop("kind"), names)]
        for kind in order["kind"]
    }
    return _stack_bars(list(names.values()), shares, _KIND_COLOURS, "entries")


def plot_ambiguity(ambiguity: pl.DataFrame) -> "Figure":
    """Share of words with one, two and more translations, by pair of languages; takes LexiconStats.ambiguity."""
    names = _name_pairs(ambiguity)
    totals = ambiguity.select(*_KEYS[:2], share=pl.col("words") / pl.col("words").sum().over(_KEYS[:2]))
    shared = ambiguity.with_columns(totals["share"] * 100)
    bins = ambiguity["translations"].unique(maintain_order=True).sort()
    shares = {
        f"{name}": [share for (*_, share) in _fill(shared.filter(translations=name).select(*_KEYS[:2], "share"), names)]
        for name in bins
    }
    return _stack_bars(list(names.values()), shares, _BIN_COLOURS, "words by number of translations (%)")


def _name_pairs(frame: pl.DataFrame) -> dict[tuple[str, str], str]:
    """The pairs of languages in a frame, in order, with what they are called."""
    pairs = [(s, t) for s, t in frame.select(_KEYS[:2]).unique().sort(_KEYS[:2]).iter_rows()]
    several = len({source for source, _ in pairs}) > 1
    return {(s, t): f"{language_name(s)} to {language_name(t)}" if several else language_name(t) for s, t in pairs}


def _fill(counts: pl.DataFrame, pairs: Mapping[tuple[str, str], str]) -> list[tuple[str, str, float]]:
    """A count for each pair of languages, in their order; 0 where there is none."""
    found = {(s, t): count for s, t, count in counts.iter_rows()}
    return [(s, t, found.get((s, t), 0)) for s, t in pairs]


def _stack_bars(names: list[str], parts: Mapping[str, list[float]], colours: list[str], unit: str) -> "Figure":
    """A horizontal bar for each name, of parts in colours, with a legend above."""
    rows = math.ceil(len(parts) / _LEGEND_COLUMNS)
    figure = _new_figure(_WIDTH_INCHES, 0.26 * len(names) + 0.2 * rows + 0.75)
    from matplotlib import rc_context

    with rc_context(_STYLE):
        axes = figure.subplots()
        left = [0.0] * len(names)
        for k, (part, values) in enumerate(parts.items()):
            axes.barh(range(len(names)), values, 0.72, left=left, color=colours[k % len(colours)], label=part)
            left = [a + b for a, b in zip(left, values, strict=True)]
        axes.set_yticks(range(len(names)), names)
        axes.set_ylim(len(names) - 0.4, -0.6)
        axes.set_xlim(0, max(left, default=1) * 1.01)
        axes.set_xlabel(unit)
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
        axes.tick_params(axis="y", length=0)
        columns = min(len(parts), _LEGEND_COLUMNS)
        figure.legend(loc="outside upper center", ncols=columns, frameon=False, handlelength=1.2)
    return figure


def write_plots(figures: Mapping[str, "Figure"], folder: str) -> list[str]:
    """Write each figure as NAME.png (150 dpi) and NAME.svg into `folder`, which may be a URI; returns the paths.

    Equal figures give equal bytes with the same version of matplotlib.
    """
    paths = []
    for name, figure in figures.items():
        for ending, options in (("png", {"dpi": _PNG_DPI}), ("svg", {"metadata": {"Date": None}})):
            path = join(folder, f"{name}.{ending}")
            _write(figure, path, ending, options)
            paths.append(path)
    return paths


def _write(figure: "Figure", path: str, ending: str, options: dict[str, Any]) -> None:
    from matplotlib import rc_context

    with rc_context(_STYLE), replace_file(path) as stream:
        figure.savefig(stream, format=ending, **options)
