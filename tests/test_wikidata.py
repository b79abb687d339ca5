"""Wikidata's dump: labels and titles of an entity in two languages, pages that are no things, and the dump's layout."""

import bz2
import gzip
import json
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from csgen.errors import InputError
from csgen.readers.columns import join_readings
from csgen.readers.pieces import split_file
from csgen.readers.wikidata import read_wikidata, read_wikidata_piece

# As in the dump, but for most of its claims, labels and links; escapes are the dump's too.
CABRILLO = (
    r'{"type":"item","id":"Q1024969","labels":{"de":{"language":"de","value":"Cabrillo College"},"en":{"language":"en",'
    r'"value":"Cabrillo College"},"ja":{"language":"ja","value":"\u30ab\u30d6\u30ea\u30aa\u30ab\u30ec\u30c3\u30b8"}},'
    r'"descriptions":{"en":{"language":"en","value":"college"}},"aliases":{"de":[{"language":"de","value":'
    r'"Cabrillo Community College"}]},"claims":{"P31":[{"mainsnak":{"snaktype":"value","property":"P31","hash":'
    r'"e4f6d9441d0600513c4533c672b5ab472dc73694","datavalue":{"value":{"entity-type":"item","numeric-id":1336920,"id":'
    r'"Q1336920"},"type":"wikibase-entityid"},"datatype":"wikibase-item"},"type":"statement","id":'
    r'"q1024969$60307310-1BE8-4CA9-AD52-DE7D2A5C0224","rank":"normal"}]},"sitelinks":{"enwiki":{"site":"enwiki","title":'
    r'"Cabrillo College","badges":[]},"jawiki":{"site":"jawiki","title":"\u30ab\u30d6\u30ea\u30aa","badges":[]}},'
    r'"lastrevid":239710767,"modified":"2015-08-10T02:54:25Z"}'
)


def statement(entity_id, rank="normal", of="P31"):
    value = {"entity-type": "item", "numeric-id": int(entity_id[1:]), "id": entity_id}
    snak = {"snaktype": "value", "property": of, "hash": "0" * 40}
    snak["datavalue"] = {"value": value, "type": "wikibase-entityid"}
    return {"mainsnak": snak | {"datatype": "wikibase-item"}, "type": "statement", "id": "Q1$0", "rank": rank}


def entity(labels=(), titles=(), claims=(), badges=(), **others):
    """Fields in the dump's order; labels by code and titles by wiki, claims the statements of P31."""
    return others | {
        "type": "item",
        "id": "Q1",
        "labels": {code: {"language": code, "value": value} for code, value in dict(labels).items()},
        "descriptions": {"en": {"language": "en", "value": "a thing"}, "de": {"language": "de", "value": "ein Ding"}},
        "aliases": {"de": [{"language": "de", "value": "Zeug"}]},
        "claims": {"P1": [statement("Q4167410", of="P1")]} | ({"P31": list(claims)} if claims else {}),
        "sitelinks": {
            wiki: {"site": wiki, "title": title, "badges": list(badges)} for wiki, title in dict(titles).items()
        },
        "lastrevid": 1,
    }


def compact(record):
    return json.dumps(record, separators=(",", ":"))


def read(tmp_path, *records, targets=("de",), source="en", write=compact):
    lines = [record if isinstance(record, str) else write(record) for record in records]
    path = tmp_path / "dump.json"
    path.write_text("[\n" + ",\n".join(lines) + "\n]\n", "utf-8")
    return read_wikidata(str(path), source, targets)


def rows(reading, *columns):
    return reading.pairs.select(columns or ("source", "target")).rows()


@pytest.fixture(params=["the dump's layout", "another layout"])
def read_both(request):
    """`read` of lines in the dump's layout, and of the same with blanks, which are parsed as a whole."""
    write = compact if request.param == "the dump's layout" else json.dumps
    return lambda *records, **options: read(*records, write=write, **options)


def test_line_of_the_dump_gives_labels_and_titles(tmp_path):
    reading = read(tmp_path, CABRILLO, targets=("de", "ja"))
    assert rows(reading, "line", "source", "target", "weight", "target_language") == [
        (2, "Cabrillo College", "Cabrillo College", 1.0, "de"),
        (2, "Cabrillo College", "カブリオカレッジ", 1.0, "ja"),
        (2, "Cabrillo College", "カブリオ", 1.0, "ja"),
    ]
    assert (reading.counts["lines"], reading.counts["blank"]) == (3, 2)


def test_pair_that_label_and_title_agree_on_weighs_twice(tmp_path, read_both):
    names = {"en": "dog", "de": "Hund"}, {"enwiki": "dog", "dewiki": "Hund"}
    assert rows(read_both(tmp_path, entity(*names)), "source", "target", "weight") == [("dog", "Hund", 2.0)]


