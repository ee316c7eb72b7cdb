"""External validation: the trained trials of a run on a cohort of other patients, where nothing is fitted."""

from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from pathlib import Path

from rich.markup import escape

from benchmark.analysis.leaderboard import Leaderboard
from benchmark.errors import UserError
from benchmark.report.progress import Reporter, screen_apart_from
from benchmark.scheduling.cluster import connect
from benchmark.stages.apply import apply
from benchmark.stages.attend import attend
from benchmark.stages.cohorts import write_cohorts
from benchmark.stages.control import control
from benchmark.stages.embed import embed
from benchmark.stages.explain import explain
from benchmark.stages.prepare import prepare
from benchmark.stages.report import report
from benchmark.stages.run import Run, refuse_to_wait, with_gpus
from benchmark.stages.segment import open_vessels, require_own_masks, segment
from benchmark.stages.weights import weights
from benchmark.storage.rundir import RunDirectory, write_json
from benchmark.storage.start import end_in_order, started
from benchmark.study.cohort import open_cohort
from benchmark.study.config import External, Study
from benchmark.study.manifest import Manifest
from benchmark.study.overlap import refuse_known_patients
from benchmark.study.trials import Trial, trials_of
from benchmark.tables import read_parquet
from benchmark.trial.weight_files import read_records

STAGES = (weights, prepare, segment, embed, apply, attend, explain, control)


def require_external(study: Study, external: External, known: Iterable[str]) -> Manifest | None:
    """Check an external cohort before anything runs, and return it; None if it is drawn later.

    Args:
        study: the study whose trials are to be applied.
        known: the patient ids of its own cohort.

    Raises:
        UserError: a fault of the cohort, a patient of the study's own cohort, or no masks.
    """
    applied = external.study(study)
    source = open_vessels(applied)
    manifest = applied.cohort.manifest
    if manifest is None:
        return None
    cohort = open_cohort(applied, manifest, external=True)
    cohort.refuse_conflicts()
    refuse_known_patients(external.name, cohort.images["patient_id"], known)
    require_own_masks(source, cohort.images)
    return cohort


def remarks_on(external: External, cohort: Manifest | None) -> list[str]:
    """What a user should know about an external cohort before a run, one line each."""
    return [] if cohort is None else [f"{external.name}: {line}" for line in cohort.remarks()]


def validate(run: Run, external: External, directory: RunDirectory) -> Leaderboard:
    """Apply the trained trials of a run to an external cohort and report it.

    Args:
        run: the run, whose training is complete.
        directory: where the results go; what is complete there is kept.
    """
    study = external.study(run.study)
    directory.claim(study.dump(), resume=directory.study.is_file())
    directory.apply(run.directory, external.recalibrate)
    directory.remove_drafts()
    write_json(directory.weights, read_records(run.directory))
    chosen = trained(run.directory, run.all_trials())
    for trial in chosen:
        directory.trial(trial).failure.unlink(missing_ok=True)
    stages = [stage for stage in STAGES if stage is not attend or study.patients.attention]
    names = [stage.__name__ for stage in (*stages, report)]
    run.reporter.console.print(f"External cohort [bold]{escape(external.name)}[/]")
    applied = Run(study, directory, run.cluster, Reporter(run.reporter.console, names), chosen)
    for stage in stages:
        stage(applied)
    leaderboard = report(applied)
    applied.reporter.finish()
    return leaderboard


def trained(directory: RunDirectory, trials: Sequence[Trial]) -> list[Trial]:
    """The trials that can be applied."""
    return [trial for trial in trials if directory.trial(trial).is_trained and not directory.trial(trial).has_failed]


def validate_run(
    source: Path,
    study: Study,
    external: External,
    out: Path | None,
    *,
    cluster: str | None = None,
    resume: bool = False,
) -> tuple[Leaderboard, RunDirectory]:
    """Validate a finished run on an external cohort, with Ray; returns the results and their folder.

    Args:
        source: the run directory.
        study: its study.
        out: the folder to write; by default `external/<name>/` of the run directory.
        cluster: address of a running Ray cluster (`auto` finds one on this machine); None starts Ray here.
        resume: continue in a folder that has results already.

    Raises:
        benchmark.errors.UserError: a problem with the input or the environment that the user can fix.
        KeyboardInterrupt: Ctrl-C, SIGTERM or SIGHUP.
    """
    run = RunDirectory(source)
    if not run.cohort.is_file() or not trained(run, trials_of(study)):
        raise UserError(f"{source}: none of its trials is trained; finish the run with --resume")
    if run.is_external:
        raise UserError(f"{source}: is itself an external validation; name the run that trained the models")
    directory = run.external(external.name) if out is None else RunDirectory(out)
    remarks = remarks_on(external, require_external(study, external, read_parquet(run.cohort)["patient_id"]))
    applied = external.study(study)
    with (
        started(directory, applied.dump(), resume),
        screen_apart_from(directory.log) as console,
        ExitStack() as ray,
    ):
        with console.status("Starting Ray" if cluster is None else "Connecting to Ray"):
            connected = ray.enter_context(connect(cluster, log_file=directory.log))
        end_in_order()
        refuse_to_wait(study.resources, connected)
        for remark in remarks:
            console.print(escape(remark))
        whole = Run(with_gpus(study, connected), run, connected, Reporter(console, []))
        leaderboard = validate(whole, external, directory)
        page = write_cohorts(study, run)
        if page is not None:
            console.print(f"All external cohorts: [bold]{escape(str(page))}", soft_wrap=True)
    return leaderboard, directory
