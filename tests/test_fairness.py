"""Language fairness: PEER, the effect of languages on places, ranks of answers, shares of the top ranks."""

import math
from collections.abc import Sequence

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import kruskal

from csgen.errors import InputError
from eval.measuring.fairness import (
    answer_ranks,
    language_effect,
    language_shares,
    measure_languages,
    peer,
    share_distance,
)
from eval.trec import rank_run


def frames(
    ranking: Sequence[str], relevant: Sequence[str], query: str = "q", grade: int = 1
) -> tuple[pl.DataFrame, pl.DataFrame, pl.DataFrame]:
    """A ranking of passages "LANG/ID" from the first, those that are relevant, and the language of all of them."""
    ranked = pl.DataFrame(
        {"query_id": [query] * len(ranking), "passage_id": ranking, "rank": range(1, len(ranking) + 1)},
        {"query_id": pl.String, "passage_id": pl.String, "rank": pl.UInt32},
    )
    qrels = pl.DataFrame(
        {"query_id": [query] * len(relevant), "passage_id": relevant, "score": [grade] * len(relevant)},
        {"query_id": pl.String, "passage_id": pl.String, "score": pl.Int64},
    )
    return ranked, qrels, languages_of(pl.concat([ranked["passage_id"], qrels["passage_id"]]))


def languages_of(ids: pl.Series) -> pl.DataFrame:
    ids = ids.unique().sort()
    return pl.DataFrame({"passage_id": ids, "language": ids.str.extract("^([^/]*)")})


def join(*parts: tuple[pl.DataFrame, pl.DataFrame, pl.DataFrame]) -> tuple[pl.DataFrame, pl.DataFrame, pl.DataFrame]:
    ranked, qrels, languages = (pl.concat(some) for some in zip(*parts, strict=True))
    return ranked, qrels, languages.unique()


# PEER


def test_languages_that_take_turns_are_ranked_fairly() -> None:
    # Places of de 1 4, of fr 2 3: both have the mean 2.5, so H = 0 and p = 1.
    case = frames(["de/1", "fr/1", "fr/2", "de/2"], ["de/1", "de/2", "fr/1", "fr/2"])
    assert peer(*case).to_dicts() == [{"query_id": "q", "PEER@20": 1.0}]


def test_a_language_that_comes_first_lowers_the_value() -> None:
    # z = -1.5 -.5 .5 1.5, means -1 and 1: H = 3 * (2 + 2) / 5 = 2.4; with one degree of freedom p = erfc(sqrt(H / 2)).
    case = frames(["de/1", "de/2", "fr/1", "fr/2"], ["de/1", "de/2", "fr/1", "fr/2"])
    assert peer(*case)["PEER@20"].to_list() == pytest.approx([math.erfc(math.sqrt(1.2))])


def test_three_languages_have_two_degrees_of_freedom() -> None:
    # z = -2.5 ... 2.5, means -2, 0 and 2: H = 5 * 16 / 17.5; with two degrees of freedom p = exp(-H / 2).
    ids = ["de/1", "de/2", "fr/1", "fr/2", "it/1", "it/2"]
    assert peer(*frames(ids, ids))["PEER@20"].to_list() == pytest.approx([math.exp(-40 / 17.5)])


def test_other_passages_between_the_relevant_ones_make_no_difference() -> None:
    ids = ["de/1", "de/2", "fr/1", "fr/2"]
    spread = ["it/5", "de/1", "it/6", "de/2", "it/7", "de/8", "fr/1", "fr/9", "fr/2"]
    assert peer(*frames(spread, ids)).equals(peer(*frames(ids, ids)))


