"""Encoders against sentence-transformers' encode: pooling, prompts, limits, batches, bad folders."""

import json
from pathlib import Path

import numpy as np
import pytest
from sentence_transformers import SentenceTransformer
from transformers import AutoModel

from csgen.errors import InputError
from indexing.encoder import Encoder

pytest_plugins = ["toy_models"]

ARCHITECTURES = ("xlm-roberta", "roberta", "bert", "modernbert", "distilbert")  # the last is padded


@pytest.fixture(scope="module")
def texts(toys):
    return [*((text * 3)[: (row * 7) % 400] for row, text in enumerate(toys.texts()[::4])), "", "a", "long " * 300]


def encode(folder, texts):
    return SentenceTransformer(folder, device="cpu").encode(texts, normalize_embeddings=True)


def change(toys, folder, tmp_path, name, **changes):
    """A copy of an encoder's folder with other values in one of its JSON files."""
    toys.copy(folder, tmp_path)
    path = Path(tmp_path) / name
    path.write_text(json.dumps({**(json.loads(path.read_text()) if path.exists() else {}), **changes}))
    return str(tmp_path)


@pytest.mark.parametrize("pooling", ["cls", "mean"])
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_vectors_equal_those_of_sentence_transformers(toys, texts, architecture, pooling):
    folder = toys.encoder(architecture, pooling)
    encoder = Encoder.load(folder)
    vectors = encoder.encode(texts)
    assert (vectors.dtype, vectors.shape, encoder.dim) == (np.float32, (len(texts), 32), 32)
    np.testing.assert_allclose(vectors, encode(folder, texts), atol=1e-4, rtol=0)


def test_vectors_have_unit_length_in_every_precision(toys, texts):
    for precision in ("fp32", "bf16", "int8"):
        vectors = Encoder.load(toys.encoder("xlm-roberta"), precision=precision).encode(texts)
        np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)


@pytest.mark.parametrize(("precision", "least"), [("bf16", 0.99), ("int8", 0.98)])
def test_lower_precisions_point_the_same_way(toys, texts, precision, least):
    folder = toys.encoder("xlm-roberta")
    exact = Encoder.load(folder).encode(texts)
    assert (exact * Encoder.load(folder, precision=precision).encode(texts)).sum(1).min() > least


def test_a_bare_transformer_is_averaged_over_its_tokens(toys, texts):
    np.testing.assert_allclose(
        Encoder.load(toys.base("bert")).encode(texts), encode(toys.encoder("bert", "mean"), texts), atol=1e-4, rtol=0
    )


def test_a_vector_does_not_depend_on_batch_order_and_company(toys, texts):
    folder = toys.encoder("modernbert")
    vectors = Encoder.load(folder).encode(texts)
    np.testing.assert_allclose(Encoder.load(folder, max_tokens=70).encode(texts[::-1])[::-1], vectors, atol=1e-5)
    np.testing.assert_allclose(Encoder.load(folder).encode(texts[5:6]), vectors[5:6], atol=1e-5)


def test_the_limit_the_prompt_and_lower_case_are_the_folders(toys, texts, tmp_path):
    folder = toys.encoder("roberta")
    change(toys, folder, tmp_path, "sentence_bert_config.json", max_seq_length=16, do_lower_case=True)
    path = tmp_path / "config_sentence_transformers.json"
    settings = json.loads(path.read_text()) | {"prompts": {"passage": "Text: "}, "default_prompt_name": "passage"}
    path.write_text(json.dumps(settings))
    encoder = Encoder.load(str(tmp_path))
    np.testing.assert_allclose(encoder.encode(texts), encode(str(tmp_path), texts), atol=1e-4, rtol=0)
    assert encoder.max_length == 16
    assert not np.allclose(encoder.encode(texts), Encoder.load(folder).encode(texts), atol=1e-4)


def test_a_folder_with_normalize_and_the_older_pooling_flags_loads(toys, texts, tmp_path):
    folder = toys.encoder("bert", "cls")
    toys.copy(folder, tmp_path)
    (tmp_path / "1_Pooling" / "config.json").write_text(
        json.dumps({"word_embedding_dimension": 32, "pooling_mode_cls_token": True, "pooling_mode_mean_tokens": False})
    )
    path = tmp_path / "modules.json"
    last = {"idx": 2, "name": "2", "path": "2_Normalize", "type": "sentence_transformers.models.Normalize"}
    path.write_text(json.dumps([*json.loads(path.read_text()), last]))
    np.testing.assert_allclose(Encoder.load(str(tmp_path)).encode(texts), encode(folder, texts), atol=1e-4, rtol=0)


def test_truncated_texts_are_counted(toys):
    encoder = Encoder.load(toys.encoder("bert"))
    encoder.encode(["short", "long " * 100, "long " * 200])
    assert encoder.truncated == 2


def test_no_texts_give_no_vectors(toys):
    assert Encoder.load(toys.encoder("bert")).encode([]).shape == (0, 32)


def test_other_modules_and_poolings_are_refused(toys, tmp_path):
    folder = toys.encoder("bert", "max")
    with pytest.raises(InputError, match=r"1_Pooling/config\.json: pooling must be cls or mean, got max"):
        Encoder.load(folder)
    toys.copy(folder, tmp_path)
    modules = json.loads((tmp_path / "modules.json").read_text())
    modules.append({"idx": 2, "name": "2", "path": "2_Dense", "type": "sentence_transformers.models.Dense"})
    (tmp_path / "modules.json").write_text(json.dumps(modules))
    with pytest.raises(InputError, match=r"modules\.json: expected .*, got Transformer, Pooling, Dense"):
        Encoder.load(str(tmp_path))


def test_a_vector_that_is_not_finite_names_the_text(toys, tmp_path):
    model = AutoModel.from_pretrained(toys.base("bert"))
    toys.copy(toys.base("bert"), tmp_path)
    model.encoder.layer[1].output.dense.bias.data.fill_(float("nan"))
    model.save_pretrained(tmp_path)
    with pytest.raises(InputError, match="a vector that is not finite to text 1, 'what'"):
        Encoder.load(str(tmp_path)).encode(["what"])
