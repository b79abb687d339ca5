"""What a search is asked: texts or vectors, and options; with what can be told of them without an index."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from csgen.config import StageConfig
from csgen.errors import InputError
from indexing.lexical import Bm25
from indexing.passages import Filter
from indexing.vectors.search import Effort

Way = Literal["dense", "lexical", "translated"]
Mode = Literal["dense", "lexical", "translated", "hybrid"]

EACH = "each"  # stands for every language that is not named


class SearchOptions(StageConfig):
    """How to search. Which passages may be found is for a Filter to say."""

    top_k: int = Field(10, ge=1, description="hits of each query, 1 or more")
    mode: Mode = Field(
        "dense",
        description="dense: by vectors; lexical: by BM25, the query as it is; translated: by BM25, its words "
        "translated by --lexicon; hybrid: several of these, by reciprocal rank fusion",
    )
    ways: tuple[Way, ...] = Field(("dense", "lexical"), min_length=1, description="what hybrid fuses")
    weights: dict[str, float] = Field({}, description="weights of hybrid's ways, e.g. dense=2,lexical=1; default: 1")
    fusion_k: int = Field(60, ge=0, description="a hit of rank r in a list counts 1 / (this + r) in fusion, 0 or more")
    candidates: int = Field(100, ge=1, description="hits of each list that are fused, 1 or more; at least top_k")
    expansion_weight: float = Field(1.0, gt=0, description="weight of the lists of queries' expansions, over 0")
    query_language: str = Field("", description="language of the queries (ISO 639-1), for translated")
    lexicon: str = Field("", description="folder that csgen lexicon build wrote, for translated; may be a URI")
    k1: float = Field(0.9, ge=0, le=10, description="BM25: saturation of a term's frequency, 0 to 10")
    b: float = Field(0.4, ge=0, le=1, description="BM25: normalisation by length, in [0, 1]")
    least_hits: dict[str, int] = Field(
        {}, description="hits that languages get at least, if they have so many, e.g. de=2,it=3; each=1: of all others"
    )
    least_shares: dict[str, float] = Field(
        {}, description="the same as shares of top_k in [0, 1], rounded down, e.g. each=0.1"
    )
    offsets: str = Field("", description="file of languages' score offsets, which dense scores are put through")
    probes: int | None = Field(
        None, ge=1, description="lists that a query looks into, 1 or more; default: as chosen for the index"
    )
    ef_search: int | None = Field(
        None, ge=1, description="candidates in an hnsw graph, 1 or more; default: as chosen for the index"
    )
    refine_factor: float | None = Field(
        None,
        ge=0,
        description="candidates of codes scored exactly, in multiples of top_k; 0: scores are those of codes; default: "
        "as chosen for the index",
    )

    @model_validator(mode="after")
    def _agree(self) -> "SearchOptions":
        if len(set(self.ways)) < len(self.ways):
            raise ValueError(f"--ways {','.join(self.ways)}: names a way twice")
        if unknown := sorted({*self.weights} - {*self.ways}):
            raise ValueError(f"--weights: {unknown[0]!r} is not among the ways {', '.join(self.ways)}")
        if min(self.weights.values(), default=1.0) <= 0:
            raise ValueError("--weights: must be over 0; leave out of --ways what is not to count")
        if "translated" in self.all_ways and not (self.lexicon and self.query_language):
            raise ValueError("translated search needs --lexicon and --query-language")
        if self.offsets and "dense" not in self.all_ways:
            raise ValueError("--offsets: there are dense scores in the mode dense, or hybrid with the way dense, alone")
        self._check_least()
        return self

    def _check_least(self) -> None:
        if self.least_hits and self.least_shares:
            raise ValueError("--least-hits and --least-shares: give one of them")
        if min(self.least_hits.values(), default=0) < 0:
            raise ValueError("--least-hits: must be 0 or more")
        if not all(0 <= share <= 1 for share in self.least_shares.values()):
            raise ValueError("--least-shares: must be in [0, 1]")

    @property
    def all_ways(self) -> tuple[Way, ...]:
        """The ways to search."""
        return self.ways if self.mode == "hybrid" else (self.mode,)

    @property
    def bm25(self) -> Bm25:
        return Bm25(self.k1, self.b)

    @property
    def effort(self) -> Effort:
        """How far to look among vectors."""
        return Effort(self.probes, self.ef_search, self.refine_factor)

    def count_least(self, languages: Sequence[str]) -> NDArray[np.int64]:
        """How many hits each of the languages searched gets at least.

        A language that is not among them, or more hits than top_k in all, is an InputError.
        """
        name = "--least-shares" if self.least_shares else "--least-hits"
        # The sum, not the share, is rounded: 0.29 of 100 is 28.999999999999996 in float64.
        shares = {one: int(share * self.top_k + 1e-9) for one, share in self.least_shares.items()}
        wanted = shares or self.least_hits
        if unknown := sorted({*wanted} - {*languages, EACH}):
            raise InputError(f"{name}: {unknown[0]!r} is not among the languages searched: {', '.join(languages)}")
        least = np.array([wanted.get(language, wanted.get(EACH, 0)) for language in languages], np.int64)
        if least.sum() > self.top_k:
            told = ", ".join(f"{one} {number}" for one, number in zip(languages, least.tolist(), strict=True) if number)
            raise InputError(f"{name}: {least.sum()} hits in all ({told}) are more than top_k, {self.top_k}")
        return least


@dataclass(frozen=True)
class SearchRequest:
    """A batch of queries.

    texts: for lexical search, and for dense search where no vectors are given. vectors: (queries, dimensions) floats.
    expansions: a second form of each query, such as a pseudo-document, searched too and fused with the first; "" where
    a query has none. expansion_vectors: (queries, dimensions), for dense search in place of the expansions' texts.
    """

    texts: Sequence[str] | None = None
    vectors: NDArray[np.floating] | None = None
    expansions: Sequence[str] | None = None
    expansion_vectors: NDArray[np.floating] | None = None
    options: SearchOptions = field(default_factory=lambda: SearchOptions.from_options({}))
    filter: Filter = field(default_factory=lambda: Filter.from_options({}))

    def __post_init__(self) -> None:
        if self.texts is None and self.vectors is None:
            raise InputError("a search needs queries: texts, vectors or both")
        for name in ("texts", "vectors", "expansions", "expansion_vectors"):
            given = getattr(self, name)
            if given is not None and len(given) != len(self):
                raise InputError(f"{len(self)} queries, but {len(given)} {name.replace('_', ' ')}: give one each")
        for number, text in enumerate(self.texts or ()):
            if not text.strip():
                raise InputError(f"query {number} (from 0) is empty")
        dense = "dense" in self.options.all_ways
        if self.texts is None and (not dense or len(self.options.all_ways) > 1):
            raise InputError("lexical search needs the queries' texts: give them, or search by --mode dense alone")
        if self.expansions is None and self.expansion_vectors is not None and len(self.options.all_ways) > dense:
            raise InputError("lexical search needs the expansions' texts beside their vectors")

    def __len__(self) -> int:
        """The number of queries."""
        given = self.vectors if self.texts is None else self.texts
        return 0 if given is None else len(given)
