"""Building, adding to, deleting from and compacting an index: what comes out, whatever the workers and the crashes."""

import itertools
import json
import multiprocessing
import os
import random
import shutil
import subprocess
from functools import partial
from pathlib import Path

import numba
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import toy_store
from hypothesis import given, settings
from hypothesis import strategies as st
from toy_collection import write_collection
from toy_index import WordEncoder, identify
from toy_store import assert_nothing_left_over, assert_whole, fill_disk, run_killed, stepping

from csgen.errors import CsgenError, InputError
from indexing.index.building import build
from indexing.index.compacting import compact
from indexing.index.index import Index
from indexing.index.job import folder_of, open_job
from indexing.index.options import AddConfig, BuildConfig, CompactConfig, DeleteConfig
from indexing.index.planning import draw
from indexing.index.query import SearchOptions, SearchRequest
from indexing.index.running import HERE, Place, run_here
from indexing.index.sources import EncodedTexts, StoredRows
from indexing.index.updating import add, delete
from indexing.store import Store
from indexing.store.lock import hold_lock
from indexing.vectors.config import VectorConfig

pytest.importorskip("faiss")

no_flushing = pytest.fixture(autouse=True)(toy_store.no_flushing)


@pytest.fixture(autouse=True)
def one_thread():
    """FAISS's threads do not outlive the forks of these tests."""
    before = numba.get_num_threads()
    numba.set_num_threads(1)
    yield
    numba.set_num_threads(before)


DIM = 8
FLAT = {"kind": "flat"}


def passages(count, first=0, **columns):
    """Rows in turn in English, German and Italian, each with a year."""
    rows = []
    for number in range(first, first + count):
        language = ("en", "de", "it")[number % 3]
        row = {"language": language, "passage_id": f"p{number}", "text": f"passage {number}", "year": 2000 + number % 5}
        rows.append(row | {name: value(number) for name, value in columns.items()})
    return rows


def vectors_of(count, seed=1, dim=DIM):
    """Of unit length, so that each is nearest to itself."""
    vectors = np.random.default_rng(seed).standard_normal((count, dim))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def write_input(folder, rows, vectors=None):
    """JSON lines and their vectors; the path of the lines."""
    folder.mkdir(exist_ok=True)
    path = folder / "passages.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    np.save(folder / "vectors.npy", vectors_of(len(rows)) if vectors is None else vectors)
    return path


def make(path, output, place=HERE, *, vectors=FLAT, source=None, **options):
    """Build from an input of `write_input`, in several pieces, shards and segments, without words unless asked."""
    rows = StoredRows(str(Path(path).with_name("vectors.npy"))) if source is None else source
    given = {"piece_passages": 7, "num_shards": 2, "segment_passages": 10, "lexical": False} | options
    given |= {"passages": str(path), "output": str(output), "vectors": "given"}
    return build(BuildConfig.from_options(given), VectorConfig.from_options(vectors), rows, place)


def extend(path, index, *, source=None, **options):
    rows = StoredRows(str(Path(path).with_name("vectors.npy"))) if source is None else source
    given = {"index": str(index), "passages": str(path), "piece_passages": 7} | options
    return add(AddConfig.from_options(given), rows)


def remove(index, **options):
    return delete(DeleteConfig.from_options({"index": str(index)} | options))


def condense(index, vectors=None, place=HERE, **options):
    given = {"index": str(index)} | options
    return compact(CompactConfig.from_options(given), VectorConfig.from_options(vectors or {}), place)


def content_of(index, without=()):
    """The bytes of an index's files by name, but for who locked it last."""
    root = Path(index)
    files = {path.relative_to(root).as_posix(): path for path in root.rglob("*") if path.is_file()}
    return {name: path.read_bytes() for name, path in files.items() if name != "lock" and name not in without}


def holds(index):
    """Text and vector of each live passage, by address."""
    opened = Index.open(index, hashes=True)
    found = {}
    for place, table in enumerate(opened.opened.tables):
        live = opened.opened.live.bitmaps[place]
        rows = np.arange(len(table))
        if live is not None:
            rows = rows[np.unpackbits(live, count=len(table), bitorder="little").astype(bool)]
        texts = table.take(rows, ["text"]).column("text").to_pylist()
        stored = opened.opened.vectors[place].vectors(rows)
        for address, text, vector in zip(table.addresses(rows).to_pylist(), texts, stored, strict=True):
            assert address not in found
            found[address] = (text, tuple(vector.tolist()))
    return found


def expected(rows, vectors):
    """What `holds` gives of an index of these rows, the last of an address."""
    return {
        f"{row['language']}/{row['passage_id']}": (row["text"], tuple(vector.tolist()))
        for row, vector in zip(rows, vectors, strict=True)
    }


