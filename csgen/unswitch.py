"""The stage `unswitch`: restores the pairs that were switched with spans. Knows no lexicon and no policy."""

from collections.abc import Iterator
from typing import Any

import pyarrow as pa
from pydantic import Field

from csgen.config import StageConfig
from csgen.errors import InputError
from csgen.files import exists, is_folder, list_files
from csgen.schema import PAIR_COLUMNS, SWITCHES
from csgen.sources.parquet import open_parquet, write_pairs
from csgen.switching.policy import SIDES
from csgen.switching.spans import undo_switches


class UnswitchConfig(StageConfig):
    """Options of `csgen unswitch`."""

    switched: str = Field(min_length=1, description="output of csgen switch --spans: a folder, a Parquet file or a URI")
    output: str = Field(min_length=1, description="Parquet file to write; may be a URI")


def unswitch(config: UnswitchConfig) -> dict[str, Any]:
    """Write the original pairs, byte for byte, in the order of the switched ones; returns their number."""
    if exists(config.output):
        raise InputError(f"{config.output}: exists already; remove it first or give another --output")
    files = [config.switched]
    if is_folder(config.switched):
        files = [file for file in list_files(config.switched) if file.endswith(".parquet")]
    if not files:
        raise InputError(f"{config.switched}: no Parquet file in it")
    return {"pairs": write_pairs(_restored(files), config.output)}


def _restored(files: list[str]) -> Iterator[pa.RecordBatch]:
    for path in files:
        with open_parquet(path) as file:
            for side in SIDES:
                if f"{side}_switches" not in file.schema_arrow.names:
                    raise InputError(
                        f"{path}: no column {side}_switches; only what csgen switch --spans wrote can be undone"
                    )
            row = 0
            for batch in file.iter_batches(use_threads=False):
                try:
                    yield _restore(batch)
                except InputError as error:
                    raise InputError(f"{path}, rows {row + 1} and on: {error}") from error
                row += batch.num_rows


def _restore(batch: pa.RecordBatch) -> pa.RecordBatch:
    for side in SIDES:
        texts = undo_switches(batch.column(side), batch.column(f"{side}_switches").cast(SWITCHES))
        batch = batch.set_column(batch.schema.get_field_index(side), side, texts)
    return batch.select([name for name in PAIR_COLUMNS if name in batch.schema.names])
