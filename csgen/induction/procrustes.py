"""Brings the vectors of two languages into one space by a seed dictionary: an orthogonal map, refined step by step.

Orthogonal Procrustes (Schönemann 1966) as Xing et al. 2015 and Smith et al. 2017 use it, refined as MUSE does
(Conneau et al. 2018, https://arxiv.org/abs/1710.04087): mutual nearest neighbours by CSLS are the next dictionary.
"""

from dataclasses import dataclass, field

import numpy as np
import polars as pl
from numpy.typing import NDArray

from csgen.errors import InputError
from csgen.induction.embeddings import EmbeddingOptions, match
from csgen.induction.vectors import Vectors
from csgen.neighbours import Matrix

MIN_SEED_PAIRS = 25  # fewest that Artetxe et al. 2017 (https://aclanthology.org/P17-1042) start from and still converge

_REFINED_WORDS = 15_000  # most frequent ones, as MUSE; rare words' vectors are too noisy to fit by
_MIN_GAIN = 1e-4  # of the mean cosine; a smaller one ends the refinement
_GRID = 2.0**20  # see _rotate
_BLOCK_ROWS = 1 << 14


@dataclass(frozen=True)
class AlignOptions:
    """How the map is refined, and what is done to the vectors before."""

    iterations: int = 5  # of refinement at most, as MUSE; 0: the seed alone
    refined_words: int = _REFINED_WORDS
    # Take off the mean vector of each language: nearest neighbours P@1 .25 -> .30, CSLS .352 -> .353, P@5 .482 -> .490,
    # mutual ones' P@1 times coverage .281 -> .282 (en-it, vectors of Debian's descriptions, MUSE's pairs)
    centre: bool = True
    matching: EmbeddingOptions = field(default_factory=lambda: EmbeddingOptions.from_options({}))  # of the refinement


@dataclass(frozen=True)
class Alignment:
    """Vectors of both languages in one space, and how they came there."""

    source: Vectors
    target: Vectors
    seed_pairs: int  # distinct ones given
    seed_pairs_found: int  # of which both words have a vector
    iterations: pl.DataFrame  # `pairs` that the map was fitted to and their `mean_cosine` after; first the seed's


def align(source: Vectors, target: Vectors, seed: pl.DataFrame, options: AlignOptions | None = None) -> Alignment:
    """Rotate `source` so that the `source` words of the seed come near their `target` words.

    Seed words are looked up as they stand. Centred vectors are other ones on both sides, hence both are returned.
    """
    options = options or AlignOptions()
    if source.num_dimensions != target.num_dimensions:
        raise InputError(
            f"the vectors of both languages need the same dimensions to be aligned, and have {source.num_dimensions} "
            f"and {target.num_dimensions}"
        )
    pairs = seed.select("source", "target").unique(maintain_order=True)
    rows, columns = _look_up(pairs, source, target)
    given, wanted = (_centre(v.matrix) if options.centre else v.matrix for v in (source, target))
    rotated, steps = _refine(given, wanted, rows, columns, options)
    return Alignment(
        Vectors(source.words, rotated, source.skipped),
        Vectors(target.words, wanted, target.skipped),
        len(pairs),
        len(rows),
        pl.DataFrame(steps, {"pairs": pl.Int64, "mean_cosine": pl.Float64}, orient="row"),
    )


def _look_up(pairs: pl.DataFrame, source: Vectors, target: Vectors) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The rows of the seed's words, of those pairs that have both."""
    rows, columns = (
        pairs.select(name).join(
            pl.DataFrame({name: v.words}).with_row_index("row"), on=name, how="left", maintain_order="left"
        )["row"]
        for name, v in (("source", source), ("target", target))
    )
    found = rows.is_not_null() & columns.is_not_null()
    if found.sum() < MIN_SEED_PAIRS:
        raise InputError(
            f"{found.sum()} of {len(pairs)} seed pairs have vectors on both sides ({rows.count()} sources, "
            f"{columns.count()} targets), and {MIN_SEED_PAIRS} are needed; are language and letter case the vectors'?"
        )
    return rows.filter(found).cast(pl.Int64).to_numpy(), columns.filter(found).cast(pl.Int64).to_numpy()


