"""`csgen demo`: the main job on real input, by the commands that a user would type."""

import math
import os
import shlex
import sys
import time
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from subprocess import PIPE, Popen
from typing import Any

import yaml
from pydantic import Field
from rich.console import Console

from cluster.terminal import PLAIN_WIDTH, Report, Terminal
from csgen.config import StageConfig
from csgen.errors import CsgenError
from csgen.files import exists, join, replace_file
from csgen.manifest import MANIFEST_NAME
from csgen.sources.collection import read_collection
from csgen.sources.sample import HALF, OTHER_HALF

LANGUAGES = "de,it,fr,ru,ar,ja"  # of the lexicon that the package carries
ENGLISH, SWITCHED = "on English pairs", "on switched pairs"
FOLDERS = ("data", "lexicon", "switched", "english", "mixed", "results", "index-english", "index-mixed")
QUERY_LANGUAGE, PASSAGE_LANGUAGE = "fr", "en"  # of the search across languages


@dataclass(frozen=True)
class Material:
    """What a collection is fine-tuned and measured on."""

    pairs: str = "train"
    split: str = "test"
    batch_size: int = 64
    max_tokens: int = 64
    queries: int = 200


SAMPLE = Material(HALF, OTHER_HALF, batch_size=15, max_tokens=128, queries=30)  # few texts, and longer ones


class DemoConfig(StageConfig):
    """Options of `csgen demo`."""

    output: str = Field("demo", min_length=1, description="folder for all that the demo makes; what is there is kept")
    source: str = Field(
        "debian", description="debian, or where there is no apt or no network the carried sample; sample: that at once"
    )
    steps: int = Field(
        140,
        ge=1,
        description="steps of the fine-tuning on English pairs, of 64 groups, 1 or more; the other takes half",
    )


def demo(config: DemoConfig, terminal: Terminal) -> Report:
    """Fetch, lexicon, switch; fine-tune on English and on switched pairs, measure, index and search with both encoders.

    Stages that are done already are passed over.
    """
    begun = time.perf_counter()
    at = {name: join(config.output, name) for name in FOLDERS}
    _fetch(config.source, at["data"])
    _run(["lexicon", "build", "sample", "--output", at["lexicon"]], at["lexicon"])
    switching = ["--lexicon", at["lexicon"], "--languages", LANGUAGES]
    _switch([_pairs(at, "train"), *switching], at["switched"])
    material = SAMPLE if exists(_pairs(at, HALF)) else Material()
    _train(config, material, at, switching)
    experiment = join(config.output, "experiment.yaml")
    with replace_file(experiment) as stream:
        stream.write(yaml.safe_dump(_experiment(at, material), sort_keys=False, allow_unicode=True).encode())
    _run(["evaluate", experiment, "--output", at["results"]])
    _search(at, material, join(config.output, "passages.parquet"))
    seconds = time.perf_counter() - begun
    where = f"all of it is in {config.output}/, tables and plots in {at['results']}/report.html"
    return Report(at | {"seconds": round(seconds, 1)}, f"\nDone in {seconds:.0f} s; {where}.")


def _pairs(at: dict[str, str], name: str) -> str:
    return join(at["data"], "pairs", f"{name}.parquet")


def _fetch(source: str, folder: str) -> None:
    chosen = ["--languages", "en,de,fr,ja,ru"] if source == "debian" else []
    try:
        _run(["fetch", source, *chosen, "--output", folder], folder)
    except CsgenError as error:
        if source == "sample":
            raise
        _tell(f"\n{error}\n-> going on with the small collection that csgen carries")
        _run(["fetch", "sample", "--output", folder], folder)


def _switch(policy: list[str], folder: str) -> None:
    _run(["plan", *policy, "--target-ratio", "0.2"])
    _run(["switch", *policy, "--target-ratio", "0.2", "--seed", "1", "--spans", "--output", folder], folder)
    _run(["verify", folder, "--sample", "1"])
    _run(["switch", *policy, "--seed", "1", "--show", "5"])


