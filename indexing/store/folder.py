"""An index folder on disk: which file stands where, what is published, and writes that outlive a crash.

    manifest.json           the published version, replaced by one rename
    versions/NNNNNNNN.json  each published version, until it expires
    segments/NNNNNNNN/      a segment's files        deleted/SEGMENT-VERSION.rows   its deleted rows
    trained/VERSION/        files that all segments share
    drafts/                 what a writer has not finished; nothing in it counts
    lock                    who writes

Whatever a manifest names lies in its place, flushed to disk, before the manifest does. So after a crash there are at
worst files that no version names, and the next writer sweeps them away. Files are never changed in place.
"""

import contextlib
import errno
import os
import shutil
import tempfile
from collections.abc import Collection, Iterator
from pathlib import Path, PurePosixPath

from csgen.errors import CsgenError, InputError
from csgen.files import hash_file, is_local
from csgen.manifest import MANIFEST_NAME
from indexing.store.version import DELETED, SEGMENTS, TRAINED, FileEntry, Files, Version, number_name

VERSIONS, DRAFTS, LOCK_NAME = "versions", "drafts", "lock"
OWNED = (VERSIONS, SEGMENTS, DELETED, TRAINED, DRAFTS)
FULL = (errno.ENOSPC, errno.EDQUOT)
_OPEN_ELSEWHERE = ".nfs"  # what NFS calls a file that was removed while a process of this machine has it open
_COPY = f"copy the last file of {VERSIONS}/ to {MANIFEST_NAME}"


@contextlib.contextmanager
def writing(path: Path | str) -> Iterator[None]:
    """Turn an OSError within the block into one that names the file and says what to do."""
    try:
        yield
    except OSError as error:
        raise explain(path, error) from error


def explain(path: Path | str, error: OSError) -> CsgenError:
    """The error of a write to `path` that failed."""
    if error.errno in FULL:
        remedy = "free some space, then run it again; what was published before is whole"
        return CsgenError(f"{path}: the disk is full ({error.strerror}): {remedy}")
    return CsgenError(f"{path}: cannot be written: {error.strerror or error}")


def sync(path: Path) -> None:
    """Flush a file, or the list of a folder's entries, to disk."""
    with writing(path):
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def make_folder(path: Path) -> None:
    """Make a folder and those that it lies in, each flushed to disk."""
    if not path.is_dir():
        make_folder(path.parent)
        with writing(path):
            path.mkdir(exist_ok=True)
        sync(path.parent)


def move(source: Path, target: Path) -> None:
    """Put a file or folder that was flushed to disk into its place, and flush the place."""
    make_folder(target.parent)
    with writing(target):
        source.replace(target)
    sync(target.parent)


def write_file(draft: Path, target: Path, data: bytes) -> None:
    """Write `data` to `draft` and move it to `target`: whole or not at all."""
    with writing(target), draft.open("wb") as stream:
        stream.write(data)
    sync(draft)
    move(draft, target)


def describe_folder(folder: Path) -> Files:
    """Flush every file of a filled folder to disk, and tell its bytes and hash, by name, sorted.

    Needs no lock and no writer: whoever filled a draft calls it, on whatever machine, and returns what it gives.
    """
    files: Files = {}
    for inner, folders, names in os.walk(folder):
        folders.sort()
        for path in (Path(inner, name) for name in names):
            if path.is_symlink() or not path.is_file():
                raise CsgenError(f"{path}: a segment may hold files and folders, not links or devices")
            sync(path)
            entry = FileEntry(bytes=path.stat().st_size, xxh3_128=hash_file(str(path)))
            files[path.relative_to(folder).as_posix()] = entry
        sync(Path(inner))
    return dict(sorted(files.items()))


@contextlib.contextmanager
def open_workspace(root: Path) -> Iterator[Path]:
    """A new folder under `drafts/` that no other writer has or had; it is removed at the end."""
    make_folder(root / DRAFTS)
    with writing(root / DRAFTS):
        workspace = Path(tempfile.mkdtemp(dir=root / DRAFTS, prefix=""))
    try:
        yield workspace
    finally:
        shutil.rmtree(workspace, ignore_errors=True)


def local_folder(folder: str | Path) -> Path:
    """The absolute path of an index folder, which must be on a file system of this machine."""
    if not is_local(str(folder)):
        raise InputError(f"{folder}: an index lies on a local or shared file system, where it can be memory-mapped")
    return Path(str(folder).removeprefix("file://")).absolute()


