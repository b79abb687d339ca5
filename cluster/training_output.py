"""The output of a training run: what may be written over, how a run ended, and card, curves and manifest at its end.

Knows no torch but whether there is a GPU.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from cluster.model_card import Trained, write_card
from cluster.training_gaps import find_report
from cluster.training_options import TrainingOptions
from cluster.training_report import HISTORY, TENSORBOARD, check_curves, draw_curves
from csgen.errors import InputError
from csgen.files import exists, hash_file, join, refuse_finished
from csgen.manifest import MANIFEST_NAME, Manifest, describe_files
from csgen.sources.pairs import describe_input

STAGE = "train"
CHECKPOINTS = "checkpoints"


@dataclass(frozen=True)
class Ending:
    """How a run ended, as its first worker tells it."""

    steps: int
    num_steps: int
    weights_of: tuple[int, ...]
    stopped_early: bool
    last_loss: float
    figures: dict[str, float]  # of these weights; none where nothing was measured
    counts: dict[str, int]
    max_tokens: int
    policy: dict[str, Any] | None  # its target ratio solved for probabilities
    languages: tuple[str, ...]


def check_output(options: TrainingOptions) -> None:
    """Refuse a finished output, a folder with other things in it, and curves that nothing can draw."""
    folder = Path(options.place.output)
    refuse_finished(options.place.output)
    if folder.is_file() or (folder.is_dir() and any(folder.iterdir()) and not (folder / HISTORY).exists()):
        raise InputError(f"{folder}: exists already and is no unfinished run of csgen train; give another --output")
    if options.place.gpus and not torch.cuda.is_available() and options.place.workers == 1:
        raise InputError("--gpus 1: torch sees no GPU here; give --gpus 0, or a torch that is made for CUDA")
    check_curves(options.place.curves)


def claim_output(options: TrainingOptions) -> Path:
    """The output folder, made where it is missing and marked as an unfinished run's."""
    folder = Path(options.place.output)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / HISTORY).touch()
    return folder


def finish(options: TrainingOptions, inputs: Mapping[str, Any], ending: Ending) -> Manifest:
    """Write card, curves and, last of all, the manifest; `inputs` as `find_inputs` gave them before."""
    folder = options.place.output
    if "plots" in options.place.curves:
        draw_curves(folder)
    config = options.describe() | {"policy": ending.policy, "max_tokens": ending.max_tokens}
    write_card(
        Trained(
            options, config, inputs, ending.counts, ending.figures, ending.languages, ending.steps, ending.weights_of
        )
    )
    counts = ending.counts | {
        "steps": ending.steps,
        "planned_steps": ending.num_steps,
        "weights_of": list(ending.weights_of),
        "stopped_early": ending.stopped_early,
        "last_loss": ending.last_loss,
        "figures": ending.figures,
    }
    manifest = Manifest(
        stage=STAGE, config=config, inputs=dict(inputs), counts=counts, files=describe_files(folder, _files(folder))
    )
    manifest.write(folder)
    return manifest


def _files(folder: str) -> list[str]:
    """What the output holds, save checkpoints, and event files and history, which hold times."""
    root = Path(folder)
    names = (path.relative_to(root) for path in sorted(root.rglob("*")) if path.is_file())
    left_out = {CHECKPOINTS, TENSORBOARD, HISTORY}
    return [
        name.as_posix() for name in names if name.parts[0] not in left_out and not name.parts[0].startswith(("_", "."))
    ]


def find_inputs(options: TrainingOptions) -> dict[str, Any]:
    """Hashes of the files of pairs and gaps, and of the manifests of what a run is made of, None for what has none."""
    place = options.place
    found = describe_input(place.pairs, place.split, options.switching.source_language)
    inputs: dict[str, Any] = {
        "pairs": {path: {"xxh3_128": hash_file(path)} for path in found.files},
        "pairs_manifest": _hash_manifest(found.files[0], 3),
        "model_manifest": _hash_manifest(place.model, 0),
    }
    if options.switching.lexicon:
        inputs["lexicon_manifest"] = _hash_manifest(options.switching.lexicon, 0)
    if options.teacher.teacher:
        inputs["teacher_manifest"] = _hash_manifest(options.teacher.teacher, 0)
    if options.teacher.teacher_pairs:
        read = describe_input(options.teacher.teacher_pairs).files
        inputs["teacher_pairs"] = {path: {"xxh3_128": hash_file(path)} for path in read}
    if options.gaps.gaps:
        report = find_report(options.gaps.gaps)
        inputs["gaps"] = {report: {"xxh3_128": hash_file(report)}}
    if options.dev.dev:
        inputs["dev_manifest"] = _hash_manifest(options.dev.dev, 0)
    return inputs


def _hash_manifest(path: str, up: int) -> str | None:
    """The hash of the manifest in a folder, or in one of the `up` folders above a file; None where there is none."""
    folder = path
    for _ in range(up + 1):
        manifest = join(folder, MANIFEST_NAME)
        if exists(manifest):
            return hash_file(manifest)
        folder = folder.rpartition("/")[0]
        if not folder:
            break
    return None
