"""Readers of MUSE text, TSV and FreeDict dictionaries, and the cleaning that all of them share."""

import bz2
import gzip
import lzma
import random
import shutil
import struct
import subprocess
import tracemalloc
import zlib
from pathlib import Path

import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from csgen.characters import fold
from csgen.errors import InputError
from csgen.lexicon.entries import clean_pairs, fold_column
from csgen.readers.dictd import freedict_files, locate_freedict, read_freedict
from csgen.readers.lines import read_bytes, read_muse, read_tsv, split_lines

DATA = Path(__file__).parents[1].parent / "shared" / "data" / "lexicons"
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)

needs_data = pytest.mark.skipif(not DATA.is_dir(), reason="the real lexicons of ../shared/data are not here")


def write(path: Path, content: str | bytes) -> str:
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return str(path)


def rows(reading, *columns):
    return reading.pairs.select(columns or ("source", "target")).rows()


def frame(*pairs):
    named = [(line, *pair[:2], *(pair[2:] or (1.0,))) for line, pair in enumerate(pairs, 1)]
    return pl.DataFrame(named, schema=["line", "source", "target", "weight"], orient="row")


def cleaned(*pairs, identical="drop"):
    left, dropped = clean_pairs(frame(*pairs), identical)
    return left.select("source", "target").rows(), dropped


# --- TSV ---


def test_tsv_has_a_source_a_target_and_an_optional_weight(tmp_path):
    path = write(tmp_path / "a.tsv", "house\tHaus\nhouse\tGebäude\t0.25\n\nan apple\tein Apfel\t3e2\r\n")
    reading = read_tsv(path)
    assert rows(reading, "line", "source", "target", "weight") == [
        (1, "house", "Haus", 1.0),
        (2, "house", "Gebäude", 0.25),
        (4, "an apple", "ein Apfel", 300.0),
    ]
    assert reading.counts == {"lines": 4, "blank": 1}


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"house", "expected 2 or 3 fields"),
        (b"house\tHaus\t1\tmore", "expected 2 or 3 fields"),
        (b"house\t ", "empty field"),
        (b"house\tHaus\theavy", "not a number"),
        (b"house\tHaus\t", "not a number"),
        (b"house\tHaus\t0", "weight is not in"),
        (b"house\tHaus\t-1", "weight is not in"),
        (b"house\tHaus\tnan", "weight is not in"),
        (b"house\tHaus\tinf", "weight is not in"),
        (b"h\xe4user\tHaus", "not UTF-8"),
    ],
)
def test_malformed_line_of_a_tsv_has_its_number_and_reason(tmp_path, line, reason):
    reading = read_tsv(write(tmp_path / "a.tsv", b"dog\tHund\n" + line + b"\ncat\tKatze\n"))
    assert rows(reading) == [("dog", "Hund"), ("cat", "Katze")]
    ((number, given_reason),) = reading.malformed.rows()
    assert number == 2
    assert reason in given_reason


@pytest.mark.parametrize("ending", [".gz", ".xz", ".zst"])
def test_compressed_files_are_read_by_their_ending(tmp_path, ending):
    compress = {".gz": gzip.compress, ".xz": lzma.compress, ".zst": lambda b: pa.compress(b, "zstd", asbytes=True)}
    path = write(tmp_path / f"a.tsv{ending}", compress[ending](b"dog\tHund\n"))
    assert rows(read_tsv(path)) == [("dog", "Hund")]


def test_byte_order_mark_is_no_part_of_the_first_word(tmp_path):
    assert rows(read_tsv(write(tmp_path / "a.tsv", "\ufeffdog\tHund"))) == [("dog", "Hund")]


@pytest.mark.parametrize("content", [b"", b"\n \n"])
def test_empty_file_is_refused(tmp_path, content):
    with pytest.raises(InputError, match=r"a\.tsv: is empty"):
        read_tsv(write(tmp_path / "a.tsv", content))


