"""One core: MB of text a second of each dump's reader, against decompressing the same file alone, its limit.

    python benchmarks/dumps.py --megabytes 300

The dumps are made up, of random words in the real structure. Each file is read in a process of its own, in turns with
decompression by the same library; times are CPU seconds of all of the process's threads.
"""

import argparse
import bz2
import gzip
import json
import os
import random
import resource
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import accumulate, cycle
from multiprocessing import get_context
from pathlib import Path
from statistics import median
from typing import Any

from measure import print_table
from wiki_dumps import make_wiki

from csgen.files import open_input
from csgen.readers.columns import Reading
from csgen.readers.wikidata import read_wikidata
from csgen.readers.wikipedia import read_langlinks
from csgen.readers.wiktextract import read_wiktextract

ENDINGS = (".gz", ".bz2")
STREAM_BYTES = 900_000  # of text in each stream of .bz2, as pbzip2 has it
POOL_BYTES = 24_000_000  # of lines made before they come again: far more than any compressor looks back
READ_BYTES = 1 << 18
SOURCE, TARGETS = "en", ("de", "fr", "ja")
CODES = "de fr es it nl ru ja zh pl pt sv uk ar cs fi ca hu ko tr da ro sr fa eo no id he sk el ast sq ga vi"
LANGUAGES = CODES.split()
SCRIPTS = {"ru": 0x430, "uk": 0x430, "sr": 0x430, "ja": 0x30A2, "zh": 0x4E00, "ko": 0xAC00, "ar": 0x627, "fa": 0x627}

Files = list[str]


@dataclass(frozen=True)
class Dump:
    name: str
    make_files: Callable[[str, int], Files]  # takes a path with its ending, and bytes of text; gives all files read
    read: Callable[[Files], Reading]


@dataclass(frozen=True)
class Timing:
    text_bytes: int
    alone_s: list[float]
    read_s: list[float]
    start_mb: float  # of memory with everything imported
    peak_mb: float
    num_pairs: int


# --- files ---


def make_file(make_line: Callable[["Words"], bytes], path: str, text_bytes: int) -> Files:
    words, pool, pooled = Words(random.Random(17)), [], 0
    while pooled < min(POOL_BYTES, text_bytes):
        pool.append(make_line(words))
        pooled += len(pool[-1])
    write_packed(path, cycle(pool), text_bytes)
    return [path]


def write_packed(path: str, lines: Iterable[bytes], text_bytes: int) -> None:
    """The first `text_bytes` of lines, compressed by the path's ending; .bz2 in streams that end anywhere."""
    with Path(path).open("wb") as raw:
        stream: Any = gzip.GzipFile(fileobj=raw, mode="wb", compresslevel=6) if path.endswith(".gz") else raw
        for text in cut_texts(lines, text_bytes):
            stream.write(text if path.endswith(".gz") else bz2.compress(text))
        if stream is not raw:
            stream.close()


def cut_texts(lines: Iterable[bytes], text_bytes: int) -> Iterator[bytes]:
    held, held_bytes = [], 0
    for line in lines:
        held.append(line)
        held_bytes += len(line)
        while held_bytes >= min(STREAM_BYTES, text_bytes):
            text = b"".join(held)
            cut = min(STREAM_BYTES, text_bytes) if text_bytes > STREAM_BYTES else len(text)
            yield text[:cut]
            held, held_bytes = [text[cut:]], len(text) - cut
            text_bytes -= cut
            if text_bytes <= 0:
                return


