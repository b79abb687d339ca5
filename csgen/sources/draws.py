"""Counter-based draws over columns: 64-bit hashes of texts and numbers, the same on every machine and in any order.

Knows nothing of what is drawn; a draw is a hash of what it is for (seed, query, slot), never a generator's next number.
"""

import numpy as np
import polars as pl
import xxhash
from numpy.typing import NDArray

Words = NDArray[np.uint64]

GOLDEN = 0x9E3779B97F4A7C15
_MASK = (1 << 64) - 1


def mix(words: Words) -> Words:
    """SplitMix64's finaliser on every word (https://doi.org/10.1145/2714064.2660195)."""
    words = (words ^ (words >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    words = (words ^ (words >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return words ^ (words >> np.uint64(31))


def counter(number: int) -> np.uint64:
    """A word far from the words of neighbouring numbers, to add to a hash before it is mixed."""
    return np.uint64(number * GOLDEN & _MASK)


def hash_column(texts: pl.Series) -> Words:
    """`hash_texts` of a column in which texts come again: each distinct one is hashed once."""
    distinct = texts.unique()
    hashes = pl.DataFrame({"text": distinct, "hash": pl.Series(hash_texts(distinct), dtype=pl.UInt64)})
    frame = texts.rename("text").to_frame()
    return frame.join(hashes, on="text", how="left", maintain_order="left")["hash"].to_numpy()


def hash_texts(texts: pl.Series) -> Words:
    """XXH3-64 of every text's UTF-8 bytes; no nulls."""
    return np.fromiter((xxhash.xxh3_64_intdigest(text.encode()) for text in texts), np.uint64, len(texts))
