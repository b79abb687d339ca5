"""The loop and its gradients: the same for any chunks and workers, and what stops, chooses and averages."""

import math
from functools import partial

import numpy as np
import pyarrow as pa
import pytest
import torch
from toy_training import (
    Bag,
    HashTeacher,
    checkpoint_of,
    one_step,
    sample_table,
    sample_tokenizer,
    step_and_run,
    toy_encoder,
    toy_objective,
    toy_reranker,
    toy_source,
    worker,
)

from cluster.training import losses
from cluster.training.config import BaseConfig, EncoderConfig, RerankerConfig
from cluster.training.examples import load_pairs
from cluster.training.gradients import Backward, Robustness
from cluster.training.loop import Rates, Run, make_optimiser, train
from cluster.training.models import make_embedder, make_scorer, make_word_embedder
from cluster.training.objectives import EncoderObjective, RerankerObjective
from cluster.training.workers import Workers
from csgen.errors import CsgenError, InputError
from csgen.sources.parquet import write_pairs

EVERY_LOSS = {
    "reranker": partial(
        RerankerConfig, pointwise=0.3, listwise=1, distil=0.5, margin=0.1, align_scores=1, temperature=2,
    ),
    "encoder": partial(
        EncoderConfig, contrastive=1, distil=0.5, margin=0.1, teach=1, teach_contrast=0.2,
        align_scores=1, align_twins=0.1, align_sentences=0.3, align_words=0.2, twin_relevance=0.5,
    ),
    "base": partial(BaseConfig, masked=1, align_words=0.5, switched="beside"),
}  # fmt: skip


