"""Search of several segments at once, of one kind or of several, with filters; the result says what was done."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from csgen.errors import InputError
from indexing.vectors.choice import CODED, LISTED
from indexing.vectors.exact import ExactPart, search_exact
from indexing.vectors.gpu import GpuPart, search_on_gpu
from indexing.vectors.graph import GraphPart, search_graphs
from indexing.vectors.ivf import ListPart, ListSearch
from indexing.vectors.scoring import Bitmap, Bounds, Ranked, Ranker, bound_slacks, count_allowed, join, order, split_ids
from indexing.vectors.segment import VectorSegment
from indexing.vectors.stored import Matrix, Numbers
from indexing.vectors.threads import count_threads

NOT_COUNTED = -1
# Allowed rows in multiples of those that lists would be looked through for: up to so many, all are compared, which
# costs a few times as much at the most, and finds all.
_ROWS_WORTH_ALL = 4


@dataclass(frozen=True)
class Effort:
    """How far to look, in place of what was chosen for the index; None: as chosen. Terms as in VectorConfig."""

    probes: int | None = None
    ef_search: int | None = None
    refine_factor: float | None = None


AS_CHOSEN = Effort()


@dataclass(frozen=True)
class Hits:
    """The hits of each query, (queries, top k), the best first.

    scores float32, segments int32 (places in the list searched), rows int64; -inf, -1, -1 behind a query's last hit.
    exact_scores: scores are inner products with the stored vectors, not with codes. refined: codes found candidates,
    exact vectors ordered them. num_allowed: rows that could be hits; over_size: top_k is larger. examined (queries,):
    rows compared or passed over; NOT_COUNTED where a graph or a GPU does not tell. cut_off (queries,): the search
    ended before all allowed rows were compared exactly, so a better one may be missing.
    """

    scores: Matrix
    segments: NDArray[np.int32]
    rows: NDArray[np.int64]
    exact_scores: bool
    refined: bool
    num_allowed: int
    over_size: bool
    examined: Numbers
    cut_off: NDArray[np.bool_]


@dataclass(frozen=True)
class _Part:
    """A segment with rows that are allowed; bitmap None: all are."""

    number: int
    segment: VectorSegment
    bitmap: Bitmap | None
    num_allowed: int

    @property
    def ratio(self) -> float:
        return self.num_allowed / len(self.segment)


@dataclass(frozen=True)
class _Found:
    """What was found in some segments, and how; as in Hits. by_codes: scores are those of codes."""

    ranked: Ranked
    examined: Numbers
    cut_off: NDArray[np.bool_]
    by_codes: bool = False
    refined: bool = False


def search_segments(
    segments: Sequence[VectorSegment], queries: Any, top_k: int, allowed: Sequence[Bitmap | None] | None = None, *,
    effort: Effort = AS_CHOSEN, num_threads: int | None = None,
) -> Hits:  # fmt: skip
    """The rows of all segments with the largest inner products.

    queries: (queries, dimensions) floats. allowed: by segment a bitmap of rows, uint8 of ceil(rows / 8) bytes, the
    lowest bit first, or None for all. Exact scores are inner products in float64, rounded to float32; equal ones come
    in the order of segments and rows. The result is the same for any `num_threads` (None: as Numba is set) and any
    other queries beside; that of flat segments for any cut of the rows into segments, too.
    """
    queries = _check_queries(segments, queries, top_k)
    parts = _make_parts(segments, allowed)
    ranker = Ranker([segment.stored for segment in segments], top_k)
    found = _Search(queries, ranker, effort, count_threads(num_threads)).run(parts)
    numbers, rows = split_ids(found.ranked.ids)
    num_allowed = sum(part.num_allowed for part in parts)
    return Hits(
        scores=found.ranked.scores, segments=numbers, rows=rows, exact_scores=not found.by_codes,
        refined=found.refined, num_allowed=num_allowed, over_size=top_k > num_allowed,
        examined=found.examined, cut_off=found.cut_off,
    )  # fmt: skip


def _check_queries(segments: Sequence[VectorSegment], queries: Any, top_k: int) -> Matrix:
    if not segments:
        raise InputError("a search needs at least one segment")
    dims = {segment.dim for segment in segments}
    if len(dims) > 1:
        raise InputError(f"segments of different dimensions cannot be searched together: {sorted(dims)}")
    if top_k < 1:
        raise InputError(f"top_k must be 1 or more, got {top_k}")
    checked: Matrix = np.array(queries, np.float32, order="C")
    if checked.ndim != 2 or checked.shape[1] != segments[0].dim:
        raise InputError(f"queries must be of shape (queries, {segments[0].dim}), got {checked.shape}")
    bad = ~(np.abs(checked) <= 2.0**60).all(axis=1)
    if bad.any():
        raise InputError(f"query {int(bad.argmax())} (from 0) has numbers that are not finite, or beyond 2^60")
    return checked


def _make_parts(segments: Sequence[VectorSegment], allowed: Sequence[Bitmap | None] | None) -> list[_Part]:
    """The segments with any row allowed."""
    bitmaps: Sequence[Bitmap | None] = [None] * len(segments) if allowed is None else allowed
    if len(bitmaps) != len(segments):
        raise InputError(f"allowed must have a bitmap or None for each of {len(segments)} segments, got {len(bitmaps)}")
    parts = []
    for number, (segment, bitmap) in enumerate(zip(segments, bitmaps, strict=True)):
        num_rows, num_bytes = len(segment), -(-len(segment) // 8)
        if bitmap is not None and (bitmap.dtype != np.uint8 or bitmap.shape != (num_bytes,)):
            raise InputError(
                f"the bitmap of segment {number} must be uint8 of shape ({num_bytes},) for {num_rows:,} rows, "
                f"got {bitmap.dtype} of {bitmap.shape}"
            )
        num_allowed = num_rows if bitmap is None else count_allowed(bitmap, num_rows)
        if num_allowed:
            whole = num_allowed == num_rows
            parts.append(_Part(number, segment, None if whole else np.ascontiguousarray(bitmap), num_allowed))
    return parts


@dataclass(frozen=True)
class _Search:
    """One search for one query or more."""

    queries: Matrix
    ranker: Ranker
    effort: Effort
    num_threads: int

    def run(self, parts: Sequence[_Part]) -> _Found:
        """What is found in all parts: those of one kind and training are searched together."""
        groups: dict[str, list[_Part]] = {}
        for part in parts if len(self.queries) else ():
            name = part.segment.trained.fingerprint if part.segment.lists else part.segment.kind
            groups.setdefault(name, []).append(part)
        found = [one for group in groups.values() for one in self._search(group)]
        return found[0] if len(found) == 1 else self._merge(found)

    def _merge(self, found: Sequence[_Found]) -> _Found:
        merged = self._found(Ranked.empty(len(self.queries), self.ranker.top_k), 0)
        for one in found:
            ranked = join([merged.ranked, one.ranked], axis=1)
            unknown = (merged.examined == NOT_COUNTED) | (one.examined == NOT_COUNTED)
            merged = _Found(
                order(ranked.ids, ranked.scores, self.ranker.top_k),
                np.where(unknown, NOT_COUNTED, merged.examined + one.examined),
                merged.cut_off | one.cut_off, merged.by_codes or one.by_codes, merged.refined or one.refined,
            )  # fmt: skip
        return merged

    def _search(self, parts: Sequence[_Part]) -> list[_Found]:
        kind = parts[0].segment.kind
        if kind in LISTED:
            return [self._search_lists(parts)]
        return self._search_graphs(parts) if kind == "hnsw" else [self._search_flat(parts)]

    def _compare_all(self, parts: Sequence[_Part], queries: Matrix) -> Ranked:
        exact = [ExactPart(part.number, part.segment.stored, part.bitmap) for part in parts]
        return search_exact(queries, exact, self.ranker.top_k, self.num_threads)

    def _compare(self, parts: Sequence[_Part]) -> _Found:
        """All allowed rows with all queries, exactly."""
        return self._found(self._compare_all(parts, self.queries), sum(part.num_allowed for part in parts))

    def _search_flat(self, parts: Sequence[_Part]) -> _Found:
        if any(part.segment.on_gpu is None for part in parts):
            return self._compare(parts)
        hits, left = search_on_gpu(self.queries, _on_gpu(parts), self.ranker, self.ranker.top_k, self._slacks(parts), 0)
        if len(left):
            hits.put(left, self._compare_all(parts, self.queries[left]))
        return self._found(hits, sum(len(part.segment) for part in parts))

    def _search_lists(self, parts: Sequence[_Part]) -> _Found:
        """Segments of one training."""
        trained = parts[0].segment.trained
        choice, lists = trained.choice, trained.lists
        assert lists is not None
        probes = min(self.effort.probes or choice.probes, choice.num_lists)
        num_rows, num_allowed = sum(len(part.segment) for part in parts), sum(part.num_allowed for part in parts)
        if num_allowed < num_rows and num_allowed <= _ROWS_WORTH_ALL * num_rows * probes / choice.num_lists:
            return self._compare(parts)
        factor = choice.refine_factor if self.effort.refine_factor is None else self.effort.refine_factor
        coded, exactly = choice.kind in CODED, choice.kind not in CODED or factor > 0
        wanted = max(self.ranker.top_k, math.ceil(factor * self.ranker.top_k)) if coded else self.ranker.top_k
        list_parts = [
            ListPart(part.number, part.segment.stored, part.segment.lists, part.bitmap)
            for part in parts
            if part.segment.lists
        ]
        search = ListSearch(lists, list_parts, self.ranker, wanted, exactly, min(self.ranker.top_k, num_allowed))
        on_gpu = exactly and all(part.segment.on_gpu is not None for part in parts)
        if not on_gpu:
            hits, examined = search.search(self.queries, probes, self.num_threads)
        else:
            slacks = np.zeros(len(self.queries)) if coded else self._slacks(parts)
            hits, left = search_on_gpu(self.queries, _on_gpu(parts), self.ranker, wanted, slacks, probes)
            examined = np.full(len(self.queries), num_rows if probes == choice.num_lists else NOT_COUNTED)
            short = np.union1d(left, np.flatnonzero(hits.count() < search.least))
            if len(short):
                again, examined[short] = search.search(self.queries[short], probes, self.num_threads)
                hits.put(short, again)
        cut_off = (examined < num_rows) | coded
        return _Found(hits, examined, cut_off, by_codes=not exactly, refined=coded and exactly)

    def _search_graphs(self, parts: Sequence[_Part]) -> list[_Found]:
        """A walk meets some ef x 2 M rows, and with a filter 1 / ratio as many to find as many allowed ones. Where no
        more rows than that are allowed, all are compared; and where a walk found less than there is."""
        walked, narrow = [], []
        for part in parts:
            choice, graph = part.segment.trained.choice, part.segment.graph
            ef_search = max(self.effort.ef_search or choice.ef_search, self.ranker.top_k)
            if part.num_allowed < len(part.segment) and part.num_allowed * part.ratio <= ef_search * 2 * choice.links:
                narrow.append(part)
            elif graph is not None:
                walked.append((part, GraphPart(part.number, graph, part.bitmap, math.ceil(ef_search / part.ratio))))
        found = [self._compare(narrow)] if narrow else []
        if walked:
            whole, graphs = zip(*walked, strict=True)
            hits = search_graphs(self.queries, graphs, self.ranker, self._slacks(whole), self.num_threads)
            short = hits.count() < min(self.ranker.top_k, sum(part.num_allowed for part in whole))
            if short.any():
                hits.put(np.flatnonzero(short), self._compare_all(whole, self.queries[short]))
            examined = np.where(short, sum(part.num_allowed for part in whole), NOT_COUNTED)
            found.append(_Found(hits, examined, ~short))
        return found

    def _slacks(self, parts: Sequence[_Part]) -> Bounds:
        """By how much two float32 scores can be off together, (queries,)."""
        return bound_slacks(self.queries, max(part.segment.stored.longest for part in parts))

    def _found(self, hits: Ranked, num_examined: int) -> _Found:
        """Hits of an exact search."""
        num_queries = len(self.queries)
        return _Found(hits, np.full(num_queries, num_examined), np.zeros(num_queries, np.bool_))


def _on_gpu(parts: Sequence[_Part]) -> list[GpuPart]:
    return [GpuPart(part.number, part.segment.on_gpu, part.bitmap, part.ratio) for part in parts]
