"""An index folder's life: versions, segments, deletes, one writer, checks, repair, expiry."""

import contextlib
import json
import multiprocessing
import os
import re
import signal
import time

import numpy as np
import pytest
import toy_store
from hypothesis import given, settings
from hypothesis import strategies as st
from toy_store import (
    SETTINGS,
    add_segment,
    assert_nothing_left_over,
    files_on_disk,
    fill,
    make_index,
    train,
)

from csgen.errors import CsgenError, InputError
from csgen.manifest import Manifest
from indexing.store import FileEntry, Store, Version, describe_folder
from indexing.store.tombstones import mark_live

no_flushing = pytest.fixture(autouse=True)(toy_store.no_flushing)

FORK = multiprocessing.get_context("fork")


@pytest.fixture
def store(tmp_path):
    return make_index(tmp_path / "index")


def publish_nothing(store):
    with store.write("add") as writer:
        return writer.publish()


def age(store, number, seconds):
    """Let a version be published so long ago."""
    path = store.folder / "versions" / f"{number:08d}.json"
    os.utime(path, (time.time() - seconds,) * 2)


def break_file(path, how):
    if how == "missing":
        path.unlink()
    elif how == "truncated":
        path.write_bytes(path.read_bytes()[:-1])
    else:
        path.write_bytes(path.read_bytes()[:-1] + b"?")


def test_a_new_index_is_empty_and_keeps_its_settings(tmp_path):
    version = Store.create(tmp_path / "index", SETTINGS).read_version()
    assert (version.number, version.operation, version.settings, version.segments) == (1, "create", SETTINGS, ())


def test_a_version_tells_its_segments_by_number(store):
    version = store.read_version()
    assert [(s.name, s.number, s.shard, s.passages, s.live) for s in version.segments] == [
        ("00000001", 1, 0, 10, 8),
        ("00000002", 2, 1, 9, 9),
    ]
    assert version.segment("00000001").facts == {"content": "one"}
    assert sorted(version.segment("00000001").files) == ["table/texts", "vectors"]
    assert version.next_segment == 3


def test_counts_add_up_all_segments(store):
    size = 2 * (3 * 40 + 3 * 7) + len(b"centroids") + 2 * 4
    assert store.read_version().counts == {"segments": 2, "passages": 19, "deleted": 2, "bytes": size}


def test_the_manifest_reads_as_one_of_csgen(store):
    manifest = Manifest.read(str(store.folder))
    assert (manifest.stage, manifest.config, manifest.counts["passages"]) == ("index", SETTINGS, 19)
    on_disk = {name: store.folder / name for name in manifest.files}
    assert {name: path.stat().st_size for name, path in on_disk.items()} == {
        name: entry["bytes"] for name, entry in manifest.files.items()
    }


def test_equal_work_gives_equal_bytes(store, tmp_path):
    other = make_index(tmp_path / "other")
    for name in files_on_disk(store.folder) - {"lock"}:
        assert (store.folder / name).read_bytes() == (other.folder / name).read_bytes()
    assert files_on_disk(store.folder) == files_on_disk(other.folder)


def test_segments_sealed_in_another_order_give_the_same_version(tmp_path):
    versions = []
    for name, order in (("one", (0, 1)), ("other", (1, 0))):
        store = Store.create(tmp_path / name, SETTINGS)
        with store.write("add") as writer:
            drafts = [writer.new_segment(0) for _ in range(2)]
            for place in order:
                fill(drafts[place].folder, b"ab"[place : place + 1])
                drafts[place].seal(5, {})
            versions.append(writer.publish())
    assert versions[0] == versions[1]


def test_a_reader_keeps_the_version_that_it_read(store):
    before = store.read_version()
    with store.write("compact") as writer:
        writer.drop("00000001", "00000002")
        writer.publish()
    assert store.read_version().segments == ()
    assert store.check(before, hashes=True) == []
    assert store.read_version(before.number) == before


def test_a_writer_that_does_not_publish_changes_nothing(store):
    before, files = store.read_version(), files_on_disk(store.folder)
    with store.write("add") as writer:
        add_segment(writer)
        writer.delete("00000001", [0])
        writer.new_segment(0)
    assert store.read_version() == before
    assert files_on_disk(store.folder) == files


