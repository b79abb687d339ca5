"""Batches with a budget of tokens, and the form that a model takes them in: sequences laid end to end.

Knows lengths and ids; neither texts nor models.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Rows = NDArray[np.int64]


@dataclass(frozen=True)
class Batch:
    """Token sequences laid end to end, on any device.

    Sequence i is `ids[offsets[i]:offsets[i + 1]]`, one token or more; `ids` (tokens,) and `offsets` (sequences + 1,)
    int64. `types` (tokens,) int64 tells a pair's second text from its first for models that ask for it.
    """

    ids: Tensor
    offsets: Tensor
    types: Tensor | None = None

    @cached_property
    def lengths(self) -> Tensor:
        return self.offsets.diff()

    @cached_property
    def firsts(self) -> Tensor:
        """The place of each sequence's first token."""
        return self.offsets[:-1]

    @cached_property
    def longest(self) -> int:
        """The length of the longest sequence; on a GPU this waits for the device, once."""
        return int(self.lengths.max())

    @cached_property
    def sequences(self) -> Tensor:
        """The sequence of each token."""
        numbers = torch.arange(len(self.lengths), device=self.ids.device)
        return numbers.repeat_interleave(self.lengths, output_size=len(self.ids))

    @cached_property
    def positions(self) -> Tensor:
        """The place of each token in its sequence, from 0."""
        return torch.arange(len(self.ids), device=self.ids.device) - self.firsts[self.sequences]

    def sum_sequences(self, values: Tensor) -> Tensor:
        """The sum of each sequence's rows of `values` (tokens, ...), in float32 or what is wider."""
        wide = values.to(torch.promote_types(values.dtype, torch.float32))
        return wide.new_zeros(len(self.lengths), *values.shape[1:]).index_add(0, self.sequences, wide)


def fill_packed(lengths: Rows, max_tokens: int) -> list[Rows]:
    """Rows in batches of at most `max_tokens` tokens, the longest rows first; a longer row is a batch by itself.

    Every row stands in one batch; rows of the same length stay in order.
    """
    order = np.argsort(-lengths, kind="stable")
    ends = np.cumsum(lengths[order])
    batches, first = [], 0
    while first < len(order):
        before = ends[first - 1] if first else 0
        last = max(first + 1, int(np.searchsorted(ends, before + max_tokens, side="right")))
        batches.append(order[first:last])
        first = last
    return batches


def fill_padded(lengths: Rows, max_tokens: int) -> list[Rows]:
    """The same for batches padded to their longest row, where padding counts against `max_tokens`."""
    order = np.argsort(-lengths, kind="stable")
    batches, first = [], 0
    while first < len(order):
        last = first + max(1, max_tokens // max(1, int(lengths[order[first]])))
        batches.append(order[first:last])
        first = last
    return batches
