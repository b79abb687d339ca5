"""Data sets of ir_datasets, written as parallel collections, their triples (docpairs) as pairs.

Everything is streamed but the qrels and the queries; the same data set and options give the same bytes.
"""

import difflib
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa

from csgen.errors import CsgenError, InputError
from csgen.files import join
from csgen.languages import parse_language
from csgen.schema import pair_schema
from csgen.sources.collection import COLLECTION_NAME, Description, remove_description, write_description
from csgen.sources.documents import BATCH_ROWS, refuse_line, write_documents, write_qrels
from csgen.sources.parquet import write_pairs
from csgen.sources.store import TextStore, join_texts, store_documents
from csgen.sources.triples import judge

SPLITS = ("train", "dev", "test")


@dataclass(frozen=True)
class FetchedDataset:
    """What was written: the collection's description, the files by their names in the folder, and counts by name."""

    description: Description
    split: str
    files: tuple[str, ...]
    counts: dict[str, int]


@dataclass(frozen=True)
class Selection:
    """The queries and passages to write; None: all passages."""

    queries: pl.DataFrame  # _id, text
    qrels: pl.DataFrame  # query_id, passage_id, score
    passage_ids: frozenset[str] | None


def fetch_irds(
    dataset_id: str, output_folder: str, num_queries: int | None = None, language: str | None = None
) -> FetchedDataset:
    """Write a data set's documents, queries and qrels, and its docpairs as `pairs/SPLIT.parquet`.

    `num_queries` keeps the first judged or paired queries, and only the passages that their qrels and docpairs name.
    `language` stands in where the data set does not tell its own. The split is the one in the data set's id, else test.
    """
    with _explain(dataset_id):
        dataset = _load(dataset_id)
        languages = [_language(dataset_id, named(), language) for named in (dataset.queries_lang, dataset.docs_lang)]
        selection = _select(dataset, num_queries)
        return _write(dataset_id, dataset, selection, languages, output_folder)


def split_of(dataset_id: str) -> str:
    """The split that an id names: "mmarco/de/train" is train; "test" where it names none."""
    return next((split for part in dataset_id.split("/") for split in SPLITS if part.startswith(split)), "test")


def _write(dataset_id: str, dataset: Any, selection: Selection, languages: list[str], folder: str) -> FetchedDataset:
    query_language, passage_language = languages
    split = split_of(dataset_id)
    queries, passages = f"{query_language}/queries.jsonl", f"{passage_language}/passages.jsonl"
    qrels, pairs = f"qrels/{split}.tsv", f"pairs/{split}.parquet"
    remove_description(folder)
    counts = {
        "queries": write_documents(join(folder, queries), [selection.queries]),
        "passages": write_documents(join(folder, passages), _documents(dataset, selection.passage_ids)),
        "qrels": write_qrels(join(folder, qrels), [selection.qrels]),
    }
    if dataset.has_docpairs():
        with tempfile.TemporaryDirectory() as scratch:
            stores = [
                store_documents(join(folder, name), Path(scratch, name.replace("/", "-")), refuse_line)
                for name in (queries, passages)
            ]
            counts["pairs"] = write_pairs(_pairs(dataset, stores, languages), join(folder, pairs))
    description = Description(
        name=dataset_id,
        languages=(query_language,),
        passage_languages=(passage_language,) if passage_language != query_language else (),
        licence=f"see the documentation of {dataset_id} in ir_datasets",
        source=f"ir_datasets {dataset_id}",
    )
    write_description(folder, description)
    files = [queries, passages, qrels, *([pairs] if "pairs" in counts else []), COLLECTION_NAME]
    return FetchedDataset(description, split, tuple(files), counts)


def _load(dataset_id: str) -> Any:
    try:
        import ir_datasets
    except ImportError as error:
        raise InputError("irds needs ir_datasets: pip install 'csgen[irds]'") from error
    try:
        dataset = ir_datasets.load(dataset_id)
    except KeyError as error:
        near = difflib.get_close_matches(dataset_id, list(ir_datasets.registry), n=3)
        hint = f"did you mean {' or '.join(near)}?" if near else "see https://ir-datasets.com"
        raise InputError(f"irds:{dataset_id}: no such data set; {hint}") from error
    lacking = [kind for kind in ("docs", "queries") if not getattr(dataset, f"has_{kind}")()]
    if lacking:
        parts = [name for name in ir_datasets.registry if name.startswith(f"{dataset_id}/")][:5]
        hint = f"; name a part of it, such as {', '.join(parts)}" if parts else ""
        raise InputError(f"irds:{dataset_id}: has no {' and no '.join(lacking)}{hint}")
    return dataset


