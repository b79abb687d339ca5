"""A segment's passage table: rows, addresses, order keys, what is refused, and files that are not what they were."""

import os
import shutil
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pytest
import toy_passages
import xxhash
from hypothesis import given, settings
from hypothesis import strategies as st
from toy_passages import batch, write, write_whole

from csgen.errors import InputError
from indexing.passages import PassageTable, join_titles_of, table, write_passages, writing
from indexing.passages.strings import as_strings, find_hashes, find_strings, hash_strings, read_first_bytes

patient = settings(deadline=None, max_examples=25)
IDS = st.lists(st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=12), max_size=12)
NUM_LARGE = 70_001


@pytest.fixture(scope="module")
def large(tmp_path_factory):
    """A table of more than one batch of rows, with text "text of ROW" and number ROW."""
    rows = pl.DataFrame({"number": range(NUM_LARGE)}).select(
        pl.when(pl.col("number") % 3 == 0).then(pl.lit("de")).otherwise(pl.lit("en")).alias("language"),
        pl.format("p{}", "number").alias("passage_id"),
        pl.format("text of {}", "number").alias("text"),
        pl.col("number").cast(pl.Int64),
    )
    return write(tmp_path_factory.mktemp("large"), *rows.to_arrow().to_batches(max_chunksize=9_999))


def test_rows_are_as_given(tmp_path):
    made = write(
        tmp_path,
        batch("de/1 Haus", "en/1 house", title=["Bau", None], year=[2019, None], free=[None, True], cost=[1.5, None]),
    )
    assert made.take([0, 1]).to_pylist() == [
        {"language": "de", "passage_id": "1", "title": "Bau", "text": "Haus", "year": 2019, "free": None, "cost": 1.5},
        {"language": "en", "passage_id": "1", "title": None, "text": "house", "year": None, "free": True, "cost": None},
    ]
    assert made.fields == {"year": pa.int64(), "free": pa.bool_(), "cost": pa.float64()}


def test_titles_are_null_where_none_were_given(tmp_path):
    assert write(tmp_path, batch("de/1 Haus")).take([0], ["title", "text"]).to_pylist() == [
        {"title": None, "text": "Haus"}
    ]


def test_rows_come_in_the_order_asked_for_and_as_often(large):
    rows = [NUM_LARGE - 1, 3, 65_536, 65_535, 3]
    taken = large.take(rows, ["number", "language", "text"])
    assert taken.column_names == ["number", "language", "text"]
    assert taken["number"].to_pylist() == rows
    assert taken["language"].to_pylist() == ["en" if row % 3 else "de" for row in rows]
    assert taken["text"].to_pylist() == [f"text of {row}" for row in rows]


def test_all_rows_can_be_taken_at_once(large):
    assert large.take(np.arange(NUM_LARGE), ["number"])["number"].to_pylist() == list(range(NUM_LARGE))


def test_no_rows_can_be_taken(large):
    taken = large.take([], None)
    assert taken.column_names == ["language", "passage_id", "title", "text", "number"]
    assert taken.num_rows == 0


@pytest.mark.parametrize("row", [-1, NUM_LARGE])
def test_rows_beyond_the_table_are_refused(large, row):
    with pytest.raises(ValueError, match="rows must be from 0 to 70000"):
        large.take([row])


def test_unknown_columns_are_refused(large):
    with pytest.raises(ValueError, match="no column 'year'; there are language, passage_id, title, text, number"):
        large.take([0], ["year"])


def test_languages_are_counted_and_coded(large):
    assert large.languages == {"de": 23_334, "en": 46_667}
    assert np.bincount(large.codes).tolist() == [23_334, 46_667]


def test_many_languages_have_wider_codes(tmp_path):
    languages = [f"x{number}" for number in range(300)]
    made = write(tmp_path, batch(*(f"{language}/1 text" for language in languages)))
    assert made.codes.dtype == np.uint16
    assert made.take(np.arange(300), ["language"])["language"].to_pylist() == languages


def test_addresses_are_language_and_id(large):
    assert large.addresses([1, 0, 65_540]).to_pylist() == ["en/p1", "de/p0", "en/p65540"]


def test_rows_are_found_by_their_addresses(large):
    rows = np.random.default_rng(1).integers(0, NUM_LARGE, 500)
    assert large.find(large.addresses(rows)).tolist() == rows.tolist()


def test_absent_and_malformed_addresses_are_not_found(large):
    assert large.find(["en/p0", "fr/p1", "p1", "", "de/p0", None]).tolist() == [-1, -1, -1, -1, 0, -1]


def test_an_id_may_have_slashes(tmp_path):
    assert write(tmp_path, batch("de/a/b text", "de/a more")).find(["de/a/b", "de/a", "a/b"]).tolist() == [0, 1, -1]


