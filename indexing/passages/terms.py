"""The lexical part of a segment: for each language a file of inverted lists, memory-mapped. Knows no formula.

Passages of a language are numbered by their addresses, so that equal scores fall into that order. Terms stand in the
order of their hashes, where they are found without a table of all of them in memory.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from csgen.errors import InputError
from indexing.analysis import Analyser
from indexing.passages.mapped import damaged, map_arrays, write_arrays
from indexing.passages.rows import PASSAGE_ID, TEXT, TITLE
from indexing.passages.strings import Numbers, Words, as_strings, find_strings, hash_strings
from indexing.passages.table import PassageTable, join_titles_of
from indexing.postings import Counted, Counts, count_terms, invert
from indexing.ranking import Bitmap

_NOTES = {"kind": "lexical", "format": 1}
_CHUNK_PASSAGES = 1 << 16  # that are analysed at a time: bounds the memory of their words to some 300 MB


@dataclass(frozen=True)
class LanguageTerms:
    """The inverted lists of a segment's passages of one language."""

    path: Path
    counts: Counts
    rows: NDArray[np.uint32]  # of each passage its row in the segment's table
    _hashes: Words
    _terms: pa.Array

    @classmethod
    def open(cls, path: Path, num_rows: int) -> "LanguageTerms":
        """A language's file; InputError where it is missing, damaged, or of another table than one of so many rows."""
        arrays = map_arrays(path, _NOTES | {"num_rows": num_rows})
        offsets = arrays.numbers("offsets", np.int64)
        lengths = arrays.numbers("passage_lengths", np.uint32)
        counts = Counts(
            offsets=offsets,
            passages=arrays.numbers("passages", np.uint32),
            pairs=arrays.numbers("pairs", np.uint16, np.uint32),
            frequencies=arrays.numbers("frequencies", np.uint32),
            lengths=arrays.numbers("lengths", np.uint32),
            passage_lengths=lengths,
            total_length=arrays.read_note("total_length"),
        )
        arrays.require_lengths(len(counts.passages), "pairs")
        arrays.require_lengths(len(counts.frequencies), "lengths")
        arrays.require_lengths(len(lengths), "rows")
        arrays.require_lengths(len(offsets) - 1, "hashes", "terms")
        rows, hashes = arrays.numbers("rows", np.uint32), arrays.numbers("hashes", np.uint64)
        return cls(path, counts, rows, hashes, arrays.strings("terms"))

    def find(self, terms: pa.Array) -> tuple[Numbers, Numbers]:
        """Where the postings of terms (large_string) begin and end; empty where no passage has them."""
        try:
            places = find_strings(self._hashes, self._terms, terms)
        except ValueError as error:
            raise damaged(self.path, error) from error
        found, starts, stops = places >= 0, np.zeros(len(places), np.int64), np.zeros(len(places), np.int64)
        starts[found], stops[found] = self.counts.offsets[places[found]], self.counts.offsets[places[found] + 1]
        if (starts < 0).any() or (stops < starts).any() or (stops > len(self.counts.passages)).any():
            raise damaged(self.path, "postings outside their array")
        return starts, stops

    def spread(self, bitmap: Bitmap) -> NDArray[np.bool_]:
        """Of each passage whether its row's bit is set."""
        try:
            return np.unpackbits(bitmap, bitorder="little")[self.rows].view(np.bool_)
        except IndexError as error:
            raise damaged(self.path, "a row beyond the table's last") from error

    def locate(self, passages: Numbers) -> Numbers:
        """The segment's rows of passages, NO_HIT staying what it is."""
        rows = np.where(passages < 0, passages, self.rows[np.maximum(passages, 0)])
        return rows.astype(np.int64)


