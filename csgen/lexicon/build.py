"""`csgen lexicon build`: merges any number of sources into one folder of entries and compiled tables."""

from collections import defaultdict
from typing import Any, Literal, Self

import polars as pl
from pydantic import Field, model_validator

from csgen.config import StageConfig
from csgen.errors import InputError
from csgen.files import join, refuse_finished, replace_file
from csgen.lexicon import filters
from csgen.lexicon.compiler import compile_tables
from csgen.lexicon.corpus import count_corpus
from csgen.lexicon.entries import DUPLICATE, ENTRIES_NAME, STAGE, write_entries
from csgen.lexicon.lemmas import INFLECTED_FOLDER, INFLECTED_NAME, add_forms, has_lemmas
from csgen.lexicon.merge import MERGED_COLUMNS, PAIR, Merged, join_duplicates, merge_parts
from csgen.lexicon.reading import (
    CleanPiece,
    ReadJob,
    ReadPieces,
    describe_inputs,
    join_pieces,
    name_columns,
    open_sources,
    read_here,
    refuse_malformed,
)
from csgen.lexicon.sources import SPEC_FORM, LexiconSource, parse_sources, refuse_twins
from csgen.manifest import Manifest, describe_files
from csgen.readers.columns import count_reasons
from csgen.readers.formats import FORMATS

REJECTS_NAME = "rejects.jsonl"
NUM_EXAMPLES = 5  # of malformed lines in the manifest; all of them stand among the rejects

# Options that do not decide what the lexicon holds, or are told otherwise.
_PLACE = {"output", "sources", "corpus", "workers"}


class LexiconBuildConfig(StageConfig):
    """Options of `csgen lexicon build`."""

    sources: tuple[str, ...] = Field(min_length=1, description=f"what to read, one or more of {SPEC_FORM}")
    output: str = Field(min_length=1, description="folder to write; may be a URI")
    source_licence: str | None = Field(
        None, description="licence of the sources that say none themselves (tsv, csv, ..), kept with each entry"
    )
    licence: Literal["any", "commercial"] = Field(
        "any", description="commercial: drop what forbids commercial use and what is of unknown licence"
    )
    identical: Literal["drop", "keep"] = Field(
        "drop", description="what to do with pairs of the same word on both sides, letter case aside"
    )
    script: Literal["any", "match"] = Field(
        "any", description="match: drop translations that are not in a script of their language"
    )
    min_characters: int | None = Field(None, ge=1, description="shortest source and target, in characters, 1 or more")
    max_characters: int | None = Field(None, ge=1, description="longest source and target, in characters, 1 or more")
    min_frequency: int | None = Field(
        None, ge=1, description="least occurrences of a source in --corpus, 1 or more; of a phrase, of its rarest word"
    )
    corpus: str | None = Field(
        None, description="pairs in the source language, for --min-frequency, and for --lemmas to inflect their words"
    )
    lemmas: bool = Field(
        False, description="compile a second table with inflected forms, for csgen switch --inflected (extra: lemmas)"
    )
    max_malformed: float = Field(
        0.1, ge=0, le=1, description="share of a source's lines that may be malformed, from 0 to 1; above: refused"
    )
    workers: int | None = Field(
        None, ge=1, description="pieces of large sources read at a time, 1 or more; default: all CPUs"
    )

    @model_validator(mode="after")
    def _check(self) -> Self:
        sources = parse_sources(self.sources)
        refuse_twins(sources)
        if self.source_licence is not None and not any(source.takes_licence() for source in sources):
            kinds = ", ".join(kind for kind, form in FORMATS.items() if form.licence == "unknown")
            raise InputError(f"--source-licence is for {kinds} sources, and there is none; others bring their own")
        if self.min_frequency is not None and self.corpus is None:
            raise InputError("--min-frequency needs --corpus: the pairs in which words are counted")
        if self.corpus is not None and self.min_frequency is None and not self.lemmas:
            raise InputError("--corpus is for --min-frequency and --lemmas; give one of them, or leave it out")
        if self.max_characters is not None and self.max_characters < (self.min_characters or 1):
            raise InputError(f"--max-characters {self.max_characters} is below --min-characters {self.min_characters}")
        return self

    @property
    def row_filters(self) -> filters.RowFilters:
        return filters.RowFilters(self.min_characters, self.max_characters, self.script)


