"""Variances of AUCs and tests of their differences, without resampling, for patients with one image or several.

A patient's images come and go together, so what each adds to the error of an AUC is summed over the patient before the
spread is taken (Obuchowski 1997, Biometrics 53:567). With one image a patient that is DeLong's method exactly (DeLong,
DeLong & Clarke-Pearson 1988, Biometrics 44:837), small-sample factors included: every sum has one part, and no patient
has images of both classes.
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

    areas (k,) in [0, 1], covariance (k, k) of these estimates, degrees_of_freedom (k,) of their variances. All are NaN
    where only one class is present, the latter two also where fewer than two patients have a positive image or fewer
    than two have a negative one. Without variance there are no degrees of freedom.
    """

    areas: np.ndarray
    covariance: np.ndarray
    degrees_of_freedom: np.ndarray

    def wald_intervals(self, confidence: float = 0.95) -> np.ndarray:
        """Area plus and minus normal quantile times standard error, (k, 2) low and high, not cut off at 0 and 1.

        Covers too little when an AUC is high and images are few, and has no width at an AUC of 1.

        Raises ValueError for a confidence outside (0, 1).
        """
        return _around(self.areas, np.sqrt(np.diag(self.covariance)), _normal_quantile(confidence))

    def logit_intervals(self, confidence: float = 0.95) -> np.ndarray:
        """The Wald interval of log(area / (1 - area)), taken back to areas, (k, 2) low and high, inside (0, 1).

        Covers better than Wald's at high AUC (Pepe 2003, chapter 5). NaN at an AUC of 0 or 1, which has no logit.

        Raises ValueError for a confidence outside (0, 1).
        """
        return self._logit_intervals(_normal_quantile(confidence))

    def logit_t_intervals(self, confidence: float = 0.95) -> np.ndarray:
        """`logit_intervals` for few patients: quantiles of Student's t, as the variance is itself an estimate, (k, 2).

        Of the three it holds best what it promises where either class has few patients (simulated: docs/statistics.md).

        Raises ValueError for a confidence outside (0, 1).
        """
        return self._logit_intervals(student_t.isf(tail_of(confidence), self.degrees_of_freedom))

    def _logit_intervals(self, quantiles: float | np.ndarray) -> np.ndarray:
        areas = np.where((self.areas > 0) & (self.areas < 1), self.areas, np.nan)
        standard_errors = np.sqrt(np.diag(self.covariance)) / (areas * (1 - areas))
        return expit(_around(logit(areas), standard_errors, quantiles))


