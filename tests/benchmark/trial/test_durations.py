"""Estimates of the stages: what costs more work takes more time, and what does not run takes none."""

import pytest

from benchmark.study.config import Study
from benchmark.study.trials import trials_of
from benchmark.trial.cache import plan_cache
from benchmark.trial.durations import Durations, durations

SIZES = {"train": 600, "val": 100, "test": 300}


def study(**settings: object) -> Study:
    backbones, strategies = ["dinov2-tiny"], ["classifier_only", {"name": "lora", "rank": 2}]
    fixed = {"name": "x", "cohort": {"manifest": "a.csv"}, "backbones": backbones, "strategies": strategies}
    return Study.model_validate(fixed | {"resources": {"gpus": 0}, "seeds": [0, 1]} | settings)


def expected(study: Study, at_once: int = 1, free: float = 1e12) -> Durations:
    cached = plan_cache(study, sum(SIZES.values()), SIZES["train"], SIZES["test"], free)
    return durations(study, trials_of(study), SIZES, cached, cpus=1, at_once=at_once)


def test_stages_are_in_the_order_in_which_they_run():
    all_of_them = study(cohort={"synthetic": {}}, search={})
    order = [
        "weights",
        "draw",
        "prepare",
        "segment",
        "embed",
        "search",
        "train",
        "explain",
        "erase",
        "control",
        "report",
    ]
    assert list(expected(all_of_them).stages) == order


def test_what_does_not_run_takes_no_time():
    assert {"draw", "search"}.isdisjoint(expected(study()).stages)
    none = dict.fromkeys(("vessel_permutation", "other_class", "parameter_randomisation", "erasure"), False)
    assert {"erase", "control"}.isdisjoint(expected(study(controls=none)).stages)


def test_a_cell_that_trains_more_takes_longer():
    found = expected(study())
    assert found.epochs["dinov2-tiny-lora-s0"] > 2 * found.epochs["dinov2-tiny-classifier_only-s0"]
    assert found.epochs["dinov2-tiny-lora-s0"] == found.epochs["dinov2-tiny-lora-s1"]
    uncached = expected(study(), free=0).epochs
    assert uncached["dinov2-tiny-classifier_only-s0"] > found.epochs["dinov2-tiny-classifier_only-s0"]


def test_work_is_shared_by_trials_that_run_at_once():
    one, four = expected(study()).stages, expected(study(), at_once=4).stages
    assert four["train"] - 8 == pytest.approx((one["train"] - 8) / 4, rel=0.05)
    assert four["report"] == one["report"]


def test_every_wanted_control_of_every_trial_has_an_estimate():
    found = expected(study(controls={"erasure": False})).controls
    assert len(found) == 4 * 3
    assert all(seconds > 0 for seconds in found.values())
