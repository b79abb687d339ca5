"""What people see of a switching job: a summary of its manifest, and pairs side by side with their switches marked.

Knows no files and no terminal: it makes rich renderables and plain values, and the command line prints them.
"""

import re
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import pyarrow as pa
from rich import box
from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.table import Table
from rich.text import Text

from csgen.languages import language_name
from csgen.manifest import Manifest
from csgen.switching.policy import SIDES, Policy, Side
from csgen.switching.switcher import Switched

_NOTHING = "–"
_FEWEST_DRAWN = 100  # tokens: below it a language's coverage is off by more than some 5 points
_SHOWN_CHARACTERS = 300  # of a text, more or less
_LONGEST_CHARACTER = 4  # bytes in UTF-8
_COLOURS = (
    "blue", "magenta", "green", "red", "cyan", "yellow",
    "dark_orange3", "medium_purple3", "spring_green4", "deep_pink4", "light_sea_green", "orange4",
)  # fmt: skip
# White space and control characters become blanks (an escape sequence in a text must not reach the terminal), and
# marks that turn the direction of what follows go: a line of a table could not bear them.
_SHOWABLE: dict[int, str | None] = dict.fromkeys([*range(0x20), *range(0x7F, 0xA0), 0x2028, 0x2029], " ")
_SHOWABLE |= dict.fromkeys([0x061C, 0x200E, 0x200F, *range(0x202A, 0x202F), *range(0x2066, 0x206A)])
_LETTER = "[\u0590-\u08ff\ufb1d-\ufdff\ufe70-\ufefc\U00010800-\U00010fff\U0001e800-\U0001efff]"
_RIGHT_TO_LEFT = re.compile(rf"{_LETTER}(?:[\s{_LETTER[1:-1]}]*{_LETTER})?")
_ISOLATE, _END_ISOLATE = "\u2067", "\u2069"  # of no width: right-to-left text between them moves nothing around it


@dataclass(frozen=True)
class LanguageSummary:
    """One target language of a side; the ratios are in [0, 1]; see SideSummary for `coverage_ratio`."""

    switched: int  # tokens, also those that came to it by drawing again
    switched_ratio: float  # of all tokens of the side
    asked_ratio: float  # the same, as the probability (or the target ratio) and the language's weight ask for it
    lacking: int  # tokens that drew it first, with a word that the lexicon knows, but not in this language
    coverage_ratio: float | None


@dataclass(frozen=True)
class SideSummary:
    """One side of all pairs.

    `drawn`: tokens selected by the probability that drew a target language; those that drew the source language are
    not among them. `unknown`: of the drawn, words that the lexicon has in no language. `protected`: known ones that a
    rule kept.

    `coverage_ratio`: of the drawn tokens, the share whose word (or a phrase it stands in) has a translation into the
    language that was drawn first: 1 - (unknown + lacking) / drawn. Words that are protected or that drew again count
    by the same rule. By language the switcher counts `lacking` alone; `drawn` and `unknown` are shared out by the
    languages' weights, as the draw does on average: exact for one language, for several an estimate, held in [0, 1],
    and None where fewer than 100 tokens can be expected to have drawn a language.
    """

    tokens: int
    drawn: int
    protected: int
    unknown: int
    realised_ratio: float  # switched tokens by tokens
    asked_ratio: float
    coverage_ratio: float | None  # None: nothing was drawn
    languages: dict[str, LanguageSummary]  # in the policy's order; none for a side that stays


def summarise_sides(manifest: Manifest) -> dict[Side, SideSummary]:
    """What a switching job's manifest says of each side."""
    policy = Policy.model_construct(**{n: v for n, v in manifest.config.items() if n in Policy.model_fields})
    return {side: _summarise_side(policy, side, manifest.counts[side]) for side in SIDES}


def _summarise_side(policy: Policy, side: Side, counts: dict[str, Any]) -> SideSummary:
    languages = [x for x in counts["switched"] if policy.policy == "synonym" or x != policy.source_language]
    weights = {x: policy.language_weights.get(x, 1.0) for x in counts["switched"]}
    targets = sum(weights[x] for x in languages)
    shares = {x: weights[x] / targets for x in languages}
    asked = policy.probability_of(side) * targets / max(sum(weights.values()), 1e-9)
    if policy.target_ratio is not None and languages:
        asked = policy.target_ratio
    # Under `synonym` a word that stays drew itself; otherwise it drew the source language.
    drawn = counts["selected"] - (0 if policy.policy == "synonym" else counts["kept"])

    def describe(language: str) -> LanguageSummary:
        switched, lacking, share = counts["switched"][language], counts["lacking"][language], shares[language]
        enough = share * drawn >= _FEWEST_DRAWN or len(languages) == 1
        coverage = _coverage(share * drawn, lacking + share * counts["unknown"]) if enough else None
        return LanguageSummary(switched, switched / max(counts["tokens"], 1), asked * share, lacking, coverage)

    missing = counts["unknown"] + sum(counts["lacking"].values())
    return SideSummary(
        counts["tokens"], drawn, counts["protected"], counts["unknown"], counts["realised_ratio"], asked,
        _coverage(drawn, missing), {language: describe(language) for language in languages},
    )  # fmt: skip


