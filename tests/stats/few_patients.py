"""Coverage of intervals for few patients with several images each: tables of docs/statistics.md.

    python -m tests.stats.few_patients [--studies 2000] [--table NAME ...]

A study has patients with one to four images, whose scores and ratios correlate by 0.9 within a patient. The prevalence
is the probability that a patient, and thus all images of the patient, are positive. Scores are normal in both classes,
so all true values are known in closed form, and risks are the true probabilities given the scores. If an interval needs
both classes, studies with fewer than three patients of a class are drawn again.
"""

import argparse
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property, partial

import numpy as np
from scipy.integrate import quad
from scipy.spatial.distance import squareform
from scipy.special import expit, logit
from scipy.stats import norm, rankdata

from benchmark.analysis.measures import SCALES, Resampled, Tested, estimate, estimate_calls, expected_variances
from benchmark.study.config import Statistics
from stats.bootstrap import auc_resampled, average_precision_resampled, mean_resampled
from stats.calibration import calibration_bands, calibration_bins
from stats.decision import decision_bands
from stats.delong import delong_test
from stats.intervals import percentile_interval
from stats.jackknife import TAIL, skewness
from stats.multiple import holm
from stats.operating import best_f1_threshold, confusion_resampled
from stats.ranks import rank_sets
from stats.resamples import PatientResamples, draw_patients
from tests.stats.coverage import Held
from xai.saliency import RATIOS

T = Statistics()
THRESHOLDS = np.array([0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 0.7])
Fared = dict[str, Held]  # counts by the name of an interval


@dataclass(frozen=True)
class Population:
    """patients of a study; prevalence among them; auc of the scores; icc: correlation within a patient."""

    patients: int
    prevalence: float
    auc: float = 0.8
    icc: float = 0.9

    @cached_property
    def gap(self) -> float:
        """How far the positives' scores lie above the negatives', both of variance 1."""
        return math.sqrt(2) * norm.ppf(self.auc)

    def risk(self, scores: np.ndarray) -> np.ndarray:
        """The true probability of a positive label."""
        return expit(logit(self.prevalence) + self.gap * scores - self.gap**2 / 2)

    def shares(self, low: float, high: float = math.inf) -> tuple[float, float]:
        """Of all images, the positive and the negative ones with a score from `low` to below `high`."""
        positive, negative = (norm.sf(low - mean) - norm.sf(high - mean) for mean in (self.gap, 0))
        return self.prevalence * positive, (1 - self.prevalence) * negative

    @cached_property
    def average_precision(self) -> float:
        """The precision at each positive's score, on average."""

        def precision(score: float) -> float:
            right, wrong = self.shares(score)
            return right / (right + wrong)

        found, _ = quad(lambda score: precision(score) * norm.pdf(score - self.gap), -8, 8 + self.gap)
        return found

    def f1(self, threshold: float) -> float:
        right, wrong = self.shares(threshold)
        return 2 * right / (right + wrong + self.prevalence)


@dataclass(frozen=True, eq=False)
class Study:
    """The data of one study, each (images,): patient, label and score."""

    patients: np.ndarray
    labels: np.ndarray
    scores: np.ndarray


def noise(patients: np.ndarray, icc: float, rng: np.random.Generator) -> np.ndarray:
    """Standard normal values (images,) that correlate by `icc` within a patient."""
    return math.sqrt(icc) * rng.normal(size=patients.max() + 1)[patients] + math.sqrt(1 - icc) * rng.normal(
        size=len(patients)
    )


def draw_study(population: Population, rng: np.random.Generator, least: int = 3) -> Study:
    """Whether there are at least so many patients of each class."""
    n = population.patients
    patients = np.repeat(np.arange(n), rng.integers(1, 5, size=n))
    positive = rng.random(n) < population.prevalence
    while not least <= positive.sum() <= n - least:
        positive = rng.random(n) < population.prevalence
    labels = positive[patients]
    return Study(patients, labels, noise(patients, population.icc, rng) + population.gap * labels)


def of_predictions(population: Population, rng: np.random.Generator, held: Fared) -> None:
    """AUC, average precision and balanced accuracy; "plain" uses only the spread between patients."""
    study = draw_study(population, rng)
    threshold = population.gap / 2
    ones = np.ones(len(study.labels))
    tested = Tested(study.labels, study.scores, threshold, dict.fromkeys(RATIOS, ones), ones)
    resamples = draw_patients(study.patients, study.labels, 1, 0)

    def measure(drawn: PatientResamples) -> Resampled:
        return {
            "auc": auc_resampled(study.labels, study.scores, drawn),
            "average_precision": average_precision_resampled(study.labels, study.scores, drawn),
            "balanced_accuracy": confusion_resampled(study.labels, study.scores >= threshold, drawn).balanced_accuracy,
        }

    plain = estimate(measure, resamples, T, SCALES)
    few = estimate(measure, resamples, T, SCALES, partial(expected_variances, tested, resamples))
    calls = estimate_calls(tested, threshold, resamples, T)
    truth = {
        "auc": population.auc,
        "average_precision": population.average_precision,
        "balanced_accuracy": norm.cdf(threshold),
    }
    for name, true in truth.items():
        held[f"{name}, plain"].add(plain.intervals[name], true)
        held[name].add((calls if name == "balanced_accuracy" else few).intervals[name], true)


