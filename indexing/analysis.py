"""Terms of texts, by language: words folded, without stop words, stemmed; pairs of characters where no spaces stand.

Knows nothing of passages or scores. Equal texts give equal terms, whatever else is analysed with them.
"""

import logging
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from csgen.errors import InputError
from csgen.languages import parse_language
from csgen.lexicon.entries import fold_column

_WORD = r"[\p{L}\p{M}\p{N}]"
# Scripts of which pairs of characters are the terms: those without spaces and, as in Lucene's CJK analyser, Hangul.
_PAIRED = r"[\p{Han}\p{Hiragana}\p{Katakana}ー\p{Hangul}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}]"
_SPELT = rf"[{_WORD}--{_PAIRED}]"
_GLUE = r"['’\u200c\u200d\u00ad·]"  # part of a word when it stands inside: the rule of csgen.switching.tokens
WORDS = rf"[{_WORD}&&{_PAIRED}]+|[{_SPELT}--\p{{M}}]{_SPELT}*(?:{_GLUE}{_SPELT}+)*"

# A character with what is written around it: in Thai's, Lao's, Khmer's and Burmese's a consonant with its vowels, tone
# and subscripts. MRR@10 on XQuAD-R in Thai: .96 by pairs of these, .90 of code points, .95 by ICU's words.
CHARACTERS = r"(?s)[เ-ไເ-ໄ]?\P{M}(?:[\u1039\u17d2].|[\p{M}ะาำๅະາຳ])*|."

_INVISIBLE = r"[\u00ad\u200c\u200d]"
# What is cut off before an apostrophe, as by Lucene's elision filters of these languages.
_ELIDED = {
    "ca": "d l m n s t",
    "fr": "c d j jusqu l lorsqu m n puisqu qu quoiqu s t",
    "ga": "b d m",
    "it": "agl all c coll d dagl dall degl dell gl l m negl nell pell quell s sugl sull t un v",
}
_DOTLESS = frozenset({"az", "tr"})  # languages in which I is the capital of ı
_STOP_WORDS = {
    "da": "DANISH", "de": "GERMAN", "en": "EN_PLUS", "es": "SPANISH", "fr": "FRENCH", "it": "ITALIAN",
    "nb": "NORWEGIAN", "nl": "DUTCH", "nn": "NORWEGIAN", "no": "NORWEGIAN", "pt": "PORTUGUESE", "ru": "RUSSIAN",
    "sv": "SWEDISH", "tr": "TURKISH",
}  # fmt: skip
_STEMMED_AS = {"nb": "no", "nn": "no"}

Column = TypeVar("Column", pl.Series, pl.Expr)


@dataclass(frozen=True)
class Terms:
    """The terms of texts: text i has those at `ids[offsets[i]:offsets[i + 1]]`, numbers in `vocabulary`, in order."""

    vocabulary: pl.Series  # String, all different
    offsets: NDArray[np.int64]  # one more than texts
    ids: NDArray[np.int32]

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def join(self, separator: str) -> pl.Series:
        """The terms of each text with a separator between them."""
        strings = pa.LargeListArray.from_arrays(self.offsets, self.vocabulary.gather(self.ids).to_arrow())
        return pl.Series(strings, dtype=pl.List(pl.String)).list.join(separator)

    def replace(self, replacements: "Terms") -> "Terms":
        """Each term replaced by those of a row of `replacements`, which has a row for each term of the vocabulary."""
        offsets, places = gather_rows(replacements.offsets, self.ids)
        return Terms(replacements.vocabulary, offsets[self.offsets], replacements.ids[places])

    def number_in(self, vocabulary: pl.Series) -> "Terms":
        """The same terms with their numbers in another vocabulary; those that it lacks are left out."""
        numbers = pc.index_in(self.vocabulary.to_arrow(), vocabulary.to_arrow())
        known = numbers.is_valid().to_numpy(zero_copy_only=False)
        found = numbers.fill_null(0).to_numpy()
        return self.replace(Terms(vocabulary, bound_rows(known), found[known].astype(np.int32)))


