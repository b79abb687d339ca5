"""Losses: values worked out by hand, gradients against numerical ones, and what must hold of each."""

import math

import pytest
import torch
from torch.autograd import gradcheck

from cluster.training import losses

LOG = math.log


def tensor(values):
    return torch.tensor(values, dtype=torch.float64)


def rows(*shape, seed=0):
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def units(*shape, seed=0):
    return torch.nn.functional.normalize(rows(*shape, seed=seed), dim=-1)


def equals(value, expected):
    return value.item() == pytest.approx(expected, abs=1e-9)


def test_pointwise_is_the_mean_of_minus_log_of_the_labels_probability():
    # sigmoid(log 3) = 3/4: the first pair is right with 3/4, the second with 1/4.
    assert equals(losses.pointwise(tensor([LOG(3), LOG(3)]), torch.tensor([1, 0])), -(LOG(3 / 4) + LOG(1 / 4)) / 2)


def test_pointwise_stays_finite_on_logits_that_saturate():
    assert equals(losses.pointwise(tensor([1000.0, -1000.0]), torch.tensor([1, 0])), 0)
    assert equals(losses.pointwise(tensor([-1000.0]), torch.tensor([1])), 1000)


def test_listwise_is_minus_log_of_the_first_passages_share():
    # exp: 2, 1, 1 -> a half; 1, 1, 2 -> a quarter.
    scores = tensor([[LOG(2), 0, 0], [0, 0, LOG(2)]])
    assert equals(losses.listwise(scores), (LOG(2) + LOG(4)) / 2)


def test_listwise_divides_scores_by_the_temperature():
    assert equals(losses.listwise(tensor([[2 * LOG(3), 0]]), temperature=2), -LOG(3 / 4))


def test_in_batch_sets_a_query_against_the_passages_of_all_groups():
    queries = tensor([[1, 0], [0, 1]])
    passages = tensor([[[1, 0], [0, 1]], [[0, 1], [1, 0]]])  # each group: the query's own direction, then the other
    # Of four passages two stand with cosine 1 (the own positive, the other's negative) and two with cosine 0.
    temperature = 1 / LOG(3)
    assert equals(losses.in_batch(queries, passages, temperature), -LOG(3 / 8))


def test_in_batch_leaves_excluded_passages_out():
    queries = tensor([[1, 0], [0, 1]])
    passages = tensor([[[1, 0], [0, 1]], [[0, 1], [1, 0]]])
    excluded = torch.tensor([[False, False, False, True], [False, True, False, False]])
    assert equals(losses.in_batch(queries, passages, 1 / LOG(3), excluded), -LOG(3 / 5))


def test_distil_scores_is_the_divergence_of_two_softmaxes():
    student, teacher = tensor([[0.0, 0.0]]), tensor([[LOG(3), 0.0]])
    divergence = 3 / 4 * LOG((3 / 4) / (1 / 2)) + 1 / 4 * LOG((1 / 4) / (1 / 2))
    assert equals(losses.distil_scores(student, teacher), divergence)


def test_distil_scores_grows_with_the_temperatures_square():
    student, teacher = tensor([[0.0, 0.0]]), tensor([[2 * LOG(3), 0.0]])
    divergence = 3 / 4 * LOG((3 / 4) / (1 / 2)) + 1 / 4 * LOG((1 / 4) / (1 / 2))
    assert equals(losses.distil_scores(student, teacher, temperature=2), 4 * divergence)


def test_distil_scores_does_not_see_a_shift():
    scores = rows(3, 4)
    assert equals(losses.distil_scores(scores + 7, scores - 2), 0)


def test_margin_mse_compares_margins_and_not_scores():
    student, teacher = tensor([[2, 0, 1]]), tensor([[12, 9, 10]])  # margins 2, 1 and 3, 2
    assert equals(losses.margin_mse(student, teacher), 1)
    assert equals(losses.margin_mse(student, student + 5), 0)


def test_distil_embeddings_is_one_minus_the_cosine():
    assert equals(losses.distil_embeddings(tensor([[2, 0], [0, 3]]), tensor([[1, 0], [3, 0]])), (0 + 1) / 2)


def test_contrast_is_zero_information_where_all_rows_are_one():
    same = torch.ones(4, 3, dtype=torch.float64)
    assert equals(losses.contrast(same, same, 0.05), LOG(4))


def test_contrast_finds_partners_by_cosine_whatever_the_lengths():
    left, right = tensor([[5, 0], [0, 7]]), tensor([[1, 0], [0, 2]])
    assert equals(losses.contrast(left, right, 1 / LOG(3)), -LOG(3 / 4))


def test_align_sentences_is_the_same_from_either_side():
    left, right = units(5, 3, seed=1), units(5, 3, seed=2)
    assert equals(losses.align_sentences(left, right, 0.1), losses.align_sentences(right, left, 0.1).item())


