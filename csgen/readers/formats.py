"""The table of all kinds of lexicon sources: how KIND:SRC-TGT[,TGT..]:PATH is read, and under which licence.

Readers of dumps and dictionaries are named, not imported, so that a word list does not wait for their libraries.
"""

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any

from csgen.readers import dictd, lines
from csgen.readers.columns import Reading

if TYPE_CHECKING:
    from csgen.readers.pieces import Piece

TEI_ENDINGS = (".tei", ".tei.gz", ".tei.xz", ".tei.zst")


@dataclass(frozen=True)
class Format:
    """One kind of source. Functions are named as "module:function"."""

    licence: str  # where the file itself does not say it
    many_targets: bool  # whether one pass over the source reads several target languages
    reader: str  # (path, source, targets) -> Reading
    piece_reader: str | None = None  # (piece, source, targets) -> Reading; None: the source is read as one
    files: str | None = None  # (path, source, targets) -> the files to read; None: the path alone

    def read(self, path: str, source: str, targets: tuple[str, ...]) -> Reading:
        """The whole source. With one target pairs may lack the column `target_language`."""
        reading: Reading = _find(self.reader)(path, source, targets)
        return reading

    def list_files(self, path: str, source: str, targets: tuple[str, ...]) -> list[str]:
        """The files that `read` would read, in a fixed order."""
        if self.files is None:
            return [path]
        found: list[str] = _find(self.files)(path, source, targets)
        return found

    def split(self, path: str) -> "list[Piece]":
        """The parts of the file that `read_piece` reads on their own; one where it cannot be split."""
        from csgen.readers.pieces import Piece, split_file

        return [Piece(path)] if self.piece_reader is None else split_file(path)

    def read_piece(self, piece: "Piece", source: str, targets: tuple[str, ...]) -> Reading:
        """One part of the file; its lines are numbered from 1, and `join_readings` numbers them anew."""
        if self.piece_reader is None:
            return self.read(piece.path, source, targets)
        reading: Reading = _find(self.piece_reader)(piece, source, targets)
        return reading


def _find(name: str) -> Callable[..., Any]:
    module, _, function = name.partition(":")
    found: Callable[..., Any] = getattr(import_module(module), function)
    return found


def read_muse(path: str, source: str, targets: tuple[str, ...]) -> Reading:
    return lines.read_muse(path)


def read_tsv(path: str, source: str, targets: tuple[str, ...]) -> Reading:
    return lines.read_tsv(path)


def read_freedict(path: str, source: str, targets: tuple[str, ...]) -> Reading:
    """FreeDict offers every dictionary in two forms: dictd's, and the TEI that it is made from."""
    if path.endswith(TEI_ENDINGS):
        return FORMATS["tei"].read(path, source, targets)
    return dictd.read_freedict(dictd.locate_freedict(path, source, targets[0]))


def freedict_files(path: str, source: str, targets: tuple[str, ...]) -> list[str]:
    if path.endswith(TEI_ENDINGS):
        return [path]
    return dictd.freedict_files(dictd.locate_freedict(path, source, targets[0]))


_HERE = "csgen.readers.formats"

FORMATS = {
    "muse": Format("CC BY-NC 4.0", False, f"{_HERE}:read_muse"),
    "tsv": Format("unknown", False, f"{_HERE}:read_tsv"),
    "csv": Format("unknown", False, "csgen.readers.csv:read_csv"),
    "freedict": Format("see source", False, f"{_HERE}:read_freedict", files=f"{_HERE}:freedict_files"),
    "tei": Format("unknown", False, "csgen.readers.tei:read_tei"),
    "stardict": Format(
        "unknown", False, "csgen.readers.stardict:read_stardict", files="csgen.readers.stardict:stardict_files"
    ),
    "apertium": Format("GPL-3.0-or-later", False, "csgen.readers.apertium:read_apertium"),
    # read as one: a redirect leads to anywhere in the file
    "wiktextract": Format("CC BY-SA 4.0", True, "csgen.readers.wiktextract:read_wiktextract"),
    "wikidata": Format(
        "CC0-1.0",
        True,
        "csgen.readers.wikidata:read_wikidata",
        piece_reader="csgen.readers.wikidata:read_wikidata_piece",
    ),
    "langlinks": Format(
        "CC BY-SA 4.0", True, "csgen.readers.wikipedia:read_langlinks", files="csgen.readers.wikipedia:langlinks_files"
    ),
    "langlinks-last": Format(  # the paper's rule for duplicates
        "CC BY-SA 4.0",
        True,
        "csgen.readers.wikipedia:read_last_langlinks",
        files="csgen.readers.wikipedia:langlinks_files",
    ),
    "wordnet": Format(
        "unknown", True, "csgen.readers.wordnet:read_wordnet", files="csgen.readers.wordnet:wordnet_files"
    ),
    "sample": Format("Apache-2.0", False, f"{_HERE}:read_tsv"),
}
