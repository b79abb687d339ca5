"""Blocks and pieces of text files: every line once, in order, whatever the sizes and the compression; bad files."""

import bz2
import gzip
import lzma
import re
from pathlib import Path
from tempfile import TemporaryDirectory

import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from csgen.errors import InputError
from csgen.readers.columns import Reading, join_readings
from csgen.readers.pieces import Piece, read_blocks, split_file

TEXT = st.text("ab\n", max_size=60).map(str.encode)


def compress_zstd(data: bytes) -> bytes:
    return pa.compress(data, "zstd", asbytes=True)


COMPRESS = {".gz": gzip.compress, ".xz": lzma.compress, ".zst": compress_zstd, ".bz2": bz2.compress}


def write(path: Path, content: bytes) -> str:
    path.write_bytes(content)
    return str(path)


def pack(data: bytes, ending: str, member_bytes: int) -> bytes:
    """As several streams one after the other, as parallel compressors write them."""
    if not ending:
        return data
    parts = [data[start : start + member_bytes] for start in range(0, len(data), member_bytes)]
    return b"".join(COMPRESS[ending](part) for part in parts or [b""])


def read(piece, **sizes) -> bytes:
    return b"".join(read_blocks(piece, **sizes))


def lines_of(text: bytes) -> list[bytes]:
    return re.findall(rb"[^\n]*\n|[^\n]+$", text)


@settings(deadline=None)
@given(
    text=TEXT,
    ending=st.sampled_from(["", ".gz", ".bz2", ".xz", ".zst"]),
    member_bytes=st.integers(1, 40),
    piece_bytes=st.integers(1, 200),
    block_bytes=st.integers(1, 40),
)
def test_joined_pieces_give_the_files_lines_in_whole_blocks(text, ending, member_bytes, piece_bytes, block_bytes):
    with TemporaryDirectory() as folder:
        path = write(Path(folder) / f"a.jsonl{ending}", pack(text, ending, member_bytes))
        pieces = split_file(path, piece_bytes)
        blocks = [block for piece in pieces for block in read_blocks(piece, block_bytes)]
    assert b"".join(blocks) == text
    assert all(block.endswith(b"\n") for block in blocks[:-1])


