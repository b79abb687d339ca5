"""Which kind of index, and its sizes, from the number of vectors, memory and recall wanted; with the reason.

The rules are those of FAISS's guidelines (https://github.com/facebookresearch/faiss/wiki/Guidelines-to-choose-an-index)
where they say one: exact search has no other kind than flat; between 4 and 16 times sqrt(n) lists, for up to a million
vectors, and 30 to 256 training vectors a list; 4 d + 8 M bytes a vector for hnsw. Two differ. Beyond a million vectors
they put a graph over some 2^16 centroids; here 4 sqrt(n) lists go on, whose exact search costs as much as that of a
few lists, and is the same for all shards and threads. And hnsw, their choice where memory is no concern, must be asked
for: each segment has a graph of its own, so a search costs more with each, and deleted rows stay in its way.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from csgen.errors import InputError
from indexing.vectors.config import Device, Kind, VectorConfig
from indexing.vectors.stored import DTYPES, Precision

LISTED: tuple[Kind, ...] = ("ivf", "sq8", "ivf-pq", "rabitq")  # kinds with inverted lists
CODED: tuple[Kind, ...] = ("sq8", "ivf-pq", "rabitq")  # kinds whose scores are those of codes
_FLAT_BYTES = 128e6  # of all vectors: a search reads them in some 10 ms
_READ_BYTES_A_SECOND = 12e9  # that one machine reads of its memory: for estimates in words
_LISTS = 4.0  # times sqrt(n)
_TRAIN_VECTORS = 64  # a list
_LEAST_VECTORS = 39  # a list: FAISS warns below
_CODE_BOOK = 256  # entries of a code book, each from a vector of its own
_ROW_BYTES = 8  # of a row's number in a list
_GRAPH_BYTES = 12  # of a vector's level and offset in hnsw
_OPTIONS: dict[Kind, tuple[str, ...]] = {
    "flat": (),
    "ivf": ("num_lists", "probes", "train_vectors"),
    "sq8": ("num_lists", "probes", "train_vectors", "refine_factor"),
    "ivf-pq": ("num_lists", "probes", "train_vectors", "refine_factor", "code_bytes"),
    "rabitq": ("num_lists", "probes", "train_vectors", "refine_factor"),
    "hnsw": ("links", "ef_construction", "ef_search"),
}
_ALL_OPTIONS = sorted({option for options in _OPTIONS.values() for option in options})


@dataclass(frozen=True)
class Choice:
    """A kind with all its numbers; 0 stands for what the kind has not.

    probes: 0 until training has measured how many `recall` needs. vector_bytes: memory that a vector takes in search,
    without the exact vectors that refinement reads from disk.
    """

    kind: Kind
    num_vectors: int
    dim: int
    stored: Precision
    num_lists: int
    probes: int
    recall: float
    code_bytes: int
    links: int
    ef_construction: int
    ef_search: int
    refine_factor: float
    train_vectors: int
    seed: int
    device: Device
    vector_bytes: float
    reason: str

    @property
    def least_train_vectors(self) -> int:
        """Vectors that training takes at least: one a list, and 256 for the code books of ivf-pq; 0: it takes none."""
        if self.kind not in LISTED:
            return 0
        return max(self.num_lists, _CODE_BOOK if self.kind == "ivf-pq" else 1)

    def with_probes(self, probes: int, held: float) -> "Choice":
        """With the lists that a query looks into, which hold a share of the nearest vectors."""
        told = (
            f"{self.reason}, of which a query looks into {probes:,}: they hold {100 * held:.1f} % of the nearest of "
            f"vectors in the sample, {100 * self.recall:g} % wanted"
        )
        return replace(self, probes=probes, reason=told)


def choose(num_vectors: int, dim: int, config: VectorConfig) -> Choice:
    """Fill in what `config` leaves open for so many vectors of `dim` dimensions, in all shards together.

    An option that its kind has not, or a code size that does not divide the dimensions, is an InputError.
    """
    if num_vectors < 1 or dim < 1:
        raise InputError(f"an index needs vectors of one dimension or more, got {num_vectors:,} x {dim}")
    limit = _memory_limit(num_vectors, config)
    kind, why = _choose_kind(num_vectors, dim, config, limit)
    unused = [name for name in _ALL_OPTIONS if getattr(config, name) is not None and name not in _OPTIONS[kind]]
    if unused and config.kind != "auto":
        option = unused[0].replace("_", "-")
        raise InputError(f"--{option} says nothing for --kind {kind}: leave it out")
    code_bytes = _choose_code_bytes(dim, config.code_bytes, limit) if kind == "ivf-pq" else 0
    num_lists = _choose_num_lists(num_vectors, config) if kind in LISTED else 0
    links = (config.links or 32) if kind == "hnsw" else 0
    sizes = _Sizes(dim, DTYPES[config.stored].itemsize, code_bytes, links)
    return Choice(
        kind=kind, num_vectors=num_vectors, dim=dim, stored=config.stored, num_lists=num_lists,
        probes=min(num_lists, config.probes or 0), recall=config.recall, code_bytes=code_bytes, links=links,
        ef_construction=(config.ef_construction or 200) if kind == "hnsw" else 0,
        ef_search=(config.ef_search or _choose_ef(config.recall)) if kind == "hnsw" else 0,
        refine_factor=_choose_refinement(kind, config),
        train_vectors=min(config.train_vectors or _TRAIN_VECTORS * num_lists, num_vectors),
        seed=config.seed, device=config.device, vector_bytes=_MEMORY[kind](sizes),
        reason=f"{num_vectors:,} x {dim}: {why}{_explain_lists(num_vectors, num_lists)}",
    )  # fmt: skip


@dataclass(frozen=True)
class _Sizes:
    dim: int
    itemsize: int
    code_bytes: int
    links: int

    @property
    def vector(self) -> int:
        return self.dim * self.itemsize


_MEMORY: dict[Kind, Callable[[_Sizes], float]] = {
    "flat": lambda s: s.vector,
    "ivf": lambda s: s.vector + 2 * _ROW_BYTES,  # and its place in the file
    "sq8": lambda s: s.dim + _ROW_BYTES,
    "ivf-pq": lambda s: s.code_bytes + _ROW_BYTES,
    "rabitq": lambda s: math.ceil(s.dim / 8) + 8 + _ROW_BYTES,  # a bit a dimension, and two numbers
    "hnsw": lambda s: s.vector + 8 * s.links + _GRAPH_BYTES,
}


def _choose_kind(num_vectors: int, dim: int, config: VectorConfig, limit: float) -> tuple[Kind, str]:
    """The kind, and the first half of the reason. limit: bytes a vector."""
    sizes = _Sizes(dim, DTYPES[config.stored].itemsize, 0, 0)
    flat = num_vectors * sizes.vector
    reading = f"a flat search reads {_show_bytes(flat)} a query, {_show_ms(flat)}"
    if config.kind != "auto":
        return config.kind, f"{reading}; {config.kind} as asked"
    room = "" if math.isinf(limit) else f" of the {_show_bytes(limit * num_vectors)} wanted"
    if config.recall == 1:
        return "flat", f"{reading}; only flat finds all, a recall of 1"
    if flat <= _FLAT_BYTES and sizes.vector <= limit:
        return "flat", f"{reading}, so no other kind is worth its losses"
    kinds = _list_by_exactness(sizes, _choose_code_bytes(dim, config.code_bytes, limit))
    for kind, vector_bytes in kinds:
        if vector_bytes <= limit:
            return kind, f"{reading}; {kind} takes {_show_bytes(vector_bytes * num_vectors)} of memory{room}"
    kind, vector_bytes = min(kinds, key=lambda pair: pair[1])
    taken = _show_bytes(vector_bytes * num_vectors)
    return kind, f"{reading}; {kind} takes {taken} of memory, the least of all kinds, but more than is wanted{room}"


def _list_by_exactness(sizes: _Sizes, code_bytes: int) -> Sequence[tuple[Kind, float]]:
    """The kinds with lists and their bytes a vector, the most exact first.

    Codes of ivf-pq of less than a bit a dimension lose more than those of rabitq of the same size.
    """
    fine = code_bytes > sizes.dim / 8
    kinds: list[Kind] = ["ivf", "sq8", "ivf-pq", "rabitq"] if fine else ["ivf", "sq8", "rabitq"]
    full = _Sizes(sizes.dim, sizes.itemsize, code_bytes, 0)
    return [(kind, _MEMORY[kind](full)) for kind in kinds]


def _memory_limit(num_vectors: int, config: VectorConfig) -> float:
    """Bytes a vector that the index may take."""
    total = math.inf if config.memory_gb is None else config.memory_gb * 1e9 / num_vectors
    return min(total, config.vector_bytes or math.inf)


def _choose_code_bytes(dim: int, wanted: int | None, limit: float) -> int:
    """A byte for four dimensions, or less if memory holds no more; a divisor of the dimensions."""
    divisors = [number for number in range(1, dim + 1) if dim % number == 0]
    if wanted is None:
        most = max(1.0, min(dim / 4, limit - _ROW_BYTES))
        return max(number for number in divisors if number <= most)
    if wanted not in divisors:
        near = sorted(sorted(divisors, key=lambda number: abs(number - wanted))[:3])
        raise InputError(
            f"--code-bytes {wanted} must divide the {dim} dimensions: give {', '.join(map(str, near))} or "
            "another divisor"
        )
    return wanted


def _choose_num_lists(num_vectors: int, config: VectorConfig) -> int:
    most = config.train_vectors or num_vectors
    return config.num_lists or max(1, min(round(_LISTS * math.sqrt(num_vectors)), most // _LEAST_VECTORS))


def _choose_ef(recall: float) -> int:
    """64 for a recall of 0.95; a search of hnsw costs about as much as this is large."""
    return max(16, round(64 * math.sqrt(0.05 / max(1 - recall, 1e-3))))


def _choose_refinement(kind: Kind, config: VectorConfig) -> float:
    """Candidates of codes in multiples of top_k: the coarser the codes, the more."""
    if kind not in CODED:
        return 0.0
    if config.refine_factor is not None:
        return config.refine_factor
    usual = {"sq8": 1.5, "ivf-pq": 4.0, "rabitq": 8.0}[kind]
    return usual * (2 if config.recall > 0.97 else 1)


def _explain_lists(num_vectors: int, num_lists: int) -> str:
    if not num_lists:
        return ""
    return (
        f", in {num_lists:,} lists ({num_lists / math.sqrt(num_vectors):.1f} times the square root of the number of "
        "vectors; FAISS's guidelines say 4 to 16)"
    )


def _show_bytes(number: float) -> str:
    """In decimal units, as memory_gb is."""
    for unit, size in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6)):
        if number >= size:
            return f"{number / size:.1f} {unit}"
    return f"{number / 1e3:.1f} kB"


def _show_ms(read_bytes: float) -> str:
    """About how long reading takes."""
    milliseconds = 1e3 * read_bytes / _READ_BYTES_A_SECOND
    return f"some {milliseconds:,.1f} ms" if milliseconds >= 0.1 else "less than 0.1 ms"
