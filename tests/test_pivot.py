"""Lexicons through a third language, against twenty plain lines."""

from collections import defaultdict

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from csgen.errors import InputError
from csgen.induction.pivot import FAN_OUT, PivotConfig, join_leg, pivot, pivot_lexicons
from csgen.lexicon.build import LexiconBuildConfig, build_lexicon
from csgen.lexicon.entries import read_entries, show_word
from csgen.lexicon.table import read_table
from csgen.manifest import Manifest

LANGUAGES = ("de", "en", "it")


def frame(rows, origin="o", licence="CC0"):
    """Entries of rows `source, source_language, target, target_language, weight`."""
    names = ["source", "source_language", "target", "target_language", "weight"]
    kinds = dict(zip(names, [pl.String, pl.String, pl.String, pl.String, pl.Float64], strict=True))
    return pl.DataFrame(rows, schema=kinds, orient="row").with_columns(
        origin=pl.lit(origin), licence=pl.lit(licence), rank=pl.lit(1, pl.Int32)
    )


def oracle_leg(lexicons, source, target):
    """{source: {target: probability}}, the mean over the lexicons and directions that have the source."""
    means = defaultdict(list)
    for rows in lexicons:
        for direct in (True, False):
            given = defaultdict(lambda: defaultdict(float))
            for s, s_language, t, t_language, weight in rows:
                if direct and (s_language, t_language) == (source, target):
                    given[s.lower()][t] += weight
                if not direct and (t_language, s_language) == (source, target):
                    given[t.lower()][s] += weight
            for word, targets in given.items():
                means[word].append({t: w / sum(targets.values()) for t, w in targets.items()})
    return {
        word: {t: sum(g.get(t, 0) for g in given) / len(given) for t in {t for g in given for t in g}}
        for word, given in means.items()
    }


def oracle(lexicons):
    first, second = oracle_leg(lexicons, "de", "en"), oracle_leg(lexicons, "en", "it")
    found = defaultdict(float)
    for word, pivots in first.items():
        for through, p in pivots.items():
            for target, q in second.get(through.lower(), {}).items():
                found[word, target] += p * q
    return dict(found)


words = st.sampled_from(["a", "b", "B", "C", "ß", "D e", "d e"])
rows = st.tuples(
    words, st.sampled_from(LANGUAGES), words, st.sampled_from(LANGUAGES), st.floats(0.01, 1)
).filter(lambda row: row[1] != row[3])  # fmt: skip


@settings(max_examples=60, deadline=None)
@given(st.lists(st.lists(rows, max_size=12), min_size=1, max_size=3))
def test_probabilities_are_those_of_the_plain_sum(lexicons):
    lexicons = [[*lexicon, ("a", "de", "a", "en", 1.0), ("a", "en", "b", "it", 1.0)] for lexicon in lexicons]
    frames = [(str(k), frame(lexicon)) for k, lexicon in enumerate(lexicons)]
    found = pivot(join_leg(frames, "de", "en"), join_leg(frames, "en", "it"), 0.0)
    got = {(s.lower(), t): weight for s, t, weight in found.select("source", "target", "weight").rows()}
    assert got == pytest.approx(oracle(lexicons))


def test_the_order_of_lexicons_does_not_matter():
    one = frame([("haus", "de", "house", "en", 0.7), ("haus", "de", "home", "en", 0.3)])
    other = frame([("house", "en", "Haus", "de", 1.0), ("house", "en", "casa", "it", 1.0)])
    given = [("one", one), ("other", other)]
    legs = [[join_leg(order, *pair) for pair in (("de", "en"), ("en", "it"))] for order in (given, given[::-1])]
    assert pivot(*legs[0], 0.0).equals(pivot(*legs[1], 0.0))


def test_an_inverted_entry_weighs_by_bayes_with_a_uniform_prior():
    entries = frame([("house", "en", "Haus", "de", 0.9), ("home", "en", "Haus", "de", 0.3)])
    leg = join_leg([("x", entries)], "de", "en")
    assert leg.select("source", "target", "weight").rows() == [
        ("Haus", "house", pytest.approx(0.75)),
        ("Haus", "home", pytest.approx(0.25)),
    ]


def test_fan_out_is_bounded_to_the_heaviest_of_a_word():
    many = [("w", "de", f"p{k:03}", "en", 1.0 + k) for k in range(3 * FAN_OUT)]
    on = [(f"p{k:03}", "en", f"t{k:03}", "it", 1.0) for k in range(3 * FAN_OUT)]
    given = [("x", frame(many + on))]
    found = pivot(join_leg(given, "de", "en"), join_leg(given, "en", "it"), 0.0)
    assert sorted(found["target"]) == [f"t{k:03}" for k in range(2 * FAN_OUT, 3 * FAN_OUT)]


def test_licences_and_origins_of_both_legs_bind_an_entry():
    first = frame([("haus", "de", "house", "en", 1.0), ("hut", "de", "hat", "en", 1.0)], "a; b", "CC BY-NC 4.0; MIT")
    second = frame([("house", "en", "casa", "it", 1.0)], "tsv:y", "CC0")
    given = [("a", first), ("b", second)]
    found = pivot(join_leg(given, "de", "en"), join_leg(given, "en", "it"), 0.0)
    assert found.select("source", "origin", "licence").rows() == [
        ("haus", "a AND b AND tsv:y", "CC BY-NC 4.0 AND CC0 AND MIT")
    ]


