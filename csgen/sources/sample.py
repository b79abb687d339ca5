"""The small parallel collection and lexicon that the package carries, so that everything runs without a network."""

from pathlib import Path

import polars as pl

from csgen.errors import InputError
from csgen.files import hash_file
from csgen.sources.collection import read_collection
from csgen.sources.duplicates import find_near_duplicates
from csgen.sources.fetched import EnglishTexts, Fetched

HALF, OTHER_HALF = "half", "other-half"
SAMPLE_FOLDER = Path(__file__).parents[1] / "sample"


def fetch_sample(languages: tuple[str, ...]) -> Fetched:
    """The carried collection in `languages` (English among them; none: all), with the lexicons from English into them.

    It is too small for a split: its pairs "train" are those of all its test queries. For fine-tuning and measuring
    there are halves: pairs of every second query, HALF, and the judgements of the others, OTHER_HALF.
    """
    sample = read_collection(str(SAMPLE_FOLDER))
    languages = languages or sample.languages
    if missing := [language for language in languages if language not in sample.languages]:
        raise InputError(f"--languages {','.join(missing)}: the sample has {', '.join(sample.languages)}")
    queries = {language: sample.queries(language) for language in languages}
    passages = {language: sample.passages(language) for language in languages}
    qrels = {split: sample.qrels(split) for split in sample.splits}
    in_half = pl.col("query_id").is_in(qrels["test"]["query_id"].unique().sort().gather_every(2).implode())
    qrels[OTHER_HALF] = qrels["test"].filter(~in_half)
    return Fetched(
        description=sample.description.model_copy(update={"languages": languages}),
        queries=queries,
        passages=passages,
        qrels=qrels,
        texts={
            name: _english_texts(queries["en"], passages["en"], judged)
            for name, judged in (("train", qrels["test"]), (HALF, qrels["test"].filter(in_half)))
        },
        counts={},
        inputs={"sample": {name: hash_file(str(SAMPLE_FOLDER / name)) for name in _carried_files(languages)}},
        files={f"lexicon/{path.name}": path.read_bytes() for path in _lexicons(languages)},
    )


def _english_texts(queries: pl.DataFrame, passages: pl.DataFrame, qrels: pl.DataFrame) -> EnglishTexts:
    named = queries.select(pl.col("_id").alias("query_id"), pl.col("text").alias("query"))
    true = qrels.filter(pl.col("score") > 0).unique("query_id", keep="first", maintain_order=True)
    return EnglishTexts(
        named.join(true.select("query_id", "passage_id"), on="query_id", maintain_order="left"),
        passages.select(
            pl.col("_id").alias("passage_id"),
            pl.col("text").alias("passage"),
            pl.Series("group", find_near_duplicates(passages["text"])),
        ),
    )


def _lexicons(languages: tuple[str, ...]) -> list[Path]:
    """`en-XX.tsv` of each language; synonyms, en-en, among them where there are any."""
    paths = [SAMPLE_FOLDER / "lexicon" / f"en-{language}.tsv" for language in languages]
    return [path for path in paths if path.exists()]


def _carried_files(languages: tuple[str, ...]) -> list[str]:
    texts = [f"{language}/{kind}.jsonl" for language in languages for kind in ("passages", "queries")]
    return [*texts, "qrels/test.tsv", *(f"lexicon/{path.name}" for path in _lexicons(languages))]
