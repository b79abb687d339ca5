"""The command `csgen`: finds the command, reads its options, runs it, and turns errors into exit codes.

A command is a function of its stage's configuration and the terminal; its module is imported once it is called.
"""

import importlib
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn, get_type_hints

from csgen import __version__
from csgen.errors import CsgenError, InputError

DONE, FAILURE, BAD_INPUT, INTERRUPTED = 0, 1, 2, 130


@dataclass(frozen=True)
class Command:
    """Where a command's function stands (MODULE:FUNCTION), what it does, and which options go without a flag."""

    place: str
    summary: str
    positionals: tuple[str, ...]

    def load(self) -> Callable[..., Any]:
        module, _, function = self.place.partition(":")
        loaded: Callable[..., Any] = getattr(importlib.import_module(f"cluster.commands.{module}"), function)
        return loaded


COMMANDS = {
    "fetch": Command(
        "fetch:fetch", "fetch texts in several languages, and English pairs with negatives", ("source",)
    ),
    "lexicon build": Command(
        "lexicon:build", "make a lexicon of word lists, dictionaries, dumps and other lexicons", ("sources",)
    ),
    "lexicon show": Command("lexicon:show", "show a word's translations", ("lexicon", "word")),
    "lexicon stats": Command(
        "lexicon:stats", "tell what a lexicon holds, and how much of a corpus it covers", ("lexicon", "pairs")
    ),
    "lexicon induce": Command(
        "induce:induce", "learn a lexicon from parallel texts or word vectors", ("inputs",)
    ),
    "lexicon pivot": Command(
        "induce:pivot", "make a lexicon through a third language that lexicons share", ("lexicons",)
    ),
    "lexicon turn": Command("lexicon:turn", "make a lexicon that leads the other way", ("lexicon",)),
    "plan": Command("plan:plan", "predict what a policy does to pairs, and solve for its probability", ("pairs",)),
    "switch": Command("switch:switch", "code-switch training pairs", ("pairs",)),
    "unswitch": Command("unswitch:unswitch", "restore the pairs that were switched with --spans", ("switched",)),
    "parallel": Command("parallel:parallel", "put pairs into the other languages of a parallel collection", ("pairs",)),
    "train blank": Command("blank:blank", "make an untrained model with a vocabulary of its own", ("pairs",)),
    "train reranker": Command(
        "train:reranker", "fine-tune a cross-encoder on pairs that are switched on the fly", ("pairs",)
    ),
    "train encoder": Command(
        "train:encoder", "fine-tune a bi-encoder on pairs that are switched on the fly", ("pairs",)
    ),
    "train base": Command(
        "train:base", "train a masked language model further, on switched or parallel text", ("pairs",)
    ),
    "models": Command("models:models", "list the models that csgen carries", ()),
    "pack": Command("models:pack", "copy a trained model with weights of half the size", ("model",)),
    "mine": Command("mine:mine", "mine hard negatives for training pairs by BM25 or an encoder", ("pairs",)),
    "index build": Command(
        "index:build", "build an index of passages: their vectors, words and texts, in shards", ("passages",)
    ),
    "index add": Command(
        "index:add", "add passages to an index, in place of those of the same ids", ("index", "passages")
    ),
    "index delete": Command("index:delete", "delete passages from an index", ("index",)),
    "index compact": Command(
        "index:compact", "rewrite segments that are small or have many deletes, or train anew", ("index",)
    ),
    "index snapshot": Command("index:snapshot", "copy an index as it is now, to a folder at any URI", ("index",)),
    "index restore": Command("index:restore", "make an index of a snapshot, or mend one by it", ("snapshot",)),
    "index search": Command("index_search:search", "search an index", ("index", "texts")),
    "index offsets": Command(
        "index_search:offsets", "learn what makes scores of several languages compare", ("index", "collection")
    ),
    "index info": Command("index:info", "tell what an index holds, and check its files", ("index",)),
    "rerank": Command("rerank:rerank", "put a run's passages in the order of a model's scores", ()),
    "evaluate": Command(
        "evaluate:evaluate", "measure systems on MoIR, CLIR and MLIR; write tables, plots, a report", ("experiment",)
    ),
    "claims": Command(
        "claims:claims", "hold finished evaluations against the paper's ten claims; write a report", ("claims",)
    ),
    "demo": Command("demo:demo", "run the main job on real input, step by step", ()),
    "verify": Command("verify:verify", "compute an output of csgen switch anew and compare", ("folder",)),
}  # fmt: skip


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code: 0 done, 1 a failure, 2 the user's input, 130 interrupted."""
    try:
        return run(list(sys.argv[1:] if arguments is None else arguments))
    except BrokenPipeError:  # who read standard output has seen enough; Python would complain at exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILURE
    except KeyboardInterrupt:
        return _fail("interrupted", INTERRUPTED)
    except InputError as error:
        return _fail(str(error), BAD_INPUT)
    except CsgenError as error:
        return _fail(str(error), FAILURE)
    except Exception as error:
        last_line = (str(error).strip().splitlines() or [""])[-1]
        return _fail(f"{type(error).__name__}: {last_line}; CSGEN_DEBUG=1 shows where", FAILURE)


