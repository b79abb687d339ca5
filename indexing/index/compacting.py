"""Compaction: segments that are small, or have many deletes, written anew by shard; all of them to train anew.

Needs no encoder: passages and vectors are those that the segments hold, exactly as they are stored.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from csgen.errors import InputError
from indexing.index.building import choose_kind, describe_training
from indexing.index.filling import fill_segment, open_trained
from indexing.index.opened import ROW_BITS, OpenSegments
from indexing.index.options import CompactConfig
from indexing.index.planning import draw
from indexing.index.running import HERE, Place, Progress, no_progress
from indexing.index.settings import IndexSettings
from indexing.index.sharding import Words
from indexing.index.stages import NewSegment, describe_segment
from indexing.index.updating import Report, expire, open_version, trained_folder
from indexing.passages.rows import LANGUAGE, PASSAGE_ID, TEXT, TITLE
from indexing.passages.strings import hash_strings
from indexing.store import SegmentDraft, SegmentEntry, Store, Version, Writer
from indexing.store.version import TRAINED, FileEntry
from indexing.vectors.choice import LISTED
from indexing.vectors.config import VectorConfig
from indexing.vectors.training import train

Numbers = NDArray[np.int64]

_BLOCK_ROWS = 1 << 14


@dataclass(frozen=True)
class Part:
    """A segment to be: live passages `start` to `stop` of some segments of a shard together. folder: its draft's."""

    shard: int
    sources: tuple[SegmentEntry, ...]
    start: int
    stop: int
    folder: str


@dataclass(frozen=True)
class Rewriting:
    """What tasks that rewrite segments need. trained: a folder."""

    root: Path
    version: Version
    parts: tuple[Part, ...]
    trained: str
    lexical: bool
    num_threads: int | None


def compact(
    config: CompactConfig, vectors: VectorConfig, place: Place = HERE, progress: Progress = no_progress
) -> Report:
    """Rewrite segments and return a report of it, as JSON holds it. Where there is no need, no version is published.

    `vectors`: with retrain, options in place of those of the present training. Killed, it has to begin anew.
    """
    store = Store.open(config.index)
    with store.write("compact") as writer:
        lost = store.repair_version(hashes=True).lost if config.repair else ()
        writer.drop(*(entry.name for entry in lost))
        kept = tuple(entry for entry in writer.base.segments if entry not in lost)
        opened = open_version(store, writer.base.model_copy(update={"segments": kept}))
        wanted = config.choose_vectors(_present_options(opened), vectors)
        chosen = kept if config.whole or config.retrain else choose_segments(kept, config, opened.settings)
        segments: list[NewSegment] = []
        trained = _retrain(writer, opened, wanted) if config.retrain else trained_folder(store, writer.base)
        if chosen:
            segments = _rewrite(writer, opened, chosen, trained, place, progress)
            writer.drop(*(entry.name for entry in chosen))
        changed = bool(chosen or lost)
        version = writer.publish() if changed else writer.base
    report = {
        "index": str(store.folder),
        "version": version.number,
        "rewritten": len(chosen),
        "segments": len(segments),
        "passages": sum(segment.passages for segment in segments),
        "purged": sum(entry.passages - entry.live for entry in chosen),
        "lost_segments": [entry.name for entry in lost],
        "lost_passages": sum(entry.live for entry in lost),
    }
    choice = open_trained(trained_folder(store, version)).choice
    report |= {"kind": choice.kind, "reason": choice.reason}
    return report | (expire(store, config) if changed else {"expired": []})


def choose_segments(
    entries: Sequence[SegmentEntry], config: CompactConfig, settings: IndexSettings
) -> tuple[SegmentEntry, ...]:
    """Those worth a rewrite: of many deletes, or small, unless one is alone in its shard and has no deletes."""
    least = min(config.min_passages, settings.segment_passages)
    by_shard = defaultdict(list)
    for entry in entries:
        num_deleted = entry.passages - entry.live
        if num_deleted > config.max_deleted_ratio * entry.passages or entry.live < least:
            by_shard[entry.shard].append(entry)
    worth = [own for own in by_shard.values() if len(own) > 1 or own[0].deleted is not None]
    return tuple(sorted((entry for own in worth for entry in own), key=lambda entry: entry.number))


def rewrite_task(job: Rewriting, number: int) -> NewSegment:
    """Fill the draft of a segment."""
    part, store = job.parts[number], Store(job.root)
    opened = open_version(store, job.version.model_copy(update={"segments": part.sources}))
    contents = _FromSegments(opened, part.start, part.stop)
    folder = Path(part.folder)
    filled = fill_segment(
        folder, contents, open_trained(job.trained), lexical=job.lexical, source=str(job.root),
        num_threads=job.num_threads,
    )  # fmt: skip
    return describe_segment(number, part.shard, folder, filled)


