"""Terms of texts by language: what is a word, what becomes of it, and how terms are laid out."""

import sys
from itertools import pairwise

import numpy as np
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from csgen.errors import InputError
from csgen.languages import LANGUAGES
from csgen.lexicon.entries import fold_column
from csgen.switching.primitives import SLACK
from csgen.switching.switcher import buffers_of
from csgen.switching.tokens import word_bounds
from indexing.analysis import Analyser, Terms

patient = settings(deadline=None, max_examples=50)


def series(*texts: str) -> pl.Series:
    return pl.Series(texts, dtype=pl.String)


def terms_of(language: str, text: str) -> list[str]:
    return spell(Analyser(language).find_terms(series(text)))[0]


def words_of(language: str, text: str) -> list[str]:
    return spell(Analyser(language).find_words(series(text)))[0]


def spell(terms: Terms) -> list[list[str]]:
    return [terms.vocabulary.gather(terms.ids[a:b]).to_list() for a, b in pairwise(terms.offsets)]


def test_terms_are_stems_without_stop_words() -> None:
    assert terms_of("en", "The houses are being USED, the house's use") == ["hous", "use", "hous", "use"]
    assert terms_of("de", "Die Häuser in der Straße") == ["haus", "strass"]


def test_terms_are_laid_out_text_by_text() -> None:
    terms = Analyser("en").find_terms(series("red house", "", "...", "house houses blue"))
    assert terms.vocabulary.to_list() == ["red", "hous", "blue"]
    assert terms.offsets.tolist() == [0, 2, 2, 2, 5]
    assert terms.ids.tolist() == [0, 1, 1, 1, 2]
    assert (terms.offsets.dtype, terms.ids.dtype, len(terms)) == (np.int64, np.int32, 4)


def test_no_texts_have_no_terms() -> None:
    for language in ("en", "zh", "fr"):
        terms = Analyser(language).find_terms(series())
        assert (len(terms), len(terms.ids), len(terms.vocabulary)) == (0, 0, 0)


def test_apostrophes_inside_belong_to_the_word() -> None:
    assert words_of("en", "don't 'quote' rock’n’roll") == ["don't", "quote", "rock'n'roll"]


def test_soft_hyphens_and_joiners_are_not_part_of_words() -> None:
    assert words_of("de", "Auto\u00admobil") == ["automobil"]
    assert words_of("fa", "می\u200cخواهم") == ["میخواهم"]


def test_elided_articles_are_cut_off() -> None:
    assert words_of("fr", "L’eau qu'elle boit aujourd'hui") == ["eau", "elle", "boit", "aujourd'hui"]
    assert words_of("it", "dell'acqua") == ["acqua"]
    assert words_of("en", "l'eau") == ["l'eau"]


def test_dotless_i_is_the_small_letter_of_i_in_turkish_alone() -> None:
    assert words_of("tr", "IŞIK İstanbul") == ["ışık", "istanbul"]
    assert words_of("en", "INTEL ıntel İstanbul") == ["intel", "intel", "istanbul"]


def test_forms_of_a_greek_word_have_one_term() -> None:
    assert len(set(terms_of("el", "ΟΔΟΣ οδός"))) == 1


def test_numbers_are_words() -> None:
    assert terms_of("en", "1,000 units in 2019") == ["1", "000", "unit", "2019"]


def test_runs_of_han_and_kana_become_pairs_of_characters() -> None:
    assert terms_of("ja", "Linuxカーネル、版") == ["linux", "カー", "ーネ", "ネル", "版"]


def test_width_of_letters_makes_no_difference() -> None:
    assert terms_of("ja", "Ｌｉｎｕｘのｶﾞｲﾄﾞ") == terms_of("ja", "linuxのガイド")


def test_chinese_is_the_same_in_both_scripts() -> None:
    assert terms_of("zh", "國防部") == terms_of("zh-Hans", "国防部") == ["国防", "防部"]
    assert terms_of("ja", "國防") == ["國防"]


def test_korean_words_become_pairs_within_the_word() -> None:
    assert terms_of("ko", "학교에서 공부") == ["학교", "교에", "에서", "공부"]


def test_a_pair_that_is_also_a_whole_word_is_one_term() -> None:
    terms = Analyser("ko").find_terms(series("학교에서 학교"))
    assert terms.vocabulary.is_unique().all()
    assert terms.ids[0] == terms.ids[3]


