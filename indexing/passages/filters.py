"""Which passages a search may find, by language, address and metadata; knows nothing of vectors, terms or deletes.

A filter becomes a bitmap of a table's rows: bit i & 7 of byte i >> 3 is row i's, and bits beyond the last row are 0.
Bitmaps are joined by & as they are.
"""

import json
import re
from collections.abc import Collection
from functools import cached_property
from typing import Any, Literal, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    StrictBool,
    StrictFloat,
    StrictInt,
    StrictStr,
    ValidationError,
    model_validator,
)

from csgen.config import StageConfig
from csgen.errors import InputError
from indexing.passages.strings import Numbers, as_strings
from indexing.passages.table import PassageTable
from indexing.ranking import Bitmap

Scalar = StrictBool | StrictInt | StrictFloat | StrictStr | None

_COMPARISONS: dict[str, Any] = {
    "=": pc.equal,
    "!=": pc.not_equal,
    "<": pc.less,
    "<=": pc.less_equal,
    ">": pc.greater,
    ">=": pc.greater_equal,
}
_TEXT = re.compile(r"\s*([^\s=!<>]+)\s*(!=|<=|>=|==?|<|>|\sin\s)\s*(.*?)\s*", re.DOTALL)
_NAMES = {
    pa.large_string(): "text",
    pa.int64(): "a whole number",
    pa.float64(): "a number",
    pa.bool_(): "true or false",
}


class Condition(BaseModel):
    """A condition on a field of the metadata: {"field": "year", "op": ">=", "value": 2019}, or text, "year>=2019".

    Values in text are read as the field's type: `section in devel,libs`, `free=true`. A passage whose field is null
    meets `field=null` alone, and no comparison, != included; `field!=null` asks for any value. A text value that has
    spaces at an end, commas in a list, or reads null stands in double quotes, as JSON writes it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    field: str = Field(min_length=1, description="name of a metadata column")
    op: Literal["=", "!=", "<", "<=", ">", ">=", "in"] = Field(description="how the field is compared with the value")
    value: Scalar | tuple[Scalar, ...] = Field(description="of the field's type, or null; of `in` a list of such")

    @model_validator(mode="before")
    @classmethod
    def _parse(cls, given: Any) -> Any:
        if not isinstance(given, str):
            return given
        match = _TEXT.fullmatch(given)
        if match is None:
            raise ValueError(f"expected a condition such as year>=2019 or 'section in devel,libs', got {given!r}")
        field, op, text = match.groups()
        op = {"==": "="}.get(op, op.strip())
        return {"field": field, "op": op, "value": _read_list(text) if op == "in" else _read_value(text)}

    @model_validator(mode="after")
    def _check(self) -> Self:
        if (self.op == "in") != isinstance(self.value, tuple):
            raise ValueError(f"{self.field}: 'in' needs a list of values, and no other comparison takes one")
        if self.value is None and self.op not in ("=", "!="):
            raise ValueError(f"{self.field}: null has no order; ask = null or != null")
        if isinstance(self.value, tuple) and None in self.value:
            raise ValueError(f"{self.field}: null cannot stand in a list; ask = null")
        return self

    def test(self, column: pa.Array) -> NDArray[np.bool_]:
        """Which values of a column meet the condition."""
        if self.value is None:
            met = column.is_null() if self.op == "=" else column.is_valid()
        elif isinstance(self.value, tuple):
            values = [self._cast(value, column.type) for value in self.value]
            met = pc.and_(column.is_valid(), pc.is_in(column, value_set=pa.array(values, column.type)))
        else:
            value = self._cast(self.value, column.type)
            if pa.types.is_boolean(column.type) and self.op not in ("=", "!="):
                raise InputError(f"{self.field} is true or false, which = and != compare, not {self.op}")
            met = _COMPARISONS[self.op](column, pa.scalar(value, column.type))
        return met.fill_null(False).to_numpy(zero_copy_only=False)  # type: ignore[no-any-return]

    def _cast(self, value: Any, kind: pa.DataType) -> Any:
        """A value as one of the column's type."""
        read = value
        if isinstance(value, str) and not pa.types.is_large_string(kind):
            try:
                read = json.loads(value)
            except ValueError:
                read = None
        whole = isinstance(read, int) and not isinstance(read, bool)
        fits = (
            isinstance(read, str) if pa.types.is_large_string(kind)
            else isinstance(read, bool) if pa.types.is_boolean(kind)
            else whole and -(1 << 63) <= read < 1 << 63 if pa.types.is_int64(kind)
            else whole or isinstance(read, float)
        )  # fmt: skip
        if not fits:
            raise InputError(f"{self.field} is {_NAMES[kind]}, which {value!r} is not")
        return float(read) if pa.types.is_float64(kind) else read


