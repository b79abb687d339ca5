"""The experiment file: data, settings, candidates, systems, variants, measures and seeds, and where each key stands.

Checks what can be told from the file alone; whether languages and files are there is seen when they are read.
"""

import difflib
from collections.abc import Iterator
from typing import Annotated, Any, ClassVar, Literal, TypeVar, Union, get_args, get_origin

import yaml
from pydantic import BaseModel, Field, ValidationError, field_validator, model_validator

from csgen.config import StageConfig, read_yaml
from csgen.errors import InputError
from csgen.files import open_input
from eval.pair_lists import LANGUAGE_SETS
from eval.variants.robustness import Variant

Name = Annotated[
    str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._@ -]*$", description="letters, digits, . _ @ - and blanks")
]
ALL = "all"
Checked = TypeVar("Checked", bound=StageConfig)


class BenchmarkSpec(StageConfig):
    """A parallel collection to measure on."""

    name: Name = Field(description="what the benchmark is called in tables and file names")
    path: str = Field(
        min_length=1, description="folder of a parallel collection, as csgen fetch writes it; may be a URI"
    )
    split: str = Field("test", min_length=1, description="which judgements: qrels/SPLIT.tsv")
    unanswered: Literal["refuse", "leave-out"] = Field(
        "refuse", description="what is done about queries that the split judges no passage relevant to"
    )
    languages: tuple[str, ...] = Field((), description="languages that take part; none: all of the collection")
    queries: int | None = Field(
        None,
        ge=1,
        description="measure on so many queries, first those that stand, with a relevant passage, in the most of the "
        "languages that take part, drawn by a hash of the id; none: on all queries of each cell",
    )


class MlirSpec(StageConfig):
    """A setting in which queries or passages are in several languages."""

    languages: tuple[str, ...] = Field(
        min_length=2, description="the languages that ids draw from, or the name of a set: paper-6, paper-14"
    )
    name: Name = Field(
        "", validate_default=False, description="told behind the sides, as in xx-en.6; none: their number"
    )
    sides: tuple[Literal["xx-en", "en-xx", "xx-xx", "en-all", "xx-all"], ...] = Field(
        ("xx-en", "en-xx", "xx-xx"),
        description="xx: each id draws one language; all: every passage stands there in all languages",
    )

    @field_validator("languages", mode="before")
    @classmethod
    def _named_set(cls, languages: Any) -> Any:
        if not isinstance(languages, str):
            return languages
        if languages not in LANGUAGE_SETS:
            raise ValueError(
                f"mlir: no set of languages {languages!r}; expected a list, or {' or '.join(LANGUAGE_SETS)}"
            )
        return LANGUAGE_SETS[languages]

    @field_validator("languages")
    @classmethod
    def _distinct(cls, languages: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(languages)) < len(languages):
            raise ValueError(f"mlir: {', '.join(languages)} names a language twice")
        return languages

    @property
    def label(self) -> str:
        return self.name or str(len(self.languages))


class SettingsSpec(StageConfig):
    """The readings of the scores: languages of MoIR, pairs of CLIR, sets of MLIR."""

    moir: tuple[str, ...] | Literal["all"] = Field((), description="languages, the name of a list of pairs, or all")
    clir: tuple[str, ...] | Literal["all"] = Field((), description="pairs such as de-en, the name of a list, or all")
    mlir: tuple[MlirSpec, ...] = Field((), description="sets of languages")
    english: str = Field("en", description="the language of the side `en` of MLIR")

    @model_validator(mode="after")
    def _not_empty(self) -> "SettingsSpec":
        if not (self.moir or self.clir or self.mlir):
            raise ValueError("settings: none of moir, clir, mlir has anything")
        return self


class CandidatesSpec(StageConfig):
    """What rerankers reorder: the run of another system."""

    system: Name = Field(description="the system whose run gives the candidates")
    pivot: str = Field(
        "", description="language in which that system searches, for queries and passages; its hits are taken over by "
        "the ids that the languages share (the paper: en). None: it searches in the cell's own languages"
    )  # fmt: skip


