"""The tables of an experiment's results: strings as the field prints them, and the data unrounded."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

import polars as pl

from eval.reporting.formats import Cell, Column, Table, file_name
from eval.reporting.grids import value_grid
from eval.reporting.notation import (
    MARKS_EXPLAINED,
    NOTHING,
    Row,
    mark_level,
    show_difference,
    show_interval,
    show_p,
    show_quartiles,
    show_range,
    show_value,
)
from eval.results import ALL_CELLS, SETTINGS, Results

_SHARED = {"num_queries": "queries", "share_collection": "collection"}  # how shared columns are called
_FAIRNESS = {"PEER": "PEER: 100 is fair, 0 is not", "W": "W: 0 is fair, 100 is not"}  # the two run opposite ways


def make_tables(results: Results) -> list[Table]:
    """Every table that has rows: those of all benchmarks first, then by benchmark."""
    tables = [inventory_table(results), *(summary_table(results, measure) for measure in results.measures)]
    tables.append(overall_table(results))
    for benchmark in results.benchmarks:
        for measure in results.measures:
            tables += [grid_table(results, benchmark, system, measure) for system in results.systems]
            tables += [make(results, benchmark, measure) for make in (cells_table, comparisons_table, bins_table)]
        tables += [make(results, benchmark) for make in (fairness_table, ranks_table, shares_table)]
    return [table for table in tables if table.rows]


def inventory_table(results: Results) -> Table:
    """What each benchmark and setting holds: cells, languages, and how many queries and passages a cell has."""
    sides, counts = ("query_language", "passage_language"), ("num_queries", "num_passages")
    groups = _in_order(results, results.cells).group_by("benchmark", "setting", maintain_order=True)
    data = groups.agg(
        pl.len().alias("num_cells"),
        *(pl.col(side).unique(maintain_order=True).str.join(" ").alias(f"{side}s") for side in sides),
        *(pl.col(count).min().alias(f"{count}_least") for count in counts),
        *(pl.col(count).max().alias(f"{count}_most") for count in counts),
        pl.col("left_out").sum(),
    )
    rows = [
        (
            *map(Cell, (row["benchmark"], row["setting"], f"{row['num_cells']:,}")),
            *(Cell(row[f"{side}s"]) for side in sides),
            *(Cell(show_range(row[f"{count}_least"], row[f"{count}_most"])) for count in counts),
            Cell(f"{row['left_out']:,}"),
        )
        for row in data.iter_rows(named=True)
    ]
    texts, numbers = ("query languages", "passage languages"), ("queries", "passages", "left out")
    columns = (*_heads("benchmark", "setting"), Column("cells"), *_heads(*texts), *map(Column, numbers))
    caption = "Queries and passages of a cell; left out: queries without a relevant passage there, in all cells"
    return Table("inventory", caption, columns, tuple(rows), data, num_heads=2)


def summary_table(results: Results, measure: str) -> Table:
    """Systems by settings, each the mean of the setting's cells, with differences to the baseline and their marks."""
    keys = ["benchmark", "setting", "system"]
    overall = results.comparisons.filter(measure=measure, cell=ALL_CELLS).select(*keys, "difference", "p_holm")
    data = results.summary.filter(measure=measure).join(overall, on=keys, how="left", maintain_order="left")
    found: dict[Any, Row] = _mark_best(data, keys[:2], "value").rows_by_key(keys, named=True, unique=True)
    settings = [setting for setting in SETTINGS if setting in data["setting"]]
    compared = not overall.is_empty()  # not every measure needs to be

    def line(benchmark: str, system: str) -> Iterator[Cell]:
        for setting in settings:
            row = found.get((benchmark, setting, system), {})
            yield Cell(show_value(row.get("value")), strong=row.get("best", False))
            if compared:
                yield Cell(show_difference(row.get("difference")), mark_level(row.get("p_holm")))

    places = _in_order(results, data.select("benchmark", "system").unique(maintain_order=True)).rows()
    rows = tuple((Cell(benchmark), Cell(system), *line(benchmark, system)) for benchmark, system in places)
    names = [name for x in settings for name in ((x, f"Δ {x}") if compared else (x,))]
    columns = (*_heads("benchmark", "system"), *map(Column, names))
    caption = f"{measure} × 100, means of a setting's cells"
    if compared:
        caption += f"; Δ: difference to {results.baseline}; {MARKS_EXPLAINED}"
    return Table(file_name("summary", measure), caption, columns, rows, data, num_heads=2)


