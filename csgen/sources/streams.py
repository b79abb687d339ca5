"""Parallel collections that are written while they are read: texts stream by; judgements and hashes of ids are held.

Checks on the way what must hold of the ids. Knows no source; the layout is that of csgen.sources.collection.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import polars as pl
import pyarrow as pa
from numpy.typing import NDArray

from csgen.errors import InputError
from csgen.files import join
from csgen.sources.collection import COLLECTION_NAME, Description, remove_description, write_description
from csgen.sources.documents import write_documents, write_qrels
from csgen.sources.parquet import write_pairs

Texts = Callable[[], Iterator[pl.DataFrame]]  # batches of `_id, text`, perhaps `title`; each call reads them anew
Pairs = Callable[[], Iterator[pa.RecordBatch]]
OnError = Literal["fail", "skip"]
Hashes = NDArray[np.uint64]

QRELS_SCHEMA = pl.Schema({"query_id": pl.String, "passage_id": pl.String, "score": pl.Int32})


@dataclass(frozen=True)
class CollectionStream:
    """A parallel collection that a source offers. `pairs` are read once the texts are written."""

    origin: str  # the source as the user gave it, for errors
    description: Description
    queries: Mapping[str, Texts]  # by language
    passages: Mapping[str, Texts]  # by language
    qrels: Mapping[str, pl.DataFrame]  # by split
    pairs: Mapping[str, Pairs] = field(default_factory=dict)  # by split, or split/language
    inputs: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Written:
    """What was written: the names of the files in the folder, the manifest's among none of them, and counts."""

    stream: CollectionStream
    files: tuple[str, ...]
    queries: dict[str, int]  # by language
    passages: dict[str, int]  # by language
    judgements: dict[str, int]  # by split
    pairs: dict[str, int]
    parallel: dict[str, int]  # of queries and passages in several languages, how many ids stand in all of them
    left_out: int  # judgements that name unknown ids


def merge_qrels(origin: str, parts: Sequence[pl.DataFrame]) -> pl.DataFrame:
    """Judgements of several languages as one table, each once, in the order of the parts.

    Two scores for one query and passage are refused.
    """
    qrels = pl.concat([pl.DataFrame(schema=QRELS_SCHEMA), *parts]).unique(maintain_order=True)
    doubles = qrels.filter(pl.struct("query_id", "passage_id").is_duplicated())
    if doubles.height:
        query, passage, _ = doubles.row(0)
        scores = doubles.filter(query_id=query, passage_id=passage)["score"].to_list()
        told = " and ".join(map(str, scores))
        raise InputError(f"{origin}: judges the passage {passage!r} for the query {query!r} twice: {told}")
    return qrels


def write_stream(folder: str, stream: CollectionStream, on_error: OnError) -> Written:
    """Write it all, `collection.json` last: where it stands, the collection is whole.

    A judgement of an unknown query or passage is an error, or with `skip` left out. An id that stands twice in a
    language and a language without texts always are errors.
    """
    remove_description(folder)
    judged = pl.concat([pl.DataFrame(schema=QRELS_SCHEMA), *stream.qrels.values()])
    queries = _write_texts(folder, stream, "queries", judged["query_id"].unique())
    passages = _write_texts(folder, stream, "passages", judged["passage_id"].unique())
    qrels = {
        split: _keep_known(f"{stream.origin}: qrels/{split}", table, queries, passages, on_error)
        for split, table in stream.qrels.items()
    }
    judgements = {split: write_qrels(join(folder, f"qrels/{split}.tsv"), [table]) for split, table in qrels.items()}
    pairs = {name: write_pairs(read(), join(folder, f"pairs/{name}.parquet")) for name, read in stream.pairs.items()}
    write_description(folder, stream.description)
    names = [f"{language}/{kind.name}.jsonl" for kind in (queries, passages) for language in kind.counts]
    names += [f"qrels/{split}.tsv" for split in qrels] + [f"pairs/{name}.parquet" for name in pairs]
    return Written(
        stream=stream,
        files=(*names, COLLECTION_NAME),
        queries=queries.counts,
        passages=passages.counts,
        judgements=judgements,
        pairs=pairs,
        parallel={kind.name: kind.num_parallel for kind in (queries, passages) if len(kind.counts) > 1},
        left_out=judged.height - sum(judgements.values()),
    )


@dataclass(frozen=True)
class _WrittenTexts:
    name: str
    counts: dict[str, int]
    num_parallel: int
    unknown: pl.Series  # the judged ids that no language has


def _write_texts(folder: str, stream: CollectionStream, name: str, judged: pl.Series) -> _WrittenTexts:
    texts: Mapping[str, Texts] = getattr(stream, name)
    counts: dict[str, int] = {}
    wanted = _hash(judged)
    found = np.zeros(len(judged), bool)
    parallel: Hashes | None = None
    for language, read in texts.items():
        seen: list[Hashes] = []
        counts[language] = write_documents(join(folder, language, f"{name}.jsonl"), _note_ids(read(), seen))
        if not counts[language]:
            raise InputError(f"{stream.origin}: holds no {name} in {language}")
        hashes = np.sort(np.concatenate(seen))
        _refuse_doubles(f"{stream.origin}: {name} in {language}", hashes, read)
        found |= np.isin(wanted, hashes)
        parallel = hashes if parallel is None else np.intersect1d(parallel, hashes, assume_unique=True)
    num_parallel = 0 if parallel is None else len(parallel)
    return _WrittenTexts(name, counts, num_parallel, judged.filter(pl.Series(~found)))


def _note_ids(batches: Iterator[pl.DataFrame], seen: list[Hashes]) -> Iterator[pl.DataFrame]:
    for batch in batches:
        seen.append(_hash(batch["_id"]))
        yield batch


def _hash(ids: pl.Series) -> Hashes:
    # 8 bytes an id. polars' hash may change between versions, and is used within this process alone.
    return ids.hash().to_numpy()


def _refuse_doubles(place: str, hashes: Hashes, read: Texts) -> None:
    """Refuse sorted hashes of which two are equal; among 10 million different ids the odds of it are 3 in a million."""
    doubles = np.flatnonzero(hashes[1:] == hashes[:-1])
    if not len(doubles):
        return
    for batch in read():
        here = batch["_id"].filter(pl.Series(_hash(batch["_id"]) == hashes[doubles[0]]))
        if len(here):
            raise InputError(f"{place}: the id {here[0]!r} stands more than once")


def _keep_known(
    place: str, qrels: pl.DataFrame, queries: _WrittenTexts, passages: _WrittenTexts, on_error: OnError
) -> pl.DataFrame:
    unknown = pl.col("query_id").is_in(queries.unknown.implode()) | pl.col("passage_id").is_in(
        passages.unknown.implode()
    )
    bad = qrels.filter(unknown)
    if bad.height and (on_error == "fail" or bad.height == qrels.height):
        query, passage, _ = bad.row(0)
        languages = dict.fromkeys([*queries.counts, *passages.counts])
        raise InputError(
            f"{place}: {bad.height:,} of {qrels.height:,} judgements name a text that is in none of "
            f"{', '.join(languages)}, first the passage {passage!r} for the query {query!r}; "
            "--on-error skip leaves them out"
        )
    return qrels.filter(~unknown)
