"""Writing a segment's passage table: rows in the given order, addresses all different, the same bytes for the same.

Two files: `passages.arrow` has the columns, in batches of BATCH_ROWS, and `addresses.arrow`, written last, what finds
rows: hashes of addresses, codes of languages, keys of their order. Knows nothing of the segment's other files.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Literal

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from csgen.errors import InputError
from csgen.files import replace_file
from csgen.sources.rows import BadRow, refuse
from indexing.passages.mapped import annotate, map_batches, read_batch, write_arrays
from indexing.passages.rows import LANGUAGE, PASSAGE_ID, TEXT, find_faults, make_addresses, stored_schema
from indexing.passages.strings import Numbers, hash_strings, read_first_bytes

PASSAGES, ADDRESSES = "passages.arrow", "addresses.arrow"
PASSAGES_NOTES = {"kind": "passages", "format": 1}
ADDRESSES_NOTES = {"kind": "addresses", "format": 1}
BATCH_BITS = 16
BATCH_ROWS = 1 << BATCH_BITS
_NO_PASSAGES = pa.schema([(name, pa.string()) for name in (LANGUAGE, PASSAGE_ID, TEXT)])

OnError = Literal["fail", "skip"]
OnDuplicate = Literal["refuse", "last"]


@dataclass(frozen=True)
class Written:
    """What `write_passages` wrote and left out."""

    num_passages: int
    languages: dict[str, int]  # passages by language, sorted by its code
    kept: Numbers  # of each row, ascending, which of the given rows it is, counted from 0 through all batches
    rejects: tuple[BadRow, ...]
    num_replaced: int  # rows that gave way to a later one of the same address
    files: tuple[str, ...] = (PASSAGES, ADDRESSES)


def write_passages(
    folder: Path | str, batches: Iterable[pa.RecordBatch], *, source: str = "passages", on_error: OnError = "fail",
    on_duplicate: OnDuplicate = "refuse",
) -> Written:  # fmt: skip
    """Write passages with the columns language, passage_id, text, perhaps title, and metadata: any others.

    `source` names their origin in messages. A row without language, id or text is an InputError, or set aside ("skip");
    beside a title the text may be empty.
    A second row of an address is an InputError, or takes the place of the first, which is left out ("last").
    """
    folder = Path(folder)
    intake = _Intake(source, on_error)
    schema, stored = intake.start(batches)
    _write_table(folder / PASSAGES, schema, stored)
    addresses = pa.concat_arrays([pa.array([], pa.large_string()), *intake.addresses])
    languages = pa.concat_arrays([pa.array([], pa.large_string()), *intake.languages])
    given = np.concatenate([np.zeros(0, np.int64), *intake.numbers])
    hashes = hash_strings(addresses)
    replaced = _find_replaced(addresses, hashes)
    num_replaced = int(replaced.sum())
    if num_replaced and on_duplicate == "refuse":
        address = addresses[int(np.argmax(replaced))].as_py()
        raise InputError.at(
            source, int(given[np.argmax(replaced)]) + 1, f"the address {address} comes again further down, as "
            f"{num_replaced:,} in all do; give each passage its own id, or use --on-duplicate last",
        )  # fmt: skip
    if num_replaced:
        live = ~replaced
        _write_table(folder / PASSAGES, schema, _read_live(folder / PASSAGES, live))
        addresses, languages = addresses.filter(pa.array(live)), languages.filter(pa.array(live))
        given, hashes = given[live], hashes[live]
    counts = _write_addresses(folder, addresses, languages, hashes)
    return Written(len(given), counts, given, tuple(intake.rejects), num_replaced)


@dataclass
class _Intake:
    """Passes good rows on and remembers their addresses."""

    source: str
    on_error: OnError
    addresses: list[pa.Array] = field(default_factory=list)
    languages: list[pa.Array] = field(default_factory=list)
    numbers: list[Numbers] = field(default_factory=list)
    rejects: list[BadRow] = field(default_factory=list)

    def start(self, batches: Iterable[pa.RecordBatch]) -> tuple[pa.Schema, Iterator[pa.RecordBatch]]:
        """The schema of what is stored, and the good rows in it."""
        remaining = iter(batches)
        first = next(remaining, None)
        given = _NO_PASSAGES if first is None else first.schema
        schema = stored_schema(given, self.source)
        return schema, self._sift(given, schema, () if first is None else chain([first], remaining))

    def _sift(self, given: pa.Schema, schema: pa.Schema, batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        seen = 0
        for batch in batches:
            if not batch.schema.equals(given):
                raise InputError.at(
                    self.source, seen + 1, f"from here on the columns are {_describe(batch.schema)}, before they were "
                    f"{_describe(given)}; all passages of a segment need the same",
                )  # fmt: skip
            yield self._take_in(batch, seen, schema)
            seen += batch.num_rows

    def _take_in(self, batch: pa.RecordBatch, seen: int, schema: pa.Schema) -> pa.RecordBatch:
        good, bad = find_faults(batch, seen + 1, self.source)
        for fault in bad:
            if self.on_error == "fail":
                refuse(fault)
            self.rejects.append(fault)
        kept = batch.filter(pa.array(good)) if bad else batch
        self.addresses.append(make_addresses(kept.column(LANGUAGE), kept.column(PASSAGE_ID)))
        self.languages.append(kept.column(LANGUAGE).cast(pa.large_string()))
        self.numbers.append(seen + np.flatnonzero(good))
        return kept.select(schema.names).cast(schema)


def _describe(schema: pa.Schema) -> str:
    return ", ".join(f"{column.name} ({column.type})" for column in schema)


def _write_table(path: Path, schema: pa.Schema, rows: Iterator[pa.RecordBatch]) -> None:
    with replace_file(str(path)) as stream, pa.ipc.new_file(stream, annotate(schema, PASSAGES_NOTES)) as writer:
        for batch in _rechunk(rows):
            writer.write_batch(batch)


def _rechunk(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """The same rows in batches of BATCH_ROWS, but for the last."""
    held: list[pa.RecordBatch] = []
    num_held = 0
    for batch in batches:
        start = 0
        while start < batch.num_rows:
            part = batch.slice(start, BATCH_ROWS - num_held)
            held.append(part)
            num_held, start = num_held + part.num_rows, start + part.num_rows
            if num_held == BATCH_ROWS:
                yield _join(held)
                held, num_held = [], 0
    if held:
        yield _join(held)


def _join(batches: list[pa.RecordBatch]) -> pa.RecordBatch:
    """One batch of several, whose bytes tell nothing of how the rows were cut or what stood under nulls."""
    joined = pa.concat_batches(batches)
    rows = pa.array(np.arange(joined.num_rows))
    plain = [
        column.take(rows) if column.null_count or pa.types.is_boolean(column.type) else column
        for column in joined.columns
    ]
    return pa.record_batch(plain, schema=joined.schema)


def _read_live(path: Path, live: NDArray[np.bool_]) -> Iterator[pa.RecordBatch]:
    """The rows of a passage file that are to stay."""
    reader, _ = map_batches(path, PASSAGES_NOTES)
    for number in range(reader.num_record_batches):
        part = live[number << BATCH_BITS : (number + 1) << BATCH_BITS]
        yield read_batch(path, reader, number, len(part)).filter(pa.array(part))


def _find_replaced(addresses: pa.Array, hashes: NDArray[np.uint64]) -> NDArray[np.bool_]:
    """Which rows have an address that comes again in a later row."""
    ordered = np.argsort(hashes, kind="stable")
    alike = hashes[ordered][1:] == hashes[ordered][:-1]
    rows = np.unique(np.concatenate([ordered[1:][alike], ordered[:-1][alike]]))
    encoded = addresses.take(pa.array(rows)).dictionary_encode()
    numbers = encoded.indices.to_numpy()
    last = np.full(len(encoded.dictionary), -1)
    np.maximum.at(last, numbers, rows)
    replaced = np.zeros(len(addresses), np.bool_)
    replaced[rows] = rows != last[numbers]
    return replaced


def _write_addresses(
    folder: Path, addresses: pa.Array, languages: pa.Array, hashes: NDArray[np.uint64]
) -> dict[str, int]:
    """Write what finds rows; returns the number of passages by language."""
    encoded = languages.dictionary_encode()
    names = sorted(encoded.dictionary.to_pylist())
    code_type = np.uint8 if len(names) <= 1 << 8 else np.uint16
    recoded = np.array([names.index(name) for name in encoded.dictionary.to_pylist()], code_type)
    codes = recoded[encoded.indices.to_numpy()]
    counts = dict(zip(names, np.bincount(codes, minlength=len(names)).tolist(), strict=True))
    rows = np.argsort(hashes, kind="stable").astype(np.uint32)
    notes = ADDRESSES_NOTES | {"languages": counts, "passages_bytes": (folder / PASSAGES).stat().st_size}
    arrays = {"hashes": hashes[rows], "rows": rows, "codes": codes, "order_keys": read_first_bytes(addresses)}
    write_arrays(folder / ADDRESSES, notes, arrays)
    return counts
