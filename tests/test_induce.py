"""Learning a lexicon from parallel texts and from vectors: what is read, what is written, and what is refused."""

import json
import lzma
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from cluster.cli import main
from csgen.errors import InputError
from csgen.induction.induce import InduceConfig, induce_lexicon
from csgen.induction.sources import read_collection_texts, read_line_texts, read_seed_pairs
from csgen.lexicon.build import LexiconBuildConfig, build_lexicon
from csgen.lexicon.entries import ENTRY_SCHEMA, read_entries, show_word
from csgen.lexicon.table import read_table
from csgen.manifest import Manifest
from csgen.sources.collection import Description, write_collection

WORDS = {
    "red": "rot", "green": "grün", "old": "alt", "small": "klein", "house": "Haus", "tree": "Baum", "dog": "Hund",
    "book": "Buch", "stands": "steht", "falls": "fällt", "sleeps": "schläft", "here": "hier", "there": "dort",
    "Debian": "Debian",
}  # fmt: skip
ENGLISH = list(WORDS)


def sentences(count, seed=0):
    """English sentences of known words and their German word by word."""
    draws = np.random.default_rng(seed)
    rows = [[ENGLISH[k] for k in draws.choice(len(ENGLISH), 6, replace=False)] for _ in range(count)]
    return [" ".join(row) for row in rows], [" ".join(WORDS[word] for word in row) for row in rows]


@pytest.fixture(scope="module")
def collection(tmp_path_factory):
    """200 texts of a train split in English and German, one that German lacks, and one of a test split."""
    english, german = sentences(200)
    ids = [f"d{k}" for k in range(200)]

    def documents(ids, texts):
        return pl.DataFrame({"_id": ids, "text": texts})

    queries = {
        "en": documents([*ids, "only", "t"], [*english, "moon shines", "secret"]),
        "de": documents([*ids, "t"], [*german, "geheim"]),
    }
    passages = {
        "en": documents([*ids, "t"], [*(text[::-1] for text in english), "secret words"]),
        "de": documents([*ids, "t"], [*(text[::-1] for text in german), "geheime Worte"]),
    }
    splits = {"train": [*ids, "only"], "test": ["t"]}
    passages["en"] = pl.concat([passages["en"], documents(["only"], ["moon"])])
    qrels = {
        name: pl.DataFrame({"query_id": given, "passage_id": given, "score": [1] * len(given)})
        for name, given in splits.items()
    }
    folder = str(tmp_path_factory.mktemp("data") / "toy")
    write_collection(
        folder,
        Description(name="Toy", languages=("en", "de"), licence="CC0; ask", source="x"),
        queries,
        passages,
        qrels,
    )
    return folder


def config(*inputs, output, **options):
    given = {"inputs": [str(path) for path in inputs], "source": "en", "target": "de", "output": str(output)}
    return InduceConfig.from_options(given | options)


@pytest.fixture(scope="module")
def lexicon(collection, tmp_path_factory):
    """Learnt from the collection with the defaults."""
    output = str(tmp_path_factory.mktemp("induced") / "lexicon")
    induce_lexicon(config(collection, output=output))
    return output


def test_texts_of_the_split_alone_are_read(collection):
    texts = read_collection_texts(collection, "en", "de", "train")
    assert len(texts.source) == 400
    assert not {"secret", "secret words"} & {*texts.source}
    assert read_collection_texts(collection, "en", "de", "test").source.to_list() == ["secret", "secret words"]


def test_no_word_of_another_split_enters_the_lexicon(lexicon):
    assert not {"secret", "words", "geheim", "geheime", "Worte"} & {
        word for name in ("source", "target") for text in read_entries(lexicon)[name] for word in text.split()
    }


def test_texts_that_one_language_lacks_are_left_out(collection):
    assert "moon" not in " ".join(read_collection_texts(collection, "en", "de", "train").source)


def test_texts_of_both_languages_are_joined_by_id(collection):
    texts = read_collection_texts(collection, "de", "en", "train")
    assert [WORDS[word] for word in texts.target[0].split()] == texts.source[0].split()


def test_a_title_stands_before_its_text(tmp_path):
    documents = pl.DataFrame({"_id": ["a", "b"], "title": ["Title", ""], "text": ["text", "bare"]})
    qrels = {"train": pl.DataFrame({"query_id": ["a", "b"], "passage_id": ["a", "b"], "score": [1, 1]})}
    both = {"en": documents, "de": documents}
    write_collection(
        str(tmp_path), Description(name="x", languages=("en", "de"), licence="CC0", source="x"), both, both, qrels
    )
    assert read_collection_texts(str(tmp_path), "en", "de", "train").source.to_list()[:2] == ["Title\ntext", "bare"]


