"""From the measures of all units to the results: means with intervals, comparisons, bins and language fairness.

Every mean over several cells, seeds or bins is first brought to one value a query, so that intervals and tests count
queries, which are independent, and not rows, which are not. Knows no run and no model.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
import polars.selectors as cs
from numpy.typing import NDArray

from csgen.lexicon.ways import has_way
from csgen.manifest import Manifest
from eval.benchmark import Reading
from eval.experiment import Experiment, TranslatedBm25Spec
from eval.measuring.bins import bin_queries
from eval.measuring.significance import (
    ENOUGH_QUERIES,
    bonferroni,
    bootstrap_interval,
    compare_seeds,
    holm,
    minimum_sample_warning,
    randomisation,
)
from eval.results import ALL_CELLS, SCHEMAS, Results, empty_frame
from eval.units import Measured, Unit
from eval.workshop import Workshop

Floats = NDArray[np.float64]
Key = tuple[object, ...]  # of a group: its benchmark, setting, system, ...

_PLACE = ["benchmark", "setting"]
_BIN = ["kind", "bin", "order"]
_DIGITS = 12  # of figures: the last ones depend on how many columns a matrix product has


def analyse(workshop: Workshop, units: Sequence[Unit]) -> Results:
    """The results of an experiment whose units are all measured."""
    experiment = workshop.experiment
    measured = {unit: workshop.store.read_values(unit) for unit in units}
    rows = collect_rows(measured, experiment.measures)
    readings = [workshop.benchmarks[name].read(cell) for name, cells in workshop.cells.items() for cell in cells]
    labels = tuple(dict.fromkeys(unit.label for unit in units))
    cells = describe_cells(readings)
    values = average(rows, [*_PLACE, "cell", "system"], experiment)
    comparisons = compare(rows, experiment, labels) if experiment.baseline else empty_frame("comparisons")
    bins = list_bins(readings, experiment.seen_languages)
    frames = {
        "cells": cells,
        "values": values.drop("num_cells"),
        "summary": average(rows, [*_PLACE, "system"], experiment).drop("num_seeds"),
        "comparisons": comparisons,
        "bins": average_bins(rows, bins, experiment),
        "fairness": average_fairness(measured),
        "language_ranks": list_language_ranks(measured),
    }
    return Results(
        name=experiment.name,
        measures=experiment.measures,
        systems=labels,
        baseline=experiment.baseline,
        **{name: frame.with_columns(cs.float().round_sig_figs(_DIGITS)) for name, frame in frames.items()},
        warnings=tuple(list_warnings(cells, values, experiment)),
    )


def collect_rows(measured: dict[Unit, Measured], measures: Sequence[str]) -> pl.DataFrame:
    """`benchmark, setting, cell, system, seed, query_id` and the measures: a row for each unit and query."""
    parts = [
        one.values.select(
            pl.lit(unit.benchmark).alias("benchmark"),
            pl.lit(str(unit.cell.setting)).alias("setting"),
            pl.lit(unit.cell.name).alias("cell"),
            pl.lit(unit.label).alias("system"),
            pl.lit(unit.seed, pl.Int64).alias("seed"),
            "query_id",
            *measures,
        )
        for unit, one in measured.items()
    ]
    return pl.concat(parts)


def describe_cells(readings: Sequence[Reading]) -> pl.DataFrame:
    """Languages and sizes of each cell."""
    described = [
        {
            "benchmark": one.benchmark.name,
            "setting": one.cell.setting,
            "cell": one.cell.name,
            "query_language": one.cell.query_language,
            "passage_language": one.cell.passage_language,
            "num_queries": len(one.queries),
            "num_passages": len(one.passages),
            "left_out": one.left_out,
        }
        for one in readings
    ]
    return pl.DataFrame(described, SCHEMAS["cells"])


def spread(rows: pl.DataFrame, by: list[str], columns: Sequence[str]) -> pl.DataFrame:
    """One value a query in each group of `by`, whose plain mean is the mean of the group's cells; sorted by query.

    The mean T of C cells, each the mean m_c of its n_c rows (queries and seeds), is linearised: query q of N gets

        x_q = T + N * sum over its rows of (v - m_c) / (C n_c)

    so that the mean of x is T, and its spread that of T when other queries had been drawn, however many rows each has
    (the delta method for ratios; Cochran, Sampling Techniques, 1977, section 6.3).
    """
    in_cell = [*dict.fromkeys([*by, "cell"])]
    means = rows.group_by(in_cell).agg(pl.col(columns).mean(), num_rows=pl.len())
    centres = means.group_by(by).agg(pl.col(columns).mean().name.suffix(" T"), num_cells=pl.len())
    joined = rows.join(means, on=in_cell, suffix=" m").join(centres, on=by)
    weight = 1 / (pl.col("num_rows") * pl.col("num_cells"))
    moved = [((pl.col(name) - pl.col(f"{name} m")) * weight).alias(name) for name in columns]
    summed = joined.select(*by, "query_id", *(f"{name} T" for name in columns), *moved)
    by_query = summed.group_by([*by, "query_id"]).agg(
        *(pl.col(f"{name} T").first() for name in columns), *(pl.col(name).sum() for name in columns)
    )
    values = [(pl.col(f"{name} T") + pl.len().over(by) * pl.col(name)).alias(name) for name in columns]
    return by_query.select(*by, "query_id", *values).sort([*by, "query_id"])


def average(rows: pl.DataFrame, by: list[str], experiment: Experiment) -> pl.DataFrame:
    """The mean of the cells of each group with its interval, for each measure; groups in the order of their rows."""
    measures = list(experiment.measures)
    order = rows.group_by(by, maintain_order=True).agg(
        num_cells=pl.col("cell").n_unique(), num_seeds=pl.col("seed").n_unique()
    )
    samples = {
        key: Sample.of(group, measures) for key, group in spread(rows, by, measures).group_by(by, maintain_order=True)
    }
    found = []
    for keys, values in stack_samples(samples):
        low, high = bootstrap_interval(values, experiment.seed)
        numbers = zip(values.mean(axis=0).tolist(), low.tolist(), high.tolist(), strict=True)
        named = [(key, measure) for key in keys for measure in measures]
        for (key, measure), (value, least, most) in zip(named, numbers, strict=True):
            interval = {"value": value, "low": least, "high": most}
            found.append(dict(zip(by, key, strict=True)) | {"measure": measure, "num_queries": len(values)} | interval)
    return order.join(pl.DataFrame(found, infer_schema_length=None), on=by, maintain_order="left_right")


@dataclass(frozen=True)
class Sample:
    """Values of the same queries, in order of their ids: (num_queries, num_columns)."""

    queries: int  # a hash of the ids
    values: Floats

    @classmethod
    def of(cls, rows: pl.DataFrame, columns: Sequence[str]) -> "Sample":
        """Of rows sorted by query id."""
        return cls(hash(tuple(rows["query_id"].hash().to_list())), rows.select(columns).to_numpy())


def stack_samples(samples: dict[Key, Sample]) -> Iterator[tuple[list[Key], Floats]]:
    """The samples of the same queries side by side: tests and intervals then draw for all of them at once."""
    together: dict[tuple[int, int], list[Key]] = {}
    for key, sample in samples.items():
        together.setdefault((sample.queries, len(sample.values)), []).append(key)
    for keys in together.values():
        yield keys, np.hstack([samples[key].values for key in keys])


def compare(rows: pl.DataFrame, experiment: Experiment, labels: Sequence[str]) -> pl.DataFrame:
    """Every system against the baseline, in each cell and over each setting, by the main measure.

    The corrections are over all of these comparisons together.
    """
    measure = experiment.measures[0]
    keys = [*_PLACE, "cell", "query_id"]
    baseline = rows.filter(system=experiment.baseline).group_by(keys).agg(pl.col(measure).mean().alias("baseline"))
    others = rows.filter(pl.col("system") != experiment.baseline)
    differences = others.join(baseline, on=keys, maintain_order="left").with_columns(
        difference=pl.col(measure) - pl.col("baseline")
    )
    found = [
        *_compare_groups(differences, [*_PLACE, "cell", "system"], experiment.seed),
        *_compare_groups(differences, [*_PLACE, "system"], experiment.seed),
    ]
    if not found:
        return empty_frame("comparisons")
    p_values = np.array([one["p_t"] for one in found])
    frame = pl.DataFrame(found, infer_schema_length=None).with_columns(
        pl.lit(experiment.baseline).alias("baseline"),
        pl.lit(measure).alias("measure"),
        p_bonferroni=pl.Series(bonferroni(p_values)),
        p_holm=pl.Series(holm(p_values)),
    )
    return frame


def _compare_groups(differences: pl.DataFrame, by: list[str], seed: int) -> list[dict[str, Any]]:
    """The tests of each group, in the order of their rows; seeds are a random effect beside queries."""
    samples, p_values = {}, {}
    for key, group in spread(differences, [*by, "seed"], ["difference"]).group_by(by, maintain_order=True):
        by_seed = [one["difference"].to_numpy() for one in group.partition_by("seed", maintain_order=True)]
        p_values[key] = compare_seeds(np.stack(by_seed)).p
        means = group.group_by("query_id").agg(pl.col("difference").mean()).sort("query_id")
        samples[key] = Sample.of(means, ["difference"])
    found = {}
    for keys, values in stack_samples(samples):
        low, high = bootstrap_interval(values, seed)
        p_randomisation = randomisation(values, seed)
        for k, key in enumerate(keys):
            found[key] = {"cell": ALL_CELLS} | dict(zip(by, key, strict=True)) | {
                "difference": float(values[:, k].mean()),
                "low": float(low[k]),
                "high": float(high[k]),
                "p_t": p_values[key],
                "p_randomisation": float(p_randomisation[k]),
                "num_queries": len(values),
            }  # fmt: skip
    return [found[key] for key in differences.select(by).unique(maintain_order=True).iter_rows()]


def list_bins(readings: Sequence[Reading], seen_languages: Sequence[str]) -> pl.DataFrame:
    """`benchmark, setting, cell, query_id, kind, bin, order` of all queries; pooled cells have none.

    A pooled cell's answers are in all languages at once, so that neither overlap nor distance is one number.
    """
    parts = []
    for reading in readings:
        if reading.cell.pooled:
            continue
        pairs = _answered_pairs(reading)
        binned = bin_queries(pairs)
        if seen_languages:
            binned = pl.concat([binned, _bin_seen(pairs, seen_languages).cast(binned.schema)])
        parts.append(
            binned.select(
                pl.lit(reading.benchmark.name).alias("benchmark"),
                pl.lit(str(reading.cell.setting)).alias("setting"),
                pl.lit(reading.cell.name).alias("cell"),
                "query_id",
                *_BIN,
            )
        )
    return pl.concat(parts) if parts else pl.DataFrame()


def _answered_pairs(reading: Reading) -> pl.DataFrame:
    """`query_id, query, query_language, passage, passage_language` of each relevant pair."""
    relevant = reading.qrels.filter(pl.col("score") > 0)
    queries = reading.queries.rename({"text": "query", "language": "query_language"})
    passages = reading.passage_texts(relevant["passage_id"]).rename({"language": "passage_language"})
    return relevant.join(queries, on="query_id").join(passages, on="passage_id").sort("query_id", "passage_id")


def _bin_seen(pairs: pl.DataFrame, seen_languages: Sequence[str]) -> pl.DataFrame:
    """Whether the languages of query and first relevant passage were seen in training."""
    first = pairs.unique("query_id", keep="first", maintain_order=True)
    unseen = [~first[name].is_in(list(seen_languages)) for name in ("query_language", "passage_language")]
    order = unseen[0].cast(pl.Int64) + 2 * unseen[1].cast(pl.Int64)
    names = {0: "both seen", 1: "query unseen", 2: "passage unseen", 3: "both unseen"}
    return first.select("query_id", kind=pl.lit("seen"), bin=order.replace_strict(names), order=order)


def average_bins(rows: pl.DataFrame, bins: pl.DataFrame, experiment: Experiment) -> pl.DataFrame:
    """The mean of each bin's rows with its interval; within a bin, cells do not matter."""
    if bins.is_empty():
        return empty_frame("bins")
    joined = rows.join(bins, on=[*_PLACE, "cell", "query_id"], maintain_order="left")
    together = joined.with_columns(cell=pl.lit(ALL_CELLS))
    by = [*_PLACE, *_BIN, "system"]
    averaged = average(together, by, experiment).filter(pl.col("measure") == experiment.measures[0])
    return averaged.sort(*_PLACE, "kind", "order", maintain_order=True)


