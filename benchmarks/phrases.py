"""One core: pairs a second of the policy `phrase` over a million titles, and of a plain loop over n-grams.

python benchmarks/phrases.py
"""

import argparse
import random
from statistics import median

import numpy as np
import polars as pl
import pyarrow as pa
from measure import Contender, print_table, ratio, take_turns
from workload import DATA, SAMPLE, describe_machine, open_workload

from csgen.lexicon.compiler import compile_table
from csgen.lexicon.table import Table
from csgen.readers.lines import read_muse, read_tsv
from csgen.switching.policy import Policy
from csgen.switching.switcher import Switcher

LANGUAGES = ("de", "it", "nl", "ru", "ar")  # the paper's
MAX_WORDS = 3
LENGTHS = {1: 0.25, 2: 0.45, 3: 0.30}  # share of the titles by number of words
VOCABULARY = 300_000
SHARE_WITH_LANGUAGE = 0.25  # of the other titles, by language: few articles exist in all of them
BATCH_ROWS = 1 << 15
REQUIRED = 15
CSGEN, LOOP = "csgen, preset wiki-cs but for English", "loop over n-grams, longest first"


def read_vocabulary() -> list[str]:
    """English words, the frequent first (those that stand early in any list), then the other languages'."""
    if DATA.is_dir():
        lists = [read_muse(str(p)).pairs for p in sorted((DATA / "lexicons" / "muse").glob("en-*.tsv.xz"))]
    else:
        lists = [read_tsv(str(p)).pairs for p in sorted((SAMPLE / "lexicon").glob("en-*.tsv"))]
    pairs = pl.concat(lists)
    words = pl.concat([_by_first_line(pairs, side) for side in ("source", "target")]).str.to_lowercase()
    return words.filter(~words.str.contains(r"\s")).unique(maintain_order=True).head(VOCABULARY).to_list()


def _by_first_line(pairs: pl.DataFrame, side: str) -> pl.Series:
    return pairs.group_by(side).agg(pl.col("line").min()).sort("line", side)[side]


def make_titles(words: list[str], count: int) -> list[str]:
    """Distinct titles whose words are drawn by Zipf's law; the vocabulary gives the single words."""
    generator = np.random.default_rng(1)
    bounds = np.cumsum(1 / np.arange(1, len(words) + 1))
    titles: dict[str, None] = dict.fromkeys(words[: int(count * LENGTHS[1])])
    while len(titles) < count:
        drawn = np.searchsorted(bounds, generator.random(MAX_WORDS * count) * bounds[-1]).reshape(-1, MAX_WORDS)
        long = generator.random(count) < LENGTHS[3] / (LENGTHS[2] + LENGTHS[3])
        for row, is_long in zip(drawn.tolist(), long.tolist(), strict=True):
            titles[" ".join(words[w] for w in row[: 3 if is_long else 2])] = None
    return list(titles)[:count]


def translate(titles: list[str]) -> pl.DataFrame:
    """Entries of the form that the compiler of lexicons reads; a translation is another title with a mark."""
    generator = np.random.default_rng(2)
    parts: list[pl.DataFrame] = []
    for language in LANGUAGES:
        has = generator.random(len(titles)) < SHARE_WITH_LANGUAGE
        has[len(parts) :: len(LANGUAGES)] = True  # each title is there in one language at least
        chosen = pl.Series(np.flatnonzero(has))
        sources = pl.Series(titles).gather(chosen)
        targets = sources.sample(fraction=1, shuffle=True, seed=len(parts)) + f"-{language}"
        parts.append(pl.DataFrame({"source": sources, "target": targets, "target_language": language}))
    return pl.concat(parts).with_columns(weight=pl.lit(1.0), rank=pl.lit(1, pl.Int32))


def switch_phrases(texts: list[tuple[str, str]], dictionaries: dict[str, dict[str, str]]) -> list[list[str]]:
    """The naive loop: one language a text, and at each word the longest n-gram that its dictionary has."""
    languages = list(dictionaries)
    return [[_switch_text(text, dictionaries[random.choice(languages)]) for text in pair] for pair in texts]


def _switch_text(text: str, translations: dict[str, str]) -> str:
    tokens, at = text.split(), 0
    result: list[str] = []
    while at < len(tokens):
        for length in range(min(MAX_WORDS, len(tokens) - at), 0, -1):
            target = translations.get(" ".join(tokens[at : at + length]).lower())
            if target is not None:
                result.append(target)
                at += length
                break
        else:
            result.append(tokens[at])
            at += 1
    return " ".join(result)


def contenders(table: Table, entries: pl.DataFrame, batch: pa.RecordBatch, loop_pairs: int) -> list[Contender]:
    policy = Policy.from_options({"preset": "wiki-cs", "tokens": "words", "languages": LANGUAGES})
    switcher = Switcher(policy, table)
    counts = switcher.switch(batch).counts["passage"]
    print(f"{counts.realised_ratio:.1%} of the passages' tokens switched\n")
    dictionaries = {
        str(language): dict(part.select("source", "target").iter_rows())
        for (language,), part in entries.group_by("target_language", maintain_order=True)
    }
    first = batch.slice(0, loop_pairs)
    texts = list(zip(first["query"].to_pylist(), first["passage"].to_pylist(), strict=True))
    return [
        Contender(CSGEN, batch.num_rows, lambda: switcher.switch(batch)),
        Contender(LOOP, len(texts), lambda: switch_phrases(texts, dictionaries)),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--titles", type=int, default=1_000_000, help="titles of the lexicon (default 1000000)")
    parser.add_argument("--loop-pairs", type=int, default=20_000, help="pairs that the loop gets, at most a batch")
    parser.add_argument("--rounds", type=int, default=5, help="turns of each (default 5)")
    arguments = parser.parse_args()
    workload, words = open_workload(), read_vocabulary()
    entries = translate(make_titles(words, arguments.titles))
    print(
        f"{describe_machine()}, one core used\n\n{workload.description}; {entries['source'].n_unique():,} titles of up "
        f"to {MAX_WORDS} words from a vocabulary of {len(words):,}, {len(entries):,} translations "
        f"into {len(LANGUAGES)} languages;",
        end=" ",
    )
    random.seed(1)
    batch = workload.pairs(0, BATCH_ROWS)
    rates = take_turns(contenders(compile_table(entries, "en"), entries, batch, arguments.loop_pairs), arguments.rounds)
    print_table(["", "pairs/s, median", "best"], [(n, f"{median(r):,.0f}", f"{max(r):,.0f}") for n, r in rates.items()])
    measured = f"{ratio(rates, CSGEN, LOOP):.1f}"
    print_table(["ratio, median of the rounds", "measured", "at least"], [(f"{CSGEN} : {LOOP}", measured, REQUIRED)])


if __name__ == "__main__":
    main()
