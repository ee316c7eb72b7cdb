"""p-values, sizes and times as text."""

import pytest

from benchmark.report.readable import measured_seconds, p_stated, p_value, readable_bytes, readable_seconds


@pytest.mark.parametrize(
    ("value", "alone", "stated"),
    [
        (1.0, "1.000", "= 1.000"),
        (0.001, "0.001", "= 0.001"),
        (0.00099, "<\N{NARROW NO-BREAK SPACE}0.001", "<\N{NARROW NO-BREAK SPACE}0.001"),
        (None, "–", "= –"),
    ],
)
def test_p_values(value, alone, stated):
    assert (p_value(value), p_stated(value)) == (alone, stated)


def test_amounts_read_well():
    assert [readable_bytes(count) for count in (0, 5 * 2**20, 1.5 * 2**30)] == ["0 MiB", "5 MiB", "1.5 GiB"]
    times = {
        0: "0:00",
        0.2: "< 0:01",
        42: "0:42",
        513.4: "8:33",
        3599.6: "1 h",
        7800: "2 h 10 min",
        273_600: "3 days 4 h",
    }
    assert [readable_seconds(seconds) for seconds in times] == list(times.values())
    assert readable_seconds(float("nan")) == "unknown"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.04, "0.0 s"), (59.94, "59.9 s"), (59.96, "1:00"), (513.4, "8:33"), (3599.6, "1:00:00"), (3725, "1:02:05")],
)
def test_measured_times_are_clock_times_from_a_minute_on(seconds, text):
    assert measured_seconds(seconds) == text
