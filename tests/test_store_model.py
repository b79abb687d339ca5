"""Any sequence of adds, deletes, compactions and expiries gives what sets of rows in plain Python give."""

import shutil
import tempfile
from pathlib import Path

import numpy as np
import pytest
import toy_store
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from toy_store import add_segment, assert_nothing_left_over

from indexing.store import Store

no_flushing = pytest.fixture(autouse=True)(toy_store.no_flushing)

PASSAGES = st.integers(0, 20)


def read_model(store, version):
    """Live rows by segment, by both ways of reading them."""
    rows = {}
    for segment in version.segments:
        deleted = store.read_deleted(version, segment.name)
        assert deleted.tolist() == sorted(set(deleted.tolist()))
        live = np.setdiff1d(np.arange(segment.passages), deleted)
        bitmap = store.read_live(version, segment.name)
        if bitmap is not None:
            bits = np.unpackbits(bitmap, bitorder="little")
            assert np.flatnonzero(bits).tolist() == live.tolist()
        assert segment.live == len(live)
        rows[segment.name] = set(live.tolist())
    return rows


class StoreMachine(RuleBasedStateMachine):
    @initialize()
    def create(self):
        self.folder = Path(tempfile.mkdtemp())
        self.store = Store.create(self.folder, {})
        self.live = {}  # segment -> rows
        self.made = 0  # segments ever, those that were never published left out
        self.history = {1: {}}  # version -> live

    def teardown(self):
        if hasattr(self, "folder"):
            shutil.rmtree(self.folder)

    def note(self, version):
        assert version.number == max(self.history) + 1
        self.history[version.number] = {name: set(rows) for name, rows in self.live.items()}

    def add_rows(self, writer, passages):
        segment = add_segment(writer, passages=passages)
        self.made += 1
        assert segment.number == self.made
        self.live[segment.name] = set(range(passages))

    @rule(sizes=st.lists(PASSAGES, max_size=2))
    def add(self, sizes):
        with self.store.write("add") as writer:
            for passages in sizes:
                self.add_rows(writer, passages)
            self.note(writer.publish())

    @rule(data=st.data())
    def delete(self, data):
        with self.store.write("delete") as writer:
            for segment in writer.base.segments:
                last = segment.passages - 1
                rows = data.draw(st.lists(st.integers(0, last), max_size=6) if last >= 0 else st.just([]))
                assert writer.delete(segment.name, rows) == len(self.live[segment.name] & set(rows))
                self.live[segment.name] -= set(rows)
            self.note(writer.publish())

    @rule(data=st.data())
    def compact(self, data):
        names = data.draw(st.sets(st.sampled_from(sorted(self.live)))) if self.live else set()
        with self.store.write("compact") as writer:
            writer.drop(*sorted(names))
            self.add_rows(writer, sum(len(self.live.pop(name)) for name in sorted(names)))
            self.note(writer.publish())

    @rule(passages=PASSAGES)
    def give_up(self, passages):
        with self.store.write("add") as writer:
            add_segment(writer, passages=passages)
            for segment in writer.base.segments:
                writer.delete(segment.name, range(segment.passages))

    @rule(keep=st.integers(1, 4))
    def expire(self, keep):
        expired = sorted(self.history)[:-keep]
        assert self.store.expire(keep, grace_s=0) == expired
        for number in expired:
            del self.history[number]

    @rule()
    def open_anew(self):
        self.store = Store.open(self.folder)

    @invariant()
    def every_kept_version_is_as_the_model(self):
        assert self.store.list_versions() == sorted(self.history)
        for number, live in self.history.items():
            version = self.store.read_version(number)
            assert read_model(self.store, version) == live
            assert self.store.check(version, hashes=True) == []

    @invariant()
    def no_other_file_is_there(self):
        assert_nothing_left_over(self.folder)


StoreMachine.TestCase.settings = settings(max_examples=25, stateful_step_count=15, deadline=None)
test_any_sequence_of_changes = StoreMachine.TestCase
