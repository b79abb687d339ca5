"""Reading training pairs: formats, shards, bad rows, and that the fast path equals the rule."""

import gzip
import json
import lzma
from pathlib import Path
from typing import Any
from unittest import mock

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from csgen.errors import InputError
from csgen.sources import parquet, text
from csgen.sources.pairs import Shard, describe_input, list_shards, read_shard
from csgen.sources.parquet import write_pairs
from csgen.sources.rows import BadRow, refuse

DATA = Path(__file__).parents[1].parent / "shared" / "data"
NAMES = ["query_id", "query", "passage_id", "passage", "label"]


def rows(count: int) -> list[dict[str, Any]]:
    return [
        {
            "query_id": f"q{i}",
            "query": f"what is {i}?",
            "passage_id": f"p{i}",
            "passage": f"Straße {i} 日本",
            "label": i % 2,
        }
        for i in range(count)
    ]


def read(path: Path, rows_per_shard: int = 3, batch_rows: int = 2) -> tuple[list[dict[str, Any]], list[BadRow]]:
    bad: list[BadRow] = []
    shards = list_shards(str(path), rows_per_shard)
    good = [row for s in shards for batch in read_shard(s, batch_rows, bad.append) for row in batch.to_pylist()]
    return good, bad


def jsonl(path: Path, lines: list[Any]) -> Path:
    texts = [line if isinstance(line, bytes) else json.dumps(line).encode() for line in lines]
    path.write_bytes(b"\n".join(texts) + b"\n")
    return path


def tsv(path: Path, lines: list[str]) -> Path:
    path.write_bytes("\n".join(["\t".join(NAMES), *lines, ""]).encode("utf-8", "surrogateescape"))
    return path


def reasons(path: Path) -> list[tuple[int, str]]:
    return [(b.row, b.reason) for b in read(path)[1]]


# Formats


@pytest.mark.parametrize("ending", ["jsonl", "json", "ndjson", "jsonl.gz", "jsonl.zst", "jsonl.xz"])
def test_json_lines_are_read_in_every_compression(tmp_path: Path, ending: str) -> None:
    plain = "".join(json.dumps(r, ensure_ascii=False) + "\n" for r in rows(7)).encode()
    path = tmp_path / f"pairs.{ending}"
    packed = {"gz": gzip.compress(plain), "zst": pa.compress(plain, "zstd", asbytes=True), "xz": lzma.compress(plain)}
    path.write_bytes(packed.get(ending.rpartition(".")[2], plain))
    assert read(path) == (rows(7), [])


def test_tsv_with_carriage_returns_a_mark_and_blank_last_lines_is_read(tmp_path: Path) -> None:
    lines = ["\t".join(NAMES)] + ["\t".join(map(str, r.values())) for r in rows(4)]
    path = tmp_path / "pairs.tsv"
    path.write_bytes(b"\xef\xbb\xbf" + "\r\n".join([*lines, "", "", ""]).encode())
    assert read(path) == (rows(4), [])


def test_tsv_takes_quotes_as_they_are(tmp_path: Path) -> None:
    good, bad = read(tsv(tmp_path / "pairs.tsv", ['1\tthe "quoted\t2\t"a" b\t1']))
    assert (good[0]["query"], good[0]["passage"], bad) == ('the "quoted', '"a" b', [])


def test_parquet_columns_are_cast_to_the_schema_of_pairs(tmp_path: Path) -> None:
    table = pa.table(
        {
            "passage": pa.array(["x", "y"], pa.large_string()),
            "query": pa.array(["a", "b"]).dictionary_encode(),
            "label": pa.array([1.0, 0.0]),
            "query_id": pa.array([7, 8], pa.uint16()),
            "passage_id": pa.array([b"p", b"r"], pa.binary()),
            "score": pa.array([1, 2]),
            "extra": [1, 2],
        }
    )
    pq.write_table(table, tmp_path / "a.parquet")
    batch = next(read_shard(list_shards(str(tmp_path / "a.parquet"), 10)[0], 10, refuse))
    assert batch.schema.names == [*NAMES, "score"]
    assert [str(t) for t in batch.schema.types] == ["string"] * 4 + ["int8", "float"]
    assert batch.to_pylist()[0] == {
        "query_id": "7", "query": "a", "passage_id": "p", "passage": "x", "label": 1, "score": 1.0
    }  # fmt: skip


