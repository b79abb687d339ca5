"""The reader of StarDict: files and index, kinds of articles, what of them is a translation, and damaged files."""

import gzip
import shutil
import struct
import subprocess
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from csgen.errors import InputError
from csgen.readers.phrasing import UNFITTING
from csgen.readers.stardict import read_stardict, stardict_files

WORD = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=8)


def write_stardict(folder: Path, articles, kinds="m", synonyms=(), offset_bytes=4, pack=False, **options) -> Path:
    """Writes the files as StarDict's format document has them; articles are pairs of word and text or bytes."""
    data, index = b"", b""
    for word, article in articles:
        body = article if isinstance(article, bytes) else article.encode()
        index += word.encode() + b"\0" + len(data).to_bytes(offset_bytes, "big") + struct.pack(">I", len(body))
        data += body
    info = {"version": "3.0.0" if offset_bytes == 8 else "2.4.2", "bookname": "Little English-German"}
    info |= {"wordcount": len(articles), "idxfilesize": len(index), "sametypesequence": kinds, "date": "2017.11.17"}
    info |= {"idxoffsetbits": 64} if offset_bytes == 8 else {}
    if synonyms:
        info["synwordcount"] = len(synonyms)
        records = [word.encode() + b"\0" + struct.pack(">I", number) for word, number in synonyms]
        (folder / "a.syn").write_bytes(b"".join(records))
    lines = [f"{name}={value}" for name, value in (info | options).items() if value != ""]
    (folder / "a.ifo").write_text("\n".join(["StarDict's dict ifo file", *lines, ""]))
    (folder / ("a.idx.gz" if pack else "a.idx")).write_bytes(gzip.compress(index) if pack else index)
    (folder / ("a.dict.dz" if pack else "a.dict")).write_bytes(gzip.compress(data) if pack else data)
    return folder / "a.ifo"


def read(path: Path | str):
    return read_stardict(str(path), "en", ("de",))


def rows(reading, *columns):
    return reading.pairs.select(columns or ("source", "target")).rows()


def targets(folder: Path, article: str | bytes, kinds: str = "m") -> list[str]:
    return [target for _, target in rows(read(write_stardict(folder, [("dog", article)], kinds)))]


# --- files ---


@pytest.mark.parametrize("pack", [False, True])
@pytest.mark.parametrize("offset_bytes", [4, 8])
def test_words_have_the_articles_at_their_places(tmp_path, offset_bytes, pack):
    articles = [("cat", "Katze"), ("dog", "Hund, Rüde"), ("Übel", "evil")]
    reading = read(write_stardict(tmp_path, articles, offset_bytes=offset_bytes, pack=pack))
    assert reading.pairs.rows() == [
        (1, "cat", "Katze", 1.0),
        (2, "dog", "Hund", 1.0),
        (2, "dog", "Rüde", 1.0),
        (3, "Übel", "evil", 1.0),
    ]
    assert reading.about == {"title": "Little English-German", "edition": "2017.11.17"}


@settings(max_examples=40, deadline=None)
@given(st.lists(WORD, min_size=1, max_size=20))
def test_index_of_any_words_is_read_back(tmp_path_factory, words):
    path = write_stardict(tmp_path_factory.getbasetemp(), [(word, f"x{row}") for row, word in enumerate(words)])
    reading = read(path)
    assert reading.counts["lines"] == len(words)
    assert len(reading.malformed) == 0
    assert set(reading.pairs["target"]) <= {f"x{row}" for row in range(len(words))}


def test_synonym_is_a_word_of_the_same_article(tmp_path):
    path = write_stardict(tmp_path, [("cat", "Katze"), ("dog", "Hund")], synonyms=[("hound", 1), ("tomcat", 0)])
    reading = read(path)
    assert rows(reading, "line", "source", "target") == [
        (1, "cat", "Katze"),
        (2, "dog", "Hund"),
        (3, "hound", "Hund"),
        (4, "tomcat", "Katze"),
    ]
    assert (reading.counts["lines"], reading.counts["synonyms"]) == (4, 2)


@pytest.mark.parametrize("name", ["a.ifo", "a.idx", "a.dict", "a.syn", ""])
def test_dictionary_is_found_by_any_of_its_files_or_its_folder(tmp_path, name):
    write_stardict(tmp_path, [("dog", "Hund")], synonyms=[("hound", 0)])
    found = stardict_files(str(tmp_path / name), "en", ("de",))
    assert [Path(path).name for path in found] == ["a.ifo", "a.idx", "a.dict", "a.syn"]


