"""csgen mine: margins by hand on a toy retriever, BM25 and small encoders, and sentence-transformers' own mining."""

import json

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cluster.cli import main
from cluster.mining.answers import arrange
from cluster.mining.choosing import (
    ABSOLUTE_MARGIN,
    KEPT,
    MAX_SCORE,
    MIN_SCORE,
    RELATIVE_MARGIN,
    UNFILLED,
    Filler,
    Limits,
    pick,
)
from cluster.mining.config import MineConfig
from cluster.mining.job import MineJob, mine_all, mine_shard, run_here
from cluster.mining.output import count_mined, lay_out
from cluster.mining.retrievers import Bm25Retriever, EncoderRetriever
from csgen.errors import InputError
from csgen.manifest import Manifest
from csgen.sources.draws import hash_texts
from csgen.sources.sample import SAMPLE_FOLDER
from indexing.lexical import LexicalIndex

pytest.importorskip("torch")
pytest_plugins = ["toy_models"]

COLUMNS = ["query_id", "query", "passage_id", "passage", "label"]


class Table:
    """A retriever of which the scores are given: one row a query, one column a passage."""

    def __init__(self, scores):
        self.scores = np.array(scores, np.float32)

    def search(self, queries, top_k):
        rows = np.argsort(-self.scores[queries], axis=1, kind="stable")[:, :top_k]
        return rows, np.take_along_axis(self.scores[queries], rows, axis=1)

    def score(self, queries, passages):
        return self.scores[queries, passages]


def make_config(**options):
    return MineConfig.from_options({"pairs": "pairs", "output": "out.parquet", **options})


def frame(*rows):
    return pl.DataFrame(rows, COLUMNS, orient="row", schema_overrides={"label": pl.Int8})


def toy_pairs(num_queries, num_passages):
    """Query i is answered by passage i; the passages pJ, in order, are of one word each."""
    texts = [f"word{'abcdefghijklmnopqrstuvwxyz'[j] * 3}" for j in range(num_passages)]
    positives = [(f"q{i}", f"query {i}", f"p{i:02}", texts[i], 1) for i in range(num_queries)]
    others = [("q0", "query 0", f"p{j:02}", texts[j], 0) for j in range(num_queries, num_passages)]
    return frame(*positives, *others)


def mine_toy(scores, pairs=None, **options):
    """The negatives of each query as {query_id: [(passage_id, score), ...]}, and the counts."""
    pairs = toy_pairs(len(scores), len(scores[0])) if pairs is None else pairs
    mine = arrange(pairs, None, "en", "pairs")
    hashes = hash_texts(mine.passages["passage_id"])
    job = MineJob(make_config(**options), Table(scores), mine.answers, mine.candidates, hashes)
    mined = mine_all(job, run_here, lambda count: None)
    out = pl.concat([pl.from_arrow(batch) for batch in lay_out(mine, mined)]).filter(label=0)
    found = {key: [] for key in mine.queries["query_id"]}
    for row in out.iter_rows(named=True):
        found[row["query_id"]].append((row["passage_id"], round(row["score"], 4)))
    return found, count_mined(mine, mined)


SCORES = [[0.8, 0.9, 0.75, 0.7, 0.5, 0.1]]  # of passage p00, the positive, and of five others


def test_without_a_margin_the_best_others_are_the_negatives():
    found, counts = mine_toy(SCORES, negatives=2)
    assert found == {"q0": [("p01", 0.9), ("p02", 0.75)]}
    assert counts["left_out"]["positive"] == 1


def test_an_absolute_margin_leaves_out_what_scores_close_to_the_positive():
    found, counts = mine_toy(SCORES, negatives=2, absolute_margin=0.08)
    assert found == {"q0": [("p03", 0.7), ("p04", 0.5)]}
    assert counts["left_out"]["absolute_margin"] == 2


def test_a_relative_margin_is_a_share_of_the_positives_score():
    found, counts = mine_toy(SCORES, negatives=2, relative_margin=0.05)  # up to 0.76
    assert found == {"q0": [("p02", 0.75), ("p03", 0.7)]}
    assert counts["left_out"]["relative_margin"] == 1


