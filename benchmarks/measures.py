"""Seconds of measures and tests over a large run, against pytrec_eval called directly.

    python benchmarks/measures.py --queries 1000 --passages 1000

Ours reads and checks the run, measures RR@10, nDCG@10, R@100 and AP by query, and against a second run's values makes
the paired t-test, the randomisation test (10,000 rounds) and the bootstrap intervals (2,000 rounds) of all four.
pytrec_eval parses the same file with its own parse_run, and evaluates recip_rank, ndcg_cut_10, recall_100 and map: no
checks, no tests. From memory both begin with the same frame, of which pytrec_eval needs a dict of dicts, made in the
quickest way there is; both build their evaluator of the qrels each time.
"""

import argparse
import tempfile
from importlib.metadata import version
from pathlib import Path
from statistics import median

import numpy as np
import polars as pl
import pytrec_eval
from measure import Contender, print_table, take_turns
from workload import describe_machine

from csgen.sources.draws import counter, mix
from eval.measuring.measures import measure_run
from eval.measuring.significance import bootstrap_interval, paired_t, randomisation
from eval.trec import read_run, write_run

MEASURES = ("RR@10", "nDCG@10", "R@100", "AP")
DIRECT = {"RR@10": "recip_rank", "nDCG@10": "ndcg_cut_10", "R@100": "recall_100", "AP": "map"}
RELEVANT_A_QUERY = 2
MOST = 1.2  # times pytrec_eval's seconds

ByQuery = dict[str, dict[str, float]]


def draw(number: int, seed: int) -> np.ndarray:
    """Numbers in [0, 1)."""
    return mix(np.arange(1, number + 1, dtype=np.uint64) * counter(seed)) / 2.0**64


def make_run(queries: int, passages: int, seed: int) -> pl.DataFrame:
    """Every query with passages of its own and random scores, as dense retrieval over millions would give them."""
    rows = pl.DataFrame({"row": np.arange(queries * passages), "score": 30 * draw(queries * passages, seed)})
    return rows.select(
        pl.format("q{}", pl.col("row") // passages).alias("query_id"),
        pl.format("passage-{}", pl.col("row") * 7919 % 8_841_823).alias("passage_id"),  # as many as MS MARCO has
        "score",
    )


def make_qrels(run: pl.DataFrame, passages: int) -> pl.DataFrame:
    """About two relevant passages a query, drawn from those in the run."""
    relevant = draw(len(run), 3) < RELEVANT_A_QUERY / passages
    return run.filter(pl.Series(relevant)).select("query_id", "passage_id", score=pl.lit(1, pl.Int64))


def by_query(rows: pl.DataFrame) -> ByQuery:
    """A dict of dicts of rows in order of queries."""
    passages, scores = rows["passage_id"].to_list(), rows["score"].to_list()
    found, start = {}, 0
    for length, query_id in rows.select(pl.col("query_id").rle()).unnest("query_id").iter_rows():
        found[query_id] = dict(zip(passages[start : start + length], scores[start : start + length], strict=True))
        start += length
    return found


def evaluate_directly(run: ByQuery, qrels: ByQuery) -> ByQuery:
    return pytrec_eval.RelevanceEvaluator(qrels, set(DIRECT.values())).evaluate(run)


def parse_and_evaluate(path: str, qrels: ByQuery) -> ByQuery:
    with Path(path).open() as stream:
        return evaluate_directly(pytrec_eval.parse_run(stream), qrels)


def measure_and_test(run: pl.DataFrame, qrels: pl.DataFrame, other: pl.DataFrame) -> pl.DataFrame:
    values = measure_run(run, qrels, MEASURES)
    matrix = values.select(MEASURES).to_numpy()
    differences = matrix - other.select(MEASURES).to_numpy()
    paired_t(differences)
    randomisation(differences, seed=1)
    bootstrap_interval(matrix, seed=1)
    return values


def check_parity(values: pl.DataFrame, direct: ByQuery) -> float:
    """The largest difference of a value from pytrec_eval's, RR@10 being RR where it is at least 1/10."""
    largest = 0.0
    for row in values.iter_rows(named=True):
        for measure in MEASURES:
            expected = direct[row["query_id"]][DIRECT[measure]]
            expected = 0.0 if measure == "RR@10" and expected < 0.1 else expected
            largest = max(largest, abs(row[measure] - expected))
    return largest


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--queries", type=int, default=1000)
    parser.add_argument("--passages", type=int, default=1000, help="of each query")
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    lines = options.queries * options.passages
    made = make_run(options.queries, options.passages, seed=1)
    qrels = make_qrels(made, options.passages)
    judged = by_query(qrels)
    other = measure_run(make_run(options.queries, options.passages, seed=2), qrels, MEASURES)
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder) / "run.trec")
        write_run(made, path, "random")
        run = read_run(path)
        parity = check_parity(measure_run(run, qrels, MEASURES), evaluate_directly(by_query(run), judged))
        contenders = [
            Contender("file: pytrec_eval", lines, lambda: parse_and_evaluate(path, judged)),
            Contender("file: ours, with tests", lines, lambda: measure_and_test(read_run(path), qrels, other)),
            Contender("memory: pytrec_eval", lines, lambda: evaluate_directly(by_query(run), judged)),
            Contender("memory: ours, with tests", lines, lambda: measure_and_test(run, qrels, other)),
            Contender("memory: ours, measures alone", lines, lambda: measure_run(run, qrels, MEASURES)),
        ]
        rates = take_turns(contenders, options.rounds)
    seconds = {name: [lines / rate for rate in found] for name, found in rates.items()}
    versions = ", ".join(f"{name} {version(name)}" for name in ("polars", "ir-measures", "pytrec-eval-terrier"))
    print(f"{describe_machine()}, {versions}\n")
    print(f"{lines:,} lines, {len(judged):,} judged queries, {len(qrels):,} relevant passages; ", end="")
    print(f"largest difference of a value from pytrec_eval's: {parity:.1e}\n")
    rows = []
    for name, found in seconds.items():
        reference = median(seconds[f"{name.partition(':')[0]}: pytrec_eval"])
        rows.append((name, f"{median(found):.3f}", f"{min(found):.3f}", f"{median(found) / reference:.2f}"))
    print_table(("", "median, s", "least, s", f"of pytrec_eval's (at most {MOST})"), rows)


if __name__ == "__main__":
    main()
