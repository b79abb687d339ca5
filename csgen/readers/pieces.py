"""Text files of any size in blocks of whole lines, and in pieces that are read apart. Knows no format of lines.

Memory is bounded by the size of a block and of the longest line allowed, however far the file expands.
"""

import bz2
import re
from collections.abc import Iterator
from dataclasses import dataclass

from csgen.errors import InputError
from csgen.files import COMPRESSIONS, READ_ERRORS, fingerprint, open_input, open_packed

BLOCK_BYTES = 1 << 18  # larger blocks make malloc return their pages, and reading gzip a third to a half slower

_STREAM = re.compile(rb"BZh[1-9]1AY&SY")  # a stream's head and, by the digits of pi, that of its first block
_SEARCH_BYTES = 8 << 20  # pbzip2 and multistream dumps begin a stream every megabyte or more often
_PROOF_BYTES = 1 << 20  # of text: more than a block holds, so that its checksum has been compared
_PACKED_BYTES = 1 << 17
_AHEAD_BYTES = 1 << 16


@dataclass(frozen=True)
class Piece:
    """The lines that begin within a range of a file's own, maybe compressed, bytes.

    A line that begins right at `end` belongs to the piece as well, and so not to the piece that starts there.
    """

    path: str
    start: int = 0
    end: int | None = None  # None: to the file's end


def split_file(path: str, piece_bytes: int = 64 << 20) -> list[Piece]:
    """The pieces of a file, in its order, of about `piece_bytes` each; together they hold each line once.

    Uncompressed files are split anywhere, .bz2 where one of its streams starts; all else is one piece.
    """
    size = _file_bytes(path)
    if path.endswith(".bz2"):
        starts = _stream_starts(path, size, piece_bytes)
    elif path.endswith(tuple(COMPRESSIONS)):
        starts = [0]
    else:
        starts = list(range(0, max(size, 1), piece_bytes))
    return [Piece(path, start, end) for start, end in zip(starts, [*starts[1:], None], strict=True)]


def read_blocks(piece: Piece, block_bytes: int = BLOCK_BYTES, max_line_bytes: int = 64 << 20) -> Iterator[bytes]:
    """The lines of a piece in blocks of about `block_bytes`, each of whole lines; the file's last line may have no end.

    A longer line than `max_line_bytes`, and a file that is damaged or ends too early, are refused.
    """
    held: list[bytes] = []  # the beginning of a line
    held_bytes = done_bytes = 0
    text_bytes = min(block_bytes, max_line_bytes)  # so that what is too long is seen as held
    try:
        for text in _read_own_lines(piece, text_bytes):
            end = text.rfind(b"\n") + 1
            if held_bytes + (text.find(b"\n") if end else len(text)) > max_line_bytes:
                message = (
                    f"expected a line of at most {max_line_bytes} bytes, got a longer one; is it another kind of file?"
                )
                raise _error(piece, text_bytes, done_bytes, message)
            if end:
                block = b"".join((*held, memoryview(text)[:end]))
                done_bytes += len(block)
                held, held_bytes = [], 0
                yield block
            held.append(text[end:])
            held_bytes += len(text) - end
    except READ_ERRORS as error:
        message = f"cannot be read from about here on, it is damaged or was cut short ({error}); fetch the file again"
        raise _error(piece, text_bytes, done_bytes, message) from error
    if held_bytes:
        yield b"".join(held)


def read_lines(piece: Piece) -> Iterator[tuple[bytes, int, int]]:
    """Each line of a piece as a block and the line's bounds in it, without its end: most are judged uncopied."""
    for block in read_blocks(piece):
        start = 0
        while start < len(block):
            end = block.find(b"\n", start)
            end = len(block) if end < 0 else end
            yield block, start, end
            start = end + 1


