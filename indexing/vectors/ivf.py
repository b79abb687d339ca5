"""Search in the inverted lists of several segments: centroids are searched once, heaps are shared.

A query's heap goes on from one segment to the next, as if all lists were those of one index. Lists of vectors are
compared exactly, of codes FAISS finds candidates on the thread that calls it. Threads take parts of the queries, or
where those are few, parts of the lists, and a heap each. So threads, parts and the other queries change nothing.
"""

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from csgen.errors import InputError
from indexing.vectors.kernels import ROW_BITS, mark_segment, scan_lists
from indexing.vectors.library import load_faiss
from indexing.vectors.lists import Lists
from indexing.vectors.scoring import MARGIN, Bitmap, Bounds, Ranked, Ranker, bound_slacks, join, order
from indexing.vectors.stored import Matrix, Numbers, StoredVectors, freeze
from indexing.vectors.threads import cut_evenly, run_tasks
from indexing.vectors.training import TrainedLists

_MORE_PROBES = 4  # times as many lists for a query that found too few rows
_ALL_ROWS: Bitmap = freeze(np.empty(0, np.uint8))


@dataclass(frozen=True)
class ListPart:
    """What to search of a segment: `number` is its place among the ranker's; vectors: the exact ones; allowed None: all
    rows."""

    number: int
    vectors: StoredVectors
    lists: Lists
    allowed: Bitmap | None


@dataclass(frozen=True)
class Probes:
    """The lists that queries look into, (queries, lists), their centroids' scores, and the queries as FAISS takes
    them."""

    queries: Matrix
    lists: Numbers
    scores: Matrix

    def of(self, queries: Numbers) -> "Probes":
        return Probes(self.queries[queries], self.lists[queries], self.scores[queries])

    def some(self, lists: slice) -> "Probes":
        """A part of the lists of all queries."""
        return Probes(
            self.queries, np.ascontiguousarray(self.lists[:, lists]), np.ascontiguousarray(self.scores[:, lists])
        )


Pieces = Sequence[tuple[ListPart, Probes]]
Collect = Callable[[Pieces, Ranked], None]  # puts what it finds in place of what is worse


@dataclass(frozen=True)
class ListSearch:
    """parts share the training. wanted: candidates by the scores of codes that are ranked; exactly: by exact scores;
    neither matters where lists hold vectors. least: hits for which a query looks into more lists."""

    trained: TrainedLists
    parts: Sequence[ListPart]
    ranker: Ranker
    wanted: int
    exactly: bool
    least: int

    def search(self, queries: Matrix, probes: int, num_threads: int) -> tuple[Ranked, Numbers]:
        """The hits of each query, and how many rows stand in the lists that it looked into."""
        if num_threads == 1 or len(queries) < num_threads:
            return self._search(queries, probes, num_threads)
        slices = cut_evenly(len(queries), num_threads)
        found = run_tasks([partial(self._search, queries[part], probes, 1) for part in slices], num_threads)
        hits, examined = zip(*found, strict=True)
        return join(hits, axis=0), np.concatenate(examined)

    def _search(self, queries: Matrix, probes: int, num_threads: int) -> tuple[Ranked, Numbers]:
        """Look into lists, and into more where a query found less than there is."""
        hits, examined = self._look_into(queries, probes, num_threads)
        while probes < len(self.trained.centroids):
            short = np.flatnonzero(hits.count() < self.least)
            if not len(short):
                break
            probes = min(_MORE_PROBES * probes, len(self.trained.centroids))
            again, examined[short] = self._look_into(queries[short], probes, num_threads)
            hits.put(short, again)
        return hits, examined

    def _look_into(self, queries: Matrix, num_lists: int, num_threads: int) -> tuple[Ranked, Numbers]:
        nearest = self.trained.centroids.find(queries, num_lists)
        examined = np.sum([part.lists.sizes for part in self.parts], axis=0)[nearest.ids].sum(axis=1)
        probes = Probes(self.trained.rotate(queries), nearest.ids, nearest.scores)
        if self.parts[0].lists.content is not None:
            slacks = bound_slacks(queries, max(part.vectors.longest for part in self.parts))
            best = self._share(partial(_compare, slacks), probes, min(self.ranker.top_k, self._num_rows), num_threads)
            return order(best.ids, best.scores, self.ranker.top_k), examined

        def find(pending: Numbers, width: int) -> tuple[Matrix, Numbers, Matrix]:
            width = min(width, self._num_rows + 1)
            some = probes if len(pending) == len(queries) else probes.of(pending)
            heaps = self._share(_collect, some, width, num_threads)
            return heaps.scores, heaps.ids, heaps.scores[:, ::width].max(axis=1)  # a heap has its worst in front

        hits, _ = self.ranker.settle(
            queries, find, self.wanted, np.zeros(len(queries)), exactly=self.exactly, width=self.wanted + MARGIN,
            widest=sys.maxsize,
        )  # fmt: skip
        return hits, examined

    @property
    def _num_rows(self) -> int:
        return sum(part.lists.index.ntotal for part in self.parts)

    def _share(self, collect: Collect, probes: Probes, width: int, num_threads: int) -> Ranked:
        """The best `width` of each thread's share of segments and lists, side by side."""
        runs = cut_evenly(probes.lists.shape[1], -(-num_threads // len(self.parts)))
        pieces = [(part, probes if len(runs) == 1 else probes.some(run)) for run in runs for part in self.parts]
        shares = [share for share in (pieces[i::num_threads] for i in range(num_threads)) if share]
        heaps = [Ranked.empty(len(probes.lists), width) for _ in shares]
        run_tasks([partial(collect, *pair) for pair in zip(shares, heaps, strict=True)], num_threads)
        return join(heaps, axis=1)


def _compare(slacks: Bounds, pieces: Pieces, best: Ranked) -> None:
    """Put rows in place of worse ones in heaps, (queries, width), by exact scores; slacks as in `kernels.scan`."""
    for part, probes in pieces:
        allowed = _ALL_ROWS if part.allowed is None else freeze(part.allowed)
        inputs = (probes.queries, slacks, probes.lists, part.lists.content, part.number, allowed)
        if not scan_lists(*inputs, best.scores, best.ids):
            raise InputError.at(part.vectors.path, None, "altered: its lists name rows that the segment has not")


def _collect(pieces: Pieces, heaps: Ranked) -> None:
    """The same by the scores of codes, which FAISS finds."""
    faiss = load_faiss()
    pointers, statistics = (*map(faiss.swig_ptr, (heaps.scores, heaps.ids)),), faiss.IndexIVFStats()  # one for each
    parameters = pieces[0][0].lists.parameters()  # for all: making them takes as long as scanning a list
    for part, probes in pieces:
        selector = None if part.allowed is None else faiss.IDSelectorBitmap(part.allowed)
        parameters.sel, parameters.nprobe = selector, probes.lists.shape[1]
        queries, lists, coarse = map(faiss.swig_ptr, (probes.queries, probes.lists, probes.scores))
        part.lists.index.search_preassigned_c(
            len(heaps.ids), queries, heaps.ids.shape[1], lists, coarse, *pointers, False, parameters, statistics
        )
        mark_segment(heaps.ids, part.number)
    heaps.ids[heaps.ids >= 0] -= 1 << ROW_BITS
