"""Texts put into English word by word, the paper's translate-test: each word by its best translation in a lexicon.

Knows no query and no passage: a text becomes the same wherever it stands.
"""

from collections.abc import Iterable

import polars as pl

from csgen.errors import InputError
from csgen.lexicon.ways import PIVOT
from csgen.switching.policy import Policy
from eval.variants.robustness import open_switchers, switch_texts

ENGLISH = PIVOT

_BLOCK_TEXTS = 50_000  # of which Arrow's strings hold 2 GB at most


class Translator:
    """A lexicon that leads into English, ready to translate texts."""

    def __init__(self, lexicon: str) -> None:
        """Raises InputError where the lexicon leads into English from no other language."""
        policy = Policy.from_options({"languages": (ENGLISH,), "probability": 1.0, "translation": "best"})
        self._switchers = open_switchers(lexicon, policy)
        self._switchers.pop(ENGLISH, None)  # of synonyms
        if not self._switchers:
            message = f"has no translations into {ENGLISH}; csgen lexicon turn makes them of those from {ENGLISH}"
            raise InputError.at(lexicon, None, message)

    def list_untranslated(self, languages: Iterable[str]) -> list[str]:
        """Those of these languages, beside English, whose texts stay as they are; sorted."""
        return sorted({*languages} - {ENGLISH, *self._switchers})

    def translate(self, texts: pl.Series, languages: pl.Series) -> pl.Series:
        """The texts in their order, each from its language; what is English or cannot be translated stays."""
        translated = texts.clone()
        for language in languages.unique().sort():
            if language in self._switchers:
                rows = (languages == language).arg_true()
                own = pl.DataFrame({"text": texts.gather(rows)}).with_columns(query_id=pl.lit(""))
                blocks = [switch_texts(block, self._switchers[language]) for block in own.iter_slices(_BLOCK_TEXTS)]
                translated = translated.scatter(rows, pl.concat(blocks))
        return translated
