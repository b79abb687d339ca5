"""SQL dumps as mysqldump writes them, and the parallel page titles that MediaWiki's dumps hold."""

import bz2
import gzip
import lzma
from pathlib import Path

import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from csgen.errors import InputError
from csgen.readers import sql
from csgen.readers.formats import FORMATS
from csgen.readers.sql import scan_table
from csgen.readers.titles import cut_title, is_disambiguation
from csgen.readers.wikipedia import langlinks_files, read_langlinks, read_last_langlinks

LANGLINKS = {
    "ll_from": "int(8) unsigned NOT NULL DEFAULT 0",
    "ll_lang": "varbinary(35) NOT NULL DEFAULT ''",
    "ll_title": "varbinary(255) NOT NULL DEFAULT ''",
}
PAGE = {
    "page_id": "int(8) unsigned NOT NULL AUTO_INCREMENT",
    "page_namespace": "int(11) NOT NULL DEFAULT 0",
    "page_title": "varbinary(255) NOT NULL DEFAULT ''",
    "page_is_redirect": "tinyint(1) unsigned NOT NULL DEFAULT 0",
    "page_is_new": "tinyint(1) unsigned NOT NULL DEFAULT 0",
    "page_random": "double unsigned NOT NULL DEFAULT 0",
    "page_touched": "binary(14) NOT NULL",
    "page_links_updated": "varbinary(14) DEFAULT NULL",
    "page_latest": "int(8) unsigned NOT NULL DEFAULT 0",
    "page_len": "int(8) unsigned NOT NULL DEFAULT 0",
    "page_content_model": "varbinary(32) DEFAULT NULL",
    "page_lang": "varbinary(35) DEFAULT NULL",
}
OLD_PAGE = {}  # until 2022
for column, kind in PAGE.items():
    OLD_PAGE[column] = kind
    if column == "page_title":
        OLD_PAGE["page_restrictions"] = "tinyblob DEFAULT NULL"
PAGE_PROPS = {
    "pp_page": "int(8) NOT NULL",
    "pp_propname": "varbinary(60) NOT NULL DEFAULT ''",
    "pp_value": "blob NOT NULL",
    "pp_sortkey": "float DEFAULT NULL",
}

ESCAPES = {0: rb"\0", 10: rb"\n", 13: rb"\r", 26: rb"\Z", 34: rb"\"", 39: rb"\'", 92: rb"\\"}


def quote(value):
    if value is None:
        return b"NULL"
    if isinstance(value, int | float):
        return str(value).encode()
    data = value if isinstance(value, bytes) else value.encode()
    return b"'" + b"".join(ESCAPES.get(byte, bytes([byte])) for byte in data) + b"'"


def insert(table, rows, between=b""):
    tuples = [b"(" + b",".join(map(quote, row)) + b")" for row in rows]
    return b"INSERT INTO `%s` VALUES " % table.encode() + between + (b"," + between).join(tuples) + b";\n"


def create(table, layout):
    columns = "".join(f"  `{name}` {kind},\n" for name, kind in layout.items())
    key = next(iter(layout))
    return (
        f"DROP TABLE IF EXISTS `{table}`;\n/*!40101 SET @saved_cs_client     = @@character_set_client */;\n"
        f"CREATE TABLE `{table}` (\n{columns}  PRIMARY KEY (`{key}`),\n  KEY `{key}` (`{key}`)\n"
        f") ENGINE=InnoDB DEFAULT CHARSET=binary;\n"
    ).encode()


HEADER = (
    b"-- MySQL dump 10.19  Distrib 10.3.38-MariaDB, for debian-linux-gnu (x86_64)\n--\n"
    b"-- Host: localhost    Database: enwiki\n-- ------------------------------------------------------\n"
    b"/*!40101 SET @OLD_CHARACTER_SET_CLIENT=@@CHARACTER_SET_CLIENT */;\n"
)
FOOTER = (
    b"/*!40101 SET CHARACTER_SET_CLIENT=@OLD_CHARACTER_SET_CLIENT */;\n\n-- Dump completed on 2026-01-02  1:23:45\n"
)


