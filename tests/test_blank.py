"""`csgen train blank`: an untrained model with a vocabulary of its own."""

import json

import numpy as np
import polars as pl
import pytest
from scipy import sparse
from toy_models import sample_texts
from transformers import AutoModelForMaskedLM, AutoTokenizer

from cluster.blank import WINDOW, WORD_SCALE, BlankConfig, count_neighbours, draw_sample, factorise, learn_vocabulary
from cluster.cli import main
from csgen.errors import InputError
from csgen.files import hash_file
from csgen.manifest import Manifest
from csgen.sources.parquet import write_pairs

LANGUAGES = ("en", "de", "ru")
SMALL = ["--vocabulary", "400", "--layers", "1", "--width", "16", "--heads", "2", "--max-tokens", "32"]


def config(**options):
    return BlankConfig.from_options({"pairs": "-", "output": "-", "vocabulary": 400} | options)


@pytest.fixture(scope="module")
def pairs(tmp_path_factory):
    texts = sample_texts(LANGUAGES)
    path = str(tmp_path_factory.mktemp("blank") / "pairs.parquet")
    ids = [str(number) for number in range(len(texts))]
    columns = {"query_id": ids, "query": texts, "passage_id": ids, "passage": texts[::-1], "label": [1] * len(ids)}
    write_pairs(pl.DataFrame(columns, schema_overrides={"label": pl.Int8}).to_arrow(), path)
    return path


@pytest.fixture(scope="module")
def blank(pairs, tmp_path_factory):
    folder = str(tmp_path_factory.mktemp("blank") / "model")
    assert main(["train", "blank", pairs, "--output", folder, *SMALL, "--quiet"]) == 0
    return folder


def test_a_manifest_hashes_its_files_and_those_of_the_pairs(blank, pairs):
    manifest = Manifest.read(blank)
    assert (manifest.stage, manifest.counts["pieces"]) == ("blank", 400)
    assert {"model.safetensors", "tokenizer.json", "config.json"} <= {*manifest.files}
    assert manifest.inputs == {pairs: {"xxh3_128": hash_file(pairs)}}


def test_transformers_loads_it_as_a_masked_language_model(blank):
    tokenizer, model = AutoTokenizer.from_pretrained(blank), AutoModelForMaskedLM.from_pretrained(blank)
    assert model.config.model_type == "xlm-roberta"
    assert len(tokenizer) == model.config.vocab_size == 400
    assert tokenizer.mask_token_id == len(tokenizer) - 1


def test_pairs_stand_in_the_layout_of_xlm_r(blank):
    tokenizer = AutoTokenizer.from_pretrained(blank)
    pieces = tokenizer.convert_ids_to_tokens(tokenizer("House", "garden")["input_ids"])
    assert [piece for piece in pieces if piece in ("<s>", "</s>")] == ["<s>", "</s>", "</s>", "</s>"]
    assert tokenizer("House")["input_ids"] == tokenizer("house")["input_ids"]  # read in lower case


def test_base_training_begins_from_it(blank, pairs, tmp_path):
    output = str(tmp_path / "base")
    options = ["--steps", "2", "--batch-size", "4", "--micro-batch-size", "4", "--max-tokens", "32", "--curves", "none"]
    assert main(["train", "base", pairs, "--model", blank, "--output", output, "--quiet", *options]) == 0
    assert json.loads((tmp_path / "base" / "manifest.json").read_text())["counts"]["steps"] == 2


def test_the_same_texts_in_another_order_give_the_same_sample():
    texts = pl.DataFrame({"language": ["en", "de"] * 20, "text": [f"text {k}" for k in range(40)]})
    assert draw_sample(texts, config(sample_texts=10)).equals(draw_sample(texts.reverse(), config(sample_texts=10)))


def test_poor_languages_have_more_than_their_share():
    texts = pl.DataFrame({"language": ["en"] * 900 + ["de"] * 100, "text": [f"text {k}" for k in range(1000)]})
    counts = dict(draw_sample(texts, config(sample_texts=100)).group_by("language").len().iter_rows())
    assert counts == {"en": 75, "de": 25}


def test_neighbours_count_by_distance_within_their_text():
    texts = ["a b", "b"]
    tokenizer = learn_vocabulary(sample_texts(LANGUAGES), config())
    counts = count_neighbours(tokenizer, texts)
    first, second = (tokenizer.encode(text, add_special_tokens=False).ids[-1] for text in ("a", "b"))
    assert counts[first, second] > 0
    assert abs(counts - counts.T).max() == 0
    assert WINDOW > 1


def test_pieces_of_like_neighbours_have_like_embeddings():
    """0 and 1 stand with 2 to 5, 6 and 7 with 8 to 11."""
    counts = np.zeros((12, 12), np.float32)
    for pair, others in (((0, 1), range(2, 6)), ((6, 7), range(8, 12))):
        for one in pair:
            for other in others:
                counts[one, other] = counts[other, one] = 5 + one + other
    vectors = factorise(sparse.csr_array(counts), 4, 0)
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    assert unit[0] @ unit[1] > 0.9 > unit[0] @ unit[6]
    assert np.sqrt((vectors**2).mean(axis=1)) == pytest.approx(WORD_SCALE, rel=1e-3)


def test_a_width_that_heads_do_not_divide_is_refused():
    with pytest.raises(InputError, match=r"--width 190: must be a multiple of --heads 6"):
        config(width=190)


def test_a_vocabulary_that_does_not_hold_the_characters_is_refused():
    with pytest.raises(InputError, match=r"--vocabulary 300: .* give more pieces"):
        learn_vocabulary([chr(0x4E00 + number) for number in range(1000)], config(vocabulary=300))


def test_an_output_that_is_there_is_refused(blank, pairs, capsys):
    assert main(["train", "blank", pairs, "--output", blank, *SMALL]) == 2
    assert "exists: remove it" in capsys.readouterr().err


def test_with_a_given_vocabulary_the_same_input_gives_the_same_bytes(blank, pairs, tmp_path):
    for name in "ab":
        options = [*SMALL, "--tokenizer", blank, "--quiet"]
        assert main(["train", "blank", pairs, "--output", str(tmp_path / name), *options]) == 0
    files = sorted(file.name for file in (tmp_path / "a").iterdir() if file.name != "manifest.json")
    assert [hash_file(str(tmp_path / "a" / name)) for name in files] == [
        hash_file(str(tmp_path / "b" / name)) for name in files
    ]
    assert hash_file(str(tmp_path / "a" / "tokenizer.json")) == hash_file(f"{blank}/tokenizer.json")


def test_a_given_vocabulary_is_among_the_inputs(blank, pairs, tmp_path):
    output = str(tmp_path / "model")
    assert main(["train", "blank", pairs, "--output", output, *SMALL, "--tokenizer", blank, "--quiet"]) == 0
    hashes = Manifest.read(output).inputs
    assert hashes[f"tokenizer {blank}"] == {"xxh3_128": hash_file(f"{blank}/tokenizer.json")}


def test_a_vocabulary_in_another_layout_is_refused(pairs, tmp_path, capfd):
    from tokenizers import Tokenizer, models

    Tokenizer(models.WordLevel({"<unk>": 0}, unk_token="<unk>")).save(str(tmp_path / "tokenizer.json"))
    arguments = ["train", "blank", pairs, "--output", str(tmp_path / "model"), "--tokenizer", str(tmp_path)]
    assert main(arguments) == 2
    assert "<s> is not its piece 0: expected XLM-R's layout" in capfd.readouterr().err
