"""The reader of FreeDict's TEI: which elements give headwords and translations, and bounds on bad XML."""

import gzip
import lzma
import tracemalloc
from pathlib import Path

import pytest

from csgen.errors import InputError
from csgen.readers.phrasing import UNFITTING, name_licence
from csgen.readers.tei import read_tei

HEAD = """<?xml version="1.0" encoding="UTF-8"?>
<TEI xmlns="http://www.tei-c.org/ns/1.0">
   <teiHeader>
      <fileDesc>
         <titleStmt>
            <title>English-German FreeDict Dictionary</title>
            <respStmt><!--for the freedict database--><resp>Maintainer</resp>
               <name>[up for grabs]</name>
            </respStmt>
         </titleStmt>
         <editionStmt>
            <edition>0.1.2</edition>
         </editionStmt>
         <publicationStmt>
            <availability status="free">
               <p>Copyright (C) 1999-2017 by various authors listed below.</p>
               <p>Available under the terms of the <ref target="https://www.gnu.org/licenses/gpl-2.0.html">GNU General
               Public License ver. 2.0 and any later version</ref>.</p>
            </availability>
         </publicationStmt>
      </fileDesc>
   </teiHeader>
   <text>
      <body>
"""
TAIL = """
      </body>
   </text>
</TEI>
"""
DOG = """
         <entry>
            <form>
               <orth>dog</orth>
               <pron>dɒg</pron>
            </form>
            <gramGrp><pos>n</pos></gramGrp>
            <sense n="1">
               <cit type="trans" xml:lang="de">
                  <quote>Hund</quote>
                  <gramGrp><gen>masc</gen></gramGrp>
               </cit>
            </sense>
            <sense n="2">
               <cit type="trans">
                  <quote>Rüde</quote>
               </cit>
            </sense>
         </entry>"""


def entry(inner: str, form: str = "<form><orth>dog</orth></form>") -> str:
    return f"<entry>{form}<sense>{inner}</sense></entry>"


def read(folder: Path, body: str | bytes, name: str = "eng-deu.tei", pack=bytes):
    path = folder / name
    path.write_bytes(pack(body if isinstance(body, bytes) else (HEAD + body + TAIL).encode()))
    return read_tei(str(path), "en", ("de",))


def rows(reading):
    return reading.pairs.select("source", "target").rows()


def targets(folder: Path, inner: str) -> list[str]:
    return [target for _, target in rows(read(folder, entry(inner)))]


@pytest.mark.parametrize(("ending", "pack"), [("", bytes), (".gz", gzip.compress), (".xz", lzma.compress)])
def test_entry_gives_its_headword_with_the_translations_of_all_senses(tmp_path, ending, pack):
    reading = read(tmp_path, DOG, f"eng-deu.tei{ending}", pack)
    assert reading.pairs.rows() == [(1, "dog", "Hund", 1.0), (1, "dog", "Rüde", 1.0)]


def test_title_edition_and_licence_come_from_the_header(tmp_path):
    reading = read(tmp_path, DOG)
    assert reading.licence == "GPL-2.0-or-later"
    assert reading.about == {"title": "English-German FreeDict Dictionary", "edition": "0.1.2"}


@pytest.mark.parametrize(
    ("terms", "licence"),
    [
        ("both the GNU General Public License, version 3 (GPLv3) and the Affero", "AGPL-3.0, GPL-3.0"),
        ("GNU General Public License ver. 3.0 or any later version.", "GPL-3.0-or-later"),
        ("GNU General Public License ver. 3 (or at your option any later version)", "GPL-3.0-or-later"),
        ("Copyright (C) 1999 GNU GENERAL PUBLIC LICENSE, version 2.0.", "GPL-2.0"),
        ("the Creative Commons Attribution 3.0 Unported License.", "CC BY 3.0"),
        ("Creative Commons Attribution-ShareAlike 3.0 Unported", "CC BY-SA 3.0"),
        ("ask the author", None),
    ],
)
def test_licence_is_named_by_the_terms_that_freedict_writes(terms, licence):
    assert name_licence(terms) == licence


def test_every_spelling_has_every_translation(tmp_path):
    forms = '<form type="k_ele"><orth>犬</orth></form><form type="r_ele"><orth>いぬ</orth></form>'
    reading = read(tmp_path, entry('<cit type="trans"><quote>Hund</quote></cit>', forms))
    assert rows(reading) == [("犬", "Hund"), ("いぬ", "Hund")]


def test_inflected_forms_are_no_headwords(tmp_path):
    form = '<form><orth>dog</orth><form type="infl"><orth type="pl">dogs</orth></form></form>'
    cit = '<cit type="trans"><quote>Hund</quote><form type="infl"><orth type="pl">Hunde</orth></form></cit>'
    assert rows(read(tmp_path, entry(cit, form))) == [("dog", "Hund")]


def test_nested_senses_and_older_markup_give_translations(tmp_path):
    nested = '<sense><sense><cit type="translation"><quote>Hund</quote></cit></sense></sense>'
    older = '<trans><tr>Rüde</tr></trans><cit><quote type="trans">Köter</quote></cit>'
    assert targets(tmp_path, nested + older) == ["Hund", "Rüde", "Köter"]


def test_examples_related_entries_and_notes_are_left_out(tmp_path):
    example = '<cit type="example"><quote>dog days</quote><cit type="trans"><quote>Hundstage</quote></cit></cit>'
    related = "<re><form><orth>dog days</orth></form>"
    related += '<sense><cit type="trans"><quote>Hundstage</quote></cit></sense></re>'
    reading = read(tmp_path, entry(f'{example}{related}<note>x</note><cit type="trans"><quote>Hund</quote></cit>'))
    assert rows(reading) == [("dog", "Hund")]


