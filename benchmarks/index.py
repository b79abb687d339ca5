"""A whole index against raw FAISS: build, open, search, delete, compact, add.

    python benchmarks/index.py --passages 1000000 --dim 384 --kinds flat ivf      # made vectors
    python benchmarks/index.py --collection data/debian --encoder csgen-encoder   # a collection, with its encoding

The index has four shards and is made by csgen's own commands, each in a process of its own. The raw FAISS index is one,
of the same kind, in memory, with the same training; it knows nothing of passages, and returns row numbers where ours
returns passages' numbers, exactly merged and ordered by address. Queries are vectors. All take turns with the same
batches of queries, and of a batch's times in all rounds the best counts, since a busy machine only ever slows; versions
of the index with a tenth deleted, and after compaction, are among them.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import faiss
import numpy as np
import polars as pl
from index_vectors import BATCHES, TOP_K, Files, Raw, make_vectors, race, resident_mb
from measure import print_table
from numba import set_num_threads
from workload import describe_machine

from csgen.sources.collection import join_titles, read_collection
from indexing.index.index import Index
from indexing.index.query import SearchOptions, SearchRequest
from indexing.index.result import SearchResult
from indexing.vectors.search import Effort

SHARDS, DELETED, ADDED = 4, 0.1, 10_000
LANGUAGES = ("de", "en", "fr", "ja")
OPTIONS = SearchOptions.from_options({"top_k": TOP_K})


@dataclass(frozen=True)
class Workplace:
    """Passages, their vectors, and indexes of them."""

    folder: Path
    collection: str | None
    encoder: str | None
    threads: int

    @property
    def passages(self) -> str:
        return self.collection or str(self.folder / "passages.parquet")

    def origin(self, name: str) -> list[str]:
        """Where the vectors of some passages come from."""
        return ["--encoder", self.encoder] if self.encoder else ["--vectors", str(self.folder / f"{name}.npy")]

    def csgen(self, *arguments: str) -> tuple[dict[str, Any], float, float]:
        """The report of a command, its seconds, and those of its processors."""
        command = [sys.executable, "-m", "cluster", *arguments, "--format", "json", "--quiet"]
        before, start = _processor_s(), time.perf_counter()
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
        return json.loads(done.stdout), time.perf_counter() - start, _processor_s() - before


def make_passages(work: Workplace, options: argparse.Namespace) -> None:
    """Passages and vectors to build of, to add, and queries."""
    rows = options.passages
    if not work.collection:
        make_vectors(Files(work.folder), rows + ADDED, options.dim, options.queries, 1)
        vectors = np.load(work.folder / "vectors.npy", mmap_mode="r")
        np.save(work.folder / "added.npy", vectors[rows:])
        kept = np.array(vectors[:rows])
        np.save(work.folder / "vectors.npy", kept)
        _write_passages(work.folder / "passages.parquet", 0, rows)
    _write_passages(work.folder / "added.parquet", rows, ADDED)


def _write_passages(path: Path, first: int, number: int) -> None:
    numbers = np.arange(first, first + number)
    table = pl.DataFrame({"language": np.array(LANGUAGES)[numbers % len(LANGUAGES)], "number": numbers})
    table.select(
        "language", passage_id=pl.format("p{}", "number"), text=pl.format("passage {} of {}", "number", "language")
    ).write_parquet(path)


def measure_kind(work: Workplace, kind: str, options: argparse.Namespace) -> dict[str, Any]:
    """All figures of an index of a kind."""
    folder = str(work.folder / f"index-{kind}")
    lexical = "--lexical" if work.collection else "--no-lexical"
    workers = ["--workers", str(work.threads)]
    languages = ["--languages", options.languages] if options.languages else []
    built, build_s, build_cpu_s = work.csgen(
        "index", "build", work.passages, *work.origin("vectors"), *languages, "--kind", kind, "--num-shards",
        str(SHARDS), lexical, *workers, "--output", folder,
    )  # fmt: skip
    result: dict[str, Any] = {"kind": kind, "reason": built["reason"], "build_s": build_s, "build_cpu_s": build_cpu_s}
    index = Index.open(folder)
    vectors = np.concatenate([segment.vectors(np.arange(len(segment))) for segment in index.opened.vectors])
    result |= dict(zip(("passages", "dim"), vectors.shape, strict=True))
    before, start = _processor_s(), time.perf_counter()
    raw = Raw(index.opened.vectors[0].trained, vectors)
    result |= {"raw_add_s": time.perf_counter() - start, "raw_add_cpu_s": _processor_s() - before}
    queries = read_queries(work, index, options.queries)
    versions = {"ours": index} | change(work, folder, result)
    flat = faiss.IndexFlatIP(vectors.shape[1])
    flat.add(vectors)
    least = flat.search(queries, TOP_K)[0][:, -1:]
    starts = np.cumsum([0, *map(len, index.opened.vectors)])
    found = search(index, queries, work.threads)
    ours = starts[found.numbers >> 32] + (found.numbers & 0xFFFFFFFF)
    for name, rows in (("recall", ours), ("raw_recall", raw.search(queries, Effort()))):
        scores = np.einsum("qj,qkj->qk", queries, vectors[rows])
        result[name] = float((scores >= least - 1e-6).mean())  # rows as near as the last of the nearest count alike
    del flat
    for batch in BATCHES:
        asked = queries[: max(batch, len(queries) // (8 if batch == 1 else 1))]
        searches: dict[str, Callable[[np.ndarray], Any]] = {"raw": partial(raw.search, effort=Effort())} | {
            name: partial(search, version, num_threads=work.threads) for name, version in versions.items()
        }
        rates = race(searches, asked, batch, options.rounds)
        result[f"batch_{batch}"] = rates | {
            "ratio": rates["ours"] / rates["raw"],
            "deleted_ratio": rates["deleted"] / rates["ours"],
            "compacted_ratio": rates["compacted"] / rates["ours"],
        }
    return result | run_opening(folder, index)


def run_opening(folder: str, index: Index) -> dict[str, float]:
    """`measure_opening` in a process of its own."""
    asked = f"index.measure_opening({folder!r}, {index.version.number}, {index.settings.dim})"
    code = f"import index; print(index.json.dumps({asked}))"
    here = Path(__file__).parent
    done = subprocess.run([sys.executable, "-c", code], cwd=here, check=True, stdout=subprocess.PIPE, text=True)
    return dict(json.loads(done.stdout))


def search(index: Index, vectors: np.ndarray, num_threads: int) -> SearchResult:
    return index.search(SearchRequest(vectors=vectors, options=OPTIONS), num_threads=num_threads)


def read_queries(work: Workplace, index: Index, number: int) -> np.ndarray:
    if not work.collection:
        return np.load(work.folder / "queries.npy")
    collection = read_collection(work.collection)
    texts = pl.concat(collection.queries(language).head(number) for language in collection.languages)["text"]
    return index.encode(texts.sample(number, seed=1).to_list())[0]


def change(work: Workplace, folder: str, result: dict[str, Any]) -> dict[str, Index]:
    """A tenth deleted, compacted, passages added; the versions after the first two."""
    listed = work.folder / "deleted.txt"
    listed.write_text("\n".join(draw_addresses(Index.open(folder))) + "\n")
    keep = ("--keep", "9")
    _, result["delete_s"], _ = work.csgen("index", "delete", folder, "--passages-file", str(listed), *keep)
    versions = {"deleted": Index.open(folder)}
    _, result["compact_s"], result["compact_cpu_s"] = work.csgen(
        "index", "compact", folder, "--workers", str(work.threads), *keep
    )
    versions["compacted"] = Index.open(folder)
    before = _marks(folder)
    _, result["add_s"], result["add_cpu_s"] = work.csgen(
        "index", "add", folder, str(work.folder / "added.parquet"), *work.origin("added"), *keep
    )
    assert before.items() <= _marks(folder).items(), "older segments were touched"
    return versions


def draw_addresses(index: Index) -> list[str]:
    """A tenth of the passages."""
    sizes = list(map(len, index.opened.vectors))
    numbers = np.concatenate([place << 32 | np.arange(size) for place, size in enumerate(sizes)])
    drawn = numbers[np.random.default_rng(1).random(len(numbers)) < DELETED]
    return index.opened.addresses(drawn).to_pylist()


def _marks(folder: str) -> dict[str, tuple[int, int]]:
    """Inode and time of each file of a segment."""
    stats = {str(path): path.stat() for path in Path(folder, "segments").rglob("*") if path.is_file()}
    return {name: (stat.st_ino, stat.st_mtime_ns) for name, stat in stats.items()}


def measure_opening(folder: str, version: int, dim: int) -> dict[str, float]:
    """Milliseconds of opening and of a first search, and memory."""
    query = np.ones((1, dim), np.float32)
    before = resident_mb(Path(folder))
    start = time.perf_counter()
    index = Index.open(folder, version)
    opened = time.perf_counter()
    at_open = resident_mb(Path(folder))
    between = time.perf_counter()
    search(index, query, 1)
    searched = time.perf_counter()
    at_search = resident_mb(Path(folder))
    return {
        "open_ms": 1e3 * (opened - start), "first_search_ms": 1e3 * (searched - between),
        "opened_mb": sum(at_open) - sum(before), "searched_mapped_mb": at_search[0],
        "searched_other_mb": at_search[1] - before[1],
        "files_mb": sum(path.stat().st_size for path in Path(folder).rglob("*") if path.is_file()) / 1e6,
    }  # fmt: skip


def _processor_s() -> float:
    """Of this process and of its children that have ended."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


