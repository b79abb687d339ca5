"""How a claim is decided: lines, their conditions and the verdict. Knows no claim by its content.

A claim is a list of lines. Some of them decide: each has a condition, and the claim holds where every one of them is
met. A line whose systems or cells an output lacks is left out and named; where none that decides is left, or one that
nothing can stand in for, the claim is not measurable. Where several tests decide a claim, their p-values are Holm's
over these tests.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from eval.claims.evidence import SIGNIFICANT, Contrast, Evidence, Figure, Ratio, round_figure
from eval.measuring.significance import holm

EQUIVALENT = 0.01  # a point of MRR@10: an interval within ±1 point is told as equivalence


class Verdict(StrEnum):
    HOLDS = "holds"
    FAILS = "does not hold"
    UNKNOWN = "not measurable"


class Unit(StrEnum):
    POINTS = "points"  # of MRR@10, as a fraction of 1
    LEVEL = "level"  # MRR@10 itself
    SHARE = "share"
    RHO = "rho"


@dataclass(frozen=True)
class Condition:
    """What a line must be for its claim to hold: `above` and `below` are tests, the others need none."""

    kind: str
    bound: float = 0.0

    @property
    def tests(self) -> bool:
        return self.kind in ("above", "below", "same")

    @property
    def text(self) -> str:
        points = f"{100 * self.bound:+g}".replace("-", "−")
        return {
            "above": "> 0, p < .05" + f", and {points} or more" * bool(self.bound),
            "below": "< 0, p < .05",
            "same": "p ≥ .05",
            "interval above": f"interval above {points}",
            "at least": "≥ 0",
        }[self.kind]

    def is_met(self, figure: Figure, p_holm: float | None) -> bool:
        value, significant = figure.value or 0.0, p_holm is not None and p_holm < SIGNIFICANT
        return {
            "above": significant and value > 0 and value >= self.bound,
            "below": significant and value < 0,
            "same": not significant,
            "interval above": figure.low is not None and figure.low > self.bound,
            "at least": value >= 0,
        }[self.kind]


ABOVE, BELOW, SAME, AT_LEAST = (Condition(kind) for kind in ("above", "below", "same", "at least"))


@dataclass(frozen=True, eq=False)
class Line:
    """One number of a claim: what it is, what it is made of, and the paper's figure for the same, if it has one.

    `what` is None where the output lacks something, which `lacks` names.
    """

    label: str
    condition: Condition | None = None
    paper: str = ""
    unit: Unit = Unit.POINTS
    needed: bool = False  # without it the claim is not measurable
    what: Contrast | Ratio | Figure | None = None
    lacks: str = ""


@dataclass(frozen=True)
class Finding:
    """A line that is measured."""

    label: str
    figure: Figure
    unit: Unit
    paper: str
    condition: Condition | None = None
    p_holm: float | None = None

    @property
    def passes(self) -> bool | None:
        """Whether a deciding line's condition is met; None: it does not decide."""
        return None if self.condition is None else self.condition.is_met(self.figure, self.p_holm)


@dataclass(frozen=True)
class Judgement:
    """A claim in one output."""

    verdict: Verdict
    findings: tuple[Finding, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Claim:
    number: int
    text: str
    paper: str
    rule: str
    lines: Callable[[Evidence, int], Iterator[Line]]  # of an output and a seed


def judge(claim: Claim, evidence: Evidence, seed: int) -> Judgement:
    """Measure a claim's lines and decide by its rule."""
    lines = list(claim.lines(evidence, seed))
    wanted = [None if isinstance(line.what, Figure) else line.what for line in lines]
    figures = evidence.estimate(wanted, seed)
    found = [
        (line, line.what if isinstance(line.what, Figure) else figure)
        for line, figure in zip(lines, figures, strict=True)
    ]
    known = [(line, figure) for line, figure in found if figure.value is not None and _has_test(line, figure)]
    findings = _correct([Finding(x.label, figure, x.unit, x.paper, x.condition) for x, figure in known])
    missing = [line for line in lines if all(line is not one for one, _ in known)]
    lacking = tuple(
        dict.fromkeys(f"{line.label}: {line.lacks or 'not measured'}" for line in missing if line.condition)
    )
    decide = [one.passes for one in findings if one.passes is not None]
    if not decide or any(line.needed for line in missing):
        return Judgement(Verdict.UNKNOWN, findings, lacking)
    verdict = Verdict.HOLDS if all(decide) else Verdict.FAILS
    return Judgement(verdict, findings, (*_explain(findings), *(f"left out: {one}" for one in lacking)))


def _has_test(line: Line, figure: Figure) -> bool:
    return line.condition is None or not line.condition.tests or figure.p is not None


def _correct(findings: Sequence[Finding]) -> tuple[Finding, ...]:
    """With Holm's p over the lines that decide by a test."""
    tested = [k for k, one in enumerate(findings) if one.condition and one.condition.tests]
    corrected = dict(zip(tested, holm([findings[k].figure.p or 0.0 for k in tested]).tolist(), strict=True))
    return tuple(
        replace(one, p_holm=round_figure(corrected[k])) if k in corrected else one for k, one in enumerate(findings)
    )


def _explain(findings: Sequence[Finding]) -> Iterator[str]:
    """What decided against a claim, and for claims of no difference how exact that is."""
    for one in findings:
        if one.passes is False and one.condition == SAME:
            yield f"not so: {one.label} is significantly {'higher' if (one.figure.value or 0) > 0 else 'lower'}"
        elif one.passes is False and one.condition:
            yield f"not so: {one.label}, {one.condition.text}"
        if one.condition == SAME and one.figure.low is not None and one.figure.high is not None:
            within = max(abs(one.figure.low), abs(one.figure.high)) <= EQUIVALENT
            yield f"{one.label}: interval {'within' if within else 'not within'} ±1 point"
