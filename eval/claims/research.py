"""Beside the claims: the variants of code-switching against it (the research question), the goals, and all levels."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from eval.claims.evidence import SIGNIFICANT, Contrast, Evidence, Figure, round_figure
from eval.claims.judging import Line, Unit
from eval.claims.lines import Lines
from eval.measuring.significance import holm
from eval.results import SETTINGS

CLIR_GAIN, MLIR_GAIN = 0.051, 0.039  # the paper's, of MRR@10
GAP_SHARE, BEST_SHARE = 0.46, 0.8  # of the CLIR gap: the paper's, and what the best is to reach


@dataclass(frozen=True)
class Comparison:
    """A system against another in one setting. `p_holm` is over the comparisons of the same kind in an output."""

    kind: str
    system: str
    other: str
    setting: str
    figure: Figure
    p_holm: float | None = None


@dataclass(frozen=True)
class Goal:
    """What was to be reached, and what was. `reached` is None where it is not measured."""

    text: str
    target: str
    unit: Unit
    figure: Figure | None
    reached: bool | None
    p_holm: float | None = None
    note: str = ""


def compare_variants(evidence: Evidence, seed: int) -> list[Comparison]:
    """Every variant of code-switching against ML-CS, and the controls, by setting; in the order of the roles."""
    planned = [
        (kind, system, other, setting)
        for kind, system, other in _list_variants(evidence)
        for setting in SETTINGS
        if evidence.scope(setting).any()
    ]
    contrasts = [evidence.difference(one, other, evidence.scope(setting)) for _, one, other, setting in planned]
    figures = evidence.estimate(contrasts, seed)
    found = [Comparison(*one, figure) for one, figure in zip(planned, figures, strict=True)]
    corrected: dict[int, float] = {}
    for kind in dict.fromkeys(one.kind for one in found):
        own = [k for k, one in enumerate(found) if one.kind == kind and one.figure.p is not None]
        corrected |= dict(zip(own, holm([found[k].figure.p or 0.0 for k in own]).tolist(), strict=True))
    return [replace(one, p_holm=round_figure(corrected[k])) if k in corrected else one for k, one in enumerate(found)]


def _list_variants(evidence: Evidence) -> Iterator[tuple[str, str, str]]:
    """Kind, system, and the system that it is held against."""
    roles, ml_cs = evidence.roles, evidence.roles.ml_cs
    kinds = {
        "alignment": list(roles.alignment),
        "robustness": list(roles.robustness),
        "the best": [roles.best] * (bool(roles.best) and roles.best not in (*roles.alignment, *roles.robustness)),
        "one side": list(roles.one_sided.values()),
        "ratio": list(roles.ratios.values()),
        "lexicon": list(roles.lexicons.values()),
    }
    for kind, systems in kinds.items():
        yield from ((kind, system, ml_cs) for system in systems if ml_cs and system != ml_cs)
    yield from (("control", system, other) for system, other in roles.controls.items())


def list_goals(evidence: Evidence, comparisons: list[Comparison], seed: int) -> list[Goal]:
    """What code-switching was to reach, by point estimates; "significant" means p < .05."""
    lines = Lines(evidence)
    gains = [lines.difference(Line(setting), ("ml_cs", "zero_shot"), evidence.scope(setting)) for setting in SETTINGS]
    shares = [lines.share("", role) for role in ("ml_cs", "best")]
    measured = [line.what for line in (*gains, *shares)]
    figures = evidence.estimate([None if isinstance(one, Figure) else one for one in measured], seed)
    moir, clir, mlir, share, best = (figure if figure.value is not None else None for figure in figures)
    return [
        Goal("gain of ML-CS over zero-shot in CLIR", "≥ +5.1", Unit.POINTS, clir, _reaches(clir, CLIR_GAIN)),
        Goal("gain of ML-CS over zero-shot in MLIR", "≥ +3.9", Unit.POINTS, mlir, _reaches(mlir, MLIR_GAIN)),
        Goal("ML-CS not significantly below zero-shot in MoIR", "p ≥ .05 or ≥ 0", Unit.POINTS, moir, _not_lower(moir)),
        Goal("share of the CLIR gap that ML-CS closes", "≥ 46 %", Unit.SHARE, share, _reaches(share, GAP_SHARE)),
        Goal("share of the CLIR gap that the best closes", "≥ 80 %", Unit.SHARE, best, _reaches(best, BEST_SHARE)),
        _alignment_goal(comparisons),
    ]


def _reaches(figure: Figure | None, target: float) -> bool | None:
    return None if figure is None or figure.value is None else figure.value >= target


def _not_lower(figure: Figure | None) -> bool | None:
    if figure is None or figure.value is None or figure.p is None:
        return None
    return figure.value >= 0 or figure.p >= SIGNIFICANT


def _alignment_goal(comparisons: list[Comparison]) -> Goal:
    """Whether any way of alignment adds to ML-CS in CLIR; shown is the one that does by the most."""
    text, target = "alignment adds to ML-CS in CLIR", "> 0, p < .05"
    own = [one for one in comparisons if (one.kind, one.setting) == ("alignment", "CLIR") and one.p_holm is not None]
    if not own:
        return Goal(text, target, Unit.POINTS, None, None)
    reached = [one for one in own if (one.figure.value or 0) > 0 and (one.p_holm or 0) < SIGNIFICANT]
    shown = max(reached or own, key=lambda one: one.figure.value or 0.0)
    return Goal(text, target, Unit.POINTS, shown.figure, bool(reached), shown.p_holm, shown.system)


def list_levels(evidence: Evidence, seed: int) -> dict[tuple[str, str], Figure]:
    """The value of every system that has a role, by system and setting, over the cells that claims are decided on."""
    planned: dict[tuple[str, str], Contrast] = {
        (system, setting): evidence.average(system, evidence.scope(setting))
        for system in evidence.roles.systems
        for setting in SETTINGS
        if evidence.scope(setting).any()
    }
    return dict(zip(planned, evidence.estimate(list(planned.values()), seed), strict=True))
