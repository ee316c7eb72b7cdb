"""Whether a score adds to what is known without it: logistic models of covariates, of the score, and of both.

All three models are fitted to the same patients. The likelihood ratio tests whether the score adds: it allows for the
number of coefficients, so it needs no other patients. AUC and Brier score of a model in the patients to which it was
fitted are too good, and more so for the larger model. They are therefore computed from cross-fitted risks: the risk of
a patient comes from a model that was fitted without this patient (Stone 1974; Steyerberg et al. 2001). Only risks of
the same fold are ranked, and the AUC is the mean over folds (LeDell, Petersen & van der Laan 2015): ranked together,
risks of different models give an AUC that is too low (Parker, Günter & Bedo 2007).

A test of the difference of AUCs is not valid for models that contain each other (Demler, Pencina & D'Agostino 2012);
the difference is an estimate of how much the score adds, and the likelihood ratio is its test (Pepe et al. 2013).
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import expit

from stats.checks import as_binary, as_numbers, require_same_length
from stats.delong import delong, delong_test
from stats.intervals import Interval, Scale, student_interval
from stats.jackknife import Spread
from stats.logistic import LikelihoodRatio, fit_logistic, likelihood_ratio

FOLDS = 10
MODELS = ("covariates", "score", "both")


@dataclass(frozen=True)
class Estimate:
    """A number with its interval over patients."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, eq=False)
class AddedValue:
    """What the score adds to the covariates.

    Attributes:
        auc: of each of `MODELS`, the mean over folds, from cross-fitted risks; of the score itself, not of its model.
        brier: of each of `MODELS`, from cross-fitted risks.
        auc_gain: AUC of both minus AUC of the covariates alone.
        brier_gain: Brier score of the covariates alone minus that of both; positive if the score adds.
        test: the likelihood-ratio test of the score, given the covariates.
        risks: (3, n), the cross-fitted risks of `MODELS`.
    """

    auc: dict[str, Estimate]
    brier: dict[str, Estimate]
    auc_gain: Estimate
    brier_gain: Estimate
    test: LikelihoodRatio
    risks: np.ndarray