def test_a_relative_margin_of_a_negative_score_lies_below_it():
    found, _ = mine_toy([[-1.0, -1.05, -1.2, -2.0]], negatives=1, relative_margin=0.1)  # up to -1.1
    assert found == {"q0": [("p02", -1.2)]}


def test_scores_are_bounded_on_both_sides():
    found, counts = mine_toy(SCORES, negatives=2, max_score=0.72, min_score=0.4)
    assert found == {"q0": [("p03", 0.7), ("p04", 0.5)]}
    assert (counts["left_out"]["max_score"], counts["left_out"]["min_score"]) == (2, 1)


def test_the_best_of_what_passes_are_passed_over():
    assert mine_toy(SCORES, negatives=1, range_min=1, absolute_margin=0.08)[0] == {"q0": [("p04", 0.5)]}


def test_no_more_candidates_are_looked_at_than_the_range_has():
    found, counts = mine_toy(SCORES, negatives=1, range_max=2, max_score=0.75, fill="none")
    assert found == {"q0": [("p02", 0.75)]}
    assert counts["candidates"] == 3, "the positive and two others"


def test_the_margin_counts_from_the_lowest_positive():
    pairs = frame(
        ("q", "query", "p00", "one", 1), ("q", "query", "p01", "two", 2), ("q", "query", "p02", "three", 0),
        ("q", "query", "p03", "four", 0),
    )  # fmt: skip
    found, counts = mine_toy([[0.9, 0.5, 0.6, 0.4]], pairs, negatives=1, absolute_margin=0)
    assert found == {"q": [("p03", 0.4)]}
    assert counts["positives"] == 2


def test_near_duplicates_of_a_positive_are_no_negatives():
    pairs = frame(
        ("q", "query", "p0", "The red house.", 1),
        ("r", "other", "p1", "the RED house", 1),
        ("r", "other", "p2", "blue", 0),
    )
    found, counts = mine_toy([[1, 0.9, 0.1], [0.9, 1, 0.1]], pairs, negatives=2, fill="none")
    assert found == {"q": [("p2", 0.1)], "r": [("p2", 0.1)]}
    assert counts["left_out"]["near_duplicate"] == 2


def test_queries_of_equal_text_share_their_positives():
    pairs = frame(("q", "same", "p0", "red", 1), ("r", "same", "p1", "blue", 1), ("r", "same", "p2", "green", 0))
    assert mine_toy([[1, 0.9, 0.1]] * 2, pairs, negatives=1)[0] == {"q": [("p2", 0.1)], "r": [("p2", 0.1)]}


def test_a_translation_of_a_positive_is_no_negative():
    rows = [
        ("q", "query", "1", "Haus", 1, "de"),
        ("q", "query", "1", "house", 0, "en"),
        ("q", "query", "2", "tree", 0, "en"),
    ]
    pairs = pl.DataFrame(rows, [*COLUMNS, "passage_language"], orient="row")
    assert mine_toy([[0.9, 0.8, 0.1]], pairs, negatives=1)[0] == {"q": [("2", 0.1)]}


def test_random_passages_under_the_margin_fill_up():
    found, counts = mine_toy(SCORES, negatives=3, range_max=3, absolute_margin=0.08)
    assert found["q0"][0] == ("p03", 0.7)
    assert set(found["q0"][1:]) == {("p04", 0.5), ("p05", 0.1)}
    assert counts["negatives"] == {"mined": 1, "random": 2}
    assert (counts["queries_filled"], counts["queries_short"]) == (1, 0)
    assert counts["mean_scores"] == {"positive": 0.8, "mined": 0.7, "random": 0.3}


def test_a_query_may_be_left_with_fewer():
    found, counts = mine_toy(SCORES, negatives=3, range_max=3, absolute_margin=0.08, fill="none")
    assert found == {"q0": [("p03", 0.7)]}
    assert (counts["queries_filled"], counts["queries_short"]) == (0, 1)


