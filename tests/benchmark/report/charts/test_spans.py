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


@given(st.lists(ratios, max_size=5))
def test_ratios_lie_around_one_within_a_hundredfold(values: list[float]) -> None:
    span = spans.of_ratios(values)
    assert 0.009 < span.low < 0.9 < 1.1 < span.high < 104
    assert all(span.low <= value <= span.high for value in values if 0.01 <= value <= 100)
    assert 2 <= len(span.ticks) <= 7
    assert 1 in span.ticks
    assert all(span.low <= tick <= span.high for tick in span.ticks)


def test_ticks_of_ratios_are_as_fine_as_the_span_asks() -> None:
    assert spans.of_ratios([1.1, 1.5]).ticks == (0.9, 1, 1.1, 1.2, 1.3, 1.4, 1.5)
    assert spans.of_ratios([0.1, 3]).ticks == (0.1, 0.2, 0.5, 1, 2)
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
