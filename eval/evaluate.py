"""The stage `csgen evaluate`: sees which units are missing, has them made, and writes what all of them say.

Knows no way to rank and no machine: units are made in groups of cells that share their passages, wherever the caller
places them.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import Field

from csgen.config import StageConfig
from csgen.errors import InputError
from csgen.files import exists, filesystem, join, open_input, replace_file
from csgen.manifest import MANIFEST_NAME, Manifest, describe_files
from eval.analysis import analyse
from eval.experiment import CandidatesSpec, Experiment, ReorderingSpec, locate, read_experiment
from eval.measuring.measures import parse_measures
from eval.pool import ScorePool
from eval.reporting.page import Origin
from eval.reporting.report import write_report
from eval.results import RESULTS_NAME, Results
from eval.units import Unit, UnitStore, digest
from eval.workshop import Makers, Workshop

STAGE = "evaluate"
EXPERIMENT_NAME = "experiment.yaml"

RunGroups = Callable[["Job"], Iterable[int]]


class EvaluateConfig(StageConfig):
    """Options of `csgen evaluate`."""

    experiment: str = Field(
        min_length=1, description="YAML file: data, settings, systems, measures (docs/evaluation.md tells its keys)"
    )
    output: str = Field(
        min_length=1,
        description="folder to write runs, tables, plots and report to; may be a URI. What is there is reused",
    )
    scores: str = Field(
        "", description="folder of the pool of scores, which experiments may share; none: OUTPUT/scores"
    )
    scores_mb: int = Field(4096, ge=1, description="size of the pool in MB, 1 or more; beyond, the oldest scores go")
    workers: int | None = Field(
        None, ge=1, description="CPUs for local Ray, 1 or more; none: all of them; 1: without Ray"
    )


@dataclass(frozen=True)
class Job:
    """An experiment, all its units, and those that are missing, in groups whose cells share their passages."""

    config: EvaluateConfig
    experiment: Experiment
    makers: Makers
    units: tuple[Unit, ...]
    groups: tuple[tuple[Unit, ...], ...]
    made_by: str  # the fingerprint of everything
    inputs: dict[str, Any]

    @property
    def num_missing(self) -> int:
        return sum(map(len, self.groups))

    def is_done(self) -> bool:
        """Whether the output's results are of just this job."""
        folder = self.config.output
        return exists(join(folder, MANIFEST_NAME)) and Manifest.read(folder).inputs.get("all") == self.made_by


def plan_job(config: EvaluateConfig, makers: Makers) -> Job:
    """Read the experiment and see what is missing. What is wrong with it or its inputs is an InputError here."""
    experiment = read_experiment(config.experiment)
    try:
        parse_measures(experiment.measures)
    except InputError as error:
        raise InputError.at(config.experiment, locate(config.experiment, ("measures",)), str(error)) from error
    _refuse_other(config.output, experiment)
    workshop = _open_workshop(config, experiment, makers)
    workshop.check()
    units = tuple(workshop.list_units())
    origins = {unit: workshop.origin(unit) for unit in units}
    made_by = {unit: origin.values(experiment.measures) for unit, origin in origins.items()}
    missing = [unit for unit in units if not workshop.store.has_values(unit, made_by[unit])]
    hashes: dict[str, dict[str, str]] = {unit.benchmark: {} for unit in units}
    for unit, origin in origins.items():
        hashes[unit.benchmark] |= {f"{unit.system}: {k}" if "/" not in k else k: v for k, v in origin.inputs.items()}
    everything = digest([experiment.model_dump(mode="json"), [[unit.stem, made_by[unit]] for unit in units]])
    return Job(config, experiment, makers, units, _group(missing), everything, hashes)


def run_group(job: Job, index: int) -> int:
    """Make the units of a group; returns their number. The same group gives the same files, wherever it runs."""
    workshop = _open_workshop(job.config, job.experiment, job.makers)
    for unit in job.groups[index]:
        workshop.make(unit)
    return len(job.groups[index])


