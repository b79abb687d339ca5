"""`csgen lexicon build`, `show`, `stats` and `turn`."""

import tempfile
from collections.abc import Iterator
from itertools import chain
from typing import Any

import polars as pl
from pydantic import Field
from rich import box
from rich.console import Group, RenderableType
from rich.table import Table

from cluster.connection import connect
from cluster.terminal import Report, Terminal
from csgen.config import StageConfig
from csgen.lexicon.build import LexiconBuildConfig, build_lexicon
from csgen.lexicon.entries import show_word
from csgen.lexicon.merge import PAIR
from csgen.lexicon.reading import CleanPiece, ReadJob, ReadPieces, read_here, read_piece
from csgen.lexicon.stats import AMBIGUITY, LISTED, LexiconStats, measure_lexicon
from csgen.lexicon.turn import TurnConfig, turn_lexicon
from csgen.planning import SAMPLE_ROWS, sample_pairs
from csgen.plots import plot_ambiguity, plot_coverage, plot_origins, write_plots
from csgen.report import label
from csgen.sources.pairs import normalise
from csgen.switch_job import PAIRS_DESCRIPTION

SMALL_BYTES = 256 << 20  # read before Ray has started


class ShowConfig(StageConfig):
    """Options of `csgen lexicon show`."""

    lexicon: str = Field(min_length=1, description="folder that csgen lexicon build wrote; may be a URI")
    word: str = Field(min_length=1, description="word or phrase, in any case")


class StatsConfig(StageConfig):
    """Options of `csgen lexicon stats`."""

    lexicon: str = Field(min_length=1, description="folder that csgen lexicon build wrote; may be a URI")
    pairs: str | None = Field(
        None, description=f"measure coverage of {PAIRS_DESCRIPTION.removeprefix('pairs to switch: ')}"
    )
    split: str = Field("train", min_length=1, description="qrels of a BEIR folder or a collection to make pairs of")
    source_language: str = Field("en", description="language of the pairs (ISO 639-1)")
    sample_rows: int = Field(SAMPLE_ROWS, ge=1, description="rows that are read, spread over the input, 1 or more")
    plots: str | None = Field(None, description="folder to draw coverage, origins and ambiguity into; may be a URI")


def build(config: LexiconBuildConfig, terminal: Terminal) -> Report:
    counts = build_lexicon(config, _place(config, terminal))
    languages = _table("languages", "words", "entries", "conflicts")
    for pair, numbers in counts["languages"].items():
        conflicts = counts["conflicts"].get(pair, 0)
        languages.add_row(pair, *_shown(numbers["words"], numbers["entries"], conflicts))
    origins = _table("source", "lines", "pairs", "malformed", "dropped", "entries")
    for origin, numbers in counts["origins"].items():
        malformed, dropped = (sum(numbers[name].values()) for name in ("malformed", "dropped"))
        origins.add_row(origin, *_shown(numbers["lines"], numbers["pairs"], malformed, dropped, numbers["entries"]))
    reasons = _table("dropped", "pairs")
    for reason, number in counts["dropped"].items():
        reasons.add_row(reason, *_shown(number))
    views: list[RenderableType] = [languages, origins, reasons] if counts["dropped"] else [languages, origins]
    views += [f"{counts['entries']:,} entries; {counts['joined']:,} were given by another source too"]
    if "inflected" in counts:
        views += [f"{counts['inflected']['entries']:,} entries of inflected forms, for --inflected"]
    return Report(counts | {"output": config.output}, Group(*views))


def turn(config: TurnConfig, terminal: Terminal) -> Report:
    counts = turn_lexicon(config)
    languages = _table("languages", "words", "entries")
    for pair, numbers in counts["languages"].items():
        languages.add_row(pair, *_shown(numbers["words"], numbers["entries"]))
    dropped = sum(counts["dropped"].values())
    told = f"{counts['entries']:,} entries; {counts['joined']:,} were joined to others, {dropped:,} dropped"
    return Report(counts | {"output": config.output}, Group(languages, told))


def _place(config: LexiconBuildConfig, terminal: Terminal) -> ReadPieces:
    """Where pieces are read: of much data, those of parted sources on Ray; else here, since Ray takes long to start."""

    def read_pieces(job: ReadJob, indices: list[int]) -> Iterator[CleanPiece]:
        parted = [] if config.workers == 1 or job.num_bytes < SMALL_BYTES else job.parted()
        rest = [index for index in indices if index not in {*parted}]
        with terminal.progress("pieces", len(indices)) as advance:
            for piece in chain(_read_on_ray(job, parted, config.workers), read_here(job, rest)):
                yield piece
                advance(1)

    return read_pieces


def _read_on_ray(job: ReadJob, indices: list[int], workers: int | None) -> Iterator[CleanPiece]:
    if indices:
        connect(workers)
        from csgen.job import map_shards

        yield from map_shards(read_piece, job, indices, workers)


