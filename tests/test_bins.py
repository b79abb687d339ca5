"""Bins of queries: overlap of tokens, scripts, length, distance of languages."""

import re
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from csgen.errors import InputError
from csgen.sources.collection import read_collection
from eval.measuring.bins import (
    KINDS,
    SCRIPT_BINS,
    bin_queries,
    query_length,
    script_pair,
    token_overlap,
)

XQUAD = Path(__file__).parents[1].parent / "shared" / "data" / "xquad-r"
texts = st.text(st.sampled_from("abC éß Σς 猫犬黒ーサかไทย ไ1_.-"), max_size=12)


def overlap(query: str, passage: str) -> float:
    (value,) = token_overlap(pl.Series([query]), pl.Series([passage]))
    assert isinstance(value, float)
    return value


def pair(query: str, passage: str, languages: str = "en-en", query_id: str = "q") -> dict[str, str]:
    query_language, passage_language = languages.split("-")
    return {
        "query_id": query_id, "query": query, "query_language": query_language,
        "passage": passage, "passage_language": passage_language,
    }  # fmt: skip


def bins_of(*pairs: dict[str, str]) -> dict[str, str]:
    binned = bin_queries(pl.DataFrame(pairs))
    assert binned["query_id"].n_unique() == 1
    return dict(binned.select("kind", "bin").iter_rows())


# Overlap


def test_overlap_is_the_share_of_a_querys_distinct_words() -> None:
    assert overlap("the cat and the dog", "The Cat sat.") == 0.5  # the cat and dog: 2 of 4


def test_a_word_within_another_word_is_not_held() -> None:
    assert overlap("cat", "concatenate") == 0.0


@pytest.mark.parametrize(
    ("query", "passage"),
    [
        ("STRASSE", "strasse"),
        ("ΟΔΟΣ", "οδος"),  # a sigma at the end of a word
        ("cafe\u0301", "café"),  # e and an accent apart
        ("Ｐｙｔｈｏｎ", "python"),  # full width
        ("don't", "don’t"),
    ],
)
def test_words_are_folded(query: str, passage: str) -> None:
    assert overlap(query, passage) == 1.0


def test_two_letters_in_a_row_are_a_token_where_there_are_no_spaces() -> None:
    assert overlap("東京大学", "東京の大学") == pytest.approx(2 / 3)  # 東京 大学, not 京大
    assert overlap("ภาษา", "ภาพ") == pytest.approx(1 / 3)  # ภา, not าษ and ษา


def test_a_letter_on_its_own_is_held_by_any_passage_with_it() -> None:
    assert overlap("猫", "黒猫がいる") == 1.0
    assert overlap("猫 と 犬", "黒猫がいる") == pytest.approx(1 / 3)


def test_a_stretch_of_letters_ends_at_a_space_or_a_mark() -> None:
    assert overlap("東京", "東。京") == 0.0
    assert overlap("東京、大学", "大学") == 0.5


def test_a_long_vowel_mark_belongs_to_its_word() -> None:
    assert overlap("サーバー", "サーカス") == pytest.approx(1 / 3)  # サー, not ーバ and バー


def test_latin_words_are_found_in_text_without_spaces() -> None:
    assert overlap("Python tutorial", "Python3ではなくpythonで書く") == 0.5


def test_korean_is_written_with_spaces() -> None:
    assert overlap("검색 엔진", "새로운 검색") == 0.5


def test_a_query_without_a_token_overlaps_with_nothing() -> None:
    assert overlap("?!", "what?!") == 0.0
    assert overlap("", "") == 0.0
    assert token_overlap(pl.Series([], dtype=pl.String), pl.Series([], dtype=pl.String)).to_list() == []


@given(st.lists(st.tuples(texts, texts), max_size=5))
def test_overlap_is_in_0_to_1_and_a_text_holds_itself(rows: list[tuple[str, str]]) -> None:
    queries, passages = (pl.Series([row[side] for row in rows], dtype=pl.String) for side in (0, 1))
    values = token_overlap(queries, passages)
    assert values.dtype == pl.Float64
    assert all(0 <= value <= 1 for value in values)
    has_token = queries.str.contains(r"\w")
    assert token_overlap(queries, queries).to_list() == has_token.cast(pl.Float64).to_list()
    assert token_overlap(queries, queries + " " + passages).to_list() == has_token.cast(pl.Float64).to_list()


@given(
    st.lists(st.sampled_from(["cat", "dog", "猫", "東京大学", "7"]), max_size=6),
    st.lists(st.sampled_from(["cat", "京大", "猫"])),
)
def test_overlap_is_what_a_loop_over_tokens_finds(query_words: list[str], passage_words: list[str]) -> None:
    query, passage = " ".join(query_words), " ".join(passage_words)
    pairs = {word[i : i + 2] for word in query_words if re.match("[東]", word) for i in range(len(word) - 1)}
    wanted = pairs | {word for word in query_words if not re.match("[東]", word)}
    held = [token for token in wanted if token in passage]  # no token here is part of another word
    assert overlap(query, passage) == pytest.approx(len(held) / len(wanted) if wanted else 0)


# Length


def test_length_counts_running_words() -> None:
    queries = pl.Series(["to be or not to be", "state-of-the-art", "", "?", "7 Wonders"])
    assert query_length(queries).to_list() == [6, 4, 0, 0, 2]