def _refine(
    given: Matrix, wanted: Matrix, rows: NDArray[np.int64], columns: NDArray[np.int64], options: AlignOptions
) -> tuple[Matrix, list[tuple[int, float]]]:
    """The rotated vectors, and for each fit the pairs and their mean cosine. Ends once the same pairs come again, or
    come no nearer."""
    frequent, frequent_wanted = given[: options.refined_words], wanted[: options.refined_words]
    rotation, cosine = _fit(given, wanted, rows, columns)
    steps = [(len(rows), cosine)]
    for _ in range(options.iterations):
        found, matching, _ = match(_rotate(frequent, rotation), frequent_wanted, options.matching)
        if len(found) < MIN_SEED_PAIRS or (np.array_equal(found, rows) and np.array_equal(matching, columns)):
            break
        rows, columns = found, matching
        rotation, cosine = _fit(frequent, frequent_wanted, rows, columns)
        steps.append((len(rows), cosine))
        if len(steps) > 2 and cosine < steps[-2][1] + _MIN_GAIN:  # the seed's own says little of other pairs
            break
    return _rotate(given, rotation), steps


def _fit(
    given: Matrix, wanted: Matrix, rows: NDArray[np.int64], columns: NDArray[np.int64]
) -> tuple[NDArray[np.float64], float]:
    """The map fitted to the pairs, and their mean cosine under it."""
    sources, targets = given[rows], wanted[columns]
    rotation = fit_rotation(sources, targets)
    cosine = np.einsum("ij,ij->", _rotate(sources, rotation), targets, dtype=np.float64) / len(rows)
    return rotation, float(cosine)


def fit_rotation(sources: Matrix, targets: Matrix) -> NDArray[np.float64]:
    """The orthogonal map (num_dimensions, num_dimensions) that brings `sources` nearest to `targets`, row by row.

    Where fewer pairs than dimensions leave it open, it turns as little as it can: without that the singular vectors of
    the null space, and with them the result, would differ from one linear algebra library to the next.
    """
    products = sources.astype(np.float64).T @ targets.astype(np.float64)
    products += np.eye(len(products)) * (1e-6 * max(np.abs(products).max(), np.finfo(np.float64).tiny))
    left, _, right = np.linalg.svd(products)
    rotation: NDArray[np.float64] = np.round(left @ right * _GRID) / _GRID
    return rotation


def _rotate(matrix: Matrix, rotation: NDArray[np.float64]) -> Matrix:
    """`matrix @ rotation` with rows of unit length, the same bits whatever the threads.

    The rotation lies on a grid of 2 ** -20 (which leaves it orthogonal to 1e-5), the vectors on one of 2 ** -24:
    since no partial sum of unit vectors exceeds 1, all sums are then exact in float64.
    """
    rotated = np.empty_like(matrix)
    for start in range(0, len(matrix), _BLOCK_ROWS):
        part = slice(start, start + _BLOCK_ROWS)
        rotated[part] = _to_unit_length(np.round(matrix[part].astype(np.float64) * 2**24) / 2**24 @ rotation)
    return rotated


def _centre(matrix: Matrix) -> Matrix:
    """Each vector less the mean of all, scaled back to unit length (Artetxe et al. 2016, https://aclanthology.org/D16-1250)."""
    mean = matrix.mean(axis=0, dtype=np.float64)
    centred = np.empty_like(matrix)
    for start in range(0, len(matrix), _BLOCK_ROWS):
        part = slice(start, start + _BLOCK_ROWS)
        centred[part] = _to_unit_length(matrix[part] - mean)
    return centred


def _to_unit_length(matrix: NDArray[np.float64]) -> NDArray[np.float64]:
    lengths = np.sqrt(np.einsum("ij,ij->i", matrix, matrix))
    return matrix / np.where(lengths == 0, 1, lengths)[:, None]