def run(arguments: list[str]) -> int:
    """Run the command that the arguments name; errors are the caller's."""
    if arguments[:1] == ["--version"]:
        return _say(f"csgen {__version__}")
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        return _say(_overview("")) if arguments else _refuse_command(arguments)
    words = next((n for n in (2, 1) if " ".join(arguments[:n]) in COMMANDS), 0)
    name, rest = " ".join(arguments[:words]), arguments[words:]
    if not words:
        if rest[1:2] in (["-h"], ["--help"]) and _group(rest[0]):
            return _say(_overview(rest[0]))
        return _refuse_command(rest)
    return _run_command(name, COMMANDS[name], rest)


def _run_command(name: str, command: Command, arguments: list[str]) -> int:
    from cluster.flags import Flags

    function = command.load()
    models = {key: model for key, model in get_type_hints(function).items() if key != "return"}
    flags = Flags(f"csgen {name}", command.summary, list(models.values()), command.positionals)
    if {"-h", "--help"} & {*arguments}:
        return _say(flags.format_help())
    options = flags.read(arguments)
    configs = {
        key: model.from_options({n: value for n, value in options.items() if n in model.model_fields})
        for key, model in models.items()
    }
    terminal = configs["terminal"]
    terminal.start_log()
    terminal.show(function(**configs))
    return DONE


def _say(text: str) -> int:
    sys.stdout.write(text.rstrip() + "\n")
    sys.stdout.flush()
    return DONE


def _fail(message: str, code: int) -> int:
    if os.environ.get("CSGEN_DEBUG"):
        import traceback

        traceback.print_exc()
    sys.stderr.write(f"csgen: {' '.join(message.split())}\n")
    return code


def _group(word: str) -> list[str]:
    return [name for name in COMMANDS if name.startswith(f"{word} ") or not word]


def _overview(group: str) -> str:
    lines = [f"  {name:<18} {COMMANDS[name].summary}" for name in _group(group)]
    head = [f"Usage: csgen {group or 'COMMAND'} ...", "", "Commands (csgen COMMAND --help tells a command's options):"]
    return "\n".join([*head, *lines, "", "Exit codes: 0 done, 1 a failure, 2 wrong input; the reason is on stderr."])


def _refuse_command(arguments: list[str]) -> NoReturn:
    import difflib

    if not arguments or (_group(arguments[0]) and len(arguments) == 1):
        known = _group(arguments[0] if arguments else "")
        raise InputError(f"expected a command, one of {', '.join(known)}; see csgen --help")
    word = " ".join(arguments[:2]) if _group(arguments[0]) else arguments[0]
    near = difflib.get_close_matches(word, [*COMMANDS, "--version", "--help"], n=1)
    raise InputError(f"unknown command {word!r}{f'; did you mean {near[0]}?' if near else ''}; see csgen --help")