class SystemSpec(StageConfig):
    """What all systems have."""

    reorders: ClassVar[bool] = False  # candidates, rather than find passages by itself
    reads_queries: ClassVar[bool] = True  # so that variants of the queries make other runs

    name: Name = Field(description="what the system is called in tables and file names")

    @property
    def all_seeds(self) -> tuple[int, ...]:
        return (0,)


class LexicalSpec(SystemSpec):
    """A system that ranks by BM25."""

    k1: float = Field(0.9, ge=0, le=10, description="saturation of a term's frequency, 0 to 10")
    b: float = Field(0.4, ge=0, le=1, description="normalisation by length, in [0, 1]")


class Bm25Spec(LexicalSpec):
    """BM25 with the analysis of the passage's language."""

    kind: Literal["bm25"]


class TranslatedBm25Spec(LexicalSpec):
    """BM25 over queries translated word by word, as probabilistic structured queries do."""

    kind: Literal["translated-bm25"]
    lexicon: str = Field(min_length=1, description="folder that csgen lexicon build wrote; may be a URI")


class IndexSpec(SystemSpec):
    """Search of an index that csgen index built."""

    kind: Literal["index"]
    index: str = Field(
        min_length=1,
        description="folder of an index of the benchmark's passages, perhaps among others; {benchmark} stands for its "
        "name",
    )
    options: dict[str, Any] = Field({}, description="options of csgen index search, such as mode: hybrid")
    lexicon: str = Field(
        "", description="folder that csgen lexicon build wrote, for translated search; may be a URI. None: none is done"
    )
    offsets: str = Field("", description="file of languages' score offsets. None: scores stay what they are")
    expansions: str = Field(
        "",
        description="JSON lines, or TSV with a header, of query_id, text and perhaps language: a second form of each "
        "query, fused with it; may be a URI; {benchmark} stands for the benchmark's name. None: there is none",
    )

    @field_validator("options")
    @classmethod
    def _not_given_elsewhere(cls, options: dict[str, Any]) -> dict[str, Any]:
        elsewhere = {
            "top_k": "depth",
            "lexicon": "the system's lexicon",
            "offsets": "the system's offsets",
            "query_language": "the cells",
        }
        if found := [name for name in options if name in elsewhere]:
            raise ValueError(f"options: {found[0]} is told by {elsewhere[found[0]]}; leave it out")
        return options

    def files(self, benchmark: str) -> dict[str, str]:
        """What its runs on a benchmark depend on: paths by name."""
        paths = {"index": self.index, "expansions": self.expansions, "lexicon": self.lexicon, "offsets": self.offsets}
        return {name: path.replace("{benchmark}", benchmark) for name, path in paths.items() if path}


class SeededSpec(SystemSpec):
    """A system of which there are several, one for each seed."""

    seeds: tuple[int, ...] = Field((1,), min_length=1, description="seeds of its runs; measures are means over them")

    @property
    def all_seeds(self) -> tuple[int, ...]:
        return self.seeds


class ReorderingSpec(SystemSpec):
    """A system that puts candidates in another order."""

    reorders = True

    candidates: CandidatesSpec | None = Field(
        None, description="the candidates of this system alone; none: the experiment's"
    )


class OracleSpec(ReorderingSpec):
    """The candidates in the order of their judgements: the best that a reranker can do."""

    reads_queries = False

    kind: Literal["oracle"]


class RandomSpec(ReorderingSpec, SeededSpec):
    """The candidates in an order drawn by seed, query and passage."""

    reads_queries = False

    kind: Literal["random"]


class RunSpec(SeededSpec):
    """Runs from files, of any system."""

    reads_queries = False

    kind: Literal["run"]
    path: str = Field(
        min_length=1,
        description="TREC run of each cell; {benchmark} {setting} {cell} {query_language} {passage_language} {seed} "
        "stand for the cell's own",
    )

    @field_validator("path")
    @classmethod
    def _placeholders(cls, path: str) -> str:
        known = ("benchmark", "setting", "cell", "query_language", "passage_language", "seed")
        try:
            path.format(**dict.fromkeys(known, ""))
        except (KeyError, IndexError, ValueError) as error:
            shown = " ".join(f"{{{name}}}" for name in known)
            raise ValueError(f"path: {path!r} may hold {shown} alone ({error})") from error
        return path


