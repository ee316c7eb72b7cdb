"""Everything that the report says about covariates, one frame per file."""

from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl

from benchmark.analysis.comparisons import TrialKey
from benchmark.analysis.covariates import baseline, grouping, read_covariates
from benchmark.analysis.image_adds import image_adds, people
from benchmark.analysis.measures import Tested
from benchmark.analysis.subgroups import in_subgroups
from benchmark.storage.rundir import RunDirectory
from benchmark.study.config import Statistics
from stats.resamples import PatientResamples


@dataclass(frozen=True)
class CovariateTables:
    """The tables of a study with covariates.

    Attributes:
        covariates: Table 1; `benchmark.analysis.covariates.BASELINE_SCHEMA`.
        subgroups: measures in each subgroup; `benchmark.analysis.subgroups.SUBGROUPS_SCHEMA`.
        heterogeneity: whether they differ between subgroups; `benchmark.analysis.subgroups.HETEROGENEITY_SCHEMA`.
        image_adds: what the score adds to covariates; `benchmark.analysis.image_adds.IMAGE_ADDS_SCHEMA`.
        score_predicts: how well the score predicts them; `benchmark.analysis.image_adds.SCORE_PREDICTS_SCHEMA`.
    """

    covariates: pl.DataFrame
    subgroups: pl.DataFrame
    heterogeneity: pl.DataFrame
    image_adds: pl.DataFrame
    score_predicts: pl.DataFrame

    def tables(self) -> dict[str, pl.DataFrame]:
        """Every frame under the name of its file."""
        return dict(vars(self))


def covariate_tables(
    directory: RunDirectory,
    cohort: pl.DataFrame,
    keys: Sequence[TrialKey],
    tested: Sequence[Tested],
    predicts: Sequence[bool | None],
    resamples: PatientResamples,
    settings: Statistics,
) -> CovariateTables | None:
    """The tables of a run; None if its study has no covariates.

    Args:
        directory: the run directory.
        cohort: all images.
        keys: the trials.
        tested: each trial on the test images, in the order of the cohort.
        predicts: whether each trial is shown to predict better than chance.
        resamples: the resamples of the test patients.
        settings: of intervals.
    """
    every = read_covariates(directory, cohort)
    if not every.columns:
        return None
    of_test = pl.Series((cohort["split"] == "test").to_numpy())
    test, known = cohort.filter(of_test), every.filter(of_test)
    patients = test["patient_id"]
    groupings = [grouping(name, patients, known[name]) for name in known.columns]
    subgroups, tests = in_subgroups(keys, tested, groupings, resamples, settings)
    added, predicted = image_adds(keys, tested, predicts, people(patients, test["label"].to_numpy(), known), settings)
    return CovariateTables(baseline(cohort, every, settings.confidence), subgroups, tests, added, predicted)
