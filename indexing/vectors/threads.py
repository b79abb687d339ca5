"""Tasks on the threads of one process; knows nothing of what they do."""

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from itertools import pairwise
from typing import TypeVar

from numba import get_num_threads

Result = TypeVar("Result")


def count_threads(num_threads: int | None) -> int:
    """`num_threads`, or as many as Numba is set to."""
    return num_threads or int(get_num_threads())


def cut_evenly(length: int, num_parts: int) -> list[slice]:
    """At most so many runs of 0 .. length - 1, none of them empty."""
    return [slice(a, b) for a, b in pairwise(length * i // num_parts for i in range(num_parts + 1)) if a < b]


def run_tasks(tasks: Sequence[Callable[[], Result]], num_threads: int) -> list[Result]:
    """The tasks' results, in order. The calling thread works too, so that a short task need not wake another."""
    if len(tasks) == 1:
        return [tasks[0]()]
    results: dict[int, Result] = {}
    waiting = iter(enumerate(tasks))  # shared: a step of it holds the interpreter's lock

    def work() -> None:
        for place, task in waiting:
            results[place] = task()

    num_others = min(num_threads, len(tasks)) - 1
    others = [_pool(os.getpid(), num_threads).submit(work) for _ in range(num_others)]
    try:
        work()
    finally:
        started = [other for other in others if not other.cancel()]
        for other in started:
            other.exception()  # wait, so that no thread uses what the caller may drop
    for other in started:
        other.result()
    return [results[place] for place in range(len(tasks))]


@lru_cache(maxsize=8)
def _pool(process: int, num_threads: int) -> ThreadPoolExecutor:
    """Threads that stay, since starting one takes as long as some searches; a forked process has its own."""
    return ThreadPoolExecutor(num_threads, "csgen-vectors")
