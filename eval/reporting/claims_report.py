"""The report of claims: one list of sections, written as a page and as Markdown, and what the terminal shows."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape

import polars as pl
from rich.console import Group, RenderableType
from rich.text import Text

from eval.claims.evidence import Evidence, list_languages
from eval.claims.findings import Report, count_verdicts
from eval.claims.judging import Claim, Verdict
from eval.claims.spec import DOMAINS
from eval.reporting.claims_plots import draw_distance, draw_gains, draw_gap, draw_ratios, draw_variants
from eval.reporting.claims_tables import claim_table, goals_table, levels_table, variants_table, verdicts_table
from eval.reporting.formats import Cell, Column, Table, to_markdown, to_terminal
from eval.reporting.page import fold, html_image, html_table, wrap_page
from eval.reporting.plots import Plot
from eval.results import SETTINGS

_COMMAND = "csgen claims CLAIMS.yaml --output FOLDER"
_METHOD = (
    "Figures are RR@10 × 100 (the paper's MRR@10), means of cells, those of the languages that were trained on. "
    "Intervals: 95 % bootstrap over queries. p: paired over queries, with seeds and queries as crossed random effects, "
    "so that with few seeds it may be .05 or more where the interval leaves out 0; of a system with one seed, over "
    "queries alone. Holm: corrected over the tests that decide a claim in an experiment.",
    "A claim holds where every condition of its rule is met; it does not hold where one is not, which may also be for "
    "want of queries or seeds: see the intervals.",
)
_NO_ANSWER = "No answer is written yet: the claims file's `answer` is empty."


@dataclass(frozen=True)
class Section:
    """A part of the report: paragraphs, then plots, then tables."""

    name: str
    title: str
    paragraphs: tuple[str, ...] = ()
    plots: tuple[Plot, ...] = ()
    tables: tuple[Table, ...] = ()
    code: str = ""
    part_of: str = ""  # the section that it stands in; none: it is one itself


def list_sections(report: Report) -> list[Section]:
    """The report's parts, in order."""
    distance = {name: judged[3] for name, judged in report.judged.items()}
    own_plots = {
        1: [draw_gains(report.outputs, report.gains)],
        4: [draw_distance(distance)],
        5: [draw_gap(report.outputs, report.levels)],
        9: [draw_ratios(report.outputs, report.levels)],
    }
    return [
        Section("verdicts", "Verdicts", _METHOD, (), (verdicts_table(report.claims, report.judged),)),
        Section("goals", "Goals", (), (), (goals_table(report.goals),)),
        _research_section(report),
        Section("claims", "Claim by claim"),
        *(_claim_section(report, k, _drawn(own_plots.get(claim.number, []))) for k, claim in enumerate(report.claims)),
        Section("systems", "Systems and cells", (), (), (_outputs_table(report.outputs), *_level_tables(report))),
        Section("reproduce", "How to reproduce", (), (), (), f"{_COMMAND}\n\n{report.source}"),
    ]


def _drawn(plots: Sequence[Plot | None]) -> tuple[Plot, ...]:
    return tuple(plot for plot in plots if plot is not None)


def _claim_section(report: Report, k: int, plots: tuple[Plot, ...]) -> Section:
    claim: Claim = report.claims[k]
    judged = {name: own[k] for name, own in report.judged.items()}
    verdicts = (
        f"{name}: {judgement.verdict}" + (f" ({'; '.join(judgement.notes)})" if judgement.notes else "")
        for name, judgement in judged.items()
    )
    paragraphs = (f"Paper: {claim.paper}.", f"Rule: {claim.rule}", *verdicts)
    tables = (claim_table(claim, judged),) if any(one.findings for one in judged.values()) else ()
    return Section(
        f"claim-{claim.number}", f"{claim.number}. {claim.text}", paragraphs, plots, tables, part_of="claims"
    )


