"""The answer to the research question: a text by hand, into which figures are put where it asks for them."""

import re
from collections.abc import Mapping, Sequence

from csgen.errors import InputError
from eval.claims.evidence import Contrast, Evidence, Figure, Ratio
from eval.claims.judging import Unit
from eval.claims.lines import gap_share
from eval.reporting.claims_notation import show_figure
from eval.reporting.notation import show_p
from eval.results import SETTINGS

_PLACEHOLDER = re.compile(r"\{([^{}]*)\}")
_SHARE = "share of "
_FORMS = (
    "{EXPERIMENT | SYSTEM | SETTING}, {EXPERIMENT | SYSTEM - SYSTEM | SETTING} or {EXPERIMENT | share of SYSTEM} with "
    f"the settings {', '.join(SETTINGS)}"
)


def fill_answer(text: str, outputs: Sequence[Evidence], seed: int) -> str:
    """The text with a figure and its interval in each placeholder; one that names nothing is an InputError."""
    known = {one.name: one for one in outputs}
    return _PLACEHOLDER.sub(lambda match: _show(match[1], known, seed), text)


def _show(content: str, known: Mapping[str, Evidence], seed: int) -> str:
    experiment, *rest = (part.strip() for part in content.split("|"))
    if experiment not in known:
        raise InputError(f"answer: {{{content}}}: no experiment {experiment!r}; expected one of {', '.join(known)}")
    evidence = known[experiment]
    if len(rest) == 1 and rest[0].startswith(_SHARE):
        system = _choose_system(content, rest[0].removeprefix(_SHARE).strip(), evidence)
        if not (evidence.roles.zero_shot and evidence.roles.translated and evidence.scope("CLIR").any()):
            raise InputError(f"answer: {{{content}}}: a share needs zero_shot, translated and CLIR")
        return _tell(evidence, gap_share(evidence, system), Unit.SHARE, seed)
    if len(rest) != 2 or rest[1] not in SETTINGS or not evidence.scope(rest[1]).any():
        raise InputError(f"answer: {{{content}}}: expected {_FORMS}, as far as {experiment} has them")
    names, cells = rest[0], evidence.scope(rest[1])
    if names in evidence.values:
        return _tell(evidence, evidence.average(names, cells), Unit.LEVEL, seed)
    one, _, other = names.partition(" - ")
    left, right = (_choose_system(content, name.strip(), evidence) for name in (one, other))
    return _tell(evidence, evidence.difference(left, right, cells), Unit.POINTS, seed)


def _choose_system(content: str, system: str, evidence: Evidence) -> str:
    if system not in evidence.values:
        raise InputError(
            f"answer: {{{content}}}: {evidence.name} has no system {system!r} with a role; expected one of "
            f"{', '.join(evidence.values)}"
        )
    return system


def _tell(evidence: Evidence, wanted: Contrast | Ratio, unit: Unit, seed: int) -> str:
    figure: Figure = evidence.estimate([wanted], seed)[0]
    if unit != Unit.POINTS or figure.p is None:
        return show_figure(figure, unit)
    p = show_p(figure.p)
    return f"{show_figure(figure, unit)}, p {p.replace('<', '< ') if p.startswith('<') else f'= {p}'}"
