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
FOOTER = b"/*!40101 SET CHARACTER_SET_CLIENT=@OLD_CHARACTER_SET_CLIENT */;\n\n-- Dump completed on 2026-01-02  1:23:45\n"


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


LINKS = [(1, "de", "Haus"), (1, "fr", "Maison (bâtiment)"), (2, "de", "O'Neill \\ \"x\"\n")]


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


def test_every_cut_of_a_dump_is_refused(tmp_path):
    data = dump("langlinks", LANGLINKS, LINKS, per_statement=2, between=b"\n")
    for end in range(len(data) - len(b"-- Dump completed on 2026-01-02  1:23:45\n")):
        path = write(tmp_path / "a.sql", data[:end])
        with pytest.raises(InputError, match=r"a\.sql.*(fetch it again|expected a dump of the table)"):
            read_columns(path, "langlinks", ("ll_title",))


def broken(tuples):
    return create("langlinks", LANGLINKS) + b"INSERT INTO `langlinks` VALUES (1,'de','Haus')," + tuples + b"\n-- end\n"


@pytest.mark.parametrize(
    ("tuples", "message"),
    [
        (b"(2,'de','Ma", r":10: byte 427: the file ends within tuple 2 or before its semicolon; .* fetch it again"),
        (b"(2,'de','Baum')", ":10: byte 415: tuple 2: expected a tuple in brackets, and a comma or a semicolon behind"),
        (b"(2,'de','Baum);", "the file ends within tuple 2"),
        (b"(2,'de','O'Neill');", ":9: byte 401: tuple 2: expected .* balanced quotes"),
        (b"(2,'de');", ":9: byte 390: tuple 2: expected 3 values, got 2"),
        (b"(2,'de','x','y');", "tuple 2: expected 3 values, got 4"),
        (b"(2,,'x');", "tuple 2: expected a number, NULL or a text"),
        (b"(),(3,'de','x');", "tuple 2: expected a number, NULL or a text"),
        (b"2,'de','x');", "tuple 2: expected a tuple in brackets"),
        (b";", "tuple 2: expected a tuple in brackets"),
        (b"(x2,'de','x');", "tuple 2: expected an integer as ll_from, got x2"),
        (b"('2','de','x');", "tuple 2: expected an integer as ll_from, got 2"),
        (b"(NULL,'de','x');", "tuple 2: expected an integer as ll_from, got NULL"),
        (b"(2.5,'de','x');", "tuple 2: expected an integer"),
        (b"(-,'de','x');", "tuple 2: expected an integer"),
        (b"(99999999999999999999,'de','x');", "tuple 2: expected an integer"),
        (b"(2,'de',0x4E6F);", "tuple 2: expected a text in quotes .*hex-blob.* as ll_title, got 0x4E6F"),
    ],
)
def test_broken_tuple_is_refused_with_its_place(tmp_path, tuples, message):
    path = write(tmp_path / "a.sql", broken(tuples))
    with pytest.raises(InputError, match=message):
        read_columns(path, "langlinks", ("ll_from", "ll_title"), ("ll_from",))
