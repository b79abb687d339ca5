"""Pairs put into other languages: a parallel collection's texts stand in the place of the English ones, by their ids.

What training on human translations and pre-training on monolingual text are made of. Knows tables and collections.
"""

from typing import Literal, Self

import numpy as np
import polars as pl
from pydantic import Field, model_validator

from csgen.config import StageConfig
from csgen.errors import InputError
from csgen.sources.collection import Collection, join_titles, read_collection
from csgen.sources.draws import Words, counter, hash_texts, mix
from csgen.sources.pairs import format_of

ADDRESS = "/"  # between language and id
MAX_ATTEMPTS = 100  # at filling a place with another passage

Languages = tuple[tuple[str, str], ...]  # query and passage


class ParallelConfig(StageConfig):
    """Options of `csgen parallel`."""

    pairs: str = Field(
        min_length=1,
        description="pairs whose ids are the collection's: Parquet, JSON lines, TSV, or the collection itself",
    )
    collection: str = Field(min_length=1, description="folder of a parallel collection, which has the texts")
    split: str = Field("train", min_length=1, description="qrels to make pairs of where PAIRS is a collection")
    output: str = Field(min_length=1, description="Parquet file to write; may be a URI")
    languages: tuple[str, ...] = Field((), description="languages of queries and passages, e.g. de,it,en")
    query_languages: tuple[str, ...] = Field((), description="languages of queries, in place of --languages")
    passage_languages: tuple[str, ...] = Field((), description="languages of passages, in place of --languages")
    mix: Literal["same", "one", "drawn"] = Field(
        "same",
        description="same: every query in each language, its passages in the query's; one: in one language alone, so "
        "that no text has its translation beside it, poor languages the oftener; drawn: every query draws one "
        "language, and its passages another",
    )
    positives_only: bool = Field(False, description="leave out negatives: for texts to pre-train on")
    seed: int = Field(0, ge=0, lt=1 << 63, description="seed of all draws, 0 or more")

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if not (self.languages or (self.query_languages and self.passage_languages)):
            raise ValueError("give --languages, or both --query-languages and --passage-languages")
        if self.mix != "drawn" and (self.query_languages or self.passage_languages):
            raise ValueError("--query-languages and --passage-languages go with --mix drawn")
        if format_of(self.output) != "parquet":
            raise ValueError(f"--output {self.output}: must end in .parquet")
        return self

    def open_collection(self) -> Collection:
        """The collection; a language that it lacks is an InputError."""
        collection = read_collection(self.collection)
        for side, wanted, known in (
            ("queries", self.query_languages or self.languages, collection.languages),
            ("passages", self.passage_languages or self.languages, collection.passage_languages),
        ):
            if unknown := sorted({*wanted} - {*known}):
                raise InputError.at(
                    self.collection, None, f"no {side} in {', '.join(unknown)}; there are {', '.join(known)}"
                )
        return collection


def put_into_languages(pairs: pl.DataFrame, config: ParallelConfig) -> tuple[pl.DataFrame, dict[str, int]]:
    """The pairs in the languages asked for, by query id, positives first; and counts.

    `pairs` has `query_id, passage_id, label`. A query stands in a language where it and one of its positives do; each
    has as many negatives as in `pairs`: those that lack the language are replaced by passages drawn from the language.
    """
    collection = config.open_collection()
    rows = pairs.select("query_id", "passage_id", "label").unique(["query_id", "passage_id"], maintain_order=True)
    if config.positives_only:
        rows = rows.filter(pl.col("label") > 0)
    queries = _texts(collection.queries, config.query_languages or config.languages, rows["query_id"])
    passages = _texts(collection.passages, config.passage_languages or config.languages, rows["passage_id"])
    placed = _place(rows, queries, passages, config)
    found = placed.join(passages.rename({"language": "passage_language", "id": "passage_id", "text": "passage"}),
                        on=["passage_language", "passage_id"], how="inner", maintain_order="left")  # fmt: skip
    filled = _fill(rows, placed, found, passages, config.seed)
    whole = pl.concat([found, filled]).join(
        queries.rename({"language": "query_language", "id": "query_id", "text": "query"}),
        on=["query_language", "query_id"], how="inner", maintain_order="left",
    )  # fmt: skip
    whole = whole.sort("query_id", "query_language", pl.col("label") <= 0, "passage_id")
    counts = {
        "pairs": len(whole), "queries": whole.select("query_id", "query_language").n_unique(),
        "negatives drawn": len(filled),
        "queries left out": rows["query_id"].n_unique() - whole["query_id"].n_unique(),
    }  # fmt: skip
    if config.mix == "same":  # a query in two languages is two queries
        whole = whole.with_columns(query_id=pl.concat_str("query_language", "query_id", separator=ADDRESS))
    return whole, counts


