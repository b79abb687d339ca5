"""Options of `csgen mine`."""

from typing import Any, Literal, Self

from pydantic import Field, model_validator

from cluster.mining.choosing import Limits
from csgen.config import StageConfig
from csgen.sources.pairs import format_of

CANDIDATES_PER_NEGATIVE = 10  # as sentence-transformers: a margin may leave out most of them


class MineConfig(StageConfig):
    """Options of `csgen mine`. Margins and bounds are in the units of the scores that decide: see `reranker`."""

    pairs: str = Field(
        min_length=1,
        description="pairs whose positives (label above 0) get negatives: Parquet, JSON lines, TSV, triples:PATH, "
        "a BEIR folder or a parallel collection; may be a URI",
    )
    split: str = Field("train", min_length=1, description="qrels of a BEIR folder or a collection to make pairs of")
    output: str = Field(
        min_length=1, description="Parquet file, or folder for pairs.parquet and a manifest; may be a URI"
    )
    by: Literal["bm25", "encoder"] = Field(
        "bm25", description="what finds candidates: bm25 (scores 0 or more) or encoder (inner products in [-1, 1])"
    )
    model: str = Field("", description="folder or hub id of the encoder, with --by encoder")
    reranker: str = Field(
        "", description="folder or hub id of a reranker whose scores (raw logits) order and judge what was found"
    )
    collection: str = Field(
        "", description="folder of a parallel collection to take negatives from; none: the passages of the pairs"
    )
    language: str = Field("en", description="language of the passages, which BM25 analyses all texts in (ISO 639-1)")
    negatives: int = Field(4, ge=1, le=1000, description="negatives for each query, 1 to 1000")
    absolute_margin: float | None = Field(
        None, ge=0, description="a negative scores at least so much less than the query's lowest positive, 0 or more"
    )
    relative_margin: float | None = Field(
        None,
        ge=0,
        le=1,
        description="the same as a share of the positive's score, in [0, 1]; NV-Retriever found 0.05 best",
    )
    max_score: float | None = Field(None, description="highest score of a negative")
    min_score: float | None = Field(None, description="lowest score of a negative; random ones may have less")
    range_min: int = Field(
        0, ge=0, description="passages that pass all bounds are left out, the best so many; 0 or more"
    )
    range_max: int | None = Field(
        None,
        ge=1,
        description="candidates looked at for each query, 1 or more; "
        f"none: --range-min and {CANDIDATES_PER_NEGATIVE} for each negative",
    )
    sampling: Literal["top", "random"] = Field(
        "top", description="top: the best candidates that pass; random: a draw from them"
    )
    fill: Literal["random", "none"] = Field(
        "random", description="a query with too few gets random passages under the margin, or is left with fewer"
    )
    seed: int = Field(1, ge=0, lt=1 << 63, description="seed of the draws, 0 or more")
    precision: Literal["fp32", "bf16", "int8"] = Field("fp32", description="of the models' linear layers")
    max_tokens: int = Field(8192, ge=512, description="tokens of a batch, 512 or more; less needs less memory")
    queries_per_shard: int = Field(2000, ge=1, description="queries that one task takes, 1 or more")
    workers: int | None = Field(None, ge=1, description="CPUs for local Ray, 1 or more; none: all; 1: without Ray")

    @model_validator(mode="after")
    def _options_fit(self) -> Self:
        if (self.by == "encoder") != bool(self.model):
            remedy = "give one" if self.by == "encoder" else "add --by encoder, or leave it out"
            raise ValueError(f"--by encoder needs --model, and --by bm25 has none: {remedy}")
        if self.max_score is not None and self.min_score is not None and self.min_score > self.max_score:
            raise ValueError(
                f"--min-score {self.min_score} is above --max-score {self.max_score}: nothing lies between"
            )
        room = self.limits.range_max - self.range_min
        if room < self.negatives:
            raise ValueError(
                f"--negatives {self.negatives} do not fit between --range-min {self.range_min} and --range-max "
                f"{self.limits.range_max}: give a --range-max of {self.range_min + self.negatives} or more"
            )
        if format_of(self.output) not in ("", "parquet"):
            raise ValueError(f"--output {self.output}: give a folder, or a file that ends in .parquet")
        return self

    @property
    def limits(self) -> Limits:
        return Limits(
            self.absolute_margin, self.relative_margin, self.max_score, self.min_score, self.range_min,
            self.range_max or self.range_min + CANDIDATES_PER_NEGATIVE * self.negatives,
        )  # fmt: skip

    @property
    def is_folder(self) -> bool:
        return not self.output.endswith(".parquet")

    def identity(self) -> dict[str, Any]:
        """The options that decide what the output holds."""
        return self.model_dump(mode="json", exclude={"output", "workers", "queries_per_shard"})
