"""Encoders as an index knows them: what encodes texts, and the hash of the files that decide the vectors.

The model is loaded when it is asked for; this module needs no torch to be imported.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import xxhash
from numpy.typing import NDArray

from csgen.errors import InputError
from csgen.files import hash_file
from csgen.manifest import MANIFEST_NAME
from indexing.index.settings import EncoderIdentity, IndexSettings, Precision

_DECIDING = {".json", ".txt", ".model", ".safetensors", ".bin"}  # endings of weights, tokenizers and configurations
_MODULES = "modules.json"


class TextEncoder(Protocol):
    """What an `indexing.encoder.Encoder` is here."""

    truncated: int  # texts so far that lost their end

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """(texts, dimensions)."""


@dataclass(frozen=True)
class IdentifiedEncoder:
    """An encoder and which one it is."""

    identity: EncoderIdentity
    encoder: TextEncoder

    def encode(self, texts: Sequence[str]) -> tuple[NDArray[np.float32], int]:
        """(texts, dimensions) float32, and how many of the texts lost their end."""
        before = self.encoder.truncated
        vectors = self.encoder.encode(texts)
        return vectors, self.encoder.truncated - before


def load_encoder(
    path: str, *, precision: Precision = "fp32", device: str = "cpu", max_length: int | None = None,
    max_tokens: int | None = None,
) -> IdentifiedEncoder:  # fmt: skip
    """The encoder in a folder, of a hub id or a carried model; options as those of `indexing.encoder.Encoder.load`."""
    from indexing.encoder import Encoder
    from indexing.models.checkpoint import find_checkpoint

    encoder = Encoder.load(path, precision=precision, device=device, max_length=max_length, max_tokens=max_tokens)
    identity = EncoderIdentity(
        path=_name_place(path), xxh3_128=hash_encoder(find_checkpoint(path)), dim=encoder.dim,
        max_length=encoder.max_length, precision=precision,
    )  # fmt: skip
    return IdentifiedEncoder(identity, encoder)


def locate_encoder(settings: IndexSettings, path: str, place: str) -> EncoderIdentity:
    """The encoder of an index, at `path` ("": where it was at the build), by its files alone: it is not loaded.

    Another encoder is an InputError that names both. `place` is the index's folder, for errors.
    """
    from indexing.models.checkpoint import find_checkpoint

    own = settings.encoder
    if own is None:
        raise InputError.at(place, None, "its vectors came from files: give --vectors in place of an encoder")
    try:
        folder = find_checkpoint(path or own.path)
    except InputError as error:
        if path:
            raise
        raise InputError.at(
            place, None, f"its encoder is not where it was at the build ({error}): name its place by --encoder"
        ) from error
    found = own.model_copy(update={"path": _name_place(path or own.path), "xxh3_128": hash_encoder(folder)})
    settings.require_encoder(found, place)
    return found


def hash_encoder(folder: Path) -> str:
    """A hash of the names and bytes of a checkpoint's weights, tokenizer and configuration, in hex.

    Model cards, manifests, histories and checkpoints of its training make no difference.
    """
    modules = folder / _MODULES
    inner = [module["path"] for module in json.loads(modules.read_text())] if modules.is_file() else []
    found = {
        file.relative_to(folder).as_posix(): hash_file(str(file))
        for place in sorted({"", *inner})
        for file in sorted((folder / place).iterdir())
        if file.is_file() and file.suffix in _DECIDING and file.name != MANIFEST_NAME
    }
    return xxhash.xxh3_128_hexdigest(json.dumps(found, sort_keys=True).encode())


def _name_place(path: str) -> str:
    """A folder by its absolute path: an index is used from anywhere."""
    return str(Path(path).absolute()) if Path(path).is_dir() else path
