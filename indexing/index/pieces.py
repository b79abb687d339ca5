"""The first stages of a build, in a folder of its own: passages cut into pieces, and a vector for each passage.

    files/NNNNN.json           what a file of the input held; written once all its pieces are there
    pieces/NNNNN-NNNNNN.arrow  passages of a piece, a batch a shard     .npz   their places, hashes, shards' bounds
    pieces/NNNNN-NNNNNN.npy    their vectors, in the same order         .json  a note that they are there

A piece is a fixed run of a file's good passages, so that neither workers nor a crash change what comes out. Each file
is there whole or not at all, flushed to disk before the note that vouches for it; what a note vouches for is not made
again. Knows nothing of FAISS, segments and versions.
"""

import contextlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import accumulate, pairwise
from pathlib import Path
from typing import IO, Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from csgen.errors import InputError
from csgen.files import replace_file
from csgen.sources.rows import BadRow, refuse
from indexing.index.inputs import PassageInput
from indexing.index.reading import Passages, read_passages
from indexing.index.running import Place, Progress
from indexing.index.settings import Sharding
from indexing.index.sharding import Words, hash_addresses, shard_passages
from indexing.index.sources import Vectors, VectorSource
from indexing.passages.mapped import UNREADABLE
from indexing.passages.rows import LANGUAGE, OWN, PASSAGE_ID, TITLE
from indexing.store.folder import sync

FILES, PIECES = "files", "pieces"

Numbers = NDArray[np.int64]


@dataclass(frozen=True)
class FileNotes:
    """What a file of the input held. pieces: passages of each; num_read: all its rows."""

    number: int
    pieces: tuple[int, ...]
    num_read: int
    rejects: tuple[BadRow, ...]

    @property
    def num_left_out(self) -> int:
        """Rows of other languages."""
        return self.num_read - len(self.rejects) - sum(self.pieces)


@dataclass(frozen=True)
class Piece:
    """path: the file that it was cut from; first: the place of the file's first passage in the whole input."""

    name: str
    num_passages: int
    path: str
    first: int


@dataclass(frozen=True)
class Reading:
    """What tasks that read files need."""

    folder: str
    input: PassageInput
    sharding: Sharding
    piece_passages: int
    max_errors: int  # -1: the first bad row fails


@dataclass(frozen=True)
class Encoding:
    """What tasks that make vectors need."""

    folder: str
    pieces: tuple[Piece, ...]
    source: VectorSource


@dataclass(frozen=True)
class Given:
    """What the input held, file by file."""

    files: tuple[FileNotes, ...]
    paths: tuple[str, ...]

    @property
    def pieces(self) -> tuple[Piece, ...]:
        """All pieces in order."""
        firsts = [0, *accumulate(file.num_read for file in self.files)]
        return tuple(
            Piece(_piece_name(file.number, number), num_passages, path, first)
            for file, path, first in zip(self.files, self.paths, firsts, strict=False)
            for number, num_passages in enumerate(file.pieces)
        )

    @property
    def num_passages(self) -> int:
        return sum(sum(file.pieces) for file in self.files)

    @property
    def num_read(self) -> int:
        return sum(file.num_read for file in self.files)

    @property
    def num_left_out(self) -> int:
        return sum(file.num_left_out for file in self.files)

    @property
    def rejects(self) -> list[BadRow]:
        return [bad for file in self.files for bad in file.rejects]


def read_files(job: Reading, place: Place, progress: Progress) -> Given:
    """Cut all files into pieces that are not yet, and return what they held.

    A bad row is an InputError, or set aside up to `max_errors` of them. No good row at all is an InputError.
    """
    found = {number: notes for number in range(len(job.input.files)) if (notes := _read_file_notes(job, number))}
    missing = [number for number in range(len(job.input.files)) if number not in found]
    with progress("passages read", None) as advance:
        for notes in place.run(read_file, job, missing):
            found[notes.number] = notes
            advance(notes.num_read)
            _refuse_rejects([bad for one in found.values() for bad in one.rejects], job.max_errors)
    paths = tuple(file.path for file in job.input.files)
    given = Given(tuple(found[number] for number in sorted(found)), paths)
    _refuse_rejects(given.rejects, job.max_errors)
    if not given.num_passages:
        raise InputError(f"{job.input.files[0].path}: no good passage in it" + " or the other files" * (len(found) > 1))
    return given


