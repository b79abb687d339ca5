"""What a dictionary's article, written for people in plain text, Pango, HTML or XDXF, offers as translations.

A guess by layout: XDXF marks translations; elsewhere they are the numbered lines, or else the first line.
"""

import html

import polars as pl

from csgen.readers.columns import drop_notes
from csgen.readers.phrasing import GRAMMAR, PRONUNCIATION, split_phrases

PROSE_WORDS = 8  # a line with a longer piece between its commas explains the word

_ASIDES = ("k", "tr", "pos", "gr", "abr", "abbr", "ex", "co", "etm", "sr")  # of XDXF: never the translation itself
_BREAK = r"(?i)</?(?:br|p|div|tr|ol|ul|hr|h[1-6]|def|ar|blockquote|dl|dt|dd)\b[^<>]*>"
_ITEM = r"(?i)<li\b[^<>]*>"
_ITALICS = r"(?is)<i\b[^<>]*>.*?</i>"  # parts of speech, pronunciations and notes, in all that was seen
_TRANSLATION = r"(?s)<dtrn\b[^<>]*>.*?</dtrn>"
_TAG = r"<[^<>]*>"

_PARTS_OF_SPEECH = (
    r"n|v|vi|vt|a|ad|adj|adv|prep|conj|pron|int|interj|num|art|aux|det|noun|verb|adjective|adverb|preposition|"
    r"conjunction|pronoun|interjection|numeral|article|determiner|abbr|pl|m|f|nt"
)
# What begins a sense: "1. ", "2) ", "vt. "; also after another sense on the same line.
_SENSE = rf"(?:^|[;.,]\s+)(?:[1-9]\d?[.)]\s+)+|\s+[1-9]\d?\)\s+|^(?:(?:{_PARTS_OF_SPEECH})\.\s*)+"
_NO_TRANSLATION = (
    rf"(?i)^(?:{_PARTS_OF_SPEECH}|see|cf)\.?$|^(?i:see|synonyms?|antonyms?|note|cf)\b[.:]|^[^\p{{L}}\p{{N}}]*$"
)


def read_articles(articles: pl.DataFrame) -> tuple[pl.DataFrame, int]:
    """`line` and `target` out of articles of `line`, `headword`, `kind` (m l g h x) and `body`; how many were prose.

    In the order of the articles, and of the translations within.
    """
    plain = articles.filter(pl.col("kind").is_in(["m", "l"])).with_columns(pl.col("body").str.replace_all(GRAMMAR, ""))
    pango = _strip_markup(articles.filter(pl.col("kind").is_in(["g", "h"])).with_columns(_without(_ITALICS)))
    xdxf = _strip_markup(_read_xdxf(articles.filter(kind="x")))
    texts = pl.concat([plain, pango, xdxf]).sort("line", maintain_order=True)
    lines = _number_senses(texts)
    phrases = lines.select("line", target=split_phrases(_part_han(pl.col("text"))))
    longest = pl.col("target").list.eval(pl.element().str.strip_chars().str.count_matches(r"\s+")).list.max() + 1
    lists = phrases.filter(longest <= PROSE_WORDS)
    targets = lists.explode("target", empty_as_null=True).with_columns(pl.col("target").str.strip_chars())
    return targets, len(phrases) - len(lists)


def _without(pattern: str) -> pl.Expr:
    return pl.col("body").str.replace_all(pattern, "")


def _read_xdxf(articles: pl.DataFrame) -> pl.DataFrame:
    """The direct translations, one a line and numbered; articles without any as they are, save what is beside it."""
    body = pl.col("body")
    for name in _ASIDES:
        body = body.str.replace_all(rf"(?s)<{name}\b[^<>]*>.*?</{name}>", "")
    marked = body.str.extract_all(_TRANSLATION)
    unmarked = body.str.replace_all(r"(?s)<(?:kref|iref|rref)\b[^<>]*>.*?</(?:kref|iref|rref)>", "")
    numbered = pl.lit("1. ") + marked.list.join("\n1. ")
    return articles.with_columns(body=pl.when(marked.list.len() > 0).then(numbered).otherwise(unmarked))


def _strip_markup(articles: pl.DataFrame) -> pl.DataFrame:
    body = pl.col("body").str.replace_all(_BREAK, "\n").str.replace_all(_ITEM, "\n1. ").str.replace_all(_TAG, "")
    stripped = articles.with_columns(body)
    rows = stripped["body"].str.contains("&", literal=True).arg_true()
    if rows.is_empty():
        return stripped
    plain = [html.unescape(text) for text in stripped["body"].gather(rows).to_list()]
    return stripped.with_columns(stripped["body"].scatter(rows, plain))


def _number_senses(articles: pl.DataFrame) -> pl.DataFrame:
    """`line` and `text`: the first line of each numbered sense, or of the article where none is numbered."""
    text = pl.col("text")
    split = (
        articles.select("line", "headword", text=pl.col("body").str.split("\n"))
        .explode("text", empty_as_null=True)
        .with_columns(text=drop_notes((" " + text).str.replace_all(PRONUNCIATION, "")).str.strip_chars())
        # every sense on a line of its own, behind a mark that no text has
        .with_columns(text.str.replace_all(_SENSE, "\n\0").str.strip_chars_start("\n").str.split("\n"))
        .explode("text", empty_as_null=True)
        .with_columns(is_numbered=text.str.starts_with("\0"), text=text.str.strip_chars("\0 \t\r\u00a0"))
        .filter(~text.str.contains(_NO_TRANSLATION) & (text != pl.col("headword")))
    )
    any_numbered = pl.col("is_numbered").any().over("line")
    is_first = pl.int_range(pl.len()).over("line") == 0
    return split.filter(pl.col("is_numbered") | (~any_numbered & is_first)).select("line", "text")


def _part_han(text: pl.Expr) -> pl.Expr:
    """Commas without a space do part words in Chinese and Japanese."""
    return text.str.replace_all(r"([\p{Han}\p{Hiragana}\p{Katakana})）]),", "${1}、")
