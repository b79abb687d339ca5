"""Readers of word lists, one pair a line: MUSE text and TSV. They part good lines from malformed ones, no more.

Everything is done on columns of lines: a list of a hundred thousand takes a fraction of a second.
"""

import numpy as np
import polars as pl
import pyarrow as pa

from csgen.errors import InputError
from csgen.files import READ_ERRORS, open_input
from csgen.readers.columns import NOT_UTF8, Reading, decode_column, first_reason, part_malformed

# What MUSE's tokens carry over from the text they were cut from ("word,", "usa}}"); "c++" and "#" stay.
_SURROUNDING = ",;:!?\"'“”„«»‘’()[]{}…。、，"
_MIN_WEIGHT, _MAX_WEIGHT = 1e-15, 1e15  # so that shares of a sum fit 32-bit floats

_BINARY_PROBE_BYTES = 4096


def read_tsv(path: str) -> Reading:
    """Source TAB target, optionally TAB weight; without a weight 1."""
    fields = pl.col("text").str.split("\t")
    written = fields.list.get(2, null_on_oob=True).str.strip_chars()
    weight = pl.coalesce(written.cast(pl.Float64, strict=False), pl.lit(1.0))
    source, target = (fields.list.get(column, null_on_oob=True) for column in (0, 1))
    rules = {
        NOT_UTF8: pl.col("text").is_null(),
        "expected 2 or 3 fields separated by tabs": ~fields.list.len().is_between(2, 3),
        "empty field": (source.str.strip_chars() == "") | (target.str.strip_chars() == ""),
        "weight is not a number": written.is_not_null() & written.cast(pl.Float64, strict=False).is_null(),
        # not is_between: a NaN must be refused too
        f"weight is not in [{_MIN_WEIGHT}, {_MAX_WEIGHT}]": ~weight.is_between(_MIN_WEIGHT, _MAX_WEIGHT)
        | weight.is_nan(),
    }
    lines, counts = read_lines(path)
    parsed = lines.select("line", source=source, target=target, weight=weight, reason=first_reason(rules))
    return Reading(*part_malformed(parsed), counts)


def read_muse(path: str) -> Reading:
    """Two words a line, separated by a space or a tab; a source with several translations stands on several lines.

    Punctuation around a word is taken off, and such lines are counted.
    """
    words = pl.col("text").str.extract_groups(r"^\s*(?<source>\S+)\s+(?<target>\S+)\s*$")
    rules = {
        NOT_UTF8: pl.col("text").is_null(),
        "expected 2 words separated by a space or a tab": words.struct.field("source").is_null(),
    }
    lines, counts = read_lines(path)
    parsed = lines.select("line", words.struct.unnest(), weight=pl.lit(1.0), reason=first_reason(rules))
    pairs, malformed = part_malformed(parsed)
    bare = pairs.with_columns(pl.col("source", "target").str.strip_chars(_SURROUNDING))
    touched = (bare["source"] != pairs["source"]) | (bare["target"] != pairs["target"])
    return Reading(bare, malformed, counts | {"punctuation taken off": int(touched.sum())})


def read_lines(path: str) -> tuple[pl.DataFrame, dict[str, int]]:
    """The lines that are not blank as `line` (from 1) and `text` (null: not UTF-8); counts of all and of blank ones."""
    data = read_bytes(path)
    if b"\0" in data[:_BINARY_PROBE_BYTES]:
        raise InputError.at(path, None, "expected UTF-8 text, got binary data or another encoding")
    text = split_lines(data)
    lines = pl.DataFrame({"line": pl.int_range(1, len(text) + 1, eager=True), "text": text})
    filled = lines.filter((pl.col("text").str.strip_chars() != "").fill_null(True))
    if filled.is_empty():
        raise InputError.at(path, None, "is empty; expected lines of a word and its translation")
    return filled, {"lines": len(lines), "blank": len(lines) - len(filled)}


def split_lines(data: bytes) -> pl.Series:
    """The lines without their ends, as a String column; null where a line is not UTF-8."""
    start = 3 if data.startswith(b"\xef\xbb\xbf") else 0
    ends = np.flatnonzero(np.frombuffer(data, np.uint8) == ord("\n")) + 1
    bounds = np.unique(np.concatenate([[start], ends, [len(data)]])).astype(np.int64)
    buffers = [None, pa.py_buffer(bounds), pa.py_buffer(data)]
    lines = pa.LargeBinaryArray.from_buffers(pa.large_binary(), len(bounds) - 1, buffers)
    return decode_column(lines).str.strip_chars_end("\r\n")


def read_bytes(path: str) -> bytes:
    """A whole file, decompressed by its name's ending."""
    try:
        with open_input(path) as stream:
            return stream.read()
    except READ_ERRORS as error:
        raise InputError.at(path, None, f"cannot be read: {error}") from error
