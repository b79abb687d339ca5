"""Ways between languages through a lexicon."""

import pytest

from csgen.lexicon.ways import has_way


@pytest.mark.parametrize(
    ("one", "other", "leads"),
    [
        ("en", "de", True),
        ("de", "en", True),
        ("de", "fr", True),
        ("fr-CA", "en", True),
        ("it", "es", True),
        ("it", "en", False),
        ("de", "it", False),
        ("en", "ja", False),
    ],
)
def test_a_way_is_direct_or_turned_round_or_through_english(one, other, leads):
    assert has_way([("en", "de"), ("en", "fr"), ("es", "it")], one, other) is leads