def bound_rows(lengths: NDArray[Any]) -> NDArray[np.int64]:
    """The offsets of ragged rows of these lengths: one more than rows, from 0 on."""
    return np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)])


def gather_rows(offsets: NDArray[np.int64], rows: NDArray[Any]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Of the ragged rows that `offsets` bound, some, in the order given: their offsets, and each element's place."""
    lengths = np.diff(offsets)[rows]
    gathered = bound_rows(lengths)
    return gathered, np.repeat(offsets[rows] - gathered[:-1], lengths) + np.arange(gathered[-1])


class Analyser:
    """How texts of one language become terms. Region and script of the language make no difference."""

    def __init__(self, language: str) -> None:
        """Every language of csgen.languages is known: without a list of stop words or a stemmer, it does without."""
        self.language = parse_language(language).partition("-")[0]
        self._elision = rf"^(?:{'|'.join(_ELIDED[self.language].split())})'" if self.language in _ELIDED else None
        self._stop_words = self._find_stop_words()

    def find_terms(self, texts: pl.Series) -> Terms:
        """The terms of texts (String, no nulls) in their order: stems, and pairs of characters."""
        words = self.find_words(texts)
        return words.replace(self.reduce_words(words.vocabulary))

    def find_words(self, texts: pl.Series) -> Terms:
        """The words of texts, folded, stop words among them; a run of a script without spaces is one word."""
        words = number_lists(_normalise(texts).str.extract_all(WORDS))
        return words.replace(_number(self._fold(words.vocabulary)))

    def is_stop_word(self, words: pl.Series) -> NDArray[np.bool_]:
        """Which of the words, as `find_words` writes them, are stop words."""
        return words.is_in(self._stop_words.implode()).to_numpy()

    def reduce_words(self, words: pl.Series) -> Terms:
        """The terms of each word that `find_words` wrote: none for a stop word, else a stem, or pairs of characters."""
        paired = is_paired(words).to_numpy()
        stemmed = ~paired & ~self.is_stop_word(words)
        stems = _number(self.stem(words.filter(pl.Series(stemmed))))
        pairs = _pair_characters(words.filter(pl.Series(paired)))
        lengths = stemmed.astype(np.int64)
        lengths[paired] = np.diff(pairs.offsets)
        in_pairs = np.repeat(paired, lengths)
        ids = np.empty(len(in_pairs), np.int32)
        ids[~in_pairs], ids[in_pairs] = stems.ids, pairs.ids + len(stems.vocabulary)
        # No stem is a pair: the scripts are not the same.
        return Terms(pl.concat([stems.vocabulary, pairs.vocabulary]), bound_rows(lengths), ids)

    def stem(self, words: pl.Series) -> pl.Series:
        """Each word's stem; the word itself in a language that Snowball does not know."""
        stemmer = _make_stemmer(_STEMMED_AS.get(self.language, self.language))
        return pl.Series(stemmer.stemWords(words.to_list()), dtype=pl.String) if stemmer else words

    def _fold(self, words: pl.Series) -> pl.Series:
        """Words in the form in which they are looked up."""
        words = words.str.replace_all(_INVISIBLE, "").str.replace_all("’", "'", literal=True)
        dotless = ("I", "ı") if self.language in _DOTLESS else ("ı", "i")  # as a Turkish word may stand elsewhere
        words = words.str.replace_all(*dotless, literal=True).str.replace_all("İ", "i", literal=True)
        words = fold_column(words)
        if self.language == "zh":
            words = _simplify(words)
        return words.str.replace(self._elision, "") if self._elision else words

    def _find_stop_words(self) -> pl.Series:
        """The list of the language, folded: Snowball's or NLTK's as bm25s carries them, else that of stopwords-iso."""
        if self.language in _STOP_WORDS:
            listed = getattr(import_bm25s().stopwords, f"STOPWORDS_{_STOP_WORDS[self.language]}")
        else:
            listed = sorted(_import_stopwordsiso().stopwords(self.language))
        words = self.find_words(pl.Series(listed, dtype=pl.String))
        single = np.diff(words.offsets) == 1  # of a phrase, the words alone may mean much
        return words.vocabulary.gather(words.ids[words.offsets[:-1][single]])


def is_paired(words: Column) -> Column:
    """Which words, as `find_words` writes them, are of a script whose terms are pairs of characters."""
    return words.str.contains(rf"^{_PAIRED}")


def import_bm25s() -> Any:
    """The library bm25s, silent."""
    try:
        import bm25s
    except ImportError as error:
        raise InputError("lexical search needs bm25s: pip install 'csgen[lexical]'") from error
    logging.getLogger("bm25s").setLevel(logging.WARNING)  # on import it asks for everything down to DEBUG
    return bm25s


def _import_stopwordsiso() -> Any:
    try:
        import stopwordsiso
    except ImportError as error:
        raise InputError("lexical search needs stopwordsiso: pip install 'csgen[lexical]'") from error
    return stopwordsiso


def _make_stemmer(language: str) -> Any:
    """A stemmer, which one thread may use; None for a language that Snowball does not know."""
    try:
        import Stemmer
    except ImportError as error:
        raise InputError("lexical search needs PyStemmer: pip install 'csgen[lexical]'") from error
    try:
        return Stemmer.Stemmer(language, 0)  # no cache: every word comes once
    except KeyError:
        return None


def _simplify(words: pl.Series) -> pl.Series:
    """Chinese words in simplified characters, so that they meet those of lexicons and passages in traditional ones."""
    try:
        import opencc
    except ImportError as error:
        raise InputError("search in Chinese needs OpenCC: pip install 'csgen[lexical]'") from error
    return pl.Series(opencc.OpenCC("t2s").convert("\n".join(words)).split("\n"), dtype=pl.String)[: len(words)]


def _normalise(texts: pl.Series) -> pl.Series:
    """NFKC, which ASCII is already: one way to write what looks the same, and the usual width of Latin and kana."""
    rows = (texts.str.len_bytes() != texts.str.len_chars()).arg_true()
    return texts.scatter(rows, texts.gather(rows).str.normalize("NFKC")) if len(rows) else texts


def number_lists(lists: pl.Series) -> Terms:
    """Terms that stand as a list of strings a text, without nulls."""
    strings = lists.to_arrow()
    encoded = strings.flatten().dictionary_encode()
    offsets = strings.offsets.to_numpy().astype(np.int64)
    return Terms(_series(encoded.dictionary), offsets - offsets[0], encoded.indices.to_numpy())


def _number(words: pl.Series) -> Terms:
    """Words as the terms of as many texts, one each."""
    encoded = words.to_arrow().dictionary_encode()
    return Terms(_series(encoded.dictionary), np.arange(len(words) + 1), encoded.indices.to_numpy())


def _pair_characters(words: pl.Series) -> Terms:
    """All pairs of neighbouring characters of each word; of a word of one character that one."""
    characters = number_lists(words.str.extract_all(CHARACTERS))
    lengths = np.diff(characters.offsets)
    offsets, places = gather_rows(bound_rows(np.maximum(lengths - 1, 1)), np.arange(len(words)))
    firsts = places + np.repeat(characters.offsets[:-1] - offsets[:-1], np.diff(offsets))
    nothing = len(characters.vocabulary)
    following = np.append(characters.ids, nothing)[firsts + 1]
    following[np.repeat(lengths == 1, np.diff(offsets))] = nothing
    pairs, numbers = np.unique(characters.ids[firsts].astype(np.int64) << 32 | following, return_inverse=True)
    spelt = pl.concat([characters.vocabulary, pl.Series([""])])
    terms = _number(spelt.gather(pairs >> 32) + spelt.gather(pairs & 0xFFFFFFFF))
    return Terms(terms.vocabulary, offsets, terms.ids[numbers])


def _series(strings: pa.Array) -> pl.Series:
    return pl.Series(strings, dtype=pl.String)
