"""The compiled Treebank tokenisation against NLTK's own, which here gives the expected bounds."""

import gzip
import json
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from csgen.characters import CLASS_PAGES, CLASS_VALUES
from csgen.switching.treebank import treebank_tokens

nltk_tokenize = pytest.importorskip("nltk.tokenize", reason="NLTK is not installed: pip install 'csgen[bench]'")
TOKENIZER = nltk_tokenize.TreebankWordTokenizer()
DATA = Path(__file__).parents[1].parent / "shared" / "data"

SPECIALS = "\"'`.,:;@#$%&?!()[]{}<>-_ \t\n\r\x00\x1c\x1f\x85\u00a0\u2003\u2028\u3000"
LETTERS = "sSmMdDtTnNaAz0179éßٳ५\u0301\u200b“’。😀İıſ"
PIECES = (
    *(
        "''",
        "``",
        "...",
        "--",
        ".\n",
        "' ",
        " '",
        "n't",
        "N'T ",
        "n'T",
        "'s ",
        "'S",
        "'ll ",
        "'LL ",
        "'Ll",
        "'re ",
        "'ve ",
    ),
    *(
        "cannot",
        "Cannot",
        "CANNOT",
        "gimme",
        "gİmme",
        "gımme",
        "gonna",
        "Gotta",
        "lemme",
        "wanna",
        "wanna ",
        "wanna\u2003",
    ),
    *(
        "d'ye",
        "D'Ye",
        "more'n",
        "More'N",
        " 'tis",
        " 'TIS",
        " 'tıſ",
        " 'twas",
        "'tWaS",
        "'tis",
        "\t'tis",
        "can",
        "not",
        "'t",
    ),
    *("(a)", "U.S.", ".)", '."', ".'", ".''", "a's", "x'", "1,000", "3:4", ",,", ":,:", "$3.88"),
)
special_text = st.lists(st.sampled_from(SPECIALS + LETTERS) | st.sampled_from(PIECES), max_size=24).map("".join)
any_text = st.text(st.characters(exclude_categories=["Cs", "Cn"]), max_size=60)


def expected_tokens(text: str) -> list[str]:
    """NLTK's tokens as they stand in the text, where it has `` and '' for a quotation mark."""
    found, position = [], 0
    for token in TOKENIZER.tokenize(text):
        while text[position].isspace():
            position += 1
        spellings = ("``", "''", '"') if token in ("``", "''") else (token,)
        found.append(next(s for s in spellings if text.startswith(s, position)))
        position += len(found[-1])
    assert not text[position:].strip()
    return found


def found_bounds(texts: list[str]) -> Iterator[tuple[bytes, list[tuple[int, int]]]]:
    encoded = [text.encode() for text in texts]
    data = np.frombuffer(b"".join(encoded), np.uint8)
    offsets = np.concatenate([[0], np.cumsum([len(e) for e in encoded])]).astype(np.int64)
    starts, ends = np.full((2, len(data) + 1), -1, np.int32)
    token_offsets = np.full(len(offsets), -1, np.int64)
    count = treebank_tokens(data, offsets, starts, ends, token_offsets, (CLASS_PAGES, CLASS_VALUES))
    assert token_offsets[0] == 0
    assert token_offsets[-1] == count
    bounds = list(zip(starts[:count].tolist(), ends[:count].tolist(), strict=True))
    for whole, (first, last) in zip(encoded, pairwise(token_offsets.tolist()), strict=True):
        yield whole, bounds[first:last]


def found_tokens(texts: list[str]) -> list[list[str]]:
    return [[whole[a:b].decode() for a, b in bounds] for whole, bounds in found_bounds(texts)]


@settings(max_examples=5000, deadline=None)
@given(special_text)
def test_tokens_of_text_full_of_special_characters_equal_those_of_nltk(text: str) -> None:
    assert found_tokens([text]) == [expected_tokens(text)]


