"""The leaderboard's tables from trial files written by hand."""

import numpy as np
import polars as pl
import pytest
from scipy.special import expit, logit
from sklearn.metrics import roc_auc_score

from benchmark.analysis import curves, patients, ratios
from benchmark.analysis.comparisons import COMPARED, COMPARISON_SCHEMA, CORRELATION_SCHEMA, SEEDS_SCHEMA
from benchmark.analysis.contrasts import AVERAGES_SCHEMA, CONTRASTS_SCHEMA, REPEATABILITY_SCHEMA
from benchmark.analysis.leaderboard import OPERATING_POINTS, OPERATING_SCHEMA, SCHEMA, build
from benchmark.analysis.measures import CALLS, MEASURES
from benchmark.storage.rundir import RunDirectory, write_json, write_parquet
from benchmark.study.config import Statistics
from stats.delong import delong
from stats.intervals import student_interval
from stats.jackknife import Spread
from stats.moderated import auc_variance, moderated
from stats.multiple import holm
from stats.risk import recalibrate
from tests.benchmark.trials import change, one_trial, write_cohort, write_trial
from xai.saliency import RATIOS

SETTINGS = Statistics(resamples=200)
TABLES = {
    "operating": OPERATING_SCHEMA,
    "curves": curves.SCHEMA,
    "ratios": ratios.SCHEMA,
    "comparisons": COMPARISON_SCHEMA,
    "seeds": SEEDS_SCHEMA,
    "correlation": CORRELATION_SCHEMA,
    "averages": AVERAGES_SCHEMA,
    "contrasts": CONTRASTS_SCHEMA,
    "repeatability": REPEATABILITY_SCHEMA,
    "patients": patients.SCHEMA,
    "patient_pairs": patients.PAIRS_SCHEMA,
}


@pytest.fixture
def directory(tmp_path):
    return write_cohort(RunDirectory(tmp_path))


def only_row(directory, which, resamples=200, **settings):
    return build(directory, [which], Statistics(resamples=resamples, **settings)).trials.row(0, named=True)


def read_test(directory, which):
    """Predictions of the test images as arrays."""
    test = pl.read_parquet(directory.trial(which).predictions).filter(split="test")
    return {name: test[name].to_numpy() for name in ("label", "score", "patient_id")}


def turned(split):
    """Labels of one split, exchanged."""
    return pl.when(pl.col("split") == split).then(1 - pl.col("label")).otherwise(pl.col("label")).alias("label")


def test_rows_columns_and_order(directory):
    cells = [one_trial("classifier_only"), one_trial("partial"), one_trial("lora"), one_trial("full")]
    write_trial(directory, cells[0], strength=0.2, ratio=1.0)
    write_trial(directory, cells[1], strength=3.0, ratio=1.3)
    directory.trial(cells[2]).path.mkdir(parents=True)
    directory.trial(cells[2]).failure.write_text("train: out of memory\n")
    board = build(directory, cells, SETTINGS)
    assert board.trials["strategy"].to_list() == ["partial", "classifier_only", "full", "lora"]
    assert dict(board.trials.select("strategy", "status").iter_rows()) == {
        "partial": "ok",
        "classifier_only": "ok",
        "lora": "train: out of memory",
        "full": "not finished",
    }
    best = board.trials.row(0, named=True)
    assert (best["n_images"], best["n_patients"], best["n_positive"], best["n_ratio"]) == (80, 40, 40, 75)
    assert (best["n_positive_patients"], best["n_negative_patients"]) == (20, 20)
    for name in ("auc", "f1", *RATIOS):
        assert best[f"{name}_low"] <= best[name] <= best[f"{name}_high"]
    assert best["auc_high"] <= 1
    failed = board.trials.filter(strategy="lora").drop("backbone", "strategy", "seed", "status")
    assert set(failed.row(0)) == {None}, "a failed trial has no numbers"


def test_the_columns_of_every_table_are_those_of_its_schema_with_and_without_cells(directory, tmp_path):
    names = {name: list(schema) for name, schema in TABLES.items()}
    which = one_trial("lora")
    empty = build(directory, [which], SETTINGS)
    write_trial(directory, which, strength=1.0, ratio=1.2)
    for board in (empty, build(directory, [which], SETTINGS)):
        assert board.trials.schema == pl.Schema(SCHEMA)
        assert {name: table.columns for name, table in board.tables().items()} == names
    assert len(empty.operating) == len(empty.curves) == len(empty.ratios) == 0


