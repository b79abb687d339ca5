"""Filling a segment's folder: passages, their lexical part, their vectors. Runs in any process and knows no version.

The folder's files are a function of the passages, their vectors, the training and whether there is a lexical part.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from csgen.files import hash_file
from indexing.index.settings import SegmentFacts
from indexing.passages import PassageTable, write_lexical, write_passages
from indexing.store import describe_folder
from indexing.store.version import Files
from indexing.vectors.building import build_segment
from indexing.vectors.training import TRAINED_NAME, Trained, load_trained


class Contents(Protocol):
    """Passages of a segment to be, in order, each with a vector; none twice, all such as `write_passages` keeps."""

    @property
    def num_passages(self) -> int: ...

    def read_batches(self) -> Iterator[pa.RecordBatch]:
        """The passages, in batches of one schema."""

    def read_vectors(self) -> Iterator[NDArray[Any]]:
        """(rows, dimensions) float32 or float16, in blocks; at least one."""


@dataclass(frozen=True)
class Filled:
    """What a folder holds, for `SegmentDraft.seal(filled.passages, filled.facts, filled.files)`."""

    passages: int
    facts: dict[str, Any]
    files: Files


def fill_segment(
    folder: Path, contents: Contents, trained: Trained, *, lexical: bool, source: str, num_threads: int | None = None
) -> Filled:
    """Fill an empty folder; all files are flushed to disk when this returns. `source` names the passages in messages.

    The vectors lie beside the folder meanwhile, in one file: a kind with lists takes them in an order of its own.
    """
    written = write_passages(folder, contents.read_batches(), source=source)
    if lexical:
        write_lexical(folder, PassageTable.open(folder))
    spool = folder.with_name(f"{folder.name}.vectors")
    try:
        _write_vectors(spool, contents)
        build_segment(np.load(spool, mmap_mode="r"), trained, str(folder), num_threads=num_threads)
    finally:
        spool.unlink(missing_ok=True)
    facts = SegmentFacts(languages=written.languages).model_dump(mode="json")
    return Filled(written.num_passages, facts, describe_folder(folder))


def open_trained(folder: str) -> Trained:
    """The training in a folder, loaded once a process."""
    return _load_trained(folder, hash_file(str(Path(folder, TRAINED_NAME))))


@lru_cache(maxsize=1)
def _load_trained(folder: str, fingerprint: str) -> Trained:
    return load_trained(folder)


def _write_vectors(path: Path, contents: Contents) -> None:
    blocks = contents.read_vectors()
    first = next(blocks)
    with path.open("wb") as stream:
        shape = (contents.num_passages, first.shape[1])
        header = {"descr": np.lib.format.dtype_to_descr(first.dtype), "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(stream, header)
        for block in _same(chain([first], blocks), first.dtype):
            stream.write(np.ascontiguousarray(block).tobytes())


def _same(blocks: Iterable[NDArray[Any]], dtype: np.dtype[Any]) -> Iterator[NDArray[Any]]:
    return (block.astype(dtype, copy=False) for block in blocks)
