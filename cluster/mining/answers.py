"""Queries, their positives, and the passages that negatives come from, as tables whose rows are their numbers."""

from dataclasses import dataclass

import numpy as np
import polars as pl
import pyarrow as pa
from numpy.typing import NDArray

from cluster.mining.choosing import NEAR_DUPLICATE, POSITIVE, UNFILLED, Codes, Flags, Rows
from csgen.errors import InputError
from csgen.sources.collection import join_titles, read_collection
from csgen.sources.draws import Words, hash_texts, mix
from csgen.sources.duplicates import find_near_duplicates
from csgen.sources.pairs import stream_pairs
from csgen.sources.splits import group_rows

QUERY = ["query_id", "query_language", "query"]
PASSAGE = ["passage_id", "passage_language", "passage"]


@dataclass(frozen=True)
class Answers:
    """What the positives of each query are, and what is too much like them to be a negative; all in row numbers."""

    offsets: Rows  # one more than queries; query q's positives are those from offsets[q] to offsets[q + 1]
    positives: Rows  # passages, in order within a query
    labels: NDArray[np.int8]  # of the positives
    query_keys: Words  # what a query's draws are made of
    query_groups: Rows  # the same for queries of equal text: a positive of one is no negative of another
    passage_groups: Rows  # the same for passages of equal id (translations) or near-duplicate text
    positive_keys: Rows  # sorted, of every (query group, positive)
    group_keys: Rows  # sorted, of every (query group, passage group of a positive)

    @property
    def num_queries(self) -> int:
        return len(self.query_groups)

    def exclude(self, queries: Rows, passages: Rows) -> Codes:
        """Of each pair 0, or why the passage may not be the query's negative: POSITIVE or NEAR_DUPLICATE.

        Arrays that broadcast together; a passage of -1 is none, and 0.
        """
        codes = np.zeros(np.broadcast_shapes(queries.shape, passages.shape), np.int8)
        first = self.query_groups[queries] * len(self.passage_groups)
        codes[_contains(self.group_keys, first + self.passage_groups[passages])] = NEAR_DUPLICATE
        codes[_contains(self.positive_keys, first + passages)] = POSITIVE
        return np.where(passages == UNFILLED, np.int8(0), codes)


@dataclass(frozen=True)
class Mine:
    """What negatives are mined for and from: queries by id, passages by id, and how they belong together."""

    queries: pl.DataFrame  # QUERY
    passages: pl.DataFrame  # PASSAGE
    candidates: Flags  # which passages may be negatives
    answers: Answers
    columns: tuple[str, ...]  # of the input
    num_unanswered: int  # queries without a positive, which are left out


def read_pairs(path: str, split: str, language: str) -> pl.DataFrame:
    """All pairs at a path, in any form that `csgen.sources.pairs` reads. A bad row is refused."""
    batches = list(stream_pairs(path, split=split, language=language))
    if not batches:
        raise InputError.at(path, None, "holds no rows")
    frame = pl.from_arrow(pa.Table.from_batches(batches))
    assert isinstance(frame, pl.DataFrame)
    return frame


def read_passages(folder: str, language: str) -> pl.DataFrame:
    """The passages of a parallel collection in one language, as PASSAGE."""
    documents = join_titles(read_collection(folder).passages(language))
    return documents.select(passage_id="_id", passage_language=pl.lit(language), passage="text")


def arrange(pairs: pl.DataFrame, collection: pl.DataFrame | None, language: str, place: str) -> Mine:
    """Pairs with a label above 0 and their queries; passages of the collection, or of all pairs where it is None.

    Where pairs say no language of passages, it is `language`. An id that stands with two texts is refused, as are
    pairs without a positive; `place` is named then.
    """
    columns = tuple(pairs.columns)
    given = {"query_language": "", "passage_language": language}
    pairs = pairs.with_columns(pl.lit(value).alias(name) for name, value in given.items() if name not in columns)
    positive = pairs.filter(pl.col("label") > 0)
    if positive.is_empty():
        raise InputError.at(place, None, f"none of the {len(pairs)} pairs has a label above 0: nothing to mine for")
    queries = _number(positive, QUERY, place)
    if collection is None:
        passages = _number(pairs, PASSAGE, place)
        candidates = np.ones(len(passages), np.bool_)
    else:
        others = positive.select(PASSAGE).unique().join(collection, on=PASSAGE, how="anti")
        both = [collection.with_columns(candidate=True), others.with_columns(candidate=False)]
        passages = pl.concat(both).sort(*PASSAGE)
        candidates = passages["candidate"].to_numpy()
        passages = passages.select(PASSAGE)
    num_queries = pairs.select("query_id", "query_language").n_unique()
    answers = _answer(positive, queries, passages)
    return Mine(queries, passages, candidates, answers, columns, num_queries - len(queries))


def _number(pairs: pl.DataFrame, columns: list[str], place: str) -> pl.DataFrame:
    """The distinct rows of these columns (id, language, text), sorted; an id with two texts is refused."""
    rows = pairs.select(columns).unique().sort(*columns)
    if (doubles := rows.select(columns[:2]).is_duplicated()).any():
        one, other = rows.filter(doubles)[columns[2]][:2]
        what = columns[2]
        raise InputError.at(
            place, None, f"the {what} {rows.filter(doubles)[columns[0]][0]!r} stands with two texts, {one[:60]!r} and "
            f"{other[:60]!r}: give each text an id of its own, and mine pairs before they are switched",
        )  # fmt: skip
    return rows


def _answer(positive: pl.DataFrame, queries: pl.DataFrame, passages: pl.DataFrame) -> Answers:
    rows = (
        positive.join(queries.with_row_index("query_row"), on=QUERY)
        .join(passages.with_row_index("passage_row"), on=PASSAGE)
        .group_by("query_row", "passage_row")
        .agg(pl.col("label").max())
        .sort("query_row", "passage_row")
    )
    query_rows, passage_rows = (rows[name].to_numpy().astype(np.int64) for name in ("query_row", "passage_row"))
    clusters = find_near_duplicates(passages["passage"])
    passage_groups = group_rows(clusters, np.arange(len(passages)), passages["passage_id"])
    query_groups = queries["query"].rank("dense").to_numpy().astype(np.int64) - 1
    first = query_groups[query_rows] * len(passages)
    return Answers(
        offsets=np.searchsorted(query_rows, np.arange(len(queries) + 1)),
        positives=passage_rows,
        labels=rows["label"].to_numpy(),
        query_keys=mix(hash_texts(queries["query_id"]) ^ mix(hash_texts(queries["query_language"]))),
        query_groups=query_groups,
        passage_groups=passage_groups,
        positive_keys=np.unique(first + passage_rows),
        group_keys=np.unique(first + passage_groups[passage_rows]),
    )


def _contains(known: Rows, wanted: Rows) -> Flags:
    """Which of the wanted numbers stand among the known ones, which are sorted and not empty."""
    places = np.searchsorted(known, wanted).clip(max=len(known) - 1)
    return np.asarray(known[places] == wanted)
