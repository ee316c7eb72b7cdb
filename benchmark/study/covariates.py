"""Covariates: further columns of a manifest (age, sex, camera), read as numbers or as categories."""

import math
from collections.abc import Mapping
from typing import Literal

import polars as pl

from benchmark.study.faults import Fault
from benchmark.study.spellings import is_sheet_error, means_nothing, shown, spelling_of

Kind = Literal["auto", "number", "category"]

MOST_CATEGORIES = 20
_FEWEST_NUMBERS = 6  # different values; with fewer, numbers are codes of categories, such as 0 and 1 for sex


def typed(texts: pl.DataFrame, kinds: Mapping[str, Kind]) -> tuple[pl.DataFrame, list[Fault]]:
    """Convert the covariates of a manifest.

    Args:
        texts: row (Int64), image, and one column of text per covariate; null if a cell is empty.
        kinds: how to read each covariate. `auto`: as numbers, if every value is a number and at least six differ;
            otherwise as categories.

    Returns:
        image and the covariates, Float64 for numbers and String for categories; null where the value is missing (also
        NA, unknown and similar). Categories that differ only in spelling are one, as first written. Then the faults.
    """
    columns, faults = {"image": texts["image"]}, list[Fault]()
    for name, kind in kinds.items():
        values = [None if text is None or means_nothing(text) else text for text in texts[name]]
        of_column = list(zip(texts["row"], texts["image"], values, strict=True))
        faults += _sheet_errors(name, texts)
        numbers = [None if value is None else _number(value) for value in values]
        if kind == "number" or (kind == "auto" and _are_numbers(values, numbers)):
            columns[name] = pl.Series(name, numbers, pl.Float64)
            faults += _not_numbers(name, of_column, numbers)
            continue
        first: dict[str, str] = {}
        for value in values:
            if value is not None:
                first.setdefault(spelling_of(value), value)
        if len(first) > MOST_CATEGORIES:
            fix = "leave it out of cohort.covariates, or correct its numbers" if any(numbers) else "leave it out"
            message = f"column {shown(name)} has {len(first)} different categories, more than {MOST_CATEGORIES}; {fix}"
            faults.append((0, message))
        written = [None if value is None else first[spelling_of(value)] for value in values]
        columns[name] = pl.Series(name, written, pl.String)
    return pl.DataFrame(columns), faults


def _are_numbers(values: list[str | None], numbers: list[float | None]) -> bool:
    found = {number for number in numbers if number is not None}
    return len(found) >= _FEWEST_NUMBERS and all(
        number is not None or value is None for value, number in zip(values, numbers, strict=True)
    )


def _number(text: str) -> float | None:
    """A finite number, also with a decimal comma; None for any other text."""
    plain = text.replace(",", ".") if text.count(",") == 1 and "." not in text else text
    try:
        value = float(plain.replace("_", "x"))  # Python reads 1_000 as a number
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def _not_numbers(
    name: str, of_column: list[tuple[int, str | None, str | None]], numbers: list[float | None]
) -> list[Fault]:
    return [
        (row, f"row {row} ({shown(image or '')}): {shown(name)} is {shown(value)!r}, must be a number or empty")
        for (row, image, value), number in zip(of_column, numbers, strict=True)
        if value is not None and number is None
    ]


def _sheet_errors(name: str, texts: pl.DataFrame) -> list[Fault]:
    return [
        (row, f"row {row}: {shown(name)} is {shown(text)!r}, a spreadsheet error: correct it or leave it empty")
        for row, text in texts.select("row", name).drop_nulls().iter_rows()
        if is_sheet_error(text)
    ]
