"""report: trials -> the leaderboard (CSV, Parquet, LaTeX, HTML), the tables behind it, and results.json."""

import datetime
import importlib.metadata
import json
import platform
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

import backbones
from benchmark.analysis import published as reference
from benchmark.analysis.leaderboard import Leaderboard, build
from benchmark.analysis.planted import Planted, compare_with_truth
from benchmark.report.latex import latex
from benchmark.report.page import PageContent, render
from benchmark.report.provenance import processor, program
from benchmark.report.results import (
    CohortResult,
    Results,
    average_results,
    cell_results,
    comparison_results,
    contrast_results,
    correlation_results,
    methods,
    planted_results,
    repeatability_results,
    seed_results,
)
from benchmark.stages.run import Run
from benchmark.storage.rundir import (
    RunDirectory,
    TrialDirectory,
    open_array,
    write_csv,
    write_image,
    write_json,
    write_parquet,
    write_text,
)
from benchmark.study.cells import cells_of
from benchmark.study.cohort import digest
from benchmark.study.controls import CONTROLS
from benchmark.study.splits import of_split
from benchmark.tables import read_csv, read_parquet
from benchmark.trial.figures import method_name
from benchmark.trial.weight_files import Record, read_records
from stats.metrics import auc
from xai.pictures import mirrored_mean
from xai.vessels.quality import FLAGS

DOUBTFUL = 0.1  # share of the test images whose vessel masks are flagged, above which it is said first
COUNTED = ("images", "people", "positive", "positive_patients")  # of each split
PACKAGES = (
    "ray", "torch", "timm", "peft", "open-clip-torch", "grad-cam", "scikit-learn", "scipy", "polars", "numpy",
    "pillow", "opencv-python-headless",
)  # fmt: skip


def report(run: Run) -> Leaderboard:
    """Write the leaderboard; always done anew, since it is cheap."""
    directory = run.directory
    with run.reporter.stage("report", 1, "leaderboard") as stage:
        leaderboard = build(
            directory,
            cells_of(run.study),
            run.study.statistics,
            run.study.explain.scaling,
            run.study.training.balance,
        )
        write_csv(directory.leaderboard("csv"), leaderboard.cells)
        write_parquet(directory.leaderboard("parquet"), leaderboard.cells)
        for name, table in leaderboard.tables().items():
            write_csv(directory.table(name), table)
        drawn = run.study.cohort.synthetic
        planted = None if drawn is None else compare_with_truth(leaderboard.cells, drawn)
        if planted is not None:
            write_csv(directory.table("planted"), planted.cells)
        confidence = run.study.statistics.confidence
        write_text(directory.leaderboard("tex"), latex(leaderboard, run.study.name, confidence))
        facts = _facts(run)
        write_text(directory.leaderboard("html"), render(_content(run, leaderboard, planted, facts)))
        write_text(directory.results, _results(run, leaderboard, planted, facts).model_dump_json(indent=1))
        write_json(directory.run, facts)
        stage.advance()
    return leaderboard


def _results(
    run: Run, leaderboard: Leaderboard, planted: Planted | None, facts: Mapping[str, Mapping[str, str]]
) -> Results:
    study, directory = run.study, run.directory
    cohort = read_parquet(directory.cohort)
    counted = {row["split"]: row for row in _per_split(cohort).to_dicts()}
    drawn = study.cohort.synthetic
    prepared = directory.completed("prepare") or {}
    training = {
        (cell.backbone.name, cell.strategy.name, cell.seed): json.loads(file.read_text(encoding="utf-8"))
        for cell in run.cells()
        if (file := directory.trial(cell).trial).is_file()
    }
    return Results(
        study=study.name,
        finished=facts["Machine"]["finished"],
        notices=notices(run),
        cohort=CohortResult(
            source="synthetic" if drawn else Path(str(study.cohort.manifest)).name,
            classes=prepared.get("classes"),
            files_left_out=prepared.get("left_out") or {},
            repeated=prepared.get("repeated"),
            manifest_sha256=_manifest_sha256(study.cohort.manifest),
            **{what: {split: row[what] for split, row in counted.items()} for what in COUNTED},
            left_out=len(read_csv(directory.rejected, infer_schema=False)),
            test_sha256=digest(of_split(cohort, "test"), drawn),
        ),
        methods=methods(study.statistics, study.controls),
        cells=cell_results(leaderboard, training),
        comparisons=comparison_results(leaderboard),
        correlations=correlation_results(leaderboard),
        seeds=seed_results(leaderboard),
        averages=average_results(leaderboard),
        contrasts=contrast_results(leaderboard),
        repeatability=repeatability_results(leaderboard),
        planted=None if planted is None else planted_results(planted),
        weights=read_records(directory),
        vessels=(directory.completed("segment") or {}).get("source", {}),
        software=dict(facts["Software"]),
        machine={key: value for key, value in facts["Machine"].items() if key != "finished"},
        seconds={stage: float(seconds) for stage, seconds in facts["Seconds per stage"].items()},
        configuration=study.dump(),
    )


