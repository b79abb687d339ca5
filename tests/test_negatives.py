"""Training pairs with negatives: what must hold of every draw."""

import sys

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from csgen.errors import InputError
from csgen.sources.negatives import pair_with_negatives

patient = settings(deadline=None)  # the first example imports bm25s
WORDS = ("cat", "dog", "house", "tree", "river", "the")
Tables = tuple[pl.DataFrame, pl.DataFrame]


def draw(tables: Tables, negatives: int = 3, hard_negatives: int = 2, seed: int = 1) -> pl.DataFrame:
    return pair_with_negatives(*tables, negatives=negatives, hard_negatives=hard_negatives, seed=seed)


@st.composite
def collections(draw: st.DrawFn) -> Tables:
    """4 passages or more in 4 groups of their own, others in any of 8 groups, and a query for some of them."""
    texts = st.lists(st.sampled_from(WORDS), max_size=6).map(" ".join)
    groups = [0, 1, 2, 3, *draw(st.lists(st.integers(0, 7), max_size=8))]
    ids = [f"p{number}" for number in range(len(groups))]
    passages = pl.DataFrame({"passage_id": ids, "passage": [draw(texts) for _ in ids], "group": groups})
    true = draw(st.lists(st.sampled_from(ids), min_size=1, unique=True))
    queries = pl.DataFrame(
        {"query_id": [f"q{p}" for p in true], "query": [draw(texts) for _ in true], "passage_id": true}
    )
    return queries, passages


def many() -> Tables:
    """300 passages, every 3 of them near-duplicates, and 300 queries of a word that 30 passages have."""
    ids = [f"{number:03}" for number in range(300)]
    words = [f"word{number % 10}" for number in range(300)]
    passages = pl.DataFrame({"passage_id": ids, "passage": words, "group": [number // 3 for number in range(300)]})
    return pl.DataFrame({"query_id": ids, "query": words, "passage_id": ids}), passages


@patient
@given(collections())
def test_every_query_has_its_passage_and_the_negatives_asked_for(tables: Tables) -> None:
    pairs = draw(tables)
    assert pairs["label"].to_list() == [1, 0, 0, 0] * len(tables[0])
    positives = pairs.filter(label=1).select("query_id", "query", "passage_id")
    assert positives.equals(tables[0].sort("query_id"))


@patient
@given(collections())
def test_no_negative_is_the_true_passage_or_in_its_group(tables: Tables) -> None:
    group_of = dict(tables[1].select("passage_id", "group").iter_rows())
    true_group = {query: group_of[passage] for query, passage in tables[0].select("query_id", "passage_id").rows()}
    for query, passage in draw(tables).filter(label=0).select("query_id", "passage_id").rows():
        assert group_of[passage] != true_group[query]


@patient
@given(collections())
def test_no_passage_stands_twice_beside_a_query(tables: Tables) -> None:
    assert not draw(tables).select("query_id", "passage_id").is_duplicated().any()


@patient
@given(collections(), st.integers(0, 100))
def test_the_order_of_the_rows_changes_nothing(tables: Tables, seed: int) -> None:
    shuffled = tuple(table.sample(fraction=1, shuffle=True, seed=seed) for table in tables)
    assert draw((shuffled[0], shuffled[1])).equals(draw(tables))


@patient
@given(collections())
def test_other_queries_change_no_draw(tables: Tables) -> None:
    queries, passages = tables
    alone = draw((queries.head(1), passages))
    assert draw(tables).filter(query_id=queries["query_id"][0]).equals(alone)


def test_another_seed_draws_other_negatives() -> None:
    assert not draw(many(), seed=1).equals(draw(many(), seed=2))


def test_hard_negatives_stand_first_and_share_a_word_with_the_query() -> None:
    pairs = draw(many(), negatives=4, hard_negatives=2)
    shares = (pairs["query"] == pairs["passage"]).to_numpy().reshape(-1, 5)
    assert shares[:, :3].all()
    assert shares[:, 3:].mean() < 0.2


def test_random_negatives_are_spread_evenly() -> None:
    counts = draw(many(), negatives=50, hard_negatives=0).filter(label=0)["passage_id"].value_counts()["count"]
    assert len(counts) == 300
    assert counts.max() < 2 * 50  # type: ignore[operator]


def test_where_no_hit_is_left_random_negatives_stand_in() -> None:
    queries = pl.DataFrame({"query_id": ["q"], "query": ["unheard"], "passage_id": ["a"]})
    passages = pl.DataFrame({"passage_id": ["a", "b", "c"], "passage": ["x y", "yy", "zz"], "group": [0, 1, 2]})
    assert set(draw((queries, passages), 2, 2)["passage_id"]) == {"a", "b", "c"}


def test_more_negatives_than_there_are_other_passages_are_refused() -> None:
    queries = pl.DataFrame({"query_id": ["q"], "query": ["cat"], "passage_id": ["a"]})
    passages = pl.DataFrame({"passage_id": ["a", "b", "c"], "passage": ["cat", "cat", "dog"], "group": [0, 0, 1]})
    with pytest.raises(InputError, match="only 1 passages"):
        draw((queries, passages), 2, 0)


def test_without_bm25s_the_error_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "bm25s", None)
    with pytest.raises(InputError, match=r"pip install 'csgen\[fetch\]'"):
        draw(many())
