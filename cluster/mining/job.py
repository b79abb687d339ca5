"""The stage's shards, which are some queries each, and its output. Knows no Ray: whoever runs it places the shards."""

import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa

from cluster.mining.answers import Answers, Mine, arrange, read_pairs, read_passages
from cluster.mining.choosing import KEPT, NO_CANDIDATE, REASONS, UNFILLED, Filler, Flags, Rows, Scores, pick
from cluster.mining.config import MineConfig
from cluster.mining.retrievers import (
    BLOCK_TEXTS,
    Bm25Retriever,
    EncodeJob,
    EncoderRetriever,
    Retriever,
    encode_shard,
    one_thread,
)
from csgen.errors import InputError
from csgen.files import exists, refuse_finished
from csgen.sources.draws import counter, hash_texts, mix
from csgen.sources.pairs import describe_input
from eval.systems import Scorer
from indexing.lexical import LexicalIndex
from indexing.ranking import NO_HIT

RunShards = Callable[[Callable[[Any, int], Any], Any, list[int]], Iterable[Any]]
"""Calls a function with a job and each of some numbers, in any order and anywhere; csgen.job.map_shards is one."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class MineJob:
    """All that a worker needs: arrays, which the workers of a machine share, and the texts where a model reads them."""

    config: MineConfig
    retriever: Retriever
    answers: Answers
    candidates: Flags
    passage_hashes: np.ndarray[Any, np.dtype[np.uint64]]
    texts: dict[str, pa.Array] = field(default_factory=dict, repr=False)  # query and passage, for the reranker

    @property
    def num_shards(self) -> int:
        return -(-self.answers.num_queries // self.config.queries_per_shard)

    def score(self, queries: Rows, passages: Rows) -> Scores:
        """The scores that judge, of pairs in order of queries: the reranker's, or else the retriever's."""
        if not self.config.reranker:
            return self.retriever.score(queries, passages)
        reranker = _open_reranker(self.config.reranker, self.config.precision, self.config.max_tokens)
        scores = np.empty(len(queries), np.float32)
        starts = np.flatnonzero(np.diff(queries, prepend=-1))
        # Query by query: a batch's other pairs move a score's last bits.
        with one_thread():
            for first, end in zip(starts, [*starts[1:], len(queries)], strict=True):
                rows = {"query": queries[first:end], "passage": passages[first:end]}
                texts = pa.table({side: self.texts[side].take(pa.array(rows[side])) for side in rows})
                scores[first:end] = reranker.score(texts)
        return scores


@dataclass(frozen=True)
class Mined:
    """The negatives of some queries, (queries, negatives): those mined, best first, then random ones, then UNFILLED."""

    rows: Rows
    scores: Scores
    num_mined: Rows  # by query
    positive_scores: Scores  # of all positives of these queries, in order
    left_out: Rows  # candidates by their code in `choosing`


def read_mine(config: MineConfig) -> Mine:
    """The texts of the input. An output that is finished is refused first."""
    if config.is_folder:
        refuse_finished(config.output)
    elif exists(config.output):
        raise InputError(f"{config.output}: exists already; remove it first or give another --output")
    if ignored := describe_input(config.pairs, config.split, config.language).ignored_columns:
        log.info("%s: columns that are not read: %s", config.pairs, ", ".join(ignored))
    collection = read_passages(config.collection, config.language) if config.collection else None
    pairs = read_pairs(config.pairs, config.split, config.language)
    return arrange(pairs, collection, config.language, config.pairs)


def open_job(config: MineConfig, mine: Mine, run_shards: RunShards) -> MineJob:
    """Index the passages, here by BM25 or with an encoder in shards of their own."""
    queries, passages = mine.queries["query"], mine.passages["passage"]
    retriever: Retriever
    if config.by == "bm25":
        retriever = Bm25Retriever(queries, LexicalIndex.build(passages, config.language), mine.candidates)
    else:
        log.info("encoding %s texts", f"{len(queries) + len(passages):,}")
        vectors = [_encode(config, texts, run_shards) for texts in (queries, passages)]
        retriever = EncoderRetriever(vectors[0], vectors[1], mine.candidates)
    texts = {"query": _as_arrow(queries), "passage": _as_arrow(passages)} if config.reranker else {}
    return MineJob(config, retriever, mine.answers, mine.candidates, hash_texts(mine.passages["passage_id"]), texts)


def count_encoded(config: MineConfig, mine: Mine) -> int:
    """The shards that encode texts before those that mine."""
    if config.by == "bm25":
        return 0
    return sum(-(-len(texts) // BLOCK_TEXTS) for texts in (mine.queries, mine.passages))


def run_here(function: Callable[[Any, int], Any], job: Any, indices: list[int]) -> Iterable[Any]:
    """All shards in this process."""
    return (function(job, index) for index in indices)


def mine_shard(job: MineJob, index: int) -> tuple[int, Mined]:
    """The shard's index and its queries' negatives; the same wherever it runs and however queries are cut."""
    answers, config, limits = job.answers, job.config, job.config.limits
    first = index * config.queries_per_shard
    queries = np.arange(first, min(first + config.queries_per_shard, answers.num_queries))
    num_positives = np.diff(answers.offsets)[queries]
    hits, found = job.retriever.search(queries, limits.range_max + int(num_positives.max()))
    # A query looks at so many candidates beyond its positives, which may or may not be among the hits.
    hits[np.arange(hits.shape[1]) >= (limits.range_max + num_positives)[:, None]] = NO_HIT
    codes = answers.exclude(queries[:, None], hits)
    codes[hits == NO_HIT] = NO_CANDIDATE
    scores, positive_scores = _judging_scores(job, queries, hits, found, codes == KEPT)
    floors = np.minimum.reduceat(positive_scores, answers.offsets[queries] - answers.offsets[first])
    kept = codes == KEPT
    codes[kept] = limits.judge(scores[kept], np.broadcast_to(floors[:, None], scores.shape)[kept])
    keys = mix(answers.query_keys[queries] ^ mix(np.full(len(queries), counter(config.seed + 1))))
    draws = mix(keys[:, None] ^ job.passage_hashes[hits]) if config.sampling == "random" else None
    columns = pick(scores, codes, limits, config.negatives, draws)
    chosen = columns != UNFILLED
    rows = np.where(chosen, np.take_along_axis(hits, np.where(chosen, columns, 0), axis=1), UNFILLED)
    chosen_scores = np.where(chosen, np.take_along_axis(scores, np.where(chosen, columns, 0), axis=1), np.float32(0))
    if config.fill == "random":
        _filler(job, queries, hits).fill(rows, chosen_scores, floors, keys)
    left_out = np.bincount(codes.ravel(), minlength=NO_CANDIDATE + 1)
    return index, Mined(rows, chosen_scores, chosen.sum(axis=1), positive_scores, left_out)


def mine_all(job: MineJob, run_shards: RunShards, advance: Callable[[int], None]) -> Mined:
    """The negatives of all queries, in order; `advance` is told the queries of each shard. None at all are refused."""
    found: dict[int, Mined] = {}
    for index, part in run_shards(mine_shard, job, list(range(job.num_shards))):
        found[index] = part
        advance(len(part.rows))
    parts = [found[index] for index in range(job.num_shards)]
    mined = Mined(
        np.concatenate([part.rows for part in parts]),
        np.concatenate([part.scores for part in parts]),
        np.concatenate([part.num_mined for part in parts]),
        np.concatenate([part.positive_scores for part in parts]),
        np.sum([part.left_out for part in parts], axis=0),
    )
    if not mined.num_mined.any():
        reasons = [f"{count:,} by {name}" for name, count in zip(REASONS, mined.left_out[1:], strict=False) if count]
        raise InputError(
            f"no candidate may be a negative: left out were {', '.join(reasons) or 'none, and none was found'}; give "
            "smaller margins, other bounds on scores, a smaller --range-min or a larger --range-max"
        )
    return mined


def _judging_scores(job: MineJob, queries: Rows, hits: Rows, found: Scores, wanted: Flags) -> tuple[Scores, Scores]:
    """The scores that judge: of the hits, as far as wanted, and of the queries' positives, in order."""
    offsets = job.answers.offsets
    positives = job.answers.positives[offsets[queries[0]] : offsets[queries[-1] + 1]]
    places = np.repeat(np.arange(len(queries)), np.diff(offsets)[queries])
    if job.config.reranker:
        scores = np.zeros(hits.shape, np.float32)
        scores[wanted] = job.score(queries[np.nonzero(wanted)[0]], hits[wanted])
        return scores, job.score(queries[places], positives)
    same = hits[places] == positives[:, None]
    known = same.any(axis=1)
    positive_scores = found[places, same.argmax(axis=1)]
    positive_scores[~known] = job.score(queries[places[~known]], positives[~known])
    return found, positive_scores


