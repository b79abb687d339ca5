"""Whether each loss of `csgen train` lowers what it should on held-out groups, against the same run without it.

    python benchmarks/losses.py --lexicon lexicon --teacher FOLDER

A small model is trained for some steps on a few of Debian's train groups, with a loss and without it, everything else
equal. Before and after, csgen's own objective takes the loss at dev groups. How far the scores of switched twins lie
from their originals' is measured too, and how much switched synonyms, noise and adversarial moves add to the loss. A
reranker and an encoder have been trained on other groups before, for whose scores are all alike has nothing to align.
"""

import argparse
import logging
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import mean

import torch
import transformers
from loss_data import DEV, TRAIN, WARM, LossData
from loss_runs import COSINE, GAP, LOSSES, RELATIVE, SHAPE, SINGLE, TAUGHT, Bench, Figures, Recipe, Yardstick
from measure import print_table
from workload import describe_machine

from cluster.training.gradients import Robustness
from cluster.training_options import Kind, Teacher
from indexing.models.checkpoint import Checkpoint

log = logging.getLogger(__name__)

PARTS = ("reranker", "encoder", "base", "robustness")
NOISE, EPSILON = 0.5, 1.0  # a share of the embeddings' root mean square; a length
HEAD = ("before", "after, without", "after, with", "below before", "below without")

RERANKER = Recipe("reranker", {"listwise": 1.0})
POINTWISE = Recipe("reranker", {"pointwise": 1.0})
ENCODER = Recipe("encoder", {"contrastive": 1.0})
TEACH = Recipe("encoder", {"teach": 1.0})
PARALLEL = Recipe("encoder", {**SINGLE, "contrastive": 1.0}, is_parallel=True)
MASKED, WORDS = (Recipe("base", {**SINGLE, name: 1.0}) for name in LOSSES["base"])
FIRST: dict[Kind, tuple[Recipe, int]] = {
    "reranker": (RERANKER, 250),
    "encoder": (ENCODER, 60),
}  # and for how many steps


@dataclass(frozen=True)
class Trial:
    """A loss, and the recipe without it."""

    loss: str
    without: Recipe

    @property
    def recipe(self) -> Recipe:
        return self.without.beside(**{self.loss: 1.0})

    @property
    def figure(self) -> str:
        """What it should lower."""
        main = "listwise" if self.without.kind == "reranker" else "contrastive"
        return f"twin_{main}" if self.loss == "twin_relevance" else self.loss

    @property
    def label(self) -> str:
        alone = ", pairs alone" if self.without.kind == "reranker" and not self.without.is_grouped else ""
        return f"{self.without.kind}: {self.loss}, beside {', '.join(self.without.losses)}{alone}"


TRIALS = (
    Trial("pointwise", RERANKER),
    Trial("listwise", POINTWISE),
    *(Trial(name, RERANKER) for name in LOSSES["reranker"][2:]),
    Trial("align_scores", POINTWISE.beside(**SINGLE)),
    Trial("contrastive", TEACH),
    *(Trial(name, ENCODER) for name in LOSSES["encoder"][1:-1]),
    Trial("align_sentences", PARALLEL),
    Trial("masked", WORDS),
    Trial("align_words", MASKED),
)
GAPS = {GAP: "difference of scores", RELATIVE: "by the scores' deviation", COSINE: "1 - cosine of queries"}
GAP_LOSSES = ("twin_relevance", "align_scores", "align_twins")


@dataclass(frozen=True)
class Perturbation:
    """What the input is moved by, what is trained against it, and how a model's loss under it is taken."""

    label: str
    trained: Recipe
    figure: str
    measured: Recipe = RERANKER
    robustness: Robustness = field(default_factory=Robustness)

    def losses(self, yardstick: Yardstick, model: Checkpoint) -> tuple[float, float]:
        """The listwise loss at dev groups as they are, and perturbed."""
        clean = yardstick.losses(model)["listwise"]
        return clean, yardstick.losses(model, self.robustness)[self.figure]


