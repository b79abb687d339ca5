"""What people see of a switching job: hand-computed summaries, marks of known switches, plots on disk."""

import builtins
import json
from io import StringIO
from pathlib import Path

import polars as pl
import pyarrow as pa
import pytest
from rich.cells import cell_len
from rich.console import Console

from csgen.errors import InputError
from csgen.lexicon.compiler import compile_table
from csgen.lexicon.coverage import coverage
from csgen.manifest import Manifest
from csgen.plots import plot_coverage, plot_realised_ratios, write_plots
from csgen.report import show_pairs, summarise_sides, switch_summary, switch_summary_json
from csgen.schema import SWITCHES
from csgen.switching.policy import Policy
from csgen.switching.switcher import Counts, Switched, Switcher

QUIET = {"selected": 0, "unknown": 0, "protected": 0, "kept": 0, "switched": {}, "lacking": {}, "realised_ratio": 0.0}


def manifest(config, query, passage):
    return Manifest(
        stage="switch",
        config={"policy": "multilingual", "source_language": "en", "sides": "both", "language_weights": {}} | config,
        inputs={},
        counts={"pairs": 3000, "rejects": 1, "query": query, "passage": passage},
        files={"part-00000.parquet": {"bytes": 1_000_000}, "part-00001.parquet": {"bytes": 500_000}},
    )


# German is drawn three times as often as Italian: 375 and 125 of the 500 drawn tokens.
WEIGHTED = manifest(
    {"languages": ["de", "it"], "language_weights": {"de": 3.0}, "probability": 0.5, "sides": "passage"},
    QUIET | {"tokens": 200},
    {
        "tokens": 1000, "selected": 500, "unknown": 50, "protected": 25, "kept": 0, "realised_ratio": 0.4,
        "switched": {"de": 300, "it": 100}, "lacking": {"de": 20, "it": 80},
    },
)  # fmt: skip
# English among the languages: a third of the 600 selected tokens stays.
WITH_SOURCE = manifest(
    {"languages": ["en", "de", "it"], "probability": 0.6},
    {
        "tokens": 1000, "selected": 600, "unknown": 100, "protected": 0, "kept": 200, "realised_ratio": 0.3,
        "switched": {"en": 0, "de": 200, "it": 100}, "lacking": {"en": 0, "de": 30, "it": 50},
    },
    QUIET | {"tokens": 0, "switched": {"en": 0, "de": 0, "it": 0}, "lacking": {"en": 0, "de": 0, "it": 0}},
)  # fmt: skip


def render(renderable, **options):
    console = Console(file=StringIO(), **{"width": 120} | options)
    console.print(renderable)
    return console.file.getvalue()


def rows_of(text):
    return [" ".join(line.split()) for line in text.splitlines()]


def test_the_summary_table_holds_the_hand_computed_numbers():
    rows = rows_of(render(switch_summary(WEIGHTED, 2.0)))
    assert rows[0] == "3,000 pairs, 1 reject, 1.5 MB in 2.0 s: 1,500 pairs/s, 0.8 MB/s"
    assert "query, not switched 200 – – – – –" in rows
    # 500 drawn; 50 unknown and 100 lacking: 350 of them covered.
    assert "passage 1,000 50.0 % 40.0 % 70.0 % 5.0 % 10.0 %" in rows
    # 375 drew German: 20 lacking and 50 * 3/4 unknown; 125 drew Italian: 80 lacking and 50 * 1/4 unknown.
    assert "German (de) 30.0 % ~84.7 %" in rows
    assert "Italian (it) 10.0 % ~26.0 %" in rows


def test_without_seconds_no_speed_is_shown():
    assert rows_of(render(switch_summary(WEIGHTED, None)))[0] == "3,000 pairs, 1 reject, 1.5 MB"


def test_the_summary_fits_80_columns():
    text = render(switch_summary(WEIGHTED, 2.0), width=80)
    assert "…" not in text
    assert all(len(line) <= 80 for line in text.splitlines())


def test_tokens_that_drew_the_source_language_are_not_drawn_and_no_row():
    query = summarise_sides(WITH_SOURCE)["query"]
    assert (query.drawn, list(query.languages)) == (400, ["de", "it"])
    assert query.coverage_ratio == pytest.approx(1 - 180 / 400)
    assert query.languages["de"].coverage_ratio == pytest.approx(1 - (30 + 50) / 200)
    assert query.asked_ratio == pytest.approx(0.6 * 2 / 3)
    assert query.languages["de"].asked_ratio == pytest.approx(0.2)


def test_a_side_without_tokens_has_no_coverage():
    passage = summarise_sides(WITH_SOURCE)["passage"]
    assert (passage.coverage_ratio, passage.languages["de"].coverage_ratio) == (None, None)


def test_a_synonym_that_stays_was_drawn_all_the_same():
    counts = QUIET | {
        "tokens": 20,
        "selected": 10,
        "kept": 4,
        "unknown": 5,
        "switched": {"en": 1},
        "lacking": {"en": 0},
    }
    side = summarise_sides(manifest({"policy": "synonym", "probability": 1.0}, counts, counts))["query"]
    assert (side.drawn, side.coverage_ratio, list(side.languages)) == (10, 0.5, ["en"])


