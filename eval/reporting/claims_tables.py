"""The tables of the report of claims: verdicts, the figures of each claim, goals, variants and levels."""

from collections.abc import Iterator, Mapping, Sequence

import polars as pl

from eval.claims.evidence import Evidence, Figure
from eval.claims.judging import Claim, Finding, Judgement, Unit
from eval.claims.research import Comparison, Goal
from eval.reporting.claims_notation import show_figure, show_number, show_range
from eval.reporting.formats import Cell, Column, Table, file_name
from eval.reporting.notation import MARKS_EXPLAINED, NOTHING, mark_level, show_p
from eval.results import SETTINGS

_NO_DATA = pl.DataFrame()


def verdicts_table(claims: Sequence[Claim], judged: Mapping[str, Sequence[Judgement]]) -> Table:
    """A row a claim, a column an experiment."""
    rows = tuple(
        (Cell(str(claim.number)), Cell(claim.text), *(Cell(str(found[k].verdict)) for found in judged.values()))
        for k, claim in enumerate(claims)
    )
    columns = (*_texts("#", "claim"), *_texts(*judged))
    return Table("verdicts", "The paper's claims, decided by the rules below", columns, rows, _NO_DATA)


def claim_table(claim: Claim, judged: Mapping[str, Judgement]) -> Table:
    """Our figures beside the paper's, by experiment; what decides has a condition."""
    rows = tuple(
        (Cell(name), Cell(finding.label), *_finding_cells(finding))
        for name, judgement in judged.items()
        for finding in judgement.findings
    )
    names = ("ours", "95 % interval", "p", "randomisation", "Holm", "queries", "seeds", "paper")
    columns = (*_texts("experiment", "figure"), *map(Column, names), *_texts("condition"))
    caption = f"Claim {claim.number}: MRR@10 × 100, differences with their sign; what decides in bold"
    return Table(file_name("claim", str(claim.number)), caption, columns, rows, _NO_DATA, num_heads=2)


def _finding_cells(finding: Finding) -> Iterator[Cell]:
    figure, unit, condition = finding.figure, finding.unit, finding.condition
    yield Cell(show_number(figure.value, unit), strong=condition is not None)
    yield Cell(show_range(figure, unit))
    tested = unit in (Unit.POINTS, Unit.RHO)  # that a level is not 0 says nothing
    yield from (Cell(show_p(p) if tested else NOTHING) for p in (figure.p, figure.p_randomisation))
    yield Cell(show_p(finding.p_holm))
    yield from (Cell(NOTHING if count is None else f"{count:,}") for count in (figure.num_queries, figure.num_seeds))
    yield Cell(finding.paper or NOTHING)
    yield Cell(f"{condition.text}: {'yes' if finding.passes else 'no'}" if condition else "")


def goals_table(goals: Mapping[str, Sequence[Goal]]) -> Table:
    """A row for each experiment and goal."""
    words = {True: "reached", False: "not reached", None: "not measurable"}
    rows = tuple(
        (
            Cell(name),
            Cell(goal.text + (f" ({goal.note})" if goal.note else "")),
            Cell(goal.target),
            Cell(show_number(goal.figure.value, goal.unit) if goal.figure else NOTHING),
            Cell(show_range(goal.figure, goal.unit) if goal.figure else NOTHING),
            Cell(show_p(goal.p_holm if goal.p_holm is not None else goal.figure.p if goal.figure else None)),
            Cell(words[goal.reached], strong=goal.reached is True),
        )
        for name, own in goals.items()
        for goal in own
    )
    names = ("target", "ours", "95 % interval", "p")
    columns = (*_texts("experiment", "goal"), *map(Column, names), *_texts("reached"))
    caption = "Goals, reached by the point estimate; p of alignment is Holm's over all ways of alignment and settings"
    return Table("goals", caption, columns, rows, _NO_DATA, num_heads=2)


def variants_table(evidence: Evidence, comparisons: Sequence[Comparison]) -> Table:
    """Each variant's difference to what it is held against, by setting."""
    settings = [setting for setting in SETTINGS if any(one.setting == setting for one in comparisons)]
    found = {(one.kind, one.system, one.other, one.setting): one for one in comparisons}
    rows = tuple(
        (
            Cell(kind),
            Cell(system),
            Cell(other),
            *(cell for setting in settings for cell in _comparison_cells(found[kind, system, other, setting])),
        )
        for kind, system, other in dict.fromkeys((one.kind, one.system, one.other) for one in comparisons)
    )
    names = [name for setting in settings for name in (f"Δ {setting}", "95 % interval", "p")]
    columns = (*_texts("variant of", "system", "less"), *map(Column, names))
    caption = (
        f"{evidence.name} ({evidence.domain}): differences in MRR@10 × 100, query by query; "
        f"{MARKS_EXPLAINED.replace('paired t-test, Holm over all comparisons', 'Holm over the variants of a kind')}"
    )
    return Table(file_name("variants", evidence.name), caption, columns, rows, _NO_DATA, num_heads=3)


def _comparison_cells(one: Comparison) -> Iterator[Cell]:
    yield Cell(show_number(one.figure.value, Unit.POINTS), mark_level(one.p_holm))
    yield Cell(show_range(one.figure, Unit.POINTS))
    yield Cell(show_p(one.figure.p))


def levels_table(evidence: Evidence, levels: Mapping[tuple[str, str], Figure]) -> Table:
    """A row a system: its MRR@10 by setting."""
    settings = [setting for setting in SETTINGS if any(own == setting for _, own in levels)]
    rows = tuple(
        (Cell(system), *(Cell(show_figure(levels[system, setting], Unit.LEVEL)) for setting in settings))
        for system in dict.fromkeys(system for system, _ in levels)
    )
    counts = (f"{setting} {evidence.scope(setting).sum()} cells" for setting in settings)
    caption = f"{evidence.name}: MRR@10 × 100 with 95 % intervals; {', '.join(counts)}"
    return Table(
        file_name("levels", evidence.name), caption, (*_texts("system"), *map(Column, settings)), rows, _NO_DATA
    )


def _texts(*names: str) -> tuple[Column, ...]:
    """Columns of text, which stand to the left."""
    return tuple(Column(name, right=False) for name in names)
