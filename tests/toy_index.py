"""Small indexes, filled through the store's writer: any passages, any vectors, any cut into segments and shards."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import xxhash

from indexing.index.encoding import IdentifiedEncoder
from indexing.index.filling import fill_segment
from indexing.index.index import Index
from indexing.index.settings import EncoderIdentity, IndexSettings, Sharding
from indexing.passages import PassageTable
from indexing.store import Store
from indexing.vectors.choice import choose
from indexing.vectors.config import VectorConfig
from indexing.vectors.training import load_trained, train


@dataclass(frozen=True)
class Toy:
    """What an index is made of. passages: with the columns of `write_passages`; vectors: (passages, dimensions)."""

    passages: pa.RecordBatch
    vectors: np.ndarray

    @property
    def num_passages(self):
        return len(self.vectors)

    def read_batches(self):
        yield self.passages

    def read_vectors(self):
        yield self.vectors

    @property
    def addresses(self):
        columns = (self.passages.column(name).to_pylist() for name in ("language", "passage_id"))
        return [f"{language}/{passage_id}" for language, passage_id in zip(*columns, strict=True)]


def batch_of(rows):
    """Passages given as ("de/17", "Das Haus", {"year": 2019}), the last of which may be missing."""
    addresses, texts = [row[0] for row in rows], [row[1] for row in rows]
    metadata = [row[2] if len(row) > 2 else {} for row in rows]
    columns = {
        "language": pa.array([one.partition("/")[0] for one in addresses], pa.string()),
        "passage_id": pa.array([one.partition("/")[2] for one in addresses], pa.string()),
        "text": pa.array(texts, pa.string()),
    }
    for name in sorted({name for one in metadata for name in one}):
        columns[name] = pa.array([one.get(name) for one in metadata])
    return pa.record_batch(columns)


def make_index(folder, toy, owners=None, deleted=(), *, num_shards=1, lexical=True, encoder=None, **config):
    """The folder of an index. owners: of each passage the number of its segment; segments go to shards in turn.

    deleted: addresses; encoder: an EncoderIdentity; config: fields of VectorConfig.
    """
    owners = np.zeros(len(toy.vectors), np.int64) if owners is None else np.asarray(owners)
    vectors = VectorConfig.from_options({"kind": "flat"} | config)
    choice = choose(max(len(toy.vectors), 1), toy.vectors.shape[1], vectors)
    settings = IndexSettings(
        encoder=encoder, sharding=Sharding(num_shards=num_shards), segment_passages=1 << 20, lexical=lexical,
        vectors=vectors, choice=choice,
    )  # fmt: skip
    store = Store.create(folder, settings.to_json())
    if len(owners):
        with store.write("build") as writer:
            _fill(store, writer, toy, owners, num_shards, lexical, choice)
            writer.publish()
    if deleted:
        delete(store, deleted)
    return Path(folder)


def _fill(store, writer, toy, owners, num_shards, lexical, choice):
    draft = writer.new_trained()
    train(toy.vectors, choice, str(draft.folder), num_threads=1)
    trained = load_trained(str(store.folder / "trained" / draft.seal({}).name))
    for owner in np.unique(owners):
        rows = np.flatnonzero(owners == owner)
        draft = writer.new_segment(int(owner) % num_shards)
        own = Toy(toy.passages.take(pa.array(rows)), toy.vectors[rows])
        filled = fill_segment(draft.folder, own, trained, lexical=lexical, source="toy", num_threads=1)
        draft.seal(filled.passages, filled.facts, filled.files)


def delete(store, addresses):
    """Delete passages by their addresses, as a new version."""
    version = store.read_version()
    with store.write("delete") as writer:
        for entry in version.segments:
            table = PassageTable.open(store.folder / "segments" / entry.name)
            rows = table.find(pa.array(addresses, pa.large_string()))
            writer.delete(entry.name, rows[rows >= 0])
        writer.publish()


def open_toy(folder, toy, owners=None, deleted=(), *, encoder=None, **options):
    """The same, opened; with an encoder."""
    identity = encoder and encoder.identity
    return Index.open(make_index(folder, toy, owners, deleted, encoder=identity, **options), encoder=encoder)


class WordEncoder:
    """Texts as the normed sums of random vectors of their words; texts of more than `max_length` words lose their end.

    `meanings` maps words to the word whose vector they have, so that translations may have the same.
    """

    def __init__(self, dim=16, max_length=8, meanings=None):
        self.dim, self.max_length, self.truncated = dim, max_length, 0
        self.meanings = meanings or {}
        self.asked = []

    def encode(self, texts):
        self.asked += texts
        vectors = np.zeros((len(texts), self.dim))
        for row, text in enumerate(texts):
            words = text.split()
            self.truncated += len(words) > self.max_length
            for word in words[: self.max_length]:
                vectors[row] += self._vector(self.meanings.get(word, word))
        return (vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-9)).astype(np.float32)

    def _vector(self, word):
        seed = int.from_bytes(hashlib.blake2b(word.encode(), digest_size=8).digest())
        return np.random.default_rng(seed).standard_normal(self.dim)


def identify(encoder, name="toy"):
    """The encoder with an identity that depends on its name."""
    identity = EncoderIdentity(
        path=name, xxh3_128=xxhash.xxh3_128_hexdigest(name.encode()), dim=encoder.dim, max_length=encoder.max_length
    )
    return IdentifiedEncoder(identity, encoder)
