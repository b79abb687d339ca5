"""How a compiled lexicon of ten million entries compares with one of a hundred thousand: bytes, opening, speed.

python benchmarks/large_lexicon.py
"""

import argparse
import statistics
import tempfile
import time
from functools import partial
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
from kernel import BATCH_ROWS, switch_all
from measure import Contender, print_table, ratio, take_turns
from workload import COLUMNS, Workload, describe_machine, open_workload

from csgen.lexicon.compiler import compile_table
from csgen.lexicon.table import Table, read_table, write_table
from csgen.schema import pair_schema
from csgen.switching.policy import Policy
from csgen.switching.switcher import Switcher

SMALL = 100_000
PROBABILITY = 0.3
SYLLABLES = [c + v for c in "bdfghjklmnprstvwz" for v in "aeiou"]
TEXT_WORDS = 55
COLD_ROWS = 1 << 14
SHAPES = {  # languages of a word, share of phrases of two and three words
    "words in all languages": (6, 0.0),
    "words in one language": (1, 0.0),
    "words and phrases in one language": (1, 0.3),
}


def make_words(numbers: np.ndarray) -> pl.Series:
    """A word of three to five syllables for each number below 85 ** 5: no two numbers have the same."""
    syllables = pl.Series(SYLLABLES)
    base, words, left = len(SYLLABLES), None, numbers.astype(np.int64)
    for k in range(5):
        digit, left = left % base, left // base
        part = syllables.gather(digit)
        if k > 2:
            part = pl.select(pl.when(pl.Series(numbers >= base**k)).then(part).otherwise(pl.lit(""))).to_series()
        words = part if words is None else words + part
    return words


def make_entries(count: int, num_languages: int, phrases: float, languages: tuple[str, ...]) -> pl.DataFrame:
    """Entries of made-up words, of which each has a translation into `num_languages` of the languages."""
    rng = np.random.default_rng(1)
    num_words = count // num_languages
    numbers = rng.permutation(np.arange(num_words, dtype=np.int64) * 40 + rng.integers(40, size=num_words))
    words = make_words(numbers)
    extra = [words.gather(rng.integers(num_words, size=num_words)) for _ in range(2)]
    kind = rng.random(num_words)
    sources = pl.select(
        pl.when(pl.Series(kind < phrases / 3))
        .then(pl.concat_str(words, extra[0], extra[1], separator=" "))
        .when(pl.Series(kind < phrases))
        .then(pl.concat_str(words, extra[0], separator=" "))
        .otherwise(words)
    ).to_series()
    frames = []
    for k in range(num_languages):
        chosen = np.array(languages)[(np.arange(num_words) + k) % len(languages)]
        targets = make_words(rng.integers(85**5, size=num_words))
        frames.append(pl.DataFrame({"source": sources, "target": targets, "target_language": chosen}))
    return pl.concat(frames).with_columns(weight=pl.lit(1.0), rank=pl.lit(1, pl.Int32))


def real_entries(workload: Workload, folder: str) -> pl.DataFrame:
    """The entries of the texts' most frequent words, a hundred thousand at most."""
    workload.build_lexicon(folder)
    entries = pl.read_parquet(Path(folder) / "entries.parquet")
    texts = pl.concat([pl.Series(workload.passages), pl.Series(workload.queries)]).cast(pl.String)
    counts = texts.str.to_lowercase().str.extract_all(r"\w+").explode().value_counts(name="count")
    known = entries.join(counts.rename({counts.columns[0]: "source"}), on="source", how="left")
    order = known.sort(pl.col("count").fill_null(0), "source", descending=[True, False])
    return order.head(SMALL).select("source", "target", "target_language", "weight", "rank")


