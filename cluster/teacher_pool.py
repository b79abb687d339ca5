"""A teacher encoder's embeddings of English texts, each made once: for a run's epochs, or in a folder for all runs.

A folder holds segments of text hashes and vectors, which are memory-mapped, of one teacher alone.
"""

import json
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
import polars as pl
import pyarrow as pa
import xxhash
from numpy.typing import NDArray

from csgen.errors import InputError
from csgen.files import exists, join, list_files, open_input, replace_file
from csgen.sources.draws import Words, hash_column, hash_texts
from csgen.switching.policy import SIDES, Side

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
class Pool:
    """Embeddings by text, as a folder holds them."""

    hashes: Words  # of the texts, sorted
    segments: tuple[NDArray[np.float16], ...]
    places: NDArray[np.int64]  # (num_texts, 2): segment and row of each hash

    @property
    def dim(self) -> int:
        return int(self.segments[0].shape[1])

    def find(self, hashes: Words) -> Vectors:
        """(len(hashes), dim); a text that the pool lacks is an InputError."""
        at = _look_up(self.hashes, hashes, "a text that is not in the pool")
        found, places = np.empty((len(hashes), self.dim), np.float32), self.places[at]
        for number, segment in enumerate(self.segments):
            own = places[:, 0] == number
            found[own] = segment[places[own, 1]]
        return found

    def leading(self, dim: int, hashes: Words) -> Vectors:
        """(self.dim, dim): the directions that hold most of some texts' embeddings; of many, the first by hash."""
        if dim > self.dim:
            raise InputError(
                f"the teacher's embeddings have {self.dim} numbers and the encoder's {dim}: give a teacher that has as "
                "many or more"
            )
        vectors = self.find(np.unique(hashes)[:FIT_TEXTS]).astype(np.float64)
        values, directions = np.linalg.eigh(vectors.T @ vectors)
        kept = directions[:, ::-1][:, :dim]
        signs = np.where(kept[np.abs(kept).argmax(axis=0), np.arange(dim)] < 0, -1.0, 1.0)
        log.info(
            "teacher: %d of its %d directions, %.1f %% of its embeddings' length",
            dim, self.dim, 100 * values[::-1][:dim].sum() / values.sum(),
        )  # fmt: skip
        found: Vectors = (kept * signs).astype(np.float32)
        return found


@dataclass(frozen=True)
class PooledTeacher:
    """A teacher's embeddings of the texts of pairs, or of other texts with the same ids, such as English originals.

    `own`: hashes of the run's texts, whatever else the pool holds. `text_hashes`: by hash of an id, sorted, that of its
    text; None: texts stand for themselves. `directions`, (pool's dim, dim), brings embeddings to the student's size.
    """

    pool: Pool
    own: Words
    text_hashes: Mapping[Side, tuple[Words, Words]] | None = None
    directions: Vectors | None = None

    def embed(self, pairs: pa.RecordBatch, side: Side) -> Vectors:
        """(num_rows, dim) of unit length: of each row's query or passage."""
        if self.text_hashes is None:
            hashes = _hashes_of(pairs, side)
        else:
            ids, texts = self.text_hashes[side]
            hashes = texts[_look_up(ids, _hashes_of(pairs, f"{side}_id"), f"a {side} that --teacher-pairs lacks")]
        found = self.pool.find(hashes)
        return found if self.directions is None else _unit(found @ self.directions)

    def score(self, pairs: pa.Table) -> NDArray[np.float32]:
        """A score for each pair: SCALE times the cosine of its two embeddings."""
        parts = [
            SCALE * (self.embed(batch, "query") * self.embed(batch, "passage")).sum(axis=1)
            for batch in pairs.to_batches(max_chunksize=BLOCK_TEXTS)
        ]
        return np.concatenate(parts)

    def reduced(self, dim: int) -> "PooledTeacher":
        """The same brought to `dim` numbers."""
        return self if dim == self.pool.dim else replace(self, directions=self.pool.leading(dim, self.own))


