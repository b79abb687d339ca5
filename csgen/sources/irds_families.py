"""Families of ir_datasets' data sets, which differ in language alone: `miracl/LANG/dev` is miracl/ar/dev and its like.

Knows the names of data sets, and whose ids are the same in every language; reads none of them.
"""

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from csgen.errors import InputError
from csgen.languages import parse_language

PLACE = "LANG"  # stands where an id names its language
ENGLISH = "en"

_ODD_CODES = {"dt": "nl"}  # mMARCO's second version writes Dutch so
# mMARCO and NeuMARCO are translations of MS MARCO's passages under the same ids, and hold no English themselves.
_TRANSLATED_FROM = {
    "mmarco/LANG": "msmarco-passage",
    "mmarco/v2/LANG": "msmarco-passage",
    "neumarco/LANG": "msmarco-passage",
}
# Elsewhere an id, such as MIRACL's "39#0", means another text in every language. NeuCLIR and HC4 have one set of topics
# in all languages, and passage ids that are unique.
_SHARED_IDS = (*_TRANSLATED_FROM, "neuclir/1/LANG", "hc4/LANG")


@dataclass(frozen=True)
class Family:
    """The data sets of a family by language, and whether an id means the same, or nothing, in each of them."""

    pattern: str
    members: Mapping[str, str]
    shares_ids: bool

    def choose(self, languages: tuple[str, ...]) -> dict[str, str]:
        """The members in these languages, in their order; all of them where none are given."""
        if unknown := [language for language in languages if language not in self.members]:
            known = ", ".join(self.members)
            raise InputError(f"irds:{self.pattern}: --languages {','.join(unknown)}: there are {known}")
        return {language: self.members[language] for language in languages or self.members}


def is_family(dataset_id: str) -> bool:
    """Whether the id has LANG in the place of a language."""
    return PLACE in dataset_id.split("/")


def parse_code(text: str) -> str:
    """The language that ir_datasets names so."""
    return _ODD_CODES.get(text) or parse_language(text)


def find_family(pattern: str, known_ids: Iterable[str]) -> Family:
    """The data sets among `known_ids` that the pattern names, sorted by language."""
    known = set(known_ids)
    before, _, after = (f"/{pattern}/").partition(f"/{PLACE}/")
    before, after = f"{before}/".removeprefix("/"), f"/{after}".removesuffix("/")
    head = f"{before}{PLACE}"
    members = {}
    for dataset_id in sorted(known):
        middle = dataset_id.removeprefix(before).removesuffix(after)
        if dataset_id == f"{before}{middle}{after}" and (language := _language_of(middle)):
            members[language] = dataset_id
    if members and (english := _TRANSLATED_FROM.get(head)) and f"{english}{after}" in known:
        members[ENGLISH] = f"{english}{after}"
    if not members:
        raise InputError(f"irds:{pattern}: no such data sets; {_suggest(pattern, known)}")
    return Family(pattern, dict(sorted(members.items())), head in _SHARED_IDS)


def suggest_family(dataset_id: str) -> str:
    """The pattern of a data set's family, where a part of the id is a language."""
    parts = dataset_id.split("/")
    places = [place for place, part in enumerate(parts) if place and _language_of(part)]  # "mr" of mr-tydi is none
    return "/".join([*parts[: places[0]], PLACE, *parts[places[0] + 1 :]]) if places else ""


def _language_of(part: str) -> str | None:
    try:
        return parse_code(part)
    except InputError:
        return None


def _suggest(pattern: str, known: set[str]) -> str:
    patterns = {suggest_family(dataset_id) for dataset_id in known} - {""}
    near = difflib.get_close_matches(pattern, sorted(patterns), n=3)
    return f"did you mean {' or '.join(near)}?" if near else "see https://ir-datasets.com"
