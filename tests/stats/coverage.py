"""Coverage of 95 % intervals for patients with two images: the tables of docs/statistics.md.

    python -m tests.stats.coverage [--studies 4000] [--resamples 2000] [--processes 2]

Every study draws new patients from a population whose AUC, difference of two AUCs and mean ratio are known in closed
form, and computes each interval as the leaderboard does, from the same functions. "Images" in the name of an interval
means that each image is treated as a separate patient.
"""

import argparse
import math
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass

import numpy as np
from scipy.integrate import quad
from scipy.special import expit
from scipy.stats import norm

from stats.bootstrap import auc_resampled, mean_resampled
from stats.delong import delong, delong_test
from stats.intervals import Interval, Scale, bca_interval, percentile_interval, student_interval
from stats.jackknife import Spread, leave_out_patients, spread
from stats.moderated import auc_variance, moderated
from stats.operating import confusion_resampled
from stats.resamples import PatientResamples, draw_patients
from stats.shares import effective_patients

IMAGES = (60, 120, 300, 1000, 3000)
NAIVE = "images, "
THRESHOLD = 0.5  # standard deviations above the negatives' mean
SPREADS = (0.5, 0.3)  # standard deviations of the log ratios of the two models
SCALES: dict[str, Scale] = {"AUC": "logit", "F1": "logit", "Brier": "logit", "ratio": "log"}


@dataclass(frozen=True)
class Population:
    """A population of patients with two images each.

    images: number of images in a study; prevalence: share of positive patients, or of positive images if
    `label_per_image`; auc: of the first model (that of the second is 0.05 lower). A score is the sum of effects of
    label, patient and image; the latter two are normal, and the patient's share of their variance is `icc`. Scores of
    the two models correlate by 0.5. Ratios are log-normal, with standard deviations of their logarithms of 0.5 and 0.3,
    and the same correlations.
    """

    images: int
    prevalence: float
    auc: float = 0.8
    icc: float = 0.65
    label_per_image: bool = False

    @property
    def truth(self) -> dict[str, float]:
        """Each statistic among all patients. A positive's score less a negative's is normal with variance 2."""
        gap = math.sqrt(2) * norm.ppf(self.auc)
        right = self.prevalence * norm.cdf(gap - THRESHOLD)
        wrong = (1 - self.prevalence) * norm.cdf(-THRESHOLD)
        missed, _ = quad(lambda x: (1 - probability(x + gap)) ** 2 * norm.pdf(x), -9, 9)
        feared, _ = quad(lambda x: probability(x) ** 2 * norm.pdf(x), -9, 9)
        first, second = (math.exp(spread**2 / 2) for spread in SPREADS)
        return {
            "AUC": self.auc,
            "Brier": self.prevalence * missed + (1 - self.prevalence) * feared,
            "F1": 2 * right / (right + wrong + self.prevalence),
            "ratio": first,
            "difference": 0.05,
            "difference of ratios": first - second,
        }


@dataclass(frozen=True, eq=False)
class Study:
    """The data of one study, each (images,): patient, label, scores and ratios of two models."""

    patients: np.ndarray
    labels: np.ndarray
    scores: list[np.ndarray]
    ratios: list[np.ndarray]


