"""Reading a lexicon's sources in pieces, each read, cleaned and filtered on its own, anywhere and in any order.

Knows no Ray: `read_piece` is a plain function of a job and a number, and `csgen.job` may place its calls.
"""

import posixpath
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import polars as pl

from csgen.errors import InputError
from csgen.files import fingerprint, hash_file
from csgen.lexicon.entries import clean_pairs, read_entries
from csgen.lexicon.filters import RowFilters
from csgen.lexicon.merge import PART_COLUMNS
from csgen.lexicon.sources import LEXICON, LexiconSource
from csgen.readers.columns import Reading
from csgen.readers.formats import FORMATS
from csgen.readers.pieces import Piece


@dataclass(frozen=True)
class ReadJob:
    """Everything that a worker needs to read any of the pieces."""

    sources: tuple[LexiconSource, ...]
    pieces: tuple[tuple[int, Piece], ...]  # the number of the source, and a part of it; of a source in its order
    marks: dict[str, dict[str, Any]]  # fingerprints of all files
    identical: str  # as csgen.lexicon.entries.clean_pairs takes it
    filters: RowFilters

    @property
    def num_bytes(self) -> int:
        return sum(mark["bytes"] for mark in self.marks.values())

    def parted(self) -> list[int]:
        """The pieces of sources that have several: those worth a worker. What is whole is small or cannot be split."""
        counts = Counter(number for number, _ in self.pieces)
        return [index for index, (number, _) in enumerate(self.pieces) if counts[number] > 1]


@dataclass(frozen=True)
class CleanPiece:
    """What is left of one piece, and what became of the rest; pieces of a source add up in its order."""

    index: int
    pairs: pl.DataFrame  # key, source, target, weight; target_language, origin, licence where they differ by row
    counts: dict[str, int]  # of the reader, "lines" and "blank" among them, and "pairs"
    malformed: pl.DataFrame  # line and reason of each malformed line
    dropped: dict[str, int] = field(default_factory=dict)
    licence: str | None = None
    about: dict[str, str] = field(default_factory=dict)


# What reads pieces: gives them in any order, as they are done.
ReadPieces = Callable[[ReadJob, list[int]], Iterator[CleanPiece]]


def open_sources(sources: Sequence[LexiconSource], identical: str, filters: RowFilters) -> ReadJob:
    """Look at the files and part them; an InputError where one is missing."""
    marks = {path: _mark(path) for source in sources for path in source.list_files()}
    pieces = [(k, piece) for k, source in enumerate(sources) for piece in _split(source)]
    return ReadJob(tuple(sources), tuple(pieces), marks, identical, filters)


def _mark(path: str) -> dict[str, Any]:
    try:
        return fingerprint(path)
    except FileNotFoundError as error:
        raise InputError.at(path, None, "no such file") from error


def _split(source: LexiconSource) -> list[Piece]:
    return [Piece(source.path)] if source.kind == LEXICON else FORMATS[source.kind].split(source.path)


def read_here(job: ReadJob, indices: list[int]) -> Iterator[CleanPiece]:
    """Read pieces one after the other in this process."""
    for index in indices:
        yield read_piece(job, index)


def read_piece(job: ReadJob, index: int) -> CleanPiece:
    """Read one piece, clean and filter it."""
    number, piece = job.pieces[index]
    source = job.sources[number]
    if source.kind == LEXICON:
        reading = _read_lexicon(source)
    else:
        reading = FORMATS[source.kind].read_piece(piece, source.source_language, source.target_languages)
    clean, dropped = clean_pairs(reading.pairs, job.identical)
    left, filtered = job.filters.apply(clean, source.target_languages)
    return CleanPiece(
        index,
        left.drop("line"),
        reading.counts | {"pairs": len(reading.pairs)},
        reading.malformed,
        dropped | filtered,
        reading.licence,
        reading.about,
    )


def _read_lexicon(source: LexiconSource) -> Reading:
    entries = read_entries(source.path)
    if source.source_language:
        wanted = (pl.col("source_language") == source.source_language) & pl.col("target_language").is_in(
            source.target_languages
        )
        entries = entries.filter(wanted)
    pairs = entries.drop("rank").with_row_index("line", offset=1)
    none = pl.DataFrame(schema={"line": pl.Int64, "reason": pl.String})
    return Reading(pairs, none, {"lines": len(pairs), "blank": 0})


def join_pieces(pieces: Sequence[CleanPiece]) -> CleanPiece:
    """All pieces of one source, in its order, as one."""
    counts, dropped = Counter[str](), Counter[str]()
    malformed: list[pl.DataFrame] = []
    for piece in pieces:
        malformed.append(piece.malformed.with_columns(pl.col("line") + counts["lines"]))
        counts.update(piece.counts)
        dropped.update(piece.dropped)
    return CleanPiece(
        pieces[0].index,
        pl.concat([piece.pairs for piece in pieces]),
        dict(counts),
        pl.concat(malformed),
        dict(dropped),
        next((piece.licence for piece in pieces if piece.licence), None),
        {name: text for piece in reversed(pieces) for name, text in piece.about.items()},
    )


def name_columns(source: LexiconSource, whole: CleanPiece, licence: str) -> pl.DataFrame:
    """The pairs with all columns of a part to merge; `licence` is for pairs that bring none."""
    constant = {
        "source_language": source.source_language,
        "target_language": source.target_languages[0] if source.target_languages else "",
        "origin": source.origin,
        "licence": licence.replace(";", ","),
    }
    missing = {name: pl.lit(value) for name, value in constant.items() if name not in whole.pairs.columns}
    return whole.pairs.with_columns(**missing).select(PART_COLUMNS)


def refuse_malformed(source: LexiconSource, whole: CleanPiece, max_malformed: float) -> None:
    """An InputError where more of the lines are malformed than `max_malformed`: most likely the wrong file."""
    lines, malformed = whole.counts["lines"] - whole.counts["blank"], len(whole.malformed)
    if malformed > max_malformed * lines:
        line, reason = whole.malformed.row(0)
        message = (
            f"{reason}; {malformed} of {lines} lines are malformed, above --max-malformed {max_malformed}: "
            f"is it a {source.kind} file?"
        )
        raise InputError.at(source.path, line, message)


def describe_inputs(job: ReadJob, source: LexiconSource) -> dict[str, dict[str, Any]]:
    """Bytes and hash by name of a source's files; an InputError where one has changed since the job was opened."""
    paths = source.list_files()
    found = {posixpath.basename(p): {"bytes": job.marks[p]["bytes"], "xxh3_128": hash_file(p)} for p in paths}
    if any(_mark(path) != job.marks[path] for path in paths):
        raise InputError.at(source.path, None, "changed while it was read; start again")
    return found
