"""The measures on maps with a known answer, the statistics against SciPy, and the program from end to end."""

import numpy as np
import polars as pl
import pytest
import torch
from PIL import Image
from scipy import stats

from benchmark.experiments.cam_maps import BASELINE, MAPS
from benchmark.experiments.cam_resolution import (
    HEADER,
    Estimate,
    Made,
    Measured,
    auc_of,
    better_than_chance,
    main,
    make_maps,
    markdown,
    mean_of,
    measure,
    open_model,
    summary,
    together,
    trained_trials,
)
from benchmark.experiments.planted_pixels import read_truth
from benchmark.study.trials import trials_of
from benchmark.trial.fit import explained_inputs, trained_model
from tests.benchmark.experiments.synthetic_run import study_of, write_run
from xai.gradcam import saliency_maps

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    return {signal: write_run(tmp_path_factory.mktemp(signal), signal) for signal in ("vessels", "periphery")}


@pytest.fixture(scope="module")
def truth(runs):
    return read_truth(study_of("vessels"), runs["vessels"], side=448)


def rows(values, patients, method=BASELINE, trial="a", labels=0):
    """As `together` returns them."""
    n = len(values)
    return pl.DataFrame(
        {
            "image": [f"{place}.jpg" for place in range(n)],
            "patient": patients,
            "label": np.broadcast_to(labels, n),
            "method": [method] * n,
            "trial": [trial] * n,
            "blank": [False] * n,
            "auc_planted": np.asarray(values, float),
            "auc_vessel": np.full(n, 0.5),
            "precision": np.full(n, 0.2),
            "chance": np.full(n, 0.1),
        }
    )


def measured(name, auc, values, method="other", signal="vessels"):
    """A trial whose baseline is 0.5 throughout, and whose other method has the given values."""
    patients = [f"p{place // 2}" for place in range(len(values))]
    table = pl.concat([rows(np.full(len(values), 0.5), patients), rows(values, patients, method)])
    low = auc - 0.1
    found = Estimate(auc, low, auc + 0.1, 0.0, len(values))
    return Measured("run", name, signal, found, found, table.drop("trial"), {BASELINE: 1.0, method: 2.0})


def test_a_map_of_the_arteries_themselves_is_right_everywhere(truth):
    table = measure(Made(truth.planted / 255.0, 0.0), truth)
    assert (table["auc_planted"] > 0.97).all()
    assert (table["precision"] > 0.95).all()
    assert (table["auc_vessel"] < table["auc_planted"]).all(), "it does not find veins"
    inverted = measure(Made(1 - truth.planted / 255.0, 0.0), truth)
    np.testing.assert_allclose(inverted["auc_planted"], 1 - table["auc_planted"])


def test_a_map_of_zeros_is_blank_and_chance(truth):
    table = measure(Made(np.zeros(truth.fov.shape, np.float32), 0.0), truth)
    assert table["blank"].all()
    np.testing.assert_allclose(table["auc_planted"], 0.5)
    np.testing.assert_allclose(table["precision"], table["chance"])
    shares = truth.planted.sum(axis=(1, 2), dtype=float) / truth.fov.sum(axis=(1, 2), dtype=float)
    np.testing.assert_allclose(table["chance"], shares)


def test_an_image_without_spots_has_no_value(runs):
    truth = read_truth(study_of("periphery"), runs["periphery"], side=32)
    truth.planted[0] = 0
    table = measure(Made(np.random.default_rng(0).random(truth.fov.shape), 0.0), truth)
    assert table["auc_planted"].is_nan().to_list() == [True] + [False] * (len(table) - 1)
    assert table["auc_vessel"].is_not_nan().all()
    table = table.with_columns(patient="patient_id")
    assert mean_of(table, "auc_planted").n == len(table) - 1
    assert mean_of(table, "auc_vessel").n == len(table)


