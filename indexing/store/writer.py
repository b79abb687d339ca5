"""What changes an index: new segments, deletes, segments that go, trained files; all of it published at once.

Knows neither vectors nor texts. Nothing that a writer does is seen before `publish`; what it leaves behind without is
swept away.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import xxhash
from numpy.typing import ArrayLike

from csgen.errors import CsgenError
from indexing.store.folder import describe_folder, make_folder, move, publish, read_published, write_file
from indexing.store.tombstones import Rows, as_rows, encode_rows, read_rows
from indexing.store.version import (
    DELETED,
    SEGMENTS,
    TRAINED,
    FileEntry,
    SegmentEntry,
    Tombstones,
    TrainedEntry,
    Version,
    number_name,
)


class Writer:
    """The one writer of an index, for one version, in one thread. Drafts' folders may be filled from anywhere."""

    def __init__(self, root: Path, workspace: Path, base: Version, operation: str) -> None:
        self.base = base  # what is being changed
        self._root, self._workspace, self._operation = root, workspace, operation
        self._segments = {segment.name: segment for segment in base.segments}
        self._trained = base.trained
        self._deleted: dict[str, Rows] = {}
        self._next_segment = base.next_segment
        self._unsealed: set[Path] = set()
        self._open = True

    def new_segment(self, shard: int) -> "SegmentDraft":
        """A draft with the next number and an empty folder."""
        self._require_open()
        draft = SegmentDraft(self._next_segment, shard, self._draft(number_name(self._next_segment)), self)
        self._next_segment += 1
        return draft

    def new_trained(self) -> "TrainedDraft":
        """A draft of the files that all segments share. To replace earlier ones, every earlier segment must go."""
        self._require_open()
        return TrainedDraft(number_name(self.base.number + 1), self._draft(TRAINED), self)

    def delete(self, segment: str, rows: ArrayLike) -> int:
        """Delete rows of a segment, in any order; returns how many of them were live until now."""
        entry = self._find(segment)
        before = self._deleted.get(segment)
        if before is None:
            before = read_rows(self._root, entry)
        merged = np.union1d(before, as_rows(rows, entry.passages))
        if len(merged) > len(before):
            self._deleted[segment] = merged
        return len(merged) - len(before)

    def drop(self, *segments: str) -> None:
        """Leave segments out of the new version; their files stay for the versions that name them."""
        for name in segments:
            self._find(name)
            del self._segments[name]
            self._deleted.pop(name, None)

    def publish(self) -> Version:
        """Publish all that was done, as one new version; it ends the writer's work."""
        self._require_open()
        if self._unsealed:
            raise CsgenError(f"{len(self._unsealed)} drafts are neither sealed nor discarded; nothing was published")
        stale = [s.name for s in self.base.segments if s.name in self._segments]
        if self._trained != self.base.trained and stale:
            raise CsgenError(f"segment {stale[0]} was made with the trained files that are to be replaced: drop it")
        if read_published(self._root) != self.base:
            raise CsgenError(f"{self._root}: was published to while this writer held the lock; nothing was published")
        segments = sorted(self._segments.values(), key=lambda segment: segment.number)
        version = Version(
            number=self.base.number + 1,
            operation=self._operation,
            settings=self.base.settings,
            next_segment=self._next_segment,
            segments=tuple(self._bury(segment) for segment in segments),
            trained=self._trained,
        )
        self._open = False
        return publish(self._root, self._workspace, version)

    def close(self) -> None:
        self._open = False

    def seal_segment(self, draft: "SegmentDraft", segment: SegmentEntry) -> None:
        self._place(draft.folder, self._root / SEGMENTS / segment.name, segment.files)
        self._segments[segment.name] = segment

    def seal_trained(self, draft: "TrainedDraft", trained: TrainedEntry) -> None:
        self._place(draft.folder, self._root / TRAINED / trained.name, trained.files)
        self._trained = trained

    def discard(self, folder: Path) -> None:
        """Forget a draft; its folder goes when the writer ends."""
        self._unsealed.discard(folder)

    def _draft(self, name: str) -> Path:
        folder = self._workspace / name
        make_folder(folder)
        self._unsealed.add(folder)
        return folder

    def _place(self, folder: Path, target: Path, files: Mapping[str, FileEntry]) -> None:
        """Move a draft into its place, if it still is what was described."""
        self._require_open()
        if folder not in self._unsealed:
            raise CsgenError(f"{folder}: this draft was sealed or discarded before")
        there = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if not path.is_dir()}
        if (sizes := {n: path.stat().st_size for n, path in there.items()}) != {n: f.bytes for n, f in files.items()}:
            changed = sorted(
                name for name in {*sizes, *files} if name not in files or sizes.get(name) != files[name].bytes
            )
            raise CsgenError(f"{folder / changed[0]}: is not what was described; fill the draft before describing it")
        move(folder, target)
        self._unsealed.remove(folder)

    def _bury(self, segment: SegmentEntry) -> SegmentEntry:
        """The segment with its new deletes, if any, in a file of their own."""
        if segment.name not in self._deleted:
            return segment
        rows = self._deleted[segment.name]
        data = encode_rows(rows)
        name = f"{DELETED}/{segment.name}-{number_name(self.base.number + 1)}.rows"
        write_file(self._workspace / "rows", self._root / name, data)
        hashed = xxhash.xxh3_128_hexdigest(data)
        tombstones = Tombstones(file=name, count=len(rows), bytes=len(data), xxh3_128=hashed)
        return segment.model_copy(update={"deleted": tombstones})

    def _find(self, segment: str) -> SegmentEntry:
        self._require_open()
        if segment not in self._segments:
            raise ValueError(f"there is no segment {segment!r} to change")
        return self._segments[segment]

    def _require_open(self) -> None:
        if not self._open:
            raise CsgenError("this writer has ended: start another")


@dataclass(frozen=True)
class SegmentDraft:
    """A segment that is being filled: put files into `folder`, here or in another process, then seal it."""

    number: int
    shard: int
    folder: Path
    _writer: Writer

    def seal(self, passages: int, facts: dict[str, Any], files: Mapping[str, FileEntry] | None = None) -> SegmentEntry:
        """Put the segment into its place; it is part of the next version.

        `files` is what describe_folder(draft.folder) gave to whoever filled it; None: it is called here.
        """
        files = describe_folder(self.folder) if files is None else dict(files)
        segment = SegmentEntry(number=self.number, shard=self.shard, passages=passages, facts=facts, files=files)
        self._writer.seal_segment(self, segment)
        return segment

    def discard(self) -> None:
        """Make no segment of it. Its number is not used again by this writer."""
        self._writer.discard(self.folder)


@dataclass(frozen=True)
class TrainedDraft:
    """Files shared by all segments that are being written: put them into `folder`, then seal them."""

    name: str
    folder: Path
    _writer: Writer

    def seal(self, facts: dict[str, Any]) -> TrainedEntry:
        """Put the files into their place, from which segments may be filled at once."""
        trained = TrainedEntry(name=self.name, facts=facts, files=describe_folder(self.folder))
        self._writer.seal_trained(self, trained)
        return trained
