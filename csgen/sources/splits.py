"""Train, dev and test splits that keep what belongs together on one side, and queries that their passage gives away.

Knows ids, sources and texts; not where they come from.
"""

import numpy as np
import polars as pl

from csgen.sources.draws import hash_texts, mix
from csgen.sources.duplicates import Rows, connect

SPLIT_ENDS = {"train": 0.90, "dev": 0.95, "test": 1.0}  # upper end of each split's part of [0, 1)
UNSPACED_LANGUAGES = ("ja", "km", "lo", "my", "th", "zh")


def group_rows(clusters: Rows, rows: Rows, sources: pl.Series) -> Rows:
    """The smallest row of each row's group; rows that share a cluster or a source are in one group, however remotely.

    `clusters` names every row's cluster; `sources[i]` is a source of row `rows[i]`, and a row may have several.
    """
    num_rows = len(clusters)
    codes = sources.rank("dense").to_numpy().astype(np.int64) - 1
    left = np.concatenate([np.arange(num_rows), rows])
    right = np.concatenate([clusters, num_rows + codes])
    return connect(num_rows + sources.n_unique(), left, right)[:num_rows]


def assign_splits(groups: Rows, rows: Rows, sources: pl.Series) -> pl.Series:
    """The split of every row, drawn for its group from the first of the group's sources by name.

    So a source stays where it is in later releases, and whatever the seed of the negatives, as long as it leads its
    group.
    """
    members = pl.DataFrame({"group": groups[rows], "source": sources})
    leaders = members.group_by("group").agg(pl.col("source").min())
    draws = mix(hash_texts(leaders["source"])) / 2.0**64
    names = np.array(list(SPLIT_ENDS))[np.searchsorted(list(SPLIT_ENDS.values()), draws, side="right").clip(max=2)]
    drawn = leaders.select("group").with_columns(split=pl.Series(names))
    return pl.DataFrame({"group": groups}).join(drawn, on="group", how="left", maintain_order="left")["split"]


def contains_query(queries: pl.Series, passages: pl.Series, language: str) -> pl.Series:
    """Whether each passage holds its query word for word, case and punctuation aside; row by row.

    In a language without spaces, its characters in a row count as its words. A query without a word is in no passage.
    """
    unspaced = language.partition("-")[0] in UNSPACED_LANGUAGES
    glue, edge = ("", "") if unspaced else (" ", " ")
    words = [text.str.to_lowercase().str.extract_all(r"\w+") for text in (queries, passages)]
    query, passage = (edge + column.list.join(glue) + edge for column in words)
    held = pl.select(passage.alias("passage").str.contains(pl.lit(query), literal=True)).to_series()
    return held & (words[0].list.len() > 0)
