"""Code-switched, latinised and misspelt queries, and the variants of an experiment file."""

import sys
import unicodedata

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter

from csgen.config import StageConfig
from csgen.errors import InputError
from csgen.lexicon.compiler import compile_table
from csgen.lexicon.table import write_table
from csgen.switching.policy import Policy
from eval.variants.misspelling import _NEIGHBOURS, misspell
from eval.variants.robustness import (
    CodeSwitched,
    Expanded,
    Latinised,
    Misspelt,
    Variant,
    apply_variant,
    check_variant,
    code_switch,
    inputs,
    latinise,
)

SCHEMA = {"query_id": pl.String, "language": pl.String, "text": pl.String}
LONG_WORDS = [
    "house", "install", "Straße", "ÉCOLE", "e\u0301cole", "установить", "مكتبة", "مُدَرِّسَة", "می\u200cخواهم",
    "प्रोग्रामिंग", "스크립트", "ライブラリー", "日本語入力", "ไม่เป็นไร", "aaaa", "ΣΣΣς", "\u0301\u0301eeee",
]  # fmt: skip
WORDS = [
    *LONG_WORDS, "Как", "cat", "2024", "b2b", "https://a.org/house", "foo_bar", "\u0301\u0301", "👩\u200d🚀",
    "-", ".", ",", "'", "\n",
]  # fmt: skip
texts = st.lists(
    st.one_of(st.sampled_from(WORDS), st.just(" "), st.characters(exclude_categories=["Cs"])), max_size=12
).map("".join)
rows = st.lists(st.tuples(st.text("abc", min_size=1, max_size=3), st.sampled_from(["en", "ja"]), texts), max_size=6)


def as_queries(rows):
    return pl.DataFrame(rows, SCHEMA, orient="row")


def one_query(text, language="en", query_id="q1"):
    return as_queries([(query_id, language, text)])


def misspell_text(text, rate=1.0, seed=0):
    return misspell(one_query(text), rate, seed)["text"].item()


def latinise_text(text):
    return latinise(one_query(text))["text"].item()


