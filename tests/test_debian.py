"""Package descriptions: parsing, joining, near-duplicates, splits, and the machine's own apt on a local repository."""

import hashlib
import shutil
import subprocess
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from csgen.errors import CsgenError, InputError
from csgen.sources import apt
from csgen.sources.debian import VERBATIM, split_descriptions
from csgen.sources.descriptions import (
    DebianDescriptions,
    fetch_descriptions,
    join_descriptions,
    parse_descriptions,
    parse_sources,
    unwrap,
)
from csgen.sources.duplicates import connect, find_near_duplicates
from csgen.sources.splits import assign_splits, contains_query, group_rows

patient = settings(deadline=None)  # a busy machine
A, B, C = "a" * 32, "b" * 32, "c" * 32

ENGLISH = f"""\
Package: kitten
Description-md5: {A}
Description-en: small cat
 A cat that is
 still small.
 .
 It offers:
  * purring
    and sleeping
  - little else

Package: kitten-doc
Description-md5: {B}
Description-en: manual for a small cat
 How to feed it.

Package: nothing
Description-md5: {C}
Description-en: no long description

"""
GERMAN = f"""\
Package: kitten
Description-md5: {A}
Description-de: kleine Katze
 Eine noch kleine Katze.

Package: kitten-doc
Description-md5: {B}
Description-de: manual for a small cat
 How to feed it.

Package: gone
Description-md5: {"d" * 32}
Description-de: weg
 Gibt es auf Englisch nicht mehr.
"""
PACKAGES = """\
Package: kitten
Source: cat (1.2)
Version: 1

Package: kitten-doc
Version: 1
"""


def joined() -> DebianDescriptions:
    return join_descriptions({"en": [ENGLISH], "de": [GERMAN]}, [PACKAGES], {})


def test_a_stanza_gives_package_id_query_and_passage() -> None:
    rows, _ = parse_descriptions([GERMAN])
    assert rows.row(0) == ("kitten", A, "kleine Katze", "Eine noch kleine Katze.")


def test_wrapped_lines_are_joined_and_paragraphs_and_items_stand_alone() -> None:
    rows, _ = parse_descriptions([ENGLISH])
    expected = "A cat that is still small.\nIt offers:\n* purring and sleeping\n- little else"
    assert rows["passage"][0] == expected


def test_japanese_lines_are_joined_without_a_space() -> None:
    body = pl.DataFrame({"body": [" 猫は\n 小さい。\n とても cat\n です。\n"]})
    assert body.select(unwrap(pl.col("body"))).item() == "猫は小さい。とても cat です。"


def test_a_stanza_without_a_long_description_is_counted_as_incomplete() -> None:
    rows, counts = parse_descriptions([ENGLISH])
    assert (len(rows), counts) == (2, {"stanzas": 3, "incomplete": 1})


def test_the_last_line_of_an_index_needs_no_line_break() -> None:
    rows, _ = parse_descriptions([GERMAN.rstrip("\n")])
    assert rows["passage"][-1] == "Gibt es auf Englisch nicht mehr."


def test_a_package_without_a_source_field_is_its_own_source() -> None:
    assert parse_sources([PACKAGES]) == {"kitten": "cat", "kitten-doc": "kitten-doc"}


def test_a_passage_that_is_still_english_is_dropped_and_counted() -> None:
    descriptions = joined()
    assert descriptions.texts["de"]["id"].to_list() == [A]
    assert descriptions.counts["de"]["same_as_english"] == 1


def test_a_translation_of_an_unknown_description_is_dropped_and_counted() -> None:
    assert joined().counts["de"]["unknown_in_english"] == 1


def test_a_query_that_is_still_english_is_null_beside_a_translated_passage() -> None:
    german = GERMAN.replace("kleine Katze\n", "small cat\n", 1)
    row = join_descriptions({"en": [ENGLISH], "de": [german]}, [PACKAGES], {}).texts["de"].row(0)
    assert row == (A, None, "Eine noch kleine Katze.")


