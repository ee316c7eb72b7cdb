"""A ratio over its null, compared with a slow loop over pairs, and the coverage of its interval."""

import numpy as np
import pytest

from stats.intervals import student_interval
from stats.jackknife import leave_out_patients, spread
from stats.over_null import over_null_resampled
from stats.resamples import PatientResamples


def everyone(patients):
    patient = np.unique(patients, return_inverse=True)[1]
    return PatientResamples(np.ones((1, patient.max() + 1), np.uint8), patient)


def pairs_of(generator, patients, effect=0.0):
    """(n, n): the ratio of each map on each image's vessels, with a common layout and an effect of the own vessels."""
    n = len(patients)
    of_patient = generator.normal(size=(2, patients.max() + 1))[:, patients]
    logs = 0.15 * (of_patient[0] + generator.normal(size=n))[:, None]
    logs = logs + 0.25 * (of_patient[1] + 0.3 * generator.normal(size=n)) + 0.1 * generator.normal(size=(n, n))
    return np.exp(logs + effect * np.eye(n))


def parts(pairs, patients):
    """ratios, expected, given: the means over other patients, each patient's images averaged first."""
    of_patient = np.stack([pairs[:, patients == one].mean(axis=1) for one in range(patients.max() + 1)], axis=1)
    of_patient[np.arange(len(patients)), patients] = np.nan
    return np.diag(pairs), np.nanmean(of_patient, axis=1), np.nanmean(of_patient, axis=0)[patients]


def test_everyone_once_gives_the_quotient_of_the_means():
    patients = np.array([0, 0, 1, 2, 2, 2])
    ratios, expected, given = parts(pairs_of(np.random.default_rng(0), patients), patients)
    for by_others in (given, None):
        (found,) = over_null_resampled(ratios, expected, by_others, everyone(patients))
        assert found == pytest.approx(ratios.mean() / expected.mean())


def test_leaving_a_patient_out_takes_their_vessels_from_the_others():
    """To first order, equal to a slow loop over the pairs of the remaining patients."""
    patients = np.repeat(np.arange(40), 2)
    pairs = pairs_of(np.random.default_rng(1), patients)
    left_out = over_null_resampled(*parts(pairs, patients), leave_out_patients(everyone(patients)).resamples)
    slow, fixed = [], []
    for one in range(40):
        stay = patients != one
        names = np.unique(patients[stay], return_inverse=True)[1]
        ratios, expected, _ = parts(pairs[np.ix_(stay, stay)], names)
        slow.append(ratios.mean() / expected.mean())
        ratios, expected, _ = parts(pairs, patients)
        fixed.append(ratios[stay].mean() / expected[stay].mean())
    np.testing.assert_allclose(left_out - left_out.mean(), slow - np.mean(slow), atol=6e-4)
    assert np.std(fixed) > 1.3 * np.std(slow), "with the others' vessels kept as they are, it would vary more"


def test_what_is_missing_is_left_out():
    ratios, expected = np.array([2.0, np.nan, 3.0, 4.0]), np.array([1.0, 5.0, np.nan, 2.0])
    given = np.array([1.0, np.nan, 1.0, 1.0])
    assert over_null_resampled(ratios, expected, given, everyone(np.arange(4))) == pytest.approx(2.0)
    nobody = np.full(4, np.nan)
    assert np.isnan(over_null_resampled(nobody, expected, None, everyone(np.arange(4)))).all()


@pytest.mark.parametrize(
    ("count", "studies"),
    [(25, 300), pytest.param(12, 600, marks=pytest.mark.slow), pytest.param(60, 600, marks=pytest.mark.slow)],
)
def test_its_interval_holds_the_truth(count, studies):
    """Patients with one to four images and very different positions of vessels; the true effect is 1.1."""
    held, widths = [], {"given": 0.0, "fixed": 0.0}
    for seed in range(studies):
        generator = np.random.default_rng([seed, count])
        patients = np.repeat(np.arange(count), generator.integers(1, 5, count))
        ratios, expected, given = parts(pairs_of(generator, patients, np.log(1.1)), patients)
        groups = leave_out_patients(everyone(patients))
        for name, by_others in (("given", given), ("fixed", None)):
            (value,) = over_null_resampled(ratios, expected, by_others, everyone(patients))
            left_out = over_null_resampled(ratios, expected, by_others, groups.resamples)
            low, high = student_interval(value, spread(value, left_out, groups.strata, groups.patients), scale="log")
            widths[name] += high - low
            if name == "given":
                held.append(low <= 1.1 <= high)
    assert 0.95 - 2.5 * np.sqrt(0.05 * 0.95 / studies) <= np.mean(held) <= 0.98
    assert widths["given"] < 0.6 * widths["fixed"], "a patient's own vessels explain most of how patients differ"
