"""`csgen lexicon build`: reads word lists and dictionaries into one folder of entries and compiled tables."""

import posixpath
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Self

import polars as pl
from pydantic import Field, model_validator

from csgen.config import StageConfig
from csgen.errors import CsgenError, InputError
from csgen.files import fingerprint, hash_file, refuse_finished
from csgen.languages import parse_language
from csgen.lexicon.entries import (
    DUPLICATE,
    ENTRIES_NAME,
    STAGE,
    clean_pairs,
    write_entries,
)
from csgen.lexicon.merge import PAIR, join_duplicates, merge_parts
from csgen.lexicon.table import compile_tables
from csgen.manifest import Manifest, describe_files
from csgen.readers.columns import Reading, count_reasons
from csgen.readers.dictd import freedict_files, locate_freedict, read_freedict
from csgen.readers.lines import read_muse, read_tsv

SAMPLE_FOLDER = Path(__file__).parents[1] / "sample" / "lexicon"

READERS = {"muse": read_muse, "freedict": read_freedict, "tsv": read_tsv, "sample": read_tsv}
LICENCES = {"muse": "CC BY-NC 4.0", "freedict": "see source", "tsv": "unknown", "sample": "Apache-2.0"}

NUM_EXAMPLES = 5
SPEC_FORM = "KIND:SRC-TGT:PATH, such as muse:en-de:en-de.txt (KIND: muse, freedict or tsv), or sample"


@dataclass(frozen=True)
class LexiconSource:
    """One file to read: KIND:SRC-TGT:PATH."""

    kind: str
    source_language: str
    target_language: str
    path: str

    @classmethod
    def parse(cls, spec: str) -> Self:
        kind, _, rest = spec.partition(":")
        languages, _, path = rest.partition(":")
        source, dash, target = languages.partition("-")  # the target may be written with a region: en-pt-BR
        if kind not in READERS or kind == "sample" or not dash or not path:
            raise InputError(f"expected {SPEC_FORM}; got {spec!r}")
        return cls(kind, parse_language(source), parse_language(target), path)

    @property
    def file_name(self) -> str:
        return posixpath.basename(self.path.rstrip("/"))

    @property
    def name(self) -> str:
        """The spec without the folder: the same wherever the file lies."""
        return f"{self.kind}:{self.source_language}-{self.target_language}:{self.file_name}"

    @property
    def origin(self) -> str:
        return f"{self.kind}:{self.file_name}"

    def located(self) -> "LexiconSource":
        """The same with the path of the file to read first."""
        if self.kind != "freedict":
            return self
        path = locate_freedict(self.path, self.source_language, self.target_language)
        return LexiconSource(self.kind, self.source_language, self.target_language, path)

    def files(self) -> list[str]:
        return freedict_files(self.path) if self.kind == "freedict" else [self.path]


class LexiconBuildConfig(StageConfig):
    """Options of `csgen lexicon build`."""

    sources: tuple[str, ...] = Field(min_length=1, description=f"What to read, one or more of {SPEC_FORM}.")
    output: str = Field(min_length=1, description="The folder to write; may be a URI.")
    licence: str | None = Field(None, description="The licence of the tsv sources, kept with each entry.")
    identical: Literal["drop", "keep"] = Field(
        "drop", description="What to do with pairs of the same word on both sides, letter case aside."
    )
    max_malformed: float = Field(
        0.1, ge=0, le=1, description="Share of a file's lines that may be malformed, from 0 to 1; above it is refused."
    )

    @model_validator(mode="after")
    def _check_sources(self) -> Self:
        sources = parse_sources(self.sources)
        names = [source.name for source in sources]
        if twice := {name for name in names if names.count(name) > 1}:
            raise InputError(f"two sources are both named {min(twice)}; leave one out or rename its file")
        if self.licence is not None and all(source.kind != "tsv" for source in sources):
            raise InputError("--licence is for tsv sources, and there is none; the other kinds bring their own")
        return self


def parse_sources(specs: tuple[str, ...]) -> list[LexiconSource]:
    """The sources in the order given; `sample` is every file of the lexicon that the package carries."""
    sources: list[LexiconSource] = []
    for spec in specs:
        sources += _sample_sources() if spec == "sample" else [LexiconSource.parse(spec)]
    return sources


def _sample_sources() -> list[LexiconSource]:
    files = sorted(SAMPLE_FOLDER.glob("??-??.tsv"))
    if not files:
        raise CsgenError(f"{SAMPLE_FOLDER}: the sample lexicon is missing; install csgen again")
    return [LexiconSource("sample", file.stem[:2], file.stem[3:], str(file)) for file in files]


