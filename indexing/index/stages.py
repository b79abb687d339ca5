"""The stages that building an index and adding to it share: passages to pieces and a plan, then vectors and segments.

Each stage is a list of tasks of a job's folder, done or not; a task whose results are there is not run again.

    trained/               centroids and code books of a build
    segments/NNNNN/        a filled segment     segments/NNNNN.json    a note that it is
"""

import json
import os
import shutil
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from csgen.errors import CsgenError
from csgen.files import fingerprint, replace_file
from csgen.sources.rows import BadRow
from indexing.index.filling import Filled, fill_segment, open_trained
from indexing.index.inputs import PassageInput
from indexing.index.pieces import (
    Encoding,
    Given,
    OpenPiece,
    Piece,
    Reading,
    encode_pieces,
    read_files,
    read_note,
    write_note,
)
from indexing.index.planning import (
    Cut,
    Numbers,
    Planning,
    ShardPlan,
    cut_shards,
    draw_from_pieces,
    plan_shard,
    take_rows,
)
from indexing.index.running import Place, Progress, run_here
from indexing.index.sources import VectorSource
from indexing.passages.writing import OnDuplicate
from indexing.store import SegmentEntry, TrainedEntry, Writer
from indexing.store.folder import make_folder, sync
from indexing.store.version import FileEntry
from indexing.vectors.choice import LISTED, Choice
from indexing.vectors.training import TRAINED_NAME, train

_TRAINED, _SEGMENTS = "trained", "segments"


@dataclass(frozen=True)
class Prepared:
    """Passages that are read, and what becomes of them: a plan for each shard."""

    folder: str
    given: Given
    plans: tuple[ShardPlan, ...]

    @property
    def num_passages(self) -> int:
        return sum(plan.num_kept for plan in self.plans)

    @property
    def num_duplicates(self) -> int:
        """Passages that give way to a later one of their address."""
        return sum(len(plan.dropped) for plan in self.plans)

    def describe(self) -> dict[str, Any]:
        """What there was, for a report."""
        reasons = Counter(bad.reason for bad in self.given.rejects)
        return {
            "passages": self.num_passages,
            "duplicates": self.num_duplicates,
            "left_out": self.given.num_left_out,
            "rejects": len(self.given.rejects),
            "reasons": dict(sorted(reasons.items())),
        }


@dataclass(frozen=True)
class NewSegment:
    """A segment that is filled. files: bytes and hashes by name."""

    number: int
    shard: int
    folder: str
    passages: int
    facts: dict[str, Any]
    files: dict[str, dict[str, Any]]


@dataclass(frozen=True)
class Filling:
    """What tasks that fill segments need. trained: a folder."""

    folder: str
    pieces: tuple[Piece, ...]
    plans: tuple[ShardPlan, ...]
    cuts: tuple[Cut, ...]
    trained: str
    lexical: bool
    num_threads: int | None


@dataclass(frozen=True)
class Training:
    """What the task that trains needs. pieces and rows (sample,): where the sample lies."""

    folder: str
    names: tuple[str, ...]
    pieces: Numbers
    rows: Numbers
    choice: Choice


def prepare(
    reading: Reading, source: VectorSource, on_duplicate: OnDuplicate, place: Place, progress: Progress
) -> Prepared:
    """Read the passages and plan the shards. What is wrong with the input is told here, before anything is encoded."""
    before = reading.input.fingerprints()
    given = read_files(reading, place, progress)
    _require_unchanged(reading.input, before)
    source.check(given.num_read)
    planning = Planning(reading.folder, given.pieces, on_duplicate)
    plans = place.run(plan_shard, planning, list(range(reading.sharding.num_shards)))
    return Prepared(reading.folder, given, tuple(sorted(plans, key=lambda plan: plan.shard)))


def encode(prepared: Prepared, source: VectorSource, place: Place, progress: Progress) -> int:
    """Make all vectors; returns how many texts lost their end."""
    return encode_pieces(Encoding(prepared.folder, prepared.given.pieces, source), place, progress)


def train_once(prepared: Prepared, choice: Choice, place: Place) -> str:
    """The folder of the training, on a sample of the passages if the kind has one."""
    folder = Path(prepared.folder, _TRAINED)
    if not (folder / TRAINED_NAME).exists():
        pieces = prepared.given.pieces
        size = choice.train_vectors if choice.kind in LISTED else 0
        drawn = draw_from_pieces(prepared.plans, prepared.folder, pieces if size else (), size, choice.seed)
        training = Training(prepared.folder, tuple(piece.name for piece in pieces), *drawn, choice)
        run = place.encode if choice.device == "gpu" else run_here
        list(run(train_task, training, [0]))
    return str(folder)


def train_task(job: Training, number: int) -> None:
    """Train on the sample; there is a single task of this kind."""
    sample = np.empty((len(job.rows), job.choice.dim), np.float32)
    for piece in np.unique(job.pieces).tolist():
        own = job.pieces == piece
        sample[own] = OpenPiece.open(job.folder, job.names[piece]).vectors()[job.rows[own]]
    folder = Path(job.folder, _TRAINED)
    shutil.rmtree(folder, ignore_errors=True)  # what a crash left
    make_folder(folder)
    train(sample, job.choice, str(folder))


