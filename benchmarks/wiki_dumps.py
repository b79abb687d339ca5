"""Made-up dumps of MediaWiki's tables `langlinks` and `page`, of random titles in the exact form of mysqldump.

Sizes are in the proportion of English Wikipedia's: a quarter of the text are links, and one of ten pages has some.
"""

import random
from collections.abc import Callable, Iterator
from itertools import accumulate
from pathlib import Path

STATEMENT_BYTES = 1_000_000  # mysqldump's net_buffer_length
LANGLINKS_SHARE = 0.25
CODES = (
    "af als ar arz ast az be bg bn bs ca ceb cs cy da de el eo es et eu fa fi fr ga gl he hi hr hu hy id is it ja ka "
    "kk ko la lt lv mk ms nl nn no pl pt ro ru sh simple sk sl sq sr sv ta te th tr uk ur uz vi war zh zh-yue"
)
LANGUAGES = CODES.split()
NUM_TITLES = 200_000  # 5 MB of them: far more than gzip looks back
PART_BYTES = 1 << 16
SCRIPTS = {"ru": 0x430, "uk": 0x430, "sr": 0x430, "ja": 0x30A2, "zh": 0x4E00, "ko": 0xAC00, "ar": 0x627, "fa": 0x627}

LANGLINKS = """CREATE TABLE `langlinks` (
  `ll_from` int(8) unsigned NOT NULL DEFAULT 0,
  `ll_lang` varbinary(35) NOT NULL DEFAULT '',
  `ll_title` varbinary(255) NOT NULL DEFAULT '',
  PRIMARY KEY (`ll_from`,`ll_lang`),
  KEY `ll_lang` (`ll_lang`,`ll_title`)
) ENGINE=InnoDB DEFAULT CHARSET=binary;
"""
PAGE = """CREATE TABLE `page` (
  `page_id` int(8) unsigned NOT NULL AUTO_INCREMENT,
  `page_namespace` int(11) NOT NULL DEFAULT 0,
  `page_title` varbinary(255) NOT NULL DEFAULT '',
  `page_is_redirect` tinyint(1) unsigned NOT NULL DEFAULT 0,
  `page_is_new` tinyint(1) unsigned NOT NULL DEFAULT 0,
  `page_random` double unsigned NOT NULL DEFAULT 0,
  `page_touched` binary(14) NOT NULL,
  `page_links_updated` varbinary(14) DEFAULT NULL,
  `page_latest` int(8) unsigned NOT NULL DEFAULT 0,
  `page_len` int(8) unsigned NOT NULL DEFAULT 0,
  `page_content_model` varbinary(32) DEFAULT NULL,
  `page_lang` varbinary(35) DEFAULT NULL,
  PRIMARY KEY (`page_id`)
) ENGINE=InnoDB DEFAULT CHARSET=binary;
"""

Write = Callable[[str, Iterator[bytes], int], None]  # a path, text in parts, how many bytes of it


def make_wiki(write_packed: Write, path: str, text_bytes: int) -> list[str]:
    """The two dumps beside `path`, compressed by its ending."""
    titles, ending = Titles(random.Random(17)), Path(path).suffix
    files = []
    tables = (
        ("langlinks", LANGLINKS, titles.links(), LANGLINKS_SHARE),
        ("page", PAGE, titles.pages(), 1 - LANGLINKS_SHARE),
    )
    for table, layout, tuples, share in tables:
        files.append(str(Path(path).parent / f"enwiki-20260101-{table}.sql{ending}"))
        text = b"".join(dump(table, layout, tuples, int(text_bytes * share)))
        parts = (text[start : start + PART_BYTES] for start in range(0, len(text), PART_BYTES))
        write_packed(files[-1], parts, len(text))
    return files


def dump(table: str, layout: str, tuples: Iterator[str], text_bytes: int) -> Iterator[bytes]:
    yield f"-- MySQL dump 10.19\n{layout}\n".encode()
    written = 0
    while written < text_bytes:
        held: list[str] = []
        held_bytes = 0
        while held_bytes < min(STATEMENT_BYTES, text_bytes):
            held.append(next(tuples))
            held_bytes += len(held[-1]) + 1
        yield f"INSERT INTO `{table}` VALUES {','.join(held)};\n".encode()
        written += held_bytes
    yield b"-- Dump completed on 2026-01-02  1:23:45\n"


class Titles:
    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self.known = ["".join(rng.choices("etaoinshrdlucmfwyp", k=rng.randint(2, 10))).title() for _ in range(50_000)]
        self.weights = list(accumulate(1 / rank for rank in range(1, len(self.known) + 1)))  # Zipf's law
        self.titles = [self.title() for _ in range(NUM_TITLES)]
        self.underscored = [title.replace(" ", "_") for title in self.titles]
        self.foreign = {code: self.script(first) for code, first in SCRIPTS.items()}

    def title(self) -> str:
        words = self.rng.choices(self.known, cum_weights=self.weights, k=self.rng.randint(1, 4))
        if self.rng.random() < 0.05:
            words[0] = f"O\\'{words[0]}"
        if self.rng.random() < 0.15:
            words[-1] = f"({words[-1].lower()})"
        return " ".join(words)

    def script(self, first: int) -> list[str]:
        letters = [chr(first + offset) for offset in range(32)]
        return ["".join(self.rng.choices(letters, k=self.rng.randint(3, 12))) for _ in range(NUM_TITLES // 10)]

    def links(self) -> Iterator[str]:
        page, pick = 0, self.rng.random
        while True:
            page += int(pick() * 20) + 1
            own = self.titles[int(pick() * NUM_TITLES)]  # names stay the same in most languages
            for code in LANGUAGES[:: self.rng.choice((1, 3, 9, 30))]:
                titles = self.foreign.get(code, self.titles)
                title = own if titles is self.titles and pick() < 0.6 else titles[int(pick() * len(titles))]
                yield f"({page},'{code}','{title}')"

    def pages(self) -> Iterator[str]:
        page, pick = 0, self.rng.random
        namespaces = self.rng.choices((0, 1, 3, 4, 10, 14), (30, 14, 30, 3, 3, 6), k=1000)
        while True:
            page += int(pick() * 3) + 1
            namespace, redirect = namespaces[page % 1000], int(pick() < 0.4)
            title = self.underscored[int(pick() * NUM_TITLES)]
            touched, updated = (f"'2025{int(1e10 + pick() * 1e10)}'"[:16] + "'" for _ in range(2))
            revision, length = int(pick() * 1e9), int(30 / (pick() + 1e-3))
            yield (
                f"({page},{namespace},'{title}',{redirect},0,{pick()},{touched},{updated},{revision},{length},'wikitext',NULL)"
            )
