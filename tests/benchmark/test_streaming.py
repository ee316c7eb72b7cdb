"""Rows through real Ray Data on a Ray of its own."""

import os

import numpy as np
import pytest

from benchmark.cluster import connect
from benchmark.streaming import Batched, Each, stream


@pytest.fixture(scope="module", autouse=True)
def ray(tmp_path_factory):
    with connect(None, log_file=tmp_path_factory.mktemp("ray") / "ray.log", cpus=2):
        yield


def square(row):
    return row | {"square": row["number"] ** 2, "picture": np.full((row["number"] + 1, 2), row["number"], np.uint8)}


class Summing:
    """Notes its process and how many rows it got at once, and doubles the number of rows where asked to."""

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