def _error(piece: Piece, text_bytes: int, done_bytes: int, message: str) -> InputError:
    """Of the line after `done_bytes`; they are read again, since counting lines all the time would slow all reading."""
    line = 1
    texts = _read_own_lines(piece, text_bytes)
    while done_bytes > 0:
        text = next(texts)
        line += text.count(b"\n", 0, done_bytes)
        done_bytes -= len(text)
    if piece.start:
        return InputError.at(piece.path, None, f"line {line} after byte {piece.start}: {message}")
    return InputError.at(piece.path, line, message)


def _read_own_lines(piece: Piece, text_bytes: int) -> Iterator[bytes]:
    """The text from where the piece's first line begins to where its last one ends, in parts of any size."""
    texts = _read_text(piece.path, piece.start, piece.end, text_bytes)
    if piece.start:
        for text in texts:
            if begin := text.find(b"\n") + 1:
                yield text[begin:]
                break
        else:
            return  # a line of a former piece goes on beyond this one
    yield from texts
    if piece.end is not None:
        for text in _read_text(piece.path, piece.end, None, min(text_bytes, _AHEAD_BYTES)):
            end = text.find(b"\n") + 1
            yield text[:end] if end else text
            if end:
                return


def _read_text(path: str, start: int, end: int | None, text_bytes: int) -> Iterator[bytes]:
    """The decompressed bytes of a range, in parts of at most `text_bytes`."""
    if path.endswith(".bz2"):
        yield from _unpack_bz2(_read_range(path, start, end, _PACKED_BYTES), text_bytes)
    elif path.endswith(tuple(COMPRESSIONS)):
        with open_input(path) as stream:
            while text := stream.read(text_bytes):
                yield text
    else:
        yield from _read_range(path, start, end, text_bytes)


def _read_range(path: str, start: int, end: int | None, part_bytes: int) -> Iterator[bytes]:
    """The file's bytes from `start` to `end`, as they stand in it."""
    with open_packed(path) as stream:
        stream.seek(start)
        while part := stream.read(part_bytes if end is None else min(part_bytes, end - stream.tell())):
            yield part


def _unpack_bz2(packed: Iterator[bytes], text_bytes: int) -> Iterator[bytes]:
    """The text of the streams that `packed` holds one after the other; the last has to end with it."""
    stream, rest = bz2.BZ2Decompressor(), b""
    is_new = True
    while True:
        if stream.needs_input and not rest:
            rest = next(packed, b"")
            if not rest and is_new:
                return
            if not rest:
                raise EOFError("the compressed stream has no end")
        text = stream.decompress(rest, text_bytes)
        rest, is_new = b"", False
        if stream.eof:
            stream, rest, is_new = bz2.BZ2Decompressor(), stream.unused_data, True
        if text:
            yield text


def _stream_starts(path: str, size: int, piece_bytes: int) -> list[int]:
    """0, and the first start of a stream after each `piece_bytes`; where none comes soon, the piece is longer."""
    starts = [0]
    wanted = piece_bytes
    while wanted < size:
        if found := _find_stream(path, wanted):
            starts.append(found)
        wanted = (found or wanted) + piece_bytes
    return starts


def _find_stream(path: str, begin: int) -> int | None:
    """The first place from `begin` on where a stream starts, None if none starts soon.

    What looks like a start by chance (one in 2 ** 77) is told apart by the checksum of its block. Were it right too,
    reading the piece before would fail, since its last stream would not end there: no line can be lost unseen.
    """
    with open_packed(path) as stream:
        stream.seek(begin)
        data = stream.read(_SEARCH_BYTES)
    places = (begin + match.start() for match in _STREAM.finditer(data))
    return next((place for place in places if _is_stream(path, place)), None)


def _is_stream(path: str, start: int) -> bool:
    text_bytes = 0
    try:
        for text in _unpack_bz2(_read_range(path, start, None, _PACKED_BYTES), _PROOF_BYTES):
            text_bytes += len(text)
            if text_bytes >= _PROOF_BYTES:
                return True
    except READ_ERRORS:
        return False
    return True


def _file_bytes(path: str) -> int:
    try:
        return int(fingerprint(path)["bytes"])
    except FileNotFoundError as error:
        raise InputError.at(path, None, "no such file") from error
