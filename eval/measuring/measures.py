"""Measures by query, computed by trec_eval's own code through ir_measures; a query without results counts as 0.

Knows runs and qrels; no settings, no systems. Needs the extra `eval`.
"""

import difflib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from csgen.errors import InputError
from eval.trec import check_scores, find_double

if TYPE_CHECKING:
    from ir_measures import Measure

EXAMPLES = "RR@10, nDCG@10, R@100, AP, P@5, Success@1"
_COUNTS = ("NumQ", "NumRel", "NumRet")  # of queries and passages: their mean says nothing of a system
_OF_WHOLE_RUN = ("SetP", "SetF", "SetAP")  # look at how much was retrieved, not only at the ranks of what is judged


@dataclass(frozen=True)
class _Column:
    """A measure under the name it was asked for by, and the one of trec_eval's that it is read from.

    trec_eval has no RR@k, and ir_measures would compute it in Python, more slowly than all the rest together. It
    follows from RR exactly: the first relevant passage stands within rank k where RR is 1/k or more.
    """

    name: str
    computed: "Measure"
    least: float = 0.0  # what is smaller counts as 0


class Measurer:
    """Measures any number of runs by the same qrels.

    `qrels`: `query_id, passage_id, score`; grades above 0 are relevant. A query without a relevant passage is left out,
    as no measure is defined for it (and pytrec_eval's nDCG never ends where all grades are negative). `measures`: names
    as `parse_measures` takes them.
    """

    def __init__(self, qrels: pl.DataFrame, measures: Sequence[str]) -> None:
        parsed = parse_measures(measures)
        judged = qrels.filter((pl.col("score").max() > 0).over("query_id")).sort("query_id", "passage_id")
        self._judged = judged.select("query_id", "passage_id")
        self._queries = judged.select(pl.col("query_id").unique(maintain_order=True))
        self._columns = [_read_from(name, measure) for name, measure in parsed.items()]
        self._needs_whole_run = any(measure.NAME in _OF_WHOLE_RUN for measure in parsed.values())
        computed = list(dict.fromkeys(column.computed for column in self._columns))
        self._evaluator = _import_ir_measures().pytrec_eval.evaluator(computed, _by_query(judged))

    def measure(self, run: pl.DataFrame) -> pl.DataFrame:
        """`query_id` and a Float64 column for each measure; a row for each query with a relevant passage, sorted by id.

        A query that the run lacks gets 0, by ir_measures' evaluator; queries that are not judged are passed over.
        """
        check_scores(run)
        kept = self._keep(run)
        scores = _by_query(kept.sort("query_id"))
        if sum(map(len, scores.values())) < kept.height and (double := find_double(kept)):
            raise InputError(
                f"a run has the passage {double[1]!r} twice for the query {double[0]!r}; it must rank it once"
            )
        found: dict[Any, dict[str, float]] = {column.computed: {} for column in self._columns}
        for metric in self._evaluator.iter_calc(scores):
            found[metric.measure][metric.query_id] = metric.value
        return self._queries.with_columns(self._fill(column, found[column.computed]) for column in self._columns)

    def _keep(self, run: pl.DataFrame) -> pl.DataFrame:
        """The rows that can change a value: measures of ranks see nothing after the last judged passage of a query.

        Which leaves a fraction of the run, as relevant passages stand near its top.
        """
        if self._needs_whole_run:
            return run.join(self._queries, on="query_id", how="semi")
        judged = run.join(self._judged, on=["query_id", "passage_id"], how="semi")
        score = pl.col("score").cast(pl.Float32)  # as trec_eval compares them
        last = judged.group_by("query_id").agg(last=score.min())
        return run.join(last, on="query_id", maintain_order="left").filter(score >= pl.col("last"))

    def _fill(self, column: _Column, found: Mapping[str, float]) -> pl.Series:
        values = np.array([found[query_id] for query_id in self._queries["query_id"]], np.float64)
        return pl.Series(column.name, np.where(values >= column.least, values, 0.0))


