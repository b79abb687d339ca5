"""BEIR's two kinds of file: documents (JSON lines of `_id, text, title`) and qrels (TSV `query-id corpus-id score`).

Knows no folder layout: which files stand where is the business of BEIR folders and parallel collections.
"""

from collections.abc import Iterable, Iterator
from typing import NoReturn

import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from csgen.errors import InputError
from csgen.files import find_file, replace_file
from csgen.sources.rows import BadRow, Kinds, OnBadRow
from csgen.sources.text import Tsv, json_head, json_lines, read_lines, tsv_header

DOCUMENT_KINDS: Kinds = {"_id": "id", "text": "text", "title": "title"}
QREL_KINDS: Kinds = {"query-id": "id", "corpus-id": "id", "score": "label"}
BATCH_ROWS = 1 << 13


def refuse_line(bad: BadRow) -> NoReturn:
    """Stop at the first bad line of a file of which no line can be spared."""
    raise InputError.at(bad.path, bad.row, bad.reason)


def require_file(path: str) -> str:
    """The file at `path`, plain or compressed."""
    found = find_file(path)
    if found is None:
        raise InputError.at(path, None, "no such file, plain or compressed")
    return found


def read_documents(path: str, on_bad_row: OnBadRow) -> Iterator[pa.RecordBatch]:
    """Batches of `_id, text, title`, where a missing title is "". Other fields are not read."""
    head = json_head(path)
    if missing := [name for name in ("_id", "text") if name not in head]:
        raise InputError.at(
            path, None, f"missing field {missing[0]}; found {', '.join(head)}; documents need _id, text"
        )
    return read_lines(path, json_lines(DOCUMENT_KINDS, head), 1, BATCH_ROWS, on_bad_row)


def whole_text(documents: pa.RecordBatch) -> pa.Array:
    """The title, a space and the text, as BEIR joins them; the text alone where there is no title."""
    title, text = documents.column("title"), documents.column("text")
    return pc.if_else(pc.equal(title, ""), text, pc.binary_join_element_wise(title, text, " "))


def load_documents(path: str) -> pl.DataFrame:
    """All documents of a file: `_id, text`, and `title` where any has one. Bad lines and equal ids are refused."""
    documents = pl.concat([_frame(batch) for batch in read_documents(path, refuse_line)])
    if (doubles := documents["_id"].is_duplicated()).any():
        raise InputError.at(path, None, f"the _id {documents['_id'].filter(doubles)[0]!r} stands more than once")
    return documents if (documents["title"] != "").any() else documents.drop("title")


def write_documents(path: str, documents: Iterable[pl.DataFrame]) -> int:
    """Write `_id, title, text` (title where given) as JSON lines, atomically; the number of documents."""
    num_documents = 0
    with replace_file(path) as stream:
        for part in documents:
            columns = [name for name in ("_id", "title", "text") if name in part.columns]
            stream.write(part.select(columns).write_ndjson().encode())
            num_documents += part.height
    return num_documents


def qrels_format(path: str) -> tuple[Tsv, int]:
    """How to read a file of qrels, and the line of its first judgement. The header is required."""
    line, fields = tsv_header(path)
    if not set(QREL_KINDS) <= set(fields):
        wanted, found = " ".join(QREL_KINDS), " ".join(fields)
        raise InputError.at(path, line, f"expected a header of {wanted} between tabs, got {found[:80]!r}")
    return Tsv(fields, QREL_KINDS), line + 1


def load_qrels(path: str) -> pl.DataFrame:
    """All judgements of a file: `query_id, passage_id, score`, in the file's order. A bad line is refused."""
    form, first_line = qrels_format(path)
    batches = [_frame(batch) for batch in read_lines(path, form, first_line, BATCH_ROWS, refuse_line)]
    if not batches:
        raise InputError.at(path, None, "holds no judgements")
    return pl.concat(batches).rename({"query-id": "query_id", "corpus-id": "passage_id"})


def write_qrels(path: str, qrels: Iterable[pl.DataFrame]) -> int:
    """Write `query_id, passage_id, score` as BEIR's TSV with its header, atomically; the number of judgements."""
    num_qrels = 0
    with replace_file(path) as stream:
        stream.write("\t".join(QREL_KINDS).encode() + b"\n")
        for part in qrels:
            for name in ("query_id", "passage_id"):
                if (odd := part.filter(pl.col(name).str.contains(r"[\t\r\n]"))).height:
                    raise InputError(f"{path}: an id with a tab or a line break cannot be written: {odd[name][0]!r}")
            lines = part.select("query_id", "passage_id", "score")
            text = lines.write_csv(include_header=False, separator="\t", quote_style="never")
            stream.write(text.encode())
            num_qrels += part.height
    return num_qrels


def _frame(batch: pa.RecordBatch) -> pl.DataFrame:
    frame = pl.from_arrow(pa.Table.from_batches([batch]))
    assert isinstance(frame, pl.DataFrame)
    return frame
