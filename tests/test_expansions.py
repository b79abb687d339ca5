"""Precomputed query expansions: read, checked and put to the queries."""

import bz2
import gzip
import json
import lzma

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from csgen.errors import InputError
from eval.variants.expansions import EXPANSION_KINDS, Expansions, expand, read_expansions, refuse_unknown
from eval.variants.robustness import Expanded, apply_variant, check_variant

SCHEMA = {"query_id": pl.String, "language": pl.String, "text": pl.String}
QUERIES = pl.DataFrame(
    [("q2", "en", "what is apt"), ("q1", "de", "was ist apt"), ("q3", "ja", "aptとは")], SCHEMA, orient="row"
)
LINES = [
    {"query_id": "q1", "text": "ein Paketverwalter"},
    {"query_id": "q2", "text": "a package manager"},
    {"query_id": "q1", "text": "für Debian"},
]


def write(path, content):
    path.write_text(content, encoding="utf-8")
    return str(path)


def write_lines(path, lines):
    return write(path, "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines))


def make_expansions(rows):
    return Expansions("toy.jsonl", 1, pl.DataFrame(rows, SCHEMA, orient="row"))


def expanded_texts(queries, expansions, **options):
    return expand(queries, expansions, **options)[0]["text"].to_list()


# Reading.


def test_json_lines_are_read_in_their_order(tmp_path):
    expansions = read_expansions(write_lines(tmp_path / "e.jsonl", LINES))
    assert expansions.texts.columns == list(EXPANSION_KINDS)
    assert expansions.texts.rows() == [
        ("q1", "", "ein Paketverwalter"),
        ("q2", "", "a package manager"),
        ("q1", "", "für Debian"),
    ]


def test_tsv_is_read_by_its_header(tmp_path):
    path = write(tmp_path / "e.tsv", "text\tmodel\tquery_id\tlanguage\nein Verwalter\tx\tq1\tde\nfür alle\tx\tq2\t\n")
    assert read_expansions(path).texts.rows() == [("q1", "de", "ein Verwalter"), ("q2", "", "für alle")]


@pytest.mark.parametrize(("ending", "pack"), [("gz", gzip.compress), ("bz2", bz2.compress), ("xz", lzma.compress)])
def test_compressed_files_are_read_alike(tmp_path, ending, pack):
    plain = write(tmp_path / "e.tsv", "query_id\ttext\nq1\tein Verwalter\n")
    (tmp_path / f"e.tsv.{ending}").write_bytes(pack((tmp_path / "e.tsv").read_bytes()))
    assert read_expansions(f"{plain}.{ending}").texts.equals(read_expansions(plain).texts)


def test_languages_are_read_by_any_of_their_names(tmp_path):
    lines = [{"query_id": f"q{k}", "text": "x", "language": name} for k, name in enumerate(["deu", "de", "German"])]
    lines.append({"query_id": "q9", "text": "x"})
    assert read_expansions(write_lines(tmp_path / "e.jsonl", lines)).texts["language"].to_list() == ["de"] * 3 + [""]


def test_ids_that_are_numbers_read_as_text(tmp_path):
    lines = [{"query_id": 7, "text": "x"}]
    assert read_expansions(write_lines(tmp_path / "e.jsonl", lines)).texts["query_id"].to_list() == ["7"]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        (
            "e.jsonl",
            '{"query_id": "q1", "text": "x"}\n\n{"query_id": "q2", "text": " "}\n',
            r"e\.jsonl:3: text: is empty",
        ),
        ("e.tsv", "query_id\ttext\n\n\nq1\tx\nq2\t\n", r"e\.tsv:5: text: is empty; leave out the line"),
        ("e.tsv", "query_id\ttext\nq1\tx\tmore\n", r"e\.tsv:2: expected 2 fields between tabs, got 3"),
        (
            "e.tsv",
            "\nquery_id\texpansion\n",
            r"e\.tsv:2: expected a column in the header text: .*; found query_id, exp",
        ),
        ("e.jsonl", '{"_id": "q1", "text": "x"}\n', r"e\.jsonl: expected a field query_id: .*; found _id, text"),
        ("e.jsonl", '{"query_id": "q1", "text": "x"}\n{"query_id": "q2"}\n', r"e\.jsonl:2: text: the field is missing"),
        (
            "e.jsonl",
            '{"query_id": "q1", "text": "x", "language": "xq"}\n',
            r"e\.jsonl:1: language: unknown language 'xq'",
        ),
        ("e.jsonl", "q1 x\n", r"e\.jsonl:1: not JSON"),
        ("e.tsv", "query_id\ttext\n", r"e\.tsv: holds no expansions"),
        ("e.tsv", "", r"e\.tsv: empty file"),
        ("e.csv", "query_id,text\n", r"e\.csv: expansions are read from \.jsonl and \.tsv"),
    ],
)
def test_a_file_that_is_wrong_is_refused_with_its_line(tmp_path, name, content, message):
    with pytest.raises(InputError, match=message):
        read_expansions(write(tmp_path / name, content))


