"""Texts as flat token ids without padding, which tokens belong to which switched word, and masks over tokens.

Knows a fast tokenizer; no model and no pairs.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import chain
from typing import Any

import numpy as np
import pyarrow as pa
import torch
import xxhash
from numpy.typing import NDArray
from tokenizers import Tokenizer
from torch import Tensor

from csgen.errors import InputError
from csgen.sources.draws import Words as Hashes
from csgen.sources.draws import counter, mix
from csgen.switching.switcher import buffers_of
from indexing.models.batches import Batch as Tokens

Text = str | tuple[str, str]
Places = NDArray[np.int64]

TEXT_STRIDE = 1 << 32  # characters of all texts lie on one line, each text so far behind the last
NO_WORD = -1
_MASK, _KIND, _TOKEN = 1, 2, 3  # what a draw is for


@dataclass(frozen=True)
class Words:
    """The word of each token, (num_tokens,) int64 each: number k in `english` is translated by number k in `twins`."""

    english: Tensor
    twins: Tensor
    count: int

    def to(self, device: torch.device) -> "Words":
        return Words(self.english.to(device), self.twins.to(device), self.count)


@dataclass(frozen=True)
class Masked:
    """Places (num_masked,) int64 among the tokens that are to be told, and the ids that stood there."""

    places: Tensor
    token_ids: Tensor

    def to(self, device: torch.device) -> "Masked":
        return Masked(self.places.to(device), self.token_ids.to(device))


@dataclass(frozen=True)
class Encoded:
    """Tokens of some texts, and how many sequences were cut to the limit."""

    tokens: Tokens
    num_truncated: int
    encodings: Sequence[Any]


class Tokeniser:
    """A fast tokenizer that cuts to `max_tokens`, the longer text of a pair first; leaves the one given as it is."""

    def __init__(self, tokenizer: Any, max_tokens: int) -> None:
        """`tokenizer`: one of transformers' fast ones; another kind is an InputError."""
        if getattr(tokenizer, "backend_tokenizer", None) is None:
            raise InputError(f"{type(tokenizer).__name__}: training needs a fast tokenizer (tokenizer.json)")
        self._backend = Tokenizer.from_str(tokenizer.backend_tokenizer.to_str())
        self._backend.enable_truncation(max_tokens, strategy="longest_first")
        self._backend.no_padding()
        self._has_types = "token_type_ids" in tokenizer.model_input_names
        self.mask_id: int | None = tokenizer.mask_token_id
        self.pad_id: int = tokenizer.pad_token_id or 0
        self.vocabulary_size: int = len(tokenizer)
        self.identity: str = xxhash.xxh3_128_hexdigest(tokenizer.backend_tokenizer.to_str().encode())

    def encode(self, texts: Sequence[Text]) -> Encoded:
        """Tokens alone; quicker than `locate`."""
        return self._collect(self._backend.encode_batch_fast(list(texts)))

    def locate(self, texts: Sequence[Text]) -> Encoded:
        """Tokens whose encodings know their characters, for `find_words`."""
        return self._collect(self._backend.encode_batch(list(texts)))

    def _collect(self, encodings: Sequence[Any]) -> Encoded:
        ids = [encoding.ids for encoding in encodings]
        offsets = np.zeros(len(ids) + 1, np.int64)
        np.cumsum([len(part) for part in ids], out=offsets[1:])
        types = None
        if self._has_types:
            types = torch.from_numpy(_flat((encoding.type_ids for encoding in encodings), int(offsets[-1])))
        tokens = Tokens(torch.from_numpy(_flat(ids, int(offsets[-1]))), torch.from_numpy(offsets), types)
        return Encoded(tokens, sum(bool(encoding.overflowing) for encoding in encodings), encodings)


def _flat(parts: Any, count: int) -> Places:
    return np.fromiter(chain.from_iterable(parts), np.int64, count)


def token_starts(encodings: Sequence[Any]) -> Places:
    """Where each token starts on the line of all texts' characters, -1 for special and empty tokens.

    Encoding k holds text k, or of a pair texts 2k and 2k + 1.
    """
    count = sum(len(encoding) for encoding in encodings)
    starts = _flat(((start if end > start else -1 for start, end in e.offsets) for e in encodings), count)
    width = 2 if any(encoding.n_sequences > 1 for encoding in encodings) else 1
    sides = _flat((((-1 if side is None else side) for side in e.sequence_ids) for e in encodings), count)
    numbers = np.repeat(np.arange(len(encodings)), [len(encoding) for encoding in encodings])
    lines = (width * numbers + sides) * TEXT_STRIDE + starts
    return np.where((sides < 0) | (starts < 0), -1, lines)


@dataclass(frozen=True)
class Spans:
    """Switched words as characters [start, end) of a line of texts: before the switch and after, (num_words,) each."""

    english_starts: Places
    english_ends: Places
    twin_starts: Places
    twin_ends: Places


