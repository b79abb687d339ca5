"""Debian's package descriptions as a parallel collection: split by source package, near-duplicates on one side.

Knows what the descriptions mean for retrieval; not how they are fetched or written.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl

from csgen.sources.collection import Description
from csgen.sources.descriptions import DebianDescriptions, fetch_descriptions
from csgen.sources.duplicates import Rows, find_near_duplicates
from csgen.sources.fetched import EnglishTexts, Fetched
from csgen.sources.splits import SPLIT_ENDS, assign_splits, contains_query, group_rows

# Test queries that their own passage holds word for word: any lexical match answers them, so they stand apart.
VERBATIM = "test-verbatim"


def fetch_debian(languages: Sequence[str], cache: str) -> Fetched:
    """The collection in English and `languages`, from this machine's package sources; apt keeps files in `cache`."""
    return split_descriptions(fetch_descriptions(languages, cache))


def split_descriptions(descriptions: DebianDescriptions) -> Fetched:
    """Split the descriptions; the same ones always give the same collection.

    Training texts are those of their own split alone. A query is relevant to every passage with the words of its own.
    """
    english = descriptions.texts["en"]
    clusters = find_near_duplicates(english["passage"])
    source_rows = english["id"].search_sorted(descriptions.sources["id"]).to_numpy().astype(np.int64)
    groups = group_rows(clusters, source_rows, descriptions.sources["source"])
    splits = assign_splits(groups, source_rows, descriptions.sources["source"])
    table = english.with_columns(group=groups, split=splits)
    table = table.with_columns(split=_set_verbatim_apart(table, descriptions.texts))
    qrels = _judge(table)
    releases = sorted({name.rsplit(" ", 1)[0] for name in descriptions.inputs})
    return Fetched(
        description=Description(
            name="Debian package descriptions",
            languages=tuple(descriptions.texts),
            licence="of each package; see its /usr/share/doc/PACKAGE/copyright",
            source="; ".join(releases),
        ),
        queries={language: _documents(rows, "query") for language, rows in descriptions.texts.items()},
        passages={language: _documents(rows, "passage") for language, rows in descriptions.texts.items()},
        qrels=qrels,
        texts={split: _english_texts(table.filter(split=split)) for split in ("train", "dev")},
        counts={
            "descriptions": descriptions.counts,
            "duplicates": _count_duplicates(clusters, groups),
            "queries": {split: judged["query_id"].n_unique() for split, judged in qrels.items()},
        },
        inputs=descriptions.inputs,
    )


def _set_verbatim_apart(table: pl.DataFrame, texts: dict[str, pl.DataFrame]) -> pl.Series:
    """The split of each row, where test queries that are in their passage, in any of the languages, are VERBATIM."""
    tested = table.filter(split="test").select("id")
    held = []
    for language, described in texts.items():
        rows = described.join(tested, on="id", how="semi").drop_nulls()
        held.append(rows.filter(contains_query(rows["query"], rows["passage"], language))["id"])
    apart = table["id"].is_in(pl.concat(held).implode())
    return pl.select(pl.when(apart).then(pl.lit(VERBATIM)).otherwise(table["split"])).to_series()


def _judge(table: pl.DataFrame) -> dict[str, pl.DataFrame]:
    """`query_id, passage_id, score` of each split that has any query.

    Relevant are a query's own passage and any other of exactly the same text.
    """
    passages = table.select("passage", pl.col("id").alias("passage_id"))
    judged = table.select("split", "passage", pl.col("id").alias("query_id")).join(passages, on="passage")
    judged = judged.sort("query_id", "passage_id")
    by_split = {split: judged.filter(split=split) for split in (*SPLIT_ENDS, VERBATIM)}
    return {
        split: rows.select("query_id", "passage_id", score=pl.lit(1)) for split, rows in by_split.items() if len(rows)
    }


def _documents(rows: pl.DataFrame, kind: str) -> pl.DataFrame:
    return rows.select(pl.col("id").alias("_id"), pl.col(kind).alias("text")).drop_nulls()


def _english_texts(rows: pl.DataFrame) -> EnglishTexts:
    named = rows.with_columns(query_id="id", passage_id="id")
    return EnglishTexts(named.select("query_id", "query", "passage_id"), named.select("passage_id", "passage", "group"))


def _count_duplicates(clusters: Rows, groups: Rows) -> dict[str, Any]:
    cluster_sizes, group_sizes = np.bincount(clusters), np.bincount(groups)
    return {
        "near_duplicates": int((cluster_sizes[clusters] > 1).sum()),
        "clusters": int((cluster_sizes > 1).sum()),
        "largest_cluster": int(cluster_sizes.max()),
        "groups": int((group_sizes > 0).sum()),
        "largest_group": int(group_sizes.max()),
    }
