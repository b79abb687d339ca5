"""The model card: a README.md that says what a model was trained on and how, with the YAML head that the hub reads.

Holds no times and no machine names. Licences are those that the data, the lexicon and the first model tell themselves.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from cluster.training_options import Kind, TrainingOptions
from csgen import __version__
from csgen.errors import InputError
from csgen.files import exists, is_folder, join, replace_file
from csgen.lexicon.entries import read_entries
from csgen.lexicon.merge import JOINT
from csgen.sources.collection import COLLECTION_NAME, read_collection

CARD = "README.md"
UNKNOWN = "unknown"
_PIPELINES: dict[Kind, str] = {"reranker": "text-ranking", "encoder": "sentence-similarity", "base": "fill-mask"}
_LIBRARIES: dict[Kind, str] = {
    "reranker": "sentence-transformers", "encoder": "sentence-transformers", "base": "transformers",
}  # fmt: skip
_TAGS: dict[Kind, list[str]] = {
    "reranker": ["sentence-transformers", "cross-encoder", "reranker"],
    "encoder": ["sentence-transformers", "sentence-similarity", "feature-extraction"],
    "base": ["fill-mask"],
}
_WHAT: dict[Kind, str] = {
    "reranker": "A cross-encoder: it reads a query and a passage together and gives the pair a score.",
    "encoder": "A bi-encoder: it gives a query or a passage a vector of unit length; inner products rank passages.",
    "base": "A masked language model, to be fine-tuned.",
}
_USE: dict[Kind, str] = {
    "reranker": "from sentence_transformers import CrossEncoder\n\n"
    'CrossEncoder("FOLDER").predict([("a query", "a passage")])',
    "encoder": "from sentence_transformers import SentenceTransformer\n\n"
    'SentenceTransformer("FOLDER").encode(["a query", "a passage"])',
    "base": 'from transformers import AutoModelForMaskedLM\n\nAutoModelForMaskedLM.from_pretrained("FOLDER")',
}
_LOSSES = (
    "pointwise", "listwise", "contrastive", "distil", "margin", "masked", "teach", "teach_contrast", "align_scores",
    "align_twins", "align_sentences", "align_words", "twin_relevance",
)  # fmt: skip


@dataclass(frozen=True)
class Trained:
    """What a card tells of a run; `inputs`: hashes of the manifests of what it was made from."""

    options: TrainingOptions
    config: Mapping[str, Any]
    inputs: Mapping[str, Any]
    counts: Mapping[str, int]
    figures: Mapping[str, float]
    languages: tuple[str, ...]
    steps: int
    weights_of: tuple[int, ...]

    @property
    def kind(self) -> Kind:
        return self.options.kind


def write_card(trained: Trained) -> str:
    """Write the card into the run's output; returns its path."""
    path = join(trained.options.place.output, CARD)
    with replace_file(path) as stream:
        stream.write(make_card(trained).encode())
    return path


def make_card(trained: Trained) -> str:
    head = yaml.safe_dump(_head(trained), sort_keys=False, allow_unicode=True)
    name = Path(trained.options.place.output).name
    sections = [
        f"# {name}", _WHAT[trained.kind], f"```python\n{_USE[trained.kind]}\n```",
        _section("Data", _data(trained)), _section("Recipe", _recipe(trained)),
        _section("Figures", _figures(trained)), _section("Limits", _limits(trained)),
        _section("Made from", _chain(trained)),
    ]  # fmt: skip
    return f"---\n{head}---\n\n" + "\n\n".join(sections) + "\n"


def _head(trained: Trained) -> dict[str, Any]:
    base, licence = trained.options.place.model, read_model_licence(trained.options.place.model)
    head: dict[str, Any] = {"language": list(trained.languages), "license": licence or "other"}
    if not licence:
        head["license_name"] = UNKNOWN
    head |= {
        "base_model": base if not Path(base).exists() else Path(base).name,
        "library_name": _LIBRARIES[trained.kind],
        "pipeline_tag": _PIPELINES[trained.kind],
        "tags": [*_TAGS[trained.kind], *(["code-switching"] if trained.options.switching.lexicon else []), "csgen"],
    }
    return head


def _data(trained: Trained) -> list[str]:
    counts, options = trained.counts, trained.options
    described = describe_collection(next(iter(trained.inputs["pairs"])))
    lines = [
        f"Pairs: `{options.place.pairs}`, {counts['pairs']:,} pairs, {counts['examples']:,} examples",
        f"Licence of the pairs: {described.get('licence', UNKNOWN)}",
    ]
    if source := described.get("source"):
        lines.append(f"Source of the pairs: {source}")
    lines.append(f"Languages: {', '.join(trained.languages)}")
    if counts.get("unanswered_queries"):
        lines.append(f"{counts['unanswered_queries']:,} queries without a relevant passage were left out")
    if options.switching.lexicon:
        lines.append(f"Lexicon: `{options.switching.lexicon}`")
        lines += [f"Lexicon, {origin}: {licence}" for origin, licence in list_licences(options.switching.lexicon)]
    else:
        lines.append("No word was switched")
    return lines


