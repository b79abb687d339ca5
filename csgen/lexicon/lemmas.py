"""Inflected forms of a lexicon's words, by simplemma's lists and rules (the extra `lemmas`): houses, by house.

They stand in a table of their own, so that switching without them is untouched. Phrases stay as they are.
"""

from collections.abc import Callable, Mapping
from typing import Any

import polars as pl

from csgen.errors import InputError
from csgen.files import exists, join
from csgen.lexicon.entries import fold_column
from csgen.lexicon.merge import JOINT, MERGED_COLUMNS, PAIR
from csgen.lexicon.table import Table, read_table
from csgen.switching.policy import Policy

INFLECTED_NAME = "entries-inflected.parquet"
INFLECTED_FOLDER = "inflected"
ORIGIN = "lemma:simplemma"
LICENCE = "MIT (lists: ODbL, CC BY-SA)"

_CODES = {"bs": "hbs", "hr": "hbs", "sr": "hbs", "no": "nb"}  # simplemma's, where they are not ours


def lexicon_table(folder: str, policy: Policy) -> Table:
    """The table that a policy asks for: the one with inflected forms, or without; an InputError if it is missing."""
    if not policy.inflected:
        return read_table(folder, policy.source_language)
    inflected = join(folder, INFLECTED_FOLDER)
    if exists(folder) and not exists(join(inflected, f"table-{policy.source_language}")):
        raise InputError(
            f"{folder}: has no inflected forms of {policy.source_language}; "
            "build it with csgen lexicon build --lemmas, or leave out --inflected"
        )
    return read_table(inflected, policy.source_language)


def has_lemmas(language: str) -> bool:
    """Whether simplemma has a list for the language."""
    from_disk, _ = _simplemma()
    return _code(language) in from_disk.SUPPORTED_LANGUAGES


def add_forms(entries: pl.DataFrame, words: Mapping[str, pl.Series]) -> pl.DataFrame:
    """Entries (MERGED_COLUMNS) of forms that the lexicon lacks, each with the translations of its lemma, in its order.

    `words`: for each source language to inflect, words of a corpus, which need not be in simplemma's lists: its rules
    are tried on those that neither the lists nor the lexicon have.
    """
    found = []
    for language, corpus in words.items():
        of_language = entries.filter((pl.col("source_language") == language) & ~pl.col("key").str.contains(" "))
        known = of_language["key"].unique()
        forms = _listed_forms(language)
        forms = pl.concat([forms, _ruled_forms(language, corpus, pl.concat([forms["form"], known]))])
        inflected = forms.filter(pl.col("form") != pl.col("lemma")).join(
            of_language, left_on="lemma", right_on="key", how="inner"
        )
        lacking = inflected.with_columns(key="form", source="form").join(of_language, on=[*PAIR, "key"], how="anti")
        found.append(lacking.with_columns(_prefixed(lacking, "origin", ORIGIN), _prefixed(lacking, "licence", LICENCE)))
    strings = pl.col(*PAIR, "origin", "licence").cast(pl.String)
    return pl.concat([part.select(MERGED_COLUMNS).with_columns(strings) for part in found]).sort(*PAIR, "key", "rank")


def _prefixed(entries: pl.DataFrame, column: str, prefix: str) -> pl.Series:
    return entries.select((pl.lit(prefix + JOINT) + pl.col(column).cast(pl.String)).alias(column)).to_series()


def _listed_forms(language: str) -> pl.DataFrame:
    """`form` and `lemma`, folded, each form once; of forms that differ in letter case, the lower-case one counts."""
    from_disk, _ = _simplemma()
    listed = from_disk.DEFAULT_DICTIONARY_FACTORY.get_dictionary(_code(language))
    pairs = pl.DataFrame({"written": list(listed.keys()), "lemma": list(listed.values())})
    folded = pairs.with_columns(form=fold_column(pairs["written"]), lemma=fold_column(pairs["lemma"]))
    single = folded.filter(~pl.col("form").str.contains(r"\s"))
    is_upper = pl.col("written") != pl.col("form")
    return (
        single.sort("form", is_upper, "written")
        .unique("form", keep="first", maintain_order=True)
        .select("form", "lemma")
    )


def _ruled_forms(language: str, words: pl.Series, known: pl.Series) -> pl.DataFrame:
    """`form` and `lemma` of the words that are not known, by rules for suffixes and prefixes: a Python step a word."""
    _, lemmatize = _simplemma()
    unknown = words.filter(words.str.contains(r"^\p{L}") & ~words.is_in(known.implode())).unique().sort()
    code = _code(language)
    lemmas = pl.Series([lemmatize(word, lang=code) for word in unknown], dtype=pl.String)
    return pl.DataFrame({"form": unknown, "lemma": fold_column(lemmas)})


def _code(language: str) -> str:
    primary = language.partition("-")[0]
    return _CODES.get(primary, primary)


def _simplemma() -> tuple[Any, Callable[..., str]]:
    """Its lists and its rules."""
    try:
        from simplemma import lemmatize
        from simplemma.strategies.dictionaries import dictionary_factory
    except ImportError as error:
        raise InputError("--lemmas needs the extra: pip install 'csgen[lemmas]'") from error
    return dictionary_factory, lemmatize
