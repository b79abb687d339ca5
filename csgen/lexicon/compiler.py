"""Compiles a lexicon's entries into the arrays of its table, on columns; knows no files.

The layout is that of csgen.switching.lookup.TableArrays.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
from numpy.typing import NDArray

from csgen.errors import InputError
from csgen.lexicon.entries import fold_column
from csgen.lexicon.table import MAX_LANGUAGES, Table, count_words, freeze, write_table
from csgen.switching.lookup import (
    EMPTY,
    HAS_CHILDREN,
    HAS_DIGIT,
    INLINE_KEY_BYTES,
    LANE_BITS,
    LISTED_SHIFT,
    MAX_WRITING_BYTES,
    NODE_IN_ROW,
    UNCASED,
    TableArrays,
    hash_bytes,
    scale,
)
from csgen.switching.primitives import GOLDEN, SLACK, compiled, mix

MAX_KEY_BYTES = (1 << 16) - 2  # lengths have 16 bits, all ones are a free row's

_ONE = 1 << 32
_LINE = 8  # words of a cache line
# A hash table half full is the faster one, while it fits a cache; beyond, its bytes count for more.
_LOAD, _LARGE_LOAD, _LARGE = 0.5, 0.78, 1 << 20


def compile_tables(entries: pl.DataFrame, folder: str) -> list[str]:
    """Compile a table for each source language of `entries` into `folder`; returns the names of the files written."""
    names = []
    for (language,), part in sorted(entries.group_by("source_language")):
        table = compile_table(part, str(language))
        names += write_table(table, folder)
    return names


def compile_table(entries: pl.DataFrame, source_language: str) -> Table:
    """Compile entries of one source language: columns source, target, target_language, weight and rank.

    Equal translations of different origins are merged and their weights added; within a word and language the heavier
    translation comes first, then the earlier listed one.
    """
    keys, ranked = _rank(entries)
    languages = tuple(sorted(entries["target_language"].unique()))
    if len(languages) > MAX_LANGUAGES:
        raise InputError(f"a lexicon can have {MAX_LANGUAGES} target languages, got {len(languages)}")
    words = _list_words(keys, ranked)
    nodes = _number_nodes(keys, words)
    ranked = ranked.join(nodes.select("key", "node"), on="key").sort("node", "target_language", "order")
    layout = _lay_out(ranked, languages)
    pool = _Pool()
    targets, longest_target = _write_targets(ranked["target"], _bounds(ranked, languages), pool)
    hashed, homes, longest = _hash_words(words, pool)
    first_phrase = len(hashed) * layout.stride
    phrases = first_phrase + np.arange(nodes.height - len(words)) * layout.node_words
    places = np.concatenate([homes * layout.stride + NODE_IN_ROW, phrases])
    if places.max(initial=0) >= _ONE // 2:
        raise InputError(f"a lexicon of {len(words):,} words and {len(phrases):,} phrases is too large; build several")
    rows = np.zeros(first_phrase + len(phrases) * layout.node_words + SLACK // 8, np.uint64)
    rows[:first_phrase].reshape(-1, layout.stride)[:, : NODE_IN_ROW + 1] = hashed
    _fill_nodes(rows, places, nodes, ranked, layout)
    child_keys, child_values = _hash_children(nodes, places)
    arrays = TableArrays(
        rows=rows, stride=layout.stride, num_slots=len(hashed), count_shift=layout.count_shift,
        child_keys=child_keys, child_values=child_values,
        targets=targets, pool=pool.array(), max_key_bytes=longest, max_target_bytes=longest_target,
    )  # fmt: skip
    return Table(source_language, languages, freeze(arrays))


@dataclass(frozen=True)
class _Layout:
    """The shape of TableArrays.rows."""

    languages: tuple[str, ...]
    count_shift: int

    @property
    def node_words(self) -> int:
        return 1 + count_words(len(self.languages), self.count_shift)

    @property
    def stride(self) -> int:
        """Half a cache line or whole ones, so that no row lies across two in vain."""
        size = NODE_IN_ROW + self.node_words
        return _LINE // 2 if size <= _LINE // 2 else -(-size // _LINE) * _LINE


def _longest_phrase(split: pl.Series) -> int:
    lengths = split.list.len().to_numpy()
    return int(lengths.max(initial=1))


def _lay_out(ranked: pl.DataFrame, languages: tuple[str, ...]) -> _Layout:
    most = int(np.bincount(ranked["node"].to_numpy()).max(initial=0))
    if most > 0xFFFF:
        raise InputError(f"a word can have {0xFFFF} translations, got {most}; filter the lexicon")
    return _Layout(languages, int(most > 0xFF))


def _rank(entries: pl.DataFrame) -> tuple[pl.Series, pl.DataFrame]:
    """The distinct look-up keys, sorted, and the merged translations in their order within key and language."""
    words = fold_column(entries["source"]).str.strip_chars().str.replace_all(r"\s+", " ")
    merged = (
        entries.with_columns(key=words)
        .group_by("key", "target_language", "target")
        .agg(pl.col("weight").sort().sum(), pl.col("rank").min())
        .sort("key", "target_language", pl.col("weight") * -1.0, "rank", "target")
        .with_row_index("order")
    )
    return merged["key"].unique().sort(), merged


def _list_words(keys: pl.Series, ranked: pl.DataFrame) -> pl.Series:
    """The distinct words of all keys, those with many translations first.

    These tend to be the frequent ones, which so get the slots where the search for them begins.
    """
    words = pl.DataFrame({"key": keys.str.split(" ").explode().unique()})
    words = words.join(ranked.group_by("key").len(), on="key", how="left")
    return words.sort("len", "key", descending=[True, False], nulls_last=True)["key"]


def _number_nodes(keys: pl.Series, words: pl.Series) -> pl.DataFrame:
    """Number words in their order, then phrases and their beginnings; columns key, node, parent and word.

    A phrase's parent is the phrase without its last word, and word is its last word; both are null for words.
    """
    split = keys.filter(keys.str.contains(" ", literal=True)).str.split(" ")
    levels = [pl.DataFrame({"key": words}).with_columns(parent_key=pl.lit(None, pl.String), last=pl.col("key"))]
    for length in range(2, _longest_phrase(split) + 1):
        longer = split.filter(split.list.len() >= length)
        level = pl.DataFrame(
            {
                "key": longer.list.head(length).list.join(" "),
                "parent_key": longer.list.head(length - 1).list.join(" "),
                "last": longer.list.get(length - 1),
            }
        )
        levels.append(level.unique("key").sort("key"))
    nodes = pl.concat(levels).with_row_index("node").with_columns(pl.col("node").cast(pl.Int64))
    number = nodes.select("key", "node")
    phrases = nodes.slice(len(words))
    for name, key in (("parent", "parent_key"), ("word", "last")):
        of_key = number.rename({"key": key, "node": name})
        phrases = phrases.join(of_key, on=key, how="left", maintain_order="left")
    columns = ["key", "node", "parent", "word"]
    none = pl.lit(None, pl.Int64)
    return pl.concat(
        [nodes.head(len(words)).with_columns(parent=none, word=none).select(columns), phrases.select(columns)]
    )


def _fill_nodes(
    rows: NDArray[np.uint64], places: NDArray[np.int64], nodes: pl.DataFrame, ranked: pl.DataFrame, layout: "_Layout"
) -> None:
    """Write flags, the number of the first translation, and the counts of every node."""
    totals = np.bincount(ranked["node"].to_numpy(), minlength=len(places))
    parents = np.zeros(len(places), np.bool_)
    parents[nodes["parent"].drop_nulls().to_numpy()] = True
    digits = (nodes["parent"].is_null() & nodes["key"].str.contains(r"\p{Nd}")).to_numpy()
    flags = parents * np.uint64(HAS_CHILDREN) | digits * np.uint64(HAS_DIGIT)
    languages, codes = layout.languages, _codes(ranked, layout.languages)
    _write_nodes(rows, rows.view(np.uint8), places, flags, totals, codes, len(languages), layout.count_shift)


@compiled
def _write_nodes(
    rows: Any, rows_bytes: Any, places: Any, flags: Any, totals: Any, language: Any, num_languages: int, shift: int
) -> None:
    target = 0
    for node in range(len(places)):
        place, first, end = places[node], target, target + totals[node]
        rows[place] |= (np.uint64(first) << np.uint64(32)) | flags[node]
        for k in range(num_languages + 1):
            while target < end and language[target] < k:
                target += 1
            at = 8 * (place + 1) + (k << shift)
            rows_bytes[at] = (target - first) & 0xFF
            if shift:
                rows_bytes[at + 1] = (target - first) >> 8
        target = end


def _bounds(ranked: pl.DataFrame, languages: tuple[str, ...]) -> NDArray[np.uint32]:
    """Upper bounds of the draw among a word's translations into one language, by weight, out of 2**32."""
    group = ranked["node"].to_numpy() * len(languages) + _codes(ranked, languages)
    share = np.empty(len(group))
    _sum_shares(ranked["weight"].to_numpy(), group, share)
    return np.minimum(np.rint(share * _ONE), _ONE - 1).astype(np.uint32)


