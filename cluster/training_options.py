"""Options of `csgen train`: what is switched, on which pairs and model a run stands, and what it is measured by.

Beside them stands the recipe (cluster.training.config). Knows no torch, so that `--help` is quick.
"""

from copy import copy
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field, create_model, model_validator

from cluster.training.config import BaseConfig, EncoderConfig, RankingConfig, RerankerConfig
from csgen.config import StageConfig
from csgen.errors import InputError
from csgen.files import is_local
from csgen.switching.policy import Policy
from indexing.models.carried import BASE

Kind = Literal["reranker", "encoder", "base"]
Recipe = RerankerConfig | EncoderConfig | BaseConfig
Curves = Literal["plots", "tensorboard"]

_SHARED = {"seed", "preset"}  # the recipe has both: one seed serves all, and the policy's preset has its own name

if TYPE_CHECKING:

    class PolicyOptions(StageConfig):
        """All of Policy's fields but those that the recipe has too."""

        source_language: str
        language_weights: dict[str, float]
else:
    PolicyOptions = create_model(
        "PolicyOptions",
        __base__=StageConfig,
        **{name: (one.annotation, copy(one)) for name, one in Policy.model_fields.items() if name not in _SHARED},
    )


class Switching(PolicyOptions):
    """What is switched on the fly, with the options of `csgen switch`; nothing where there is no lexicon."""

    lexicon: str = Field("", description="folder that csgen lexicon build wrote; none: nothing is switched")
    switch_preset: Literal["bl-cs", "ml-cs", "wiki-cs"] | None = Field(
        None, description="the policy of a method of the paper; options given beside it win"
    )

    def to_policy(self, seed: int) -> Policy | None:
        """The policy, with the run's seed; None where nothing is switched. InputError where it is not whole."""
        given = self.model_dump(exclude_unset=True, exclude={"lexicon", "switch_preset"})
        if not self.lexicon:
            if names := sorted({*given, *({"switch_preset"} & self.model_fields_set)}):
                shown = ", ".join(f"--{name.replace('_', '-')}" for name in names)
                raise InputError(f"{shown}: nothing is switched without a lexicon; give --lexicon")
            return None
        return Policy.from_options(given | {"preset": self.switch_preset, "seed": seed})


class Place(StageConfig):
    """Where a run's pairs, first weights and output are, and on what it runs."""

    pairs: str = Field(
        min_length=1,
        description="pairs to train on: Parquet, JSON lines, TSV, triples:PATH (MS MARCO), a BEIR folder or a parallel "
        "collection; a file, a folder or a URI",
    )
    split: str = Field("train", min_length=1, description="qrels of a BEIR folder or a collection to make pairs of")
    model: str = Field(BASE, min_length=1, description="folder, hub id or carried model (csgen models) to begin with")
    output: str = Field(
        min_length=1, description="folder to write, which all workers must see; the same command again goes on in it"
    )
    workers: int = Field(1, ge=1, le=4096, description="processes that share each batch, 1 to 4096; 1: without Ray")
    gpus: int = Field(0, ge=0, le=1, description="GPUs of each worker, 0 or 1")
    curves: tuple[Curves, ...] = Field(
        ("plots", "tensorboard"), description="learning curves: plots (PNG and SVG), tensorboard (event files); none"
    )

    @model_validator(mode="after")
    def _lies_here(self) -> "Place":
        if not is_local(self.output):
            raise ValueError(
                f"--output {self.output}: must be a folder of a file system, perhaps a shared one: models are saved"
            )
        return self


class Dev(StageConfig):
    """What a run is measured by while it goes on: RR@10 over candidates of a collection, as MoIR, CLIR and MLIR."""

    dev: str = Field("", description="folder of a parallel collection to measure by; none: nothing is measured")
    dev_split: str = Field("dev", min_length=1, description="its qrels")
    dev_languages: tuple[str, ...] = Field((), description="its languages to measure in, e.g. de,it,en; none: all")
    dev_queries: int = Field(100, ge=1, description="queries of each setting, 1 or more")
    dev_candidates: int = Field(
        20, ge=2, le=1000, description="passages of a query, its answers and the best of BM25 in English, 2 to 1000"
    )

    @model_validator(mode="after")
    def _have_collection(self) -> "Dev":
        if not self.dev and (given := sorted(self.model_fields_set - {"dev"})):
            raise ValueError(f"--{given[0].replace('_', '-')}: nothing is measured without --dev: give a collection")
        return self


