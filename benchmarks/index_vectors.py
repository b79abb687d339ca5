"""Vectors in four segments against one raw FAISS index of the same kind: queries a second, recall, opening, memory.

    python benchmarks/index_vectors.py --vectors 1000000 --dim 384 --output docs/plots

Vectors are made: clusters of clusters of unit length, with noise that falls off from dimension to dimension, and
queries beside them. Both sides have the same centroids and code books; the raw index lies in memory and adds all
vectors at once, ours are mapped files. Recall is the share of the 100 nearest, by FAISS's flat index, that are found.
All take turns with the same batches of queries, and of a batch's times in all rounds the best counts, since a busy
machine only ever slows. A kind runs in a process of its own, as does what is measured of opening and memory.
"""

import argparse
import csv
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import faiss
import numpy as np
from measure import print_table
from numba import set_num_threads
from workload import describe_machine

from csgen.plots import write_plots
from indexing.vectors.building import build_segment
from indexing.vectors.choice import CODED, choose
from indexing.vectors.config import VectorConfig
from indexing.vectors.search import Effort, Hits, search_segments
from indexing.vectors.segment import VectorSegment
from indexing.vectors.training import Trained, load_trained, train

KINDS = ("flat", "ivf", "ivf-pq", "sq8", "rabitq", "hnsw")
SEGMENTS, TOP_K, BATCHES = 4, 100, (1, 32)
DELETED, FILTERED = 0.1, 0.5  # shares of the rows that a search may not find
COLOURS = ("#0072B2", "#E69F00", "#009E73")  # Okabe and Ito's, which colour-blind people tell apart
_BLOCK_ROWS = 1 << 16

Search = Callable[..., np.ndarray | Hits]


@dataclass(frozen=True)
class Files:
    """Where one run's vectors and indexes lie."""

    folder: Path

    @property
    def vectors(self) -> np.ndarray:
        return np.load(self.folder / "vectors.npy", mmap_mode="r")

    @property
    def queries(self) -> np.ndarray:
        return np.load(self.folder / "queries.npy")

    @property
    def nearest(self) -> np.ndarray:
        return np.load(self.folder / "nearest.npy")

    @property
    def nearest_filtered(self) -> np.ndarray:
        return np.load(self.folder / "nearest_filtered.npy")

    def trained(self, kind: str) -> str:
        return str(self.folder / kind / "trained")

    def segments(self, kind: str) -> list[str]:
        return [str(self.folder / kind / str(number)) for number in range(SEGMENTS)]


