"""The run directory of a study with folds, without training: 48 patients with two images each, 3 folds, 2 repeats."""

import polars as pl

from benchmark.analysis.cross_validation import CrossValidation, cross_validate
from benchmark.storage.rundir import RunDirectory, write_parquet
from benchmark.study.config import Folds, Shares, Statistics
from benchmark.study.folds import Fold, divided
from benchmark.study.trials import Trial
from tests.benchmark.trials import one_trial, write_trial

SPLITS = Folds(folds=3, repeats=2)
TRIALS = [one_trial("classifier_only", 0), one_trial("classifier_only", 1), one_trial("lora", 0), one_trial("lora", 1)]
STRENGTH = {"classifier_only": 0.8, "lora": 2.5}
SETTINGS = Statistics(resamples=200)


def write_folds(path) -> tuple[RunDirectory, list[Fold]]:
    """Every trial in every fold; scores of `lora` follow the label more closely."""
    directory = RunDirectory(path)
    images = pl.DataFrame(
        {
            "image": [f"{i}.png" for i in range(96)],
            "patient_id": [f"p{i // 2}" for i in range(96)],
            "label": [i // 2 % 2 for i in range(96)],
            "eye": ["left", "right"] * 48,
            "row": range(96),
        }
    )
    write_parquet(directory.cohort, images.with_columns(split=pl.lit("test")))
    folds = divided(images, SPLITS, Shares())
    for number, (fold, of_fold) in enumerate(folds.items()):
        place = directory.fold(fold.name)
        write_parquet(place.cohort, of_fold)
        for trial in TRIALS:
            ratio = 1.5 if trial.strategy.name == "lora" else 1.1
            write_trial(place, trial, STRENGTH[trial.strategy.name], ratio, seed=10 * number + trial.seed)
    return directory, list(folds)


def board_of(directory: RunDirectory, folds: list[Fold], trials: list[Trial] = TRIALS) -> CrossValidation:
    """The means over folds."""
    return cross_validate(directory, folds, trials, SETTINGS)
