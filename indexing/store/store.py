"""An index folder as its users see it: read a version, change it, check it, copy it, let old ones go.

Knows neither vectors nor texts. A version that was read stays as it is, and its files stay until it expires.
"""

import contextlib
import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from csgen.errors import InputError
from csgen.files import refuse_finished
from indexing.store.check import Problem, Repair, check_version, repair_version, require_whole
from indexing.store.folder import (
    FULL,
    LOCK_NAME,
    VERSIONS,
    claim_folder,
    explain,
    list_kept,
    list_named,
    local_folder,
    open_workspace,
    publish,
    read_kept,
    read_published,
    require_nothing_lost,
    sweep,
    sync,
    version_name,
    writing,
)
from indexing.store.lock import hold_lock
from indexing.store.snapshot import restore_snapshot, write_snapshot
from indexing.store.tombstones import Bitmap, Rows, mark_live, read_rows
from indexing.store.version import SEGMENTS, TRAINED, FileEntry, Version
from indexing.store.writer import Writer


@dataclass(frozen=True)
class Store:
    """The index in a folder. Holds nothing open: any number of processes may have it."""

    folder: Path

    @classmethod
    def create(cls, folder: str | Path, settings: dict[str, Any]) -> "Store":
        """Publish version 1, without segments, in a new or empty folder."""
        root = local_folder(folder)
        first = Version(number=1, operation="create", settings=settings)
        refuse_finished(str(root))
        claim_folder(root)
        with hold_lock(root, "create"):
            refuse_finished(str(root))
            require_nothing_lost(root, first)
            sweep(root, ())
            with open_workspace(root) as workspace:
                publish(root, workspace, first)
        return cls(root)

    @classmethod
    def open(cls, folder: str | Path) -> "Store":
        """The index that a folder holds; without one, an InputError."""
        root = local_folder(folder)
        read_published(root)
        return cls(root)

    @classmethod
    def restore(cls, source: str, folder: str | Path) -> "Store":
        """Make an index of the snapshot at a URI, or mend the one that has the same version."""
        root = local_folder(folder)
        restore_snapshot(source, root)
        return cls(root)

    def read_version(self, number: int | None = None) -> Version:
        """The version that is published now, or one of `list_versions`."""
        published = read_published(self.folder)
        if number is None or number == published.number:
            return published
        if number > published.number:
            raise InputError.at(str(self.folder), None, f"no version {number}: the last is {published.number}")
        return read_kept(self.folder, number)

    def list_versions(self) -> list[int]:
        """The numbers of the versions that have not expired, ascending; the last is the published one."""
        return list_kept(self.folder, read_published(self.folder))

    def open_version(self, number: int | None = None, *, hashes: bool = False) -> Version:
        """As `read_version`, and all its files are there in their sizes (with `hashes`: unaltered).

        Else an InputError names the first that is not, and the remedy.
        """
        version = self.read_version(number)
        require_whole(self.folder, version, hashes=hashes)
        return version

    def repair_version(self, number: int | None = None, *, hashes: bool = False) -> Repair:
        """As `open_version`, but without the broken segments, and what is lost with them.

        Changes nothing on disk: a writer that drops the lost segments makes it last.
        """
        return repair_version(self.folder, self.read_version(number), hashes=hashes)

    def check(self, version: Version, *, hashes: bool = False) -> list[Problem]:
        """What is wrong with the version's files: none may be missing or differ in size, or with `hashes` at all."""
        return check_version(self.folder, version, hashes=hashes)

    def open_segment_paths(self, version: Version, segment: str) -> dict[str, Path]:
        """The files of a segment by name, there and of their sizes: ready to be opened."""
        files = version.segment(segment).files
        return self._paths(version, f"{SEGMENTS}/{segment}", files)

    def open_trained_paths(self, version: Version) -> dict[str, Path]:
        """The files that all segments share, by name; none where nothing was trained."""
        trained = version.trained
        return self._paths(version, f"{TRAINED}/{trained.name}", trained.files) if trained else {}

    def read_deleted(self, version: Version, segment: str) -> Rows:
        """The deleted rows of a segment: uint32, ascending."""
        return read_rows(self.folder, version.segment(segment))

    def read_live(self, version: Version, segment: str) -> Bitmap | None:
        """The bitmap of a segment's rows that are not deleted: row i is bit i & 7 of byte i >> 3. None: all rows."""
        entry = version.segment(segment)
        return mark_live(entry.passages, read_rows(self.folder, entry))

    @contextlib.contextmanager
    def write(self, operation: str) -> Iterator[Writer]:
        """Hold the lock and change the published version within the block; without `publish`, nothing changes.

        What an earlier writer left behind when it was killed is removed first. A second writer gets an InputError
        that names who holds the lock.
        """
        with hold_lock(self.folder, operation):
            base = read_published(self.folder)
            sweep(self.folder, list_named(self.folder))
            try:
                with open_workspace(self.folder) as workspace:
                    writer = Writer(self.folder, workspace, base, operation)
                    try:
                        yield writer
                    finally:
                        writer.close()
            except OSError as error:
                if error.errno in FULL:
                    raise explain(error.filename or self.folder, error) from error
                raise
            finally:
                with contextlib.suppress(Exception):  # the next writer sweeps too
                    sweep(self.folder, list_named(self.folder))

    def snapshot(self, version: Version, target: str) -> None:
        """Copy the version to a folder at any URI; see `restore`."""
        write_snapshot(self.folder, version, target)

    def expire(self, keep: int, grace_s: float = 3600.0) -> list[int]:
        """Let go of versions but the last `keep`, and of the files that only they name; returns their numbers.

        A version stays, however many follow, until `grace_s` seconds after the next one was published, by the file
        system's clock: for readers that opened it while it was the last. Whoever reads an expired version keeps what
        is open or mapped (on NFS: of the same machine); opening another of its files is an InputError that says so.
        """
        if keep < 1:
            raise ValueError(f"keep must be 1 or more, got {keep}")
        with hold_lock(self.folder, "expire"):
            numbers = self.list_versions()
            now = (self.folder / LOCK_NAME).stat().st_mtime  # it was written just now
            expired = [
                number
                for number, next_one in itertools.pairwise(numbers[: -keep + 1 or None])
                if now - (self.folder / version_name(next_one)).stat().st_mtime >= grace_s
            ]
            for number in expired:
                with writing(self.folder / version_name(number)):
                    (self.folder / version_name(number)).unlink()
            if expired:
                sync(self.folder / VERSIONS)
            sweep(self.folder, list_named(self.folder))
        return expired

    def _paths(self, version: Version, folder: str, files: dict[str, FileEntry]) -> dict[str, Path]:
        paths = {name: self.folder / folder / name for name in files}
        for name, path in paths.items():
            try:
                size = path.stat().st_size
            except OSError as error:
                raise InputError.at(str(path), None, self._explain_lack(version, error)) from error
            if size != files[name].bytes:
                message = f"has {size:,} bytes, was written with {files[name].bytes:,}: restore it from a snapshot"
                raise InputError.at(str(path), None, message)
        return paths

    def _explain_lack(self, version: Version, error: OSError) -> str:
        if version.number not in self.list_versions():
            return f"version {version.number} has expired: read the index anew"
        return f"{error.strerror}: restore the index from a snapshot, or repair it"
