"""The page of an experiment: whole by itself, well-formed, escaped, and written with the rest of the report."""

from html.parser import HTMLParser
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from toy_results import frame, rich_results, small_results

from csgen.plots import write_plots
from eval.reporting.page import Origin, build_page, html_table
from eval.reporting.plots import draw_plots, read_images
from eval.reporting.report import write_report
from eval.reporting.tables import make_tables, summary_table
from eval.results import empty_frame

ORIGIN = Origin("csgen evaluate toy.yaml --output out", "name: toy\n", {"candidates": "BM25, the first 100"})
VOID = {"meta", "img", "br"}


class Outline(HTMLParser):
    """The elements of a page; elements that are left open or closed in the wrong order are a fault."""

    def __init__(self, page):
        super().__init__()
        self.elements, self.open, self.text = [], [], ""
        self.feed(page)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data

    def attributes(self, tag):
        return [attrs for name, attrs in self.elements if name == tag]


@pytest.fixture(scope="module")
def rich_page(tmp_path_factory):
    pytest.importorskip("matplotlib")
    results, folder = rich_results(), str(tmp_path_factory.mktemp("plots"))
    plots = [plot for plot in draw_plots(results) if plot.benchmark == "legal-gdpr"]
    write_plots({plot.name: plot.figure for plot in plots}, folder)
    return build_page(results, plots, read_images(plots, folder), ORIGIN)


@pytest.fixture(scope="module")
def outline(rich_page):
    return Outline(rich_page)


def test_nothing_is_loaded_from_elsewhere_and_no_script_runs(outline):
    references = [attrs[name] for _, attrs in outline.elements for name in ("src", "href") if name in attrs]
    assert references
    assert all(x.startswith(("data:image/svg+xml;base64,", "#")) for x in references)
    assert not {"script", "link", "iframe", "object"} & {tag for tag, _ in outline.elements}
    style = outline.text.partition("</style>")[0]
    assert "url(" not in style
    assert "@import" not in style


def test_links_lead_to_sections_and_ids_are_unique(outline):
    ids = [attrs["id"] for _, attrs in outline.elements if "id" in attrs]
    assert len(ids) == len(set(ids))
    assert {attrs["href"][1:] for attrs in outline.attributes("a")} <= set(ids)
    assert {attrs["aria-labelledby"] for attrs in outline.attributes("table")} <= set(ids)


def test_every_header_cell_says_what_it_heads(outline):
    assert {attrs["scope"] for attrs in outline.attributes("th")} == {"col", "row"}


def test_every_plot_says_in_words_what_it_is(outline):
    assert all(attrs["alt"] for attrs in outline.attributes("img"))


def test_wide_content_scrolls_in_its_own_frame_which_the_keyboard_reaches(outline):
    frames = [attrs for attrs in outline.attributes("div") if attrs.get("class") == "scroll"]
    assert len(frames) == len(outline.attributes("table")) + len(outline.attributes("img"))
    assert all(attrs["tabindex"] == "0" for attrs in frames)


def test_style_knows_dark_screens_small_screens_and_print(rich_page):
    for query in ("prefers-color-scheme: dark", "max-width: 40rem", "@media print", "tabular-nums"):
        assert query in rich_page


def test_long_tables_are_folded_and_short_ones_open(rich_page):
    folded = rich_page.partition("Tests of every cell (450 rows)")
    assert folded[0].endswith("<summary>")
    before = rich_page.partition("Language fairness × 100")[0]
    assert before.count("<details>") == before.count("</details>")


def test_page_tells_data_settings_warnings_and_how_to_reproduce(outline):
    for text in (
        "4 systems, 2 benchmarks, 174 cells", "RR@10, nDCG@10, R@100 (the first is the main one)", "up to 3",
        "BM25, the first 100", "csgen evaluate toy.yaml --output out", "name: toy", "legal-gdpr: 99 queries a cell",
        "Gains over zero-shot", "Bins of queries", "Language fairness",
    ):  # fmt: skip
        assert text in outline.text


def test_repeated_heads_stay_for_who_cannot_see_them():
    page = Outline(html_table(summary_table(small_results(), "RR@10")))
    rows = [attrs for attrs in page.attributes("th") if attrs["scope"] == "row"]
    assert [attrs.get("class") for attrs in rows] == [None, None, "again", None]
    assert page.text.count("debian") == 2


def test_marks_stand_in_their_own_element_behind_the_number():
    assert '<td class="right marked">+12.5<span class="mark">***</span></td>' in html_table(
        summary_table(small_results(), "RR@10")
    )


def test_groups_of_rows_are_bodies_of_the_table():
    rows = [(name, "MoIR", "bm25", "RR@10", 0.5, 0.4, 0.6, 1, 40) for name in ("debian", "legal")]
    table = summary_table(small_results(summary=frame("summary", rows)), "RR@10")
    assert len(Outline(html_table(table)).attributes("tbody")) == 2


HOSTILE = "</style><script>alert('x')</script>\"&amp;<b>"


def test_everything_from_outside_is_escaped():
    frames = {
        "cells": frame("cells", [(HOSTILE, "CLIR", "de-en", "de", "en", 40, 900, 0)]),
        "values": frame("values", [(HOSTILE, "CLIR", HOSTILE, HOSTILE, HOSTILE, 0.5, 0.4, 0.6, 40, 1)]),
        "summary": frame("summary", [(HOSTILE, "CLIR", HOSTILE, HOSTILE, 0.5, 0.4, 0.6, 1, 40)]),
    }
    names = {"name": HOSTILE, "measures": (HOSTILE,), "systems": (HOSTILE,), "baseline": "", "warnings": (HOSTILE,)}
    results = small_results(**frames, **names, comparisons=empty_frame("comparisons"))
    outline = Outline(build_page(results, [], {}, Origin(HOSTILE, HOSTILE, {HOSTILE: HOSTILE})))
    assert outline.attributes("script") == outline.attributes("b") == []
    assert outline.text.count(HOSTILE) > 15


@settings(max_examples=25, deadline=None)
@given(st.text(st.characters(exclude_categories=["Cs", "Cc"])))
def test_any_text_leaves_the_elements_of_the_page_as_they_are(text):
    found = build_page(small_results(name=text), [], {}, Origin(text, text, {text: text}))
    expected = build_page(small_results(), [], {}, Origin("command", "experiment", {"fact": "value"}))
    assert [tag for tag, _ in Outline(found).elements] == [tag for tag, _ in Outline(expected).elements]


def test_results_without_any_row_still_make_a_page():
    names = ("cells", "values", "summary", "comparisons")
    outline = Outline(build_page(small_results(**{name: empty_frame(name) for name in names}), [], {}, ORIGIN))
    assert "0 benchmarks" in outline.text


def test_report_is_the_tables_the_plots_and_last_the_page(tmp_path):
    pytest.importorskip("matplotlib")
    results = small_results()
    paths = [Path(path) for path in write_report(results, ORIGIN, str(tmp_path))]
    assert paths[-1] == tmp_path / "report.html"
    assert all(path.is_file() for path in paths)
    assert {path.parent.name for path in paths[:-1]} == {"tables", "plots"}
    assert len(paths) == 1 + 2 * len(make_tables(results)) + 2 + 1
    assert len(Outline(paths[-1].read_text()).attributes("img")) == 1


def test_equal_results_give_an_equal_page(tmp_path):
    pytest.importorskip("matplotlib")
    first, second = (write_report(small_results(), ORIGIN, str(tmp_path / name))[-1] for name in ("1", "2"))
    assert Path(first).read_bytes() == Path(second).read_bytes()
