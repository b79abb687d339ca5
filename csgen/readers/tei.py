"""FreeDict dictionaries in TEI P5, as they are edited: entries of headwords, senses and translations, in XML.

Read in one pass in bounded memory, without a tree. Older markup (`trans` and `tr`, TEI P4) is understood too.
"""

from xml.parsers import expat

import polars as pl

from csgen.errors import InputError
from csgen.languages import parse_language
from csgen.readers.columns import Reading, drop_notes
from csgen.readers.markup import MAX_DEPTH, TextCollector, parse_xml
from csgen.readers.phrasing import UNFITTING, name_licence, pair_phrases, split_phrases

_NAMESPACE = "http://www.tei-c.org/ns/1.0 "
_LANGUAGE = "http://www.w3.org/XML/1998/namespace lang"
_TRANSLATION_TYPES = {"trans", "translation", "translationEquivalent"}
_HEADER = {"title": "title", "edition": "edition", "availability": "licence"}
_ELEMENTS = {name: name for name in ("TEI", "entry", "form", "orth", "cit", "quote", "tr", "def", *_HEADER)}
_ELEMENTS |= {"TEI.2": "TEI", "teiCorpus": "TEI"}
_ELEMENTS |= dict.fromkeys(("re", "note", "xr", "etym"), "aside")  # within an entry, about other words
_NAMES = _ELEMENTS | {_NAMESPACE + name: kind for name, kind in _ELEMENTS.items()}  # TEI P4 knows no namespace

_NO_ENTRIES = (
    "has no entries; expected a dictionary of TEI's <entry> elements (where it includes other files, as eng-pol does, "
    "join them first: xmllint --xinclude)"
)


def read_tei(path: str, source: str, targets: tuple[str, ...]) -> Reading:
    """A dictionary of one target language; `line` counts its entries. Translations marked as of another are left out.

    Where definitions outnumber translations they are the translations, as in eng-ell and swh-eng.
    """
    entries = _Entries(path, targets[0])
    parse_xml(path, entries.connect)
    if not entries.number:
        raise InputError.at(path, None, _NO_ENTRIES)
    offered = max(entries.translations, entries.definitions, key=len)
    sources = pl.DataFrame(entries.headwords, schema={"line": pl.Int64, "source": pl.String}, orient="row")
    targets_read = pl.DataFrame(offered, schema={"line": pl.Int64, "target": pl.String}, orient="row")
    bare = drop_notes(pl.col("target"))  # notes may hold commas
    split = targets_read.with_columns(split_phrases(bare)).explode("target", empty_as_null=True)
    found = pair_phrases(sources, split)
    pairs = found.drop_nulls()
    malformed = pl.DataFrame({"line": entries.nameless, "reason": "entry without a headword (form and orth)"})
    counts = {
        "lines": entries.number,
        "blank": 0,
        "entries without a translation": entries.number - len(entries.nameless) - pairs["line"].n_unique(),
        "translations into other languages": entries.foreign,
        "definitions beside the translations": min(len(entries.translations), len(entries.definitions)),
        UNFITTING: len(found) - len(pairs),
    }
    licence = name_licence(entries.about.pop("licence", ""))
    return Reading(pairs, malformed.cast({"line": pl.Int64, "reason": pl.String}), counts, licence, entries.about)


class _Entries:
    """Takes headwords and translations out of the elements as they go by."""

    def __init__(self, path: str, target: str) -> None:
        self.path = path
        self.target = _primary(target)
        self.number = 0  # of the entry, from 1
        self.headwords: list[tuple[int, str]] = []
        self.translations: list[tuple[int, str]] = []
        self.definitions: list[tuple[int, str]] = []
        self.nameless: list[int] = []
        self.foreign = 0
        self.about: dict[str, str] = {}
        self._depth = 0
        self._inner_depth = 0  # where an element began that is passed over or collected as a whole; 0: none
        self._cits: list[tuple[bool, str | None]] = []  # open ones: whether a translation, and its language
        self._collected: str | None = None  # the element whose text is being collected, if any
        self._in_entry = self._is_named = False
        self._languages: dict[str, str] = {}

    def connect(self, parser: expat.XMLParserType) -> None:
        parser.StartElementHandler = self._start
        parser.EndElementHandler = self._end
        self._parser = parser
        self._text = TextCollector(self.path, parser)

    def _start(self, full_name: str, attributes: dict[str, str]) -> None:
        self._depth = depth = self._depth + 1
        if depth > MAX_DEPTH:
            raise self._error(f"expected elements nested at most {MAX_DEPTH} deep, got more")
        if self._inner_depth:
            return
        name = _NAMES.get(full_name)
        if depth == 1 and name != "TEI":
            raise self._error(f"expected TEI, got the element {full_name}")
        if name is None:
            return
        if not self._in_entry:
            self._start_outside(name)
        elif name == "aside" or (name == "form" and (attributes.get("type") == "infl" or self._cits)):
            self._inner_depth = depth
        elif name == "cit":
            self._start_cit(attributes)
        elif self._is_wanted(name, attributes):
            self._collect(name)

    def _start_outside(self, name: str) -> None:
        if name == "entry":
            self.number += 1
            self._in_entry, self._is_named = True, False
        elif name in _HEADER and _HEADER[name] not in self.about and not self.number:
            self._collect(name)

    def _start_cit(self, attributes: dict[str, str]) -> None:
        kind = attributes.get("type")
        if kind is None or kind in _TRANSLATION_TYPES:
            self._cits.append((kind is not None, attributes.get(_LANGUAGE)))
        else:
            self._inner_depth = self._depth  # an example, whose translation is not the word's

    def _is_wanted(self, name: str, attributes: dict[str, str]) -> bool:
        if name == "quote" and self._cits:
            is_translation, language = self._cits[-1]
            if not is_translation and attributes.get("type") not in _TRANSLATION_TYPES:
                return False
            return self._is_target(attributes.get(_LANGUAGE, language))
        return name in ("orth", "def", "tr") and not self._cits

    def _is_target(self, language: str | None) -> bool:
        if language is None:
            return True
        if language not in self._languages:
            self._languages[language] = _primary(language)
        is_target = self._languages[language] == self.target
        self.foreign += not is_target
        return is_target

    def _collect(self, name: str) -> None:
        self._collected, self._inner_depth = name, self._depth
        self._text.begin()

    def _end(self, full_name: str) -> None:
        depth = self._depth
        self._depth = depth - 1
        if self._inner_depth:
            if depth == self._inner_depth:
                self._inner_depth = 0
                if self._collected:
                    self._keep(self._collected, self._text.end())
                    self._collected = None
            return
        name = _NAMES.get(full_name)
        if name == "cit" and self._cits:
            self._cits.pop()
        elif name == "entry" and self._in_entry:
            self._in_entry = False
            if not self._is_named:
                self.nameless.append(self.number)

    def _keep(self, name: str, text: str) -> None:
        if name in _HEADER:
            self.about[_HEADER[name]] = text
        elif not text:
            return
        elif name == "orth":
            self._is_named = True
            self.headwords.append((self.number, text))
        else:
            (self.definitions if name == "def" else self.translations).append((self.number, text))

    def _error(self, message: str) -> InputError:
        return InputError.at(self.path, self._parser.CurrentLineNumber, message)


def _primary(language: str) -> str:
    """The code without script and region; as written where no known language is meant."""
    try:
        return parse_language(language).partition("-")[0]
    except InputError:
        return language
