"""Training pairs held ready for random access, and groups drawn from them: a query's positive and some negatives.

Knows rows and ids; nothing of batches, tokens or models. The same rows give the same groups, whatever their order.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import polars as pl
import pyarrow as pa
from numpy.typing import NDArray

from csgen.errors import InputError
from csgen.hashing import ContentHash
from csgen.sources.draws import Words, counter, hash_texts, mix
from csgen.sources.pairs import stream_pairs
from csgen.sources.rows import OnBadRow, refuse

Rows = NDArray[np.int64]

TEXT_COLUMNS = ["query_id", "query", "passage_id", "passage"]
TEXT_SCHEMA = pa.schema([(name, pa.string()) for name in TEXT_COLUMNS])
# Fields of Pairs by row, and their types as NumPy writes them.
FACTS = {
    "query_hashes": "<u8", "passage_hashes": "<u8", "keys": "<u8", "labels": "<f4", "scores": "<f4", "lengths": "<i4",
}  # fmt: skip
UNFILLED = -1
MAX_ATTEMPTS = 100  # at filling a place with a passage of another query


@dataclass(frozen=True)
class QueryIndex:
    """Which rows answer a query and which do not: what groups of any width are drawn from."""

    first_rows: Rows  # of the groups: all positives
    negative_rows: Rows  # by query
    negative_starts: Rows  # of each group's query within negative_rows
    negative_counts: Rows
    answered: NDArray[np.bool_]  # whether a query has a positive, by query
    known: Words  # keys of all pairs, sorted: what is no filler of a query
    fillers: Rows  # a row of each passage


@dataclass(frozen=True)
class Pairs:
    """All pairs of a training input; arrays have one place a row."""

    texts: pa.Table  # TEXT_COLUMNS
    query_hashes: Words
    passage_hashes: Words
    keys: Words  # a hash of each row's two ids
    labels: NDArray[np.float32]
    scores: NDArray[np.float32] | None  # a teacher's
    lengths: NDArray[np.int32]  # characters of query and passage together
    languages: NDArray[np.int16]  # index into language_names
    language_names: tuple[str, ...]  # "en-de": query and passage; "" where the pairs do not say
    content: str  # a hash of all rows in their order
    index: QueryIndex | None = None  # where it was made beforehand

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, rows: Rows) -> pa.RecordBatch:
        """The texts of rows, in that order; at most 2 GB of them."""
        return take_rows(self.texts, rows)


def load_pairs(path: str, *, split: str = "train", language: str = "en", on_bad_row: OnBadRow = refuse) -> Pairs:
    """All pairs at `path`, in any form that `csgen.sources.pairs` reads, in memory.

    `split` and `language` choose among a BEIR folder's or a collection's texts. For pairs that outgrow memory, or that
    several workers share, there is `cluster.training.spool`.
    """
    digest, facts = ContentHash(), []

    def texts() -> Iterator[pa.RecordBatch]:
        for batch in stream_pairs(path, split=split, language=language, on_bad_row=on_bad_row):
            digest.update(batch)
            facts.append(describe_rows(batch))
            yield batch.select(TEXT_COLUMNS)

    table = pa.Table.from_batches(texts(), TEXT_SCHEMA)
    if not facts:
        raise InputError.at(path, None, "no good row in it")
    return _join(table, pl.concat(facts), digest.hexdigest())


def pair_hashes(queries: Words, passages: Words) -> Words:
    """One hash for two ids, which tells query from passage."""
    return mix(queries ^ mix(passages + counter(1)))


def take_rows(table: pa.Table, rows: Rows) -> pa.RecordBatch:
    """The rows of a table in the order asked for, at least one; touches only the batches that hold them."""
    batches = table.to_batches()
    ends = np.cumsum([batch.num_rows for batch in batches])
    places = np.searchsorted(ends, rows, side="right")
    order = np.argsort(places, kind="stable")
    parts = [
        batches[place].take(pa.array(rows[places == place] - (ends[place] - batches[place].num_rows)))
        for place in np.unique(places)
    ]
    back = np.empty(len(rows), np.int64)
    back[order] = np.arange(len(rows))
    return pa.concat_batches(parts).take(pa.array(back))


class Examples(Protocol):
    """What a step trains on: `width` pairs each, the first one the positive where width is above 1."""

    @property
    def pairs(self) -> Pairs: ...

    @property
    def first_rows(self) -> Rows:
        """The first row of each example, which stands for it: (num_examples,)."""
        ...

    @property
    def width(self) -> int: ...

    def rows(self, chosen: Rows, epoch: int) -> Rows:
        """(len(chosen), width) row numbers of the chosen examples as they are drawn in that epoch."""
        ...


@dataclass(frozen=True)
class SinglePairs:
    """Every pair for itself, as the paper trains."""

    pairs: Pairs
    width: int = 1

    @property
    def first_rows(self) -> Rows:
        return np.arange(len(self.pairs))

    def rows(self, chosen: Rows, epoch: int) -> Rows:
        return chosen[:, None]


@dataclass(frozen=True)
class Groups:
    """A query, one positive and `width` - 1 negatives, drawn anew in each epoch from the query's own.

    A query with too few negatives is filled up with passages of other queries. `num_short` groups need that, and
    `num_unanswered` queries have no positive and stand in no group.
    """

    pairs: Pairs
    width: int
    seed: int
    index: QueryIndex

    @property
    def first_rows(self) -> Rows:
        return self.index.first_rows

    @property
    def num_short(self) -> int:
        return int((self.index.negative_counts < self.width - 1).sum())

    @property
    def num_unanswered(self) -> int:
        return int((~self.index.answered).sum())

    def rows(self, chosen: Rows, epoch: int) -> Rows:
        keys = mix(self.pairs.keys[self.first_rows[chosen]] ^ mix(np.full(len(chosen), _word(self.seed, epoch))))
        drawn = self._draw_negatives(chosen, keys)
        if (drawn == UNFILLED).any():
            self._fill(drawn, self.first_rows[chosen], keys)
        return np.column_stack([self.first_rows[chosen], drawn])

    def _draw_negatives(self, chosen: Rows, keys: Words) -> Rows:
        """(len(chosen), width - 1) rows, those of each query with the lowest draws; UNFILLED where it has no more."""
        counts = self.index.negative_counts[chosen]
        ends = np.cumsum(counts)
        within = np.arange(ends[-1] if len(ends) else 0) - np.repeat(ends - counts, counts)
        entries = self.index.negative_rows[np.repeat(self.index.negative_starts[chosen], counts) + within]
        group = np.repeat(np.arange(len(chosen)), counts)
        draws = mix(keys[group] ^ self.pairs.passage_hashes[entries])
        entries = entries[np.lexsort((draws, group))]
        drawn = np.full((len(chosen), self.width - 1), UNFILLED)
        kept = within < self.width - 1
        drawn[group[kept], within[kept]] = entries[kept]
        return drawn

    def _fill(self, drawn: Rows, first_rows: Rows, keys: Words) -> None:
        pairs, passages = self.pairs, self.index.fillers
        for slot in range(drawn.shape[1]):
            left = np.flatnonzero(drawn[:, slot] == UNFILLED)
            for attempt in range(MAX_ATTEMPTS):
                if not len(left):
                    break
                draws = mix(mix(keys[left] + counter(slot + 1)) + counter(attempt))
                rows = passages[(draws % np.uint64(len(passages))).astype(np.int64)]
                hashes = pair_hashes(pairs.query_hashes[first_rows[left]], pairs.passage_hashes[rows])
                standing = np.where(drawn[left] == UNFILLED, 0, pairs.passage_hashes[drawn[left]])
                fits = ~_contains(self.index.known, hashes) & (standing != pairs.passage_hashes[rows, None]).all(axis=1)
                drawn[left[fits], slot] = rows[fits]
                left = left[~fits]
            if len(left):
                raise InputError(
                    f"groups of {self.width - 1} negatives were asked for, but a query has fewer and there are too few "
                    "other passages to fill up with: give fewer --negatives"
                )


def make_groups(pairs: Pairs, negatives: int, seed: int) -> Groups:
    """Groups of all positives; pairs with a label above 0 are positive. No positive at all is refused."""
    return Groups(pairs, negatives + 1, seed, pairs.index or index_queries(pairs))


def index_queries(pairs: Pairs) -> QueryIndex:
    """The index of pairs, of which one at least must be positive."""
    queries = pl.Series(pairs.query_hashes).rank("dense").to_numpy().astype(np.int64) - 1
    positive = pairs.labels > 0
    first_rows = np.flatnonzero(positive)
    if not len(first_rows):
        raise InputError(f"none of the {len(pairs)} pairs has a label above 0: there is nothing to learn from")
    others = np.flatnonzero(~positive)
    # Sorted by query and then by passage, so that the order of the input's rows changes no draw.
    negative_rows = others[np.lexsort((pairs.passage_hashes[others], queries[others]))]
    num_queries = int(queries.max()) + 1
    counts = np.bincount(queries[others], minlength=num_queries)
    starts = np.cumsum(counts) - counts
    answered = np.zeros(num_queries, np.bool_)
    answered[queries[first_rows]] = True
    of_group = queries[first_rows]
    return QueryIndex(
        first_rows=first_rows,
        negative_rows=negative_rows,
        negative_starts=starts[of_group],
        negative_counts=counts[of_group],
        answered=answered,
        known=np.sort(pairs.keys),
        fillers=np.unique(pairs.passage_hashes, return_index=True)[1],
    )


def _contains(known: Words, wanted: Words) -> NDArray[np.bool_]:
    """Which of the wanted words stand among the known ones, which are sorted and not empty."""
    places = np.searchsorted(known, wanted).clip(max=len(known) - 1)
    return known[places] == wanted  # type: ignore[no-any-return]


def _word(seed: int, epoch: int) -> np.uint64:
    return mix(np.array([counter(seed + 1)]) ^ mix(np.array([counter(epoch + 1)])))[0]  # type: ignore[no-any-return]


def describe_rows(batch: pa.RecordBatch) -> pl.DataFrame:
    """What is to be known of each row: the columns FACTS, scores null where there are none, and language, a name."""
    languages = [name for name in ("query_language", "passage_language") if name in batch.schema.names]
    frame = pl.from_arrow(batch)
    assert isinstance(frame, pl.DataFrame)
    queries, passages = (hash_texts(frame[name]) for name in ("query_id", "passage_id"))
    return frame.select(
        pl.Series("query_hashes", queries),
        pl.Series("passage_hashes", passages),
        pl.Series("keys", pair_hashes(queries, passages)),
        pl.col("label").cast(pl.Float32).alias("labels"),
        (pl.col("score") if "score" in frame.columns else pl.lit(None)).cast(pl.Float32).alias("scores"),
        (pl.col("query").str.len_chars() + pl.col("passage").str.len_chars()).cast(pl.Int32).alias("lengths"),
        (pl.concat_str(languages, separator="-") if languages else pl.lit("")).alias("language"),
    )


def code_languages(languages: pl.Series, names: Sequence[str]) -> NDArray[np.int16]:
    """The index of each language in `names`."""
    return languages.replace_strict(names, list(range(len(names))), return_dtype=pl.Int16).to_numpy()


def _join(texts: pa.Table, facts: pl.DataFrame, content: str) -> Pairs:
    names = tuple(sorted(facts["language"].unique().to_list()))
    arrays: dict[str, Any] = {name: facts[name].to_numpy() for name in FACTS}
    if facts["scores"].null_count():
        arrays["scores"] = None
    return Pairs(
        texts, **arrays, languages=code_languages(facts["language"], names), language_names=names, content=content
    )
