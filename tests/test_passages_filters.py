"""Filters over a segment's passages: languages, addresses, conditions on metadata, their bitmaps and messages."""

import operator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from toy_passages import batch, write

from csgen.errors import InputError
from indexing.passages import Condition, Filter, PassageTable

patient = settings(deadline=None, max_examples=60)
OPERATORS = {
    "=": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
ROWS = ("de/1 a", "en/1 b", "de/2 c", "fr/3 d", "en/2 e", "de/x/y f", "en/9 g", "fr/1 h", "de/9 i")
YEARS = [2017, 2018, None, 2019, 2020, 2019, None, 2021, 2019]
SECTIONS = ["devel", "libs", "devel", None, "a,b", "null", " x", "doc", "libs"]
FREE = [True, False, None, True, True, False, True, None, True]
COSTS = [0.5, 1.0, 2.0, None, -1.0, 0.0, 3.0, 4.0, float("nan")]


@pytest.fixture(scope="module")
def passages(tmp_path_factory):
    columns = {"year": YEARS, "section": SECTIONS, "free": FREE, "cost": COSTS}
    return write(tmp_path_factory.mktemp("filtered"), batch(*ROWS, **columns))


def rows_of(passages: PassageTable, **fields: object) -> list[int]:
    bitmap = Filter.from_options(fields).to_bitmap(passages)
    assert bitmap.dtype == np.uint8
    assert len(bitmap) == (len(passages) + 7) // 8
    return np.flatnonzero(np.unpackbits(bitmap, bitorder="little")).tolist()


def where(passages: PassageTable, *conditions: object) -> list[int]:
    return rows_of(passages, where=conditions)


def test_no_field_allows_all(passages):
    assert Filter().to_bitmap(passages) is None
    assert Filter(where=()).to_bitmap(passages) is None


def test_bit_i_and_7_of_byte_i_over_8_is_of_row_i(passages):
    assert Filter(addresses=("en/1", "de/9")).to_bitmap(passages).tolist() == [2, 1]


def test_languages(passages):
    assert rows_of(passages, languages=("de", "fr", "it")) == [0, 2, 3, 5, 7, 8]
    assert rows_of(passages, languages=("it",)) == []


def test_addresses_and_ids(passages):
    assert rows_of(passages, addresses=("de/x/y", "en/7", "fr/3", "nothing")) == [3, 5]
    assert rows_of(passages, passage_ids=("1", "x/y", "7")) == [0, 1, 5, 7]


def test_an_empty_set_allows_nothing(passages):
    for field in ("languages", "addresses", "passage_ids"):
        assert rows_of(passages, **{field: ()}) == []


@pytest.mark.parametrize(
    ("text", "rows"),
    [
        ("year>=2019", [3, 4, 5, 7, 8]),
        ("year = 2019", [3, 5, 8]),
        ("year==2019", [3, 5, 8]),
        ("year!=2019", [0, 1, 4, 7]),
        ("year<2018", [0]),
        ("year<=2018", [0, 1]),
        ("year > 2020", [7]),
        ("year in 2017, 2021", [0, 7]),
        ("year=null", [2, 6]),
        ("year!=null", [0, 1, 3, 4, 5, 7, 8]),
        ("section=devel", [0, 2]),
        ("section in devel,libs", [0, 1, 2, 8]),
        ('section in "a,b", doc', [4, 7]),
        ("section=null", [3]),
        ('section="null"', [5]),
        ('section=" x"', [6]),
        ("section>=doc", [1, 5, 7, 8]),
        ("section=a,b", [4]),
        ("free=true", [0, 3, 4, 6, 8]),
        ("free!=true", [1, 5]),
        ("cost>0.5", [1, 2, 6, 7]),
        ("cost=1", [1]),
        ("cost<=0", [4, 5]),
    ],
)
def test_conditions_as_text(passages, text, rows):
    assert where(passages, text) == rows


def test_conditions_as_objects(passages):
    assert where(passages, {"field": "section", "op": "in", "value": ["devel", "a,b"]}) == [0, 2, 4]
    assert where(passages, {"field": "year", "op": "=", "value": None}) == [2, 6]
    assert where(passages, {"field": "free", "op": "=", "value": False}) == [1, 5]
    assert where(passages, {"field": "cost", "op": "<", "value": 1}) == [0, 4, 5]


def test_a_filter_as_json(passages):
    found = Filter.from_json('{"languages": ["de"], "where": ["year>=2017", {"field": "cost", "op": "<", "value": 1}]}')
    assert found.to_bitmap(passages).tolist() == [0b100001, 0]


def test_all_that_is_given_must_be_met(passages):
    assert rows_of(passages, languages=("de", "en"), passage_ids=("1", "9"), where=("year!=null", "free=true")) == [
        0,
        8,
    ]


VALUES = st.none() | st.integers(-3, 3)


@patient
@given(
    st.lists(VALUES, max_size=40),
    st.sampled_from([*OPERATORS, "in"]),
    st.integers(-3, 3),
    st.sampled_from([int, float, str]),
)
def test_conditions_select_what_a_plain_loop_selects(tmp_path_factory, values, op, wanted, kind):
    cast = [None if value is None else kind(value) for value in values]
    kinds = {int: pa.int64(), float: pa.float64(), str: pa.string()}
    rows = batch(*(f"de/{row} text" for row in range(len(values))), field=pa.array(cast, kinds[kind]))
    table = write(tmp_path_factory.mktemp("loop"), rows)
    if op == "in":
        expected = [row for row, value in enumerate(cast) if value in (kind(wanted), kind(1))]
        assert where(table, f"field in {wanted},1" if kind is str else f"field in {kind(wanted)},1") == expected
    else:
        meets = OPERATORS[op]
        expected = [row for row, value in enumerate(cast) if value is not None and meets(value, kind(wanted))]
        assert where(table, f"field {op} {kind(wanted)}") == expected


def test_columns_of_several_batches(tmp_path):
    num = 70_001
    numbers = pa.array(np.arange(num))
    columns = {"language": pa.array(["de"]).take(pa.array(np.zeros(num, int))), "passage_id": numbers.cast(pa.string())}
    text = {"text": columns["language"], "section": numbers.cast(pa.string()), "number": numbers}
    table = write(tmp_path, pa.record_batch({**columns, **text}))
    assert where(table, "number in 7,65535,65536,70000", "number>7") == [65_535, 65_536, 70_000]
    assert where(table, "section in 3,65537") == [3, 65_537]
    assert len(where(table, "number>=0")) == num


def test_bitmaps_are_joined_as_they_are(passages):
    one, two = (Filter.from_options(f).to_bitmap(passages) for f in ({"languages": ("de",)}, {"where": ("year=2019",)}))
    both = Filter.from_options({"languages": ("de",), "where": ("year=2019",)}).to_bitmap(passages)
    assert (one & two).tolist() == both.tolist()


def test_an_unknown_field_is_refused_with_those_there_are(passages):
    with pytest.raises(InputError, match="no field 'jear' in the passages' metadata; there are cost, free, section, y"):
        where(passages, "jear>=2019")


def test_a_field_of_other_segments_is_null_here(passages, tmp_path):
    bare = write(tmp_path, batch("de/1 text", "de/2 text"))
    with pytest.raises(InputError, match="there are no fields"):
        where(bare, "year=2019")
    for condition, bits in (("year>=2019", 0), ("year!=2019", 0), ("year=null", 3), ("year!=null", 0)):
        found = Filter.from_options({"where": (condition,)}).to_bitmap(bare, elsewhere=passages.fields)
        assert found.tolist() == [bits]


@pytest.mark.parametrize(
    ("condition", "message"),
    [
        ("year=soon", "year is a whole number, which 'soon' is not"),
        ("year=2019.5", "year is a whole number, which '2019.5' is not"),
        ("year=99999999999999999999", "year is a whole number, which"),
        ("year=true", "year is a whole number, which 'true' is not"),
        ("free=1", "free is true or false, which '1' is not"),
        ("free<true", "free is true or false, which = and != compare, not <"),
        ("cost=cheap", "cost is a number, which 'cheap' is not"),
        ({"field": "section", "op": "=", "value": 5}, "section is text, which 5 is not"),
        ({"field": "year", "op": "=", "value": True}, "year is a whole number, which True is not"),
    ],
)
def test_values_of_another_type_are_refused(passages, condition, message):
    with pytest.raises(InputError, match=message):
        where(passages, condition)


@pytest.mark.parametrize(
    ("condition", "message"),
    [
        ("year", "expected a condition such as year>=2019"),
        ("=2019", "expected a condition such as"),
        ("year<null", "year: null has no order"),
        ('section="open', None),
        ({"field": "year", "op": "in", "value": 2019}, "'in' needs a list"),
        ({"field": "year", "op": "=", "value": [2019]}, "'in' needs a list"),
        ({"field": "year", "op": "in", "value": [None]}, "null cannot stand in a list"),
        ({"field": "year", "op": "like", "value": 2019}, "Input should be '='"),
        ({"field": "year", "op": "=", "value": 2019, "not": True}, "Extra inputs"),
    ],
)
def test_malformed_conditions_are_refused(condition, message):
    if message is None:
        assert Condition.model_validate(condition).value == '"open'
    else:
        with pytest.raises(ValidationError, match=message):
            Condition.model_validate(condition)


def test_malformed_filters_name_the_place():
    with pytest.raises(InputError, match=r"^filter: language: Extra inputs"):
        Filter.from_json('{"language": ["de"]}')
    with pytest.raises(InputError, match=r"^filter: where\.0: .*expected a condition"):
        Filter.from_json('{"where": ["year"]}')
    with pytest.raises(InputError, match="--languages"):
        Filter.from_options({"languages": 5})


def test_a_filter_reads_no_text(passages, tmp_path):
    content = (passages.folder / "passages.arrow").read_bytes()
    for name in ("passages.arrow", "addresses.arrow"):
        Path(tmp_path / name).write_bytes((passages.folder / name).read_bytes())
    assert content.count(b"abcdefghi") == 1  # the texts, one behind the other
    (tmp_path / "passages.arrow").write_bytes(content.replace(b"abcdefghi", b"\xff" * 9))
    assert where(PassageTable.open(tmp_path), "year=2019") == [3, 5, 8]
