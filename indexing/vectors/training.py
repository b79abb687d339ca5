"""What all segments of all shards share: coarse centroids and code books, trained once from a sample of vectors.

The same sample, choice and seed give the same files for any number of threads: centroids are exact, and FAISS trains
its code books on one thread. A GPU finds centroids that may differ in the last bits.
"""

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from csgen.errors import InputError
from csgen.files import hash_file, replace_file
from indexing.vectors.centroids import Assign, Centroids, assign_exactly, find_centroids
from indexing.vectors.choice import LISTED, Choice
from indexing.vectors.config import Kind
from indexing.vectors.gpu import assign_on_gpu
from indexing.vectors.kernels import multiply
from indexing.vectors.library import faiss_threads, load_faiss
from indexing.vectors.probing import measure_probes
from indexing.vectors.stored import Matrix, check_vectors, read_blocks
from indexing.vectors.threads import count_threads

TRAINED_NAME = "trained.json"
CENTROIDS_NAME, CODER_NAME = "centroids.npy", "coder.faiss"
ROTATION_NAME, TURNED_NAME = "rotation.npy", "turned.npy"  # of rabitq: and the centroids turned by it


@dataclass(frozen=True)
class Trained:
    """Loaded training. fingerprint: a hash of all of it, by which a segment knows its own.

    lists: None for flat and hnsw, which have no training.
    """

    folder: str
    choice: Choice
    fingerprint: str
    lists: "TrainedLists | None"


@dataclass(frozen=True)
class TrainedLists:
    """rotation: (dimensions, dimensions) that rabitq needs; None elsewhere. quantizer: FAISS's flat index of the
    centroids, rotated. coder: FAISS's index without rows and centroids, as bytes."""

    centroids: Centroids
    rotation: Matrix | None
    quantizer: Any
    coder: NDArray[np.uint8]

    def new_index(self) -> Any:
        """A FAISS index without rows that shares the centroids."""
        index = load_faiss().deserialize_index(self.coder)
        index.quantizer, index.own_fields = self.quantizer, False
        return index

    def rotate(self, vectors: Matrix) -> Matrix:
        """The vectors as the index takes them."""
        return vectors if self.rotation is None else _rotate(vectors, self.rotation)


def train(sample: Any, choice: Choice, folder: str, *, num_threads: int | None = None) -> Trained:
    """Train on (vectors, dimensions) floats and write the result to `folder`; flat and hnsw look at no sample."""
    hashes = {}
    if choice.kind in LISTED:
        vectors = _check_sample(sample, choice)
        assign = choose_assignment(choice, num_threads)
        names = _train_lists(vectors, choice, folder, assign)
        hashes = {name: hash_file(str(Path(folder, name))) for name in names}
        if not choice.probes:
            centroids = np.load(Path(folder, CENTROIDS_NAME))
            measured = measure_probes(
                vectors, centroids, choice.num_vectors, choice.recall, assign, count_threads(num_threads)
            )
            choice = choice.with_probes(*measured)
    with replace_file(str(Path(folder, TRAINED_NAME))) as stream:
        content = {"choice": asdict(choice), "files": hashes}
        stream.write(json.dumps(content, indent=1, sort_keys=True).encode() + b"\n")
    return load_trained(folder)


def load_trained(folder: str) -> Trained:
    """What `train` wrote, read whole; a file that is not as it was written is an InputError that names it."""
    path = Path(folder, TRAINED_NAME)
    try:
        content = json.loads(path.read_bytes())
        choice, files = Choice(**content["choice"]), dict(content["files"])
    except OSError as error:
        raise InputError.at(str(path), None, "no such file: not a folder of trained centroids") from error
    except (ValueError, KeyError, TypeError) as error:
        raise InputError.at(str(path), None, f"altered: {error}") from error
    for file, digest in ((Path(folder, name), digest) for name, digest in files.items()):
        if not file.is_file():
            raise InputError.at(str(file), None, "missing: train anew or restore it")
        if hash_file(str(file)) != digest:
            raise InputError.at(str(file), None, "altered since training: train anew or restore it")
    lists = _load_lists(folder, choice.kind) if choice.kind in LISTED else None
    return Trained(folder, choice, hash_file(str(path)), lists)


def _load_lists(folder: str, kind: Kind) -> TrainedLists:
    centroids = turned = np.load(Path(folder, CENTROIDS_NAME))
    rotation = None
    if kind == "rabitq":
        rotation, turned = (np.load(Path(folder, name)) for name in (ROTATION_NAME, TURNED_NAME))
    coder = np.fromfile(Path(folder, CODER_NAME), np.uint8)
    return TrainedLists(Centroids.of(centroids), rotation, _make_quantizer(turned), coder)


