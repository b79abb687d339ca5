"""How each kind of model takes a chunk's texts: which sequences there are, in which order, and what is known of tokens.

Knows texts and tokenisers; not which texts there are nor what is done with them.
"""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray
from torch import Tensor

from cluster.training.examples import Rows
from cluster.training.tokens import (
    Masked,
    Spans,
    Tokeniser,
    Words,
    find_words,
    join_spans,
    line_up,
    mask_tokens,
    token_starts,
)
from cluster.training.twins import Twins
from csgen.sources.draws import Words as Hashes
from csgen.sources.draws import counter, mix
from csgen.switching.policy import SIDES, Side
from indexing.models.batches import Batch as Tokens


@dataclass(frozen=True)
class ChunkTexts:
    """The texts of a chunk of examples; num_examples queries and num_examples * width passages."""

    width: int
    originals: pa.RecordBatch  # one row a pair, as the input holds them
    queries: list[str]  # what is trained on: the originals, or switched in their place
    passages: list[str]
    twinned: Rows  # examples that have a twin beside them
    twins: Twins | None  # theirs; None where there are none


@dataclass(frozen=True)
class Inputs:
    """What a layout makes of texts; `teacher`: (num_queries + num_passages, dim) embeddings of the originals."""

    tokens: Tokens
    num_truncated: int
    words: Words | None = None
    masked: Masked | None = None
    teacher: Tensor | None = None


class Layout(Protocol):
    """How a kind of model takes its texts; the twins' sequences always stand behind all others."""

    @property
    def tokeniser(self) -> Tokeniser: ...

    @property
    def needs_spans(self) -> bool: ...

    def encode(self, texts: ChunkTexts, keys: Hashes) -> Inputs:
        """`keys`: a hash for each pair in its epoch, (num_examples * width,)."""
        ...


class Teacher(Protocol):
    """What embeds the originals of pairs: (num_rows, dim) float32 of the queries or passages of `pairs`."""

    def embed(self, pairs: pa.RecordBatch, side: Side) -> NDArray[np.float32]: ...


@dataclass(frozen=True)
class PairLayout:
    """For a reranker: query and passage as one sequence, for each pair."""

    tokeniser: Tokeniser
    needs_spans: bool = False

    def encode(self, texts: ChunkTexts, keys: Hashes) -> Inputs:
        encoded = self.tokeniser.encode(pair_up(texts))
        return Inputs(encoded.tokens, encoded.num_truncated)


@dataclass(frozen=True)
class TextLayout:
    """For an encoder: queries, then passages, then the twins' queries and passages; each text a sequence.

    A side of the twins that is not switched is left out, for it stands among the originals already.
    """

    tokeniser: Tokeniser
    twin_sides: tuple[Side, ...] = ()
    needs_spans: bool = False
    teacher: Teacher | None = None
    prompt: str = ""  # stands before every text

    def encode(self, texts: ChunkTexts, keys: Hashes) -> Inputs:
        sequences = [*texts.queries, *texts.passages]
        if texts.twins is not None:
            for side in self.twin_sides:
                sequences += texts.twins.texts[side].to_pylist()
        sequences = [self.prompt + text for text in sequences] if self.prompt else sequences
        encoded = self.tokeniser.locate(sequences) if self.needs_spans else self.tokeniser.encode(sequences)
        words = None
        if self.needs_spans and texts.twins is not None:
            starts = token_starts(encoded.encodings) - len(self.prompt)
            words = find_words(starts, join_spans(self._spans(texts, texts.twins)))
        teacher = None if self.teacher is None else _embed_originals(self.teacher, texts)
        return Inputs(encoded.tokens, encoded.num_truncated, words, teacher=teacher)

    def _spans(self, texts: ChunkTexts, twins: Twins) -> list[Spans]:
        spans = []
        behind = len(texts.queries) + len(texts.passages)
        for side in self.twin_sides:
            own = texts.twinned if side == "query" else len(texts.queries) + passages_of(texts.twinned, texts.width)
            spans.append(line_up(twins.switches[side], twins.texts[side], own, behind + np.arange(len(own))))
            behind += len(own)
        return spans


@dataclass(frozen=True)
class MaskedLayout:
    """For a base model: query and passage as one sequence with hidden tokens; examples are single pairs."""

    tokeniser: Tokeniser
    masked_ratio: float
    needs_spans: bool = False

    def encode(self, texts: ChunkTexts, keys: Hashes) -> Inputs:
        encoded = self.tokeniser.locate(pair_up(texts))
        words = None
        if self.needs_spans and texts.twins is not None:
            behind = len(keys) + np.arange(len(texts.twinned))
            spans = [
                line_up(texts.twins.switches[side], texts.twins.texts[side], 2 * texts.twinned + k, 2 * behind + k)
                for k, side in enumerate(texts.twins.switches)
            ]
            words = find_words(token_starts(encoded.encodings), join_spans(spans))
        num_twins = len(encoded.tokens.lengths) - len(keys)
        draws = np.concatenate([keys, mix(keys[texts.twinned[:num_twins]] + counter(1))])
        tokens, masked = mask_tokens(encoded, draws, self.masked_ratio, self.tokeniser)
        return Inputs(tokens, encoded.num_truncated, words, masked)


def pair_up(texts: ChunkTexts) -> list[tuple[str, str]]:
    """Query and passage of each pair, then of each pair of the twins."""
    pairs = _zip(texts.queries, texts.passages, texts.width)
    if texts.twins is not None:
        queries, passages = (texts.twins.texts[side].to_pylist() for side in ("query", "passage"))
        pairs += _zip(queries, passages, texts.width)
    return pairs


def passages_of(examples: Rows, width: int) -> Rows:
    """The numbers of the examples' passages among all passages."""
    return (examples[:, None] * width + np.arange(width)).ravel()


def _zip(queries: list[str], passages: list[str], width: int) -> list[tuple[str, str]]:
    return list(zip((query for query in queries for _ in range(width)), passages, strict=True))


def _embed_originals(teacher: Teacher, texts: ChunkTexts) -> Tensor:
    queries, passages = (teacher.embed(texts.originals, side) for side in SIDES)
    return torch.from_numpy(np.concatenate([queries[:: texts.width], passages]))
