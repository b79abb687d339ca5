"""How many lists a query must look into: measured on the training sample, before there is any segment.

Vectors of the sample are the queries. Real ones may lie farther from passages than passages from each other, in another
language above all; then more lists are needed for the same recall.
"""

import numpy as np

from csgen.neighbours import search
from indexing.vectors.centroids import Assign
from indexing.vectors.kernels import multiply
from indexing.vectors.stored import Matrix

_QUERIES = 256
_NEIGHBOURS, _LEAST_NEIGHBOURS = 100, 10  # of a query among all vectors; at least, in the sample
LEAST_PROBES = 8


def measure_probes(
    sample: Matrix, centroids: Matrix, num_vectors: int, recall: float, assign: Assign, num_threads: int
) -> tuple[int, float]:
    """The fewest lists, 8 or more if there are, that hold the wanted share of the nearest; and the share they hold.

    sample: (vectors, dimensions) of num_vectors in all; the nearest are as many in it as 100 are among all. The same
    for any `num_threads`.
    """
    rows = np.linspace(0, len(sample) - 1, min(_QUERIES, len(sample))).astype(np.int64)
    wanted = max(_LEAST_NEIGHBOURS, round(_NEIGHBOURS * len(sample) / num_vectors))
    nearest = search(sample[rows], sample, min(wanted + 1, len(sample)), num_threads=num_threads)[1]
    is_other = nearest != rows[:, None]
    scores = np.empty((len(rows), len(centroids)), np.float32)
    multiply(sample[rows], centroids, scores)
    owners = assign(sample[nearest.ravel()], centroids).reshape(nearest.shape)
    own_scores = np.take_along_axis(scores, owners, axis=1)
    ordered = np.sort(scores, axis=1)
    ranks = np.array(
        [len(centroids) - np.searchsorted(*pair, "right") for pair in zip(ordered, own_scores, strict=True)]
    )
    found = np.sort(ranks[is_other])  # 0: in the nearest list
    if not len(found):
        return 1, 1.0
    probes = int(found[max(int(np.ceil(recall * len(found))) - 1, 0)]) + 1
    probes = min(max(probes, LEAST_PROBES), len(centroids))
    return probes, float((found < probes).mean())
