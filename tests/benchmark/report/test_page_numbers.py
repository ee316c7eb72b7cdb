"""Every number on the page is in the CSV files of the run, in the row of the same trial, cell or pair."""

import copy
import csv
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple
from xml.etree.ElementTree import Element

import pytest

from benchmark.analysis.planted import INDICATORS
from benchmark.report.page import PageContent
from benchmark.storage.rundir import RunDirectory
from tests.benchmark.page_content import content_in, full_content_in
from tests.benchmark.report.test_page import having, rows, text, without_charts

TRIAL = ["backbone", "strategy", "seed"]
# Table -> the file with its numbers, and the columns that name a row in both.
SOURCES = {
    "table-leaderboard": ("leaderboard", TRIAL),
    "table-convention": ("leaderboard", TRIAL),
    "table-planted": ("planted", [*TRIAL, *(f"{each.name}_verdict" for each in INDICATORS)]),
    "table-within": ("leaderboard", TRIAL),
    "table-calls": ("leaderboard", TRIAL),
    "table-probabilities": ("leaderboard", TRIAL),
    "table-fov": ("leaderboard", TRIAL),
    "table-controls": ("leaderboard", TRIAL),
    "table-models": ("leaderboard", TRIAL),
    "table-other": ("leaderboard", TRIAL),
    "table-operating": ("operating", [*TRIAL, "point"]),
    "table-regions": ("ratios", TRIAL),
    "table-conventions": ("ratios", TRIAL),
    "table-correlation": ("correlation", ["performance", "explainability", "coefficient", "method"]),
    "table-pairs": ("comparisons", ["cell_a", "cell_b", "verdict"]),
    "table-patients": ("patients", [*TRIAL, "level"]),
    "table-patient-risks": ("patients", [*TRIAL, "level"]),
    "table-patient-pairs": ("patient_pairs", ["cell_a", "cell_b", "verdict"]),
    "table-strategies": ("strategies", ["strategy"]),
    "table-backbones": ("backbones", ["backbone"]),
    "table-contrasts": ("contrasts", ["family", "level_a", "level_b"]),
    "table-seeds": ("seeds", ["backbone", "strategy"]),
    "table-repeatability": ("repeatability", ["measure"]),
    "table-external": ("external", TRIAL),
    "table-external-risks": ("external", TRIAL),
    "table-external-calls": ("external", [*TRIAL, "point"]),
    "table-recalibration": ("recalibration", [*TRIAL, "risks"]),
    "table-shifts": ("shifts", ["about", "measure", "cell"]),
    "table-adds": ("image_adds", TRIAL),
    "table-predicts": ("score_predicts", [*TRIAL, "covariate", "category", "measure"]),
    "table-heterogeneity": ("heterogeneity", [*TRIAL, "covariate"]),
    "table-subgroups": ("subgroups", [*TRIAL, "covariate", "subgroup"]),
}
ESTIMATES = ("value", "ratio", "corrected", "difference", "mean", "icc")  # their bounds are `low` and `high`
CAPTIONS = {"AUC": "auc", "vessel": "vessel_ratio", "maps": "n_map"}  # names of columns in the caption of a map

ONCE = pytest.mark.parametrize(
    "content", [content_in], ids=["plain"], indirect=True
)  # one page is enough for forgeries

Row = dict[str, str]


class Number(NamedTuple):
    """A number in a file, with its interval if it has one."""

    value: float
    bounds: tuple[float, ...] = ()


class Shown(NamedTuple):
    """A table cell on the page, with the name of the row of the file that must contain it."""

    table: str
    row: tuple[str, ...]
    cell: Element


