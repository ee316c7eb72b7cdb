"""Find what would stop a study from running or make it slow (`doctor`). No trial runs, and nothing stays in --out.

Every check is a function that returns its findings; `CHECKS` lists them. Nothing is downloaded; the hub is only asked.
`--dry-run` makes the same checks, except for `LEFT_OUT`.
"""

from collections.abc import Callable, Iterator
from pathlib import Path

from rich.console import Console
from rich.markup import escape

from benchmark.errors import UserError
from benchmark.preflight.doctor.case import Case
from benchmark.preflight.doctor.checkpoints import check_token, check_weights
from benchmark.preflight.doctor.data import check_cohort, check_images, check_test_set, check_vessels
from benchmark.preflight.doctor.external import check_external
from benchmark.preflight.doctor.finding import Finding, Status, print_findings
from benchmark.preflight.doctor.machine import (
    check_device,
    check_disk,
    check_free_memory,
    check_memory,
    check_open_files,
    check_ray,
    check_run_directory,
    check_shared_memory,
    check_temporary_folder,
)
from benchmark.preflight.doctor.software import check_packages, check_python
from benchmark.preflight.scratch import scratch_folder
from benchmark.report.progress import screen_apart_from
from benchmark.study.config import Study
from benchmark.study.trials import trials_of

CHECKS: dict[str, Callable[[Case], list[Finding]]] = {
    "Python": check_python,
    "packages": check_packages,
    "device": check_device,
    "Ray": check_ray,
    "temporary files": check_temporary_folder,
    "memory in use": check_free_memory,
    "open files": check_open_files,
    "shared memory": check_shared_memory,
    "cohort": check_cohort,
    "test set": check_test_set,
    "images": check_images,
    "external": check_external,
    "vessels": check_vessels,
    "memory": check_memory,
    "run directory": check_run_directory,
    "disk": check_disk,
    "weights": check_weights,
    "hub token": check_token,
}
# What takes long, and is therefore left to `doctor`.
LEFT_OUT = ("whether Ray starts", "whether the model hub lets you download weights that are not here yet")
# The checks of a cluster, which has to be joined first.
_OF_CLUSTER = {
    "Ray": "whether the cluster can be joined and has what a trial requests",
    "memory": "the memory of the cluster's GPUs",
}


def diagnose(study: Study, out: Path, cluster: str | None, resume: bool = False) -> int:
    """Print the findings as they are made; return the number of failures."""
    with scratch_folder() as scratch, screen_apart_from(scratch / "doctor.log") as console:
        console.print(
            f"[bold]{escape(study.name)}[/]: {len(trials_of(study))} trials, run directory {escape(str(out))}"
        )
        findings = examine(Case(study, out, cluster, resume), console)
        return print_findings(findings, console, width=max(map(len, CHECKS)))


def examine(case: Case, console: Console) -> Iterator[Finding]:
    """Yield the findings of every check; a check that raises an error is reported as a failure."""
    for name, check in CHECKS.items():
        if case.quick and case.address is not None and name in _OF_CLUSTER:
            continue
        with console.status(f"Checking {name}"):
            try:
                findings = check(case)
            except UserError as error:  # reported by the check it belongs to
                findings = [Finding(Status.WARN, name, f"not checked: {str(error).splitlines()[0]}")]
            except Exception as error:
                reason = f"the check itself failed: {type(error).__name__}: {error}"
                findings = [Finding(Status.FAIL, name, reason, "please report it with this line")]
        yield from findings


def left_out(case: Case) -> list[str]:
    """What is not checked with `Case.quick`."""
    if case.address is None:
        return list(LEFT_OUT)
    return [*_OF_CLUSTER.values(), *LEFT_OUT[1:]]