@pytest.fixture
def lexicons(tmp_path):
    """A German-English and an English-Italian lexicon."""
    (tmp_path / "de-en.tsv").write_text(
        "Haus\thouse\t3\nHaus\thome\t1\nRathaus\ttown hall\nWort\tword\nOhne\twithout\n"
    )
    (tmp_path / "en-it.tsv").write_text(
        "house\tcasa\nhome\tpatria\t1\nhome\tcasa\t3\nTown Hall\tmunicipio\nword\tWort\n"
    )
    folders = []
    for pair in ("de-en", "en-it"):
        folders.append(str(tmp_path / pair))
        config = {"sources": [f"tsv:{pair}:{tmp_path}/{pair}.tsv"], "source_licence": pair, "output": folders[-1]}
        build_lexicon(LexiconBuildConfig.from_options(config))
    return folders


def run(lexicons, output, **options):
    given = {"lexicons": lexicons, "source": "de", "target": "it", "through": "en", "output": str(output)} | options
    return pivot_lexicons(PivotConfig.from_options(given))


def test_stage_writes_a_lexicon_like_any_other(lexicons, tmp_path):
    counts = run(lexicons, tmp_path / "out")
    assert counts["entries"] == 3
    assert counts["dropped"] == {"identical source and target": 1}
    assert show_word(str(tmp_path / "out"), "haus").select("target", "weight", "origin", "licence").rows() == [
        ("casa", pytest.approx(0.75 + 0.25 * 0.75), "pivot:en(tsv:de-en.tsv AND tsv:en-it.tsv)", "de-en AND en-it"),
        ("patria", pytest.approx(0.25 * 0.25), "pivot:en(tsv:de-en.tsv AND tsv:en-it.tsv)", "de-en AND en-it"),
    ]
    assert read_table(str(tmp_path / "out"), "de").languages == ("it",)


def test_phrases_meet_whole(lexicons, tmp_path):
    run(lexicons, tmp_path / "out")
    assert show_word(str(tmp_path / "out"), "Rathaus")["target"].to_list() == ["municipio"]


def test_a_pivot_of_a_pivot_names_both(lexicons, tmp_path):
    run(lexicons, tmp_path / "out")
    run([str(tmp_path / "out"), lexicons[1]], tmp_path / "again", source="de", target="en", through="it")
    assert read_entries(str(tmp_path / "again"))["origin"].unique().to_list() == [
        "pivot:it(pivot:en(tsv:de-en.tsv AND tsv:en-it.tsv) AND tsv:en-it.tsv)"
    ]


def test_both_directions_work_without_building_anything_anew(lexicons, tmp_path):
    run(lexicons, tmp_path / "out", source="it", target="de")
    assert show_word(str(tmp_path / "out"), "casa")["target"].to_list() == ["Haus"]


def test_translations_are_cut_to_the_number_and_weight_asked_for(lexicons, tmp_path):
    run(lexicons, tmp_path / "one", max_translations=1)
    run(lexicons, tmp_path / "heavy", threshold=0.5)
    for name in ("one", "heavy"):
        assert show_word(str(tmp_path / name), "haus")["target"].to_list() == ["casa"]


def test_same_input_gives_the_same_bytes(lexicons, tmp_path):
    run(lexicons, tmp_path / "one")
    run(lexicons[::-1], tmp_path / "two")
    names = {file.name for file in (tmp_path / "one").rglob("*") if file.is_file()}
    assert "manifest.json" in names
    for file in (tmp_path / "one").rglob("*"):
        if file.is_file():
            assert file.read_bytes() == (tmp_path / "two" / file.relative_to(tmp_path / "one")).read_bytes()


def test_manifest_names_the_lexicons_by_hash(lexicons, tmp_path):
    run(lexicons, tmp_path / "out")
    inputs = Manifest.read(str(tmp_path / "out")).inputs
    assert {name: list(given["files"]) for name, given in inputs.items()} == {
        "de-en": ["manifest.json"],
        "en-it": ["manifest.json"],
    }


def test_a_language_that_no_lexicon_joins_is_refused_with_those_there_are(lexicons, tmp_path):
    with pytest.raises(InputError, match=r"no lexicon has entries between de and fr.*found de-en, en-it"):
        run(lexicons, tmp_path / "out", through="fr")


def test_the_three_languages_must_differ(lexicons, tmp_path):
    with pytest.raises(InputError, match="must be three languages, got de, it and de"):
        run(lexicons, tmp_path / "out", through="German")


def test_a_finished_output_is_not_overwritten(lexicons, tmp_path):
    run(lexicons, tmp_path / "out")
    before = read_entries(str(tmp_path / "out"))
    with pytest.raises(InputError, match="holds a finished output"):
        run(lexicons, tmp_path / "out", max_translations=1)
    assert read_entries(str(tmp_path / "out")).equals(before)
