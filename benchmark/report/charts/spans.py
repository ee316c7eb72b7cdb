"""The range of numbers that an axis shows."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import altair as alt
import numpy as np

from benchmark.report.charts.drawing import Channel

_FURTHEST = 100.0  # ratios farther from 1 than this factor have a denominator near 0 and are cut off
_STEPS = tuple(digit * 10.0**power for power in range(-3, 3) for digit in (1, 2, 5))
_MOST_TICKS = 7


@dataclass(frozen=True)
class Span:
    """A range from `low` to `high`, linear or logarithmic, labelled at `ticks`."""

    low: float
    high: float
    ticks: tuple[float, ...]
    logarithmic: bool = False

    def along(self, channel: type[Channel], field: str, title: str | None = None, **axis: Any) -> Channel:
        """The channel of a field on this axis; `axis`: options of `alt.Axis`."""
        scale = alt.Scale(
            type="log" if self.logarithmic else "linear", domain=(self.low, self.high), nice=False, zero=False
        )
        return channel(f"{field}:Q", title=title, scale=scale, axis=alt.Axis(values=self.ticks, format="~g", **axis))

    def places(self, values: np.ndarray) -> np.ndarray:
        """Positions (n,) of values (n,) on the axis: 0 at `low`, 1 at `high`, NaN for NaN."""
        ends = np.array([self.low, self.high])
        if self.logarithmic:
            ends, values = np.log(ends), np.log(values)
        return (values - ends[0]) / (ends[1] - ends[0])


def linear(values: Iterable[float | None], step: float) -> Span:
    """A linear range that includes all known `values` and ends at multiples of `step`."""
    known = [value for value in values if value is not None]
    # Rounded first: 3 * 0.1 is a little more than 0.3.
    low, high = (
        toward(round(end / step, 6)) * step for toward, end in ((math.floor, min(known)), (math.ceil, max(known)))
    )
    high = max(high, low + step)
    return Span(low, high, _linear_ticks(low, high))


def of_ratios(values: Iterable[float | None]) -> Span:
    """A logarithmic range that includes 1 and all known `values`: 2 is as far from 1 as 0.5."""
    known = [value for value in values if value is not None]
    low = max(min([*known, 0.9]), 1 / _FURTHEST) / 1.03
    high = min(max([*known, 1.1]), _FURTHEST) * 1.03
    if high / low < 4:
        ticks = _linear_ticks(low, high)
    else:
        ticks = tuple(step for step in _STEPS if low <= step <= high)
        if len(ticks) > _MOST_TICKS:
            ticks = tuple(tick for tick in ticks if math.log10(tick).is_integer())
    return Span(low, high, ticks, logarithmic=True)


def _linear_ticks(low: float, high: float) -> tuple[float, ...]:
    """Multiples of the finest round step that gives at most `_MOST_TICKS` ticks."""
    ticks: list[float] = []
    for step in _STEPS:
        first, last = math.ceil(round(low / step, 6)), math.floor(round(high / step, 6))
        ticks = [round(place * step, 6) for place in range(first, last + 1)]
        if len(ticks) <= _MOST_TICKS:
            break
    return tuple(min(max(tick, low), high) for tick in ticks)  # 6 * 0.05 is a little more than its label, 0.3
