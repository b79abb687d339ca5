"""Where the vectors of passages come from: an encoder of their texts, or a NumPy file. Knows no folder of an index."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from csgen.errors import InputError
from csgen.files import fingerprint, is_local
from indexing.index.settings import EncoderIdentity
from indexing.passages import join_titles_of

BLOCK_TEXTS = 4096  # encoded together, always the same ones, since a batch's other texts move a vector's last bits

Numbers = NDArray[np.int64]
Vectors = NDArray[Any]  # (rows, dimensions) float32 or float16
EncodeTexts = Callable[[Sequence[str]], tuple[NDArray[np.float32], int]]
"""(texts, dimensions), and how many texts lost their end."""


class VectorSource(Protocol):
    """Where vectors come from. It is sent to the workers."""

    @property
    def encoder(self) -> EncoderIdentity | None:
        """Who makes them; None where that is not known."""

    @property
    def dim(self) -> int:
        """Of the vectors."""

    def describe(self) -> dict[str, Any]:
        """What makes them what they are, by name, as JSON holds it."""

    def check(self, num_passages: int) -> None:
        """InputError where there is not a vector for each of so many passages of the input, bad ones too."""

    def read(self, passages: pa.Table, numbers: Numbers) -> tuple[Vectors, int]:
        """A vector for each passage, and how many texts lost their end; numbers: places in the whole input, rising."""


@dataclass(frozen=True)
class EncodedTexts:
    """Vectors of texts, behind their titles."""

    encoder: EncoderIdentity
    encode: EncodeTexts

    @property
    def dim(self) -> int:
        return self.encoder.dim

    def describe(self) -> dict[str, Any]:
        return {"encoder": self.encoder.model_dump(mode="json", exclude={"path"})}

    def check(self, num_passages: int) -> None:
        """Every text has a vector."""

    def read(self, passages: pa.Table, numbers: Numbers) -> tuple[Vectors, int]:
        texts = join_titles_of(passages).to_list()
        parts = [self.encode(texts[first : first + BLOCK_TEXTS]) for first in range(0, len(texts), BLOCK_TEXTS)]
        return np.concatenate([vectors for vectors, _ in parts]), sum(truncated for _, truncated in parts)


@dataclass(frozen=True)
class StoredRows:
    """Vectors of a NumPy file, a row for each passage of the input in order, bad ones too."""

    path: str

    @property
    def encoder(self) -> None:
        """Not known."""

    @property
    def dim(self) -> int:
        return int(self.open().shape[1])

    def open(self) -> Vectors:
        """(passages, dimensions), mapped."""
        if not is_local(self.path):
            raise InputError.at(self.path, None, "vectors are mapped into memory: copy the file to this machine")
        try:
            vectors: Vectors = np.load(self.path.removeprefix("file://"), mmap_mode="r")
        except FileNotFoundError as error:
            raise InputError.at(self.path, None, "no such file") from error
        except (OSError, ValueError, EOFError) as error:
            raise InputError.at(self.path, None, f"not a NumPy file of numbers, or cut short: {error}") from error
        shape, dtype = np.shape(vectors), getattr(vectors, "dtype", None)
        if dtype not in (np.float32, np.float16) or len(shape) != 2 or not shape[1]:
            raise InputError.at(
                self.path, None, f"expected (passages, dimensions) of float32 or float16, got {shape} of {dtype}"
            )
        return vectors

    def describe(self) -> dict[str, Any]:
        return {"vectors": self.path, f"vectors {self.path}": fingerprint(self.path)}

    def check(self, num_passages: int) -> None:
        if (found := len(self.open())) != num_passages:
            raise InputError.at(
                self.path, None, f"has {found:,} vectors, but the input {num_passages:,} passages, bad ones and those "
                "of other languages too: one each is needed, in their order"
            )  # fmt: skip

    def read(self, passages: pa.Table, numbers: Numbers) -> tuple[Vectors, int]:
        vectors = self.open()[numbers]
        finite = np.isfinite(vectors).all(axis=1)
        if not finite.all():
            row = int(numbers[np.argmin(finite)])
            raise InputError.at(self.path, None, f"row {row} (from 0) is not finite: mend it, or leave the passage out")
        return vectors, 0
