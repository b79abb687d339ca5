"""`csgen lexicon pivot`: a lexicon from one language into another through a third that other lexicons share with both.

p(target | source) is the sum of p(target | pivot) p(pivot | source) over the pivot words. Knows no texts.
"""

import posixpath
from collections.abc import Iterator, Sequence
from typing import Any, Literal, Self

import polars as pl
from pydantic import Field, field_validator, model_validator

from csgen.config import StageConfig
from csgen.errors import InputError
from csgen.files import join, refuse_finished
from csgen.induction.output import LICENCE_AND, cut, write_pairs
from csgen.induction.sources import describe_inputs
from csgen.languages import parse_language
from csgen.lexicon.entries import clean_pairs, fold_column, read_entries
from csgen.lexicon.merge import JOINT, join_duplicates, merge_parts
from csgen.lexicon.turn import turn_entries
from csgen.manifest import MANIFEST_NAME

FAN_OUT = 20  # pivot words of a source word, and targets of a pivot word, at most: the heaviest

_SLICE_WORDS = 1 << 14  # source words at a time, so that at most FAN_OUT**2 times as many paths are in memory


class PivotConfig(StageConfig):
    """Options of `csgen lexicon pivot`."""

    lexicons: tuple[str, ...] = Field(
        min_length=1,
        description="Lexicons with entries between the third language and both others, in either direction; "
        "may be URIs.",
    )
    source: str = Field(description="language to translate from (ISO 639-1)")
    target: str = Field(description="language to translate into (ISO 639-1)")
    through: str = Field(description="the third language (ISO 639-1)")
    max_translations: int = Field(5, ge=1, le=FAN_OUT**2, description=f"most translations of a word, 1 to {FAN_OUT**2}")
    threshold: float = Field(0.02, ge=0, le=1, description="least probability of a translation, from 0 to 1")
    identical: Literal["drop", "keep"] = Field(
        "drop", description="what to do with pairs of the same word on both sides, letter case aside"
    )
    output: str = Field(min_length=1, description="the folder to write; may be a URI")

    _parse_language = field_validator("source", "target", "through")(parse_language)

    @model_validator(mode="after")
    def _check(self) -> Self:
        if len({self.source, self.target, self.through}) < 3:
            raise InputError(
                f"--source, --target and --through must be three languages, "
                f"got {self.source}, {self.target} and {self.through}"
            )
        names = [_name(folder) for folder in self.lexicons]
        if twice := {name for name in names if names.count(name) > 1}:
            raise InputError(f"two lexicons are both named {min(twice)}; leave one out or rename its folder")
        return self


def pivot_lexicons(config: PivotConfig) -> dict[str, Any]:
    """Write the lexicon; returns its counts. The order of the lexicons does not matter."""
    refuse_finished(config.output)
    lexicons = [(_name(folder), read_entries(folder)) for folder in config.lexicons]
    legs = [
        join_leg(lexicons, source, target)
        for source, target in ((config.source, config.through), (config.through, config.target))
    ]
    words = legs[0]["key"].n_unique()
    pairs = pivot(legs[0], legs[1], config.threshold)
    counts: dict[str, Any] = {
        "words": words,
        "words without a translation": words - pairs["source"].n_unique(),
        "pairs": len(pairs),
    }
    cleaned, dropped = clean_pairs(pairs, config.identical)
    kept, beyond = cut(cleaned, config.max_translations)
    kept = kept.with_columns(origin=pl.format("pivot:{}({})", pl.lit(config.through), "origin"))
    inputs = {
        _name(folder): {"files": describe_inputs({MANIFEST_NAME: join(folder, MANIFEST_NAME)})}
        for folder in config.lexicons
    }
    options = config.model_dump(exclude={"output", "lexicons"}) | {"method": "pivot", "lexicons": sorted(inputs)}
    counts |= {"dropped": dropped | beyond}
    return write_pairs(kept, config.source, config.target, config.output, config=options, inputs=inputs, counts=counts)


def _name(folder: str) -> str:
    return posixpath.basename(folder.rstrip("/"))