@settings(max_examples=2000, deadline=None)
@given(any_text)
def test_tokens_of_any_text_equal_those_of_nltk(text: str) -> None:
    assert found_tokens([text]) == [expected_tokens(text)]


@settings(max_examples=300, deadline=None)
@given(st.lists(special_text | any_text, max_size=8))
def test_bounds_are_in_order_and_leave_out_white_space_alone(texts: list[str]) -> None:
    for whole, bounds in found_bounds(texts):
        edges = [edge for pair in bounds for edge in pair]
        assert edges == sorted(edges)
        assert all(start < end for start, end in bounds)
        gaps = pairwise([0, *edges, len(whole)])
        assert not b"".join(whole[a:b] for a, b in list(gaps)[::2]).decode().strip()


@settings(max_examples=300, deadline=None)
@given(st.lists(special_text, max_size=8))
def test_a_text_has_the_same_tokens_alone_and_among_others(texts: list[str]) -> None:
    assert found_tokens(texts) == [tokens for text in texts for tokens in found_tokens([text])]


@pytest.mark.parametrize("collection", ["squad-pairs", "medquad-pairs"])
def test_tokens_of_real_texts_equal_those_of_nltk(collection: str) -> None:
    path = DATA / collection / "pairs.jsonl.gz"
    if not path.exists():
        pytest.skip(f"{path} is absent")
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        rows = [json.loads(line) for line in lines][::4]  # NLTK takes half a minute for all of them
    texts = list(dict.fromkeys(row[field] for row in rows for field in ("query", "passage")))
    for text, tokens in zip(texts, found_tokens(texts), strict=True):
        assert tokens == expected_tokens(text)


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ('"Well," she can\'t say.', ['"', "Well", ",", '"', "she", "ca", "n't", "say", "."]),
        ("It cost $3,400.50 (net)...", ["It", "cost", "$", "3,400.50", "(", "net", ")", "..."]),
        ("'Tis more'n I'd've paid", ["'T", "is", "more", "'n", "I'd", "'ve", "paid"]),
        ("'tis'tis'twas", ["'t", "is", "'tis'twas"]),
        ("'tis'twas'tis", ["'t", "is", "'t", "was", "'tis"]),
        ("x's' y", ["x", "'s", "'", "y"]),
        ("a,,b", ["a", ",", ",b"]),
        ("....)", ["...", ".", ")"]),
        ("end.\x1c\n", ["end."]),
        ("end.\u2003\n", ["end", "."]),
        ("gİmme 'tıſ", ["gİm", "me", "'t", "ıſ"]),
        ("", []),
        (" \u3000\n", []),
    ],
)
def test_tokens_of(text: str, tokens: list[str]) -> None:
    assert found_tokens([text]) == [tokens]
    assert expected_tokens(text) == tokens


def test_text_may_start_anywhere_in_the_data() -> None:
    data = np.frombuffer(b"skipped can't", np.uint8)
    starts, ends = np.zeros((2, 6), np.int32)
    token_offsets = np.zeros(2, np.int64)
    assert treebank_tokens(data, np.array([8, 13]), starts, ends, token_offsets, (CLASS_PAGES, CLASS_VALUES)) == 2
    assert (starts[:2].tolist(), ends[:2].tolist()) == ([0, 2], [2, 5])


def test_a_digit_newer_than_the_character_tables_is_cut_from_a_comma_before_it() -> None:
    text = "1,\U00011f51"  # KAWI DIGIT ONE, of 2022
    assert found_tokens([text]) == [["1", ",", "\U00011f51"]]
    assert expected_tokens(text) == [text]


def test_invalid_utf8_is_no_harm() -> None:
    data = np.frombuffer(b"a,\xf7\xbf\xbf\xbf 'n \xc2", np.uint8)
    starts, ends = np.zeros((2, len(data) + 1), np.int32)
    token_offsets = np.zeros(2, np.int64)
    offsets = np.array([0, len(data)])
    assert treebank_tokens(data, offsets, starts, ends, token_offsets, (CLASS_PAGES, CLASS_VALUES)) > 0
