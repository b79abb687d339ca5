"""`csgen pack` and `csgen models`: trained models made small, and those that the package carries."""

import json

import numpy as np
import pyarrow as pa
import pytest
import torch
from safetensors.torch import load_file, save_file

from cluster.cli import main
from cluster.reranker import Reranker
from csgen.errors import InputError
from csgen.manifest import Manifest
from indexing.encoder import Encoder
from indexing.models import carried
from indexing.models.checkpoint import find_checkpoint

pytest_plugins = ["toy_models"]

TEXTS = ["a red house", "ein rotes Haus", "rivers"]


def packed(model, tmp_path):
    output = tmp_path / "packed"
    assert main(["pack", model, "--output", str(output)]) == 0
    return output


def test_weights_take_half_the_bytes_and_load_as_float32(toys, tmp_path):
    output = packed(toys.encoder("xlm-roberta"), tmp_path)
    assert {value.dtype for value in load_file(output / "model.safetensors").values() if value.is_floating_point()} == {
        torch.float16
    }
    assert json.loads((output / "config.json").read_text()).get("dtype", "float32") == "float32"


def test_a_packed_encoder_gives_nearly_the_same_vectors(toys, tmp_path):
    model = toys.encoder("xlm-roberta")
    there, here = (Encoder.load(str(path)).encode(TEXTS) for path in (model, packed(model, tmp_path)))
    assert here == pytest.approx(there, abs=5e-3)


def test_a_packed_reranker_gives_nearly_the_same_scores(toys, tmp_path):
    model = toys.reranker("bert")
    pairs = pa.table({"query": TEXTS, "passage": TEXTS[::-1]})
    there, here = (Reranker.load(str(path)).score(pairs) for path in (model, packed(model, tmp_path)))
    assert np.allclose(here, there, atol=1e-2)


def test_the_manifest_hashes_what_was_packed(toys, tmp_path):
    manifest = Manifest.read(str(packed(toys.encoder("bert"), tmp_path)))
    assert (manifest.stage, "model.safetensors" in manifest.files) == ("pack", True)


def test_a_given_card_stands_in_place_of_its_own(toys, tmp_path):
    (tmp_path / "card.md").write_text("# Ours\n")
    output = tmp_path / "packed"
    card = str(tmp_path / "card.md")
    assert main(["pack", toys.encoder("bert"), "--card", card, "--output", str(output)]) == 0
    assert (output / "README.md").read_text() == "# Ours\n"
    assert Manifest.read(str(output)).files["README.md"]["bytes"] == len("# Ours\n")


def test_a_card_that_is_not_there_is_named(toys, tmp_path, capsys):
    arguments = ["pack", toys.encoder("bert"), "--card", "none.md", "--output", str(tmp_path / "packed")]
    assert main(arguments) == 2
    assert "none.md: no such file" in capsys.readouterr().err
    assert not (tmp_path / "packed").exists()


def test_weights_beyond_float16_are_refused(toys, tmp_path):
    toys.copy(toys.encoder("bert"), tmp_path / "model")
    weights = load_file(tmp_path / "model" / "model.safetensors")
    name = next(iter(weights))
    weights[name] = weights[name] + 1e6
    save_file(weights, tmp_path / "model" / "model.safetensors", metadata={"format": "pt"})
    from cluster.packing import PackConfig, pack

    with pytest.raises(InputError, match="beyond what float16 holds"):
        pack(PackConfig.from_options({"model": str(tmp_path / "model"), "output": str(tmp_path / "out")}))


def test_a_folder_without_weights_is_refused(tmp_path, capsys):
    assert main(["pack", str(tmp_path), "--output", str(tmp_path / "out")]) == 2
    assert "has no model.safetensors" in capsys.readouterr().err


def test_a_carried_model_is_listed_and_found_by_its_name(toys, tmp_path, monkeypatch, capsys):
    folder = packed(toys.encoder("bert"), tmp_path).rename(tmp_path / "csgen-toy")
    (folder / "README.md").write_text("---\nlanguage: [en, de]\npipeline_tag: sentence-similarity\n---\n\n# Toy\n")
    monkeypatch.setattr(carried, "_root", lambda: tmp_path)
    capsys.readouterr()
    assert main(["models", "--format", "json"]) == 0
    (listed,) = json.loads(capsys.readouterr().out)
    assert (listed["name"], listed["kind"], listed["languages"]) == ("csgen-toy", "encoder", ["en", "de"])
    assert find_checkpoint("csgen-toy") == folder
