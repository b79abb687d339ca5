"""Runs of `csgen train` with one loss or another, and what the losses are on held-out groups before and after.

Runs, losses and perturbations are csgen's own; nothing is computed anew here but how far twins lie apart.
"""

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from statistics import mean
from typing import Any

import torch
from loss_data import DEV, TRAIN, WARM, LossData
from torch import Tensor
from torch.nn.functional import cosine_similarity

from cluster.training.batches import Batch, BatchSource, Chunk
from cluster.training.config import BaseConfig, EncoderConfig, RerankerConfig
from cluster.training.examples import load_pairs
from cluster.training.gradients import Backward, Robustness
from cluster.training.loop import train
from cluster.training.objectives import Objective, Outputs
from cluster.training.workers import Workers
from cluster.training_job import open_run, open_teacher
from cluster.training_models import make_objective, save_model
from cluster.training_options import Dev, Kind, Place, Switching, Teacher, TrainingOptions
from indexing.models.checkpoint import Checkpoint

Figures = dict[str, float]
CONFIGS: dict[Kind, Any] = {"reranker": RerankerConfig, "encoder": EncoderConfig, "base": BaseConfig}
LOSSES: dict[Kind, tuple[str, ...]] = {
    "reranker": ("pointwise", "listwise", "distil", "margin", "twin_relevance", "align_scores"),
    "encoder": (
        "contrastive", "distil", "margin", "teach", "teach_contrast", "twin_relevance", "align_scores", "align_twins",
        "align_words", "align_sentences",
    ),
    "base": ("masked", "align_words"),
}  # fmt: skip
TAUGHT = {"distil", "margin", "teach", "teach_contrast"}
TWINNED = {"twin_relevance", "align_scores", "align_twins", "align_words"}
GROUPED = {"listwise", "distil", "margin"}  # and an encoder's align_scores

SHAPE = {"batch_size": 16, "negatives": 2, "max_tokens": 48}
SINGLE = {"batch_size": 32, "negatives": 0}
DEV_BATCH = 32
GAP, RELATIVE, COSINE = "gap", "relative gap", "cosine"


@dataclass(frozen=True)
class Recipe:
    """What a kind of model is trained with: options beside SHAPE, and losses of which the others have weight 0."""

    kind: Kind
    options: Mapping[str, Any]
    is_parallel: bool = False  # trained on English passages and their translations, not on groups
    has_synonyms: bool = False  # which are switched in place of translations

    def beside(self, **more: Any) -> "Recipe":
        return replace(self, options={**self.options, **more})

    @property
    def losses(self) -> tuple[str, ...]:
        return tuple(name for name in LOSSES[self.kind] if self.options.get(name))

    @property
    def is_grouped(self) -> bool:
        return bool(self.options.get("negatives", SHAPE["negatives"]))

    @property
    def shape(self) -> str:
        """What recipes have in common that are measured alike."""
        names = ("is_grouped", "is_parallel", "has_synonyms")
        return " ".join([self.kind, *(name for name in names if getattr(self, name))])

    @property
    def key(self) -> str:
        return f"{self.shape}: {', '.join(f'{name}={value}' for name, value in sorted(self.options.items()))}"

    def with_all_losses(self, is_taught: bool) -> "Recipe":
        """All that can be taken at its pairs; those of a teacher where there is one."""
        left_out = set() if is_taught else {*TAUGHT}
        left_out |= TAUGHT | TWINNED if self.is_parallel else {"align_sentences"}
        if not self.is_grouped:
            left_out |= GROUPED
        names = [name for name in LOSSES[self.kind] if name not in left_out]
        kept = {name: value for name, value in self.options.items() if name in SINGLE}
        return replace(self, options=kept | dict.fromkeys(names, 1.0))


