"""The stage `csgen claims`: reads outputs of csgen evaluate, and writes what they say of the paper's claims."""

import json

from pydantic import Field

from csgen.config import StageConfig
from csgen.errors import InputError
from csgen.files import exists, hash_file, join, open_input, replace_file
from csgen.manifest import MANIFEST_NAME, Manifest, describe_files
from eval.claims.answer import fill_answer
from eval.claims.evidence import load_evidence
from eval.claims.findings import Report, count_verdicts, find_out, to_json
from eval.claims.spec import ClaimsSpec, Place, read_claims
from eval.experiment import locate
from eval.reporting.claims_report import list_sections, to_document, to_page
from eval.reporting.plots import read_images

STAGE = "claims"
JSON_NAME, DOCUMENT_NAME, PAGE_NAME = "claims.json", "claims.md", "claims.html"


class ClaimsConfig(StageConfig):
    """Options of `csgen claims`."""

    claims: str = Field(
        min_length=1,
        description="YAML file: finished outputs of csgen evaluate, and which of their systems is what "
        "(docs/evaluation.md tells its keys)",
    )
    output: str = Field(min_length=1, description="folder to write the report to; may be a URI")


def report_claims(config: ClaimsConfig) -> Report:
    """Write `claims.json`, `plots/`, `claims.md`, `claims.html` and last the manifest."""
    _refuse_other(config.output)
    spec = read_claims(config.claims)
    outputs = [load_evidence(one, Place(config.claims, k)) for k, one in enumerate(spec.experiments)]
    with open_input(config.claims) as stream:
        source = stream.read().decode()
    try:
        answer = fill_answer(spec.answer, outputs, spec.seed)
    except InputError as error:
        raise InputError.at(config.claims, locate(config.claims, ("answer",)), str(error)) from error
    report = find_out(spec, outputs, answer, source)
    write_report(report, spec, config.output)
    return report


def write_report(report: Report, spec: ClaimsSpec, folder: str) -> None:
    """Equal reports give equal bytes."""
    from csgen.plots import write_plots  # brings numba along, which takes its time

    sections = list_sections(report)
    plots = [plot for section in sections for plot in section.plots]
    paths = write_plots({plot.name: plot.figure for plot in plots}, join(folder, "plots"))
    texts = {
        JSON_NAME: json.dumps(to_json(report), ensure_ascii=False, indent=1) + "\n",
        DOCUMENT_NAME: to_document(report, sections),
        PAGE_NAME: to_page(report, sections, read_images(plots, join(folder, "plots"))),
    }
    for name, text in texts.items():
        with replace_file(join(folder, name)) as stream:
            stream.write(text.encode())
    Manifest(
        stage=STAGE,
        config=spec.model_dump(mode="json"),
        inputs={one.results: hash_file(join(one.results, MANIFEST_NAME)) for one in spec.experiments},
        counts=count_verdicts(report),
        files=describe_files(folder, [*texts, *(path.removeprefix(folder).lstrip("/") for path in paths)]),
    ).write(folder)


def _refuse_other(folder: str) -> None:
    """A report is written anew over an older one, and over nothing else."""
    if exists(join(folder, MANIFEST_NAME)) and (stage := Manifest.read(folder).stage) != STAGE:
        raise InputError(f"{folder}: holds an output of csgen {stage}; give another --output")