def _rewrite(
    writer: Writer, opened: OpenSegments, chosen: Sequence[SegmentEntry], trained: str, place: Place, progress: Progress
) -> list[NewSegment]:
    """Fill and seal the segments that take the place of those chosen."""
    drafts: list[SegmentDraft] = []
    parts: list[Part] = []
    size = opened.settings.segment_passages
    for shard in sorted({entry.shard for entry in chosen}):
        sources = tuple(entry for entry in chosen if entry.shard == shard)
        num_live = sum(entry.live for entry in sources)
        for start in range(0, num_live, size):
            drafts.append(writer.new_segment(shard))
            stop = min(start + size, num_live)
            parts.append(Part(shard, sources, start, stop, str(drafts[-1].folder)))
    on_gpu = open_trained(trained).choice.device == "gpu"
    job = Rewriting(
        opened.store.folder, opened.version, tuple(parts), trained, opened.settings.lexical,
        None if on_gpu else place.num_threads,
    )  # fmt: skip
    found: dict[int, NewSegment] = {}
    with progress("passages in segments", sum(part.stop - part.start for part in parts)) as advance:
        for segment in (place.encode if on_gpu else place.run)(rewrite_task, job, list(range(len(parts)))):
            found[segment.number] = segment
            advance(segment.passages)
    for number, draft in enumerate(drafts):
        files = {name: FileEntry.model_validate(entry) for name, entry in found[number].files.items()}
        draft.seal(found[number].passages, found[number].facts, files)
    return [found[number] for number in range(len(parts))]


def _present_options(opened: OpenSegments) -> VectorConfig:
    """The options of the present training."""
    trained = opened.version.trained
    given: Any = trained.facts.get("vectors") if trained else None
    return VectorConfig.model_validate(given) if given else opened.settings.vectors


def _retrain(writer: Writer, opened: OpenSegments, wanted: VectorConfig) -> str:
    """Train on a sample of the live passages; the folder of the training."""
    num_live = sum(entry.live for entry in opened.entries)
    if not num_live:
        raise InputError.at(str(opened.store.folder), None, "no passages are left to train on")
    choice = choose_kind(num_live, opened.settings.dim, wanted)
    size = choice.train_vectors if choice.kind in LISTED else 0
    places, rows = draw(_hash_live(opened) if size else (), size, choice.seed)
    draft = writer.new_trained()
    train(opened.take_vectors(places << ROW_BITS | rows), choice, str(draft.folder))
    draft.seal(describe_training(wanted))
    return str(opened.store.folder / TRAINED / draft.name)


def _hash_live(opened: OpenSegments) -> Iterator[tuple[int, Words, Numbers]]:
    """By segment: its place, the hashes of its live passages' addresses, their rows; in blocks."""
    for place, table in enumerate(opened.tables):
        live = _find_live(opened, place)
        for first in range(0, len(live), _BLOCK_ROWS):
            rows = live[first : first + _BLOCK_ROWS]
            yield place, hash_strings(table.addresses(rows)), rows


def _find_live(opened: OpenSegments, place: int) -> Numbers:
    """The live rows of a segment, ascending."""
    num_rows, bitmap = opened.entries[place].passages, opened.live.bitmaps[place]
    if bitmap is None:
        return np.arange(num_rows)
    return np.flatnonzero(np.unpackbits(bitmap, count=num_rows, bitorder="little"))


@dataclass(frozen=True)
class _FromSegments:
    """Live passages `start` to `stop` of some segments together, as `Contents`."""

    opened: OpenSegments
    start: int
    stop: int

    @property
    def num_passages(self) -> int:
        return self.stop - self.start

    def read_batches(self) -> Iterator[pa.RecordBatch]:
        names = [LANGUAGE, PASSAGE_ID, *([TITLE] if self._has_titles() else []), TEXT, *self.opened.fields]
        for numbers in self._blocks():
            yield self.opened.take(numbers, names).combine_chunks().to_batches()[0]

    def read_vectors(self) -> Iterator[NDArray[Any]]:
        return (self.opened.take_vectors(numbers) for numbers in self._blocks())

    def _has_titles(self) -> bool:
        taken = (self.opened.take(numbers, [TITLE]).column(TITLE) for numbers in self._blocks())
        return any(titles.null_count < len(titles) for titles in taken)

    def _blocks(self) -> Iterator[Numbers]:
        for first in range(0, self.num_passages, _BLOCK_ROWS):
            yield self._numbers[first : first + _BLOCK_ROWS]

    @cached_property
    def _numbers(self) -> Numbers:
        places = range(len(self.opened.entries))
        live = [place << ROW_BITS | _find_live(self.opened, place) for place in places]
        return np.concatenate(live)[self.start : self.stop]
