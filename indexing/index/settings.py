"""What an index is made with, fixed when it is created: encoder, shards, segments, lexical part, kind of vectors.

Knows no folder: a version of the store carries it as JSON.
"""

from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError, model_validator

from csgen.errors import InputError
from indexing.store import Version
from indexing.vectors.choice import Choice
from indexing.vectors.config import VectorConfig

Precision = Literal["fp32", "bf16", "int8"]


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class EncoderIdentity(_Record):
    """Which encoder made the vectors, and how."""

    path: str  # where it was: a folder, a hub id, or the name of a carried model
    xxh3_128: str = Field(pattern="^[0-9a-f]{32}$")  # of the files that decide its vectors
    dim: int = Field(ge=1)
    max_length: int = Field(ge=1)  # tokens of a text, at most
    precision: Precision = "fp32"


class Sharding(_Record):
    """Which shard a passage belongs to: see `indexing.index.sharding`."""

    by: Literal["address", "language"] = "address"
    num_shards: int = Field(default=1, ge=1)
    languages: tuple[str, ...] = ()  # by language: those that have places of their own, in this order


class IndexSettings(_Record):
    """All of it. `choice` is that of the first training; a later one keeps its own beside its files."""

    format: Literal[1] = 1
    encoder: EncoderIdentity | None  # None: vectors came from files, and queries must come as vectors too
    sharding: Sharding
    segment_passages: int = Field(ge=1, le=1 << 32)  # of a segment, at most
    lexical: bool
    vectors: VectorConfig
    choice: Choice

    @model_validator(mode="after")
    def _same_dimensions(self) -> Self:
        if self.encoder and self.encoder.dim != self.choice.dim:
            raise ValueError(f"the encoder's vectors have {self.encoder.dim} dimensions, the index {self.choice.dim}")
        return self

    @property
    def dim(self) -> int:
        """Of the vectors."""
        return self.choice.dim

    def to_json(self) -> dict[str, JsonValue]:
        """As `Store.create` takes it."""
        settings: dict[str, JsonValue] = self.model_dump(mode="json")
        return settings

    @classmethod
    def of(cls, version: Version, place: str) -> Self:
        """Those of a version; `place` is the index's folder, for errors."""
        try:
            return cls.model_validate(version.settings)
        except ValidationError as error:
            detail = error.errors()[0]
            name = ".".join(map(str, detail["loc"]))
            raise InputError.at(
                place, None, f"settings of another kind or release of csgen ({version.made_by}): {name}: "
                f"{detail['msg']}; build the index anew, or use that release"
            ) from error  # fmt: skip

    def require_encoder(self, other: EncoderIdentity, place: str) -> EncoderIdentity:
        """The index's encoder, if it is `other`, by the hash of its files; else an InputError that names both."""
        if self.encoder is None:
            raise InputError.at(
                place, None, f"its vectors came from files, not from the encoder {other.path}: give vectors"
            )
        if other.xxh3_128 != self.encoder.xxh3_128:
            raise InputError.at(
                place, None, f"was made with the encoder {self.encoder.path} (hash {self.encoder.xxh3_128}), not with "
                f"{other.path} (hash {other.xxh3_128}): give that one, or build the index anew"
            )  # fmt: skip
        return self.encoder


class SegmentFacts(_Record):
    """What a segment's entry says of it besides its files."""

    languages: dict[str, int]  # passages by language, deleted ones too

    @classmethod
    def of(cls, facts: dict[str, Any], place: str) -> Self:
        """Those of an entry; `place` is the segment's folder, for errors."""
        try:
            return cls.model_validate(facts)
        except ValidationError as error:
            raise InputError.at(place, None, f"not a segment of passages: {error.errors()[0]['msg']}") from error
