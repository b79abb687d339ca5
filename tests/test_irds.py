"""Data sets of ir_datasets and families of them, by small local ones of the same form."""

import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from csgen.errors import CsgenError, InputError
from csgen.sources.collection import Collection, check_collection, read_collection
from csgen.sources.irds import fetch_irds, split_of
from csgen.sources.irds_families import find_family, suggest_family

ir_datasets = pytest.importorskip("ir_datasets")
Register = Callable[[str, Any], str]

TEXTS = {
    "docs": "d1\teins\nd2\tzwei\nd3\tdrei\nd4\tvier\n",
    "queries": "q1\tone\nq2\ttwo\nq3\tthree\n",
    "qrels": "q1 0 d1 1\nq2 0 d3 2\n",
    "docpairs": "q2\td3\td1\nq1\td1\td2\n",
}


@pytest.fixture
def register(tmp_path: Path) -> Iterator[Register]:
    """Makes data sets known to ir_datasets for one test. TEST in a name becomes the test's own."""
    known = ir_datasets.registry._registered
    before = {*known}

    def add(name: str, dataset: Any) -> str:
        own = name.replace("TEST", tmp_path.name)
        ir_datasets.registry.register(own, dataset)
        return own

    yield add
    for name in {*known} - before:
        del known[name]


def make(folder: Path, passages_in: str | None = "de", queries_in: str | None = "en", **texts: str) -> Any:
    """A data set of tab-separated files such as mMARCO's, with `texts` in the place of TEXTS; "": no such file."""
    from ir_datasets import formats
    from ir_datasets.util import LocalDownload

    folder.mkdir(parents=True, exist_ok=True)
    files = {}
    for kind, text in (TEXTS | texts).items():
        (folder / f"{kind}.tsv").write_text(text)
        files[kind] = LocalDownload(str(folder / f"{kind}.tsv")) if text else None
    return ir_datasets.datasets.base.Dataset(
        formats.TsvDocs(files["docs"], lang=passages_in),
        formats.TsvQueries(files["queries"], lang=queries_in),
        formats.TrecQrels(files["qrels"], {}) if files["qrels"] else None,
        formats.TsvDocPairs(files["docpairs"]) if files["docpairs"] else None,
    )


@pytest.fixture
def dataset(tmp_path: Path, register: Register) -> str:
    """A data set of German passages, English queries, qrels and docpairs."""
    return register("toy-TEST/train", make(tmp_path))


def read_checked(folder: Path) -> Collection:
    collection = read_collection(str(folder))
    check_collection(collection)
    return collection


# One data set


def test_a_data_set_becomes_a_collection_that_passes_the_checks(dataset: str, tmp_path: Path) -> None:
    written = fetch_irds(dataset, str(tmp_path / "out"))
    collection = read_checked(tmp_path / "out")
    assert (collection.languages, collection.passage_languages, collection.splits) == (("en",), ("de",), ("train",))
    assert collection.passages("de").rows()[0] == ("d1", "eins")
    assert collection.qrels("train").rows() == [("q1", "d1", 1), ("q2", "d3", 2)]
    assert (written.queries, written.passages) == ({"en": 3}, {"de": 4})
    assert (written.judgements, written.pairs) == ({"train": 2}, {"train": 4})


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
    written = fetch_irds(dataset, str(tmp_path / "out"), num_queries=1)
    assert (written.queries, written.passages) == ({"en": 1}, {"de": 2})
    assert (written.judgements, written.pairs) == ({"train": 1}, {"train": 2})
    read_checked(tmp_path / "out")


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


@pytest.mark.parametrize("judgement", ["q1 0 d9 1\n", "q9 0 d1 1\n"])
def test_judgements_of_unknown_texts_fail_and_leave_no_whole_collection(
    tmp_path: Path, register: Register, judgement: str
) -> None:
    name = register("toy-TEST", make(tmp_path, qrels=TEXTS["qrels"] + judgement))
    with pytest.raises(InputError, match=r"1 of 3 judgements name a text that is in none of en, de, .*--on-error skip"):
        fetch_irds(name, str(tmp_path / "out"))
    assert not (tmp_path / "out" / "collection.json").exists()


