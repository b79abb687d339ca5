"""Whether differences between systems are more than chance: tests, corrections, intervals, seeds, sample sizes.

Knows arrays of values with a row for each query; no systems, no measures. The t distribution needs the extra `eval`.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from csgen.errors import InputError
from csgen.sources.draws import GOLDEN, Words, counter, mix

Values = NDArray[np.float64]

FEWEST_QUERIES, ENOUGH_QUERIES = 25, 50  # "at least 25 and 50 is better": https://doi.org/10.1145/345508.345543
# At once: they stay in the cache, and with up to four columns OpenBLAS multiplies them in one thread, as it starts more
# only above 2^18 products. On a busy machine its threads wait for one another: 120 ms in place of 8.
_BLOCK_DRAWS = 1 << 16
_ROUNDING = 1e-12  # what is smaller comes of rounding: a difference, or two sums' in relation to what is summed


def paired_t(differences: ArrayLike) -> Values:
    """Two-sided p of Student's paired t-test that the mean of the differences is 0.

    `differences`: (num_queries, ...), tested along the first axis; p has the shape of the others. NaN for fewer than
    two queries; 1 where all differences are 0 (or come of rounding), 0 where all are the same and not 0.
    """
    values = _clean(differences)
    num_queries = len(values)
    if num_queries < 2:
        return np.full(values.shape[1:], np.nan)[()]
    return _two_sided(values.mean(axis=0), values.std(axis=0, ddof=1) / num_queries**0.5, num_queries - 1)


def randomisation(differences: ArrayLike, seed: int, rounds: int = 10_000) -> Values:
    """Two-sided p of Fisher's randomisation test: how often random signs give a mean at least as far from 0.

    Shapes as for `paired_t`. p = (b + 1) / (rounds + 1), where b of the rounds reach the mean that was seen, so it is
    never 0 (https://doi.org/10.2202/1544-6115.1585). A sign is a hash of seed, round and row, the same for all
    columns: keep the rows in order of query id. NaN for fewer than two queries.
    """
    values = _clean(differences)
    if len(values) < 2:
        return np.full(values.shape[1:], np.nan)[()]
    columns = values.reshape(len(values), -1)
    total = columns.sum(axis=0)
    bar = np.abs(total) - _ROUNDING * np.abs(columns).sum(axis=0)
    reached = np.zeros(columns.shape[1], np.int64)
    for keep in _draw_signs(len(values), seed, rounds):
        reached += (np.abs(2 * (keep @ columns) - total) >= bar).sum(axis=0)
    p = np.where(np.isnan(total), np.nan, (reached + 1) / (rounds + 1))
    return p.reshape(values.shape[1:])[()]


def bonferroni(p: ArrayLike) -> Values:
    """p times the size of the family, at most 1. NaN stays NaN and does not count."""
    values = np.asarray(p, np.float64)
    return np.minimum(values * np.count_nonzero(~np.isnan(values)), 1.0)


def holm(p: ArrayLike) -> Values:
    """Holm's step-down correction over the whole family, at most 1. NaN stays NaN and does not count.

    The smallest of m p is multiplied by m, the next by m - 1, and none gets less than a smaller one got
    (https://www.jstor.org/stable/4615733).
    """
    values = np.asarray(p, np.float64)
    order = np.argsort(values, axis=None)  # NaN comes last
    ordered = values.ravel()[order]
    ordered = ordered[~np.isnan(ordered)]
    corrected = np.full(values.size, np.nan)
    steps = np.arange(len(ordered), 0, -1)
    corrected[order[: len(ordered)]] = np.minimum(np.maximum.accumulate(ordered * steps), 1.0)
    return corrected.reshape(values.shape)


def bootstrap_interval(values: ArrayLike, seed: int, rounds: int = 2000, level: float = 0.95) -> tuple[Values, Values]:
    """The lower and the upper end of the percentile bootstrap interval of the mean over queries.

    `values`: (num_queries, ...); the ends have the shape of the other axes. Queries are drawn with replacement, the
    same ones for all columns; a draw is a hash of seed, round and place. No queries: NaN; one: its value twice.
    """
    array = np.asarray(values, np.float64)
    if not len(array):
        nothing = np.full(array.shape[1:], np.nan)[()]
        return nothing, nothing
    columns = array.reshape(len(array), -1)
    # Around the first row, so that equal values give an interval of no width in spite of rounding.
    means = np.concatenate([times @ (columns - columns[0]) for times in _draw_samples(len(array), seed, rounds)])
    ends = np.quantile(means / len(array), [(1 - level) / 2, (1 + level) / 2], axis=0) + columns[0]
    low, high = (end.reshape(array.shape[1:])[()] for end in ends)
    return low, high


@dataclass(frozen=True)
class SeedComparison:
    """The mean difference of two systems over seeds and queries, both taken as samples."""

    mean: float
    standard_error: float
    degrees_of_freedom: float
    p: float  # two-sided


def compare_seeds(differences: ArrayLike) -> SeedComparison:
    """Test the mean of (num_seeds, num_queries) differences with seeds and queries as crossed random effects.

    Means hold for other seeds and other queries alike: Var(mean) = (MS_seed + MS_query - MS_residual) / (S Q), the sum
    of the estimated components of variance (Brennan, Generalizability Theory,
    https://doi.org/10.1007/978-1-4757-3456-0), with Satterthwaite's degrees of freedom
    (https://doi.org/10.2307/3002019). A component estimated below 0 counts as 0: where seeds differ by no more than
    the residual, this is the paired t-test of the means over seeds. One seed: exactly `paired_t`. Fewer than two
    queries: NaN; all differences 0: p is 1; all the same and not 0: p is 0.
    """
    values = _clean(differences)
    num_seeds, num_queries = values.shape
    mean = float(values.mean()) if values.size else np.nan
    if num_queries < 2:
        return SeedComparison(mean, np.nan, np.nan, np.nan)
    by_seed, by_query = values.mean(axis=1), values.mean(axis=0)
    ms_seed, ms_query, ms_residual = 0.0, num_seeds * float(by_query.var(ddof=1)), 0.0
    df_seed, df_query, df_residual = num_seeds - 1, num_queries - 1, (num_seeds - 1) * (num_queries - 1)
    if df_seed:
        ms_seed = num_queries * float(by_seed.var(ddof=1))
        ms_residual = float(((values - by_seed[:, None] - by_query + mean) ** 2).sum()) / df_residual
    has_seed, has_query = ms_seed > ms_residual, ms_query > ms_residual
    parts = (
        (has_seed * ms_seed, df_seed),
        (has_query * ms_query, df_query),
        ((1 - has_seed - has_query) * ms_residual, df_residual),
    )
    total = sum(part for part, _ in parts)
    df = total**2 / sum(part**2 / df for part, df in parts if part) if total else float(df_query)
    error = (total / values.size) ** 0.5
    return SeedComparison(mean, error, df, float(_two_sided(mean, error, df)))


def detectable_difference(deviation: float, num_queries: int, power: float = 0.8, level: float = 0.05) -> float:
    """The smallest mean difference that a two-sided paired t-test finds with this power.

    `deviation` is the standard deviation of the queries' differences. From quantiles of t in place of the noncentral t,
    which is right to 1 % from 10 queries on. NaN for fewer than two queries.
    """
    if num_queries < 2:
        return np.nan
    stdtrit = _import_special().stdtrit
    quantiles = stdtrit(num_queries - 1, 1 - level / 2) + stdtrit(num_queries - 1, power)
    return float(quantiles * deviation / num_queries**0.5)


def minimum_sample_warning(num_queries: int, deviation: float = np.nan) -> str | None:
    """A sentence where there are too few queries (under 50) for stable results; None where there are enough.

    With the standard deviation of the queries' differences it tells what difference so few queries can show.
    """
    if num_queries >= ENOUGH_QUERIES:
        return None
    sentence = (
        f"{num_queries} judged {'query' if num_queries == 1 else 'queries'}: a stable comparison needs at least "
        f"{FEWEST_QUERIES}, and {ENOUGH_QUERIES} are better (Buckley and Voorhees 2000)"
    )
    difference = detectable_difference(deviation, num_queries)
    if np.isnan(difference):
        return sentence
    return f"{sentence}; a difference under {difference:.3f} would be missed in more than one of five such samples"


def _clean(differences: ArrayLike) -> Values:
    """The differences, of measures in [0, 1], with those that come of rounding as 0: else all alike would have p 0."""
    values = np.asarray(differences, np.float64)
    return np.where(np.abs(values) < _ROUNDING, 0.0, values)


def _two_sided(mean: ArrayLike, error: ArrayLike, df: float) -> Values:
    with np.errstate(divide="ignore", invalid="ignore"):
        t = np.where(np.equal(mean, 0), 0.0, np.abs(mean) / np.asarray(error))
    p: Values = 2 * _import_special().stdtr(df, -t)
    return p


def _import_special() -> Any:
    try:
        import scipy.special
    except ImportError as error:
        raise InputError("significance tests need scipy: pip install 'csgen[eval]'") from error
    return scipy.special


# Draws: word k of a seed is the k-th number of SplitMix64, so that any part of them can be made alone.


def _draw_signs(num_queries: int, seed: int, rounds: int) -> Iterator[Values]:
    """Blocks of (rounds, num_queries) of 1 or 0: whether a difference keeps its sign; a bit each."""
    width = -(-num_queries // 64)
    for first, size in _blocks(rounds, num_queries):
        octets = _words(seed, first * width, size * width).astype("<u8", copy=False).view(np.uint8)
        bits = np.unpackbits(octets.reshape(size, -1), axis=1, count=num_queries, bitorder="little")
        yield bits.astype(np.float64)


def _draw_samples(num_queries: int, seed: int, rounds: int) -> Iterator[Values]:
    """Blocks of (rounds, num_queries): how often each query is drawn; a draw takes 32 bits."""
    width = -(-num_queries // 2)
    for first, size in _blocks(rounds, num_queries):
        halves = _words(seed, first * width, size * width).astype("<u8", copy=False).view("<u4")
        drawn = halves.reshape(size, -1)[:, :num_queries].astype(np.uint64) * np.uint64(num_queries) >> np.uint64(32)
        places = drawn.astype(np.int64) + np.arange(0, size * num_queries, num_queries)[:, None]
        times = np.bincount(places.ravel(), minlength=size * num_queries)
        yield times.reshape(size, num_queries).astype(np.float64)


def _blocks(rounds: int, num_queries: int) -> Iterator[tuple[int, int]]:
    """The first round and the number of rounds of each block."""
    step = max(1, _BLOCK_DRAWS // num_queries)
    yield from ((first, min(step, rounds - first)) for first in range(0, rounds, step))


def _words(seed: int, first: int, number: int) -> Words:
    places = np.arange(first + 1, first + number + 1, dtype=np.uint64) * np.uint64(GOLDEN)
    return mix(mix(np.full(1, counter(seed + 1))) + places)
