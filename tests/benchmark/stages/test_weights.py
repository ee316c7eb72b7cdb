"""Weights are found once, recorded, and stay the same during a run."""

import dataclasses
import io
import json
import os

import huggingface_hub
import pytest
from rich.console import Console
from safetensors.torch import load_file, save_file

import backbones
from benchmark.errors import UserError
from benchmark.report.progress import Reporter
from benchmark.scheduling.cluster import Cluster
from benchmark.stages.run import Run
from benchmark.stages.weights import weights
from benchmark.storage.rundir import RunDirectory
from benchmark.study.config import Study
from benchmark.study.trials import trials_of
from benchmark.trial.weight_files import build_model


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "retfound.safetensors"
    save_file(backbones.get("retfound-tiny-untrained").build(seed=5).state_dict(), path)
    return path


@pytest.fixture
def run_with(tmp_path):
    """A run whose first backbone is untrained and whose second has these weights."""

    def build(**choice):
        study = Study.model_validate(
            {
                "name": "x",
                "cohort": {"manifest": "x.csv"},
                "backbones": ["dinov2-tiny-untrained", {"name": "retfound-tiny"} | choice],
                "strategies": ["classifier_only", "lora"],
            }
        )
        cluster = Cluster(nodes=1, cpus=1, gpus=0, gpu_memory=None, accelerators=(), is_local=True)
        reporter = Reporter(Console(file=io.StringIO()), ["weights"])
        return Run(study, RunDirectory(tmp_path / "run"), cluster, reporter)

    return build


def test_what_identifies_them_is_noted(run_with, file):
    run = run_with(weights=file)
    weights(run)
    noted = json.loads(run.directory.weights.read_text())
    assert noted == {
        "dinov2-tiny-untrained": None,
        "retfound-tiny": {"path": str(file), "sha256": backbones.sha256(file)},
    }


def test_a_model_that_comes_with_the_project_has_its_file(run_with):
    run = run_with()
    weights(run)
    shipped = backbones.get("retfound-tiny").shipped
    noted = json.loads(run.directory.weights.read_text())
    assert noted["retfound-tiny"] == {"path": str(shipped), "sha256": backbones.sha256(shipped)}
    state = build_model(run.study.backbones[1], run.directory).state_dict()
    assert all(state[key].half().equal(value) for key, value in load_file(shipped).items())


def test_a_folder_will_do(run_with, file):
    run = run_with(weights=file.parent)
    weights(run)
    assert json.loads(run.directory.weights.read_text())["retfound-tiny"]["path"] == str(file)


def test_missing_weights_fail_the_trials_of_that_backbone_alone(run_with, tmp_path):
    run = run_with(weights=tmp_path / "none.pth")
    weights(run)
    failed = {trial.name for trial in trials_of(run.study)} - {trial.name for trial in run.trials()}
    assert failed == {"retfound-tiny-classifier_only-s0", "retfound-tiny-lora-s0"}
    reason = run.directory.trial(trials_of(run.study)[2]).failure.read_text()
    assert "none.pth: no such" in reason


def test_a_digest_in_the_configuration_is_held_against_the_file(run_with, file):
    run = run_with(weights=file, sha256="0" * 64)
    weights(run)
    reason = run.directory.trial(trials_of(run.study)[2]).failure.read_text()
    assert backbones.sha256(file) in reason
    assert "0" * 64 in reason
    assert "`sha256:`" in reason


def test_a_run_does_not_go_on_with_other_weights(run_with, file):
    run = run_with(weights=file)
    weights(run)
    trial = run.directory.trial(trials_of(run.study)[2])
    trial.path.mkdir(parents=True)
    trial.record.write_text("{}")
    weights(run)  # the same file is not a change
    save_file(backbones.get("retfound-tiny-untrained").build(seed=6).state_dict(), file)
    with pytest.raises(UserError, match="began with other weights for retfound-tiny"):
        weights(run)


def test_weights_may_be_changed_while_nothing_was_computed_from_them(run_with, file):
    weights(run_with(weights=file))
    save_file(backbones.get("retfound-tiny-untrained").build(seed=6).state_dict(), file)
    run = run_with(weights=file)
    weights(run)
    assert json.loads(run.directory.weights.read_text())["retfound-tiny"]["sha256"] == backbones.sha256(file)


def test_a_worker_refuses_a_file_that_changed_behind_the_runs_back(run_with, file):
    run = run_with(weights=file)
    weights(run)
    choice = run.study.backbones[1]
    build_model(choice, run.directory)
    save_file(backbones.get("retfound-tiny-untrained").build(seed=6).state_dict(), file)
    with pytest.raises(backbones.WeightsError, match="SHA-256"):
        build_model(choice, run.directory)


@pytest.mark.parametrize("content", [b"\x89HDF\r\n\x1a\n", b""])
def test_a_file_of_another_kind_fails_its_trials_before_anything_is_computed(content, run_with, tmp_path):
    (tmp_path / "tf model.h5").write_bytes(content)
    run = run_with(weights=tmp_path / "tf model.h5")
    weights(run)
    assert {trial.backbone.name for trial in run.trials()} == {"dinov2-tiny-untrained"}
    (reason,) = run.directory.trial(trials_of(run.study)[2]).failure.read_text().splitlines()
    assert "tf model.h5: " in reason


def test_a_worker_says_in_one_line_that_the_file_is_gone(run_with, file):
    run = run_with(weights=file)
    weights(run)
    file.unlink()
    with pytest.raises(backbones.WeightsError, match="no such weights file") as error:
        build_model(run.study.backbones[1], run.directory)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("name", "value"),
    [("all_proxy", "socks://127.0.0.1:7890/"), ("HF_TOKEN", "“hf_geheim”"), ("SSL_CERT_FILE", "/nonexistent.pem")],
)
def test_a_variable_in_the_way_of_the_hub_leaves_other_backbones_alone(
    name, value, run_with, file, tmp_path, monkeypatch
):
    """gradio-app/gradio#4007, pdm-project/pdm#3390, danielgatis/rembg#855, chidiwilliams/buzz#1356."""
    for other in [key for key in os.environ if key.lower().endswith("_proxy") or key in ("HF_TOKEN", "SSL_CERT_FILE")]:
        monkeypatch.delenv(other)
    monkeypatch.setenv(name, value)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    study = run_with(weights=file).study.dump()
    study["backbones"].append({"name": "timm:vit_tiny_patch16_224"})
    run = dataclasses.replace(run_with(), study=Study.model_validate(study))
    weights(run)
    assert {trial.backbone.name for trial in run.trials()} == {"dinov2-tiny-untrained", "retfound-tiny"}
    (reason,) = run.directory.trial(trials_of(run.study)[-1]).failure.read_text(encoding="utf-8").splitlines()
    assert name in reason
    assert "geheim" not in reason