def test_judgements_of_unknown_texts_can_be_left_out(tmp_path: Path, register: Register) -> None:
    name = register("toy-TEST", make(tmp_path, qrels=TEXTS["qrels"] + "q1 0 d9 1\n"))
    written = fetch_irds(name, str(tmp_path / "out"), on_error="skip")
    assert (written.judgements, written.left_out) == ({"test": 2}, 1)
    read_checked(tmp_path / "out")


def test_an_id_that_stands_twice_fails(tmp_path: Path, register: Register) -> None:
    name = register("toy-TEST", make(tmp_path, docs=TEXTS["docs"] + "d2\tnoch einmal\n"))
    with pytest.raises(InputError, match="passages in de: the id 'd2' stands more than once"):
        fetch_irds(name, str(tmp_path / "out"))
    assert not (tmp_path / "out" / "collection.json").exists()


def test_a_passage_judged_twice_in_different_ways_fails(tmp_path: Path, register: Register) -> None:
    name = register("toy-TEST", make(tmp_path, qrels="q1 0 d1 1\nq1 0 d1 2\n"))
    with pytest.raises(InputError, match="judges the passage 'd1' for the query 'q1' twice: 1 and 2"):
        fetch_irds(name, str(tmp_path / "out"))


def test_a_language_that_the_data_set_does_not_tell_is_asked_for(tmp_path: Path, register: Register) -> None:
    name = register("mute-TEST", make(tmp_path, passages_in=None))
    with pytest.raises(InputError, match="does not tell its language; give it with --languages"):
        fetch_irds(name, str(tmp_path / "out"))
    assert "fr/passages.jsonl" in fetch_irds(name, str(tmp_path / "out"), ("fr",)).files


def test_an_unknown_data_set_gets_a_suggestion(tmp_path: Path) -> None:
    with pytest.raises(
        InputError, match=r"irds:msmarco-passag/train: no such data set; did you mean msmarco-passage/train"
    ):
        fetch_irds("msmarco-passag/train", str(tmp_path))


def test_braces_for_several_languages_get_the_remedy(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="write LANG for the language, and name the languages with --languages"):
        fetch_irds("mmarco/v2/{de,it}/dev/small", str(tmp_path))


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


# Families, by the names that ir_datasets knows


def test_mmarco_has_the_fourteen_languages_with_english_from_ms_marco() -> None:
    family = find_family("mmarco/v2/LANG/dev/small", ir_datasets.registry)
    assert " ".join(family.members) == "ar de en es fr hi id it ja nl pt ru vi zh"
    assert family.members["en"] == "msmarco-passage/dev/small"
    assert family.members["nl"] == "mmarco/v2/dt/dev/small"
    assert family.shares_ids


def test_a_version_that_english_lacks_has_no_english() -> None:
    assert [*find_family("mmarco/LANG/dev/small/v1.1", ir_datasets.registry).members] == ["pt", "zh"]


def test_miracl_has_eighteen_languages_with_ids_of_their_own() -> None:
    family = find_family("miracl/LANG/dev", ir_datasets.registry)
    assert len(family.members) == 18
    assert not family.shares_ids


def test_neuclir_has_three_languages_with_topics_in_common() -> None:
    family = find_family("neuclir/1/LANG/trec-2022", ir_datasets.registry)
    assert family.members == {code: f"neuclir/1/{code}/trec-2022" for code in ("fa", "ru", "zh")}
    assert family.shares_ids


def test_a_language_that_a_family_lacks_is_refused_with_those_it_has() -> None:
    family = find_family("neuclir/1/LANG/trec-2022", ir_datasets.registry)
    with pytest.raises(InputError, match="--languages de: there are fa, ru, zh"):
        family.choose(("zh", "de"))


def test_languages_come_in_the_order_in_which_they_are_asked_for() -> None:
    family = find_family("miracl/LANG/dev", ir_datasets.registry)
    assert [*family.choose(("sw", "ar"))] == ["sw", "ar"]
    assert [*family.choose(())] == sorted(family.members)


