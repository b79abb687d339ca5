"""The words of a corpus of pairs and how often each occurs, as the code-switcher sees them."""

import tempfile

import polars as pl

from csgen.lexicon.compiler import compile_tables
from csgen.lexicon.table import read_table
from csgen.planning import count_tokens
from csgen.sources.pairs import list_shards, normalise, read_shard
from csgen.switching.policy import Policy
from csgen.switching.switcher import Switcher

_SHARD_ROWS = 200_000  # tokens of so many pairs are held at a time
_BATCH_ROWS = 20_000


def count_corpus(pairs: str, language: str) -> pl.DataFrame:
    """`token` (folded) and `count` of all texts of a corpus, the most frequent first; bad rows are left out."""
    total = pl.DataFrame(schema={"token": pl.String, "count": pl.Int64})
    with tempfile.TemporaryDirectory() as scratch:
        path = normalise(pairs, scratch, lambda _: None, "train", language)
        switcher = _tokeniser(language, scratch)
        for shard in list_shards(path, _SHARD_ROWS):
            counted = count_tokens(read_shard(shard, _BATCH_ROWS, lambda _: None), switcher)
            stacked = pl.concat([total, counted.select("token", pl.col("count").cast(pl.Int64))])
            total = stacked.group_by("token").agg(pl.col("count").sum())
    return total.sort(pl.col("count") * -1, "token")


def _tokeniser(language: str, scratch: str) -> Switcher:
    """What finds tokens belongs to the switcher, which wants a table; which one is no matter here."""
    word = {"key": "a", "source": "a", "source_language": language, "target": "a", "target_language": "und"}
    compile_tables(pl.DataFrame([word | {"weight": 1.0, "rank": 1}]), scratch)
    policy = Policy.from_options({"languages": (language,), "source_language": language, "protect": ()})
    return Switcher(policy, read_table(scratch, language))
