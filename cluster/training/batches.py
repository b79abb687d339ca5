"""Batches: which examples a step takes, and chunks of them switched and tokenised, made ahead in a thread.

A batch is a step's examples over all workers; a chunk is what one worker holds at a time. Both are pure functions of
the seed and the step, so that a run's place in the data is the number of the next step and nothing more.
"""

import queue
import threading
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray
from torch import Tensor

from cluster.training.config import TrainingConfig
from cluster.training.examples import Examples, Pairs, Rows, SinglePairs, make_groups
from cluster.training.layouts import ChunkTexts, Layout
from cluster.training.models import move
from cluster.training.order import Order
from cluster.training.tokens import Masked, Words
from cluster.training.twins import TwinMaker
from csgen.errors import InputError
from csgen.sources.draws import Words as Hashes
from csgen.sources.draws import counter, mix
from indexing.models.batches import Batch as Tokens

AHEAD = 4  # steps that are made ready before they are asked for
_NO_ROWS = np.zeros(0, np.int64)


@dataclass(frozen=True)
class Batch:
    """A step's examples over all workers, without their texts."""

    step: int
    epoch: int
    progress: float  # share of all steps that are done, in [0, 1)
    rows: Rows  # (batch_size, width)
    switched: NDArray[np.bool_]  # (batch_size,)
    twinned: Rows  # examples that have their twin beside them
    labels: Tensor  # (batch_size, width)
    scores: Tensor | None  # (batch_size, width), a teacher's
    query_hashes: Hashes  # (batch_size,)
    passage_hashes: Hashes  # (batch_size, width)

    @property
    def width(self) -> int:
        return int(self.rows.shape[1])

    def excluded(self) -> Tensor:
        """(batch_size, batch_size * width) bool: passages that may not be a query's negatives within the batch.

        Those are the query's own positive in another group, and the positive of another group of the same query.
        """
        size = len(self.rows)
        places = np.arange(size * self.width)
        same = self.passage_hashes.ravel()[None, :] == self.passage_hashes[:, :1]
        same_query = np.repeat(self.query_hashes, self.width)[None, :] == self.query_hashes[:, None]
        same |= same_query & (places % self.width == 0)[None, :]
        same[np.arange(size), np.arange(size) * self.width] = False
        return torch.from_numpy(same)


@dataclass(frozen=True)
class Chunk:
    """Examples ready for a model. Its tokens hold the originals first and their twins, if any, behind them."""

    number: int  # within the batch
    seed: int  # of what is random in the model: dropout and noise
    names: tuple[str, ...]  # query and passage id of each pair, for messages
    tokens: Tokens
    labels: Tensor  # (num_examples, width)
    scores: Tensor | None  # likewise, a teacher's
    twins: Tensor  # (num_twins,) int64, the example of each twin
    num_truncated: int = 0
    words: Words | None = None
    masked: Masked | None = None
    teacher: Tensor | None = None  # (num_examples * (1 + width), dim), a teacher's embeddings of the original texts

    @property
    def width(self) -> int:
        return self.labels.shape[1]

    @property
    def counts(self) -> dict[str, int]:
        """How many units each loss is a mean over."""
        return {
            "examples": len(self.labels),
            "pairs": self.labels.numel(),
            "twins": len(self.twins),
            "twin_pairs": len(self.twins) * self.width,
            "words": self.words.count if self.words else 0,
            "masked": len(self.masked.places) if self.masked else 0,
        }

    def to(self, device: torch.device) -> "Chunk":
        def moved(part: Tensor | None) -> Tensor | None:
            return None if part is None else part.to(device, non_blocking=True)

        return replace(
            self,
            tokens=move(self.tokens, device),
            labels=self.labels.to(device),
            scores=moved(self.scores),
            twins=self.twins.to(device),
            words=self.words.to(device) if self.words else None,
            masked=self.masked.to(device) if self.masked else None,
            teacher=moved(self.teacher),
        )