def dump(table, layout, rows, per_statement=3, between=b""):
    keys = f"/*!40000 ALTER TABLE `{table}` %s KEYS */;\n"
    statements = [insert(table, rows[at : at + per_statement], between) for at in range(0, len(rows), per_statement)]
    return b"".join(
        [HEADER, create(table, layout), (keys % "DISABLE").encode(), *statements, (keys % "ENABLE").encode(), FOOTER]
    )


def read_columns(path, table, columns, numbers=()):
    """The rows of a table, by way of its columns."""
    parts = []
    for tuples in scan_table(str(path), table, columns):
        parts += zip(
            *(tuples.numbers(c).tolist() if c in numbers else tuples.texts(c).to_pylist() for c in columns), strict=True
        )
    return parts


def write(path: Path, data: bytes) -> str:
    path.write_bytes(data)
    return str(path)


LINKS = [(1, "de", "Haus"), (1, "fr", "Maison (bâtiment)"), (2, "de", 'O\'Neill \\ "x"\n')]


# --- SQL ---


def test_texts_lose_their_escapes_and_keep_all_their_bytes(tmp_path):
    rows = [(1, "de", bytes(range(256))), (2, "fr", "“Voilà”, (a)');")]
    path = write(tmp_path / "a.sql", dump("langlinks", LANGLINKS, rows))
    found = read_columns(path, "langlinks", ("ll_title", "ll_from"), numbers=("ll_from",))
    assert found == [(bytes(range(256)), 1), ("“Voilà”, (a)');".encode(), 2)]


@pytest.mark.parametrize("between", [b"", b"\n", b" "])
def test_rows_may_stand_on_one_line_or_on_their_own(tmp_path, between):
    path = write(tmp_path / "a.sql", dump("langlinks", LANGLINKS, LINKS, between=between))
    found = read_columns(path, "langlinks", ("ll_from", "ll_lang", "ll_title"), numbers=("ll_from",))
    assert found == [(page, lang.encode(), title.encode()) for page, lang, title in LINKS]


@pytest.mark.parametrize(
    ("text", "value"),
    [(b"'it''s'", b"it's"), (b"_binary 'x'", b"x"), (b"''", b""), (b"NULL", None), (rb"'\\'", b"\\"), (rb"'\%'", b"%")],
)
def test_texts_are_read_however_sql_writes_them(tmp_path, text, value):
    data = create("t", {"a": "blob", "b": "blob"}) + b"INSERT INTO `t` VALUES (" + text + b",'z');\n"
    assert read_columns(write(tmp_path / "a.sql", data), "t", ("a", "b")) == [(value, b"z")]


def test_numbers_may_be_negative(tmp_path):
    data = create("t", {"a": "int"}) + b"INSERT INTO `t` VALUES (-17),(0),(999999999999999999);\n"
    assert read_columns(write(tmp_path / "a.sql", data), "t", ("a",), ("a",)) == [(-17,), (0,), (999999999999999999,)]


def test_statement_may_name_its_columns(tmp_path):
    data = create("t", {"a": "int", "b": "int"}) + b"INSERT IGNORE INTO `t` (`b`, `a`) VALUES (1,2);\n"
    assert read_columns(write(tmp_path / "a.sql", data), "t", ("a", "b"), ("a", "b")) == [(2, 1)]


def test_other_tables_of_a_dump_are_passed_over(tmp_path):
    data = dump("page", {"page_id": "int"}, [(7,)]) + dump("langlinks", LANGLINKS, LINKS) + dump("x", PAGE_PROPS, [])
    assert read_columns(write(tmp_path / "a.sql", data), "langlinks", ("ll_from",), ("ll_from",)) == [(1,), (1,), (2,)]


