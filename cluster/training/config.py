"""What can be set of a training run, and its presets; every field has its unit and range.

`switched_share` and `token_probability` are schedules: a number, or numbers by the share of the steps that are done.
"""

from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from cluster.training.schedules import Curriculum, Schedule
from csgen.config import StageConfig

PresetName = Literal["paper-2023", "csgen", "small"]

# arXiv 2305.05295, section 4: 200,000 steps of 64 pairs, AdamW, no selection. There in fp16 on GPUs; bf16 has its speed
# and needs no scaling of the loss. The policy (bl-cs, ml-cs, wiki-cs) is the switcher's own preset.
_PAPER: dict[str, Any] = {
    "negatives": 0, "batch_size": 64, "steps": 200_000, "warmup_steps": 5_000, "learning_rate": 2e-5,
    "weight_decay": 0.01, "max_tokens": 512, "precision": "bf16", "max_gradient_norm": 1.0,
    "switched_share": {0.0: 1.0}, "switched": "replace", "pointwise": 1.0, "listwise": 0.0,
    "average_checkpoints": 1, "select": "", "patience": 0,
}  # fmt: skip

# A synthesis of what is known since: groups with hard negatives, a part of the examples switched and that part growing,
# KL between the scores of an English group and its twin, the last checkpoints averaged.
_CSGEN: dict[str, Any] = {
    "switched_share": {0.0: 0.1, 0.3: 0.5}, "switched": "beside", "average_checkpoints": 3,
}  # fmt: skip

# What a model of some million parameters learns by on a CPU in minutes: the carried base, say.
_SMALL: dict[str, Any] = {
    "negatives": 1, "batch_size": 64, "micro_batch_size": 64, "warmup_steps": 40, "learning_rate": 1e-3,
    "max_tokens": 64, "switched_share": {0.0: 1.0}, "switched": "replace",
}  # fmt: skip
# Words' contrast is what helped an encoder most (docs/claims); a reranker knows no words' vectors.
_SMALL_ENCODER: dict[str, Any] = {"switched": "beside", "align_words": 0.5, "twin_relevance": 1.0}
_SMALL_RERANKER: dict[str, Any] = {
    "negatives": 4, "batch_size": 16, "micro_batch_size": 16, "learning_rate": 5e-4, "max_tokens": 80,
}  # fmt: skip


