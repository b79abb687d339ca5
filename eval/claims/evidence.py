"""What one output of csgen evaluate holds of the systems that have roles: measures by seed, cell and query.

Every figure is a sum of the means of systems over cells, with weights, so that one way gives all values, differences
and differences of differences with interval and test. Knows no claim.
"""

import difflib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from csgen.errors import InputError
from csgen.files import join, open_input
from csgen.manifest import Manifest
from eval.claims.spec import Domain, EvidenceSpec, Place, Roles
from eval.evaluate import EXPERIMENT_NAME, STAGE
from eval.experiment import Experiment, read_experiment
from eval.measuring.significance import bootstrap_interval, compare_seeds, randomisation
from eval.results import Results
from eval.settings import Cell, multilingual_cell
from eval.units import Unit, UnitStore

Floats = NDArray[np.float64]

SIGNIFICANT = 0.05
MEASURE = "RR@10"  # the paper's MRR@10 is its mean
_DIGITS = 12  # decimals: the last ones depend on how many columns a matrix product has


@dataclass(frozen=True, eq=False)
class Contrast:
    """Weights of cells (num_cells,) by system; its value is the weighted sum of the systems' means in the cells."""

    weights: Mapping[str, Floats]

    def __add__(self, other: "Contrast") -> "Contrast":
        summed = dict(self.weights)
        for system, weights in other.weights.items():
            summed[system] = summed[system] + weights if system in summed else weights
        return Contrast(summed)

    def __mul__(self, factor: float) -> "Contrast":
        return Contrast({system: factor * weights for system, weights in self.weights.items()})

    def __sub__(self, other: "Contrast") -> "Contrast":
        return self + other * -1.0


@dataclass(frozen=True)
class Ratio:
    """One contrast in relation to another of the same cells, such as the share of a gap that a system closes."""

    numerator: Contrast
    denominator: Contrast


@dataclass(frozen=True)
class Figure:
    """A number with its 95 % interval over queries and the p-values of its being 0; None: not known.

    Values are in units of the measure, in [-1, 1]. `p` takes seeds and queries as crossed random effects.
    """

    value: float | None
    low: float | None = None
    high: float | None = None
    p: float | None = None
    p_randomisation: float | None = None
    num_queries: int | None = None
    num_seeds: int | None = None


NOT_KNOWN = Figure(None)


