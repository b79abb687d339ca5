"""Moves a model's input embeddings: noise, and a step up the loss. Works on any module by a hook on its embeddings.

A forward pass may call the embeddings several times; moves are taken and given in the order of the calls.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from cluster.training import losses
from indexing.models.batches import Batch as Tokens


@dataclass
class Probe:
    """Watches and moves what a module's input embeddings give out: (num_tokens, dim), or (sequences, length, dim)."""

    noise: float = 0.0
    keep: bool = False  # remember the embeddings, whose gradients `moves` needs
    given: list[Tensor] = field(default_factory=list)  # to be added, one a call
    seen: list[Tensor] = field(default_factory=list)

    @contextmanager
    def attached(self, module: nn.Module) -> Iterator["Probe"]:
        if not (self.noise or self.keep or self.given):
            yield self
            return
        embeddings: Any = module.get_input_embeddings()  # type: ignore[operator]
        handle = embeddings.register_forward_hook(self._hook)
        try:
            yield self
        finally:
            handle.remove()

    def moves(self, tokens: Tokens, epsilon: float) -> list[Tensor]:
        """An adversarial step for each remembered embedding, once the loss has been taken back to it."""
        return [_step(seen, tokens, epsilon) for seen in self.seen]

    def _hook(self, module: nn.Module, inputs: Any, output: Tensor) -> Tensor:
        if self.given:
            output = output + self.given.pop(0)
        if self.noise:
            output = output + losses.noise(output, self.noise)
        if self.keep and output.requires_grad:
            output.retain_grad()
            self.seen.append(output)
        return output


def _step(seen: Tensor, tokens: Tokens, epsilon: float) -> Tensor:
    gradient = seen.grad
    if gradient is None:
        return torch.zeros_like(seen)
    if gradient.ndim == 2:
        return losses.adversarial_step(gradient, tokens.sequences, len(tokens.lengths), epsilon)
    sequences = torch.arange(len(gradient), device=gradient.device).repeat_interleave(gradient.shape[1])
    return losses.adversarial_step(gradient.flatten(0, 1), sequences, len(gradient), epsilon).view_as(gradient)