# --- articles ---


@pytest.mark.parametrize(
    ("article", "expected"),
    [
        ("Hund", ["Hund"]),
        ("dog\n/dɒg/ <n>\n1. Hund, Rüde\nan animal\n2. Kerl\n", ["Hund", "Rüde", "Kerl"]),
        ("*[dɒg]\nn. 狗,猎狗\nvt. 追踪，尾随", ["狗", "猎狗", "追踪", "尾随"]),
        ("noun\nHund\nSee: cat", ["Hund"]),
        ("1. Hund; 2. Kerl", ["Hund", "Kerl"]),
        ("1) Hund 2) Kerl", ["Hund", "Kerl"]),
        ("(auch: Haus-) Hund [zool.], 10,5 Hunde", ["Hund", "10,5 Hunde"]),
        ("A domesticated carnivore, long kept by people in all parts of the inhabited world", []),
    ],
)
def test_plain_text_offers_its_numbered_lines_or_else_its_first(tmp_path, article, expected):
    assert targets(tmp_path, article) == expected


def test_pango_markup_is_removed_with_notes_in_italics(tmp_path):
    article = "    [<i>dog</i>]\n\n<b>Hund, R&amp;D</b> <i>masc</i>\n"
    assert targets(tmp_path, article, "g") == ["Hund", "R&D"]


def test_html_lists_and_breaks_part_senses(tmp_path):
    article = '<font color="green">/dɒg/</font><br/><i>noun</i><br/><ol><li>Hund, R&uuml;de</li><li>Kerl</li></ol>'
    assert targets(tmp_path, article, "h") == ["Hund", "Rüde", "Kerl"]


def test_xdxf_translations_are_those_it_marks(tmp_path):
    article = "<k>dog</k> <tr>dɒg</tr>\n<abr>n</abr> <dtrn>Hund, <co>auch</co> Rüde</dtrn> <ex>dog days</ex>\n"
    article += "<dtrn>Kerl</dtrn>"
    assert targets(tmp_path, article, "x") == ["Hund", "Rüde", "Kerl"]


def test_xdxf_without_marked_translations_is_read_as_text(tmp_path):
    assert targets(tmp_path, "<k>dog</k>\nHund, Rüde <ex>ein Hund</ex>", "x") == ["Hund", "Rüde"]


def test_several_fields_of_fixed_kinds_are_told_apart(tmp_path):
    assert targets(tmp_path, "dɒg\0Hund".encode(), "tm") == ["Hund"]


def test_fields_that_name_their_kind_are_told_apart(tmp_path):
    sound = b"W" + struct.pack(">I", 6) + b"RIFF\0\0"
    assert targets(tmp_path, b"tdog\0" + sound + b"mHund\0", "") == ["Hund"]


def test_article_of_sounds_only_is_counted(tmp_path):
    reading = read(write_stardict(tmp_path, [("dog", b"W\0\0\0\2xx"), ("cat", "mKatze\0")], ""))
    assert rows(reading) == [("cat", "Katze")]
    assert reading.counts["articles of sounds, pictures or pronunciations only"] == 1


def test_prose_and_unfit_translations_are_counted(tmp_path):
    articles = [("a", "in/auf, ab"), ("b", "one two three four five six seven eight nine")]
    reading = read(write_stardict(tmp_path, articles))
    assert rows(reading) == [("a", "ab")]
    assert reading.counts["lines of prose"] == reading.counts["articles without a translation"] == 1
    assert reading.counts[UNFITTING] == 1


# --- bad input ---


def test_file_of_another_kind_is_refused(tmp_path):
    path = tmp_path / "a.ifo"
    write_stardict(tmp_path, [("dog", "Hund")])
    path.write_text("StarDict's treedict ifo file\nwordcount=1\n")
    with pytest.raises(InputError, match=r"a\.ifo:1: expected the line .*StarDict's dict ifo file"):
        read(path)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"wordcount": 3}, r"a\.idx: holds 2 records, but the \.ifo says wordcount=3"),
        ({"idxfilesize": 5}, r"a\.idx: has 24 bytes, but idxfilesize=5: the files do not belong together"),
        ({"wordcount": "many"}, r"a\.ifo: expected wordcount= and a number, got 'many'"),
        ({"wordcount": ""}, r"a\.ifo: expected wordcount= and a number, got None"),
        ({"idxoffsetbits": 16}, "idxoffsetbits must be 32 or 64, got 16"),
        ({"synwordcount": 2}, r"a\.syn: holds 1 records, but the \.ifo says synwordcount=2"),
    ],
)
def test_numbers_that_disagree_are_refused(tmp_path, options, message):
    articles = [("cat", "Katze"), ("dog", "Hund")]
    with pytest.raises(InputError, match=message):
        read(write_stardict(tmp_path, articles, synonyms=[("hound", 1)], **options))