def cold_pairs(entries: pl.DataFrame) -> pa.RecordBatch:
    """Texts of words drawn from all of a lexicon's, each as likely as any other: no cache helps."""
    words = entries["source"].str.split(" ").list.first().unique(maintain_order=True)
    drawn = words.gather(np.random.default_rng(2).integers(len(words), size=COLD_ROWS * TEXT_WORDS))
    rows = pl.DataFrame({"row": np.arange(len(drawn)) // TEXT_WORDS, "word": drawn})
    texts = rows.group_by("row", maintain_order=True).agg(pl.col("word").str.join(" "))["word"]
    ids = pa.array(np.arange(COLD_ROWS)).cast(pa.string())
    passages = texts.to_arrow().cast(pa.string())
    columns = [ids, passages.slice(0, COLD_ROWS), ids, passages, pa.array(np.zeros(COLD_ROWS, np.int8))]
    return pa.record_batch(columns, schema=pair_schema(COLUMNS))


def compile_into(entries: pl.DataFrame, folder: str) -> tuple[Table, list[str]]:
    """The compiled table, mapped; and seconds to compile, bytes on disk and milliseconds to open, for people."""
    begun = time.perf_counter()
    write_table(compile_table(entries, "en"), folder)
    seconds = time.perf_counter() - begun
    size = sum(path.stat().st_size for path in Path(folder).rglob("*") if path.is_file())
    opened = []
    for _ in range(5):
        begun = time.perf_counter()
        table = read_table(folder, "en")
        opened.append(time.perf_counter() - begun)
    milliseconds = statistics.median(opened) * 1000
    return table, [f"{len(entries):,}", f"{size / 1e6:,.0f}", f"{seconds:.0f}", f"{milliseconds:.1f}"]


def count_rows(batches: list[pa.RecordBatch]) -> int:
    return sum(batch.num_rows for batch in batches)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--entries", type=int, default=10_000_000, help="entries of the large lexicons")
    parser.add_argument("--rounds", type=int, default=5, help="turns of each (default 5)")
    arguments = parser.parse_args()
    workload = open_workload()
    policy = Policy.from_options({"languages": workload.languages, "probability": PROBABILITY, "max_words": 1})
    batches = [workload.pairs(k * BATCH_ROWS, BATCH_ROWS) for k in range(2)]
    sizes, speeds = [], []
    with tempfile.TemporaryDirectory() as folder:
        real = real_entries(workload, f"{folder}/real")
        small, shown = compile_into(real, f"{folder}/small")
        sizes.append(["the texts' words", *shown])
        small_cold = cold_pairs(real)
        for k, (name, (num_languages, phrases)) in enumerate(SHAPES.items()):
            made = make_entries(arguments.entries - len(real), num_languages, phrases, workload.languages)
            entries = pl.concat([real, made.select(real.columns)], how="vertical_relaxed")
            large, shown = compile_into(entries, f"{folder}/large-{k}")
            sizes.append([f"the same and made-up {name}", *shown])
            large_cold = cold_pairs(entries)
            rates = take_turns(
                [
                    Contender(title, count_rows(given), partial(switch_all, Switcher(policy, table), given))
                    for title, table, given in (
                        ("small", small, batches), ("large", large, batches),
                        ("small, cold", small, [small_cold]), ("large, cold", large, [large_cold]),
                    )
                ],
                arguments.rounds,
            )  # fmt: skip
            medians = [f"{statistics.median(rates[title]):,.0f}" for title in rates]
            speeds.append([name, *medians, *(f"{ratio(rates, f'large{x}', f'small{x}'):.2f}" for x in ("", ", cold"))])
            del entries, made
    print(f"{describe_machine()}, one core used; {workload.description}; p = {PROBABILITY}\n")
    print_table(["lexicon", "entries", "MB (at most 1,000)", "s to compile", "ms to open"], sizes)
    head = ["large lexicon of", "pairs/s small", "large", "small, cold", "large, cold"]
    print_table([*head, "large : small (at least .67)", "the same, cold"], speeds)


if __name__ == "__main__":
    main()
