"""Benchmarks: a parallel collection with one split of its judgements, read as the cells of the settings ask for it.

Knows texts and judgements by language; no system and no measure. Each file is read once.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal

import numpy as np
import polars as pl

from csgen.errors import InputError
from csgen.files import find_file, join
from csgen.sources.collection import COLLECTION_NAME, Collection, join_titles, read_collection
from csgen.sources.draws import counter, hash_texts, mix
from eval.settings import Cell, draw_languages
from eval.trec import refuse_without_relevant

Unanswered = Literal["refuse", "leave-out"]


@dataclass(frozen=True)
class Reading:
    """A cell with its data: what a system gets to see, and the judgements that its run is held against.

    `passages` tells for each passage of the cell its id there, its id in the collection, its language, and its row
    among that language's passages. `left_out`: judged queries without a relevant passage in the cell's languages.
    """

    benchmark: "Benchmark"
    cell: Cell
    queries: pl.DataFrame  # query_id, language, text
    passages: pl.DataFrame  # passage_id, id, language, row
    qrels: pl.DataFrame  # query_id, passage_id, score
    left_out: int

    def passage_texts(self, passage_ids: pl.Series) -> pl.DataFrame:
        """`passage_id, language, passage` of the distinct ones among these ids."""
        wanted = self.passages.filter(pl.col("passage_id").is_in(passage_ids.unique().implode()))
        texts = [
            part.select(
                "passage_id", "language", passage=self.benchmark.passages(str(language))["text"].gather(part["row"])
            )
            for (language,), part in wanted.group_by("language", maintain_order=True)
        ]
        schema = dict.fromkeys(("passage_id", "language", "passage"), pl.String)
        return pl.concat(texts) if texts else pl.DataFrame(schema=schema)

    def only(self, queries: pl.DataFrame) -> "Reading":
        """The same cell with these queries alone, whatever their texts."""
        qrels = self.qrels.join(queries, on="query_id", how="semi", maintain_order="left")
        return replace(self, queries=queries, qrels=qrels)


class Benchmark:
    """A collection's texts and the judgements of one split."""

    def __init__(
        self,
        name: str,
        folder: str,
        split: str,
        unanswered: Unanswered = "refuse",
        num_queries: int | None = None,
        languages: Sequence[str] = (),
    ) -> None:
        """`unanswered`: what is done about queries without a relevant passage. The folder must be a collection.

        `num_queries` and `languages`: how many queries are drawn, among those of which languages (none: all).
        """
        self.unanswered = unanswered
        self.num_queries = num_queries
        self._languages = languages
        self.name = name
        self.split = split
        self._collection: Collection = read_collection(folder)
        self._texts: dict[tuple[str, str], pl.DataFrame] = {}

    @property
    def folder(self) -> str:
        return self._collection.folder

    @property
    def query_languages(self) -> tuple[str, ...]:
        return self._collection.languages

    @property
    def passage_languages(self) -> tuple[str, ...]:
        return self._collection.passage_languages

    @property
    def description(self) -> dict[str, str]:
        """Name, licence and source, as the collection tells them."""
        one = self._collection
        return {"name": one.name, "licence": one.licence, "source": one.source}

    @cached_property
    def qrels(self) -> pl.DataFrame:
        """`query_id, passage_id, score`; every query has a relevant passage."""
        qrels = self._collection.qrels(self.split)
        if self.unanswered == "leave-out":
            qrels = qrels.filter((pl.col("score").max() > 0).over("query_id"))
        refuse_without_relevant(qrels, self.qrels_path)
        return qrels

    @cached_property
    def drawn(self) -> pl.Series | None:
        """The sorted ids of the queries that are measured on; None: those of each cell.

        Those come first that stand, with a relevant passage, in the most of the languages that take part, so that cells
        share their queries as far as they can; among equals a hash of the id draws. Of two numbers the larger one's
        hold the smaller one's.
        """
        if self.num_queries is None:
            return None
        relevant = self.qrels.filter(pl.col("score") > 0)
        ids = relevant["query_id"].unique()
        stands = pl.Series(np.zeros(len(ids), np.int64))
        for language in filter(self._takes_part, self.query_languages):
            stands += ids.is_in(self.queries(language)["id"].implode())
        for language in filter(self._takes_part, self.passage_languages):
            there = relevant.filter(pl.col("passage_id").is_in(self.passages(language)["id"].implode()))
            stands += ids.is_in(there["query_id"].implode())
        draws = pl.Series("draw", mix(hash_texts(ids) ^ counter(1)), dtype=pl.UInt64)
        order = pl.DataFrame([ids, stands.alias("stands"), draws]).sort(-pl.col("stands"), "draw", "query_id")
        return order["query_id"].head(self.num_queries).sort()

    def _takes_part(self, language: str) -> bool:
        return not self._languages or language in self._languages

    @property
    def qrels_path(self) -> str:
        return self._file("qrels", f"{self.split}.tsv")

    def queries(self, language: str) -> pl.DataFrame:
        """`id, text` of the judged queries that stand in a language, in the file's order."""
        judged = self.qrels["query_id"].unique().implode()
        return self._load("queries", language).filter(pl.col("id").is_in(judged))

    def query_ids(self, languages: Iterable[str]) -> pl.Series:
        """The ids of all queries in these languages, judged or not."""
        return pl.concat([self._load("queries", language)["id"] for language in languages]).unique()

    def passages(self, language: str) -> pl.DataFrame:
        """`id, text` of all passages in a language, in the file's order; a title stands before its text."""
        return self._load("passages", language)

    def files(self, cell: Cell) -> dict[str, str]:
        """The paths of the files that a cell is read from, by their names in the folder."""
        names = [("qrels", f"{self.split}.tsv"), *((language, "queries.jsonl") for language in cell.query_languages)]
        names += [(language, "passages.jsonl") for language in cell.passage_languages]
        return {"/".join(name): self._file(*name) for name in names} | {COLLECTION_NAME: self._file(COLLECTION_NAME)}

    def read(self, cell: Cell) -> Reading:
        """The cell's queries, passages and judgements. Queries without a relevant passage there are left out."""
        queries = self._read_queries(cell)
        if self.drawn is not None:
            queries = queries.filter(pl.col("query_id").is_in(self.drawn.implode()))
        passages = self._read_passages(cell)
        qrels = (
            self.qrels.rename({"passage_id": "id"})
            .join(queries.select("query_id"), on="query_id", how="semi")
            .join(passages.select("id", "passage_id"), on="id")
            .select("query_id", "passage_id", "score")
            .sort("query_id", "passage_id")
        )
        answered = qrels.filter(pl.col("score") > 0)["query_id"].unique().implode()
        kept = queries.filter(pl.col("query_id").is_in(answered))
        if kept.is_empty():
            raise InputError.at(
                self.folder,
                None,
                f"{cell.name}: no query of the split {self.split!r} has a relevant passage in these languages; leave "
                "the cell out",
            )
        qrels = qrels.filter(pl.col("query_id").is_in(answered))
        return Reading(self, cell, kept, passages, qrels, len(queries) - len(kept))

    def _read_queries(self, cell: Cell) -> pl.DataFrame:
        texts = {language: self.queries(language) for language in cell.query_languages}
        drawn = draw_languages({language: rows["id"] for language, rows in texts.items()}, cell.seed, "query")
        parts = [
            drawn.filter(language=language).join(rows, on="id", maintain_order="left")
            for language, rows in texts.items()
        ]
        return pl.concat(parts).sort("id").select(pl.col("id").alias("query_id"), "language", "text")

    def _read_passages(self, cell: Cell) -> pl.DataFrame:
        rows = {
            language: self.passages(language).select(
                "id", pl.lit(language).alias("language"), pl.int_range(pl.len(), dtype=pl.Int64).alias("row")
            )
            for language in cell.passage_languages
        }
        if cell.pooled:
            named = pl.format("{}/{}", "language", "id")
            return pl.concat(rows.values()).with_columns(passage_id=named).select("passage_id", "id", "language", "row")
        if len(rows) > 1:
            drawn = draw_languages({language: one["id"] for language, one in rows.items()}, cell.seed, "passage")
            rows = {language: one.join(drawn, on=["id", "language"], how="semi") for language, one in rows.items()}
        return pl.concat(rows.values()).with_columns(passage_id="id").select("passage_id", "id", "language", "row")

    def _load(self, kind: str, language: str) -> pl.DataFrame:
        if (kind, language) not in self._texts:
            load = self._collection.queries if kind == "queries" else self._collection.passages
            self._texts[kind, language] = join_titles(load(language)).rename({"_id": "id"})
        return self._texts[kind, language]

    def _file(self, *names: str) -> str:
        return find_file(join(self.folder, *names)) or join(self.folder, *names)
