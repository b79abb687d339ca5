"""The index: opened in a folder, searched. Needs neither Ray nor, unless it is to encode texts, torch.

An opened index is a snapshot: what is written later is seen by opening it again. Threads may share it.
"""

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from threading import Lock

import numpy as np
from numpy.typing import NDArray

from csgen.errors import InputError
from csgen.files import exists, fingerprint
from indexing.index.encoding import IdentifiedEncoder, load_encoder
from indexing.index.lexical import LexicalSearches
from indexing.index.opened import OpenSegments
from indexing.index.query import SearchRequest
from indexing.index.result import Done, SearchResult, show_examined
from indexing.index.score_offsets import ScoreOffsets
from indexing.index.searching import Search
from indexing.index.settings import IndexSettings
from indexing.store import Problem, Repair, Store, Version
from indexing.store.check import repair_version, require_whole
from indexing.store.version import SEGMENTS
from indexing.vectors.config import Device


class Index:
    """A version of an index. `repair`: what it does without; None: it was not opened for repair."""

    def __init__(
        self, opened: OpenSegments, asked: Version, repair: Repair | None, encoder: IdentifiedEncoder | None
    ) -> None:
        """Of what `open` found; `asked` is the version with its lost segments."""
        self.opened, self.repair = opened, repair
        self._asked = asked
        self._encoder = encoder
        self._lexical = LexicalSearches(opened)
        self._lock = Lock()
        self._offsets = lru_cache(8)(self._read_offsets)

    @classmethod
    def open(
        cls, folder: str | Path, version: int | None = None, repair: bool = False, *, hashes: bool = False,
        encoder: IdentifiedEncoder | None = None, device: Device = "cpu",
    ) -> "Index":  # fmt: skip
        """The published version of the index in a folder, or one that has not expired.

        Every file must be there in its size, or with `hashes` unaltered, else an InputError names the first that is
        not. With `repair` the index does without the segments that are broken, and opens all to see which; what all
        share cannot be repaired. Without, segments are mapped when they are first searched.
        `encoder`: of texts, in place of the one that the index names by its path; another one is an InputError.
        """
        store = Store.open(folder)
        asked = store.read_version(version)
        settings = IndexSettings.of(asked, str(store.folder))
        if encoder is not None:
            settings.require_encoder(encoder.identity, str(store.folder))
        if not repair:
            require_whole(store.folder, asked, hashes=hashes)
            return cls(OpenSegments(store, asked, settings, device), asked, None, encoder)
        found = _repair(store, asked, settings, hashes)
        return cls(OpenSegments(store, found.version, settings, device), asked, found, encoder)

    @property
    def folder(self) -> Path:
        return self.opened.store.folder

    @property
    def version(self) -> Version:
        """What is searched: without segments that are lost."""
        return self.opened.version

    @property
    def settings(self) -> IndexSettings:
        return self.opened.settings

    def __len__(self) -> int:
        """The number of live passages."""
        return self.opened.live.count

    def count_languages(self) -> dict[str, int]:
        """Live passages by language."""
        opened = self.opened
        return {language: opened.only(opened.live, language).count for language in opened.languages}

    def encode(self, texts: Sequence[str]) -> tuple[NDArray[np.float32], int]:
        """(texts, dimensions), and how many texts lost their end, by the index's encoder, loaded when first needed."""
        with self._lock:  # which counts the texts that it cuts
            if self._encoder is None:
                self._encoder = self._load_encoder()
            return self._encoder.encode(texts)

    def search(self, request: SearchRequest, *, num_threads: int | None = None) -> SearchResult:
        """The hits of each query, the same for any cut of the passages into shards and segments, if vectors are flat.

        A query's hits depend neither on the other queries nor on `num_threads` (None: as Numba is set).
        """
        path = request.options.offsets
        if path and not exists(path):
            raise InputError.at(path, None, "no such file of score offsets")
        offsets = self._offsets(path, str(fingerprint(path))) if path else None
        search = Search(self.opened, self._lexical, self.encode, request, offsets, num_threads)
        lists, fused = search.run()
        return SearchResult(
            fused.ranking.numbers, fused.ranking.scores, fused.ranks, self._tell(search, lists), self.opened
        )

    def _tell(self, search: Search, lists: tuple[str, ...]) -> Done:
        is_dense = "dense" in search.options.all_ways
        num_shards = self.settings.sharding.num_shards
        broken = {segment.shard for segment in self.repair.lost} if self.repair else set()
        without = (
            () if search.offsets is None else [one for one in search.languages if one not in search.offsets.languages]
        )
        return Done(
            index_version=self.version.number,
            shards_asked=num_shards,
            shards_answered=num_shards - len(broken),
            segments=len(self._asked.segments),
            segments_searched=search.allowed.num_segments,
            passages=len(self),
            allowed=search.allowed.count,
            over_size=search.options.top_k > search.allowed.count,
            lists=lists,
            examined=show_examined(search.work.examined, is_dense),
            cut_off=tuple(search.work.cut_off.tolist()),
            exact_scores=search.work.exact_scores,
            truncated_texts=search.truncated_texts,
            untranslated=search.untranslated,
            languages_without_offset=tuple(without),
            lost=str(self.repair) if self.repair and self.repair.problems else None,
        )

    def _load_encoder(self) -> IdentifiedEncoder:
        own = self.settings.encoder
        if own is None:
            raise InputError.at(str(self.folder), None, "its vectors came from files: give the queries' vectors")
        try:
            loaded = load_encoder(own.path, precision=own.precision, max_length=own.max_length)
        except InputError as error:
            raise InputError(
                f"{error}; where the index's encoder lies elsewhere now, name its place: --encoder"
            ) from error
        self.settings.require_encoder(loaded.identity, str(self.folder))
        return loaded

    def _read_offsets(self, path: str, mark: str) -> ScoreOffsets:
        """`mark`: changes with the file."""
        offsets, own = ScoreOffsets.read(path), self.settings.encoder
        offsets.require_encoder(own.xxh3_128 if own else None, path)
        return offsets


def _repair(store: Store, version: Version, settings: IndexSettings, hashes: bool) -> Repair:
    """What can be used of a version, also where a file has its size but cannot be opened."""
    found = repair_version(store.folder, version, hashes=hashes)
    opened = OpenSegments(store, found.version, settings, "cpu")
    opened.open_trained()
    lost, problems = list(found.lost), list(found.problems)
    for entry in found.version.segments:
        try:
            opened.open_all(entry)
        except InputError as error:
            lost.append(entry)
            problems.append(Problem(entry.name, f"{SEGMENTS}/{entry.name}", "altered", str(error)))
    whole = tuple(entry for entry in found.version.segments if entry not in lost)
    return Repair(version.model_copy(update={"segments": whole}), tuple(lost), tuple(problems))
