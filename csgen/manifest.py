"""The manifest of an output: what made it, and a hash of each file. Written last: its presence means complete."""

import json
from collections.abc import Callable, Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict

from csgen import __version__
from csgen.errors import InputError
from csgen.files import exists, fingerprint, hash_file, join, open_input, replace_file

MANIFEST_NAME = "manifest.json"


class Manifest(BaseModel):
    """What made an output. Holds no times and no machine names: the same work gives the same bytes."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    stage: str
    version: str = __version__
    config: dict[str, Any]
    inputs: dict[str, Any]
    counts: dict[str, Any]
    files: dict[str, dict[str, Any]]  # name within the folder -> {"bytes": .., "xxh3_128": .., more counts}

    def write(self, folder: str) -> None:
        with replace_file(join(folder, MANIFEST_NAME)) as stream:
            stream.write(json.dumps(self.model_dump(), indent=1, ensure_ascii=False, sort_keys=True).encode() + b"\n")

    @classmethod
    def read(cls, folder: str) -> "Manifest":
        path = join(folder, MANIFEST_NAME)
        if not exists(path):
            raise InputError(f"{folder}: no {MANIFEST_NAME}: not a finished output of csgen")
        with open_input(path) as stream:
            try:
                return cls.model_validate_json(stream.read())
            except ValueError as error:
                raise InputError(f"{path}: not a manifest: {error}") from error


def list_changes(earlier: Mapping[str, Any], now: Mapping[str, Any], show: Callable[[Any], str] = repr) -> list[str]:
    """What differs between two identities, by name, as messages say it."""
    return [
        f"{name} was {show(earlier.get(name))}, is {show(now.get(name))}"
        for name in sorted({*earlier, *now})
        if earlier.get(name) != now.get(name)
    ]


def describe_files(folder: str, names: list[str]) -> dict[str, dict[str, Any]]:
    """Bytes and hash of each file of an output folder, for its manifest."""
    return {n: {"bytes": fingerprint(join(folder, n))["bytes"], "xxh3_128": hash_file(join(folder, n))} for n in names}
