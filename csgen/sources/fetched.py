"""What a source hands over to be written: a parallel collection in memory, and English texts to draw pairs from."""

from dataclasses import dataclass, field
from typing import Any

import polars as pl

from csgen.sources.collection import Description


@dataclass(frozen=True)
class EnglishTexts:
    """Queries with their one true passage, and the passages that negatives may come from."""

    queries: pl.DataFrame  # query_id, query, passage_id
    passages: pl.DataFrame  # passage_id, passage, group: those of a query's group are none of its negatives


@dataclass(frozen=True)
class Fetched:
    """A parallel collection before it is written; the tables are those that `write_collection` takes."""

    description: Description
    queries: dict[str, pl.DataFrame]  # by language
    passages: dict[str, pl.DataFrame]  # by language
    qrels: dict[str, pl.DataFrame]  # by split
    texts: dict[str, EnglishTexts]  # by split
    counts: dict[str, Any]
    inputs: dict[str, Any] = field(default_factory=dict)
    files: dict[str, bytes] = field(default_factory=dict)  # what else goes along, by its name in the output
