"""Times contenders in turns, several rounds of all of them, so that a busy machine slows all alike."""

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from statistics import median

Rates = dict[str, list[float]]


@dataclass(frozen=True)
class Contender:
    """Something that handles `pairs` pairs a call; slow ones get fewer of the same pairs."""

    name: str
    pairs: int
    run: Callable[[], object]


def take_turns(contenders: Iterable[Contender], rounds: int) -> Rates:
    """Pairs a second of each, by round; one call of each before that is not counted."""
    contenders = list(contenders)
    rates: Rates = {c.name: [] for c in contenders}
    for turn in range(rounds + 1):
        for contender in contenders:
            start = time.perf_counter()
            contender.run()
            seconds = time.perf_counter() - start
            if turn:
                rates[contender.name].append(contender.pairs / seconds)
    return rates


def ratio(rates: Rates, one: str, other: str) -> float:
    """How many times as fast one is as the other: the median of the rounds' ratios."""
    return median(a / b for a, b in zip(rates[one], rates[other], strict=True))


def print_table(head: Iterable[str], rows: Iterable[Iterable[object]]) -> None:
    """A Markdown table; all columns but the first are numbers."""
    names = list(head)
    print("|", " | ".join(names), "|")
    print("|---|" + "--:|" * (len(names) - 1))
    for row in rows:
        print("|", " | ".join(str(cell) for cell in row), "|")
    print()