def _recipe(trained: Trained) -> list[str]:
    recipe, config = trained.options.recipe, trained.config
    losses = [f"{name} {value:g}" for name in _LOSSES if (value := getattr(recipe, name, 0))]
    lines = [
        f"Begun from `{trained.options.place.model}`" + (f", preset `{recipe.preset}`" if recipe.preset else ""),
        f"Losses and their weights: {', '.join(losses).replace('_', ' ')}",
        f"{trained.steps:,} steps of {recipe.batch_size} examples of {recipe.width} pairs, at most "
        f"{config['max_tokens']} tokens; seed {recipe.seed}",
        f"AdamW, learning rate {recipe.learning_rate:g} at its peak, weight decay {recipe.weight_decay:g}, "
        f"{recipe.precision}",
        f"Weights: {'mean of steps ' if len(trained.weights_of) > 1 else 'step '}"
        + ", ".join(map(str, trained.weights_of)),
    ]
    policy = config["policy"]
    if policy is not None:
        languages = sorted({*policy["languages"], *policy["query_languages"], *policy["passage_languages"]})
        shares = ", ".join(f"{share:g} from {100 * at:g} % on" for at, share in sorted(recipe.switched_share.items()))
        lines.append(
            f"Switched: policy {policy['policy']} into {', '.join(languages) or policy['source_language']}, share of "
            f"examples {shares}, {'beside their originals' if recipe.switched == 'beside' else 'in their place'}"
        )
    return lines


def _figures(trained: Trained) -> list[str]:
    if not trained.figures:
        return ["Nothing was measured while it was trained"]
    dev = trained.options.dev
    shown = ", ".join(f"{name} {value:.4f}" for name, value in trained.figures.items())
    return [
        f"RR@10 on `{dev.dev}`, split {dev.dev_split}: {shown}",
        f"Candidates: {dev.dev_candidates} passages of each of {dev.dev_queries} queries at most, the relevant ones "
        "always among them: figures to choose a checkpoint by, not to compare with other work",
    ]


def _limits(trained: Trained) -> list[str]:
    cut = trained.counts["truncated"]
    lines = [f"Texts are cut to {trained.config['max_tokens']} tokens; {cut:,} inputs were, while it was trained"]
    if trained.options.switching.lexicon:
        lines.append("Words were switched one by one, without grammar: the model has seen no running text of its own")
    return [*lines, "A model carries over the gaps and the bias of its data and of the model that it began from"]


def _chain(trained: Trained) -> list[str]:
    lines = [f"csgen {__version__}"]
    for name, value in trained.inputs.items():
        if isinstance(value, dict):
            lines += [f"`{path}`: xxh3_128 {facts['xxh3_128']}" for path, facts in value.items()]
        elif value:
            lines.append(f"{name.replace('_', ' ')}: xxh3_128 {value}")
    return [*lines, "`manifest.json` holds all options, and a hash of each file"]


def _section(title: str, lines: Iterable[str]) -> str:
    return f"## {title}\n\n" + "\n".join(f"- {line}" for line in lines)


def describe_collection(path: str) -> dict[str, str]:
    """Name, licence and source of the collection that pairs are or lie in; empty where there is none."""
    folder = path
    for _ in range(4):
        if is_folder(folder) and exists(join(folder, COLLECTION_NAME)):
            try:
                one = read_collection(folder)
            except InputError:
                return {}
            return {"name": one.name, "licence": one.licence, "source": one.source}
        folder = folder.rpartition("/")[0]
        if not folder:
            break
    return {}


def list_licences(lexicon: str) -> list[tuple[str, str]]:
    """Each origin of a lexicon's entries with its licence."""
    found: dict[str, str] = {}
    for origins, licences in read_entries(lexicon).select("origin", "licence").unique().sort("origin").iter_rows():
        names, of_names = str(origins).split(JOINT), str(licences).split(JOINT)
        found |= dict(
            zip(names, of_names if len(of_names) == len(names) else [str(licences)] * len(names), strict=True)
        )
    return sorted(found.items())


def read_model_licence(path: str) -> str:
    """The licence that the card of the first model names; empty where it has none or is no folder."""
    card = Path(path) / CARD
    if not card.is_file():
        return ""
    match = re.match(r"---\n(.*?)\n---", card.read_text(encoding="utf-8"), re.DOTALL)
    try:
        head = yaml.safe_load(match[1]) if match else None
    except yaml.YAMLError:
        return ""
    licence = head.get("license", "") if isinstance(head, dict) else ""
    return "" if licence == "other" else str(licence)
