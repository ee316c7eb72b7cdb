"""The controls of a trial in a run directory made by hand, without Ray; test_pipeline.py runs them under Ray."""

import itertools
import json

import numpy as np
import polars as pl
import pytest
import torch
from scipy.stats import spearmanr
from sklearn.metrics import roc_auc_score

import backbones
from benchmark.analysis.leaderboard import build
from benchmark.storage.rundir import write_array
from benchmark.study.config import Statistics
from benchmark.study.controls import CONTROLS
from benchmark.trial.compute_controls import COMPUTE, depths
from tests.benchmark.explained import N, study_of, write_explained, write_trained
from xai.controls.parameter_randomisation import cascade
from xai.gradcam import gradcam, saliency_maps
from xai.saliency import vessel_saliency


@pytest.fixture
def explained(tmp_path):
    """A trial and its maps."""
    study = study_of(controls={"draws": 20, "seeds": 2, "images": 4})
    [this] = write_explained(study, write_trained(study, tmp_path))
    return this


def read(explained, name):
    """The control's JSON, read strictly: NaN would be refused."""

    def refuse(constant):
        raise AssertionError(f"{constant} in JSON")

    COMPUTE[name](explained)
    folder = explained.directory.trial(explained.trial)
    assert folder.control(name).is_file()
    file = {
        "vessel_permutation": folder.vessel_permutation,
        "other_class": folder.other_class,
        "parameter_randomisation": folder.parameter_randomisation,
    }[name]
    return json.loads(file.read_text(encoding="utf-8"), parse_constant=refuse)


def test_every_control_is_computed():
    assert tuple(COMPUTE) == tuple(CONTROLS)


def test_the_vessel_permutation_test_compares_the_trials_own_ratio_with_chance(explained):
    found = read(explained, "vessel_permutation")
    of_images = pl.read_parquet(explained.directory.trial(explained.trial).chance)
    assert of_images["image"].to_list() == explained.test["image"].to_list()
    cams = torch.from_numpy(np.load(explained.directory.trial(explained.trial).cams))
    own = vessel_saliency(saliency_maps(cams, 224).numpy(), np.load(explained.directory.regions))
    for name in ("vessel_ratio", "vessel_ratio_fov"):
        assert found[name]["ratio"] == pytest.approx(np.nanmean(own[name]))
        assert found[name]["n_images"] == N - 1, "the image without vessels has no ratio"
        assert found[name]["draws"] == 20
        assert 1 / 21 <= found[name]["p_value"] <= 1
        assert found[name]["null"] != pytest.approx(found[name]["ratio"], rel=1e-6)
        assert found[name]["turned"]["ratio"] == found[name]["ratio"]
        assert found[name]["turned"]["null"] == pytest.approx(of_images[f"{name}_turned"].mean())
        assert found[name]["null"] == pytest.approx(of_images[f"{name}_null"].mean())
        assert found[name]["ratio"] == pytest.approx(of_images[name].mean())
        assert found[name]["n_disc"] == found[name]["turned"]["n_disc"] == 0
        assert of_images[f"{name}_given"].n_unique() == 5, "one value per patient"


def test_discs_of_the_manifest_align_the_vessels(explained):
    without = read(explained, "vessel_permutation")
    discs = np.zeros((N, 224, 224), np.uint8)
    for index in range(N):
        discs[index, 90 + 4 * index : 110 + 4 * index, 20:40] = 255
    write_array(explained.directory.disc, discs)
    found = read(explained, "vessel_permutation")
    for name in ("vessel_ratio", "vessel_ratio_fov"):
        assert found[name]["n_disc"] == N - 1
        assert found[name]["null"] != pytest.approx(without[name]["null"], rel=1e-6)
        assert found[name]["turned"]["null"] != pytest.approx(without[name]["turned"]["null"], rel=1e-6)


def test_one_patient_with_vessels_has_nobody_to_exchange_them_with(explained):
    planes = np.load(explained.directory.regions)
    planes[2:, :3] = 0
    write_array(explained.directory.regions, planes)
    found = read(explained, "vessel_permutation")["vessel_ratio"]
    assert "fewer than two patients have a mask of vessel" in found["reason"]
    assert 0 < found["turned"]["p_value"] <= 1, "but its vessels can be rotated"
    row = build(explained.directory, [explained.trial], Statistics(resamples=100)).trials.row(0, named=True)
    assert (row["vessel_ratio_null"], row["vessel_ratio_over_null"]) == (None, None)
    assert row["vessel_ratio_turned"] == found["turned"]["null"]


