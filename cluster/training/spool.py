"""Pairs laid out once in files that every worker of a run maps, so that a machine holds one copy, in its page cache.

Parts hold the rows as Arrow, each those of some shards of the input; arrays hold what is to be known of each row.
Knows no Ray: `write_part` is a plain function of a job and a number, and the caller of `spool_pairs` places its calls.
"""

import json
import shutil
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, fields
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
from numpy.lib.format import write_array_header_1_0

from cluster.training.examples import (
    FACTS,
    TEXT_COLUMNS,
    TEXT_SCHEMA,
    Pairs,
    QueryIndex,
    code_languages,
    describe_rows,
    index_queries,
)
from csgen.errors import InputError
from csgen.files import replace_file
from csgen.hashing import ContentHash
from csgen.schema import PAIR_COLUMNS
from csgen.sources.pairs import BATCH_ROWS, Shard, list_shards, normalise, read_shard
from csgen.sources.rows import refuse

NOTE = "spool.json"  # written last: without it, the folder is not whole
MAX_PARTS = 256  # a worker keeps each part's file open


@dataclass(frozen=True)
class SpoolJob:
    """What a worker needs to write any of the parts."""

    folder: str
    parts: tuple[tuple[Shard, ...], ...]

    def path(self, index: int) -> str:
        return f"{self.folder}/part-{index:05d}.arrow"


@dataclass(frozen=True)
class Part:
    """What a part holds."""

    num_rows: int
    languages: frozenset[str]
    has_scores: bool


WritePart = Callable[[SpoolJob, int], Part]
MapParts = Callable[[WritePart, SpoolJob, list[int]], Iterable[Part]]  # in any order


def map_here(write: WritePart, job: SpoolJob, indices: list[int]) -> Iterable[Part]:
    """Part after part, in this process."""
    return (write(job, index) for index in indices)


def spool_pairs(
    path: str, folder: str, map_parts: MapParts, *, split: str, language: str, indexed: bool, identity: dict[str, Any]
) -> None:
    """Lay the pairs at `path` out in `folder`, anew unless it is whole and was made with the same `identity`.

    `open_spool` then gives what `load_pairs` gives, `indexed` for groups. All workers must see the folder.
    """
    identity = identity | {"split": split, "language": language, "indexed": indexed}
    if _is_whole(folder, identity):
        return
    shutil.rmtree(folder, ignore_errors=True)
    Path(folder).mkdir(parents=True, exist_ok=True)
    pairs = normalise(path, folder, refuse, split, language)
    job = SpoolJob(folder, _cut(list_shards(pairs, BATCH_ROWS)))
    parts = list(map_parts(write_part, job, list(range(len(job.parts)))))
    if pairs != path:
        Path(pairs).unlink()  # joined for this alone
    if not any(part.num_rows for part in parts):
        raise InputError.at(path, None, "no good row in it")
    names = sorted(frozenset().union(*(part.languages for part in parts)))
    content = _write_arrays(job, parts, names)
    if indexed:
        _write_index(folder, index_queries(_map_pairs(folder, names, content)))
    note = {"identity": identity, "content": content, "language_names": names, "bytes": _sizes(folder)}
    with replace_file(f"{folder}/{NOTE}") as stream:
        stream.write(json.dumps(note, ensure_ascii=False).encode())


def write_part(job: SpoolJob, index: int) -> Part:
    """Write a part's rows, and beside their columns what is to be known of each; the same bytes each time."""
    num_rows, languages, has_scores = 0, set[str](), True
    with replace_file(job.path(index)) as stream, ExitStack() as opened:
        writer: Any = None
        batches = (batch for shard in job.parts[index] for batch in read_shard(shard, BATCH_ROWS, refuse))
        for batch in batches:
            facts = describe_rows(batch)
            columns = [*batch.columns, *(column.to_arrow() for column in facts)]
            rows = pa.RecordBatch.from_arrays(columns, [*batch.schema.names, *facts.columns])
            writer = writer or opened.enter_context(pa.ipc.new_file(stream, rows.schema))
            writer.write_batch(rows)
            num_rows += len(facts)
            languages |= {*facts["language"].unique()}
            has_scores &= not facts["scores"].null_count()
        if writer is None:
            opened.enter_context(pa.ipc.new_file(stream, TEXT_SCHEMA))
    return Part(num_rows, frozenset(languages), has_scores)