def test_masked_language_asks_for_the_masked_tokens():
    logits = tensor([[LOG(2), 0, 0], [0, 0, LOG(2)]])
    assert equals(losses.masked_language(logits, torch.tensor([0, 0])), (LOG(2) + LOG(4)) / 2)


def test_align_scores_moves_the_twin_and_not_the_english_scores():
    english, twin = rows(2, 3, seed=1).requires_grad_(), rows(2, 3, seed=2).requires_grad_()
    losses.align_scores(english, twin).backward()
    assert english.grad is None
    assert twin.grad.abs().sum() > 0


def test_align_scores_is_zero_for_equal_distributions_and_above_for_others():
    scores = rows(4, 5)
    assert equals(losses.align_scores(scores, scores + 1), 0)
    assert losses.align_scores(scores, scores * 2).item() > 0


def test_align_logits_is_the_divergence_of_two_coins():
    divergence = 3 / 4 * LOG((3 / 4) / (1 / 2)) + 1 / 4 * LOG((1 / 4) / (1 / 2))
    assert equals(losses.align_logits(tensor([LOG(3)]), tensor([0.0])), divergence)
    assert equals(losses.align_logits(tensor([LOG(3)]), tensor([LOG(3)])), 0)


def test_pool_words_takes_the_mean_of_a_words_tokens_and_passes_over_the_others():
    states = tensor([[1, 1], [3, 5], [9, 9], [4, 0]])
    pooled = losses.pool_words(states, torch.tensor([0, 0, -1, 2]), num_words=3)
    assert pooled.tolist() == [[2, 3], [0, 0], [4, 0]]


def test_noise_is_in_units_of_the_embeddings_size():
    torch.manual_seed(0)
    embeddings = 3 * torch.ones(2000, 8)
    drawn = losses.noise(embeddings, 0.1)
    assert drawn.std().item() == pytest.approx(0.3, rel=0.05)
    assert abs(drawn.mean().item()) < 0.01


def test_an_adversarial_step_has_length_epsilon_over_each_sequence():
    gradients = tensor([[3, 0], [0, 4], [0, 0], [0.1, 0]])
    step = losses.adversarial_step(gradients, torch.tensor([0, 0, 1, 2]), num_sequences=3, epsilon=0.5)
    assert torch.allclose(step, tensor([[0.3, 0], [0, 0.4], [0, 0], [0.5, 0]]))


def test_an_adversarial_step_raises_the_loss_more_than_a_random_one_of_its_length():
    embeddings = rows(6, 4).requires_grad_()
    direction = rows(4, seed=3)
    loss = (embeddings @ direction).square().sum()
    loss.backward()
    step = losses.adversarial_step(embeddings.grad, torch.zeros(6, dtype=torch.long), 1, 0.1)
    random = 0.1 * torch.nn.functional.normalize(rows(24, seed=4), dim=0).reshape(6, 4)
    with torch.no_grad():
        moved, drawn = (((embeddings + by) @ direction).square().sum() for by in (step, random))
    assert step.norm().item() == pytest.approx(0.1)
    assert moved > loss
    assert moved > drawn


CASES = {
    "pointwise": lambda x: losses.pointwise(x.flatten(), torch.tensor([1, 0] * 6)),
    "listwise": lambda x: losses.listwise(x, 0.7),
    "in_batch": lambda x: losses.in_batch(x[:2], x.reshape(2, 2, 3), 0.5),
    "distil_scores": lambda x: losses.distil_scores(x, rows(4, 3, seed=5), 2.0),
    "margin_mse": lambda x: losses.margin_mse(x, rows(4, 3, seed=5)),
    "distil_embeddings": lambda x: losses.distil_embeddings(x, rows(4, 3, seed=5)),
    "masked_language": lambda x: losses.masked_language(x, torch.tensor([0, 2, 1, 0])),
    "align_scores": lambda x: losses.align_scores(rows(4, 3, seed=5), x),
    "align_logits": lambda x: losses.align_logits(rows(12, seed=5), x.flatten()),
    "align_twins": lambda x: losses.align_twins(x, rows(4, 3, seed=5), 0.2),
    "align_twins, the other side": lambda x: losses.align_twins(rows(4, 3, seed=5), x, 0.2),
    "align_sentences": lambda x: losses.align_sentences(x[:2], x[2:], 0.2),
    "align_words": lambda x: losses.align_words(losses.pool_words(x, torch.tensor([0, 0, 1, -1]), 2), x[2:], 0.2),
}


@pytest.mark.parametrize("name", CASES)
def test_gradients_equal_numerical_ones(name):
    assert gradcheck(CASES[name], rows(4, 3, seed=9).requires_grad_())
