"""ONNX files of small checkpoints, run by ONNX Runtime, against the packed models."""

import numpy as np
import onnxruntime
import pyarrow as pa
import pytest

from cluster.reranker import Reranker
from csgen.errors import InputError
from indexing.encoder import Encoder
from indexing.models.checkpoint import load_checkpoint
from indexing.models.export import export_onnx

pytest_plugins = ["toy_models"]

TEXTS = ["One short text", "", "A longer text, of more words than the model sees at once. " * 9]


def run(path, inputs):
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    named = {argument.name: inputs[argument.name].astype(np.int64) for argument in session.get_inputs()}
    return session.run(None, named)[0]


@pytest.mark.parametrize("architecture", ["xlm-roberta", "bert", "modernbert"])
def test_an_exported_reranker_gives_the_same_scores(toys, tmp_path, architecture):
    pytest.importorskip("onnx")
    checkpoint = load_checkpoint(toys.reranker(architecture), "classifier")
    export_onnx(checkpoint, "classifier", str(tmp_path / "new" / "model.onnx"))
    inputs = checkpoint.tokenizer(TEXTS, TEXTS[::-1], padding=True, truncation=True, max_length=64, return_tensors="np")
    expected = Reranker.load(toys.reranker(architecture)).score(pa.table({"query": TEXTS, "passage": TEXTS[::-1]}))
    np.testing.assert_allclose(run(tmp_path / "new" / "model.onnx", inputs)[:, 0], expected, atol=1e-4, rtol=0)


@pytest.mark.parametrize("pooling", ["cls", "mean"])
def test_an_exported_encoder_gives_the_same_vectors(toys, tmp_path, pooling):
    pytest.importorskip("onnx")
    checkpoint = load_checkpoint(toys.encoder("roberta", pooling), "encoder")
    export_onnx(checkpoint, "encoder", str(tmp_path / "model.onnx"))
    inputs = checkpoint.tokenizer(TEXTS, padding=True, truncation=True, max_length=64, return_tensors="np")
    expected = Encoder.load(toys.encoder("roberta", pooling)).encode(TEXTS)
    np.testing.assert_allclose(run(tmp_path / "model.onnx", inputs), expected, atol=1e-4, rtol=0)


def test_without_the_package_onnx_it_says_what_to_install(toys, tmp_path, monkeypatch):
    monkeypatch.setattr("indexing.models.export.find_spec", lambda name: None)
    checkpoint = load_checkpoint(toys.reranker("bert"), "classifier")
    with pytest.raises(InputError, match=r"need the package onnx: pip install 'csgen\[onnx\]'"):
        export_onnx(checkpoint, "classifier", str(tmp_path / "model.onnx"))
