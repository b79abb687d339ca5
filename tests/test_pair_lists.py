"""The paper's lists of language pairs, written out."""

import pytest

from csgen.languages import parse_language
from eval.pair_lists import LANGUAGE_SETS, PAIR_LISTS


@pytest.mark.parametrize(
    ("name", "pairs"),
    [
        (
            "paper-seen",
            [
                *[("en", "de"), ("en", "it"), ("en", "ar"), ("en", "ru")],
                *[("de", "it"), ("de", "nl"), ("de", "ru")],
                *[("ar", "it"), ("ar", "ru")],
            ],
        ),
        (
            "paper-unseen",
            [
                *[("fr", "en"), ("id", "nl"), ("es", "fr"), ("en", "pt"), ("de", "vi")],
                *[("it", "zh"), ("fr", "pt"), ("id", "vi"), ("pt", "zh")],
            ],
        ),
    ],
)
def test_the_pairs_of_clir_are_the_papers(name: str, pairs: list[tuple[str, str]]) -> None:
    assert [pair for pair in PAIR_LISTS[name] if pair[0] != pair[1]] == pairs


@pytest.mark.parametrize(
    ("name", "languages"),
    [("paper-seen", ["en", "de", "it", "nl", "ru", "ar"]), ("paper-unseen", ["fr", "id", "es", "pt", "zh"])],
)
def test_the_pairs_of_moir_are_the_papers(name: str, languages: list[str]) -> None:
    assert [query for query, passage in PAIR_LISTS[name] if query == passage] == languages


def test_mlir_has_six_languages_that_are_seen_and_fourteen_in_all() -> None:
    assert [len(languages) for languages in LANGUAGE_SETS.values()] == [6, 14]
    assert {*LANGUAGE_SETS["paper-6"]} == {query for query, passage in PAIR_LISTS["paper-seen"] if query == passage}
    assert {*LANGUAGE_SETS["paper-6"]} < {*LANGUAGE_SETS["paper-14"]}


def test_every_language_of_a_pair_is_in_the_set_of_fourteen() -> None:
    used = {language for pairs in PAIR_LISTS.values() for pair in pairs for language in pair}
    assert used <= {*LANGUAGE_SETS["paper-14"]}


def test_no_pair_and_no_language_stands_twice() -> None:
    for listed in (*PAIR_LISTS.values(), *LANGUAGE_SETS.values()):
        assert len({*listed}) == len(listed)


def test_every_language_is_one_that_the_project_knows_by_this_code() -> None:
    for languages in LANGUAGE_SETS.values():
        assert tuple(map(parse_language, languages)) == languages
