"""The report of an experiment: its tables, plots and page in a folder, and what the terminal shows."""

from collections.abc import Iterable

from rich.console import Group, RenderableType
from rich.text import Text

from csgen.files import join, replace_file
from eval.reporting.formats import Table, to_csv, to_latex, to_markdown, to_terminal
from eval.reporting.page import Origin, build_page
from eval.reporting.plots import draw_plots, read_images
from eval.reporting.tables import grid_table, make_tables, summary_table
from eval.results import Results

PAGE_NAME = "report.html"
_WIDEST = 12  # languages of a grid in the terminal


def write_report(results: Results, origin: Origin, folder: str) -> list[str]:
    """Write `tables/`, `plots/` and last `report.html` into a folder, which may be a URI; returns the paths."""
    from csgen.plots import write_plots  # brings numba along, which takes its time

    paths = write_tables(make_tables(results), join(folder, "tables"))
    plots = draw_plots(results)
    paths += write_plots({plot.name: plot.figure for plot in plots}, join(folder, "plots"))
    page = build_page(results, plots, read_images(plots, join(folder, "plots")), origin)
    paths.append(join(folder, PAGE_NAME))
    with replace_file(paths[-1]) as stream:
        stream.write(page.encode())
    return paths


def write_tables(tables: Iterable[Table], folder: str) -> list[str]:
    """Write all tables as `tables.md`, and each as NAME.tex and NAME.csv, into a folder, which may be a URI."""
    known = list(tables)
    texts = {"tables.md": "\n".join(map(to_markdown, known))}
    for table in known:
        texts |= {f"{table.name}.tex": to_latex(table), f"{table.name}.csv": to_csv(table)}
    paths = [join(folder, name) for name in texts]
    for path, text in zip(paths, texts.values(), strict=True):
        with replace_file(path) as stream:
            stream.write(text.encode())
    return paths


def terminal_view(results: Results) -> RenderableType:
    """What `csgen evaluate` prints: the summary of the main measure, one grid if it is small, and the warnings.

    The grid is the first benchmark's with at most 12 x 12 languages, of the first system beside the baseline.
    """
    measure = results.measures[0]
    parts: list[RenderableType] = [to_terminal(summary_table(results, measure))]
    system = next(iter(results.others or results.systems))
    grids = (grid_table(results, benchmark, system, measure) for benchmark in results.benchmarks)
    small = (grid for grid in grids if 1 < len(grid.rows) <= _WIDEST and len(grid.columns) <= _WIDEST + 1)
    parts += [to_terminal(grid) for grid in [*small][:1]]
    parts += [Text(f"warning: {warning}", "yellow") for warning in results.warnings]
    return Group(*parts)
