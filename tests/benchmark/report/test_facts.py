"""The facts of a run, in words, from its record and its files."""

import polars as pl
import pytest

from benchmark.report.facts import facts, vessel_facts
from benchmark.report.provenance import Machine, Program
from benchmark.report.results import ClassCount
from benchmark.study.config import Study
from tests.benchmark.lab_results import MACHINE, SOFTWARE, results_of

STUDY = Study.model_validate(
    {
        "name": "carotid",
        "cohort": {"manifest": "/data/cohort.csv"},
        "backbones": ["dinov2-tiny"],
        "strategies": ["lora", "full"],
        "statistics": {"resamples": 5000},
    }
)
VESSELS = pl.DataFrame(
    {
        "flags": ["", "few_vessels, masks_turned", "few_vessels"],
        "error": ["no file", None, None],
        "note": ["", "scaled by 2", ""],
        "disc_error": [None, "empty", None],
    }
)
WEIGHTS = {"dinov2-tiny": {"path": "/lab/w.pth", "sha256": "ab"}}
NOTED = {
    "trainable_parameters": 1234567, "inputs": "images", "learning_rate": 0.0005, "best_epoch": 2, "epochs": 9,
    "seconds": 12.3456,
}  # fmt: skip


def facts_with(**changes):
    results = results_of(weights=WEIGHTS, **{"dinov2-tiny__lora": 0.8, "dinov2-tiny__full": None})
    trials = [
        trial.model_copy(update={"training": NOTED}) if trial.status == "ok" else trial for trial in results.trials
    ]
    return facts(STUDY, results.model_copy(update={"trials": trials, **changes}), VESSELS)


def test_cohort_and_weights():
    found = facts_with()
    assert found["Data"] == {
        "cohort": "lab_a.csv",
        "images used": "320",
        "images left out": "0",
        "duplicate images": "not counted",
    }
    several = [
        ClassCount(name=name, label=label, images={"train": 5, "test": images}, patients={})
        for name, label, images in (("0", 0, 1), ("2", 1, 2), ("3", 1, 3))
    ]
    cohort = results_of().cohort.model_copy(update={"classes": {"0": "0", "1": "2, 3"}, "by_class": several})
    data = facts_with(cohort=cohort)["Data"]
    assert (data["label 0"], data["label 1"]) == ("0 (6 images)", "2 (7 images), 3 (8 images)")
    assert found["Weights"] == {"dinov2-tiny": "w.pth, SHA-256 ab"}
    from_hub = {"repository": "lab/dinov2", "file": "w.pth", "revision": "cd", "path": "/cache", "sha256": "ab"}
    assert facts_with(weights={"a": from_hub, "b": None})["Weights"] == {
        "a": "lab/dinov2/w.pth at cd, SHA-256 ab",
        "b": "untrained",
    }


def test_how_trials_were_trained():
    """A failed trial has no entry."""
    assert facts_with()["Training"] == {
        "dinov2-tiny-lora-s0": "1,234,567 parameters, trained from images; learning rate 0.0005, "
        "best epoch 2 of 9, 12.3 s"
    }


@pytest.mark.parametrize(
    ("commit", "changed", "text"),
    [
        (None, None, "0.1.0"),
        ("0ab", False, "0.1.0, commit 0ab"),
        ("0ab", True, "0.1.0, commit 0ab with changes"),
        ("0ab", None, "0.1.0, commit 0ab, changes unknown"),
    ],
)
def test_the_program(commit, changed, text):
    program = Program(version="0.1.0", commit=commit, changed=changed)
    software = SOFTWARE.model_copy(update={"program": program, "packages": {"numpy": "2.0"}})
    assert facts_with(software=software)["Software"] == {"retina-benchmark": text, "python": "3.11.2", "numpy": "2.0"}


def test_the_machine():
    machine = Machine(nodes=2, cpus=16, gpus=2, accelerators=["A10G"], processor="EPYC", memory=64 * 2**30 + 1)
    assert facts_with(machine=machine)["Machine"] == {
        "nodes": "2",
        "CPUs": "16",
        "GPUs": "2 A10G",
        "this node": "EPYC, 64 GiB",
        "finished": "2026-01-02T03:04:05+00:00",
    }
    without = facts_with(machine=MACHINE)["Machine"]
    assert (without["GPUs"], without["this node"]) == ("0", "")


def test_seconds_are_rounded_for_the_page_alone():
    assert facts_with(seconds={"train": 100 / 3})["Seconds per stage"] == {"train": "33.3"}


def test_what_is_wrong_with_masks_is_counted():
    assert vessel_facts(VESSELS) == {
        "test images without masks": "1",
        "flagged few vessels": "2 of 3",
        "flagged masks turned": "1 of 3",
        "masks scaled by 2": "1 of 3",
        "optic discs left out": "1 of 3; first reason: empty",
    }
    earlier = vessel_facts(VESSELS.drop("note", "disc_error"))
    assert "flagged few vessels" in earlier
    assert not [key for key in earlier if key.startswith(("masks", "optic"))]
