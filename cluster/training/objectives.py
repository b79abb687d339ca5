"""What a kind of training lowers: its losses, their weights, and over which units each is a mean.

Knows models by their Protocols and chunks; nothing of optimisers and workers. Some terms are sums over examples and are
taken chunk by chunk; an encoder's contrasts need the embeddings of the whole batch.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

import torch
from torch import Tensor, nn

from cluster.training import losses
from cluster.training.batches import Batch, Chunk
from cluster.training.config import BaseConfig, EncoderConfig, RerankerConfig
from cluster.training.models import Embedder, Predictor, Scorer
from csgen.errors import InputError
from csgen.switching.policy import SIDES, Side

Outputs = dict[str, Tensor]


@dataclass(frozen=True)
class Term:
    """One loss: a mean over units, which `Chunk.counts` counts, and its weight in the whole."""

    value: Tensor
    weight: float
    unit: str


Terms = dict[str, Term]

_RELEVANCE = ("pointwise", "listwise", "contrastive", "distil", "margin")
TERMS = (  # all that there are, in the order in which they are shown
    *_RELEVANCE, *(f"twin_{name}" for name in _RELEVANCE),
    "align_scores", "align_twins", "align_sentences", "align_words", "teach", "teach_contrast", "masked",
)  # fmt: skip


class Objective(Protocol):
    """A model with its losses."""

    @property
    def module(self) -> nn.Module: ...

    @property
    def gathered(self) -> Mapping[str, str]:
        """Outputs that `batch_terms` needs of the whole batch, each with its unit; none: all terms are a chunk's."""
        ...

    def forward(self, chunk: Chunk) -> Outputs: ...

    def chunk_terms(self, outputs: Outputs, chunk: Chunk) -> Terms: ...

    def batch_terms(self, outputs: Outputs, batch: Batch) -> Terms:
        """`outputs`: the gathered ones, over all chunks in order."""
        ...


@dataclass(frozen=True)
class RerankerObjective:
    """Relevance by pair and by group, a teacher's scores, and consistency with switched twins."""

    model: Scorer
    config: RerankerConfig
    gathered: Mapping[str, str] = field(default_factory=dict)

    @property
    def module(self) -> nn.Module:
        return self.model.module

    def forward(self, chunk: Chunk) -> Outputs:
        """scores: (num_examples, width); twins: (num_twins, width)."""
        scores = _wide(self.model.score(chunk.tokens))
        own = chunk.labels.numel()
        return {"scores": scores[:own].view(-1, chunk.width), "twins": scores[own:].view(-1, chunk.width)}

    def chunk_terms(self, outputs: Outputs, chunk: Chunk) -> Terms:
        config = self.config
        scores, twins = outputs["scores"], outputs["twins"]
        terms = self._relevance(scores, chunk.labels, chunk.scores, ("examples", "pairs"), 1.0)
        if not len(twins):
            return terms
        labels, teacher = chunk.labels[chunk.twins], None if chunk.scores is None else chunk.scores[chunk.twins]
        of_twins = self._relevance(twins, labels, teacher, ("twins", "twin_pairs"), config.twin_relevance)
        terms |= {f"twin_{name}": term for name, term in of_twins.items()}
        if config.align_scores:
            english = scores[chunk.twins]
            if chunk.width == 1:
                value = losses.align_logits(english.flatten(), twins.flatten())
            else:
                value = losses.align_scores(english, twins, config.temperature)
            terms["align_scores"] = Term(value, config.align_scores, "twins")
        return terms

    def batch_terms(self, outputs: Outputs, batch: Batch) -> Terms:
        return {}

    def _relevance(
        self, scores: Tensor, labels: Tensor, teacher: Tensor | None, units: tuple[str, str], weight: float
    ) -> Terms:
        config = self.config
        terms: Terms = {}
        examples, pairs = units
        if config.pointwise * weight:
            value = losses.pointwise(scores.flatten(), (labels.flatten() > 0).float())
            terms["pointwise"] = Term(value, config.pointwise * weight, pairs)
        if config.listwise * weight:
            terms["listwise"] = Term(losses.listwise(scores), config.listwise * weight, examples)
        if config.distil * weight:
            value = losses.distil_scores(scores, _given(teacher), config.temperature)
            terms["distil"] = Term(value, config.distil * weight, examples)
        if config.margin * weight:
            terms["margin"] = Term(losses.margin_mse(scores, _given(teacher)), config.margin * weight, examples)
        return terms


