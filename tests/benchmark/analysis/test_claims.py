"""How often studies make false claims; the table is in docs/statistics.md."""

import numpy as np
import pytest

from tests.benchmark.claims import CELLS, STUDIES, Design, Drawn, markdown, rates

LEVEL = 0.025  # of a false claim in one direction, where the intervals are of 95 %


def test_scores_have_their_aucs_and_correlate_as_said():
    drawn = Drawn.of(Design(60_000, 0.3), np.random.default_rng(0))
    images = np.bincount(drawn.patients)
    assert set(images) == {1, 2, 3, 4} and images.mean() == pytest.approx(2.5, abs=0.02)
    first, second = drawn.scores([0.8, 0.6])
    negatives = ~drawn.labels
    assert np.corrcoef(first[negatives], second[negatives])[0, 1] == pytest.approx(0.5, abs=0.02)
    starts = np.flatnonzero(negatives[:-1] & (drawn.patients[:-1] == drawn.patients[1:]))
    assert np.corrcoef(first[starts], first[starts + 1])[0, 1] == pytest.approx(0.9, abs=0.01)
    gap = first[drawn.labels].mean() - first[negatives].mean()
    assert gap == pytest.approx(1.19, abs=0.03)  # sqrt(2) times the normal quantile of 0.8


def test_few_studies_say_falsely_that_a_cell_predicts():
    """By unadjusted intervals, at least one of nine would be claimed in a tenth of the studies or more."""
    alone, adjusted = rates("predicts", Design(40, 0.5), studies=120, seed=3)[0]
    assert alone > 0.08
    assert adjusted <= LEVEL + 3 * np.sqrt(LEVEL * (1 - LEVEL) / 120)


def test_the_highest_auc_is_too_high_and_corrected_it_is_not():
    (as_it_is, corrected), errors = rates("highest of equal AUCs", Design(100, 0.5), studies=80, seed=3)
    assert as_it_is > 0.03
    assert abs(corrected) < 0.15 * as_it_is + 3 * errors[1]


def test_two_aucs_at_the_margin_are_seldom_called_equivalent_and_two_equal_ones_often():
    at_margin, equal = rates("equivalent", Design(3200, 0.5), studies=80, seed=3)[0]
    assert at_margin <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / 80)
    assert equal > 0.5


def test_the_table_has_every_study():
    results = [
        (name, design, np.array([[0.1, 0.02], [0.01, 0.003]]))
        for name, (_, designs) in STUDIES.items()
        for design in designs
    ]
    lines = list(markdown(iter(results)))
    assert len(lines) == 2 + len(results)
    assert lines[2] == "| predicts | 40 | 20 % | 10.0 (1.0) | 2.0 (0.3) |"
    assert CELLS == 9


@pytest.mark.slow
@pytest.mark.parametrize(("name", "design"), [(name, one) for name in STUDIES for one in STUDIES[name][1]], ids=str)
def test_no_claim_is_made_more_often_than_its_level(name, design):
    means, errors = rates(name, design, studies=400, seed=11)
    if name.startswith("highest"):
        assert abs(means[1]) <= 0.15 * means[0] + 2 * errors[1]
        return
    level = 0.05 if name == "equivalent" else LEVEL
    claimed = means[0] if name == "equivalent" else means[1]
    assert claimed <= level + 2 * np.sqrt(level * (1 - level) / 400)
