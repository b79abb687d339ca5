"""The figures of one experiment, as every table, plot and page reads them; knows not how they were measured.

A folder holds them as `results.json`: names first, then each frame as a list of rows, one row a line.
"""

from dataclasses import dataclass
from typing import Any

import orjson
import polars as pl

from csgen.errors import InputError
from csgen.files import join, open_input, replace_file

RESULTS_NAME = "results.json"
SETTINGS = ("MoIR", "CLIR", "MLIR")
ALL_CELLS = "all"  # in place of a cell: the mean over the cells of a setting

_PLACE = {"benchmark": pl.String, "setting": pl.String}
_INTERVAL = {"value": pl.Float64, "low": pl.Float64, "high": pl.Float64}
_OF_SYSTEM = {"system": pl.String, "measure": pl.String}

SCHEMAS = {
    "cells": pl.Schema(
        _PLACE
        | dict.fromkeys(("cell", "query_language", "passage_language"), pl.String)
        | dict.fromkeys(("num_queries", "num_passages", "left_out"), pl.Int64)
    ),
    "values": pl.Schema(
        _PLACE | {"cell": pl.String} | _OF_SYSTEM | _INTERVAL | {"num_queries": pl.Int64, "num_seeds": pl.Int64}
    ),
    "summary": pl.Schema(_PLACE | _OF_SYSTEM | _INTERVAL | {"num_cells": pl.Int64, "num_queries": pl.Int64}),
    "comparisons": pl.Schema(
        _PLACE
        | dict.fromkeys(("cell", "system", "baseline", "measure"), pl.String)
        | dict.fromkeys(("difference", "low", "high"), pl.Float64)
        | dict.fromkeys(("p_t", "p_randomisation", "p_bonferroni", "p_holm"), pl.Float64)
        | {"num_queries": pl.Int64}
    ),
    "bins": pl.Schema(
        _PLACE
        | {"kind": pl.String, "bin": pl.String, "order": pl.Int64}
        | _OF_SYSTEM
        | _INTERVAL
        | {"num_queries": pl.Int64}
    ),
    "fairness": pl.Schema(
        {"benchmark": pl.String, "cell": pl.String} | _OF_SYSTEM | {"value": pl.Float64, "num_queries": pl.Int64}
    ),
    "language_ranks": pl.Schema(
        dict.fromkeys(("benchmark", "cell", "system", "language"), pl.String)
        | dict.fromkeys(("q25", "median", "q75", "share_top", "share_collection"), pl.Float64)
    ),
}


@dataclass(frozen=True, eq=False)
class Results:
    """Everything that was measured; `SCHEMAS` gives each frame's columns, and the rows keep the order they came in.

    Values, differences and shares are in [0, 1] or [-1, 1], p-values in [0, 1], ranks from 1. `low` and `high` bound a
    95 % interval. What could not be computed is null: a NaN or an infinity becomes null on construction.

    `cells`: `query_language` is "xx" where queries are of several languages, `passage_language` "xx" where each passage
    drew one, "all" where all languages lie in one pool; `left_out` counts queries without a relevant passage there.
    `values`: the mean over a cell's queries and seeds. `summary`: the mean of a setting's cells.
    `comparisons`: against the baseline; the cell "all" is the mean over a setting's cells, query by query.
    `p_bonferroni` and `p_holm` correct `p_t` over the whole family.
    `bins`: `kind` is "overlap", "script", "length" or "distance"; `order` sorts the bins of a kind.
    `language_ranks`: quartiles of the rank of relevant answers in a language, in pooled cells.
    """

    name: str
    measures: tuple[str, ...]  # as the field writes them; the first is the main one
    systems: tuple[str, ...]  # labels in order, a variant as "bm25+latinised"
    baseline: str  # one of the systems, or "" for none
    cells: pl.DataFrame
    values: pl.DataFrame
    summary: pl.DataFrame
    comparisons: pl.DataFrame
    bins: pl.DataFrame
    fairness: pl.DataFrame
    language_ranks: pl.DataFrame
    warnings: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name, schema in SCHEMAS.items():
            object.__setattr__(self, name, _conform(name, getattr(self, name), schema))

    @property
    def benchmarks(self) -> tuple[str, ...]:
        return tuple(self.cells["benchmark"].unique(maintain_order=True))

    @property
    def others(self) -> tuple[str, ...]:
        """The systems that are held against the baseline; none if there is no baseline."""
        return tuple(system for system in self.systems if system != self.baseline) if self.baseline else ()

    def write(self, folder: str) -> str:
        """Write `results.json` into a folder, which may be a URI; returns its path. Equal results give equal bytes."""
        path = join(folder, RESULTS_NAME)
        names = {name: getattr(self, name) for name in ("name", "measures", "systems", "baseline", "warnings")}
        parts = [b'"%s": %s' % (name.encode(), orjson.dumps(value)) for name, value in names.items()]
        parts += [_dump_frame(name, getattr(self, name)) for name in SCHEMAS]
        with replace_file(path) as stream:
            stream.write(b"{\n" + b",\n".join(parts) + b"\n}\n")
        return path

    @classmethod
    def read(cls, folder: str) -> "Results":
        """The results that `write` left in a folder; figures come back exactly."""
        path = join(folder, RESULTS_NAME)
        with open_input(path) as stream:
            text = stream.read()
        try:
            fields: dict[str, Any] = orjson.loads(text)
            several = {name: tuple(fields[name]) for name in ("measures", "systems", "warnings")}
            frames = {name: pl.DataFrame(fields[name], schema) for name, schema in SCHEMAS.items()}
            return cls(**(fields | several | frames))
        except (KeyError, TypeError, ValueError, pl.exceptions.PolarsError) as error:
            raise InputError(
                f"{path}: not the results of an experiment: {error!r}; run csgen evaluate again"
            ) from error


def empty_frame(name: str) -> pl.DataFrame:
    """A frame of Results, such as "bins", with its columns and no rows."""
    return pl.DataFrame(schema=SCHEMAS[name])


def _conform(name: str, frame: pl.DataFrame, schema: pl.Schema) -> pl.DataFrame:
    """The columns of the schema, in its order; numbers that are not finite become null, which JSON can hold."""
    if lacking := [column for column in schema if column not in frame.columns]:
        raise ValueError(f"results: {name} lacks the columns {', '.join(lacking)}")
    floats = pl.col(pl.Float64)
    return frame.select(schema.names()).cast(schema).with_columns(pl.when(floats.is_finite()).then(floats))


def _dump_frame(name: str, frame: pl.DataFrame) -> bytes:
    rows = b",\n".join(b"  " + orjson.dumps(row) for row in frame.iter_rows(named=True))
    return b'"%s": [\n%s\n]' % (name.encode(), rows) if rows else b'"%s": []' % name.encode()
