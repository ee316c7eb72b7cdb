"""All stages on a tiny study: a manifest with a damaged file and a backbone without weights, then fixed and resumed.

The resumed run names only that backbone, and a strategy that is new.
"""

import json
import os
from contextlib import nullcontext

import cv2
import numpy as np
import polars as pl
import pytest
from safetensors.torch import save_file
from sklearn.metrics import roc_auc_score

import backbones
from benchmark import synthetic
from benchmark.errors import UserError
from benchmark.report.results import read_results
from benchmark.scheduling.cluster import Cluster
from benchmark.stages import pipeline
from benchmark.stages.pipeline import reported, run_study
from benchmark.storage.rundir import RunDirectory
from benchmark.study.config import Study
from benchmark.study.trials import trials_of
from tests.benchmark.recompute import recomputed


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("study")


@pytest.fixture(scope="module")
def manifest(folder):
    """24 patients with masks; one image is damaged and one vessel mask is missing."""
    cohort = synthetic.SyntheticCohort(patients=24, image_size=128, seed=3)
    path = synthetic.write_cohort(cohort, folder / "cohort")
    table = pl.read_csv(path).with_columns(
        pl.int_range(pl.len())
        .map_elements(lambda i: ("train", "train", "val", "test")[i // 2 % 4], pl.String)
        .alias("split")
    )
    table.write_csv(path)
    (path.parent / table.filter(pl.col("split") == "train")["image"][0]).write_bytes(b"no picture")
    (path.parent / table.filter(pl.col("split") == "test")["vein_mask"][0]).unlink()
    return path


@pytest.fixture(scope="module")
def weights(folder):
    return folder / "retfound.safetensors"


def study_of(manifest, weights, **changes):
    return Study.model_validate(
        {
            "name": "tiny",
            "cohort": {"manifest": manifest, "max_rejected": 0.1},
            "backbones": ["dinov2-tiny", {"name": "retfound-tiny", "weights": weights}],
            "strategies": ["classifier_only", {"name": "partial", "blocks": 1}],
            "training": {"epochs": 2, "batch_size": 8, "views": 2},
            "explain": {"examples": 1},
            "controls": {"draws": 50, "seeds": 1, "images": 4},
            "statistics": {"resamples": 200},
            # Every worker imports torch for seconds, so there is one at a time.
            "resources": {"cpus": min(2, os.cpu_count() or 1)},
        }
        | changes
    )


def subset_of(manifest, weights):
    """The part of the study that the resumed run works on."""
    strategies = ["classifier_only", {"name": "partial", "blocks": 1}, {"name": "lora", "rank": 2}]
    return study_of(manifest, weights, backbones=[{"name": "retfound-tiny", "weights": weights}], strategies=strategies)


@pytest.fixture(scope="module")
def trials(manifest, weights):
    """The trials that either run names; `lora` on the first backbone is named by none."""
    return [*trials_of(study_of(manifest, weights))[:2], *trials_of(subset_of(manifest, weights))]


@pytest.fixture(scope="module")
def first(folder, manifest, weights):
    """The run in which one backbone has no weights."""
    return run_study(study_of(manifest, weights), folder / "run")


@pytest.fixture(scope="module")
def resumed(folder, manifest, weights, first):
    """The same run, resumed after the weights have been put where the configuration expects them."""
    save_file(backbones.get("retfound-tiny-untrained").build(seed=5).state_dict(), weights)
    directory = RunDirectory(folder / "run")
    written = {"index.html", "browser.js", "README.md", "config.json"}  # written with every report
    files = [path for path in directory.path.glob("trials/dinov2*/*") if path.name not in written]
    kept = {path: path.stat().st_mtime_ns for path in files}
    images = directory.images.stat().st_mtime_ns
    board = run_study(subset_of(manifest, weights), folder / "run", resume=True)
    assert kept == {path: path.stat().st_mtime_ns for path in kept}, "complete parts are not computed again"
    assert images == directory.images.stat().st_mtime_ns
    return board


def test_a_failing_backbone_leaves_the_other_trials_alone(first, folder, weights):
    assert len(first.trials) == 4
    failed = first.trials.filter(pl.col("status") != "ok")
    assert failed["backbone"].unique().to_list() == ["retfound-tiny"]
    assert all(str(weights) in reason and "no such weights file" in reason for reason in failed["status"])
    done = first.trials.filter(pl.col("status") == "ok")
    assert len(done) == 2
    assert done["auc"].null_count() == 0


def test_nothing_is_dropped_in_silence(first, folder):
    directory = RunDirectory(folder / "run")
    rejected = pl.read_csv(directory.rejected)
    assert len(rejected) == 1
    assert "not a readable picture" in rejected["reason"][0]
    vessels = pl.read_parquet(directory.vessels)
    assert vessels["error"].null_count() == len(vessels) - 1
    page = directory.leaderboard("html").read_text(encoding="utf-8").replace("<wbr>", "")
    assert rejected["image"][0] in page
    assert vessels.filter(pl.col("error").is_not_null())["image"][0] in page
    assert "no such weights file" in page
    done = first.trials.filter(pl.col("status") == "ok")
    assert (done["n_ratio"] < done["n_images"]).all(), "the image without masks has no ratio"


def test_a_directory_that_holds_a_run_is_not_overwritten(first, folder, manifest, weights):
    with pytest.raises(UserError, match="--resume"):
        run_study(study_of(manifest, weights), folder / "run")
    longer = study_of(manifest, weights, training={"epochs": 3, "batch_size": 8, "views": 2})
    with pytest.raises(UserError, match="different values of training"):
        run_study(longer, folder / "run", resume=True)


def test_resuming_completes_the_study(resumed, folder, trials, weights):
    assert resumed.trials["status"].to_list() == ["ok"] * 5
    directory = RunDirectory(folder / "run")
    for trial in trials:
        folder = directory.trial(trial)
        assert not folder.failure.exists()
        noted = json.loads(folder.record.read_text())
        if trial.backbone.name == "retfound-tiny":
            assert noted["backbone"]["sha256"] == backbones.sha256(weights)


def test_a_subset_is_what_is_worked_on_and_the_report_has_every_finished_trial(
    resumed, folder, manifest, weights, trials
):
    """And no combination that neither run named."""
    directory, subset = RunDirectory(folder / "run"), subset_of(manifest, weights)
    keys = resumed.trials.select("backbone", "strategy").rows()
    assert sorted(keys) == sorted((trial.backbone.name, trial.strategy.name) for trial in trials)
    whole = directory.earlier_study()
    assert [len(whole.backbones), len(whole.strategies)] == [2, 3], "the configuration keeps what the run has"
    assert reported(whole, subset, directory) == trials
    assert reported(subset, subset, directory) == trials_of(subset), "--report-only-these"


def test_every_number_comes_out_again_from_the_parquet_files(resumed, folder):
    """By code that is independent of stats/ and xai/."""
    directory = RunDirectory(folder / "run")
    table = pl.read_csv(directory.leaderboard("csv"))
    for row in table.iter_rows(named=True):
        trial = directory.path / "trials" / f"{row['backbone']}-{row['strategy']}-s{row['seed']}"
        for name, value in recomputed(trial).items():
            assert row[name] == (None if value is None else pytest.approx(value, abs=1e-12)), (trial.name, name)
        for name in ("auc", "f1"):
            assert row[f"{name}_low"] <= row[name] <= row[f"{name}_high"]


def test_the_report_comes_in_every_form(resumed, folder):
    directory = RunDirectory(folder / "run")
    for name, table in resumed.tables().items():
        assert pl.read_csv(directory.table(name), infer_schema=False).columns == table.columns
    results = read_results(directory.path)
    assert [trial.status for trial in results.trials] == ["ok"] * 5
    recorded = results.weights["retfound-tiny"]["sha256"]
    trained = [trial.training["backbone"]["sha256"] for trial in results.trials if trial.backbone == "retfound-tiny"]
    assert trained == [recorded] * len(trained) != []
    for row, trial in zip(resumed.trials.to_dicts(), results.trials, strict=True):
        assert (trial.measures["auc"].value, trial.measures["auc"].low) == (row["auc"], row["auc_low"])
    assert directory.leaderboard("tex").read_text().count(r"\\") == 1 + 2 * len(resumed.trials)


def test_every_trial_has_its_controls_figures_and_conventions(resumed, folder, trials):
    directory = RunDirectory(folder / "run")
    conventions = pl.read_csv(directory.table("ratios"))
    painted = pl.read_parquet(directory.painted)["painted"]
    assert painted.null_count() == 1, "the image without masks"
    for trial in trials:
        folder = directory.trial(trial)
        named = {"backbone": trial.backbone.name, "strategy": trial.strategy.name}
        row = resumed.trials.filter(**named).row(0, named=True)
        scores = pl.read_parquet(folder.erasure).drop_nulls()
        assert row["n_erased"] == len(scores) == len(painted) - 1
        original, erased = (roc_auc_score(scores["label"], scores[name]) for name in ("score", "erased"))
        assert row["auc_drop_erased"] == pytest.approx(original - erased)
        predicted = pl.read_parquet(folder.predictions).join(
            scores.select("image", "score"), on="image", suffix="_again"
        )
        np.testing.assert_allclose(predicted["score"], predicted["score_again"], atol=1e-2)  # from a float16 cache
        assert 0 <= row["parameter_randomisation"] <= 1
        own = conventions.filter(**named, region="vessel", average="images", scaling="minmax", images="all")
        expected = [row[f"vessel_ratio{suffix}"] for suffix in ("", "_fov")]
        assert own["ratio"].to_list() == pytest.approx(expected)
        disc = pl.read_parquet(folder.saliency)["disc"]
        assert disc.null_count() < len(disc), "the synthetic cohort names masks of the optic disc"
        assert len(folder.events) == 1, "the curves of the training for TensorBoard"
        assert (folder.figures.parent / pl.read_csv(folder.figures)["file"][0]).is_file()


def test_ratios_come_out_again_from_the_maps(resumed, folder):
    """saliency.parquet recomputed from the stored maps and coverage planes, per image, with OpenCV's resize."""
    directory = RunDirectory(folder / "run")
    planes = np.load(directory.regions) / 255.0
    compared = 0
    for trial in directory.path.glob("trials/*"):
        saliency = pl.read_parquet(trial / "saliency.parquet")
        for signed, (_, _, vessel, _), row in zip(
            np.load(trial / "cam.npy"), planes, saliency.iter_rows(named=True), strict=True
        ):
            positive = np.maximum(signed, 0)
            if not positive.any() or not vessel.any():
                assert row["vessel_ratio"] is None
                continue
            enlarged = cv2.resize(positive, (224, 224), interpolation=cv2.INTER_LINEAR).astype(np.float64)
            stretched = (enlarged - enlarged.min()) / np.ptp(enlarged)
            expected = np.average(stretched, weights=vessel) / np.average(stretched, weights=1 - vessel)
            assert row["vessel_ratio"] == pytest.approx(expected, rel=1e-3)
            compared += 1
    assert compared


@pytest.fixture
def two_cpus(monkeypatch):
    """A Ray with two CPUs that is never started, and a first stage that only reports that it began."""

    def weights(run):
        raise NotImplementedError("the first stage began")

    def found(is_local):
        ray = Cluster(nodes=1, cpus=2, gpus=0, gpu_memory=None, accelerators=(), is_local=is_local)
        monkeypatch.setattr(pipeline, "connect", lambda address, log_file: nullcontext(ray))

    monkeypatch.setattr(pipeline, "weights", weights)
    return found


@pytest.mark.parametrize(
    ("resources", "needs"),
    [
        ({"cpus": 999}, "999 CPUs, but this machine has 2 CPUs and 0 GPUs: lower resources.cpus in the configuration"),
        ({"gpus": 0.5}, "0.5 GPUs, but this machine has 2 CPUs and 0 GPUs: lower resources.gpus in the configuration"),
        ({"cpus": 3, "gpus": 1}, "3 CPUs and 1 GPUs, but .*: lower resources.cpus and resources.gpus in the"),
    ],
)
def test_what_this_machine_will_never_have_is_refused(resources, needs, two_cpus, manifest, weights, tmp_path):
    two_cpus(is_local=True)
    with pytest.raises(UserError, match=f"^a trial needs {needs}"):
        run_study(study_of(manifest, weights, resources=resources), tmp_path / "run")


def test_a_copy_under_another_patient_is_refused_before_anything_is_written(manifest, weights, tmp_path):
    """JunkangZhang/RetinalSegReg#4: one image under two patient numbers."""
    table = pl.read_csv(manifest, infer_schema=False)
    original, copy = manifest.parent / table["image"][0], manifest.parent / "images" / "copy.jpg"
    copy.write_bytes(original.read_bytes())
    masks = [column for column in table.columns if column.endswith("_mask")]
    other = {"image": pl.lit("images/copy.jpg"), "patient_id": pl.lit("other")} | dict.fromkeys(masks)
    copied = manifest.with_name("copied.csv")
    pl.concat([table, table.head(1).with_columns(**other)], how="vertical_relaxed").write_csv(copied)
    with pytest.raises(UserError, match=r"image images/copy.jpg is a copy of .* in row 2, but of patient other, not p"):
        run_study(study_of(copied, weights), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_what_is_there_or_may_still_come_is_not_refused(two_cpus, manifest, weights, tmp_path):
    for is_local, resources in ((True, {"cpus": 2, "gpus": 0}), (True, {"cpus": 1}), (False, {"cpus": 999, "gpus": 8})):
        two_cpus(is_local)
        with pytest.raises(NotImplementedError, match="the first stage began"):
            run_study(study_of(manifest, weights, resources=resources), tmp_path / f"{is_local}{resources['cpus']}")


def test_images_that_share_a_map_are_refused_before_anything_starts(manifest, weights, tmp_path):
    """rmaphoh/AutoMorph#14: maps are named by the file's name up to the first dot, folders ignored."""
    (tmp_path / "M0").mkdir()
    (tmp_path / "M2" / "artery_vein" / "raw").mkdir(parents=True)
    table = pl.read_csv(manifest)
    first, second = table.filter(pl.col("split") == "test")["image"].head(2)
    name = first.split("/")[-1].split(".")[0]
    (tmp_path / "M0" / "crop_info.csv").write_text(f"Name,centre_w,centre_h,radius\n{name}.png,40,55,36\n")
    shared = manifest.parent / "shared.csv"
    other = f"other/{name}.left.jpg"
    table.with_columns(image=pl.col("image").replace(second, other)).write_csv(shared)
    settings = {"source": "automorph_results", "weights": tmp_path}
    with pytest.raises(UserError, match=f"^vessels: {first} and {other} share AutoMorph's map {name}.png, "):
        run_study(study_of(shared, weights, vessels=settings), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_start_that_fails_leaves_nothing_and_may_be_repeated(manifest, weights, tmp_path):
    for _ in range(2):
        with pytest.raises(UserError, match=r"no Ray cluster runs at 127\.0\.0\.1:1: start one"):
            run_study(study_of(manifest, weights), tmp_path / "runs" / "a", cluster="127.0.0.1:1")
        assert list(tmp_path.iterdir()) == []


def test_a_run_that_works_in_the_folder_is_not_disturbed(two_cpus, manifest, weights, tmp_path, monkeypatch):
    """ray-project/ray#35006, #48726: the job submitted twice."""
    two_cpus(is_local=True)
    refused = []

    def weights_stage(run):
        for resume in (False, True):
            with pytest.raises(UserError, match=f"in use by process {os.getpid()} on .*: wait until it has") as caught:
                run_study(study_of(manifest, weights), tmp_path / "run", resume=resume)
            refused.append(caught.value)
        raise NotImplementedError("the first stage began")

    monkeypatch.setattr(pipeline, "weights", weights_stage)
    with pytest.raises(NotImplementedError, match="the first stage began"):
        run_study(study_of(manifest, weights), tmp_path / "run")
    assert len(refused) == 2
    assert not (tmp_path / "run" / ".lock").exists()
