"""How good induced lexicons are: precision and coverage against MUSE's dictionaries and the wordnets.

    python benchmarks/lexicon_quality.py --data data/debian

Each lexicon is made by the command line in a process of its own, from the train split of Debian's descriptions alone
(without --data they are fetched). A quarter of MUSE's words, drawn by hash, is the seed dictionary of the embeddings;
all lexicons are held against the other three quarters.
"""

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path

import polars as pl
import xxhash
from measure import print_table
from precision import Difference, compare_best, compare_shared, fold_pairs, judge, score, without_identical
from workload import DATA, describe_machine

from csgen.induction.parallel import Bitext
from csgen.induction.sources import read_collection_texts
from csgen.languages import three_letter_code
from csgen.lexicon.entries import fold_column, read_entries
from csgen.readers.lines import read_tsv
from csgen.segment import UNSPACED_LANGUAGES

LEXICONS = DATA / "lexicons"
LANGUAGES = ("de", "it", "fr", "ja", "ru")
SEED_SHARE = 4  # one in four of MUSE's words is for the seed dictionary
ALIGN, EFLOMAL, PIVOT = "align", "eflomal", "pivot"
VECTOR_METHODS = {
    "nearest": ("--method", "nearest"),
    "csls": ("--method", "csls"),
    "csls-5": ("--method", "csls", "--max-translations", "5"),
}
FREEDICT, MUSE, WORDNET = "FreeDict", "MUSE", "wordnet"
METHODS = (ALIGN, EFLOMAL, *VECTOR_METHODS, PIVOT, FREEDICT, MUSE, WORDNET)
HEAD = (
    "lexicon", "entries", "words", "running tokens", "gold covered", "P@1", "P@5", "P@1, differing", "P@5, differing",
    "wordnet covered", "P@1", "P@5", "P@1, differing", "P@5, differing", "s", "CPU s", "MB",
)  # fmt: skip

# A process begins with the peak memory of the one that forked it, so a small one stands in between.
LAUNCHER = """
import json, resource, subprocess, sys
done = subprocess.run(sys.argv[1:], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
if done.returncode:
    sys.exit(done.stdout)
usage = resource.getrusage(resource.RUSAGE_CHILDREN)
print(json.dumps([usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024]))
"""


@dataclass(frozen=True)
class Cost:
    """Of a subprocess and those below it."""

    seconds: float
    cpu_seconds: float
    peak_mb: float  # of the largest process

    def plus(self, other: "Cost") -> "Cost":
        return Cost(
            self.seconds + other.seconds, self.cpu_seconds + other.cpu_seconds, max(self.peak_mb, other.peak_mb)
        )


@dataclass(frozen=True)
class Language:
    """What lexicons from English into a language are held against."""

    code: str
    muse: pl.DataFrame  # key, target_key; the words that are no seeds
    wordnet: pl.DataFrame
    tokens: pl.DataFrame  # key, count: the English side of the corpus


class Workshop:
    """Makes lexicons in a folder, each once."""

    def __init__(self, folder: Path, data: Path) -> None:
        self.folder, self.data = folder, data

    def make(self, method: str, source: str, target: str) -> tuple[str, Cost]:
        """The folder of the lexicon, and what it cost: with the training of its vectors, without a pivot's legs."""
        output = self.folder / f"{method}-{source}-{target}"
        pair = ["--source", source, "--target", target, "--identical", "keep", "--output", str(output)]
        return str(output), self._once(output, lambda: self._run(method, source, target, pair))

    def _once(self, output: Path, run: Callable[[], Cost]) -> Cost:
        """What it cost, kept beside the output; made anew if it was not finished."""
        note = output.with_suffix(".cost.json")
        if not note.exists():
            shutil.rmtree(output, ignore_errors=True)
            note.write_text(json.dumps(asdict(run())))
        return Cost(**json.loads(note.read_text()))

    def _run(self, method: str, source: str, target: str, pair: list[str]) -> Cost:
        if method in (ALIGN, EFLOMAL):
            return run_csgen("lexicon", "induce", str(self.data), "--method", method, *pair)
        if method in VECTOR_METHODS:
            vectors, training = self._train_vectors(source, target)
            files = [str(vectors / f"{language}.vec") for language in (source, target)]
            seeds = ["--seed-dictionary", f"tsv:{source}-{target}:{self._write_seeds(source, target)}"]
            return run_csgen("lexicon", "induce", *files, *VECTOR_METHODS[method], *seeds, *pair).plus(training)
        if method == PIVOT:
            through = "it" if target != "it" else "de"  # Debian's most translated languages
            legs = [self.make(ALIGN, *languages)[0] for languages in ((source, through), (through, target))]
            return run_csgen("lexicon", "pivot", *legs, "--through", through, *pair)
        spec = f"tsv:{source}-{target}:{dictionary(method, source, target)}"
        return run_csgen("lexicon", "build", spec, "--identical", "keep", "--output", pair[-1])

    def _train_vectors(self, source: str, target: str) -> tuple[Path, Cost]:
        folder = self.folder / f"vectors-{source}-{target}"
        script = str(Path(__file__).with_name("word_vectors.py"))
        command = [sys.executable, script, str(self.data), "--source", source, "--target", target]
        return folder, self._once(folder, lambda: run([*command, "--output", str(folder)]))

    def _write_seeds(self, source: str, target: str) -> Path:
        path = self.folder / f"seeds-{source}-{target}.tsv"
        seeds, _ = part_seeds(read_gold(MUSE, source, target))
        seeds.select("key", "target_key").write_csv(path, include_header=False, separator="\t", quote_style="never")
        return path