def show(config: ShowConfig, terminal: Terminal) -> Report:
    entries = show_word(config.lexicon, config.word)
    table = Table("language", "source", "translation", box=box.SIMPLE_HEAD)
    table.add_column("weight", justify="right")
    table.add_column("origin")
    for row in entries.iter_rows(named=True):
        table.add_row(
            label(row["target_language"]), row["source"], row["target"], f"{row['weight']:.3f}", row["origin"]
        )
    return Report(entries.to_dicts(), table)


def stats(config: StatsConfig, terminal: Terminal) -> Report:
    batches = None
    if config.pairs is not None:
        with tempfile.TemporaryDirectory() as scratch:
            pairs = normalise(config.pairs, scratch, lambda _: None, config.split, config.source_language)
            batches = sample_pairs(pairs, config.sample_rows)
    found = measure_lexicon(config.lexicon, batches, config.source_language)
    views: list[RenderableType] = [*_stats_tables(found)]
    if config.plots is not None:
        figures = {"origins": plot_origins(found.origins), "ambiguity": plot_ambiguity(found.ambiguity)}
        if found.coverage is not None:
            figures |= {
                "coverage" if forms == LISTED else "coverage-inflected": plot_coverage(part.drop("forms"))
                for (forms,), part in found.coverage.group_by("forms", maintain_order=True)
            }
        views += write_plots(figures, config.plots)
    return Report(found.to_json(), Group(*views))


def _stats_tables(found: LexiconStats) -> Iterator[RenderableType]:
    yield _languages_table(found)
    yield _origins_table(found)
    licences = _table("licence", "entries", "commercial use")
    for name, entries, commercial in found.licences.iter_rows():
        licences.add_row(name, *_shown(entries), "yes" if commercial else "no")
    yield licences
    total = int(found.languages["entries"].sum())
    yield f"for commercial use: {found.commercial_entries:,} of {total:,} entries"
    if found.coverage is not None:
        yield coverage_table(*found.coverage.partition_by("forms", maintain_order=True, include_key=False))


def _languages_table(found: LexiconStats) -> Table:
    """Words, entries, ambiguity and phrases of each pair of languages."""
    lengths = sorted(set(found.phrases["num_words"]))
    table = _table("languages", "words", "entries", "a word", *(f"{name} transl." for name in AMBIGUITY))
    for length in lengths[1:]:
        table.add_column(f"of {length} words", justify="right")
    table.add_column("inflected", justify="right")
    for row in found.languages.iter_rows(named=True):
        pair = [row[name] for name in PAIR]
        bins, phrases = (_by_name(part, pair) for part in (found.ambiguity, found.phrases))
        shares = [f"{bins.get(name, 0) / row['words']:.1%}" for name in AMBIGUITY]
        numbers = _shown(*(phrases.get(length, 0) for length in lengths[1:]))
        forms = "-" if row["inflected"] is None else f"{row['inflected']:,}"
        means = f"{row['mean_translations']:.2f}"
        table.add_row("-".join(pair), *_shown(row["words"], row["entries"]), means, *shares, *numbers, forms)
    return table


def _by_name(counts: pl.DataFrame, pair: list[str]) -> dict[Any, int]:
    of_pair = counts.filter((pl.col(PAIR[0]) == pair[0]) & (pl.col(PAIR[1]) == pair[1]))
    return dict(of_pair.drop(PAIR).iter_rows())


def _origins_table(found: LexiconStats) -> Table:
    table = Table("languages", "origin", box=box.SIMPLE_HEAD)
    table.add_column("entries", justify="right")
    for source, target, origin, entries in found.origins.iter_rows():
        table.add_row(f"{source}-{target}", origin, *_shown(entries))
    return table


def _table(first: str, *numbers: str) -> Table:
    table = Table(first, box=box.SIMPLE_HEAD)
    for name in numbers:
        table.add_column(name, justify="right")
    return table


def _shown(*numbers: int) -> list[str]:
    return [f"{number:,}" for number in numbers]


def coverage_table(found: pl.DataFrame, with_forms: pl.DataFrame | None = None) -> Table:
    """The figures of `csgen.lexicon.coverage.coverage` for people; beside them those with inflected forms."""
    frames = [found] if with_forms is None else [found, with_forms]
    table = Table("language", "frequency rank", box=box.SIMPLE_HEAD)
    for kind in ("distinct words", "running words"):
        for name in (kind, "covered", "with forms")[: 1 + len(frames)]:
            table.add_column(name, justify="right")
    listed: list[list[dict[str, Any]]] = [frame.to_dicts() for frame in frames]
    rows = list(zip(*listed, strict=True))
    for row, following in zip(rows, [*rows[1:], ({},)], strict=True):
        language, band = row[0]["target_language"], row[0]["band"]
        cells: list[str] = []
        for kind in ("distinct", "running"):
            cells += [f"{row[0][f'{kind}_tokens']:,}", *(f"{one[f'{kind}_ratio']:.1%}" for one in row)]
        first = label(language) if band == "all" else ""
        table.add_row(first, band, *cells, end_section=following[0].get("target_language") != language)
    return table
