"""What training lowers: pure functions of tensors, each a mean over rows, all differentiable.

A group is a query's passages, the positive first. Knows no model, no batch and no text.
"""

import torch
from torch import Tensor
from torch.nn.functional import (
    binary_cross_entropy_with_logits,
    cosine_similarity,
    cross_entropy,
    kl_div,
    log_softmax,
    mse_loss,
    normalize,
)


def pointwise(logits: Tensor, labels: Tensor) -> Tensor:
    """Binary cross-entropy of each pair: the paper's loss (arXiv 2305.05295). Both (num_pairs,), labels in [0, 1]."""
    return binary_cross_entropy_with_logits(logits, labels.to(logits.dtype))


def listwise(scores: Tensor, temperature: float = 1.0) -> Tensor:
    """Softmax cross-entropy of the first passage of each group (arXiv 2101.08751's localised contrastive estimation).

    scores: (num_groups, width), the positive in column 0.
    """
    return cross_entropy(scores / temperature, scores.new_zeros(len(scores), dtype=torch.long))


def in_batch(queries: Tensor, passages: Tensor, temperature: float, excluded: Tensor | None = None) -> Tensor:
    """InfoNCE over the batch (arXiv 2004.04906): each query against its own group and every other group's passages.

    queries: (num_groups, dim); passages: (num_groups, width, dim), the positive first; both of unit length, so that
    scores are cosines. `excluded`: (num_groups, num_groups * width) bool, passages that are no negatives of a query,
    such as its own positive met a second time; never the positive itself.
    """
    scores = queries @ passages.flatten(0, 1).T / temperature
    if excluded is not None:
        scores = scores.masked_fill(excluded, float("-inf"))
    positives = torch.arange(len(queries), device=queries.device) * passages.shape[1]
    return cross_entropy(scores, positives)


def distil_scores(scores: Tensor, teacher: Tensor, temperature: float = 1.0) -> Tensor:
    """KL(teacher || student) of the groups' softmaxes, times temperature squared (arXiv 1503.02531, section 2).

    Both (num_groups, width); a temperature above 1 evens both distributions out.
    """
    student = log_softmax(scores / temperature, dim=-1)
    target = log_softmax(teacher.to(scores.dtype) / temperature, dim=-1)
    return kl_div(student, target, reduction="batchmean", log_target=True) * temperature**2


def margin_mse(scores: Tensor, teacher: Tensor) -> Tensor:
    """Squared error of the margins between the positive and each negative (arXiv 2010.02666).

    Both (num_groups, width), width at least 2.
    """
    teacher = teacher.to(scores.dtype)
    return mse_loss(scores[:, :1] - scores[:, 1:], teacher[:, :1] - teacher[:, 1:])


def distil_embeddings(student: Tensor, teacher: Tensor) -> Tensor:
    """1 - cosine of each text's two embeddings, both (num_texts, dim): a student pulled to where its teacher is.

    The cosine form of arXiv 2004.09813's squared error: with both of unit length the two differ by a factor alone.
    """
    return (1 - cosine_similarity(student, teacher.to(student.dtype), dim=-1)).mean()


def contrast(left: Tensor, right: Tensor, temperature: float) -> Tensor:
    """Cross-entropy of finding each left row's partner among all right rows, by cosine; both (num_rows, dim)."""
    scores = normalize(left, dim=-1) @ normalize(right.to(left.dtype), dim=-1).T / temperature
    return cross_entropy(scores, torch.arange(len(left), device=left.device))


def masked_language(logits: Tensor, token_ids: Tensor) -> Tensor:
    """Cross-entropy at masked places alone (arXiv 1810.04805): logits (num_masked, vocabulary), ids (num_masked,)."""
    return cross_entropy(logits, token_ids.long())


def align_scores(english: Tensor, twin: Tensor, temperature: float = 1.0) -> Tensor:
    """KL(English || twin) between the softmaxes over one group's passages, in English and switched: LaKDA's form.

    Both (num_groups, width). KL and not squared error, which collapses some models there. The English scores are the
    teacher and take no gradient: they have the relevance loss to follow.
    """
    return distil_scores(twin, english.detach(), temperature)


def align_logits(english: Tensor, twin: Tensor) -> Tensor:
    """The same for pairs without a group: KL between two Bernoulli distributions, (num_pairs,) logits each.

    It is the cross-entropy of the twin against the English probability, less that probability's own entropy.
    """
    target = english.detach().sigmoid()
    entropy = binary_cross_entropy_with_logits(english.detach(), target)
    return binary_cross_entropy_with_logits(twin, target) - entropy


def align_twins(queries: Tensor, twins: Tensor, temperature: float) -> Tensor:
    """Contrast of English queries with their switched twins, the batch's other twins as negatives: ContrastiveMix.

    Both (num_queries, dim). Do et al., NAACL 2024, add it with weight .1 to the relevance loss on English.
    """
    return contrast(queries, twins, temperature)


def align_sentences(left: Tensor, right: Tensor, temperature: float) -> Tensor:
    """Contrast of parallel sentences in both directions (arXiv 2007.01852 without its margin); both (num, dim)."""
    return (contrast(left, right, temperature) + contrast(right, left, temperature)) / 2


def pool_words(states: Tensor, words: Tensor, num_words: int) -> Tensor:
    """The mean of each word's token states: states (num_tokens, dim), words (num_tokens,) int64 -> (num_words, dim).

    A token whose word is -1 belongs to none; a word without tokens is a row of zeros.
    """
    inside = words >= 0
    chosen, states = words[inside], states[inside]
    sums = states.new_zeros(num_words, states.shape[1]).index_add(0, chosen, states)
    counts = states.new_zeros(num_words).index_add(0, chosen, states.new_ones(len(chosen)))
    return sums / counts.clamp(min=1)[:, None]


def align_words(english: Tensor, translated: Tensor, temperature: float) -> Tensor:
    """Contrast of words with their translations, in both directions (arXiv 2106.06381); both (num_words, dim).

    The negatives are the other words; a word that stands twice is a negative of itself, which costs little: words are
    in context.
    """
    return align_sentences(english, translated, temperature)


def noise(embeddings: Tensor, scale: float) -> Tensor:
    """Random smoothing of the input (arXiv 2104.08645): normal noise for (num_tokens, dim) embeddings.

    `scale` is in units of the embeddings' root mean square, so that one setting serves all models. Drawn from torch's
    generator of the embeddings' device.
    """
    size = embeddings.detach().square().mean().sqrt()
    return torch.randn_like(embeddings) * (scale * size)


def adversarial_step(gradients: Tensor, sequences: Tensor, num_sequences: int, epsilon: float) -> Tensor:
    """What moves each sequence's embeddings by `epsilon` up its loss: FGM (arXiv 1605.07725).

    gradients: (num_tokens, dim) of the loss by the embeddings; sequences: (num_tokens,) int64, each token's sequence.
    The length is over the whole sequence, as there; arXiv 2104.08645 bounds the same ball. No gradient: no move.
    """
    squares = gradients.square().sum(-1)
    lengths = squares.new_zeros(num_sequences).index_add(0, sequences, squares).sqrt()
    factors = torch.where(lengths > 0, epsilon / lengths.clamp(min=torch.finfo(lengths.dtype).tiny), 0.0)
    return gradients * factors[sequences][:, None]
