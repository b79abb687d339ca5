"""StarDict dictionaries: .ifo (what there is), .idx (words and places), .dict (articles), .syn (further headwords).

Articles of sounds, pictures and pronunciations are left out; csgen.readers.articles reads the others.
"""

import posixpath
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
from numpy.typing import NDArray

from csgen.errors import InputError
from csgen.files import exists, is_folder, list_files
from csgen.readers.articles import read_articles
from csgen.readers.columns import NOT_UTF8, Reading, decode_column, first_reason, part_malformed
from csgen.readers.lines import cut_texts, read_bytes
from csgen.readers.phrasing import UNFITTING, name_licence, pair_phrases
from csgen.switching.primitives import compiled

_MAGIC = "StarDict's dict ifo file"
_INFO_BYTES = 1 << 20
_TEXT_KINDS = "xhgml"  # the best first: XDXF, HTML, Pango, plain, plain in the locale's encoding
_ENDINGS = {
    "index": (".idx", ".idx.gz", ".idx.dz"),
    "articles": (".dict.dz", ".dict"),
    "synonyms": (".syn", ".syn.gz", ".syn.dz"),
}


@dataclass(frozen=True)
class _Info:
    """What the .ifo promises."""

    num_words: int
    num_synonyms: int
    index_bytes: int
    offset_bytes: int
    kinds: str  # of the fields of every article; empty: each field names its own
    about: dict[str, str]
    licence: str | None


def stardict_files(path: str, source: str, targets: tuple[str, ...]) -> list[str]:
    """The .ifo, .idx, .dict and, if there is one, .syn; `path` is any of them or the folder of one dictionary."""
    base = _find_base(path)
    return [f"{base}.ifo", *_locate(base).values()]


def read_stardict(path: str, source: str, targets: tuple[str, ...]) -> Reading:
    """A dictionary of one target language; `line` counts the words of the index, then those of the synonyms."""
    base = _find_base(path)
    files = _locate(base)
    info = _read_info(f"{base}.ifo")
    data = read_bytes(files["articles"])
    words, malformed = part_malformed(_read_index(files["index"], info, len(data)))
    synonyms, astray = part_malformed(_read_synonyms(files.get("synonyms"), info))
    articles, garbled, num_others = _read_fields(words, data, info.kinds)
    targets_read, num_prose = read_articles(articles)
    sources = pl.concat([words.select("line", article="line", source="word"), synonyms])
    found = _pair(sources, targets_read)
    pairs = found.drop_nulls()
    counts = {
        "lines": info.num_words + info.num_synonyms,
        "blank": 0,
        "synonyms": info.num_synonyms,
        "articles of sounds, pictures or pronunciations only": num_others,
        "articles without a translation": len(articles) - targets_read["line"].n_unique(),
        "lines of prose": num_prose,
        UNFITTING: len(found) - len(pairs),
    }
    bad = pl.concat([malformed, garbled, astray]).sort("line", maintain_order=True)
    return Reading(pairs, bad, counts, info.licence, info.about)


def _pair(sources: pl.DataFrame, targets: pl.DataFrame) -> pl.DataFrame:
    """Pairs by article, then numbered by the word or synonym that they came by."""
    numbered = sources.sort("article", "line").with_row_index("row")
    keyed = numbered.select("source", pl.col("row").cast(pl.Int64).alias("line"), "article")
    by_row = targets.rename({"line": "article"}).join(keyed.select("article", "line"), on="article").sort("line")
    found = pair_phrases(keyed.select("line", "source"), by_row.select("line", "target"))
    lines = numbered["line"].gather(found["line"])
    return found.with_columns(lines.alias("line")).sort("line", maintain_order=True)


def _find_base(path: str) -> str:
    """The path without the ending that tells the dictionary's files apart."""
    if is_folder(path):
        found = [name for name in list_files(path) if name.endswith(".ifo")]
        if len(found) != 1:
            names = ", ".join(map(posixpath.basename, found[:5])) or "none"
            raise InputError.at(path, None, f"expected one .ifo file, found {names}; name the file")
        return found[0].removesuffix(".ifo")
    endings = (".ifo", *(ending for kind in _ENDINGS.values() for ending in kind))
    for ending in sorted(endings, key=len, reverse=True):
        if path.endswith(ending):
            return path.removesuffix(ending)
    raise InputError.at(path, None, "expected a StarDict .ifo file, or the folder of one dictionary")