@pytest.fixture
def source(tmp_path):
    return write_input(tmp_path / "input", passages(40))


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    folder = tmp_path_factory.mktemp("built")
    make(write_input(folder / "input", passages(40)), folder / "index")
    return folder / "index"


@pytest.fixture
def index(built, tmp_path):
    """A copy of an index of what `source` has."""
    shutil.copytree(built, tmp_path / "index")
    return tmp_path / "index"


# What is built


def test_every_passage_is_there_once_with_its_text_and_vector(index):
    assert holds(index) == expected(passages(40), vectors_of(40))
    assert not folder_of(index).exists()
    assert_nothing_left_over(index)


def test_segments_are_no_larger_than_asked_and_belong_to_one_shard(index):
    opened = Index.open(index)
    for shard in (0, 1):
        *full, last = [entry.passages for entry in opened.version.segments if entry.shard == shard]
        assert set(full) == {10}
        assert 0 < last <= 10


def test_a_query_finds_its_passage_and_its_metadata_in_the_built_index(index):
    request = SearchRequest(vectors=vectors_of(40)[[3, 17]], options=SearchOptions(top_k=1))
    hits = Index.open(index).search(request).read(["passage_id", "year"]).to_pylist()
    assert [(hit["passage_id"], hit["year"]) for hit in hits] == [("p3", 2003), ("p17", 2002)]


def with_processes(number):
    """Tasks in so many processes, in any order. Polars, which the lexical part needs, does not outlive a fork."""

    def run(function, job, numbers):
        shuffled = random.Random(number).sample(numbers, len(numbers))
        with multiprocessing.get_context("fork").Pool(number) as pool:
            yield from pool.imap_unordered(partial(function, job), shuffled)

    return Place(run, run, 1)


@pytest.mark.parametrize("vectors", [FLAT, {"kind": "ivf", "num_lists": 3, "probes": 3, "train_vectors": 30}])
def test_the_bytes_are_the_same_for_any_number_of_workers_and_any_pieces(vectors, source, tmp_path):
    make(source, tmp_path / "here", vectors=vectors)
    for workers in (1, 2, 3):
        place = with_processes(workers)
        make(source, tmp_path / f"{workers}", place, vectors=vectors, piece_passages=3 * workers)
        assert content_of(tmp_path / f"{workers}") == content_of(tmp_path / "here")


def test_the_bytes_do_not_depend_on_how_the_input_is_cut_into_files(source, tmp_path):
    lines = source.read_text().splitlines(keepends=True)
    (tmp_path / "cut").mkdir()
    for number, (start, stop) in enumerate([(0, 5), (5, 31), (31, 40)]):
        (tmp_path / "cut" / f"{number}.jsonl").write_text("".join(lines[start:stop]))
    make(tmp_path / "cut", tmp_path / "cut-index", source=StoredRows(str(source.with_name("vectors.npy"))))
    make(source, tmp_path / "index")
    assert content_of(tmp_path / "cut-index") == content_of(tmp_path / "index")


def test_texts_are_encoded_behind_their_titles_and_cut_ones_counted(tmp_path):
    rows = [
        {"language": "en", "_id": 1, "title": "red", "text": "house"},
        {"language": "en", "_id": 2, "text": "a b c d e f g h i j"},
    ]
    path = write_input(tmp_path / "input", rows)
    known = identify(WordEncoder(DIM))
    report = make(path, tmp_path / "index", source=EncodedTexts(known.identity, known.encode))
    opened = Index.open(tmp_path / "index", encoder=known)
    assert report["truncated"] == 1
    assert sorted(known.encoder.asked) == ["a b c d e f g h i j", "red house"]
    hits = opened.search(SearchRequest(texts=["red house"], options=SearchOptions(top_k=1)))
    assert (hits.addresses, hits.scores[0, 0]) == ([["en/1"]], pytest.approx(1))


def test_shards_by_language_hold_whole_languages(source, tmp_path):
    make(source, tmp_path / "index", shard_by="language", languages=("de", "en", "it"), num_shards=None)
    opened = Index.open(tmp_path / "index")
    assert {(entry.shard, *entry.facts["languages"]) for entry in opened.version.segments} == {
        (0, "de"), (1, "en"), (2, "it"),
    }  # fmt: skip


def test_shards_by_language_need_their_number_where_languages_are_not_known(source, tmp_path):
    with pytest.raises(InputError, match="--shard-by language: give --num-shards, or --languages"):
        make(source, tmp_path / "index", shard_by="language", num_shards=None)


