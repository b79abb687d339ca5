"""Where tasks run: a function of a job and each of some numbers. Knows nothing of what tasks do, and no Ray."""

import contextlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol, TypeVar

Job = TypeVar("Job")
Result = TypeVar("Result")

Progress = Callable[[str, int | None], AbstractContextManager[Callable[[int], None]]]
"""Shows progress of so many units of a name; what it gives is told of those that are done."""


class Run(Protocol):
    """Calls a function with a job and each of some numbers, in any order and anywhere; csgen.job.map_shards is one."""

    def __call__(self, function: Callable[[Job, int], Result], job: Job, numbers: list[int], /) -> Iterable[Result]: ...


@dataclass(frozen=True)
class Place:
    """Where tasks run; those that encode, or ask for a GPU, run on workers that have one each where there are any.

    num_threads: of each task on a CPU; None: all of the machine.
    """

    run: Run
    encode: Run
    num_threads: int | None


def run_here(function: Callable[[Job, int], Result], job: Job, numbers: list[int], /) -> Iterator[Result]:
    """All tasks in this process, one after the other."""
    return (function(job, number) for number in numbers)


@contextlib.contextmanager
def no_progress(what: str, total: int | None) -> Iterator[Callable[[int], None]]:
    """Shows nothing."""
    yield lambda count: None


HERE = Place(run_here, run_here, None)
