"""`csgen switch`: here or on Ray, with a progress bar and a summary; or only a few pairs shown."""

import os
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from itertools import chain, islice
from typing import TYPE_CHECKING

import pyarrow as pa
from pydantic import Field
from rich.console import Group, RenderableType

from cluster.connection import connect
from cluster.terminal import Report, Terminal
from csgen.errors import InputError
from csgen.files import exists, join, refuse_finished
from csgen.plan import measure_coverage
from csgen.planning import SAMPLE_ROWS, sample_pairs
from csgen.plots import plot_coverage, plot_realised_ratios, write_plots
from csgen.report import show_pairs, switch_summary, switch_summary_json
from csgen.sources.pairs import read_shard
from csgen.sources.rows import BadRow, refuse
from csgen.switch_job import (
    JOB_NAME,
    Part,
    RunShards,
    SwitchConfig,
    SwitchJob,
    open_job,
    run_here,
    run_shard,
    run_switch,
)
from csgen.switching.switcher import Switcher

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class SwitchCommand(SwitchConfig):
    """Options of `csgen switch`: those of the stage, and what to show of it."""

    output: str = Field("", description="folder to write; may be a URI; required, but not with --show")
    show: int = Field(0, ge=0, le=1000, description="write nothing, but show this many pairs, 0 to 1000")
    plots: bool = Field(False, description="draw realised ratios and coverage into the output's folder plots/")

    def stage(self, output: str) -> SwitchConfig:
        """The stage's own options."""
        given = self.model_dump(exclude={"show", "plots"}, exclude_unset=True)
        return SwitchConfig.from_options(given | {"output": output})


def switch(config: SwitchCommand, terminal: Terminal) -> Report:
    if config.show:
        return _show(config)
    if not config.output:
        raise InputError("--output is required: the folder to write; or --show 5 to see a few pairs")
    refuse_finished(config.output)
    job = open_job(config.stage(config.output))
    resumed = exists(join(config.output, JOB_NAME))
    run_shards = _place(job)
    begun = time.perf_counter()
    figures = {"coverage": _plot_coverage(job)} if config.plots else {}
    with terminal.progress("pairs", _count_rows(job)) as advance:
        manifest = run_switch(job, run_shards, lambda part: advance(part.rows + len(part.rejects)))
    seconds = None if resumed else time.perf_counter() - begun
    view: RenderableType = switch_summary(manifest, seconds)
    if config.plots:
        figures["realised-ratio"] = plot_realised_ratios(manifest)
        view = Group(view, *write_plots(figures, join(config.output, "plots")))
    return Report({"output": config.output} | switch_summary_json(manifest, seconds), view)


def _place(job: SwitchJob) -> RunShards:
    """Where the shards run: a single one in this process, since Ray takes longer to start than it to be switched."""
    workers = job.config.workers
    if len(job.shards) == 1 and (workers or 1) == 1 and "RAY_ADDRESS" not in os.environ:
        return run_here

    connect(workers)  # before anything is written
    from csgen.job import map_shards

    on_this_machine = "RAY_ADDRESS" not in os.environ

    def place(job: SwitchJob, indices: list[int]) -> Iterator[Part]:
        # Workers of this machine map the lexicon's files; those of others get its arrays through the object store.
        shared = replace(job, table=job.table.by_path()) if on_this_machine else job
        return map_shards(run_shard, shared, indices, workers)

    return place


def _count_rows(job: SwitchJob) -> int | None:
    """The rows of all shards; None where there are text files, which do not tell."""
    rows = [shard.num_rows for shard in job.shards]
    return sum(rows) if min(rows) >= 0 else None


def _show(config: SwitchCommand) -> Report:
    with tempfile.TemporaryDirectory() as scratch:
        job = open_job(config.stage(scratch))
        pairs = _first_pairs(job, config.show)
    switched = Switcher(job.config, job.table).switch(pairs, spans=True)
    columns = ["query_id", "passage_id"]
    rows = pairs.select(columns).to_pylist()
    for side, texts in switched.texts.items():
        values = zip(rows, pairs.column(side), texts, switched.switches[side], strict=True)
        for row, before, after, switches in values:
            row[side] = before.as_py()
            row[f"switched_{side}"] = after.as_py()
            row[f"{side}_switches"] = switches.as_py()
    return Report(rows, show_pairs(pairs, switched, config.show))


def _first_pairs(job: SwitchJob, number: int) -> pa.RecordBatch:
    def on_bad_row(bad: BadRow) -> None:
        if job.config.on_error == "fail":
            refuse(bad)

    batches = chain.from_iterable(read_shard(shard, number, on_bad_row) for shard in job.shards)
    found = pa.Table.from_batches(islice(batches, number)).slice(0, number).combine_chunks().to_batches()
    if not found:
        raise InputError(f"{job.config.pairs}: no good row in it")
    return found[0]


def _plot_coverage(job: SwitchJob) -> "Figure":
    """Made before the job is run: a missing matplotlib is to be known then, and joined pairs are gone afterwards."""
    shard = job.shards[0]
    pairs = job.config.pairs if shard.path in job.inputs else shard.path
    return plot_coverage(measure_coverage(job.config, job.config.lexicon, sample_pairs(pairs, SAMPLE_ROWS)))