def test_passages_that_are_not_retrieved_are_tied_behind_all_retrieved_ones() -> None:
    # Places of de 1 2 3 4, of fr 6.5 four times: z = -3.5 -2.5 -1.5 -.5 and 2, means -2 and 2; H = 7 * 32 / 37.
    # Were fr put at the mean rank of de, 10.5, as the public package peer_measure 0.0.1 does, H were 0 and p 1:
    # perfectly fair to a language of which nothing is found.
    ranking = ["de/1", "de/2", *(f"it/{n}" for n in range(16)), "de/3", "de/4"]
    relevant = ["de/1", "de/2", "de/3", "de/4", "fr/1", "fr/2", "fr/3", "fr/4"]
    value = peer(*frames(ranking, relevant))["PEER@20"].item()
    assert value == pytest.approx(math.erfc(math.sqrt(7 * 32 / 37 / 2)))
    assert value < 0.02


def test_passages_beyond_the_cutoff_are_tied_with_those_not_retrieved() -> None:
    ids = ["de/1", "fr/1", "de/2", "fr/2", "de/3", "fr/3"]
    cut = peer(*frames(ids, ids), top_k=3)
    assert cut.columns == ["query_id", "PEER@3"]
    shorter = peer(frames(ids[:3], ids)[0], *frames(ids, ids)[1:], top_k=3)
    assert cut.equals(shorter)
    # Places: de 1 3 5, fr 2 5 5, so z = -2.5 -.5 1.5 and -1.5 1.5 1.5, means -.5 and .5: H = 5 * 1.5 / 15.5.
    assert cut["PEER@3"].item() == pytest.approx(math.erfc(math.sqrt(5 * 1.5 / 15.5 / 2)))


def test_a_ranking_without_any_relevant_passage_prefers_no_language() -> None:
    ids = ["de/1", "de/2", "fr/1", "fr/2"]
    assert peer(*frames(["it/1", "it/2"], ids))["PEER@20"].to_list() == [1.0]
    assert peer(*frames([], ids))["PEER@20"].to_list() == [1.0]


def test_levels_of_one_language_or_one_passage_say_nothing() -> None:
    assert peer(*frames(["de/1", "de/2"], ["de/1", "de/2"])).height == 0
    assert peer(*frames(["de/1"], ["de/1"])).height == 0


def test_one_passage_a_language_says_nothing_because_h_is_the_same_for_any_ranking() -> None:
    ids = ["de/1", "fr/1", "it/1"]
    assert kruskal([1], [2], [3]) == kruskal([3], [1], [2])
    assert peer(*frames(ids, ids)).height == 0


def test_a_second_passage_of_one_language_is_enough() -> None:
    # Places of de 1 2, of fr 3: z = -1 0 1, means -.5 and 1; H = 2 * 1.5 / 2.
    ids = ["de/1", "de/2", "fr/1"]
    assert peer(*frames(ids, ids))["PEER@20"].to_list() == pytest.approx([math.erfc(math.sqrt(1.5 / 2))])


def graded() -> tuple[pl.DataFrame, pl.DataFrame, pl.DataFrame]:
    """Level 2 is fair (p = 1); level 1 is not (p = erfc(sqrt(1.2))); level 3 has one language and is left out."""
    ids = ["de/1", "fr/1", "fr/2", "de/2", "de/3", "de/4", "fr/3", "fr/4", "it/1", "it/2"]
    ranked, qrels, languages = frames(ids, ids)
    return ranked, qrels.with_columns(score=pl.Series([2, 2, 2, 2, 1, 1, 1, 1, 3, 3])), languages


@pytest.mark.parametrize(
    ("weights", "expected"),
    [
        (None, (1 + math.erfc(math.sqrt(1.2))) / 2),
        ({1: 1, 2: 3}, (3 + math.erfc(math.sqrt(1.2))) / 4),
        ({1: 0.1, 2: 0.3, 3: 0.6}, (3 + math.erfc(math.sqrt(1.2))) / 4),
        ({1: 1, 2: 0, 9: 1}, math.erfc(math.sqrt(1.2))),
    ],
)
def test_levels_are_weighted_and_the_weights_of_those_left_scaled(
    weights: dict[int, float] | None, expected: float
) -> None:
    assert peer(*graded(), weights=weights)["PEER@20"].to_list() == pytest.approx([expected])


