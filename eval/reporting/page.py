"""The page of an experiment: one HTML file that holds its style and plots and loads nothing.

Text from outside is escaped where it enters; tables and plots come ready made.
"""

import base64
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from importlib.resources import files

from eval.reporting.formats import Cell, Table
from eval.reporting.plots import Plot
from eval.reporting.tables import (
    bins_table,
    cells_table,
    comparisons_table,
    fairness_table,
    grid_table,
    inventory_table,
    overall_table,
    ranks_table,
    shares_table,
    summary_table,
)
from eval.results import Results

_MOST_OPEN_ROWS = 20  # a longer table is folded away
_WIDE_INCHES = 6.9  # a plot that is wider takes the page's width


@dataclass(frozen=True)
class Origin:
    """What made the results, beside what they say of themselves."""

    command: str
    experiment: str  # the experiment file's text
    facts: Mapping[str, str] = field(default_factory=dict)  # such as {"candidates": "BM25, top 100"}, in order


def build_page(results: Results, plots: Sequence[Plot], images: Mapping[str, bytes], origin: Origin) -> str:
    """The HTML; `images` holds the SVG of each plot by its name."""
    sections = [
        ("measured", "What was measured", _measured(results, origin)),
        ("summary", "Summary", _summary(results)),
        *(
            (f"benchmark-{k}", benchmark, _benchmark(results, benchmark, plots, images))
            for k, benchmark in enumerate(results.benchmarks)
        ),
        ("reproduce", "How to reproduce", _reproduce(origin)),
    ]
    return wrap_page(results.name, _lead(results), [(name, title, "".join(parts)) for name, title, parts in sections])


def wrap_page(title: str, lead: str, sections: Sequence[tuple[str, str, str]]) -> str:
    """A whole page: its style, and of each section the name, the title and, as HTML like the lead, the content."""
    links = "".join(f'<li><a href="#{name}">{escape(heading)}</a></li>\n' for name, heading, _ in sections)
    body = "".join(
        f'<section id="{name}">\n<h2>{escape(heading)}</h2>\n{content}</section>\n'
        for name, heading, content in sections
    )
    style = files("eval.reporting").joinpath("page.css").read_text(encoding="utf-8")
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>\n{style}</style>\n</head>\n<body>\n"
        f"<header>\n<h1>{escape(title)}</h1>\n{lead}<nav><ul>\n{links}</ul></nav>\n</header>\n"
        f"<main>\n{body}</main>\n</body>\n</html>\n"
    )


def _lead(results: Results) -> str:
    counts = {"system": len(results.systems), "benchmark": len(results.benchmarks), "cell": results.cells.height}
    line = ", ".join(f"{count:,} {noun}{'s' * (count != 1)}" for noun, count in counts.items())
    warnings = "".join(f"<li>{escape(warning)}</li>\n" for warning in results.warnings)
    box = f'<div class="warnings">\n<strong>Warnings</strong>\n<ul>\n{warnings}</ul>\n</div>\n'
    return f'<p class="lead">{line}</p>\n' + box * bool(warnings)


def _measured(results: Results, origin: Origin) -> Iterator[str]:
    seeds = results.values["num_seeds"].drop_nulls().unique().sort().to_list() or [1]
    facts = {
        "systems": ", ".join(results.systems),
        "baseline": results.baseline or "none",
        "measures": ", ".join(results.measures) + " (the first is the main one)" * (len(results.measures) > 1),
        "seeds": "up to " * (len(seeds) > 1) + str(seeds[-1]),
        **origin.facts,
    }
    rows = "".join(f"<dt>{escape(name)}</dt><dd>{escape(value)}</dd>\n" for name, value in facts.items())
    yield f"<dl>\n{rows}</dl>\n"
    yield html_table(inventory_table(results))


def _summary(results: Results) -> Iterator[str]:
    main, *others = (summary_table(results, measure) for measure in results.measures)
    yield html_table(main)
    yield from (fold(table.caption.partition(",")[0], html_table(table)) for table in others)
    yield from _show_table("Tests of the differences", overall_table(results))


