"""The experiment file: what is accepted, and what is said of what is not, with its line."""

import pytest

from csgen.errors import InputError
from eval.experiment import locate, read_experiment

GOOD = """\
name: toy
benchmarks:
  - name: toy
    path: toy
settings:
  moir: all
  clir: [de-en]
  mlir:
    - languages: [de, en]
systems:
  - name: bm25
    kind: bm25
  - name: best
    kind: oracle
candidates:
  system: bm25
baseline: bm25
"""


@pytest.fixture
def read(tmp_path):
    def run(text):
        path = tmp_path / "experiment.yaml"
        path.write_text(text)
        return read_experiment(str(path))

    return run


def test_a_whole_experiment(read):
    experiment = read(GOOD)
    assert (experiment.measures, experiment.depth) == (("RR@10", "nDCG@10", "R@100", "AP"), 100)
    assert [one.kind for one in experiment.systems] == ["bm25", "oracle"]
    assert experiment.settings.mlir[0].label == "2"


def test_a_set_of_languages_may_be_named(read):
    spec = read(GOOD.replace("languages: [de, en]", "languages: paper-6")).settings.mlir[0]
    assert spec.languages == ("en", "de", "it", "nl", "ru", "ar")


def test_a_seeded_system_has_one_run_a_seed(read):
    text = GOOD.replace("kind: oracle", "kind: random\n    seeds: [3, 4]")
    assert read(text).system("best").all_seeds == (3, 4)


def test_a_system_may_have_candidates_of_its_own(read):
    text = GOOD.replace("candidates:\n  system: bm25\n", "")
    experiment = read(text.replace("kind: oracle", "kind: oracle\n    candidates: {system: bm25}"))
    assert experiment.candidates_of(experiment.system("best")).system == "bm25"


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("baseline: bm25", "basline: bm25", "17: basline: no such key; did you mean baseline?"),
        ("kind: bm25", "kind: bm25\n    k11: 2", "13: k11: no such key; did you mean k1?"),
        ("kind: bm25", "kind: bm52", "11: systems: kind must be one of 'bm25', 'translated-bm25'"),
        (
            "kind: bm25",
            "kind: bm25\n    b: 1.5",
            "13: systems.bm25.b: input should be less than or equal to 1, got 1.5",
        ),
        ("    path: toy\n", "", "3: benchmarks.path: is required and missing"),
        ("baseline: bm25", "baseline: bm42", "baseline: 'bm42' is not among the systems bm25, best"),
        ("  system: bm25", "  system: best", "candidates: 'best' itself reorders candidates"),
        ("candidates:\n  system: bm25\n", "", "candidates: best reorders candidates, and none are given"),
        ("kind: oracle", "kind: oracle\n    candidates: {system: bm42}", "candidates: 'bm42' is not among the systems"),
        ("name: best", "name: bm25", "systems: 'bm25' stands twice; give each its own name"),
        ("[de, en]", "[de, de]", "9: mlir: de, de names a language twice"),
        ("[de, en]", "paper-7", "9: mlir: no set of languages 'paper-7'; expected a list, or paper-6 or paper-14"),
        ("name: bm25\n", "name: ../bm25\n", "11: systems.bm25.name: string should match pattern"),
        (
            "  moir: all\n  clir: [de-en]\n  mlir:\n    - languages: [de, en]\n",
            "  moir: []\n",
            "none of moir, clir, mlir",
        ),
    ],
)
def test_what_is_wrong_is_said_with_its_line(read, old, new, message, tmp_path):
    with pytest.raises(InputError) as raised:
        read(GOOD.replace(old, new))
    assert message in str(raised.value)
    assert str(raised.value).startswith(str(tmp_path / "experiment.yaml"))


def test_a_run_path_with_an_unknown_placeholder_is_refused(read):
    text = GOOD.replace("kind: oracle", "kind: run\n    path: runs/{cel}.run")
    with pytest.raises(InputError, match=r"path: 'runs/\{cel\}.run' may hold \{benchmark\} \{setting\} \{cell\}"):
        read(text)


def test_a_file_that_is_no_yaml_is_named(read):
    with pytest.raises(InputError, match=r"experiment\.yaml: not YAML: "):
        read("name: [")


def test_the_deepest_key_that_stands_in_the_file_gives_the_line(tmp_path):
    path = tmp_path / "x.yaml"
    path.write_text(GOOD)
    assert locate(str(path), ("systems", 1, "oracle", "nothing")) == 13
    assert locate(str(path), ("nowhere",)) is None
