"""Lexicons from two sets of word vectors in one space: a word's translations are its nearest neighbours.

Knows nothing of files; `csgen.induction.procrustes` brings vectors into one space.
"""

from typing import Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray
from pydantic import Field

from csgen.config import StageConfig
from csgen.errors import InputError
from csgen.induction.vectors import Vectors
from csgen.neighbours import Matrix, mean_similarity, search

_Rows = NDArray[np.int64]


class EmbeddingOptions(StageConfig):
    """How translations are chosen among a word's neighbours."""

    method: Literal["nearest", "csls"] = Field(
        "csls",
        description="nearest: the one nearest neighbour by cosine, as the paper has it. csls: by cosine less the mean "
        "cosine of either word with its nearest words of the other language, which takes hubs back.",
    )
    csls_neighbours: int = Field(10, ge=1, description="How many nearest words that mean is over.")
    mutual: bool = Field(
        True, description="Keep a translation only if the source is among the translation's nearest as well."
    )
    min_score: float = Field(-1.0, ge=-4, le=2, description="The least CSLS score of a translation, from -4 to 2.")
    max_translations: int = Field(1, ge=1, description="Translations of a word at most, the best ones.")
    temperature: float = Field(
        # Makes right translations among the best 5 likeliest, as MUSE's dictionary has them, for vectors of Debian's
        # descriptions, en-it: mean log probability -0.80 here, -0.91 to -1.2 at .02, -0.87 to -1.0 at .1, -1.37 at .5
        0.05,
        gt=0,
        description="Weights are the softmax of the scores divided by this: lower favours the best.",
    )


def induce_from_vectors(source: Vectors, target: Vectors, options: EmbeddingOptions | None = None) -> pl.DataFrame:
    """`line` (the source word's place in its vectors, from 1), `source`, `target` and `weight` (sums to 1 a source), by
    line, the best first; equal scores by the target's place. Words without a translation have no row."""
    options = options or EmbeddingOptions.from_options({})
    if source.num_dimensions != target.num_dimensions:
        raise InputError(
            f"the vectors of both languages must lie in one space, and have {source.num_dimensions} and "
            f"{target.num_dimensions} dimensions; take vectors aligned with each other, or give a seed dictionary"
        )
    if options.method == "nearest":
        rows, columns, weights = _find_nearest(source, target)
    else:
        rows, columns, scores = match(source.matrix, target.matrix, options)
        weights = softmax(rows, scores, options.temperature)
    return pl.DataFrame(
        {
            "line": rows + 1,
            "source": source.words.gather(rows),
            "target": target.words.gather(columns),
            "weight": weights,
        }
    )


def _find_nearest(source: Vectors, target: Vectors) -> tuple[_Rows, _Rows, NDArray[np.float64]]:
    """As the paper: texts are looked up in lower case, so a word with a capital is never found and is left out."""
    rows = (source.words.str.to_lowercase() == source.words).arg_true().to_numpy().astype(np.int64)
    _, nearest = search(source.matrix[rows], target.matrix, 1)
    return rows, nearest[:, 0], np.ones(len(rows))


def match(source: Matrix, target: Matrix, options: EmbeddingOptions) -> tuple[_Rows, _Rows, NDArray[np.float64]]:
    """Rows of `source` and of `target` that translate each other, and their CSLS scores in [-4, 2]; by source row, the
    best first.

    CSLS (Conneau et al. 2018, https://arxiv.org/abs/1710.04087, eq. 3) is 2 cos(x, y) - r(x) - r(y). Two more
    dimensions make half of it an inner product, [x, -r(x) / 2, 1] [y, 1, -r(y) / 2], so that the search is exact by it.
    """
    neighbours, top_k = options.csls_neighbours, options.max_translations
    source, target = (
        _augment(source, mean_similarity(source, target, neighbours), 0),
        _augment(target, mean_similarity(target, source, neighbours), 1),
    )
    half_scores, found = search(source, target, top_k)
    rows, columns = np.repeat(np.arange(len(source)), found.shape[1]), found.ravel()
    scores = half_scores.ravel().astype(np.float64) * 2
    keep = scores >= options.min_score
    if options.mutual:
        keep[keep] = _are_mutual(source, target, rows[keep], columns[keep], top_k)
    return rows[keep], columns[keep], scores[keep]


def _augment(matrix: Matrix, means: Matrix, side: int) -> Matrix:
    ones = np.ones(len(matrix), np.float32)
    return np.column_stack([matrix, *((means / -2, ones) if side == 0 else (ones, means / -2))])


def _are_mutual(source: Matrix, target: Matrix, rows: _Rows, columns: _Rows, top_k: int) -> NDArray[np.bool_]:
    """Whether each pair's row is among the `top_k` best of its column. Only columns that were found are searched."""
    wanted, places = np.unique(columns, return_inverse=True)
    _, back = search(target[wanted], source, top_k)
    is_mutual: NDArray[np.bool_] = (back[places] == rows[:, None]).any(axis=1)
    return is_mutual


def softmax(rows: _Rows, scores: NDArray[np.float64], temperature: float) -> NDArray[np.float64]:
    """Weights that sum to 1 within equal `rows`, which are sorted with the best score of each first."""
    if len(rows) == 0:
        return np.empty(0)
    starts = np.flatnonzero(np.diff(rows, prepend=rows[0] - 1))
    sizes = np.diff(starts, append=len(rows))
    powers = np.exp((scores - np.repeat(scores[starts], sizes)) / temperature)
    weights: NDArray[np.float64] = powers / np.repeat(np.add.reduceat(powers, starts), sizes)
    return weights
