"""Data sets in the forms that they have on the hub, from small local folders; the hub's library, by a local server."""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import fsspec
import polars as pl
import pytest

from csgen.errors import InputError
from csgen.sources.collection import Collection, check_collection, read_collection
from csgen.sources.hub import fetch_hub
from csgen.sources.hub_layout import Card, list_tables, parse_tag, read_card

TEXTS = {"en": ("the tax", "the fee"), "fi": ("vero", "maksu"), "el": ("ο φόρος", "το τέλος")}
QRELS = {"query-id": ["q1", "q2"], "corpus-id": ["d1", "d2"], "score": [1, 1]}


def write_card(folder: Path, configs: dict[str, dict[str, str]], **keys: Any) -> None:
    """README.md with `configs`: files by split by name."""
    listed = [
        {"config_name": name, "data_files": [{"split": split, "path": path} for split, path in files.items()]}
        for name, files in configs.items()
    ]
    folder.mkdir(parents=True, exist_ok=True)
    head = json.dumps(keys | ({"configs": listed} if listed else {}))  # JSON is YAML
    (folder / "README.md").write_text(f"---\n{head}\n---\n# A data set\n---\nnot: [yaml\n")


def write_parquet(path: Path, columns: dict[str, list[Any]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pl.DataFrame(columns).write_parquet(path)


def write_mupler(folder: Path) -> Path:
    """MTEB's form in several languages, as mteb/MuPLeR-retrieval has it."""
    configs: dict[str, dict[str, str]] = {}
    for code, (first, second) in TEXTS.items():
        tables = {
            "corpus": {"id": ["d1", "d2", "d3"], "text": [first, second, ""], "title": ["", "T", ""]},
            "queries": {"id": ["q1", "q2"], "text": [f"{first}?", "?"]},
            "qrels": QRELS,
        }
        for kind, columns in tables.items():
            write_parquet(folder / f"{code}-{kind}" / "test-00000-of-00001.parquet", columns)
            configs[f"{code}-{kind}"] = {"test": f"{code}-{kind}/test-*"}
    write_card(folder, configs, license="eupl-1.2", language=["ell", "eng", "fin"])
    return folder


def write_bbsard(folder: Path) -> Path:
    """BSARD's form in two languages, as clips/bBSARD has it."""
    corpus = 'id,reference,article\n1,Art. 1,{}\n22,Art. 2,"deux, lignes\nde texte"\n3,Art. 3,\n'
    train = 'id,category,question,extra_description,article_ids\n7,Famille,{},,"1,22"\n'
    test = "id,category,question,extra_description,article_ids\n8,Logement,{},ici,3\n"
    for code, (first, second, third) in {"fr": ("un", "qui ?", "où ?"), "nl": ("een", "wie?", "waar?")}.items():
        (folder / code).mkdir(parents=True)
        (folder / code / "corpus.csv").write_text(corpus.format(first))
        (folder / code / "train.csv").write_text(train.format(second))
        (folder / code / "test.csv").write_text(test.format(third))
    configs = {code: {split: f"{code}/{split}.csv" for split in ("corpus", "train", "test")} for code in ("fr", "nl")}
    write_card(folder, configs, license="cc-by-nc-sa-4.0", language=["nl", "fr"])
    return folder


def write_beir(folder: Path) -> Path:
    """The form of BEIR, which MTEB's older data sets have: no language told, no card."""
    (folder / "qrels").mkdir(parents=True)
    (folder / "corpus.jsonl").write_text('{"_id": "d1", "title": "T", "text": "eins"}\n{"_id": "d2", "text": "zwei"}\n')
    (folder / "queries.jsonl").write_text('{"_id": "q1", "text": "eins?", "metadata": {}}\n')
    (folder / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\nq1\td1\t2\n")
    return folder


def fetch(folder: Path | str, output: Path, languages: tuple[str, ...] = ()) -> Collection:
    fetch_hub(str(folder), str(output), languages)
    collection = read_collection(str(output))
    check_collection(collection)
    return collection


# MTEB's form


def test_languages_of_mtebs_form_become_one_parallel_collection(tmp_path: Path) -> None:
    collection = fetch(write_mupler(tmp_path / "in"), tmp_path / "out", ("fi", "en"))
    assert collection.languages == collection.passage_languages == ("fi", "en")
    assert collection.passages("fi").select("_id", "title", "text").rows() == [
        ("d1", "", "vero"), ("d2", "T", "maksu"), ("d3", "", ""),
    ]  # fmt: skip
    assert collection.queries("en").rows() == [("q1", "the tax?"), ("q2", "?")]
    assert collection.qrels("test").rows() == [("q1", "d1", 1), ("q2", "d2", 1)]
    assert (collection.name, collection.licence) == ("in", "eupl-1.2")


def test_all_languages_come_where_none_are_named(tmp_path: Path) -> None:
    assert fetch(write_mupler(tmp_path / "in"), tmp_path / "out").languages == ("el", "en", "fi")


def test_the_files_names_tell_what_a_folder_without_a_card_holds(tmp_path: Path) -> None:
    folder = write_mupler(tmp_path / "in")
    with_card = fetch(folder, tmp_path / "a")
    (folder / "README.md").unlink()
    without = fetch(folder, tmp_path / "b")
    assert without.languages == with_card.languages
    assert without.passages("el").equals(with_card.passages("el"))


def test_the_card_decides_which_of_several_copies_is_read(tmp_path: Path) -> None:
    folder = write_mupler(tmp_path / "in")
    (folder / "data" / "fi").mkdir(parents=True)
    (folder / "data" / "fi" / "fi_corpus.jsonl").write_text('{"id": "d1", "content": "old"}\n')
    assert fetch(folder, tmp_path / "out", ("fi",)).passages("fi")["text"].to_list() == ["vero", "maksu", ""]


def test_parts_of_a_table_are_read_in_order(tmp_path: Path) -> None:
    folder = write_mupler(tmp_path / "in")
    more = {"id": ["d4"], "text": ["sakko"], "title": [None]}
    write_parquet(folder / "fi-corpus" / "test-00001-of-00002.parquet", more)
    assert fetch(folder, tmp_path / "out", ("fi",)).passages("fi")["_id"].to_list() == ["d1", "d2", "d3", "d4"]


def test_the_form_of_beir_needs_its_language(tmp_path: Path) -> None:
    folder = write_beir(tmp_path / "in")
    with pytest.raises(InputError, match="does not tell its language; give it with --languages"):
        fetch(folder, tmp_path / "out")
    collection = fetch(folder, tmp_path / "out", ("de",))
    assert collection.passages("de").select("_id", "title", "text").rows() == [("d1", "T", "eins"), ("d2", "", "zwei")]
    assert collection.qrels("test").rows() == [("q1", "d1", 2)]


def test_a_card_with_one_language_tells_it_and_default_holds_the_qrels(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    write_parquet(folder / "corpus" / "corpus-00000-of-00001.parquet", {"_id": [1, 2], "text": ["een", "twee"]})
    write_parquet(folder / "queries" / "queries-00000-of-00001.parquet", {"_id": [1], "text": ["een?"]})
    scores = {"query-id": [1, 1], "corpus-id": [2, 1], "score": [0.0, 2.0]}
    write_parquet(folder / "data" / "test-00000-of-00001.parquet", scores)
    configs = {
        "default": {"test": "data/test-*"},
        "corpus": {"corpus": "corpus/corpus-*"},
        "queries": {"queries": "queries/queries-*"},
    }
    write_card(folder, configs, language=["nld"])
    collection = fetch(folder, tmp_path / "out")
    assert collection.languages == ("nl",)
    assert collection.qrels("test").rows() == [("1", "2", 0), ("1", "1", 2)]


def test_qrels_without_scores_count_as_relevant(tmp_path: Path) -> None:
    folder = write_beir(tmp_path / "in")
    (folder / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\nq1\td1\n")
    assert fetch(folder, tmp_path / "out", ("de",)).qrels("test").rows() == [("q1", "d1", 1)]


def test_what_a_second_split_of_a_corpus_repeats_stands_once(tmp_path: Path) -> None:
    folder = write_mupler(tmp_path / "in")
    (folder / "README.md").unlink()
    write_parquet(folder / "fi-corpus" / "dev-00000-of-00001.parquet", {"id": ["d1", "d9"], "text": ["vero", "uusi"]})
    write_parquet(
        folder / "fi-qrels" / "dev-00000-of-00001.parquet", {"query-id": ["q2"], "corpus-id": ["d9"], "score": [1]}
    )
    collection = fetch(folder, tmp_path / "out", ("fi",))
    assert collection.passages("fi")["_id"].to_list() == ["d1", "d9", "d2", "d3"]
    assert collection.splits == ("dev", "test")


def test_ids_whose_judgements_differ_between_languages_are_kept_apart(tmp_path: Path) -> None:
    folder = write_mupler(tmp_path / "in")
    other = {"query-id": ["q1", "q2"], "corpus-id": ["d3", "d1"], "score": [1, 1]}
    write_parquet(folder / "fi-qrels" / "test-00000-of-00001.parquet", other)
    collection = fetch(folder, tmp_path / "out", ("en", "fi"))
    assert collection.passages("fi")["_id"].to_list() == ["fi:d1", "fi:d2", "fi:d3"]
    assert collection.qrels("test").rows() == [
        ("en:q1", "en:d1", 1), ("en:q2", "en:d2", 1), ("fi:q1", "fi:d3", 1), ("fi:q2", "fi:d1", 1),
    ]  # fmt: skip


def test_one_corpus_serves_queries_in_several_languages(tmp_path: Path) -> None:
    folder = write_mupler(tmp_path / "in")
    for code in ("el", "fi"):
        (folder / f"{code}-corpus" / "test-00000-of-00001.parquet").unlink()
    (folder / "en-corpus").rename(folder / "corpus")
    write_card(folder, {}, language="en")
    collection = fetch(folder, tmp_path / "out", ("en", "fi"))
    assert (collection.languages, collection.passage_languages) == (("en", "fi"), ("en",))


def test_a_corpus_of_which_nothing_tells_the_language_is_refused(tmp_path: Path) -> None:
    folder = write_mupler(tmp_path / "in")
    (folder / "README.md").unlink()
    (folder / "en-corpus").rename(folder / "corpus")
    refuse(folder, tmp_path / "out", "does not tell the language of corpus/test", ("fi",))


def test_one_table_of_qrels_is_for_all_languages(tmp_path: Path) -> None:
    folder = write_mupler(tmp_path / "in")
    (folder / "README.md").unlink()
    for code in TEXTS:
        (folder / f"{code}-qrels" / "test-00000-of-00001.parquet").unlink()
    write_parquet(folder / "qrels" / "test.parquet", QRELS)
    assert fetch(folder, tmp_path / "out", ("en", "fi")).qrels("test").rows() == [("q1", "d1", 1), ("q2", "d2", 1)]


# BSARD's form


def test_bsards_form_becomes_a_parallel_collection_with_both_splits(tmp_path: Path) -> None:
    collection = fetch(write_bbsard(tmp_path / "in"), tmp_path / "out")
    assert collection.languages == collection.passage_languages == ("fr", "nl")
    assert collection.passages("nl").rows() == [("1", "een"), ("22", "deux, lignes\nde texte"), ("3", "")]
    assert collection.queries("fr").rows() == [("7", "qui ?"), ("8", "où ?")]
    assert collection.qrels("train").rows() == [("7", "1", 1), ("7", "22", 1)]
    assert collection.qrels("test").rows() == [("8", "3", 1)]
    assert collection.licence == "cc-by-nc-sa-4.0"


def test_a_card_may_name_tables_first_and_languages_as_their_splits(tmp_path: Path) -> None:
    folder = write_bbsard(tmp_path / "in")
    expected = fetch(folder, tmp_path / "a")
    configs = {
        name: {code: f"{code}/{name}.csv" for code in ("fr", "nl")} for name in ("corpus", "train", "test")
    }  # fmt: skip
    write_card(folder, configs)
    collection = fetch(folder, tmp_path / "b")
    assert collection.languages == expected.languages
    assert collection.qrels("train").equals(expected.qrels("train"))
    assert collection.passages("fr").equals(expected.passages("fr"))


def test_ids_of_relevant_passages_may_be_lists(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    write_parquet(folder / "articles_fr.parquet", {"id": [1, 2], "article": ["un", "deux"]})
    write_parquet(folder / "questions_fr_test.parquet", {"id": [7], "question": ["qui ?"], "article_ids": [[2, 1]]})
    assert fetch(folder, tmp_path / "out").qrels("test").rows() == [("7", "2", 1), ("7", "1", 1)]


# Bad input


def refuse(folder: Path | str, output: Path, message: str, languages: tuple[str, ...] = ()) -> None:
    with pytest.raises(InputError, match=message):
        fetch_hub(str(folder), str(output), languages)
    assert not (output / "collection.json").exists()


def test_a_language_that_the_data_set_lacks_is_refused_with_those_it_has(tmp_path: Path) -> None:
    refuse(write_mupler(tmp_path / "in"), tmp_path / "out", "--languages de: there are el, en, fi", ("en", "de"))


def test_a_missing_file_that_the_card_names_is_refused(tmp_path: Path) -> None:
    folder = write_mupler(tmp_path / "in")
    (folder / "fi-qrels" / "test-00000-of-00001.parquet").unlink()
    refuse(folder, tmp_path / "out", r"no file fi-qrels/test-\*, which README.md names", ("fi",))


def test_files_of_other_languages_may_be_missing(tmp_path: Path) -> None:
    folder = write_mupler(tmp_path / "in")
    (folder / "fi-qrels" / "test-00000-of-00001.parquet").unlink()
    assert fetch(folder, tmp_path / "out", ("en", "el")).languages == ("en", "el")


def test_a_folder_without_qrels_is_refused_with_what_it_holds(tmp_path: Path) -> None:
    folder = write_beir(tmp_path / "in")
    (folder / "qrels" / "test.tsv").unlink()
    refuse(folder, tmp_path / "out", "has no qrels; expected tables of a corpus.*found corpus, queries", ("de",))


def test_a_folder_of_something_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "image.png").write_bytes(b"")
    refuse(tmp_path / "in", tmp_path / "out", "has no corpus and no queries and no qrels; .*found image.png", ("de",))


def test_a_missing_column_is_refused_with_those_there_are(tmp_path: Path) -> None:
    folder = write_mupler(tmp_path / "in")
    write_parquet(folder / "fi-corpus" / "test-00000-of-00001.parquet", {"id": ["d1"], "body": ["vero"]})
    refuse(folder, tmp_path / "out", "no column text or article or content for the text; found id, body", ("fi",))


def test_a_column_of_a_wrong_type_is_refused(tmp_path: Path) -> None:
    folder = write_mupler(tmp_path / "in")
    write_parquet(folder / "fi-corpus" / "test-00000-of-00001.parquet", {"id": ["d1"], "text": [["vero"]]})
    refuse(folder, tmp_path / "out", "the column text cannot be read as text: it is (large_)?list", ("fi",))


def test_an_id_that_stands_twice_is_refused(tmp_path: Path) -> None:
    folder = write_mupler(tmp_path / "in")
    write_parquet(folder / "fi-corpus" / "test-00001-of-00002.parquet", {"id": ["d2"], "text": ["sakko"]})
    refuse(folder, tmp_path / "out", "passages in fi: the id 'd2' stands more than once", ("fi",))


def test_judgements_of_unknown_passages_are_refused_or_left_out(tmp_path: Path) -> None:
    folder = write_bbsard(tmp_path / "in")
    path = folder / "fr" / "test.csv"
    path.write_text(path.read_text().replace(",3\n", '," 3, 404"\n'))
    refuse(folder, tmp_path / "out", "qrels/test: 1 of 2 judgements name a text .* the passage '404' for the query '8'")
    written = fetch_hub(str(folder), str(tmp_path / "out"), on_error="skip")
    assert (written.judgements, written.left_out) == ({"test": 1, "train": 2}, 1)


def test_a_row_without_text_is_refused_with_its_number(tmp_path: Path) -> None:
    folder = write_mupler(tmp_path / "in")
    write_parquet(folder / "fi-corpus" / "test-00000-of-00001.parquet", {"id": ["d1", "d2"], "text": ["vero", None]})
    refuse(folder, tmp_path / "out", r"test-00000-of-00001.parquet:2: text: is null", ("fi",))


def test_a_csv_row_without_an_id_is_refused_with_its_number(tmp_path: Path) -> None:
    folder = write_bbsard(tmp_path / "in")
    (folder / "fr" / "corpus.csv").write_text("id,article\n1,un\n,deux\n")
    refuse(folder, tmp_path / "out", r"fr/corpus.csv:3: id: is empty")


@pytest.mark.parametrize("text", ["id,article\n1,un,deux\n", 'id,article\n1,"un\n', ""])
def test_a_csv_file_that_cannot_be_read_is_refused(tmp_path: Path, text: str) -> None:
    folder = write_bbsard(tmp_path / "in")
    (folder / "fr" / "corpus.csv").write_text(text)
    refuse(folder, tmp_path / "out", r"fr/corpus.csv: cannot be read as CSV with a header")


def test_a_damaged_parquet_file_is_refused(tmp_path: Path) -> None:
    folder = write_mupler(tmp_path / "in")
    (folder / "fi-qrels" / "test-00000-of-00001.parquet").write_bytes(b"PAR1 and no more")
    refuse(folder, tmp_path / "out", "fi-qrels/test-00000-of-00001.parquet: not a Parquet file, or cut short", ("fi",))


def test_a_card_that_is_no_yaml_is_refused(tmp_path: Path) -> None:
    folder = write_mupler(tmp_path / "in")
    (folder / "README.md").write_text("---\nconfigs: [\n---\n")
    refuse(folder, tmp_path / "out", "README.md: its head is not YAML")


def test_a_missing_folder_is_refused(tmp_path: Path) -> None:
    refuse(tmp_path / "in", tmp_path / "out", "no such folder")


@pytest.mark.parametrize("source", ["bBSARD", "a/b/c", "a/b@", "a b/c"])
def test_what_is_neither_a_path_nor_an_id_of_the_hub_is_refused(tmp_path: Path, source: str) -> None:
    refuse(source, tmp_path / "out", "expected OWNER/NAME or OWNER/NAME@REVISION; a folder's path begins with")


def test_a_missing_library_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    refuse("mteb/MuPLeR-retrieval", tmp_path / "out", r"pip install 'csgen\[hub\]'")


# Where the files come from


def test_the_same_files_give_the_same_bytes(tmp_path: Path) -> None:
    folder = write_mupler(tmp_path / "in")
    files = fetch_hub(str(folder), str(tmp_path / "a")).files
    assert fetch_hub(str(folder), str(tmp_path / "b")).files == files
    for name in files:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_a_uri_is_read_like_a_folder(tmp_path: Path) -> None:
    folder = write_bbsard(tmp_path / "in")
    memory = fsspec.filesystem("memory")
    memory.put(f"{folder}/", f"/{tmp_path.name}/bBSARD/", recursive=True)
    collection = fetch(f"memory://{tmp_path.name}/bBSARD", tmp_path / "out")
    assert collection.name == "bBSARD"
    assert collection.passages("nl").equals(fetch(folder, tmp_path / "again").passages("nl"))


def test_the_manifest_gets_the_hashes_of_the_files_that_were_read(tmp_path: Path) -> None:
    written = fetch_hub(str(write_mupler(tmp_path / "in")), str(tmp_path / "out"), ("fi",))
    assert [*written.stream.inputs["files"]] == [
        f"fi-{kind}/test-00000-of-00001.parquet" for kind in ("corpus", "qrels", "queries")
    ]


class Hub(BaseHTTPRequestHandler):
    """The three answers that a client needs: what a data set is, a file's headers, and the file."""

    folder: Path
    sha = "0123456789abcdef0123456789abcdef01234567"

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        path, _, revision = self.path.partition("?")[0].partition("/revision/")
        name = path.rpartition(f"/{self.sha}/")[2]
        if path == "/api/datasets/clips/bBSARD" and revision in ("", "main"):
            files = sorted(str(file.relative_to(self.folder)) for file in self.folder.rglob("*") if file.is_file())
            siblings = [{"rfilename": file} for file in files]
            self.answer(200, json.dumps({"id": "clips/bBSARD", "sha": self.sha, "siblings": siblings}).encode())
        elif path == "/api/datasets/clips/bBSARD":
            self.answer(404, b"{}", {"X-Error-Code": "RevisionNotFound"})
        elif (self.folder / name).is_file():
            headers = {"ETag": f'"{name}"', "X-Repo-Commit": self.sha}
            self.answer(200, (self.folder / name).read_bytes(), headers)
        else:
            self.answer(404, b"{}", {"X-Error-Code": "RepoNotFound"})

    def answer(self, code: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(code)
        for key, value in {"Content-Length": str(len(body)), **(headers or {})}.items():
            self.send_header(key, value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        pass


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[dict[str, str]]:
    """The environment of a process whose hub is a server here, with clips/bBSARD alone."""
    pytest.importorskip("huggingface_hub")
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Here", (Hub,), {"folder": write_bbsard(tmp_path / "hub")}))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    endpoint = f"http://127.0.0.1:{server.server_port}"
    yield os.environ | {"HF_ENDPOINT": endpoint, "HF_HOME": str(tmp_path / "cache"), "HF_HUB_DISABLE_XET": "1"}
    server.shutdown()
    server.server_close()
    thread.join()


def run_fetch(source: str, output: Path, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    code = f"from csgen.sources.hub import fetch_hub; fetch_hub({source!r}, {str(output)!r}, ('nl',))"
    return subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=60, check=False
    )


def test_a_data_set_of_the_hub_is_fetched_at_one_revision(tmp_path: Path, hub: dict[str, str]) -> None:
    done = run_fetch("clips/bBSARD@main", tmp_path / "out", hub)
    assert done.returncode == 0, done.stderr
    collection = read_collection(str(tmp_path / "out"))
    check_collection(collection)
    assert collection.source == f"hub clips/bBSARD@{Hub.sha}"
    assert collection.queries("nl").rows() == [("7", "wie?"), ("8", "waar?")]
    fetched = {path.name for path in (tmp_path / "cache").rglob("*.csv")}
    assert fetched == {"corpus.csv", "train.csv", "test.csv"}


def test_only_the_files_of_the_languages_asked_for_are_fetched(tmp_path: Path, hub: dict[str, str]) -> None:
    assert run_fetch("clips/bBSARD", tmp_path / "out", hub).returncode == 0
    assert {path.parent.name for path in (tmp_path / "cache").rglob("*.csv")} == {"nl"}


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("clips/bbsard", "hub:clips/bbsard: no such data set of the hub, or not open to you"),
        ("clips/bBSARD@v9", "hub:clips/bBSARD: no such revision 'v9'"),
    ],
)
def test_what_the_hub_does_not_have_is_refused(tmp_path: Path, hub: dict[str, str], source: str, message: str) -> None:
    done = run_fetch(source, tmp_path / "out", hub)
    assert message in done.stderr.splitlines()[-1]
    assert "InputError" in done.stderr.splitlines()[-1]


def test_a_hub_that_cannot_be_reached_is_a_failure(tmp_path: Path, hub: dict[str, str]) -> None:
    done = run_fetch("clips/bBSARD", tmp_path / "out", hub | {"HF_ENDPOINT": "http://127.0.0.1:1"})
    assert "CsgenError: hub:clips/bBSARD: the hub cannot be reached" in done.stderr.splitlines()[-1]


# What the names tell


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("de-corpus/test-00000-of-00001.parquet", ("passages", "de", "test")),
        ("corpus-deu/train-00000-of-00002-0123abcd.parquet", ("passages", "de", "train")),
        ("zh-Hant-queries/dev.jsonl.gz", ("queries", "zh-Hant", "dev")),
        ("data/el/el_queries.jsonl", ("queries", "el", "test")),
        ("qrels/validation.tsv", ("qrels", "", "validation")),
        ("english_qrels/test.parquet", ("qrels", "en", "test")),
        ("nl/train.csv", ("untold", "nl", "train")),
        ("corpus/fr/0000.parquet", ("passages", "fr", "test")),
    ],
)
def test_a_files_path_tells_what_it_holds(name: str, told: tuple[str, str, str]) -> None:
    (table,) = list_tables([name], Card((), "", ()))
    assert (table.kind, table.language, table.split) == told


@pytest.mark.parametrize(
    "name", ["de-top_ranked/test.parquet", "model/de.bin", ".cache/de-corpus.txt", "synthetic.csv"]
)
def test_files_of_anything_else_are_passed_over(name: str) -> None:
    assert list_tables([name], Card((), "", ())) == []


def test_a_pattern_of_the_card_stays_within_its_folder() -> None:
    configs = ({"config_name": "de-corpus", "data_files": "data/*.parquet"},)
    (table,) = list_tables(["data/a.parquet", "data/old/b.parquet"], Card(configs, "", ()))
    assert table.names == ("data/a.parquet",)


def test_a_text_without_a_head_is_an_empty_card() -> None:
    assert read_card("# Title\n---\nconfigs: []\n", "README.md") == Card((), "", ())


@pytest.mark.parametrize(("tag", "code"), [("deu-Latn", "de"), ("zh-Hans", "zh-Hans"), ("greek", "el"), ("top", "")])
def test_a_tag_of_a_language_is_its_code(tag: str, code: str) -> None:
    assert parse_tag(tag) == code
