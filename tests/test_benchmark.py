"""Benchmarks and what their cells hold."""

from itertools import pairwise

import polars as pl
import pytest
from toy_collection import write_collection

from csgen.errors import InputError
from eval.benchmark import Benchmark
from eval.settings import bilingual_cell, multilingual_cell

LANGUAGES = ("de", "en", "it")


@pytest.fixture
def benchmark(tmp_path):
    return Benchmark("toy", write_collection(tmp_path / "toy"), "test")


def test_a_cell_has_its_languages_texts_and_the_judgements(benchmark):
    reading = benchmark.read(bilingual_cell("de", "it"))
    assert reading.queries.row(0) == ("q0", "de", "Haus")
    assert reading.passage_texts(pl.Series(["p1"])).rows() == [("p1", "it", "un giardino verde")]
    assert reading.qrels.rows() == [(f"q{n}", f"p{n}", 1) for n in range(4)]
    assert reading.left_out == 0


def test_queries_without_a_relevant_passage_in_the_language_are_left_out_and_counted(tmp_path):
    folder = write_collection(tmp_path / "toy", lacking=[("it", 1)])
    reading = Benchmark("toy", folder, "test").read(bilingual_cell("de", "it"))
    assert reading.queries["query_id"].to_list() == ["q0", "q2", "q3"]
    assert (reading.left_out, len(reading.passages)) == (1, 3)


def test_a_query_that_is_not_judged_is_no_query(tmp_path):
    folder = write_collection(tmp_path / "toy", qrels=[("q2", "p2", 1), ("q2", "p3", 2)])
    reading = Benchmark("toy", folder, "test").read(bilingual_cell("en", "en"))
    assert (reading.queries["query_id"].to_list(), reading.left_out) == (["q2"], 0)


def test_each_id_of_an_mlir_cell_has_one_language(benchmark):
    reading = benchmark.read(multilingual_cell("xx-xx", LANGUAGES, "3", "en", seed=1))
    for frame, name in ((reading.queries, "query_id"), (reading.passages, "passage_id")):
        assert frame[name].sort().to_list() == [f"{name[0]}{n}" for n in range(4)]
        assert set(frame["language"]) <= {*LANGUAGES}


def test_an_mlir_cell_reads_the_text_of_the_drawn_language(benchmark):
    reading = benchmark.read(multilingual_cell("en-xx", LANGUAGES, "3", "en", seed=1))
    drawn = dict(reading.passages.select("passage_id", "language").iter_rows())
    for passage_id, language, text in reading.passage_texts(reading.passages["passage_id"]).iter_rows():
        assert drawn[passage_id] == language
        own = benchmark.passages(language).filter(id=passage_id)["text"].item()
        assert text == own


def test_a_pooled_cell_has_all_answers_of_all_languages(benchmark):
    reading = benchmark.read(multilingual_cell("en-all", LANGUAGES, "3", "en", seed=1))
    assert reading.passages["passage_id"].sort().to_list() == sorted(f"{x}/p{n}" for x in LANGUAGES for n in range(4))
    assert reading.qrels.filter(query_id="q0")["passage_id"].to_list() == ["de/p0", "en/p0", "it/p0"]


def test_a_title_stands_before_its_passage(tmp_path):
    folder = write_collection(tmp_path / "toy")
    (tmp_path / "toy/en/passages.jsonl").write_text(
        '{"_id": "p0", "title": "T", "text": "x"}\n{"_id": "p1", "text": "y"}\n'
    )
    assert Benchmark("toy", folder, "test").passages("en").rows() == [("p0", "T x"), ("p1", "y")]


def test_a_query_judged_irrelevant_only_is_refused_with_its_line(tmp_path):
    folder = write_collection(tmp_path / "toy", qrels=[("q0", "p0", 1), ("q1", "p1", 0)])
    with pytest.raises(InputError, match=r"qrels/test\.tsv:3: .*q1"):
        Benchmark("toy", folder, "test").read(bilingual_cell("en", "en"))


def test_a_cell_without_any_answer_is_refused(tmp_path):
    folder = write_collection(tmp_path / "toy", lacking=[("it", n) for n in (0, 1)], qrels=[("q0", "p0", 1)])
    with pytest.raises(
        InputError, match="de-it: no query of the split 'test' has a relevant passage in these languages"
    ):
        Benchmark("toy", folder, "test").read(bilingual_cell("de", "it"))


def test_queries_without_any_relevant_passage_can_be_left_out_on_demand(tmp_path):
    folder = write_collection(tmp_path / "toy", qrels=[("q0", "p0", 1), ("q1", "p1", 0)])
    reading = Benchmark("toy", folder, "test", "leave-out").read(bilingual_cell("en", "en"))
    assert reading.queries["query_id"].to_list() == ["q0"]


# Queries that are drawn.


def draw(folder, number, languages=()):
    return Benchmark("toy", str(folder), "test", "refuse", number, languages).drawn.to_list()


def test_more_queries_hold_the_fewer_ones_of_the_same_collection(tmp_path):
    folder = write_collection(tmp_path / "toy")
    drawn = [set(draw(folder, number)) for number in (1, 2, 3, 4, 9)]
    assert [len(ids) for ids in drawn] == [1, 2, 3, 4, 4]
    assert all(fewer <= more for fewer, more in pairwise(drawn))


def test_queries_that_stand_in_the_most_languages_are_drawn_first(tmp_path):
    folder = write_collection(tmp_path / "toy", lacking=[("it", 1)])
    queries = tmp_path / "toy/de/queries.jsonl"
    queries.write_text("".join(line for line in queries.read_text().splitlines(keepends=True) if "q2" not in line))
    assert draw(folder, 2) == ["q0", "q3"]
    assert draw(folder, 3, ("en", "it")) == ["q0", "q2", "q3"]
    assert draw(folder, 4) == draw(folder, 4, ("en",)) == ["q0", "q1", "q2", "q3"]


def test_a_query_with_another_answer_there_is_drawn(tmp_path):
    qrels = [("q0", "p0", 1), ("q1", "p1", 1), ("q1", "p2", 1), ("q2", "p1", 1), ("q2", "p2", 0)]
    assert draw(write_collection(tmp_path / "toy", lacking=[("it", 1)], qrels=qrels), 2) == ["q0", "q1"]


def test_every_cell_has_the_drawn_queries_and_leaves_none_out(tmp_path):
    folder = write_collection(tmp_path / "toy", lacking=[("it", 1)])
    benchmark = Benchmark("toy", folder, "test", "refuse", 2)
    cells = [
        bilingual_cell("de", "it"),
        bilingual_cell("en", "en"),
        multilingual_cell("xx-all", LANGUAGES, "3", "en", 1),
    ]
    for reading in map(benchmark.read, cells):
        assert reading.queries["query_id"].to_list() == benchmark.drawn.to_list()
        assert set(reading.qrels["query_id"]) == set(benchmark.drawn)
        assert reading.left_out == 0


def test_a_drawn_query_has_in_an_mlir_cell_the_language_that_it_has_among_all(tmp_path):
    folder = write_collection(tmp_path / "toy")
    cell = multilingual_cell("xx-xx", LANGUAGES, "3", "en", seed=1)
    few, all_of_them = (Benchmark("toy", folder, "test", "refuse", n).read(cell).queries for n in (2, None))
    assert few.equals(all_of_them.join(few, on="query_id", how="semi", maintain_order="left"))
