"""What a policy will do to pairs, before it is done: token histograms, coverage, realised ratios, the probability.

Works on a deterministic sample of the input and knows no jobs. For single words the ratio is computed from the token
histogram; for phrases, whose matches depend on their neighbours, by switching the sample.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import polars as pl
import pyarrow as pa
from numpy.typing import NDArray

from csgen.errors import InputError
from csgen.lexicon.table import Table
from csgen.sources.pairs import list_shards, read_shard
from csgen.switching.policy import SIDES, Policy, Side
from csgen.switching.switcher import Switcher

SAMPLE_ROWS = 100_000
_RUN_ROWS = 5_000  # rows that the sample takes in one place
_BISECTIONS = 24  # 2**-24 of probability: below what a draw of 32 bits and a sample can tell

AnyPolicy = TypeVar("AnyPolicy", bound=Policy)


@dataclass(frozen=True)
class SidePrediction:
    """What is expected of one side; ratios are shares of its tokens, by language where they have a key."""

    tokens: int  # in the sample
    protected_ratio: float
    coverage: dict[str, float]  # unprotected tokens that have a translation
    probability: float
    realised: dict[str, float]  # tokens that will be switched

    @property
    def realised_ratio(self) -> float:
        return sum(self.realised.values())


def sample_pairs(path: str, num_rows: int) -> list[pa.RecordBatch]:
    """About `num_rows` pairs, in runs spread evenly over the input; the same ones each time. Bad rows are left out.

    Text files cannot be entered in the middle: of each, the beginning is taken.
    """
    shards = list_shards(path, _RUN_ROWS)
    wanted = max(1, -(-num_rows // _RUN_ROWS))
    step = max(1, len(shards) // wanted)
    chosen = shards[::step][:wanted]
    share = -(-num_rows // len(chosen))
    batches = []
    for shard in chosen:
        left = share
        for batch in read_shard(shard, _RUN_ROWS, lambda _: None):
            batches.append(batch.slice(0, left))
            left -= batch.num_rows
            if left <= 0:
                break
    if not any(batch.num_rows for batch in batches):
        raise InputError(f"{path}: no good row in the sample of {num_rows} rows")
    return batches


def count_tokens(batches: Iterable[pa.RecordBatch], switcher: Switcher) -> pl.DataFrame:
    """The token histogram: columns side, token (folded), count, protected (how many of them the policy protects)."""
    parts = []
    for batch in batches:
        for side in SIDES:
            tokens, protected = switcher.list_tokens(batch.column(side), side)
            listed = pl.DataFrame({"token": pl.Series(tokens), "protected": protected})
            counted = listed.group_by("token").agg(count=pl.len(), protected=pl.col("protected").sum())
            parts.append(counted.with_columns(side=pl.lit(side)))
    merged = pl.concat(parts).group_by("side", "token").agg(pl.col("count", "protected").sum())
    return merged.select("side", "token", "count", "protected").sort("side", pl.col("count") * -1, "token")


def predict(policy: Policy, table: Table, batches: list[pa.RecordBatch]) -> dict[Side, SidePrediction]:
    """What the policy will do to each side, by its probabilities or those that its target ratio asks for."""
    switcher = Switcher(policy, table)
    histogram = count_tokens(batches, switcher)
    predictions: dict[Side, SidePrediction] = {}
    for side in SIDES:
        counts = histogram.filter(pl.col("side") == side)
        covered = _Coverage.measure(policy, table, side, counts)
        ratios_at = _ratios_by_switching(policy, table, batches, side) if policy.max_words > 1 else covered.ratios_at
        probability = policy.probability_of(side)
        if policy.target_ratio is not None and policy.switches(side):
            probability = _solve(lambda p, f=ratios_at: sum(f(p).values()), policy.target_ratio, side)  # type: ignore[misc]
        predictions[side] = SidePrediction(
            covered.tokens, covered.protected_ratio, covered.coverage, probability, ratios_at(probability)
        )
    return predictions


def solve_for_target(policy: AnyPolicy, table: Table, batches: list[pa.RecordBatch]) -> AnyPolicy:
    """The same policy with the probabilities that reach its target ratio on each side."""
    return with_probabilities(policy, predict(policy, table, batches))


def with_probabilities(policy: AnyPolicy, predictions: dict[Side, SidePrediction]) -> AnyPolicy:
    """The same policy with the probabilities of a prediction in place of its target ratio."""
    probabilities = {f"{side}_probability": predictions[side].probability for side in SIDES if policy.switches(side)}
    return policy.model_copy(update=probabilities | {"target_ratio": None})


def _solve(ratio_at: Callable[[float], float], target: float, side: Side) -> float:
    """The probability at which a ratio that grows with it reaches the target."""
    most = ratio_at(1.0)
    if most < target:
        raise InputError(
            f"--target-ratio {target}: at most {most:.3f} of the {side} tokens can be switched with this lexicon and "
            f"policy; ask for less, widen the lexicon, or protect less"
        )
    low, high = 0.0, 1.0
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        low, high = (middle, high) if ratio_at(middle) < target else (low, middle)
    return high


@dataclass(frozen=True)
class _Coverage:
    """What a side's token histogram says of single words."""

    tokens: int
    protected_ratio: float
    coverage: dict[str, float]
    at_one: dict[str, float]  # switched share by language at probability 1

    def ratios_at(self, probability: float) -> dict[str, float]:
        return {language: ratio * probability for language, ratio in self.at_one.items()}

    @classmethod
    def measure(cls, policy: Policy, table: Table, side: Side, counts: pl.DataFrame) -> "_Coverage":
        tokens = int(counts["count"].sum())
        open_counts = (counts["count"] - counts["protected"]).to_numpy().astype(float)
        languages = policy.languages_of(side)
        stays = [lang == policy.source_language and policy.policy != "synonym" for lang in languages]
        translations = np.zeros((len(counts), len(languages)))
        nodes = table.find_words(counts["token"].to_list())
        for k, language in enumerate(languages):
            if not stays[k]:
                translations[:, k] = table.count_translations(nodes, language)
        shares = _shares(policy, languages, np.array(stays, bool), translations)
        total = max(tokens, 1)
        open_total = max(open_counts.sum(), 1.0)
        return cls(
            tokens=tokens,
            protected_ratio=int(counts["protected"].sum()) / total,
            coverage={x: float(open_counts @ (translations[:, k] > 0) / open_total) for k, x in enumerate(languages)},
            at_one={x: float(open_counts @ shares[:, k] / total) for k, x in enumerate(languages)},
        )


