"""What a search found, and what it did: hits as arrays, as a table of passages, as JSON. Knows opened segments."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from indexing.index.fusion import Numbers, Scores
from indexing.index.opened import NO_ROW, ROW_BITS, OpenSegments
from indexing.passages.rows import LANGUAGE, PASSAGE_ID, TEXT
from indexing.vectors.search import NOT_COUNTED

_OWN = ("query", "rank", "score")


@dataclass(frozen=True)
class Done:
    """What a search did.

    lists: what was ranked: a way, or "WAY of expansions"; of several the scores are those of their fusion. allowed:
    passages that could be hits. over_size: fewer than top_k. examined, by query: rows that dense search compared or
    passed over, None where it cannot tell. cut_off, by query: dense search ended before all allowed rows were compared
    exactly, so a better one may be missing. exact_scores: dense scores are inner products with the vectors as stored.
    truncated_texts: queries' texts of which the encoder read the beginning alone. untranslated: languages in which
    translated search took the queries as they are. lost: what a repaired index does without; None: nothing.
    """

    index_version: int
    shards_asked: int
    shards_answered: int
    segments: int
    segments_searched: int
    passages: int
    allowed: int
    over_size: bool
    lists: tuple[str, ...]
    examined: tuple[int | None, ...]
    cut_off: tuple[bool, ...]
    exact_scores: bool
    truncated_texts: int
    untranslated: tuple[str, ...]
    languages_without_offset: tuple[str, ...]
    lost: str | None


@dataclass(frozen=True)
class SearchResult:
    """Hits of each query, best first, (queries, width); behind the last one NO_ROW with score 0.

    Equal scores are in the order of addresses. scores: inner products or BM25, or sums of reciprocal ranks where
    several lists were fused. ranks: (lists, queries, width), of each hit its rank in each of `done.lists`, from 1; 0:
    it is not in it.
    """

    numbers: Numbers
    scores: Scores
    ranks: NDArray[np.int32]
    done: Done
    opened: OpenSegments

    @property
    def ids(self) -> Numbers:
        """The hits' 64-bit ids, which they keep until compaction: segment number << 32 | row; NO_ROW for none."""
        segments = np.array([entry.number for entry in self.opened.entries] or [0], np.int64)
        ids = segments[np.maximum(self.numbers >> ROW_BITS, 0)] << ROW_BITS | self.numbers & ((1 << ROW_BITS) - 1)
        return np.where(self.numbers == NO_ROW, NO_ROW, ids)

    @property
    def addresses(self) -> list[list[str]]:
        """LANGUAGE/PASSAGE_ID of each query's hits."""
        found = self.numbers != NO_ROW
        names = self.opened.addresses(self.numbers[found]).to_pylist()
        bounds = np.concatenate([[0], np.cumsum(found.sum(axis=1))])
        return [names[start:stop] for start, stop in pairwise(bounds)]

    def read(self, columns: Sequence[str] = (LANGUAGE, PASSAGE_ID, TEXT)) -> pa.Table:
        """A row for each hit: query (from 0), rank (from 1), score, and columns of the passages.

        Columns are language, passage_id, title, text and fields of the metadata; others are an InputError.
        """
        queries, ranks = np.nonzero(self.numbers != NO_ROW)
        own: dict[str, Any] = {"query": queries, "rank": ranks + 1, "score": self.scores[queries, ranks]}
        table = pa.table(own)
        passages = self.opened.take(self.numbers[queries, ranks], [one for one in columns if one not in _OWN])
        for name in passages.column_names:
            table = table.append_column(name, passages.column(name))
        return table

    def to_json(self, columns: Sequence[str] = (LANGUAGE, PASSAGE_ID, TEXT)) -> dict[str, Any]:
        """The hits, with their rank in each list where there are several, and what was done; what JSON can hold."""
        hits = self.read(columns).to_pylist()
        if len(self.done.lists) > 1:
            queries, places = np.nonzero(self.numbers != NO_ROW)
            for hit, ranks in zip(hits, self.ranks[:, queries, places].T.tolist(), strict=True):
                hit["ranks"] = {name: rank for name, rank in zip(self.done.lists, ranks, strict=True) if rank}
        return {"hits": hits} | asdict(self.done)


def show_examined(examined: Numbers, is_dense: bool) -> tuple[int | None, ...]:
    """The rows examined by query; None where they were not counted."""
    return tuple(None if not is_dense or number == NOT_COUNTED else number for number in examined.tolist())
