"""The demo, from end to end, on a machine without apt."""

from cluster.cli import main
from csgen.manifest import Manifest


def test_without_apt_the_demo_goes_on_with_the_carried_sample(tmp_path, monkeypatch, capfd):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert main(["demo", "--output", str(tmp_path / "demo")]) == 0
    printed = capfd.readouterr().out
    assert "going on with the small collection" in printed
    assert "all files and a sample of 1 parts are as made" in printed
    assert Manifest.read(str(tmp_path / "demo" / "switched")).counts["pairs"] == 300


def test_a_second_demo_passes_over_what_is_there(tmp_path, capfd):
    for _ in range(2):
        assert main(["demo", "--source", "sample", "--output", str(tmp_path / "demo")]) == 0
    assert "data is there already" in capfd.readouterr().out
