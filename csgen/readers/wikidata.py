"""Wikidata's JSON dump as pairs: the names of one entity in two languages, by its labels and its Wikipedia titles.

A dump's lines have one layout, by which the few bytes of a line that matter are found and parsed; the claims, which are
most of it, are looked through for what kind of page it is. A line of another layout is parsed as a whole.
"""

from collections import Counter
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

_NO_NAMES = "entities without names in both languages"
_OTHER_NAMESPACE = "pages of other namespaces"
_TO_REDIRECTS = "sitelinks to redirects"

_ROWS = 1 << 18  # made a frame at a time: bounds the memory for Python's strings
_SNAK_BYTES = 400  # from a property's name to its value: a hash and the value's type stand between

_ROW_SCHEMA = {
    "line": pl.Int64,
    "source": pl.String,
    "target": pl.String,
    "target_language": pl.String,
    "is_title": pl.Boolean,
}

Name = dict[str, Any]  # a label or a sitelink


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
    for number, (block, start, end) in enumerate(read_lines(piece), 1):
        taken.take_line(number, block, start, end)
    return taken.finish()


@dataclass
class _Taken:
    """What was taken out of the lines so far."""

    source: _Keys
    targets: tuple[_Keys, ...]
    counts: Counter[str] = field(default_factory=Counter)
    rows: list[tuple[int, str, str, str, bool]] = field(default_factory=list)
    frames: list[pl.DataFrame] = field(default_factory=list)
    malformed: list[tuple[int, str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        languages = (self.source, *self.targets)
        self.label_keys = [[f'"{code}":'.encode() for code in keys.labels] for keys in languages]
        self.wiki_keys = [[f'"{wiki}":'.encode() for wiki in keys.wikis] for keys in languages]
        self.counts.update({"lines": 0, "blank": 0, "redirects": 0, _NO_NAMES: 0, _TO_REDIRECTS: 0})
        self.counts.update(dict.fromkeys(_PAGES.values(), 0))

    def take_line(self, number: int, block: bytes, start: int, end: int) -> None:
        self.counts["lines"] += 1
        try:
            if block[start : start + 1] != b"{" or not self._take_by_layout(number, block, start, end):
                self._take_parsed(number, block[start:end].strip().removesuffix(b","))
        except (orjson.JSONDecodeError, AttributeError, KeyError, TypeError):
            self.malformed.append((number, "expected an entity as a JSON object"))
        if len(self.rows) >= _ROWS:
            self._flush()

    def _take_by_layout(self, number: int, block: bytes, start: int, end: int) -> bool:
        """Whether the line has the dump's layout: labels, descriptions, aliases, claims, sitelinks."""
        labels = block.find(b',"labels":', start, end)
        descriptions = block.find(b',"descriptions":', labels, end) if labels >= 0 else -1
        sitelinks = block.rfind(b',"sitelinks":', descriptions, end) if descriptions >= 0 else -1
        if sitelinks < 0 or not block.endswith((b"}", b"},", b"}\r", b"},\r"), sitelinks, end):
            return False
        try:
            found_labels = _find_names(block, labels, descriptions, self.label_keys)
            found_titles = _find_names(block, sitelinks, end, self.wiki_keys)
        except orjson.JSONDecodeError:
            return False  # a brace within a name
        if not any(found_labels[1:]) and not any(found_titles[1:]):
            self.counts[_NO_NAMES] += 1
        elif _may_be_page(block, descriptions, sitelinks):
            return False
        else:
            self._take_names(number, found_labels, found_titles)
        return True

    def _take_parsed(self, number: int, line: bytes) -> None:
        if line in (b"", b"[", b"]"):
            self.counts["blank"] += 1
            return
        entity = orjson.loads(line)
        if "redirect" in entity:
            self.counts["redirects"] += 1
            return
        languages = (self.source, *self.targets)
        labels = _pick_names(entity.get("labels"), [keys.labels for keys in languages])
        titles = _pick_names(entity.get("sitelinks"), [keys.wikis for keys in languages])
        if not any(labels[1:]) and not any(titles[1:]):
            self.counts[_NO_NAMES] += 1
        elif kind := _kind_of_page(entity):
            self.counts[kind] += 1
        else:
            self._take_names(number, labels, titles)

    def _take_names(self, number: int, labels: list[Name | None], titles: list[Name | None]) -> None:
        """Names by language, the source's first; both lists are empty where the source has no name."""
        for place, name in enumerate(titles):
            if name and not _REDIRECT_BADGES.isdisjoint(name.get("badges", ())):
                self.counts[_TO_REDIRECTS] += 1
                titles[place] = None
        for place, keys in enumerate(self.targets, 1):
            for names, part in ((labels, "value"), (titles, "title")):
                if names and (source := names[0]) and (target := names[place]):
                    pair = require_text(source[part]), require_text(target[part])
                    self.rows.append((number, *pair, keys.language, part == "title"))

    def _flush(self) -> None:
        rows = pl.DataFrame(self.rows, schema=_ROW_SCHEMA, orient="row")
        pairs, num_namespaced = _make_pairs(rows)
        self.counts[_OTHER_NAMESPACE] += num_namespaced
        self.frames.append(pairs)
        self.rows = []

    def finish(self) -> Reading:
        self._flush()
        malformed = pl.DataFrame(self.malformed, schema={"line": pl.Int64, "reason": pl.String}, orient="row")
        return Reading(pl.concat(self.frames), malformed, dict(self.counts))


def _find_names(block: bytes, start: int, end: int, keys_of_languages: list[list[bytes]]) -> list[Name | None]:
    """The objects under the first key of each language that is there; nothing if the first language has none."""
    names: list[Name | None] = []
    for keys in keys_of_languages:
        at = -1
        for key in keys:
            if (at := block.find(key, start, end)) >= 0:
                at += len(key)
                break
        if at < 0 and not names:
            return []
        names.append(orjson.loads(block[at : block.find(b"}", at, end) + 1]) if at >= 0 else None)
    return names


def _pick_names(names: dict[str, Name] | None, keys_of_languages: list[tuple[str, ...]]) -> list[Name | None]:
    """The same of parsed names; PHP writes an empty object as an empty array."""
    picked = [next((names[key] for key in keys if key in names), None) for keys in keys_of_languages] if names else []
    return picked if any(picked[:1]) else []


def _may_be_page(block: bytes, start: int, end: int) -> bool:
    """Whether the claims name one of the kinds of pages right after "instance of"."""
    at = block.find(b'"property":"P31"', start, end)
    while at >= 0:
        value = block.find(b'"id":"Q', at, min(at + _SNAK_BYTES, end))
        if value >= 0 and block[value + 6 : block.find(b'"', value + 6, end)] in _PAGE_BYTES:
            return True
        at = block.find(b'"property":"P31"', at + 1, end)
    return False


_PAGE_BYTES = {page.encode() for page in _PAGES}


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
