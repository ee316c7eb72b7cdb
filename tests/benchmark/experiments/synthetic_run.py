"""A run directory on a small synthetic cohort, as after training, made without Ray; its classifiers are random."""

import numpy as np
import polars as pl
import yaml

from benchmark import synthetic
from benchmark.stages.segment import SegmentWorker, load_row
from benchmark.storage.rundir import RunDirectory, write_array, write_json, write_parquet, write_text
from benchmark.study.config import Study
from benchmark.study.images import crop_row
from benchmark.study.trials import trials_of
from benchmark.trial.fit import new_model
from finetune.trained import save_trained

PATIENTS = 4  # the first is not in the test set


def study_of(signal, **changes):
    drawn = {"patients": PATIENTS, "image_size": 96, "signal": signal, "low_quality": 0.25, "best_auc": 0.99, "seed": 3}
    values = {
        "name": "small",
        "cohort": {"synthetic": drawn},
        "backbones": ["retfound-tiny"],
        "strategies": ["classifier_only"],
        "vessels": {"source": "masks"},
    }
    return Study.model_validate(values | changes)


def write_run(path, signal, **changes):
    """Images, crops, masks and one result per trial of `study_of(signal)`."""
    study, run = study_of(signal, **changes), RunDirectory(path)
    cohort = synthetic.SyntheticCohort(**vars(study.cohort.synthetic))
    synthetic.write_cohort(cohort, run.synthetic)
    table = pl.DataFrame(synthetic.plan(cohort)).drop("severity", "low_quality").with_row_index("row")
    masks = [f"{name}_mask" for name in ("artery", "vein", "disc", "fov")]
    inside = [pl.concat_str(pl.lit(f"{run.synthetic}/"), column).alias(column) for column in masks]
    table = table.with_columns(
        *inside,
        path=pl.concat_str(pl.lit(f"{run.synthetic}/"), "image"),
        split=pl.when(pl.col("patient_id") == "p0001").then(pl.lit("train")).otherwise(pl.lit("test")),
    )
    crops = [crop_row(row) for row in table.to_dicts()]
    assert not any(crop["error"] for crop in crops)
    table = table.with_columns(pl.Series(name, [crop[name] for crop in crops]) for name in ("top", "left", "side"))
    write_array(run.images, np.stack([crop["crop"] for crop in crops]))
    test = [row | {"position": 0} for row in table.filter(split="test").to_dicts()]
    segmented = SegmentWorker("masks", None, None, study.resources)([load_row(row) for row in test])
    run.regions.parent.mkdir(parents=True)
    write_array(run.regions, np.stack([found["planes"] for found in segmented]))
    write_parquet(run.cohort, run.inward(table))
    write_json(run.weights, {choice.name: None for choice in study.backbones})
    write_text(run.study, yaml.safe_dump(study.dump(), sort_keys=False))
    for trial in trials_of(study):
        folder = run.trial(trial)
        folder.path.mkdir(parents=True)
        module = trial.strategy.open().apply(new_model(trial, run), seed=trial.seed)
        save_trained(module, folder.path, backbone=trial.backbone.name)
        write_json(folder.record, {})
    return run
