"""Linear layers in three precisions: as the model holds them (fp32, bf16, with gradients), or frozen for a CPU.

Frozen ones lay their weights out anew for oneDNN, or hold them as int8: weights per output channel, inputs per token,
so that a token's result does not depend on what else is in the batch. Knows no architecture.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional
from transformers.activations import ACT2FN

from csgen.errors import InputError
from indexing.models.kernels import COLUMN_MULTIPLE, finish_gelu, finish_product, quantise_rows

Precision = Literal["fp32", "bf16", "int8"]
PRECISIONS: tuple[Precision, ...] = get_args(Precision)
Linear = Callable[[Tensor], Tensor]  # (rows, in) to (rows, out)

_FUSED = {"": ("none", "none"), "gelu": ("gelu", "none"), "gelu_new": ("gelu", "tanh"), "relu": ("relu", "none")}
_ROWS_HINT = 512  # oneDNN chooses the layout of weights for about that many rows


@dataclass(frozen=True)
class Rows:
    """Some of the output channels of a linear layer."""

    layer: nn.Linear
    first: int = 0
    last: int | None = None

    @property
    def weight(self) -> Tensor:
        return self.layer.weight[self.first : self.last]

    @property
    def bias(self) -> Tensor | None:
        return None if self.layer.bias is None else self.layer.bias[self.first : self.last]


# Makes one layer of several that see the same input: their outputs side by side, through an activation ("": none).
MakeLinear = Callable[[Sequence[Rows], str], Linear]


def choose_linear(precision: str, device: torch.device | str) -> MakeLinear:
    """How to make the linear layers of a frozen model; an InputError where the device cannot."""
    if precision not in PRECISIONS:
        raise InputError(f"precision must be one of {', '.join(PRECISIONS)}, got {precision!r}")
    if torch.device(device).type != "cpu":
        if precision == "int8":
            raise InputError(f"precision int8 is for a CPU, got the device {device}; take bf16 there")
        return make_joined
    if precision == "int8":
        return make_int8
    return make_reordered if torch._C._has_mkldnn else make_joined


def make_live(parts: Sequence[Rows], activation: str) -> Linear:
    """The model's own parameters, read at each call: they train, and may change."""
    act = ACT2FN[activation] if activation else None
    parts = _merge(parts)

    def apply(inputs: Tensor) -> Tensor:
        outputs = [_multiply(inputs, part.weight, part.bias) for part in parts]
        output = outputs[0] if len(outputs) == 1 else torch.cat(outputs, -1)
        return output if act is None else act(output)

    return apply


def _multiply(inputs: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """The linear layer with gradients; float32 on a CPU by oneDNN, see make_reordered."""
    single = inputs.dtype == weight.dtype == torch.float32 and inputs.device.type == "cpu"
    if single and torch._C._has_mkldnn and not torch.is_autocast_enabled("cpu"):
        product: Tensor = _Product.apply(inputs, weight, bias)  # type: ignore[no-untyped-call]
        return product
    return functional.linear(inputs, weight, bias)


class _Product(torch.autograd.Function):
    """A linear layer over rows whose three products go through oneDNN, 1.8 to 2.2 times as fast here as torch's."""

    @staticmethod
    def forward(context: Any, inputs: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        context.save_for_backward(inputs, weight)
        return _linear_pointwise(inputs, weight, bias)

    @staticmethod
    @once_differentiable
    def backward(context: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        inputs, weight = context.saved_tensors
        of_inputs, of_weight, of_bias = context.needs_input_grad
        return (
            _linear_pointwise(gradient, weight.t(), None) if of_inputs else None,
            _linear_pointwise(gradient.t(), inputs.t(), None) if of_weight else None,
            gradient.sum(0) if of_bias else None,
        )


def _linear_pointwise(
    inputs: Tensor, weight: Tensor, bias: Tensor | None, activation: str = "none", algorithm: str = "none"
) -> Tensor:
    """oneDNN's linear layer; torch has it for its compiler alone, which is why it stands behind this one call."""
    output: Tensor = torch.ops.mkldnn._linear_pointwise(inputs, weight, bias, activation, [], algorithm)
    return output


def make_joined(parts: Sequence[Rows], activation: str) -> Linear:
    """Frozen weights in their type, on their device."""
    weight, bias = _join(parts)
    act = ACT2FN[activation] if activation else None

    def apply(inputs: Tensor) -> Tensor:
        output = functional.linear(inputs, weight, bias)
        return output if act is None else act(output)

    return apply


def make_reordered(parts: Sequence[Rows], activation: str) -> Linear:
    """Weights in oneDNN's own layout, in their type (float32 or bfloat16).

    On AMD's processors torch's matrix product (MKL) keeps to half of the vectors' width: 111 GFLOP/s a core against
    254 here (EPYC 9005); where MKL uses them whole, both are alike.
    """
    weight, bias = _join(parts)
    reordered = torch.ops.mkldnn._reorder_linear_weight(weight, _ROWS_HINT)
    name, algorithm = _FUSED.get(activation, _FUSED[""])
    act = ACT2FN[activation] if activation not in _FUSED else None

    def apply(inputs: Tensor) -> Tensor:
        output = _linear_pointwise(inputs, reordered, bias, name, algorithm)
        return output if act is None else act(output)

    return apply


def make_int8(parts: Sequence[Rows], activation: str) -> Linear:
    """Products of int8 with sums of int32, exact; the largest absolute value of a channel and of a token become 127."""
    weight, bias = _join(parts)
    if len(weight) % COLUMN_MULTIPLE:
        return make_reordered(parts, activation)
    # Without VNNI pairs of products are summed in 16 bits, which 8 bits of weight overflow.
    limit = 127 if torch.cpu._is_vnni_supported() else 63
    scales = (weight.abs().amax(1) / limit).clamp_min(1e-12)
    quantised = (weight / scales[:, None]).round().to(torch.int8).t().contiguous()
    shift = torch.zeros(len(scales)) if bias is None else bias.float()
    finish = finish_gelu if activation == "gelu" else finish_product
    act = ACT2FN[activation] if activation not in ("", "gelu") else None

    def apply(inputs: Tensor) -> Tensor:
        rows, width = inputs.shape
        whole, factors = torch.empty(rows, width, dtype=torch.int8), torch.empty(rows)
        quantise_rows(inputs.numpy(), whole.numpy(), factors.numpy())
        output = torch._int_mm(whole, quantised).view(torch.float32)  # the sums turn into them in place
        finish(output.numpy(), factors.numpy(), scales.numpy(), shift.numpy())
        return output if act is None else act(output)

    return apply


def _merge(parts: Sequence[Rows]) -> list[Rows]:
    """Neighbouring rows of one layer as one part."""
    merged = [parts[0]]
    for part in parts[1:]:
        before = merged[-1]
        if part.layer is before.layer and part.first == before.last:
            merged[-1] = Rows(part.layer, before.first, part.last)
        else:
            merged.append(part)
    return merged


def _join(parts: Sequence[Rows]) -> tuple[Tensor, Tensor | None]:
    weight = torch.cat([part.weight.detach() for part in parts])
    biases = [part.bias.detach() for part in parts if part.bias is not None]
    return weight, torch.cat(biases) if biases else None
