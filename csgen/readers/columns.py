"""What all readers share: the reading, and work on columns of texts. Knows no format."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate

import polars as pl
import pyarrow as pa

NOT_UTF8 = "not UTF-8"

_NOTE = r"\([^()]*\)|\[[^\[\]]*\]|\{[^{}]*\}|（[^（）]*）"


@dataclass(frozen=True)
class Reading:
    """What a reader takes out of a file."""

    pairs: pl.DataFrame  # line: int64 from 1, source: str, target: str, weight: float64; in file order.
    # Formats of several languages add target_language: str.
    malformed: pl.DataFrame  # line: int64, reason: str
    counts: dict[str, int]  # "lines": all of them; "blank" and others where the format has them
    licence: str | None = None  # where the file itself says it
    about: dict[str, str] = field(default_factory=dict)  # title and edition where the file says them


def join_readings(readings: Sequence[Reading]) -> Reading:
    """What was read of one file's pieces, in their order, as of the file: lines numbered through, counts added up."""
    offsets = list(accumulate((reading.counts["lines"] for reading in readings[:-1]), initial=0))
    names = dict.fromkeys(name for reading in readings for name in reading.counts)
    return Reading(
        pl.concat([r.pairs.with_columns(pl.col("line") + at) for r, at in zip(readings, offsets, strict=True)]),
        pl.concat([r.malformed.with_columns(pl.col("line") + at) for r, at in zip(readings, offsets, strict=True)]),
        {name: sum(reading.counts.get(name, 0) for reading in readings) for name in names},
        next((reading.licence for reading in readings if reading.licence), None),
        {key: value for reading in reversed(readings) for key, value in reading.about.items()},
    )


def first_reason(rules: Mapping[str, pl.Expr]) -> pl.Expr:
    """The first of the reasons whose condition holds, else null."""
    return pl.coalesce([pl.when(condition).then(pl.lit(reason)) for reason, condition in rules.items()])


def count_reasons(reasons: pl.Series) -> dict[str, int]:
    """How often each reason stands in the column, by name; nulls are not counted."""
    counts = reasons.drop_nulls().value_counts().rows()
    return dict(sorted(counts))


def drop_notes(text: pl.Expr) -> pl.Expr:
    """Without what stands in brackets of any kind, nested ones included."""
    return text.str.replace_all(_NOTE, "").str.replace_all(_NOTE, "")


def tidy(text: pl.Expr) -> pl.Expr:
    """Without notes in brackets and outer white space, inner white space as one blank, in NFC."""
    return drop_notes(text).str.replace_all(r"\s+", " ").str.strip_chars().str.normalize("NFC")


def part_malformed(parsed: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The rows without a `reason`, and `line` and `reason` of the others."""
    good = parsed.filter(pl.col("reason").is_null()).drop("reason")
    return good, parsed.filter(pl.col("reason").is_not_null()).select("line", "reason")


def require_text(value: object) -> str:
    """A parsed value that has to be a text; of another type it is a TypeError."""
    if not isinstance(value, str):
        raise TypeError(f"expected a text, got {value!r}")
    return value


def decode_column(texts: pa.LargeBinaryArray) -> pl.Series:
    """Bytes as a String column; null where they are not UTF-8."""
    try:
        return pl.Series("text", texts.cast(pa.large_string()), dtype=pl.String)
    except pa.ArrowInvalid:  # some are not UTF-8, so one by one
        return pl.Series("text", [_decode(text) for text in texts.to_pylist()], dtype=pl.String)


def _decode(text: bytes) -> str | None:
    try:
        return text.decode()
    except UnicodeDecodeError:
        return None
