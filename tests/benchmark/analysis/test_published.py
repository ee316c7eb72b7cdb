from itertools import product
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from scipy.stats import rankdata

from benchmark.analysis import published as reference
from finetune.strategies import STRATEGIES
from stats.correlation import spearman, spearman_resampled
from xai.saliency import RATIOS

PAIRS = list(product(reference.PERFORMANCE, reference.EXPLAINABILITY))


def columns(pair):
    table = reference.cells()
    return [table[name].to_numpy() for name in pair]


def orders(pair):
    """Every order of the one with every order of the other, (pairings, 9) each."""
    x, y = map(reference.orders_behind, columns(pair))
    return np.repeat(x, len(y), axis=0), np.tile(y, (len(x), 1))


@pytest.fixture(scope="module")
def recomputed():
    return {(row["performance"], row["explainability"]): row for row in reference.recomputed().iter_rows(named=True)}


@pytest.mark.parametrize("name", ["snuh_2025_performance.csv", "snuh_2025_explainability.csv"])
def test_the_packaged_tables_are_the_transcribed_ones(shared, name):
    packaged = Path(reference.__file__).parent / "reference_data" / name
    assert packaged.read_bytes() == (shared / "reference" / name).read_bytes()


def test_nine_cells_in_the_names_of_the_leaderboard():
    table = reference.cells()
    assert table.height == 9
    assert table.select("model", "strategy").n_unique() == 9
    assert set(table["strategy"]) <= set(STRATEGIES)
    assert not any(table.null_count().row(0))
    assert set(reference.EXPLAINABILITY) <= set(RATIOS)
    for name in (*reference.PERFORMANCE, *reference.EXPLAINABILITY):
        assert table[name].is_between(table[f"{name}_low"], table[f"{name}_high"]).all()
    best = table.row(by_predicate=(pl.col("model") == "DINOv2") & (pl.col("strategy") == "lora"), named=True)
    assert [best[name] for name in ("auc", "f1", "artery_ratio", "vein_ratio", "vessel_ratio")] == [
        0.71, 0.62, 1.47, 1.37, 1.41,
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("pair", "rho"), zip(PAIRS, [0.042, 0.068, 0.004, -0.017, 0.205, -0.099], strict=True), ids=map("-".join, PAIRS)
)
def test_rho_of_the_printed_figures(recomputed, pair, rho):
    assert recomputed[pair]["rho"] == pytest.approx(rho, abs=5e-4)
    assert recomputed[pair]["n_cells"] == 9


def test_auc_against_the_vessel_ratio(recomputed):
    row = recomputed["auc", "vessel_ratio"]
    assert row["p_value"] == pytest.approx(0.91, abs=5e-3)
    assert (row["rho_lowest"], row["rho_highest"]) == pytest.approx((-5 / 60, 10 / 60), abs=1e-12)


@pytest.mark.parametrize("pair", PAIRS, ids="-".join)
def test_the_range_is_that_of_numbers_that_round_to_those_printed(recomputed, pair):
    """20,000 draws within the rounding stay in the range, and reach both ends."""
    rng = np.random.default_rng(3)
    x, y = (values + rng.uniform(-0.005, 0.005, (20_000, 9)) for values in columns(pair))
    drawn = spearman_resampled(x, y)
    assert drawn.min() == pytest.approx(recomputed[pair]["rho_lowest"], abs=1e-12)
    assert drawn.max() == pytest.approx(recomputed[pair]["rho_highest"], abs=1e-12)


@pytest.mark.parametrize("pair", PAIRS, ids="-".join)
def test_no_order_behind_the_figures_has_a_lower_p_value(recomputed, pair):
    """For given ties, p falls as rho moves away from 0: the furthest rho of each pattern of ties is enough."""
    x, y = orders(pair)
    furthest = {}
    for index, rho in enumerate(np.abs(spearman_resampled(x, y))):
        ties = tuple(np.sort(rankdata(x[index]))), tuple(np.sort(rankdata(y[index])))
        if ties not in furthest or rho > furthest[ties][0]:
            furthest[ties] = rho, index
    lowest = min(spearman(x[index], y[index]).p_value for _, index in furthest.values())
    assert recomputed[pair]["p_lowest"] == lowest


@pytest.mark.parametrize("pair", PAIRS, ids="-".join)
def test_where_the_published_figure_can_be_found_as_a_coefficient(pair):
    """Only for F1 with the artery ratio, and there only if two unrounded F1 are tied."""
    x, y = orders(pair)
    rho = spearman_resampled(x, y)
    tied = np.array([len(set(order)) < 9 for order in x])
    gives = np.abs(np.abs(rho) - reference.PUBLISHED_FIGURE) < 5e-4
    assert gives.any() == (pair == ("f1", "artery_ratio"))
    assert not (gives & ~tied).any()
    if gives.any():
        nearest = np.unique(rho[~tied].round(3))
        assert {0.333, 0.35} <= set(nearest) and not ((nearest > 0.333) & (nearest < 0.35)).any()


def test_pearsons_correlation_can_be_the_published_figure():
    auc, ratio = columns(("auc", "vessel_ratio"))
    assert np.corrcoef(auc, ratio)[0, 1] == pytest.approx(0.332, abs=5e-4)
    moved = auc + 0.004 * np.sign(ratio - ratio.mean())  # on the way there it passes every value between
    np.testing.assert_array_equal(moved.round(2), auc)
    assert np.corrcoef(moved, ratio)[0, 1] > reference.PUBLISHED_FIGURE


def test_nine_cells_are_significant_from_a_rho_of_070():
    ranks = np.arange(9)
    enough, too_few = spearman(ranks, [0, 1, 2, 4, 8, 6, 5, 3, 7]), spearman(ranks, [0, 1, 7, 3, 2, 5, 6, 4, 8])
    assert (enough.coefficient, too_few.coefficient) == pytest.approx((42 / 60, 41 / 60))  # neighbours, without ties
    assert enough.p_value < 0.05 < too_few.p_value


def test_the_orders_behind_a_group_of_equal_figures():
    assert len(reference.orders_behind(np.array([0.3, 0.1, 0.2]))) == 1
    two = reference.orders_behind(np.array([0.5, 0.7, 0.5]))
    assert {tuple(rankdata(order)) for order in two} == {(1, 3, 2), (2, 3, 1), (1.5, 3, 1.5)}
    four = reference.orders_behind(np.full(4, 0.6))
    assert len({tuple(rankdata(order)) for order in four}) == len(four) == 75


def test_the_summary_tells_every_number_and_both_verdicts(recomputed):
    lines = reference.summary()
    assert max(map(len, lines)) <= 110
    for row in recomputed.values():
        numbers = [row["rho"], row["p_value"], row["rho_lowest"], row["rho_highest"], row["p_lowest"]]
        assert any(all(f"{value:.3f}" in line for value in numbers) for line in lines)
    text = " ".join(lines)
    assert "p at least 0.359: this confirms the study's conclusion" in text
    assert "p = 0.343" in text and "is 0.332 as printed" in text


def test_the_interval_over_other_cells_is_fishers_and_said_to_ignore_error(recomputed):
    row = recomputed["auc", "vessel_ratio"]
    margin = 1.959964 * np.sqrt((1 + row["rho"] ** 2 / 2) / 6)
    expected = tuple(np.tanh(np.arctanh(row["rho"]) + side) for side in (-margin, margin))
    assert (row["low"], row["high"]) == pytest.approx(expected)
    text = " ".join(reference.summary())
    assert f"is {row['low']:.2f} to {row['high']:.2f} for AUC with the vessel ratio. It treats the figures" in text