def check_row_by_row(vary, rows, data):
    """Each row alone, and any of them in any order, become what they become among all."""
    whole = vary(as_queries(rows)).rows()
    assert [vary(as_queries([row])).row(0) for row in rows] == whole
    picked = data.draw(st.permutations(range(len(rows)))) if rows else []
    picked = picked[len(rows) // 3 :]
    assert vary(as_queries([rows[k] for k in picked])).rows() == [whole[k] for k in picked]


@pytest.fixture(scope="module")
def lexicon(tmp_path_factory):
    """Tables of en into de and it, and of de into en."""
    folder = str(tmp_path_factory.mktemp("lexicon"))

    def write(source, words):
        entries = [
            {"source": word, "target": target, "target_language": language, "weight": 1.0, "rank": 1}
            for (word, language), target in words.items()
        ]
        write_table(compile_table(pl.DataFrame(entries), source), folder)

    write("en", {("house", "de"): "Haus", ("red", "de"): "rot", ("house", "it"): "casa", ("red", "it"): "rosso"})
    write("de", {("Haus", "en"): "house"})
    return folder


def make_policy(*languages, **options):
    return Policy.from_options({"languages": languages, "probability": 1.0} | options)


# Code-switched.


def test_queries_are_switched_into_the_language_of_the_policy(lexicon):
    switched = code_switch(one_query("Red HOUSE of 2024"), lexicon, make_policy("de"))
    assert switched["text"].to_list() == ["Rot HAUS of 2024"]


def test_each_query_is_switched_from_its_own_language(lexicon):
    queries = as_queries([("q1", "en", "red house"), ("q2", "de", "rotes Haus")])
    assert code_switch(queries, lexicon, make_policy("en", "it"))["text"].to_list()[1] == "rotes House"


def test_queries_in_languages_without_a_table_are_left_out(lexicon):
    queries = as_queries([("q2", "fr", "maison"), ("q3", "en", "house"), ("q1", "en", "red"), ("q4", "ja", "家")])
    switched = code_switch(queries, lexicon, make_policy("de"))
    assert switched.rows() == [("q3", "en", "Haus"), ("q1", "en", "rot")]


def test_queries_whose_table_leads_into_no_language_of_the_policy_are_left_out(lexicon):
    queries = as_queries([("q1", "de", "Haus"), ("q2", "en", "house")])
    assert code_switch(queries, lexicon, make_policy("it"))["query_id"].to_list() == ["q2"]


def test_no_query_that_can_be_switched_gives_an_empty_frame(lexicon):
    switched = code_switch(one_query("maison", "fr"), lexicon, make_policy("de"))
    assert (switched.height, dict(switched.schema)) == (0, SCHEMA)


def test_a_language_that_no_table_has_is_refused(lexicon):
    with pytest.raises(InputError, match="no translations into fr; it has de, en, it"):
        code_switch(one_query("house"), lexicon, make_policy("de", "fr"))


def test_a_folder_without_a_lexicon_is_refused(tmp_path):
    with pytest.raises(InputError, match="no lexicon there; build one with csgen lexicon build"):
        code_switch(one_query("house"), str(tmp_path), make_policy("de"))


def test_a_target_ratio_is_refused_for_queries(lexicon):
    with pytest.raises(InputError, match="switched with a probability"):
        code_switch(one_query("house"), lexicon, Policy.from_options({"languages": ("de",), "target_ratio": 0.5}))


def test_protected_words_of_a_policy_stay_in_queries(lexicon, tmp_path):
    (tmp_path / "words").write_text("house\n")
    policy = make_policy("de", protected_words=str(tmp_path / "words"))
    assert code_switch(one_query("red house"), lexicon, policy)["text"].item() == "rot house"


def test_the_switched_words_are_drawn_by_the_id_of_the_query_and_the_seed(lexicon):
    def switch(query_id, seed):
        policy = make_policy("de", "it", probability=0.5, seed=seed)
        return code_switch(one_query("red house " * 20, query_id=query_id), lexicon, policy)["text"].item()

    assert switch("q1", 1) == switch("q1", 1)
    assert len({switch("q1", 1), switch("q2", 1), switch("q1", 2)}) == 3


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.text("abc", min_size=1), st.just("en"), texts), max_size=5), st.data())
def test_a_query_is_switched_alike_among_any_others(lexicon, rows, data):
    policy = make_policy("de", "it", probability=0.5)
    check_row_by_row(lambda queries: code_switch(queries, lexicon, policy), rows, data)


def test_switching_with_probability_0_changes_nothing(lexicon):
    queries = as_queries([("q1", "en", "red house"), ("q2", "en", "")])
    assert code_switch(queries, lexicon, make_policy("de", probability=0.0)).equals(queries)


# Latinised.


@pytest.mark.parametrize(
    ("text", "latin"),
    [
        ("Как установить пакет?", "Kak ustanovit' paket?"),
        ("مكتبة", "mktbh"),
        ("カ\u3099ラス", "garasu"),
        ("über die Straße", "uber die Strasse"),
        ("cafe\u0301", "cafe"),
        ("https://a.org/x 2024", "https://a.org/x 2024"),
        ("٢٠٢٤", "2024"),
        ("", ""),
        (" ", " "),
        ("\ue000", "\ue000"),
    ],
)
def test_text_in_any_script_becomes_ascii(text, latin):
    assert latinise_text(text) == latin


@settings(max_examples=100, deadline=None)
@given(rows, st.data())
def test_a_query_is_latinised_alike_among_any_others(rows, data):
    check_row_by_row(latinise, rows, data)


@settings(max_examples=100, deadline=None)
@given(texts)
def test_latinised_text_is_empty_only_where_the_query_is(text):
    assert bool(latinise_text(text)) == bool(text)


def test_a_missing_library_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "anyascii", None)
    with pytest.raises(InputError, match=r"latinised queries need anyascii: pip install 'csgen\[eval\]'"):
        latinise(one_query("дом"))


# Misspelt.


def test_a_rate_of_1_puts_one_typo_into_each_word_of_4_or_more_letters():
    assert misspell_text("How do I install the drivers?") == "How do I insstall the driverrs?"
    assert misspell_text("Как установить новый пакет") == "Как становить новыы паакет"


