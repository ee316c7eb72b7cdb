"""Rows through real Ray Data on a private Ray."""

import os
import signal
import threading
import time

import numpy as np
import psutil
import pytest

from benchmark.errors import UserError
from benchmark.scheduling.cluster import connect
from benchmark.scheduling.streaming import Batched, Each, stream
from benchmark.scheduling.waiting import PATIENCE


@pytest.fixture(scope="module", autouse=True)
def ray(tmp_path_factory):
    with connect(None, log_file=tmp_path_factory.mktemp("ray") / "ray.log", cpus=2):
        yield


def square(row):
    return row | {"square": row["number"] ** 2, "picture": np.full((row["number"] + 1, 2), row["number"], np.uint8)}


class Summing:
    """Records its process and how many rows it got at once, and doubles the number of rows on request."""

    def __init__(self, twice: bool) -> None:
        self.twice = twice

    def __call__(self, rows):
        results = [
            {
                "number": row["number"],
                "sum": int(row["picture"].sum()),
                "name": row["name"],
                "batch": len(rows),
                "process": os.getpid(),
            }
            for row in rows
        ]
        return results * 2 if self.twice else results


def test_every_row_goes_through_both_steps():
    rows = [{"number": n, "name": f"image {n}"} for n in range(10)]
    results = list(stream(rows, [Each(square), Batched(Summing, {"twice": False}, actors=2)], batch_size=4))
    assert sorted(result["number"] for result in results) == list(range(10))
    for result in results:
        assert result["sum"] == 2 * result["number"] * (result["number"] + 1), "ragged arrays arrive whole"
        assert result["name"] == f"image {result['number']}"
        assert result["batch"] <= 4
    assert {result["process"] for result in results}.isdisjoint({os.getpid()})


def test_a_batched_step_may_return_more_rows():
    rows = [square({"number": n, "name": ""}) for n in range(3)]
    assert len(list(stream(rows, [Batched(Summing, {"twice": True})], batch_size=2))) == 6


def test_no_rows_is_no_result():
    assert list(stream([], [Each(square)], batch_size=4)) == []


def same(row):
    return row


def take_long(row):
    time.sleep(4)
    return row


def test_slow_work_is_not_ended(monkeypatch):
    monkeypatch.setenv(PATIENCE, "0.02")
    said = []
    assert len(list(stream([{"number": 1}], [Each(take_long)], 1, on_wait=said.append))) == 1
    assert not said


def test_a_slow_reader_is_no_trouble(monkeypatch):
    monkeypatch.setenv(PATIENCE, "0.02")
    for row in stream([{"number": 1}, {"number": 2}], [Each(same)], 1, on_wait=pytest.fail):
        time.sleep(3)
        assert row


class Dying:
    """A worker that the system ends as soon as it starts."""

    def __init__(self):
        os._exit(1)


def vanish(row):
    os._exit(1)


@pytest.mark.parametrize("step", [Each(vanish), Batched(Dying)], ids=["tasks", "actors"])
def test_workers_that_end_again_and_again_end_the_stream(step, monkeypatch):
    """ray-project/ray#44744: "infinite retries remaining", and nothing on the screen."""
    monkeypatch.setenv(PATIENCE, "0.1")
    said, before = [], signal.getsignal(signal.SIGUSR2)
    with pytest.raises(UserError, match=r"^no progress for 0\.1 minutes: workers end unexpectedly") as caught:
        list(stream([{"number": 1}], [step], 1, on_wait=said.append))
    assert "\n" not in str(caught.value)
    # On a busy machine, no worker may have started at the first look.
    assert any(line.startswith("waiting: workers end unexpectedly and are started again") for line in said)
    assert signal.getsignal(signal.SIGUSR2) == before
    assert list(stream([{"number": 2}], [Each(same)], 1)) == [{"number": 2}], "Ray is as before"


def image(row):
    return row | {"rgb": np.full((2000, 2000, 3), row["number"] % 256, np.uint8)}


class Masking:
    """As in segmentation, an image of 12 MB is reduced to 200 kB."""

    def __call__(self, rows):
        return [{"number": row["number"], "planes": row["rgb"][:224, :224].repeat(2, axis=2)} for row in rows]


def peak_memory(images):
    """Peak bytes of this process and all processes that it started (including Ray's object store) while streaming."""
    ended, most = threading.Event(), [0]

    def watch():
        while not ended.wait(0.1):
            held = 0
            for process in (psutil.Process(), *psutil.Process().children(recursive=True)):
                try:
                    held += process.memory_full_info().pss
                except psutil.Error:  # it has just ended
                    continue
            most[0] = max(most[0], held)

    watching = threading.Thread(target=watch)
    watching.start()
    try:
        rows = [{"number": number} for number in range(images)]
        seen = sum(
            int(row["planes"][0, 0, 0] == row["number"] % 256)
            for row in stream(rows, [Each(image), Batched(Masking)], 4)
        )
    finally:
        ended.set()
        watching.join()
    assert seen == images
    return most[0]


@pytest.mark.slow
def test_memory_is_flat_as_images_grow_in_number():
    """240 more images are 2.9 GB more to read; memory may not grow by a tenth of that."""
    peak_memory(20)  # what workers load once
    few, many = peak_memory(40), peak_memory(280)
    assert many - few < 0.1 * 240 * 12e6, (few / 2**20, many / 2**20)