def join_leg(lexicons: Sequence[tuple[str, pl.DataFrame]], source: str, target: str) -> pl.DataFrame:
    """All entries between two languages as entries from `source` to `target`, those of both directions.

    Entries of the other direction are inverted by Bayes' rule with a uniform prior over `target`'s words, since a
    lexicon keeps no counts: p(t | s) = p(s | t) / sum over t' of p(s | t'). Where several lexicons or directions have
    a word, its probabilities are their mean.
    """
    parts = []
    for name, entries in lexicons:
        direct = entries.filter(source_language=source, target_language=target)
        other = entries.filter(source_language=target, target_language=source)
        for direction, part in (("direct", direct), ("inverted", turn_entries(other))):
            if not part.is_empty():
                keyed = part.with_columns(key=fold_column(part["source"]))
                parts.append((f"{name} {direction}", join_duplicates(keyed)))
    if not parts:
        pair = ["source_language", "target_language"]
        found = sorted({f"{s}-{t}" for _, entries in lexicons for s, t in entries.select(pair).unique().rows()})
        raise InputError(
            f"no lexicon has entries between {source} and {target}, in either direction; found {', '.join(found)}"
        )
    return merge_parts(parts).entries


def pivot(first: pl.DataFrame, second: pl.DataFrame, threshold: float) -> pl.DataFrame:
    """Pairs `line, source, target, weight, origin, licence` from the words of one leg to those of the next.

    Both are what `join_leg` returns; `weight` is p(target | source), `threshold` at least. The pivot words meet
    letter case aside, phrases whole. Only the FAN_OUT heaviest entries of a word are followed. `origin` and `licence`
    are those of all entries on the way. Pairs are ordered by folded source, then by falling weight, then by target.
    """
    first, second = (leg.filter(pl.col("rank") <= FAN_OUT) for leg in (first, second))
    names = pl.col("origin", "licence").cast(pl.String)
    left = first.select(
        "key", "source", "rank", pivot=fold_column(first["target"]), p="weight", o="origin", n="licence"
    )
    right = second.select("target", names, pivot="key", q="weight")
    forms = left.sort("key", "rank").unique("key", keep="first", maintain_order=True).select("key", "source")
    parts = [_follow(part.with_columns(pl.col("o", "n").cast(pl.String)), right, threshold) for part in _slices(left)]
    found = pl.concat(parts).join(forms, on="key", how="left", maintain_order="left")
    return found.select(pl.int_range(1, pl.len() + 1).alias("line"), "source", "target", "weight", "origin", "licence")


def _slices(left: pl.DataFrame) -> Iterator[pl.DataFrame]:
    keys = left["key"].unique().sort()
    numbered = left.join(pl.DataFrame({"key": keys}).with_row_index("number"), on="key", maintain_order="left")
    for start in range(0, len(keys), _SLICE_WORDS):
        yield numbered.filter(pl.col("number").is_between(start, start + _SLICE_WORDS - 1))


def _follow(left: pl.DataFrame, right: pl.DataFrame, threshold: float) -> pl.DataFrame:
    """`key, target, weight, origin, licence` of all paths from some source words, added up by target."""
    pair = ["key", "target"]
    paths = left.join(right, on="pivot").with_columns(weight=pl.col("p") * pl.col("q"))
    # sorted, so that rounding does not depend on the order of the join
    sums = paths.group_by(pair).agg(pl.col("weight").sort().sum()).filter(pl.col("weight") >= threshold)
    sums = sums.sort("key", "weight", "target", descending=[False, True, False])
    paths = paths.join(sums, on=pair, how="semi")
    for name, other in (("origin", "o"), ("licence", "n")):
        sums = sums.join(_unite(paths, name, other), on=pair, how="left", maintain_order="left")
    return sums


def _unite(paths: pl.DataFrame, name: str, other: str) -> pl.DataFrame:
    """`key, target` and what the paths of both legs name in two columns, each once: all of it is needed."""
    pair = ["key", "target"]
    named = pl.concat([paths.select(*pair, name), paths.select(*pair, pl.col(other).alias(name))]).unique()
    joined = named.sort(*pair, name).group_by(pair, maintain_order=True).agg(pl.col(name).str.join(JOINT))
    combinations = joined[name].unique()
    united = [LICENCE_AND.join(sorted(_atoms(text, name))) for text in combinations]
    return joined.with_columns(pl.col(name).replace_strict(combinations, united, return_dtype=pl.String))


def _atoms(text: str, name: str) -> set[str]:
    """The single licences in joined ones; of origins, which may be pivots themselves, those of single sources."""
    parts = text.split(JOINT)
    return {atom for part in parts for atom in (part.split(LICENCE_AND) if name == "licence" else [part])}