def test_a_random_sample_is_of_what_passes_and_depends_on_the_seed():
    scores = [[0.99, *[0.5 - 0.01 * j for j in range(20)]]]
    samples = [mine_toy(scores, negatives=2, range_max=10, sampling="random", seed=seed)[0]["q0"] for seed in range(20)]
    assert samples[3] == mine_toy(scores, negatives=2, range_max=10, sampling="random", seed=3)[0]["q0"]
    assert {passage for sample in samples for passage, _ in sample} == {f"p{j:02}" for j in range(1, 11)}
    assert all(first[1] > second[1] for first, second in samples)


def test_a_margin_that_leaves_nothing_is_told_with_its_count():
    with pytest.raises(InputError, match="left out were 1 by positive, 5 by absolute_margin; give smaller margins"):
        mine_toy(SCORES, negatives=2, absolute_margin=1)


tables = st.integers(1, 4).flatmap(
    lambda q: st.integers(q + 1, 9).flatmap(
        lambda p: st.lists(st.lists(st.integers(0, 12), min_size=p, max_size=p), min_size=q, max_size=q)
    )
)


@settings(max_examples=60, deadline=None)
@given(
    tables, st.integers(1, 4), st.integers(0, 2), st.sampled_from([None, 0, 1, 3]), st.sampled_from(["top", "random"])
)
def test_negatives_keep_the_margin_are_distinct_and_the_same_for_any_shards(
    scores, negatives, range_min, margin, sampling
):
    options = {"negatives": negatives, "range_min": range_min, "absolute_margin": margin, "sampling": sampling}
    try:
        found, counts = mine_toy(scores, queries_per_shard=1, **options)
    except InputError:
        return
    assert mine_toy(scores, queries_per_shard=3, **options) == (found, counts)
    for number, chosen in enumerate(found.values()):
        rows = [int(passage[1:]) for passage, _ in chosen]
        assert len(set(rows)) == len(rows) <= negatives
        assert number not in rows
        assert all(margin is None or score + margin <= scores[number][number] for _, score in chosen)
        assert [score for _, score in chosen] == [scores[number][row] for row in rows]


@pytest.mark.parametrize("sampling", ["top", "random"])
def test_another_querys_positives_widen_no_querys_search(sampling):
    rows = [(f"q{i}", f"query {i}", f"p{i:02}", f"word{chr(97 + i) * 3}", 1) for i in range(26)]
    several = [("q0", "query 0", f"p{i:02}", f"word{chr(97 + i) * 3}", 1) for i in range(1, 9)]
    scores = [[30 if i == j and i % 2 else (7 * i + 5 * j) % 26 for j in range(26)] for i in range(26)]
    options = {"negatives": 3, "range_max": 3, "absolute_margin": 3, "sampling": sampling}
    found = [mine_toy(scores, frame(*rows, *several), queries_per_shard=size, **options) for size in (1, 5, 26)]
    assert found[0] == found[1] == found[2]
    assert found[0][1]["negatives"]["random"] > 0


@given(st.integers(1, 40), st.integers(0, 1 << 63), st.integers(1, 50))
def test_filling_finds_all_that_may_be_found(num_passages, key, wanted):
    rows, scores = np.full((1, wanted), UNFILLED), np.zeros((1, wanted), np.float32)
    filler = Filler(
        num_passages, Limits(), lambda queries, passages: passages % 3 > 0, lambda queries, passages: passages * 1.0
    )
    filler.fill(rows, scores, np.zeros(1, np.float32), np.array([key], np.uint64))
    found = rows[rows != UNFILLED]
    allowed = {row for row in range(num_passages) if row % 3}
    assert len(set(found.tolist())) == len(found) == min(wanted, len(allowed))
    assert set(found.tolist()) <= allowed


def test_each_score_is_left_out_by_the_first_bound_that_it_breaks():
    limits = Limits(absolute_margin=0.1, relative_margin=0.5, max_score=0.3, min_score=0.1)
    scores = np.array([0.95, 0.6, 0.4, 0.05, 0.2], np.float32)
    wanted = [ABSOLUTE_MARGIN, RELATIVE_MARGIN, MAX_SCORE, MIN_SCORE, KEPT]
    assert limits.judge(scores, np.ones(5, np.float32)).tolist() == wanted


