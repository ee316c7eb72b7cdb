"""Which errors are one line for a patient, however deep they lie."""

import errno
import os
import pickle

import pytest

from benchmark.errors import DiskFull, UserError, named, out_of_space, stop_when_full, user_error


def wrapped_by_ray(error: Exception) -> Exception:
    """As Ray Tune hands on what a callback raised."""
    outer = type("TuneError", (Exception,), {"__module__": "ray.tune.error"})
    try:
        try:
            raise error
        except Exception:
            raise outer("a traceback as text")  # noqa: B904
    except outer as caught:
        return caught


def test_the_line_behind_an_error_of_ray_is_found():
    own = UserError("put it there")
    assert user_error(own) is own
    assert user_error(wrapped_by_ray(own)) is own
    of_worker = type("RayTaskError", (Exception,), {"__module__": "ray.exceptions"})("text")
    of_worker.cause = own
    assert user_error(of_worker) is own


def test_a_fault_of_the_program_while_a_line_is_handled_is_a_fault():
    try:
        try:
            raise UserError("put it there")
        except UserError:
            raise ValueError("a slip")  # noqa: B904
    except ValueError as error:
        assert user_error(error) is None


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
def test_a_full_disk_is_a_line_whatever_met_it(number):

    found = user_error(wrapped_by_ray(OSError(number, os.strerror(number), "/runs/a/logs/x")))
    assert isinstance(found, DiskFull)
    assert str(found).startswith(f"/runs/a/logs/x: {os.strerror(number)}; make space and add --resume")
    assert out_of_space(f"I/O error: {os.strerror(number)} (os error {number})") == number


def test_other_errors_are_none():
    assert user_error(OSError(errno.EIO, "Input/output error")) is None
    assert user_error(ValueError("x")) is None
    assert out_of_space("CUDA out of memory") is None


def test_a_part_that_failed_for_want_of_space_ends_the_run():
    stop_when_full("train: ValueError: nothing of the kind")
    with pytest.raises(DiskFull, match=r"^/runs/a: No space left on device: 1 MiB are free$"):
        stop_when_full("train: benchmark.errors.DiskFull: /runs/a: No space left on device: 1 MiB are free")
    with pytest.raises(DiskFull, match=r"^embed: OSError: No space left on device: make space and add --resume"):
        stop_when_full("embed: OSError: No space left on device")


def test_they_travel_between_processes():
    again = pickle.loads(pickle.dumps(DiskFull("one line")))
    assert isinstance(again, UserError)
    assert isinstance(again, OSError)
    assert str(again) == "one line"


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (ValueError("no such shape"), "ValueError: no such shape"),
        (RuntimeError("\nCUDA error\nsecond line"), "RuntimeError: CUDA error"),
        (MemoryError(), "MemoryError"),
    ],
)
def test_an_error_is_named_on_one_line(error, line):
    assert named(error) == line
