"""`csgen fetch`."""

from rich import box
from rich.table import Table

from cluster.terminal import Report, Terminal
from csgen.sources.fetch import FetchConfig
from csgen.sources.fetch import fetch as fetch_source


def fetch(config: FetchConfig, terminal: Terminal) -> Report:
    summary = fetch_source(config)
    table = Table("what", "of", box=box.SIMPLE_HEAD, caption=f"in {summary.output}", caption_justify="left")
    table.add_column("number", justify="right")
    for what, key, count in summary.rows():
        table.add_row(what, key, f"{count:,}")
    return Report(summary.model_dump(mode="json"), table)
