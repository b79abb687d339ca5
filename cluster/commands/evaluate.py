"""`csgen evaluate`: makes the units that are missing, here or on Ray, and shows the tables."""

import os
from collections.abc import Iterator

from rich.console import Group

from cluster.connection import connect
from cluster.dense import open_dense
from cluster.index_ranker import open_index
from cluster.lexical import open_lexical
from cluster.models import hash_model, open_model
from cluster.terminal import Report, Terminal
from csgen.files import join
from eval.evaluate import EvaluateConfig, Job, finish_job, plan_job, run_group
from eval.reporting.report import terminal_view
from eval.workshop import Makers

SMALL_UNITS = 100  # made here: Ray would take longer to start


def evaluate(config: EvaluateConfig, terminal: Terminal) -> Report:
    job = plan_job(config, Makers(open_lexical, open_dense, open_index, open_model, hash_model))
    with terminal.progress("runs", job.num_missing) as advance:
        for made in _run_groups(job):
            advance(made)
    results = finish_job(job)
    where = f"{len(job.units):,} runs, {job.num_missing:,} of them new; report: {join(config.output, 'report.html')}"
    summary = {
        "output": config.output,
        "runs": len(job.units),
        "new_runs": job.num_missing,
        "cells": len(results.cells),
        "measures": list(results.measures),
        "summary": results.summary.to_dicts(),
        "warnings": list(results.warnings),
    }
    return Report(summary, Group(terminal_view(results), where))


def _run_groups(job: Job) -> Iterator[int]:
    """The number of units made, group by group; the groups run side by side on Ray where there is much to do."""
    workers, indices = job.config.workers, list(range(len(job.groups)))
    on_cluster = "RAY_ADDRESS" in os.environ
    if not on_cluster and (workers == 1 or len(indices) < 2 or job.num_missing < SMALL_UNITS):
        yield from (run_group(job, index) for index in indices)
        return
    connect(workers)
    from csgen.job import map_shards

    yield from map_shards(run_group, job, indices, workers)