class TrainingConfig(StageConfig):
    """What all kinds of training share. An example is a group or, without negatives, a pair."""

    preset: PresetName | None = Field(None, description="a known recipe; options given beside it win")
    seed: int = Field(0, ge=0, lt=1 << 63, description="seed of all draws, 0 or more")
    steps: int | None = Field(None, ge=1, description="steps of the optimiser, 1 or more; in place of --epochs")
    epochs: float = Field(1.0, gt=0, le=1000, description="passes over the examples, above 0 to 1000")
    batch_size: int = Field(64, ge=1, description="examples of a step, over all workers, 1 or more")
    micro_batch_size: int = Field(
        16, ge=1, description="examples that a worker holds at a time, 1 to --batch-size; lower it when memory runs out"
    )
    max_tokens: int = Field(256, ge=8, le=8192, description="longest input in tokens, 8 to 8192; longer ones are cut")
    negatives: int = Field(4, ge=0, le=1000, description="negatives of a positive, 0 to 1000; 0: pairs each for itself")
    example_weights: dict[str, float] = Field(
        {}, description="how often examples of a language come, by query-passage language, e.g. en-de=2 (above 0)"
    )

    learning_rate: float = Field(2e-5, gt=0, le=1, description="peak learning rate of AdamW, above 0 to 1")
    weight_decay: float = Field(0.01, ge=0, le=1, description="decay of matrices, not of biases and norms, in [0, 1]")
    warmup_steps: int | None = Field(
        None, ge=0, description="steps of linear warm-up, 0 or more; default: a tenth of all steps"
    )
    max_gradient_norm: float = Field(1.0, gt=0, description="longer gradients are cut to this length, above 0")
    precision: Literal["fp32", "bf16"] = Field("fp32", description="arithmetic of the model's products: fp32 or bf16")
    noise: float = Field(
        0.0, ge=0, le=1, description="noise on input embeddings, as a share of their root mean square, in [0, 1]"
    )
    adversarial_epsilon: float = Field(
        0.0, ge=0, le=100, description="length of an adversarial move of each text's embeddings, 0 (none) to 100"
    )
    adversarial: float = Field(1.0, ge=0, description="weight, 0 or more, of the loss at the moved embeddings")

    switched_share: dict[float, float] = Field(
        {0.0: 0.5}, description="share of examples switched, in [0, 1]; or by progress, e.g. 0=0.1,0.3=0.5"
    )
    switched: Literal["replace", "beside"] = Field(
        "beside", description="a switched example takes its original's place, or stands beside it as its twin"
    )
    token_probability: dict[float, float] = Field(
        {}, description="chance of a token to be switched, in [0, 1], by progress; none: the policy's own"
    )
    final_language_weights: dict[str, float] = Field(
        {}, description="language weights at the end, reached from the policy's own in a line, e.g. ru=2 (above 0)"
    )

    evaluate_every: int | None = Field(
        None, ge=1, description="steps between evaluations, 1 or more; default: at the end alone"
    )
    checkpoint_every: int | None = Field(
        None, ge=1, description="steps between checkpoints, 1 or more; default: a twentieth"
    )
    keep_checkpoints: int = Field(2, ge=1, le=100, description="newest checkpoints to keep, 1 to 100")
    select: str = Field("", description="figure of the evaluation that chooses the best checkpoint; none: the last one")
    patience: int = Field(0, ge=0, description="stop after so many evaluations without a better figure; 0: never")
    average_checkpoints: int = Field(
        1, ge=1, le=100, description="newest checkpoints whose weights are averaged at the end, 1 (no averaging) to 100"
    )

    @field_validator("switched_share", "token_probability", mode="before")
    @classmethod
    def _schedule(cls, given: Any) -> Any:
        """A number alone, which a flag gives as a name without a value, holds throughout."""
        if not isinstance(given, dict):
            return {0.0: given}
        return {0.0: next(iter(given))} if list(given.values()) == [""] else given

    @field_validator("switched_share", "token_probability")
    @classmethod
    def _in_range(cls, given: dict[float, float]) -> dict[float, float]:
        for progress, value in given.items():
            if not (0 <= progress <= 1 and 0 <= value <= 1):
                raise ValueError(f"--switched-share, --token-probability: {progress}={value} must lie in [0, 1]")
        return given

    @model_validator(mode="after")
    def _agree(self) -> "TrainingConfig":
        if self.batch_size % self.micro_batch_size and self.micro_batch_size < self.batch_size:
            raise ValueError(
                f"--batch-size must be a multiple of --micro-batch-size, got {self.batch_size} and "
                f"{self.micro_batch_size}"
            )
        if self.patience and not self.select:
            raise ValueError("--patience needs --select: the figure that must grow")
        for name, weights in (
            ("example-weights", self.example_weights),
            ("final-language-weights", self.final_language_weights),
        ):
            if wrong := [f"{k}={w}" for k, w in weights.items() if not 0 < w < float("inf")]:
                raise ValueError(f"--{name}: weights must be above 0, got {', '.join(wrong)}")
        return self

    @property
    def curriculum(self) -> Curriculum:
        probability = Schedule(self.token_probability) if self.token_probability else None
        return Curriculum(Schedule(self.switched_share), probability, self.final_language_weights)

    @property
    def width(self) -> int:
        """Pairs of an example."""
        return 1 + self.negatives

    def identity(self) -> dict[str, Any]:
        """The options that decide what comes out, and must be the same for a run to be resumed.

        How often a run is checkpointed and how many checkpoints are kept makes no difference.
        """
        free = {"preset", "checkpoint_every", "keep_checkpoints"}
        return self.model_dump(mode="json", exclude=free)


class RankingConfig(TrainingConfig):
    """What rerankers and encoders share: the weight of each loss of groups and their twins, 0 for none."""

    distil: float = Field(
        0.0, ge=0, description="weight, 0 or more, of KL to a teacher's scores (the pairs' column score)"
    )
    margin: float = Field(0.0, ge=0, description="weight, 0 or more, of squared error of margins against the teacher's")
    align_scores: float = Field(
        0.0, ge=0, description="weight, 0 or more, of KL between a group's scores and its twin's"
    )


