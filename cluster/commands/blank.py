"""`csgen train blank`: an untrained model with a vocabulary of its own."""

import tempfile

import polars as pl
import pyarrow as pa

from cluster.blank import BlankConfig, make_blank
from cluster.terminal import Report, Terminal
from csgen.errors import InputError
from csgen.files import exists
from csgen.sources.pairs import list_shards, normalise, read_shard
from csgen.sources.rows import refuse

BATCH_ROWS = 1 << 16
SIDES = ("query", "passage")


def blank(config: BlankConfig, terminal: Terminal) -> Report:
    if exists(config.output):
        raise InputError(f"{config.output} exists: remove it or give another --output")
    counts = make_blank(config, read_texts(config))
    shown = ", ".join(f"{name} {value}" for name, value in counts.items() if name != "languages")
    return Report(counts | {"output": config.output}, f"{shown}: {config.output}")


def read_texts(config: BlankConfig) -> pl.DataFrame:
    """`language, text` of all queries and passages; "" where the pairs do not say the language."""
    parts = []
    with tempfile.TemporaryDirectory() as folder:
        shards = list_shards(normalise(config.pairs, folder, refuse, config.split), BATCH_ROWS)
        for shard in shards:
            for batch in read_shard(shard, BATCH_ROWS, refuse):
                frame = pl.DataFrame(pa.Table.from_batches([batch]))
                for side in SIDES:
                    named = f"{side}_language" in frame.columns
                    language = pl.col(f"{side}_language").fill_null("") if named else pl.lit("")
                    parts.append(frame.select(language=language, text=side).unique())
    return pl.concat(parts).unique()
