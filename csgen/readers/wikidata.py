"""Wikidata's JSON dump as pairs: the names of one entity in two languages, by its labels and its Wikipedia titles.

A dump's lines have one layout, by which the labels and links are found and parsed; the claims, which are most of a
line, are only looked through for what kind of page it is. A line of another layout is parsed as a whole.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import orjson
import polars as pl

from csgen.readers.columns import Reading, require_text
from csgen.readers.pieces import Piece, read_lines

# Wikidata's codes of labels, the preferred first; for others the code itself, then without its region or script.
_LABELS = {
    "be": ("be", "be-tarask"),
    "nb": ("nb", "no"),
    "no": ("nb", "no"),
    "sr": ("sr", "sr-ec", "sr-el"),
    "sr-Cyrl": ("sr-ec", "sr"),
    "sr-Latn": ("sr-el",),
    "zh": ("zh", "zh-hans", "zh-cn", "zh-hant", "zh-tw", "zh-hk"),
    "zh-Hans": ("zh-hans", "zh-cn", "zh-sg", "zh-my"),
    "zh-Hant": ("zh-hant", "zh-tw", "zh-hk", "zh-mo"),
}
# Wikipedias whose name is not the language's code; none where one of two scripts is wanted and titles are in either.
_WIKIS = {
    "be": ("bewiki", "be_x_oldwiki"),
    "nb": ("nowiki",),
    "sr-Latn": (),
    "zh-Hans": (),
    "zh-Hant": (),
}

# What an entity is an instance of, if its names are those of a page rather than of a thing.
_PAGES = {
    "Q4167410": "disambiguation pages",
    "Q22808320": "disambiguation pages",  # of people's names
    "Q4167836": "category pages",
    "Q11266439": "template pages",
    "Q11753321": "template pages",  # navigational
    "Q19887878": "template pages",  # infoboxes
    "Q13406463": "list pages",
    "Q15184295": "pages of other namespaces",  # modules
    "Q4663903": "pages of other namespaces",  # portals
    "Q14204246": "pages of other namespaces",  # about the project
    "Q17362920": "duplicated pages",
}
_NAMESPACES = "Category|Template|Wikipedia|Portal|Help|Module|Project|File|User|Draft|Book|MediaWiki|Special|TimedText"
_REDIRECT_BADGES = {"Q70893996", "Q70894304"}  # sitelink to redirect, intentional sitelink to redirect

_REDIRECTS = "redirects"
_NO_NAMES = "entities without names in both languages"
_OTHER_NAMESPACE = "pages of other namespaces"
_TO_REDIRECTS = "sitelinks to redirects"

_ROWS = 1 << 18  # made a frame at a time: bounds the memory for Python's strings
_LINE_ENDS = (b"},", b"}", b"},\r", b"}\r")
_STATEMENT_BYTES = 4096  # of one value of a property with its references; where they are more it is only slower
_SNAK_BYTES = 400  # from a property's name to its value: a hash and the value's type stand between

_ROW_SCHEMA = {
    "line": pl.Int64,
    "source": pl.String,
    "target": pl.String,
    "target_language": pl.String,
    "is_title": pl.Boolean,
}

Name = dict[str, Any]  # a label or a sitelink
Marks = list[list[bytes]]  # the source's, the targets'
Row = tuple[int, str, str, str, bool]  # of _ROW_SCHEMA


@dataclass(frozen=True)
class _Keys:
    """The keys under which a language's names stand, the preferred first."""

    language: str
    labels: tuple[str, ...]
    wikis: tuple[str, ...]

    @classmethod
    def of(cls, language: str) -> "_Keys":
        primary = language.partition("-")[0]
        labels = _LABELS.get(language, tuple(dict.fromkeys((language.lower(), primary))))
        return cls(language, labels, _WIKIS.get(language, _WIKIS.get(primary, (f"{primary}wiki",))))


def read_wikidata(path: str, source: str, targets: tuple[str, ...]) -> Reading:
    """The pairs of a whole dump: an array of an entity a line, or JSON lines; compressed or not.

    A pair's weight is 2 where label and title agree, else 1. A title's suffix in brackets is cut. Entities that are
    disambiguation pages, categories, templates, lists or of another namespace are left out, as are links to redirects;
    such an entity is only counted if it has names in both languages.
    """
    return read_wikidata_piece(Piece(path), source, targets)


