"""report: trials -> the leaderboard (CSV, Parquet, LaTeX, HTML), its tables, and results.json."""

import datetime
import json
import os
from pathlib import Path
from urllib.parse import quote

import numpy as np
import polars as pl

import backbones
from benchmark.analysis import published as reference
from benchmark.analysis.comparisons import TRIAL, TrialKey
from benchmark.analysis.external import ExternalValidation, compare_cohorts
from benchmark.analysis.flow import Box, flow_table, read_flow
from benchmark.analysis.leaderboard import OK, Leaderboard, build
from benchmark.analysis.planted import Planted, compare_with_truth
from benchmark.report.covariate_results import covariate_methods, covariate_result
from benchmark.report.external_results import ExternalResult, external_methods, external_result
from benchmark.report.external_section import ExternalContent
from benchmark.report.facts import facts
from benchmark.report.latex import latex
from benchmark.report.notices import notices
from benchmark.report.page import PageContent, render
from benchmark.report.provenance import Machine, RunRecord, processor, seconds_before, software
from benchmark.report.results import (
    ClassCount,
    CohortResult,
    PatientCounts,
    Results,
    average_results,
    comparison_results,
    contrast_results,
    correlation_results,
    methods,
    patient_comparison_results,
    planted_results,
    repeatability_results,
    seed_results,
    trial_results,
)
from benchmark.stages.model_cards import write_model_cards
from benchmark.stages.run import Run
from benchmark.stages.study_card import write_study_card
from benchmark.stages.trial_pages import write_trial_pages
from benchmark.storage.rundir import (
    RunDirectory,
    TrialDirectory,
    open_array,
    write_csv,
    write_image,
    write_parquet,
    write_text,
)
from benchmark.study.classes import in_order
from benchmark.study.cohort import digest
from benchmark.study.config import load_study
from benchmark.study.controls import CONTROLS
from benchmark.study.folder import SPLITS
from benchmark.study.patients import of_each_patient
from benchmark.study.splits import of_split
from benchmark.tables import read_csv, read_parquet
from benchmark.trial.costs import main_memory
from benchmark.trial.figures import method_name
from benchmark.trial.weight_files import read_records
from xai.panels import mirrored_mean, with_arcades

COUNTED = ("images", "patients", "positive", "positive_patients")  # of each split


def report(run: Run) -> Leaderboard:
    """Write the leaderboard and the other results; this is cheap, so it is always repeated."""
    directory = run.directory
    with run.reporter.stage("report", 1, "leaderboard") as stage:
        leaderboard = build(
            directory,
            run.all_trials(),
            run.study.statistics,
            run.study.explain.scaling,
            run.study.training.balance,
        )
        write_csv(directory.leaderboard("csv"), leaderboard.trials)
        write_parquet(directory.leaderboard("parquet"), leaderboard.trials)
        for name, table in leaderboard.tables().items():
            write_csv(directory.table(name), table)
        drawn = run.study.cohort.synthetic
        planted = None if drawn is None else compare_with_truth(leaderboard.trials, drawn)
        if planted is not None:
            write_csv(directory.table("planted"), planted.trials)
        validation = _validation(run)
        for name, table in (validation.tables() if validation else {}).items():
            write_csv(directory.table(name), table)
        confidence = run.study.statistics.confidence
        write_text(directory.leaderboard("tex"), latex(leaderboard, run.study.name, confidence))
        record = run_record(run)
        results = _results(run, leaderboard, planted, validation, record)
        if results.flow is not None:
            write_csv(directory.table("flow"), flow_table(results.flow))
        write_text(directory.leaderboard("html"), render(_content(run, leaderboard, planted, results, validation)))
        write_trial_pages(run, leaderboard, results.notices, results.cohort.classes)
        if not directory.is_external:
            write_model_cards(run, results)
        write_study_card(run, results)
        write_text(directory.results, results.model_dump_json(indent=1))
        write_text(directory.run, record.model_dump_json(indent=2) + "\n")
        stage.advance()
    return leaderboard


def _validation(run: Run) -> ExternalValidation | None:
    if not run.directory.is_external:
        return None
    return compare_cohorts(run.directory, run.all_trials(), run.study.statistics, run.study.training.balance)


def run_record(run: Run) -> RunRecord:
    """When and on what the report was made, and the seconds of all stages."""
    cluster = run.cluster
    return RunRecord(
        finished=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        software=software(),
        machine=Machine(
            nodes=cluster.nodes,
            cpus=cluster.cpus,
            gpus=cluster.gpus,
            accelerators=list(cluster.accelerators),
            processor=processor(),
            memory=int(main_memory()),
        ),
        seconds=seconds_before(run.directory.run) | run.reporter.seconds,
    )


def _flow(run: Run, leaderboard: Leaderboard) -> Box:
    done = set(leaderboard.trials.filter(status=OK).select(*TRIAL).rows())
    finished = [trial for trial in run.trials() if trial.key in done]
    return read_flow(run.directory, finished, drawn=run.study.cohort.synthetic is not None)


