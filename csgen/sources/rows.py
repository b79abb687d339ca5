"""What a row must hold: the one rule for each kind of column, said twice.

`check_row` is the rule, value by value, and gives the reason where a row breaks it. `clean` is the same rule over whole
Arrow columns: it answers only where every row is good. Knows no file format.
"""

import json
import math
import struct
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NoReturn

import pyarrow as pa
import pyarrow.compute as pc

from csgen.errors import InputError

# id: text that is not empty, or a whole number; text: may be empty; title: text, or nothing, which reads as "";
# label: a whole number from -128 to 127; score: a finite number.
Kind = Literal["id", "text", "title", "label", "score"]
Kinds = Mapping[str, Kind]

PAIR_KINDS: Kinds = {
    "query_id": "id",
    "query": "text",
    "passage_id": "id",
    "passage": "text",
    "label": "label",
    "query_language": "id",
    "passage_language": "id",
    "score": "score",
}
ARROW_TYPES: Mapping[Kind, pa.DataType] = {
    "id": pa.string(),
    "text": pa.string(),
    "title": pa.string(),
    "label": pa.int8(),
    "score": pa.float32(),
}
INTEGER_TEXT = r"^-?[0-9]{1,3}$"
DECIMAL_TEXT = r"^-?[0-9]+(\.[0-9]+)?([eE][-+]?[0-9]+)?$"


@dataclass(frozen=True)
class BadRow:
    """A rejected row: `row` is its line in a text file, its row in a Parquet file, counted from 1; `text` shows it."""

    path: str
    row: int
    reason: str
    text: str


OnBadRow = Callable[[BadRow], None]


def refuse(bad: BadRow) -> NoReturn:
    """Stop at the first bad row."""
    raise InputError.at(bad.path, bad.row, f"{bad.reason}; mend the row, or use --on-error skip to set such rows aside")


def schema_of(kinds: Kinds) -> pa.Schema:
    """The Arrow schema of checked rows with these columns."""
    return pa.schema([(name, ARROW_TYPES[kind]) for name, kind in kinds.items()])


def check_row(row: Mapping[str, Any], kinds: Kinds) -> tuple[Any, ...]:
    """The row's values in the order of `kinds`; a ValueError says which field is wrong and why."""
    values = []
    for name, kind in kinds.items():
        value = row.get(name)
        if value is None and kind != "title":
            raise ValueError(f"{name}: is null" if name in row else f"{name}: the field is missing")
        try:
            values.append(_CHECKS[kind](value))
        except ValueError as error:
            raise ValueError(f"{name}: {error}") from error
    return tuple(values)


def make_batch(rows: Sequence[tuple[Any, ...]], kinds: Kinds) -> pa.RecordBatch:
    """The checked rows as one Arrow batch."""
    columns = list(zip(*rows, strict=True)) or [()] * len(kinds)
    arrays = [pa.array(c, ARROW_TYPES[k]) for c, k in zip(columns, kinds.values(), strict=True)]
    return pa.RecordBatch.from_arrays(arrays, schema=schema_of(kinds))


def clean(batch: pa.RecordBatch, kinds: Kinds) -> pa.RecordBatch | None:
    """The batch with the columns and types of `kinds`; None where a row may be bad (ask `check_row` which)."""
    arrays = []
    try:
        for name, kind in kinds.items():
            array = _CONVERTERS[kind](plain(batch.column(name)))
            if array.null_count:
                return None
            array.validate(full=True)  # UTF-8: neither Parquet nor casts between string types check it
            arrays.append(array)
    except pa.ArrowInvalid:
        return None
    return pa.RecordBatch.from_arrays(arrays, schema=schema_of(kinds))


def accepts(kind: Kind, column: pa.DataType) -> bool:
    """Whether a typed column (Parquet) can hold this kind at all."""
    if pa.types.is_dictionary(column):
        column = column.value_type
    if kind in ("text", "title"):
        return is_text(column)
    if kind == "id":
        return is_text(column) or pa.types.is_integer(column)
    is_number = pa.types.is_integer(column) or pa.types.is_floating(column)
    return is_number or (kind == "label" and pa.types.is_boolean(column))