def _manifest_sha256(manifest: Path | None) -> str | None:
    """Of the file; None of a folder, of a synthetic cohort, and of what has gone since the images were prepared."""
    return backbones.sha256(manifest) if manifest is not None and manifest.is_file() else None


def _per_split(cohort: pl.DataFrame) -> pl.DataFrame:
    """split, then `COUNTED`."""
    return (
        cohort.group_by("split")
        .agg(
            pl.len().alias("images"),
            pl.col("patient_id").n_unique().alias("people"),
            pl.col("label").sum().alias("positive"),
            pl.col("patient_id").filter(pl.col("label") == 1).n_unique().alias("positive_patients"),
        )
        .sort(pl.col("split").replace_strict({"train": 0, "val": 1, "test": 2}))
    )


def _content(
    run: Run, leaderboard: Leaderboard, planted: Planted | None, facts: Mapping[str, Mapping[str, str]]
) -> PageContent:
    directory = run.directory
    cohort = read_parquet(directory.cohort)
    vessels = read_parquet(directory.vessels)
    masks_failed = vessels.filter(pl.col("error").is_not_null()).select(
        "image", pl.lit("test").alias("split"), ("no vessel masks, so no saliency: " + pl.col("error")).alias("reason")
    )
    rejected = read_csv(directory.rejected, infer_schema=False).select("image", "split", "reason")
    prepared = directory.completed("prepare") or {}
    pictures = {cell.name: directory.trial(cell).mean_cam for cell in run.cells()}
    return PageContent(
        title=run.study.name,
        method=method_name(run.study.explain.method),
        notices=notices(run),
        board=leaderboard,
        failed_controls=_failed_controls(run),
        published=reference.cells() if run.study.published else None,
        pictures={name: path for name, path in pictures.items() if path.is_file()},
        photograph=_mean_photograph(directory, of_split(cohort, "test")),
        examples={
            f"{cell.backbone.name}, {cell.strategy.name}, seed {cell.seed}": _examples(directory.trial(cell))
            for cell in run.cells()
        },
        cohort=_per_split(cohort),
        left_out=pl.concat([rejected, masks_failed]),
        facts=facts,
        configuration=directory.study.read_text(encoding="utf-8"),
        confidence=run.study.statistics.confidence,
        margin=run.study.statistics.equivalence_margin,
        target_class=run.study.explain.target_class,
        classes=prepared.get("classes"),
        files_left_out=prepared.get("left_out") or {},
        planted=planted,
    )


def _examples(trial: TrialDirectory) -> list[tuple[Path, str]]:
    """The mean maps and the first example of each group; the others stay in the trial's folder."""
    if not trial.figures.is_file():
        return []
    listed = read_csv(trial.figures).unique("group", keep="first", maintain_order=True)
    return [(trial.figures.parent / file, alt) for file, alt in listed.select("file", "alt").iter_rows()]


def _failed_controls(run: Run) -> list[str]:
    reasons = {
        f"{cell.name}, {control.title}": run.directory.trial(cell).control_failure(control.name)
        for cell in run.cells()
        for control in CONTROLS.values()
    }
    return [f"{what}: {file.read_text(encoding='utf-8').strip()}" for what, file in reasons.items() if file.is_file()]


def _weights(record: Record | None) -> str:
    if record is None:
        return "untrained"
    where = "{repository}/{file} at {revision}".format(**record) if "repository" in record else record["path"]
    return f"{where}, SHA-256 {record['sha256']}"


def _training(trial: TrialDirectory) -> str:
    noted = json.loads(trial.trial.read_text(encoding="utf-8"))
    return (
        f"{noted['trainable_parameters']:,} parameters, trained from {noted['inputs']}; learning rate "
        f"{noted['learning_rate']:.3g}, best epoch {noted['best_epoch']} of {noted['epochs']}, {noted['seconds']:.3g} s"
    )


def _flagged(directory: RunDirectory) -> dict[str, str]:
    """How many test images have masks that look wrong, by what is wrong with them."""
    flags = read_parquet(directory.vessels)["flags"]
    counts = {flag: int(flags.str.split(", ").list.contains(flag).sum()) for flag in FLAGS}
    return {f"flagged {flag.replace('_', ' ')}": f"{count} of {len(flags)}" for flag, count in counts.items() if count}


def _noted(directory: RunDirectory) -> dict[str, str]:
    """What was done to the masks of how many test images, and how many have an optic disc that cannot be used."""
    vessels = read_parquet(directory.vessels)
    if "note" not in vessels.columns:  # of a run that an earlier version segmented
        return {}
    notes = vessels.filter(pl.col("note") != "").group_by("note").len().sort("note")
    counts = {f"masks {note}": f"{count} of {len(vessels)}" for note, count in notes.iter_rows()}
    faults = vessels["disc_error"].drop_nulls()
    if len(faults):
        counts["optic discs left out"] = f"{len(faults)} of {len(vessels)}, the first: {faults[0]}"
    return counts


def _seconds_before(directory: RunDirectory) -> dict[str, str]:
    """What the stages took that a run before this one completed."""
    return json.loads(directory.run.read_text(encoding="utf-8"))["Seconds per stage"] if directory.run.is_file() else {}