class Teacher(StageConfig):
    """Whose embeddings an encoder is to learn, or whose scores a model."""

    teacher: str = Field(
        "",
        description="folder or hub id of the encoder that --teach and --teach-contrast follow, and --distil and "
        "--margin where pairs have no column score",
    )
    teacher_precision: Literal["fp32", "bf16", "int8"] = Field(
        "fp32", description="arithmetic of the teacher: fp32, bf16 or int8 (a CPU alone)"
    )
    teacher_pairs: str = Field(
        "",
        description="pairs with the same ids, whose texts the teacher reads in place of these, such as the English "
        "originals of translations; none: it reads what is trained on",
    )
    teacher_vectors: str = Field(
        "", description="folder that keeps the teacher's embeddings for later runs; none: they last as long as the run"
    )

    @model_validator(mode="after")
    def _have_teacher(self) -> "Teacher":
        if not self.teacher and (given := sorted(self.model_fields_set - {"teacher"})):
            raise ValueError(f"--{given[0].replace('_', '-')}: there is no teacher without --teacher: give an encoder")
        return self


class Gaps(StageConfig):
    """Whose figures weigh languages."""

    gaps: str = Field(
        "",
        description="output folder of csgen evaluate, or its results.json: the policy's languages, and pairs of two "
        "languages, come the oftener the worse they are in CLIR, 4 times at most; weights that are given win",
    )
    gaps_system: str = Field("", description="its system to go by; needed where it has several")
    gaps_measure: str = Field("", description="its measure to go by, e.g. nDCG@10; default: its main one")

    @model_validator(mode="after")
    def _have_report(self) -> "Gaps":
        if not self.gaps and (given := sorted(self.model_fields_set - {"gaps"})):
            raise ValueError(f"--{given[0].replace('_', '-')}: nothing is weighed without --gaps: give a report")
        return self


@dataclass(frozen=True)
class TrainingOptions:
    """All options of a run, as the workers get them."""

    kind: Kind
    recipe: Recipe
    switching: Switching
    place: Place
    dev: Dev
    teacher: Teacher
    gaps: Gaps = field(default_factory=lambda: Gaps.from_options({}))

    def __post_init__(self) -> None:
        self.switching.to_policy(self.recipe.seed)
        if self.recipe.select and not self.dev.dev:
            raise InputError(f"--select {self.recipe.select}: there are no figures without --dev: give a collection")
        if self.teaches and not self.teacher.teacher:
            raise InputError("--teach, --teach-contrast: give --teacher, the encoder to follow")
        if self.teacher.teacher and not (self.teaches or self.distils):
            raise InputError("--teacher: nothing follows it; give --teach, --teach-contrast, --distil or --margin")
        if not self.switching.lexicon:
            self._refuse_twin_options()
        batch, micro = self.recipe.batch_size, min(self.recipe.micro_batch_size, self.recipe.batch_size)
        if batch // micro < self.place.workers:
            raise InputError(
                f"--workers {self.place.workers}: a batch of {batch} makes {batch // micro} chunks of {micro}, too few "
                "for so many; give fewer workers or a smaller --micro-batch-size"
            )

    @property
    def teaches(self) -> bool:
        """Whether a teacher's embeddings are followed."""
        return isinstance(self.recipe, EncoderConfig) and bool(self.recipe.teach or self.recipe.teach_contrast)

    @property
    def distils(self) -> bool:
        """Whether scores are followed: the pairs' own, or a teacher's."""
        return isinstance(self.recipe, RankingConfig) and bool(self.recipe.distil or self.recipe.margin)

    def _refuse_twin_options(self) -> None:
        """Options that say something of twins are refused where there can be none; a preset's are let pass."""
        names = ("align_scores", "align_twins", "align_words", "token_probability", "final_language_weights")
        for name in names:
            if getattr(self.recipe, name, None) and self.recipe.preset is None:
                flag = name.replace("_", "-")
                raise InputError(f"--{flag}: there are no switched twins without a lexicon; give --lexicon")

    def with_output(self, folder: str) -> "TrainingOptions":
        """The same run with its output there."""
        return replace(self, place=self.place.model_copy(update={"output": folder}))

    def describe(self) -> dict[str, Any]:
        """The options that decide what comes out, for the manifest."""
        found: dict[str, Any] = {"kind": self.kind} | self.recipe.identity()
        found |= {name: getattr(self.place, name) for name in ("pairs", "split", "model")}
        policy = self.switching.to_policy(self.recipe.seed)
        return found | {
            "lexicon": self.switching.lexicon,
            "policy": None if policy is None else policy.model_dump(mode="json"),
            "teacher": self.teacher.teacher,
            "teacher_precision": self.teacher.teacher_precision,
            "teacher_pairs": self.teacher.teacher_pairs,
            "gaps": self.gaps.model_dump(mode="json"),
            "dev": self.dev.model_dump(mode="json"),
        }
