"""Results to look at and to test with: a small one by hand, and a rich one of made-up figures."""

from typing import Any

import polars as pl
import xxhash

from csgen.languages import language_scripts
from eval.results import SCHEMAS, Results, empty_frame

LANGUAGES = ("ar", "de", "el", "en", "es", "hi", "ro", "ru", "th", "tr", "vi", "zh")
EU_LANGUAGES = (
    "bg", "cs", "da", "de", "el", "en", "es", "et", "fi", "fr", "ga", "hr",
    "hu", "it", "lt", "lv", "mt", "nl", "pl", "pt", "ro", "sk", "sl", "sv",
)  # fmt: skip
POOLED = (*LANGUAGES, "fr", "it")
SYSTEMS = ("bm25", "psq", "zero-shot", "ml-cs")
MEASURES = ("RR@10", "nDCG@10", "R@100")
DISTANCES = ("same language", "same genus", "same family", "same family, other script", "other family, other script")
_WITHIN = {"bm25": 0.72, "psq": 0.70, "zero-shot": 0.81, "ml-cs": 0.815}
_ACROSS = {"bm25": 0.08, "psq": 0.33, "zero-shot": 0.38, "ml-cs": 0.52}
_LIFT = {"RR@10": 0.0, "nDCG@10": 0.02, "R@100": 0.15}
_KINDS = {
    "overlap": ("0", "0-.25", ".25-.5", ".5-.75", ".75-1"),
    "length": ("1-2", "3-5", "6-10", "over 10"),
    "distance": DISTANCES,
}


def frame(name: str, rows: list[tuple[Any, ...]]) -> pl.DataFrame:
    """Rows of one of the frames of Results, in the order of its columns."""
    return pl.DataFrame(rows, SCHEMAS[name], orient="row")


def small_results(**fields: Any) -> Results:
    """Two languages, two systems and one measure: every number can be checked by eye. Any field can be replaced."""
    cells = [("MoIR", "en-en"), ("CLIR", "de-en")]
    values = {"bm25": (0.5, 0.125), "psq": (0.4996, 0.25)}
    known = {
        "name": "toy",
        "measures": ("RR@10",),
        "systems": ("bm25", "psq"),
        "baseline": "bm25",
        "cells": frame("cells", [("debian", s, c, c[:2], c[3:], 40, 900, 2) for s, c in cells]),
        "values": frame("values", [
            ("debian", setting, cell, system, "RR@10", values[system][k], values[system][k] - 0.05, 0.6, 40, 1)
            for k, (setting, cell) in enumerate(cells)
            for system in values
        ]),
        "summary": frame("summary", [
            ("debian", setting, system, "RR@10", values[system][k], 0.1, 0.6, 1, 40)
            for k, (setting, _) in enumerate(cells)
            for system in values
        ]),
        "comparisons": frame("comparisons", [
            ("debian", "MoIR", "all", "psq", "bm25", "RR@10", -0.0004, -0.01, 0.01, 0.8, 0.79, 1.0, 0.8, 40),
            ("debian", "CLIR", "all", "psq", "bm25", "RR@10", 0.125, 0.1, 0.15, 0.0001, 0.0002, 0.0004, 0.0004, 40),
            ("debian", "MoIR", "en-en", "psq", "bm25", "RR@10", -0.0004, -0.01, 0.01, 0.8, 0.79, 1.0, 0.8, 40),
            ("debian", "CLIR", "de-en", "psq", "bm25", "RR@10", 0.125, 0.1, 0.15, 0.004, 0.005, 0.016, 0.012, 40),
        ]),
        "bins": empty_frame("bins"),
        "fairness": empty_frame("fairness"),
        "language_ranks": empty_frame("language_ranks"),
    }  # fmt: skip
    return Results(**(known | fields))


def rich_results() -> Results:
    """12 x 12 languages, 24 x 1 languages, mixed and pooled cells, four systems: figures that look like real ones."""
    cells = [*_parallel_cells("xquad-r"), *_legal_cells("legal-gdpr")]
    values = [row for cell in cells for row in _values(cell)]
    comparisons = [row for cell in cells for row in _comparisons(cell[0], cell[1], cell[2], cell[3:5])]
    places = dict.fromkeys((benchmark, setting) for benchmark, setting, *_ in cells)
    return Results(
        name="figures to look at",
        measures=MEASURES,
        systems=SYSTEMS,
        baseline="zero-shot",
        cells=frame("cells", cells),
        values=frame("values", values),
        summary=_summary(frame("values", values)),
        comparisons=frame("comparisons", [*_overall(frame("comparisons", comparisons)), *comparisons]),
        bins=frame("bins", [row for place in places for row in _bins(*place)]),
        fairness=frame("fairness", [row for cell in cells if ".14" in cell[2] for row in _fairness(cell[2])]),
        language_ranks=frame("language_ranks", [row for cell in cells if ".14" in cell[2] for row in _ranks(cell[2])]),
        warnings=(
            "legal-gdpr: 99 queries a cell; a difference below 6 points is hardly seen at this size",
            "xquad-r, xx-xx.14: 12 queries have no relevant passage in the languages drawn and are left out",
        ),
    )


def _noise(*key: Any) -> float:
    """In [-1, 1), the same on every machine."""
    return xxhash.xxh3_64_intdigest("/".join(map(str, key)).encode()) / 2.0**63 - 1


