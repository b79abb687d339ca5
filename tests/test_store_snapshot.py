"""Copies of an index at other places, and indexes made of them."""

import json

import fsspec
import pytest
import toy_store
from toy_store import add_segment, assert_nothing_left_over, files_on_disk, make_index

from csgen.errors import CsgenError, InputError
from indexing.store import Store

no_flushing = pytest.fixture(autouse=True)(toy_store.no_flushing)


@pytest.fixture
def store(tmp_path):
    return make_index(tmp_path / "index")


@pytest.fixture(params=["memory", "file"])
def target(request, tmp_path):
    """A folder at a URI."""
    if request.param == "file":
        return str(tmp_path / "target")
    memory = fsspec.filesystem("memory")
    if memory.exists("/target"):
        memory.rm("/target", recursive=True)
    return "memory://target"


def open_at(target, name, mode="rb"):
    return fsspec.open(f"{target}/{name}", mode).open()


def change_at(target, name, content):
    with open_at(target, name, "wb") as stream:
        stream.write(content)


def created(target):
    """When each file there was written."""
    fs, inner = fsspec.core.url_to_fs(target)
    times = {name: info.get("mtime") or info["created"] for name, info in fs.find(inner, detail=True).items()}
    own = {name.removeprefix(inner).lstrip("/"): written for name, written in times.items()}
    return {name: written for name, written in own.items() if name != "manifest.json"}


def add(store):
    with store.write("add") as writer:
        add_segment(writer, b"more")
        return writer.publish()


def test_a_restored_index_has_the_same_bytes(store, target, tmp_path):
    store.snapshot(store.read_version(), target)
    restored = Store.restore(target, tmp_path / "restored")
    version = restored.open_version(hashes=True)
    assert version == store.read_version()
    for name in ("manifest.json", *(name for _, name, _ in version.list_files())):
        assert (restored.folder / name).read_bytes() == (store.folder / name).read_bytes()
    assert restored.list_versions() == [3]
    assert_nothing_left_over(restored.folder)


def test_a_restored_index_lives_on(store, target, tmp_path):
    store.snapshot(store.read_version(), target)
    restored = Store.restore(target, tmp_path / "restored")
    assert add(restored).encode() == add(store).encode()


def test_an_old_version_can_be_copied_too(store, target, tmp_path):
    store.snapshot(store.read_version(2), target)
    assert Store.restore(target, tmp_path / "restored").read_version() == store.read_version(2)


def test_a_later_snapshot_copies_only_what_is_new(store, target):
    store.snapshot(store.read_version(), target)
    before = created(target)
    store.snapshot(add(store), target)
    after = created(target)
    assert {name: after[name] for name in before} == before
    assert len(after) == len(before) + 3  # two of the segment, and its version


def remove_at(target, name):
    fs, inner = fsspec.core.url_to_fs(f"{target}/{name}")
    fs.rm_file(inner)


def test_files_that_are_missing_or_cut_short_at_the_target_are_copied_again(store, target, tmp_path):
    store.snapshot(store.read_version(), target)
    change_at(target, "segments/00000001/vectors", b"one" * 39)
    remove_at(target, "segments/00000002/vectors")
    store.snapshot(store.read_version(), target)
    Store.restore(target, tmp_path / "restored").open_version(hashes=True)


def test_a_file_of_a_cut_off_snapshot_is_kept_only_if_it_is_right(store, target, tmp_path):
    store.snapshot(store.read_version(), target)
    before = created(target)
    remove_at(target, "manifest.json")
    change_at(target, "segments/00000001/vectors", b"one" * 39 + b"on?")
    store.snapshot(store.read_version(), target)
    after = created(target)
    del before["segments/00000001/vectors"], before["versions/00000003.json"]
    assert {name: after[name] for name in before} == before
    Store.restore(target, tmp_path / "restored").open_version(hashes=True)


def test_what_an_earlier_snapshot_checked_is_not_read_again(store, target, monkeypatch):
    store.snapshot(store.read_version(), target)
    monkeypatch.setattr("indexing.store.snapshot.hash_file", None)
    store.snapshot(store.read_version(), target)


def test_a_snapshot_of_altered_files_is_refused_before_its_manifest(store, target, tmp_path):
    path = store.folder / "segments" / "00000001" / "vectors"
    path.write_bytes(b"one" * 39 + b"on?")
    with pytest.raises(InputError, match="segments/00000001/vectors: was altered: its hash is"):
        store.snapshot(store.read_version(), target)
    with pytest.raises(InputError, match="not a snapshot, or one that was cut off"):
        Store.restore(target, tmp_path / "restored")


