"""Dense search of all passages of a cell: exact, in the order of score and row, among the allowed ones."""

import numpy as np
import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from cluster.dense import DenseIndex


class Lookup:
    """An encoder that knows the vectors of the numbers 0, 1, 2, ... written as texts."""

    def __init__(self, vectors):
        self.vectors = vectors

    def encode(self, texts):
        return self.vectors[[int(text) for text in texts]]


def few_values(rows):  # so that scores are often equal
    return np.random.default_rng(rows).integers(-1, 2, (rows, 3)).astype(np.float32)


@given(st.integers(1, 40), st.integers(1, 300), st.integers(1, 50), st.data())
def test_hits_are_the_best_allowed_passages_in_order_of_score_and_row(num_passages, num_queries, top_k, data):
    queries, passages = few_values(num_queries), few_values(num_passages)
    allowed = np.array(data.draw(st.lists(st.booleans(), min_size=num_passages, max_size=num_passages)))
    texts = pl.Series([str(number) for number in range(num_queries)])
    rows, scores = DenseIndex(Lookup(queries), passages).search(texts, top_k, allowed)
    assert rows.shape == scores.shape == (num_queries, min(top_k, num_passages))
    for query, products in enumerate(queries @ passages.T):
        expected = sorted(np.nonzero(allowed)[0], key=lambda row: (-products[row], row))[:top_k]
        assert rows[query][: len(expected)].tolist() == expected
        assert (rows[query][len(expected) :] == -1).all()
        assert scores[query][: len(expected)].tolist() == products[expected].tolist()


def test_without_a_restriction_every_passage_can_be_a_hit():
    rows, _ = DenseIndex(Lookup(few_values(2)), few_values(5)).search(pl.Series(["0", "1"]), 9)
    assert np.sort(rows, axis=1).tolist() == [[0, 1, 2, 3, 4]] * 2
