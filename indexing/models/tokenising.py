"""Texts and pairs of texts to token ids laid end to end, cut to a model's limit; what was cut is counted.

Knows tokenizers; no model.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray

from csgen.errors import InputError
from indexing.models.batches import Batch, Rows
from indexing.models.checkpoint import Checkpoint


@dataclass(frozen=True)
class Tokens:
    """Sequence i is `ids[offsets[i]:offsets[i + 1]]`: ids int32, offsets int64; `types` int32, or None.

    `truncated` (sequences,) bool: which were longer than the limit.
    """

    ids: NDArray[np.int32]
    offsets: NDArray[np.int64]
    types: NDArray[np.int32] | None
    truncated: NDArray[np.bool_]

    @property
    def lengths(self) -> Rows:
        return np.diff(self.offsets)

    def take(self, rows: Rows, device: torch.device | str = "cpu") -> Batch:
        """Some of the sequences, in the order of `rows`, as tensors on a device."""
        lengths = self.lengths[rows]
        offsets = np.concatenate([[0], np.cumsum(lengths)])
        places = np.arange(offsets[-1]) + np.repeat(self.offsets[rows] - offsets[:-1], lengths)

        def tensor(values: NDArray[Any]) -> torch.Tensor:
            return torch.from_numpy(values.astype(np.int64)).to(device)

        types = None if self.types is None else tensor(self.types[places])
        return Batch(tensor(self.ids[places]), tensor(offsets), types)


@dataclass(frozen=True)
class Tokeniser:
    """A tokenizer of transformers with a limit: `max_length` tokens a text or pair, special tokens included.

    Pairs lose tokens from the longer text first, as in sentence-transformers. The limit is set in the tokenizer.
    """

    tokenizer: Any
    max_length: int

    @classmethod
    def of(cls, checkpoint: Checkpoint, max_length: int | None = None) -> Self:
        """A checkpoint's, with its limit or a lower one."""
        limit = checkpoint.max_length
        special = checkpoint.tokenizer.num_special_tokens_to_add(pair=True)
        if max_length is not None and not special < max_length <= limit:
            raise InputError.at(
                checkpoint.path, None, f"max_length must be in [{special + 1}, {limit}], got {max_length}"
            )  # fmt: skip
        return cls(checkpoint.tokenizer, limit if max_length is None else max_length)

    def encode_texts(self, texts: Sequence[str]) -> Tokens:
        return self._encode(list(texts), None)

    def encode_pairs(self, queries: Sequence[str], passages: Sequence[str]) -> Tokens:
        return self._encode(list(queries), list(passages))

    def _encode(self, texts: list[str], others: list[str] | None) -> Tokens:
        encode = _encode_fast if self.tokenizer.is_fast else _encode_slow
        ids, types, truncated = encode(self.tokenizer, self.max_length, texts, others)
        offsets = np.concatenate([[0], np.cumsum([len(row) for row in ids], dtype=np.int64)])
        typed = "token_type_ids" in self.tokenizer.model_input_names
        return Tokens(
            _flatten(ids, offsets), offsets, _flatten(types, offsets) if typed else None, np.array(truncated, np.bool_)
        )


_Encoded = tuple[list[list[int]], list[list[int]], list[bool]]


def _flatten(rows: list[list[int]], offsets: NDArray[np.int64]) -> NDArray[np.int32]:
    return np.fromiter(chain.from_iterable(rows), np.int32, int(offsets[-1]))


def _encode_fast(tokenizer: Any, max_length: int, texts: list[str], others: list[str] | None) -> _Encoded:
    backend = tokenizer.backend_tokenizer
    backend.no_padding()
    backend.enable_truncation(max_length, strategy="longest_first")
    inputs = texts if others is None else list(zip(texts, others, strict=True))
    encoded = backend.encode_batch_fast(inputs)  # without places in the text, which nobody asks for
    return [one.ids for one in encoded], [one.type_ids for one in encoded], [bool(one.overflowing) for one in encoded]


def _encode_slow(tokenizer: Any, max_length: int, texts: list[str], others: list[str] | None) -> _Encoded:
    if not texts:
        return [], [], []
    shared = {"return_token_type_ids": True, "verbose": False}
    whole = tokenizer(texts, others, **shared)
    cut = tokenizer(texts, others, truncation="longest_first", max_length=max_length, **shared)
    truncated = [len(row) > max_length for row in whole["input_ids"]]
    return cut["input_ids"], cut["token_type_ids"], truncated
