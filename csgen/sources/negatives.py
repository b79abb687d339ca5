"""Training pairs with negatives: for each query its passage, hard negatives by BM25, and random ones for the rest.

Knows tables of queries and passages and which passages are alike; not where they come from.
"""

import logging
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from csgen.errors import InputError
from csgen.sources.draws import Words, counter, hash_texts, mix

Rows = NDArray[np.int64]

BM25_DEPTH = 50  # hard negatives are drawn from so many best hits, less those in the true passage's group
WORTH_COMPILING = 10_000_000  # queries x passages: below, bm25s takes less time in NumPy than Numba takes to compile
UNFILLED = -1


def pair_with_negatives(
    queries: pl.DataFrame, passages: pl.DataFrame, *, negatives: int, hard_negatives: int, seed: int
) -> pl.DataFrame:
    """Pairs by query id, the positive one first, then `negatives` others: hard ones, then random ones.

    `queries` has `query_id, query, passage_id` (its one true passage), `passages` has `passage_id, passage, group`. No
    negative is in the group of the true passage. Where BM25 finds fewer than `hard_negatives`, random ones stand in.
    The result depends on the set of rows and the seed, not on the order of rows.
    """
    queries, passages = queries.sort("query_id"), passages.sort("passage_id")
    true_rows = passages["passage_id"].search_sorted(queries["passage_id"]).to_numpy().astype(np.int64)
    groups = passages["group"].rank("dense").to_numpy().astype(np.int64) - 1
    _refuse_too_few(groups, true_rows, negatives)
    keys = mix(hash_texts(queries["query_id"]) ^ mix(np.full(len(queries), counter(seed + 1))))
    chosen = np.full((len(queries), negatives), UNFILLED, np.int64)
    if hard_negatives:
        hits, scores = rank_by_bm25(queries["query"], passages["passage"], BM25_DEPTH)
        allowed = (scores > 0) & (groups[hits] != groups[true_rows, None])
        draws = mix(keys[:, None] ^ hash_texts(passages["passage_id"])[hits])
        chosen[:, :hard_negatives] = _choose(hits, allowed, draws, hard_negatives)
    _fill_at_random(chosen, groups, groups[true_rows], keys)
    return _lay_out(queries, passages, np.column_stack([true_rows, chosen]))


def rank_by_bm25(queries: pl.Series, passages: pl.Series, depth: int) -> tuple[Rows, NDArray[np.float32]]:
    """Rows and scores of each query's best passages, both (queries, at most `depth`); score 0: no word in common."""
    bm25s = _import_bm25s()
    from numba import get_num_threads

    compiled = len(queries) * len(passages) > WORTH_COMPILING
    quiet: dict[str, Any] = {"show_progress": False}
    depth = min(depth, len(passages))
    tokens = bm25s.tokenize(passages.to_list(), stopwords="en", **quiet)
    if not any(tokens.ids):  # bm25s cannot index them
        return np.zeros((len(queries), depth), np.int64), np.zeros((len(queries), depth), np.float32)
    index = bm25s.BM25(backend="numba" if compiled else "numpy")
    index.index(tokens, **quiet)
    words = bm25s.tokenize(queries.to_list(), stopwords="en", return_ids=False, **quiet)
    # bm25s 0.3.16 refuses the whole batch if its first query has no word; an unknown word does as well as none.
    words = [query or ["\0"] for query in words]
    found = index.retrieve(words, k=depth, n_threads=get_num_threads() if compiled else 0, **quiet)
    return found.documents.astype(np.int64), found.scores


def _import_bm25s() -> Any:
    try:
        import bm25s
    except ImportError as error:
        raise InputError("hard negatives need bm25s: pip install 'csgen[fetch]', or give --hard-negatives 0") from error
    logging.getLogger("bm25s").setLevel(logging.WARNING)  # on import it asks for everything down to DEBUG
    return bm25s


def _refuse_too_few(groups: Rows, true_rows: Rows, negatives: int) -> None:
    outside = len(groups) - np.bincount(groups)[groups[true_rows]] if len(groups) else np.zeros(0, np.int64)
    if len(outside) and outside.min() < negatives:
        raise InputError(
            f"{negatives} negatives a query were asked for, but a query has only {outside.min()} passages that are not "
            "its own or near-duplicates of it: give fewer --negatives"
        )


def _choose(hits: Rows, allowed: NDArray[np.bool_], draws: Words, number: int) -> Rows:
    """Of each row's allowed hits the `number` with the lowest draws, UNFILLED where there are fewer."""
    order = np.lexsort((draws, ~allowed), axis=1)[:, :number]
    chosen = np.where(np.take_along_axis(allowed, order, axis=1), np.take_along_axis(hits, order, axis=1), UNFILLED)
    missing = np.full((len(hits), number - chosen.shape[1]), UNFILLED)
    return np.concatenate([chosen, missing], axis=1)


def _fill_at_random(chosen: Rows, groups: Rows, true_groups: Rows, keys: Words) -> None:
    """Fill what is UNFILLED; a draw is a hash of (key, slot, attempt), drawn again where it may not stand."""
    for slot in range(chosen.shape[1]):
        open_rows = np.flatnonzero(chosen[:, slot] == UNFILLED)
        attempt = 0
        while len(open_rows):
            draws = mix(mix(keys[open_rows] + counter(slot + 1)) + counter(attempt))
            drawn = (draws % np.uint64(len(groups))).astype(np.int64)
            fits = (groups[drawn] != true_groups[open_rows]) & (chosen[open_rows] != drawn[:, None]).all(axis=1)
            chosen[open_rows[fits], slot] = drawn[fits]
            open_rows = open_rows[~fits]
            attempt += 1


def _lay_out(queries: pl.DataFrame, passages: pl.DataFrame, rows: Rows) -> pl.DataFrame:
    """The table of pairs: row i of `rows` holds query i's passages, the true one first."""
    width = rows.shape[1]
    labels = np.zeros(rows.shape, np.int8)
    labels[:, 0] = 1
    pairs = queries.select("query_id", "query")[np.repeat(np.arange(len(rows)), width)]
    return pairs.hstack(passages.select("passage_id", "passage")[rows.ravel()]).with_columns(label=labels.ravel())
