"""Lists of hits made one: merged by score, fused by rank, with a least number of hits for each language."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from indexing.index.fusion import Ranking, choose_hits, fuse, merge, order_hits, rank_alone

patient = settings(deadline=None, max_examples=60)
NONE = -1


class Rows:
    """Row n has the n-th of some addresses, which come in no order and mostly begin alike."""

    names = (*(f"en/passage {n * 7 % 40}" for n in range(38)), "de/1", "de/10")

    def __init__(self):
        self.num_read = 0

    def read_keys(self, numbers):
        names = [self.names[number].encode()[:8].ljust(8, b"\0") for number in numbers]
        return np.array([int.from_bytes(name) for name in names], np.uint64)

    def addresses(self, numbers):
        self.num_read += len(numbers)
        return pa.array([self.names[number] for number in numbers], pa.large_string())


def ranking(*queries, width=None):
    """Hits given as {row: score} by query."""
    width = max(map(len, queries)) if width is None else width
    made = Ranking.none(len(queries), width)
    for query, hits in enumerate(queries):
        for place, (number, score) in enumerate(hits.items()):
            made.numbers[query, place], made.scores[query, place] = number, score
    return made


def by_rank(*queries, width=None):
    """Hits given in their order."""
    return ranking(*({n: float(len(q) - r) for r, n in enumerate(q)} for q in queries), width=width)


def hits_of(made, query=0):
    return made.numbers[query][made.numbers[query] != NONE].tolist()


def in_order(hits):
    """The rows of {row: score}, best first, as plain Python sorts them."""
    return sorted(hits, key=lambda number: (-np.float32(hits[number]), Rows.names[number]))


SCORES = st.sampled_from([-1.5, 0.0, 0.25, 1 / 3, 2.0])
HITS = st.dictionaries(st.integers(0, 39), SCORES, max_size=20)


@patient
@given(st.lists(HITS, min_size=1, max_size=3), st.integers(1, 25))
def test_hits_in_any_order_are_ordered_by_score_then_address(queries, width):
    given = ranking(*queries, width=22)
    places = order_hits(given, Rows(), width)
    for query, hits in enumerate(queries):
        assert hits_of(given.take(places), query) == in_order(hits)[:width]


@patient
@given(HITS, st.lists(st.integers(0, 3), min_size=40, max_size=40), st.integers(1, 25))
def test_lists_that_share_out_the_hits_merge_to_the_order_of_all(hits, owners, width):
    lists = [ranking({n: s for n, s in hits.items() if owners[n] == owner}, width=20) for owner in range(4)]
    merged = merge(lists, Rows(), width)
    assert merged.numbers.shape == (1, width)
    assert hits_of(merged) == in_order(hits)[:width]
    np.testing.assert_array_equal(merged.scores[0, : len(hits)], [np.float32(hits[n]) for n in in_order(hits)][:width])


def test_addresses_are_read_of_hits_with_equal_scores_and_keys_alone():
    rows = Rows()
    merge([ranking({0: 1.0, 1: 2.0, 2: 3.0, 38: 4.0, 3: 4.0})], rows, 5)
    assert rows.num_read == 0
    merge([ranking({0: 1.0, 1: 1.0, 2: 3.0, 3: 4.0})], rows, 5)
    assert rows.num_read == 2


def test_scores_that_float32_cannot_tell_apart_are_equal():
    hits = {1: 0.1, 0: np.nextafter(0.1, 1)}
    assert hits_of(merge([ranking(hits)], Rows(), 2)) == in_order(hits) == [0, 1]


LISTS = st.lists(
    st.lists(st.lists(st.integers(0, 39), max_size=8, unique=True), min_size=2, max_size=2), min_size=1, max_size=4
)


@patient
@given(LISTS, st.integers(0, 70), st.integers(1, 40), st.data())
def test_fusion_is_the_sum_of_weights_over_ranks(lists, fusion_k, width, data):
    weights = data.draw(st.lists(st.sampled_from([0.5, 1.0, 3.0]), min_size=len(lists), max_size=len(lists)))
    made = [by_rank(*queries, width=data.draw(st.integers(8, 9))) for queries in lists]
    fused = fuse(made, weights, fusion_k, Rows(), width)
    for query in range(2):
        sums = {}
        for weight, queries in zip(weights, lists, strict=True):
            for rank, number in enumerate(queries[query], 1):
                sums[number] = sums.get(number, 0) + weight / (fusion_k + rank)
        expected = in_order(sums)[:width]
        assert hits_of(fused.ranking, query) == expected
        np.testing.assert_array_equal(
            fused.ranking.scores[query, : len(expected)], np.float32([sums[n] for n in expected])
        )
        for number, queries in enumerate(lists):
            ranks = [queries[query].index(n) + 1 if n in queries[query] else 0 for n in expected]
            assert fused.ranks[number, query, : len(expected)].tolist() == ranks
            assert not fused.ranks[number, query, len(expected) :].any()


def test_fusion_of_two_lists_by_hand():
    fused = fuse([by_rank([3, 1]), by_rank([1, 2])], [1, 1], 60, Rows(), 10)
    assert hits_of(fused.ranking) == [1, 3, 2]
    np.testing.assert_allclose(fused.ranking.scores[0, :3], [1 / 62 + 1 / 61, 1 / 61, 1 / 62], rtol=1e-6)
    assert fused.ranks[:, 0, :3].tolist() == [[2, 1, 0], [1, 0, 2]]


def test_the_same_rank_in_lists_of_the_same_weight_is_a_tie():
    a, b = [n for n in range(38) if Rows.names[n] in ("en/passage 30", "en/passage 4")]
    for lists in ([[a], [b]], [[b], [a]]):
        fused = fuse([by_rank(one) for one in lists], [1, 1], 60, Rows(), 2)
        assert [Rows.names[n] for n in hits_of(fused.ranking)] == ["en/passage 30", "en/passage 4"]


def test_lists_without_a_hit_fuse_to_none():
    assert fuse([Ranking.none(2, 0), Ranking.none(2, 0)], [1, 1], 60, Rows(), 5).ranking.numbers.shape == (2, 0)
    assert hits_of(fuse([Ranking.none(1, 3), by_rank([], width=2)], [1, 1], 60, Rows(), 5).ranking) == []


def test_a_single_list_keeps_its_scores():
    fused = rank_alone(ranking({5: 2.5, 1: -1.0}, {2: 1.0}))
    assert fused.ranking.scores.tolist() == [[2.5, -1.0], [1.0, 0.0]]
    assert fused.ranks.tolist() == [[[1, 2], [1, 0]]]


def choose(languages, least, top_k):
    places = choose_hits(np.array([languages]), np.array(least), top_k)
    return places[0][places[0] >= 0].tolist()


def test_a_language_gets_its_best_hits_and_the_best_of_all_get_the_rest():
    languages = [0, 0, 0, 0, 1, 0, 1, 1, 2]
    assert choose(languages, [0, 0, 0], 5) == [0, 1, 2, 3, 4]
    assert choose(languages, [0, 2, 1], 5) == [0, 1, 4, 6, 8]
    assert choose(languages, [1, 1, 1], 3) == [0, 4, 8]


def test_a_language_with_fewer_hits_leaves_its_places_to_the_others():
    assert choose([0, 0, 0, 1, -1, -1], [0, 3], 3) == [0, 1, 3]
    assert choose([0, 0, -1], [0, 2], 5) == [0, 1]


@patient
@given(
    st.lists(st.integers(0, 3), max_size=30),
    st.lists(st.integers(0, 3), min_size=4, max_size=4),
    st.integers(0, 10),
)
def test_choice_is_that_of_plain_python(languages, least, more):
    top_k = max(1, sum(least) + more)
    kept = []
    for language in range(4):
        kept += [place for place, one in enumerate(languages) if one == language][: least[language]]
    free = [place for place in range(len(languages)) if place not in kept]
    expected = sorted(kept + free[: top_k - len(kept)])
    assert choose([*languages, -1], least, top_k) == expected


@pytest.mark.parametrize("width", [0, 3])
def test_no_query_is_no_problem(width):
    assert merge([Ranking.none(0, 3)], Rows(), width).numbers.shape == (0, width)
    assert fuse([Ranking.none(0, 3)] * 2, [1, 1], 60, Rows(), 4).ranking.numbers.shape == (0, 4)
    assert choose_hits(np.zeros((0, width), np.int64), np.array([1]), 2).shape[0] == 0
