"""Examples and their switched twins: which examples are switched, and the texts before and after.

Knows the switcher and rows of pairs; no tokens and no models. Draws depend on seed, epoch and ids alone.
"""

from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from cluster.training.schedules import Curriculum, stage_of
from csgen.errors import InputError
from csgen.lexicon.table import Table
from csgen.sources.draws import Words, counter, mix
from csgen.switching.policy import SIDES, Policy, Side
from csgen.switching.switcher import Switcher

_SHARE = 0x7477696E  # what the draw is for: "twin" in ASCII


@dataclass(frozen=True)
class Twins:
    """Switched texts of some examples: num_twins queries and num_twins * width passages, with spans if asked for."""

    texts: dict[Side, pa.Array]
    switches: dict[Side, pa.Array] = field(default_factory=dict)


@dataclass(frozen=True)
class TwinMaker:
    """Switches examples on the fly, anew in each epoch; a query is switched once for all its passages.

    A pair that stands alone, and the positive of a group, come out as `csgen switch` writes them with the same policy.
    A policy with a target ratio has to be solved for its probability first (`csgen.planning.solve_for_target`).
    """

    policy: Policy
    table: Table
    curriculum: Curriculum

    def __post_init__(self) -> None:
        Switcher(self.policy, self.table)  # refuses a lexicon that does not serve the policy, before anything is begun
        known = {language for side in SIDES for language in self.policy.languages_of(side)}
        if unknown := sorted(set(self.curriculum.final_language_weights) - known):
            raise InputError(f"--final-language-weights: {', '.join(unknown)} is not among the target languages")
        object.__setattr__(self, "_switcher_of", lru_cache(maxsize=2)(self._make_switcher))

    def choose(self, keys: Words, epoch: int, progress: float) -> NDArray[np.bool_]:
        """Which examples are switched, by the hashes of their ids."""
        word = mix(np.array([counter(self.policy.seed + 1)]) ^ mix(np.array([counter(epoch + 1)])))
        draws = mix(keys ^ mix(word + counter(_SHARE))) >> np.uint64(11)
        chosen: NDArray[np.bool_] = draws / float(1 << 53) < self.curriculum.share.at(progress)
        return chosen

    def switch(self, texts: pa.RecordBatch, width: int, epoch: int, progress: float, *, spans: bool) -> Twins:
        """The twins of whole examples: `width` rows each, the first of which names the draw of the query."""
        switcher: Switcher = self._switcher_of(stage_of(progress))  # type: ignore[attr-defined]
        if width == 1:
            both = switcher.switch(texts, epoch=epoch, spans=spans)
            return Twins(both.texts, both.switches)
        firsts = texts.take(pa.array(np.arange(0, texts.num_rows, width)))
        queries = switcher.switch(_without(firsts, "passage"), epoch=epoch, spans=spans)
        passages = switcher.switch(_without(texts, "query"), epoch=epoch, spans=spans)
        switches: dict[Side, pa.Array] = {}
        if spans:
            switches = {"query": queries.switches["query"], "passage": passages.switches["passage"]}
        return Twins({"query": queries.texts["query"], "passage": passages.texts["passage"]}, switches)

    def _make_switcher(self, stage: float) -> Switcher:
        return Switcher(self.curriculum.policy_at(self.policy, stage), self.table)


def _without(texts: pa.RecordBatch, side: Side) -> pa.RecordBatch:
    """The same rows with that side empty, so that only the other one is switched."""
    empty = pa.array([""] * texts.num_rows, pa.string())
    return texts.set_column(texts.schema.get_field_index(side), side, empty)