def build_lexicon(config: LexiconBuildConfig, read_pieces: ReadPieces = read_here) -> dict[str, Any]:
    """Write the lexicon; returns its counts: entries, words by language pair, and what came from each source.

    The same sources give the same bytes, wherever they lie, in whatever order they are given, and whoever reads them.
    """
    refuse_finished(config.output)
    sources = [source.located() for source in parse_sources(config.sources)]
    refuse_twins(sources)
    job = open_sources(sources, config.identical, config.row_filters)
    read = _read_all(job, read_pieces)
    corpus = _count_corpus(config, read)
    parts, rejects, counts = [], [], {}
    inputs: dict[str, Any] = {}
    for source, whole in read:
        refuse_malformed(source, whole, config.max_malformed)
        part, dropped = _filter_source(config, source, whole, corpus)
        parts.append((source.name, part))
        rejects.append(whole.malformed.select("reason", path=pl.lit(source.file_name), row="line"))
        inputs[source.name] = {"files": describe_inputs(job, source)} | whole.about
        counts[source.name] = _count_source(source, whole, dropped, len(part))
    del read
    if not sum(len(part) for _, part in parts):
        reasons = "; ".join(f"{name}: {count['dropped']}" for name, count in counts.items())
        raise InputError(f"no entries are left, all pairs were dropped: {reasons}")
    merged = merge_parts(parts)
    del parts
    options = config.model_dump(mode="json", exclude=_PLACE) | {"sources": sorted(inputs)}
    for language, histogram in corpus.items():
        inputs["corpus"] = {"language": language, "words": len(histogram), "tokens": int(histogram["count"].sum())}
    forms = _inflect(merged.entries, corpus) if config.lemmas else None
    return write_lexicon(
        merged.entries,
        config.output,
        config=options,
        inputs=inputs,
        counts=_count(counts, merged),
        forms=forms,
        rejects=pl.concat(rejects).select("path", "row", "reason").sort("path", "row", "reason"),
    )


def write_lexicon(
    entries: pl.DataFrame,
    output: str,
    *,
    config: dict[str, Any],
    inputs: dict[str, Any],
    counts: dict[str, Any],
    forms: pl.DataFrame | None = None,
    rejects: pl.DataFrame | None = None,
) -> dict[str, Any]:
    """Write finished entries as a lexicon: entries, compiled tables and, last, the manifest; returns its counts.

    `entries` are those of csgen.lexicon.merge.merge_parts, which one source alone goes through too; `forms` are entries
    of inflected forms, for a second table; `rejects` lines that are no pairs, with path, row and reason. `config`,
    `inputs` and `counts` are what the manifest says of how they were made; the number of entries, and of words and
    entries by pair of languages, are added to `counts`. A finished output is refused.
    """
    refuse_finished(output)
    counts = {"entries": len(entries), "languages": _count_languages(entries)} | counts
    write_entries(entries, output)
    strings = pl.col(PAIR).cast(pl.String)
    names = [ENTRIES_NAME, *compile_tables(entries.with_columns(strings), output)]
    if forms is not None:
        counts["inflected"] = {"entries": len(forms), "languages": _count_languages(forms)}
        write_entries(forms, output, INFLECTED_NAME)
        inflected = entries.filter(pl.col("source_language").is_in(forms["source_language"].unique().to_list()))
        columns = [pl.col(MERGED_COLUMNS).exclude("origin", "licence", *PAIR), strings]
        both = pl.concat([part.select(columns) for part in (inflected, forms)])
        tables = compile_tables(both, join(output, INFLECTED_FOLDER))
        names += [INFLECTED_NAME, *(f"{INFLECTED_FOLDER}/{name}" for name in tables)]
    if rejects is not None and len(rejects):
        with replace_file(join(output, REJECTS_NAME)) as stream:
            rejects.write_ndjson(stream)
        names.append(REJECTS_NAME)
    files = describe_files(output, names)
    Manifest(stage=STAGE, config=config, inputs=inputs, counts=counts, files=files).write(output)
    return counts


