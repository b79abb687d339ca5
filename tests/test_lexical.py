"""BM25 within a language: scores, ties, restriction, and independence of batches and threads."""

import math
from pathlib import Path

import bm25s
import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from indexing.lexical import Bm25, Index, LexicalIndex
from indexing.ranking import NO_HIT, Hits, Postings

XQUAD = Path(__file__).parents[2] / "shared" / "data" / "xquad-r"
patient = settings(deadline=None, max_examples=40)
WORDS = ("cat", "dog", "house", "tree", "river", "the")
TEXTS = st.lists(st.lists(st.sampled_from(WORDS), max_size=8).map(" ".join), max_size=12)


def series(texts: list[str]) -> pl.Series:
    return pl.Series(texts, dtype=pl.String)


def build(*passages: str) -> LexicalIndex:
    return LexicalIndex.build(series(list(passages)), "en")


def hits_of(index: Index, query: str, top_k: int = 10) -> list[int]:
    rows, scores = index.search(series([query]), top_k)
    assert (scores[rows != NO_HIT] > 0).all()
    return rows[rows != NO_HIT].tolist()


def sort_all(scores: NDArray[np.float32], allowed: NDArray[np.bool_], top_k: int) -> Hits:
    """The plain way, from the scores of all passages."""
    scores = np.where(allowed, scores, np.float32(0))
    rows = np.argsort(-scores, axis=1, kind="stable")[:, :top_k]
    best = np.take_along_axis(scores, rows, 1)
    return np.where(best > 0, rows, NO_HIT), best


def assert_same(hits: Hits, expected: Hits) -> None:
    np.testing.assert_array_equal(hits[0], expected[0])
    np.testing.assert_array_equal(hits[1], expected[1])


def test_scores_are_those_of_the_formula() -> None:
    rows, scores = LexicalIndex.build(series(["red red house", "blue house", "tree"]), "en", Bm25(1.2, 0.75)).search(
        series(["red house"]), 3
    )
    damping = [1.2 * (0.25 + 0.75 * length / 2) for length in (3, 2)]
    red, house = math.log(1 + 2.5 / 1.5), math.log(1 + 1.5 / 2.5)
    expected = [red * 2 / (2 + damping[0]) + house / (1 + damping[0]), house / (1 + damping[1]), 0]
    assert rows.tolist() == [[0, 1, NO_HIT]]
    np.testing.assert_allclose(scores, [expected], rtol=1e-6)
    assert (rows.dtype, scores.dtype) == (np.int64, np.float32)


def test_equal_scores_are_ordered_by_row() -> None:
    index = build(*["red house", "tree", "house", "red house", "house"] * 50)
    assert hits_of(index, "house", 3) == [2, 4, 7]
    assert hits_of(index, "red house", 4) == [0, 3, 5, 8]


def test_a_word_that_a_query_has_twice_counts_twice() -> None:
    index = build("red house", "blue house", "red tree")
    once, twice = (index.search(series([query]), 3)[1][0, 0] for query in ("tree", "tree tree"))
    assert twice == 2 * once


def test_queries_are_analysed_in_the_language_of_the_passages() -> None:
    index = LexicalIndex.build(series(["Die Häuser", "Der Baum"]), "de")
    assert hits_of(index, "das Haus") == [0]
    assert hits_of(index, "die der") == []


def test_an_empty_query_and_an_unknown_word_have_no_hits() -> None:
    rows, scores = build("red house", "").search(series(["", "zebra", "the"]), 2)
    assert (rows == NO_HIT).all()
    assert (scores == 0).all()


def test_an_empty_passage_is_no_hit_but_keeps_its_row() -> None:
    assert hits_of(build("", "red", "", "red"), "red") == [1, 3]


@pytest.mark.parametrize("passages", [[], [""], ["", "the"]])
def test_passages_without_a_term_have_no_hits(passages: list[str]) -> None:
    rows, scores = LexicalIndex.build(series(passages), "en").search(series(["red", "house"]), 5)
    assert rows.shape == scores.shape == (2, len(passages))
    assert (rows == NO_HIT).all()


def test_no_queries_have_no_rows() -> None:
    rows, scores = build("red", "house").search(series([]), 5)
    assert rows.shape == scores.shape == (0, 2)


def test_there_are_no_more_columns_than_passages() -> None:
    assert build("red", "red house").search(series(["red"]), 100)[0].tolist() == [[0, 1]]


def test_a_passage_that_is_not_allowed_is_no_hit_and_makes_room() -> None:
    index = build("red", "red red", "red house", "house")
    rows, _ = index.search(series(["red"]), 2, np.array([True, False, True, True]))
    assert rows.tolist() == [[0, 2]]
    rows, scores = index.search(series(["red"]), 2, np.zeros(4, np.bool_))
    assert rows.tolist() == [[NO_HIT, NO_HIT]]
    assert scores.tolist() == [[0, 0]]


def test_allowed_must_have_one_value_a_passage() -> None:
    with pytest.raises(ValueError, match=r"shape \(2,\), got \(3,\)"):
        build("red", "house").search(series(["red"]), 1, np.ones(3, np.bool_))


