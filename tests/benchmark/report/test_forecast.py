"""The time left of runs whose true times are known, with a clock that the tests move."""

import pytest

from benchmark.report.forecast import Forecast, TrainingTime
from tests.benchmark.clock import Clock


@pytest.fixture
def clock() -> Clock:
    made = Clock()
    made.now = 100.0
    return made


def test_a_run_whose_estimates_are_right_counts_down(clock):
    forecast = Forecast({"embed": 20, "train": 70, "report": 10}, clock)
    assert forecast.left == pytest.approx(100)
    forecast.begin("embed", 4)
    for part in range(4):
        clock.now += 5
        forecast.advance(5)
        assert forecast.left == pytest.approx(95 - 5 * part)
        assert forecast.share == pytest.approx(0.05 * (part + 1))
    forecast.finish()
    assert forecast.left == pytest.approx(80)


def test_slow_stages_to_come_are_scaled_by_what_was_measured(clock):
    """The machine is ten times slower than estimated: after the first stage, the estimate of all others follows."""
    forecast = Forecast({"embed": 20, "train": 980}, clock)
    forecast.begin("embed", 2)
    for _ in range(2):
        clock.now += 100
        forecast.advance(10)
    forecast.finish()
    clock.now += 1
    assert forecast.left == pytest.approx(980 * 250 / 70)  # 200 s measured for 20 s, and 50 s of doubt in both
    forecast.begin("train", 98)
    for _ in range(49):
        clock.now += 100
        forecast.advance(10)
    assert forecast.left == pytest.approx(4900, rel=0.02)


def test_the_start_of_the_workers_is_not_taken_for_slowness(clock):
    forecast = Forecast({"explain": 110}, clock)
    forecast.begin("explain", 100, seconds=100)
    clock.now += 10
    for _ in range(10):
        clock.now += 1
        forecast.advance(1)
    assert forecast.left == pytest.approx(90)


def test_the_time_left_is_above_zero_while_work_is_left(clock):
    forecast = Forecast({"train": 10, "control": 100}, clock)
    forecast.begin("train", 1)
    assert forecast.left == pytest.approx(110)
    clock.now += 5
    assert forecast.left == pytest.approx(100 + 10 * 10 / 15)
    clock.now += 995
    assert forecast.left > 100
    assert forecast.share < 0.95
    forecast.advance(10, left=0.0)
    forecast.finish()
    forecast.begin("control", 1)
    clock.now += 100_000
    forecast.advance(50)
    assert forecast.left > 40


def test_the_share_never_falls(clock):
    forecast = Forecast({"train": 100}, clock)
    forecast.begin("train", 10)
    clock.now += 50
    before = forecast.share
    forecast.advance(1, left=10_000)
    assert forecast.share == before


def test_a_stage_that_is_skipped_takes_those_before_it_along(clock):
    forecast = Forecast({"draw": 50, "prepare": 5, "train": 7}, clock)
    forecast.drop("prepare")
    forecast.drop("not estimated")
    assert forecast.left == pytest.approx(7)


def test_without_estimates_parts_count_alike(clock):
    forecast = Forecast({}, clock)
    assert forecast.left == 0
    assert forecast.begin("train", 4) == 4
    for _ in range(2):
        clock.now += 30
        forecast.advance(1)
    assert forecast.left == pytest.approx(2 * 30.2 / 1.2 / 1, rel=0.2)


def test_an_epoch_tells_the_time_of_all_trials_of_its_cell(clock):
    """Estimated alike, one cell takes 1 s per epoch and the other 100 s; the sum is right once both were seen."""
    cells = {"fast-s0": "fast", "fast-s1": "fast", "slow-s0": "slow", "slow-s1": "slow"}
    time = TrainingTime(cells, dict.fromkeys(cells, 5.0), epochs=10, at_once=1, clock=clock)
    assert time.left == pytest.approx(4 * (50 + 1))
    time.start("fast-s0")
    clock.now += 1
    time.epoch("fast-s0", 1)
    assert time.left == pytest.approx(9 + 10 + 20 + 4), "the other cell is scaled by what was measured"
    time.start("slow-s0")
    clock.now += 100
    time.epoch("slow-s0", 100)
    assert time.left == pytest.approx(9 + 10 + 900 + 1000 + 4)


def test_unequal_cells_keep_their_proportions_until_they_are_measured(clock):
    time = TrainingTime({"a": "a", "b": "b"}, {"a": 1.0, "b": 50.0}, epochs=10, at_once=1, clock=clock)
    time.start("a")
    clock.now += 3
    time.epoch("a", 3)
    assert time.left == pytest.approx(9 * 3 + 10 * 150 + 2)


def test_the_longest_trial_bounds_the_time_of_several_at_once(clock):
    time = TrainingTime({"a": "a", "b": "b"}, {"a": 1.0, "b": 9.0}, epochs=10, at_once=2, clock=clock)
    assert time.left == pytest.approx(91)
    time.start("b")
    time.end("b")  # failed
    assert time.left == pytest.approx(10)
    time.start("a")
    clock.now += 10
    for _ in range(4):
        time.epoch("a", 2)
    time.end("a")  # stopped early
    assert time.left == 0


def test_time_outside_the_epochs_counts_for_trials_to_come(clock):
    time = TrainingTime({"a": "a", "b": "a"}, {}, epochs=1, at_once=1, clock=clock)
    time.start("a")
    clock.now += 25
    time.epoch("a", 5)
    time.end("a")
    assert time.left == pytest.approx(5 + 20)
