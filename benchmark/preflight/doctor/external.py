"""Check the external cohorts of a study."""

from benchmark.errors import UserError
from benchmark.preflight.adequacy import adequacy
from benchmark.preflight.doctor.case import Case
from benchmark.preflight.doctor.finding import Finding, Status
from benchmark.stages.validate import remarks_on, require_external
from benchmark.study.config import External
from benchmark.study.patients import counted


def check_external(case: Case) -> list[Finding]:
    """Whether the models can be applied to each external cohort, and how precise the result can be."""
    return [finding for external in case.study.external for finding in _check(case, external)]


def _check(case: Case, external: External) -> list[Finding]:
    known = case.cohort["patient_id"] if case.study.cohort.synthetic is None else ()
    try:
        cohort = require_external(case.study, external, known)
    except UserError as error:
        lines = str(error).splitlines()
        return [Finding(Status.FAIL, "external", f"{external.name}: {line}") for line in lines]
    if cohort is None:
        return [Finding(Status.PASS, "external", f"{external.name}: drawn when the study runs")]
    images = cohort.images
    findings = [Finding(Status.PASS, "external", f"{external.name}: images {counted(images)}")]
    found = adequacy(images, case.study.statistics.confidence)
    if found is not None:
        fix = "add patients of this cohort: a fall of the AUC will hardly be detected" if found.wide else ""
        status = Status.WARN if fix else Status.PASS
        findings.append(Finding(status, "external", f"{external.name}: {found.discrimination}", fix))
    return findings + [Finding(Status.PASS, "external", line) for line in remarks_on(external, cohort)]
