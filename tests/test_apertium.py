"""The reader of Apertium's bilingual dictionaries: sides, directions, what is no pair of lemmas."""

import math
from pathlib import Path

import pytest

from csgen.errors import InputError
from csgen.readers.apertium import is_reversed, read_apertium

HEAD = """<?xml version="1.0" encoding="UTF-8"?>
<!--
	Dictionary:
	Sections: 1
-->
<dictionary>
  <alphabet></alphabet>
  <sdefs>
    <sdef n="n" 	c="Noun"/>
    <sdef n="m" 	c="Masculine"/>
  </sdefs>
  <pardefs>
    <pardef n="two__num">
    <e r="RL">
      <p>
        <l><b/>thousand<s n="num"/></l>
        <r><b/>mil<s n="num"/><s n="m"/></r>
      </p>
    </e>
    </pardef>
  </pardefs>
  <section id="main" type="standard">
"""
TAIL = """
  </section>
</dictionary>
"""
SKIPPED = {
    "entries for the other direction": 0,
    "entries of regular expressions": 0,
    "entries with a paradigm inside": 0,
    "entries of joined words": 0,
    "entries marked as ignored": 0,
    "entries of tags or paradigms only": 0,
    "entries of paradigms": 1,
}
URCHIN = '<e a="eleka"><p><l>sea<b/>urchin<s n="n"/></l><r>erizo<g><b/>de<b/>mar</g><s n="n"/><s n="m"/></r></p></e>'


def pair(left: str, right: str, attributes: str = "") -> str:
    return f'    <e{attributes}><p><l>{left}<s n="n"/></l><r>{right}<s n="n"/><s n="m"/></r></p></e>\n'


def read(folder: Path, *entries: str, name="apertium-eng-spa.eng-spa.dix", source="en", target="es"):
    path = folder / name
    path.write_text(HEAD + "".join(entries) + TAIL)
    return read_apertium(str(path), source, (target,))


def rows(reading):
    return reading.pairs.select("source", "target").rows()


def test_entry_gives_its_lemmas_without_tags(tmp_path):
    reading = read(tmp_path, pair("beer", "cerveza"), pair("dog", "perro"))
    assert reading.pairs.rows() == [(1, "beer", "cerveza", 1.0), (2, "dog", "perro", 1.0)]
    assert reading.counts == {"lines": 2, "blank": 0} | SKIPPED


def test_blanks_and_groups_are_parts_of_the_lemma(tmp_path):
    assert rows(read(tmp_path, URCHIN)) == [("sea urchin", "erizo de mar")]


def test_identical_and_following_parts_are_put_together(tmp_path):
    entries = '<e><i>taxi<s n="n"/></i></e><e><p><l>x<b/></l><r>y<b/></r></p><i>ray</i></e>'
    assert rows(read(tmp_path, entries)) == [("taxi", "taxi"), ("x ray", "y ray")]


@pytest.mark.parametrize(
    ("source", "target", "expected"),
    [("en", "es", [("a", "A"), ("b", "B")]), ("es", "en", [("A", "a"), ("C", "c")])],
)
def test_entries_hold_in_the_direction_they_name(tmp_path, source, target, expected):
    entries = (pair("a", "A"), pair("b", "B", ' r="LR"'), pair("c", "C", ' r="RL"'))
    reading = read(tmp_path, *entries, source=source, target=target)
    assert rows(reading) == expected
    assert reading.counts["entries for the other direction"] == 1


@pytest.mark.parametrize(
    ("name", "reverse"),
    [
        ("apertium-eng-spa.eng-spa.dix", False),
        ("apertium-en-es.en-es.dix.xz", False),
        ("apertium-spa-eng.spa-eng.dix", True),
        ("apertium-es-en.es-en.metadix", True),
        ("apertium-spa-eng_US.spa-eng_US.dix.gz", True),
        ("apertium-hbs-eng.hbs-eng.dix", True),
        ("bidix.dix", False),
        ("apertium-eng.eng.dix", False),
    ],
)
def test_side_of_the_source_is_told_by_the_file_name(name, reverse):
    assert is_reversed(f"/some-where/{name}", "en", "es") is reverse


def test_dictionary_of_other_languages_is_refused(tmp_path):
    with pytest.raises(InputError, match="its name says en-es, but fr-de was asked for"):
        read(tmp_path, pair("a", "b"), source="fr", target="de")


@pytest.mark.parametrize(
    ("entry", "reason"),
    [
        ('<e><re>[0-9]+</re><p><l><s n="num"/></l><r><s n="num"/></r></p></e>', "entries of regular expressions"),
        (
            '<e><p><l></l><r>siglo<b/></r></p><par n="o"/><p><l><b/>century</l><r></r></p></e>',
            "entries with a paradigm inside",
        ),
        ('<e><p><l>will<s n="v"/><j/>not</l><r>no</r></p></e>', "entries of joined words"),
        (pair("a", "b", ' i="yes"'), "entries marked as ignored"),
        ('<e r="RL"><p><l></l><r>¿<s n="lquest"/></r></p></e>', "entries for the other direction"),
        ('<e><p><l><s n="n"/></l><r><s n="n"/></r></p></e>', "entries of tags or paradigms only"),
        ('<e><par n="two__num"/></e>', "entries of tags or paradigms only"),
    ],
)
def test_entry_that_is_no_pair_of_lemmas_is_counted(tmp_path, entry, reason):
    reading = read(tmp_path, pair("dog", "perro"), entry)
    assert rows(reading) == [("dog", "perro")]
    assert reading.counts == {"lines": 2, "blank": 0} | SKIPPED | {reason: 1}


def test_paradigm_at_the_end_leaves_the_lemma_whole(tmp_path):
    entry = '<e><p><l>twenty</l><r>veinte</r></p><par n="two__num"/></e>'
    assert rows(read(tmp_path, entry)) == [("twenty", "veinte")]


def test_sense_and_variety_attributes_do_no_harm(tmp_path):
    assert rows(read(tmp_path, pair("calf", "pantorrilla", ' slr="1" v="x" vr="es" alt="y" c="note"')))


def test_weight_is_the_exponential_of_the_negative_cost(tmp_path):
    reading = read(tmp_path, pair("a", "A", ' w="0.5"'), pair("b", "B"), pair("c", "C", ' w="1000"'))
    assert reading.pairs["weight"].to_list() == pytest.approx([math.exp(-0.5), 1.0, math.exp(-34)])


def test_cost_that_is_no_number_is_malformed(tmp_path):
    reading = read(tmp_path, pair("a", "A"), pair("b", "B", ' w="high"'), pair("c", "C", ' w="nan"'))
    assert reading.malformed.rows() == [(2, "weight is not a number"), (3, "weight is not a number")]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("<TEI/>", r":1: expected an Apertium <dictionary>, got the element TEI"),
        ("<dictionary><section/></dictionary>", "has no entries"),
        ("<dictionary>\n<section>\n<e><p><l>a</l>", r":3: is not well-formed XML"),
        ('<!DOCTYPE d [<!ENTITY x "y">]><dictionary/>', "declares the entity x"),
        ("<dictionary>" + "<section>" * 200, "nested at most 100 deep"),
        ("<dictionary><section><e><p><l>" + "x" * 100_000, "a text of at most 65536 characters"),
        ("", r"is not well-formed XML \(no element found\)"),
    ],
)
def test_file_that_is_no_whole_dictionary_is_refused(tmp_path, content, message):
    path = tmp_path / "apertium-eng-spa.eng-spa.dix"
    path.write_text(content)
    with pytest.raises(InputError, match=message):
        read_apertium(str(path), "en", ("es",))
