"""MS MARCO triples: a query, a relevant passage and another one, as texts or as ids; each makes two pairs."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import xxhash

from csgen.errors import InputError
from csgen.files import find_file, is_folder, join, list_files
from csgen.schema import REQUIRED_COLUMNS, pair_schema
from csgen.sources.documents import BATCH_ROWS, require_file
from csgen.sources.rows import Kinds, OnBadRow
from csgen.sources.store import KnownIds, TextStore, build_store, join_texts
from csgen.sources.text import Tsv, head_lines, read_lines

PREFIX = "triples:"
FIELDS = ("query", "positive", "negative")
TEXT_KINDS: Kinds = {"query": "text", "positive": "text", "negative": "text"}
ID_KINDS: Kinds = {"query": "id", "positive": "id", "negative": "id"}
QUERIES, PASSAGES = "queries.train.tsv", "collection.tsv"


def find_triples(path: str) -> str:
    """The file of triples that `path` names, with or without the prefix "triples:"; of a folder, its only one."""
    path = path.removeprefix(PREFIX)
    if not is_folder(path):
        return path
    names = [file for file in list_files(path) if "triples." in file.rpartition("/")[2] and ".tsv" in file]
    if len(names) != 1:
        found = ", ".join(names) or "none"
        raise InputError.at(
            path, None, f"expected one file triples.*.tsv or qidpidtriples.*.tsv, got {found}; name the file"
        )
    return names[0]


def id_files(path: str) -> tuple[str, str] | None:
    """The queries and the collection that a file of id triples needs beside it; None for a file of texts."""
    line, first = head_lines(path)[0]
    fields = first.split(b"\t")
    if len(fields) != len(FIELDS):
        raise InputError.at(
            path, line, f"expected 3 fields between tabs (query, positive, negative), got {len(fields)}"
        )
    if not all(field.isdigit() for field in fields):
        return None
    folder = path.rpartition("/")[0] or "."
    queries, passages = find_file(join(folder, QUERIES)), find_file(join(folder, PASSAGES))
    if queries is None or passages is None:
        missing = PASSAGES if queries else QUERIES
        raise InputError.at(path, line, f"holds ids, so {missing} must stand beside it, and does not")
    return queries, passages


def read_text_triples(path: str, batch_rows: int, on_bad_row: OnBadRow) -> Iterator[pa.RecordBatch]:
    """Two pairs for each line, the relevant one first. An id is the XXH3-64 of its text, in hex."""
    for batch in read_lines(path, Tsv(FIELDS, TEXT_KINDS), 1, max(1, batch_rows // 2), on_bad_row):
        texts = {name: batch.column(name) for name in FIELDS}
        ids = {name: _hash_texts(column) for name, column in texts.items()}
        judged = judge(ids["query"], ids["positive"], ids["negative"])
        passage = judge(ids["query"], texts["positive"], texts["negative"]).column("passage_id")
        query = texts["query"].take(_each_twice(len(batch)))
        arrays = [judged.column("query_id"), query, judged.column("passage_id"), passage, judged.column("label")]
        yield pa.RecordBatch.from_arrays(arrays, schema=pair_schema(list(REQUIRED_COLUMNS)))


def join_id_triples(path: str, scratch_folder: Path, on_bad_row: OnBadRow) -> Iterator[pa.RecordBatch]:
    """Two pairs for each line of ids, the relevant one first, with the texts of the files beside it."""
    files = id_files(path)
    if files is None:
        raise InputError.at(path, None, "expected triples of ids")
    queries, passages = (
        _load_texts(file, scratch_folder / name, on_bad_row)
        for file, name in zip(files, ("queries", "passages"), strict=True)
    )
    form = KnownIds(Tsv(FIELDS, ID_KINDS), {"query": queries, "positive": passages, "negative": passages})
    for batch in read_lines(path, form, 1, BATCH_ROWS, on_bad_row):
        yield join_texts(judge(*(batch.column(name) for name in FIELDS)), queries, passages)


def _load_texts(path: str, scratch_file: Path, on_bad_row: OnBadRow) -> TextStore:
    form = Tsv(("id", "text"), {"id": "id", "text": "text"})
    batches = read_lines(require_file(path), form, 1, BATCH_ROWS, on_bad_row)
    return build_store(((b.column("id"), b.column("text")) for b in batches), scratch_file, path)


def judge(query_id: pa.Array, positive: pa.Array, negative: pa.Array) -> pa.RecordBatch:
    """Triples as judgements (query_id, passage_id, label): for each one the relevant passage, then the other."""
    count = len(query_id)
    interleaved = np.arange(2 * count).reshape(2, count).T.ravel()
    passage_id = pa.concat_arrays([positive, negative]).take(pa.array(interleaved))
    label = pa.array(np.tile(np.array([1, 0], np.int8), count))
    arrays = [query_id.take(_each_twice(count)), passage_id, label]
    return pa.RecordBatch.from_arrays(arrays, ["query_id", "passage_id", "label"])


def _each_twice(count: int) -> pa.Array:
    return pa.array(np.repeat(np.arange(count), 2))


def _hash_texts(texts: pa.Array) -> pa.Array:
    # A Python loop, yet half a microsecond a text: parsing and copying it costs as much.
    return pa.array([xxhash.xxh3_64_hexdigest(text) for text in texts.cast(pa.binary()).to_pylist()], pa.string())
