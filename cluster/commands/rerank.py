"""`csgen rerank`: here or on Ray, with a progress bar."""

import os

from cluster.connection import connect
from cluster.reranking import RerankConfig, RunShards, open_job, run_here, run_shard
from cluster.reranking import rerank as rerank_job
from cluster.terminal import Report, Terminal


def rerank(config: RerankConfig, terminal: Terminal) -> Report:
    job = open_job(config)
    run_shards = _place(config, job.num_shards)
    with terminal.progress("pairs", len(job.run)) as advance:
        counts = rerank_job(job, run_shards, advance)
    view = f"{counts['pairs']:,} pairs of {counts['queries']:,} queries scored; run: {config.output}"
    return Report(counts | {"output": config.output}, view)


def _place(config: RerankConfig, num_shards: int) -> RunShards:
    """Where shards run: a single one in this process, which loads the model no later than a worker would."""
    if "RAY_ADDRESS" not in os.environ and (num_shards == 1 or config.workers == 1):
        return run_here
    connect(config.workers)
    from csgen.job import map_shards

    return lambda job, indices: map_shards(run_shard, job, indices, config.workers)
