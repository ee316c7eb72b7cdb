"""A study with folds: what folds share, what each has of its own, and how a killed run continues."""

import io
import json
import shutil

import numpy as np
import polars as pl
import pytest
from rich.console import Console
from sklearn.metrics import roc_auc_score

from benchmark import synthetic
from benchmark.analysis.compare import compare_runs
from benchmark.errors import UserError
from benchmark.report.progress import Reporter
from benchmark.report.results import read_results
from benchmark.reuse.finished import find_trial
from benchmark.scheduling.cluster import Cluster
from benchmark.stages import folds as stage
from benchmark.stages.pipeline import run_study
from benchmark.stages.run import Run
from benchmark.storage.rundir import RunDirectory, write_array, write_csv, write_parquet
from benchmark.study.cohort import open_cohort
from benchmark.study.config import Study
from benchmark.study.manifest import FILES
from benchmark.study.trials import trials_of

SPLITS = {"folds": 2, "repeats": 2}


def study_of(**changes):
    return Study.model_validate(
        {
            "name": "folded",
            "cohort": {"synthetic": {"patients": 24, "image_size": 128, "seed": 3}},
            "splits": SPLITS,
            "backbones": ["dinov2-tiny"],
            "strategies": [{"name": "partial", "blocks": 1}],
            "training": {"epochs": 2, "batch_size": 8, "views": 2},
            "explain": {"examples": 1},
            "controls": {"draws": 20, "seeds": 1, "images": 4},
            "statistics": {"resamples": 100},
        }
        | changes
    )


