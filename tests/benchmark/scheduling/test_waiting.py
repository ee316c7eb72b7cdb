"""When a watch reports, when it ends, and when it is silent; the tests set the clock."""

import pytest

from benchmark.errors import UserError
from benchmark.scheduling.waiting import PATIENCE, Watch, patience
from tests.benchmark.clock import Clock


@pytest.fixture
def clock() -> Clock:
    return Clock()


def look_until(watch: Watch, clock: Clock, end: float) -> str | None:
    """Look once per second, as a run does; returns the first verdict, leaving the clock at its time."""
    while clock.now < end:
        clock.now += 1
        if (verdict := watch.look()) is not None:
            return verdict
    return None


def test_what_is_in_the_way_is_said_and_ends_after_patience(clock):
    said = []
    watch = Watch(lambda fresh: "memory is short; 3 times", said.append, 600, clock=clock)
    verdict = look_until(watch, clock, 5000)
    assert said[0] == "waiting: memory is short; 3 times"
    assert len(said) < 10, "not at every look"
    assert 600 <= clock.now < 630
    assert verdict.startswith("no progress for 10 minutes: memory is short; 3 times")
    assert PATIENCE in verdict


def test_slow_work_is_left_alone(clock):
    said = []
    assert look_until(Watch(lambda fresh: None, said.append, 60, clock=clock), clock, 100_000) is None
    assert not said


def test_a_result_starts_anew(clock):
    asked = []

    def trouble(fresh):
        asked.append(fresh)
        return "workers end"

    watch = Watch(trouble, lambda line: None, 600, clock=clock)
    assert look_until(watch, clock, 590) is None
    assert asked.count(True) == 1
    watch.came()
    assert look_until(watch, clock, 1180) is None
    assert asked.count(True) == 2
    assert look_until(watch, clock, 2000)


def test_trouble_that_passes_is_forgotten(clock):
    there = ["no node has a GPU"]
    watch = Watch(lambda fresh: there[0], lambda line: None, 600, clock=clock)
    look_until(watch, clock, 500)
    there[0] = None
    look_until(watch, clock, 520)
    there[0] = "no node has a GPU"
    assert look_until(watch, clock, 1100) is None


def test_what_no_waiting_helps_ends_at_once(clock):
    def trouble(fresh):
        raise UserError("Ray's own raylet ended")

    assert look_until(Watch(trouble, print, 600, clock=clock), clock, 100) == "Ray's own raylet ended"
    assert clock.now <= 10


def test_patience_is_a_number_of_minutes(monkeypatch):
    monkeypatch.delenv(PATIENCE, raising=False)
    assert patience(is_local=True) == 600
    assert patience(is_local=False) > patience(is_local=True)
    monkeypatch.setenv(PATIENCE, "0.5")
    assert patience(is_local=True) == patience(is_local=False) == 30
    for wrong in ("soon", "0", "-1", "nan"):
        monkeypatch.setenv(PATIENCE, wrong)
        with pytest.raises(UserError, match=f"^{PATIENCE}={wrong} is not a number of minutes above 0"):
            patience(is_local=True)
