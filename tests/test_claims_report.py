"""csgen claims from end to end, over what csgen evaluate wrote of a toy collection: what is written, and refused."""

import json

import polars as pl
import pytest
import yaml
from test_page import Outline
from toy_collection import write_collection

from cluster.cli import main
from csgen.errors import InputError
from eval.claims.answer import fill_answer
from eval.claims.evidence import load_evidence
from eval.claims.findings import find_out
from eval.claims.research import list_levels
from eval.claims.rules import CLAIMS
from eval.claims.spec import ClaimsSpec, EvidenceSpec, Place, Roles, read_claims
from eval.reporting.claims_report import list_sections
from eval.results import Results

EXPERIMENT = {
    "name": "toy",
    "settings": {"moir": "all", "clir": "all", "mlir": [{"languages": ["de", "en", "it"]}]},
    "systems": [
        {"name": "BM25", "kind": "bm25"},
        {"name": "oracle", "kind": "oracle"},
        {"name": "random", "kind": "random", "seeds": [1, 2]},
    ],
    "candidates": {"system": "BM25", "pivot": "en"},
    "baseline": "BM25",
}
TOY = EvidenceSpec(name="toy", results="out", roles=Roles())
CLAIMS_FILE = """\
experiments:
  - name: toy
    results: RESULTS
    roles:
      zero_shot: BM25
      ml_cs: random
      bl_cs:
        de-en: random
      translated: oracle
      best: oracle
      alignment: [oracle]
      ratios: {.5: random, 1: oracle}
answer: |
  By {toy | oracle - BM25 | CLIR}, to {toy | oracle | CLIR}; of the gap {toy | share of random}.

  A second part.
"""


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """A finished output of csgen evaluate."""
    folder = tmp_path_factory.mktemp("claims")
    write_collection(folder / "toy")
    path = folder / "experiment.yaml"
    path.write_text(yaml.safe_dump(EXPERIMENT | {"benchmarks": [{"name": "toy", "path": str(folder / "toy")}]}))
    assert main(["evaluate", str(path), "--output", str(folder / "out"), "--workers", "1", "--quiet"]) == 0
    return folder / "out"


@pytest.fixture(scope="module")
def report(results, tmp_path_factory):
    """The report of the claims file below, with an answer that a page must escape."""
    pytest.importorskip("matplotlib")
    folder = tmp_path_factory.mktemp("report")
    (folder / "claims.yaml").write_text(fill(results).replace("A second part", "<b>A second part"))
    assert main(["claims", str(folder / "claims.yaml"), "--output", str(folder / "out"), "--quiet"]) == 0
    return folder / "out"


def fill(results, old="", new=""):
    return CLAIMS_FILE.replace("RESULTS", str(results)).replace(old, new, 1)


@pytest.fixture
def write(results, tmp_path):
    """Writes a claims file with something replaced; its path."""

    def run(old="", new=""):
        path = tmp_path / "claims.yaml"
        path.write_text(fill(results, old, new))
        return str(path)

    return run


@pytest.fixture
def claims(capsys, tmp_path):
    """Runs the command; gives its exit code, standard output and standard error."""

    def run(path, *arguments, output="report"):
        code = main(["claims", path, "--output", str(tmp_path / output), *arguments])
        return code, *capsys.readouterr()

    return run


@pytest.fixture
def evidence(write):
    path = write()
    return load_evidence(read_claims(path).experiments[0], Place(path, 0))


