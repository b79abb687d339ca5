"""What lexicons are learnt from: parallel texts of a collection's split or of two files, and seed dictionaries.

Knows no tokens and no alignment: a text is whatever a line, a query or a passage holds.
"""

import posixpath
from dataclasses import dataclass
from typing import Any

import polars as pl

from csgen.errors import InputError
from csgen.files import exists, find_file, fingerprint, hash_file, join
from csgen.lexicon.sources import LEXICON, LexiconSource
from csgen.readers.formats import FORMATS
from csgen.readers.lines import read_bytes, split_lines
from csgen.sources.collection import COLLECTION_NAME, Collection, read_collection

BLANK = "blank in a language"
NOT_UTF8 = "not UTF-8 in a language"


@dataclass(frozen=True)
class ParallelText:
    """Texts that say the same: `source[i]` and `target[i]`, none of them blank."""

    name: str  # of the data, without its folder
    source: pl.Series
    target: pl.Series
    counts: dict[str, int]  # what was read and what was left out, in words
    files: dict[str, dict[str, Any]]  # bytes and hash by name
    licence: str | None = None


def is_collection(path: str) -> bool:
    """Whether the path is a parallel collection's folder."""
    return exists(join(path, COLLECTION_NAME))


def read_collection_texts(folder: str, source: str, target: str, split: str) -> ParallelText:
    """The queries and the passages that the split's qrels name and both languages have, in the order of the source's.

    Texts of other splits are never handed on. A title stands on a line of its own before its text.
    """
    collection = read_collection(folder)
    qrels = collection.qrels(split)
    parts = [
        _join(collection, kind, qrels[f"{kind}_id"], source, target)
        for kind in ("query", "passage")
        if kind == "query" or {source, target} <= {*collection.passage_languages}
    ]
    texts, counts = _drop_blank(pl.concat(parts))
    if texts.is_empty():
        raise InputError.at(folder, None, f"no text of the split {split!r} stands in both {source} and {target}")
    read = {f"{kind} pairs": len(part) for kind, part in zip(("query", "passage"), parts, strict=False)}
    files = describe_inputs(_collection_files(folder, source, target, split))
    name = posixpath.basename(folder.rstrip("/"))
    return ParallelText(name, texts["source"], texts["target"], read | counts, files, collection.licence)


def _join(collection: Collection, kind: str, ids: pl.Series, source: str, target: str) -> pl.DataFrame:
    """`source` and `target` of the ids in both languages."""
    load = collection.queries if kind == "query" else collection.passages
    named = pl.DataFrame({"_id": ids.unique()})
    left, right = (_texts(load(language), name) for language, name in ((source, "source"), (target, "target")))
    kept = left.join(named, on="_id", how="semi", maintain_order="left")
    return kept.join(right, on="_id", how="inner", maintain_order="left").drop("_id")


def _texts(documents: pl.DataFrame, name: str) -> pl.DataFrame:
    text = pl.col("text")
    if "title" in documents.columns:
        text = pl.when(pl.col("title") == "").then(text).otherwise(pl.format("{}\n{}", "title", "text"))
    return documents.select("_id", text.alias(name))


def _collection_files(folder: str, source: str, target: str, split: str) -> dict[str, str]:
    """The files that were read, by their name in the collection."""
    names = [f"{language}/{kind}.jsonl" for language in (source, target) for kind in ("queries", "passages")]
    found = {name: find_file(join(folder, name)) for name in (*names, f"qrels/{split}.tsv")}
    return {name: path for name, path in found.items() if path}


def read_line_texts(source_path: str, target_path: str) -> ParallelText:
    """Two files in which the same line says the same; both must have as many lines."""
    sides = [split_lines(read_bytes(path)) for path in (source_path, target_path)]
    if len(sides[0]) != len(sides[1]):
        raise InputError.at(
            target_path,
            None,
            f"has {len(sides[1]):,} lines and {source_path} {len(sides[0]):,}: expected the same number, "
            "the same line of both saying the same",
        )
    lines = pl.DataFrame({"source": sides[0], "target": sides[1]})
    texts, counts = _drop_blank(lines)
    if texts.is_empty():
        raise InputError.at(source_path, None, f"no line has text both here and in {target_path}")
    files = describe_inputs({posixpath.basename(path): path for path in (source_path, target_path)})
    name = "+".join(posixpath.basename(path) for path in (source_path, target_path))
    return ParallelText(name, texts["source"], texts["target"], {"line pairs": len(lines)} | counts, files)


def _drop_blank(texts: pl.DataFrame) -> tuple[pl.DataFrame, dict[str, int]]:
    decoded = texts.drop_nulls()
    filled = decoded.filter(pl.all_horizontal(pl.col("source", "target").str.strip_chars() != ""))
    dropped = {NOT_UTF8: len(texts) - len(decoded), BLANK: len(decoded) - len(filled)}
    return filled, {reason: number for reason, number in dropped.items() if number}


def describe_inputs(paths: dict[str, str]) -> dict[str, dict[str, Any]]:
    """Bytes and hash of input files by name, for the manifest."""
    return {name: {"bytes": fingerprint(path)["bytes"], "xxh3_128": hash_file(path)} for name, path in paths.items()}


def read_seed_pairs(spec: str, source: str, target: str) -> tuple[pl.DataFrame, dict[str, dict[str, Any]]]:
    """`source` and `target` of a word list KIND:SRC-TGT:PATH of either direction; bytes and hash of its files."""
    given = LexiconSource.parse(spec).located()
    if given.kind == LEXICON or {given.source_language, *given.target_languages} != {source, target}:
        raise InputError(
            f"--seed-dictionary: expected KIND:{source}-{target}:PATH or KIND:{target}-{source}:PATH, got {spec}"
        )
    names = (given.source_language, given.target_languages)
    pairs = FORMATS[given.kind].read(given.path, *names).pairs.select("source", "target")
    if given.source_language != source:
        pairs = pairs.select(source="target", target="source")
    return pairs, describe_inputs({posixpath.basename(path): path for path in given.list_files()})
