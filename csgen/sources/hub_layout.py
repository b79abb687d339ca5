"""Which files of a data set of the hub hold what: passages, queries or qrels, of which language and of which split.

Told by the `configs` of its card (the YAML at the head of README.md), or where it has none by the names of the files.
Reads neither; knows no columns.
"""

import posixpath
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import yaml
from fsspec.utils import glob_translate

from csgen.errors import InputError
from csgen.files import COMPRESSIONS
from csgen.languages import language_scripts, parse_language

Kind = Literal["passages", "queries", "qrels", "untold"]
Part = tuple[list[str], str, tuple[str, ...]]  # the words that tell what a table is, its place, its files

CARD_NAME = "README.md"
DATA_ENDINGS = (".parquet", ".jsonl", ".csv", ".tsv")
DEFAULT_SPLIT = "test"

_KINDS: Mapping[str, Kind] = {
    **dict.fromkeys(("corpus", "passages", "articles"), "passages"),
    **dict.fromkeys(("queries", "query", "questions"), "queries"),
    "qrels": "qrels",
}
_SPLITS = ("train", "dev", "validation", "test")
_EMPTY_WORDS = ("", "data", "default")
_PART_OF_FILE = re.compile(r"-[0-9]{5}-of-[0-9]{5}(-[0-9a-f]+)?$")  # test-00000-of-00001


@dataclass(frozen=True)
class Card:
    """What a data set tells of itself; "" and () where it does not."""

    configs: tuple[Mapping[str, Any], ...]
    licence: str
    languages: tuple[str, ...]


@dataclass(frozen=True)
class Table:
    """Files that together are one table. An untold kind is for the columns to tell; language "": not told.

    `place` is where the data set says that the files are: a pattern of the card, or their path without its ending.
    """

    kind: Kind
    language: str
    split: str
    place: str
    names: tuple[str, ...]


def read_card(text: str, place: str) -> Card:
    """The card in a README's text, of which only the YAML between the first two lines of `---` counts."""
    head = re.match(r"---\r?\n(.*?)^---", text, re.DOTALL | re.MULTILINE)
    try:
        card = yaml.safe_load(head[1]) if head else {}
    except yaml.YAMLError as error:
        raise InputError(f"{place}: its head is not YAML: {error}") from error
    if not isinstance(card, dict):
        raise InputError(f"{place}: its head is not a mapping of keys")
    return Card(
        configs=tuple(one for one in _as_list(card.get("configs")) if isinstance(one, dict)),
        licence=", ".join(map(str, _as_list(card.get("license")))),
        languages=tuple(code for one in _as_list(card.get("language")) if (code := parse_tag(str(one)))),
    )


def list_tables(names: Sequence[str], card: Card) -> list[Table]:
    """The tables of the data set with files `names`, in the order of the card, else of the names.

    What names something else than a language beside a kind and a split, such as `de-top_ranked`, is left out.
    """
    parts = _card_parts(names, card) if card.configs else _file_parts(names)
    tables = [_name_table(words, place, files) for words, place, files in parts]
    return [table for table in tables if table is not None]


def parse_tag(text: str) -> str:
    """The code of a language, "" for what is none; a script that is the language's own is cut: "deu-Latn" is "de"."""
    try:
        code = parse_language(text)
    except InputError:
        return ""
    primary, _, script = code.partition("-")
    return primary if (script,) == language_scripts(primary) else code


def data_ending(name: str) -> str:
    """The ending that tells the format of a file, compressed or not; "" where it holds no data."""
    for ending in COMPRESSIONS:
        name = name.removesuffix(ending)
    return next((ending for ending in DATA_ENDINGS if name.endswith(ending)), "")


def _card_parts(names: Sequence[str], card: Card) -> Iterator[Part]:
    for config in card.configs:
        for one in _as_list(config.get("data_files")):
            split, patterns = (one.get("split", ""), one.get("path")) if isinstance(one, dict) else ("", one)
            texts = [str(pattern) for pattern in _as_list(patterns)]
            chosen = [re.compile(glob_translate(text)) for text in texts]
            found = tuple(name for name in sorted(names) if any(pattern.match(name) for pattern in chosen))
            yield _words(f"{config.get('config_name', '')} {split}"), ", ".join(texts), found


def _file_parts(names: Sequence[str]) -> Iterator[Part]:
    tables: dict[str, list[str]] = {}
    for name in sorted(names):
        ending = data_ending(name)
        if ending and not posixpath.basename(name).startswith((".", "_")):
            tables.setdefault(_PART_OF_FILE.sub("", name[: name.rindex(ending)]), []).append(name)
    for path, files in tables.items():
        yield _words(path), path, tuple(files)


def _words(text: str) -> list[str]:
    return [word for word in re.split(r"[-_/. ]", text) if word not in _EMPTY_WORDS and not word.isdigit()]


def _name_table(words: list[str], place: str, files: tuple[str, ...]) -> Table | None:
    kinds = [_KINDS[word] for word in words if word in _KINDS]
    splits = [word for word in words if word in _SPLITS]
    rest = "-".join(dict.fromkeys(word for word in words if word not in _KINDS and word not in _SPLITS))
    language = parse_tag(rest) if rest else ""
    if rest and not language:
        return None
    kind, split = kinds[0] if kinds else "untold", splits[-1] if splits else DEFAULT_SPLIT
    return Table(kind, language, split, place, files)


def _as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [] if value is None else [value]