@pytest.fixture
def run(tmp_path):
    """The run directory of 12 patients with two images each, after the stages that folds share; no Ray."""
    directory, rng = RunDirectory(tmp_path / "run"), np.random.default_rng(0)
    cohort = pl.DataFrame(
        {
            "image": [f"{i}.png" for i in range(24)],
            "path": [f"synthetic/{i}.png" for i in range(24)],
            **dict.fromkeys(FILES, [""] * 24),
            "patient_id": [f"p{i // 2}" for i in range(24)],
            "label": [i // 2 % 2 for i in range(24)],
            "split": ["test"] * 24,
            "row": [2 * i for i in range(24)],
        }
    )
    write_parquet(directory.cohort, cohort)
    write_array(directory.regions, rng.integers(0, 255, (24, 4, 3, 3)).astype(np.uint8))
    write_array(directory.erased, rng.integers(0, 255, (24, 2, 3, 3, 3)).astype(np.uint8))
    write_parquet(directory.painted, cohort.select("image", painted=pl.int_range(24) / 24))
    positions = pl.int_range(24, dtype=pl.UInt32).alias("position")
    write_parquet(directory.vessels, cohort.select(positions, "image", flags=pl.lit("")))
    for file in (directory.rejected, directory.repeated):
        write_csv(file, cohort.head(0))
    directory.complete("prepare", images=24)
    directory.complete("segment", source={"name": "masks"})
    cluster = Cluster(nodes=1, cpus=1, gpus=0, gpu_memory=None, accelerators=(), is_local=True)
    return Run(study_of(), directory, cluster, Reporter(Console(file=io.StringIO()), ["train", "report"]))


def in_folds(run, monkeypatch, *stages):
    """Run the folds with these stages; the folds' reports are not made."""
    monkeypatch.setattr(stage, "report", lambda of_fold: None)
    return stage.run_folds(run, run.study, stages)


def test_a_fold_is_a_run_directory_with_the_rows_of_its_test_images(run, monkeypatch):
    seen = []
    folds = in_folds(run, monkeypatch, seen.append)
    assert [fold.name for fold in folds] == ["r1-f1", "r1-f2", "r2-f1", "r2-f2"]
    tested = {1: [], 2: []}
    for fold, of_fold in zip(folds, seen, strict=True):
        place, whole = of_fold.directory, run.directory
        assert place.path == whole.path / "folds" / fold.name
        assert of_fold.study.splits is None
        assert (place.images, place.weights) == (whole.images, whole.weights)
        assert place.embeddings("x").path == whole.embeddings("x").path
        cohort = pl.read_parquet(place.cohort)
        assert cohort.drop("split").equals(pl.read_parquet(whole.cohort).drop("split"))
        assert cohort.group_by("patient_id").agg(pl.col("split").n_unique())["split"].max() == 1
        test = cohort.with_row_index("place").filter(split="test")
        tested[fold.repeat] += test["image"].to_list()
        for name in ("regions", "erased"):
            own, shared = (np.load(getattr(where, name)) for where in (place, whole))
            np.testing.assert_array_equal(own, shared[test["place"].to_numpy()])
        assert pl.read_parquet(place.vessels)["image"].to_list() == test["image"].to_list()
        assert pl.read_parquet(place.vessels)["position"].to_list() == list(range(len(test)))
        assert pl.read_parquet(place.painted)["image"].to_list() == test["image"].to_list()
        assert place.outward(cohort)["path"][0] == f"{whole.path}/synthetic/0.png"
        assert place.completed("fold") == {"repeat": fold.repeat, "fold": fold.fold, "repeats": 2, "folds": 2}
    for images in tested.values():
        assert sorted(images) == sorted(f"{i}.png" for i in range(24)), "every image is tested once per repeat"


def test_a_killed_run_keeps_the_folds_that_are_set_up(run, monkeypatch):
    def killed(of_fold):
        if of_fold.directory.path.name == "r1-f2":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        in_folds(run, monkeypatch, killed)
    first = run.directory.fold("r1-f1")
    before = {file: file.stat().st_mtime_ns for file in first.path.rglob("*") if file.is_file()}
    assert not run.directory.fold("r2-f1").is_fold
    in_folds(run, monkeypatch)
    assert all(file.stat().st_mtime_ns == at for file, at in before.items())
    assert run.directory.fold("r2-f2").is_fold


def test_a_fold_whose_setting_up_was_killed_is_set_up_again(run, monkeypatch):
    in_folds(run, monkeypatch)
    place = run.directory.fold("r2-f1")
    (place.path / ".fold.json").unlink()
    place.vessels.unlink()
    in_folds(run, monkeypatch)
    assert place.is_fold and place.vessels.is_file()


def test_a_trial_without_weights_fails_in_every_fold(run, monkeypatch):
    (trial,) = trials_of(run.study)
    run.fail(trial, "weights: no such file")
    seen = []
    in_folds(run, monkeypatch, lambda of_fold: seen.append(of_fold.trials()))
    assert seen == [[]] * 4
    assert run.directory.fold("r2-f2").trial(trial).failure.read_text() == "weights: no such file\n"
    run.directory.trial(trial).failure.unlink()  # as a resumed run does
    seen.clear()
    in_folds(run, monkeypatch, lambda of_fold: seen.append(of_fold.trials()))
    assert seen == [[trial]] * 4


def test_a_fold_is_not_resumed_alone(run, monkeypatch):
    in_folds(run, monkeypatch)
    with pytest.raises(UserError, match=r"r1-f1 is a fold of the run in .*/run: name that run with --out"):
        run.directory.fold("r1-f1").check(run.study.dump(), resume=True)


def test_commands_that_need_one_model_name_the_folds(run, tmp_path):
    run.directory.claim(run.study.dump(), resume=False)
    for command in (lambda path: find_trial(path, None), lambda path: compare_runs([path, tmp_path])):
        with pytest.raises(UserError, match=r"models differ from fold to fold; .* one fold, as in .*/run/folds/r1-f1$"):
            command(run.directory.path)
    external = [{"name": "other", "manifest": "other.csv"}]
    with pytest.raises(ValueError, match=r"external: with splits, models differ from fold to fold; remove one"):
        study_of(external=external)


def test_more_repeats_may_be_added_but_folds_do_not_change(tmp_path):
    directory = RunDirectory(tmp_path)
    directory.claim(study_of().dump(), resume=False)
    directory.complete("prepare")
    directory.check(study_of(splits={"folds": 2, "repeats": 5}).dump(), resume=True)
    for splits, said in (
        ({"folds": 3, "repeats": 2}, r"splits.folds \(2, now 3\)"),
        (None, r"splits \(given, now none"),
    ):
        with pytest.raises(UserError, match=f"different values of {said}"):
            directory.check(study_of(splits=splits).dump(), resume=True)


def test_a_manifest_with_splits_is_refused(tmp_path):
    path = synthetic.write_cohort(synthetic.SyntheticCohort(patients=8, image_size=64), tmp_path)
    study = study_of(cohort={"manifest": path})
    assert open_cohort(study, path).images["split"].unique().to_list() == ["test"]
    pl.read_csv(path).with_columns(split=pl.lit("train")).write_csv(path)
    with pytest.raises(UserError, match=r"^cohort.csv says which images are train, .*: remove the column split"):
        open_cohort(study, path)


@pytest.mark.slow
def test_a_study_with_folds_from_images_to_page_and_again(tmp_path):
    """The whole pipeline; then one fold is lost, and the run is resumed."""
    study, directory = study_of(), RunDirectory(tmp_path / "run")
    board = run_study(study, directory.path)
    (trial,) = trials_of(study)
    assert board.cross_validated["status"].to_list() == ["ok"]
    names = ["r1-f1", "r1-f2", "r2-f1", "r2-f2"]

    # 1. Every patient is tested once per repeat, and what is shared is made once.
    tested = [pl.read_parquet(directory.fold(name).trial(trial).predictions).filter(split="test") for name in names]
    for repeat in (tested[:2], tested[2:]):
        assert sorted(pl.concat(repeat)["image"]) == sorted(pl.read_parquet(directory.cohort)["image"])
        assert set(repeat[0]["patient_id"]).isdisjoint(repeat[1]["patient_id"])
    caches = [*directory.path.glob("embeddings/*/*.npy"), directory.images, directory.regions, directory.erased]
    assert len(caches) >= 5
    assert not list(directory.path.glob("folds/*/images.npy")) + list(directory.path.glob("folds/*/embeddings"))
    assert (np.load(directory.embeddings("dinov2-tiny").entry) >= 0).all(), "a training view of every image"

    # 2. The numbers come out again from the files of the folds.
    row = board.cross_validated.row(0, named=True)
    assert row["auc"] == pytest.approx(np.mean([roc_auc_score(t["label"], t["score"]) for t in tested]))
    ratios = [pl.read_parquet(directory.fold(name).trial(trial).saliency)["vessel_ratio"] for name in names]
    assert row["vessel_ratio"] == pytest.approx(np.mean([ratio.mean() for ratio in ratios]))
    results = read_results(directory.path)
    assert results.trials[0].measures["auc"].value == row["auc"]
    assert (len(results.cross_validation.by_fold), results.cohort.images) == (4, {"test": 48})
    for name in ("folds", "cross_validated", "variance", "comparisons", "seeds"):
        assert directory.table(name).is_file()
    page = directory.leaderboard("html").read_text()
    for name in names:
        assert f'href="folds/{name}/leaderboard.html"' in page
        assert directory.fold(name).leaderboard("html").is_file()
        erasure = pl.read_parquet(directory.fold(name).trial(trial).erasure)
        assert erasure["erased"].null_count() < len(erasure)
    assert json.loads(directory.run.read_text())["seconds"].keys() >= {"embed", "train", "control"}

    # 3. A resumed run works on the lost fold alone.
    kept = [file for name in names[:3] for file in directory.fold(name).trial(trial).path.glob("*.parquet")] + caches
    before = {file: file.stat().st_mtime_ns for file in kept}
    shutil.rmtree(directory.fold("r2-f2").trial(trial).path)
    again = run_study(study, directory.path, resume=True)
    assert {file: file.stat().st_mtime_ns for file in kept} == before
    assert again.cross_validated.equals(board.cross_validated), "training is deterministic"