@dataclass(frozen=True)
class EncoderObjective:
    """Contrast within the batch, a teacher's scores or embeddings, and alignment of twins, sentences and words.

    `twin_sides`: the sides that the policy switches; the other's twins are its originals.
    """

    model: Embedder
    config: EncoderConfig
    twin_sides: tuple[Side, ...] = SIDES

    @property
    def module(self) -> nn.Module:
        return self.model.module

    @property
    def gathered(self) -> Mapping[str, str]:
        units = {"query": "examples", "passage": "pairs"}
        units |= {f"twin_{side}": {"query": "twins", "passage": "twin_pairs"}[side] for side in self.twin_sides}
        if self.config.teach or self.config.teach_contrast:
            units |= {"teacher_query": "examples", "teacher_passage": "pairs"}
        return units

    def forward(self, chunk: Chunk) -> Outputs:
        vectors, states = self.model.embed(chunk.tokens)
        counts = chunk.counts
        present = {name: counts[unit] for name, unit in self.gathered.items() if not name.startswith("teacher")}
        outputs = dict(zip(present, _wide(vectors).split_with_sizes(list(present.values())), strict=True))
        if chunk.teacher is not None:
            parts = chunk.teacher.split_with_sizes([counts["examples"], counts["pairs"]])
            outputs |= {"teacher_query": parts[0], "teacher_passage": parts[1]}
            _refuse_other_size(vectors, chunk.teacher)
        if self.config.align_words and chunk.words is not None:
            if states is None:
                raise InputError("--align-words needs the tokens' states: give the objective a WordEmbedder")
            outputs["states"] = states
        return outputs

    def chunk_terms(self, outputs: Outputs, chunk: Chunk) -> Terms:
        if not self.config.align_words or chunk.words is None:
            return {}
        return _align_words(outputs["states"], chunk, self.config.align_words, self.config.align_temperature)

    def batch_terms(self, outputs: Outputs, batch: Batch) -> Terms:
        queries, passages = outputs["query"], outputs["passage"].view(len(batch.rows), batch.width, -1)
        excluded = batch.excluded().to(queries.device)
        scores = None if batch.scores is None else batch.scores.to(queries.device)
        terms = self._relevance(queries, passages, excluded, scores, 1.0)
        if self.config.align_sentences:
            value = losses.align_sentences(queries, passages[:, 0], self.config.align_temperature)
            terms["align_sentences"] = Term(value, self.config.align_sentences, "examples")
        twins = torch.from_numpy(batch.twinned).to(queries.device)
        if len(twins):
            terms |= self._twin_terms(outputs, twins, (queries, passages, excluded, scores))
        return terms | self._teacher_terms(outputs, twins, batch.width)

    def _relevance(
        self, queries: Tensor, passages: Tensor, excluded: Tensor, teacher: Tensor | None, weight: float
    ) -> Terms:
        config = self.config
        terms: Terms = {}
        if config.contrastive * weight:
            value = losses.in_batch(queries, passages, config.temperature, excluded)
            terms["contrastive"] = Term(value, config.contrastive * weight, "examples")
        if config.distil * weight:
            value = losses.distil_scores(self._scores(queries, passages), _given(teacher), config.distil_temperature)
            terms["distil"] = Term(value, config.distil * weight, "examples")
        if config.margin * weight:
            value = losses.margin_mse(self._scores(queries, passages), _given(teacher))
            terms["margin"] = Term(value, config.margin * weight, "examples")
        return terms

    def _scores(self, queries: Tensor, passages: Tensor) -> Tensor:
        """(num_groups, width) of each query's own passages."""
        return (passages @ queries[:, :, None])[..., 0] / self.config.temperature

    def _twin_terms(
        self, outputs: Outputs, twins: Tensor, english: tuple[Tensor, Tensor, Tensor, Tensor | None]
    ) -> Terms:
        config = self.config
        queries, passages, excluded, scores = english
        own, width = passages[twins], passages.shape[1]
        twin_queries = outputs.get("twin_query", queries[twins])
        twin_passages = outputs["twin_passage"].view_as(own) if "twin_passage" in outputs else own
        columns = (twins[:, None] * width + torch.arange(width, device=twins.device)).flatten()
        found = self._relevance(
            twin_queries, twin_passages, excluded[twins][:, columns], None if scores is None else scores[twins],
            config.twin_relevance,
        )  # fmt: skip
        terms = {f"twin_{name}": term for name, term in found.items()}
        if config.align_scores:
            pair = self._scores(queries[twins], own), self._scores(twin_queries, twin_passages)
            value = losses.align_scores(*pair, config.distil_temperature)
            terms["align_scores"] = Term(value, config.align_scores, "twins")
        if config.align_twins and "twin_query" in outputs:
            value = losses.align_twins(queries[twins], twin_queries, config.align_temperature)
            terms["align_twins"] = Term(value, config.align_twins, "twins")
        return terms

    def _teacher_terms(self, outputs: Outputs, twins: Tensor, width: int) -> Terms:
        config = self.config
        terms: Terms = {}
        if not (config.teach or config.teach_contrast):
            return terms
        columns = (twins[:, None] * width + torch.arange(width, device=twins.device)).flatten()
        students = [outputs["query"], outputs["passage"]]
        teachers = [outputs["teacher_query"], outputs["teacher_passage"]]
        for side, rows in (("query", twins), ("passage", columns)):
            if f"twin_{side}" in outputs:  # a twin is pulled to where the teacher puts its original
                students.append(outputs[f"twin_{side}"])
                teachers.append(outputs[f"teacher_{side}"][rows])
        student, teacher = torch.cat(students), torch.cat(teachers).detach()
        if config.teach:
            terms["teach"] = Term(losses.distil_embeddings(student, teacher), config.teach, "examples")
        if config.teach_contrast:
            value = losses.contrast(student, teacher, config.align_temperature)
            terms["teach_contrast"] = Term(value, config.teach_contrast, "examples")
        return terms