@pytest.mark.parametrize("explained_class", [0, 1])
def test_maps_of_the_other_class_are_compared_with_chance(tmp_path, explained_class):
    """The maps are made again here, for the class that the study does not explain."""
    study = study_of(controls={"draws": 20}, explain={"target_class": explained_class})
    [explained] = write_explained(study, write_trained(study, tmp_path))
    found = read(explained, "other_class")["vessel_ratio_fov"]
    images = explained.images(np.load(explained.directory.images)).batch(np.arange(N), np.zeros(N, int))
    with torch.no_grad():
        tokens = backbones.encode_until(explained.model, images, 3)
    maps = saliency_maps(gradcam(explained.model, tokens, 1 - explained_class), 224).numpy()
    expected = vessel_saliency(maps, np.load(explained.directory.regions))["vessel_ratio_fov"][: N - 1]
    of_images = pl.read_parquet(explained.directory.trial(explained.trial).other_class_chance)
    assert of_images["vessel_ratio_fov"].to_list()[:-1] == pytest.approx(expected, rel=1e-4)
    assert of_images["vessel_ratio_fov"][-1] is None, "no vessels"
    assert found["ratio"] == pytest.approx(expected.mean(), rel=1e-4)
    assert found["null"] == pytest.approx(of_images["vessel_ratio_fov_null"].mean())
    row = build(explained.directory, [explained.trial], Statistics(resamples=100)).trials.row(0, named=True)
    assert row["vessel_ratio_fov_other"] == pytest.approx(found["ratio"])
    assert row["vessel_ratio_fov_other_low"] < found["ratio"] < row["vessel_ratio_fov_other_high"]
    assert row["vessel_ratio_fov_other_over_null"] == pytest.approx(found["ratio"] / found["null"])
    assert row["vessel_ratio_fov_other_null_p_holm"] == found["p_value"], "of one trial"
    assert row["other_above_null"] == (found["p_value"] <= 0.05)
    assert row["n_other"] == N - 1
    of_explained = saliency_maps(gradcam(explained.model, tokens, explained_class), 224).numpy()
    own = vessel_saliency(of_explained, np.load(explained.directory.regions))["vessel_ratio_fov"][: N - 1]
    assert own != pytest.approx(expected, rel=1e-3)


def test_one_patient_has_no_chance_for_the_other_class_either(explained):
    planes = np.load(explained.directory.regions)
    planes[2:, :3] = 0
    write_array(explained.directory.regions, planes)
    assert "fewer than two patients" in read(explained, "other_class")["vessel_ratio_fov"]["reason"]
    row = build(explained.directory, [explained.trial], Statistics(resamples=100)).trials.row(0, named=True)
    assert (row["vessel_ratio_fov_other"], row["n_other"]) == (None, None)


def test_the_parameter_randomisation_moves_away_and_leaves_the_model_alone(explained):
    before = {name: value.clone() for name, value in explained.model.state_dict().items()}
    found = read(explained, "parameter_randomisation")
    assert all(torch.equal(value, before[name]) for name, value in explained.model.state_dict().items())
    assert (found["n_images"], found["seeds"]) == (4, 2)
    assert [row["step"] for row in found["steps"]] == [1, 2, 3, 4, 5, 6]
    assert [row["reinitialised"] for row in found["steps"]] == [
        "classifier",
        "classifier and last block",
        *(f"classifier and last {blocks} blocks" for blocks in (2, 3, 4)),
        "everything",
    ]
    assert all(0 <= row["rank_correlation"] < 0.999 for row in found["steps"])


def test_maps_of_other_images_are_the_parameter_randomisation_baseline(explained):
    """Every pair of the four images except pairs of the same patient; left eyes are mirrored."""
    found = read(explained, "parameter_randomisation")["other_images"]
    spread = [0, 3, 6, 9]
    cams = np.load(explained.directory.trial(explained.trial).cams)[spread]
    right = np.stack([cam[:, ::-1] if row % 2 == 0 else cam for row, cam in zip(spread, cams, strict=True)])
    expected = [abs(spearmanr(one.ravel(), other.ravel()).statistic) for one, other in itertools.combinations(right, 2)]
    assert found["n_pairs"] == 6
    assert found["rank_correlation"] == pytest.approx(np.mean(expected), abs=0.02)
    assert -1 <= found["ssim"] <= 1


