"""An untrained model of XLM-R's architecture with a vocabulary of its own: where `csgen train base` can begin.

The vocabulary is a unigram one (arXiv 1804.10959), learnt on a sample in which poor languages weigh more. Embeddings
may begin as a factorisation of the pieces' co-occurrences (arXiv 1402.3722 and Levy, Goldberg and Dagan 2015), so that
pre-training need not find out from nothing which pieces are alike. Nothing here tells texts from their translations.
"""

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray
from pydantic import Field, model_validator
from scipy import sparse
from scipy.sparse.linalg import svds
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast, XLMRobertaConfig, XLMRobertaForMaskedLM

from csgen.config import StageConfig
from csgen.errors import InputError
from csgen.manifest import Manifest, describe_files
from csgen.sources.draws import counter, hash_texts, mix
from indexing.models.checkpoint import find_checkpoint

log = logging.getLogger(__name__)

STAGE = "blank"
BOS, PAD, EOS, UNKNOWN, MASK = "<s>", "<pad>", "</s>", "<unk>", "<mask>"
WINDOW = 5  # pieces on each side; one at distance d counts 1 / d
CONTEXT_POWER = 0.75  # of the contexts' counts, which keeps rare ones from looking informative
WORD_SCALE = 0.04  # root mean square of an embedding's numbers; twice that of positions, which begin at random
CHUNK_TEXTS = 20_000

Floats = NDArray[np.float32]


class BlankConfig(StageConfig):
    """Options of `csgen train blank`."""

    pairs: str = Field(
        min_length=1, description="pairs in all languages, of whose queries and passages the vocabulary is made"
    )
    split: str = Field("train", min_length=1, description="qrels of a BEIR folder or a collection to make pairs of")
    output: str = Field(min_length=1, description="folder to write")
    tokenizer: str | None = Field(
        None, description="folder, hub id or carried model whose vocabulary is taken; none: one is learnt"
    )
    vocabulary: int = Field(20_000, ge=300, le=1_000_000, description="pieces of the vocabulary, 300 to 1000000")
    layers: int = Field(4, ge=1, le=96, description="layers, 1 to 96")
    width: int = Field(192, ge=8, le=8192, description="numbers of a hidden state, 8 to 8192, a multiple of --heads")
    heads: int = Field(6, ge=1, le=128, description="attention heads, 1 to 128")
    max_tokens: int = Field(256, ge=16, le=8192, description="longest input in tokens, 16 to 8192")
    lower_case: bool = Field(True, description="texts are read in lower case, which a small model needs")
    sample_texts: int = Field(
        200_000, ge=1, description="texts that vocabulary and co-occurrences are learnt from, 1 or more"
    )
    language_power: float = Field(
        0.5, ge=0, le=1, description="a language weighs its number of texts to this power, in [0, 1]; 0: all alike"
    )
    embeddings: Literal["cooccurrence", "random"] = Field(
        "cooccurrence", description="what embeddings begin as: factors of the co-occurrences, or noise"
    )
    seed: int = Field(0, ge=0, lt=1 << 63, description="seed of all draws, 0 or more")

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.width % self.heads:
            raise ValueError(f"--width {self.width}: must be a multiple of --heads {self.heads}")
        return self


