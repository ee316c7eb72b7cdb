"""Whether a measure, such as an AUC, differs between groups of patients."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import f as fisher_f


@dataclass(frozen=True)
class Heterogeneity:
    """A test of the hypothesis that the true values of k groups are equal.

    Attributes:
        q: weighted sum of squares around the common value (Cochran 1954), the statistic of Wald's test.
        groups: k, the groups with a known variance; the test needs two.
        degrees_of_freedom: degrees of freedom of the variances; those of the groups are k - 1.
        p: P value.
    """

    q: float
    groups: int
    degrees_of_freedom: float
    p: float


def heterogeneity(estimates: ArrayLike, covariance: ArrayLike, degrees_of_freedom: ArrayLike) -> Heterogeneity:
    """Tests whether k estimates, such as logit AUCs, have the same true value.

    Cochran's Q follows the chi-squared distribution only if the variances are known. They are estimated from the
    patients of each group, so Q is compared with an F distribution whose degrees of freedom follow from those of the
    variances (Welch 1951; for two groups, this is Welch's t test). If a patient has images in several groups, the
    estimates are correlated, and Q is Wald's statistic with their covariance; without covariance, both are the same.

    Args:
        estimates: (k,), on a scale on which they are roughly normal.
        covariance: (k, k), their covariance matrix.
        degrees_of_freedom: (k,), of the variances on the diagonal. A group whose estimate, variance or degrees of
            freedom are NaN, infinite or 0 is left out.

    Returns:
        The test. All numbers but `groups` are NaN if fewer than two groups remain, or if two are the same patients.

    Raises:
        ValueError: the shapes do not fit together.
    """
    values, both = np.asarray(estimates, dtype=np.float64), np.asarray(covariance, dtype=np.float64)
    freedom = np.asarray(degrees_of_freedom, dtype=np.float64)
    k = len(values)
    if both.shape != (k, k) or freedom.shape != (k,):
        raise ValueError(f"covariance must be ({k}, {k}) and degrees of freedom ({k},), got {both.shape}")
    variances = np.diag(both)
    known = np.isfinite(values) & np.isfinite(variances) & (variances > 0) & (freedom > 0)
    values, both, freedom = values[known], both[np.ix_(known, known)], freedom[known]
    k = len(values)
    if k < 2:
        return Heterogeneity(math.nan, k, math.nan, math.nan)
    contrasts = np.column_stack([np.eye(k - 1), -np.ones(k - 1)])
    apart, spread = contrasts @ values, contrasts @ both @ contrasts.T
    if np.linalg.matrix_rank(spread, hermitian=True) < k - 1:
        return Heterogeneity(math.nan, k, math.nan, math.nan)
    q = float(apart @ np.linalg.solve(spread, apart))
    weights = 1 / np.diag(both)
    uncertain = float(((1 - weights / weights.sum()) ** 2 / freedom).sum())
    statistic = q / (k - 1) / (1 + 2 * (k - 2) / (k * k - 1) * uncertain)
    of_variances = (k * k - 1) / (3 * uncertain)
    return Heterogeneity(q, k, of_variances, float(fisher_f.sf(statistic, k - 1, of_variances)))
