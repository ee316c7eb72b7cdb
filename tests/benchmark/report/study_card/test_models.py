"""What the card says about models and training is what the configuration and the training records have."""

import pytest

from benchmark.report.study_card import models
from benchmark.report.study_card.items import Facts, Table
from tests.benchmark.report.study_card.runs import (
    MACHINE,
    PATH,
    SHA256,
    external_run,
    manifest_run,
    study_of,
    synthetic_run,
)

THIN = "\N{NARROW NO-BREAK SPACE}"
MANIFEST, SYNTHETIC = manifest_run(), synthetic_run()


def text(passage):
    return " ".join(block for block in passage if isinstance(block, str)).replace(THIN, ",")


def table(passage):
    return next(block for block in passage if isinstance(block, Table))


def changed(**changes):
    return Facts(study_of(**changes), MANIFEST.results)


def test_the_design():
    found = text(models.study_design(MANIFEST))
    assert "2 pre-trained backbones × 4 strategies, each trained with 2 seeds" in found
    assert "external validation" in text(models.study_design(external_run()))
    assert "each trained with 1 seed." in text(models.study_design(SYNTHETIC))


def test_only_pixels_are_predictors():
    assert "Covariates (age and sex)" in text(models.predictors(MANIFEST))
    assert "Covariates" not in text(models.predictors(SYNTHETIC))
    assert text(models.no_reading(MANIFEST))


def test_architecture_and_weights():
    row = table(models.architecture(MANIFEST)).rows[0]
    assert row[:5] == ("dinov2-tiny", "vit_giant_patch14_dinov2.lvd142m", "0.5 M", "96", "4")
    weights = {row[0]: row[1:] for row in table(models.initialisation(MANIFEST)).rows}
    assert weights == {
        "dinov2-tiny": ("a local file", SHA256),
        "retfound": ("lab/x, x.pth, revision abc", "1" * 64),
        "dinov2-tiny-untrained": ("untrained (random weights)", "–"),
    }
    assert PATH not in str(models.initialisation(MANIFEST))
    assert "the seed of the trial (0 and 7)" in text(models.initialisation(MANIFEST))


def test_every_strategy_is_described_with_its_options():
    found = text(models.strategies(MANIFEST))
    for said in (
        "classifier_only: only a linear classifier", "partial: the last 2 blocks, the final norm",
        "lora: low-rank adapters (rank 4, alpha 16, dropout 0)", "full: all parameters", "learning rate 0.001)",
    ):  # fmt: skip
        assert said in found
    one = changed(strategies=[{"name": "partial", "blocks": 1}])
    assert "the last block, the final norm" in text(models.strategies(one))


def test_training_is_that_of_the_configuration():
    recipe = {"epochs": 8, "batch_size": 16, "weight_decay": 0.1, "views": 3, "view_seed": 5, "patience": 4}
    facts = changed(training=recipe)
    found = text(models.training(facts))
    for said in (
        "weight decay 0.1",
        "at most 8 epochs",
        "batches of 16 images",
        "had 3 versions",
        "2 versions with",
        "seed 5",
    ):
        assert said in found
    assert "stopped after 4 epochs" in text(models.selection(facts))
    assert "Images were not augmented" in text(models.training(changed(training={"views": 1})))
    rows = table(models.training(MANIFEST)).rows
    assert [each.replace(THIN, ",") for each in rows[0]] == [
        "dinov2-tiny, lora, seed 0", "12,345", "images", "0.001", "7 of 9", "61.4",
    ]  # fmt: skip
    assert len(rows) == 3, "a failed trial has no record"


def test_the_choice_of_a_learning_rate():
    assert "not tuned" in text(models.selection(MANIFEST))
    searched = text(models.selection(changed(search={"candidates": 7, "span": 20})))
    assert "among 7 by validation AUC" in searched and "divided by 20 to the rate times 20" in searched


def test_ensembles_and_failures():
    assert "with 2 seeds (0 and 7)" in text(models.ensembles(MANIFEST))
    assert "trained once" in text(models.ensembles(SYNTHETIC))
    failed = models.failures(MANIFEST)
    assert failed[0] == "1 trial of 4 failed and has no results."
    assert failed[1].rows == (("dinov2-tiny, full, seed 7", "train: out of memory"),)
    assert models.failures(SYNTHETIC) == ["The trial was completed."]


@pytest.mark.parametrize(
    ("balance", "risk", "said"),
    [
        ("weights", "unbalanced", "frequency of the classes in training. {}the effect of balancing"),
        ("sampling", "recalibrated", "equally often in training. {}a line was fitted"),
        ("none", "unbalanced", "not compensated in training. {}scores were used unchanged"),
        ("weights", "score", "in training. {}scores were used unchanged"),
    ],
)  # fmt: skip
def test_class_imbalance_and_risks(balance, risk, said):
    said = said.format("For calibration, Brier score and net benefit, ")
    assert said in text(models.balance(changed(training={"balance": balance}, statistics={"risk": risk})))


def test_software_and_machine():
    assert text(models.software(MANIFEST)) == (
        "retina-benchmark 0.1.0 (commit 0123abc, with changes), Python 3.11.2, torch 2.15.0."
    )
    assert "1 node with 16 CPU cores and 1 GPU (H200); node of the report: EPYC, 128.0 GiB" in text(
        models.hardware(MANIFEST)
    )
    assert "120 s in total" in text(models.hardware(MANIFEST)), "100.5 s and 20 s"
    without = manifest_run(machine=MACHINE.model_copy(update={"gpus": 0, "accelerators": [], "memory": None}))
    assert "no GPU" in text(models.hardware(without))
    for fill in (models.output, models.prediction, models.specification, models.code):
        assert text(fill(MANIFEST))
