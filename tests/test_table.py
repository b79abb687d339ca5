"""The compiled table: what its layout must hold at every size, and how processes share it."""

import pickle

import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from csgen.errors import InputError
from csgen.lexicon.compiler import compile_table
from csgen.lexicon.table import read_table, write_table
from csgen.switching.policy import Policy
from csgen.switching.switcher import Switcher


def make_entries(translations):
    """Entries out of {(word, language): [translations]}."""
    return pl.DataFrame(
        [
            {"source": word, "target": target, "target_language": language, "weight": 1.0, "rank": k + 1}
            for (word, language), targets in translations.items()
            for k, target in enumerate(targets)
        ]
    )


def translate(table, text, language, **options):
    policy = Policy.from_options(
        {"languages": (language,), "probability": 1.0, "translation": "best", "redraw": False} | options
    )
    row = {"query_id": ["1"], "query": [text], "passage_id": ["2"], "passage": [text]}
    batch = pa.table(row, schema=pa.schema([(name, pa.string()) for name in row])).to_batches()[0]
    return Switcher(policy, table).switch(batch).texts["passage"][0].as_py()


def make_small():
    return compile_table(make_entries({("house", "de"): ["Haus"], ("red house", "de"): ["Rotes Haus"]}), "en")


def test_a_word_with_thousands_of_translations_keeps_them_all():
    many = {("set", "de"): [f"s{k}" for k in range(700)], ("set", "fr"): [f"f{k}" for k in range(900)]}
    table = compile_table(make_entries(many | {("cat", "fr"): ["chat"]}), "en")
    nodes = table.find_words(["set", "cat"])
    assert table.count_translations(nodes, "de").tolist() == [700, 0]
    assert table.count_translations(nodes, "fr").tolist() == [900, 1]
    assert translate(table, "set cat", "fr") == "f0 chat"


def test_a_word_with_too_many_translations_is_refused():
    with pytest.raises(InputError, match="a word can have 65535 translations, got 70000"):
        compile_table(make_entries({("set", "de"): [f"s{k}" for k in range(70_000)]}), "en")


@given(st.integers(1, 127), st.data())
@settings(deadline=None, max_examples=40)
def test_any_number_of_languages_is_kept_apart(num_languages, data):
    languages = [f"l{k:03}" for k in range(num_languages)]
    chosen = data.draw(st.sets(st.sampled_from(languages), min_size=1))
    words = {(word, language): [f"{word}-{language}"] for word in ("a", "b c", "d" * 20) for language in chosen}
    table = compile_table(make_entries(words | {("e", language): ["x"] for language in languages}), "en")
    nodes = table.find_words(["a", "d" * 20, "e", "unknown"])
    for language in languages:
        has = int(language in chosen)
        assert table.count_translations(nodes, language).tolist() == [has, has, 1, 0]


@pytest.mark.parametrize(
    ("target", "written"),
    [
        ("haus", "haus Haus HAUS"),
        ("Haus", "Haus Haus HAUS"),
        ("HAUS", "HAUS HAUS HAUS"),
        ("iPhone", "iPhone IPhone IPHONE"),
        ("straße", "straße Straße STRASSE"),
        ("بيت", "بيت بيت بيت"),
        ("ǆep", "ǆep ǅep ǄEP"),
    ],
)
def test_a_translation_is_written_in_the_word_s_case(target, written):
    table = compile_table(make_entries({("house", "xx"): [target]}), "en")
    assert translate(table, "house House HOUSE", "xx") == written
    assert translate(table, "House", "xx", case="lower") == target.lower()


def test_a_translation_beyond_the_longest_is_refused():
    with pytest.raises(InputError, match="a translation can have 8191 bytes, got 9000"):
        compile_table(make_entries({("a", "de"): ["x" * 9000]}), "en")


def test_a_mapped_table_without_a_word_leaves_its_file_as_it_is(tmp_path):
    write_table(make_small(), str(tmp_path))
    before = (tmp_path / "table-en" / "rows.npy").read_bytes()
    without = read_table(str(tmp_path), "en").without(["House"])
    assert translate(without, "house", "de") == "house"
    assert (tmp_path / "table-en" / "rows.npy").read_bytes() == before
    assert translate(read_table(str(tmp_path), "en"), "house", "de") == "Haus"


def test_a_table_by_path_is_pickled_without_its_arrays_and_lacks_the_same_words(tmp_path):
    write_table(make_small(), str(tmp_path))
    shared = read_table(str(tmp_path), "en").without(["red house"]).by_path()
    pickled = pickle.dumps(shared)
    assert len(pickled) < 1000
    again = pickle.loads(pickled)
    assert translate(again, "red house", "de", max_words=2) == "red Haus"


def test_a_table_in_memory_is_pickled_with_its_arrays():
    again = pickle.loads(pickle.dumps(make_small().by_path()))
    assert translate(again, "house", "de") == "Haus"
