"""Search of an index as a system of the evaluation: a ranker of cells, which finds no passage but the cell's."""

from functools import cache

import numpy as np
import polars as pl
from numpy.typing import NDArray

from csgen.errors import InputError
from eval.benchmark import Benchmark, Reading
from eval.experiment import IndexSpec
from eval.systems import Ranker
from eval.variants.expansions import Expansions, expand, read_expansions, refuse_unknown
from indexing.index.index import Index
from indexing.index.opened import NO_ROW
from indexing.index.query import SearchOptions, SearchRequest
from indexing.passages import Filter
from indexing.passages.rows import LANGUAGE, PASSAGE_ID
from indexing.passages.strings import as_strings

KEPT_TEXTS = 200_000  # encoded queries: cells of an experiment share most of theirs

_RUN = {"query_id": pl.String, "passage_id": pl.String, "score": pl.Float64}


def open_index(spec: IndexSpec) -> Ranker:
    """The ranker of a specification. Each benchmark's index is opened when a cell first asks for it, and once."""
    return IndexRanker(spec)


class IndexRanker:
    """Searches all languages of a cell at once, for the queries of one language after those of another."""

    def __init__(self, spec: IndexSpec) -> None:
        self._spec = spec
        self._open = cache(Index.open)
        self._vectors: dict[tuple[str, str], NDArray[np.float32]] = {}  # by index and text
        self._expansions: dict[str, Expansions] = {}

    def rank(self, reading: Reading, top_k: int) -> pl.DataFrame:
        benchmark = reading.benchmark
        files = self._spec.files(benchmark.name)
        index, expansions = self._open(files["index"]), self._read_expansions(benchmark, files)
        allowed = _allow(index, reading)
        parts = [pl.DataFrame(schema=_RUN)]
        for queries in reading.queries.partition_by("language", maintain_order=True):
            options = SearchOptions.from_options(
                self._spec.options
                | {"top_k": top_k, "query_language": queries["language"][0]}
                | {name: files.get(name, "") for name in ("lexicon", "offsets")}
            )
            request = self._ask(index, queries, expansions, options, allowed)
            found = pl.DataFrame(index.search(request).read((LANGUAGE, PASSAGE_ID)))
            own = reading.passages.select(LANGUAGE, pl.col("id"), own_id=PASSAGE_ID)
            named = found.join(own, left_on=(LANGUAGE, PASSAGE_ID), right_on=(LANGUAGE, "id"), maintain_order="left")
            run = named.select(
                queries["query_id"].gather(named["query"]), pl.col("own_id").alias("passage_id"), "score"
            )
            parts.append(run.cast({"score": pl.Float64}))
        return pl.concat(parts)

    def _ask(
        self,
        index: Index,
        queries: pl.DataFrame,
        expansions: Expansions | None,
        options: SearchOptions,
        allowed: Filter,
    ) -> SearchRequest:
        texts, second = queries["text"].to_list(), None
        if expansions is not None:
            second = expand(queries.with_columns(text=pl.lit("")), expansions, "replace")[0]["text"].to_list()
        vectors = self._encode(index, texts) if "dense" in options.all_ways else None
        return SearchRequest(texts, vectors, second, options=options, filter=allowed)

    def _encode(self, index: Index, texts: list[str]) -> NDArray[np.float32]:
        name = str(index.folder)
        if new := [text for text in dict.fromkeys(texts) if (name, text) not in self._vectors]:
            if len(self._vectors) + len(new) > KEPT_TEXTS:
                self._vectors, new = {}, list(dict.fromkeys(texts))
            self._vectors.update(zip(((name, text) for text in new), index.encode(new)[0], strict=True))
        return np.stack([self._vectors[name, text] for text in texts])

    def _read_expansions(self, benchmark: Benchmark, files: dict[str, str]) -> Expansions | None:
        """The benchmark's expansions, all of queries that it has."""
        path = files.get("expansions")
        if path is None:
            return None
        if path not in self._expansions:
            expansions = read_expansions(path)
            queries = [
                benchmark.queries(one).select(pl.col("id").alias("query_id"), pl.lit(one).alias("language"))
                for one in benchmark.query_languages
            ]
            refuse_unknown(expansions, pl.concat(queries))
            self._expansions[path] = expansions
        return self._expansions[path]


def _allow(index: Index, reading: Reading) -> Filter:
    """The cell's passages, told by their languages where the index has no others in these."""
    passages = reading.passages
    addresses = passages.select(pl.format("{}/{}", LANGUAGE, "id")).to_series()
    missing = index.opened.find(as_strings(addresses)) == NO_ROW
    if missing.any():
        raise InputError.at(
            str(index.folder), None, f"lacks {missing.sum():,} of the {len(passages):,} passages of the cell "
            f"{reading.cell.name}, such as {addresses[int(missing.argmax())]}: build it from {reading.benchmark.folder}"
        )  # fmt: skip
    counts, languages = index.count_languages(), tuple(passages["language"].unique().sort())
    if sum(counts[language] for language in languages) == len(passages):
        return Filter.from_options({"languages": languages})
    return Filter.from_options({"addresses": tuple(addresses)})
