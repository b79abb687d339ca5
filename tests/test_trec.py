"""Runs and qrels in TREC's format: read, written, ranked and refused."""

import gzip
from pathlib import Path

import polars as pl
import pytest
import pytrec_eval
from hypothesis import given, settings
from hypothesis import strategies as st

from csgen.errors import InputError
from eval.trec import (
    check_run,
    find_double,
    rank_run,
    read_qrels,
    read_run,
    read_trec_qrels,
    refuse_other_split,
    refuse_without_relevant,
    write_run,
    write_trec_qrels,
)

LINES = "q2 Q0 p1 1 2.5 x\nq2 Q0 p3 2 -1e-3 x\nq1 Q0 p1 1 7 x\n"
ROWS = [("q2", "p1", 2.5), ("q2", "p3", -0.001), ("q1", "p1", 7.0)]
QRELS_ROWS = [("q1", "p1", 1), ("q1", "p2", 0), ("q2", "p1", 2)]


def frame(rows: list[tuple[str, str, float]]) -> pl.DataFrame:
    return pl.DataFrame(
        rows, schema={"query_id": pl.String, "passage_id": pl.String, "score": pl.Float64}, orient="row"
    )


def qrels(rows: list[tuple[str, str, int]] = QRELS_ROWS) -> pl.DataFrame:
    return pl.DataFrame(rows, schema={"query_id": pl.String, "passage_id": pl.String, "score": pl.Int64}, orient="row")


def save(folder: Path, text: str, name: str = "en-de.trec") -> str:
    (folder / name).write_bytes(text.encode())
    return str(folder / name)


def test_a_run_is_read_in_the_order_of_its_file(tmp_path: Path) -> None:
    run = read_run(save(tmp_path, LINES))
    assert run.rows() == ROWS
    assert run.schema == {"query_id": pl.String, "passage_id": pl.String, "score": pl.Float64}


@pytest.mark.parametrize(
    "text",
    [
        LINES.replace(" ", "\t"),
        LINES.replace(" ", " \t  "),
        LINES.replace("\n", "\r\n"),
        LINES.replace("\n", " \r\n"),
        "\n  \n" + LINES.replace("\n", "\n\n   \n"),
        "  " + LINES.replace("\n", "\n  "),
        "\ufeff" + LINES,
        LINES.rstrip("\n"),
    ],
    ids=["tabs", "both", "CR LF", "space before CR LF", "blank lines", "indented", "byte order mark", "no last break"],
)
def test_white_space_of_any_kind_parts_fields(tmp_path: Path, text: str) -> None:
    assert read_run(save(tmp_path, text)).rows() == ROWS


def test_quotes_are_part_of_ids(tmp_path: Path) -> None:
    assert read_run(save(tmp_path, 'q"1 Q0 "p" 1 2 x\n')).rows() == [('q"1', '"p"', 2.0)]


def test_ids_that_look_like_missing_values_are_ids(tmp_path: Path) -> None:
    assert read_run(save(tmp_path, "null Q0 NA 1 2 x\n")).rows() == [("null", "NA", 2.0)]


