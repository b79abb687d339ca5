"""Which words are switched, into which language, and how: the policy and the paper's presets; knows no kernel."""

from typing import Any, Literal

from pydantic import Field, model_validator

from csgen.config import StageConfig

Side = Literal["query", "passage"]
SIDES: tuple[Side, Side] = ("query", "passage")

# The paper's settings (../shared/paper.md: Treebank tokens, one translation a word, lower case, no second draw).
_PAPER: dict[str, Any] = {
    "tokens": "treebank", "translation": "best", "case": "lower", "redraw": False, "protect": (), "max_words": 1,
    "inflected": False,
}  # fmt: skip
_PAPER_LANGUAGES = ("de", "it", "nl", "ru", "ar")
PRESETS: dict[str, dict[str, Any]] = {
    "bl-cs": _PAPER | {"policy": "bilingual"},
    "ml-cs": _PAPER | {"policy": "multilingual", "languages": _PAPER_LANGUAGES},
    "wiki-cs": _PAPER
    | {"policy": "phrase", "languages": ("en", *_PAPER_LANGUAGES), "probability": 1.0, "max_words": 3},
}

# What a policy implies where the user says nothing.
_IMPLIED: dict[str, dict[str, Any]] = {
    "phrase": {"probability": 1.0, "max_words": 5},
    "synonym": {"probability": 1.0, "translation": "uniform"},
}

_PROBABILITIES = {"probability", "query_probability", "passage_probability"}


class Policy(StageConfig):
    """How pairs are switched."""

    preset: Literal["bl-cs", "ml-cs", "wiki-cs"] | None = Field(
        None, description="the settings of a method of the paper; options given beside it win"
    )
    policy: Literal["bilingual", "multilingual", "phrase", "synonym"] = Field(
        "multilingual",
        description="bilingual: one language a side; multilingual: every token draws its language; phrase: longest "
        "match, one language drawn for each text; synonym: words become themselves or one of their synonyms",
    )
    languages: tuple[str, ...] = Field(
        (), description="target languages, e.g. de,it (ISO 639-1); the source language among them leaves text as it is"
    )
    query_languages: tuple[str, ...] = Field((), description="target languages of queries, in place of --languages")
    passage_languages: tuple[str, ...] = Field((), description="target languages of passages, in place of --languages")
    language_weights: dict[str, float] = Field(
        {}, description="how often a language is drawn, e.g. de=2,it=1 (above 0; the others weigh 1)"
    )
    source_language: str = Field("en", description="language of the pairs (ISO 639-1)")
    sides: Literal["both", "query", "passage"] = Field("both", description="which side of a pair is switched")
    probability: float = Field(0.5, ge=0, le=1, description="chance of each token to be switched, in [0, 1]")
    query_probability: float | None = Field(None, ge=0, le=1, description="the same for queries alone, in [0, 1]")
    passage_probability: float | None = Field(None, ge=0, le=1, description="the same for passages alone, in [0, 1]")
    target_ratio: float | None = Field(
        None,
        gt=0,
        lt=1,
        description="share of tokens that shall really be switched, in (0, 1): solves for the probability",
    )
    redraw: bool = Field(True, description="a word that the drawn language lacks draws again among those that have it")
    translation: Literal["weighted", "best", "uniform"] = Field(
        "weighted", description="draw a word's translations by weight, take the heaviest, or draw all alike"
    )
    case: Literal["carry", "lower"] = Field("carry", description="Word and WORD keep their case, or all is lower case")
    protect: tuple[Literal["numbers", "urls", "code", "names"], ...] = Field(
        ("numbers", "urls", "code"), description="what is never switched: numbers, urls, code, names; none: nothing"
    )
    protected_words: str | None = Field(
        None, description="file of words and phrases, one a line, that stay as they are"
    )
    max_words: int = Field(1, ge=1, le=5, description="longest phrase that is looked up, in words, 1 to 5")
    inflected: bool = Field(
        False, description="words that the lexicon lacks are tried by their lemma; for lexicons built with --lemmas"
    )
    tokens: Literal["words", "treebank"] = Field(
        "words", description="what a token is: a run of letters, marks and numbers, or a Penn Treebank token"
    )
    seed: int = Field(0, ge=0, lt=1 << 63, description="seed of all draws, 0 or more")

    @model_validator(mode="before")
    @classmethod
    def _fill_in(cls, given: dict[str, Any]) -> dict[str, Any]:
        preset = given.get("preset")
        settings = PRESETS.get(preset, {}) if isinstance(preset, str) else {}
        policy = given.get("policy") or settings.get("policy")
        implied = _IMPLIED.get(policy, {}) if isinstance(policy, str) else {}
        told = {name: value for name, value in given.items() if value is not None}
        if "target_ratio" in told and (both := _PROBABILITIES & set(told)):
            raise ValueError(f"--target-ratio solves for the probability: leave out --{min(both).replace('_', '-')}")
        return implied | settings | told

    @model_validator(mode="after")
    def _agree(self) -> "Policy":
        for side in SIDES:
            languages = self.languages_of(side)
            if not languages and self.switches(side):
                raise ValueError("--languages is required: the target languages, e.g. --languages de,it")
            if self.policy == "bilingual" and len(languages) > 1:
                raise ValueError(
                    f"the bilingual policy takes one language a side, got {','.join(languages)} for the {side}: "
                    f"give --query-languages and --passage-languages one each"
                )
            if len(set(languages)) < len(languages):
                raise ValueError(f"--languages: {','.join(languages)} names a language twice")
        drawn = {*self.languages_of("query"), *self.languages_of("passage")}
        for language, weight in self.language_weights.items():
            if language not in drawn:
                raise ValueError(f"--language-weights: {language} is not among the target languages")
            if not 0 < weight < float("inf"):
                raise ValueError(f"--language-weights: the weight of {language} must be above 0, got {weight}")
        return self

    def languages_of(self, side: Side) -> tuple[str, ...]:
        """The languages that one side draws from; none for a side that stays."""
        if not self.switches(side):
            return ()
        if self.policy == "synonym":
            return (self.source_language,)
        return (self.query_languages if side == "query" else self.passage_languages) or self.languages

    def switches(self, side: Side) -> bool:
        """Whether that side is switched at all."""
        return self.sides in ("both", side)

    def probability_of(self, side: Side) -> float:
        """Chance of a token of that side to be switched; 0 for a side that stays."""
        if not self.switches(side):
            return 0.0
        own = self.query_probability if side == "query" else self.passage_probability
        return self.probability if own is None else own