def test_table_may_be_empty(tmp_path):
    assert read_columns(write(tmp_path / "a.sql", dump("langlinks", LANGLINKS, [])), "langlinks", ("ll_from",)) == []


VALUE = st.none() | st.binary(max_size=80) | st.text(alphabet="',();\\\n\"aé", max_size=12).map(str.encode)


@settings(max_examples=60, deadline=None)
@given(
    rows=st.lists(st.tuples(st.integers(-(10**12), 10**12), VALUE, VALUE), max_size=30),
    per_statement=st.integers(1, 7),
    block_bytes=st.integers(1, 300),
    batch=st.integers(1, 5),
    between=st.sampled_from([b"", b"\n"]),
)
def test_any_values_come_back_whatever_the_blocks_and_batches(
    tmp_path_factory, rows, per_statement, block_bytes, batch, between
):
    path = write(tmp_path_factory.mktemp("any") / "a.sql", dump("langlinks", LANGLINKS, rows, per_statement, between))
    whole = sql.read_blocks
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sql, "_BATCH_ROWS", batch)
        patch.setattr(sql, "read_blocks", lambda piece: whole(piece, block_bytes))
        found = read_columns(path, "langlinks", ("ll_title", "ll_from", "ll_lang"), numbers=("ll_from",))
    assert found == [(title, page, lang) for page, lang, title in rows]


def test_dump_cut_anywhere_is_refused(tmp_path):
    data = dump("langlinks", LANGLINKS, LINKS, per_statement=2, between=b"\n")
    for end in range(0, len(data) - len(b"-- Dump completed on 2026-01-02  1:23:45\n"), 3):
        path = write(tmp_path / "a.sql", data[:end])
        with pytest.raises(InputError, match=r"a\.sql.*(fetch it again|expected a dump of the table)"):
            read_columns(path, "langlinks", ("ll_title",))


def broken(tuples):
    return create("langlinks", LANGLINKS) + b"INSERT INTO `langlinks` VALUES (1,'de','Haus')," + tuples + b"\n-- end\n"


@pytest.mark.parametrize(
    ("tuples", "message"),
    [
        (b"(2,'de','Ma", "the file ends within tuple 2 or before its semicolon; .* fetch it again"),
        (b"(2,'de','Baum')", "tuple 2: expected a tuple in brackets, and a comma or a semicolon behind"),
        (b"(2,'de','Baum);", "the file ends within tuple 2"),
        (b"(2,'de','O'Neill');", "tuple 2: expected .* balanced quotes"),
        (b"(2,'de');", "tuple 2: expected 3 values, got 2"),
        (b"(2,'de','x','y');", "tuple 2: expected 3 values, got 4"),
        (b"(2,,'x');", "tuple 2: expected a number, NULL or a text"),
        (b"(),(3,'de','x');", "tuple 2: expected a number, NULL or a text"),
        (b"2,'de','x');", "tuple 2: expected a tuple in brackets"),
        (b";", "tuple 2: expected a tuple in brackets"),
        (b"(x2,'de','x');", "tuple 2: expected an integer as ll_from, got x2"),
        (b"(NULL,'de','x');", "tuple 2: expected an integer as ll_from, got NULL"),
        (b"(2.5,'de','x');", "tuple 2: expected an integer"),
        (b"(-,'de','x');", "tuple 2: expected an integer"),
        (b"(99999999999999999999,'de','x');", "tuple 2: expected an integer"),
        (b"(2,'de',0x4E6F);", "tuple 2: expected a text in quotes .*hex-blob.* as ll_title, got 0x4E6F"),
    ],
)
def test_broken_tuple_is_refused_with_its_number(tmp_path, tuples, message):
    path = write(tmp_path / "a.sql", broken(tuples))
    with pytest.raises(InputError, match=message):
        read_columns(path, "langlinks", ("ll_from", "ll_title"), ("ll_from",))


