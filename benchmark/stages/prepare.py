"""prepare: manifest and image files -> splits by patient, and a memory-mapped array of square crops."""

from dataclasses import asdict, replace
from functools import partial
from pathlib import Path

import numpy as np
import polars as pl

from benchmark import synthetic
from benchmark.errors import UserError, stop_when_full
from benchmark.scheduling.streaming import Each, stream
from benchmark.stages.run import Run
from benchmark.storage.disk import writing
from benchmark.storage.rundir import create_array, write_csv, write_parquet
from benchmark.study.cohort import open_cohort
from benchmark.study.folds import require_for_folds
from benchmark.study.images import IMAGE_SIZE, crop_row
from benchmark.study.manifest import Manifest
from benchmark.study.overlap import refuse_known_images, refuse_known_patients
from benchmark.study.repeats import refuse_in_two_splits, refuse_of_two_patients, repeats
from benchmark.study.splits import require_both_classes
from benchmark.tables import read_parquet

BLOCK = 16
PLACE = ("height", "width", "top", "left", "side")


def prepare(run: Run) -> None:
    """Fill `images.npy`, `cohort.parquet`, `rejected.csv` and `repeated.csv`."""
    if run.directory.completed("prepare") is not None:
        run.reporter.skip("prepare", "complete")
        return
    settings = run.study.cohort
    manifest = _draw(run) if settings.synthetic is not None else settings.manifest
    assert manifest is not None  # a cohort has one of the two
    opened = open_cohort(run.study, manifest, external=run.directory.is_external)
    opened.refuse_conflicts()
    if run.directory.is_external and settings.synthetic is not None:
        opened = _of_others(opened)
    cohort = opened.images.with_columns(pl.int_range(pl.len()).alias("row"))

    images = create_array(run.directory.images, (len(cohort), IMAGE_SIZE, IMAGE_SIZE, 3), np.uint8)
    places, reasons = [], []
    rows = cohort.select("row", "path", pl.col("fov_mask").fill_null("")).to_dicts()
    with run.reporter.stage("prepare", len(rows), "images") as stage:
        for result in stream(rows, [Each(crop_row)], BLOCK, on_wait=stage.note):
            if result["error"]:
                stop_when_full(str(result["error"]))
                reasons.append({"row": result["row"], "reason": result["error"]})
            else:
                images[result["row"]] = result["crop"]
                places.append({key: result[key] for key in ("row", "digest", *PLACE)})
            stage.advance()
    images.flush()

    row = {"row": pl.Int64}
    rejected = cohort.join(pl.DataFrame(reasons, schema=row | {"reason": pl.String}), on="row").sort("row")
    reported = rejected.select("image", "patient_id", "label", "split", "path", "reason")
    write_csv(run.directory.rejected, reported)
    if len(rejected) > settings.max_rejected * len(cohort):
        image, reason = rejected.select("image", "reason").row(0)
        raise UserError(
            f"{len(rejected)} of {len(cohort)} images cannot be used, more than cohort.max_rejected "
            f"({settings.max_rejected:.0%}) allows; the first: {image}: {reason}; full list: {run.directory.rejected}"
        )
    found = row | {"digest": pl.String} | dict.fromkeys(PLACE, pl.Int32)
    accepted = cohort.join(pl.DataFrame(places, schema=found), on="row").sort("row")
    if run.directory.is_external:
        refuse_in_two_splits(accepted)
        _refuse_known(run, accepted)
        require_both_classes(accepted, opened.classes, splits=("test",))
    elif run.study.splits is not None:
        refuse_of_two_patients(accepted)
        require_for_folds(accepted.with_columns(split=None), run.study.splits, "the cohort without rejected images")
    else:
        refuse_in_two_splits(accepted)
        require_both_classes(accepted, opened.classes)
    repeated = repeats(accepted)
    write_csv(run.directory.repeated, repeated)
    if settings.covariates:
        of_accepted = accepted.select("image").join(opened.covariates, on="image", how="left", maintain_order="left")
        write_parquet(run.directory.covariates, of_accepted)
    write_parquet(run.directory.cohort, run.directory.inward(accepted))
    run.directory.complete(
        "prepare",
        images=len(accepted),
        rejected=len(rejected),
        repeated=len(repeated),
        contradictory=len(repeated.filter(pl.col("label") != pl.col("its_label"))),
        classes=opened.classes.by_label() if opened.classes else None,
        left_out=opened.left_out,
        splits_given=opened.splits_given,
    )


def _of_others(drawn: Manifest) -> Manifest:
    """Drawn patients of another seed are other patients, although every cohort numbers its patients from 1."""
    return replace(drawn, images=drawn.images.with_columns(patient_id="external-" + pl.col("patient_id")))


def _refuse_known(run: Run, accepted: pl.DataFrame) -> None:
    """Refuse patients and images on which the trials may have been trained."""
    known = read_parquet(run.directory.trained_in.cohort)
    name = run.directory.path.name
    refuse_known_patients(name, accepted["patient_id"], known["patient_id"])
    if "digest" in known.columns:
        refuse_known_images(name, accepted.select("image", "digest"), known.select("image", "digest"))
    else:
        run.reporter.console.print(
            "The run was made by an earlier version, so images of its cohort under other names are not recognised."
        )


def _draw(run: Run) -> Path:
    cohort = run.study.cohort.synthetic
    assert cohort is not None
    rows = synthetic.plan(cohort)
    with run.reporter.stage("draw", len(rows), "images") as stage:
        # A plain SyntheticCohort, not the configuration's validated subclass: drawing then needs no configuration code.
        plain = synthetic.SyntheticCohort(**asdict(cohort))
        draw = Each(partial(synthetic.write_eye, plain, folder=run.directory.synthetic))
        with writing(run.directory.synthetic):
            for _ in stream(rows, [draw], BLOCK, on_wait=stage.note):
                stage.advance()
            return synthetic.write_manifest(rows, run.directory.synthetic)
