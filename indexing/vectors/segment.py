"""A segment's vectors, opened: mapped into memory, so that opening takes no longer for more of them.

What opening reads: notes, the centroids' numbers of rows, for hnsw 12 bytes a vector. Of a lists file FAISS maps the
codes; of a graph the links; vectors are mapped by NumPy.
"""

import mmap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from csgen.errors import InputError
from indexing.vectors.building import GRAPH_NAME, LISTS_NAME, PLACES_NAME, VECTORS_NAME, SegmentNotes
from indexing.vectors.config import Device, Kind
from indexing.vectors.gpu import check_kind, move_flat, move_lists
from indexing.vectors.graph import Graph, open_graph
from indexing.vectors.lists import Lists, map_listed_vectors, open_lists
from indexing.vectors.stored import Matrix, StoredVectors, map_vectors
from indexing.vectors.training import Trained


@dataclass(frozen=True)
class VectorSegment:
    """Rows 0 .. n - 1 of one segment. on_gpu: FAISS's index on a GPU, if it was opened there."""

    folder: str
    trained: Trained
    stored: StoredVectors
    lists: Lists | None
    graph: Graph | None
    on_gpu: Any

    @classmethod
    def open(cls, folder: str, trained: Trained, *, device: Device = "cpu") -> "VectorSegment":
        """The segment in a folder. A file that is missing, truncated, of another kind or of another training than
        `trained` is an InputError that names it; bits altered within a file are for its hash to find."""
        notes = SegmentNotes.read(folder)
        _check_training(folder, notes, trained)
        stored, lists, graph = _open_files(folder, notes, trained)
        on_gpu = None
        if device == "gpu":
            check_kind(notes.kind)
            on_gpu = move_flat(stored) if lists is None else move_lists(lists.index)
        return cls(folder, trained, stored, lists, graph, on_gpu)

    def __len__(self) -> int:
        return len(self.stored)

    @property
    def dim(self) -> int:
        return self.stored.dim

    @property
    def kind(self) -> Kind:
        return self.trained.choice.kind

    def vectors(self, rows: Sequence[int] | NDArray[np.integer[Any]]) -> Matrix:
        """(rows asked for, dimensions) float32, exactly as they are stored, in the order asked for."""
        return self.stored.take(np.asarray(rows, np.int64))


def _check_training(folder: str, notes: SegmentNotes, trained: Trained) -> None:
    choice = trained.choice
    if (notes.kind, notes.dim, notes.stored) != (choice.kind, choice.dim, choice.stored):
        raise InputError.at(
            folder, None, f"holds {notes.kind} of {notes.dim} dimensions in {notes.stored}, but {trained.folder} is "
            f"for {choice.kind} of {choice.dim} in {choice.stored}"
        )  # fmt: skip
    if notes.trained != trained.fingerprint:
        raise InputError.at(folder, None, f"was built with other centroids than those of {trained.folder}")


def _open_files(folder: str, notes: SegmentNotes, trained: Trained) -> tuple[StoredVectors, Lists | None, Graph | None]:
    sizes = (notes.rows, notes.dim, notes.stored, notes.longest)
    lists_path, places_path = str(Path(folder, LISTS_NAME)), str(Path(folder, PLACES_NAME))
    lists = None
    if notes.kind == "ivf" and trained.lists is not None:
        stored = map_listed_vectors(lists_path, places_path, *sizes)
        return stored, open_lists(lists_path, trained.lists.new_index(), notes.rows, stored.numbers), None
    if trained.lists is not None:
        lists = open_lists(lists_path, trained.lists.new_index(), notes.rows, None)
    advice = mmap.MADV_NORMAL if notes.kind == "flat" else mmap.MADV_RANDOM  # else few rows here and there are read
    stored = map_vectors(str(Path(folder, VECTORS_NAME)), *sizes, advice=advice)
    graph = open_graph(str(Path(folder, GRAPH_NAME)), stored) if notes.kind == "hnsw" else None
    return stored, lists, graph
