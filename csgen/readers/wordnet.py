"""Wordnets in the tab-separated form of the Open Multilingual Wordnet: lemmas that share a synset are pairs.

The files must number their synsets alike, as all of that collection do. Definitions and examples are left out.
"""

import posixpath
import re
from collections import Counter
from dataclasses import dataclass

import polars as pl

from csgen.errors import InputError
from csgen.files import filesystem, is_folder, join
from csgen.languages import parse_language
from csgen.readers.columns import NOT_UTF8, Reading, count_reasons, first_reason, part_malformed
from csgen.readers.lines import read_lines

_FILE_NAME = re.compile(r"wn-(?:data|cili|wikt|cldr)-(?P<language>[a-z]{2,3})\.tab(?:\.\w+)?$")
_FOLDER_DEPTH = 3  # wns/deu/wn-data-deu.tab

_SYNSET = r"(\d{8}-[nvarsp]|^i\d+)$"  # 00001740-n or eng-30-00001740-n; in the Interlingual Index i35545
_MAX_PAIRS = 50_000_000  # a hundred times as many as the largest of the real ones have

_LEFT_OUT = {"def": "definitions", "exe": "examples", "gap": "synsets for which the language has no word"}
_GAPS = ["GAP!", "PSEUDOGAP!"]  # what MultiWordNet writes in place of a lemma
_OTHER_RELATIONS = "other relations"


@dataclass(frozen=True)
class _Tab:
    """One file: its lemmas (`line`, `synset`, `language` (null: unknown), `lemma`), and what its header says."""

    lemmas: pl.DataFrame
    malformed: pl.DataFrame
    counts: dict[str, int]
    name: str | None
    licence: str | None


def wordnet_files(path: str, source: str, targets: tuple[str, ...]) -> list[str]:
    """The files that `path` lists, separated by commas, or those of the languages in its folder, source first."""
    if not is_folder(path):
        return path.split(",")
    fs, inner = filesystem(path)
    names = sorted(fs.find(inner, maxdepth=_FOLDER_DEPTH))
    languages = {join(path, name[len(inner.rstrip("/")) + 1 :]): _language_of_file(name) for name in names}
    return [
        file
        for wanted in dict.fromkeys((source, *targets))
        for file, language in languages.items()
        if language == wanted
    ]


def read_wordnet(path: str, source: str, targets: tuple[str, ...]) -> Reading:
    """The source's lemmas with the targets' lemmas of the same synset; the weight is the number of synsets shared.

    `line` is the line of the target's lemma in its file; pairs stand in the order of the files, then of their lines.
    """
    files = wordnet_files(path, source, targets)
    tabs = [_read_tab(file) for file in files]
    if not tabs:
        raise InputError.at(path, None, "expected files such as wn-data-eng.tab and wn-data-deu.tab, found none")
    lemmas = pl.concat([tab.lemmas.with_columns(file=pl.lit(place)) for place, tab in enumerate(tabs)])
    wanted = lemmas.filter(pl.col("language").is_in([source, *targets])).unique(
        ["synset", "language", "lemma"], keep="first", maintain_order=True
    )
    if missing := sorted({source, *targets} - set(wanted["language"])):
        names = ", ".join(map(posixpath.basename, files[:8]))
        raise InputError.at(path, None, f"expected lemmas in {missing[0]}, found none in {names}; add its wn-data file")
    pairs, alone = _join(wanted, source, targets, path)
    counts: Counter[str] = sum((Counter(tab.counts) for tab in tabs), Counter())
    others = int((~lemmas["language"].is_in([source, *targets]).fill_null(False)).sum())
    left_out = {
        "lemmas of other languages": others,
        "repeated lemmas": len(lemmas) - others - len(wanted),
        f"lemmas of synsets without one in {source}": alone,
    }
    named = [
        tab.malformed.with_columns(reason=pl.lit(f"{posixpath.basename(file)}: ") + pl.col("reason"))
        for file, tab in zip(files, tabs, strict=True)
    ]
    licences = dict.fromkeys(tab.licence for tab in tabs if tab.licence)
    titles = dict.fromkeys(tab.name for tab in tabs if tab.name)
    about = {"title": "; ".join(titles)} if titles else {}
    return Reading(pairs, pl.concat(named), {"blank": 0, **counts, **left_out}, ", ".join(licences) or None, about)


def _language_of_file(path: str) -> str | None:
    name = _FILE_NAME.search(posixpath.basename(path))
    return _language_of(name["language"]) if name else None


def _language_of(code: str) -> str | None:
    """The language of an ISO 639 code; None where it is none that we know."""
    try:
        return parse_language(code)
    except InputError:
        return None


