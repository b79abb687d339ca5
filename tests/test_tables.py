"""Tables of results: what they hold, and how Markdown, LaTeX, CSV and the terminal show them."""

import csv
import io
import re
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console
from toy_results import frame, rich_results, small_results

from eval.reporting.formats import Cell, Column, Table, file_name, to_csv, to_latex, to_markdown, to_terminal
from eval.reporting.grids import gain_grid, order_by_script, value_grid
from eval.reporting.notation import (
    mark_level,
    show_difference,
    show_interval,
    show_p,
    show_quartiles,
    show_range,
    show_value,
)
from eval.reporting.report import terminal_view, write_tables
from eval.reporting.tables import (
    bins_table,
    cells_table,
    comparisons_table,
    fairness_table,
    grid_table,
    inventory_table,
    make_tables,
    overall_table,
    ranks_table,
    shares_table,
    summary_table,
)
from eval.results import empty_frame

LINE = st.text(st.characters(exclude_categories=["Cs", "Cc", "Zl", "Zp"], exclude_characters="\u00a0"))


@pytest.fixture(scope="module")
def rich():
    return rich_results()


def texts(table):
    return [tuple(cell.text + cell.mark for cell in row) for row in table.rows]


def strong(table):
    return [(row[0].text, cell.text) for row in table.rows for cell in row if cell.strong]


def render(view, width=100):
    console = Console(width=width, file=io.StringIO(), force_terminal=False)
    console.print(view)
    return console.file.getvalue()


# Numbers.


def test_differences_have_a_sign_and_what_rounds_to_nothing_has_none():
    shown = [show_difference(x) for x in (0.051, -0.003, 0.0004, -0.0004, 0.0, None)]
    assert shown == ["+5.1", "−0.3", "0.0", "0.0", "0.0", "–"]


def test_intervals_stand_in_brackets_and_are_left_out_where_unknown():
    assert show_interval({"value": 0.422, "low": 0.401, "high": 0.443}) == "42.2 [40.1, 44.3]"
    assert show_interval({"value": 0.422, "low": None, "high": None}) == "42.2"


def test_ranks_show_their_median_and_quartiles():
    assert show_quartiles({"median": 1200.0, "q25": 3.5, "q75": 4000.0}) == "1,200 [3.5, 4,000]"
    assert show_quartiles({"median": None, "q25": None, "q75": None}) == "–"


def test_p_values_have_three_places_and_no_leading_zero():
    assert [show_p(p) for p in (0.0009, 0.001, 0.0314, 1.0, None)] == ["<.001", ".001", ".031", "1.000", "–"]


def test_ranges_of_equal_ends_are_one_number():
    assert (show_range(99, 99), show_range(990, 1190), show_range(None, None)) == ("99", "990–1,190", "–")


def test_marks_follow_the_levels_and_are_below_them_not_at_them():
    assert [mark_level(p) for p in (0.0009, 0.001, 0.01, 0.05, None)] == ["***", "**", "*", "", ""]


# What tables hold.


def test_summary_has_systems_by_settings_with_differences_and_marks():
    table = summary_table(small_results(), "RR@10")
    assert [column.name for column in table.columns] == ["benchmark", "system", "MoIR", "Δ MoIR", "CLIR", "Δ CLIR"]
    assert texts(table) == [
        ("debian", "bm25", "50.0", "–", "12.5", "–"),
        ("debian", "psq", "50.0", "0.0", "25.0", "+12.5***"),
    ]


def test_the_best_of_a_setting_is_strong_by_what_was_measured_not_by_what_is_shown():
    assert strong(summary_table(small_results(), "RR@10")) == [("debian", "50.0"), ("debian", "25.0")]
    assert summary_table(small_results(), "RR@10").rows[0][2].strong  # .5 is above .4996


def test_of_equal_systems_each_is_strong_and_a_system_alone_is_not():
    rows = [("debian", "MoIR", system, "RR@10", 0.5, 0.4, 0.6, 1, 40) for system in ("bm25", "psq")]
    tied = summary_table(small_results(summary=frame("summary", rows)), "RR@10")
    alone = summary_table(small_results(summary=frame("summary", rows[:1])), "RR@10")
    assert (len(strong(tied)), len(strong(alone))) == (2, 0)


