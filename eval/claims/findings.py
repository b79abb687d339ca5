"""Everything that is found out about the claims in all outputs, and its form for programs."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from eval.claims.evidence import Evidence, Figure
from eval.claims.judging import Claim, Judgement, Line, Verdict, judge
from eval.claims.lines import Lines
from eval.claims.research import Comparison, Goal, compare_variants, list_goals, list_levels
from eval.claims.rules import CLAIMS
from eval.claims.spec import ClaimsSpec
from eval.results import SETTINGS


@dataclass(frozen=True)
class Report:
    """What the report tells; everything is by the experiment's name, in order."""

    name: str
    claims: tuple[Claim, ...]
    outputs: tuple[Evidence, ...]
    judged: Mapping[str, Sequence[Judgement]]  # in the order of the claims
    gains: Mapping[str, Mapping[str, Figure]]  # of ML-CS over zero-shot, by setting
    goals: Mapping[str, Sequence[Goal]]
    comparisons: Mapping[str, Sequence[Comparison]]
    levels: Mapping[str, Mapping[tuple[str, str], Figure]]
    answer: str
    source: str  # the claims file's text


def find_out(spec: ClaimsSpec, outputs: Sequence[Evidence], answer: str, source: str) -> Report:
    """Judge all claims in all outputs."""
    comparisons = {one.name: compare_variants(one, spec.seed) for one in outputs}
    return Report(
        name=spec.name,
        claims=CLAIMS,
        outputs=tuple(outputs),
        judged={one.name: [judge(claim, one, spec.seed) for claim in CLAIMS] for one in outputs},
        gains={one.name: _measure_gains(one, spec.seed) for one in outputs},
        goals={one.name: list_goals(one, comparisons[one.name], spec.seed) for one in outputs},
        comparisons=comparisons,
        levels={one.name: list_levels(one, spec.seed) for one in outputs},
        answer=answer,
        source=source,
    )


def _measure_gains(evidence: Evidence, seed: int) -> dict[str, Figure]:
    lines = Lines(evidence)
    made = [lines.difference(Line(setting), ("ml_cs", "zero_shot"), evidence.scope(setting)) for setting in SETTINGS]
    figures = evidence.estimate([None if isinstance(line.what, Figure) else line.what for line in made], seed)
    return {setting: figure for setting, figure in zip(SETTINGS, figures, strict=True) if figure.value is not None}


def to_json(report: Report) -> dict[str, Any]:
    """All figures, as fractions of 1; what is not known is null."""
    return {
        "name": report.name,
        "claims": [
            {
                "number": claim.number,
                "claim": claim.text,
                "paper": claim.paper,
                "rule": claim.rule,
                "experiments": [_to_row(name, judged[k]) for name, judged in report.judged.items()],
            }
            for k, claim in enumerate(report.claims)
        ],
        "goals": [{"experiment": name, **asdict(goal)} for name, own in report.goals.items() for goal in own],
        "variants": [{"experiment": name, **asdict(one)} for name, own in report.comparisons.items() for one in own],
        "systems": [
            {"experiment": name, "system": system, "setting": setting, **asdict(figure)}
            for name, own in report.levels.items()
            for (system, setting), figure in own.items()
        ],
        "answer": report.answer,
    }


def count_verdicts(report: Report) -> dict[str, int]:
    verdicts = [judgement.verdict for own in report.judged.values() for judgement in own]
    return {str(verdict): verdicts.count(verdict) for verdict in Verdict}


def _to_row(name: str, judgement: Judgement) -> dict[str, Any]:
    figures = [
        {
            "label": one.label,
            "unit": str(one.unit),
            **asdict(one.figure),
            "p_holm": one.p_holm,
            "paper": one.paper,
            "condition": one.condition.text if one.condition else None,
            "passes": one.passes,
        }
        for one in judgement.findings
    ]
    return {"experiment": name, "verdict": str(judgement.verdict), "notes": list(judgement.notes), "figures": figures}
