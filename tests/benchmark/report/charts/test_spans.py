import altair as alt
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmark.report.charts import spans
from benchmark.report.charts.spans import Span

ratios = st.floats(1e-9, 1e9)


def test_a_linear_span_ends_at_multiples_of_its_step() -> None:
    span = spans.linear([0.5, None, 0.613, 0.55], step=0.05)
    assert (span.low, span.high) == pytest.approx((0.5, 0.65))
    assert span.ticks == (0.5, 0.55, 0.6, 0.65)
    # 3 * 0.1 is a little more than 0.3.
    assert spans.linear([0.1, 3 * 0.1], step=0.1).high == pytest.approx(0.3)
    # 6 * 0.05 is a little more than 0.3 again, and an axis has no label outside its span.
    span = spans.linear([0.31, 0.6], step=0.05)
    assert span.ticks[0] == span.low == pytest.approx(0.3)


def test_a_single_value_has_a_span() -> None:
    assert spans.linear([0.5], step=0.05).high == pytest.approx(0.55)


@given(
    st.lists(st.floats(-1e4, 1e4) | st.floats(0, 1), min_size=1, max_size=5), st.sampled_from([0.0, 0.05, 0.1, 0.2, 1])
)
def test_the_first_and_the_last_tick_enclose_the_data(values: list[float], step: float) -> None:
    span = spans.linear(values, step)
    assert span.low <= min(values) and max(values) <= span.high, "no point lies beyond the axis"
    distance = span.ticks[1] - span.ticks[0]
    assert (span.low, span.high) == pytest.approx((span.ticks[0], span.ticks[-1]), abs=1e-5 * distance)
    assert np.diff(span.ticks) == pytest.approx(distance)
    assert 2 <= len(span.ticks) <= 10
    assert distance >= 0.99 * step
    assert (min(values) < span.ticks[1] and max(values) > span.ticks[-2]) or len(span.ticks) == 2, (
        "none lies far beyond"
    )


@given(st.lists(st.floats(0.01, 100), max_size=5))
def test_the_first_and_the_last_tick_enclose_the_ratios(values: list[float]) -> None:
    span = spans.of_ratios(values)
    assert span.low <= min([*values, 0.9]) and max([*values, 1.1]) <= span.high
    assert (span.low, span.high) == pytest.approx((span.ticks[0], span.ticks[-1]), rel=1e-5)
    assert 2 <= len(span.ticks) <= 7


@given(st.lists(ratios, max_size=5))
def test_ratios_lie_around_one_within_a_hundredfold(values: list[float]) -> None:
    span = spans.of_ratios(values)
    assert 0.01 <= span.low <= 0.9 < 1.1 <= span.high <= 100
    assert all(span.low <= value <= span.high for value in values if 0.01 <= value <= 100)
    assert 2 <= len(span.ticks) <= 7
    assert 1 in span.ticks
    assert all(span.low <= tick <= span.high for tick in span.ticks)


def test_ticks_of_ratios_are_as_fine_as_the_span_asks() -> None:
    assert spans.of_ratios([1.1, 1.5]).ticks == (0.9, 1, 1.1, 1.2, 1.3, 1.4, 1.5)
    assert spans.of_ratios([0.1, 3]).ticks == (0.1, 0.2, 0.5, 1, 2, 5)
    assert spans.of_ratios([1e-4, 3e5]).ticks == (0.01, 0.1, 1, 10, 100)


def test_factors_are_drawn_alike() -> None:
    span = Span(0.25, 4, (), logarithmic=True)
    assert span.places(np.array([0.25, 0.5, 1, 2, 4, np.nan])) == pytest.approx(
        [0, 0.25, 0.5, 0.75, 1, np.nan], nan_ok=True
    )
    assert Span(0.5, 1, ()).places(np.array([0.5, 0.6, 1])) == pytest.approx([0, 0.2, 1])


def test_an_axis_has_the_span_s_scale() -> None:
    axis = Span(0.5, 2, (0.5, 1, 2), logarithmic=True).along(alt.X, "ratio", "Ratio", orient="top").to_dict()
    assert axis["scale"] == {"type": "log", "domain": [0.5, 2], "nice": False, "zero": False}
    assert (axis["field"], axis["type"], axis["axis"]["orient"]) == ("ratio", "quantitative", "top")
