"""`csgen lexicon induce`: learns a lexicon from parallel texts, or from word vectors of two languages.

Reads, hands over to the method and writes; knows no method from within.
"""

import posixpath
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, Self

import polars as pl
from pydantic import Field, field_validator, model_validator

from csgen.config import StageConfig
from csgen.errors import InputError
from csgen.files import COMPRESSIONS, refuse_finished
from csgen.induction.output import cut, joinable, write_pairs
from csgen.induction.sources import (
    ParallelText,
    describe_inputs,
    is_collection,
    read_collection_texts,
    read_line_texts,
    read_seed_pairs,
)
from csgen.languages import parse_language
from csgen.lexicon.entries import clean_pairs
from csgen.lexicon.sources import UNKNOWN, LexiconSource
from csgen.readers.columns import count_reasons

if TYPE_CHECKING:
    from csgen.induction.embeddings import EmbeddingOptions

Method = Literal["align", "eflomal", "csls", "nearest"]

TEXT_TRANSLATIONS = 5  # of a word, by default; vectors: 1, since second neighbours are mostly wrong
VECTOR_METHODS = ("csls", "nearest")
VECTOR_ENDINGS = tuple(f".vec{ending}" for ending in ("", *COMPRESSIONS))

_TEXTS_ALONE = ("split", "seed", "max_phrase_words")
_VECTORS_ALONE = ("seed_dictionary", "max_words", "on_error")
_NOT_FOR: dict[str, tuple[str, ...]] = {
    "align": _VECTORS_ALONE,
    "eflomal": (*_VECTORS_ALONE, "seed"),
    "csls": _TEXTS_ALONE,
    "nearest": (*_TEXTS_ALONE, "max_translations", "threshold"),
}


class InduceConfig(StageConfig):
    """Options of `csgen lexicon induce`."""

    inputs: tuple[str, ...] = Field(
        min_length=1,
        max_length=2,
        description="a parallel collection, or a file in each language, the source's first: texts that match line by "
        "line, or word vectors (.vec); may be compressed, may be URIs",
    )
    source: str = Field(description="language to translate from (ISO 639-1)")
    target: str = Field(description="language to translate into (ISO 639-1)")
    split: str = Field("train", min_length=1, description="qrels of the collection whose texts are read, and no others")
    method: Method | None = Field(
        None,
        description="align: word alignment; eflomal: the same by that program; csls: neighbours of each other by "
        "vectors, hubs marked down; nearest: nearest by cosine alone; by default align for texts, csls for vectors",
    )
    seed: int = Field(1, ge=0, lt=2**63, description="seed of the alignment's draws, 0 or more; eflomal takes none")
    max_phrase_words: int = Field(3, ge=1, le=3, description="longest phrases of texts to learn, 1 to 3 words")
    max_translations: int | None = Field(
        None, ge=1, le=100, description="most translations of a word, 1 to 100; by default 5 for texts, 1 for vectors"
    )
    threshold: float | None = Field(
        None,
        ge=-4,
        le=2,
        description="least translation probability of texts, 0 to 1 (by default 0.05), or least CSLS score, -4 to 2 "
        "(by default -1)",
    )
    seed_dictionary: str | None = Field(
        None,
        description="word list (KIND:SRC-TGT:PATH) by which vectors are rotated onto each other; without one they must "
        "be aligned",
    )
    max_words: int = Field(200_000, ge=1, description="words of each file of vectors, the first ones, 1 or more")
    on_error: Literal["fail", "skip"] = Field("fail", description="what to do with a broken line of vectors")
    identical: Literal["drop", "keep"] = Field(
        "drop", description="what to do with pairs of the same word on both sides, letter case aside"
    )
    source_licence: str | None = Field(
        None, min_length=1, description="licence of the two files, kept with each entry; a collection says its own"
    )
    output: str = Field(min_length=1, description="the folder to write; may be a URI")

    _parse_language = field_validator("source", "target")(parse_language)

    @property
    def chosen_method(self) -> Method:
        if self.method is not None:
            return self.method
        return "csls" if all(path.endswith(VECTOR_ENDINGS) for path in self.inputs) else "align"

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.source == self.target:
            raise InputError(f"--source and --target must be two languages, both are {self.source}")
        of_vectors = self.chosen_method in VECTOR_METHODS
        if of_vectors and len(self.inputs) != 2:
            raise InputError(f"{self.chosen_method} needs two files of word vectors, got {self.inputs[0]} alone")
        for name in _NOT_FOR[self.chosen_method]:
            if getattr(self, name) != type(self).model_fields[name].default:
                raise InputError(f"--{name.replace('_', '-')} says nothing to the method {self.chosen_method}")
        if len(self.inputs) == 2 and self.split != "train":
            raise InputError("--split is for a collection, and two files are given")
        if self.source_licence is not None and len(self.inputs) == 1:
            raise InputError("--source-licence is for two files; a collection says its own licence")
        if not of_vectors and self.threshold is not None and not 0 <= self.threshold <= 1:
            raise InputError(f"--threshold is a probability for texts, from 0 to 1, got {self.threshold}")
        if self.seed_dictionary is not None:
            LexiconSource.parse(self.seed_dictionary)
        return self


