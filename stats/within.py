"""Within a cell: are the model's calls and scores related to how much it looks at vessels?

A correlation over cells asks whether better models look at vessels more. This asks it of the images of one model, where
there are thousands of points, and where other things differ between the images as well (see `ratio_and_correctness`).
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from stats.bootstrap import auc_resampled
from stats.checks import as_binary, as_nullable_numbers, as_numbers, as_probabilities, require_same_length
from stats.quotient import divide_or_nan
from stats.resamples import PatientsResamples

LEAST = 5  # images called right, and called wrong, that a label needs to be compared
_BLOCK = 1 << 18  # numbers worked on at once: 2 MB stay in the processor's cache


_Images = Literal["positive", "negative", "within label"]


@dataclass(frozen=True, eq=False)
class Association:
    """How a ratio goes with being right and with the score, over some of the images.

    images: "positive" or "negative" (of either label alone), or "within label" (the mean of the two).
    n_right, n_wrong: images with a ratio that were called correctly and wrongly, of the labels that `auc` rests on;
        n_without_ratio: images left out.
    auc: the chance that a correctly called image has a higher ratio than a wrongly called one, ties counting 1/2; 0.5
        where the ratio says nothing. NaN where fewer than `LEAST` images were called right, or wrong.
    rho: Spearman's correlation of the ratio with the probability given to the true class, -1 to 1.
    score_rho: the same with the score, the probability of a positive label.
    auc_resampled, rho_resampled, score_rho_resampled (resamples,): the same in each resample. NaN is undefined.
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
    labels: ArrayLike, scores: ArrayLike, threshold: float, ratios: ArrayLike, resamples: PatientsResamples
) -> tuple[Association, Association, Association]:
    """The association of ratios with correct calls and with scores: of positive images, of negative, and within label.

    labels (n,) of 0/1; scores (n,), the probability of a positive label, 0 to 1; an image is right where
    `score >= threshold` agrees with its label. ratios (n,): NaN is a null and its image is left out, and counted.

    It is an association, not an effect. An image out of focus is both harder to call and shows fewer vessels. Over
    all images the mix of labels confounds too: maps explain one class, so those of positives differ from those of
    negatives, and a threshold makes one label right more often than the other. Hence each label is measured by itself.

    Within one label being right means a score on one side of the threshold: a high one for positives, a low one for
    negatives. A ratio that rises with the score therefore goes with right calls among positives and with wrong calls
    among negatives, and the mean of the two `auc` (or `rho`) cancels. Read these label by label. `score_rho` has one
    sign in both labels, so its mean within label has a meaning.

    The mean weighs each label by the inverse of its variance where the ratio says nothing and images are independent:
    for the AUC pairs / (images + 1), which are the weights of van Elteren (1960), for correlations images - 1. A label
    with fewer than `LEAST` images called right, or wrong, has no AUC: it would rest on one or two images without
    showing it.

    Raises ValueError for other labels, scores that are NaN or outside [0, 1], infinite ratios, or lengths that differ
    from the resampled images.
    """
    positive, scores = as_binary("labels", labels), as_probabilities("scores", scores)
    ratios = as_nullable_numbers("ratios", ratios)
    require_same_length(labels=positive, scores=scores, ratios=ratios, resampled_images=resamples.patient_of_image)
    right = (scores >= threshold) == positive
    # The estimate is the statistic where everyone is drawn once: the first of all resamples.
    once = np.ones((1, resamples.counts.shape[1]), dtype=resamples.counts.dtype)
    counts = np.asfortranarray(np.concatenate([once, resamples.counts]))
    known = ~np.isnan(ratios)
    kept = compared(right, positive, known)

    def over(group: np.ndarray, towards: int) -> _Measured:
        images = known & group
        drawn = PatientsResamples(counts, resamples.patient_of_image[images])
        enough = bool((kept & group).any())
        return _measure(right[images], scores[images], ratios[images], drawn, towards, enough)

    of_positive, of_negative = over(positive, 1), over(~positive, -1)
    return (
        of_positive.association("positive", int(np.sum(~known & positive))),
        of_negative.association("negative", int(np.sum(~known & ~positive))),
        _within_label(of_positive, of_negative).association("within label", int(np.sum(~known))),
    )