def folds_of(labels: ArrayLike, seed: int = 0, most: int = FOLDS) -> np.ndarray:
    """Folds with equal shares of both classes, drawn at random, and at least two patients of each class if possible.

    Args:
        labels: (n,) of 0/1, one row per patient.
        seed: seed of the draws.
        most: number of folds, at least 2; fewer if a class has fewer than twice as many patients.

    Returns:
        (n,) int, the fold of each patient, from 0.

    Raises:
        ValueError: labels are not 0/1.
    """
    positive = as_binary("labels", labels)
    count = max(2, min(most, int(positive.sum()) // 2, int((~positive).sum()) // 2))
    rng, fold = np.random.default_rng(seed), np.empty(len(positive), dtype=np.int64)
    for members in (np.flatnonzero(positive), np.flatnonzero(~positive)):
        fold[rng.permutation(members)] = np.arange(len(members)) % count
    return fold


def cross_fitted(labels: ArrayLike, predictors: ArrayLike, folds: ArrayLike) -> np.ndarray | None:
    """Risks of the patients of each fold, by a logistic model of the other folds.

    Args:
        labels: (n,) of 0/1.
        predictors: (n, k), without NaN.
        folds: (n,), the fold of each patient.

    Returns:
        (n,) float64 in [0, 1]; None if a model does not exist (`stats.logistic.fit_logistic`).

    Raises:
        ValueError: labels are not 0/1, a predictor is not finite, or the arrays do not fit together.
    """
    positive, values, fold = as_binary("labels", labels), np.asarray(predictors, dtype=np.float64), np.asarray(folds)
    require_same_length(labels=positive, predictors=values, folds=fold)
    risks = np.empty(len(positive))
    for each in np.unique(fold):
        inside = fold == each
        fit = None if inside.all() else fit_logistic(positive[~inside], values[~inside])
        if fit is None:
            return None
        risks[inside] = expit(fit.logits(values[inside]))
    return risks


def added_value(
    labels: ArrayLike, covariates: ArrayLike, scores: ArrayLike, folds: ArrayLike, confidence: float = 0.95
) -> AddedValue | None:
    """Compares logistic models of the covariates, of the score, and of both.

    Args:
        labels: (n,) of 0/1, one row per patient.
        covariates: (n, k), k at least 1, without NaN; a category has one column for each level but one.
        scores: (n,), on the scale on which the score enters the model, such as a logit.
        folds: (n,), the fold of each patient (`folds_of`).
        confidence: in (0, 1).

    Returns:
        The comparison; None if one of the models does not exist, as when covariates separate the classes.

    Raises:
        ValueError: labels are not 0/1, a value is not finite, the arrays do not fit together, or the confidence is
            outside (0, 1).
    """
    positive, score = as_binary("labels", labels), as_numbers("scores", scores)[:, np.newaxis]
    columns = np.asarray(covariates, dtype=np.float64)
    require_same_length(labels=positive, covariates=columns, scores=score)
    predictors = dict(zip(MODELS, (columns, score, np.hstack([columns, score])), strict=True))
    smaller, larger = fit_logistic(positive, columns), fit_logistic(positive, predictors["both"])
    fitted = [cross_fitted(positive, each, folds) for each in predictors.values()]
    if smaller is None or larger is None or any(each is None for each in fitted):
        return None
    risks = np.stack([each for each in fitted if each is not None])
    ranked = np.stack([risks[0], score[:, 0], risks[2]])
    errors = (risks - positive) ** 2
    return AddedValue(
        auc={name: _auc(positive, each, folds, confidence) for name, each in zip(MODELS, ranked, strict=True)},
        brier={name: _mean(each, confidence, "logit") for name, each in zip(MODELS, errors, strict=True)},
        auc_gain=_gain(positive, risks[2], risks[0], folds, confidence),
        brier_gain=_mean(errors[0] - errors[2], confidence, "identity"),
        test=likelihood_ratio(smaller, larger),
        risks=risks,
    )


def _auc(positive: np.ndarray, scores: np.ndarray, folds: ArrayLike, confidence: float) -> Estimate:
    """The mean AUC over folds with its interval (LeDell, Petersen & van der Laan 2015)."""
    found = [delong(positive[inside], [scores[inside]]) for inside in _inside(folds)]
    parts = [(float(each.areas[0]), float(each.covariance[0, 0]), float(each.degrees_of_freedom[0])) for each in found]
    return _over_folds(parts, confidence, "logit")


def _gain(positive: np.ndarray, a: np.ndarray, b: np.ndarray, folds: ArrayLike, confidence: float) -> Estimate:
    """The mean difference of two AUCs over folds, a minus b, with its interval."""
    found = [delong_test(positive[inside], a[inside], b[inside]) for inside in _inside(folds)]
    parts = [(each.difference, each.variance, each.degrees_of_freedom) for each in found]
    return _over_folds(parts, confidence, "identity")


def _inside(folds: ArrayLike) -> list[np.ndarray]:
    fold = np.asarray(folds)
    return [fold == each for each in np.unique(fold)]


def _over_folds(parts: list[tuple[float, float, float]], confidence: float, scale: Scale) -> Estimate:
    """The mean of values of independent folds, each with its variance and degrees of freedom (Welch's for the sum)."""
    values, variances, freedom = np.array(parts).T
    varies = ~(variances == 0)
    with np.errstate(invalid="ignore"):
        total = variances.sum()
        degrees = total**2 / (variances[varies] ** 2 / freedom[varies]).sum() if varies.any() else math.nan
    mean = float(values.mean())
    interval = student_interval(mean, Spread(math.sqrt(total) / len(values), degrees), confidence, scale)
    return Estimate(mean, *interval)


def _mean(values: np.ndarray, confidence: float, scale: Scale) -> Estimate:
    """The mean over patients with Student's interval."""
    mean = float(values.mean())
    of_mean = Spread(float(values.std(ddof=1) / math.sqrt(len(values))), len(values) - 1)
    interval: Interval = student_interval(mean, of_mean, confidence, scale)
    return Estimate(mean, *interval)
