"""Deleted rows of a segment: as ascending numbers, as a file, as the bitmap of the rows that are left."""

from pathlib import Path

import numpy as np
import xxhash
from numpy.typing import ArrayLike, NDArray

from csgen.errors import InputError
from indexing.store.version import SegmentEntry

Rows = NDArray[np.uint32]  # ascending, each once
Bitmap = NDArray[np.uint8]  # ceil(n / 8) bytes; row i is bit i & 7 of byte i >> 3; the bits beyond n are 0


def as_rows(rows: ArrayLike, passages: int) -> Rows:
    """Whole numbers in any order as rows of a segment of so many passages; others are a ValueError."""
    given = np.asarray(rows)
    if given.size == 0:
        return np.zeros(0, np.uint32)
    if given.dtype.kind not in "iu":
        raise ValueError(f"rows must be whole numbers, got {given.dtype}")
    unique = np.unique(given)
    if unique[0] < 0 or unique[-1] >= passages:
        raise ValueError(f"rows must be in [0, {passages}), got {unique[0] if unique[0] < 0 else unique[-1]}")
    return unique.astype(np.uint32)


def encode_rows(rows: Rows) -> bytes:
    return rows.astype("<u4", copy=False).tobytes()


def read_rows(root: Path, segment: SegmentEntry) -> Rows:
    """The deleted rows of a segment. The file's hash is always checked: a wrong bit would bring a passage back."""
    if segment.deleted is None:
        return np.zeros(0, np.uint32)
    path = root / segment.deleted.file
    try:
        data = path.read_bytes()
    except OSError as error:
        raise InputError.at(str(path), None, f"the deletes of segment {segment.name}: {error.strerror}") from error
    if xxhash.xxh3_128_hexdigest(data) != segment.deleted.xxh3_128:
        message = f"the deletes of segment {segment.name} were altered: restore the index from a snapshot"
        raise InputError.at(str(path), None, message)
    return np.frombuffer(data, "<u4").astype(np.uint32, copy=False)


def mark_live(passages: int, deleted: Rows) -> Bitmap | None:
    """The rows of `passages` that are not deleted; None where all are live. Takes time by deletes, not by passages."""
    if len(deleted) == 0:
        return None
    bitmap = np.full((passages + 7) // 8, 0xFF, np.uint8)
    if passages % 8:
        bitmap[-1] = (1 << passages % 8) - 1
    places = deleted >> 3
    starts = np.flatnonzero(np.diff(places.astype(np.int64), prepend=-1))
    bits = np.left_shift(1, deleted & 7).astype(np.uint8)
    bitmap[places[starts]] &= ~np.bitwise_or.reduceat(bits, starts)
    return bitmap
