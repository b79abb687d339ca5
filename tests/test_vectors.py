"""Word vectors in word2vec's and fastText's text form."""

import bz2
import gzip
import lzma

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from csgen.errors import InputError
from csgen.induction import vectors as module
from csgen.induction.vectors import DUPLICATE, read_vectors

GOOD = "3 2\nthe 3 4\nHäuser -1.5 2e0\nof 0.0 -7.25E-3\n"


def write(path, content):
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return str(path)


def unit(rows):
    rows = np.array(rows, np.float64)
    return (rows / np.linalg.norm(rows, axis=1)[:, None]).astype(np.float32)


# --- good files ---


def test_words_and_unit_vectors_are_read_in_order(tmp_path):
    vectors = read_vectors(write(tmp_path / "a.vec", GOOD))
    assert vectors.words.to_list() == ["the", "Häuser", "of"]
    np.testing.assert_allclose(vectors.matrix, unit([[3, 4], [-1.5, 2], [0, -0.00725]]), atol=1e-7)
    assert vectors.matrix.dtype == np.float32
    assert vectors.matrix.flags.c_contiguous
    assert vectors.skipped.is_empty()


@pytest.mark.parametrize(
    "content",
    [
        GOOD.partition("\n")[2],  # as GloVe: no header
        GOOD.replace("\n", " \n"),  # as fastText: a blank at the end
        GOOD.replace("\n", "\r\n"),
        GOOD.replace(" ", "\t"),
        GOOD.rstrip("\n"),
        "\ufeff" + GOOD,
    ],
)
def test_variants_of_the_form_read_alike(tmp_path, content):
    expected = read_vectors(write(tmp_path / "a.vec", GOOD))
    vectors = read_vectors(write(tmp_path / "b.vec", content))
    assert vectors.words.to_list() == expected.words.to_list()
    np.testing.assert_array_equal(vectors.matrix, expected.matrix)


@pytest.mark.parametrize("ending", [".gz", ".bz2", ".xz", ".zst"])
def test_compressed_files_are_read_by_their_ending(tmp_path, ending):
    compress = {".gz": gzip.compress, ".bz2": bz2.compress, ".xz": lzma.compress}
    compress[".zst"] = lambda data: pa.compress(data, "zstd", asbytes=True)
    path = write(tmp_path / f"a.vec{ending}", compress[ending](GOOD.encode()))
    assert read_vectors(path).words.to_list() == ["the", "Häuser", "of"]


def test_word_may_hold_blanks(tmp_path):
    vectors = read_vectors(write(tmp_path / "a.vec", "3 2\n. . . 1 2\napollo 11 3 4\nno\u00a0break 5 6\n"))
    assert vectors.words.to_list() == [". . .", "apollo 11", "no\u00a0break"]


def test_word_may_be_a_number(tmp_path):
    assert read_vectors(write(tmp_path / "a.vec", "1990 0.1 0.2\n2.5 0.3 0.4\n")).words.to_list() == ["1990", "2.5"]


def test_only_the_first_lines_are_read(tmp_path):
    vectors = read_vectors(write(tmp_path / "a.vec", "4 2\na 1 2\nb 3 4\nc broken\nd 5 6\n"), max_words=2)
    assert vectors.words.to_list() == ["a", "b"]


def test_result_does_not_depend_on_the_blocks(tmp_path, monkeypatch):
    lines = [f"w{i} {i} 1 -{i}.5" for i in range(50)]
    lines[20] = "broken 1"
    path = write(tmp_path / "a.vec", "50 3\n" + "\n".join(lines))
    expected = read_vectors(path, on_error="skip")
    monkeypatch.setattr(module, "_BLOCK_BYTES", 40)
    vectors = read_vectors(path, on_error="skip")
    assert vectors.words.to_list() == expected.words.to_list()
    np.testing.assert_array_equal(vectors.matrix, expected.matrix)
    assert vectors.skipped.rows() == expected.skipped.rows() == [(22, "expected a word and 3 numbers")]