def grid_table(results: Results, benchmark: str, system: str, measure: str) -> Table:
    """Query languages (rows) by passage languages; MoIR on the diagonal, in bold."""
    grid = value_grid(results, benchmark, system, measure)
    rows = tuple(
        (Cell(q), *(Cell(show_value(grid.values.get((q, p))), strong=q == p) for p in grid.passage_languages))
        for q in grid.query_languages
    )
    caption = f"{measure} × 100 of {system} on {benchmark}: query languages by passage languages; MoIR in bold"
    data = pl.DataFrame(
        {"query_language": grid.query_languages}
        | {p: [grid.values.get((q, p)) for q in grid.query_languages] for p in grid.passage_languages}
    )
    columns = (*_heads("query"), *map(Column, grid.passage_languages))
    return Table(file_name("grid", benchmark, system, measure), caption, columns, rows, data)


def cells_table(results: Results, benchmark: str, measure: str) -> Table:
    """A row a cell: every system's value with its interval, and a mark where it differs from the baseline."""
    values = _in_order(results, results.values.filter(benchmark=benchmark, measure=measure))
    compared = results.comparisons.filter(benchmark=benchmark, measure=measure)
    marks = {(s, c, x): mark_level(p) for s, c, x, p in compared.select("setting", "cell", "system", "p_holm").rows()}
    caption = f"{measure} × 100 on {benchmark} with 95 % intervals, by cell"
    if marks:
        caption += f"; difference to {results.baseline}: {MARKS_EXPLAINED}"
    layout = _Layout(file_name("cells", benchmark, measure), caption, ("setting", "cell"), "num_queries", "value")
    return _by_system(results, layout, values, show_interval, marks)


def overall_table(results: Results) -> Table:
    """The comparisons over each setting as a whole, of all benchmarks and measures."""
    compared = _in_order(results, results.comparisons.filter(cell=ALL_CELLS))
    what = f"Differences to {results.baseline} × 100 over a setting's cells, query by query, and p-values"
    caption = f"{what}; {MARKS_EXPLAINED}"
    return _comparison_table("comparisons", caption, compared, ("benchmark", "setting", "system", "measure"))


def comparisons_table(results: Results, benchmark: str, measure: str) -> Table:
    """The comparisons of every cell."""
    compared = results.comparisons.filter(pl.col("cell") != ALL_CELLS, benchmark=benchmark, measure=measure)
    caption = (
        f"{measure} × 100 on {benchmark}: differences to {results.baseline} by cell, and p-values; {MARKS_EXPLAINED}"
    )
    name = file_name("comparisons", benchmark, measure)
    return _comparison_table(name, caption, _in_order(results, compared), ("setting", "cell", "system"))


def _comparison_table(name: str, caption: str, compared: pl.DataFrame, heads: tuple[str, ...]) -> Table:
    """Differences, p-values of the two tests, and the t-test's corrected over the whole family."""
    rows = tuple(
        (
            *(Cell(row[head]) for head in heads),
            Cell(show_difference(row["difference"]), mark_level(row["p_holm"])),
            Cell(f"[{show_difference(row['low'])}, {show_difference(row['high'])}]"),
            *(Cell(show_p(row[p])) for p in ("p_t", "p_randomisation", "p_bonferroni", "p_holm")),
            Cell(f"{row['num_queries']:,}"),
        )
        for row in compared.iter_rows(named=True)
    )
    names = ("Δ", "95 % interval", "t-test", "randomisation", "Bonferroni", "Holm", "queries")
    return Table(name, caption, (*_heads(*heads), *map(Column, names)), rows, compared, num_heads=len(heads))


def bins_table(results: Results, benchmark: str, measure: str) -> Table:
    """Every system's value by bins of queries: token overlap, scripts, query length, distance of the languages."""
    bins = _in_order(results, results.bins.filter(benchmark=benchmark, measure=measure).sort("kind", "order"))
    caption = f"{measure} × 100 on {benchmark} with 95 % intervals, by bins of queries"
    layout = _Layout(file_name("bins", benchmark, measure), caption, ("setting", "kind", "bin"), "num_queries", "value")
    return _by_system(results, layout, bins, show_interval)


