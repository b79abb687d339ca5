"""`csgen lexicon induce` and `csgen lexicon pivot`."""

from collections.abc import Iterator
from typing import Any

from rich import box
from rich.table import Table

from cluster.terminal import Report, Terminal
from csgen.induction.induce import InduceConfig, induce_lexicon
from csgen.induction.pivot import PivotConfig, pivot_lexicons


def induce(config: InduceConfig, terminal: Terminal) -> Report:
    return _report(induce_lexicon(config), config.output)


def pivot(config: PivotConfig, terminal: Terminal) -> Report:
    return _report(pivot_lexicons(config), config.output)


def _report(counts: dict[str, Any], output: str) -> Report:
    table = Table("what", box=box.SIMPLE_HEAD, caption=f"in {output}", caption_justify="left")
    table.add_column("number", justify="right")
    for what, number in _rows(counts, ""):
        table.add_row(what, f"{number:,}")
    return Report(counts | {"output": output}, table)


def _rows(counts: dict[str, Any], prefix: str) -> Iterator[tuple[str, float]]:
    """Each number with the names that lead to it."""
    for name, value in counts.items():
        if isinstance(value, dict):
            yield from _rows(value, f"{prefix}{name}: ")
        else:
            yield f"{prefix}{name}", value