def test_no_table_holds_nan(directory):
    """polars writes NaN into a CSV and sorts it above every number."""
    which = one_trial("lora")
    folder = write_trial(directory, which, strength=1.0, ratio=1.2)
    change(folder.saliency, pl.lit(None, dtype=pl.Float64).alias("artery_ratio"))
    board = build(directory, [which], SETTINGS)
    assert board.trials["artery_ratio"].to_list() == [None]
    for name, table in {"trials": board.trials, **board.tables()}.items():
        assert not any(table[column].is_nan().any() for column in table.columns if table[column].dtype.is_float()), name


def test_a_picture_of_the_groups(directory):
    """Two equal cells and one that is far worse, in any order."""
    cells = [one_trial("classifier_only"), one_trial("partial"), one_trial("lora")]
    for which, strength in zip(cells, (0.1, 4, 4), strict=True):
        write_trial(directory, which, strength, ratio=1.2)
    table = build(directory, cells, SETTINGS).trials
    assert table.select("strategy", "rank", "rank_low", "rank_high", "group", "tied_best").rows() == [
        ("lora", 1.5, 1, 2, "a", True),
        ("partial", 1.5, 1, 2, "a", True),
        ("classifier_only", 3, 3, 3, "b", False),
    ]


def test_a_failed_cell_takes_no_part_in_comparisons(directory):
    cells = [one_trial("classifier_only"), one_trial("partial"), one_trial("lora")]
    for which in cells[:2]:
        write_trial(directory, which, 1, ratio=1.2)
    board = build(directory, cells, SETTINGS)
    assert len(board.comparisons) == len(COMPARED)
    assert set(board.comparisons["strategy_a"]) | set(board.comparisons["strategy_b"]) == {"classifier_only", "partial"}
    assert board.trials.filter(strategy="lora").select("rank", "group", "tied_best").row(0) == (None, None, None)


def test_ratio_is_the_mean_of_the_images_that_have_one(directory):
    which = one_trial("lora")
    folder = write_trial(directory, which, strength=1.0, ratio=1.2)
    known = pl.read_parquet(folder.saliency)["artery_ratio"].drop_nulls().to_list()
    assert len(known) == 75
    assert only_row(directory, which)["artery_ratio"] == pytest.approx(np.mean(known))


def test_delongs_interval_is_over_patients(directory):
    which = one_trial("lora")
    folder = write_trial(directory, which, strength=1.0, ratio=1.2)
    test = pl.read_parquet(folder.predictions).filter(split="test")
    of_patients = delong(test["label"].to_numpy(), [test["score"].to_numpy()], test["patient_id"].to_numpy())
    ((low, high),) = of_patients.logit_t_intervals(0.9)
    row = only_row(directory, which, confidence=0.9)
    assert (row["auc_delong_low"], row["auc_delong_high"]) == pytest.approx((low, high))


def test_interval_is_over_patients_not_images(directory):
    """Two identical images per patient have one patient's information: the interval must not shrink."""
    which = one_trial("lora")
    cohort = pl.read_parquet(directory.cohort)
    folder = write_trial(directory, which, strength=1.0, ratio=1.2)
    twins = (
        pl.read_parquet(folder.predictions)
        .join(cohort.select("image", "row"), on="image")
        .sort("row")
        .with_columns(pl.col("score").first().over("patient_id"))
        .drop("row")
    )
    write_parquet(folder.predictions, twins)
    both = only_row(directory, which)
    write_parquet(directory.cohort, cohort.unique("patient_id", keep="first", maintain_order=True))
    write_parquet(folder.predictions, twins.unique("patient_id", keep="first", maintain_order=True))
    one = only_row(directory, which)
    assert both["auc"] == pytest.approx(one["auc"])
    assert both["auc_high"] - both["auc_low"] == pytest.approx(one["auc_high"] - one["auc_low"], abs=1e-9)
    width = both["auc_delong_high"] - both["auc_delong_low"]
    assert width == pytest.approx(one["auc_delong_high"] - one["auc_delong_low"], rel=0.1)