@patient
@given(IDS, IDS)
def test_every_address_leads_to_its_row_alone(tmp_path_factory, ids, others):
    ids = list(dict.fromkeys(ids))
    languages, texts = ["de"] * len(ids), ["text"] * len(ids)
    given_rows = pa.record_batch({"language": languages, "passage_id": pa.array(ids, pa.string()), "text": texts})
    made = write(tmp_path_factory.mktemp("found"), given_rows.cast(batch().schema))
    wanted = [f"de/{passage_id}" for passage_id in [*ids, *others]]
    known = {address: row for row, address in enumerate(wanted[: len(ids)])}
    assert made.find(wanted).tolist() == [known.get(address, -1) for address in wanted]


def test_addresses_with_the_same_hash_are_told_apart(tmp_path, monkeypatch):
    for module in (writing, table):
        monkeypatch.setattr(module, "hash_strings", lambda strings: hash_strings(strings) % 3)
    passages = [f"de/{number} text" for number in range(50)]
    made = write(tmp_path, batch(*passages))
    assert made.find([f"de/{number}" for number in (*range(49, -1, -1), 50)]).tolist() == [*range(49, -1, -1), -1]
    with pytest.raises(InputError, match="de/7 comes again"):
        write_passages(tmp_path, [batch(*passages, "de/7 text")])


@patient
@given(st.lists(st.text(max_size=200), max_size=20))
def test_hashes_are_those_of_the_library(strings):
    expected = [xxhash.xxh64_intdigest(string.encode()) for string in strings]
    assert hash_strings(as_strings(strings)).tolist() == expected
    assert hash_strings(as_strings(["before", *strings]).slice(1)).tolist() == expected


@patient
@given(st.lists(st.integers(0, 40) | st.integers(0, 2**64 - 1), max_size=300), st.lists(st.integers(0, 2**64 - 1)))
def test_hashes_are_found_where_a_plain_search_finds_them(values, wanted):
    hashes = np.sort(np.array(values, np.uint64))
    wanted = np.array([*wanted, *values], np.uint64)
    assert find_hashes(hashes, wanted).tolist() == np.searchsorted(hashes, wanted).tolist()


@patient
@given(st.sets(st.text(max_size=5)), st.lists(st.text(max_size=5)))
def test_strings_are_found_among_those_sorted_by_hash(known, wanted):
    strings = sorted(known, key=lambda string: xxhash.xxh64_intdigest(string.encode()))
    places = find_strings(hash_strings(as_strings(strings)), as_strings(strings), as_strings([*wanted, *strings]))
    assert places.tolist() == [strings.index(s) if s in known else -1 for s in [*wanted, *strings]]


@patient
@given(st.lists(st.text(max_size=12), max_size=20))
def test_order_keys_never_contradict_the_order_of_addresses(strings):
    keys = read_first_bytes(as_strings(strings)).tolist()
    by_key = sorted(zip(keys, (string.encode() for string in strings), strict=True))
    assert [string for _, string in by_key] == sorted(string.encode() for string in strings)


def test_order_keys_are_the_first_eight_bytes(tmp_path):
    made = write(tmp_path, batch("de/1 text", "de/123456789 text"))
    assert made.order_keys.tolist() == [int.from_bytes(key) for key in (b"de/1\0\0\0\0", b"de/12345")]


def test_a_second_passage_of_an_address_is_refused_with_its_place(tmp_path):
    first, second = batch("de/1 a", "de/2 b", "en/1 c"), batch("de/2 d", "en/1 e", "de/3 f")
    with pytest.raises(InputError, match=r"^mine:2: the address de/2 comes again further down, as 2 in all do; .*last"):
        write_passages(tmp_path, [first, second], source="mine")


def test_the_last_passage_of_an_address_wins_if_asked(tmp_path):
    first, second = batch("de/1 a", "de/2 b", "en/1 c"), batch("de/2 d", "en/1 e", "de/2 f", "de/3 g")
    written = write_passages(tmp_path, [first, second], on_duplicate="last")
    assert (written.num_passages, written.num_replaced, written.languages) == (4, 3, {"de": 3, "en": 1})
    assert written.kept.tolist() == [0, 4, 5, 6]
    made = PassageTable.open(tmp_path)
    assert made.take([0, 1, 2, 3], ["text"])["text"].to_pylist() == ["a", "e", "f", "g"]
    assert made.find(["de/1", "en/1", "de/2", "de/3"]).tolist() == [0, 1, 2, 3]