@pytest.fixture(scope="module", autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def tokenizer():
    return sample_tokenizer()


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    """Sample pairs with a teacher's scores: the number of words that query and passage share."""
    table = sample_table()
    rows = zip(table["query"].to_pylist(), table["passage"].to_pylist(), strict=True)
    scores = [float(len(set(query.lower().split()) & set(passage.lower().split()))) for query, passage in rows]
    path = str(tmp_path_factory.mktemp("pairs") / "pairs.parquet")
    write_pairs(table.append_column("score", pa.array(scores, pa.float32())), path)
    return path


@pytest.fixture(scope="module")
def pairs(path):
    return load_pairs(path)


def gradients_of(module):
    return {name: p.grad for name, p in module.named_parameters() if p.grad is not None}


def assert_equal(left, right, within):
    assert left.keys() == right.keys()
    for name, gradient in left.items():
        scale = max(1.0, gradient.abs().max().item())
        assert (gradient - right[name]).abs().max() <= within * scale, name


def assert_same_losses(left, right):
    assert left.keys() == right.keys()
    assert {name: value.item() for name, value in left.items()} == {
        name: pytest.approx(value.item(), rel=5e-6, abs=1e-6) for name, value in right.items()
    }


# Gradients


@pytest.mark.parametrize("kind", EVERY_LOSS)
def test_gradients_do_not_depend_on_how_a_batch_is_cut_into_chunks(kind, path, sample_lexicon):
    found = {}
    for micro in (8, 2):
        # Words are contrasted within a chunk, whose size therefore tells.
        config = EVERY_LOSS[kind](batch_size=8, micro_batch_size=micro, steps=9).model_copy(update={"align_words": 0.0})
        backward, batch, chunks = one_step(config, path, sample_lexicon, teacher=HashTeacher(), dropout=0.0)
        assert len(chunks) == 8 // micro
        backward.objective.module.double()  # to see that the sums are the same, and not how they are rounded
        found[micro] = backward.run(batch, chunks), gradients_of(backward.objective.module)
    assert_same_losses(found[8][0], found[2][0])
    assert_equal(found[8][1], found[2][1], 1e-6)


def test_gradients_are_those_of_the_losses_written_out(path, sample_lexicon):
    config = RerankerConfig(batch_size=8, micro_batch_size=4, steps=9, align_scores=0.7, twin_relevance=0.4)
    backward, batch, chunks = one_step(config, path, sample_lexicon, dropout=0.0)
    found = backward.run(batch, chunks)
    module = backward.objective.module
    gradients = gradients_of(module)
    module.zero_grad()
    outputs = [backward.objective.forward(chunk) for chunk in chunks]
    scores, twins = (torch.cat([output[name] for output in outputs]) for name in ("scores", "twins"))
    english = scores[torch.from_numpy(batch.twinned)]
    loss = losses.listwise(scores) + 0.4 * losses.listwise(twins) + 0.7 * losses.align_scores(english, twins)
    loss.backward()
    assert found["loss"].item() == pytest.approx(loss.item(), abs=1e-6)
    assert_equal(gradients, gradients_of(module), 1e-6)


@pytest.fixture(scope="module")
def of_two_workers(path, sample_lexicon, tmp_path_factory):
    """What two processes find, and what the same makes of one: a step of each kind, and a whole run."""
    folder = tmp_path_factory.mktemp("workers")
    configs = {kind: EVERY_LOSS[kind](batch_size=8, micro_batch_size=2, steps=9) for kind in EVERY_LOSS}
    # With dropout, noise and an adversarial step: all of them are drawn by chunk.
    robustness = Robustness(noise=0.1, epsilon=0.1)
    options = {"pairs": path, "lexicon": sample_lexicon, "teacher": HashTeacher(), "robustness": robustness}
    torch.multiprocessing.spawn(worker, (2, str(folder / "store"), str(folder), configs, options), nprocs=2)
    return torch.load(folder / "of-2.pt"), step_and_run(str(folder / "alone"), configs, options)


@pytest.mark.parametrize("kind", EVERY_LOSS)
def test_two_workers_give_the_gradients_of_one(kind, of_two_workers):
    (shared, _), (alone, _) = of_two_workers
    assert_same_losses(alone[kind]["losses"], shared[kind]["losses"])
    assert_equal(alone[kind]["gradients"], shared[kind]["gradients"], 1e-6)


def test_a_run_of_two_workers_has_the_losses_of_one(of_two_workers):
    (_, shared), (_, alone) = of_two_workers
    assert len(shared) == 16
    assert shared == pytest.approx(alone, rel=1e-4)  # what sums in another order differ by grows from step to step


def test_an_adversarial_step_adds_the_gradients_at_the_moved_embeddings(path, sample_lexicon):
    config = RerankerConfig(batch_size=8, micro_batch_size=4, steps=9)
    plain, *step = one_step(config, path, sample_lexicon, dropout=0.0)
    clean = plain.run(*step)
    moved, *step = one_step(config, path, sample_lexicon, dropout=0.0, robustness=Robustness(epsilon=1.0, weight=0.5))
    found = moved.run(*step)
    assert found["adversarial"].item() / 0.5 > clean["loss"].item()
    assert found["loss"].item() == pytest.approx(clean["loss"].item() + found["adversarial"].item())
    still, *step = one_step(config, path, sample_lexicon, dropout=0.0, robustness=Robustness(epsilon=1e-9, weight=1.0))
    still.run(*step)
    doubled = {name: 2 * gradient for name, gradient in gradients_of(plain.objective.module).items()}
    assert_equal(gradients_of(still.objective.module), doubled, 1e-5)


def test_noise_moves_the_loss_and_only_as_the_seed_says(path, sample_lexicon):
    config = RerankerConfig(batch_size=8, micro_batch_size=8, steps=9)
    found = []
    for noise in (0.0, 0.5, 0.5):
        backward, *step = one_step(config, path, sample_lexicon, dropout=0.0, robustness=Robustness(noise=noise))
        found.append(backward.run(*step)["loss"].item())
    assert found[0] != found[1] == found[2]


def test_a_packed_scorer_equals_transformers_own_forward(pairs, tokenizer):
    config = RerankerConfig(batch_size=8, micro_batch_size=8, steps=9, max_tokens=512)
    source = toy_source(config, pairs, tokenizer)
    chunk = source.chunk(source.batch(0), 0)
    module = toy_reranker(tokenizer).eval()
    texts = pairs.take(source.batch(0).rows.ravel()).to_pydict()
    own = module(**tokenizer(texts["query"], texts["passage"], padding=True, return_tensors="pt")).logits[:, 0]
    assert torch.allclose(make_scorer(checkpoint_of(module, tokenizer)).score(chunk.tokens), own, atol=1e-5)


@pytest.mark.parametrize("pooling", ["cls", "mean"])
def test_a_packed_embedder_equals_transformers_own_forward(pairs, tokenizer, pooling):
    config = EncoderConfig(batch_size=4, micro_batch_size=4, steps=9, negatives=1, max_tokens=512)
    source = toy_source(config, pairs, tokenizer)
    batch = source.batch(0)
    module = toy_encoder(tokenizer).eval()
    texts = pairs.take(batch.rows.ravel()).to_pydict()
    given = tokenizer([*texts["query"][::2], *texts["passage"]], padding=True, return_tensors="pt")
    states, mask = module(**given).last_hidden_state, given["attention_mask"][..., None]
    own = states[:, 0] if pooling == "cls" else (states * mask).sum(1) / mask.sum(1)
    for make in (make_embedder, make_word_embedder):
        found, _ = make(checkpoint_of(module, tokenizer, pooling)).embed(source.chunk(batch, 0).tokens)
        assert torch.allclose(found, torch.nn.functional.normalize(own, dim=-1), atol=1e-5)


# The loop


def run_of(
    folder, pairs, tokenizer, lexicon=None, kind=RerankerConfig, objective=None, evaluate=None, on_step=None, **options
):
    given = {"batch_size": 8, "micro_batch_size": 8, "steps": 12, "learning_rate": 3e-3, "max_tokens": 96}
    config = kind.from_options(given | options)
    source = toy_source(config, pairs, tokenizer, lexicon, HashTeacher())
    objective = objective or toy_objective(config, tokenizer)
    return Run(config, objective, source, str(folder), evaluate=evaluate, on_step=on_step)


def test_training_lowers_the_loss_and_says_how_it_goes(pairs, tokenizer, sample_lexicon, tmp_path):
    seen = []
    options = {"kind": EncoderConfig, "steps": 40, "on_step": seen.append}
    outcome = train(run_of(tmp_path, pairs, tokenizer, sample_lexicon, **options))
    assert np.mean(outcome.state.losses[-5:]) < np.mean(outcome.state.losses[:5]) / 2
    assert [p.step for p in seen] == list(range(1, 41))
    assert seen[9].losses["loss"] == outcome.state.losses[9]
    assert seen[-1].pairs_per_s > 0
    assert seen[-1].tokens_per_s > seen[-1].pairs_per_s
    assert 0 <= seen[-1].waiting_ratio <= 1
    assert seen[-1].left_s == 0


def test_bf16_trains_nearly_as_fp32(pairs, tokenizer, tmp_path):
    ends = [
        np.mean(train(run_of(tmp_path / p, pairs, tokenizer, precision=p, steps=20)).state.losses[-5:])
        for p in ("fp32", "bf16")
    ]
    assert ends[0] != ends[1]
    assert ends[0] == pytest.approx(ends[1], rel=0.1)


def test_biases_and_norms_do_not_decay(tokenizer):
    module = toy_reranker(tokenizer)
    optimiser = make_optimiser(module, RerankerConfig(weight_decay=0.1))
    decay = {id(p): group["weight_decay"] for group in optimiser.param_groups for p in group["params"]}
    found = {name: decay[id(p)] for name, p in module.named_parameters()}
    assert all((value == 0.1) == name.endswith("weight") for name, value in found.items() if "LayerNorm" not in name)
    assert all(value == 0 for name, value in found.items() if "LayerNorm" in name)


class Poisoned:
    """A scorer that gives nan for one passage."""

    def __init__(self, scorer, token):
        self.module, self._scorer, self._token = scorer.module, scorer, token

    def score(self, tokens):
        hits = tokens.sum_sequences((tokens.ids == self._token)[:, None].float())[:, 0]
        return self._scorer.score(tokens) * torch.where(hits > 0, math.nan, 1.0)


def test_a_loss_that_is_not_finite_names_the_pairs_and_keeps_the_last_checkpoint(pairs, tokenizer, tmp_path):
    config = RerankerConfig(batch_size=8, micro_batch_size=4, steps=30, checkpoint_every=1, max_tokens=512)
    source = toy_source(config, pairs, tokenizer)
    word = "passport"  # in few of the passages
    token = tokenizer.convert_tokens_to_ids(word)
    assert token != tokenizer.unk_token_id
    scorer = Poisoned(make_scorer(checkpoint_of(toy_reranker(tokenizer), tokenizer)), token)
    run = Run(config, RerankerObjective(scorer, config), source, str(tmp_path))
    with pytest.raises(CsgenError, match=r"step \d+: loss nan") as failure:
        train(run)
    steps = run.checkpoints().steps()
    step = int(str(failure.value).split(":")[0].removeprefix("step "))
    if steps:
        assert steps[-1] == step - 1
        assert f"the checkpoint of step {step - 1} is kept" in str(failure.value)
    named = str(failure.value).split("(query/passage) ")[1].split(";")[0].split(" and ")[0].split(", ")
    texts = {f"{r['query_id']}/{r['passage_id']}": r for r in pairs.texts.to_pylist()}
    groups = {name.split("/")[0] for name in named}
    for query in groups:  # a group's loss is one: all its pairs are named
        assert any(word in (r["query"] + r["passage"]).lower() for n, r in texts.items() if n.startswith(query))


def test_a_selected_figure_chooses_the_weights(pairs, tokenizer, tmp_path):
    figures = iter([0.1, 0.9, 0.3, 0.2])
    run = run_of(
        tmp_path, pairs, tokenizer, evaluate=lambda: {"RR@10": next(figures)}, evaluate_every=3, select="RR@10"
    )
    outcome = train(run)
    assert outcome.weights_of == (6,)
    assert [(e.step, e.figures["RR@10"]) for e in outcome.state.evaluations] == [
        (3, 0.1),
        (6, 0.9),
        (9, 0.3),
        (12, 0.2),
    ]
    kept = run.checkpoints().weights([6])
    assert all(torch.equal(kept[name], weight) for name, weight in run.objective.module.state_dict().items())
    assert 6 in run.checkpoints().steps()


def test_patience_stops_a_run_that_gets_no_better(pairs, tokenizer, tmp_path):
    figures = iter([0.5, 0.4, 0.5, 0.9])
    options = {"evaluate_every": 2, "select": "RR@10", "patience": 2}
    outcome = train(run_of(tmp_path, pairs, tokenizer, evaluate=lambda: {"RR@10": next(figures)}, **options))
    assert outcome.stopped_early
    assert outcome.state.step == 6
    assert outcome.weights_of == (2,)


def test_a_figure_that_the_evaluation_does_not_give_is_refused(pairs, tokenizer, tmp_path):
    run = run_of(tmp_path, pairs, tokenizer, evaluate=lambda: {"RR@10": 0.1}, evaluate_every=1, select="nDCG@10")
    with pytest.raises(InputError, match="--select nDCG@10: the evaluation gives RR@10"):
        train(run)


def test_the_newest_checkpoints_are_averaged(pairs, tokenizer, tmp_path):
    run = run_of(tmp_path, pairs, tokenizer, checkpoint_every=4, average_checkpoints=3)
    assert train(run).weights_of == (4, 8, 12)
    parts = [run.checkpoints().weights([step])["classifier.weight"] for step in (4, 8, 12)]
    assert torch.allclose(run.objective.module.classifier.weight, sum(parts) / 3, atol=1e-7)


def test_averaged_weights_are_taken_only_where_they_are_no_worse(pairs, tokenizer, tmp_path):
    figures = iter([0.1, 0.9, 0.5])  # at two steps, and of the average
    options = {"evaluate_every": 6, "checkpoint_every": 6, "select": "RR@10", "average_checkpoints": 2}
    assert train(
        run_of(tmp_path, pairs, tokenizer, evaluate=lambda: {"RR@10": next(figures)}, **options)
    ).weights_of == (12,)


def test_rates_are_over_the_last_steps():
    rates = Rates()
    for _ in range(200):
        rates.add(10, 100, 0.0)
    assert rates.tokens_per_s == pytest.approx(10 * rates.pairs_per_s)
    assert rates.waiting_ratio == 0


def test_more_workers_than_chunks_are_refused(pairs, tokenizer, tmp_path, monkeypatch):
    monkeypatch.setattr(Workers, "current", lambda: Workers(0, 2))
    with pytest.raises(InputError, match="1 chunks of 8, too few for 2 workers: give a smaller --micro-batch-size"):
        train(run_of(tmp_path, pairs, tokenizer))


def test_out_of_memory_says_which_setting_to_lower(pairs, tokenizer, tmp_path):
    class Greedy:
        module = toy_reranker(tokenizer)

        def score(self, tokens):
            return torch.zeros(1 << 50)

    config = RerankerConfig(batch_size=8, micro_batch_size=4, steps=2)
    source = toy_source(config, pairs, tokenizer)
    with pytest.raises(CsgenError, match="out of memory at step 1: lower --micro-batch-size, now 4"):
        train(Run(config, RerankerObjective(Greedy(), config), source, str(tmp_path)))


def test_a_teacher_of_another_size_is_refused(pairs, tokenizer, tmp_path):
    config = EncoderConfig(batch_size=8, micro_batch_size=8, steps=2, teach=1)
    source = toy_source(config, pairs, tokenizer, teacher=HashTeacher(16))
    with pytest.raises(InputError, match="teacher's embeddings have 16 numbers and the encoder's 32"):
        train(Run(config, toy_objective(config, tokenizer), source, str(tmp_path)))


def test_distillation_without_scores_is_refused(tokenizer, tmp_path):
    write_pairs(sample_table(), str(tmp_path / "pairs.parquet"))
    with pytest.raises(InputError, match="the pairs have no column score"):
        train(run_of(tmp_path / "run", load_pairs(str(tmp_path / "pairs.parquet")), tokenizer, margin=1))


# What each loss does to pairs that it has not seen


@pytest.fixture(scope="module")
def halves(tmp_path_factory):
    """45 queries to train on and 15 held out; a teacher's scores are the words that query and passage share."""
    found = []
    for first, number in ((0, 45), (45, 15)):
        table = sample_table(num_queries=number, first=first)
        rows = zip(table["query"].to_pylist(), table["passage"].to_pylist(), strict=True)
        scores = [float(len(set(query.lower().split()) & set(passage.lower().split()))) for query, passage in rows]
        path = str(tmp_path_factory.mktemp("halves") / "pairs.parquet")
        write_pairs(table.append_column("score", pa.array(scores, pa.float32())), path)
        found.append(load_pairs(path))
    return found


def held_out(model, config, watched, pairs, tokenizer, lexicon):
    """A loss over the held-out pairs, all of them with a twin."""
    changes = {"batch_size": 15, "micro_batch_size": 15, "steps": 1, "switched_share": {0.0: 1.0}, "switched": "beside"}
    config = config.model_copy(update=changes | {watched: 1.0})
    source = toy_source(config, pairs, tokenizer, lexicon, HashTeacher(64))
    objective = (RerankerObjective if isinstance(config, RerankerConfig) else EncoderObjective)(model, config)
    batch, chunks = next(source.steps(0, 1))
    found = Backward(objective, source, Workers(), torch.device("cpu")).run(batch, chunks)
    model.zero_grad()
    return found[watched].item()


def trained(config, pairs, tokenizer, lexicon, folder):
    model = Bag(len(tokenizer))
    source = toy_source(config, pairs, tokenizer, lexicon, HashTeacher(64))
    objective = (RerankerObjective if isinstance(config, RerankerConfig) else EncoderObjective)(model, config)
    train(Run(config, objective, source, str(folder)))
    return model


SHORT = {"batch_size": 15, "micro_batch_size": 15, "steps": 30, "learning_rate": 0.004, "max_tokens": 128}


@pytest.mark.parametrize(
    ("kind", "loss"),
    [(RerankerConfig, name) for name in ("pointwise", "listwise", "distil", "margin")]
    + [
        (EncoderConfig, name)
        for name in ("contrastive", "distil", "margin", "teach", "teach_contrast", "align_sentences")
    ],
)
def test_each_loss_falls_on_pairs_that_were_held_out(kind, loss, halves, tokenizer, sample_lexicon, tmp_path):
    off = {"listwise": 0} if kind is RerankerConfig else {"contrastive": 0}
    config = kind.from_options(SHORT | off | {loss: 1, "switched_share": 0.0})
    before, after = (
        held_out(model, config, loss, halves[1], tokenizer, sample_lexicon)
        for model in (Bag(len(tokenizer)), trained(config, halves[0], tokenizer, sample_lexicon, tmp_path))
    )
    assert after < before


@pytest.mark.parametrize(
    ("kind", "loss"),
    [(RerankerConfig, "align_scores")] + [(EncoderConfig, f"align_{name}") for name in ("scores", "twins", "words")],
)
def test_alignment_brings_held_out_twins_nearer_than_relevance_alone(
    kind, loss, halves, tokenizer, sample_lexicon, tmp_path
):
    found = []
    for weight in (0.0, 1.0):
        config = kind.from_options(SHORT | {loss: weight, "learning_rate": 0.01, "twin_relevance": 0})
        model = trained(config, halves[0], tokenizer, sample_lexicon, tmp_path / str(weight))
        found.append(held_out(model, config, loss, halves[1], tokenizer, sample_lexicon))
    assert found[1] < found[0]
