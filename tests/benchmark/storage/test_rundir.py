"""When a run directory may be used, and files that are complete or absent."""

import json
from copy import deepcopy

import cv2
import numpy as np
import polars as pl
import pytest
import yaml

from benchmark.errors import UserError
from benchmark.storage.rundir import (
    RunDirectory,
    create_array,
    open_array,
    write_array,
    write_image,
    write_json,
    write_parquet,
    write_text,
)  # fmt: skip
from benchmark.study.config import BackboneChoice, StrategyChoice, Study
from benchmark.study.trials import Trial
from benchmark.tables import read_parquet

TRIAL = Trial(BackboneChoice(name="openclip-tiny"), StrategyChoice(name="lora"), 0)


@pytest.fixture
def study() -> dict:
    return Study(
        name="x",
        cohort={"synthetic": {}},
        backbones=["openclip-tiny", "dinov2-tiny"],
        strategies=["lora", "partial"],
    ).dump()


@pytest.fixture
def directory(tmp_path) -> RunDirectory:
    return RunDirectory(tmp_path / "runs" / "x")


@pytest.fixture
def finished(directory, study) -> RunDirectory:
    """A run whose trial `TRIAL` is complete."""
    directory.claim(study, resume=False)
    directory.complete("prepare", images=3)
    directory.complete("segment")
    embeddings = directory.embeddings("openclip-tiny")
    embeddings.path.mkdir(parents=True)
    write_array(embeddings.entry, np.zeros((1, 1), np.int64))
    trial = directory.trial(TRIAL)
    write_json(trial.record, {})
    write_parquet(trial.saliency, pl.DataFrame({"image": ["a"]}))
    return directory


def test_a_claimed_directory_holds_the_configuration_and_room_for_the_log(directory, study):
    directory.claim(study, resume=False)
    assert Study.model_validate(yaml.safe_load(directory.study.read_text(encoding="utf-8"))).dump() == study
    assert directory.log.parent.is_dir()


def test_a_directory_in_use_is_refused_without_resume(directory, study):
    directory.claim(study, resume=False)
    with pytest.raises(UserError, match=r"already holds a run: add --resume .* or choose another --out"):
        directory.claim(study, resume=False)
    directory.claim(study, resume=True)


def test_there_must_be_something_to_resume(directory, study):
    with pytest.raises(UserError, match="no run to resume; omit --resume"):
        directory.claim(study, resume=True)
    assert not directory.path.exists()


def test_an_empty_folder_may_be_claimed_either_way(directory, study):
    directory.path.mkdir(parents=True)
    directory.claim(study, resume=True)
    assert directory.study.is_file()


def test_a_path_that_cannot_be_a_folder_is_one_line(tmp_path, study):
    (tmp_path / "file").touch()
    for path in (tmp_path / "file", tmp_path / "file" / "x"):
        with pytest.raises(UserError, match=r"cannot be used as a run directory .*; choose another --out"):
            RunDirectory(path).claim(study, resume=False)


def changed(study: dict, section: str, **values) -> dict:
    study = deepcopy(study)
    study[section] = (study[section] or {}) | values
    return study


# For each section, one changed key, and how the message names it.
NAMED = {
    "cohort": r"cohort\.max_rejected \(0\.05, now 0\.5\)",
    "vessels": r"vessels\.size \(none, now 99\)",
    "training": r"training\.epochs \(30, now 99\)",
    "embeddings": r"embeddings\.dtype \(float16, now bfloat16\)",
    "search": r"search \(none, now given\)",
    "explain": r"explain\.scaling \(minmax, now raw\)",
}
MIXING = {
    "cohort": {"max_rejected": 0.5},
    "vessels": {"size": 99},
    "training": {"epochs": 99},
    "embeddings": {"dtype": "bfloat16"},
    "search": {"candidates": 7},
    "explain": {"scaling": "raw"},
}


@pytest.mark.parametrize("section", MIXING)
def test_what_was_computed_from_may_not_change(finished, study, section):
    with pytest.raises(UserError, match=f"different values of {NAMED[section]}; restore them, or choose another"):
        finished.claim(changed(study, section, **MIXING[section]), resume=True)
    assert yaml.safe_load(finished.study.read_text(encoding="utf-8")) == study


@pytest.mark.parametrize("section", MIXING)
def test_what_nothing_was_computed_from_may_be_corrected(directory, study, section):
    """For example a manifest that was refused: the run continues once it is correct."""
    directory.claim(study, resume=False)
    now = changed(study, section, **MIXING[section])
    directory.claim(now, resume=True)
    assert yaml.safe_load(directory.study.read_text(encoding="utf-8")) == now


