"""The optimism of the highest estimate, compared with simulated studies."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stats.selection import optimism_of_highest

CELLS = 9


def studies(truth, number, seed, shared=0.7):
    """(highest estimate minus its true value, estimated optimism) of studies with correlated errors of variance 1."""
    rng = np.random.default_rng(seed)

    def errors(rows):
        return np.sqrt(shared) * rng.normal(size=(rows, 1)) + np.sqrt(1 - shared) * rng.normal(size=(rows, CELLS))

    for estimates in truth + errors(number):
        highest = estimates.argmax()
        yield estimates[highest] - truth[highest], optimism_of_highest(estimates, estimates + errors(200))


@pytest.mark.parametrize("spread", [0.0, 0.5, 1.5], ids=["equal", "half a standard error apart", "far apart"])
def test_on_average_it_is_what_the_highest_has_too_much(spread):
    """Within a tenth for equal cells; the plain bootstrap would give two thirds of the true value."""
    had, estimated = np.transpose(list(studies(spread * np.linspace(-1, 1, CELLS), 1500, seed=5)))
    error = 2 * had.std() / np.sqrt(len(had))
    assert estimated.mean() == pytest.approx(had.mean(), abs=error + 0.12 * had.mean())
    assert estimated.mean() > 0.2


def test_a_cell_far_above_the_others_is_not_too_high():
    rng = np.random.default_rng(0)
    estimates = np.append(np.linspace(-1, 1, 8), 30.0)
    assert abs(optimism_of_highest(estimates, estimates + rng.normal(size=(2000, 9)))) < 0.05


@given(st.floats(-5, 5), st.floats(0.1, 10), st.permutations(range(5)))
def test_it_moves_with_the_scale_alone(shift, scale, order):
    rng = np.random.default_rng(1)
    estimates = rng.normal(size=5)
    samples = estimates + rng.normal(size=(300, 5))
    expected = scale * optimism_of_highest(estimates, samples)
    moved = optimism_of_highest(shift + scale * estimates[order], shift + scale * samples[:, order])
    assert moved == pytest.approx(expected, rel=1e-6, abs=1e-9)


def test_errors_are_scaled_to_their_standard_errors():
    rng = np.random.default_rng(3)
    estimates, noise = rng.normal(size=6), rng.normal(size=(4000, 6))
    noise = (noise - noise.mean(axis=0)) / noise.std(axis=0)
    errors = np.array([0.5, 1, 1, 2, 1, 1])
    expected = optimism_of_highest(estimates, estimates + errors * noise)
    assert optimism_of_highest(estimates, estimates + 0.8 * errors * noise, errors) == pytest.approx(expected)
    unknown = [np.nan, 0, 1, 2, 1, 1]
    some = estimates + np.array([0.5, 1, 1, 2, 1, 1]) * noise
    assert optimism_of_highest(estimates, some, unknown) == pytest.approx(expected)


def test_failed_cells_and_undefined_resamples_are_left_out():
    rng = np.random.default_rng(2)
    estimates = rng.normal(size=4)
    samples = estimates + rng.normal(size=(300, 4))
    expected = optimism_of_highest(estimates, samples)
    failed = np.insert(samples, 1, np.nan, axis=1)
    assert optimism_of_highest(np.insert(estimates, 1, np.nan), failed) == expected
    undefined = np.vstack([samples, [np.nan, 1, 1, 1]])
    assert optimism_of_highest(estimates, undefined) == expected


def test_where_there_is_no_choice_there_is_no_optimism():
    assert np.isnan(optimism_of_highest([0.7], np.full((10, 1), 0.7)))
    assert np.isnan(optimism_of_highest([0.7, np.nan], np.full((10, 2), 0.7)))
    assert optimism_of_highest([0.7, 0.7], np.full((10, 2), 0.7)) == pytest.approx(0, abs=1e-12)


def test_shapes_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match=r"estimates must have shape \(k,\)"):
        optimism_of_highest([0.7, 0.8], np.zeros((10, 3)))
