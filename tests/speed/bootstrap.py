"""Seconds for the resampled AUCs of nine cells: this project, a loop over scikit-learn, SciPy's vectorised bootstrap.

    python -m tests.speed.bootstrap [--patients 1500] [--cells 9] [--resamples 10000] [--prevalence 0.2] [--rounds 5]

A patient has two images with the same label and correlated scores. Patients are resampled, separately for positive and
negative ones. This project draws once for all cells and then computes every cell's AUCs; all of this is timed, on one
core. The loop calls `roc_auc_score` on the repeated rows of each resample and cell; its draws are not timed.
`scipy.stats.bootstrap(vectorized=True)` draws positive and negative patients as two samples, again for each cell, and
its statistic ranks the images of all resamples at once. The latter two would take minutes, and SciPy gigabytes: they
run on fewer resamples, which the table names, and their seconds are scaled to all.

The methods take turns. The table gives medians and, in brackets, the range. `times` is the median of the ratios within
a turn, so that other load on the machine affects all methods equally; `of CPU` is the same by processor time, which
other programs disturb less. The difference is the largest from this project's AUCs: scikit-learn's in the same
resamples, and SciPy's statistic on the whole cohort.
"""

import argparse
import statistics
import time

import numpy as np
import scipy
import sklearn
from scipy.stats import bootstrap, rankdata
from sklearn.metrics import roc_auc_score

from stats.bootstrap import auc_resampled
from stats.metrics import auc
from stats.resamples import draw_patients


def by_loop(labels, cells, resamples, n):
    """(cells, n): scikit-learn's AUC in each of the first n resamples."""
    images = np.arange(len(labels))
    areas = np.empty((len(cells), n))
    for column, counts in enumerate(resamples.counts[:n]):
        rows = np.repeat(images, counts[resamples.patient_of_image])
        areas[:, column] = [roc_auc_score(labels[rows], scores[rows]) for scores in cells]
    return areas


def auc_of_patients(scores):
    """A statistic for SciPy, from scores (patients, 2): patients with (..., p) and without (..., q) -> (...)."""

    def areas(positives, negatives, axis=-1):
        of_images = scores[np.concatenate([positives, negatives], axis=-1)]
        ranks = rankdata(of_images.reshape(*of_images.shape[:-2], -1), axis=-1)
        n, m = 2 * positives.shape[-1], 2 * negatives.shape[-1]
        return (ranks[..., :n].sum(axis=-1) - n * (n + 1) / 2) / (n * m)

    return areas


def by_scipy(groups, cells, n):
    for scores in cells:
        areas = auc_of_patients(scores.reshape(-1, 2))
        bootstrap(groups, areas, n_resamples=n, vectorized=True, method="percentile", rng=0)


def main():
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--patients", type=int, default=1500)
    options.add_argument("--cells", type=int, default=9)
    options.add_argument("--resamples", type=int, default=10_000)
    options.add_argument("--prevalence", type=float, default=0.2)
    options.add_argument("--rounds", type=int, default=5)
    options.add_argument("--loop", type=int, default=20, help="resamples of the loop over scikit-learn")
    options.add_argument("--batch", type=int, default=200, help="resamples of SciPy")
    chosen = options.parse_args()

    rng = np.random.default_rng(0)
    has_label = np.arange(chosen.patients) < chosen.prevalence * chosen.patients
    patients, labels = np.repeat(np.arange(chosen.patients), 2), np.repeat(has_label, 2)
    of_patient = np.repeat(rng.normal(size=(chosen.cells, chosen.patients)), 2, axis=1)
    cells = labels + of_patient + rng.normal(size=of_patient.shape)
    groups = np.flatnonzero(has_label), np.flatnonzero(~has_label)

    def here():
        resamples = draw_patients(patients, labels, chosen.resamples, seed=0)
        return resamples, np.array([auc_resampled(labels, scores, resamples) for scores in cells])

    resamples, areas = here()
    from_loop = np.abs(by_loop(labels, cells, resamples, chosen.loop) - areas[:, : chosen.loop]).max()
    from_scipy = max(abs(auc_of_patients(one.reshape(-1, 2))(*groups) - auc(labels, one)) for one in cells)
    ways = (
        ("this project", chosen.resamples, 0, here),
        ("scikit-learn, loop", chosen.loop, from_loop, lambda: by_loop(labels, cells, resamples, chosen.loop)),
        ("SciPy, vectorised", chosen.batch, from_scipy, lambda: by_scipy(groups, cells, chosen.batch)),
    )
    turns = np.array([[_time(way, chosen.resamples / n) for _, n, _, way in ways] for _ in range(chosen.rounds)])
    times = np.median(turns / turns[:, :1], axis=0)  # (3 ways, wall and CPU)

    print(f"{chosen.cells} cells, {len(labels)} images of {chosen.patients} patients "
          f"({chosen.prevalence:.0%} positive), {chosen.resamples} resamples, "
          f"NumPy {np.__version__}, SciPy {scipy.__version__}, "
          f"scikit-learn {sklearn.__version__}")  # fmt: skip
    print(f"{'':18} {'resamples':>9} {'seconds':>22} {'CPU seconds':>22} {'times':>6} {'of CPU':>6} {'difference':>10}")
    for i, (name, n, difference, _) in enumerate(ways):
        print(f"{name:18} {n:9} {_spread(turns[:, i, 0]):>22} {_spread(turns[:, i, 1]):>22} "
              f"{times[i, 0]:6.0f} {times[i, 1]:6.0f} {difference:10.1e}")  # fmt: skip


def _time(way, scale):
    """Seconds by the clock and of the processor, scaled to all resamples."""
    began, used = time.perf_counter(), time.process_time()
    way()
    return scale * (time.perf_counter() - began), scale * (time.process_time() - used)


def _spread(seconds):
    return f"{statistics.median(seconds):.3g} ({min(seconds):.3g}-{max(seconds):.3g})"


if __name__ == "__main__":
    main()
