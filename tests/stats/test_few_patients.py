"""The populations of `tests.stats.few_patients` compared with large samples, and the coverage of intervals in them."""

import math

import numpy as np
import pytest
from scipy.stats import gmean
from sklearn.metrics import average_precision_score, f1_score, roc_auc_score

from tests.stats.coverage import simulation_error
from tests.stats.few_patients import (
    RATIO_KINDS,
    TABLES,
    Population,
    draw_study,
    markdown,
    noise,
    of_bands,
    of_predictions,
    of_ranks,
    of_ratios,
    simulate,
)

FEW = [Population(100, 0.05, 0.9), Population(40, 0.2, 0.7), Population(200, 0.05, 0.7)]


def test_truths_are_what_scikit_learn_finds_in_a_very_large_study():
    population = Population(200_000, 0.2)
    study = draw_study(population, np.random.default_rng(0))
    assert roc_auc_score(study.labels, study.scores) == pytest.approx(0.8, abs=0.004)
    assert average_precision_score(study.labels, study.scores) == pytest.approx(population.average_precision, abs=0.01)
    assert f1_score(study.labels, study.scores >= 0.7) == pytest.approx(population.f1(0.7), abs=0.006)
    near = np.abs(study.scores - 0.5) < 0.05
    assert study.labels[near].mean() == pytest.approx(population.risk(np.array([0.5]))[0], abs=0.02)
    right, wrong = population.shares(0.2, 0.9)
    between = (study.scores >= 0.2) & (study.scores < 0.9)
    assert (study.labels & between).mean() == pytest.approx(right, abs=0.003)
    assert (~study.labels & between).mean() == pytest.approx(wrong, abs=0.005)


@pytest.mark.parametrize("kind", RATIO_KINDS)
def test_means_of_ratios_are_those_of_many(kind):
    made = RATIO_KINDS[kind]
    values = made.quantile((np.arange(4_000_000) + 0.5) / 4_000_000)
    assert values.mean() == pytest.approx(made.mean, rel=0.005)
    assert gmean(values) == pytest.approx(made.geometric, rel=1e-3)


def test_images_of_a_patient_correlate():
    values = noise(np.repeat(np.arange(100_000), 2), 0.9, np.random.default_rng(1))
    assert np.corrcoef(values[::2], values[1::2])[0, 1] == pytest.approx(0.9, abs=0.01)


def test_a_table_has_a_row_for_each_design():
    lines = list(markdown([(title, simulate(draw, population, 2)) for title, draw, population in TABLES["bands"][:2]]))
    assert len(lines) == 4
    assert lines[0].startswith("| | calibration bin | net benefit at 0.02 | difference at 0.02 |")


def test_few_positive_patients_do_not_make_an_auc_too_sure():
    """150 studies with about five positive patients and an AUC of 0.9; the spread alone has a coverage of 89 %."""
    held = simulate(of_predictions, Population(100, 0.05, 0.9), 150)
    assert held["auc"].coverage > held["auc, plain"].coverage
    for name in ("auc", "average_precision", "balanced_accuracy"):
        assert held[name].coverage >= 0.95 - 2 * math.sqrt(0.95 * 0.05 / 150)


@pytest.mark.slow
@pytest.mark.parametrize("population", FEW, ids=str)
def test_intervals_of_predictions_hold_with_few_positive_patients(population):
    held = simulate(of_predictions, population, 2000, seed=1)
    for name in ("auc", "average_precision", "balanced_accuracy"):
        assert held[name].coverage >= 0.95 - 2 * simulation_error(2000), name


@pytest.mark.slow
@pytest.mark.parametrize("population", [Population(100, 0.05), Population(100, 0.2), Population(200, 0.5)], ids=str)
def test_bands_hold_at_every_threshold(population):
    for name, held in simulate(of_bands, population, 2000, seed=1).items():
        bins = 5 if name == "calibration bin" else 1  # several in each study, though not independent
        assert held.coverage >= 0.95 - 2 * simulation_error(held.studies // bins) - 0.005, name
        assert held.undefined == 0, name


@pytest.mark.slow
@pytest.mark.parametrize("spacing", [0, 0.002])
def test_ranks_hold_all_at_once_where_resampled_ones_do_not(spacing):
    held = simulate(lambda *drawn: of_ranks(spacing, 9, *drawn), Population(100, 0.3), 300, seed=1)
    assert held["all"].coverage >= 0.95 - 2 * simulation_error(300)
    assert held["first, resampled"].coverage < 0.8


@pytest.mark.slow
def test_heavy_tails_are_warned_of_and_light_ones_are_not():
    heavy, light = (
        simulate(lambda *drawn, kind=kind: of_ratios(kind, *drawn), Population(100, 0.5), 1000, seed=1)
        for kind in ("Pareto, 2.5", "log-normal, 0.3")
    )
    assert heavy["mean"].coverage < 0.92
    assert heavy["warned"].coverage > 0.88
    assert light["warned"].coverage < 0.07
    assert light["mean"].coverage >= 0.95 - 2 * simulation_error(1000)
