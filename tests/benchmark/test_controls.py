"""The controls of a cell in a run directory made by hand, without Ray; under Ray they run in test_pipeline.py."""

import json

import numpy as np
import polars as pl
import pytest
import torch
from sklearn.metrics import roc_auc_score

import backbones
from benchmark.cells import cells_of
from benchmark.config import SWITCHES, Statistics, Study
from benchmark.controls import CONTROLS, Explained, depths
from benchmark.leaderboard import build
from benchmark.rundir import RunDirectory, write_array, write_json, write_parquet
from benchmark.trial import new_tower
from finetune.checkpoint import save_trained
from xai.controls.erasure import erase_all
from xai.gradcam import gradcam, saliency_maps
from xai.measures import measure, measure_names
from xai.saliency import vessel_saliency

N = 10
SPLITS = ["test"] * N + ["val"] * 4


def study_of(**controls):
    return Study.model_validate(
        {
            "name": "x",
            "cohort": {"manifest": "x.csv"},
            "backbones": ["dinov2-tiny"],
            "strategies": ["classifier_only"],
            "controls": {"draws": 20, "seeds": 2, "images": 4} | controls,
            "resources": {"batch_size": 4},
        }
    )


def eyes():
    """Photographs with dark vessels, and their coverage: crosses in different places; the last has no vessels."""
    rng = np.random.default_rng(0)
    images = rng.integers(120, 160, (len(SPLITS), 224, 224, 3)).astype(np.uint8)
    planes = np.zeros((N, 4, 224, 224), np.uint8)
    y, x = np.mgrid[:224, :224]
    planes[:, 3] = 255 * (np.hypot(x - 112, y - 112) < 110)
    for index in range(N - 1):
        row, column = 60 + 10 * index, 150 - 9 * index
        planes[index, 0, row : row + 4], planes[index, 1, :, column : column + 5] = 255, 255
        planes[index, :2] &= planes[index, 3]
        planes[index, 2] = planes[index, 0] | planes[index, 1]
        images[index][planes[index, 2] > 0] = 40
    return images, planes


@pytest.fixture
def explained(tmp_path):
    """A cell of an untrained tower with a random classifier, and its maps."""
    run = RunDirectory(tmp_path)
    images, planes = eyes()
    labels = np.arange(len(SPLITS)) % 2
    people = [f"p{row // 2}" for row in range(len(SPLITS))]
    names = [f"{row}.png" for row in range(len(SPLITS))]
    sides = [("left", "right")[row % 2] for row in range(len(SPLITS))]
    frame = {"row": range(len(SPLITS)), "image": names, "patient_id": people, "label": labels, "eye": sides}
    cohort = pl.DataFrame(frame | {"split": SPLITS})
    write_parquet(run.cohort, cohort)
    write_array(run.images, images)
    write_array(run.regions, planes)
    write_json(run.weights, {"dinov2-tiny": None})
    study = study_of()
    [cell] = cells_of(study)
    folder = run.trial(cell)
    folder.path.mkdir(parents=True)
    tower = cell.strategy.open().apply(new_tower(cell, run), seed=0)
    save_trained(tower, folder.path, backbone="dinov2-tiny")
    erased, elsewhere, painted = erase_all(images[:N], planes)
    write_array(run.erased, np.stack([erased, elsewhere], axis=1))
    write_parquet(run.painted, pl.DataFrame({"image": names[:N], "painted": painted}).fill_nan(None))
    this = Explained(study, run, cell)
    with torch.no_grad():
        tokens = backbones.encode_until(this.tower, this.images(images).batch(np.arange(N), np.zeros(N, int)), 3)
    cams = gradcam(this.tower, tokens)
    write_array(folder.cams, cams.numpy())
    values = pl.DataFrame(measure(cams, planes), schema=measure_names("minmax", False, False)).fill_nan(None)
    test = cohort.filter(pl.col("split") == "test").select("image", "patient_id")
    write_parquet(folder.saliency, pl.concat([test, values], how="horizontal"))
    scores = cohort.select("image", "patient_id", "label", pl.lit(0.5).alias("score"), "split")
    write_parquet(folder.predictions, scores)
    return this


def read(cell, name):
    """The control's JSON, which is plain: NaN would be refused."""

    def refuse(constant):
        raise AssertionError(f"{constant} in JSON")

    CONTROLS[name](cell)
    file = cell.directory.trial(cell.cell).control(name)
    return json.loads(file.read_text(encoding="utf-8"), parse_constant=refuse)


def test_every_control_has_its_switch():
    assert tuple(CONTROLS) == SWITCHES