def read_file(job: Reading, number: int) -> FileNotes:
    """Cut a file into pieces; the note comes last."""
    rejects: list[BadRow] = []

    def on_bad_row(bad: BadRow) -> None:
        rejects.append(bad)
        _refuse_rejects(rejects, job.max_errors)

    cutter = _Cutter(job, number)
    num_read = 0
    for passages in read_passages(job.input.files[number], job.input.schema, job.input.languages, on_bad_row):
        cutter.take(passages)
        num_read += passages.num_read
    notes = FileNotes(number, tuple(cutter.finish()), num_read, tuple(rejects))
    if notes.pieces:
        sync(Path(job.folder, PIECES))
    write_note(Path(job.folder, FILES, f"{number:05d}.json"), asdict(notes))
    return notes


class _Cutter:
    """Gathers a file's passages and writes them piece by piece."""

    def __init__(self, job: Reading, file_number: int) -> None:
        self._job, self._file_number = job, file_number
        self._held: list[Passages] = []
        self._num_held = 0
        self._written: list[int] = []

    def take(self, passages: Passages) -> None:
        batch, numbers, size = passages.batch, passages.numbers, self._job.piece_passages
        while batch.num_rows:
            room = size - self._num_held
            self._held.append(Passages(batch.slice(0, room), numbers[:room], 0))
            self._num_held += min(room, batch.num_rows)
            batch, numbers = batch.slice(room), numbers[room:]
            if self._num_held == size:
                self._write()

    def finish(self) -> list[int]:
        """Passages of each piece that was written."""
        if self._num_held:
            self._write()
        return self._written

    def _write(self) -> None:
        batch = pa.concat_batches([part.batch for part in self._held])
        numbers = np.concatenate([part.numbers for part in self._held])
        shards = shard_passages(self._job.sharding, batch.column(LANGUAGE), batch.column(PASSAGE_ID))
        order = np.argsort(shards, kind="stable")
        bounds = np.searchsorted(shards[order], np.arange(self._job.sharding.num_shards + 1))
        batch = batch.take(pa.array(order))
        path = _piece_path(self._job.folder, _piece_name(self._file_number, len(self._written)), ".arrow")
        with _writing(path) as stream, pa.ipc.new_file(stream, batch.schema) as writer:
            for start, stop in pairwise(bounds.tolist()):
                writer.write_batch(batch.slice(start, stop - start))
        hashes = hash_addresses(batch.column(LANGUAGE), batch.column(PASSAGE_ID))
        with _writing(path.with_suffix(".npz")) as stream:
            np.savez(stream, numbers=numbers[order], hashes=hashes, bounds=bounds)
        self._written.append(batch.num_rows)
        self._held, self._num_held = [], 0


def encode_pieces(job: Encoding, place: Place, progress: Progress) -> int:
    """Make the vectors of all pieces that have none yet; returns how many texts lost their end."""
    with progress("passages", sum(piece.num_passages for piece in job.pieces)) as advance:
        truncated, missing = 0, []
        for number, piece in enumerate(job.pieces):
            note = read_note(_piece_path(job.folder, piece.name, ".json"))
            if note is None:
                missing.append(number)
            else:
                truncated += int(note["truncated"])
                advance(piece.num_passages)
        for number, found in place.encode(encode_piece, job, missing):
            truncated += found
            advance(job.pieces[number].num_passages)
    return truncated


