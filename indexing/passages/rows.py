"""What a passage must have before it is written: an address, a text, metadata of known types. Knows no file."""

from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from csgen.errors import InputError
from csgen.sources.rows import BadRow

LANGUAGE, PASSAGE_ID, TITLE, TEXT = "language", "passage_id", "title", "text"
OWN = (LANGUAGE, PASSAGE_ID, TITLE, TEXT)  # columns that are no metadata

_STRINGS = (pa.string(), pa.large_string())
_METADATA = (*_STRINGS, pa.int64(), pa.float64(), pa.bool_())
_CODE = "^[A-Za-z0-9]+([-_][A-Za-z0-9]+)*$"  # a language's


def stored_schema(given: pa.Schema, source: str) -> pa.Schema:
    """The columns of the passage file for passages that come with these; InputError for what cannot be kept."""
    names = given.names
    if doubles := sorted({name for name in names if names.count(name) > 1}):
        raise InputError.at(source, None, f"has two columns {doubles[0]!r}; passages need columns of different names")
    for name in (LANGUAGE, PASSAGE_ID, TEXT):
        if name not in names:
            raise InputError.at(source, None, f"no column {name!r}; passages need language, passage_id, text")
    for field in given:
        if field.name in OWN and field.type not in _STRINGS:
            raise InputError.at(source, None, f"{field.name}: must be strings, is {field.type}")
        if field.type not in _METADATA:
            raise InputError.at(
                source, None, f"{field.name}: metadata are string, int64, float64 or bool, not {field.type}; cast it"
            )
    kept = [name for name in (PASSAGE_ID, TITLE, TEXT) if name in names] + list_metadata(given)
    return pa.schema([(name, _stored_type(given.field(name).type)) for name in kept])


def is_stored_schema(schema: pa.Schema) -> bool:
    """Whether columns are such as `stored_schema` gives."""
    large = pa.large_string()
    return all(name in schema.names for name in (PASSAGE_ID, TEXT)) and all(
        column.type == large if column.name in OWN else column.type in _METADATA and column.type != pa.string()
        for column in schema
    )


def list_metadata(schema: pa.Schema) -> list[str]:
    """The names of a schema's metadata columns."""
    return [name for name in schema.names if name not in OWN]


def make_addresses(languages: pa.Array, passage_ids: pa.Array) -> pa.Array:
    """The addresses LANGUAGE/PASSAGE_ID (large_string); null where either is."""
    large = pa.large_string()
    return pc.binary_join_element_wise(languages.cast(large), passage_ids.cast(large), pa.scalar("/", large))


def find_faults(batch: pa.RecordBatch, first_row: int, source: str) -> tuple[NDArray[np.bool_], list[BadRow]]:
    """Which rows can be kept, and what is wrong with the others; `first_row` is the number of the first, from 1 on."""
    for name, column in zip(batch.schema.names, batch.columns, strict=True):
        try:
            column.validate(full=True)
        except pa.ArrowInvalid as error:
            raise InputError.at(source, first_row, f"{name}: {error}, counted from 0 from here on") from error
    good = np.ones(batch.num_rows, np.bool_)
    bad = []
    for faulty, reason in _judge(batch):
        rows = np.flatnonzero(good & faulty.fill_null(False).to_numpy(zero_copy_only=False))
        good[rows] = False
        bad += [BadRow(source, first_row + row, reason, _show(batch, row)) for row in rows.tolist()]
    return good, sorted(bad, key=lambda fault: fault.row)


def _judge(batch: pa.RecordBatch) -> Iterator[tuple[pa.BooleanArray, str]]:
    """The rows with each fault, the first fault of a row first."""
    language, passage_id, text = (batch.column(name) for name in (LANGUAGE, PASSAGE_ID, TEXT))
    yield language.is_null(), "language: is null"
    fitting = pc.match_substring_regex(language, _CODE)
    yield pc.invert(fitting), "language: cannot stand in an address; a code is letters and digits with - between them"
    yield passage_id.is_null(), "passage_id: is null"
    yield pc.equal(pc.binary_length(passage_id), 0), "passage_id: is empty"
    yield text.is_null(), "text: is null"
    is_empty = _is_blank(text)
    if TITLE in batch.schema.names:
        is_empty = pc.and_(is_empty, _is_blank(batch.column(TITLE)).fill_null(True))
    yield is_empty, "text: is empty, and there is no title"


def _is_blank(strings: pa.Array) -> pa.BooleanArray:
    return pc.or_(pc.equal(pc.binary_length(strings), 0), pc.utf8_is_space(strings))


def _show(batch: pa.RecordBatch, row: int) -> str:
    return f"{batch.column(LANGUAGE)[row].as_py()}/{batch.column(PASSAGE_ID)[row].as_py()}"


def _stored_type(given: pa.DataType) -> pa.DataType:
    return pa.large_string() if given in _STRINGS else given