def read_wikidata_piece(piece: Piece, source: str, targets: tuple[str, ...]) -> Reading:
    """The same of a piece of a dump; lines are counted from the piece's first."""
    taken = _Taken(_Keys.of(source), tuple(map(_Keys.of, targets)))
    for block, start, end in read_lines(piece):
        taken.take_line(block, start, end)
    return taken.finish()


@dataclass
class _Taken:
    """What was taken out of the lines so far."""

    source: _Keys
    targets: tuple[_Keys, ...]
    num_lines: int = 0
    counts: Counter[str] = field(default_factory=Counter)
    rows: list[Row] = field(default_factory=list)
    frames: list[pl.DataFrame] = field(default_factory=list)
    malformed: list[tuple[int, str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        labels = [_marks(self.source.labels), _marks(key for keys in self.targets for key in keys.labels)]
        wikis = [_marks(self.source.wikis), _marks(key for keys in self.targets for key in keys.wikis)]
        self.marks = labels, wikis

    def take_line(self, block: bytes, start: int, end: int) -> None:
        self.num_lines += 1
        try:
            entity = _parse_ends(block, start, end, self.marks)
            is_whole = entity is None
            if entity is None:
                line = _bare(block[start:end])
                if line in (b"", b"[", b"]"):
                    self.counts["blank"] += 1
                    return
                entity = orjson.loads(line)
            rows = self._pair_names(entity)
            if rows and not is_whole and _may_be_page(block, start, end):
                entity = orjson.loads(_bare(block[start:end]))
            if left_out := _why_left_out(entity, rows):
                self.counts[left_out] += 1
            else:
                self.rows += rows
        except (orjson.JSONDecodeError, AttributeError, KeyError, TypeError):
            self.malformed.append((self.num_lines, "expected an entity as a JSON object"))
        if len(self.rows) >= _ROWS:
            self._flush()

    def _pair_names(self, entity: dict[str, Any]) -> list[Row]:
        """The entity's names in the source language with those in each target, of the same kind."""
        rows = []
        labels = entity.get("labels")  # PHP writes an empty object as an empty array
        if labels and (label := _first(labels, self.source.labels)):
            for keys in self.targets:
                if other := _first(labels, keys.labels):
                    pair = require_text(label["value"]), require_text(other["value"])
                    rows.append((self.num_lines, *pair, keys.language, False))
        links = entity.get("sitelinks")
        if links and (link := _first(links, self.source.wikis)):
            for keys in self.targets:
                if other := _first(links, keys.wikis):
                    if _is_to_redirect(link) or _is_to_redirect(other):
                        self.counts[_TO_REDIRECTS] += 1
                        continue
                    pair = require_text(link["title"]), require_text(other["title"])
                    rows.append((self.num_lines, *pair, keys.language, True))
        return rows

    def _flush(self) -> None:
        rows = pl.DataFrame(self.rows, schema=_ROW_SCHEMA, orient="row")
        pairs, num_namespaced = _make_pairs(rows)
        self.counts[_OTHER_NAMESPACE] += num_namespaced
        self.frames.append(pairs)
        self.rows = []

    def finish(self) -> Reading:
        self._flush()
        malformed = pl.DataFrame(self.malformed, schema={"line": pl.Int64, "reason": pl.String}, orient="row")
        names = ("blank", _REDIRECTS, _NO_NAMES, _TO_REDIRECTS, *_PAGES.values())
        counts = {"lines": self.num_lines} | {name: self.counts[name] for name in names}
        return Reading(pl.concat(self.frames), malformed, counts)


def _parse_ends(block: bytes, start: int, end: int, marks: tuple[Marks, Marks]) -> dict[str, Any] | None:
    """An entity without what stands between its labels and sitelinks; None where the line has another layout.

    It is empty where neither has one of the source's marks and one of the targets'.
    """
    between = block.find(b',"descriptions":', start, end)
    sitelinks = block.rfind(b',"sitelinks":', between, end) if between >= 0 else -1
    if sitelinks < 0 or block.find(b'"labels":', start, between) < 0 or not block.endswith(_LINE_ENDS, sitelinks, end):
        return None
    labels, wikis = marks
    if not _has_each(block, start, between, labels) and not _has_each(block, sitelinks, end, wikis):
        return {}
    try:
        entity: dict[str, Any] = orjson.loads(block[start:between] + b"}")
        entity.update(orjson.loads(b"{" + _bare(block[sitelinks + 1 : end])))
    except orjson.JSONDecodeError:
        return None
    return entity


def _marks(keys: Iterable[str]) -> list[bytes]:
    return [f'"{key}":'.encode() for key in dict.fromkeys(keys)]


def _has_each(block: bytes, start: int, end: int, kinds: Marks) -> bool:
    """Whether at least one mark of each kind is there."""
    for marks in kinds:
        for mark in marks:
            if block.find(mark, start, end) >= 0:
                break
        else:
            return False
    return True


def _bare(line: bytes) -> bytes:
    return line.strip().removesuffix(b",")


def _first(names: dict[str, Name], keys: tuple[str, ...]) -> Name | None:
    for key in keys:
        if key in names:
            return names[key]
    return None


def _is_to_redirect(link: Name) -> bool:
    return not _REDIRECT_BADGES.isdisjoint(link.get("badges", ()))


def _may_be_page(block: bytes, start: int, end: int) -> bool:
    """Whether the claims name one of the kinds of pages right after "instance of"."""
    at = block.find(b'"P31":[{"mainsnak"', start, end)
    while at >= 0:
        value = block.find(b'"id":"Q', at, min(at + _SNAK_BYTES, end))
        if value >= 0 and block[value + 6 : block.find(b'"', value + 6, end)] in _PAGE_BYTES:
            return True
        next_of_same = block.find(b'"property":"P31"', at + 1, min(at + _STATEMENT_BYTES, end))
        at = next_of_same if next_of_same >= 0 else block.find(b'"P31":[{"mainsnak"', at + 1, end)
    return False


_PAGE_BYTES = {page.encode() for page in _PAGES}


def _why_left_out(entity: dict[str, Any], rows: list[Row]) -> str | None:
    if "redirect" in entity:
        return _REDIRECTS
    return _kind_of_page(entity) if rows else _NO_NAMES


def _kind_of_page(entity: dict[str, Any]) -> str | None:
    claims = entity.get("claims") or {}
    for statement in claims.get("P31", ()):
        value = statement["mainsnak"].get("datavalue", {}).get("value", {}).get("id")
        if value in _PAGES and statement.get("rank") != "deprecated":
            return _PAGES[value]
    return None


def _make_pairs(rows: pl.DataFrame) -> tuple[pl.DataFrame, int]:
    """Pairs of `line, source, target, weight, target_language`, and how many entities are of another namespace."""
    is_other = rows.select(_is_other_namespace()).to_series()
    others = rows["line"].filter(is_other).unique()
    kept = rows.filter(~pl.col("line").is_in(others.implode()))
    bare = [
        pl.when("is_title").then(pl.col(name).str.replace(r"^(.*\S)\s*[(（][^()（）]*[)）]$", "$1")).otherwise(name)
        for name in ("source", "target")
    ]
    columns = ["line", "source", "target", "target_language"]
    pairs = kept.with_columns(*(expr.alias(name) for expr, name in zip(bare, ("source", "target"), strict=True)))
    merged = pairs.group_by(columns, maintain_order=True).agg(weight=pl.len().cast(pl.Float64))
    return merged.select("line", "source", "target", "weight", "target_language"), len(others)


def _is_other_namespace() -> pl.Expr:
    """Namespaces have a name in each language, and no blank after its colon, as titles of articles mostly have.

    So a prefix is a namespace's if it is an English one, or if the two languages have different prefixes.
    """
    source, target = (pl.col(name).str.extract(r"^([^:\s\d]+(?: [^:\s\d]+)?):\S") for name in ("source", "target"))
    is_english = rf"^(?i:{_NAMESPACES})$"
    known = source.str.contains(is_english) | target.str.contains(is_english)
    return known.fill_null(False) | (source != target).fill_null(False)
