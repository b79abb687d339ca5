"""Language fairness of MLIR rankings: PEER, ranks of parallel answers, and languages' shares of the top ranks.

`ranked` is what eval.trec.rank_run gives: a run with `rank`, from 1 within a query. `languages` has a row for each
passage of the collection: `passage_id, language`. Knows neither texts nor systems; the order of rows means nothing.
"""

from collections.abc import Mapping
from typing import Any

import polars as pl

from csgen.errors import InputError
from eval.trec import rank_run

TOP_K = 20  # the cutoff in the example of PEER's authors: https://github.com/hltcoe/peer_measure

_LEVEL = ["query_id", "score"]


def measure_languages(
    run: pl.DataFrame, qrels: pl.DataFrame, languages: pl.DataFrame, top_k: int = TOP_K
) -> tuple[pl.DataFrame, tuple[dict[str, Any], ...]]:
    """PEER by query, and a row a language: `language, q25, median, q75, share_top, share_collection`.

    A language without a relevant answer has no ranks (None).
    """
    ranked = rank_run(run)
    shares = language_shares(ranked, languages, top_k)
    ranks = answer_ranks(ranked, qrels, languages).select("language", "q25", "median", "q75")
    rows = shares.join(ranks, on="language", how="left", maintain_order="left")
    rows = rows.select("language", "q25", "median", "q75", "share_top", "share_collection")
    return peer(ranked, qrels, languages, top_k), tuple(rows.to_dicts())


def peer(
    ranked: pl.DataFrame,
    qrels: pl.DataFrame,
    languages: pl.DataFrame,
    top_k: int = TOP_K,
    weights: Mapping[int, float] | None = None,
) -> pl.DataFrame:
    """`query_id` and `PEER@top_k`, in [0, 1], sorted by query: 1 is fair, near 0 is a ranking that prefers a language.

    PEER, the probability of equal expected rank (Yang, Jänich, Mayfield & Lawrie, SIGIR 2024,
    https://doi.org/10.1145/3626772.3657943), is the sum over relevance levels r of w_r p_r. p_r is the p-value of the
    Kruskal-Wallis test (https://doi.org/10.1080/01621459.1952.10483441) that the ranks of the passages judged r come
    from one distribution whatever their language. With these N passages put in order, ties sharing their mean place,
    z their place less the mean place (N + 1) / 2, and n passages of a language,

        H = (N - 1) * sum over languages of n * mean(z)^2 / sum over passages of z^2,   p = P(chi2 > H)

    with one degree of freedom less than languages: as scipy.stats.kruskal, with its correction for ties.

    - Passages beyond the cutoff or not retrieved are tied behind all others. If all are tied, nobody is preferred: 1.
      So a run that finds nothing is fair; PEER says nothing of effectiveness.
    - A level is left out where the test cannot tell anything: one language alone, or no language with two passages
      (then H = N - 1 whatever the ranking). The weights of the query's other levels are scaled to sum to 1, and a query
      without any such level has no row. With one answer a language nothing is left: see language_effect.
    - Without `weights`, all levels above 0 weigh the same. Passages without a judgement belong to no level, and those
      judged 0 count only if `weights` has 0.
    """
    if weights is not None and (min(weights.values(), default=0) < 0 or not any(weights.values())):
        raise InputError(
            f"PEER: weights of relevance levels must be 0 or more, one of them above 0, got {dict(weights)}"
        )
    levels = qrels["score"].unique().sort()
    wanted = {int(level): 1.0 for level in levels if level > 0} if weights is None else dict(weights)
    weighted = pl.DataFrame(
        {"score": list(wanted), "weight": list(wanted.values())}, {"score": pl.Int64, "weight": pl.Float64}
    )
    judged = qrels.join(weighted.filter(pl.col("weight") > 0), on="score")
    tested = _test_levels(_place(ranked, judged, languages, top_k))
    value = (pl.col("weight") * pl.col("p")).sum() / pl.col("weight").sum()
    by_query = tested.join(weighted, on="score", maintain_order="left").group_by("query_id", maintain_order=True)
    return by_query.agg(value.clip(0, 1).alias(f"PEER@{top_k}"))


def _test_levels(placed: pl.DataFrame) -> pl.DataFrame:
    """`query_id, score, p` of each level that the test can tell something of."""
    in_language = placed.group_by(*_LEVEL, "language", maintain_order=True).agg(
        n=pl.len().cast(pl.Float64), mean=pl.col("z").mean(), total=(pl.col("z") ** 2).sum()
    )
    levels = in_language.group_by(_LEVEL, maintain_order=True).agg(
        num_languages=pl.len(),
        most=pl.col("n").max(),
        n=pl.col("n").sum(),
        between=(pl.col("n") * pl.col("mean") ** 2).sum(),
        total=pl.col("total").sum(),
    )
    telling = levels.filter(pl.col("num_languages") > 1, pl.col("most") > 1)
    h = pl.when(pl.col("total") > 0).then((pl.col("n") - 1) * pl.col("between") / pl.col("total")).otherwise(0.0)
    statistics = telling.select(*_LEVEL, h=h, freedom=(pl.col("num_languages") - 1).cast(pl.Float64))
    return statistics.select(*_LEVEL, p=_upper_tail(statistics["freedom"], statistics["h"]))


