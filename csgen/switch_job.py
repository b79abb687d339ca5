"""The stage `switch`: which shards there are, what one shard does, how a job resumes and when it is complete.

Knows no Ray: `run_shard` is a plain function of a job and a number, and `csgen.job` places its calls.
"""

import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from typing import Any, Literal

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import Field

from csgen.errors import CsgenError, InputError
from csgen.files import (
    TEMPORARY_SUFFIX,
    exists,
    filesystem,
    fingerprint,
    hash_file,
    join,
    open_input,
    refuse_finished,
    replace_file,
)
from csgen.hashing import ContentHash, HashingFile
from csgen.lexicon.lemmas import lexicon_table
from csgen.lexicon.table import Table
from csgen.manifest import MANIFEST_NAME, Manifest, list_changes
from csgen.planning import SAMPLE_ROWS, sample_pairs, solve_for_target
from csgen.schema import SWITCHES, pair_schema
from csgen.sources.pairs import Shard, describe_input, list_shards, normalise, read_shard
from csgen.sources.rows import BadRow, refuse
from csgen.switching.policy import SIDES, Policy, Side
from csgen.switching.switcher import Counts, Switcher, replace_texts

STAGE = "switch"
PAIRS_DESCRIPTION = (
    "pairs to switch: Parquet, JSON lines, TSV, triples:PATH (MS MARCO), a BEIR folder or a parallel collection; "
    "a file, a folder or a URI"
)
BATCH_ROWS = 1 << 15  # a row group: about 13 MB of MS MARCO's pairs
JOB_NAME = "_job.json"
DONE_FOLDER = "_done"
JOINED_FOLDER = "_input"
REJECTS_NAME = "rejects.jsonl"
NUM_SHOWN_REJECTS = 3


class SwitchConfig(Policy):
    """Options of `csgen switch`."""

    pairs: str = Field(min_length=1, description=PAIRS_DESCRIPTION)
    split: str = Field("train", min_length=1, description="qrels of a BEIR folder or a collection to make pairs of")
    lexicon: str = Field(min_length=1, description="folder that csgen lexicon build wrote; may be a URI")
    output: str = Field(min_length=1, description="folder to write; may be a URI")
    spans: bool = Field(False, description="note each switch, so that csgen unswitch can undo it")
    rows_per_shard: int = Field(
        500_000, ge=1, description="rows of one output file, about, where the input is Parquet; 1 or more"
    )
    workers: int | None = Field(None, ge=1, description="shards worked on at a time, 1 or more; default: all CPUs")
    on_error: Literal["fail", "skip"] = Field("fail", description="what to do about a bad row: fail, or set it aside")
    max_errors: int = Field(
        1000, ge=0, description="with --on-error skip: more bad rows than this fail the job, 0 or more"
    )

    def identity(self) -> dict[str, Any]:
        """The options that decide what the output holds."""
        return self.model_dump(mode="json", exclude={"output", "workers", "on_error", "max_errors"})


@dataclass(frozen=True)
class Part:
    """What became of one shard: an output file, or nothing where all its rows were rejected."""

    index: int
    rows: int
    num_bytes: int
    xxh3_128: str  # of the file
    content: str  # of the rows, whatever the version of the Parquet writer
    counts: dict[Side, Counts]
    rejects: tuple[BadRow, ...]

    @property
    def name(self) -> str:
        return f"part-{self.index:05d}.parquet"

    def describe(self) -> dict[str, Any]:
        """What the manifest says of the file."""
        return {"rows": self.rows, "bytes": self.num_bytes, "xxh3_128": self.xxh3_128, "content": self.content}

    def to_json(self) -> bytes:
        return json.dumps(asdict(self), ensure_ascii=False).encode()

    @classmethod
    def from_json(cls, text: bytes) -> "Part":
        fields = json.loads(text)
        counts = {side: Counts(**numbers) for side, numbers in fields.pop("counts").items()}
        return cls(**fields | {"counts": counts, "rejects": tuple(BadRow(**r) for r in fields["rejects"])})


@dataclass(frozen=True)
class SwitchJob:
    """Everything that a worker needs to run any of the shards; small but for the table's arrays."""

    config: SwitchConfig
    columns: tuple[str, ...]
    shards: tuple[Shard, ...]
    inputs: dict[str, dict[str, Any]]  # fingerprints of the files that the user gave
    marks: dict[str, dict[str, Any]]  # fingerprints of the files that the shards are read from
    table: Table
    rejects: tuple[BadRow, ...] = ()  # rows that were bad already when several files were joined
    target_ratio: float | None = None  # what the configuration's probabilities were solved for

    def describe_inputs(self) -> dict[str, Any]:
        """What the output was made from, for the manifest: the same wherever and whenever the same files lie."""
        return {
            "pairs": {path: {"bytes": mark["bytes"]} for path, mark in self.inputs.items()},
            "lexicon": hash_file(join(self.config.lexicon, MANIFEST_NAME)),
            "protected_words": read_protected_words(self.config),
        }

    @property
    def schema(self) -> pa.Schema:
        fields = list(pair_schema(list(self.columns)))
        return pa.schema(fields + [pa.field(f"{side}_switches", SWITCHES) for side in SIDES if self.config.spans])