def claim_folder(root: Path) -> None:
    """Make a folder for an index; one that holds anything else is refused."""
    make_folder(root)
    names = {path.name for path in root.iterdir()}
    if names and LOCK_NAME not in names and MANIFEST_NAME not in names:
        raise InputError(f"{root}: is not empty, and not an index: give a new or an empty folder")


def require_nothing_lost(root: Path, made: Version) -> None:
    """Refuse to make a version where all of another is there but its manifest: it would be swept away."""
    if not (root / MANIFEST_NAME).exists() and _find_last(root) not in (None, made):
        raise InputError.at(str(root), None, f"no {MANIFEST_NAME}: {_guess(root)}; or give another folder")


def version_name(number: int) -> str:
    return f"{VERSIONS}/{number_name(number)}.json"


def read_published(root: Path) -> Version:
    """The published version. A folder without one is an InputError."""
    return _read(root / MANIFEST_NAME)


def read_kept(root: Path, number: int) -> Version:
    """A version that was published and has not expired."""
    return _read(root / version_name(number))


def list_kept(root: Path, published: Version) -> list[int]:
    """The numbers of versions that have not expired, ascending; the published one is the last."""
    names = (path.name.removesuffix(".json") for path in (root / VERSIONS).glob("*.json"))
    kept = {int(name) for name in names if name.isascii() and name.isdecimal()}
    return sorted({number for number in kept if number < published.number} | {published.number})


def publish(root: Path, workspace: Path, version: Version) -> Version:
    """Make a version the published one, as a reader will read it. Its files lie in their places, flushed to disk."""
    data = version.encode()
    read = Version.decode(data, str(root / MANIFEST_NAME))
    for name in (version_name(version.number), MANIFEST_NAME):
        write_file(workspace / "manifest", root / name, data)
    return read


def list_named(root: Path) -> set[str]:
    """The names of all files that the published and the kept versions need, their own included."""
    published = read_published(root)
    versions = {n: read_kept(root, n) for n in list_kept(root, published) if n != published.number}
    named = {version_name(number) for number in [*versions, published.number]}
    return named.union(*({name for _, name, _ in v.list_files()} for v in [published, *versions.values()]))


def sweep(root: Path, named: Collection[str]) -> None:
    """Remove the files in the store's own folders that are not among `named`, and folders that hold none."""
    needed = {str(parent) for name in named for parent in PurePosixPath(name).parents}
    for owned in OWNED:
        for folder, _, names in os.walk(root / owned, topdown=False):
            inner = Path(folder).relative_to(root).as_posix()
            for name in names:
                if f"{inner}/{name}" not in named and not name.startswith(_OPEN_ELSEWHERE):
                    with writing(f"{folder}/{name}"), contextlib.suppress(FileNotFoundError):
                        Path(folder, name).unlink()
            if inner != owned and inner not in needed:
                with contextlib.suppress(OSError):  # a worker of a dead writer may still be filling it
                    Path(folder).rmdir()


def _read(path: Path) -> Version:
    try:
        data = path.read_bytes()
    except FileNotFoundError as error:
        raise InputError.at(str(path.parent), None, f"no {path.name}: {_guess(path.parent)}") from error
    except OSError as error:
        raise InputError.at(str(path), None, f"cannot be read: {error.strerror}") from error
    try:
        return Version.decode(data, str(path))
    except InputError as error:
        remedy = _COPY if path.name == MANIFEST_NAME else "remove it, if that version is not needed"
        raise InputError(f"{error}; {remedy}") from error


def _find_last(root: Path) -> Version | None:
    """The last version with segments, whether it was published or not."""
    for path in sorted((root / VERSIONS).glob("*.json"), reverse=True):
        with contextlib.suppress(InputError):
            version = _read(path)
            if version.segments:
                return version
    return None


def _guess(folder: Path) -> str:
    if folder.name == VERSIONS:
        return "that version was never published here, or has expired"
    if _find_last(folder):
        return f"it was lost, or the restoring of this index was cut off: {_COPY}, or restore a snapshot"
    if (folder / LOCK_NAME).exists():
        return "the making or restoring of this index was cut off: run it again"
    return "not an index"