def _texts(load: object, languages: tuple[str, ...], ids: pl.Series) -> pl.DataFrame:
    """`language, id, text` of the ids in each of the languages that has them."""
    parts = []
    for language in languages:
        texts = join_titles(load(language)).rename({"_id": "id"})  # type: ignore[operator]
        parts.append(texts.join(pl.DataFrame({"id": ids.unique()}), on="id", how="semi").with_columns(
            language=pl.lit(language)
        ))  # fmt: skip
    return pl.concat(parts).select("language", "id", "text")


def _place(rows: pl.DataFrame, queries: pl.DataFrame, passages: pl.DataFrame, config: ParallelConfig) -> pl.DataFrame:
    """`rows` with the languages in which each is to stand; a query and its passages draw theirs once."""
    asked = queries.select(query_language="language", query_id="id")
    positives = rows.filter(pl.col("label") > 0).select("query_id", "passage_id")
    answered = positives.join(passages.select(passage_id="id", passage_language="language"), on="passage_id")
    answered = answered.select("query_id", "passage_language").unique()
    if config.mix != "drawn":
        chosen = asked.join(
            answered, left_on=["query_id", "query_language"], right_on=["query_id", "passage_language"], how="semi"
        )
        if config.mix == "one":
            chosen = _draw_poor(chosen, config.seed)
        chosen = chosen.with_columns(passage_language="query_language")
    else:
        chosen = _draw(asked, "query_language", config.seed).join(
            _draw(answered, "passage_language", config.seed), on="query_id"
        )
    return rows.join(chosen, on="query_id", how="inner", maintain_order="left").select(
        "query_id", "passage_id", "label", "query_language", "passage_language"
    )


def _draw(known: pl.DataFrame, column: str, seed: int) -> pl.DataFrame:
    """For each query one of the languages that it has, all alike, by the lowest of their hashes."""
    draws = _hash_draws(known, column, 4 * seed + (1 if column == "query_language" else 2))
    return _lowest(known.with_columns(draw=pl.Series(draws, dtype=pl.UInt64)), column)


def _draw_poor(known: pl.DataFrame, seed: int) -> pl.DataFrame:
    """For each query one of the languages that it has, each weighing one by the number of its queries."""
    column = "query_language"
    uniform = (_hash_draws(known, column, 4 * seed + 3) >> np.uint64(11)).astype(np.float64) / (1 << 53)
    # The lowest of -log(u) / weight falls on each as often as its weight says: exponential races.
    waits = pl.lit(pl.Series(-np.log1p(-uniform))) * pl.len().over(column)
    return _lowest(known.with_columns(draw=waits), column)


def _hash_draws(known: pl.DataFrame, column: str, purpose: int) -> Words:
    texts = known.select(pl.concat_str("query_id", column, separator=ADDRESS)).to_series()
    return mix(hash_texts(texts) ^ mix(np.full(len(texts), counter(purpose))))


def _lowest(drawn: pl.DataFrame, column: str) -> pl.DataFrame:
    drawn = drawn.sort("query_id", "draw", column)
    return drawn.unique("query_id", keep="first", maintain_order=True).drop("draw")


def _fill(
    rows: pl.DataFrame, placed: pl.DataFrame, found: pl.DataFrame, passages: pl.DataFrame, seed: int
) -> pl.DataFrame:
    """Passages of the language in the place of the negatives that lack it, in the columns of `found`."""
    group = ["query_id", "query_language", "passage_language"]
    missing = placed.filter(pl.col("label") <= 0).join(found, on=[*group, "passage_id"], how="anti")
    known = set(rows.select(pl.concat_str("query_id", "passage_id", separator=ADDRESS)).to_series())
    parts = [found.clear()]
    for (language,), part in missing.sort(*group, "passage_id").group_by("passage_language", maintain_order=True):
        pool = passages.filter(pl.col("language") == language).sort("id")
        ids = pool["id"].to_list()
        keys = hash_texts(part.select(pl.concat_str("query_id", "passage_id", separator=ADDRESS)).to_series())
        drawn: list[int] = []
        kept: list[int] = []
        for k, (query, key) in enumerate(zip(part["query_id"], mix(keys + counter(seed + 1)), strict=True)):
            place = _draw_passage(query, int(key), ids, known)
            if place is not None:
                known.add(f"{query}{ADDRESS}{ids[place]}")
                drawn.append(place)
                kept.append(k)
        own = part[kept].drop("passage_id").hstack(pool[drawn].select(passage_id="id", passage="text"))
        parts.append(own.select(found.columns))
    return pl.concat(parts)


def _draw_passage(query: str, key: int, ids: list[str], known: set[str]) -> int | None:
    """The place of a passage that is none of the query's; None where all attempts met some."""
    draws = mix(np.uint64(key) + np.arange(1, MAX_ATTEMPTS + 1, dtype=np.uint64) * counter(1)) % np.uint64(len(ids))
    return next((int(place) for place in draws if f"{query}{ADDRESS}{ids[place]}" not in known), None)
