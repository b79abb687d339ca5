"""What becomes of pieces: which passages give way to later ones of their address, where segments are cut, a sample.

All of it is a function of the passages in their order, whatever the pieces, their tasks and the workers.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from csgen.errors import InputError
from csgen.sources.draws import counter, mix
from indexing.index.pieces import OpenPiece, Piece
from indexing.index.sharding import Words
from indexing.passages.rows import LANGUAGE, PASSAGE_ID, make_addresses
from indexing.passages.strings import as_strings
from indexing.passages.writing import OnDuplicate

Numbers = NDArray[np.int64]

_SPARE_KEYS = 1 << 16  # of a sample, held beyond twice its size before the largest go


@dataclass(frozen=True)
class Planning:
    """What tasks that plan shards need."""

    folder: str
    pieces: tuple[Piece, ...]
    on_duplicate: OnDuplicate


@dataclass(frozen=True)
class ShardPlan:
    """The passages of a shard. counts: in each piece; dropped: places among all of them that give way, ascending."""

    shard: int
    counts: Numbers
    dropped: Numbers

    @property
    def num_kept(self) -> int:
        return int(self.counts.sum()) - len(self.dropped)

    def find_dropped(self, start: int, stop: int) -> Numbers:
        """The places from `start` to `stop` that give way."""
        low, high = np.searchsorted(self.dropped, [start, stop])
        return self.dropped[low:high]


@dataclass(frozen=True)
class Cut:
    """A segment to be: passages `start` to `stop` of those that a shard keeps."""

    shard: int
    start: int
    stop: int


def plan_shard(job: Planning, shard: int) -> ShardPlan:
    """Find the passages of a shard that come again later; an InputError names the first, unless the last is to win."""
    hashes = [_read_hashes(job, number, shard) for number in range(len(job.pieces))]
    counts = np.array([len(part) for part in hashes], np.int64)
    dropped = _find_dropped(job, shard, np.concatenate([np.zeros(0, np.uint64), *hashes]), counts)
    return ShardPlan(shard, counts, dropped)


def cut_shards(plans: Iterable[ShardPlan], segment_passages: int) -> list[Cut]:
    """The segments of all shards, each of so many passages at most, in order."""
    return [
        Cut(plan.shard, start, min(start + segment_passages, plan.num_kept))
        for plan in plans
        for start in range(0, plan.num_kept, segment_passages)
    ]


def take_rows(plan: ShardPlan, cut: Cut, folder: str, pieces: Sequence[Piece]) -> Iterator[tuple[OpenPiece, Numbers]]:
    """The pieces that a segment's passages lie in, in order, with their places among those of the shard there."""
    ends = np.cumsum(plan.counts)
    first, last = _find_place(plan.dropped, cut.start), _find_place(plan.dropped, cut.stop - 1)
    for number in range(int(np.searchsorted(ends, first, "right")), len(pieces)):
        begin = int(ends[number] - plan.counts[number])
        if begin > last:
            return
        start, stop = max(begin, first), min(int(ends[number]), last + 1)
        kept = np.ones(max(0, stop - start), np.bool_)
        kept[plan.find_dropped(start, stop) - start] = False
        if kept.any():
            yield OpenPiece.open(folder, pieces[number].name), start - begin + np.flatnonzero(kept)


def draw_from_pieces(
    plans: Sequence[ShardPlan], folder: str, pieces: Sequence[Piece], size: int, seed: int
) -> tuple[Numbers, Numbers]:
    """A sample of the passages that are kept, as `draw` gives it: pieces, and rows in them."""
    starts = [np.cumsum(plan.counts) - plan.counts for plan in plans]

    def read() -> Iterator[tuple[int, Words, Numbers]]:
        for number, piece in enumerate(pieces):
            opened = OpenPiece.open(folder, piece.name)
            kept = np.ones(len(opened.hashes), np.bool_)
            for plan, start in zip(plans, starts, strict=True):
                gone = plan.find_dropped(start[number], start[number] + plan.counts[number]) - start[number]
                kept[opened.rows(plan.shard).start + gone] = False
            rows = np.flatnonzero(kept)
            yield number, opened.hashes[rows], rows

    return draw(read(), size, seed)


