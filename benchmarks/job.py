"""The whole job on local Ray, Parquet to Parquet, against a job that only reads and writes the same columns.

    python benchmarks/job.py --rows 5000000

Both take the same road: the same shards, reader, writer, compression and placement. They take turns.
"""

import argparse
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from multiprocessing import get_context
from pathlib import Path
from statistics import median

import numpy as np
import pyarrow.parquet as pq
import ray
from measure import print_table
from memory import MemoryWatch
from workload import Workload, describe_machine, open_workload

from csgen.files import join, replace_file
from csgen.job import map_shards
from csgen.sources.pairs import read_shard
from csgen.sources.parquet import write_pairs
from csgen.sources.rows import refuse
from csgen.switch_job import BATCH_ROWS, SwitchConfig, SwitchJob, open_job, run_shard, run_switch

PROBABILITY = 0.3
BYTES_A_ROW = 1000  # of disk: the input, and one output at a time
COPY, SWITCH = "reading and writing alone", "csgen switch"
PEAKS = ("driver_rss", "worker_rss", "worker_own", "all_pss")


@dataclass(frozen=True)
class Run:
    """One run of one of the jobs."""

    seconds: float
    memory: MemoryWatch
    output_bytes: int


def copy_shard(job: SwitchJob, index: int) -> int:
    """What `run_shard` does, without switching, hashing and notes."""
    rows = 0
    with (
        replace_file(join(job.config.output, f"part-{index:05d}.parquet")) as stream,
        pq.ParquetWriter(stream, job.schema, compression="lz4", use_dictionary=["label"]) as writer,
    ):
        for batch in read_shard(job.shards[index], BATCH_ROWS, refuse):
            writer.write_batch(batch, row_group_size=BATCH_ROWS)
            rows += batch.num_rows
    return rows


def copy_all(job: SwitchJob, workers: int) -> int:
    return sum(map_shards(copy_shard, job, list(range(len(job.shards))), workers))


def switch_all(job: SwitchJob, workers: int) -> int:
    manifest = run_switch(job, lambda j, indices: map_shards(run_shard, j, indices, workers), lambda part: None)
    return int(manifest.counts["pairs"])


JOBS: dict[str, Callable[[SwitchJob, int], int]] = {COPY: copy_all, SWITCH: switch_all}


def write_input(workload: Workload, rows: int, path: Path) -> None:
    """The pairs as a Parquet file of csgen's own form; refuses where the disk is too small."""
    free = shutil.disk_usage(path.parent).free
    if free < rows * BYTES_A_ROW:
        raise SystemExit(
            f"{path.parent}: {free >> 20} MB free, {rows * BYTES_A_ROW >> 20} needed; give another --scratch"
        )
    write_pairs((workload.pairs(k, min(BATCH_ROWS, rows - k)) for k in range(0, rows, BATCH_ROWS)), str(path))


def run_once(name: str, job: SwitchJob, workers: int, rows: int) -> Run:
    """Run one of the jobs into a folder of its own, which is then removed."""
    output = Path(job.config.output)
    with MemoryWatch() as memory:
        start = time.perf_counter()
        done = JOBS[name](job, workers)
        seconds = time.perf_counter() - start
    if done != rows:
        raise SystemExit(f"{name}: {done} rows came out, {rows} went in")
    run = Run(seconds, memory, sum(f.stat().st_size for f in output.glob("*.parquet")))
    shutil.rmtree(output)
    return run


def take_turns(job: SwitchJob, arguments: argparse.Namespace, rows: int) -> Iterator[tuple[tuple[str, int], Run]]:
    """All jobs with all numbers of workers in turn, each round."""
    for _ in range(arguments.rounds):
        for workers in arguments.workers:
            for name in JOBS:
                yield (name, workers), run_once(name, job, workers, rows)


def warm_up(job: SwitchJob, workers: int) -> Run:
    """Two shards through both jobs, so that the workers have started; the memory is that of a first job."""
    small = replace(job, shards=job.shards[:2])
    rows = sum(shard.num_rows for shard in small.shards)
    run = run_once(SWITCH, small, workers, rows)
    run_once(COPY, small, workers, rows)
    return run


