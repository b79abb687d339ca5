"""Units of work: one system's run for one cell, its measures by query, and the store that keeps both.

A unit's fingerprint tells what made it; a stored unit with the same fingerprint is not made again.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import cached_property
from io import BytesIO
from typing import Any

import polars as pl
import xxhash

from csgen.errors import InputError
from csgen.files import exists, fingerprint, hash_file, is_folder, join, open_input, replace_file
from csgen.manifest import MANIFEST_NAME, Manifest
from eval.settings import Cell
from eval.trec import read_run, write_run

FORMAT = 1  # of what is kept; raise it with any change to runs, measures or their files


@dataclass(frozen=True)
class Unit:
    """A system, perhaps on a variant of the queries and with a seed, in a cell of a benchmark."""

    benchmark: str
    cell: Cell
    system: str
    variant: str = ""
    seed: int = 0

    @property
    def label(self) -> str:
        """What tables call the system."""
        return f"{self.system}+{self.variant}" if self.variant else self.system

    @property
    def stem(self) -> str:
        """Where its files stand in a folder, without an ending."""
        seed = f".seed{self.seed}" if self.seed else ""
        return join(self.benchmark, self.label + seed, self.cell.name)


@dataclass(frozen=True)
class Measured:
    """A unit's measures: `query_id` and a column for each; of a pooled cell also what its languages got."""

    values: pl.DataFrame
    languages: tuple[dict[str, Any], ...] = ()  # rows of Results.language_ranks, without benchmark, cell and system
    effects: dict[str, float] = field(default_factory=dict)  # measures of the run as a whole


def digest(content: Any) -> str:
    """A hash of anything that JSON can hold."""
    return xxhash.xxh3_128_hexdigest(json.dumps(content, sort_keys=True, ensure_ascii=False).encode())


class UnitStore:
    """Runs and measures of units, in `runs/` and `values/` of an output folder."""

    def __init__(self, folder: str) -> None:
        self._folder = folder

    def run_name(self, unit: Unit) -> str:
        return join("runs", f"{unit.stem}.run.gz")

    def values_name(self, unit: Unit) -> str:
        return join("values", f"{unit.stem}.parquet")

    def has_run(self, unit: Unit, made_by: str) -> bool:
        """Whether the run is there, made by the same, and of the size that it was written with."""
        path = join(self._folder, self.run_name(unit))
        notes = self._notes(unit)
        return notes.get("run") == made_by and exists(path) and str(fingerprint(path)["bytes"]) == notes["run_bytes"]

    def has_values(self, unit: Unit, made_by: str) -> bool:
        return self._notes(unit).get("values") == made_by

    def read_run(self, unit: Unit) -> pl.DataFrame:
        if self._notes(unit)["run_rows"] == "0":  # a file without lines, which could be any file
            return pl.DataFrame(schema={"query_id": pl.String, "passage_id": pl.String, "score": pl.Float64})
        return read_run(join(self._folder, self.run_name(unit)))

    def write_run(self, unit: Unit, run: pl.DataFrame) -> None:
        write_run(run, join(self._folder, self.run_name(unit)), unit.label.replace(" ", "_"))

    def write_values(self, unit: Unit, measured: Measured, num_rows: int, made_by: Mapping[str, str]) -> None:
        """Keep the measures of a run of `num_rows` lines; `made_by` has the fingerprints `run` and `values`."""
        run_path = join(self._folder, self.run_name(unit))
        notes = {
            **made_by,
            "run_rows": str(num_rows),
            "run_bytes": str(fingerprint(run_path)["bytes"]),
            "run_xxh3_128": hash_file(run_path),
            "languages": json.dumps(measured.languages),
            "effects": json.dumps(measured.effects),
        }
        stream = BytesIO()
        measured.values.write_parquet(stream, compression="zstd", metadata=notes)
        with replace_file(join(self._folder, self.values_name(unit))) as target:
            target.write(stream.getbuffer())

    def read_values(self, unit: Unit) -> Measured:
        content = self._read(unit)
        notes = pl.read_parquet_metadata(BytesIO(content))
        languages, effects = (json.loads(notes[name]) for name in ("languages", "effects"))
        return Measured(pl.read_parquet(BytesIO(content)), tuple(languages), effects)

    def describe(self, unit: Unit) -> dict[str, dict[str, Any]]:
        """Bytes and hash of a unit's files, for the manifest."""
        notes = self._notes(unit)
        content = self._read(unit)
        run = {"bytes": int(notes["run_bytes"]), "xxh3_128": notes["run_xxh3_128"]}
        values = {"bytes": len(content), "xxh3_128": xxhash.xxh3_128_hexdigest(content)}
        return {self.run_name(unit): run, self.values_name(unit): values}

    def _read(self, unit: Unit) -> bytes:
        with open_input(join(self._folder, self.values_name(unit))) as stream:
            return stream.read()

    def _notes(self, unit: Unit) -> dict[str, str]:
        """What a unit's values say of themselves; nothing where they are missing or damaged."""
        try:
            return dict(pl.read_parquet_metadata(BytesIO(self._read(unit))))
        except (InputError, pl.exceptions.PolarsError, OSError):
            return {}


class InputHashes:
    """Hashes of files and folders that runs are made from, each computed once."""

    def __init__(self) -> None:
        self._known: dict[str, str] = {}

    def of(self, path: str) -> str:
        """The hash of a file; of an output folder that of its manifest, which holds the hashes of its files."""
        if path not in self._known:
            if not exists(path):
                raise InputError(f"{path}: no such file or folder")
            if is_folder(path):
                Manifest.read(path)  # or an error that says what is missing
            self._known[path] = hash_file(join(path, MANIFEST_NAME) if is_folder(path) else path)
        return self._known[path]


@dataclass(frozen=True)
class Origin:
    """All that a run depends on."""

    system: dict[str, Any]  # its specification
    seed: int
    variant: dict[str, Any]
    candidates: str  # the fingerprint of their run; none: ""
    inputs: dict[str, str]  # hashes of lexicons, run files and the benchmark's files, by name
    cell: Cell
    judgements: str  # the split, what is done about unanswered queries, and the hash of those drawn, if any are
    depth: int

    @cached_property
    def run(self) -> str:
        """The fingerprint of the run."""
        return digest(asdict(self) | {"format": FORMAT})

    def values(self, measures: tuple[str, ...]) -> str:
        """The fingerprint of the run's measures."""
        return digest([self.run, *measures])