def measure_run(run: pl.DataFrame, qrels: pl.DataFrame, measures: Sequence[str]) -> pl.DataFrame:
    """The measures of one run by query, as `Measurer` gives them."""
    return Measurer(qrels, measures).measure(run)


def parse_measures(names: Sequence[str]) -> "dict[str, Measure]":
    """The measures by the names they are asked for by: ir_measures' (nDCG@10, AP, RR(rel=2)@10, also MRR@10 and MAP).

    An unknown name, a missing or impossible cutoff, a measure that is no mean by query, and the same measure under two
    names are refused.
    """
    parsed: dict[str, Any] = {}
    for name in names:
        measure = _parse_measure(name)
        if double := next((other for other, same in parsed.items() if same == measure), None):
            raise InputError(f"the measures {double!r} and {name!r} are the same ({measure}); name it once")
        parsed[name] = measure
    return parsed


def _import_ir_measures() -> Any:
    try:
        import ir_measures
    except ImportError as error:
        raise InputError("measures need ir_measures: pip install 'csgen[eval]'") from error
    return ir_measures


def _parse_measure(name: str) -> Any:
    try:
        measure = _import_ir_measures().parse_measure(name)
    except (NameError, ValueError, TypeError) as error:
        raise InputError(f"the measure {name!r} is not known. {_suggest(name)}") from error
    cutoff = measure.params.get("cutoff")
    if cutoff is None and "cutoff" in measure.SUPPORTED_PARAMS and measure.SUPPORTED_PARAMS["cutoff"].required:
        raise InputError(f"the measure {name!r} needs a cutoff, as in {measure.NAME}@10")
    if cutoff is not None and (type(cutoff) is not int or cutoff < 1):
        raise InputError(
            f"the cutoff of the measure {name!r} must be a whole number from 1 on, as in {measure.NAME}@10"
        )
    try:
        measure.validate_params()
    except AssertionError as error:
        allowed = ", ".join(measure.SUPPORTED_PARAMS)
        raise InputError(f"the measure {name!r}: {error}; it takes {allowed}") from error
    if measure.NAME in _COUNTS or not _import_ir_measures().pytrec_eval.supports(_read_from(name, measure).computed):
        raise InputError(f"the measure {name!r} is none that trec_eval averages over queries. {_suggest(name)}")
    return measure


def _suggest(name: str) -> str:
    """What may have been meant: the same in ir_measures' spelling, or a name like it."""
    ir_measures = _import_ir_measures()
    try:
        meant = str(ir_measures.parse_trec_measure(name)[0])  # ndcg_cut_10, recip_rank
    except ValueError:
        match = re.fullmatch(r"(\w*?)[ _@]*([0-9]*)", name)
        head, tail = match.groups() if match else (re.split(r"\W", name)[0], "")
        spellings = {key.lower(): measure.NAME for key, measure in ir_measures.measures.registry.items()}
        close = difflib.get_close_matches(head.lower(), spellings, n=1, cutoff=0.6)
        meant = spellings[close[0]] + (f"@{tail}" if tail else "") if close else name
    question = f"Did you mean {meant}? " if meant != name else ""
    return f"{question}Names are those of ir_measures: {EXAMPLES}"


def _read_from(name: str, measure: Any) -> _Column:
    if measure.NAME != "RR" or "cutoff" not in measure.params:
        return _Column(name, measure)
    whole = type(measure)(**{key: value for key, value in measure.params.items() if key != "cutoff"})
    return _Column(name, whole, 1.0 / measure.params["cutoff"])


def _by_query(rows: pl.DataFrame) -> dict[str, dict[str, Any]]:
    """Scores or grades by passage, by query, of rows that are sorted by query."""
    blocks = rows.select(pl.col("query_id").rle()).unnest("query_id")
    passages, scores = rows["passage_id"].to_list(), rows["score"].to_list()
    by_query, start = {}, 0
    for length, query_id in blocks.iter_rows():
        by_query[query_id] = dict(zip(passages[start : start + length], scores[start : start + length], strict=True))
        start += length
    return by_query
