"""Where units are made: opens benchmarks, systems and readings when they are needed, and keeps the last few.

Knows which unit needs which other one; not in what order or on which machine units are made.
"""

import logging
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass, replace
from importlib import import_module
from inspect import signature
from typing import TypeVar

import polars as pl

from csgen.errors import InputError
from eval.benchmark import Benchmark, Reading
from eval.cells import list_cells
from eval.experiment import (
    AnySystem,
    Bm25Spec,
    DenseSpec,
    EncoderSpec,
    Experiment,
    IndexSpec,
    ModelSpec,
    OracleSpec,
    RandomSpec,
    ReorderingSpec,
    RerankerSpec,
    RunSpec,
    ScorerSpec,
    ScoringModelSpec,
    TranslatedBm25Spec,
    locate,
)
from eval.measuring.fairness import TOP_K, language_effect, measure_languages
from eval.measuring.measures import Measurer
from eval.pool import ScorePool
from eval.settings import Cell, bilingual_cell
from eval.systems import Oracle, PairReranker, PooledScorer, RandomOrder, Ranker, Reranker, RunFiles, Scorer, take_over
from eval.trec import rank_run
from eval.units import InputHashes, Measured, Origin, Unit, UnitStore, digest
from eval.variants.robustness import Expanded, Variant, apply_variant, check_variant, inputs
from eval.variants.translation import Translator

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Makers:
    """What opens the systems that need an index or a model: this package knows neither."""

    open_lexical: Callable[[Bm25Spec | TranslatedBm25Spec], Ranker]
    open_dense: Callable[[DenseSpec, str], Ranker]  # with the encoder at a path
    open_index: Callable[[IndexSpec], Ranker]
    open_model: Callable[[RerankerSpec | EncoderSpec, str], Scorer]  # of the model at a path
    hash_model: Callable[[str], str]  # of all that makes a model's scores


Thing = TypeVar("Thing")
EFFECT = f"W@{TOP_K}"  # Kendall's W of languages, where each has one answer
_KEPT_READINGS, _KEPT_RUNS = 8, 8  # of a cell there are as many as variants