def test_numbers_urls_and_code_stay():
    text = "https://a.org/install mail@house.de node.js 20244 word2vec install_all"
    assert misspell_text(text) == text


def test_a_short_word_stays():
    text = "cat, dog: mäh don't l'eau 日本語 كتب ca\u0301t"
    assert misspell_text(text) == text


@pytest.mark.parametrize(("rate", "share"), [(0.1, 0.1), (0.5, 0.5), (0.9, 0.9)])
def test_the_share_of_words_with_a_typo_is_the_rate(rate, share):
    words = misspell_text("house " * 4000, rate).split()
    assert sum(word != "house" for word in words) / 4000 == pytest.approx(share, abs=0.025)


def test_all_kinds_of_typos_are_alike_frequent():
    lengths = [len(word) for word in misspell_text("house " * 4000).split()]
    assert [lengths.count(n) / 4000 for n in (4, 5, 6)] == pytest.approx([0.25, 0.5, 0.25], abs=0.025)


def test_a_replaced_latin_letter_becomes_a_neighbour_on_the_keyboard():
    replaced = {word for word in misspell_text("ÉÉÉÉ " * 300).split() if len(word) == 4}
    assert {*"".join(replaced)} == {*"ÉWRSD"}


def test_a_replaced_letter_of_another_script_becomes_another_of_the_word():
    assert all({*word} <= {*"пакет"} for word in misspell_text("пакет " * 300).split())


def test_the_keyboard_is_symmetric_and_touches_as_on_a_desk():
    assert all(key in _NEIGHBOURS[other] for key, others in _NEIGHBOURS.items() for other in others)
    assert [{*_NEIGHBOURS[key]} for key in "qgmp"] == [{*"wa"}, {*"ftyhbv"}, {*"njk"}, {*"ol"}]


def test_a_letter_keeps_its_marks():
    words = misspell_text("e\u0301e\u0301e\u0301e\u0301 " * 300).split()
    assert {unicodedata.normalize("NFC", word) for word in words if len(word) % 2 == 0} == {"ééé", "ééééé"}


def test_in_a_script_without_spaces_each_four_letters_count_as_a_word():
    text = "スーパーマーケットで買う2024年"
    typo = misspell_text(text)
    assert typo == "ースパーーマケットでう2024年"
    assert misspell_text("日本語") == "日本語"


def test_the_typos_are_drawn_by_the_id_of_the_query_and_the_seed():
    def vary(query_id, seed):
        return misspell(one_query("install house drivers " * 5, query_id=query_id), 0.5, seed)["text"].item()

    assert vary("q1", 1) == vary("q1", 1)
    assert len({vary("q1", 1), vary("q2", 1), vary("q1", 2)}) == 3


@settings(max_examples=150, deadline=None)
@given(rows, st.sampled_from([0.0, 0.5, 1.0]), st.integers(0, 2**63 - 1), st.data())
def test_a_query_is_misspelt_alike_among_any_others(rows, rate, seed, data):
    check_row_by_row(lambda queries: misspell(queries, rate, seed), rows, data)


@settings(max_examples=150, deadline=None)
@given(rows, st.integers(0, 99))
def test_ids_languages_and_order_stay_and_a_rate_of_0_changes_nothing(rows, seed):
    queries = as_queries(rows)
    assert misspell(queries, 0.0, seed).equals(queries)
    assert misspell(queries, 1.0, seed).drop("text").equals(queries.drop("text"))


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(LONG_WORDS), st.integers(0, 2**63 - 1))
def test_every_drawn_word_changes_and_none_vanishes(word, seed):
    typo = misspell_text(word, 1.0, seed)
    assert typo != word
    assert typo.strip()


@settings(max_examples=60, deadline=None)
@given(st.lists(st.sampled_from(["install", "Straße", "пакет", "مكتبة", "cat"]), min_size=1), st.integers(0, 99))
def test_a_higher_rate_hits_the_same_words_and_more(words, seed):
    some, more, whole = (misspell_text(" ".join(words), rate, seed).split() for rate in (0.3, 0.7, 1.0))
    assert all(a in (word, b) and b in (word, c) for word, a, b, c in zip(words, some, more, whole, strict=True))


