"""Options of what builds and changes an index. Where it runs, and on which devices, is not among them."""

import io
from typing import Any, Literal

from pydantic import Field, model_validator

from csgen.config import StageConfig
from csgen.errors import InputError
from csgen.files import open_input
from indexing.index.settings import Precision
from indexing.passages import Condition, Filter
from indexing.vectors.config import VectorConfig


class PassageOptions(StageConfig):
    """Which passages are taken in, with which vectors, and what becomes of bad ones."""

    passages: str = Field(
        min_length=1,
        description="passages: a parallel collection, or Parquet or JSON lines with language, passage_id (or _id), "
        "text, perhaps title and metadata; a file, a folder or a URI",
    )
    languages: tuple[str, ...] = Field((), description="take passages in these languages, e.g. en,de; none: all")
    metadata: tuple[str, ...] | None = Field(
        None,
        description="columns to keep beside the texts, NAME or NAME:TYPE of string, int64, float64, bool; none: no "
        "column; default: all that can be kept, of a collection none",
    )
    encoder: str = Field(
        "", description="folder, hub id or carried model of the encoder; default: the carried one, unless --vectors"
    )
    vectors: str = Field(
        "", description="in place of an encoder: .npy file of vectors, float32 or float16, a row for each passage given"
    )
    max_tokens: int | None = Field(
        None,
        ge=1,
        description="tokens that the encoder takes at a time, 1 or more; less needs less memory; default: by device",
    )
    piece_passages: int = Field(
        8192, ge=1, description="passages that a task encodes, 1 or more; what a crash may cost"
    )
    on_error: Literal["fail", "skip"] = Field(
        "fail", description="what to do about a bad passage, such as one without text: fail, or set it aside"
    )
    max_errors: int = Field(
        1000, ge=0, description="with --on-error skip: more bad passages than this fail the job, 0 or more"
    )
    on_duplicate: Literal["refuse", "last"] = Field(
        "refuse", description="what to do about passages of one language and id: refuse them, or keep the last"
    )

    @model_validator(mode="after")
    def _have_one_origin(self) -> "PassageOptions":
        if self.encoder and self.vectors:
            raise ValueError("--encoder or --vectors: give one of them")
        return self

    @property
    def most_rejects(self) -> int:
        """Bad passages that are set aside; -1: the first one fails."""
        return self.max_errors if self.on_error == "skip" else -1

    def describe(self) -> dict[str, Any]:
        """The options that decide what comes out, but for the vectors' origin, which says more of itself."""
        left_out = {"encoder", "vectors", "on_error", "max_errors", "output", "index", "keep", "grace_s"}
        given = self.model_dump(mode="json", exclude=left_out)
        return {f"--{name.replace('_', '-')}": value for name, value in given.items()}


class BuildConfig(PassageOptions):
    """What an index is built of, and how it is cut."""

    precision: Precision = Field("fp32", description="of the encoder's linear layers")
    max_length: int | None = Field(
        None,
        ge=1,
        description="tokens of a text that the encoder reads, 1 or more; default, and at most: the model's limit",
    )
    shard_by: Literal["address", "language"] = Field(
        "address", description="what decides a passage's shard: a hash of its language and id, or its language"
    )
    num_shards: int | None = Field(
        None, ge=1, le=1 << 16, description="shards, 1 to 65536; default: 1, or by language as many as languages"
    )
    segment_passages: int = Field(
        1_000_000, ge=1, le=1 << 32, description="passages of a segment at most, 1 to 4294967296"
    )
    lexical: bool = Field(True, description="index the words too, for BM25 and its translated form")
    output: str = Field(min_length=1, description="folder to write, of this machine or a shared file system")


class Keeping(StageConfig):
    """Which index is changed, and how long its older versions stay."""

    index: str = Field(min_length=1, description="folder of the index")
    keep: int = Field(2, ge=1, description="versions of the index that stay, with the new one; 1 or more")
    grace_s: float = Field(
        3600.0, ge=0, description="seconds for which a version stays anyway, for those who read it; 0 or more"
    )


class AddConfig(PassageOptions, Keeping):
    """What is added to an index."""

    encoder: str = Field(
        "", description="folder, hub id or carried model of the index's encoder; default: where it was at the build"
    )
    on_existing: Literal["replace", "refuse"] = Field(
        "replace", description="what to do about passages that the index has already: replace them, or refuse"
    )


class DeleteConfig(Keeping):
    """What is deleted from an index: what all the fields allow that are given."""

    passages: tuple[str, ...] | None = Field(None, description="passages as LANGUAGE/PASSAGE_ID, e.g. en/17,de/23")
    passages_file: str = Field("", description="file of such, one a line; may be compressed, may be a URI")
    passage_ids: tuple[str, ...] | None = Field(None, description="ids of passages, in any language")
    languages: tuple[str, ...] | None = Field(None, description="languages of the passages, e.g. de,pt-BR")
    where: tuple[Condition, ...] | None = Field(
        None, description="conditions on metadata, e.g. year>=2019,section=devel; in a --config file also lists"
    )

    @model_validator(mode="after")
    def _says_what(self) -> "DeleteConfig":
        if not self.passages_file and all(
            value is None for value in (self.passages, self.passage_ids, self.languages, self.where)
        ):
            raise ValueError("say what to delete: --passages, --passages-file, --passage-ids, --languages or --where")
        return self

    def to_filter(self) -> Filter:
        """The passages that are to go, as a search would allow them."""
        addresses = list(self.passages or ())
        if self.passages_file:
            addresses += [line for line in read_lines(self.passages_file) if line]
        named = addresses if self.passages is not None or self.passages_file else None
        if bad := next((one for one in addresses if not all(one.partition("/")[::2])), None):
            raise InputError(f"{bad!r} is no passage: give LANGUAGE/PASSAGE_ID, or --passage-ids for ids alone")
        given = {"addresses": named, "passage_ids": self.passage_ids, "languages": self.languages, "where": self.where}
        return Filter.from_options({name: value for name, value in given.items() if value is not None})


class CompactConfig(Keeping):
    """Which segments are written anew."""

    min_passages: int = Field(
        10_000, ge=0, description="segments with fewer passages are joined to others, unless they are full; 0: none"
    )
    max_deleted_ratio: float = Field(
        0.1, ge=0, le=1, description="segments of whose passages more than this share is deleted are rewritten, 0 to 1"
    )
    whole: bool = Field(False, description="all segments are rewritten")
    repair: bool = Field(
        False, description="check every byte first, and do without segments that are missing or altered for good"
    )
    retrain: bool = Field(
        False, description="choose the kind and train it anew, for the passages there are now; rewrites all segments"
    )

    def choose_vectors(self, settled: VectorConfig, given: VectorConfig) -> VectorConfig:
        """The options of vectors for a new training: the index's own, and over them those that are given."""
        changes = given.model_dump(exclude_unset=True)
        if changes and not self.retrain:
            raise InputError(
                f"--{next(iter(changes)).replace('_', '-')}: the training stays as it is without --retrain"
            )
        return VectorConfig.from_options(settled.model_dump(exclude_defaults=True) | changes)


def read_lines(path: str) -> list[str]:
    """The lines of a text file at a URI, maybe compressed."""
    with open_input(path) as stream:
        try:
            text = stream.read().decode()
        except UnicodeDecodeError as error:
            raise InputError.at(path, None, f"not a text file: {error}") from error
    return [line.removesuffix("\n") for line in io.StringIO(text, newline=None)]