def test_the_mean_over_images_has_students_interval_over_patients():
    """Nine patients with two images each: SciPy's interval of the patients' means."""
    rng = np.random.default_rng(0)
    values = rng.normal(0.6, 0.1, 18)
    found = mean_of(rows(values, [f"p{place // 2}" for place in range(18)]), "auc_planted")
    of_patients = values.reshape(9, 2).mean(axis=1)
    low, high = stats.t.interval(0.95, 8, of_patients.mean(), stats.sem(of_patients))
    assert found.value == pytest.approx(values.mean())
    assert (found.low, found.high) == (pytest.approx(low), pytest.approx(high))
    assert found.p == pytest.approx(stats.ttest_1samp(of_patients, 0).pvalue)
    assert found.n == 18


def test_differences_to_the_baseline_are_paired_by_image_and_trial():
    """Images differ widely; the method is above by 0.02 or 0.04, in another order of rows."""
    rng = np.random.default_rng(1)
    patients = [f"p{place // 2}" for place in range(12)]
    tables = []
    for trial in ("a", "b"):
        base = rng.uniform(0.2, 0.8, 12)
        tables += [
            rows(base, patients, trial=trial),
            rows(base + np.repeat([0.02, 0.04], 6), patients, "other", trial).sample(fraction=1, shuffle=True, seed=2),
        ]
    text = markdown(pl.concat(tables), {BASELINE: 1, "other": 2})
    differences = np.repeat([0.02, 0.04], 3)
    low, high = stats.t.interval(0.95, 5, differences.mean(), stats.sem(differences))
    p = stats.ttest_1samp(differences, 0).pvalue
    assert f"| 0.030 ({low:.3f} to {high:.3f}) | {p:.3g} |" in text


def test_p_values_are_adjusted_for_the_methods_of_the_table():
    rng = np.random.default_rng(2)
    patients = [f"p{place}" for place in range(20)]
    values = {name: rng.normal(0.52, 0.03, 20) for name in ("one", "two", "three")}
    table = pl.concat([rows(np.full(20, 0.5), patients), *(rows(v, patients, name) for name, v in values.items())])
    text = markdown(table, dict.fromkeys((BASELINE, *values), 1.0))
    raw = sorted(stats.ttest_1samp(v - 0.5, 0).pvalue for v in values.values())
    adjusted = np.minimum(1, np.maximum.accumulate(np.array(raw) * [3, 2, 1]))
    printed = [line.split(" | ")[3] for line in text.splitlines() if any(name in line for name in values)]
    assert sorted(float(value) for value in printed) == pytest.approx(adjusted, rel=0.01)


def test_the_summary_is_over_trials_that_predict_better_than_chance():
    values = np.full(8, 0.6)
    trials = [
        measured("good", 0.8, values),
        measured("bad", 0.55, values + 0.3),
        measured("else", 0.9, values, signal="periphery"),
    ]
    text = summary(trials, "vessels")
    assert "1 of 2 trials" in text
    assert "| other | 0.100, 0.100 | 1 of 1 |" in text
    assert "all 1 trials; none predicts better than chance" in summary(trials[1:2], "vessels")


def test_the_range_over_trials_is_that_of_their_means():
    trials = [measured("a", 0.8, [0.5, 0.6]), measured("b", 0.8, [0.3, 0.5]), measured("c", 0.8, [np.nan, 0.9])]
    assert "| other | -0.100, 0.400 | 2 of 3 |" in summary(trials, "vessels")


def test_patients_of_the_same_cohort_are_the_same_in_all_trials():
    """Two trials that agree have no more information about patients than one: the interval is as wide."""
    values = np.random.default_rng(3).uniform(0.4, 0.9, 10)
    one, two = measured("a", 0.8, values), measured("b", 0.8, values)
    once, twice = (mean_of(together(trials).filter(method="other"), "auc_planted") for trials in ([one], [one, two]))
    assert (once.low, once.high) == (pytest.approx(twice.low), pytest.approx(twice.high))
    assert (once.n, twice.n) == (10, 20)