@settings(max_examples=60, deadline=None)
@given(st.lists(st.sampled_from(["", " ", "\r"]), max_size=3), st.integers(0, 6), st.sampled_from(["\n", "\r\n"]))
def test_the_line_of_a_row_is_found_among_blank_lines(tmp_path_factory, blank, row, end):
    path = tmp_path_factory.mktemp("blank") / "e.tsv"
    lines = ["", "query_id\ttext"]
    for k in range(7):
        lines += [*blank, f"q{k}\tx"]
    path.write_bytes((end.join(lines) + end).encode())
    expansions = read_expansions(str(path))
    assert lines[expansions.line_of(row) - 1] == f"{expansions.texts['query_id'][row]}\tx"


# Unknown queries.


def test_an_expansion_of_an_unknown_query_is_refused_with_its_line(tmp_path):
    path = write_lines(tmp_path / "e.jsonl", [*LINES, {"query_id": "q8", "text": "x"}])
    with pytest.raises(InputError, match=r"e\.jsonl:4: expands the query 'q8', which is not there; remove the line"):
        refuse_unknown(read_expansions(path), QUERIES)


def test_a_query_that_is_there_in_another_language_is_unknown(tmp_path):
    path = write(tmp_path / "e.tsv", "query_id\tlanguage\ttext\nq1\tde\tx\nq2\tde\tx\n")
    with pytest.raises(InputError, match=r"e\.tsv:3: expands the query 'q2' in de, which is not there"):
        refuse_unknown(read_expansions(path), QUERIES)


def test_expansions_in_languages_that_are_not_asked_for_are_passed_over():
    refuse_unknown(make_expansions([("q1", "de", "x"), ("q99", "fr", "y")]), QUERIES)


def test_a_file_that_expands_none_of_the_queries_is_refused():
    with pytest.raises(InputError, match=r"toy\.jsonl: expands none of the 3 queries, which are in de, en, ja"):
        refuse_unknown(make_expansions([("q1", "fr", "x")]), QUERIES)


# Expanding.


def test_the_query_stands_five_times_before_its_expansions_in_the_files_order():
    expansions = make_expansions([("q1", "", "ein Paketverwalter"), ("q1", "", "für Debian")])
    assert expanded_texts(QUERIES, expansions) == [
        "what is apt",
        "was ist apt was ist apt was ist apt was ist apt was ist apt ein Paketverwalter für Debian",
        "aptとは",
    ]


def test_the_query_can_stand_once_before_its_expansion():
    expansions = make_expansions([("q3", "ja", "パッケージ管理")])
    assert expanded_texts(QUERIES, expansions, repeat=1)[2] == "aptとは パッケージ管理"


def test_an_expansion_can_replace_its_query():
    expansions = make_expansions([("q2", "", "a package manager"), ("q3", "", "管理")])
    assert expanded_texts(QUERIES, expansions, mode="replace") == ["a package manager", "was ist apt", "管理"]


