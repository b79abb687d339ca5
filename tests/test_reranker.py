"""Rerankers against sentence-transformers' CrossEncoder: scores, truncation, batches, precisions, bad input."""

import numpy as np
import pyarrow as pa
import pytest
import torch
from sentence_transformers import CrossEncoder
from transformers import AutoModelForSequenceClassification

from cluster.reranker import Reranker
from csgen.errors import InputError

pytest_plugins = ["toy_models"]

ARCHITECTURES = ("xlm-roberta", "roberta", "bert", "modernbert", "distilbert")  # the last is padded


def make_pairs(texts, number=60):
    """Texts of 0 characters to more than the models take, in four scripts."""
    queries = [text[: row % 40] for row, text in enumerate(texts[:number])]
    passages = [(text * 3)[: (row * 7) % 400] for row, text in enumerate(texts[:number])]
    return pa.table({"query": [*queries, "", "", "long " * 90], "passage": [*passages, "", "a", "longer " * 200]})


@pytest.fixture(scope="module")
def pairs(toys):
    return make_pairs(toys.texts()[::3])


def predict(folder, pairs):
    inputs = list(zip(pairs["query"].to_pylist(), pairs["passage"].to_pylist(), strict=True))
    return CrossEncoder(folder, device="cpu").predict(inputs, activation_fn=torch.nn.Identity())


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_scores_equal_those_of_sentence_transformers(toys, pairs, architecture):
    folder = toys.reranker(architecture)
    scores = Reranker.load(folder).score(pairs)
    assert scores.dtype == np.float32
    np.testing.assert_allclose(scores, predict(folder, pairs), atol=1e-4, rtol=0)


def test_a_head_that_averages_tokens_gives_the_same(toys, pairs):
    folder = toys.reranker("modernbert", classifier_pooling="mean")
    np.testing.assert_allclose(Reranker.load(folder).score(pairs), predict(folder, pairs), atol=1e-4, rtol=0)


@pytest.mark.parametrize("architecture", ["xlm-roberta", "modernbert", "distilbert"])
@pytest.mark.parametrize(("precision", "tolerance"), [("fp32", 1e-5), ("int8", 1e-5), ("bf16", 0.1)])
def test_a_score_does_not_depend_on_batch_order_and_company(toys, pairs, architecture, precision, tolerance):
    folder = toys.reranker(architecture)
    reranker = Reranker.load(folder, precision=precision)
    scores = reranker.score(pairs)
    order = np.arange(pairs.num_rows)[::-1]
    np.testing.assert_allclose(reranker.score(pairs.take(order))[order], scores, atol=tolerance, rtol=0)
    np.testing.assert_allclose(reranker.score(pairs.slice(7, 1)), scores[7:8], atol=tolerance, rtol=0)
    small = Reranker.load(folder, precision=precision, max_tokens=70)
    np.testing.assert_allclose(small.score(pairs), scores, atol=tolerance, rtol=0)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("precision", ["bf16", "int8"])
def test_lower_precisions_keep_the_order_roughly(toys, pairs, architecture, precision):
    folder = toys.reranker(architecture)
    exact = Reranker.load(folder).score(pairs)
    scores = Reranker.load(folder, precision=precision).score(pairs)
    assert np.corrcoef(exact, scores)[0, 1] > 0.95


def test_the_number_of_threads_changes_rounding_alone(toys, pairs):
    reranker, before = Reranker.load(toys.reranker("bert"), max_tokens=100), torch.get_num_threads()
    scores = []
    try:
        for number in (1, 2, 3):
            torch.set_num_threads(number)
            scores.append(reranker.score(pairs))
            assert torch.get_num_threads() == number
    finally:
        torch.set_num_threads(before)
    np.testing.assert_allclose(scores[1:], [scores[0]] * 2, atol=1e-5, rtol=0)