def _filler(job: MineJob, queries: Rows, hits: Rows) -> Filler:
    """Random passages that were no hits, since those were judged already."""

    def admits(places: Rows, rows: Rows) -> Flags:
        fresh = (hits[places] != rows[:, None]).all(axis=1)
        return np.asarray(fresh & job.candidates[rows] & (job.answers.exclude(queries[places], rows) == KEPT))

    def score(places: Rows, rows: Rows) -> Scores:
        return job.score(queries[places], rows)

    return Filler(len(job.candidates), job.config.limits, admits, score)


@lru_cache(maxsize=1)
def _open_reranker(model: str, precision: str, max_tokens: int) -> Scorer:
    """The reranker, loaded once a process."""
    from cluster.reranker import Reranker

    return Reranker.load(model, precision=precision, max_tokens=max_tokens)


def _encode(config: MineConfig, texts: pl.Series, run_shards: RunShards) -> np.ndarray[Any, np.dtype[np.float32]]:
    job = EncodeJob(config.model, config.precision, config.max_tokens, _as_arrow(texts))
    found = dict(run_shards(encode_shard, job, list(range(job.num_shards))))
    return np.concatenate([found[index] for index in range(job.num_shards)])


def _as_arrow(texts: pl.Series) -> pa.Array:
    """Strings in one buffer, which workers share; polars' own would be copied into each."""
    return texts.to_arrow().cast(pa.large_string())
