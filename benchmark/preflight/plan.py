"""Print what a study would run, how long it would take, what it needs, and what would stop it (`--dry-run`).

Nothing of the study is trained, downloaded or started, and nothing stays in the run directory. The findings are those
of `doctor`; the times come from short measurements on this machine.
"""

import math
from pathlib import Path

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from benchmark.preflight.calibration import calibrate
from benchmark.preflight.doctor import examine, left_out
from benchmark.preflight.doctor.case import Case
from benchmark.preflight.doctor.finding import Finding, Status, print_in_lines
from benchmark.preflight.stage_times import Plan, StageTime, epoch_seconds, stage_times, total, training_seconds
from benchmark.report.readable import readable_bytes, readable_seconds
from benchmark.report.terminal import print_table
from benchmark.shipped import COMMAND
from benchmark.study.config import BackboneChoice, Study
from benchmark.study.trials import trials_of
from benchmark.trial.costs import disk_bytes

# The checks whose results describe the study, so that they are shown even if nothing is wrong.
FACTS = ("cohort", "test set", "images", "vessels", "weights")
BUSY = 1.3  # a slowdown above which the plan says that other programs use the processors


def print_plan(study: Study, out: Path, cluster: str | None, console: Console, resume: bool = False) -> int:
    """Print trials, images, devices, estimated time and memory, licences, and what `doctor` would find.

    Args:
        resume: whether the run continues the one in `out`; what is complete there takes no time.

    Returns:
        The number of checks that fail: with one, the study cannot run.
    """
    case = Case(study, out, cluster, resume, quick=True)
    folds = f" in each of {study.trainings} folds" if study.splits else ""
    console.print(
        f"[bold]{escape(study.name)}[/]: {len(trials_of(study))} trials{folds}, run directory {escape(str(out))}"
    )
    findings = list(examine(case, console))
    for finding in findings:
        if finding.status is Status.PASS and finding.what in FACTS:
            console.print(f"[bold]{finding.what}[/]: {escape(finding.detail)}")
    if any(finding.what == "cohort" and finding.status is Status.FAIL for finding in findings):
        console.print("No estimate: the cohort has faults.")
    else:
        with console.status("Estimating"):
            pace = calibrate(study, case.cohort, case.machine)
            plan = Plan(study, case.cohort, out, resume, case.machine, pace)
        _print_estimate(plan, case, console)
    console.print(*(_backbone(choice) for choice in study.backbones), sep="\n")
    return _print_verdict(findings, case, console)


def _print_estimate(plan: Plan, case: Case, console: Console) -> None:
    print_table(_trials(plan), console)
    stages = stage_times(plan)
    print_table(_stages(stages), console)
    unknown = "".join(f", without {stage.name}" for stage in stages if math.isnan(stage.seconds))
    machine, disk = plan.machine, sum(disk_bytes(plan.study, plan.sizes, plan.cached).values())
    console.print(
        f"[bold]Total time: about {readable_seconds(total(stages))}{unknown}[/], on {machine.trials} x "
        f"{escape(machine.name)}; less if training stops early. Disk space: {readable_bytes(disk)}."
    )
    if plan.pace.slowdown > BUSY:
        console.print(
            f"Other programs use this machine: without them, work takes 1 / {plan.pace.slowdown:.1f} of these times. "
            "If they continue, the run can take longer still, because Ray's workers give way to other programs."
        )
    if case.address is not None:
        console.print("The time is for this machine's devices; with --cluster, the cluster's devices share the work.")


def _trials(plan: Plan) -> Table:
    table = Table(box=box.SIMPLE_HEAD, collapse_padding=True, pad_edge=False)
    table.add_column("trial", overflow="fold")
    for heading in ("trainable", "memory", "epoch", "training"):
        table.add_column(heading, justify="right", no_wrap=True)
    for trial, cost in plan.costs.items():
        times = (plan.pace.slowdown * seconds(plan, trial) for seconds in (epoch_seconds, training_seconds))
        memory = readable_bytes(cost.memory)
        table.add_row(trial.name, f"{cost.trainable:,}", memory, *map(readable_seconds, times))
    return table


def _stages(stages: list[StageTime]) -> Table:
    table = Table(
        box=box.SIMPLE_HEAD,
        collapse_padding=True,
        pad_edge=False,
        caption="Estimated from one image, one block of each backbone and one map, measured now on this machine.",
    )
    table.add_column("stage")
    table.add_column("work left")
    table.add_column("time", justify="right", no_wrap=True)
    for stage in stages:
        table.add_row(stage.name, stage.work, readable_seconds(stage.seconds))
    return table


def _backbone(choice: BackboneChoice) -> str:
    backbone = choice.open()
    licence = escape(backbone.licence)
    if "non-commercial" in licence:
        licence = f"[yellow]{licence}[/]"
    return f"[bold]{escape(choice.name)}[/]: pre-training: {escape(backbone.pretraining)}; licence: {licence}"


def _print_verdict(findings: list[Finding], case: Case, console: Console) -> int:
    """Print what is wrong, one line each, and what was not checked; return the number of failures."""
    failures = print_in_lines([finding for finding in findings if finding.status is not Status.PASS], console)
    verdict = "The study can run here." if not failures else "The study cannot run until these failures are fixed."
    console.print(f"[bold]{verdict}[/] Only `{COMMAND} doctor` checks {' and '.join(left_out(case))}.")
    return failures
