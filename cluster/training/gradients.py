"""The gradients of one batch, the same for any number of workers and any cutting into chunks that fit in memory.

Terms that are means over examples are taken chunk by chunk, each by its share of the batch. Terms that need the whole
batch are taken on the gathered outputs of all chunks, and their gradients are then led through each chunk's own forward
pass (gradient caching, arXiv 2101.06983). Dropout and noise are drawn from the chunk's seed, so that both passes agree.
"""

from collections import defaultdict
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import torch
from torch import Tensor

from cluster.training.batches import Batch, BatchSource, Chunk
from cluster.training.objectives import TERMS, Objective, Outputs, Term
from cluster.training.perturbations import Probe
from cluster.training.workers import LARGE_ROWS, Workers


@dataclass(frozen=True)
class Robustness:
    """How input embeddings are moved: noise, and an adversarial step with the weight of the loss there; 0 for none."""

    noise: float = 0.0
    epsilon: float = 0.0
    weight: float = 1.0


@dataclass(frozen=True)
class Backward:
    """Takes a batch's loss back to the module's parameters, where gradients add up; knows no optimiser."""

    objective: Objective
    source: BatchSource
    workers: Workers
    device: torch.device
    autocast: torch.dtype | None = None
    robustness: Robustness = Robustness()

    def run(self, batch: Batch, chunks: Sequence[Chunk]) -> dict[str, Tensor]:
        """Each loss over the whole batch, and "loss", their weighted sum; the gradients are summed over the workers.

        `chunks` are this worker's, on the device. Values are float64 on the CPU.
        """
        totals = self._count(chunks)
        robust = self.robustness
        probes = [Probe(robust.noise, keep=robust.epsilon > 0) for _ in chunks]
        found = self._pass(batch, chunks, totals, probes, 1.0)
        if robust.epsilon:
            moves = [probe.moves(chunk.tokens, robust.epsilon) for probe, chunk in zip(probes, chunks, strict=True)]
            moved = [Probe(robust.noise, given=given) for given in moves]
            again = self._pass(batch, chunks, totals, moved, robust.weight)
            found["adversarial"] = again["loss"]
            found["loss"] = found["loss"] + again["loss"]
        self._sum_gradients()
        return self._sum_losses(found)

    def culprits(self, chunks: Sequence[Chunk]) -> list[str]:
        """The names of this worker's pairs whose outputs are not finite, or if none are, whose chunk's loss is not.

        Where all of that is finite (the gradient alone is not), all of them.
        """
        names: list[str] = []
        for chunk in chunks:
            with torch.no_grad():
                outputs = self._forward(chunk, Probe(self.robustness.noise))
                terms = self.objective.chunk_terms(outputs, chunk)
            whole = all(bool(torch.isfinite(term.value)) for term in terms.values())
            flags = torch.zeros(len(chunk.labels), dtype=torch.bool)
            for output in outputs.values():
                if len(output) in (len(chunk.labels), chunk.labels.numel()):
                    flags |= ~torch.isfinite(output).reshape(len(flags), -1).all(dim=1).cpu()
            pairs = flags.repeat_interleave(chunk.width) if flags.any() else torch.full((len(chunk.names),), not whole)
            names += [name for name, bad in zip(chunk.names, pairs.tolist(), strict=True) if bad]
        return names or [name for chunk in chunks for name in chunk.names]

    def _pass(
        self, batch: Batch, chunks: Sequence[Chunk], totals: dict[str, int], probes: Sequence[Probe], weight: float
    ) -> dict[str, Tensor]:
        objective = self.objective
        found: dict[str, Tensor] = defaultdict(lambda: torch.zeros((), dtype=torch.float64, device=self.device))
        found["loss"] = found["loss"] + 0.0
        held: list[Outputs] = []
        slopes: list[Outputs] = [{} for _ in chunks]
        if objective.gathered:
            held = self._outputs(chunks, probes)
            leaves = self._gather(batch, chunks, held)
            terms = objective.batch_terms(leaves, batch)
            self._note(found, terms, dict.fromkeys(terms, 1 / self.workers.size), weight)
            if terms:
                _weighted(terms, dict.fromkeys(terms, 1.0), weight).backward()  # type: ignore[no-untyped-call]
            slopes = [self._slopes(batch, chunk, leaves) for chunk in chunks]
        for k, (chunk, probe) in enumerate(zip(chunks, probes, strict=True)):
            outputs = held[k] if len(chunks) == len(held) == 1 else self._forward(chunk, probe)
            terms = objective.chunk_terms(outputs, chunk)
            shares = {name: chunk.counts[term.unit] / totals[term.unit] for name, term in terms.items()}
            self._note(found, terms, shares, weight)
            ends = [outputs[name] for name in slopes[k]]
            if terms:
                ends.append(_weighted(terms, shares, weight))
            if ends:
                torch.autograd.backward(ends, [*slopes[k].values(), *([None] if terms else [])])
        return found

    def _outputs(self, chunks: Sequence[Chunk], probes: Sequence[Probe]) -> list[Outputs]:
        """Of every chunk; with their graphs where there is but one, and for their values alone where there are more."""
        if len(chunks) == 1:
            return [self._forward(chunks[0], probes[0])]
        with torch.no_grad():
            return [
                self._forward(chunk, Probe(probe.noise, given=list(probe.given)))
                for chunk, probe in zip(chunks, probes, strict=True)
            ]

    def _forward(self, chunk: Chunk, probe: Probe) -> Outputs:
        torch.manual_seed(chunk.seed)
        with probe.attached(self.objective.module), self._precision():
            return self.objective.forward(chunk)

    def _precision(self) -> AbstractContextManager[object]:
        if self.autocast is None:
            return nullcontext()
        return torch.autocast(self.device.type, dtype=self.autocast)

    def _gather(self, batch: Batch, chunks: Sequence[Chunk], held: Sequence[Outputs]) -> Outputs:
        """The gathered outputs of all chunks of all workers, as leaves that take gradients."""
        leaves: Outputs = {}
        for name, unit in self.objective.gathered.items():
            sizes = [self.source.counts(batch, number)[unit] for number in range(self.source.num_chunks)]
            if not sum(sizes):
                continue
            # Each worker lays its own rows into zeros: a sum over workers is then a gathering.
            rows = held[0][name].new_zeros(sum(sizes), held[0][name].shape[1])
            for chunk, outputs in zip(chunks, held, strict=True):
                first = sum(sizes[: chunk.number])
                rows[first : first + sizes[chunk.number]] = outputs[name].detach()
            leaves[name] = self.workers.sum(rows).requires_grad_()
        return leaves

    def _slopes(self, batch: Batch, chunk: Chunk, leaves: Outputs) -> Outputs:
        """The gradients by one chunk's outputs, cut out of the whole batch's."""
        slopes = {}
        for name, unit in self.objective.gathered.items():
            leaf = leaves.get(name)
            if leaf is None or leaf.grad is None:
                continue
            sizes = [self.source.counts(batch, number)[unit] for number in range(chunk.number + 1)]
            if sizes[-1]:
                slopes[name] = leaf.grad[sum(sizes[:-1]) : sum(sizes)]
        return slopes

    def _count(self, chunks: Sequence[Chunk]) -> dict[str, int]:
        """The units of the whole batch, over all workers."""
        names = ("examples", "pairs", "twins", "twin_pairs", "words", "masked")
        own = torch.tensor([sum(chunk.counts[name] for chunk in chunks) for name in names], device=self.device)
        return dict(zip(names, self.workers.sum(own).tolist(), strict=True))

    def _note(self, found: dict[str, Tensor], terms: dict[str, Term], shares: dict[str, float], weight: float) -> None:
        for name, term in terms.items():
            value = term.value.detach().double() * shares[name]
            found[name] = found[name] + value
            found["loss"] = found["loss"] + value * term.weight * weight

    def _sum_gradients(self) -> None:
        """Over the workers; a parameter that some worker's chunks did not touch has a gradient of zeros there."""
        if self.workers.size == 1:
            return
        parameters = [p for p in self.objective.module.parameters() if p.requires_grad]
        touched = self.workers.sum(torch.tensor([float(p.grad is not None) for p in parameters], device=self.device))
        used = [p for p, count in zip(parameters, touched.tolist(), strict=True) if count]
        for parameter in used:
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
        gradients = [parameter.grad for parameter in used if parameter.grad is not None]
        tables = [gradient for gradient in gradients if gradient.ndim == 2 and len(gradient) > LARGE_ROWS]
        for table in tables:
            self.workers.sum_rows(table)
        self.workers.sum_all([g for g in gradients if not any(g is table for table in tables)])

    def _sum_losses(self, found: dict[str, Tensor]) -> dict[str, Tensor]:
        """Over the workers; those whose chunks have no twin lack the twins' terms."""
        names = [*TERMS, "adversarial", "loss"]
        zero = torch.zeros((), dtype=torch.float64, device=self.device)
        own = torch.stack([torch.stack([found.get(name, zero), zero + (name in found)]) for name in names])
        values, present = self.workers.sum(own).cpu().unbind(1)
        return {name: value for name, value, count in zip(names, values, present, strict=True) if count}


def _weighted(terms: dict[str, Term], shares: dict[str, float], weight: float) -> Tensor:
    parts = [term.value * (term.weight * shares[name] * weight) for name, term in terms.items()]
    return torch.stack(parts).sum()
