"""Bootstrap over people: a person's images come and go together, so intervals do not pretend that they are independent.

A resample is stored as how often it drew each person, and a statistic is computed for all resamples at once from those
counts. One `PeopleResamples` serves every cell of a study, which makes differences between cells paired.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from stats.checks import as_binary, as_ids, as_nullable_numbers, as_numbers, require_same_length

_BLOCK = 1 << 16  # numbers worked on at once: half a MB stays in the processor's cache


@dataclass(frozen=True, eq=False)
class PeopleResamples:
    """Resamples of people, and which images each person brings.

    counts (resamples, people): how often a resample drew a person. Column-major from `draw_people`, so that one
        person's counts over all resamples lie together in memory.
    person_of_image (n,): the column of `counts` that an image belongs to.
    """

    counts: np.ndarray
    person_of_image: np.ndarray

    def totals(self, values: np.ndarray) -> np.ndarray:
        """Sum of values (n, k) over the images of each resample, (resamples, k) float64; values must be finite."""
        n_resamples, n_people = self.counts.shape
        per_person = np.zeros((n_people, values.shape[1]))
        np.add.at(per_person, self.person_of_image, values)
        totals = np.zeros((n_resamples, values.shape[1]))
        step = max(1, _BLOCK // n_resamples)
        for start in range(0, n_people, step):
            block = slice(start, start + step)
            totals += self.counts[:, block].astype(np.float64) @ per_person[block]
        return totals


def draw_people(people: ArrayLike, labels: ArrayLike, resamples: int, seed: int) -> PeopleResamples:
    """Draws people with replacement, separately among those with a positive image and those without.

    people (n,): the id (string or integer) of the person on each image; labels (n,) of 0/1. Each resample holds as many
    people of either stratum as the data (stratified bootstrap, Davison & Hinkley 1997, section 3.2, on clusters). The
    same seed gives the same counts for each person in whatever order the images come.

    Raises ValueError for a missing id, other labels, different lengths, or fewer than one resample.
    """
    ids, positive = as_ids("people", people), as_binary("labels", labels)
    require_same_length(people=ids, labels=positive)
    if resamples < 1:
        raise ValueError(f"resamples must be at least 1, got {resamples}")

    names, person_of_image = np.unique(ids, return_inverse=True)
    has_positive = np.bincount(person_of_image, weights=positive) > 0
    # A person is drawn once per resample on average; a count beyond 255 has probability below 1e-500.
    counts = np.zeros((resamples, len(names)), dtype=np.uint8, order="F")
    rng = np.random.default_rng(seed)
    for stratum in (np.flatnonzero(has_positive), np.flatnonzero(~has_positive)):
        if stratum.size:
            _draw_stratum(counts, stratum, rng)
    return PeopleResamples(counts, person_of_image)


def _draw_stratum(counts: np.ndarray, stratum: np.ndarray, rng: np.random.Generator) -> None:
    size = len(stratum)
    step = max(1, _BLOCK // size)
    for start in range(0, len(counts), step):
        rows = min(step, len(counts) - start)
        drawn = rng.integers(size, size=(rows, size)) + size * np.arange(rows)[:, np.newaxis]
        counts[start : start + rows, stratum] = np.bincount(drawn.ravel(), minlength=rows * size).reshape(rows, size)


def auc_resampled(labels: ArrayLike, scores: ArrayLike, resamples: PeopleResamples) -> np.ndarray:
    """AUC in each resample, (resamples,) float64, exactly as `auc` on the repeated rows; NaN where a class is missing.

    labels (n,) of 0/1, scores (n,). The images are passed once in order of their score, each step for all resamples:
    a positive is paired with the weight of the negatives below it and half of those tied with it.

    Raises ValueError for other labels, NaN scores, or lengths that differ from the resampled images.
    """
    positive, scores = as_binary("labels", labels), as_numbers("scores", scores)
    require_same_length(labels=positive, scores=scores, resampled_images=resamples.person_of_image)
    drawn = np.ascontiguousarray(resamples.counts.T)
    order = np.lexsort((positive, scores))  # among equal scores the negatives come first
    ascending = scores[order]
    opens_level = np.append(True, ascending[1:] != ascending[:-1])

    # Whole numbers held in float64, hence exact.
    positives, below, negatives, twice_won = np.zeros((4, len(resamples.counts)))
    for image, opens in zip(order, opens_level, strict=True):
        if opens:
            below[:] = negatives
        weight = drawn[resamples.person_of_image[image]]
        if positive[image]:
            positives += weight
            twice_won += weight * (below + negatives)
        else:
            negatives += weight
    return _quotients(twice_won, 2 * positives * negatives)


def f1_resampled(labels: ArrayLike, predicted: ArrayLike, resamples: PeopleResamples) -> np.ndarray:
    """F1 in each resample, (resamples,) float64, as `f1` on the repeated rows; NaN where `f1` is.

    labels (n,) and predicted (n,) of 0/1. Raises ValueError for other values, or lengths that differ from the resampled
    images.
    """
    positive, called = as_binary("labels", labels), as_binary("predicted", predicted)
    require_same_length(labels=positive, predicted=called, resampled_images=resamples.person_of_image)
    true_positives, positives, calls = resamples.totals(np.stack([positive & called, positive, called], axis=1)).T
    return _quotients(2 * true_positives, positives + calls)


def mean_resampled(values: ArrayLike, resamples: PeopleResamples) -> np.ndarray:
    """Mean over the images of each resample, (resamples,) float64; NaN where a resample has no value.

    values (n,): NaN is a null (a ratio with an empty mask) and is left out of the sum and of the count.

    Raises ValueError for an infinite value, or a length that differs from the resampled images.
    """
    values = as_nullable_numbers("values", values)
    require_same_length(values=values, resampled_images=resamples.person_of_image)
    known = ~np.isnan(values)
    sums, counts = resamples.totals(np.stack([np.where(known, values, 0), known], axis=1)).T
    return _quotients(sums, counts)


def ratio_of_sums_resampled(numerators: ArrayLike, denominators: ArrayLike, resamples: PeopleResamples) -> np.ndarray:
    """Sum of numerators over sum of denominators in each resample, (resamples,) float64; NaN for a denominator of 0.

    numerators (n,) and denominators (n,), the latter at least 0: an image without either is NaN in one or both, and is
    left out of both sums.

    Raises ValueError for an infinite value, or a length that differs from the resampled images.
    """
    above, below = (
        as_nullable_numbers(name, values)
        for name, values in (("numerators", numerators), ("denominators", denominators))
    )
    require_same_length(numerators=above, denominators=below, resampled_images=resamples.person_of_image)
    known = ~(np.isnan(above) | np.isnan(below))
    return _quotients(*resamples.totals(np.stack([np.where(known, above, 0), np.where(known, below, 0)], axis=1)).T)


def people_mean_resampled(values: ArrayLike, resamples: PeopleResamples) -> np.ndarray:
    """Mean over the people of each resample of each one's mean over images, (resamples,) float64.

    A person counts once for each time drawn, however many images there are. values (n,): NaN is a null; a person of
    nulls alone is left out.

    Raises ValueError for an infinite value, or a length that differs from the resampled images.
    """
    values = as_nullable_numbers("values", values)
    require_same_length(values=values, resampled_images=resamples.person_of_image)
    people, known = resamples.counts.shape[1], ~np.isnan(values)
    person = resamples.person_of_image[known]
    means = _quotients(
        np.bincount(person, weights=values[known], minlength=people), np.bincount(person, minlength=people)
    )
    return mean_resampled(means, PeopleResamples(resamples.counts, np.arange(people)))


def percentile_interval(samples: ArrayLike, confidence: float = 0.95) -> tuple[float, float]:
    """The percentile bootstrap interval (Efron & Tibshirani 1993, chapter 13), with linear interpolation.

    samples (resamples,): a statistic in each resample; NaN (undefined there) is left out. (NaN, NaN) where fewer than
    `2 / (1 - confidence)` are defined (40 for 95 %), since either tail then holds less than one of them.

    Raises ValueError for a confidence outside (0, 1).
    """
    if not 0 < confidence < 1:
        raise ValueError(f"confidence must be between 0 and 1, got {confidence}")
    samples = np.asarray(samples, dtype=np.float64)
    defined = samples[~np.isnan(samples)]
    tail = (1 - confidence) / 2
    if len(defined) * tail < 1 - 1e-9:
        return np.nan, np.nan
    low, high = np.quantile(defined, [tail, 1 - tail])
    return float(low), float(high)


def _quotients(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    return np.divide(part, whole, out=np.full(len(whole), np.nan), where=whole > 0)
