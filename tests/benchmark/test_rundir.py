"""Who may use a run directory, and files that are whole or not there."""

from copy import deepcopy

import numpy as np
import polars as pl
import pytest
import yaml

from benchmark.cells import Cell
from benchmark.config import BackboneChoice, StrategyChoice, Study
from benchmark.errors import UserError
from benchmark.rundir import RunDirectory, create_array, open_array, write_array, write_json, write_parquet

CELL = Cell(BackboneChoice(name="openclip-tiny"), StrategyChoice(name="lora"), 0)


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
    """A run of which the cell `CELL` is complete."""
    directory.claim(study, resume=False)
    directory.complete("prepare", images=3)
    directory.complete("segment")
    embeddings = directory.embeddings("openclip-tiny")
    embeddings.path.mkdir(parents=True)
    write_array(embeddings.entry, np.zeros((1, 1), np.int64))
    trial = directory.trial(CELL)
    write_json(trial.trial, {})
    write_parquet(trial.saliency, pl.DataFrame({"image": ["a"]}))
    return directory


def test_a_claimed_directory_holds_the_configuration_and_room_for_the_log(directory, study):
    directory.claim(study, resume=False)
    assert Study.model_validate(yaml.safe_load(directory.study.read_text(encoding="utf-8"))).dump() == study
    assert directory.log.parent.is_dir()


def test_a_directory_in_use_is_refused_without_resume(directory, study):
    directory.claim(study, resume=False)
    with pytest.raises(UserError, match=r"holds a run already: add --resume .* or choose another --out"):
        directory.claim(study, resume=False)
    directory.claim(study, resume=True)


def test_there_must_be_something_to_resume(directory, study):
    with pytest.raises(UserError, match="no run to resume; leave --resume out"):
        directory.claim(study, resume=True)
    assert not directory.path.exists()


def test_an_empty_folder_may_be_claimed_either_way(directory, study):
    directory.path.mkdir(parents=True)
    directory.claim(study, resume=True)
    assert directory.study.is_file()


def test_a_path_that_cannot_be_a_folder_is_one_line(tmp_path, study):
    (tmp_path / "file").touch()
    for path in (tmp_path / "file", tmp_path / "file" / "x"):
        with pytest.raises(UserError, match=r"cannot be made a run directory .*; choose another --out"):
            RunDirectory(path).claim(study, resume=False)


def changed(study: dict, section: str, **values) -> dict:
    study = deepcopy(study)
    study[section] = (study[section] or {}) | values
    return study


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
    with pytest.raises(UserError, match=f"started with another {section}; choose another --out, or restore"):
        finished.claim(changed(study, section, **MIXING[section]), resume=True)
    assert yaml.safe_load(finished.study.read_text(encoding="utf-8")) == study


@pytest.mark.parametrize("section", MIXING)
def test_what_nothing_was_computed_from_may_be_mended(directory, study, section):
    """A manifest that was refused, for example: the run goes on once it is right."""
    directory.claim(study, resume=False)
    now = changed(study, section, **MIXING[section])
    directory.claim(now, resume=True)
    assert yaml.safe_load(directory.study.read_text(encoding="utf-8")) == now


def test_every_change_is_named(finished, study):
    now = changed(changed(study, "cohort", max_rejected=0.5), "training", epochs=99)
    with pytest.raises(UserError, match="another cohort, training;"):
        finished.claim(now, resume=True)


def test_cells_statistics_and_resources_may_change(finished, study):
    now = changed(changed(study, "statistics", resamples=500), "resources", cpus=3) | {"name": "y", "seeds": [0, 1]}
    now["backbones"] = [*study["backbones"][:1], {"name": "retfound-tiny", "weights": None}]
    now["strategies"] = [{"name": "full"}]
    finished.claim(now, resume=True)
    assert yaml.safe_load(finished.study.read_text(encoding="utf-8")) == now


def test_a_strategy_that_was_computed_with_may_not_change(finished, study):
    now = deepcopy(study)
    now["strategies"][0] = {"name": "lora", "rank": 2}
    with pytest.raises(UserError, match=r"another strategies\.lora;"):
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
    trial = directory.trial(Cell(BackboneChoice(name=name), StrategyChoice(name="lora"), 3))
    assert trial.path == directory.path / "trials" / "timm_vit_tiny_patch16_224-lora-s3"
    assert directory.embeddings("timm:a/b").path == directory.path / "embeddings" / "timm_a_b"


class Unwritable:
    """Breaks off in the middle of writing, as a full disk would."""

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
