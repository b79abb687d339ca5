"""What training asks of a model: scores, embeddings or predictions from sequences laid end to end, with gradients.

Checkpoints of Hugging Face run here on their own parameters, without padding where their architecture is known. Knows
no losses.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from csgen.errors import InputError
from indexing.models import heads
from indexing.models.batches import Batch as Tokens
from indexing.models.checkpoint import Checkpoint
from indexing.models.layers import AllTokens
from indexing.models.packed import PackedTransformer, Transformer, is_packable
from indexing.models.padded import PaddedTransformer


class Scorer(Protocol):
    """A reranker's model."""

    @property
    def module(self) -> nn.Module: ...

    def score(self, tokens: Tokens) -> Tensor:
        """(num_sequences,) logits."""
        ...


class Embedder(Protocol):
    """An encoder's model."""

    @property
    def module(self) -> nn.Module: ...

    def embed(self, tokens: Tokens) -> tuple[Tensor, Tensor | None]:
        """Embeddings (num_sequences, dim) of unit length, and the tokens' states (num_tokens, dim) if it gives any."""
        ...


class Predictor(Protocol):
    """A masked language model."""

    @property
    def module(self) -> nn.Module: ...

    def predict(self, tokens: Tokens, places: Tensor) -> tuple[Tensor, Tensor]:
        """Logits (num_places, vocabulary) at places among the tokens, and the tokens' states (num_tokens, dim)."""
        ...


@dataclass(frozen=True)
class CheckpointScorer:
    """A classifier's checkpoint; `logits` gives (num_sequences, 1)."""

    module: nn.Module
    logits: heads.Head

    def score(self, tokens: Tokens) -> Tensor:
        return self.logits(tokens)[:, 0]


@dataclass(frozen=True)
class CheckpointEmbedder:
    """An encoder's checkpoint, without states: where the embedding is the first token's, the others cost less."""

    module: nn.Module
    vectors: heads.Head

    def embed(self, tokens: Tokens) -> tuple[Tensor, None]:
        return self.vectors(tokens), None


@dataclass(frozen=True)
class WordEmbedder:
    """An encoder's checkpoint that gives the tokens' states too, as the alignment of words needs them."""

    module: nn.Module
    states: Transformer
    pooling: str

    def embed(self, tokens: Tokens) -> tuple[Tensor, Tensor]:
        states = self.states(tokens)
        if self.pooling == "cls":
            return normalize(states[tokens.firsts], dim=-1), states
        return normalize(tokens.sum_sequences(states) / tokens.lengths[:, None], dim=-1), states


@dataclass(frozen=True)
class CheckpointPredictor:
    """A transformer, and a head that makes logits of states and sees the masked tokens alone."""

    module: nn.Module
    states: Transformer
    head: Callable[[Tensor], Tensor]

    def predict(self, tokens: Tokens, places: Tensor) -> tuple[Tensor, Tensor]:
        states = self.states(tokens)
        return self.head(states[places]), states


def make_scorer(checkpoint: Checkpoint) -> CheckpointScorer:
    """The scorer of a classifier that `indexing.models.checkpoint.start_checkpoint` gave; trains its parameters."""
    return CheckpointScorer(checkpoint.model, heads.make_classifier(checkpoint))


def make_embedder(checkpoint: Checkpoint) -> CheckpointEmbedder:
    """The embedder of an encoder, likewise."""
    return CheckpointEmbedder(checkpoint.model, heads.make_embedder(checkpoint))


def make_word_embedder(checkpoint: Checkpoint) -> WordEmbedder:
    """The same with the tokens' states: for `EncoderConfig.align_words`."""
    model = checkpoint.model
    packable = is_packable(model)
    states: Transformer = (
        PackedTransformer(model, AllTokens) if packable else PaddedTransformer(model, checkpoint.pad_id)
    )
    return WordEmbedder(model, states, checkpoint.pooling)


def make_predictor(model: Any) -> CheckpointPredictor:
    """The predictor of a masked language model of transformers: BERT, RoBERTa or ModernBERT; InputError for others."""
    kind = model.config.model_type
    if not is_packable(model.base_model):
        raise InputError(f"{kind}: masked language modelling knows BERT, RoBERTa (XLM-R) and ModernBERT alone")
    states = PackedTransformer(model.base_model, AllTokens)
    if kind == "modernbert":
        return CheckpointPredictor(model, states, lambda hidden: model.decoder(model.head(hidden)))
    return CheckpointPredictor(model, states, model.cls if kind == "bert" else model.lm_head)


def move(tokens: Tokens, device: torch.device) -> Tokens:
    """The same sequences on a device."""
    ids, offsets = (part.to(device, non_blocking=True) for part in (tokens.ids, tokens.offsets))
    return Tokens(ids, offsets, None if tokens.types is None else tokens.types.to(device, non_blocking=True))
