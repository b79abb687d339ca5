"""How long `csgen evaluate` takes when everything is there already: whole processes, from start to exit.

    python benchmarks/cached_evaluate.py eval/experiments/xquad-r.yaml --output results/xquad-r

Beside it, what no such command can do without: starting Python and importing polars and pydantic.
"""

import argparse
import subprocess
import sys
import time
from statistics import median

from measure import print_table

CSGEN = "import sys; from cluster.cli import main; sys.exit(main())"
IMPORTS = "import polars, pydantic"


def seconds_of(code: str, *arguments: str) -> float:
    """Of one process; what it prints is thrown away."""
    start = time.perf_counter()
    subprocess.run([sys.executable, "-c", code, *arguments], check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("experiment")
    parser.add_argument("--output", required=True)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    command = ["evaluate", options.experiment, "--output", options.output]
    seconds_of(CSGEN, *command)  # makes what is missing
    cached, imports = [], []
    for _ in range(options.rounds):
        cached.append(seconds_of(CSGEN, *command))
        imports.append(seconds_of(IMPORTS))
    ratio = median(a / b for a, b in zip(cached, imports, strict=True))
    rows = [("csgen evaluate, all cached", f"{median(cached):.2f}", f"{ratio:.1f}"),
            ("importing polars and pydantic", f"{median(imports):.2f}", "1.0")]  # fmt: skip
    print_table(["process", "s, median", "ratio"], rows)


if __name__ == "__main__":
    main()
