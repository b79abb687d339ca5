"""The stage `csgen fetch`: a parallel collection of Debian, the carried sample, ir_datasets or the hub; training pairs.

Knows the layout of what it writes; the sources know how to come by it.
"""

import os
from pathlib import Path
from typing import Any, Literal, Self

import polars as pl
import pyarrow as pa
from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from csgen.config import StageConfig
from csgen.errors import InputError
from csgen.files import join, refuse_finished, replace_file
from csgen.languages import parse_language
from csgen.manifest import Manifest, describe_files
from csgen.schema import pair_schema
from csgen.sources.collection import COLLECTION_NAME, write_collection
from csgen.sources.debian import fetch_debian
from csgen.sources.fetched import EnglishTexts, Fetched
from csgen.sources.hub import fetch_hub
from csgen.sources.irds import fetch_irds
from csgen.sources.irds_families import is_family, suggest_family
from csgen.sources.negatives import pair_with_negatives
from csgen.sources.parquet import write_pairs
from csgen.sources.sample import fetch_sample
from csgen.sources.streams import Written

DEBIAN_LANGUAGES = ("en", "de", "it")
IRDS, HUB = "irds:", "hub:"


class FetchConfig(StageConfig):
    """Options of `csgen fetch`."""

    source: str = Field(
        description="debian: the package descriptions that this machine's apt fetches; sample: the small collection "
        "that csgen carries; irds:ID: a data set of ir_datasets, or with LANG in the place of the language several of "
        "them, such as irds:mmarco/v2/LANG/dev/small, irds:miracl/LANG/dev, irds:neuclir/1/LANG/trec-2023; "
        "hub:OWNER/NAME[@REVISION]: a data set of the hub in the form of MTEB's retrieval tasks or of BSARD, such as "
        "hub:mteb/MuPLeR-retrieval, hub:clips/bBSARD; hub:./FOLDER or hub:URI: the same files from there"
    )
    output: str = Field(min_length=1, description="folder or URI to write the collection to")
    languages: tuple[str, ...] = Field(
        (),
        description="languages, e.g. en,de,it (ISO 639-1); none: en,de,it of debian, else all that there are. English "
        "always comes along in debian and sample. Of irds:ID without LANG: its language, where ir_datasets does not "
        "tell it",
    )
    negatives: int = Field(4, ge=0, le=100, description="negatives for each English training pair, 0 to 100")
    hard_negatives: int = Field(
        2,
        ge=0,
        le=100,
        description="of these, 0 to 100 are drawn from BM25's best 50 passages, the rest at random",
    )
    seed: int = Field(1, ge=0, lt=1 << 63, description="seed of the draws of negatives, 0 or more")
    num_queries: int | None = Field(
        None,
        ge=1,
        description="of irds:ID, keep the first so many queries (1 or more) and passages judged for them; none: all",
    )
    on_error: Literal["fail", "skip"] = Field(
        "fail", description="of irds and hub, what to do about judgements of unknown texts: fail, or leave them out"
    )
    cache: str = Field(
        "", description="local folder where apt keeps what it fetched; none: csgen/apt in the user's cache folder"
    )

    @field_validator("source")
    @classmethod
    def _known_source(cls, source: str) -> str:
        if source not in ("debian", "sample") and not (source.startswith((IRDS, HUB)) and source not in (IRDS, HUB)):
            raise InputError(f"source must be debian, sample, irds:ID or hub:NAME, got {source!r}")
        return source

    @field_validator("languages")
    @classmethod
    def _known_languages(cls, languages: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(dict.fromkeys(map(parse_language, languages)))

    @model_validator(mode="after")
    def _hard_ones_are_negatives(self) -> Self:
        if self.hard_negatives > self.negatives:
            raise InputError(
                f"--hard-negatives must be at most --negatives {self.negatives}, got {self.hard_negatives}"
            )
        return self

    @model_validator(mode="after")
    def _one_language_of_irds(self) -> Self:
        is_irds, dataset_id = self.source.startswith(IRDS), self.source.removeprefix(IRDS)
        if is_irds and len(self.languages) > 1 and not is_family(dataset_id):
            family = suggest_family(dataset_id)
            hint = f"; for several, write LANG for it: {IRDS}{family}" if family else ""
            raise InputError(f"{self.source} has one language, got --languages {','.join(self.languages)}{hint}")
        if not is_irds and self.num_queries is not None:
            raise InputError(f"--num-queries is for irds:ID alone, got it with {self.source}")
        return self

    @property
    def languages_with_english(self) -> tuple[str, ...]:
        """English, then the other languages asked for; none at all where none was asked for."""
        return tuple(dict.fromkeys(("en", *self.languages))) if self.languages else ()


class FetchSummary(BaseModel):
    """What was fetched, for people and for --format json."""

    model_config = ConfigDict(frozen=True)

    output: str
    passages: dict[str, int]  # by language
    queries: dict[str, int]  # by language
    judgements: dict[str, int]  # by split
    pairs: dict[str, int]  # by split
    details: dict[str, Any]  # what the source counted: rows left out by reason, near-duplicates

    def rows(self) -> list[tuple[str, str, int]]:
        """The counts as lines of a table: what, of which language or split, how many."""
        names = ("passages", "queries", "judgements", "pairs")
        rows = [(name, key, count) for name in names for key, count in getattr(self, name).items()]
        rows += [(name, "in every language", count) for name, count in self.details.get("parallel", {}).items()]
        return rows + [("judgements", "left out", count) for count in [self.details.get("left_out", 0)] if count]


def fetch(config: FetchConfig) -> FetchSummary:
    """Fetch the source, draw negatives, and write it all; the manifest comes last.

    The same snapshot of the source, with the same options, gives the same bytes. Nothing of debian or sample is written
    before all has been fetched; irds and hub are written as they stream by.
    """
    refuse_finished(config.output)
    if config.source.startswith(IRDS):
        name = config.source.removeprefix(IRDS)
        return _report(config, fetch_irds(name, config.output, config.languages, config.num_queries, config.on_error))
    if config.source.startswith(HUB):
        return _report(
            config, fetch_hub(config.source.removeprefix(HUB), config.output, config.languages, config.on_error)
        )
    if config.source == "sample":
        fetched = fetch_sample(config.languages_with_english)
    else:
        fetched = fetch_debian(config.languages_with_english or DEBIAN_LANGUAGES, config.cache or _cache_folder())
    pairs = {split: _draw_pairs(texts, config) for split, texts in fetched.texts.items() if len(texts.queries)}
    return _write(config, fetched, pairs)


def _draw_pairs(texts: EnglishTexts, config: FetchConfig) -> pa.Table:
    drawn = pair_with_negatives(
        texts.queries,
        texts.passages,
        negatives=config.negatives,
        hard_negatives=config.hard_negatives,
        seed=config.seed,
    )
    pairs = drawn.with_columns(query_language=pl.lit("en"), passage_language=pl.lit("en"))
    schema = pair_schema(pairs.columns)
    return pairs.select(schema.names).to_arrow().cast(schema)


def _write(config: FetchConfig, fetched: Fetched, pairs: dict[str, pa.Table]) -> FetchSummary:
    for name, data in fetched.files.items():
        with replace_file(join(config.output, name)) as stream:
            stream.write(data)
    for split, table in pairs.items():
        write_pairs(table, join(config.output, f"pairs/{split}.parquet"))
    write_collection(config.output, fetched.description, fetched.queries, fetched.passages, fetched.qrels)
    names = [*fetched.files, *(f"pairs/{split}.parquet" for split in pairs), COLLECTION_NAME]
    names += [f"qrels/{split}.tsv" for split in fetched.qrels]
    names += [f"{language}/{kind}.jsonl" for language in fetched.queries for kind in ("queries", "passages")]
    summary = FetchSummary(
        output=config.output,
        passages={language: len(rows) for language, rows in fetched.passages.items()},
        queries={language: len(rows) for language, rows in fetched.queries.items()},
        judgements={split: len(rows) for split, rows in fetched.qrels.items()},
        pairs={split: len(table) for split, table in pairs.items()},
        details=fetched.counts,
    )
    _finish(config, summary, fetched.inputs, names)
    return summary


def _report(config: FetchConfig, written: Written) -> FetchSummary:
    summary = FetchSummary(
        output=config.output,
        passages=written.passages,
        queries=written.queries,
        judgements=written.judgements,
        pairs=written.pairs,
        details={"parallel": written.parallel, "left_out": written.left_out},
    )
    _finish(config, summary, dict(written.stream.inputs), list(written.files))
    return summary


def _finish(config: FetchConfig, summary: FetchSummary, inputs: dict[str, Any], names: list[str]) -> None:
    Manifest(
        stage="fetch",
        config=config.model_dump(mode="json", exclude={"output", "cache"}),
        inputs=inputs,
        counts=summary.model_dump(exclude={"output"}),
        files=describe_files(config.output, names),
    ).write(config.output)


def _cache_folder() -> str:
    """The user's cache folder, as the XDG base directory specification names it."""
    return str(Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "csgen" / "apt")
