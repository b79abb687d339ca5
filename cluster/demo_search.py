"""The demo's search across languages: queries in one language against passages in another, by exact search."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import polars as pl
from rich import box
from rich.table import Table

from csgen.sources.collection import collection_pairs, join_titles, read_collection
from indexing.encoder import Encoder

NUM_QUERIES, NUM_PASSAGES, FOUND = 300, 5_000, 10


@dataclass(frozen=True)
class Search:
    """What one encoder finds: the rank of each query's passage, from 1, and the best passage of each query."""

    ranks: np.ndarray
    best: pl.Series

    @property
    def found(self) -> float:
        """Share of the queries whose passage is among the first ten."""
        return float((self.ranks <= FOUND).mean())


def read_search(folder: str, query_language: str, passage_language: str, split: str) -> tuple[pl.DataFrame, pl.Series]:
    """(query_id, query, passage) of the first judged queries in one language; and all texts searched in the other."""
    collection = read_collection(folder)
    judged = pl.from_arrow(collection_pairs(collection, query_language, passage_language, split))
    assert isinstance(judged, pl.DataFrame)
    judged = judged.unique("query_id", keep="first", maintain_order=True).head(NUM_QUERIES)
    others = join_titles(collection.passages(passage_language)).head(NUM_PASSAGES)["text"]
    return judged, pl.concat([judged["passage"], others]).unique(maintain_order=True)


def search_with(encoder: Encoder, judged: pl.DataFrame, passages: pl.Series) -> Search:
    """Search all queries among all passages, by cosine."""
    scores = encoder.encode(judged["query"].to_list()) @ encoder.encode(passages.to_list()).T
    place = dict(zip(passages, range(len(passages)), strict=True))
    wanted = np.array([place[text] for text in judged["passage"]])
    right = scores[np.arange(len(scores)), wanted]
    return Search(1 + (scores > right[:, None]).sum(axis=1), passages.gather(scores.argmax(axis=1)))


def show_search(searches: Mapping[str, Search], judged: pl.DataFrame) -> Table:
    """How often each encoder finds the passage, and the first query for which the last one alone ranks it first."""
    first, last = next(iter(searches.values())), list(searches.values())[-1]
    gained = np.flatnonzero((last.ranks == 1) & (first.ranks > 1))
    table = Table(box=box.SIMPLE_HEAD)
    table.add_column("encoder")
    table.add_column(f"passage among first {FOUND}", justify="right")
    if len(gained):
        table.add_column(f"best passage for “{judged['query'][int(gained[0])]}”", overflow="fold")
    for name, search in searches.items():
        cells = [search.best[int(gained[0])][:160]] if len(gained) else []
        table.add_row(name, f"{100 * search.found:.0f} %", *cells)
    return table