def test_too_few_candidates_leave_places_open():
    scores, codes = np.array([[0.5, 0.7, 0.6]], np.float32), np.array([[KEPT, MAX_SCORE, KEPT]], np.int8)
    assert pick(scores, codes, Limits(), 4, None).tolist() == [[2, 0, UNFILLED, UNFILLED]]


def test_bm25_scores_pairs_as_its_search_does():
    texts = pl.Series([f"red {'house ' * (n % 5)}{'car ' * (n % 3)}number{n}" for n in range(40)])
    queries = pl.Series(["red house", "car number7", "nothing"])
    retriever = Bm25Retriever(queries, LexicalIndex.build(texts, "en"), np.ones(40, np.bool_))
    rows, scores = retriever.search(np.arange(3), 40)
    found = retriever.score(np.repeat(np.arange(3), 40), np.tile(np.arange(40), 3)).reshape(3, 40)
    for query in range(3):
        hits = rows[query] >= 0
        np.testing.assert_array_equal(found[query, rows[query, hits]], scores[query, hits])
        assert not found[query, np.setdiff1d(np.arange(40), rows[query, hits])].any()


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 30), st.integers(1, 12), st.integers(0, 1000))
def test_embeddings_give_the_best_candidates_exactly(num_passages, top_k, seed):
    numbers = np.random.default_rng(seed).integers(-2, 3, (num_passages + 5, 4)).astype(np.float32)  # with ties
    vectors = numbers / np.maximum(1, np.linalg.norm(numbers, axis=1, keepdims=True))
    candidates = numbers[5:, 0] >= 0
    retriever = EncoderRetriever(vectors[:5], vectors[5:], candidates)
    rows, scores = retriever.search(np.arange(5), top_k)
    for query in range(5):
        exact = retriever.score(np.full(num_passages, query), np.arange(num_passages))
        wanted = [row for row in np.lexsort((np.arange(num_passages), -exact)) if candidates[row]][:top_k]
        assert rows[query, : len(wanted)].tolist() == wanted
        assert (rows[query, len(wanted) :] == -1).all()
        np.testing.assert_array_equal(scores[query, : len(wanted)], exact[wanted])


# The command, with real models


@pytest.fixture
def mine(capsys, tmp_path, sample_pairs):
    """Runs the command in this process; gives its exit code, summary and standard error."""

    def run(*arguments, pairs=sample_pairs, output=tmp_path / "mined.parquet"):
        code = main(["mine", str(pairs), "--output", str(output), "--format", "json", *map(str, arguments)])
        found = capsys.readouterr()
        return code, json.loads(found.out) if code == 0 else None, found.err

    return run


def test_bm25_negatives_of_the_sample_share_words_with_their_query(mine, tmp_path, sample_rows):
    code, counts, _ = mine("--negatives", 3)
    out = pl.read_parquet(tmp_path / "mined.parquet")
    assert (code, counts["queries"], counts["pairs"]) == (0, 60, 60 * 4)
    assert out.columns == [*COLUMNS, "score"]
    assert out["query_id"].to_list() == sorted(out["query_id"])
    given = pl.DataFrame(sample_rows, schema_overrides={"label": pl.Int8}).sort("query_id")
    assert out.filter(label=1).drop("score").equals(given)
    assert out["label"].to_list() == [1, 0, 0, 0] * 60
    assert (out.filter(label=0)["score"] > 0).sum() == counts["negatives"]["mined"] > 0
    assert sum(counts["negatives"].values()) == 180


