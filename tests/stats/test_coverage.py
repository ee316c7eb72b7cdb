import math

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.stats import norm
from sklearn.metrics import brier_score_loss, f1_score, roc_auc_score

from tests.stats.coverage import (
    NAIVE,
    THRESHOLD,
    Held,
    Population,
    coverage,
    draw_study,
    intervals,
    markdown,
    probability,
    simulation_error,
)

WITHIN = 0.01


@pytest.mark.parametrize("label_per_image", [False, True])
def test_the_truth_is_what_scikit_learn_finds_in_a_very_large_study(label_per_image):
    population = Population(600_000, 0.2, label_per_image=label_per_image)
    study = draw_study(population, np.random.default_rng(0))
    first, second = (roc_auc_score(study.labels, scores) for scores in study.scores)
    assert first == pytest.approx(population.truth["AUC"], abs=0.004)
    assert first - second == pytest.approx(population.truth["difference"], abs=0.004)
    f1 = f1_score(study.labels, study.scores[0] >= THRESHOLD)
    assert f1 == pytest.approx(population.truth["F1"], abs=0.004)
    ratio, other = (ratios.mean() for ratios in study.ratios)
    assert ratio == pytest.approx(population.truth["ratio"], abs=0.005)
    assert ratio - other == pytest.approx(population.truth["difference of ratios"], abs=0.005)
    brier = brier_score_loss(study.labels, probability(study.scores[0]))
    assert brier == pytest.approx(population.truth["Brier"], abs=0.002)
    assert study.labels.mean() == pytest.approx(0.2, abs=0.003)


@pytest.mark.parametrize("auc", [0.6, 0.8, 0.95])
def test_the_area_of_the_drawn_scores_is_the_integral_of_their_roc_curve(auc):
    study = draw_study(Population(200_000, 0.5, auc=auc), np.random.default_rng(1))
    of_class = [study.scores[0][study.labels == label] for label in (0, 1)]
    negative, positive = (norm(scores.mean(), scores.std()) for scores in of_class)
    area, _ = quad(lambda x: positive.sf(x) * negative.pdf(x), -10, 10)
    assert area == pytest.approx(auc, abs=0.005)


def test_two_images_of_a_patient_correlate_and_so_do_two_models():
    study = draw_study(Population(200_000, 0.5, icc=0.65), np.random.default_rng(2))
    first, second = (scores[study.labels == 0] for scores in study.scores)
    ratio, other = np.log(study.ratios)
    for values in (first, second, ratio, other):
        assert np.corrcoef(values[::2], values[1::2])[0, 1] == pytest.approx(0.65, abs=0.01)
    for pair in ((first, second), (ratio, other)):
        assert np.corrcoef(*pair)[0, 1] == pytest.approx(0.5, abs=0.01)


def test_patients_have_two_images_and_how_many_are_positive_is_chance():
    rng = np.random.default_rng(3)
    studies = [draw_study(Population(60, 0.2), rng) for _ in range(400)]
    for study in studies:
        assert np.unique(study.patients, return_counts=True)[1].tolist() == [2] * 30
        assert (study.labels[::2] == study.labels[1::2]).all()
    positives = np.array([study.labels[::2].sum() for study in studies])
    assert positives.min() >= 2
    assert positives.mean() == pytest.approx(6, abs=0.5)
    assert positives.std() == pytest.approx((30 * 0.2 * 0.8) ** 0.5, abs=0.3)
    mixed = draw_study(Population(60, 0.2, label_per_image=True), rng)
    assert np.unique(mixed.patients[mixed.labels]).size > mixed.labels.sum() / 2


def test_an_interval_is_counted_inside_below_above_or_undefined():
    held = Held()
    for bounds in ((0.1, 0.3), (0.3, 0.4), (0.0, 0.1), (math.nan, math.nan)):
        held.add(bounds, truth=0.2)
    assert (held.coverage, held.below, held.above, held.undefined) == (0.25, 1, 1, 1)
    assert held.width == pytest.approx(0.4 / 3)
    assert str(held) == "25.0 (0.133; 1)"


def test_the_table_has_every_interval_once():
    fared = coverage(Population(60, 0.5), studies=3, resamples=200, seed=0)
    lines = list(markdown([(60, fared)]))
    made = [row[:2] for row in intervals(draw_study(Population(60, 0.5), np.random.default_rng(0)), 200, 0)]
    assert len(made) == len(set(made)) == len(fared)
    assert len(lines) == 2 + len(made) + 1
    assert all(line.count("|") == 4 for line in lines)


@pytest.mark.slow
@pytest.mark.parametrize(
    "population",
    [
        Population(60, 0.5),
        Population(60, 0.2),
        Population(120, 0.2, auc=0.9),
        Population(300, 0.5),
        Population(1000, 0.2),
        Population(3000, 0.5),
    ],
    ids=str,
)
def test_intervals_over_patients_hold_and_those_over_images_do_not(population):
    """Within one percentage point of 95 % plus two standard errors of the simulation.

    Coverage is too high for F1 with six positive patients, and for the moderated interval of an AUC with 30 patients or
    fewer of a class. It is half a percentage point too low for ratios of 30 patients. docs/statistics.md has the
    bootstrap intervals.
    """
    studies = 8000 if population.images <= 300 else 2000
    fared = coverage(population, studies, resamples=0, seed=1)
    error = WITHIN + 2 * simulation_error(studies)
    for (statistic, interval), held in fared.items():
        if interval in ("t", "DeLong, t"):
            few = statistic == "AUC" and interval == "t" and population.images * population.prevalence <= 60
            most = 0.98 if statistic == "F1" or few else 0.95 + error
            assert 0.95 - error <= held.coverage <= most, (statistic, interval, held.coverage)
        if interval.startswith(NAIVE) and statistic != "F1":
            assert held.coverage < 0.905, (statistic, interval, held.coverage)