@dataclass(frozen=True)
class BaseObjective:
    """Masked language modelling, and alignment of switched words with their translations."""

    model: Predictor
    config: BaseConfig
    gathered: Mapping[str, str] = field(default_factory=dict)

    @property
    def module(self) -> nn.Module:
        return self.model.module

    def forward(self, chunk: Chunk) -> Outputs:
        masked = chunk.masked
        if masked is None:
            raise InputError("masked language modelling needs chunks with masks: give the source a MaskedLayout")
        logits, states = self.model.predict(chunk.tokens, masked.places)
        return {"logits": _wide(logits), "states": states}

    def chunk_terms(self, outputs: Outputs, chunk: Chunk) -> Terms:
        terms: Terms = {}
        if chunk.masked is not None and len(chunk.masked.places):
            value = losses.masked_language(outputs["logits"], chunk.masked.token_ids)
            terms["masked"] = Term(value, self.config.masked, "masked")
        if self.config.align_words and chunk.words is not None:
            terms |= _align_words(outputs["states"], chunk, self.config.align_words, self.config.align_temperature)
        return terms

    def batch_terms(self, outputs: Outputs, batch: Batch) -> Terms:
        return {}


def _align_words(states: Tensor, chunk: Chunk, weight: float, temperature: float) -> Terms:
    words = chunk.words
    if words is None or not words.count:
        return {}
    english, twins = (losses.pool_words(_wide(states), part, words.count) for part in (words.english, words.twins))
    return {"align_words": Term(losses.align_words(english, twins, temperature), weight, "words")}


def _wide(tensor: Tensor) -> Tensor:
    """In float32 at least: losses are not taken in bf16."""
    return tensor.to(torch.promote_types(tensor.dtype, torch.float32))


def _given(teacher: Tensor | None) -> Tensor:
    if teacher is None:
        raise InputError("--distil and --margin need a teacher's scores: the pairs have no column score")
    return teacher


def _refuse_other_size(vectors: Tensor, teacher: Tensor) -> None:
    if vectors.shape[1] != teacher.shape[1]:
        raise InputError(
            f"the teacher's embeddings have {teacher.shape[1]} numbers and the encoder's {vectors.shape[1]}: "
            "give a teacher of the encoder's size"
        )
