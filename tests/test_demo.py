"""The demo, from end to end, on a machine without apt."""

import re

import pytest

from cluster.cli import main
from csgen.manifest import Manifest
from indexing.index.index import Index


@pytest.fixture(scope="module")
def demo(tmp_path_factory, request):
    """The folder of a demo that found no apt, and what it printed."""
    folder = tmp_path_factory.mktemp("demo")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", str(folder))
        capture = request.getfixturevalue("capture_all")
        code, printed = capture(["demo", "--output", str(folder / "demo"), "--steps", "2"])
    assert code == 0
    return folder / "demo", printed


@pytest.fixture(scope="module")
def capture_all(tmp_path_factory):
    """Runs csgen in this process and gives its status and what it wrote to standard output."""
    import contextlib
    import io

    def run(arguments):
        written = io.StringIO()
        with contextlib.redirect_stdout(written):
            code = main(arguments)
        return code, written.getvalue()

    return run


def test_without_apt_the_demo_goes_on_with_the_carried_sample(demo):
    folder, printed = demo
    assert "going on with the small collection" in printed
    assert Manifest.read(str(folder / "switched")).counts["pairs"] == 300


def test_the_demo_verifies_what_it_switched(demo):
    assert "all files and a sample of 1 parts are as made" in demo[1]


def test_the_demo_fine_tunes_the_carried_base_on_english_and_on_switched_pairs(demo):
    folder, _ = demo
    manifests = [Manifest.read(str(folder / name)) for name in ("english", "mixed")]
    assert [one.config["model"] for one in manifests] == ["csgen-base"] * 2
    assert [bool(one.config["policy"]) for one in manifests] == [False, True]


def test_the_demo_measures_both_in_all_settings(demo):
    folder, printed = demo
    assert (folder / "results" / "report.html").is_file()
    assert all(setting in printed for setting in ("MoIR", "CLIR", "MLIR"))
    assert re.search(r"on switched pairs +\d+\.\d", printed)


def test_the_demo_searches_its_index_across_languages(demo):
    folder, printed = demo
    assert "30 French queries searched in the index's English passages" in printed
    assert Index.open(folder / "index-mixed").count_languages()["ja"] == 60


def test_the_demo_shows_a_search_in_all_languages(demo):
    assert re.search(r"\$ csgen index search \S+/index-mixed '.+' --least-hits each=1", demo[1])


def test_a_second_demo_passes_over_what_is_there(demo, capture_all):
    folder, _ = demo
    code, printed = capture_all(["demo", "--output", str(folder), "--steps", "2", "--source", "sample"])
    assert code == 0
    assert "mixed is there already" in printed