def build_lexicon(config: LexiconBuildConfig) -> dict[str, Any]:
    """Write the lexicon; returns its counts: entries, words by language pair, and what came from each source.

    The same sources give the same bytes, wherever they lie and in whatever order they are given.
    """
    refuse_finished(config.output)
    sources = [source.located() for source in parse_sources(config.sources)]
    parts, inputs, origins = [], {}, {}
    for source in sources:
        reading, files = read_source(source)
        refuse_malformed(source, reading, config.max_malformed)
        part, dropped = make_entries(source, reading, config)
        parts.append((source.name, part))
        inputs[source.name] = {"files": files} | reading.about
        origins[source.name] = _count(source, reading, dropped, len(part))
    if not sum(len(part) for _, part in parts):
        reasons = "; ".join(f"{name}: {count['dropped']}" for name, count in origins.items())
        raise InputError(f"no entries are left, all pairs were dropped: {reasons}")
    merged = merge_parts(parts)
    counts = {
        "origins": origins,
        "joined": merged.joined,
        "conflicts": merged.conflicts,
        "conflict_examples": merged.examples,
    }
    options = config.model_dump(exclude={"output", "sources"}) | {"sources": sorted(inputs)}
    return write_lexicon(merged.entries, config.output, config=options, inputs=inputs, counts=counts)


def write_lexicon(
    entries: pl.DataFrame, output: str, *, config: dict[str, Any], inputs: dict[str, Any], counts: dict[str, Any]
) -> dict[str, Any]:
    """Write finished entries as a lexicon: entries, compiled tables and, last, the manifest; returns its counts.

    `entries` are those of csgen.lexicon.merge.merge_parts, which one source alone goes through too. `config`, `inputs`
    and `counts` are what the manifest says of how they were made; the number of entries, and of words and entries by
    pair of languages, are added to `counts`. A finished output is refused.
    """
    refuse_finished(output)
    counts = {"entries": len(entries), "languages": _count_languages(entries)} | counts
    write_entries(entries, output)
    names = [ENTRIES_NAME, *compile_tables(entries.with_columns(pl.col(PAIR).cast(pl.String)), output)]
    files = describe_files(output, names)
    Manifest(stage=STAGE, config=config, inputs=inputs, counts=counts, files=files).write(output)
    return counts


def read_source(source: LexiconSource) -> tuple[Reading, dict[str, dict[str, Any]]]:
    """The reading, and bytes and hash by name of the files that it came from."""
    before = {path: _mark(path) for path in source.files()}
    reading = READERS[source.kind](source.path)
    files = {posixpath.basename(p): {"bytes": m["bytes"], "xxh3_128": hash_file(p)} for p, m in before.items()}
    if {path: _mark(path) for path in before} != before:
        raise InputError.at(source.path, None, "changed while it was read; start again")
    return reading, files


def _mark(path: str) -> dict[str, Any]:
    try:
        return fingerprint(path)
    except FileNotFoundError as error:
        raise InputError.at(path, None, "no such file") from error


def refuse_malformed(source: LexiconSource, reading: Reading, max_malformed: float) -> None:
    """An InputError where more of the lines are malformed than `max_malformed`: most likely the wrong file."""
    lines, malformed = reading.counts["lines"] - reading.counts["blank"], len(reading.malformed)
    if malformed > max_malformed * lines:
        first = reading.malformed.row(0, named=True)
        message = (
            f"{first['reason']}; {malformed} of {lines} lines are malformed, above --max-malformed {max_malformed}: "
            f"is it a {source.kind} file?"
        )
        raise InputError.at(source.path, first["line"], message)


def make_entries(
    source: LexiconSource, reading: Reading, config: LexiconBuildConfig
) -> tuple[pl.DataFrame, dict[str, int]]:
    """The entries of one source, with `key`, and how many pairs were dropped by reason."""
    clean, dropped = clean_pairs(reading.pairs, config.identical)
    joined = join_duplicates(clean)
    known = config.licence if source.kind == "tsv" else reading.licence
    entries = joined.with_columns(
        source_language=pl.lit(source.source_language),
        target_language=pl.lit(source.target_language),
        origin=pl.lit(source.origin),
        licence=pl.lit(known or LICENCES[source.kind]),
    )
    return entries, dropped | {DUPLICATE: len(clean) - len(joined)}


def _count(source: LexiconSource, reading: Reading, dropped: dict[str, int], num_entries: int) -> dict[str, Any]:
    examples = reading.malformed.head(NUM_EXAMPLES).rows()
    return reading.counts | {
        "pairs": len(reading.pairs),
        "malformed": count_reasons(reading.malformed["reason"]),
        "malformed_examples": [f"{source.file_name}:{line}: {reason}" for line, reason in examples],
        "dropped": {reason: number for reason, number in dropped.items() if number},
        "entries": num_entries,
    }


def _count_languages(entries: pl.DataFrame) -> dict[str, dict[str, int]]:
    counts = entries.group_by(PAIR).agg(words=pl.col("key").n_unique(), entries=pl.len()).sort(PAIR)
    return {f"{s}-{t}": {"words": words, "entries": entries} for s, t, words, entries in counts.rows()}
