"""A trained trial on image files: a test image gets the score and the map that its run stored for it."""

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from click.testing import CliRunner
from PIL import Image
from pydicom import uid

import run_benchmark
from benchmark import synthetic
from benchmark.analysis.leaderboard import read_thresholds
from benchmark.errors import Interrupted, UserError
from benchmark.reuse import predict as command
from benchmark.reuse.finished import find_trial
from benchmark.reuse.predict import SCHEMA, predict
from benchmark.stages.embed import EmbedWorker
from benchmark.storage.rundir import RunDirectory, write_array, write_json, write_parquet
from benchmark.study.config import Study
from benchmark.study.images import crop_row
from benchmark.study.trials import trials_of
from benchmark.trial.apply import open_trained
from benchmark.trial.fit import explained_inputs, train_trial, trained_model
from finetune.inputs import plan_views
from tests.fuzz.images import dataset, eye

ROOT = Path(__file__).resolve().parents[3]
TRAIN, VAL, TEST = np.arange(8), np.arange(8, 14), np.arange(14, 20)
STRATEGIES = ("classifier_only", "partial", "lora")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """20 image files, prepared, embedded and trained as the stages do, without Ray."""
    study = Study.model_validate(
        {
            "name": "x",
            "cohort": {"manifest": "x.csv"},
            "backbones": ["dinov2-tiny"],
            "strategies": [
                {"name": "classifier_only", "learning_rate": 0.05},
                {"name": "partial", "blocks": 1},
                {"name": "lora", "rank": 2},
                "full",
            ],
            "training": {"epochs": 2, "batch_size": 8, "views": 2},
            "resources": {"gpus": 0},
        }
    )
    folder = tmp_path_factory.mktemp("run")
    drawn = synthetic.write_cohort(synthetic.SyntheticCohort(patients=10, image_size=96, seed=3), folder / "images")
    names = pl.read_csv(drawn)["image"].to_list()
    directory = RunDirectory(folder / "run")
    directory.claim(study.dump(), resume=False)
    paths = [str(drawn.parent / name) for name in names]
    crops = [crop_row({"row": row, "path": path, "fov_mask": ""})["crop"] for row, path in enumerate(paths)]
    write_array(directory.images, np.stack(crops))
    splits = [split for split, rows in (("train", TRAIN), ("val", VAL), ("test", TEST)) for _ in rows]
    columns = {"image": names, "path": paths, "patient_id": names, "label": [0, 1] * 10, "split": splits}
    write_parquet(directory.cohort, pl.DataFrame({"row": range(20)} | columns))
    write_json(directory.weights, {"dinov2-tiny": None})
    directory.complete("prepare", classes={"0": "healthy", "1": "ill"})
    _embed(study, directory)
    for trial in trials_of(study)[:3]:
        train_trial(study, directory, trial, on_epoch=lambda epoch: None)
    return directory


def _embed(study, directory):
    """The cache of every block that a strategy or an explanation begins with, as the stage fills it."""
    blocks = [3, 4]
    entry = plan_views(20, TRAIN, 2)
    rows, views = np.nonzero(entry >= 0)
    unit = {"backbone": 0, "test": False, "rows": rows, "views": views}
    folder = directory.embeddings("dinov2-tiny")
    for result in EmbedWorker(study, directory, study.backbones, [blocks], [[]])([unit]):
        store = np.empty((len(rows), *result["shape"]), result["values"].dtype)
        store[entry[rows, views]] = result["values"].reshape(store.shape)
        write_array(folder.block(result["block"]), store)
    write_array(folder.entry, entry)


def images_of(run, rows=TEST) -> list[Path]:
    return [Path(path) for path in pl.read_parquet(run.cohort)["path"].gather(rows)]


def invoke(*arguments):
    return CliRunner().invoke(run_benchmark.main, ["predict", *map(str, arguments)])


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_test_image_gets_the_score_and_the_map_of_its_run(run, strategy, tmp_path):
    name = f"dinov2-tiny-{strategy}-s0"
    result = invoke(run.path, "--trial", name, *images_of(run), "--out", tmp_path / "out")
    assert result.exit_code == 0, result.output
    finished = find_trial(run.path, name)
    stored = pl.read_parquet(finished.folder.predictions).filter(split="test")["score"].to_numpy()
    threshold = read_thresholds(finished.folder)["best_f1"]
    found = pl.read_csv(tmp_path / "out" / "predictions.csv")
    assert found.columns == list(SCHEMA)
    assert stored.std() > 1e-4, "with equal scores the test would show nothing"
    np.testing.assert_allclose(found["score"].to_numpy(), stored, atol=1e-6)
    np.testing.assert_allclose(found["threshold"].to_numpy(), threshold, atol=1e-12)
    assert found["decision"].to_list() == ["positive" if score >= threshold else "negative" for score in stored]
    for file in found["map"]:
        assert Image.open(tmp_path / "out" / file).size[0] == 950

    study, trial = finished.study, finished.trial
    model = trained_model(trial, run).requires_grad_(False)
    of_run = study.explain.open()(model, explained_inputs(study, run, trial, model)(TEST), 1).numpy()
    found = open_trained(study, run, trial).cams(np.load(run.images)[TEST])
    assert of_run.std() > 0
    np.testing.assert_allclose(found, of_run, atol=1e-6 * np.abs(of_run).max() + 1e-12, rtol=1e-4)