def test_words_get_the_translations_that_they_stand_beside(lexicon):
    entries = read_entries(lexicon).filter(pl.col("rank") == 1)
    found = dict(entries.select("source", "target").rows())
    assert {word: found.get(word.lower(), found.get(word)) for word in ENGLISH if word != "Debian"} == {
        word: WORDS[word] for word in ENGLISH if word != "Debian"
    }


def test_the_folder_is_a_lexicon_like_any_other(lexicon, tmp_path):
    assert read_entries(lexicon).to_arrow().schema.names == ENTRY_SCHEMA.names
    assert read_table(lexicon, "en").languages == ("de",)
    assert show_word(lexicon, "HOUSE")["target"][0] == "Haus"
    build_lexicon(LexiconBuildConfig(sources=(f"lexicon:{lexicon}",), output=str(tmp_path / "again")))
    assert show_word(str(tmp_path / "again"), "house")["target"][0] == "Haus"


def test_entries_name_the_method_the_data_and_its_licence(lexicon):
    units = read_entries(lexicon).select("origin", "licence").unique().rows()
    assert units == [("induced:align:toy", "CC0, ask")]


def test_manifest_tells_inputs_by_hash_options_and_counts(lexicon, collection):
    manifest = Manifest.read(lexicon)
    assert sorted(manifest.inputs["toy"]["files"]) == [
        "de/passages.jsonl", "de/queries.jsonl", "en/passages.jsonl", "en/queries.jsonl", "qrels/train.tsv",
    ]  # fmt: skip
    assert manifest.config["method"] == "align"
    assert manifest.config["split"] == "train"
    assert manifest.counts["read"] == {"query pairs": 200, "passage pairs": 200}
    assert manifest.counts["entries"] == len(read_entries(lexicon))


def test_same_input_gives_the_same_bytes(collection, lexicon, tmp_path):
    induce_lexicon(config(collection, output=tmp_path / "again"))
    files = [file for file in Path(lexicon).rglob("*") if file.is_file()]
    assert files
    for file in files:
        assert file.read_bytes() == (tmp_path / "again" / file.relative_to(lexicon)).read_bytes()


def test_seed_stands_in_the_manifest(collection, tmp_path):
    induce_lexicon(config(collection, output=tmp_path / "out", seed=7))
    assert Manifest.read(str(tmp_path / "out")).config["seed"] == 7


def test_identical_pairs_stay_where_asked(collection, lexicon, tmp_path):
    induce_lexicon(config(collection, output=tmp_path / "kept", identical="keep"))
    assert show_word(str(tmp_path / "kept"), "debian")["target"][0] == "Debian"
    assert "debian" not in {source.lower() for source in read_entries(lexicon)["source"]}


def test_translations_are_cut_to_the_number_asked_for(collection, tmp_path):
    induce_lexicon(config(collection, output=tmp_path / "one", max_translations=1, threshold=0.0))
    entries = read_entries(str(tmp_path / "one"))
    assert entries["rank"].max() == 1
    assert entries["weight"].unique().to_list() == [1.0]


def test_phrases_are_no_longer_than_asked_for(collection, tmp_path):
    induce_lexicon(config(collection, output=tmp_path / "words", max_phrase_words=1))
    assert not read_entries(str(tmp_path / "words"))["source"].str.contains(" ").any()


def test_a_finished_output_is_not_overwritten(collection, lexicon):
    with pytest.raises(InputError, match="holds a finished output"):
        induce_lexicon(config(collection, output=lexicon))


def write_lines(tmp_path, english, german):
    paths = tmp_path / "x.en", tmp_path / "x.de.xz"
    paths[0].write_text("".join(f"{line}\n" for line in english))
    paths[1].write_bytes(lzma.compress("".join(f"{line}\n" for line in german).encode()))
    return paths


def test_line_parallel_files_give_the_same_words(tmp_path):
    induce_lexicon(config(*write_lines(tmp_path, *sentences(300)), output=tmp_path / "out", source_licence="CC BY 4.0"))
    assert show_word(str(tmp_path / "out"), "tree").select("target", "origin", "licence").row(0) == (
        "Baum",
        "induced:align:x.en+x.de.xz",
        "CC BY 4.0",
    )


