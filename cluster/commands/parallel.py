"""`csgen parallel`: pairs in the other languages of a parallel collection."""

import tempfile

import polars as pl
import pyarrow as pa

from cluster.terminal import Report, Terminal
from csgen.errors import InputError
from csgen.files import exists
from csgen.schema import PAIR_COLUMNS, pair_schema
from csgen.sources.pairs import list_shards, normalise, read_shard
from csgen.sources.parallel import ParallelConfig, put_into_languages
from csgen.sources.parquet import write_pairs
from csgen.sources.rows import refuse

BATCH_ROWS = 1 << 16


def parallel(config: ParallelConfig, terminal: Terminal) -> Report:
    if exists(config.output):
        raise InputError(f"{config.output} exists: remove it or give another --output")
    with tempfile.TemporaryDirectory() as folder:
        shards = list_shards(normalise(config.pairs, folder, refuse, config.split), BATCH_ROWS)
        batches = [
            batch.select(["query_id", "passage_id", "label"])
            for shard in shards
            for batch in read_shard(shard, BATCH_ROWS, refuse)
        ]
    pairs, counts = put_into_languages(pl.DataFrame(pa.Table.from_batches(batches)), config)
    if not len(pairs):
        raise InputError(f"{config.pairs}: none of its ids has texts in {config.collection} in these languages")
    schema = pair_schema([name for name in PAIR_COLUMNS if name in pairs.columns])
    write_pairs(pairs.select(schema.names).to_arrow().cast(schema), config.output)
    shown = ", ".join(f"{number:,} {what}" for what, number in counts.items())
    return Report(counts | {"output": config.output}, f"{shown}: {config.output}")
