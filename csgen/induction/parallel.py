"""Parallel text as numbers: sentence pairs of texts, their words, and the vocabularies of both sides.

Knows nothing of word alignment. Words are aligned in their folded form; the form to write is kept beside it.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
from numpy.typing import NDArray

from csgen.errors import InputError
from csgen.induction.kernels import compiled
from csgen.induction.sentences import Sentences, pair_sentences
from csgen.lexicon.entries import fold_column
from csgen.segment import UNSPACED_LANGUAGES, segment_bounds
from csgen.switching.primitives import SLACK
from csgen.switching.tokens import word_bounds

MAX_TOKENS = 100  # of either side of a pair: the aligner's work grows with the product of both
MAX_RATIO = 3.0  # by how much a side may exceed what the other lets expect
ELIDING_LANGUAGES = frozenset({"ca", "co", "fr", "it", "oc", "wa"})  # l'interface is two words
CAPITAL_NOUNS_LANGUAGES = frozenset({"de", "lb"})

_RATIO_SLACK = 5  # tokens more than the ratio allows: short sentences vary
_BLOCK_BYTES = 64 << 20  # sentences tokenised at a time
_ELIDED_BYTES = 6  # the longest elided word: lorsqu', quell'; not aujourd'hui

Ids = NDArray[np.int32]
Offsets = NDArray[np.int64]


@dataclass(frozen=True)
class Side:
    """One language's side of sentence pairs: pair k consists of tokens[offsets[k]:offsets[k + 1]]."""

    language: str
    tokens: Ids  # numbers of words
    offsets: Offsets  # (pairs + 1,)
    words: pl.Series  # folded word by number, the most frequent first, ties by code points
    surfaces: pl.Series  # the form to write, by number: the most frequent one away from sentence starts
    frequencies: Offsets  # by number


@dataclass(frozen=True)
class Bitext:
    """Sentence pairs; `counts` tells how many texts and sentence pairs there were, and how many were left out."""

    source: Side
    target: Side
    counts: dict[str, int]

    def __len__(self) -> int:
        return len(self.source.offsets) - 1

    @classmethod
    def from_texts(cls, source: pl.Series, target: pl.Series, source_language: str, target_language: str) -> "Bitext":
        """Sentence pairs of texts that translate each other row by row (String columns without nulls).

        Pairs without a word on either side, with over MAX_TOKENS, of lengths too different, and repeated ones are left
        out and counted. The order is the texts'.
        """
        if len(source) != len(target):
            raise InputError(f"parallel texts must pair row by row, got {len(source):,} and {len(target):,} rows")
        split = Sentences.split(source, source_language), Sentences.split(target, target_language)
        pairs = pair_sentences(*split)
        languages = source_language, target_language
        tokens = [_tokenise(side.sentences, language) for side, language in zip(split, languages, strict=True)]
        spans = np.concatenate([tokens[0].offsets[pairs[:, :2]], tokens[1].offsets[pairs[:, 2:]]], axis=1)
        kept, left_out = _filter(spans, tokens[0].folded, tokens[1].folded)
        counts = {"texts": len(source), "sentence pairs": len(spans)} | left_out
        sides = [
            _side(side, kept[:, k : k + 2], language)
            for side, k, language in zip(tokens, (0, 2), languages, strict=True)
        ]
        return cls(sides[0], sides[1], counts)


@dataclass(frozen=True)
class _Tokens:
    surface: Ids  # number in `surfaces` of each token
    folded: Ids  # number in `words`
    offsets: Offsets  # of sentences
    surfaces: pl.Series
    words: pl.Series
    word_of_surface: Ids


