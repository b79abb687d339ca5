"""How much of a corpus a lexicon covers: shares of distinct and of running tokens, by language and frequency band."""

import polars as pl

from csgen.lexicon.entries import fold_column

ALL = "all"
BANDS = {"1-100": 100, "101-1k": 1_000, "1k-10k": 10_000, ">10k": None}  # up to and including this frequency rank


def coverage(entries: pl.DataFrame, token_counts: pl.DataFrame) -> pl.DataFrame:
    """Coverage by single-word entries of the corpus whose tokens and their numbers are `token`, `count`.

    A row for each source language, target language and band of frequency ranks, "all" first; tokens are folded before
    they are ranked. `distinct_tokens` and `running_tokens` are the band's sizes; the ratios are in [0, 1]. Bands beyond
    the corpus's last rank are left out.
    """
    ranked = rank_tokens(token_counts)
    words = entries.filter(~pl.col("source").str.contains(" ", literal=True))
    pair = ["source_language", "target_language"]
    covered = words.select(*pair, key=fold_column(words["source"])).unique()
    crossed = words.select(pair).unique().join(ranked, how="cross")
    joined = crossed.join(covered.with_columns(covered=pl.lit(True)), on=[*pair, "key"], how="left")
    tokens = joined.with_columns(pl.col("covered").fill_null(False))
    by_band = pl.concat([tokens.with_columns(band=pl.lit(ALL)), tokens]).group_by(*pair, "band").agg(_sums())
    order = pl.col("band").replace_strict([ALL, *BANDS], range(len(BANDS) + 1), return_dtype=pl.Int8)
    return by_band.sort(*pair, order)


def rank_tokens(token_counts: pl.DataFrame) -> pl.DataFrame:
    """`key`, `count` and `band` of each folded token, the most frequent first, then by code points."""
    folded = token_counts.select("count", key=fold_column(token_counts["token"]))
    ranked = folded.group_by("key").agg(pl.col("count").sum()).sort("count", "key", descending=[True, False])
    rank = pl.int_range(1, pl.len() + 1)
    band = pl.coalesce([pl.when(rank <= last).then(pl.lit(name)) for name, last in BANDS.items() if last])
    return ranked.with_columns(band=band.fill_null(list(BANDS)[-1]))


def _sums() -> list[pl.Expr]:
    count, covered = pl.col("count"), pl.col("covered")
    return [
        pl.len().cast(pl.Int64).alias("distinct_tokens"),
        covered.mean().alias("distinct_ratio"),
        count.sum().cast(pl.Int64).alias("running_tokens"),
        (count.filter(covered).sum() / count.sum()).alias("running_ratio"),
    ]