def test_an_english_index_of_an_unknown_format_is_refused() -> None:
    with pytest.raises(CsgenError, match="format"):
        join_descriptions({"en": ["Package: x\nSummary: y\n"]}, [], {})


@patient
@given(st.lists(st.text(), min_size=1, max_size=8))
def test_texts_equal_but_for_case_and_punctuation_share_a_cluster(texts: list[str]) -> None:
    ascii_texts = [text.encode("ascii", "ignore").decode() for text in texts]
    clusters = find_near_duplicates(pl.Series([*ascii_texts, *(f"  {text.upper()}!" for text in ascii_texts)]))
    assert (clusters[: len(texts)] == clusters[len(texts) :]).all()


def test_texts_that_differ_in_one_word_of_many_are_near_duplicates_and_others_are_not() -> None:
    long = " ".join(f"word{number}" for number in range(60))
    other = " ".join(f"term{number}" for number in range(60))
    assert find_near_duplicates(pl.Series([long, long.replace("word30", "x"), other])).tolist() == [0, 0, 2]


@patient
@given(st.lists(st.tuples(st.integers(0, 19), st.integers(0, 19)), max_size=30))
def test_connected_rows_share_the_smallest_of_them(links: list[tuple[int, int]]) -> None:
    expected = list(range(20))
    for _ in range(20):
        for left, right in links:
            expected[left] = expected[right] = min(expected[left], expected[right])
    rows = np.array(links, np.int64).reshape(-1, 2)
    assert connect(20, rows[:, 0], rows[:, 1]).tolist() == expected


def test_rows_of_one_source_or_one_cluster_are_in_one_group_however_remotely() -> None:
    clusters = np.array([0, 1, 1, 3, 4])
    sources = pl.Series(["x", "x", "y", "z", "z", "w"])
    rows = np.array([0, 1, 2, 3, 4, 4])
    assert group_rows(clusters, rows, sources).tolist() == [0, 0, 0, 3, 3]


@patient
@given(st.lists(st.tuples(st.integers(0, 9), st.sampled_from("abcdefgh")), min_size=1, max_size=40))
def test_a_group_is_never_split(rows: list[tuple[int, str]]) -> None:
    clusters = find_near_duplicates(pl.Series([f"text {number}" for number, _ in rows]))
    sources = pl.Series([source for _, source in rows])
    groups = group_rows(clusters, np.arange(len(rows)), sources)
    splits = assign_splits(groups, np.arange(len(rows)), sources)
    table = pl.DataFrame({"group": groups, "source": sources, "text": [number for number, _ in rows], "split": splits})
    for name in ("group", "source", "text"):
        assert table.group_by(name).agg(pl.col("split").n_unique())["split"].max() == 1


def test_about_nine_tenths_of_the_sources_train() -> None:
    sources = pl.Series([f"source{number}" for number in range(4000)])
    splits = assign_splits(np.arange(4000), np.arange(4000), sources)
    shares = {split: count / 4000 for split, count in splits.value_counts().iter_rows()}
    assert shares == pytest.approx({"train": 0.90, "dev": 0.05, "test": 0.05}, abs=0.012)


def test_a_query_is_found_in_its_passage_by_whole_words_alone() -> None:
    queries = pl.Series(["Small cat", "mall cat", "cat (small)", "..."])
    passages = pl.Series(["A small, cat!"] * 4)
    assert contains_query(queries, passages, "en").to_list() == [True, False, False, False]


def test_a_query_in_a_script_without_spaces_is_found_by_its_characters() -> None:
    assert contains_query(pl.Series(["小さい猫"]), pl.Series(["これは小さい猫です。"]), "ja").to_list() == [True]


def test_test_queries_that_their_passage_holds_stand_apart() -> None:
    ids = [f"{number:032x}" for number in range(200)]
    passages = [f"{'tool for' if number % 2 else 'tools of'} thing{number}" for number in range(200)]
    english = pl.DataFrame({"id": ids, "query": [f"tool for thing{n}" for n in range(200)], "passage": passages})
    sources = pl.DataFrame({"id": ids, "source": [f"source{number}" for number in range(200)]})
    qrels = split_descriptions(DebianDescriptions({"en": english}, sources, {}, {})).qrels
    assert {int(key, 16) % 2 for key in qrels[VERBATIM]["query_id"]} == {1}
    assert {int(key, 16) % 2 for key in qrels["test"]["query_id"]} == {0}


