"""Watches the memory of this process and of Ray's workers below it, from a thread; Linux only.

RSS counts a page that several processes share in each of them; PSS counts it once, in equal parts.
"""

import os
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

import psutil

INTERVAL = 0.25  # seconds
LEXICON = "/table-"  # the compiled lexicon's files, as they stand in a process's maps
FIELDS = ("Rss", "Pss")


@dataclass
class MemoryWatch:
    """The peaks, in MB, while the `with` block runs."""

    driver_rss: float = 0.0
    worker_rss: float = 0.0  # of the largest worker
    worker_own: float = 0.0  # of the largest worker, without the lexicon
    all_pss: float = 0.0  # of driver and workers together
    lexicon_rss: float = 0.0  # the lexicon as the workers map it, summed over them
    lexicon_pss: float = 0.0  # the same, shared pages once
    num_workers: int = 0
    _stop: threading.Event = field(default_factory=threading.Event)

    def __enter__(self) -> Self:
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._stop.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._stop.is_set():
            self._look()
            time.sleep(INTERVAL)

    def _look(self) -> None:
        driver = _read_maps(os.getpid())
        workers = [maps for maps in map(_read_maps, _find_workers()) if maps["Rss"]]
        lexicon_rss = sum(m["lexicon Rss"] for m in workers)
        self.driver_rss = max(self.driver_rss, driver["Rss"])
        self.worker_rss = max([self.worker_rss, *(m["Rss"] for m in workers)])
        self.worker_own = max([self.worker_own, *(m["Rss"] - m["lexicon Rss"] for m in workers)])
        self.all_pss = max(self.all_pss, driver["Pss"] + sum(m["Pss"] for m in workers))
        self.num_workers = max(self.num_workers, sum(m["lexicon Rss"] > 0 for m in workers))
        if lexicon_rss > self.lexicon_rss:
            self.lexicon_rss, self.lexicon_pss = lexicon_rss, sum(m["lexicon Pss"] for m in workers)


def _find_workers() -> list[int]:
    """Ray's worker processes that run a task of this process's cluster, or wait for the next."""
    found = []
    for process in psutil.Process().children(recursive=True):
        try:
            if process.name().startswith("ray::"):
                found.append(process.pid)
        except psutil.Error:
            continue
    return found


def _read_maps(pid: int) -> dict[str, float]:
    """MB by field, of all maps and (`lexicon Rss`, `lexicon Pss`) of the lexicon's; zeros once the process is gone."""
    sums = {f"{prefix}{name}": 0.0 for prefix in ("", "lexicon ") for name in FIELDS}
    in_lexicon = False
    try:
        lines = Path(f"/proc/{pid}/smaps").read_text().splitlines()
    except OSError:
        return sums
    for line in lines:
        name, colon, value = line.partition(":")
        if not colon or "-" in name:
            in_lexicon = LEXICON in line
        elif name in FIELDS:
            megabytes = int(value.split()[0]) / 1024
            sums[name] += megabytes
            sums[f"lexicon {name}"] += megabytes * in_lexicon
    return sums