def _results(
    run: Run,
    leaderboard: Leaderboard,
    planted: Planted | None,
    validation: ExternalValidation | None,
    record: RunRecord,
) -> Results:
    study, directory, of_covariates = run.study, run.directory, leaderboard.of_covariates
    training = {
        trial.key: json.loads(file.read_text(encoding="utf-8"))
        for trial in run.trials()
        if (file := directory.trial(trial).record).is_file()
    }
    return Results(
        study=study.name,
        finished=record.finished,
        notices=notices(study, directory),
        cohort=cohort_result(run),
        flow=_flow(run, leaderboard),
        methods=methods(study.statistics, study.controls)
        | (external_methods(study.statistics) if validation is not None else {})
        | (covariate_methods(study.statistics) if of_covariates is not None else {}),
        trials=trial_results(leaderboard, training),
        comparisons=comparison_results(leaderboard),
        patient_comparisons=patient_comparison_results(leaderboard),
        correlations=correlation_results(leaderboard),
        seeds=seed_results(leaderboard),
        averages=average_results(leaderboard),
        contrasts=contrast_results(leaderboard),
        repeatability=repeatability_results(leaderboard),
        planted=None if planted is None else planted_results(planted),
        external=None if validation is None else _external(directory, validation),
        covariates=None if of_covariates is None else covariate_result(of_covariates),
        weights=read_records(directory),
        vessels=(directory.completed("segment") or {}).get("source", {}),
        software=record.software,
        machine=record.machine,
        seconds=record.seconds,
        configuration=study.dump(),
    )


def _external(directory: RunDirectory, validation: ExternalValidation) -> ExternalResult:
    source = directory.trained_in
    patients = {row["split"]: row["patients"] for row in _per_split(read_parquet(source.cohort)).to_dicts()}
    study = load_study(source.study)
    return external_result(validation, study.name, patients["train"], patients["test"])


def cohort_result(run: Run) -> CohortResult:
    """The cohort in numbers; with folds, all images count as test images."""
    study, directory = run.study, run.directory
    cohort = read_parquet(directory.cohort)
    counted = {row["split"]: row for row in _per_split(cohort).to_dicts()}
    drawn = study.cohort.synthetic
    prepared = directory.completed("prepare") or {}
    return CohortResult(
        source="synthetic" if drawn else Path(str(study.cohort.manifest)).name,
        classes=prepared.get("classes"),
        by_class=_per_class(cohort),
        files_left_out=prepared.get("left_out") or {},
        splits_given=prepared.get("splits_given"),
        repeated=prepared.get("repeated"),
        manifest_sha256=_manifest_sha256(study.cohort.manifest),
        **{what: {split: row[what] for split, row in counted.items()} for what in COUNTED},
        of_patients=_of_patients(cohort),
        left_out=len(read_csv(directory.rejected, infer_schema=False)),
        test_sha256=digest(of_split(cohort, "test"), drawn),
    )


def _manifest_sha256(manifest: Path | None) -> str | None:
    """SHA-256 of the manifest; None for a folder, a synthetic cohort or a manifest that no longer exists."""
    return backbones.sha256(manifest) if manifest is not None and manifest.is_file() else None


def _per_split(cohort: pl.DataFrame) -> pl.DataFrame:
    """One row per split; columns: split, then `COUNTED`."""
    return (
        cohort.group_by("split")
        .agg(
            pl.len().alias("images"),
            pl.col("patient_id").n_unique().alias("patients"),
            pl.col("label").sum().alias("positive"),
            pl.col("patient_id").filter(pl.col("label") == 1).n_unique().alias("positive_patients"),
        )
        .sort(pl.col("split").replace_strict({"train": 0, "val": 1, "test": 2}))
    )


def _of_patients(cohort: pl.DataFrame) -> dict[str, PatientCounts]:
    """The patients of each split by their eyes, visits and images."""
    present = [split for split in SPLITS if split in cohort["split"]]
    return {split: PatientCounts(**of_each_patient(of_split(cohort, split))._asdict()) for split in present}


def _per_class(cohort: pl.DataFrame) -> list[ClassCount]:
    """The counts of every class; none if the classes have no names, or if an earlier version prepared the cohort."""
    if "class" not in cohort.columns:
        return []
    named = cohort.drop_nulls("class")
    counts = {
        key: (len(of_class), of_class["patient_id"].n_unique())
        for key, of_class in named.group_by("class", "label", "split")
    }
    labels = dict(named.select("class", "label").unique().iter_rows())
    found = []
    for name in sorted(in_order(labels), key=lambda name: labels[name]):
        images, patients = ({s: counts.get((name, labels[name], s), (0, 0))[what] for s in SPLITS} for what in (0, 1))
        found.append(ClassCount(name=name, label=labels[name], images=images, patients=patients))
    return found


