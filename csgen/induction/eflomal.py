"""The aligner eflomal (Östling and Tiedemann 2016; the extra `eflomal`), giving the links that our own aligner gives.

Its samplers are seeded by the operating system, and it offers no seed: two runs differ in some of their links.
"""

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from csgen.errors import CsgenError, InputError
from csgen.induction.aligner import Links
from csgen.induction.parallel import Bitext, Side

SAMPLERS = 3  # eflomal's own default


def align_with_eflomal(bitext: Bitext) -> Links:
    """Links of both directions by eflomal with its defaults; all of probability 1. Not reproducible."""
    aligner = _aligner()
    with tempfile.TemporaryDirectory(prefix="csgen-eflomal-") as folder:
        forward, backward = str(Path(folder, "forward")), str(Path(folder, "backward"))
        aligner.align(
            _lines(bitext.source), _lines(bitext.target), links_filename_fwd=forward, links_filename_rev=backward
        )
        return Links(
            *_read_links(forward, bitext.target, bitext.source, 1),
            *_read_links(backward, bitext.source, bitext.target, 0),
        )


def _aligner() -> Any:
    try:
        from eflomal import Aligner
    except ImportError as error:
        raise InputError(
            "the aligner eflomal needs the extra: pip install 'csgen[eflomal]' (and a C compiler)"
        ) from error
    return Aligner(n_samplers=SAMPLERS)


def _lines(side: Side) -> list[str]:
    """A sentence a line, words as their numbers: eflomal splits at blanks and lower-cases."""
    words = side.tokens.astype(str).tolist()
    return [" ".join(words[start:end]) for start, end in zip(side.offsets[:-1], side.offsets[1:], strict=True)]


def _read_links(path: str, side: Side, other: Side, column: int) -> tuple[NDArray[np.int16], NDArray[np.float32]]:
    """The linked position in `other` of each word of `side`, which is `column` of eflomal's source-target pairs."""
    linked = np.full(len(side.tokens), -1, np.int16)
    with Path(path).open() as lines:
        rows = [np.array(line.replace("-", " ").split(), np.int64) for line in lines]
    if len(rows) != len(side.offsets) - 1:
        raise CsgenError(f"eflomal wrote links of {len(rows):,} sentences, expected {len(side.offsets) - 1:,}")
    sizes = np.array([len(row) // 2 for row in rows], np.int64)
    pairs = np.concatenate([np.zeros(0, np.int64), *rows]).reshape(-1, 2)
    at = np.repeat(side.offsets[:-1], sizes) + pairs[:, column]
    linked[at] = pairs[:, 1 - column]
    return linked, (linked >= 0).astype(np.float32)