@dataclass(frozen=True)
class Induced:
    """What a method gives, and what of."""

    pairs: pl.DataFrame  # line, source, target, weight
    name: str  # of the data, without its folder
    counts: dict[str, Any]
    files: dict[str, dict[str, Any]]
    licence: str | None = None


def induce_lexicon(config: InduceConfig) -> dict[str, Any]:
    """Write the lexicon; returns its counts, and the seconds that it took.

    The same inputs and options give the same bytes, eflomal's aside.
    """
    refuse_finished(config.output)
    start = time.perf_counter()
    method = config.chosen_method
    found = _induce_from_vectors(config) if method in VECTOR_METHODS else _induce_from_texts(config)
    cleaned, dropped = clean_pairs(found.pairs, config.identical)
    kept, beyond = cut(cleaned, config.max_translations or TEXT_TRANSLATIONS)
    origin = f"induced:{method}:{found.name}".replace(";", ",")
    licence = joinable(config.source_licence or found.licence or UNKNOWN)
    made = kept.with_columns(origin=pl.lit(origin), licence=pl.lit(licence))
    options = config.model_dump(exclude={"output", "inputs"}) | {"method": method}
    inputs = {found.name: {"files": found.files}}
    counts = found.counts | {"pairs": len(found.pairs), "dropped": dropped | beyond}
    written = write_pairs(
        made, config.source, config.target, config.output, config=options, inputs=inputs, counts=counts
    )
    return written | {"seconds": round(time.perf_counter() - start, 1)}


def _induce_from_texts(config: InduceConfig) -> Induced:
    from csgen.induction.aligner import align
    from csgen.induction.eflomal import align_with_eflomal
    from csgen.induction.parallel import Bitext
    from csgen.induction.phrases import LexiconOptions, extract_lexicon

    texts = _read_texts(config)
    bitext = Bitext.from_texts(texts.source, texts.target, config.source, config.target)
    if not len(bitext):
        raise InputError(f"no sentence pairs are left to align: {bitext.counts}")
    links = align(bitext, config.seed) if config.chosen_method == "align" else align_with_eflomal(bitext)
    room = (config.max_translations or TEXT_TRANSLATIONS) + 1  # an identical pair may be dropped
    options = LexiconOptions(max_words=config.max_phrase_words, max_translations=room)
    if config.threshold is not None:
        options = replace(options, min_probability=config.threshold)
    pairs = extract_lexicon(bitext, links, options)
    tokens = {side.language: len(side.tokens) for side in (bitext.source, bitext.target)}
    counts = {"read": texts.counts, "sentences": bitext.counts | {"aligned": len(bitext)}, "tokens": tokens}
    return Induced(pairs.drop("count"), texts.name, counts, texts.files, texts.licence)


def _read_texts(config: InduceConfig) -> ParallelText:
    if len(config.inputs) == 2:
        return read_line_texts(*config.inputs)
    if not is_collection(config.inputs[0]):
        raise InputError.at(
            config.inputs[0], None, "not a parallel collection (no collection.json); give that, or two files"
        )
    return read_collection_texts(config.inputs[0], config.source, config.target, config.split)


def _induce_from_vectors(config: InduceConfig) -> Induced:
    from csgen.induction.embeddings import induce_from_vectors
    from csgen.induction.procrustes import align
    from csgen.induction.vectors import read_vectors

    source, target = (read_vectors(path, config.max_words, config.on_error) for path in config.inputs)
    files = describe_inputs({posixpath.basename(path): path for path in config.inputs})
    sides = ((config.source, source), (config.target, target))
    counts: dict[str, Any] = {
        "vectors": {
            language: {"words": len(side.words), "skipped": count_reasons(side.skipped["reason"])}
            for language, side in sides
        }
    }
    if config.seed_dictionary is not None:
        seeds, seed_files = read_seed_pairs(config.seed_dictionary, config.source, config.target)
        aligned = align(source, target, seeds)
        source, target = aligned.source, aligned.target
        files |= seed_files
        counts["seed pairs"] = {"given": aligned.seed_pairs, "found": aligned.seed_pairs_found}
    name = "+".join(posixpath.basename(path) for path in config.inputs)
    return Induced(induce_from_vectors(source, target, _embedding_options(config)), name, counts, files)


def _embedding_options(config: InduceConfig) -> "EmbeddingOptions":
    from csgen.induction.embeddings import EmbeddingOptions

    given = {"max_translations": config.max_translations, "min_score": config.threshold}
    known = {name: value for name, value in given.items() if value is not None}
    return EmbeddingOptions.from_options({"method": config.chosen_method} | known)