def test_a_writer_that_fails_changes_nothing(store):
    before, files = store.read_version(), files_on_disk(store.folder)

    def fail():
        with store.write("add") as writer:
            add_segment(writer)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert store.read_version() == before
    assert files_on_disk(store.folder) == files


def test_numbers_of_segments_are_never_used_twice(store):
    with store.write("compact") as writer:
        writer.drop("00000001", "00000002")
        writer.new_segment(0).discard()
        assert add_segment(writer).number == 4
        writer.publish()
    store.expire(keep=1, grace_s=0)
    with store.write("add") as writer:
        assert writer.new_segment(0).number == 5


def test_an_unsealed_draft_stops_publishing(store):
    with store.write("add") as writer:
        writer.new_segment(0)
        with pytest.raises(CsgenError, match="1 drafts are neither sealed nor discarded"):
            writer.publish()
    assert store.read_version().number == 3


def test_a_draft_is_sealed_once(store):
    with store.write("add") as writer:
        draft = writer.new_segment(0)
        draft.seal(0, {})
        with pytest.raises(CsgenError, match="sealed or discarded before"):
            draft.seal(0, {}, {})


def test_facts_that_json_cannot_hold_are_refused_when_a_segment_is_sealed(store):
    for fact in ((1, 2), float("nan"), np.float32(1)):
        with store.write("add") as writer, pytest.raises(ValueError, match="facts"):
            writer.new_segment(0).seal(1, {"fact": fact})


def test_a_writer_that_has_published_or_ended_does_no_more(store):
    with store.write("add") as writer:
        writer.publish()
        with pytest.raises(CsgenError, match="has ended"):
            writer.delete("00000001", [0])
    with store.write("add") as writer:
        pass
    with pytest.raises(CsgenError, match="has ended"):
        writer.publish()


def fill_elsewhere(folder, content):
    fill(folder, content)
    return 5, describe_folder(folder)


def test_a_draft_may_be_filled_and_described_by_another_process(store):
    with store.write("add") as writer, FORK.Pool(2) as pool:
        drafts = [writer.new_segment(shard) for shard in range(2)]
        filled = pool.starmap(fill_elsewhere, [(draft.folder, b"%d" % draft.shard) for draft in drafts])
        for draft, (passages, files) in zip(drafts, filled, strict=True):
            draft.seal(passages, {}, files)
        writer.publish()
    assert store.check(store.read_version(), hashes=True) == []
    assert store.read_version().counts["segments"] == 4


def test_a_draft_that_changed_since_it_was_described_is_refused(store):
    with store.write("add") as writer:
        draft = writer.new_segment(0)
        passages, files = fill_elsewhere(draft.folder, b"some")
        (draft.folder / "late").write_bytes(b"late")
        with pytest.raises(CsgenError, match="late: is not what was described"):
            draft.seal(passages, {}, files)


def test_a_link_in_a_draft_is_refused(store, tmp_path):
    with store.write("add") as writer:
        draft = writer.new_segment(0)
        (draft.folder / "link").symlink_to(tmp_path)
        (draft.folder / "other").symlink_to(store.folder / "manifest.json")
        with pytest.raises(CsgenError, match="not links"):
            draft.seal(1, {})


def test_trained_files_are_shared_and_read_before_they_are_published(store, tmp_path):
    assert store.open_trained_paths(store.read_version())["centroids"].read_bytes() == b"centroids"
    new = Store.create(tmp_path / "new", {})
    assert new.open_trained_paths(new.read_version()) == {}
    with new.write("add") as writer:
        trained = train(writer)
        assert (new.folder / "trained" / trained.name / "centroids").read_bytes() == b"centroids"


def test_trained_files_are_replaced_only_with_all_segments(store):
    with store.write("compact") as writer:
        writer.drop("00000001")
        train(writer, b"others")
        with pytest.raises(CsgenError, match="segment 00000002 was made with the trained files"):
            writer.publish()
    with store.write("compact") as writer:
        writer.drop("00000001", "00000002")
        train(writer, b"others")
        add_segment(writer)
        writer.publish()
    assert store.open_trained_paths(store.read_version())["centroids"].read_bytes() == b"others"
    assert store.open_trained_paths(store.read_version(2))["centroids"].read_bytes() == b"centroids"


