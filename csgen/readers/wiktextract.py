"""Wiktionary as wiktextract writes it, an entry a line in JSON: the translations of each sense, and redirects.

Most lines are told to hold nothing wanted without being parsed. A language's regions and scripts are not told apart.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import orjson
import polars as pl

from csgen.languages import LANGUAGES
from csgen.readers.columns import Reading, require_text
from csgen.readers.pieces import Piece, read_lines

_OTHER_CODES = {  # under which Wiktionary lists translations too: Norwegian, and Serbo-Croatian in either script
    "no": ("nb",),
    "nb": ("no",),
    "bs": ("sh",),
    "hr": ("sh",),
    "sr": ("sh",),
}

_NOT_WANTED = "entries of other languages or without translations"
_NO_WORD = "translations without a word"
_REDIRECTS = "redirects"
_CIRCLES = "redirects in circles"
_NO_END = "redirects to words without translations"

_ROWS = 1 << 18  # made a frame at a time: bounds the memory for Python's strings
_ROW_SCHEMA = {
    "line": pl.Int64,
    "source": pl.String,
    "target": pl.String,
    "target_language": pl.String,  # null: a redirect, and the target is the title it leads to
    "sense": pl.String,
}


def read_wiktextract(path: str, source: str, targets: tuple[str, ...]) -> Reading:
    """The pairs of a whole file, compressed or not.

    Each sense of an entry that is translated into a language has an equal share of 1, and each of its translations into
    it an equal share of that. A redirect's title has the pairs of the word that it leads to.
    """
    return resolve_redirects(read_wiktextract_piece(Piece(path), source, targets))


def read_wiktextract_piece(piece: Piece, source: str, targets: tuple[str, ...]) -> Reading:
    """The same of a piece of a file, but for redirects, which may lead beyond it: `resolve_redirects` follows them
    once the pieces are joined. Lines are counted from the piece's first.
    """
    languages: dict[str, list[str]] = {}
    for target in targets:
        for code in _codes(target):
            languages.setdefault(code, []).append(target)
    taken = _Taken(frozenset(_codes(source)), languages)
    number = untranslated = found = 0
    for number, (block, start, end) in enumerate(read_lines(piece), 1):
        if start == 0 or found < start:  # in a new block, or past what was found: one search for many lines
            found = block.find(b'"translations"', start)
            found = len(block) if found < 0 else found
        if found >= end and _is_entry(block, start, end):
            untranslated += 1
        else:
            taken.take_line(number, block, start, end)
    return taken.finish(number, untranslated)


def _is_entry(block: bytes, start: int, end: int) -> bool:
    """Whether a line looks like an entry: an object whose first field is neither a title nor a redirect."""
    return (
        block[start : start + 2] == b'{"'
        and block[end - 1 : end] == b"}"
        and block[start + 2 : start + 3] not in (b"t", b"r")
    )


def resolve_redirects(reading: Reading) -> Reading:
    """With the pairs of redirects in place of the redirects. One in a circle is malformed; all others are counted."""
    is_redirect = pl.col("target_language").is_null()
    pairs = reading.pairs.filter(~is_redirect)
    redirects = reading.pairs.filter(is_redirect).select("line", "source", title="target")
    first = redirects.unique("source", keep="first", maintain_order=True)
    ends = _follow(redirects, first.select(title="source", next="title"))
    circles = ends.filter(pl.col("title").is_in(first["source"].implode()))
    straight = ends.join(circles, on="line", how="anti", maintain_order="left")
    renamed = pairs.rename({"source": "title", "line": "entry"})
    found = straight.join(renamed, on="title", maintain_order="left_right").select(pairs.columns)
    counts = reading.counts | {
        _CIRCLES: len(circles),
        _NO_END: len(straight) - found["line"].n_unique(),
    }
    reason = circles.select("line", reason=pl.lit("redirect in a circle"))
    return replace(
        reading,
        pairs=pl.concat([pairs, found]).sort("line", maintain_order=True),
        malformed=pl.concat([reading.malformed, reason]).sort("line", maintain_order=True),
        counts=counts,
    )


def _follow(redirects: pl.DataFrame, hops: pl.DataFrame) -> pl.DataFrame:
    """The redirects with the `title` where they end; of circles, any of it. Each round doubles what was followed."""
    for _ in range(len(hops).bit_length()):
        if redirects.join(hops, on="title", how="semi").is_empty():
            break
        ahead = pl.coalesce("next_right", "next")
        redirects = redirects.join(hops, on="title", how="left", maintain_order="left")
        redirects = redirects.select("line", "source", title=pl.coalesce("next", "title"))
        doubled = hops.join(hops, left_on="next", right_on="title", how="left", maintain_order="left")
        hops = doubled.select("title", next=ahead)
    return redirects


def _codes(language: str) -> Iterator[str]:
    """The codes that a language has in Wiktionary."""
    primary = language.partition("-")[0]
    known = next(one for one in LANGUAGES if one.code == primary)
    yield from (known.code, known.code3, *known.others, *_OTHER_CODES.get(primary, ()))


@dataclass
class _Taken:
    """What was taken out of the lines so far."""

    source_codes: frozenset[str]
    languages: dict[str, list[str]]  # by code; "nb" is read as Norwegian and as Bokmål if both are targets
    counts: Counter[str] = field(default_factory=Counter)
    rows: list[tuple[int, str, str, str | None, str]] = field(default_factory=list)
    frames: list[pl.DataFrame] = field(default_factory=list)
    malformed: list[tuple[int, str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.source_marks = [f'"{code}"'.encode() for code in sorted(self.source_codes)]
        self.target_marks = [f'"{code}"'.encode() for code in self.languages]

    def take_line(self, number: int, block: bytes, start: int, end: int) -> None:
        try:
            self._take_parsed(number, block[start:end].strip())
        except (orjson.JSONDecodeError, AttributeError, KeyError, TypeError):
            self.malformed.append((number, "expected an entry or a redirect as a JSON object"))
        if len(self.rows) >= _ROWS:
            self._flush()

    def _take_parsed(self, number: int, line: bytes) -> None:
        if not line:
            self.counts["blank"] += 1
            return
        if _is_entry(line, 0, len(line)) and not (
            _has_any(line, self.target_marks) and _has_any(line, self.source_marks)
        ):
            self.counts[_NOT_WANTED] += 1
            return
        entry = orjson.loads(line)
        if "redirect" in entry:
            self.counts[_REDIRECTS] += 1
            self.rows.append((number, require_text(entry["title"]), require_text(entry["redirect"]), None, ""))
        elif entry["lang_code"] not in self.source_codes or not self._take_entry(number, entry):
            self.counts[_NOT_WANTED] += 1

    def _take_entry(self, number: int, entry: dict[str, Any]) -> bool:
        """Whether it has a translation."""
        word = require_text(entry["word"])
        found = []
        for sense, translation in _translations(entry):
            languages = self.languages.get(translation.get("lang_code") or translation.get("code", ""), ())
            target = translation.get("word")
            if languages and not target:
                self.counts[_NO_WORD] += 1
                continue
            found += [(number, word, require_text(target), language, sense) for language in languages]
        self.rows += found
        return bool(found)

    def _flush(self) -> None:
        rows = pl.DataFrame(self.rows, schema=_ROW_SCHEMA, orient="row")
        self.frames.append(_share_weights(rows))
        self.rows = []

    def finish(self, num_lines: int, num_untranslated: int) -> Reading:
        self._flush()
        malformed = pl.DataFrame(self.malformed, schema={"line": pl.Int64, "reason": pl.String}, orient="row")
        self.counts[_NOT_WANTED] += num_untranslated
        counts = {name: self.counts[name] for name in ("blank", _NOT_WANTED, _NO_WORD, _REDIRECTS)}
        return Reading(pl.concat(self.frames), malformed, {"lines": num_lines} | counts)


def _has_any(line: bytes, marks: list[bytes]) -> bool:
    for mark in marks:  # noqa: SIM110 -- thrice as fast as any()
        if mark in line:
            return True
    return False


def _translations(entry: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Each translation with its sense's name, which is one within the entry."""
    for translation in entry.get("translations") or ():
        yield f"{translation.get('sense') or translation.get('sense_index')}", translation
    for number, sense in enumerate(entry.get("senses") or ()):
        for translation in sense.get("translations") or ():
            yield f"sense {number}", translation


def _share_weights(rows: pl.DataFrame) -> pl.DataFrame:
    """Pairs of `line, source, target, weight, target_language`; a redirect's weight is 1."""
    by_language = ["line", "target_language"]
    distinct = rows.unique([*by_language, "sense", "target"], keep="first", maintain_order=True)
    of_sense = pl.len().over([*by_language, "sense"])
    shared = distinct.with_columns(weight=1.0 / (pl.col("sense").n_unique().over(by_language) * of_sense))
    merged = shared.group_by(["line", "source", "target", "target_language"], maintain_order=True).agg(
        pl.col("weight").sum()
    )
    return merged.select("line", "source", "target", "weight", "target_language")