def test_images_that_cannot_be_used_do_not_stop_the_others(run, tmp_path):
    folder = tmp_path / "new"
    (folder / "deep").mkdir(parents=True)
    (folder / "empty").mkdir()
    for place, image in zip((folder / "a.jpg.png", folder / "deep" / "a.jpg.png"), images_of(run), strict=False):
        shutil.copy(image, place)
    (folder / "cut.png").write_bytes((folder / "a.jpg.png").read_bytes()[:2000])
    (folder / "notes.txt").write_text("no image")
    dataset(eye(), uid.ExplicitVRLittleEndian).save_as(tmp_path / "1.2.840.7", enforce_file_format=True)
    named = [folder, folder / "a.jpg.png", tmp_path / "1.2.840.7", tmp_path / "absent.jpg", folder / "empty"]
    result = invoke(run.path, *named, "--trial", "dinov2-tiny-classifier_only-s0", "--out", tmp_path / "out")
    assert result.exit_code == 0, result.output
    found = {row["image"]: row for row in pl.read_csv(tmp_path / "out" / "predictions.csv").to_dicts()}
    errors = {Path(image).name: row["error"] for image, row in found.items() if row["score"] is None}
    assert errors.keys() == {"cut.png", "absent.jpg", "empty"}
    assert "not a readable picture" in errors["cut.png"]
    assert "no such file" in errors["absent.jpg"]
    assert errors["empty"] == "no image in this folder"
    maps = {row["map"] for row in found.values() if row["map"]}
    assert maps == {"maps/a.jpg.png", "maps/a.jpg-2.png", "maps/1.2.840.7.png"}, "one row per file, one map per row"
    assert {f"maps/{file.name}" for file in (tmp_path / "out" / "maps").iterdir()} == maps
    output = " ".join(result.output.split())
    assert "1 file left out: 1 with the ending .txt" in output
    assert "positive (ill)" in output
    assert "3 of 6 images not usable" in output


def test_without_a_usable_image_the_command_fails_and_the_reasons_are_kept(run, tmp_path):
    (tmp_path / "x.jpg").write_text("no image")
    result = invoke(run.path, tmp_path / "x.jpg", "--trial", "dinov2-tiny-lora-s0", "--out", tmp_path / "out")
    assert isinstance(result.exception, UserError)
    assert f"none of 1 images can be used; the first: {tmp_path / 'x.jpg'}: not a readable" in str(result.exception)
    assert pl.read_csv(tmp_path / "out" / "predictions.csv")["error"].null_count() == 0
    again = invoke(run.path, tmp_path / "x.jpg", "--trial", "dinov2-tiny-lora-s0", "--out", tmp_path / "out")
    assert "predictions.csv exists: choose another --out" in str(again.exception)


def test_the_trial_is_named_as_in_the_tables(run, tmp_path):
    names = [f"dinov2-tiny-{strategy}-s0" for strategy in STRATEGIES]
    for name, message in (
        ("dinov2-tiny-Lora", "did you mean dinov2-tiny-lora-s0"),
        ("???", f"no such trial; trained are {', '.join(names)}"),
        (None, f"--trial is missing: name a trial of {run.path}; trained are"),
        ("dinov2-tiny-full-s0", f"is not trained (not finished); trained are {', '.join(names)}"),
    ):
        with pytest.raises(UserError) as error:
            find_trial(run.path, name)
        assert message in str(error.value)
    with pytest.raises(UserError, match="holds no run"):
        find_trial(tmp_path, names[0])


def test_a_failed_trial_names_its_reason(run, tmp_path):
    copy = RunDirectory(shutil.copytree(run.path, tmp_path / "run"))
    failed = copy.trial(trials_of(find_trial(run.path, "dinov2-tiny-lora-s0").study)[3])
    failed.path.mkdir()
    failed.failure.write_text("train: out of memory\n")
    with pytest.raises(UserError, match=r"is not trained \(train: out of memory\)"):
        find_trial(copy.path, "dinov2-tiny-full-s0")


def test_other_weights_of_the_backbone_are_refused(run, tmp_path):
    copy = RunDirectory(shutil.copytree(run.path, tmp_path / "run"))
    write_json(copy.weights, {"dinov2-tiny": {"path": "/elsewhere", "sha256": "0" * 64}})
    result = invoke(copy.path, *images_of(run), "--trial", "dinov2-tiny-lora-s0", "--out", tmp_path / "out")
    assert isinstance(result.exception, UserError)
    assert "SHA-256" in str(result.exception)


def test_an_interrupted_command_keeps_what_it_has(run, tmp_path, monkeypatch):
    from rich.console import Console

    drawn = []

    def interrupted(path, rgb):
        if len(drawn) == 2:
            raise KeyboardInterrupt
        drawn.append(path)

    monkeypatch.setattr(command, "write_image", interrupted)
    with pytest.raises(Interrupted, match="has 2 of 6 images"):
        predict(find_trial(run.path, "dinov2-tiny-lora-s0"), images_of(run), tmp_path, Console(quiet=True))
    assert pl.read_csv(tmp_path / "predictions.csv")["score"].null_count() == 0
    assert len(pl.read_csv(tmp_path / "predictions.csv")) == 2


def test_neither_ray_nor_a_pickle_is_loaded(run, tmp_path):
    """In a process of its own, in which Ray cannot be imported and nothing can be unpickled."""
    script = f"""
import pickle, sys
sys.modules["ray"] = None
import run_benchmark, torch

def refuse(*_, **__):
    raise AssertionError("unpickled")

from benchmark.reuse.predict import predict
pickle.load = pickle.loads = pickle.Unpickler = torch.load = refuse
run_benchmark.main(["predict", {str(run.path)!r}, {str(images_of(run)[0])!r}, "--trial", "dinov2-tiny-lora-s0",
                    "--out", {str(tmp_path / "out")!r}])
"""
    result = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert len(pl.read_csv(tmp_path / "out" / "predictions.csv")) == 1
