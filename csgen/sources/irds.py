"""Data sets of ir_datasets, and families of them in several languages, as parallel collections; docpairs as pairs.

Everything is streamed but the qrels and one language's queries; the same data sets and options give the same bytes.
"""

import difflib
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa

from csgen.errors import CsgenError, InputError
from csgen.files import join
from csgen.schema import pair_schema
from csgen.sources.collection import Description
from csgen.sources.documents import BATCH_ROWS, refuse_line
from csgen.sources.irds_families import ENGLISH, Family, find_family, is_family, parse_code
from csgen.sources.store import TextStore, join_texts, store_documents
from csgen.sources.streams import QRELS_SCHEMA, CollectionStream, OnError, Written, merge_qrels, write_stream
from csgen.sources.triples import judge

SPLITS = ("train", "dev", "test")
TEXT_SCHEMA = {"_id": pl.String, "text": pl.String}
DEFAULT_TEXT: tuple[str, ...] = ()


@dataclass(frozen=True)
class Member:
    """One of the data sets to write. `prefix` comes before its ids, to keep them apart from those of the others."""

    dataset_id: str
    dataset: Any
    query_fields: Mapping[str, tuple[str, ...]]  # by language: the first of them that is filled; none: default_text()
    passage_language: str
    prefix: str = ""


@dataclass(frozen=True)
class Selection:
    """The ids of the queries and passages to write; None: all."""

    queries: pl.Series | None
    passages: frozenset[str] | None


def fetch_irds(
    dataset_id: str,
    output_folder: str,
    languages: tuple[str, ...] = (),
    num_queries: int | None = None,
    on_error: OnError = "fail",
) -> Written:
    """Write documents, queries and qrels, and docpairs as `pairs/SPLIT.parquet`, or `pairs/SPLIT/LANGUAGE.parquet`.

    An id with LANG in the place of its language is that of a family: `languages` says which of its data sets to write;
    none: all. Where ids mean different texts in different languages, they get the prefix `LANGUAGE:`. Of a data set on
    its own, `languages` stands in where it does not tell its language.

    `num_queries` keeps the first judged or paired queries, where ids are not shared so many of each language, and only
    the passages that their qrels and docpairs name. The split is the one in the data set's id, else test.
    """
    with _explain(dataset_id):
        members = _find_members(dataset_id, languages)
        stream = _open_stream(dataset_id, members, num_queries, output_folder)
        return write_stream(output_folder, stream, on_error)


def split_of(dataset_id: str) -> str:
    """The split that an id names: "mmarco/de/train" is train; "test" where it names none."""
    return next((split for part in dataset_id.split("/") for split in SPLITS if part.startswith(split)), "test")


def _open_stream(dataset_id: str, members: Sequence[Member], num_queries: int | None, folder: str) -> CollectionStream:
    origin, split = f"irds:{dataset_id}", split_of(dataset_id)
    qrels = merge_qrels(origin, [_qrels(member) for member in members])
    selection = _select(members, qrels, num_queries)
    if selection.queries is not None:
        qrels = qrels.filter(pl.col("query_id").is_in(selection.queries.implode()))
    query_languages = tuple(dict.fromkeys(language for member in members for language in member.query_fields))
    passage_languages = tuple(dict.fromkeys(member.passage_language for member in members))
    source = "ir_datasets " + ", ".join(member.dataset_id for member in members)
    return CollectionStream(
        origin=origin,
        description=Description(
            name=dataset_id,
            languages=query_languages,
            passage_languages=passage_languages if passage_languages != query_languages else (),
            licence=f"see the documentation of {dataset_id} in ir_datasets",
            source=source,
        ),
        queries={one: partial(_read_queries, members, one, selection) for one in query_languages},
        passages={one: partial(_read_passages, members, one, selection) for one in passage_languages},
        qrels={split: qrels},
        pairs={
            f"{split}/{member.passage_language}" if is_family(dataset_id) else split: partial(
                _read_pairs, member, folder
            )
            for member in members
            if member.dataset.has_docpairs()
        },
        inputs={"source": source},
    )


