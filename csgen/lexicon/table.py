"""The compiled lexicon: a hash table of words and phrases that the kernel reads in place, memory-mapped.

One table holds one source language and all its target languages. It is a folder of .npy files, so that every process
of a machine shares one copy; it knows nothing of where the entries came from.
"""

import io
import json
import unicodedata
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from csgen.characters import fold
from csgen.errors import InputError
from csgen.files import exists, is_local, join, open_input, replace_file
from csgen.lexicon.entries import fold_column
from csgen.switching.lookup import (
    BOUND,
    EMPTY,
    FIRST_RANGE,
    FLAGS,
    HAS_CHILDREN,
    HAS_DIGIT,
    INLINE_KEY_BYTES,
    TableArrays,
    find_node,
    hash_bytes,
)
from csgen.switching.primitives import GOLDEN, SLACK, compiled, mix

_ARRAYS = ("slots", "child_keys", "child_values", "targets", "pool")
_NUMBERS = ("slot_shift", "child_shift", "max_key_bytes", "max_target_bytes")
_FORMAT = 1  # of the arrays; raise it with any change to them
_ONE = 1 << 32
_MOST_TARGET_BYTES = 0xFFFF  # lengths have 16 bits
MAX_LANGUAGES = 127  # of a table; spans keep a language in a byte


@dataclass(frozen=True)
class Table:
    """A compiled lexicon of one source language; `languages` are the targets in the order of the arrays."""

    source_language: str
    languages: tuple[str, ...]
    arrays: TableArrays

    def language_index(self, language: str) -> int:
        """The index of a target language; an InputError if the lexicon lacks it."""
        if language not in self.languages:
            raise InputError(
                f"the lexicon has no translations from {self.source_language} into {language}; "
                f"it has {', '.join(self.languages)}"
            )
        return self.languages.index(language)

    def without(self, sources: list[str]) -> "Table":
        """The same table with these words and phrases taken out, whatever their case; unknown ones are ignored."""
        if not sources:
            return self
        slots = self.arrays.slots.copy()
        for node in map(self._node_of, sources):
            if node is not None:
                slots[node, FIRST_RANGE:] = 0
        return replace(self, arrays=_frozen(self.arrays._replace(slots=slots)))

    def find_words(self, words: list[str]) -> NDArray[np.int64]:
        """The node of each folded word, -1 where it is unknown."""
        return np.array([self._step(word, -1) for word in words], np.int64)

    def count_translations(self, nodes: NDArray[np.int64], language: str) -> NDArray[np.int64]:
        """How many translations into a language each node has; 0 for node -1."""
        column = FIRST_RANGE + self.language_index(language)
        slots = self.arrays.slots
        counts = slots[nodes, column + 1].astype(np.int64) - slots[nodes, column]
        return np.where(nodes >= 0, counts, 0)

    def _step(self, word: str, parent: int) -> int:
        encoded = word.encode()
        return int(find_node(self.arrays, np.frombuffer(encoded + bytes(SLACK), np.uint8), len(encoded), parent))

    def _node_of(self, source: str) -> int | None:
        node = -1
        for word in fold(unicodedata.normalize("NFC", source)).split():
            node = self._step(word, node)
            if node < 0:
                return None
        return None if node < 0 else node


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
    words = _list_words(keys, ranked)
    languages = tuple(sorted(entries["target_language"].unique()))
    if len(languages) > MAX_LANGUAGES:
        raise InputError(f"a lexicon can have {MAX_LANGUAGES} target languages, got {len(languages)}")
    pool = _Pool()
    hashed, homes, longest = _hash_words(words, pool)
    nodes = _build_nodes(keys, words, homes, len(hashed))
    ranked = ranked.join(nodes.select("key", "node"), on="key").sort("node", "target_language", "order")
    targets, longest_target = _write_targets(ranked["target"], _bounds(ranked), pool)
    child_keys, child_values, child_shift = _hash_children(nodes)
    slots = _join_rows(hashed, nodes, _ranges(ranked, len(hashed) + nodes.height - len(words), languages))
    arrays = TableArrays(
        slots=slots, slot_shift=65 - len(hashed).bit_length(),
        child_keys=child_keys, child_values=child_values, child_shift=child_shift,
        targets=targets, pool=pool.array(), max_key_bytes=longest, max_target_bytes=longest_target,
    )  # fmt: skip
    return Table(source_language, languages, _frozen(arrays))


