"""How the figures of claims are written: points and levels × 100, shares in per cent, correlations as they are."""

from eval.claims.evidence import Figure
from eval.claims.judging import Unit
from eval.reporting.notation import NOTHING, show_difference, show_value


def show_number(value: float | None, unit: Unit) -> str:
    """ "+5.1", "71.2", "46 %" or "0.62"."""
    if value is None:
        return NOTHING
    if unit == Unit.SHARE:
        return f"{100 * value:.0f} %".replace("-", "−")
    if unit == Unit.RHO:
        return f"{value:.2f}".replace("-", "−")
    return show_value(value) if unit == Unit.LEVEL else show_difference(value)


def show_range(figure: Figure, unit: Unit) -> str:
    """ "[+4.1, +6.2]"; nothing known: a dash."""
    if figure.low is None or figure.high is None:
        return NOTHING
    return f"[{show_number(figure.low, unit)}, {show_number(figure.high, unit)}]"


def show_figure(figure: Figure, unit: Unit) -> str:
    """ "+5.1 [+4.1, +6.2]"."""
    ends = show_range(figure, unit)
    return show_number(figure.value, unit) + (f" {ends}" if ends != NOTHING else "")
