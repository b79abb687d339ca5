"""Parallel text: sentences and their pairs, words and their forms, what is left out."""

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from csgen.characters import fold
from csgen.errors import InputError
from csgen.induction.parallel import MAX_TOKENS, Bitext
from csgen.induction.sentences import Sentences, pair_sentences

patient = settings(deadline=None, max_examples=50)  # the first example compiles

LONG = "This sentence is quite a lot longer than all the others are in this text"
LANG = "Dieser Satz hier ist ein ganzes Stück länger als alle anderen in diesem Text"


def bitext(*pairs, languages=("en", "de")):
    source, target = ([pair[k] for pair in pairs] for k in (0, 1))
    return Bitext.from_texts(pl.Series(source, dtype=pl.String), pl.Series(target, dtype=pl.String), *languages)


def sentences(side, words="words"):
    forms = getattr(side, words).to_list()
    bounds = zip(side.offsets[:-1], side.offsets[1:], strict=True)
    return [" ".join(forms[t] for t in side.tokens[start:end]) for start, end in bounds]


def split(text, language="en"):
    return Sentences.split(pl.Series([text]), language).sentences.to_list()


def paired(source, target):
    sides = Sentences.split(pl.Series([source]), "en"), Sentences.split(pl.Series([target]), "de")
    return [
        (" ".join(sides[0].sentences[a:b]), " ".join(sides[1].sentences[c:d]))
        for a, b, c, d in pair_sentences(*sides).tolist()
    ]


# --- Sentences ---


def test_sentences_end_at_stops_and_lines():
    assert split("One. Two! Three?\nfour\n\n") == ["One.", "Two!", "Three?", "four"]


def test_no_sentence_ends_behind_an_abbreviation_of_single_letters():
    assert split("Tools, e.g. Perl, by J. Smith.") == ["Tools, e.g. Perl, by J. Smith."]


def test_sentences_without_spaces_end_at_ideographic_stops():
    assert split("本です。本ではない。", "ja") == ["本です。", "本ではない。"]


def test_lines_are_paired_one_by_one_where_both_texts_have_as_many():
    assert paired(f"ab\n{LONG}.", f"{LANG}.\nab") == [("ab", f"{LANG}."), (f"{LONG}.", "ab")]


def test_sentences_are_paired_by_their_lengths():
    source, target = f"{LONG}. Short one. {LONG}.", f"{LANG}. Kurzer. {LANG}."
    assert paired(source, target) == [
        (f"{LONG}.", f"{LANG}."),
        ("Short one.", "Kurzer."),
        (f"{LONG}.", f"{LANG}."),
    ]


def test_two_sentences_may_become_one():
    assert paired(f"{LONG}. {LONG}.", f"{LANG} und {LANG}.") == [(f"{LONG}. {LONG}.", f"{LANG} und {LANG}.")]


@patient
@given(st.lists(st.sampled_from([LONG, "Short one", "A third of these sentences"]), min_size=1, max_size=6))
def test_a_text_is_paired_with_itself_sentence_by_sentence(chosen):
    text = "\n".join(chosen)
    assert paired(text, text) == [(sentence, sentence) for sentence in chosen]


# --- Words ---


def test_words_are_folded_and_numbered_by_frequency_then_by_text():
    side = bitext(("The cat sees the dog", "x"), ("the dog", "y")).source
    assert side.words.to_list() == ["the", "dog", "cat", "sees"]
    assert side.frequencies.tolist() == [3, 2, 1, 1]
    assert sentences(side) == ["the cat sees the dog", "the dog"]


def test_a_word_is_written_as_it_mostly_is_away_from_sentence_starts():
    target = bitext(("a", "Das ist das Paket"), ("b", "Das Paket enthält das PAKET"), ("c", "Ein Paket")).target
    assert sentences(target, "surfaces")[0] == "das ist das Paket"


def test_a_word_seen_at_starts_alone_keeps_its_capital_in_german_alone():
    assert bitext(("a", "Werkzeuge hier")).target.surfaces.to_list() == ["hier", "Werkzeuge"]
    assert bitext(("a", "Outils ici"), languages=("en", "fr")).target.surfaces.to_list() == ["ici", "outils"]


@pytest.mark.parametrize("apostrophe", ["'", "\u2019"])
def test_elided_words_stand_alone(apostrophe):
    target = bitext(("a", f"l{apostrophe}interface d{apostrophe}aujourd{apostrophe}hui"), languages=("en", "fr")).target
    assert sentences(target) == [f"l{apostrophe} interface d{apostrophe} aujourd{apostrophe}hui"]


def test_apostrophes_stay_inside_words_of_other_languages():
    assert sentences(bitext(("don't do it", "x")).source) == ["don't do it"]


def test_words_of_scripts_without_spaces_are_found_by_icu():
    pytest.importorskip("icu4py")
    assert sentences(bitext(("a", "これは本です"), languages=("en", "ja")).target) == ["これ は 本 です"]


@patient
@given(st.lists(st.text(st.characters(categories=["Ll", "Lu", "Nd"]), min_size=1, max_size=8), min_size=1, max_size=6))
def test_the_words_of_a_sentence_come_back_folded(words):
    found = sentences(bitext((" ".join(words), " ".join(words))).source)
    assert found == [fold(" ".join(pl.Series(words).str.normalize("NFC").to_list()))]


# --- What is left out ---


def test_pairs_left_out_are_counted_by_reason():
    found = bitext(
        ("a house", "ein Haus"),
        ("a house", "ein Haus"),
        ("...", "ein Haus"),
        ("word " * (MAX_TOKENS + 1), "Wort"),
        ("a b c d e f g h i j k l m n o p q r s t", "ein"),
    )
    assert sentences(found.source) == ["a house"]
    assert found.counts == {
        "texts": 5,
        "sentence pairs": 5,
        "without words on one side": 1,
        f"with over {MAX_TOKENS} words": 1,
        "of too different lengths": 1,
        "repeated": 1,
    }


def test_pairs_keep_the_order_of_the_texts():
    words = [f"w{k % 7} v{k}" for k in range(50)]
    found = bitext(*zip(words, words, strict=True))
    assert sentences(found.source) == sentences(found.target) == words


def test_no_texts_are_no_pairs():
    assert len(bitext()) == 0


def test_blank_texts_are_no_pairs():
    assert len(bitext(("", "ein Haus"), ("\n", ""))) == 0


def test_texts_must_pair_row_by_row():
    with pytest.raises(InputError, match="row by row, got 1 and 2 rows"):
        Bitext.from_texts(pl.Series(["a"]), pl.Series(["b", "c"]), "en", "de")
