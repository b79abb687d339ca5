"""Parallel collections: written, read and checked."""

import json
from pathlib import Path

import polars as pl
import pytest

from csgen.errors import InputError
from csgen.sources.collection import (
    Collection,
    Description,
    check_collection,
    collection_pairs,
    read_collection,
    write_collection,
)

DATA = Path(__file__).parents[1].parent / "shared" / "data"
DESCRIPTION = Description(name="toy", languages=("en", "de"), licence="CC0", source="hand")
QUERIES = {
    "en": pl.DataFrame({"_id": ["q1", "q2"], "text": ["one?", "two?"]}),
    "de": pl.DataFrame({"_id": ["q2"], "text": ["zwei?"]}),
}
PASSAGES = {
    "en": pl.DataFrame({"_id": ["p1", "p2"], "title": ["First", ""], "text": ["one", "two"]}),
    "de": pl.DataFrame({"_id": ["p2", "p1"], "text": ["zwei", "eins"]}),
}
QRELS = pl.DataFrame({"query_id": ["q2", "q1", "q1"], "passage_id": ["p2", "p1", "p2"], "score": [1, 2, 0]})


def write(folder: Path, qrels: pl.DataFrame = QRELS) -> Collection:
    write_collection(str(folder), DESCRIPTION, QUERIES, PASSAGES, {"train": qrels})
    return read_collection(str(folder))


def test_a_written_collection_reads_back(tmp_path: Path) -> None:
    collection = write(tmp_path)
    assert (collection.name, collection.languages, collection.licence) == ("toy", ("en", "de"), "CC0")
    assert collection.splits == ("train",)
    assert collection.queries("de").equals(QUERIES["de"])
    assert collection.passages("en").select("_id", "title", "text").equals(PASSAGES["en"])
    assert collection.qrels("train").rows() == QRELS.rows()


def test_a_collection_read_anew_gives_the_same_again(tmp_path: Path) -> None:
    collection = write(tmp_path)
    assert collection.passages("en").equals(collection.passages("en"))


def test_pairs_are_the_positives_in_the_order_of_the_qrels(tmp_path: Path) -> None:
    pairs = collection_pairs(write(tmp_path), "en", "en", "train")
    assert [tuple(row.values()) for row in pairs.to_pylist()] == [
        ("q2", "two?", "p2", "two", 1, "en", "en"),
        ("q1", "one?", "p1", "First one", 1, "en", "en"),
    ]


def test_pairs_across_languages_are_those_that_both_have(tmp_path: Path) -> None:
    pairs = collection_pairs(write(tmp_path), "de", "en", "train")
    assert [row["query"] for row in pairs.to_pylist()] == ["zwei?"]


def test_files_are_plain_json_lines_and_tsv(tmp_path: Path) -> None:
    write(tmp_path)
    lines = (tmp_path / "en" / "passages.jsonl").read_text().splitlines()
    assert json.loads(lines[0]) == {"_id": "p1", "title": "First", "text": "one"}
    assert (tmp_path / "qrels" / "train.tsv").read_text().splitlines()[:2] == [
        "query-id\tcorpus-id\tscore",
        "q2\tp2\t1",
    ]


def test_an_id_given_twice_is_refused(tmp_path: Path) -> None:
    collection = write(tmp_path)
    path = tmp_path / "de" / "passages.jsonl"
    path.write_text(path.read_text() + path.read_text().splitlines()[0])
    with pytest.raises(InputError, match=r"de/passages\.jsonl: the _id 'p2' stands more than once"):
        check_collection(collection)


def test_qrels_that_name_an_unknown_id_are_refused(tmp_path: Path) -> None:
    collection = write(tmp_path, QRELS.with_columns(passage_id=pl.Series(["p2", "p9", "p1"])))
    with pytest.raises(InputError, match=r"train\.tsv: names the passage 'p9', which is in none of en, de"):
        collection.qrels("train")


def test_a_line_without_text_is_refused_with_its_number(tmp_path: Path) -> None:
    collection = write(tmp_path)
    (tmp_path / "en" / "queries.jsonl").write_text('{"_id": "q1", "text": "one?"}\n{"_id": "q2"}\n')
    with pytest.raises(InputError, match=r"en/queries\.jsonl:2: text: the field is missing$"):
        collection.queries("en")


def test_an_unknown_language_split_or_folder_names_what_there_is(tmp_path: Path) -> None:
    collection = write(tmp_path)
    with pytest.raises(InputError, match="no passages in 'fr'; there are en, de"):
        collection.passages("fr")
    with pytest.raises(InputError, match="no qrels for the split 'dev'; there are train"):
        collection.qrels("dev")
    with pytest.raises(InputError, match=r"no collection\.json: not a parallel collection"):
        read_collection(str(tmp_path / "en"))


def test_a_description_that_lacks_a_key_is_refused(tmp_path: Path) -> None:
    write(tmp_path)
    (tmp_path / "collection.json").write_text('{"name": "toy", "licence": "CC0", "source": "x"}')
    with pytest.raises(InputError, match=r"collection\.json: languages: Field required"):
        read_collection(str(tmp_path))


def test_an_unfinished_collection_has_no_description(tmp_path: Path) -> None:
    write(tmp_path)
    odd = QRELS.with_columns(query_id=pl.Series(["a\tb", "q1", "q1"]))
    with pytest.raises(InputError, match="an id with a tab or a line break"):
        write(tmp_path, odd)
    assert not (tmp_path / "collection.json").exists()


@pytest.mark.skipif(not DATA.exists(), reason="../shared/data is absent")
@pytest.mark.parametrize("name", ["xquad-r", "legal-gdpr", "legal-canada"])
def test_real_collections_pass_the_checks(name: str) -> None:
    collection = read_collection(str(DATA / name))
    assert collection.qrels("test").height > 0
    assert set(collection.passage_languages) <= set(collection.languages)
    assert collection.queries(collection.languages[-1]).height > 0