def finish_job(job: Job) -> Results:
    """Read what all units say, and write tables, plots, report and manifest; the results of a job that is done."""
    folder = job.config.output
    if job.is_done():
        return Results.read(folder)
    _remove_manifest(folder)
    workshop = _open_workshop(job.config, job.experiment, job.makers)
    results = analyse(workshop, job.units)
    with open_input(job.config.experiment) as stream:
        text = stream.read()
    with replace_file(join(folder, EXPERIMENT_NAME)) as target:
        target.write(text)
    results.write(folder)
    origin = Origin(f"csgen evaluate {EXPERIMENT_NAME} --output FOLDER", text.decode(), _list_facts(workshop))
    paths = write_report(results, origin, folder)
    names = [EXPERIMENT_NAME, RESULTS_NAME, *(path.removeprefix(folder).lstrip("/") for path in paths)]
    files = describe_files(folder, names)
    for unit in job.units:
        files |= workshop.store.describe(unit)
    Manifest(
        stage=STAGE,
        config=job.experiment.model_dump(mode="json"),
        inputs={"all": job.made_by, "files": job.inputs},
        counts={
            "units": len(job.units),
            "cells": len(results.cells),
            "queries": int(results.cells["num_queries"].sum()),
        },
        files=files,
    ).write(folder)
    return results


def _list_facts(workshop: Workshop) -> dict[str, str]:
    """What the report tells of data and candidates, beside what the results say of themselves."""
    experiment, facts = workshop.experiment, {}
    for name, benchmark in workshop.benchmarks.items():
        told = benchmark.description
        drawn = (
            "" if benchmark.drawn is None else f", {len(benchmark.drawn)} queries, first those in the most languages"
        )
        facts[f"data of {name}"] = (
            f"{told['name']}, split {benchmark.split}{drawn}; {told['source']}; licence: {told['licence']}"
        )
    if experiment.candidates:
        facts["candidates"] = _describe_candidates(experiment.candidates, experiment.depth)
    for spec in experiment.systems:
        if isinstance(spec, ReorderingSpec) and spec.candidates:
            facts[f"candidates of {spec.name}"] = _describe_candidates(spec.candidates, experiment.depth)
    facts["depth of runs"] = f"{experiment.depth:,} passages a query"
    facts["seed of draws, tests and intervals"] = str(experiment.seed)
    return facts


def _describe_candidates(chosen: CandidatesSpec, depth: int) -> str:
    way = f"of {chosen.pivot} queries and passages, by shared ids" if chosen.pivot else "of each cell itself"
    return f"the best {depth} by {chosen.system}, {way}"


def _open_workshop(config: EvaluateConfig, experiment: Experiment, makers: Makers) -> Workshop:
    pool = ScorePool(config.scores or join(config.output, "scores"), config.scores_mb << 20)
    return Workshop(experiment, config.experiment, UnitStore(config.output), pool, makers)


def _group(units: Sequence[Unit]) -> tuple[tuple[Unit, ...], ...]:
    """Units of one benchmark and the same passage languages together, in their order."""
    groups: dict[tuple[str, tuple[str, ...]], list[Unit]] = {}
    for unit in units:
        groups.setdefault((unit.benchmark, unit.cell.passage_languages), []).append(unit)
    return tuple(map(tuple, groups.values()))


def _refuse_other(folder: str, experiment: Experiment) -> None:
    """An output goes on with its own experiment, changed or not; that of another one is never overwritten."""
    if not exists(join(folder, MANIFEST_NAME)):
        return
    manifest = Manifest.read(folder)
    if manifest.stage != STAGE:
        raise InputError(f"{folder}: holds an output of csgen {manifest.stage}; give another --output")
    if (name := manifest.config.get("name")) != experiment.name:
        raise InputError(
            f"{folder}: holds the results of the experiment {name!r}, this one is {experiment.name!r}; remove it first "
            f"(rm -r {folder}) or give another --output"
        )


def _remove_manifest(folder: str) -> None:
    """Mark the output as unfinished while its results are written anew."""
    fs, inner = filesystem(join(folder, MANIFEST_NAME))
    if fs.exists(inner):
        fs.rm_file(inner)