class Workshop:
    """The units of an experiment: which there are, what made each, and the making itself."""

    def __init__(self, experiment: Experiment, path: str, store: UnitStore, pool: ScorePool, makers: Makers) -> None:
        """`path` is the experiment's file, for errors. Opens no texts yet."""
        self.experiment = experiment
        self.store = store
        self._path = path
        self._pool = pool
        self._makers = makers
        self._hashes = InputHashes()
        self._rankers: dict[tuple[str, int], Ranker] = {}
        self._rerankers: dict[tuple[str, int], Reranker] = {}
        self._readings: OrderedDict[Hashable, Reading] = OrderedDict()
        self._runs: OrderedDict[Hashable, pl.DataFrame] = OrderedDict()
        self.benchmarks: dict[str, Benchmark] = {}
        self.cells: dict[str, list[Cell]] = {}
        for index, spec in enumerate(experiment.benchmarks):
            try:
                self.benchmarks[spec.name] = benchmark = Benchmark(
                    spec.name, spec.path, spec.split, spec.unanswered, spec.queries, spec.languages
                )
                self.cells[spec.name] = list_cells(spec, experiment.settings, benchmark, experiment.seed)
            except InputError as error:
                place = (
                    ("settings",) if str(error).startswith(("settings", "no pair")) else ("benchmarks", index, "path")
                )
                raise InputError.at(path, locate(path, place), str(error)) from error
        self._check_variants()

    def check(self) -> None:
        """Refuse what no run can be made with, and log where less is done than was asked for."""
        for benchmark in self.benchmarks.values():
            self._tell_queries(benchmark)
        cells = [cell for cells in self.cells.values() for cell in cells]
        languages = {language for cell in cells for language in (*cell.query_languages, *cell.passage_languages)}
        for index, spec in enumerate(self.experiment.systems):
            if isinstance(spec, ScoringModelSpec) and spec.translate:
                self._check_translation(index, spec, languages)

    def list_units(self) -> Iterator[Unit]:
        """All units, cell by cell, the systems in the experiment's order."""
        variants = ["", *(variant.name for variant in self.experiment.variants)]
        for benchmark, cells in self.cells.items():
            for cell in cells:
                for variant in variants:
                    for system in self.experiment.systems:
                        if variant and not system.reads_queries:
                            continue
                        yield from (Unit(benchmark, cell, system.name, variant, seed) for seed in system.all_seeds)

    def origin(self, unit: Unit) -> Origin:
        """What makes a unit's run."""
        spec = self.experiment.system(unit.system)
        benchmark = self.benchmarks[unit.benchmark]
        files = benchmark.files(unit.cell)
        hashes = {name: self._hashes.of(path) for name, path in files.items()} | self._hash_inputs(spec, unit)
        candidates = self._candidate_unit(unit) if spec.reorders else None
        return Origin(
            spec.model_dump(mode="json", exclude={"seeds", "name", "model", "max_tokens", "translate", "candidates"}),
            unit.seed,
            self._variant(unit).model_dump(mode="json") if unit.variant else {},
            self.origin(candidates).run if candidates else "",
            hashes,
            unit.cell,
            _describe_judgements(benchmark),
            self.experiment.depth,
        )

    def make(self, unit: Unit) -> None:
        """Make a unit's run unless it is there, and measure it."""
        origin = self.origin(unit)
        reading = self.reading(unit)
        if self.store.has_run(unit, origin.run):
            run = self.store.read_run(unit)
        else:
            run = self._cut(self._rank(unit, reading))
            self.store.write_run(unit, run)
        _keep(self._runs, unit, run, _KEPT_RUNS)
        measured = _measure(run, reading, self.experiment.measures)
        made_by = {"run": origin.run, "values": origin.values(self.experiment.measures)}
        self.store.write_values(unit, measured, len(run), made_by)

    def reading(self, unit: Unit) -> Reading:
        """The unit's cell, with the texts of its variant."""
        key = (unit.benchmark, unit.cell, unit.variant)
        if key not in self._readings:
            if unit.variant:
                plain = self.reading(replace(unit, variant=""))
                made = plain.only(apply_variant(self._variant(unit), plain.queries).queries)
            else:
                made = self.benchmarks[unit.benchmark].read(unit.cell)
            _keep(self._readings, key, made, _KEPT_READINGS)
        return self._readings[key]

    def _run(self, unit: Unit) -> pl.DataFrame:
        """A unit's run: made before, or now."""
        if unit not in self._runs:
            if self.store.has_run(unit, self.origin(unit).run):
                _keep(self._runs, unit, self.store.read_run(unit), _KEPT_RUNS)
            else:
                self.make(unit)
        return self._runs[unit]

    def _rank(self, unit: Unit, reading: Reading) -> pl.DataFrame:
        spec = self.experiment.system(unit.system)
        if reading.queries.is_empty():
            return pl.DataFrame(schema={"query_id": pl.String, "passage_id": pl.String, "score": pl.Float64})
        if spec.reorders:
            candidates = self._candidate_unit(unit)
            found = self._run(candidates)
            if candidates.cell != unit.cell:
                found = take_over(found, reading)
            if (unit.system, unit.seed) not in self._rerankers:
                self._rerankers[unit.system, unit.seed] = self._open_reranker(spec, unit.seed)
            return self._rerankers[unit.system, unit.seed].rerank(reading, found)
        if (unit.system, unit.seed) not in self._rankers:
            self._rankers[unit.system, unit.seed] = self._open_ranker(spec, unit.seed)
        return self._rankers[unit.system, unit.seed].rank(reading, self.experiment.depth)

    def _candidate_unit(self, unit: Unit) -> Unit:
        """The unit whose run a reranker's candidates come from. A pivot's queries are never varied."""
        reordering = self.experiment.system(unit.system)
        assert isinstance(reordering, ReorderingSpec)
        spec = self.experiment.candidates_of(reordering)
        assert spec is not None, "checked by Experiment"
        seed = self.experiment.system(spec.system).all_seeds[0]
        if spec.pivot:
            return Unit(unit.benchmark, bilingual_cell(spec.pivot, spec.pivot), spec.system, "", seed)
        variant = unit.variant if self.experiment.system(spec.system).reads_queries else ""
        return replace(unit, system=spec.system, variant=variant, seed=seed)

    def _open_ranker(self, spec: AnySystem, seed: int) -> Ranker:
        if isinstance(spec, RunSpec):
            return RunFiles(spec.path, seed)
        if isinstance(spec, DenseSpec):
            return self._makers.open_dense(spec, spec.path(seed))
        if isinstance(spec, IndexSpec):
            return self._makers.open_index(spec)
        assert isinstance(spec, Bm25Spec | TranslatedBm25Spec)
        return self._makers.open_lexical(spec)

    def _open_reranker(self, spec: AnySystem, seed: int) -> Reranker:
        if isinstance(spec, OracleSpec):
            return Oracle()
        if isinstance(spec, RandomSpec):
            return RandomOrder(seed)
        if isinstance(spec, RerankerSpec | EncoderSpec):
            path = spec.path(seed)
            key = f"{spec.kind}-{self._makers.hash_model(path)}-{spec.precision}"
            scorer = PooledScorer(self._makers.open_model(spec, path), key, self._pool)
            reranker = PairReranker(scorer)
            return replace(reranker, translate=Translator(spec.translate).translate) if spec.translate else reranker
        assert isinstance(spec, ScorerSpec)
        content = spec.model_dump(mode="json", exclude={"name", "seeds", "kind"}) | {"seed": seed}
        key = f"{spec.make.replace(':', '.')}-{digest(content)}"
        return PairReranker(PooledScorer(self._open_scorer(spec, seed), key, self._pool))

    def _open_scorer(self, spec: ScorerSpec, seed: int) -> Scorer:
        module, _, name = spec.make.partition(":")
        place = locate(self._path, ("systems", self.experiment.systems.index(spec), "make"))
        try:
            make = getattr(import_module(module), name)
            seeded = {"seed": seed} if "seed" in signature(make).parameters else {}
            scorer = make(**spec.options, **seeded)
        except (ImportError, AttributeError, TypeError) as error:
            raise InputError.at(self._path, place, f"make: cannot call {spec.make}: {error}") from error
        if not callable(getattr(scorer, "score", None)):
            raise InputError.at(self._path, place, f"make: {spec.make} gives no object with a method score")
        return scorer  # type: ignore[no-any-return]

    def _hash_inputs(self, spec: AnySystem, unit: Unit) -> dict[str, str]:
        """The hashes of what a run depends on beside the benchmark, by names that tell no path."""
        files = {}
        if isinstance(spec, TranslatedBm25Spec):
            files["lexicon"] = spec.lexicon
        if isinstance(spec, IndexSpec):
            files |= spec.files(unit.benchmark)
        if isinstance(spec, ScoringModelSpec) and spec.translate:
            files["translate"] = spec.translate
        if isinstance(spec, RunSpec):
            files["run"] = RunFiles(spec.path, unit.seed).file_of(unit.benchmark, unit.cell)
        if unit.variant:
            files |= {f"variant {index}": path for index, path in enumerate(inputs(self._variant(unit)))}
        try:
            model = {"model": self._makers.hash_model(spec.path(unit.seed))} if isinstance(spec, ModelSpec) else {}
            return {name: self._hashes.of(path) for name, path in files.items()} | model
        except InputError as error:
            place = locate(self._path, ("systems", self.experiment.systems.index(spec)))
            raise InputError.at(self._path, place, f"{unit.label}: {error}") from error

    def _variant(self, unit: Unit) -> Variant:
        return _of_benchmark(next(one for one in self.experiment.variants if one.name == unit.variant), unit.benchmark)

    def _check_variants(self) -> None:
        """Refuse a variant that does not fit a benchmark, with the line of the experiment's file."""
        for index, variant in enumerate(self.experiment.variants):
            for name, benchmark in self.benchmarks.items():
                languages = dict.fromkeys(one for cell in self.cells[name] for one in cell.query_languages)
                named = {language: benchmark.queries(language).rename({"id": "query_id"}) for language in languages}
                queries = pl.concat(rows.with_columns(language=pl.lit(one)) for one, rows in named.items())
                try:
                    check_variant(_of_benchmark(variant, name), queries)
                except InputError as error:
                    place = locate(self._path, ("variants", index))
                    raise InputError.at(self._path, place, f"{variant.name}: {error}") from error

    def _tell_queries(self, benchmark: Benchmark) -> None:
        drawn = benchmark.drawn
        if drawn is not None and benchmark.num_queries is not None and len(drawn) < benchmark.num_queries:
            told = "%s: there are only %d of the %d queries asked for"
            log.info(told, benchmark.name, len(drawn), benchmark.num_queries)

    def _check_translation(self, index: int, spec: ScoringModelSpec, languages: set[str]) -> None:
        try:
            staying = Translator(spec.translate).list_untranslated(languages)
        except InputError as error:
            place = locate(self._path, ("systems", index, "translate"))
            raise InputError.at(self._path, place, f"translate: {error}") from error
        if staying:
            told = "%s: %s does not lead from %s into English: their texts stay as they are"
            log.info(told, spec.name, spec.translate, ", ".join(staying))

    def _cut(self, run: pl.DataFrame) -> pl.DataFrame:
        """The best of each query, with scores that a file keeps as they are."""
        ranked = rank_run(run).filter(pl.col("rank") <= self.experiment.depth)
        return ranked.select("query_id", "passage_id", pl.col("score").cast(pl.Float32).cast(pl.Float64))


