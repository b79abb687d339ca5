"""`csgen verify`."""

from cluster.terminal import Report, Terminal
from csgen.errors import CsgenError
from csgen.verify import VerifyConfig
from csgen.verify import verify as find_differences


def verify(config: VerifyConfig, terminal: Terminal) -> Report:
    """Raises CsgenError where a part differs, so that scripts see it by the exit code."""
    differences = find_differences(config)
    if differences:
        named = "; ".join(f"{part.name}: {part.reason}" for part in differences)
        raise CsgenError(f"{config.folder}: {len(differences)} of its files differ: {named}")
    which = "all parts" if config.sample is None else f"a sample of {config.sample} parts"
    return Report({"folder": config.folder, "differences": []}, f"{config.folder}: all files and {which} are as made")
