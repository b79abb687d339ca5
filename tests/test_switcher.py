"""The kernel against the plain reference, and what must always hold of a switched batch."""

from itertools import product

import numpy as np
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from reference import switch as reference_switch
from reference import words_of

from csgen.errors import InputError
from csgen.lexicon.compiler import compile_table
from csgen.segment import segment_bounds
from csgen.switching.policy import Policy
from csgen.switching.spans import undo_switches
from csgen.switching.switcher import Switcher
from csgen.switching.treebank import treebank_bounds

COLUMNS = ("query_id", "query", "passage_id", "passage")
LANGUAGES = ("ar", "de", "ja")
WORDS = [
    "house", "the", "driving", "licence", "licence fee", "driving licence", "driving licence office", "free of charge",
    "of", "charge", "straße", "ΛΟΓΟΣ", "école", "don't", "l’eau", "b2b", "x", "extraordinarily", "extraordinarilylong",
    "internationalisation", "ёлка", "日本", "ﬁne", "Ⱥb",
]  # fmt: skip
TARGETS = ["Haus", "das", "führerschein", "straße", "ǆep", "رخصة القيادة", "免許", "i", "ﬀ", "a b c", "'s", "é"]


def entries(languages=LANGUAGES):
    rows = []
    for k, (word, language) in enumerate(product(WORDS, languages)):
        rows += [
            {
                "source": word, "target": TARGETS[(k * 5 + 7 * n) % len(TARGETS)], "target_language": language,
                "weight": [1.0, 0.5, 0.125][n], "rank": n,
            }
            for n in range((k * k) % 4)
        ]  # fmt: skip
    return rows


ENTRIES = entries()
TABLE = compile_table(pl.DataFrame(ENTRIES), "en")
SYNONYMS = entries(("en",))
SYNONYM_TABLE = compile_table(pl.DataFrame(SYNONYMS), "en")

JAPANESE = [
    {"source": word, "target": target, "target_language": language, "weight": 1.0, "rank": 1}
    for word, target, language in product(
        ["猫", "好き", "好き です", "東京", "行き", "日本", "house"], ["Haus", "قطة", "北"], ["de", "ar"]
    )
]
JAPANESE_TABLE = compile_table(pl.DataFrame(JAPANESE), "ja")

pieces = st.one_of(
    st.sampled_from([*WORDS, *(w.upper() for w in WORDS), *(w.title() for w in WORDS), "hoUse", "The", "9", "٣"]),
    st.sampled_from(
        [
            " ",
            " ",
            " ",
            " ",
            "  ",
            "\n",
            ", ",
            ". ",
            "'",
            "’",
            "-",
            "/",
            "_",
            "@",
            "()",
            "://",
            "::",
            "\u00a0",
            "\u3000",
        ]
    ),
    st.sampled_from(
        ["\u0301", "\u200d", "\U0001f469\u200d\U0001f680", "\u202e", "\x00", "\U0001d400", "=", "<b>", "e.g.", "("]
    ),
    st.characters(exclude_categories=["Cs"]),
)
texts = st.lists(pieces, max_size=40).map("".join)
policies = st.fixed_dictionaries(
    {
        "policy": st.sampled_from(["multilingual", "phrase", "bilingual"]),
        "probability": st.sampled_from([0.0, 0.3, 0.5, 1.0]),
        "redraw": st.booleans(),
        "translation": st.sampled_from(["weighted", "best", "uniform"]),
        "case": st.sampled_from(["carry", "lower"]),
        "protect": st.sets(st.sampled_from(["numbers", "urls", "code", "names"])).map(tuple),
        "max_words": st.integers(1, 5),
        "sides": st.sampled_from(["both", "both", "query"]),
        "seed": st.integers(0, 2**63 - 1),
    }
)


def make_policy(options):
    if options["policy"] == "bilingual":
        return Policy.from_options(options | {"query_languages": ("de",), "passage_languages": ("en",)})
    return Policy.from_options(options | {"languages": ("de", "en", "ar"), "language_weights": {"de": 2.5}})


def as_batch(rows):
    return pa.table({c: pa.array([r[i] for r in rows], pa.string()) for i, c in enumerate(COLUMNS)}).to_batches()[0]


def find_treebank_tokens(text):
    """(start, end) of every Treebank token, in characters; test_treebank.py holds them against NLTK's."""
    return decode_bounds(text, treebank_bounds)


def find_segments(text):
    """(start, end) of every word, as ICU's dictionaries find them."""
    return decode_bounds(text, None)


def decode_bounds(text, find_bounds):
    data = text.encode()
    offsets = np.array([0, len(data)], np.int32)
    if find_bounds is None:
        bounds, _ = segment_bounds(np.frombuffer(data, np.uint8), offsets, "ja")
    else:
        bounds, bound_offsets = np.empty(2 * len(data) + 16, np.int32), np.empty(2, np.int64)
        find_bounds(np.frombuffer(data + bytes(64), np.uint8), offsets, bounds, bound_offsets)
        bounds = bounds[: bound_offsets[1]]
    ends = [len(data[:end].decode()) for end in bounds]
    return list(zip(ends[0::2], ends[1::2], strict=True))