def test_an_unknown_family_gets_a_suggestion() -> None:
    with pytest.raises(InputError, match="irds:miracle/LANG/dev: no such data sets; did you mean miracl/LANG/dev"):
        find_family("miracle/LANG/dev", ir_datasets.registry)


@pytest.mark.parametrize(
    ("dataset_id", "pattern"),
    [
        ("mmarco/v2/dt/dev/small", "mmarco/v2/LANG/dev/small"),
        ("miracl/sw/dev", "miracl/LANG/dev"),
        ("mr-tydi/ar/test", "mr-tydi/LANG/test"),
        ("cranfield", ""),
    ],
)
def test_a_data_set_tells_its_family(dataset_id: str, pattern: str) -> None:
    assert suggest_family(dataset_id) == pattern


def test_every_data_set_that_names_a_language_is_in_its_family() -> None:
    known = [*ir_datasets.registry]
    patterns = {dataset_id: suggest_family(dataset_id) for dataset_id in known}
    families = {pattern: find_family(pattern, known) for pattern in set(patterns.values()) - {""}}
    assert len(families) > 40
    for dataset_id, pattern in patterns.items():
        assert not pattern or dataset_id in families[pattern].members.values()


# Families of small data sets


def add_mmarco(folder: Path, register: Register, docpairs: str = "") -> str:
    """English, German and Dutch, where mMARCO's stand, under the same ids; `dt` is how it writes Dutch."""
    words = {"en": ("one", "two"), "de": ("eins", "zwei"), "dt": ("een", "twee")}
    for code, (first, second) in words.items():
        made = make(
            folder / code,
            code,
            code,
            docs=f"d1\t{first}\nd2\t{second}\nd3\t\n",
            queries=f"q2\t{second}?\nq1\t{first}?\n",
            qrels="q1 0 d1 1\nq2 0 d2 1\n",
            docpairs=docpairs,
        )
        register("msmarco-passage/dev/TEST" if code == "en" else f"mmarco/v2/{code}/dev/TEST", made)
    return f"mmarco/v2/LANG/dev/{folder.name}"


def test_languages_with_the_same_ids_become_one_parallel_collection(tmp_path: Path, register: Register) -> None:
    family = add_mmarco(tmp_path, register)
    written = fetch_irds(family, str(tmp_path / "out"), ("en", "nl", "de"))
    collection = read_checked(tmp_path / "out")
    assert collection.languages == collection.passage_languages == ("en", "nl", "de")
    assert collection.passages("nl").rows() == [("d1", "een"), ("d2", "twee"), ("d3", "")]
    assert collection.queries("de").rows() == [("q2", "zwei?"), ("q1", "eins?")]
    assert collection.qrels("dev").rows() == [("q1", "d1", 1), ("q2", "d2", 1)]
    assert written.parallel == {"queries": 2, "passages": 3}


def test_all_languages_are_fetched_where_none_are_named(tmp_path: Path, register: Register) -> None:
    written = fetch_irds(add_mmarco(tmp_path, register), str(tmp_path / "out"))
    assert written.passages == {"de": 3, "en": 3, "nl": 3}


def test_a_family_gives_the_same_bytes_again(tmp_path: Path, register: Register) -> None:
    family = add_mmarco(tmp_path, register)
    files = fetch_irds(family, str(tmp_path / "a")).files
    assert fetch_irds(family, str(tmp_path / "b")).files == files
    for name in files:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_a_limit_keeps_the_same_queries_and_passages_in_every_language(tmp_path: Path, register: Register) -> None:
    fetch_irds(add_mmarco(tmp_path, register), str(tmp_path / "out"), ("en", "de"), num_queries=1)
    collection = read_checked(tmp_path / "out")
    assert collection.queries("de").rows() == [("q2", "zwei?")]
    assert collection.passages("de").rows() == [("d2", "zwei")]
    assert collection.passages("en").rows() == [("d2", "two")]


