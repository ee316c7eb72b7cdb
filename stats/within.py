"""Association between saliency ratios and correct calls over the images of one cell.

A correlation over cells shows whether better models have higher vessel ratios. This module looks at the images of one
model instead: there are many more points, but images also differ in other respects (see `ratio_and_correctness`).
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from stats.bootstrap import auc_resampled
from stats.checks import as_binary, as_nullable_numbers, as_numbers, as_probabilities, require_same_length
from stats.quotient import divide_or_nan
from stats.resamples import PatientResamples

LEAST = 5  # minimum number of correctly called images, and of wrongly called images, of a label for an AUC
_BLOCK = 1 << 18  # numbers per block: 2 MB, which fits into the processor's cache


_Images = Literal["positive", "negative", "within label"]


@dataclass(frozen=True, eq=False)
class Association:
    """Association of a ratio with correct calls and with the score, over a group of images.

    Attributes:
        images: "positive" or "negative" (images of one label), or "within label" (the weighted mean of both).
        n_right: number of correctly called images with a ratio, of the labels that contribute to `auc`.
        n_wrong: number of wrongly called images with a ratio, likewise.
        n_without_ratio: number of images without a ratio, which are left out.
        auc: probability that a correctly called image has a higher ratio than a wrongly called one; ties count 1/2, and
            0.5 is no association. NaN with fewer than `LEAST` correctly or wrongly called images.
        auc_resampled: (resamples,), `auc` in each resample; NaN if undefined.
        rho: Spearman's correlation of the ratio with the probability of the true class, in [-1, 1].
        rho_resampled: (resamples,), `rho` in each resample; NaN if undefined.
        score_rho: Spearman's correlation of the ratio with the score, the probability of a positive label.
        score_rho_resampled: (resamples,), `score_rho` in each resample; NaN if undefined.
    """

    images: _Images
    n_right: int
    n_wrong: int
    n_without_ratio: int
    auc: float
    auc_resampled: np.ndarray
    rho: float
    rho_resampled: np.ndarray
    score_rho: float
    score_rho_resampled: np.ndarray


def ratio_and_correctness(
    labels: ArrayLike, scores: ArrayLike, threshold: float, ratios: ArrayLike, resamples: PatientResamples
) -> tuple[Association, Association, Association]:
    """Association of ratios with correct calls and with scores, for positive images, for negative images, and pooled.

    This is an association, not a causal effect: an image out of focus, for example, is harder to call and also shows
    fewer vessels. Over all images the labels are a confounder as well. Maps explain one class, so those of positives
    differ from those of negatives, and at a given threshold one label is called correctly more often than the other.
    Each label is therefore analysed separately.

    Within one label, a correct call means a score on one side of the threshold: high for positives, low for negatives.
    A ratio that increases with the score is therefore associated with correct calls among positives and with wrong
    calls among negatives, and the two cancel in the mean of `auc` and `rho`. Interpret these two for each label
    separately. `score_rho` has the same sign for both labels, so its mean can be interpreted.

    The mean weights each label by the inverse variance under no association and independent images: pairs /
    (images + 1) for the AUC, which are the weights of van Elteren (1960), and images - 1 for correlations. A label with
    fewer than `LEAST` correctly or wrongly called images has no AUC, because it would depend on one or two images.

    Args:
        labels: (n,) of 0/1.
        scores: (n,) in [0, 1], probability of a positive label.
        threshold: an image is called positive if `score >= threshold`.
        ratios: (n,); NaN marks a missing ratio, whose image is left out and counted.
        resamples: the resamples of the patients.

    Returns:
        The associations for positive images, for negative images, and within label (the weighted mean of both).

    Raises:
        ValueError: labels are not 0/1, a score is NaN or outside [0, 1], a ratio is infinite, or lengths differ.
    """
    positive, scores = as_binary("labels", labels), as_probabilities("scores", scores)
    ratios = as_nullable_numbers("ratios", ratios)
    require_same_length(labels=positive, scores=scores, ratios=ratios, resampled_images=resamples.patient_of_image)
    right = (scores >= threshold) == positive
    # The estimate is the statistic in the first resample, in which each patient is drawn once.
    once = np.ones((1, resamples.counts.shape[1]), dtype=resamples.counts.dtype)
    counts = np.asfortranarray(np.concatenate([once, resamples.counts]))
    known = ~np.isnan(ratios)
    kept = compared(right, positive, known)

    def over(group: np.ndarray, towards: int) -> _Measured:
        images = known & group
        drawn = PatientResamples(counts, resamples.patient_of_image[images])
        enough = bool((kept & group).any())
        return _measure(right[images], scores[images], ratios[images], drawn, towards, enough)

    of_positive, of_negative = over(positive, 1), over(~positive, -1)
    return (
        of_positive.association("positive", int(np.sum(~known & positive))),
        of_negative.association("negative", int(np.sum(~known & ~positive))),
        _within_label(of_positive, of_negative).association("within label", int(np.sum(~known))),
    )


def compared(right: np.ndarray, positive: np.ndarray, known: np.ndarray) -> np.ndarray:
    """The images that contribute to the AUC of `ratio_and_correctness`.

    Args:
        right: (n,) bool, whether each image was called correctly.
        positive: (n,) bool, its label.
        known: (n,) bool, whether it has a ratio.

    Returns:
        (n,) bool: the images with a ratio of those labels with at least `LEAST` correctly and `LEAST` wrongly called
        images.
    """
    kept = np.zeros_like(known)
    for label in (known & positive, known & ~positive):
        kept |= label & (min((label & right).sum(), (label & ~right).sum()) >= LEAST)
    return kept


def spearman_over_images(x: ArrayLike, y: ArrayLike, resamples: PatientResamples) -> np.ndarray:
    """Spearman's rho (with mid-ranks for ties) over the images of each resample, exactly as on the repeated rows.

    An image drawn w times counts as w tied rows. Twice its centred mid-rank is the weight of the images below it minus
    the weight of the images above it.

    Args:
        x: (n,).
        y: (n,).
        resamples: the resamples of the patients.

    Returns:
        (resamples,) float64; NaN for a resample with fewer than three rows, or in which x or y does not vary.

    Raises:
        ValueError: a value is NaN, or lengths differ.
    """
    x, y = as_numbers("x", x), as_numbers("y", y)
    require_same_length(x=x, y=y, resampled_images=resamples.patient_of_image)
    drawn = np.ascontiguousarray(resamples.counts.T)
    rho = np.full(len(resamples.counts), np.nan)
    step = max(1, _BLOCK // len(x))
    for start in range(0, len(rho), step):
        block = slice(start, start + step)
        weights = drawn[resamples.patient_of_image, block].astype(np.float64)
        a, b = _centred_ranks(x, weights), _centred_ranks(y, weights)  # whole numbers, like their sums
        weighted = weights * a
        covariance = np.einsum("ij,ij->j", weighted, b)
        spread = np.sqrt(np.einsum("ij,ij->j", weighted, a) * np.einsum("ij,ij,ij->j", weights, b, b))
        defined = (spread > 0) & (weights.sum(axis=0) >= 3)
        np.divide(covariance, spread, out=rho[block], where=defined)
    return rho


def _centred_ranks(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Twice the centred mid-ranks (n, k) of values (n,) with weights (n, k)."""
    order = np.argsort(values)
    up_to = np.zeros((len(values) + 1, weights.shape[1]))  # weight of the i lowest values
    np.cumsum(weights[order], axis=0, out=up_to[1:])
    below, through = (np.searchsorted(values[order], values, side) for side in ("left", "right"))
    return up_to[below] + up_to[through] - up_to[-1]