@settings(deadline=None)
@given(text=TEXT, piece_bytes=st.integers(1, 20))
def test_line_belongs_to_the_piece_where_it_begins_or_right_before_which_the_piece_ends(text, piece_bytes):
    with TemporaryDirectory() as folder:
        path = write(Path(folder) / "a.txt", text)
        pieces = split_file(path, piece_bytes)
        found = [lines_of(read(piece)) for piece in pieces]
    begin, expected = 0, [[] for _ in pieces]
    for line in lines_of(text):
        expected[max(begin - 1, 0) // piece_bytes].append(line)
        begin += len(line)
    assert found == expected


def test_streams_of_bz2_are_split_and_each_piece_unpacks_its_own(tmp_path):
    data = b"".join(b"line %d\n" % number for number in range(3000))
    packed = pack(data, ".bz2", 5000)
    path = write(tmp_path / "a.bz2", packed)
    pieces = split_file(path, piece_bytes=len(packed) // 4)
    assert len(pieces) in (3, 4)
    assert [packed[p.start : p.start + 3] for p in pieces] == [b"BZh"] * len(pieces)
    # the last piece alone, after the others are destroyed
    write(tmp_path / "a.bz2", bytes(pieces[-1].start) + packed[pieces[-1].start :])
    assert data.endswith(read(pieces[-1]))


def test_empty_streams_of_bz2_are_no_obstacle(tmp_path):
    packed = bz2.compress(b"") + bz2.compress(b"one\ntw") + bz2.compress(b"") + bz2.compress(b"o\nthree")
    path = write(tmp_path / "a.bz2", packed)
    assert b"".join(read(piece) for piece in split_file(path, 1)) == b"one\ntwo\nthree"


def test_bz2_of_one_stream_is_one_piece(tmp_path):
    path = write(tmp_path / "a.bz2", bz2.compress(bytes(range(256)) * 40))
    assert split_file(path, piece_bytes=10) == [Piece(path)]


def test_what_only_looks_like_the_start_of_a_stream_does_not_split(tmp_path):
    real = bz2.compress(b"one\n")
    path = write(tmp_path / "a.bz2", real + b"BZh91AY&SY, said the impostor")
    assert split_file(path, piece_bytes=10) == [Piece(path)]


def test_piece_that_ends_within_a_stream_is_refused(tmp_path):
    packed = bz2.compress(b"one\n" * 1000)
    with pytest.raises(InputError, match="has no end"):
        read(Piece(write(tmp_path / "a.bz2", packed), 0, len(packed) - 5))


@pytest.mark.parametrize("ending", [".gz", ".xz", ".zst"])
def test_other_compressed_files_are_one_piece(tmp_path, ending):
    path = write(tmp_path / f"a{ending}", pack(b"one\ntwo\n", ending, 4))
    assert split_file(path, piece_bytes=1) == [Piece(path)]


def test_empty_file_is_one_piece_without_blocks(tmp_path):
    path = write(tmp_path / "a.txt", b"")
    assert [list(read_blocks(piece)) for piece in split_file(path)] == [[]]


@pytest.mark.parametrize("ending", COMPRESS)
def test_truncated_file_is_refused_with_the_line_and_the_remedy(tmp_path, ending):
    packed = COMPRESS[ending](b"".join(b"line %d\n" % number for number in range(3000)))
    path = write(tmp_path / f"a.jsonl{ending}", packed[:-9])
    place = rf"a\.jsonl{re.escape(ending)}:\d+: cannot be read from about here on.*fetch the file again"
    with pytest.raises(InputError, match=place):
        read(Piece(path), block_bytes=1000)


@pytest.mark.parametrize("ending", COMPRESS)
def test_file_of_another_kind_is_refused(tmp_path, ending):
    path = write(tmp_path / f"a.jsonl{ending}", b"<html>Not found</html>\n")
    with pytest.raises(InputError, match="cannot be read"):
        read(Piece(path))


@pytest.mark.parametrize("ending", ["", *COMPRESS])
def test_endless_line_is_refused_with_its_number(tmp_path, ending):
    path = write(tmp_path / f"a.jsonl{ending}", pack(b"one\ntwo\n" + b"x" * 400_000, ending, 1 << 20))
    with pytest.raises(InputError, match=rf"a\.jsonl{re.escape(ending)}:3: expected a line of at most 1000 bytes"):
        read(Piece(path), max_line_bytes=1000)


@settings(deadline=None)
@given(text=TEXT, limit=st.integers(1, 20), block_bytes=st.integers(1, 40))
def test_lines_up_to_the_limit_are_read_and_longer_ones_refused(text, limit, block_bytes):
    with TemporaryDirectory() as folder:
        path = write(Path(folder) / "a.txt", text)
        too_long = [number for number, line in enumerate(lines_of(text), 1) if len(line.rstrip(b"\n")) > limit]
        if too_long:
            with pytest.raises(InputError, match=rf"a\.txt:{too_long[0]}: "):
                read(Piece(path), block_bytes=block_bytes, max_line_bytes=limit)
        else:
            assert read(Piece(path), block_bytes=block_bytes, max_line_bytes=limit) == text


def test_error_within_a_later_piece_names_the_byte_it_starts_at(tmp_path):
    path = write(tmp_path / "a.txt", b"one\n" * 10 + b"x" * 100)
    with pytest.raises(InputError, match=r"a\.txt: line 8 after byte 10: expected a line"):
        read(Piece(path, 10), max_line_bytes=50)


@pytest.mark.parametrize("name", ["a.txt", "a.bz2"])
def test_missing_file_is_refused(tmp_path, name):
    with pytest.raises(InputError, match="no such file"):
        split_file(str(tmp_path / name))


# --- joining what was read of pieces ---


def reading_of(lines, pairs, malformed=(), **others):
    schema = {"line": pl.Int64, "source": pl.String, "target": pl.String, "weight": pl.Float64}
    bad = pl.DataFrame(list(malformed), schema={"line": pl.Int64, "reason": pl.String}, orient="row")
    counts = {"lines": lines, "blank": 0} | others.pop("counts", {})
    return Reading(pl.DataFrame(pairs, schema=schema, orient="row"), bad, counts, **others)


def test_joined_readings_number_lines_through():
    first = reading_of(5, [(2, "dog", "Hund", 1.0)], [(5, "bad")], counts={"redirects": 1}, licence="CC0")
    second = reading_of(3, [(1, "cat", "Katze", 1.0)], [(2, "worse")], about={"title": "T"})
    joined = join_readings([first, second])
    assert joined.pairs["line"].to_list() == [2, 6]
    assert joined.malformed.rows() == [(5, "bad"), (7, "worse")]
    assert joined.counts == {"lines": 8, "blank": 0, "redirects": 1}
    assert (joined.licence, joined.about) == ("CC0", {"title": "T"})
