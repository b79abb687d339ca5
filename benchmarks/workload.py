"""The load that all benchmarks share: English pairs of MS MARCO's size, and a lexicon of six languages.

Where ../shared/data is there, its texts and MUSE's lexicons are used, else the sample that csgen carries.
Everything is deterministic. Nothing here is timed.
"""

import os
import platform
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import version
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa

from csgen.lexicon.build import LexiconBuildConfig, build_lexicon
from csgen.lexicon.entries import ENTRIES_NAME
from csgen.lexicon.table import Table, read_table
from csgen.schema import pair_schema

DATA = Path(__file__).parents[2] / "shared" / "data"
SAMPLE = Path(__file__).parents[1] / "csgen" / "sample"
QUERY_WORDS, PASSAGE_WORDS = 6, 55
SAMPLED_WORDS = 1 << 21  # drawn from the sample's word frequencies
COLUMNS = ["query_id", "query", "passage_id", "passage", "label"]


@dataclass(frozen=True)
class Workload:
    """Queries and passages that are combined to any number of pairs, and where the lexicon comes from."""

    description: str
    languages: tuple[str, ...]
    lexicon_sources: tuple[str, ...]
    queries: pa.Array
    passages: pa.Array

    def pairs(self, first_row: int, num_rows: int) -> pa.RecordBatch:
        """Rows of an endless table of pairs: texts come again, but in other company and with ids of their own."""
        rows = np.arange(first_row, first_row + num_rows)
        columns = [
            pa.array(rows).cast(pa.string()),
            self.queries.take(pa.array(rows % len(self.queries))),
            pa.array(rows + 1_000_000).cast(pa.string()),
            self.passages.take(pa.array(rows % len(self.passages))),
            pa.array((rows % 5 == 0).astype(np.int8)),  # one positive, four negatives
        ]
        return pa.record_batch(columns, schema=pair_schema(COLUMNS))

    def build_lexicon(self, folder: str) -> "Lexicon":
        """Build the lexicon into a new folder, as `csgen lexicon build` does."""
        build_lexicon(LexiconBuildConfig.from_options({"sources": self.lexicon_sources, "output": folder}))
        return Lexicon(folder)


@dataclass(frozen=True)
class Lexicon:
    """A built lexicon, as csgen reads it and as plain dictionaries for the loops that it is held against."""

    folder: str

    @cached_property
    def table(self) -> Table:
        return read_table(self.folder, "en")

    def dictionaries(self) -> dict[str, dict[str, str]]:
        """By language, each word's first translation in lower case, as the paper has it."""
        entries = pl.read_parquet(Path(self.folder) / ENTRIES_NAME).sort("target_language", "rank", descending=True)
        found: dict[str, dict[str, str]] = {}
        for language, source, target in entries.select("target_language", "source", "target").iter_rows():
            found.setdefault(language, {})[source.lower()] = target.lower()  # rank 1 comes last and wins
        return found


def open_workload() -> Workload:
    """The real texts where they are there, else texts drawn from the sample's words."""
    if DATA.is_dir():
        texts = [pl.read_ndjson(DATA / name / "pairs.jsonl.gz") for name in ("squad-pairs", "medquad-pairs")]
        languages = ("de", "it", "nl", "ru", "ar", "fr")
        return Workload(
            description="passages and questions of SQuAD and MedQuAD cut to size, MUSE lexicons",
            languages=languages,
            lexicon_sources=tuple(f"muse:en-{name}:{DATA}/lexicons/muse/en-{name}.tsv.xz" for name in languages),
            queries=_cut(_words(pl.concat([t["query"] for t in texts])), QUERY_WORDS),
            passages=_cut(_words(pl.concat([t["passage"].unique(maintain_order=True) for t in texts])), PASSAGE_WORDS),
        )
    words = _words(pl.read_ndjson(SAMPLE / "en" / "passages.jsonl")["text"])
    drawn = np.random.default_rng(1).choice(words.to_numpy(), SAMPLED_WORDS)
    return Workload(
        description="words drawn by frequency from csgen's sample, its lexicon (../shared/data is not there)",
        languages=("ar", "de", "fr", "it", "ja", "ru"),
        lexicon_sources=("sample",),
        queries=_cut(pl.Series(drawn[: SAMPLED_WORDS // 8]), QUERY_WORDS),
        passages=_cut(pl.Series(drawn), PASSAGE_WORDS),
    )


def describe_machine() -> str:
    """The machine and the versions, in one line."""
    info = Path("/proc/cpuinfo")
    models = [line.partition(":")[2].strip() for line in info.read_text().splitlines() if line.startswith("model name")]
    versions = [f"Python {platform.python_version()}", *(f"{p} {version(p)}" for p in ("numba", "pyarrow", "ray"))]
    cores = len(os.sched_getaffinity(0))
    return f"{models[0] if models else platform.processor()}, {cores} cores, {', '.join(versions)}"


def _words(texts: pl.Series) -> pl.Series:
    words = texts.str.split(" ").explode()
    return words.str.strip_chars().filter(words.str.strip_chars() != "")


def _cut(words: pl.Series, size: int) -> pa.Array:
    """Texts of `size` words each, shuffled: neighbours that resemble each other would compress too well."""
    full = words.head(len(words) // size * size)
    grouped = pl.DataFrame({"row": np.arange(len(full)) // size, "word": full})
    texts = grouped.group_by("row", maintain_order=True).agg(pl.col("word").str.join(" "))["word"]
    return texts.sample(fraction=1, shuffle=True, seed=1).to_arrow().cast(pa.string())
