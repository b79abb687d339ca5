"""Words of texts in scripts without spaces, by ICU's dictionaries (the extra `segment`); knows nothing of lexicons."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from csgen.characters import WORD, class_of
from csgen.errors import InputError

UNSPACED_LANGUAGES = frozenset({"ja", "zh", "th", "lo", "km", "my"})


def segment_bounds(
    data: NDArray[np.uint8], offsets: NDArray[np.int32], language: str
) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """Find the words of many texts; the same layout as csgen.switching.tokens.word_bounds returns.

    One Python step a word, some hundred times slower than the scanner for languages with spaces.
    """
    breaker = _breaker()
    bounds: list[int] = []
    bound_offsets = [0]
    for i in range(len(offsets) - 1):
        at = 0
        for word in breaker(data[offsets[i] : offsets[i + 1]].tobytes().decode(), language):
            size = len(word.encode())
            if class_of(ord(word[0])) & WORD:
                bounds += (at, at + size)
            at += size
        bound_offsets.append(len(bounds))
    return np.array(bounds, np.int32), np.array(bound_offsets, np.int64)


def _breaker() -> Any:
    try:
        from icu4py.breakers import WordBreaker
    except ImportError as error:
        raise InputError(
            "source text in a script without spaces needs the extra: pip install 'csgen[segment]'"
        ) from error
    return WordBreaker
