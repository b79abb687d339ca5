"""The stage fetch: options, the carried sample, and what is written."""

import json
from pathlib import Path

import polars as pl
import pytest

from csgen.errors import CsgenError, InputError
from csgen.manifest import Manifest
from csgen.schema import pair_schema
from csgen.sources import fetch as stage
from csgen.sources.collection import Description, check_collection, read_collection
from csgen.sources.debian import split_descriptions
from csgen.sources.descriptions import DebianDescriptions
from csgen.sources.fetch import FetchConfig, FetchSummary, fetch
from csgen.sources.fetched import Fetched
from csgen.sources.irds import FetchedDataset


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
    assert summary.pairs == {"train": len(pairs)}


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
        ({"source": "fedora"}, "source must be debian, sample or irds:ID, got 'fedora'"),
        ({"source": "irds:"}, "source must be"),
        ({"languages": ("klingon",)}, "unknown language 'klingon'"),
        ({"hard_negatives": 5}, "--hard-negatives must be at most --negatives 4, got 5"),
        ({"negatives": 101}, "--negatives"),
        ({"num_queries": 10}, "--num-queries is for irds:ID alone"),
        ({"source": "irds:x", "languages": ("de", "en")}, "irds:x has one language"),
    ],
)
def test_options_that_make_no_sense_are_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        FetchConfig.from_options({"source": "sample", "output": "out"} | options)


def test_a_data_set_of_irds_is_written_with_a_manifest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def write(dataset_id: str, folder: str, num_queries: int | None, language: str | None) -> FetchedDataset:
        Path(folder).mkdir()
        Path(folder, "passages.jsonl").write_text("")
        description = Description(name=dataset_id, languages=(str(language),), licence="", source=dataset_id)
        return FetchedDataset(description, "dev", ("passages.jsonl",), {"passages": 7, "queries": 5, "qrels": 6})

    monkeypatch.setattr(stage, "fetch_irds", write)
    options = {"source": "irds:mmarco/de/dev", "output": str(tmp_path / "out"), "languages": ("de",), "num_queries": 5}
    summary = fetch(FetchConfig.from_options(options))
    assert summary.rows() == [("passages", "de", 7), ("queries", "de", 5), ("judgements", "dev", 6)]
    assert Manifest.read(str(tmp_path / "out")).inputs == {"source": "mmarco/de/dev"}


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