@dataclass(frozen=True)
class BatchSource:
    """Makes the batches and chunks of a run from examples; the same ones for the same step, always and everywhere."""

    examples: Examples
    order: Order
    layout: Layout
    micro_batch_size: int
    num_steps: int
    twin_maker: TwinMaker | None = None  # None: nothing is switched
    switched: Literal["replace", "beside"] = "beside"

    @property
    def num_chunks(self) -> int:
        """Chunks of a batch."""
        return -(-self.order.batch_size // self.micro_batch_size)

    def batch(self, step: int) -> Batch:
        pairs = self.examples.pairs
        epoch, chosen = self.order.batch(step)
        rows = self.examples.rows(chosen, epoch)
        progress = step / self.num_steps
        switched = np.zeros(len(rows), np.bool_)
        if self.twin_maker is not None:
            switched = self.twin_maker.choose(pairs.keys[rows[:, 0]], epoch, progress)
        scores = None if pairs.scores is None else torch.from_numpy(pairs.scores[rows])
        labels = torch.from_numpy(pairs.labels[rows])
        hashes = pairs.query_hashes[rows[:, 0]], pairs.passage_hashes[rows]
        twinned = np.flatnonzero(switched) if self.switched == "beside" else _NO_ROWS
        return Batch(step, epoch, progress, rows, switched, twinned, labels, scores, *hashes)

    def chunk(self, batch: Batch, number: int) -> Chunk:
        part = self.part(number)
        rows, chosen = batch.rows[part], np.flatnonzero(batch.switched[part])
        texts = self._texts(batch, rows, chosen)
        keys = mix(self.examples.pairs.keys[rows.ravel()] ^ mix(np.array([counter(batch.epoch + 1)])))
        inputs = self.layout.encode(texts, keys)
        ids = (texts.originals.column(name).to_pylist() for name in ("query_id", "passage_id"))
        return Chunk(
            number=number,
            seed=self._seed(batch.step, number),
            names=tuple(f"{query}/{passage}" for query, passage in zip(*ids, strict=True)),
            tokens=inputs.tokens,
            labels=batch.labels[part],
            scores=None if batch.scores is None else batch.scores[part],
            twins=torch.from_numpy(texts.twinned),
            num_truncated=inputs.num_truncated,
            words=inputs.words,
            masked=inputs.masked,
            teacher=inputs.teacher,
        )  # fmt: skip

    def counts(self, batch: Batch, number: int) -> dict[str, int]:
        """`Chunk.counts` of any chunk without making it, save words and masks, which only the chunk itself tells."""
        part = self.part(number)
        examples = len(batch.rows[part])
        twins = int(((batch.twinned >= part.start) & (batch.twinned < part.stop)).sum())
        return {
            "examples": examples, "pairs": examples * batch.width, "twins": twins, "twin_pairs": twins * batch.width,
        }  # fmt: skip

    def part(self, number: int) -> slice:
        """Where a chunk's examples stand in its batch."""
        return slice(number * self.micro_batch_size, (number + 1) * self.micro_batch_size)

    def _seed(self, step: int, number: int) -> int:
        word = mix(np.array([counter(self.order.seed + 1)]) ^ mix(np.array([counter(step + 1)])))
        return int(mix(word + counter(number + 1))[0] >> np.uint64(1))

    def _texts(self, batch: Batch, rows: Rows, chosen: Rows) -> ChunkTexts:
        width = self.examples.width
        originals = self.examples.pairs.take(rows.ravel())
        queries, passages = (originals.column(side).to_pylist() for side in ("query", "passage"))
        queries = queries[::width]
        if self.twin_maker is None or not len(chosen):
            return ChunkTexts(width, originals, queries, passages, _NO_ROWS, None)
        places = (chosen[:, None] * width + np.arange(width)).ravel()
        twins = self.twin_maker.switch(
            originals.take(pa.array(places)), width, batch.epoch, batch.progress, spans=self.layout.needs_spans
        )
        if self.switched == "beside":
            return ChunkTexts(width, originals, queries, passages, chosen, twins)
        for place, text in zip(chosen, twins.texts["query"].to_pylist(), strict=True):
            queries[place] = text
        for place, text in zip(places, twins.texts["passage"].to_pylist(), strict=True):
            passages[place] = text
        return ChunkTexts(width, originals, queries, passages, _NO_ROWS, None)

    def steps(self, first: int, last: int, rank: int = 0, world_size: int = 1) -> Iterator[tuple[Batch, list[Chunk]]]:
        """The batches of steps [first, last), each with the chunks of one worker: every `world_size`-th from `rank`."""
        for step in range(first, last):
            batch = self.batch(step)
            yield batch, [self.chunk(batch, number) for number in range(rank, self.num_chunks, world_size)]


def make_source(config: TrainingConfig, pairs: Pairs, layout: Layout, twin_maker: TwinMaker | None) -> BatchSource:
    """The source of a run; refuses pairs that don't fill a batch, have no positive, or lack a language of the weights.

    Without `twin_maker` nothing is switched.
    """
    examples = make_groups(pairs, config.negatives, config.seed) if config.negatives else SinglePairs(pairs)
    rows = examples.first_rows
    order = Order(
        keys=pairs.keys[rows],
        lengths=pairs.lengths[rows],
        languages=pairs.languages[rows],
        weights=example_weights(examples, config.example_weights),
        batch_size=config.batch_size,
        seed=config.seed,
    )
    num_steps = config.steps or max(1, round(config.epochs * order.steps_per_epoch))
    micro = min(config.micro_batch_size, config.batch_size)
    return BatchSource(examples, order, layout, micro, num_steps, twin_maker, config.switched)


def example_weights(examples: Examples, weights: dict[str, float]) -> NDArray[np.float64]:
    """How often each example comes, by its query-passage language; 1 where `weights` does not name it.

    A language that no pair has is an InputError.
    """
    pairs = examples.pairs
    if unknown := sorted(set(weights) - set(pairs.language_names)):
        known = ", ".join(name for name in pairs.language_names if name) or "none: they have no language columns"
        raise InputError(f"--example-weights: no pair is {', '.join(unknown)}; the pairs' languages are {known}")
    by_language = np.array([weights.get(name, 1.0) for name in pairs.language_names])
    found: NDArray[np.float64] = by_language[pairs.languages[examples.first_rows]]
    return found


class Prefetch:
    """Makes items ahead in a thread, and measures how long their taker had to wait for them."""

    def __init__(self, items: Iterable[tuple[Batch, list[Chunk]]], ahead: int = AHEAD) -> None:
        self.waited_s = 0.0
        self._queue: queue.Queue[tuple[Batch, list[Chunk]] | BaseException | None] = queue.Queue(ahead)
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._fill, args=(items,), daemon=True, name="batches")
        self._thread.start()

    def __iter__(self) -> Iterator[tuple[Batch, list[Chunk]]]:
        while True:
            begun = time.perf_counter()
            item = self._queue.get()
            self.waited_s += time.perf_counter() - begun
            if item is None:
                return
            if isinstance(item, BaseException):
                raise item
            yield item

    def close(self) -> None:
        """Stop the thread; what it has made is dropped."""
        self._stopped.set()
        while self._thread.is_alive():
            try:
                self._queue.get(timeout=0.01)
            except queue.Empty:
                continue
        self._thread.join()

    def _fill(self, items: Iterable[tuple[Batch, list[Chunk]]]) -> None:
        last: BaseException | None = None
        try:
            for item in items:
                if not self._put(item):
                    return
        except BaseException as error:
            last = error
        self._put(last)

    def _put(self, item: tuple[Batch, list[Chunk]] | BaseException | None) -> bool:
        while not self._stopped.is_set():
            try:
                self._queue.put(item, timeout=0.1)
                return True
            except queue.Full:
                continue
        return False
