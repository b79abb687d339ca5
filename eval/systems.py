"""Systems: whatever gives a run for a cell. Rankers find passages by themselves, rerankers reorder
candidates; anything that scores pairs of texts is a reranker.

Knows no model and no index: what needs one comes from outside, as a Ranker or a Scorer.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import polars as pl
import pyarrow as pa
from numpy.typing import NDArray

from csgen.errors import CsgenError, InputError
from csgen.files import find_file
from csgen.sources.draws import counter, hash_column, mix
from eval.benchmark import Reading
from eval.pool import ScorePool
from eval.settings import Cell
from eval.trec import check_run, read_run, refuse_other_split

Translate = Callable[[pl.Series, pl.Series], pl.Series]  # texts and the language of each to other texts

BLOCK_PAIRS = 50_000  # pairs scored between two writes of the pool: what a killed process loses at most


class Scorer(Protocol):
    """Scores pairs of texts: a reranker, an encoder, a lexical measure."""

    def score(self, pairs: pa.Table) -> NDArray[np.float32]:
        """One score a pair, the higher the more relevant; `pairs` has the columns query and passage (string).

        A score is a function of the two texts alone.
        """
        ...


class Ranker(Protocol):
    """Finds passages for a cell's queries by itself."""

    def rank(self, reading: Reading, top_k: int) -> pl.DataFrame:
        """`query_id, passage_id, score` with at most `top_k` passages a query; queries without a hit are missing."""
        ...


class Reranker(Protocol):
    """Gives candidates another order."""

    def rerank(self, reading: Reading, candidates: pl.DataFrame) -> pl.DataFrame:
        """The rows of `candidates` (query_id, passage_id, score) with other scores."""
        ...


class Oracle:
    """The candidates in the order of their grades; equal grades keep the candidates' order, equal ones of these by lot.

    A lot for each passage, so that of parallel answers no language is always the first.
    """

    def rerank(self, reading: Reading, candidates: pl.DataFrame) -> pl.DataFrame:
        grades = reading.qrels.rename({"score": "grade"})
        graded = candidates.join(grades, on=["query_id", "passage_id"], how="left", maintain_order="left")
        order = ["query_id", "score", "lot"]
        ordered = graded.with_columns(lot=_draw(graded, 0)).sort(order, descending=[False, True, False])
        place = pl.int_range(1, pl.len() + 1).over("query_id")
        return ordered.select("query_id", "passage_id", score=pl.col("grade").fill_null(0).clip(0) + 1 / (1 + place))


@dataclass(frozen=True)
class RandomOrder:
    """The candidates in an order drawn from seed, query id and passage id."""

    seed: int

    def rerank(self, reading: Reading, candidates: pl.DataFrame) -> pl.DataFrame:
        return candidates.with_columns(score=_draw(candidates, self.seed))


def _draw(pairs: pl.DataFrame, seed: int) -> pl.Series:
    """A draw in [0, 1) for each row's query and passage, of 24 bits: what a float32 tells apart."""
    salt = np.uint64(mix(np.full(1, counter(seed + 1)))[0])
    drawn = mix(mix(hash_column(pairs["query_id"]) ^ salt) ^ hash_column(pairs["passage_id"]))
    return pl.Series((drawn >> np.uint64(40)) / 2.0**24, dtype=pl.Float64)


@dataclass(frozen=True)
class RunFiles:
    """Runs of any system, from files: `path` with the cell's own in place of {cell} and the others."""

    path: str
    seed: int

    def file_of(self, benchmark: str, cell: Cell) -> str:
        """The file of a cell, plain or compressed; an InputError where there is none."""
        path = self.path.format(
            benchmark=benchmark, setting=cell.setting, cell=cell.name, query_language=cell.query_language,
            passage_language=cell.passage_language, seed=self.seed,
        )  # fmt: skip
        if (found := find_file(path)) is None:
            raise InputError.at(path, None, f"no such run, plain or compressed; the cell {cell.name} needs one")
        return found

    def rank(self, reading: Reading, top_k: int) -> pl.DataFrame:
        path = self.file_of(reading.benchmark.name, reading.cell)
        run = read_run(path)
        benchmark = reading.benchmark
        refuse_other_split(run, path, benchmark.qrels, benchmark.qrels_path)
        check_run(run, path, benchmark.query_ids(reading.cell.query_languages), reading.passages["passage_id"])
        return run.join(reading.queries, on="query_id", how="semi").select("query_id", "passage_id", "score")