def test_top_k_must_be_positive() -> None:
    with pytest.raises(ValueError, match="top_k must be 1 or more, got 0"):
        build("red").search(series(["red"]), 0)


@pytest.mark.parametrize(("k1", "b"), [(-1.0, 0.5), (1.0, 1.5), (1.0, -0.1)])
def test_parameters_out_of_range_are_refused(k1: float, b: float) -> None:
    with pytest.raises(ValueError, match=r"k1 of 0 or more and b in \[0, 1\]"):
        Bm25(k1, b)


@patient
@given(TEXTS, TEXTS, st.integers(1, 15))
def test_scores_are_those_of_bm25s_called_directly(passages: list[str], queries: list[str], top_k: int) -> None:
    passages = [*passages, "cat dog"]
    top_k = min(top_k, len(passages))
    quiet = {"show_progress": False}
    library = bm25s.BM25(k1=0.9, b=0.4)
    library.index(bm25s.tokenize(passages, stopwords=["the"], **quiet), **quiet)
    words = [[word for word in query.split() if word != "the"] for query in [*queries, "cat"]]
    expected = library.retrieve([query or ["\0"] for query in words], k=top_k, **quiet).scores
    found = LexicalIndex.build(series(passages), "en").search(series([*queries, "cat"]), top_k)
    np.testing.assert_allclose(found[1], expected, rtol=1e-6)


@patient
@given(TEXTS, TEXTS, st.integers(1, 15), st.integers(0, 2**12 - 1))
def test_search_among_allowed_is_the_full_ranking_without_the_others(
    passages: list[str], queries: list[str], top_k: int, bits: int
) -> None:
    index = LexicalIndex.build(series(passages), "en")
    allowed = np.array([bits >> row & 1 for row in range(len(passages))], np.bool_)
    all_rows, all_scores = index.search(series(queries), max(len(passages), 1))
    rows, scores = index.search(series(queries), top_k, allowed)
    for q in range(len(queries)):
        kept = [i for i, row in enumerate(all_rows[q]) if row != NO_HIT and allowed[row]][: rows.shape[1]]
        assert rows[q, : len(kept)].tolist() == all_rows[q, kept].tolist()
        assert scores[q, : len(kept)].tolist() == all_scores[q, kept].tolist()
        assert (rows[q, len(kept) :] == NO_HIT).all()


@patient
@given(TEXTS, TEXTS, st.integers(1, 5))
def test_a_query_has_the_same_hits_alone_as_among_others(passages: list[str], queries: list[str], top_k: int) -> None:
    index = LexicalIndex.build(series(passages), "en")
    together = index.search(series(queries), top_k)
    for q, query in enumerate(queries):
        rows, scores = index.search(series([query]), top_k)
        assert_same((rows[0], scores[0]), (together[0][q], together[1][q]))


@patient
@given(
    seed=st.integers(0, 2**32),
    num_passages=st.integers(1, 3000),
    num_queries=st.integers(0, 200),
    top_k=st.integers(1, 40),
    values=st.integers(1, 3),
    threads=st.integers(1, 3),
)
def test_ranking_finds_what_sorting_all_finds(
    seed: int, num_passages: int, num_queries: int, top_k: int, values: int, threads: int
) -> None:
    rng = np.random.default_rng(seed)  # small whole weights: sums are exact, and ties are many
    weights = (rng.random((5, num_passages)) < rng.random((5, 1))) * rng.integers(1, values + 1, (5, num_passages))
    allowed = rng.random(num_passages) < 0.7
    lists = rng.integers(0, 5, (num_queries, 3)).astype(np.int32)
    rows = [np.flatnonzero(row) for row in weights]
    postings = Postings(
        num_passages,
        np.cumsum([0, *map(len, rows)]),
        np.concatenate(rows).astype(np.int32),
        weights[weights > 0].astype(np.float32),
    )
    hits = postings.rank(np.arange(num_queries + 1) * 3, lists.ravel(), top_k, allowed, num_threads=threads)
    assert_same(hits, sort_all(weights[lists].sum(axis=1).astype(np.float32), allowed, top_k))


@pytest.mark.skipif(not XQUAD.is_dir(), reason="needs ../shared/data/xquad-r")
@pytest.mark.parametrize(("language", "expected"), [("en", 0.96), ("de", 0.93), ("th", 0.96), ("zh", 0.96)])
def test_passages_of_xquad_are_found_by_their_questions(language: str, expected: float) -> None:
    passages, queries = (pl.read_ndjson(XQUAD / language / f"{kind}.jsonl.gz") for kind in ("passages", "queries"))
    qrels = pl.read_csv(XQUAD / "qrels" / "test.tsv", separator="\t")
    true = queries.join(qrels, left_on="_id", right_on="query-id", maintain_order="left")["corpus-id"]
    rows, scores = LexicalIndex.build(passages["text"], language).search(queries["text"], 10)
    found = (passages["_id"].to_numpy()[rows] == true.to_numpy()[:, None]) & (scores > 0)
    assert (found / np.arange(1, 11)).max(axis=1).mean() == pytest.approx(expected, abs=0.01)