def test_deletes_are_merged_and_only_new_ones_counted(store):
    with store.write("delete") as writer:
        assert writer.delete("00000001", [9, 3, 0, 9]) == 2
        assert writer.delete("00000001", np.array([0, 1])) == 1
        assert writer.delete("00000002", []) == 0
        version = writer.publish()
    assert store.read_deleted(version, "00000001").tolist() == [0, 1, 3, 8, 9]
    assert store.read_deleted(store.read_version(3), "00000001").tolist() == [3, 8]
    assert version.segment("00000002").deleted is None


def test_deletes_are_in_a_file_of_ascending_little_endian_numbers(store):
    deleted = store.read_version().segment("00000001").deleted
    assert (store.folder / deleted.file).read_bytes() == np.array([3, 8], "<u4").tobytes()


def test_deletes_that_bring_nothing_new_keep_the_earlier_file(store):
    before = store.read_version().segment("00000001").deleted
    with store.write("delete") as writer:
        assert writer.delete("00000001", [3]) == 0
        assert writer.publish().segment("00000001").deleted == before


def test_rows_of_a_segment_that_is_new_may_be_deleted(store):
    with store.write("add") as writer:
        name = add_segment(writer).name
        writer.delete(name, [2])
        version = writer.publish()
    assert store.read_deleted(version, name).tolist() == [2]


@pytest.mark.parametrize(("rows", "message"), [([10], "got 10"), ([-1, 2], "got -1"), ([0.5], "whole numbers")])
def test_rows_that_a_segment_does_not_have_are_refused(store, rows, message):
    with store.write("delete") as writer, pytest.raises(ValueError, match=message):
        writer.delete("00000001", rows)


def test_a_segment_that_is_not_there_is_named(store):
    with store.write("delete") as writer:
        writer.drop("00000001")
        with pytest.raises(ValueError, match="no segment '00000001'"):
            writer.delete("00000001", [0])


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 200).flatmap(lambda n: st.tuples(st.just(n), st.sets(st.integers(0, max(n - 1, 0))))))
def test_the_bitmap_of_live_rows_has_the_bits_in_little_order(case):
    passages, deleted = case
    rows = np.array(sorted(row for row in deleted if row < passages), np.uint32)
    live = np.ones(passages, np.bool_)
    live[rows] = False
    bitmap = mark_live(passages, rows)
    if len(rows) == 0:
        assert bitmap is None
    else:
        assert bitmap.tolist() == np.packbits(live, bitorder="little").tolist()


def test_a_segment_without_deletes_has_no_bitmap(store):
    assert store.read_live(store.read_version(), "00000002") is None
    assert store.read_live(store.read_version(), "00000001").tolist() == [0b11110111, 0b10]


def test_altered_deletes_are_never_read(store):
    version = store.read_version()
    (store.folder / version.segment("00000001").deleted.file).write_bytes(bytes(8))
    with pytest.raises(InputError, match="deletes of segment 00000001 were altered"):
        store.read_live(version, "00000001")


# One writer


def hold(folder, ready):
    with Store.open(folder).write("add") as writer:
        add_segment(writer)
        ready.send(os.getpid())
        time.sleep(600)


@contextlib.contextmanager
def holding(folder, target=hold):
    here, there = FORK.Pipe()
    process = FORK.Process(target=target, args=(folder, there))
    process.start()
    here.recv()
    try:
        yield process
    finally:
        process.kill()
        process.join()


def test_a_second_writer_is_refused_with_who_holds_the_lock(store):
    with holding(store.folder) as process:
        held = (
            rf"process {process.pid} on {re.escape(os.uname().nodename)} \(add, since \d{{4}}-\d\d-\d\dT[\d:]+\+00:00\)"
        )
        with pytest.raises(InputError, match=rf"index: {held} is writing: wait until it ends"):  # noqa: SIM117
            with store.write("delete"):
                pass
        with pytest.raises(InputError, match="is writing"):
            store.expire(1)