def _find_members(dataset_id: str, languages: tuple[str, ...]) -> list[Member]:
    registry = _registry()
    if not is_family(dataset_id):
        return [_open_member(dataset_id, _load(registry, dataset_id), languages[0] if languages else None, "")]
    family: Family = find_family(dataset_id, registry)
    chosen = family.choose(languages)
    return [
        _open_member(name, _load(registry, name), language, "" if family.shares_ids else f"{language}:")
        for language, name in chosen.items()
    ]


def _registry() -> Any:
    try:
        import ir_datasets
    except ImportError as error:
        raise InputError("irds needs ir_datasets: pip install 'csgen[irds]'") from error
    return ir_datasets.registry


def _load(registry: Any, dataset_id: str) -> Any:
    try:
        dataset = registry[dataset_id]
    except KeyError as error:
        near = difflib.get_close_matches(dataset_id, list(registry), n=3)
        hint = f"did you mean {' or '.join(near)}?" if near else "see https://ir-datasets.com"
        if set(dataset_id) & set("{}*"):
            hint = "write LANG for the language, and name the languages with --languages"
        raise InputError(f"irds:{dataset_id}: no such data set; {hint}") from error
    lacking = [kind for kind in ("docs", "queries") if not getattr(dataset, f"has_{kind}")()]
    if lacking:
        parts = [name for name in registry if name.startswith(f"{dataset_id}/")][:5]
        hint = f"; name a part of it, such as {', '.join(parts)}" if parts else ""
        raise InputError(f"irds:{dataset_id}: has no {' and no '.join(lacking)}{hint}")
    return dataset


def _open_member(dataset_id: str, dataset: Any, language: str | None, prefix: str) -> Member:
    """`language` stands in where the data set does not tell its own."""
    fields = dataset.queries_cls()._fields
    if any(name.endswith("_mt_title") for name in fields):  # fa_mt_title: one such field a language
        family = dataset_id.replace("/multi/", "/LANG/")
        raise InputError(
            f"irds:{dataset_id}: does not tell the languages of its passages; fetch irds:{family}, which has the same "
            "passages and judgements by language"
        )
    passage_language = _language(dataset_id, dataset.docs_lang(), language)
    # The topics of HC4 and NeuCLIR: English ones, and their translations by people, or by machines, into the language
    # of the passages.
    if translations := tuple(name for name in ("ht_title", "mt_title") if name in fields):
        query_fields = {ENGLISH: DEFAULT_TEXT, passage_language: translations}
    else:
        query_fields = {_language(dataset_id, dataset.queries_lang(), language): DEFAULT_TEXT}
    return Member(dataset_id, dataset, query_fields, passage_language, prefix)


def _language(dataset_id: str, named: str | None, given: str | None) -> str:
    if not (named or given):
        raise InputError(f"irds:{dataset_id}: ir_datasets does not tell its language; give it with --languages")
    return parse_code(str(named or given))


def _select(members: Sequence[Member], qrels: pl.DataFrame, num_queries: int | None) -> Selection:
    if num_queries is None:
        return Selection(None, None)
    used = pl.Series(
        [*{*qrels["query_id"]} | {row[0] for member in members for row in _docpairs(member)}], dtype=pl.String
    )
    ids = [_queries(member, next(iter(member.query_fields)))["_id"] for member in members]
    ids = [some.filter(some.is_in(used.implode())) for some in ids]
    if members[0].prefix:
        kept = pl.concat([some.head(num_queries) for some in ids])
    else:
        kept = pl.concat(ids).unique(maintain_order=True).head(num_queries)
    queries = frozenset(kept)
    paired = {
        passage for member in members for query, *both in _docpairs(member) if query in queries for passage in both
    }
    judged = qrels.filter(pl.col("query_id").is_in(kept.implode()))["passage_id"]
    return Selection(kept, frozenset(judged) | paired)


def _qrels(member: Member) -> pl.DataFrame:
    prefix = member.prefix
    judgements = member.dataset.qrels_iter() if member.dataset.has_qrels() else ()
    rows = [(prefix + one.query_id, prefix + one.doc_id, one.relevance) for one in judgements]
    return pl.DataFrame(rows, QRELS_SCHEMA, orient="row")


