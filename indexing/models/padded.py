"""Models of any architecture, run by transformers itself on padded batches; takes and gives what the packed ones do."""

from typing import Any

from torch import Tensor, nn

from indexing.models.batches import Batch
from indexing.models.precision import Linear, MakeLinear, Rows


class PaddedTransformer:
    """Hidden states of all tokens, (tokens, width), by the model's own forward, with its gradients and dropout."""

    def __init__(self, model: Any, pad_id: int) -> None:
        self._model, self._pad_id = model, pad_id

    def __call__(self, batch: Batch) -> Tensor:
        hidden: Tensor = self._model(**pad_batch(batch, self._pad_id)).last_hidden_state
        return hidden[batch.sequences, batch.positions]


def pad_batch(batch: Batch, pad_id: int) -> dict[str, Tensor]:
    """A batch as the arguments of a model of transformers, each (sequences, longest), padded at the end."""
    places = batch.sequences, batch.positions
    shape = len(batch.lengths), batch.longest
    padded = {"input_ids": batch.ids.new_full(shape, pad_id), "attention_mask": batch.ids.new_zeros(shape)}
    padded["input_ids"][places] = batch.ids
    padded["attention_mask"][places] = 1
    if batch.types is not None:
        padded["token_type_ids"] = batch.ids.new_zeros(shape)
        padded["token_type_ids"][places] = batch.types
    return padded


class _Replaced(nn.Module):
    """A frozen linear layer in the place of a model's own; takes inputs of any leading shape."""

    def __init__(self, linear: Linear) -> None:
        super().__init__()
        self._linear = linear

    def forward(self, inputs: Tensor) -> Tensor:
        output = self._linear(inputs.reshape(-1, inputs.shape[-1]).contiguous())
        return output.view(*inputs.shape[:-1], output.shape[-1])


def replace_linears(model: nn.Module, make: MakeLinear) -> None:
    """Put frozen layers in the places of all linear layers of a model, for inference alone."""
    for parent in list(model.modules()):
        for name, child in list(parent.named_children()):
            if type(child) is nn.Linear:
                setattr(parent, name, _Replaced(make([Rows(child)], "")))
