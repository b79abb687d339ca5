"""Copies of a version at any URI that fsspec opens, and back.

The manifest comes last in both directions, so that a copy that was cut off does not look whole. A file that is there
already is not copied again, so that a copy can go on, and a later one takes only what is new.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path

import xxhash

from csgen.errors import CsgenError, InputError
from csgen.files import (
    TEMPORARY_SUFFIX,
    exists,
    filesystem,
    hash_file,
    is_local,
    join,
    open_packed,
    replace_file,
)
from csgen.manifest import MANIFEST_NAME
from indexing.store.folder import (
    LOCK_NAME,
    claim_folder,
    list_named,
    make_folder,
    move,
    open_workspace,
    publish,
    read_published,
    require_nothing_lost,
    sweep,
    sync,
    version_name,
    write_file,
    writing,
)
from indexing.store.lock import hold_lock
from indexing.store.version import DELETED, SEGMENTS, TRAINED, FileEntry, Version

_BLOCK_BYTES = 1 << 22


def write_snapshot(root: Path, version: Version, target: str) -> None:
    """Copy what `version` names to the folder `target`; files of an earlier snapshot of the same index stay there.

    Every byte is checked on its way. What an earlier snapshot names and has its size was checked then; it is not read
    again. Raises InputError where a file was altered, and where `target` is a living index or a snapshot of another.
    """
    if exists(join(target, LOCK_NAME)):
        raise InputError.at(target, None, "is an index itself: give another folder for the snapshot")
    earlier = _read_earlier(version, target)
    sizes = _list_sizes(target)
    for _, name, entry in version.list_files():
        goal = join(target, name)
        if sizes.get(name) != entry.bytes or (name not in earlier and hash_file(goal) != entry.xxh3_128):
            _upload(join(str(root), name), goal, entry)
    for name in (version_name(version.number), MANIFEST_NAME):
        _write(join(target, name), version.encode())


def restore_snapshot(source: str, root: Path) -> Version:
    """Make an index folder of a snapshot, the same version with the same bytes, and check every byte.

    A folder that holds this very version is mended: files that are missing or differ are copied anew. Any other index
    is refused. Run again after it was cut off, it goes on.
    """
    version = _read_snapshot(source)
    claim_folder(root)
    with hold_lock(root, "restore"):
        require_nothing_lost(root, version)
        named = {name for _, name, _ in version.list_files()}
        if (root / MANIFEST_NAME).exists():
            if (there := read_published(root)) != version:
                message = f"holds version {there.number} of an index, which is not that of {source}: restore elsewhere"
                raise InputError.at(str(root), None, message)
            named |= list_named(root)
        sweep(root, named)
        with open_workspace(root) as workspace:
            for _, name, entry in version.list_files():
                if not _is_there(root / name, entry):
                    _download(join(source, name), workspace / "file", root / name, entry)
            return publish(root, workspace, version)


def _download(path: str, draft: Path, target: Path, entry: FileEntry) -> None:
    with writing(target), draft.open("wb") as stream:
        for block in _read_blocks(path, entry):
            stream.write(block)
    sync(draft)
    move(draft, target)


def _write(path: str, data: bytes) -> None:
    if is_local(path):
        local = Path(filesystem(path)[1])
        make_folder(local.parent)
        write_file(local.with_name(local.name + TEMPORARY_SUFFIX), local, data)
    else:
        with replace_file(path) as stream:
            stream.write(data)


def _upload(path: str, target: str, entry: FileEntry) -> None:
    fs, inner = filesystem(target)
    with writing(target):
        fs.makedirs(fs._parent(inner), exist_ok=True)
        with fs.open(inner, "wb") as stream:
            for block in _read_blocks(path, entry):
                stream.write(block)
    if is_local(target):
        sync(Path(inner))
        sync(Path(inner).parent)


def _read_blocks(path: str, entry: FileEntry) -> Iterator[bytes]:
    """The bytes of a file; at its end an InputError, unless they are those of the entry."""
    digest = xxhash.xxh3_128()
    try:
        with open_packed(path) as stream:
            while block := stream.read(_BLOCK_BYTES):
                digest.update(block)
                yield block
    except OSError as error:
        raise CsgenError(f"{path}: cannot be read: {error.strerror or error}") from error
    if digest.hexdigest() != entry.xxh3_128:
        raise InputError.at(path, None, f"was altered: its hash is {digest.hexdigest()}, was {entry.xxh3_128}")


def _is_there(path: Path, entry: FileEntry) -> bool:
    return path.is_file() and path.stat().st_size == entry.bytes and hash_file(str(path)) == entry.xxh3_128


def _list_sizes(target: str) -> dict[str, int]:
    """The files of an index's segments that a folder at a URI has, by name within it: their bytes."""
    fs, inner = filesystem(target)
    fs.invalidate_cache()
    found = {}
    for kind in (SEGMENTS, DELETED, TRAINED):
        folder = join(inner, kind)
        for path, info in fs.find(folder, detail=True).items():
            found[kind + path.removeprefix(folder)] = int(info["size"])
    return found


def _read_snapshot(source: str) -> Version:
    path = join(source, MANIFEST_NAME)
    if not exists(path):
        raise InputError.at(source, None, f"no {MANIFEST_NAME}: not a snapshot, or one that was cut off")
    with open_packed(path) as stream:
        return Version.decode(stream.read(), path)


def _read_earlier(version: Version, target: str) -> Mapping[str, FileEntry]:
    """The files of the snapshot that a folder holds, by name; where it is of another index, an InputError.

    Files of one name are the same in all versions of an index: else the earlier snapshot would be destroyed.
    """
    if not exists(join(target, MANIFEST_NAME)):
        return {}
    earlier = {name: entry for _, name, entry in _read_snapshot(target).list_files()}
    for _, name, entry in version.list_files():
        there = earlier.get(name, entry)
        if (entry.bytes, entry.xxh3_128) != (there.bytes, there.xxh3_128):
            message = f"is a snapshot of another index, with another {name}: give another folder"
            raise InputError.at(target, None, message)
    return earlier
