"""Which texts are values, and which spellings mean the same value."""

from hypothesis import given
from hypothesis import strategies as st

from benchmark.study.spellings import is_rounded, is_sheet_error, means_nothing, shown, spelling_of


def test_words_for_nothing_and_failed_formulas():
    for text in (
        "NA",
        " nan ",
        "<NA>",
        "None",
        "NULL",
        "#N/A",
        "#REF!",
        "####",
        "N/A",
        "-",
        "–",
        "…",
        "?",
        "Unknown",
        "ＮＡ",
    ):
        assert means_nothing(text), text
    for text in ("0", "7", "Nancy", "NA-7", "no", "unknown-7", "日本", "a" * 40):
        assert not means_nothing(text), text
    assert [is_sheet_error(text) for text in ("#VALUE!", "#N/A", "####", "#1", "NA")] == [True] * 3 + [False] * 2


def test_rounded_numbers():
    assert all(map(is_rounded, ("1.23457E+11", "1,2e+11", "2E+15", "1.5e10")))
    assert not any(map(is_rounded, ("1E5", "12", "1.5", "E+11", "P1.2E+3")))


@given(st.text(min_size=1, max_size=20))
def test_the_spelling_of_a_spelling_is_the_same(text):
    assert spelling_of(spelling_of(text)) == spelling_of(text)
    assert spelling_of(f"  {text} ") == spelling_of(text)
    assert spelling_of("\N{ZERO WIDTH SPACE}" + text) == spelling_of(text)


@given(st.integers(0, 10**15))
def test_numbers_are_one_however_they_are_written(number):
    assert {spelling_of(text) for text in (f"{number}", f"{number:020}", f"{number}.0", f"{number},00")} == {
        str(number)
    }


@given(st.text(max_size=200))
def test_what_is_shown_is_one_printable_line(text):
    assert shown(text).isprintable()
    assert len(shown(text)) <= 80
