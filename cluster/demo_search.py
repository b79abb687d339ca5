"""The demo's search across languages: the passages of its index, and what is found with one encoder and another."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray
from rich import box
from rich.table import Table

from csgen.files import replace_file
from csgen.sources.collection import Collection, collection_pairs, join_titles, read_collection
from indexing.index.index import Index
from indexing.index.query import SearchOptions, SearchRequest
from indexing.passages import Filter
from indexing.passages.rows import TEXT

NUM_QUERIES, NUM_OTHERS, TOP_K = 300, 2_000, 10
_SHOWN_CHARACTERS = 160


@dataclass(frozen=True)
class Search:
    """What is found with one encoder: the rank of each query's passage, from 1, beyond TOP_K where it is not among
    these; and the text of each query's best passage."""

    ranks: NDArray[np.int64]
    best: pl.Series

    @property
    def found(self) -> float:
        """Share of the queries whose passage is among the first."""
        return float((self.ranks <= TOP_K).mean())


def read_judged(folder: str, query_language: str, passage_language: str, split: str) -> pl.DataFrame:
    """(query_id, query, passage_id) of the first judged queries in one language, answered in the other."""
    pairs = pl.from_arrow(collection_pairs(read_collection(folder), query_language, passage_language, split))
    assert isinstance(pairs, pl.DataFrame)
    judged = pairs.filter(pl.col("label") > 0).unique("query_id", keep="first", maintain_order=True)
    return judged.select("query_id", "query", "passage_id").head(NUM_QUERIES)


def write_passages(folder: str, judged: pl.DataFrame, output: str) -> None:
    """Write those passages of a collection that are searched: in each language the judged ones and the first others."""
    collection = read_collection(folder)
    chosen = pl.concat(_choose(collection, language, judged) for language in collection.passage_languages)
    with replace_file(output) as stream:
        chosen.write_parquet(stream)


def search(folder: str, judged: pl.DataFrame, language: str) -> Search:
    """Search an index for the judged queries, among its passages in one language."""
    index = Index.open(folder)
    options = SearchOptions.from_options({"top_k": TOP_K})
    allowed = Filter.from_options({"languages": (language,)})
    result = index.search(SearchRequest(judged["query"].to_list(), options=options, filter=allowed))
    wanted = [f"{language}/{one}" for one in judged["passage_id"]]
    places = [found.index(one) if one in found else TOP_K for one, found in zip(wanted, result.addresses, strict=True)]
    hits = pl.DataFrame(result.read((TEXT,)))
    return Search(np.array(places) + 1, hits.filter(pl.col("rank") == 1)[TEXT])


def find_gained(searches: Mapping[str, Search]) -> int | None:
    """The first query whose passage comes first in the last search, but not in the first one; None: there is none."""
    first, *_, last = searches.values()
    gained = np.flatnonzero((last.ranks == 1) & (first.ranks > 1))
    return int(gained[0]) if len(gained) else None


def show_searches(searches: Mapping[str, Search], judged: pl.DataFrame, gained: int | None) -> Table:
    """How often each finds the passage, and what each finds first for one query."""
    table = Table(box=box.SIMPLE_HEAD)
    table.add_column("encoder")
    table.add_column(f"passage among first {TOP_K}", justify="right")
    if gained is not None:
        table.add_column(f"best passage for “{judged['query'][gained]}”", overflow="fold")
    for name, one in searches.items():
        cells = [] if gained is None else [one.best[gained][:_SHOWN_CHARACTERS]]
        table.add_row(name, f"{100 * one.found:.0f} %", *cells)
    return table


def _choose(collection: Collection, language: str, judged: pl.DataFrame) -> pl.DataFrame:
    passages = join_titles(collection.passages(language))
    is_judged = pl.col("_id").is_in(judged["passage_id"].implode())
    chosen = pl.concat([passages.filter(is_judged), passages.filter(~is_judged).head(NUM_OTHERS)])
    return chosen.select(language=pl.lit(language), passage_id="_id", text="text")
