from benchmark.report.results import Number
from benchmark.report.study_card.wording import counted, listed, percent, stated


def test_lists():
    assert listed([]) == ""
    assert listed(["a"]) == "a"
    assert listed(["a", "b"]) == "a and b"
    assert listed(name for name in "abc") == "a, b and c"


def test_numbers_with_intervals():
    assert stated(Number(value=-0.12345, low=-0.5, high=0.25, n=1)) == "−0.123 (−0.500 to 0.250)"
    assert stated(Number(value=1.1, n=1), 2) == "1.10"
    assert stated(Number(value=None, n=0)) == stated(None) == "–"


def test_shares_and_counts():
    assert (percent(0.5), percent(0.355), percent(1 / 3)) == ("50 %", "35.5 %", "33.3 %")
    assert (counted(1234), counted(0), counted(None)) == ("1\N{NARROW NO-BREAK SPACE}234", "0", "–")
