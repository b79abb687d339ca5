"""The exact vectors of a segment: a NumPy file of float32 or float16, mapped and not read; knows no FAISS.

float32 costs 4 bytes a dimension on disk, and in memory for the rows that are in use. float16 costs 2, and moves an
inner product of vectors of unit length by up to 5e-4 (2^-11, by Cauchy and Schwarz), mostly by some 1e-5; scores are
then exact for the vectors as they are stored.
"""

import mmap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NoReturn

import numpy as np
from numpy.typing import NDArray

from csgen.errors import InputError
from csgen.files import replace_file
from indexing.vectors.kernels import widen

Matrix = NDArray[np.float32]
Numbers = NDArray[np.int64]
Precision = Literal["float32", "float16"]

DTYPES: dict[Precision, np.dtype[Any]] = {"float32": np.dtype("<f4"), "float16": np.dtype("<f2")}
_BLOCK_ROWS = 1 << 14
_LONGEST = 2.0**60  # products of longer vectors might not fit float32


@dataclass(frozen=True)
class StoredVectors:
    """Vectors by row, as they lie in a file.

    numbers: flat, read-only, float32 or float16. places: where in it each row begins; None: the rows lie one after
    another. longest: no vector is longer.
    """

    path: str
    numbers: NDArray[Any]
    places: NDArray[np.int64] | None
    num_rows: int
    dim: int
    longest: float

    def __len__(self) -> int:
        return self.num_rows

    def load(self, rows: Numbers) -> tuple[NDArray[np.float32], Numbers]:
        """Flat numbers and where in them the rows begin: the file's own, or a copy in float32 where it has float16.

        A row out of range is an InputError that names the file.
        """
        if len(rows) and rows.view(np.uint64).max() >= self.num_rows:  # the negative ones too
            raise InputError.at(self.path, None, f"altered: rows {rows.min()} to {rows.max()} of {self.num_rows:,}")
        places: Numbers = rows * self.dim if self.places is None else self.places[rows]
        if self.numbers.dtype == np.float32:
            return self.numbers, places
        self._check(places)
        singles = np.empty((len(places), self.dim), np.float32)
        widen(self.numbers.view(np.uint16), places, singles)
        return freeze(singles.reshape(-1)), np.arange(len(places)) * self.dim

    def take(self, rows: NDArray[np.integer[Any]]) -> Matrix:
        """(rows asked for, dimensions) float32, in the order asked for."""
        if not len(rows):
            return np.empty((0, self.dim), np.float32)
        numbers, places = self.load(rows.astype(np.int64))
        self._check(places)
        taken: Matrix = np.lib.stride_tricks.sliding_window_view(numbers, self.dim)[places]
        return taken

    def refuse_places(self) -> NoReturn:
        raise InputError.at(self.path, None, "the places of its vectors are altered")

    def _check(self, places: Numbers) -> None:
        if len(places) and not (places.min() >= 0 and places.max() <= len(self.numbers) - self.dim):
            self.refuse_places()


def freeze(numbers: NDArray[Any]) -> NDArray[Any]:
    """Read-only, as mapped numbers are, so that one compiled function serves both."""
    frozen = numbers.view()
    frozen.flags.writeable = False
    return frozen


def check_vectors(vectors: Any, dim: int) -> None:
    """Refuse what is no matrix of floats of `dim` columns, or has no row."""
    shape, dtype = np.shape(vectors), getattr(vectors, "dtype", None)
    if dtype not in (np.float32, np.float16):
        raise InputError(f"vectors must be float32 or float16, got {dtype}")
    if len(shape) != 2 or shape[1] != dim:
        raise InputError(f"vectors must be of shape (rows, {dim}), got {shape}")
    if not shape[0]:
        raise InputError("a segment needs at least one vector, got none")


def write_vectors(path: str, vectors: Any, precision: Precision) -> None:
    """Write (rows, dimensions) floats that `find_longest` has checked as a NumPy file, block by block."""
    dtype = DTYPES[precision]
    with replace_file(path) as stream:
        header = {"descr": dtype.str, "fortran_order": False, "shape": tuple(vectors.shape)}
        np.lib.format.write_array_header_1_0(stream, header)
        for _, block in read_blocks(vectors):
            stream.write(block.astype(dtype).tobytes())


def find_longest(vectors: Any, precision: Precision) -> float:
    """The length of the longest of (rows, dimensions) floats as they are kept.

    A vector that is not finite, too long, or too large for `precision` is an InputError that names its row.
    """
    longest = 0.0
    for first, block in read_blocks(vectors):
        with np.errstate(over="ignore"):
            kept = block.astype(DTYPES[precision])
        longest = max(longest, _check_block(first, block, kept, precision))
    return longest


def read_blocks(vectors: Any) -> Iterator[tuple[int, Matrix]]:
    """The vectors in blocks of bounded size as contiguous float32, each with its first row."""
    for first in range(0, len(vectors), _BLOCK_ROWS):
        yield first, np.ascontiguousarray(vectors[first : first + _BLOCK_ROWS], np.float32)


def measure_lengths(vectors: Matrix) -> NDArray[np.float64]:
    lengths: NDArray[np.float64] = np.sqrt(np.einsum("ij,ij->i", vectors, vectors, dtype=np.float64))
    return lengths


def _check_block(first: int, block: Matrix, kept: NDArray[Any], precision: Precision) -> float:
    lengths = measure_lengths(kept.astype(np.float32, copy=False))
    if np.isfinite(lengths).all() and lengths.max() <= _LONGEST:
        return float(lengths.max() * (1 + 1e-12))  # no less than the length without rounding
    row = int(np.flatnonzero(~(lengths <= _LONGEST))[0])
    if not np.isfinite(block[row]).all():
        raise InputError(f"row {first + row} of the vectors is not finite")
    if not np.isfinite(kept[row]).all():
        raise InputError(f"row {first + row} of the vectors has numbers beyond {precision}: store float32")
    raise InputError(f"row {first + row} of the vectors is longer than 2^60: scale the vectors")


def map_vectors(
    path: str, num_rows: int, dim: int, precision: Precision, longest: float, *, advice: int = mmap.MADV_NORMAL
) -> StoredVectors:
    """The vectors of a file that `write_vectors` wrote; none of it is read but the header. `advice` as madvise(2)."""
    dtype = DTYPES[precision]
    try:
        with Path(path).open("rb") as stream:
            np.lib.format.read_magic(stream)
            shape, fortran, found = np.lib.format.read_array_header_1_0(stream)
            start = stream.tell()
    except (OSError, ValueError) as error:
        raise InputError.at(path, None, f"truncated or altered: no NumPy file ({error})") from error
    if (shape, fortran, found) != ((num_rows, dim), False, dtype):
        raise InputError.at(path, None, f"altered: expected {(num_rows, dim)} of {precision}, got {shape} of {found}")
    numbers = map_numbers(path, dtype, start, advice)
    if len(numbers) != num_rows * dim:
        raise InputError.at(path, None, f"truncated: expected {num_rows * dim:,} numbers, got {len(numbers):,}")
    return StoredVectors(path, numbers, None, num_rows, dim, longest)


def map_numbers(path: str, dtype: np.dtype[Any], start: int, advice: int) -> NDArray[Any]:
    """The numbers of a file from byte `start` on, mapped read-only."""
    try:
        with Path(path).open("rb") as stream:
            mapped = mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)
        mapped.madvise(advice)
        numbers = np.frombuffer(mapped, dtype, offset=start)
    except (OSError, ValueError) as error:
        raise InputError.at(path, None, f"truncated or altered: cannot be mapped ({error})") from error
    return numbers