def average_fairness(measured: dict[Unit, Measured]) -> pl.DataFrame:
    """Fairness of pooled cells: means over queries, and measures of a whole run; of several seeds their mean.

    Queries that a measure leaves out count for nothing.
    """
    rows: list[dict[str, Any]] = []
    for unit, one in measured.items():
        place = {"benchmark": unit.benchmark, "cell": unit.cell.name, "system": unit.label}
        for name in one.values.columns if one.languages else ():
            if name.startswith("PEER") and (known := one.values[name].drop_nulls()).len():
                rows.append(place | {"measure": name, "value": known.mean(), "num_queries": len(known)})
        for name, value in one.effects.items():
            rows.append(place | {"measure": name, "value": value, "num_queries": len(one.values)})
    by = ["benchmark", "cell", "system", "measure"]
    return pl.DataFrame(rows, SCHEMAS["fairness"]).group_by(by, maintain_order=True).agg(
        pl.col("value").mean(), pl.col("num_queries").max()
    )  # fmt: skip


def list_language_ranks(measured: dict[Unit, Measured]) -> pl.DataFrame:
    """What each language got in pooled cells, the mean over a system's seeds."""
    rows = [
        {"benchmark": unit.benchmark, "cell": unit.cell.name, "system": unit.label} | row
        for unit, one in measured.items()
        for row in one.languages
    ]
    by = ["benchmark", "cell", "system", "language"]
    frame = pl.DataFrame(rows, SCHEMAS["language_ranks"])
    return frame.group_by(by, maintain_order=True).mean()


