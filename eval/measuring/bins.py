"""Bins of queries: by the tokens that a query shares with its passage, their scripts, its length, their languages.

Knows texts and languages; no run and no measure.
"""

from itertools import combinations

import polars as pl

from csgen.languages import LANGUAGES
from csgen.lexicon.entries import fold_column
from eval.measuring.distance import DISTANCES, language_distance, main_script

KINDS = ("overlap", "script", "length", "distance")

# A bin ends with its edge: .25 lies in "0-.25", and 2 in "1-2". The first holds 0 alone, the last has no edge.
OVERLAP_BINS, _OVERLAP_EDGES = ("0", "0-.25", ".25-.5", ".5-.75", ".75-1"), (0.0, 0.25, 0.5, 0.75)
LENGTH_BINS, _LENGTH_EDGES = ("0", "1-2", "3-5", "6-10", "over 10"), (0.0, 2.0, 5.0, 10.0)

_SCRIPTS = sorted({main_script(language.code) for language in LANGUAGES})
SCRIPT_BINS = tuple(f"{a}-{b}" for a, b in [*zip(_SCRIPTS, _SCRIPTS, strict=True), *combinations(_SCRIPTS, 2)])

# Letters of the scripts that are written without spaces, with the marks that several of them share, such as "ー".
_CHINESE_OR_JAPANESE = r"[\w&&[\p{scx=Han}\p{scx=Hiragana}\p{scx=Katakana}]]"
_SOUTHEAST_ASIAN = r"[\w&&[\p{scx=Thai}\p{scx=Lao}\p{scx=Khmer}\p{scx=Myanmar}]]"
_UNSPACED = f"[{_CHINESE_OR_JAPANESE}{_SOUTHEAST_ASIAN}]"
_WORD = rf"[\w--{_UNSPACED}]+"

# Letters in a word as ICU's dictionaries divide texts: 1.6 in Chinese, 1.8 in Japanese, 3.9 in Thai (NTREX, XQuAD-R).
_LETTERS_PER_WORD = {_CHINESE_OR_JAPANESE: 2, _SOUTHEAST_ASIAN: 4}


def token_overlap(queries: pl.Series, passages: pl.Series) -> pl.Series:
    """The share of each query's distinct tokens that its passage holds, row by row: Float64 in [0, 1].

    Tokens are words, folded (NFKC, then lower case as lexicons have it), and in scripts without spaces every two
    letters in a row; a letter on its own is held by any passage with that letter. What is a token depends on the script
    of its letters alone, so that a name in Latin letters is found in a Japanese passage. A query without a token has 0.
    """
    query, passage = (_normalise(texts).alias("text").to_frame() for texts in (queries, passages))
    tokens = query.select(query=pl.concat_list(*_words_and_pairs(), _lone_letters()).list.unique())
    tokens = tokens.hstack(
        passage.select(passage=pl.concat_list(*_words_and_pairs(), pl.col("text").str.extract_all(_UNSPACED)))
    )
    held = pl.col("query").list.set_intersection("passage").list.len()
    num_tokens = pl.col("query").list.len()
    return tokens.select(overlap=pl.when(num_tokens > 0).then(held / num_tokens).otherwise(0.0)).to_series()


def query_length(queries: pl.Series) -> pl.Series:
    """The number of running words of each query: Int64.

    In scripts without spaces it is an estimate, rounded up: a word for every 2 letters in Chinese and Japanese, and for
    every 4 in Thai, Lao, Khmer and Burmese.
    """
    text = pl.col("text")
    words = text.str.count_matches(_WORD).cast(pl.Int64)
    estimates = [
        (text.str.count_matches(letter).cast(pl.Int64) + per_word - 1) // per_word
        for letter, per_word in _LETTERS_PER_WORD.items()
    ]
    return _normalise(queries).alias("text").to_frame().select(length=pl.sum_horizontal(words, *estimates)).to_series()


def script_pair(left: str, right: str) -> str:
    """The scripts of two languages, in the order of the alphabet, such as "Cyrl-Latn"; "Latn-Latn" where they share it.

    Which of them is the query's makes no difference, so a bin has all queries that cross from one script to the other,
    either way; the grid of languages tells the directions apart. A language's script is distance.main_script.
    """
    return "-".join(sorted((main_script(left), main_script(right))))