@pytest.fixture(scope="module", params=[content_in, full_content_in], ids=["plain", "full"])
def content(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> PageContent:
    return request.param(tmp_path_factory.mktemp("pictures"))


@pytest.fixture(scope="module")
def page(content: PageContent) -> Element:
    return without_charts(content)


@pytest.fixture(scope="module")
def files(content: PageContent, tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Row]]:
    """The rows of every CSV that the report stage writes, and of the published study."""
    directory = RunDirectory(tmp_path_factory.mktemp("run"))
    tables = {"leaderboard": content.board.trials, **content.board.tables()}
    if content.planted is not None:
        tables["planted"] = content.planted.trials
    if content.external is not None:
        tables |= content.external.tables.tables()
    if content.published is not None:
        tables["published"] = content.published
    for name, table in tables.items():
        table.write_csv(directory.table(name))
    found = {name: read(directory.table(name)) for name in tables}
    several_seeds = len({row["seed"] for row in found["leaderboard"]}) > 1
    for row in (*found["comparisons"], *found["patient_pairs"]):
        for side in "ab":
            backbone, strategy, seed = (row[f"{name}_{side}"] for name in TRIAL)
            row[f"cell_{side}"] = f"{backbone}, {strategy}" + (f", seed {seed}" if several_seeds else "")
    for row in found.get("recalibration", ()):
        row["risks"] = f"{row['method']} {row['fitted_on']}"
    for row in found.get("shifts", ()):
        row["cell"] = "{backbone}, {strategy}, seed {seed}".format(**row) if row["backbone"] else ""
    for row in found["contrasts"]:
        for side in "ab":
            row[f"level_{side}"] = ", ".join(filter(None, (row[f"backbone_{side}"], row[f"strategy_{side}"])))
    for family in ("strategies", "backbones"):
        found[family] = [row for row in found["averages"] if row["family"] == family]
    return found


def read(file: Path) -> list[Row]:
    with file.open(encoding="utf-8") as opened:
        return list(csv.DictReader(opened))


def test_every_number_in_a_table_is_in_its_row_of_the_csv(page: Element, files: dict[str, list[Row]]) -> None:
    every = list(shown(page))
    assert {one.table for one in every} == {table for table, (file, _) in SOURCES.items() if files.get(file)}
    assert len(every) > 400
    assert strangers(page, files) == []


def test_every_number_under_a_picture_is_in_the_csv(page: Element, files: dict[str, list[Row]]) -> None:
    cells = {"{backbone}, {strategy}, seed {seed}".format(**row): row for row in files["leaderboard"]}
    captioned = 0
    for figure in page.iter("figure"):
        for shown_as in figure.iterfind("figcaption/span"):
            name, written = re.fullmatch(r"(AUC|vessel)? ?([\d. −]+)(?: maps)?", text(shown_as)).groups("maps")  # type: ignore[union-attr]
            assert rounds_to(float(cells[figure.get("data-cell", "")][CAPTIONS[name]]), written)
            captioned += 1
    assert captioned == 3 * sum(row["status"] == "ok" for row in files["leaderboard"])


def test_other_tables_count_the_cohort(page: Element, content: PageContent) -> None:
    """The numbers of the cohort are in other files; those of Table 1 are compared in test_covariates.py."""
    others = [table for table in page.iter("table") if "sortable" not in table.get("class", "").split()]
    table_1 = [table for table in others if table.get("id") == "table-baseline"]
    assert len(table_1) == (content.board.of_covariates is not None)
    assert [text(table.find("caption")) for table in others if table not in table_1] == [  # type: ignore[arg-type]
        "Eyes, visits and images of the patients. An image of an unknown eye leaves open whether its patient has one "
        "eye here or both.",
        "Images used. No patient is in two splits. A positive patient has at least one positive image.",
        "Every image that was left out.",
    ]


@ONCE
def test_a_number_that_no_csv_has_is_noticed(page: Element, files: dict[str, list[Row]]) -> None:
    """Forge each number: its exact value, its last digit as shown, and the last digit of its interval."""
    several_seeds = has_seeds(page)
    for one in shown(page):
        for forged in forgeries(one.cell):
            assert not is_in_file(one._replace(cell=forged), several_seeds, files), (one.table, one.row, text(forged))


@ONCE
def test_numbers_of_another_cell_are_noticed(page: Element, files: dict[str, list[Row]]) -> None:
    for table in {one.table for one in shown(page)} - {"table-regions", "table-conventions"}:  # equal for all trials
        exchanged = copy.deepcopy(page)
        first, second = rows(exchanged, table)[:2]
        first[:], second[:] = names_in(first) + numbers_in(second), names_in(second) + numbers_in(first)
        assert {one.table for one in strangers(exchanged, files)} == {table}