class Filter(StageConfig):
    """Which passages may be found: those that all the fields allow. A field that is not given allows all."""

    languages: tuple[str, ...] | None = Field(None, description="languages of the passages, e.g. de,pt-BR")
    addresses: tuple[str, ...] | None = Field(None, description="passages as LANGUAGE/PASSAGE_ID")
    passage_ids: tuple[str, ...] | None = Field(None, description="ids of passages, in any language")
    where: tuple[Condition, ...] | None = Field(
        None, description="conditions on metadata, e.g. year>=2019, section=devel, 'section in devel,libs', year!=null"
    )

    @classmethod
    def from_json(cls, text: str) -> Self:
        """A filter as requests and files carry it: an object with the fields, where conditions are objects or text."""
        try:
            return cls.model_validate_json(text)
        except ValidationError as error:
            detail = error.errors()[0]
            place = ".".join(map(str, detail["loc"]))
            raise InputError(f"filter: {place + ': ' if place else ''}{detail['msg']}") from error

    def to_bitmap(self, table: PassageTable, elsewhere: Collection[str] = ()) -> Bitmap | None:
        """The rows that may be found; None where that is all of them.

        A field that the table lacks is null in all rows where `elsewhere` has it, the fields of other segments, and an
        InputError otherwise.
        """
        parts = []
        if self.languages is not None:
            allowed = np.zeros(1 << 8 * table.codes.itemsize, np.bool_)
            allowed[: len(table.languages)] = [language in self.languages for language in table.languages]
            parts.append(np.packbits(allowed[table.codes], bitorder="little"))
        if self.addresses is not None:
            parts.append(_mark(table.find(self._addresses), len(table)))
        if self.passage_ids is not None:
            rows = [table.find(pc.binary_join_element_wise(language, self._ids, "/")) for language in table.languages]
            parts.append(_mark(np.concatenate([np.zeros(0, np.int64), *rows]), len(table)))
        parts += [_test(condition, table, elsewhere) for condition in self.where or ()]
        if not parts:
            return None
        return np.bitwise_and.reduce(parts)  # type: ignore[no-any-return]

    @cached_property
    def _addresses(self) -> pa.Array:
        return as_strings(self.addresses or ())

    @cached_property
    def _ids(self) -> pa.Array:
        return as_strings(self.passage_ids or ()).cast(pa.string())


def _test(condition: Condition, table: PassageTable, elsewhere: Collection[str]) -> Bitmap:
    if condition.field in table.fields:
        met = [condition.test(part) for part in table.scan(condition.field)]
        return np.packbits(np.concatenate([np.zeros(0, np.bool_), *met]), bitorder="little")
    if condition.field not in elsewhere:
        there = ", ".join(sorted({*table.fields, *elsewhere})) or "no fields"
        raise InputError(f"no field {condition.field!r} in the passages' metadata; there are {there}")
    is_null = condition.value is None and condition.op == "="
    return np.packbits(np.full(len(table), is_null), bitorder="little")


def _mark(rows: Numbers, num_rows: int) -> Bitmap:
    """The bitmap of some rows, -1 standing for none."""
    found = rows[rows >= 0]
    bits = np.zeros(-(-num_rows // 8), np.uint8)
    np.bitwise_or.at(bits, found >> 3, np.left_shift(1, found & 7).astype(np.uint8))
    return bits


def _read_value(text: str) -> Any:
    if text == "null":
        return None
    return _unquote(text)


def _read_list(text: str) -> list[str]:
    return [_unquote(part.strip()) for part in re.findall(r'\s*"(?:[^"\\]|\\.)*"\s*|[^,]+', text)]


def _unquote(text: str) -> str:
    if text.startswith('"') and text.endswith('"') and len(text) > 1:
        try:
            return str(json.loads(text))
        except ValueError as error:
            raise ValueError(f"{text}: not a text in double quotes as JSON writes it") from error
    return text
