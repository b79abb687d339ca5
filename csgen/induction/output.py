"""How what was induced becomes a lexicon folder like any other. Knows no method."""

from typing import Any

import polars as pl

from csgen.errors import InputError
from csgen.lexicon.build import write_lexicon
from csgen.lexicon.entries import DUPLICATE
from csgen.lexicon.merge import JOINT, join_duplicates, merge_parts

LICENCE_AND = " AND "  # between licences that all bind an entry; those of merged sources are joined by JOINT


def cut(pairs: pl.DataFrame, max_translations: int) -> tuple[pl.DataFrame, dict[str, int]]:
    """The heaviest pairs of each `key`, ties as listed, in the order given; and how many were cut off, in words."""
    order = pl.col("weight").rank("ordinal", descending=True).over("key")
    kept = pairs.filter(order <= max_translations)
    return kept, {f"beyond {max_translations} translations": len(pairs) - len(kept)}


def write_pairs(
    pairs: pl.DataFrame,
    source: str,
    target: str,
    output: str,
    *,
    config: dict[str, Any],
    inputs: dict[str, Any],
    counts: dict[str, Any],
) -> dict[str, Any]:
    """Write cleaned pairs (`key, source, target, weight, origin, licence`) as a lexicon; returns its counts.

    `counts["dropped"]`, by reason, gets the duplicates joined here.
    """
    if pairs.is_empty():
        raise InputError(f"no entries are left: {counts}")
    joined = join_duplicates(pairs).with_columns(source_language=pl.lit(source), target_language=pl.lit(target))
    dropped = counts["dropped"] | {DUPLICATE: len(pairs) - len(joined)}
    counts = counts | {"dropped": {reason: number for reason, number in dropped.items() if number}}
    entries = merge_parts([("induced", joined)]).entries
    return write_lexicon(entries, output, config=config, inputs=inputs, counts=counts)


def joinable(licence: str) -> str:
    """A licence that can stand beside others: "; " parts the licences of different sources."""
    return licence.replace(JOINT, ", ")