@dataclass(frozen=True, eq=False)
class _Measured:
    """Weights of correctly and wrongly called images, AUC and both correlations, each (1 + resamples,).

    enough: whether there are enough images for the AUC.
    """

    right: np.ndarray
    wrong: np.ndarray
    auc: np.ndarray
    rho: np.ndarray
    score_rho: np.ndarray
    enough: bool = True

    def association(self, images: _Images, n_without_ratio: int) -> Association:
        auc = self.auc if self.enough else np.full(len(self.auc), np.nan)
        return Association(
            images=images,
            n_right=int(self.right[0]),
            n_wrong=int(self.wrong[0]),
            n_without_ratio=n_without_ratio,
            auc=float(auc[0]),
            auc_resampled=auc[1:],
            rho=float(self.rho[0]),
            rho_resampled=self.rho[1:],
            score_rho=float(self.score_rho[0]),
            score_rho_resampled=self.score_rho[1:],
        )


def _measure(
    right: np.ndarray, scores: np.ndarray, ratios: np.ndarray, resamples: PatientResamples, towards: int, enough: bool
) -> _Measured:
    """The measures of one label; `towards` is 1 if a higher score is correct, -1 if a lower one is."""
    if not right.size:
        nothing, undefined = np.zeros(len(resamples.counts)), np.full(len(resamples.counts), np.nan)
        return _Measured(nothing, nothing, undefined, undefined, undefined, enough)
    n_right, n_wrong = resamples.totals(np.stack([right, ~right], axis=1)).T
    score_rho = spearman_over_images(scores, ratios, resamples)
    auc = auc_resampled(right, ratios, resamples)
    return _Measured(n_right, n_wrong, auc, towards * score_rho, score_rho, enough)


def _within_label(one: _Measured, other: _Measured) -> _Measured:
    """Mean of the measures of both labels, weighted by the inverse of their variances under independence."""

    def mean(values: list[np.ndarray], weights: list[np.ndarray]) -> np.ndarray:
        known = np.where(np.isnan(values), 0, weights)
        total = known.sum(axis=0)
        return divide_or_nan((known * np.nan_to_num(values)).sum(axis=0), total)

    labels = (one, other)
    images = [label.right + label.wrong for label in labels]
    pairs = [m.right * m.wrong / (n + 1) * m.enough for m, n in zip(labels, images, strict=True)]
    by_images = [n - 1 for n in images]
    return _Measured(
        right=one.enough * one.right + other.enough * other.right,
        wrong=one.enough * one.wrong + other.enough * other.wrong,
        auc=mean([label.auc for label in labels], pairs),
        rho=mean([label.rho for label in labels], by_images),
        score_rho=mean([label.score_rho for label in labels], by_images),
    )