def take_over(hits: pl.DataFrame, reading: Reading) -> pl.DataFrame:
    """Hits of another cell as candidates of this one, by the ids that the languages of a collection share."""
    own = reading.passages.select("id", pl.col("passage_id").alias("own_id"))
    return (
        hits.join(reading.queries, on="query_id", how="semi")
        .join(own, left_on="passage_id", right_on="id")
        .select("query_id", pl.col("own_id").alias("passage_id"), "score")
    )


@dataclass(frozen=True)
class PooledScorer:
    """A scorer that is asked for each pair of texts once: what it gave before comes from the pool."""

    scorer: Scorer
    key: str  # names the scorer and all that its scores depend on
    pool: ScorePool

    def score(self, pairs: pl.DataFrame) -> NDArray[np.float32]:
        """The score of each row of `pairs` (query, passage); what is new is in the pool once this returns."""
        hashes = pairs.select(query=_hashed("query"), passage=_hashed("passage"))
        scores = self.pool.find(self.key, hashes)
        if (unknown := np.isnan(scores)).any():
            missing = pairs.with_columns(query_hash=hashes["query"], passage_hash=hashes["passage"]).filter(unknown)
            self._score(missing.unique(["query_hash", "passage_hash"], keep="first", maintain_order=True))
            scores = self.pool.find(self.key, hashes)
        return scores

    def _score(self, pairs: pl.DataFrame) -> None:
        for block in pairs.iter_slices(BLOCK_PAIRS):
            scores = np.asarray(self.scorer.score(block.select("query", "passage").to_arrow()), np.float32)
            if scores.shape != (len(block),):
                raise CsgenError(f"{self.key}: expected {len(block)} scores, one a pair, got shape {scores.shape}")
            if not np.isfinite(scores).all():
                row = int(np.argmin(np.isfinite(scores)))
                query, passage = (block[name][row][:60] for name in ("query", "passage"))
                raise CsgenError(f"{self.key}: score {scores[row]} for the query {query!r}, passage {passage!r}")
            hashes = block.select(query="query_hash", passage="passage_hash")
            self.pool.add(self.key, hashes.with_columns(score=pl.Series(scores)))


def _leave(texts: pl.Series, languages: pl.Series) -> pl.Series:
    return texts


@dataclass(frozen=True)
class PairReranker:
    """Candidates in the order of a scorer's scores of their texts, which may be translated first."""

    scorer: PooledScorer
    translate: Translate = _leave

    def rerank(self, reading: Reading, candidates: pl.DataFrame) -> pl.DataFrame:
        scores = self.scorer.score(_join_texts(candidates, reading, self.translate))
        return candidates.with_columns(score=pl.Series(scores, dtype=pl.Float64))


def _join_texts(found: pl.DataFrame, reading: Reading, translate: Translate) -> pl.DataFrame:
    """`query, passage` of each row of `found`, in its order; each query and each passage is translated once."""
    queries = reading.queries.select("query_id", query=translate(reading.queries["text"], reading.queries["language"]))
    joined = found.join(queries, on="query_id", how="left", maintain_order="left")
    passages = reading.passage_texts(found["passage_id"])
    passages = passages.with_columns(passage=translate(passages["passage"], passages["language"]))
    return joined.join(passages, on="passage_id", how="left", maintain_order="left").select("query", "passage")


def _hashed(name: str) -> pl.Expr:
    return pl.col(name).map_batches(lambda texts: pl.Series(hash_column(texts), dtype=pl.UInt64), pl.UInt64)