class ScorerSpec(ReorderingSpec, SeededSpec):
    """Anything that scores pairs of texts, from Python."""

    kind: Literal["scorer"]
    make: str = Field(
        pattern=r"^[\w.]+:\w+$",
        description="MODULE:FUNCTION that gives an object with score(pairs) -> (n,) float32, called with the options "
        "and, where it takes one, the seed",
    )
    options: dict[str, Any] = Field({}, description="keyword arguments of that function")
    version: str = Field("1", description="raise it where the scorer changed: old scores are then scored anew")


class ModelSpec(SeededSpec):
    """A model in a folder or on a hub."""

    model: str = Field(min_length=1, description="folder or hub id; {seed} stands for the seed")
    precision: Literal["fp32", "bf16", "int8"] = Field("fp32", description="of the linear layers")
    max_tokens: int = Field(8192, ge=512, description="tokens of a batch, 512 or more")

    def path(self, seed: int) -> str:
        """Where the model of a seed is."""
        return self.model.replace("{seed}", str(seed))


class ScoringModelSpec(ReorderingSpec, ModelSpec):
    """A model that scores pairs."""

    translate: str = Field(
        "",
        description="lexicon by which queries and passages are put into English word by word before they are scored; "
        "may be a URI. None: they stay",
    )


class RerankerSpec(ScoringModelSpec):
    """A cross-encoder: its score of query and passage together."""

    kind: Literal["reranker"]


class EncoderSpec(ScoringModelSpec):
    """A bi-encoder: the inner product of the embeddings of query and passage."""

    kind: Literal["encoder"]


class DenseSpec(ModelSpec):
    """A bi-encoder that searches all passages of a cell, exactly."""

    kind: Literal["dense"]


AnySystem = Annotated[
    Union[  # noqa: UP007  for get_args
        Bm25Spec,
        TranslatedBm25Spec,
        DenseSpec,
        IndexSpec,
        OracleSpec,
        RandomSpec,
        RunSpec,
        ScorerSpec,
        RerankerSpec,
        EncoderSpec,
    ],
    Field(discriminator="kind"),
]


class Experiment(StageConfig):
    """What is measured on what; the order of systems and measures is that of the tables."""

    name: Name = Field(description="what the report is called")
    benchmarks: tuple[BenchmarkSpec, ...] = Field(min_length=1, description="the collections to measure on")
    settings: SettingsSpec = Field(description="languages and pairs of languages")
    systems: tuple[AnySystem, ...] = Field(min_length=1, description="what is measured")
    candidates: CandidatesSpec | None = Field(None, description="what rerankers, oracle and random reorder")
    variants: tuple[Variant, ...] = Field((), description="forms of the queries that every system is measured on too")
    measures: tuple[str, ...] = Field(
        ("RR@10", "nDCG@10", "R@100", "AP"),
        min_length=1,
        description="as ir_measures writes them; the first is the main one",
    )
    baseline: str = Field("", description="the system that others are compared with; none: no comparisons")
    depth: int = Field(100, ge=1, le=10_000, description="passages of a run for each query, 1 to 10,000")
    seen_languages: tuple[str, ...] = Field(
        (), description="languages that systems were trained on; none: not told apart"
    )
    seed: int = Field(1, ge=0, lt=1 << 63, description="seed of MLIR's draws, of tests and intervals, 0 or more")

    @model_validator(mode="after")
    def _agree(self) -> "Experiment":
        _refuse_doubles("benchmarks", [one.name for one in self.benchmarks])
        _refuse_doubles("systems", [one.name for one in self.systems])
        _refuse_doubles("variants", [one.name for one in self.variants])
        _refuse_doubles("measures", list(self.measures))
        _refuse_doubles("mlir", [one.label for one in self.settings.mlir])
        names = [one.name for one in self.systems]
        if self.baseline and self.baseline not in names:
            raise ValueError(f"baseline: {self.baseline!r} is not among the systems {', '.join(names)}")
        for one in self.systems:
            if isinstance(one, ReorderingSpec):
                self._check_candidates(one)
        return self

    def _check_candidates(self, reordering: ReorderingSpec) -> None:
        if (candidates := self.candidates_of(reordering)) is None:
            raise ValueError(f"candidates: {reordering.name} reorders candidates, and none are given")
        found = next((one for one in self.systems if one.name == candidates.system), None)
        if found is None:
            names = ", ".join(one.name for one in self.systems)
            raise ValueError(f"candidates: {candidates.system!r} is not among the systems {names}")
        if found.reorders:
            raise ValueError(f"candidates: {candidates.system!r} itself reorders candidates")

    def candidates_of(self, reordering: ReorderingSpec) -> CandidatesSpec | None:
        """What a system reorders."""
        return reordering.candidates or self.candidates

    def system(self, name: str) -> AnySystem:
        return next(one for one in self.systems if one.name == name)