def _coverage(drawn: float, missing: float) -> float | None:
    return min(max(1 - missing / drawn, 0.0), 1.0) if drawn else None


def switch_summary_json(manifest: Manifest, seconds: float | None) -> dict[str, Any]:
    """The summary as plain values, for `--format json`; `seconds` and what follows from them are None if not known."""
    pairs, size = manifest.counts["pairs"], sum(file["bytes"] for file in manifest.files.values())
    return {
        "pairs": pairs,
        "rejects": manifest.counts["rejects"],
        "bytes": size,
        "seconds": seconds,
        "pairs_per_s": pairs / seconds if seconds else None,
        "bytes_per_s": size / seconds if seconds else None,
        "sides": {side: asdict(summary) for side, summary in summarise_sides(manifest).items()},
    }


def switch_summary(manifest: Manifest, seconds: float | None) -> RenderableType:
    """The table at the end of `csgen switch`.

    `seconds`: how long it took to make all of the output; None where that is not known, as after a resumed job.
    """
    whole = switch_summary_json(manifest, seconds)
    line = f"{_counted(whole['pairs'], 'pair')}, {_counted(whole['rejects'], 'reject')}, {whole['bytes'] / 1e6:,.1f} MB"
    if seconds:
        line += f" in {seconds:,.1f} s: {whole['pairs_per_s']:,.0f} pairs/s, {whole['bytes_per_s'] / 1e6:,.1f} MB/s"
    caption = "drawn, switched: of all tokens; coverage, protected, unknown: of the drawn\n~ estimated from the weights"
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), caption=caption, caption_justify="left")
    table.add_column("side, language", no_wrap=True)
    for name in ("tokens", "drawn", "switched", "coverage", "protected", "unknown"):
        table.add_column(name, justify="right", no_wrap=True)
    for side, summary in summarise_sides(manifest).items():
        _add_rows(table, side, summary)
    return Group(Text(line), table)


def _add_rows(table: Table, side: Side, summary: SideSummary) -> None:
    if not summary.languages:
        table.add_row(f"{side}, not switched", f"{summary.tokens:,}", *[_NOTHING] * 5, end_section=True)
        return
    table.add_row(
        side,
        f"{summary.tokens:,}",
        _percent(summary.drawn / max(summary.tokens, 1)),
        _percent(summary.realised_ratio),
        _percent(summary.coverage_ratio),
        _percent(summary.protected / summary.drawn if summary.drawn else None),
        _percent(summary.unknown / summary.drawn if summary.drawn else None),
        style="bold",
    )
    for language, one in summary.languages.items():
        estimate = "~" if len(summary.languages) > 1 and one.coverage_ratio is not None else ""
        coverage = estimate + _percent(one.coverage_ratio)
        table.add_row(f"  {label(language)}", "", "", _percent(one.switched_ratio), coverage)
    table.add_section()


def label(language: str) -> str:
    """How a language is called in tables and plots: "German (de)"."""
    return f"{language_name(language)} ({language})"


def _counted(number: int, noun: str) -> str:
    return f"{number:,} {noun}" + "s" * (number != 1)


def _percent(ratio: float | None) -> str:
    return _NOTHING if ratio is None else f"{100 * ratio:.1f} %"


class _Piece(NamedTuple):
    """Text that stayed, the same on both sides, or a switch."""

    original: str
    switched: str
    language: str | None  # None: stayed