def teacher_of(folder: str, texts: pa.Table, *, by_ids: bool = False) -> PooledTeacher:
    """Looks up what `fill_pool` left in a folder of the pairs `texts`; `by_ids`: they stand for others of these ids."""
    own = np.concatenate([_hashes_of(texts, side) for side in SIDES])
    return PooledTeacher(open_pool(folder), own, {side: _map_ids(texts, side) for side in SIDES} if by_ids else None)


def _map_ids(pairs: pa.Table, side: Side) -> tuple[Words, Words]:
    ids, first = np.unique(_hashes_of(pairs, f"{side}_id"), return_index=True)
    return ids, _hashes_of(pairs, side)[first]


def _look_up(known: Words, wanted: Words, lacking: str) -> NDArray[np.int64]:
    at = np.searchsorted(known, wanted).clip(max=max(0, len(known) - 1))
    if len(wanted) and not (len(known) and (known[at] == wanted).all()):
        raise InputError(f"the teacher's embeddings: {lacking}")
    return at


def fill_pool(
    folder: str, name: str, load: Callable[[], Embeds], texts: pa.Table, share: tuple[int, int] = (0, 1)
) -> None:
    """Embed the queries and passages of `texts` that the folder lacks; `name` tells teachers apart.

    `load` gives the teacher, and is called where something is lacking. `share`: worker and number of workers, each of
    whom takes its part of the texts.
    """
    known = _load(folder)[0] if _belongs_to(folder, name) else np.zeros(0, np.uint64)
    distinct = pl.concat(pl.Series("text", texts.column(side)) for side in SIDES).unique()
    todo = pl.DataFrame({"text": distinct, "hash": pl.Series(hash_texts(distinct), dtype=pl.UInt64)})
    todo = todo.filter(pl.col("hash") % share[1] == share[0]).sort("hash")
    todo = todo.filter(pl.Series(np.isin(todo["hash"].to_numpy(), known, invert=True)))
    if todo.is_empty():
        return
    encoder = load()
    for first in range(0, len(todo), BLOCK_TEXTS):
        block = todo[first : first + BLOCK_TEXTS]
        hashes = block["hash"].to_numpy()
        vectors = encoder.encode(block["text"].to_list()).astype(np.float16)
        stem = join(folder, xxhash.xxh3_64_hexdigest(hashes.tobytes()))
        for ending, array in ((".vectors.npy", vectors), (".hashes.npy", hashes)):  # the hashes make it count
            with replace_file(stem + ending) as stream:
                np.save(stream, array)
        log.info("teacher: %d of %d texts", first + len(block), len(todo))


def open_pool(folder: str) -> Pool:
    """All that the folder holds."""
    return Pool(*_load(folder))


def _load(folder: str) -> tuple[Words, tuple[NDArray[np.float16], ...], NDArray[np.int64]]:
    stems = sorted(file.removesuffix(".hashes.npy") for file in list_files(folder) if file.endswith(".hashes.npy"))
    parts = [np.load(f"{stem}.hashes.npy") for stem in stems]
    segments = tuple(np.load(f"{stem}.vectors.npy", mmap_mode="r") for stem in stems)
    hashes = np.concatenate(parts) if parts else np.zeros(0, np.uint64)
    places = [np.column_stack([np.full(len(part), k), np.arange(len(part))]) for k, part in enumerate(parts)]
    order = np.argsort(hashes, kind="stable")
    return hashes[order], segments, np.concatenate(places)[order] if places else np.zeros((0, 2), np.int64)


def _belongs_to(folder: str, name: str) -> bool:
    """Whether the folder holds this teacher's embeddings; a new one becomes its own, another's is refused."""
    path = join(folder, ABOUT)
    if not exists(path):
        with replace_file(path) as stream:
            stream.write(json.dumps({"teacher": name}).encode() + b"\n")
        return False
    with open_input(path) as stream:
        if json.loads(stream.read())["teacher"] != name:
            raise InputError(f"{folder} holds another teacher's embeddings: give another --teacher-vectors")
    return True


def _hashes_of(pairs: pa.Table | pa.RecordBatch, column: str) -> Words:
    return hash_column(pl.Series("text", pairs.column(column)))


def _unit(vectors: Vectors) -> Vectors:
    found: Vectors = vectors / np.linalg.norm(vectors, axis=1, keepdims=True).clip(1e-12)
    return found