@settings(deadline=None)
@given(st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), min_size=1, max_size=6), st.data())
def test_numbers_are_read_as_python_reads_them(tmp_path_factory, values, data):
    form = st.sampled_from(["{!r}", "{:.5f}", "{:.8e}", "{:+.3E}", "{:.20f}", "{:.0f}."])
    written = [data.draw(form).format(value) for value in values]
    expected = np.array([float(text) for text in written])
    if np.linalg.norm(expected) < 1e-37:
        return
    path = write(tmp_path_factory.mktemp("v") / "a.vec", f"1 {len(values)}\nword {' '.join(written)}\n")
    np.testing.assert_allclose(read_vectors(path).matrix[0], expected / np.linalg.norm(expected), rtol=1e-6, atol=1e-38)


# --- bad files ---

FLAWS = [
    ("alone", "expected a word and 2 numbers, got 1 fields"),
    ("short 1", "expected a word and 2 numbers, got 2 fields"),
    ("wide 0.1 0.2 0.3", "expected a word and 2 numbers, more follow each other, got 4 fields"),
    ("word 1 two", "one is no number"),
    ("word 1 2e", "one is no number"),
    ("word 1 1.2.3", "one is no number"),
    ("word 1 -", "one is no number"),
    ("word 1 0x10", "one is no number"),
    ("word 1 nan", "not finite"),
    ("word -inf 1", "not finite"),
    ("word 1 Infinity", "not finite"),
    ("word 1 1e39", "not finite"),
    ("word 1 1e999999999999", "not finite"),
    ("word 0 -0.0", "all numbers are zero"),
    ("word 1e-400 0", "all numbers are zero"),
    (" 1 2", "the word is empty"),
    ("", "expected a word and 2 numbers, got 0 fields"),
    ("x" * 1001 + " 1 2", "more than 1000 bytes"),
    (b"h\xe4user 1 2", "not UTF-8"),
]


@pytest.mark.parametrize(("line", "reason"), FLAWS)
def test_flaw_is_an_error_with_its_line_and_a_remedy(tmp_path, line, reason):
    line = line.encode() if isinstance(line, str) else line
    path = write(tmp_path / "a.vec", b"3 2\na 1 2\n" + line + b"\nb 3 4\n")
    with pytest.raises(InputError) as caught:
        read_vectors(path)
    assert f"{path}:3: " in str(caught.value)
    assert reason in str(caught.value)
    assert "--on-error skip" in str(caught.value)


@pytest.mark.parametrize(("line", "reason"), FLAWS)
def test_flaw_is_skipped_and_kept_with_its_place_where_asked(tmp_path, line, reason):
    line = line.encode() if isinstance(line, str) else line
    path = write(tmp_path / "a.vec", b"3 2\na 1 2\n" + line + b"\nb 3 4\n")
    vectors = read_vectors(path, on_error="skip")
    assert vectors.words.to_list() == ["a", "b"]
    np.testing.assert_array_equal(vectors.matrix, unit([[1, 2], [3, 4]]))
    ((number, given_reason),) = vectors.skipped.rows()
    assert number == 3
    assert reason.partition(", got")[0] in given_reason


def test_first_of_several_lines_of_a_word_stands(tmp_path):
    vectors = read_vectors(write(tmp_path / "a.vec", "3 2\na 1 2\na 3 4\nb 5 6\n"))
    assert vectors.words.to_list() == ["a", "b"]
    np.testing.assert_array_equal(vectors.matrix, unit([[1, 2], [5, 6]]))
    assert vectors.skipped.rows() == [(3, DUPLICATE)]


def test_word_cut_by_a_line_feed_leaves_a_flaw_and_a_line_too_many(tmp_path):
    vectors = read_vectors(write(tmp_path / "a.vec", "3 2\na 1 2\nbro\nken 3 4\nb 5 6\n"), on_error="skip")
    assert vectors.words.to_list() == ["a", "ken", "b"]
    assert vectors.skipped.rows() == [
        (1, "the header says 3 vectors, the file has 4"),
        (3, "expected a word and 2 numbers"),
    ]