@dataclass(frozen=True)
class AucDifference:
    """Area of one model less that of another on the same images, tested against no difference.

    variance: of the difference, with its degrees_of_freedom. z: difference / standard error. p_value: two-sided,
    from Student's t, which is right for few patients as well; p_value_normal: from the normal distribution, as
    DeLong's. Where the variance is 0, a difference of 0 (the two rank positives against negatives alike) has z = 0 and
    p = 1, and any other (such as a perfect model against a constant one) has z and p NaN: the images say nothing of its
    chance. All but the difference are NaN where the variance is undefined, as in `CorrelatedAucs`.
    """

    difference: float
    variance: float
    z: float
    p_value_normal: float
    p_value: float
    degrees_of_freedom: float

    def equivalence_p_value(self, margin: float) -> float:
        """Of two one-sided tests that the difference lies outside (-margin, margin) (Schuirmann 1987), by Student's t.

        The larger of the two p-values: at most alpha exactly where the interval of confidence 1 - 2 alpha lies inside
        the margin. 0 for two models that rank positives against negatives alike; NaN where `p_value` is.

        Raises ValueError for a margin that is not above 0.
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
        """Low and high, holding 0 exactly where `p_value` is above 1 - confidence.

        Without variance, (0, 0) around a difference of 0, and NaN around any other.

        Raises ValueError for a confidence outside (0, 1).
        """
        if self.difference == 0 == self.variance:
            return 0.0, 0.0
        margin = student_t.isf(tail_of(confidence), self.degrees_of_freedom) * math.sqrt(self.variance)
        return float(self.difference - margin), float(self.difference + margin)


def delong(labels: ArrayLike, scores: Sequence[ArrayLike], patients: ArrayLike | None = None) -> CorrelatedAucs:
    """AUCs of k models on the same images with their covariance, from mid-ranks (Sun & Xu 2014), O(k n log n).

    labels (n,) of 0/1; scores: k arrays (n,), ties count 1/2; patients (n,): the id (string or integer) of the patient
    on each image, whose labels may differ from image to image. Without `patients` the images are independent.

    Raises ValueError for other labels, NaN scores, a missing id, or different lengths.
    """
    parts = _auc_parts(labels, scores, patients)
    each = np.eye(len(parts.areas))
    return CorrelatedAucs(parts.areas, _covariance(parts, each), _degrees_of_freedom(parts, each))


def delong_test(
    labels: ArrayLike, scores_a: ArrayLike, scores_b: ArrayLike, patients: ArrayLike | None = None
) -> AucDifference:
    """Tests whether model a and model b, on the same images, have the same AUC (DeLong et al. 1988; Obuchowski 1997).

    labels (n,) of 0/1, scores_a and scores_b (n,), patients (n,) as in `delong`, which also says what is raised. The
    difference is a less b.
    """
    parts = _auc_parts(labels, [scores_a, scores_b], patients)
    # Subtracted before they are squared: var(a) + var(b) - 2 cov(a, b) would leave rounding where the variance is 0.
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
class _AucParts:
    """What each patient's images add to the error of each area, through those that are positive and those that are not.

    areas (k,); positives and negatives (k, patients); the number of patients with an image of either class, and of all.
    """

    areas: np.ndarray
    positives: np.ndarray
    negatives: np.ndarray
    patients_with_positive: int
    patients_with_negative: int
    patients: int


def _auc_parts(labels: ArrayLike, scores: Sequence[ArrayLike], patients: ArrayLike | None) -> _AucParts:
    positive = as_binary("labels", labels)
    rows = {f"scores[{model}]": as_numbers(f"scores[{model}]", row) for model, row in enumerate(scores)}
    ids = np.arange(len(positive)) if patients is None else as_ids("patients", patients)
    require_same_length(labels=positive, patients=ids, **rows)
    names, patient = np.unique(ids, return_inverse=True)
    by_model = np.stack(list(rows.values()))

    m, n = int(positive.sum()), int((~positive).sum())
    if m == 0 or n == 0:
        undefined = np.full((len(by_model), len(names)), np.nan)
        return _AucParts(undefined[:, 0], undefined, undefined, 0, 0, len(names))
    # A rank among all images less the rank among those of the same class counts the images of the other class below.
    ranks = rankdata(by_model, axis=1)
    negatives_below = ranks[:, positive] - rankdata(by_model[:, positive], axis=1)
    positives_above = m - (ranks[:, ~positive] - rankdata(by_model[:, ~positive], axis=1))
    areas = negatives_below.sum(axis=1) / (m * n)
    return _AucParts(
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


def _covariance(parts: _AucParts, contrasts: np.ndarray) -> np.ndarray:
    """Covariance of contrasts (c, k) of the areas, (c, c).

    With u a patient's part through positives and v through negatives, Obuchowski's estimate is
    a sum(u u') + b sum(v v') + c sum(u v' + v u'), where a, b and c are x / (x - 1) for x the patients with a positive
    image, with a negative one, and all. As c is the least of the three, it is also a sum of squares, which rounding
    cannot make negative.
    """
    u, v = contrasts @ parts.positives, contrasts @ parts.negatives
    a, b, c = map(_small_sample_factor, (parts.patients_with_positive, parts.patients_with_negative, parts.patients))
    return c * (u + v) @ (u + v).T + (a - c) * u @ u.T + (b - c) * v @ v.T


def _degrees_of_freedom(parts: _AucParts, contrasts: np.ndarray) -> np.ndarray:
    """Of the variances of contrasts (c, k) of the areas, (c,); NaN without variance.

    Welch's, of the sum of what either class adds (Brunner & Munzel 2000). Patients with images of both classes make the
    variance less than that sum, as a rule, and the degrees of freedom fewer; there are never more than patients less
    one.
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