def line_up(switches: pa.Array, texts: pa.Array, english: Places, twins: Places) -> Spans:
    """The spans of switched texts in characters, from the switcher's in bytes.

    switches: csgen.schema.SWITCHES, one list a text; texts: the switched texts; english, twins: the number of each text
    on the line of texts, before and after.
    """
    rows = np.repeat(np.arange(len(texts)), switches.value_lengths().to_numpy())
    spans = switches.flatten()
    starts, ends = (spans.field(name).to_numpy().astype(np.int64) for name in ("start", "end"))
    characters, firsts = _count_characters(texts)
    starts, ends = (characters[firsts[rows] + place] - characters[firsts[rows]] for place in (starts, ends))
    sources = _string_lengths(spans.field("source"))
    # What a text's earlier switches added to its length: running sums that begin anew with each text.
    growth = np.cumsum((ends - starts) - sources) - ((ends - starts) - sources)
    begins = np.searchsorted(rows, np.arange(len(texts)))
    before = starts - (growth - np.append(growth, 0)[begins][rows])
    base, twin_base = english[rows] * TEXT_STRIDE, twins[rows] * TEXT_STRIDE
    return Spans(base + before, base + before + sources, twin_base + starts, twin_base + ends)


def join_spans(parts: Sequence[Spans]) -> Spans:
    """Several texts' spans in one, in the order of the line of texts before the switch."""
    columns = [
        np.concatenate([getattr(part, name) for part in parts])
        for name in ("english_starts", "english_ends", "twin_starts", "twin_ends")
    ]
    return Spans(*columns)


def find_words(starts: Places, spans: Spans) -> Words:
    """Which tokens make which switched word, from `token_starts` of all tokens.

    A token belongs to the word in which it starts; words of which the limit cut off either form are left out.
    """
    english = _words_of(starts, spans.english_starts, spans.english_ends)
    twins = _words_of(starts, spans.twin_starts, spans.twin_ends)
    num_words = len(spans.twin_starts)
    whole = np.zeros(num_words + 1, np.bool_)
    whole[np.intersect1d(english[english >= 0], twins[twins >= 0])] = True
    numbers = np.where(whole, np.cumsum(whole) - 1, NO_WORD)
    numbers[-1] = NO_WORD  # where NO_WORD itself looks
    return Words(torch.from_numpy(numbers[english]), torch.from_numpy(numbers[twins]), int(whole.sum()))


def _words_of(starts: Places, word_starts: Places, word_ends: Places) -> Places:
    if not len(word_starts):
        return np.full(len(starts), NO_WORD)
    order = np.argsort(word_starts, kind="stable")
    places = np.searchsorted(word_starts[order], starts, side="right") - 1
    words = order[places.clip(min=0)]
    found: Places = np.where((places >= 0) & (starts < word_ends[words]), words, NO_WORD)
    return found


def _count_characters(texts: pa.Array) -> tuple[Places, Places]:
    """Characters before each byte of the texts' data, and the byte at which each text begins."""
    data, offsets = buffers_of(texts)
    window = data[offsets[0] : offsets[-1]]
    counts = np.zeros(len(window) + 1, np.int64)
    np.cumsum((window & 0xC0) != 0x80, out=counts[1:])
    return counts, (offsets[:-1] - offsets[0]).astype(np.int64)


def _string_lengths(texts: pa.Array) -> Places:
    characters, firsts = _count_characters(texts)
    lengths: Places = np.diff(characters[np.append(firsts, len(characters) - 1)])
    return lengths


def mask_tokens(encoded: Encoded, keys: Hashes, ratio: float, tokeniser: Tokeniser) -> tuple[Tokens, Masked]:
    """Hide a share of the tokens: 80 % become the mask, 10 % any token, 10 % stay (arXiv 1810.04805).

    keys: (num_sequences,), a word for each sequence and epoch, of which the draws are hashes. Special tokens stay.
    """
    if tokeniser.mask_id is None:
        raise InputError("the tokenizer has no mask token: masked language modelling needs one")
    tokens = encoded.tokens
    offsets = tokens.offsets.numpy()
    lengths = np.diff(offsets)
    places = np.arange(offsets[-1]) - np.repeat(offsets[:-1], lengths)
    words = mix(np.repeat(keys, lengths) ^ mix(places.astype(np.uint64)))
    special = _flat((encoding.special_tokens_mask for encoding in encoded.encodings), len(words))
    chosen = (_uniform(words, _MASK) < ratio) & (special == 0)
    kinds = _uniform(words, _KIND)
    ids = tokens.ids.numpy().copy()
    ids[chosen & (kinds < 0.8)] = tokeniser.mask_id
    anything = chosen & (kinds >= 0.8) & (kinds < 0.9)
    ids[anything] = (_uniform(words, _TOKEN) * tokeniser.vocabulary_size).astype(np.int64)[anything]
    found = torch.from_numpy(np.flatnonzero(chosen))
    return replace(tokens, ids=torch.from_numpy(ids)), Masked(found, tokens.ids[found])


def _uniform(words: Hashes, purpose: int) -> NDArray[np.float64]:
    """A draw in [0, 1) for each word."""
    draws: NDArray[np.float64] = (mix(words + counter(purpose)) >> np.uint64(11)) / float(1 << 53)
    return draws