def make_blank(config: BlankConfig, texts: pl.DataFrame, inputs: dict[str, Any]) -> dict[str, Any]:
    """Write tokenizer, weights and manifest into `config.output`; returns what to tell of them.

    `texts`: language and text, in any order. `inputs`: hashes of their files. With `tokenizer` the same input gives the
    same bytes; without, tokenizers' trainer adds up in an order that differs from run to run, and where pieces tie,
    another one may be chosen (https://github.com/huggingface/tokenizers/issues/1794).
    """
    sample = draw_sample(texts, config)
    tokenizer = take_vocabulary(config.tokenizer) if config.tokenizer else None
    if tokenizer is None:
        log.info("vocabulary of %d pieces from %d texts", config.vocabulary, len(sample))
        tokenizer = learn_vocabulary(sample["text"].to_list(), config)
    torch.manual_seed(config.seed)
    size = tokenizer.get_vocab_size()
    model = XLMRobertaForMaskedLM(
        XLMRobertaConfig(
            vocab_size=size, hidden_size=config.width, num_hidden_layers=config.layers,
            num_attention_heads=config.heads, intermediate_size=4 * config.width, type_vocab_size=1,
            max_position_embeddings=config.max_tokens + 2, layer_norm_eps=1e-5,
            bos_token_id=0, pad_token_id=1, eos_token_id=2,
        )
    )  # fmt: skip
    if config.embeddings == "cooccurrence":
        log.info("embeddings from co-occurrences")
        vectors = factorise(count_neighbours(tokenizer, sample["text"].to_list()), config.width, config.seed)
        with torch.no_grad():
            words: torch.Tensor = model.roberta.embeddings.word_embeddings.weight
            words.copy_(torch.from_numpy(vectors))
            words[1] = 0  # the padding's
    folder = Path(config.output)
    folder.mkdir(parents=True, exist_ok=True)
    model.save_pretrained(folder)
    wrap(tokenizer, config.max_tokens).save_pretrained(folder)
    files = sorted(file.name for file in folder.iterdir() if file.is_file())
    ids = tokenizer.encode_batch_fast(sample["text"].to_list()[:CHUNK_TEXTS])
    counts = {
        "pieces": size,
        "parameters": sum(p.numel() for p in model.parameters()),
        "languages": {
            str(name): count for name, count in sample["language"].value_counts().sort("language").iter_rows()
        },
        "pieces a text": round(float(np.mean([len(one.ids) for one in ids])), 1),
    }
    identity = config.model_dump(mode="json", exclude={"output"})
    Manifest(
        stage=STAGE, config=identity, inputs=inputs, counts=counts, files=describe_files(config.output, files)
    ).write(config.output)
    return counts


def draw_sample(texts: pl.DataFrame, config: BlankConfig) -> pl.DataFrame:
    """At most `sample_texts` distinct texts, of each language a share by its number to the power `language_power`."""
    texts = texts.unique(["language", "text"]).sort("language", "text")
    draws = mix(hash_texts(texts["text"]) ^ mix(np.full(len(texts), counter(config.seed + 1))))
    texts = texts.with_columns(draw=pl.Series(draws, dtype=pl.UInt64)).sort("draw", "language", "text")
    counts = texts.group_by("language").len().sort("language")
    weights = counts["len"].to_numpy() ** config.language_power
    shares = dict(zip(counts["language"], np.ceil(config.sample_texts * weights / weights.sum()), strict=True))
    place = pl.int_range(pl.len()).over("language")
    wanted = pl.col("language").replace_strict(shares, return_dtype=pl.Float64)
    return texts.filter(place < wanted).sort("draw", "language").select("language", "text")


def learn_vocabulary(texts: list[str], config: BlankConfig) -> Tokenizer:
    """A unigram tokenizer in XLM-R's layout: its special tokens, its form of texts and pairs."""
    tokenizer = Tokenizer(models.Unigram())
    steps = [normalizers.NFKC(), *([normalizers.Lowercase()] if config.lower_case else [])]
    tokenizer.normalizer = normalizers.Sequence([*steps, normalizers.Replace(r" {2,}", " ")])
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace(), pre_tokenizers.Digits(individual_digits=True),
         pre_tokenizers.Punctuation()]
    )  # fmt: skip
    tokenizer.decoder = decoders.Metaspace()
    trainer = trainers.UnigramTrainer(
        vocab_size=config.vocabulary - 1,
        special_tokens=[BOS, PAD, EOS, UNKNOWN],
        unk_token=UNKNOWN,
        show_progress=False,
    )
    try:
        tokenizer.train_from_iterator(texts, trainer)
    except Exception as error:  # tokenizers raises nothing more special
        raise InputError(
            f"--vocabulary {config.vocabulary}: {error}; give more pieces than the texts have characters"
        ) from error
    tokenizer.add_special_tokens([MASK])
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{BOS} $A {EOS}", pair=f"{BOS} $A {EOS} {EOS} $B {EOS}",
        special_tokens=[(BOS, tokenizer.token_to_id(BOS)), (EOS, tokenizer.token_to_id(EOS))],
    )  # fmt: skip
    return tokenizer