def test_files_by_uri_are_read(tmp_path: Path) -> None:
    jsonl(tmp_path / "a.jsonl", rows(3))
    uri = f"file://{tmp_path}/a.jsonl"
    good = [r for s in list_shards(uri, 5) for b in read_shard(s, 5, refuse) for r in b.to_pylist()]
    assert good == rows(3)


def test_parquet_in_a_remote_file_system_is_read() -> None:
    uri = "memory://pairs/a.parquet"
    write_pairs(pa.Table.from_pylist(rows(5)), uri)
    assert [b.num_rows for s in list_shards(uri, 2) for b in read_shard(s, 10, refuse)] == [2, 2, 1]


def test_description_names_columns_ignored_ones_and_ignored_files(tmp_path: Path) -> None:
    jsonl(tmp_path / "a.jsonl", [r | {"comment": 1, "score": 0.5} for r in rows(2)])
    (tmp_path / "LICENSE.txt").write_text("free")
    found = describe_input(str(tmp_path))
    assert (found.formats, found.columns) == (("jsonl",), (*NAMES, "score"))
    assert (found.ignored_columns, found.ignored_files) == (("comment",), (str(tmp_path / "LICENSE.txt"),))


def test_files_that_disagree_on_columns_are_refused(tmp_path: Path) -> None:
    jsonl(tmp_path / "a.jsonl", rows(2))
    jsonl(tmp_path / "b.jsonl", [r | {"score": 1} for r in rows(2)])
    with pytest.raises(InputError, match=r"b\.jsonl: .*a\.jsonl differs: score"):
        describe_input(str(tmp_path))


@pytest.mark.skipif(not DATA.exists(), reason="../shared/data is absent")
def test_real_pairs_are_read() -> None:
    shards = list_shards(str(DATA / "squad-pairs"), 1000)
    assert sum(b.num_rows for s in shards for b in read_shard(s, 4096, refuse)) == 9380


# Shards


@given(st.integers(1, 40), st.integers(1, 15), st.integers(1, 15), st.integers(1, 7))
@settings(max_examples=30, deadline=None)
def test_parquet_shards_cover_every_row_once_in_order(count: int, group: int, per_shard: int, batch: int) -> None:
    uri = "memory://cover.parquet"
    with mock.patch.object(parquet, "ROW_GROUP_ROWS", group):
        write_pairs(pa.Table.from_pylist(rows(count)).to_batches(max_chunksize=group), uri)
    shards = list_shards(uri, per_shard)
    assert max(s.num_rows for s in shards) < 3 * per_shard
    sizes = [[b.num_rows for b in read_shard(s, batch, refuse)] for s in shards]
    assert [sum(each) for each in sizes] == [s.num_rows for s in shards]
    assert max(max(each) for each in sizes) <= batch
    ids = [i for s in shards for b in read_shard(s, batch, refuse) for i in b["query_id"].to_pylist()]
    assert ids == [f"q{i}" for i in range(count)]