def test_suffix_in_brackets_of_a_title_is_cut_but_no_labels(tmp_path, read_both):
    titles = {"enwiki": "Mercury (planet)", "jawiki": "水星（惑星）"}
    labels = {"en": "Mercury (planet)", "ja": "水星"}
    reading = read_both(tmp_path, entity(labels, titles), targets=("ja",))
    assert rows(reading) == [("Mercury (planet)", "水星"), ("Mercury", "水星")]


def test_title_that_is_all_in_brackets_stays(tmp_path, read_both):
    reading = read_both(tmp_path, entity((), {"enwiki": "(What)", "dewiki": "(Was)"}))
    assert rows(reading) == [("(What)", "(Was)")]


def test_description_or_alias_is_no_name(tmp_path, read_both):
    reading = read_both(tmp_path, entity({"en": "thing"}))
    assert reading.pairs.is_empty()
    assert reading.counts["entities without names in both languages"] == 1


def test_name_with_braces_quotes_and_backslashes_is_read_whole(tmp_path, read_both):
    odd = r'a} "b" \ {c},"descriptions":{'
    labels, titles = {"en": odd, "de": f"{odd}2"}, {"enwiki": f"{odd}3", "dewiki": f"{odd}4"}
    assert rows(read_both(tmp_path, entity(labels, titles))) == [(odd, f"{odd}2"), (f"{odd}3", f"{odd}4")]


@pytest.mark.parametrize(
    ("page", "kind"),
    [
        ("Q4167410", "disambiguation pages"),
        ("Q4167836", "category pages"),
        ("Q11266439", "template pages"),
        ("Q13406463", "list pages"),
    ],
)
def test_page_that_is_no_thing_is_left_out_and_counted(tmp_path, read_both, page, kind):
    names = {"en": "dog", "de": "Hund"}, {"enwiki": "dog", "dewiki": "Hund"}
    reading = read_both(tmp_path, entity(*names, [statement("Q5"), statement(page)]), entity(*names))
    assert rows(reading, "line") == [(3,)]
    assert reading.counts[kind] == 1


def test_deprecated_statement_of_what_it_is_does_not_count(tmp_path, read_both):
    names = {"en": "dog", "de": "Hund"}
    reading = read_both(tmp_path, entity(names, claims=[statement("Q4167410", "deprecated"), statement("Q5")]))
    assert rows(reading) == [("dog", "Hund")]


@pytest.mark.parametrize(
    ("source", "target", "is_left"),
    [
        ("Category:Dogs", "Kategorie:Hunde", False),
        ("Help:Contents", "Hilfe:Übersicht", False),
        ("Portal:Dogs", "Portal:Hunde", False),
        ("Wikipedia:Manual", "Wikipedia:Handbuch", False),
        ("Star Wars: Episode IV", "Krieg der Sterne: Episode IV", True),
        ("Re:Zero", "Re:Null", True),
        ("10:04", "22:04", True),
        ("Alien:Isolation", "Fremder:Allein", False),  # the price of not knowing each language's namespaces
        ("Blade Runner 2:49", "Blade Runner", True),
    ],
)
def test_titles_of_other_namespaces_leave_their_entity_out(tmp_path, read_both, source, target, is_left):
    reading = read_both(tmp_path, entity({"en": "dog", "de": "Hund"}, {"enwiki": source, "dewiki": target}))
    assert rows(reading) == ([("dog", "Hund"), (source, target)] if is_left else [])
    assert reading.counts["pages of other namespaces"] == (not is_left)


def test_sitelinks_to_redirects_are_left_out_and_counted(tmp_path, read_both):
    record = entity({"en": "dog", "de": "Hund"}, {"enwiki": "Dog", "dewiki": "Köter"}, badges=["Q70893996"])
    reading = read_both(tmp_path, record)
    assert rows(reading) == [("dog", "Hund")]
    assert reading.counts["sitelinks to redirects"] == 1


def test_redirects_are_counted(tmp_path):
    assert read(tmp_path, '{"entity":"Q1","redirect":"Q2"}').counts["redirects"] == 1


@pytest.mark.parametrize(
    ("language", "labels", "wiki", "expected"),
    [
        ("zh", {"zh-hant": "臺灣", "zh-hans": "台湾"}, "zhwiki", ["台湾", "x"]),
        ("zh", {"zh": "甲", "zh-hans": "乙"}, "zhwiki", ["甲", "x"]),
        ("zh-Hant", {"zh": "甲", "zh-tw": "乙"}, "zhwiki", ["乙"]),
        ("no", {"nb": "hund"}, "nowiki", ["hund", "x"]),
        ("nb", {"no": "hund"}, "nowiki", ["hund", "x"]),
        ("nn", {"nb": "bikkje", "nn": "hund"}, "nnwiki", ["hund", "x"]),
        ("be", {"be-tarask": "сабака"}, "be_x_oldwiki", ["сабака", "x"]),
        ("sr-Latn", {"sr": "пас", "sr-el": "pas"}, "srwiki", ["pas"]),
        ("pt-BR", {"pt": "autocarro", "pt-br": "ônibus"}, "ptwiki", ["ônibus", "x"]),
        ("pt-BR", {"pt": "cão"}, "ptwiki", ["cão", "x"]),
        ("sq", {"als": "Hund"}, "alswiki", []),
    ],
)
def test_wikidatas_codes_of_languages_are_known(tmp_path, read_both, language, labels, wiki, expected):
    reading = read_both(tmp_path, entity({"en": "e"} | labels, {"enwiki": "E", wiki: "x"}), targets=(language,))
    assert rows(reading, "target") == [(name,) for name in expected]


