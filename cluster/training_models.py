"""Models as training takes and leaves them: begun from any checkpoint, saved in the form that others load as it is.

A reranker is read by transformers and sentence-transformers' CrossEncoder, an encoder by SentenceTransformer, a base by
transformers as a masked language model.
"""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
import xxhash
from torch import nn
from transformers import AutoModelForMaskedLM

from cluster.training.config import RerankerConfig
from cluster.training.layouts import Layout, MaskedLayout, PairLayout, Teacher, TextLayout
from cluster.training.models import make_embedder, make_predictor, make_scorer, make_word_embedder
from cluster.training.objectives import BaseObjective, EncoderObjective, Objective, RerankerObjective
from cluster.training.tokens import Encoded, Tokeniser
from cluster.training_options import Kind, Recipe, TrainingOptions
from csgen.errors import InputError
from csgen.switching.policy import SIDES, Policy
from indexing.models.checkpoint import Checkpoint, find_checkpoint, start_checkpoint


class PromptedTokeniser(Tokeniser):
    """Puts an encoder's prompt before each text."""

    def __init__(self, tokenizer: Any, max_tokens: int, prompt: str) -> None:
        super().__init__(tokenizer, max_tokens)
        self._prompt = prompt

    def encode(self, texts: Any) -> Encoded:
        return super().encode([self._prompt + text for text in texts])

    def locate(self, texts: Any) -> Encoded:
        raise InputError("--align-words: the model puts a prompt before its texts, of which words are not counted on")


def start_model(kind: Kind, path: str, seed: int) -> Checkpoint:
    """A checkpoint to be trained; what its weights lack, such as a head, is drawn by the seed."""
    torch.manual_seed(seed)
    checkpoint = start_checkpoint(path, "classifier" if kind == "reranker" else "encoder")
    if kind != "base":
        return checkpoint
    try:
        torch.manual_seed(seed)
        module = AutoModelForMaskedLM.from_pretrained(find_checkpoint(path), dtype=torch.float32)
    except (ValueError, OSError, KeyError) as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise InputError.at(path, None, f"cannot be a masked language model: {reason}") from error
    return replace(checkpoint, model=module.eval())


def limit_tokens(recipe: Recipe, checkpoint: Checkpoint) -> int:
    """Tokens of an input: what the recipe says, or the model's limit where nothing was said and it takes less.

    More than the model took up to now may be asked for, as far as its positions reach.
    """
    if "max_tokens" not in recipe.model_fields_set:
        return min(recipe.max_tokens, checkpoint.max_length)
    longest = checkpoint.longest or checkpoint.max_length
    if recipe.max_tokens > longest:
        raise InputError(f"--max-tokens {recipe.max_tokens}: {checkpoint.path} takes {longest} at most; give no more")
    return recipe.max_tokens


def make_tokeniser(checkpoint: Checkpoint, max_tokens: int) -> Tokeniser:
    if checkpoint.prompt:
        return PromptedTokeniser(checkpoint.tokenizer, max_tokens, checkpoint.prompt)
    return Tokeniser(checkpoint.tokenizer, max_tokens)


def make_objective(options: TrainingOptions, checkpoint: Checkpoint, policy: Policy | None) -> Objective:
    """The model with the losses of its recipe."""
    recipe, model = options.recipe, checkpoint.model
    if isinstance(recipe, RerankerConfig):
        return RerankerObjective(make_scorer(checkpoint), recipe)
    if options.kind == "encoder":
        make = make_word_embedder if wants_words(recipe, policy) else make_embedder
        return EncoderObjective(make(checkpoint), recipe, twin_sides(policy))  # type: ignore[arg-type]
    return BaseObjective(make_predictor(model), recipe)  # type: ignore[arg-type]


def make_layout(
    options: TrainingOptions, tokeniser: Tokeniser, policy: Policy | None, teacher: Teacher | None
) -> Layout:
    """How the model takes its texts; `teacher`: whose embeddings an encoder learns."""
    recipe = options.recipe
    spans = wants_words(recipe, policy)
    if options.kind == "reranker":
        return PairLayout(tokeniser)
    if options.kind == "encoder":
        return TextLayout(tokeniser, twin_sides(policy), needs_spans=spans, teacher=teacher)
    return MaskedLayout(tokeniser, recipe.masked_ratio, needs_spans=spans)  # type: ignore[union-attr]


def wants_words(recipe: Recipe, policy: Policy | None) -> bool:
    """Whether the words of twins are to be aligned."""
    return policy is not None and getattr(recipe, "align_words", 0) > 0


def twin_sides(policy: Policy | None) -> Any:
    """The sides of a pair that are switched."""
    return () if policy is None else tuple(side for side in SIDES if policy.switches(side))


def hash_weights(module: nn.Module) -> str:
    """XXH3-128 of all weights."""
    digest = xxhash.xxh3_128()
    for name, value in module.state_dict().items():
        digest.update(name.encode())
        digest.update(value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data)
    return digest.hexdigest()


def save_model(options: TrainingOptions, checkpoint: Checkpoint, max_tokens: int) -> None:
    """Write the model and its tokenizer into the output folder."""
    folder = Path(options.place.output)
    model, tokenizer, recipe = checkpoint.model, checkpoint.tokenizer, options.recipe
    if isinstance(recipe, RerankerConfig):
        # Where pairs were judged each for itself, a score is a probability; of scores in groups only the order counts.
        place = "activation.Sigmoid" if recipe.pointwise else "linear.Identity"
        model.config.sentence_transformers = {"activation_fn": f"torch.nn.modules.{place}"}
    model.save_pretrained(folder)
    tokenizer.model_max_length = max_tokens
    tokenizer.save_pretrained(folder)
    if options.kind == "encoder":
        _write_modules(folder, checkpoint, max_tokens)


def _write_modules(folder: Path, checkpoint: Checkpoint, max_tokens: int) -> None:
    """The files that make a folder one of sentence-transformers, in the form that all its versions read."""
    parts = [("", "Transformer"), ("1_Pooling", "Pooling"), ("2_Normalize", "Normalize")]
    modules = [
        {"idx": k, "name": str(k), "path": path, "type": f"sentence_transformers.models.{name}"}
        for k, (path, name) in enumerate(parts)
    ]
    pooling = {
        "word_embedding_dimension": int(checkpoint.model.config.hidden_size),
        "pooling_mode_cls_token": checkpoint.pooling == "cls",
        "pooling_mode_mean_tokens": checkpoint.pooling == "mean",
        "pooling_mode_max_tokens": False,
        "pooling_mode_mean_sqrt_len_tokens": False,
    }
    prompts = {"default": checkpoint.prompt} if checkpoint.prompt else {}
    shared = {
        "prompts": prompts, "default_prompt_name": "default" if prompts else None, "similarity_fn_name": "cosine",
    }  # fmt: skip
    _write_json(folder / "modules.json", modules)
    _write_json(folder / "sentence_bert_config.json", {"max_seq_length": max_tokens, "do_lower_case": False})
    _write_json(folder / "config_sentence_transformers.json", shared)
    _write_json(folder / "1_Pooling" / "config.json", pooling)
    _write_json(folder / "2_Normalize" / "config.json", {})


def _write_json(path: Path, content: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
