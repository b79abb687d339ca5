"""The stage fetch: options, the carried sample, and what is written."""

import json
from pathlib import Path

import polars as pl
import pytest

from csgen.errors import CsgenError, InputError
from csgen.manifest import Manifest
from csgen.schema import pair_schema
from csgen.sources import fetch as stage
from csgen.sources.collection import check_collection, read_collection
from csgen.sources.debian import split_descriptions
from csgen.sources.descriptions import DebianDescriptions
from csgen.sources.fetch import FetchConfig, FetchSummary, fetch
from csgen.sources.fetched import Fetched


def fetch_sample_to(folder: Path, **options: object) -> FetchSummary:
    return fetch(
        FetchConfig.from_options({"source": "sample", "output": str(folder), "languages": ("de", "ja")} | options)
    )


def files_of(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def descriptions() -> Fetched:
    """200 made-up descriptions, every tenth of them translated."""
    ids = [f"{number:032x}" for number in range(200)]
    english = pl.DataFrame(
        {"id": ids, "query": [f"thing{n}" for n in range(200)], "passage": [f"tool{n}" for n in range(200)]}
    )
    german = english.filter(pl.int_range(pl.len()) % 10 == 0).with_columns(passage="passage" + pl.lit(" auf Deutsch"))
    sources = pl.DataFrame({"id": ids, "source": [f"source{number}" for number in range(200)]})
    return split_descriptions(DebianDescriptions({"en": english, "de": german}, sources, {}, {}))


def test_the_sample_is_a_sound_collection_in_english_and_the_languages_asked_for(tmp_path: Path) -> None:
    fetch_sample_to(tmp_path / "out")
    collection = read_collection(str(tmp_path / "out"))
    check_collection(collection)
    assert collection.languages == ("en", "de", "ja")


def test_the_sample_brings_the_lexicons_of_its_languages(tmp_path: Path) -> None:
    fetch_sample_to(tmp_path / "out")
    assert {path.name for path in (tmp_path / "out/lexicon").iterdir()} - {"en-en.tsv"} == {"en-de.tsv", "en-ja.tsv"}


def test_pairs_have_the_columns_of_the_schema_and_four_negatives_a_query(tmp_path: Path) -> None:
    summary = fetch_sample_to(tmp_path / "out")
    pairs = pl.read_parquet(tmp_path / "out/pairs/train.parquet")
    assert pairs.columns == pair_schema([*pairs.columns]).names
    assert pairs["label"].mean() == 0.2
    assert summary.pairs == {"train": len(pairs), "half": len(pairs) // 2}


def test_the_manifest_names_every_file_but_itself(tmp_path: Path) -> None:
    fetch_sample_to(tmp_path / "out")
    written = set(files_of(tmp_path / "out")) - {"manifest.json"}
    assert set(Manifest.read(str(tmp_path / "out")).files) == written


def test_the_same_options_give_the_same_bytes(tmp_path: Path) -> None:
    fetch_sample_to(tmp_path / "one")
    fetch_sample_to(tmp_path / "two")
    assert files_of(tmp_path / "one") == files_of(tmp_path / "two")


def test_a_finished_output_is_refused(tmp_path: Path) -> None:
    fetch_sample_to(tmp_path / "out")
    with pytest.raises(InputError, match="rm -r"):
        fetch_sample_to(tmp_path / "out")


def test_a_language_that_the_sample_lacks_is_refused_with_those_it_has(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="--languages fi: the sample has en, de, it"):
        fetch_sample_to(tmp_path / "out", languages=("fi",))


def test_nothing_is_written_when_fetching_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(languages: tuple[str, ...], cache: str) -> Fetched:
        raise CsgenError("no network")

    monkeypatch.setattr(stage, "fetch_debian", fail)
    with pytest.raises(CsgenError, match="no network"):
        fetch(FetchConfig.from_options({"source": "debian", "output": str(tmp_path / "out")}))
    assert not (tmp_path / "out").exists()


def test_debian_is_written_as_a_sound_collection_with_pairs_to_train_and_to_develop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stage, "fetch_debian", lambda languages, cache: descriptions())
    summary = fetch(
        FetchConfig.from_options({"source": "debian", "output": str(tmp_path / "out"), "languages": ("de",)})
    )
    check_collection(read_collection(str(tmp_path / "out")))
    assert summary.passages == {"en": 200, "de": 20}
    assert set(summary.pairs) == {"train", "dev"}


def test_no_training_pair_holds_a_text_of_another_split(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stage, "fetch_debian", lambda languages, cache: descriptions())
    fetch(FetchConfig.from_options({"source": "debian", "output": str(tmp_path / "out"), "languages": ("de",)}))
    for split in ("train", "dev"):
        qrels = read_collection(str(tmp_path / "out")).qrels(split)
        pairs = pl.read_parquet(tmp_path / f"out/pairs/{split}.parquet")
        assert set(pairs["passage_id"]) <= set(qrels["passage_id"])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"source": "fedora"}, "source must be debian, sample, irds:ID or hub:NAME, got 'fedora'"),
        ({"source": "irds:"}, "source must be"),
        ({"source": "hub:"}, "source must be"),
        ({"languages": ("klingon",)}, "unknown language 'klingon'"),
        ({"hard_negatives": 5}, "--hard-negatives must be at most --negatives 4, got 5"),
        ({"negatives": 101}, "--negatives"),
        ({"num_queries": 10}, "--num-queries is for irds:ID alone"),
        ({"source": "hub:a/b", "num_queries": 10}, "--num-queries is for irds:ID alone"),
        ({"source": "irds:x", "languages": ("de", "en")}, "irds:x has one language, got --languages de,en$"),
        ({"source": "irds:miracl/sw/dev", "languages": ("sw", "ar")}, "write LANG for it: irds:miracl/LANG/dev"),
        ({"source": "irds:x", "on_error": "pass"}, "--on-error: input should be 'fail' or 'skip', got 'pass'"),
    ],
)
def test_options_that_make_no_sense_are_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        FetchConfig.from_options({"source": "sample", "output": "out"} | options)