def test_queries_without_an_expansion_are_counted():
    assert expand(QUERIES, make_expansions([("q3", "", "x"), ("q3", "", "y")]))[1] == 2
    assert expand(QUERIES, make_expansions([("q9", "", "x")]))[1] == 3


def test_an_expansion_with_a_language_is_for_the_query_in_that_language_alone():
    queries = pl.DataFrame([("q1", "de", "a"), ("q1", "fr", "b"), ("q1", "en", "c")], SCHEMA, orient="row")
    expansions = make_expansions([("q1", "fr", "F"), ("q1", "", "*"), ("q1", "de", "D")])
    assert expanded_texts(queries, expansions, repeat=1) == ["a * D", "b F *", "c *"]


ids = st.sampled_from(["q1", "q2", "q3", "٣"])
languages = st.sampled_from(["de", "ar"])
texts = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=8)
some_queries = st.lists(st.tuples(ids, languages, texts), max_size=6)
some_expansions = st.lists(st.tuples(ids, st.sampled_from(["", "de", "ar"]), texts), max_size=6)


@settings(max_examples=150, deadline=None)
@given(some_queries, some_expansions, st.sampled_from(["concatenate", "replace"]), st.integers(1, 3), st.data())
def test_a_query_is_expanded_alike_among_any_others(rows, expansions, mode, repeat, data):
    made = make_expansions(expansions)

    def vary(some):
        return expand(pl.DataFrame(some, SCHEMA, orient="row"), made, mode=mode, repeat=repeat)[0].rows()

    whole = vary(rows)
    assert [row[:2] for row in whole] == [row[:2] for row in rows]
    for (query_id, language, text), row in zip(rows, whole, strict=True):
        own = [one for other, where, one in expansions if other == query_id and where in ("", language)]
        before = [text] * (repeat if mode == "concatenate" else 0)
        assert row[2] == (" ".join([*before, *own]) if own else text)
    picked = data.draw(st.permutations(range(len(rows)))) if rows else []
    assert vary([rows[k] for k in picked[1:]]) == [whole[k] for k in picked[1:]]


# The variant of an experiment.


def test_an_expanded_variant_tells_how_many_queries_it_expanded(tmp_path):
    variant = Expanded(file=write_lines(tmp_path / "e.jsonl", LINES), mode="replace")
    varied = apply_variant(variant, QUERIES)
    assert varied.queries["text"].to_list() == ["a package manager", "ein Paketverwalter für Debian", "aptとは"]
    assert (varied.left_out, varied.note) == (0, "2 of 3 queries expanded")


def test_a_part_of_the_queries_is_expanded_without_complaint_about_the_others(tmp_path):
    variant = Expanded(file=write_lines(tmp_path / "e.jsonl", LINES), repeat=1)
    check_variant(variant, QUERIES)
    part = apply_variant(variant, QUERIES.filter(query_id="q2"))
    assert part.queries["text"].to_list() == ["what is apt a package manager"]


def test_a_variant_with_expansions_of_unknown_queries_is_refused(tmp_path):
    variant = Expanded(file=write_lines(tmp_path / "e.jsonl", LINES))
    with pytest.raises(InputError, match=r"e\.jsonl:2: expands the query 'q2'"):
        check_variant(variant, QUERIES.filter(pl.col("query_id") != "q2"))


def test_a_missing_file_of_expansions_is_refused(tmp_path):
    with pytest.raises(InputError, match="no such file of expansions"):
        apply_variant(Expanded(file=str(tmp_path / "e.jsonl")), QUERIES)


def test_a_file_that_changes_is_read_anew(tmp_path):
    variant = Expanded(file=write_lines(tmp_path / "e.jsonl", LINES), mode="replace")
    apply_variant(variant, QUERIES)
    write_lines(tmp_path / "e.jsonl", [{"query_id": "q3", "text": "管理"}])
    assert apply_variant(variant, QUERIES).queries["text"].to_list() == ["what is apt", "was ist apt", "管理"]