def test_the_negatives_are_those_of_sentence_transformers(mine, toys, tmp_path, sample_rows):
    pytest.importorskip("datasets")
    from datasets import Dataset
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.util import mine_hard_negatives

    model = toys.encoder("xlm-roberta")
    given = {"negatives": 5, "range_min": 2, "range_max": 20, "relative_margin": 0.02, "max_score": 0.995}
    flags = [word for name, value in given.items() for word in (f"--{name.replace('_', '-')}", value)]
    assert mine("--by", "encoder", "--model", model, "--fill", "none", *flags)[0] == 0
    pairs = {"query": [row["query"] for row in sample_rows], "passage": [row["passage"] for row in sample_rows]}
    given["num_negatives"] = given.pop("negatives")
    theirs = mine_hard_negatives(
        Dataset.from_dict(pairs), SentenceTransformer(model, device="cpu"), verbose=False, output_scores=True, **given
    ).to_polars()
    ours = pl.read_parquet(tmp_path / "mined.parquet").filter(label=0)
    assert 0 < len(ours) == len(theirs) < 5 * 60
    for query in ours["query"].unique():
        assert set(ours.filter(query=query)["passage"]) == set(theirs.filter(query=query)["negative"])
    theirs = theirs.select("query", passage="negative", theirs=pl.col("scores").list.last())
    both = ours.join(theirs, on=["query", "passage"])
    np.testing.assert_allclose(both["score"], both["theirs"], atol=1e-5)


@pytest.mark.parametrize("kind", ["bm25", "encoder", "reranker"])
def test_two_workers_write_the_bytes_of_one_process(mine, toys, tmp_path, kind, ray_session):
    options = {
        "bm25": ["--sampling", "random", "--relative-margin", 0.2],
        "encoder": ["--by", "encoder", "--model", toys.encoder("xlm-roberta")],
        "reranker": ["--reranker", toys.reranker("xlm-roberta"), "--absolute-margin", 0.1],
    }[kind]
    one = mine("--workers", 1, *options, output=tmp_path / "one.parquet")
    two = mine("--workers", 2, "--queries-per-shard", 7, "--quiet", *options, output=tmp_path / "two.parquet")
    assert (one[0], two[0], two[2]) == (0, 0, "")
    assert (tmp_path / "one.parquet").read_bytes() == (tmp_path / "two.parquet").read_bytes()
    assert one[1] | {"output": ""} == two[1] | {"output": ""}


def test_the_order_of_the_rows_changes_nothing(mine, tmp_path, sample_rows):
    pl.DataFrame(sample_rows[::-1]).write_parquet(tmp_path / "turned.parquet")
    assert mine("--sampling", "random")[0] == 0
    assert mine("--sampling", "random", pairs=tmp_path / "turned.parquet", output=tmp_path / "two.parquet")[0] == 0
    assert (tmp_path / "mined.parquet").read_bytes() == (tmp_path / "two.parquet").read_bytes()


def test_a_reranker_gives_the_scores_and_the_margin(mine, toys, tmp_path):
    from cluster.reranker import Reranker

    model = toys.reranker("bert")
    code, counts, _ = mine("--reranker", model, "--absolute-margin", 0, "--negatives", 2)
    out = pl.read_parquet(tmp_path / "mined.parquet")
    wanted = Reranker.load(model).score(out.to_arrow())
    np.testing.assert_allclose(out["score"], wanted, atol=1e-5)
    floors = out.filter(label=1).select("query_id", floor="score")
    assert (
        (out.filter(label=0).join(floors, on="query_id").select(pl.col("score") <= pl.col("floor"))).to_series().all()
    )
    assert (code, counts["left_out"]["absolute_margin"] > 0) == (0, True)


def test_negatives_come_from_a_collection(mine, tmp_path, sample_rows):
    few = frame(*[tuple(row[name] for name in COLUMNS) for row in sample_rows[:5]])
    few = few.with_columns(query_language=pl.lit("en"), passage_language=pl.lit("en"))
    few.write_parquet(tmp_path / "few.parquet")
    code, counts, _ = mine(
        "--by", "bm25", "--collection", SAMPLE_FOLDER, "--language", "de", pairs=tmp_path / "few.parquet"
    )
    out = pl.read_parquet(tmp_path / "mined.parquet")
    assert (code, counts["passages"], len(out)) == (0, 60, 25)
    assert out.filter(label=1)["passage_language"].unique().to_list() == ["en"]
    assert out.filter(label=0)["passage_language"].unique().to_list() == ["de"]
    own = out.filter(label=1).select("query_id", "passage_id")
    assert out.filter(label=0).join(own, on=["query_id", "passage_id"]).is_empty(), "no translation of the positive"