def make_vectors(files: Files, rows: int, dim: int, num_queries: int, seed: int) -> None:
    """vectors.npy and queries.npy, block by block."""
    rng = np.random.default_rng(seed)
    falling = np.linspace(1.5, 0.5, dim, dtype=np.float32)
    topics = rng.standard_normal((64, dim), dtype=np.float32) * falling
    centres = topics[rng.integers(0, 64, max(64, rows // 200))]
    centres += 0.9 * rng.standard_normal(centres.shape, dtype=np.float32) * falling

    def draw(number: int) -> np.ndarray:
        drawn = centres[(rng.pareto(1.2, number) * len(centres) / 20).astype(np.int64) % len(centres)]
        drawn += 0.8 * rng.standard_normal(drawn.shape, dtype=np.float32) * falling
        return drawn / np.linalg.norm(drawn, axis=1, keepdims=True)

    written = np.lib.format.open_memmap(files.folder / "vectors.npy", "w+", np.float32, (rows, dim))
    for first in range(0, rows, _BLOCK_ROWS):
        part = written[first : first + _BLOCK_ROWS]
        part[:] = draw(len(part))
    written.flush()
    np.save(files.folder / "queries.npy", draw(num_queries).astype(np.float32))


def find_nearest(files: Files) -> None:
    """nearest.npy and nearest_filtered.npy: what FAISS's flat index finds of all rows, and of those of the filter."""
    index = faiss.IndexFlatIP(files.vectors.shape[1])
    add_blocks(index, files.vectors)
    np.save(files.folder / "nearest.npy", index.search(files.queries, TOP_K)[1])
    parameters = faiss.SearchParameters(sel=select(draw_allowed(index.ntotal, FILTERED)))
    np.save(files.folder / "nearest_filtered.npy", index.search(files.queries, TOP_K, params=parameters)[1])


def draw_allowed(rows: int, left_out: float) -> np.ndarray:
    return np.random.default_rng(1).random(rows) >= left_out


def select(allowed: np.ndarray) -> Any:
    return faiss.IDSelectorBitmap(np.packbits(allowed, bitorder="little"))


def cut_bitmaps(segments: list[VectorSegment], allowed: np.ndarray) -> list[np.ndarray]:
    cuts = np.cumsum([len(segment) for segment in segments])[:-1]
    return [np.packbits(part, bitorder="little") for part in np.split(allowed, cuts)]


def add_blocks(index: Any, vectors: np.ndarray) -> None:
    for first in range(0, len(vectors), _BLOCK_ROWS):
        index.add(np.ascontiguousarray(vectors[first : first + _BLOCK_ROWS]))


def build(files: Files, kind: str, num_threads: int) -> tuple[list[VectorSegment], float, float]:
    """Our segments, and the seconds of training and of building them."""
    vectors = files.vectors
    choice = choose(len(vectors), vectors.shape[1], VectorConfig(kind=kind))
    drawn = np.sort(np.random.default_rng(0).permutation(len(vectors))[: choice.train_vectors])
    start = time.perf_counter()
    trained = train(vectors[drawn], choice, files.trained(kind), num_threads=num_threads)
    print(trained.choice.reason)
    between = time.perf_counter()
    bounds = [len(vectors) * i // SEGMENTS for i in range(SEGMENTS + 1)]
    for folder, first, last in zip(files.segments(kind), bounds, bounds[1:], strict=False):
        build_segment(vectors[first:last], trained, folder, num_threads=num_threads)
    end = time.perf_counter()
    return open_segments(files, kind), between - start, end - between


def open_segments(files: Files, kind: str) -> list[VectorSegment]:
    trained = load_trained(files.trained(kind))
    return [VectorSegment.open(folder, trained) for folder in files.segments(kind)]


class Raw:
    """One FAISS index of a kind, in memory, with the same training; refined by FAISS's own means."""

    def __init__(self, trained: Trained, vectors: np.ndarray) -> None:
        self.choice = trained.choice
        start = time.perf_counter()
        self.kept: list[Any] = [trained]
        if trained.lists is not None:
            index = trained.lists.new_index()
        elif self.choice.kind == "hnsw":
            index = faiss.IndexHNSWFlat(self.choice.dim, self.choice.links, faiss.METRIC_INNER_PRODUCT)
            index.hnsw.efConstruction = self.choice.ef_construction
        else:
            index = faiss.IndexFlatIP(self.choice.dim)
        if trained.lists is not None and trained.lists.rotation is not None:
            turn = faiss.RandomRotationMatrix(self.choice.dim, self.choice.dim)
            turn.init(self.choice.seed)
            self.kept += [turn, index]
            index = faiss.IndexPreTransform(turn, index)
        if self.choice.kind in CODED:
            self.kept.append(index)
            index = faiss.IndexRefineFlat(index)
        add_blocks(index, vectors)
        self.index = index
        self.seconds = time.perf_counter() - start

    def search(self, queries: np.ndarray, effort: Effort, selector: Any = None) -> np.ndarray:
        return self.index.search(queries, TOP_K, params=self._parameters(effort, selector))[1]

    def _parameters(self, effort: Effort, selector: Any) -> Any:
        kind, choice = self.choice.kind, self.choice
        if kind == "flat":
            return faiss.SearchParameters(sel=selector)
        if kind == "hnsw":
            ef_search = max(TOP_K, effort.ef_search or choice.ef_search)
            return faiss.SearchParametersHNSW(efSearch=ef_search, sel=selector)
        options = {"nprobe": effort.probes or choice.probes, "sel": selector}
        if kind == "rabitq":
            listed = faiss.IVFRaBitQSearchParameters(**options)
            parameters = faiss.SearchParametersPreTransform(index_params=listed)
        else:
            parameters = faiss.SearchParametersIVF(**options)
        if kind in CODED:
            factor = effort.refine_factor or choice.refine_factor
            return faiss.IndexRefineSearchParameters(k_factor=factor, base_index_params=parameters)
        return parameters


def recall(found: np.ndarray, nearest: np.ndarray) -> float:
    return float(
        np.mean([len(set(a) & set(b)) / len(b) for a, b in zip(found.tolist(), nearest.tolist(), strict=True)])
    )


def number_rows(found: np.ndarray | Hits, segments: list[VectorSegment]) -> np.ndarray:
    """The rows found, numbered through all segments."""
    if isinstance(found, np.ndarray):
        return found
    starts = np.cumsum([0, *map(len, segments)])
    return np.where(found.rows < 0, -1, starts[found.segments] + found.rows)


def race(searches: dict[str, Search], queries: np.ndarray, batch: int, rounds: int) -> dict[str, float]:
    """Queries a second of each."""
    batches = [queries[first : first + batch] for first in range(0, len(queries), batch)]
    best = {name: np.full(len(batches), np.inf) for name in searches}
    for _ in range(rounds + 1):  # the first to warm up
        for name, search in searches.items():
            for number, part in enumerate(batches):
                start = time.perf_counter()
                search(part)
                best[name][number] = min(best[name][number], time.perf_counter() - start)
    return {name: len(queries) / float(seconds.sum()) for name, seconds in best.items()}


def measure_kind(files: Files, kind: str, rounds: int, num_threads: int) -> dict[str, Any]:
    """All figures of a kind."""
    segments, train_s, build_s = build(files, kind, num_threads)
    raw, queries, nearest = Raw(segments[0].trained, files.vectors), files.queries, files.nearest
    filtered = draw_allowed(len(files.vectors), FILTERED)
    deleted = draw_allowed(len(filtered), DELETED)
    ours = partial(search_segments, segments, top_k=TOP_K, num_threads=num_threads)
    searches: dict[str, Search] = {
        "raw": partial(raw.search, effort=Effort()),
        "ours": ours,
        "raw_filtered": partial(raw.search, effort=Effort(), selector=select(filtered)),
        "filtered": partial(ours, allowed=cut_bitmaps(segments, filtered)),
        "deleted": partial(ours, allowed=cut_bitmaps(segments, deleted)),
    }
    result: dict[str, Any] = {"kind": kind, "train_s": train_s, "build_s": build_s, "raw_build_s": raw.seconds}
    for name, search in searches.items():
        if name != "deleted":
            expected = files.nearest_filtered if "filtered" in name else nearest
            result[f"{name}_recall"] = recall(number_rows(search(queries), segments), expected)
    for batch in BATCHES:
        asked = queries[: max(batch, len(queries) // (8 if batch == 1 else 1))]
        rates = race(searches, asked, batch, rounds)
        result[f"batch_{batch}"] = rates | {
            "ratio": rates["ours"] / rates["raw"],
            "filtered_ratio": rates["filtered"] / rates["raw_filtered"],
            "deleted_ratio": rates["deleted"] / rates["ours"],
        }
    result["curve"] = []
    for effort in list_efforts(kind, raw.choice.num_lists):
        point: dict[str, Any] = {"kind": kind, "effort": effort.probes or effort.ef_search or 0}
        point["refine_factor"] = effort.refine_factor or 0.0
        searches = {"raw": partial(raw.search, effort=effort), "ours": partial(ours, effort=effort)}
        rates = race(searches, queries, max(BATCHES), max(1, rounds // 2))
        for name, search in searches.items():
            found = number_rows(search(queries), segments)
            point |= {f"{name}_rate": rates[name], f"{name}_recall": recall(found, nearest)}
        result["curve"].append(point)
    return result


def list_efforts(kind: str, num_lists: int) -> Iterable[Effort]:
    if kind == "flat":
        return [Effort()]
    if kind == "hnsw":
        return [Effort(ef_search=ef) for ef in (100, 150, 250, 500, 1000)]
    probes = sorted({max(1, round(num_lists * share)) for share in (0.0025, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25)})
    if kind == "ivf":
        return [Effort(probes=number) for number in probes]
    factors = {"sq8": (1.0, 1.5), "ivf-pq": (2.0, 4.0, 8.0), "rabitq": (4.0, 8.0, 16.0)}[kind]
    return [Effort(probes=number, refine_factor=factor) for factor in factors for number in probes]


def measure_opening(files: Files, kind: str) -> dict[str, float]:
    """Milliseconds of opening, and megabytes in memory of the mapped files and of all else: opened, and searched."""
    queries = files.queries
    before = resident_mb(files.folder / kind)
    start = time.perf_counter()
    segments = open_segments(files, kind)
    result = {"open_ms": 1e3 * (time.perf_counter() - start)}
    opened = resident_mb(files.folder / kind)
    search_segments(segments, queries, TOP_K)
    searched = resident_mb(files.folder / kind)
    for name, now in (("opened", opened), ("searched", searched)):
        result |= {f"{name}_mapped_mb": now[0], f"{name}_other_mb": now[1] - before[1]}
    result["files_mb"] = sum(path.stat().st_size for path in (files.folder / kind).rglob("*") if path.is_file()) / 1e6
    return result


def resident_mb(folder: Path) -> tuple[float, float]:
    """Of the mapped files in a folder, a page mapped twice counted once (Pss), and of all else of the process."""
    maps = re.split(r"\n(?=[0-9a-f]+-[0-9a-f]+ )", Path("/proc/self/smaps").read_text())
    sizes = [(str(folder) in one.splitlines()[0], int(re.search(r"\nPss: +(\d+) kB", one)[1])) for one in maps]
    return tuple(sum(kb for mine, kb in sizes if mine == wanted) * 1024 / 1e6 for wanted in (True, False))


def plot(results: list[dict[str, Any]], folder: str) -> None:
    """index-vectors.png and .svg: for each kind recall against queries a second, ours and raw FAISS's."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    columns = min(3, len(results))
    figure = Figure(figsize=(3 * columns, 2.6 * -(-len(results) // columns)), layout="constrained")
    panels = figure.subplots(-(-len(results) // columns), columns, squeeze=False).flat
    for result, axes in zip(results, panels, strict=False):
        factors = sorted({point["refine_factor"] for point in result["curve"]})
        for factor, colour in zip(factors, COLOURS, strict=False):
            points = [point for point in result["curve"] if point["refine_factor"] == factor]
            for name, line in (("ours", "-"), ("raw", ":")):
                axes.plot(
                    [point[f"{name}_recall"] for point in points], [point[f"{name}_rate"] for point in points], line,
                    color=colour, marker="o" if name == "ours" else "x", markersize=3, linewidth=1,
                    label=f"refined {factor:g} x" if factor and name == "ours" else None,
                )  # fmt: skip
        axes.set(yscale="log", xlabel=f"recall@{TOP_K}", ylabel="queries/s, batches of 32")
        axes.set_title(result["kind"], fontsize=10)
        axes.xaxis.set_major_locator(MaxNLocator(4))
        axes.tick_params(which="both", labelsize=7)
        axes.grid(alpha=0.3)
        if factors != [0.0]:
            axes.legend(fontsize=7)
    figure.suptitle(f"{SEGMENTS} segments (solid) and one raw FAISS index (dotted)", fontsize=9)
    print("\n".join(write_plots({"index-vectors": figure}, folder)))


def write_points(results: list[dict[str, Any]], folder: str) -> None:
    """index-vectors.json with all figures, and the points of the curves as index-vectors.csv."""
    Path(folder).mkdir(parents=True, exist_ok=True)
    Path(folder, "index-vectors.json").write_text(json.dumps(results, indent=1) + "\n")
    points = [point for result in results for point in result["curve"]]
    with Path(folder, "index-vectors.csv").open("w", newline="") as stream:
        writer = csv.DictWriter(stream, list(points[0]))
        writer.writeheader()
        writer.writerows(points)


def print_results(results: list[dict[str, Any]]) -> None:
    rows = [
        (
            one["kind"], batch, f"{one[key]['raw']:,.0f}", f"{one[key]['ours']:,.0f}", f"{one[key]['ratio']:.2f}",
            f"{one['raw_recall']:.4f}", f"{one['ours_recall']:.4f}", f"{one[key]['deleted_ratio']:.2f}",
            f"{one[key]['filtered_ratio']:.2f}", f"{one['raw_filtered_recall']:.4f}", f"{one['filtered_recall']:.4f}",
        )
        for one in results for batch in BATCHES for key in [f"batch_{batch}"]
    ]  # fmt: skip
    head = (
        "kind", "batch", "raw, queries/s", "ours, queries/s", "ratio", f"raw recall@{TOP_K}", "recall",
        "10 % deleted to none", "half allowed, to raw", "raw recall", "recall",
    )  # fmt: skip
    print_table(head, rows)
    names = ("open_ms", "files_mb", "opened_mapped_mb", "opened_other_mb", "searched_mapped_mb", "searched_other_mb")
    rows = [
        (one["kind"], *(f"{one[name]:,.1f}" for name in ("train_s", "build_s", "raw_build_s", *names)))
        for one in results
    ]
    print_table(("kind", "train, s", "build, s", "raw build, s", *(name.replace("_", " ") for name in names)), rows)


def run(options: argparse.Namespace, *arguments: str) -> Any:
    """What a process of this file prints last, as JSON."""
    command = [sys.executable, __file__, *arguments, "--threads", str(options.threads), "--rounds", str(options.rounds)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    *text, last = done.stdout.strip().splitlines()
    print("\n".join(text))
    return json.loads(last)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--vectors", type=int, default=1_000_000)
    parser.add_argument("--dim", type=int, default=384)
    parser.add_argument("--queries", type=int, default=256)
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=list(KINDS))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--work", help="folder for vectors and indexes; else a temporary one, which goes")
    parser.add_argument("--output", help="folder for index-vectors.json, .csv, .png and .svg")
    parser.add_argument("--measure", nargs=2, metavar=("KIND", "FOLDER"), help=argparse.SUPPRESS)
    parser.add_argument("--open", nargs=2, metavar=("KIND", "FOLDER"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    faiss.omp_set_num_threads(options.threads)
    set_num_threads(min(options.threads, len(os.sched_getaffinity(0))))
    if options.measure or options.open:
        kind, folder = options.measure or options.open
        files = Files(Path(folder))
        measured = (
            measure_kind(files, kind, options.rounds, options.threads)
            if options.measure
            else measure_opening(files, kind)
        )
        print(json.dumps(measured))
        return
    print(
        f"{describe_machine()}, FAISS {faiss.__version__}; {options.vectors:,} x {options.dim}, "
        f"{options.threads} threads\n"
    )
    with tempfile.TemporaryDirectory(dir=options.work) as folder:
        files = Files(Path(folder))
        make_vectors(files, options.vectors, options.dim, options.queries, options.seed)
        find_nearest(files)
        results = []
        for kind in options.kinds:
            figures = run(options, "--measure", kind, folder)
            results.append(figures | run(options, "--open", kind, folder))
    print_results(results)
    if options.output:
        write_points(results, options.output)
        plot(results, options.output)


if __name__ == "__main__":
    main()
