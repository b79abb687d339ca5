"""Wordnets in the tab-separated form of the Open Multilingual Wordnet, joined on their synsets."""

import gzip
from collections import defaultdict
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from csgen.errors import InputError
from csgen.readers import wordnet
from csgen.readers.formats import FORMATS
from csgen.readers.wordnet import read_wordnet, wordnet_files

ENGLISH = """# Princeton WordNet\teng\thttp://wordnet.princeton.edu/\twordnet
02084071-n\teng:lemma\tdog
02084071-n\teng:lemma\tdomestic_dog
02084071-n\teng:def\t0\ta member of the genus Canis
02084071-n\teng:exe\t0\tthe dog barked all night
10114209-n\teng:lemma\tdog
00004475-n\teng:lemma\tbeing
01123148-s\teng:lemma\tgood
"""
GERMAN = """# Wiktionary\tdeu\thttp://wiktionary.org/\tCC BY-SA
02084071-n\tdeu:lemma\tHund
02084071-n\tdeu:lemma\tHaushund
10114209-n\tdeu:lemma\tHund
01123148-a\tdeu:lemma\tgut
99999999-n\tdeu:lemma\tNichts
"""
OLD_ITALIAN = """# MultiWordNet\tita\thttp://multiwordnet.fbk.eu/english/home.php\tCC BY 3.0
02084071-n\tlemma\tcane
02084071-n\tlemma\tcane_domestico
"""


def write(folder: Path, **files: str) -> str:
    for name, text in files.items():
        path = folder / f"wn-data-{name}.tab"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return str(folder)


def rows(reading, *columns):
    return reading.pairs.select(columns or ("source", "target", "weight")).rows()


def test_lemmas_of_a_synset_are_pairs_weighted_by_the_synsets_they_share(tmp_path):
    reading = read_wordnet(write(tmp_path, eng=ENGLISH, deu=GERMAN), "en", ("de",))
    assert rows(reading, "line", "source", "target", "target_language", "weight") == [
        (2, "dog", "Hund", "de", 2.0),
        (2, "domestic dog", "Hund", "de", 1.0),
        (3, "dog", "Haushund", "de", 1.0),
        (3, "domestic dog", "Haushund", "de", 1.0),
        (5, "good", "gut", "de", 1.0),
    ]


def test_what_is_left_out_is_counted(tmp_path):
    german = GERMAN + "02084071-n\tdeu:lemma\tHund\n\n# a comment\n02084071-n\tdeu:lemma:root\tx\n"
    german += "02084071-n\tfra:lemma\tchien\n02084071-n\txyz:lemma\tpies\n"
    reading = read_wordnet(write(tmp_path, eng=ENGLISH, deu=german), "en", ("de",))
    assert reading.malformed.is_empty()
    assert reading.counts == {
        "lines": 20, "blank": 1, "comments": 3, "definitions": 1, "examples": 1, "other relations": 1,
        "lemmas of other languages": 2, "repeated lemmas": 1, "lemmas of synsets without one in en": 1,
    }  # fmt: skip


def test_several_targets_are_read_in_one_pass_with_the_licences_of_all(tmp_path):
    folder = write(tmp_path, eng=ENGLISH, deu=GERMAN, ita=OLD_ITALIAN)
    reading = read_wordnet(folder, "en", ("it", "de"))
    dogs = [row for row in rows(reading, "target_language", "target", "source") if row[2] == "dog"]
    assert dogs == [
        ("it", "cane", "dog"),
        ("it", "cane domestico", "dog"),
        ("de", "Hund", "dog"),
        ("de", "Haushund", "dog"),
    ]
    assert reading.licence == "wordnet, CC BY 3.0, CC BY-SA"
    assert reading.about == {"title": "Princeton WordNet; MultiWordNet; Wiktionary"}


def test_relation_without_a_language_is_of_the_file_s_language(tmp_path):
    reading = read_wordnet(write(tmp_path, eng=ENGLISH, ita=OLD_ITALIAN.split("\n", 1)[1]), "en", ("it",))
    assert ("dog", "cane", 1.0) in rows(reading)
    assert reading.licence == "wordnet"


def test_language_of_a_line_counts_for_more_than_that_of_the_header(tmp_path):
    arabic = "# Wiktionary\tarn\thttp://wiktionary.org/\tCC BY-SA\n02084071-n\tarb:lemma\tكلب\n"  # as it really stands
    reading = read_wordnet(write(tmp_path, eng=ENGLISH, arb=arabic), "en", ("ar",))
    assert rows(reading)[0] == ("dog", "كلب", 1.0)


def test_synsets_may_be_numbered_by_the_interlingual_index(tmp_path):
    (tmp_path / "wn-cili-eng.tab").write_text("# A\teng\tu\tCC BY 4.0\ni46360\teng:lemma\tdog\n")
    (tmp_path / "wn-cili-fra.tab").write_text("# B\tfra\tu\tCC BY 4.0\ni46360\tfra:lemma\tchien\n")
    reading = FORMATS["wordnet"].read(str(tmp_path), "en", ("fr",))
    assert rows(reading) == [("dog", "chien", 1.0)]
    assert reading.licence == "CC BY 4.0"


def test_synset_may_bear_the_name_of_its_wordnet(tmp_path):
    german = "eng-30-02084071-n\tdeu:lemma\tHund\n"
    assert rows(read_wordnet(write(tmp_path, eng=ENGLISH, deu=german), "en", ("de",)))[0] == ("dog", "Hund", 1.0)


