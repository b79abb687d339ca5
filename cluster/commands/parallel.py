"""`csgen parallel`: pairs in the other languages of a parallel collection."""

import polars as pl
import pyarrow as pa

from cluster.terminal import Report, Terminal
from csgen.errors import InputError
from csgen.files import exists
from csgen.schema import PAIR_COLUMNS, pair_schema
from csgen.sources.pairs import stream_pairs
from csgen.sources.parallel import ParallelConfig, put_into_languages
from csgen.sources.parquet import write_pairs


def parallel(config: ParallelConfig, terminal: Terminal) -> Report:
    if exists(config.output):
        raise InputError(f"{config.output} exists: remove it or give another --output")
    rows = stream_pairs(config.pairs, split=config.split)
    batches = [batch.select(["query_id", "passage_id", "label"]) for batch in rows]
    pairs, counts = put_into_languages(pl.DataFrame(pa.Table.from_batches(batches)), config)
    if not len(pairs):
        raise InputError(f"{config.pairs}: none of its ids has texts in {config.collection} in these languages")
    schema = pair_schema([name for name in PAIR_COLUMNS if name in pairs.columns])
    write_pairs(pairs.select(schema.names).to_arrow().cast(schema), config.output)
    shown = ", ".join(f"{number:,} {what}" for what, number in counts.items())
    return Report(counts | {"output": config.output}, f"{shown}: {config.output}")