def test_without_comparisons_there_are_no_differences():
    results = small_results(comparisons=empty_frame("comparisons"))
    assert [column.name for column in summary_table(results, "RR@10").columns] == [
        "benchmark",
        "system",
        "MoIR",
        "CLIR",
    ]
    assert "Δ" not in summary_table(results, "RR@10").caption


def test_grid_has_query_languages_by_passage_languages_with_moir_in_bold(rich):
    table = grid_table(rich, "xquad-r", "psq", "RR@10")
    assert len(table.rows) == 12
    assert [cell.strong for cell in table.rows[0]] == [False, True] + [False] * 11
    values = rich.values.filter(benchmark="xquad-r", cell="de-th", system="psq", measure="RR@10")
    thai = [column.name for column in table.columns].index("th")
    assert (table.rows[0][0].text, table.rows[0][thai].text) == ("de", f"{100 * values['value'][0]:.1f}")


def test_grid_leaves_out_mixed_and_pooled_cells(rich):
    grid = value_grid(rich, "xquad-r", "psq", "RR@10")
    assert not {"xx", "all"} & {*grid.query_languages, *grid.passage_languages}
    assert len(grid.values) == 144


def test_cells_that_were_not_measured_stay_empty_in_a_grid():
    cells = [("debian", "CLIR", cell, *cell.split("-"), 40, 900, 0) for cell in ("de-en", "fr-it")]
    values = [("debian", "CLIR", cell, "bm25", "RR@10", 0.5, 0.4, 0.6, 40, 1) for cell in ("de-en", "fr-it")]
    results = small_results(cells=frame("cells", cells), values=frame("values", values))
    assert texts(grid_table(results, "debian", "bm25", "RR@10")) == [("de", "50.0", "–"), ("fr", "–", "50.0")]


def test_languages_of_a_script_stand_together_the_commonest_script_first():
    assert order_by_script(["ru", "ar", "de", "bg", "en", "xx-unknown", "it"]) == [
        "de", "en", "it", "ru", "bg", "ar", "xx-unknown",
    ]  # fmt: skip


def test_gains_know_which_are_significant_after_holm():
    grid = gain_grid(small_results(), "debian", "psq", "RR@10")
    assert grid.values == {("en", "en"): -0.0004, ("de", "en"): 0.125}
    assert grid.significant == {("de", "en")}


def test_cells_have_every_system_with_interval_and_mark():
    assert texts(cells_table(small_results(), "debian", "RR@10")) == [
        ("MoIR", "en-en", "40", "50.0 [45.0, 60.0]", "50.0 [45.0, 60.0]"),
        ("CLIR", "de-en", "40", "12.5 [7.5, 60.0]", "25.0 [20.0, 60.0]*"),
    ]


def test_settings_stand_together_in_the_order_of_the_field(rich):
    settings_of_rows = [row[0].text for row in cells_table(rich, "xquad-r", "RR@10").rows]
    assert settings_of_rows == ["MoIR"] * 12 + ["CLIR"] * 132 + ["MLIR"] * 6


def test_comparisons_have_intervals_and_p_values():
    assert texts(comparisons_table(small_results(), "debian", "RR@10")) == [
        ("MoIR", "en-en", "psq", "0.0", "[−1.0, +1.0]", ".800", ".790", "1.000", ".800", "40"),
        ("CLIR", "de-en", "psq", "+12.5*", "[+10.0, +15.0]", ".004", ".005", ".016", ".012", "40"),
    ]
    assert [row[:4] for row in texts(overall_table(small_results()))] == [
        ("debian", "MoIR", "psq", "RR@10"),
        ("debian", "CLIR", "psq", "RR@10"),
    ]


def test_bins_stand_in_their_order_with_the_number_of_queries():
    rows = [
        ("debian", "CLIR", "overlap", label, order, "bm25", "RR@10", 0.1, 0.05, 0.15, 1000 + order)
        for label, order in (("0.5-1", 1), ("0-0.5", 0))
    ]
    assert texts(bins_table(small_results(bins=frame("bins", rows)), "debian", "RR@10")) == [
        ("CLIR", "overlap", "0-0.5", "1,000", "10.0 [5.0, 15.0]"),
        ("CLIR", "overlap", "0.5-1", "1,001", "10.0 [5.0, 15.0]"),
    ]


