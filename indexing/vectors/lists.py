"""Inverted lists of a segment: their file, written in FAISS's own format and mapped by it; knows no search.

The file is what faiss.write_InvertedLists writes: a header with the lists' sizes, then for each list its codes and
its rows (int64). Since a segment's rows are encoded list by list, no more than a block is held in memory.
"""

import mmap
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from csgen.errors import InputError
from csgen.files import replace_file
from indexing.vectors.library import load_faiss, reading
from indexing.vectors.stored import DTYPES, Numbers, Precision, StoredVectors, freeze, map_numbers

Encode = Callable[[Numbers, Numbers], NDArray[np.uint8]]  # rows and their lists -> codes, (rows, code bytes)

_HEADER = np.dtype(
    [("format", "S4"), ("lists", "<u8"), ("code_bytes", "<u8"), ("sizes", "S4"), ("count", "<u8")], align=False
)
_FORMAT, _ALL_SIZES = b"ilar", b"full"  # fourcc of FAISS: inverted lists in an array, and the size of each list
_BLOCK_ROWS = 1 << 15


@dataclass(frozen=True)
class Lists:
    """A segment's lists, mapped. index: a FAISS index that holds them; sizes: rows by list; content: of lists of
    vectors, as `kernels.scan_lists` takes it."""

    index: Any
    sizes: Numbers
    parameters: Callable[..., Any]  # makes FAISS's parameters of a search in such an index
    content: tuple[Any, ...] | None


def write_lists(path: str, assigned: Numbers, num_lists: int, code_bytes: int, encode: Encode) -> None:
    """Write the file of rows 0 .. n - 1, of which `assigned` (n,) int64 names the lists."""
    sizes = np.bincount(assigned, minlength=num_lists)
    order = np.argsort(assigned, kind="stable")
    with replace_file(path) as stream:
        header = np.array((_FORMAT, num_lists, code_bytes, _ALL_SIZES, num_lists), _HEADER)
        stream.write(header.tobytes() + sizes.astype("<u8").tobytes())
        bounds = np.concatenate([[0], np.cumsum(sizes)])
        for first, last in _cut(bounds):
            rows = order[bounds[first] : bounds[last]]
            codes = encode(rows, assigned[rows])
            cuts = bounds[first + 1 : last] - bounds[first]
            for part, numbers in zip(np.split(codes, cuts), np.split(rows.astype("<i8"), cuts), strict=True):
                stream.write(part.tobytes() + numbers.tobytes())


def _cut(bounds: Numbers) -> Iterator[tuple[int, int]]:
    """Runs of whole lists with some _BLOCK_ROWS, or of a single list."""
    first, num_lists = 0, len(bounds) - 1
    while first < num_lists:
        last = int(np.searchsorted(bounds, bounds[first] + _BLOCK_ROWS, side="right")) - 1
        last = max(last, first + 1)
        yield first, last
        first = last


def place_vectors(assigned: Numbers, num_lists: int, dim: int, precision: Precision) -> Numbers:
    """Where each row's vector begins in a file of lists whose codes are the vectors, in numbers of `precision`."""
    itemsize = DTYPES[precision].itemsize
    order = np.argsort(assigned, kind="stable")
    # Before a row lie the header, the codes before it, and the row numbers of all earlier lists.
    sizes = np.bincount(assigned, minlength=num_lists)
    earlier = np.repeat(np.cumsum(sizes) - sizes, sizes)
    places = np.empty(len(assigned), np.int64)
    places[order] = (_data_start(num_lists) + earlier * 8) // itemsize + np.arange(len(order)) * dim
    return places


def _data_start(num_lists: int) -> int:
    return _HEADER.itemsize + 8 * num_lists


def open_lists(path: str, index: Any, num_rows: int, numbers: NDArray[Any] | None) -> Lists:
    """The lists of a file as those of `index`, an empty FAISS index of the same training; no code is read.

    numbers: the whole file, mapped, where its codes are vectors.
    """
    num_lists, code_bytes = int(index.nlist), int(index.code_size)
    try:
        with Path(path).open("rb") as stream:
            start = stream.read(_data_start(num_lists))
            size = stream.seek(0, 2)
    except OSError as error:
        raise InputError.at(path, None, f"cannot be read: {error.strerror or error}") from error
    if len(start) < _data_start(num_lists):
        raise InputError.at(path, None, "truncated: its header is not whole")
    header = np.frombuffer(start, _HEADER, 1)[0]
    expected = np.array((_FORMAT, num_lists, code_bytes, _ALL_SIZES, num_lists), _HEADER)
    if header != expected:
        raise InputError.at(path, None, f"of another kind or altered: its header is {header}, expected {expected}")
    sizes = np.frombuffer(start, "<u8", offset=_HEADER.itemsize)
    whole = _data_start(num_lists) + num_rows * (code_bytes + 8)
    if size != whole or sizes.max() > num_rows or sizes.sum() != num_rows:
        raise InputError.at(path, None, f"truncated or altered: expected {num_rows:,} rows in {whole:,} bytes")
    faiss = load_faiss()
    with reading(path):
        reader = faiss.FileIOReader(path)
        lists = faiss.read_InvertedLists(reader, faiss.IO_FLAG_MMAP | faiss.IO_FLAG_READ_ONLY)
        index.replace_invlists(lists, True)
    index.ntotal = num_rows
    index.parallel_mode = index.PARALLEL_MODE_NO_HEAP_INIT  # heaps go on from segment to segment
    rabitq = isinstance(index, faiss.IndexIVFRaBitQ)
    parameters = faiss.IVFRaBitQSearchParameters if rabitq else faiss.SearchParametersIVF
    content = None if numbers is None else _make_content(numbers, sizes.astype(np.int64), code_bytes, num_rows)
    return Lists(index, sizes.astype(np.int64), parameters, content)


def _make_content(numbers: NDArray[Any], sizes: Numbers, code_bytes: int, num_rows: int) -> tuple[Any, ...]:
    starts = _data_start(len(sizes)) + (np.cumsum(sizes) - sizes) * (code_bytes + 8)
    singles = numbers if numbers.dtype == np.float32 else freeze(np.empty(0, np.float32))
    return numbers.view(np.uint16), singles, starts // numbers.itemsize, sizes, num_rows


def map_listed_vectors(
    path: str, places: str, num_rows: int, dim: int, precision: Precision, longest: float
) -> StoredVectors:
    """The vectors that are the codes of a file of lists; `places` is the file that says where each row's lies."""
    numbers = map_numbers(path, DTYPES[precision], 0, mmap.MADV_NORMAL)
    begins = map_numbers(places, np.dtype("<i8"), 0, mmap.MADV_RANDOM)
    if len(begins) != num_rows:
        raise InputError.at(places, None, f"truncated: expected the places of {num_rows:,} rows, got {len(begins):,}")
    return StoredVectors(path, numbers, begins, num_rows, dim, longest)