def _rank(entries: pl.DataFrame) -> tuple[pl.Series, pl.DataFrame]:
    """The distinct look-up keys, sorted, and the merged translations with their order within key and language."""
    words = fold_column(entries["source"]).str.strip_chars().str.replace_all(r"\s+", " ")
    merged = (
        entries.with_columns(key=words)
        .group_by("key", "target_language", "target")
        .agg(pl.col("weight").sort().sum(), pl.col("rank").min())
        .sort("key", "target_language", pl.col("weight") * -1.0, "rank", "target")
        .with_columns(order=pl.int_range(pl.len()).over("key", "target_language"))
    )
    return merged["key"].unique().sort(), merged


def _list_words(keys: pl.Series, ranked: pl.DataFrame) -> pl.Series:
    """The distinct words of all keys, those with many translations first.

    These tend to be the frequent ones, which so get the slots where the search for them begins.
    """
    words = pl.DataFrame({"key": keys.str.split(" ").explode().unique()})
    words = words.join(ranked.group_by("key").len(), on="key", how="left")
    return words.sort("len", "key", descending=[True, False], nulls_last=True)["key"]


def _build_nodes(keys: pl.Series, words: pl.Series, homes: NDArray[np.int64], first_phrase: int) -> pl.DataFrame:
    """Number words by slot, then phrases and their beginnings; columns key, node, parent and word (null for words).

    A phrase's parent is the phrase without its last word.
    """
    split = keys.str.split(" ")
    levels = [pl.DataFrame({"key": words}).with_columns(parent_key=pl.lit(None, pl.String), last=pl.col("key"))]
    for length in range(2, max(split.list.len().to_list(), default=1) + 1):
        longer = split.filter(split.list.len() >= length)
        level = pl.DataFrame(
            {
                "key": longer.list.head(length).list.join(" "),
                "parent_key": longer.list.head(length - 1).list.join(" "),
                "last": longer.list.get(length - 1),
            }
        )
        levels.append(level.unique("key").sort("key"))
    nodes = pl.concat(levels)
    phrases = np.arange(first_phrase, first_phrase + nodes.height - len(words))
    nodes = nodes.with_columns(node=pl.Series(np.concatenate([homes, phrases])))
    number = nodes.select("key", "node")
    nodes = nodes.join(
        number.rename({"key": "parent_key", "node": "parent"}), on="parent_key", how="left", maintain_order="left"
    )
    nodes = nodes.join(number.rename({"key": "last", "node": "word"}), on="last", how="left", maintain_order="left")
    return nodes.select("key", "node", "parent", "word")


def _ranges(ranked: pl.DataFrame, num_nodes: int, languages: tuple[str, ...]) -> NDArray[np.uint32]:
    """(num_nodes, num_languages + 1): where each node's translations into each language begin."""
    index = ranked["target_language"].replace_strict(list(languages), range(len(languages)), return_dtype=pl.Int64)
    cell = ranked["node"].to_numpy() * len(languages) + index.to_numpy()
    ends = np.cumsum(np.bincount(cell, minlength=num_nodes * len(languages)))
    ranges = np.zeros((num_nodes, len(languages) + 1), np.uint32)
    ranges[:, 1:] = ends.reshape(num_nodes, len(languages))
    ranges[1:, 0] = ranges[:-1, -1]
    return ranges


def _bounds(ranked: pl.DataFrame) -> NDArray[np.uint32]:
    """Upper bounds of the draw among a word's translations into one language, by weight, out of 2**32."""
    groups = ["node", "target_language"]
    sums = pl.col("weight").cum_sum()
    share = ranked.select((sums / sums.last()).over(groups)).to_series()
    bounds: NDArray[np.float64] = np.rint(share.to_numpy() * _ONE)
    return np.minimum(bounds, _ONE - 1).astype(np.uint32)


