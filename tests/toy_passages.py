"""Small passage tables, and files damaged one byte at a time."""

import sys
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa

from csgen.errors import InputError
from indexing.passages import Filter, LexicalPart, LexicalSearch, PassageTable, write_lexical, write_passages


def batch(*passages: str, **columns: pa.Array | list[object]) -> pa.RecordBatch:
    """Passages given as "de/17 Das Haus", and further columns."""
    addresses, texts = [row.partition(" ")[0] for row in passages], [row.partition(" ")[2] for row in passages]
    parts = [address.partition("/") for address in addresses]
    own = {"language": [part[0] for part in parts], "passage_id": [part[2] for part in parts], "text": texts}
    strings = {name: pa.array(values, pa.string()) for name, values in own.items()}
    return pa.record_batch({**strings, **{name: pa.array(values) for name, values in columns.items()}})


def write(folder: Path, *batches: pa.RecordBatch) -> PassageTable:
    write_passages(folder, batches)
    return PassageTable.open(folder)


def write_whole(folder: Path, *batches: pa.RecordBatch) -> LexicalPart:
    """A table with its lexical part."""
    table = write(folder, *batches)
    write_lexical(folder, table)
    return LexicalPart.open(folder, table)


def read_everything(folder: Path) -> None:
    """Ask a segment for all that it has."""
    table = PassageTable.open(folder)
    rows = np.arange(len(table))
    table.take(rows)
    addresses = table.addresses(rows)
    table.find(addresses)
    for condition in ("section=devel", "year>=2000", "free=true"):
        Filter.from_options({"languages": ("de",), "where": (condition,)}).to_bitmap(table)
    part = LexicalPart.open(folder, table)
    for language in table.languages:
        live = np.full(-(-len(table) // 8), 0xFF, np.uint8)
        LexicalSearch([part], language).search(pl.Series(["rotes Haus tree", "red"]), 3, [live])


def damage_everywhere(folder: Path, times: int) -> tuple[int, int]:
    """Alter each file of a segment at places drawn with a fixed seed: how often that was noticed, and how often not."""
    rng = np.random.default_rng(1)
    noticed = unnoticed = 0
    for path in sorted(folder.iterdir()):
        whole = path.read_bytes()
        for _ in range(times):
            content = bytearray(whole)
            content[rng.integers(len(whole))] ^= int(rng.integers(1, 256))
            path.write_bytes(content)
            try:
                read_everything(folder)
                unnoticed += 1
            except InputError as error:
                if str(folder) not in str(error):
                    raise
                noticed += 1
        path.write_bytes(whole)
    return noticed, unnoticed


if __name__ == "__main__":
    print(*damage_everywhere(Path(sys.argv[1]), int(sys.argv[2])))  # noqa: T201
