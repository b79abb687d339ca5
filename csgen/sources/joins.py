"""Pairs that stand in several files: id triples, BEIR folders and parallel collections, joined into one."""

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pyarrow as pa

from csgen.errors import InputError
from csgen.files import exists, find_file, is_folder, is_local, join, list_files
from csgen.sources.collection import COLLECTION_NAME, collection_pairs, read_collection
from csgen.sources.documents import BATCH_ROWS, qrels_format, require_file
from csgen.sources.parquet import write_pairs
from csgen.sources.rows import OnBadRow
from csgen.sources.store import KnownIds, join_texts, store_documents
from csgen.sources.text import read_lines
from csgen.sources.triples import PREFIX, find_triples, id_files, join_id_triples

JOINED_NAME = "pairs.parquet"


Form = Literal["triples", "beir", "collection"]


@dataclass(frozen=True)
class JoinedInput:
    """An input of several files. `files`: those that the pairs are made of, the judgements or triples first."""

    form: Form
    folder: str
    files: tuple[str, ...]


def joined_form(path: str) -> Form | None:
    """Whether `path` is id triples, a BEIR folder or a parallel collection; None where its pairs stand as they are."""
    if path.startswith(PREFIX):
        return "triples" if id_files(find_triples(path)) else None
    if not is_folder(path) or not is_folder(join(path, "qrels")):
        return None
    if exists(join(path, COLLECTION_NAME)):
        return "collection"
    return "beir" if find_file(join(path, "corpus.jsonl")) else None


def find_joined(path: str, split: str, language: str) -> JoinedInput | None:
    """The files to join, where `path` is such an input."""
    form = joined_form(path)
    if form is None:
        return None
    if form == "triples":
        file = find_triples(path)
        return JoinedInput(form, path, (file, *(id_files(file) or ())))
    names = (
        ("queries.jsonl", "corpus.jsonl")
        if form == "beir"
        else (f"{language}/queries.jsonl", f"{language}/passages.jsonl")
    )
    return JoinedInput(form, path, (_qrels_file(path, split), *(require_file(join(path, name)) for name in names)))


def join_pairs(joined: JoinedInput, output_folder: str, language: str, on_bad_row: OnBadRow) -> str:
    """Write the pairs as `output_folder`/pairs.parquet, in the order of the judgements, and return its path.

    Memory is bounded by the ids; texts pass through a scratch file in the output folder, or in TMPDIR where that folder
    is not local. Only a collection's texts of one language are held in memory.
    """
    target = join(output_folder, JOINED_NAME)
    if is_local(output_folder):
        Path(output_folder).mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=output_folder if is_local(output_folder) else None) as scratch:
        if joined.form == "collection":
            split = joined.files[0].rpartition("/")[2].partition(".tsv")[0]
            write_pairs(collection_pairs(read_collection(joined.folder), language, language, split), target)
        elif joined.form == "beir":
            write_pairs(_beir_pairs(joined.files, Path(scratch), on_bad_row), target)
        else:
            write_pairs(join_id_triples(joined.files[0], Path(scratch), on_bad_row), target)
    return target


def _beir_pairs(files: tuple[str, ...], scratch: Path, on_bad_row: OnBadRow) -> Iterator[pa.RecordBatch]:
    """A pair for each judgement: label 1 for a score over 0, else 0."""
    qrels, *documents = files
    queries, passages = (store_documents(file, scratch / str(i), on_bad_row) for i, file in enumerate(documents))
    form, first_line = qrels_format(qrels)
    known = KnownIds(form, {"query-id": queries, "corpus-id": passages})
    for batch in read_lines(qrels, known, first_line, BATCH_ROWS, on_bad_row):
        query_id, passage_id, score = (batch.column(name) for name in ("query-id", "corpus-id", "score"))
        label = pa.array(score.to_numpy() > 0).cast(pa.int8())
        judged = pa.RecordBatch.from_arrays([query_id, passage_id, label], ["query_id", "passage_id", "label"])
        yield join_texts(judged, queries, passages)


def _qrels_file(folder: str, split: str) -> str:
    if found := find_file(join(folder, "qrels", f"{split}.tsv")):
        return found
    there = sorted(file.rpartition("/")[2].partition(".tsv")[0] for file in list_files(join(folder, "qrels")))
    raise InputError.at(folder, None, f"no qrels for the split {split!r}; there are {', '.join(there) or 'none'}")
