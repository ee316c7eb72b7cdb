"""The coverage of intervals of a cross-validated AUC; `python -m tests.stats.folds_coverage` prints the table of
docs/folds.md.

Patients have 10 normal features, of which the means differ between the classes, and one or two images. A linear
discriminant is trained in every fold. Its AUC on new patients is known exactly, so that the mean over the models of a
study is known, too.
"""

from dataclasses import dataclass

import numpy as np
from scipy.stats import norm
from sklearn.model_selection import StratifiedKFold

from stats.cross_validated import corrected_resampled, cross_validated_auc, fold_layout
from stats.intervals import student_interval

FEATURES, DISTANCE, NOISE = 10, 1.0, 0.6


@dataclass(frozen=True)
class Found:
    """Shares of studies.

    Attributes:
        of_models: the interval holds the mean AUC of the models that were trained.
        of_method: the interval holds the mean AUC of models of other studies of this size.
        difference: the interval of the difference of two methods holds the difference of the models trained.
        false_positives: two methods that are equally good on average differ (5 % test over patients).
        corrected: the same by the corrected resampled t test.
        width: mean width of the interval.
    """

    of_models: float
    of_method: float
    difference: float
    false_positives: float
    corrected: float
    width: float


def discriminant(features: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """The direction of a linear discriminant with a ridge."""
    means = [features[labels == label].mean(axis=0) for label in (0, 1)]
    centred = features - np.stack(means)[labels]
    within = centred.T @ centred / len(features) + 0.1 * np.eye(features.shape[1])
    return np.linalg.solve(within, means[1] - means[0])


def simulate(patients: int, folds: int, repeats: int, positive: float, studies: int, seed: int) -> Found:
    """The shares over simulated studies; the two compared methods see different halves of the features."""
    rng = np.random.default_rng(seed)
    half = FEATURES // 2
    shift = np.full(FEATURES, DISTANCE / np.sqrt(half))
    truths, bounds, held, rejected, corrected = [], [], [], [], []
    for _ in range(studies):
        labels = rng.permutation((np.arange(patients) < positive * patients).astype(int))
        patient = np.repeat(np.arange(patients), rng.integers(1, 3, patients))
        means = labels[:, None] * shift + rng.standard_normal((patients, FEATURES))
        images = means[patient] + NOISE * rng.standard_normal((len(patient), FEATURES))
        label = labels[patient]
        rows, scores, areas = [], [], []
        for repeat in range(repeats):
            cut = StratifiedKFold(folds, shuffle=True, random_state=int(rng.integers(2**31)))
            for fold, (_, of_test) in enumerate(cut.split(labels, labels)):
                tested = np.isin(patient, of_test)
                train, test = np.flatnonzero(~tested), np.flatnonzero(tested)
                both, true = [], []
                for part in (slice(0, half), slice(half, FEATURES)):
                    w = discriminant(images[train, part], label[train])
                    both.append(images[test, part] @ w)
                    true.append(norm.cdf(w @ shift[part] / np.sqrt(2 * (1 + NOISE**2)) / np.linalg.norm(w)))
                rows.append(np.stack([patient[test], *np.full((2, len(test)), [[repeat], [fold]]), label[test]]))
                scores.append(np.stack(both))
                areas.append(true)
        of_patient, of_repeat, of_fold, of_label = np.concatenate(rows, axis=1)
        layout = fold_layout(of_patient, of_repeat, of_fold)
        found = cross_validated_auc(of_label, list(np.concatenate(scores, axis=1)), layout)
        truths.append(np.mean(areas, axis=0))
        bounds.append(student_interval(found.estimates[0], found.spread([1, 0]), 0.95, "logit"))
        differs = found.estimates[0] - found.estimates[1]
        low, high = student_interval(differs, found.spread([1, -1]))
        held.append(low <= truths[-1][0] - truths[-1][1] <= high)
        rejected.append(not low <= 0 <= high)
        low, high = student_interval(differs, corrected_resampled(found.by_fold[0] - found.by_fold[1], 1 / (folds - 1)))
        corrected.append(not low <= 0 <= high)
    truth, (low, high) = np.array(truths)[:, 0], np.array(bounds).T
    return Found(
        float(np.mean((low <= truth) & (truth <= high))),
        float(np.mean((low <= truth.mean()) & (truth.mean() <= high))),
        float(np.mean(held)),
        float(np.mean(rejected)),
        float(np.mean(corrected)),
        float(np.nanmean(high - low)),
    )


if __name__ == "__main__":
    print("patients positive folds repeats | models method width | difference, tests: patients corrected")
    for patients, positive in ((40, 0.5), (80, 0.5), (160, 0.25), (320, 0.25)):
        for folds, repeats in ((5, 1), (5, 2), (5, 10)):
            found = simulate(patients, folds, repeats, positive, 1000 if repeats < 10 else 400, seed=1)
            print(
                f"{patients:4} {positive:4.2f} {folds} {repeats:2} | {found.of_models:.3f} {found.of_method:.3f} "
                f"{found.width:.3f} | {found.difference:.3f} {found.false_positives:.3f} {found.corrected:.3f}",
                flush=True,
            )
