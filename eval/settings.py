"""The settings of an evaluation: MoIR, CLIR and MLIR as cells, and which language each id of a cell has.

Knows languages and ids; no text, no run and no measure.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import polars as pl

from csgen.errors import InputError
from csgen.sources.draws import counter, hash_texts, mix

Setting = Literal["MoIR", "CLIR", "MLIR"]
SEVERAL, ALL = "xx", "all"  # how a side of several languages, and of all languages at once, is written

_SALTS = {"query": 1, "passage": 2}


@dataclass(frozen=True)
class Cell:
    """One reading of a setting. A side of several languages draws one for each id.

    With `pooled`, the passages of all languages are there at once, and their ids are LANGUAGE/ID.
    """

    setting: Setting
    name: str
    query_languages: tuple[str, ...]
    passage_languages: tuple[str, ...]
    pooled: bool = False
    seed: int = 0

    @property
    def query_language(self) -> str:
        """The language of the queries; `xx` where they are in several."""
        return self.query_languages[0] if len(self.query_languages) == 1 else SEVERAL

    @property
    def passage_language(self) -> str:
        """The language of the passages; `xx` where each is in one of several, `all` where each is in all of them."""
        if self.pooled:
            return ALL
        return self.passage_languages[0] if len(self.passage_languages) == 1 else SEVERAL


def bilingual_cell(query_language: str, passage_language: str) -> Cell:
    """MoIR where both languages are one, else CLIR."""
    setting: Setting = "MoIR" if query_language == passage_language else "CLIR"
    return Cell(setting, f"{query_language}-{passage_language}", (query_language,), (passage_language,))


def multilingual_cell(sides: str, languages: Sequence[str], name: str, english: str, seed: int) -> Cell:
    """An MLIR cell: `sides` is one of xx-en, en-xx, xx-xx, en-all, xx-all; `en` stands for the language `english`."""
    query, _, passage = sides.partition("-")
    one, several = (english,), tuple(languages)
    shown = {"en": english}
    return Cell(
        "MLIR",
        f"{shown.get(query, query)}-{shown.get(passage, passage)}.{name}",
        several if query == SEVERAL else one,
        one if passage == "en" else several,
        passage == ALL,
        seed,
    )


def parse_pair(text: str, query_languages: Sequence[str], passage_languages: Sequence[str]) -> tuple[str, str]:
    """The languages of a pair written QUERY-PASSAGE, such as de-en or pt-BR-en."""
    parts = text.split("-")
    for cut in range(1, len(parts)):
        query, passage = "-".join(parts[:cut]), "-".join(parts[cut:])
        if query in query_languages and passage in passage_languages:
            return query, passage
    raise InputError(
        f"no pair of languages {text!r}: expected QUERY-PASSAGE with queries in {', '.join(query_languages)} "
        f"and passages in {', '.join(passage_languages)}"
    )


def draw_languages(ids_by_language: dict[str, pl.Series], seed: int, side: Literal["query", "passage"]) -> pl.DataFrame:
    """`id, language`: each id draws one of the languages that have it; sorted by id.

    A draw is a function of (seed, side, id, language) alone, and the smallest wins (rendezvous hashing): a language
    that joins takes over its own share of the ids and moves no other.
    """
    salt = mix(np.full(1, counter(seed + 1)) ^ np.uint64(_SALTS[side]))[0]
    drawn = []
    for language, ids in ids_by_language.items():
        own = mix(hash_texts(pl.Series([language])) ^ salt)[0]
        draws = pl.Series(mix(hash_texts(ids) ^ own), dtype=pl.UInt64)
        drawn.append(pl.DataFrame({"id": ids, "language": [language] * len(ids), "draw": draws}))
    if not drawn:
        return pl.DataFrame(schema={"id": pl.String, "language": pl.String})
    all_draws = pl.concat(drawn).sort("id", "draw", "language")
    return all_draws.unique("id", keep="first", maintain_order=True).select("id", "language")
