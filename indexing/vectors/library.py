"""FAISS itself, loaded when it is first needed: the one module of the package that imports it."""

import contextlib
from collections.abc import Iterator
from functools import lru_cache
from types import ModuleType
from typing import Any

from csgen.errors import InputError


def load_faiss() -> ModuleType:
    try:
        import faiss
    except ImportError as error:
        raise InputError("an index of vectors needs FAISS: pip install 'csgen[index]'") from error
    module: ModuleType = faiss
    return module


@contextlib.contextmanager
def faiss_threads(num_threads: int) -> Iterator[ModuleType]:
    """FAISS, set to so many threads in what this thread calls within the block."""
    faiss = load_faiss()
    before = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(num_threads)
    try:
        yield faiss
    finally:
        faiss.omp_set_num_threads(before)


@contextlib.contextmanager
def reading(path: str) -> Iterator[None]:
    """What FAISS finds wrong with a file, as an InputError that names it."""
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        detail = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError.at(path, None, f"truncated or altered: FAISS cannot read it ({detail})") from error


@lru_cache(maxsize=1)
def gpu_resources() -> Any:
    """What FAISS needs to work on a GPU; an InputError where it has none."""
    faiss = load_faiss()
    if not hasattr(faiss, "StandardGpuResources"):
        raise InputError(
            "this FAISS has no GPU support: put the extra `gpu` in its place (pip uninstall faiss-cpu; "
            "pip install 'csgen[gpu]'), or choose the device cpu"
        )
    if faiss.get_num_gpus() < 1:
        raise InputError("FAISS finds no GPU on this machine: choose the device cpu")
    return faiss.StandardGpuResources()
