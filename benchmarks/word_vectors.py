"""Trains word vectors of both languages on a collection's split by gensim, one thread, so that a seed gives one result.

    python benchmarks/word_vectors.py data/debian --source en --target de --output vectors

Writes en.vec and de.vec in word2vec's text form: folded words, trained on the text that both languages have.
"""

import argparse
import zlib
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

from gensim.models import FastText, Word2Vec

from csgen.induction.parallel import Bitext, Side
from csgen.induction.sources import read_collection_texts

# Small text: few dimensions, many epochs. Mikolov et al. 2013 advise skip-gram for small text.
SETTINGS = {"vector_size": 100, "window": 5, "min_count": 3, "sg": 1, "negative": 5, "workers": 1, "seed": 1}
EPOCH_TOKENS = 4_000_000  # tokens to see at least, and so the number of epochs
MODELS = {"word2vec": Word2Vec, "fasttext": FastText}


class Sentences:
    """The sentences of a side as lists of words, as often as they are asked for."""

    def __init__(self, side: Side) -> None:
        self.side = side
        self.words = side.words.to_list()

    def __iter__(self) -> Iterator[list[str]]:
        for start, end in pairwise(self.side.offsets.tolist()):
            yield [self.words[k] for k in self.side.tokens[start:end].tolist()]


def stable_hash(text: str) -> int:
    """gensim draws a word's first vector by a hash of it; Python's own differs from run to run."""
    return zlib.crc32(text.encode())


def train(side: Side, model: str, path: Path) -> None:
    epochs = max(5, min(30, EPOCH_TOKENS // max(1, len(side.tokens))))
    trained = MODELS[model](Sentences(side), epochs=epochs, hashfxn=stable_hash, **SETTINGS)
    trained.wv.save_word2vec_format(str(path), binary=False, sort_attr="count")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("collection")
    parser.add_argument("--source", required=True)
    parser.add_argument("--target", required=True)
    parser.add_argument("--split", default="train")
    parser.add_argument("--model", choices=MODELS, default="word2vec")
    parser.add_argument("--output", required=True, type=Path)
    options = parser.parse_args()
    texts = read_collection_texts(options.collection, options.source, options.target, options.split)
    bitext = Bitext.from_texts(texts.source, texts.target, options.source, options.target)
    options.output.mkdir(parents=True, exist_ok=True)
    for side in (bitext.source, bitext.target):
        train(side, options.model, options.output / f"{side.language}.vec")


if __name__ == "__main__":
    main()