def test_only_the_row_groups_of_the_shard_are_read(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    pq.write_table(pa.Table.from_pylist(rows(30)), path, row_group_size=10)
    with mock.patch.object(pq.ParquetFile, "iter_batches", autospec=True, return_value=iter(())) as iter_batches:
        list(read_shard(Shard(str(path), "parquet", 12, 6), 100, refuse))
    assert iter_batches.call_args.kwargs["row_groups"] == [1]


def test_text_files_are_one_shard_each(tmp_path: Path) -> None:
    jsonl(tmp_path / "b.jsonl", rows(5))
    tsv(tmp_path / "a.tsv", ["1\t2\t3\t4\t0"])
    assert list_shards(str(tmp_path), 2) == [
        Shard(str(tmp_path / "a.tsv"), "tsv"), Shard(str(tmp_path / "b.jsonl"), "jsonl")
    ]  # fmt: skip


def test_written_pairs_are_the_same_file_again(tmp_path: Path) -> None:
    for name in ("a", "b"):
        assert write_pairs(pa.Table.from_pylist(rows(9)), str(tmp_path / f"{name}.parquet")) == 9
    assert (tmp_path / "a.parquet").read_bytes() == (tmp_path / "b.parquet").read_bytes()


# Bad rows

GOOD = rows(1)[0]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b'{"query_id": "q1", "query"', "not JSON: Expecting ':' delimiter at character 27"),
        (b"[1]", "expected one JSON object a line, got list"),
        ({k: v for k, v in GOOD.items() if k != "passage"}, "passage: the field is missing"),
        (GOOD | {"query": None}, "query: is null"),
        (GOOD | {"query": 5}, "query: expected text, got 5"),
        (GOOD | {"query_id": ""}, "query_id: is empty"),
        (GOOD | {"label": 128}, "label: expected a whole number from -128 to 127, got 128"),
        (GOOD | {"label": 0.5}, "label: expected a whole number from -128 to 127, got 0.5"),
        (GOOD | {"label": "1"}, "label: expected a whole number from -128 to 127, got '1'"),
        (GOOD | {"query": "a\ud800"}, "query: lone surrogate U+D800 at character 2: not valid Unicode"),
        (b'{"query": "\xff"}', "invalid UTF-8 at byte 12 (0xff)"),
        (b'{"query": "a", "query": "b"}', "query: the key stands twice"),
        (b"[" * 100_000, "not JSON: nested too deeply"),
    ],
)
def test_a_bad_json_line_is_named_with_its_line_and_reason(tmp_path: Path, line: Any, reason: str) -> None:
    path = jsonl(tmp_path / "a.jsonl", [*rows(3), b"", line, *rows(2)])
    good, bad = read(path)
    assert (good, [(b.row, b.reason) for b in bad]) == (rows(3) + rows(2), [(5, reason)])


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("q\tquery\tp\tpassage", "expected 5 fields between tabs, got 4"),
        ("q\tquery\tp\tpassage\tyes", "label: expected a whole number from -128 to 127, got 'yes'"),
        ("q\tquery\tp\tpassage\t0x1", "label: expected a whole number from -128 to 127, got '0x1'"),
        ("\tquery\tp\tpassage\t1", "query_id: is empty"),
        ("q\tque\udcffry\tp\tpassage\t1", "invalid UTF-8 at byte 6 (0xff)"),
    ],
)
def test_a_bad_tsv_line_is_named_with_its_line_and_reason(tmp_path: Path, line: str, reason: str) -> None:
    assert reasons(tsv(tmp_path / "a.tsv", ["1\ta\t2\tb\t1", line, "1\ta\t2\tb\t0"])) == [(3, reason)]


def test_a_bad_parquet_row_is_named_with_its_row_and_reason(tmp_path: Path) -> None:
    columns = {name: [r[name] for r in rows(9)] for name in NAMES}
    query = pa.array([b"ok"] * 6 + [b"bad\xff"] + [b"ok"] * 2, pa.binary()).view(pa.string())
    labels = pa.array([1.0] * 4 + [None] + [1.0] * 4)
    pq.write_table(pa.table(columns | {"query": query, "label": labels}), tmp_path / "a.parquet")
    good, bad = read(tmp_path / "a.parquet")
    assert [(b.row, b.reason) for b in bad] == [(5, "label: is null"), (7, "query: invalid UTF-8 at byte 4 (0xff)")]
    assert len(good) == 7
    assert json.loads(bad[1].text)["query"] == "bad\\xff"


