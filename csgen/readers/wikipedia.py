"""Parallel page titles from MediaWiki's dumps of the tables `langlinks`, `page` and `page_props`.

The dumps stream; what is held are the links to the wanted languages, and the titles of the pages that have them.
Redirects are left out, not followed, so that cycles of them cannot matter.
"""

import posixpath
import re

import numpy as np
import polars as pl
import pyarrow as pa
from numpy.typing import NDArray

from csgen.errors import InputError
from csgen.files import exists, find_file, is_folder, list_files
from csgen.languages import parse_language
from csgen.readers.columns import NOT_UTF8, Reading, count_reasons, decode_column, first_reason
from csgen.readers.sql import scan_table
from csgen.readers.titles import cut_title, is_disambiguation

# Wikis by their name where it is not a language's code: simple is English, als is Alemannic (and not Albanian).
_LANGUAGES_OF = {"no": {"nb", "no"}, "simple": {"en"}, "als": set[str]()}
_CODES_OF = {"be": ("be", "be-tarask", "be-x-old"), "nb": ("nb", "no"), "no": ("nb", "no")}
_SCRIPT = re.compile(r"-[A-Z][a-z]{3}")  # of zh-Hant

_LANGLINKS = re.compile(r"^(?P<stem>(?:(?P<wiki>[a-z][a-z_]*?)wiki)?.*?)langlinks(?P<ending>\.sql(?:\.\w+)?)$")
_MAX_PAGE_ID = (1 << 32) - 1  # int unsigned in MediaWiki's tables; bounds the flags by page id

_MAIN_NAMESPACE = 0
_MISSING, _ARTICLE, _REDIRECT, _OUTSIDE = range(4)  # kinds of pages

Flags = NDArray[np.bool_]  # by page id


def langlinks_files(path: str, source: str, targets: tuple[str, ...]) -> list[str]:
    """The dumps of `langlinks`, `page` and, if it is there, `page_props`; `path` is the first, or the folder."""
    langlinks = _find_langlinks(path, source) if is_folder(path) else path
    name = _LANGLINKS.match(posixpath.basename(langlinks))
    if name is None:
        raise InputError.at(langlinks, None, "expected a name such as dewiki-20260101-langlinks.sql.gz")
    if not exists(langlinks):
        raise InputError.at(langlinks, None, "no such file")
    languages = _languages_of(name["wiki"])
    if languages and source.partition("-")[0] not in languages:
        raise InputError.at(langlinks, None, f"expected links from a wiki in {source}, got one in {min(languages)}")
    stem = langlinks[: -len(posixpath.basename(langlinks))] + name["stem"]
    page = _find_dump(f"{stem}page", name["ending"])
    if page is None:
        wanted = f"{name['stem']}page.sql.gz"
        raise InputError.at(langlinks, None, f"expected {wanted} beside it: the titles of the linking pages; fetch it")
    props = _find_dump(f"{stem}page_props", name["ending"])
    return [langlinks, page, *([props] if props else [])]


def read_langlinks(path: str, source: str, targets: tuple[str, ...]) -> Reading:
    """Titles of the source wiki's pages with those of their counterparts in the target languages.

    Namespaces and bracketed suffixes are cut, redirects and disambiguation pages left out. `line` is the number of the
    link in the langlinks dump.
    """
    langlinks, page, *props = langlinks_files(path, source, targets)
    links, counts = _read_links(langlinks, targets)
    wanted = _flag(links["page"].to_numpy(), langlinks)
    is_list = _read_disambiguations(props[0], wanted) if props else np.zeros(len(wanted), np.bool_)
    kinds, titles = _read_pages(page, wanted)
    judged = _judge(links, kinds, titles, is_list)
    left = judged.filter(pl.col("reason").is_null())
    malformed = judged.filter(pl.col("reason") == NOT_UTF8).select("line", "reason")
    reasons = judged["reason"].drop_nulls()
    counts |= count_reasons(reasons.filter(reasons != NOT_UTF8))
    pairs = left.select("line", "source", "target", "target_language", weight=pl.lit(1.0))
    return Reading(pairs, malformed, counts)


