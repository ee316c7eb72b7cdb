"""Cross-validated measures: one value per fold, then their mean, with a variance over patients.

Scores of different folds come from different models, so they are never ranked together. The AUC (or mean) is computed
in each fold, averaged over the folds of a repeat, and then over repeats. The variance follows from what each patient
adds to the error of the folds that tested the patient (the influence function of LeDell, Petersen & van der Laan 2015,
Electronic Journal of Statistics 9:1583). Two extensions: the contributions of all images of a patient are summed
(Obuchowski 1997), and the contributions of a patient are averaged over repeats before they are squared. Repeats that
test the same patients again therefore do not make the interval narrower, except as far as they average out the choice
of the folds.

The interval holds for the mean performance of the models that were trained, on new patients. It does not include how
this mean would change with other training patients (simulated in docs/folds.md).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from stats.checks import as_ids, as_nullable_numbers, as_numbers, require_same_length
from stats.delong import auc_parts
from stats.jackknife import Spread


@dataclass(frozen=True, eq=False)
class FoldLayout:
    """Which repeat and fold tested each image.

    Attributes:
        patient: (n,) int, position of each image's patient in `patients`.
        test_set: (n,) int, position of each image's test set in `repeat`.
        patients: (p,), the ids, sorted.
        repeat: (e,) int, the position of the repeat to which each test set belongs.
    """

    patient: np.ndarray
    test_set: np.ndarray
    patients: np.ndarray
    repeat: np.ndarray

    @property
    def repeats(self) -> int:
        """The number of repeats."""
        return int(self.repeat.max()) + 1


def fold_layout(patients: ArrayLike, repeats: ArrayLike, folds: ArrayLike) -> FoldLayout:
    """The test sets of a cross-validation; an image has one row for each repeat.

    Args:
        patients: (n,), id of each image's patient.
        repeats: (n,) int, the repeat in which this row was tested.
        folds: (n,) int, the fold of that repeat.

    Returns:
        The test sets, sorted by repeat and fold.

    Raises:
        ValueError: an id is missing, lengths differ, or a patient is tested in two folds of the same repeat.
    """
    ids, of_repeat, of_fold = as_ids("patients", patients), as_ids("repeats", repeats), as_ids("folds", folds)
    require_same_length(patients=ids, repeats=of_repeat, folds=of_fold)
    names, patient = np.unique(ids, return_inverse=True)
    _, place = np.unique(of_repeat, return_inverse=True)
    pairs, test_set = np.unique(np.stack([place, of_fold]), axis=1, return_inverse=True)
    once = np.unique(np.stack([place, patient, test_set.ravel()]), axis=1)
    (twice,) = np.nonzero((once[:2, 1:] == once[:2, :-1]).all(axis=0))
    if twice.size:
        raise ValueError(
            f"patient {names[once[1, twice[0]]]} is tested in two folds of one repeat; give all images of a patient "
            "the same fold"
        )
    return FoldLayout(patient, test_set.ravel(), names, pairs[0])


@dataclass(frozen=True, eq=False)
class CrossValidated:
    """A measure of k trials on the same folds. NaN where undefined.

    Attributes:
        by_fold: (k, e), the value in each test set.
        by_repeat: (k, r), the mean over the folds of each repeat; a fold without a value is left out.
        estimates: (k,), the mean over repeats.
        contributions: (strata, k, r, p), what each patient adds to the error of `by_repeat`. The strata of an AUC are
            positive and negative images; a mean has one stratum.
        factors: (strata,), by which squared contributions to one repeat are increased, because each fold estimates its
            own value from the patients it tests; as n / (n - folds).
        factors_of_mean: (strata,), the same for contributions averaged over repeats.
        freedom: (strata,), patients in the stratum minus folds, of the repeat with the fewest.
    """

    by_fold: np.ndarray
    by_repeat: np.ndarray
    estimates: np.ndarray
    contributions: np.ndarray
    factors: np.ndarray
    factors_of_mean: np.ndarray
    freedom: np.ndarray

    def spread(self, weights: ArrayLike) -> Spread:
        """Standard error over patients of a weighted sum of the trials' estimates.

        Args:
            weights: (k,), such as 1 and -1 for the difference of two trials.

        Returns:
            The standard error, with Welch's degrees of freedom over the strata. Both are NaN if an estimate is
            undefined, or if a stratum has no more patients than folds.
        """
        w = as_numbers("weights", weights)
        used = np.flatnonzero(w)
        added = np.tensordot(w[used], self.contributions[:, used].mean(axis=2), axes=(0, 1))
        added *= np.sqrt(self.factors_of_mean)[:, np.newaxis]
        of_stratum = (added**2).sum(axis=1)
        variance = float((added.sum(axis=0) ** 2).sum())
        if math.isnan(variance) or (self.freedom < 1).any():
            return Spread(math.nan, math.nan)
        if variance == 0:
            return Spread(0.0, math.nan)
        freedom = variance**2 / float((of_stratum**2 / self.freedom).sum())
        return Spread(math.sqrt(variance), min(freedom, float(self.freedom.sum())))

    def patients_variance(self, trials: Sequence[int]) -> tuple[float, float]:
        """Variance over patients of the mean over the trainings of some trials, and its part that is not shared.

        A training is one trial in one repeat. What a patient adds to one training alone averages out with more
        trainings; the difference of the two numbers does not.

        Args:
            trials: positions of the trials, such as the seeds of a cell.

        Returns:
            The variance of the mean, and the variance of what is special to one training divided by the number of
            trainings; NaN as in `spread`.
        """
        weights = np.bincount(trials, minlength=len(self.estimates)) / len(trials)
        of_mean = self.spread(weights).standard_error ** 2
        each = np.sqrt(self.factors)[:, None, None, None] * self.contributions[:, list(trials)]
        by_training = each.sum(axis=0).reshape(-1, each.shape[-1])
        trainings = len(by_training)
        if trainings == 1:
            return of_mean, 0.0
        special = float(((by_training - by_training.mean(axis=0)) ** 2).sum()) / (trainings - 1)
        return of_mean, special / trainings


def cross_validated_auc(labels: ArrayLike, scores: Sequence[ArrayLike], layout: FoldLayout) -> CrossValidated:
    """The AUC in each fold, and its mean; with one fold and one label per patient the variance is DeLong's.

    Args:
        labels: (n,) of 0/1.
        scores: k arrays (n,), one for each trial; ties count 1/2.
        layout: the test sets of the n images.

    Returns:
        The AUCs. All values are NaN if a fold has one class only.

    Raises:
        ValueError: labels are not 0/1, a score is NaN, or lengths differ.
    """
    positive, by_trial = np.asarray(labels), np.stack([as_numbers("scores", row) for row in scores])
    require_same_length(labels=positive, scores=by_trial[0], sets=layout.patient)
    by_fold = np.full((len(by_trial), len(layout.repeat)), np.nan)
    added = np.zeros((2, *by_fold.shape, len(layout.patients)))
    for place in range(len(layout.repeat)):
        images = layout.test_set == place
        parts = auc_parts(positive[images], list(by_trial[:, images]), layout.patient[images])
        members = np.unique(layout.patient[images])
        by_fold[:, place] = parts.areas
        added[:, :, place, members] = np.stack([parts.positives, parts.negatives])
    return _averaged(by_fold, added, layout, [positive == 1, positive == 0], leave_out=False)


def cross_validated_mean(values: Sequence[ArrayLike], layout: FoldLayout) -> CrossValidated:
    """The mean over images in each fold, and the mean over folds.

    A sensitivity is the mean of "called positive" over positive images: give NaN for the others.

    Args:
        values: k arrays (n,), one for each trial; NaN for an image without a value.
        layout: the test sets of the n images.

    Returns:
        The means; a fold without any value is left out.

    Raises:
        ValueError: lengths differ, or a value is infinite.
    """
    by_trial = np.stack([as_nullable_numbers("values", row) for row in values])
    require_same_length(values=by_trial[0], sets=layout.patient)
    known = np.isfinite(by_trial)
    by_fold = np.full((len(by_trial), len(layout.repeat)), np.nan)
    added = np.zeros((1, *by_fold.shape, len(layout.patients)))
    for trial, place in np.ndindex(*by_fold.shape):
        images = known[trial] & (layout.test_set == place)
        if images.any():
            of_fold = by_trial[trial, images]
            by_fold[trial, place] = of_fold.mean()
            np.add.at(added[0, trial, place], layout.patient[images], (of_fold - of_fold.mean()) / len(of_fold))
    return _averaged(by_fold, added, layout, [known.any(axis=0)], leave_out=True)


def _averaged(
    by_fold: np.ndarray, added: np.ndarray, layout: FoldLayout, strata: Sequence[np.ndarray], *, leave_out: bool
) -> CrossValidated:
    """Means over the folds of each repeat, and over repeats.

    Args:
        by_fold: (k, e).
        added: (strata, k, e, p), what each patient adds to the error of each fold's value.
        strata: for each stratum, the images that belong to it (n,) bool.
        leave_out: whether a fold without a value is left out, or makes the mean undefined.
    """
    trials, repeats = len(by_fold), layout.repeats
    by_repeat = np.full((trials, repeats), np.nan)
    contributions = np.zeros((len(strata), trials, repeats, len(layout.patients)))
    for repeat in range(repeats):
        (own,) = np.nonzero(layout.repeat == repeat)
        counted = np.isfinite(by_fold[:, own]) if leave_out else np.ones((trials, len(own)), dtype=bool)
        folds = counted.sum(axis=1)[:, np.newaxis]
        shares = np.divide(counted, folds, out=np.full(counted.shape, np.nan), where=folds > 0)
        by_repeat[:, repeat] = (shares * np.where(counted, by_fold[:, own], 0)).sum(axis=1)
        contributions[:, :, repeat] = np.einsum("ke,skep->skp", shares, added[:, :, own])
    freedom, factors, of_mean = np.array([_small_sample(layout, images) for images in strata]).T
    return CrossValidated(by_fold, by_repeat, by_repeat.mean(axis=1), contributions, factors, of_mean, freedom)


def _small_sample(layout: FoldLayout, images: np.ndarray) -> tuple[float, float, float]:
    """Degrees of freedom of one stratum, and the factors for one repeat and for the mean over repeats.

    A contribution is a value x of the patient minus the mean of x in the fold. Its mean square is smaller than the
    variance of x, because the patient is part of that mean: by 1 - folds / patients in one repeat. In a mean over
    repeats the other patients' part of the means averages out and the patient's own part does not, so that the square
    is smaller still. With D and M the matrices that select the patients of a repeat and that average over its folds,
    the expected sum of squares is the trace of the mean over all pairs of repeats of (D - M) (D' - M'). Values are
    assumed to be the same in all repeats; as far as they are not, the factor is too large.
    """
    members = np.zeros((len(layout.patients), len(layout.repeat)))
    members[layout.patient[images], layout.test_set[images]] = 1.0
    tested = np.stack([members[:, layout.repeat == repeat].sum(axis=1) for repeat in range(layout.repeats)], axis=1)
    folds = np.bincount(layout.repeat)
    freedom = float((tested.sum(axis=0) - folds).min())
    if freedom < 1:
        return freedom, math.nan, math.nan
    sizes = np.maximum(members.sum(axis=0), 1)
    everyone = float((tested.sum(axis=1) ** 2).sum())
    averaged = float(((tested.T @ members) / sizes).sum())
    twice = float(((members.T @ members) ** 2 / np.outer(sizes, sizes)).sum())
    once = float(tested.sum())
    return freedom, once / (once - folds.sum()), everyone / (everyone - 2 * averaged + twice)


def corrected_resampled(differences: ArrayLike, test_share: float) -> Spread:
    """Standard error of a mean difference over folds (Nadeau & Bengio 2003, Machine Learning 52:239).

    Training sets of different folds overlap, so the differences are not independent, and their variance divided by
    their number is too small. It is therefore increased by the ratio of test to training patients, which is a rule of
    thumb. For repeated folds: Bouckaert & Frank 2004. Unlike `CrossValidated.spread` it includes the variation of
    the training sets.

    Args:
        differences: (e,), the measure of one trial minus that of another in each test set.
        test_share: number of test patients divided by that of training patients, 1 / (folds - 1) with folds.

    Returns:
        The standard error, with e - 1 degrees of freedom; NaN for one test set.

    Raises:
        ValueError: a difference is NaN, or the share is not above 0.
    """
    values = as_numbers("differences", differences)
    if not test_share > 0:
        raise ValueError(f"test_share must be above 0, got {test_share}")
    if len(values) < 2:
        return Spread(math.nan, math.nan)
    variance = float(values.var(ddof=1)) * (1 / len(values) + test_share)
    return Spread(math.sqrt(variance), len(values) - 1.0) if variance > 0 else Spread(0.0, math.nan)
