"""Outputs to hold claims against: a world in which all ten hold, and changes of it."""

from collections.abc import Callable, Mapping

import numpy as np
import polars as pl

from eval.claims.evidence import Evidence
from eval.claims.spec import Roles
from eval.measuring.distance import DISTANCES, language_distance

SEEN, UNSEEN = ("en", "de", "fr", "it", "ja", "ru"), ("pl",)
NUM_QUERIES = 60
ROLES: dict[str, object] = {
    "zero_shot": "zero-shot",
    "ml_cs": "ML-CS",
    "bl_cs": {"de-en": "BL-CS"},
    "translated": "translated",
    "translate_test": "translate-test",
    "best": "mix",
    "alignment": ("scores", "mix"),
    "ratios": {0.5: "ML-CS", 1.0: "p 1"},
}
# MRR@10 in MoIR, CLIR, MLIR of seen languages, MLIR with an unseen one ("grown").
LEVELS: dict[str, dict[str, float]] = {
    "zero-shot": {"MoIR": 0.8, "CLIR": 0.4, "MLIR": 0.5, "grown": 0.5},
    "ML-CS": {"MoIR": 0.8, "CLIR": 0.6, "MLIR": 0.65, "grown": 0.6},
    "BL-CS": {"MoIR": 0.8, "CLIR": 0.6, "MLIR": 0.5, "grown": 0.5},
    "translated": {"MoIR": 0.84, "CLIR": 0.8, "MLIR": 0.8, "grown": 0.8},
    "translate-test": {"MoIR": 0.7, "CLIR": 0.42, "MLIR": 0.5, "grown": 0.5},
    "scores": {"MoIR": 0.8, "CLIR": 0.6, "MLIR": 0.65, "grown": 0.6},
    "mix": {"MoIR": 0.8, "CLIR": 0.7, "MLIR": 0.7, "grown": 0.7},
    "p 1": {"MoIR": 0.8, "CLIR": 0.58, "MLIR": 0.64, "grown": 0.6},
}
DROP = 0.02  # of zero-shot for each step of distance; ML-CS has the same in all pairs


def list_cells(languages: tuple[str, ...] = (*SEEN, *UNSEEN)) -> pl.DataFrame:
    """MoIR and CLIR of all languages, and MLIR of the seen ones and of all."""
    rows = [("MoIR" if q == p else "CLIR", f"{q}-{p}", q, p, [q, p]) for q in languages for p in languages]
    rows += [("MLIR", "xx-en.6", "xx", "en", [*SEEN]), ("MLIR", "xx-en.7", "xx", "en", [*SEEN, *UNSEEN])]
    names = ["setting", "cell", "query_language", "passage_language", "languages"]
    return pl.DataFrame(rows, names, orient="row").select("cell", *(n for n in names if n != "cell"))


def toy_level(levels: Mapping[str, float], system: str, setting: str, cell: str) -> float:
    level = levels["grown" if cell == "xx-en.7" else setting]
    if setting != "CLIR" or system == "ML-CS":
        return level
    return level - DROP * DISTANCES.index(language_distance(*cell.split("-")))


def make_evidence(
    changes: Mapping[str, Mapping[str, float]] | None = None,
    without: tuple[str, ...] = (),
    level: Callable[[Mapping[str, float], str, str, str], float] = toy_level,
    seeds: Mapping[str, tuple[int, ...]] | None = None,
) -> Evidence:
    """The world with some levels changed and some roles left out; each query's noise is the same in all worlds."""
    roles = Roles.model_validate({name: value for name, value in ROLES.items() if name not in without})
    cells = list_cells()
    values: dict[str, np.ndarray] = {}
    known = {system: (seeds or {}).get(system, (1,)) for system in LEVELS}
    for system, own in LEVELS.items():
        wanted = {**own, **(changes or {}).get(system, {})}
        means = np.array([level(wanted, system, *place) for place in cells.select("setting", "cell").iter_rows()])
        noise = np.random.default_rng(len(values)).normal(0, 0.05, (len(known[system]), len(cells), NUM_QUERIES))
        values[system] = means[:, None] + noise - noise.mean(axis=2, keepdims=True)
    return Evidence("toy", "in-domain", roles, cells, values, known, SEEN)