def _locate(base: str) -> dict[str, str]:
    """The files beside the .ifo by what they hold; the synonyms may be missing."""
    files = {}
    for part, endings in _ENDINGS.items():
        found = next((base + ending for ending in endings if exists(base + ending)), None)
        if found:
            files[part] = found
        elif part != "synonyms":
            wanted = " or ".join(endings[:2])
            raise InputError.at(f"{base}.ifo", None, f"expected {posixpath.basename(base)}{wanted} beside it")
    return files


def _read_info(path: str) -> _Info:
    try:
        lines = read_bytes(path, _INFO_BYTES).decode().removeprefix("\ufeff").splitlines()
    except UnicodeDecodeError as error:
        raise InputError.at(path, None, f"expected UTF-8 text: {error}") from error
    if not lines or lines[0].strip() != _MAGIC:
        got = lines[0][:40] if lines else ""
        raise InputError.at(path, 1, f"expected the line {_MAGIC!r}, got {got!r}; is it a StarDict .ifo file?")
    options = {name.strip(): value.strip() for name, _, value in (line.partition("=") for line in lines[1:])}

    def number(name: str, default: str | None = None) -> int:
        value = options.get(name, default)
        if value is None or not value.isascii() or not value.isdigit():
            raise InputError.at(path, None, f"expected {name}= and a number, got {value!r}; the .ifo is damaged")
        return int(value)

    bits = number("idxoffsetbits", "32")
    if bits not in (32, 64):
        raise InputError.at(path, None, f"idxoffsetbits must be 32 or 64, got {bits}")
    about = {key: options[name] for key, name in (("title", "bookname"), ("edition", "date")) if options.get(name)}
    licence = name_licence(" ".join(options.get(name, "") for name in ("license", "licence", "description")))
    sizes = (number("wordcount"), number("synwordcount", "0"), number("idxfilesize"))
    return _Info(*sizes, bits // 8, options.get("sametypesequence", ""), about, licence)


def _read_index(path: str, info: _Info, dict_bytes: int) -> pl.DataFrame:
    """`line`, `word`, `start`, `bytes` and `reason` (null: good) of the index's records."""
    data = read_bytes(path)
    if len(data) != info.index_bytes:
        message = f"has {len(data)} bytes, but idxfilesize={info.index_bytes}: the files do not belong together"
        raise InputError.at(path, None, f"{message}, or it was cut short; fetch them again")
    words, numbers = _read_records(path, data, info.offset_bytes + 4)
    _check_number(path, "wordcount", info.num_words, len(words))
    start = np.ascontiguousarray(numbers[:, : info.offset_bytes]).view(f">u{info.offset_bytes}").ravel()
    length = np.ascontiguousarray(numbers[:, info.offset_bytes :]).view(">u4").ravel().astype(np.int64)
    is_beyond = (start > dict_bytes) | (length > dict_bytes - np.minimum(start, dict_bytes).astype(np.int64))
    rules = {
        NOT_UTF8: pl.col("word").is_null(),
        "word of no letters": pl.col("word") == "",
        "article beyond the end of the dictionary": pl.col("is_beyond"),
    }
    places = {"start": np.where(is_beyond, 0, start).astype(np.int64), "bytes": np.where(is_beyond, 0, length)}
    records = pl.DataFrame({"word": words, **places, "is_beyond": is_beyond}).with_row_index("line", 1)
    return records.select(pl.col("line").cast(pl.Int64), "word", "start", "bytes", reason=first_reason(rules))


def _read_synonyms(path: str | None, info: _Info) -> pl.DataFrame:
    """`line` (counted on from the words), `article` (the line of a word), `source` and `reason`."""
    data = read_bytes(path) if path else b""
    words, numbers = _read_records(path or "", data, 4)
    if path:
        _check_number(path, "synwordcount", info.num_synonyms, len(words))
    article = np.ascontiguousarray(numbers).view(">u4").ravel().astype(np.int64) + 1
    rules = {
        NOT_UTF8: pl.col("source").is_null(),
        "synonym of a word beyond the end of the index": pl.col("article") > info.num_words,
    }
    line = np.arange(len(words), dtype=np.int64) + info.num_words + 1
    records = pl.DataFrame({"line": line, "article": article, "source": words})
    return records.with_columns(reason=first_reason(rules))


def _check_number(path: str, name: str, promised: int, found: int) -> None:
    if promised != found:
        message = f"holds {found} records, but the .ifo says {name}={promised}: the files do not belong together"
        raise InputError.at(path, None, f"{message}, or one was damaged; fetch them again")


def _read_records(path: str, data: bytes, tail_bytes: int) -> tuple[pl.Series, NDArray[np.uint8]]:
    """Words (null: not UTF-8), each up to its NUL, and the bytes behind each: (num_words, tail_bytes)."""
    array = np.frombuffer(data, np.uint8)
    ends = np.empty(len(data) // (1 + tail_bytes) + 1, np.int64)
    number, done = _find_ends(array, tail_bytes, ends)
    if done != len(data):
        raise InputError.at(path, None, f"record {number + 1}, at byte {done}, is cut short; fetch the file again")
    ends = ends[:number]
    starts = np.concatenate([[0], ends + 1 + tail_bytes])[:number]
    bounds = np.append(np.column_stack([starts, ends]).ravel(), len(data)).astype(np.int64)
    buffers = [None, pa.py_buffer(bounds), pa.py_buffer(data)]
    both = pa.LargeBinaryArray.from_buffers(pa.large_binary(), 2 * number, buffers)  # each word, then its numbers
    words = decode_column(both.take(pa.array(np.arange(0, 2 * number, 2)))).alias("word")
    return words, array[(ends + 1)[:, None] + np.arange(tail_bytes)]


@compiled
def _find_ends(data: Any, tail_bytes: Any, ends: Any) -> Any:
    """Where each word's NUL is; how many records there are, and where the last whole one ends."""
    number = start = end = 0
    while True:
        while end < len(data) and data[end] != 0:
            end += 1
        if end + 1 + tail_bytes > len(data):
            return number, start
        ends[number] = end
        number += 1
        start = end = end + 1 + tail_bytes


def _read_fields(words: pl.DataFrame, data: bytes, kinds: str) -> tuple[pl.DataFrame, pl.DataFrame, int]:
    """Articles of `line`, `headword`, `kind`, `body`; lines that are not UTF-8; how many articles have no text."""
    if len(kinds) == 1 and kinds in _TEXT_KINDS:
        bodies = cut_texts(data, words["start"], words["bytes"])
        fields = words.select("line", headword="word", kind=pl.lit(kinds), body=bodies)
    else:
        places = zip(words["start"], words["bytes"], strict=True)
        found = [_best_field(data[start : start + length], kinds) for start, length in places]
        text = decode_column(pa.array([body for _, body in found], pa.large_binary()))
        kind = pl.Series([kind for kind, _ in found], dtype=pl.String)
        fields = words.select("line", headword="word", kind=kind, body=text)
    others = fields.filter(kind="")
    texts = fields.filter(pl.col("kind") != "")
    garbled = texts.filter(pl.col("body").is_null()).select("line", reason=pl.lit(NOT_UTF8))
    return texts.drop_nulls("body"), garbled, len(others)


def _best_field(article: bytes, kinds: str) -> tuple[str, bytes]:
    """The kind and content of the field that says most of the translations; empty where it is all sounds and such."""
    fields = {kind: body for kind, body in _split_fields(article, kinds) if kind in _TEXT_KINDS}
    best = next((kind for kind in _TEXT_KINDS if kind in fields), "")
    return best, fields.get(best, b"")


def _split_fields(article: bytes, kinds: str) -> Iterator[tuple[str, bytes]]:
    """Lower-case kinds end with a NUL, upper-case ones begin with their size; the last of a fixed row has neither."""
    at, number = 0, 0
    while at < len(article) and not (kinds and number == len(kinds)):
        kind = kinds[number] if kinds else chr(article[at])
        at += not kinds
        number += 1
        is_last = number == len(kinds)
        if is_last:
            yield kind, article[at:]
            return
        if kind.isupper():
            end = at + 4 + int.from_bytes(article[at : at + 4], "big")
            yield kind, article[at + 4 : end]
            at = end
        else:
            end = article.find(b"\0", at)
            end = len(article) if end < 0 else end
            yield kind, article[at:end]
            at = end + 1
