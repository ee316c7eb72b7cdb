"""p-values in words."""

import pytest

from benchmark.report.formats import p_stated, p_value


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