def test_level_0_counts_only_where_it_has_a_weight() -> None:
    ids = ["de/1", "de/2", "fr/1", "fr/2"]
    case = frames(ids, ids, grade=0)
    assert peer(*case).height == 0
    assert peer(*case, weights={0: 1.0})["PEER@20"].to_list() == pytest.approx([math.erfc(math.sqrt(1.2))])


def test_passages_without_a_judgement_belong_to_no_level() -> None:
    # The public package fails on them with KeyError: 0 unless the qrels have a 0.
    ids = ["de/1", "de/2", "fr/1", "fr/2"]
    with_others = frames(["it/1", *ids, "es/1"], ids)
    assert peer(*with_others, weights={0: 0.5, 1: 0.5}).equals(peer(*frames(ids, ids)))


def test_queries_are_measured_each_for_itself_and_sorted() -> None:
    fair = frames(["de/1", "fr/1", "fr/2", "de/2"], ["de/1", "de/2", "fr/1", "fr/2"], query="b")
    unfair = frames(["de/1", "de/2", "fr/1", "fr/2"], ["de/1", "de/2", "fr/1", "fr/2"], query="a")
    both = peer(*join(fair, unfair))
    assert both["query_id"].to_list() == ["a", "b"]
    assert both["PEER@20"].to_list() == pytest.approx([math.erfc(math.sqrt(1.2)), 1.0])


def test_weights_that_weigh_nothing_are_refused() -> None:
    case = frames(["de/1"], ["de/1"])
    for weights in ({}, {1: 0.0}, {1: 1.0, 2: -0.5}):
        with pytest.raises(InputError, match="weights of relevance levels must be 0 or more, one of them above 0"):
            peer(*case, weights=weights)


def test_a_relevant_passage_that_the_collection_lacks_is_refused() -> None:
    ranked, qrels, languages = frames(["de/1"], ["de/1", "fr/1"])
    with pytest.raises(InputError, match="qrels: query 'q' names the passage 'fr/1', which is not in the collection"):
        peer(ranked, qrels, languages.filter(pl.col("language") == "de"))


ranks_by_language = st.lists(st.lists(st.integers(1, 12), min_size=1, max_size=6), min_size=2, max_size=4).filter(
    lambda groups: max(map(len, groups)) > 1
)


@given(st.lists(ranks_by_language, min_size=1, max_size=4), st.integers(1, 12))
def test_each_query_has_the_p_value_of_scipy(queries: list[list[list[int]]], top_k: int) -> None:
    rows = [
        (f"q{q}", f"{language}/{n}", language, rank)
        for q, groups in enumerate(queries)
        for language, ranks in enumerate(groups)
        for n, rank in enumerate(ranks)
    ]
    table = pl.DataFrame(rows, ["query_id", "passage_id", "language", "rank"], orient="row").with_columns(
        pl.col("language").cast(pl.String), score=pl.lit(1, pl.Int64)
    )
    languages = table.select("passage_id", "language").unique()
    found = peer(
        table.select("query_id", "passage_id", "rank"),
        table.select("query_id", "passage_id", "score"),
        languages,
        top_k,
    )
    expected = []
    for groups in queries:
        cut = [[min(rank, top_k + 1) for rank in ranks] for ranks in groups]
        tied = len({rank for ranks in cut for rank in ranks}) == 1
        expected.append(1.0 if tied else kruskal(*cut).pvalue)
    assert found["query_id"].to_list() == [f"q{q}" for q in range(len(queries))]
    assert found[f"PEER@{top_k}"].to_list() == pytest.approx(expected, abs=1e-9)