def test_a_run_of_a_version_with_fewer_settings_is_continued(finished, study):
    """A setting that the earlier version did not have counts as its default; another value is a change."""
    before = yaml.safe_load(finished.study.read_text(encoding="utf-8"))
    del before["cohort"]["positive"], before["statistics"]
    finished.study.write_text(yaml.safe_dump(before), encoding="utf-8")
    with pytest.raises(UserError, match=r"different values of cohort\.positive \(none, now AMD\);"):
        finished.claim(changed(study, "cohort", positive="AMD"), resume=True)
    finished.claim(study, resume=True)


def test_every_change_is_named(finished, study):
    now = changed(changed(study, "cohort", max_rejected=0.5), "training", epochs=99)
    with pytest.raises(UserError, match=r"of cohort\.max_rejected \(.*\), training\.epochs \(.*\);"):
        finished.claim(now, resume=True)


def test_another_cohort_is_named_by_its_manifest_seed_splits_or_label(finished, study):
    """Not "another cohort": the keys that differ, with both values."""
    cohort = {
        "manifest": "/data/b.csv",
        "positive": "AMD",
        "shares": study["cohort"]["shares"] | {"seed": 3, "train": 0.4},
        "synthetic": None,
    }
    with pytest.raises(UserError) as raised:
        finished.claim(changed(study, "cohort", **cohort), resume=True)
    assert str(raised.value).partition("different values of ")[2] == (
        "cohort.manifest (none, now /data/b.csv), cohort.positive (none, now AMD), cohort.synthetic (given, now none), "
        "cohort.shares.train (0.5, now 0.4), cohort.shares.seed (0, now 3); restore them, or choose another --out"
    )


def test_trials_statistics_and_resources_may_change(finished, study):
    now = changed(changed(study, "statistics", resamples=500), "resources", cpus=3) | {"name": "y", "seeds": [0, 1]}
    now["backbones"] = [*study["backbones"][:1], {"name": "retfound-tiny", "weights": None}]
    now["strategies"] = [{"name": "full"}]
    finished.claim(now, resume=True)
    assert yaml.safe_load(finished.study.read_text(encoding="utf-8")) == now


def test_a_strategy_that_was_computed_with_may_not_change(finished, study):
    now = deepcopy(study)
    now["strategies"][0] = {"name": "lora", "rank": 2}
    with pytest.raises(UserError, match=r"different values of strategies\.lora\.rank \(.*, now 2\);"):
        finished.claim(now, resume=True)


def test_a_strategy_that_nothing_was_computed_with_may_change(finished, study):
    now = deepcopy(study)
    now["strategies"][1] = {"name": "partial", "blocks": 1}
    finished.claim(now, resume=True)


def test_what_ran_out_of_memory_or_disk_may_be_cut_to_fit(finished, study):
    now = changed(changed(study, "embeddings", max_gib=1), "training", micro_batch=2, checkpointing=True)
    finished.claim(now, resume=True)


def test_a_stage_is_complete_when_it_says_so(directory):
    assert directory.completed("prepare") is None
    directory.complete("prepare", images=3, rejected=0)
    assert directory.completed("prepare") == {"images": 3, "rejected": 0}


def test_a_backbone_of_any_name_has_folders_of_its_own(directory):
    name = "timm:vit_tiny_patch16_224"
    trial = directory.trial(Trial(BackboneChoice(name=name), StrategyChoice(name="lora"), 3))
    assert trial.path == directory.path / "trials" / "timm_vit_tiny_patch16_224-lora-s3"
    assert directory.embeddings("timm:a/b").path == directory.path / "embeddings" / "timm_a_b"


class Unwritable:
    """Fails in the middle of writing, as on a full disk."""

    def __str__(self) -> str:
        raise OSError("no space left on device")

    def write_parquet(self, path) -> None:
        path.write_bytes(b"PAR1")
        str(self)

    def __array__(self, *args, **options) -> np.ndarray:
        raise OSError("no space left on device")


@pytest.mark.parametrize(
    ("write", "old", "read"),
    [
        (write_json, {"a": 1}, lambda path: path.read_text()),
        (write_parquet, pl.DataFrame({"a": [1]}), lambda path: pl.read_parquet(path).to_dict(as_series=False)),
        (write_array, np.arange(3), lambda path: np.load(path).tolist()),
    ],
    ids=["json", "parquet", "array"],
)
def test_a_file_is_written_whole_or_not_at_all(tmp_path, write, old, read):
    path = tmp_path / "below" / "file"
    with pytest.raises(OSError, match="no space"):
        write(path, Unwritable())
    assert not path.exists()
    write(path, old)
    before = read(path)
    with pytest.raises(OSError, match="no space"):
        write(path, Unwritable())
    assert read(path) == before
    write(path, old)
    assert list(path.parent.iterdir()) == [path]


