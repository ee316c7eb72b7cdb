"""Comparisons of cells that were made equal or far apart."""

import itertools
from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from scipy.stats import kendalltau
from sklearn.metrics import f1_score, roc_auc_score

from benchmark.analysis.comparisons import (
    COMPARED,
    COMPARISON_SCHEMA,
    CORRELATED,
    CORRELATION_SCHEMA,
    DIFFERS,
    DIFFERS_WITHIN,
    EQUIVALENT,
    NOT_KNOWN,
    SEEDS_SCHEMA,
    _errors,
    _OverSeeds,
    compare,
    correlate,
    over_all_seeds,
    ranked,
    tied_best,
    verdict,
)
from benchmark.analysis.measures import MEASURES, SCALES, Estimates, estimate_trial, p_above_chance
from benchmark.study.config import Statistics
from stats.bootstrap import mean_resampled
from stats.delong import delong_test
from stats.intervals import percentile_interval
from stats.jackknife import leave_out_patients
from stats.multiple import holm
from stats.resamples import draw_patients
from tests.benchmark.trials import LABELS, PATIENTS, make_tested
from xai.saliency import RATIOS

PERCENTILE = Statistics(interval="percentile")
RESAMPLES = draw_patients(PATIENTS, LABELS, resamples=200, seed=0)
STRONG, EQUAL, WEAK = (("model", name, 0) for name in ("strong", "equal", "weak"))


def estimates_of(tested):
    return [estimate_trial(of_cell, RESAMPLES, PERCENTILE) for of_cell in tested]


@pytest.fixture(scope="module")
def three():
    """Keys, arrays and estimates of a strong cell, another with the same numbers, and a weak one."""
    strong, weak = make_tested(strength=2, ratio=1.5), make_tested(strength=0.1, ratio=1.0)
    tested = [strong, replace(strong), weak]
    return [STRONG, EQUAL, WEAK], tested, estimates_of(tested)


@pytest.fixture(scope="module")
def pairs(three):
    return compare(*three, RESAMPLES, PERCENTILE)


def planted(values, noise=1e-4, seed=0):
    """Estimates with these values, measure -> value, that vary with the noise over 50 resamples."""
    rng = np.random.default_rng(seed)
    values = dict.fromkeys(MEASURES, 0.5) | values
    samples = {name: value + noise * rng.normal(size=50) for name, value in values.items()}
    groups = leave_out_patients(RESAMPLES)
    left_out = {name: value + noise * rng.normal(size=len(groups.resamples.counts)) for name, value in values.items()}
    return Estimates(values, left_out, groups, samples, intervals={})


def keys_of(cells, strategies=4):
    """Backbones with so many strategies each, seed 0."""
    return [(f"model{k // strategies}", f"strategy{k % strategies}", 0) for k in range(len(cells))]


def test_every_pair_by_every_measure(pairs):
    assert pairs.columns == list(COMPARISON_SCHEMA)
    named = pairs.select("measure", "strategy_a", "strategy_b").rows()
    assert named == [
        (measure, *pair)
        for measure in COMPARED
        for pair in (("strong", "equal"), ("strong", "weak"), ("equal", "weak"))
    ]
    assert set(pairs.select("backbone_a", "seed_a", "backbone_b", "seed_b").rows()) == {("model", 0, "model", 0)}


def test_identical_cells_differ_by_nothing(pairs):
    same = pairs.filter(strategy_a="strong", strategy_b="equal").select("difference", "low", "high", "p_value")
    assert same.rows() == [(0, 0, 0, 1)] * len(COMPARED)


def test_a_difference_is_a_less_b_paired_in_every_resample(three, pairs):
    _, (strong, _, weak), (of_strong, _, of_weak) = three
    rows = {row["measure"]: row for row in pairs.filter(strategy_a="strong", strategy_b="weak").to_dicts()}
    called = [cell.scores >= cell.threshold for cell in (strong, weak)]
    expected = {
        "auc": roc_auc_score(LABELS, strong.scores) - roc_auc_score(LABELS, weak.scores),
        "f1": f1_score(LABELS, called[0]) - f1_score(LABELS, called[1]),
        "vein_ratio": np.nanmean(strong.ratios["vein_ratio"]) - np.nanmean(weak.ratios["vein_ratio"]),
    }
    assert {name: rows[name]["difference"] for name in expected} == pytest.approx(expected, abs=1e-12)
    delongs = delong_test(LABELS, strong.scores, weak.scores, PATIENTS).t_interval()
    assert (rows["auc"]["low"], rows["auc"]["high"]) == pytest.approx(delongs, abs=1e-12)
    for measure, row in rows.items():
        if measure == "auc":
            continue
        paired = of_strong.samples[measure] - of_weak.samples[measure]
        assert (row["low"], row["high"]) == pytest.approx(np.quantile(paired, [0.025, 0.975]), abs=1e-12)
    # Both cells have the same scatter of ratios, so their difference has none.
    assert rows["vessel_ratio"]["high"] - rows["vessel_ratio"]["low"] < 1e-9
    low, high = percentile_interval(of_strong.samples["vessel_ratio"])
    assert high - low > 0.05