@patient
@given(st.lists(st.integers(0, 6), max_size=20))
def test_files_are_as_if_the_replaced_had_never_been_given(tmp_path_factory, numbers):
    folders = [tmp_path_factory.mktemp(name) for name in ("all", "live")]
    live = [place for place, number in enumerate(numbers) if number not in numbers[place + 1 :]]
    write_passages(folders[0], [batch(*(f"de/{n} text{p}" for p, n in enumerate(numbers)))], on_duplicate="last")
    write_passages(folders[1], [batch(*(f"de/{numbers[place]} text{place}" for place in live))])
    for name in (writing.PASSAGES, writing.ADDRESSES):
        assert (folders[0] / name).read_bytes() == (folders[1] / name).read_bytes()


FAULTS = {
    "language: is null": (None, "1", "text"),
    "language: cannot stand": ("d/e", "1", "text"),
    "passage_id: is null": ("de", None, "text"),
    "passage_id: is empty": ("de", "", "text"),
    "text: is null": ("de", "1", None),
    "text: is empty": ("de", "1", " \n\t\u3000"),
}


def faulty(values):
    columns = (("de", "en"), ("good", "good"), ("text", "text"))
    return pa.record_batch(
        {
            name: pa.array([first, value, last], pa.string())
            for name, value, (first, last) in zip(("language", "passage_id", "text"), values, columns, strict=True)
        }
    )


@pytest.mark.parametrize("reason", FAULTS)
def test_a_faulty_passage_is_refused_with_its_row(tmp_path, reason):
    with pytest.raises(InputError, match=f"^mine:2: {reason}"):
        write_passages(tmp_path, [faulty(FAULTS[reason])], source="mine")


@pytest.mark.parametrize("reason", FAULTS)
def test_a_faulty_passage_is_set_aside_if_asked(tmp_path, reason):
    written = write_passages(tmp_path, [batch("de/a b"), faulty(FAULTS[reason])], on_error="skip")
    (reject,) = written.rejects
    assert (reject.row, reject.reason.startswith(reason)) == (3, True)
    assert written.kept.tolist() == [0, 1, 3]
    assert PassageTable.open(tmp_path).addresses([0, 1, 2]).to_pylist() == ["de/a", "de/good", "en/good"]


def test_beside_a_title_the_text_may_be_empty(tmp_path):
    rows = batch("de/1 ", "de/2 ", "de/3  ", "de/4 text", title=["Haus", None, " ", None])
    written = write_passages(tmp_path, [rows], on_error="skip")
    assert [(reject.row, reject.reason) for reject in written.rejects] == [
        (row, "text: is empty, and there is no title") for row in (2, 3)
    ]
    assert PassageTable.open(tmp_path).addresses([0, 1]).to_pylist() == ["de/1", "de/4"]


def test_text_that_is_not_utf_8_is_refused(tmp_path):
    bad = pa.array([b"\xff\xfe"]).view(pa.string())
    given_rows = pa.record_batch({"language": ["de"], "passage_id": ["1"], "text": bad})
    with pytest.raises(InputError, match=r"^mine:1: text: Invalid UTF8"):
        write_passages(tmp_path, [given_rows], source="mine")


def test_a_missing_column_is_named(tmp_path):
    with pytest.raises(InputError, match="no column 'text'"):
        write_passages(tmp_path, [batch("de/1 text").drop_columns("text")])


@pytest.mark.parametrize("column", [pa.array([1], pa.int32()), pa.array([[1]]), pa.nulls(1)])
def test_metadata_of_other_types_are_refused(tmp_path, column):
    with pytest.raises(InputError, match="year: metadata are string, int64, float64 or bool, not"):
        write_passages(tmp_path, [batch("de/1 text", year=column)])


def test_ids_that_are_no_strings_are_refused(tmp_path):
    given_rows = pa.record_batch({"language": ["de"], "passage_id": [1], "text": ["text"]})
    with pytest.raises(InputError, match="passage_id: must be strings, is int64"):
        write_passages(tmp_path, [given_rows])


def test_batches_with_other_columns_are_refused(tmp_path):
    with pytest.raises(InputError, match="mine:2: from here on the columns are"):
        write_passages(tmp_path, [batch("de/1 text"), batch("de/2 text", year=[1])], source="mine")


@pytest.mark.parametrize("batches", [[], [batch()]])
def test_a_table_may_be_empty(tmp_path, batches):
    written = write_passages(tmp_path, batches)
    made = PassageTable.open(tmp_path)
    assert (written.num_passages, len(made), made.languages) == (0, 0, {})
    assert made.find(["de/1"]).tolist() == [-1]
    assert made.take([]).num_rows == 0


