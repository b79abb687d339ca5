"""What changes as training goes on: the learning rate, and the curriculum of code-switching. All pure functions.

Progress is the share of the steps that are done, in [0, 1).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from csgen.switching.policy import Policy

MAX_WEIGHT = 4.0
STAGES = 64  # a curriculum's policy moves in so many steps, since a switcher is made anew for each


@dataclass(frozen=True)
class Schedule:
    """A value by progress: linear between its points, level before the first and behind the last."""

    points: Mapping[float, float]

    def at(self, progress: float) -> float:
        places = sorted(self.points)
        return float(np.interp(progress, places, [self.points[place] for place in places]))


def learning_rate_factor(step: int, num_steps: int, warmup_steps: int) -> float:
    """The share of the peak learning rate at a step counted from 0: up to 1 over the warm-up, then down towards 0.

    As transformers' linear schedule, save that step 0 already moves: it takes 1 / warmup_steps and not 0.
    """
    if step < warmup_steps:
        return (step + 1) / warmup_steps
    return max(0.0, (num_steps - step) / max(1, num_steps - warmup_steps))


def weigh_gaps(figures: Mapping[str, float]) -> dict[str, float]:
    """Weights by language from an evaluation's figures: a language at half of the best one's comes twice as often.

    At most MAX_WEIGHT, which also is the weight of a language at 0; all alike where all are.
    """
    best = max(figures.values(), default=0.0)
    return {
        language: min(MAX_WEIGHT, best / value) if value > 0 else (MAX_WEIGHT if best > 0 else 1.0)
        for language, value in figures.items()
    }


def stage_of(progress: float) -> float:
    """The progress at which the present of STAGES stages began."""
    return int(progress * STAGES) / STAGES


@dataclass(frozen=True)
class Curriculum:
    """Which share of the examples is switched, how densely, and into which languages, as training goes on."""

    share: Schedule
    probability: Schedule | None = None  # of a token; None: the policy's own throughout
    final_language_weights: Mapping[str, float] = field(default_factory=dict)  # at the end; none: the policy's own

    def policy_at(self, policy: Policy, stage: float) -> Policy:
        """The policy at that stage; `policy` itself where nothing changes."""
        changes: dict[str, object] = {}
        if self.probability is not None:
            changes |= {"probability": self.probability.at(stage), "target_ratio": None}
        if self.final_language_weights:
            changes["language_weights"] = {
                language: (1 - stage) * policy.language_weights.get(language, 1.0) + stage * weight
                for language, weight in self.final_language_weights.items()
            } | {k: w for k, w in policy.language_weights.items() if k not in self.final_language_weights}
        return policy.model_copy(update=changes) if changes else policy
