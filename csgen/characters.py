"""What each Unicode code point is, and how it folds for look-up: two-stage tables that the kernels index.

The tables are carried as a file, so that results do not depend on the Unicode version of the Python at hand.
`python -m csgen.characters` writes it anew from that Python's `unicodedata`.
"""

import sys
import unicodedata
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

WORD = 1  # letters, marks, numbers: what words consist of
UPPER = 2  # upper case and title case letters
LOWER = 4
DIGIT = 8  # decimal digits of any script: the regular expression \d
SPACE = 16  # what str.split() splits at: the regular expression \s
UNSPACED = 32  # Han, kana, Thai, Lao, Khmer, Myanmar: scripts written without spaces
GLUE = 64  # apostrophes, joiners, soft hyphen, middle dot: part of a word when they stand inside it
ALNUM = 128  # the regular expression \w

PAGE_BITS = 7
TABLE_FILE = Path(__file__).with_suffix(".npz")

_GLUE = "'\u2019\u200c\u200d\u00ad\u00b7"
_UNSPACED_NAMES = (
    "CJK UNIFIED",
    "CJK COMPATIBILITY IDEOGRAPH",
    "HIRAGANA",
    "KATAKANA",
    "THAI",
    "LAO",
    "KHMER",
    "MYANMAR",
)


def fold(text: str) -> str:
    """The look-up form: character by character lower case, and one sigma. Never changes the number of characters."""
    return "".join(map(_fold_character, text))


def _fold_character(character: str) -> str:
    lowered = "\u03c3" if character in "\u03a3\u03c2" else character.lower()
    return lowered if len(lowered) == 1 else character


def _classify(character: str) -> int:
    category = unicodedata.category(character)
    return (
        WORD * (category[0] in "LMN")
        | UPPER * (category in ("Lu", "Lt"))
        | LOWER * (category == "Ll")
        | DIGIT * (category == "Nd")
        | SPACE * character.isspace()
        | UNSPACED * (category[0] in "LMN" and unicodedata.name(character, "").startswith(_UNSPACED_NAMES))
        | GLUE * (character in _GLUE)
        | ALNUM * (character.isalnum() or character == "_")
    )


def build_tables() -> dict[str, NDArray[np.generic]]:
    """The tables from this Python's Unicode data; code point c is at `values[pages[c >> 7], c & 127]`."""
    characters = [chr(c) for c in range(sys.maxunicode + 1)]
    classes = np.array([_classify(c) for c in characters], np.uint8)
    folds = np.array([ord(_fold_character(c)) - ord(c) for c in characters], np.int32)
    tables: dict[str, NDArray[np.generic]] = {}
    for name, values in (("class", classes), ("fold", folds)):
        unique, pages = np.unique(values.reshape(-1, 1 << PAGE_BITS), axis=0, return_inverse=True)
        tables |= {f"{name}_pages": pages.reshape(-1).astype(np.uint16), f"{name}_values": unique}
    return tables


def _load() -> tuple[NDArray[np.uint16], NDArray[np.uint8], NDArray[np.uint16], NDArray[np.int32]]:
    with np.load(TABLE_FILE) as tables:
        return tables["class_pages"], tables["class_values"], tables["fold_pages"], tables["fold_values"]


if __name__ == "__main__":
    np.savez_compressed(TABLE_FILE, allow_pickle=False, **build_tables())

CLASS_PAGES, CLASS_VALUES, FOLD_PAGES, FOLD_VALUES = _load()


def class_of(code_point: int) -> int:
    """The class bits of a code point."""
    return int(CLASS_VALUES[CLASS_PAGES[code_point >> PAGE_BITS], code_point & ((1 << PAGE_BITS) - 1)])