def test_the_method_moves_the_intervals_and_nothing_else(directory):
    which = one_trial("lora")
    write_trial(directory, which, strength=1.0, ratio=1.2)
    # The tails of BCa are uneven: 200 resamples leave too few in one of them.
    rows = [only_row(directory, which, resamples=1000, interval=name) for name in ("t", "percentile", "bca")]
    for row in rows:
        assert all(row[f"{name}_low"] < row[name] < row[f"{name}_high"] for name in MEASURES if name != "ece")
        assert (row["ece_low"], row["ece_high"]) == (None, None)
        assert {name: row[name] for name in MEASURES} == {name: rows[0][name] for name in MEASURES}
    assert len({row["auc_low"] for row in rows}) == len({row["vessel_ratio_high"] for row in rows}) == 3
    by_t, test = rows[0], read_test(directory, which)
    areas = delong(test["label"], [test["score"]], test["patient_id"])
    by_delong = Spread(float(areas.covariance[0, 0]) ** 0.5, float(areas.degrees_of_freedom[0]))
    of_few = moderated(by_delong, auc_variance(by_t["auc"], 20, 20))  # patients of either class
    expected = student_interval(by_t["auc"], of_few, 0.95, "logit")
    assert (by_t["auc_low"], by_t["auc_high"]) == pytest.approx(expected, abs=1e-3)
    assert by_t["auc_low"] < by_t["auc_delong_low"] < by_t["auc_delong_high"] < by_t["auc_high"]


def test_skewness_is_that_of_the_patients_who_have_ratios(directory):
    """40 patients with two images each, except the first two, who have none, and the third, who has one."""
    which = one_trial("lora")
    write_trial(directory, which, strength=1.0, ratio=1.2)
    row = only_row(directory, which)
    saliency = pl.read_parquet(directory.trial(which).saliency).drop_nulls("vessel_ratio")
    mean = saliency["vessel_ratio"].mean()
    added = saliency.group_by("patient_id").agg((pl.col("vessel_ratio") - mean).sum())["vessel_ratio"].to_numpy()
    assert row["vessel_ratio_skewness"] == pytest.approx((added**3).sum() / (added**2).sum() ** 1.5, abs=0.02)


def test_thresholds_come_from_validation_alone(directory):
    which = one_trial("lora")
    folder = write_trial(directory, which, strength=1.0, ratio=1.2)
    before = build(directory, [which], SETTINGS)
    change(directory.cohort, turned("test"))
    change(folder.predictions, turned("test"))
    after = build(directory, [which], SETTINGS)
    thresholds = [board.operating.select("point", "threshold").unique(maintain_order=True) for board in (before, after)]
    assert thresholds[0].rows() == thresholds[1].rows()
    assert before.trials["threshold"].to_list() == after.trials["threshold"].to_list()
    assert before.trials["auc"][0] == pytest.approx(1 - after.trials["auc"][0])
    assert before.trials["f1"][0] > after.trials["f1"][0]

    change(folder.predictions, turned("val"))
    moved = build(directory, [which], SETTINGS)
    assert moved.trials["threshold"].to_list() != after.trials["threshold"].to_list()


def test_operating_points(directory):
    which = one_trial("lora")
    folder = write_trial(directory, which, strength=1.0, ratio=1.2)
    board = build(directory, [which], SETTINGS)
    assert board.operating.select("point", "measure").rows() == [
        (point, measure) for point in OPERATING_POINTS for measure in CALLS
    ]
    predictions = pl.read_parquet(folder.predictions)
    validation, test = (predictions.filter(split=split) for split in ("val", "test"))
    for point, target in (("sensitivity_80", 0.8), ("sensitivity_90", 0.9), ("specificity_80", 0.8)):
        rows = {row["measure"]: row for row in board.operating.filter(point=point).to_dicts()}
        threshold, measure = rows["f1"]["threshold"], point.split("_")[0]
        label = int(measure == "sensitivity")
        share = {
            name: ((of["score"] >= threshold) == (of["label"] == 1)).filter(of["label"] == label).mean()
            for name, of in (("validation", validation), ("test", test))
        }
        assert share["validation"] >= target
        assert rows[measure]["value"] == pytest.approx(share["test"])
        assert rows[measure]["low"] <= rows[measure]["value"] <= rows[measure]["high"]
    best = {row["measure"]: row for row in board.operating.filter(point="best_f1").to_dicts()}
    of_cell = board.trials.row(0, named=True)
    for name in CALLS:
        assert [best[name][key] for key in ("value", "low", "high")] == [
            of_cell[column] for column in (name, f"{name}_low", f"{name}_high")
        ]


