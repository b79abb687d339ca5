"""Freed memory given back to the machine: batches of other sizes each step leave glibc's heap full of holes."""

import ctypes
from functools import cache
from typing import Any

TRIM_STEPS = 50  # between two times; the pages that come anew cost about a hundredth of the steps between


def give_back_memory() -> bool:
    """Give free pages back where the C library can (glibc); returns whether it could."""
    trim = _find_trim()
    if trim is None:
        return False
    trim(0)
    return True


@cache
def _find_trim() -> Any:
    """malloc_trim(3); None where the C library has none."""
    try:
        return ctypes.CDLL(None).malloc_trim
    except (AttributeError, OSError, TypeError):
        return None
