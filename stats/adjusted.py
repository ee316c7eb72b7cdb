"""Covariate-adjusted AUCs: how well a score separates positives from negatives who have equal covariates.

If the label depends on age, and the score follows age, the AUC over all patients is high even if the score contains
nothing else. The adjusted AUC compares a positive only with negatives of the same age (Janes & Pepe 2009, Biometrika
96:371): it is the mean, over positives, of the share of comparable negatives with a lower score.
"""

import numpy as np
from numpy.typing import ArrayLike

from stats.bootstrap import auc_resampled
from stats.checks import as_binary, as_numbers, require_same_length
from stats.metrics import auc
from stats.quotient import divide_or_nan
from stats.resamples import PatientResamples


def auc_within_strata(
    labels: ArrayLike, scores: ArrayLike, strata: ArrayLike, resamples: PatientResamples
) -> np.ndarray:
    """Mean AUC within strata, weighted by their positives, in each resample (Janes & Pepe 2009).

    Args:
        labels: (n,) of 0/1.
        scores: (n,) on any scale.
        strata: (n,), the stratum of each image, of any type that can be compared.
        resamples: the resamples of the patients.

    Returns:
        (resamples,) float64. A stratum with one class in a resample is left out of it; NaN if all are.

    Raises:
        ValueError: labels are not 0/1, a score is NaN, or lengths differ.
    """
    positive, values, groups = as_binary("labels", labels), as_numbers("scores", scores), np.asarray(strata)
    require_same_length(labels=positive, scores=values, strata=groups, resampled_images=resamples.patient_of_image)
    above, below = np.zeros((2, len(resamples.counts)))
    for group in np.unique(groups):
        inside = groups == group
        if positive[inside].all() or not positive[inside].any():
            continue
        of_group = PatientResamples(resamples.counts, resamples.patient_of_image[inside], resamples.strata)
        areas = auc_resampled(positive[inside], values[inside], of_group)
        cases = of_group.totals(positive[inside][:, np.newaxis])[:, 0]
        known = ~np.isnan(areas)
        above[known] += (cases * areas)[known]
        below[known] += cases[known]
    return divide_or_nan(above, below)


def auc_of_residuals(
    labels: ArrayLike, scores: ArrayLike, covariates: ArrayLike, resamples: PatientResamples
) -> np.ndarray:
    """AUC of the score that is left after subtracting what the covariates predict in negatives, in each resample.

    The score of negatives is modelled as a linear function of the covariates with an error of any distribution. The
    adjusted AUC of Janes & Pepe (2009, section 4) is then the AUC of the residuals. Unlike strata, it leaves no
    difference of age within a stratum. The line is fitted again in each resample, so its error is included.

    Args:
        labels: (n,) of 0/1.
        scores: (n,), on a scale on which a linear function is plausible, such as the logit of a probability.
        covariates: (n, k), without NaN.
        resamples: the resamples of the patients.

    Returns:
        (resamples,) float64; NaN for a resample with one class, or with too few negatives for the line.

    Raises:
        ValueError: labels are not 0/1, a score is NaN, or the arrays do not fit together.
    """
    positive, values = as_binary("labels", labels), as_numbers("scores", scores)
    columns = np.asarray(covariates, dtype=np.float64)
    if columns.ndim != 2:
        raise ValueError(f"covariates must be two-dimensional, got shape {columns.shape}")
    require_same_length(labels=positive, scores=values, covariates=columns, resampled_images=resamples.patient_of_image)
    spread = columns.std(axis=0)
    columns = (columns - columns.mean(axis=0))[:, spread > 0] / spread[spread > 0]
    design = np.column_stack([np.ones(len(columns)), columns])
    found = np.full(len(resamples.counts), np.nan)
    for place, drawn in enumerate(resamples.counts):
        rows = np.repeat(np.arange(len(positive)), drawn[resamples.patient_of_image])
        controls = rows[~positive[rows]]
        if len(controls) <= design.shape[1] or len(controls) == len(rows):
            continue
        line, *_ = np.linalg.lstsq(design[controls], values[controls], rcond=None)
        found[place] = auc(positive[rows], _without_rounding(values[rows] - design[rows] @ line, values))
    return found


def _without_rounding(residuals: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Residuals in which differences by rounding are ties: a score that is a function of age has residuals of 0."""
    unit = 1e-9 * max(np.abs(values).max(), 1e-300)
    return np.round(residuals / unit)