class _Pool:
    """Strings one behind the other in one array."""

    def __init__(self) -> None:
        self._chunks: list[bytes] = []
        self._size = 0

    def place(self, texts: pl.Series) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Offsets and lengths of the texts' UTF-8; equal ones of a call are stored once."""
        unique = texts.unique(maintain_order=True)
        lengths = unique.str.len_bytes().cast(pl.Int64)
        offsets = self._size + lengths.cum_sum() - lengths
        self._chunks.append("".join(unique.to_list()).encode())
        self._size += len(self._chunks[-1])
        if self._size >= _ONE:
            raise InputError("a lexicon's translations into all languages can have 4 GiB together; build several")
        stored = pl.DataFrame({"text": unique, "offset": offsets, "length": lengths})
        places = pl.DataFrame({"text": texts}).join(stored, on="text", how="left", maintain_order="left")
        return places["offset"].to_numpy(), places["length"].to_numpy()

    def array(self) -> NDArray[np.uint8]:
        return np.frombuffer(b"".join(self._chunks) + bytes(SLACK), np.uint8)


def _write_targets(texts: pl.Series, bounds: NDArray[np.uint32], pool: _Pool) -> tuple[NDArray[np.uint32], int]:
    """TableArrays.targets, of the four writings as listed, Title, UPPER and lower, and the longest one's bytes."""
    first = texts.str.slice(0, 1)
    titles = {c: c.title() for c in first.unique().to_list()}
    title = first.replace_strict(titles, return_dtype=pl.String) + texts.str.slice(1)
    writings = [texts, title, texts.str.to_uppercase(), texts.str.to_lowercase()]
    offsets, lengths = pool.place(pl.concat([w.alias("text") for w in writings]))
    lengths, longest = lengths.reshape(4, -1), int(lengths.max(initial=0))
    if longest > _MOST_TARGET_BYTES:
        text = texts[int(lengths.max(axis=0).argmax())]
        raise InputError(f"a translation can have {_MOST_TARGET_BYTES} bytes, got {longest}: {text[:50]}...")
    targets = np.zeros((len(texts), 8), np.uint32)
    targets[:, :4] = offsets.reshape(4, -1).T
    targets[:, 4] = lengths[0] | lengths[1] << 16
    targets[:, 5] = lengths[2] | lengths[3] << 16
    targets[:, BOUND] = bounds
    return targets, longest


def _capacity_bits(count: int) -> int:
    """log2 of a hash table's size that leaves at least half of it free."""
    return max(int(np.ceil(np.log2(max(count, 1) * 2))), 3)


def _hash_children(nodes: pl.DataFrame) -> tuple[NDArray[np.uint64], NDArray[np.uint32], int]:
    phrases = nodes.filter(pl.col("parent").is_not_null())
    keys = (phrases["parent"].to_numpy().astype(np.uint64) << np.uint64(32)) | phrases["word"].to_numpy().astype(
        np.uint64
    )
    inner = np.isin(phrases["node"].to_numpy(), phrases["parent"].to_numpy())
    values = (phrases["node"].to_numpy().astype(np.uint32) << np.uint32(1)) | inner.astype(np.uint32)
    bits = _capacity_bits(len(keys))
    child_keys, child_values = np.full(1 << bits, EMPTY), np.zeros(1 << bits, np.uint32)
    _insert_children(keys, values, child_keys, child_values, 64 - bits)
    return child_keys, child_values, 64 - bits


@compiled
def _insert_children(keys: Any, values: Any, child_keys: Any, child_values: Any, shift: int) -> None:
    for k in range(len(keys)):
        at = np.int64(mix(keys[k]) >> np.uint64(shift))
        while child_keys[at] != EMPTY:
            at = (at + 1) & (len(child_keys) - 1)
        child_keys[at], child_values[at] = keys[k], values[k]


