"""Languages by code and by name."""

import pytest

from csgen.errors import InputError
from csgen.languages import LANGUAGES, language_name, parse_language, three_letter_code


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("en", "en"),
        ("eng", "en"),
        ("English", "en"),
        (" DE ", "de"),
        ("ger", "de"),
        ("deu", "de"),
        ("cmn", "zh"),
        ("swh", "sw"),
        ("norwegian bokmål", "nb"),
    ],
)
def test_codes_and_names_give_the_two_letter_code(text, code):
    assert parse_language(text) == code


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("pt_BR", "pt-BR"),
        ("pt-br", "pt-BR"),
        ("zho-hant", "zh-Hant"),
        ("es-419", "es-419"),
        ("zh_Hant_TW", "zh-Hant-TW"),
    ],
)
def test_script_and_region_are_kept_in_bcp_47_form(text, code):
    assert parse_language(text) == code


def test_a_parsed_code_parses_to_itself():
    assert [parse_language(one.code) for one in LANGUAGES] == [one.code for one in LANGUAGES]


def test_no_code_or_name_stands_for_two_languages():
    owners = {(n.lower(), one.code) for one in LANGUAGES for n in (one.code, one.code3, one.name, *one.others)}
    assert len(owners) == len({name for name, _ in owners})


@pytest.mark.parametrize("text", ["germn", "englisch"])
def test_unknown_language_names_near_matches(text):
    with pytest.raises(InputError, match=r"did you mean .*(German|English)"):
        parse_language(text)


@pytest.mark.parametrize("text", ["", "xx", "de-", "de-x", "German-DE", "12"])
def test_what_is_no_language_is_refused(text):
    with pytest.raises(InputError, match="unknown language"):
        parse_language(text)


def test_names_and_three_letter_codes():
    assert (language_name("deu"), language_name("pt_BR"), three_letter_code("pt-BR")) == (
        "German",
        "Portuguese (BR)",
        "por",
    )
