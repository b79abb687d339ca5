"""Learns languages' score offsets from judged queries, so that scores of passages in several languages compare.

Encoders give passages of some languages higher scores than their translations. shift: what is added makes the mean
score of relevant passages the same in all languages. affine: so it makes that of the best other passages, too.
logistic: what is added is the language's intercept in a logistic regression of relevance on the score, over the best
passages of each language, so that equal scores are equally likely relevant: a large collection has more near misses.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray
from pydantic import Field

from csgen.config import StageConfig
from csgen.errors import InputError
from csgen.sources.collection import Collection, join_titles, read_collection
from csgen.sources.draws import counter, hash_texts, mix
from indexing.index.dense import DenseSearch, Work
from indexing.index.fusion import Numbers, Ranking, merge
from indexing.index.index import Index
from indexing.index.opened import NO_ROW, OpenSegments
from indexing.index.score_offsets import Change, Effect, Kind, ScoreMap, ScoreOffsets
from indexing.passages.strings import as_strings
from indexing.vectors.search import AS_CHOSEN

TOP_K = 10  # of the effect's measures
_LEAST_SCALE, _MOST_SCALE = 0.5, 2.0  # where few judgements say more, they are wrong more likely than right
_PENALTY = 1.0  # on the square of the slope by the scores' deviation; keeps it finite where scores tell all apart

Flags = NDArray[np.bool_]
Floats = NDArray[np.float64]


class OffsetsConfig(StageConfig):
    """Options of learning offsets."""

    collection: str = Field(
        min_length=1, description="folder of a parallel collection with judged queries; may be a URI"
    )
    split: str = Field("dev", min_length=1, description="which judgements: qrels/SPLIT.tsv")
    query_languages: tuple[str, ...] = Field((), description="languages of the queries; none: all of the collection")
    kind: Kind = Field(
        "shift",
        description="shift: relevant passages of all languages get the same mean score; affine: and the best others, "
        "too, by scaling; logistic: equal scores are equally likely relevant",
    )
    candidates: int = Field(100, ge=TOP_K, description="best passages of each language that are looked at, 10 or more")


def learn_offsets(index: Index, config: OffsetsConfig, *, num_threads: int | None = None) -> ScoreOffsets:
    """The offsets of the index's languages, and their effect.

    That is measured on each half of the queries with what the other half teaches. Queries without a relevant passage
    in the index are left out; a language none of whose best passages is relevant gets no offset. No judged passage at
    all is an InputError.
    """
    collection = read_collection(config.collection)
    sample = _read_sample(index, collection, config, num_threads)
    everyone = np.ones(len(sample.halves), np.bool_)
    own = index.settings.encoder
    return ScoreOffsets(
        kind=config.kind,
        encoder=own.xxh3_128 if own else None,
        learnt_from=f"{collection.name}, split {config.split}",
        judgements={language: len(part.owners) for language, part in sample.parts.items()},
        effect=_measure(sample, config.kind, index.opened),
        languages=_learn(sample, everyone, config.kind),
    )


@dataclass(frozen=True)
class _Part:
    """Passages of one language. hits: of each query; relevant: (queries, width), which of them are.

    owners, scores: (judgements,), each relevant passage's query and score, among the hits or not.
    """

    hits: Ranking
    relevant: Flags
    owners: Numbers
    scores: NDArray[np.float64]


@dataclass(frozen=True)
class _Sample:
    """Queries, one in several languages as several, and what they find. halves: 0 or 1, by the query's id."""

    halves: Numbers
    parts: Mapping[str, _Part]


def _read_sample(index: Index, collection: Collection, config: OffsetsConfig, num_threads: int | None) -> _Sample:
    opened = index.opened
    judged = collection.qrels(config.split).filter(pl.col("score") > 0)
    queries = _read_queries(collection, config, judged, opened)
    vectors, _ = index.encode(queries["text"].to_list())
    search, rows = DenseSearch(opened, AS_CHOSEN, num_threads), np.arange(len(queries))
    pairs = queries.select("query_id").with_row_index("row").join(judged, on="query_id", maintain_order="left_right")
    parts = {}
    for language in opened.languages:
        allowed = opened.only(opened.live, language)
        hits = search.search(vectors, rows, config.candidates, allowed, Work.none(len(rows)))
        numbers = _find(opened, language, pairs["passage_id"])
        known = numbers != NO_ROW
        owners, numbers = pairs["row"].to_numpy()[known].astype(np.int64), numbers[known]
        passages = opened.take_vectors(numbers)
        scores = np.einsum("ij,ij->i", vectors[owners].astype(np.float64), passages.astype(np.float64))
        parts[language] = _Part(hits, _mark_relevant(hits, owners, numbers), owners, scores)
    halves = mix(hash_texts(queries["query_id"]) ^ counter(1)) >> np.uint64(63)
    return _Sample(halves.astype(np.int64), parts)


def _read_queries(
    collection: Collection, config: OffsetsConfig, judged: pl.DataFrame, opened: OpenSegments
) -> pl.DataFrame:
    """`query_id, text` of the queries that have a relevant passage in the index, language by language."""
    there = np.any([_find(opened, language, judged["passage_id"]) != NO_ROW for language in opened.languages], axis=0)
    answered = judged.filter(pl.Series(np.broadcast_to(there, len(judged))))["query_id"].unique().implode()
    texts = [join_titles(collection.queries(one)) for one in config.query_languages or collection.languages]
    queries = pl.concat(texts).rename({"_id": "query_id"}).filter(pl.col("query_id").is_in(answered))
    if queries.is_empty():
        raise InputError.at(
            config.collection, None, f"no query of the split {config.split!r} has a relevant passage in the index: "
            "give the collection that it was built from"
        )  # fmt: skip
    return queries


