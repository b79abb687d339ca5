"""The cells of an experiment on a benchmark: its settings, held against the languages that the benchmark has."""

from collections.abc import Iterator, Sequence

from csgen.errors import InputError
from eval.benchmark import Benchmark
from eval.experiment import ALL, BenchmarkSpec, SettingsSpec
from eval.pair_lists import PAIR_LISTS
from eval.settings import Cell, bilingual_cell, multilingual_cell, parse_pair


def list_cells(spec: BenchmarkSpec, settings: SettingsSpec, benchmark: Benchmark, seed: int) -> list[Cell]:
    """MoIR's cells, then CLIR's, then MLIR's, each once. A language that the benchmark lacks is an InputError."""
    queries = _chosen(benchmark.query_languages, spec.languages)
    passages = _chosen(benchmark.passage_languages, spec.languages)
    if unknown := {*spec.languages} - {*benchmark.query_languages, *benchmark.passage_languages}:
        known = ", ".join(dict.fromkeys([*benchmark.query_languages, *benchmark.passage_languages]))
        raise InputError(f"benchmarks: {spec.name}: {benchmark.folder} has nothing in {min(unknown)!r}; it has {known}")
    pairs = [*_list_moir(settings.moir, queries, passages), *_list_clir(settings.clir, queries, passages)]
    cells = [bilingual_cell(*pair) for pair in dict.fromkeys(pairs)]
    cells.sort(key=lambda cell: cell.setting == "CLIR")  # a named list may hold pairs of both settings
    return [*cells, *_list_mlir(settings, queries, passages, seed)]


def _chosen(languages: Sequence[str], wanted: Sequence[str]) -> tuple[str, ...]:
    return tuple(language for language in languages if not wanted or language in wanted)


def _list_moir(
    moir: tuple[str, ...] | str, queries: Sequence[str], passages: Sequence[str]
) -> Iterator[tuple[str, str]]:
    for name in [language for language in queries if language in passages] if moir == ALL else moir:
        if name in PAIR_LISTS:
            yield from (pair for pair in _known_pairs(name, queries, passages) if pair[0] == pair[1])
        else:
            yield parse_pair(f"{name}-{name}", queries, passages)


def _list_clir(
    clir: tuple[str, ...] | str, queries: Sequence[str], passages: Sequence[str]
) -> Iterator[tuple[str, str]]:
    if clir == ALL:
        yield from ((query, passage) for passage in passages for query in queries if query != passage)
        return
    for text in clir:
        if text in PAIR_LISTS:
            yield from (pair for pair in _known_pairs(text, queries, passages) if pair[0] != pair[1])
            continue
        query, passage = parse_pair(text, queries, passages)
        if query == passage:
            raise InputError(f"settings: clir: {text} is one language; put it under moir")
        yield query, passage


def _known_pairs(name: str, queries: Sequence[str], passages: Sequence[str]) -> Iterator[tuple[str, str]]:
    for query, passage in PAIR_LISTS[name]:
        yield parse_pair(f"{query}-{passage}", queries, passages)


def _list_mlir(settings: SettingsSpec, queries: Sequence[str], passages: Sequence[str], seed: int) -> Iterator[Cell]:
    for spec in settings.mlir:
        for sides in spec.sides:
            cell = multilingual_cell(sides, spec.languages, spec.label, settings.english, seed)
            for kind, wanted, known in (
                ("queries", cell.query_languages, queries),
                ("passages", cell.passage_languages, passages),
            ):
                if missing := [language for language in wanted if language not in known]:
                    raise InputError(
                        f"settings: mlir: {cell.name}: there are no {kind} in {', '.join(missing)}; "
                        f"there are {', '.join(known)}"
                    )
            yield cell