def test_passages_of_other_languages_are_left_out_and_counted(source, tmp_path):
    report = make(source, tmp_path / "index", languages=("de",))
    assert (report["passages"], report["left_out"]) == (13, 27)
    wanted = expected(passages(40), vectors_of(40))
    assert holds(tmp_path / "index") == {name: row for name, row in wanted.items() if name.startswith("de/")}


def test_a_collection_is_read_with_the_languages_of_its_folders(tmp_path):
    folder = Path(write_collection(tmp_path / "collection"))
    np.save(folder / "vectors.npy", vectors_of(8))
    rows = StoredRows(str(folder / "vectors.npy"))
    make(folder, tmp_path / "index", source=rows, languages=("it", "de"))
    assert list(holds(tmp_path / "index").values()) != []
    assert {name: text for name, (text, _) in holds(tmp_path / "index").items()}["de/p2"] == "die alte Brücke"
    assert holds(tmp_path / "index")["it/p0"][1] == tuple(vectors_of(8)[0].tolist())


def test_parquet_keeps_metadata_of_its_types_and_tells_what_it_leaves_out(tmp_path):
    (tmp_path / "input").mkdir()
    table = pa.table(
        {
            "language": pa.array(["en", "de"]).dictionary_encode(),
            "passage_id": [7, 8],
            "text": ["one", "two"],
            "free": [True, None],
            "size": pa.array([1.5, 2], pa.float32()),
            "tags": [["a"], []],
        }
    )
    pq.write_table(table, tmp_path / "input" / "passages.parquet")
    np.save(tmp_path / "input" / "vectors.npy", vectors_of(2))
    report = make(tmp_path / "input" / "passages.parquet", tmp_path / "index")
    assert report["ignored_columns"] == ["tags"]
    request = SearchRequest(vectors=vectors_of(2)[:1], options=SearchOptions(top_k=2))
    hits = Index.open(tmp_path / "index").search(request).read(["passage_id", "free", "size"]).to_pylist()
    found = {(hit["passage_id"], hit["free"], hit["size"]) for hit in hits}
    assert found == {("7", True, 1.5), ("8", None, 2.0)}


def test_the_sample_of_the_training_is_the_same_for_any_cut():
    hashes = np.random.default_rng(5).integers(0, 1 << 63, 1000).astype(np.uint64)
    numbers = np.arange(1000)

    def drawn(cuts):
        parts = np.split(numbers, cuts)
        places, rows = draw([(n, hashes[part], part) for n, part in enumerate(parts)], 50, seed=3)
        assert all(row in parts[place] for place, row in zip(places, rows, strict=True))
        return rows.tolist()

    assert drawn([]) == drawn([1, 400, 999])
    assert len(set(drawn([]))) == 50


def test_lists_that_are_too_many_to_train_are_refused_before_anything_is_encoded(source, tmp_path):
    with pytest.raises(InputError, match="256 training vectors or more, got 40 of 40 passages"):
        make(source, tmp_path / "index", vectors={"kind": "ivf-pq", "num_lists": 2, "code_bytes": 4})
    assert not folder_of(tmp_path / "index").exists()


# Bad input


def test_of_passages_of_one_address_the_last_wins_if_asked(tmp_path):
    rows = passages(40) + [passages(1, number)[0] | {"text": f"again {number}"} for number in (3, 30, 3)]
    path = write_input(tmp_path / "input", rows)
    report = make(path, tmp_path / "index", on_duplicate="last")
    assert holds(tmp_path / "index") == expected(rows, vectors_of(43))
    assert (report["passages"], report["duplicates"]) == (40, 3)


def test_passages_of_one_address_are_refused_with_their_places(tmp_path):
    path = write_input(tmp_path / "input", passages(40) + passages(1, 3))
    with pytest.raises(
        InputError, match=r"passages.jsonl: the address en/p3 comes twice, as passage 4 and as passage 41"
    ):
        make(path, tmp_path / "index")
    assert not folder_of(tmp_path / "index").exists()
    assert not (tmp_path / "index").exists()


def test_the_same_id_in_two_languages_is_two_passages(tmp_path):
    rows = [{"language": language, "passage_id": "1", "text": language} for language in ("en", "de")]
    make(write_input(tmp_path / "input", rows), tmp_path / "index")
    assert set(holds(tmp_path / "index")) == {"en/1", "de/1"}