def register_german(folder: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A data set of ir_datasets with two passages and two queries in German, of which one is judged."""
    ir_datasets = pytest.importorskip("ir_datasets")
    texts = {"docs": "d1\teins\nd2\tzwei\n", "queries": "q1\teins?\nq2\tzwei?\n", "qrels": "q2 0 d2 3\n"}
    files = {}
    for kind, text in texts.items():
        (folder / f"{kind}.tsv").write_text(text)
        files[kind] = ir_datasets.util.LocalDownload(str(folder / f"{kind}.tsv"))
    dataset = ir_datasets.Dataset(
        ir_datasets.formats.TsvDocs(files["docs"], lang="de"),
        ir_datasets.formats.TsvQueries(files["queries"], lang="de"),
        ir_datasets.formats.TrecQrels(files["qrels"], {}),
    )
    monkeypatch.setitem(ir_datasets.registry._registered, "toy/dev", dataset)
    return "irds:toy/dev"


def test_a_data_set_of_irds_is_written_with_a_manifest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    options = {"source": register_german(tmp_path, monkeypatch), "output": str(tmp_path / "out"), "num_queries": 5}
    summary = fetch(FetchConfig.from_options(options))
    assert summary.rows() == [("passages", "de", 1), ("queries", "de", 1), ("judgements", "dev", 1)]
    manifest = Manifest.read(str(tmp_path / "out"))
    assert manifest.inputs == {"source": "ir_datasets toy/dev"}
    assert {*manifest.files} == {*files_of(tmp_path / "out")} - {"manifest.json"}


def write_bilingual(folder: Path) -> None:
    """A data set in the form that it has on the hub: a passage, a query and a judgement, in French and Dutch."""
    for language in ("fr", "nl"):
        (folder / language).mkdir(parents=True)
        (folder / language / "corpus.csv").write_text(f"id,article\n1,{language}\n")
        (folder / language / "test.csv").write_text(f"id,question,article_ids\n5,{language}?,1\n")


def test_a_data_set_of_the_hub_is_written_with_a_manifest(tmp_path: Path) -> None:
    write_bilingual(tmp_path / "in")
    summary = fetch(FetchConfig.from_options({"source": f"hub:{tmp_path}/in", "output": str(tmp_path / "out")}))
    assert summary.rows() == [
        ("passages", "fr", 1), ("passages", "nl", 1), ("queries", "fr", 1), ("queries", "nl", 1),
        ("judgements", "test", 1), ("queries", "in every language", 1), ("passages", "in every language", 1),
    ]  # fmt: skip
    manifest = Manifest.read(str(tmp_path / "out"))
    assert {*manifest.inputs["files"]} == {"fr/corpus.csv", "fr/test.csv", "nl/corpus.csv", "nl/test.csv"}
    assert {*manifest.files} == {*files_of(tmp_path / "out")} - {"manifest.json"}


def test_judgements_that_are_left_out_are_counted(tmp_path: Path) -> None:
    write_bilingual(tmp_path / "in")
    (tmp_path / "in/fr/test.csv").write_text('id,question,article_ids\n5,fr?,"1,9"\n')
    options = {"source": f"hub:{tmp_path}/in", "output": str(tmp_path / "out")}
    with pytest.raises(InputError, match="--on-error skip leaves them out"):
        fetch(FetchConfig.from_options(options))
    assert not (tmp_path / "out/manifest.json").exists()
    summary = fetch(FetchConfig.from_options(options | {"on_error": "skip"}))
    assert summary.rows()[-1] == ("judgements", "left out", 1)


def test_the_summary_is_a_table_and_json(tmp_path: Path) -> None:
    summary = fetch_sample_to(tmp_path / "out")
    assert ("passages", "de", 60) in summary.rows()
    assert json.loads(summary.model_dump_json())["queries"]["ja"] == 60


def test_the_cache_is_in_the_users_cache_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def note(languages: tuple[str, ...], cache: str) -> Fetched:
        asked.append(cache)
        return descriptions()

    monkeypatch.setattr(stage, "fetch_debian", note)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    fetch(FetchConfig.from_options({"source": "debian", "output": str(tmp_path / "out")}))
    assert asked == [str(tmp_path / "cache/csgen/apt")]


def test_the_halves_of_the_sample_share_no_query(tmp_path: Path) -> None:
    fetch_sample_to(tmp_path / "out")
    trained = pl.read_parquet(tmp_path / "out/pairs/half.parquet")["query_id"].unique()
    judged = read_collection(str(tmp_path / "out")).qrels("other-half")["query_id"].unique()
    assert (len(trained), len(judged)) == (30, 30)
    assert not judged.is_in(trained.implode()).any()
