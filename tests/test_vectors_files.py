"""Files of vector segments: what they hold, that they are mapped and not read, and that bad ones are refused."""

import builtins
import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from toy_vectors import CUTS, DIM, KINDS, clustered, make_segments, make_trained, toy

from csgen.errors import InputError
from indexing.vectors.building import build_segment
from indexing.vectors.centroids import assign_exactly
from indexing.vectors.search import search_segments
from indexing.vectors.segment import VectorSegment
from indexing.vectors.training import load_trained

faiss = pytest.importorskip("faiss")

FILES = {
    "flat": ["vectors.npy"],
    "ivf": ["lists.faiss", "places.npy"],
    "ivf-pq": ["vectors.npy", "lists.faiss"],
    "sq8": ["vectors.npy", "lists.faiss"],
    "rabitq": ["vectors.npy", "lists.faiss"],
    "hnsw": ["vectors.npy", "graph.faiss"],
}


def copy_segment(kind, tmp_path):
    """A segment's folder to do harm to, and its training."""
    segment = toy(kind).segments[0]
    shutil.copytree(segment.folder, tmp_path / "segment")
    return tmp_path / "segment", segment.trained


@pytest.mark.parametrize("kind", KINDS)
def test_files_are_named_and_nothing_else_is_left(kind, tmp_path):
    names = build_segment(clustered(3, 300), toy(kind).segments[0].trained, str(tmp_path / "s"))
    assert names == [*FILES[kind], "vectors.json"]
    assert sorted(names) == sorted(path.name for path in (tmp_path / "s").iterdir())


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_vectors_give_the_same_bytes_for_any_number_of_threads(kind, tmp_path):
    trained, vectors = toy(kind).segments[0].trained, clustered(3, 2000)
    folders = [tmp_path / str(num_threads) for num_threads in (1, 3)]
    for folder, num_threads in zip(folders, (1, 3), strict=True):
        build_segment(vectors, trained, str(folder), num_threads=num_threads)
    for name in FILES[kind]:
        assert (folders[0] / name).read_bytes() == (folders[1] / name).read_bytes()


@pytest.mark.parametrize("kind", ["ivf", "ivf-pq", "sq8", "rabitq"])
def test_lists_file_is_the_one_that_faiss_would_write(kind, tmp_path):
    segment, vectors = toy(kind).segments[0], toy(kind).vectors[: CUTS[0]]
    lists = segment.trained.lists
    index, assigned = lists.new_index(), assign_exactly(vectors, lists.centroids.matrix, num_threads=1)
    turned = lists.rotate(vectors)
    index.add_core(len(vectors), faiss.swig_ptr(turned), None, faiss.swig_ptr(assigned))
    writer = faiss.FileIOWriter(str(tmp_path / "expected"))
    faiss.write_InvertedLists(index.invlists, writer)
    del writer
    assert Path(segment.folder, "lists.faiss").read_bytes() == (tmp_path / "expected").read_bytes()


def resident_kb(path):
    """Kilobytes of a file that this process has mapped and in memory, by mapping."""
    maps = re.split(r"\n(?=[0-9a-f]+-[0-9a-f]+ )", Path("/proc/self/smaps").read_text())
    return [int(re.search(r"Rss: +(\d+) kB", one)[1]) for one in maps if one.splitlines()[0].endswith(f" {path}")]


@pytest.mark.skipif(not Path("/proc/self/smaps").exists(), reason="Linux tells what is resident")
@pytest.mark.parametrize(("kind", "name"), [(k, n) for k in KINDS for n in FILES[k] if n != "graph.faiss"])
def test_opening_maps_vectors_and_codes_and_reads_none_of_them(kind, name, tmp_path):
    trained = toy(kind).segments[0].trained
    build_segment(clustered(3, 3000), trained, str(tmp_path))
    segment = VectorSegment.open(str(tmp_path), trained)
    assert len(segment) == 3000
    assert set(resident_kb(tmp_path / name)) == {0}


def test_vectors_may_be_a_memory_map_in_another_float(tmp_path):
    vectors = clustered(3, 100).astype(np.float16)
    np.save(tmp_path / "given.npy", vectors)
    trained = toy("flat").segments[0].trained
    build_segment(np.load(tmp_path / "given.npy", mmap_mode="r"), trained, str(tmp_path / "s"))
    segment = VectorSegment.open(str(tmp_path / "s"), trained)
    np.testing.assert_array_equal(segment.vectors(range(100)), vectors.astype(np.float32))