@pytest.mark.parametrize("content", [b"\x7fELF\0\0\1", "dog\tHund".encode("utf-16")])
def test_binary_file_is_refused(tmp_path, content):
    with pytest.raises(InputError, match="binary data or another encoding"):
        read_tsv(write(tmp_path / "a.tsv", content))


@pytest.mark.parametrize("name", ["a.tsv.gz", "a.tsv.xz", "a.tsv.zst"])
def test_damaged_compressed_file_is_refused(tmp_path, name):
    with pytest.raises(
        InputError, match=rf"expected [0-9a-f ]+ at its start, as {name[5:]} files have it, got 64 6f 67"
    ):
        read_tsv(write(tmp_path / name, b"dog\tHund\n"))


def write_dictzip(data: bytes, chunk_bytes: int = 58315) -> bytes:
    """As dictzip writes it: gzip whose header has the table of chunks that can each be unpacked alone."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    starts = range(0, len(data), chunk_bytes)
    chunks = [packer.compress(data[at : at + chunk_bytes]) + packer.flush(zlib.Z_FULL_FLUSH) for at in starts]
    table = struct.pack(f"<HHH{len(chunks)}H", 1, chunk_bytes, len(chunks), *map(len, chunks))
    extra = b"RA" + struct.pack("<H", len(table)) + table
    head = b"\x1f\x8b\x08\x04" + bytes(4) + b"\x02\x03" + struct.pack("<H", len(extra)) + extra
    return head + b"".join(chunks) + packer.flush() + struct.pack("<II", zlib.crc32(data), len(data))


PACKERS = {
    ".gz": gzip.compress,
    ".dz": write_dictzip,
    ".xz": lzma.compress,
    ".zst": lambda data: pa.compress(data, "zstd", asbytes=True),
    ".bz2": bz2.compress,
}


@pytest.mark.parametrize("ending", PACKERS)
def test_compressed_bytes_are_read_whole(tmp_path, ending):
    data = random.Random(1).randbytes(300_000) + bytes(300_000)
    assert read_bytes(write(tmp_path / f"a{ending}", PACKERS[ending](data))) == data


@pytest.mark.parametrize("ending", PACKERS)
def test_truncated_compressed_file_is_refused_with_the_byte_where_it_stops(tmp_path, ending):
    packed = PACKERS[ending](random.Random(1).randbytes(1_500_000))
    path = write(tmp_path / f"a{ending}", packed[:-300_000])
    with pytest.raises(
        InputError, match=rf"cannot be read on after \d+ bytes .*own {len(packed) - 300_000} bytes .*again"
    ):
        read_bytes(path)


@pytest.mark.parametrize("ending", [".gz", ".dz", ".xz", ".bz2"])
def test_compressed_file_damaged_in_its_midst_is_refused(tmp_path, ending):
    packed = bytearray(PACKERS[ending](random.Random(1).randbytes(200_000)))
    packed[100_000] ^= 0xFF
    with pytest.raises(InputError, match="it is damaged or was cut short"):
        read_bytes(write(tmp_path / f"a{ending}", bytes(packed)))


@pytest.mark.parametrize("ending", PACKERS)
def test_empty_or_uncompressed_file_of_a_compressed_name_is_refused(tmp_path, ending):
    with pytest.raises(InputError, match=r"at its start, as \.\w+ files have it, is empty"):
        read_bytes(write(tmp_path / f"a{ending}", b""))
    with pytest.raises(InputError, match=r"as \.\w+ files have it, got 3c 68 74 6d 6c 3e"):
        read_bytes(write(tmp_path / f"b{ending}", b"<html>404</html>"))


@pytest.mark.parametrize("ending", PACKERS)
def test_bomb_is_refused_before_it_fills_the_memory(tmp_path, ending, monkeypatch):
    monkeypatch.setattr("csgen.readers.lines._HARMLESS_BYTES", 4 << 20)
    bomb = {".dz": gzip.compress}.get(ending, PACKERS[ending])(bytes(40 << 20))
    path = write(tmp_path / f"a{ending}", bomb)
    tracemalloc.start()
    try:
        with pytest.raises(InputError, match=rf"its {len(bomb)} bytes expand to .* if it is to be trusted, decompress"):
            read_bytes(path)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 32 << 20


def test_small_file_of_one_line_repeated_is_no_bomb(tmp_path):
    lines = b"dog\tHund\n" * 1_000_000
    assert read_bytes(write(tmp_path / "a.tsv.gz", gzip.compress(lines))) == lines


def test_file_beyond_the_bound_is_refused(tmp_path):
    with pytest.raises(InputError, match="expected at most 10 bytes of text, got more"):
        read_bytes(write(tmp_path / "a.tsv", b"dog\tHund\ncat\tKatze\n"), 10)


def test_absurdly_long_line_is_refused_with_its_number(tmp_path):
    with pytest.raises(InputError, match=r"a\.tsv:2: expected a line of at most 1048576 bytes"):
        read_tsv(write(tmp_path / "a.tsv", b"dog\tHund\n" + b"x" * (1 << 20) + b"y\tz\n"))


def test_missing_file_is_refused(tmp_path):
    with pytest.raises(InputError, match="no such file"):
        read_tsv(str(tmp_path / "a.tsv"))


@given(st.binary(max_size=60))
def test_lines_are_split_at_line_feeds_and_decoded_alone(data):
    data = data.removeprefix(b"\xef\xbb\xbf")
    expected = data.split(b"\n")[:-1] if data.endswith(b"\n") or not data else data.split(b"\n")
    for text, line in zip(split_lines(data), expected, strict=True):
        if text is None:
            with pytest.raises(UnicodeDecodeError):
                line.decode()
        else:
            assert text == line.decode().rstrip("\r\n")


# --- MUSE ---


def test_muse_lines_hold_two_words_apart_by_a_space_or_a_tab(tmp_path):
    reading = read_muse(write(tmp_path / "en-de.txt", "the die\nthe\tder\n  cat   Katze \n"))
    assert rows(reading) == [("the", "die"), ("the", "der"), ("cat", "Katze")]


def test_muse_line_of_three_words_is_malformed(tmp_path):
    reading = read_muse(write(tmp_path / "en-de.txt", "the die\na long sentence\nalone\n"))
    assert reading.malformed["line"].to_list() == [2, 3]


def test_punctuation_around_muse_words_is_taken_off_and_counted(tmp_path):
    reading = read_muse(write(tmp_path / "en-de.txt", "word, wort,\n(usa}} usa\nc++ c++\ndon't nicht\n"))
    assert rows(reading) == [("word", "wort"), ("usa", "usa"), ("c++", "c++"), ("don't", "nicht")]
    assert reading.counts["punctuation taken off"] == 2


@needs_data
def test_real_muse_file_is_read_whole():
    reading = read_muse(str(DATA / "muse" / "en-de.tsv.xz"))
    left, dropped = clean_pairs(reading.pairs, "drop")
    assert (reading.counts["lines"], len(reading.malformed)) == (101_931, 0)
    assert dropped["identical source and target"] == 48_738
    assert left.filter(source="the")["target"].to_list() == ["die", "der", "dem", "den", "das"]


# --- cleaning ---


@given(st.lists(TEXT))
def test_column_folds_as_each_text_does(texts):
    assert fold_column(pl.Series(texts, dtype=pl.String)).to_list() == [fold(text) for text in texts]


def test_fold_of_a_column_knows_sigma_and_dotted_i():
    assert fold_column(pl.Series(["ΟΔΟΣ", "İstanbul", "ẞ"])).to_list() == [fold("ΟΔΟΣ"), fold("İstanbul"), fold("ẞ")]


def test_notes_white_space_and_decomposed_letters_are_tidied():
    assert cleaned(
        ("  bank (of a\u00a0river) ", "U\u0308fer [geogr.]\u2003 {n}"), ("sun\u00a0 rise", "lever (du (d))")
    )[0] == [
        ("bank", "Üfer"),
        ("sun rise", "lever"),
    ]


@pytest.mark.parametrize(
    ("pair", "reason"),
    [
        (("Haus", "HAUS"), "identical source and target"),
        (("...", "weiter"), "no letter or number"),
        (("percent", "%"), "no letter or number"),
        (("a\x07b", "b"), "control character"),
        (("left (", "links"), "unbalanced bracket"),
        (("one two three four five six", "eins"), "source of more than 5 words"),
        (("one", "a b c d e f g h i"), "target of more than 8 words"),
    ],
)
def test_pair_that_can_be_no_entry_is_dropped_with_its_reason(pair, reason):
    assert cleaned(pair, ("dog", "Hund")) == ([("dog", "Hund")], {reason: 1})


def test_longest_allowed_pair_is_kept():
    pair = ("one two three four five", "a b c d e f g h")
    assert cleaned(pair) == ([pair], {})


def test_identical_pair_stays_if_asked():
    assert cleaned(("Haus", "haus"), identical="keep") == ([("Haus", "haus")], {})


# --- FreeDict ---

DIGITS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
INFO = """00databaseinfo
Little English-German Dictionary