def fill_segments(
    prepared: Prepared, trained: str, segment_passages: int, lexical: bool, place: Place, progress: Progress
) -> list[NewSegment]:
    """Fill a folder for each segment to be, of so many passages at most; in order of shards and passages."""
    training = open_trained(trained)
    cuts = tuple(cut_shards(prepared.plans, segment_passages))
    pieces = prepared.given.pieces
    on_gpu = training.choice.device == "gpu"
    num_threads = None if on_gpu else place.num_threads
    job = Filling(prepared.folder, pieces, prepared.plans, cuts, trained, lexical, num_threads)
    with progress("passages in segments", prepared.num_passages) as advance:
        found = {}
        for number in range(len(cuts)):
            note = read_note(_note_path(job, number))
            if note is not None and note.pop("trained") == training.fingerprint:
                found[number] = NewSegment(**note)
                advance(found[number].passages)
        missing = [number for number in range(len(cuts)) if number not in found]
        for segment in (place.encode if on_gpu else place.run)(fill_task, job, missing):
            found[segment.number] = segment
            advance(segment.passages)
    return [found[number] for number in range(len(cuts))]


def fill_task(job: Filling, number: int) -> NewSegment:
    """Fill a segment's folder; its note comes last."""
    cut, trained = job.cuts[number], open_trained(job.trained)
    note = _note_path(job, number)
    folder = note.with_suffix("")
    note.unlink(missing_ok=True)  # of another training
    shutil.rmtree(folder, ignore_errors=True)
    make_folder(folder)
    contents = _FromPieces(job, cut)
    filled = fill_segment(
        folder, contents, trained, lexical=job.lexical, source=job.folder, num_threads=job.num_threads
    )
    sync(folder.parent)
    segment = describe_segment(number, cut.shard, folder, filled)
    write_note(note, asdict(segment) | {"trained": trained.fingerprint})
    return segment


def describe_segment(number: int, shard: int, folder: Path, filled: Filled) -> NewSegment:
    """A filled folder as what can be sent and noted."""
    files = {name: entry.model_dump() for name, entry in filled.files.items()}
    return NewSegment(number, shard, str(folder), filled.passages, filled.facts, files)


def seal_segments(writer: Writer, segments: Sequence[NewSegment]) -> list[SegmentEntry]:
    """Make segments of filled folders, which stay what they are."""
    sealed = []
    for segment in segments:
        draft = writer.new_segment(segment.shard)
        _link(Path(segment.folder), draft.folder)
        files = {name: FileEntry.model_validate(entry) for name, entry in segment.files.items()}
        sealed.append(draft.seal(segment.passages, segment.facts, files))
    return sealed


def seal_trained(writer: Writer, folder: str, facts: dict[str, Any]) -> TrainedEntry:
    """Make the files of a training those that all segments share."""
    draft = writer.new_trained()
    _link(Path(folder), draft.folder)
    return draft.seal(facts)


def write_rejects(root: Path, version: int, rejects: Sequence[BadRow]) -> str:
    """Write what was set aside beside the index, by the version that is without it; the path, "" for none."""
    if not rejects:
        return ""
    path = root.with_name(f"{root.name}.rejects") / f"{version:08d}.jsonl"
    with replace_file(str(path)) as stream:
        for bad in rejects:
            stream.write(json.dumps(asdict(bad), ensure_ascii=False).encode() + b"\n")
    return str(path)


@dataclass(frozen=True)
class _FromPieces:
    """The passages of a segment to be, as `Contents`."""

    job: Filling
    cut: Cut

    @property
    def num_passages(self) -> int:
        return self.cut.stop - self.cut.start

    def read_batches(self) -> Iterator[pa.RecordBatch]:
        for piece, rows in self._take():
            yield piece.batch(self.cut.shard).take(pa.array(rows))

    def read_vectors(self) -> Iterator[NDArray[Any]]:
        for piece, rows in self._take():
            yield piece.vectors()[piece.rows(self.cut.shard)][rows]

    def _take(self) -> Iterator[tuple[OpenPiece, Numbers]]:
        return take_rows(self.job.plans[self.cut.shard], self.cut, self.job.folder, self.job.pieces)


def _note_path(job: Filling, number: int) -> Path:
    return Path(job.folder, _SEGMENTS, f"{number:05d}.json")


def _link(folder: Path, target: Path) -> None:
    """Put the files of a folder into another, without a copy where the file system can."""
    for path in sorted(folder.iterdir()):
        try:
            os.link(path, target / path.name)
        except OSError:  # a file system without links, or another one
            shutil.copyfile(path, target / path.name)
            sync(target / path.name)
    sync(target)


def _require_unchanged(given: PassageInput, before: dict[str, dict[str, Any]]) -> None:
    for file in given.files:
        if fingerprint(file.path) != before[file.path]:
            raise CsgenError(f"{file.path}: changed while it was read; remove the unfinished job and begin anew")
