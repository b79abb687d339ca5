"""What dictionaries written for people have in common: separators, placeholders, gaps, terms of a licence.

Knows no format of files. Everything works on columns.
"""

import re

import polars as pl

SEPARATOR = r",\s|[;،؛、，；]"  # a comma without a space belongs to a number
GRAMMAR = r"<[^<>]*>"
# A space, slashes, IPA, slashes; a slash between two words ("period / full stop") has a space after it.
PRONUNCIATION = r"\s/+[^/\s](?:[^/]*[^/\s])?/+"

UNFITTING = "translations with alternatives, gaps, parts of words or placeholders"

# The object's place in "take sth." and "etw. nehmen": never a word of a text. Also several: "sb./sth.", "jdm./etw.".
_PLACEHOLDER = r"(?:sb|sth|etw|jd[mns]?)\.(?:'s)?"
_OUTER_PLACEHOLDERS = rf"^(?:{_PLACEHOLDER}[/\s]*)+(?:\s|$)|\s(?:{_PLACEHOLDER}[/\s]*)+$"
_OUTER_MARKS = " \t\u00a0?!¿¡？！؟"  # "why?"; a full stop may belong to an abbreviation
_UNFIT = rf"\b{_PLACEHOLDER}|/|…|\.\.\.|^-|-$|^$"

_LICENCES = {
    "AGPL-3.0": r"Affero",
    "GPL-3.0": r"General Public License[^.]{0,40}version 3|GPLv3",
    "GPL-3.0-or-later": r"General Public License,? (?:ver\.|version) 3(?:\.0)? (?:and any|or|\(or)",
    "GPL-2.0-or-later": r"General Public License[^.]{0,20}(?:ver\.|version) 2\.0 (?:and any|or) later",
    "GPL-2.0": r"(?i:general public license), version 2\.0\.?$",
    "GFDL": r"Free Documentation",
    "CC BY 3.0": r"Creative Commons Attribution 3",
    "CC BY-SA 3.0": r"(?:Share ?Alike|BY-SA)\D{0,30}3",
    "CC BY-SA 4.0": r"(?:Share ?Alike|BY-SA)\D{0,30}4",
}


def name_licence(terms: str) -> str | None:
    """The licences that a text names, as SPDX and Creative Commons write them; None where it names no known one."""
    text = " ".join(terms.split())
    names = [name for name, pattern in _LICENCES.items() if re.search(pattern, text)]
    if "GPL-3.0-or-later" in names and "GPL-3.0" in names:
        names.remove("GPL-3.0")
    return ", ".join(names) or None


def fitting(name: str) -> pl.Expr:
    """Outer placeholders and marks taken off; null for alternatives ("in/into"), gaps, parts of words, placeholders."""
    phrase = pl.col(name).str.replace_all("\u2010", "-", literal=True).str.strip_chars(_OUTER_MARKS)
    phrase = phrase.str.replace_all(_OUTER_PLACEHOLDERS, "").str.strip_chars(_OUTER_MARKS)
    return pl.when(~phrase.str.contains(_UNFIT)).then(phrase).alias(name)


def split_phrases(texts: pl.Expr) -> pl.Expr:
    """The phrases of each text, parted by commas, semicolons and their like in other scripts, as lists."""
    return texts.str.replace_all(SEPARATOR, "\n").str.split("\n")


def pair_phrases(sources: pl.DataFrame, targets: pl.DataFrame) -> pl.DataFrame:
    """Every `source` of a `line` with every `target` of it, in the order of both; weight 1.

    A source or target that fits no text is null.
    """
    pairs = sources.with_columns(fitting("source")).join(
        targets.with_columns(fitting("target")), on="line", how="inner", maintain_order="left_right"
    )
    return pairs.select("line", "source", "target", weight=pl.lit(1.0))
