"""Rerankers and encoders as scorers of pairs, and what names a model: the hash of its files."""

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from csgen.files import hash_file
from eval.experiment import EncoderSpec, RerankerSpec
from eval.systems import Scorer
from eval.units import digest


def open_model(spec: RerankerSpec | EncoderSpec, path: str) -> Scorer:
    """The scorer of a specification, with the model at `path`: a folder or a hub id."""
    if isinstance(spec, EncoderSpec):
        from indexing.encoder import Encoder

        return EncoderScorer(Encoder.load(path, precision=spec.precision, max_tokens=spec.max_tokens))
    from cluster.reranker import Reranker

    return Reranker.load(path, precision=spec.precision, max_tokens=spec.max_tokens)


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
    """The inner products of an encoder's embeddings of queries and passages; each distinct text is encoded once."""

    def __init__(self, encoder: TextEncoder) -> None:
        self._encoder = encoder

    def score(self, pairs: pa.Table) -> NDArray[np.float32]:
        """One inner product a pair; `pairs` has the columns query and passage."""
        embeddings = []
        for side in ("query", "passage"):
            encoded = pc.dictionary_encode(pairs.column(side).combine_chunks())
            distinct = self._encoder.encode(encoded.dictionary.to_pylist())
            embeddings.append(distinct[encoded.indices.to_numpy()])
        queries, passages = embeddings
        return np.asarray((queries * passages).sum(axis=1), np.float32)