@pytest.mark.parametrize("block_bytes", [1, 1 << 20])
def test_error_names_the_line_and_byte_of_the_whole_file(tmp_path, monkeypatch, block_bytes):
    whole = sql.read_blocks
    monkeypatch.setattr(sql, "read_blocks", lambda piece: whole(piece, block_bytes))
    data = dump("langlinks", LANGLINKS, LINKS, between=b"\n").replace(b"O\\'Neill", b"O'Neill")
    place = data.index(b"Neill")
    with pytest.raises(InputError, match=rf"a\.sql:{data[:place].count(10) + 1}: byte {place}: tuple 3: expected"):
        read_columns(write(tmp_path / "a.sql", data), "langlinks", ("ll_title",))


def test_quote_that_never_ends_is_refused_before_it_fills_the_memory(tmp_path, monkeypatch):
    monkeypatch.setattr(sql, "_MAX_PENDING_BYTES", 1000)
    data = broken(b"(2,'de','Baum\n" + 2000 * b"x\n")
    whole = sql.read_blocks
    monkeypatch.setattr(sql, "read_blocks", lambda piece: whole(piece, 100))
    with pytest.raises(InputError, match="tuple 2 has no end within 1000 bytes: unbalanced quotes"):
        read_columns(write(tmp_path / "a.sql", data), "langlinks", ("ll_title",))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (dump("page", PAGE, []), "expected a dump of the table langlinks, found tables: page"),
        (b"", "expected a dump of the table langlinks, found tables: none"),
        (b"\x1f\x8b binary", "expected a dump of the table langlinks"),
        (insert("langlinks", LINKS), "before its CREATE TABLE"),
        (create("langlinks", {"ll_from": "int"}) + insert("langlinks", [(1,)]), "expected the columns ll_title"),
        (
            create("langlinks", LANGLINKS) + b"INSERT INTO `langlinks` SELECT * FROM x;\n",
            "expected VALUES after INSERT",
        ),
        (HEADER + create("langlinks", LANGLINKS) + insert("langlinks", LINKS), "without the line '-- Dump completed'"),
    ],
)
def test_what_is_no_whole_dump_of_the_table_is_refused(tmp_path, data, message):
    with pytest.raises(InputError, match=message):
        read_columns(write(tmp_path / "a.sql", data), "langlinks", ("ll_from", "ll_title"), ("ll_from",))


@pytest.mark.parametrize(("ending", "keep"), [(".gz", 0.5), (".gz", 0.99), (".xz", 0.9), (".bz2", 0.9)])
def test_truncated_compression_is_refused(tmp_path, ending, keep):
    compress = {".gz": gzip.compress, ".xz": lzma.compress, ".bz2": bz2.compress}[ending]
    packed = compress(dump("langlinks", LANGLINKS, LINKS * 1000))
    path = write(tmp_path / f"a.sql{ending}", packed[: int(len(packed) * keep)])
    with pytest.raises(InputError, match=r"a\.sql"):
        read_columns(path, "langlinks", ("ll_title",))


# --- Titles ---


@pytest.mark.parametrize(
    ("title", "cut"),
    [
        ("Mercury (planet)", "Mercury"),
        ("水星 （行星）", "水星"),
        ("水星（行星）", "水星"),
        ("Foo (album (1999))", "Foo"),
        ("Foo (band) (album)", "Foo"),
        ("Kategorie:Stadt", "Stadt"),
        ("Категория:Города (список)", "Города"),
        ("wikipedia:Foo", "Foo"),
        ("Thể loại:Thành phố", "Thành phố"),
        ("Portal: Still Alive", "Portal: Still Alive"),
        ("CSI:Miami", "CSI:Miami"),
        ("(What's the Story) Morning Glory?", "(What's the Story) Morning Glory?"),
        ("f(x) theory", "f(x) theory"),
        ("Smile :(", "Smile :("),
        ("(500)", ""),
    ],
)
def test_title_is_cut_of_namespace_and_bracketed_suffix(title, cut):
    assert pl.select(cut_title(pl.lit(title))).item() == cut


