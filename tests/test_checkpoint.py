"""Checkpoints that do not load say what is wrong with them and what to do."""

import json
from pathlib import Path

import huggingface_hub.constants
import pytest
import torch

from csgen.errors import InputError
from indexing.models.checkpoint import load_checkpoint, start_checkpoint

pytest_plugins = ["toy_models"]


@pytest.fixture
def copy(toys, tmp_path):
    """A copy of a reranker's folder to spoil."""
    toys.copy(toys.reranker("bert"), tmp_path)
    return tmp_path


def refuse(path, message, kind="classifier"):
    with pytest.raises(InputError, match=message) as caught:
        load_checkpoint(str(path), kind)
    assert "\n" not in str(caught.value)


def write_config(folder, **changes):
    path = Path(folder) / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_a_checkpoint_brings_model_tokenizer_and_limit(toys):
    checkpoint = load_checkpoint(toys.reranker("xlm-roberta"), "classifier")
    assert (checkpoint.max_length, checkpoint.pad_id) == (64, checkpoint.tokenizer.pad_token_id)
    assert checkpoint.model.dtype == torch.float32
    assert not checkpoint.model.training


def test_a_folder_that_is_not_there(tmp_path):
    refuse(tmp_path / "nowhere", "nowhere: no such folder")


def test_a_hub_id_that_the_hub_does_not_give(monkeypatch):
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    refuse("csgen/no-such-model", "^csgen/no-such-model: neither a folder nor a model that the hub gives: ")


def test_a_folder_without_configuration_weights_or_tokenizer(copy):
    (copy / "config.json").rename(copy / "kept")
    refuse(copy, r"no config\.json: not a checkpoint of transformers")
    (copy / "kept").rename(copy / "config.json")
    (copy / "model.safetensors").rename(copy / "kept")
    refuse(copy, r"no weights: expected model\.safetensors or pytorch_model\.bin")
    (copy / "kept").rename(copy / "model.safetensors")
    for path in copy.glob("*token*"):
        path.unlink()
    refuse(copy, r"no tokenizer: expected tokenizer\.json")


def test_an_unknown_architecture(copy):
    write_config(copy, model_type="hypothetical")
    refuse(copy, r"the architecture 'hypothetical' is unknown to transformers \d")


def test_a_configuration_that_is_no_json(copy):
    (copy / "config.json").write_text("{")
    refuse(copy, r"config\.json: cannot be read as JSON")


def test_weights_cut_short(copy):
    path = copy / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-1000])
    refuse(copy, "the weights cannot be read; are they cut short")


def test_older_weights_cut_short(toys, copy):
    model = load_checkpoint(toys.reranker("bert"), "classifier").model
    (copy / "model.safetensors").unlink()
    torch.save(model.state_dict(), copy / "pytorch_model.bin")
    assert load_checkpoint(str(copy), "classifier").model.num_labels == 1
    path = copy / "pytorch_model.bin"
    path.write_bytes(path.read_bytes()[:5000])
    refuse(copy, "the weights cannot be read; are they cut short")


def test_a_damaged_tokenizer(copy):
    (copy / "tokenizer.json").write_text('{"model": {}}')
    refuse(copy, "the tokenizer cannot be read: ")


def test_a_tokenizer_of_another_model(copy):
    path = copy / "tokenizer.json"
    tokenizer = json.loads(path.read_text())
    size = len(tokenizer["model"]["vocab"])
    tokenizer["model"]["vocab"] |= {f"extra{k}": size + k for k in range(3)}
    path.write_text(json.dumps(tokenizer))
    refuse(copy, rf"the tokenizer knows {size + 3:,} tokens, the model's embedding {size:,}: they do not belong")


def test_a_classifier_of_several_labels_is_no_reranker(toys):
    refuse(toys.reranker("bert", num_labels=3), "a reranker has 1 label, this classifier has 3")


def test_a_transformer_without_a_head_is_no_reranker_but_starts_one(toys):
    refuse(toys.base("roberta"), r"the weights lack classifier\.dense\.bias, .*: train it first")
    checkpoint = start_checkpoint(toys.base("roberta"), "classifier")
    assert checkpoint.model.num_labels == 1


def test_weights_of_other_shapes_are_refused(copy):
    write_config(copy, intermediate_size=40)
    refuse(copy, "the weights cannot be read")


def test_an_encoder_whose_weights_lack_a_layer(toys, tmp_path):
    toys.copy(toys.base("bert"), tmp_path)
    write_config(tmp_path, num_hidden_layers=3)
    refuse(tmp_path, r"the weights lack encoder\.layer\.2\..* and 13 more: copy the checkpoint again", "encoder")


def test_poolers_that_encoders_do_not_use_may_be_missing(toys):
    assert load_checkpoint(toys.reranker("roberta"), "encoder").pooling == "mean"
