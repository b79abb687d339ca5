"""Filters of entries by licence, length, script and frequency; each tells how many it dropped. Knows no files."""

from dataclasses import dataclass
from typing import Literal

import polars as pl

from csgen.languages import language_scripts
from csgen.lexicon.merge import JOINT, split_origins
from csgen.readers.columns import count_reasons, first_reason
from csgen.segment import UNSPACED_LANGUAGES

NO_COMMERCE = "licence forbids commercial use"
NO_LICENCE = "licence unknown"
WRONG_SCRIPT = "target in another script"
RARE = "source rarer in the corpus than --min-frequency"

_UNKNOWN = r"(?i)^\s*$|unknown|unspecified|see source"
_NON_COMMERCIAL = r"(?i)\bNC\b|non-?\s?commercial|\b(?:research|academic|evaluation)[- ](?:use|only|purpose)"
_WORD = r"[\p{L}\p{M}\p{N}]+(?:['’\u200c\u200d\u00ad·][\p{L}\p{M}\p{N}]+)*"  # a token of csgen.switching.tokens


@dataclass(frozen=True)
class RowFilters:
    """What is asked of every pair alone, whatever the others are; numbers of characters, of either side."""

    min_characters: int | None = None
    max_characters: int | None = None
    script: Literal["any", "match"] = "any"

    def apply(self, pairs: pl.DataFrame, targets: tuple[str, ...]) -> tuple[pl.DataFrame, dict[str, int]]:
        """The pairs left, and the dropped ones' number by reason. `targets`: the languages in target_language, or the
        one of all pairs where that column is missing."""
        rules = self._length_rules()
        if self.script == "match":
            rules[WRONG_SCRIPT] = _in_wrong_script(pairs, targets)
        if not rules:
            return pairs, {}
        judged = pairs.with_columns(reason=first_reason(rules))
        return judged.filter(pl.col("reason").is_null()).drop("reason"), count_reasons(judged["reason"])

    def _length_rules(self) -> dict[str, pl.Expr]:
        lengths = pl.col("source").str.len_chars(), pl.col("target").str.len_chars()
        rules = {}
        if self.min_characters is not None:
            rules[f"of less than {self.min_characters} characters"] = pl.min_horizontal(lengths) < self.min_characters
        if self.max_characters is not None:
            rules[f"of more than {self.max_characters} characters"] = pl.max_horizontal(lengths) > self.max_characters
        return rules


def _in_wrong_script(pairs: pl.DataFrame, targets: tuple[str, ...]) -> pl.Expr:
    if "target_language" not in pairs.columns:
        return _lacks_script(targets[0])
    found = pairs["target_language"].cast(pl.String).unique().sort()
    of_language = [(pl.col("target_language") == x) & _lacks_script(x) for x in found]
    return pl.any_horizontal(of_language) if of_language else pl.lit(False)


def _lacks_script(language: str) -> pl.Expr:
    """No letter of the language's scripts, or a letter of another; letters that all scripts share are no matter."""
    own = "".join(rf"\p{{scx={script}}}" for script in language_scripts(language))
    target = pl.col("target")
    return ~target.str.contains(rf"[\p{{L}}&&[{own}]]") | target.str.contains(
        rf"[\p{{L}}--[{own}\p{{Zyyy}}\p{{Zinh}}]]"
    )


def judge_licence(licence: str) -> str | None:
    """Why something under that licence is not for commercial use, or None where it is."""
    judged = pl.DataFrame({"licence": [licence]}).select(first_reason(_LICENCE_RULES))
    reason: str | None = judged.item()
    return reason


_LICENCE_RULES = {
    NO_COMMERCE: pl.col("licence").str.contains(_NON_COMMERCIAL),
    NO_LICENCE: pl.col("licence").str.contains(_UNKNOWN),
}


def keep_commercial(entries: pl.DataFrame) -> tuple[pl.DataFrame, dict[str, int]]:
    """The entries for commercial use, with the origins that allow it alone; the dropped ones' number by reason."""
    named = entries.with_columns(pl.col("origin", "licence").cast(pl.String))
    kinds = named.select("origin", "licence").unique().sort("origin", "licence")
    judged = pl.DataFrame(
        [(*kind, *_free_part(*kind)) for kind in kinds.iter_rows()],
        schema=dict.fromkeys(["origin", "licence", "free_origin", "free_licence", "reason"], pl.String),
        orient="row",
    )
    found = named.join(judged, on=["origin", "licence"], how="left", maintain_order="left")
    left = found.filter(pl.col("reason").is_null()).with_columns(origin="free_origin", licence="free_licence")
    return left.select(entries.columns), count_reasons(found["reason"])


def _free_part(origin: str, licence: str) -> tuple[str, str, str | None]:
    """Of joined origins and their licences those that allow commercial use; else why the first does not."""
    judged = [(name, of_name, judge_licence(of_name)) for name, of_name in split_origins(origin, licence)]
    free = [(name, of_name) for name, of_name, reason in judged if reason is None]
    names, licences = (JOINT.join(part) for part in zip(*free, strict=True)) if free else (origin, licence)
    return names, licences, None if free else judged[0][2]


def keep_frequent(
    entries: pl.DataFrame, token_counts: pl.DataFrame, least: int, language: str
) -> tuple[pl.DataFrame, int]:
    """The entries whose source occurs at least so often, and the number of the others.

    `token_counts`: `token` (folded, distinct) and `count`. A phrase occurs as often as the rarest of its words.
    """
    keys = entries.select("key").unique()
    text = pl.col("key")
    words = text.str.split(" ") if language in UNSPACED_LANGUAGES else text.str.extract_all(_WORD)
    spelt = keys.with_columns(token=words).explode("token")
    counted = spelt.join(token_counts.select("token", "count"), on="token", how="left")
    frequent = counted.group_by("key").agg(pl.col("count").fill_null(0).min()).filter(pl.col("count") >= least)
    left = entries.join(frequent.select("key"), on="key", how="semi", maintain_order="left")
    return left, len(entries) - len(left)
