"""The packed transformer against transformers itself, one sequence at a time: states, gradients, dropout, attention."""

import pytest
import torch
from transformers import AutoModel

from indexing.models.attention import attend, attend_each, attend_first, attend_padded, attend_varlen
from indexing.models.batches import Batch
from indexing.models.layers import AllTokens, FirstTokens
from indexing.models.packed import PackedTransformer, is_packable

pytest_plugins = ["toy_models"]

PACKED = ("xlm-roberta", "roberta", "bert", "modernbert")
LENGTHS = [1, 2, 17, 64, 5, 33]  # 64 is the models' limit


def load(folder, **changes):
    return AutoModel.from_pretrained(folder, dtype=torch.float32, **changes).eval()


def draw_batch(model, lengths):
    """Any ids, the padding's among them, which RoBERTa passes over when it counts positions."""
    generator = torch.Generator().manual_seed(7)
    ids = torch.randint(0, model.config.vocab_size, (sum(lengths),), generator=generator)
    ids[3] = model.config.pad_token_id
    offsets = torch.tensor([0, *lengths]).cumsum(0)
    types = torch.randint(0, 2, ids.shape, generator=generator) if model.config.model_type == "bert" else None
    return Batch(ids, offsets, types)


def run_alone(model, batch):
    """The states by transformers, each sequence by itself."""
    states = []
    for first, last in zip(batch.offsets[:-1].tolist(), batch.offsets[1:].tolist(), strict=True):
        inputs = {"input_ids": batch.ids[None, first:last], "attention_mask": torch.ones(1, last - first)}
        if batch.types is not None:
            inputs["token_type_ids"] = batch.types[None, first:last]
        states.append(model(**inputs).last_hidden_state[0])
    return torch.cat(states)


@pytest.mark.parametrize("architecture", PACKED)
def test_states_equal_those_of_transformers(toys, architecture):
    model = load(toys.base(architecture))
    batch = draw_batch(model, LENGTHS)
    with torch.inference_mode():
        expected = run_alone(model, batch)
        torch.testing.assert_close(PackedTransformer(model, AllTokens)(batch), expected, atol=1e-4, rtol=0)


@pytest.mark.parametrize("architecture", PACKED)
def test_first_tokens_are_those_of_all_tokens(toys, architecture):
    model = load(toys.base(architecture))
    batch = draw_batch(model, LENGTHS)
    with torch.inference_mode():
        states = PackedTransformer(model, AllTokens)(batch)
        torch.testing.assert_close(
            PackedTransformer(model, FirstTokens)(batch), states[batch.firsts], atol=1e-4, rtol=0
        )


def test_heads_of_a_width_without_kernel_and_other_activations_give_the_same(toys):
    model = load(toys.base("bert", num_attention_heads=4, hidden_act="gelu_new"))
    batch = draw_batch(model, LENGTHS)
    with torch.inference_mode():
        torch.testing.assert_close(
            PackedTransformer(model, AllTokens)(batch), run_alone(model, batch), atol=1e-4, rtol=0
        )


def test_last_layer_with_a_window_hides_far_tokens_from_the_first(toys):
    model = load(toys.base("modernbert", num_hidden_layers=3))
    assert model.config.layer_types[-1] == "sliding_attention"
    batch = draw_batch(model, LENGTHS)
    with torch.inference_mode():
        expected = run_alone(model, batch)[batch.firsts]
        torch.testing.assert_close(PackedTransformer(model, FirstTokens)(batch), expected, atol=1e-4, rtol=0)


@pytest.mark.parametrize("attention", [AllTokens, FirstTokens])
@pytest.mark.parametrize("architecture", PACKED)
def test_gradients_reach_the_parameters_of_the_model(toys, architecture, attention):
    model = load(toys.base(architecture))
    batch = draw_batch(model, [9, 30, 1])

    def gradients(states):
        model.zero_grad()
        (states if attention is FirstTokens else states[batch.firsts]).square().sum().backward()
        return {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}

    expected = gradients(run_alone(model, batch) if attention is AllTokens else run_alone(model, batch)[batch.firsts])
    found = gradients(PackedTransformer(model, attention)(batch))
    assert found.keys() == expected.keys()
    for name, gradient in found.items():
        torch.testing.assert_close(gradient, expected[name], atol=1e-3, rtol=1e-3, msg=name)


@pytest.mark.parametrize("architecture", PACKED)
def test_dropout_follows_the_mode_of_the_model(toys, architecture):
    ratios = {"hidden_dropout_prob": 0.3, "attention_probs_dropout_prob": 0.3}
    modern = {"attention_dropout": 0.3, "mlp_dropout": 0.3, "embedding_dropout": 0.3}
    model = load(toys.base(architecture, **(modern if architecture == "modernbert" else ratios)))
    packed, batch = PackedTransformer(model, FirstTokens), draw_batch(model, LENGTHS)
    still = packed(batch)
    model.train()
    assert not torch.equal(packed(batch), packed(batch))
    model.eval()
    assert torch.equal(packed(batch), still)


