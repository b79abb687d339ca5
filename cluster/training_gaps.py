"""Weights by language from the gaps that a report of `csgen evaluate` shows: what is weak in CLIR comes more often.

Knows results and options; nothing of how weights are drawn by.
"""

import logging
from collections.abc import Mapping
from dataclasses import replace

import polars as pl

from cluster.training.schedules import weigh_gaps
from cluster.training_options import Gaps, Place, TrainingOptions
from csgen.errors import InputError
from csgen.files import join
from csgen.sources.pairs import BATCH_ROWS, LANGUAGE_COLUMNS, MAX_ROWS, describe_input, find_files, read_shard
from csgen.sources.parquet import read_rows
from csgen.sources.rows import PAIR_KINDS, refuse
from csgen.switching.policy import SIDES
from eval.results import RESULTS_NAME, Results

log = logging.getLogger(__name__)

Weights = dict[str, float]


def find_report(gaps: str) -> str:
    """The path of the results, given it or its folder."""
    return gaps if gaps.endswith(RESULTS_NAME) else join(gaps, RESULTS_NAME)


def weigh_by_gaps(options: TrainingOptions) -> TrainingOptions:
    """The options with weights of the policy's languages and of the pairs' by --gaps; weights that are given win.

    A policy's language has the mean figure of the CLIR cells that it takes part in, pairs have that of their own cells.
    What the report lacks weighs 1.
    """
    if not options.gaps.gaps:
        return options
    gaps, cells = read_cells(options.gaps)
    policy = options.switching.to_policy(options.recipe.seed)
    drawn = sorted({name for side in SIDES for name in policy.languages_of(side)}) if policy else []
    languages = _weigh({name: cells.filter(pl.any_horizontal(pl.col(*LANGUAGE_COLUMNS) == name)) for name in drawn})
    pairs = find_languages(options.place, options.switching.source_language)
    examples = _weigh({f"{q}-{p}": cells.filter(query_language=q, passage_language=p) for q, p in pairs if q != p})
    if not languages and not examples:
        known = ", ".join(sorted({*cells["query_language"], *cells["passage_language"]}))
        raise InputError(
            f"--gaps {options.gaps.gaps}: neither --languages nor pairs of two languages are among its CLIR cells; "
            f"its languages are {known}"
        )
    log.info("weights by %s of %s in CLIR: %s", gaps.gaps_measure, gaps.gaps_system, _show(languages | examples))
    switching, recipe = options.switching, options.recipe
    if languages:
        switching = switching.model_copy(update={"language_weights": languages | switching.language_weights})
    recipe = recipe.model_copy(update={"example_weights": examples | recipe.example_weights})
    return replace(options, switching=switching, recipe=recipe, gaps=gaps)


def read_cells(gaps: Gaps) -> tuple[Gaps, pl.DataFrame]:
    """System and measure named in full, and `query_language, passage_language, value` of that system's CLIR cells."""
    path = find_report(gaps.gaps)
    results = Results.read(path.removesuffix(RESULTS_NAME))
    if not gaps.gaps_system and len(results.systems) > 1:
        raise InputError(f"{path}: holds several systems; give --gaps-system, one of {', '.join(results.systems)}")
    system, measure = gaps.gaps_system or results.systems[0], gaps.gaps_measure or results.measures[0]
    for option, given, known in (("system", system, results.systems), ("measure", measure, results.measures)):
        if given not in known:
            raise InputError(f"--gaps-{option} {given}: {path} has none such; it has {', '.join(known)}")
    cells = (
        results.values.filter(setting="CLIR", system=system, measure=measure)
        .join(results.cells, on=["benchmark", "setting", "cell"])
        .select(*LANGUAGE_COLUMNS, "value")
        .drop_nulls()
    )
    if cells.is_empty():
        raise InputError(f"{path}: no CLIR cell has {measure} of {system}; run csgen evaluate with the setting clir")
    return gaps.model_copy(update={"gaps_system": system, "gaps_measure": measure}), cells


def find_languages(place: Place, source_language: str) -> list[tuple[str, str]]:
    """The languages of query and passage that pairs have, sorted; none where the pairs do not say.

    Of Parquet the two columns alone are read; text is read as a whole.
    """
    found = describe_input(place.pairs, place.split, source_language)
    if not {*LANGUAGE_COLUMNS} <= {*found.columns}:
        return []
    if "collection" in found.formats:
        return [(source_language, source_language)]
    kinds = {name: PAIR_KINDS[name] for name in LANGUAGE_COLUMNS}
    languages: set[tuple[str, str]] = set()
    for file in find_files(place.pairs)[0]:
        if file.format == "parquet":
            batches = read_rows(file.path, range(MAX_ROWS), kinds, BATCH_ROWS, refuse)
        else:
            batches = read_shard(file, BATCH_ROWS, refuse)
        for batch in batches:
            languages |= {*pl.DataFrame(batch.select(LANGUAGE_COLUMNS)).unique().iter_rows()}
    return sorted(languages)


def _weigh(cells: Mapping[str, pl.DataFrame]) -> Weights:
    """The weight of each name by the mean of its cells; those without one, which weigh 1, are told."""
    if lacking := [name for name, own in cells.items() if own.is_empty()]:
        log.info("no CLIR figures of %s: weight 1", ", ".join(lacking))
    means = {name: own["value"].mean() for name, own in cells.items() if not own.is_empty()}
    return {name: round(weight, 4) for name, weight in weigh_gaps(means).items()}  # type: ignore[arg-type]


def _show(weights: Weights) -> str:
    return ", ".join(f"{name}={weight:g}" for name, weight in weights.items())
