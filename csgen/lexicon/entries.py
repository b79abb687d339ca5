"""The table of a lexicon's entries: cleaning of pairs, and its Parquet file.

Knows no source format: the readers hand over pairs of `line, source, target, weight`, in the order of their file.
"""

import difflib
import unicodedata
from itertools import accumulate, pairwise

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from csgen.characters import FOLD_PAGES, FOLD_VALUES, PAGE_BITS, fold
from csgen.errors import InputError
from csgen.files import join, open_input, replace_file
from csgen.manifest import Manifest
from csgen.readers.columns import count_reasons, first_reason, tidy

ENTRIES_NAME = "entries.parquet"
STAGE = "lexicon"

ENTRY_SCHEMA = pa.schema(
    [
        ("source", pa.string()),
        ("source_language", pa.string()),
        ("target", pa.string()),
        ("target_language", pa.string()),
        ("weight", pa.float64()),  # sums to 1 within a folded source and language pair
        ("rank", pa.int32()),  # 1: the heaviest, then the first listed, within the same
        ("origin", pa.string()),  # of several sources, joined by "; " in the order of their names
        ("licence", pa.string()),  # of each of these, joined likewise
    ]
)

MAX_SOURCE_WORDS = 5
MAX_TARGET_WORDS = 8

IDENTICAL = "identical source and target"
DUPLICATE = "duplicate, weight added to the first"

_GROUP_ROWS = 1 << 20  # rows of a row group
_FOLD_ROWS = 1 << 20  # rows folded at a time: bounds the memory for code points and their indices


def fold_column(texts: pl.Series) -> pl.Series:
    """`csgen.characters.fold` of every text of a String column without nulls."""
    folded = [_fold_slice(texts.slice(start, _FOLD_ROWS)) for start in range(0, len(texts), _FOLD_ROWS)]
    return pl.concat(folded) if folded else texts


def _fold_slice(texts: pl.Series) -> pl.Series:
    lowered = texts.str.to_lowercase()  # the same as fold for ASCII, but not for a final sigma or a dotted capital I
    rows = (texts.str.len_bytes() != texts.str.len_chars()).arg_true()
    if rows.is_empty():
        return lowered
    rest = texts.gather(rows).to_list()
    points = np.frombuffer("".join(rest).encode("utf-32-le"), "<u4").astype(np.int32)
    points = points + FOLD_VALUES[FOLD_PAGES[points >> PAGE_BITS], points & ((1 << PAGE_BITS) - 1)]
    text = points.astype("<u4").tobytes().decode("utf-32-le")
    bounds = accumulate(map(len, rest), initial=0)
    return lowered.scatter(rows, pl.Series([text[start:end] for start, end in pairwise(bounds)], dtype=pl.String))


def clean_pairs(pairs: pl.DataFrame, identical: str) -> tuple[pl.DataFrame, dict[str, int]]:
    """Tidy `source` and `target`, add `key` (the folded source), and drop what can be no entry.

    `identical` is "drop" or "keep". Returns the pairs left, in their order, and the dropped ones' number by reason.
    """
    tidied = pairs.with_columns(tidy(pl.col("source")), tidy(pl.col("target")))
    tidied = tidied.with_columns(key=fold_column(tidied["source"]), target_key=fold_column(tidied["target"]))
    either = pl.concat_str("source", "target", separator=" ")
    rules = {
        "no letter or number": ~_has(pl.col("source"), r"[\p{L}\p{N}]") | ~_has(pl.col("target"), r"[\p{L}\p{N}]"),
        "control character": _has(either, r"\p{Cc}"),
        "unbalanced bracket": _has(either, r"[()\[\]{}]"),
        f"source of more than {MAX_SOURCE_WORDS} words": _count_words("source") > MAX_SOURCE_WORDS,
        f"target of more than {MAX_TARGET_WORDS} words": _count_words("target") > MAX_TARGET_WORDS,
    }
    if identical == "drop":
        rules[IDENTICAL] = pl.col("key") == pl.col("target_key")
    judged = tidied.with_columns(reason=first_reason(rules))
    left = judged.filter(pl.col("reason").is_null()).drop("reason", "target_key")
    return left, count_reasons(judged["reason"])


def _has(text: pl.Expr, pattern: str) -> pl.Expr:
    return text.str.contains(pattern)


def _count_words(name: str) -> pl.Expr:
    return pl.col(name).str.count_matches(" ", literal=True) + 1


def write_entries(entries: pl.DataFrame, folder: str, name: str = ENTRIES_NAME) -> None:
    """Write entries, in the order given, in slices that bound the memory for it."""
    with (
        replace_file(join(folder, name)) as stream,
        pq.ParquetWriter(stream, ENTRY_SCHEMA, compression="zstd") as writer,
    ):
        for part in entries.select(ENTRY_SCHEMA.names).iter_slices(_GROUP_ROWS):
            writer.write_table(part.with_columns(pl.col(pl.Enum).cast(pl.String)).to_arrow().cast(ENTRY_SCHEMA))


def read_entries(folder: str, name: str = ENTRIES_NAME) -> pl.DataFrame:
    """The entries of a finished lexicon, in the file's order."""
    manifest = Manifest.read(folder)
    if manifest.stage != STAGE:
        raise InputError(f"{folder}: expected a lexicon, got the output of csgen {manifest.stage}")
    path = join(folder, name)
    with open_input(path) as stream:
        try:
            return pl.DataFrame(pq.read_table(stream))
        except pa.ArrowInvalid as error:
            raise InputError(f"{path}: damaged: {error}; build the lexicon again") from error


def show_word(folder: str, word: str) -> pl.DataFrame:
    """The entries of a word or phrase in any case, by language, the heaviest first, then the first listed."""
    entries = read_entries(folder)
    key = fold(unicodedata.normalize("NFC", " ".join(word.split())))
    keys = fold_column(entries["source"])
    found = entries.filter(keys == key)
    if found.is_empty():
        raise InputError(f"{folder}: no entry for {word!r}{_suggest(key, keys)}")
    return found.sort("source_language", "target_language", "rank")


def _suggest(key: str, keys: pl.Series) -> str:
    # difflib over half a million sources takes seconds: only those of nearly its length and with its first letter
    length = keys.str.len_chars().cast(pl.Int64)
    likely = keys.filter(keys.str.starts_with(key[:1]) & length.is_between(len(key) - 2, len(key) + 2)).unique().sort()
    near = difflib.get_close_matches(key, likely.to_list(), n=3, cutoff=0.75)
    return f"; did you mean {' or '.join(near)}?" if near else ""
