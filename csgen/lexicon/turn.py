"""`csgen lexicon turn`: a lexicon of the same entries with source and target exchanged. Knows no source format."""

import posixpath
from typing import Any

import polars as pl
from pydantic import Field

from csgen.config import StageConfig
from csgen.errors import InputError
from csgen.files import refuse_finished
from csgen.lexicon.build import write_lexicon
from csgen.lexicon.entries import clean_pairs, read_entries
from csgen.lexicon.merge import merge_parts
from csgen.manifest import MANIFEST_NAME, describe_files

_EXCHANGED = {
    "source": "target", "target": "source",
    "source_language": "target_language", "target_language": "source_language",
}  # fmt: skip


class TurnConfig(StageConfig):
    """Options of `csgen lexicon turn`."""

    lexicon: str = Field(min_length=1, description="folder of a lexicon; may be a URI")
    output: str = Field(min_length=1, description="folder to write; may be a URI")


def turn_lexicon(config: TurnConfig) -> dict[str, Any]:
    """Write the lexicon; returns its counts."""
    refuse_finished(config.output)
    pairs, dropped = clean_pairs(turn_entries(read_entries(config.lexicon)), "keep")
    if pairs.is_empty():
        raise InputError(f"{config.lexicon}: no entries are left, all were dropped: {dropped}")
    merged = merge_parts([("turned", pairs)])
    return write_lexicon(
        merged.entries,
        config.output,
        config={"method": "turn"},
        inputs={
            posixpath.basename(config.lexicon.rstrip("/")): {"files": describe_files(config.lexicon, [MANIFEST_NAME])}
        },
        counts={"dropped": dropped, "joined": merged.joined},
    )


def turn_entries(entries: pl.DataFrame) -> pl.DataFrame:
    """The entries with source and target exchanged, in their order and with their weights."""
    return entries.rename(_EXCHANGED)