def test_a_compressed_run_is_found_by_its_plain_name(tmp_path: Path) -> None:
    (tmp_path / "a.trec.gz").write_bytes(gzip.compress(LINES.encode()))
    assert read_run(str(tmp_path / "a.trec")).rows() == ROWS
    assert read_run(str(tmp_path / "a.trec.gz")).rows() == ROWS


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("q1 Q0 p2 1 0.5", r"en-de\.trec:4: expected 6 fields, got 5; a line of a run is: query_id Q0 passage_id rank"),
        ("q1 Q0 p2 1 0.5 x y", r"en-de\.trec:4: expected 6 fields, got 7"),
        (
            "q1 Q0 p2 1 nan x",
            r"en-de\.trec:4: expected a finite number as score, got 'nan'; mend the line or take it out",
        ),
        ("q1 Q0 p2 1 -inf x", r"en-de\.trec:4: expected a finite number as score, got '-inf'"),
        ("q1 Q0 p2 1 1e999 x", r"en-de\.trec:4: expected a finite number as score, got '1e999'"),
        ("q1 Q0 p2 1 0,5 x", r"en-de\.trec:4: expected a finite number as score, got '0,5'"),
        ("q1 Q0 p2 1 1_0 x", r"en-de\.trec:4: expected a finite number as score, got '1_0'"),
        (
            "q2 Q0 p3 9 0.1 x",
            r"en-de\.trec:4: the passage 'p3' stands twice for the query 'q2' \(first on line 2\); keep one",
        ),
    ],
)
def test_a_bad_line_of_a_run_is_named(tmp_path: Path, line: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        read_run(save(tmp_path, LINES + line + "\n"))


def test_blank_lines_count_in_line_numbers(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"trec:7: expected 6 fields, got 1"):
        read_run(save(tmp_path, "\n\n\n" + LINES + "q1"))


def test_a_line_that_is_not_utf8_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.trec").write_bytes(LINES.encode() + b"q1 Q0 p\xff 1 2 x\n")
    with pytest.raises(InputError, match=r"a\.trec:4: invalid UTF-8 at byte 2 \(0xff\)"):
        read_run(str(tmp_path / "a.trec"))


@pytest.mark.parametrize("text", ["", " \n\n"])
def test_an_empty_file_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(InputError, match=r"en-de\.trec: empty file; a line of a run is: query_id Q0"):
        read_run(save(tmp_path, text))


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"none\.trec: no such file"):
        read_run(str(tmp_path / "none.trec"))


def test_a_file_cut_short_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.trec.gz").write_bytes(gzip.compress(LINES.encode())[:-12])
    with pytest.raises(InputError, match=r"a\.trec\.gz: cannot be read, damaged or cut short"):
        read_run(str(tmp_path / "a.trec.gz"))


def test_a_run_is_written_in_ranked_order(tmp_path: Path) -> None:
    path = str(tmp_path / "folder" / "a.trec")
    write_run(
        frame([("q2", "p1", 0.1), ("q1", "p1", 1.0), ("q2", "p2", 0.30000000000000004), ("q1", "p9", 1.0)]),
        path,
        "bm25",
    )
    assert Path(path).read_text().splitlines() == [
        "q1 Q0 p9 1 1.0 bm25",
        "q1 Q0 p1 2 1.0 bm25",
        "q2 Q0 p2 1 0.30000000000000004 bm25",
        "q2 Q0 p1 2 0.1 bm25",
    ]


def test_a_gzipped_run_has_the_same_bytes_whatever_the_order_of_rows(tmp_path: Path) -> None:
    write_run(frame(ROWS), str(tmp_path / "a.gz"), "x")
    write_run(frame(ROWS[::-1]), str(tmp_path / "b.gz"), "x")
    assert (tmp_path / "a.gz").read_bytes() == (tmp_path / "b.gz").read_bytes()
    assert gzip.decompress((tmp_path / "a.gz").read_bytes()).startswith(b"q1 Q0 p1 1 7.0 x\n")


@settings(deadline=None)
@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1, max_size=8))
def test_written_scores_read_back_as_they_are(tmp_path_factory: pytest.TempPathFactory, scores: list[float]) -> None:
    path = str(tmp_path_factory.mktemp("runs") / "a.trec")
    run = frame([("q", f"p{i}", score) for i, score in enumerate(scores)])
    write_run(run, path, "x")
    assert read_run(path).sort("passage_id").rows() == run.rows()


def test_what_a_run_file_cannot_hold_is_refused(tmp_path: Path) -> None:
    path = str(tmp_path / "a.trec")
    with pytest.raises(
        InputError, match=r"no id in TREC's files may be empty or have white space, got 'p 1'; rename it"
    ):
        write_run(frame([("q", "p 1", 1.0)]), path, "x")
    with pytest.raises(InputError, match=r"the tag of a run must be one word, got 'my system'"):
        write_run(frame(ROWS), path, "my system")
    with pytest.raises(InputError, match=r"a\.trec\.zst: TREC files are written plain or as \.gz"):
        write_run(frame(ROWS), path + ".zst", "x")
    assert not Path(path).exists()


