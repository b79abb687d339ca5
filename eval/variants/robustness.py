"""Variants of queries as an experiment names them: code-switched, latinised, misspelt, expanded; and how each is made.

A variant changes the text of each query (`query_id, language, text`) by its id, language and text alone: the same query
becomes the same among any others and in any order. Knows no system and no passage.
"""

import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Annotated, Literal

import polars as pl
import pyarrow as pa
from pydantic import Field, model_validator

from csgen.config import StageConfig
from csgen.errors import InputError
from csgen.files import exists, filesystem, fingerprint, join
from csgen.lexicon.lemmas import lexicon_table
from csgen.lexicon.table import Table
from csgen.switch_job import read_protected_words
from csgen.switching.policy import Policy
from csgen.switching.switcher import Switcher
from eval.variants.expansions import QUERY2DOC_REPEAT, Expansions, Mode, expand, read_expansions, refuse_unknown
from eval.variants.misspelling import misspell

Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._@ -]*$")]
_NAME_DESCRIPTION = "what tables call it, behind the system's name and a +: letters, digits, . _ @ - and blanks"
_SEED_DESCRIPTION = "seed of all draws, 0 or more"


class CodeSwitched(StageConfig):
    """Words of the queries replaced by their translations."""

    kind: Literal["code-switched"] = Field("code-switched", description="what is done to the queries")
    name: Name = Field("code-switched", description=_NAME_DESCRIPTION)
    lexicon: str = Field(min_length=1, description="folder that csgen lexicon build wrote; may be a URI")
    languages: tuple[str, ...] = Field(min_length=1, description="target languages, drawn for each word (ISO 639-1)")
    probability: float = Field(0.5, ge=0, le=1, description="chance of each word to be switched, in [0, 1]")
    seed: int = Field(0, ge=0, lt=1 << 63, description=_SEED_DESCRIPTION)

    @model_validator(mode="after")
    def _check(self) -> "CodeSwitched":
        if len(set(self.languages)) < len(self.languages):
            raise ValueError(f"languages: {', '.join(self.languages)} names a language twice")
        return self

    @property
    def policy(self) -> Policy:
        """The same for the switcher."""
        options = {"languages": self.languages, "probability": self.probability, "seed": self.seed}
        return Policy.from_options({"sides": "query", **options})


class Latinised(StageConfig):
    """Queries in the letters of ASCII, as typed by people without a keyboard for their script."""

    kind: Literal["latinised"] = Field("latinised", description="what is done to the queries")
    name: Name = Field("latinised", description=_NAME_DESCRIPTION)


class Misspelt(StageConfig):
    """Queries with typos."""

    kind: Literal["misspelt"] = Field("misspelt", description="what is done to the queries")
    name: Name = Field("misspelt", description=_NAME_DESCRIPTION)
    rate: float = Field(ge=0, le=1, description="chance of each word of 4 or more letters to get one typo, in [0, 1]")
    seed: int = Field(0, ge=0, lt=1 << 63, description=_SEED_DESCRIPTION)


class Expanded(StageConfig):
    """Queries with expansions from a file."""

    kind: Literal["expanded"] = Field("expanded", description="what is done to the queries")
    name: Name = Field("expanded", description=_NAME_DESCRIPTION)
    file: str = Field(
        min_length=1,
        description="JSON lines, or TSV with a header, of query_id, text and perhaps language; may be a URI; "
        "{benchmark} stands for the benchmark's name",
    )
    mode: Mode = Field("concatenate", description="concatenate: the query, then its expansion; replace: that alone")
    repeat: int = Field(
        QUERY2DOC_REPEAT,
        ge=1,
        le=100,
        description="how often the query stands before its expansion, 1 to 100 (query2doc: 5 for BM25, 1 for encoders)",
    )


Variant = Annotated[CodeSwitched | Latinised | Misspelt | Expanded, Field(discriminator="kind")]


@dataclass(frozen=True)
class Varied:
    """Queries of a variant, in their old order."""

    queries: pl.DataFrame  # query_id, language, text
    left_out: int  # queries that the variant cannot be made of
    note: str  # what was done, for people


def inputs(variant: Variant) -> list[str]:
    """The files and folders that a variant is made from."""
    match variant:
        case CodeSwitched():
            return [variant.lexicon]
        case Expanded():
            return [variant.file]
    return []


def check_variant(variant: Variant, queries: pl.DataFrame) -> None:
    """Refuse a variant that does not fit a benchmark; `queries` (`query_id, language`) are all of it, in all languages.

    `apply_variant` sees a part of them and cannot tell.
    """
    match variant:
        case CodeSwitched():
            languages = set(queries["language"])
            if not languages & set(open_switchers(variant.lexicon, variant.policy)):
                message = f"has no translations from {', '.join(sorted(languages))}, the languages of the queries"
                raise InputError.at(variant.lexicon, None, message)
        case Expanded():
            refuse_unknown(_load_expansions(variant.file), queries)