def shown(page: Element) -> Iterator[Shown]:
    """Every number in a table that comes from a file."""
    for table in having(page, "class", "sortable"):
        for row in rows(page, table.get("id", "")):
            called = tuple(cell.get("data-value", "") for cell in names_in(row))
            for cell in numbers_in(row):
                if any(map(str.isdigit, text(cell))):
                    yield Shown(table.get("id", ""), called, cell)


def numbers_in(row: Element) -> list[Element]:
    return [cell for cell in row if cell not in names_in(row)]


def names_in(row: Element) -> list[Element]:
    """The table cells that name the row."""

    def is_name(cell: Element) -> bool:
        classes = set(cell.get("class", "").split())
        return "seed" in classes or not classes & {"count", "estimate"}

    return [cell for cell in row if is_name(cell)]


def strangers(page: Element, files: dict[str, list[Row]]) -> list[Shown]:
    """The numbers that are not in the files."""
    several_seeds = has_seeds(page)
    return [one for one in shown(page) if not is_in_file(one, several_seeds, files)]


def has_seeds(page: Element) -> bool:
    """Whether rows also name their seed; this searches the whole page."""
    return bool(having(page, "class", "seed"))


def is_in_file(one: Shown, several_seeds: bool, files: dict[str, list[Row]]) -> bool:
    """Whether the row in the file has the number exactly as its value, and rounded, with its interval, as its text."""
    file, columns = SOURCES[one.table]
    if not several_seeds:
        columns = [name for name in columns if name != "seed"]
    return any(
        agrees(one.cell, number)
        for row in files[file]
        if tuple(row[name] for name in columns) == one.row
        for number in numbers(row)
    )


def numbers(row: Row) -> Iterator[Number]:
    """All numbers in a row of a file; an estimate is given with and without its interval."""
    known = {name: float(written) for name, written in row.items() if re.fullmatch(r"-?\d[\d.e-]*", written)}
    for name, value in known.items():
        yield Number(value)
        of_itself = f"{name}_low", f"{name}_high"
        ends = ("low", "high") if name in ESTIMATES and of_itself[0] not in known else of_itself
        ends = ("patients_low", "patients_high") if name == "estimate" else ends
        if all(end in known for end in ends):
            yield Number(value, tuple(known[end] for end in ends))


def agrees(cell: Element, number: Number) -> bool:
    if not cell.get("data-value") or float(cell.get("data-value", "")) != number.value:
        return False
    interval, letters = ("".join(map(text, having(cell, "class", name))) for name in ("interval", "group"))
    estimate = text(cell).removesuffix(interval).strip().removesuffix(letters).strip()
    bounds = [] if interval in {"", "–"} else re.split(r" to |(?<=\d)–", interval)
    written = [estimate, *bounds]
    expected = [number.value, *number.bounds]
    return len(written) == len(expected) and all(map(rounds_to, expected, written))


def rounds_to(value: float, written: str) -> bool:
    """Whether `written`, as the page writes numbers, is `value` to as many digits as it has."""
    written = "".join(written.replace("−", "-").removeprefix("+").split())  # thousands are separated by spaces
    if written.startswith("<"):
        return value < float(written[1:])
    return abs(float(written) - value) <= 0.500001 * 10.0 ** -len(written.partition(".")[2])


def forgeries(cell: Element) -> Iterator[Element]:
    """The table cell with one of its numbers changed."""
    forged = copy.deepcopy(cell)
    forged.set("data-value", repr(float(cell.get("data-value", "")) + 0.0001))
    yield forged
    for place, part in enumerate(cell.iter()):
        if part.text and re.search(r"\d", part.text):
            forged = copy.deepcopy(cell)
            last_digit = re.compile(r"\d(?=\D*$)")
            list(forged.iter())[place].text = last_digit.sub(lambda digit: str((int(digit[0]) + 5) % 10), part.text)
            yield forged
