"""FreeDict dictionaries in dictd's form: `.index` (headword and place of the entry, in base 64) and `.dict[.dz]`.

An entry is written for people; what it offers as translations is read out by the layout that FreeDict's converters give
it. Everything is done on columns of entries, then of lines, then of translations: 460 thousand entries take seconds.
"""

import posixpath
import re

import numpy as np
import polars as pl
from numpy.typing import NDArray

from csgen.errors import InputError
from csgen.files import exists, is_folder, list_files
from csgen.languages import parse_language
from csgen.readers.columns import NOT_UTF8, Reading, drop_notes, first_reason, part_malformed
from csgen.readers.lines import cut_texts, read_bytes, read_lines, read_tsv
from csgen.readers.phrasing import GRAMMAR, PRONUNCIATION, UNFITTING, name_licence, pair_phrases, split_phrases

_DIGITS = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
_DIGIT_VALUES = np.zeros(256, np.int64)
_DIGIT_VALUES[list(_DIGITS)] = np.arange(64)
_MAX_DIGITS = 9  # 64 ** 9 bytes is more than any file holds, and fits an int64

_DATABASE = r"^00-?database"  # headwords of dictd's own entries: title, licence, alphabet


def locate_freedict(path: str, source_language: str, target_language: str) -> str:
    """The `.index` that `path` means (itself, the `.dict.dz` beside it, or the folder of both), or a TSV's own path."""
    if path.endswith((".dict.dz", ".dict")):
        return path.removesuffix(".dz").removesuffix(".dict") + ".index"
    if path.endswith(".index") or not is_folder(path):
        return path
    found = [name for name in list_files(path) if name.endswith(".index")]
    fitting = [name for name in found if _languages_of(name) == (source_language, target_language)] or found
    if len(fitting) != 1:
        names = ", ".join(map(posixpath.basename, fitting[:5])) or "none"
        raise InputError.at(path, None, f"expected one .index file, found {names}; name the file")
    return fitting[0]


def freedict_files(located: str) -> list[str]:
    """The files that a located dictionary consists of."""
    if not located.endswith(".index"):
        return [located]
    base = located.removesuffix(".index")
    for name in (f"{base}.dict.dz", f"{base}.dict"):
        if exists(name):
            return [located, name]
    raise InputError.at(located, None, f"expected {posixpath.basename(base)}.dict.dz or .dict beside it")


def read_freedict(located: str) -> Reading:
    """A FreeDict dictionary at a path from `locate_freedict`: dictd's form, or source TAB target."""
    if not located.endswith(".index"):
        return read_tsv(located)
    index_path, dict_path = freedict_files(located)
    lines, counts = read_lines(index_path)
    data = read_bytes(dict_path)  # dictzip is gzip, whose checksum covers all; its table is not needed
    index, malformed = part_malformed(_read_index(lines, len(data)))
    described = index.filter(pl.col("headword").str.contains("^00-?database-?info$"))
    info = cut_texts(data, described["start"], described["bytes"])
    # jpn-eng names one entry by each of its spellings: an entry is read once, its own first line has them all
    entries = index.filter(~pl.col("headword").str.contains(_DATABASE)).unique(
        ["start", "bytes"], keep="first", maintain_order=True
    )
    entries = entries.select("line", "headword", body=cut_texts(data, entries["start"], entries["bytes"]))
    garbled = entries.filter(pl.col("body").is_null()).select("line", reason=pl.lit(NOT_UTF8))
    found = read_bodies(entries.drop_nulls())
    pairs = found.drop_nulls()
    about = _read_info(info[0] or "") if len(info) else {}
    counts |= {
        "dictionary entries": len(entries),
        "dictionary entries without a translation": len(entries) - len(garbled) - pairs["line"].n_unique(),
        UNFITTING: len(found) - len(pairs),
    }
    return Reading(pairs, pl.concat([malformed, garbled]).sort("line"), counts, about.pop("licence", None), about)


def _languages_of(index_path: str) -> tuple[str, str] | None:
    parts = re.fullmatch(r".*?([a-z]{2,3})-([a-z]{2,3})\.index", posixpath.basename(index_path))
    try:
        return (parse_language(parts[1]), parse_language(parts[2])) if parts else None
    except InputError:
        return None


