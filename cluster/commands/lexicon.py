"""`csgen lexicon build`, `show` and `coverage`."""

import tempfile
from typing import Any

import polars as pl
from pydantic import Field
from rich import box
from rich.console import Group
from rich.table import Table

from cluster.terminal import Report, Terminal
from csgen.config import StageConfig
from csgen.lexicon.build import LexiconBuildConfig, build_lexicon
from csgen.lexicon.entries import show_word
from csgen.lexicon.table import read_table
from csgen.plan import measure_coverage
from csgen.planning import SAMPLE_ROWS, sample_pairs
from csgen.report import label
from csgen.sources.pairs import normalise
from csgen.switch_job import PAIRS_DESCRIPTION
from csgen.switching.policy import Policy


class ShowConfig(StageConfig):
    """Options of `csgen lexicon show`."""

    lexicon: str = Field(min_length=1, description="folder that csgen lexicon build wrote; may be a URI")
    word: str = Field(min_length=1, description="word or phrase, in any case")


class CoverageConfig(StageConfig):
    """Options of `csgen lexicon coverage`."""

    lexicon: str = Field(min_length=1, description="folder that csgen lexicon build wrote; may be a URI")
    pairs: str = Field(min_length=1, description=PAIRS_DESCRIPTION)
    split: str = Field("train", min_length=1, description="qrels of a BEIR folder or a collection to make pairs of")
    source_language: str = Field("en", description="language of the pairs (ISO 639-1)")
    sample_rows: int = Field(SAMPLE_ROWS, ge=1, description="rows that are read, spread over the input, 1 or more")


def build(config: LexiconBuildConfig, terminal: Terminal) -> Report:
    counts = build_lexicon(config)
    languages = Table("languages", box=box.SIMPLE_HEAD)
    for name in ("words", "entries"):
        languages.add_column(name, justify="right")
    for pair, numbers in counts["languages"].items():
        languages.add_row(pair, f"{numbers['words']:,}", f"{numbers['entries']:,}")
    origins = Table("source", box=box.SIMPLE_HEAD)
    for name in ("lines", "pairs", "malformed", "dropped", "entries"):
        origins.add_column(name, justify="right")
    for origin, numbers in counts["origins"].items():
        malformed, dropped = (sum(numbers[name].values()) for name in ("malformed", "dropped"))
        shown = (numbers["lines"], numbers["pairs"], malformed, dropped, numbers["entries"])
        origins.add_row(origin, *(f"{number:,}" for number in shown))
    return Report(counts | {"output": config.output}, Group(languages, origins))


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


def cover(config: CoverageConfig, terminal: Terminal) -> Report:
    table = read_table(config.lexicon, config.source_language)
    policy = Policy.from_options({"languages": table.languages, "source_language": config.source_language})
    with tempfile.TemporaryDirectory() as scratch:
        pairs = normalise(config.pairs, scratch, lambda _: None, config.split, config.source_language)
        found = measure_coverage(policy, config.lexicon, sample_pairs(pairs, config.sample_rows))
    return Report(found.to_dicts(), coverage_table(found))


def coverage_table(found: pl.DataFrame) -> Table:
    """The figures of `csgen.lexicon.coverage.coverage` for people."""
    table = Table("language", "frequency rank", box=box.SIMPLE_HEAD)
    for name in ("distinct words", "covered", "running words", "covered"):
        table.add_column(name, justify="right")
    rows: list[dict[str, Any]] = found.to_dicts()
    for row, following in zip(rows, [*rows[1:], {}], strict=True):
        language = row["target_language"]
        table.add_row(
            label(language) if row["band"] == "all" else "",
            row["band"],
            f"{row['distinct_tokens']:,}",
            f"{row['distinct_ratio']:.1%}",
            f"{row['running_tokens']:,}",
            f"{row['running_ratio']:.1%}",
            end_section=following.get("target_language") != language,
        )
    return table
