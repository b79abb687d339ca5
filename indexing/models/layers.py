"""Layers of BERT, RoBERTa (XLM-R) and ModernBERT over sequences laid end to end, from the modules of transformers.

A layer is made for all tokens, or for the first of each sequence, where nothing behind it needs the others. Norms and
dropout are the checkpoint's own modules; linear layers come from whoever chose their precision.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor

from indexing.models.attention import attend, attend_first
from indexing.models.batches import Batch
from indexing.models.precision import MakeLinear, Rows

Rotation = tuple[Tensor, Tensor]  # cosine and sine of rotary positions, each (tokens, head width) float32
Rotations = Mapping[str, Rotation]  # by the type of layer; empty where positions are embedded


class Layer(Protocol):
    """One layer of a transformer: hidden states (tokens, width) to those of the tokens that it was made for."""

    def __call__(self, hidden: Tensor, batch: Batch, rotations: Rotations) -> Tensor: ...


class Attention(Protocol):
    """What tokens see of their sequence, before the output layer."""

    def select(self, hidden: Tensor, batch: Batch) -> Tensor:
        """The rows of the tokens that see."""
        ...

    def see(self, hidden: Tensor, batch: Batch, rotation: Rotation | None) -> Tensor: ...


class MakeAttention(Protocol):
    """Makes the attention of all tokens or of the first; `parts` give queries, keys and values, head by head."""

    def __call__(
        self, parts: Sequence[Rows], heads: int, window: int | None, dropout: Callable[[], float], make: MakeLinear
    ) -> Attention: ...


class AllTokens:
    """Attention of every token."""

    def __init__(
        self, parts: Sequence[Rows], heads: int, window: int | None, dropout: Callable[[], float], make: MakeLinear
    ) -> None:
        self._project = make(parts, "")
        self._heads, self._window, self._dropout = heads, window, dropout

    def select(self, hidden: Tensor, batch: Batch) -> Tensor:
        return hidden

    def see(self, hidden: Tensor, batch: Batch, rotation: Rotation | None) -> Tensor:
        qkv = self._project(hidden).view(len(hidden), 3, self._heads, -1)
        if rotation is not None:
            qkv = torch.cat([_rotate(qkv[:, :2], *rotation), qkv[:, 2:]], 1)
        return attend(qkv, batch, self._window, self._dropout())


class FirstTokens:
    """Attention of each sequence's first token."""

    def __init__(
        self, parts: Sequence[Rows], heads: int, window: int | None, dropout: Callable[[], float], make: MakeLinear
    ) -> None:
        self._query, self._key_value = make(parts[:1], ""), make(parts[1:], "")
        self._heads, self._window, self._dropout = heads, window, dropout

    def select(self, hidden: Tensor, batch: Batch) -> Tensor:
        return hidden[batch.firsts]

    def see(self, hidden: Tensor, batch: Batch, rotation: Rotation | None) -> Tensor:
        query = self._query(hidden[batch.firsts]).view(len(batch.firsts), 1, self._heads, -1)
        key_value = self._key_value(hidden).view(len(hidden), 2, self._heads, -1)
        if rotation is not None:
            query = _rotate(query, *(part[batch.firsts] for part in rotation))
            key_value = torch.cat([_rotate(key_value[:, :1], *rotation), key_value[:, 1:]], 1)
        return attend_first(query[:, 0], key_value, batch, self._window, self._dropout())


def _rotate(vectors: Tensor, cosine: Tensor, sine: Tensor) -> Tensor:
    """Vectors (tokens, any, heads, head width) turned by their positions."""
    wide = vectors.float()
    left, right = wide.chunk(2, -1)
    turned = wide * cosine[:, None, None] + torch.cat([-right, left], -1) * sine[:, None, None]
    return turned.to(vectors.dtype)


class BertLayer:
    """BERT's layer, which RoBERTa and XLM-R share: a norm behind each half, an activation between two linear layers."""

    def __init__(self, module: Any, make: MakeLinear, attention: MakeAttention) -> None:
        own, half, whole = module.attention.self, module.attention.output, module.output
        parts = [Rows(own.query), Rows(own.key), Rows(own.value)]
        dropout = own.dropout
        self._attention = attention(
            parts, own.num_attention_heads, None, lambda: dropout.p if dropout.training else 0.0, make
        )
        self._mix, self._half_dropout, self._half_norm = make([Rows(half.dense)], ""), half.dropout, half.LayerNorm
        self._up = make([Rows(module.intermediate.dense)], own.config.hidden_act)
        self._down, self._dropout, self._norm = make([Rows(whole.dense)], ""), whole.dropout, whole.LayerNorm

    def __call__(self, hidden: Tensor, batch: Batch, rotations: Rotations) -> Tensor:
        seen = self._attention.see(hidden, batch, None)
        hidden = self._half_norm(self._half_dropout(self._mix(seen)) + self._attention.select(hidden, batch))
        result: Tensor = self._norm(self._dropout(self._down(self._up(hidden))) + hidden)
        return result


class ModernBertLayer:
    """ModernBERT's layer: a norm before each half, rotary positions, GeGLU; some layers see a window alone."""

    def __init__(self, module: Any, make: MakeLinear, attention: MakeAttention) -> None:
        own, mlp, config = module.attn, module.mlp, module.config
        width, middle = config.hidden_size, config.intermediate_size
        parts = [Rows(own.Wqkv, k * width, (k + 1) * width) for k in range(3)]
        ratio, norm = own.attention_dropout, module.mlp_norm
        self._kind = module.attention_type
        window = config.sliding_window if self._kind == "sliding_attention" else None
        self._attention = attention(
            parts, config.num_attention_heads, window, lambda: ratio if norm.training else 0.0, make
        )
        self._mix, self._half_dropout, self._half_norm = make([Rows(own.Wo)], ""), own.out_drop, module.attn_norm
        self._up = make([Rows(mlp.Wi, 0, middle)], config.hidden_activation)
        self._gate, self._down = make([Rows(mlp.Wi, middle)], ""), make([Rows(mlp.Wo)], "")
        self._dropout, self._norm = mlp.drop, norm

    def __call__(self, hidden: Tensor, batch: Batch, rotations: Rotations) -> Tensor:
        seen = self._attention.see(self._half_norm(hidden), batch, rotations[self._kind])
        hidden = self._attention.select(hidden, batch) + self._half_dropout(self._mix(seen))
        normed = self._norm(hidden)
        return hidden + self._down(self._dropout(self._up(normed) * self._gate(normed)))