def test_a_writer_in_the_same_process_is_refused_too(store):
    with store.write("add"), pytest.raises(InputError, match=f"process {os.getpid()} "), store.write("add"):
        pass


def test_readers_need_no_lock(store):
    with holding(store.folder):
        assert store.open_version().number == 3


def test_a_killed_writer_is_followed_by_the_next_without_help(store):
    with holding(store.folder) as process:
        os.kill(process.pid, signal.SIGKILL)
        process.join()
        assert "segments/00000003/vectors" in files_on_disk(store.folder)
        with store.write("delete"):
            assert_nothing_left_over_but_a_workspace(store)
    assert_nothing_left_over(store.folder)


def assert_nothing_left_over_but_a_workspace(store):
    assert {p.name for p in (store.folder / "segments").iterdir()} == {"00000001", "00000002"}
    assert len(list((store.folder / "drafts").iterdir())) == 1


def hold_with_a_child(folder, ready):
    with Store.open(folder).write("add"):
        if os.fork() == 0:
            ready.send(os.getpid())
        time.sleep(600)


def test_children_of_a_killed_writer_do_not_hold_the_lock(store):
    here, there = FORK.Pipe()
    process = FORK.Process(target=hold_with_a_child, args=(store.folder, there))
    process.start()
    child = here.recv()
    try:
        os.kill(process.pid, signal.SIGKILL)
        process.join()
        os.kill(child, 0)  # it is there
        assert publish_nothing(store).number == 4
    finally:
        os.kill(child, signal.SIGKILL)


def test_a_lock_without_a_name_in_it_is_refused_all_the_same(store):
    with store.write("add"):
        (store.folder / "lock").write_bytes(b"")
        with pytest.raises(InputError, match="another process is writing"), store.write("add"):
            pass


def test_publishing_over_another_version_is_refused(store):
    with store.write("add") as writer:
        (store.folder / "lock").unlink()
        publish_nothing(store)
        with pytest.raises(CsgenError, match="was published to while this writer held the lock"):
            writer.publish()
    assert store.read_version().number == 4


# Opening and checking


def test_a_folder_that_is_no_index_is_named(tmp_path):
    with pytest.raises(InputError, match=r"no manifest.json: not an index"):
        Store.open(tmp_path)


def test_an_index_at_a_uri_is_refused():
    with pytest.raises(InputError, match="lies on a local or shared file system"):
        Store.open("memory://index")


def test_a_manifest_of_another_stage_is_refused(tmp_path):
    Manifest(stage="switch", config={}, inputs={}, counts={}, files={}).write(str(tmp_path))
    with pytest.raises(InputError, match="the manifest of an output of switch, not of an index"):
        Store.open(tmp_path)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"stage": "index"}'])
def test_a_broken_manifest_is_named_with_the_remedy(store, content):
    (store.folder / "manifest.json").write_bytes(content)
    remedy = r"copy the last file of versions/ to manifest\.json"
    with pytest.raises(InputError, match=rf"manifest\.json: not a manifest: .*; {remedy}"):
        Store.open(store.folder)
    (store.folder / "manifest.json").write_bytes((store.folder / "versions" / "00000003.json").read_bytes())
    assert store.open_version().number == 3


def test_an_index_that_lost_its_manifest_is_not_made_anew(store):
    before = files_on_disk(store.folder)
    (store.folder / "manifest.json").unlink()
    for take in (lambda: Store.open(store.folder), lambda: Store.create(store.folder, SETTINGS)):
        with pytest.raises(InputError, match=r"no manifest.json: it was lost, .*: copy the last file of versions/ to"):
            take()
    assert files_on_disk(store.folder) == before - {"manifest.json"}


@pytest.mark.parametrize(
    "change", [{"number": 0}, {"segments": [{}]}, {"segments": 3}, {"next_segment": 2}, {"more": 1}]
)
def test_a_manifest_that_is_not_an_index_is_refused(store, change):
    manifest = json.loads((store.folder / "manifest.json").read_bytes())
    manifest["inputs"] |= change
    with pytest.raises(InputError, match="here: not the manifest of an index"):
        Version.decode(json.dumps(manifest).encode(), "here")