def draw(blocks: Iterable[tuple[int, Words, Numbers]], size: int, seed: int) -> tuple[Numbers, Numbers]:
    """Draw `size` passages, or all if there are less, by the hashes of their addresses: the same for any cut.

    A block is its number, hashes, and rows within it. Returns the blocks' numbers and the rows, in the order drawn.
    """
    keys, origins, rows = np.zeros(0, np.uint64), np.zeros(0, np.int64), np.zeros(0, np.int64)
    for number, hashes, own in blocks:
        keys = np.concatenate([keys, mix(hashes + counter(seed))])
        origins = np.concatenate([origins, np.full(len(own), number, np.int64)])
        rows = np.concatenate([rows, own])
        if len(keys) > 2 * size + _SPARE_KEYS:
            keys, origins, rows = _keep_smallest(size, keys, origins, rows)
    _, origins, rows = _keep_smallest(size, keys, origins, rows)
    return origins, rows


def _keep_smallest(size: int, keys: Words, origins: Numbers, rows: Numbers) -> tuple[Words, Numbers, Numbers]:
    order = np.lexsort((rows, origins, keys))[:size]
    return keys[order], origins[order], rows[order]


def _read_hashes(job: Planning, number: int, shard: int) -> Words:
    opened = OpenPiece.open(job.folder, job.pieces[number].name)
    return opened.hashes[opened.rows(shard)]


def _find_dropped(job: Planning, shard: int, hashes: Words, counts: Numbers) -> Numbers:
    order = np.argsort(hashes, kind="stable")
    alike = hashes[order][1:] == hashes[order][:-1]
    places = np.unique(np.concatenate([order[1:][alike], order[:-1][alike]]))
    if not len(places):
        return places
    addresses = _read_addresses(job, shard, places, counts).dictionary_encode()
    numbers = addresses.indices.to_numpy()
    last = np.full(len(addresses.dictionary), -1)
    np.maximum.at(last, numbers, places)
    gives_way = places != last[numbers]
    if gives_way.any() and job.on_duplicate == "refuse":
        first = int(np.argmax(gives_way))
        address = addresses.dictionary[int(numbers[first])].as_py()
        path, row = _locate(job, shard, int(places[first]), counts)
        other, again = _locate(job, shard, int(last[numbers[first]]), counts)
        raise InputError.at(
            path, None, f"the address {address} comes twice, as passage {row:,} and as passage {again:,} of {other}; "
            f"{gives_way.sum():,} passages of shard {shard} are followed by another of their address: give each its "
            "own id, or use --on-duplicate last",
        )  # fmt: skip
    dropped: Numbers = places[gives_way]
    return dropped


def _read_addresses(job: Planning, shard: int, places: Numbers, counts: Numbers) -> pa.Array:
    ends = np.cumsum(counts)
    owners = np.searchsorted(ends, places, "right")
    found = [pa.array([], pa.large_string())]
    for number in np.unique(owners).tolist():
        own = places[owners == number] - (ends[number] - counts[number])
        batch = OpenPiece.open(job.folder, job.pieces[number].name).batch(shard).select([LANGUAGE, PASSAGE_ID])
        taken = batch.take(pa.array(own))
        found.append(as_strings(make_addresses(taken.column(LANGUAGE), taken.column(PASSAGE_ID))))
    return pa.concat_arrays(found)


def _locate(job: Planning, shard: int, place: int, counts: Numbers) -> tuple[str, int]:
    """The file of a shard's passage, and its number there, from 1, bad ones counted."""
    ends = np.cumsum(counts)
    number = int(np.searchsorted(ends, place, "right"))
    opened = OpenPiece.open(job.folder, job.pieces[number].name)
    row = opened.rows(shard).start + place - int(ends[number] - counts[number])
    return job.pieces[number].path, int(opened.numbers[row]) + 1


def _find_place(dropped: Numbers, kept: int) -> int:
    """The place, among all passages of a shard, of the one that `kept` others are kept before."""
    return kept + int(np.searchsorted(dropped - np.arange(len(dropped)), kept, "right"))