def is_text(column: pa.DataType) -> bool:
    """Whether a column holds text, or bytes that may be text."""
    kinds = (pa.types.is_string, pa.types.is_large_string, pa.types.is_binary, pa.types.is_large_binary)
    return any(check(column) for check in (*kinds, pa.types.is_string_view, pa.types.is_binary_view))


def plain(array: pa.Array) -> pa.Array:
    """The array without dictionary encoding."""
    return array.dictionary_decode() if pa.types.is_dictionary(array.type) else array


def render(row: Mapping[str, Any]) -> str:
    """A row as JSON, for people; bytes that are no text are shown escaped."""
    return json.dumps(
        {k: v.decode(errors="backslashreplace") if isinstance(v, bytes) else v for k, v in row.items()},
        ensure_ascii=False,
        default=str,
    )


# One value at a time: the rule.


def _check_text(value: Any) -> str:
    if isinstance(value, bytes):
        return decode(value)
    if not isinstance(value, str):
        raise ValueError(f"expected text, got {_show(value)}")
    try:
        value.encode()
    except UnicodeEncodeError as error:
        code = ord(value[error.start])
        raise ValueError(f"lone surrogate U+{code:04X} at character {error.start + 1}: not valid Unicode") from error
    return value


def _check_id(value: Any) -> str:
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    text = _check_text(value)
    if not text:
        raise ValueError("is empty")
    return text


def _check_title(value: Any) -> str:
    return "" if value is None else _check_text(value)


def _check_label(value: Any) -> int:
    if isinstance(value, (int, float)) and -128 <= value <= 127 and value == int(value):
        return int(value)
    raise ValueError(f"expected a whole number from -128 to 127, got {_show(value)}")


def _check_score(value: Any) -> float:
    try:
        if isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(float(value)):
            return float(struct.unpack("<f", struct.pack("<f", value))[0])
    except OverflowError:
        pass
    raise ValueError(f"expected a finite number, got {_show(value)}")


def decode(text: bytes) -> str:
    """Bytes as text; a ValueError names the first byte that is not UTF-8."""
    try:
        return text.decode()
    except UnicodeDecodeError as error:
        raise ValueError(f"invalid UTF-8 at byte {error.start + 1} (0x{text[error.start]:02x})") from error


def _show(value: Any) -> str:
    shown = render({"": value})[5:-1] if isinstance(value, (list, tuple, dict)) else repr(value)
    return shown if len(shown) <= 60 else shown[:57] + "..."


_CHECKS: Mapping[Kind, Callable[[Any], Any]] = {
    "id": _check_id,
    "text": _check_text,
    "title": _check_title,
    "label": _check_label,
    "score": _check_score,
}


# A whole column at a time: the same rule; ArrowInvalid where it may not hold.


def _convert_text(array: pa.Array) -> pa.Array:
    return array.cast(pa.string())


def _convert_title(array: pa.Array) -> pa.Array:
    return array.cast(pa.string()).fill_null("")


def _convert_id(array: pa.Array) -> pa.Array:
    array = array.cast(pa.string())
    if pc.min(pc.binary_length(array)).as_py() == 0:
        raise pa.ArrowInvalid("an empty id")
    return array


def _convert_label(array: pa.Array) -> pa.Array:
    if pa.types.is_string(array.type):
        _all_match(array, INTEGER_TEXT)  # Arrow's own parser also takes hexadecimal
    return array.cast(pa.int8())


def _convert_score(array: pa.Array) -> pa.Array:
    if pa.types.is_string(array.type):
        _all_match(array, DECIMAL_TEXT)
    array = array.cast(pa.float64(), safe=False).cast(pa.float32(), safe=False)
    if not pc.all(pc.is_finite(array)).as_py():
        raise pa.ArrowInvalid("a score that is not finite")
    return array


def _all_match(array: pa.Array, pattern: str) -> None:
    if not pc.all(pc.match_substring_regex(array, pattern)).as_py():
        raise pa.ArrowInvalid("not a number")


_CONVERTERS: Mapping[Kind, Callable[[pa.Array], pa.Array]] = {
    "id": _convert_id,
    "text": _convert_text,
    "title": _convert_title,
    "label": _convert_label,
    "score": _convert_score,
}
