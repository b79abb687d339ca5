"""One writer at a time: an advisory lock on a file of the index folder. Readers need none.

The kernel holds it for the process (flock(2); over NFS Linux turns it into a lock of the server), so that it ends with
the process, however that ends. The file's text only says who holds it.
"""

import contextlib
import fcntl
import json
import os
import socket
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from csgen.errors import InputError
from indexing.store.folder import LOCK_NAME, writing

_MAX_BYTES = 4096
_open: set[int] = set()  # descriptors of this process


@contextlib.contextmanager
def hold_lock(root: Path, operation: str) -> Iterator[None]:
    """Hold the lock within the block. Where another has it, an InputError says who, since when and what for."""
    path = root / LOCK_NAME
    with writing(path):
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    _open.add(descriptor)
    try:
        with writing(path):
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                message = f"{_name_holder(descriptor)} is writing: wait until it ends, or end it"
                raise InputError.at(str(root), None, message) from None
        _sign(path, descriptor, operation)
        yield
    finally:
        if descriptor in _open:
            _open.remove(descriptor)
            os.close(descriptor)


def _sign(path: Path, descriptor: int, operation: str) -> None:
    """Write who holds the lock over what stood there: on a full disk too, since expiry, which frees space, needs it."""
    since = datetime.now(UTC).isoformat(timespec="seconds")
    note = {"pid": os.getpid(), "host": socket.gethostname(), "since": since, "operation": operation}
    data = json.dumps(note).encode()
    with writing(path):
        os.pwrite(descriptor, data, 0)
        os.ftruncate(descriptor, len(data))


def _name_holder(descriptor: int) -> str:
    try:
        note = json.loads(os.pread(descriptor, _MAX_BYTES, 0))
        return f"process {note['pid']} on {note['host']} ({note['operation']}, since {note['since']})"
    except (OSError, ValueError, TypeError, KeyError):  # it has only just taken the lock
        return "another process"


def _let_go() -> None:
    """Forked children would hold the lock on after their parent was killed."""
    while _open:
        os.close(_open.pop())


os.register_at_fork(after_in_child=_let_go)
