"""What stands on a transformer: a classifier's logits, or one vector a text; trainable, or frozen in a precision.

Each is a function of a batch of sequences. Knows checkpoints; neither texts nor what logits and vectors are for.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from indexing.models.batches import Batch
from indexing.models.checkpoint import Checkpoint, Pooling
from indexing.models.layers import AllTokens, FirstTokens
from indexing.models.packed import PackedTransformer, is_packable
from indexing.models.padded import PaddedTransformer, pad_batch, replace_linears
from indexing.models.precision import MakeLinear, choose_linear, make_live

Head = Callable[[Batch], Tensor]
MakeHead = Callable[[Checkpoint, MakeLinear], Head]


def make_classifier(checkpoint: Checkpoint, make: MakeLinear = make_live) -> Head:
    """Logits (sequences, labels), without padding where the architecture is known.

    By default of `checkpoint.model`'s own parameters, which it trains: see PackedTransformer.
    """
    model, pad_id = checkpoint.model, checkpoint.pad_id
    if not is_packable(model.base_model):
        return lambda batch: model(**pad_batch(batch, pad_id)).logits
    classifier, kind = model.classifier, model.config.model_type
    if kind == "modernbert":
        pool, head, drop = (
            _make_pooler(model.model, model.config.classifier_pooling, pad_id, make),
            model.head,
            model.drop,
        )
        return lambda batch: classifier(drop(head(pool(batch))))
    pool = _make_pooler(model.base_model, "cls", pad_id, make)
    if kind == "bert":
        pooler, drop = model.bert.pooler, model.dropout
        return lambda batch: classifier(drop(pooler(pool(batch)[:, None])))
    return lambda batch: classifier(pool(batch)[:, None])  # these heads take the first of a sequence's states


def make_embedder(checkpoint: Checkpoint, make: MakeLinear = make_live) -> Head:
    """Vectors (sequences, width) of unit length, float32, pooled as the checkpoint says; trains as make_classifier."""
    pool = _make_pooler(checkpoint.model, checkpoint.pooling, checkpoint.pad_id, make)
    return lambda batch: functional.normalize(pool(batch).float(), dim=-1)


def freeze(build: MakeHead, checkpoint: Checkpoint, precision: str, device: torch.device | str) -> Head:
    """What `build` makes, for inference alone, in a precision and on a device; takes the checkpoint's model over.

    A precision that the device cannot do is an InputError.
    """
    make, model = choose_linear(precision, device), checkpoint.model
    model.eval().requires_grad_(False)
    model.to(device=device, dtype=torch.bfloat16 if precision == "bf16" else torch.float32)
    if precision == "int8" and not is_packable(model.base_model):
        replace_linears(model, make)
    return build(checkpoint, make)


def _make_pooler(model: Any, pooling: Pooling, pad_id: int, make: MakeLinear) -> Head:
    """One vector a sequence: its first token's state ("cls") or the mean of all its tokens' states ("mean")."""
    if pooling == "cls" and is_packable(model):
        return PackedTransformer(model, FirstTokens, make)
    packed = is_packable(model)
    states: Head = PackedTransformer(model, AllTokens, make) if packed else PaddedTransformer(model, pad_id)
    if pooling == "cls":
        return lambda batch: states(batch)[batch.firsts]
    return lambda batch: _mean(states(batch), batch)


def _mean(states: Tensor, batch: Batch) -> Tensor:
    return (batch.sum_sequences(states) / batch.lengths[:, None]).to(states.dtype)
