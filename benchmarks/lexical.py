"""Passages and queries a second of lexical search, against bm25s called directly, and of search across languages.

    python benchmarks/lexical.py --data debian --lexicon lexicon

DATA is what `csgen fetch debian` wrote: English queries over its English passages, and for the search across languages
queries in the other language. Both sides analyse texts: bm25s by its own tokeniser with the same stop words and
stemmer. It gets as many threads, and both of its backends are timed; the one by Numba compiles a part for each index.
"""

import argparse
import logging
from functools import partial
from pathlib import Path

import bm25s
import polars as pl
import Stemmer
from measure import Contender, Rates, print_table, ratio, take_turns
from numba import get_num_threads
from workload import describe_machine

from csgen.lexicon.entries import read_entries
from indexing.lexical import DEFAULT, LexicalIndex
from indexing.structured import TranslatedIndex
from indexing.translation import Translations

OURS = "ours"
QUIET = {"show_progress": False}


def read_texts(folder: Path, language: str, kind: str) -> pl.Series:
    return pl.read_ndjson(folder / language / f"{kind}.jsonl")["text"]


def tokenize(texts: list[str], *, ids: bool) -> object:
    return bm25s.tokenize(texts, stopwords="en_plus", stemmer=Stemmer.Stemmer("english"), return_ids=ids, **QUIET)


def build_library(texts: list[str], backend: str) -> bm25s.BM25:
    index = bm25s.BM25(k1=DEFAULT.k1, b=DEFAULT.b, backend=backend)
    index.index(tokenize(texts, ids=True), **QUIET)
    return index


def search_library(index: bm25s.BM25, queries: list[str], top_k: int) -> object:
    # bm25s 0.3.16 refuses a batch whose first query has no word
    words = [query or [""] for query in tokenize(queries, ids=False)]
    return index.retrieve(words, k=top_k, n_threads=get_num_threads(), **QUIET)


def measure_builds(passages: pl.Series, rounds: int) -> Rates:
    texts, number = passages.to_list(), len(passages)
    contenders = [Contender(OURS, number, partial(LexicalIndex.build, passages, "en"))]
    for backend in ("numpy", "numba"):
        contenders.append(Contender(f"bm25s, {backend}", number, partial(build_library, texts, backend)))
    return take_turns(contenders, rounds)


def measure_searches(passages: pl.Series, queries: pl.Series, top_k: int, rounds: int) -> Rates:
    texts, asked, number = passages.to_list(), queries.to_list(), len(queries)
    index = LexicalIndex.build(passages, "en")
    contenders = [Contender(OURS, number, partial(index.search, queries, top_k))]
    for backend, share in (("numpy", 10), ("numba", 1)):
        library, part = build_library(texts, backend), asked[: number // share]
        run = partial(search_library, library, part, top_k)
        contenders.append(Contender(f"bm25s, {backend}", len(part), run))
    return take_turns(contenders, rounds)


def measure_translated(
    passages: pl.Series, queries: pl.Series, translations: Translations, top_k: int, rounds: int
) -> Rates:
    index = TranslatedIndex.build(passages, translations)
    contenders = [
        Contender("build", len(passages), partial(TranslatedIndex.build, passages, translations)),
        Contender("search", len(queries), partial(index.search, queries, top_k)),
    ]
    return take_turns(contenders, rounds)


def print_rates(title: str, rates: Rates) -> None:
    rows = []
    for name, by_round in rates.items():
        times = "" if name == OURS or OURS not in rates else f"{ratio(rates, OURS, name):.2f}"
        rows.append((name, f"{max(by_round):,.0f}", f"{min(by_round):,.0f}", times))
    print_table((title, "best round", "worst round", "ours, times as fast"), rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder that csgen fetch debian wrote")
    parser.add_argument(
        "--lexicon", help="folder of a lexicon with English and the language below; without: BM25 alone"
    )
    parser.add_argument("--language", default="de", help="of the queries across languages")
    parser.add_argument("--queries", type=int, default=5_000)
    parser.add_argument("--top-k", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    logging.getLogger("bm25s").setLevel(logging.WARNING)
    passages = read_texts(options.data, "en", "passages")
    sample = partial(pl.Series.sample, n=options.queries, seed=1)
    print(f"{describe_machine()}, bm25s {bm25s.__version__}, {get_num_threads()} threads")
    print(f"{len(passages):,} passages, {options.queries:,} queries, top {options.top_k}\n")
    print_rates("passages a second", measure_builds(passages, options.rounds))
    queries = sample(read_texts(options.data, "en", "queries"))
    print_rates("queries a second", measure_searches(passages, queries, options.top_k, options.rounds))
    if options.lexicon:
        translations = Translations.between(read_entries(options.lexicon), options.language, "en")
        queries = sample(read_texts(options.data, options.language, "queries"))
        rates = measure_translated(passages, queries, translations, options.top_k, options.rounds)
        print_rates(f"translated from {options.language}, a second", rates)


if __name__ == "__main__":
    main()
