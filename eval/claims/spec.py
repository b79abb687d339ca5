"""The claims file: which outputs of csgen evaluate are read, and which of their systems plays which role."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field, model_validator

from csgen.config import StageConfig
from csgen.errors import InputError
from eval.experiment import locate, read_checked

Domain = Literal["in-domain", "out-of-domain", "legal"]
DOMAINS: tuple[Domain, ...] = ("in-domain", "out-of-domain", "legal")

System = Annotated[str, Field(min_length=1)]
Pair = Annotated[str, Field(pattern=r"^\w[\w-]*-\w[\w-]*$")]


class Roles(StageConfig):
    """Which system of an output is what; a role that is left out is not measured."""

    zero_shot: str = Field("", description="trained on English pairs alone")
    ml_cs: str = Field("", description="trained on pairs that are switched into several languages")
    bl_cs: dict[Pair, System] = Field(
        {}, description="by pair QUERY-PASSAGE, such as de-en: trained on pairs that are switched into just these"
    )
    phrase: str = Field("", description="trained on pairs in which whole phrases are switched (Wiki-CS)")
    translated: str = Field("", description="trained on translated pairs: the upper bound")
    translate_test: str = Field("", description="zero-shot on texts that are put into English word by word")
    ml_cs_translate_test: str = Field(
        "", description="the system ml_cs on texts that are put into English word by word"
    )
    best: str = Field("", description="the combination that is meant to be the best")
    alignment: tuple[System, ...] = Field((), description="ml_cs with multilingual alignment, one way each")
    robustness: tuple[System, ...] = Field((), description="ml_cs with robust training, one way each")
    ratios: dict[Annotated[float, Field(gt=0, le=1)], System] = Field(
        {}, description="by switching probability p in (0, 1]; ml_cs is one of them"
    )
    one_sided: dict[Literal["queries", "passages"], System] = Field(
        {}, description="by the side that alone is switched: queries, passages"
    )
    lexicons: dict[str, System] = Field({}, description="ml_cs with another lexicon, by the lexicon's source")
    controls: dict[System, System] = Field(
        {}, description="further comparisons: a system, and the system that it is held against"
    )
    bm25: str = Field("", description="BM25 in the passages' language")
    bm25_translated: str = Field("", description="BM25 over translated queries")

    def list_systems(self) -> Iterator[tuple[tuple[str | int, ...], str]]:
        """Every system with the keys under which it stands, in the order of the roles; some stand several times."""
        for role in Roles.model_fields:
            value = getattr(self, role)
            if isinstance(value, str):
                yield from [((role,), value)] * bool(value)
            elif isinstance(value, tuple):
                yield from (((role, k), system) for k, system in enumerate(value))
            else:
                yield from (((role, str(key)), system) for key, system in value.items())
                if role == "controls":
                    yield from (((role, system), str(system)) for system in value)

    @property
    def systems(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(system for _, system in self.list_systems()))


class EvidenceSpec(StageConfig):
    """One finished output of csgen evaluate, and what its systems are."""

    name: str = Field(min_length=1, pattern=r"^[^|{}\n]+$", description="what tables call it; without | { }")
    results: str = Field(min_length=1, description="folder that csgen evaluate wrote; may be a URI")
    benchmark: str = Field("", description="which of its benchmarks; none: the only one")
    domain: Domain = Field("in-domain", description="of its texts: that of the training, another one, or law")
    seen_languages: tuple[str, ...] | None = Field(
        None,
        description="languages that systems were trained on, English among them: claims are decided on these; an empty "
        "list: all; none: what the experiment says",
    )
    roles: Roles = Field(description="which system is what")


class ClaimsSpec(StageConfig):
    """What the report of the claims is made from."""

    name: str = Field("The paper's ten claims", min_length=1, description="what the report is called")
    experiments: tuple[EvidenceSpec, ...] = Field(min_length=1, description="finished outputs, in the tables' order")
    answer: str = Field(
        "",
        description="the answer to the research question, in paragraphs. {EXPERIMENT | SYSTEM | CLIR} stands for a "
        "value, {EXPERIMENT | SYSTEM - SYSTEM | CLIR} for a difference, {EXPERIMENT | share of SYSTEM} for a share of "
        "the CLIR gap",
    )
    seed: int = Field(1, ge=0, lt=1 << 63, description="seed of intervals and tests, 0 or more")

    @model_validator(mode="after")
    def _distinct(self) -> "ClaimsSpec":
        names = [one.name for one in self.experiments]
        if double := next((name for name in names if names.count(name) > 1), None):
            raise ValueError(f"experiments: {double!r} stands twice; give each its own name")
        return self


@dataclass(frozen=True)
class Place:
    """Where an experiment stands in a claims file."""

    path: str
    index: int

    def refuse(self, keys: tuple[str | int, ...], message: str) -> InputError:
        """An error of what stands under keys of the experiment."""
        return InputError.at(self.path, locate(self.path, ("experiments", self.index, *keys)), message)


def read_claims(path: str) -> ClaimsSpec:
    """The claims file in YAML. What is wrong is an InputError with file, line and remedy."""
    return read_checked(path, ClaimsSpec)
