"""The compiled lexicon: a hash table of words and phrases that the kernel reads in place, memory-mapped.

One table holds one source language and all its target languages. It is a folder of .npy files, so that every process
of a machine shares one copy; it knows nothing of where the entries came from.
"""

import io
import json
import unicodedata
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from csgen.characters import fold
from csgen.errors import InputError
from csgen.files import exists, is_local, join, open_input, replace_file
from csgen.switching.lookup import TableArrays, find_node, targets_of
from csgen.switching.primitives import SLACK, compiled

_ARRAYS = ("rows", "child_keys", "child_values", "targets", "pool")
_NUMBERS = ("stride", "num_slots", "count_shift", "max_key_bytes", "max_target_bytes")
_FORMAT = 2  # of the arrays; raise it with any change to them
MAX_LANGUAGES = 127  # of a table; spans keep a language in a byte


@dataclass(frozen=True)
class Table:
    """A compiled lexicon of one source language; `languages` are the targets in the order of the arrays."""

    source_language: str
    languages: tuple[str, ...]
    arrays: TableArrays
    folder: str | None = None  # where it is memory-mapped from
    removed: tuple[str, ...] = ()
    is_path: bool = False

    def language_index(self, language: str) -> int:
        """The index of a target language; an InputError if the lexicon lacks it."""
        if language not in self.languages:
            raise InputError(
                f"the lexicon has no translations from {self.source_language} into {language}; "
                f"it has {', '.join(self.languages)}"
            )
        return self.languages.index(language)

    def without(self, sources: list[str]) -> "Table":
        """The same table with these words and phrases taken out, whatever their case; unknown ones are ignored."""
        nodes = [node for node in map(self._node_of, sources) if node is not None]
        if not nodes:
            return self
        rows = self.arrays.rows.copy() if self.folder is None else _read_array(self._file("rows"), "c")
        counts = count_words(len(self.languages), self.arrays.count_shift)
        for node in nodes:
            rows[node + 1 : node + 1 + counts] = 0
        return replace(self, arrays=freeze(self.arrays._replace(rows=rows)), removed=(*self.removed, *sources))

    def by_path(self) -> "Table":
        """The same table, which is pickled as the folder's path: a process of this machine then maps its files."""
        return replace(self, is_path=self.folder is not None)

    def __reduce__(self) -> Any:
        if self.is_path:
            return _reopen, (self.folder, self.source_language, self.removed)
        return Table, (self.source_language, self.languages, self.arrays)

    def find_words(self, words: list[str]) -> NDArray[np.int64]:
        """The node of each folded word, -1 where it is unknown."""
        return np.array([self._step(word, -1) for word in words], np.int64)

    def count_translations(self, nodes: NDArray[np.int64], language: str) -> NDArray[np.int64]:
        """How many translations into a language each node has; 0 for node -1."""
        found = np.empty(len(nodes), np.int64)
        _count_translations(self.arrays, np.ascontiguousarray(nodes), self.language_index(language), found)
        return found

    def _file(self, name: str) -> str:
        return join(self.folder or "", f"table-{self.source_language}", f"{name}.npy")

    def _step(self, word: str, parent: int) -> int:
        encoded = word.encode()
        return int(find_node(self.arrays, np.frombuffer(encoded + bytes(SLACK), np.uint8), len(encoded), parent))

    def _node_of(self, source: str) -> int | None:
        node = -1
        for word in fold(unicodedata.normalize("NFC", source)).split():
            node = self._step(word, node)
            if node < 0:
                return None
        return None if node < 0 else node


def count_words(num_languages: int, count_shift: int) -> int:
    """Words of 8 bytes that a node's counts take: one a language and one behind."""
    return -(-((num_languages + 1) << count_shift) // 8)


def freeze(arrays: TableArrays) -> TableArrays:
    """The same arrays, read-only and plain: Numba then compiles one kernel for built, mapped and shared ones."""
    plain: dict[str, Any] = {name: np.asarray(getattr(arrays, name)).view(np.ndarray) for name in _ARRAYS}
    for array in plain.values():
        array.flags.writeable = False
    return arrays._replace(**plain)


def write_table(table: Table, folder: str) -> list[str]:
    """Write a table's arrays and its description; returns the names of the files, relative to `folder`."""
    names = []
    stem = f"table-{table.source_language}"
    for name in _ARRAYS:
        with replace_file(join(folder, stem, f"{name}.npy")) as stream:
            np.save(stream, getattr(table.arrays, name))
        names.append(f"{stem}/{name}.npy")
    numbers = {n: int(getattr(table.arrays, n)) for n in _NUMBERS}
    with replace_file(join(folder, stem, "table.json")) as stream:
        stream.write(json.dumps({"format": _FORMAT, "languages": table.languages} | numbers).encode())
    return [*names, f"{stem}/table.json"]


def read_table(folder: str, source_language: str) -> Table:
    """Open a lexicon's compiled table; memory-mapped where the folder is local."""
    stem = join(folder, f"table-{source_language}")
    if not exists(join(stem, "table.json")):
        raise InputError(
            f"{folder}: no lexicon of source language {source_language} there; build one with csgen lexicon build"
        )
    with open_input(join(stem, "table.json")) as stream:
        description = json.load(stream)
    if description.get("format") != _FORMAT:
        raise InputError(f"{folder}: compiled by another version of csgen; build it again with csgen lexicon build")
    loaded: dict[str, Any] = {name: _read_array(join(stem, f"{name}.npy")) for name in _ARRAYS}
    numbers: dict[str, Any] = {n: description[n] for n in _NUMBERS}
    arrays = freeze(TableArrays(**loaded, **numbers))
    return Table(source_language, tuple(description["languages"]), arrays, folder if is_local(folder) else None)


def _reopen(folder: str, source_language: str, removed: tuple[str, ...]) -> Table:
    return read_table(folder, source_language).without(list(removed)).by_path()


def _read_array(path: str, mode: Literal["r", "c"] = "r") -> NDArray[Any]:
    """The array of a file; mapped where that is local, with "c" so that what is written to it stays in this process."""
    if is_local(path):
        return np.load(path, mmap_mode=mode, allow_pickle=False)  # type: ignore[no-any-return]
    with open_input(path) as stream:
        return np.load(io.BytesIO(stream.read()), allow_pickle=False)  # type: ignore[no-any-return]


@compiled
def _count_translations(table: TableArrays, nodes: Any, language: int, found: Any) -> None:
    for k in range(len(nodes)):
        found[k] = 0
        if nodes[k] >= 0:
            first, last = targets_of(table, nodes[k], language)
            found[k] = last - first
