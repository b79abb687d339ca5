"""What a search over several segments has in common: one language's files, their statistics, one list of hits.

The number of passages, their mean length and the terms' frequencies are those of all segments together. Passages that
a bitmap excludes are no hits, but count in these statistics, as deleted ones do in Lucene: until their segment is
written anew without them.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from indexing.lexical import find_mean_length
from indexing.passages.mapped import damaged
from indexing.passages.strings import Numbers
from indexing.passages.terms import LanguageTerms, LexicalPart
from indexing.passages.ties import SegmentHits, merge_hits
from indexing.ranking import Bitmap, Hits

_CHUNK_HITS = 1 << 22  # of all segments that are merged at a time: bounds their memory to some 100 MB

Allowed = Sequence[Bitmap | None] | None  # by segment, of the rows of its table; None: all


@dataclass(frozen=True)
class FoundTerms:
    """Terms in several segments."""

    places: list[tuple[Numbers, Numbers]]  # by segment: where each term's postings begin and end
    frequencies: NDArray[np.float64]  # passages with each term, of all segments


class LanguageSegments:
    """The segments, among those searched, that have passages of a language."""

    def __init__(self, parts: Sequence[LexicalPart], language: str) -> None:
        """Opens the language's files."""
        self._parts = parts
        opened = [(number, part.open_language(language)) for number, part in enumerate(parts)]
        self._numbers = [number for number, terms in opened if terms is not None]
        self.terms: list[LanguageTerms] = [terms for _, terms in opened if terms is not None]
        self._picked: list[tuple[Bitmap | None, NDArray[np.bool_] | None]] = [(None, None)] * len(self.terms)
        self.num_passages = sum(terms.counts.num_passages for terms in self.terms)
        self.mean_length = find_mean_length(sum(terms.counts.total_length for terms in self.terms), self.num_passages)

    def pick(self, top_k: int, allowed: Allowed) -> list[NDArray[np.bool_] | None]:
        """By segment, whether each passage of the language is allowed; a ValueError for what does not fit.

        What was picked last is kept, since the bitmaps of live rows come with search after search.
        """
        if top_k < 1:
            raise ValueError(f"top_k must be 1 or more, got {top_k}")
        if allowed is None:
            return [None] * len(self.terms)
        if len(allowed) != len(self._parts):
            raise ValueError(f"allowed must have a bitmap or None for each of {len(self._parts)} segments")
        for part, bitmap in zip(self._parts, allowed, strict=True):
            if bitmap is not None and bitmap.shape != (-(-len(part.table) // 8),):
                raise ValueError(f"{len(part.table)} rows need {-(-len(part.table) // 8)} bytes, got {bitmap.shape}")
        return [self._spread(place, allowed[number]) for place, number in enumerate(self._numbers)]

    def find(self, terms: pa.Array) -> FoundTerms:
        """Where terms (large_string) stand."""
        places = [segment.find(terms) for segment in self.terms]
        frequencies = np.zeros(len(terms), np.int64)
        for starts, stops in places:
            frequencies += stops - starts
        return FoundTerms(places, frequencies.astype(np.float64))

    def cut(self, num_queries: int, top_k: int) -> list[int]:
        """Where to cut queries so that the segments' hits for those between two cuts fit in memory."""
        step = max(1, _CHUNK_HITS // (max(len(self.terms), 1) * top_k))
        return [*range(0, num_queries, step), num_queries]

    def merge(self, hits: Sequence[Hits], num_queries: int, top_k: int) -> SegmentHits:
        """The best of what `rank` found in each of these segments, as places and rows of all that are searched."""
        if not hits:
            return SegmentHits.none(num_queries, 0)
        tables = [self._parts[number].table for number in self._numbers]
        located = []
        for terms, table, (passages, scores) in zip(self.terms, tables, hits, strict=True):
            rows = terms.locate(passages)
            if rows.size and rows.max() >= len(table):
                raise damaged(terms.path, "a row beyond the table's last")
            located.append((rows, scores))
        found = merge_hits(located, tables, min(top_k, self.num_passages))
        numbers = np.array([*self._numbers, -1], np.int32)  # the last is that of NO_HIT
        return SegmentHits(numbers[found.segments], found.rows, found.scores)

    def _spread(self, place: int, bitmap: Bitmap | None) -> NDArray[np.bool_] | None:
        if bitmap is None:
            return None
        last, spread = self._picked[place]
        if last is not bitmap:
            spread = self.terms[place].spread(bitmap)
            self._picked[place] = bitmap, spread
        return spread

    def join(self, hits: Sequence[SegmentHits], top_k: int) -> SegmentHits:
        """The hits of some queries and, below them, those of others."""
        parts = [SegmentHits.none(0, min(top_k, self.num_passages)), *hits]
        return SegmentHits(
            np.concatenate([part.segments for part in parts]),
            np.concatenate([part.rows for part in parts]),
            np.concatenate([part.scores for part in parts]),
        )
