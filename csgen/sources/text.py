"""JSON lines and tab-separated files, in blocks of whole lines, with exact line numbers.

A block goes to Arrow's parser as a whole. Only where Arrow fails, or may have been more lenient than the rule of
`check_row`, is that block read again line by line, which finds the bad lines and their reasons.
"""

import json
import re
from collections.abc import Generator, Iterator
from contextlib import closing
from dataclasses import dataclass
from itertools import islice
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.json
from numpy.typing import NDArray

from csgen.errors import InputError
from csgen.files import READ_ERRORS, open_input
from csgen.sources.rows import BadRow, Kinds, OnBadRow, check_row, clean, decode, make_batch

BLOCK_BYTES = 4 << 20
LINE_BYTES = 1 << 30  # a longer line is no line: the file is of another kind
HEAD_LINES = 100
BYTE_ORDER_MARK = b"\xef\xbb\xbf"
NUMBER = re.compile(r"[-+]?[0-9]+(\.[0-9]*)?([eE][-+]?[0-9]+)?", re.ASCII)


class LineFormat(Protocol):
    """How lines become rows: a block at a time, or one by one."""

    @property
    def kinds(self) -> Kinds:
        """The columns to read."""

    def parse_block(self, lines: bytes) -> pa.RecordBatch:
        """Raw columns of a block; pa.ArrowInvalid where a line may be malformed."""

    def parse_line(self, line: str) -> dict[str, Any]:
        """One line's fields; a ValueError says what is malformed."""


def read_lines(
    path: str, form: LineFormat, first_line: int, batch_rows: int, on_bad_row: OnBadRow
) -> Iterator[pa.RecordBatch]:
    """The checked rows from line `first_line` (counted from 1) on, in batches of at most `batch_rows`."""
    for line, block in read_blocks(path, BLOCK_BYTES, first_line):
        batch = _parse_whole(block, form)
        if batch is None:
            batch = _sift(block, line, path, form, on_bad_row)
        for start in range(0, batch.num_rows, batch_rows):
            yield batch.slice(start, batch_rows)


def read_blocks(path: str, block_bytes: int, first_line: int = 1) -> Generator[tuple[int, bytes]]:
    """Blocks of whole lines of about `block_bytes`, each with the number of its first line, from `first_line` on."""
    line, drop, held = 1, first_line - 1, [b""]
    for chunk in _read_chunks(path, block_bytes):
        cut = chunk.rfind(b"\n") + 1
        if cut == 0:
            held.append(chunk)
            if sum(map(len, held)) > LINE_BYTES:
                raise InputError.at(path, line, f"a line of more than {LINE_BYTES >> 30} GiB: not a file of lines")
            continue
        block = b"".join([*held, chunk[:cut]])
        held = [chunk[cut:]]
        while drop and block:
            block, drop, line = block[block.index(b"\n") + 1 :], drop - 1, line + 1
        if block:
            yield line, block
            line += len(_line_breaks(block))
    rest = b"".join(held)
    if rest and not drop:
        yield line, rest


def head_lines(path: str) -> list[tuple[int, bytes]]:
    """The first lines that are not blank (at most 100, or 4 MiB), with their numbers. An empty file is refused."""
    with closing(read_blocks(path, BLOCK_BYTES)) as blocks:
        for first, block in blocks:
            lines = ((first + i, text.rstrip(b"\r")) for i, text in enumerate(block.split(b"\n")))
            if head := list(islice((pair for pair in lines if pair[1].strip()), HEAD_LINES)):
                return head
    raise InputError.at(path, None, "empty file")


def _read_chunks(path: str, chunk_bytes: int) -> Iterator[bytes]:
    try:
        with open_input(path) as stream:
            chunk = stream.read(chunk_bytes)
            yield chunk.removeprefix(BYTE_ORDER_MARK)
            while chunk := stream.read(chunk_bytes):
                yield chunk
    except READ_ERRORS as error:
        raise InputError.at(path, None, f"cannot be read, damaged or cut short: {error}") from error


def _line_breaks(text: bytes) -> NDArray[np.intp]:
    """Where the line feeds stand; several times as fast as bytes.count on long texts."""
    return np.flatnonzero(np.frombuffer(text, np.uint8) == ord("\n"))


def _between_objects(lines: bytes, breaks: NDArray[np.intp]) -> bool:
    """Whether a } stands before each line break and a { after it; a break may be CR LF."""
    text = np.frombuffer(lines, np.uint8)
    before = breaks - 1 - (text[breaks - 1] == ord("\r"))
    return bool((text[before] == ord("}")).all() and (text[breaks + 1] == ord("{")).all())


def _parse_whole(block: bytes, form: LineFormat) -> pa.RecordBatch | None:
    lines = block.rstrip(b"\r\n")
    if not lines:
        return make_batch([], form.kinds)
    try:
        _validate_utf8(lines)
        return clean(form.parse_block(lines), form.kinds)
    except pa.ArrowInvalid:
        return None


def _validate_utf8(text: bytes) -> None:
    offsets = pa.array([0, len(text)], pa.int64()).buffers()[1]
    pa.Array.from_buffers(pa.large_string(), 1, [None, offsets, pa.py_buffer(text)]).validate(full=True)