def open_job(config: SwitchConfig) -> SwitchJob:
    """Look at the input and the lexicon; raises InputError where they do not serve the policy.

    Writes nothing, but for pairs that stand in several files: those are joined into a folder within the output.
    """
    found = describe_input(config.pairs, config.split, config.source_language)
    table = lexicon_table(config.lexicon, config).without(read_protected_words(config))
    Switcher(config, table)
    rejects: list[BadRow] = []
    on_bad_row = refuse if config.on_error == "fail" else rejects.append
    inputs = {file: fingerprint(file) for file in found.files}
    joined = join(config.output, JOINED_FOLDER)
    pairs = normalise(config.pairs, joined, on_bad_row, config.split, config.source_language)
    target = config.target_ratio
    if target is not None:
        config = solve_for_target(config, table, sample_pairs(pairs, SAMPLE_ROWS))
    shards = tuple(list_shards(pairs, config.rows_per_shard))
    marks = {shard.path: fingerprint(shard.path) for shard in shards}
    return SwitchJob(config, found.columns, shards, inputs, marks, table, tuple(rejects), target)


def read_protected_words(config: Policy) -> list[str]:
    """The words and phrases that stay as they are, one a line in the file."""
    if config.protected_words is None:
        return []
    with open_input(config.protected_words) as stream:
        return [line.strip() for line in stream.read().decode().splitlines() if line.strip()]


def run_shard(job: SwitchJob, index: int) -> Part:
    """Switch one shard into its file; the file is there whole or not at all, and its note comes last."""
    shard, output = job.shards[index], job.config.output
    before = fingerprint(shard.path)
    if before != job.marks[shard.path]:
        raise CsgenError(f"{shard.path}: changed since the job began; start again with an --output of its own")
    sink = PartWriter(job, index)
    with replace_file(join(output, f"part-{index:05d}.parquet")) as stream:
        rows = sink.write(stream)
        if fingerprint(shard.path) != before:
            raise CsgenError(f"{shard.path}: changed while it was read; start again with an --output of its own")
    part = sink.part(rows)
    with replace_file(join(output, DONE_FOLDER, f"{index:05d}.json")) as stream:
        stream.write(part.to_json())
    return part


class PartWriter:
    """Writes one shard and keeps what is to be known of it."""

    def __init__(self, job: SwitchJob, index: int) -> None:
        self._job, self._index = job, index
        self._switcher = Switcher(job.config, job.table)
        self._counts: dict[Side, Counts] = {}
        self._rejects: list[BadRow] = []
        self._content = ContentHash()
        self._file = HashingFile()

    def write(self, stream: Any) -> int:
        """Write the shard's switched pairs as Parquet; returns their number."""
        rows = 0
        self._file.target = stream
        with pq.ParquetWriter(self._file, self._job.schema, compression="lz4", use_dictionary=["label"]) as writer:
            for batch in read_shard(self._job.shards[self._index], BATCH_ROWS, self._on_bad_row):
                switched = self._switcher.switch(batch, spans=self._job.config.spans)
                for side, counts in switched.counts.items():
                    self._counts[side] = self._counts[side] + counts if side in self._counts else counts
                result = replace_texts(batch, switched)
                self._content.update(result)
                writer.write_batch(result, row_group_size=BATCH_ROWS)
                rows += batch.num_rows
        return rows

    def part(self, rows: int) -> Part:
        return Part(
            self._index, rows, self._file.bytes, self._file.digest.hexdigest(), self._content.hexdigest(),
            self._counts, tuple(self._rejects),
        )  # fmt: skip

    def _on_bad_row(self, bad: BadRow) -> None:
        config = self._job.config
        if config.on_error == "fail":
            refuse(bad)
        self._rejects.append(bad)
        refuse_too_many(len(self._rejects), self._rejects, config.max_errors)


def refuse_too_many(count: int, rejects: Iterable[BadRow], most: int) -> None:
    """Raise InputError where there are more rejects than allowed, and show the first of them."""
    if count > most:
        shown = [f"{r.path}:{r.row}: {r.reason}" for r, _ in zip(rejects, range(NUM_SHOWN_REJECTS), strict=False)]
        raise InputError(f"more than {most} bad rows (--max-errors), the first: {'; '.join(shown)}")


# What runs shards: gives their parts in any order, as they are done.
RunShards = Callable[[SwitchJob, list[int]], Iterator[Part]]


def run_here(job: SwitchJob, indices: list[int]) -> Iterator[Part]:
    """Run shards one after the other in this process."""
    for index in indices:
        yield run_shard(job, index)


