"""A segment's vector files, made from its vectors and the shared training.

| kind                | files                            | the exact vectors                                      |
|---------------------|----------------------------------|--------------------------------------------------------|
| flat                | vectors.npy                      | all there is                                           |
| ivf                 | lists.faiss, places.npy          | the lists' own; places says where each row's lies      |
| sq8, ivf-pq, rabitq | lists.faiss (codes), vectors.npy | for refinement, for narrow filters, and for compaction |
| hnsw                | graph.faiss (links), vectors.npy | what the graph walks over                              |

vectors.json, written last, says kind, rows, dimensions, training, and the bytes of each file.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from csgen.errors import InputError
from csgen.files import is_local, replace_file
from indexing.vectors.choice import CODED, Choice
from indexing.vectors.config import Kind
from indexing.vectors.graph import write_graph
from indexing.vectors.library import faiss_threads
from indexing.vectors.lists import place_vectors, write_lists
from indexing.vectors.stored import DTYPES, Numbers, Precision, check_vectors, find_longest, write_vectors
from indexing.vectors.threads import count_threads
from indexing.vectors.training import Trained, TrainedLists, choose_assignment

NOTES_NAME = "vectors.json"
VECTORS_NAME, LISTS_NAME, PLACES_NAME, GRAPH_NAME = "vectors.npy", "lists.faiss", "places.npy", "graph.faiss"
_FORMAT = 1  # raise it with any change to the files


class SegmentNotes(BaseModel):
    """What vectors.json says. trained: the training's fingerprint; files: bytes by name."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: int = _FORMAT
    kind: Kind
    rows: int
    dim: int
    stored: Precision
    longest: float
    trained: str
    files: dict[str, int]

    @classmethod
    def read(cls, folder: str) -> "SegmentNotes":
        """The notes of a folder whose files are all there, each of the size it was written with."""
        path = Path(folder, NOTES_NAME)
        try:
            notes = cls.model_validate_json(path.read_bytes())
        except OSError as error:
            raise InputError.at(str(path), None, "no such file: not a segment's vectors, or not finished") from error
        except ValueError as error:
            raise InputError.at(str(path), None, f"altered: {error}") from error
        if notes.format != _FORMAT:
            raise InputError.at(str(path), None, f"of format {notes.format}; this version reads format {_FORMAT}")
        for name, size in notes.files.items():
            file = Path(folder, name)
            found = file.stat().st_size if file.is_file() else None
            if found is None:
                raise InputError.at(str(file), None, "missing")
            if found != size:
                raise InputError.at(str(file), None, f"truncated or altered: {found:,} bytes, written with {size:,}")
        return notes


def build_segment(vectors: Any, trained: Trained, folder: str, *, num_threads: int | None = None) -> list[str]:
    """Write the files of a segment with rows 0 .. n - 1, and return their names.

    vectors: (rows, dimensions) float32 or float16, as an array or a memory map. No row, another number of dimensions,
    or a vector that is not finite (named by its row) is an InputError.
    """
    choice = trained.choice
    check_vectors(vectors, choice.dim)
    if not is_local(folder):
        raise InputError.at(folder, None, "a segment is mapped into memory: build it in a local folder")
    longest = find_longest(vectors, choice.stored)
    if choice.kind != "ivf":
        write_vectors(str(Path(folder, VECTORS_NAME)), vectors, choice.stored)
    names = [] if choice.kind == "ivf" else [VECTORS_NAME]
    if trained.lists is not None:
        names += _write_lists(vectors, choice, trained.lists, folder, count_threads(num_threads))
    if choice.kind == "hnsw":
        write_graph(str(Path(folder, GRAPH_NAME)), vectors, choice, count_threads(num_threads))
        names.append(GRAPH_NAME)
    notes = SegmentNotes(
        kind=choice.kind, rows=len(vectors), dim=choice.dim, stored=choice.stored, longest=longest,
        trained=trained.fingerprint, files={name: Path(folder, name).stat().st_size for name in names},
    )  # fmt: skip
    with replace_file(str(Path(folder, NOTES_NAME))) as stream:
        stream.write(json.dumps(notes.model_dump(), indent=1, sort_keys=True).encode() + b"\n")
    return [*names, NOTES_NAME]


def _write_lists(vectors: Any, choice: Choice, lists: TrainedLists, folder: str, num_threads: int) -> list[str]:
    matrix = lists.centroids.matrix
    assigned = choose_assignment(choice, num_threads)(vectors, matrix)
    index, dtype = lists.new_index(), DTYPES[choice.stored]

    def keep(rows: Numbers, _: Numbers) -> NDArray[np.uint8]:
        return np.ascontiguousarray(vectors[rows]).astype(dtype).view(np.uint8)

    def encode(rows: Numbers, numbers: Numbers) -> NDArray[np.uint8]:
        block = lists.rotate(np.ascontiguousarray(vectors[rows], np.float32))
        codes = np.empty((len(rows), index.code_size), np.uint8)
        with faiss_threads(num_threads) as faiss:
            pointers = (faiss.swig_ptr(array) for array in (block, numbers, codes))
            index.encode_vectors(len(rows), *pointers)
        return codes

    path = str(Path(folder, LISTS_NAME))
    write_lists(path, assigned, len(matrix), index.code_size, encode if choice.kind in CODED else keep)
    if choice.kind in CODED:
        return [LISTS_NAME]
    with replace_file(str(Path(folder, PLACES_NAME))) as stream:
        stream.write(place_vectors(assigned, len(matrix), choice.dim, choice.stored).astype("<i8").tobytes())
    return [LISTS_NAME, PLACES_NAME]