def test_a_step_of_an_optimiser_changes_what_it_gives(toys):
    model = load(toys.base("xlm-roberta"))
    packed, batch = PackedTransformer(model, FirstTokens), draw_batch(model, [4, 6])
    optimiser = torch.optim.SGD(model.parameters(), 0.01)
    before = packed(batch).square().sum()
    before.backward()
    optimiser.step()
    assert packed(batch).square().sum() < before


def test_sequences_do_not_see_each_other(toys):
    model = load(toys.base("xlm-roberta"))
    packed, batch = PackedTransformer(model, AllTokens), draw_batch(model, [20, 20])
    other = Batch(torch.cat([batch.ids[:20], batch.ids[20:].flip(0)]), batch.offsets)
    with torch.inference_mode():
        assert torch.equal(packed(batch)[:20], packed(other)[:20])


def test_decoders_and_other_architectures_are_not_packed(toys):
    assert is_packable(load(toys.base("roberta")))
    assert not is_packable(load(toys.base("distilbert")))
    assert not is_packable(load(toys.base("roberta", is_decoder=True)))


def attend_plainly(qkv, batch, window):
    """Attention over all tokens with a mask of who may see whom."""
    places = torch.arange(len(qkv))
    allowed = (batch.sequences[:, None] == batch.sequences) & ((places[:, None] - places).abs() <= (window or len(qkv)))
    query, key, value = qkv.double().permute(1, 2, 0, 3)
    scores = (query @ key.transpose(1, 2) / qkv.shape[-1] ** 0.5).masked_fill(~allowed, -torch.inf)
    return (scores.softmax(-1) @ value).transpose(0, 1).flatten(1).float()


@pytest.mark.parametrize("window", [None, 1, 9, 40])
@pytest.mark.parametrize("head_width", [8, 16, 64])
def test_all_ways_of_attention_agree(head_width, window):
    lengths = [1, 7, 8, 31, 32, 33, 70, 2]
    batch = Batch(torch.zeros(sum(lengths), dtype=torch.int64), torch.tensor([0, *lengths]).cumsum(0))
    qkv = torch.randn(sum(lengths), 3, 2, head_width, generator=torch.Generator().manual_seed(1)) * 2
    expected = attend_plainly(qkv, batch, window)
    for way in (attend, attend_each, attend_padded):
        torch.testing.assert_close(way(qkv, batch, window, 0.0), expected, atol=2e-5, rtol=0)
    first = attend_first(qkv[batch.firsts, 0], qkv[:, 1:], batch, window, 0.0)
    torch.testing.assert_close(first, expected[batch.firsts], atol=2e-5, rtol=0)


def test_attention_holds_scores_of_any_size():
    batch = Batch(torch.zeros(40, dtype=torch.int64), torch.tensor([0, 40]))
    qkv = torch.randn(40, 3, 1, 16, generator=torch.Generator().manual_seed(1)) * 100
    torch.testing.assert_close(attend(qkv, batch, None, 0.0), attend_plainly(qkv, batch, None), atol=1e-3, rtol=0)


def test_padded_attention_with_a_window_has_finite_gradients():
    batch = Batch(torch.zeros(42, dtype=torch.int64), torch.tensor([0, 2, 42]))
    qkv = torch.randn(42, 3, 2, 8, requires_grad=True)
    attend_padded(qkv, batch, 4, 0.0).sum().backward()
    assert torch.isfinite(qkv.grad).all()


def test_attention_drops_weights_in_training():
    batch = Batch(torch.zeros(30, dtype=torch.int64), torch.tensor([0, 30]))
    qkv = torch.randn(30, 3, 2, 16)
    assert not torch.equal(attend(qkv, batch, None, 0.5), attend(qkv, batch, None, 0.5))


@pytest.mark.parametrize("window", [None, 4])
def test_attention_of_a_gpu_takes_these_shapes_and_gives_gradients(window):
    """Without a GPU: on tensors that have shapes alone."""
    batch = Batch(torch.empty(10, dtype=torch.int64, device="meta"), torch.empty(3, dtype=torch.int64, device="meta"))
    batch.__dict__["longest"] = 6  # which there is no value to tell
    qkv = torch.empty(10, 3, 2, 16, dtype=torch.bfloat16, device="meta", requires_grad=True)
    mixed = attend_varlen(qkv, batch, window)
    mixed.sum().backward()
    assert (mixed.shape, mixed.dtype, qkv.grad.shape) == ((10, 32), torch.bfloat16, qkv.shape)