def take_vocabulary(path: str) -> Tokenizer:
    """The tokenizer of another model; it must have XLM-R's special tokens at XLM-R's places."""
    file = find_tokenizer(path)
    tokenizer = Tokenizer.from_file(str(file))
    for place, token in enumerate((BOS, PAD, EOS, UNKNOWN)):
        if tokenizer.token_to_id(token) != place:
            raise InputError.at(str(file), None, f"{token} is not its piece {place}: expected XLM-R's layout")
    if tokenizer.token_to_id(MASK) is None:
        raise InputError.at(str(file), None, f"has no {MASK}, which masked language modelling needs")
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return tokenizer


def find_tokenizer(path: str) -> Path:
    """The file of a model's fast tokenizer."""
    file = find_checkpoint(path) / "tokenizer.json"
    if not file.is_file():
        raise InputError.at(str(file), None, "is missing: --tokenizer takes a model with a fast tokenizer")
    return file


def wrap(tokenizer: Tokenizer, max_tokens: int) -> PreTrainedTokenizerFast:
    """The tokenizer as transformers and sentence-transformers load it."""
    return PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=tokenizer, bos_token=BOS, cls_token=BOS, eos_token=EOS, sep_token=EOS, pad_token=PAD,
        unk_token=UNKNOWN, mask_token=MASK, model_max_length=max_tokens,
        model_input_names=["input_ids", "attention_mask"],
    )  # fmt: skip


def count_neighbours(tokenizer: Tokenizer, texts: list[str]) -> sparse.csr_array:
    """(pieces, pieces) symmetric: how often two pieces of a text stand within WINDOW, each time 1 / distance."""
    size = tokenizer.get_vocab_size()
    counts = sparse.csr_array((size, size), dtype=np.float32)
    for ids, numbers in _chunks(tokenizer, texts):
        for distance in range(1, WINDOW + 1):
            together = numbers[distance:] == numbers[:-distance]
            first, second = ids[:-distance][together], ids[distance:][together]
            weights = np.full(len(first), 1 / distance, np.float32)
            counts += sparse.coo_array((weights, (first, second)), (size, size)).tocsr()
    return (counts + counts.T).tocsr()


def _chunks(tokenizer: Tokenizer, texts: list[str]) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Pieces of many texts in a row, and the number of each piece's text."""
    for first in range(0, len(texts), CHUNK_TEXTS):
        encodings = tokenizer.encode_batch_fast(texts[first : first + CHUNK_TEXTS], add_special_tokens=False)
        ids = [np.asarray(one.ids, np.int64) for one in encodings]
        if ids:
            yield np.concatenate(ids), np.repeat(np.arange(len(ids)), [len(one) for one in ids])


def factorise(counts: sparse.csr_array, width: int, seed: int) -> Floats:
    """(pieces, width) vectors whose inner products tell the positive pointwise mutual information of the pieces.

    Rows of pieces that were never seen are noise of the same size.
    """
    total, of_pieces = float(counts.sum()), np.asarray(counts.sum(axis=1)).ravel()
    contexts = of_pieces**CONTEXT_POWER
    contexts /= contexts.sum()
    found = counts.tocoo()
    rows, columns = found.coords
    information = np.log(found.data / total) - np.log(of_pieces[rows] / total) - np.log(contexts[columns])
    positive = sparse.coo_array((information.clip(min=0), (rows, columns)), counts.shape).tocsr()
    positive.eliminate_zeros()
    rank = min(width, min(counts.shape) - 1)
    start = np.random.default_rng(seed).standard_normal(counts.shape[0])
    left, values, _ = svds(positive.astype(np.float64), k=rank, v0=start)
    signs = np.where(left[np.abs(left).argmax(axis=0), np.arange(rank)] < 0, -1.0, 1.0)  # a factor's sign is arbitrary
    vectors = np.zeros((counts.shape[0], width))
    vectors[:, :rank] = left * signs * np.sqrt(values)
    # Spread over all numbers of a state: as they come, the first factors hold most of the length.
    turn, _ = np.linalg.qr(np.random.default_rng(seed + 1).standard_normal((width, width)))
    vectors = vectors @ turn
    vectors -= vectors.mean(axis=0)
    noise = np.random.default_rng(seed + 2).standard_normal(vectors.shape)
    sizes = np.sqrt((vectors**2).mean(axis=1, keepdims=True))
    unseen = (of_pieces == 0)[:, None] | (sizes == 0)
    embeddings: Floats = WORD_SCALE * np.where(unseen, noise, vectors / np.where(sizes == 0, 1, sizes))
    return embeddings.astype(np.float32)
