"""Small index folders, and faults at any step of what changes one."""

import builtins
import contextlib
import errno
import fcntl
import io
import os
import signal
import sys
from pathlib import Path

from csgen.errors import CsgenError
from csgen.manifest import MANIFEST_NAME
from indexing.store import Store
from indexing.store.folder import LOCK_NAME, list_named, read_kept

SETTINGS = {"kind": "flat", "num_shards": 2}


def no_flushing(monkeypatch):
    """For a fixture: fsync does nothing. A killed process loses nothing that it wrote; only a power failure does."""
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)


def fill(folder, content):
    """Files as a segment has them, one in a folder of its own."""
    (folder / "table").mkdir()
    (folder / "vectors").write_bytes(content * 40)
    (folder / "table" / "texts").write_bytes(content[::-1] * 7)


def add_segment(writer, content=b"some", passages=10, shard=0):
    draft = writer.new_segment(shard)
    fill(draft.folder, content)
    return draft.seal(passages, {"content": content.decode()})


def train(writer, content=b"centroids"):
    draft = writer.new_trained()
    (draft.folder / "centroids").write_bytes(content)
    return draft.seal({"rows": len(content)})


def make_index(folder):
    """Three versions: empty; trained, with two segments; with deletes in the first of them."""
    store = Store.create(folder, SETTINGS)
    with store.write("add") as writer:
        train(writer)
        add_segment(writer, b"one")
        add_segment(writer, b"two", 9, shard=1)
        writer.publish()
    with store.write("delete") as writer:
        writer.delete("00000001", [3, 8])
        writer.publish()
    return store


def files_on_disk(folder):
    return {path.relative_to(folder).as_posix() for path in Path(folder).rglob("*") if not path.is_dir()}


def assert_nothing_left_over(folder):
    """Every file is named by a version that is kept."""
    assert files_on_disk(folder) == {*list_named(Path(folder)), MANIFEST_NAME, LOCK_NAME}
    assert list((Path(folder) / "drafts").iterdir()) == []


def assert_whole(store):
    for number in store.list_versions():
        version = read_kept(store.folder, number)
        assert store.check(version, hashes=True) == []
        for segment in version.segments:
            store.read_deleted(version, segment.name)


class Steps:
    """Counts the calls that change a disk, and lets `fault` happen at those that it is meant for."""

    def __init__(self, fault):
        self.count = 0
        self.fault = fault  # called with the number of the step, its kind, and what does half of it

    def take(self, kind, halfway=lambda: None):
        self.count += 1
        self.fault(self.count, kind, halfway)


@contextlib.contextmanager
def stepping(fault):
    """Within the block, calls that change a disk are steps; fsync is one, but flushes nothing."""
    steps = Steps(fault)
    before = {name: getattr(os, name) for name in ("open", "fsync", "pwrite", "ftruncate", *_PLAIN)}
    plain_open, flock = builtins.open, fcntl.flock

    class StepFile(io.FileIO):
        def write(self, data):
            write = super().write
            steps.take("write", lambda: write(bytes(data)[: len(data) // 2]))
            return write(data)

    def opened(file, mode="r", *args, **kwargs):
        if mode != "wb":
            return plain_open(file, mode, *args, **kwargs)
        steps.take("create")
        return StepFile(file, "wb")

    def os_open(path, flags, *args, **kwargs):
        if flags & os.O_CREAT and not Path(path).exists():
            steps.take("create")
        return before["open"](path, flags, *args, **kwargs)

    def stepped(call, kind):
        def taken(*args, **kwargs):
            steps.take(kind)
            return call(*args, **kwargs)

        return taken

    try:
        for name in _PLAIN:
            setattr(os, name, stepped(before[name], name))
        os.pwrite, os.ftruncate = stepped(before["pwrite"], "sign"), stepped(before["ftruncate"], "sign")
        os.open, os.fsync = os_open, stepped(lambda descriptor: None, "fsync")
        fcntl.flock = stepped(flock, "flock")
        builtins.open = io.open = opened
        yield steps
    finally:
        for name, call in before.items():
            setattr(os, name, call)
        fcntl.flock = flock
        builtins.open = io.open = plain_open


_PLAIN = ("mkdir", "rename", "replace", "link", "unlink", "remove", "rmdir")


def run_killed(operation, step):
    """Run in a forked process that kills itself before its k-th step, or in the midst of it; whether it was killed."""
    child = os.fork()
    if child == 0:

        def kill(count, kind, halfway):
            if count == step:
                halfway()
                os.kill(os.getpid(), signal.SIGKILL)

        try:
            with stepping(kill):
                operation()
            os._exit(0)
        except BaseException as error:
            os.write(2, f"{error!r}\n".encode())
            os._exit(1)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert code in (0, -signal.SIGKILL)
    return code != 0


def fill_disk(step):
    """A fault: from a step on, whatever needs space finds none. The lock's text lies where it lay before."""

    def full(count, kind, halfway):
        if count >= step and kind in ("create", "write", "mkdir", "rename", "replace", "fsync"):
            halfway()
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    return full


def fill_for_real(disk):
    """Add segments on a small file system until it is full, then make room: nothing that was published is lost."""
    store = make_index(disk / "index")
    message = ""
    while not message:
        before = store.read_version()
        try:
            add_large_segment(store)
        except CsgenError as error:
            message = str(error)
    assert "the disk is full" in message
    assert store.read_version() == before
    assert before.number > 4
    assert_whole(store)
    assert_nothing_left_over(store.folder)
    with store.write("compact") as writer:
        writer.drop(*(segment.name for segment in before.segments))
        writer.publish()
    store.expire(keep=1, grace_s=0)
    assert add_large_segment(store).number == before.number + 2
    assert_whole(store)


def add_large_segment(store):
    with store.write("add") as writer:
        draft = writer.new_segment(0)
        (draft.folder / "vectors").write_bytes(bytes(100_000))
        draft.seal(10, {})
        return writer.publish()


if __name__ == "__main__":
    fill_for_real(Path(sys.argv[1]))