def _read_all(job: ReadJob, read_pieces: ReadPieces) -> list[tuple[LexiconSource, CleanPiece]]:
    """What each source gave, in the order of the sources, whatever the order in which its pieces came."""
    pieces: dict[int, list[CleanPiece]] = defaultdict(list)
    found = sorted(read_pieces(job, list(range(len(job.pieces)))), key=lambda piece: piece.index)
    for piece in found:
        pieces[job.pieces[piece.index][0]].append(piece)
    return [(source, join_pieces(pieces[number])) for number, source in enumerate(job.sources)]


def _count_corpus(config: LexiconBuildConfig, read: list[tuple[LexiconSource, CleanPiece]]) -> dict[str, pl.DataFrame]:
    """The token histogram of the corpus by its language, which all sources share; empty without a corpus."""
    if config.corpus is None:
        return {}
    languages = sorted({language for source, whole in read for language in _source_languages(source, whole)})
    if len(languages) != 1:
        raise InputError(f"--corpus is in one language, but the sources are in {', '.join(languages)}: build several")
    return {languages[0]: count_corpus(config.corpus, languages[0])}


def _source_languages(source: LexiconSource, whole: CleanPiece) -> list[str]:
    return [source.source_language] if source.source_language else whole.pairs["source_language"].unique().to_list()


def _filter_source(
    config: LexiconBuildConfig, source: LexiconSource, whole: CleanPiece, corpus: dict[str, pl.DataFrame]
) -> tuple[pl.DataFrame, dict[str, int]]:
    """The part of one source to merge, and how many pairs were dropped by reason."""
    given = config.source_licence if source.takes_licence() else None
    known = FORMATS[source.kind].licence if source.kind in FORMATS else ""
    part = name_columns(source, whole, whole.licence or given or known)
    dropped: dict[str, int] = {}
    if config.licence == "commercial":
        part, dropped = filters.keep_commercial(part)
    if config.min_frequency is not None:
        ((language, histogram),) = corpus.items()
        part, dropped[filters.RARE] = filters.keep_frequent(part, histogram, config.min_frequency, language)
    joined = join_duplicates(part)
    return joined, whole.dropped | dropped | {DUPLICATE: len(part) - len(joined)}


def _inflect(entries: pl.DataFrame, corpus: dict[str, pl.DataFrame]) -> pl.DataFrame:
    none = pl.Series([], dtype=pl.String)
    languages = sorted(entries["source_language"].cast(pl.String).unique().to_list())
    if not any(map(has_lemmas, languages)):
        raise InputError(f"--lemmas: there are no lemmas of {', '.join(languages)}; leave it out")
    words = {x: corpus[x]["token"] if x in corpus else none for x in languages if has_lemmas(x)}
    return add_forms(entries, words)


def _count(counts: dict[str, dict[str, Any]], merged: Merged) -> dict[str, Any]:
    dropped: dict[str, int] = defaultdict(int)
    for of_source in counts.values():
        for reason, number in of_source["dropped"].items():
            dropped[reason] += number
    return {
        "origins": counts,
        "dropped": dict(sorted(dropped.items())),
        "joined": merged.joined,
        "conflicts": merged.conflicts,
        "conflict_examples": merged.examples,
    }


def _count_source(
    source: LexiconSource, whole: CleanPiece, dropped: dict[str, int], num_entries: int
) -> dict[str, Any]:
    return whole.counts | {
        "malformed": count_reasons(whole.malformed["reason"]),
        "malformed_examples": [
            f"{source.file_name}:{line}: {reason}" for line, reason in whole.malformed.head(NUM_EXAMPLES).rows()
        ],
        "dropped": {reason: number for reason, number in dropped.items() if number},
        "entries": num_entries,
    }


def _count_languages(entries: pl.DataFrame) -> dict[str, dict[str, int]]:
    counts = entries.group_by(PAIR).agg(words=pl.col("key").n_unique(), entries=pl.len()).sort(PAIR)
    return {f"{s}-{t}": {"words": words, "entries": entries} for s, t, words, entries in counts.rows()}
