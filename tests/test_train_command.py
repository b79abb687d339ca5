"""`csgen train` in one process: what it writes, how it goes on after a kill, what it measures and what it refuses."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
import torch
import yaml
from safetensors.torch import load_file, save_file
from toy_collection import write_collection
from toy_training import sample_table
from transformers import AutoModelForMaskedLM, AutoModelForSequenceClassification

from cluster.cli import main
from cluster.reranker import Reranker
from cluster.training.checkpoints import Checkpoints
from cluster.training.config import RerankerConfig
from cluster.training_dev import open_dev
from cluster.training_models import limit_tokens, start_model
from cluster.training_options import Dev, Switching
from cluster.training_report import read_history
from csgen.errors import CsgenError, InputError
from csgen.files import hash_file
from csgen.manifest import Manifest
from csgen.sources.parquet import write_pairs
from csgen.switching.policy import Policy
from indexing.encoder import Encoder

pytest_plugins = ["toy_models"]

SHORT = {"steps": 6, "batch_size": 4, "micro_batch_size": 2, "negatives": 2, "learning_rate": 1e-3}
SWITCHED = {"languages": "de,it", "align_scores": 1}
TEXTS = [("what is a red house", "the house is red and it is old"), ("rivers", "a cold river"), ("", "a garden")]


@pytest.fixture(scope="module")
def pairs(tmp_path_factory):
    path = str(tmp_path_factory.mktemp("pairs") / "pairs.parquet")
    write_pairs(sample_table(negatives=2, num_queries=30), path)
    return path


@pytest.fixture(scope="module")
def collection(tmp_path_factory):
    return write_collection(tmp_path_factory.mktemp("dev") / "toy")


def arguments_of(kind, pairs, model, output, **options):
    flags = [f"--{name.replace('_', '-')}={value}" for name, value in options.items()]
    return ["train", kind, pairs, "--model", model, "--output", str(output), "--quiet", *flags]


def run(kind, pairs, model, output, **options):
    given = SHORT | options
    if kind == "base":
        del given["negatives"]
    return main(arguments_of(kind, pairs, model, output, **given))


def losses_of(folder):
    return [line["loss"] for line in read_history(str(folder))]


@pytest.fixture(scope="module")
def trained(pairs, toys, sample_lexicon, tmp_path_factory):
    """The folder of a reranker whose twins are switched."""
    folder = tmp_path_factory.mktemp("trained") / "reranker"
    assert run("reranker", pairs, toys.reranker("bert"), folder, lexicon=sample_lexicon, **SWITCHED) == 0
    return folder


@pytest.fixture(scope="module")
def trained_encoder(pairs, toys, sample_lexicon, tmp_path_factory):
    folder = tmp_path_factory.mktemp("trained") / "encoder"
    options = SWITCHED | {"lexicon": sample_lexicon, "align_words": 0.1}
    assert run("encoder", pairs, toys.encoder("xlm-roberta"), folder, **options) == 0
    return folder


@pytest.fixture(scope="module")
def log_and_folder(pairs, toys, sample_lexicon, collection, tmp_path_factory):
    """A run that is measured at every second step."""
    folder = tmp_path_factory.mktemp("measured") / "reranker"
    options = {"dev": collection, "dev_split": "test", "evaluate_every": 2, "select": "mean", "steps": 6}
    assert run("reranker", pairs, toys.reranker("bert"), folder, **options) == 0
    return folder


def cross_encoder_scores(folder, **options):
    from sentence_transformers import CrossEncoder

    return CrossEncoder(str(folder), device="cpu").predict(TEXTS, show_progress_bar=False, **options)


def own_scores(folder):
    queries, passages = zip(*TEXTS, strict=True)
    return Reranker.load(str(folder)).score(pa.table({"query": queries, "passage": passages}))


@pytest.mark.parametrize("architecture", ["bert", "xlm-roberta", "modernbert", "distilbert"])
def test_a_saved_reranker_scores_the_same_in_cross_encoder(architecture, pairs, toys, tmp_path):
    assert run("reranker", pairs, toys.reranker(architecture), tmp_path / "out", steps=2) == 0
    identity = cross_encoder_scores(tmp_path / "out", activation_fn=torch.nn.Identity())
    np.testing.assert_allclose(own_scores(tmp_path / "out"), identity, atol=1e-4)


def test_a_reranker_of_groups_gives_logits_in_cross_encoder(trained):
    np.testing.assert_allclose(cross_encoder_scores(trained), own_scores(trained), atol=1e-4)


def test_a_reranker_of_single_pairs_gives_probabilities_in_cross_encoder(pairs, toys, tmp_path):
    options = {"negatives": 0, "listwise": 0, "pointwise": 1, "steps": 2}
    assert run("reranker", pairs, toys.reranker("bert"), tmp_path / "out", **options) == 0
    np.testing.assert_allclose(
        cross_encoder_scores(tmp_path / "out"), 1 / (1 + np.exp(-own_scores(tmp_path / "out"))), atol=1e-4
    )


def test_a_saved_reranker_is_a_classifier_with_one_label(trained):
    assert AutoModelForSequenceClassification.from_pretrained(trained).config.num_labels == 1


def test_the_saved_weights_are_the_last_checkpoints(trained, pairs):
    saved = load_file(trained / "model.safetensors")
    last = Checkpoints(str(trained / "checkpoints")).weights([6])
    assert all(torch.equal(saved[name], last[name]) for name in saved)


@pytest.mark.parametrize(("architecture", "pooling"), [("bert", "cls"), ("modernbert", "mean")])
def test_a_saved_encoder_encodes_the_same_in_sentence_transformers(architecture, pooling, pairs, toys, tmp_path):
    assert run("encoder", pairs, toys.encoder(architecture, pooling), tmp_path / "out", steps=2) == 0
    assert_encodes_alike(tmp_path / "out")


def test_an_encoder_with_aligned_words_encodes_the_same_in_sentence_transformers(trained_encoder):
    assert_encodes_alike(trained_encoder)
    assert "align_words" in read_history(str(trained_encoder))[0]


def test_a_models_prompt_is_trained_with_and_kept(pairs, toys, tmp_path):
    shutil.copytree(toys.encoder("bert"), tmp_path / "model")
    path = tmp_path / "model/config_sentence_transformers.json"
    prompts = {"prompts": {"q": "search: "}, "default_prompt_name": "q"}
    path.write_text(json.dumps(json.loads(path.read_text()) | prompts))
    for name, model in (("plain", toys.encoder("bert")), ("prompted", str(tmp_path / "model"))):
        assert run("encoder", pairs, model, tmp_path / name, steps=2) == 0
    assert losses_of(tmp_path / "plain") != losses_of(tmp_path / "prompted")
    assert_encodes_alike(tmp_path / "prompted")


def assert_encodes_alike(folder):
    from sentence_transformers import SentenceTransformer

    texts = [text for pair in TEXTS for text in pair]
    theirs = SentenceTransformer(str(folder), device="cpu").encode(texts, show_progress_bar=False)
    np.testing.assert_allclose(Encoder.load(str(folder)).encode(texts), theirs, atol=1e-4)
    np.testing.assert_allclose(np.linalg.norm(theirs, axis=1), 1, atol=1e-5)


def test_an_encoder_has_the_files_of_sentence_transformers(trained_encoder):
    names = {"modules.json", "1_Pooling/config.json", "2_Normalize/config.json", "sentence_bert_config.json"}
    assert all((trained_encoder / name).is_file() for name in names)
    assert json.loads((trained_encoder / "sentence_bert_config.json").read_text())["max_seq_length"] == 64


def test_a_base_is_a_masked_language_model_that_a_reranker_begins_from(pairs, toys, tmp_path):
    assert run("base", pairs, toys.base("bert"), tmp_path / "base", steps=2) == 0
    module, loading = AutoModelForMaskedLM.from_pretrained(tmp_path / "base", output_loading_info=True)
    assert (module.config.model_type, sorted(loading["missing_keys"])) == ("bert", [])
    assert run("reranker", pairs, str(tmp_path / "base"), tmp_path / "reranker", steps=2) == 0
    manifest = Manifest.read(str(tmp_path / "reranker"))
    assert manifest.inputs["model_manifest"] == hash_file(str(tmp_path / "base/manifest.json"))


def test_a_new_head_is_drawn_by_the_seed(pairs, toys, tmp_path):
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        assert run("reranker", pairs, toys.base("bert"), tmp_path / name, steps=1, seed=seed) == 0
    weights = [load_file(tmp_path / name / "model.safetensors")["classifier.weight"] for name in "abc"]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])


def test_an_encoder_follows_a_teacher(pairs, toys, tmp_path):
    options = {"teacher": toys.encoder("bert"), "teach": 1, "contrastive": 0, "steps": 2}
    assert run("encoder", pairs, toys.encoder("bert", "cls"), tmp_path / "out", **options) == 0
    assert "teach" in read_history(str(tmp_path / "out"))[0]


def test_a_reranker_follows_the_scores_of_a_teacher_encoder(pairs, toys, tmp_path):
    options = {"teacher": toys.encoder("bert"), "distil": 1, "listwise": 0, "steps": 2}
    kept = tmp_path / "vectors"
    assert run("reranker", pairs, toys.base("bert"), tmp_path / "out", **options, teacher_vectors=str(kept)) == 0
    assert read_history(str(tmp_path / "out"))[0]["distil"] > 0
    assert list(kept.glob("*.vectors.npy"))
    assert not (tmp_path / "out" / "_teacher").exists()


def test_an_encoder_of_translations_follows_a_teacher_of_their_originals(pairs, toys, tmp_path):
    translated = str(tmp_path / "translated.parquet")
    table = sample_table(negatives=2, num_queries=30)
    for side in ("query", "passage"):
        shouted = pc.utf8_upper(table.column(side))
        table = table.set_column(table.column_names.index(side), side, shouted)
    write_pairs(table, translated)
    options = {"teacher": toys.encoder("bert"), "teach": 1, "contrastive": 0, "steps": 2}
    kept = tmp_path / "vectors"
    assert run("encoder", pairs, toys.encoder("bert", "cls"), tmp_path / "a", **options, teacher_vectors=str(kept)) == 0
    made = sorted(kept.iterdir())
    options |= {"teacher_pairs": pairs, "teacher_vectors": str(kept)}
    assert run("encoder", translated, toys.encoder("bert", "cls"), tmp_path / "b", **options) == 0
    assert sorted(kept.iterdir()) == made  # it read no other texts


def test_the_manifest_names_options_and_inputs_and_hashes_the_files(trained, sample_lexicon, pairs):
    manifest = Manifest.read(str(trained))
    assert (manifest.stage, manifest.counts["steps"], manifest.counts["pairs"]) == ("train", 6, 90)
    assert (manifest.config["kind"], manifest.config["policy"]["languages"]) == ("reranker", ["de", "it"])
    assert manifest.inputs["pairs"][pairs] == {"xxh3_128": hash_file(pairs)}
    assert manifest.inputs["lexicon_manifest"] == hash_file(f"{sample_lexicon}/manifest.json")
    assert {"model.safetensors", "config.json", "tokenizer.json", "README.md"} <= set(manifest.files)
    assert all(hash_file(str(trained / name)) == facts["xxh3_128"] for name, facts in manifest.files.items())


def test_the_model_card_tells_languages_data_lexicons_recipe_and_chain(trained):
    _, head, text = (trained / "README.md").read_text().split("---\n", 2)
    described = yaml.safe_load(head)
    assert described["language"] == ["en", "de", "it"]
    assert {"cross-encoder", "code-switching"} <= set(described["tags"])
    assert {"license", "base_model", "pipeline_tag", "library_name"} <= set(described)
    for part in ("90 pairs", "sample:en-de.tsv: Apache-2.0", "listwise 1, align scores 1", "seed 0", "xxh3_128"):
        assert part in text


def test_the_card_takes_the_licence_of_the_first_model(pairs, toys, tmp_path):
    shutil.copytree(toys.reranker("bert"), tmp_path / "model")
    (tmp_path / "model/README.md").write_text("---\nlicense: mit\n---\n# a model\n")
    assert run("reranker", pairs, str(tmp_path / "model"), tmp_path / "out", steps=1) == 0
    assert "license: mit\n" in (tmp_path / "out/README.md").read_text()


def test_the_history_has_a_line_a_step(trained):
    lines = read_history(str(trained))
    assert [line["step"] for line in lines] == [1, 2, 3, 4, 5, 6]
    assert {"loss", "listwise", "pairs_per_s", "tokens_per_s", "waiting_ratio", "gradient_norm"} <= set(lines[0])


def test_learning_curves_are_drawn(trained):
    assert (trained / "plots/learning-curves.png").read_bytes().startswith(b"\x89PNG")
    assert b"<svg" in (trained / "plots/learning-curves.svg").read_bytes()


def test_event_files_for_tensorboard_hold_the_losses(trained):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(trained / "tensorboard"))
    events.Reload()
    found = {event.step: event.value for event in events.Scalars("loss/loss")}
    assert found == pytest.approx(dict(enumerate(losses_of(trained), 1)), rel=1e-5)


def test_curves_may_be_left_out(pairs, toys, tmp_path):
    assert run("reranker", pairs, toys.reranker("bert"), tmp_path / "out", steps=1, curves="none") == 0
    assert not (tmp_path / "out/plots").exists()
    assert not (tmp_path / "out/tensorboard").exists()


def test_the_summary_is_json_where_asked_for(pairs, toys, tmp_path, capsys):
    assert run("reranker", pairs, toys.reranker("bert"), tmp_path / "out", steps=2, format="json") == 0
    summary = json.loads(capsys.readouterr().out)
    assert (summary["kind"], summary["steps"], summary["weights_of"]) == ("reranker", 2, [2])


def test_the_summary_is_a_table_of_figures_otherwise(pairs, toys, collection, tmp_path, capsys):
    options = {"dev": collection, "dev_split": "test", "steps": 1}
    assert run("reranker", pairs, toys.reranker("bert"), tmp_path / "out", **options) == 0
    shown = capsys.readouterr().out
    assert all(part in shown for part in ("1 of 1 steps", "MoIR", "CLIR", "MLIR", "mean", "weights: step 1"))


def test_a_step_is_described_with_rates_and_figures():
    from cluster.commands.train import describe_step

    line = {"loss": 0.5, "pairs_per_s": 1234.5, "tokens_per_s": 99999, "left_s": 3725, "waiting_ratio": 0.012}
    shown = "loss 0.5, 1,234 pairs/s, 99,999 tokens/s, 1:02:05 left, 1.2 % waiting for data"
    assert describe_step(line) == shown
    assert describe_step(line | {"evaluation": {"mean": 0.25}}) == f"{shown}; mean 0.2500"


def test_the_progress_goes_to_standard_error(pairs, toys, tmp_path, capsys, caplog):
    arguments = arguments_of("reranker", pairs, toys.reranker("bert"), tmp_path / "out", **SHORT)
    arguments.remove("--quiet")
    assert main(arguments) == 0
    captured = capsys.readouterr()
    assert "step 6 of 6: loss" in captured.err
    assert "pairs/s" not in captured.out


def test_the_figures_of_a_dev_set_are_the_settings_and_their_mean(log_and_folder):
    measured = {line["step"]: line["evaluation"] for line in read_history(str(log_and_folder)) if "evaluation" in line}
    assert list(measured) == [2, 4, 6]
    for figures in measured.values():
        assert list(figures) == ["MoIR", "CLIR", "MLIR", "mean"]
        assert figures["mean"] == pytest.approx(sum(figures[name] for name in ("MoIR", "CLIR", "MLIR")) / 3)


def test_the_best_checkpoint_is_kept(log_and_folder):
    measured = {
        line["step"]: line["evaluation"]["mean"] for line in read_history(str(log_and_folder)) if "evaluation" in line
    }
    manifest = Manifest.read(str(log_and_folder))
    assert manifest.counts["figures"]["mean"] == max(measured.values())
    assert measured[manifest.counts["weights_of"][0]] == max(measured.values())


def test_a_run_stops_early(pairs, toys, collection, tmp_path):
    options = {"dev": collection, "dev_split": "test", "evaluate_every": 1, "select": "mean", "patience": 2}
    assert run("reranker", pairs, toys.reranker("bert"), tmp_path / "out", steps=40, **options) == 0
    manifest = Manifest.read(str(tmp_path / "out"))
    assert manifest.counts["stopped_early"]
    assert manifest.counts["steps"] < 40


def dev_of(collection, **options):
    return open_dev(Dev.from_options({"dev": collection, "dev_split": "test"} | options), 0)


def test_a_perfect_scorer_measures_one_in_every_setting(collection):
    answers = {"red": 0, "rot": 0, "ross": 0, "green": 1, "grün": 1, "verde": 1, "bridge": 2, "Brücke": 2, "ponte": 2}
    asked = {"house": 0, "Haus": 0, "casa": 0, "garden": 1, "Garten": 1, "giardino": 1, "bridge": 2, "Brücke": 2}
    asked |= {"ponte": 2, "river": 3, "Fluss": 3, "fiume": 3}

    def number(passage):
        return next((n for word, n in answers.items() if word in passage), 3)

    def score(queries, passages):
        return np.array([number(p) == asked[q] for q, p in zip(queries, passages, strict=True)], np.float32)

    assert dev_of(collection).measure(score) == {"MoIR": 1, "CLIR": 1, "MLIR": 1, "mean": 1}


def test_candidates_are_the_answers_and_the_best_of_bm25_in_english(tmp_path):
    qrels = [("q0", "p3", 1), ("q1", "p1", 1)]
    folder = write_collection(tmp_path / "toy", qrels=qrels)
    dev = dev_of(folder, dev_languages=("en",))
    (cell,) = dev.cells
    found = {(row["query_id"], row["passage_id"]) for row in cell.pairs.to_dicts()}
    assert found == {("q0", "p0"), ("q0", "p3"), ("q1", "p1")}  # p0 by its word "house", p3 since it is the answer


def test_a_dev_set_takes_so_many_queries_and_candidates(collection):
    assert {cell.pairs["query_id"].n_unique() for cell in dev_of(collection, dev_queries=2).cells} == {2}


def test_an_answer_is_never_crowded_out_of_the_candidates(tmp_path):
    folder = write_collection(tmp_path / "toy", qrels=[("q0", "p3", 1)])
    cells = dev_of(folder, dev_candidates=2, dev_languages=("de",)).cells
    assert "p3" in cells[0].pairs["passage_id"].to_list()


def test_one_language_has_no_clir_and_no_mlir(collection):
    figures = dev_of(collection, dev_languages=("de",)).measure(lambda queries, _: np.zeros(len(queries), np.float32))
    assert list(figures) == ["MoIR", "mean"]


def test_scores_that_are_no_numbers_are_a_failure(collection):
    with pytest.raises(CsgenError, match="its weights have run away; the newest checkpoint is kept"):
        dev_of(collection).measure(lambda queries, _: np.full(len(queries), np.nan, np.float32))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"dev_languages": ("fr", "de")}, r"has no queries and passages in fr; it has en, de, it"),
        ({"dev_split": "none"}, "none"),
    ],
)
def test_a_dev_set_that_is_not_there_is_refused(options, message, collection):
    with pytest.raises(InputError, match=message):
        dev_of(collection, **options)


def start(arguments):
    environment = os.environ | {"HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    code = "import sys; from cluster.cli import main; sys.exit(main(sys.argv[1:]))"
    return subprocess.Popen([sys.executable, "-c", code, *arguments], env=environment, start_new_session=True)


def test_a_job_killed_with_sigkill_goes_on_and_ends_with_the_same_losses(pairs, toys, sample_lexicon, tmp_path):
    options = SHORT | SWITCHED | {"lexicon": sample_lexicon, "steps": 40, "checkpoint_every": 5}
    whole, killed = (
        arguments_of("reranker", pairs, toys.reranker("bert"), tmp_path / name, **options)
        for name in ("whole", "killed")
    )
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    assert main(whole) == 0
    torch.set_num_threads(threads)
    history = tmp_path / "killed/history.jsonl"
    process = start(killed)
    while process.poll() is None and (not history.exists() or len(history.read_text().splitlines()) < 12):
        time.sleep(0.005)
    os.killpg(process.pid, signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert not (tmp_path / "killed/manifest.json").exists()
    assert start(killed).wait() == 0
    assert losses_of(tmp_path / "killed") == losses_of(tmp_path / "whole")
    assert hash_file(str(tmp_path / "killed/model.safetensors")) == hash_file(str(tmp_path / "whole/model.safetensors"))


def unfinish(trained, folder):
    """An output as a run leaves it that was killed before its manifest."""
    shutil.copytree(trained, folder)
    (folder / "manifest.json").unlink()
    return folder


def test_a_run_killed_before_its_manifest_is_finished_without_training(
    trained, pairs, toys, sample_lexicon, tmp_path, capsys
):
    folder = unfinish(trained, tmp_path / "out")
    before = losses_of(folder)
    options = SWITCHED | {"lexicon": sample_lexicon}
    assert run("reranker", pairs, toys.reranker("bert"), folder, **options) == 0
    assert losses_of(folder) == before
    assert Manifest.read(str(folder)).files == Manifest.read(str(trained)).files | {
        "README.md": Manifest.read(str(folder)).files["README.md"]
    }


def test_losses_that_a_kill_kept_out_of_the_history_come_from_the_checkpoint(
    trained, pairs, toys, sample_lexicon, tmp_path
):
    folder = unfinish(trained, tmp_path / "out")
    lines = (folder / "history.jsonl").read_text().splitlines()
    (folder / "history.jsonl").write_text("\n".join(lines[:4]) + '\n{"step": 5, "lo')
    options = SWITCHED | {"lexicon": sample_lexicon}
    assert run("reranker", pairs, toys.reranker("bert"), folder, **options) == 0
    assert losses_of(folder) == losses_of(trained)


def refused(capsys, kind, pairs, model, output, code=2, **options):
    """What the command says when it refuses."""
    assert run(kind, pairs, model, output, **options) == code
    return capsys.readouterr().err.strip().splitlines()[-1]


def test_a_finished_output_is_refused(trained, pairs, toys, capsys):
    message = refused(capsys, "reranker", pairs, toys.reranker("bert"), trained)
    assert f"{trained}: holds a finished output; remove it first" in message


def test_a_folder_with_other_things_is_refused(pairs, toys, tmp_path, capsys):
    (tmp_path / "notes.txt").write_text("mine")
    message = refused(capsys, "reranker", pairs, toys.reranker("bert"), tmp_path)
    assert "exists already and is no unfinished run of csgen train; give another --output" in message


def test_a_uri_is_refused_as_output(pairs, toys, capsys):
    message = refused(capsys, "reranker", pairs, toys.reranker("bert"), "memory://out")
    assert "--output memory://out: must be a folder of a file system" in message


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"learning_rate": 0.5}, "--learning-rate was 0.001, is 0.5; set it back, remove the folder"),
        ({"languages": "de"}, "policy was"),
        ({"seed": 4}, "--seed was 0, is 4"),
    ],
)
def test_a_resume_with_other_options_is_refused(
    changes, message, trained, pairs, toys, sample_lexicon, tmp_path, capsys
):
    folder = unfinish(trained, tmp_path / "out")
    options = SWITCHED | {"lexicon": sample_lexicon} | changes
    assert message in refused(capsys, "reranker", pairs, toys.reranker("bert"), folder, **options)


def test_a_resume_with_other_pairs_is_refused(trained, toys, sample_lexicon, tmp_path, capsys):
    folder = unfinish(trained, tmp_path / "out")
    other = str(tmp_path / "other.parquet")
    write_pairs(sample_table(negatives=2, num_queries=29), other)
    options = SWITCHED | {"lexicon": sample_lexicon}
    assert "pairs was '" in refused(capsys, "reranker", other, toys.reranker("bert"), folder, **options)


def test_a_resume_from_other_first_weights_is_refused(trained, pairs, toys, sample_lexicon, tmp_path, capsys):
    folder = unfinish(trained, tmp_path / "out")
    shutil.copytree(toys.reranker("bert"), tmp_path / "model")
    weights = load_file(tmp_path / "model/model.safetensors")
    weights["classifier.bias"] += 1
    save_file(weights, tmp_path / "model/model.safetensors", metadata={"format": "pt"})
    options = SWITCHED | {"lexicon": sample_lexicon}
    message = refused(capsys, "reranker", pairs, str(tmp_path / "model"), folder, **options)
    assert "first weights was '" in message


def test_a_checkpoint_cut_short_is_refused(trained, pairs, toys, sample_lexicon, tmp_path, capsys):
    folder = unfinish(trained, tmp_path / "out")
    newest = max((folder / "checkpoints").iterdir()) / "model.pt"
    newest.write_bytes(newest.read_bytes()[:-100])
    options = SWITCHED | {"lexicon": sample_lexicon}
    message = refused(capsys, "reranker", pairs, toys.reranker("bert"), folder, **options)
    assert "checkpoint cut short" in message
    assert "to go on from step" in message


def test_a_model_that_took_short_texts_can_be_trained_on_longer_ones(toys, tmp_path):
    folder = Path(shutil.copytree(toys.reranker("bert"), tmp_path / "short"))
    limit_of_tokenizer(folder, 16)
    checkpoint = start_model("reranker", str(folder), seed=0)
    asked = RerankerConfig(max_tokens=48)
    assert (limit_tokens(asked, checkpoint), limit_tokens(RerankerConfig(), checkpoint)) == (48, 16)


def limit_of_tokenizer(folder, limit):
    path = folder / "tokenizer_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"model_max_length": limit}))


@pytest.mark.parametrize(
    ("kind", "options", "message"),
    [
        ("reranker", {"languages": "de"}, "--languages: nothing is switched without a lexicon; give --lexicon"),
        ("reranker", {"switch_preset": "ml-cs"}, "--switch-preset: nothing is switched without a lexicon"),
        ("reranker", {"align_scores": 1}, "--align-scores: there are no switched twins without a lexicon"),
        ("encoder", {"align_twins": 1}, "--align-twins: there are no switched twins without a lexicon"),
        ("reranker", {"select": "mean"}, "--select mean: there are no figures without --dev: give a collection"),
        ("reranker", {"dev_queries": 5}, "--dev-queries: nothing is measured without --dev"),
        ("reranker", {"patience": 5}, "--patience needs --select"),
        ("encoder", {"teach": 1}, "--teach, --teach-contrast: give --teacher, the encoder to follow"),
        ("encoder", {"teacher": "folder"}, "--teacher: nothing follows it"),
        ("reranker", {"max_tokens": 100}, "--max-tokens 100: .* takes 64 at most; give no more"),
        ("reranker", {"gpus": 2}, "--gpus: input should be less than or equal to 1, got 2"),
        ("reranker", {"gpus": 1}, "--gpus 1: torch sees no GPU here; give --gpus 0"),
        ("reranker", {"batch_size": 3}, "--batch-size must be a multiple of --micro-batch-size, got 3 and 2"),
        ("reranker", {"batch_size": 512, "micro_batch_size": 512}, "512"),
        ("reranker", {"workers": 3}, "--workers 3: a batch of 4 makes 2 chunks of 2, too few for so many; give fewer"),
        ("reranker", {"distil": 1}, "the pairs have no column score"),
        ("encoder", {"teacher_vectors": "folder"}, "--teacher-vectors: there is no teacher without --teacher"),
        ("base", {"dev": "folder"}, "unknown option --dev"),
        ("reranker", {"lexicon": "nowhere", "languages": "de"}, "nowhere"),
        ("reranker", {"lexicon": "nowhere"}, "--languages is required: the target languages"),
    ],
)
def test_options_that_do_not_fit_are_refused(kind, options, message, pairs, toys, tmp_path, capsys):
    if "gpus" in options and torch.cuda.is_available() and options["gpus"] == 1:
        pytest.skip("there is a GPU")
    model = toys.encoder("bert") if kind == "encoder" else toys.reranker("bert")
    said = refused(capsys, kind, pairs, model, tmp_path / "out", **options)
    assert re.search(message, said), said
    assert not (tmp_path / "out/model.safetensors").exists()


def test_without_an_option_inputs_are_cut_to_what_the_model_takes_and_counted(trained):
    manifest = Manifest.read(str(trained))
    assert manifest.config["max_tokens"] == 64
    assert manifest.counts["truncated"] == read_history(str(trained))[-1]["truncated"] > 0


def test_a_model_that_is_not_there_is_refused(pairs, tmp_path, capsys):
    message = refused(capsys, "reranker", pairs, "./nowhere/at/all", tmp_path / "out")
    assert "./nowhere/at/all: no such folder" in message


def changed_model(toys, folder, name, change):
    shutil.copytree(toys.reranker("bert"), folder)
    content = json.loads((folder / name).read_text())
    (folder / name).write_text(json.dumps(change(content)))
    return str(folder)


def test_an_unknown_architecture_is_refused(pairs, toys, tmp_path, capsys):
    model = changed_model(toys, tmp_path / "model", "config.json", lambda config: config | {"model_type": "abacus"})
    message = refused(capsys, "reranker", pairs, model, tmp_path / "out")
    assert "the architecture 'abacus' is unknown to transformers" in message


def test_a_tokenizer_that_does_not_fit_is_refused(pairs, toys, tmp_path, capsys):
    model = str(tmp_path / "model")
    shutil.copytree(toys.reranker("bert", vocab_size=300), model)
    message = refused(capsys, "reranker", pairs, model, tmp_path / "out")
    assert "the tokenizer knows 500 tokens, the model's embedding 300: they do not belong together" in message


def test_weights_cut_short_are_refused(pairs, toys, tmp_path, capsys):
    shutil.copytree(toys.reranker("bert"), tmp_path / "model")
    weights = tmp_path / "model/model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1000])
    message = refused(capsys, "reranker", pairs, str(tmp_path / "model"), tmp_path / "out")
    assert "the weights cannot be read; are they cut short?" in message


def test_a_loss_that_is_no_number_stops_the_run_and_names_the_pairs(pairs, toys, tmp_path, capsys):
    shutil.copytree(toys.reranker("bert"), tmp_path / "model")
    weights = load_file(tmp_path / "model/model.safetensors")
    weights["classifier.weight"][:] = float("nan")
    save_file(weights, tmp_path / "model/model.safetensors", metadata={"format": "pt"})
    message = refused(capsys, "reranker", pairs, str(tmp_path / "model"), tmp_path / "out", code=1)
    assert "step 1: loss nan" in message
    assert "at the pairs (query/passage) en-q" in message


def test_a_base_of_an_architecture_without_a_packed_path_is_refused(pairs, toys, tmp_path, capsys):
    message = refused(capsys, "base", pairs, toys.base("distilbert"), tmp_path / "out")
    assert "distilbert: masked language modelling knows BERT, RoBERTa (XLM-R) and ModernBERT alone" in message


def test_a_target_ratio_is_solved_for_its_probability(pairs, toys, sample_lexicon, tmp_path):
    options = {"lexicon": sample_lexicon, "languages": "de", "target_ratio": 0.1, "steps": 1}
    assert run("reranker", pairs, toys.reranker("bert"), tmp_path / "out", **options) == 0
    policy = Manifest.read(str(tmp_path / "out")).config["policy"]
    assert 0 < policy["query_probability"] < 1


def test_a_target_ratio_is_solved_on_the_pairs_of_a_collection(toys, sample_lexicon, tmp_path):
    collection = write_collection(tmp_path / "toy")
    options = {"lexicon": sample_lexicon, "languages": "de", "target_ratio": 0.1, "steps": 1, "split": "test"}
    assert run("reranker", collection, toys.reranker("bert"), tmp_path / "out", **options) == 0
    assert Manifest.read(str(tmp_path / "out")).counts["pairs"] == 4


def test_a_mean_of_checkpoints_is_measured_itself(pairs, toys, collection, tmp_path):
    options = {"dev": collection, "dev_split": "test", "average_checkpoints": 2, "checkpoint_every": 2}
    assert run("reranker", pairs, toys.reranker("bert"), tmp_path / "out", **options) == 0
    counts = Manifest.read(str(tmp_path / "out")).counts
    assert counts["weights_of"] == [4, 6]
    assert set(counts["figures"]) == {"MoIR", "CLIR", "MLIR", "mean"}


def test_the_papers_recipe_goes_with_the_papers_policies(pairs, toys, sample_lexicon, tmp_path):
    options = {"preset": "paper-2023", "switch_preset": "ml-cs", "languages": "de,it", "lexicon": sample_lexicon}
    own = {"steps": 2, "batch_size": 4, "micro_batch_size": 2, "max_tokens": 64, "precision": "fp32"}
    arguments = arguments_of("reranker", pairs, toys.reranker("bert"), tmp_path / "out", **options | own)
    assert main(arguments) == 0
    config = Manifest.read(str(tmp_path / "out")).config
    assert (config["pointwise"], config["negatives"], config["policy"]["tokens"]) == (1.0, 0, "treebank")


def test_a_policy_says_the_same_as_in_csgen_switch():
    given = {"languages": ("de",), "sides": "query", "protect": ("names",)}
    assert Switching.from_options(given | {"lexicon": "x"}).to_policy(7) == Policy.from_options(given | {"seed": 7})


def test_every_option_of_a_policy_is_one_of_training():
    assert set(Policy.model_fields) - set(Switching.model_fields) == {"preset", "seed"}


@pytest.mark.parametrize("kind", ["reranker", "encoder", "base"])
def test_no_option_is_meant_for_two_things(kind):
    from typing import get_type_hints

    from cluster.commands import train

    hints = get_type_hints(getattr(train, kind))
    models = [model for name, model in hints.items() if name != "return"]
    names = [name for model in models for name in model.model_fields]
    assert len(names) == len(set(names))


def test_pairs_are_required_by_their_name(capsys):
    assert main(["train", "reranker", "--model", "x", "--output", "y"]) == 2
    assert "PAIRS is required" in capsys.readouterr().err


def test_help_tells_the_options_of_recipe_policy_and_place(capsys):
    assert main(["train", "reranker", "--help"]) == 0
    shown = capsys.readouterr().out
    assert all(flag in shown for flag in ("--listwise", "--lexicon", "--dev-languages", "--workers", "--switch-preset"))


def test_options_are_known_without_torch():
    code = "import sys, cluster.commands.train; print('torch' in sys.modules)"
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "False"
