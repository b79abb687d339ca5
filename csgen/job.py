"""Places a stage's shards on Ray Data: one task a shard, over an explicit list. Knows nothing of what a shard does.

Task pools, not actor pools, since an actor for every CPU starves the reader; shards, not Ray Data's own readers and
writers, since those neither bound the number of blocks nor write files that a retry overwrites with the same bytes.
"""

import traceback
import warnings
from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Any, TypeVar

import cloudpickle
import ray
import ray.data
import ray.exceptions

from csgen.errors import CsgenError

MAX_RETRIES = 3  # of a shard whose worker died; Ray Data would try without end

Job = TypeVar("Job")
Result = TypeVar("Result")


def map_shards(
    run_shard: Callable[[Job, int], Result], job: Job, indices: list[int], workers: int | None
) -> Iterator[Result]:
    """Run `run_shard(job, index)` for each index on the connected cluster; gives the results as they come.

    The job goes to the object store once, and every machine's workers share its arrays. A worker that dies is replaced
    and its shard run again, a few times. A CsgenError of `run_shard` is raised here as it was there; any other
    exception becomes one, with the worker's traceback as its note.
    """
    if not indices:
        return
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.execution_options.preserve_order = False
    # The reservation holds each further task back by a second, so that short shards ran one after the other; with a
    # single operator there is nothing to reserve for.
    context.op_resource_reservation_enabled = False
    reference = ray.put((run_shard, job))  # held until all is done: a lost reference cannot be fetched again
    shards = ray.data.from_items([{"index": i} for i in indices], override_num_blocks=len(indices))
    with warnings.catch_warnings():
        # Ray 2.60 deprecates max_retries here and names nothing in its place.
        warnings.simplefilter("ignore", category=DeprecationWarning)
        results = shards.map_batches(
            _run_one,
            fn_kwargs={"references": [reference]},
            batch_size=1,
            num_cpus=1,
            compute=ray.data.TaskPoolStrategy(size=workers and min(workers, len(indices))),
            max_retries=MAX_RETRIES,
        )
    try:
        for row in results.iter_rows():
            outcome = cloudpickle.loads(row["result"])
            if isinstance(outcome, Exception):
                raise outcome
            yield outcome
    except ray.exceptions.WorkerCrashedError as error:
        raise CsgenError(
            f"a worker died {MAX_RETRIES + 1} times at the same shard: out of memory? Give fewer --workers; "
            "Ray's logs in /tmp/ray/session_latest/logs tell more"
        ) from error


def attempt(call: Callable[[], Result]) -> Result | CsgenError:
    """What a worker's call gives, or the CsgenError that it raises; any other exception as one, its traceback noted."""
    try:
        return call()
    except CsgenError as error:
        return error
    except ray.exceptions.RaySystemError:  # of the cluster, not of the shard
        raise
    except Exception as error:
        failure = CsgenError(f"a worker failed: {type(error).__name__}: {error}")
        failure.add_note(traceback.format_exc())
        return failure


def _run_one(batch: dict[str, Any], references: list[Any]) -> dict[str, Any]:
    # In a list, since Ray Data would hand the bare reference to every task's arguments and resolve it there.
    # No exception may leave a task: Ray Data would run it again without end.
    def run() -> bytes:
        run_shard, job = _fetch(references[0])
        return bytes(cloudpickle.dumps(run_shard(job, int(batch["index"][0]))))

    outcome = attempt(run)
    return {"result": [outcome if isinstance(outcome, bytes) else cloudpickle.dumps(outcome)]}


@lru_cache(maxsize=1)
def _fetch(reference: Any) -> Any:
    """The job, once a worker process."""
    return ray.get(reference)
