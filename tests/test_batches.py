"""Batches with a budget of tokens, sequences laid end to end, and what Batch derives from its offsets."""

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from indexing.models.batches import Batch, fill_packed, fill_padded
from indexing.models.tokenising import Tokens

LENGTHS = st.lists(st.integers(1, 40), max_size=30).map(lambda values: np.array(values, np.int64))


@given(LENGTHS, st.integers(1, 60))
def test_every_row_stands_in_one_packed_batch_within_the_budget(lengths, max_tokens):
    batches = fill_packed(lengths, max_tokens)
    assert sorted(np.concatenate([[], *batches])) == list(range(len(lengths)))
    assert all(lengths[rows].sum() <= max_tokens or len(rows) == 1 for rows in batches)


@given(LENGTHS, st.integers(1, 60))
def test_every_row_stands_in_one_padded_batch_whose_padding_counts(lengths, max_tokens):
    batches = fill_padded(lengths, max_tokens)
    assert sorted(np.concatenate([[], *batches])) == list(range(len(lengths)))
    assert all(len(rows) * lengths[rows].max() <= max_tokens or len(rows) == 1 for rows in batches)


def test_packed_batches_begin_with_the_longest_rows_and_are_filled():
    assert [rows.tolist() for rows in fill_packed(np.array([2, 5, 3, 5, 1]), 10)] == [[1, 3], [2, 0, 4]]


def test_padded_batches_hold_as_many_rows_as_their_longest_allows():
    assert [rows.tolist() for rows in fill_padded(np.array([2, 5, 3, 5, 1]), 10)] == [[1, 3], [2, 0, 4]]
    assert [rows.tolist() for rows in fill_padded(np.array([7, 7, 2]), 10)] == [[0], [1], [2]]


def test_a_row_over_the_budget_is_a_batch_by_itself():
    assert [rows.tolist() for rows in fill_packed(np.array([2, 50, 3]), 10)] == [[1], [2, 0]]


def test_a_batch_tells_lengths_sequences_and_positions():
    batch = Batch(torch.tensor([7, 8, 9, 7, 7]), torch.tensor([0, 3, 4, 5]))
    assert batch.lengths.tolist() == [3, 1, 1]
    assert batch.firsts.tolist() == [0, 3, 4]
    assert batch.sequences.tolist() == [0, 0, 0, 1, 2]
    assert batch.positions.tolist() == [0, 1, 2, 0, 0]
    assert batch.longest == 3


def test_sums_of_sequences_are_in_float32_at_least():
    batch = Batch(torch.tensor([1, 1, 1]), torch.tensor([0, 2, 3]))
    sums = batch.sum_sequences(torch.tensor([[1.0], [2.0], [4.0]], dtype=torch.bfloat16))
    assert sums.dtype == torch.float32
    assert sums.tolist() == [[3.0], [4.0]]


def test_taken_rows_stand_in_the_order_asked_for():
    tokens = Tokens(
        np.array([1, 2, 3, 4, 5, 6], np.int32), np.array([0, 2, 3, 6]), np.array([0, 1, 0, 0, 1, 1], np.int32),
        np.zeros(3, np.bool_),
    )  # fmt: skip
    batch = tokens.take(np.array([2, 0]))
    assert batch.ids.tolist() == [4, 5, 6, 1, 2]
    assert batch.offsets.tolist() == [0, 3, 5]
    assert batch.types.tolist() == [0, 1, 1, 0, 1]