@compiled
def _sum_shares(weights: Any, group: Any, share: Any) -> None:
    """The share of each weight and those before it in its group's sum."""
    begin = 0
    while begin < len(group):
        end, total = begin, 0.0
        while end < len(group) and group[end] == group[begin]:
            total += weights[end]
            share[end] = total
            end += 1
        for k in range(begin, end):
            share[k] /= total
        begin = end


def _codes(ranked: pl.DataFrame, languages: tuple[str, ...]) -> NDArray[np.uint8]:
    codes = {language: code for code, language in enumerate(languages)}
    column = ranked["target_language"].cast(pl.String).replace_strict(codes, return_dtype=pl.UInt8)
    return column.to_numpy()


class _Pool:
    """Texts one behind the other in one array."""

    def __init__(self) -> None:
        self._chunks: list[NDArray[np.uint8]] = []
        self._size = 0

    def place(self, texts: pl.Series) -> NDArray[np.int64]:
        """Where the UTF-8 of each text begins."""
        lengths = texts.str.len_bytes().cast(pl.Int64)
        offsets = self._size + (lengths.cum_sum() - lengths).to_numpy()
        self._chunks.append(_bytes_of(texts))
        self._size += len(self._chunks[-1])
        if self._size >= _ONE:
            raise InputError("a lexicon's translations into all languages can have 4 GiB together; build several")
        return offsets

    def array(self) -> NDArray[np.uint8]:
        return np.concatenate([*self._chunks, np.zeros(SLACK, np.uint8)])


