"""Isotonic recalibration, compared with scikit-learn."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from sklearn.isotonic import IsotonicRegression

from stats.isotonic import fit_isotonic

images = st.lists(st.tuples(st.booleans(), st.integers(0, 12)), min_size=2, max_size=60)


@given(images)
def test_as_scikit_learn_where_a_step_has_both_classes(rows):
    """Ours moves steps of one class away from 0 and 1; elsewhere both agree, at the scores and between them."""
    labels, scores = np.array([label for label, _ in rows]), np.array([score for _, score in rows]) / 12
    ours = fit_isotonic(labels, scores)
    theirs = IsotonicRegression(out_of_bounds="clip").fit(scores, labels).predict(ours.scores)
    mixed = (theirs > 1e-9) & (theirs < 1 - 1e-9)
    assert np.allclose(ours.of(ours.scores)[mixed], theirs[mixed], atol=1e-12)
    assert ((ours.risks > 0) & (ours.risks < 1)).all()
    assert (np.diff(ours.risks) >= 0).all()


@given(images, st.floats(0, 1))
def test_a_higher_score_never_has_a_lower_risk(rows, share):
    labels, scores = np.array([label for label, _ in rows]), np.array([score for _, score in rows]) / 12
    fitted = fit_isotonic(labels, scores)
    at = fitted.of([share * 0.5, share])
    assert at[0] <= at[1]


def test_steps_of_one_class():
    """Three negative images below, two positive ones above: half an image of six is left to the other class."""
    fitted = fit_isotonic([0, 0, 0, 1, 1], [0.1, 0.2, 0.2, 0.6, 0.9])
    assert np.allclose(fitted.of([0.0, 0.15, 0.4, 0.6, 1.0]), [1 / 12, 1 / 12, 0.5, 11 / 12, 11 / 12])