def test_fairness_says_which_end_is_fair_and_calls_no_system_the_best():
    rows = [
        ("debian", "en-all.2", system, measure, value, 40)
        for measure, values in (("PEER@20", (0.25, 0.5)), ("W@20", (0.75, 0.125)))
        for system, value in zip(("bm25", "psq"), values, strict=True)
    ]
    table = fairness_table(small_results(fairness=frame("fairness", rows)), "debian")
    assert texts(table) == [("en-all.2", "PEER@20", "40", "25.0", "50.0"), ("en-all.2", "W@20", "40", "75.0", "12.5")]
    assert strong(table) == []
    assert table.caption.endswith("; PEER: 100 is fair, 0 is not; W: 0 is fair, 100 is not")


def test_ranks_and_shares_stand_by_language():
    rows = [("debian", "en-all.2", "psq", "de", 2.0, 3.0, 11.0, 0.25, 0.5)]
    results = small_results(language_ranks=frame("language_ranks", rows))
    assert texts(ranks_table(results, "debian")) == [("en-all.2", "de", "3 [2, 11]")]
    assert texts(shares_table(results, "debian")) == [("en-all.2", "de", "50.0", "25.0")]


def test_a_system_without_a_figure_leaves_a_dash():
    results = small_results()
    results = replace(
        results, values=results.values.filter(~((pl.col("system") == "psq") & (pl.col("setting") == "CLIR")))
    )
    assert texts(cells_table(results, "debian", "RR@10"))[1] == ("CLIR", "de-en", "40", "12.5 [7.5, 60.0]", "–")


def test_inventory_counts_cells_queries_passages_and_what_is_left_out(rich):
    rows = texts(inventory_table(rich))
    assert rows[2] == ("xquad-r", "MLIR", "6", "xx en ar", "en xx all", "1,178", "3,360", "72")
    assert rows[3] == ("legal-gdpr", "MoIR", "1", "en", "en", "99", "272", "0")


def test_tables_without_rows_are_not_made():
    assert [table.name for table in make_tables(small_results())] == [
        "inventory", "summary-RR@10", "comparisons", "grid-debian-bm25-RR@10", "grid-debian-psq-RR@10",
        "cells-debian-RR@10", "comparisons-debian-RR@10",
    ]  # fmt: skip


def test_results_without_any_row_make_no_table():
    names = ("cells", "values", "summary", "comparisons")
    assert make_tables(small_results(**{name: empty_frame(name) for name in names})) == []


def test_names_of_files_hold_nothing_that_a_path_could_not_bear():
    assert file_name("grid", "my set/v2", "bm25+latinised", "RR@10") == "grid-my_set_v2-bm25+latinised-RR@10"


# How they are written.

TABLE = Table(
    "toy",
    "A caption",
    (Column("setting", False), Column("system", False), Column("RR@10"), Column("Δ")),
    (
        (Cell("MoIR"), Cell("a_b"), Cell("42.2", strong=True), Cell("–")),
        (Cell("MoIR"), Cell("c|d"), Cell("7.0"), Cell("−35.2", "***")),
        (Cell("CLIR"), Cell("a_b"), Cell("1.5"), Cell("+0.1", "*")),
    ),
    pl.DataFrame({"system": ["a_b"], "value": [0.1 + 0.2]}),
    num_heads=2,
)


def test_markdown_is_in_line_as_plain_text_too():
    assert to_markdown(TABLE).splitlines() == [
        "A caption",
        "",
        r"| setting | system |    RR@10 |           Δ |",
        r"| ------- | ------ | -------: | ----------: |",
        r"| MoIR    | a\_b   | **42.2** |           – |",
        r"|         | c\|d   |      7.0 | −35.2\*\*\* |",
        r"| CLIR    | a\_b   |      1.5 |      +0.1\* |",
    ]


def test_latex_needs_booktabs_alone_and_puts_marks_behind_the_numbers():
    assert to_latex(TABLE).splitlines() == [
        r"% needs \usepackage{booktabs}",
        r"\begin{table}",
        r"\centering\small",
        r"\caption{A caption}",
        r"\label{tab:toy}",
        r"\begin{tabular}{llrr@{}l}",
        r"\toprule",
        r"setting & system & RR@10 & \multicolumn{1}{r@{}}{$\Delta$} & \\",
        r"\midrule",
        r"MoIR & a\_b & \textbf{42.2} & -- & \\",
        r" & c$|$d & 7.0 & $-$35.2 & $^{***}$ \\",
        r"\midrule",
        r"CLIR & a\_b & 1.5 & +0.1 & $^{*}$ \\",
        r"\bottomrule",
        r"\end{tabular}",
        r"\end{table}",
    ]