@given(st.permutations(range(8)), st.permutations(range(8)), st.permutations(range(8)), st.integers(0, 8))
def test_figures_do_not_depend_on_the_order_of_rows(
    ranks: list[int], rows: list[int], other: list[int], depth: int
) -> None:
    ids = [f"{language}/{n}" for language in ("de", "fr", "it", "es") for n in range(2)]
    ranked, qrels, languages = frames([ids[n] for n in ranks[:depth]], ids)
    shuffled = (ranked.sort("passage_id"), qrels[rows], languages.sort("passage_id")[other])
    assert peer(*shuffled, top_k=5).equals(peer(ranked, qrels, languages, top_k=5))
    assert language_effect(*shuffled) == language_effect(ranked, qrels, languages)
    assert answer_ranks(*shuffled).equals(answer_ranks(ranked, qrels, languages))


# The effect of languages on places


def test_languages_in_the_same_order_for_every_query_explain_all_places() -> None:
    parts = [frames([f"de/{q}", f"fr/{q}", f"it/{q}"], [f"de/{q}", f"fr/{q}", f"it/{q}"], query=q) for q in "abc"]
    assert language_effect(*join(*parts)) == pytest.approx(1.0)


def test_languages_that_take_turns_over_queries_explain_nothing() -> None:
    first = frames(["de/1", "fr/1"], ["de/1", "fr/1"], query="a")
    second = frames(["fr/2", "de/2"], ["de/2", "fr/2"], query="b")
    assert language_effect(*join(first, second)) == pytest.approx(0.0)


def test_the_effect_is_kendalls_w_with_one_answer_a_language() -> None:
    # Sums of places 4 6 8 over three queries: W = 12 * 8 / (9 * 24) = 4 / 9.
    orders = {"a": ["de", "fr", "it"], "b": ["de", "it", "fr"], "c": ["fr", "de", "it"]}
    parts = []
    for query, order in orders.items():
        ids = [f"{language}/{query}" for language in order]
        parts.append(frames(ids, ids, query=query))
    sums = [4, 6, 8]  # de 1 1 2, fr 2 3 1, it 3 2 3
    mean = sum(sums) / 3
    expected = 12 * sum((one - mean) ** 2 for one in sums) / (9 * (27 - 3))
    assert language_effect(*join(*parts)) == pytest.approx(expected)


def test_answers_that_are_not_found_are_tied_in_the_effect_too() -> None:
    ids = ["de/1", "fr/1", "it/1"]
    assert language_effect(*frames(["es/1"], ids)) == 0.0
    # de leads and the others are tied: z = -1 .5 .5, which languages explain in full.
    assert language_effect(*frames(["de/1"], ids)) == pytest.approx(1.0)


def test_without_relevant_passages_there_is_no_effect_to_tell() -> None:
    assert language_effect(*frames(["de/1"], ["de/1"], grade=0)) is None


# Ranks of answers


def test_quartiles_of_the_ranks_of_answers_by_language() -> None:
    # de is found at 1, 2, 3 and fr at 2, nowhere, nowhere, which is 4, as the longest ranking has 3 passages.
    parts = [
        frames(["de/a", "fr/a"], ["de/a", "fr/a"], query="a"),
        frames(["it/0", "de/b"], ["de/b", "fr/b"], query="b"),
        frames(["it/0", "it/1", "de/c"], ["de/c", "fr/c"], query="c"),
    ]
    assert answer_ranks(*join(*parts)).to_dicts() == [
        {"language": "de", "q25": 1.5, "median": 2.0, "q75": 2.5, "num_queries": 3},
        {"language": "fr", "q25": 3.0, "median": 4.0, "q75": 4.0, "num_queries": 3},
    ]


def test_of_several_answers_in_a_language_the_first_counts() -> None:
    ranks = answer_ranks(*frames(["it/0", "de/2", "de/1"], ["de/1", "de/2", "de/3"]))
    assert ranks["median"].to_list() == [2.0]


def test_passages_judged_0_are_no_answers() -> None:
    assert answer_ranks(*frames(["de/1"], ["de/1"], grade=0)).height == 0


def test_a_query_without_results_has_the_rank_after_the_longest_ranking() -> None:
    found = frames(["it/0", "it/1", "de/1"], ["de/1"], query="a")
    missing = frames([], ["fr/1"], query="b")
    assert answer_ranks(*join(found, missing)).select("language", "median").rows() == [("de", 3.0), ("fr", 4.0)]


