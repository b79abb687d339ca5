"""Apertium's bilingual dictionaries (.dix): pairs of lemmas with their tags, each for one direction or both.

Lemmas alone are read: tags, paradigms and what only regular expressions describe are left out.
"""

import math
import posixpath
import re
from xml.parsers import expat

import polars as pl

from csgen.errors import InputError
from csgen.languages import parse_language
from csgen.readers.columns import Reading
from csgen.readers.markup import MAX_DEPTH, TextCollector, parse_xml

_FILE_NAME = re.compile(r"(?:.*\.)?([a-z]{2,3})(?:_[A-Za-z]+)?-([a-z]{2,3})(?:_[A-Za-z]+)?\.(?:meta)?dix\b")
_SIDES = {"l": (True, False), "r": (False, True), "i": (True, True), "ig": (True, True)}
_MAX_COST = 34.0  # weights are exp(-w), and those below 1e-15 are refused

_EMPTY = "entries of tags or paradigms only"
_SKIPPED = (
    "entries for the other direction",
    "entries of regular expressions",
    "entries with a paradigm inside",
    "entries of joined words",
    "entries marked as ignored",
    _EMPTY,
    "entries of paradigms",
)


def read_apertium(path: str, source: str, targets: tuple[str, ...]) -> Reading:
    """Pairs from `source` to the one target; `line` counts the entries of the sections.

    Which side is the source is read out of a name such as apertium-eng-deu.eng-deu.dix; where the name does not tell,
    it is the left. An entry's weight is exp(-w), since its attribute w is a cost: 1 where there is none.
    """
    entries = _Entries(path, is_reversed(path, source, targets[0]))
    parse_xml(path, entries.connect)
    if not entries.number:
        raise InputError.at(path, None, "has no entries; expected an Apertium dictionary with <section> and <e>")
    schema = {"line": pl.Int64, "source": pl.String, "target": pl.String, "weight": pl.Float64}
    pairs = pl.DataFrame(entries.pairs, schema=schema, orient="row")
    malformed = pl.DataFrame(entries.malformed, schema={"line": pl.Int64, "reason": pl.String}, orient="row")
    return Reading(pairs, malformed, {"lines": entries.number, "blank": 0} | entries.skipped)


def is_reversed(path: str, source: str, target: str) -> bool:
    """Whether the source language is on the right, by the file's name. A file of other languages is refused."""
    match = _FILE_NAME.fullmatch(re.sub(r"\.(?:gz|xz|zst|bz2)$", "", posixpath.basename(path)))
    if not match:
        return False
    left, right = (_code(name) for name in match.groups())
    wanted = (_code(source), _code(target))
    if wanted[0] == left or wanted[1] == right:
        return False
    if wanted[0] == right or wanted[1] == left:
        return True
    raise InputError.at(path, None, f"its name says {left}-{right}, but {source}-{target} was asked for")


def _code(language: str) -> str:
    try:
        return parse_language(language).partition("-")[0]
    except InputError:
        return language  # such as hbs, which has no two-letter code


class _Entries:
    """Takes pairs out of the elements as they go by."""

    def __init__(self, path: str, is_reversed: bool) -> None:
        self.path = path
        self.number = 0  # of the entry, from 1
        self.pairs: list[tuple[int, str, str, float]] = []
        self.malformed: list[tuple[int, str]] = []
        self.skipped = dict.fromkeys(_SKIPPED, 0)
        self._is_reversed = is_reversed
        self._other_direction = "LR" if is_reversed else "RL"
        self._depth = 0
        self._in_paradigms = self._in_entry = False
        self._left = self._right = self._skip = self._cost = ""
        self._paradigm_at: tuple[int, int] | None = None  # how far both sides were at the entry's last paradigm

    def connect(self, parser: expat.XMLParserType) -> None:
        parser.StartElementHandler = self._start
        parser.EndElementHandler = self._end
        self._parser = parser
        self._text = TextCollector(self.path, parser)

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        self._depth += 1
        if self._depth == 1 and name != "dictionary":
            line = self._parser.CurrentLineNumber
            raise InputError.at(self.path, line, f"expected an Apertium <dictionary>, got the element {name}")
        if self._depth > MAX_DEPTH:
            message = f"expected elements nested at most {MAX_DEPTH} deep, got more"
            raise InputError.at(self.path, self._parser.CurrentLineNumber, message)
        if name == "e":
            self._start_entry(attributes)
        elif not self._in_entry:
            self._in_paradigms |= name == "pardefs"
        elif name in _SIDES:
            self._text.begin()
        elif name == "b":
            self._text.add_blank()
        elif name in ("re", "j"):
            self._skip = f"entries of {'regular expressions' if name == 're' else 'joined words'}"
        elif name == "par":
            self._paradigm_at = (len(self._left), len(self._right))

    def _start_entry(self, attributes: dict[str, str]) -> None:
        if self._in_paradigms:
            self.skipped["entries of paradigms"] += 1
            return
        self.number += 1
        self._in_entry = True
        self._left = self._right = ""
        self._paradigm_at = None
        self._cost = attributes.get("w", "0")
        self._skip = ""
        if attributes.get("i") == "yes":
            self._skip = "entries marked as ignored"
        elif attributes.get("r") == self._other_direction:
            self._skip = "entries for the other direction"

    def _end(self, name: str) -> None:
        self._depth -= 1
        if name == "pardefs":
            self._in_paradigms = False
        elif self._in_entry and name in _SIDES:
            self._add(self._text.end_exact(), *_SIDES[name])
        elif self._in_entry and name == "e":
            self._in_entry = False
            self._end_entry()

    def _add(self, text: str, to_left: bool, to_right: bool) -> None:
        """An entry's parts follow one another: <p>s, <i>s and paradigms."""
        self._left += text if to_left else ""
        self._right += text if to_right else ""

    def _end_entry(self) -> None:
        skip = self._skip
        left, right = self._left.strip(), self._right.strip()
        if not skip and self._paradigm_at and self._paradigm_at != (len(self._left), len(self._right)):
            skip = "entries with a paradigm inside"  # text goes on after forms that only the paradigm lists
        if not skip and not (left and right):
            skip = _EMPTY
        if skip:
            self.skipped[skip] += 1
            return
        try:
            cost = float(self._cost)
        except ValueError:
            cost = math.nan
        if not math.isfinite(cost):
            self.malformed.append((self.number, "weight is not a number"))
            return
        weight = math.exp(-min(max(cost, -_MAX_COST), _MAX_COST))
        self.pairs.append(
            (self.number, right, left, weight) if self._is_reversed else (self.number, left, right, weight)
        )
