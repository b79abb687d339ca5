"""XML through expat, block by block: bounded memory, no entities, errors with their line. Knows no elements."""

import re
from collections.abc import Callable
from xml.parsers import expat

from csgen.errors import InputError
from csgen.readers.lines import read_chunks

MAX_DEPTH = 100  # dictionaries nest a dozen deep; expat holds what is open
MAX_TEXT_CHARACTERS = 1 << 16  # of one headword or translation
_MAX_TAG_BYTES = 4 << 20  # expat holds, and begins anew in each block, a tag or comment that has not ended

_REMEDY = "the file is damaged or was cut short: fetch it again"


def parse_xml(path: str, connect: Callable[[expat.XMLParserType], None]) -> None:
    """Parse a file, compressed or not; `connect` sets the parser's handlers. Names are "namespace name".

    Entities are not expanded: a file that declares any is refused, so that a few lines cannot stand for gigabytes.
    Nothing beside the file is read, be it a DTD.
    """
    parser = expat.ParserCreate(namespace_separator=" ")
    parser.buffer_text = True

    def refuse_entity(name: str, *_: object) -> None:
        message = f"declares the entity {name}; entities are not expanded: write out what they stand for"
        raise InputError.at(path, parser.CurrentLineNumber, message)

    def refuse_unknown(name: str, _: bool) -> None:
        message = f"has the entity {name}, which is declared elsewhere; write out what it stands for"
        raise InputError.at(path, parser.CurrentLineNumber, message)

    parser.EntityDeclHandler = refuse_entity
    parser.SkippedEntityHandler = refuse_unknown
    connect(parser)
    fed = 0
    try:
        for chunk in read_chunks(path):
            parser.Parse(chunk, False)
            fed += len(chunk)
            if fed - parser.CurrentByteIndex > _MAX_TAG_BYTES:
                message = f"expected tags and comments of at most {_MAX_TAG_BYTES} bytes, got a longer one"
                raise InputError.at(path, parser.CurrentLineNumber, message)
        parser.Parse(b"", True)
    except expat.ExpatError as error:
        reason = expat.ErrorString(error.code)
        raise InputError.at(path, error.lineno, f"is not well-formed XML ({reason}); {_REMEDY}") from error


class TextCollector:
    """Collects the text within an element of a parser, nested elements included."""

    def __init__(self, path: str, parser: expat.XMLParserType) -> None:
        self._path = path
        self._parser = parser
        self._parts: list[str] = []
        self._characters = 0

    def begin(self) -> None:
        self._parts = []
        self._characters = 0
        self._parser.CharacterDataHandler = self._add

    def end(self) -> str:
        """The text since `begin`, white space as single blanks."""
        self._parser.CharacterDataHandler = None
        return " ".join("".join(self._parts).split())

    def end_exact(self) -> str:
        """The text since `begin` with its outer blanks, which matter where parts of a word follow one another."""
        self._parser.CharacterDataHandler = None
        return re.sub(r"\s+", " ", "".join(self._parts))

    def add_blank(self) -> None:
        self._parts.append(" ")

    def _add(self, text: str) -> None:
        self._parts.append(text)
        self._characters += len(text)
        if self._characters > MAX_TEXT_CHARACTERS:
            message = f"expected a text of at most {MAX_TEXT_CHARACTERS} characters, got a longer one"
            raise InputError.at(self._path, self._parser.CurrentLineNumber, message)