def test_a_language_with_few_drawn_tokens_shows_no_estimate():
    counts = QUIET | {"tokens": 50, "selected": 40, "switched": {"de": 9, "it": 9}, "lacking": {"de": 3, "it": 19}}
    few = summarise_sides(manifest({"languages": ["de", "it"]}, counts, counts))["query"]
    assert (few.coverage_ratio, few.languages["de"].coverage_ratio) == (pytest.approx(0.45), None)


def test_a_target_ratio_is_what_was_asked_for():
    asked = manifest(
        {"languages": ["de", "it"], "target_ratio": 0.4}, WEIGHTED.counts["passage"], QUIET | {"tokens": 1}
    )
    query = summarise_sides(asked)["query"]
    assert (query.asked_ratio, query.languages["it"].asked_ratio) == (0.4, 0.2)


def test_the_summary_for_machines_is_json_with_the_same_numbers():
    summary = json.loads(json.dumps(switch_summary_json(WEIGHTED, 2.0)))
    assert (summary["pairs"], summary["rejects"], summary["bytes"]) == (3000, 1, 1_500_000)
    assert (summary["pairs_per_s"], summary["bytes_per_s"]) == (1500.0, 750_000.0)
    assert summary["sides"]["passage"]["languages"]["it"]["coverage_ratio"] == pytest.approx(0.26)
    assert summary["sides"]["query"]["languages"] == {}
    assert switch_summary_json(WEIGHTED, None)["pairs_per_s"] is None


# Pairs side by side.


def shown(original, new, spans, languages=("de", "ar", "ja"), limit=5):
    """A pair whose query was switched as `spans` (word, source, language) say, in the order of the new text."""
    noted, done = [], 0
    for word, source, language in spans:
        done = new.index(word, done)
        start = len(new[:done].encode())
        noted.append({"start": start, "end": start + len(word.encode()), "source": source, "language": language})
        done += len(word)
    before = pa.RecordBatch.from_pylist(
        [{"query_id": "q1", "query": original, "passage_id": "p1", "passage": "as it was", "label": 1}]
    )
    counts = Counts(9, 9, 0, 0, 0, dict.fromkeys(languages, 1), dict.fromkeys(languages, 0))
    switched = Switched(
        {"query": pa.array([new]), "passage": before.column("passage")},
        {"query": counts, "passage": counts},
        {"query": pa.array([noted], SWITCHES), "passage": pa.array([[]], SWITCHES)},
    )
    return show_pairs(before, switched, limit)


PAIR = shown(
    "the house, a licence and an office",
    "das Haus, a رخصة and an 事務所",
    [("das", "the", "de"), ("Haus", "house", "de"), ("رخصة", "licence", "ar"), ("事務所", "office", "ja")],
)


def test_without_colour_the_switches_stand_in_brackets_with_their_language():
    text = render(PAIR, width=140)
    assert "[the] [house], a [licence] and an [office]" in text
    assert "[de:das] [de:Haus], a [ar:\u2067رخصة\u2069] and an [ja:事務所]" in text
    assert "[de:…] German  [ar:…] Arabic  [ja:…] Japanese" in text
    assert "query q1, passage p1, label 1" in text


def test_in_colour_the_words_stand_without_brackets_in_one_colour_on_both_sides():
    text = render(PAIR, width=140, force_terminal=True, color_system="standard", no_color=False)
    assert "[de:" not in text
    assert "\x1b[1;34mhouse\x1b[0m" in text
    assert "\x1b[1;34mHaus\x1b[0m" in text
    assert "\x1b[1;35mرخصة\x1b[0m" in text
    assert "\x1b[1;32m■ Japanese (ja)\x1b[0m" in text


def test_no_color_asks_for_brackets_on_a_terminal_too():
    assert "[de:Haus]" in render(PAIR, width=140, force_terminal=True, no_color=True)


def test_the_legend_names_only_languages_that_are_seen():
    assert "Arabic" not in render(shown("the", "das", [("das", "the", "de")]))


def test_pairs_without_a_switch_say_so():
    assert "no word was switched" in render(shown("the", "the", []))


def test_a_blank_that_belongs_to_a_switch_stays_outside_the_brackets():
    assert "(n[de: " not in (text := render(shown("(nhouse)", "(n Haus)", [(" Haus", "house", "de")])))
    assert "(n [de:Haus])" in text


def test_no_line_is_wider_than_the_console_with_wide_and_right_to_left_words():
    long = shown(
        "licence office " * 20,
        "رخصة القيادة 事務所の建物 " * 20,
        [("رخصة القيادة", "licence", "ar"), ("事務所の建物", "office", "ja")] * 20,
    )
    for width in (40, 79, 120):
        assert all(cell_len(line) <= width for line in render(long, width=width).splitlines())


