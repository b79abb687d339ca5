"""`csgen claims`: holds finished evaluations against the paper's ten claims, and shows verdicts and goals."""

from rich.console import Group

from cluster.terminal import Report, Terminal
from csgen.files import join
from eval.claims.findings import to_json
from eval.claims.job import PAGE_NAME, ClaimsConfig, report_claims
from eval.reporting.claims_report import to_screen


def claims(config: ClaimsConfig, terminal: Terminal) -> Report:
    report = report_claims(config)
    return Report(to_json(report), Group(to_screen(report), f"report: {join(config.output, PAGE_NAME)}"))