def test_truncated_pairs_are_counted_and_cut_as_by_sentence_transformers(toys):
    folder = toys.reranker("bert")
    reranker = Reranker.load(folder)
    pairs = pa.table({"query": ["a", "a", "b " * 100], "passage": ["b", "b " * 100, "a " * 90]})
    np.testing.assert_allclose(reranker.score(pairs), predict(folder, pairs), atol=1e-4, rtol=0)
    assert reranker.truncated == 2
    reranker.score(pairs.slice(1, 1))
    assert reranker.truncated == 3


def test_a_lower_limit_truncates_earlier(toys):
    folder = toys.reranker("bert")
    pairs = pa.table({"query": ["a b"], "passage": ["c " * 30]})
    assert Reranker.load(folder).score(pairs) != Reranker.load(folder, max_length=20).score(pairs)
    with pytest.raises(InputError, match=r"max_length must be in \[4, 64\], got 65"):
        Reranker.load(folder, max_length=65)


def test_no_pairs_give_no_scores_and_a_batch_of_records_will_do(toys):
    reranker = Reranker.load(toys.reranker("bert"))
    none = pa.table({"query": pa.array([], pa.string()), "passage": pa.array([], pa.string())})
    assert reranker.score(none).shape == (0,)
    assert reranker.score(pa.record_batch({"query": ["a"], "passage": ["b"]})).shape == (1,)


def test_a_text_that_spells_special_tokens_is_scored_as_by_sentence_transformers(toys):
    folder = toys.reranker("xlm-roberta")
    pairs = pa.table({"query": ["<pad> one <pad>", "<s>"], "passage": ["two <pad> three", "</s><pad>"]})
    np.testing.assert_allclose(Reranker.load(folder).score(pairs), predict(folder, pairs), atol=1e-4, rtol=0)


def test_missing_columns_and_texts_are_named(toys):
    reranker = Reranker.load(toys.reranker("bert"))
    with pytest.raises(InputError, match="no column passage; there are query, text"):
        reranker.score(pa.table({"query": ["a"], "text": ["b"]}))
    with pytest.raises(InputError, match="the passage of row 2 is null"):
        reranker.score(pa.table({"query": ["a", "b"], "passage": ["c", None]}))


def test_a_score_that_is_not_a_number_names_the_pair(toys, tmp_path):
    model = AutoModelForSequenceClassification.from_pretrained(toys.reranker("bert"))
    toys.copy(toys.reranker("bert"), tmp_path)
    model.classifier.bias.data.fill_(torch.nan)
    model.save_pretrained(tmp_path)
    with pytest.raises(InputError, match="gives the score nan to pair 1, query 'what', passage 'this': its weights"):
        Reranker.load(str(tmp_path)).score(pa.table({"query": ["what"], "passage": ["this"]}))


def test_running_out_of_memory_names_the_setting_to_lower(toys, monkeypatch):
    reranker = Reranker.load(toys.reranker("bert"))

    def fail(batch):
        return torch.empty(1 << 60)  # asks the allocator for more than there is

    monkeypatch.setattr(
        reranker, "_runner", type(reranker._runner)(fail, torch.device("cpu"), 512, reranker._runner.fill)
    )
    with pytest.raises(InputError, match=r"out of memory on cpu with batches of 512 tokens.*lower max_tokens"):
        reranker.score(pa.table({"query": ["a"], "passage": ["b"]}))


def test_a_device_that_is_not_there_and_a_budget_of_nothing_are_refused(toys):
    folder = toys.reranker("bert")
    with pytest.raises(InputError, match="device must be cpu, cuda or cuda:NUMBER, got 'gpu'"):
        Reranker.load(folder, device="gpu")
    with pytest.raises(InputError, match="max_tokens must be 1 or more, got 0"):
        Reranker.load(folder, max_tokens=0)
    if not torch.cuda.is_available():
        with pytest.raises(InputError, match="finds no GPU; take cpu"):
            Reranker.load(folder, device="cuda")
