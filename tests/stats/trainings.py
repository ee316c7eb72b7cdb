"""False positive rate at 5 % for equal cells trained from several seeds: a table of docs/statistics.md.

    python -m tests.stats.trainings [--studies 400]

There are nine cells, three backbones with three strategies. The statistic is a mean over patients of log-normal values,
like a ratio. A patient's value has a part common to all cells, a part per cell and a part per trial, and each trial has
its own effect. The true values of all cells are equal.
"""

import argparse
import itertools
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from stats.intervals import student_interval
from stats.jackknife import Spread
from stats.seeds import TwoWay, two_way, two_way_interval

CELLS = [(backbone, strategy) for backbone in range(3) for strategy in range(3)]
PAIRS = [{a: 1.0, b: -1.0} for a, b in itertools.combinations(range(9), 2)]
STRATEGIES = [
    {cell: (1 if of == a else -1) / 3 for cell, (_, of) in enumerate(CELLS) if of in (a, b)}
    for a, b in itertools.combinations(range(3), 2)
]


@dataclass(frozen=True)
class Study:
    """patients: number of patients; seeds: of each cell; spread: standard deviation of the trials' effects, relative to
    a cell's standard error over patients; unequal: whether trials of the first strategy vary three times as much.
    """

    patients: int
    seeds: int
    spread: float
    unequal: bool = False


def draw(study: Study, rng: np.random.Generator) -> np.ndarray:
    """Values of patients in each trial of each cell, (9, seeds, patients)."""
    shape = (len(CELLS), study.seeds, study.patients)
    patient = rng.normal(size=(1, 1, study.patients))
    in_cell, in_training = rng.normal(size=(shape[0], 1, shape[2])), rng.normal(size=shape)
    values = np.exp(0.5 * (np.sqrt(0.5) * patient + np.sqrt(0.3) * in_cell + np.sqrt(0.2) * in_training))
    times = np.array([3 if study.unequal and strategy == 0 else 1 for _, strategy in CELLS])
    standard_error = np.sqrt((np.exp(0.25) - 1) * np.exp(0.25) / study.patients)
    return values + times[:, None, None] * study.spread * standard_error * rng.normal(size=(*shape[:2], 1))


def total(values: np.ndarray, weights: dict[int, float]) -> tuple[float, TwoWay]:
    """A contrast of cells' means and its standard errors; for a mean the jackknife's equals the ordinary one."""
    chosen, shares = values[list(weights)], np.array(list(weights.values()))
    patients = values.shape[-1]

    def spread(of_patient: np.ndarray) -> Spread:
        return Spread(float(of_patient.std(ddof=1) / np.sqrt(patients)), patients - 1)

    of_patient = shares @ chosen.mean(axis=1)
    deviations = chosen - chosen.mean(axis=1, keepdims=True)
    shared = [[spread(own).standard_error ** 2 for own in cell] for cell in deviations]
    if values.shape[1] == 1:
        return float(of_patient.mean()), TwoWay(spread(of_patient), Spread(0.0, np.nan), spread(of_patient))
    return float(of_patient.mean()), two_way(spread(of_patient), list(chosen.mean(axis=2)), shares, shared)


def summed(varies: TwoWay, seeds: int) -> Spread:
    """One variance with Welch-Satterthwaite degrees of freedom, which `two_way_interval` does not use."""
    parts = np.array([varies.patients_alone.standard_error, varies.seeds.standard_error]) ** 2
    freedom = np.array([varies.patients_alone.degrees_of_freedom, varies.seeds.degrees_of_freedom])
    return Spread(float(np.sqrt(parts.sum())), float(parts.sum() ** 2 / (parts**2 / freedom).sum()))


def rejected(study: Study, studies: int, seed: int = 0) -> dict[str, float]:
    """Shares of significant differences, and of studies with any after Holm's adjustment ("any")."""
    rng, found = np.random.default_rng(seed), {}

    def note(name: str, outside: bool) -> None:
        found[name] = found.get(name, 0) + outside

    for _ in range(studies):
        values = draw(study, rng)
        for family, contrasts in (("pairs", PAIRS), ("strategies", STRATEGIES)):
            first = 1 - 0.05 / len(contrasts)  # Holm's first step; if it rejects nothing, the procedure stops
            anything = of_one = False
            for weights in contrasts:
                difference, varies = total(values, weights)
                single, of_single = total(values[:, :1], weights)
                note(f"one training, {family}", _outside(student_interval(single, of_single.patients)))
                note(f"patients alone, {family}", _outside(student_interval(difference, varies.patients)))
                note(f"one variance, {family}", _outside(student_interval(difference, summed(varies, study.seeds))))
                note(family, _outside(two_way_interval(difference, varies)))
                anything |= _outside(two_way_interval(difference, varies, first))
                of_one |= _outside(student_interval(difference, summed(varies, study.seeds), first))
            note(f"any of {family}", anything)
            note(f"any of {family}, one variance", of_one)
    counts = {family: studies * len(contrasts) for family, contrasts in (("pairs", PAIRS), ("strategies", STRATEGIES))}
    return {
        name: total / (studies if name.startswith("any") else counts[name.split(", ")[-1]])
        for name, total in found.items()
    }


def _outside(bounds: tuple[float, float]) -> bool:
    return bool(bounds[0] > 0 or bounds[1] < 0)


STUDIES = [
    *(Study(patients, seeds, 1) for seeds in (2, 3, 5) for patients in (40, 100, 400)),
    *(Study(100, seeds, spread) for seeds in (2, 3, 5) for spread in (0, 3)),
    *(Study(100, seeds, 2, unequal=True) for seeds in (2, 3, 5)),
]
NAMES = ("pairs", "any of pairs", "strategies", "any of strategies")
OTHERS = ("one training, pairs", "patients alone, pairs", "one variance, pairs", "any of pairs, one variance")


def table(studies: int) -> Iterator[str]:
    yield "| seeds | patients | spread of trainings | " + " | ".join((*NAMES, *OTHERS)) + " |"
    yield "| --- " * (3 + len(NAMES) + len(OTHERS)) + "|"
    for study in STUDIES:
        found = rejected(study, studies)
        spread = f"{study.spread}{', unequal' if study.unequal else ''}"
        values = " | ".join(f"{100 * found[name]:.1f}" for name in (*NAMES, *OTHERS))
        yield f"| {study.seeds} | {study.patients} | {spread} | {values} |"


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--studies", type=int, default=400)
    for line in table(options.parse_args().studies):
        print(line, flush=True)


if __name__ == "__main__":
    main()