def test_a_specificity_out_of_reach_is_a_threshold_of_infinity(directory):
    which = one_trial("lora")
    folder = write_trial(directory, which, strength=1.0, ratio=1.2)
    top = (pl.col("split") == "val") & (pl.col("label") == 0)
    change(folder.predictions, pl.when(top).then(1.0).otherwise(pl.col("score")).alias("score"))
    operating = build(directory, [which], SETTINGS).operating.filter(point="specificity_90")
    assert operating["threshold"].unique().to_list() == [np.inf]
    values = dict(operating.select("measure", "value").iter_rows())
    assert (values["sensitivity"], values["specificity"], values["ppv"]) == (0, 1, None)


def test_curves_of_every_cell_and_of_treating_all(directory):
    cells = [one_trial("partial"), one_trial("lora")]
    write_trial(directory, cells[0], strength=1.0, ratio=1.2)
    table = build(directory, cells, SETTINGS).curves
    assert table.select("backbone", "strategy", "curve").unique(maintain_order=True).rows() == [
        ("dinov2-tiny", "partial", "roc"),
        ("dinov2-tiny", "partial", "calibration"),
        ("dinov2-tiny", "partial", "decision"),
        ("dinov2-tiny", "partial", "decision_difference"),
        ("treat all", "", "decision"),
    ]


def test_controls_that_were_made(directory):
    """Erasure over the images that could be erased, here all except those of two patients."""
    which = one_trial("lora")
    folder = write_trial(directory, which, strength=1.0, ratio=1.2)
    assert only_row(directory, which)["n_erased"] is None
    scores = pl.read_parquet(folder.predictions).filter(split="test")
    noise = np.random.default_rng(5).normal(size=(2, 80))
    versions = scores.with_columns(erased=pl.lit(pl.Series(noise[0])), control=pl.col("score") + 0.1 * noise[1])
    gone = pl.col("patient_id").is_in(["p0", "p1"])
    columns = ["score", "erased", "control"]
    versions = versions.with_columns(pl.when(gone).then(None).otherwise(pl.col(columns)).name.keep())
    write_parquet(folder.erasure, versions)
    write_json(
        folder.vessel_permutation, {"vessel_ratio": {"null": 1.1, "p_value": 0.01}, "vessel_ratio_fov": {"reason": "-"}}
    )
    write_json(
        folder.parameter_randomisation,
        {"n_images": 32, "steps": [{"rank_correlation": 0.4}, {"rank_correlation": 0.1}]},
    )

    row, known = only_row(directory, which), versions.drop_nulls()
    auc = {name: roc_auc_score(known["label"], known[name]) for name in columns}
    assert row["n_erased"] == 76
    assert row["auc_erased"] == pytest.approx(auc["erased"])
    assert row["auc_drop_erased"] == pytest.approx(auc["score"] - auc["erased"])
    assert row["auc_drop_control"] == pytest.approx(auc["score"] - auc["control"])
    assert row["auc_drop_difference"] == pytest.approx(auc["control"] - auc["erased"])
    assert row["auc_drop_erased_low"] < row["auc_drop_erased"] < row["auc_drop_erased_high"]
    assert (row["vessel_ratio_null"], row["vessel_ratio_null_p"], row["vessel_ratio_fov_null"]) == (1.1, 0.01, None)
    assert (
        row["parameter_randomisation_classifier"],
        row["parameter_randomisation"],
        row["n_parameter_randomisation"],
    ) == (0.4, 0.1, 32)
    later = (
        "vessel_ratio_turned",
        "vessel_ratio_over_null",
        "vessel_ratio_over_null_low",
        "parameter_randomisation_others",
    )
    assert [row[name] for name in later] == [None] * 4, "an earlier version did not write them"

    assert (row["depends"], row["depends_p_holm"]) == (row["depends_p"] <= 0.05, row["depends_p"])
    both = all(row[f"{name}_low"] > 0 for name in ("auc_drop_erased", "auc_drop_difference"))
    assert row["depends"] == both, "by t the p-values are those of the intervals"

    write_parquet(folder.erasure, versions.with_columns(pl.when(pl.col("label") == 1).then(pl.col("score"))))
    row = only_row(directory, which)
    assert (row["n_erased"], row["auc_drop_erased"]) == (38, None), "one class has no AUC"


