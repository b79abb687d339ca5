"""The reader of CSV word lists: headers, separators, quotes, places of errors."""

import gzip
import io
from csv import writer
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from csgen.errors import InputError
from csgen.readers.csv import read_csv

FIELD = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0\r"), min_size=1, max_size=12).filter(
    str.strip
)


def read(folder: Path, content: str | bytes, name: str = "a.csv"):
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return read_csv(str(path), "en", ("de",))


def pairs(reading, *columns):
    return reading.pairs.select(columns or ("source", "target")).rows()


@pytest.mark.parametrize(
    "header", ["source,target,weight", "Word,Translation,Score", "en,de,weight", "English,ger,weight"]
)
def test_header_names_the_columns(tmp_path, header):
    reading = read(tmp_path, f"{header}\nhouse,Haus,0.5\n")
    assert pairs(reading, "line", "source", "target", "weight") == [(2, "house", "Haus", 0.5)]
    assert reading.counts == {"lines": 2, "blank": 0, "header": 1}


def test_named_columns_may_stand_anywhere_among_others(tmp_path):
    assert pairs(read(tmp_path, "id,target,pos,source\n7,Haus,n,house\n")) == [("house", "Haus")]


def test_without_a_header_the_first_columns_are_read(tmp_path):
    reading = read(tmp_path, "house,Haus\ndog,Hund\n")
    assert pairs(reading, "line", "source", "target", "weight") == [(1, "house", "Haus", 1.0), (2, "dog", "Hund", 1.0)]
    assert reading.counts["header"] == 0


@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_separator_is_the_one_that_parts_the_first_record(tmp_path, separator):
    assert pairs(read(tmp_path, f"house{separator}Haus\n")) == [("house", "Haus")]


def test_quoted_fields_hold_separators_quotes_and_line_ends(tmp_path):
    reading = read(tmp_path, 'source,target\n"salt, pepper","Salz; ""Pfeffer"""\n"two\nlines",x\nlast,y\n')
    assert pairs(reading, "line", "source", "target") == [
        (2, "salt, pepper", 'Salz; "Pfeffer"'),
        (3, "two\nlines", "x"),
        (4, "last", "y"),
    ]


@given(st.lists(st.tuples(FIELD, FIELD), min_size=1, max_size=8))
def test_what_a_csv_writer_wrote_is_read_back(tmp_path_factory, rows):
    text = io.StringIO()
    writer(text, lineterminator="\r\n").writerows([("source", "target"), *rows])
    assert pairs(read(tmp_path_factory.getbasetemp(), text.getvalue(), "hypothesis.csv")) == rows


def test_blank_records_are_counted(tmp_path):
    reading = read(tmp_path, "\nsource,target\n\r\nhouse,Haus\n\n")
    assert pairs(reading, "line", "source") == [(4, "house")]
    assert (reading.counts["lines"], reading.counts["blank"]) == (5, 3)


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        (b"alone", "expected 3 fields, as in the first record"),
        (b"a,b,1,d", "expected 3 fields, as in the first record"),
        (b"h\xe4user,x", "expected 3 fields, as in the first record"),
        (b"house, ,1", "empty field"),
        (b"h\xe4user,x,1", "not UTF-8"),
        (b"house,Haus,heavy", "weight is not a number"),
        (b"house,Haus,nan", "weight is not in"),
        (b"house,Haus,-1", "weight is not in"),
    ],
)
def test_malformed_record_has_its_number_and_reason(tmp_path, record, reason):
    reading = read(tmp_path, b"source,target,weight\ndog,Hund,1\n" + record + b"\ncat,Katze,1\n")
    assert pairs(reading) == [("dog", "Hund"), ("cat", "Katze")]
    ((number, given_reason),) = reading.malformed.rows()
    assert number == 3
    assert reason in given_reason


def test_quote_left_open_is_refused_with_its_record(tmp_path):
    with pytest.raises(InputError, match=r"a\.csv:2: .*is a quote left open"):
        read(tmp_path, 'house,Haus\n"dog,Hund\ncat,Katze\n')


def test_record_beyond_all_bounds_is_refused(tmp_path):
    with pytest.raises(InputError, match="is a quote left open"):
        read(tmp_path, 'house,Haus\n"' + "x" * (40 << 20))


@pytest.mark.parametrize(("content", "message"), [("", "is empty"), ("\n\n", "is empty"), ("alone\n", "two columns")])
def test_file_without_two_columns_is_refused(tmp_path, content, message):
    with pytest.raises(InputError, match=message):
        read(tmp_path, content)


def test_binary_file_is_refused(tmp_path):
    with pytest.raises(InputError, match="binary data or another encoding"):
        read(tmp_path, "dog,Hund".encode("utf-16"))


def test_compressed_file_with_a_byte_order_mark_is_read(tmp_path):
    assert pairs(read(tmp_path, gzip.compress("\ufeffsource,target\ndog,Hund\n".encode()), "a.csv.gz")) == [
        ("dog", "Hund")
    ]
