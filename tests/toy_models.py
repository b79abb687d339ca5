"""Small checkpoints with random weights, and tokenizers trained on the spot, saved as folders; made once a session.

They take 64 tokens. A test module that says `pytest_plugins = ["toy_models"]` has the fixture `toys`.
"""

import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import Any

import orjson
import pytest
import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Pooling, Transformer
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import (
    AutoModel,
    AutoModelForSequenceClassification,
    BertConfig,
    BertTokenizer,
    DistilBertConfig,
    ModernBertConfig,
    PreTrainedTokenizerFast,
    RobertaConfig,
    RobertaTokenizer,
    XLMRobertaConfig,
    XLMRobertaTokenizer,
)

MAX_LENGTH = 64  # tokens that each takes

_SHAPE = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 48}
_VOCABULARY = 500


@dataclass
class Toys:
    """Folders of small models, by what they are; each is made when it is first asked for.

    Architectures: xlm-roberta, roberta, bert, modernbert, and distilbert, which has no packed path. Other arguments
    change the configuration.
    """

    root: Path
    _made: dict[str, str] = field(default_factory=dict)

    def reranker(self, architecture: str, **config: Any) -> str:
        """A classifier with one label, for transformers and sentence-transformers' CrossEncoder."""
        return self._once(f"reranker {architecture} {config}", lambda folder: _save(folder, architecture, config))

    def base(self, architecture: str, **config: Any) -> str:
        """A transformer without a head."""
        return self._once(
            f"base {architecture} {config}", lambda folder: _save(folder, architecture, config, AutoModel)
        )

    def encoder(self, architecture: str, pooling: str = "mean", **config: Any) -> str:
        """A folder of sentence-transformers: Transformer and Pooling, without Normalize."""

        def save(folder: str) -> None:
            transformer = Transformer(self.base(architecture, **config))
            pool = Pooling(transformer.get_embedding_dimension(), pooling)
            SentenceTransformer(modules=[transformer, pool], device="cpu").save(folder, create_model_card=False)

        return self._once(f"encoder {architecture} {pooling} {config}", save)

    def texts(self) -> list[str]:
        """Passages in English, German, Russian and Japanese."""
        return sample_texts()

    def copy(self, folder: str, target: Path) -> None:
        """A copy to spoil."""
        shutil.copytree(folder, target, dirs_exist_ok=True)

    def _once(self, name: str, save: Callable[[str], None]) -> str:
        if name not in self._made:
            self._made[name] = str(self.root / str(len(self._made)))
            save(self._made[name])
        return self._made[name]


@pytest.fixture(scope="session")
def toys(tmp_path_factory: pytest.TempPathFactory) -> Toys:
    return Toys(tmp_path_factory.mktemp("models"))


def sample_texts(languages: tuple[str, ...] = ("en", "de", "ru", "ja")) -> list[str]:
    """Passages that the package carries."""
    texts = []
    for language in languages:
        lines = (files("csgen") / "sample" / language / "passages.jsonl").read_text(encoding="utf-8").splitlines()
        texts += [orjson.loads(line)["text"] for line in lines]
    return texts


def train_tokenizer(architecture: str) -> Any:
    """The architecture's kind of tokenizer, of 500 tokens at most, trained on the carried passages."""
    texts = sample_texts(("en", "de", "ru"))  # Japanese has more characters than there are tokens
    if architecture == "modernbert":
        tokenizer = _train_modern(texts)
    else:
        kind = {"xlm-roberta": XLMRobertaTokenizer, "roberta": RobertaTokenizer}.get(architecture, BertTokenizer)
        tokenizer = kind().train_new_from_iterator(texts, _VOCABULARY)
    tokenizer.model_max_length = MAX_LENGTH
    return tokenizer


def _train_modern(texts: list[str]) -> PreTrainedTokenizerFast:
    special = ["[UNK]", "[CLS]", "[SEP]", "[PAD]", "[MASK]"]
    backend = Tokenizer(models.BPE(unk_token="[UNK]"))
    backend.pre_tokenizer, backend.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    backend.train_from_iterator(texts, trainers.BpeTrainer(vocab_size=_VOCABULARY, special_tokens=special))
    backend.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B [SEP]", special_tokens=[("[CLS]", 1), ("[SEP]", 2)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=backend, unk_token="[UNK]", cls_token="[CLS]", sep_token="[SEP]", pad_token="[PAD]",
        mask_token="[MASK]", model_input_names=["input_ids", "attention_mask"],
    )  # fmt: skip


def make_config(architecture: str, tokenizer: Any, **changes: Any) -> Any:
    """A configuration of 2 layers, width 32, with 1 label and the tokenizer's special tokens."""
    shared = {"vocab_size": len(tokenizer), "pad_token_id": tokenizer.pad_token_id, "num_labels": 1, **_SHAPE}
    if architecture == "xlm-roberta":
        extra = {"type_vocab_size": 1, "max_position_embeddings": MAX_LENGTH + tokenizer.pad_token_id + 1}
        return XLMRobertaConfig(**{**shared, **extra, **changes})
    if architecture == "roberta":
        return RobertaConfig(
            **{**shared, "max_position_embeddings": MAX_LENGTH + tokenizer.pad_token_id + 1, **changes}
        )
    if architecture == "bert":
        return BertConfig(**{**shared, "max_position_embeddings": MAX_LENGTH, **changes})
    if architecture == "modernbert":
        ids = {"cls_token_id": 1, "bos_token_id": 1, "sep_token_id": 2, "eos_token_id": 2}
        extra = {"num_hidden_layers": 4, "local_attention": 12, "max_position_embeddings": MAX_LENGTH}
        return ModernBertConfig(**{**shared, **ids, **extra, **changes})
    sizes = {"dim": 32, "n_layers": 2, "n_heads": 2, "hidden_dim": 48, "max_position_embeddings": MAX_LENGTH}
    shared = {name: value for name, value in shared.items() if name not in _SHAPE}
    return DistilBertConfig(**{**shared, **sizes, **changes})


def _save(
    folder: str, architecture: str, changes: dict[str, Any], auto: Any = AutoModelForSequenceClassification
) -> None:
    tokenizer = train_tokenizer(architecture)
    with torch.random.fork_rng():
        torch.manual_seed(len(architecture))
        model = auto.from_config(make_config(architecture, tokenizer, **changes))
        for name, parameter in model.named_parameters():  # biases and norms too, which start as 0 and 1
            parameter.data.normal_(0, 0.3 if parameter.dim() > 1 else 0.1)
            if "norm" in name.lower() and name.endswith("weight"):
                parameter.data.add_(1)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