@pytest.mark.parametrize(
    ("title", "is_one"),
    [
        ("Mercury (disambiguation)", True),
        ("Merkur (Begriffsklärung)", True),
        ("Меркурий (значения)", True),
        ("水星 (曖昧さ回避)", True),
        ("水星（消歧义）", True),
        ("머큐리 (동음이의)", True),
        ("Merkür (anlam ayrımı)", True),
        ("عطارد (توضيح)", True),
        ("Mercury (planet)", False),
        ("Disambiguation", False),
        ("(disambiguation) of words", False),
    ],
)
def test_disambiguation_page_is_known_by_its_suffix(title, is_one):
    assert pl.select(is_disambiguation(pl.lit(title))).item() == is_one


# --- Langlinks ---

PAGES = [
    (1, 0, "House", 0, 0, 0.331, "20260101000000", "20260101000000", 5, 100, "wikitext", None),
    (2, 0, "Free_software", 0, 0, 1e-05, "20260101000000", None, 6, 100, "wikitext", None),
    (3, 0, "Home", 1, 0, 0.5, "20260101000000", None, 7, 10, "wikitext", None),
    (4, 14, "Houses", 0, 0, 0.5, "20260101000000", None, 8, 10, "wikitext", None),
    (5, 0, "Mercury", 0, 0, 0.5, "20260101000000", None, 9, 10, "wikitext", None),
    (6, 0, "Mercury_(planet)", 0, 0, 0.5, "20260101000000", None, 9, 10, "wikitext", None),
    (7, 0, "Mercury_(element)", 0, 0, 0.5, "20260101000000", None, 9, 10, "wikitext", None),
]


def write_dumps(folder, links, pages=PAGES, props=None, wiki="enwiki-20260101-", layout=PAGE):
    folder.mkdir(exist_ok=True)
    tables = {"langlinks": (LANGLINKS, links), "page": (layout, pages), "page_props": (PAGE_PROPS, props)}
    for table, (columns, rows) in tables.items():
        if rows is not None:
            write(folder / f"{wiki}{table}.sql.gz", gzip.compress(dump(table, columns, rows)))
    return str(folder)


def titles(reading, *columns):
    return reading.pairs.select(columns or ("source", "target_language", "target")).rows()


def test_titles_of_linked_pages_are_pairs_in_the_dump_s_order(tmp_path):
    links = [
        (2, "de", "Freie Software"),
        (1, "ru", "Дом"),
        (1, "de", "Haus"),
        (1, "fr", "Maison"),
        (2, "zh", "自由软件"),
    ]
    reading = read_langlinks(write_dumps(tmp_path, links), "en", ("de", "zh"))
    assert reading.pairs.rows(named=True) == [
        {"line": 1, "source": "Free software", "target": "Freie Software", "target_language": "de", "weight": 1.0},
        {"line": 3, "source": "House", "target": "Haus", "target_language": "de", "weight": 1.0},
        {"line": 5, "source": "Free software", "target": "自由软件", "target_language": "zh", "weight": 1.0},
    ]
    assert reading.counts == {"lines": 5, "blank": 0, "links to other languages": 2}


def test_what_is_left_out_is_counted_by_reason(tmp_path):
    links = [
        (1, "de", "Haus"), (3, "de", "Heim"), (4, "de", "Kategorie:Haus"), (5, "de", "Merkur (Begriffsklärung)"),
        (6, "de", "Merkur (Planet)"), (99, "de", "Weg"), (1, "de", "Bau#Haus"), (1, "de", ""), (1, "de", "(500)"),
        (1, "de", b"H\xe4user"), (1, "simple", "House"),
    ]  # fmt: skip
    reading = read_langlinks(write_dumps(tmp_path, links), "en", ("de",))
    assert titles(reading) == [("House", "de", "Haus"), ("Mercury", "de", "Merkur")]
    assert reading.malformed.rows() == [(10, "not UTF-8")]
    assert reading.counts == {
        "lines": 11, "blank": 0, "links to other languages": 1, "redirects": 1, "pages outside the main namespace": 1,
        "disambiguation pages": 1, "pages that the page dump lacks": 1, "links to a section of a page": 1,
        "empty titles": 2,
    }  # fmt: skip


