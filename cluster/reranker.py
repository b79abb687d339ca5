"""A reranker (cross-encoder): scores query-passage pairs with any classifier of Hugging Face that has one label.

Knows pairs and scores; how the transformer runs is the business of indexing.models.
"""

from typing import Self

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from csgen.errors import InputError
from indexing.models.checkpoint import load_checkpoint
from indexing.models.heads import make_classifier
from indexing.models.inference import Runner
from indexing.models.tokenising import Tokeniser

_BLOCK_PAIRS = 16_384  # tokenised and sorted by length together


class Reranker:
    """A loaded cross-encoder: eval.systems.Scorer.

    `truncated` counts the pairs since it was loaded that were longer than `max_length` tokens and lost the end of
    their longer text.
    """

    def __init__(self, path: str, tokeniser: Tokeniser, runner: Runner) -> None:
        self.path, self.max_length = path, tokeniser.max_length
        self.truncated = 0
        self._tokeniser, self._runner = tokeniser, runner

    @classmethod
    def load(
        cls, path: str, *, precision: str = "fp32", device: str = "cpu", max_length: int | None = None,
        max_tokens: int | None = None,
    ) -> Self:  # fmt: skip
        """The checkpoint in a folder or of a hub id, on "cpu", "cuda" or "cuda:NUMBER".

        `precision`: fp32, bf16 or int8 (a CPU alone). `max_length`: tokens a pair, special ones included, the model's
        limit at most and by default. `max_tokens`: tokens a batch; it sets memory and speed, not scores.
        """
        checkpoint = load_checkpoint(path, "classifier")
        tokeniser = Tokeniser.of(checkpoint, max_length)
        return cls(path, tokeniser, Runner.of(make_classifier, checkpoint, precision, device, max_tokens))

    def score(self, pairs: pa.Table | pa.RecordBatch) -> NDArray[np.float32]:
        """One logit a pair, the higher the more relevant; `pairs` has the columns query and passage (string).

        Equal to sentence-transformers' CrossEncoder.predict with activation Identity, to 1e-4 in fp32. A score depends
        on its two texts alone: other pairs, their order and number change it by less than 1e-5 in fp32 and
        int8, and by the rounding of bfloat16 (1e-2 of a score's size) in bf16, if at all.
        """
        texts = [_read_texts(pairs, name) for name in ("query", "passage")]
        scores = np.empty(pairs.num_rows, np.float32)
        for first in range(0, pairs.num_rows, _BLOCK_PAIRS):
            block = slice(first, first + _BLOCK_PAIRS)
            tokens = self._tokeniser.encode_pairs(texts[0][block], texts[1][block])
            self.truncated += int(tokens.truncated.sum())
            scores[block] = self._runner.run(tokens)[:, 0]
        if not np.isfinite(scores).all():
            row = int(np.argmin(np.isfinite(scores)))
            query, passage = (column[row] for column in texts)
            raise InputError.at(
                self.path, None, f"gives the score {scores[row]} to pair {row + 1}, query {query[:60]!r}, passage "
                f"{passage[:60]!r}: its weights are damaged, or too large for this precision",
            )  # fmt: skip
        return scores


def _read_texts(pairs: pa.Table | pa.RecordBatch, name: str) -> list[str]:
    if name not in pairs.schema.names:
        raise InputError(f"pairs: no column {name}; there are {', '.join(pairs.schema.names)}")
    column = pairs.column(name)
    if column.null_count:
        row = column.is_null().to_pylist().index(True)
        raise InputError(f"pairs: the {name} of row {row + 1} is null; give a text, perhaps an empty one")
    texts: list[str] = column.to_pylist()
    return texts