def test_a_snapshot_over_that_of_another_index_is_refused(store, target, tmp_path):
    store.snapshot(store.read_version(), target)
    before = created(target)
    other = Store.create(tmp_path / "other", {})
    add(other)
    with pytest.raises(InputError, match="is a snapshot of another index, with another segments/00000001/"):
        other.snapshot(other.read_version(), target)
    assert created(target) == before


def test_a_snapshot_into_a_living_index_is_refused(store, tmp_path):
    Store.create(tmp_path / "other", {})
    with pytest.raises(InputError, match="is an index itself"):
        store.snapshot(store.read_version(), str(tmp_path / "other"))


def test_a_local_snapshot_opens_as_an_index(store, tmp_path):
    store.snapshot(store.read_version(), str(tmp_path / "target"))
    assert Store.open(tmp_path / "target").open_version(hashes=True) == store.read_version()
    assert add(Store.open(tmp_path / "target")).number == 4
    assert Store.open(tmp_path / "target").list_versions() == [3, 4]


def test_a_cut_off_restore_is_no_index_and_goes_on(store, target, tmp_path):
    store.snapshot(store.read_version(), target)
    remove_at(target, "segments/00000002/vectors")
    with pytest.raises(InputError, match="segments/00000002/vectors: no such file"):
        Store.restore(target, tmp_path / "restored")
    with pytest.raises(InputError, match=r"no manifest.json: the making or restoring of this index was cut off"):
        Store.open(tmp_path / "restored")
    kept = tmp_path / "restored" / "segments" / "00000001" / "vectors"
    before = kept.stat()
    store.snapshot(store.read_version(), target)
    Store.restore(target, tmp_path / "restored").open_version(hashes=True)
    assert kept.stat().st_ino == before.st_ino
    assert_nothing_left_over(tmp_path / "restored")


def test_an_altered_snapshot_is_never_restored(store, target, tmp_path):
    store.snapshot(store.read_version(), target)
    change_at(target, "deleted/00000001-00000003.rows", bytes(8))
    with pytest.raises(InputError, match=r"deleted/00000001-00000003\.rows: was altered"):
        Store.restore(target, tmp_path / "restored")
    assert files_on_disk(tmp_path / "restored") & {"manifest.json", "deleted/00000001-00000003.rows"} == set()


def test_a_broken_index_is_mended_out_of_its_snapshot(store, target):
    store.snapshot(store.read_version(), target)
    (store.folder / "segments" / "00000001" / "vectors").unlink()
    (store.folder / "trained" / "00000002" / "centroids").write_bytes(b"centroid?")
    assert Store.restore(target, store.folder).open_version(hashes=True).number == 3
    assert store.list_versions() == [1, 2, 3]


def test_an_index_of_another_version_is_not_overwritten(store, target):
    store.snapshot(store.read_version(), target)
    add(store)
    with pytest.raises(InputError, match="holds version 4 of an index, which is not that of"):
        Store.restore(target, store.folder)
    assert store.open_version(hashes=True).number == 4


def test_what_another_cut_off_restore_left_is_removed(store, target, tmp_path):
    folder = tmp_path / "restored"
    Store.create(folder, {})
    (folder / "manifest.json").unlink()
    (folder / "versions" / "00000001.json").write_bytes(b"{")
    store.snapshot(store.read_version(), target)
    assert Store.restore(target, folder).list_versions() == [3]
    assert_nothing_left_over(folder)


def test_a_restore_does_not_sweep_away_an_index_that_lost_its_manifest(store, target):
    store.snapshot(store.read_version(2), target)
    (store.folder / "manifest.json").unlink()
    before = files_on_disk(store.folder)
    with pytest.raises(InputError, match=r"copy the last file of versions/ to manifest.json, or restore a snapshot"):
        Store.restore(target, store.folder)
    assert files_on_disk(store.folder) == before


def test_a_snapshot_never_writes_outside_the_folder(store, target, tmp_path):
    store.snapshot(store.read_version(), target)
    with open_at(target, "manifest.json") as stream:
        manifest = json.load(stream)
    manifest["files"]["segments/00000001/../../../stolen"] = manifest["files"]["segments/00000001/vectors"]
    change_at(target, "manifest.json", json.dumps(manifest).encode())
    with pytest.raises(InputError, match="expected the name of a file within the folder"):
        Store.restore(target, tmp_path / "restored")
    assert not (tmp_path / "restored").exists()


def test_a_target_that_cannot_be_written_is_named(store, tmp_path):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(CsgenError, match=r"file/copy/\S+: cannot be written: Not a directory"):
        store.snapshot(store.read_version(), str(tmp_path / "file" / "copy"))