def _benchmark(results: Results, benchmark: str, plots: Sequence[Plot], images: Mapping[str, bytes]) -> Iterator[str]:
    measure = results.measures[0]
    own = [plot for plot in plots if plot.benchmark == benchmark]
    grids = "".join(html_table(grid_table(results, benchmark, system, measure)) for system in results.systems)
    yield f"<h3>Languages</h3>\n{_gallery(own, images, 'grid')}"
    if any(plot.kind == "grid" for plot in own):
        yield fold("The grids in numbers", grids)
    yield from _show_table("Every cell, with intervals", cells_table(results, benchmark, measure))
    comparisons = comparisons_table(results, benchmark, measure)
    if comparisons.rows:
        yield f"<h3>Gains over {escape(results.baseline)}</h3>\n"
        if any(plot.kind == "gain" for plot in own):
            yield "<p>The darkest colour of each map is its own largest gain or loss.</p>\n"
        yield _gallery(own, images, "gain", "distance")
        yield from _show_table("Tests of every cell", comparisons)
    bins = bins_table(results, benchmark, measure)
    if bins.rows:
        yield f"<h3>Bins of queries</h3>\n{_gallery(own, images, 'bins')}"
        yield from _show_table("The bins in numbers", bins)
    fairness, ranks = fairness_table(results, benchmark), ranks_table(results, benchmark)
    if fairness.rows or ranks.rows:
        yield f"<h3>Language fairness</h3>\n{_gallery(own, images, 'ranks')}"
        yield from _show_table("Fairness by cell", fairness)
        yield from _show_table("Ranks in numbers", ranks)
        yield from _show_table("Shares in numbers", shares_table(results, benchmark))


def _reproduce(origin: Origin) -> Iterator[str]:
    yield f"<pre><code>{escape(origin.command)}</code></pre>\n"
    yield f"<p>with this experiment file:</p>\n<pre><code>{escape(origin.experiment)}</code></pre>\n"


def _show_table(title: str, table: Table) -> Iterator[str]:
    """Open if it is short, folded if it is long, nothing if it has no rows."""
    if len(table.rows) > _MOST_OPEN_ROWS:
        yield fold(f"{title} ({len(table.rows):,} rows)", html_table(table))
    elif table.rows:
        yield html_table(table)


def fold(title: str, content: str) -> str:
    """Content that is shown once the title is opened."""
    return f"<details>\n<summary>{escape(title)}</summary>\n{content}</details>\n"


def _gallery(plots: Sequence[Plot], images: Mapping[str, bytes], *kinds: str) -> str:
    shown = "".join(html_image(plot, images[plot.name]) for kind in kinds for plot in plots if plot.kind == kind)
    return f'<div class="plots">\n{shown}</div>\n' if shown else ""


def html_image(plot: Plot, svg: bytes) -> str:
    """The plot as an image of its own, so that its ids stay apart from the page's; its title is what it says."""
    data = base64.b64encode(svg).decode("ascii")
    wide = " wide" if plot.figure.get_figwidth() > _WIDE_INCHES else ""
    image = f'<img src="data:image/svg+xml;base64,{data}" alt="{escape(plot.title)}">'
    return f'<figure class="plot{wide}">\n<div class="scroll" tabindex="0">{image}</div>\n</figure>\n'


def html_table(table: Table) -> str:
    """A table with its caption above, that scrolls sideways in its own frame; a group of rows is a tbody."""
    name = "table-" + re.sub(r"\W", "-", table.name)
    classes = [
        " ".join(c for c, wanted in (("right", column.right), ("marked", mark)) if wanted)
        for column, mark in zip(table.columns, table.marked, strict=True)
    ]
    head = "".join(
        f'<th scope="col"{_class(names)}>{escape(column.name)}</th>'
        for column, names in zip(table.columns, classes, strict=True)
    )
    body = "".join(_html_row(table, row, classes) for row in range(len(table.rows)))
    return (
        f'<figure>\n<figcaption id="{name}">{escape(table.caption)}</figcaption>\n'
        f'<div class="scroll" role="region" aria-labelledby="{name}" tabindex="0">\n'
        f'<table aria-labelledby="{name}">\n<thead><tr>{head}</tr></thead>\n<tbody>\n{body}</tbody>\n'
        "</table>\n</div>\n</figure>\n"
    )


def _html_row(table: Table, row: int, classes: Sequence[str]) -> str:
    start = "</tbody>\n<tbody>\n" if table.starts_group(row) else ""
    cells = "".join(_html_cell(table, row, k, names) for k, names in enumerate(classes))
    return f"{start}<tr>{cells}</tr>\n"


def _html_cell(table: Table, row: int, column: int, names: str) -> str:
    cell: Cell = table.rows[row][column]
    text = f"<b>{escape(cell.text)}</b>" if cell.strong else escape(cell.text)
    text += f'<span class="mark">{escape(cell.mark)}</span>' if cell.mark else ""
    if column < table.num_heads:
        # Said again for who hears the table or copies it, not for who sees it.
        again = "again" if table.repeats(row, column) else ""
        return f'<th scope="row"{_class(again)}>{text}</th>'
    return f"<td{_class(names or 'text')}>{text}</td>"


def _class(names: str) -> str:
    return f' class="{names}"' if names else ""
