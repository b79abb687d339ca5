"""Pairs and texts a second through a transformer on a CPU, against sentence-transformers in the same run.

    python benchmarks/scoring.py

The model has mMiniLM-L6-H384's shape (XLM-R's architecture, 6 layers, width 384, 12 heads, 1,536 in the middle) with
random weights and a vocabulary of 8,000 in place of 250,002, which is quick to make and changes the look-up of
embeddings alone. Texts are drawn words, so that pairs have 20 to 256 tokens, 104 on average. Each contender scores
lists of 100 candidates, a call each, and mixed pairs in one call; tokenising is included but where stated. Operations
are counted as they are run (the last layer for the first tokens alone), and set against a product of large matrices.
"""

import argparse
import os
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from importlib.resources import files
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import torch
import transformers
from measure import Contender, Rates, print_table, ratio, take_turns
from sentence_transformers import CrossEncoder, SentenceTransformer, __version__
from torch import nn
from transformers import XLMRobertaConfig, XLMRobertaForSequenceClassification, XLMRobertaTokenizer
from workload import describe_machine

from cluster.reranker import Reranker
from csgen.sources.draws import mix
from indexing.encoder import Encoder
from indexing.models.checkpoint import load_checkpoint
from indexing.models.precision import PRECISIONS, Rows, make_reordered
from indexing.models.tokenising import Tokeniser

LAYERS, WIDTH, MIDDLE = 6, 384, 1536
VOCABULARY, QUERY_TOKENS, LIST = 8_000, 10, 100
LIBRARY, BATCH = "sentence-transformers", 32
TARGETS = {"fp32": (1.8, 1.4), "bf16": (3.3, 2.5), "int8": (4.0, 3.0)}  # times as fast on lists, on mixed pairs


@dataclass(frozen=True)
class Workload:
    """Pairs of texts, and the tokens of each pair."""

    queries: list[str]
    passages: list[str]
    lengths: np.ndarray

    def table(self, first: int, last: int) -> pa.Table:
        return pa.table({"query": self.queries[first:last], "passage": self.passages[first:last]})


def read_sample() -> list[str]:
    folder = files("csgen") / "sample"
    lines = [(folder / code / "passages.jsonl").read_text("utf-8").splitlines() for code in ("en", "de", "fr", "it")]
    return [orjson.loads(line)["text"] for part in lines for line in part]


