"""A segment's passages: their table, filters over it, and their lexical part. Knows neither FAISS nor versions."""

from indexing.passages.filters import Condition, Filter
from indexing.passages.search import LexicalSearch
from indexing.passages.table import PassageTable, join_titles_of
from indexing.passages.terms import LexicalPart, write_lexical
from indexing.passages.ties import SegmentHits, merge_hits, order_ties
from indexing.passages.translated import TranslatedSearch
from indexing.passages.writing import Written, write_passages

__all__ = [
    "Condition",
    "Filter",
    "LexicalPart",
    "LexicalSearch",
    "PassageTable",
    "SegmentHits",
    "TranslatedSearch",
    "Written",
    "join_titles_of",
    "merge_hits",
    "order_ties",
    "write_lexical",
    "write_passages",
]