def _hash_words(words: pl.Series, pool: _Pool) -> tuple[NDArray[np.uint64], NDArray[np.int64], int]:
    """The hash table's slots (key, key, length and flags), the slot of each word, and the longest word's bytes."""
    lengths = words.str.len_bytes().cast(pl.Int64).to_numpy()
    is_long = lengths > INLINE_KEY_BYTES
    places = np.zeros(len(words), np.int64)
    places[is_long] = pool.place(words.filter(pl.Series(is_long)))[0]
    data = np.frombuffer("".join(words.to_list()).encode() + bytes(SLACK), np.uint8)
    bits = _capacity_bits(len(words))
    slots, homes = np.full((1 << bits, 3), EMPTY), np.empty(len(words), np.int64)
    _insert_words(data, np.cumsum(lengths) - lengths, lengths, places, slots, 64 - bits, homes)
    slots[homes, 2] |= words.str.contains(r"\p{Nd}").to_numpy().astype(np.uint64) * np.uint64(HAS_DIGIT)
    return slots, homes, int(lengths.max(initial=0))


@compiled
def _insert_words(data: Any, starts: Any, lengths: Any, places: Any, slots: Any, shift: int, homes: Any) -> None:
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
        at = np.int64(mix(first + second * GOLDEN + np.uint64(length)) >> np.uint64(shift))
        while slots[at, 2] != EMPTY:
            at = (at + 1) & (len(slots) - 1)
        slots[at, 0] = first
        slots[at, 1] = np.uint64(places[k]) if length > INLINE_KEY_BYTES else second
        slots[at, 2] = np.uint64(length) << np.uint64(32)
        homes[k] = at


def _join_rows(hashed: NDArray[np.uint64], nodes: pl.DataFrame, ranges: NDArray[np.uint32]) -> NDArray[np.uint32]:
    """TableArrays.slots, of rows that fill cache lines."""
    width = FIRST_RANGE + ranges.shape[1]
    slots = np.zeros((len(ranges), -(-width // 16) * 16), np.uint32)
    slots[: len(hashed), :FIRST_RANGE] = hashed.view(np.uint32)
    slots[nodes["parent"].drop_nulls().unique().to_numpy(), FLAGS] |= HAS_CHILDREN
    slots[:, FIRST_RANGE:width] = ranges
    return slots


def _frozen(arrays: TableArrays) -> TableArrays:
    """The same arrays, read-only and plain: Numba then compiles one kernel for built, mapped and shared ones."""
    plain: dict[str, Any] = {name: np.asarray(getattr(arrays, name)).view(np.ndarray) for name in _ARRAYS}
    for array in plain.values():
        array.flags.writeable = False
    return arrays._replace(**plain)


def write_table(table: Table, folder: str) -> list[str]:
    """Write a table's arrays and its description; returns the names of the files, relative to `folder`."""
    names = []
    stem = f"table-{table.source_language}"
    for name in _ARRAYS:
        with replace_file(join(folder, stem, f"{name}.npy")) as stream:
            np.save(stream, getattr(table.arrays, name))
        names.append(f"{stem}/{name}.npy")
    numbers = {n: int(getattr(table.arrays, n)) for n in _NUMBERS}
    with replace_file(join(folder, stem, "table.json")) as stream:
        stream.write(json.dumps({"format": _FORMAT, "languages": table.languages} | numbers).encode())
    return [*names, f"{stem}/table.json"]


def read_table(folder: str, source_language: str) -> Table:
    """Open a lexicon's compiled table; memory-mapped where the folder is local."""
    stem = join(folder, f"table-{source_language}")
    if not exists(join(stem, "table.json")):
        raise InputError(
            f"{folder}: no lexicon of source language {source_language} there; build one with csgen lexicon build"
        )
    with open_input(join(stem, "table.json")) as stream:
        description = json.load(stream)
    if description.get("format") != _FORMAT:
        raise InputError(f"{folder}: compiled by another version of csgen; build it again with csgen lexicon build")
    loaded: dict[str, Any] = {name: _read_array(join(stem, f"{name}.npy")) for name in _ARRAYS}
    numbers: dict[str, Any] = {n: description[n] for n in _NUMBERS}
    return Table(source_language, tuple(description["languages"]), _frozen(TableArrays(**loaded, **numbers)))


def _read_array(path: str) -> NDArray[np.generic]:
    if is_local(path):
        return np.load(path, mmap_mode="r", allow_pickle=False)  # type: ignore[no-any-return]
    with open_input(path) as stream:
        return np.load(io.BytesIO(stream.read()), allow_pickle=False)  # type: ignore[no-any-return]
