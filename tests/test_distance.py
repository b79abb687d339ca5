"""Families, genera and scripts of languages, and how far two languages are."""

from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from csgen.errors import InputError
from csgen.languages import LANGUAGES
from eval.measuring import distance
from eval.measuring.distance import (
    DISTANCE_CLASSES,
    DISTANCES,
    distance_class,
    language_distance,
    language_family,
    language_genus,
    main_script,
)

CODES = [language.code for language in LANGUAGES]
codes = st.sampled_from(CODES)


def test_every_language_has_one_place_in_the_table() -> None:
    placed = [code for genera in distance._GENERA.values() for some in genera.values() for code in some.split()]
    assert sorted(placed) == sorted(CODES)


def test_a_genus_lies_in_one_family() -> None:
    genera = [genus for genera in distance._GENERA.values() for genus in genera]
    assert len(genera) == len(set(genera))


def test_families_and_genera_are_those_of_wals() -> None:
    assert (language_family("en"), language_genus("en")) == ("Indo-European", "Germanic")
    assert (language_family("mt"), language_genus("mt")) == ("Afro-Asiatic", "Semitic")
    assert (language_family("hu"), language_genus("hu")) == ("Uralic", "Ugric")
    assert (language_family("vi"), language_genus("vi")) == ("Austro-Asiatic", "Viet-Muong")


@pytest.mark.parametrize(
    ("left", "right", "expected"),
    [
        ("de", "de", "same language"),
        ("de", "en", "same genus"),
        ("fi", "et", "same genus"),
        ("fi", "hu", "same family"),
        ("fr", "de", "same family"),
        ("la", "it", "same genus"),
        ("ta", "te", "same genus"),
        ("sw", "yo", "same family"),
        ("zh", "my", "same family"),
        ("tr", "mn", "other family"),  # no Altaic
        ("ja", "ko", "other family"),
        ("eu", "es", "other family"),
        ("eo", "en", "other family"),
    ],
)
def test_languages_are_as_near_as_their_closest_common_group(left: str, right: str, expected: str) -> None:
    assert distance_class(left, right) == expected


@pytest.mark.parametrize(
    ("left", "right", "expected"),
    [
        ("en", "en", "same language"),
        ("hr", "sr", "same genus, other script"),
        ("hr", "sr-Latn", "same genus"),
        ("sr-Cyrl", "sr-Latn", "same language, other script"),
        ("de", "ru", "same family, other script"),
        ("hi", "ur", "same genus, other script"),
        ("de", "tr", "other family"),
        ("en", "zh", "other family, other script"),
        ("ja", "zh", "other family"),  # both in Han characters
        ("ko", "zh", "other family, other script"),
    ],
)
def test_another_script_is_told_apart(left: str, right: str, expected: str) -> None:
    assert language_distance(left, right) == expected


def test_regions_and_written_variants_of_a_language_are_that_language() -> None:
    assert language_distance("pt-BR", "pt") == "same language"
    assert language_distance("zh-Hans", "zh-TW") == "same language"
    assert language_distance("zh-Hant", "zh-Hans") == "same language"
    assert distance_class("por", "Portuguese") == "same language"


def test_distances_go_from_near_to_far() -> None:
    assert DISTANCES[:3] == ("same language", "same language, other script", "same genus")
    assert DISTANCES[-1] == "other family, other script"


def test_the_main_script_is_the_one_that_most_of_a_language_is_written_in() -> None:
    assert [main_script(code) for code in ("en", "sr", "sr-Latn", "ja", "ko", "zh-Hant")] == [
        "Latn", "Cyrl", "Latn", "Hani", "Hang", "Hani",
    ]  # fmt: skip


def test_a_code_that_is_no_language_is_refused() -> None:
    with pytest.raises(InputError, match="unknown language 'xx'"):
        language_distance("en", "xx")
    with pytest.raises(InputError, match="did you mean de"):
        language_family("germn")


@given(codes, codes)
def test_distance_does_not_depend_on_which_comes_first(left: str, right: str) -> None:
    assert language_distance(left, right) == language_distance(right, left)
    assert language_distance(left, right) in DISTANCES


@given(codes, codes, codes)
def test_distance_classes_are_an_ultrametric(a: str, b: str, c: str) -> None:
    far = {pair: DISTANCE_CLASSES.index(distance_class(*pair)) for pair in product((a, b, c), repeat=2)}
    assert far[a, c] <= max(far[a, b], far[b, c])
    assert (far[a, b] == 0) == (a == b)
