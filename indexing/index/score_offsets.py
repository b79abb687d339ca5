"""Languages' score offsets: a map of dense scores for the passages of each language, and its file.

Knows neither indexes nor how maps are learnt; that is for `indexing.index.offsets`.
"""

import json
from typing import Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from csgen.errors import InputError
from csgen.files import open_input, replace_file

Kind = Literal["shift", "affine", "logistic"]


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class ScoreMap(_Record):
    """A score s becomes scale * s + shift."""

    scale: float = Field(default=1.0, gt=0)
    shift: float = 0.0


class Change(_Record):
    """A figure with scores as they are, and mapped."""

    before: float
    after: float


class Effect(_Record):
    """What maps do to searches of all languages at once, measured on queries from which they were not learnt.

    queries: a query in each of its languages. shares: languages' shares of the hits.
    """

    queries: int
    reciprocal_rank: Change  # mean over queries, of the first relevant hit among the best ten
    recall: Change  # mean share of the relevant passages among the best ten
    shares: dict[str, Change]


class ScoreOffsets(_Record):
    """Maps by the language of the passages; scores of a language without one stay what they are."""

    format: Literal[1] = 1
    kind: Kind
    encoder: str | None  # hash of the encoder whose scores they are for; None: vectors came from files
    learnt_from: str
    judgements: dict[str, int]  # pairs of a query and a relevant passage, by the passage's language
    effect: Effect
    languages: dict[str, ScoreMap]

    def apply(self, language: str, scores: NDArray[np.float32]) -> NDArray[np.float32]:
        """Scores of a language's passages, mapped; worked out in float64."""
        own = self.languages.get(language, ScoreMap())
        mapped: NDArray[np.float32] = (own.scale * scores.astype(np.float64) + own.shift).astype(np.float32)
        return mapped

    def require_encoder(self, encoder: str | None, place: str) -> None:
        """An InputError unless they were learnt with the index's encoder, told by its hash."""
        if encoder != self.encoder:
            raise InputError.at(
                place, None, f"offsets of the encoder with hash {self.encoder}, the index has that with {encoder}: "
                "learn them anew for this index"
            )  # fmt: skip

    def write(self, path: str) -> None:
        text = json.dumps(self.model_dump(mode="json"), indent=1, ensure_ascii=False, sort_keys=True)
        with replace_file(path) as stream:
            stream.write(text.encode() + b"\n")

    @classmethod
    def read(cls, path: str) -> Self:
        """Those of a file; an InputError where it is none."""
        with open_input(path) as stream:
            try:
                return cls.model_validate_json(stream.read())
            except ValidationError as error:
                detail = error.errors()[0]
                name = ".".join(map(str, detail["loc"]))
                raise InputError.at(
                    path, None, f"not a file of score offsets: {name}: {detail['msg']}; learn them anew"
                ) from error
