"""The stage `verify`: computes an output of `csgen switch` anew and names what differs."""

import io
import tempfile
from dataclasses import dataclass

import numpy as np
from pydantic import Field

from csgen.config import StageConfig
from csgen.errors import CsgenError, InputError
from csgen.files import exists, hash_file, join
from csgen.manifest import Manifest
from csgen.switch_job import STAGE, PartWriter, SwitchConfig, SwitchJob, open_job


class VerifyConfig(StageConfig):
    """Options of `csgen verify`."""

    folder: str = Field(min_length=1, description="output of csgen switch; may be a URI")
    sample: int | None = Field(
        None, ge=1, description="recompute this many parts, 1 or more, drawn by --seed; default: all"
    )
    seed: int = Field(0, ge=0, description="seed of the draw of parts, 0 or more")


@dataclass(frozen=True)
class Difference:
    """A part that is not what the manifest says, and why."""

    name: str
    reason: str


def verify(config: VerifyConfig) -> list[Difference]:
    """What differs: in the hash of any file, or in the rows of any part that was computed anew.

    The input must be where it was; an input or a lexicon that changed is an InputError that names it.
    """
    manifest = Manifest.read(config.folder)
    if manifest.stage != STAGE:
        raise InputError(f"{config.folder}: made by csgen {manifest.stage}; verify takes outputs of csgen {STAGE}")
    names = sorted(manifest.files)
    drawn = set(names)
    if config.sample is not None and config.sample < len(names):
        drawn = {names[k] for k in np.random.default_rng(config.seed).choice(len(names), config.sample, replace=False)}
    with tempfile.TemporaryDirectory() as scratch:  # where pairs of several files are joined
        job = _reopen(manifest, config.folder, scratch)
        reasons: dict[str, str | None] = {}
        for index, name in enumerate(names):
            reasons[name] = _compare_file(config.folder, name, manifest)
            if reasons[name] is None and name in drawn:
                reasons[name] = _compare_rows(job, index, manifest.files[name]["content"])
    return [Difference(name, reason) for name, reason in reasons.items() if reason is not None]


def _reopen(manifest: Manifest, folder: str, scratch: str) -> SwitchJob:
    """The job that made an output, its input and lexicon as they are now; refused where they are not as they were."""
    options = manifest.config | {"output": scratch, "on_error": "skip", "max_errors": 1 << 60}
    job = open_job(SwitchConfig.from_options(options))
    was, now = manifest.inputs, job.describe_inputs()
    changes = [
        f"{name} was {was.get(name)}, is {now.get(name)}" for name in sorted(now) if was.get(name) != now.get(name)
    ]
    if changes:
        raise InputError(f"{folder}: cannot be computed anew, its inputs changed: {'; '.join(changes)}")
    return job


def _compare_file(folder: str, name: str, manifest: Manifest) -> str | None:
    path = join(folder, name)
    if not exists(path):
        return "is missing"
    return None if hash_file(path) == manifest.files[name]["xxh3_128"] else "its bytes differ from the manifest's hash"


def _compare_rows(job: SwitchJob, index: int, content: str) -> str | None:
    writer = PartWriter(job, index)
    try:
        part = writer.part(writer.write(io.BytesIO()))
    except CsgenError as error:
        return f"cannot be computed anew: {error}"
    return None if part.content == content else "its rows differ when computed anew"
