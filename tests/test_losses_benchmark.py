"""benchmarks/losses.py: its data, which losses it tries, and how far apart it finds twins."""

import importlib
import sys
from pathlib import Path

import polars as pl
import pytest
import torch

from csgen.lexicon.build import LexiconBuildConfig, build_lexicon
from csgen.lexicon.entries import read_entries


@pytest.fixture(scope="module")
def load():
    sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))
    yield importlib.import_module
    sys.path.pop(0)


def test_synonyms_share_translations_in_two_languages(load, tmp_path):
    words = {
        "de": ["fast\tschnell", "quick\tschnell", "early\tschnell", "slow\tlangsam"],
        "fr": ["fast\trapide", "Quick\trapide", "early\ttôt", "slow\tlent"],
    }
    for language, lines in words.items():
        (tmp_path / f"{language}.tsv").write_text("\n".join(lines), encoding="utf-8")
    sources = tuple(f"tsv:en-{language}:{tmp_path}/{language}.tsv" for language in words)
    lexicon, synonyms = str(tmp_path / "lexicon"), str(tmp_path / "synonyms")
    build_lexicon(LexiconBuildConfig(sources=sources, output=lexicon))
    load("loss_data").build_synonyms(lexicon, list(words), str(tmp_path), synonyms)
    found = read_entries(synonyms).select("source", "target").rows()
    assert sorted(found) == [("fast", "quick"), ("quick", "fast")]


def test_a_passage_is_translated_once(load):
    collection = str(Path(load("workload").SAMPLE))
    ids = load("loss_data")._read_passages(collection, "en")["id"]
    pairs = load("loss_data").translate_passages(collection, ["de", "fr"], ids, 20)
    assert pairs["query_id"].n_unique() == len(pairs) == 20
    assert dict(pairs["passage_language"].value_counts().rows()) == {"de": 10, "fr": 10}
    assert (pairs["query"] != pairs["passage"]).all()
    assert pairs.schema["label"] == pl.Int8


def test_twins_with_the_scores_of_their_originals_have_no_gap(load):
    runs = load("loss_runs")
    queries, passages = (torch.nn.functional.normalize(torch.randn(size, 8), dim=-1) for size in (3, 6))
    outputs = {"query": queries, "passage": passages, "twin_query": queries, "twin_passage": passages}
    assert runs.compare_twins(outputs) == pytest.approx(
        dict.fromkeys((runs.GAP, runs.RELATIVE, runs.COSINE), 0), abs=1e-6
    )


def test_a_gap_is_the_mean_difference_of_scores(load):
    runs = load("loss_runs")
    scores = torch.tensor([[3.0, 1.0], [2.0, -2.0]])
    found = runs.compare_twins({"scores": scores, "twins": scores + torch.tensor([[1.0, -1.0], [0.0, 4.0]])})
    assert found[runs.GAP] == pytest.approx(6 / 4)
    assert found[runs.RELATIVE] == pytest.approx(1.5 / scores.std().item())


def test_losses_of_a_teacher_are_tried_with_one_alone(load):
    losses = load("losses")
    with_it, without = (losses.choose_trials(losses.PARTS, (), is_taught) for is_taught in (True, False))
    assert with_it == list(losses.TRIALS)
    assert {trial.label for trial in with_it if trial not in without} == {
        "reranker: distil, beside listwise", "reranker: margin, beside listwise", "encoder: contrastive, beside teach",
        "encoder: distil, beside contrastive", "encoder: margin, beside contrastive",
        "encoder: teach, beside contrastive", "encoder: teach_contrast, beside contrastive",
    }  # fmt: skip


def test_each_loss_of_a_recipe_is_tried(load):
    losses, runs = load("losses"), load("loss_runs")
    tried = {(trial.without.kind, trial.loss) for trial in losses.TRIALS}
    assert tried == {(kind, loss) for kind, names in runs.LOSSES.items() for loss in names}
