"""`csgen train --gaps`: weights by language from a report that `csgen evaluate` wrote."""

import json
import logging
from pathlib import Path

import pyarrow as pa
import pytest
import yaml
from toy_results import frame, small_results
from toy_training import sample_table

from cluster.cli import main
from cluster.training.config import RerankerConfig
from cluster.training_gaps import find_languages, weigh_by_gaps
from cluster.training_options import Dev, Gaps, Place, Switching, Teacher, TrainingOptions
from csgen.errors import InputError
from csgen.manifest import Manifest
from csgen.sources.parquet import write_pairs
from csgen.sources.sample import SAMPLE_FOLDER

pytest_plugins = ["toy_models"]

CELLS = {"de-en": 0.4, "it-en": 0.2, "en-de": 0.6, "en-en": 0.9}
SETTINGS = {"en-en": "MoIR"}


def report(folder, figures=CELLS, **fields):
    """The folder of a report with one system, BM25, and RR@10 by cell."""
    folder.mkdir(exist_ok=True)
    places = [("toy", SETTINGS.get(cell, "CLIR"), cell, value) for cell, value in figures.items()]
    given = {
        "systems": ("BM25",),
        "cells": frame("cells", [(b, s, c, *c.split("-"), 40, 900, 0) for b, s, c, _ in places]),
        "values": frame("values", [(b, s, c, "BM25", "RR@10", v, None, None, 40, 1) for b, s, c, v in places]),
    }
    small_results(**given | fields).write(str(folder))
    return str(folder)


def write_sample(path, languages=(("en", "en"),)):
    """Pairs of the sample, all of them once in each of these languages of query and passage."""
    table = sample_table(negatives=2, num_queries=10)
    parts = [
        table.set_column(5, "query_language", pa.array([query] * len(table))).set_column(
            6, "passage_language", pa.array([passage] * len(table))
        )
        for query, passage in languages
    ]
    write_pairs(pa.concat_tables(parts), str(path))
    return str(path)


@pytest.fixture
def options(tmp_path):
    """Makes options of a run whose pairs are English unless others are named."""

    def make(gaps, *pair_languages, switching=None, recipe=None):
        languages = pair_languages or (("en", "en"),)
        pairs = write_sample(tmp_path / "pairs.parquet", languages)
        place = Place.from_options({"pairs": pairs, "model": "m", "output": str(tmp_path / "out")})
        given = {"lexicon": "lexicon", "languages": ("de", "it")} if switching is None else switching
        kinds = Switching.from_options(given), place, Dev.from_options({}), Teacher.from_options({})
        return TrainingOptions("reranker", RerankerConfig.from_options(recipe or {}), *kinds, Gaps.from_options(gaps))

    return make


def test_a_language_weighs_by_the_mean_of_the_clir_cells_that_it_takes_part_in(options, tmp_path):
    found = weigh_by_gaps(options({"gaps": report(tmp_path / "report")}))
    assert found.switching.language_weights == {"de": 1.0, "it": 2.5}  # 0.5 and 0.2
    assert found.switching.to_policy(0).language_weights == {"de": 1.0, "it": 2.5}


def test_the_file_itself_does_as_well_as_its_folder(options, tmp_path):
    path = f"{report(tmp_path / 'report')}/results.json"
    assert weigh_by_gaps(options({"gaps": path})).switching.language_weights == {"de": 1.0, "it": 2.5}


def test_pairs_of_two_languages_weigh_by_their_own_cells(options, tmp_path):
    pairs = [("en", "en"), ("de", "en"), ("it", "en"), ("en", "de")]
    found = weigh_by_gaps(options({"gaps": report(tmp_path / "report")}, *pairs, switching={}))
    assert found.recipe.example_weights == {"de-en": 1.5, "en-de": 1.0, "it-en": 3.0}


def test_weights_that_are_given_win(options, tmp_path):
    given = {"lexicon": "lexicon", "languages": ("de", "it"), "language_weights": {"it": 9.0}}
    gaps, recipe = {"gaps": report(tmp_path / "report")}, {"example_weights": {"de-en": 0.5}}
    found = weigh_by_gaps(options(gaps, ("de", "en"), ("it", "en"), switching=given, recipe=recipe))
    assert found.switching.language_weights == {"de": 1.0, "it": 9.0}
    assert found.recipe.example_weights == {"de-en": 0.5, "it-en": 2.0}


def test_a_language_that_the_report_lacks_weighs_1_and_is_told(options, tmp_path, caplog):
    caplog.set_level(logging.INFO, logger="cluster")
    given = {"lexicon": "lexicon", "languages": ("de", "it", "fr")}
    found = weigh_by_gaps(options({"gaps": report(tmp_path / "report")}, switching=given))
    assert found.switching.language_weights == {"de": 1.0, "it": 2.5}
    assert "no CLIR figures of fr: weight 1" in caplog.text


def test_without_gaps_nothing_is_weighed(options):
    given = options({})
    assert weigh_by_gaps(given) is given


@pytest.mark.parametrize(
    ("gaps", "message"),
    [
        ({"gaps_system": "ours"}, "--gaps-system ours: .*results.json has none such; it has BM25"),
        ({"gaps_measure": "AP"}, "--gaps-measure AP: .*results.json has none such; it has RR@10"),
    ],
)
def test_what_the_report_does_not_have_is_refused(gaps, message, options, tmp_path):
    with pytest.raises(InputError, match=message):
        weigh_by_gaps(options({"gaps": report(tmp_path / "report")} | gaps))


