"""The order of examples: a pure function of seed, epoch and step, whatever the number of workers.

Knows keys, lengths and languages of examples; nothing of their texts. Every batch has examples of like lengths, and
each language in the share that it has of the whole.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from csgen.errors import InputError
from csgen.sources.draws import Words, counter, mix

Rows = NDArray[np.int64]

POOL_BATCHES = 64  # examples of like lengths are looked for among so many batches' worth
_ORDER, _BATCHES, _OFFSET = 1, 2, 3  # what a draw is for


@dataclass(frozen=True)
class Order:
    """Cuts examples into batches of `batch_size`, epoch by epoch; what is left over at an epoch's end sits it out.

    All arrays are (num_examples,). `weights` says how often an example comes in an epoch beside the others; every epoch
    has num_examples places whatever the weights.
    """

    keys: Words
    lengths: NDArray[np.int32]
    languages: NDArray[np.int16]
    weights: NDArray[np.float64]
    batch_size: int
    seed: int

    def __post_init__(self) -> None:
        if len(self.keys) < self.batch_size:
            raise InputError(
                f"{len(self.keys)} examples do not fill one batch of {self.batch_size}: give a smaller --batch-size"
            )
        object.__setattr__(self, "_epoch", lru_cache(maxsize=2)(self._order_epoch))

    @property
    def steps_per_epoch(self) -> int:
        return len(self.keys) // self.batch_size

    def batch(self, step: int) -> tuple[int, Rows]:
        """The epoch of a step, counted from 0 over all epochs, and its (batch_size,) examples."""
        epoch, within = divmod(step, self.steps_per_epoch)
        batches: Rows = self._epoch(epoch)  # type: ignore[attr-defined]
        return epoch, batches[within]

    def _order_epoch(self, epoch: int) -> Rows:
        """(steps_per_epoch, batch_size) examples."""
        examples = self._sample(self._permute(epoch), epoch)[: self.steps_per_epoch * self.batch_size]
        examples = examples[_level_lengths(self.lengths[examples], self.languages[examples], self.batch_size)]
        batches = examples.reshape(self.steps_per_epoch, self.batch_size)
        numbers = np.arange(len(batches), dtype=np.uint64)
        shuffled: Rows = batches[np.argsort(mix(mix(numbers) ^ self._word(epoch, _BATCHES)), kind="stable")]
        return shuffled

    def _permute(self, epoch: int) -> Rows:
        return np.argsort(mix(self.keys ^ self._word(epoch, _ORDER)), kind="stable")

    def _sample(self, permutation: Rows, epoch: int) -> Rows:
        """As many examples, each as often as its weight says, to within one: systematic sampling of a shuffled list."""
        weights = self.weights[permutation]
        if (weights == weights[0]).all():
            return permutation
        sums = np.cumsum(weights)
        offset = float(self._word(epoch, _OFFSET) >> np.uint64(11)) / (1 << 53)
        places = (np.arange(len(weights)) + offset) * (sums[-1] / len(weights))
        drawn: Rows = permutation[np.searchsorted(sums, places, side="right").clip(max=len(weights) - 1)]
        # An example drawn twice stands twice in a row; turned by their draws, the two come apart.
        repeats = np.arange(len(drawn), dtype=np.uint64)
        turned: Rows = drawn[
            np.argsort(mix(self.keys[drawn] ^ mix(repeats ^ self._word(epoch, _ORDER))), kind="stable")
        ]
        return turned

    def _word(self, epoch: int, purpose: int) -> np.uint64:
        words = mix(np.array([counter(self.seed + 1)]) ^ mix(np.array([counter(epoch + 1)])))
        return mix(words + counter(purpose))[0]  # type: ignore[no-any-return]


def _level_lengths(lengths: NDArray[np.int32], languages: NDArray[np.int16], batch_size: int) -> Rows:
    """Sorts each pool by the place of an example's length among those of its own language.

    By that place and not by length, for a batch would else hold the language whose texts are that long.
    """
    positions = np.arange(len(lengths))
    pools = positions // (POOL_BATCHES * batch_size)
    order = np.lexsort((positions, lengths, languages, pools))
    parts = pools * (int(languages.max(initial=0)) + 1) + languages
    counts = np.bincount(parts)
    firsts = np.cumsum(counts) - counts
    places = np.empty(len(lengths))
    places[order] = (positions - firsts[parts[order]] + 0.5) / counts[parts[order]]
    return np.lexsort((positions, places, pools))