def read_experiment(path: str) -> Experiment:
    """The experiment in a YAML file. What is wrong is an InputError with file, line and remedy."""
    return read_checked(path, Experiment)


def read_checked(path: str, model: type[Checked]) -> Checked:
    """The model in a YAML file. What is wrong is an InputError with file, line and remedy."""
    options = read_yaml(path)
    try:
        return model.model_validate(options)
    except ValidationError as error:
        raise _explain(path, error.errors()[0], model) from error


def locate(path: str, keys: tuple[str | int, ...]) -> int | None:
    """The line, from 1, of the deepest of `keys` that stands in a YAML file; keys that do not are passed over."""
    with open_input(path) as stream:
        node = yaml.compose(stream, Loader=yaml.SafeLoader)
    line = None
    for key in keys:
        found = next(_children(node, key), None)
        if found is not None:
            line, node = found
    return line


def _children(node: Any, key: str | int) -> Iterator[tuple[int, Any]]:
    if isinstance(node, yaml.SequenceNode) and isinstance(key, int) and key < len(node.value):
        yield node.value[key].start_mark.line + 1, node.value[key]
    if isinstance(node, yaml.MappingNode):
        for name, value in node.value:
            if name.value == key:
                yield name.start_mark.line + 1, value


def _explain(path: str, detail: Any, model: type[StageConfig]) -> InputError:
    keys = detail["loc"]
    line = locate(path, keys)
    place = ".".join(str(key) for key in keys if not isinstance(key, int)) or "the file"
    if detail["type"] == "extra_forbidden":
        near = difflib.get_close_matches(str(keys[-1]), sorted({*_keys(model)}), n=2, cutoff=0.6)
        hint = f"; did you mean {' or '.join(near)}?" if near else ""
        return InputError.at(path, line, f"{keys[-1]}: no such key{hint}")
    if detail["type"] == "missing":
        return InputError.at(path, line, f"{place}: is required and missing")
    if detail["type"] == "value_error":
        return InputError.at(path, line, str(detail["ctx"]["error"]))
    if detail["type"].startswith("union_tag"):
        given, known = detail["input"], detail["ctx"].get("expected_tags") or _kinds()
        kind = given.get("kind") if isinstance(given, dict) else given
        return InputError.at(path, line, f"{place}: kind must be one of {known}, got {kind!r}")
    return InputError.at(path, line, f"{place}: {detail['msg'][0].lower()}{detail['msg'][1:]}, got {detail['input']!r}")


def _kinds() -> str:
    return ", ".join(repr(get_args(one.model_fields["kind"].annotation)[0]) for one in get_args(get_args(AnySystem)[0]))


def _keys(model: Any) -> Iterator[str]:
    """All field names of a model and of the models in its fields."""
    if isinstance(model, type) and issubclass(model, BaseModel):
        for name, field in model.model_fields.items():
            yield name
            yield from _keys(field.annotation)
    elif get_origin(model):
        for part in get_args(model):
            yield from _keys(part)


def _refuse_doubles(where: str, names: list[str]) -> None:
    if double := next((name for name in names if names.count(name) > 1), None):
        raise ValueError(f"{where}: {double!r} stands twice; give each its own name")