def read_last_langlinks(path: str, source: str, targets: tuple[str, ...]) -> Reading:
    """As read_langlinks, but of pairs with the same source, letter case aside, the last in each language alone is left.

    This is the paper's rule for its Wiki-CS lexicon, which makes it depend on the order of the pages' ids.
    """
    reading = read_langlinks(path, source, targets)
    pairs = reading.pairs.with_columns(key=pl.col("source").str.to_lowercase())
    last = pairs.unique(["key", "target_language"], keep="last", maintain_order=True).drop("key")
    counts = reading.counts | {"earlier duplicates of a title": len(pairs) - len(last)}
    return Reading(last, reading.malformed, counts)


def _find_dump(stem: str, ending: str) -> str | None:
    """The dump with that ending, else in any compression."""
    return stem + ending if exists(stem + ending) else find_file(f"{stem}.sql")


def _find_langlinks(folder: str, source: str) -> str:
    wikis = {path: name["wiki"] for path in list_files(folder) if (name := _LANGLINKS.match(posixpath.basename(path)))}
    fitting = [path for path, wiki in wikis.items() if source.partition("-")[0] in _languages_of(wiki)] or list(wikis)
    if len(fitting) != 1:
        listed = ", ".join(map(posixpath.basename, fitting[:5])) or "none"
        raise InputError.at(folder, None, f"expected one file ...langlinks.sql.gz, found {listed}; name the file")
    return fitting[0]


def _languages_of(wiki: str | None) -> set[str]:
    """The language of a wiki by what its name has before "wiki"; several where it goes by several, none if unknown."""
    if wiki is None or wiki in _LANGUAGES_OF:
        return _LANGUAGES_OF.get(wiki or "", set())
    try:
        return {parse_language(wiki)}
    except InputError:
        return set()


def _codes_of(language: str) -> tuple[str, ...]:
    """The codes by which links name a language; a region's Wikipedia is that of its language."""
    primary = language.partition("-")[0]
    if _SCRIPT.search(language):
        raise InputError(f"Wikipedia's titles in {primary} are in any script, so not in {language}; ask for {primary}")
    return _CODES_OF.get(primary, (primary,))


def _read_links(path: str, targets: tuple[str, ...]) -> tuple[pl.DataFrame, dict[str, int]]:
    """`line`, `page` (id), `target` (null: not UTF-8) and `target_language` of the links to the target languages."""
    languages = [(code, target) for target in targets for code in _codes_of(target)]
    codes = sorted({code for code, _ in languages})
    wanted = [code.encode() for code in codes]
    columns = "ll_from", "ll_lang", "ll_title"
    lines, numbers, titles = 0, [np.empty((3, 0), np.int64)], [pa.array([], pa.large_binary())]
    for tuples in scan_table(path, "langlinks", columns):
        places = tuples.matches("ll_lang", wanted)
        rows = np.flatnonzero(places >= 0)
        numbers.append(np.stack([rows + tuples.first, tuples.numbers("ll_from", rows), places[rows]]))
        titles.append(tuples.texts("ll_title", rows))
        lines += len(tuples)
    found = np.concatenate(numbers, axis=1)
    links = pl.DataFrame({"line": found[0], "page": found[1], "place": found[2], "target": _decode(titles)})
    others = lines - len(links)
    targets_of = pl.DataFrame(
        {"place": [codes.index(c) for c, _ in languages], "target_language": [target for _, target in languages]},
        schema_overrides={"place": pl.Int64},
    )
    links = links.join(targets_of, on="place", how="inner", maintain_order="left_right").drop("place")
    return links, {"lines": lines, "blank": 0, "links to other languages": others}


