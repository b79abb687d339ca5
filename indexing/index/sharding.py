"""Which shard a passage belongs to, by its address or by its language, whatever else is in the index.

By address: the hash of LANGUAGE/PASSAGE_ID, modulo the number of shards. By language: the language's place among those
that the sharding names, or the hash of any other language's code, modulo the number of shards; so all passages of a
language are in one shard. The hash is XXH64 of UTF-8, the one by which a table finds its rows. Knows no file.
"""

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from indexing.index.settings import Sharding
from indexing.passages.rows import make_addresses
from indexing.passages.strings import as_strings, hash_strings

Words = NDArray[np.uint64]


def hash_addresses(languages: pa.Array, passage_ids: pa.Array) -> Words:
    """The hash of each address; of a null language or id that of nothing."""
    return hash_strings(as_strings(make_addresses(languages, passage_ids)))


def shard_passages(sharding: Sharding, languages: pa.Array, passage_ids: pa.Array) -> NDArray[np.int64]:
    """The shard of each passage, 0 to num_shards - 1; one that has no language or no id goes anywhere."""
    if sharding.by == "address":
        return (hash_addresses(languages, passage_ids) % np.uint64(sharding.num_shards)).astype(np.int64)
    encoded = as_strings(languages).fill_null("").dictionary_encode()
    shards: NDArray[np.int64] = shard_languages(sharding, encoded.dictionary)[encoded.indices.to_numpy()]
    return shards


def shard_languages(sharding: Sharding, languages: pa.Array) -> NDArray[np.int64]:
    """The shard of each language, where passages are sharded by language."""
    names = as_strings(languages)
    places = hash_strings(names)
    for i, name in enumerate(names.to_pylist()):
        if name in sharding.languages:
            places[i] = sharding.languages.index(name)
    return (places % np.uint64(sharding.num_shards)).astype(np.int64)