def files_of(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


# What is written.


def test_the_report_is_a_page_a_text_plots_figures_and_a_manifest_of_them(report):
    files = set(files_of(report))
    assert {"claims.md", "claims.html", "claims.json", "manifest.json", "plots/claims-gap.svg"} <= files
    assert set(json.loads((report / "manifest.json").read_text())["files"]) == files - {"manifest.json"}


def test_the_same_input_gives_the_same_bytes_and_the_same_is_printed(report, claims, capsys, tmp_path):
    capsys.readouterr()
    code, output, errors = claims(str(report.parent / "claims.yaml"))
    assert (code, errors) == (0, "")
    assert files_of(tmp_path / "report") == files_of(report)
    assert all(claim.text[:40] in output for claim in CLAIMS)
    assert "share of the CLIR gap that the best closes" in output


def test_programs_get_every_claim_with_its_figures_and_the_papers(report):
    told = json.loads((report / "claims.json").read_text())
    assert [claim["number"] for claim in told["claims"]] == list(range(1, 11))
    gain = told["claims"][0]["experiments"][0]["figures"][0]
    assert (gain["label"], gain["paper"]) == ("ML-CS − zero-shot, CLIR", "+5.1")


def test_the_page_is_well_formed_and_has_each_claim_with_its_rule(report):
    outline = Outline((report / "claims.html").read_text())
    assert all(claim.rule in outline.text and claim.text in outline.text for claim in CLAIMS)
    assert {f"claim-{claim.number}" for claim in CLAIMS} <= {attrs.get("id") for attrs in outline.attributes("h3")}


def test_text_from_outside_is_escaped(report):
    assert "&lt;b&gt;A second part" in (report / "claims.html").read_text()


def test_the_answer_is_quoted_with_its_figures(report):
    text = (report / "claims.md").read_text()
    assert "By +100.0 [+100.0, +100.0], p < .001, to 100.0 [100.0, 100.0]; of the gap 100 % [100 %, 100 %]." in text
    assert "\n\n<b>A second part.\n" in text


def test_without_an_answer_the_report_says_so(evidence):
    pytest.importorskip("matplotlib")
    sections = list_sections(find_out(ClaimsSpec(experiments=(TOY,)), [evidence], "", ""))
    research = next(one for one in sections if one.name == "research")
    assert any(text.startswith("No answer is written yet") for text in research.paragraphs)


# That the figures are the evaluation's.


def test_levels_are_those_of_the_evaluation(evidence, results):
    summary = Results.read(str(results)).summary.filter(measure="RR@10").rows_by_key(["system", "setting"], named=True)
    for key, figure in list_levels(evidence, 1).items():
        row = summary[key][0]
        assert (figure.value, figure.low, figure.high) == pytest.approx(
            (row["value"], row["low"], row["high"]), abs=1e-9
        )


@pytest.mark.parametrize("system", ["oracle", "random"])
def test_differences_and_tests_are_those_of_the_evaluation(evidence, results, system):
    compared = Results.read(str(results)).comparisons.filter(pl.col("cell") == "all", system=system)
    names = {"value": "difference", "low": "low", "high": "high", "p": "p_t", "p_randomisation": "p_randomisation"}
    for row in compared.iter_rows(named=True):
        contrast = evidence.difference(system, "BM25", evidence.where(row["setting"]))
        figure = evidence.estimate([contrast], 1)[0]
        for own, theirs in names.items():
            assert getattr(figure, own) == pytest.approx(row[theirs], abs=1e-9), (row["setting"], own)


# What is refused.


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("zero_shot", "zero_shott", "5: zero_shott: no such key; did you mean zero_shot?"),
        ("ml_cs: random", "ml_cs: randon", "6: roles.ml_cs: "),
        (
            "ml_cs: random",
            "ml_cs: randon",
            "has no system 'randon'; did you mean 'random'? it has BM25, oracle, random",
        ),
        ("de-en: random", "de-en: nothing", "8: roles.bl_cs.de-en: "),
        ("alignment: [oracle]", "alignment: [oracle, x]", "11: roles.alignment.1: "),
        ("    results: RESULTS\n", "", "2: experiments.results: is required and missing"),
        ("    roles:", "    domain: law\n    roles:", "4: experiments.domain: input should be 'in-domain', 'out-of"),
        ("    roles:", "    benchmark: tox\n    roles:", "4: benchmark: "),
        ("ratios: {.5", "ratios: {1.5", "12: experiments.roles.ratios.1.5"),
        (
            "toy | oracle |",
            "tox | oracle |",
            "13: answer: {tox | oracle | CLIR}: no experiment 'tox'; expected one of toy",
        ),
        ("oracle - BM25", "oracle - x", "has no system 'x' with a role; expected one of BM25, random, oracle"),
        ("| CLIR", "| CLIRR", "expected {EXPERIMENT | SYSTEM | SETTING}"),
    ],
)
def test_what_is_wrong_is_said_with_its_line(claims, write, results, old, new, message):
    code, output, errors = claims(write(old.replace("RESULTS", str(results)), new))
    assert (code, output) == (2, "")
    assert message in errors


def test_an_output_that_is_not_finished_is_refused(claims, write, results, tmp_path):
    code, _, errors = claims(write(str(results), str(tmp_path / "nothing")))
    assert code == 2
    assert "claims.yaml:3: " in errors
    assert "not a finished output of csgen; run csgen evaluate EXPERIMENT --output" in errors


def test_an_output_without_the_papers_measure_is_refused(claims, write, results, tmp_path):
    other = json.loads((results / "results.json").read_text()) | {"measures": ["AP"]}
    (tmp_path / "other").mkdir()
    for name in ("manifest.json", "experiment.yaml"):
        (tmp_path / "other" / name).write_bytes((results / name).read_bytes())
    (tmp_path / "other/results.json").write_text(json.dumps(other))
    assert (
        "lacks RR@10, which the claims are about; it has AP" in claims(write(str(results), str(tmp_path / "other")))[2]
    )


def test_the_output_of_another_command_is_not_overwritten(claims, write, results, capsys):
    assert main(["claims", write(), "--output", str(results)]) == 2
    assert "holds an output of csgen evaluate; give another --output" in capsys.readouterr().err


def test_two_experiments_of_one_name_are_refused(tmp_path):
    path = tmp_path / "claims.yaml"
    entry = {"name": "toy", "results": "out", "roles": {}}
    path.write_text(yaml.safe_dump({"experiments": [entry, entry]}))
    with pytest.raises(InputError, match="'toy' stands twice"):
        read_claims(str(path))


def test_an_answer_without_placeholders_stays(evidence):
    assert fill_answer("Nothing is known.", [evidence], 1) == "Nothing is known."


def test_the_carried_claims_file_is_read():
    roles = read_claims("eval/experiments/claims.yaml").experiments[0].roles
    assert (roles.ratios[0.5], roles.bl_cs["ja-fr"]) == ("ML-CS", "BL-CS ja-fr")