def encode_piece(job: Encoding, number: int) -> tuple[int, int]:
    """Make the vectors of a piece, in the order of the file's passages: its number, and how many texts lost their end.

    They stand as the passages do, by shard.
    """
    piece = job.pieces[number]
    opened = OpenPiece.open(job.folder, piece.name)
    order = np.argsort(opened.numbers)
    vectors, truncated = job.source.read(opened.read_texts(order), piece.first + opened.numbers[order])
    by_shard = np.empty_like(vectors)
    by_shard[order] = vectors
    path = _piece_path(job.folder, piece.name, ".npy")
    with _writing(path) as stream:
        np.save(stream, by_shard)
    sync(path.parent)
    write_note(path.with_suffix(".json"), {"passages": piece.num_passages, "truncated": truncated})
    return number, truncated


@dataclass(frozen=True)
class OpenPiece:
    """A piece, mapped. By shard: numbers (passages,), their places in the file; hashes (passages,) of their addresses.

    bounds (shards + 1,): where each shard's passages begin and end.
    """

    path: Path
    reader: pa.ipc.RecordBatchFileReader
    numbers: Numbers
    hashes: Words
    bounds: Numbers

    @classmethod
    def open(cls, folder: str, name: str) -> "OpenPiece":
        path = _piece_path(folder, name, ".arrow")
        try:
            with pa.memory_map(str(path)) as source:
                reader = pa.ipc.open_file(pa.BufferReader(source.read_buffer()))
            with np.load(path.with_suffix(".npz")) as places:
                return cls(path, reader, places["numbers"], places["hashes"], places["bounds"])
        except (*UNREADABLE, KeyError) as error:
            raise InputError.at(str(path), None, f"damaged: {error}; remove {folder} and begin anew") from error

    def rows(self, shard: int) -> slice:
        """Where a shard's passages stand in the piece."""
        return slice(int(self.bounds[shard]), int(self.bounds[shard + 1]))

    def batch(self, shard: int) -> pa.RecordBatch:
        """The passages of a shard."""
        return self.reader.get_batch(shard)

    def vectors(self) -> Vectors:
        """The vectors of all passages, mapped."""
        vectors: Vectors = np.load(self.path.with_suffix(".npy"), mmap_mode="r")
        return vectors

    def read_texts(self, order: Numbers) -> pa.Table:
        """Passages in an order, with their ids, titles and texts."""
        table = self.reader.read_all()
        names = [name for name in OWN if name in table.schema.names]
        ordered = table.select(names).combine_chunks().take(pa.array(order))
        if TITLE not in names:
            ordered = ordered.append_column(TITLE, pa.nulls(len(order), pa.large_string()))
        return ordered


def _piece_name(file_number: int, number: int) -> str:
    return f"{file_number:05d}-{number:06d}"


def _piece_path(folder: str, name: str, ending: str) -> Path:
    return Path(folder, PIECES, name + ending)


@contextlib.contextmanager
def _writing(path: Path) -> Iterator[IO[bytes]]:
    """Write a file whole or not at all, and flush it to disk."""
    with replace_file(str(path)) as stream:
        yield stream
    sync(path)


def write_note(path: Path, content: Any) -> None:
    """Write JSON as a whole or not at all, and flush it to disk."""
    with _writing(path) as stream:
        stream.write(json.dumps(content, ensure_ascii=False).encode())


def read_note(path: Path) -> Any:
    """What a note says; None where there is none."""
    return json.loads(path.read_bytes()) if path.exists() else None


def _read_file_notes(job: Reading, number: int) -> FileNotes | None:
    note = read_note(Path(job.folder, FILES, f"{number:05d}.json"))
    if note is None:
        return None
    rejects = tuple(BadRow(**bad) for bad in note.pop("rejects"))
    return FileNotes(**note | {"pieces": tuple(note["pieces"]), "rejects": rejects})


def _refuse_rejects(rejects: Sequence[BadRow], most: int) -> None:
    if rejects and most < 0:
        refuse(rejects[0])
    if len(rejects) > most >= 0:
        shown = "; ".join(f"{bad.path}:{bad.row}: {bad.reason}" for bad in rejects[:3])
        raise InputError(f"more than {most:,} bad passages (--max-errors), the first: {shown}")