@settings(max_examples=25, deadline=None)
@given(
    st.lists(st.integers(0, 9), min_size=1, max_size=30), st.integers(1, 9), st.integers(1, 3), st.integers(1, 5)
)  # fmt: skip
def test_whatever_comes_twice_the_last_of_each_is_kept(tmp_path_factory, ids, piece_passages, num_shards, segment):
    folder = tmp_path_factory.mktemp("any")
    rows = [{"language": "en", "passage_id": f"{one}", "text": f"text {n}"} for n, one in enumerate(ids)]
    options = {"piece_passages": piece_passages, "num_shards": num_shards, "segment_passages": segment}
    path = write_input(folder / "input", rows)
    report = make(path, folder / "index", on_duplicate="last", lexical=False, **options)
    assert holds(folder / "index") == expected(rows, vectors_of(len(rows)))
    assert report["duplicates"] == len(ids) - len(set(ids))


def test_a_passage_without_text_fails_with_its_line(tmp_path):
    rows = passages(5)
    rows[3]["text"] = " "
    with pytest.raises(InputError, match=r"passages.jsonl:4: text: is empty, .*; mend the row, or use --on-error skip"):
        make(write_input(tmp_path / "input", rows), tmp_path / "index")
    assert not folder_of(tmp_path / "index").exists()


def test_bad_passages_are_set_aside_counted_and_their_vectors_passed_over(tmp_path):
    rows = passages(120)
    rows[3]["text"] = ""
    rows[8]["text"] = None
    rows[9] = {"language": "en", "text": "no id"}
    rows[110]["year"] = "long ago"
    report = make(write_input(tmp_path / "input", rows), tmp_path / "index", on_error="skip", segment_passages=1000)
    good = [number for number in range(120) if number not in (3, 8, 9, 110)]
    assert holds(tmp_path / "index") == expected([rows[n] for n in good], vectors_of(120)[good])
    assert (report["rejects"], report["reasons"]["text: is empty, and there is no title"]) == (4, 1)
    rejects = [json.loads(line) for line in Path(report["rejects_file"]).read_text().splitlines()]
    assert sorted(one["row"] for one in rejects) == [4, 9, 10, 111]


def test_a_passage_with_a_title_alone_is_kept(tmp_path):
    rows = [{"language": "en", "passage_id": "1", "title": "red house", "text": ""}]
    make(write_input(tmp_path / "input", rows), tmp_path / "index")
    assert list(holds(tmp_path / "index")) == ["en/1"]


def test_more_bad_passages_than_allowed_fail(tmp_path):
    rows = passages(20)
    for number in (3, 9):
        rows[number]["text"] = ""
    path = write_input(tmp_path / "input", rows)
    with pytest.raises(InputError, match=r"more than 1 bad passages \(--max-errors\), the first: .*passages.jsonl:4"):
        make(path, tmp_path / "index", on_error="skip", max_errors=1)


def test_a_vector_that_is_not_finite_is_named_and_can_be_mended(tmp_path):
    vectors = vectors_of(20)
    vectors[11, 2] = np.nan
    with pytest.raises(InputError, match=r"vectors.npy: row 11 \(from 0\) is not finite"):
        make(write_input(tmp_path / "input", passages(20), vectors), tmp_path / "index")
    make(write_input(tmp_path / "input", passages(20)), tmp_path / "index")
    assert holds(tmp_path / "index") == expected(passages(20), vectors_of(20))


def test_vectors_of_another_number_than_the_passages_are_refused(tmp_path):
    with pytest.raises(InputError, match="has 19 vectors, but the input 20 passages"):
        make(write_input(tmp_path / "input", passages(20), vectors_of(19)), tmp_path / "index")


@pytest.mark.parametrize("content", [np.zeros(5), np.zeros((2, 3)), np.zeros((2, 3), np.int32)])
def test_a_file_of_no_float_vectors_is_refused(content, tmp_path):
    with pytest.raises(InputError, match=r"expected .passages, dimensions. of float32 or float16"):
        make(write_input(tmp_path / "input", passages(2), content), tmp_path / "index")


def test_a_file_that_is_no_numpy_file_is_refused(tmp_path):
    path = write_input(tmp_path / "input", passages(2))
    for content in (b"", b"not an array"):
        path.with_name("vectors.npy").write_bytes(content)
        with pytest.raises(InputError, match="not a NumPy file"):
            make(path, tmp_path / "index")


def test_a_finished_index_is_not_overwritten(source, index):
    before = content_of(index)
    with pytest.raises(InputError, match="holds a finished output; remove it first"):
        make(source, index)
    assert content_of(index) == before


def test_a_folder_of_something_else_is_not_used(source, tmp_path):
    (tmp_path / "index").mkdir()
    (tmp_path / "index" / "mine.txt").write_text("mine")
    with pytest.raises(InputError, match="is not empty, and not an index"):
        make(source, tmp_path / "index")


# Crashes


