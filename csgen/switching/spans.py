"""Undoes switches from their spans; knows nothing of how they were made."""

import numpy as np
import pyarrow as pa
from numba import njit

from csgen.errors import InputError
from csgen.switching.switcher import buffers_of


def undo_switches(texts: pa.Array, switches: pa.Array) -> pa.Array:
    """The texts before they were switched, byte for byte.

    `switches` is a list<struct<start, end, source, language>> a row (csgen.schema.SWITCHES): bytes [start, end) of the
    text stood as `source`. An InputError where spans overlap, are out of order or leave the text.
    """
    spans = switches.flatten()
    sources, source_offsets = buffers_of(spans.field("source"))
    data, offsets = buffers_of(texts)
    starts, ends = (np.ascontiguousarray(spans.field(name).to_numpy()) for name in ("start", "end"))
    rows = np.zeros(len(switches) + 1, np.int64)
    rows[1:] = np.cumsum(switches.value_lengths().to_numpy())
    growth = int(source_offsets[-1] - source_offsets[0]) - int((ends - starts).sum())
    restored = np.empty(int(offsets[-1] - offsets[0]) + max(growth, 0) + len(sources), np.uint8)
    new_offsets = np.zeros(len(texts) + 1, np.int32)
    bad = _undo(data, offsets, rows, starts, ends, sources, source_offsets, restored, new_offsets)
    if bad >= 0:
        raise InputError(f"row {bad + 1}: its spans do not fit its text; was the text changed after switching?")
    return pa.StringArray.from_buffers(len(texts), pa.py_buffer(new_offsets), pa.py_buffer(restored))


@njit(cache=True, nogil=True)
def _undo(data, offsets, rows, starts, ends, sources, source_offsets, restored, new_offsets):  # type: ignore[no-untyped-def]
    at = 0
    for i in range(len(offsets) - 1):
        first, length, done = offsets[i], offsets[i + 1] - offsets[i], 0
        for s in range(rows[i], rows[i + 1]):
            if starts[s] < done or ends[s] < starts[s] or ends[s] > length:
                return i
            gap = starts[s] - done
            restored[at : at + gap] = data[first + done : first + starts[s]]
            at += gap
            size = source_offsets[s + 1] - source_offsets[s]
            restored[at : at + size] = sources[source_offsets[s] : source_offsets[s + 1]]
            at += size
            done = ends[s]
        restored[at : at + length - done] = data[first + done : first + length]
        at += length - done
        new_offsets[i + 1] = at
    return -1