def test_docpairs_of_a_family_become_pairs_by_language(tmp_path: Path, register: Register) -> None:
    family = add_mmarco(tmp_path, register, docpairs="q1\td1\td2\n")
    written = fetch_irds(family, str(tmp_path / "out"), ("nl", "en"))
    assert written.pairs == {"dev/nl": 2, "dev/en": 2}
    pairs = pq.read_table(tmp_path / "out" / "pairs" / "dev" / "nl.parquet").to_pylist()
    assert [(row["query"], row["passage"], row["passage_language"]) for row in pairs] == [
        ("een?", "een", "nl"),
        ("een?", "twee", "nl"),
    ]


def test_a_query_judged_differently_in_two_languages_fails(tmp_path: Path, register: Register) -> None:
    family = add_mmarco(tmp_path, register)
    (tmp_path / "de" / "qrels.tsv").write_text("q1 0 d1 0\nq2 0 d2 1\n")
    with pytest.raises(InputError, match="judges the passage 'd1' for the query 'q1' twice: 0 and 1"):
        fetch_irds(family, str(tmp_path / "out"))


def test_a_family_that_breaks_off_in_its_second_language_looks_unfinished(tmp_path: Path, register: Register) -> None:
    family = add_mmarco(tmp_path, register)
    (tmp_path / "en" / "docs.tsv").write_text("d1\tone\nd2\n")
    with pytest.raises(CsgenError, match="ir_datasets failed: expected 2 fields, got 1"):
        fetch_irds(family, str(tmp_path / "out"))
    assert [path.name for path in sorted((tmp_path / "out").rglob("*passages*"))] == ["passages.jsonl"]
    assert not (tmp_path / "out" / "collection.json").exists()


def test_an_output_that_is_fetched_again_is_unfinished_meanwhile(tmp_path: Path, register: Register) -> None:
    family = add_mmarco(tmp_path, register)
    fetch_irds(family, str(tmp_path / "out"))
    (tmp_path / "de" / "docs.tsv").write_text("d1\n")
    with pytest.raises(CsgenError):
        fetch_irds(family, str(tmp_path / "out"))
    assert not (tmp_path / "out" / "collection.json").exists()


def write_lines(path: Path, *rows: dict[str, Any]) -> Any:
    from ir_datasets.util import LocalDownload

    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
    return LocalDownload(str(path))


def make_miracl(folder: Path, language: str, title: str, query: str, grade: int) -> Any:
    """A data set made of the parts that MIRACL's are made of."""
    from ir_datasets import formats
    from ir_datasets.datasets.miracl import MiraclDoc
    from ir_datasets.util import LocalDownload

    docs = write_lines(folder / "docs.jsonl", {"docid": "39#0", "title": title, "text": title.lower()})
    (folder / "topics.tsv").write_text(f"0\t{query}\n")
    (folder / "qrels.tsv").write_text(f"0\tQ0\t39#0\t{grade}\n")
    return ir_datasets.datasets.base.Dataset(
        formats.JsonlDocs(
            [docs],
            doc_cls=MiraclDoc,
            mapping={"doc_id": "docid", "title": "title", "text": "text"},
            lang=language,
            docstore_path=folder / "docs.pklz4",
        ),
        formats.TsvQueries(LocalDownload(str(folder / "topics.tsv")), lang=language),
        formats.TrecQrels(LocalDownload(str(folder / "qrels.tsv")), {}),
    )


def test_ids_that_mean_different_texts_in_two_languages_are_kept_apart(tmp_path: Path, register: Register) -> None:
    register("miracl/sw/dev/TEST", make_miracl(tmp_path / "sw", "sw", "Mwezi", "Mwezi ni nini?", 1))
    name = register("miracl/fi/dev/TEST", make_miracl(tmp_path / "fi", "fi", "Albedo", "Mikä on albedo?", 1))
    written = fetch_irds(name.replace("/fi/", "/LANG/"), str(tmp_path / "out"))
    collection = read_checked(tmp_path / "out")
    assert collection.passages("fi").select("_id", "title", "text").rows() == [("fi:39#0", "Albedo", "albedo")]
    assert collection.queries("sw").rows() == [("sw:0", "Mwezi ni nini?")]
    assert collection.qrels("dev").rows() == [("fi:0", "fi:39#0", 1), ("sw:0", "sw:39#0", 1)]
    assert written.parallel == {"queries": 0, "passages": 0}