class Words:
    """Random words and names, and codes as the dumps have them."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self.known = ["".join(rng.choices("etaoinshrdlu", k=rng.randint(3, 9))) for _ in range(20_000)]
        self.weights = list(accumulate(1 / rank for rank in range(1, len(self.known) + 1)))  # Zipf's law

    def text(self, count: int) -> str:
        return " ".join(self.rng.choices(self.known, cum_weights=self.weights, k=count))

    def name(self, language: str) -> str:
        if first := SCRIPTS.get(language):
            return "".join(chr(first + self.rng.randrange(32)) for _ in range(self.rng.randint(3, 8)))
        return self.text(self.rng.randint(1, 3)).capitalize()

    def some(self, items: list[str], mean: float) -> list[str]:
        return items[: min(len(items), int(self.rng.expovariate(1 / mean)))]

    def hash(self) -> str:
        return f"{self.rng.getrandbits(160):040x}"

    def item(self) -> int:
        return int(self.rng.paretovariate(0.3)) % 100_000_000


# --- Wikidata ---


def make_entity(words: Words) -> bytes:
    """An item of about 12 kB, as in the dump of 2025 on average: mostly claims; many have few names."""
    rng = words.rng
    is_known = rng.random() < 0.2
    languages = [code for code, share in (("en", 0.75), ("nl", 0.4), ("ast", 0.15)) if rng.random() < share]
    languages += [code for code in words.some(LANGUAGES, 15) if code not in languages] if is_known else []
    names = {code: words.name(code) for code in languages}
    page = rng.choices([5, 4167836, 4167410, 13442814], [40, 5, 2, 53])[0]
    entity = {
        "type": "item",
        "id": f"Q{words.item()}",
        "labels": {code: {"language": code, "value": name} for code, name in names.items()},
        "descriptions": {code: {"language": code, "value": words.text(4)} for code in words.some(languages, 8)},
        "aliases": {code: [{"language": code, "value": words.name(code)}] for code in words.some(languages, 2)},
        "claims": dict(make_claims(words, page, rng.randint(1, 9))),
        "sitelinks": {
            f"{code}wiki": {"site": f"{code}wiki", "title": name, "badges": []}
            for code, name in names.items()
            if is_known and rng.random() < 0.7
        },
        "lastrevid": rng.getrandbits(31),
        "modified": "2025-06-01T00:00:00Z",
    }
    return json.dumps(entity, separators=(",", ":")).encode() + b",\n"


def make_claims(words: Words, page: int, count: int) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    properties = [31, *(words.rng.randint(17, 12_000) for _ in range(count))]
    words.rng.shuffle(properties)
    references = [make_reference(words) for _ in range(2)]  # most statements of an entity have the same
    for number in properties:
        name = f"P{number}"
        values = [page] if number == 31 else [words.item() for _ in range(words.rng.choice((1, 1, 1, 2, 4)))]
        yield name, [make_statement(words, name, value, words.some(references, 1.5)) for value in values]


def make_statement(words: Words, name: str, value: int, references: list[Any]) -> dict[str, Any]:
    return {
        "mainsnak": make_snak(words, name, value if name == "P31" or words.rng.random() < 0.5 else None),
        "type": "statement",
        "id": f"Q{value}${words.rng.getrandbits(128):032X}",
        "rank": "normal",
    } | ({"references": references} if references else {})


def make_reference(words: Words) -> dict[str, Any]:
    snaks = {name: [make_snak(words, name, words.item())] for name in ("P248", "P407", "P143")}
    snaks |= {name: [make_snak(words, name, None)] for name in ("P854", "P813")}
    return {"hash": words.hash(), "snaks": snaks, "snaks-order": list(snaks)}


def make_snak(words: Words, name: str, value: int | None) -> dict[str, Any]:
    if value is None:
        data: dict[str, Any] = {"value": words.text(2), "type": "string"}
    else:
        data = {"value": {"entity-type": "item", "numeric-id": value, "id": f"Q{value}"}, "type": "wikibase-entityid"}
    kind = "external-id" if value is None else "wikibase-item"
    return {"snaktype": "value", "property": name, "hash": words.hash(), "datavalue": data, "datatype": kind}


# --- Wiktionary ---


def make_entry(words: Words) -> bytes:
    """Of all languages, as in the raw extract: a seventh is English, and of that a fifth is translated."""
    rng = words.rng
    if rng.random() < 0.02:
        return (json.dumps({"title": words.text(2), "redirect": rng.choice(words.known)}) + "\n").encode()
    code = "en" if rng.random() < 0.15 else rng.choice(LANGUAGES)
    word = rng.choice(words.known) if code == "en" else words.name(code)  # an entry each, not by Zipf's law
    senses = [make_sense(words, code) for _ in range(rng.randint(1, 4))]
    entry: dict[str, Any] = {
        "senses": senses,
        "pos": rng.choice(("noun", "verb", "adj")),
        "head_templates": [{"name": f"{code}-noun", "args": {"1": "-"}, "expansion": f"{word} (plural {word}s)"}],
        "forms": list(make_forms(words, 1 if code == "en" else int(rng.expovariate(1 / 20)))),
        "etymology_text": words.text(25),
        "sounds": [{"ipa": f"/{words.text(1)}/"}, {"audio": f"{word}.ogg", "ogg_url": f"https://upload/{word}.ogg"}],
        "word": word,
        "lang": code.upper(),
        "lang_code": code,
        "categories": [words.text(3) for _ in range(rng.randint(1, 8))],
        "derived": [{"word": words.text(2)} for _ in range(int(rng.expovariate(1 / 4)))],
    }
    if code == "en" and rng.random() < 0.2:
        entry["translations"] = list(make_translations(words, [sense["glosses"][0] for sense in senses]))
    return (json.dumps(entry, ensure_ascii=False) + "\n").encode()


def make_forms(words: Words, count: int) -> Iterator[dict[str, Any]]:
    """As of an inflected word: one stem, endings, and the cells of a table."""
    stem = words.text(1)
    for cell in range(count):
        tags = [
            ("singular", "plural")[cell % 2],
            ("genitive", "dative", "past", "participle")[cell // 2 % 4],
            "first-person",
        ]
        yield {"form": f"{stem}{'aeiou'[cell % 5]}n", "tags": tags, "source": "conjugation"}


def make_sense(words: Words, code: str) -> dict[str, Any]:
    gloss = words.text(words.rng.randint(2, 12))
    links = [[word, word] for word in gloss.split()[:4]]
    examples = [{"text": words.text(14), "type": "quotation", "ref": words.text(12)}] if code == "en" else []
    return {"links": links, "raw_glosses": [gloss], "glosses": [gloss], "examples": examples, "id": words.hash()}


def make_translations(words: Words, senses: list[str]) -> Iterator[dict[str, Any]]:
    for sense in senses:
        for code in words.some(words.rng.sample(LANGUAGES, len(LANGUAGES)), 20):
            named = {"lang": code.upper(), "code": code, "lang_code": code, "sense": sense}
            roman = {"roman": words.text(1)} if code in SCRIPTS else {"tags": ["masculine"]}
            yield named | roman | {"word": words.name(code)}


# --- measuring ---

DUMPS = (
    Dump("Wikidata", partial(make_file, make_entity), lambda files: read_wikidata(files[0], SOURCE, TARGETS)),
    Dump("wiktextract", partial(make_file, make_entry), lambda files: read_wiktextract(files[0], SOURCE, TARGETS)),
    Dump(
        "langlinks and page", partial(make_wiki, write_packed), lambda files: read_langlinks(files[0], SOURCE, TARGETS)
    ),
)


def decompress(files: Files) -> int:
    """Bytes of text."""
    total = 0
    for path in files:
        with open_input(path) as stream:
            while text := stream.read(READ_BYTES):
                total += len(text)
    return total


def measure_reading(number: int, files: Files, rounds: int) -> Timing:
    """Runs in a process of its own, for its peak of memory."""
    text_bytes, start_mb = decompress(files), peak_mb()
    alone_s, read_s = [], []
    for _ in range(rounds):
        start = time.process_time()
        decompress(files)
        between = time.process_time()
        num_pairs = len(DUMPS[number].read(files).pairs)
        alone_s.append(between - start)
        read_s.append(time.process_time() - between)
    return Timing(text_bytes, alone_s, read_s, start_mb, peak_mb(), num_pairs)


def peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def describe(dump: Dump, files: Files, timing: Timing) -> list[object]:
    def rate(seconds: list[float]) -> str:
        return f"{timing.text_bytes / 1e6 / median(seconds):,.0f}"

    packed = sum(Path(path).stat().st_size for path in files)
    return [
        f"{dump.name} {Path(files[0]).suffix}",
        f"{timing.text_bytes / 1e6:,.0f}",
        f"{packed / timing.text_bytes:.2f}",
        f"{timing.num_pairs:,}",
        rate(timing.alone_s),
        rate(timing.read_s),
        f"{median(r / a for r, a in zip(timing.read_s, timing.alone_s, strict=True)):.2f}",
        f"{timing.start_mb:,.0f}",
        f"{timing.peak_mb:,.0f}",
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--megabytes", type=int, default=300, help="of text in each dump")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", default="", help="part of a dump's name")
    parser.add_argument("--endings", default=",".join(ENDINGS))
    arguments = parser.parse_args()
    os.environ["POLARS_MAX_THREADS"] = "1"  # one core
    rows = []
    with tempfile.TemporaryDirectory(prefix="csgen-dumps-") as folder:
        for number, dump in enumerate(DUMPS):
            for ending in arguments.endings.split(",") if arguments.only in dump.name else ():
                files = dump.make_files(f"{folder}/dump{ending}", arguments.megabytes * 1_000_000)
                with get_context("spawn").Pool(1) as pool:
                    timing = pool.apply(measure_reading, (number, files, arguments.rounds))
                rows.append(describe(dump, files, timing))
    head = ("", "text MB", "packed / text", "pairs", "decompressing MB/s", "reading MB/s", "times the time of it")
    print_table([*head, "memory before MB", "peak MB"], rows)


if __name__ == "__main__":
    main()