def _bytes_of(texts: pl.Series) -> NDArray[np.uint8]:
    """The UTF-8 of all texts, one behind the other."""
    column = texts.to_arrow(compat_level=pl.CompatLevel.oldest())
    chunk = pa.concat_arrays(column.chunks) if isinstance(column, pa.ChunkedArray) else column
    _, offsets, data = chunk.buffers()
    if data is None:
        return np.zeros(0, np.uint8)
    first, last = (int(np.frombuffer(offsets, np.int64)[chunk.offset + k]) for k in (0, len(chunk)))
    return np.frombuffer(data, np.uint8)[first:last]


def _write_targets(texts: pl.Series, bounds: NDArray[np.uint32], pool: _Pool) -> tuple[NDArray[np.uint64], int]:
    """TableArrays.targets, and the longest writing's bytes. Equal translations share one place in the pool."""
    unique = pl.DataFrame({"text": texts.unique(maintain_order=True)})
    first = unique["text"].str.slice(0, 1)
    titles = {c: c.title() for c in first.unique().to_list()}
    written = unique.with_columns(
        lower=pl.col("text").str.to_lowercase(),
        title=first.replace_strict(titles, return_dtype=pl.String) + unique["text"].str.slice(1),
        upper=pl.col("text").str.to_uppercase(),
    )
    lanes = ["lower", "title", "upper", "own"]
    same = [pl.col("text") == pl.col(lane) for lane in lanes[:3]]
    written = written.with_columns(
        own=pl.when(pl.any_horizontal(same)).then(pl.lit("")).otherwise("text"),
        listed=pl.coalesce([pl.when(s).then(k) for k, s in enumerate(same)] + [pl.lit(3)]).cast(pl.UInt64),
        uncased=pl.all_horizontal(same),
    )
    lengths = written.select(pl.col(lanes).str.len_bytes().cast(pl.UInt64)).to_numpy(writable=True)
    longest = int(lengths.max(initial=0))
    if longest > MAX_WRITING_BYTES:
        text = unique["text"][int(lengths.max(axis=1).argmax())]
        raise InputError(f"a translation can have {MAX_WRITING_BYTES} bytes, got {longest}: {text[:50]}...")
    uncased = written["uncased"].to_numpy()
    lengths[uncased] = lengths[uncased][:, :1]
    packed = lengths @ (np.uint64(1) << (np.arange(4, dtype=np.uint64) * np.uint64(LANE_BITS)))
    packed |= written["listed"].to_numpy() << np.uint64(LISTED_SHIFT) | uncased * UNCASED
    cased = pl.when(pl.col("uncased")).then("lower").otherwise(pl.concat_str(lanes))
    places = pool.place(written.select(cased.alias("text"))["text"])
    stored = unique.with_columns(place=pl.Series(places.astype(np.uint64)), packed=pl.Series(packed))
    found = pl.DataFrame({"text": texts}).join(stored, on="text", how="left", maintain_order="left")
    targets = np.empty((len(texts), 2), np.uint64)
    targets[:, 0] = found["place"].to_numpy() | bounds.astype(np.uint64) << np.uint64(32)
    targets[:, 1] = found["packed"].to_numpy()
    return targets, longest


