"""Word vectors: reads word2vec's and fastText's text form. Knows nothing of what they are compared with.

`N D` in the first line, if it is there, then a line a word, the most frequent first: `word v1 .. vd`.
"""

from collections import Counter
from dataclasses import dataclass
from itertools import chain
from typing import Literal

import numpy as np
import polars as pl
import pyarrow as pa
from numpy.typing import NDArray

from csgen.errors import InputError
from csgen.induction import vector_lines as flaw
from csgen.induction.vector_lines import MAX_WORD_BYTES, count_fields, parse_lines
from csgen.readers.columns import NOT_UTF8, decode_column
from csgen.readers.pieces import Piece, read_blocks

OnError = Literal["fail", "skip"]

MAX_WORDS = 200_000  # the paper's vocabulary
MAX_DIMENSIONS = 10_000
DUPLICATE = "the word stands on an earlier line"

_BLOCK_BYTES = 8 << 20
_FIELD_BYTES = 64  # more than any way to write a number takes
_MAX_LINE_BYTES = MAX_DIMENSIONS * _FIELD_BYTES + MAX_WORD_BYTES
_PROBED_LINES = 100  # that say the dimension where no header does
_REMEDY = "mend the file, or leave out such lines by --on-error skip"


@dataclass(frozen=True)
class Vectors:
    """Words and their vectors, the most frequent first."""

    words: pl.Series  # String, distinct
    matrix: NDArray[np.float32]  # (num_words, num_dimensions), contiguous, rows of unit length
    skipped: pl.DataFrame  # of the file's lines, in their order: `line` (int64, from 1) and `reason`

    @property
    def num_dimensions(self) -> int:
        return int(self.matrix.shape[1])


@dataclass(frozen=True)
class _Header:
    num_words: int | None  # None: the file has no header
    num_dimensions: int


@dataclass(frozen=True)
class _Part:
    """What a block of lines gives."""

    lines: NDArray[np.int64]  # of the good ones
    words: pl.Series
    matrix: NDArray[np.float32]
    skipped: list[tuple[int, str]]


def read_vectors(path: str, max_words: int = MAX_WORDS, on_error: OnError = "fail") -> Vectors:
    """The vectors on the first `max_words` lines after the header, scaled to unit length.

    A word may hold blanks: the last D fields are the vector. Of a word on several lines the first stands, and the
    others are in `skipped`. Any other flaw is an InputError that names the line, or with "skip" a row of `skipped`.
    """
    blocks = read_blocks(Piece(path), _BLOCK_BYTES, _MAX_LINE_BYTES)
    header, first = _take_header(path, next(blocks, b""))
    first_line = 1 if header.num_words is None else 2
    num_lines, parts = 0, []
    for block in chain([first], blocks):
        data = np.frombuffer(block, np.uint8)
        bounds = _line_bounds(data)[: max_words - num_lines + 1]
        parts.append(_parse_block(path, data, bounds, first_line + num_lines, header.num_dimensions, on_error))
        num_lines += len(bounds) - 1
        if num_lines >= max_words:
            break
    skipped = [row for part in parts for row in part.skipped]
    if header.num_words is not None and num_lines != min(header.num_words, max_words):
        reason = f"the header says {header.num_words} vectors, the file has {num_lines}"
        if on_error == "fail":
            raise InputError.at(path, 1, f"{reason}; fetch the file again, or take it as it is by --on-error skip")
        skipped.insert(0, (1, reason))
    return _join(path, parts, skipped)