def test_a_cell_depends_on_vessels_only_where_its_auc_falls(directory):
    """A control on which the AUC rises makes the difference large, although the AUC does not fall without vessels."""
    which = one_trial("lora")
    folder = write_trial(directory, which, strength=0.5, ratio=1.2)
    scores = pl.read_parquet(folder.predictions).filter(split="test")
    gained = pl.when(pl.col("label") == 1).then(pl.col("score") + 0.3).otherwise(pl.col("score"))
    write_parquet(folder.erasure, scores.with_columns(erased=pl.col("score") + 0.001 * pl.col("score"), control=gained))
    row = only_row(directory, which)
    assert row["auc_drop_difference_low"] > 0 and row["auc_drop_erased"] == 0
    assert (row["depends_p"], row["depends"]) == (1, False)

    almost = pl.col("score") + 1e-3 * pl.col("score")
    guessed = pl.lit(pl.Series(np.random.default_rng(5).normal(size=len(scores))))
    write_parquet(folder.erasure, scores.with_columns(erased=guessed, control=almost))
    row = only_row(directory, which)
    assert (row["depends"], row["erased_reversed"]) == (True, False)

    write_parquet(folder.erasure, scores.with_columns(erased=-pl.col("score"), control=almost))
    row = only_row(directory, which)
    assert row["auc_drop_erased_low"] > 0 and row["auc_drop_difference_low"] > 0 and row["auc_erased_high"] < 0.5
    assert (row["depends_p"], row["depends"], row["erased_reversed"]) == (1, False, True)


def test_what_is_shown_is_adjusted_for_all_finished_cells(directory):
    strategies = ("classifier_only", "partial", "lora", "full")
    for seed, (strategy, strength) in enumerate(zip(strategies[:3], (0.0, 2.0, 2.0), strict=True)):
        write_trial(directory, one_trial(strategy), strength, ratio=1.2, seed=seed)
    rows = build(directory, [one_trial(strategy) for strategy in strategies], SETTINGS).trials.filter(status="ok")
    assert rows["auc_p_holm"].to_list() == pytest.approx(holm(rows["auc_p"].to_numpy()))
    assert rows["predicts"].to_list() == ((rows["auc_p_holm"] <= 0.05) & (rows["auc"] > 0.5)).to_list()
    assert rows["predicts"][0] and not rows["predicts"][-1]


def test_the_highest_of_several_like_cells_is_corrected(directory):
    strategies = ("classifier_only", "partial", "lora", "full")
    for seed, strategy in enumerate(strategies):
        write_trial(directory, one_trial(strategy), strength=1.0, ratio=1.2, seed=seed)
    rows = build(directory, [one_trial(strategy) for strategy in strategies], SETTINGS).trials
    highest, *others = rows["auc_corrected"].to_list()
    assert others == [None, None, None] and 0.01 < rows["auc"][0] - highest < 0.08


def test_one_cell_was_not_chosen(directory):
    which = one_trial("lora")
    write_trial(directory, which, strength=1.0, ratio=1.2)
    assert only_row(directory, which)["auc_corrected"] is None


def test_labels_are_counted_and_those_not_compared_have_no_number(directory):
    which = one_trial("lora")
    folder = write_trial(directory, which, strength=1.0, ratio=1.2)
    row = only_row(directory, which)
    counts = [row[f"n_{called}_{label}"] for label in ("positive", "negative") for called in ("right", "wrong")]
    assert sum(counts) == row["n_ratio"] == 75
    assert (row["n_right"], row["n_wrong"]) == (counts[0] + counts[2], counts[1] + counts[3])
    change(folder.predictions, pl.when(pl.col("label") == 1).then(0.9).otherwise(0.1).alias("score"))  # all right
    row = only_row(directory, which)
    assert (row["n_wrong_positive"], row["n_wrong_negative"]) == (0, 0)
    names = ("right_by_ratio_positive", "right_by_ratio_negative", "right_by_ratio", "n_right", "n_wrong")
    assert {row[name] for name in names} == {None}