def of_bands(population: Population, rng: np.random.Generator, held: Fared) -> None:
    """Bins, net benefit and its difference from treating all, by threshold; "resampled" uses percentiles."""
    study = draw_study(population, rng, least=0)
    risks = population.risk(study.scores)
    bins = calibration_bins(study.labels, risks, min(max(len(risks) // 40, 3), 10))
    bands = calibration_bands(bins, study.patients)
    edges = [study.scores[bins.bin_of_image == k].min() for k in range(1, len(bins.n))]
    for k, (low, high) in enumerate(zip((-math.inf, *edges), (*edges, math.inf), strict=True)):
        positive, negative = population.shares(low, high)
        held["calibration bin"].add((bands.low[k], bands.high[k]), positive / (positive + negative))

    of_curve = decision_bands(study.labels, risks, THRESHOLDS, study.patients)
    for k, threshold in enumerate(THRESHOLDS):
        harm = threshold / (1 - threshold)
        score = (logit(threshold) - logit(population.prevalence)) / population.gap + population.gap / 2
        right, wrong = population.shares(score)
        benefit = right - harm * wrong
        held[f"net benefit at {threshold:g}"].add((of_curve.model.low[k], of_curve.model.high[k]), benefit)
        everyone = population.prevalence - harm * (1 - population.prevalence)
        bounds = (of_curve.difference.low[k], of_curve.difference.high[k])
        held[f"difference at {threshold:g}"].add(bounds, benefit - everyone)


@dataclass(frozen=True)
class Ratios:
    """A ratio's quantile function, its mean and its geometric mean."""

    quantile: Callable[[np.ndarray], np.ndarray]
    mean: float
    geometric: float


RATIO_KINDS = {
    "log-normal, 0.3": Ratios(lambda u: np.exp(0.3 * norm.ppf(u)), math.exp(0.3**2 / 2), 1.0),
    "log-normal, 0.5": Ratios(lambda u: np.exp(0.5 * norm.ppf(u)), math.exp(0.5**2 / 2), 1.0),
    "Pareto, 2.5": Ratios(lambda u: (1 - u) ** (-1 / 2.5), 2.5 / 1.5, math.exp(1 / 2.5)),
    "log-logistic, 2.5": Ratios(
        lambda u: (u / (1 - u)) ** (1 / 2.5), math.pi / 2.5 / math.sin(math.pi / 2.5), 1.0
    ),
}  # fmt: skip


def of_ratios(kind: str, population: Population, rng: np.random.Generator, held: Fared) -> None:
    """Mean and geometric mean; "warned" counts the studies in which the page shows a warning."""
    patients = np.repeat(np.arange(population.patients), rng.integers(1, 5, size=population.patients))
    made = RATIO_KINDS[kind]
    ratios = made.quantile(norm.cdf(noise(patients, population.icc, rng)))
    once = PatientResamples(np.ones((1, population.patients), dtype=np.uint8), patients)

    def measure(drawn: PatientResamples) -> Resampled:
        return {"mean": mean_resampled(ratios, drawn), "geometric": np.exp(mean_resampled(np.log(ratios), drawn))}

    found = estimate(measure, once, T, {"mean": "log", "geometric": "log"})
    held["mean"].add(found.intervals["mean"], made.mean)
    held["geometric"].add(found.intervals["geometric"], made.geometric)
    held["warned"].add((TAIL, math.inf), skewness(found.left_out["mean"]))


def of_ranks(spacing: float, cells: int, population: Population, rng: np.random.Generator, held: Fared) -> None:
    """Ranks of cells whose true AUCs differ by `spacing`, on the same patients, with a correlation of noise of 0.5.

    A rank is one more than the number of cells with a higher AUC. "all": every cell's set contains its rank and, for
    equal cells, also the last rank; "first": the set of a cell of rank 1 does; "first, resampled": the percentiles of
    its ranks in 200 resamples do.
    """
    study = draw_study(population, rng)
    areas = population.auc - spacing * np.arange(cells)
    shared = noise(study.patients, population.icc, rng)
    scores = [
        math.sqrt(2) * norm.ppf(area) * study.labels
        + math.sqrt(0.5) * (shared + noise(study.patients, population.icc, rng))
        for area in areas
    ]
    pairs = [
        delong_test(study.labels, scores[i], scores[j], study.patients)
        for i in range(cells)
        for j in range(i + 1, cells)
    ]
    resamples = draw_patients(study.patients, study.labels, 200, int(rng.integers(2**32)))
    samples = np.stack([auc_resampled(study.labels, each, resamples) for each in scores], axis=1)
    once = replace(resamples, counts=np.ones((1, population.patients), dtype=np.uint8))
    estimates = np.array([auc_resampled(study.labels, each, once)[0] for each in scores])
    low, high = rank_sets(squareform(holm([pair.p_value for pair in pairs])), estimates).T
    first, last = (np.arange(1, cells + 1),) * 2 if spacing else (np.ones(cells), np.full(cells, cells))
    held["all"].add((0.0 if ((low <= first) & (last <= high)).all() else 1.0, 1.0), 0.0)
    held["first"].add((low[0], high[0]), 1)
    best, worst = percentile_interval(rankdata(-samples, axis=1)[:, 0])
    held["first, resampled"].add((math.floor(best), math.ceil(worst)), 1)


def of_f1(population: Population, rng: np.random.Generator, held: Fared) -> None:
    """F1 at a threshold chosen on 40 other patients: for this threshold, and on average over such thresholds."""
    validation = draw_study(replace(population, patients=40), rng)
    threshold = best_f1_threshold(validation.labels, validation.scores)
    study = draw_study(population, rng)
    ones = np.ones(len(study.labels))
    tested = Tested(study.labels, study.scores, threshold, dict.fromkeys(RATIOS, ones), ones)
    interval = estimate_calls(tested, threshold, draw_patients(study.patients, study.labels, 1, 0), T).intervals["f1"]
    held["of this threshold"].add(interval, population.f1(threshold))
    held["of the procedure"].add(interval, _procedures_f1(population))


_PROCEDURES: dict[Population, float] = {}


def _procedures_f1(population: Population) -> float:
    if population not in _PROCEDURES:
        rng, small = np.random.default_rng(0), replace(population, patients=40)
        chosen = (draw_study(small, rng) for _ in range(4000))
        _PROCEDURES[population] = float(
            np.mean([population.f1(best_f1_threshold(study.labels, study.scores)) for study in chosen])
        )
    return _PROCEDURES[population]


class _Missing(dict[str, Held]):
    def __missing__(self, name: str) -> Held:
        self[name] = Held()
        return self[name]


Draw = Callable[[Population, np.random.Generator, Fared], None]


def simulate(draw: Draw, population: Population, studies: int, seed: int = 0) -> Fared:
    """The counts of every interval for one kind of study."""
    rng, held = np.random.default_rng(seed), _Missing()
    for _ in range(studies):
        draw(population, rng, held)
    return held


FEW = [(40, 0.1), (40, 0.2), (100, 0.05), (100, 0.1), (200, 0.05), (40, 0.5), (400, 0.05), (400, 0.5)]
TABLES: dict[str, list[tuple[str, Draw, Population]]] = {
    "predictions": [
        (f"{n} patients, {100 * prevalence:g} %, AUC {auc}", of_predictions, Population(n, prevalence, auc))
        for n, prevalence in FEW
        for auc in ((0.7, 0.9) if n < 400 else (0.8,))
    ],
    "bands": [
        (f"{n} patients, {100 * prevalence:g} %", of_bands, Population(n, prevalence))
        for n in (40, 100, 200, 400)
        for prevalence in (0.05, 0.2, 0.5)
    ]
    + [("100 patients, 20 %, correlation 0.3", of_bands, Population(100, 0.2, icc=0.3))],
    "ratios": [
        (f"{kind}, {n} patients", partial(of_ratios, kind), Population(n, 0.5))
        for kind in RATIO_KINDS
        for n in (40, 100, 200, 400)
    ],
    "ranks": [
        (f"9 cells {spacing:g} apart, {n} patients", partial(of_ranks, spacing, 9), Population(n, 0.3))
        for spacing in (0, 0.002, 0.01)
        for n in (100, 400)
    ],
    "f1": [
        (f"{n} patients, {100 * prevalence:g} %", of_f1, Population(n, prevalence))
        for n in (100, 400)
        for prevalence in (0.2, 0.5)
    ],
}


def markdown(fared: list[tuple[str, Fared]]) -> Iterator[str]:
    """Lines of a table: coverage in per cent, with the number of studies without an interval."""
    names = list(fared[0][1])
    yield "| | " + " | ".join(names) + " |"
    yield "| --- |" + " --- |" * len(names)
    for title, held in fared:
        shown = [f"{100 * held[name].coverage:.1f}" + _without(held[name].undefined) for name in names]
        yield f"| {title} | " + " | ".join(shown) + " |"


def _without(undefined: int) -> str:
    return f" ({undefined})" if undefined else ""


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--studies", type=int, default=2000)
    options.add_argument("--table", nargs="*", choices=list(TABLES), default=list(TABLES))
    chosen = options.parse_args()
    for name in chosen.table:
        fared = [(title, simulate(draw, population, chosen.studies)) for title, draw, population in TABLES[name]]
        error = 100 * math.sqrt(0.95 * 0.05 / chosen.studies)
        print("\n".join(["", f"{name}: {chosen.studies} studies, simulation error {error:.1f}", "", *markdown(fared)]))


if __name__ == "__main__":
    main()
