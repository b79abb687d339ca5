"""Which passages are given: the files of a parallel collection, or Parquet and JSON lines, and their columns.

Looks at names, metadata and first lines alone; the rows are for `indexing.index.reading`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import pyarrow as pa

from csgen.errors import InputError
from csgen.files import COMPRESSIONS, exists, fingerprint, is_folder, join, list_files
from csgen.manifest import MANIFEST_NAME
from csgen.sources.collection import COLLECTION_NAME, read_collection
from csgen.sources.documents import require_file
from csgen.sources.parquet import open_parquet
from csgen.sources.rows import accepts, is_text
from csgen.sources.text import json_head
from indexing.passages.rows import LANGUAGE, OWN, PASSAGE_ID, TEXT, TITLE

Format = Literal["jsonl", "parquet"]

ID_COLUMNS = (PASSAGE_ID, "_id")
TYPES = {"string": pa.large_string(), "int64": pa.int64(), "float64": pa.float64(), "bool": pa.bool_()}
_ENDINGS: dict[str, Format] = {".parquet": "parquet", ".jsonl": "jsonl", ".json": "jsonl", ".ndjson": "jsonl"}
_NOT_PASSAGES = (MANIFEST_NAME, COLLECTION_NAME, "rejects.jsonl")
_WHOLE = {float: pa.float64(), int: pa.int64(), bool: pa.bool_(), str: pa.large_string()}


@dataclass(frozen=True)
class PassageFile:
    """A file of passages. language: of all of them; None: a column says. id_column: passage_id or _id."""

    path: str
    format: Format
    language: str | None
    id_column: str
    whole_ids: bool = False  # JSON lines whose ids are numbers


@dataclass(frozen=True)
class PassageInput:
    """All files, in order, and the columns that their passages come with; languages (): all."""

    files: tuple[PassageFile, ...]
    schema: pa.Schema
    languages: tuple[str, ...]
    ignored_columns: tuple[str, ...]

    def fingerprints(self) -> dict[str, dict[str, Any]]:
        """Size and modification mark of each file."""
        return {file.path: fingerprint(file.path) for file in self.files}


@dataclass(frozen=True)
class _Columns:
    """A file's metadata columns and their types as they are kept; those that cannot be kept."""

    file: PassageFile
    has_titles: bool
    metadata: dict[str, pa.DataType]
    ignored: tuple[str, ...]


def find_input(path: str, languages: tuple[str, ...], metadata: tuple[str, ...] | None) -> PassageInput:
    """The passages at `path`: a collection's folder, or a file or folder of Parquet and JSON lines; may be a URI.

    Passages in other languages than `languages` are left out. `metadata`: columns to keep, NAME or NAME:TYPE; None: all
    that hold text, numbers, true or false, none of a collection.
    """
    wanted = _parse_metadata(metadata)
    if exists(join(path, COLLECTION_NAME)):
        files = _find_in_collection(path, languages)
        wanted = wanted or {}
    else:
        files = _find_files(path)
    found = [_read_columns(file, wanted) for file in files]
    fields = _merge(found)
    for name in wanted or ():
        if name not in fields:
            raise InputError.at(path, None, f"no column {name!r}, which --metadata names")
    own = [LANGUAGE, PASSAGE_ID, *([TITLE] if any(one.has_titles for one in found) else []), TEXT]
    schema = pa.schema([*((name, pa.large_string()) for name in own), *fields.items()])
    ignored = sorted({name for one in found for name in one.ignored})
    return PassageInput(tuple(one.file for one in found), schema, languages, tuple(ignored))


def _parse_metadata(metadata: tuple[str, ...] | None) -> dict[str, pa.DataType | None] | None:
    """Type by name, None where the file is to tell; None: whatever there is."""
    if metadata is None:
        return None
    wanted: dict[str, pa.DataType | None] = {}
    for part in metadata:
        name, colon, kind = part.rpartition(":") if ":" in part else (part, "", "")
        if (colon and kind not in TYPES) or not name or name in OWN:
            raise InputError(f"--metadata {part}: give NAME or NAME:TYPE, where TYPE is one of {', '.join(TYPES)}")
        wanted[name] = TYPES.get(kind)
    return wanted


def _find_in_collection(path: str, languages: tuple[str, ...]) -> list[PassageFile]:
    collection = read_collection(path)
    known = collection.passage_languages
    if missing := [language for language in languages if language not in known]:
        raise InputError.at(path, None, f"no passages in {missing[0]!r}; there are {', '.join(known)}")
    return [
        PassageFile(require_file(join(path, language, "passages.jsonl")), "jsonl", language, "_id")
        for language in languages or known
    ]