@dataclass(frozen=True, eq=False)
class Evidence:
    """An output: its cells, and of each system the measure of every query.

    `cells`: `cell, setting, query_language, passage_language, languages (list)`, a row for each cell.
    `values`: by system (num_seeds, num_cells, num_queries), NaN where a query is not in a cell. All systems have the
    same queries in a cell.
    """

    name: str
    domain: Domain
    roles: Roles
    cells: pl.DataFrame
    values: Mapping[str, Floats]
    seeds: Mapping[str, tuple[int, ...]]
    seen_languages: tuple[str, ...] = ()  # none: all count as seen
    english: str = "en"

    def average(self, system: str, cells: Sequence[bool] | pl.Series) -> Contrast:
        """The mean of a system over the cells that a mask tells."""
        mask = np.asarray(cells, bool)
        return Contrast({system: mask / mask.sum()})

    def difference(self, system: str, other: str, cells: Sequence[bool] | pl.Series) -> Contrast:
        return self.average(system, cells) - self.average(other, cells)

    def level(self, contrast: Contrast) -> float:
        """A contrast's value alone; NaN where it has no query."""
        return round(float(self.spread(contrast).mean()), _DIGITS)

    def spread(self, contrast: Contrast) -> Floats:
        """One value a seed and query, (num_seeds, num_queries), whose plain mean is the contrast's value.

        The mean of a cell's queries is linearised as eval.analysis.spread tells, here with any weights w_c in place
        of 1 / C. The seeds are the first system's; one with the same seeds is taken seed by seed, of others the mean
        counts.
        """
        used = np.logical_or.reduce([weights != 0 for weights in contrast.weights.values()])
        seeds = self.seeds[next(iter(contrast.weights))]
        present = ~np.isnan(self.values[next(iter(contrast.weights))][0])
        queries = present[used].any(axis=0)
        total = np.zeros((len(seeds), int(queries.sum())))
        for system, weights in contrast.weights.items():
            own = np.flatnonzero(weights)
            values = self.values[system][:, own][:, :, queries]
            if self.seeds[system] != seeds:
                values = values.mean(axis=0, keepdims=True)
            means = np.nanmean(values, axis=2)
            moved = np.nan_to_num(values - means[:, :, None]) / present[own].sum(axis=1)[:, None]
            total += (means @ weights[own])[:, None] + total.shape[1] * np.einsum("c,scq->sq", weights[own], moved)
        return total

    def estimate(self, wanted: Sequence[Contrast | Ratio | None], seed: int) -> list[Figure]:
        """The figure of each, in order; nothing is not known. Samples of as many queries draw the same ones."""
        figures = [NOT_KNOWN] * len(wanted)
        samples: dict[int, tuple[Floats, Figure]] = {}
        for k, one in enumerate(wanted):
            sample = self._sample(one)
            if sample is not None:
                samples[k] = sample
        by_size: dict[int, list[int]] = {}
        for k, (values, _) in samples.items():
            by_size.setdefault(len(values), []).append(k)
        for places in by_size.values():
            stacked = np.stack([samples[k][0] for k in places], axis=1)
            low, high = bootstrap_interval(stacked, seed)
            p_randomisation = randomisation(stacked, seed)
            for column, k in enumerate(places):
                known = samples[k][1]
                tested = known.p is not None
                figures[k] = Figure(
                    known.value,
                    round_figure(low[column]),
                    round_figure(high[column]),
                    known.p,
                    round_figure(p_randomisation[column]) if tested else None,
                    known.num_queries,
                    known.num_seeds,
                )
        return figures

    def _sample(self, wanted: Contrast | Ratio | None) -> tuple[Floats, Figure] | None:
        """One value a query, the mean over seeds, and what is known without draws."""
        if wanted is None:
            return None
        if isinstance(wanted, Contrast):
            values = self.spread(wanted)
            if not values.size:  # a system less itself
                return None
            mean, p = float(values.mean()), compare_seeds(values).p
            return values.mean(axis=0), Figure(
                round_figure(mean), p=round_figure(p), num_queries=values.shape[1], num_seeds=len(values)
            )
        gap = self.spread(wanted.denominator)
        tested = compare_seeds(gap)
        if not (tested.mean > 0 and tested.p < SIGNIFICANT):
            return None  # there is no gap to have a share of
        numerator, denominator = self.spread(wanted.numerator).mean(axis=0), gap.mean(axis=0)
        ratio = numerator.mean() / denominator.mean()
        # The delta method for ratios, as for means of unequal cells: Cochran, Sampling Techniques, section 6.3.
        values = ratio + (numerator - ratio * denominator) / denominator.mean()
        return values, Figure(round_figure(float(ratio)), num_queries=len(values))

    # Which cells there are.

    def where(self, setting: str) -> pl.Series:
        return self.cells["setting"] == setting

    @property
    def is_seen(self) -> pl.Series:
        """Cells all of whose languages were trained on."""
        if not self.seen_languages:
            return pl.repeat(True, len(self.cells), eager=True)
        known = pl.element().is_in(list(self.seen_languages)).all()
        return self.cells.select(pl.col("languages").list.agg(known)).to_series()

    def scope(self, setting: str) -> pl.Series:
        """The cells that claims are decided on: those of seen languages; a setting that has none of them, all."""
        both = self.where(setting) & self.is_seen
        return both if both.any() else self.where(setting)


def load_evidence(spec: EvidenceSpec, place: Place) -> Evidence:
    """Read an output. One that is not finished, or lacks a system that a role names, is an InputError at its line."""
    results = _read_results(spec, place)
    experiment = read_experiment(join(spec.results, EXPERIMENT_NAME))
    benchmark = _choose_benchmark(spec, results.benchmarks, place)
    _refuse_unknown(spec, [one.name for one in experiment.systems], place)
    cells = _describe_cells(results.cells.filter(pl.col("num_queries") > 0, benchmark=benchmark), experiment)
    seeds = {name: experiment.system(name).all_seeds for name in spec.roles.systems}
    return Evidence(
        name=spec.name,
        domain=spec.domain,
        roles=spec.roles,
        cells=cells,
        values=_read_values(spec.results, benchmark, cells, seeds),
        seeds=seeds,
        seen_languages=experiment.seen_languages if spec.seen_languages is None else spec.seen_languages,
        english=experiment.settings.english,
    )


def _read_results(spec: EvidenceSpec, place: Place) -> Results:
    folder = spec.results
    try:
        stage = Manifest.read(folder).stage
    except InputError as error:
        raise place.refuse(("results",), f"{error}; run csgen evaluate EXPERIMENT --output {folder}") from error
    if stage != STAGE:
        raise place.refuse(("results",), f"{folder}: expected an output of csgen evaluate, got csgen {stage}'s")
    results = Results.read(folder)
    if MEASURE not in results.measures:
        message = f"{folder}: lacks {MEASURE}, which the claims are about; it has {', '.join(results.measures)}"
        raise place.refuse(("results",), f"{message}; add it to the experiment's measures")
    return results