def test_a_limit_counts_in_each_language_where_ids_are_not_shared(tmp_path: Path, register: Register) -> None:
    register("miracl/sw/dev/TEST", make_miracl(tmp_path / "sw", "sw", "Mwezi", "Mwezi ni nini?", 1))
    name = register("miracl/fi/dev/TEST", make_miracl(tmp_path / "fi", "fi", "Albedo", "Mikä on albedo?", 0))
    written = fetch_irds(name.replace("/fi/", "/LANG/"), str(tmp_path / "out"), num_queries=1)
    assert written.queries == {"fi": 1, "sw": 1}


def make_neuclir(folder: Path, language: str, code3: str, *, passage: str, grade: int) -> Any:
    """A data set made of the parts that NeuCLIR's are made of. The second topic has no translation by people."""
    from ir_datasets import formats
    from ir_datasets.util import LocalDownload

    docs = write_lines(
        folder / "docs.jsonl",
        {"id": f"{code3}-1", "title": "", "text": passage, "url": "", "time": "", "cc_file": ""},
    )

    def topic(number: int, human: str | None, machine: str) -> dict[str, Any]:
        def part(lang: str, source: str, title: str | None) -> dict[str, Any]:
            rest = {"topic_description": title, "topic_narrative": title}
            return {"lang": lang, "source": source, "topic_title": title, **rest}

        topics = [
            part("eng", "original", f"topic {number}"),
            part(code3, "human translation", human),
            part(code3, "google translation", machine),
        ]
        return {"topic_id": str(number), "languages_with_qrels": [code3], "topics": topics}

    topics = write_lines(folder / "topics.jsonl", topic(1, f"h1 {code3}", "m1"), topic(2, None, f"m2 {code3}"))
    (folder / "qrels.txt").write_text(f"1 0 {code3}-1 {grade}\n")
    return ir_datasets.datasets.base.Dataset(
        formats.ExctractedCCDocs(docs, subset_lang=language, count=1),
        formats.ExctractedCCQueries(
            topics, subset_lang=language, filter_lwq=False, cls=formats.ExctractedCCNoReportQuery
        ),
        formats.TrecQrels(LocalDownload(str(folder / "qrels.txt")), {}),
    )


def test_topics_come_in_english_and_in_the_translations_that_they_have(tmp_path: Path, register: Register) -> None:
    register("neuclir/1/zh/dev/TEST", make_neuclir(tmp_path / "zh", "zh", "zho", passage="一", grade=3))
    name = register("neuclir/1/fa/dev/TEST", make_neuclir(tmp_path / "fa", "fa", "fas", passage="یک", grade=1))
    written = fetch_irds(name.replace("/fa/", "/LANG/"), str(tmp_path / "out"), ("zh", "fa"))
    collection = read_checked(tmp_path / "out")
    assert (collection.languages, collection.passage_languages) == (("en", "zh", "fa"), ("zh", "fa"))
    assert collection.queries("en").rows() == [("1", "topic 1"), ("2", "topic 2")]
    assert collection.queries("fa").rows() == [("1", "h1 fas"), ("2", "m2 fas")]
    assert collection.passages("zh").rows() == [("zho-1", "一")]
    assert collection.qrels("dev").rows() == [("1", "zho-1", 3), ("1", "fas-1", 1)]
    assert written.parallel == {"queries": 2, "passages": 0}


def test_one_language_of_neuclir_has_its_topics_in_english_too(tmp_path: Path, register: Register) -> None:
    name = register("neuclir/1/zh/TEST", make_neuclir(tmp_path / "zh", "zh", "zho", passage="一", grade=3))
    fetch_irds(name, str(tmp_path / "out"))
    assert read_checked(tmp_path / "out").languages == ("en", "zh")


def test_passages_whose_languages_are_not_told_apart_are_refused_with_the_family_to_take(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"fetch irds:neuclir/1/LANG/trec-2023, which has the same passages"):
        fetch_irds("neuclir/1/multi/trec-2023", str(tmp_path))