def list_steps(operation):
    """The numbers of an operation's steps that change what is on the disk, and that of the index's lock.

    Of writes one after the other the first stands for all. What is published is written under the index's lock, which
    is the second that is taken.
    """
    kinds = []
    with stepping(lambda count, kind, halfway: kinds.append(kind)):
        operation()
    steps = [
        number
        for number, (before, kind) in enumerate(itertools.pairwise(["", *kinds]), 1)
        if kind not in ("fsync", "flock", "sign") and (before, kind) != ("write", "write")
    ]
    return steps, [number for number, kind in enumerate(kinds, 1) if kind == "flock"][1]


def small(path, output):
    """Two pieces, a training, one segment."""
    vectors = {"kind": "ivf", "num_lists": 2, "train_vectors": 3}
    return make(path, output, piece_passages=2, segment_passages=3, num_shards=1, vectors=vectors)


def has_ended(folder, whole):
    """Whether a job that was killed had nothing left to do but to remove its empty folder."""
    return content_of(folder) == content_of(whole) and not list(folder_of(folder).glob("*.json"))


def assert_clean(folder):
    """Nothing is left of a job, once another writer has swept the index."""
    assert not folder_of(folder).exists()
    with Store.open(folder).write("nothing"):
        pass
    assert_nothing_left_over(folder)


@pytest.mark.parametrize("part", range(4))
def test_a_build_that_is_killed_at_any_step_goes_on_to_the_same_bytes(part, tmp_path):
    path = write_input(tmp_path / "input", passages(3))
    steps, _ = list_steps(lambda: small(path, tmp_path / "counted"))
    report = small(path, tmp_path / "whole")
    for step in steps[part::4]:
        folder = tmp_path / f"index-{step}"
        assert run_killed(lambda: small(path, folder), step)  # noqa: B023
        if not has_ended(folder, tmp_path / "whole"):
            assert small(path, folder) | {"index": ""} == report | {"index": ""}
            assert content_of(folder) == content_of(tmp_path / "whole")
            assert_clean(folder)
        shutil.rmtree(folder)
    assert len(steps) > 100


@pytest.mark.parametrize("part", range(2))
def test_an_addition_that_is_killed_while_it_publishes_goes_on_to_the_same_bytes(part, tmp_path):
    small(write_input(tmp_path / "input", passages(3)), tmp_path / "prepared")
    more = write_input(tmp_path / "more", passages(3, 2))
    shutil.copytree(tmp_path / "prepared", tmp_path / "counted")
    steps, publishing = list_steps(lambda: extend(more, tmp_path / "counted"))
    shutil.copytree(tmp_path / "prepared", tmp_path / "whole")
    report = extend(more, tmp_path / "whole")
    for step in [one for one in steps if one >= publishing][part::2]:
        folder = tmp_path / f"index-{step}"
        shutil.copytree(tmp_path / "prepared", folder)
        assert run_killed(lambda: extend(more, folder), step)  # noqa: B023
        assert_whole(Store.open(folder))
        if not has_ended(folder, tmp_path / "whole"):
            assert extend(more, folder) | {"index": ""} == report | {"index": ""}
            assert content_of(folder) == content_of(tmp_path / "whole")
            assert_clean(folder)
        shutil.rmtree(folder)
    assert publishing < max(steps) - 20


def test_a_compaction_that_is_killed_leaves_the_index_whole_and_is_done_anew_to_the_same_bytes(tmp_path):
    prepared, whole = tmp_path / "prepared", tmp_path / "whole"
    small(write_input(tmp_path / "input", passages(3)), prepared)
    remove(prepared, passages=("en/p0",))
    held = holds(prepared)
    shutil.copytree(prepared, tmp_path / "counted")
    steps, _ = list_steps(lambda: condense(tmp_path / "counted"))
    shutil.copytree(prepared, whole)
    condense(whole)
    for step in steps[::3]:
        folder = shutil.copytree(prepared, tmp_path / f"index-{step}")
        assert run_killed(lambda: condense(folder), step)  # noqa: B023
        assert_whole(Store.open(folder))
        assert holds(folder) == held
        condense(folder)
        assert content_of(folder) == content_of(whole)
        assert_nothing_left_over(folder)
        shutil.rmtree(folder)
    assert len(steps) > 30


def test_a_build_that_was_killed_at_its_very_end_leaves_an_empty_folder_that_goes(index, source):
    folder_of(index).mkdir()
    (folder_of(index) / "lock").touch()
    with pytest.raises(InputError, match="holds a finished output"):
        make(source, index)
    assert not folder_of(index).exists()


