"""`csgen mine`: here or on Ray, with a progress bar."""

import os

from rich import box
from rich.table import Table

from cluster.connection import connect
from cluster.mining.config import MineConfig
from cluster.mining.job import RunShards, count_encoded, mine_all, open_job, read_mine, run_here
from cluster.mining.output import write_output
from cluster.terminal import Report, Terminal


def mine(config: MineConfig, terminal: Terminal) -> Report:
    texts = read_mine(config)
    num_queries = len(texts.queries)
    num_shards = count_encoded(config, texts) + -(-num_queries // config.queries_per_shard)
    run_shards = _place(config, num_shards)
    with terminal.progress("queries", num_queries) as advance:
        job = open_job(config, texts, run_shards)
        mined = mine_all(job, run_shards, advance)
    counts = write_output(config, texts, mined)
    return Report(counts | {"output": config.output}, _show(counts, config))


def _place(config: MineConfig, num_shards: int) -> RunShards:
    """Where shards run: in this process if they are few, since Ray takes longer to start than they.

    BM25 alone is no faster on Ray unless that is a cluster: its search takes all threads of a machine by itself.
    """
    few = num_shards <= (3 if config.by == "encoder" else 1)
    by_threads = config.workers is None and config.by == "bm25" and not config.reranker
    if "RAY_ADDRESS" not in os.environ and (few or by_threads or config.workers == 1):
        return run_here
    connect(config.workers)
    from csgen.job import map_shards

    return lambda function, job, indices: map_shards(function, job, indices, config.workers)


def _show(counts: dict[str, object], config: MineConfig) -> Table:
    table = Table("what", "of", box=box.SIMPLE_HEAD, caption=f"pairs: {config.output}", caption_justify="left")
    table.add_column("number", justify="right")
    for what, number in counts.items():
        parts = number.items() if isinstance(number, dict) else [("", number)]
        for name, value in parts:
            shown = "-" if value is None else f"{value:.4f}" if isinstance(value, float) else f"{value:,}"
            table.add_row(what.replace("_", " "), name.replace("_", " "), shown)
    return table
