"""Checkpoints of Hugging Face from a folder or the hub: configuration, tokenizer and weights, checked as they load.

A classifier is a folder that transformers loads with one label; an encoder one of sentence-transformers, or a bare
transformer, whose tokens are then averaged. Runs no model.
"""

import contextlib
import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar

import torch
import transformers
from tokenizers.normalizers import Lowercase, Sequence
from transformers import AutoConfig, AutoModel, AutoModelForSequenceClassification, AutoTokenizer
from transformers.utils import logging as hugging_face

from csgen.errors import InputError
from indexing.models.carried import find_carried

Kind = Literal["classifier", "encoder"]
Pooling = Literal["cls", "mean"]

_Loaded = TypeVar("_Loaded")

_HUB_ID = re.compile(r"[\w.-]+(/[\w.-]+)?")
_HUB_FILES = ("*.json", "*.txt", "*.model", "*.safetensors")  # in folders too
_TOKENIZER_FILES = ("tokenizer.json", "vocab.txt", "vocab.json", "*.model", "tokenizer_config.json")
_WEIGHT_FILES = ("*.safetensors", "pytorch_model*.bin")
_ENDLESS = 10**9  # tokenizers without a limit say 1e30


@dataclass(frozen=True)
class Checkpoint:
    """A model of transformers in float32, its tokenizer, and how texts go in and vectors come out."""

    path: str
    model: Any
    tokenizer: Any
    max_length: int  # tokens of a text or pair that the model takes, special ones included
    pooling: Pooling = "cls"
    prompt: str = ""  # stands before every text of an encoder
    longest: int = 0  # tokens that its positions reach, to which it can be trained; 0: max_length

    @property
    def pad_id(self) -> int:
        return int(self.tokenizer.pad_token_id or 0)


@dataclass(frozen=True)
class _Layout:
    """Where the parts of an encoder's folder lie, as its modules.json says."""

    folder: Path
    pooling: Pooling
    max_length: int | None = None
    lower_case: bool = False
    prompt: str = ""


def load_checkpoint(path: str, kind: Kind) -> Checkpoint:
    """A trained classifier (one label) or encoder from a folder or a hub id.

    What is missing, cut short, of an unknown architecture or does not fit together is an InputError. Files of the hub
    are kept in Hugging Face's cache, and with HF_HUB_OFFLINE=1 only looked for there.
    """
    checkpoint, missing = _load(path, kind)
    if missing:
        remedy = "train it first, or name a trained one" if kind == "classifier" else "copy the checkpoint again"
        raise InputError.at(path, None, f"the weights lack {_some(missing)}: {remedy}")
    return checkpoint


def start_checkpoint(path: str, kind: Kind) -> Checkpoint:
    """The same to be trained: what the weights lack (a classification head) is drawn anew from torch's generator."""
    return _load(path, kind)[0]


def _load(path: str, kind: Kind) -> tuple[Checkpoint, list[str]]:
    root = find_checkpoint(path)
    layout = _Layout(root, "cls") if kind == "classifier" else _read_layout(path, root)
    config = _read_config(path, layout.folder, kind)
    tokenizer = _read_tokenizer(path, layout)
    model, missing = _read_model(path, layout.folder, config, kind)
    rows = model.get_input_embeddings().weight.shape[0]
    if len(tokenizer) > rows:
        raise InputError.at(
            path, None, f"the tokenizer knows {len(tokenizer):,} tokens, the model's embedding {rows:,}: "
            "they do not belong together",
        )  # fmt: skip
    reach = _limit(config)
    limit = min(reach, layout.max_length or tokenizer.model_max_length)
    if limit > _ENDLESS:
        raise InputError.at(path, None, "neither tokenizer nor model has a limit of tokens: set model_max_length")
    longest = int(limit if reach > _ENDLESS else reach)
    return Checkpoint(path, model, tokenizer, int(limit), layout.pooling, layout.prompt, longest), missing


def find_checkpoint(path: str) -> Path:
    """The folder of a checkpoint: `path`, a carried model's, or where a hub id's files are kept, once fetched."""
    folder = Path(path)
    if folder.is_dir():
        return folder
    if carried := find_carried(path):
        return carried
    if not _HUB_ID.fullmatch(path):
        raise InputError.at(path, None, "no such folder")
    return _refuse(path, "neither a folder nor a model that the hub gives", lambda: _fetch(path))


def _fetch(hub_id: str) -> Path:
    from huggingface_hub import snapshot_download

    folder = Path(snapshot_download(hub_id, allow_patterns=list(_HUB_FILES)))
    if _has(folder, ("**/*.safetensors",)):
        return folder
    return Path(snapshot_download(hub_id, allow_patterns=[*_HUB_FILES, "*pytorch_model*.bin"]))


def _has(folder: Path, patterns: tuple[str, ...]) -> bool:
    return any(next(folder.glob(pattern), None) for pattern in patterns)


def _read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError.at(str(path), None, f"cannot be read as JSON: {error}") from error


