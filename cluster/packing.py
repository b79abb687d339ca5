"""A trained model packed to be carried or sent: no checkpoints and curves, and weights of half the size."""

import shutil
from pathlib import Path

import torch
from pydantic import Field
from safetensors.torch import load_file, save_file

from cluster.model_card import CARD
from csgen.config import StageConfig
from csgen.errors import InputError
from csgen.files import hash_file, refuse_finished
from csgen.manifest import MANIFEST_NAME, Manifest, describe_files

STAGE = "pack"
WEIGHTS = "model.safetensors"
KEPT = ("*.json", "README.md", "*/config.json", "*.model", "*.txt")
LEFT_OUT = (MANIFEST_NAME,)


class PackConfig(StageConfig):
    """Options of `csgen pack`."""

    model: str = Field(min_length=1, description="folder of a trained model, as csgen train writes it")
    card: str | None = Field(None, description="model card to give it in place of its own")
    output: str = Field(min_length=1, description="folder to write")


def pack(config: PackConfig) -> Manifest:
    """Copy what loading needs, the weights in float16; the configuration goes on saying float32, in which they load."""
    source, target = Path(config.model), Path(config.output)
    refuse_finished(config.output)
    if not (source / WEIGHTS).is_file():
        raise InputError.at(config.model, None, f"has no {WEIGHTS}: give a folder that csgen train has finished")
    if config.card and not Path(config.card).is_file():
        raise InputError.at(config.card, None, "no such file: --card is a model card in Markdown")
    names = sorted({file.relative_to(source) for form in KEPT for file in source.glob(form)})
    names = [name for name in names if name.as_posix() not in LEFT_OUT and not name.parts[0].startswith(("_", "."))]
    for name in names:
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source / name, target / name)
    if config.card:
        shutil.copyfile(config.card, target / CARD)
    weights = load_file(source / WEIGHTS)
    halves = {name: _halve(name, value) for name, value in weights.items()}
    save_file(halves, target / WEIGHTS, metadata={"format": "pt"})
    files = sorted({*(name.as_posix() for name in names), WEIGHTS, *([CARD] if config.card else [])})
    made_from = source / MANIFEST_NAME
    manifest = Manifest(
        stage=STAGE, config={"precision": "float16"},
        inputs={"model_manifest": hash_file(str(made_from)) if made_from.is_file() else None},
        counts={"parameters": sum(value.numel() for value in weights.values())},
        files=describe_files(config.output, files),
    )  # fmt: skip
    manifest.write(config.output)
    return manifest


def _halve(name: str, value: torch.Tensor) -> torch.Tensor:
    if not value.is_floating_point():
        return value
    half = value.half()
    if not torch.isfinite(half).all():
        raise InputError(f"{name}: numbers beyond what float16 holds; the model cannot be packed")
    return half
