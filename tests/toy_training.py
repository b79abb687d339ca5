"""Small things to train with: pairs of the carried sample, a tokenizer trained on them, models of two layers.

Run as a script it trains a reranker as a process that may be killed: see `test_training_checkpoints.py`.
"""

import json
import sys
import time
from collections import Counter
from importlib.resources import files as package_files
from pathlib import Path

import numpy as np
import pyarrow as pa
import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from torch.nn.functional import normalize
from transformers import (
    BertConfig,
    BertForMaskedLM,
    BertForSequenceClassification,
    BertModel,
    PreTrainedTokenizerFast,
)

from cluster.training import gradients
from cluster.training.batches import make_source
from cluster.training.config import EncoderConfig, RerankerConfig
from cluster.training.examples import load_pairs
from cluster.training.gradients import Backward
from cluster.training.layouts import MaskedLayout, PairLayout, TextLayout
from cluster.training.loop import Run, train
from cluster.training.models import make_embedder, make_predictor, make_scorer, make_word_embedder
from cluster.training.objectives import BaseObjective, EncoderObjective, RerankerObjective
from cluster.training.tokens import Tokeniser
from cluster.training.twins import TwinMaker
from cluster.training.workers import Workers
from csgen.lexicon.table import read_table
from csgen.switching.policy import SIDES, Policy
from indexing.models.checkpoint import Checkpoint

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
WIDTH = 32


def sample_texts(language, name):
    lines = (package_files("csgen") / "sample" / language / f"{name}.jsonl").read_text().splitlines()
    return [json.loads(line)["text"] for line in lines]


def sample_table(languages=("en",), negatives=4, num_queries=60, first=0):
    """Each query with its own passage and the passages of the next queries, language by language."""
    rows = []
    for language in languages:
        queries, passages = (
            sample_texts(language, name)[first : first + num_queries] for name in ("queries", "passages")
        )
        for k, query in enumerate(queries):
            for step in range(negatives + 1):
                other = (k + step) % len(passages)
                names = {"query_id": f"{language}-q{first + k:02}", "passage_id": f"{language}-p{first + other:02}"}
                texts = {"query": query, "passage": passages[other], "label": int(step == 0)}
                rows.append(names | texts | {"query_language": language, "passage_language": language})
    schema = {name: pa.string() for name in rows[0]} | {"label": pa.int8()}
    return pa.Table.from_pylist(rows, schema=pa.schema(schema))


def toy_tokenizer(texts, size=800):
    """A word-piece tokenizer of BERT's form: all characters of the texts, and their most frequent words.

    Not trained by `tokenizers`, whose trainers break ties by chance.
    """
    normalizer, splitter = normalizers.BertNormalizer(lowercase=True), pre_tokenizers.BertPreTokenizer()
    words = Counter(word for text in texts for word, _ in splitter.pre_tokenize_str(normalizer.normalize_str(text)))
    characters = sorted({character for word in words for character in word})
    pieces = [*SPECIAL, *characters, *(f"##{character}" for character in characters)]
    pieces += [word for word in sorted(words, key=lambda word: (-words[word], word)) if len(word) > 1]
    vocabulary = {piece: number for number, piece in enumerate(pieces[:size])}
    backend = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    backend.normalizer, backend.pre_tokenizer = normalizer, splitter
    ends = [(token, backend.token_to_id(token)) for token in ("[CLS]", "[SEP]")]
    backend.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=ends
    )
    inputs = ["input_ids", "token_type_ids", "attention_mask"]
    names = {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]"}
    return PreTrainedTokenizerFast(tokenizer_object=backend, mask_token="[MASK]", model_input_names=inputs, **names)


def sample_tokenizer(languages=("en", "de", "it")):
    texts = [
        text for language in languages for name in ("queries", "passages") for text in sample_texts(language, name)
    ]
    return toy_tokenizer(texts)


def toy_config(tokenizer, width=WIDTH, dropout=0.1, layers=2):
    return BertConfig(
        vocab_size=len(tokenizer), hidden_size=width, num_hidden_layers=layers, num_attention_heads=2,
        intermediate_size=2 * width, max_position_embeddings=512, num_labels=1, hidden_dropout_prob=dropout,
        attention_probs_dropout_prob=dropout,
    )  # fmt: skip


def toy_reranker(tokenizer, **sizes):
    torch.manual_seed(1)
    return BertForSequenceClassification(toy_config(tokenizer, **sizes))


def toy_encoder(tokenizer, **sizes):
    torch.manual_seed(1)
    return BertModel(toy_config(tokenizer, **sizes), add_pooling_layer=False)


def toy_base(tokenizer, **sizes):
    torch.manual_seed(1)
    return BertForMaskedLM(toy_config(tokenizer, **sizes))


class Bag(torch.nn.Module):
    """A scorer and an encoder of nothing but the mean of its tokens' embeddings: it learns in a second."""

    def __init__(self, vocabulary_size, width=64):
        super().__init__()
        torch.manual_seed(1)
        self.embeddings = torch.nn.Embedding(vocabulary_size, width)

    @property
    def module(self):
        return self

    def get_input_embeddings(self):
        return self.embeddings

    def embed(self, tokens):
        states = self.embeddings(tokens.ids)
        return normalize(tokens.sum_sequences(states), dim=-1), states

    def score(self, tokens):
        states = self.embeddings(tokens.ids)
        second = tokens.types[:, None] == 1
        query, passage = (normalize(tokens.sum_sequences(states * side), dim=-1) for side in (~second, second))
        return 10 * (query * passage).sum(-1)


