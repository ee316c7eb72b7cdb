"""Variances of AUCs and tests of AUC differences without resampling, for patients with one or several images.

The images of one patient are not independent. Their contributions to the error of an AUC are therefore summed for each
patient before the variance is computed (Obuchowski 1997, Biometrics 53:567). With one image per patient, this is
exactly DeLong's method (DeLong, DeLong & Clarke-Pearson 1988, Biometrics 44:837), including small-sample factors.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import expit, logit
from scipy.stats import norm, rankdata
from scipy.stats import t as student_t

from stats.checks import as_binary, as_ids, as_numbers, require_same_length, tail_of


@dataclass(frozen=True, eq=False)
class CorrelatedAucs:
    """AUCs of k models on the same images.

    All values are NaN if only one class is present. Covariance and degrees of freedom are also NaN if fewer than two
    patients have a positive image or fewer than two have a negative one.

    Attributes:
        areas: (k,) in [0, 1], the AUCs.
        covariance: (k, k), covariance matrix of the AUCs.
        degrees_of_freedom: (k,), degrees of freedom of their variances; NaN for a variance of 0.
    """

    areas: np.ndarray
    covariance: np.ndarray
    degrees_of_freedom: np.ndarray

    def wald_intervals(self, confidence: float = 0.95) -> np.ndarray:
        """Wald intervals: AUC plus and minus normal quantile times standard error, not cut off at 0 and 1.

        Their coverage is too low for a high AUC and few images, and they have no width at an AUC of 1.

        Args:
            confidence: in (0, 1).

        Returns:
            (k, 2), low and high.

        Raises:
            ValueError: the confidence is outside (0, 1).
        """
        return _around(self.areas, np.sqrt(np.diag(self.covariance)), _normal_quantile(confidence))

    def logit_intervals(self, confidence: float = 0.95) -> np.ndarray:
        """Wald intervals on the logit scale, transformed back to AUCs (Pepe 2003, chapter 5).

        Their coverage is better than that of `wald_intervals` for a high AUC.

        Args:
            confidence: in (0, 1).

        Returns:
            (k, 2), low and high, inside (0, 1); NaN for an AUC of 0 or 1, which has no logit.

        Raises:
            ValueError: the confidence is outside (0, 1).
        """
        return self._logit_intervals(_normal_quantile(confidence))

    def logit_t_intervals(self, confidence: float = 0.95) -> np.ndarray:
        """`logit_intervals` with Student's t quantiles, because the variance is itself an estimate.

        If either class has few patients, the coverage of these intervals is the closest of the three to the nominal
        level (simulated in docs/statistics.md).

        Args:
            confidence: in (0, 1).

        Returns:
            (k, 2), low and high, inside (0, 1); NaN for an AUC of 0 or 1.

        Raises:
            ValueError: the confidence is outside (0, 1).
        """
        return self._logit_intervals(student_t.isf(tail_of(confidence), self.degrees_of_freedom))

    def _logit_intervals(self, quantiles: float | np.ndarray) -> np.ndarray:
        areas = np.where((self.areas > 0) & (self.areas < 1), self.areas, np.nan)
        standard_errors = np.sqrt(np.diag(self.covariance)) / (areas * (1 - areas))
        return expit(_around(logit(areas), standard_errors, quantiles))


@dataclass(frozen=True)
class AucDifference:
    """Difference of the AUCs of two models on the same images, with a test of no difference.

    If the variance is 0, a difference of 0 (both models order positives and negatives in the same way) has z = 0 and
    p = 1. Any other difference (such as a perfect model compared with a constant one) has z and p NaN, because the
    variance cannot be estimated from these images. If the variance is undefined, as in `CorrelatedAucs`, all values
    except the difference are NaN.

    Attributes:
        difference: AUC of the first model minus AUC of the second.
        variance: variance of the difference.
        z: difference divided by its standard error.
        p_value_normal: two-sided p-value from the normal distribution, as in DeLong's test.
        p_value: two-sided p-value from Student's t distribution, which is also valid for few patients.
        degrees_of_freedom: degrees of freedom of the variance.
    """

    difference: float
    variance: float
    z: float
    p_value_normal: float
    p_value: float
    degrees_of_freedom: float

    def equivalence_p_value(self, margin: float) -> float:
        """Equivalence test by two one-sided t tests (TOST, Schuirmann 1987).

        The null hypothesis is that the difference lies outside (-margin, margin).

        Args:
            margin: the equivalence margin, above 0.

        Returns:
            The larger of the two p-values. It is at most alpha if and only if the interval of confidence 1 - 2 alpha
            lies inside the margin. 0 for two models that order positives and negatives in the same way; NaN if
            `p_value` is NaN.

        Raises:
            ValueError: the margin is not above 0.
        """
        if not margin > 0:
            raise ValueError(f"margin must be above 0, got {margin}")
        if self.difference == 0 == self.variance:
            return 0.0
        if not self.variance > 0:
            return math.nan
        nearest = (margin - abs(self.difference)) / math.sqrt(self.variance)
        return float(student_t.sf(nearest, self.degrees_of_freedom))

    def t_interval(self, confidence: float = 0.95) -> tuple[float, float]:
        """Student's t interval of the difference. It contains 0 if and only if `p_value` is above 1 - confidence.

        Args:
            confidence: in (0, 1).

        Returns:
            Low and high. For a variance of 0: (0, 0) if the difference is 0, otherwise NaN.

        Raises:
            ValueError: the confidence is outside (0, 1).
        """
        if self.difference == 0 == self.variance:
            return 0.0, 0.0
        margin = student_t.isf(tail_of(confidence), self.degrees_of_freedom) * math.sqrt(self.variance)
        return float(self.difference - margin), float(self.difference + margin)


def delong(labels: ArrayLike, scores: Sequence[ArrayLike], patients: ArrayLike | None = None) -> CorrelatedAucs:
    """AUCs of k models on the same images and their covariance, from mid-ranks in O(k n log n) (Sun & Xu 2014).

    Args:
        labels: (n,) of 0/1.
        scores: k arrays (n,), one for each model; ties count 1/2.
        patients: (n,), id (string or integer) of each image's patient. Images of one patient may have different labels.
            None if all images are independent.

    Raises:
        ValueError: labels are not 0/1, a score is NaN, an id is missing, or lengths differ.
    """
    parts = auc_parts(labels, scores, patients)
    each = np.eye(len(parts.areas))
    return CorrelatedAucs(parts.areas, _covariance(parts, each), _degrees_of_freedom(parts, each))


def delong_test(
    labels: ArrayLike, scores_a: ArrayLike, scores_b: ArrayLike, patients: ArrayLike | None = None
) -> AucDifference:
    """Tests whether two models have the same AUC on the same images (DeLong et al. 1988; Obuchowski 1997).

    Args:
        labels: (n,) of 0/1.
        scores_a: (n,), scores of the first model.
        scores_b: (n,), scores of the second model.
        patients: (n,), id of each image's patient; None if all images are independent.

    Returns:
        The difference a - b with its test.

    Raises:
        ValueError: labels are not 0/1, a score is NaN, an id is missing, or lengths differ.
    """
    parts = auc_parts(labels, [scores_a, scores_b], patients)
    # Contributions are subtracted before squaring: after rounding, var(a) + var(b) - 2 cov(a, b) may not be exactly 0.
    contrast = np.array([[1.0, -1.0]])
    variance = float(_covariance(parts, contrast)[0, 0])
    freedom = float(_degrees_of_freedom(parts, contrast)[0])
    difference = float(parts.areas[0] - parts.areas[1])
    without_variance = 0.0 if difference == 0 else math.nan
    z = difference / math.sqrt(variance) if variance != 0 else without_variance
    p_value_normal = float(2 * norm.sf(abs(z)))
    p_value = float(2 * student_t.sf(abs(z), freedom)) if variance > 0 else p_value_normal
    return AucDifference(difference, variance, z, p_value_normal, p_value, freedom)


@dataclass(frozen=True, eq=False)
class AucParts:
    """The contribution of each patient to the error of each AUC, through its positive and its negative images.

    areas (k,); positives and negatives (k, patients); the number of patients with an image of each class, and of all.
    """

    areas: np.ndarray
    positives: np.ndarray
    negatives: np.ndarray
    patients_with_positive: int
    patients_with_negative: int
    patients: int


def auc_parts(labels: ArrayLike, scores: Sequence[ArrayLike], patients: ArrayLike | None) -> AucParts:
    """AUCs of k models on the same images, and what each patient adds to their errors.

    Args:
        labels: (n,) of 0/1.
        scores: k arrays (n,), one for each model; ties count 1/2.
        patients: (n,), id of each image's patient; the parts are in the order of the sorted ids. None if all images are
            independent.

    Raises:
        ValueError: labels are not 0/1, a score is NaN, an id is missing, or lengths differ.
    """
    positive = as_binary("labels", labels)
    rows = {f"scores[{model}]": as_numbers(f"scores[{model}]", row) for model, row in enumerate(scores)}
    ids = np.arange(len(positive)) if patients is None else as_ids("patients", patients)
    require_same_length(labels=positive, patients=ids, **rows)
    names, patient = np.unique(ids, return_inverse=True)
    by_model = np.stack(list(rows.values()))

    m, n = int(positive.sum()), int((~positive).sum())
    if m == 0 or n == 0:
        undefined = np.full((len(by_model), len(names)), np.nan)
        return AucParts(undefined[:, 0], undefined, undefined, 0, 0, len(names))
    # The rank among all images minus the rank within the class is the number of lower images of the other class.
    ranks = rankdata(by_model, axis=1)
    negatives_below = ranks[:, positive] - rankdata(by_model[:, positive], axis=1)
    positives_above = m - (ranks[:, ~positive] - rankdata(by_model[:, ~positive], axis=1))
    areas = negatives_below.sum(axis=1) / (m * n)
    return AucParts(
        areas,
        _per_patient((negatives_below / n - areas[:, np.newaxis]) / m, patient[positive], len(names)),
        _per_patient((positives_above / m - areas[:, np.newaxis]) / n, patient[~positive], len(names)),
        len(np.unique(patient[positive])),
        len(np.unique(patient[~positive])),
        len(names),
    )


def _per_patient(values: np.ndarray, patient: np.ndarray, patients: int) -> np.ndarray:
    """Sums of values (k, images) over the images of each patient, (k, patients)."""
    sums = np.zeros((patients, len(values)))
    np.add.at(sums, patient, values.T)
    return sums.T


def _covariance(parts: AucParts, contrasts: np.ndarray) -> np.ndarray:
    """Covariance (c, c) of contrasts (c, k) of the AUCs.

    Let u and v be a patient's contributions through positives and negatives. Obuchowski's estimate is
    a sum(u u') + b sum(v v') + c sum(u v' + v u'), where a, b and c are x / (x - 1) and x is the number of patients
    with a positive image, with a negative image, and of all patients. As c is the smallest of the three, the estimate
    can be written as a sum of squares, which rounding cannot make negative.
    """
    u, v = contrasts @ parts.positives, contrasts @ parts.negatives
    a, b, c = map(_small_sample_factor, (parts.patients_with_positive, parts.patients_with_negative, parts.patients))
    return c * (u + v) @ (u + v).T + (a - c) * u @ u.T + (b - c) * v @ v.T


def _degrees_of_freedom(parts: AucParts, contrasts: np.ndarray) -> np.ndarray:
    """Degrees of freedom (c,) of the variances of contrasts (c, k) of the AUCs; NaN for a variance of 0.

    Welch's degrees of freedom of the sum of both classes' contributions (Brunner & Munzel 2000). Patients with images
    of both classes usually make the variance smaller than this sum, and the degrees of freedom fewer. They are at most
    the number of patients minus one.
    """
    variances = np.diag(_covariance(parts, contrasts))
    spread = np.zeros(len(contrasts))
    for of_class, patients in (
        (parts.positives, parts.patients_with_positive),
        (parts.negatives, parts.patients_with_negative),
    ):
        added = _small_sample_factor(patients) * ((contrasts @ of_class) ** 2).sum(axis=1)
        spread += added**2 / max(patients - 1, 1)  # the factor of one patient is NaN
    freedom = np.divide(variances**2, spread, out=np.full(len(spread), np.nan), where=variances > 0)
    return np.minimum(freedom, parts.patients - 1)


def _small_sample_factor(patients: int) -> float:
    return patients / (patients - 1) if patients > 1 else math.nan


def _around(centres: np.ndarray, standard_errors: np.ndarray, quantiles: float | np.ndarray) -> np.ndarray:
    margins = quantiles * standard_errors
    return np.stack([centres - margins, centres + margins], axis=1)


def _normal_quantile(confidence: float) -> float:
    return float(norm.isf(tail_of(confidence)))