def test_the_mask_null_holds_the_cells_own_ratio_against_chance(explained):
    found = read(explained, "mask_null")
    cams = torch.from_numpy(np.load(explained.directory.trial(explained.cell).cams))
    own = vessel_saliency(saliency_maps(cams, 224).numpy(), np.load(explained.directory.regions))
    for name in ("vessel_ratio", "vessel_ratio_fov"):
        assert found[name]["ratio"] == pytest.approx(np.nanmean(own[name]))
        assert found[name]["n_images"] == N - 1, "the image without vessels has no ratio"
        assert found[name]["draws"] == 20
        assert 1 / 21 <= found[name]["p_value"] <= 1
        assert found[name]["null"] != pytest.approx(found[name]["ratio"], rel=1e-6)


def test_one_person_with_vessels_has_nobody_to_change_them_with(explained):
    planes = np.load(explained.directory.regions)
    planes[2:, :3] = 0
    write_array(explained.directory.regions, planes)
    assert "fewer than two people have a mask of vessel" in read(explained, "mask_null")["vessel_ratio"]["reason"]


def test_the_model_null_moves_away_and_leaves_the_tower_alone(explained):
    before = {name: value.clone() for name, value in explained.tower.state_dict().items()}
    found = read(explained, "model_null")
    assert all(torch.equal(value, before[name]) for name, value in explained.tower.state_dict().items())
    assert (found["n_images"], found["seeds"]) == (4, 2)
    assert [row["step"] for row in found["steps"]] == [1, 2, 3, 4, 5, 6]
    assert [row["reinitialised"] for row in found["steps"]] == [
        "classifier",
        "classifier and last block",
        *(f"classifier and last {blocks} blocks" for blocks in (2, 3, 4)),
        "everything",
    ]
    assert all(0 <= row["rank_correlation"] < 0.999 for row in found["steps"])


@pytest.mark.parametrize(("last", "chosen"), [(6, [1, 2, 3, 4, 5, 6]), (42, [1, 2, 3, 9, 14, 20, 25, 31, 36, 42])])
def test_every_depth_of_a_shallow_tower_and_some_of_a_deep_one(last, chosen):
    assert depths(last) == chosen


def test_erasure_scores_the_three_versions_and_leaves_out_who_has_no_vessels(explained):
    CONTROLS["erasure"](explained)
    table = pl.read_parquet(explained.directory.trial(explained.cell).erasure)
    assert table["image"].to_list() == explained.test["image"].to_list()
    assert table.row(N - 1)[3:] == (None,) * 4
    known = table.head(N - 1)
    assert known.null_count().sum_horizontal().item() == 0
    assert (known["score"] != known["erased"]).all()
    assert (known["score"] != known["control"]).all()
    images = explained.images(np.load(explained.directory.images))
    with torch.no_grad():
        logits = explained.tower(images.batch(np.arange(N - 1), np.zeros(N - 1, int)))
    np.testing.assert_allclose(known["score"].to_numpy(), logits.softmax(dim=1)[:, 1].numpy(), atol=1e-6)


def test_the_leaderboard_has_what_the_controls_found(explained):
    def row():
        board = build(explained.directory, [explained.cell], Statistics(resamples=100))
        return board.cells.row(0, named=True)

    columns = ("vessel_ratio_null", "vessel_ratio_fov_null_p", "model_null", "auc_drop_erased", "n_erased")
    assert [row()[name] for name in columns] == [None] * 5, "not asked for"
    nulls, models = read(explained, "mask_null"), read(explained, "model_null")
    CONTROLS["erasure"](explained)
    found = row()
    assert found["vessel_ratio_null"] == nulls["vessel_ratio"]["null"]
    assert found["vessel_ratio_fov_null_p"] == nulls["vessel_ratio_fov"]["p_value"]
    assert found["vessel_ratio_fov"] == pytest.approx(nulls["vessel_ratio_fov"]["ratio"])
    assert found["model_null_classifier"] == models["steps"][0]["rank_correlation"]
    assert found["model_null"] == models["steps"][-1]["rank_correlation"]
    table = pl.read_parquet(explained.directory.trial(explained.cell).erasure).drop_nulls()
    original, erased, control = (roc_auc_score(table["label"], table[name]) for name in ("score", "erased", "control"))
    assert found["n_erased"] == N - 1
    assert found["auc_drop_erased"] == pytest.approx(original - erased)
    assert found["auc_drop_control"] == pytest.approx(original - control)
    assert found["auc_drop_difference"] == pytest.approx(control - erased)
    assert found["auc_drop_difference_low"] <= found["auc_drop_difference"] <= found["auc_drop_difference_high"]
