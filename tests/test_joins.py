"""MS MARCO triples and BEIR folders as pairs."""

import gzip
import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import xxhash

from csgen.errors import CsgenError, InputError
from csgen.sources.pairs import describe_input, list_shards, normalise, read_shard
from csgen.sources.rows import BadRow, refuse

DATA = Path(__file__).parents[1].parent / "shared" / "data"


def read(path: str, batch_rows: int = 3) -> list[tuple[Any, ...]]:
    batches = [b for s in list_shards(path, 100) for b in read_shard(s, batch_rows, refuse)]
    return [tuple(row.values()) for batch in batches for row in batch.to_pylist()]


def joined(path: str, folder: Path, bad: list[BadRow] | None = None, split: str = "train") -> list[tuple[Any, ...]]:
    return read(normalise(path, str(folder / "out"), refuse if bad is None else bad.append, split))


def hashed(text: str) -> str:
    return xxhash.xxh3_64_hexdigest(text.encode())


# Triples of texts


def test_text_triples_give_two_pairs_a_line(tmp_path: Path) -> None:
    path = tmp_path / "triples.train.small.tsv"
    path.write_text("wo?\tda\tdort\nwann?\tjetzt\tnie\n")
    expected = [("wo?", "da", 1), ("wo?", "dort", 0), ("wann?", "jetzt", 1), ("wann?", "nie", 0)]
    pairs = [(hashed(query), query, hashed(passage), passage, label) for query, passage, label in expected]
    assert read(f"triples:{path}") == read(f"triples:{tmp_path}") == pairs


def test_text_triples_with_a_field_too_few_are_refused(tmp_path: Path) -> None:
    (tmp_path / "triples.tsv").write_text("a\tb\n")
    with pytest.raises(InputError, match=r"triples\.tsv:1: expected 3 fields between tabs .*, got 2"):
        describe_input(f"triples:{tmp_path}")


def test_a_bad_line_of_triples_is_named(tmp_path: Path) -> None:
    (tmp_path / "triples.tsv").write_text("a\tb\tc\na\tb\n")
    with pytest.raises(InputError, match=r"triples\.tsv:2: expected 3 fields between tabs, got 2"):
        read(f"triples:{tmp_path}")


def test_a_folder_of_several_triples_is_refused(tmp_path: Path) -> None:
    for name in ("triples.a.tsv", "triples.b.tsv"):
        (tmp_path / name).write_text("a\tb\tc\n")
    with pytest.raises(
        InputError, match=r"expected one file .*got .*triples\.a\.tsv, .*triples\.b\.tsv; name the file"
    ):
        describe_input(f"triples:{tmp_path}")


# Triples of ids


def msmarco(folder: Path, triples: str = "7\t30\t10\n8\t20\t30\n") -> str:
    (folder / "queries.train.tsv").write_text("8\twho?\n7\twhere?\n")
    (folder / "collection.tsv.gz").write_bytes(gzip.compress("10\tnorth\n20\tÉva\n30\t\n".encode()))
    (folder / "qidpidtriples.train.full.2.tsv").write_text(triples)
    return f"triples:{folder}"


def test_id_triples_are_joined_with_the_texts_beside_them(tmp_path: Path) -> None:
    assert joined(msmarco(tmp_path), tmp_path) == [
        ("7", "where?", "30", "", 1), ("7", "where?", "10", "north", 0),
        ("8", "who?", "20", "Éva", 1), ("8", "who?", "30", "", 0),
    ]  # fmt: skip


def test_an_unknown_id_is_a_bad_row_with_its_line(tmp_path: Path) -> None:
    bad: list[BadRow] = []
    assert len(joined(msmarco(tmp_path, "7\t30\t10\n7\t30\t99\n9\t30\t10\n"), tmp_path, bad)) == 2
    assert [b.row for b in bad] == [2, 3]
    assert "negative: no '99' in" in bad[0].reason
    assert "query: no '9' in" in bad[1].reason


