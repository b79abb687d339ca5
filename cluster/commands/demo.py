"""`csgen demo`: the main job on real input, by the commands that a user would type."""

import shlex
import sys
import time

from pydantic import Field
from rich.console import Console

from cluster.terminal import Report, Terminal
from csgen.config import StageConfig
from csgen.errors import CsgenError
from csgen.files import exists, join
from csgen.manifest import MANIFEST_NAME

LANGUAGES = "de,it,fr,ru,ar,ja"  # of the lexicon that the package carries


class DemoConfig(StageConfig):
    """Options of `csgen demo`."""

    output: str = Field("demo", min_length=1, description="folder for all that the demo makes; what is there is kept")
    source: str = Field(
        "debian", description="debian, or where there is no apt or no network the carried sample; sample: that at once"
    )


def demo(config: DemoConfig, terminal: Terminal) -> Report:
    """Fetch pairs, build a lexicon, plan, switch, and show five pairs; stages that are done already are passed over."""
    begun = time.perf_counter()
    data, lexicon, switched = (join(config.output, name) for name in ("data", "lexicon", "switched"))
    source = config.source
    fetched = ["--languages", "en,de,it,fr"] if source == "debian" else []
    try:
        _run(["fetch", source, *fetched, "--output", data], data)
    except CsgenError as error:
        if source == "sample":
            raise
        _tell(f"\n{error}\n-> going on with the small collection that csgen carries")
        _run(["fetch", "sample", "--output", data], data)
    _run(["lexicon", "build", "sample", "--output", lexicon], lexicon)
    pairs = join(data, "pairs", "train.parquet")
    policy = [pairs, "--lexicon", lexicon, "--languages", LANGUAGES]
    _run(["plan", *policy, "--target-ratio", "0.2"])
    _run(["switch", *policy, "--target-ratio", "0.2", "--seed", "1", "--spans", "--output", switched], switched)
    _run(["verify", switched, "--sample", "1"])
    _run(["switch", *policy, "--seed", "1", "--show", "5"])
    seconds = time.perf_counter() - begun
    names = {"data": data, "lexicon": lexicon, "switched": switched}
    return Report(
        names | {"seconds": round(seconds, 1)}, f"\nDone in {seconds:.0f} s; all of it is in {config.output}/."
    )


def _run(arguments: list[str], output: str | None = None) -> None:
    """Show a command line and run it, unless its output is there already."""
    from cluster.cli import run

    _tell(f"\n$ csgen {shlex.join(arguments)}")
    if output is not None and exists(join(output, MANIFEST_NAME)):
        _tell(f"{output} is there already")
    else:
        run(arguments)


def _tell(text: str) -> None:
    Console(file=sys.stdout, highlight=False, markup=False, soft_wrap=True).print(text, style="bold")
    sys.stdout.flush()
