"""Trials and their names, which are also the names of their folders."""

import pytest

from benchmark.study.config import BackboneChoice, StrategyChoice, Study
from benchmark.study.trials import Trial, joined, safe, trials_of


def test_trials_of_one_backbone_follow_each_other():
    study = Study(
        name="x",
        cohort={"synthetic": {}},
        backbones=["dinov2-tiny", "openclip-tiny"],
        strategies=["lora", "full"],
        seeds=[0, 7],
    )
    assert [trial.name for trial in trials_of(study)] == [
        f"{backbone}-{strategy}-s{seed}"
        for backbone in ("dinov2-tiny", "openclip-tiny")
        for strategy in ("lora", "full")
        for seed in (0, 7)
    ]


def test_a_trial_is_a_key():
    one, same, other = (
        Trial(BackboneChoice(name="openclip-tiny"), StrategyChoice(name="lora", rank=2), seed) for seed in (0, 0, 1)
    )
    assert {one: 1}[same] == 1
    assert other not in {one: 1}


@pytest.mark.parametrize(
    ("name", "folder"),
    [("retfound-vit-l16", "retfound-vit-l16"), ("timm:a/b", "timm_a_b"), ("../up and away\n", ".._up_and_away_")],
)
def test_a_backbone_name_as_a_folder(name, folder):
    assert safe(name) == folder


def test_a_joined_study_has_what_either_has_and_the_options_of_now():
    base = {"name": "x", "cohort": {"synthetic": {}}}
    earlier = Study(**base, backbones=["dinov2-tiny", "openclip-tiny"], strategies=["lora", "full"], seeds=[3, 0])
    lora = {"name": "lora", "rank": 2}
    now = Study(**base, backbones=["retfound-tiny", "openclip-tiny"], strategies=[lora], seeds=[0, 1])
    whole = joined(earlier, now)
    assert [choice.name for choice in whole.backbones] == ["dinov2-tiny", "openclip-tiny", "retfound-tiny"]
    assert whole.strategies == [now.strategies[0], earlier.strategies[1]]
    assert whole.seeds == [3, 0, 1]
    assert joined(now, now) == now
