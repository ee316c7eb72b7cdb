"""The model card is read back with the hub's library, and the code on it is run."""

import json
import re

import pytest
import torch
from huggingface_hub import ModelCard
from PIL import Image

import backbones
from benchmark.report.model_card import HUB_LICENCES, model_card, model_config
from benchmark.report.results import CohortResult, Method, Number, Results, TrialResult
from benchmark.storage.rundir import RunDirectory, write_json, write_text
from benchmark.study.config import Study
from benchmark.study.images import open_cropped
from benchmark.study.trials import trials_of
from benchmark.trial.fit import new_model, trained_model
from finetune.trained import save_trained
from tests.benchmark.lab_results import MACHINE, SOFTWARE
from tests.fuzz.images import eye

HOSTILE = 'a: "b" # `c`\n---\n| <script>'
SHA256 = "d3ba76fbb9b25a8daa68d1369b27c296b5c3b504a1617e5ab174642c0aa890b1"
RECORDS = {
    "dinov2-tiny": {"path": "/home/anna/dinov2-tiny.safetensors", "sha256": SHA256},
    "retfound-vit-l16": {
        "path": "/home/anna/.cache/RETFound_mae_natureCFP.pth", "sha256": "0" * 64,
        "repository": "YukunZhou/RETFound_mae_natureCFP", "file": "RETFound_mae_natureCFP.pth", "revision": "a" * 40,
    },
    "dinov2-tiny-untrained": None,
}  # fmt: skip


def study_of(backbone="dinov2-tiny", name="tiny"):
    return Study.model_validate(
        {
            "name": name,
            "cohort": {"manifest": "/home/anna/cohort.csv"},
            "backbones": [backbone],
            "strategies": ["classifier_only", {"name": "partial", "blocks": 1}, {"name": "lora", "rank": 2}, "full"],
        }
    )


def results_of(study, trial, **changes):
    measures = {
        "auc": Number(value=0.8125, low=0.7, high=0.9, n=40, method="patients"),
        "ece": Number(value=0.1, n=40),
        "npv": Number(value=None, n=0),
        "vessel_ratio_fov": Number(value=1.25, low=1.1, high=1.4, n=39),
    }
    of_trial = dict(zip(("backbone", "strategy", "seed"), trial.key, strict=True))
    values = {"status": "ok", "measures": measures, "threshold": 0.4375, "training": {"epochs": 9, "best_epoch": 7}}
    result = TrialResult(**of_trial | values | changes)
    counts = {"train": 70, "val": 11, "test": 40}
    cohort = CohortResult(
        source="cohort.csv", images=counts, patients={"train": 35, "val": 9, "test": 20},
        positive={"train": 30, "val": 5, "test": 17}, positive_patients={"train": 16, "val": 3, "test": 8},
        left_out=2, test_sha256="0" * 64, classes={"0": "healthy", "1": HOSTILE},
    )  # fmt: skip
    results = Results(
        study=study.name, finished="2026-01-01T00:00:00+00:00", cohort=cohort, trials=[result], comparisons=[],
        methods={"patients": Method(name="Student's t")}, correlations=[], seeds=[], weights=RECORDS, vessels={},
        software=SOFTWARE, machine=MACHINE, seconds={}, configuration=study.dump(),
    )  # fmt: skip
    return result, results


def card_of(backbone="dinov2-tiny", strategy=2, name="tiny", **changes):
    study = study_of(backbone, name)
    trial = trials_of(study)[strategy]
    return model_card(study, trial, *results_of(study, trial, **changes))


def test_a_card_has_what_a_reader_needs():
    text = card_of()
    for expected in (
        "| test | 40 | 17 | 20 | 8 |",
        "| all | 121 | 52 | 64 | 27 |",
        "| AUC | 0.812 (0.700 to 0.900) | 40 |",
        "in the field of view | 1.250 (1.100 to 1.400) | 39 |",
        "The epoch (7 of 9)",
        "A score of 0.4375 or more is called positive",
        "Not a medical device",
        "Weights of the backbone: apache-2.0.",
        "retina-benchmark 0.1.0, Python 3.11.2",
    ):
        assert expected in text, expected
    assert "Negative predictive value" not in text, "a value that does not exist is left out"
    assert "/home/anna" not in text


