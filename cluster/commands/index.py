"""`csgen index build`, `add`, `delete`, `compact`, `snapshot`, `restore` and `info`."""

from typing import Any

from pydantic import Field
from rich import box
from rich.console import Group, RenderableType
from rich.table import Table

from cluster.indexing_job import PlaceOptions, encode_with, find_encoder, find_place, guess_encoding_s, guess_writing_s
from cluster.terminal import Report, Terminal
from csgen.config import StageConfig
from csgen.errors import CsgenError
from csgen.files import fingerprint
from indexing.index.building import build as build_index
from indexing.index.compacting import compact as compact_index
from indexing.index.encoding import locate_encoder
from indexing.index.index import Index
from indexing.index.inputs import find_input
from indexing.index.options import AddConfig, BuildConfig, CompactConfig, DeleteConfig, PassageOptions
from indexing.index.running import Place
from indexing.index.settings import IndexSettings
from indexing.index.sources import StoredRows, VectorSource
from indexing.index.updating import add as add_to_index
from indexing.index.updating import delete as delete_from_index
from indexing.index.updating import trained_folder
from indexing.models.carried import ENCODER
from indexing.store import Store, Version
from indexing.vectors.config import VectorConfig
from indexing.vectors.training import load_trained


class SnapshotConfig(StageConfig):
    """Options of `csgen index snapshot`."""

    index: str = Field(min_length=1, description="folder of the index")
    version: int | None = Field(None, ge=1, description="number of the version, 1 or more; default: the published one")
    output: str = Field(min_length=1, description="folder for the copy; may be a URI; may hold an earlier one")


class RestoreConfig(StageConfig):
    """Options of `csgen index restore`."""

    snapshot: str = Field(min_length=1, description="folder that csgen index snapshot wrote; may be a URI")
    output: str = Field(min_length=1, description="folder to write, or the damaged index of the same version")


class InfoConfig(StageConfig):
    """Options of `csgen index info`."""

    index: str = Field(min_length=1, description="folder of the index")
    version: int | None = Field(None, ge=1, description="number of the version, 1 or more; default: the published one")
    check: bool = Field(False, description="read every byte and compare it with what was written")


def build(config: BuildConfig, vectors: VectorConfig, options: PlaceOptions, terminal: Terminal) -> Report:
    source: VectorSource = StoredRows(config.vectors)
    if not config.vectors:
        path = config.encoder or ENCODER
        source = find_encoder(path, config.precision, config.max_length, config.max_tokens, options.encoder_device)
    report = build_index(config, vectors, source, _place(config, options), terminal.progress)
    view = [f"{report['reason']}; {_count(report)}: {config.output}", *_tell_left_out(report)]
    return Report(report, "\n".join(view))


def add(config: AddConfig, options: PlaceOptions, terminal: Terminal) -> Report:
    source = _find_source(config, options)
    report = add_to_index(config, source, _place(config, options), terminal.progress)
    replaced = f", in place of {report['replaced']:,} that were there"
    view = [f"{_count(report)}{replaced}; version {report['version']}: {config.index}", *_tell_left_out(report)]
    return Report(report, "\n".join(view))


def delete(config: DeleteConfig, terminal: Terminal) -> Report:
    report = delete_from_index(config)
    view = [f"{_of(report['deleted'], 'passage')} deleted; version {report['version']}: {config.index}"]
    if report["not_found"]:
        view.append(f"{report['not_found']:,} not found, such as {', '.join(report['first_not_found'])}")
    return Report(report, "\n".join(view))


def compact(config: CompactConfig, vectors: VectorConfig, options: PlaceOptions, terminal: Terminal) -> Report:
    num_bytes = Store.open(config.index).read_version().counts["bytes"]
    place = find_place(options, guess_writing_s(num_bytes))
    report = compact_index(config, vectors, place, terminal.progress)
    purged = f", without {report['purged']:,} that were deleted" if report["purged"] else ""
    view = [
        f"{_of(report['rewritten'], 'segment')} rewritten as {report['segments']:,}, "
        f"{_of(report['passages'], 'passage')}{purged}; version {report['version']}: {config.index}"
    ]
    if report["lost_segments"]:
        lost = ", ".join(report["lost_segments"])
        view.append(f"lost: {_of(report['lost_passages'], 'passage')} of the broken segments {lost}")
    return Report(report, "\n".join(view + [report["reason"]] * config.retrain))


def snapshot(config: SnapshotConfig, terminal: Terminal) -> Report:
    store = Store.open(config.index)
    version = store.read_version(config.version)
    store.snapshot(version, config.output)
    counts = version.counts
    view = f"version {version.number}, {counts['bytes'] / 1e6:,.1f} MB: {config.output}"
    return Report({"output": config.output, "version": version.number} | counts, view)


def restore(config: RestoreConfig, terminal: Terminal) -> Report:
    version = Store.restore(config.snapshot, config.output).read_version()
    counts = version.counts
    view = f"version {version.number}, {counts['passages'] - counts['deleted']:,} passages: {config.output}"
    return Report({"output": config.output, "version": version.number} | counts, view)


