"""Adding passages to an index, and deleting some: new segments and deletes, published at once; old ones stay.

What is added is made as a build makes it, with the index's own shards and training, in INDEX.building until then.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from csgen.errors import CsgenError, InputError
from indexing.index.inputs import PassageInput, find_input
from indexing.index.job import open_job
from indexing.index.opened import NO_ROW, OpenSegments, split_rows
from indexing.index.options import AddConfig, DeleteConfig, Keeping
from indexing.index.pieces import OpenPiece, Reading
from indexing.index.running import HERE, Place, Progress, no_progress
from indexing.index.settings import IndexSettings
from indexing.index.sources import VectorSource
from indexing.index.stages import NewSegment, Prepared, encode, fill_segments, prepare, seal_segments, write_rejects
from indexing.passages import PassageTable
from indexing.passages.rows import LANGUAGE, OWN, PASSAGE_ID, make_addresses
from indexing.passages.strings import as_strings
from indexing.store import Store, Version, Writer
from indexing.store.version import TRAINED

Report = dict[str, Any]
Rows = dict[str, NDArray[np.int64]]  # by segment

_BLOCK_ROWS = 1 << 16


def add(config: AddConfig, source: VectorSource, place: Place = HERE, progress: Progress = no_progress) -> Report:
    """Add passages and return a report of it, as JSON holds it; passages of the same addresses are deleted.

    Vectors of another encoder than the index's, or of other dimensions, are an InputError. Killed, it goes on from
    where it was, as `build` does; deletes that were published meanwhile hold for what was there before.
    """
    store = Store.open(config.index)
    opened = open_published(store)
    _require_vectors(opened.settings, source, store.folder)
    with open_job(store.folder, "add") as job:
        given = _fit_metadata(find_input(config.passages, config.languages, config.metadata), opened)
        inputs = {f"input {path}": mark for path, mark in given.fingerprints().items()}
        identity = {"operation": "add"} | config.describe() | inputs | source.describe()
        if report := job.find_published(identity):
            return report | expire(store, config)
        is_new = job.begin(identity)
        with job.gone_if_refused(is_new):
            sharding = opened.settings.sharding
            reading = Reading(str(job.folder), given, sharding, config.piece_passages, config.most_rejects)
            prepared = prepare(reading, source, config.on_duplicate, place, progress)
            if config.on_existing == "refuse":
                _refuse_existing(opened, _list_given(prepared))
        with job.gone_if_refused(is_new and source.encoder is None):
            truncated = encode(prepared, source, place, progress)
        segments = fill_segments(
            prepared, trained_folder(store, opened.version), opened.settings.segment_passages,
            opened.settings.lexical, place, progress,
        )  # fmt: skip
        with store.write("add") as writer:
            version = writer.base.number + 1
            report = {"index": str(store.folder), "version": version, "segments": len(segments)} | prepared.describe()
            report |= {"replaced": _put(writer, opened, segments, config), "truncated": truncated}
            report |= {"ignored_columns": list(given.ignored_columns)}
            report |= {"rejects_file": write_rejects(store.folder, version, prepared.given.rejects)}
            job.announce(version, report)
            writer.publish()
        job.remove()
    return report | expire(store, config)


def delete(config: DeleteConfig) -> Report:
    """Delete passages and return a report of it. Where none is found, no version is published."""
    store, wanted = Store.open(config.index), config.to_filter()
    with store.write("delete") as writer:
        opened = open_version(store, writer.base)
        rows = {}
        for entry, table, bitmap in zip(opened.entries, opened.tables, opened.allow(wanted).bitmaps, strict=True):
            live = np.unpackbits(bitmap, count=len(table), bitorder="little") if bitmap is not None else None
            rows[entry.name] = np.arange(len(table)) if live is None else np.flatnonzero(live)
        num_deleted = bury(writer, rows)
        missing = [] if wanted.addresses is None else _find_missing(opened, wanted.addresses)
        version = writer.publish() if num_deleted else writer.base
    report = {"index": str(store.folder), "version": version.number, "deleted": num_deleted}
    report |= {"not_found": len(missing), "first_not_found": missing[:3]}
    return report | (expire(store, config) if num_deleted else {"expired": []})


def open_published(store: Store) -> OpenSegments:
    """The version that is published now."""
    return open_version(store, store.read_version())


def open_version(store: Store, version: Version) -> OpenSegments:
    """A version's segments, opened when they are needed."""
    return OpenSegments(store, version, IndexSettings.of(version, str(store.folder)), "cpu")