@dataclass(frozen=True)
class ShownPairs:
    """Pairs side by side. Switched words stand in their language's colour, or as [de:Wort] on a console without any."""

    headings: tuple[str, ...]
    pairs: tuple[dict[Side, tuple[_Piece, ...]], ...]
    languages: tuple[str, ...]  # those that a text can be switched into

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        plain = console.color_system is None or console.no_color
        styles = {} if plain else {x: _style(k) for k, x in enumerate(self.languages)}
        width = max((options.max_width - 7 - 4) // 2, 8)  # beside "passage", with two blanks between columns
        for heading, pair in zip(self.headings, self.pairs, strict=True):
            table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, title=heading, title_justify="left")
            table.add_column("", min_width=7)
            table.add_column("original", width=width, no_wrap=True)
            table.add_column("switched", width=width, no_wrap=True)
            for side, pieces in pair.items():
                columns = [_mark(pieces, styles, name) for name in ("original", "switched")]
                table.add_row(side, *(_wrap(text, console, width) for text in columns))
            yield table
            yield ""
        yield self._legend(styles)

    def _legend(self, styles: dict[str, str]) -> Text:
        seen = {piece.language for pair in self.pairs for pieces in pair.values() for piece in pieces}
        entries = [
            Text(f"■ {label(x)}", styles[x]) if styles else Text(f"[{x}:…] {language_name(x)}")
            for x in self.languages
            if x in seen
        ]
        return Text("  ").join(entries) if entries else Text("no word was switched")


def show_pairs(before: pa.RecordBatch, switched: Switched, limit: int) -> ShownPairs:
    """The first `limit` pairs, the original left and the switched text right; texts are cut at some 300 characters.

    `switched` is what became of `before`, with spans.
    """
    rows = range(min(limit, before.num_rows))
    names = [name for name in ("query_id", "passage_id", "label") if name in before.schema.names]
    headings = [
        ", ".join(f"{n.removesuffix('_id')} {_clean(str(before.column(n)[row]))}" for n in names) for row in rows
    ]
    pairs = [{side: tuple(_cut(_pieces(switched, side, row))) for side in SIDES} for row in rows]
    languages = dict.fromkeys(x for side in SIDES for x in switched.counts[side].switched)
    return ShownPairs(tuple(headings), tuple(pairs), tuple(languages))


def _pieces(switched: Switched, side: Side, row: int) -> Iterator[_Piece]:
    """The beginning of a text in pieces; what is certain to be cut is not even decoded."""
    data = memoryview(switched.texts[side][row].as_buffer() or b"")
    most, done = _LONGEST_CHARACTER * (_SHOWN_CHARACTERS + 1), 0

    def text(start: int, end: int) -> str:
        return _clean(bytes(data[start : min(end, start + most)]).decode(errors="ignore"))

    for span in switched.switches[side][row].values.slice(0, _SHOWN_CHARACTERS).to_pylist():
        gap = text(done, span["start"])
        yield _Piece(gap, gap, None)
        yield _Piece(_clean(span["source"]), text(span["start"], span["end"]), span["language"])
        done = span["end"]
    gap = text(done, len(data))
    yield _Piece(gap, gap, None)


def _clean(text: str) -> str:
    return text.translate(_SHOWABLE)


def _cut(pieces: Iterator[_Piece]) -> Iterator[_Piece]:
    """The pieces up to some 300 characters, at a blank if one is near; a switch is shown whole or not at all."""
    room = _SHOWN_CHARACTERS
    for piece in pieces:
        longer = max(len(piece.original), len(piece.switched))
        if longer > room:
            kept = piece.original[:room] if piece.language is None else ""
            blank = kept.rfind(" ")
            kept = (kept[:blank] if blank > room - 20 else kept) + " …"
            yield _Piece(kept, kept, None)
            return
        room -= longer
        yield piece


def _mark(pieces: tuple[_Piece, ...], styles: dict[str, str], column: str) -> Text:
    """A text with its switches in colour, or without styles as [house] on the left and [de:Haus] on the right."""
    marked = Text()
    for piece in pieces:
        text = piece.original if column == "original" else piece.switched
        if piece.language is None:
            marked.append(text)
        elif styles:
            marked.append(text, styles[piece.language])
        else:
            # A span may hold the blank that keeps it from its neighbour.
            word, name = text.strip(), "" if column == "original" else f"{piece.language}:"
            marked.append(text.replace(word, f"[{name}{word}]", 1) if word else text)
    return marked


def _wrap(text: Text, console: Console, width: int) -> Text:
    """Lines of at most `width` cells, right-to-left runs isolated, so that a terminal turns them around in place."""
    return Text("\n").join(_isolate(line) for line in text.wrap(console, width))


def _isolate(line: Text) -> Text:
    line.rstrip()
    cuts = [at for match in _RIGHT_TO_LEFT.finditer(line.plain) for at in match.span()]
    parts = line.divide(cuts)
    return Text.assemble(*(Text.assemble(_ISOLATE, p, _END_ISOLATE) if k % 2 else p for k, p in enumerate(parts)))


def _style(index: int) -> str:
    return f"bold {_COLOURS[index % len(_COLOURS)]}" + " underline" * (index // len(_COLOURS) % 2)