def compared(right: np.ndarray, positive: np.ndarray, known: np.ndarray) -> np.ndarray:
    """The images with a ratio (`known`) of labels that have `LEAST` called right, and wrong; all (n,) bool."""
    kept = np.zeros_like(known)
    for label in (known & positive, known & ~positive):
        kept |= label & (min((label & right).sum(), (label & ~right).sum()) >= LEAST)
    return kept


def spearman_over_images(x: ArrayLike, y: ArrayLike, resamples: PatientsResamples) -> np.ndarray:
    """Spearman's rho over the images of each resample, (resamples,) float64, exactly as on the repeated rows.

    x (n,) and y (n,), mid-ranks for ties. An image drawn w times is w tied rows, and twice its mid-rank, less the mean
    of all, is the weight of the images below it less that of those above it. NaN where a resample has fewer than three
    rows, or where x or y does not vary.

    Raises ValueError for NaN, or lengths that differ from the resampled images.
    """
    x, y = as_numbers("x", x), as_numbers("y", y)
    require_same_length(x=x, y=y, resampled_images=resamples.patient_of_image)
    drawn = np.ascontiguousarray(resamples.counts.T)
    rho = np.full(len(resamples.counts), np.nan)
    step = max(1, _BLOCK // len(x))
    for start in range(0, len(rho), step):
        block = slice(start, start + step)
        weights = drawn[resamples.patient_of_image, block].astype(np.float64)
        a, b = _centred_ranks(x, weights), _centred_ranks(y, weights)  # whole numbers, and so are the sums
        weighted = weights * a
        covariance = np.einsum("ij,ij->j", weighted, b)
        spread = np.sqrt(np.einsum("ij,ij->j", weighted, a) * np.einsum("ij,ij,ij->j", weights, b, b))
        defined = (spread > 0) & (weights.sum(axis=0) >= 3)
        np.divide(covariance, spread, out=rho[block], where=defined)
    return rho


def _centred_ranks(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Twice the mid-ranks of values (n,) less their mean, where a value counts by its weights (n, k): (n, k)."""
    order = np.argsort(values)
    up_to = np.zeros((len(values) + 1, weights.shape[1]))  # weight of the i lowest values
    np.cumsum(weights[order], axis=0, out=up_to[1:])
    below, through = (np.searchsorted(values[order], values, side) for side in ("left", "right"))
    return up_to[below] + up_to[through] - up_to[-1]


@dataclass(frozen=True, eq=False)
class _Measured:
    """Over some images: the weights of those right and wrong, the AUC and both correlations, each (1 + resamples,).

    enough: whether the AUC rests on enough images.
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
    right: np.ndarray, scores: np.ndarray, ratios: np.ndarray, resamples: PatientsResamples, towards: int, enough: bool
) -> _Measured:
    """towards: 1 where a higher score is right, -1 where a lower one is."""
    if not right.size:
        nothing, undefined = np.zeros(len(resamples.counts)), np.full(len(resamples.counts), np.nan)
        return _Measured(nothing, nothing, undefined, undefined, undefined, enough)
    n_right, n_wrong = resamples.totals(np.stack([right, ~right], axis=1)).T
    score_rho = spearman_over_images(scores, ratios, resamples)
    auc = auc_resampled(right, ratios, resamples)
    return _Measured(n_right, n_wrong, auc, towards * score_rho, score_rho, enough)


def _within_label(one: _Measured, other: _Measured) -> _Measured:
    """Mean of the measures of either label, each weighted by the inverse of its variance under independence."""

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