def test_files_are_found_in_the_collection_s_folders_source_first(tmp_path):
    write(tmp_path / "wns" / "eng", eng=ENGLISH)
    write(tmp_path / "wns" / "deu", deu=GERMAN)
    write(tmp_path / "wns" / "ita", ita=OLD_ITALIAN)
    (tmp_path / "wns" / "deu" / "citation.bib").write_text("")
    (tmp_path / "wns" / "deu" / "wn-wikt-deu.tab.gz").write_bytes(gzip.compress(GERMAN.encode()))
    found = [
        Path(file).relative_to(tmp_path / "wns").as_posix() for file in wordnet_files(str(tmp_path), "en", ("de",))
    ]
    assert found == ["eng/wn-data-eng.tab", "deu/wn-data-deu.tab", "deu/wn-wikt-deu.tab.gz"]
    assert len(read_wordnet(str(tmp_path), "en", ("de",)).pairs) == 5


def test_files_may_be_listed_under_any_name(tmp_path):
    english, german = tmp_path / "a.tab", tmp_path / "b.tab"
    english.write_text(ENGLISH)
    german.write_text(GERMAN)
    assert len(read_wordnet(f"{english},{german}", "en", ("de",)).pairs) == 5


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("02084071-n\tdeu:lemma", "expected a synset, a relation and a text"),
        ("02084071-n deu:lemma Hund", "expected a synset, a relation and a text"),
        ("Hund\tdeu:lemma\tdog", "expected a synset such as"),
        ("02084071-n\tdeu:lemma\t", "empty lemma"),
        ("02084071-n\tdeu:lemma\tH\udce4user", "not UTF-8"),
    ],
)
def test_malformed_line_has_its_number_file_and_reason(tmp_path, line, reason):
    folder = write(tmp_path, eng=ENGLISH, deu=GERMAN)
    path = tmp_path / "wn-data-deu.tab"
    path.write_bytes(GERMAN.encode() + line.encode(errors="surrogateescape") + b"\n")
    reading = read_wordnet(folder, "en", ("de",))
    ((number, given),) = reading.malformed.rows()
    assert number == 7
    assert given.startswith(f"wn-data-deu.tab: {reason}")
    assert len(reading.pairs) == 5


def test_language_without_lemmas_is_named(tmp_path):
    folder = write(tmp_path, eng=ENGLISH, deu=GERMAN)
    with pytest.raises(InputError, match=r"expected lemmas in ja, found none in wn-data-eng\.tab, wn-data-deu\.tab"):
        read_wordnet(folder, "en", ("de", "ja"))
    with pytest.raises(InputError, match="found none"):
        read_wordnet(str(tmp_path), "fr", ("es",))


def test_wordnets_that_number_synsets_differently_are_refused(tmp_path):
    folder = write(tmp_path, eng=ENGLISH, deu="i46360\tdeu:lemma\tHund\n")
    with pytest.raises(InputError, match="no synset has lemmas in en and in de"):
        read_wordnet(folder, "en", ("de",))


def test_absurdly_many_pairs_are_refused_before_they_are_made(tmp_path, monkeypatch):
    monkeypatch.setattr(wordnet, "_MAX_PAIRS", 5)
    with pytest.raises(InputError, match="expected at most 5 pairs, got 6"):
        read_wordnet(write(tmp_path, eng=ENGLISH, deu=GERMAN), "en", ("de",))


SYNSETS = st.sampled_from([f"0000000{n}-{pos}" for n in range(4) for pos in "nv"])
ENTRIES = st.lists(st.tuples(SYNSETS, st.sampled_from(["a", "b", "c d", "é", "ж"])), min_size=1, max_size=20)


def tab(code, entries):
    return "".join(f"{synset}\t{code}:lemma\t{lemma.replace(' ', '_')}\n" for synset, lemma in entries)


@settings(max_examples=60, deadline=None)
@given(english=ENTRIES, german=ENTRIES, french=ENTRIES)
def test_join_is_the_same_as_an_obvious_one(tmp_path_factory, english, german, french):
    shared = ("00000009-n", "x")  # so that there always is a pair
    expected = defaultdict(set)
    for language, entries in (("de", german), ("fr", french)):
        for synset, lemma in [*entries, shared]:
            for other, word in [*english, shared]:
                if other == synset:
                    expected[word, lemma, language].add(synset)
    texts = {"eng": english, "deu": german, "fra": french}
    folder = write(tmp_path_factory.mktemp("any"), **{code: tab(code, [*e, shared]) for code, e in texts.items()})
    found = rows(read_wordnet(folder, "en", ("de", "fr")), "source", "target", "target_language", "weight")
    assert {row[:3]: row[3] for row in found} == {key: len(synsets) for key, synsets in expected.items()}
    assert len(found) == len(expected)


def test_gaps_are_no_lemmas_and_are_counted(tmp_path):
    italian = OLD_ITALIAN + "10114209-n\tlemma\tGAP!\n00004475-n\tlemma\tPSEUDOGAP!\n"
    reading = read_wordnet(write(tmp_path, eng=ENGLISH, ita=italian), "en", ("it",))
    assert {target for _, target in rows(reading, "source", "target")} == {"cane", "cane domestico"}
    assert reading.counts["synsets for which the language has no word"] == 2
