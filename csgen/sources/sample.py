"""The small parallel collection and lexicon that the package carries, so that everything runs without a network."""

import json
from importlib.resources import files as package_files
from importlib.resources.abc import Traversable
from typing import Any

import polars as pl

from csgen.errors import InputError

SAMPLE = package_files("csgen") / "sample"


def sample_description() -> dict[str, Any]:
    """The sample's `collection.json`: name, languages, licence, source."""
    description: dict[str, Any] = json.loads((SAMPLE / "collection.json").read_bytes())
    return description


def sample_files(languages: tuple[str, ...]) -> dict[str, bytes]:
    """Name and bytes of each carried file that concerns the languages; `collection.json` is not among them."""
    carried = tuple(sample_description()["languages"])
    missing = [language for language in languages if language not in carried]
    if missing:
        raise InputError(f"--languages {','.join(missing)}: the sample has {', '.join(carried)}")
    wanted = [f"{language}/{table}.jsonl" for language in languages for table in ("passages", "queries")]
    wanted += [f"qrels/{file.name}" for file in _sorted(SAMPLE / "qrels")]
    wanted += [f"lexicon/{file.name}" for file in _sorted(SAMPLE / "lexicon") if _pairs_up(file.name, languages)]
    return {name: (SAMPLE / name).read_bytes() for name in wanted}


def read_english(files: dict[str, bytes]) -> tuple[pl.DataFrame, pl.DataFrame]:
    """English queries (`query_id, query, passage_id`) and passages (`passage_id, passage`) of `sample_files`."""
    queries, passages = (pl.read_ndjson(files[f"en/{table}.jsonl"]) for table in ("queries", "passages"))
    qrels = pl.read_csv(files["qrels/test.tsv"], separator="\t").rename({"query-id": "_id", "corpus-id": "passage_id"})
    judged = queries.join(qrels.unique("_id", keep="first", maintain_order=True), on="_id", maintain_order="left")
    return (
        judged.select(pl.col("_id").alias("query_id"), pl.col("text").alias("query"), "passage_id"),
        passages.select(pl.col("_id").alias("passage_id"), pl.col("text").alias("passage")),
    )


def _sorted(folder: Traversable) -> list[Traversable]:
    return sorted((file for file in folder.iterdir() if file.name.endswith(".tsv")), key=lambda file: file.name)


def _pairs_up(name: str, languages: tuple[str, ...]) -> bool:
    """Whether the lexicon `en-de.tsv` translates into one of the languages; English synonyms (en-en) always may."""
    source, target = name.removesuffix(".tsv").split("-", 1)
    return source in languages and target in languages
