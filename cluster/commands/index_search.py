"""`csgen index search` and `csgen index offsets`."""

from typing import Any

from pydantic import Field
from rich import box
from rich.console import Group, RenderableType
from rich.table import Table

from cluster.terminal import Report, Terminal
from csgen.config import StageConfig
from csgen.errors import InputError
from csgen.files import exists
from indexing.index.encoding import load_encoder, locate_encoder
from indexing.index.index import Index
from indexing.index.offsets import OffsetsConfig, learn_offsets
from indexing.index.options import read_lines
from indexing.index.query import SearchOptions, SearchRequest
from indexing.index.result import Done, SearchResult
from indexing.index.score_offsets import Change, ScoreMap, ScoreOffsets
from indexing.index.settings import IndexSettings
from indexing.index.sources import StoredRows
from indexing.passages import Filter
from indexing.passages.rows import LANGUAGE, PASSAGE_ID, TEXT
from indexing.store import Store
from indexing.vectors.config import Device

_SHOWN_CHARACTERS = 160  # of a passage


class OpenConfig(StageConfig):
    """Which index is read, and by which encoder."""

    index: str = Field(min_length=1, description="folder of the index")
    version: int | None = Field(None, ge=1, description="number of the version, 1 or more; default: the published one")
    encoder: str = Field(
        "", description="folder, hub id or carried model of the index's encoder; default: where it was at the build"
    )
    device: Device = Field("cpu", description="where vectors are searched: cpu, or gpu with faiss-gpu")


class QueriesConfig(OpenConfig):
    """What is searched for, and what is told of it."""

    texts: tuple[str, ...] = Field((), description="queries")
    queries_file: str = Field("", description="file of queries, one a line; may be compressed, may be a URI")
    vectors: str = Field("", description=".npy file of the queries' vectors, in place of an encoder's")
    expansions_file: str = Field("", description="file of a second form of each query, one a line, maybe empty")
    repair: bool = Field(False, description="do without segments that are broken, and say what is lost")
    columns: tuple[str, ...] = Field(
        (LANGUAGE, PASSAGE_ID, TEXT), description="what to give of each passage: also title, and names of metadata"
    )


class OffsetsTarget(OpenConfig):
    """Which index offsets are learnt for, and where they go."""

    output: str = Field(min_length=1, description="JSON file to write, for --offsets of csgen index search")


def search(config: QueriesConfig, options: SearchOptions, allowed: Filter, terminal: Terminal) -> Report:
    texts = [*config.texts, *(read_lines(config.queries_file) if config.queries_file else ())]
    request = SearchRequest(
        texts=texts or None,
        vectors=StoredRows(config.vectors).open() if config.vectors else None,
        expansions=read_lines(config.expansions_file) if config.expansions_file else None,
        options=options,
        filter=allowed,
    )
    result = _open(config, config.repair).search(request)
    return Report(result.to_json(config.columns), _show_hits(result, config.columns))


def offsets(config: OffsetsTarget, options: OffsetsConfig, terminal: Terminal) -> Report:
    if exists(config.output):
        raise InputError(f"{config.output}: exists already; remove it first or give another --output")
    learnt = learn_offsets(_open(config), options)
    learnt.write(config.output)
    return Report({"output": config.output} | learnt.model_dump(mode="json"), _show_offsets(learnt, config.output))


def _open(config: OpenConfig, repair: bool = False) -> Index:
    encoder = None
    if config.encoder:
        settings = IndexSettings.of(Store.open(config.index).read_version(config.version), config.index)
        own = locate_encoder(settings, config.encoder, config.index)
        encoder = load_encoder(own.path, precision=own.precision, max_length=own.max_length)
    return Index.open(config.index, config.version, repair, encoder=encoder, device=config.device)


def _show_hits(result: SearchResult, columns: tuple[str, ...]) -> RenderableType:
    names = ["rank", "score"] if len(result.numbers) == 1 else ["query", "rank", "score"]
    table = Table(box=box.SIMPLE_HEAD)
    for name in names:
        table.add_column(name, justify="right")
    for name in columns:
        table.add_column(name, overflow="fold")
    for hit in result.read(columns).to_pylist():
        hit["score"] = f"{hit['score']:.4f}"
        table.add_row(*(_shorten(hit[name]) for name in (*names, *columns)))
    return Group(table, "\n".join(_tell(result.done)))


def _shorten(value: Any) -> str:
    text = "" if value is None else " ".join(str(value).split())
    return text if len(text) <= _SHOWN_CHARACTERS else f"{text[:_SHOWN_CHARACTERS]} ..."


def _tell(done: Done) -> list[str]:
    """What the search did, a line each."""
    counted = [number for number in done.examined if number is not None]
    examined = f"; {sum(counted) / len(counted):,.0f} vectors examined a query" if counted else ""
    lines = [
        f"version {done.index_version}; {done.shards_answered} of {done.shards_asked} shards, {done.segments_searched} "
        f"of {done.segments} segments; {done.allowed:,} of {done.passages:,} passages could be hits{examined}"
    ]
    if any(done.cut_off):
        lines.append("the search ended before all of them were compared exactly: a better one may be missing")
    if "dense" in done.lists and not done.exact_scores:
        lines.append("scores are those of codes, not of the vectors as stored")
    if done.over_size:
        lines.append("there are fewer than were asked for")
    if done.truncated_texts:
        lines.append(f"{done.truncated_texts:,} queries were longer than the encoder reads, and lost their end")
    if done.untranslated:
        lines.append(f"queries were not translated into {', '.join(done.untranslated)}: the lexicon has nothing")
    if done.languages_without_offset:
        lines.append(f"no offset for {', '.join(done.languages_without_offset)}")
    if done.lost:
        lines.append(done.lost)
    return lines


def _show_offsets(learnt: ScoreOffsets, output: str) -> RenderableType:
    table = Table("language", box=box.SIMPLE_HEAD)
    for name in ("judgements", "scale", "shift", "share of hits", "with offsets"):
        table.add_column(name, justify="right")
    for language, number in learnt.judgements.items():
        own, share = learnt.languages.get(language), learnt.effect.shares[language]
        table.add_row(
            language, f"{number:,}", *_show_map(own), f"{100 * share.before:.1f} %", f"{100 * share.after:.1f} %"
        )
    effect = learnt.effect
    told = (
        f"{learnt.learnt_from}, {effect.queries:,} queries, each half with what the other teaches: "
        f"MRR@10 {_show_change(effect.reciprocal_rank)}, recall@10 {_show_change(effect.recall)}: {output}"
    )
    return Group(table, told)


def _show_map(own: ScoreMap | None) -> tuple[str, str]:
    return (f"{own.scale:.3f}", f"{own.shift:+.4f}") if own else ("–", "–")


def _show_change(change: Change) -> str:
    return f"{100 * change.before:.1f} → {100 * change.after:.1f} %"
