"""The stage `csgen rerank`: candidates of a run in the order of a model's scores, shard by shard.

A shard is some queries with all their candidates. Scores go through a pool where one is given, so that a job that was
killed goes on where it stopped; the run is written once all are there.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray
from pydantic import Field

from cluster.models import hash_model, open_model
from csgen.config import StageConfig
from csgen.errors import InputError
from csgen.files import exists
from csgen.sources.collection import join_titles, read_collection
from eval.experiment import EncoderSpec, RerankerSpec
from eval.pool import ScorePool
from eval.systems import PooledScorer, Scorer
from eval.trec import check_run, rank_run, read_run, write_run
from indexing.models.carried import ENCODER, RERANKER

Scores = NDArray[np.float32]
RunShards = Callable[["RerankJob", list[int]], Iterable[tuple[int, Scores]]]


class RerankConfig(StageConfig):
    """Options of `csgen rerank`."""

    candidates: str = Field(min_length=1, description="TREC run whose passages are put in a new order; may be a URI")
    model: str = Field(
        "", description="folder, hub id or carried model of a reranker or an encoder; none: the carried one of --kind"
    )
    kind: Literal["reranker", "encoder"] = Field(
        "reranker",
        description="reranker: scores query and passage together; encoder: inner product of their embeddings",
    )
    collection: str = Field(min_length=1, description="folder of a parallel collection with the texts; may be a URI")
    query_language: str = Field("en", description="language in which the queries are read (ISO 639-1)")
    passage_language: str = Field("en", description="language in which the passages are read (ISO 639-1)")
    top_k: int | None = Field(None, ge=1, description="candidates of each query that are scored, 1 or more; none: all")
    precision: Literal["fp32", "bf16", "int8"] = Field("fp32", description="of the model's linear layers")
    max_tokens: int = Field(8192, ge=512, description="tokens of a batch, 512 or more; less needs less memory")
    scores: str = Field("", description="folder of a pool of scores: a killed job then goes on where it stopped")
    scores_mb: int = Field(4096, ge=1, description="size of the pool in MB, 1 or more; beyond, the oldest scores go")
    pairs_per_shard: int = Field(20_000, ge=1, description="pairs that one task scores, about; 1 or more")
    workers: int | None = Field(None, ge=1, description="CPUs for local Ray, 1 or more; none: all; 1: without Ray")
    output: str = Field(min_length=1, description="TREC run to write, plain or .gz; may be a URI")

    @property
    def model_path(self) -> str:
        return self.model or (RERANKER if self.kind == "reranker" else ENCODER)


@dataclass(frozen=True)
class RerankJob:
    """Ranked candidates with rows into the tables of texts, cut into shards of whole queries."""

    config: RerankConfig
    model_hash: str
    run: pl.DataFrame  # query_id, passage_id, query, passage: rows of the tables; in order of queries and ranks
    queries: pl.Series
    passages: pl.Series
    bounds: tuple[int, ...]  # shard i is the rows bounds[i] to bounds[i + 1] of `run`

    @property
    def num_shards(self) -> int:
        return len(self.bounds) - 1


def open_job(config: RerankConfig) -> RerankJob:
    """Read the candidates and the texts that they name. Unknown ids are an InputError with their line."""
    if exists(config.output):
        raise InputError(f"{config.output}: exists already; remove it first or give another --output")
    collection = read_collection(config.collection)
    queries = collection.queries(config.query_language)
    passages = collection.passages(config.passage_language)
    run = read_run(config.candidates)
    check_run(run, config.candidates, queries["_id"], passages["_id"])
    ranked = rank_run(run)
    if config.top_k is not None:
        ranked = ranked.filter(pl.col("rank") <= config.top_k)
    query_rows, query_texts = _number_texts("query", join_titles(queries), ranked)
    passage_rows, passage_texts = _number_texts("passage", join_titles(passages), ranked)
    numbered = ranked.join(query_rows, on="query_id", how="left", maintain_order="left").join(
        passage_rows, on="passage_id", how="left", maintain_order="left"
    )
    run = numbered.select("query_id", "passage_id", "query", "passage")
    bounds = _cut(run["query_id"], config.pairs_per_shard)
    return RerankJob(config, hash_model(config.model_path), run, query_texts, passage_texts, bounds)


def _number_texts(name: str, documents: pl.DataFrame, ranked: pl.DataFrame) -> tuple[pl.DataFrame, pl.Series]:
    """The ids that a run names with their row, and the texts of these rows."""
    named = documents.rename({"_id": f"{name}_id"}).join(ranked, on=f"{name}_id", how="semi", maintain_order="left")
    return named.select(f"{name}_id", pl.int_range(pl.len()).alias(name)), named["text"]


def run_shard(job: RerankJob, index: int) -> tuple[int, Scores]:
    """The shard's index and a score for each of its rows; the same wherever it runs."""
    part = job.run.slice(job.bounds[index], job.bounds[index + 1] - job.bounds[index])
    texts = pl.DataFrame({"query": job.queries.gather(part["query"]), "passage": job.passages.gather(part["passage"])})
    config = job.config
    scorer = _open_scorer(config.kind, config.model_path, config.precision, config.max_tokens)
    if not config.scores:
        return index, scorer.score(texts.to_arrow())
    key = f"{config.kind}-{job.model_hash}-{config.precision}"
    return index, PooledScorer(scorer, key, ScorePool(config.scores, config.scores_mb << 20)).score(texts)


def run_here(job: RerankJob, indices: list[int]) -> Iterator[tuple[int, Scores]]:
    """All shards in this process."""
    return (run_shard(job, index) for index in indices)


def rerank(job: RerankJob, run_shards: RunShards, advance: Callable[[int], None]) -> dict[str, int]:
    """Score all shards and write the run; `advance` is told the pairs of each shard. Returns counts."""
    found: dict[int, Scores] = {}
    for index, scores in run_shards(job, list(range(job.num_shards))):
        found[index] = scores
        advance(len(scores))
    scored = np.concatenate([found[index] for index in range(job.num_shards)])
    run = job.run.select("query_id", "passage_id", score=pl.Series(scored, dtype=pl.Float64))
    write_run(run, job.config.output, "csgen")
    return {"queries": run["query_id"].n_unique(), "pairs": len(run)}


@lru_cache(maxsize=1)
def _open_scorer(kind: str, model: str, precision: str, max_tokens: int) -> Scorer:
    """The model, loaded once a process."""
    options = {"name": kind, "kind": kind, "model": model, "precision": precision, "max_tokens": max_tokens}
    spec = RerankerSpec.from_options(options) if kind == "reranker" else EncoderSpec.from_options(options)
    return open_model(spec, model)


def _cut(query_ids: pl.Series, pairs_per_shard: int) -> tuple[int, ...]:
    """Bounds of shards that end with a query and have about so many rows; `query_ids` are in order."""
    last = query_ids.ne_missing(query_ids.shift(-1))
    ends = (last.arg_true() + 1).cast(pl.Int64)
    shards = (ends - 1) // pairs_per_shard
    return (0, *ends.filter(shards.ne_missing(shards.shift(-1))).to_list())
