"""Translate-test: texts put into English word by word before a model scores them."""

import json

import polars as pl
import pytest
import yaml
from toy_collection import write_collection
from toy_scorer import TotalLengths

from cluster.cli import main
from csgen.errors import InputError
from csgen.lexicon.build import LexiconBuildConfig, build_lexicon
from csgen.lexicon.turn import TurnConfig, turn_lexicon
from csgen.sources.sample import SAMPLE_FOLDER
from eval.benchmark import Benchmark
from eval.pool import ScorePool
from eval.settings import multilingual_cell
from eval.systems import PairReranker, PooledScorer
from eval.trec import read_run
from eval.variants.translation import Translator

pytest_plugins = ["toy_models"]


@pytest.fixture(scope="module")
def into_english(sample_lexicon, tmp_path_factory):
    """The carried lexicon turned: from ar, de, fr, it, ja and ru into English."""
    folder = str(tmp_path_factory.mktemp("lexicon") / "turned")
    turn_lexicon(TurnConfig(lexicon=sample_lexicon, output=folder))
    return folder


@pytest.fixture(scope="module")
def words_only(tmp_path_factory):
    """From de into English: a few words, of which one has two translations."""
    folder = tmp_path_factory.mktemp("words")
    (folder / "de.tsv").write_text("Haus\thouse\t1\nHaus\thome\t3\nrote\tred\ndas\tthe\n")
    output = str(folder / "lexicon")
    build_lexicon(LexiconBuildConfig(sources=(f"tsv:de-en:{folder}/de.tsv",), output=output))
    return output


def translate(lexicon, *rows):
    texts, languages = zip(*rows, strict=True)
    return Translator(lexicon).translate(pl.Series(texts), pl.Series(languages)).to_list()


def test_every_known_word_gets_its_best_translation_and_the_others_stay(words_only):
    assert translate(words_only, ("Das rote Haus brennt.", "de")) == ["The red Home brennt."]


def test_english_and_languages_without_translations_stay(words_only):
    rows = [("das Haus", "en"), ("das Haus", "de"), ("das Haus", "nl")]
    assert translate(words_only, *rows) == ["das Haus", "the Home", "das Haus"]
    assert Translator(words_only).list_untranslated(["nl", "de", "en", "fi"]) == ["fi", "nl"]


def test_a_text_becomes_the_same_wherever_it_stands(into_english):
    lines = [
        (language, (SAMPLE_FOLDER / language / "queries.jsonl").read_text().splitlines()[:9])
        for language in ("ar", "de", "fr", "it", "ru")
    ]
    rows = [(json.loads(line)["text"], language) for language, texts in lines for line in texts]
    whole = translate(into_english, *rows)
    assert whole == [translate(into_english, row)[0] for row in rows]
    assert whole == translate(into_english, *rows[::-1])[::-1]
    assert sum(text != new for (text, _), new in zip(rows, whole, strict=True)) > len(rows) / 2


def test_no_texts_are_no_texts(words_only):
    none = pl.Series([], dtype=pl.String)
    assert Translator(words_only).translate(none, none).equals(none)


def test_a_lexicon_out_of_english_is_refused_with_the_way_out(sample_lexicon):
    with pytest.raises(InputError, match="has no translations into en; csgen lexicon turn makes them"):
        Translator(sample_lexicon)


def test_a_model_sees_both_sides_of_a_pair_in_english(words_only, tmp_path):
    benchmark = Benchmark("toy", write_collection(tmp_path / "toy"), "test")
    reading = benchmark.read(multilingual_cell("xx-all", ("de", "en"), "2", "en", seed=1))
    scorer = TotalLengths()
    reranker = PairReranker(
        PooledScorer(scorer, "lengths", ScorePool(str(tmp_path / "pool"), 1 << 30)), Translator(words_only).translate
    )
    found = pl.DataFrame({"query_id": "q0", "passage_id": ["en/p0", "de/p0"], "score": 1.0})
    query = {"de": "Home", "en": "house"}[reading.queries.filter(query_id="q0")["language"].item()]
    run = reranker.rerank(reading, found)
    assert sorted(scorer.asked) == [(query, "the red Home"), (query, "the red house")]
    assert run["score"].to_list() == [len(query) + 13.0, len(query) + 12.0]


@pytest.fixture
def evaluate(toys, tmp_path, capsys):
    """Runs an experiment of BM25 and models on the carried sample; gives exit code, standard output and error."""

    def run(*systems):
        content = {
            "name": "translate-test",
            "benchmarks": [{"name": "sample", "path": str(SAMPLE_FOLDER), "queries": 5}],
            "settings": {"moir": ["en", "ja"], "clir": ["de-en"]},
            "systems": [{"name": "BM25", "kind": "bm25"}, *systems],
            "candidates": {"system": "BM25", "pivot": "en"},
        }
        (tmp_path / "x.yaml").write_text(yaml.safe_dump(content))
        code = main(["evaluate", str(tmp_path / "x.yaml"), "--output", str(tmp_path / "out"), "--format", "json"])
        return code, *capsys.readouterr()

    return run


def scores_of(folder, system, cell):
    return read_run(str(folder / f"out/runs/sample/{system}.seed1/{cell}.run.gz")).sort("query_id", "passage_id")


@pytest.mark.parametrize("kind", ["reranker", "encoder"])
def test_models_can_score_translations(evaluate, toys, into_english, tmp_path, kind):
    model = {"kind": kind, "model": getattr(toys, kind)("bert")}
    assert evaluate(model | {"name": "plain"}, model | {"name": "translated", "translate": into_english})[0] == 0
    for cell, same in (("en-en", True), ("de-en", False), ("ja-ja", False)):
        plain, translated = (scores_of(tmp_path, system, cell) for system in ("plain", "translated"))
        assert plain.equals(translated) == same


def test_another_lexicon_makes_the_runs_anew_and_what_it_does_not_reach_is_told_once(
    evaluate, toys, into_english, words_only, tmp_path
):
    model = {"name": "model", "kind": "encoder", "model": toys.encoder("bert")}
    assert json.loads(evaluate(model | {"translate": into_english})[1])["new_runs"] == 6
    assert json.loads(evaluate(model | {"translate": into_english})[1])["new_runs"] == 0
    code, output, errors = evaluate(model | {"translate": words_only})
    assert (code, json.loads(output)["new_runs"]) == (0, 3)
    told = f"model: {words_only} does not lead from ja into English: their texts stay as they are\n"
    assert errors.count(told) == 1


def test_a_lexicon_out_of_english_is_refused_with_the_experiments_line(evaluate, toys, sample_lexicon, tmp_path):
    model = {"name": "model", "kind": "encoder", "model": toys.encoder("bert"), "translate": sample_lexicon}
    code, _, errors = evaluate(model)
    line = (tmp_path / "x.yaml").read_text().splitlines().index(f"  translate: {sample_lexicon}") + 1
    assert (code, f"csgen: {tmp_path}/x.yaml:{line}: translate: {sample_lexicon}" in errors) == (2, True)