def test_correlation_over_cells(directory):
    cells = [
        one_trial(strategy, seed) for strategy in ("classifier_only", "partial", "lora", "full") for seed in (0, 1)
    ]
    for number, which in enumerate(cells):
        write_trial(directory, which, strength=number // 2, ratio=1 + number // 2, seed=number)
    board = build(directory, cells, SETTINGS)
    assert len(board.correlation) == 8 * 2
    for found, coefficient in zip(board.correlation.head(2).to_dicts(), ("spearman", "kendall"), strict=True):
        assert (found["performance"], found["explainability"]) == ("auc", "vessel_ratio")
        assert found["coefficient"] == coefficient
        assert found["estimate"] == pytest.approx(1)
        assert found["p_value"] is None
        assert found["patients_low"] <= found["estimate"] <= found["patients_high"]
        assert (found["low"], found["high"], found["not_known"]) == (None, None, "fewer than 6 cells")
        assert (found["n_cells"], found["method"]) == (4, "no p-value below 6 cells")
    of_auc = board.seeds.filter(measure="auc").row(0, named=True)
    assert of_auc["n_seeds"] == 2
    assert of_auc["mean"] == pytest.approx(board.trials.filter(strategy=of_auc["strategy"])["auc"].mean())


def test_two_cells_have_no_rank_correlation_worth_a_number(directory):
    cells = [one_trial("partial"), one_trial("lora")]
    for which in cells:
        write_trial(directory, which, strength=1.0, ratio=1.2)
    table = build(directory, cells, SETTINGS).correlation
    assert table["n_cells"].to_list() == [2] * 16
    assert table["estimate"].is_null().all()


@pytest.mark.parametrize(
    ("balance", "method", "line"),
    [
        ("weights", "unbalanced", (np.log(1 / 3), 1)),
        ("sampling", "unbalanced", (np.log(1 / 3), 1)),
        ("none", "unbalanced", (0, 1)),
        ("weights", "score", (0, 1)),
    ],
)
def test_risks_are_scores_without_the_balancing_of_training(directory, balance, method, line):
    """One in four training images is positive; calls and ranks use the scores."""
    which = one_trial("lora")
    folder = write_trial(directory, which, strength=1.0, ratio=1.2)
    _add_training(directory)
    settings = Statistics(resamples=200, risk=method)
    row = build(directory, [which], settings, balance=balance).trials.row(0, named=True)
    plain = build(directory, [which], Statistics(resamples=200, risk="score")).trials.row(0, named=True)
    assert (row["risk_intercept"], row["risk_slope"]) == pytest.approx(line)
    assert [row[name] for name in ("auc", "f1", "ppv")] == [plain[name] for name in ("auc", "f1", "ppv")]
    test = pl.read_parquet(folder.predictions).filter(split="test")
    risks = expit(line[0] + logit(test["score"].to_numpy()))
    assert row["brier"] == pytest.approx(np.mean((risks - test["label"].to_numpy()) ** 2))
    assert row["calibration_intercept"] == pytest.approx(plain["calibration_intercept"] - line[0])


def test_risks_recalibrated_on_validation_and_where_that_cannot_be(directory):
    which = one_trial("lora")
    folder = write_trial(directory, which, strength=1.0, ratio=1.2)
    _add_training(directory)
    settings = Statistics(resamples=200, risk="recalibrated")
    row = build(directory, [which], settings).trials.row(0, named=True)
    validation = pl.read_parquet(folder.predictions).filter(split="val")
    own = recalibrate(validation["label"].to_numpy(), validation["score"].to_numpy())
    assert (row["risk_intercept"], row["risk_slope"]) == pytest.approx((own.intercept, own.slope))
    separated = pl.when(pl.col("split") == "val").then(0.2 + 0.6 * pl.col("label")).otherwise(pl.col("score"))
    change(folder.predictions, separated.alias("score"))
    row = build(directory, [which], settings).trials.row(0, named=True)
    assert (row["risk_intercept"], row["risk_slope"]) == pytest.approx((np.log(1 / 3), 1))


def _add_training(directory):
    """40 training images, one in four positive."""
    cohort = pl.read_parquet(directory.cohort)
    labels = pl.Series("label", [int(i % 4 == 0) for i in range(40)], cohort.schema["label"])
    added = cohort.head(40).with_columns(
        labels, image="t" + pl.col("image"), patient_id="t" + pl.col("patient_id"), split=pl.lit("train")
    )
    write_parquet(directory.cohort, pl.concat([cohort, added]))