def apply_variant(variant: Variant, queries: pl.DataFrame) -> Varied:
    """The variant of any part of a benchmark's queries."""
    match variant:
        case CodeSwitched():
            switched = code_switch(queries, variant.lexicon, variant.policy)
            able = queries["language"].is_in(switched["language"].unique().implode())
            note = _count_changed(queries.filter(able), switched)
            if left_out := queries.height - switched.height:
                unable = ", ".join(queries.filter(~able)["language"].unique().sort())
                note += f"; {left_out} left out: {variant.lexicon} has no translations from {unable}"
            return Varied(switched, left_out, note)
        case Latinised():
            latin = latinise(queries)
            return Varied(latin, 0, _count_changed(queries, latin))
        case Misspelt():
            misspelt = misspell(queries, variant.rate, variant.seed)
            return Varied(misspelt, 0, _count_changed(queries, misspelt))
        case Expanded():
            expanded, num_without = expand(queries, _load_expansions(variant.file), variant.mode, variant.repeat)
            return Varied(expanded, 0, f"{queries.height - num_without} of {queries.height} queries expanded")


def _count_changed(before: pl.DataFrame, after: pl.DataFrame) -> str:
    return f"{(before['text'] != after['text']).sum()} of {before.height} queries changed"


def _load_expansions(path: str) -> Expansions:
    if not exists(path):
        raise InputError.at(path, None, "no such file of expansions")
    return _read_once(path, str(fingerprint(path)))


@lru_cache(maxsize=2)
def _read_once(path: str, mark: str) -> Expansions:
    """An experiment asks for the same file cell by cell."""
    return read_expansions(path)


def code_switch(queries: pl.DataFrame, lexicon: str, policy: Policy) -> pl.DataFrame:
    """The queries that can be switched, in their order, each from its own language into those of the policy.

    Left out are queries in a language of which the lexicon has no table, or none into a language of the policy. Of the
    policy, `sides` and `source_language` are not asked, and a language that a table lacks is not drawn for its queries.
    A query's draws come from the seed and its id.
    """
    rows = queries.with_row_index("row")
    parts = [rows.clear()]
    switchers = open_switchers(lexicon, policy)
    for language in set(queries["language"]) & set(switchers):
        some = rows.filter(pl.col("language") == language)
        parts.append(some.with_columns(text=switch_texts(some, switchers[language])))
    return pl.concat(parts).sort("row").drop("row")


def open_switchers(lexicon: str, policy: Policy) -> dict[str, Switcher]:
    """A switcher for each language from which the lexicon has translations into one of the policy's languages."""
    if policy.target_ratio is not None:
        raise InputError("queries are switched with a probability; a target ratio would make each depend on the others")
    switchers: dict[str, Switcher] = {}
    known: set[str] = set()
    for table in _read_tables(lexicon, policy):
        own = policy.model_copy(update={"sides": "query", "source_language": table.source_language})
        wanted, there = own.languages_of("query"), (table.source_language, *table.languages)
        known.update(there)
        if set(wanted) & set(table.languages):
            served = tuple(language for language in wanted if language in there)
            switchers[table.source_language] = Switcher(own.model_copy(update={"query_languages": served}), table)
    if unknown := [language for language in policy.query_languages or policy.languages if language not in known]:
        raise InputError(f"{lexicon}: no translations into {unknown[0]}; it has {', '.join(sorted(known))}")
    return switchers


def _read_tables(lexicon: str, policy: Policy) -> list[Table]:
    fs, inner = filesystem(lexicon)
    found = sorted(path.split("/")[-2].removeprefix("table-") for path in fs.glob(join(inner, "table-*", "table.json")))
    if not found:
        raise InputError(f"{lexicon}: no lexicon there; build one with csgen lexicon build")
    protected = read_protected_words(policy)
    policies = [policy.model_copy(update={"source_language": language}) for language in found]
    return [lexicon_table(lexicon, own).without(protected) for own in policies]


def switch_texts(queries: pl.DataFrame, switcher: Switcher) -> pl.Series:
    """The switched texts of `query_id, text`; without passages, so that the draws depend on the query's id alone."""
    columns = queries.select("query_id", query="text", passage_id=pl.lit(""), passage=pl.lit("")).to_arrow()
    schema = pa.schema([(name, pa.string()) for name in columns.column_names])
    pairs = columns.cast(schema).combine_chunks().to_batches()[0]
    return pl.Series(switcher.switch(pairs).texts["query"])


def latinise(queries: pl.DataFrame) -> pl.DataFrame:
    """The queries in ASCII letters, character by character, as anyascii has them; Latin text loses its diacritics.

    That is no reading aloud: Arabic and Hebrew come without the vowels that are not written, Japanese characters in
    their Chinese reading, and words run together where none are parted. A text of which nothing is left stays.
    """
    transliterate = _import_anyascii()
    texts = queries["text"].unique()
    # Composed first, since anyascii drops marks that stand alone: the voiced kana would lose their voice.
    latin = [transliterate(unicodedata.normalize("NFC", text)) for text in texts]
    kept = [new if new.strip() else text for new, text in zip(latin, texts, strict=True)]
    return queries.with_columns(pl.col("text").replace_strict(texts, pl.Series(kept, dtype=pl.String)))


def _import_anyascii() -> Callable[[str], str]:
    try:
        import anyascii
    except ImportError as error:
        raise InputError("latinised queries need anyascii: pip install 'csgen[eval]'") from error
    transliterate: Callable[[str], str] = anyascii.anyascii
    return transliterate
