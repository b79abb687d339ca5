"""Transformers over sequences laid end to end: linear layers over all tokens at once, attention within sequences.

No arithmetic is spent on padding. Knows the architectures of BERT, RoBERTa (XLM-R, CamemBERT) and ModernBERT.
"""

from collections.abc import Sequence
from typing import Any, Protocol

import torch
from torch import Tensor

from indexing.models.batches import Batch
from indexing.models.layers import AllTokens, BertLayer, FirstTokens, Layer, ModernBertLayer, Rotations
from indexing.models.precision import MakeLinear, make_live

_ROBERTA = ("roberta", "xlm-roberta", "camembert")
_BERT = ("bert", *_ROBERTA)


class Transformer(Protocol):
    """Hidden states of the last layer for sequences laid end to end."""

    def __call__(self, batch: Batch) -> Tensor:
        """(tokens, width), or (sequences, width) where only each sequence's first token was asked for."""
        ...


def is_packable(model: Any) -> bool:
    """Whether PackedTransformer knows this architecture; `model` is a transformer of transformers, without a head."""
    config = model.config
    if config.model_type == "modernbert":
        return True
    decodes = getattr(config, "is_decoder", False)
    return config.model_type in _BERT and not decodes and isinstance(config.hidden_act, str)


class PackedTransformer:
    """A transformer of transformers (BertModel, ModernBertModel, ...; no head) without padding.

    `attention` says for which tokens: AllTokens gives (tokens, width), FirstTokens (sequences, width), where the last
    layer runs for each sequence's first token alone. Both equal the model's last_hidden_state at these tokens, but for
    the order of sums.

    With `make_live` it runs on the model's own parameters, so it can be trained: gradients reach
    `model.parameters()`, optimisers may change them, and dropout follows `model.train()` and `model.eval()`:

        packed = PackedTransformer(model, FirstTokens)
        for batch in batches:                    # Batch(ids, offsets), on the model's device
            loss(packed(batch)).backward()

    With another maker the linear layers are frozen copies in their precision, for torch.inference_mode.
    """

    def __init__(self, model: Any, attention: type[AllTokens | FirstTokens], make: MakeLinear = make_live) -> None:
        modern = model.config.model_type == "modernbert"
        kind = ModernBertLayer if modern else BertLayer
        modules: Sequence[Any] = model.layers if modern else model.encoder.layer
        self._embedding: _Embedding = _RotaryEmbedding(model) if modern else _AbsoluteEmbedding(model)
        self._layers: list[Layer] = [kind(module, make, AllTokens) for module in modules[:-1]]
        self._layers.append(kind(modules[-1], make, attention))
        self._norm = model.final_norm if modern else torch.nn.Identity()

    def __call__(self, batch: Batch) -> Tensor:
        hidden, rotations = self._embedding.embed(batch)
        for layer in self._layers:
            hidden = layer(hidden, batch, rotations)
        normed: Tensor = self._norm(hidden)
        return normed


class _Embedding(Protocol):
    def embed(self, batch: Batch) -> tuple[Tensor, Rotations]: ...


class _AbsoluteEmbedding:
    """Sums of embeddings of the token, its type and its position."""

    def __init__(self, model: Any) -> None:
        self._module = model.embeddings
        self._padding = model.config.pad_token_id if model.config.model_type in _ROBERTA else None

    def embed(self, batch: Batch) -> tuple[Tensor, Rotations]:
        module = self._module
        types = torch.zeros_like(batch.ids) if batch.types is None else batch.types
        hidden = module.word_embeddings(batch.ids) + module.token_type_embeddings(types)
        hidden = hidden + module.position_embeddings(self._places(batch))
        return module.dropout(module.LayerNorm(hidden)), {}

    def _places(self, batch: Batch) -> Tensor:
        """RoBERTa counts from behind the padding's id and passes over tokens that a text spells as padding."""
        if self._padding is None:
            return batch.positions
        counted = (batch.ids != self._padding).long()
        upto = counted.cumsum(0)
        before = (upto - counted)[batch.firsts]
        places: Tensor = (upto - before[batch.sequences]) * counted + self._padding
        return places


class _RotaryEmbedding:
    """Embeddings of tokens alone; positions turn queries and keys, by the type of layer."""

    def __init__(self, model: Any) -> None:
        self._module, self._rotary = model.embeddings, model.rotary_emb
        self._kinds = sorted(set(model.config.layer_types))

    def embed(self, batch: Batch) -> tuple[Tensor, Rotations]:
        wide = torch.empty(0, device=batch.ids.device)  # asks for float32
        rotations = {}
        for kind in self._kinds:
            cosine, sine = self._rotary(wide, batch.positions[None], kind)
            rotations[kind] = (cosine[0], sine[0])
        return self._module(batch.ids), rotations