def _train(config: DemoConfig, material: Material, at: dict[str, str], switching: list[str]) -> None:
    """Both at once, on as many texts: with a lexicon every example stands there twice, so there are half the steps.

    The carried lexicon knows few words; all that it knows are switched.
    """
    size, length = str(material.batch_size), str(material.max_tokens)
    options = ["--batch-size", size, "--micro-batch-size", size, "--max-tokens", length, "--quiet"]
    training = ["train", "encoder", _pairs(at, material.pairs), "--preset", "small", *options]
    half = str(math.ceil(config.steps / 2))
    english = [*training, "--steps", str(config.steps), "--output", at["english"]]
    mixed = [*training, *switching, "--probability", "1", "--steps", half, "--output", at["mixed"]]
    _run_side_by_side({at["english"]: english, at["mixed"]: mixed})


def _experiment(at: dict[str, str], material: Material) -> dict[str, Any]:
    """Both encoders and BM25, in MoIR, CLIR and MLIR of all languages."""
    return {
        "name": "demo",
        "benchmarks": [{"name": "demo", "path": at["data"], "split": material.split, "queries": material.queries}],
        "settings": {
            "moir": "all",
            "clir": "all",
            "mlir": [{"languages": list(read_collection(at["data"]).languages)}],
        },
        "systems": [
            {"name": "BM25", "kind": "bm25"},
            {"name": ENGLISH, "kind": "encoder", "model": at["english"]},
            {"name": SWITCHED, "kind": "encoder", "model": at["mixed"]},
        ],
        "candidates": {"system": "BM25", "pivot": "en"},
        "measures": ["RR@10"],
        "depth": 20,
        "baseline": ENGLISH,
    }


def _search(at: dict[str, str], material: Material, passages: str) -> None:
    """Index passages in all languages with both encoders, and search them across languages."""
    from cluster.demo_search import find_gained, read_judged, search, show_searches, write_passages

    judged = read_judged(at["data"], QUERY_LANGUAGE, PASSAGE_LANGUAGE, material.split)
    if not exists(passages):
        write_passages(at["data"], judged, passages)
    indexes = {ENGLISH: ("english", at["index-english"]), SWITCHED: ("mixed", at["index-mixed"])}
    _run_side_by_side({
        folder: ["index", "build", passages, "--encoder", at[encoder], "--workers", "1", "--output", folder, "--quiet"]
        for encoder, folder in indexes.values()
    })  # fmt: skip
    searches = {name: search(folder, judged, PASSAGE_LANGUAGE) for name, (_, folder) in indexes.items()}
    gained = find_gained(searches)
    _tell(f"\n{len(judged):,} French queries searched in the index's English passages")
    Console(file=sys.stdout, width=PLAIN_WIDTH).print(show_searches(searches, judged, gained))
    _run(["index", "search", at["index-mixed"], judged["query"][gained or 0], "--least-hits", "each=1"])


def _run(arguments: list[str], output: str | None = None) -> None:
    """Show a command line and run it, unless its output is there already."""
    from cluster.cli import run

    if not _show(arguments, output):
        run(arguments)


def _run_side_by_side(commands: Mapping[str, list[str]]) -> None:
    """Show command lines, by their outputs, and run them at once, each in a process with its share of the processors.

    A small model's steps have too little to do for several threads.
    """
    missing = {output: line for output, line in commands.items() if not _show(line, output)}
    share = max(1, (os.cpu_count() or 1) // max(1, len(missing)))
    environment = os.environ | {"OMP_NUM_THREADS": str(share)}
    with ExitStack() as stack:
        processes = [
            stack.enter_context(
                Popen([sys.executable, "-m", "cluster", *line], env=environment, stdout=PIPE, text=True)
            )
            for line in missing.values()
        ]
        for process in processes:
            stack.callback(process.kill)
        for line, process in zip(missing.values(), processes, strict=True):
            printed = process.communicate()[0]
            if process.returncode:
                raise CsgenError(f"csgen {shlex.join(line)} ended with {process.returncode}")
            _tell(printed.rstrip(), style="")


def _show(arguments: list[str], output: str | None) -> bool:
    """Show a command line; whether its output is there already, which is told."""
    _tell(f"\n$ csgen {shlex.join(arguments)}")
    if there := output is not None and exists(join(output, MANIFEST_NAME)):
        _tell(f"{output} is there already")
    return there


def _tell(text: str, style: str = "bold") -> None:
    Console(file=sys.stdout, highlight=False, markup=False, soft_wrap=True).print(text, style=style)
    sys.stdout.flush()