def test_p_values_are_delongs_for_aucs_and_the_bootstraps_for_others(three, pairs):
    _, (strong, _, weak), _ = three
    rows = {row["measure"]: row for row in pairs.filter(strategy_a="equal", strategy_b="weak").to_dicts()}
    assert rows["auc"]["p_value"] == delong_test(LABELS, strong.scores, weak.scores, PATIENTS).p_value
    assert rows["auc"]["p_value"] != delong_test(LABELS, strong.scores, weak.scores).p_value
    assert rows["auc"]["method"] == "DeLong, clustered by patient"
    assert {row["method"] for name, row in rows.items() if name != "auc"} == {
        "percentile bootstrap over patients, p from its standard error"
    }
    assert 0 < rows["f1"]["p_value"] < 0.05


def test_p_values_are_adjusted_for_the_pairs_of_their_measure(pairs):
    for (_,), of_measure in pairs.group_by("measure"):
        assert of_measure["p_holm"].to_list() == pytest.approx(holm(of_measure["p_value"]).tolist())
    auc = pairs.filter(measure="auc", strategy_a="strong", strategy_b="weak").row(0, named=True)
    assert auc["p_holm"] == pytest.approx(3 * auc["p_value"])


def test_a_cell_without_ratios_takes_no_part_in_their_adjustment(three):
    keys, tested, _ = three
    nothing = replace(tested[1], ratios={name: np.full(100, np.nan) for name in RATIOS})
    tested = [tested[0], nothing, make_tested(strength=2, ratio=1.5, seed=1)]
    found = compare(keys, tested, estimates_of(tested), RESAMPLES, PERCENTILE).filter(measure="vessel_ratio")
    numbers = found.select("difference", "low", "high", "p_value", "p_holm").rows()
    assert numbers[0] == numbers[2] == (None,) * 5
    assert numbers[1][3] == numbers[1][4] is not None


@pytest.mark.parametrize("interval", ["t", "percentile"])
def test_ratios_are_compared_on_the_images_that_have_them_in_both_cells(three, interval):
    keys, tested, _ = three
    other = make_tested(strength=1, ratio=1.5, seed=1)
    gaps = other.ratios["vessel_ratio"].copy()
    gaps[40:90] = np.nan
    tested = [tested[0], replace(other, ratios=other.ratios | {"vessel_ratio": gaps})]
    settings = Statistics(interval=interval)
    estimates = [estimate_trial(of_cell, RESAMPLES, settings) for of_cell in tested]
    (row,) = compare(keys[:2], tested, estimates, RESAMPLES, settings).filter(measure="vessel_ratio").to_dicts()
    per_image = tested[0].ratios["vessel_ratio"] - gaps
    assert row["n_images"] == np.isfinite(per_image).sum() == 44
    assert row["difference"] == pytest.approx(np.nanmean(per_image), abs=1e-12)
    assert row["difference"] != pytest.approx(estimates[0].values["vessel_ratio"] - estimates[1].values["vessel_ratio"])
    assert row["low"] < row["difference"] < row["high"]
    if interval == "percentile":
        expected = np.quantile(mean_resampled(per_image, RESAMPLES), [0.025, 0.975])
        assert (row["low"], row["high"]) == pytest.approx(tuple(expected), abs=1e-12)


def test_cells_planted_far_apart_and_equal(three, pairs):
    keys, _, estimates = three
    strong, equal, weak = ranked(keys, estimates, pairs, 0.95)
    assert strong == equal == {"rank": 1.5, "rank_low": 1, "rank_high": 2, "group": "a", "tied_best": True}
    assert weak == {"rank": 3, "rank_low": 3, "rank_high": 3, "group": "b", "tied_best": False}


