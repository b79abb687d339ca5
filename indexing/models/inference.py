"""Runs a frozen head over many sequences: in batches with a budget of tokens, on all of torch's threads.

Each thread takes batches by itself, which loses less than all of them sharing every operation. Knows neither texts nor
what comes out.
"""

import ctypes
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from csgen.errors import InputError
from indexing.models.batches import Rows, fill_packed, fill_padded
from indexing.models.checkpoint import Checkpoint
from indexing.models.heads import Head, MakeHead, freeze
from indexing.models.packed import is_packable
from indexing.models.tokenising import Tokens

_MAX_TOKENS = {"cpu": 1024, "cuda": 32_768}  # more leaves a CPU's caches; a GPU has work for many

_LEAST_TOKENS = 256  # that a thread multiplies about as fast as more
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # mallopt(3)'s M_TRIM_THRESHOLD and M_MMAP_THRESHOLD
_KEPT_BYTES, _BLOCK_BYTES = 1 << 28, 1 << 25  # of freed memory, and of a single block that is kept

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


@dataclass(frozen=True)
class Runner:
    """A frozen head, its device, and how to fill batches of at most `max_tokens` tokens, padding included."""

    head: Head
    device: torch.device
    max_tokens: int
    fill: Callable[[Rows, int], list[Rows]]

    @classmethod
    def of(
        cls, build: MakeHead, checkpoint: Checkpoint, precision: str, device: str, max_tokens: int | None
    ) -> "Runner":
        """Of a checkpoint, whose model is taken over; `max_tokens` None: what suits the device."""
        place = _find_device(device)
        budget = _MAX_TOKENS.get(place.type, _MAX_TOKENS["cpu"]) if max_tokens is None else max_tokens
        if budget < 1:
            raise InputError(f"max_tokens must be 1 or more, got {budget}")
        if place.type == "cpu":
            _keep_freed_memory()
        fill = fill_packed if is_packable(checkpoint.model.base_model) else fill_padded
        return cls(freeze(build, checkpoint, precision, place), place, budget, fill)

    def run(self, tokens: Tokens) -> NDArray[np.float32]:
        """The head's output for every sequence, (sequences, columns); one sequence or more.

        A row is a function of its sequence: other rows, their order and number change it by rounding alone.
        """
        lengths = tokens.lengths
        num_threads = torch.get_num_threads() if self.device.type == "cpu" else 1
        batches = self.fill(lengths, min(self.max_tokens, _turn(int(lengths.sum()), num_threads)))
        try:
            parts = _each(lambda rows: self._run_batch(tokens, rows), batches, num_threads)
        except (RuntimeError, MemoryError) as error:
            if not _is_out_of_memory(error):
                raise
            raise InputError(
                f"out of memory on {self.device} with batches of {self.max_tokens:,} tokens, the longest sequence "
                f"{lengths.max():,}: lower max_tokens, or max_length where single sequences are that long"
            ) from error
        result = np.empty((len(lengths), parts[0].shape[1]), np.float32)
        result[np.concatenate(batches)] = np.concatenate(parts)
        return result

    def _run_batch(self, tokens: Tokens, rows: Rows) -> NDArray[np.float32]:
        with torch.inference_mode():  # of this thread
            output: NDArray[np.float32] = self.head(tokens.take(rows, self.device)).float().cpu().numpy()
        return output


def _keep_freed_memory() -> None:
    """Have the C library keep what a batch frees for the next one.

    glibc gives freed blocks of some megabytes back to the system, and fresh pages took a fifth of the time in fp32.
    """
    try:
        set_option = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError, TypeError):  # another C library
        return
    set_option(_TRIM_THRESHOLD, _KEPT_BYTES)
    set_option(_MMAP_THRESHOLD, _BLOCK_BYTES)


def _find_device(name: str) -> torch.device:
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise InputError(f"device must be cpu, cuda or cuda:NUMBER, got {name!r}") from error
    if device.type == "cuda" and not torch.cuda.is_available():
        raise InputError(f"device {name}: torch {torch.__version__} finds no GPU; take cpu")
    return device


def _each(function: Callable[[_Item], _Result], items: list[_Item], num_threads: int) -> list[_Result]:
    """`function` of each item, in order, on that many threads with one of torch's own each."""
    if num_threads < 2 or len(items) < 2:
        return [function(item) for item in items]
    try:
        with ThreadPoolExecutor(num_threads, "batches", torch.set_num_threads, (1,)) as pool:
            return list(pool.map(function, items))
    finally:
        torch.set_num_threads(num_threads)  # what the pool's threads set also holds for threads to come


def _turn(num_tokens: int, num_threads: int) -> int:
    """Tokens of a batch with which threads end at about the same time: an eighth of a share, if not too few."""
    share = -(-num_tokens // num_threads)
    return num_tokens if num_threads == 1 else min(share, max(share // 8, _LEAST_TOKENS))


def _is_out_of_memory(error: BaseException) -> bool:
    told = ("can't allocate memory", "not enough memory", "out of memory")
    return isinstance(error, MemoryError) or any(text in str(error).lower() for text in told)