def test_a_disk_that_is_full_for_a_while_loses_nothing(source, tmp_path):
    make(source, tmp_path / "whole")
    for step in (5, 60, 150, 250):
        with pytest.raises(CsgenError, match=r"No space left|disk is full"), stepping(fill_disk(step)):
            make(source, tmp_path / "index")
    make(source, tmp_path / "index")
    assert content_of(tmp_path / "index") == content_of(tmp_path / "whole")


def test_an_addition_to_a_disk_that_is_really_full_leaves_the_index_whole_and_goes_on(source, tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(disk)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("mounting a small file system needs root")
    try:
        make(source, disk / "index")
        before, used = content_of(disk / "index"), shutil.disk_usage(disk).used
        more = write_input(tmp_path / "more", passages(3000, 100))
        subprocess.run(["mount", "-o", f"remount,size={used + (128 << 10)}", str(disk)], check=True)
        with pytest.raises(CsgenError, match=r"No space left|disk is full"):
            extend(more, disk / "index", piece_passages=1000)
        assert content_of(disk / "index") == before
        assert len(Index.open(disk / "index", hashes=True)) == 40
        subprocess.run(["mount", "-o", "remount,size=8m", str(disk)], check=True)
        extend(more, disk / "index", piece_passages=1000)
        assert len(holds(disk / "index")) == 3040
    finally:
        subprocess.run(["umount", "--lazy", str(disk)], check=True)  # files are mapped


def interrupt(path, output, **options):
    """A build that is cut off once its passages are read."""

    def stop(function, job, numbers):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        make(path, output, Place(run_here, stop, 1), **options)


def test_what_is_encoded_is_not_encoded_again(source, tmp_path):
    known = identify(WordEncoder(DIM))
    encoded = EncodedTexts(known.identity, known.encode)

    def die_after_two(function, job, numbers):
        yield from run_here(function, job, numbers[:2])
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        make(source, tmp_path / "index", Place(run_here, die_after_two, 1), source=encoded)
    assert len(known.encoder.asked) == 14
    make(source, tmp_path / "index", source=encoded)
    assert len(known.encoder.asked) == 40


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"num_shards": 3}, "--num-shards was 2, is 3"),
        ({"vectors": {"kind": "hnsw"}}, "--kind was 'flat', is 'hnsw'"),
        ({"segment_passages": 11}, "--segment-passages was 10, is 11"),
    ],
)
def test_an_unfinished_build_with_other_options_is_refused(changed, told, source, tmp_path):
    interrupt(source, tmp_path / "index")
    with pytest.raises(InputError, match=f"holds an unfinished job that differs: {told}; .* remove it"):
        make(source, tmp_path / "index", **changed)


def test_an_unfinished_build_of_other_passages_is_refused(source, tmp_path):
    interrupt(source, tmp_path / "index")
    with source.open("a") as stream:
        stream.write(json.dumps(passages(1, 40)[0]) + "\n")
    with pytest.raises(InputError, match=r"differs: input .*passages.jsonl was"):
        make(source, tmp_path / "index")


def test_an_unfinished_build_with_another_encoder_is_refused(source, tmp_path):
    first, other = (identify(WordEncoder(DIM), name) for name in ("first", "other"))
    interrupt(source, tmp_path / "index", source=EncodedTexts(first.identity, first.encode))
    with pytest.raises(InputError, match="differs: encoder was"):
        make(source, tmp_path / "index", source=EncodedTexts(other.identity, other.encode))


def test_a_second_build_of_the_same_index_is_told_who_is_at_it(source, tmp_path):
    with (
        open_job(tmp_path / "index", "build"),
        pytest.raises(InputError, match=rf"process {os.getpid()} on .* \(build"),
    ):
        make(source, tmp_path / "index")


# Adding


def test_added_passages_take_the_place_of_those_of_their_addresses(index, tmp_path):
    rows, vectors = [*passages(5, 35), *passages(5, 60)], vectors_of(10, seed=2)
    for row in rows:
        row["text"] = f"new {row['passage_id']}"
    before = content_of(index)
    report = extend(write_input(tmp_path / "more", rows, vectors), index)
    assert holds(index) == expected(passages(40), vectors_of(40)) | expected(rows, vectors)
    assert (report["passages"], report["replaced"], report["version"]) == (10, 5, 3)
    after = content_of(index)
    assert all(after[name] == content for name, content in before.items() if name != "manifest.json")


def test_the_version_before_an_addition_stays_readable(index, tmp_path):
    extend(write_input(tmp_path / "more", passages(3, 38)), index)
    assert len(Index.open(index, version=2)) == 40
    assert len(Index.open(index)) == 41


