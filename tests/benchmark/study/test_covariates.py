"""How texts of a table become numbers or categories."""

import polars as pl
import pytest

from benchmark.study.covariates import MOST_CATEGORIES, typed


def column(texts, kind="auto"):
    """The values of one covariate, and the messages of its faults."""
    rows = range(2, 2 + len(texts))
    names = [f"{row}.jpg" for row in rows]
    table = pl.DataFrame({"row": rows, "image": names, "x": pl.Series(texts, dtype=pl.String)})
    found, faults = typed(table, {"x": kind})
    return found["x"].to_list() if "x" in found else None, [message for _, message in faults]


@pytest.mark.parametrize(
    ("texts", "kind", "values"),
    [
        (["61", "62.5", "63,5", "1e2", "-4", "70", None], "auto", [61, 62.5, 63.5, 100, -4, 70, None]),
        (["0", "1", "1", "0"], "auto", ["0", "1", "1", "0"]),  # codes of a category
        (["0", "1", "1", "0"], "number", [0, 1, 1, 0]),
        (["1", "2", "3", "4", "5", "6", "six"], "auto", ["1", "2", "3", "4", "5", "6", "six"]),
        (["Male", "male", "MALE ", "F"], "auto", ["Male", "Male", "Male", "F"]),
        (["NA", "unknown", "?", "f"], "auto", [None, None, None, "f"]),
        ([None, None], "auto", [None, None]),
        (["inf", "1", "2", "3", "4", "5", "6"], "auto", ["inf", "1", "2", "3", "4", "5", "6"]),
        (["1_0", "11"], "category", ["1_0", "11"]),
    ],
)
def test_values(texts, kind, values):
    assert column(texts, kind) == (values, [])


def test_a_text_among_numbers():
    _, faults = column(["61", "old", "inf", "1_0", None], "number")
    assert faults == [
        f"row {row} ({row}.jpg): x is {text!r}, must be a number or empty"
        for row, text in ((3, "old"), (4, "inf"), (5, "1_0"))
    ]


def test_too_many_categories():
    """Names, comments and free text are not categories."""
    texts = [f"c{i}" for i in range(MOST_CATEGORIES)]
    assert column(texts)[1] == []
    assert column([*texts, "one more"])[1] == [
        f"column x has {MOST_CATEGORIES + 1} different categories, more than {MOST_CATEGORIES}; leave it out"
    ]
    (line,) = column([*map(str, range(1, 31)), "3O"])[1]
    assert line.endswith("leave it out of cohort.covariates, or correct its numbers")


def test_errors_of_a_spreadsheet():
    assert column(["#REF!", "f"])[1] == ["row 2: x is '#REF!', a spreadsheet error: correct it or leave it empty"]