def test_thai_pairs_are_of_consonants_with_what_is_written_around_them() -> None:
    assert terms_of("th", "ภาษาไทย") == ["ภาษา", "ษาไท", "ไทย"]
    assert terms_of("km", "កម្ពុជា") == ["កម្ពុ", "ម្ពុជា"]


def test_languages_without_a_short_list_have_that_of_stopwords_iso() -> None:
    assert terms_of("ro", "care este casa") == ["cas"]


def test_words_of_listed_phrases_are_no_stop_words() -> None:
    assert terms_of("vi", "bất tử") == ["bất", "tử"]


@pytest.mark.parametrize(
    ("variant", "language"), [("pt-BR", "pt"), ("zh-Hant", "zh"), ("deu", "de"), ("Norwegian", "no")]
)
def test_regions_scripts_and_names_lead_to_the_language(variant: str, language: str) -> None:
    assert Analyser(variant).language == language


def test_both_norms_of_norwegian_are_stemmed() -> None:
    assert terms_of("nb", "husene") == terms_of("nn", "husene") == terms_of("no", "husene") == ["hus"]


def test_every_language_is_known() -> None:
    for language in LANGUAGES:
        assert len(terms_of(language.code, "zyx 123")) == 2


def test_an_unknown_language_is_refused() -> None:
    with pytest.raises(InputError, match="unknown language 'xx'"):
        Analyser("xx")


@pytest.mark.parametrize(
    ("module", "language"), [("bm25s", "en"), ("Stemmer", "en"), ("stopwordsiso", "el"), ("opencc", "zh")]
)
def test_a_missing_library_names_the_extra(module: str, language: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(InputError, match=r"pip install 'csgen\[lexical\]'"):
        terms_of(language, "words 国")


def test_number_in_leaves_out_what_the_other_vocabulary_lacks() -> None:
    terms = Terms(series("a", "b", "c"), np.array([0, 3, 4]), np.array([0, 1, 2, 1], np.int32))
    numbered = terms.number_in(series("c", "x", "a"))
    assert numbered.ids.tolist() == [2, 0]
    assert numbered.offsets.tolist() == [0, 2, 2]


def test_replace_puts_ragged_rows_in_the_place_of_terms() -> None:
    terms = Terms(series("a", "b"), np.array([0, 2, 2, 3]), np.array([0, 1, 0], np.int32))
    rows = Terms(series("x", "y"), np.array([0, 2, 2]), np.array([1, 0], np.int32))
    assert spell(terms.replace(rows)) == [["y", "x"], [], ["y", "x"]]


TEXTS = st.lists(st.text(st.sampled_from("aB1é'’ßя ΣςI.-国语カｶﾞ학ไทา\u00ad\u0301"), max_size=12), max_size=6)


@patient
@given(TEXTS, st.sampled_from(["en", "fr", "tr", "zh", "th"]))
def test_a_text_has_the_same_terms_alone_as_among_others(texts: list[str], language: str) -> None:
    analyser = Analyser(language)
    together = spell(analyser.find_terms(series(*texts)))
    assert together == [spell(analyser.find_terms(series(text)))[0] for text in texts]


@patient
@given(TEXTS)
def test_vocabularies_hold_every_term_once(texts: list[str]) -> None:
    for found in (Analyser("zh").find_terms(series(*texts)), Analyser("zh").find_words(series(*texts))):
        assert found.vocabulary.is_unique().all()
        assert found.ids.max(initial=-1) < len(found.vocabulary)


@patient
@given(st.text(st.sampled_from("aZ09éßЯΣ'· .,-\n_"), max_size=40))
def test_words_are_those_that_the_switcher_finds(text: str) -> None:
    data, offsets = buffers_of(pa.array([text]))
    data = np.concatenate([data[: offsets[-1]], np.zeros(SLACK, np.uint8)])
    bounds, bound_offsets = np.empty(2 * len(data) + 16, np.int32), np.empty(2, np.int64)
    word_bounds(data, offsets, bounds, bound_offsets)
    edges = bounds[: bound_offsets[1]].reshape(-1, 2)
    words = series(*(data[start:end].tobytes().decode() for start, end in edges))
    assert words_of("en", text) == fold_column(words).to_list()
