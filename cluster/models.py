"""Rerankers and encoders as scorers of pairs, and what names a model: the hash of its files."""

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from csgen.files import hash_file
from eval.experiment import EncoderSpec, RerankerSpec
from eval.systems import Scorer
from eval.units import digest

if TYPE_CHECKING:
    from indexing.encoder import Encoder

KEPT_TEXTS = 200_000  # of an encoder: 300 MB at 384 numbers a text


def open_model(spec: RerankerSpec | EncoderSpec, path: str) -> Scorer:
    """The scorer of a specification, with the model at `path`: a folder or a hub id."""
    if isinstance(spec, EncoderSpec):
        return EncoderScorer(load_encoder(path, spec.precision, spec.max_tokens))
    from cluster.reranker import Reranker

    return Reranker.load(path, precision=spec.precision, max_tokens=spec.max_tokens)


def load_encoder(path: str, precision: str, max_tokens: int) -> "Encoder":
    """The encoder at a path."""
    from indexing.encoder import Encoder

    return Encoder.load(path, precision=precision, max_tokens=max_tokens)


@cache
def hash_model(path: str) -> str:
    """A hash of all files of a model's folder; a hub id is fetched first. Once a process: models do not change."""
    from indexing.models.checkpoint import find_checkpoint

    folder = Path(find_checkpoint(path))
    files = sorted(file for file in folder.rglob("*") if file.is_file())
    return digest({str(file.relative_to(folder)): hash_file(str(file)) for file in files})


class TextEncoder(Protocol):
    """What an indexing.encoder.Encoder is here."""

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]: ...


class EncoderScorer:
    """The inner products of an encoder's embeddings of queries and passages.

    Embeddings are kept from call to call, KEPT_TEXTS at most: cells of an experiment share most of their texts.
    """

    def __init__(self, encoder: TextEncoder) -> None:
        self._encoder = encoder
        self._kept: dict[str, NDArray[np.float32]] = {}

    def score(self, pairs: pa.Table) -> NDArray[np.float32]:
        """One inner product a pair; `pairs` has the columns query and passage."""
        embeddings = []
        for side in ("query", "passage"):
            encoded = pc.dictionary_encode(pairs.column(side).combine_chunks())
            embeddings.append(self._embed(encoded.dictionary.to_pylist())[encoded.indices.to_numpy()])
        queries, passages = embeddings
        return np.asarray((queries * passages).sum(axis=1), np.float32)

    def _embed(self, texts: list[str]) -> NDArray[np.float32]:
        """(texts, dim) of distinct texts, at least one."""
        if new := [text for text in texts if text not in self._kept]:
            if len(self._kept) + len(new) > KEPT_TEXTS:
                self._kept, new = {}, texts
            self._kept.update(zip(new, self._encoder.encode(new), strict=True))
        return np.stack([self._kept[text] for text in texts])
