"""Filters of entries: licence, length, script, frequency."""

import polars as pl
import pytest

from csgen.errors import InputError
from csgen.languages import LANGUAGES, language_scripts
from csgen.lexicon import filters
from csgen.lexicon.build import LexiconBuildConfig, build_lexicon
from csgen.lexicon.entries import read_entries
from csgen.lexicon.filters import RowFilters, judge_licence, keep_commercial, keep_frequent


def pairs(*targets, source="word"):
    return pl.DataFrame({"source": [source] * len(targets), "target": targets})


def matching(language, *targets):
    left, _ = RowFilters(script="match").apply(pairs(*targets), (language,))
    return left["target"].to_list()


# --- licences ---


@pytest.mark.parametrize(
    "licence",
    ["CC BY-NC 4.0", "CC-BY-NC-SA-3.0", "non-commercial use", "NonCommercial", "research only", "MIT AND CC BY-NC"],
)
def test_licence_that_forbids_commerce_is_known(licence):
    assert judge_licence(licence) == filters.NO_COMMERCE


@pytest.mark.parametrize("licence", ["", "unknown", "see source", "CC0 AND unknown"])
def test_licence_that_nobody_said_is_unknown(licence):
    assert judge_licence(licence) == filters.NO_LICENCE


@pytest.mark.parametrize("licence", ["CC BY-SA 4.0", "GPL-3.0-or-later", "WordNet", "Apache-2.0", "CC0-1.0"])
def test_free_licence_allows_commerce(licence):
    assert judge_licence(licence) is None


def test_entry_of_a_free_and_another_origin_stays_under_the_free_one():
    entries = pl.DataFrame(
        {"origin": ["muse:a; wordnet:b", "muse:a"], "licence": ["CC BY-NC 4.0; WordNet", "CC BY-NC 4.0"]}
    )
    left, dropped = keep_commercial(entries)
    assert left.rows() == [("wordnet:b", "WordNet")]
    assert dropped == {filters.NO_COMMERCE: 1}


# --- length and script ---


def test_either_side_out_of_the_given_length_is_dropped_with_its_reason():
    frame = pl.DataFrame({"source": ["a", "word", "word"], "target": ["Wort", "o", "Wortungetüm"]})
    left, dropped = RowFilters(min_characters=2, max_characters=10).apply(frame, ("de",))
    assert left.is_empty()
    assert dropped == {"of less than 2 characters": 2, "of more than 10 characters": 1}


@pytest.mark.parametrize(
    ("language", "own", "foreign"),
    [
        ("ru", ["дом", "дом 5"], ["dom", "IP-адрес", "5"]),
        ("ja", ["家", "データ", "いえ"], ["house", "Tシャツ"]),
        ("de", ["Haus", "µm"], ["дом", "β-Wert"]),
        ("zh-Hant", ["家"], ["いえ"]),
        ("sr", ["кућа", "kuća"], ["家"]),
        ("sr-Latn", ["kuća"], ["кућа"]),
        ("hi", ["घर"], ["ghar"]),
    ],
)
def test_target_must_be_in_a_script_of_its_language(language, own, foreign):
    assert matching(language, *own, *foreign) == own


def test_scripts_of_every_language_are_known_to_the_regular_expressions():
    for language in LANGUAGES:
        assert matching(language.code, "5") == []
        assert language_scripts(language.code)


def test_each_row_is_held_against_its_own_language():
    frame = pairs("дом", "дом").with_columns(target_language=pl.Series(["ru", "de"]))
    left, dropped = RowFilters(script="match").apply(frame, ("ru", "de"))
    assert left["target_language"].to_list() == ["ru"]
    assert dropped == {filters.WRONG_SCRIPT: 1}


# --- frequency ---


@pytest.mark.parametrize(
    ("key", "stays"), [("house", True), ("boat", False), ("house boat", False), ("house-dog's", True)]
)
def test_phrase_is_as_frequent_as_its_rarest_word(key, stays):
    counts = pl.DataFrame({"token": ["house", "dog's", "boat"], "count": [9, 3, 1]})
    left, dropped = keep_frequent(pl.DataFrame({"key": [key]}), counts, 3, "en")
    assert (len(left), dropped) == (int(stays), int(not stays))


# --- in a build ---


def build(folder, *specs, **options):
    config = {"sources": [s.replace("@", f"{folder}/") for s in specs], "output": str(folder / "lexicon")} | options
    counts = build_lexicon(LexiconBuildConfig.from_options(config))
    return read_entries(config["output"]), counts


@pytest.fixture
def sources(tmp_path):
    (tmp_path / "en-de.txt").write_text("house haus\nhouse bau\ndog hund\n")
    (tmp_path / "free.tsv").write_text("house\thaus\n")
    return tmp_path


def test_commercial_lexicon_keeps_what_a_free_source_gives_too(sources):
    entries, counts = build(
        sources, "muse:en-de:@en-de.txt", "tsv:en-de:@free.tsv", source_licence="CC0", licence="commercial"
    )
    assert entries.select("source", "target", "weight", "origin", "licence").rows() == [
        ("house", "haus", 1.0, "tsv:free.tsv", "CC0")
    ]
    assert counts["dropped"] == {filters.NO_COMMERCE: 3}


def test_commercial_lexicon_drops_what_is_of_unknown_licence(sources):
    with pytest.raises(InputError, match=f"no entries are left.*{filters.NO_LICENCE}"):
        build(sources, "tsv:en-de:@free.tsv", licence="commercial")


def test_words_rarer_than_asked_in_the_corpus_are_dropped(sources):
    (sources / "pairs.tsv").write_text(
        "query_id\tquery\tpassage_id\tpassage\tlabel\nq1\tA House?\tp1\tthe house of a dog\t1\n"
    )
    entries, counts = build(sources, "muse:en-de:@en-de.txt", min_frequency=2, corpus=str(sources / "pairs.tsv"))
    assert set(entries["source"]) == {"house"}
    assert counts["dropped"] == {filters.RARE: 1}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"min_frequency": 2}, "--min-frequency needs --corpus"),
        ({"corpus": "x"}, "--corpus is for --min-frequency and --lemmas"),
        ({"min_characters": 3, "max_characters": 2}, "--max-characters 2 is below --min-characters 3"),
    ],
)
def test_filters_that_do_not_agree_are_refused(options, message):
    with pytest.raises(InputError, match=message):
        LexiconBuildConfig.from_options({"sources": ["muse:en-de:x"], "output": "y"} | options)