def _find_files(path: str) -> list[PassageFile]:
    if not exists(path):
        raise InputError.at(path, None, "no such file or folder")
    if not is_folder(path):
        form = _format_of(path)
        if form is None:
            raise InputError.at(path, None, f"unknown kind of file; known are {', '.join(_ENDINGS)}")
        return [PassageFile(path, form, None, PASSAGE_ID)]
    names = [(file, _format_of(file)) for file in list_files(path) if file.rpartition("/")[2] not in _NOT_PASSAGES]
    files = [PassageFile(file, form, None, PASSAGE_ID) for file, form in names if form is not None]
    if not files:
        raise InputError.at(path, None, f"no collection, and no file of passages; known are {', '.join(_ENDINGS)}")
    return files


def _format_of(path: str) -> Format | None:
    for ending, form in _ENDINGS.items():
        if path.endswith(ending) or (form == "jsonl" and any(path.endswith(ending + c) for c in COMPRESSIONS)):
            return form
    return None


def _read_columns(file: PassageFile, wanted: dict[str, pa.DataType | None] | None) -> _Columns:
    found = _read_types(file)
    id_column = next((name for name in ID_COLUMNS if name in found), None) if file.language is None else file.id_column
    needed = [id_column or PASSAGE_ID, TEXT, *([] if file.language else [LANGUAGE])]
    if missing := [name for name in needed if name not in found]:
        raise InputError.at(
            file.path, None, f"no column {missing[0]!r}; found {', '.join(found)}; passages need "
            "language, passage_id (or _id), text",
        )  # fmt: skip
    own = {*OWN, *ID_COLUMNS}
    known: dict[str, pa.DataType | None] = {name: found[name] for name in found if name not in own}
    if wanted is not None:
        known = {name: wanted[name] or known[name] for name in wanted if name in known}
        if unfit := [name for name in known if known[name] is None]:
            raise InputError.at(file.path, None, f"{unfit[0]}: cannot be kept as metadata: {_kinds()}")
    kept = {name: kind for name, kind in known.items() if kind is not None}
    whole = file.format == "jsonl" and pa.types.is_int64(found[needed[0]] or pa.null())
    given = PassageFile(file.path, file.format, file.language, needed[0], whole)
    ignored = tuple(name for name in found if name not in own and name not in kept)
    return _Columns(given, TITLE in found, kept, ignored)


def _read_types(file: PassageFile) -> dict[str, pa.DataType | None]:
    """The columns of a file, with the types in which metadata are kept; None for what cannot be."""
    if file.format == "parquet":
        with open_parquet(file.path) as opened:
            schema = opened.schema_arrow
        for name, kind in ((PASSAGE_ID, "id"), ("_id", "id"), (TEXT, "text"), (TITLE, "title"), (LANGUAGE, "text")):
            if name in schema.names and not accepts(kind, schema.field(name).type):  # type: ignore[arg-type]
                raise InputError.at(file.path, None, f"{name}: expected text, is {schema.field(name).type}")
        return {field.name: _kept_type(field.type) for field in schema}
    return {name: _infer(file.path, name, values) for name, values in json_head(file.path).items()}


def _kept_type(given: pa.DataType) -> pa.DataType | None:
    kind = given.value_type if pa.types.is_dictionary(given) else given
    if pa.types.is_boolean(kind):
        return pa.bool_()
    if pa.types.is_integer(kind):
        return pa.int64()
    if pa.types.is_floating(kind):
        return pa.float64()
    is_bytes = pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_binary_view(kind)
    return pa.large_string() if is_text(kind) and not is_bytes else None


def _infer(path: str, name: str, values: Sequence[Any]) -> pa.DataType | None:
    """The type of a column of JSON lines by its first values; where all are null, text."""
    seen = {type(value) for value in values if value is not None}
    if seen & {list, tuple}:
        return None
    if seen <= {int, float} and float in seen:
        return pa.float64()
    if len(seen) > 1:
        if name in OWN or name in ID_COLUMNS:
            return pa.large_string()
        kinds = ", ".join(sorted(kind.__name__ for kind in seen))
        raise InputError.at(path, None, f"{name}: holds {kinds}; mend it, or leave it out by --metadata")
    return _WHOLE[seen.pop()] if seen else pa.large_string()


def _merge(found: Sequence[_Columns]) -> dict[str, pa.DataType]:
    """The metadata of all files together; whole numbers give way to numbers."""
    fields: dict[str, pa.DataType] = {}
    for one in found:
        for name, kind in one.metadata.items():
            fields[name] = merge_types(name, fields.get(name, kind), kind, one.file.path)
    return fields


def merge_types(name: str, first: pa.DataType, other: pa.DataType, place: str) -> pa.DataType:
    """The type that holds the values of both; InputError where there is none."""
    if first == other:
        return first
    if {first, other} == {pa.int64(), pa.float64()}:
        return pa.float64()
    raise InputError.at(place, None, f"{name}: is {other} here and {first} elsewhere; cast it, or leave it out")


def _kinds() -> str:
    return "text, whole numbers, numbers, true and false can"