def draw_study(population: Population, rng: np.random.Generator) -> Study:
    n, patients = population.images, np.repeat(np.arange(population.images // 2), 2)
    labels = np.zeros(n, dtype=bool)
    while min(len(np.unique(patients[labels])), len(np.unique(patients[~labels]))) < 2:  # would not be published
        labels = rng.random(n if population.label_per_image else n // 2) < population.prevalence
        labels = labels if population.label_per_image else labels[patients]

    def noise() -> np.ndarray:
        of_patients, of_images = rng.normal(size=n // 2), rng.normal(size=n)
        return math.sqrt(population.icc) * of_patients[patients] + math.sqrt(1 - population.icc) * of_images

    def of_two_models() -> list[np.ndarray]:
        shared = noise()
        return [math.sqrt(0.5) * (shared + noise()) for _ in range(2)]

    areas = population.auc, population.auc - 0.05
    scores = [math.sqrt(2) * norm.ppf(area) * labels + own for area, own in zip(areas, of_two_models(), strict=True)]
    ratios = [np.exp(spread * own) for spread, own in zip(SPREADS, of_two_models(), strict=True)]
    return Study(patients, labels, scores, ratios)


def intervals(study: Study, resamples: int, seed: int) -> Iterator[tuple[str, str, Interval]]:
    """(statistic, interval, bounds) for all kinds of intervals; bootstrap intervals only with resamples."""
    for unit, ids in (("", study.patients), (NAIVE, np.arange(len(study.patients)))):
        aucs, test = delong(study.labels, study.scores, ids), delong_test(study.labels, *study.scores, ids)
        yield "AUC", f"{unit}DeLong, t", tuple(aucs.logit_t_intervals()[0])
        yield "difference", f"{unit}DeLong, t", test.t_interval()
        if unit != NAIVE:
            margin = norm.isf(0.025) * math.sqrt(test.variance)  # what the p-value from the normal distribution implies
            yield "AUC", "DeLong, Wald", tuple(aucs.wald_intervals()[0])
            yield "AUC", "DeLong, logit", tuple(aucs.logit_intervals()[0])
            yield "difference", "DeLong", (test.difference - margin, test.difference + margin)

        drawn = draw_patients(ids, study.labels, max(1, resamples), seed)
        everyone = np.ones((1, drawn.counts.shape[1]), dtype=np.uint8)
        estimates = _measured(study, PatientResamples(everyone, drawn.patient_of_image))
        groups = leave_out_patients(drawn)
        left_out = _measured(study, groups.resamples)
        samples = _measured(study, drawn) if resamples else {}
        for name, (estimate,) in estimates.items():
            of_patients, scale = (
                spread(estimate, left_out[name], groups.strata, groups.patients),
                SCALES.get(name, "identity"),
            )
            yield (
                name,
                f"{unit}t",
                student_interval(estimate, _moderated(name, estimate, of_patients, study, ids), scale=scale),
            )
            if resamples:
                yield name, f"{unit}percentile", percentile_interval(samples[name])
            if resamples and unit != NAIVE:
                yield name, "BCa", bca_interval(estimate, samples[name], left_out[name], strata=groups.strata)


def _moderated(name: str, estimate: float, of_patients: Spread, study: Study, ids: np.ndarray) -> Spread:
    """Moderates the variance of an AUC as the leaderboard does."""
    if name != "AUC":
        return of_patients
    positives, negatives = (effective_patients(ids[of_class]) for of_class in (study.labels, ~study.labels))
    return moderated(of_patients, auc_variance(estimate, positives, negatives))


def probability(score: np.ndarray | float) -> np.ndarray:
    """Probabilities of a positive label from a model that is miscalibrated on average and in spread."""
    return expit(1.5 * score - 1)


def _measured(study: Study, resamples: PatientResamples) -> dict[str, np.ndarray]:
    first, second = (auc_resampled(study.labels, scores, resamples) for scores in study.scores)
    ratio, other = (mean_resampled(ratios, resamples) for ratios in study.ratios)
    return {
        "AUC": first,
        "Brier": mean_resampled((probability(study.scores[0]) - study.labels) ** 2, resamples),
        "F1": confusion_resampled(study.labels, study.scores[0] >= THRESHOLD, resamples).f1,
        "ratio": ratio,
        "difference": first - second,
        "difference of ratios": ratio - other,
    }


@dataclass
class Held:
    """Counts of studies with the truth inside, below and above an interval; undefined is not inside."""

    studies: int = 0
    inside: int = 0
    below: int = 0
    above: int = 0
    widths: float = 0.0

    def add(self, bounds: Interval, truth: float) -> None:
        low, high = bounds
        self.studies += 1
        self.inside += low <= truth <= high
        self.below += truth < low
        self.above += truth > high
        self.widths += 0.0 if math.isnan(low) else high - low

    @property
    def coverage(self) -> float:
        return self.inside / self.studies

    @property
    def undefined(self) -> int:
        return self.studies - self.inside - self.below - self.above

    @property
    def width(self) -> float:
        """Mean over the studies where it is defined, NaN where it never is."""
        defined = self.studies - self.undefined
        return self.widths / defined if defined else math.nan

    def __str__(self) -> str:
        undefined = f"; {self.undefined}" if self.undefined else ""
        return f"{100 * self.coverage:.1f} ({self.width:.3f}{undefined})"


def simulation_error(studies: int) -> float:
    """Standard error of a coverage of 95 % over so many studies."""
    return math.sqrt(0.95 * 0.05 / studies)


def coverage(population: Population, studies: int, resamples: int, seed: int) -> dict[tuple[str, str], Held]:
    """The counts for each (statistic, interval) over a number of studies."""
    rng, truth = np.random.default_rng(seed), population.truth
    held: dict[tuple[str, str], Held] = {}
    for _ in range(studies):
        study = draw_study(population, rng)
        for name, interval, bounds in intervals(study, resamples, seed=int(rng.integers(2**32))):
            held.setdefault((name, interval), Held()).add(bounds, truth[name])
    return held


TABLES = {
    "AUC 0.80, half of the patients positive": [Population(n, 0.5) for n in IMAGES],
    "AUC 0.80, a fifth of the patients positive": [Population(n, 0.2) for n in IMAGES],
    "AUC 0.90, a fifth of the patients positive": [Population(n, 0.2, auc=0.9) for n in IMAGES[:3]],
    "AUC 0.80, a fifth of the images positive, whoever's they are": [
        Population(n, 0.2, label_per_image=True) for n in IMAGES[:3]
    ],
}


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--studies", type=int, default=4000, help="of up to 300 images; of more, half as many")
    options.add_argument("--resamples", type=int, default=2000)
    options.add_argument("--processes", type=int, default=2)
    chosen = options.parse_args()

    populations = sorted({p for table in TABLES.values() for p in table}, key=lambda p: -p.images)
    with ProcessPoolExecutor(chosen.processes) as processes:
        running = {
            population: processes.submit(
                coverage, population, chosen.studies // (1 + (population.images > 300)), chosen.resamples, seed
            )
            for seed, population in enumerate(populations)
        }
        for title, table in TABLES.items():
            print("\n".join(["", title, "", *markdown([(p.images, running[p].result()) for p in table])]), flush=True)


def markdown(columns: Sequence[tuple[int, dict[tuple[str, str], Held]]]) -> Iterator[str]:
    """Lines of a table: coverage in per cent, mean width in brackets, and the number of undefined intervals."""
    yield "| statistic | interval | " + " | ".join(f"n = {images:,}" for images, _ in columns) + " |"
    yield "| --- | --- |" + " --- |" * len(columns)
    for name, interval in sorted(columns[0][1], key=lambda row: (row[0], row[1].startswith(NAIVE))):
        yield f"| {name} | {interval} | " + " | ".join(str(of[name, interval]) for _, of in columns) + " |"
    errors = [f"{100 * simulation_error(next(iter(of.values())).studies):.1f}" for _, of in columns]
    yield "| | simulation error | " + " | ".join(errors) + " |"


if __name__ == "__main__":
    main()