def test_every_line_isolates_its_right_to_left_words():
    long = shown("licence " * 30, "رخصة القيادة " * 30, [("رخصة القيادة", "licence", "ar")] * 30)
    for line in render(long, width=60).splitlines():
        assert line.count("\u2067") == line.count("\u2069")
        assert not any("\u0600" <= c <= "\u06ff" for c in line.split("\u2067")[0])


def test_long_texts_are_cut_at_some_300_characters():
    text = "word " * 2_000_000
    rendered = render(shown(text, text, []))
    assert 100 < rendered.count("word ") <= 122
    assert rendered.count("…") == 2


def test_a_text_cannot_send_escape_sequences_or_turn_the_line_around():
    text = render(shown("a\x1b[31mred\u202ehouse\n", "a\x1b[31mred\u202ehouse\n", []))
    assert "\x1b" not in text
    assert "\u202e" not in text


def test_the_limit_and_the_batch_bound_what_is_shown():
    assert render(shown("the", "the", [], limit=0)).strip() == "no word was switched"


def test_what_the_switcher_makes_is_shown_at_its_own_spans():
    entries = [{"source": "house", "target": "منزل", "target_language": "ar", "weight": 1.0, "rank": 0}]
    rows = [{"query_id": f"q{k}", "query": f"日本 house {k}", "passage_id": "p", "passage": "House"} for k in range(3)]
    batch = pa.RecordBatch.from_pylist(rows).slice(1)
    policy = Policy.from_options({"languages": ("ar",), "probability": 1.0})
    switched = Switcher(policy, compile_table(pl.DataFrame(entries), "en")).switch(batch, spans=True)
    text = render(show_pairs(batch, switched, 1))
    assert "日本 [house] 1" in text
    assert "日本 [ar:\u2067منزل\u2069] 1" in text
    assert "q2" not in text


# Plots.


@pytest.fixture(scope="module")
def figures():
    pytest.importorskip("matplotlib")
    entries = pl.DataFrame(
        [("house", "en", "de"), ("the", "en", "it")], ["source", "source_language", "target_language"], orient="row"
    )
    counts = pl.DataFrame({"token": ["the", "house", "of"], "count": [5, 3, 2]})
    return {"realised": plot_realised_ratios(WEIGHTED), "coverage": plot_coverage(coverage(entries, counts))}


def texts_of(axes):
    return [text.get_text() for text in axes.texts]


def test_plots_are_written_as_png_and_svg(figures, tmp_path):
    paths = write_plots(figures, str(tmp_path / "plots"))
    names = ["realised.png", "realised.svg", "coverage.png", "coverage.svg"]
    assert paths == [str(tmp_path / "plots" / name) for name in names]
    for path in map(Path, paths):
        assert path.read_bytes().startswith(b"\x89PNG\r\n\x1a\n" if path.suffix == ".png" else b"<?xml")


def test_equal_figures_give_equal_svg_bytes_without_a_date(tmp_path):
    pytest.importorskip("matplotlib")
    _, first = write_plots({"a": plot_realised_ratios(WEIGHTED)}, str(tmp_path / "1"))
    _, second = write_plots({"a": plot_realised_ratios(WEIGHTED)}, str(tmp_path / "2"))
    assert Path(first).read_bytes() == Path(second).read_bytes()
    assert b"dc:date" not in Path(first).read_bytes()


def test_bars_stand_for_the_realised_percentages_the_largest_first(figures):
    upper, lower = figures["realised"].axes
    assert [bar.get_width() for bar in upper.patches] == [40.0]
    assert [bar.get_width() for bar in lower.patches] == pytest.approx([30.0, 10.0])
    assert [tick.get_text() for tick in lower.get_yticklabels()] == ["German", "Italian"]
    assert texts_of(lower) == ["30.0", "10.0"]


def test_strokes_stand_at_what_was_asked_for(figures):
    _, lower = figures["realised"].axes
    assert [c.get_segments()[0][0][0] for c in lower.collections] == pytest.approx([37.5, 12.5])


def test_a_side_that_stays_is_named_in_the_legend(figures):
    assert "query: not switched" in [text.get_text() for text in figures["realised"].legends[0].get_texts()]


def test_coverage_cells_hold_percentages_the_best_language_first(figures):
    distinct, running = figures["coverage"].axes[:2]
    assert [tick.get_text() for tick in distinct.get_yticklabels()] == ["Italian", "German"]
    assert texts_of(distinct) == ["33", "33", "33", "33"]  # one of three words; "all" and the one band
    assert texts_of(running) == ["50", "50", "30", "30"]


def test_without_matplotlib_the_error_names_the_extra(monkeypatch):
    real = builtins.__import__

    def absent(name, *arguments, **options):
        if name.startswith("matplotlib"):
            raise ImportError(name)
        return real(name, *arguments, **options)

    monkeypatch.setattr(builtins, "__import__", absent)
    with pytest.raises(InputError, match=r"pip install 'csgen\[plot\]'"):
        plot_realised_ratios(WEIGHTED)
