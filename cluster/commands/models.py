"""`csgen models` and `csgen pack`: the carried models, and a trained one made small."""

from rich import box
from rich.table import Table

from cluster.packing import PackConfig
from cluster.packing import pack as pack_model
from cluster.terminal import Report, Terminal
from csgen.config import StageConfig
from indexing.models.carried import list_carried


class ModelsConfig(StageConfig):
    """Options of `csgen models`: none of its own."""


def models(config: ModelsConfig, terminal: Terminal) -> Report:
    found = list_carried()
    table = Table("name", "kind", box=box.SIMPLE_HEAD)
    table.add_column("size", justify="right")
    table.add_column("languages")
    table.add_column("folder", overflow="fold")
    for one in found:
        table.add_row(one.name, one.kind, f"{one.bytes / 1e6:.1f} MB", " ".join(one.languages), one.folder)
    summary = [
        {"name": one.name, "kind": one.kind, "folder": one.folder, "bytes": one.bytes, "languages": list(one.languages)}
        for one in found
    ]
    return Report(summary, table if found else "none is carried in this version")


def pack(config: PackConfig, terminal: Terminal) -> Report:
    manifest = pack_model(config)
    size = sum(file["bytes"] for file in manifest.files.values())
    summary = {"output": config.output, "bytes": size} | manifest.counts
    return Report(summary, f"{manifest.counts['parameters']:,} parameters, {size / 1e6:.1f} MB: {config.output}")
