"""Mined negatives as pairs, in a file or in a folder with a manifest, and what there is to tell of them."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
from numpy.typing import NDArray

from cluster.mining.answers import Mine
from cluster.mining.choosing import REASONS, UNFILLED
from cluster.mining.config import MineConfig
from cluster.mining.job import Mined
from cluster.models import hash_model
from csgen.files import fingerprint, hash_file, join
from csgen.manifest import Manifest, describe_files
from csgen.schema import PAIR_COLUMNS, REQUIRED_COLUMNS, pair_schema
from csgen.sources.documents import require_file
from csgen.sources.pairs import describe_input
from csgen.sources.parquet import write_pairs

STAGE = "mine"
PAIRS_NAME = "pairs.parquet"
_BATCH_ROWS = 1 << 15


def write_output(config: MineConfig, mine: Mine, mined: Mined) -> dict[str, Any]:
    """Write the pairs, and into a folder the manifest last; returns the counts."""
    counts = count_mined(mine, mined)
    if not config.is_folder:
        write_pairs(lay_out(mine, mined), config.output)
        return counts
    inputs = describe_inputs(config)
    write_pairs(lay_out(mine, mined), join(config.output, PAIRS_NAME))
    files = describe_files(config.output, [PAIRS_NAME])
    Manifest(stage=STAGE, config=config.identity(), inputs=inputs, counts=counts, files=files).write(config.output)
    return counts


def lay_out(mine: Mine, mined: Mined) -> Iterator[pa.RecordBatch]:
    """The pairs by query: its positives, then its negatives as they were mined. The score is of what judged.

    Columns are those of pairs, and the languages where the input has them.
    """
    answers = mine.answers
    queries, places = np.nonzero(mined.rows != UNFILLED)
    of_positives = np.repeat(np.arange(answers.num_queries), np.diff(answers.offsets))
    query_rows = np.concatenate([of_positives, queries])
    passage_rows = np.concatenate([answers.positives, mined.rows[queries, places]])
    labels = np.concatenate([answers.labels, np.zeros(len(queries), np.int8)])
    scores = np.concatenate([mined.positive_scores, mined.scores[queries, places]])
    order = np.argsort(query_rows, kind="stable")  # positives stand first already
    names = [name for name in PAIR_COLUMNS if name in (*REQUIRED_COLUMNS, *mine.columns, "score")]
    schema = pair_schema(names)
    for first in range(0, len(order), _BATCH_ROWS):
        part = order[first : first + _BATCH_ROWS]
        pairs = pl.concat([mine.queries[query_rows[part]], mine.passages[passage_rows[part]]], how="horizontal")
        pairs = pairs.with_columns(label=pl.Series(labels[part]), score=pl.Series(scores[part]))
        yield from pairs.select(names).to_arrow().cast(schema).combine_chunks().to_batches()


def count_mined(mine: Mine, mined: Mined) -> dict[str, Any]:
    """What was found and what was left out, with the mean scores of positives and of both kinds of negatives."""
    filled = mined.rows != UNFILLED
    is_mined = filled & (np.arange(filled.shape[1]) < mined.num_mined[:, None])
    is_random = filled & ~is_mined
    too_few = mined.num_mined < filled.shape[1]
    scores = {
        "positive": mined.positive_scores, "mined": mined.scores[is_mined], "random": mined.scores[is_random]
    }  # fmt: skip
    return {
        "queries": len(mine.queries),
        "queries_without_positive": mine.num_unanswered,
        "positives": len(mine.answers.positives),
        "passages": int(mine.candidates.sum()),
        "candidates": int(mined.left_out[: len(REASONS) + 1].sum()),
        "left_out": {name: int(mined.left_out[code]) for code, name in enumerate(REASONS, 1)},
        "negatives": {"mined": int(is_mined.sum()), "random": int(is_random.sum())},
        "queries_filled": int((too_few & is_random.any(axis=1)).sum()),
        "queries_short": int((~filled.all(axis=1)).sum()),
        "mean_scores": {name: _mean(found) for name, found in scores.items()},
        "pairs": len(mined.positive_scores) + int(filled.sum()),
    }


def describe_inputs(config: MineConfig) -> dict[str, Any]:
    """What the output is made from: the same wherever and whenever the same files lie."""
    files = list(describe_input(config.pairs, config.split, config.language).files)
    if config.collection:
        files.append(require_file(join(config.collection, config.language, "passages.jsonl")))
    inputs: dict[str, Any] = {
        file: {"bytes": fingerprint(file)["bytes"], "xxh3_128": hash_file(file)} for file in files
    }
    return inputs | {name: hash_model(name) for name in (config.model, config.reranker) if name}


def _mean(scores: NDArray[np.float32]) -> float | None:
    """Of float32 in float64, to what float32 tells; None where there are none."""
    return round(float(scores.mean(dtype=np.float64)), 6) if len(scores) else None