def test_translations_into_another_language_are_counted_and_left_out(tmp_path):
    inner = '<cit type="trans" xml:lang="fr"><quote>chien</quote></cit><cit type="trans" xml:lang="ger">'
    reading = read(tmp_path, entry(inner + "<quote>Hund</quote></cit>"))
    assert rows(reading) == [("dog", "Hund")]
    assert reading.counts["translations into other languages"] == 1


def test_definitions_are_translations_where_there_is_nothing_else(tmp_path):
    assert targets(tmp_path, "<def>Hund, Rüde</def>") == ["Hund", "Rüde"]
    assert targets(tmp_path, '<def>an animal</def><cit type="trans"><quote>Hund</quote></cit>') == ["Hund"]


def test_translations_are_parted_and_cleared_of_placeholders_as_in_dictd(tmp_path):
    quotes = ["etw. fördern; jdm. helfen", "-haft", "in/auf", "treu (z. B. Tier, Hund)"]
    reading = read(tmp_path, entry("".join(f'<cit type="trans"><quote>{quote}</quote></cit>' for quote in quotes)))
    assert [target.strip() for _, target in rows(reading)] == ["fördern", "helfen", "treu"]
    assert reading.counts[UNFITTING] == 2


def test_entry_without_a_headword_is_malformed_and_one_without_a_translation_is_counted(tmp_path):
    reading = read(tmp_path, DOG + entry("", "<form><pron>x</pron></form>") + entry("<usg>rare</usg>"))
    assert reading.malformed.rows() == [(2, "entry without a headword (form and orth)")]
    assert (reading.counts["lines"], reading.counts["entries without a translation"]) == (3, 1)


def test_tei_without_a_namespace_is_read(tmp_path):
    text = f"<TEI.2><text><body>{entry('<trans><tr>Hund</tr></trans>')}</body></text></TEI.2>"
    assert rows(read(tmp_path, text.encode())) == [("dog", "Hund")]


def test_encoding_of_the_declaration_holds(tmp_path):
    text = (HEAD + entry('<cit type="trans"><quote>Rüde</quote></cit>') + TAIL).replace("UTF-8", "ISO-8859-1")
    assert rows(read(tmp_path, text.encode("latin-1"))) == [("dog", "Rüde")]


# --- bad input ---


def test_entities_that_stand_for_gigabytes_are_refused(tmp_path):
    doctype = '<!DOCTYPE TEI [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;&a;&a;">]>'
    with pytest.raises(InputError, match=r"eng-deu\.tei:1: declares the entity a; entities are not expanded"):
        read(tmp_path, f"{doctype}<TEI><text>&b;</text></TEI>".encode())


def test_entity_out_of_a_dtd_beside_the_file_is_refused(tmp_path):
    (tmp_path / "own.dtd").write_text('<!ENTITY uuml "ü">')
    text = f'<!DOCTYPE TEI SYSTEM "own.dtd">\n<TEI><text>{entry("<trans><tr>R&uuml;de</tr></trans>")}</text></TEI>'
    with pytest.raises(InputError, match=r":2: has the entity uuml"):
        read(tmp_path, text.encode())


@pytest.mark.parametrize("cut", [40, 1000, -40])
def test_file_cut_short_is_refused_with_its_line(tmp_path, cut):
    with pytest.raises(InputError, match=r"eng-deu\.tei:\d+: is not well-formed XML .* fetch it again"):
        read(tmp_path, (HEAD + DOG + TAIL).encode()[:cut])


def test_file_of_invalid_utf8_is_refused_with_its_line(tmp_path):
    with pytest.raises(InputError, match=rf"eng-deu\.tei:{HEAD.count(chr(10)) + 1}: is not well-formed XML"):
        read(tmp_path, HEAD.encode() + b"<entry>\xe4</entry>" + TAIL.encode())


@pytest.mark.parametrize("content", [b"<html><body>404</body></html>", b"<dictionary/>"])
def test_other_xml_is_refused(tmp_path, content):
    with pytest.raises(InputError, match=r"eng-deu\.tei:1: expected TEI, got the element"):
        read(tmp_path, content)


def test_dictionary_that_includes_others_is_refused_with_the_remedy(tmp_path):
    with pytest.raises(InputError, match=r"has no entries.*xmllint --xinclude"):
        read(tmp_path, '<include href="letters/a.xml" xmlns="http://www.w3.org/2001/XInclude"/>')


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("<sense>" * 200, "nested at most 100 deep"),
        (entry('<cit type="trans"><quote>' + "x" * 100_000 + "</quote></cit>"), "a text of at most 65536 characters"),
        (f"<entry n='{'x' * (8 << 20)}'/>", "tags and comments of at most"),
        (f"<!--{'x' * (8 << 20)}-->", "tags and comments of at most"),
    ],
)
def test_depth_and_lengths_are_bounded(tmp_path, body, message):
    with pytest.raises(InputError, match=message):
        read(tmp_path, body)


def test_memory_does_not_grow_with_what_is_left_out(tmp_path):
    path = tmp_path / "eng-deu.tei"
    path.write_text(HEAD + DOG + "<note>left out</note>" * 400_000 + TAIL)
    tracemalloc.start()
    try:
        reading = read_tei(str(path), "en", ("de",))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(reading.pairs) == 2
    assert peak < path.stat().st_size