class HashTeacher:
    """A teacher encoder: each text's vector is a sum of one direction a word, so that like texts lie near."""

    def __init__(self, dim=WIDTH):
        self._dim = dim

    def embed(self, pairs, side):
        return self.encode(pairs.column(side).to_pylist())

    def encode(self, texts):
        return np.stack(
            [sum(map(self._direction, text.lower().split()), np.zeros(self._dim)) for text in texts]
        ).astype(np.float32)

    def _direction(self, word):
        return np.random.default_rng(list(word.encode())).standard_normal(self._dim)


POLICY = Policy(languages=("de", "it"), probability=0.5, seed=3)


def toy_source(config, pairs, tokenizer, lexicon=None, teacher=None, policy=POLICY):
    """The source that fits the kind of configuration."""
    twin_maker = TwinMaker(policy, read_table(lexicon, "en"), config.curriculum) if lexicon else None
    tokeniser = Tokeniser(tokenizer, config.max_tokens)
    if isinstance(config, RerankerConfig):
        layout = PairLayout(tokeniser)
    elif isinstance(config, EncoderConfig):
        teacher = teacher if config.teach or config.teach_contrast else None
        sides = tuple(side for side in SIDES if policy.switches(side))
        layout = TextLayout(tokeniser, sides, needs_spans=config.align_words > 0, teacher=teacher)
    else:
        layout = MaskedLayout(tokeniser, config.masked_ratio, needs_spans=config.align_words > 0)
    return make_source(config, pairs, layout, twin_maker)


def checkpoint_of(model, tokenizer, pooling="cls"):
    return Checkpoint("toy", model, tokenizer, 512, pooling)


def toy_objective(config, tokenizer, **sizes):
    """A small model with the losses of the configuration."""
    if isinstance(config, RerankerConfig):
        return RerankerObjective(make_scorer(checkpoint_of(toy_reranker(tokenizer, **sizes), tokenizer)), config)
    if isinstance(config, EncoderConfig):
        make = make_word_embedder if config.align_words else make_embedder
        return EncoderObjective(make(checkpoint_of(toy_encoder(tokenizer, **sizes), tokenizer, "mean")), config)
    return BaseObjective(make_predictor(toy_base(tokenizer, **sizes)), config)


KILLED = {
    "batch_size": 8, "micro_batch_size": 4, "steps": 16, "learning_rate": 1e-3, "checkpoint_every": 4,
    "align_scores": 1, "evaluate_every": 6, "max_tokens": 64,
}  # fmt: skip


def killed_run(folder, pairs, lexicon, on_step=None, **options):
    """A run that is to survive being killed: everything random in it is on."""
    torch.set_num_threads(1)
    config = RerankerConfig.from_options(KILLED | options)
    tokenizer = sample_tokenizer()
    objective = toy_objective(config, tokenizer)
    source = toy_source(config, load_pairs(pairs), tokenizer, lexicon)
    weight = objective.module.classifier.weight
    return Run(config, objective, source, folder, evaluate=lambda: {"weight": weight.sum().item()}, on_step=on_step)


def worker(rank, size, store, folder, configs, options):
    """One of several workers, whose first leaves what they find in `folder`."""
    torch.set_num_threads(1)
    gradients.LARGE_ROWS = 500  # so that a small model's embeddings travel as a large one's do
    torch.distributed.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=size)
    try:
        found = step_and_run(f"{folder}/shared", configs, options)
        if rank == 0:
            torch.save(found, f"{folder}/of-{size}.pt")
    finally:
        torch.distributed.destroy_process_group()


def step_and_run(folder, configs, options):
    """Losses and gradients of each configuration's first step, and the losses of a whole run."""
    found = {}
    for kind, config in configs.items():
        backward, batch, chunks = one_step(config, **options)
        losses = backward.run(batch, chunks)
        slopes = {n: p.grad for n, p in backward.objective.module.named_parameters() if p.grad is not None}
        found[kind] = {"losses": losses, "gradients": slopes}
    run = killed_run(folder, options["pairs"], options["lexicon"], average_checkpoints=2)
    return found, list(train(run).state.losses)


def one_step(config, pairs, lexicon, step=0, teacher=None, robustness=None, **sizes):
    """What takes a batch's loss back, the batch, and this worker's chunks."""
    tokenizer = sample_tokenizer()
    source = toy_source(config, load_pairs(pairs), tokenizer, lexicon, teacher)
    workers = Workers.current()
    objective = toy_objective(config, tokenizer, **sizes)
    objective.module.train()
    batch, chunks = next(source.steps(step, step + 1, workers.rank, workers.size))
    given = [] if robustness is None else [robustness]
    return Backward(objective, source, workers, torch.device("cpu"), None, *given), batch, chunks


def main(folder, pairs, lexicon, log):
    with Path(log).open("a") as stream:

        def note(progress):
            stream.write(f"{progress.step} {progress.losses['loss']!r}\n")
            stream.flush()
            time.sleep(0.1)  # so that whoever is to kill it gets to do so in time

        train(killed_run(folder, pairs, lexicon, note))


if __name__ == "__main__":
    main(*sys.argv[1:])
