"""Whether a lexicon leads from one language to another: directly, turned round, or through English."""

from collections.abc import Iterable

PIVOT = "en"


def has_way(pairs: Iterable[tuple[str, str]], one: str, other: str) -> bool:
    """Whether entries with these pairs of languages translate between two languages; regions make no difference."""
    known = {frozenset(map(_primary, pair)) for pair in pairs}
    ends = {_primary(one), _primary(other)}
    return ends in known or all(end == PIVOT or frozenset((end, PIVOT)) in known for end in ends)


def _primary(language: str) -> str:
    return language.partition("-")[0]
