"""Wiktionary as wiktextract writes it: translations by sense, redirects, and what is left out."""

import gzip
import json
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from csgen.errors import InputError
from csgen.readers.columns import join_readings
from csgen.readers.pieces import split_file
from csgen.readers.wiktextract import read_wiktextract, read_wiktextract_piece, resolve_redirects


def translation(word, code, sense="building", **others):
    return {"lang": "…", "code": code, "lang_code": code, "sense": sense, "word": word} | others


def entry(word, *translations, code="en", **others):
    """In the order of fields, and with the blanks, of wiktextract's files."""
    found = {"translations": list(translations)} if translations else {}
    return {"senses": [{"glosses": ["…"]}], "pos": "noun"} | found | {"word": word, "lang_code": code} | others


def redirect(title, target):
    return {"title": title, "redirect": target}


def read(tmp_path, *records, targets=("de",), source="en"):
    lines = [record if isinstance(record, str) else json.dumps(record, ensure_ascii=False) for record in records]
    path = tmp_path / "dump.jsonl"
    path.write_text("\n".join(lines) + "\n")
    return read_wiktextract(str(path), source, targets)


def rows(reading, *columns):
    return reading.pairs.select(columns or ("source", "target")).rows()


def test_translations_into_the_targets_are_pairs(tmp_path):
    house = entry("house", translation("Haus", "de"), translation("maison", "fr"), translation("casa", "it"))
    reading = read(tmp_path, house, targets=("it", "de"))
    assert rows(reading, "line", "source", "target", "target_language") == [
        (1, "house", "Haus", "de"),
        (1, "house", "casa", "it"),
    ]


def test_senses_share_equally_and_translations_share_their_sense(tmp_path):
    reading = read(
        tmp_path,
        entry(
            "bank",
            translation("Bank", "de", "institution"),
            translation("Ufer", "de", "edge of a river"),
            translation("Böschung", "de", "edge of a river"),
            translation("riva", "it", "edge of a river"),
        ),
        targets=("de", "it"),
    )
    assert rows(reading, "target", "weight") == [("Bank", 0.5), ("Ufer", 0.25), ("Böschung", 0.25), ("riva", 1.0)]


def test_translation_of_two_senses_has_the_share_of_both(tmp_path):
    reading = read(
        tmp_path, entry("a", translation("x", "de", "1"), translation("x", "de", "2"), translation("y", "de", "2"))
    )
    assert rows(reading, "target", "weight") == [("x", 0.75), ("y", 0.25)]


def test_translation_listed_twice_in_a_sense_counts_once(tmp_path):
    reading = read(tmp_path, entry("a", translation("x", "de"), translation("x", "de"), translation("y", "de")))
    assert rows(reading, "target", "weight") == [("x", 0.5), ("y", 0.5)]


def test_translations_within_senses_are_read_too(tmp_path):
    senses = [{"translations": [{"code": "de", "word": "Bank"}]}, {"translations": [{"code": "de", "word": "Ufer"}]}]
    reading = read(tmp_path, entry("bank") | {"senses": senses})
    assert rows(reading, "target", "weight") == [("Bank", 0.5), ("Ufer", 0.5)]


def test_language_may_stand_under_either_of_its_field_names(tmp_path):
    old, new = {"code": "de", "word": "alt"}, {"lang_code": "de", "word": "neu"}
    assert rows(read(tmp_path, entry("a", old, new))) == [("a", "alt"), ("a", "neu")]


@pytest.mark.parametrize(
    ("language", "code"), [("zh", "cmn"), ("no", "nb"), ("hr", "sh"), ("pt-BR", "pt"), ("fa", "fa")]
)
def test_wiktionarys_codes_of_a_language_are_known(tmp_path, language, code):
    reading = read(tmp_path, entry("a", translation("x", code)), targets=(language,))
    assert rows(reading, "target", "target_language") == [("x", language)]


def test_code_that_two_targets_share_gives_pairs_of_both(tmp_path):
    reading = read(tmp_path, entry("dog", translation("hund", "nb")), targets=("no", "nb"))
    assert rows(reading, "target", "target_language") == [("hund", "no"), ("hund", "nb")]


def test_entries_of_other_languages_are_counted_and_left_out(tmp_path):
    foreign = entry("dog", translation("Hund", "de"), translation("dog", "en"), code="da")
    reading = read(
        tmp_path, foreign, entry("cat"), entry("a", translation("x", "fr")), entry("b", translation("y", "de"))
    )
    assert rows(reading) == [("b", "y")]
    assert reading.counts["entries of other languages or without translations"] == 3
    assert reading.counts["lines"] == 4


def test_translations_without_a_word_are_counted(tmp_path):
    noted = {"code": "de", "note": "see the article"}
    reading = read(tmp_path, entry("a", noted, translation("x", "de")))
    assert rows(reading) == [("a", "x")]
    assert reading.counts["translations without a word"] == 1