def test_cells_too_close_to_tell_apart_share_a_letter():
    keys, tested = [STRONG, WEAK], [make_tested(strength=1, seed=seed) for seed in (0, 1)]
    estimates = estimates_of(tested)
    found = ranked(keys, estimates, compare(keys, tested, estimates, RESAMPLES, PERCENTILE), 0.95)
    assert sorted(row["rank"] for row in found) == [1, 2]
    assert [(row["group"], row["tied_best"]) for row in found] == [("a", True)] * 2
    assert [(row["rank_low"], row["rank_high"]) for row in found] == [(1, 2)] * 2


def test_tied_with_the_best_by_any_measure(pairs):
    """For rows of a leaderboard in another order than the pairs."""
    done = pl.DataFrame(
        {
            "backbone": "model",
            "strategy": ["weak", "strong", "equal"],
            "seed": 0,
            "auc": [0.5, 0.9, 0.9],
            "vessel_ratio": [1.0, None, 1.5],
        }
    )
    assert tied_best(done, pairs, "auc", 0.05) == [False, True, True]
    assert tied_best(done, pairs, "vessel_ratio", 0.05) == [False, False, True]
    assert tied_best(done.clear(), pairs.clear(), "auc", 0.05) == []


def test_no_cells():
    empty = compare([], [], [], RESAMPLES, PERCENTILE)
    assert (empty.columns, len(empty)) == (list(COMPARISON_SCHEMA), 0)
    assert ranked([], [], empty, 0.95) == []
    assert over_all_seeds([], [], PERCENTILE).schema == pl.Schema(SEEDS_SCHEMA)
    nothing = correlate([], [], Statistics())
    assert nothing["method"].unique().to_list() == ["undefined"]
    assert nothing["n_cells"].unique().to_list() == [0]


@pytest.fixture(scope="module")
def seeds():
    """Three seeds of one cell, and another cell with one."""
    keys = [("model", "lora", 0), ("model", "lora", 1), ("model", "lora", 2), ("model", "full", 0)]
    estimates = estimates_of([make_tested(strength=1 + seed / 3, seed=seed) for seed in range(4)])
    return keys, estimates


def test_over_seeds(seeds):
    keys, estimates = seeds
    table = over_all_seeds(keys, estimates, PERCENTILE)
    assert table.columns == list(SEEDS_SCHEMA)
    assert table.select("backbone", "strategy", "n_seeds", "method").unique().rows() == [
        ("model", "lora", 3, "patients and seeds")
    ]
    # A label with too few wrong calls is not compared.
    known = [name for name in MEASURES if not np.isnan([of_seed.values[name] for of_seed in estimates[:3]]).any()]
    assert table["measure"].to_list() == known and set(MEASURES) - set(known) <= {"right_by_ratio_negative"}
    for row in table.to_dicts():
        values = [of_seed.values[row["measure"]] for of_seed in estimates[:3]]
        assert (row["mean"], row["sd"]) == pytest.approx((np.mean(values), np.std(values, ddof=1)))
        if row["measure"] not in SCALES:
            assert (row["low"], row["high"]) == (None, None)
            continue
        of_patients = np.mean([of_seed.samples[row["measure"]] for of_seed in estimates[:3]], axis=0)
        low, high = percentile_interval(of_patients)
        assert row["low"] < low < high < row["high"], "seeds add to the variance over patients"


def test_a_measure_that_a_seed_lacks_has_no_mean(seeds):
    keys, estimates = seeds
    without = replace(estimates[1], values=estimates[1].values | {"vessel_ratio": np.nan})
    table = over_all_seeds(keys, [estimates[0], without, *estimates[2:]], PERCENTILE)
    before = over_all_seeds(keys, estimates, PERCENTILE)
    assert table["measure"].to_list() == [name for name in before["measure"] if name != "vessel_ratio"]


def test_one_seed_has_no_rows(seeds):
    keys, estimates = seeds
    assert len(over_all_seeds(keys[2:], estimates[2:], PERCENTILE)) == 0


