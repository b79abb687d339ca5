"""`csgen unswitch`."""

from cluster.terminal import Report, Terminal
from csgen.unswitch import UnswitchConfig
from csgen.unswitch import unswitch as restore


def unswitch(config: UnswitchConfig, terminal: Terminal) -> Report:
    summary = restore(config)
    return Report(summary | {"output": config.output}, f"{summary['pairs']:,} pairs restored in {config.output}")