def test_passages_that_are_there_are_refused_if_asked_before_they_are_encoded(index, tmp_path):
    path = write_input(tmp_path / "more", passages(3, 38))
    with pytest.raises(InputError, match=r"has de/p39 already|has it/p38 already"):
        extend(path, index, on_existing="refuse")
    remove(index, passage_ids=("p38", "p39"))
    assert extend(path, index, on_existing="refuse")["replaced"] == 0


def test_vectors_of_other_dimensions_are_refused(index, tmp_path):
    path = write_input(tmp_path / "more", passages(3, 50), vectors_of(3, dim=DIM + 1))
    with pytest.raises(InputError, match="its vectors have 8 dimensions, those that are given 9"):
        extend(path, index)


def test_an_encoder_other_than_the_indexs_is_refused_and_named(source, tmp_path):
    own, other = (identify(WordEncoder(DIM), name) for name in ("own", "other"))
    make(source, tmp_path / "index", source=EncodedTexts(own.identity, own.encode))
    path = write_input(tmp_path / "more", passages(3, 50))
    with pytest.raises(InputError, match=r"was made with the encoder own \(hash .*\), not with other"):
        extend(path, tmp_path / "index", source=EncodedTexts(other.identity, other.encode))
    assert extend(path, tmp_path / "index", source=EncodedTexts(own.identity, own.encode))["passages"] == 3


def test_an_encoder_for_an_index_of_vectors_from_files_is_refused(index, tmp_path):
    known = identify(WordEncoder(DIM))
    with pytest.raises(InputError, match="its vectors came from files, not from the encoder toy"):
        extend(
            write_input(tmp_path / "more", passages(3, 50)), index, source=EncodedTexts(known.identity, known.encode)
        )


def test_metadata_of_another_type_are_refused_and_whole_numbers_become_numbers(tmp_path):
    rows = passages(4, size=lambda number: number + 0.5)
    make(write_input(tmp_path / "input", rows), tmp_path / "index")
    with pytest.raises(InputError, match="the field size is double, not large_string"):
        extend(write_input(tmp_path / "more", passages(2, 10, size=str)), tmp_path / "index")
    extend(write_input(tmp_path / "more", passages(2, 10, size=int)), tmp_path / "index")
    assert Index.open(tmp_path / "index").opened.fields["size"] == pa.float64()


def test_old_versions_expire(index, tmp_path):
    for number in (50, 51, 52):
        extend(write_input(tmp_path / "more", passages(1, number)), index, keep=2, grace_s=0)
    assert Store.open(index).list_versions() == [4, 5]


# Deleting


def test_passages_are_deleted_by_address_id_language_and_metadata(index):
    kept = expected(passages(40), vectors_of(40))
    report = remove(index, passages=("en/p3", "de/p4", "de/p5"))
    assert (report["deleted"], report["not_found"], report["first_not_found"]) == (2, 1, ["de/p5"])
    remove(index, passage_ids=("p6",))
    remove(index, languages=("it",), where=("year=2003",))
    for row in passages(40):
        gone = row["passage_id"] in ("p3", "p4", "p6") or (row["language"] == "it" and row["year"] == 2003)
        if gone:
            del kept[f"{row['language']}/{row['passage_id']}"]
    assert holds(index) == kept


def test_passages_are_deleted_by_a_file_of_addresses(index, tmp_path):
    (tmp_path / "gone.txt").write_text("en/p3\nde/p4\n")
    assert remove(index, passages_file=str(tmp_path / "gone.txt"))["deleted"] == 2


def test_a_delete_is_done_though_another_writer_keeps_old_versions_from_going(index, monkeypatch):
    expire = Store.expire

    def expire_behind_another(store, keep, grace_s):
        with hold_lock(store.folder, "add"):
            return expire(store, keep, grace_s)

    monkeypatch.setattr(Store, "expire", expire_behind_another)
    report = remove(index, passages=("en/p3",))
    assert (report["deleted"], report["expired"], len(Index.open(index))) == (1, [], 39)


def test_a_delete_that_finds_nothing_publishes_nothing(index):
    before = content_of(index)
    assert remove(index, passages=("en/none",))["version"] == 2
    assert content_of(index) == before


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({}, "say what to delete"),
        ({"passages": ("p3",)}, "'p3' is no passage: give LANGUAGE/PASSAGE_ID"),
        ({"where": ("colour=red",)}, "no field 'colour' in the passages' metadata; there are year"),
    ],
)
def test_a_delete_of_what_cannot_be_meant_is_refused(options, told, index):
    with pytest.raises(InputError, match=told):
        remove(index, **options)


# Compaction


