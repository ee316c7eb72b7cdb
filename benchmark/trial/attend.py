"""Attention over a patient's images: a small network on a trained trial's features, trained or carried over."""

from collections.abc import Mapping

import numpy as np
import polars as pl

from benchmark.storage.disk import whole
from benchmark.storage.rundir import RunDirectory, write_parquet
from benchmark.study.config import Study
from benchmark.study.splits import of_split
from benchmark.study.trials import Trial
from benchmark.tables import read_parquet
from benchmark.trial.fit import pooled_features
from finetune.attention import (
    Attention,
    AttentionRecipe,
    Bags,
    attend,
    load_attention,
    save_attention,
    train_attention,
)
from stats.combine import patient_labels


def attend_trial(study: Study, directory: RunDirectory, trial: Trial) -> None:
    """Write `attention.parquet` of a trained trial, and the network itself where the trial was trained.

    For an external cohort, nothing is trained: the network and its scores of the validation patients, from which the
    threshold is chosen, are those of the run that trained the trial.

    Raises:
        ValueError: the training or validation patients lack a class, a feature is not finite, or the run that trained
            the trial has no attention.
    """
    folder = directory.trial(trial)
    cohort = read_parquet(directory.cohort).sort("split", "patient_id", "image")  # sums depend on the order
    features = pooled_features(study, directory, trial, cohort["row"].to_numpy())
    bags = {split: _bags(cohort, split, features) for split in cohort["split"].unique()}
    if directory.is_external:
        source = directory.trained_in.trial(trial)
        if not source.attention.is_file():
            raise ValueError(f"{source.path}: has no attention; add it with --resume")
        trained = load_attention(source.attention_network, trial.backbone.name)
        validation = of_split(read_parquet(source.attention), "val")
    else:
        trained = _train(study, trial, cohort, bags)
        with whole(folder.attention_network) as draft:
            save_attention(trained, draft, trial.backbone.name)
        validation = _table(trained, cohort, bags, "val")
    write_parquet(folder.attention, pl.concat([validation, _table(trained, cohort, bags, "test")]))


def _train(study: Study, trial: Trial, cohort: pl.DataFrame, bags: Mapping[str, Bags]) -> Attention:
    (labels, val_labels) = (_labels(of_split(cohort, split)) for split in ("train", "val"))
    recipe = AttentionRecipe(balanced=study.training.balance != "none")
    return train_attention(bags["train"], labels, bags["val"], val_labels, recipe, trial.seed)


def _bags(cohort: pl.DataFrame, split: str, features: np.ndarray) -> Bags:
    mine = (cohort["split"] == split).to_numpy()
    return Bags.of(features[mine], _patients(of_split(cohort, split)))


def _patients(images: pl.DataFrame) -> np.ndarray:
    """The number of each image's patient, in the order of the ids."""
    return np.unique(images["patient_id"].to_numpy(), return_inverse=True)[1]


def _labels(images: pl.DataFrame) -> np.ndarray:
    return patient_labels(images["label"], images["patient_id"].to_numpy())


def _table(trained: Attention, cohort: pl.DataFrame, bags: Mapping[str, Bags], split: str) -> pl.DataFrame:
    """One row per image of a split, with the patient's label and score, and the weight of the image."""
    images = of_split(cohort, split)
    scores, weights = attend(trained.network, bags[split])
    patient = _patients(images)
    return images.select(
        "image",
        "patient_id",
        "split",
        pl.Series("label", _labels(images)[patient]),
        pl.Series("score", scores[patient]),
        pl.Series("weight", weights),
    )
