"""The first configuration for a user's images."""

import io
from pathlib import Path

import pytest
import torch
from rich.console import Console

from benchmark.errors import UserError
from benchmark.preflight.first_study import CHECK, SCHEMA, Wishes, choose_models, write_first_study
from benchmark.study.cohort import open_cohort
from benchmark.study.config import load_study
from benchmark.trial.costs import GIB, Machine


@pytest.fixture
def made(tmp_path):
    """Write a configuration for DATA; return its study and what was printed."""

    def made(data: Path, overwrite=False, **wishes):
        out, printed = tmp_path / "first.yaml", io.StringIO()
        write_first_study(data, out, Wishes(**wishes), overwrite, Console(file=printed, width=80))
        return load_study(out), " ".join(printed.getvalue().split())

    return made


@pytest.fixture
def odd(tmp_path):
    """Semicolons, columns of other names, grades in words, and two eyes of each of 12 patients; one file is missing."""
    (tmp_path / "photos").mkdir()
    lines = ["Fundus Photo;DR grade;MRN;Laterality;Quality"]
    for patient in range(12):
        for eye in ("OD", "OS"):
            grade = ("no DR", "mild", "severe")[patient % 3]
            lines.append(f"{patient}_{eye}.jpg;{grade};{patient};{eye};good")
            (tmp_path / "photos" / f"{patient}_{eye}.jpg").write_text(f"{patient}{eye}", encoding="utf-8")
    (tmp_path / "photos" / "3_OD.jpg").unlink()
    table = tmp_path / "odd table.csv"
    table.write_text("\n".join(lines), encoding="utf-8")
    return table


def test_a_table_of_other_names(made, odd, tmp_path):
    study, printed = made(odd)
    assert study.name == "odd table"
    assert study.cohort.manifest == odd
    assert study.cohort.columns.named() == {
        "image": "Fundus Photo", "label": "DR grade", "patient_id": "MRN", "eye": "Laterality",
    }  # fmt: skip
    assert study.cohort.image_dir == tmp_path / "photos"
    assert study.cohort.positive == ["mild", "severe"]
    assert open_cohort(study, odd).images["label"].sum() == 16
    assert "24 images of 12 patients; 16 images of 8 patients are positive." in printed
    assert "Images per class: mild 8, no DR 8, severe 8." in printed
    assert f"missing image files: 1 of 24, the first: {tmp_path / 'photos' / '3_OD.jpg'}" in printed
    assert "fix: vessels.weights: W-Net needs its weights" in printed
    text = (tmp_path / "first.yaml").read_text(encoding="utf-8")
    assert text.startswith(f"# yaml-language-server: $schema={SCHEMA}\n")
    assert f"# {CHECK}: positive: no DR is read as the class without the disease." in text


def test_labels_per_eye_and_covariates(made, tmp_path):
    lines = ["image,label,patient_id,eye,exam_date,patient_age,Sex"]
    for patient in range(12):
        label, side = int(patient >= 6), int(patient == 0)
        lines += [
            f"{patient}_{eye}.jpg,{label or side * (eye == 'OD')},p{patient},{eye},2024,{50 + patient},f"
            for eye in ("OD", "OS")
        ]
    table = tmp_path / "eyes.csv"
    table.write_text("\n".join(lines).replace("59,f", "59,m"), encoding="utf-8")
    study, printed = made(table)
    assert study.cohort.labels == "eye"
    assert "Check: cohort.labels: eye (1 patient has images with different labels" in printed
    assert study.cohort.covariates == {"patient_age": "auto", "Sex": "auto"}
    assert study.cohort.columns.visit == "exam_date"
    assert "not used" not in printed
    assert open_cohort(study, table).covariates["patient_age"].to_list()[:2] == [50, 50]


def test_a_file_is_replaced_only_on_request(made, odd, tmp_path):
    (tmp_path / "first.yaml").write_text("mine", encoding="utf-8")
    with pytest.raises(UserError, match="already exists; add --overwrite to replace it"):
        made(odd)
    assert (tmp_path / "first.yaml").read_text(encoding="utf-8") == "mine"
    study, _ = made(odd, overwrite=True, name="lab", positive=["severe"], vessel_weights=tmp_path / "w.safetensors")
    assert (study.name, study.cohort.positive) == ("lab", ["severe"])
    assert (study.vessels.source, study.vessels.weights) == ("wnet", tmp_path / "w.safetensors")


def test_nothing_is_written_if_the_data_cannot_be_understood(made, tmp_path):
    (tmp_path / "t.csv").write_text("age\n3\n", encoding="utf-8")
    for data, wishes, message in (
        (tmp_path / "t.csv", {}, "no column names image files"),
        (tmp_path, {}, "is not a folder of classes; name its table: t.csv"),
        (tmp_path / "t.csv", {"name": "a/b"}, "--name: 'a/b' contains '/'"),
    ):
        with pytest.raises(UserError, match=message):
            made(data, **wishes)
    assert not (tmp_path / "first.yaml").exists()


def test_a_folder_of_classes(made, tmp_path):
    """Without splits, patients are found in the names of files."""
    for grade in ("0", "1", "2"):
        (tmp_path / "eyes" / grade).mkdir(parents=True)
        for patient in range(4):
            (tmp_path / "eyes" / grade / f"{grade}{patient}_left.jpg").write_text(f"{grade}{patient}", encoding="utf-8")
    study, printed = made(tmp_path / "eyes")
    assert study.cohort.positive == ["1", "2"]
    opened = open_cohort(study, tmp_path / "eyes").images
    assert opened.group_by("label").len().sort("label").rows() == [(0, 4), (1, 8)]
    assert opened["patient_id"][0] == "00"
    assert "Check: cohort.positive: 1, 2 (every number above 0)" in printed


def test_models_suit_the_machine(monkeypatch):
    """Full-size models on a GPU with enough memory whose weights are available; otherwise miniatures."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.setattr("huggingface_hub.get_token", lambda: None)
    monkeypatch.setattr("backbones.hub.HubFile.cached", lambda file: None)
    cpu = choose_models(Machine(torch.device("cpu"), "CPU", 1, 1, 64 * GIB, half=False))
    assert list(cpu.chosen) == ["openclip-tiny", "dinov2-tiny", "retfound-tiny"]
    assert set(cpu.others.values()) == {"needs a GPU, and PyTorch finds none here"}
    gpu = choose_models(Machine(torch.device("cuda"), "H100", 1, 1, 80 * GIB, half=True))
    assert list(gpu.chosen) == ["openclip-vit-g14", "dinov2-vit-g14"]
    assert gpu.others["retfound-vit-l16"].startswith("gated: accept the terms on huggingface.co/YukunZhou/")
    small = choose_models(Machine(torch.device("cuda"), "T4", 1, 1, 4 * GIB, half=True))
    assert list(small.chosen) == list(cpu.chosen)
    assert "of GPU memory, T4 has 4.0 GiB" in small.others["dinov2-vit-g14"]
