"""A teacher encoder's embeddings of English texts, each made once: for a run's epochs, or in a folder for all runs.

A folder holds segments of text hashes and vectors, which are memory-mapped, of one teacher alone.
"""

import json
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import xxhash
from numpy.typing import NDArray

from csgen.errors import InputError
from csgen.files import exists, join, list_files, open_input, replace_file
from csgen.sources.draws import Words

log = logging.getLogger(__name__)

ABOUT = "teacher.json"
BLOCK_TEXTS = 16_384  # embedded and written together
FIT_TEXTS = 20_000  # from which the leading directions are taken
SCALE = 20.0  # of a cosine as a score, as losses of sentence-transformers have it

Vectors = NDArray[np.float32]


class Embeds(Protocol):
    """What an indexing.encoder.Encoder is here."""

    @property
    def dim(self) -> int: ...

    def encode(self, texts: list[str]) -> Vectors: ...


@dataclass(frozen=True)
class PooledTeacher:
    """Looks embeddings up by text; `directions`, (teacher's dim, dim), brings them to the student's size."""

    hashes: Words  # sorted
    segments: tuple[NDArray[np.float16], ...]
    places: NDArray[np.int64]  # (num_texts, 2): segment and row of each hash
    directions: Vectors | None

    def encode(self, texts: list[str]) -> Vectors:
        """(len(texts), dim) float32 of unit length; a text that the pool lacks is a KeyError."""
        found = np.empty((len(texts), self.segments[0].shape[1]), np.float32)
        wanted = np.fromiter(map(_hash, texts), np.uint64, len(texts))
        at = np.searchsorted(self.hashes, wanted)
        if len(wanted) and not (self.hashes[at.clip(max=len(self.hashes) - 1)] == wanted).all():
            raise KeyError("a text that is not in the pool")
        places = self.places[at]
        for number, segment in enumerate(self.segments):
            own = places[:, 0] == number
            found[own] = segment[places[own, 1]]
        return found if self.directions is None else _unit(found @ self.directions)

    def score(self, queries: pa.ChunkedArray, passages: pa.ChunkedArray) -> NDArray[np.float32]:
        """A score for each pair of texts: SCALE times their cosine."""
        parts = []
        for first in range(0, len(queries), BLOCK_TEXTS):
            sides = []
            for column in (queries, passages):
                encoded = pc.dictionary_encode(column.slice(first, BLOCK_TEXTS).combine_chunks())
                sides.append(self.encode(encoded.dictionary.to_pylist())[encoded.indices.to_numpy()])
            parts.append(SCALE * (sides[0] * sides[1]).sum(axis=1))
        return np.concatenate(parts)

    @property
    def dim(self) -> int:
        return int((self.segments[0] if self.directions is None else self.directions).shape[1])

    def reduced(self, dim: int) -> "PooledTeacher":
        """The same brought to `dim` numbers: the directions that hold most of the texts' embeddings."""
        if dim == self.dim:
            return self
        if dim > self.dim:
            raise InputError(
                f"the teacher's embeddings have {self.dim} numbers and the encoder's {dim}: give a teacher that has as "
                "many or more"
            )
        sample = self.places[:FIT_TEXTS]
        vectors = np.stack([self.segments[number][row] for number, row in sample]).astype(np.float64)
        values, directions = np.linalg.eigh(vectors.T @ vectors)
        kept = directions[:, ::-1][:, :dim]
        signs = np.where(kept[np.abs(kept).argmax(axis=0), np.arange(dim)] < 0, -1.0, 1.0)
        log.info(
            "teacher: %d of its %d directions, %.1f %% of its embeddings' length",
            dim, self.dim, 100 * values[::-1][:dim].sum() / values.sum(),
        )  # fmt: skip
        return PooledTeacher(self.hashes, self.segments, self.places, (kept * signs).astype(np.float32))


def fill_pool(folder: str, name: str, encoder: Embeds, texts: pa.Table, share: tuple[int, int] = (0, 1)) -> None:
    """Embed the queries and passages of `texts` that the folder lacks; `name` tells teachers apart.

    `share`: worker and number of workers, each of whom takes its part of the texts.
    """
    _refuse_other_teacher(folder, name)
    known = _load(folder)[0] if exists(join(folder, ABOUT)) else np.zeros(0, np.uint64)
    missing = {text: _hash(text) for text in _distinct(texts)}
    lacking = np.isin(np.fromiter(missing.values(), np.uint64, len(missing)), known, invert=True)
    todo = [
        item for item, lacks in zip(missing.items(), lacking, strict=True) if lacks and item[1] % share[1] == share[0]
    ]
    todo.sort(key=lambda item: item[1])
    with replace_file(join(folder, ABOUT)) as stream:
        stream.write(json.dumps({"teacher": name}).encode() + b"\n")
    for first in range(0, len(todo), BLOCK_TEXTS):
        block = todo[first : first + BLOCK_TEXTS]
        hashes = np.array([key for _, key in block], np.uint64)
        vectors = encoder.encode([text for text, _ in block]).astype(np.float16)
        stem = join(folder, xxhash.xxh3_64_hexdigest(hashes.tobytes()))
        for ending, array in ((".vectors.npy", vectors), (".hashes.npy", hashes)):  # the hashes make it count
            with replace_file(stem + ending) as stream:
                np.save(stream, array)
        log.info("teacher: %d of %d texts", first + len(block), len(todo))


def open_pool(folder: str) -> PooledTeacher:
    """All that the folder holds."""
    hashes, segments, places = _load(folder)
    return PooledTeacher(hashes, segments, places, None)


def _load(folder: str) -> tuple[Words, tuple[NDArray[np.float16], ...], NDArray[np.int64]]:
    stems = sorted(file.removesuffix(".hashes.npy") for file in list_files(folder) if file.endswith(".hashes.npy"))
    parts = [np.load(f"{stem}.hashes.npy") for stem in stems]
    segments = tuple(np.load(f"{stem}.vectors.npy", mmap_mode="r") for stem in stems)
    hashes = np.concatenate(parts) if parts else np.zeros(0, np.uint64)
    places = [np.column_stack([np.full(len(part), k), np.arange(len(part))]) for k, part in enumerate(parts)]
    order = np.argsort(hashes, kind="stable")
    return hashes[order], segments, np.concatenate(places)[order] if places else np.zeros((0, 2), np.int64)


def _refuse_other_teacher(folder: str, name: str) -> None:
    path = join(folder, ABOUT)
    if not exists(path):
        return
    with open_input(path) as stream:
        found = json.loads(stream.read())["teacher"]
    if found != name:
        raise InputError(f"{folder} holds another teacher's embeddings: give another --teacher-vectors")


def _distinct(texts: pa.Table) -> Iterator[str]:
    for batch in texts.to_batches():
        for side in ("query", "passage"):
            yield from pc.unique(batch.column(side)).to_pylist()


def _hash(text: str) -> int:
    return xxhash.xxh3_64_intdigest(text.encode())


def _unit(vectors: Vectors) -> Vectors:
    found: Vectors = vectors / np.linalg.norm(vectors, axis=1, keepdims=True).clip(1e-12)
    return found
