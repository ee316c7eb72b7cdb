"""Trials under real Ray Tune on a private Ray."""

import os
import signal
import time
from functools import partial

import pytest
from ray.exceptions import OutOfMemoryError

from benchmark.errors import UserError
from benchmark.scheduling.cluster import connect
from benchmark.scheduling.tuning import GroupedASHA, run_trials
from benchmark.scheduling.waiting import PATIENCE


@pytest.fixture(scope="module", autouse=True)
def ray(tmp_path_factory):
    with connect(None, log_file=tmp_path_factory.mktemp("ray") / "ray.log", cpus=2):
        yield


def work(name, report):
    report({"epoch": 1})
    if name == "bad":
        raise ValueError("first line\nthe label of row 7 is missing")
    if name == "killed":
        os._exit(1)
    report({"epoch": 2})


def test_a_trial_that_fails_leaves_the_others_alone(tmp_path):
    reports, ended = [], []
    run_trials(
        ["one", "bad", "two", "killed", "three"],
        work,
        cpus=1,
        gpus=0,
        storage=tmp_path,
        on_report=lambda name, result: reports.append((name, result["epoch"])),
        on_end=lambda name, error: ended.append((name, error)),
    )
    assert sorted(name for name, _ in ended) == ["bad", "killed", "one", "three", "two"]
    errors = {name: error for name, error in ended if error is not None}
    assert set(errors) == {"bad", "killed"}
    assert errors["bad"].endswith("the label of row 7 is missing")
    assert errors["killed"]
    assert {("one", 2), ("two", 2), ("three", 2)} <= set(reports)


EPOCHS = 9
AUCS = {  # in the order they are run, one after another; every one gains 0.01 an epoch
    "easy": {"good": 0.8, "fair": 0.7, "poor": 0.6},
    "hard": {"good": 0.5, "fair": 0.4, "poor": 0.3},
    "late": {"poor": 0.3, "fair": 0.4, "good": 0.5},
}


def learn(traces, name, report):
    """Reports as training does, and writes a line for every epoch begun."""
    group, _, rate = name.partition("-")
    trace = traces / f"{name}.txt"
    for epoch in range(1, EPOCHS + 1):
        with trace.open("a") as file:
            file.write(f"{os.getpid()}\n")
        report({"epoch": epoch, "val_auc": AUCS[group][rate] + 0.01 * epoch})


def test_poor_trials_end_early_by_what_their_own_group_reached(tmp_path):
    names = [f"{group}-{rate}" for group in AUCS for rate in AUCS[group]]
    epochs, ended = {}, []
    run_trials(
        names,
        partial(learn, tmp_path),
        cpus=2,
        gpus=0,
        storage=tmp_path,
        on_report=lambda name, result: epochs.update({name: result["epoch"]}),
        on_end=lambda name, error: ended.append((name, error)),
        scheduler=GroupedASHA({name: name.partition("-")[0] for name in names}, epochs=EPOCHS, grace=2, reduction=3),
    )
    assert ended == [(name, None) for name in names], "ending early is not a failure"
    assert [epochs[f"easy-{rate}"] for rate in ("good", "fair", "poor")] == [9, 2, 2]
    assert [epochs[f"hard-{rate}"] for rate in ("good", "fair", "poor")] == [9, 2, 2], "easy's are all better"
    assert [epochs[f"late-{rate}"] for rate in ("poor", "fair", "good")] == [9, 9, 9], "each the best so far"
    traces = {name: (tmp_path / f"{name}.txt").read_text().split() for name in names}
    assert {name: len(lines) for name, lines in traces.items()} == epochs, "an ended trial does not continue"
    assert len({process for lines in traces.values() for process in lines}) == 1, "one process runs all trials"


def linger(name, report):
    try:
        report({"epoch": 1, "val_auc": 0.5})
    finally:
        if name == "lingering":
            time.sleep(2.5)  # Ray Tune gives up a process after 2 s


def test_every_failure_is_reported(tmp_path):
    """Ray Tune assigns the failure to the next trial, and does not call its callbacks."""
    ended = []
    run_trials(
        ["lingering", "next"],
        linger,
        cpus=2,
        gpus=0,
        storage=tmp_path,
        on_report=lambda name, result: None,
        on_end=lambda name, error: ended.append((name, error)),
        scheduler=GroupedASHA({"lingering": "a", "next": "a"}, epochs=1, grace=1, reduction=2),
    )
    (_, lingering), (_, following) = sorted(ended)
    assert lingering is None
    assert "reset_config" in following


def test_ctrl_c_is_not_swallowed(tmp_path):
    ended = []

    def on_end(name, error):
        ended.append((name, error))
        os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        run_trials(
            ["one", "two"], work, cpus=2, gpus=0, storage=tmp_path, on_report=lambda name, result: None, on_end=on_end
        )
    assert ended == [("one", None)]


def test_trials_that_can_never_run_end_with_one_line(tmp_path, monkeypatch):
    monkeypatch.setenv(PATIENCE, "0.1")
    said = []
    with pytest.raises(UserError, match=r"^no progress for 0\.1 minutes: none of 1 nodes has the 1 CPUs and") as caught:
        run_trials(["one"], work, cpus=1, gpus=1, storage=tmp_path, on_report=print, on_end=print, on_wait=said.append)
    assert "\n" not in str(caught.value)
    assert len(said) == 1
    assert said[0].startswith("waiting: none of 1 nodes has the 1 CPUs and 1 GPUs")


def take_long(name, report):
    time.sleep(6)
    report({"epoch": 1})


def test_a_trial_that_takes_long_is_not_ended(tmp_path, monkeypatch):
    monkeypatch.setenv(PATIENCE, "2")
    reports = []
    run_trials(
        ["one"],
        take_long,
        cpus=1,
        gpus=0,
        storage=tmp_path,
        on_report=lambda name, result: reports.append(result["epoch"]),
        on_end=lambda name, error: None,
        on_wait=pytest.fail,
    )
    assert reports == [1]


def run_short(name, report):
    raise OutOfMemoryError("1 worker(s) were killed\nRefer to the documentation: https://…")


def test_a_trial_that_memory_ends_says_so(tmp_path):
    ended = []
    run_trials(
        ["one"],
        run_short,
        cpus=1,
        gpus=0,
        storage=tmp_path,
        on_report=print,
        on_end=lambda name, error: ended.append(error),
    )
    assert ended[0].startswith("its machine was short of memory")
    assert "resources.batch_size" in ended[0]