def _parse_block(
    path: str,
    data: NDArray[np.uint8],
    bounds: NDArray[np.int64],
    first_line: int,
    num_dimensions: int,
    on_error: OnError,
) -> _Part:
    lines = first_line + np.arange(len(bounds) - 1)
    lengths = np.diff(bounds)
    if (too_long := lengths > (num_dimensions + 1) * _FIELD_BYTES + MAX_WORD_BYTES).any():
        line, length = int(lines[too_long][0]), lengths[too_long][0]
        raise InputError.at(path, line, f"{length} bytes for a word and {num_dimensions} numbers: are these vectors?")
    flaws, matrix, words, word_bounds = parse_lines(data, bounds, num_dimensions)
    buffers = [None, pa.py_buffer(word_bounds), pa.py_buffer(words)]
    texts = decode_column(pa.LargeBinaryArray.from_buffers(pa.large_binary(), len(word_bounds) - 1, buffers))
    good = flaws == flaw.GOOD
    reasons = {int(lines[i]): _explain(int(flaws[i]), num_dimensions) for i in np.flatnonzero(~good)}
    reasons |= {int(line): NOT_UTF8 for line in lines[good][texts.is_null().to_numpy()]}
    if reasons and on_error == "fail":
        line = min(reasons)
        text = data[bounds[line - first_line] : bounds[line - first_line + 1]].tobytes()
        got = f", got {count_fields(text)} fields" if "expected" in reasons[line] else ""
        raise InputError.at(path, line, f"{reasons[line]}{got}; {_REMEDY}")
    return _Part(lines[good], texts, matrix, sorted(reasons.items()))


def _explain(code: int, num_dimensions: int) -> str:
    return {
        flaw.FEW_NUMBERS: f"expected a word and {num_dimensions} numbers",
        flaw.MANY_NUMBERS: f"expected a word and {num_dimensions} numbers, more follow each other",
        flaw.NO_NUMBER: f"expected a word and {num_dimensions} numbers, one is no number",
        flaw.NOT_FINITE: "a number is not finite (nan, inf or beyond what 32 bits hold)",
        flaw.ZERO: "all numbers are zero: such a vector has no direction",
        flaw.NO_WORD: "the word is empty",
        flaw.LONG_WORD: f"the word has more than {MAX_WORD_BYTES} bytes",
    }[code]


def _join(path: str, parts: list[_Part], skipped: list[tuple[int, str]]) -> Vectors:
    """The parts in one, without words that are not UTF-8 and without duplicates."""
    words = pl.concat([part.words for part in parts]).alias("word")
    lines = np.concatenate([part.lines for part in parts])
    matrix = np.concatenate([part.matrix for part in parts])
    parts.clear()
    repeated = (~words.is_first_distinct() & words.is_not_null()).to_numpy()
    skipped = sorted([*skipped, *((int(line), DUPLICATE) for line in lines[repeated])])
    keep = words.is_not_null().to_numpy() & ~repeated
    if not keep.any():
        reasons = Counter(reason for _, reason in skipped).most_common(3)
        told = "; ".join(f"{number} lines: {reason}" for reason, number in reasons)
        raise InputError.at(path, None, f"no vector is left; {told}")
    if not keep.all():
        words, matrix = words.filter(keep), matrix[keep]
    return Vectors(words, matrix, pl.DataFrame(skipped, {"line": pl.Int64, "reason": pl.String}, orient="row"))


def _line_bounds(data: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Where each line starts, and where the last one ends."""
    starts = np.flatnonzero(data == ord("\n")).astype(np.int64) + 1
    return np.unique(np.concatenate([[0], starts, [len(data)]]))


def _take_header(path: str, block: bytes) -> tuple[_Header, bytes]:
    """The header, said by the first line or guessed from the first lines, and the block without it."""
    block = block.removeprefix(b"\xef\xbb\xbf")
    if not block.strip():
        raise InputError.at(path, None, "is empty; expected lines of a word and its vector")
    if b"\0" in block:
        raise InputError.at(
            path, None, "is binary; expected text, as gensim's save_word2vec_format(binary=False) writes"
        )
    first, _, rest = block.partition(b"\n")
    fields = first.split()
    if len(fields) == 2 and all(field.isdigit() for field in fields):
        header = _Header(int(fields[0][:18]), int(fields[1][:18]))
        block = rest
    else:
        widths = [count_fields(line) - 1 for line in block.split(b"\n", _PROBED_LINES)[:_PROBED_LINES] if line.strip()]
        header = _Header(None, Counter(widths).most_common(1)[0][0])
    if not 1 <= header.num_dimensions <= MAX_DIMENSIONS:
        got = f"expected vectors of 1 to {MAX_DIMENSIONS} numbers, got {header.num_dimensions}"
        raise InputError.at(path, 1, f"{got}; is it word2vec's text form?")
    return header, block