Maintainer: [up for grabs]

Edition: 0.1.2

Availability:

    Available under the terms of the GNU General Public License ver. 2.0 and
  any later version.

Published at: http://freedict.org/
"""


def base64(number: int) -> str:
    return (base64(number // 64) if number > 63 else "") + DIGITS[number % 64]


def write_dictd(folder: Path, entries: dict[str, str], ending: str = ".dict.dz") -> str:
    data, index = b"", ""
    for headword, body in ({"00databaseinfo": INFO} | entries).items():
        index += f"{headword}\t{base64(len(data))}\t{base64(len(body.encode()))}\n"
        data += body.encode()
    write(folder / f"freedict-eng-deu{ending}", gzip.compress(data) if ending.endswith("z") else data)
    return write(folder / "freedict-eng-deu.index", index)


def read_body(tmp_path, body, headword="headword"):
    return rows(read_freedict(write_dictd(tmp_path, {headword: body})))


@pytest.mark.parametrize("ending", [".dict", ".dict.dz"])
def test_dictd_entry_gives_its_headword_and_translations_in_order(tmp_path, ending):
    index = write_dictd(
        tmp_path, {"dog": "dog /dɒg/\nHund, Rüde\n\n", "filler": "filler\n" + "x" * 5000 + "\n"}, ending
    )
    assert rows(read_freedict(index))[:2] == [("dog", "Hund"), ("dog", "Rüde")]


def test_headword_is_taken_from_the_entry_since_the_index_is_folded(tmp_path):
    assert read_body(tmp_path, "Come-back /kʌm/ <n>\nRückkehr\n", "comeback") == [("Come-back", "Rückkehr")]


def test_entry_without_a_first_line_is_named_by_the_index(tmp_path):
    assert read_body(tmp_path, " <n>\nRückkehr\n", "comeback") == [("comeback", "Rückkehr")]


def test_several_headwords_have_all_translations(tmp_path):
    body = "石 /(ja)lˈe̞tə/, こく /kˈo̞kɯᵝ/\n(noun (common))\nmeasure of volume (approx. 180 litres), koku\n"
    assert read_body(tmp_path, body) == [
        ("石", "measure of volume"),
        ("石", "koku"),
        ("こく", "measure of volume"),
        ("こく", "koku"),
    ]


def test_senses_come_in_order_and_glosses_are_left_out(tmp_path):
    body = "cinnamon //ˈsɪ.mɪn// //ˈsɪn.ə// <adj>\n1. kanelinruskea\ncolor\n2. kaneli; kanelinmakuinen\nflavor\n"
    assert [target for _, target in read_body(tmp_path, body)] == ["kanelinruskea", "kaneli", "kanelinmakuinen"]


def test_subsenses_without_a_translation_add_none(tmp_path):
    body = "joint <n>\n1. nivel 2.\npart of the body\n 3.\njoint with freedom to rotate\n2. liitos\npoint\n"
    assert [target for _, target in read_body(tmp_path, body)] == ["nivel", "liitos"]


def test_examples_notes_and_cross_references_are_left_out(tmp_path):
    body = (
        "house /haʊs/\n [arch.] Haus <neut> (ein Gebäude), Häuschen [ugs.]\n         Note: Gebäude\n"
        '      "build a house"  - ein Haus bauen\n   Synonyms: {home}, {building}\n\n see: {houses}\n\n'
    )
    assert [target for _, target in read_body(tmp_path, body)] == ["Haus", "Häuschen"]


def test_placeholders_around_a_phrase_are_taken_off(tmp_path):
    body = "promote sth. /prəˈməʊt/\netw. fördern, jdm./etw. helfen <v>, sich bei jdm. einsetzen\n"
    assert read_body(tmp_path, body) == [("promote", "fördern"), ("promote", "helfen")]


def test_question_and_exclamation_marks_around_a_phrase_are_taken_off(tmp_path):
    assert read_body(tmp_path, "how are you?\n¿cómo está?, etc.!\n") == [
        ("how are you", "cómo está"),
        ("how are you", "etc."),
    ]


def test_alternatives_gaps_and_parts_of_words_are_left_out_and_counted(tmp_path):
    reading = read_freedict(write_dictd(tmp_path, {"in": "in\n-ssa, in/auf, drinnen, …weise, von ... bis\n"}))
    assert rows(reading) == [("in", "drinnen")]
    assert reading.counts["translations with alternatives, gaps, parts of words or placeholders"] == 4


def test_number_with_a_comma_is_one_translation(tmp_path):
    assert read_body(tmp_path, "myriad\n10,000\n") == [("myriad", "10,000")]


def test_licence_title_and_edition_come_from_the_database_entry(tmp_path):
    reading = read_freedict(write_dictd(tmp_path, {"dog": "dog\nHund\n"}))
    assert reading.licence == "GPL-2.0-or-later"
    assert reading.about == {"title": "Little English-German Dictionary", "edition": "0.1.2"}


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("cat\tA", "two numbers in base 64"),
        ("cat\tA\t!", "two numbers in base 64"),
        ("cat\tA\t////", "beyond the end"),
        ("cat\tA\t////////////////////", "two numbers in base 64"),
    ],
)
def test_malformed_index_line_has_its_number_and_reason(tmp_path, line, reason):
    index = write_dictd(tmp_path, {"dog": "dog\nHund\n"})
    write(Path(index), Path(index).read_text() + line + "\n")
    reading = read_freedict(index)
    assert rows(reading) == [("dog", "Hund")]
    ((number, given_reason),) = reading.malformed.rows()
    assert number == 3
    assert reason in given_reason


def test_entry_that_is_not_utf8_is_malformed(tmp_path):
    write(tmp_path / "a.dict", b"dog\nHund\ncat\nK\xe4tzchen\n")
    reading = read_freedict(write(tmp_path / "a.index", f"dog\tA\t{base64(9)}\ncat\t{base64(9)}\t{base64(13)}\n"))
    assert rows(reading) == [("dog", "Hund")]
    assert reading.malformed.rows() == [(2, "not UTF-8")]


def test_dictionary_is_found_by_index_dict_or_folder(tmp_path):
    index = write_dictd(tmp_path, {"dog": "dog\nHund\n"})
    write(tmp_path / "freedict-eng-fra.index", "")
    for path in (index, index.replace(".index", ".dict.dz"), str(tmp_path)):
        assert locate_freedict(path, "en", "de") == index
    assert freedict_files(index) == [index, index.replace(".index", ".dict.dz")]


def test_folder_of_several_other_dictionaries_is_refused(tmp_path):
    write_dictd(tmp_path, {})
    write(tmp_path / "freedict-eng-fra.index", "")
    with pytest.raises(InputError, match=r"expected one \.index file, found freedict-eng-deu\.index, freedict-eng-fra"):
        locate_freedict(str(tmp_path), "en", "it")


def test_index_without_its_dict_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"expected a\.dict\.dz or \.dict beside it"):
        read_freedict(write(tmp_path / "a.index", "dog\tA\tB\n"))


def test_truncated_dict_is_refused(tmp_path):
    index = write_dictd(tmp_path, {"dog": "dog\nHund\n"})
    packed = Path(index).with_suffix(".dict.dz")
    packed.write_bytes(packed.read_bytes()[:-12])
    with pytest.raises(InputError, match="it is damaged or was cut short"):
        read_freedict(index)


def test_dictzip_table_is_not_needed_since_gzip_has_its_own_checksum(tmp_path):
    index = write_dictd(tmp_path, {"dog": "dog\nHund\n"})
    packed = bytearray(write_dictzip(gzip.decompress(Path(index).with_suffix(".dict.dz").read_bytes())))
    packed[22:24] = b"\xff\xff"  # the size of the first chunk
    write(tmp_path / "freedict-eng-deu.dict.dz", bytes(packed))
    assert rows(read_freedict(index)) == [("dog", "Hund")]


def test_dictzip_header_that_hides_the_text_is_refused(tmp_path):
    index = write_dictd(tmp_path, {"dog": "dog\nHund\n"})
    packed = bytearray(write_dictzip(gzip.decompress(Path(index).with_suffix(".dict.dz").read_bytes())))
    packed[10:12] = b"\x03\x00"  # the length of the header's table
    write(tmp_path / "freedict-eng-deu.dict.dz", bytes(packed))
    with pytest.raises(InputError, match="it is damaged or was cut short"):
        read_freedict(index)


@needs_data
def test_real_freedict_in_tsv_form_is_read_whole():
    reading = read_freedict(str(DATA / "freedict" / "eng-ita.tsv.xz"))
    assert (len(reading.pairs), len(reading.malformed)) == (6_367, 0)


@pytest.fixture(scope="module")
def debian_dictionary(tmp_path_factory):
    """The folder of the dictd files of Debian's dict-freedict-eng-ita."""
    if not shutil.which("apt-get") or not shutil.which("dpkg-deb"):
        pytest.skip("no apt-get and dpkg-deb here")
    folder = tmp_path_factory.mktemp("dictd")
    command = ["apt-get", "download", "dict-freedict-eng-ita"]
    fetched = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=100, check=False)
    if fetched.returncode:
        pytest.skip(f"apt-get cannot fetch the dictionary: {fetched.stderr.strip()[-100:]}")
    (package,) = folder.glob("*.deb")
    subprocess.run(["dpkg-deb", "-x", package, folder], check=True)
    return folder / "usr" / "share" / "dictd"


def test_real_dictd_files_are_read_whole(debian_dictionary):
    reading = read_freedict(locate_freedict(str(debian_dictionary), "en", "it"))
    assert (reading.licence, len(reading.malformed)) == ("GPL-2.0-or-later", 0)
    assert reading.counts["dictionary entries without a translation"] < 5
    assert ("peace", "pace") in rows(reading)


@needs_data
def test_real_dictd_files_agree_with_the_tsv_made_of_them(debian_dictionary):
    read = set(rows(read_freedict(locate_freedict(str(debian_dictionary), "en", "it"))))
    known = set(rows(read_tsv(str(DATA / "freedict" / "eng-ita.tsv.xz"))))
    assert len(known & read) > 0.98 * len(known)