def test_a_report_of_several_systems_asks_for_one(options, tmp_path):
    gaps = {"gaps": report(tmp_path / "report", systems=("BM25", "ours"))}
    with pytest.raises(InputError, match=r"holds several systems; give --gaps-system, one of BM25, ours"):
        weigh_by_gaps(options(gaps))


@pytest.mark.parametrize("figures", [{"en-en": 0.5}, {"de-en": None}])
def test_a_report_without_clir_figures_is_refused(figures, options, tmp_path):
    with pytest.raises(InputError, match=r"no CLIR cell has RR@10 of BM25; run csgen evaluate with the setting clir"):
        weigh_by_gaps(options({"gaps": report(tmp_path / "report", figures)}))


def test_a_report_of_other_languages_is_refused(options, tmp_path):
    gaps = {"gaps": report(tmp_path / "report", {"fr-en": 0.5})}
    with pytest.raises(InputError, match=r"neither --languages nor pairs .* its languages are en, fr"):
        weigh_by_gaps(options(gaps))


def test_a_report_that_is_not_there_is_refused(options, tmp_path):
    with pytest.raises(InputError, match=r"nowhere/results.json: no such file"):
        weigh_by_gaps(options({"gaps": str(tmp_path / "nowhere")}))


def test_a_system_without_a_report_is_refused():
    with pytest.raises(InputError, match="--gaps-system: nothing is weighed without --gaps: give a report"):
        Gaps.from_options({"gaps_system": "BM25"})


@pytest.mark.parametrize("ending", ["parquet", "tsv"])
def test_the_languages_of_pairs_are_found_in_any_form(ending, tmp_path):
    path = write_sample(tmp_path / "pairs.parquet", [("en", "en"), ("de", "en")])
    if ending == "tsv":
        rows = [["query_id", "query", "passage_id", "passage", "label", "query_language", "passage_language"]]
        rows += [["q", "a", "p", "b", "1", *languages] for languages in (("en", "en"), ("de", "en"), ("en", "en"))]
        path = str(tmp_path / "pairs.tsv")
        Path(path).write_text("".join("\t".join(row) + "\n" for row in rows))
    place = Place.from_options({"pairs": path, "model": "m", "output": "o"})
    assert find_languages(place, "en") == [("de", "en"), ("en", "en")]


@pytest.fixture(scope="module")
def evaluated(sample_lexicon, tmp_path_factory):
    """The output of `csgen evaluate` on the carried sample."""
    folder = tmp_path_factory.mktemp("evaluated")
    experiment = {
        "name": "sample",
        "benchmarks": [{"name": "sample", "path": str(SAMPLE_FOLDER)}],
        "settings": {"moir": ["en"], "clir": ["de-en", "it-en", "en-it"]},
        "systems": [
            {"name": "BM25", "kind": "bm25"},
            {"name": "translated", "kind": "translated-bm25", "lexicon": sample_lexicon},
        ],
    }
    (folder / "experiment.yaml").write_text(yaml.safe_dump(experiment))
    assert main(["evaluate", str(folder / "experiment.yaml"), "--output", str(folder / "out"), "--quiet"]) == 0
    return folder / "out"


def train(pairs, model, output, gaps, lexicon, *more):
    flags = ["--steps=2", "--batch-size=4", "--micro-batch-size=2", "--negatives=2", "--languages=de,it", "--quiet"]
    given = [*flags, "--lexicon", lexicon, "--gaps", str(gaps), "--gaps-system", "translated", *more]
    return main(["train", "reranker", pairs, "--model", model, "--output", str(output), *given])


def test_a_run_tells_the_weights_in_its_manifest(evaluated, toys, sample_lexicon, tmp_path):
    pairs = write_sample(tmp_path / "pairs.parquet", [("en", "en"), ("it", "en")])
    assert train(pairs, toys.reranker("bert"), tmp_path / "out", evaluated, sample_lexicon) == 0
    values = json.loads((evaluated / "results.json").read_text())["values"]
    figures = {
        row["cell"]: row["value"] for row in values if (row["system"], row["measure"]) == ("translated", "RR@10")
    }
    it, de = (figures["it-en"] + figures["en-it"]) / 2, figures["de-en"]
    manifest = Manifest.read(str(tmp_path / "out"))
    weights = manifest.config["policy"]["language_weights"]
    assert weights == {"de": round(max(it, de) / de, 4), "it": round(max(it, de) / it, 4)}
    assert weights["de"] != weights["it"]
    assert manifest.config["example_weights"] == {"it-en": 1.0}
    assert manifest.config["gaps"] == {"gaps": str(evaluated), "gaps_system": "translated", "gaps_measure": "RR@10"}
    assert list(manifest.inputs["gaps"]) == [f"{evaluated}/results.json"]


def test_a_resume_with_a_report_that_has_changed_is_refused(toys, sample_lexicon, tmp_path, capsys):
    pairs, model = write_sample(tmp_path / "pairs.parquet"), toys.reranker("bert")
    gaps = report(tmp_path / "report")
    flags = ["--gaps-system", "BM25"]
    assert train(pairs, model, tmp_path / "out", gaps, sample_lexicon, *flags) == 0
    (tmp_path / "out/manifest.json").unlink()
    report(tmp_path / "report", CELLS | {"it-en": 0.25})
    assert train(pairs, model, tmp_path / "out", gaps, sample_lexicon, *flags) == 2
    message = capsys.readouterr().err
    assert "weights by --gaps was {'examples': {}, 'languages': {'de': 1.0, 'it': 2.5}}, is" in message
