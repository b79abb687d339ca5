"""An index folder after kill -9 at every step of every operation, on a full disk, and as a power failure leaves it."""

import itertools
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import toy_store
from toy_store import (
    SETTINGS,
    add_segment,
    assert_nothing_left_over,
    assert_whole,
    fill_disk,
    make_index,
    run_killed,
    stepping,
    train,
)

from csgen.errors import CsgenError, InputError
from indexing.store import Store

no_flushing = pytest.fixture(autouse=True)(toy_store.no_flushing)


def add(folder):
    with Store.open(folder).write("add") as writer:
        add_segment(writer, b"three")
        writer.delete("00000001", [0])
        add_segment(writer, b"four")
        writer.publish()


def delete(folder):
    with Store.open(folder).write("delete") as writer:
        writer.delete("00000001", [1])
        writer.delete("00000002", [0, 1])
        writer.publish()


def compact(folder):
    with Store.open(folder).write("compact") as writer:
        writer.drop("00000001", "00000002")
        train(writer, b"others")
        add_segment(writer, b"both", 17)
        writer.publish()


def expire(folder):
    Store.open(folder).expire(keep=1, grace_s=0)


CHANGES = {"add": add, "delete": delete, "compact": compact}


@pytest.fixture
def prepared(tmp_path):
    make_index(tmp_path / "prepared")
    return tmp_path / "prepared"


@pytest.fixture
def beginnings(prepared, tmp_path):
    """Operations that make an index where there is none."""
    snapshot = str(tmp_path / "snapshot")
    Store.open(prepared).snapshot(Store.open(prepared).read_version(), snapshot)
    return {
        "create": lambda folder: Store.create(folder, SETTINGS),
        "restore": lambda folder: Store.restore(snapshot, folder),
    }


def copies(folder, tmp_path):
    """The folder afresh for each step, numbered from 1."""
    for step in itertools.count(1):
        copy = tmp_path / f"copy-{step}"
        shutil.copytree(folder, copy)
        yield step, copy
        shutil.rmtree(copy)


def published(folder):
    return Store.open(folder).read_version().encode()


def fail_on_full_disk(operation, step):
    """What the error says of a disk that is full from a step on; None where the operation ends before."""
    try:
        with stepping(fill_disk(step)):
            operation()
    except CsgenError as error:
        return str(error)
    return None


def write_on(folder):
    with Store.open(folder).write("next") as writer:
        add_segment(writer, b"next")
        writer.publish()


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_that_is_killed_at_any_step_leaves_the_index_before_or_after_it(change, prepared, tmp_path):
    before, seen = published(prepared), set()
    for step, folder in copies(prepared, tmp_path):
        killed = run_killed(lambda: CHANGES[change](folder), step)  # noqa: B023
        seen.add(published(folder))
        assert_whole(Store.open(folder))
        write_on(folder)
        assert_whole(Store.open(folder))
        assert_nothing_left_over(folder)
        if not killed:
            break
    CHANGES[change](prepared)
    assert seen == {before, published(prepared)}
    assert step > 10


def test_an_expiry_that_is_killed_at_any_step_leaves_whole_versions(prepared, tmp_path):
    compact(prepared)
    seen = set()
    for step, folder in copies(prepared, tmp_path):
        killed = run_killed(lambda: expire(folder), step)  # noqa: B023
        seen.add(tuple(Store.open(folder).list_versions()))
        assert published(folder) == published(prepared)
        assert_whole(Store.open(folder))
        expire(folder)
        assert Store.open(folder).list_versions() == [4]
        assert_whole(Store.open(folder))
        assert_nothing_left_over(folder)
        if not killed:
            break
    assert seen == {(1, 2, 3, 4), (2, 3, 4), (3, 4), (4,)}
    assert step > 10


@pytest.mark.parametrize("beginning", ["create", "restore"])
def test_an_index_whose_making_is_killed_at_any_step_is_not_there_or_whole(beginning, beginnings, tmp_path):
    make = beginnings[beginning]
    make(tmp_path / "whole")
    seen = set()
    for step in itertools.count(1):
        folder = tmp_path / f"folder-{step}"
        killed = run_killed(lambda: make(folder), step)  # noqa: B023
        try:
            seen.add(published(folder))
            assert_whole(Store.open(folder))
        except InputError:
            seen.add(None)
            make(folder)
        assert published(folder) == published(tmp_path / "whole")
        assert_whole(Store.open(folder))
        write_on(folder)
        assert_nothing_left_over(folder)
        if not killed:
            break
    assert seen == {None, published(folder.with_name("whole"))}
    assert step > 10


def test_a_snapshot_that_is_killed_at_any_step_is_the_one_before_or_whole(prepared, tmp_path):
    store, target = Store.open(prepared), tmp_path / "target"
    store.snapshot(store.read_version(2), str(target))
    before, after = published(target), published(prepared)
    seen = set()
    for step, folder in copies(target, tmp_path):
        killed = run_killed(lambda: store.snapshot(store.read_version(), str(folder)), step)  # noqa: B023
        seen.add(published(folder))
        assert_whole(Store.open(folder))
        store.snapshot(store.read_version(), str(folder))
        assert published(folder) == after
        if not killed:
            break
    assert seen == {before, after}


