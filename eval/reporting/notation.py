"""How numbers are written for people: values and differences × 100 with one decimal, intervals, ranks, p-values."""

from typing import Any

NOTHING = "–"  # what is not known
# With blanks that do not break within "* p < .05".
MARKS_EXPLAINED = (
    "*\u00a0p\u00a0<\u00a0.05, **\u00a0p\u00a0<\u00a0.01, ***\u00a0p\u00a0<\u00a0.001 "
    "(paired t-test, Holm over all comparisons)"
)
SIGNIFICANT = 0.05
_LEVELS = {0.001: "***", 0.01: "**", SIGNIFICANT: "*"}

Row = dict[str, Any]  # of a frame of Results


def show_value(value: float | None) -> str:
    if value is None:
        return NOTHING
    text = f"{100 * value:.1f}"
    return "0.0" if text == "-0.0" else text  # the end of an interval may round to it


def show_difference(value: float | None) -> str:
    """With its sign; what rounds to nothing has none."""
    if value is None:
        return NOTHING
    text = f"{100 * value:+.1f}"
    return "0.0" if text in ("+0.0", "-0.0") else text.replace("-", "−")


def show_interval(row: Row) -> str:
    """ "42.2 [40.1, 44.3]"; without an interval the value alone."""
    if row["value"] is None or row["low"] is None or row["high"] is None:
        return show_value(row["value"])
    return f"{show_value(row['value'])} [{show_value(row['low'])}, {show_value(row['high'])}]"


def show_quartiles(row: Row) -> str:
    """ "12 [4, 40.5]": median and quartiles of ranks, to one place."""
    if None in (row["q25"], row["median"], row["q75"]):
        return NOTHING
    median, q25, q75 = (f"{round(row[name], 1):,g}" for name in ("median", "q25", "q75"))
    return f"{median} [{q25}, {q75}]"


def show_p(value: float | None) -> str:
    if value is None:
        return NOTHING
    return "<.001" if value < 0.001 else f"{value:.3f}".removeprefix("0")


def show_range(least: int | None, most: int | None) -> str:
    """ "99", or "90–99" where they differ."""
    if least is None or most is None:
        return NOTHING
    return f"{least:,}" if least == most else f"{least:,}–{most:,}"


def mark_level(p: float | None) -> str:
    """Stars for a corrected p-value; none where it is not known or not below .05."""
    return next((mark for level, mark in _LEVELS.items() if p is not None and p < level), "")
