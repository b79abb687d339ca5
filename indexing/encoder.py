"""An encoder (bi-encoder): texts to vectors of unit length, by a checkpoint of sentence-transformers or transformers.

Knows texts and vectors; how the transformer runs is the business of indexing.models.
"""

from collections.abc import Sequence
from typing import Self

import numpy as np
from numpy.typing import NDArray

from csgen.errors import InputError
from indexing.models.checkpoint import load_checkpoint
from indexing.models.heads import make_embedder
from indexing.models.inference import Runner
from indexing.models.tokenising import Tokeniser

_BLOCK_TEXTS = 16_384  # tokenised and sorted by length together


class Encoder:
    """A loaded bi-encoder.

    `dim` is the length of its vectors; `truncated` counts the texts since it was loaded that were longer than
    `max_length` tokens and lost their end.
    """

    def __init__(self, path: str, dim: int, prompt: str, tokeniser: Tokeniser, runner: Runner) -> None:
        self.path, self.dim, self.max_length = path, dim, tokeniser.max_length
        self.truncated = 0
        self._prompt, self._tokeniser, self._runner = prompt, tokeniser, runner

    @classmethod
    def load(
        cls, path: str, *, precision: str = "fp32", device: str = "cpu", max_length: int | None = None,
        max_tokens: int | None = None,
    ) -> Self:  # fmt: skip
        """The checkpoint in a folder or of a hub id, on "cpu", "cuda" or "cuda:NUMBER".

        Pooling (cls or mean), limit and default prompt are those of the folder's modules.json; a transformer without
        one is averaged over its tokens. `precision`: fp32, bf16 or int8 (a CPU alone). `max_length`: tokens a text,
        special ones included, the model's limit at most and by default. `max_tokens`: tokens a batch; it sets memory
        and speed, not vectors.
        """
        checkpoint = load_checkpoint(path, "encoder")
        tokeniser = Tokeniser.of(checkpoint, max_length)
        dim = int(checkpoint.model.config.hidden_size)
        runner = Runner.of(make_embedder, checkpoint, precision, device, max_tokens)
        return cls(path, dim, checkpoint.prompt, tokeniser, runner)

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """(texts, dim) float32, rows of unit length, whether the checkpoint normalises or not.

        Equal to sentence-transformers' encode with normalize_embeddings, to 1e-4 in fp32. A vector depends on its text
        alone: other texts, their order and number change it by less than 1e-5 in fp32 and int8, and by
        the rounding of bfloat16 (1e-2) in bf16, if at all.
        """
        vectors = np.empty((len(texts), self.dim), np.float32)
        for first in range(0, len(texts), _BLOCK_TEXTS):
            block = [self._prompt + text for text in texts[first : first + _BLOCK_TEXTS]]
            tokens = self._tokeniser.encode_texts(block)
            self.truncated += int(tokens.truncated.sum())
            vectors[first : first + len(block)] = self._runner.run(tokens)
        if not np.isfinite(vectors).all():
            row = int(np.argmin(np.isfinite(vectors).all(1)))
            raise InputError.at(
                self.path, None, f"gives a vector that is not finite to text {row + 1}, {texts[row][:60]!r}: its "
                "weights are damaged, or too large for this precision",
            )  # fmt: skip
        return vectors