def test_files_of_different_numbers_of_lines_are_refused_with_both(tmp_path):
    paths = write_lines(tmp_path, ["a", "b", "c"], ["a", "b"])
    with pytest.raises(InputError, match=r"x\.de\.xz: has 2 lines and .*x\.en 3"):
        read_line_texts(*map(str, paths))


def test_lines_blank_in_a_language_are_dropped_and_counted(tmp_path):
    paths = write_lines(tmp_path, ["a", " ", "c", ""], ["a", "b", "", ""])
    texts = read_line_texts(*map(str, paths))
    assert texts.source.to_list() == ["a"]
    assert texts.counts == {"line pairs": 4, "blank in a language": 3}


def test_lines_that_are_not_utf8_are_dropped_and_counted(tmp_path):
    (tmp_path / "a").write_bytes(b"good\nb\xffd\n")
    (tmp_path / "b").write_text("gut\nschlecht\n")
    texts = read_line_texts(str(tmp_path / "a"), str(tmp_path / "b"))
    assert texts.source.to_list() == ["good"]
    assert texts.counts["not UTF-8 in a language"] == 1


def test_a_truncated_file_is_refused_by_name(tmp_path):
    paths = write_lines(tmp_path, *sentences(50))
    paths[1].write_bytes(paths[1].read_bytes()[:-20])
    with pytest.raises(InputError, match=r"x\.de\.xz: "):
        read_line_texts(*map(str, paths))


def write_vectors(path, words, matrix):
    lines = [f"{len(words)} {matrix.shape[1]}"]
    lines += [" ".join([word, *(f"{x:.5f}" for x in row)]) for word, row in zip(words, matrix, strict=True)]
    path.write_text("\n".join(lines) + "\n")


@pytest.fixture
def vectors(tmp_path):
    """60 English words and their German ones, of which the vectors are the English ones rotated."""
    draws = np.random.default_rng(1)
    english = draws.normal(size=(60, 8))
    rotation, _ = np.linalg.qr(draws.normal(size=(8, 8)))
    write_vectors(tmp_path / "en.vec", [f"e{k}" for k in range(60)], english)
    write_vectors(tmp_path / "de.vec", [f"d{k}" for k in range(60)], english @ rotation)
    write_vectors(tmp_path / "same.vec", [f"d{k}" for k in range(60)], english)
    (tmp_path / "seed.tsv").write_text("".join(f"d{k}\te{k}\n" for k in range(30)))
    return tmp_path


def first_translations(folder):
    entries = read_entries(str(folder)).filter(pl.col("rank") == 1)
    return dict(entries.select("source", "target").rows())


@pytest.mark.parametrize("method", ["csls", "nearest"])
def test_aligned_vectors_are_told_by_their_ending(vectors, method):
    given = {} if method == "csls" else {"method": method}
    counts = induce_lexicon(config(vectors / "en.vec", vectors / "same.vec", output=vectors / "out", **given))
    assert first_translations(vectors / "out") == {f"e{k}": f"d{k}" for k in range(60)}
    assert counts["vectors"] == {language: {"words": 60, "skipped": {}} for language in ("en", "de")}
    assert read_entries(str(vectors / "out"))["origin"][0] == f"induced:{method}:en.vec+same.vec"


def test_a_seed_dictionary_of_either_direction_rotates_vectors(vectors):
    spec = f"tsv:de-en:{vectors}/seed.tsv"
    counts = induce_lexicon(
        config(vectors / "en.vec", vectors / "de.vec", output=vectors / "out", seed_dictionary=spec)
    )
    assert counts["seed pairs"] == {"given": 30, "found": 30}
    assert first_translations(vectors / "out") == {f"e{k}": f"d{k}" for k in range(60)}
    assert "seed.tsv" in Manifest.read(str(vectors / "out")).inputs["en.vec+de.vec"]["files"]


def test_only_the_first_words_of_vectors_are_read(vectors):
    counts = induce_lexicon(config(vectors / "en.vec", vectors / "same.vec", output=vectors / "out", max_words=40))
    assert counts["vectors"]["en"]["words"] == 40


def test_a_broken_line_of_vectors_is_refused_or_skipped_as_asked(vectors):
    lines = (vectors / "en.vec").read_text().splitlines()
    (vectors / "en.vec").write_text("\n".join([*lines[:5], "e4 1.0 2.0", *lines[6:]]) + "\n")
    with pytest.raises(InputError, match=r"en\.vec:6: "):
        induce_lexicon(config(vectors / "en.vec", vectors / "same.vec", output=vectors / "out"))
    counts = induce_lexicon(config(vectors / "en.vec", vectors / "same.vec", output=vectors / "out", on_error="skip"))
    assert counts["vectors"]["en"]["words"] == 59
    assert list(counts["vectors"]["en"]["skipped"].values()) == [1]