def test_index_cut_within_a_record_is_refused_with_the_byte(tmp_path):
    path = write_stardict(tmp_path, [("cat", "Katze"), ("dog", "Hund")], idxfilesize=20)
    index = tmp_path / "a.idx"
    index.write_bytes(index.read_bytes()[:20])
    with pytest.raises(InputError, match=r"a\.idx: record 2, at byte 12, is cut short"):
        read(path)


@pytest.mark.parametrize("place", [(1 << 31, 4), (0, 1 << 31), (0xFFFFFFFF, 0xFFFFFFFF)])
def test_article_beyond_the_dictionary_is_malformed(tmp_path, place):
    path = write_stardict(tmp_path, [("cat", "Katze"), ("dog", "Hund")])
    index = tmp_path / "a.idx"
    index.write_bytes(index.read_bytes()[:-8] + struct.pack(">II", *place))
    reading = read(path)
    assert rows(reading) == [("cat", "Katze")]
    assert reading.malformed.rows() == [(2, "article beyond the end of the dictionary")]


def test_place_beyond_all_numbers_is_malformed(tmp_path):
    path = write_stardict(tmp_path, [("dog", "Hund")], offset_bytes=8)
    index = tmp_path / "a.idx"
    index.write_bytes(index.read_bytes()[:-12] + b"\xff" * 12)
    assert read(path).malformed.rows() == [(1, "article beyond the end of the dictionary")]


def test_synonym_beyond_the_index_is_malformed(tmp_path):
    path = write_stardict(tmp_path, [("dog", "Hund")], synonyms=[("hound", 0), ("x", 1), ("y", 0xFFFFFFFF)])
    reading = read(path)
    assert rows(reading) == [("dog", "Hund"), ("hound", "Hund")]
    assert reading.malformed.rows() == [(line, "synonym of a word beyond the end of the index") for line in (3, 4)]


def test_text_that_is_not_utf8_is_malformed(tmp_path):
    reading = read(write_stardict(tmp_path, [("dog", b"R\xfcde"), ("cat", "Katze")]))
    assert rows(reading) == [("cat", "Katze")]
    assert reading.malformed.rows() == [(1, "not UTF-8")]


@pytest.mark.parametrize("missing", ["a.idx", "a.dict"])
def test_missing_part_is_refused(tmp_path, missing):
    path = write_stardict(tmp_path, [("dog", "Hund")])
    (tmp_path / missing).unlink()
    with pytest.raises(InputError, match=rf"a\.ifo: expected {missing}.* beside it"):
        read(path)


def test_folder_of_two_dictionaries_is_refused(tmp_path):
    write_stardict(tmp_path, [("dog", "Hund")])
    (tmp_path / "b.ifo").write_text("")
    with pytest.raises(InputError, match=r"expected one \.ifo file, found a\.ifo, b\.ifo"):
        read(tmp_path)


# --- a real dictionary ---


@pytest.fixture(scope="module")
def debian_dictionary(tmp_path_factory):
    """The folder of Debian's stardict-czech: Czech words of foreign origin, explained in Czech."""
    if not shutil.which("apt-get") or not shutil.which("dpkg-deb"):
        pytest.skip("no apt-get and dpkg-deb here")
    folder = tmp_path_factory.mktemp("stardict")
    command = ["apt-get", "download", "stardict-czech"]
    fetched = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=100, check=False)
    if fetched.returncode:
        pytest.skip(f"apt-get cannot fetch the dictionary: {fetched.stderr.strip()[-100:]}")
    (package,) = folder.glob("*.deb")
    subprocess.run(["dpkg-deb", "-x", package, folder], check=True)
    return folder / "usr" / "share" / "stardict" / "dic"


def test_real_stardict_files_are_read_whole(debian_dictionary):
    reading = read_stardict(str(debian_dictionary), "cs", ("cs",))
    assert reading.about["title"] == "Slovník cizích slov"
    assert reading.counts["lines"] > 18_000
    assert len(reading.malformed) == 0
    assert ("dekaedr", "desetistěn") in rows(reading)