def test_correlation_over_planted_cells():
    """AUC rises with the vessel ratio, falls with the artery ratio; F1 ties two cells; vein ratios do not vary."""
    f1 = (0.3, 0.3, 0.7, 0.5, 0.6, 0.8)
    ratios = [{"vessel_ratio": 1 + k, "artery_ratio": 9 - k, "vein_ratio": 1} for k in range(6)]
    cells = [planted({"auc": 0.4 + k / 10, "f1": f1[k]} | ratios[k], seed=k) for k in range(6)]
    table = correlate(keys_of(cells, strategies=3), cells, Statistics())
    assert table.columns == list(CORRELATION_SCHEMA)
    assert table.select("performance", "explainability", "coefficient").rows() == [
        (*pair, coefficient) for pair in CORRELATED for coefficient in ("spearman", "kendall")
    ]
    assert (CORRELATED[0], len(table)) == (("auc", "vessel_ratio"), 16)
    found = {(row["performance"], row["explainability"], row["coefficient"]): row for row in table.to_dicts()}
    numbers = ("estimate", "patients_low", "patients_high", "p_value", "n_cells", "n_predicting", "method")
    within = "exact permutation within the layout"
    for coefficient in ("spearman", "kendall"):
        rising, falling = (found["auc", ratio, coefficient] for ratio in ("vessel_ratio", "artery_ratio"))
        assert [rising[name] for name in numbers] == [1, 1, 1, pytest.approx(2 / 12), 6, 4, within]
        assert [falling[name] for name in numbers] == [-1, -1, -1, pytest.approx(2 / 12), 6, 4, within]
        assert rising["low"] == pytest.approx(-falling["high"], abs=0.1)
        assert -0.5 < rising["low"] < 0.5, "six cells show little about others, however precise their own values are"
        assert (rising["high"], rising["not_known"]) == (1, None)
        flat = found["f1", "vein_ratio", coefficient]
        assert [flat[name] for name in numbers] == [None, None, None, None, 6, 4, "undefined"]
    tied = found["f1", "vessel_ratio", "kendall"]
    assert tied["estimate"] == pytest.approx(kendalltau(f1, range(6)).statistic)


def test_the_patients_interval_of_a_correlation_is_over_patients():
    cells = [planted({"auc": 0.6 + k / 10, "vessel_ratio": 1 + k}, noise=1, seed=k) for k in range(4)]
    row = correlate(keys_of(cells), cells, Statistics(confidence=0.9)).row(0, named=True)
    assert row["patients_low"] < 0.5 < row["patients_high"] <= row["estimate"] == 1
    assert (row["low"], row["high"], row["not_known"]) == (None, None, "fewer than 6 cells")


def test_cells_that_differ_by_no_more_than_their_error_have_no_interval_over_cells():
    """Nine truly equal cells, whose noise over patients can produce any correlation."""
    cells = [planted({"auc": 0.7, "vessel_ratio": 1 + k}, noise=0.01, seed=k) for k in range(9)]
    noise = np.random.default_rng(5).normal(size=9)
    alike = [replace(c, values=c.values | {"auc": 0.7 + 0.05 * e}) for c, e in zip(cells, noise, strict=True)]
    row = correlate(keys_of(alike, strategies=3), alike, Statistics()).row(0, named=True)
    assert row["not_known"] == "cells are not shown to differ in AUC by more than its error"
    assert row["low"] is row["high"] is row["corrected"] is None
    assert row["estimate"] is not None


def test_the_errors_of_a_correlation_hold_the_spread_of_seeds():
    """The pooled variance between two seeds, half of it for their mean, on the diagonal of one measure."""
    pairs = keys_of(range(6), strategies=3)
    keys = [(*pair[:2], seed) for pair in pairs for seed in (0, 1)]
    apart = [
        planted({"auc": 0.5 + k / 20 + (-0.02, 0.02)[seed], "vessel_ratio": 1.0 + k}, noise=1e-9, seed=2 * k + seed)
        for k in range(6)
        for seed in (0, 1)
    ]
    cells = [_OverSeeds.of(pair[:2], apart[2 * k : 2 * k + 2], Statistics()) for k, pair in enumerate(pairs)]
    errors = _errors(cells, ("auc", "vessel_ratio"))
    assert np.diag(errors) == pytest.approx([0.0008 / 2] * 6 + [0] * 6, abs=1e-12)
    same = correlate(keys, apart, Statistics()).row(0, named=True)
    assert same["low"] is not None


def test_cells_without_ratios_are_left_out_of_their_correlation():
    cells = [planted({"auc": 0.6 + k / 10, "vessel_ratio": 1 + k}) for k in range(4)]
    cells.append(planted({"auc": 0.5, "vessel_ratio": np.nan}))
    row = correlate(keys_of(cells), cells, Statistics()).row(0, named=True)
    assert (row["n_cells"], row["estimate"]) == (4, 1)


