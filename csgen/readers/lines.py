"""Readers of word lists, one pair a line: MUSE text and TSV. They part good lines from malformed ones, no more.

Everything is done on columns of lines: a list of a hundred thousand takes a fraction of a second.
"""

import io
import os
from collections.abc import Iterator
from typing import BinaryIO, cast

import numpy as np
import polars as pl
import pyarrow as pa
from isal import igzip

from csgen.errors import InputError
from csgen.files import READ_ERRORS, open_input, open_packed
from csgen.readers.columns import NOT_UTF8, Reading, decode_column, first_reason, part_malformed

# What MUSE's tokens carry over from the text they were cut from ("word,", "usa}}"); "c++" and "#" stay.
_SURROUNDING = ",;:!?\"'“”„«»‘’()[]{}…。、，"
_MIN_WEIGHT, _MAX_WEIGHT = 1e-15, 1e15  # so that shares of a sum fit 32-bit floats

_BINARY_PROBE_BYTES = 4096

MAX_FILE_BYTES = 4 << 30  # what StarDict's and Arrow's 32-bit places reach; the largest FreeDict dictionary has 0.45 GB
MAX_RATIO = 200  # that dictionary as XML shrinks 22 times by xz, plain text 3 to 8 times; gzip's bombs 1,000 times
_HARMLESS_BYTES = 64 << 20  # of any ratio: a small file of one line repeated is no bomb
MAX_LINE_BYTES = 1 << 20  # a word and its translation; what is longer is another kind of file
_CHUNK_BYTES = 1 << 20

_MAGIC = {
    ".gz": (b"\x1f\x8b",),
    ".dz": (b"\x1f\x8b",),
    ".xz": (b"\xfd7zXZ\0",),
    ".zst": (b"\x28\xb5\x2f\xfd", *(bytes([first]) + b"\x2a\x4d\x18" for first in range(0x50, 0x60))),
    ".bz2": (b"BZh",),
}
_HEAD_BYTES = 8


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
        **weight_rules(written, weight),
    }
    lines, counts = read_lines(path)
    parsed = lines.select("line", source=source, target=target, weight=weight, reason=first_reason(rules))
    return Reading(*part_malformed(parsed), counts)


def weight_rules(written: pl.Expr, weight: pl.Expr) -> dict[str, pl.Expr]:
    """What is wrong with a weight, by reason: the text (null: none) and what it was read as."""
    return {
        "weight is not a number": written.is_not_null() & written.cast(pl.Float64, strict=False).is_null(),
        # not is_between alone: a NaN must be refused too
        f"weight is not in [{_MIN_WEIGHT}, {_MAX_WEIGHT}]": ~weight.is_between(_MIN_WEIGHT, _MAX_WEIGHT)
        | weight.is_nan(),
    }


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
    refuse_binary(path, data)
    text = split_lines(data)
    too_long = (text.str.len_bytes() > MAX_LINE_BYTES).arg_true()
    if len(too_long):
        message = f"expected a line of at most {MAX_LINE_BYTES} bytes, got a longer one; is it another kind of file?"
        raise InputError.at(path, too_long[0] + 1, message)
    lines = pl.DataFrame({"line": pl.int_range(1, len(text) + 1, eager=True), "text": text})
    filled = lines.filter((pl.col("text").str.strip_chars() != "").fill_null(True))
    if filled.is_empty():
        raise InputError.at(path, None, "is empty; expected lines of a word and its translation")
    return filled, {"lines": len(lines), "blank": len(lines) - len(filled)}


def refuse_binary(path: str, data: bytes) -> None:
    if b"\0" in data[:_BINARY_PROBE_BYTES]:
        raise InputError.at(path, None, "expected UTF-8 text, got binary data or another encoding")


def split_lines(data: bytes) -> pl.Series:
    """The lines without their ends, as a String column; null where a line is not UTF-8."""
    start = 3 if data.startswith(b"\xef\xbb\xbf") else 0
    ends = np.flatnonzero(np.frombuffer(data, np.uint8) == ord("\n")) + 1
    bounds = np.unique(np.concatenate([[start], ends, [len(data)]])).astype(np.int64)
    buffers = [None, pa.py_buffer(bounds), pa.py_buffer(data)]
    lines = pa.LargeBinaryArray.from_buffers(pa.large_binary(), len(bounds) - 1, buffers)
    return decode_column(lines).str.strip_chars_end("\r\n")


def cut_texts(data: bytes, starts: pl.Series, lengths: pl.Series) -> pl.Series:
    """The texts at these places of `data`, in bytes; null where one is not UTF-8."""
    places = zip(starts, lengths, strict=True)
    return decode_column(pa.array([data[start : start + length] for start, length in places], pa.large_binary()))


def read_bytes(path: str, max_bytes: int = MAX_FILE_BYTES) -> bytes:
    """A whole file, decompressed by its name's ending (also .dz); bounded, see `read_chunks`."""
    text = io.BytesIO()  # hands its bytes over without a copy
    for chunk in read_chunks(path, max_bytes):
        text.write(chunk)
    return text.getvalue()


def read_chunks(path: str, max_bytes: int = MAX_FILE_BYTES) -> Iterator[bytes]:
    """A file's bytes, decompressed by its name's ending (also .dz), in chunks of at most 1 MiB.

    Refused as soon as it is seen: more than `max_bytes`, an expansion that no text has, damaged or truncated data.
    """
    packed_bytes = _check_magic(path)
    read = 0
    try:
        with _open(path) as stream:
            while chunk := stream.read(_CHUNK_BYTES):
                read += len(chunk)
                _check_size(path, read, packed_bytes, max_bytes)
                yield chunk
    except READ_ERRORS as error:
        message = (
            f"cannot be read on after {read} bytes of text, of the file's own {packed_bytes} bytes ({error}); "
            "it is damaged or was cut short: fetch or compress it again"
        )
        raise InputError.at(path, None, message) from error


def _open(path: str) -> BinaryIO:
    return cast(BinaryIO, igzip.open(open_packed(path), "rb")) if path.endswith(".dz") else open_input(path)


def _check_magic(path: str) -> int:
    """The file's own size in bytes, once its first bytes are what its name's ending promises."""
    ending = next((ending for ending in _MAGIC if path.endswith(ending)), None)
    with open_packed(path) as stream:
        head = stream.read(_HEAD_BYTES)
        packed_bytes = stream.seek(0, os.SEEK_END)
    if ending and not head.startswith(_MAGIC[ending]):
        got = f"got {head[:6].hex(' ')}" if head else "is empty"
        wanted = _MAGIC[ending][0].hex(" ")
        message = (
            f"expected {wanted} at its start, as {ending} files have it, {got}; fetch it again, or name it rightly"
        )
        raise InputError.at(path, None, message)
    return packed_bytes


def _check_size(path: str, read: int, packed_bytes: int, max_bytes: int) -> None:
    if read > max_bytes:
        raise InputError.at(path, None, f"expected at most {max_bytes} bytes of text, got more; split the file")
    if read > max(MAX_RATIO * packed_bytes, _HARMLESS_BYTES):
        message = (
            f"its {packed_bytes} bytes expand to more than {read // packed_bytes} times as many, which no dictionary "
            f"does (at most {MAX_RATIO}); if it is to be trusted, decompress it first"
        )
        raise InputError.at(path, None, message)
