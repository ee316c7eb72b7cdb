"""How often a study makes a false claim, and by how much its highest AUC is too high.

    python -m tests.benchmark.claims

A study has nine cells, and its patients have one to four images. Scores of images of a patient correlate by 0.9, scores
of two cells by 0.5. Patients are positive at random.
"""

import argparse
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field

import numpy as np
from scipy.stats import norm

from benchmark.analysis.evidence import depends_p, with_evidence
from benchmark.analysis.measures import Resampled, estimate, p_above_chance, p_of_drop, standard_error
from benchmark.study.config import Statistics
from stats.bootstrap import auc_resampled
from stats.delong import delong_test
from stats.moderated import auc_variance
from stats.resamples import PatientResamples, draw_patients
from stats.selection import optimism_of_highest
from stats.shares import effective_patients

CELLS = 9
WITHIN, BETWEEN = 0.9, 0.5  # correlation of the images of a patient, and of two cells
AUC_DROPS = ("auc_drop_erased", "auc_drop_control", "auc_drop_difference")
SETTINGS = Statistics()
MARGIN = SETTINGS.equivalence_margin


@dataclass(frozen=True)
class Design:
    """The number of patients of a study, and the probability that a patient is positive."""

    patients: int
    prevalence: float


@dataclass(frozen=True, eq=False)
class Drawn:
    """Patients (n,) and labels (n,) of the images of one study."""

    patients: np.ndarray
    labels: np.ndarray
    rng: np.random.Generator = field(repr=False)

    @classmethod
    def of(cls, design: Design, rng: np.random.Generator) -> "Drawn":
        positive = np.zeros(design.patients, dtype=bool)
        while not 2 <= positive.sum() <= design.patients - 2:
            positive = rng.random(design.patients) < design.prevalence
        patients = np.repeat(np.arange(design.patients), rng.integers(1, 5, design.patients))
        return cls(patients, positive[patients], rng)

    def noise(self) -> np.ndarray:
        """Standard normal, one number per image."""
        of_patients, of_images = self.rng.normal(size=self.patients.max() + 1), self.rng.normal(size=len(self.patients))
        return math.sqrt(WITHIN) * of_patients[self.patients] + math.sqrt(1 - WITHIN) * of_images

    def scores(self, aucs: Sequence[float]) -> list[np.ndarray]:
        """Scores of models with these AUCs."""
        shared = self.noise()
        own = [math.sqrt(BETWEEN) * shared + math.sqrt(1 - BETWEEN) * self.noise() for _ in aucs]
        return [math.sqrt(2) * norm.ppf(auc) * self.labels + noise for auc, noise in zip(aucs, own, strict=True)]

    def erased(self, aucs: Sequence[float]) -> list[np.ndarray]:
        """Scores of one model on the images, without vessels and on the control, with shared and separate noise."""
        shared = self.noise()
        own = [math.sqrt(0.8) * shared + math.sqrt(0.2) * self.noise() for _ in aucs]
        return [math.sqrt(2) * norm.ppf(auc) * self.labels + noise for auc, noise in zip(aucs, own, strict=True)]


def guessing(design: Design, rng: np.random.Generator) -> tuple[bool, bool]:
    """Whether any of nine guessing cells is claimed to predict: by its own interval, and adjusted for nine."""
    drawn = Drawn.of(design, rng)
    resamples, rows, alone = draw_patients(drawn.patients, drawn.labels, 1, 0), [], False
    patients = [effective_patients(drawn.patients[of_class]) for of_class in (drawn.labels, ~drawn.labels)]

    def expected(values: Mapping[str, float]) -> dict[str, float]:
        return {"auc": auc_variance(values["auc"], *patients)}

    for scores in drawn.scores([0.5] * CELLS):

        def auc(counted: PatientResamples, scores: np.ndarray = scores) -> Resampled:
            return {"auc": auc_resampled(drawn.labels, scores, counted)}

        found = estimate(auc, resamples, SETTINGS, {"auc": "logit"}, expected)
        alone |= found.intervals["auc"][0] > 0.5
        rows.append({"auc": found.values["auc"], "auc_p": p_above_chance([found], SETTINGS)})
    return alone, any(row["predicts"] for row in with_evidence(rows, SETTINGS.confidence))


def independent(aucs: tuple[float, float, float]) -> Callable[[Design, np.random.Generator], tuple[bool, bool]]:
    """Whether any of nine cells is claimed to depend on vessels: by the difference alone, and by both adjusted drops.

    aucs: the AUC of every cell on the images, without vessels, and on the control.
    """

    def study(design: Design, rng: np.random.Generator) -> tuple[bool, bool]:
        drawn = Drawn.of(design, rng)
        resamples, rows, alone = draw_patients(drawn.patients, drawn.labels, 1, 0), [], False
        for _ in range(CELLS):
            values = drawn.erased(aucs)

            def drops(counted: PatientResamples, values: list[np.ndarray] = values) -> Resampled:
                original, erased, control = (auc_resampled(drawn.labels, value, counted) for value in values)
                return dict(zip(AUC_DROPS, (original - erased, original - control, control - erased), strict=True))

            found = estimate(drops, resamples, SETTINGS, dict.fromkeys(AUC_DROPS, "identity"))
            alone |= found.intervals["auc_drop_difference"][0] > 0
            both = [
                (found.values[name], p_of_drop(found, name, SETTINGS))
                for name in ("auc_drop_erased", "auc_drop_difference")
            ]
            rows.append({"auc": found.values["auc_drop_erased"], "depends_p": depends_p(both, erased_reversed=False)})
        return alone, any(row["depends"] for row in with_evidence(rows, SETTINGS.confidence))

    return study


