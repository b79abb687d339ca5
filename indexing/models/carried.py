"""The models that the package carries: found by name wherever a folder or a hub id can stand.

Knows folders and their cards; loads no model.
"""

from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal

import yaml

Kind = Literal["base", "encoder", "reranker"]

BASE, ENCODER, RERANKER = "csgen-base", "csgen-encoder", "csgen-reranker"
CARD, WEIGHTS, MODULES = "README.md", "model.safetensors", "modules.json"
_KINDS: dict[str, Kind] = {"fill-mask": "base", "sentence-similarity": "encoder", "text-ranking": "reranker"}


@dataclass(frozen=True)
class CarriedModel:
    """A model of the package; `bytes`: of all its files."""

    name: str
    kind: Kind
    folder: str
    bytes: int
    languages: tuple[str, ...]


def list_carried() -> list[CarriedModel]:
    """All of them, by name."""
    return [_describe(folder) for folder in sorted(_root().iterdir()) if (folder / WEIGHTS).is_file()]


def find_carried(name: str) -> Path | None:
    """The folder of a carried model; None where none has this name."""
    folder = _root() / name
    return folder if name.startswith("csgen-") and (folder / WEIGHTS).is_file() else None


def _root() -> Path:
    return Path(str(files("indexing.carried")))


def _describe(folder: Path) -> CarriedModel:
    head: dict[str, Any] = yaml.safe_load((folder / CARD).read_text(encoding="utf-8").split("---\n")[1])
    size = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
    return CarriedModel(folder.name, _KINDS[head["pipeline_tag"]], str(folder), size, tuple(head["language"]))