class LexicalPart:
    """A segment's lexical files, beside its table. A language's file is opened when it is first asked for."""

    def __init__(self, folder: Path, table: PassageTable) -> None:
        self.table = table
        self._folder = folder
        self._opened: dict[str, LanguageTerms] = {}

    @classmethod
    def open(cls, folder: Path | str, table: PassageTable) -> "LexicalPart":
        """The lexical part in the folder of a table's segment; InputError where a language's file is missing."""
        folder = Path(folder)
        for language in table.languages:
            if not (folder / file_name(language)).is_file():
                raise InputError.at(
                    str(folder / file_name(language)), None, "no such file: the segment is not whole; restore it"
                )
        return cls(folder, table)

    def open_language(self, language: str) -> LanguageTerms | None:
        """The inverted lists of a language; None where the segment has no passages of it."""
        if language not in self.table.languages:
            return None
        if language not in self._opened:
            opened = LanguageTerms.open(self._folder / file_name(language), len(self.table))
            if opened.counts.num_passages != self.table.languages[language]:
                raise damaged(opened.path, f"{opened.counts.num_passages} passages")
            self._opened[language] = opened
        return self._opened[language]


def file_name(language: str) -> str:
    """The name of a language's file."""
    return f"lexical-{language}.arrow"


def write_lexical(folder: Path | str, table: PassageTable) -> tuple[str, ...]:
    """Write the lexical part of a table's passages; returns the files' names. InputError for an unknown language.

    What is indexed of a passage is its text, behind its title if it has one.
    """
    for code, language in enumerate(table.languages):
        _write_language(Path(folder) / file_name(language), table, code, Analyser(language))
    return tuple(map(file_name, table.languages))


def _write_language(path: Path, table: PassageTable, code: int, analyser: Analyser) -> None:
    rows = np.flatnonzero(table.codes == code)
    rows = rows[pc.sort_indices(as_strings(table.take(rows, [PASSAGE_ID]).column(0))).to_numpy()]
    vocabularies, chunks = [], []
    for texts in _read_texts(table, rows):
        terms = analyser.find_terms(texts)
        vocabularies.append(as_strings(terms.vocabulary))
        chunks.append(count_terms(terms))
    terms, hashes, numbers = _merge_vocabularies(vocabularies)
    renumbered = [
        Counted(chunk.bounds, own[chunk.terms], chunk.frequencies, chunk.lengths)
        for chunk, own in zip(chunks, numbers, strict=True)
    ]
    counts = invert(renumbered, len(terms))
    arrays = {
        "hashes": hashes,
        "terms": terms,
        "offsets": counts.offsets,
        "passages": counts.passages,
        "pairs": counts.pairs,
        "frequencies": counts.frequencies,
        "lengths": counts.lengths,
        "passage_lengths": counts.passage_lengths,
        "rows": rows.astype(np.uint32),
    }
    write_arrays(path, _NOTES | {"num_rows": len(table), "total_length": counts.total_length}, arrays)


def _read_texts(table: PassageTable, rows: Numbers) -> Iterator[pl.Series]:
    for start in range(0, len(rows), _CHUNK_PASSAGES):
        yield join_titles_of(table.take(rows[start : start + _CHUNK_PASSAGES], [PASSAGE_ID, TITLE, TEXT]))


def _merge_vocabularies(vocabularies: list[pa.Array]) -> tuple[pa.Array, Words, list[NDArray[np.int32]]]:
    """All terms, each once, by hash and then as texts; their hashes; and by vocabulary the numbers of its terms."""
    joined = pa.concat_arrays([pa.array([], pa.large_string()), *vocabularies])
    frame = pl.DataFrame({"hash": hash_strings(joined), "term": pl.Series(joined, dtype=pl.String)})
    order = frame.select(pl.arg_sort_by("hash", "term")).to_series().to_numpy()
    ordered = frame[order]
    changes = [pl.col(name).ne_missing(pl.col(name).shift()) for name in ("hash", "term")]
    is_first = ordered.select(pl.any_horizontal(changes)).to_series()
    numbers = np.empty(len(ordered), np.int32)
    numbers[order] = is_first.cum_sum().to_numpy().astype(np.int32) - 1
    distinct = ordered.filter(is_first)
    bounds = np.cumsum([0, *map(len, vocabularies)])
    return (
        as_strings(distinct["term"]),
        distinct["hash"].to_numpy(),
        [numbers[start:stop] for start, stop in pairwise(bounds)],
    )