def _shares(
    policy: Policy, languages: tuple[str, ...], stays: NDArray[np.bool_], translations: NDArray[np.float64]
) -> NDArray[np.float64]:
    """(words, languages): the chance that a selected word is switched into each language."""
    weights = np.array([policy.language_weights.get(language, 1.0) for language in languages])
    weights = weights / weights.sum() if len(weights) else weights
    has = translations > 0
    shares = has * weights
    if policy.policy == "synonym":  # the word itself is one of the draws
        return np.asarray(shares * translations / (translations + 1))
    if policy.redraw and policy.policy != "phrase":
        lacking = ((~has & ~stays) * weights).sum(axis=1, keepdims=True)
        available = shares.sum(axis=1, keepdims=True)
        shares = shares + lacking * np.divide(shares, available, out=np.zeros_like(shares), where=available > 0)
    return np.asarray(shares)


def _ratios_by_switching(
    policy: Policy, table: Table, batches: list[pa.RecordBatch], side: Side
) -> Callable[[float], dict[str, float]]:
    def ratios_at(probability: float) -> dict[str, float]:
        update: dict[str, Any] = {f"{side}_probability": probability, "target_ratio": None}
        switcher = Switcher(policy.model_copy(update=update), table)
        counts = [switcher.switch(batch).counts[side] for batch in batches]
        total = sum(counts[1:], counts[0])
        return {language: switched / max(total.tokens, 1) for language, switched in total.switched.items()}

    return ratios_at