PERTURBATIONS = (
    Perturbation(
        "synonyms switched, --policy synonym",
        replace(RERANKER.beside(switched="replace"), has_synonyms=True),
        "twin_listwise",
        measured=replace(RERANKER.beside(twin_relevance=1.0), has_synonyms=True),
    ),
    Perturbation(
        f"noise, --noise {NOISE}", RERANKER.beside(noise=NOISE), "listwise", robustness=Robustness(noise=NOISE)
    ),
    Perturbation(
        f"adversarial moves, --adversarial-epsilon {EPSILON:g}",
        RERANKER.beside(adversarial_epsilon=EPSILON),
        "adversarial",
        robustness=Robustness(epsilon=EPSILON),
    ),
)


@dataclass
class Measured:
    """What was found with one seed: figures of models before and after training, each taken once."""

    bench: Bench
    yardsticks: dict[str, Yardstick] = field(default_factory=dict)
    figures: dict[str, Figures] = field(default_factory=dict)

    def of(self, trial: Trial) -> tuple[Figures, Figures, Figures]:
        """Before, after without the loss, and after with it."""
        if trial.without.shape not in self.yardsticks:
            whole = trial.without.with_all_losses(bool(self.bench.teacher.teacher))
            self.yardsticks[trial.without.shape] = Yardstick.make(self.bench, whole)
        yardstick = self.yardsticks[trial.without.shape]
        if (before := f"before {trial.without.shape}") not in self.figures:
            self.figures[before] = yardstick.figures(self.bench.start(trial.recipe))
        for recipe in (trial.without, trial.recipe):
            if recipe.key not in self.figures:
                with noted(f"seed {self.bench.seed}: {recipe.key}"):
                    self.figures[recipe.key] = yardstick.figures(self.bench.train(recipe))
        return self.figures[before], self.figures[trial.without.key], self.figures[trial.recipe.key]


@contextmanager
def noted(what: str) -> Iterator[None]:
    begun = time.perf_counter()
    yield
    log.info("%s: %.0f s", what, time.perf_counter() - begun)


def choose_trials(parts: Sequence[str], losses: Sequence[str], is_taught: bool) -> list[Trial]:
    """Those of some kinds and, if any are named, some losses; without a teacher, those that need none."""
    return [
        trial for trial in TRIALS
        if trial.without.kind in parts and (not losses or trial.loss in losses)
        and (is_taught or not TAUGHT & set(trial.recipe.losses))
    ]  # fmt: skip


def show_losses(trials: Sequence[Trial], seeds: Sequence[Measured]) -> None:
    rows = []
    for trial in trials:
        values = [[figures[trial.figure] for figures in one.of(trial)] for one in seeds]
        rows.append(describe(trial.label, values))
        log.info("%s: %s", trial.label, values)
    print_table(("the loss at dev groups", *HEAD), rows)


def show_twins(trials: Sequence[Trial], seeds: Sequence[Measured]) -> None:
    rows = []
    for trial in (one for one in trials if one.loss in GAP_LOSSES):
        found = [one.of(trial) for one in seeds]
        for name, what in GAPS.items():
            if name in found[0][0]:
                rows.append(
                    describe(f"{trial.label}: {what}", [[figures[name] for figures in three] for three in found])
                )
    if rows:
        print_table(("twins from their originals, dev groups", *HEAD), rows)


def show_robustness(seeds: Sequence[Measured]) -> None:
    """Of each perturbation: the loss under it, and how much of that it adds."""
    rows = []
    for one in PERTURBATIONS:
        under, added = [], []
        for bench in (seed.bench for seed in seeds):
            yardstick = Yardstick.make(bench, one.measured)
            with noted(f"seed {bench.seed}: {one.trained.key}"):
                models = bench.start(RERANKER), bench.train(RERANKER), bench.train(one.trained)
                found = [one.losses(yardstick, model) for model in models]
            under.append([moved for _, moved in found])
            added.append([moved - clean for clean, moved in found])
        rows += [describe(f"{one.label}: the loss", under), describe(f"{one.label}: what is added", added)]
    print_table(("reranker, listwise, perturbed dev groups", *HEAD), rows)