def _capacity(count: int) -> int:
    """Slots of a hash table of `count` keys."""
    return max(int(count / (_LOAD if count < _LARGE else _LARGE_LOAD)), 4) + 1


def _hash_children(nodes: pl.DataFrame, places: NDArray[np.int64]) -> tuple[NDArray[np.uint64], NDArray[np.uint32]]:
    phrases = nodes.filter(pl.col("parent").is_not_null())
    number, parent, word = (phrases[name].to_numpy() for name in ("node", "parent", "word"))
    keys = (places[parent].astype(np.uint64) << np.uint64(32)) | places[word].astype(np.uint64)
    inner = np.zeros(len(places), np.bool_)
    inner[parent] = True
    values = (places[number].astype(np.uint32) << np.uint32(1)) | inner[number]
    capacity = _capacity(len(keys))
    child_keys, child_values = np.full(capacity, EMPTY), np.zeros(capacity, np.uint32)
    _insert_children(keys, values, child_keys, child_values)
    return child_keys, child_values


@compiled
def _insert_children(keys: Any, values: Any, child_keys: Any, child_values: Any) -> None:
    for k in range(len(keys)):
        at = scale(mix(keys[k]), len(child_keys))
        while child_keys[at] != EMPTY:
            at = (at + 1) % len(child_keys)
        child_keys[at], child_values[at] = keys[k], values[k]


def _hash_words(words: pl.Series, pool: _Pool) -> tuple[NDArray[np.uint64], NDArray[np.int64], int]:
    """The hash table's rows (key, key, first word of the node), the slot of each word, and the longest word's bytes."""
    lengths = words.str.len_bytes().cast(pl.Int64).to_numpy()
    longest = int(lengths.max(initial=0))
    if longest > MAX_KEY_BYTES:
        raise InputError(
            f"a word can have {MAX_KEY_BYTES} bytes, got {longest}: {words[int(lengths.argmax())][:50]}..."
        )
    is_long = lengths > INLINE_KEY_BYTES
    places = np.zeros(len(words), np.int64)
    places[is_long] = pool.place(words.filter(pl.Series(is_long)))
    data = np.concatenate([_bytes_of(words), np.zeros(SLACK, np.uint8)])
    slots, homes = np.full((_capacity(len(words)), 3), EMPTY), np.empty(len(words), np.int64)
    _insert_words(data, np.cumsum(lengths) - lengths, lengths, places, slots, homes)
    return slots, homes, longest


@compiled
def _insert_words(data: Any, starts: Any, lengths: Any, places: Any, slots: Any, homes: Any) -> None:
    for k in range(len(starts)):
        length = lengths[k]
        first, second = np.uint64(0), np.uint64(0)
        if length > INLINE_KEY_BYTES:
            first = hash_bytes(data, starts[k], length, np.uint64(0))
        else:
            for j in range(length):
                byte = np.uint64(data[starts[k] + j]) << np.uint64(8 * (j & 7))
                if j < 8:
                    first |= byte
                else:
                    second |= byte
        at = scale(mix(first + second * GOLDEN + np.uint64(length)), len(slots))
        while slots[at, 2] != EMPTY:
            at = (at + 1) % len(slots)
        slots[at, 0] = first
        slots[at, 1] = np.uint64(places[k]) if length > INLINE_KEY_BYTES else second
        slots[at, 2] = np.uint64(length) << np.uint64(16)
        homes[k] = at