def at_the_margin(design: Design, rng: np.random.Generator) -> tuple[bool, bool]:
    """Whether two AUCs are claimed to be equivalent: when they differ by the margin (error), when equal (power)."""
    claims = []
    for second in (0.80 - MARGIN, 0.80):
        drawn = Drawn.of(design, rng)
        test = delong_test(drawn.labels, *drawn.scores([0.80, second]), drawn.patients)
        claims.append(test.equivalence_p_value(MARGIN) <= 1 - SETTINGS.confidence)
    return claims[0], claims[1]


def highest(aucs: Sequence[float]) -> Callable[[Design, np.random.Generator], tuple[float, float]]:
    """By how much the highest of nine AUCs exceeds the true AUC of its cell: uncorrected and corrected."""

    def study(design: Design, rng: np.random.Generator) -> tuple[float, float]:
        drawn = Drawn.of(design, rng)
        resamples = draw_patients(drawn.patients, drawn.labels, 300, int(rng.integers(2**32)))
        scores = drawn.scores(aucs)

        def measured(counted: PatientResamples) -> Resampled:
            return {str(cell): auc_resampled(drawn.labels, of_cell, counted) for cell, of_cell in enumerate(scores)}

        found = estimate(measured, resamples, SETTINGS, dict.fromkeys(map(str, range(CELLS)), "logit"))
        values, samples = np.array(list(found.values.values())), np.stack(list(measured(resamples).values()), axis=1)
        excess = values.max() - aucs[int(values.argmax())]
        errors = [standard_error(found, name) for name in found.values]
        return float(excess), float(excess - optimism_of_highest(values, samples, errors))

    return study


Study = Callable[[Design, np.random.Generator], tuple[float, float]]
SIZES = [Design(40, 0.5), Design(100, 0.1), Design(400, 0.2)]
STUDIES: dict[str, tuple[Study, list[Design]]] = {
    "predicts": (guessing, [Design(40, 0.2), Design(100, 0.5), Design(400, 0.05), *SIZES]),
    "highest of equal AUCs": (highest([0.75] * CELLS), [Design(100, 0.5), *SIZES[1:]]),
    "highest of AUCs of 0.70 to 0.80": (
        highest(np.linspace(0.70, 0.80, CELLS).tolist()),
        [Design(100, 0.5), *SIZES[1:]],
    ),
    "equivalent": (at_the_margin, [Design(400, 0.2), Design(1600, 0.5), Design(6400, 0.2)]),
    "depends, AUC 0.80, 0.80, 0.80": (independent((0.80, 0.80, 0.80)), SIZES),
    "depends, AUC 0.80, 0.75, 0.75": (independent((0.80, 0.75, 0.75)), SIZES),
    "depends, AUC 0.80, 0.80, 0.83": (independent((0.80, 0.80, 0.83)), SIZES),
}


def rates(name: str, design: Design, studies: int, seed: int) -> np.ndarray:
    """Means of the two results over studies (2,), and their simulation errors (2,): (2, 2)."""
    rng = np.random.default_rng(seed)
    study, _ = STUDIES[name]
    results = np.array([study(design, rng) for _ in range(studies)], dtype=np.float64)
    return np.stack([results.mean(axis=0), results.std(axis=0) / math.sqrt(studies)])


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--studies", type=int, default=1000)
    options.add_argument("--only", default="", help="run only claims whose name begins with this text")
    options.add_argument("--processes", type=int, default=1)
    chosen = options.parse_args()
    with ProcessPoolExecutor(chosen.processes) as processes:
        running = {
            (name, design): processes.submit(rates, name, design, chosen.studies, seed)
            for seed, (name, design) in enumerate((name, one) for name in STUDIES for one in STUDIES[name][1])
            if name.startswith(chosen.only)
        }
        for line in markdown((name, design, future.result()) for (name, design), future in running.items()):
            print(line, flush=True)


def markdown(results: Iterator[tuple[str, Design, np.ndarray]]) -> Iterator[str]:
    """Lines of a table: both results in percent (highest AUC: in thousandths), with simulation errors."""
    yield "| claim | patients | positive | first | second |"
    yield "| --- | --- | --- | --- | --- |"
    for name, design, (means, errors) in results:
        scale = 1000 if name.startswith("highest") else 100
        shown = [f"{scale * mean:.1f} ({scale * error:.1f})" for mean, error in zip(means, errors, strict=True)]
        yield f"| {name} | {design.patients} | {100 * design.prevalence:g} % | {shown[0]} | {shown[1]} |"


if __name__ == "__main__":
    main()