def list_warnings(cells: pl.DataFrame, values: pl.DataFrame, experiment: Experiment) -> Iterator[str]:
    """What a reader of the tables must know: small samples, queries left out, variants that change nothing."""
    for (benchmark,), group in cells.group_by("benchmark", maintain_order=True):
        small = group.filter(pl.col("num_queries") < ENOUGH_QUERIES).sort("num_queries", "cell")
        if len(small):
            fewest = small.row(0, named=True)
            told = minimum_sample_warning(fewest["num_queries"])
            yield f"{benchmark}: {len(small)} of {len(group)} cells are small, the smallest {fewest['cell']}: {told}"
    left_out = cells.filter(pl.col("left_out") > 0)
    if len(left_out):
        worst = left_out.sort("left_out", descending=True, maintain_order=True).row(0, named=True)
        yield (
            f"{len(left_out)} of {len(cells)} cells leave out queries whose relevant passages are not in the passages' "
            f"language, most of them {worst['benchmark']} {worst['cell']}: {worst['left_out']}"
        )
    for system in experiment.systems:
        if isinstance(system, TranslatedBm25Spec):
            yield from _warn_of_lexicon(system, cells)
    measured = values.select("benchmark", "cell", "system", "num_queries").unique(maintain_order=True)
    fewer = measured.join(cells, on=["benchmark", "cell"], suffix="_cell").filter(
        pl.col("num_queries") < pl.col("num_queries_cell")
    )
    for (system,), group in fewer.group_by("system", maintain_order=True):
        yield f"{system}: in {len(group)} cells it is measured on fewer queries, since the others cannot be varied so"


def _warn_of_lexicon(system: TranslatedBm25Spec, cells: pl.DataFrame) -> Iterator[str]:
    """Names the CLIR cells between whose languages the lexicon leads neither directly nor through English."""
    listed = [pair.partition("-") for pair in Manifest.read(system.lexicon).counts["languages"]]
    pairs = [(source, target) for source, _, target in listed]
    clir = cells.filter(setting="CLIR").select("cell", "query_language", "passage_language").unique(maintain_order=True)
    if missing := [cell for cell, query, passage in clir.iter_rows() if not has_way(pairs, query, passage)]:
        shown = ", ".join(missing[:8]) + (", ..." if len(missing) > 8 else "")
        yield (
            f"{system.name}: for {len(missing)} of {len(clir)} pairs of languages the lexicon has no translations, and "
            f"the queries stay as they are: {shown}"
        )