def _read_tab(path: str) -> _Tab:
    lines, counts = read_lines(path)
    text = pl.col("text")
    is_comment = text.str.starts_with("#").fill_null(False)
    name, code, licence = _read_header(lines)
    parsed = _parse(lines.filter(~is_comment), _language_of_file(path) or code)
    good, malformed = part_malformed(parsed)
    relation = pl.col("relation").replace_strict(_LEFT_OUT, default=_OTHER_RELATIONS)
    left_out = good.filter(pl.col("relation") != "lemma").select(relation).to_series()
    comments = len(lines) - len(parsed)
    counts |= {"comments": comments} | count_reasons(left_out)
    lemmas = good.filter(pl.col("relation") == "lemma").drop("relation")
    return _Tab(lemmas, malformed, counts, name, licence)


def _read_header(lines: pl.DataFrame) -> tuple[str | None, str | None, str | None]:
    """Name, language and licence, as far as the first line says them: # NAME, LANGUAGE, URL, LICENCE with tabs."""
    fields = (lines["text"][0] or "").removeprefix("#").strip().split("\t")
    if not (lines["text"][0] or "").startswith("#") or len(fields) < 3:
        return None, None, None
    name, language = fields[0].strip(), _language_of(fields[1])
    return name or None, language, (fields[3].strip() or None) if len(fields) > 3 else None


def _parse(lines: pl.DataFrame, language: str | None) -> pl.DataFrame:
    """`line`, `synset`, `language`, `relation`, `lemma` and `reason` (null: a good line).

    `language` is that of lines which name none: "lemma" in place of "deu:lemma".
    """
    fields = pl.col("text").str.split("\t")
    kind = fields.list.get(1, null_on_oob=True).str.strip_chars()
    code = kind.str.extract(r"^([a-z]{2,3}):", 1)
    split = lines.with_columns(
        synset=fields.list.get(0).str.strip_chars().str.extract(_SYNSET, 1).str.replace("-s$", "-a"),  # satellites
        code=code,
        relation=kind.str.replace(r"^[a-z]{2,3}:", ""),
        lemma=fields.list.get(2, null_on_oob=True).str.replace_all("_", " ", literal=True).str.strip_chars(),
    )
    is_gap = (pl.col("relation") == "lemma") & pl.col("lemma").is_in(_GAPS)
    split = split.with_columns(relation=pl.when(is_gap).then(pl.lit("gap")).otherwise("relation"))
    codes = {code: _language_of(code) for code in split["code"].drop_nulls().unique()}
    named = pl.col("code").replace_strict(codes, return_dtype=pl.String) if codes else pl.lit(None, pl.String)
    rules = {
        NOT_UTF8: pl.col("text").is_null(),
        "expected a synset, a relation and a text, separated by tabs": pl.col("lemma").is_null(),
        "expected a synset such as 00001740-n or i35545": pl.col("synset").is_null(),
        "empty lemma": (pl.col("relation") == "lemma") & (pl.col("lemma") == ""),
    }
    return split.select(
        "line",
        "synset",
        "relation",
        "lemma",
        language=pl.when(pl.col("code").is_null()).then(pl.lit(language, pl.String)).otherwise(named),
        reason=first_reason(rules),
    )


def _join(lemmas: pl.DataFrame, source: str, targets: tuple[str, ...], path: str) -> tuple[pl.DataFrame, int]:
    """The pairs, and the number of the targets' lemmas whose synset has none of the source's."""
    is_source = pl.col("language") == source
    sources = lemmas.filter(is_source).select("synset", source="lemma", place=pl.int_range(pl.len()))
    others = lemmas.filter(pl.col("language").is_in(targets))
    partners = sources.group_by("synset").len("partners")
    sized = others.join(partners, on="synset", how="left", maintain_order="left")
    num_pairs = sized["partners"].sum()
    if not num_pairs:
        message = (
            f"no synset has lemmas in {source} and in {', '.join(targets)}; use wordnets that number synsets alike"
        )
        raise InputError.at(path, None, message)
    if num_pairs > _MAX_PAIRS:
        raise InputError.at(path, None, f"expected at most {_MAX_PAIRS} pairs, got {num_pairs}: are these wordnets?")
    order = ["file", "line", "place"]
    joined = others.join(sources, on="synset", how="inner").sort(order)
    pairs = joined.group_by(["source", "lemma", "language"], maintain_order=True).agg(
        pl.col(*order).first(), weight=pl.len().cast(pl.Float64)
    )
    named = pairs.sort(order).select("line", "source", target="lemma", target_language="language", weight="weight")
    return named, sized["partners"].null_count()
