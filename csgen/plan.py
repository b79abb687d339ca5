"""The stage `plan`: what `csgen switch` would do, how long it would take and how much it would write."""

import io
import os
import tempfile
import time
from dataclasses import dataclass

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import Field

from csgen.lexicon.coverage import coverage
from csgen.lexicon.entries import ENTRIES_NAME, read_entries
from csgen.lexicon.lemmas import INFLECTED_NAME, lexicon_table
from csgen.lexicon.merge import PAIR
from csgen.planning import SAMPLE_ROWS, SidePrediction, count_tokens, predict, sample_pairs, with_probabilities
from csgen.sources.pairs import count_rows, normalise
from csgen.switch_job import BATCH_ROWS, PAIRS_DESCRIPTION, read_protected_words
from csgen.switching.policy import Policy, Side
from csgen.switching.switcher import Switcher, replace_texts


class PlanConfig(Policy):
    """Options of `csgen plan`."""

    pairs: str = Field(min_length=1, description=PAIRS_DESCRIPTION)
    split: str = Field("train", min_length=1, description="qrels of a BEIR folder or a collection to make pairs of")
    lexicon: str = Field(min_length=1, description="folder that csgen lexicon build wrote; may be a URI")
    sample_rows: int = Field(SAMPLE_ROWS, ge=1, description="rows that the prediction is made from, 1 or more")
    workers: int | None = Field(
        None, ge=1, description="workers that the time is estimated for, 1 or more; default: all CPUs"
    )


@dataclass(frozen=True)
class Plan:
    """A prediction. `rows` is None where only reading all of the input would tell: then it is of the sample."""

    rows: int | None
    sample_rows: int
    sides: dict[Side, SidePrediction]
    coverage: pl.DataFrame  # of the sample's words by language and frequency band (csgen.lexicon.coverage)
    coverage_without_forms: pl.DataFrame | None  # the same without inflected forms, where the policy uses them
    seconds: float  # of switching and writing with the workers given, measured on one core with the sample
    num_bytes: int  # of output


def make_plan(config: PlanConfig) -> Plan:
    """Predict coverage and realised ratios from a token histogram, and time and bytes by switching the sample."""
    table = lexicon_table(config.lexicon, config).without(read_protected_words(config))
    with tempfile.TemporaryDirectory() as scratch:
        pairs = normalise(config.pairs, scratch, lambda _: None, config.split, config.source_language)
        rows, batches = count_rows(pairs), sample_pairs(pairs, config.sample_rows)
    sampled = sum(batch.num_rows for batch in batches)
    sides = predict(config, table, batches)
    switcher = Switcher(with_probabilities(config, sides), table)
    seconds, size = _try_out(switcher, batches)
    scale = (rows or sampled) / sampled
    covered = measure_coverage(config, config.lexicon, batches)
    plain = config.model_copy(update={"inflected": False})
    listed = measure_coverage(plain, config.lexicon, batches) if config.inflected else None
    workers = config.workers or os.cpu_count() or 1
    return Plan(rows, sampled, sides, covered, listed, seconds * scale / workers, round(size * scale))


def measure_coverage(policy: Policy, lexicon: str, batches: list[pa.RecordBatch]) -> pl.DataFrame:
    """What `csgen.lexicon.coverage.coverage` says of these pairs' words, for the target languages of the policy."""
    histogram = count_tokens(batches, Switcher(policy, lexicon_table(lexicon, policy)))
    targets = {*policy.languages_of("query"), *policy.languages_of("passage")}
    wanted = (pl.col("source_language") == policy.source_language) & pl.col("target_language").is_in(targets)
    names = (ENTRIES_NAME, INFLECTED_NAME) if policy.inflected else (ENTRIES_NAME,)
    entries = pl.concat([read_entries(lexicon, name).select("source", *PAIR).filter(wanted) for name in names])
    return coverage(entries, histogram)


def _try_out(switcher: Switcher, batches: list[pa.RecordBatch]) -> tuple[float, int]:
    """Seconds and bytes of switching the sample and writing it as Parquet."""
    switcher.switch(batches[0].slice(0, 1))  # loads the compiled kernel
    sink = io.BytesIO()
    begun = time.perf_counter()
    with pq.ParquetWriter(sink, batches[0].schema, compression="lz4", use_dictionary=["label"]) as writer:
        for batch in batches:
            writer.write_batch(replace_texts(batch, switcher.switch(batch)), row_group_size=BATCH_ROWS)
    return time.perf_counter() - begun, sink.tell()
