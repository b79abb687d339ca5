"""Inflected forms of a lexicon's words, in a table of their own."""

import json
from pathlib import Path

import polars as pl
import pyarrow as pa
import pytest

from csgen.errors import InputError
from csgen.lexicon.build import LexiconBuildConfig, build_lexicon
from csgen.lexicon.entries import read_entries
from csgen.lexicon.lemmas import INFLECTED_NAME, add_forms, has_lemmas, lexicon_table
from csgen.lexicon.merge import MERGED_COLUMNS
from csgen.plan import PlanConfig, make_plan
from csgen.switching.policy import PRESETS, Policy
from csgen.switching.switcher import Switcher

pytest.importorskip("simplemma")

NO_WORDS = pl.Series([], dtype=pl.String)


def entries(*pairs, source="en", target="de"):
    rows = [(s.lower(), s, source, target, t, 1.0, 1, "tsv:a", "CC0") for s, t in pairs]
    return pl.DataFrame(rows, schema=MERGED_COLUMNS, orient="row").with_columns(pl.col("rank").cast(pl.Int32))


def forms(found):
    return set(found.select("source", "target").rows())


def test_form_has_the_translations_of_its_lemma():
    found = add_forms(entries(("house", "Haus"), ("House", "Gebäude")), {"en": NO_WORDS})
    assert {("houses", "Haus"), ("houses", "Gebäude")} <= forms(found)


def test_form_that_is_an_entry_itself_stays_as_it_is():
    found = add_forms(entries(("see", "sehen"), ("saw", "Säge")), {"en": NO_WORDS})
    assert ("seen", "sehen") in forms(found)
    assert "saw" not in set(found["source"])


def test_form_that_is_an_entry_of_another_language_alone_is_added():
    both = pl.concat([entries(("see", "sehen")), entries(("see", "voir"), ("saw", "scie"), target="fr")])
    added = add_forms(both, {"en": NO_WORDS}).filter(pl.col("source") == "saw")
    assert added.select("target_language", "target").rows() == [("de", "sehen")]


def test_phrases_have_no_forms():
    assert "town halls" not in set(add_forms(entries(("town hall", "Rathaus")), {"en": NO_WORDS})["source"])


def test_form_names_simplemma_and_the_origin_of_its_lemma():
    found = add_forms(entries(("house", "Haus")), {"en": NO_WORDS})
    assert set(found["origin"]) == {"lemma:simplemma; tsv:a"}
    assert {licence.count("; ") for licence in found["licence"]} == {1}


def test_words_of_a_corpus_that_no_list_has_are_tried_by_rules():
    lexicon, words = entries(("capitalism", "Kapitalismus")), pl.Series(["capitalisms", "qqq"])
    assert "capitalisms" not in set(add_forms(lexicon, {"en": NO_WORDS})["source"])
    assert set(add_forms(lexicon, {"en": words})["source"]) - {"capitalism's"} == {"capitalisms"}


@pytest.mark.parametrize(
    ("language", "lemma", "form"), [("de", "Haus", "häuser"), ("it", "andare", "vado"), ("hr", "pas", "psa")]
)
def test_other_languages_have_forms_too(language, lemma, form):
    assert form in set(add_forms(entries((lemma, "x"), source=language, target="en"), {language: NO_WORDS})["source"])


def test_language_without_lists_has_no_lemmas():
    assert has_lemmas("pt-BR")
    assert not has_lemmas("ja")


# --- in a lexicon ---


@pytest.fixture(scope="module")
def lexicons(tmp_path_factory):
    """Folders built without and with inflected forms."""
    folder = tmp_path_factory.mktemp("lemmas")
    (folder / "en-de.tsv").write_text("house\tHaus\ncat\tKatze\ncat\tKater\nbig dog\tgroßer Hund\n")
    for name, lemmas in (("plain", False), ("inflected", True)):
        options = {"sources": [f"tsv:en-de:{folder}/en-de.tsv"], "output": str(folder / name), "lemmas": lemmas}
        build_lexicon(LexiconBuildConfig.from_options(options))
    return folder


def switch(folder, text, **options):
    policy = Policy.from_options({"languages": ("de",), "probability": 1.0} | options)
    pairs = pa.record_batch({"query_id": ["q"], "query": [text], "passage_id": ["p"], "passage": [text]})
    switched = Switcher(policy, lexicon_table(str(folder), policy)).switch(pairs)
    return switched.texts["query"][0].as_py()


def test_inflected_words_are_switched_if_asked(lexicons):
    assert switch(lexicons / "inflected", "the houses", inflected=True) == "the Haus"
    assert switch(lexicons / "inflected", "the houses") == "the houses"


def test_what_is_used_without_inflected_forms_is_the_same_byte_for_byte(lexicons):
    plain = {path.relative_to(lexicons / "plain") for path in (lexicons / "plain").rglob("*") if path.is_file()}
    for path in plain - {Path("manifest.json")}:
        assert (lexicons / "inflected" / path).read_bytes() == (lexicons / "plain" / path).read_bytes()


def test_manifest_counts_forms_and_hashes_their_files(lexicons):
    manifest = json.loads((lexicons / "inflected" / "manifest.json").read_text())
    added = read_entries(str(lexicons / "inflected"), INFLECTED_NAME)
    assert manifest["counts"]["inflected"]["entries"] == len(added) > 0
    written = {str(p.relative_to(lexicons / "inflected")) for p in (lexicons / "inflected").rglob("*") if p.is_file()}
    assert written == {*manifest["files"], "manifest.json"}


def test_lexicon_without_forms_says_how_to_build_them(lexicons):
    with pytest.raises(InputError, match=r"no inflected forms of en; build it with csgen lexicon build --lemmas"):
        switch(lexicons / "plain", "houses", inflected=True)


def test_plan_tells_coverage_without_and_with_inflected_forms(lexicons, tmp_path):
    (tmp_path / "pairs.tsv").write_text("query_id\tquery\tpassage_id\tpassage\tlabel\nq\thouses\tp\tthe house\t1\n")
    options = {"pairs": str(tmp_path / "pairs.tsv"), "lexicon": str(lexicons / "inflected"), "languages": ("de",)}
    made = make_plan(PlanConfig.from_options(options | {"inflected": True}))
    assert made.coverage["running_ratio"][0] == pytest.approx(2 / 3)
    assert made.coverage_without_forms["running_ratio"][0] == pytest.approx(1 / 3)
    assert make_plan(PlanConfig.from_options(options)).coverage_without_forms is None


@pytest.mark.parametrize("preset", PRESETS)
def test_presets_of_the_paper_leave_inflected_forms_off(preset):
    assert PRESETS[preset]["inflected"] is False
    assert Policy.from_options({"preset": preset, "languages": ("de",)}).inflected is False


def test_source_language_without_lemmas_is_refused(tmp_path):
    (tmp_path / "ja.tsv").write_text("家\thouse\n")
    options = {"sources": [f"tsv:ja-en:{tmp_path}/ja.tsv"], "output": str(tmp_path / "out"), "lemmas": True}
    with pytest.raises(InputError, match="--lemmas: there are no lemmas of ja"):
        build_lexicon(LexiconBuildConfig.from_options(options))