@pytest.mark.parametrize(
    ("auc", "low", "expected"), [(0.8, 0.6, True), (0.6, 0.49, False), (1.0, 0.4, False), (0.7, np.nan, False)]
)
def test_better_than_chance_is_an_interval_above_a_half(auc, low, expected):
    assert better_than_chance(Estimate(auc, low, 1.0, 0.0, 9)) is expected


@pytest.mark.parametrize(("positives", "expected"), [(5, False), (6, True)])
def test_a_perfect_auc_of_few_patients_is_not_better_than_chance(positives, expected):
    """By the exact interval of a share of 1: 0.025 ** (1 / n), where n counts patients, not images."""
    labels = np.repeat([0, 1], [20, 2 * positives])
    patients = [f"p{place // 2}" for place in range(len(labels))]
    found = auc_of(pl.DataFrame({"patient_id": patients, "label": labels, "score": labels * 2.0}), "score")
    assert found.value == 1
    assert found.low == pytest.approx(stats.beta.ppf(0.025, positives, 1))
    assert better_than_chance(found) is expected


def test_the_baselines_maps_are_those_of_the_explain_stage(runs, truth):
    study, run = study_of("vessels"), runs["vessels"]
    [trial] = trials_of(study)
    made = make_maps(open_model(study, run, trial, CPU), MAPS[0], truth)
    model = trained_model(trial, run).requires_grad_(False)
    inputs = explained_inputs(study, run, trial, model)(truth.table["row"].to_numpy())
    expected = saliency_maps(study.explain.open()(model, inputs, 1), 224, "raw")
    np.testing.assert_allclose(made.maps, expected, atol=1e-6 * float(expected.max()))
    assert made.maps.any()
    assert made.milliseconds > 0


def test_trials_that_failed_or_never_ended_are_left_out(tmp_path):
    run = write_run(tmp_path, "vessels", seeds=[0, 1, 2])
    study = study_of("vessels", seeds=[0, 1, 2])
    first, second, third = trials_of(study)
    run.trial(first).failure.write_text("out of memory")
    run.trial(second).record.unlink()
    assert trained_trials(study, run) == [third]


def test_the_program_measures_both_signals_and_keeps_every_image(runs, tmp_path, capsys):
    names = [str(run.path) for run in runs.values()]
    other = "attention rollout"
    main([*names, "--patients", "2", "--methods", other, "--out", str(tmp_path / "out")])
    printed = capsys.readouterr().out
    assert "## Signal: periphery" in printed
    assert "## Signal: vessels" in printed
    table = pl.read_csv(tmp_path / "out" / "cam_resolution.csv")
    assert table["method"].unique(maintain_order=True).to_list() == [BASELINE, other]
    assert len(table) == 2 * 2 * 4
    run = runs["vessels"]
    mean = table.filter(run=run.path.name, method=other)["auc_planted"].mean()
    assert f"| {other} | {mean:.3f} (" in printed
    [trial] = trials_of(study_of("vessels"))
    with Image.open(tmp_path / "out" / f"{run.path.name}-{trial.name}.png") as picture:
        assert picture.width == 4 * 224, "image, planted signal, and the maps of two methods"
        assert picture.height % 224 == HEADER


def test_the_test_auc_is_that_of_the_models_own_predictions(runs, capsys):
    run, study = runs["vessels"], study_of("vessels")
    main([str(run.path), "--methods", BASELINE])
    [trial] = trials_of(study)
    truth = read_truth(study, run, side=32)
    pictures = torch.from_numpy(truth.small).permute(0, 3, 1, 2) / 255
    with torch.inference_mode():
        logits = trained_model(trial, run)(trial.backbone.open().normalise(pictures))
    score, labels = (logits[:, 1] - logits[:, 0]).numpy(), truth.table["label"].to_numpy()
    wins = np.mean([float(p > n) for p in score[labels == 1] for n in score[labels == 0]])
    assert f"Test AUC {wins:.3f} " in capsys.readouterr().out