def _of_benchmark(variant: Variant, benchmark: str) -> Variant:
    """The variant with the benchmark's name in its file's, where that has a place for it."""
    if isinstance(variant, Expanded):
        return variant.model_copy(update={"file": variant.file.replace("{benchmark}", benchmark)})
    return variant


def _describe_judgements(benchmark: Benchmark) -> str:
    told = f"{benchmark.split}, unanswered: {benchmark.unanswered}"
    return told if benchmark.drawn is None else f"{told}, queries: {digest(benchmark.drawn.to_list())}"


def _measure(run: pl.DataFrame, reading: Reading, measures: tuple[str, ...]) -> Measured:
    values = Measurer(reading.qrels, measures).measure(run)
    if not reading.cell.pooled:
        return Measured(values)
    own = reading.passages.select("passage_id", "language")
    fair, languages = measure_languages(run, reading.qrels, own)
    effect = language_effect(rank_run(run), reading.qrels, own)
    values = values.join(fair, on="query_id", how="left", maintain_order="left")
    return Measured(values, languages, {} if effect is None else {EFFECT: effect})


def _keep(things: OrderedDict[Hashable, Thing], key: Hashable, thing: Thing, number: int) -> None:
    things[key] = thing
    things.move_to_end(key)
    while len(things) > number:
        things.popitem(last=False)