def _language(dataset_id: str, named: str | None, given: str | None) -> str:
    if not (named or given):
        raise InputError(f"irds:{dataset_id}: ir_datasets does not tell its language; give it with --languages")
    return parse_language(str(named or given))


def _select(dataset: Any, num_queries: int | None) -> Selection:
    queries = pl.DataFrame(
        [(query.query_id, query.default_text()) for query in dataset.queries_iter()],
        {"_id": pl.String, "text": pl.String},
        orient="row",
    )
    qrels = pl.DataFrame(
        [(q.query_id, q.doc_id, q.relevance) for q in (dataset.qrels_iter() if dataset.has_qrels() else ())],
        {"query_id": pl.String, "passage_id": pl.String, "score": pl.Int32},
        orient="row",
    )
    if num_queries is None:
        return Selection(queries, qrels, None)
    used = set(qrels["query_id"]) | {triple[0] for triple in _docpairs(dataset)}
    queries = queries.filter(pl.col("_id").is_in(used)).head(num_queries)
    kept = frozenset(queries["_id"])
    qrels = qrels.filter(pl.col("query_id").is_in(kept))
    paired = (passage for query, *both in _docpairs(dataset) if query in kept for passage in both)
    return Selection(queries, qrels, frozenset(qrels["passage_id"]) | frozenset(paired))


def _docpairs(dataset: Any) -> Iterator[tuple[str, str, str]]:
    """Query, better and worse passage."""
    for each in dataset.docpairs_iter() if dataset.has_docpairs() else ():
        yield each.query_id, each.doc_id_a, each.doc_id_b


def _documents(dataset: Any, ids: frozenset[str] | None) -> Iterator[pl.DataFrame]:
    has_title = {"title", "text"} <= set(dataset.docs_cls()._fields)
    chosen = (doc for doc in dataset.docs_iter() if ids is None or doc.doc_id in ids)
    if has_title:
        rows: Iterable[tuple[str, ...]] = ((doc.doc_id, doc.title or "", doc.text or "") for doc in chosen)
    else:
        rows = ((doc.doc_id, doc.default_text()) for doc in chosen)
    schema = dict.fromkeys(("_id", "title", "text") if has_title else ("_id", "text"), pl.String)
    for some in _chunks(rows):
        yield pl.DataFrame(some, schema, orient="row")


def _pairs(dataset: Any, stores: list[TextStore], languages: list[str]) -> Iterator[pa.RecordBatch]:
    """Two pairs for each docpair of the queries that were written."""
    queries, passages = stores
    for some in _chunks(_docpairs(dataset)):
        columns = [pa.array(column, pa.string()) for column in zip(*some, strict=True)]
        triples = pa.RecordBatch.from_arrays(columns, ["query", "positive", "negative"])
        triples = triples.filter(pa.array(queries.find(triples.column("query")) >= 0))
        if not triples.num_rows:
            continue
        judged = judge(*triples.columns)
        if (unknown := passages.find(judged.column("passage_id")) < 0).any():
            name = judged.column("passage_id")[int(unknown.argmax())].as_py()
            raise CsgenError(f"docpairs name the passage {name!r}, which is not among the documents")
        pairs = join_texts(judged, queries, passages)
        names = [pa.array([code] * pairs.num_rows) for code in languages]
        schema = pair_schema([*pairs.schema.names, "query_language", "passage_language"])
        yield pa.RecordBatch.from_arrays([*pairs.columns, *names], schema=schema)


def _chunks(rows: Iterable[tuple[str, ...]]) -> Iterator[list[tuple[str, ...]]]:
    remaining = iter(rows)
    while some := list(islice(remaining, BATCH_ROWS)):
        yield some


@contextmanager
def _explain(dataset_id: str) -> Iterator[None]:
    """ir_datasets fails with whatever its downloads and parsers fail with."""
    try:
        yield
    except CsgenError:
        raise
    except (OSError, RuntimeError, ValueError, EOFError) as error:
        raise CsgenError(f"irds:{dataset_id}: ir_datasets failed: {error}") from error
