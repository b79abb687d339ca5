"""Options of a vector index: its kind and sizes, each to be given or to be chosen."""

from typing import Literal

from pydantic import Field

from csgen.config import StageConfig
from indexing.vectors.stored import Precision

Kind = Literal["flat", "ivf", "ivf-pq", "hnsw", "sq8", "rabitq"]
Device = Literal["cpu", "gpu"]


class VectorConfig(StageConfig):
    """What stands as None is chosen from the number of vectors, memory_gb or vector_bytes, and recall."""

    kind: Literal["auto", Kind] = Field(
        "auto",
        description="flat: exact search of all vectors; ivf: of the lists nearest to the query; ivf-pq, sq8, rabitq: "
        "lists of codes of some, dimensions, and dimensions / 8 bytes, refined by the exact vectors; hnsw: a graph; "
        "auto: flat where small, else the most exact kind that memory holds",
    )
    stored: Precision = Field(
        "float32", description="how the exact vectors are kept: float32 or float16, half the size"
    )
    num_lists: int | None = Field(None, ge=1, description="lists of ivf, ivf-pq, sq8 and rabitq, 1 or more")
    probes: int | None = Field(
        None, ge=1, description="lists that a query looks into, 1 or more; none: as recall needs"
    )
    code_bytes: int | None = Field(
        None, ge=1, description="bytes of a vector's code in ivf-pq, 1 or more; divides the dimensions"
    )
    links: int | None = Field(
        None, ge=2, le=256, description="links of a vector in hnsw (M), 2 to 256; 2 M on the lowest level"
    )
    ef_construction: int | None = Field(None, ge=1, description="candidates while an hnsw graph is built, 1 or more")
    ef_search: int | None = Field(None, ge=1, description="candidates while an hnsw graph is searched, 1 or more")
    refine_factor: float | None = Field(
        None,
        ge=0,
        description="candidates of codes scored exactly, in multiples of top_k; 0: scores are those of codes",
    )
    train_vectors: int | None = Field(None, ge=1, description="vectors in the training sample, 1 or more")
    memory_gb: float | None = Field(
        None, gt=0, description="memory that the index may take while it is searched, GB, over 0"
    )
    vector_bytes: float | None = Field(None, gt=0, description="the same in bytes a vector, over 0")
    recall: float = Field(
        0.95, gt=0, le=1, description="share of the true nearest wanted, over 0, at most 1; 1: exact search"
    )
    seed: int = Field(0, ge=0, lt=2**31, description="of training, 0 or more, under 2147483648")
    device: Device = Field("cpu", description="where to train, assign and search: cpu, or gpu with faiss-gpu")