def _content(
    run: Run,
    leaderboard: Leaderboard,
    planted: Planted | None,
    results: Results,
    validation: ExternalValidation | None,
) -> PageContent:
    directory = run.directory
    cohort = read_parquet(directory.cohort)
    vessels = read_parquet(directory.vessels)
    without_masks = vessels.filter(pl.col("error").is_not_null()).select("image", reason="error")
    rejected = read_csv(directory.rejected, infer_schema=False).select("image", "split", "reason")
    pictures = {trial.name: directory.trial(trial).mean_cam for trial in run.trials()}
    return PageContent(
        title=run.study.name,
        method=method_name(run.study.explain.method),
        notices=results.notices,
        board=leaderboard,
        failed_controls=_failed_controls(run),
        failed_attention=_failed_attention(run),
        published=reference.cells() if run.study.published else None,
        pictures={name: path for name, path in pictures.items() if path.is_file()},
        tops=_tops(run),
        mean_image=_mean_image(directory, of_split(cohort, "test")),
        examples={trial.key: _examples(directory.trial(trial)) for trial in run.trials()},
        cohort=_per_split(cohort),
        left_out=rejected,
        without_masks=without_masks,
        facts=facts(run.study, results, vessels),
        configuration=directory.study.read_text(encoding="utf-8"),
        confidence=run.study.statistics.confidence,
        finished=results.finished,
        margin=run.study.statistics.equivalence_margin,
        target_class=run.study.explain.target_class,
        classes=results.cohort.classes,
        by_class=results.cohort.by_class,
        of_patients=results.cohort.of_patients,
        files_left_out=results.cohort.files_left_out,
        pages=_pages(run, leaderboard),
        planted=planted,
        cohorts_page="external/index.html" if run.study.external else "",
        external=None if validation is None else _external_content(directory, validation, results.external),
        flow=results.flow,
        study_card=directory.study_card("html").name,
    )


def _external_content(
    directory: RunDirectory, validation: ExternalValidation, result: ExternalResult | None
) -> ExternalContent:
    assert result is not None  # made from the same validation
    source = directory.trained_in
    curves = source.table("curves")
    return ExternalContent(
        run=result.run,
        page=quote(Path(os.path.relpath(source.leaderboard("html"), directory.path)).as_posix()),
        trained_patients=result.trained_patients,
        internal_patients=result.internal_patients,
        tables=validation,
        own_curves=read_csv(curves) if curves.is_file() else pl.DataFrame(),
    )


def _pages(run: Run, leaderboard: Leaderboard) -> dict[TrialKey, str]:
    """The page of each trial that has results, as an address from the leaderboard's page."""
    done = leaderboard.trials.filter(status=OK).select(*TRIAL).rows()
    keys = {trial.key: trial for trial in run.trials()}
    pages = {key: run.directory.trial(trial).page for key, trial in keys.items() if key in done}
    return {key: page.relative_to(run.directory.path).as_posix() for key, page in pages.items()}


def _examples(folder: TrialDirectory) -> list[tuple[Path, str]]:
    """The mean maps and the first example of each group; the other examples are only in the folder of the trial."""
    if not folder.figures.is_file():
        return []
    listed = read_csv(folder.figures).unique("group", keep="first", maintain_order=True)
    return [(folder.figures.parent / file, alt) for file, alt in listed.select("file", "alt").iter_rows()]


def _tops(run: Run) -> dict[str, float]:
    """The value at the upper end of the colours of each trial's mean map; figures of earlier versions have none."""
    found = {}
    for trial in run.trials():
        file = run.directory.trial(trial).figures
        mean = read_csv(file).filter(group="mean") if file.is_file() else pl.DataFrame()
        if "top" in mean.columns and mean["top"].null_count() < len(mean):
            found[trial.name] = float(mean["top"][0])
    return found


def _failed_controls(run: Run) -> dict[tuple[str, str], str]:
    files = {
        (trial.name, control.title): run.directory.trial(trial).control_failure(control.name)
        for trial in run.trials()
        for control in CONTROLS.values()
    }
    return {what: file.read_text(encoding="utf-8").strip() for what, file in files.items() if file.is_file()}


def _failed_attention(run: Run) -> dict[str, str]:
    files = {trial.name: run.directory.trial(trial).attention_failure for trial in run.trials()}
    return {name: file.read_text(encoding="utf-8").strip() for name, file in files.items() if file.is_file()}


def _mean_image(directory: RunDirectory, test: pl.DataFrame) -> Path:
    """Write the mean of the test images, with left eyes mirrored, to show next to the mean maps with the same line."""
    mirrored = (test["eye"] == "left").fill_null(False).to_numpy()
    mean = mirrored_mean(open_array(directory.images), test["row"].to_numpy(), mirrored)
    vessels = mirrored_mean(open_array(directory.regions)[:, 2], np.arange(len(test)), mirrored)
    write_image(directory.mean_image, with_arcades(mean, vessels).astype(np.uint8))
    return directory.mean_image