def test_length_is_estimated_where_there_are_no_spaces() -> None:
    queries = pl.Series(["東京大学", "東京大", "ภาษาไทย", "Python3で書く"])
    assert query_length(queries).to_list() == [2, 2, 2, 3]


# Bins


@pytest.mark.parametrize(
    ("passage", "expected"),
    [("x", "0"), ("a", "0-.25"), ("a b", ".25-.5"), ("a b c", ".5-.75"), ("a b c d", ".75-1")],
)
def test_a_bin_of_overlap_ends_with_its_edge(passage: str, expected: str) -> None:
    assert bins_of(pair("a b c d", passage))["overlap"] == expected


@pytest.mark.parametrize(
    ("num_words", "expected"),
    [(0, "0"), (1, "1-2"), (2, "1-2"), (3, "3-5"), (5, "3-5"), (6, "6-10"), (10, "6-10"), (11, "over 10")],
)
def test_bins_of_length(num_words: int, expected: str) -> None:
    assert bins_of(pair("word " * num_words, ""))["length"] == expected


def test_bins_of_scripts_do_not_tell_directions_apart() -> None:
    assert script_pair("en", "ru") == script_pair("ru", "en") == "Cyrl-Latn"
    assert bins_of(pair("a", "а", "en-ru"))["script"] == "Cyrl-Latn"
    assert bins_of(pair("a", "a", "en-fr"))["script"] == "Latn-Latn"


def test_bins_of_distance() -> None:
    assert bins_of(pair("a", "а", "de-ru"))["distance"] == "same family, other script"
    assert bins_of(pair("a", "a", "de-en"))["distance"] == "same genus"


def test_each_query_has_a_row_for_each_kind() -> None:
    binned = bin_queries(pl.DataFrame([pair("a b", "a", "en-fr", "q2"), pair("a", "a", "en-en", "q1")]))
    assert binned.to_dicts()[:4] == [
        {"query_id": "q1", "kind": "overlap", "bin": ".75-1", "order": 4},
        {"query_id": "q1", "kind": "script", "bin": "Latn-Latn", "order": SCRIPT_BINS.index("Latn-Latn")},
        {"query_id": "q1", "kind": "length", "bin": "1-2", "order": 1},
        {"query_id": "q1", "kind": "distance", "bin": "same language", "order": 0},
    ]
    assert [tuple(row) for row in binned.select("query_id", "kind").iter_rows()] == [
        (query, kind) for query in ("q1", "q2") for kind in KINDS
    ]


def test_of_several_relevant_passages_the_easiest_counts() -> None:
    found = bins_of(pair("a b c d", "а б", "en-ru"), pair("a b c d", "a b c", "en-fi"), pair("a b c d", "a", "en-fr"))
    assert found == {"overlap": ".5-.75", "script": "Latn-Latn", "length": "3-5", "distance": "same family"}


def test_bins_of_scripts_are_in_one_order_and_all_known_ones_differ() -> None:
    assert len(set(SCRIPT_BINS)) == len(SCRIPT_BINS)
    assert SCRIPT_BINS.index("Thai-Thai") < SCRIPT_BINS.index("Arab-Latn") < SCRIPT_BINS.index("Cyrl-Latn")


def test_a_script_that_no_language_has_by_itself_comes_last() -> None:
    binned = bin_queries(pl.DataFrame([pair("a", "a") | {"query_language": "sr-Brai"}]))
    assert binned.filter(kind="script").select("bin", "order").rows() == [("Brai-Latn", len(SCRIPT_BINS))]


def test_no_pairs_make_no_bins() -> None:
    binned = bin_queries(pl.DataFrame([pair("a", "a")]).clear())
    assert binned.schema == {"query_id": pl.String, "kind": pl.String, "bin": pl.String, "order": pl.Int64}
    assert binned.height == 0


def test_a_language_that_is_none_is_refused() -> None:
    with pytest.raises(InputError, match="unknown language 'xx'"):
        bin_queries(pl.DataFrame([pair("a", "a", "xx-en")]))


@given(st.permutations(range(6)))
def test_bins_do_not_depend_on_the_order_of_rows(order: list[int]) -> None:
    rows = [pair("a b", passage, f"en-{language}", f"q{n % 2}") for n, (passage, language) in enumerate(
        [("a", "ru"), ("b", "fr"), ("x", "de"), ("a b", "zh"), ("", "uk"), ("a", "it")]
    )]  # fmt: skip
    assert bin_queries(pl.DataFrame([rows[n] for n in order])).equals(bin_queries(pl.DataFrame(rows)))


@pytest.mark.skipif(not XQUAD.exists(), reason="../shared/data is absent")
@pytest.mark.parametrize(("query_language", "low", "high"), [("en", 0.4, 0.7), ("ru", 0.0, 0.1), ("zh", 0.0, 0.1)])
def test_overlap_of_real_queries_with_english_passages(query_language: str, low: float, high: float) -> None:
    collection = read_collection(str(XQUAD))
    queries = collection.queries(query_language).select(query_id="_id", query="text")
    passages = collection.passages("en").select(passage_id="_id", passage="text")
    pairs = collection.qrels("test").join(queries, on="query_id").join(passages, on="passage_id")
    mean = token_overlap(pairs["query"], pairs["passage"]).mean()
    assert isinstance(mean, float)
    assert low < mean < high