def _tokenise(sentences: pl.Series, language: str) -> _Tokens:
    """Words of sentences; equal ones have one number, in no particular order."""
    blocks, sizes = [], [np.zeros(1, np.int64)]
    for block in _blocks(sentences):
        tokens, counts = _read_block(block, language)
        blocks.append(tokens.dictionary_encode())
        sizes.append(counts)
    encoded = pa.chunked_array(blocks, pa.dictionary(pa.int32(), pa.large_string())).unify_dictionaries()
    surfaces = pl.Series(encoded.chunk(0).dictionary if encoded.num_chunks else [], dtype=pl.String)
    numbers = [chunk.indices.to_numpy(zero_copy_only=False) for chunk in encoded.chunks]
    surface = np.concatenate([np.zeros(0, np.int32), *numbers]).astype(np.int32)
    keys = fold_column(surfaces.str.normalize("NFC"))
    words = keys.unique(maintain_order=True)
    numbered = pl.DataFrame({"key": words}).with_row_index("number")
    word_of_surface = (
        pl.DataFrame({"key": keys}).join(numbered, on="key", maintain_order="left")["number"].cast(pl.Int32).to_numpy()
    )
    offsets = np.cumsum(np.concatenate(sizes))
    return _Tokens(surface, word_of_surface[surface], offsets, surfaces, words, word_of_surface)


def _blocks(sentences: pl.Series) -> Iterator[pa.LargeStringArray]:
    if sentences.is_empty():
        return
    block_of = sentences.str.len_bytes().cast(pl.Int64).cum_sum().to_numpy() // _BLOCK_BYTES
    starts = np.flatnonzero(np.diff(block_of, prepend=-1)).tolist()
    for start, end in zip(starts, [*starts[1:], len(sentences)], strict=True):
        yield sentences.slice(start, end - start).to_arrow().cast(pa.large_string())


def _read_block(block: pa.LargeStringArray, language: str) -> tuple[pa.LargeStringArray, Offsets]:
    """The words of a block of sentences one after another, and their number in each sentence."""
    _, offset_buffer, data_buffer = pa.concat_arrays([block]).buffers()
    offsets = np.frombuffer(offset_buffer, np.int64, len(block) + 1, block.offset * 8)
    text = np.frombuffer(data_buffer, np.uint8)[offsets[0] : offsets[-1]]
    data = np.concatenate([text, np.zeros(SLACK, np.uint8)])
    offsets = (offsets - offsets[0]).astype(np.int32)
    if language in UNSPACED_LANGUAGES:
        bounds, bound_offsets = segment_bounds(data, offsets, language)
    else:
        bounds = np.empty(int(offsets[-1]) + 2 * len(offsets) + 8, np.int32)
        bound_offsets = np.empty(len(offsets), np.int64)
        word_bounds(data, offsets, bounds, bound_offsets)
    counts = np.diff(bound_offsets) // 2
    pairs = bounds[: bound_offsets[-1]].reshape(-1, 2) + np.repeat(offsets[:-1], counts)[:, None]
    if language in ELIDING_LANGUAGES:
        pairs, counts = _split_elided(data, pairs, counts)
    lengths = pairs[:, 1] - pairs[:, 0]
    ends = np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths, dtype=np.int64)])
    joined = data[np.repeat(pairs[:, 0] - ends[:-1], lengths) + np.arange(ends[-1])]
    tokens = pa.LargeStringArray.from_buffers(len(pairs), pa.py_buffer(ends), pa.py_buffer(joined))
    return tokens, counts


def _split_elided(data: NDArray[np.uint8], pairs: Ids, counts: Offsets) -> tuple[Ids, Offsets]:
    room = np.empty((2 * len(pairs), 2), np.int32)
    new_counts = counts.copy()
    return room[: _split_at_apostrophes(data, pairs, counts, room, new_counts)], new_counts


@compiled
def _split_at_apostrophes(data: Any, pairs: Any, counts: Any, split: Any, new_counts: Any) -> int:
    """Cut words behind the apostrophe that ends an elided word; returns the number of words."""
    filled, t = 0, 0
    for sentence in range(len(counts)):
        for _ in range(counts[sentence]):
            start, end = pairs[t]
            for at in range(start + 1, min(start + 1 + _ELIDED_BYTES, end - 1)):
                typographic = data[at] == 0xE2 and data[at + 1] == 0x80 and data[at + 2] == 0x99
                if data[at] == 0x27 or typographic:
                    cut = at + (3 if typographic else 1)
                    split[filled, 0], split[filled, 1] = start, cut
                    filled += 1
                    new_counts[sentence] += 1
                    start = cut
                    break
            split[filled, 0], split[filled, 1] = start, end
            filled += 1
            t += 1
    return filled