@pytest.mark.parametrize(("said", "lines"), [(5, 2), (1, 2)])
def test_header_that_disagrees_with_the_lines_is_an_error(tmp_path, said, lines):
    path = write(tmp_path / "a.vec", f"{said} 2\na 1 2\nb 3 4\n")
    with pytest.raises(InputError, match=f"a.vec:1: the header says {said} vectors, the file has {lines}; fetch"):
        read_vectors(path)
    vectors = read_vectors(path, on_error="skip")
    assert len(vectors.words) == 2
    assert vectors.skipped["line"].to_list() == [1]


def test_vectors_narrower_than_the_header_says_are_an_error_at_the_first(tmp_path):
    path = write(tmp_path / "a.vec", "2 3\na 1 2\nb 3 4\n")
    with pytest.raises(InputError, match=r"a\.vec:2: expected a word and 3 numbers, got 3 fields"):
        read_vectors(path)
    with pytest.raises(InputError, match="no vector is left; 2 lines: expected a word and 3 numbers"):
        read_vectors(path, on_error="skip")


def test_broken_first_line_does_not_say_the_width(tmp_path):
    vectors = read_vectors(write(tmp_path / "a.vec", "broken 1\na 1 2\nb 3 4\n"), on_error="skip")
    assert vectors.words.to_list() == ["a", "b"]


@pytest.mark.parametrize("content", ["", "\n", " \n\n"])
def test_empty_file_is_refused(tmp_path, content):
    with pytest.raises(InputError, match=r"a\.vec: is empty"):
        read_vectors(write(tmp_path / "a.vec", content))


def test_header_alone_is_refused(tmp_path):
    with pytest.raises(InputError, match="the header says 2 vectors, the file has 0"):
        read_vectors(write(tmp_path / "a.vec", "2 300\n"))


@pytest.mark.parametrize("dimensions", ["0", "10001", "9" * 40])
def test_absurd_dimension_is_refused(tmp_path, dimensions):
    with pytest.raises(InputError, match=r"a\.vec:1: expected vectors of 1 to 10000 numbers"):
        read_vectors(write(tmp_path / "a.vec", f"2 {dimensions}\na 1 2\n"))


def test_absurd_number_of_words_takes_no_memory(tmp_path):
    vectors = read_vectors(write(tmp_path / "a.vec", f"{10**17} 2\na 1 2\n"), max_words=10**12, on_error="skip")
    assert vectors.matrix.shape == (1, 2)


def test_binary_vectors_are_refused(tmp_path):
    content = b"2 4\nthe " + np.ones(4, "<f4").tobytes() + b"\nof " + np.zeros(4, "<f4").tobytes()
    with pytest.raises(InputError, match="is binary; expected text"):
        read_vectors(write(tmp_path / "a.bin", content))


def test_endless_line_is_refused(tmp_path):
    with pytest.raises(InputError, match="expected a line of at most"):
        read_vectors(write(tmp_path / "a.vec.gz", gzip.compress(b"1 2\n" + b"x" * (20 << 20))))


def test_line_far_longer_than_its_vector_is_refused_even_where_flaws_are_skipped(tmp_path):
    path = write(tmp_path / "a.vec", "2 2\na 1 2\n" + "x " * 5000 + "\n")
    with pytest.raises(InputError, match=r"a\.vec:3: 10001 bytes for a word and 2 numbers"):
        read_vectors(path, on_error="skip")


@pytest.mark.parametrize("ending", [".gz", ".bz2", ".xz"])
@pytest.mark.parametrize("on_error", ["fail", "skip"])
def test_truncated_compression_is_refused(tmp_path, ending, on_error):
    compress = {".gz": gzip.compress, ".bz2": bz2.compress, ".xz": lzma.compress}[ending]
    lines = "".join(f"w{i} {i * 7919 % 1000} 1\n" for i in range(2000))
    path = write(tmp_path / f"a.vec{ending}", compress(("2000 2\n" + lines).encode())[:-200])
    with pytest.raises(InputError, match="cut short"):
        read_vectors(path, on_error=on_error)


def test_missing_file_is_refused(tmp_path):
    with pytest.raises(InputError, match="no such file"):
        read_vectors(str(tmp_path / "a.vec"))