def test_the_ratio_of_random_weights_is_that_of_the_last_step(explained):
    """For each image the mean over seeds, from maps made again here, next to the trained model's ratio."""
    read(explained, "parameter_randomisation")
    folder, spread = explained.directory.trial(explained.trial), [0, 3, 6, 9]
    found = pl.read_parquet(folder.randomised)
    assert found["image"].to_list() == [f"{row}.png" for row in spread]
    planes = np.load(explained.directory.regions)[spread]
    inputs = explained.images(np.load(explained.directory.images)).batch(np.array(spread), np.zeros(4, int))
    of_seeds = []
    for seed in range(2):
        *_, (_, random) = cascade(explained.model, seed)
        with torch.no_grad():
            tokens = backbones.encode_until(random, inputs, 3)
        of_seeds.append(vessel_saliency(saliency_maps(gradcam(random, tokens), 224).numpy(), planes))
    own = pl.read_parquet(folder.saliency)[spread]
    for name in ("vessel_ratio", "vessel_ratio_fov"):
        expected = np.nanmean([of_seed[name][:3] for of_seed in of_seeds], axis=0)
        assert found[f"{name}_random"].to_list()[:3] == pytest.approx(expected, rel=1e-4)
        assert found[name].to_list()[:3] == pytest.approx(own[name].to_list()[:3], rel=1e-4)
        assert found[f"{name}_random"][0] != pytest.approx(found[name][0], rel=1e-3)
        assert found[f"{name}_random"][3] is found[name][3] is None, "the last image has no vessels"


@pytest.mark.parametrize(("last", "chosen"), [(6, [1, 2, 3, 4, 5, 6]), (42, [1, 2, 3, 9, 14, 20, 25, 31, 36, 42])])
def test_every_depth_of_a_shallow_model_and_some_of_a_deep_one(last, chosen):
    assert depths(last) == chosen


def test_erasure_scores_the_three_versions_and_leaves_out_who_has_no_vessels(explained):
    COMPUTE["erasure"](explained)
    table = pl.read_parquet(explained.directory.trial(explained.trial).erasure)
    assert table["image"].to_list() == explained.test["image"].to_list()
    assert table.row(N - 1)[3:] == (None,) * 4
    known = table.head(N - 1)
    assert known.null_count().sum_horizontal().item() == 0
    assert (known["score"] != known["erased"]).all()
    assert (known["score"] != known["control"]).all()
    images = explained.images(np.load(explained.directory.images))
    with torch.no_grad():
        logits = explained.model(images.batch(np.arange(N - 1), np.zeros(N - 1, int)))
    np.testing.assert_allclose(known["score"].to_numpy(), logits.softmax(dim=1)[:, 1].numpy(), atol=1e-6)


def test_the_leaderboard_has_what_the_controls_found(explained):
    def row():
        board = build(explained.directory, [explained.trial], Statistics(resamples=100))
        return board.trials.row(0, named=True)

    columns = ("vessel_ratio_null", "vessel_ratio_fov_null_p", "parameter_randomisation", "auc_drop_erased", "n_erased")
    assert [row()[name] for name in columns] == [None] * 5, "not asked for"
    nulls, models = read(explained, "vessel_permutation"), read(explained, "parameter_randomisation")
    COMPUTE["erasure"](explained)
    found = row()
    assert found["vessel_ratio_null"] == nulls["vessel_ratio"]["null"]
    assert found["vessel_ratio_fov_null_p"] == nulls["vessel_ratio_fov"]["p_value"]
    assert found["vessel_ratio_fov"] == pytest.approx(nulls["vessel_ratio_fov"]["ratio"])
    assert found["vessel_ratio_fov_turned_p"] == nulls["vessel_ratio_fov"]["turned"]["p_value"]
    for null, of in (("null", nulls["vessel_ratio"]), ("turned", nulls["vessel_ratio"]["turned"])):
        over = found[f"vessel_ratio_over_{null}"]
        assert over == pytest.approx(of["ratio"] / of["null"])
        assert found[f"vessel_ratio_over_{null}_low"] < over < found[f"vessel_ratio_over_{null}_high"]
    assert found["n_disc"] == 0
    assert found["parameter_randomisation_others"] == models["other_images"]["rank_correlation"]
    assert found["parameter_randomisation_classifier"] == models["steps"][0]["rank_correlation"]
    assert found["parameter_randomisation"] == models["steps"][-1]["rank_correlation"]
    table = pl.read_parquet(explained.directory.trial(explained.trial).erasure).drop_nulls()
    original, erased, control = (roc_auc_score(table["label"], table[name]) for name in ("score", "erased", "control"))
    assert found["n_erased"] == N - 1
    assert found["auc_drop_erased"] == pytest.approx(original - erased)
    assert found["auc_drop_control"] == pytest.approx(original - control)
    assert found["auc_drop_difference"] == pytest.approx(control - erased)
    assert found["auc_drop_difference_low"] <= found["auc_drop_difference"] <= found["auc_drop_difference_high"]