class RerankerConfig(RankingConfig):
    """Training of a reranker; the weight of each loss, 0 for none."""

    pointwise: float = Field(
        0.0, ge=0, description="weight, 0 or more, of binary cross-entropy of each pair (the paper's)"
    )
    listwise: float = Field(1.0, ge=0, description="weight, 0 or more, of softmax cross-entropy within a group")
    temperature: float = Field(1.0, gt=0, description="temperature of --distil and --align-scores, above 0")
    twin_relevance: float = Field(
        1.0, ge=0, description="weight, 0 or more, of the relevance losses on twins beside the original"
    )

    @model_validator(mode="before")
    @classmethod
    def _fill_in(cls, given: dict[str, Any]) -> dict[str, Any]:
        recipes: dict[str, dict[str, Any]] = {
            "paper-2023": _PAPER,
            "csgen": _CSGEN | {"align_scores": 1.0},
            "small": _SMALL | _SMALL_RERANKER,
        }
        return recipes.get(str(given.get("preset")), {}) | given

    @model_validator(mode="after")
    def _have_groups(self) -> "RerankerConfig":
        if self.negatives == 0 and (self.listwise or self.margin or self.distil):
            raise ValueError("--listwise, --distil and --margin need groups: give --negatives, or --listwise 0")
        if not (self.pointwise or self.listwise or self.distil or self.margin):
            raise ValueError("all losses have weight 0: give one of --pointwise, --listwise, --distil, --margin")
        return self


class EncoderConfig(RankingConfig):
    """Training of an encoder; the weight of each loss, 0 for none."""

    contrastive: float = Field(
        1.0, ge=0, description="weight, 0 or more, of InfoNCE against the batch's and the given negatives"
    )
    temperature: float = Field(0.05, gt=0, description="temperature of --contrastive and of scores, above 0")
    distil_temperature: float = Field(1.0, gt=0, description="temperature of --distil and --align-scores, above 0")
    teach: float = Field(
        0.0, ge=0, description="weight, 0 or more, of 1 - cosine to a teacher encoder's embedding of the original"
    )
    teach_contrast: float = Field(
        0.0, ge=0, description="weight, 0 or more, of finding that embedding among the batch's"
    )
    align_twins: float = Field(
        0.0, ge=0, description="weight, 0 or more, of contrast of queries with their twins (ContrastiveMix)"
    )
    align_sentences: float = Field(
        0.0, ge=0, description="weight, 0 or more, of contrast, both ways, of the positives of parallel text"
    )
    align_words: float = Field(
        0.0, ge=0, description="weight, 0 or more, of contrast of switched words with their translations"
    )
    align_temperature: float = Field(0.05, gt=0, description="temperature of the contrasts of alignment, above 0")
    twin_relevance: float = Field(
        0.0, ge=0, description="weight, 0 or more, of the relevance losses on twins beside the original"
    )

    @model_validator(mode="before")
    @classmethod
    def _fill_in(cls, given: dict[str, Any]) -> dict[str, Any]:
        if given.get("preset") == "paper-2023":
            raise ValueError("--preset paper-2023 is a reranker's recipe; an encoder has --preset csgen and small")
        recipes = {"csgen": _CSGEN | {"align_scores": 1.0, "align_twins": 0.1}, "small": _SMALL | _SMALL_ENCODER}
        return recipes.get(str(given.get("preset")), {}) | given

    @model_validator(mode="after")
    def _have_losses(self) -> "EncoderConfig":
        if self.negatives == 0 and (self.margin or self.distil or self.align_scores):
            raise ValueError("--distil, --margin and --align-scores need groups: give --negatives")
        relevance = self.contrastive or self.distil or self.margin or self.align_sentences
        if not (relevance or self.teach or self.teach_contrast):
            raise ValueError("no loss teaches relevance: give one of --contrastive, --distil, --margin, --teach")
        return self


class BaseConfig(TrainingConfig):
    """Further pre-training of a base model on query and passage as one text, which may be each other's translations."""

    negatives: int = Field(0, ge=0, le=0, description="always 0: every pair is a text")
    switched: Literal["replace", "beside"] = Field("replace", description="as elsewhere; --align-words needs beside")
    masked_ratio: float = Field(0.15, gt=0, lt=1, description="share of tokens to be told, in (0, 1)")
    masked: float = Field(1.0, ge=0, description="weight, 0 or more, of masked language modelling")
    align_words: float = Field(
        0.0, ge=0, description="weight, 0 or more, of contrast of switched words with their translations"
    )
    align_temperature: float = Field(0.05, gt=0, description="temperature of that contrast, above 0")