def _find(opened: OpenSegments, language: str, passage_ids: pl.Series) -> Numbers:
    return opened.find(as_strings(f"{language}/" + passage_ids))


def _mark_relevant(hits: Ranking, owners: Numbers, numbers: Numbers) -> Flags:
    """Which hits are among the pairs of a query and a passage."""
    known = np.unique(numbers)
    if not len(known):
        return np.zeros(hits.numbers.shape, np.bool_)
    places = np.minimum(np.searchsorted(known, hits.numbers), len(known) - 1)
    keys = np.arange(len(hits.numbers))[:, None] * len(known) + places
    wanted = owners * len(known) + np.searchsorted(known, numbers)
    relevant: Flags = (known[places] == hits.numbers) & np.isin(keys, wanted)
    return relevant


def _learn(sample: _Sample, queries: Flags, kind: Kind) -> dict[str, ScoreMap]:
    """The maps by what some of the queries find."""
    return _regress(sample, queries) if kind == "logistic" else _match_means(sample, queries, kind)


def _match_means(sample: _Sample, queries: Flags, kind: Kind) -> dict[str, ScoreMap]:
    relevant, others = {}, {}
    for language, part in sample.parts.items():
        own = queries[part.owners]
        is_other = (part.hits.numbers != NO_ROW) & ~part.relevant & queries[:, None]
        if own.any() and is_other.any():
            relevant[language] = float(part.scores[own].mean())
            others[language] = float(part.hits.scores[is_other].mean(dtype=np.float64))
    if not relevant:
        return {}
    mean, other = np.mean(list(relevant.values())), np.mean(list(others.values()))
    maps = {}
    for language, own_mean in relevant.items():
        scale, gap = 1.0, own_mean - others[language]
        if kind == "affine" and gap > 0:
            scale = float(np.clip((mean - other) / gap, _LEAST_SCALE, _MOST_SCALE))
        maps[language] = ScoreMap(scale=scale, shift=float(mean - scale * own_mean))
    return maps


def _regress(sample: _Sample, queries: Flags) -> dict[str, ScoreMap]:
    """Of one slope and an intercept by language, those of the largest likelihood."""
    from scipy.optimize import minimize
    from scipy.special import expit

    names, scores, relevant = [], [], []
    for language, part in sample.parts.items():
        found = (part.hits.numbers != NO_ROW) & queries[:, None]
        own = part.relevant[found]
        if own.any() and not own.all():
            names.append(language)
            scores.append(part.hits.scores[found].astype(np.float64))
            relevant.append(own)
    if not names:
        return {}
    every = np.concatenate(scores)
    centre, spread = every.mean(), max(float(every.std()), 1e-9)
    centred = [(own - centre) / spread for own in scores]

    def loss(given: Floats) -> tuple[float, Floats]:
        slope, gradient = given[0], _PENALTY * given * (np.arange(len(given)) == 0)
        total = _PENALTY * slope * slope / 2
        for place, (own, is_relevant) in enumerate(zip(centred, relevant, strict=True), start=1):
            logits = slope * own + given[place]
            total += np.logaddexp(0, logits).sum() - logits[is_relevant].sum()
            excess = expit(logits) - is_relevant
            gradient[0] += excess @ own
            gradient[place] = excess.sum()
        return float(total), gradient

    bounds = [(1e-3, None)] + [(None, None)] * len(names)  # a higher score is never less likely relevant
    slope, *intercepts = minimize(loss, np.eye(1, len(bounds))[0], jac=True, method="L-BFGS-B", bounds=bounds).x
    shifts = (np.array(intercepts) - np.mean(intercepts)) * spread / slope
    return {name: ScoreMap(shift=float(shift)) for name, shift in zip(names, shifts, strict=True)}


def _measure(sample: _Sample, kind: Kind, opened: OpenSegments) -> Effect:
    mapped: list[Ranking] = []
    learnt = [_learn(sample, sample.halves != half, kind) for half in (0, 1)]
    for language, part in sample.parts.items():
        own = [maps.get(language, ScoreMap()) for maps in learnt]
        scale, shift = np.array([one.scale for one in own]), np.array([one.shift for one in own])
        scores = scale[sample.halves, None] * part.hits.scores + shift[sample.halves, None]
        mapped.append(Ranking(part.hits.numbers, scores.astype(np.float32)))
    before = _measure_once(sample, [part.hits for part in sample.parts.values()], opened)
    after = _measure_once(sample, mapped, opened)
    changes = [Change(before=b, after=a) for b, a in zip(before, after, strict=True)]
    return Effect(
        queries=len(sample.halves), reciprocal_rank=changes[0], recall=changes[1],
        shares=dict(zip(sample.parts, changes[2:], strict=True)),
    )  # fmt: skip


def _measure_once(sample: _Sample, lists: list[Ranking], opened: OpenSegments) -> list[float]:
    """Reciprocal rank, recall, and the languages' shares of the best ten."""
    parts = list(sample.parts.values())
    relevant = np.concatenate([part.hits.numbers[part.relevant] for part in parts])
    rows = np.concatenate([np.nonzero(part.relevant)[0] for part in parts])
    best = merge(lists, opened, TOP_K)
    found = _mark_relevant(best, rows, relevant)
    ranks = np.where(found.any(axis=1), found.argmax(axis=1) + 1, np.inf)
    num_relevant = np.bincount(np.concatenate([part.owners for part in parts]), minlength=len(sample.halves))
    languages = opened.find_languages(best.numbers)
    shares = [float((languages == number).sum() / max((languages >= 0).sum(), 1)) for number in range(len(parts))]
    return [float((1 / ranks).mean()), float((found.sum(axis=1) / num_relevant).mean()), *shares]
