"""Against R's aov and lme4 1.1.31 (values are stored here), and on values whose components are known."""

import numpy as np
import pytest

from stats.cross_validated import cross_validated_mean, fold_layout
from stats.variance_components import components

# One row per seed. R: x <- data.frame(auc = c(...), seed = factor(rep(1:3, each = 4)), split = factor(rep(1:4, 3))).
P = np.array([[0.71, 0.74, 0.69, 0.75], [0.73, 0.78, 0.70, 0.77], [0.70, 0.76, 0.72, 0.74]])
Q = np.array([[0.81, 0.80, 0.79, 0.85], [0.83, 0.84, 0.82, 0.85], [0.80, 0.83, 0.82, 0.80]])


def test_one_cell_is_lme4s():
    """lmer(auc ~ 1 + (1|seed) + (1|split), x): with a balanced table, REML is the method of moments."""
    found = components([P], [(0.0, 0.0)], 10)
    assert found.splits.variance == pytest.approx(0.000738886915304, rel=1e-5)
    assert found.seeds.variance == pytest.approx(0.000083332724806, rel=1e-5)
    assert found.rest.variance == pytest.approx(0.000191667124544, rel=1e-5)


def test_several_cells_pool_their_mean_squares():
    """anova(aov(auc ~ cell + cell:seed + cell:split, y)): mean squares 0.0006, 0.0013708333333, 0.0002833333333."""
    found = components([P, Q], [(0.0, 0.0)] * 2, 10)
    assert found.seeds.variance == pytest.approx((0.0006 - 0.0002833333333) / 4)
    assert found.splits.variance == pytest.approx((0.0013708333333 - 0.0002833333333) / 3)
    assert found.rest.variance == pytest.approx(0.0002833333333)


def test_one_seed_or_one_repeat_leaves_components_unknown():
    one_seed = components([P[:1]], [(0.0, 0.0)], 10)
    assert one_seed.splits.variance == pytest.approx(P[0].var(ddof=1))
    assert np.isnan([one_seed.seeds.variance, one_seed.rest.variance]).all()
    one_repeat = components([P[:, :1]], [(0.0, 0.0)], 10)
    assert one_repeat.seeds.variance == pytest.approx(P[:, 0].var(ddof=1))
    alone = components([P[:1, :1]], [(5e-4, 1e-4)], 3)
    assert alone.total == pytest.approx(4e-4) == alone.patients.variance
    assert np.isnan(alone.splits.variance)


def test_cells_of_different_shapes_are_refused():
    with pytest.raises(ValueError, match="the same seeds and repeats in every cell"):
        components([P, P[:2]], [(0.0, 0.0)] * 2, 10)


@pytest.fixture(scope="module")
def studies():
    """Components of 300 simulated studies: means of 60 patients' values, with 4 seeds and 5 repeats of 3 folds.

    Standard deviations: of a patient's value 1, and of the same patient in one training 0.5; of a seed 0.1, of a
    repeat 0.2, of a training 0.15.
    """
    rng, found = np.random.default_rng(5), []
    patients = np.tile(np.arange(60), 5)
    layout = fold_layout(
        patients, np.repeat(np.arange(5), 60), np.concatenate([rng.permutation(60) % 3 for _ in range(5)])
    )
    for _ in range(300):
        of_patient, of_repeat = rng.normal(0, 1, 60), rng.normal(0, 0.2, 5)
        trials = []
        for of_seed in rng.normal(0, 0.1, 4):
            of_training = of_repeat + rng.normal(0, 0.15, 5)
            trials.append(np.concatenate([of_patient + of_seed + b + rng.normal(0, 0.5, 60) for b in of_training]))
        result = cross_validated_mean(trials, layout)
        found.append(components([result.by_repeat], [result.patients_variance(range(4))], 57))
    return found


@pytest.mark.parametrize(
    ("name", "variance"),
    [
        ("patients", 1 / 60),
        ("seeds", 0.1**2),
        ("splits", 0.2**2),
        # What is special to a patient in one training is part of the rest.
        ("rest", 0.15**2 + 0.5**2 / 60),
    ],
)
def test_known_components_come_out_again(studies, name, variance):
    parts = [getattr(study, name) for study in studies]
    mean, error = np.mean([part.variance for part in parts]), np.std([part.variance for part in parts]) / np.sqrt(300)
    assert abs(mean - variance) < 4 * error + 0.01 * variance
    covered = np.mean([part.low <= variance <= part.high for part in parts])
    assert 0.91 <= covered <= 0.99


def test_the_variance_of_the_mean_of_all_trainings(studies):
    """Patients do not average out; seeds, splits and the rest do."""
    expected = 1 / 60 + 0.1**2 / 4 + 0.2**2 / 5 + (0.15**2 + 0.5**2 / 60) / 20
    assert np.mean([study.of_mean(4, 5) for study in studies]) == pytest.approx(expected, rel=0.1)
    assert np.mean([study.total for study in studies]) == pytest.approx(1 / 60 + 0.05 + 0.0225 + 0.25 / 60, rel=0.1)


def test_no_shared_part_is_not_known_to_be_zero():
    """The mean varies by what is special to trainings alone: the shared variance is 0, but its interval is not."""
    found = components([P], [(3e-4, 4e-4)], 20)
    assert found.patients.variance == found.patients.low == 0
    assert found.patients.high == pytest.approx(20 * 3e-4 / 9.59077739 - 4e-4)  # R: qchisq(0.025, 20)