def test_length_and_dimensions_are_those_of_the_vectors():
    segment = toy("flat").segments[1]
    assert (len(segment), segment.dim, segment.kind) == (CUTS[1] - CUTS[0], DIM, "flat")


@pytest.mark.parametrize("kind", ["flat", "ivf"])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_vector_that_is_not_finite_is_refused_by_its_row(kind, value, tmp_path):
    vectors = clustered(3, 20_000)
    vectors[17_123, 3] = value
    with pytest.raises(InputError, match="row 17123 of the vectors is not finite"):
        build_segment(vectors, toy(kind).segments[0].trained, str(tmp_path))


def test_vector_beyond_float16_is_refused_with_the_remedy(tmp_path):
    vectors = clustered(3, 10)
    vectors[4] *= 1e6
    with pytest.raises(InputError, match="row 4 of the vectors has numbers beyond float16: store float32"):
        build_segment(vectors, toy("flat", "float16").segments[0].trained, str(tmp_path))


def test_vector_too_long_for_float32_products_is_refused(tmp_path):
    with pytest.raises(InputError, match="row 0 of the vectors is longer"):
        build_segment(np.full((2, DIM), 1e30, np.float32), toy("flat").segments[0].trained, str(tmp_path))


@pytest.mark.parametrize(
    ("vectors", "message"),
    [
        (np.empty((0, DIM), np.float32), "at least one vector"),
        (np.ones((3, 5), np.float32), r"of shape \(rows, 24\), got \(3, 5\)"),
        (np.ones(24, np.float32), r"got \(24,\)"),
        (np.ones((3, DIM), np.int64), "float32 or float16, got int64"),
    ],
)
def test_what_is_no_matrix_of_such_vectors_is_refused(vectors, message, tmp_path):
    with pytest.raises(InputError, match=message):
        build_segment(vectors, toy("flat").segments[0].trained, str(tmp_path))


def test_folder_that_cannot_be_mapped_is_refused():
    with pytest.raises(InputError, match="build it in a local folder"):
        build_segment(clustered(3, 10), toy("flat").segments[0].trained, "memory://segment")


@pytest.mark.parametrize("kind", KINDS)
def test_truncated_file_is_named(kind, tmp_path):
    folder, trained = copy_segment(kind, tmp_path)
    for name in FILES[kind]:
        content = (folder / name).read_bytes()
        (folder / name).write_bytes(content[:-1])
        with pytest.raises(InputError, match=rf"{name}: truncated or altered"):
            VectorSegment.open(str(folder), trained)
        (folder / name).unlink()
        with pytest.raises(InputError, match=rf"{name}: missing"):
            VectorSegment.open(str(folder), trained)
        (folder / name).write_bytes(content)


@pytest.mark.parametrize(("kind", "name"), [(k, n) for k in KINDS for n in FILES[k] if n != "places.npy"])
def test_file_with_another_start_is_named(kind, name, tmp_path):
    folder, trained = copy_segment(kind, tmp_path)
    content = bytearray((folder / name).read_bytes())
    content[:64] = bytes(64)
    (folder / name).write_bytes(content)
    with pytest.raises(InputError, match=rf"{name}: .*altered"):
        VectorSegment.open(str(folder), trained)


def test_lists_whose_sizes_do_not_add_up_are_named(tmp_path):
    folder, trained = copy_segment("sq8", tmp_path)
    content = bytearray((folder / "lists.faiss").read_bytes())
    content[32] ^= 1
    (folder / "lists.faiss").write_bytes(content)
    with pytest.raises(InputError, match=r"lists\.faiss: truncated or altered: expected 900 rows"):
        VectorSegment.open(str(folder), trained)


@pytest.mark.parametrize(
    ("kind", "message"), [("sq8", "altered: rows .* to 1000000 of 900"), ("ivf", "its lists name rows that")]
)
def test_altered_row_numbers_are_found_out_in_search(kind, message, tmp_path):
    folder, trained = copy_segment(kind, tmp_path)
    size = (folder / "lists.faiss").stat().st_size
    with (folder / "lists.faiss").open("r+b") as stream:
        stream.seek(size - 8 * 20)
        stream.write(np.full(20, 1_000_000, "<i8").tobytes())
    segment = VectorSegment.open(str(folder), trained)
    with pytest.raises(InputError, match=message):
        search_segments([segment], toy(kind).vectors[:900], 900)


