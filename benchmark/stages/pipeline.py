"""The whole study: its stages, one after another."""

from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

from rich.markup import escape

from benchmark.analysis.cross_validation import CrossValidation
from benchmark.analysis.leaderboard import Leaderboard
from benchmark.report.progress import Reporter, screen_apart_from
from benchmark.report.tracking import require_tracking
from benchmark.scheduling.cluster import connect
from benchmark.stages.attend import attend
from benchmark.stages.cohorts import write_cohorts
from benchmark.stages.control import control
from benchmark.stages.embed import embed
from benchmark.stages.explain import explain
from benchmark.stages.folds import run_folds
from benchmark.stages.prepare import prepare
from benchmark.stages.report import report
from benchmark.stages.report_folds import report_folds
from benchmark.stages.run import Run, refuse_to_wait, reported, with_gpus
from benchmark.stages.search import search
from benchmark.stages.segment import open_vessels, require_own_masks, segment
from benchmark.stages.train import train
from benchmark.stages.validate import remarks_on, require_external, validate
from benchmark.stages.weights import weights
from benchmark.storage.rundir import RunDirectory
from benchmark.storage.start import end_in_order, started
from benchmark.study.cohort import open_cohort
from benchmark.study.config import Cohort, Folds, Study
from benchmark.study.folds import folds_of, sizes_of_fold
from benchmark.study.manifest import SPLITS
from benchmark.study.splits import of_split
from benchmark.study.trials import joined, trials_of
from benchmark.trial.costs import cached_blocks
from benchmark.trial.durations import Durations, durations


def run_study(
    study: Study, out: Path, *, cluster: str | None = None, resume: bool = False, report_only_these: bool = False
) -> Leaderboard | CrossValidation:
    """Run or resume a study and return its leaderboard, or with folds the means over them.

    Trials that failed before are tried again.

    A resumed run may name fewer backbones, strategies or seeds than before. Then it works on these alone, and the
    report has every trial that was finished or failed earlier as well.

    Args:
        out: the run directory; on a cluster, on a file system that every node mounts under the same path.
        cluster: address of a running Ray cluster (`auto` finds one on this machine); None starts Ray here.
        report_only_these: leave earlier trials that `study` does not name out of the report; their files stay.

    Raises:
        benchmark.errors.UserError: a problem with the input or the environment that the user can fix.
        KeyboardInterrupt: Ctrl-C, SIGTERM or SIGHUP.
    """
    # Report what is missing or faulty before anything is started or written.
    source = open_vessels(study)
    require_tracking(study)
    remarks, sizes = [], expected_sizes(study.cohort, study.splits)
    known: list[str] = []
    if study.cohort.manifest is not None:
        cohort = open_cohort(study, study.cohort.manifest)
        cohort.refuse_conflicts()
        require_own_masks(source, cohort.images)
        remarks = cohort.remarks()
        known = cohort.images["patient_id"].to_list()
        sizes = {split: of_split(cohort.images, split).height for split in SPLITS}
        if study.splits is not None:
            sizes = sizes_of_fold(len(cohort.images), study.splits, study.cohort.shares)
    for external in study.external:
        remarks += remarks_on(external, require_external(study, external, known))
    directory = RunDirectory(out)
    with (
        started(directory, study.dump(), resume),
        screen_apart_from(directory.log) as console,
        ExitStack() as ray,
    ):
        with console.status("Starting Ray" if cluster is None else "Connecting to Ray"):
            connected = ray.enter_context(connect(cluster, log_file=directory.log))
        end_in_order()
        refuse_to_wait(study.resources, connected)
        earlier = None if report_only_these else directory.earlier_study()
        whole = study if earlier is None else joined(earlier, study)
        directory.claim(whole.dump(), resume)  # only now: a start that fails leaves nothing in the folder
        directory.remove_drafts()
        for trial in trials_of(study):
            directory.trial(trial).failure.unlink(missing_ok=True)
        for remark in remarks:
            console.print(escape(remark))
        # One stage at a time: Ray Data would wait forever while Ray Tune holds every CPU.
        searching = (search,) if study.search else ()
        attending = (attend,) if study.patients.attention else ()
        once, each = (weights, prepare, segment, embed), (*searching, train, *attending, explain, control)
        study, whole = with_gpus(study, connected), with_gpus(whole, connected)
        names = [stage.__name__ for stage in (*once, *each, report)]
        run = Run(study, directory, connected, Reporter(console, names))
        with console.status("Estimating"):
            planned = _durations(run, sizes)
        run = replace(run, durations=planned, reporter=Reporter(console, names, planned.stages))
        for stage in once:
            stage(run)
        if study.splits is not None:
            folds = run_folds(run, whole, each)
            chosen = reported(whole, study, *(directory.fold(fold.name) for fold in folds))
            board: Leaderboard | CrossValidation = report_folds(replace(run, study=whole, chosen=chosen), folds)
            run.reporter.finish()
            return board
        for stage in each:
            stage(run)
        complete = replace(run, study=whole, chosen=reported(whole, study, directory))
        board = report(complete)
        run.reporter.finish()
        for external in study.external:
            validate(complete, external, directory.external(external.name))
        write_cohorts(whole, directory)
        return board


def expected_sizes(cohort: Cohort, splits: Folds | None = None) -> dict[str, int]:
    """The number of images in each split, about, before they are drawn; with folds, in those of one fold."""
    images = 2 * (cohort.synthetic.patients if cohort.synthetic else 0)
    if splits is not None:
        return sizes_of_fold(images, splits, cohort.shares)
    return {split: round(images * getattr(cohort.shares, split)) for split in SPLITS}


def _durations(run: Run, sizes: dict[str, int]) -> Durations:
    cached = cached_blocks(run.study, sizes, run.directory.path)
    found = durations(
        run.study,
        run.all_trials(),
        sizes,
        cached,
        cpus=run.cluster.cpus,
        at_once=run.actors(),
    )
    if run.study.splits is None:
        return found
    again = ("search", "train", "attend", "explain", "control", "report")
    stages = {name: seconds for name, seconds in found.stages.items() if name not in again}
    for fold in folds_of(run.study.splits):
        stages |= {f"{fold.name} {name}": found.stages[name] for name in again if name in found.stages}
    return replace(found, stages=stages | {"report": found.stages["report"]})