# Variants of an experiment.


class Holder(StageConfig):
    variants: tuple[Variant, ...] = ()


def test_variants_are_told_apart_by_their_kind_and_are_named_by_it():
    given = [
        {"kind": "code-switched", "lexicon": "lexicon", "languages": ["de", "it"], "probability": 0.3, "seed": 7},
        {"kind": "latinised", "name": "latin letters"},
        {"kind": "misspelt", "rate": 0.2},
        {"kind": "expanded", "file": "expansions.jsonl", "mode": "replace"},
    ]
    variants = Holder.from_options({"variants": given}).variants
    assert [type(one) for one in variants] == [CodeSwitched, Latinised, Misspelt, Expanded]
    assert [one.name for one in variants] == ["code-switched", "latin letters", "misspelt", "expanded"]
    assert [inputs(one) for one in variants] == [["lexicon"], [], [], ["expansions.jsonl"]]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"kind": "mirrored"}, "expected tags"),
        ({"kind": "misspelt", "rate": 1.5}, "less than or equal to 1"),
        ({"kind": "misspelt"}, "rate"),
        ({"kind": "latinised", "speed": 1}, "speed"),
        ({"kind": "latinised", "name": "a/b"}, "pattern"),
        ({"kind": "expanded", "file": "x", "repeat": 0}, "greater than or equal to 1"),
        ({"kind": "code-switched", "lexicon": "x", "languages": ["de", "de"]}, "de, de names a language twice"),
    ],
)
def test_a_variant_that_is_wrong_is_refused(given, message):
    with pytest.raises(ValueError, match=message):
        TypeAdapter(Variant).validate_python(given)


def test_every_field_of_a_variant_is_described():
    for model in (CodeSwitched, Latinised, Misspelt, Expanded):
        assert all(field.description for field in model.model_fields.values())


def test_a_switched_variant_tells_what_it_left_out(lexicon):
    queries = as_queries([("q1", "en", "house"), ("q2", "fr", "maison"), ("q3", "en", "cat"), ("q4", "ja", "家")])
    variant = CodeSwitched(lexicon=lexicon, languages=("de",), probability=1.0)
    varied = apply_variant(variant, queries)
    assert varied.queries.rows() == [("q1", "en", "Haus"), ("q3", "en", "cat")]
    assert varied.left_out == 2
    assert varied.note == f"1 of 2 queries changed; 2 left out: {lexicon} has no translations from fr, ja"


def test_a_lexicon_that_serves_no_language_of_a_benchmark_is_refused(lexicon):
    variant = CodeSwitched(lexicon=lexicon, languages=("de",))
    check_variant(variant, as_queries([("q1", "en", "house"), ("q1", "fr", "maison")]))
    with pytest.raises(InputError, match="has no translations from fr, ja, the languages of the queries"):
        check_variant(variant, as_queries([("q1", "ja", "家"), ("q1", "fr", "maison")]))


def test_latinised_and_misspelt_variants_leave_nothing_out():
    queries = as_queries([("q1", "en", "house"), ("q2", "ru", "дом")])
    latin, typos = (apply_variant(one, queries) for one in (Latinised(), Misspelt(rate=1.0)))
    assert (latin.queries["text"].to_list(), latin.left_out, latin.note) == (
        ["house", "dom"],
        0,
        "1 of 2 queries changed",
    )
    assert (typos.queries["text"][1], typos.left_out, typos.note) == ("дом", 0, "1 of 2 queries changed")


def test_the_carried_lexicon_switches_english_queries(sample_lexicon, sample_rows):
    queries = as_queries([(row["query_id"], "en", row["query"]) for row in sample_rows])
    variant = CodeSwitched(lexicon=sample_lexicon, languages=("de", "it"), probability=1.0)
    varied = apply_variant(variant, queries)
    assert varied.queries["query_id"].to_list() == queries["query_id"].to_list()
    assert (varied.queries["text"] != queries["text"]).mean() > 0.9