# --- redirects ---


def test_redirects_title_has_the_translations_of_its_target(tmp_path):
    reading = read(tmp_path, redirect("the house", "house"), entry("house", translation("Haus", "de")))
    assert rows(reading, "line", "source", "target") == [(1, "the house", "Haus"), (2, "house", "Haus")]
    assert reading.counts["redirects"] == 1


def test_chains_of_redirects_are_followed(tmp_path):
    chain = [redirect(f"a{i}", f"a{i + 1}") for i in range(20)]
    reading = read(tmp_path, *chain, entry("a20", translation("x", "de")))
    assert rows(reading) == [(f"a{i}", "x") for i in range(21)]


@pytest.mark.parametrize("length", range(1, 6))
def test_circles_of_redirects_are_skipped_and_named_with_their_line(tmp_path, length):
    circle = [redirect(f"a{i}", f"a{(i + 1) % length}") for i in range(length)]
    reading = read(tmp_path, entry("b", translation("x", "de")), *circle, redirect("into it", "a0"), redirect("c", "b"))
    assert rows(reading) == [("b", "x"), ("c", "x")]
    assert reading.counts["redirects in circles"] == length + 1
    assert reading.malformed.rows() == [(line, "redirect in a circle") for line in range(2, length + 3)]


def test_dangling_redirects_are_counted(tmp_path):
    reading = read(tmp_path, redirect("a", "nowhere"), redirect("b", "untranslated"), entry("untranslated"))
    assert reading.pairs.is_empty()
    assert reading.counts["redirects to words without translations"] == 2


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 7), st.integers(0, 7)), max_size=12))
def test_redirects_lead_where_following_them_one_by_one_leads(links):
    hops = dict(reversed(links))  # the first of a title counts
    words = {6, 7}

    def end_of(place):
        seen = set()
        while place in hops and place not in seen:
            seen.add(place)
            place = hops[place]
        return place

    with TemporaryDirectory() as folder:
        lines = [redirect(str(a), str(b)) for a, b in links]
        reading = read(Path(folder), *lines, *(entry(str(word), translation(f"t{word}", "de")) for word in words))
    found = [row for row in rows(reading, "line", "source", "target") if row[0] <= len(links)]
    expected = [
        (line, str(title), f"t{end_of(target)}")
        for line, (title, target) in enumerate(links, 1)
        if end_of(target) in words and end_of(target) not in hops
    ]
    assert found == expected


# --- bad lines, pieces ---


@pytest.mark.parametrize(
    "bad",
    [
        '{"word": "a", "lang_code": "en", "translations": [{"code": "de", "wo',
        "[1, 2]",
        "null",
        '{"title": "a", "redirect": 5}',
        '{"lang_code": "en", "translations": [{"code": "de", "word": "x"}]}',
        '{"word": 5, "lang_code": "en", "translations": [{"code": "de", "word": "x"}]}',
        '{"word": "a", "lang_code": "en", "translations": [{"code": "de", "word": ["x"]}]}',
        '{"word": "a", "lang_code": "en", "translations": ["de"]}',
        '{"word": "\\ud800", "lang_code": "en", "translations": [{"code": "de", "word": "x"}]}',
    ],
)
def test_malformed_line_has_its_number_and_reason(tmp_path, bad):
    good = entry("b", translation("y", "de"))
    reading = read(tmp_path, good, bad, good)
    assert rows(reading) == [("b", "y")] * 2
    assert reading.malformed.rows() == [(2, "expected an entry or a redirect as a JSON object")]


def test_blank_lines_are_counted(tmp_path):
    assert read(tmp_path, "", entry("b"), "  ").counts["blank"] == 2


def test_pieces_joined_give_what_the_whole_file_gives(tmp_path):
    records = [entry(f"w{i}", translation(f"t{i}", "de")) for i in range(50)] + [
        redirect("r", "w0"),
        redirect("s", "r"),
    ]
    whole = read(tmp_path, *reversed(records))
    pieces = split_file(str(tmp_path / "dump.jsonl"), piece_bytes=700)
    joined = resolve_redirects(join_readings([read_wiktextract_piece(piece, "en", ("de",)) for piece in pieces]))
    assert len(pieces) > 5
    assert joined.pairs.equals(whole.pairs)
    assert joined.counts == whole.counts


def test_truncated_gzip_is_refused(tmp_path):
    path = tmp_path / "dump.jsonl.gz"
    path.write_bytes(gzip.compress(json.dumps(entry("b", translation("y", "de"))).encode())[:-10])
    with pytest.raises(InputError, match=r"dump\.jsonl\.gz:1: cannot be read from about here on"):
        read_wiktextract(str(path), "en", ("de",))
