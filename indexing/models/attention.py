"""Attention within sequences that lie end to end: one question, answered by what suits the device and the training.

On a CPU the compiled kernel, or torch's own attention sequence by sequence where gradients are asked for; on a GPU
torch's variable-length kernel, or padded attention where that one lacks the type or dropout. Knows no layers.
"""

from typing import cast

import torch
from torch import Tensor
from torch.nn import functional
from torch.nn.attention.varlen import varlen_attn

from indexing.models.batches import Batch
from indexing.models.kernels import HEAD_MULTIPLE, LEAST_TOKENS, attend_sequences


def attend(qkv: Tensor, batch: Batch, window: int | None, dropout: float) -> Tensor:
    """Each sequence's tokens to themselves: `qkv` (tokens, 3, heads, head width) to (tokens, heads * head width).

    Scores are divided by the root of the head's width. Tokens more than `window` apart do not see each other (None:
    all do). `dropout` is the ratio of weights dropped.
    """
    if qkv.is_cuda:
        if qkv.dtype in (torch.bfloat16, torch.float16) and not dropout:
            return attend_varlen(qkv, batch, window)
        return attend_padded(qkv, batch, window, dropout)
    compiled = qkv.shape[-1] % HEAD_MULTIPLE == 0 and len(qkv) >= LEAST_TOKENS
    if compiled and not dropout and not (torch.is_grad_enabled() and qkv.requires_grad):
        return _attend_compiled(qkv, batch, window)
    return attend_each(qkv, batch, window, dropout)


def attend_first(query: Tensor, keys_values: Tensor, batch: Batch, window: int | None, dropout: float) -> Tensor:
    """Each sequence's first token to its whole sequence, on any device and with gradients.

    `query` (sequences, heads, head width), `keys_values` (tokens, 2, heads, head width); returns
    (sequences, heads * head width). Sums are taken in float32.
    """
    keys, values = keys_values.float().unbind(1)
    spread = query.float()[batch.sequences]
    scores = (spread * keys).sum(-1) * query.shape[-1] ** -0.5
    if window is not None:
        scores = scores.masked_fill((batch.positions > window)[:, None], -torch.inf)
    top = torch.segment_reduce(scores.detach(), "max", lengths=batch.lengths)
    weights = (scores - top[batch.sequences]).exp()
    weights = weights / batch.sum_sequences(weights)[batch.sequences]
    weights = functional.dropout(weights, dropout, training=dropout > 0)
    return batch.sum_sequences(weights[..., None] * values).flatten(1).to(query.dtype)


def attend_each(qkv: Tensor, batch: Batch, window: int | None, dropout: float) -> Tensor:
    """The same as attend, by torch's attention over one sequence after the other."""
    outputs = []
    for part in torch.split(qkv, batch.lengths.tolist()):
        query, key, value = part.transpose(0, 2).unbind(1)  # each (heads, length, head width)
        mask = None if window is None or len(part) <= window + 1 else _near(part.shape[0], window, qkv.device)
        mixed = functional.scaled_dot_product_attention(query[None], key[None], value[None], mask, dropout)
        outputs.append(mixed[0].transpose(0, 1).flatten(1))
    return torch.cat(outputs)


def attend_padded(qkv: Tensor, batch: Batch, window: int | None, dropout: float) -> Tensor:
    """The same as attend, by torch's attention over sequences padded to the longest."""
    padded = qkv.new_zeros(len(batch.lengths), batch.longest, *qkv.shape[1:])
    padded[batch.sequences, batch.positions] = qkv
    places = torch.arange(batch.longest, device=qkv.device)
    mask = (places < batch.lengths[:, None])[:, None, None, :]
    if window is not None:
        near = _near(batch.longest, window, qkv.device)
        mask = (mask & near) | (places == places[:, None])  # padding sees itself: nothing would make it NaN
    query, key, value = padded.permute(2, 0, 3, 1, 4)
    mixed = functional.scaled_dot_product_attention(query, key, value, mask, dropout)
    return mixed.transpose(1, 2)[batch.sequences, batch.positions].flatten(1)


def attend_varlen(qkv: Tensor, batch: Batch, window: int | None) -> Tensor:
    """The same as attend, by torch's flash attention: on a GPU, in bfloat16 or float16."""
    query, key, value = qkv.unbind(1)
    offsets, reach = batch.offsets.int(), -1 if window is None else window
    mixed = varlen_attn(
        query, key, value, offsets, offsets, batch.longest, batch.longest, window_size=(reach, reach)
    )  # fmt: skip
    return cast(Tensor, mixed).flatten(1)  # a tuple only where sums of exponentials are asked for


def _attend_compiled(qkv: Tensor, batch: Batch, window: int | None) -> Tensor:
    tokens, _, heads, head_width = qkv.shape
    mixed = torch.empty(tokens, heads * head_width)
    flat = qkv.detach().float().reshape(tokens, -1)
    reach = batch.longest if window is None else window
    attend_sequences(flat.numpy(), batch.offsets.numpy(), head_width, reach, mixed.numpy())
    return mixed.to(qkv.dtype)


def _near(length: int, window: int, device: torch.device) -> Tensor:
    places = torch.arange(length, device=device)
    return (places[:, None] - places).abs() <= window