def _read_layout(path: str, root: Path) -> _Layout:
    """The layout by sentence-transformers' modules.json; without one a bare transformer."""
    if not (root / "modules.json").is_file():
        return _Layout(root, "mean")
    modules = _read_json(root / "modules.json")
    kinds = [str(module["type"]).rsplit(".", 1)[-1] for module in modules]
    if kinds not in (["Transformer", "Pooling"], ["Transformer", "Pooling", "Normalize"]):
        raise InputError.at(
            str(root / "modules.json"), None,
            f"expected the modules Transformer, Pooling and perhaps Normalize, got {', '.join(kinds)}",
        )  # fmt: skip
    folder = root / modules[0]["path"]
    own = _read_json(folder / "sentence_bert_config.json") if (folder / "sentence_bert_config.json").is_file() else {}
    shared = root / "config_sentence_transformers.json"
    prompts = _read_json(shared) if shared.is_file() else {}
    prompt = (prompts.get("prompts") or {}).get(prompts.get("default_prompt_name"), "")
    pooling = _read_pooling(root / modules[1]["path"] / "config.json", prompt)
    return _Layout(folder, pooling, own.get("max_seq_length"), bool(own.get("do_lower_case")), prompt)


def _read_pooling(path: Path, prompt: str) -> Pooling:
    """The pooling as sentence-transformers writes it now (pooling_mode), or as it did before (a flag for each)."""
    config = _read_json(path)
    old = {"cls": "pooling_mode_cls_token", "mean": "pooling_mode_mean_tokens", "max": "pooling_mode_max_tokens"}
    mode = config.get("pooling_mode") or [name for name, flag in old.items() if config.get(flag)]
    modes = [mode] if isinstance(mode, str) else list(mode)
    if modes not in (["cls"], ["mean"]):
        raise InputError.at(str(path), None, f"pooling must be cls or mean, got {', '.join(modes) or 'another'}")
    if prompt and not config.get("include_prompt", True):
        raise InputError.at(str(path), None, "pooling that leaves out the prompt is not supported")
    return "cls" if modes == ["cls"] else "mean"


def _read_config(path: str, folder: Path, kind: Kind) -> Any:
    if not (folder / "config.json").is_file():
        raise InputError.at(path, None, "no config.json: not a checkpoint of transformers")
    named = _read_json(folder / "config.json").get("model_type")
    config = _refuse(
        path, f"the architecture {named!r} is unknown to transformers {transformers.__version__}",
        lambda: AutoConfig.from_pretrained(folder),
    )  # fmt: skip
    if kind == "classifier" and _is_classifier(config) and config.num_labels != 1:
        raise InputError.at(path, None, f"a reranker has 1 label, this classifier has {config.num_labels}")
    if kind == "classifier":
        config.num_labels = 1
    return config


def _is_classifier(config: Any) -> bool:
    return any(name.endswith("ForSequenceClassification") for name in config.architectures or ())


def _read_tokenizer(path: str, layout: _Layout) -> Any:
    if not _has(layout.folder, _TOKENIZER_FILES):
        raise InputError.at(path, None, "no tokenizer: expected tokenizer.json, vocab.txt or a sentencepiece model")
    tokenizer = _refuse(path, "the tokenizer cannot be read", lambda: AutoTokenizer.from_pretrained(layout.folder))
    if layout.lower_case and tokenizer.is_fast:
        backend = tokenizer.backend_tokenizer
        backend.normalizer = Sequence([Lowercase(), *([backend.normalizer] if backend.normalizer else [])])
    return tokenizer


def _read_model(path: str, folder: Path, config: Any, kind: Kind) -> tuple[Any, list[str]]:
    """The model in float32, and the names of its parameters that the weights lack."""
    if not _has(folder, _WEIGHT_FILES):
        raise InputError.at(path, None, "no weights: expected model.safetensors or pytorch_model.bin")
    auto = AutoModelForSequenceClassification if kind == "classifier" else AutoModel
    with _no_progress_bar():
        model, loading = _refuse(
            path, "the weights cannot be read; are they cut short?",
            lambda: auto.from_pretrained(folder, config=config, dtype=torch.float32, output_loading_info=True),
        )  # fmt: skip
    missing = sorted(name for name in loading["missing_keys"] if kind == "classifier" or not name.startswith("pooler."))
    return model.eval(), missing


@contextlib.contextmanager
def _no_progress_bar() -> Iterator[None]:
    """None of weights being read, in a second."""
    was_shown = hugging_face.is_progress_bar_enabled()
    hugging_face.disable_progress_bar()  # type: ignore[no-untyped-call]
    try:
        yield
    finally:
        if was_shown:
            hugging_face.enable_progress_bar()  # type: ignore[no-untyped-call]


def _refuse(path: str, problem: str, load: Callable[[], _Loaded]) -> _Loaded:
    """What `load` gives; whatever it raises, and that is of many kinds, as an InputError."""
    try:
        return load()
    except Exception as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise InputError.at(path, None, f"{problem}: {reason}") from error


def _limit(config: Any) -> float:
    """Tokens that the model's positions reach; RoBERTa's begin behind the padding's id."""
    longest = getattr(config, "max_position_embeddings", None) or -1
    if longest < 0:
        return float("inf")
    return (
        longest - config.pad_token_id - 1 if config.model_type in ("roberta", "xlm-roberta", "camembert") else longest
    )


def _some(names: list[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