def test_altered_places_are_found_out(tmp_path):
    folder, trained = copy_segment("ivf", tmp_path)
    (folder / "places.npy").write_bytes(np.full(900, 10**9, "<i8").tobytes())
    segment = VectorSegment.open(str(folder), trained)
    few = np.packbits(np.arange(900) == 7, bitorder="little")
    with pytest.raises(InputError, match="the places of its vectors are altered"):
        search_segments([segment], toy("ivf").queries, 3, [few])
    with pytest.raises(InputError, match="the places of its vectors are altered"):
        segment.vectors([0])


def test_file_of_another_kind_is_named(tmp_path):
    folder, trained = copy_segment("sq8", tmp_path)
    shutil.copy(Path(toy("rabitq").segments[0].folder, "lists.faiss"), folder / "lists.faiss")
    notes = json.loads((folder / "vectors.json").read_text())
    notes["files"]["lists.faiss"] = (folder / "lists.faiss").stat().st_size
    (folder / "vectors.json").write_text(json.dumps(notes))
    with pytest.raises(InputError, match=r"lists\.faiss: of another kind or altered"):
        VectorSegment.open(str(folder), trained)


def test_segment_of_another_kind_or_training_is_refused(tmp_path):
    flat, ivf = toy("flat").segments[0], toy("ivf").segments[0]
    with pytest.raises(InputError, match=r"holds flat of 24 dimensions in float32, but .* is for ivf"):
        VectorSegment.open(flat.folder, ivf.trained)
    other = make_trained(tmp_path, toy("ivf").vectors, kind="ivf", seed=9)
    with pytest.raises(InputError, match="was built with other centroids"):
        VectorSegment.open(ivf.folder, other)


@pytest.mark.parametrize(
    ("content", "message"), [(None, "not finished"), ("{", "altered"), ('{"format": 1}', "altered: .*kind")]
)
def test_folder_without_whole_notes_is_no_segment(content, message, tmp_path):
    folder, trained = copy_segment("flat", tmp_path)
    (folder / "vectors.json").unlink()
    if content is not None:
        (folder / "vectors.json").write_text(content)
    with pytest.raises(InputError, match=rf"(?s)vectors\.json: .*{message}"):
        VectorSegment.open(str(folder), trained)


def test_notes_of_a_later_format_are_refused(tmp_path):
    folder, trained = copy_segment("flat", tmp_path)
    notes = json.loads((folder / "vectors.json").read_text())
    (folder / "vectors.json").write_text(json.dumps(notes | {"format": 2}))
    with pytest.raises(InputError, match="of format 2; this version reads format 1"):
        VectorSegment.open(str(folder), trained)


@pytest.mark.parametrize(
    ("queries", "top_k", "message"),
    [
        (np.ones((2, 5)), 3, r"queries must be of shape \(queries, 24\), got \(2, 5\)"),
        (np.ones(24), 3, r"got \(24,\)"),
        (np.full((2, 24), np.nan), 3, "query 0 .* not finite"),
        (np.ones((2, 24)), 0, "top_k must be 1 or more, got 0"),
    ],
)
def test_bad_query_is_refused(queries, top_k, message):
    with pytest.raises(InputError, match=message):
        search_segments(toy("flat").segments[:1], queries, top_k)


def test_bitmap_of_another_size_is_refused():
    with pytest.raises(InputError, match=r"bitmap of segment 0 must be uint8 of shape \(113,\) for 900 rows"):
        search_segments(toy("flat").segments[:1], toy("flat").queries, 3, [np.zeros(900, np.uint8)])


def test_no_segment_or_segments_of_other_dimensions_are_refused(tmp_path):
    with pytest.raises(InputError, match="at least one segment"):
        search_segments([], np.ones((1, 3)), 2)
    small = clustered(1, 9, dim=5)
    (other,) = make_segments(tmp_path, make_trained(tmp_path / "t", small, kind="flat"), small)
    with pytest.raises(InputError, match=r"different dimensions .*\[5, 24\]"):
        search_segments([toy("flat").segments[0], other], np.ones((1, 5)), 2)
    with pytest.raises(InputError, match="for each of 1 segments, got 2"):
        search_segments([other], np.ones((1, 5)), 2, [None, None])


def test_without_faiss_the_error_names_the_extra(monkeypatch):
    real = builtins.__import__

    def refuse(name, *args, **kwargs):
        if name == "faiss":
            raise ImportError(name)
        return real(name, *args, **kwargs)

    folder = toy("ivf").segments[0].trained.folder
    monkeypatch.setattr(builtins, "__import__", refuse)
    with pytest.raises(InputError, match=r"csgen\[index\]"):
        load_trained(folder)