def test_compaction_joins_small_segments_and_purges_deleted_passages(index, tmp_path):
    extend(write_input(tmp_path / "more", passages(9, 38), vectors_of(9, seed=2)), index)
    remove(index, languages=("en",))
    before = holds(index)
    report = condense(index)
    assert holds(index) == before
    opened = Index.open(index)
    assert all(entry.deleted is None for entry in opened.version.segments)
    assert (report["passages"], report["purged"]) == (len(before), 49 - len(before))
    for shard in (0, 1):
        assert [entry.passages for entry in opened.version.segments if entry.shard == shard][:-1] == [10] * (
            sum(entry.passages for entry in opened.version.segments if entry.shard == shard) // 10
        )


def test_compaction_without_need_publishes_nothing(index):
    before = content_of(index)
    assert condense(index, min_passages=0)["version"] == 2
    assert content_of(index) == before


def test_full_segments_without_deletes_are_left_as_they_are(index, tmp_path):
    full = {entry.name for entry in Index.open(index).version.segments if entry.passages == 10}
    extend(write_input(tmp_path / "more", passages(4, 60)), index)
    condense(index)
    entries = Index.open(index).version.segments
    assert full <= {entry.name for entry in entries}
    assert sum(entry.passages < 10 for entry in entries) <= 2


def test_only_segments_with_enough_deletes_are_rewritten(index):
    first = Index.open(index).opened
    rows = first.tables[0].addresses(np.arange(2)).to_pylist()
    remove(index, passages=tuple(rows))
    assert condense(index, min_passages=0, max_deleted_ratio=0.2)["rewritten"] == 0
    report = condense(index, min_passages=0, max_deleted_ratio=0.1)
    assert (report["rewritten"], report["passages"], report["purged"]) == (1, 8, 2)


@pytest.mark.parametrize(("lexical", "place"), [(True, HERE), (False, with_processes(2))], ids=["words", "processes"])
def test_a_compacted_segment_has_the_bytes_of_one_that_was_built(lexical, place, tmp_path):
    rows = passages(30, title=lambda number: f"title {number}" if number % 2 else None)
    options = {"segment_passages": 100, "lexical": lexical}
    make(write_input(tmp_path / "input", rows), tmp_path / "built", **options)
    make(write_input(tmp_path / "one", rows[:17], vectors_of(30)[:17]), tmp_path / "index", **options)
    extend(write_input(tmp_path / "two", rows[17:], vectors_of(30)[17:]), tmp_path / "index")
    condense(tmp_path / "index", place=place, retrain=True)
    for shard in (0, 1):
        (built,), (compacted,) = (
            [entry for entry in Index.open(tmp_path / name).version.segments if entry.shard == shard]
            for name in ("built", "index")
        )
        assert compacted.files == built.files
        assert compacted.facts == built.facts


def test_training_anew_gives_what_a_build_of_the_same_passages_trains(tmp_path):
    vectors = {"kind": "ivf", "num_lists": 4, "train_vectors": 40}
    make(write_input(tmp_path / "input", passages(60)), tmp_path / "built", vectors=vectors)
    make(write_input(tmp_path / "half", passages(33), vectors_of(60)[:33]), tmp_path / "index")
    extend(write_input(tmp_path / "rest", passages(27, 33), vectors_of(60)[33:]), tmp_path / "index")
    report = condense(tmp_path / "index", vectors, retrain=True)
    built, index = (Store.open(tmp_path / name).read_version().trained for name in ("built", "index"))
    assert index.files == built.files
    assert report["kind"] == "ivf"
    assert holds(tmp_path / "index") == holds(tmp_path / "built")
    extend(write_input(tmp_path / "more", passages(3, 90)), tmp_path / "index")
    assert len(holds(tmp_path / "index")) == 63


def test_options_of_vectors_without_training_anew_are_refused(index):
    with pytest.raises(InputError, match="--kind: the training stays as it is without --retrain"):
        condense(index, {"kind": "ivf"})


def test_an_index_of_which_all_is_deleted_is_compacted_to_nothing_and_filled_again(index, source):
    remove(index, languages=("en", "de", "it"))
    assert condense(index)["segments"] == 0
    with pytest.raises(InputError, match="no passages are left to train on"):
        condense(index, retrain=True)
    extend(source, index)
    assert holds(index) == expected(passages(40), vectors_of(40))


def test_a_broken_segment_is_named_and_given_up_if_asked(index):
    entry = Store.open(index).read_version().segments[1]
    path = index / "segments" / entry.name / "vectors.npy"
    path.write_bytes(path.read_bytes()[:-4] + b"\0\0\0\1")
    report = condense(index, repair=True, min_passages=0)
    assert (report["lost_segments"], report["lost_passages"]) == ([entry.name], entry.passages)
    assert len(holds(index)) == 40 - entry.passages
