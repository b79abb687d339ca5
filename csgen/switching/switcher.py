"""Switches batches of pairs: carries Arrow's buffers into the kernel and the results out again.

Knows nothing of files, jobs or Ray. A switcher is a plain object: build it once a worker, call `switch` for each batch.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import DTypeLike, NDArray

from csgen.characters import CLASS_PAGES, CLASS_VALUES, FOLD_PAGES, FOLD_VALUES
from csgen.errors import InputError
from csgen.lexicon.table import MAX_LANGUAGES, Table
from csgen.schema import SWITCHES
from csgen.segment import UNSPACED_LANGUAGES, segment_bounds
from csgen.switching import draws, kernel, lookup, protect
from csgen.switching.policy import SIDES, Policy, Side
from csgen.switching.primitives import SLACK
from csgen.switching.tokens import word_bounds
from csgen.switching.treebank import treebank_bounds

_MASK = (1 << 64) - 1
_GOLDEN = 0x9E3779B97F4A7C15
# Text that goes through the kernel at a time: enough to make a call's 40 microseconds small, little enough for caches.
_CHUNK_BYTES = 1 << 20
_MAX_BYTES = (1 << 31) - 1 - SLACK  # of one Arrow string array

_TRANSLATIONS = {"best": draws.BEST, "weighted": draws.WEIGHTED, "uniform": draws.UNIFORM}
_PROTECT = {
    "numbers": protect.PROTECT_NUMBERS, "urls": protect.PROTECT_URLS,
    "code": protect.PROTECT_CODE, "names": protect.PROTECT_NAMES,
}  # fmt: skip
_FOLDING = lookup.Folding(CLASS_PAGES, CLASS_VALUES, FOLD_PAGES, FOLD_VALUES)
_SALTS = {"query": 0x7175657279, "passage": 0x70617373616765}  # the sides' names in ASCII

Bytes = NDArray[np.uint8]
Offsets = NDArray[np.int32]


@dataclass(frozen=True)
class Counts:
    """What was done to one side; `switched` and `lacking` are by language, in tokens."""

    tokens: int
    selected: int
    unknown: int
    protected: int
    kept: int
    switched: dict[str, int]
    lacking: dict[str, int]

    def __add__(self, other: "Counts") -> "Counts":
        def add(left: dict[str, int], right: dict[str, int]) -> dict[str, int]:
            return {language: left[language] + right[language] for language in left}

        numbers = {
            n: getattr(self, n) + getattr(other, n) for n in ("tokens", "selected", "unknown", "protected", "kept")
        }
        return Counts(**numbers, switched=add(self.switched, other.switched), lacking=add(self.lacking, other.lacking))

    @property
    def realised_ratio(self) -> float:
        """Switched tokens by tokens."""
        return sum(self.switched.values()) / max(self.tokens, 1)


@dataclass(frozen=True)
class Switched:
    """A switched batch: the texts of each side, the counts, and the spans where they were asked for."""

    texts: dict[Side, pa.Array]
    counts: dict[Side, Counts]
    switches: dict[Side, pa.Array]


def replace_texts(pairs: pa.RecordBatch, switched: Switched) -> pa.RecordBatch:
    """The batch with its switched texts in place, and with the columns of switches behind if there are any."""
    for side in SIDES:
        pairs = pairs.set_column(pairs.schema.get_field_index(side), side, switched.texts[side])
    for side, switches in switched.switches.items():
        pairs = pairs.append_column(f"{side}_switches", switches)
    return pairs


def mix(word: int) -> int:
    """SplitMix64's finaliser, as `csgen.switching.primitives.mix`."""
    word = ((word ^ (word >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    word = ((word ^ (word >> 27)) * 0x94D049BB133111EB) & _MASK
    return word ^ (word >> 31)


class Switcher:
    """A policy over a lexicon, ready to switch batches."""

    def __init__(self, policy: Policy, table: Table) -> None:
        """Raises InputError where the lexicon lacks a language of the policy."""
        if table.source_language != policy.source_language:
            raise InputError(f"the lexicon is for {table.source_language}, the pairs are in {policy.source_language}")
        self.policy = policy
        self._table = table.arrays
        self._rules = {side: _compile_rule(policy, table, side) for side in SIDES}
        self._workspace = _workspace(1, table.arrays.max_key_bytes)
        self._bounds = np.empty(0, np.int32)

    def switch(self, pairs: pa.RecordBatch, *, epoch: int = 0, spans: bool = False) -> Switched:
        """Switch a batch with columns query_id, query, passage_id and passage (pa.string, no nulls, valid UTF-8).

        The result depends on the seed, the epoch, the ids and the texts alone, not on the batch or its order.
        """
        keys = _pair_keys(pairs, mix((self.policy.seed + epoch * _GOLDEN) & _MASK))
        texts, counts, switches = {}, {}, {}
        for side in SIDES:
            texts[side], counts[side], noted = self._switch_side(pairs.column(side), keys, side, spans)
            if noted is not None:
                switches[side] = noted
        return Switched(texts, counts, switches)

    def map_batch(self, pairs: pa.RecordBatch, *, epoch: int = 0) -> pa.RecordBatch:
        """The batch with both texts switched and all other columns as they are: for use inside a training job."""
        return replace_texts(pairs, self.switch(pairs, epoch=epoch))

    def list_tokens(self, texts: pa.Array, side: Side) -> tuple[pa.Array, NDArray[np.bool_]]:
        """All tokens of the texts, folded as for look-up, and which of them the policy protects."""
        tokens, protected = [], []
        for _, data, offsets in _chunks(texts):
            bounds, bound_offsets = self._find_tokens(data, offsets)
            count = int(bound_offsets[-1]) // 2
            folded = np.empty(2 * int(offsets[-1] - offsets[0]) + SLACK, np.uint8)
            token_offsets, guarded = np.empty(count + 1, np.int32), np.empty(count, np.bool_)
            rule = self._rules[side]
            protect.list_tokens(
                data, offsets, bounds, bound_offsets, rule.protect, _FOLDING, folded, token_offsets, guarded
            )
            tokens.append(pa.StringArray.from_buffers(count, pa.py_buffer(token_offsets), pa.py_buffer(folded)))
            protected.append(guarded)
        if not tokens:
            return pa.array([], pa.string()), np.zeros(0, np.bool_)
        return pa.concat_arrays(tokens), np.concatenate(protected)

    def _switch_side(
        self, texts: pa.Array, keys: NDArray[np.uint64], side: Side, spans: bool
    ) -> tuple[pa.Array, Counts, pa.Array | None]:
        rule = self._rules[side]
        self._workspace.counts[:] = 0
        output = _TextBuilder(texts)
        noted: list[pa.Array] = []
        for rows, data, offsets in _chunks(texts):
            bounds, bound_offsets = self._find_tokens(data, offsets)
            found = kernel.Texts(
                data, offsets.view(np.uint32), bounds.view(np.uint32), bound_offsets, keys[rows.start : rows.stop]
            )
            work = self._work_for(bound_offsets)
            span = _spans(bound_offsets, data) if spans else _NO_SPANS
            done = 0
            while done < len(rows):
                window = output.window(rows.start)
                done = kernel.switch_rows(found, done, rule, self._table, _FOLDING, work, window, span)
                if done < len(rows):
                    output.grow()
            if spans:
                noted.append(_switch_array(span, self.policy.languages_of(side)))
        summary = _summarise(self._workspace.counts, self.policy.languages_of(side))
        return output.finish(), summary, pa.concat_arrays(noted) if noted else pa.array([], SWITCHES) if spans else None

    def _find_tokens(self, data: Bytes, offsets: Offsets) -> tuple[Offsets, NDArray[np.int64]]:
        if self.policy.source_language in UNSPACED_LANGUAGES:
            return segment_bounds(data, offsets, self.policy.source_language)
        size = 2 * (int(offsets[-1] - offsets[0]) + len(offsets)) + SLACK
        if size > len(self._bounds):  # kept from chunk to chunk: fresh pages would cost a third of the scan
            self._bounds = np.empty(size + size // 4, np.int32)
        bounds, bound_offsets = self._bounds, np.empty(len(offsets), np.int64)
        find = treebank_bounds if self.policy.tokens == "treebank" else word_bounds
        find(data, offsets, bounds, bound_offsets)
        return bounds, bound_offsets

    def _work_for(self, bound_offsets: NDArray[np.int64]) -> kernel.Workspace:
        most = int(np.diff(bound_offsets).max(initial=0)) // 2 + 1
        if most + kernel.GROUP_TOKENS > len(self._workspace.draws):
            counts = self._workspace.counts
            self._workspace = _workspace(most + most // 2, self._table.max_key_bytes)._replace(counts=counts)
        return self._workspace


def _compile_rule(policy: Policy, table: Table, side: Side) -> draws.SideRule:
    languages = policy.languages_of(side)
    stays = () if policy.policy == "synonym" else (policy.source_language,)
    indices = [-1 if language in stays else table.language_index(language) for language in languages] or [-1]
    weights = np.array([policy.language_weights.get(language, 1.0) for language in languages] or [1.0])
    sums = np.cumsum(weights)
    bounds = np.rint(sums / sums[-1] * (1 << 32)).astype(np.uint64)
    translation = draws.UNIFORM_WITH_SELF if policy.policy == "synonym" else _TRANSLATIONS[policy.translation]
    touching = policy.tokens == "treebank" or policy.source_language in UNSPACED_LANGUAGES
    return draws.SideRule(
        languages=np.array(indices, np.int64),
        cumulative=bounds,
        first_guess=np.searchsorted(bounds[:-1], np.arange(256, dtype=np.uint64) << np.uint64(24), side="right").astype(
            np.uint8
        ),
        threshold=np.uint64(round(policy.probability_of(side) * (1 << 32))),
        salt=np.uint64(_SALTS[side]),
        per_text=int(policy.policy == "phrase"),
        redraw=int(policy.redraw and policy.policy != "phrase"),
        translation=translation,
        lower=int(policy.case == "lower"),
        protect=sum(_PROTECT[name] for name in policy.protect),
        max_words=policy.max_words,
        separate=int(touching),
    )


def _pair_keys(pairs: pa.RecordBatch, seed: int) -> NDArray[np.uint64]:
    keys = np.empty(pairs.num_rows, np.uint64)
    query_ids, passage_ids = buffers_of(pairs.column("query_id")), buffers_of(pairs.column("passage_id"))
    draws.pair_keys(*_padded(*query_ids), *_padded(*passage_ids), np.uint64(seed), keys)
    return keys


def buffers_of(texts: pa.Array) -> tuple[Bytes, Offsets]:
    """The data and the offsets behind a string array, without a copy."""
    _, offsets, data = texts.buffers()
    if offsets is None or len(texts) == 0:
        return np.zeros(0, np.uint8), np.zeros(1, np.int32)
    window = np.frombuffer(offsets, np.int32, len(texts) + 1, texts.offset * 4)
    return (np.frombuffer(data, np.uint8) if data is not None else np.zeros(0, np.uint8)), window


def _padded(data: Bytes, offsets: Offsets) -> tuple[Bytes, Offsets]:
    """The same texts with SLACK readable bytes behind them, copied only if there are none yet; read-only."""
    first, last = int(offsets[0]), int(offsets[-1])
    if last + SLACK > len(data):
        copy = np.zeros(last - first + SLACK, np.uint8)
        copy[: last - first] = data[first:last]
        data, offsets = copy, offsets - offsets[0]
    data.flags.writeable = False
    offsets.flags.writeable = False
    return data, offsets


def _chunks(texts: pa.Array) -> Iterator[tuple[range, Bytes, Offsets]]:
    """Cut an array into runs of rows of about _CHUNK_BYTES."""
    data, offsets = buffers_of(texts)
    start = 0
    while start < len(texts):
        stop = int(np.searchsorted(offsets, int(offsets[start]) + _CHUNK_BYTES, side="right")) - 1
        stop = min(max(stop, start + 1), len(texts))
        yield range(start, stop), *_padded(data, offsets[start : stop + 1])
        start = stop


def _workspace(tokens: int, max_key_bytes: int) -> kernel.Workspace:
    most = tokens + kernel.GROUP_TOKENS
    kinds: dict[str, DTypeLike] = {
        "hashes": np.uint64, "draws": np.uint64, "selected": np.uint32, "rows": np.uint32, "firsts": np.uint64,
        "seconds": np.uint64, "places": np.uint32, "nodes": np.uint32, "drawn": np.uint32, "changed": np.uint8,
        "found_rows": np.uint32, "starts": np.uint32, "ends": np.uint32, "offsets": np.uint32, "lengths": np.uint32,
        "languages": np.uint32,
    }  # fmt: skip
    arrays: dict[str, Any] = {name: np.empty(most, kind) for name, kind in kinds.items()}
    num_counts = kernel.NUM_COUNTS + 2 * MAX_LANGUAGES
    return kernel.Workspace(
        **arrays,
        folded=np.empty(4 * max_key_bytes + 2 * SLACK, np.uint8),
        counts=np.zeros(num_counts, np.int64),
        saved=np.zeros(num_counts, np.int64),
    )


class _TextBuilder:
    """Grows an Arrow string array; its memory comes from Arrow's pool, which keeps pages warm."""

    def __init__(self, texts: pa.Array) -> None:
        _, offsets = buffers_of(texts)
        self._offsets = np.zeros(len(texts) + 1, np.int32)
        size = int(offsets[-1] - offsets[0])
        self._allocate(size + size // 4 + 16 * SLACK)

    def _allocate(self, size: int) -> None:
        self._buffer = pa.allocate_buffer(min(size, _MAX_BYTES + SLACK))
        self._data = np.frombuffer(self._buffer, np.uint8)

    def window(self, first_row: int) -> kernel.Output:
        return kernel.Output(self._data, self._offsets[first_row:])

    def grow(self) -> None:
        old = self._data
        if len(old) >= _MAX_BYTES:
            raise InputError("a batch's switched texts outgrow 2 GB; give fewer or shorter texts a batch")
        self._allocate(2 * len(old))
        filled = int(self._offsets.max())
        self._data[:filled] = old[:filled]

    def finish(self) -> pa.Array:
        filled = int(self._offsets[-1])
        return pa.StringArray.from_buffers(
            len(self._offsets) - 1, pa.py_buffer(self._offsets), self._buffer.slice(0, filled)
        )


def _spans(bound_offsets: NDArray[np.int64], data: Bytes) -> kernel.Spans:
    tokens = int(bound_offsets[-1]) // 2
    return kernel.Spans(
        row_offsets=np.zeros(len(bound_offsets), np.int32), starts=np.empty(tokens, np.int32),
        ends=np.empty(tokens, np.int32), languages=np.empty(tokens, np.int8),
        source_offsets=np.zeros(tokens + 1, np.int32), source_data=np.empty(len(data) + SLACK, np.uint8),
    )  # fmt: skip


_NO_SPANS = kernel.Spans(
    row_offsets=np.empty(0, np.int32), starts=np.empty(0, np.int32), ends=np.empty(0, np.int32),
    languages=np.empty(0, np.int8), source_offsets=np.empty(0, np.int32), source_data=np.empty(0, np.uint8),
)  # fmt: skip


def _switch_array(spans: kernel.Spans, languages: tuple[str, ...]) -> pa.Array:
    """The spans as list<struct<start, end, source, language>>, one list a row."""
    count = int(spans.row_offsets[-1])
    sources = pa.StringArray.from_buffers(
        count, pa.py_buffer(spans.source_offsets[: count + 1]), pa.py_buffer(spans.source_data)
    )
    names = pa.array(languages, pa.string()).take(pa.array(spans.languages[:count]))
    columns = [pa.array(spans.starts[:count]), pa.array(spans.ends[:count]), sources, names]
    structs = pa.StructArray.from_arrays(columns, fields=list(SWITCHES.value_type))
    return pa.ListArray.from_arrays(pa.array(spans.row_offsets), structs, type=SWITCHES)


def _summarise(counts: NDArray[np.int64], languages: tuple[str, ...]) -> Counts:
    num = len(languages)
    by_language = counts[kernel.NUM_COUNTS :].tolist()
    return Counts(
        tokens=int(counts[kernel.NUM_TOKENS]),
        selected=int(counts[kernel.NUM_SELECTED]),
        unknown=int(counts[kernel.NUM_UNKNOWN]),
        protected=int(counts[kernel.NUM_PROTECTED]),
        kept=int(counts[kernel.NUM_KEPT]),
        switched=dict(zip(languages, by_language[:num], strict=True)),
        lacking=dict(zip(languages, by_language[num : 2 * num], strict=True)),
    )