def test_id_triples_without_their_collection_are_refused(tmp_path: Path) -> None:
    path = msmarco(tmp_path)
    (tmp_path / "collection.tsv.gz").unlink()
    with pytest.raises(InputError, match=r"holds ids, so collection\.tsv must stand beside it"):
        describe_input(path)


def test_a_passage_given_twice_is_refused(tmp_path: Path) -> None:
    path = msmarco(tmp_path)
    (tmp_path / "collection.tsv.gz").write_bytes(gzip.compress(b"10\ta\n30\tb\n10\tc\n"))
    with pytest.raises(InputError, match=r"collection\.tsv\.gz: the id '10' stands more than once"):
        joined(path, tmp_path)


def test_an_input_of_several_files_cannot_be_cut_before_it_is_joined(tmp_path: Path) -> None:
    with pytest.raises(CsgenError, match="must be joined first"):
        list_shards(msmarco(tmp_path), 10)


def test_a_description_names_all_files(tmp_path: Path) -> None:
    found = describe_input(msmarco(tmp_path))
    names = [Path(file).name for file in found.files]
    assert names == ["qidpidtriples.train.full.2.tsv", "queries.train.tsv", "collection.tsv.gz"]


# BEIR folders


def beir(folder: Path, qrels: str = "q1\td2\t2\nq2\td1\t0\n") -> str:
    def write(name: str, documents: list[dict[str, Any]]) -> None:
        (folder / name).write_text("".join(json.dumps(d) + "\n" for d in documents))

    write("corpus.jsonl", [
        {"_id": "d1", "title": "Head", "text": "body", "metadata": {"url": "x"}},
        {"_id": "d2", "title": "", "text": "bare", "metadata": {}},
        {"_id": "d3", "text": "never asked for"},
    ])  # fmt: skip
    write("queries.jsonl", [{"_id": "q1", "text": "one", "metadata": {}}, {"_id": "q2", "text": "two"}])
    (folder / "qrels").mkdir()
    (folder / "qrels" / "train.tsv").write_text("query-id\tcorpus-id\tscore\n" + qrels)
    return str(folder)


def test_a_beir_folder_gives_a_pair_for_each_judgement(tmp_path: Path) -> None:
    assert joined(beir(tmp_path), tmp_path) == [("q1", "one", "d2", "bare", 1), ("q2", "two", "d1", "Head body", 0)]


def test_a_split_that_is_not_there_is_refused_and_those_there_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no qrels for the split 'dev'; there are train"):
        joined(beir(tmp_path), tmp_path, split="dev")


def test_a_judgement_of_an_unknown_document_is_a_bad_row(tmp_path: Path) -> None:
    bad: list[BadRow] = []
    assert len(joined(beir(tmp_path, "q1\td9\t1\nq1\td1\t1\n"), tmp_path, bad)) == 1
    assert [(b.row, "corpus-id: no 'd9' in" in b.reason) for b in bad] == [(2, True)]


def test_qrels_without_a_header_are_refused(tmp_path: Path) -> None:
    path = beir(tmp_path)
    (tmp_path / "qrels" / "train.tsv").write_text("q1\td2\t1\n")
    with pytest.raises(InputError, match=r"train\.tsv:1: expected a header of query-id corpus-id score"):
        joined(path, tmp_path)


# Parallel collections


@pytest.mark.skipif(not DATA.exists(), reason="../shared/data is absent")
def test_a_parallel_collection_gives_its_english_positives(tmp_path: Path) -> None:
    path = normalise(str(DATA / "xquad-r"), str(tmp_path), refuse, "test")
    table = pq.read_table(path)
    assert (table.num_rows, set(table["passage_language"].to_pylist())) == (1190, {"en"})


def test_joining_leaves_nothing_but_the_pairs(tmp_path: Path) -> None:
    joined(msmarco(tmp_path), tmp_path)
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["pairs.parquet"]
