"""Fixtures that several test files share; what is costly is made once a session."""

import json
import os
import signal
import threading
from importlib.resources import files as package_files
from pathlib import Path

import polars as pl
import pytest

import csgen
from csgen.lexicon.build import LexiconBuildConfig, build_lexicon


def pytest_configure():
    """Numba's cache watches only the file of the cached function: drop what is older than any kernel file."""
    for folder in (Path(csgen.__file__).parent / name for name in ("switching", "lexicon")):
        newest = max(source.stat().st_mtime for source in (Path(csgen.__file__).parent / "switching").glob("*.py"))
        for cached in (folder / "__pycache__").glob("*.nb[ci]"):
            if cached.stat().st_mtime < newest:
                cached.unlink()


_handlers = []


def _forget_sigterm():
    if threading.current_thread() is threading.main_thread():
        _handlers.append(signal.signal(signal.SIGTERM, signal.SIG_DFL))


def _recall_sigterm():
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, _handlers.pop())


# Ray's driver raises SystemExit on SIGTERM; a fork of it that is ended early would go on with the tests.
os.register_at_fork(before=_forget_sigterm, after_in_parent=_recall_sigterm)


@pytest.fixture(name="csgen")
def run_csgen(capsys):
    """Runs a command in this process: gives its exit code, standard output and standard error."""
    from cluster.cli import main

    def run(*arguments):
        code = main([str(argument) for argument in arguments])
        return code, *capsys.readouterr()

    return run


@pytest.fixture(scope="session")
def sample_lexicon(tmp_path_factory):
    """The folder of the lexicon that the package carries, built."""
    folder = str(tmp_path_factory.mktemp("lexicon") / "sample")
    build_lexicon(LexiconBuildConfig(sources=("sample",), output=folder))
    return folder


@pytest.fixture(scope="session")
def sample_rows():
    """60 English pairs as rows: the carried queries, each with the passage of its place."""

    def read(name):
        lines = (package_files("csgen") / "sample" / "en" / name).read_text().splitlines()
        return [json.loads(line) for line in lines]

    return [
        {"query_id": q["_id"], "query": q["text"], "passage_id": p["_id"], "passage": p["text"], "label": 1}
        for q, p in zip(read("queries.jsonl"), read("passages.jsonl"), strict=True)
    ]


@pytest.fixture(scope="session")
def sample_pairs(sample_rows, tmp_path_factory):
    """The same as a Parquet file."""
    path = tmp_path_factory.mktemp("pairs") / "pairs.parquet"
    pl.DataFrame(sample_rows, schema_overrides={"label": pl.Int8}).write_parquet(path)
    return str(path)


@pytest.fixture(scope="session")
def ray_session():
    """A real local Ray of 2 CPUs; whoever connects while it runs gets this one."""
    import ray

    from cluster.connection import connect

    connect(workers=2)
    yield
    ray.shutdown()