def test_empty_texts_are_allowed(tmp_path: Path) -> None:
    assert read(jsonl(tmp_path / "a.jsonl", [GOOD | {"query": "", "passage": ""}]))[1] == []


def test_refusing_names_file_row_reason_and_remedy(tmp_path: Path) -> None:
    path = jsonl(tmp_path / "a.jsonl", [GOOD, GOOD | {"query": None}])
    with pytest.raises(InputError, match=r"a\.jsonl:2: query: is null; .*--on-error skip"):
        list(read_shard(Shard(str(path), "jsonl"), 10, refuse))


def test_lines_longer_than_a_block_keep_their_numbers(tmp_path: Path) -> None:
    lines = [GOOD, GOOD | {"passage": "x" * 1000}, b"{", GOOD]
    with mock.patch.object(text, "BLOCK_BYTES", 100):
        good, bad = read(jsonl(tmp_path / "a.jsonl", lines))
    assert (len(good), [b.row for b in bad]) == (3, [3])


# Whole files


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.txt", b"x", r"a\.txt: unknown kind of file; known are \.parquet, \.jsonl"),
        ("a.jsonl", b"", r"a\.jsonl: empty file"),
        ("a.tsv", b"", r"a\.tsv: empty file"),
        ("a.parquet", b"", r"a\.parquet: empty file"),
        ("a.parquet", b"no parquet at all", r"a\.parquet: not a Parquet file"),
        (
            "a.jsonl",
            b'{"query": "a", "id": 1}\n',
            r"missing columns query_id, passage_id, passage, label; found query, id;",
        ),
        ("a.tsv", b"a\ta\n", r"a\.tsv:1: the header names a column twice: a, a"),
        ("a.json", b'[{"query": "a"},\n{"query": "b"}]', r"a\.json:1: not JSON.*one object on each line"),
        ("a.jsonl.gz", gzip.compress(b"x" * 1000)[:-12], r"a\.jsonl\.gz: cannot be read, damaged or cut short"),
        ("a.jsonl.gz", b"no gzip", r"a\.jsonl\.gz: cannot be read, damaged or cut short"),
        ("a.jsonl.zst", pa.compress(b"x\n" * 5000, "zstd", asbytes=True)[:-5], r"a\.jsonl\.zst: cannot be read"),
        ("a.jsonl.xz", lzma.compress(b"x" * 1000)[:-9], r"a\.jsonl\.xz: cannot be read"),
    ],
)
def test_a_file_that_cannot_be_pairs_is_refused(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=message):
        describe_input(str(tmp_path / name))


def test_a_missing_path_and_an_empty_folder_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file or folder"):
        list_shards(str(tmp_path / "nothing"), 5)
    with pytest.raises(InputError, match="holds no file of pairs"):
        list_shards(str(tmp_path), 5)


def test_a_parquet_column_of_a_wrong_type_is_refused(tmp_path: Path) -> None:
    pq.write_table(pa.Table.from_pylist([r | {"label": "yes"} for r in rows(2)]), tmp_path / "a.parquet")
    with pytest.raises(InputError, match="column label: expected whole numbers, got string"):
        describe_input(str(tmp_path / "a.parquet"))


def test_parquet_without_rows_is_refused(tmp_path: Path) -> None:
    pq.write_table(pa.Table.from_pylist(rows(1)).slice(0, 0), tmp_path / "a.parquet")
    with pytest.raises(InputError, match="holds no rows"):
        list_shards(str(tmp_path / "a.parquet"), 5)


# The fast path and the rule