@pytest.mark.parametrize("name", ["/etc/x", "../x", "a/../x", ".", "", "a//b"])
def test_names_that_lead_out_of_the_folder_are_refused(store, name):
    entry = store.read_version().segments[0].model_dump()
    entry["files"] = {name: FileEntry(bytes=1, xxh3_128="0" * 32)}
    with pytest.raises(ValueError, match="name of a file within the folder"):
        type(store.read_version().segments[0]).model_validate(entry)


def test_a_finished_index_is_not_created_anew(store):
    with pytest.raises(InputError, match="holds a finished output"):
        Store.create(store.folder, {})


def test_a_folder_that_holds_something_else_is_left_alone(tmp_path):
    (tmp_path / "segments").mkdir()
    (tmp_path / "segments" / "mine").write_bytes(b"mine")
    with pytest.raises(InputError, match="is not empty, and not an index"):
        Store.create(tmp_path, {})
    assert files_on_disk(tmp_path) == {"segments/mine"}


@pytest.mark.parametrize("name", ["README", "segments/.nfs0001"])
def test_files_that_are_not_the_stores_are_left_alone(store, name):
    (store.folder / name).write_bytes(b"mine")
    publish_nothing(store)
    store.expire(1, grace_s=0)
    assert (store.folder / name).read_bytes() == b"mine"


def test_a_folder_is_given_by_path_or_by_file_uri(store):
    assert Store.open(f"file://{store.folder}").folder == Store.open(str(store.folder)).folder == store.folder


@pytest.mark.parametrize("how", ["missing", "truncated", "altered"])
@pytest.mark.parametrize(
    ("name", "segment"),
    [
        ("segments/00000002/vectors", "00000002"),
        ("deleted/00000001-00000003.rows", "00000001"),
        ("trained/00000002/centroids", None),
    ],
)
def test_a_broken_file_is_named_with_its_segment_and_fault(store, name, segment, how):
    break_file(store.folder / name, how)
    problems = store.check(store.read_version(), hashes=True)
    assert [(p.segment, p.file, p.fault) for p in problems] == [(segment, name, how)]
    assert len(store.check(store.read_version())) == (0 if how == "altered" else 1)


def test_a_file_that_grew_is_altered(store):
    path = store.folder / "segments" / "00000002" / "vectors"
    path.write_bytes(path.read_bytes() + b"more")
    (problem,) = store.check(store.read_version())
    assert str(problem) == ("segments/00000002/vectors (segment 00000002) is altered: 124 bytes in place of 120")


def test_strict_opening_names_the_first_problem_and_the_remedy(store):
    break_file(store.folder / "segments" / "00000002" / "vectors", "truncated")
    message = (
        r"index: segments/00000002/vectors \(segment 00000002\) is truncated: 119 of 120 bytes; "
        "restore the index from a snapshot into the same folder, or repair, which does without segment 00000002"
    )
    with pytest.raises(InputError, match=message):
        store.open_version()


def test_earlier_versions_are_opened_and_repaired_too(store):
    break_file(store.folder / "deleted" / "00000001-00000003.rows", "missing")
    assert store.open_version(2).number == 2
    assert [len(store.repair_version(number).lost) for number in (2, 3)] == [0, 1]


def test_strict_opening_checks_hashes_if_asked(store):
    break_file(store.folder / "segments" / "00000002" / "vectors", "altered")
    assert store.open_version().number == 3
    with pytest.raises(InputError, match="is altered: its hash is"):
        store.open_version(hashes=True)


@pytest.mark.parametrize("name", ["segments/00000001/table/texts", "deleted/00000001-00000003.rows"])
def test_repair_does_without_broken_segments_and_says_what_is_lost(store, name):
    break_file(store.folder / name, "missing")
    repair = store.repair_version()
    assert [segment.name for segment in repair.version.segments] == ["00000002"]
    assert ([segment.name for segment in repair.lost], repair.lost_passages) == (["00000001"], 8)
    assert str(repair).startswith(f"lost 1 of 2 segments, 8 of 17 passages: {name} (segment 00000001) is missing")


def test_repair_of_a_whole_index_loses_nothing(store):
    repair = store.repair_version(hashes=True)
    assert (repair.version, str(repair)) == (store.read_version(), "nothing is lost")


