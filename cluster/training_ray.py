"""Places a training run on Ray Train: the workers of a group share each batch, and a group that breaks begins anew.

Knows nothing of training but its function `work`. Checkpoints are the run's own, in its output folder, which every
worker sees: Ray Train keeps nothing of a run but its logs.
"""

import contextlib
import json
import os
import shutil
import threading
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import ray
import ray.train.torch
import torch
from ray.train import FailureConfig, RunConfig, ScalingConfig
from ray.train.torch import TorchConfig, TorchTrainer
from ray.train.v2.api.exceptions import TrainingFailedError

from cluster.training_job import work
from cluster.training_options import TrainingOptions
from cluster.training_output import Ending, check_output, claim_output, find_inputs, finish
from cluster.training_pairs import lay_out_pairs, remove_spools
from cluster.training_report import HISTORY
from csgen.errors import CsgenError, InputError
from csgen.files import replace_file
from csgen.job import map_shards
from csgen.manifest import Manifest

MAX_FAILURES = 5  # of a group of workers, of which one has died; each is begun anew from the newest checkpoint
FAILURE = "_failure.json"
STORAGE = "_ray"
WAIT_S = 4 * 3600  # of the other workers at most while the first one measures; one that has died is noticed at once
LOOK_EVERY_S = 0.5
_LOCAL_CPUS = 0.5  # of a worker: 2 whole ones hang a machine of 2 CPUs as soon as anything else asks for one

ShowStep = Callable[[Mapping[str, Any]], None]


def run_on_ray(options: TrainingOptions, show: ShowStep) -> Manifest:
    """Train on the connected cluster and write the output. A CsgenError of a worker is raised here as it was there."""
    check_output(options)
    place = options.place
    gpus = int(ray.cluster_resources().get("GPU", 0))
    if place.gpus and gpus < place.workers and "RAY_ADDRESS" not in os.environ:
        raise InputError(
            f"--workers {place.workers} --gpus 1: this machine has {gpus} GPUs that Ray sees; give no more workers"
        )
    folder = claim_output(options).absolute()
    (folder / FAILURE).unlink(missing_ok=True)
    absolute = options.with_output(str(folder))
    resources = _resources(place.workers, place.gpus)
    inputs = find_inputs(options)
    laid_out = lay_out_pairs(absolute, inputs, partial(map_shards, workers=None))
    with _storage(folder) as storage, _follow(folder / HISTORY, show):
        trainer = TorchTrainer(
            _work,
            train_loop_config={
                "options": absolute,
                "laid_out": laid_out,
                "threads": _threads(place.workers),
                "folder": str(Path.cwd()),
            },
            torch_config=TorchConfig(backend="nccl" if place.gpus else "gloo", timeout_s=WAIT_S),
            scaling_config=ScalingConfig(
                num_workers=place.workers, use_gpu=bool(place.gpus), resources_per_worker=resources
            ),
            run_config=RunConfig(
                name="run", storage_path=storage, failure_config=FailureConfig(max_failures=MAX_FAILURES)
            ),
        )
        try:
            result = trainer.fit()
        except TrainingFailedError as error:
            raise_failure(folder / FAILURE)
            reason = (str(error).strip().splitlines() or [type(error).__name__])[-1]
            raise CsgenError(
                f"the workers failed {MAX_FAILURES + 1} times: {reason}; the same command goes on from the newest "
                "checkpoint; Ray's logs in /tmp/ray/session_latest/logs tell more"
            ) from error
    raise_failure(folder / FAILURE)
    remove_spools(absolute)
    return finish(options, inputs, Ending(**result.return_value))


def _work(config: dict[str, Any]) -> dict[str, Any] | None:
    """What a worker does. A CsgenError leaves a note, upon which the next group ends at once instead of failing again.

    It is raised nevertheless: the other workers may be waiting for this one, and Ray stops them only at a failure.
    """
    options: TrainingOptions = config["options"]
    note = Path(options.place.output) / FAILURE
    if note.exists():
        return None
    if Path(config["folder"]).is_dir():  # relative paths are of where the command was given
        os.chdir(config["folder"])
    torch.set_num_threads(config["threads"])
    if options.place.gpus:
        torch.cuda.set_device(ray.train.torch.get_device())
    try:
        ending = work(options, laid_out=config["laid_out"])
    except CsgenError as error:
        content = {"kind": "input" if isinstance(error, InputError) else "failure", "message": str(error)}
        with replace_file(str(note)) as stream:
            stream.write(json.dumps(content, ensure_ascii=False).encode())
        raise
    return None if ending is None else vars(ending)


@contextlib.contextmanager
def _storage(folder: Path) -> Iterator[str]:
    """Where Ray Train notes what it does: every worker must see it, so it lies in the output while the run lasts."""
    storage = folder / STORAGE
    shutil.rmtree(storage, ignore_errors=True)  # of a run that was killed
    try:
        yield str(storage)
    finally:
        shutil.rmtree(storage, ignore_errors=True)


def raise_failure(note: Path) -> None:
    """Raise what a worker has left in a note, which is removed; nothing where there is none."""
    if not note.exists():
        return
    content = json.loads(note.read_text(encoding="utf-8"))
    note.unlink()
    raise (InputError if content["kind"] == "input" else CsgenError)(content["message"])


def _resources(workers: int, gpus: int) -> dict[str, float]:
    """What a worker reserves: a whole CPU where there are more than workers, else half of one."""
    spare = ray.cluster_resources().get("CPU", 1) > workers
    resources: dict[str, float] = {"CPU": 1 if spare else _LOCAL_CPUS}
    return resources | ({"GPU": 1} if gpus else {})


def _threads(workers: int) -> int:
    """Threads of a worker: the cluster's CPUs by workers."""
    return max(1, int(ray.cluster_resources().get("CPU", 1)) // workers)


@contextlib.contextmanager
def _follow(history: Path, show: ShowStep) -> Iterator[None]:
    """Show the newest line of a history, which another process writes, as long as the block lasts."""
    ended = threading.Event()

    def look() -> None:
        last = b""
        while not ended.wait(LOOK_EVERY_S):
            with contextlib.suppress(OSError):
                newest = _last_line(history)
                if newest and newest != last:
                    last = newest
                    show(json.loads(newest))

    thread = threading.Thread(target=look, daemon=True, name="progress")
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def _last_line(path: Path) -> bytes:
    """The last whole line of a file; empty where there is none."""
    with path.open("rb") as stream:
        stream.seek(0, os.SEEK_END)
        stream.seek(max(0, stream.tell() - 4096))
        lines = stream.read().split(b"\n")[:-1]
    return lines[-1] if lines and lines[-1].startswith(b"{") else b""