def run_switch(job: SwitchJob, run_shards: RunShards, on_part: Callable[[Part], None]) -> Manifest:
    """Run a job to its end, resuming what an earlier run of the same job left; returns the manifest.

    `on_part` hears of each part once, also of those that an earlier run made. After bad input nothing stays; after any
    other failure what is finished stays, and the same command goes on from there.
    """
    output = job.config.output
    refuse_finished(output)
    _begin_or_resume(job)
    try:
        parts: dict[int, Part] = {}
        rejects = list(job.rejects)
        for part in _all_parts(job, run_shards):
            parts[part.index] = part
            rejects += part.rejects
            refuse_too_many(len(rejects), rejects, job.config.max_errors)
            on_part(part)
        changed = [path for path, mark in job.inputs.items() if fingerprint(path) != mark]
        if changed:
            raise CsgenError(f"{changed[0]}: changed while it was read; start again with an --output of its own")
        ordered = [parts[index] for index in sorted(parts)]
        if not any(p.rows for p in ordered):
            raise InputError(f"{job.config.pairs}: no good row in it")
        manifest = _describe(job, ordered)
        _write_rejects(output, _rejects(job, ordered))
        manifest.write(output)
    except InputError:
        _remove_all(job)
        raise
    _clean(output)
    return manifest


def _all_parts(job: SwitchJob, run_shards: RunShards) -> Iterator[Part]:
    missing = []
    for index in range(len(job.shards)):
        note = join(job.config.output, DONE_FOLDER, f"{index:05d}.json")
        if exists(note):
            with open_input(note) as stream:
                yield Part.from_json(stream.read())
        else:
            missing.append(index)
    yield from run_shards(job, missing)


def _identity(job: SwitchJob) -> dict[str, Any]:
    """What must be the same for a job to be gone on with: options, input and lexicon, flat, by name."""
    config = {f"--{name.replace('_', '-')}": value for name, value in job.config.identity().items()}
    inputs = {f"input {path}": mark for path, mark in job.inputs.items()}
    found = job.describe_inputs()
    return config | inputs | {"lexicon": found["lexicon"], "protected words": found["protected_words"]}


def _begin_or_resume(job: SwitchJob) -> None:
    path = join(job.config.output, JOB_NAME)
    identity = json.loads(json.dumps(_identity(job)))
    if not exists(path):
        _refuse_foreign(job.config.output)
        with replace_file(path) as stream:
            stream.write(json.dumps(identity, ensure_ascii=False, indent=1).encode())
        return
    with open_input(path) as stream:
        earlier = json.loads(stream.read())
    if changes := list_changes(earlier, identity):
        raise InputError(
            f"{job.config.output}: holds an unfinished job that differs: {'; '.join(changes)}; "
            f"remove it (rm -r {job.config.output}) or give another --output"
        )


def _refuse_foreign(output: str) -> None:
    fs, inner = filesystem(output)
    if not fs.exists(inner):
        return
    names = {name.rstrip("/").rpartition("/")[2] for name in fs.ls(inner, detail=False)} if fs.isdir(inner) else {""}
    if names - {JOINED_FOLDER}:
        raise InputError(f"{output}: exists already and is no unfinished job of csgen; give another --output")


def _describe(job: SwitchJob, parts: list[Part]) -> Manifest:
    counts: dict[str, Any] = {"pairs": sum(p.rows for p in parts), "rejects": len(_rejects(job, parts))}
    if job.target_ratio is not None:
        counts["target_ratio"] = job.target_ratio
    for side in SIDES:
        of_side = [p.counts[side] for p in parts if side in p.counts]
        total = sum(of_side[1:], of_side[0])
        counts[side] = asdict(total) | {"realised_ratio": total.realised_ratio}
    inputs = job.describe_inputs() | {
        "ignored_columns": list(
            describe_input(job.config.pairs, job.config.split, job.config.source_language).ignored_columns
        )
    }
    files = {p.name: p.describe() for p in parts}
    return Manifest(stage=STAGE, config=job.config.identity(), inputs=inputs, counts=counts, files=files)


def _rejects(job: SwitchJob, parts: list[Part]) -> list[BadRow]:
    return [*job.rejects, *(r for p in parts for r in p.rejects)]


def _write_rejects(output: str, rejects: list[BadRow]) -> None:
    if rejects:
        with replace_file(join(output, REJECTS_NAME)) as stream:
            for bad in rejects:
                stream.write(json.dumps(asdict(bad), ensure_ascii=False).encode() + b"\n")


def _clean(output: str) -> None:
    """Take away what only an unfinished job needs."""
    fs, inner = filesystem(output)
    for path in [*fs.glob(f"{inner}/*{TEMPORARY_SUFFIX}"), *fs.glob(f"{inner}/{JOB_NAME}")]:
        fs.rm_file(path)
    for folder in (f"{inner}/{DONE_FOLDER}", f"{inner}/{JOINED_FOLDER}"):
        if fs.exists(folder):
            fs.rm(folder, recursive=True)


def _remove_all(job: SwitchJob) -> None:
    """Take away all that this job wrote."""
    fs, inner = filesystem(job.config.output)
    for path in fs.glob(f"{inner}/part-*.parquet"):
        fs.rm_file(path)
    _clean(job.config.output)
    if not fs.ls(inner):
        fs.rmdir(inner)