@patient
@given(st.data())
def test_the_same_passages_give_the_same_bytes_however_they_are_cut(tmp_path_factory, data):
    num = data.draw(st.integers(1, 40))
    nullable = data.draw(st.lists(st.booleans(), min_size=num, max_size=num))
    rows = batch(
        *(f"de/{number} text {number}" for number in range(num)),
        section=pa.array([f"s{n}" if full else None for n, full in enumerate(nullable)], pa.string()),
        year=pa.array(range(num), pa.int64(), mask=~np.array(nullable)),  # numbers stay under the nulls
        free=pa.array([n % 3 == 0 if full else None for n, full in enumerate(nullable)], pa.bool_()),
    )
    cuts = sorted({0, num, *data.draw(st.lists(st.integers(0, num)))})
    parts = [rows.slice(start, stop - start) for start, stop in pairwise(cuts)]
    clean = pa.RecordBatch.from_pylist(rows.to_pylist(), rows.schema)
    contents = []
    for batches in ([rows], parts, [clean]):
        folder = tmp_path_factory.mktemp("cut")
        write_passages(folder, batches)
        contents.append([(folder / name).read_bytes() for name in (writing.PASSAGES, writing.ADDRESSES)])
    assert contents[0] == contents[1] == contents[2]


def test_what_was_taken_can_be_written_again(tmp_path):
    made = write(tmp_path / "one", batch("de/1 a", "en/2 b", title=["t", None], year=[1, None]))
    again = write(tmp_path / "two", *made.take([0, 1]).to_batches())
    assert again.take([0, 1]).equals(made.take([0, 1]))


def test_titles_stand_before_texts_where_passages_are_searched(tmp_path):
    made = write(tmp_path, batch("de/1 a", "de/2 b", "de/3 c", title=["T", None, ""]))
    assert join_titles_of(made.take([2, 1, 0])).to_list() == ["c", "b", "T a"]


def test_open_tables_hold_no_file_open(tmp_path):
    write(tmp_path, batch("de/1 text", "de/2 text"))
    before = len(list(Path("/proc/self/fd").iterdir()))
    opened = [PassageTable.open(tmp_path) for _ in range(20)]
    assert [made.take([1])["text"][0].as_py() for made in opened] == ["text"] * 20
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_a_table_stays_readable_when_its_files_are_removed(tmp_path):
    made = write(tmp_path, batch("de/1 text"))
    shutil.rmtree(tmp_path)
    assert made.find(["de/1"]).tolist() == [0]
    assert made.take([0])["text"].to_pylist() == ["text"]


@pytest.mark.parametrize("name", [writing.PASSAGES, writing.ADDRESSES])
def test_a_missing_file_is_named(tmp_path, name):
    write(tmp_path, batch("de/1 text"))
    (tmp_path / name).unlink()
    with pytest.raises(InputError, match=f"{name}: no such file"):
        PassageTable.open(tmp_path)


@pytest.mark.parametrize("name", [writing.PASSAGES, writing.ADDRESSES])
def test_a_file_cut_short_anywhere_is_named(tmp_path, name):
    write(tmp_path, batch(*(f"de/{number} text" for number in range(30))))
    content = (tmp_path / name).read_bytes()
    for size in [0, 1, 7, *range(8, len(content), 97), len(content) - 1]:
        (tmp_path / name).write_bytes(content[:size])
        with pytest.raises(InputError, match=f"{name}: damaged, altered or cut short"):
            PassageTable.open(tmp_path)


def test_a_passage_file_of_another_table_is_named(tmp_path):
    write(tmp_path / "one", batch("de/1 text"))
    write(tmp_path / "two", batch(*(f"de/{number} text" for number in range(30))))
    shutil.copy(tmp_path / "two" / writing.PASSAGES, tmp_path / "one")
    with pytest.raises(InputError, match=r"passages.arrow: damaged"):
        PassageTable.open(tmp_path / "one")


def test_a_file_of_another_kind_is_named(tmp_path):
    write(tmp_path, batch("de/1 text"))
    shutil.copy(tmp_path / writing.PASSAGES, tmp_path / writing.ADDRESSES)
    with pytest.raises(InputError, match=r"addresses.arrow: of another kind or version"):
        PassageTable.open(tmp_path)


def test_altered_bytes_end_in_a_message_or_in_other_values_but_never_in_a_signal(tmp_path):
    texts = ["rotes Haus", "a red tree", "Haus am Fluss"]
    rows = [f"{'de' if number % 2 else 'en'}/p{number} {texts[number % 3]} {number}" for number in range(40)]
    sections, numbers = [["devel", None, "libs"][n % 3] for n in range(40)], [1990 + n for n in range(40)]
    write_whole(tmp_path, batch(*rows, section=sections, year=numbers, free=[n % 2 == 0 for n in range(40)]))
    command = [sys.executable, toy_passages.__file__, str(tmp_path), "40"]
    root = str(Path(__file__).parents[1])
    done = subprocess.run(command, env={**os.environ, "PYTHONPATH": root}, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    noticed, unnoticed = map(int, done.stdout.split())
    assert noticed + unnoticed == 4 * 40
    assert noticed > 20