wild = st.one_of(
    st.none(), st.booleans(), st.integers(-130, 130), st.integers(), st.floats(), st.lists(st.integers(), max_size=1),
    st.text(st.characters(codec=None), max_size=4), st.dictionaries(st.text(max_size=2), st.integers(), max_size=1),
)  # fmt: skip
plain_text = st.text(st.characters(codec="utf-8"), min_size=1, max_size=4)
good_row = st.fixed_dictionaries(
    {"query_id": plain_text, "query": plain_text, "passage_id": plain_text, "passage": plain_text},
    optional={"extra": wild},
).flatmap(
    lambda r: st.builds(
        lambda label, score: r | {"label": label, "score": score}, st.sampled_from([0, 1]), st.floats(-9, 9)
    )
)
wild_row = st.builds(
    lambda row, name, value: row | {name: value}, good_row, st.sampled_from([*NAMES, "score", "other"]), wild
)
json_line = st.one_of(
    good_row.map(json.dumps), good_row.map(lambda r: json.dumps(r, ensure_ascii=False)), wild_row.map(json.dumps)
).map(str.encode)  # fmt: skip
broken = st.builds(lambda line, at, junk: line[:at] + junk + line[at:], json_line, st.integers(0, 60), st.sampled_from(
    [b"{", b"}", b"}{", b"\n", b"}\n{", b"\r", b"\x00", b"\xff", b"\xed\xa0\x80", b"\\ud800", b",", b'"', b"\\", b" "]
))  # fmt: skip


def both_ways(path: Path) -> tuple[Any, Any]:
    fast = read(path, batch_rows=1000)
    with mock.patch.object(text, "_parse_whole", return_value=None):
        return fast, read(path, batch_rows=1000)


@given(st.lists(st.one_of(json_line, broken), max_size=4), st.sampled_from([b"\n", b"\r\n", b"\n\n"]))
@settings(max_examples=300, deadline=None)
def test_json_blocks_and_lines_give_the_same_rows(
    tmp_path_factory: pytest.TempPathFactory, lines: list[bytes], end: bytes
) -> None:
    path = tmp_path_factory.getbasetemp() / "wild.jsonl"
    path.write_bytes(end.join([json.dumps(GOOD | {"score": 1.5}).encode(), *lines, b""]))
    fast, slow = both_ways(path)
    assert fast == slow


field = st.one_of(
    st.text(st.characters(codec="utf-8", exclude_characters="\t\n"), max_size=4),
    st.sampled_from(["1", "0", "-1", "1.0", "+1", "0x1", "1e0", "128", " 1", "", '"', "nan", "1e39", ".5", "1_0", "١"]),
)


@given(
    st.lists(st.lists(field, min_size=5, max_size=7).map("\t".join), max_size=4),
    st.sampled_from(["\n", "\r\n", "\n\n"]),
)
@settings(max_examples=300, deadline=None)
def test_tsv_blocks_and_lines_give_the_same_rows(
    tmp_path_factory: pytest.TempPathFactory, lines: list[str], end: str
) -> None:
    path = tmp_path_factory.getbasetemp() / "wild.tsv"
    path.write_bytes(end.join(["\t".join([*NAMES, "score"]), "q\ta\tp\tb\t1\t2", *lines, ""]).encode())
    fast, slow = both_ways(path)
    assert fast == slow


@pytest.mark.parametrize("name", ["a.jsonl", "a.tsv", "a.parquet"])
def test_clean_rows_take_the_fast_path(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    if name == "a.parquet":
        write_pairs(pa.Table.from_pylist(rows(50)), str(path))
    elif name == "a.tsv":
        tsv(path, ["\t".join(map(str, r.values())) for r in rows(50)])
    else:
        jsonl(path, rows(50))
    with (
        mock.patch.object(text, "_sift", side_effect=AssertionError),
        mock.patch.object(parquet, "_sift", side_effect=AssertionError),
    ):
        assert read(path) == (rows(50), [])


def test_damaged_parquet_pages_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    pq.write_table(pa.Table.from_pylist(rows(2000)), path, compression="zstd")
    content = bytearray(path.read_bytes())
    content[200:4000] = bytes(3800)
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"a\.parquet: damaged Parquet file"):
        read(path, rows_per_shard=5000)
