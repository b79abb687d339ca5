"""Texts by id, more than fit in memory: joins judgements to queries and passages.

The texts stand in one memory-mapped scratch file, so that the system may drop its pages again; in memory remain the ids
and 24 bytes a text (for MS MARCO's 8.8 million passages 0.3 GB, where the texts are 3 GB). A hash join, as of polars or
Arrow, would hold all texts in memory.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from csgen.errors import InputError
from csgen.schema import REQUIRED_COLUMNS, pair_schema
from csgen.sources.documents import read_documents, whole_text
from csgen.sources.rows import Kinds, OnBadRow
from csgen.sources.text import Tsv


@dataclass(frozen=True)
class TextStore:
    """Texts by id. `hashes` are the ids' hashes in ascending order, `rows` the rows that they stand for."""

    origin: str
    ids: pa.LargeStringArray
    texts: pa.LargeStringArray
    hashes: NDArray[np.uint64]
    rows: NDArray[np.intp]

    def find(self, ids: pa.Array) -> NDArray[np.intp]:
        """The row of each id; -1 where there is no such id."""
        wanted = ids.cast(pa.large_string())
        hashes = _hash(wanted)
        rows = self.rows[np.minimum(np.searchsorted(self.hashes, hashes), len(self.rows) - 1)]
        return np.where(pc.equal(self.ids.take(pa.array(rows)), wanted).to_numpy(zero_copy_only=False), rows, -1)

    def take(self, ids: pa.Array) -> pa.Array:
        """The texts of ids, all of which must be there."""
        return self.texts.take(pa.array(self.find(ids))).cast(pa.string())


def build_store(texts: Iterable[tuple[pa.Array, pa.Array]], scratch_file: Path, origin: str) -> TextStore:
    """A store of batches of ids and texts. `origin` names the input in errors: no texts, or an id given twice."""
    ids: list[pa.Array] = []
    lengths: list[NDArray[np.int64]] = [np.zeros(1, np.int64)]
    with scratch_file.open("wb") as stream:
        for some_ids, some_texts in texts:
            ids.append(some_ids.cast(pa.large_string()))
            lengths.append(pc.binary_length(some_texts).to_numpy().astype(np.int64))
            stream.write(_bytes_of(some_texts.cast(pa.large_string())))
    if not ids:
        raise InputError.at(origin, None, "holds no texts")
    offsets = np.cumsum(np.concatenate(lengths))
    data = pa.memory_map(str(scratch_file)).read_buffer() if offsets[-1] else pa.py_buffer(b"")
    all_texts = pa.LargeStringArray.from_buffers(len(offsets) - 1, pa.py_buffer(offsets), data)
    all_ids = pa.concat_arrays(ids)
    hashes = _hash(all_ids)
    rows = np.argsort(hashes, kind="stable")
    hashes = hashes[rows]
    # Two ids of one hash would be taken for one; among 10 million ids the odds are 3 in a million.
    if len(doubles := np.flatnonzero(hashes[1:] == hashes[:-1])):
        raise InputError.at(origin, None, f"the id {all_ids[rows[doubles[0]]].as_py()!r} stands more than once")
    return TextStore(origin, all_ids, all_texts, hashes, rows)


def store_documents(path: str, scratch_file: Path, on_bad_row: OnBadRow) -> TextStore:
    """A store of a file of documents, the title before the text."""
    texts = ((batch.column("_id"), whole_text(batch)) for batch in read_documents(path, on_bad_row))
    return build_store(texts, scratch_file, path)


def join_texts(judged: pa.RecordBatch, queries: TextStore, passages: TextStore) -> pa.RecordBatch:
    """Pairs of `judged` (query_id, passage_id, label), whose ids must be in the stores."""
    columns = {name: judged.column(name) for name in judged.schema.names}
    columns["query"] = queries.take(columns["query_id"])
    columns["passage"] = passages.take(columns["passage_id"])
    schema = pair_schema(list(REQUIRED_COLUMNS))
    return pa.RecordBatch.from_arrays(
        [columns[name].cast(schema.field(name).type) for name in schema.names], schema=schema
    )


@dataclass(frozen=True)
class KnownIds:
    """Lines whose ids must be in stores: `stores` by column. An unknown id makes a bad line."""

    form: Tsv
    stores: Mapping[str, TextStore]

    @property
    def kinds(self) -> Kinds:
        return self.form.kinds

    def parse_block(self, lines: bytes) -> pa.RecordBatch:
        batch = self.form.parse_block(lines)
        if any((store.find(batch.column(name)) < 0).any() for name, store in self.stores.items()):
            raise pa.ArrowInvalid("an unknown id")
        return batch

    def parse_line(self, line: str) -> dict[str, Any]:
        row = self.form.parse_line(line)
        for name, store in self.stores.items():
            if store.find(pa.array([row[name]]))[0] < 0:
                raise ValueError(f"{name}: no {row[name]!r} in {store.origin}")
        return row


def _hash(ids: pa.LargeStringArray) -> NDArray[np.uint64]:
    # polars' hash may change between versions, and is used within this process alone.
    series = pl.from_arrow(ids)
    assert isinstance(series, pl.Series)
    return series.hash().to_numpy()


def _bytes_of(texts: pa.LargeStringArray) -> memoryview:
    _, offsets, data = texts.buffers()
    if data is None or not len(texts):
        return memoryview(b"")
    bounds = np.frombuffer(offsets, np.int64)[texts.offset : texts.offset + len(texts) + 1]
    return memoryview(data)[bounds[0] : bounds[-1]]
