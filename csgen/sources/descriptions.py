"""Debian's package descriptions in several languages, joined by the hash of the English text that translations share.

Short description = query, long description = passage. Knows apt's indexes, not how a collection is split or written.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl
import xxhash

from csgen.errors import CsgenError, InputError
from csgen.sources.apt import AptIndex, fetch_indexes, offered_languages, read_index

APT_CODES = {"zh": "zh_CN"}  # Translation-zh holds a handful; Simplified Chinese is in zh_CN

_STANZA = re.compile(
    r"^Package: (\S+)\nDescription-md5: ([0-9a-f]{32})\nDescription-[^:\n]+: (.*\S)[ \t]*\n((?: .*(?:\n|\Z))+)", re.M
)
_PACKAGE_OR_SOURCE = re.compile(r"^(Package|Source): (\S+)", re.M)
_IDEOGRAPHIC = r"[\p{Han}\p{Hiragana}\p{Katakana}\u3000-\u303f\u30fc\uff00-\uff60]"
_BREAK = "\u2029"


@dataclass(frozen=True)
class DebianDescriptions:
    """The descriptions in each language, those of English first, and the source packages they belong to."""

    texts: dict[str, pl.DataFrame]  # id, query (null where it stands in English), passage; sorted by id
    sources: pl.DataFrame  # id, source: every source package whose packages have the description
    counts: dict[str, dict[str, int]]  # of each language: rows, and stanzas left out by reason
    inputs: dict[str, dict[str, Any]]  # of each index of apt


def fetch_descriptions(languages: Sequence[str], cache: str) -> DebianDescriptions:
    """English and its translations into `languages` (BCP 47), from the package sources of this machine.

    A translation counts where its passage differs from the English one; apt's indexes are kept in `cache`.
    """
    codes = {language: APT_CODES.get(language, language.replace("-", "_")) for language in ("en", *languages)}
    indexes = fetch_indexes(list(codes.values()), cache)
    texts = {index.path: read_index(index) for index in indexes}
    translations = [index for index in indexes if index.kind == "Translations"]
    _refuse_missing(codes, {index.language for index in translations}, cache)
    releases = {index.release for index in translations}
    packages = [index for index in indexes if index.kind == "Packages" and index.release in releases]
    by_language = {
        language: [texts[index.path] for index in translations if index.language == code]
        for language, code in codes.items()
    }
    inputs = {f"{index.release} {index.name}": _describe(index, texts[index.path]) for index in packages + translations}
    return join_descriptions(by_language, [texts[index.path] for index in packages], inputs)


def join_descriptions(
    translations: dict[str, list[str]], packages: Iterable[str], inputs: dict[str, dict[str, Any]]
) -> DebianDescriptions:
    """Join the Translation indexes of each language ("en" among them) and the Packages indexes, all as text."""
    english, counts = parse_descriptions(translations["en"])
    if english.is_empty():
        raise CsgenError("no description could be read in apt's English index: its format is not the known one")
    source_of = pl.DataFrame(list(parse_sources(packages).items()), schema=["package", "source"], orient="row")
    sources = english.join(source_of, on="package", how="left").select(
        "id", pl.coalesce("source", "package").alias("source")
    )
    english = english.unique("id", keep="first", maintain_order=True).drop("package")
    texts, all_counts = {"en": english}, {"en": counts | {"rows": len(english)}}
    for language, indexes in translations.items():
        if language != "en":
            parsed, counts = parse_descriptions(indexes)
            texts[language], all_counts[language] = _keep_translated(parsed, english, counts)
    return DebianDescriptions(texts, sources.unique().sort("id", "source"), all_counts, inputs)


def parse_descriptions(indexes: Iterable[str]) -> tuple[pl.DataFrame, dict[str, int]]:
    """`package, id, query, passage` of Translation indexes, sorted by id and package, and what was left out.

    A stanza without a short or a long description, or without its hash, is left out as incomplete.
    """
    stanzas = [stanza for text in indexes for stanza in _STANZA.findall(text)]
    found = sum(len(re.findall(r"^Package:", text, re.M)) for text in indexes)
    columns = ["package", "id", "query", "passage"]
    rows = pl.DataFrame(stanzas, schema=dict.fromkeys(columns, pl.String), orient="row")
    rows = (
        rows.with_columns(passage=unwrap(pl.col("passage")))
        .filter(pl.col("passage") != "")
        .sort("id", "package", "query")
    )
    return rows, {"stanzas": found, "incomplete": found - len(rows)}


def parse_sources(indexes: Iterable[str]) -> dict[str, str]:
    """The source package of each package of Packages indexes: its Source field, or else its own name."""
    sources: dict[str, str] = {}
    for text in indexes:
        package = ""
        for field, name in _PACKAGE_OR_SOURCE.findall(text):
            if field == "Package":
                package = name
                sources.setdefault(package, package)
            else:
                sources[package] = name
    return sources


def unwrap(body: pl.Expr) -> pl.Expr:
    """A long description, one line for each paragraph and list item; in Japanese lines are joined without a space."""
    return (
        ("\n" + body)
        .str.replace_all(r"(?:\n[ \t]*\.?[ \t]*)+(?:\n|$)", f"{_BREAK}\n")
        .str.replace_all(r"\n[ \t]+([-*+•·–])[ \t]+", f"{_BREAK}$1 ")
        .str.replace_all(rf"({_IDEOGRAPHIC})\n[ \t]*({_IDEOGRAPHIC})", "$1$2")
        .str.replace_all(r"[ \t\n]+", " ")
        .str.replace_all(rf"[ {_BREAK}]*{_BREAK}[ {_BREAK}]*", "\n")
        .str.strip_chars()
    )


def _keep_translated(
    parsed: pl.DataFrame, english: pl.DataFrame, counts: dict[str, int]
) -> tuple[pl.DataFrame, dict[str, int]]:
    unique = parsed.unique("id", keep="first", maintain_order=True).drop("package")
    joined = unique.join(english, on="id", suffix="_en", maintain_order="left")
    translated = joined.filter(pl.col("passage") != pl.col("passage_en"))
    same_query = pl.col("query") == pl.col("query_en")
    rows = translated.select("id", pl.when(~same_query).then("query").alias("query"), "passage")
    return rows, counts | {
        "unknown_in_english": len(unique) - len(joined),
        "same_as_english": len(joined) - len(translated),
        "queries_same_as_english": rows["query"].null_count(),
        "rows": len(rows),
    }


def _refuse_missing(codes: dict[str, str], fetched: set[str], cache: str) -> None:
    missing = [language for language, code in codes.items() if code not in fetched]
    if missing:
        offered = ", ".join(offered_languages(cache)) or "none"
        raise InputError(
            f"--languages {','.join(missing)}: this machine's package sources have no such descriptions; "
            f"they offer {offered}"
        )


def _describe(index: AptIndex, text: str) -> dict[str, Any]:
    data = text.encode()
    return {"version": index.version, "bytes": len(data), "xxh3_128": xxhash.xxh3_128_hexdigest(data)}
