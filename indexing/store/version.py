"""What an index consists of at one time: its segments, their files and hashes, what is deleted. Touches no disk.

On disk a version is a manifest of csgen, which Manifest.read reads: `config` holds the settings, `inputs` the
segments, `files` every file of the folder that the version names. Equal versions have equal bytes.
"""

import json
from collections import defaultdict
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import Annotated, Any, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, JsonValue, ValidationError, model_validator

from csgen import __version__
from csgen.errors import InputError
from csgen.manifest import Manifest

STAGE = "index"
SEGMENTS, DELETED, TRAINED = "segments", "deleted", "trained"  # folders of the index


def _require_inside(name: str) -> str:
    """Names come out of snapshots of any origin, and files are written by them."""
    path = PurePosixPath(name)
    if path.is_absolute() or str(path) != name or ".." in path.parts or name == "." or "\0" in name:
        raise ValueError(f"expected the name of a file within the folder, got {name!r}")
    return name


FileName = Annotated[str, AfterValidator(_require_inside)]
Number = Annotated[int, Field(ge=1, lt=1 << 31)]  # of a segment: the upper half of a signed 64-bit id


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class FileEntry(_Record):
    """What a file must be."""

    bytes: int = Field(ge=0)
    xxh3_128: str = Field(pattern="^[0-9a-f]{32}$")


Files = dict[FileName, FileEntry]  # by name within a folder, with / between its parts


class Tombstones(FileEntry):
    """The file of a segment's deleted rows: `count` numbers, uint32, little-endian, ascending."""

    file: FileName  # within the index folder
    count: int = Field(ge=1)


class SegmentEntry(_Record):
    """A segment: `passages` rows, 0 to passages - 1, in files that never change."""

    number: Number
    shard: int = Field(ge=0)
    passages: int = Field(ge=0, le=1 << 32)
    facts: dict[str, JsonValue]  # of whoever filled it
    files: Files  # within its folder
    deleted: Tombstones | None = None

    @property
    def name(self) -> str:
        """What its folder is called."""
        return number_name(self.number)

    @property
    def live(self) -> int:
        """How many passages are not deleted."""
        return self.passages - (self.deleted.count if self.deleted else 0)


class TrainedEntry(_Record):
    """The files that all segments share; another set only ever comes with other segments."""

    name: FileName
    facts: dict[str, JsonValue]
    files: Files


class Version(_Record):
    """An index as it was published once. Settings are fixed when the index is created."""

    number: int = Field(ge=1)
    operation: str = Field(min_length=1)  # what made it: create, add, delete, compact
    settings: dict[str, JsonValue]
    next_segment: int = Field(default=1, ge=1, le=1 << 31)  # higher than the number of any segment there ever was
    segments: tuple[SegmentEntry, ...] = ()  # by number, ascending
    trained: TrainedEntry | None = None
    made_by: str = __version__  # the release of csgen

    @model_validator(mode="after")
    def _check_numbers(self) -> Self:
        numbers = [segment.number for segment in self.segments]
        if sorted({*numbers}) != numbers or (numbers and numbers[-1] >= self.next_segment):
            raise ValueError(f"segments must have ascending numbers below {self.next_segment}, got {numbers}")
        return self

    def segment(self, name: str) -> SegmentEntry:
        """The segment of a name; a ValueError where the version has none."""
        for segment in self.segments:
            if segment.name == name:
                return segment
        raise ValueError(f"version {self.number} has no segment {name!r}")

    @property
    def counts(self) -> dict[str, int]:
        passages, live = (sum(getattr(s, field) for s in self.segments) for field in ("passages", "live"))
        return {
            "segments": len(self.segments),
            "passages": passages,
            "deleted": passages - live,
            "bytes": sum(entry.bytes for _, _, entry in self.list_files()),
        }

    def list_files(self) -> Iterator[tuple[str | None, str, FileEntry]]:
        """Segment (None: shared by all), name within the index folder and entry of every file."""
        if self.trained:
            for name, entry in self.trained.files.items():
                yield None, f"{TRAINED}/{self.trained.name}/{name}", entry
        for segment in self.segments:
            for name, entry in segment.files.items():
                yield segment.name, f"{SEGMENTS}/{segment.name}/{name}", entry
            if segment.deleted:
                yield segment.name, segment.deleted.file, segment.deleted

    def encode(self) -> bytes:
        """The bytes of its manifest. They hold no times and no machine names."""
        contents = self.model_dump(include={"number", "operation", "next_segment"})
        contents["trained"] = self.trained and self.trained.model_dump(exclude={"files"})
        contents["segments"] = [
            segment.model_dump(exclude={"files", "deleted"})
            | {"deleted": segment.deleted and segment.deleted.model_dump(include={"file", "count"})}
            for segment in self.segments
        ]
        manifest = Manifest(
            stage=STAGE, version=self.made_by, config=self.settings, inputs=contents, counts=self.counts,
            files={name: {"bytes": e.bytes, "xxh3_128": e.xxh3_128} for _, name, e in self.list_files()},
        )  # fmt: skip
        text = json.dumps(manifest.model_dump(), indent=1, ensure_ascii=False, sort_keys=True, allow_nan=False)
        return text.encode() + b"\n"

    @classmethod
    def decode(cls, data: bytes, path: str) -> Self:
        """The version in the bytes of its manifest; `path` is where they came from, for errors."""
        try:
            manifest = Manifest.model_validate_json(data)
        except ValidationError as error:
            raise InputError.at(path, None, f"not a manifest: {_first(error)}") from error
        if manifest.stage != STAGE:
            raise InputError.at(path, None, f"the manifest of an output of {manifest.stage}, not of an index")
        try:
            return cls.model_validate(_gather(manifest))
        except ValidationError as error:
            raise InputError.at(path, None, f"not the manifest of an index: {_first(error)}") from error
        except (KeyError, TypeError, ValueError) as error:
            raise InputError.at(path, None, f"not the manifest of an index: {error!r}") from error


def number_name(number: int) -> str:
    """A number as it stands in the names of files and folders, so that they sort."""
    return f"{number:08d}"


def _gather(manifest: Manifest) -> dict[str, Any]:
    """The fields of a version, each part with its files."""
    folders: dict[tuple[str, str], dict[str, Any]] = defaultdict(dict)
    for name, entry in manifest.files.items():
        kind, folder, *rest = name.split("/", 2)
        if rest:
            folders[kind, folder][rest[0]] = entry
    contents = {**manifest.inputs, "settings": manifest.config, "made_by": manifest.version}
    contents["segments"] = [
        {
            **segment,
            "files": folders[SEGMENTS, number_name(segment["number"])],
            "deleted": (deleted := segment["deleted"]) and {**manifest.files[deleted["file"]], **deleted},
        }
        for segment in contents["segments"]
    ]
    if trained := contents["trained"]:
        contents["trained"] = {**trained, "files": folders[TRAINED, trained["name"]]}
    return contents


def _first(error: ValidationError) -> str:
    detail = error.errors()[0]
    place = ".".join(map(str, detail["loc"]))
    return f"{place + ': ' if place else ''}{detail['msg']}"