def test_arrays_come_back_as_they_were_written(tmp_path):
    values = np.random.default_rng(0).normal(size=(3, 4, 5)).astype(np.float16)
    write_array(tmp_path / "a.npy", values)
    np.testing.assert_array_equal(open_array(tmp_path / "a.npy"), values)

    mapped = create_array(tmp_path / "below" / "b.npy", values.shape, np.float16)
    mapped[:] = values
    mapped.flush()
    again = open_array(tmp_path / "below" / "b.npy")
    np.testing.assert_array_equal(again, values)
    assert not again.flags.writeable


def test_paths_in_the_folder_move_with_it(tmp_path):
    """A moved run finds the files of its synthetic cohort in its folder, and other files where they are."""
    before, after = RunDirectory(tmp_path / "a [1]"), RunDirectory(tmp_path / "b")
    none = [None, None]
    table = pl.DataFrame(
        {"path": [str(before.path / "synthetic" / "1.jpg"), "/photos/2.jpg"]}
        | dict.fromkeys(("vein_mask", "disc_mask", "fov_mask"), none)
        | {"artery_mask": [None, str(before.path / "m.png")]},
        schema_overrides=dict.fromkeys(("vein_mask", "disc_mask", "fov_mask"), pl.String),
    )
    inside = before.inward(table)
    assert inside["path"].to_list() == ["synthetic/1.jpg", "/photos/2.jpg"]
    assert before.outward(inside).equals(table)
    moved = after.outward(inside)
    assert moved["path"].to_list() == [str(after.path / "synthetic" / "1.jpg"), "/photos/2.jpg"]
    assert moved["artery_mask"].to_list() == [None, str(after.path / "m.png")]


def test_what_a_killed_run_left_half_written_is_removed(finished):
    block = finished.embeddings("openclip-tiny").block(3)
    drafts = [
        finished.embeddings("openclip-tiny").draft(block),
        finished.trial(TRIAL).predictions.with_name("predictions.parquet.part"),
        finished.path / "leaderboard.html.part",
    ]
    kept = sorted(path for path in finished.path.rglob("*") if path.is_file())
    for draft in drafts:
        draft.write_bytes(b"half")
    finished.remove_drafts()
    assert sorted(path for path in finished.path.rglob("*") if path.is_file()) == kept


@pytest.mark.parametrize("name", ["my run [x] #1 100%", "r[1]", "ä ?*{a,b}", "-x", "~", "l" * 200, "a\\b'\"c"])
def test_a_folder_of_any_name_is_that_folder(tmp_path, study, name):
    """pola-rs/polars#19801."""
    (tmp_path / "r1").mkdir()
    directory = RunDirectory(tmp_path / name)
    directory.claim(study, resume=False)
    write_parquet(directory.cohort, pl.DataFrame({"image": [name]}))
    assert read_parquet(directory.cohort)["image"].to_list() == [name]
    write_array(directory.embeddings("x").entry, np.zeros((1, 1), np.int64))
    with pytest.raises(UserError, match="different values of training"):
        directory.claim(changed(study, "training", epochs=99), resume=True)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted({"r1", name})
    assert not any((tmp_path / "r1").iterdir())


def test_a_name_that_is_no_text_can_be_written(tmp_path):
    """A file name with a byte that is not UTF-8."""
    write_text(tmp_path / "page.html", "name: \udcff\n")
    assert (tmp_path / "page.html").read_text(encoding="utf-8") == "name: \\udcff\n"
    write_json(tmp_path / "a.json", {"name": "\udcff"})
    assert json.loads((tmp_path / "a.json").read_text(encoding="utf-8")) == {"name": "\udcff"}


def test_images_are_written_whole_or_not_at_all(tmp_path):
    rgb = np.random.default_rng(0).integers(0, 256, (4, 5, 3), np.uint8)
    write_image(tmp_path / "a.png", rgb)
    np.testing.assert_array_equal(cv2.imread(str(tmp_path / "a.png"))[..., ::-1], rgb)
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]


@pytest.mark.parametrize(
    "trace", ["embeddings/model/entry.npy", "search/model-lora.csv", "trials/model-lora-s0/trial.json"]
)
def test_a_backbone_is_in_use_once_something_was_computed_from_it(tmp_path, trace):
    directory = RunDirectory(tmp_path)
    assert not directory.uses("model")
    write_text(tmp_path / trace, "")
    assert directory.uses("model") and not directory.uses("other")