def _upper_tail(freedom: pl.Series, h: pl.Series) -> pl.Series:
    """P(chi2 > h) for each degree of freedom."""
    try:
        from scipy.special import chdtrc
    except ImportError as error:
        raise InputError("PEER needs scipy: pip install 'csgen[eval]'") from error
    return pl.Series("p", chdtrc(freedom.to_numpy(), h.to_numpy()), dtype=pl.Float64)


def language_effect(
    ranked: pl.DataFrame, qrels: pl.DataFrame, languages: pl.DataFrame, top_k: int = TOP_K
) -> float | None:
    """The share of the variance of relevant passages' places that their language explains: 0 is fair, 1 is not.

    The places are those among a query's relevant passages, as in `peer` (z), but over all queries at once: sum over
    languages of n * mean(z)^2 / sum over passages of z^2. With one answer a language and query, where PEER is mute, it
    is Kendall's W with its correction for ties: 1 if languages come in the same order for every query. Chance alone
    gives some 1 / (number of queries). 0 if nothing is ranked before anything else; None without relevant passages.
    """
    relevant = qrels.filter(pl.col("score") > 0).with_columns(score=pl.lit(1, pl.Int64))
    placed = _place(ranked, relevant, languages, top_k)
    if placed.is_empty():
        return None
    in_language = placed.group_by("language", maintain_order=True).agg(
        n=pl.len().cast(pl.Float64), mean=pl.col("z").mean()
    )
    total = float((placed["z"] ** 2).sum())
    return float((in_language["n"] * in_language["mean"] ** 2).sum()) / total if total else 0.0


def answer_ranks(ranked: pl.DataFrame, qrels: pl.DataFrame, languages: pl.DataFrame) -> pl.DataFrame:
    """`language, q25, median, q75, num_queries`, sorted: quartiles of the rank of each query's answers by language.

    An answer is the best ranked of the query's relevant passages in a language; one that is not retrieved has the rank
    after the longest ranking of the run. Quartiles lie between two ranks where need be (linear interpolation). An empty
    run has no ranks, so no rows.
    """
    relevant = _with_language(qrels.filter(pl.col("score") > 0), languages, "qrels")
    if ranked.is_empty():
        relevant = relevant.clear()
    found = relevant.join(ranked.select("query_id", "passage_id", "rank"), on=["query_id", "passage_id"], how="left")
    rank = pl.col("rank").fill_null(pl.lit(ranked["rank"].max()) + 1).min().cast(pl.Float64)
    answers = found.group_by("language", "query_id").agg(rank=rank)
    quartiles = {"q25": 0.25, "median": 0.5, "q75": 0.75}
    return (
        answers.group_by("language")
        .agg(
            *(pl.col("rank").quantile(at, "linear").alias(name) for name, at in quartiles.items()),
            num_queries=pl.len().cast(pl.Int64),
        )
        .sort("language")
    )


def language_shares(ranked: pl.DataFrame, languages: pl.DataFrame, top_k: int = TOP_K) -> pl.DataFrame:
    """`language, share_top, share_collection`, sorted: a language's share of the top ranks and of all passages.

    Each column sums to 1, but for `share_top` of an empty run: 0 throughout.
    """
    top = _with_language(ranked.filter(pl.col("rank") <= top_k).select("query_id", "passage_id"), languages, "run")
    counts = top.group_by("language").agg(num_top=pl.len())
    sizes = languages.group_by("language").agg(num_passages=pl.len()).sort("language")
    both = sizes.join(counts, on="language", how="left", maintain_order="left").with_columns(
        pl.col("num_top").fill_null(0)
    )
    share_top = pl.col("num_top") / max(top.height, 1)
    return both.select("language", share_top=share_top, share_collection=pl.col("num_passages") / languages.height)


def share_distance(shares: pl.DataFrame) -> float:
    """Total variation: half the sum of |share_top - share_collection|, which is what one language has at others' cost.

    In [0, 1]; 0 where the top ranks mirror the collection.
    """
    return float((shares["share_top"] - shares["share_collection"]).abs().sum()) / 2


def _place(ranked: pl.DataFrame, judged: pl.DataFrame, languages: pl.DataFrame, top_k: int) -> pl.DataFrame:
    """`query_id, score, language, z` of each judged passage: its place among its query's of that score, less the mean.

    Passages beyond the cutoff are tied; so are none within it. Sorted, so that sums are the same for any order of rows.
    """
    top = ranked.filter(pl.col("rank") <= top_k).select("query_id", "passage_id", pl.col("rank").cast(pl.Int64))
    found = _with_language(judged, languages, "qrels").join(top, on=["query_id", "passage_id"], how="left")
    place = pl.col("rank").fill_null(top_k + 1).rank("average") - (pl.len() + 1) / 2
    return found.sort(*_LEVEL, "passage_id").select(*_LEVEL, "language", z=place.over(_LEVEL))


def _with_language(rows: pl.DataFrame, languages: pl.DataFrame, source: str) -> pl.DataFrame:
    """The rows with their passage's `language`. A passage that the collection lacks is an InputError."""
    known = languages.select("passage_id", "language")
    joined = rows.join(known, on="passage_id", how="left", validate="m:1")
    if (unknown := joined.filter(pl.col("language").is_null())).height:
        query, passage = unknown.select("query_id", "passage_id").row(0)
        raise InputError(
            f"{source}: query {query!r} names the passage {passage!r}, which is not in the collection; "
            "use the run, the qrels and the passages of one collection"
        )
    return joined
