"""The range of numbers that an axis shows."""

import itertools
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import altair as alt
import numpy as np

from benchmark.report.charts.drawing import Channel

_FURTHEST = 100.0  # ratios farther from 1 than this factor have a denominator near 0 and are cut off
_DIGITS = (1, 2, 5)
_MOST_TICKS = 10  # of a linear axis: 264 pixels have room for ten numbers of four letters
_MOST_RATIOS = 7  # ticks of a logarithmic axis


@dataclass(frozen=True)
class Span:
    """A range from `low` to `high`, linear or logarithmic, labelled at `ticks`, which begin and end it.

    An axis that ends in numbers lets a reader judge the outermost points, too.
    """

    low: float
    high: float
    ticks: tuple[float, ...]
    logarithmic: bool = False

    def along(self, channel: type[Channel], field: str, title: str | None = None, **axis: Any) -> Channel:
        """The channel of a field on this axis; `axis`: options of `alt.Axis`."""
        scale = alt.Scale(
            type="log" if self.logarithmic else "linear", domain=(self.low, self.high), nice=False, zero=False
        )
        # There is room for all labels, but Vega does not know the font of the page. Without a precision, it takes that
        # of the range, which is one digit for 0 to 0.15.
        labelled = alt.Axis(values=self.ticks, format=".6~g", labelOverlap=False, **axis)
        return channel(f"{field}:Q", title=title, scale=scale, axis=labelled)

    def places(self, values: np.ndarray) -> np.ndarray:
        """Positions (n,) of values (n,) on the axis: 0 at `low`, 1 at `high`, NaN for NaN."""
        ends = np.array([self.low, self.high])
        if self.logarithmic:
            ends, values = np.log(ends), np.log(values)
        return (values - ends[0]) / (ends[1] - ends[0])


def linear(values: Iterable[float | None], step: float = 0.0) -> Span:
    """A linear range that includes all known `values` and ends at ticks.

    Args:
        values: at least one is known.
        step: the least distance between ticks, so that small differences are not drawn large.
    """
    known = [value for value in values if value is not None]
    return _between(min(known), max(known), _multiples(min(known), max(known), step))


def of_ratios(values: Iterable[float | None]) -> Span:
    """A logarithmic range that includes 0.9 to 1.1 and all known `values`, and ends at ticks.

    2 is as far from 1 as 0.5. Values beyond a hundredth and a hundredfold are cut off.
    """
    known = [value for value in values if value is not None]
    low, high = max(min([*known, 0.9]), 1 / _FURTHEST), min(max([*known, 1.1]), _FURTHEST)
    if high / low < 4:
        return _between(low, high, _multiples(low, high, most=_MOST_RATIOS), logarithmic=True)
    fine, coarse = (_powers(low, high, digits) for digits in (_DIGITS, (1,)))
    return _between(low, high, fine if len(fine) <= _MOST_RATIOS else coarse, logarithmic=True)


def _between(low: float, high: float, ticks: tuple[float, ...], logarithmic: bool = False) -> Span:
    """The range of the ticks; 3 * 0.3 is a little less than the tick 0.9 and still inside."""
    return Span(min(low, ticks[0]), max(high, ticks[-1]), ticks, logarithmic)


def _multiples(low: float, high: float, least: float = 0.0, most: int = _MOST_TICKS) -> tuple[float, ...]:
    """Multiples of a round step around both values: the finest step, at least `least`, that gives at most `most`."""
    finest = max(least, (high - low) / most, 1e-9)
    for power in itertools.count(math.floor(math.log10(finest))):
        for step in (digit * 10.0**power for digit in _DIGITS):
            # Rounded first: 3 * 0.1 is a little more than 0.3.
            first, last = math.floor(round(low / step, 6)), math.ceil(round(high / step, 6))
            last = max(last, first + 1)
            if step >= 0.999 * least and last - first < most:
                return tuple(round(place * step, max(-power, 0)) for place in range(first, last + 1))
    raise AssertionError("a step is long enough at last")


def _powers(low: float, high: float, digits: Sequence[int]) -> tuple[float, ...]:
    """Powers of ten times these digits around both values, which lie in 0.01..100."""
    steps = [float(f"{digit}e{power}") for power in range(-2, 2) for digit in digits] + [_FURTHEST]
    first = max(place for place, step in enumerate(steps) if step <= low)
    last = min(place for place, step in enumerate(steps) if step >= high)
    return tuple(steps[first : last + 1])
