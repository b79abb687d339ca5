"""`csgen train blank`: an untrained model with a vocabulary of its own."""

from typing import Any

import polars as pl
import pyarrow as pa

from cluster.blank import BlankConfig, find_tokenizer, make_blank
from cluster.terminal import Report, Terminal
from csgen.errors import InputError
from csgen.files import exists, hash_file
from csgen.sources.pairs import describe_input, stream_pairs
from csgen.switching.policy import SIDES


def blank(config: BlankConfig, terminal: Terminal) -> Report:
    if exists(config.output):
        raise InputError(f"{config.output} exists: remove it or give another --output")
    counts = make_blank(config, read_texts(config), hash_inputs(config))
    shown = ", ".join(f"{name} {value}" for name, value in counts.items() if name != "languages")
    return Report(counts | {"output": config.output}, f"{shown}: {config.output}")


def hash_inputs(config: BlankConfig) -> dict[str, Any]:
    """The hash of each file of the pairs, and of the vocabulary that is taken."""
    paths = {path: path for path in describe_input(config.pairs, config.split).files}
    if config.tokenizer:
        paths[f"tokenizer {config.tokenizer}"] = str(find_tokenizer(config.tokenizer))
    return {name: {"xxh3_128": hash_file(path)} for name, path in paths.items()}


def read_texts(config: BlankConfig) -> pl.DataFrame:
    """`language, text` of all queries and passages; "" where the pairs do not say the language."""
    parts = []
    for batch in stream_pairs(config.pairs, split=config.split):
        frame = pl.DataFrame(pa.Table.from_batches([batch]))
        for side in SIDES:
            named = f"{side}_language" in frame.columns
            language = pl.col(f"{side}_language").fill_null("") if named else pl.lit("")
            parts.append(frame.select(language=language, text=side).unique())
    return pl.concat(parts).unique()
