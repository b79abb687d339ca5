"""Ranks the passages of an evaluation's cell by indexes of one language's passages each, whatever these search by."""

from collections.abc import Callable

import numpy as np
import polars as pl

from eval.benchmark import Benchmark, Reading
from indexing.lexical import Index

OpenIndex = Callable[[Benchmark, str, str], Index]  # of the queries' and the passages' language

_RUN = {"query_id": pl.String, "passage_id": pl.String, "score": pl.Float64}


class CellRanker:
    """Ranks a cell's passages language by language; scores of several languages are merged as they are."""

    def __init__(self, open_index: OpenIndex) -> None:
        self._open_index = open_index

    def rank(self, reading: Reading, top_k: int) -> pl.DataFrame:
        parts = [
            self._search(reading.benchmark, queries, passages, top_k)
            for passages in reading.passages.partition_by("language", maintain_order=True)
            for queries in reading.queries.partition_by("language", maintain_order=True)
        ]
        return pl.concat([pl.DataFrame(schema=_RUN), *parts])

    def _search(self, benchmark: Benchmark, queries: pl.DataFrame, passages: pl.DataFrame, top_k: int) -> pl.DataFrame:
        """The best of one language's passages for queries of one language."""
        language = passages["language"][0]
        index = self._open_index(benchmark, queries["language"][0], language)
        num_passages = len(benchmark.passages(language))
        place = np.full(num_passages, -1, np.int64)  # of each of the language's passages among the cell's
        place[passages["row"].to_numpy()] = np.arange(len(passages))
        allowed = None if len(passages) == num_passages else place >= 0
        rows, scores = index.search(queries["text"], top_k, allowed)
        found = rows >= 0
        return pl.DataFrame(
            {
                "query_id": queries["query_id"].gather(np.nonzero(found)[0]),
                "passage_id": passages["passage_id"].gather(place[rows[found]]),
                "score": scores[found].astype(np.float64),
            },
            schema=_RUN,
        )
