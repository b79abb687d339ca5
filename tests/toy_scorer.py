"""Scorers of pairs for tests: by numbers of characters, with what they were asked in a file or in a list."""

from pathlib import Path

import numpy as np


class Lengths:
    def __init__(self, log):
        self._log = Path(log)

    def score(self, pairs):
        rows = pairs.to_pylist()
        with self._log.open("a") as stream:
            stream.writelines(f"{row['query']}|{row['passage']}\n" for row in rows)
        return np.array([len(row["passage"]) - len(row["query"]) for row in rows], np.float32)


def make(log):
    return Lengths(log)


class TotalLengths:
    """Scores a pair by the characters of both texts, and remembers what it was asked."""

    def __init__(self):
        self.asked = []

    def score(self, pairs):
        rows = [(row["query"], row["passage"]) for row in pairs.to_pylist()]
        self.asked += rows
        return np.array([len(query) + len(passage) for query, passage in rows], np.float32)
