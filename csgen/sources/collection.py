"""Parallel collections: passages and queries in several languages, one id space, and qrels. Files are read on demand.

Layout: `LANG/passages.jsonl`, `LANG/queries.jsonl`, `qrels/SPLIT.tsv` (each also .gz, .zst, .xz), `collection.json`.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import polars as pl
import pyarrow as pa
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from csgen.errors import InputError
from csgen.files import exists, filesystem, find_file, is_folder, join, list_files, open_input, replace_file
from csgen.schema import pair_schema
from csgen.sources.documents import load_documents, load_qrels, require_file, write_documents, write_qrels

COLLECTION_NAME = "collection.json"


class Description(BaseModel):
    """What `collection.json` says. Passages may be in fewer languages than queries; other keys are kept as they are."""

    model_config = ConfigDict(frozen=True, extra="allow")

    name: str
    languages: tuple[str, ...] = Field(min_length=1)
    passage_languages: tuple[str, ...] = ()  # empty: `languages`
    licence: str
    source: str


@dataclass(frozen=True)
class Collection:
    """A parallel collection on disk. Each call reads its file anew and whole."""

    folder: str
    description: Description

    @property
    def name(self) -> str:
        return self.description.name

    @property
    def languages(self) -> tuple[str, ...]:
        """The languages of the queries."""
        return self.description.languages

    @property
    def passage_languages(self) -> tuple[str, ...]:
        return self.description.passage_languages or self.languages

    @property
    def licence(self) -> str:
        return self.description.licence

    @property
    def source(self) -> str:
        return self.description.source

    @property
    def splits(self) -> tuple[str, ...]:
        """The names of the qrels, sorted."""
        files = list_files(join(self.folder, "qrels"))
        return tuple(sorted(file.rpartition("/")[2].partition(".tsv")[0] for file in files if ".tsv" in file))

    def queries(self, language: str) -> pl.DataFrame:
        """`_id, text`, and `title` where any query has one; ids are unique."""
        return self._load(language, self.languages, "queries")

    def passages(self, language: str) -> pl.DataFrame:
        """`_id, text`, and `title` where any passage has one; ids are unique."""
        return self._load(language, self.passage_languages, "passages")

    def qrels(self, split: str) -> pl.DataFrame:
        """`query_id, passage_id, score`, in the file's order; every id stands in at least one language."""
        found = find_file(join(self.folder, "qrels", f"{split}.tsv"))
        if found is None:
            there = ", ".join(self.splits) or "none"
            raise InputError.at(self.folder, None, f"no qrels for the split {split!r}; there are {there}")
        qrels = load_qrels(found)
        _refuse_unknown(found, "query", qrels["query_id"], self.languages, self.queries)
        _refuse_unknown(found, "passage", qrels["passage_id"], self.passage_languages, self.passages)
        return qrels

    def _load(self, language: str, languages: tuple[str, ...], kind: str) -> pl.DataFrame:
        if language not in languages:
            raise InputError.at(self.folder, None, f"no {kind} in {language!r}; there are {', '.join(languages)}")
        return load_documents(require_file(join(self.folder, language, f"{kind}.jsonl")))


def read_collection(path: str) -> Collection:
    """The collection in a folder. Its texts and qrels are read, and their ids checked, when they are asked for."""
    file = join(path, COLLECTION_NAME)
    if not exists(file):
        raise InputError.at(path, None, f"no {COLLECTION_NAME}: not a parallel collection")
    try:
        with open_input(file) as stream:
            description = Description.model_validate_json(stream.read())
    except ValidationError as error:
        detail = error.errors()[0]
        place = ".".join(map(str, detail["loc"]))
        raise InputError.at(file, None, f"{place + ': ' if place else ''}{detail['msg']}") from error
    if not is_folder(join(path, "qrels")):
        raise InputError.at(path, None, "no folder qrels: not a parallel collection")
    return Collection(path, description)


def check_collection(collection: Collection) -> None:
    """Read every file of the collection once; the first fault is an InputError."""
    for language in collection.languages:
        collection.queries(language)
    for language in collection.passage_languages:
        collection.passages(language)
    for split in collection.splits:
        collection.qrels(split)


def write_collection(
    folder: str,
    description: Description,
    queries: Mapping[str, pl.DataFrame],
    passages: Mapping[str, pl.DataFrame],
    qrels: Mapping[str, pl.DataFrame],
) -> None:
    """Write documents by language (`_id, text`, perhaps `title`) and qrels by split (`query_id, passage_id, score`).

    `collection.json` is written last, and one from before is removed first: where it stands, the collection is whole.
    """
    remove_description(folder)
    for kind, documents in (("queries", queries), ("passages", passages)):
        for language, frame in documents.items():
            write_documents(join(folder, language, f"{kind}.jsonl"), [frame])
    for split, frame in qrels.items():
        write_qrels(join(folder, "qrels", f"{split}.tsv"), [frame])
    write_description(folder, description)


def remove_description(folder: str) -> None:
    """Mark a collection as unfinished, before its files are written."""
    fs, inner = filesystem(join(folder, COLLECTION_NAME))
    if fs.exists(inner):
        fs.rm_file(inner)


def write_description(folder: str, description: Description) -> None:
    """Write `collection.json`, which marks the collection as whole."""
    text = json.dumps(description.model_dump(exclude_defaults=True), indent=1, ensure_ascii=False)
    with replace_file(join(folder, COLLECTION_NAME)) as stream:
        stream.write(text.encode() + b"\n")


def collection_pairs(collection: Collection, query_language: str, passage_language: str, split: str) -> pa.Table:
    """The positive judgements (score over 0) of a split as pairs with label 1, in the order of the qrels.

    Judgements whose query or passage lacks one of the languages are left out. A title stands before its text.
    """
    queries = _texts(collection.queries(query_language), "query")
    passages = _texts(collection.passages(passage_language), "passage")
    pairs = (
        collection.qrels(split)
        .filter(pl.col("score") > 0)
        .join(queries, on="query_id", how="inner", maintain_order="left")
        .join(passages, on="passage_id", how="inner", maintain_order="left")
        .with_columns(
            label=pl.lit(1, pl.Int8),
            query_language=pl.lit(query_language),
            passage_language=pl.lit(passage_language),
        )
    )
    schema = pair_schema([name for name in pairs.columns if name != "score"])
    return pairs.select(schema.names).to_arrow().cast(schema)


def join_titles(documents: pl.DataFrame) -> pl.DataFrame:
    """`_id, text` of documents, where a title stands before its text."""
    text = pl.col("text")
    if "title" in documents.columns:
        text = pl.when(pl.col("title") == "").then(text).otherwise(pl.format("{} {}", "title", "text"))
    return documents.select("_id", text.alias("text"))


def _texts(documents: pl.DataFrame, name: str) -> pl.DataFrame:
    return join_titles(documents).rename({"_id": f"{name}_id", "text": name})


def _refuse_unknown(
    path: str, kind: str, ids: pl.Series, languages: tuple[str, ...], load: Callable[[str], pl.DataFrame]
) -> None:
    """Refuse ids that no language has. A collection may lack a text in some languages, so all are asked in turn."""
    unknown = ids.unique(maintain_order=True)
    for language in languages:
        unknown = unknown.filter(~unknown.is_in(load(language)["_id"].implode()))
        if unknown.is_empty():
            return
    raise InputError.at(path, None, f"names the {kind} {unknown[0]!r}, which is in none of {', '.join(languages)}")