def run_csgen(*arguments: str) -> Cost:
    return run([sys.executable, "-c", "import sys; from cluster.cli import main; sys.exit(main())", *arguments])


def run(command: list[str]) -> Cost:
    """Run to the end, quietly; the command's own words if it fails."""
    start = time.perf_counter()
    done = subprocess.run([sys.executable, "-c", LAUNCHER, *command], capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{' '.join(command)} failed:\n{done.stderr}")
    return Cost(time.perf_counter() - start, *json.loads(done.stdout))


def dictionary(name: str, source: str, target: str) -> Path:
    if name == FREEDICT:
        return LEXICONS / "freedict" / f"{three_letter_code(source)}-{three_letter_code(target)}.tsv.xz"
    return LEXICONS / {MUSE: "muse", WORDNET: "omw"}[name] / f"{source}-{target}.tsv.xz"


def read_gold(name: str, source: str, target: str) -> pl.DataFrame:
    pairs = read_tsv(str(dictionary(name, source, target))).pairs
    return fold_pairs(pairs, spaced=target not in UNSPACED_LANGUAGES).select("key", "target_key").unique(
        maintain_order=True
    )  # fmt: skip


def part_seeds(gold: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The pairs for the seed dictionary, and those of other words, for the evaluation."""
    words = gold["key"].unique().sort()
    seeds = words.filter([xxhash.xxh3_64_intdigest(word.encode()) % SEED_SHARE == 0 for word in words])
    is_seed = pl.col("key").is_in(seeds.implode())
    return gold.filter(is_seed), gold.filter(~is_seed)


def open_language(code: str, data: Path) -> Language:
    texts = read_collection_texts(str(data), "en", code, "train")
    side = Bitext.from_texts(texts.source, texts.target, "en", code).source
    tokens = pl.DataFrame({"key": fold_column(side.words), "count": side.frequencies})
    lettered = tokens.filter(pl.col("key").str.contains(r"\p{L}"))
    return Language(code, part_seeds(read_gold(MUSE, "en", code))[1], read_gold(WORDNET, "en", code), lettered)


def read_lexicon(folder: str, language: str) -> pl.DataFrame:
    entries = read_entries(folder).select("source", "target", "weight", "rank")
    return fold_pairs(entries, spaced=language not in UNSPACED_LANGUAGES)


def against_muse(lexicon: pl.DataFrame) -> pl.DataFrame:
    """MUSE knows words alone, so phrases can be no translations."""
    return lexicon.filter(~pl.col("target_key").str.contains(" ", literal=True))


def judge_row(name: str, lexicon: pl.DataFrame, language: Language, cost: Cost) -> Iterator[object]:
    """The cells of a lexicon's row in the order of HEAD."""
    covered = language.tokens.join(lexicon.select("key").unique(), on="key", how="semi")["count"].sum()
    yield from (name, f"{len(lexicon):,}", f"{lexicon['key'].n_unique():,}")
    yield percent(covered / language.tokens["count"].sum())
    for own, gold, seen in (
        (MUSE, language.muse, against_muse(lexicon)),
        (WORDNET, language.wordnet, lexicon),
    ):
        if own == name:
            yield from ("",) * 5
            continue
        every = score(judge(seen, gold), gold)
        differing_gold = without_identical(gold)
        differing = score(judge(without_identical(seen), differing_gold), differing_gold)
        shares = (every.coverage, every.precision_1, every.precision_5, differing.precision_1, differing.precision_5)
        yield from map(percent, shares)
    yield from (f"{cost.seconds:.0f}", f"{cost.cpu_seconds:.0f}", f"{cost.peak_mb:,.0f}")


def compare_aligners(lexicons: dict[str, pl.DataFrame], language: Language) -> Iterator[tuple[object, ...]]:
    """Rows of the default aligner against eflomal at equal coverage of MUSE's words."""
    gold = without_identical(language.muse)
    known = {name: without_identical(against_muse(lexicons[name])) for name in (ALIGN, EFLOMAL)}
    judged = [judge(known[name], gold) for name in (ALIGN, EFLOMAL)]
    confidences = tuple(
        known[name].filter(pl.col("rank") == 1).join(language.tokens, on="key")
        .group_by("key").agg(confidence=(pl.col("weight") * pl.col("count")).max())
        for name in (ALIGN, EFLOMAL)
    )  # fmt: skip
    yield _show_difference(f"{language.code}: words that both have", compare_shared(*judged, gold))
    for share, what in ((1.0, "as many as the smaller"), (0.5, "half as many")):
        difference = compare_best(*judged, gold, share, confidences)
        yield _show_difference(f"{language.code}: the surest, {what}", difference)


def _show_difference(what: str, found: Difference) -> tuple[object, ...]:
    sides = (found.one, found.other)
    points = 100 * (found.one.precision_1 - found.other.precision_1)
    return (
        what, f"{found.words:,}", *(percent(s.precision_1) for s in sides), f"{points:+.1f} ± {100 * found.error:.1f}",
        *(percent(s.precision_5) for s in sides),
    )  # fmt: skip


def percent(share: float) -> str:
    return f"{100 * share:.1f}"


def measure(language: Language, workshop: Workshop, methods: list[str]) -> dict[str, pl.DataFrame]:
    """Make, judge and print the lexicons into a language."""
    lexicons, rows = {}, []
    for method in methods:
        if method in (FREEDICT, MUSE, WORDNET) and not dictionary(method, "en", language.code).exists():
            continue
        folder, cost = workshop.make(method, "en", language.code)
        lexicons[method] = read_lexicon(folder, language.code)
        rows.append([*judge_row(method, lexicons[method], language, cost)])
        print(f"{language.code} {method}: {cost.seconds:.0f} s", file=sys.stderr)
    text, muse, wordnet = (
        language.tokens["count"].sum(),
        *(g["key"].n_unique() for g in (language.muse, language.wordnet)),
    )
    print(f"### en-{language.code}\n")
    print(f"{text:,} words of English text; gold: {muse:,} of MUSE, {wordnet:,} of the wordnet\n")
    print_table(HEAD, rows)
    return lexicons


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="collection that csgen fetch debian wrote, with all the languages")
    parser.add_argument("--languages", default=",".join(LANGUAGES))
    parser.add_argument("--methods", default=",".join(METHODS))
    parser.add_argument(
        "--folder", type=Path, help="where what is made stays, and is found again; by default temporary"
    )
    options = parser.parse_args()
    if not LEXICONS.exists():
        sys.exit(f"{LEXICONS}: the dictionaries to measure against are missing")
    folder = options.folder or Path(tempfile.mkdtemp(prefix="csgen-quality-"))
    folder.mkdir(parents=True, exist_ok=True)
    data = options.data or folder / "debian"
    if not data.exists():
        run_csgen("fetch", "debian", "--languages", ",".join(("en", *LANGUAGES)), "--output", str(data))
    methods = [name for name in options.methods.split(",") if name != EFLOMAL or find_spec(EFLOMAL)]
    if unknown := {*methods} - {*METHODS}:
        sys.exit(f"--methods: expected some of {','.join(METHODS)}, got {min(unknown)}")
    print(describe_machine() + "\n")
    workshop = Workshop(folder, data)
    comparisons: list[tuple[object, ...]] = []
    for code in options.languages.split(","):
        language = open_language(code, data)
        lexicons = measure(language, workshop, methods)
        if {ALIGN, EFLOMAL} <= lexicons.keys():
            comparisons += compare_aligners(lexicons, language)
    if comparisons:
        print("### The default aligner against eflomal, identical pairs aside\n")
        print_table(
            ("MUSE's words", "words", "align P@1", "eflomal P@1", "difference", "align P@5", "eflomal P@5"), comparisons
        )
    if options.folder is None:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
