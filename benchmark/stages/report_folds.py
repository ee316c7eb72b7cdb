"""report of a study with folds: the folds -> cross-validated tables, results.json and a page."""

from collections.abc import Sequence

import polars as pl

from benchmark.analysis.cross_validation import CrossValidation, cross_validate
from benchmark.report.fold_page import FoldPageContent, render_folds
from benchmark.report.notices import notices
from benchmark.report.provenance import RunRecord
from benchmark.report.results import Results
from benchmark.report.results_of_folds import (
    comparisons_of_folds,
    cross_validation_result,
    fold_methods,
    seeds_of_folds,
    trial_results_of_folds,
)
from benchmark.stages.report import cohort_result, run_record
from benchmark.stages.run import Run
from benchmark.storage.rundir import write_csv, write_text
from benchmark.study.folds import Fold
from benchmark.tables import read_parquet
from benchmark.trial.weight_files import read_records


def report_folds(run: Run, folds: Sequence[Fold]) -> CrossValidation:
    """Write the averages over folds; this is cheap, so it is always repeated."""
    directory, study = run.directory, run.study
    with run.reporter.stage("report", 1, "leaderboard") as stage:
        board = cross_validate(directory, folds, run.all_trials(), study.statistics, study.training.balance)
        for name, table in board.tables().items():
            write_csv(directory.table(name), table)
        record = run_record(run)
        results = _results(run, board, record)
        pages = {fold: directory.fold(fold.name).leaderboard("html") for fold in folds}
        content = FoldPageContent(
            title=study.name,
            notices=results.notices,
            board=board,
            pages={fold: page.relative_to(directory.path).as_posix() for fold, page in pages.items() if page.is_file()},
            classes=results.cohort.classes,
            facts=_facts(run),
            confidence=study.statistics.confidence,
            finished=results.finished,
        )
        write_text(directory.leaderboard("html"), render_folds(content))
        write_text(directory.results, results.model_dump_json(indent=1))
        write_text(directory.run, record.model_dump_json(indent=2) + "\n")
        stage.advance()
    return board


def _results(run: Run, board: CrossValidation, record: RunRecord) -> Results:
    study, directory = run.study, run.directory
    assert study.splits is not None  # or there are no folds
    return Results(
        study=study.name,
        finished=record.finished,
        notices=notices(study, directory),
        cohort=cohort_result(run),
        methods=fold_methods(study.statistics.confidence),
        trials=trial_results_of_folds(board),
        comparisons=comparisons_of_folds(board),
        correlations=[],
        seeds=seeds_of_folds(board),
        cross_validation=cross_validation_result(board, study.splits),
        weights=read_records(directory),
        vessels=(directory.completed("segment") or {}).get("source", {}),
        software=record.software,
        machine=record.machine,
        seconds=record.seconds,
        configuration=study.dump(),
    )


def _facts(run: Run) -> dict[str, str]:
    """The study in a few numbers, for the head of the page."""
    cohort, splits = read_parquet(run.directory.cohort), run.study.splits
    assert splits is not None
    positive = cohort.filter(pl.col("label") == 1)
    patients, of_positive = cohort["patient_id"].n_unique(), positive["patient_id"].n_unique()
    times = "once" if splits.repeats == 1 else f"{splits.repeats} times, in as many repeats"
    return {
        "Images": f"{len(cohort):,} of {patients:,} patients",
        "Positive": f"{len(positive):,} images of {of_positive:,} patients",
        "Folds": f"{splits.folds}; every patient is tested {times}",
    }
