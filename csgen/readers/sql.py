"""mysqldump's SQL: the tuples of a table's INSERT statements as columns, in one pass and in bounded memory.

Columns are found by their names in CREATE TABLE, so that older and newer layouts of a table read alike. It executes no
SQL and knows no schema.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from csgen.errors import InputError
from csgen.readers.pieces import Piece, read_blocks
from csgen.readers.sql_kernel import (
    BAD_TUPLE,
    BAD_VALUE,
    END,
    FULL,
    MORE,
    NULL,
    copy_texts,
    count_lines,
    find_tuples,
    match_texts,
    read_numbers,
)
from csgen.switching.primitives import SLACK

Bytes = NDArray[np.uint8]
Numbers = NDArray[np.int64]

_BATCH_ROWS = 1 << 16
_MAX_PENDING_BYTES = 16 << 20  # of a tuple or CREATE TABLE; MediaWiki's tuples are below 64 KiB
_STATEMENT = re.compile(
    rb"^(?:(?P<create>CREATE TABLE) (?:IF NOT EXISTS )?|(?:INSERT|REPLACE) (?:IGNORE )?INTO )`(?P<table>[^`\n]+)`", re.M
)
_INSERT = re.compile(rb"\s*(?:\((?P<columns>[^()']*)\)\s*)?VALUES\b")
_CREATE = re.compile(rb"(?P<columns>.*?)^\)[^\n]*;", re.M | re.S)
_COLUMN = re.compile(rb"^\s*`([^`]+)` ", re.M)
_HEADER = re.compile(rb"^-- (?:MySQL|MariaDB) dump ", re.M)
_HEADER_BYTES = 4096
_FOOTER = re.compile(rb"^-- Dump completed", re.M)

_REMEDY = "the dump was cut or changed: fetch it again"
_PROBLEMS = {
    BAD_TUPLE: "expected a tuple in brackets, and a comma or a semicolon behind it",
    BAD_VALUE: "expected a number, NULL or a text in balanced quotes, and a comma or a closing bracket behind it",
}


@dataclass(frozen=True)
class Tuples:
    """Some tuples of a table, one after the other; valid until the next are asked for."""

    path: str
    first: int  # number of the first of them in the table, from 1
    data: Bytes
    starts: Numbers  # (tuples, columns): where each value begins in data, without its quote; -1: NULL
    ends: Numbers
    columns: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.starts)

    def numbers(self, column: str, rows: Numbers | None = None) -> Numbers:
        """The values of a column of integers, int64: of all tuples, or of the indices `rows`."""
        place = self.columns.index(column)
        rows = np.arange(len(self)) if rows is None else rows
        numbers = np.empty(len(rows), np.int64)
        bad = read_numbers(self.data, self.starts[rows, place], self.ends[rows, place], numbers)
        if bad >= 0:
            raise self._refuse(int(rows[bad]), place, "an integer")
        return numbers

    def texts(self, column: str, rows: Numbers | None = None) -> pa.LargeBinaryArray:
        """The values of a column of texts, escapes undone, NULL as null: of all tuples, or of the indices `rows`."""
        place = self.columns.index(column)
        rows = np.arange(len(self)) if rows is None else rows
        starts, ends = self.starts[rows, place], self.ends[rows, place]
        out = np.empty(int((ends - starts).sum()) + SLACK, np.uint8)
        offsets = np.empty(len(rows) + 1, np.int64)
        bad = copy_texts(self.data, starts, ends, out, offsets)
        if bad >= 0:
            raise self._refuse(int(rows[bad]), place, "a text in quotes (mysqldump without --hex-blob)")
        is_valid = np.packbits(starts != NULL, bitorder="little")
        buffers = [pa.py_buffer(is_valid), pa.py_buffer(offsets), pa.py_buffer(out)]
        return pa.LargeBinaryArray.from_buffers(pa.large_binary(), len(rows), buffers)

    def matches(self, column: str, wanted: list[bytes]) -> Numbers:
        """For each tuple which of the `wanted` texts the column has, as an index; -1: none. No text needs an escape."""
        place = self.columns.index(column)
        bounds = np.cumsum([0, *map(len, wanted)])
        texts = np.frombuffer(b"".join(wanted), np.uint8)
        places = np.empty(len(self), np.int64)
        match_texts(self.data, self.starts[:, place], self.ends[:, place], texts, bounds, places)
        return places

    def _refuse(self, row: int, place: int, expected: str) -> InputError:
        start, end = self.starts[row, place], self.ends[row, place]
        got = "NULL" if start == NULL else self.data[start : min(end, start + 40)].tobytes().decode(errors="replace")
        return InputError.at(
            self.path, None, f"tuple {self.first + row}: expected {expected} as {self.columns[place]}, got {got}"
        )


def scan_table(path: str, table: str, columns: tuple[str, ...]) -> Iterator[Tuples]:
    """The tuples of `table` in the dump, with the values of `columns`, in the dump's order.

    An InputError names the line and byte, or the tuple, where the dump is cut, its quotes are not balanced, or a tuple
    has another number of values than the table has columns.
    """
    scanner = _Scanner(path, table, columns)
    for block in read_blocks(Piece(path)):
        yield from scanner.feed(block)
    scanner.finish()


class _Scanner:
    """What is known of a dump while its lines come in block by block."""

    def __init__(self, path: str, table: str, columns: tuple[str, ...]) -> None:
        self.path, self.table, self.columns = path, table, columns
        self.data = np.zeros(SLACK, np.uint8)  # an unfinished tuple or CREATE TABLE, the last block, slack
        self.end = 0  # of the block in data
        self.bytes, self.tuples = 0, 0  # of the dump, before data
        self.lines = 0  # up to the end of data
        self.layouts: dict[str, list[str]] = {}  # the columns of the tables whose CREATE TABLE was seen
        self.inserting: str | None = None  # the table of the INSERT statement that data begins in
        self.slots, self.width = np.empty(0, np.int64), -1  # see find_tuples
        self.promises_footer, self.has_footer = False, False
        shape = _BATCH_ROWS, len(columns)
        self.starts, self.ends = np.empty(shape, np.int64), np.empty(shape, np.int64)

    def feed(self, block: bytes) -> Iterator[Tuples]:
        """The tuples that are complete with this block of whole lines."""
        self._append(block)
        at, goes_on = 0, True
        while goes_on:
            if self.inserting is None:
                at, goes_on = self._find_statement(at)
                continue
            begin = at
            status, at, number, width = find_tuples(
                self.data, at, self.end, self.slots, self.width, self.starts, self.ends
            )
            if status not in (MORE, FULL, END):
                raise self._error(at, number, status, width)
            if number and self.inserting == self.table:
                found = self.starts[:number], self.ends[:number]
                yield Tuples(self.path, self.tuples + 1, self.data, *found, self.columns)
                self.tuples += number
            if status == END:
                self.inserting = None
            goes_on = status != MORE and at > begin
        self._drop(at)

    def finish(self) -> None:
        """Refuse a dump that ends too early, or has no such table."""
        if self.inserting is not None or self.end:
            raise self._at(self.end, f"the file ends within tuple {self.tuples + 1} or before its semicolon; {_REMEDY}")
        if self.table not in self.layouts:
            seen = ", ".join(self.layouts) or "none"
            raise InputError.at(self.path, None, f"expected a dump of the table {self.table}, found tables: {seen}")
        if self.promises_footer and not self.has_footer:
            raise self._at(0, f"the file ends without the line '-- Dump completed'; {_REMEDY}")

    def _append(self, block: bytes) -> None:
        """Put the block behind what is left in data."""
        if not self.bytes and not self.end:
            self.promises_footer = _HEADER.search(block, 0, _HEADER_BYTES) is not None
        needed = self.end + len(block) + SLACK
        if needed > len(self.data):
            self.data = np.concatenate([self.data[: self.end], np.zeros(needed - self.end, np.uint8)])
        self.data[self.end : self.end + len(block)] = np.frombuffer(block, np.uint8)
        self.end += len(block)
        self.lines += count_lines(self.data, self.end - len(block), self.end)

    def _drop(self, end: int) -> None:
        """Forget the data before `end`."""
        left = self.data[end : self.end].copy()
        if len(left) > _MAX_PENDING_BYTES:
            message = (
                f"tuple {self.tuples + 1} has no end within {_MAX_PENDING_BYTES} bytes: unbalanced quotes? {_REMEDY}"
            )
            raise self._at(end, message)
        self.bytes += end
        self.data[: len(left)] = left
        self.end = len(left)

    def _find_statement(self, at: int) -> tuple[int, bool]:
        """Where the next INSERT's tuples begin or a CREATE TABLE ends; False: the rest has neither, or not the end."""
        text = self.data.data
        found = _STATEMENT.search(text, at, self.end)
        if found is None:
            self.has_footer |= _FOOTER.search(text, at, self.end) is not None
            return self.end, False
        table = found["table"].decode(errors="replace")
        if found["create"]:
            created = _CREATE.match(text, found.end(), self.end)
            if created is None:
                return found.start(), False
            self.layouts[table] = _names(_COLUMN.findall(created["columns"]))
            return created.end(), True
        insert = _INSERT.match(text, found.end(), self.end)
        if insert is None:
            raise self._at(found.start(), f"expected VALUES after INSERT INTO `{table}`; {_REMEDY}")
        self._enter(table, insert["columns"], found.start())
        return insert.end(), True

    def _enter(self, table: str, written: bytes | None, at: int) -> None:
        """Begin an INSERT statement at `at`; `written`: the columns that it names itself."""
        self.inserting = table
        self.slots, self.width = np.empty(0, np.int64), -1
        if table != self.table:
            return
        if written is not None:
            self.layouts[table] = _names(re.findall(rb"`([^`]+)`", written))
        if table not in self.layouts:
            raise self._at(at, f"INSERT INTO `{table}` before its CREATE TABLE, which names the columns; {_REMEDY}")
        layout = self.layouts[table]
        if missing := [column for column in self.columns if column not in layout]:
            raise self._at(at, f"expected the columns {', '.join(missing)} in {table}; it has {', '.join(layout)}")
        self.slots = np.array([self.columns.index(c) if c in self.columns else -1 for c in layout], np.int64)
        self.width = len(layout)

    def _error(self, at: int, number: int, status: int, width: int) -> InputError:
        problem = _PROBLEMS.get(status, f"expected {self.width} values, got {width}")
        return self._at(at, f"tuple {self.tuples + number + 1}: {problem}; {_REMEDY}")

    def _at(self, at: int, message: str) -> InputError:
        line = self.lines - count_lines(self.data, at, self.end) + 1
        return InputError.at(self.path, line, f"byte {self.bytes + at}: {message}")


def _names(names: list[bytes]) -> list[str]:
    return [name.decode(errors="replace") for name in names]