@dataclass
class Bench:
    """The data, the first model of each kind and the teacher; a run of each recipe, made once."""

    data: LossData
    models: Mapping[Kind, str]
    teacher: Teacher
    steps: int
    learning_rate: float
    seed: int
    trained: dict[str, Checkpoint] = field(default_factory=dict)

    def options(self, recipe: Recipe, part: str, output: str, **more: Any) -> TrainingOptions:
        chosen = (
            dict.fromkeys(LOSSES[recipe.kind], 0.0)
            | SHAPE
            | {"switched": "beside", "switched_share": 1.0, "seed": self.seed}
        )
        chosen |= {"learning_rate": self.learning_rate, "steps": self.steps, "checkpoint_every": self.steps}
        chosen |= {**recipe.options, **more}
        chosen["micro_batch_size"] = chosen["batch_size"]
        switching: dict[str, Any] = {}
        if recipe.has_synonyms:
            switching = {"lexicon": self.data.synonyms, "policy": "synonym"}
        elif TWINNED & set(recipe.losses):
            switching = {"lexicon": self.data.lexicon, "languages": self.data.languages}
        files = self.data.parallel if recipe.is_parallel else self.data.groups
        place = {"pairs": files[part], "model": self.models[recipe.kind], "output": output, "curves": ()}
        return TrainingOptions(
            recipe.kind, CONFIGS[recipe.kind].from_options(chosen), Switching.from_options(switching),
            Place.from_options(place), Dev.from_options({}),
            self.teacher if TAUGHT & set(recipe.losses) else Teacher.from_options({}),
        )  # fmt: skip

    def embed_texts(self, recipe: Recipe) -> None:
        """By the teacher, all at once: its directions are those of the texts that the pool holds."""
        for part in (TRAIN, DEV):
            open_teacher(self.options(recipe, part, "unused"), load_pairs(self.data.groups[part]))

    def save_first(self, recipe: Recipe, folder: str) -> None:
        """Train a model for others to begin with."""
        opened = open_run(self.options(recipe, WARM, folder))
        train(opened.run)
        save_model(opened.options, opened.checkpoint, opened.max_tokens)

    def start(self, recipe: Recipe) -> Checkpoint:
        """The model before a run."""
        return open_run(self.options(recipe, TRAIN, "unused")).checkpoint

    def train(self, recipe: Recipe) -> Checkpoint:
        if recipe.key not in self.trained:
            with tempfile.TemporaryDirectory() as output:
                opened = open_run(self.options(recipe, TRAIN, output))
                train(opened.run)
            self.trained[recipe.key] = opened.checkpoint
        return self.trained[recipe.key]


@dataclass(frozen=True)
class Yardstick:
    """Dev batches, made once, and the losses to take at them."""

    options: TrainingOptions
    source: BatchSource
    batches: tuple[tuple[Batch, list[Chunk]], ...]

    @classmethod
    def make(cls, bench: Bench, recipe: Recipe) -> "Yardstick":
        """The recipe's losses at the dev split, whose examples are switched alike for all seeds."""
        more = {"batch_size": DEV_BATCH, "seed": 0}
        options = bench.options(recipe, DEV, "unused", **more)
        source = open_run(options).run.source
        return cls(options, source, tuple(source.steps(0, source.order.steps_per_epoch)))

    def figures(self, checkpoint: Checkpoint) -> Figures:
        """The losses, and where examples have twins that are scored, the gaps between them."""
        scored = self.options.kind != "base" and self.source.twin_maker is not None
        return self.losses(checkpoint) | (self.gaps(checkpoint) if scored else {})

    def losses(self, checkpoint: Checkpoint, robustness: Robustness | None = None) -> Figures:
        """Each loss, the mean of the batches', without dropout."""
        objective = self._objective(checkpoint)
        robustness = robustness or Robustness()
        backward = Backward(objective, self.source, Workers.current(), torch.device("cpu"), robustness=robustness)
        found = [backward.run(batch, chunks) for batch, chunks in self.batches]
        objective.module.zero_grad(set_to_none=True)
        return {name: mean(float(one[name]) for one in found) for name in found[0]}

    def gaps(self, checkpoint: Checkpoint) -> Figures:
        """How far twins lie from their originals."""
        objective = self._objective(checkpoint)
        with torch.no_grad():
            found = [compare_twins(objective.forward(chunk)) for _, chunks in self.batches for chunk in chunks]
        return {name: mean(one[name] for one in found) for name in found[0]}

    def _objective(self, checkpoint: Checkpoint) -> Objective:
        maker = self.source.twin_maker
        objective = make_objective(self.options, checkpoint, None if maker is None else maker.policy)
        objective.module.eval()
        return objective


def compare_twins(outputs: Outputs) -> Figures:
    """Of a chunk whose examples all have their twin beside them.

    The mean difference of their scores, as it is and as a share of the scores' standard deviation; of an encoder, whose
    scores are cosines, also 1 - the mean cosine of the queries with their twins.
    """
    figures = {}
    if "query" in outputs:
        scores, twins = (score_groups(outputs[f"{of}query"], outputs[f"{of}passage"]) for of in ("", "twin_"))
        figures[COSINE] = float(1 - cosine_similarity(outputs["query"], outputs["twin_query"]).mean())
    else:
        scores, twins = outputs["scores"], outputs["twins"]
    figures[GAP] = float((scores - twins).abs().mean())
    return figures | {RELATIVE: figures[GAP] / float(scores.std())}


def score_groups(queries: Tensor, passages: Tensor) -> Tensor:
    """(num_groups, width) cosines."""
    return (passages.view(len(queries), -1, queries.shape[1]) @ queries[:, :, None])[..., 0]
