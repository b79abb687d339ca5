"""The pool of scores: what a system gave a query and a passage, kept by hashes of the system and both texts.

A folder of immutable Parquet files a system. Each write makes a new file, named by its content, so that writers in any
number of processes cannot disturb each other; a file that was lost or evicted only means scoring its pairs again.
"""

import contextlib
import fcntl
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import numpy as np
import polars as pl
import xxhash
from numpy.typing import NDArray

from csgen.errors import InputError
from csgen.files import filesystem, is_local, join, replace_file

SCHEMA = {"query": pl.UInt64, "passage": pl.UInt64, "score": pl.Float32}
MOST_FILES = 16  # of a system, before they are merged into one
_SUFFIX = ".parquet"


class ScorePool:
    """Scores on disk, of at most `max_bytes` in all: beyond, the files written longest ago are deleted."""

    def __init__(self, folder: str, max_bytes: int) -> None:
        self._folder = folder
        self._max_bytes = max_bytes
        self._loaded: dict[str, pl.DataFrame] = {}

    def find(self, key: str, pairs: pl.DataFrame) -> NDArray[np.float32]:
        """The score of each row of `pairs` (hashes: query, passage), in their order; NaN where it is not known."""
        known = self._read(key)
        found = pairs.join(known, on=["query", "passage"], how="left", maintain_order="left")["score"]
        return found.fill_null(float("nan")).to_numpy().copy()

    def add(self, key: str, scores: pl.DataFrame) -> None:
        """Keep `scores` (query, passage, score); once it returns they are on disk, whole."""
        content = scores.select(*SCHEMA).sort("query", "passage")
        self._write(key, content)
        self._loaded[key] = _join(self._loaded.get(key), content)
        if len(self._files(key)) > MOST_FILES:
            self._merge(key)
        self._evict()

    def _read(self, key: str) -> pl.DataFrame:
        """All scores of a system, those of other processes included."""
        if key not in self._loaded:
            self._loaded[key] = pl.DataFrame(schema=SCHEMA)
            for name in self._files(key):
                part = self._read_file(key, name)
                if part is not None:
                    self._loaded[key] = _join(self._loaded[key], part)
        return self._loaded[key]

    def _read_file(self, key: str, name: str) -> pl.DataFrame | None:
        """A file's scores; None where it is gone, which another process may have merged or evicted."""
        fs, inner = filesystem(join(self._folder, key, name))
        try:
            return pl.read_parquet(BytesIO(fs.cat_file(inner))).select(pl.col(n).cast(t) for n, t in SCHEMA.items())
        except FileNotFoundError:
            return None
        except (pl.exceptions.PolarsError, OSError) as error:
            path = join(self._folder, key, name)
            raise InputError.at(path, None, f"damaged: {error}; delete it, and its pairs are scored again") from error

    def _write(self, key: str, content: pl.DataFrame) -> str:
        stream = BytesIO()
        content.write_parquet(stream, compression="zstd")
        name = xxhash.xxh3_128_hexdigest(stream.getbuffer()) + _SUFFIX
        with replace_file(join(self._folder, key, name)) as target:
            target.write(stream.getbuffer())
        return name

    def _merge(self, key: str) -> None:
        """One file in place of many; only by one process at a time, and on a local disk alone."""
        with _lock(join(self._folder, key)) as held:
            names = self._files(key) if held else []
            parts = [part for name in names if (part := self._read_file(key, name)) is not None]
            if len(parts) < 2:
                return
            merged = pl.concat(parts).unique(["query", "passage"], keep="first", maintain_order=True)
            kept = self._write(key, merged.sort("query", "passage"))
            self._delete([join(key, name) for name in names if name != kept])

    def _evict(self) -> None:
        """Delete the oldest files until the rest keeps within the bound; the newest stays whatever its size."""
        fs, inner = filesystem(self._folder)
        found = fs.find(inner, detail=True)
        files = [(info.get("mtime") or info.get("LastModified") or 0, info["size"], path)
                 for path, info in found.items() if path.endswith(_SUFFIX)]  # fmt: skip
        total = sum(size for _, size, _ in files)
        for _, size, path in sorted(files)[:-1]:
            if total <= self._max_bytes:
                return
            with contextlib.suppress(FileNotFoundError):
                fs.rm_file(path)
            total -= size

    def _files(self, key: str) -> list[str]:
        fs, inner = filesystem(join(self._folder, key))
        try:
            listed = fs.ls(inner, detail=False)
        except FileNotFoundError:
            return []
        return sorted(path.rpartition("/")[2] for path in listed if path.endswith(_SUFFIX))

    def _delete(self, names: list[str]) -> None:
        fs, inner = filesystem(self._folder)
        for name in names:
            with contextlib.suppress(FileNotFoundError):
                fs.rm_file(join(inner, name))


def _join(known: pl.DataFrame | None, more: pl.DataFrame) -> pl.DataFrame:
    if known is None or known.is_empty():
        return more
    return pl.concat([known, more]).unique(["query", "passage"], keep="first", maintain_order=True)


@contextlib.contextmanager
def _lock(folder: str) -> Iterator[bool]:
    """Whether this process alone holds the folder's lock; never waits. The system frees it when a process dies."""
    if not is_local(folder):
        yield False
        return
    with Path(filesystem(folder)[1], ".lock").open("w") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
            return
        yield True
