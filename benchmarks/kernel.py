"""One core: pairs a second of the switcher and of plain Python loops that do the same on the same pairs.

python benchmarks/kernel.py
"""

import argparse
import random
import tempfile
from collections.abc import Callable
from functools import partial
from statistics import median
from typing import Any

import numpy as np
import pyarrow as pa
from measure import Contender, print_table, ratio, take_turns
from nltk.tokenize import TreebankWordDetokenizer, TreebankWordTokenizer
from workload import Workload, describe_machine, open_workload

from csgen.lexicon.table import Table
from csgen.switching.policy import Policy
from csgen.switching.switcher import Bytes, Counts, Switcher

PROBABILITY = 0.3
BATCH_ROWS = 1 << 15  # as the job has it
PLAIN = {"redraw": False, "translation": "best", "case": "lower", "protect": ()}
DEFAULT, REDRAW, LIKE_LOOP, TREEBANK, COPY, MEMCPY = (
    "csgen, defaults, no second draw",
    "csgen, defaults",
    "csgen, what the loops do",
    "csgen, preset ml-cs (Treebank tokens)",
    "csgen at p = 0",
    "memcpy of the same texts",
)
PAPER_LOOP, NLTK_LOOP, SPLIT_LOOP = (
    "the paper's loop (NLTK tokens, detokenised)",
    "the same, joined by spaces",
    "the same with str.split",
)
REQUIRED = (  # of the first to the second
    (DEFAULT, PAPER_LOOP, "300"),
    (LIKE_LOOP, PAPER_LOOP, "300"),
    (TREEBANK, PAPER_LOOP, ""),
    (DEFAULT, NLTK_LOOP, ""),
    (LIKE_LOOP, NLTK_LOOP, ""),
    (DEFAULT, SPLIT_LOOP, "16"),
    (LIKE_LOOP, SPLIT_LOOP, "16"),
    (DEFAULT, COPY, "0.2"),
    (LIKE_LOOP, COPY, "0.2"),
)


def switch_texts(
    texts: list[tuple[str, str]],
    tokenize: Callable[[str], list[str]],
    join: Callable[[list[str]], str],
    dictionaries: dict[str, dict[str, str]],
) -> list[list[str]]:
    """The loop of the paper: each token is replaced with probability p by its translation into a random language."""
    languages = list(dictionaries)
    rows = []
    for pair in texts:
        row = []
        for text in pair:
            tokens = []
            for token in tokenize(text):
                if random.random() < PROBABILITY:
                    translations = dictionaries[random.choice(languages)]
                    tokens.append(translations.get(token.lower(), token))
                else:
                    tokens.append(token)
            row.append(join(tokens))
        rows.append(row)
    return rows


def policies(languages: tuple[str, ...]) -> dict[str, Policy]:
    """The settings of csgen that are measured."""
    options: dict[str, dict[str, Any]] = {
        DEFAULT: {"redraw": False},
        REDRAW: {},
        LIKE_LOOP: PLAIN,
        TREEBANK: {"preset": "ml-cs"},
        COPY: {"redraw": False, "probability": 0.0},
    }
    shared = {"languages": languages, "probability": PROBABILITY}
    return {name: Policy.from_options(shared | own) for name, own in options.items()}


def contenders(batches: list[pa.RecordBatch], loop_pairs: int, table: Table, dictionaries: Any) -> list[Contender]:
    """Everything that takes its turn; the loops get their texts as Python strings already."""
    num_pairs = sum(b.num_rows for b in batches)
    found = [
        Contender(name, num_pairs, partial(switch_all, Switcher(policy, table), batches))
        for name, policy in policies(tuple(dictionaries)).items()
    ]
    first = batches[0].slice(0, loop_pairs)
    texts = list(zip(first["query"].to_pylist(), first["passage"].to_pylist(), strict=True))
    buffers = [np.frombuffer(b[side].buffers()[2], np.uint8) for b in batches for side in ("query", "passage")]
    copies = [np.empty_like(b) for b in buffers]
    return [
        *found,
        Contender(MEMCPY, num_pairs, partial(copy_all, copies, buffers)),
        *(
            Contender(name, len(texts), partial(switch_texts, texts, tokenize, join, dictionaries))
            for name, tokenize, join in (
                (SPLIT_LOOP, str.split, " ".join),
                (NLTK_LOOP, TreebankWordTokenizer().tokenize, " ".join),
                (PAPER_LOOP, TreebankWordTokenizer().tokenize, TreebankWordDetokenizer().detokenize),
            )
        ),
    ]


def switch_all(switcher: Switcher, batches: list[pa.RecordBatch]) -> Counts:
    """Switch every batch; returns what was done to the passages."""
    counts = [switcher.switch(batch).counts["passage"] for batch in batches]
    return sum(counts[1:], counts[0])


def copy_all(copies: list[Bytes], buffers: list[Bytes]) -> None:
    for copy, buffer in zip(copies, buffers, strict=True):
        np.copyto(copy, buffer)


def describe_load(workload: Workload, batches: list[pa.RecordBatch], table: Table) -> str:
    num_bytes = np.mean([b[side].nbytes - 4 * b.num_rows for b in batches for side in ("query", "passage")]) * 2
    switcher = Switcher(policies(workload.languages)[DEFAULT], table)
    realised = switch_all(switcher, batches).realised_ratio
    return (
        f"{workload.description}; {len(batches)} batches of {batches[0].num_rows:,} pairs, "
        f"{num_bytes / batches[0].num_rows:.0f} bytes a pair; p = {PROBABILITY}, "
        f"languages {', '.join(workload.languages)}; {realised:.1%} of the passages' tokens switched"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--batches", type=int, default=4, help=f"batches of {BATCH_ROWS} pairs for csgen (default 4)")
    parser.add_argument("--loop-pairs", type=int, default=20_000, help="pairs that the loops get, at most a batch")
    parser.add_argument("--rounds", type=int, default=5, help="turns of each (default 5)")
    arguments = parser.parse_args()
    workload = open_workload()
    batches = [workload.pairs(k * BATCH_ROWS, BATCH_ROWS) for k in range(arguments.batches)]
    with tempfile.TemporaryDirectory() as folder:
        lexicon = workload.build_lexicon(f"{folder}/lexicon")
        print(f"{describe_machine()}, one core used\n\n{describe_load(workload, batches, lexicon.table)}\n")
        random.seed(1)
        entrants = contenders(batches, arguments.loop_pairs, lexicon.table, lexicon.dictionaries())
        rates = take_turns(entrants, arguments.rounds)
    speeds = [(name, f"{median(found):,.0f}", f"{max(found):,.0f}") for name, found in rates.items()]
    print_table(["", "pairs/s, median", "best"], speeds)
    rows = [(f"{one} : {other}", f"{ratio(rates, one, other):.2f}", need) for one, other, need in REQUIRED]
    print_table(["ratio, median of the rounds", "measured", "at least"], rows)


if __name__ == "__main__":
    main()