def check_against_reference(policy, table, lexicon, rows, epoch=0, find_words=words_of):
    result = Switcher(policy, table).switch(as_batch(rows), epoch=epoch, spans=True)
    for side in ("query", "passage"):
        for k, row in enumerate(rows):
            text, switches = reference_switch(
                policy, lexicon, dict(zip(COLUMNS, row, strict=True)), side, epoch, find_words
            )
            assert result.texts[side][k].as_py() == text
            noted = [tuple(s.values()) for s in result.switches[side][k].as_py()]
            assert noted == switches


ids = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20)
pairs = st.lists(st.tuples(ids, texts, ids, texts), min_size=1, max_size=4)


@settings(max_examples=400, deadline=None)
@given(policies, pairs, st.integers(0, 3))
def test_the_kernel_equals_the_reference_byte_for_byte(options, rows, epoch):
    check_against_reference(make_policy(options), TABLE, ENTRIES, rows, epoch)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 99), pairs)
def test_synonyms_equal_the_reference_byte_for_byte(seed, rows):
    policy = Policy.from_options({"policy": "synonym", "seed": seed})
    check_against_reference(policy, SYNONYM_TABLE, SYNONYMS, rows)


@settings(max_examples=200, deadline=None)
@given(policies, pairs)
def test_switching_treebank_tokens_equals_the_reference_byte_for_byte(options, rows):
    policy = make_policy(options | {"tokens": "treebank"})
    check_against_reference(policy, TABLE, ENTRIES, rows, find_words=find_treebank_tokens)


japanese = st.lists(
    st.sampled_from([*"猫が好きです。東京へ行きます私は", "日本", "house", " ", "ｶﾅ", "。", "9"]), max_size=30
).map("".join)


@settings(max_examples=60, deadline=None)
@given(policies, st.lists(st.tuples(ids, japanese, ids, japanese), min_size=1, max_size=3))
def test_switching_japanese_text_equals_the_reference_byte_for_byte(options, rows):
    policy = Policy.from_options(
        options | {"policy": "multilingual", "languages": ("de", "ar"), "source_language": "ja"}
    )
    check_against_reference(policy, JAPANESE_TABLE, JAPANESE, rows, find_words=find_segments)


@settings(max_examples=100, deadline=None)
@given(policies, pairs)
def test_undoing_the_switches_restores_every_text(options, rows):
    batch = as_batch(rows)
    result = Switcher(make_policy(options), TABLE).switch(batch, spans=True)
    for side in ("query", "passage"):
        assert undo_switches(result.texts[side], result.switches[side]).equals(batch[side])


@settings(max_examples=50, deadline=None)
@given(policies, pairs, st.data())
def test_a_pair_is_switched_alike_wherever_it_stands(options, rows, data):
    switcher = Switcher(make_policy(options), TABLE)
    order = data.draw(st.permutations(range(len(rows))))
    whole = switcher.switch(as_batch(rows))
    moved = switcher.switch(as_batch([rows[k] for k in order]).slice(len(rows) // 2))
    for side in ("query", "passage"):
        assert moved.texts[side].to_pylist() == [whole.texts[side][k].as_py() for k in order[len(rows) // 2 :]]


def test_a_passage_of_10_megabytes_is_switched_and_restored():
    batch = as_batch([("q", "house", "p", "the house of 日本 " * 600_000)])
    result = Switcher(Policy.from_options({"languages": ("de",), "probability": 1.0}), TABLE).switch(batch, spans=True)
    assert result.counts["passage"].realised_ratio > 0.4
    assert undo_switches(result.texts["passage"], result.switches["passage"]).equals(batch["passage"])


def test_an_empty_batch_stays_empty():
    result = Switcher(Policy.from_options({"languages": ("de",)}), TABLE).switch(
        as_batch([("q", "", "p", "")]).slice(0, 0)
    )
    assert len(result.texts["passage"]) == 0


def test_each_epoch_draws_anew():
    switcher = Switcher(Policy.from_options({"languages": ("de", "ar")}), TABLE)
    batch = as_batch([("q", "house", "p", "the house " * 50)])
    assert switcher.switch(batch, epoch=0).texts["passage"] != switcher.switch(batch, epoch=1).texts["passage"]


def test_a_language_that_the_lexicon_lacks_is_named():
    with pytest.raises(InputError, match="no translations from en into fr; it has ar, de, ja"):
        Switcher(Policy.from_options({"languages": ("fr",)}), TABLE)


def test_protected_words_stay_as_they_are():
    policy = Policy.from_options({"languages": ("de", "ar"), "probability": 1.0, "max_words": 5, "seed": 1})
    batch = as_batch([("q", "", "p", "free of charge " * 20)])
    assert Switcher(policy, TABLE).switch(batch).texts["passage"][0].as_py() != "free of charge " * 20
    result = Switcher(policy, TABLE.without(["FREE of Charge", "of", "charge", "never seen"])).switch(batch)
    assert result.texts["passage"][0].as_py() == "free of charge " * 20


def test_lone_surrogates_cannot_reach_the_switcher():
    with pytest.raises(UnicodeEncodeError):
        as_batch([("q", "a \ud800", "p", "")])
