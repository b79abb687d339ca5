"""The project's exceptions.

CsgenError          something failed: exit status 1
└── InputError      what the user gave is wrong, and the message says what to mend: exit status 2
"""


class CsgenError(Exception):
    """A failure that is not the user's: a broken tool, a full disk, a worker that died."""


class InputError(CsgenError):
    """The user's input is wrong. The message names the place and the remedy."""

    @classmethod
    def at(cls, path: str, row: int | None, message: str) -> "InputError":
        """An error at `path`, on line or row `row` (counted from 1; None: the file as a whole)."""
        return cls(f"{path}: {message}" if row is None else f"{path}:{row}: {message}")
