"""Seconds and memory of lexicons from word vectors, against the matrix products alone that they need.

    python benchmarks/neighbours.py --words 200000 --dimensions 300

Each method runs in a process of its own on made vectors, saved and mapped into memory beforehand. NumPy's matrix
product is timed in the same process, before and after, since other load changes both.
"""

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import polars as pl
from measure import print_table
from workload import describe_machine

from csgen.induction.embeddings import EmbeddingOptions, induce_from_vectors
from csgen.induction.vectors import Vectors
from csgen.neighbours import search

METHODS = {
    "the paper's nearest neighbour": {"method": "nearest"},
    "CSLS, one translation": {"mutual": False},
    "CSLS, mutual, one translation": {"mutual": True},
    "CSLS, mutual, 5 translations": {"mutual": True, "max_translations": 5},
}
NOISE = 0.8  # added to the target's unit vectors, so that most words, not all, find their own again
_PRODUCT_ROWS, _PRODUCT_COLUMNS = 4096, 16384
_PRODUCT_SECONDS = 2.0


def make_vectors(words: int, dimensions: int, folder: Path) -> None:
    """source.npy and target.npy: the target's vectors are the source's in another order, with noise."""
    rng = np.random.default_rng(1)
    source = rng.standard_normal((words, dimensions), dtype=np.float32)
    source /= np.linalg.norm(source, axis=1, keepdims=True)
    np.save(folder / "source.npy", source)
    source = source[rng.permutation(words)]
    for start in range(0, words, 1 << 14):
        part = source[start : start + (1 << 14)]
        part += rng.standard_normal(part.shape, dtype=np.float32) * np.float32(NOISE / dimensions**0.5)
        part /= np.linalg.norm(part, axis=1, keepdims=True)
    np.save(folder / "target.npy", source)


def load_vectors(path: Path) -> Vectors:
    matrix = np.load(path)
    words = pl.select(pl.format("w{}", pl.int_range(len(matrix)))).to_series()
    return Vectors(words, matrix, pl.DataFrame(schema={"line": pl.Int64, "reason": pl.String}))


def measure_product(matrix: np.ndarray) -> float:
    """Multiplications and additions a second (FLOP/s) of NumPy's own matrix product at this width."""
    rows, columns = matrix[:_PRODUCT_ROWS], matrix[:_PRODUCT_COLUMNS].T
    result = np.empty((len(rows), columns.shape[1]), np.float32)
    np.matmul(rows, columns, out=result)
    start, calls = time.perf_counter(), 0
    while (seconds := time.perf_counter() - start) < _PRODUCT_SECONDS:
        np.matmul(rows, columns, out=result)
        calls += 1
    return calls * 2 * result.size * matrix.shape[1] / seconds


def count_products(words: int, pairs: pl.DataFrame, options: EmbeddingOptions) -> float:
    """How many times all sources are multiplied with all targets: CSLS's two means, the search, and the way back."""
    if options.method == "nearest":
        return 1.0
    return 3.0 + (pairs["target"].n_unique() / words if options.mutual else 0.0)


def run_method(name: str, folder: Path) -> None:
    """Print seconds, products, the seconds that these take alone, GFLOP/s of NumPy, peak RSS in MB, and pairs."""
    options = EmbeddingOptions.from_options(METHODS[name])
    source, target = (load_vectors(folder / f"{side}.npy") for side in ("source", "target"))
    search(source.matrix[:100], target.matrix[:1000], 2)  # compiles
    before = measure_product(source.matrix)
    start = time.perf_counter()
    pairs = induce_from_vectors(source, target, options)
    seconds = time.perf_counter() - start
    limit = (before + measure_product(source.matrix)) / 2
    products = count_products(len(source.words), pairs, options)
    alone = products * 2 * len(source.words) * len(target.words) * source.num_dimensions / limit
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(seconds, products, alone, limit / 1e9, peak, len(pairs))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--words", type=int, default=20_000, help="of each language")
    parser.add_argument("--dimensions", type=int, default=300)
    parser.add_argument("--methods", nargs="*", choices=METHODS, default=list(METHODS))
    parser.add_argument("--run", nargs=2, metavar=("METHOD", "FOLDER"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.run:
        run_method(options.run[0], Path(options.run[1]))
        return
    print(f"{describe_machine()}; {options.words:,} words a language, {options.dimensions} dimensions\n")
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        make_vectors(options.words, options.dimensions, Path(folder))
        for name in options.methods:
            command = [sys.executable, __file__, "--run", name, folder]
            done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
            seconds, products, alone, limit, peak, pairs = map(float, done.stdout.split())
            rows.append(
                (
                    name,
                    f"{seconds:.1f}",
                    f"{products:.2f}",
                    f"{limit:.0f}",
                    f"{alone:.1f}",
                    f"{seconds / alone:.2f}",
                    f"{peak:.0f}",
                    f"{pairs:,.0f}",
                )
            )
    head = ("", "seconds", "products", "NumPy's GFLOP/s", "seconds of the products", "ratio", "peak RSS, MB", "pairs")
    print_table(head, rows)


if __name__ == "__main__":
    main()
