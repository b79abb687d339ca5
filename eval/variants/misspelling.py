"""Misspelt queries: words with one typo each, drawn by seed, query and place; knows letters and keys, no language."""

import unicodedata

import numpy as np
import polars as pl

from csgen.sources.draws import GOLDEN, Words, counter, hash_texts, mix

MIN_LETTERS = 4  # of a word that gets typos: in shorter ones a typo most often makes another word

_SCRIPTS_WITHOUT_SPACES = ("Han", "Hiragana", "Katakana", "Thai", "Lao", "Khmer", "Myanmar")
_UNSPACED = r"\p{L}&&[" + "".join(rf"\p{{scx:{name}}}" for name in _SCRIPTS_WITHOUT_SPACES) + "]"
_MARKS = r"\p{M}\x{200c}\x{200d}"  # joiners too: they stand within Persian words
_LETTER = rf"\p{{L}}[{_MARKS}]*|[{_MARKS}]+"
_WORD = rf"^[\p{{L}}{_MARKS}]+$"
# In this order: a run without white space that looks like a URL, an address or a file's name; letters of a script
# without spaces, by fours; a word, perhaps with digits; any other character. Together they are the whole text.
_PIECE = (
    r"\S*(?:://|@|[0-9A-Za-z]\.[0-9A-Za-z])\S*"
    rf"|(?:[{_UNSPACED}][{_MARKS}]*){{1,{MIN_LETTERS}}}"
    rf"|[\p{{L}}{_MARKS}\p{{N}}_--[{_UNSPACED}]]+"
    r"|(?s:.)"
)
_KEY_ROWS = ("qwertyuiop", "asdfghjkl", "zxcvbnm")  # each stands half a key to the right of the one above


# Packages that make typos do not serve: `typo` 0.1.7 seeds Python's one global generator and draws a place in the
# whole string, so that no word has its own draw; its keyboard is a-z alone. `multypo` 0.1.1 draws from that generator
# too, and installs stanza.
def misspell(queries: pl.DataFrame, rate: float, seed: int) -> pl.DataFrame:
    """The queries with one typo in each word of 4 or more letters that is drawn, with probability `rate` in [0, 1].

    A typo leaves out, doubles, swaps or replaces a letter (with its marks), all alike often: replaced by its neighbour
    on a QWERTY keyboard, letters without such a key by another of the word. In scripts without spaces each 4 letters in
    a row count as a word. Words with a digit or an underscore stay, as do URLs, addresses and names of files. The draws
    come from the seed, the query's id and the word's place; the same words and more are hit at a higher rate.
    """
    keys = mix(hash_texts(queries["query_id"]) ^ mix(np.full(queries.height, counter(seed + 1))))
    pieces = (
        queries.select(piece=pl.col("text").str.extract_all(_PIECE))
        .with_row_index("row")
        .explode("piece")
        .with_columns(position=pl.int_range(pl.len()).over("row"))
    )
    words = pieces.with_row_index("place").filter(
        pl.col("piece").str.contains(_WORD), pl.col("piece").str.count_matches(r"\p{L}") >= MIN_LETTERS
    )
    draws = mix(keys[words["row"].to_numpy()] + _counters(words["position"]))
    drawn = (draws >> np.uint64(11)) * 2.0**-53 < rate
    letters = words.filter(drawn)["piece"].str.extract_all(_LETTER)
    typos = [_mistype(*word) for word in zip(letters.to_list(), mix(draws[drawn]).tolist(), strict=True)]
    changed = pieces["piece"].scatter(words.filter(drawn)["place"], pl.Series(typos, dtype=pl.String))
    texts = pieces.with_columns(changed).group_by("row").agg(pl.col("piece").str.join())
    rows = queries.with_row_index("row").join(texts, on="row", how="left", maintain_order="left")
    return rows.with_columns(text=pl.col("piece").fill_null(pl.col("text"))).select(queries.columns)


def _counters(positions: pl.Series) -> Words:
    return (positions.to_numpy().astype(np.uint64) + np.uint64(1)) * np.uint64(GOLDEN)


def _mistype(letters: list[str], draw: int) -> str:
    """The word with one typo; `draw` is uniform below 2**64 and is used up digit by digit."""
    draw, edit = divmod(draw, len(_EDITS))
    return "".join(_EDITS[edit](letters, draw))


def _leave_out(letters: list[str], draw: int) -> list[str]:
    at = draw % len(letters)
    return letters[:at] + letters[at + 1 :]


def _double(letters: list[str], draw: int) -> list[str]:
    at = draw % len(letters)
    return letters[: at + 1] + letters[at:]


def _swap(letters: list[str], draw: int) -> list[str]:
    """Two neighbours swapped; where all letters are the same, one is doubled."""
    places = [k for k in range(len(letters) - 1) if letters[k] != letters[k + 1]]
    if not places:
        return _double(letters, draw)
    at = places[draw % len(places)]
    return [*letters[:at], letters[at + 1], letters[at], *letters[at + 2 :]]


def _replace(letters: list[str], draw: int) -> list[str]:
    """One letter replaced, in its case; where there is no other letter, it is doubled."""
    rest, at = divmod(draw, len(letters))
    letter = letters[at]
    base = unicodedata.normalize("NFD", letter)[0].lower()  # é is typed with the finger that types e
    others = _NEIGHBOURS.get(base) or letters
    cased = sorted({other.upper() if letter.isupper() else other.lower() for other in others} - {letter})
    if not cased:
        return _double(letters, draw)
    return [*letters[:at], cased[rest % len(cased)], *letters[at + 1 :]]


_EDITS = (_leave_out, _double, _swap, _replace)


def _key_neighbours() -> dict[str, str]:
    """The letters whose keys touch each letter's key."""
    keys = {(row, column): key for row, keys in enumerate(_KEY_ROWS) for column, key in enumerate(keys)}
    steps = ((0, -1), (0, 1), (-1, 0), (-1, 1), (1, -1), (1, 0))
    return {
        key: "".join(keys.get((row + down, column + right), "") for down, right in steps)
        for (row, column), key in keys.items()
    }


_NEIGHBOURS = _key_neighbours()
