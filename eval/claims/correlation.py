"""Rank correlation of the distance of two languages with a number of theirs, and its test. Knows no system."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import permutations

import numpy as np
import polars as pl
from numpy.typing import NDArray

from csgen.sources.draws import GOLDEN, counter, mix
from eval.measuring.distance import DISTANCES, language_distance

FEWEST_LANGUAGES = 5  # with four, no more than 24 orders: nearly nothing is rarer than 5 %
_ALL_ORDERS = 7  # languages: 5,040 orders
_ROUNDS = 10_000


@dataclass(frozen=True)
class Correlation:
    rho: float
    p: float  # two-sided
    num_pairs: int
    num_languages: int


def correlate_distance(pairs: Sequence[tuple[str, str]], values: Sequence[float], seed: int) -> Correlation | None:
    """Spearman's rho of the distance (eval.measuring.distance, from near to far) with the values of pairs.

    Pairs share languages, so they are no independent sample: p is the share of the orders of the languages among the
    pairs whose |rho| is as large (Mantel's test, https://aacrjournals.org/cancerres/article/27/2_Part_1/209/476508).
    All orders of up to 7 languages, 10,000 drawn ones of more. None: fewer than 5 languages, one distance, or values
    that are all the same.
    """
    languages = sorted({language for pair in pairs for language in pair})
    if len(languages) < FEWEST_LANGUAGES:
        return None
    distances = np.array([[DISTANCES.index(language_distance(a, b)) for b in languages] for a in languages])
    ends = np.array([[languages.index(language) for language in pair] for pair in pairs])
    ranks = _standardise(_rank(np.asarray(values, np.float64)[None]))[0]
    orders = _list_orders(len(languages), seed)
    rho = _standardise(_rank(distances[orders[:, ends[:, 0]], orders[:, ends[:, 1]]].astype(np.float64))) @ ranks
    if np.isnan(rho[0]):
        return None
    reached = int((np.abs(rho) >= abs(rho[0]) - 1e-9).sum())  # the first order is the languages' own
    return Correlation(float(rho[0]), reached / len(orders), len(pairs), len(languages))


def _list_orders(size: int, seed: int) -> NDArray[np.int64]:
    """(num_orders, size): orders of so many languages, the natural one first."""
    if size <= _ALL_ORDERS:
        return np.array(list(permutations(range(size))))
    places = np.arange(1, _ROUNDS * size + 1, dtype=np.uint64) * np.uint64(GOLDEN)
    draws = mix(mix(np.full(1, counter(seed + 1))) + places).reshape(_ROUNDS, size)
    return np.concatenate([np.arange(size)[None], np.argsort(draws, axis=1)])


def _rank(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    """Ranks within each row; ties have the mean of theirs."""
    frame = pl.DataFrame({"row": np.repeat(np.arange(len(rows)), rows.shape[1]), "value": rows.ravel()})
    return frame.select(pl.col("value").rank("average").over("row")).to_series().to_numpy().reshape(rows.shape)


def _standardise(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    """Each row with mean 0 and length 1, so that a product is a correlation."""
    centred = rows - rows.mean(axis=1, keepdims=True)
    with np.errstate(invalid="ignore"):
        unit: NDArray[np.float64] = centred / np.sqrt((centred**2).sum(axis=1, keepdims=True))
    return unit
