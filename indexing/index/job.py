"""The folder INDEX.building of an index that is being built or added to: what is made of what, and by whom.

    job.json         what is being made of what: the same command goes on, any other is refused
    published.json   what the job is about to publish, and as which version; written just before
    lock             who works in it

Knows neither passages nor vectors. The folder goes once the index has all of it.
"""

import contextlib
import json
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from csgen.errors import InputError
from csgen.manifest import MANIFEST_NAME, list_changes
from indexing.index.pieces import read_note, write_note
from indexing.store import Store
from indexing.store.folder import LOCK_NAME, make_folder, writing
from indexing.store.lock import hold_lock

_JOB, _PUBLISHED = "job.json", "published.json"


@dataclass(frozen=True)
class Job:
    """The folder, while its lock is held."""

    root: Path  # the index
    operation: str

    @property
    def folder(self) -> Path:
        return folder_of(self.root)

    @property
    def is_begun(self) -> bool:
        """Whether an earlier run, or this one, has begun something."""
        return (self.folder / _JOB).exists()

    @property
    def is_known(self) -> bool:
        """Whether there is anything of an earlier run, be it that it was killed at its very end."""
        return self.is_begun or (self.folder / _PUBLISHED).exists()

    def find_published(self, identity: Mapping[str, Any]) -> dict[str, Any] | None:
        """The report of a job that was killed after it had published, if it was the same; its folder goes then.

        None where there is none. A job that did not publish and is another one is an InputError that says what differs.
        """
        earlier, wanted = read_note(self.folder / _JOB), json.loads(json.dumps(identity))
        note = read_note(self.folder / _PUBLISHED)
        if note is not None and self._is_published(note["version"]):
            self.remove()
            return dict(note["report"]) if earlier in (wanted, None) else None
        if earlier is None:
            return None
        if changes := list_changes(earlier, wanted):
            raise InputError.at(
                str(self.folder), None, f"holds an unfinished job that differs: {'; '.join(changes)}; finish that one "
                f"first, or remove it (rm -r {self.folder})"
            )  # fmt: skip
        return None

    def begin(self, identity: Mapping[str, Any]) -> bool:
        """Say what the folder is for; whether it did not yet."""
        if self.is_begun:
            return False
        with writing(self.folder):
            for path in self._list_folders():  # which a task left that outlived its job
                shutil.rmtree(path)
        write_note(self.folder / _JOB, identity)
        return True

    @contextlib.contextmanager
    def gone_if_refused(self, is_cheap: bool) -> Iterator[None]:
        """Where input is refused within the block, empty the folder if what is in it was made in no time."""
        try:
            yield
        except InputError:
            if is_cheap:
                self.remove()
            raise

    def announce(self, version: int, report: Mapping[str, Any]) -> None:
        """Say what is published next."""
        write_note(self.folder / _PUBLISHED, {"version": version, "report": report})

    def remove(self) -> None:
        """Empty the folder, its notes last: what is left after a crash can still be told apart."""
        for path in self._list_folders():
            shutil.rmtree(path, ignore_errors=True)  # a task may still be writing there
        with writing(self.folder):
            for path in self.folder.iterdir():
                if path.is_file() and path.name not in (_JOB, _PUBLISHED, LOCK_NAME):  # half a note
                    path.unlink()
            for name in (_JOB, _PUBLISHED):
                (self.folder / name).unlink(missing_ok=True)

    def _list_folders(self) -> list[Path]:
        return [path for path in self.folder.iterdir() if path.is_dir()]

    def _is_published(self, number: int) -> bool:
        if not (self.root / MANIFEST_NAME).exists():
            return False
        store = Store.open(self.root)
        return number in store.list_versions() and store.read_version(number).operation == self.operation


def folder_of(root: Path) -> Path:
    """Where an index is built."""
    return root.with_name(f"{root.name}.building")


@contextlib.contextmanager
def open_job(root: Path, operation: str) -> Iterator[Job]:
    """Hold the lock on the folder within the block; it goes at the end where nothing is left in it."""
    folder = folder_of(root)
    make_folder(folder)
    with hold_lock(folder, operation):
        try:
            yield Job(root, operation)
        finally:
            with contextlib.suppress(OSError):  # the next job finds it and goes on
                if [path.name for path in folder.iterdir()] == [LOCK_NAME]:
                    shutil.rmtree(folder)
