"""The machine's own apt, without root: fetches the indexes of its package sources into a folder of ours and reads them.

Knows apt's commands and its indexes' names; not what they hold.
"""

import functools
import logging
import os
import re
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from csgen.errors import CsgenError, InputError

INSTEAD = "csgen fetch sample needs neither apt nor a network"

log = logging.getLogger(__name__)

# Read after the machine's own settings: its hooks, which may want root, and its larger indexes are left out.
_SETTINGS = """\
#clear APT::Update::Pre-Invoke;
#clear APT::Update::Post-Invoke;
#clear APT::Update::Post-Invoke-Success;
#clear Acquire::IndexTargets::deb-src;
#clear Acquire::IndexTargets::deb::Contents-deb;
#clear Acquire::IndexTargets::deb::DEP-11;
#clear Acquire::IndexTargets::deb::DEP-11-icons;
#clear Acquire::IndexTargets::deb::DEP-11-icons-small;
#clear Acquire::IndexTargets::deb::DEP-11-icons-large;
#clear Acquire::IndexTargets::deb::DEP-11-icons-hidpi;
#clear Acquire::IndexTargets::deb::CNF;
#clear Acquire::Languages;
Acquire::Languages {{ {languages} }};
APT::Get::List-Cleanup "false";
APT::Sandbox::User "root";
Dir::State::Lists "{folder}/lists";
Dir::Cache "{folder}/cache";
Dir::Cache::pkgcache "";
Dir::Cache::srcpkgcache "";
"""


@dataclass(frozen=True)
class AptIndex:
    """One index that apt has fetched: a list of packages, or of their descriptions in one language."""

    kind: str  # "Packages" or "Translations"
    release: str  # "Debian bookworm"
    version: str  # "12.15"; "" where the release gives none
    name: str  # "main/i18n/Translation-de"
    language: str  # as apt writes it: "pt_BR"; "" for Packages
    path: str


def fetch_indexes(languages: Sequence[str], folder: str) -> list[AptIndex]:
    """Bring `folder` up to date with the machine's package sources and list its indexes, by release and name.

    `languages` are apt's codes. A source that cannot be reached is left out, or stands as it was fetched before, with a
    warning; without any descriptions the error is apt's own.
    """
    if shutil.which("apt-get") is None:
        raise InputError(f"this machine has no apt-get to fetch package descriptions with; {INSTEAD}")
    config = _write_settings(languages, Path(folder).absolute())
    update = _run(["apt-get", "-q", "-c", config, "update"])
    complaints = re.findall(r"^[EW]: (?!Some index files failed)(.+)$", update.stderr, re.M)
    for complaint in complaints:
        if "/lists/lock" in complaint:
            raise CsgenError(f"another fetch is at work in {folder}: {complaint}; wait for it, or give another --cache")
        log.warning("apt-get update: %s", complaint)
    indexes = _list_indexes(config)
    if not any(index.kind == "Translations" for index in indexes):
        reason = complaints[-1] if complaints else "the machine's package sources offer no descriptions"
        raise CsgenError(f"apt-get update brought no package descriptions: {reason}; {INSTEAD}")
    return indexes


def offered_languages(folder: str) -> list[str]:
    """apt's codes of the languages in which the fetched releases offer descriptions."""
    releases = [path.read_text(errors="replace") for path in Path(folder, "lists").glob("*Release")]
    return sorted({code for text in releases for code in re.findall(r"/i18n/Translation-(\w+)(?:\.\w+)?$", text, re.M)})


def read_index(index: AptIndex) -> str:
    """The index's text; bytes that are not UTF-8 become U+FFFD."""
    done = subprocess.run([_find_helper(), "cat-file", index.path], capture_output=True, check=False)
    if done.returncode:
        raise CsgenError(f"{index.path}: apt cannot read it: {done.stderr.decode(errors='replace').strip()}")
    return done.stdout.decode(errors="replace")


@functools.cache
def _find_helper() -> str:
    # apt keeps it in its own library folder, out of PATH.
    helper = shutil.which("apt-helper", path=os.pathsep.join(["/usr/lib/apt", "/usr/libexec/apt", os.environ["PATH"]]))
    if helper is None:
        raise InputError(f"this machine's apt has no apt-helper to read its indexes with; {INSTEAD}")
    return helper


def _write_settings(languages: Sequence[str], folder: Path) -> str:
    config = folder / "apt.conf"
    try:
        for name in ("lists/partial", "cache/archives/partial"):
            (folder / name).mkdir(parents=True, exist_ok=True)
        listed = " ".join(f'"{language}";' for language in languages)
        config.write_text(_SETTINGS.format(languages=listed, folder=folder))
    except OSError as error:
        raise CsgenError(f"{folder}: cannot be written, give another --cache: {error.strerror or error}") from error
    return str(config)


def _list_indexes(config: str) -> list[AptIndex]:
    fields = ("CREATED_BY", "ORIGIN", "CODENAME", "VERSION", "METAKEY", "LANGUAGE", "FILENAME")
    form = "\t".join(f"$({field})" for field in fields)
    listed = _run(["apt-get", "-c", config, "indextargets", "--format", form])
    if listed.returncode:
        raise CsgenError(f"apt-get indextargets failed: {listed.stderr.strip()}; {INSTEAD}")
    # apt leaves a field that the index lacks as it is written: "$(VERSION)".
    rows = [
        ["" if value.startswith("$(") else value for value in line.split("\t")] for line in listed.stdout.splitlines()
    ]
    indexes = [
        AptIndex(kind, f"{origin} {codename}".strip(), version, name, language, path)
        for kind, origin, codename, version, name, language, path in rows
        if kind in ("Packages", "Translations")
    ]
    return sorted(indexes, key=lambda index: (index.release, index.name, index.path))


def _run(command: list[str]) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"LC_ALL": "C"}
    return subprocess.run(command, env=environment, capture_output=True, text=True, errors="replace", check=False)