def test_seeds_are_not_cells():
    """Four untrained models with two seeds each were counted as eight cells and gave a p-value of 0.046."""
    pairs = keys_of(range(6), strategies=3)
    keys = [(*pair[:2], seed) for pair in pairs for seed in (0, 1)]
    cells = [
        planted({"auc": 0.5 + k / 20 + (-0.2, 0.2)[seed], "vessel_ratio": 1 + k + (-3, 3)[seed]}, seed=2 * k + seed)
        for k in range(6)
        for seed in (0, 1)
    ]
    row = correlate(keys, cells, Statistics()).row(0, named=True)
    assert (row["n_cells"], row["estimate"], row["p_value"]) == (6, 1, pytest.approx(2 / 12))


@pytest.mark.parametrize(("count", "p_value"), [(5, None), (6, pytest.approx(2 / 720))])
def test_no_p_value_below_six_cells(count, p_value):
    cells = [planted({"auc": 0.4 + k / 20, "vessel_ratio": 1 + k}, seed=k) for k in range(count)]
    row = correlate(keys_of(cells, strategies=6), cells, Statistics()).row(0, named=True)
    assert (row["estimate"], row["p_value"]) == (1, p_value)
    assert (row["method"] == "no p-value below 6 cells") == (p_value is None)


def test_two_cells_have_no_correlation_worth_a_number():
    cells = [planted({"auc": 0.6}), planted({"auc": 0.7})]
    table = correlate(keys_of(cells), cells, Statistics())
    assert table["n_cells"].unique().to_list() == [2]
    assert table["estimate"].null_count() == table["p_value"].null_count() == len(table)


@pytest.mark.parametrize(("margin", "expected"), [(0.2, EQUIVALENT), (0.001, NOT_KNOWN)])
def test_two_alike_are_equivalent_within_a_wide_margin_and_not_known_within_a_narrow_one(margin, expected):
    settings = Statistics(equivalence_margin=margin)
    tested = [make_tested(strength=2.0), make_tested(strength=2.1, seed=0)]
    keys = [("model", strategy, 0) for strategy in ("lora", "full")]
    resamples = draw_patients(PATIENTS, LABELS, settings.resamples, settings.seed)
    estimates = [estimate_trial(cell, resamples, settings) for cell in tested]
    (auc,) = compare(keys, tested, estimates, resamples, settings).filter(measure="auc").to_dicts()
    assert auc["verdict"] == expected
    assert auc["p_equivalent_holm"] == auc["p_equivalent"]
    others = compare(keys, tested, estimates, resamples, settings).filter(pl.col("measure") != "auc")
    assert others["p_equivalent"].null_count() == len(others)
    assert set(others["verdict"]) <= {DIFFERS, NOT_KNOWN}


def test_what_a_pair_is_shown_to_be():
    assert [verdict(*shown) for shown in itertools.product((True, False), repeat=2)] == [
        DIFFERS_WITHIN, DIFFERS, EQUIVALENT, NOT_KNOWN,
    ]  # fmt: skip


def test_of_several_pairs_both_tests_are_adjusted():
    settings = Statistics()
    tested = [make_tested(strength=strength) for strength in (0.0, 1.0, 3.0)]
    keys = [("model", strategy, 0) for strategy in ("lora", "full", "partial")]
    resamples = draw_patients(PATIENTS, LABELS, settings.resamples, settings.seed)
    estimates = [estimate_trial(cell, resamples, settings) for cell in tested]
    auc = compare(keys, tested, estimates, resamples, settings).filter(measure="auc")
    for name in ("p_value", "p_equivalent"):
        adjusted = auc["p_holm" if name == "p_value" else "p_equivalent_holm"]
        assert adjusted.to_list() == pytest.approx(holm(auc[name].to_numpy()))
    assert (auc["verdict"] == DIFFERS).to_list() == (auc["p_holm"] <= 0.05).to_list()


def test_cells_that_predict_are_counted_after_adjustment_for_all():
    """Of nine cells that learned little, more have an interval above 0.5 than a significant adjusted p-value."""
    keys = [(f"model{i}", "lora", 0) for i in range(9)]
    tested = [make_tested(strength=strength, seed=7) for strength in np.linspace(-0.1, 0.75, 9)]
    settings = Statistics()
    resamples = draw_patients(PATIENTS, LABELS, settings.resamples, settings.seed)
    estimates = [estimate_trial(cell, resamples, settings) for cell in tested]
    adjusted = holm([p_above_chance([found], settings) for found in estimates])
    predicting = sum(p <= 0.05 and found.values["auc"] > 0.5 for p, found in zip(adjusted, estimates, strict=True))
    alone = sum(found.intervals["auc"][0] > 0.5 for found in estimates)
    assert correlate(keys, estimates, settings)["n_predicting"].unique().to_list() == [predicting]
    assert 0 < predicting < alone