def describe(label: str, values: Sequence[Sequence[float]]) -> tuple[str, ...]:
    """A row: means over the seeds, each of which has before, without and with; and in how many the last is lower."""
    befores, withouts, withs = zip(*values, strict=True)
    lower = (sum(own < other for own, other in zip(withs, others, strict=True)) for others in (befores, withouts))
    means = (f"{mean(column):.4g}" for column in (befores, withouts, withs))
    return label, *means, *(f"{count} of {len(values)}" for count in lower)


def make_seeds(options: argparse.Namespace, folder: str) -> list[Measured]:
    """Make the data, train the first models, and have a bench for each seed."""
    warm = max(steps for _, steps in FIRST.values())
    sizes = {part: steps * SHAPE["batch_size"] for part, steps in ((WARM, warm), (TRAIN, options.steps))}
    sizes[DEV] = options.groups
    data = LossData.make(options.collection, options.lexicon, options.languages, sizes, folder)
    teacher = Teacher.from_options({})
    if options.teacher:
        vectors = options.teacher_vectors or str(Path(folder, "teacher"))
        teacher = Teacher.from_options({
            "teacher": options.teacher, "teacher_precision": options.teacher_precision, "teacher_vectors": vectors,
        })  # fmt: skip
    models: dict[Kind, str] = dict.fromkeys(LOSSES, options.model)
    first = Bench(data, models, teacher, options.steps, options.learning_rate, seed=0)
    if options.teacher:
        first.embed_texts(TEACH)
    saved = {kind: str(Path(folder, kind)) for kind in FIRST}
    for kind, (recipe, steps) in FIRST.items():
        if kind in options.parts or (kind == "reranker" and "robustness" in options.parts):
            with noted(f"the first {kind}"):
                replace(first, steps=steps).save_first(recipe, saved[kind])
    return [
        Measured(Bench(data, models | saved, teacher, options.steps, options.learning_rate, seed))
        for seed in range(1, options.seeds + 1)
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument("--losses", nargs="+", default=(), help="these alone, e.g. distil margin")
    parser.add_argument("--model", required=True, help="to begin with: a folder or a hub id")
    parser.add_argument("--collection", default="data/debian", help="a parallel collection with pairs/SPLIT.parquet")
    parser.add_argument("--lexicon", default="", help="to switch by; none: the sample")
    parser.add_argument("--languages", nargs="+", default=("de", "fr", "it", "ja", "ru"))
    parser.add_argument("--teacher", default="", help="an encoder; none: losses of a teacher are left out")
    parser.add_argument("--teacher-precision", default="fp32")
    parser.add_argument("--teacher-vectors", default="", help="folder that keeps its embeddings; none: made anew")
    parser.add_argument("--steps", type=int, default=100, help="of each run")
    parser.add_argument("--learning-rate", type=float, default=3e-4)
    parser.add_argument("--groups", type=int, default=128, help="to measure by, 32 or more")
    parser.add_argument("--seeds", type=int, default=1)
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    torch.set_num_threads(1)
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    with tempfile.TemporaryDirectory() as folder:
        seeds = make_seeds(options, folder)
        print(f"{describe_machine()}, torch {torch.__version__}; seeds {options.seeds}\n")
        trials = choose_trials(options.parts, options.losses, bool(options.teacher))
        if trials:
            show_losses(trials, seeds)
            show_twins(trials, seeds)
        if "robustness" in options.parts:
            show_robustness(seeds)


if __name__ == "__main__":
    main()
