"""Merging sources into one lexicon: weights, ranks, origins, conflicts."""

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from csgen.lexicon.merge import PART_COLUMNS, join_duplicates, merge_parts, split_origins

LICENCES = {"muse": "CC BY-NC 4.0", "tsv": "CC0", "wordnet": "WordNet"}


def part(*pairs, name="tsv", language="de"):
    rows = [(s.lower(), s, "en", language, t, *(w or (1.0,)), name, LICENCES[name]) for s, t, *w in pairs]
    return join_duplicates(pl.DataFrame(rows, schema=PART_COLUMNS, orient="row"))


def merged(**parts):
    """Entries of the sources, each by its name."""
    return merge_parts([(name, part(*pairs, name=name)) for name, pairs in parts.items()])


def weights(found):
    return {(s, t): w for s, t, w in found.entries.select("source", "target", "weight").rows()}


def test_source_that_repeats_a_pair_adds_its_weights():
    assert weights(merged(tsv=[("run", "laufen"), ("run", "rennen"), ("Run", "laufen", 2.0)])) == {
        ("run", "laufen"): 0.75,
        ("run", "rennen"): 0.25,
    }


def test_same_word_of_two_source_languages_is_no_duplicate():
    both = pl.concat([part(("chat", "x")), part(("chat", "x")).with_columns(source_language=pl.lit("fr"))])
    assert len(join_duplicates(both)) == 2


def test_licences_that_do_not_go_with_the_origins_are_one():
    assert split_origins("a; b", "CC0; MIT") == [("a", "CC0"), ("b", "MIT")]
    assert split_origins("a", "CC0; MIT") == [("a", "CC0, MIT")]


def test_weight_is_the_mean_over_the_sources_that_have_the_word():
    found = merged(muse=[("dog", "hund"), ("cat", "katze")], tsv=[("dog", "hund", 1.0), ("dog", "köter", 3.0)])
    assert weights(found) == {("dog", "hund"): 0.625, ("dog", "köter"): 0.375, ("cat", "katze"): 1.0}


def test_entry_of_two_sources_names_both_and_their_licences_in_the_same_order():
    entries = merged(tsv=[("dog", "hund")], muse=[("dog", "hund")]).entries
    assert entries.select("origin", "licence").rows() == [("muse; tsv", "CC BY-NC 4.0; CC0")]


def test_joined_origins_of_an_earlier_merge_are_joined_once():
    first = merged(tsv=[("dog", "hund")], muse=[("dog", "hund")]).entries
    again = merge_parts([("lexicon", first), ("muse", part(("dog", "hund"), name="muse"))]).entries
    assert again.select("origin", "licence").rows() == [("muse; tsv", "CC BY-NC 4.0; CC0")]


def test_rank_is_by_weight_then_by_first_listing():
    found = merged(tsv=[("a", "x"), ("b", "u"), ("a", "y", 2.0), ("a", "z")])
    assert found.entries.select("key", "target", "rank").rows() == [
        ("a", "y", 1), ("a", "x", 2), ("a", "z", 3), ("b", "u", 1),
    ]  # fmt: skip


def test_letter_case_is_that_of_the_first_source_by_name():
    found = merged(tsv=[("DOG", "hund")], muse=[("Dog", "hund")])
    assert found.entries["source"].to_list() == ["Dog"]


def test_same_word_into_another_language_is_another_word():
    found = merge_parts([("a", part(("dog", "hund"))), ("b", part(("dog", "hund"), language="nl"))])
    assert found.entries.select("target_language", "weight").rows() == [("de", 1.0), ("nl", 1.0)]
    assert (found.joined, found.conflicts) == (0, {})


def test_joined_entries_are_counted():
    found = merged(muse=[("dog", "hund"), ("cat", "katze")], tsv=[("dog", "hund"), ("dog", "köter")])
    assert (len(found.entries), found.joined) == (3, 1)


def test_word_whose_sources_share_no_translation_is_a_conflict():
    found = merged(
        muse=[("bank", "ufer"), ("dog", "hund")], tsv=[("Bank", "Geldhaus"), ("dog", "Hund"), ("cow", "kuh")]
    )
    assert found.conflicts == {"en-de": 1}
    assert found.examples == {"en-de": ["bank: ufer (muse) | Geldhaus (tsv)"]}


def test_third_source_that_agrees_with_both_does_not_end_their_conflict():
    found = merged(
        muse=[("bank", "ufer")], tsv=[("bank", "geldhaus")], wordnet=[("bank", "ufer"), ("bank", "geldhaus")]
    )
    assert found.conflicts == {"en-de": 1}


PARTS = st.dictionaries(
    st.sampled_from(list(LICENCES)),
    st.lists(st.tuples(st.sampled_from("abAB"), st.sampled_from("wxyz"), st.floats(1e-15, 1e15)), min_size=1),
    min_size=1,
)


@settings(deadline=None, max_examples=50)
@given(PARTS, st.randoms())
def test_order_of_sources_does_not_matter(parts, random):
    shuffled = list(parts.items())
    random.shuffle(shuffled)
    first, second = merged(**parts), merged(**dict(shuffled))
    assert first.entries.equals(second.entries)
    assert first.conflicts == second.conflicts


@settings(deadline=None, max_examples=50)
@given(PARTS)
def test_weights_of_a_word_sum_to_one_and_its_ranks_count_up(parts):
    for group in merged(**parts).entries.partition_by("key"):
        assert group["weight"].sum() == pytest.approx(1)
        assert group["weight"].min() > 0
        assert group["weight"].is_sorted(descending=True)
        assert group["rank"].to_list() == list(range(1, len(group) + 1))
        assert group["target"].is_unique().all()


def test_a_hundred_sources_of_one_entry_are_all_named():
    frame = part(("dog", "hund"))
    sources = [(f"{k:03}", frame.with_columns(origin=pl.lit(f"tsv:{k:03}"))) for k in range(100)]
    (row,) = merge_parts(sources).entries.select("origin", "licence").rows()
    assert row == ("; ".join(f"tsv:{k:03}" for k in range(100)), "; ".join(["CC0"] * 100))


def test_conflicts_are_the_same_in_slices_of_any_size(monkeypatch):
    parts = {
        "muse": [(f"w{n}", f"t{n % 7}") for n in range(40)],
        "tsv": [(f"w{n}", f"t{n % 5}") for n in range(40)] + [(f"w{n}", "t0") for n in range(0, 40, 2)],
    }
    whole = merged(**parts)
    monkeypatch.setattr("csgen.lexicon.merge._SLICE_ROWS", 3)
    sliced = merged(**parts)
    assert (sliced.conflicts, sliced.examples) == (whole.conflicts, whole.examples)
    assert 10 < whole.conflicts["en-de"] < 40
