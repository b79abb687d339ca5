"""How the kernels of this package are compiled: unlike csgen.switching's they may allocate; x / 0 is infinite."""

from collections.abc import Callable
from typing import Any, TypeVar

from numba import njit

_Function = TypeVar("_Function", bound=Callable[..., Any])
compiled: Callable[[_Function], _Function] = njit(cache=True, nogil=True, error_model="numpy")