def _mean_photograph(directory: RunDirectory, test: pl.DataFrame) -> Path:
    """The average of the test images, left eyes mirrored: what the mean maps lie on."""
    mirrored = (test["eye"] == "left").fill_null(False).to_numpy()
    mean = mirrored_mean(open_array(directory.images), test["row"].to_numpy(), mirrored)
    write_image(directory.mean_photograph, mean.astype(np.uint8))
    return directory.mean_photograph


def notices(run: Run) -> list[str]:
    """What a reader must know before any number."""
    told = []
    drawn = run.study.cohort.synthetic
    if drawn is not None:
        where = {"vessels": "in the vessels", "periphery": "in the periphery, away from the vessels"}[drawn.signal]
        told.append(
            f"Data are synthetic: the label's signal is {where}, exaggerated (effect {drawn.effect:g}); no model could "
            f"do better than an AUC of {drawn.best_auc:.2f} in expectation ({_oracle(run):.3f} on these test images)."
        )
    chosen = [choice.open() for choice in run.study.backbones]
    untrained = [
        b.name for b, choice in zip(chosen, run.study.backbones, strict=True) if b.untrained and choice.weights is None
    ]
    if untrained:
        told.append(
            f"Towers are untrained ({', '.join(untrained)}): the numbers show that the chain works, "
            "not how good a model is."
        )
    caution = (run.directory.completed("segment") or {}).get("source", {}).get("caution")
    told += [caution] if caution else []
    flags = read_parquet(run.directory.vessels)["flags"]
    doubtful = int((flags != "").sum())
    if doubtful > DOUBTFUL * len(flags):
        told.append(
            f"Vessel masks of {doubtful} of {len(flags)} test images look wrong (“How it was made”); they count, and "
            "“Does the convention matter?” has the ratios without them."
        )
    told += _repeated(run.directory.completed("prepare") or {})
    told += [f"{b.name}: weights under {b.licence}." for b in chosen if "non-commercial" in b.licence]
    return told


def _repeated(prepared: Mapping[str, Any]) -> list[str]:
    """Of the same picture twice in one split; in two splits, prepare refuses it."""
    repeated, contradictory = prepared.get("repeated", 0), prepared.get("contradictory", 0)
    if not repeated:
        return []
    labels = f"; {contradictory} of them with the other label" if contradictory else ""
    return [
        f"{repeated} of {prepared['images']} images have the same pixels as another image of their split{labels} "
        "(repeated.csv). They count as images of their own: correct the manifest."
    ]


def _oracle(run: Run) -> float:
    people = read_csv(run.directory.drawn).select("image", "severity")
    test = of_split(read_parquet(run.directory.cohort), "test").join(people, on="image")
    return auc(test["label"].to_numpy(), test["severity"].to_numpy())


def _facts(run: Run) -> dict[str, dict[str, str]]:
    study, drawn = run.study, run.study.cohort.synthetic
    of_people = methods(study.statistics, study.controls)["people"]
    prepared, segmented = (run.directory.completed(stage) or {} for stage in ("prepare", "segment"))
    return {
        "Data": {
            "cohort": "synthetic" if drawn else str(study.cohort.manifest),
            "images used": str(prepared.get("images")),
            "images left out": str(prepared.get("rejected")),
            "images that repeat another": str(prepared.get("repeated", "not counted")),
        }
        | {f"label {label}": name for label, name in (prepared.get("classes") or {}).items()},
        "Backbones": {
            b.name: f"{b.parameters / 1e6:,.1f} M parameters, {b.width} wide, {b.depth} blocks; "
            f"{b.pretraining}; licence: {b.licence}"
            for b in (choice.open() for choice in study.backbones)
        },
        "Weights": {name: _weights(record) for name, record in read_records(run.directory).items()},
        "Training": {cell.name: _training(run.directory.trial(cell)) for cell in run.cells()},
        "Vessels": {key: str(value) for key, value in segmented.get("source", {}).items() if key != "caution"}
        | {"test images without masks": str(segmented.get("failed"))}
        | _flagged(run.directory)
        | _noted(run.directory),
        "Explanation": {
            "method": f"{study.explain.method} at {study.explain.open().layer}",
            "class": "positive" if study.explain.target_class else "negative",
            "scaling": study.explain.scaling,
        },
        "Statistics": {
            "intervals": f"{100 * study.statistics.confidence:g} %, {of_people.name}",
            "resamples": f"{study.statistics.resamples:,}, seed {study.statistics.seed}"
            + ("; for correlations" if study.statistics.interval == "t" else ""),
            "threshold": "highest F1 on validation",
        },
        "Software": {"retina-benchmark": program(), "python": platform.python_version()}
        | {name: importlib.metadata.version(name) for name in PACKAGES},
        "Machine": {
            "nodes": str(run.cluster.nodes),
            "CPUs": f"{run.cluster.cpus:g}",
            "GPUs": f"{run.cluster.gpus:g} {' '.join(run.cluster.accelerators)}".strip(),
            "this node": processor(),
            "finished": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        },
        "Seconds per stage": _seconds_before(run.directory)
        | {name: f"{seconds:.1f}" for name, seconds in run.reporter.seconds.items()},
    }
