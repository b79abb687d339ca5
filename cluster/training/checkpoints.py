"""Checkpoints of a run: everything that it needs to go on as if it had never stopped, written whole or not at all.

A checkpoint is a folder `step-NNNNNNNN` whose manifest comes last and holds a hash of each file. Knows no losses and no
data; what must be the same for a run to go on is given to it as a mapping.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from csgen.errors import InputError
from csgen.files import exists, filesystem, fingerprint, hash_file, join, open_input, replace_file
from csgen.manifest import MANIFEST_NAME, Manifest, describe_files, list_changes

STAGE = "checkpoint"
MODEL, OPTIMISER, STATE = "model.pt", "optimiser.pt", "state.json"
_NAME = re.compile(r"step-(\d{8})")


@dataclass(frozen=True)
class Evaluation:
    """What the evaluation said after so many steps."""

    step: int
    figures: dict[str, float]


@dataclass(frozen=True)
class State:
    """Where a run stands: steps done, which is also its place in the data, the loss of each, and its evaluations."""

    step: int = 0
    losses: tuple[float, ...] = ()
    evaluations: tuple[Evaluation, ...] = ()

    def to_json(self) -> bytes:
        return json.dumps(asdict(self)).encode()

    @classmethod
    def from_json(cls, text: bytes) -> "State":
        fields = json.loads(text)
        evaluations = tuple(Evaluation(**fields) for fields in fields["evaluations"])
        return cls(fields["step"], tuple(fields["losses"]), evaluations)


@dataclass(frozen=True)
class Checkpoints:
    """The checkpoints in a folder, which may be a URI; the newest `keep` stay, and those asked to be spared."""

    folder: str
    identity: Mapping[str, Any] = field(default_factory=dict)
    keep: int = 2

    def steps(self) -> list[int]:
        """The steps of the complete checkpoints, in order."""
        return sorted(step for step, name in self._found() if exists(join(self.folder, name, MANIFEST_NAME)))

    def save(self, state: State, module: nn.Module, optimiser: torch.optim.Optimizer, spare: Sequence[int] = ()) -> str:
        """Write a checkpoint and remove those that are too many, of which `spare` names steps to keep; its folder."""
        folder = self._path(state.step)
        self._remove_incomplete()
        if exists(join(folder, MANIFEST_NAME)):
            return folder
        rest = {"optimiser": optimiser.state_dict(), "random": _random_state()}
        for name, content in ((MODEL, module.state_dict()), (OPTIMISER, rest)):
            with replace_file(join(folder, name)) as stream:
                torch.save(content, stream)
        with replace_file(join(folder, STATE)) as stream:
            stream.write(state.to_json())
        self._describe(state, folder).write(folder)
        for step in self.steps()[: -self.keep]:
            if step not in spare and step != state.step:
                self._remove(self._path(step))
        return folder

    def load(self, step: int, module: nn.Module, optimiser: torch.optim.Optimizer) -> State:
        """Put module, optimiser and random state back to where they stood; refuses a run that is not the same one."""
        folder = self._path(step)
        self._refuse_changes(folder)
        self._check(folder)
        module.load_state_dict(_read(folder, MODEL))
        rest = _read(folder, OPTIMISER)
        optimiser.load_state_dict(rest["optimiser"])
        _restore_random_state(rest["random"])
        with open_input(join(folder, STATE)) as stream:
            return State.from_json(stream.read())

    def weights(self, steps: Sequence[int]) -> dict[str, Tensor]:
        """The mean of the weights of some checkpoints (Stochastic weight averaging, arXiv 1803.05407); one: its own.

        Sums are float64. What is no floating-point number is the last one's.
        """
        sums: dict[str, Tensor] = {}
        last: dict[str, Tensor] = {}
        for step in steps:
            self._check(self._path(step))
            last = _read(self._path(step), MODEL)
            for name, weight in last.items():
                if weight.is_floating_point():
                    sums[name] = sums[name] + weight.double() if name in sums else weight.double()
        return {n: (sums[n] / len(steps)).to(w.dtype) if n in sums else w for n, w in last.items()}

    def _check(self, folder: str) -> None:
        """Refuse a checkpoint whose files are not those that its manifest names."""
        for name, facts in Manifest.read(folder).files.items():
            path = join(folder, name)
            if not exists(path):
                raise InputError(f"{path}: missing from the checkpoint; {self._remedy(folder)}")
            size = fingerprint(path)["bytes"]
            if size != facts["bytes"]:
                raise InputError(
                    f"{path}: checkpoint cut short: {size} bytes, expected {facts['bytes']}; {self._remedy(folder)}"
                )
            if hash_file(path) != facts["xxh3_128"]:
                raise InputError(f"{path}: damaged checkpoint: its hash has changed; {self._remedy(folder)}")

    def _remedy(self, folder: str) -> str:
        older = [step for step in self.steps() if self._path(step) < folder]
        on = f"go on from step {older[-1]}" if older else "begin anew"
        return f"remove it (rm -r {folder}) to {on}"

    def _refuse_changes(self, folder: str) -> None:
        then, now = Manifest.read(folder).config, _plain(self.identity)
        if changes := list_changes(then, now, _brief):
            raise InputError(
                f"{self.folder}: holds a run that differs: {'; '.join(changes)}; "
                f"set it back, remove the folder (rm -r {self.folder}) or give another --output"
            )

    def _describe(self, state: State, folder: str) -> Manifest:
        files = describe_files(folder, [MODEL, OPTIMISER, STATE])
        counts = {"step": state.step}
        return Manifest(stage=STAGE, config=_plain(self.identity), inputs={}, counts=counts, files=files)

    def _path(self, step: int) -> str:
        return join(self.folder, f"step-{step:08d}")

    def _found(self) -> list[tuple[int, str]]:
        fs, inner = filesystem(self.folder)
        if not fs.exists(inner):
            return []
        names = [path.rstrip("/").rpartition("/")[2] for path in fs.ls(inner, detail=False)]
        return [(int(match[1]), name) for name in names if (match := _NAME.fullmatch(name))]

    def _remove_incomplete(self) -> None:
        """What a run left that was stopped while it wrote."""
        for _, name in self._found():
            if not exists(join(self.folder, name, MANIFEST_NAME)):
                self._remove(join(self.folder, name))

    def _remove(self, folder: str) -> None:
        fs, inner = filesystem(folder)
        if exists(join(folder, MANIFEST_NAME)):
            fs.rm_file(f"{inner}/{MANIFEST_NAME}")  # first: without it, what is left is known to be incomplete
        fs.rm(inner, recursive=True)


def _read(folder: str, name: str) -> Any:
    with open_input(join(folder, name)) as stream:
        return torch.load(stream, map_location="cpu", weights_only=True)


def _random_state() -> dict[str, Any]:
    cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []
    return {"cpu": torch.get_rng_state(), "cuda": cuda}


def _restore_random_state(state: dict[str, Any]) -> None:
    torch.set_rng_state(state["cpu"])
    if torch.cuda.is_available() and len(state["cuda"]) == torch.cuda.device_count():
        torch.cuda.set_rng_state_all(state["cuda"])


def _plain(identity: Mapping[str, Any]) -> dict[str, Any]:
    """As JSON gives it back."""
    plain: dict[str, Any] = json.loads(json.dumps(dict(identity)))
    return plain


def _brief(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
