"""Lines of the claims: differences of the systems that play roles, over the cells that a claim is about."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

import polars as pl

from eval.claims.evidence import Contrast, Evidence, Figure, Ratio
from eval.claims.judging import Line, Unit


@dataclass(frozen=True)
class Lines:
    """Makes lines of an output; one whose systems or cells are missing says so in place of a number."""

    evidence: Evidence

    def make(
        self,
        line: Line,
        systems: Mapping[str, str],
        cells: Sequence[pl.Series],
        measure: Callable[[], Contrast | Ratio | Figure | None],
    ) -> Line:
        """`line` with what it is made of. `systems`: by role; `cells`: masks, each of which must hold some."""
        if absent := [role for role, system in systems.items() if not system]:
            return replace(line, lacks=f"no {' and no '.join(absent)}")
        if not all(mask.any() for mask in cells):
            return replace(line, lacks="no such cells")
        what = measure()
        return replace(line, what=what, lacks="" if what else "too few languages, or one distance or value everywhere")

    def difference(self, line: Line, roles: tuple[str, str], cells: pl.Series) -> Line:
        """The first role's system less the second's."""
        systems = self.systems(*roles)
        one, other = systems.values()
        return self.make(line, systems, [cells], partial(self.evidence.difference, one, other, cells))

    def level(self, label: str, role: str, cells: pl.Series, paper: str = "") -> Line:
        """A role's system by itself."""
        systems = self.systems(role)
        line = Line(label, paper=paper, unit=Unit.LEVEL)
        return self.make(line, systems, [cells], partial(self.evidence.average, systems[role], cells))

    def share(self, label: str, role: str, paper: str = "") -> Line:
        """What a role's system closes of the gap between zero-shot and translated in CLIR."""
        systems = self.systems(role, "translated", "zero_shot")
        line = Line(label, paper=paper, unit=Unit.SHARE)
        return self.make(line, systems, [self.evidence.scope("CLIR")], partial(gap_share, self.evidence, systems[role]))

    def bilingual(self, line: Line, role: str, way: "OfPairs") -> Line:
        """The mean over the pairs of each BL-CS less a role's system, or the other way round."""
        pairs = [(system, way.cells(self.evidence, cell)) for _, system, cell in own_pairs(self.evidence)]
        pairs = [(system, cells) for system, cells in pairs if cells.any()]
        systems = {"bl_cs of a pair that is measured": ", ".join(system for system, _ in pairs), **self.systems(role)}
        parts = (self.evidence.difference(system, systems[role], cells) * way.sign for system, cells in pairs)
        return self.make(line, systems, [], lambda: mean_of(list(parts)))

    def systems(self, *roles: str) -> dict[str, str]:
        return {role: getattr(self.evidence.roles, role) for role in roles}


@dataclass(frozen=True)
class OfPairs:
    """Which cells of BL-CS's pairs are meant, and in which order the difference is taken."""

    same_language: bool = False  # MoIR of the pair's languages, not the pair itself
    sign: float = 1.0  # -1: the other system less BL-CS

    def cells(self, evidence: Evidence, pair: pl.Series) -> pl.Series:
        if not self.same_language:
            return pair
        languages = evidence.cells.filter(pair)["languages"].explode().to_list()
        return evidence.where("MoIR") & evidence.cells["query_language"].is_in(languages)


def own_pairs(evidence: Evidence) -> list[tuple[str, str, pl.Series]]:
    """Of each BL-CS: its pair, its system and the pair's cell, where that is measured."""
    found = [(pair, system, cell_of(evidence, pair)) for pair, system in evidence.roles.bl_cs.items()]
    return [one for one in found if one[2].any()]


def cell_of(evidence: Evidence, name: str) -> pl.Series:
    return evidence.cells["cell"] == name


def mean_of(parts: Sequence[Contrast]) -> Contrast:
    total = parts[0]
    for one in parts[1:]:
        total = total + one
    return total * (1 / len(parts))


def gap_share(evidence: Evidence, system: str) -> Ratio:
    """What a system gains over zero-shot, in relation to what translated does, in CLIR."""
    zero, clir = evidence.roles.zero_shot, evidence.scope("CLIR")
    return Ratio(evidence.difference(system, zero, clir), evidence.difference(evidence.roles.translated, zero, clir))
