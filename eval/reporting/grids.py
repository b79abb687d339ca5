"""The grid of a benchmark's languages, for tables and plots: query languages by passage languages."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

import polars as pl

from csgen.errors import InputError
from csgen.languages import language_name, language_scripts
from eval.reporting.notation import SIGNIFICANT
from eval.results import Results

_SEVERAL = ("xx", "all")


@dataclass(frozen=True)
class Grid:
    """One number for each pair of a query and a passage language; pairs that were not measured are left out.

    Languages of a script stand together, so that MoIR lies on the diagonal of a square grid, with a block a script.
    """

    query_languages: tuple[str, ...]
    passage_languages: tuple[str, ...]
    values: dict[tuple[str, str], float]
    significant: frozenset[tuple[str, str]] = frozenset()  # of a grid of differences: p < .05 after Holm


def value_grid(results: Results, benchmark: str, system: str, measure: str) -> Grid:
    """A system's values on a benchmark; empty where it has none."""
    values = results.values.filter(benchmark=benchmark, system=system, measure=measure)
    cells = single_cells(results, benchmark).join(values, on=["setting", "cell"])
    return _grid(cells, "value", frozenset())


def gain_grid(results: Results, benchmark: str, system: str, measure: str) -> Grid:
    """A system's differences to the baseline on a benchmark; empty where they were not computed."""
    compared = results.comparisons.filter(benchmark=benchmark, system=system, measure=measure)
    cells = single_cells(results, benchmark).join(compared, on=["setting", "cell"])
    sure = cells.filter(pl.col("p_holm") < SIGNIFICANT).select("query_language", "passage_language")
    return _grid(cells, "difference", frozenset(sure.rows()))


def single_cells(results: Results, benchmark: str) -> pl.DataFrame:
    """`setting`, `cell`, `query_language`, `passage_language` of the cells where each side has one language."""
    languages = ["query_language", "passage_language"]
    cells = results.cells.filter(benchmark=benchmark).filter(~pl.any_horizontal(pl.col(languages).is_in(_SEVERAL)))
    return cells.unique(languages, keep="first", maintain_order=True).select("setting", "cell", *languages)


def _grid(cells: pl.DataFrame, column: str, significant: frozenset[tuple[str, str]]) -> Grid:
    known = cells.drop_nulls(column)
    order = order_by_script([*known["query_language"], *known["passage_language"]])
    queries, passages = set(known["query_language"]), set(known["passage_language"])
    return Grid(
        tuple(language for language in order if language in queries),
        tuple(language for language in order if language in passages),
        {(q, p): value for q, p, value in known.select("query_language", "passage_language", column).rows()},
        significant,
    )


def order_by_script(languages: Iterable[str]) -> list[str]:
    """Each language once: those of the commonest script first, and within a script in the order given."""
    distinct = list(dict.fromkeys(languages))
    sizes = Counter(map(script, distinct))
    scripts = sorted(sizes, key=lambda name: -sizes[name])
    return sorted(distinct, key=lambda language: scripts.index(script(language)))


def script(language: str) -> str:
    """The script that a language is first written in; a code that is not known stands for itself."""
    try:
        return language_scripts(language)[0]
    except InputError:
        return language


def label(language: str) -> str:
    """What a language is called in plots: "German (de)"; a code that is not known stands for itself."""
    try:
        return f"{language_name(language)} ({language})"
    except InputError:
        return language