def make_model(folder: str, texts: Sequence[str], **sizes: Any) -> None:
    """`sizes`: what is to differ from mMiniLM-L6-H384's configuration."""
    tokenizer = XLMRobertaTokenizer().train_new_from_iterator(texts, VOCABULARY)
    tokenizer.model_max_length = 512
    own = {
        "vocab_size": VOCABULARY, "hidden_size": WIDTH, "num_hidden_layers": LAYERS, "num_attention_heads": 12,
        "intermediate_size": MIDDLE, "max_position_embeddings": 514, "type_vocab_size": 1, "num_labels": 1,
    }  # fmt: skip
    torch.manual_seed(1)
    XLMRobertaForSequenceClassification(XLMRobertaConfig(**own | sizes)).save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def draw_pairs(folder: str, texts: Sequence[str], number: int) -> Workload:
    """Pairs of 20 to 256 tokens; every 100 in a row share their query."""
    tokenizer = XLMRobertaTokenizer.from_pretrained(folder)
    words = sorted({word for text in texts for word in text.split()})
    sizes = np.array([len(ids) for ids in tokenizer(words, add_special_tokens=False)["input_ids"]])

    def draw(seed: int, tokens: int) -> str:
        picks = mix(np.arange(tokens, dtype=np.uint64) + np.uint64(seed << 20)) % np.uint64(len(words))
        upto = np.cumsum(sizes[picks])
        return " ".join(words[pick] for pick in picks[: np.searchsorted(upto, tokens, side="right")])

    shares = mix(np.arange(number, dtype=np.uint64)) / 2.0**64
    wanted = (20 + 236 * shares**1.81).astype(int)  # mean 104
    queries = [draw(row // LIST, QUERY_TOKENS) for row in range(number)]
    passages = [draw(number + row, max(2, size - QUERY_TOKENS - 4)) for row, size in enumerate(wanted)]
    lengths = np.array([len(ids) for ids in tokenizer(queries, passages)["input_ids"]])
    return Workload(queries, passages, lengths)


def count_operations(lengths: np.ndarray) -> float:
    """Floating-point operations of scoring sequences: the last layer answers for the first token alone."""
    tokens, pairs = float(lengths.sum()), len(lengths)
    linear = 2 * (4 * WIDTH * WIDTH + 2 * WIDTH * MIDDLE)
    whole = (LAYERS - 1) * (tokens * linear + 4 * WIDTH * float((lengths**2).sum()))
    last = tokens * 4 * WIDTH * WIDTH + pairs * (linear - 4 * WIDTH * WIDTH) + 4 * WIDTH * tokens
    return whole + last


PEAK = "peak "  # before a precision: products of large matrices in it


def peak_contenders() -> list[Contender]:
    """Products of matrices of 2,048 rows and columns, by torch.mm and by the fastest there is in each precision.

    Their rates are GFLOP/s. They take turns with what they are set against, so that a busy machine slows both.
    """
    size, times = 2048, 16
    left, layer = torch.randn(size, size), nn.Linear(size, size).requires_grad_(False)
    plain = layer.weight.clone()
    products: dict[str, Callable[[], object]] = {"torch.mm": lambda: torch.mm(left, plain)}
    for name, dtype in (("fp32", torch.float32), ("bf16", torch.bfloat16)):
        products[name] = partial(make_reordered([Rows(layer.to(dtype))], ""), left.to(dtype))
    whole = torch.ones(size, size, dtype=torch.int8)
    products["int8"] = lambda: torch._int_mm(whole, whole)
    work = round(times * 2 * size**3 / 1e9)
    return [Contender(PEAK + name, work, partial(repeat, product, times)) for name, product in products.items()]


def repeat(run: Callable[[], object], times: int) -> None:
    for _ in range(times):
        run()


def score_lists(score: Callable[[int, int], object], number: int) -> None:
    for first in range(0, number, LIST):
        score(first, min(first + LIST, number))


def measure_scores(folder: str, work: Workload, number: int, rounds: int) -> tuple[Rates, Rates]:
    """Rates on lists and on mixed pairs, in turns."""
    library = CrossEncoder(folder, device="cpu")
    pairs = list(zip(work.queries, work.passages, strict=True))

    def predict(first: int, last: int) -> object:
        return library.predict(pairs[first:last], batch_size=BATCH, activation_fn=nn.Identity())

    scorers: dict[str, Callable[[int, int], object]] = {LIBRARY: predict}
    for precision in PRECISIONS:
        reranker = Reranker.load(folder, precision=precision)
        scorers[precision] = lambda first, last, own=reranker: own.score(work.table(first, last))
    lists = [Contender(name, number, partial(score_lists, score, number)) for name, score in scorers.items()]
    mixed = [Contender(name, number, partial(score, 0, number)) for name, score in scorers.items()]
    check_scores(library, folder, work)
    return take_turns([*lists, *peak_contenders()], rounds), take_turns([*mixed, *peak_contenders()], rounds)


def check_scores(library: CrossEncoder, folder: str, work: Workload) -> None:
    pairs = list(zip(work.queries, work.passages, strict=True))[:LIST]
    expected = library.predict(pairs, batch_size=BATCH, activation_fn=nn.Identity())
    for precision in PRECISIONS:
        scores = Reranker.load(folder, precision=precision).score(work.table(0, LIST))
        print(f"{precision}: scores differ by {np.abs(scores - expected).max():.1e} at most", end="; ")
    print(f"they spread by {expected.std():.1e}\n")


def measure_encodings(folder: str, work: Workload, number: int, rounds: int) -> Rates:
    """Rates of encoding the passages, averaged over their tokens."""
    library = SentenceTransformer(folder, device="cpu")
    texts = work.passages[:number]
    run = partial(library.encode, texts, batch_size=BATCH, normalize_embeddings=True)
    contenders = [Contender(LIBRARY, number, run)]
    for precision in PRECISIONS:
        contenders.append(
            Contender(precision, number, partial(Encoder.load(folder, precision=precision).encode, texts))
        )
    return take_turns(contenders, rounds)


def measure_tokenising(folder: str, work: Workload, number: int, rounds: int) -> float:
    """Pairs a second that are only tokenised, as Reranker does."""
    tokeniser = Tokeniser.of(load_checkpoint(folder, "classifier"))
    run = partial(tokeniser.encode_pairs, work.queries[:number], work.passages[:number])
    return max(take_turns([Contender("tokens", number, run)], rounds)["tokens"])


def print_rates(title: str, rates: Rates, targets: dict[str, float], gflop: float, tokenising: float) -> None:
    """A row for each contender; `gflop`: operations of one pair, `tokenising`: pairs a second of that alone."""
    rows = []
    for name in (LIBRARY, *PRECISIONS):
        best = max(rates[name])
        times = "" if name == LIBRARY else f"{ratio(rates, name, LIBRARY):.2f}"
        aim = f"{targets[name]:.1f}" if name in targets else ""
        share = f"{ratio(rates, name, PEAK + name) * gflop:.0%}" if PEAK + name in rates else ""
        alone = f"{1 / (1 / best - 1 / tokenising):.1f}"
        rows.append((name, f"{best:.1f}", f"{min(rates[name]):.1f}", times, aim, alone, share))
    print_table((title, "best round", "worst", "times as fast", "aim", "without tokenising", "share of peak"), rows)


def measure(folder: str, work: Workload, num_threads: int, number: int, rounds: int) -> None:
    torch.set_num_threads(num_threads)
    os.environ["TOKENIZERS_PARALLELISM"] = "true" if num_threads > 1 else "false"
    tokenising = measure_tokenising(folder, work, number, rounds)
    gflop = count_operations(work.lengths[:number]) / number / 1e9
    lists, mixed = measure_scores(folder, work, number, rounds)
    peaks = {name: max(*lists[name], *mixed[name]) for name in lists if name.startswith(PEAK)}
    print(f"{num_threads} threads; " + ", ".join(f"{name} {rate:,.0f}" for name, rate in peaks.items()) + " GFLOP/s;")
    print(f"tokenising alone {tokenising:,.0f} pairs a second\n")
    for place, (title, rates) in enumerate((("lists of 100, pairs a second", lists), ("mixed pairs a second", mixed))):
        print_rates(title, rates, {name: aims[place] for name, aims in TARGETS.items()}, gflop, tokenising)
    print_rates("texts encoded a second", measure_encodings(folder, work, number, rounds), {}, gflop, tokenising)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--pairs", type=int, default=400, help="a round, for each contender")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    with tempfile.TemporaryDirectory() as folder:
        texts = read_sample()
        make_model(folder, texts)
        work = draw_pairs(folder, texts, options.pairs)
        operations = count_operations(work.lengths) / options.pairs / 1e9
        print(f"{describe_machine()}, torch {torch.__version__}, {LIBRARY} {__version__}")
        print(
            f"{options.pairs:,} pairs of {work.lengths.min()} to {work.lengths.max()} tokens, "
            f"{work.lengths.mean():.0f} on average, {operations:.2f} GFLOP a pair\n"
        )
        for num_threads in options.threads:
            measure(folder, work, num_threads, options.pairs, options.rounds)


if __name__ == "__main__":
    main()
