"""Linear layers in fp32, bf16 and int8: equal to torch's, or near it, and the same for a row in any company."""

import pytest
import torch
from torch import nn
from torch.nn import functional
from transformers.activations import ACT2FN

from csgen.errors import InputError
from indexing.models.precision import PRECISIONS, Rows, choose_linear, make_int8, make_joined, make_live, make_reordered


@pytest.fixture
def layer():
    torch.manual_seed(3)
    return nn.Linear(48, 32)


@pytest.fixture
def inputs():
    return torch.randn(37, 48, generator=torch.Generator().manual_seed(4))


@pytest.mark.parametrize("activation", ["", "gelu", "relu", "gelu_new", "silu"])
@pytest.mark.parametrize("make", [make_live, make_joined, make_reordered])
def test_float_layers_equal_torchs(layer, inputs, make, activation):
    plain = functional.linear(inputs, layer.weight, layer.bias)
    expected = ACT2FN[activation](plain) if activation else plain
    with torch.inference_mode():
        torch.testing.assert_close(make([Rows(layer)], activation)(inputs), expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("activation", ["", "gelu", "relu"])
def test_int8_is_near(layer, inputs, activation):
    with torch.inference_mode():
        expected = make_live([Rows(layer)], activation)(inputs)
        assert (make_int8([Rows(layer)], activation)(inputs) - expected).abs().max() < 0.03


def test_an_int8_row_is_the_same_in_any_company(layer, inputs):
    frozen = make_int8([Rows(layer)], "gelu")
    with torch.inference_mode():
        inputs[20] *= 1000  # what a scale for all rows would bow to
        assert torch.equal(frozen(inputs)[3:5], frozen(inputs[3:5].clone()))


def test_int8_is_exact_where_values_are_whole(inputs):
    layer = nn.Linear(16, 16, bias=False)
    layer.weight.data = torch.eye(16) * 127
    rows = torch.arange(-64, 64).view(8, 16).float()
    rows[:, 0] = 127
    with torch.inference_mode():
        torch.testing.assert_close(make_int8([Rows(layer)], "")(rows), rows * 127, atol=1e-2, rtol=1e-6)


def test_rows_of_zeros_give_the_bias_in_int8(layer):
    with torch.inference_mode():
        assert torch.equal(make_int8([Rows(layer)], "")(torch.zeros(2, 48)), layer.bias.expand(2, -1))


@pytest.mark.parametrize("make", [make_live, make_joined, make_reordered, make_int8])
def test_parts_stand_side_by_side_and_rows_of_a_layer_are_cut(layer, inputs, make):
    other = nn.Linear(48, 16, bias=True)
    with torch.inference_mode():
        joined = make([Rows(layer, 16), Rows(other)], "")(inputs)
        expected = torch.cat([layer(inputs)[:, 16:], other(inputs)], 1)
        torch.testing.assert_close(joined, expected, atol=0.03, rtol=0)


def test_live_layers_follow_their_parameters_and_neighbours_are_one_product(layer, inputs):
    live = make_live([Rows(layer, 0, 16), Rows(layer, 16, 32)], "")
    layer.weight.data.mul_(2)
    assert torch.equal(live(inputs), layer(inputs))


@pytest.mark.parametrize("biased", [True, False])
def test_live_layers_have_torchs_gradients(inputs, biased):
    layer = nn.Linear(48, 32, bias=biased)

    def gradients(apply):
        layer.zero_grad()
        rows = inputs.clone().requires_grad_()
        apply(rows).square().sum().backward()
        return [rows.grad, *(parameter.grad.clone() for parameter in layer.parameters())]

    for found, expected in zip(gradients(make_live([Rows(layer)], "")), gradients(layer), strict=True):
        torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-5)


def test_live_layers_follow_autocast(layer, inputs):
    with torch.autocast("cpu", torch.bfloat16):
        assert make_live([Rows(layer)], "")(inputs).dtype == torch.bfloat16


def test_widths_that_int8_does_not_take_stay_float(inputs):
    layer = nn.Linear(48, 5)
    with torch.inference_mode():
        torch.testing.assert_close(make_int8([Rows(layer)], "")(inputs), layer(inputs), atol=1e-5, rtol=0)


def test_bf16_layers_keep_their_type(layer, inputs):
    with torch.inference_mode():
        expected = layer(inputs)
        output = choose_linear("bf16", "cpu")([Rows(layer.to(torch.bfloat16))], "")(inputs.to(torch.bfloat16))
    assert output.dtype == torch.bfloat16
    torch.testing.assert_close(output.float(), expected, atol=0.05, rtol=0)


def test_an_unknown_precision_names_those_there_are():
    with pytest.raises(InputError, match="precision must be one of fp32, bf16, int8, got 'fp8'"):
        choose_linear("fp8", "cpu")


def test_int8_is_refused_on_a_gpu():
    with pytest.raises(InputError, match="int8 is for a CPU, got the device cuda:0; take bf16"):
        choose_linear("int8", "cuda:0")
    assert all(choose_linear(precision, "cuda") is make_joined for precision in PRECISIONS if precision != "int8")
