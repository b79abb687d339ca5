"""What a lexicon holds in numbers, for people, programs and plots."""

import json

import polars as pl
import pyarrow as pa
import pytest

from csgen.lexicon.build import LexiconBuildConfig, build_lexicon
from csgen.lexicon.stats import INFLECTED, LISTED, measure_lexicon
from csgen.plots import plot_ambiguity, plot_origins, write_plots

MUSE = "the die\nthe der\nthe das\nhouse haus\ndog hund\n"
TSV = "house\tHaus\nhouse boat\tHausboot\nhouse\thaus\n"
FRENCH = "dog\tchien\n"


def build(folder, **options):
    specs = ("muse:en-de:en-de.txt", "tsv:en-de:de.tsv", "tsv:en-fr:fr.tsv")
    named = [f"{spec.rpartition(':')[0]}:{folder}/{spec.rpartition(':')[2]}" for spec in specs]
    config = {"sources": named, "output": str(folder / "lexicon"), "source_licence": "CC0"} | options
    build_lexicon(LexiconBuildConfig.from_options(config))
    return config["output"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("stats")
    for name, text in (("en-de.txt", MUSE), ("de.tsv", TSV), ("fr.tsv", FRENCH)):
        (folder / name).write_text(text)
    build(folder)
    build(folder, output=str(folder / "inflected"), lemmas=True)
    return folder


@pytest.fixture(scope="module")
def stats(folder):
    return measure_lexicon(str(folder / "lexicon"), None, "en")


def batch(text):
    return pa.record_batch({"query_id": ["q"], "query": [text], "passage_id": ["p"], "passage": [text]})


def test_words_entries_and_mean_translations_are_by_pair_of_languages(stats):
    assert stats.languages.rows() == [("en", "de", 4, 7, 1.75, None), ("en", "fr", 1, 1, 1.0, None)]


def test_ambiguity_counts_words_by_number_of_translations(stats):
    assert stats.ambiguity.filter(target_language="de").select("translations", "words").rows() == [
        ("1", 2), ("2", 1), ("3-5", 1),
    ]  # fmt: skip


def test_phrases_are_counted_by_number_of_words(stats):
    assert stats.phrases.select("target_language", "num_words", "words").rows() == [
        ("de", 1, 3),
        ("de", 2, 1),
        ("fr", 1, 1),
    ]


def test_entry_of_two_origins_counts_for_both(stats):
    assert stats.origins.select("origin", "entries").rows() == [
        ("muse:en-de.txt", 5), ("tsv:de.tsv", 3), ("tsv:fr.tsv", 1),
    ]  # fmt: skip


def test_licences_tell_what_remains_for_commercial_use(stats):
    assert stats.licences.rows() == [("CC BY-NC 4.0", 5, False), ("CC0", 4, True)]
    assert stats.commercial_entries == 4


def test_coverage_stands_without_and_with_inflected_forms(folder):
    found = measure_lexicon(str(folder / "inflected"), [batch("The dogs and the dog")], "en").coverage
    overall = found.filter(band="all", target_language="de").select("forms", "distinct_ratio", "running_ratio")
    assert overall.rows() == [(LISTED, 2 / 4, 3 / 5), (INFLECTED, 3 / 4, 4 / 5)]


def test_lexicon_without_forms_has_coverage_without_them_alone(folder):
    found = measure_lexicon(str(folder / "lexicon"), [batch("the dogs")], "en").coverage
    assert set(found["forms"]) == {LISTED}


def test_statistics_are_plain_json(stats):
    assert json.loads(json.dumps(stats.to_json())) == stats.to_json()


def draw(stats):
    pytest.importorskip("matplotlib")
    return {"origins": plot_origins(stats.origins), "ambiguity": plot_ambiguity(stats.ambiguity)}


@pytest.fixture(scope="module")
def figures(stats):
    return draw(stats)


def widths(axes):
    return {c.get_label(): [bar.get_width() for bar in c] for c in axes.containers}


def test_bars_of_origins_are_stacked_by_kind(figures):
    (axes,) = figures["origins"].axes
    assert widths(axes) == {"muse": [5, 0], "tsv": [3, 1]}
    assert [label.get_text() for label in axes.get_yticklabels()] == ["German", "French"]


def test_bars_of_ambiguity_fill_a_hundred_percent(figures):
    (axes,) = figures["ambiguity"].axes
    assert list(widths(axes)) == ["1", "2", "3-5"]
    assert [sum(parts) for parts in zip(*widths(axes).values(), strict=True)] == pytest.approx([100, 100])


def test_plots_are_written_as_png_and_svg_with_equal_bytes(stats, tmp_path):
    for name in ("a", "b"):
        write_plots(draw(stats), str(tmp_path / name))
    files = sorted(path.name for path in (tmp_path / "a").iterdir())
    assert files == ["ambiguity.png", "ambiguity.svg", "origins.png", "origins.svg"]
    assert all((tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes() for name in files)


def test_bins_stand_in_their_order_whatever_the_first_language_has():
    ambiguity = pl.DataFrame(
        [("en", "de", "6+", 1), ("en", "fr", "1", 3), ("en", "fr", "2", 1)],
        schema=["source_language", "target_language", "translations", "words"],
        orient="row",
    )
    pytest.importorskip("matplotlib")
    assert list(widths(plot_ambiguity(ambiguity).axes[0])) == ["1", "2", "6+"]