def trained_folder(store: Store, version: Version) -> str:
    """Where the training of a version lies, its files all there."""
    if version.trained is None:
        raise InputError.at(str(store.folder), None, "names no training: restore the index from a snapshot")
    store.open_trained_paths(version)
    return str(store.folder / TRAINED / version.trained.name)


def bury(writer: Writer, rows: Rows) -> int:
    """Delete rows by segment; returns how many of them were live."""
    return sum(writer.delete(segment, own) for segment, own in rows.items() if len(own))


def expire(store: Store, config: Keeping) -> Report:
    """Let go of older versions, for a report. Where another writer has begun meanwhile, they are left to that one."""
    try:
        return {"expired": store.expire(config.keep, config.grace_s)}
    except InputError:
        return {"expired": []}


def _put(writer: Writer, opened: OpenSegments, segments: list[NewSegment], config: AddConfig) -> int:
    """Put new segments into the index, in place of passages of their addresses; returns how many of these there are.

    opened: the version for whose training the segments were made.
    """
    now = open_version(opened.store, writer.base)
    if now.version.trained != opened.version.trained:
        raise CsgenError(
            f"{opened.store.folder}: was trained anew meanwhile: run it again, it goes on from its vectors"
        )
    if config.on_existing == "refuse":
        _refuse_existing(now, _list_written(segments))
    num_replaced = bury(writer, _find_rows(now, _list_written(segments)))
    seal_segments(writer, segments)
    return num_replaced


def _require_vectors(settings: IndexSettings, source: VectorSource, root: Path) -> None:
    if source.encoder is not None:
        settings.require_encoder(source.encoder, str(root))
    if source.dim != settings.dim:
        raise InputError.at(
            str(root), None, f"its vectors have {settings.dim} dimensions, those that are given {source.dim}"
        )


def _fit_metadata(given: PassageInput, opened: OpenSegments) -> PassageInput:
    """The input with metadata of the index's types; one that cannot be is an InputError."""
    fields = []
    for field in given.schema:
        kind = opened.fields.get(field.name, field.type) if field.name not in OWN else field.type
        if kind != field.type and (field.type, kind) != (pa.int64(), pa.float64()):
            raise InputError.at(
                str(opened.store.folder), None, f"the field {field.name} is {kind}, not {field.type}: cast it, or "
                "leave it out by --metadata"
            )  # fmt: skip
        fields.append((field.name, kind))
    return PassageInput(given.files, pa.schema(fields), given.languages, given.ignored_columns)


def _list_given(prepared: Prepared) -> Iterator[pa.Array]:
    """The addresses of passages that were read, piece by piece."""
    for piece in prepared.given.pieces:
        opened = OpenPiece.open(prepared.folder, piece.name)
        for plan in prepared.plans:
            batch = opened.batch(plan.shard)
            yield as_strings(make_addresses(batch.column(LANGUAGE), batch.column(PASSAGE_ID)))


def _list_written(segments: Iterable[NewSegment]) -> Iterator[pa.Array]:
    """The addresses of new segments' passages, block by block."""
    for segment in segments:
        table = PassageTable.open(segment.folder)
        for first in range(0, len(table), _BLOCK_ROWS):
            yield table.addresses(np.arange(first, min(first + _BLOCK_ROWS, len(table))))


def _find_rows(opened: OpenSegments, addresses: Iterable[pa.Array]) -> Rows:
    """The live rows of addresses, by segment."""
    found = defaultdict(list)
    for block in addresses:
        for place, _, rows in split_rows(opened.find(block)):
            found[opened.entries[place].name].append(rows)
    return {segment: np.concatenate(parts) for segment, parts in found.items()}


def _refuse_existing(opened: OpenSegments, addresses: Iterable[pa.Array]) -> None:
    for block in addresses:
        there = opened.find(block) != NO_ROW
        if there.any():
            raise InputError.at(
                str(opened.store.folder), None, f"has {block[int(np.argmax(there))].as_py()} already, as "
                f"{there.sum():,} of {len(block):,} passages; give new ones alone, or --on-existing replace"
            )  # fmt: skip


def _find_missing(opened: OpenSegments, addresses: tuple[str, ...]) -> list[str]:
    """The addresses that no live passage has."""
    found = opened.find(pa.array(addresses, pa.large_string()))
    return [addresses[place] for place in np.flatnonzero(found == NO_ROW).tolist()]
