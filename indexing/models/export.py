"""Checkpoints as ONNX files for other runtimes: the padded model, with batch and length left open.

Here a packed model is faster (ONNX Runtime made 16 pairs a second where it made 36); the file is for places without
torch. Needs the package onnx.
"""

import warnings
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from csgen.errors import InputError
from indexing.models.batches import Batch
from indexing.models.checkpoint import Checkpoint, Kind
from indexing.models.padded import pad_batch

_OPSET = 17  # LayerNormalization as one operation; ONNX Runtime has it since 1.12


class _Exported(nn.Module):
    """Logits of a classifier, or an encoder's vectors of unit length, from padded arguments by position."""

    def __init__(self, checkpoint: Checkpoint, kind: Kind, names: list[str]) -> None:
        super().__init__()
        self.model = checkpoint.model
        self._kind, self._pooling, self._names = kind, checkpoint.pooling, names

    def forward(self, *inputs: Tensor) -> Tensor:
        named = dict(zip(self._names, inputs, strict=True))
        output: Any = self.model(**named)
        if self._kind == "classifier":
            logits: Tensor = output.logits
            return logits
        states = output.last_hidden_state
        mask = named["attention_mask"][..., None].to(states.dtype)
        pooled = states[:, 0] if self._pooling == "cls" else (states * mask).sum(1) / mask.sum(1)
        return functional.normalize(pooled, dim=-1)


def export_onnx(checkpoint: Checkpoint, kind: Kind, path: str) -> None:
    """Write a checkpoint, in float32, as an ONNX file.

    Inputs: input_ids, attention_mask and, where the tokenizer gives them, token_type_ids, each (batch, length) int64.
    Output: logits (batch, 1) of a classifier, vectors (batch, width) of unit length of an encoder.
    """
    if find_spec("onnx") is None:
        raise InputError("ONNX files need the package onnx: pip install 'csgen[onnx]'")
    types = torch.tensor([0, 0, 1, 0, 1]) if "token_type_ids" in checkpoint.tokenizer.model_input_names else None
    example = pad_batch(Batch(torch.tensor([0, 1, 2, 0, 1]), torch.tensor([0, 3, 5]), types), checkpoint.pad_id)
    names, output = list(example), "logits" if kind == "classifier" else "vectors"
    model = checkpoint.model
    attention = model.config._attn_implementation
    model.set_attn_implementation("eager")  # torch's fused attention is no operation of ONNX
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    try:
        with warnings.catch_warnings(), torch.inference_mode():
            warnings.simplefilter("ignore")  # of traced constants, and that this exporter is the older one
            torch.onnx.export(
                _Exported(checkpoint, kind, names).eval(), tuple(example.values()), path, input_names=names,
                output_names=[output], dynamo=False, opset_version=_OPSET,
                dynamic_axes={**{name: {0: "batch", 1: "length"} for name in names}, output: {0: "batch"}},
            )  # fmt: skip
    finally:
        model.set_attn_implementation(attention)