def _sift(block: bytes, first_line: int, path: str, form: LineFormat, on_bad_row: OnBadRow) -> pa.RecordBatch:
    """The good rows of a block, line by line. Blank lines are passed over."""
    good = []
    for number, line in enumerate(block.split(b"\n"), first_line):
        text = line.removesuffix(b"\r")
        if not text.strip(b" \r"):
            continue
        try:
            good.append(check_row(form.parse_line(decode(text)), form.kinds))
        except ValueError as error:
            on_bad_row(BadRow(path, number, str(error), text.decode(errors="backslashreplace")))
    return make_batch(good, form.kinds)


@dataclass(frozen=True)
class JsonLines:
    """One JSON object a line. `types` are the Arrow types that the head of the file suggests for Arrow's parser."""

    kinds: Kinds
    types: pa.Schema

    def parse_block(self, lines: bytes) -> pa.RecordBatch:
        # Arrow takes several objects on one line and one object over several lines. Where every line begins with { and
        # ends with }, and there are as many objects as lines, neither is possible: it refuses line feeds in strings.
        breaks = _line_breaks(lines)
        if not (lines.startswith(b"{") and lines.endswith(b"}") and _between_objects(lines, breaks)):
            raise pa.ArrowInvalid("lines that are not one object each")
        table = pa.json.read_json(
            pa.BufferReader(lines),
            read_options=pa.json.ReadOptions(use_threads=False, block_size=len(lines) + 1),
            parse_options=pa.json.ParseOptions(explicit_schema=self.types, unexpected_field_behavior="ignore"),
        )
        if table.num_rows != len(breaks) + 1:
            raise pa.ArrowInvalid("lines that are not one object each")
        return table.combine_chunks().to_batches()[0]

    def parse_line(self, line: str) -> dict[str, Any]:
        row = parse_object(line)
        fields = dict(row)
        for name in self.kinds:
            if sum(name == key for key, _ in row) > 1:
                raise ValueError(f"{name}: the key stands twice")
        return fields


def parse_object(line: str) -> tuple[tuple[str, Any], ...]:
    """The keys and values of a line's JSON object, in order; objects inside it come as such tuples too."""
    try:
        row = json.loads(line, object_pairs_hook=tuple)
    except json.JSONDecodeError as error:
        raise ValueError(f"not JSON: {error.msg} at character {error.pos + 1}") from error
    except RecursionError as error:
        raise ValueError("not JSON: nested too deeply") from error
    if not isinstance(row, tuple):
        raise ValueError(f"expected one JSON object a line, got {type(row).__name__}")
    return row


def json_head(path: str) -> dict[str, list[Any]]:
    """The columns in the first lines of a JSON lines file, in order of appearance, with the values seen."""
    seen: dict[str, list[Any]] = {}
    problem = ""
    for number, line in head_lines(path):
        try:
            for name, value in parse_object(decode(line)):
                seen.setdefault(name, []).append(value)
        except ValueError as error:
            problem = problem or f"{path}:{number}: {error}"
    if not seen:
        raise InputError(f"{problem or path + ': no fields'}; expected JSON lines: one object on each line")
    return seen


def json_lines(kinds: Kinds, head: dict[str, list[Any]]) -> JsonLines:
    """The format of a JSON lines file with this head."""
    types = [(name, _json_type(kind, head.get(name, []))) for name, kind in kinds.items()]
    return JsonLines(kinds, pa.schema(types))


def _json_type(kind: str, values: list[Any]) -> pa.DataType:
    if kind == "score":
        return pa.float64()
    seen = {type(v) for v in values}
    if kind == "label":
        return pa.bool_() if seen == {bool} else pa.float64() if float in seen else pa.int64()
    return pa.int64() if kind == "id" and seen == {int} else pa.string()


@dataclass(frozen=True)
class Tsv:
    """Fields between tabs, without quoting: a field holds no tab and no line break. `fields` names all of them."""

    fields: tuple[str, ...]
    kinds: Kinds

    def parse_block(self, lines: bytes) -> pa.RecordBatch:
        if b"\r" in lines and lines.count(b"\r") != lines.count(b"\r\n"):
            raise pa.ArrowInvalid("a carriage return within a line, which Arrow takes for a line break")
        table = pa.csv.read_csv(
            pa.BufferReader(lines),
            read_options=pa.csv.ReadOptions(
                column_names=list(self.fields), use_threads=False, block_size=len(lines) + 1
            ),
            parse_options=pa.csv.ParseOptions(
                delimiter="\t", quote_char=False, escape_char=False, newlines_in_values=False
            ),
            convert_options=pa.csv.ConvertOptions(
                column_types=dict.fromkeys(self.fields, pa.string()),
                include_columns=list(self.kinds),
                strings_can_be_null=False,
            ),
        )
        return table.combine_chunks().to_batches()[0]

    def parse_line(self, line: str) -> dict[str, Any]:
        values: list[Any] = line.split("\t")
        if len(values) != len(self.fields):
            raise ValueError(f"expected {len(self.fields)} fields between tabs, got {len(values)}")
        row = dict(zip(self.fields, values, strict=True))
        return row | {name: _number(row[name]) for name, kind in self.kinds.items() if kind in ("label", "score")}


def tsv_header(path: str) -> tuple[int, tuple[str, ...]]:
    """The number of the header line, and its fields."""
    number, line = head_lines(path)[0]
    try:
        fields = tuple(decode(line).split("\t"))
    except ValueError as error:
        raise InputError.at(path, number, str(error)) from error
    if len(set(fields)) != len(fields):
        raise InputError.at(path, number, f"the header names a column twice: {', '.join(fields)}")
    return number, fields


def _number(text: str) -> float | int | str:
    match = NUMBER.fullmatch(text)
    if match is None:
        return text
    return float(text) if match[1] or match[2] else int(text)
