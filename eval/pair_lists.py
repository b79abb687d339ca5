"""The language pairs and sets of languages of "Boosting Zero-shot Cross-lingual Retrieval by Training on Artificially
Code-Switched Data" (https://arxiv.org/abs/2305.05295), by name, for mMARCO. Knows no texts.
"""

Pair = tuple[str, str]  # the language of the queries, that of the passages

# Seen: languages that multilingual code-switching trains on, and English. The paper writes Vietnamese as "vt".
_SEEN = "en de it nl ru ar"
_SEEN_PAIRS = "en-de en-it en-ar en-ru de-it de-nl de-ru ar-it ar-ru"
_UNSEEN = "fr id es pt zh"
_UNSEEN_PAIRS = "fr-en id-nl es-fr en-pt de-vi it-zh fr-pt id-vi pt-zh"

# The sets that MLIR draws the language of each query or passage from.
LANGUAGE_SETS: dict[str, tuple[str, ...]] = {
    "paper-6": tuple(_SEEN.split()),
    "paper-14": ("ar", "zh", "nl", "en", "fr", "de", "hi", "id", "it", "ja", "pt", "ru", "es", "vi"),  # all of mMARCO's
}


def _list_pairs(languages: str, pairs: str) -> tuple[Pair, ...]:
    """Each language with itself, as in MoIR, then the pairs of CLIR."""
    split = (pair.partition("-") for pair in pairs.split())
    return (*((one, one) for one in languages.split()), *((query, passage) for query, _, passage in split))


PAIR_LISTS: dict[str, tuple[Pair, ...]] = {
    "paper-seen": _list_pairs(_SEEN, _SEEN_PAIRS),
    "paper-unseen": _list_pairs(_UNSEEN, _UNSEEN_PAIRS),
}