def _check_sample(sample: Any, choice: Choice) -> Matrix:
    check_vectors(sample, choice.dim)
    vectors = np.concatenate([block for _, block in read_blocks(sample)])
    if not np.isfinite(vectors).all():
        row = int(np.flatnonzero(~np.isfinite(vectors).all(axis=1))[0])
        raise InputError(f"row {row} of the training sample is not finite")
    least = choice.least_train_vectors
    if len(vectors) < least:
        raise InputError(
            f"{choice.num_lists:,} lists of kind {choice.kind} need {least:,} training vectors or more, got "
            f"{len(vectors):,}: give a larger sample or fewer lists (--num-lists)"
        )
    return vectors


def choose_assignment(choice: Choice, num_threads: int | None) -> Assign:
    """How vectors find their centroids: on the GPU, or exactly on threads."""
    if choice.device == "gpu":
        return assign_on_gpu
    return partial(assign_exactly, num_threads=count_threads(num_threads))


def _train_lists(sample: Matrix, choice: Choice, folder: str, assign: Assign) -> list[str]:
    """Write the files of a kind with lists; their names."""
    centroids = find_centroids(sample, choice.num_lists, choice.seed, assign)
    arrays = {CENTROIDS_NAME: centroids}
    with faiss_threads(1) as faiss:
        if choice.kind == "rabitq":
            turn = faiss.RandomRotationMatrix(choice.dim, choice.dim)
            turn.init(choice.seed)
            rotation = faiss.vector_to_array(turn.A).reshape(choice.dim, choice.dim)
            sample, centroids = _rotate(sample, rotation), _rotate(centroids, rotation)
            arrays |= {ROTATION_NAME: rotation, TURNED_NAME: centroids}
        quantizer, empty = _make_quantizer(centroids), faiss.IndexFlatIP(choice.dim)
        index = _MAKERS[choice.kind](faiss, quantizer, choice)
        index.train(sample)
        index.quantizer, index.own_fields = empty, False  # the centroids are kept once
        coder = faiss.serialize_index(index)
    for name, array in arrays.items():
        with replace_file(str(Path(folder, name))) as stream:
            np.save(stream, array)
    with replace_file(str(Path(folder, CODER_NAME))) as stream:
        stream.write(coder.tobytes())
    return [*arrays, CODER_NAME]


def _make_ivf(faiss: Any, quantizer: Any, choice: Choice) -> Any:
    sizes, metric = (quantizer, choice.dim, choice.num_lists), faiss.METRIC_INNER_PRODUCT
    if choice.stored == "float32":
        return faiss.IndexIVFFlat(*sizes, metric)
    return faiss.IndexIVFScalarQuantizer(*sizes, faiss.ScalarQuantizer.QT_fp16, metric, False)


def _make_sq8(faiss: Any, quantizer: Any, choice: Choice) -> Any:
    sizes, bits = (quantizer, choice.dim, choice.num_lists), faiss.ScalarQuantizer.QT_8bit
    return faiss.IndexIVFScalarQuantizer(*sizes, bits, faiss.METRIC_INNER_PRODUCT, True)


def _make_ivf_pq(faiss: Any, quantizer: Any, choice: Choice) -> Any:
    sizes = (quantizer, choice.dim, choice.num_lists, choice.code_bytes, 8)
    index = faiss.IndexIVFPQ(*sizes, faiss.METRIC_INNER_PRODUCT)
    index.pq.cp.seed = choice.seed
    index.pq.cp.min_points_per_centroid = 1  # else FAISS warns on standard error
    return index


def _make_rabitq(faiss: Any, quantizer: Any, choice: Choice) -> Any:
    return faiss.IndexIVFRaBitQ(quantizer, choice.dim, choice.num_lists, faiss.METRIC_INNER_PRODUCT)


_MAKERS: dict[Kind, Callable[[Any, Any, Choice], Any]] = {
    "ivf": _make_ivf,
    "sq8": _make_sq8,
    "ivf-pq": _make_ivf_pq,
    "rabitq": _make_rabitq,
}


def _make_quantizer(centroids: Matrix) -> Any:
    quantizer = load_faiss().IndexFlatIP(centroids.shape[1])
    quantizer.add(centroids)
    return quantizer


def _rotate(vectors: Matrix, rotation: Matrix) -> Matrix:
    """Each vector turned, whatever the others."""
    turned = np.empty(vectors.shape, np.float32)
    multiply(np.ascontiguousarray(vectors, np.float32), rotation, turned)
    return turned