def _read_index(lines: pl.DataFrame, dict_bytes: int) -> pl.DataFrame:
    """`line`, `headword`, `start`, `bytes` and `reason` (null: a good line) of an index's lines."""
    fields = pl.col("text").str.split("\t")
    place = rf"^[A-Za-z0-9+/]{{1,{_MAX_DIGITS}}}$"
    split = lines.with_columns(
        headword=fields.list.get(0),
        start=fields.list.get(1, null_on_oob=True).fill_null(""),
        bytes=fields.list.get(2, null_on_oob=True).fill_null(""),
    )
    numbered = split.with_columns(
        start=pl.Series(_decode_base64(split["start"])), bytes=pl.Series(_decode_base64(split["bytes"]))
    )
    is_place = split.select(pl.col("start").str.contains(place) & pl.col("bytes").str.contains(place)).to_series()
    rules: dict[str, pl.Expr] = {
        NOT_UTF8: pl.col("text").is_null(),
        "expected a headword and two numbers in base 64, separated by tabs": ~pl.lit(is_place),
        "entry beyond the end of the dictionary": pl.col("start") + pl.col("bytes") > dict_bytes,
    }
    return numbered.select("line", "headword", "start", "bytes", reason=first_reason(rules))


def _decode_base64(numbers: pl.Series) -> NDArray[np.int64]:
    """dictd's numbers: base 64, most significant digit first. What is no number gives any value."""
    padded = numbers.str.slice(0, _MAX_DIGITS).str.replace_all(r"[^A-Za-z0-9+/]", "A").str.pad_start(_MAX_DIGITS, "A")
    digits = np.frombuffer("".join(padded).encode(), np.uint8).reshape(-1, _MAX_DIGITS)
    return _DIGIT_VALUES[digits] @ (64 ** np.arange(_MAX_DIGITS)[::-1])


def read_bodies(entries: pl.DataFrame) -> pl.DataFrame:
    """Pairs out of entries of `line`, `headword` and `body`: every headword with every translation, in order.

    A source or target that fits no text is null.
    """
    parts = pl.col("body").str.splitn("\n", 2).struct
    split = entries.select("line", "headword", first=parts.field("field_0"), rest=parts.field("field_1"))
    clean = _clean_headwords(pl.col("first"))
    sources = split.select("line", source=pl.when(clean.str.strip_chars() == "").then("headword").otherwise(clean))
    sources = sources.with_columns(pl.col("source").str.split("\n")).explode("source", empty_as_null=True)
    targets = _read_translations(split.select("line", text="rest").drop_nulls())
    return pair_phrases(sources, targets)


def _clean_headwords(first_line: pl.Expr) -> pl.Expr:
    """Headwords, one a line: an entry's first line has each with its pronunciation, then the part of speech."""
    one_a_line = first_line.str.replace_all(r"/,\s+", "/\n").str.replace_all(PRONUNCIATION, "")
    return drop_notes(one_a_line.str.replace_all(GRAMMAR, ""))


def _read_translations(bodies: pl.DataFrame) -> pl.DataFrame:
    """`line` and `target`, in the order of senses.

    A sense begins with its number, if there are several, and its first line that is neither indented nor a note has the
    translations. What follows is a gloss. A number on a line of its own has a gloss only.
    """
    text = pl.col("text")
    aside = text.str.contains(r'^\s(?:see|Synonyms?|Antonyms?|Note):|^\s"')
    bare = drop_notes(text.str.replace(r"^\d+\.\s", "").str.replace_all(GRAMMAR, "")).str.strip_chars()
    lines = (
        bodies.with_columns(text.str.split("\n"))
        .explode("text", empty_as_null=True)
        .filter(~text.str.starts_with("  "))  # examples, notes, cross-references: most of the lines, so first
        .with_columns(sense=text.str.contains(r"^\s?\d+\.(?:\s|$)").cum_sum(), bare=bare)
        .filter(~aside & (pl.col("bare") != ""))
        .unique(["line", "sense"], keep="first", maintain_order=True)
        .filter(~text.str.contains(r"^\s?\d+\.\s*$"))
    )
    without_subsense = pl.col("bare").str.replace(r"\s\d+\.$", "")  # "nivel 2." opens the second gloss of "nivel"
    targets = lines.select("line", target=split_phrases(without_subsense))
    # eng-hin writes the spaces within a translation as ~
    return targets.explode("target", empty_as_null=True).with_columns(pl.col("target").str.replace_all("~", " "))


def _read_info(text: str) -> dict[str, str]:
    """Title, edition and licence, as far as the entry `00databaseinfo` says them."""
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("00")]
    about = {"title": lines[0].strip()} if lines else {}
    if edition := re.search(r"^Edition: (.*)$", text, re.M):
        about["edition"] = edition[1].strip()
    availability = re.search(r"^Availability:\s*\n(.*?)(?=^\S)", text, re.M | re.S)
    if licence := name_licence(availability[1] if availability else ""):
        about["licence"] = licence
    return about