def report(rows: int, runs: dict[tuple[str, int], list[Run]]) -> None:
    """Speed and memory of every job, and the ratios that are required."""
    head = [
        "",
        "pairs",
        "s, median",
        "best",
        "pairs/s",
        "driver, MB",
        "worker, MB",
        "without lexicon, MB",
        "all, PSS, MB",
    ]
    table = []
    for (name, workers), found in runs.items():
        seconds = median(r.seconds for r in found)
        best = min(r.seconds for r in found)
        peaks = [f"{max(getattr(r.memory, peak) for r in found):.0f}" for peak in PEAKS]
        start = [f"{name}, {workers} at a time", f"{rows:,}", f"{seconds:.1f}", f"{best:.1f}", f"{rows / seconds:,.0f}"]
        table.append(start + peaks)
    print_table(head, table)
    ratios = []
    for workers in sorted({w for _, w in runs}):
        each = [s.seconds / c.seconds for s, c in zip(runs[SWITCH, workers], runs[COPY, workers], strict=True)]
        ratios.append([f"time of switching : of {COPY}, {workers} at a time", f"{median(each):.2f}", "at most 2"])
    if {1, 2} <= {w for _, w in runs}:
        each = [one.seconds / two.seconds for one, two in zip(runs[SWITCH, 1], runs[SWITCH, 2], strict=True)]
        ratios.append(["speed of switching, 2 at a time : 1", f"{median(each):.2f}", "at least 1.5"])
    print_table(["ratio, median of the rounds", "measured", "required"], ratios)


def measure(rows: int, arguments: argparse.Namespace, folder: Path) -> None:
    workload = open_workload()
    source = folder / "pairs.parquet"
    options = {
        "pairs": str(source), "lexicon": str(folder / "lexicon"), "output": str(folder / "output"),
        "languages": workload.languages, "probability": PROBABILITY,
    }  # fmt: skip
    job = open_job(SwitchConfig.from_options(options))
    job = replace(job, table=job.table.by_path())
    shards, megabytes = len(job.shards), source.stat().st_size / 1e6
    print(f"{rows:,} pairs, {megabytes:,.0f} MB of lz4 Parquet, {shards} shards; {workload.description}\n")
    most = max(arguments.workers)
    ray.init(num_cpus=most, include_dashboard=False, logging_level="ERROR", log_to_driver=False)
    first = warm_up(job, most).memory
    runs: dict[tuple[str, int], list[Run]] = {}
    for key, run in take_turns(job, arguments, rows):
        runs.setdefault(key, []).append(run)
    ray.shutdown()
    report(rows, runs)
    table = sum(a.nbytes for a in job.table.arrays if isinstance(a, np.ndarray)) / (1 << 20)
    print(
        f"One copy of the lexicon: the table has {table:.1f} MB; after the first job {first.num_workers} workers had "
        f"{first.lexicon_rss:.1f} MB of its files in their maps (RSS), "
        f"of which their shares are {first.lexicon_pss:.1f} MB (PSS).\n"
    )


def prepare(rows: int, folder: Path) -> None:
    """Write the input and the lexicon; in a process of its own, so that the driver's memory is the job's alone."""
    workload = open_workload()
    workload.build_lexicon(str(folder / "lexicon"))
    write_input(workload, rows, folder / "pairs.parquet")


def main() -> None:
    def numbers(text: str) -> list[int]:
        return [int(part) for part in text.split(",")]

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--rows", type=numbers, default=[1_000_000], help="pairs; several to compare memory: 1000000,5000000"
    )
    parser.add_argument("--workers", type=numbers, default=[1, 2], help="numbers of workers (default 1,2)")
    parser.add_argument("--rounds", type=int, default=3, help="turns of each job (default 3)")
    parser.add_argument(
        "--scratch", type=Path, help="folder for input and output, 1 GB a million pairs; default: temporary"
    )
    arguments = parser.parse_args()
    os.environ |= {"RAY_AUTH_MODE": "disabled", "RAY_USAGE_STATS_ENABLED": "0"}
    print(f"{describe_machine()}\n")
    with tempfile.TemporaryDirectory(dir=arguments.scratch) as folder:
        for rows in arguments.rows:
            place = Path(folder, str(rows))
            place.mkdir()
            writer = get_context("spawn").Process(target=prepare, args=(rows, place))
            writer.start()
            writer.join()
            if writer.exitcode:
                raise SystemExit(writer.exitcode)
            measure(rows, arguments, place)
            shutil.rmtree(place)


if __name__ == "__main__":
    main()
