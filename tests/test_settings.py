"""Settings as cells: names, languages, and the draws of MLIR."""

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from csgen.errors import InputError
from eval.settings import bilingual_cell, draw_languages, multilingual_cell, parse_pair

IDS = pl.Series([f"q{number}" for number in range(2000)])
LANGUAGES = ("ar", "de", "it", "ru")


def draw(languages=LANGUAGES, ids=IDS, seed=1, side="query"):
    return draw_languages(dict.fromkeys(languages, ids), seed, side)


def test_one_language_on_both_sides_is_moir_and_two_are_clir():
    assert bilingual_cell("de", "de").setting == "MoIR"
    assert (bilingual_cell("de", "en").setting, bilingual_cell("de", "en").name) == ("CLIR", "de-en")


@pytest.mark.parametrize(
    ("sides", "name", "queries", "passages", "pooled"),
    [
        ("xx-en", "xx-en.2", ("de", "it"), ("en",), False),
        ("en-xx", "en-xx.2", ("en",), ("de", "it"), False),
        ("xx-xx", "xx-xx.2", ("de", "it"), ("de", "it"), False),
        ("en-all", "en-all.2", ("en",), ("de", "it"), True),
        ("xx-all", "xx-all.2", ("de", "it"), ("de", "it"), True),
    ],
)
def test_sides_name_the_languages_of_an_mlir_cell(sides, name, queries, passages, pooled):
    cell = multilingual_cell(sides, ("de", "it"), "2", "en", seed=1)
    assert (cell.name, cell.query_languages, cell.passage_languages, cell.pooled) == (name, queries, passages, pooled)


def test_the_language_called_en_may_be_another():
    assert multilingual_cell("xx-en", ("de", "it"), "2", "fr", seed=1).name == "xx-fr.2"


def test_a_side_of_several_languages_is_xx_and_a_pool_is_all():
    cell = multilingual_cell("xx-all", ("de", "it"), "2", "en", seed=1)
    assert (cell.query_language, cell.passage_language) == ("xx", "all")


@pytest.mark.parametrize(("text", "pair"), [("de-en", ("de", "en")), ("pt-BR-en", ("pt-BR", "en"))])
def test_a_pair_is_parted_where_both_sides_are_languages(text, pair):
    assert parse_pair(text, ("de", "pt-BR"), ("en",)) == pair


def test_a_pair_of_unknown_languages_names_those_there_are():
    with pytest.raises(InputError, match="no pair of languages 'de-fr': expected QUERY-PASSAGE with queries in de, it"):
        parse_pair("de-fr", ("de", "it"), ("en",))


def test_languages_are_drawn_about_equally_often():
    counts = draw()["language"].value_counts()["count"]
    assert len(counts) == 4
    assert counts.is_between(440, 560).all()  # 500 each, 3 standard deviations of 19


def test_a_draw_does_not_depend_on_order_or_on_other_ids():
    some = draw(languages=LANGUAGES[::-1], ids=IDS.sample(100, shuffle=True, seed=1))
    assert some.join(draw(), on=["id", "language"], how="semi").height == 100


@given(st.sets(st.sampled_from(("ar", "de", "en", "fr", "it", "ja", "ru")), min_size=1))
def test_a_language_that_joins_moves_no_id_between_the_others(languages):
    before = draw(languages=sorted(languages), ids=IDS.head(300))
    after = draw(languages=[*sorted(languages), "zh"], ids=IDS.head(300))
    stayed = after.filter(pl.col("language") != "zh")
    assert stayed.equals(before.join(stayed, on="id", how="semi"))


def test_another_seed_and_the_other_side_draw_otherwise():
    assert not draw(seed=2).equals(draw())
    assert not draw(side="passage").equals(draw())


def test_an_id_draws_among_the_languages_that_have_it():
    drawn = draw_languages({"de": pl.Series(["a"]), "it": pl.Series(["a", "b"])}, 1, "passage")
    assert dict(drawn.iter_rows())["b"] == "it"
    assert drawn["id"].to_list() == ["a", "b"]