def measure_encoding(work: Workplace, options: argparse.Namespace) -> dict[str, float]:
    """What encoding alone takes, in one process: processor seconds of a sample, for all passages."""
    from indexing.encoder import Encoder

    collection = read_collection(work.collection or "")
    languages = options.languages.split(",") if options.languages else collection.passage_languages
    texts = pl.concat(join_titles(collection.passages(language)).select("text") for language in languages)["text"]
    sample = texts.sample(min(20_000, len(texts)), seed=1).to_list()
    encoder = Encoder.load(work.encoder or "")
    encoder.encode(sample[:256])
    before = _processor_s()
    encoder.encode(sample)
    return {"encoding_cpu_s": (_processor_s() - before) * len(texts) / len(sample)}


def print_results(results: list[dict[str, Any]]) -> None:
    rows = []
    for one in results:
        for batch in BATCHES:
            rates = one[f"batch_{batch}"]
            rows.append((
                one["kind"], batch, *(f"{rates[name]:,.1f}" for name in ("raw", "ours")),
                *(f"{rates[name]:.2f}" for name in ("ratio", "deleted_ratio", "compacted_ratio")),
                *(f"{one[name]:.4f}" for name in ("raw_recall", "recall")),
            ))  # fmt: skip
    print_table(
        ("kind", "batch", "raw FAISS, queries/s", "index, queries/s", "ratio", "10 % deleted to none",
         "compacted to none", f"raw recall@{TOP_K}", f"recall@{TOP_K}"), rows
    )  # fmt: skip
    names = [
        "build_s", "build_cpu_s", "encoding_cpu_s", "raw_add_s", "raw_add_cpu_s", "delete_s", "compact_s", "add_s",
        "open_ms", "first_search_ms", "opened_mb", "searched_mapped_mb", "searched_other_mb", "files_mb",
    ]  # fmt: skip
    rows = [(name, *(f"{one[name]:,.1f}" for one in results)) for name in names if name in results[0]]
    print_table(("figure", *(one["kind"] for one in results)), rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--passages", type=int, default=1_000_000)
    parser.add_argument("--dim", type=int, default=384)
    parser.add_argument("--collection", help="folder of a parallel collection, in place of made passages")
    parser.add_argument("--languages", help="of the collection, e.g. en,de; else all")
    parser.add_argument("--encoder", help="of the collection's passages")
    parser.add_argument("--kinds", nargs="+", default=["flat", "ivf"])
    parser.add_argument("--queries", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--work", help="folder for the temporary one, which goes")
    options = parser.parse_args()
    if bool(options.collection) != bool(options.encoder):
        parser.error("--collection and --encoder go together")
    faiss.omp_set_num_threads(options.threads)
    set_num_threads(options.threads)
    print(f"{describe_machine()}, FAISS {faiss.__version__}; {options.threads} threads\n")
    with tempfile.TemporaryDirectory(dir=options.work) as folder:
        work = Workplace(Path(folder), options.collection, options.encoder, options.threads)
        make_passages(work, options)
        encoding = measure_encoding(work, options) if work.collection else {}
        results = [measure_kind(work, kind, options) | encoding for kind in options.kinds]
    for one in results:
        print(f"{one['kind']}: {one['passages']:,} x {one['dim']}; {one['reason']}")
    print()
    print_results(results)


if __name__ == "__main__":
    main()