def _parallel_cells(name: str) -> list[tuple[Any, ...]]:
    grid = [(name, "MoIR" if q == p else "CLIR", f"{q}-{p}", q, p, 1190, 240, 0) for q in LANGUAGES for p in LANGUAGES]
    mixed = [("xx-en.6", "xx", "en"), ("en-xx.6", "en", "xx"), ("xx-xx.6", "xx", "xx"), ("xx-xx.14", "xx", "xx")]
    pooled = [("en-all.14", "en", "all"), ("ar-all.14", "ar", "all")]
    return grid + [(name, "MLIR", cell, q, p, 1178, 3360, 12) for cell, q, p in mixed + pooled]


def _legal_cells(name: str) -> list[tuple[Any, ...]]:
    return [(name, "MoIR" if q == "en" else "CLIR", f"{q}-en", q, "en", 99, 272, 0) for q in EU_LANGUAGES]


def _level(system: str, setting: str, cell: str, languages: Any) -> float:
    query, passage = languages
    if setting == "MoIR":
        return _WITHIN[system] + 0.08 * _noise(system, query)
    far = {"xx", "all"} & {query, passage} or language_scripts(query) != language_scripts(passage)
    return _ACROSS[system] * (0.75 if far else 1.25) + 0.07 * _noise(system, cell)


def _values(cell: tuple[Any, ...]) -> list[tuple[Any, ...]]:
    benchmark, setting, name, *languages, queries, _, _ = cell
    margin = 0.9 / float(queries) ** 0.5
    rows: list[tuple[Any, ...]] = []
    for system in SYSTEMS:
        level = _level(system, str(setting), str(name), languages)
        for measure, lift in _LIFT.items():
            value = min(max(level + lift, 0.004), 0.99)
            interval = (value, max(value - margin, 0), min(value + margin, 1))
            rows.append((benchmark, setting, name, system, measure, *interval, queries, 3 if "-" in system else 1))
    return rows


def _comparisons(benchmark: Any, setting: Any, cell: Any, languages: Any) -> list[tuple[Any, ...]]:
    rows: list[tuple[Any, ...]] = []
    for system in SYSTEMS:
        if system == "zero-shot":
            continue
        place = (str(setting), str(cell), languages)
        gain = _level(system, *place) - _level("zero-shot", *place)
        p = min(1.0, 10 ** (-abs(gain) * 60))
        test = (gain, gain - 0.03, gain + 0.03, p, min(1, p * 1.1), min(1, p * 441), min(1, p * 400))
        rows += [(benchmark, setting, cell, system, "zero-shot", measure, *test, 99) for measure in MEASURES]
    return rows


def _overall(comparisons: pl.DataFrame) -> list[tuple[Any, ...]]:
    keys = ["benchmark", "setting", "system", "baseline", "measure"]
    columns = SCHEMAS["comparisons"].names()
    means = comparisons.group_by(keys, maintain_order=True).agg(pl.col(columns[6:]).mean())
    return means.with_columns(cell=pl.lit("all"), num_queries=1190, p_holm=pl.col("p_t") * 3).select(columns).rows()


def _summary(values: pl.DataFrame) -> pl.DataFrame:
    keys = ["benchmark", "setting", "system", "measure"]
    means = values.group_by(keys, maintain_order=True).agg(
        pl.col("value", "low", "high").mean(), num_cells=pl.len(), num_queries=pl.col("num_queries").first()
    )
    return means.select(SCHEMAS["summary"].names()).cast(dict(SCHEMAS["summary"]))


def _bins(benchmark: str, setting: str) -> list[tuple[Any, ...]]:
    rows: list[tuple[Any, ...]] = []
    scripts = ("Latn", "Cyrl", "Grek", "Arab", "Deva", "Thai", "Hani") if benchmark == "xquad-r" else ("Latn", "Cyrl")
    pairs = tuple(f"{a}-{b}" for a in scripts for b in scripts if (a == b) == (setting == "MoIR"))
    kinds = _KINDS | {"script": pairs[:20] or ("Latn-Latn",)}
    for kind, several in kinds.items():
        labels = several[:1] if setting == "MoIR" and kind == "distance" else several
        for order, bin_label in enumerate(labels):
            slope = {"overlap": 0.09, "length": 0.03, "distance": -0.07, "script": -0.004}[kind] * order
            queries = 40 + int(600 * (1 + _noise(kind, setting, bin_label)))
            for system in SYSTEMS:
                value = (_WITHIN if setting == "MoIR" else _ACROSS)[system] + slope + 0.02 * _noise(system, bin_label)
                value, margin = min(max(value, 0.01), 0.99), 0.9 / queries**0.5
                interval = (value, max(value - margin, 0), min(value + margin, 1))
                rows.append((benchmark, setting, kind, bin_label, order, system, "RR@10", *interval, queries))
    return rows


def _fairness(cell: Any) -> list[tuple[Any, ...]]:
    return [
        ("xquad-r", cell, system, measure, 0.35 + 0.3 * _noise(system, cell) + 0.1 * k, 1178)
        for k, measure in enumerate(("PEER@20", "PEER@100"))
        for system in SYSTEMS
    ]


def _ranks(cell: Any) -> list[tuple[Any, ...]]:
    if "all" not in str(cell):
        return []
    rows: list[tuple[Any, ...]] = []
    for system in SYSTEMS:
        for language in POOLED:
            near = str(cell).startswith(language)
            median = 1.0 if near else 10 ** (1.6 - _ACROSS[system] + 0.8 * _noise(system, language))
            share = 0.4 if near else 0.6 / 13 * (1 + 0.8 * _noise(language, system))
            rows.append(
                ("xquad-r", cell, system, language, max(1, median // 3), round(median), median * 4 // 1, share, 1 / 14)
            )
    return rows