def test_a_folder_has_a_manifest_that_comes_last_and_is_not_overwritten(mine, tmp_path, sample_pairs):
    code, counts, _ = mine(output=tmp_path / "mined")
    manifest = Manifest.read(str(tmp_path / "mined"))
    assert (code, manifest.stage, manifest.counts) == (0, "mine", {k: v for k, v in counts.items() if k != "output"})
    assert list(manifest.files) == ["pairs.parquet"]
    assert sample_pairs in manifest.inputs
    code, _, errors = mine(output=tmp_path / "mined")
    assert (code, "holds a finished output; remove it first" in errors) == (2, True)


def test_an_output_file_that_exists_is_not_overwritten(mine, tmp_path):
    (tmp_path / "mined.parquet").write_text("mine")
    code, _, errors = mine()
    assert (code, "mined.parquet: exists already; remove it first" in errors) == (2, True)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--by", "encoder"], "--by encoder needs --model, and --by bm25 has none: give one"),
        (["--model", "x"], "add --by encoder, or leave it out"),
        (["--min-score", "2", "--max-score", "1"], "--min-score 2.0 is above --max-score 1.0"),
        (["--range-min", "8", "--range-max", "10"], "give a --range-max of 12 or more"),
        (["--relative-margin", "2"], "--relative-margin: input should be less than or equal to 1, got 2.0"),
    ],
)
def test_options_that_do_not_fit_are_refused(mine, flags, message):
    code, _, errors = mine(*flags)
    assert (code, message in errors) == (2, True), errors


def test_an_output_of_another_kind_is_refused(mine, tmp_path):
    code, _, errors = mine(output=tmp_path / "x.tsv")
    assert (code, "give a folder, or a file that ends in .parquet" in errors) == (2, True)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([("q", "a", "p", "b", 0)], "none of the 1 pairs has a label above 0"),
        ([("q", "a", "p", "b", 1), ("q", "c", "p", "b", 1)], "the query 'q' stands with two texts, 'a' and 'c'"),
        ([("q", "a", "p", "b", 1), ("r", "c", "p", "d", 0)], "the passage 'p' stands with two texts, 'b' and 'd'"),
        ([("q", "a", "p", "b", 1)], "no candidate may be a negative"),
    ],
)
def test_pairs_that_do_not_serve_are_refused(mine, tmp_path, rows, message):
    frame(*rows).write_parquet(tmp_path / "bad.parquet")
    code, _, errors = mine(pairs=tmp_path / "bad.parquet")
    assert (code, message in errors) == (2, True), errors


def test_a_missing_column_is_named(mine, tmp_path):
    frame(("q", "a", "p", "b", 1)).drop("passage").write_parquet(tmp_path / "bad.parquet")
    code, _, errors = mine(pairs=tmp_path / "bad.parquet")
    assert (code, "missing column passage" in errors) == (2, True)


def test_columns_that_are_not_of_pairs_are_told(mine, tmp_path, sample_rows):
    pl.DataFrame(sample_rows).with_columns(topic=pl.lit("x")).write_parquet(tmp_path / "more.parquet")
    code, _, errors = mine(pairs=tmp_path / "more.parquet")
    assert (code, "columns that are not read: topic" in errors) == (0, True)
    assert "topic" not in pl.read_parquet(tmp_path / "mined.parquet").columns


def test_a_shard_is_a_plain_function_of_its_number():
    mine = arrange(toy_pairs(4, 9), None, "en", "pairs")
    scores = np.arange(36).reshape(4, 9) % 7
    hashes = hash_texts(mine.passages["passage_id"])
    job = MineJob(make_config(queries_per_shard=3), Table(scores), mine.answers, mine.candidates, hashes)
    index, part = mine_shard(job, 1)
    assert (job.num_shards, index, part.rows.shape) == (2, 1, (1, 4))
