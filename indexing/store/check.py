"""Whether the files of a version are what they were: all of them, or what can still be used. Changes nothing."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from csgen.errors import InputError
from csgen.files import hash_file
from indexing.store.version import FileEntry, SegmentEntry, Version

Fault = Literal["missing", "truncated", "altered", "unreadable"]


@dataclass(frozen=True)
class Problem:
    """What is wrong with a file."""

    segment: str | None  # whose file it is; None: the trained files, which all segments share
    file: str  # within the index folder
    fault: Fault
    detail: str

    def __str__(self) -> str:
        owner = f"segment {self.segment}" if self.segment else "all segments"
        return f"{self.file} ({owner}) is {self.fault}: {self.detail}"


@dataclass(frozen=True)
class Repair:
    """What can be used of a version, and what cannot."""

    version: Version  # without the broken segments
    lost: tuple[SegmentEntry, ...]
    problems: tuple[Problem, ...]

    @property
    def lost_passages(self) -> int:
        """How many live passages are lost."""
        return sum(segment.live for segment in self.lost)

    def __str__(self) -> str:
        if not self.problems:
            return "nothing is lost"
        num_segments = len(self.lost) + len(self.version.segments)
        live = self.lost_passages + sum(segment.live for segment in self.version.segments)
        found = "; ".join(map(str, self.problems))
        return f"lost {len(self.lost)} of {num_segments} segments, {self.lost_passages:,} of {live:,} passages: {found}"


def check_version(root: Path, version: Version, *, hashes: bool = False) -> list[Problem]:
    """Compare the size of every file, and with `hashes` its content too, which reads it whole."""
    checked = ((segment, name, _check(root / name, entry, hashes)) for segment, name, entry in version.list_files())
    return [Problem(segment, name, *found) for segment, name, found in checked if found]


def require_whole(root: Path, version: Version, *, hashes: bool = False) -> None:
    """Raise an InputError that names the first problem and the remedy, if there is one."""
    for problem in check_version(root, version, hashes=hashes):
        remedy = "restore the index from a snapshot into the same folder"
        without = f", or repair, which does without segment {problem.segment}" if problem.segment else ""
        raise InputError.at(str(root), None, f"{problem}; {remedy}{without}")


def repair_version(root: Path, version: Version, *, hashes: bool = False) -> Repair:
    """The version without the segments that have a problem. Deletes that cannot be read break their segment.

    Broken trained files are beyond repair: an InputError.
    """
    problems = check_version(root, version, hashes=hashes)
    for problem in problems:
        if problem.segment is None:
            raise InputError.at(str(root), None, f"{problem}; restore the index from a snapshot into the same folder")
    broken = {problem.segment for problem in problems}
    lost = tuple(segment for segment in version.segments if segment.name in broken)
    whole = tuple(segment for segment in version.segments if segment.name not in broken)
    return Repair(version.model_copy(update={"segments": whole}), lost, tuple(problems))


def _check(path: Path, entry: FileEntry, hashes: bool) -> tuple[Fault, str] | None:
    try:
        size = path.stat().st_size
        if size < entry.bytes:
            return "truncated", f"{size:,} of {entry.bytes:,} bytes"
        if size > entry.bytes:
            return "altered", f"{size:,} bytes in place of {entry.bytes:,}"
        if hashes and (found := hash_file(str(path))) != entry.xxh3_128:
            return "altered", f"its hash is {found}, was {entry.xxh3_128}"
    except FileNotFoundError:
        return "missing", f"{entry.bytes:,} bytes"
    except OSError as error:
        return "unreadable", error.strerror or str(error)
    return None