def test_a_run_is_ranked_by_score_and_then_by_the_later_id() -> None:
    ranked = rank_run(frame([("q", "a", 1.0), ("q", "c", 2.0), ("q", "b", 1.0), ("p", "a", 0.0)]))
    assert ranked.select("query_id", "passage_id", "rank").rows() == [
        ("p", "a", 1),
        ("q", "c", 1),
        ("q", "b", 2),
        ("q", "a", 3),
    ]


def test_scores_that_are_equal_as_32_bit_floats_are_equal() -> None:
    ranked = rank_run(frame([("q", "a", 1.0 + 1e-9), ("q", "b", 1.0), ("q", "c", 1.0 - 1e-9)]))
    assert ranked["passage_id"].to_list() == ["c", "b", "a"]


def test_a_score_that_is_no_number_has_no_rank() -> None:
    with pytest.raises(InputError, match=r"the passage 'b' has the score nan for the query 'q'; scores must be finite"):
        rank_run(frame([("q", "a", 1.0), ("q", "b", float("nan"))]))


IDS = st.sampled_from(["a", "b", "B", "p10", "p9", "é", "z", "～", "𝄞", "-"])
SCORES = st.one_of(st.sampled_from([0.0, -0.0, 1.0, 1.0 + 1e-9, 1e-46, 1e39, 1e40, 2.5]), st.floats(-5, 5))


@settings(deadline=None)
@given(st.dictionaries(IDS, SCORES, min_size=1))
def test_the_order_is_trec_evals_own(scores: dict[str, float]) -> None:
    ranked = rank_run(frame([("q", passage, score) for passage, score in scores.items()]))
    ranks = dict(ranked.select("passage_id", "rank").iter_rows())
    for passage, rank in ranks.items():
        evaluator = pytrec_eval.RelevanceEvaluator({"q": {passage: 1}}, {"recip_rank"})
        assert evaluator.evaluate({"q": scores})["q"]["recip_rank"] == 1 / rank


def test_the_first_pair_that_stands_twice_is_found() -> None:
    assert find_double(frame(ROWS)) is None
    assert find_double(frame([*ROWS, ("q1", "p1", 0.0), ("q2", "p1", 0.0)])) == ("q2", "p1")


def test_qrels_are_read_from_trecs_format(tmp_path: Path) -> None:
    read = read_trec_qrels(save(tmp_path, "q1 0 p1 1\nq1\t0\tp2\t0\nq2 0 p1 -2\n", "test.qrels"))
    assert read.rows() == [("q1", "p1", 1), ("q1", "p2", 0), ("q2", "p1", -2)]
    assert read.schema["score"] == pl.Int64


def test_both_formats_of_qrels_are_told_apart(tmp_path: Path) -> None:
    trec = save(tmp_path, "q1 0 p1 1\nq1 0 p2 0\nq2 0 p1 2\n", "test.qrels")
    beir = save(tmp_path, "query-id\tcorpus-id\tscore\nq1\tp1\t1\nq1\tp2\t0\nq2\tp1\t2\n", "test.tsv")
    assert read_qrels(trec).equals(read_qrels(beir))
    assert read_qrels(trec).equals(qrels())