def bin_queries(pairs: pl.DataFrame) -> pl.DataFrame:
    """`query_id, kind, bin, order` of queries and relevant passages; a row for each query and kind, sorted by these.

    `pairs` has `query_id, query, query_language, passage, passage_language`: a row for each query's relevant passage.
    Of several passages counts the one that makes it easiest: most overlap, the same script, the nearest language.
    `kind` is one of KINDS, in this order; `order` sorts the bins of a kind and is the same for any input. Ids must be
    unique: queries of several cells can be binned at once as CELL/QUERY_ID.
    """
    near = _by_languages(pairs)
    overlap = _cut(token_overlap(pairs["query"], pairs["passage"]), _OVERLAP_EDGES, OVERLAP_BINS)
    length = _cut(query_length(pairs["query"]), _LENGTH_EDGES, LENGTH_BINS)
    by_kind = {"overlap": overlap, "script": near["script"], "length": length, "distance": near["distance"]}
    parts = [
        part.select(pairs["query_id"], pl.lit(kind).alias("kind"), "bin", "order", position=pl.lit(position))
        for position, (kind, part) in enumerate(by_kind.items())
    ]
    ease = pl.when(pl.col("kind") == "overlap").then(-pl.col("order")).otherwise(pl.col("order"))
    ordered = pl.concat(parts).sort("query_id", "position", ease)
    return ordered.unique(["query_id", "kind"], keep="first", maintain_order=True).select(
        "query_id", "kind", "bin", "order"
    )


def _normalise(texts: pl.Series) -> pl.Series:
    return fold_column(texts.str.normalize("NFKC"))


def _words_and_pairs() -> list[pl.Expr]:
    """The words of `text`, and every two letters in a row of scripts without spaces.

    Matches do not overlap, so pairs are taken from the first letter of each stretch, and from its second.
    """
    # Two letters come nearest to ICU's words, which need an extra, if one length is to serve all: the mean overlap in
    # XQuAD-R is .82 in Thai and .48 in Chinese; by words .76 and .68, by three letters .67 and .32, by one .99 and .75.
    text = pl.col("text")
    behind_first = text.str.replace_all(f"{_UNSPACED}({_UNSPACED}*)", "$1")
    pair = f"{_UNSPACED}{{2}}"
    return [text.str.extract_all(_WORD), text.str.extract_all(pair), behind_first.str.extract_all(pair)]


def _lone_letters() -> pl.Expr:
    """The letters of scripts without spaces that have no neighbour of their kind."""
    return pl.col("text").str.replace_all(f"{_UNSPACED}{{2,}}", " ").str.extract_all(_UNSPACED)


def _cut(values: pl.Series, edges: tuple[float, ...], labels: tuple[str, ...]) -> pl.DataFrame:
    """`bin, order` of each value."""
    order = pl.Series("order", edges).search_sorted(values.cast(pl.Float64), side="left").cast(pl.Int64)
    return pl.DataFrame({"bin": pl.Series(labels).gather(order), "order": order})


def _by_languages(pairs: pl.DataFrame) -> dict[str, pl.DataFrame]:
    """`bin, order` of each pair's languages, by scripts and by distance; each two languages are compared once."""
    sides = ["query_language", "passage_language"]
    known = pairs.select(sides).unique()
    found = {
        "script": [script_pair(*two) for two in known.iter_rows()],
        "distance": [language_distance(*two) for two in known.iter_rows()],
    }
    places = {"script": SCRIPT_BINS, "distance": DISTANCES}
    by_kind = {}
    for kind, labels in found.items():
        order = [places[kind].index(label) if label in places[kind] else len(places[kind]) for label in labels]
        table = known.with_columns(bin=pl.Series(labels, dtype=pl.String), order=pl.Series(order, dtype=pl.Int64))
        by_kind[kind] = (
            pairs.select(sides).join(table, on=sides, how="left", maintain_order="left").select("bin", "order")
        )
    return by_kind
