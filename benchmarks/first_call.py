"""How long a fresh process takes from its first import to its first switched batch, without and with Numba's cache.

    python benchmarks/first_call.py

The cache of the machine is left alone: a folder of its own stands in for it. For a worker of Ray, the first
column is what the first shard took beside the call itself, seen from the driver: mostly the start of the process.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pyarrow as pa
from measure import print_table
from workload import describe_machine, open_workload

CHILD = """
import time
start = time.perf_counter()
import sys
import pyarrow as pa
from csgen.lexicon.table import read_table
from csgen.switching.policy import Policy
from csgen.switching.switcher import Switcher
folder, languages = sys.argv[1:3]
with pa.ipc.open_file(folder + "/batch.arrow") as file:
    batch = file.get_batch(0)
policy = Policy.from_options({"languages": tuple(languages.split(",")), "probability": 0.3})
ready = time.perf_counter()
Switcher(policy, read_table(folder + "/lexicon", "en")).switch(batch)
print(ready - start, time.perf_counter() - start)
"""  # the interpreter's own start, some 0.05 s, is left out
IN_WORKER = """
import sys
import time
import ray
from csgen.job import map_shards
from csgen.lexicon.table import read_table
folder, languages = sys.argv[1:3]

def first_call(job, index):
    import time
    start = time.perf_counter()
    import pyarrow as pa
    from csgen.switching.policy import Policy
    from csgen.switching.switcher import Switcher
    with pa.ipc.open_file(folder + "/batch.arrow") as file:
        batch = file.get_batch(0)
    policy = Policy.from_options({"languages": tuple(languages.split(",")), "probability": 0.3})
    Switcher(policy, job).switch(batch)
    return time.perf_counter() - start,

ray.init(num_cpus=1, include_dashboard=False, logging_level="ERROR", log_to_driver=False)
table = read_table(folder + "/lexicon", "en")
start = time.perf_counter()
for seconds in map_shards(first_call, table, [0], 1):
    total = time.perf_counter() - start
    print(total - seconds[0], total)
"""


def run_fresh(script: str, folder: str, languages: str, cache: Path) -> list[float]:
    """What the script prints: seconds to import, to the first switched batch, and of the whole."""
    environment = os.environ | {
        "NUMBA_CACHE_DIR": str(cache),
        "RAY_AUTH_MODE": "disabled",
        "RAY_USAGE_STATS_ENABLED": "0",
    }
    done = subprocess.run(
        [sys.executable, "-c", script, folder, languages],
        env=environment,
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    )
    return list(map(float, done.stdout.split()))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1000, help="pairs of the first batch (default 1000)")
    parser.add_argument("--rounds", type=int, default=3, help="warm processes, of which the median counts (default 3)")
    arguments = parser.parse_args()
    workload = open_workload()
    languages = ",".join(workload.languages)
    with tempfile.TemporaryDirectory() as folder:
        workload.build_lexicon(f"{folder}/lexicon")
        batch = workload.pairs(0, arguments.rows)
        with pa.ipc.new_file(f"{folder}/batch.arrow", batch.schema) as file:
            file.write(batch)
        cache = Path(folder) / "numba"
        cold = run_fresh(CHILD, folder, languages, cache)
        warm = sorted((run_fresh(CHILD, folder, languages, cache) for _ in range(arguments.rounds)), key=lambda t: t[1])
        worker_warm = run_fresh(IN_WORKER, folder, languages, cache)
        worker_cold = run_fresh(IN_WORKER, folder, languages, Path(folder) / "other")
    print(f"{describe_machine()}\n")
    rows = [
        ("process, no cache yet", *cold, ""),
        ("process, cache warm", *warm[len(warm) // 2], "2"),
        ("Ray worker, no cache yet", *worker_cold, ""),
        ("Ray worker, cache warm", *worker_warm, ""),
    ]
    head = ["", "start and imports, s", "first batch done, s", "at most, s"]
    print_table(head, [[f"{c:.2f}" if isinstance(c, float) else c for c in row] for row in rows])


if __name__ == "__main__":
    main()
