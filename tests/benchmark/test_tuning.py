"""Trials under real Ray Tune on a Ray of its own."""

import pytest

from benchmark.cluster import connect
from benchmark.tuning import run_trials


@pytest.fixture(scope="module", autouse=True)
def ray(tmp_path_factory):
    with connect(None, log_file=tmp_path_factory.mktemp("ray") / "ray.log", cpus=2):
        yield


def work(name, report):
    report({"epoch": 1})
    if name == "bad":
        raise ValueError("first line\nthe label of row 7 is missing")
    if name == "killed":
        import os

        os._exit(1)
    report({"epoch": 2})


def test_a_trial_that_fails_leaves_the_others_alone(tmp_path):
    reports, ended = [], []
    failures = run_trials(
        ["one", "bad", "two", "killed", "three"],
        work,
        cpus=1,
        gpus=0,
        storage=tmp_path,
        on_report=lambda name, result: reports.append((name, result["epoch"])),
        on_end=ended.append,
    )
    assert set(failures) == {"bad", "killed"}
    assert failures["bad"].endswith("the label of row 7 is missing")
    assert failures["killed"]
    assert {("one", 2), ("two", 2), ("three", 2)} <= set(reports)
    assert sorted(ended) == ["bad", "killed", "one", "three", "two"]
