"""The workers of a run: this process alone, or those of torch.distributed where something has initialised it."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, distributed

LARGE_ROWS = 1 << 14  # a table of more is summed row by row
BUCKET_NUMBERS = 1 << 23  # of a sum over workers: enough to be quick, little enough to hold a copy of


@dataclass(frozen=True)
class Workers:
    """This worker's rank among `size`; every method is to be called by all workers in the same order."""

    rank: int = 0
    size: int = 1

    @classmethod
    def current(cls) -> "Workers":
        if not (distributed.is_available() and distributed.is_initialized()):
            return cls()
        return cls(distributed.get_rank(), distributed.get_world_size())

    def sum(self, tensor: Tensor) -> Tensor:
        """The sum over all workers, in place."""
        if self.size > 1:
            distributed.all_reduce(tensor)
        return tensor

    def sum_all(self, tensors: list[Tensor]) -> None:
        """Each tensor's sum over all workers, in place; small ones travel together."""
        if self.size == 1:
            return
        bucket: list[Tensor] = []
        for tensor in [*tensors, None]:
            full = sum(t.numel() for t in bucket) + (tensor.numel() if tensor is not None else 0) > BUCKET_NUMBERS
            if bucket and (tensor is None or full):
                flat = self.sum(torch.cat([t.flatten() for t in bucket]))
                for part, summed in zip(bucket, flat.split_with_sizes([t.numel() for t in bucket]), strict=True):
                    part.copy_(summed.view_as(part))
                bucket = []
            if tensor is not None:
                bucket.append(tensor)

    def sum_rows(self, table: Tensor) -> None:
        """A large table's sum over all workers, in place, of which only rows that somewhere are not zero travel.

        Gradients of embeddings are such: a batch touches a few thousand of a vocabulary's 250,000 rows.
        """
        if self.size == 1:
            return
        touched = self.sum((torch.linalg.vector_norm(table, ord=1, dim=1) != 0).to(torch.int32))
        rows = touched.nonzero()[:, 0]
        table[rows] = self.sum(table[rows])

    def agree(self, value: Any) -> Any:
        """What rank 0 gave; what the others gave is dropped."""
        if self.size == 1:
            return value
        held = [value]
        distributed.broadcast_object_list(held, src=0)
        return held[0]

    def join(self, names: list[str]) -> list[str]:
        """Every worker's names, rank by rank."""
        if self.size == 1:
            return names
        held: list[list[str]] = [[] for _ in range(self.size)]
        distributed.all_gather_object(held, names)
        return [name for part in held for name in part]

    def copy_from_first(self, tensors: list[Tensor]) -> None:
        """Every tensor as rank 0 has it."""
        if self.size > 1:
            for tensor in tensors:
                distributed.broadcast(tensor, src=0)