def test_disambiguation_pages_are_known_from_page_props(tmp_path):
    links = [(1, "de", "Haus"), (5, "de", "Merkur")]
    props = [(5, "disambiguation", "", None), (1, "page_image_free", "a.jpg", None), (999, "disambiguation", "", 0.5)]
    reading = read_langlinks(write_dumps(tmp_path, links, props=props), "en", ("de",))
    assert titles(reading) == [("House", "de", "Haus")]
    assert reading.counts["disambiguation pages"] == 1


def test_older_layout_of_the_page_table_reads_alike(tmp_path):
    old = [(*page[:3], b"", *page[3:]) for page in PAGES]
    links = [(2, "de", "Freie Software"), (3, "de", "Heim")]
    reading = read_langlinks(write_dumps(tmp_path, links, pages=old, layout=OLD_PAGE), "en", ("de",))
    assert titles(reading) == [("Free software", "de", "Freie Software")]
    assert reading.counts["redirects"] == 1


def test_norwegian_wikipedia_is_bokmal(tmp_path):
    folder = write_dumps(tmp_path, [(1, "no", "Hus"), (1, "nn", "Hus"), (1, "nb", "Bolig")])
    assert titles(read_langlinks(folder, "en", ("nb",))) == [("House", "nb", "Hus"), ("House", "nb", "Bolig")]
    both = titles(read_langlinks(folder, "en", ("no", "nb")))
    assert both[:2] == [("House", "no", "Hus"), ("House", "nb", "Hus")]


def test_alemannic_wikipedia_is_not_albanian(tmp_path):
    reading = read_langlinks(write_dumps(tmp_path, [(1, "als", "Huus"), (1, "sq", "Shtëpia")]), "en", ("sq",))
    assert titles(reading) == [("House", "sq", "Shtëpia")]


def test_last_of_equal_sources_wins_as_in_the_paper(tmp_path):
    links = [(5, "de", "Merkur"), (6, "de", "Merkur (Planet)"), (7, "de", "Quecksilber"), (1, "de", "Haus")]
    reading = read_last_langlinks(write_dumps(tmp_path, links), "en", ("de",))
    assert titles(reading) == [("Mercury", "de", "Quecksilber"), ("House", "de", "Haus")]
    assert reading.counts["earlier duplicates of a title"] == 2


def test_redirect_dump_with_a_cycle_changes_nothing(tmp_path):
    folder = write_dumps(tmp_path, [(1, "de", "Haus"), (3, "de", "Heim")])
    redirects = [(3, 0, "House", "", ""), (1, 0, "Home", "", "")]
    layout = dict.fromkeys(["rd_from", "rd_namespace", "rd_title", "rd_interwiki", "rd_fragment"], "blob")
    write(tmp_path / "enwiki-20260101-redirect.sql", dump("redirect", layout, redirects))
    assert titles(read_langlinks(folder, "en", ("de",))) == [("House", "de", "Haus")]


@pytest.mark.parametrize("ending", [".gz", ".bz2", ".xz", ".zst", ""])
def test_dumps_are_found_by_name_in_any_compression(tmp_path, ending):
    compress = {
        ".gz": gzip.compress, ".bz2": bz2.compress, ".xz": lzma.compress, "": bytes,
        ".zst": lambda data: pa.compress(data, "zstd", asbytes=True),
    }[ending]  # fmt: skip
    links = write(tmp_path / f"enwiki-latest-langlinks.sql{ending}", compress(dump("langlinks", LANGLINKS, LINKS)))
    page = write(tmp_path / f"enwiki-latest-page.sql{ending}", compress(dump("page", PAGE, PAGES)))
    assert FORMATS["langlinks"].list_files(links, "en", ("fr",)) == [links, page]
    assert titles(FORMATS["langlinks"].read(str(tmp_path), "en", ("fr",))) == [("House", "fr", "Maison")]