def _filter(spans: Offsets, source: Ids, target: Ids) -> tuple[Offsets, dict[str, int]]:
    """Token spans (source start, source end, target start, target end) worth aligning, and how many were left out."""
    lengths = np.stack([spans[:, 1] - spans[:, 0], spans[:, 3] - spans[:, 2]], axis=1)
    counts = {}
    empty = lengths.min(axis=1, initial=1 << 30) == 0
    long = lengths.max(axis=1, initial=0) > MAX_TOKENS
    fit = lengths[~empty & ~long]
    expected = lengths[:, 0] * (np.median(fit[:, 1] / fit[:, 0]) if len(fit) else 1.0)
    uneven = (lengths[:, 1] > MAX_RATIO * expected + _RATIO_SLACK) | (
        expected > MAX_RATIO * lengths[:, 1] + _RATIO_SLACK
    )
    counts["without words on one side"] = int(empty.sum())
    counts[f"with over {MAX_TOKENS} words"] = int((long & ~empty).sum())
    counts["of too different lengths"] = int((uneven & ~long & ~empty).sum())
    left = spans[~(empty | long | uneven)]
    hashes = np.stack([_hash_spans(source, left[:, :2]), _hash_spans(target, left[:, 2:])], axis=1)
    _, first = np.unique(hashes, axis=0, return_index=True)
    counts["repeated"] = len(left) - len(first)
    return left[np.sort(first)], counts


@compiled
def _hash_spans(tokens: Any, spans: Any) -> Any:
    hashes = np.empty(len(spans), np.uint64)
    for k in range(len(spans)):
        value = np.uint64(spans[k, 1] - spans[k, 0])
        for t in range(spans[k, 0], spans[k, 1]):
            value = (value ^ np.uint64(tokens[t])) * np.uint64(0x9E3779B97F4A7C15)
            value ^= value >> np.uint64(29)
        hashes[k] = value
    return hashes


def _side(tokens: _Tokens, spans: Offsets, language: str) -> Side:
    """The words of token spans, numbered by frequency."""
    lengths = spans[:, 1] - spans[:, 0]
    offsets = np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths)])
    at = np.repeat(spans[:, 0] - offsets[:-1], lengths) + np.arange(offsets[-1])
    folded, surface = tokens.folded[at], tokens.surface[at]
    frequencies = np.bincount(folded, minlength=len(tokens.words))
    order = (
        pl.DataFrame({"word": tokens.words, "count": frequencies})
        .with_row_index("number")
        .filter(pl.col("count") > 0)
        .sort("count", "word", descending=[True, False])
    )
    chosen = order["number"].to_numpy()
    number = np.full(len(tokens.words), -1, np.int32)
    number[chosen] = np.arange(len(chosen), dtype=np.int32)
    inner = np.ones(len(at), bool)
    inner[offsets[:-1][lengths > 0]] = False
    surfaces = _choose_surfaces(tokens, surface, inner, language).gather(chosen)
    return Side(language, number[folded], offsets, order["word"], surfaces, frequencies[chosen])


def _choose_surfaces(tokens: _Tokens, surface: Ids, inner: NDArray[np.bool_], language: str) -> pl.Series:
    """The form to write, by number of the word.

    It is the most frequent form away from sentence starts. A word seen at starts alone is written in lower case,
    except where nouns have a capital: most such words are nouns.
    """
    seen = pl.DataFrame(
        {
            "word": tokens.word_of_surface,
            "surface": tokens.surfaces,
            "inner": np.bincount(surface[inner], minlength=len(tokens.surfaces)),
            "all": np.bincount(surface, minlength=len(tokens.surfaces)),
        }
    )
    best = seen.sort("word", "inner", "all", "surface", descending=[False, True, True, True]).unique(
        "word", keep="first", maintain_order=True
    )
    if language not in CAPITAL_NOUNS_LANGUAGES:
        lowered = pl.when(pl.col("inner") > 0).then("surface").otherwise(tokens.words)
        best = best.with_columns(surface=lowered)
    return best.sort("word")["surface"]