def _research_section(report: Report) -> Section:
    answer = report.answer.strip() or _NO_ANSWER
    tables = tuple(variants_table(one, report.comparisons[one.name]) for one in _by_domain(report.outputs))
    return Section(
        "research",
        "The research question",
        (
            "Does multilingual alignment or robust training add to code-switching, in the domain of the training and "
            "on legal texts?",
            *(part.strip() for part in answer.split("\n\n")),
        ),
        _drawn([draw_variants(report.comparisons)]),
        tuple(table for table in tables if table.rows),
    )


def _by_domain(outputs: Sequence[Evidence]) -> list[Evidence]:
    return sorted(outputs, key=lambda one: DOMAINS.index(one.domain))


def _outputs_table(outputs: Sequence[Evidence]) -> Table:
    """What each experiment is decided on."""
    rows = tuple(
        (
            Cell(one.name),
            Cell(one.domain),
            Cell(", ".join(one.seen_languages) or "all"),
            *(Cell(f"{one.scope(setting).sum()} of {one.where(setting).sum()}") for setting in SETTINGS),
            Cell(", ".join(list_languages(one.cells))),
        )
        for one in outputs
    )
    columns = (
        *(Column(name, right=False) for name in ("experiment", "domain", "seen languages")),
        *map(Column, SETTINGS),
        Column("languages", right=False),
    )
    caption = (
        "Cells that claims are decided on, of all: those of seen languages alone; where a setting has none of these, "
        "all of its cells"
    )
    return Table("outputs", caption, columns, rows, pl.DataFrame())


def _level_tables(report: Report) -> Iterator[Table]:
    for one in report.outputs:
        table = levels_table(one, report.levels[one.name])
        if table.rows:
            yield table


def to_page(report: Report, sections: Sequence[Section], images: Mapping[str, bytes]) -> str:
    """The HTML; `images` holds the SVG of each plot by its name."""
    names = ", ".join(one.name for one in report.outputs)
    lead = f'<p class="lead">{escape(_count(report))}; {escape(names)}</p>\n'
    whole = [
        (
            one.name,
            one.title,
            "".join(
                text for part in sections if one.name in (part.name, part.part_of) for text in _to_html(part, images)
            ),
        )
        for one in sections
        if not one.part_of
    ]
    return wrap_page(report.name, lead, whole)


def _to_html(section: Section, images: Mapping[str, bytes]) -> Iterator[str]:
    if section.part_of:
        yield f'<h3 id="{section.name}">{escape(section.title)}</h3>\n'
    yield from (f"<p>{escape(text)}</p>\n" for text in section.paragraphs)
    if section.plots:
        yield f'<div class="plots">\n{"".join(html_image(plot, images[plot.name]) for plot in section.plots)}</div>\n'
    yield from map(html_table, section.tables)
    if section.code:
        yield fold("The command and the claims file", f"<pre><code>{escape(section.code)}</code></pre>\n")


def to_document(report: Report, sections: Sequence[Section]) -> str:
    """The Markdown, with the plots of the folder `plots`."""
    parts = [f"# {report.name}", _count(report)]
    for section in sections:
        parts += [f"{'###' if section.part_of else '##'} {section.title}", *section.paragraphs]
        parts += [f"![{plot.title}](plots/{plot.name}.svg)" for plot in section.plots]
        parts += [to_markdown(table).rstrip() for table in section.tables]
        parts += [f"```\n{section.code.rstrip()}\n```"] * bool(section.code)
    return "\n\n".join(parts) + "\n"


def to_screen(report: Report) -> RenderableType:
    """What `csgen claims` prints: verdicts and goals."""
    tables = (verdicts_table(report.claims, report.judged), goals_table(report.goals))
    return Group(*map(to_terminal, tables), Text(_count(report)))


def _count(report: Report) -> str:
    """ "12 of 40 hold, 3 do not hold, 25 are not measurable" over claims and experiments."""
    counts = count_verdicts(report)
    return (
        f"{len(report.claims)} claims in {len(report.judged)} experiments: {counts[Verdict.HOLDS]} hold, "
        f"{counts[Verdict.FAILS]} do not hold, {counts[Verdict.UNKNOWN]} are not measurable"
    )