@pytest.mark.parametrize("name", ["tiny", HOSTILE])
@pytest.mark.parametrize("backbone", RECORDS)
def test_the_metadata_is_what_the_hub_reads(backbone, name, tmp_path):
    file = tmp_path / "README.md"
    write_text(file, card_of(backbone, name=name))
    card = ModelCard.load(file)
    data = card.data
    assert (data.library_name, data.pipeline_tag) == ("peft", "image-classification")
    assert data.license in HUB_LICENCES or (data.license == "other" and data.license_name)
    (auc,) = data.eval_results
    assert (auc.metric_type, auc.metric_value, auc.dataset_name) == ("roc_auc", 0.8125, name)
    assert auc.metric_name == "AUC (95 % CI 0.700 to 0.900)"
    record = RECORDS[backbone] or {}
    assert data.get("base_model") == record.get("repository"), "only a repository of the hub is a base model"
    assert data.get("base_model_relation") == ("adapter" if "repository" in record else None)
    assert "<script>" not in re.sub(r"`[^`\n]*`", "", card.text), "names of the user are code, never markup"
    assert card.text.count("\n---\n") == 0


def test_licences_are_those_of_the_weights():
    assert "license: cc-by-nc-4.0" in card_of("retfound-vit-l16")
    assert "Weights of the backbone: CC BY-NC 4.0 (non-commercial)." in card_of("retfound-vit-l16")
    assert "is of no use except for tests" in card_of("dinov2-tiny-untrained")
    assert "license: other" in card_of("dinov2-tiny-untrained")


def test_a_model_that_is_not_shown_to_predict_says_so():
    sentence = "It is not shown that this model predicts better than chance"
    assert sentence in card_of(predicts=False)
    assert sentence not in card_of(predicts=True)
    assert "No score is called positive" in card_of(threshold=None)


@pytest.mark.parametrize("strategy", range(4))
def test_the_code_on_the_card_loads_the_model(strategy, tmp_path, monkeypatch):
    study = study_of()
    trial, directory = trials_of(study)[strategy], RunDirectory(tmp_path / "run")
    write_json(directory.weights, RECORDS)
    module = trial.strategy.open().apply(new_model(trial, directory), trial.seed)
    with torch.no_grad():
        for parameter in module.parameters():
            if parameter.requires_grad:
                parameter += 0.05 * torch.randn_like(parameter)
    folder = directory.trial(trial).path
    folder.mkdir(parents=True)
    save_trained(module, folder, backbone="dinov2-tiny")
    assert not (folder / "README.md").exists(), "PEFT's card is blank"

    image = tmp_path / "eye.png"
    Image.fromarray(eye()).resize((300, 300)).save(image)
    model = trained_model(trial, directory)
    pixels = torch.tensor(open_cropped(image).image()).permute(2, 0, 1)[None] / 255
    with torch.inference_mode():
        expected = model(backbones.get("dinov2-tiny").normalise(pixels)).softmax(dim=1)[0, 1].item()
    (code,) = re.findall(r"```python\n(.*?)```", card_of(strategy=strategy), re.DOTALL)
    monkeypatch.chdir(folder)
    defined: dict = {}
    exec(code, defined)
    assert defined["score"](str(image)) == pytest.approx(expected, abs=1e-6)
    assert abs(expected - 0.5) > 1e-3


def test_the_configuration_has_no_path_and_no_nan():
    study = study_of("retfound-vit-l16")
    trial = trials_of(study)[2]
    config = model_config(study, trial, *results_of(study, trial))
    text = json.dumps(config, allow_nan=False)
    assert "/home/anna" not in text
    assert config["backbone"]["weights"]["revision"] == "a" * 40
    assert config["threshold"] == 0.4375
    assert config["strategy"]["rank"] == 2
    assert config["mean"] == list(backbones.get("retfound-vit-l16").mean)
