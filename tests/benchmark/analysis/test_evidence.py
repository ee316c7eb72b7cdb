"""Claims about some of several trials, from p-values adjusted for all of them."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmark.analysis.evidence import SCHEMA, depends_p, erased_reversed, with_evidence

P = st.floats(0, 1)


def rows(p_values, auc=0.6, **others):
    return [{"auc": auc, "auc_p": p} | others for p in p_values]


def test_a_cell_of_nine_needs_a_ninth_of_the_level():
    """An interval above 0.5 (p of 0.03) is no evidence for the best of nine cells."""
    found = with_evidence(rows([0.03, *np.linspace(0.2, 0.9, 8)]), 0.95)
    assert found[0]["auc_p_holm"] == pytest.approx(0.27)
    assert not any(row["predicts"] for row in found)
    assert with_evidence(rows([0.03]), 0.95)[0]["predicts"]
    assert with_evidence(rows([0.005, *np.linspace(0.2, 0.9, 8)]), 0.95)[0]["predicts"]


def test_an_auc_shown_to_be_below_chance_does_not_predict():
    assert with_evidence(rows([1e-6], auc=0.3), 0.95)[0]["predicts"] is False


def test_what_was_not_tested_is_null_and_does_not_count():
    found = with_evidence(rows([0.03, np.nan, None]), 0.95)
    assert [row["predicts"] for row in found] == [True, None, None]
    assert {found[0][name] for name in ("depends", "above_null")} == {None}
    assert set(SCHEMA) - set(found[0]) <= {"depends_p", "erased_reversed"}
    assert with_evidence([], 0.95) == []


def test_the_other_two_are_read_alike():
    cells = rows([0.5, 0.5], depends_p=0.02, vessel_ratio_fov_null_p=0.03)
    cells[1] |= {"depends_p": 0.04, "vessel_ratio_fov_null_p": 0.01}
    found = with_evidence(cells, 0.95)
    assert [row["depends_p_holm"] for row in found] == [0.04, 0.04] and all(row["depends"] for row in found)
    assert [row["above_null"] for row in found] == [True, True]
    assert [row["above_null"] for row in with_evidence(cells, 0.98)] == [False, True]


@given(st.floats(-1, 1), P, st.floats(-1, 1), P)
def test_to_depend_both_drops_are_above_0(erased, p_erased, difference, p_difference):
    p_value = depends_p([(erased, p_erased), (difference, p_difference)], erased_reversed=False)
    shown = [drop > 0 and p <= 0.05 for drop, p in ((erased, p_erased), (difference, p_difference))]
    assert (p_value <= 0.05) == all(shown)
    assert p_value >= max(p_erased, p_difference) or p_value == 1


def test_an_auc_that_does_not_fall_without_vessels_is_not_said_to_need_them():
    """The AUC rises on the control, so the difference alone is far above 0."""
    assert depends_p([(-0.001, 0.9), (0.08, 1e-5)], erased_reversed=False) == 1
    assert np.isnan(depends_p([(0.1, np.nan), (0.08, 1e-5)], erased_reversed=False))


def test_a_model_that_ranks_the_wrong_way_round_without_vessels_is_not_said_to_need_them():
    """Both drops are large, but the loss of the vessels brings an AUC to 0.5, not below it."""
    assert [erased_reversed(high) for high in (0.49, 0.5, 0.7, np.nan)] == [True, False, False, False]
    assert depends_p([(0.6, 1e-9), (0.58, 1e-9)], erased_reversed=True) == 1
