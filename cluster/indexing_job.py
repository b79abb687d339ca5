"""Places the tasks that build and change an index: in this process, or on Ray, where tasks for GPUs have an actor each.

Knows nothing of what tasks do, but that encoders are loaded where they are used, once a process.
"""

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any, Literal, TypeVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from cluster.connection import connect
from csgen.config import StageConfig
from csgen.errors import CsgenError
from csgen.files import fingerprint
from indexing.index.encoding import IdentifiedEncoder, load_encoder
from indexing.index.running import Place, run_here
from indexing.index.settings import EncoderIdentity, Precision
from indexing.index.sources import EncodedTexts

MAX_RESTARTS = 3  # of an actor whose process died; csgen.job.MAX_RETRIES of tasks
# Rough rates of one thread, to tell what is done before Ray would have started: texts that a small encoder reads, and
# passages with their vectors that are written as segments.
ENCODED_BYTES_A_SECOND, WRITTEN_BYTES_A_SECOND = 50_000, 10_000_000
STARTING_S = 20.0

Job = TypeVar("Job")
Result = TypeVar("Result")
Device = Literal["auto", "cpu", "cuda"]


class PlaceOptions(StageConfig):
    """Where an index is worked on."""

    workers: int | None = Field(
        None, ge=1, description="tasks on CPUs at a time, of one thread each, 1 or more; none: all CPUs; 1: without Ray"
    )
    encoder_device: Device = Field("auto", description="where the encoder runs; auto: on a GPU where there is one")


@dataclass(frozen=True)
class EncoderOnWorker:
    """Encodes with an encoder that each process loads when it first needs it, on its GPU or on one thread.

    One thread, since the vectors' last bits may depend on how many share a product.
    """

    identity: EncoderIdentity
    device: Device
    max_tokens: int | None

    def __call__(self, texts: Sequence[str]) -> tuple[NDArray[np.float32], int]:
        return _load(self.identity, self.device, self.max_tokens).encode(texts)


def find_encoder(
    path: str, precision: Precision, max_length: int | None, max_tokens: int | None, device: Device
) -> EncodedTexts:
    """An encoder as a source of vectors, to be sent to the workers. It is loaded once here, to see that it can be."""
    identity = load_encoder(path, precision=precision, max_length=max_length, max_tokens=max_tokens).identity
    return encode_with(identity, max_tokens, device)


def encode_with(identity: EncoderIdentity, max_tokens: int | None, device: Device) -> EncodedTexts:
    """The same of an encoder that is known."""
    return EncodedTexts(identity, EncoderOnWorker(identity, device, max_tokens))


def find_place(options: PlaceOptions, seconds: float) -> Place:
    """Where to work: in this process, which starts sooner than Ray does, if one thread would take so few seconds."""
    if "RAY_ADDRESS" not in os.environ and (options.workers == 1 or (options.workers is None and seconds < STARTING_S)):
        return Place(run_here, run_here, options.workers)
    connect(options.workers)
    return place_on_ray(options.workers, options.encoder_device)


def guess_encoding_s(paths: Iterable[str]) -> float:
    """How long one thread may take to encode the passages of some files."""
    return float(sum(fingerprint(path)["bytes"] for path in paths)) / ENCODED_BYTES_A_SECOND


def guess_writing_s(num_bytes: int) -> float:
    """How long one thread may take to write segments of so many bytes."""
    return num_bytes / WRITTEN_BYTES_A_SECOND


def place_on_ray(workers: int | None, device: Device) -> Place:
    """On the connected cluster."""
    import ray

    from csgen.job import map_shards

    def run(function: Callable[[Job, int], Result], job: Job, numbers: list[int], /) -> Iterator[Result]:
        return map_shards(function, job, numbers, workers)

    num_gpus = 0 if device == "cpu" else int(ray.cluster_resources().get("GPU", 0))
    return Place(run, partial(map_on_actors, num_gpus, {"num_gpus": 1}) if num_gpus else run, 1)


def map_on_actors(
    num_actors: int,
    resources: dict[str, float],
    function: Callable[[Job, int], Result],
    job: Job,
    numbers: list[int],
    /,
) -> Iterator[Result]:
    """Call `function(job, number)` for each number on actors that stay, each with its resources; results as they come.

    What stays in such a process, as a model does, is loaded once. An actor that dies is started again, and its number
    run again, a few times. A CsgenError is raised here as it was there; any other exception becomes one.
    """
    import ray
    import ray.exceptions
    from ray.util import ActorPool

    if not numbers:
        return
    actor = ray.remote(max_restarts=MAX_RESTARTS, max_task_retries=MAX_RESTARTS, **resources)(_Worker)
    reference = ray.put((function, job))  # held until all is done
    actors = [actor.remote([reference]) for _ in range(min(num_actors, len(numbers)))]
    try:
        for outcome in ActorPool(actors).map_unordered(lambda one, number: one.run.remote(number), numbers):
            if isinstance(outcome, Exception):
                raise outcome
            yield outcome
    except ray.exceptions.RayActorError as error:
        raise CsgenError(
            f"a worker died {MAX_RESTARTS + 1} times: out of memory? Give smaller --max-tokens; Ray's logs in "
            "/tmp/ray/session_latest/logs tell more"
        ) from error
    finally:
        for one in actors:
            ray.kill(one)


class _Worker:
    """An actor that holds a function and a job. The reference comes in a list: a bare one would be resolved."""

    def __init__(self, references: list[Any]) -> None:
        import ray

        self._function, self._job = ray.get(references[0])

    def run(self, number: int) -> Any:
        from csgen.job import attempt

        return attempt(partial(self._function, self._job, number))


@lru_cache(maxsize=1)
def _load(identity: EncoderIdentity, device: Device, max_tokens: int | None) -> IdentifiedEncoder:
    """The encoder, loaded once a process. One that changed since is refused."""
    import torch

    torch.set_num_threads(1)
    place = device if device != "auto" else "cuda" if torch.cuda.is_available() else "cpu"
    loaded = load_encoder(
        identity.path, precision=identity.precision, device=place, max_length=identity.max_length,
        max_tokens=max_tokens,
    )  # fmt: skip
    if loaded.identity != identity:
        raise CsgenError(f"{identity.path}: is another encoder on this worker, or has changed: give all the same files")
    return loaded
