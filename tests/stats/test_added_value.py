"""Against R: `glm` for the models and their likelihood ratio, pROC for AUCs and their difference, rms with a spline."""

import numpy as np
import pytest
from scipy.special import expit, logit

from stats.added_value import MODELS, added_value, cross_fitted, folds_of
from stats.logistic import fit_logistic, likelihood_ratio
from stats.spline import knots, spline_columns
from tests.stats.covariates import AGE, LABEL, SCORE, SEX, I

COVARIATES = np.column_stack([AGE, SEX])


@pytest.fixture(scope="module")
def found():
    value = added_value(LABEL, COVARIATES, SCORE, I % 6)
    assert value is not None
    return value


def test_the_models_are_those_of_glm_and_proc(found):
    """`for (k in 0:5) p[fold==k] <- predict(glm(f, binomial, d[fold!=k,]), d[fold==k,], type="response")`.

    The mean over folds of `auc(roc(label[fold==k], p[fold==k]))`, and `sqrt(sum(var(roc)))/6`; of the score itself.
    """
    aucs = (0.827607980923254, 0.862803667112233, 0.862023676071664)
    errors = (0.02972728834092, 0.0281095529313925, 0.0281387326706215)
    briers = (0.173928871464347, 0.150400230240773, 0.144102111345429)
    assert [found.auc[name].value for name in MODELS] == pytest.approx(aucs, rel=1e-12)
    assert [found.brier[name].value for name in MODELS] == pytest.approx(briers, rel=1e-8)
    for area, error, each in zip(aucs, errors, found.auc.values(), strict=True):
        half = (logit(each.high) - logit(each.low)) / 2  # Student's t with about 150 degrees of freedom
        assert half == pytest.approx(1.977 * error / (area * (1 - area)), rel=0.005)
    for each in found.brier.values():
        assert each.low < each.value < each.high


def test_the_gain_is_that_of_proc(found):
    """The mean over folds of `auc(r2)-auc(r0)`, and `sqrt(sum(var(r2)+var(r0)-2*cov(r2,r0)))/6`."""
    assert found.auc_gain.value == pytest.approx(0.0344156951484093, rel=1e-12)
    half = (found.auc_gain.high - found.auc_gain.low) / 2
    assert half == pytest.approx(1.98 * 0.0201339590305058, rel=0.01)


def test_the_gain_of_the_brier_score_is_that_of_the_t_test(found):
    """`t.test((p0-label)^2 - (p2-label)^2)`."""
    expected = (0.029826760118919, 0.00906398224014909, 0.0505895379976888)
    gain = found.brier_gain
    assert (gain.value, gain.low, gain.high) == pytest.approx(expected, rel=1e-7)


def test_the_likelihood_ratio_is_that_of_glm(found):
    """`anova(glm(label~age+sex, binomial), glm(label~age+sex+score, binomial), test="LRT")`."""
    assert (found.test.statistic, found.test.p) == pytest.approx((24.034996083973, 9.46005460477664e-07), rel=1e-8)
    assert found.test.degrees_of_freedom == 1


def test_the_likelihood_ratio_with_a_spline_is_that_of_rms():
    """`lrtest(lrm(label ~ rcs(age, k) + sex), lrm(label ~ rcs(age, k) + sex + score))`."""
    smaller = np.column_stack([spline_columns(AGE, knots(AGE)), SEX])
    models = [fit_logistic(LABEL, smaller), fit_logistic(LABEL, np.column_stack([smaller, SCORE]))]
    assert models[0] is not None and models[1] is not None
    test = likelihood_ratio(models[0], models[1])
    assert (test.statistic, test.p) == pytest.approx((23.8577619647643, 1.03722797528683e-06), rel=1e-7)


@pytest.mark.slow
def test_a_score_that_is_age_and_noise_adds_nothing():
    """The likelihood ratio is below 5 % about as often as it should be, and cross-fitted gains are not above 0."""
    rng, small, gains = np.random.default_rng(0), 0, []
    for place in range(150):
        age = rng.normal(size=120)
        labels = rng.uniform(size=120) < expit(1.2 * age)
        score = age + rng.normal(size=120)
        value = added_value(labels, age[:, None], score, folds_of(labels, place))
        assert value is not None
        small += value.test.p < 0.05
        gains.append(value.auc_gain.value)
    assert small <= 16  # 7.5 expected; binomial, 99.9 %
    assert np.mean(gains) < 0.001


@pytest.mark.slow
def test_covariates_that_say_nothing_have_an_auc_of_a_half():
    """Ranked over all folds together, it would be 0.485, and the score would seem to add that much more."""
    rng, aucs = np.random.default_rng(0), []
    for place in range(150):
        labels = rng.uniform(size=120) < 0.4
        value = added_value(labels, rng.normal(size=(120, 3)), labels + rng.normal(size=120), folds_of(labels, place))
        assert value is not None
        aucs.append(value.auc["covariates"].value)
    assert np.mean(aucs) == pytest.approx(0.5, abs=0.0135)  # three standard errors


def test_folds_have_equal_shares_of_both_classes():
    fold = folds_of(LABEL, seed=1)
    positives, everyone = np.bincount(fold[LABEL == 1]), np.bincount(fold)
    assert len(everyone) == 10
    assert np.ptp(positives) <= 1 and np.ptp(everyone - positives) <= 1
    assert (fold == folds_of(LABEL, seed=1)).all() and (fold != folds_of(LABEL, seed=2)).any()
    assert set(folds_of([1] * 7 + [0] * 9)) == {0, 1, 2}, "two patients of each class in each"
    assert set(folds_of([1, 0, 0])) == {0, 1}


def test_no_patient_has_a_part_in_the_own_risk():
    """Changing a patient's label changes the risks of all other folds, and none of the patient's fold."""
    changed = LABEL.copy()
    changed[0] = 1 - changed[0]
    before, after = (cross_fitted(each, COVARIATES, I % 6) for each in (LABEL, changed))
    assert before is not None and after is not None
    np.testing.assert_array_equal((before == after)[I % 6 == 0], True)
    assert (before != after)[I % 6 != 0].all()


def test_covariates_that_separate_the_classes_have_no_answer():
    assert added_value(LABEL, LABEL[:, None] * 2.0, SCORE, I % 6) is None
    assert cross_fitted(LABEL, COVARIATES, np.zeros(180)) is None
