"""A table of strings, and how it is written: Markdown, LaTeX, CSV, and for the terminal. Knows no measure."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import polars as pl
from rich import box
from rich.cells import cell_len
from rich.console import Group, RenderableType
from rich.table import Table as TerminalTable
from rich.text import Text

_MANY_COLUMNS, _LONG_TEXT = 6, 30  # with more columns LaTeX sets them closer; longer texts it breaks

_LATEX = str.maketrans(
    {character: rf"\{character}" for character in "&%$#_{}"}
    | {
        "\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": "$<$", ">": "$>$",
        "|": "$|$", "−": "$-$", "Δ": r"$\Delta$", "×": r"$\times$", "–": "--", "…": r"\dots{}", "·": r"$\cdot$",
        '"': "''", "\n": " ", "\u00a0": "~",
    }
)  # fmt: skip
_MARKDOWN = re.compile(r"[\\`*_|~]|[<&](?=[\w#/!?])|(?<=\])\(")


class Cell(NamedTuple):
    """What stands in one place of a table."""

    text: str
    mark: str = ""  # hangs behind the text, and moves nothing out of line
    strong: bool = False


class Column(NamedTuple):
    name: str
    right: bool = True  # numbers stand to the right


@dataclass(frozen=True)
class Table:
    """Strings for people, and the same at full precision for programs; the first `num_heads` columns name the row.

    A group is a run of rows with the same first cell; with several heads, a rule stands between groups.
    """

    name: str  # of its files, without an ending
    caption: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[Cell, ...], ...]
    data: pl.DataFrame
    num_heads: int = 1

    @property
    def marked(self) -> list[bool]:
        """Which columns have marks."""
        return [any(cells[k].mark for cells in self.rows) for k in range(len(self.columns))]

    def starts_group(self, row: int) -> bool:
        """Whether a rule stands above the row; not above the first."""
        return self.num_heads > 1 and row > 0 and self.rows[row][0] != self.rows[row - 1][0]

    def repeats(self, row: int, column: int) -> bool:
        """Whether a head only says again what the row above says."""
        if row == 0 or column >= self.num_heads - 1:
            return False
        return self.rows[row][: column + 1] == self.rows[row - 1][: column + 1]


def file_name(*parts: str) -> str:
    """Parts joined by hyphens; what a file's name or a LaTeX label could not bear becomes "_"."""
    return re.sub(r"[^\w.@+-]+", "_", "-".join(parts))


def to_markdown(table: Table) -> str:
    """The caption and a table in GitHub's dialect, in line as plain text too."""
    names = [_escape_markdown(column.name) for column in table.columns]
    body = [[_markdown_cell(table, row, column) for column in range(len(names))] for row in range(len(table.rows))]
    widths = [max(3, *(cell_len(line[k]) for line in [names, *body])) for k in range(len(names))]
    rules = ["-" * (w - 1) + ":" if c.right else "-" * w for c, w in zip(table.columns, widths, strict=True)]
    lines = [
        "| " + " | ".join(_pad(*one) for one in zip(line, widths, table.columns, strict=True)) + " |"
        for line in [names, rules, *body]
    ]
    return "\n".join([_escape_markdown(table.caption), "", *lines, ""])


def _markdown_cell(table: Table, row: int, column: int) -> str:
    if table.repeats(row, column):
        return ""
    text, mark, strong = table.rows[row][column]
    return (f"**{_escape_markdown(text)}**" if strong else _escape_markdown(text)) + _escape_markdown(mark)


def _escape_markdown(text: str) -> str:
    return _MARKDOWN.sub(r"\\\g<0>", text.replace("\n", " "))


def _pad(text: str, width: int, column: Column) -> str:
    blanks = " " * (width - cell_len(text))
    return blanks + text if column.right else text + blanks


def to_latex(table: Table) -> str:
    r"""A `table` with caption and label `tab:NAME`, to be read by \input; needs booktabs and nothing else."""
    closer = r"\footnotesize\setlength{\tabcolsep}{3pt}" if len(table.columns) > _MANY_COLUMNS else r"\small"
    marked = table.marked
    names = (
        rf"\multicolumn{{1}}{{r@{{}}}}{{{escape_latex(column.name)}}} &" if mark else escape_latex(column.name)
        for column, mark in zip(table.columns, marked, strict=True)
    )
    return "\n".join(
        [
            r"% needs \usepackage{booktabs}",
            r"\begin{table}",
            rf"\centering{closer}",
            rf"\caption{{{escape_latex(table.caption)}}}",
            rf"\label{{tab:{table.name}}}",
            rf"\begin{{tabular}}{{{''.join(_latex_column(table, k) for k in range(len(table.columns)))}}}",
            r"\toprule",
            _latex_line(names),
            r"\midrule",
            *_latex_rows(table),
            r"\bottomrule",
            r"\end{tabular}",
            r"\end{table}",
            "",
        ]
    )


def _latex_column(table: Table, column: int) -> str:
    """Marks have a column of their own without a gap before it; long text is broken into lines."""
    if table.columns[column].right:
        return "r@{}l" if table.marked[column] else "r"
    longest = max((len(cells[column].text) for cells in table.rows), default=0)
    return "l" if longest <= _LONG_TEXT else r"p{.25\linewidth}"


def _latex_rows(table: Table) -> Iterator[str]:
    marked = table.marked
    for row, cells in enumerate(table.rows):
        if table.starts_group(row):
            yield r"\midrule"
        yield _latex_line("" if table.repeats(row, k) else _latex_cell(cell, marked[k]) for k, cell in enumerate(cells))


def _latex_line(texts: Iterable[str]) -> str:
    """A row. The rule or the row before it would take a bracket or a star at its start for an argument of their own."""
    line = " & ".join(texts)
    return "{}" * line.startswith(("[", "*")) + line + r" \\"


def _latex_cell(cell: Cell, marked: bool) -> str:
    text = rf"\textbf{{{escape_latex(cell.text)}}}" if cell.strong else escape_latex(cell.text)
    return f"{text} & $^{{{cell.mark}}}$" if marked and cell.mark else f"{text} &" if marked else text


def escape_latex(text: str) -> str:
    return text.translate(_LATEX)


def to_csv(table: Table) -> str:
    """The table's data, unrounded, with a header; what is missing is empty."""
    return table.data.write_csv()


def to_terminal(table: Table) -> RenderableType:
    """The caption and the table for rich. Marks stand in columns of their own, so that numbers stay in line."""
    shown = TerminalTable(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    marked = table.marked
    for column, has_marks in zip(table.columns, marked, strict=True):
        # Where room is short, long labels are broken and numbers stay whole.
        shown.add_column(
            Text(column.name), justify="right" if column.right else "left", no_wrap=column.right, overflow="fold"
        )
        if has_marks:
            shown.add_column("", no_wrap=True)
    for row, cells in enumerate(table.rows):
        if table.starts_group(row):
            shown.add_section()
        texts: list[Text] = []
        for k, cell in enumerate(cells):
            texts.append(Text("" if table.repeats(row, k) else cell.text, "bold" if cell.strong else ""))
            texts += [Text(cell.mark)] * marked[k]
        shown.add_row(*texts)
    return Group(Text(table.caption), shown)