def test_page_dump_with_the_same_ending_comes_first(tmp_path):
    links = write(tmp_path / "enwiki-langlinks.sql.bz2", bz2.compress(dump("langlinks", LANGLINKS, LINKS)))
    for ending in (".gz", ".bz2"):
        write(tmp_path / f"enwiki-page.sql{ending}", b"")
    assert langlinks_files(links, "en", ("de",))[1] == str(tmp_path / "enwiki-page.sql.bz2")


def test_folder_of_several_wikis_is_read_by_the_source_language(tmp_path):
    write_dumps(tmp_path, [(1, "fr", "Maison")], wiki="dewiki-20260101-")
    folder = write_dumps(tmp_path, [(1, "de", "Haus")])
    assert [Path(path).name for path in langlinks_files(folder, "en", ("de",))] == [
        "enwiki-20260101-langlinks.sql.gz",
        "enwiki-20260101-page.sql.gz",
    ]


def test_dump_of_another_wiki_is_refused(tmp_path):
    folder = write_dumps(tmp_path, LINKS)
    with pytest.raises(InputError, match="expected links from a wiki in de, got one in en"):
        read_langlinks(folder, "de", ("fr",))


def test_folder_without_or_with_two_dumps_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"expected one file .*langlinks.sql.gz, found none"):
        read_langlinks(str(tmp_path), "en", ("de",))
    write_dumps(tmp_path, LINKS)
    write_dumps(tmp_path, LINKS, wiki="enwiki-20260201-")
    with pytest.raises(InputError, match="name the file"):
        read_langlinks(str(tmp_path), "en", ("de",))


def test_missing_page_dump_is_named(tmp_path):
    path = write(tmp_path / "enwiki-20260101-langlinks.sql", dump("langlinks", LANGLINKS, LINKS))
    with pytest.raises(InputError, match=r"expected enwiki-20260101-page\.sql\.gz beside it"):
        read_langlinks(path, "en", ("de",))


def test_missing_or_misnamed_file_is_refused(tmp_path):
    with pytest.raises(InputError, match="no such file"):
        read_langlinks(str(tmp_path / "enwiki-langlinks.sql"), "en", ("de",))
    with pytest.raises(InputError, match="expected a name such as"):
        read_langlinks(str(tmp_path / "links.txt"), "en", ("de",))


def test_region_is_read_from_its_language_s_wikipedia(tmp_path):
    folder = write_dumps(tmp_path, [(1, "pt", "Casa")])
    assert titles(read_langlinks(folder, "en", ("pt-BR",))) == [("House", "pt-BR", "Casa")]


def test_script_is_refused_since_titles_are_in_any(tmp_path):
    with pytest.raises(InputError, match="in any script, so not in zh-Hant; ask for zh"):
        read_langlinks(write_dumps(tmp_path, LINKS), "en", ("zh-Hant",))


def test_absurd_page_id_is_refused_rather_than_given_memory(tmp_path):
    with pytest.raises(InputError, match=r"page ids must be in \[0, 4294967295\], got 99999999999"):
        read_langlinks(write_dumps(tmp_path, [(99999999999, "de", "Haus")]), "en", ("de",))


def test_no_link_to_a_wanted_language_gives_no_pairs(tmp_path):
    reading = read_langlinks(write_dumps(tmp_path, LINKS), "en", ("ja",))
    assert reading.pairs.is_empty()
    assert reading.counts["links to other languages"] == 3