def test_csv_holds_full_precision():
    assert list(csv.reader(io.StringIO(to_csv(TABLE)))) == [["system", "value"], ["a_b", "0.30000000000000004"]]


def test_terminal_keeps_numbers_in_line_whatever_their_marks():
    lines = [line.rstrip() for line in render(to_terminal(TABLE)).splitlines() if line.strip()]
    assert lines[:2] == ["A caption", " setting  system  RR@10      Δ"]
    assert lines[3:] == [
        " MoIR     a_b      42.2      –",
        "          c|d       7.0  −35.2  ***",
        " CLIR     a_b       1.5   +0.1  *",
    ]


def test_a_label_is_no_markup_in_the_terminal():
    table = replace(TABLE, rows=((Cell("MoIR"), Cell("[red]x[/red]"), Cell("1.0"), Cell("–")),))
    assert "[red]x[/red]" in render(to_terminal(table))


@pytest.mark.parametrize("label", ["[x]", "*x"])
def test_a_latex_row_never_begins_with_an_argument_of_the_rule_before_it(label):
    table = replace(TABLE, rows=((Cell(label), Cell("b"), Cell("1.0"), Cell("–")),))
    assert rf"{{}}{label} & b & 1.0 & -- \\" in to_latex(table).splitlines()


@settings(max_examples=60, deadline=None)
@given(LINE)
def test_any_label_leaves_a_markdown_row_its_four_cells(label):
    table = replace(TABLE, rows=((Cell(label), Cell(label), Cell(label, strong=True), Cell(label, "*")),))
    row = to_markdown(table).splitlines()[-1]
    assert len(re.findall(r"(?<!\\)(?:\\\\)*\|", row)) == 5


@settings(max_examples=60, deadline=None)
@given(LINE)
def test_any_label_leaves_latex_without_a_bare_special_character(label):
    table = replace(TABLE, rows=((Cell("s"), Cell(label), Cell("1.0"), Cell("–")),))
    row = to_latex(table).split("\\midrule\n")[1].split(r" & 1.0 & ")[0].removeprefix("s & ")
    bare = re.sub(r"\\text\w+\{\}|\\dots\{\}|\$(?:[<>|-]|\\\w+)\$|\\[&%$#_{}]", "", row)
    assert not set(bare) & set("&%$#_{}\\~^")


@settings(max_examples=40, deadline=None)
@given(LINE)
def test_csv_reads_back_any_label(label):
    table = replace(TABLE, data=pl.DataFrame({"system": [label]}))
    assert list(csv.reader(io.StringIO(to_csv(table), newline=""))) == [["system"], [label]]


def test_tables_are_written_as_one_markdown_file_and_each_as_latex_and_csv(tmp_path):
    paths = write_tables(make_tables(small_results()), str(tmp_path))
    names = sorted(Path(path).name for path in paths)
    assert len(names) == 1 + 2 * 7
    assert sorted(path.name for path in tmp_path.iterdir()) == names
    assert (tmp_path / "tables.md").read_text().count("\n| ---") == 7
    assert pl.read_csv(tmp_path / "grid-debian-psq-RR@10.csv").rows() == [("en", 0.4996), ("de", 0.25)]


# The terminal.


def test_terminal_view_has_the_summary_one_small_grid_and_the_warnings(rich):
    text = render(terminal_view(rich))
    assert "RR@10 × 100, means of a setting's cells" in text
    assert "RR@10 × 100 of bm25 on xquad-r" in text
    assert "legal-gdpr: query" not in text  # 24 languages are too many
    assert text.count("warning:") == 2
    assert max(map(len, text.splitlines())) <= 100


def test_terminal_view_without_a_grid_of_several_rows_has_the_summary_alone():
    results = small_results()
    results = replace(results, cells=results.cells.head(1), values=results.values.head(2))
    assert "query languages by" not in render(terminal_view(results))


def test_terminal_view_fits_eighty_columns(rich):
    lines = render(terminal_view(rich), 80).splitlines()
    assert not any("…" in line for line in lines)
    assert any(line.rstrip().endswith("−22.2  ***") for line in lines)


def test_what_rounds_to_nothing_has_no_sign():
    assert (show_value(-1e-9), show_difference(-1e-9)) == ("0.0", "0.0")
