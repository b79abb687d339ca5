"""`csgen plan`."""

from dataclasses import asdict
from typing import Any

from rich import box
from rich.console import Group
from rich.table import Table

from cluster.commands.lexicon import coverage_table
from cluster.terminal import Report, Terminal
from csgen.plan import Plan, PlanConfig, make_plan
from csgen.planning import SidePrediction
from csgen.report import label


def plan(config: PlanConfig, terminal: Terminal) -> Report:
    made = make_plan(config)
    listed = made.coverage_without_forms
    covered = coverage_table(made.coverage) if listed is None else coverage_table(listed, made.coverage)
    return Report(_summarise(made), Group(_sides_table(made), covered, _costs(made)))


def _summarise(made: Plan) -> dict[str, Any]:
    sides = {side: asdict(p) | {"realised_ratio": p.realised_ratio} for side, p in made.sides.items()}
    listed = made.coverage_without_forms
    return {
        "rows": made.rows,
        "sample_rows": made.sample_rows,
        "sides": sides,
        "coverage": made.coverage.to_dicts(),
        "coverage_without_forms": listed.to_dicts() if listed is not None else None,
        "seconds": made.seconds,
        "bytes": made.num_bytes,
    }


def _sides_table(made: Plan) -> Table:
    table = Table("side, language", box=box.SIMPLE_HEAD)
    for name in ("tokens in sample", "protected", "probability", "coverage", "switched"):
        table.add_column(name, justify="right")
    for side, predicted in made.sides.items():
        _add_side(table, side, predicted)
    return table


def _add_side(table: Table, side: str, predicted: SidePrediction) -> None:
    table.add_row(
        side,
        f"{predicted.tokens:,}",
        f"{predicted.protected_ratio:.1%}",
        f"{predicted.probability:.4f}",
        "",
        f"{predicted.realised_ratio:.1%}",
        style="bold",
    )
    for language, covered in predicted.coverage.items():
        table.add_row(
            f"  {label(language)}", "", "", "", f"{covered:.1%}", f"{predicted.realised.get(language, 0.0):.1%}"
        )
    table.add_section()


def _costs(made: Plan) -> str:
    what = f"all {made.rows:,} pairs" if made.rows else f"{made.sample_rows:,} pairs (text files do not tell how many)"
    return f"To switch {what}: about {made.seconds:,.0f} s of work and {made.num_bytes / 1e6:,.1f} MB of output."