def test_empty_objects_may_be_written_as_arrays(tmp_path, read_both):
    record = entity({"en": "dog", "de": "Hund"}) | {"sitelinks": []}
    assert rows(read_both(tmp_path, record, entity() | {"labels": [], "claims": []})) == [("dog", "Hund")]


def test_property_without_sitelinks_is_read(tmp_path, read_both):
    record = entity({"en": "part of", "de": "ist Teil von"})
    del record["sitelinks"]
    assert rows(read_both(tmp_path, record)) == [("part of", "ist Teil von")]


def test_fields_in_another_order_are_read(tmp_path, read_both):
    record = entity({"en": "dog", "de": "Hund"}, {"enwiki": "Dog", "dewiki": "Haushund"})
    for moved in ("labels", "descriptions", "claims", "sitelinks"):
        others = {name: value for name, value in record.items() if name != moved}
        for order in ({moved: record[moved]} | others, others | {moved: record[moved]}):
            assert rows(read_both(tmp_path, order)) == [("dog", "Hund"), ("Dog", "Haushund")]


def test_json_lines_without_an_array_are_read(tmp_path):
    path = tmp_path / "dump.jsonl"
    path.write_text(f"{CABRILLO}\n{CABRILLO}")
    assert rows(read_wikidata(str(path), "en", ("de",)), "line") == [(1,), (2,)]


@pytest.mark.parametrize(
    "bad",
    [
        CABRILLO[:-10],
        CABRILLO[:200],
        compact(entity())[:-10],
        "5",
        '"labels"',
        '{"labels":{"en":"dog","de":"Hund"}}',
        '{"labels":{"en":{"value":1},"de":{"value":2}}}',
        compact(entity({"en": 5, "de": 6})),
        r'{"labels":{"en":{"value":"\ud800"},"de":{"value":"b"}}}',
    ],
)
def test_malformed_line_has_its_number_and_reason(tmp_path, bad):
    reading = read(tmp_path, CABRILLO, bad, CABRILLO)
    assert rows(reading, "line") == [(2,), (4,)]
    assert reading.malformed.rows() == [(3, "expected an entity as a JSON object")]


NAMES = st.dictionaries(st.sampled_from(["en", "de", "fr", "ja"]), st.text(st.characters(exclude_categories=["Cs"])))


@settings(deadline=None)
@given(st.lists(st.tuples(NAMES, NAMES, st.sampled_from(["Q5", "Q4167410"])), max_size=4))
def test_line_by_its_layout_says_the_same_as_the_line_parsed(things):
    records = [
        entity(labels, {f"{code}wiki": name for code, name in titles.items()}, [statement(kind)])
        for labels, titles, kind in things
    ]
    with TemporaryDirectory() as folder:
        by_layout, parsed = (read(Path(folder), *records, targets=("de", "ja"), write=w) for w in (compact, json.dumps))
    assert by_layout.pairs.equals(parsed.pairs)
    assert by_layout.counts == parsed.counts


@pytest.mark.parametrize("ending", ["", ".bz2"])
def test_pieces_joined_give_what_the_whole_file_gives(tmp_path, ending):
    lines = [compact(entity({"en": f"e{i}", "de": f"d{i}"})) + ",\n" for i in range(60)]
    pack = bz2.compress if ending else bytes
    path = tmp_path / f"dump.json{ending}"
    path.write_bytes(b"".join(pack(line.encode()) for line in lines))
    pieces = split_file(str(path), piece_bytes=1000)
    joined = join_readings([read_wikidata_piece(piece, "en", ("de",)) for piece in pieces])
    whole = read_wikidata(str(path), "en", ("de",))
    assert len(pieces) > 5
    assert joined.pairs.equals(whole.pairs)
    assert joined.pairs["line"].to_list() == list(range(1, 61))
    assert joined.counts == whole.counts


def test_truncated_gzip_is_refused(tmp_path):
    path = tmp_path / "dump.json.gz"
    path.write_bytes(gzip.compress(CABRILLO.encode())[:-10])
    with pytest.raises(InputError, match=r"dump\.json\.gz:1: cannot be read from about here on"):
        read_wikidata(str(path), "en", ("de",))
