"""Data sets of ir_datasets, by a small local one of the same form."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from csgen.errors import CsgenError, InputError
from csgen.sources.collection import check_collection, read_collection
from csgen.sources.irds import fetch_irds, split_of

ir_datasets = pytest.importorskip("ir_datasets")


@pytest.fixture
def dataset(tmp_path: Path) -> Iterator[str]:
    """toy/train: German passages, English queries, qrels and docpairs."""
    name = f"toy-{tmp_path.name}/train"
    ir_datasets.registry.register(name, make(tmp_path))
    yield name
    del ir_datasets.registry._registered[name]


def make(folder: Path, docpairs: str = "q2\td3\td1\nq1\td1\td2\n", language: str | None = "de") -> Any:
    from ir_datasets import formats
    from ir_datasets.util import LocalDownload

    texts = {
        "docs": "d1\teins\nd2\tzwei\nd3\tdrei\nd4\tvier\n",
        "queries": "q1\tone\nq2\ttwo\nq3\tthree\n",
        "qrels": "q1 0 d1 1\nq2 0 d3 2\n",
        "docpairs": docpairs,
    }
    files = {}
    for kind, text in texts.items():
        path = folder / f"{kind}.tsv"
        path.write_text(text)
        files[kind] = LocalDownload(str(path))
    return ir_datasets.datasets.base.Dataset(
        formats.TsvDocs(files["docs"], lang=language),
        formats.TsvQueries(files["queries"], lang="en"),
        formats.TrecQrels(files["qrels"], {}),
        formats.TsvDocPairs(files["docpairs"]),
    )


def test_a_data_set_becomes_a_collection_that_passes_the_checks(dataset: str, tmp_path: Path) -> None:
    fetched = fetch_irds(dataset, str(tmp_path / "out"))
    collection = read_collection(str(tmp_path / "out"))
    check_collection(collection)
    assert (collection.languages, collection.passage_languages, collection.splits) == (("en",), ("de",), ("train",))
    assert collection.passages("de").rows()[0] == ("d1", "eins")
    assert collection.qrels("train").rows() == [("q1", "d1", 1), ("q2", "d3", 2)]
    assert fetched.counts == {"queries": 3, "passages": 4, "qrels": 2, "pairs": 4}


def test_docpairs_become_pairs(dataset: str, tmp_path: Path) -> None:
    fetch_irds(dataset, str(tmp_path / "out"))
    pairs = pq.read_table(tmp_path / "out" / "pairs" / "train.parquet").to_pylist()
    assert [tuple(row.values()) for row in pairs] == [
        ("q2", "two", "d3", "drei", 1, "en", "de"),
        ("q2", "two", "d1", "eins", 0, "en", "de"),
        ("q1", "one", "d1", "eins", 1, "en", "de"),
        ("q1", "one", "d2", "zwei", 0, "en", "de"),
    ]


def test_a_limit_keeps_the_first_queries_and_their_passages(dataset: str, tmp_path: Path) -> None:
    fetched = fetch_irds(dataset, str(tmp_path / "out"), num_queries=1)
    assert fetched.counts == {"queries": 1, "passages": 2, "qrels": 1, "pairs": 2}
    check_collection(read_collection(str(tmp_path / "out")))


def test_the_same_data_set_gives_the_same_bytes(dataset: str, tmp_path: Path) -> None:
    written = [fetch_irds(dataset, str(tmp_path / name)).files for name in ("a", "b")]
    assert written[0] == written[1]
    for name in written[0]:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_docpairs_that_name_an_unknown_passage_fail(dataset: str, tmp_path: Path) -> None:
    (tmp_path / "docpairs.tsv").write_text("q1\td1\td9\n")
    with pytest.raises(CsgenError, match="the passage 'd9', which is not among the documents"):
        fetch_irds(dataset, str(tmp_path / "out"))
    assert not (tmp_path / "out" / "collection.json").exists()


def test_a_language_that_the_data_set_does_not_tell_is_asked_for(tmp_path: Path) -> None:
    name = f"mute-{tmp_path.name}"
    ir_datasets.registry.register(name, make(tmp_path, language=None))
    with pytest.raises(InputError, match="does not tell its language; give it with --languages"):
        fetch_irds(name, str(tmp_path / "out"))
    assert "fr/passages.jsonl" in fetch_irds(name, str(tmp_path / "out"), language="fr").files


def test_an_unknown_data_set_gets_a_suggestion(tmp_path: Path) -> None:
    with pytest.raises(
        InputError, match=r"irds:msmarco-passag/train: no such data set; did you mean msmarco-passage/train"
    ):
        fetch_irds("msmarco-passag/train", str(tmp_path))


def test_a_data_set_without_queries_names_its_parts(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"irds:mmarco/de: has no queries; name a part of it, such as mmarco/de/"):
        fetch_irds("mmarco/de", str(tmp_path))


def test_a_missing_library_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ir_datasets", None)
    with pytest.raises(InputError, match=r"pip install 'csgen\[irds\]'"):
        fetch_irds("mmarco/de/train", str(tmp_path))


@pytest.mark.parametrize(
    ("dataset_id", "split"), [("mmarco/de/train", "train"), ("msmarco-passage/dev/small", "dev"), ("cranfield", "test")]
)
def test_the_split_is_the_one_that_the_id_names(dataset_id: str, split: str) -> None:
    assert split_of(dataset_id) == split