def fairness_table(results: Results, benchmark: str) -> Table:
    """Language fairness of the rankings of each cell. None is the best: a ranking that finds nothing is fair too."""
    fairness = results.fairness.filter(benchmark=benchmark)
    families = fairness["measure"].str.extract("^([^@]*)").unique(maintain_order=True)
    ends = "; ".join(_FAIRNESS[family] for family in families if family in _FAIRNESS)
    caption = f"Language fairness × 100 on {benchmark}" + (f"; {ends}" if ends else "")
    layout = _Layout(file_name("fairness", benchmark), caption, ("cell", "measure"), "num_queries")
    return _by_system(results, layout, fairness, lambda row: show_value(row["value"]))


def ranks_table(results: Results, benchmark: str) -> Table:
    """Ranks of the relevant answers by language: the median and the quartiles around it."""
    caption = f"Ranks of relevant answers by their language on {benchmark}: median [quartiles]"
    layout = _Layout(file_name("ranks", benchmark), caption, ("cell", "language"))
    return _by_system(results, layout, results.language_ranks.filter(benchmark=benchmark), show_quartiles)


def shares_table(results: Results, benchmark: str) -> Table:
    """Each language's share of the top ranks, beside its share of the collection."""
    caption = f"Share of the top ranks by language on {benchmark} (%), beside the language's share of the collection"
    layout = _Layout(file_name("shares", benchmark), caption, ("cell", "language"), "share_collection")
    ranks = results.language_ranks.filter(benchmark=benchmark)
    return _by_system(results, layout, ranks, lambda row: show_value(row["share_top"]))


class _Layout(NamedTuple):
    """A table with a column a system: what names its rows, and a column that all systems share."""

    name: str
    caption: str
    heads: tuple[str, ...]
    shared: str = ""
    best: str = ""  # the column whose highest value in a row is strong; none is by itself


def _by_system(
    results: Results,
    layout: _Layout,
    frame: pl.DataFrame,
    show: Callable[[Row], str],
    marks: Mapping[Any, str] = MappingProxyType({}),
) -> Table:
    """A row for each distinct heads, in the frame's order."""
    judged = _mark_best(frame, layout.heads, layout.best) if layout.best else frame.with_columns(best=False)
    found: dict[Any, Row] = judged.rows_by_key([*layout.heads, "system"], named=True, unique=True)
    systems = [system for system in results.systems if system in frame["system"]]
    rows = []
    for key in frame.select(layout.heads).unique(maintain_order=True).rows():
        known = {system: row for system in systems if (row := found.get((*key, system)))}
        shared = [_share(list(known.values()), layout.shared)] if layout.shared else []
        cells = [
            Cell(show(known[x]), marks.get((*key, x), ""), known[x]["best"]) if x in known else Cell(NOTHING)
            for x in systems
        ]
        rows.append((*map(Cell, key), *shared, *cells))
    names = [*([_SHARED[layout.shared]] if layout.shared else []), *systems]
    columns = (*_heads(*layout.heads), *map(Column, names))
    return Table(layout.name, layout.caption, columns, tuple(rows), frame, len(layout.heads))


def _share(rows: Sequence[Row], column: str) -> Cell:
    """The largest number that the systems name."""
    value = max((row[column] for row in rows if row[column] is not None), default=None)
    return Cell(f"{value:,}" if isinstance(value, int) else show_value(value))


def _mark_best(frame: pl.DataFrame, heads: Sequence[str], column: str) -> pl.DataFrame:
    """With `best`: whether a value is the highest of several systems with the same heads; ties are all best."""
    value = pl.col(column)
    best = (value == value.max().over(heads)) & (value.count().over(heads) > 1)
    return frame.with_columns(best=best.fill_null(False))


def _in_order(results: Results, frame: pl.DataFrame) -> pl.DataFrame:
    """Sorted by benchmark and setting as far as the frame has them, and by nothing else."""
    orders = {"benchmark": results.benchmarks, "setting": SETTINGS}
    places = [
        pl.col(column).replace_strict(names, range(len(names)), default=len(names), return_dtype=pl.Int64)
        for column, names in orders.items()
        if column in frame.columns and names
    ]
    return frame.sort(places, maintain_order=True) if places else frame


def _heads(*names: str) -> tuple[Column, ...]:
    """Columns of text, which stand to the left."""
    return tuple(Column(name, right=False) for name in names)