def test_written_qrels_read_back_in_order_of_ids(tmp_path: Path) -> None:
    path = str(tmp_path / "test.qrels.gz")
    write_trec_qrels(qrels(QRELS_ROWS[::-1]), path)
    assert gzip.decompress(Path(path).read_bytes()) == b"q1 0 p1 1\nq1 0 p2 0\nq2 0 p1 2\n"
    assert read_qrels(path).equals(qrels())


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "q1 0 p1 1\nq1 0 p2 1.0\n",
            r"test\.qrels:2: expected a whole number as grade, got '1\.0'; a line of TREC's qrels is",
        ),
        (
            "q1 0 p1 1\nq1 p2 1\n",
            r"test\.qrels:2: expected 4 fields, got 3; a line of TREC's qrels is: query_id 0 passage_id",
        ),
        (
            "q1 0 p1 1\nq2 0 p1 1\nq1 0 p1 0\n",
            r"qrels:3: the passage 'p1' stands twice for the query 'q1' \(first on line 1\)",
        ),
        ("", r"test\.qrels: empty file"),
    ],
)
def test_bad_qrels_are_refused_with_their_line(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        read_qrels(save(tmp_path, text, "test.qrels"))


def test_a_pair_twice_in_beirs_format_is_refused_with_its_lines(tmp_path: Path) -> None:
    text = "score\tquery-id\tcorpus-id\r\n1\tq1\tp 1\r\n1\tq1\tp2\r\n0\tq1\tp 1\r\n"
    with pytest.raises(
        InputError, match=r"test\.tsv:4: the passage 'p 1' stands twice for the query 'q1' \(first on line 2\)"
    ):
        read_qrels(save(tmp_path, text, "test.tsv"))


def test_a_run_of_known_ids_passes() -> None:
    check_run(frame(ROWS), "a.trec", pl.Series(["q1", "q2", "q3"]), pl.Series(["p1", "p3"]))


def test_an_unknown_query_is_named_with_its_line(tmp_path: Path) -> None:
    path = save(tmp_path, LINES + "q9 Q0 p1 1 1 x\nq8 Q0 p1 1 1 x\nq9 Q0 p3 1 1 x\n")
    message = (
        r"en-de\.trec:4: the query 'q9' is not among the 2 of the collection, nor are 1 more; give the run of this"
    )
    with pytest.raises(InputError, match=message):
        check_run(read_run(path), path, pl.Series(["q1", "q2"]), pl.Series(["p1", "p3"]))


def test_an_unknown_passage_is_named_with_its_line(tmp_path: Path) -> None:
    path = save(tmp_path, LINES)
    with pytest.raises(InputError, match=r"en-de\.trec:2: the passage 'p3' is not among the 1 of the collection; give"):
        check_run(read_run(path), path, pl.Series(["q1", "q2"]), pl.Series(["p1"]))


def test_a_run_that_is_in_no_file_is_named_without_a_line() -> None:
    with pytest.raises(InputError, match=r"^the system bm25: the query 'q2' is not among the 1 of the collection"):
        check_run(frame(ROWS), "the system bm25", pl.Series(["q1"]), pl.Series(["p1", "p3"]))


def test_qrels_of_another_split_are_refused() -> None:
    other = qrels([("dev1", "p1", 1), ("dev2", "p1", 1)])
    message = (
        r"a\.trec: none of its 2 queries \(the first 'q1'\) is among the 2 of dev\.tsv \(the first 'dev1'\): .*give"
    )
    with pytest.raises(InputError, match=message):
        refuse_other_split(frame(ROWS), "a.trec", other, "dev.tsv")
    refuse_other_split(frame(ROWS), "a.trec", qrels(QRELS_ROWS[:1]), "test.tsv")
    refuse_other_split(frame([]), "a.trec", other, "dev.tsv")  # a system may find nothing at all


def test_a_query_without_relevant_passages_is_named_with_its_line(tmp_path: Path) -> None:
    path = save(tmp_path, "q1 0 p1 1\nq3 0 p1 0\nq1 0 p2 0\nq3 0 p2 -1\nq2 0 p2 0\n", "test.qrels")
    message = (
        r"test\.qrels:2: the query 'q3' has no relevant passage \(a grade above 0\), nor have 1 more; judge a passage"
    )
    with pytest.raises(InputError, match=message):
        refuse_without_relevant(read_qrels(path), path)
    refuse_without_relevant(qrels(), "test.qrels")


def test_a_query_without_relevant_passages_in_beirs_format_is_named_with_its_line(tmp_path: Path) -> None:
    path = save(tmp_path, "query-id\tcorpus-id\tscore\nq1\tp1\t1\nq2\tp1\t0\n", "test.tsv")
    with pytest.raises(
        InputError, match=r"test\.tsv:3: the query 'q2' has no relevant passage \(a grade above 0\); judge"
    ):
        refuse_without_relevant(read_qrels(path), path)