def test_broken_trained_files_are_beyond_repair(store):
    break_file(store.folder / "trained" / "00000002" / "centroids", "truncated")
    with pytest.raises(InputError, match=r"\(all segments\) is truncated: 8 of 9 bytes; restore the index"):
        store.repair_version()


def test_dropping_the_lost_segments_makes_a_repair_last(store):
    break_file(store.folder / "segments" / "00000001" / "vectors", "missing")
    with store.write("repair") as writer:
        writer.drop(*(segment.name for segment in store.repair_version().lost))
        writer.publish()
    assert [segment.name for segment in store.open_version(hashes=True).segments] == ["00000002"]


def test_segment_paths_are_there_and_of_their_sizes(store):
    version = store.read_version()
    paths = store.open_segment_paths(version, "00000002")
    assert {name: path.read_bytes() for name, path in paths.items()} == {
        "vectors": b"two" * 40,
        "table/texts": b"owt" * 7,
    }
    break_file(paths["vectors"], "truncated")
    with pytest.raises(InputError, match="has 119 bytes, was written with 120: restore it"):
        store.open_segment_paths(version, "00000002")
    break_file(paths["vectors"], "missing")
    with pytest.raises(InputError, match=r"vectors: No such file or directory: restore"):
        store.open_segment_paths(version, "00000002")


# Old versions


def test_expiry_removes_old_versions_and_the_files_that_only_they_name(store):
    with store.write("compact") as writer:
        writer.drop("00000001")
        writer.publish()
    assert store.expire(keep=2, grace_s=0) == [1, 2]
    assert store.list_versions() == [3, 4]
    assert "segments/00000001/vectors" in files_on_disk(store.folder)
    assert store.expire(keep=1, grace_s=0) == [3]
    assert "segments/00000001/vectors" not in files_on_disk(store.folder)
    assert store.check(store.read_version(), hashes=True) == []
    assert_nothing_left_over(store.folder)


@pytest.mark.parametrize("keep", [3, 4, 100])
def test_expiry_keeps_as_many_as_it_is_told(store, keep):
    assert store.expire(keep, grace_s=0) == []
    assert store.list_versions() == [1, 2, 3]


def test_a_version_stays_until_its_successor_is_as_old_as_the_grace(store):
    for number, seconds in ((1, 9000), (2, 8000), (3, 10)):
        age(store, number, seconds)
    assert store.expire(keep=1) == [1]  # version 2 was the last until ten seconds ago
    age(store, 3, 3700)
    assert store.expire(keep=1) == [2]


def test_the_age_of_a_version_is_told_by_the_clock_of_the_file_system(store, monkeypatch):
    monkeypatch.setattr(time, "time", lambda: 1e10)  # that of this machine is wrong
    assert store.expire(keep=1) == []


def test_keeping_no_version_is_refused(store):
    with pytest.raises(ValueError, match="keep must be 1 or more"):
        store.expire(0)


def test_a_reader_of_an_expired_version_keeps_what_is_open_and_is_told_to_read_anew(store):
    version = store.read_version()
    mapped = np.memmap(store.open_segment_paths(version, "00000001")["vectors"], mode="r")
    with store.write("compact") as writer:
        writer.drop("00000001")
        writer.publish()
    store.expire(keep=1, grace_s=0)
    assert bytes(mapped) == b"one" * 40
    with pytest.raises(InputError, match="version 3 has expired: read the index anew"):
        store.open_segment_paths(version, "00000001")
    with pytest.raises(InputError, match="never published here, or has expired"):
        store.read_version(3)


def test_a_version_that_is_to_come_is_refused(store):
    with pytest.raises(InputError, match="no version 4: the last is 3"):
        store.read_version(4)


def test_a_broken_old_version_stops_writers_until_it_is_removed(store):
    (store.folder / "versions" / "00000002.json").write_bytes(b"{")
    with pytest.raises(
        InputError, match=r"00000002.json: not a manifest: .*; remove it, if that version is not needed"
    ):
        publish_nothing(store)
    (store.folder / "versions" / "00000002.json").unlink()
    assert publish_nothing(store).number == 4