def test_an_empty_run_has_no_ranks() -> None:
    ranks = answer_ranks(*frames([], ["de/1", "fr/1"]))
    assert ranks.height == 0
    assert ranks.columns == ["language", "q25", "median", "q75", "num_queries"]


# Shares of the top ranks


def test_shares_of_the_top_ranks_stand_beside_those_of_the_collection() -> None:
    ranked, _, _ = join(
        frames(["de/1", "de/2", "fr/1"], [], query="a"),
        frames(["de/1", "fr/1", "de/2"], [], query="b"),
    )
    languages = languages_of(pl.Series("passage_id", ["de/1", "de/2", "fr/1", "it/1"]))
    shares = language_shares(ranked, languages, top_k=2)
    assert shares.to_dicts() == [
        {"language": "de", "share_top": 0.75, "share_collection": 0.5},
        {"language": "fr", "share_top": 0.25, "share_collection": 0.25},
        {"language": "it", "share_top": 0.0, "share_collection": 0.25},
    ]
    assert share_distance(shares) == 0.25


def test_top_ranks_that_mirror_the_collection_have_no_distance() -> None:
    ranked, _, languages = frames(["de/1", "fr/1", "it/1"], [])
    assert share_distance(language_shares(ranked, languages)) == pytest.approx(0.0)


def test_an_empty_run_shares_nothing() -> None:
    ranked, _, languages = frames([], ["de/1", "fr/1"])
    assert language_shares(ranked, languages)["share_top"].to_list() == [0.0, 0.0]


def test_a_run_that_names_a_passage_of_another_collection_is_refused() -> None:
    ranked, _, languages = frames(["de/1", "fr/1"], [])
    with pytest.raises(InputError, match="run: query 'q' names the passage 'fr/1', which is not in the collection"):
        language_shares(ranked, languages.filter(pl.col("language") == "de"))


# All at once


def test_a_run_is_ranked_by_its_scores_before_it_is_measured() -> None:
    ids = ["de/1", "de/2", "fr/1", "fr/2"]
    run = pl.DataFrame({"query_id": ["q"] * 4, "passage_id": ids, "score": [1.0, 2.0, 4.0, 3.0]})
    ranked, qrels, languages = frames(["fr/1", "fr/2", "de/2", "de/1"], ids)
    assert rank_run(run)["passage_id"].to_list() == ranked["passage_id"].to_list()
    values, rows = measure_languages(run, qrels, languages)
    assert values.equals(peer(ranked, qrels, languages))
    assert rows == (
        {"language": "de", "q25": 3.0, "median": 3.0, "q75": 3.0, "share_top": 0.5, "share_collection": 0.5},
        {"language": "fr", "q25": 1.0, "median": 1.0, "q75": 1.0, "share_top": 0.5, "share_collection": 0.5},
    )


def test_a_language_without_an_answer_has_shares_but_no_ranks() -> None:
    run = pl.DataFrame({"query_id": ["q"], "passage_id": ["de/1"], "score": [1.0]})
    _, qrels, _ = frames(["de/1"], ["de/1"])
    _, rows = measure_languages(run, qrels, languages_of(pl.Series(["de/1", "fr/1"])))
    assert [(row["language"], row["median"], row["share_top"]) for row in rows] == [("de", 1.0, 1.0), ("fr", None, 0.0)]


def test_an_empty_run_is_measured_too() -> None:
    run = pl.DataFrame(schema={"query_id": pl.String, "passage_id": pl.String, "score": pl.Float64})
    ids = ["de/1", "de/2", "fr/1", "fr/2"]
    _, qrels, languages = frames([], ids)
    values, rows = measure_languages(run, qrels, languages)
    assert values["PEER@20"].to_list() == [1.0]
    assert [row["median"] for row in rows] == [None, None]
