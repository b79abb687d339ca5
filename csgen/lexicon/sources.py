"""The sources of a lexicon as the user names them: KIND:SRC-TGT:PATH, `sample`, or another lexicon. Reads nothing."""

import posixpath
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

from csgen.errors import CsgenError, InputError
from csgen.files import join
from csgen.languages import parse_language
from csgen.lexicon.entries import ENTRIES_NAME
from csgen.manifest import MANIFEST_NAME
from csgen.readers.formats import FORMATS

SAMPLE_FOLDER = Path(__file__).parents[1] / "sample" / "lexicon"
LEXICON = "lexicon"
SAMPLE = "sample"
UNKNOWN = "unknown"  # the licence of formats that say none

KINDS = [kind for kind in FORMATS if kind != SAMPLE]
SPEC_FORM = (
    "KIND:SRC-TGT:PATH, such as muse:en-de:en-de.txt, "
    f"KIND being one of {', '.join(kind for kind in KINDS if not FORMATS[kind].many_targets)} or, which take several "
    f"targets at once as en-de,it, {', '.join(kind for kind in KINDS if FORMATS[kind].many_targets)}; "
    "lexicon:PATH, another lexicon; or sample"
)


@dataclass(frozen=True)
class LexiconSource:
    """What one spec names. Another lexicon taken whole has no languages."""

    kind: str
    source_language: str
    target_languages: tuple[str, ...]
    path: str
    known_by: str = ""  # the file that names the source where that is not the path itself: a dictionary's index

    @classmethod
    def parse(cls, spec: str) -> Self:
        kind, _, rest = spec.partition(":")
        languages, colon, path = rest.partition(":")
        source, dash, target = languages.partition("-")  # the target may be written with a region: en-pt-BR
        if kind == LEXICON and rest and not (colon and dash and "/" not in languages):
            return cls(kind, "", (), rest)
        if kind not in (*KINDS, LEXICON) or not dash or not path:
            raise InputError(f"expected {SPEC_FORM}; got {spec!r}")
        targets = tuple(dict.fromkeys(parse_language(name) for name in target.split(",")))
        if len(targets) > 1 and kind != LEXICON and not FORMATS[kind].many_targets:
            raise InputError(f"{spec}: a {kind} source has one target language; give a source for each")
        return cls(kind, parse_language(source), targets, path)

    @property
    def file_name(self) -> str:
        return posixpath.basename((self.known_by or self.path).rstrip("/"))

    @property
    def name(self) -> str:
        """The spec without the folder: the same wherever the file lies."""
        if not self.source_language:
            return f"{self.kind}:{self.file_name}"
        return f"{self.kind}:{self.source_language}-{','.join(self.target_languages)}:{self.file_name}"

    @property
    def origin(self) -> str:
        return f"{self.kind}:{self.file_name}".replace(";", ",")  # a semicolon stands between the origins of an entry

    def located(self) -> Self:
        """The same, known by the first of its files."""
        return self if self.kind == LEXICON else replace(self, known_by=self.list_files()[0])

    def list_files(self) -> list[str]:
        """The files that are read, in a fixed order."""
        if self.kind == LEXICON:
            return [join(self.path, name) for name in (MANIFEST_NAME, ENTRIES_NAME)]
        return FORMATS[self.kind].list_files(self.path, self.source_language, self.target_languages)

    def takes_licence(self) -> bool:
        """Whether the format says no licence, so that the user may."""
        return self.kind != LEXICON and FORMATS[self.kind].licence == UNKNOWN


def parse_sources(specs: tuple[str, ...]) -> list[LexiconSource]:
    """The sources in the order given; `sample` is every file of the lexicon that the package carries."""
    sources: list[LexiconSource] = []
    for spec in specs:
        sources += _sample_sources() if spec == SAMPLE else [LexiconSource.parse(spec)]
    return sources


def refuse_twins(sources: list[LexiconSource]) -> None:
    """Sources are told apart by name in the manifest and in what is counted."""
    names = [source.name for source in sources]
    if twice := {name for name in names if names.count(name) > 1}:
        raise InputError(f"two sources are both named {min(twice)}; leave one out or rename its file")


def _sample_sources() -> list[LexiconSource]:
    files = sorted(SAMPLE_FOLDER.glob("??-??.tsv"))
    if not files:
        raise CsgenError(f"{SAMPLE_FOLDER}: the sample lexicon is missing; install csgen again")
    return [LexiconSource(SAMPLE, file.stem[:2], (file.stem[3:],), str(file)) for file in files]