def open_spool(folder: str) -> Pairs:
    """The pairs that `spool_pairs` laid out, memory-mapped; what no step asks for is never read."""
    note = json.loads(Path(folder, NOTE).read_text(encoding="utf-8"))
    return _map_pairs(folder, note["language_names"], note["content"])


def _map_pairs(folder: str, names: Sequence[str], content: str) -> Pairs:
    parts = sorted(Path(folder).glob("part-*.arrow"))
    batches = [batch.select(TEXT_COLUMNS) for part in parts for batch in _map_part(str(part))]
    arrays: dict[str, Any] = {
        file.stem: np.asarray(np.load(file, mmap_mode="r")) for file in Path(folder).glob("*.npy")
    }
    index = {field.name: arrays.pop(field.name) for field in fields(QueryIndex) if field.name in arrays}
    return Pairs(
        pa.Table.from_batches(batches, TEXT_SCHEMA),
        **({"scores": None} | arrays),
        language_names=tuple(names),
        content=content,
        index=QueryIndex(**index) if index else None,
    )


def _is_whole(folder: str, identity: dict[str, Any]) -> bool:
    note = Path(folder, NOTE)
    if not note.exists():
        return False
    known = json.loads(note.read_text(encoding="utf-8"))
    return bool(known["identity"] == identity and known["bytes"] == _sizes(folder))


def _sizes(folder: str) -> dict[str, int]:
    """The bytes of each file but the note."""
    return {file.name: file.stat().st_size for file in sorted(Path(folder).iterdir()) if file.name != NOTE}


def _cut(shards: Sequence[Shard]) -> tuple[tuple[Shard, ...], ...]:
    """The shards in their order: each a part, or as many to a part as makes MAX_PARTS of them."""
    cuts = np.linspace(0, len(shards), min(len(shards), MAX_PARTS) + 1).astype(int)
    return tuple(tuple(shards[a:b]) for a, b in pairwise(cuts))


def _write_arrays(job: SpoolJob, parts: Sequence[Part], names: Sequence[str]) -> str:
    """Write what is to be known of the rows of all parts, a file for each field of Pairs; returns Pairs.content."""
    kinds = FACTS | {"languages": "<i2"}
    if not all(part.has_scores for part in parts):
        del kinds["scores"]
    shape = (sum(part.num_rows for part in parts),)
    digest = ContentHash()
    with ExitStack() as opened:
        streams = {n: opened.enter_context(replace_file(f"{job.folder}/{n}.npy")) for n in kinds}
        for name, kind in kinds.items():
            write_array_header_1_0(streams[name], {"descr": kind, "fortran_order": False, "shape": shape})
        for index in range(len(job.parts)):
            for batch in _map_part(job.path(index)):
                digest.update(batch.select([name for name in batch.schema.names if name in PAIR_COLUMNS]))
                codes = code_languages(pl.Series(batch.column("language")), names)
                for name, stream in streams.items():
                    stream.write((codes if name == "languages" else batch.column(name).to_numpy()).data)
    return digest.hexdigest()


def _write_index(folder: str, index: QueryIndex) -> None:
    for name, values in vars(index).items():
        with replace_file(f"{folder}/{name}.npy") as stream:
            np.save(stream, values)


def _map_part(path: str) -> list[pa.RecordBatch]:
    return pa.ipc.open_file(pa.memory_map(path)).read_all().to_batches()  # type: ignore[no-any-return]