def test_a_restore_that_mends_and_is_killed_at_any_step_goes_on(prepared, beginnings, tmp_path):
    (prepared / "segments" / "00000001" / "vectors").unlink()
    (prepared / "segments" / "00000002" / "vectors").write_bytes(b"altered")
    for step, folder in copies(prepared, tmp_path):
        killed = run_killed(lambda: beginnings["restore"](folder), step)  # noqa: B023
        assert published(folder) == published(prepared)
        beginnings["restore"](folder)
        assert_whole(Store.open(folder))
        assert_nothing_left_over(folder)
        if not killed:
            break
    assert step > 10


@pytest.mark.parametrize("change", CHANGES)
def test_a_disk_that_is_full_from_any_step_on_leaves_the_published_version_whole(change, prepared, tmp_path):
    before, seen = published(prepared), set()
    for step, folder in copies(prepared, tmp_path):
        message = fail_on_full_disk(lambda: CHANGES[change](folder), step)  # noqa: B023
        if message is None:
            break
        seen.add(published(folder))
        assert str(folder) in message
        assert "the disk is full" in message
        assert "free some space, then run it again" in message
        assert_whole(Store.open(folder))
        write_on(folder)
        assert_nothing_left_over(folder)
    CHANGES[change](prepared)
    # What was published last is there even if flushing the folder's entry is what failed.
    assert seen == {before, published(prepared)}
    assert step > 10


@pytest.mark.parametrize("beginning", ["create", "restore"])
def test_an_index_that_is_made_on_a_full_disk_is_made_once_there_is_space(beginning, beginnings, tmp_path):
    make = beginnings[beginning]
    make(tmp_path / "whole")
    for step in itertools.count(1):
        folder = tmp_path / f"folder-{step}"
        message = fail_on_full_disk(lambda: make(folder), step)  # noqa: B023
        if message is None:
            break
        assert str(folder.parent) in message
        assert "the disk is full" in message
        if not (folder / "manifest.json").exists():
            make(folder)
        assert published(folder) == published(tmp_path / "whole")
        assert_whole(Store.open(folder))
    assert step > 10


def test_a_file_system_that_is_really_full_loses_nothing(tmp_path):
    mount = 'mount -t tmpfs -o size=512k none "$1"'
    if subprocess.run(["unshare", "-rm", "sh", "-c", mount, "", tmp_path], capture_output=True, check=False).returncode:
        pytest.skip("needs to mount a file system")
    command = ["unshare", "-rm", "sh", "-c", f'{mount} && exec "$2" "$3" "$1"', "", tmp_path, sys.executable]
    root = str(Path(__file__).parents[1])
    done = subprocess.run(
        [*command, toy_store.__file__], env={**os.environ, "PYTHONPATH": root}, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]


def test_a_failed_write_frees_what_it_took(prepared):
    files = {path for path in prepared.rglob("*") if path.is_file()}
    with pytest.raises(CsgenError, match="the disk is full"), stepping(fill_disk(30)):
        compact(prepared)
    assert {path for path in prepared.rglob("*") if path.is_file()} == files


def test_expiry_frees_space_on_a_full_disk(prepared):
    def full(count, kind, halfway):
        if kind in ("create", "write"):
            fill_disk(1)(count, kind, halfway)

    with Store.open(prepared).write("compact") as writer:
        writer.drop("00000001")
        writer.publish()
    with stepping(full):
        assert Store.open(prepared).expire(keep=1, grace_s=0) == [1, 2, 3]
    assert not (prepared / "segments" / "00000001").exists()


def test_a_full_disk_while_a_draft_is_filled_is_told_with_its_file(prepared):
    with pytest.raises(CsgenError, match=r"draft/vectors: the disk is full"), Store.open(prepared).write("add"):
        raise OSError(28, "No space left on device", "draft/vectors")


@pytest.mark.parametrize("change", CHANGES)
def test_all_that_a_manifest_names_is_flushed_before_the_manifest_is_replaced(change, prepared, monkeypatch):
    events, replace, mkdir = [], os.replace, os.mkdir

    def note_replace(source, target):
        if Path(target).name == "manifest.json":
            events.append(("manifest", published_later(source)))
        events.append(("entry", Path(target).parent.stat().st_ino))
        replace(source, target)

    def published_later(manifest):
        copy = prepared.with_name("later.json")
        shutil.copyfile(manifest, copy)
        return copy

    def note_mkdir(path, *args):
        mkdir(path, *args)
        if "drafts" not in Path(path).parts:
            events.append(("entry", Path(path).parent.stat().st_ino))

    monkeypatch.setattr(os, "fsync", lambda descriptor: events.append(("flush", os.fstat(descriptor).st_ino)))
    monkeypatch.setattr(os, "replace", note_replace)
    monkeypatch.setattr(os, "mkdir", note_mkdir)
    old = {path.stat().st_ino for path in prepared.rglob("*")}
    CHANGES[change](prepared)
    (at,) = (place for place, (kind, _) in enumerate(events) if kind == "manifest")
    flushed = {inode for kind, inode in events[:at] if kind == "flush"}
    version = Store.open(prepared).read_version()
    named = [prepared / name for _, name, _ in version.list_files()]
    inner = [folder for path in named for folder in path.parents if prepared in folder.parents]
    assert {path.stat().st_ino for path in [*named, *inner]} - old <= flushed
    last = {inode: place for place, (kind, inode) in enumerate(events[:at]) if kind == "entry"}
    assert all(("flush", inode) in events[place:at] for inode, place in last.items())
    assert ("flush", prepared.stat().st_ino) in events[at:]
    assert (prepared.with_name("later.json")).read_bytes() == version.encode()