def _docpairs(member: Member) -> Iterator[tuple[str, str, str]]:
    """Query, better and worse passage."""
    prefix = member.prefix
    for each in member.dataset.docpairs_iter() if member.dataset.has_docpairs() else ():
        yield prefix + each.query_id, prefix + each.doc_id_a, prefix + each.doc_id_b


def _queries(member: Member, language: str) -> pl.DataFrame:
    fields, prefix = member.query_fields[language], member.prefix
    rows = [
        (prefix + query.query_id, next(filter(None, (getattr(query, name) for name in fields)), None) or "")
        if fields
        else (prefix + query.query_id, query.default_text())
        for query in member.dataset.queries_iter()
    ]
    return pl.DataFrame(rows, TEXT_SCHEMA, orient="row")


def _read_queries(members: Sequence[Member], language: str, selection: Selection) -> Iterator[pl.DataFrame]:
    parts = [_queries(member, language) for member in members if language in member.query_fields]
    queries = pl.concat(parts)
    if len(parts) > 1 and not members[0].prefix:  # the same topics in several data sets
        queries = queries.unique("_id", keep="first", maintain_order=True)
    yield queries if selection.queries is None else queries.filter(pl.col("_id").is_in(selection.queries.implode()))


def _read_passages(members: Sequence[Member], language: str, selection: Selection) -> Iterator[pl.DataFrame]:
    for member in members:
        if member.passage_language == language:
            yield from _documents(member, selection.passages)


def _documents(member: Member, ids: frozenset[str] | None) -> Iterator[pl.DataFrame]:
    dataset, prefix = member.dataset, member.prefix
    has_title = {"title", "text"} <= set(dataset.docs_cls()._fields)
    chosen = (doc for doc in dataset.docs_iter() if ids is None or prefix + doc.doc_id in ids)
    if has_title:
        rows: Iterable[tuple[str, ...]] = ((prefix + doc.doc_id, doc.title or "", doc.text or "") for doc in chosen)
    else:
        rows = ((prefix + doc.doc_id, doc.default_text()) for doc in chosen)
    schema = dict.fromkeys(("_id", "title", "text") if has_title else ("_id", "text"), pl.String)
    for some in _chunks(rows):
        yield pl.DataFrame(some, schema, orient="row")


def _read_pairs(member: Member, folder: str) -> Iterator[pa.RecordBatch]:
    """Two pairs for each docpair of the queries that were written, with the texts as they were written."""
    languages = [next(iter(member.query_fields)), member.passage_language]
    files = [f"{language}/{kind}.jsonl" for language, kind in zip(languages, ("queries", "passages"), strict=True)]
    with tempfile.TemporaryDirectory() as scratch:
        queries, passages = (
            store_documents(join(folder, name), Path(scratch, name.replace("/", "-")), refuse_line) for name in files
        )
        for some in _chunks(_docpairs(member)):
            columns = [pa.array(column, pa.string()) for column in zip(*some, strict=True)]
            triples = pa.RecordBatch.from_arrays(columns, ["query", "positive", "negative"])
            triples = triples.filter(pa.array(queries.find(triples.column("query")) >= 0))
            if triples.num_rows:
                yield _join_pairs(judge(*triples.columns), queries, passages, languages)


def _join_pairs(
    judged: pa.RecordBatch, queries: TextStore, passages: TextStore, languages: list[str]
) -> pa.RecordBatch:
    if (unknown := passages.find(judged.column("passage_id")) < 0).any():
        name = judged.column("passage_id")[int(unknown.argmax())].as_py()
        raise CsgenError(f"docpairs name the passage {name!r}, which is not among the documents")
    pairs = join_texts(judged, queries, passages)
    names = [pa.array([code] * pairs.num_rows) for code in languages]
    schema = pair_schema([*pairs.schema.names, "query_language", "passage_language"])
    return pa.RecordBatch.from_arrays([*pairs.columns, *names], schema=schema)


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