def test_a_seed_dictionary_of_other_languages_is_refused(vectors):
    with pytest.raises(InputError, match="expected KIND:en-de:PATH or KIND:de-en:PATH, got tsv:en-fr:"):
        read_seed_pairs(f"tsv:en-fr:{vectors}/seed.tsv", "en", "de")


@pytest.mark.parametrize(
    ("inputs", "options", "message"),
    [
        (("a.vec", "b.vec"), {"max_phrase_words": 2}, "--max-phrase-words says nothing to the method csls"),
        (("a.txt", "b.txt"), {"max_words": 5}, "--max-words says nothing to the method align"),
        (("a", "b"), {"method": "nearest", "threshold": 0.5}, "--threshold says nothing to the method nearest"),
        (("a", "b"), {"threshold": 1.5}, "--threshold is a probability for texts, from 0 to 1, got 1.5"),
        (("a",), {"method": "csls"}, "csls needs two files of word vectors, got a alone"),
        (("a", "b"), {"target": "eng"}, "--source and --target must be two languages, both are en"),
        (("a.vec", "b.vec"), {"seed_dictionary": "x"}, "expected KIND:SRC-TGT:PATH"),
        (("a", "b"), {"split": "dev"}, "--split is for a collection, and two files are given"),
        (("a", "b"), {"method": "eflomal", "seed": 2}, "--seed says nothing to the method eflomal"),
        (("a",), {"source_licence": "CC0"}, "--source-licence is for two files"),
        (("a", "b", "c"), {}, "--inputs"),
    ],
)
def test_options_that_do_not_fit_are_refused(inputs, options, message):
    with pytest.raises(InputError) as caught:
        config(*inputs, output="out", **options)
    assert message in str(caught.value)


def test_a_folder_without_a_collection_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"not a parallel collection \(no collection\.json\); give that, or two files"):
        induce_lexicon(config(tmp_path, output=tmp_path / "out"))


def test_languages_that_share_no_text_are_refused(tmp_path):
    documents = {language: pl.DataFrame({"_id": [language], "text": ["x"]}) for language in ("en", "de")}
    qrels = {"train": pl.DataFrame({"query_id": ["en", "de"], "passage_id": ["en", "de"], "score": [1, 1]})}
    description = Description(name="x", languages=("en", "de"), licence="CC0", source="x")
    write_collection(str(tmp_path), description, documents, documents, qrels)
    with pytest.raises(InputError, match="no text of the split 'train' stands in both en and de"):
        induce_lexicon(config(tmp_path, output=tmp_path / "out"))


def test_command_prints_its_counts_as_json(collection, tmp_path, capsys):
    arguments = ["lexicon", "induce", collection, "--source", "en", "--target", "de", "--split", "train"]
    assert main([*arguments, "--output", str(tmp_path / "out"), "--format", "json", "--quiet"]) == 0
    summary = json.loads(capsys.readouterr().out)
    assert summary["read"] == {"query pairs": 200, "passage pairs": 200}
    assert summary["tokens"]["en"] > 0
    assert summary["languages"]["en-de"]["words"] > 10
    assert summary["seconds"] > 0


def test_command_pivot_joins_lexicons(lexicon, tmp_path, capsys):
    (tmp_path / "en-it.tsv").write_text("house\tcasa\n")
    italian = str(tmp_path / "en-it")
    build_lexicon(LexiconBuildConfig(sources=(f"tsv:en-it:{tmp_path}/en-it.tsv",), output=italian))
    languages = ["--source", "de", "--target", "it", "--through", "en"]
    assert main(["lexicon", "pivot", lexicon, italian, *languages, "--output", str(tmp_path / "out")]) == 0
    assert "de-it: entries" in capsys.readouterr().out
    assert show_word(str(tmp_path / "out"), "haus")["target"].to_list() == ["casa"]


def test_eflomal_learns_the_same_words(collection, tmp_path):
    pytest.importorskip("eflomal")
    induce_lexicon(config(collection, output=tmp_path / "out", method="eflomal"))
    found = first_translations(tmp_path / "out")
    assert {word: found.get(word) for word in ("house", "tree", "dog")} == {
        "house": "Haus",
        "tree": "Baum",
        "dog": "Hund",
    }
