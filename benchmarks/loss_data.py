"""What the losses are tried on: a few groups of Debian's pairs to train on and to measure by, and what is made of them.

Nothing here is drawn: ids are hashes, and the first ones by their order are a sample.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from csgen.lexicon.build import LexiconBuildConfig, build_lexicon
from csgen.lexicon.entries import fold_column, read_entries

WARM, TRAIN, DEV = "warm", "train", "dev"
_SPLITS = {WARM: "train", TRAIN: "train", DEV: "dev"}  # of Debian
MIN_SHARED = 2  # languages in which two English words need a common translation to count as synonyms


@dataclass(frozen=True)
class LossData:
    """Files by part, and lexicons; a group is a query with all its pairs."""

    groups: dict[str, str]  # to train the first models on, to train on and to measure by
    parallel: dict[str, str]  # English passages, each with its translation, as pairs
    lexicon: str
    synonyms: str
    languages: tuple[str, ...]

    @classmethod
    def make(
        cls, collection: str, lexicon: str, languages: Sequence[str], sizes: dict[str, int], folder: str
    ) -> "LossData":
        """`sizes`: groups of WARM, TRAIN and DEV, and at most twice as many parallel passages."""
        names = ("groups", "parallel")
        groups, parallel = ({part: str(Path(folder, f"{name}-{part}.parquet")) for part in sizes} for name in names)
        used = pl.Series("query_id", [], pl.String)
        for part, size in sizes.items():
            pairs = pl.read_parquet(Path(collection, "pairs", f"{_SPLITS[part]}.parquet"))
            pairs = pairs.filter(~pl.col("query_id").is_in(used.implode()))
            wanted = pairs["query_id"].unique().sort().head(size)
            pairs.filter(pl.col("query_id").is_in(wanted.implode())).write_parquet(groups[part])
            used = wanted
            answers = pairs.filter(pl.col("label") > 0)["passage_id"].unique()
            translate_passages(collection, languages, answers, 2 * size).write_parquet(parallel[part])
        if not lexicon:
            lexicon = str(Path(folder, "lexicon"))
            build_lexicon(LexiconBuildConfig.from_options({"sources": ("sample",), "output": lexicon}))
        synonyms = str(Path(folder, "synonyms"))
        build_synonyms(lexicon, languages, folder, synonyms)
        return cls(groups, parallel, lexicon, synonyms, tuple(languages))


def translate_passages(collection: str, languages: Sequence[str], ids: pl.Series, most: int) -> pl.DataFrame:
    """Pairs of English passages and their translations, as many in each language; no passage comes twice."""
    left = _read_passages(collection, "en").filter(pl.col("id").is_in(ids.implode())).sort("id")
    translations = {language: _read_passages(collection, language) for language in languages}
    parts = []
    for language in sorted(languages, key=lambda name: len(translations[name])):  # the rarest takes first
        part = left.join(translations[language], on="id", suffix="_there").head(most // len(languages))
        left = left.filter(~pl.col("id").is_in(part["id"].implode()))
        parts.append(part.with_columns(language=pl.lit(language)))
    return pl.concat(parts).select(
        query_id="id", query="text", passage_id="id", passage="text_there", label=pl.lit(1, pl.Int8),
        query_language=pl.lit("en"), passage_language="language",
    )  # fmt: skip


def build_synonyms(lexicon: str, languages: Sequence[str], folder: str, output: str) -> None:
    """A lexicon of English words that have a common translation in MIN_SHARED languages."""
    entries = read_entries(lexicon).filter(
        pl.col("source_language") == "en", pl.col("target_language").is_in(languages)
    )
    words = entries.select(
        "target_language", target=fold_column(entries["target"]), source=fold_column(entries["source"])
    ).unique()  # fmt: skip
    both = words.join(words, on=["target_language", "target"]).filter(pl.col("source") != pl.col("source_right"))
    shared = both.group_by("source", "source_right").agg(pl.col("target_language").n_unique().alias("languages"))
    path = Path(folder, "synonyms.tsv")
    kept = shared.filter(pl.col("languages") >= MIN_SHARED).select("source", "source_right").sort(pl.all())
    kept.write_csv(path, separator="\t", include_header=False)
    build_lexicon(LexiconBuildConfig.from_options({"sources": (f"tsv:en-en:{path}",), "output": output}))


def _read_passages(collection: str, language: str) -> pl.DataFrame:
    return pl.read_ndjson(Path(collection, language, "passages.jsonl")).select("text", id="_id")