def test_a_query_is_relevant_to_every_passage_of_the_same_text() -> None:
    english = pl.DataFrame({"id": [A, B, C], "query": ["x", "y", "z"], "passage": ["one text", "one text", "else"]})
    sources = pl.DataFrame({"id": [A, B, C], "source": ["s", "s", "s"]})
    (qrels,) = split_descriptions(DebianDescriptions({"en": english}, sources, {}, {})).qrels.values()
    assert qrels.select("query_id", "passage_id").rows() == [(A, A), (A, B), (B, A), (B, B), (C, C)]


def test_a_machine_without_apt_is_told_of_the_sample(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(InputError, match=r"no apt-get.*csgen fetch sample"):
        fetch_descriptions(["de"], str(tmp_path / "cache"))


needs_apt = pytest.mark.skipif(shutil.which("apt-get") is None, reason="this machine has no apt-get")


def lay_out_repository(folder: Path) -> Path:
    """A package repository of three files; returns its sources.list."""
    machine = subprocess.run(
        ["dpkg", "--print-architecture"], capture_output=True, text=True, check=True
    ).stdout.strip()
    contents = {
        f"main/binary-{machine}/Packages": PACKAGES,
        "main/i18n/Translation-en": ENGLISH,
        "main/i18n/Translation-de": GERMAN,
    }
    release = (
        f"Origin: Test\nSuite: tiny\nCodename: tiny\nVersion: 1\nArchitectures: {machine}\nComponents: main\nSHA256:\n"
    )
    for name, text in contents.items():
        path = folder / "dists/tiny" / name
        path.parent.mkdir(parents=True) if not path.parent.exists() else None
        path.write_text(text)
        release += f" {hashlib.sha256(text.encode()).hexdigest()} {len(text.encode())} {name}\n"
    (folder / "dists/tiny/Release").write_text(release)
    sources = folder / "sources.list"
    sources.write_text(f"deb [trusted=yes] file:{folder} tiny main\n")
    return sources


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Makes a local repository the only package source of this machine's apt."""
    sources = lay_out_repository(tmp_path / "repository")
    config = tmp_path / "apt.conf"
    config.write_text(f'Dir::Etc::sourcelist "{sources}";\nDir::Etc::sourceparts "/dev/null";\n')
    monkeypatch.setenv("APT_CONFIG", str(config))
    return tmp_path / "repository"


@needs_apt
def test_the_machines_apt_fetches_a_repository_without_root(repository: Path, tmp_path: Path) -> None:
    descriptions = fetch_descriptions(["de"], str(tmp_path / "cache"))
    assert descriptions.texts["de"].rows() == [(A, "kleine Katze", "Eine noch kleine Katze.")]
    assert descriptions.sources.rows() == [(A, "cat"), (B, "kitten-doc")]


@needs_apt
def test_only_the_languages_asked_for_are_fetched(repository: Path, tmp_path: Path) -> None:
    indexes = apt.fetch_indexes(["en"], str(tmp_path / "cache"))
    assert [index.name.rpartition("/")[2] for index in indexes] == ["Packages", "Translation-en"]


@needs_apt
def test_a_language_that_the_sources_lack_is_refused_with_those_they_offer(repository: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"--languages fi:.*they offer de, en"):
        fetch_descriptions(["de", "fi"], str(tmp_path / "cache"))


@needs_apt
def test_without_a_repository_apts_own_complaint_is_shown(repository: Path, tmp_path: Path) -> None:
    shutil.rmtree(repository / "dists")
    with pytest.raises(CsgenError, match=r"File not found.*csgen fetch sample"):
        fetch_descriptions(["de"], str(tmp_path / "cache"))