def _flag(ids: NDArray[np.int64], path: str) -> Flags:
    """True at each of the page ids."""
    if len(ids) and not 0 <= ids.min() <= ids.max() <= _MAX_PAGE_ID:
        bad = ids.min() if ids.min() < 0 else ids.max()
        raise InputError.at(path, None, f"page ids must be in [0, {_MAX_PAGE_ID}], got {bad}")
    flags = np.zeros(ids.max() + 1 if len(ids) else 0, np.bool_)  # pages of memory without an id are never touched
    flags[ids] = True
    return flags


def _find_flagged(ids: NDArray[np.int64], flags: Flags) -> NDArray[np.int64]:
    """The indices of the ids that are flagged."""
    inside = np.flatnonzero((ids >= 0) & (ids < len(flags)))
    found: NDArray[np.int64] = inside[flags[ids[inside]]]
    return found


def _read_disambiguations(path: str, wanted: Flags) -> Flags:
    """Which of the wanted pages are marked as disambiguation pages."""
    marked = np.zeros(len(wanted), np.bool_)
    for tuples in scan_table(path, "page_props", ("pp_page", "pp_propname")):
        rows = np.flatnonzero(tuples.matches("pp_propname", [b"disambiguation"]) == 0)
        ids = tuples.numbers("pp_page", rows)
        marked[ids[_find_flagged(ids, wanted)]] = True
    return marked


def _read_pages(path: str, wanted: Flags) -> tuple[NDArray[np.uint8], pl.DataFrame]:
    """The kind of each wanted page by its id, and `page` and `source` (null: not UTF-8) of the articles."""
    kinds = np.zeros(len(wanted), np.uint8)
    articles, titles = [np.empty(0, np.int64)], [pa.array([], pa.large_binary())]
    for tuples in scan_table(path, "page", ("page_id", "page_namespace", "page_title", "page_is_redirect")):
        ids = tuples.numbers("page_id")
        rows = _find_flagged(ids, wanted)
        is_redirect = tuples.numbers("page_is_redirect", rows) != 0
        is_outside = tuples.numbers("page_namespace", rows) != _MAIN_NAMESPACE
        kinds[ids[rows]] = np.where(is_outside, _OUTSIDE, np.where(is_redirect, _REDIRECT, _ARTICLE))
        rows = rows[~is_redirect & ~is_outside]
        articles.append(ids[rows])
        titles.append(tuples.texts("page_title", rows))
    pages = pl.DataFrame({"page": np.concatenate(articles), "source": _decode(titles)})
    return kinds, pages.unique("page", keep="last", maintain_order=True)


def _decode(texts: list[pa.LargeBinaryArray]) -> pl.Series:
    return decode_column(pa.concat_arrays(texts))


def _judge(links: pl.DataFrame, kinds: NDArray[np.uint8], titles: pl.DataFrame, is_list: Flags) -> pl.DataFrame:
    """The links with the `source` title, both titles cut, and the `reason` to leave a link out (null: it stays)."""
    pages = links["page"].to_numpy()
    judged = links.with_columns(kind=pl.Series(kinds[pages]), is_list=pl.Series(is_list[pages]))
    judged = judged.join(titles, on="page", how="left", maintain_order="left")
    source, target, kind = pl.col("source"), pl.col("target"), pl.col("kind")
    spaced = judged.with_columns(pl.col("source", "target").str.replace_all("_", " ", literal=True))
    cut = spaced.with_columns(
        names_list=is_disambiguation(source) | is_disambiguation(target),
        source=cut_title(source),
        target=cut_title(target),
    )
    rules = {
        "pages that the page dump lacks": kind == _MISSING,
        "pages outside the main namespace": kind == _OUTSIDE,
        "redirects": kind == _REDIRECT,
        NOT_UTF8: source.is_null() | target.is_null(),
        "disambiguation pages": pl.col("is_list") | pl.col("names_list"),
        "links to a section of a page": target.str.contains("#", literal=True),
        "empty titles": (source == "") | (target == ""),
    }
    return cut.with_columns(reason=first_reason(rules))
