"""Near-duplicate texts: MinHash over word shingles, banded, so that the work grows with the texts and not their pairs.

Knows texts and their rows alone, not what they belong to.
"""

import numpy as np
import polars as pl
import pyarrow.compute as pc
from numpy.typing import NDArray

from csgen.sources.draws import Words, counter, hash_texts, mix

Rows = NDArray[np.int64]

SHINGLE_WORDS = 3
NUM_HASHES = 128  # the estimate of a similarity of 0.75 has a standard deviation of 0.04
BANDS = 32  # of 4 hashes: a pair at 0.75 shares a band, and so is compared, in all but 1 of 150,000 cases
SIMILARITY = 0.75  # joins the boilerplate of 1,061 Rust crates, 1.7 % of Debian; at 0.7 whole families hang together


def find_near_duplicates(texts: pl.Series) -> Rows:
    """The smallest row of each text's cluster; texts equal but for case, spaces and punctuation always share one.

    Two texts are near-duplicates at a Jaccard similarity of some SIMILARITY or more (estimated) between their sets of
    word shingles; clusters are the connected components of the pairs found. The order of the rows may decide which
    pairs of a crowded band are compared, so sort by id first.
    """
    signatures = _sign(*_hash_shingles(texts))
    width = NUM_HASHES // BANDS
    links = [_link(signatures, signatures[:, band * width : (band + 1) * width]) for band in range(BANDS)]
    left, right = np.concatenate(links, axis=1)
    return connect(len(texts), left, right)


def connect(num_rows: int, left: Rows, right: Rows) -> Rows:
    """The smallest row that each of `num_rows` rows is connected to, where row left[i] is linked to right[i]."""
    labels = np.arange(num_rows)
    while True:
        lowest = np.minimum(labels[left], labels[right])
        joined = labels.copy()
        np.minimum.at(joined, labels[left], lowest)
        np.minimum.at(joined, labels[right], lowest)
        while (joined[joined] != joined).any():
            joined = joined[joined]
        if (joined == labels).all():
            return labels
        labels = joined


def _hash_shingles(texts: pl.Series) -> tuple[Words, Rows]:
    """The hash of every shingle, text after text, and where each text's begin: one more than it has words."""
    words = texts.str.to_lowercase().str.extract_all(r"\w+")
    counts = words.list.len().to_numpy().astype(np.int64)
    padding = pl.Series([[""]], dtype=pl.List(pl.String))
    padded = pl.select(pl.concat_list(padding, words, padding, padding)).to_series().explode()
    encoded = pc.dictionary_encode(padded.to_arrow())
    hashes = hash_texts(pl.Series(encoded.dictionary))[encoded.indices.to_numpy()]
    shingles = mix(hashes[: 1 - SHINGLE_WORDS])
    for shift in range(1, SHINGLE_WORDS):
        shingles = mix(shingles + hashes[shift : len(hashes) - SHINGLE_WORDS + 1 + shift])
    ends = np.cumsum(counts + SHINGLE_WORDS)
    across_texts = np.add.outer(ends[:-1], np.arange(1 - SHINGLE_WORDS, 0)).ravel()
    return np.delete(shingles, across_texts), np.concatenate([[0], np.cumsum(counts + 1)[:-1]])


def _sign(shingles: Words, starts: Rows) -> NDArray[np.uint32]:
    """MinHash signatures: (texts, NUM_HASHES)."""
    signatures = np.empty((len(starts), NUM_HASHES), np.uint32)
    # Odd multipliers permute the 64-bit words; random ones, since minima under small multiples of one are alike.
    multipliers = mix(np.array([counter(column + 1) for column in range(NUM_HASHES)])) | np.uint64(1)
    for column, multiplier in enumerate(multipliers):
        permuted = (shingles * multiplier) >> np.uint64(32)
        signatures[:, column] = np.minimum.reduceat(permuted.astype(np.uint32), starts)
    return signatures


def _link(signatures: NDArray[np.uint32], band: NDArray[np.uint32]) -> NDArray[np.int64]:
    """(2, links): each text and the first text with the same band, where their signatures agree well enough."""
    _, first, bucket = np.unique(np.ascontiguousarray(band), axis=0, return_index=True, return_inverse=True)
    rows = np.arange(len(band))
    heads = first[bucket.ravel()]
    rows, heads = rows[heads != rows], heads[heads != rows]
    alike = (signatures[rows] == signatures[heads]).mean(axis=1) >= SIMILARITY
    return np.stack([rows[alike], heads[alike]])