def info(config: InfoConfig, terminal: Terminal) -> Report:
    store = Store.open(config.index)
    version = store.read_version(config.version)
    if problems := store.check(version, hashes=config.check):
        shown = "; ".join(map(str, problems[:3]))
        raise CsgenError(f"{config.index}: {len(problems)} files are not what was written: {shown}")
    settings = IndexSettings.of(version, config.index)
    summary = _describe(store, version, settings) | {"checked": config.check}
    return Report(summary, _show_info(summary))


def _find_source(config: AddConfig, options: PlaceOptions) -> VectorSource:
    """Where the vectors of passages to add come from; without a word, from the index's own encoder."""
    if config.vectors:
        return StoredRows(config.vectors)
    settings = IndexSettings.of(Store.open(config.index).read_version(), config.index)
    return encode_with(
        locate_encoder(settings, config.encoder, config.index), config.max_tokens, options.encoder_device
    )


def _place(config: PassageOptions, options: PlaceOptions) -> Place:
    paths = [file.path for file in find_input(config.passages, config.languages, config.metadata).files]
    if config.vectors:
        return find_place(options, guess_writing_s(sum(fingerprint(one)["bytes"] for one in [*paths, config.vectors])))
    return find_place(options, guess_encoding_s(paths))


def _count(report: dict[str, Any]) -> str:
    return f"{_of(report['passages'], 'passage')} in {_of(report['segments'], 'segment')}"


def _of(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'s' * (number != 1)}"


def _tell_left_out(report: dict[str, Any]) -> list[str]:
    """What did not come in, a line each."""
    lines = []
    if report["rejects"]:
        reasons = ", ".join(f"{number:,} x {reason}" for reason, number in report["reasons"].items())
        lines.append(f"{_of(report['rejects'], 'bad passage')} set aside ({reasons}): {report['rejects_file']}")
    if report["duplicates"]:
        lines.append(f"{_of(report['duplicates'], 'passage')} gave way to later ones of the same language and id")
    if report["left_out"]:
        lines.append(f"{_of(report['left_out'], 'passage')} in other languages left out")
    if report["truncated"]:
        lines.append(f"{_of(report['truncated'], 'text')} longer than the encoder reads: vectors are of the beginning")
    if report["ignored_columns"]:
        lines.append(f"columns that were not kept: {', '.join(report['ignored_columns'])}")
    return lines


def _describe(store: Store, version: Version, settings: IndexSettings) -> dict[str, Any]:
    index = Index.open(store.folder, version.number)
    shards: dict[int, dict[str, int]] = {
        number: {"segments": 0, "passages": 0, "deleted": 0} for number in range(settings.sharding.num_shards)
    }
    for entry in version.segments:
        shard = shards[entry.shard]
        shard["segments"] += 1
        shard["passages"] += entry.live
        shard["deleted"] += entry.passages - entry.live
    choice = load_trained(trained_folder(store, version)).choice if version.trained else None
    counts = version.counts
    return {
        "index": str(store.folder),
        "version": version.number,
        "operation": version.operation,
        "versions": store.list_versions(),
        "passages": counts["passages"] - counts["deleted"],
        "deleted": counts["deleted"],
        "segments": counts["segments"],
        "bytes": counts["bytes"],
        "languages": index.count_languages(),
        "fields": {name: str(kind) for name, kind in index.opened.fields.items()},
        "encoder": settings.encoder.model_dump(mode="json") if settings.encoder else None,
        "dim": settings.dim,
        "lexical": settings.lexical,
        "sharding": settings.sharding.model_dump(mode="json"),
        "segment_passages": settings.segment_passages,
        "kind": choice.kind if choice else None,
        "reason": choice.reason if choice else "",
        "shards": list(shards.values()),
    }


def _show_info(summary: dict[str, Any]) -> RenderableType:
    languages = ", ".join(f"{language} {number:,}" for language, number in summary["languages"].items() if number)
    encoder = summary["encoder"]
    made = f"{encoder['path']}, {encoder['max_length']} tokens, {encoder['precision']}" if encoder else "from files"
    rows = {
        "version": f"{summary['version']} ({summary['operation']}); kept are "
        + ", ".join(map(str, summary["versions"])),
        "passages": f"{summary['passages']:,} ({languages or 'none'}), and {summary['deleted']:,} deleted",
        "segments": f"{summary['segments']:,} of {summary['segment_passages']:,} passages at most, "
        f"{summary['bytes'] / 1e6:,.1f} MB",
        "vectors": f"{summary['dim']} dimensions, {made}; {summary['kind']}: {summary['reason']}",
        "words": "yes" if summary["lexical"] else "no lexical part",
        "metadata": ", ".join(f"{name} ({kind})" for name, kind in summary["fields"].items()) or "none",
        "shards": f"{len(summary['shards'])} by {summary['sharding']['by']}",
        "files": "all unaltered" if summary["checked"] else "all there, in their sizes",
    }
    table = Table(box=None, show_header=False)
    table.add_column()
    table.add_column(overflow="fold")
    for name, text in rows.items():
        table.add_row(name, text)
    shards = Table("shard", box=box.SIMPLE_HEAD)
    for name in ("segments", "passages", "deleted"):
        shards.add_column(name, justify="right")
    for number, shard in enumerate(summary["shards"]):
        shards.add_row(str(number), *(f"{shard[name]:,}" for name in ("segments", "passages", "deleted")))
    return Group(table, shards)