def _choose_benchmark(spec: EvidenceSpec, known: Sequence[str], place: Place) -> str:
    if spec.benchmark in known:
        return spec.benchmark
    if spec.benchmark or len(known) != 1:
        message = f"benchmark: {spec.results} has {', '.join(known)}; expected one of them, got {spec.benchmark!r}"
        raise place.refuse(("benchmark",), message)
    return known[0]


def _refuse_unknown(spec: EvidenceSpec, systems: Sequence[str], place: Place) -> None:
    for keys, system in spec.roles.list_systems():
        if system in systems:
            continue
        near = difflib.get_close_matches(system, systems, n=1)
        hint = f"did you mean {near[0]!r}? " if near else ""
        message = (
            f"roles.{'.'.join(map(str, keys))}: {spec.results} has no system {system!r}; {hint}it has "
            f"{', '.join(systems)}; leave out what is not measured there"
        )
        raise place.refuse(("roles", *keys), message)


def _describe_cells(cells: pl.DataFrame, experiment: Experiment) -> pl.DataFrame:
    """With the languages of each cell's queries and passages."""
    settings, mixed = experiment.settings, {}
    for spec in settings.mlir:
        for sides in spec.sides:
            cell = multilingual_cell(sides, spec.languages, spec.label, settings.english, 0)
            mixed[cell.name] = [*cell.query_languages, *cell.passage_languages]
    rows = cells.select("cell", "query_language", "passage_language").iter_rows()
    languages = [mixed.get(cell) or [query, passage] for cell, query, passage in rows]
    return cells.select("cell", "setting", "query_language", "passage_language").with_columns(
        languages=pl.Series(languages, dtype=pl.List(pl.String))
    )


def _read_values(
    folder: str, benchmark: str, cells: pl.DataFrame, seeds: Mapping[str, tuple[int, ...]]
) -> dict[str, Floats]:
    """The measure by system, seed, cell and query; queries in order of their ids."""
    store = UnitStore(folder)
    found: dict[tuple[str, int, str], pl.DataFrame] = {}
    for name, setting in cells.select("cell", "setting").iter_rows():
        cell = Cell(setting, name, (), ())  # a unit's files are found by its name alone
        for system, several in seeds.items():
            for seed in several:
                found[system, seed, name] = _read_unit(folder, store, Unit(benchmark, cell, system, "", seed))
    queries = pl.concat([one.select("query_id") for one in found.values()] or [_NO_VALUES]).to_series().unique().sort()
    tensors = {system: np.full((len(several), len(cells), len(queries)), np.nan) for system, several in seeds.items()}
    for (system, seed, name), one in found.items():
        places = queries.search_sorted(one["query_id"]).to_numpy()
        tensors[system][seeds[system].index(seed), cells["cell"].index_of(name), places] = one[MEASURE]
    _refuse_uneven(folder, tensors, seeds)
    return tensors


_NO_VALUES = pl.DataFrame(schema={"query_id": pl.String, MEASURE: pl.Float64})


def _read_unit(folder: str, store: UnitStore, unit: Unit) -> pl.DataFrame:
    path = join(folder, store.values_name(unit))
    with open_input(path) as stream:
        content = BytesIO(stream.read())
    try:
        return pl.read_parquet(content, columns=["query_id", MEASURE])
    except pl.exceptions.PolarsError as error:
        raise InputError(f"{path}: not the measures of a run: {error}; run csgen evaluate again") from error


def _refuse_uneven(folder: str, tensors: Mapping[str, Floats], seeds: Iterable[str]) -> None:
    masks = {system: np.isnan(tensors[system]) for system in seeds}
    first = next(iter(masks.values()), None)
    for system, mask in masks.items():
        if first is None or not (mask == first[:1]).all():
            raise InputError(f"{folder}: {system!r} has other queries than the others; run csgen evaluate again")


def round_figure(value: Any) -> float | None:
    """A number without the digits that come of rounding; None where it is not finite."""
    return round(float(value), _DIGITS) + 0.0 if np.isfinite(value) else None


def list_languages(cells: pl.DataFrame) -> Iterator[str]:
    """The languages of cells, each once, in order."""
    yield from dict.fromkeys(cells["languages"].explode().to_list())
