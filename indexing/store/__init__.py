"""The life of an index folder: versions, segments, deletes, one writer, snapshots. Knows neither vectors nor texts."""

from indexing.store.check import Problem, Repair
from indexing.store.folder import describe_folder
from indexing.store.store import Store
from indexing.store.version import FileEntry, SegmentEntry, TrainedEntry, Version
from indexing.store.writer import SegmentDraft, TrainedDraft, Writer

__all__ = [
    "FileEntry",
    "Problem",
    "Repair",
    "SegmentDraft",
    "SegmentEntry",
    "Store",
    "TrainedDraft",
    "TrainedEntry",
    "Version",
    "Writer",
    "describe_folder",
]
